/**
 * Traces as programs read them: blocks of events, rows of tables, answers to SQL. What a trace is stands in
 * trace/trace.ts; this adds what is built on top of it.
 */

import { answer } from "./answer/answer.js";
import type { ResultColumn, ResultValue } from "./answer/results.js";
import { TraceError } from "./errors.js";
import { native } from "./native.js";
import { type Filter, parseFilter } from "./query/filter/index.js";
import { nearestName } from "./query/nearest.js";
import { vocabulary } from "./query/syscalls.js";
import { fieldSetOf } from "./tables/fields.js";
import { findTable, TABLES } from "./tables/registry.js";
import { selectRows } from "./tables/rows.js";
import type { TableBatch, TableDef } from "./tables/table.js";
import type { EventBatch } from "./trace/batch.js";
import { unwrap } from "./trace/failure.js";
import { Trace } from "./trace/trace.js";

export interface TableRowsOptions {
  /** Names of columns, in the order that is wanted; all when left out. */
  readonly columns?: readonly string[];
  /** Which rows, in the filter language: of tables of events as `trace show` takes it, of others over their columns. */
  readonly filter?: string;
  /** Values of environment variables whose names look like secrets, too. */
  readonly showSecrets?: boolean;
}

/** A row by the names of its columns. Whole numbers beyond 2^53 - 1 are bigints; what a row lacks is null. */
export type TableRow = Readonly<Record<string, ResultValue>>;

export interface SqlAnswer {
  readonly columns: readonly ResultColumn[];
  readonly rows: readonly TableRow[];
}

export interface SqlQueryOptions {
  /** Other traces that are asked together with this one: column `run` has their file names. */
  readonly with?: readonly Trace[];
  /** Bytes that the database may take before it uses the disk. */
  readonly memory?: number;
  readonly showSecrets?: boolean;
}

export class ReadableTrace extends Trace {
  /** The events, block by block, as typed columns: `for await (const batch of trace)`. */
  [Symbol.asyncIterator](): AsyncGenerator<EventBatch> {
    return this.batches();
  }

  /**
   * Events that the filter chooses, as rows of table `event` (or `syscall`, by `table`).
   *
   * @throws TraceError `BAD_FILTER`; and what was wrong with a damaged trace, after the rows before the damage
   */
  events(
    filter?: string,
    options: Omit<TableRowsOptions, "filter"> & { readonly table?: "event" | "syscall" } = {},
  ): AsyncGenerator<TableRow> {
    const { table = "event", ...rest } = options;
    return this.rows(table, { ...rest, ...(filter !== undefined && { filter }) });
  }

  /**
   * Rows of a table, one object each. For many rows {@link table} costs a fraction.
   *
   * @throws TraceError `NO_TABLE`, `NO_COLUMN`, `BAD_FILTER`
   */
  async *rows(name: string, options: TableRowsOptions = {}): AsyncGenerator<TableRow> {
    const { table, columns, filter } = checked(name, options);
    const { showSecrets = false } = options;
    const question = { table, columns, showSecrets, ...(filter && { filter }) };
    const { rows } = answer([{ name: this.path, trace: this }], question);
    for await (const row of rows) yield rowObject(columns, row);
  }

  /** Batches of a table's rows as typed arrays, in the order of `columns`. @throws as {@link rows} */
  async *table(name: string, options: TableRowsOptions = {}): AsyncGenerator<TableBatch> {
    const { table, columns, filter } = checked(name, options);
    const { showSecrets = false } = options;
    yield* selectRows(this, table, { columns, showSecrets, ...(filter && { filter }) });
  }

  /**
   * The answer of a SQL statement over the tables, whole. Needs the optional package @duckdb/node-api.
   *
   * @throws TraceError `BAD_SQL` (its hint points at the place), `NO_DATABASE`
   */
  async sql(statement: string, options: SqlQueryOptions = {}): Promise<SqlAnswer> {
    const { sqlResults } = await import("./sql/query.js");
    const { with: others = [], ...rest } = options;
    const runs = [this, ...others].map((trace) => ({ name: fileName(trace.path), trace }));
    const results = await sqlResults(runs, statement, rest);
    const names = results.columns.map(({ name }) => name);
    const rows: TableRow[] = [];
    for await (const row of results.rows) rows.push(rowObject(names, row));
    return { columns: results.columns, rows };
  }
}

function fileName(path: string): string {
  return path.split("/").at(-1) ?? path;
}

/** Column names come from users: they become own properties, whatever they are. */
function rowObject(names: readonly string[], row: readonly ResultValue[]): TableRow {
  return Object.fromEntries(names.map((name, k) => [name, row[k] ?? null]));
}

function checked(
  name: string,
  { columns, filter }: TableRowsOptions,
): { readonly table: TableDef; readonly columns: readonly string[]; readonly filter?: Filter } {
  const table = findTable(name);
  if (table === undefined) fail("NO_TABLE", `there is no table ${name}`, name, TABLES);
  for (const wanted of columns ?? []) {
    if (table.columns.some((column) => column.name === wanted)) continue;
    fail("NO_COLUMN", `table ${name} has no column ${wanted}`, wanted, table.columns);
  }
  const parsed =
    filter === undefined
      ? undefined
      : parseFilter(filter, { vocabulary, fields: fieldSetOf(table) });
  const all = table.columns.map((column) => column.name);
  return { table, columns: columns ?? all, ...(parsed && { filter: parsed }) };
}

function fail(
  code: string,
  message: string,
  name: string,
  known: readonly { name: string }[],
): never {
  const near = nearestName(
    name,
    known.map((one) => one.name),
  );
  throw new TraceError(code, message, near === undefined ? {} : { hint: `did you mean ${near}?` });
}

/**
 * Opens a trace file. One that is still being recorded, or that was cut, opens too: `state` says so.
 *
 * @throws TraceError `NO_FILE`, `NOT_A_TRACE`, `VERSION` (made by a newer version), `CORRUPT`, `IO`
 */
export async function openTrace(path: string): Promise<ReadableTrace> {
  return new ReadableTrace(path, unwrap(await native().openTrace(path)));
}
