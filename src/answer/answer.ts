/** Answers without a database: rows of a table, filtered, grouped, ordered; over one trace or several. */

import type { Filter } from "../query/filter/index.js";
import { cellOf, gather, selectRows } from "../tables/rows.js";
import type { TableBatch, TableDef } from "../tables/table.js";
import type { Trace } from "../trace/trace.js";
import {
  type ResultColumn,
  type ResultRow,
  ResultRows,
  type Results,
  type ResultValue,
} from "./results.js";
import { RUN } from "./runs.js";
import type { Grouping, Order } from "./saved/saved.js";

/** A trace as one of several that are asked together. */
export interface Run {
  /** What the column `run` says. */
  readonly name: string;
  readonly trace: Trace;
}

export interface Question {
  readonly table: TableDef;
  /** Columns of the answer. */
  readonly columns: readonly string[];
  readonly filter?: Filter;
  readonly group?: Grouping;
  readonly order?: Order;
  /** At most that many rows, of all traces together. */
  readonly limit?: number;
  readonly showSecrets?: boolean;
}

/** The answer; with several traces its first column says which one a row is of. */
export function answer(runs: readonly Run[], question: Question): Results {
  const several = runs.length > 1;
  const own = question.columns.map((name) => resultColumn(question, name));
  const columns = several ? [{ name: RUN.name, numeric: false }, ...own] : own;
  return { columns, rows: new ResultRows(rowsOf(runs, question, several)) };
}

function resultColumn({ table, group }: Question, name: string): ResultColumn {
  const column = table.columns.find((one) => one.name === name);
  if (column === undefined) return { name, numeric: group?.count === name };
  const numeric = column.type === "int" || column.type === "word";
  return { name, numeric, ...(column.unit && { unit: column.unit }) };
}

type Rows = Iterable<ResultRow>;

async function* rowsOf(
  runs: readonly Run[],
  question: Question,
  several: boolean,
): AsyncGenerator<Rows> {
  const { order, limit = Number.POSITIVE_INFINITY } = question;
  if (limit <= 0) return;
  // What is wrong with one trace is said when all have been asked.
  const failures: unknown[] = [];
  const chunks =
    order === undefined
      ? inTurn(runs, question, several, failures)
      : ordered(runs, question, order, several, failures);
  const left = { rows: limit };
  for await (const chunk of chunks) {
    yield atMost(chunk, left);
    // What comes after the last row that is wanted is not read.
    if (left.rows <= 0) break;
  }
  if (failures.length > 0) throw failures[0];
}

/** As many rows as are left to give. */
function* atMost(rows: Rows, left: { rows: number }): Generator<ResultRow> {
  if (left.rows <= 0) return;
  for (const row of rows) {
    left.rows -= 1;
    yield row;
    if (left.rows <= 0) return;
  }
}

async function* inTurn(
  runs: readonly Run[],
  question: Question,
  several: boolean,
  failures: unknown[],
): AsyncGenerator<Rows> {
  for (const { name, trace } of runs) {
    const chunks = ungrouped(trace, question);
    try {
      for (;;) {
        const next = await chunks.next().catch((error: unknown) => {
          failures.push(error);
          return undefined;
        });
        if (next === undefined || next.done === true) break;
        yield several ? named(name, next.value) : next.value;
      }
    } finally {
      // Whoever asked may want no more.
      await chunks.return(undefined);
    }
  }
}

function* named(name: string, rows: Rows): Generator<ResultRow> {
  for (const row of rows) yield [name, ...row];
}

async function* ordered(
  runs: readonly Run[],
  question: Question,
  order: Order,
  several: boolean,
  failures: unknown[],
): AsyncGenerator<Rows> {
  const best = new Best(order, question.limit ?? Number.POSITIVE_INFINITY);
  for (const { name, trace } of runs) {
    try {
      for await (const { key, row } of keyed(trace, question, order, best)) {
        best.add(key, several ? [name, ...row] : row);
      }
    } catch (error) {
      failures.push(error);
    }
  }
  yield best.rows();
}

async function* ungrouped(trace: Trace, question: Question): AsyncGenerator<Rows> {
  if (question.group !== undefined) {
    const { groups, failure } = await grouped(trace, question, question.group);
    yield groups.map(({ row }) => row);
    if (failure !== undefined) throw failure;
    return;
  }
  for await (const batch of select(trace, question, question.columns)) yield cells(batch);
}

function select(
  trace: Trace,
  question: Question,
  columns: readonly string[],
  filter = question.filter,
) {
  const { table, showSecrets = false } = question;
  return selectRows(trace, table, { columns, showSecrets, ...(filter && { filter }) });
}

function* cells({ count, columns }: TableBatch): Generator<ResultRow> {
  for (let i = 0; i < count; i++) yield columns.map((column) => cellOf(column, i) ?? null);
}

interface Keyed {
  readonly key: number;
  readonly row: ResultRow;
}

/** Rows with what they are ordered by; those that cannot be among the best are left out. */
async function* keyed(
  trace: Trace,
  question: Question,
  order: Order,
  best: Best,
): AsyncGenerator<Keyed> {
  if (question.group !== undefined) {
    const { groups, failure } = await grouped(trace, question, question.group, order);
    yield* groups;
    if (failure !== undefined) throw failure;
  } else if (question.table.ofEvents && (question.limit ?? MAX_SOUGHT + 1) <= MAX_SOUGHT) {
    yield* bestEvents(trace, question, order, question.limit ?? 0);
  } else {
    const asked = [...question.columns, ...order.by];
    const width = question.columns.length;
    for await (const batch of select(trace, question, asked)) {
      const keys = keysOf(batch, width);
      const chosen = best.promising(keys);
      let k = 0;
      for (const row of cells(gather(batch.columns.slice(0, width), chosen))) {
        yield { key: keys[chosen[k++] ?? 0] ?? 0, row };
      }
    }
  }
}

