/** SQL over the tables of traces. */

import type { DuckDBConnection, DuckDBResult } from "@duckdb/node-api";
import type { Run } from "../answer/answer.js";
import {
  type ResultColumn,
  ResultRows,
  type Results,
  type ResultValue,
} from "../answer/results.js";
import { RUN, runBatches } from "../answer/runs.js";
import { TABLES } from "../tables/registry.js";
import type { TableColumn, TableDef } from "../tables/table.js";
import { Database, type DatabaseOptions, quoted } from "./database.js";
import { databaseError, sqlError } from "./error.js";
import { type Needs, needsOf } from "./needs.js";
import { sqlType } from "./types.js";

export interface SqlOptions extends DatabaseOptions {
  readonly showSecrets?: boolean;
}

/** The columns of a table as SQL sees them: a query means the same for one trace and for several. */
export function sqlColumns(table: TableDef): readonly TableColumn[] {
  return [...table.columns, RUN];
}

/**
 * Answers a statement. The rows have to be read to their end, or the iteration left, before the database is gone.
 *
 * @throws TraceError `BAD_SQL` with the place of the mistake, `OUT_OF_MEMORY`, `NO_DATABASE`, `IO`
 */
export async function sqlResults(
  runs: readonly Run[],
  statement: string,
  options: SqlOptions = {},
): Promise<Results> {
  const database = await Database.open(options);
  try {
    const failure = await provide(database, runs, statement, options);
    const result = await guarded(() => runAll(database.connection, statement));
    return { columns: columnsOf(result), rows: new ResultRows(rowsOf(database, result, failure)) };
  } catch (error) {
    database.close();
    throw databaseError(error) ?? error;
  }
}

/** Errors of a statement as those that users see. */
export async function guarded<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw sqlError(error, TABLES);
  }
}

/** All statements, one after the other; the result is that of the last one. */
async function runAll(connection: DuckDBConnection, text: string): Promise<DuckDBResult> {
  const statements = await connection.extractStatements(text);
  for (let k = 0; k < statements.count - 1; k++) await (await statements.prepare(k)).run();
  return (await statements.prepare(statements.count - 1)).stream();
}

/** Makes the tables that the statement looks at. What kept a part of a trace from being read is returned. */
export async function provide(
  database: Database,
  runs: readonly Run[],
  statement: string,
  options: SqlOptions,
): Promise<unknown> {
  const { connection } = database;
  await connection.run(TABLES.map(emptyTable).join(";\n"));
  const needs = await guarded(() => needed(database, statement));
  let failure: unknown;
  for (const table of TABLES) {
    const names = needs.get(table.name);
    if (names === undefined) continue;
    const own = await fillTable(database, runs, table, names, options);
    failure ??= own;
  }
  return failure;
}

function emptyTable(table: TableDef): string {
  const columns = sqlColumns(table).map((column) => `${quoted(column.name)} ${sqlType(column)}`);
  return `CREATE TABLE ${quoted(table.name)} (${columns.join(", ")})`;
}

async function needed(database: Database, statement: string): Promise<Needs> {
  const { connection } = database;
  const statements = await connection.extractStatements(statement);
  if (statements.count === 1) {
    // Its own errors, whose places are those of the text.
    await statements.prepare(0);
    const needs = await needsOf(database, statement);
    if (needs.size > 0) return needs;
  }
  // Several statements (a PIVOT is several) cannot be planned before they run: whole tables for all that are named.
  const named = TABLES.filter(({ name }) => new RegExp(`\\b${name}\\b`, "i").test(statement));
  return new Map(
    named.map((table) => [table.name, new Set(sqlColumns(table).map(({ name }) => name))]),
  );
}

/** Beyond this many values a table is kept in a file and read from there. */
const IN_MEMORY = 4_000_000;

/** Takes the place of the empty table: the columns that are needed, and nothing for the others. */
async function fillTable(
  database: Database,
  runs: readonly Run[],
  table: TableDef,
  names: ReadonlySet<string>,
  options: SqlOptions,
): Promise<unknown> {
  const all = sqlColumns(table);
  const wanted = all.filter(({ name }) => names.has(name));
  // A table without columns cannot be; rows are counted by any of them.
  const columns = wanted.length > 0 ? wanted : all.slice(0, 1);
  const events = runs.reduce((sum, { trace }) => sum + trace.eventCount, 0);
  const isLarge = table.ofEvents && events * columns.length > IN_MEMORY;
  const catalog = isLarge ? await database.fileCatalog() : "memory";
  const name = `rows of ${table.name}`;
  const { showSecrets = false } = options;
  const batches = runBatches(runs, columns, (trace, own) =>
    table.scan(trace, { columns: own, showSecrets }),
  );
  const failure = await database.fill(catalog, name, columns, batches);
  const list = all.map((column) => {
    const has = columns.includes(column);
    return has ? quoted(column.name) : `NULL::${sqlType(column)} AS ${quoted(column.name)}`;
  });
  await database.connection.run(
    `DROP TABLE ${quoted(table.name)};
CREATE VIEW ${quoted(table.name)} AS SELECT ${list.join(", ")} FROM ${catalog}.main.${quoted(name)}`,
  );
  return failure;
}

/** Codes of `duckdb_type` that are numbers: integers, floats, HUGEINT, DECIMAL, UHUGEINT. */
const NUMERIC: ReadonlySet<number> = new Set([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 19, 32]);

function columnsOf(result: DuckDBResult): ResultColumn[] {
  return result.deduplicatedColumnNames().map((name, k) => ({
    name,
    numeric: NUMERIC.has(result.columnTypeId(k)),
  }));
}

async function* rowsOf(
  database: Database,
  result: DuckDBResult,
  failure: unknown,
): AsyncGenerator<ResultValue[][]> {
  try {
    const chunks = result.yieldRows();
    for (;;) {
      const next = await guarded(() => chunks.next());
      if (next.done === true) break;
      yield next.value.map((row) => row.map((value) => database.plain(value)));
    }
    if (failure !== undefined) throw failure;
  } finally {
    database.close();
  }
}
