/** Table `arg`: the arguments of events, decoded, one row for each value in them. */

import { decodeCall } from "../decode/call.js";
import { captureStrings } from "../decode/event.js";
import type { Value } from "../decode/value.js";
import { valueText } from "../show/notation.js";
import { maskedEnvironment } from "../show/secrets.js";
import { type EventBatch, EventFlag, EventKind } from "../trace/batch.js";
import { CALL_COLUMNS } from "../trace/columns.js";
import type { Trace } from "../trace/trace.js";
import { ArgRows, type Key } from "./arg_rows.js";
import { columnsNamed } from "./builder.js";
import type { TableColumn, TableDef } from "./table.js";

const columns: readonly TableColumn[] = [
  { name: "seq", type: "int", doc: "event number", nullable: false },
  {
    name: "key",
    type: "text",
    doc: "which value: flags, st.st_mode, iov[0].iov_len, argv[1]",
    nullable: false,
  },
  {
    name: "flat_key",
    type: "text",
    doc: "the same without places in lists: iov.iov_len",
    nullable: false,
  },
  {
    name: "int_value",
    type: "word",
    doc: "the value of numbers, flags, descriptors and addresses",
    nullable: true,
  },
  {
    name: "text_value",
    type: "text",
    doc: "the value as text: names of flags, paths, strings",
    nullable: true,
  },
  { name: "bytes_value", type: "bytes", doc: "bytes that are not UTF-8", nullable: true },
];

export const arg: TableDef = {
  name: "arg",
  doc: "the decoded arguments of every call and program start",
  columns,
  ofEvents: false,
  scan: async function* (trace, scan) {
    const rows = new ArgRows(columnsNamed(columns, scan.columns));
    const walk = new Walk(rows, scan.showSecrets !== true);
    try {
      for await (const batch of trace.batches({ columns: CALL_COLUMNS })) {
        for (let i = 0; i < batch.count; i++) {
          walk.event(batch, i, trace);
          if (rows.ready.length > 0) yield* rows.ready.splice(0);
        }
      }
    } catch (error) {
      // What was before the damage belongs to the reader.
      yield* rows.rest();
      throw error;
    }
    yield* rows.rest();
  },
};

const ARGV = 1;

/** How deep structures in structures are followed; the kernel's own are not that deep. */
const MAX_DEPTH = 12;

const notation = { stringLimit: 4096, verbose: true, descriptors: "number" } as const;

/** Makes rows of events, value by value. */
class Walk {
  readonly #rows: ArgRows;
  readonly #masks: boolean;

  constructor(rows: ArgRows, masks: boolean) {
    this.#rows = rows;
    this.#masks = masks;
  }

  event(batch: EventBatch, i: number, trace: Trace): void {
    if (((batch.flags[i] ?? 0) & EventFlag.Interrupted) !== 0) return;
    const kind = batch.kind[i];
    if (kind === EventKind.Exec) {
      this.#rows.begin(batch.firstSeq + i);
      this.#exec(batch, i);
    } else if (kind === EventKind.Call) {
      this.#rows.begin(batch.firstSeq + i);
      const keys = this.#rows.keys;
      for (const { name, value } of decodeCall(batch, i, trace).args)
        this.value(keys.field(name), value);
    }
  }

  #exec(batch: EventBatch, i: number): void {
    const argv = this.#rows.keys.field("argv");
    for (const [k, word] of captureStrings(batch, i, ARGV).entries()) {
      this.#rows.add(argv.item(k), undefined, word);
    }
  }

  value(key: Key, value: Value, depth = 0): void {
    const rows = this.#rows;
    switch (value.kind) {
      case "int":
        rows.add(key, value.value, value.text);
        return;
      case "fd":
        rows.add(key, value.fd, value.name ?? value.object?.path);
        return;
      case "pointer":
        rows.add(key, value.addr);
        return;
      case "flags":
      case "choice":
        rows.add(key, value.value, valueText(value, notation));
        return;
      case "wait":
        rows.add(key, value.status, valueText(value, notation));
        return;
      case "bytes":
        rows.addBytes(key, value.bytes);
        return;
      default:
        if (depth >= MAX_DEPTH) rows.add(key, undefined, valueText(value, notation));
        else this.#inside(key, value, depth + 1);
    }
  }

  /** Values in values. */
  #inside(key: Key, value: Value, depth: number): void {
    switch (value.kind) {
      case "deref":
        this.value(key, value.value, depth);
        return;
      case "change":
        this.value(key.field("before"), value.before, depth);
        this.value(key.field("after"), value.after, depth);
        return;
      case "struct":
        for (const field of value.fields) {
          this.value(key.field(field.key ?? field.name), field.value, depth);
        }
        return;
      case "array": {
        const items = this.#items(value);
        for (let k = 0; k < items.length; k++) {
          this.value(key.item(k), items[k] as Value, depth);
        }
        return;
      }
      default:
        this.#other(key, value);
    }
  }

  #other(key: Key, value: Value): void {
    const plain = value.kind === "apply" ? (value.plain ?? soleNumber(value.args)) : undefined;
    if (typeof plain === "number" || typeof plain === "bigint") this.#rows.add(key, plain);
    else this.#rows.add(key, undefined, plain ?? valueText(value, notation));
  }

  #items({ items, environment }: Extract<Value, { kind: "array" }>): readonly Value[] {
    return environment === true && this.#masks ? maskedEnvironment(items) : items;
  }
}

/** `htons(80)` is 80. */
function soleNumber(args: readonly Value[]): number | bigint | undefined {
  const [only] = args;
  return args.length === 1 && only?.kind === "int" ? only.value : undefined;
}