/** The sums of the columns from `from` on. */
function keysOf({ count, columns }: TableBatch, from: number): Float64Array {
  const keys = new Float64Array(count);
  for (const column of columns.slice(from)) {
    for (let i = 0; i < count; i++) {
      if (column.nulls?.[i] !== 1) keys[i] = (keys[i] as number) + Number(column.values[i]);
    }
  }
  return keys;
}

/** Events that are looked for one by one: each of them costs a block. */
const MAX_SOUGHT = 64;

/**
 * Of a table of events, first which ones: by the ordering columns alone. Only for those the others are read, from the
 * blocks that they are in.
 */
async function* bestEvents(
  trace: Trace,
  question: Question,
  order: Order,
  limit: number,
): AsyncGenerator<Keyed> {
  const best = new Best(order, limit);
  let failure: unknown;
  try {
    for await (const batch of select(trace, question, ["seq", ...order.by])) {
      const keys = keysOf(batch, 1);
      for (const k of best.promising(keys)) {
        best.add(keys[k] ?? 0, [cellOf(batch.columns[0] as never, k) ?? null]);
      }
    }
  } catch (error) {
    failure = error;
  }
  for (const { key, row } of best.keyed()) {
    const seq = Number(row[0]);
    const events = { type: "events", from: seq, to: seq } as const;
    for await (const batch of select(trace, question, question.columns, events)) {
      for (const found of cells(batch)) yield { key, row: found };
    }
  }
  if (failure !== undefined) throw failure;
}

interface Group {
  readonly values: ResultRow;
  count: number;
  readonly sums: number[];
}

/** The groups of what can be read, and what kept the rest from being read. */
async function grouped(
  trace: Trace,
  question: Question,
  { by, sums, count }: Grouping,
  order?: Order,
): Promise<{ readonly groups: readonly Keyed[]; readonly failure: unknown }> {
  const found = new Map<string, Group>();
  let failure: unknown;
  try {
    for await (const batch of select(trace, question, [...by, ...sums])) {
      groupRows(batch, by.length, found);
    }
  } catch (error) {
    failure = error;
  }
  const names = [...by, ...sums, count];
  const groups = [...found.values()].map((group) => {
    const all = [...group.values, ...group.sums, group.count];
    const value = (name: string) => all[names.indexOf(name)] ?? null;
    const key = (order?.by ?? []).reduce((sum, name) => sum + Number(value(name)), 0);
    return { key, row: question.columns.map(value) };
  });
  return { groups, failure };
}

/** Adds rows to their groups: those of equal values in the first `width` columns. The other columns are summed. */
function groupRows(
  { count, columns }: TableBatch,
  width: number,
  groups: Map<string, Group>,
): void {
  const summed = columns.slice(width);
  for (let i = 0; i < count; i++) {
    const values = columns.slice(0, width).map((column) => cellOf(column, i) ?? null);
    const key = values.map(keyPart).join("");
    let group = groups.get(key);
    if (group === undefined) {
      group = { values, count: 0, sums: summed.map(() => 0) };
      groups.set(key, group);
    }
    group.count += 1;
    for (const [k, column] of summed.entries()) {
      if (column.nulls?.[i] !== 1)
        group.sums[k] = (group.sums[k] ?? 0) + Number(column.values[i] ?? 0);
    }
  }
}

/** Tells every value from the others of its column, also when parts stand one behind the other. */
function keyPart(value: ResultValue): string {
  if (value === null) return "-";
  const text = String(value);
  return `${text.length}:${text}`;
}

/** The first rows of an order, as many as the limit says; equal ones in the order in which they came. */
class Best {
  readonly #sign: number;
  readonly #limit: number;
  #rows: Keyed[] = [];
  /** With as many rows as there is room for: what a row has to be before. */
  #bar = Number.POSITIVE_INFINITY;

  constructor(order: Order, limit: number) {
    this.#sign = order.descending ? -1 : 1;
    this.#limit = limit;
  }

  /** Places of the keys that may be among the first. */
  promising(keys: Float64Array): Uint32Array {
    const places = new Uint32Array(keys.length);
    let count = 0;
    for (let k = 0; k < keys.length; k++) {
      if (this.#sign * (keys[k] as number) < this.#bar) places[count++] = k;
    }
    return places.subarray(0, count);
  }

  add(key: number, row: ResultRow): void {
    if (this.#sign * key >= this.#bar) return;
    this.#rows.push({ key, row });
    if (this.#rows.length >= 2 * this.#limit + 1024) this.#cut();
  }

  #cut(): void {
    // Stable: equal keys keep their order.
    this.#rows.sort((a, b) => this.#sign * (a.key - b.key));
    if (this.#rows.length < this.#limit) return;
    this.#rows.length = this.#limit;
    const last = this.#rows.at(-1);
    this.#bar = last === undefined ? Number.NEGATIVE_INFINITY : this.#sign * last.key;
  }

  keyed(): readonly Keyed[] {
    this.#cut();
    return this.#rows;
  }

  rows(): ResultRow[] {
    return this.keyed().map(({ row }) => row);
  }
}
