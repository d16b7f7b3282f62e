/** Table `arg`: the arguments of events, decoded, one row for each value in them. */

import { isUtf8 } from "node:buffer";
import { decodeCall } from "../decode/call.js";
import { captureStrings } from "../decode/event.js";
import type { Value } from "../decode/value.js";
import { valueText } from "../show/notation.js";
import { maskedEnvironment } from "../show/secrets.js";
import { type EventBatch, EventFlag, EventKind } from "../trace/batch.js";
import { CALL_COLUMNS } from "../trace/columns.js";
import { type Row, rowTable } from "./builder.js";
import type { TableColumn } from "./table.js";

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

export const arg = rowTable(
  { name: "arg", doc: "the decoded arguments of every call and program start", columns },
  async function* (trace, scan) {
    const masks = scan.showSecrets !== true;
    for await (const batch of trace.batches({ columns: CALL_COLUMNS })) {
      for (let i = 0; i < batch.count; i++) {
        if (((batch.flags[i] ?? 0) & EventFlag.Interrupted) !== 0) continue;
        const seq = batch.firstSeq + i;
        if (batch.kind[i] === EventKind.Exec) yield* execRows(batch, i);
        if (batch.kind[i] !== EventKind.Call) continue;
        const walk = new Walk(seq, masks);
        for (const { name, value } of decodeCall(batch, i, trace).args)
          walk.value(name, name, value);
        yield* walk.rows;
      }
    }
  },
);

const ARGV = 1;

function* execRows(batch: EventBatch, i: number): Generator<Row> {
  const words = captureStrings(batch, i, ARGV);
  for (const [k, word] of words.entries()) {
    yield [batch.firstSeq + i, `argv[${k}]`, "argv", undefined, word, undefined];
  }
}

/** How deep structures in structures are followed; the kernel's own are not that deep. */
const MAX_DEPTH = 12;

const notation = { stringLimit: 4096, verbose: true, descriptors: "number" } as const;
const utf8 = new TextDecoder();

/** The rows of one event, value by value. */
class Walk {
  readonly rows: Row[] = [];
  readonly #seq: number;
  readonly #masks: boolean;

  constructor(seq: number, masks: boolean) {
    this.#seq = seq;
    this.#masks = masks;
  }

  #row(
    key: string,
    flat: string,
    number: number | bigint | undefined,
    text?: string,
    bytes?: Uint8Array,
  ) {
    this.rows.push([this.#seq, key, flat, number, text, bytes]);
  }

  value(key: string, flat: string, value: Value, depth = 0): void {
    switch (value.kind) {
      case "int":
        this.#row(key, flat, value.value, value.text);
        return;
      case "fd":
        this.#row(key, flat, value.fd, value.name ?? value.object?.path);
        return;
      case "pointer":
        this.#row(key, flat, value.addr);
        return;
      case "flags":
      case "choice":
        this.#row(key, flat, value.value, valueText(value, notation));
        return;
      case "wait":
        this.#row(key, flat, value.status, valueText(value, notation));
        return;
      case "bytes":
        this.#bytes(key, flat, value.bytes);
        return;
      default:
        if (depth >= MAX_DEPTH) this.#row(key, flat, undefined, valueText(value, notation));
        else this.#inside(key, flat, value, depth + 1);
    }
  }

  /** Values in values. */
  #inside(key: string, flat: string, value: Value, depth: number): void {
    switch (value.kind) {
      case "deref":
        this.value(key, flat, value.value, depth);
        return;
      case "change":
        this.value(`${key}.before`, `${flat}.before`, value.before, depth);
        this.value(`${key}.after`, `${flat}.after`, value.after, depth);
        return;
      case "struct":
        for (const field of value.fields) {
          const name = field.key ?? field.name;
          this.value(`${key}.${name}`, `${flat}.${name}`, field.value, depth);
        }
        return;
      case "array":
        this.#items(value).forEach((item, k) => {
          this.value(`${key}[${k}]`, flat, item, depth);
        });
        return;
      default:
        this.#other(key, flat, value);
    }
  }

  #other(key: string, flat: string, value: Value): void {
    const plain = value.kind === "apply" ? (value.plain ?? soleNumber(value.args)) : undefined;
    if (typeof plain === "number" || typeof plain === "bigint") this.#row(key, flat, plain);
    else this.#row(key, flat, undefined, plain ?? valueText(value, notation));
  }

  #bytes(key: string, flat: string, bytes: Uint8Array): void {
    if (isUtf8(bytes)) this.#row(key, flat, undefined, utf8.decode(bytes));
    else this.#row(key, flat, undefined, undefined, bytes);
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
