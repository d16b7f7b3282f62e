/**
 * Columns of tables whose rows are events, filled a block at a time straight from the block's own columns. Where every
 * event of a block is a row, a column may be a view of the block; nothing is copied then.
 */

import { CallFacts } from "../query/facts.js";
import { columnsOfBoth } from "../query/select.js";
import { type ColumnGroup, type EventBatch, EventFlag } from "../trace/batch.js";
import type { Trace } from "../trace/trace.js";
import { columnsNamed } from "./builder.js";
import { Dictionary } from "./dictionary.js";
import type { ColumnData, Scan, TableBatch, TableColumn, TableDef } from "./table.js";

/** Which events of a block are rows: `at[0] .. at[count - 1]`, ascending. */
export interface Rows {
  readonly count: number;
  readonly at: Uint32Array;
  /** Every event of the block is a row. */
  readonly whole: boolean;
}

/** Makes one column of a batch. */
export type Fill = (batch: EventBatch, rows: Rows) => ColumnData;

/** What fillers look at beside the block. */
export interface EventContext {
  readonly trace: Trace;
  readonly facts: CallFacts;
}

export interface EventColumn extends TableColumn {
  /** Groups of the block's columns that it is made of. */
  readonly groups: readonly ColumnGroup[];
  /** The filler for one scan. */
  readonly bind: (context: EventContext) => Fill;
}

type About = Pick<TableColumn, "name" | "doc" | "unit"> & {
  readonly nullable?: boolean;
  readonly groups?: readonly ColumnGroup[];
};

type Getter<T> = (batch: EventBatch, i: number) => T;

function column(about: About, type: TableColumn["type"], bind: EventColumn["bind"]): EventColumn {
  const { nullable = false, groups = ["core"], ...rest } = about;
  return { ...rest, type, nullable, groups, bind };
}

/** A column that is one of the block's own. */
export function ownColumn(about: About, of: (batch: EventBatch) => Float64Array): EventColumn {
  return column(about, "int", () => (batch, rows) => {
    const own = of(batch);
    if (rows.whole) return { type: "int", values: own };
    const values = new Float64Array(rows.count);
    for (let k = 0; k < rows.count; k++) values[k] = own[rows.at[k] as number] as number;
    return { type: "int", values };
  });
}

/** Whole numbers; NaN where an event has none, which a number compares to faster than undefined. */
export function intColumn(
  about: About,
  make: (context: EventContext) => Getter<number>,
): EventColumn {
  return column(about, "int", (context) => {
    const get = make(context);
    return (batch, rows) => {
      const values = new Float64Array(rows.count);
      let nulls: Uint8Array | undefined;
      for (let k = 0; k < rows.count; k++) {
        const value = get(batch, rows.at[k] as number);
        if (!Number.isNaN(value)) {
          values[k] = value;
          continue;
        }
        nulls ??= new Uint8Array(rows.count);
        nulls[k] = 1;
      }
      return nulls === undefined ? { type: "int", values } : { type: "int", values, nulls };
    };
  });
}

export function boolColumn(
  about: About,
  make: (context: EventContext) => Getter<boolean>,
): EventColumn {
  return column(about, "bool", (context) => {
    const get = make(context);
    return (batch, rows) => {
      const values = new Uint8Array(rows.count);
      for (let k = 0; k < rows.count; k++) values[k] = get(batch, rows.at[k] as number) ? 1 : 0;
      return { type: "bool", values };
    };
  });
}

/**
 * 64-bit values, from pairs of words. `write` puts the low and the high word of event i at `pairs[2k]` and `pairs[2k + 1]`,
 * and returns false where there is none.
 */
export function wordColumn(
  about: About & { readonly groups: readonly ColumnGroup[] },
  write: (batch: EventBatch, i: number, pairs: Int32Array, k: number) => boolean,
): EventColumn {
  return column(about, "word", () => (batch, rows) => {
    const pairs = new Int32Array(2 * rows.count);
    const values = new BigInt64Array(pairs.buffer);
    let nulls: Uint8Array | undefined;
    for (let k = 0; k < rows.count; k++) {
      if (write(batch, rows.at[k] as number, pairs, k)) continue;
      nulls ??= new Uint8Array(rows.count);
      nulls[k] = 1;
    }
    return nulls === undefined ? { type: "word", values } : { type: "word", values, nulls };
  });
}

/** Gives codes of one dictionary, or -1 for no value. It may look at whole blocks before their events. */
export type Coder = (batch: EventBatch, i: number) => number;

/** A column of codes. `make` is called again when a new dictionary is begun. */
export function codeColumn(
  about: About,
  type: "text" | "bytes",
  make: (context: EventContext, dictionary: Dictionary) => Coder,
): EventColumn {
  return column(about, type, (context) => {
    let dictionary = new Dictionary(type);
    let code = make(context, dictionary);
    return (batch, rows) => {
      if (dictionary.isLarge) {
        dictionary = new Dictionary(type);
        code = make(context, dictionary);
      }
      const values = new Uint32Array(rows.count);
      let nulls: Uint8Array | undefined;
      for (let k = 0; k < rows.count; k++) {
        const value = code(batch, rows.at[k] as number);
        if (value >= 0) {
          values[k] = value;
          continue;
        }
        nulls ??= new Uint8Array(rows.count);
        nulls[k] = 1;
      }
      return { type, values, dictionary, ...(nulls !== undefined && { nulls }) };
    };
  });
}

/** Texts that are made anew for each event. */
export function textColumn(
  about: About,
  make: (context: EventContext) => Getter<string | undefined>,
): EventColumn {
  return codeColumn(about, "text", (context, dictionary) => {
    const get = make(context);
    return (batch, i) => {
      const text = get(batch, i);
      return text === undefined ? -1 : dictionary.code(text);
    };
  });
}

/**
 * Texts that depend on a small number only: made once for each. The number of an event is -1 where it has no text;
 * it is below a limit that does not depend on what a trace says, or is an index of something that was read.
 */
export function keyedColumn(
  about: About,
  make: (context: EventContext) => {
    readonly key: Getter<number>;
    readonly text: (key: number) => string | undefined;
  },
): EventColumn {
  return codeColumn(about, "text", (context, dictionary) => {
    const { key, text } = make(context);
    const cache = new CodeCache();
    return (batch, i) => {
      const own = key(batch, i);
      if (own < 0) return -1;
      const known = cache.get(own);
      if (known >= -1) return known;
      const found = text(own);
      const code = found === undefined ? -1 : dictionary.code(found);
      cache.set(own, code);
      return code;
    };
  });
}

const UNKNOWN = -2;

/** Codes by small numbers. */
export class CodeCache {
  #codes = new Int32Array(256).fill(UNKNOWN);

  /** -1: no value; less: not known yet. */
  get(key: number): number {
    return this.#codes[key] ?? UNKNOWN;
  }

  set(key: number, code: number): void {
    if (key >= this.#codes.length) {
      const wider = new Int32Array(Math.max(key + 1, 2 * this.#codes.length)).fill(UNKNOWN);
      wider.set(this.#codes);
      this.#codes = wider;
    }
    this.#codes[key] = code;
  }

  clear(): void {
    this.#codes.fill(UNKNOWN);
  }
}

/** A table of the events of some kind; `kinds` of none means every kind. */
export function eventTable(
  def: Pick<TableDef, "name" | "doc" | "brief"> & { readonly columns: readonly EventColumn[] },
  kinds?: readonly number[],
): TableDef {
  return {
    ...def,
    ofEvents: true,
    scan: (trace, scan) => scanEvents(def.columns, kinds, trace, scan),
  };
}

async function* scanEvents(
  all: readonly EventColumn[],
  kinds: readonly number[] | undefined,
  trace: Trace,
  scan: Scan,
): AsyncGenerator<TableBatch> {
  const columns = columnsNamed(all, scan.columns);
  const context: EventContext = { trace, facts: new CallFacts(trace) };
  const fills = columns.map((one) => one.bind(context));
  const own = columns.reduce<ColumnGroup[]>(
    (sum, { groups }) => columnsOfBoth(sum, groups),
    ["core"],
  );
  const { read = {}, columns: selected = [], keep, choice } = scan.events ?? {};
  const options = {
    ...read,
    ...(choice !== undefined && { choice }),
    columns: columnsOfBoth(own, selected),
    ...(kinds !== undefined && { kinds }),
  };
  const choose = rowChooser(kinds, keep);
  for await (const batch of trace.batches(options)) {
    const rows = choose(batch);
    if (rows.count > 0)
      yield { count: rows.count, columns: fills.map((fill) => fill(batch, rows)) };
  }
}

/** Parts of calls that the kernel restarted are no rows: the call that tells the whole is. */
function rowChooser(
  kinds: readonly number[] | undefined,
  keep: ((batch: EventBatch, i: number) => boolean) | undefined,
): (batch: EventBatch) => Rows {
  const wanted = new Uint8Array(256).fill(kinds === undefined ? 1 : 0);
  for (const kind of kinds ?? []) wanted[kind] = 1;
  return (batch) => {
    const { kind, flags, count } = batch;
    const at = new Uint32Array(count);
    let chosen = 0;
    for (let i = 0; i < count; i++) {
      if (wanted[kind[i] as number] === 0) continue;
      if (((flags[i] as number) & EventFlag.Interrupted) !== 0) continue;
      if (keep !== undefined && !keep(batch, i)) continue;
      at[chosen++] = i;
    }
    return { count: chosen, at, whole: chosen === count };
  };
}
