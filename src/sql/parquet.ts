/** Answers as Parquet files. */

import { renameSync, statSync } from "node:fs";
import type { Run } from "../answer/answer.js";
import type { TableBatch, TableColumn } from "../tables/table.js";
import { removeTemporary, temporaryFile } from "../temporary.js";
import { traceError } from "../trace/failure.js";
import { Database, sqlText } from "./database.js";
import { databaseError } from "./error.js";
import { guarded, provide, type SqlOptions } from "./query.js";

export interface Statement {
  readonly runs: readonly Run[];
  readonly statement: string;
}

/** Rows of a table. */
export interface Rows {
  readonly columns: readonly TableColumn[];
  readonly batches: AsyncIterable<TableBatch>;
}

/**
 * Writes an answer to a new file. It has its name when it is whole. What could be read of a damaged trace is written, and
 * its damage thrown then.
 *
 * @throws TraceError `EXISTS` unless `force`, `BAD_SQL`, `OUT_OF_MEMORY`, `NO_DATABASE`, `IO`
 */
export async function newParquet(
  path: string,
  force: boolean,
  what: Statement | Rows,
  options: SqlOptions,
): Promise<void> {
  if (!force && statSync(path, { throwIfNoEntry: false }) !== undefined) {
    throw traceError({ code: "exists", message: `${path} exists already`, facts: { path } });
  }
  const draft = temporaryFile(`${path}.partial`);
  let database: Database | undefined;
  try {
    database = await Database.open(options);
    const failure =
      "statement" in what
        ? await provide(database, what.runs, what.statement, options)
        : await database.fill(await database.fileCatalog(), "answer", what.columns, what.batches);
    const source =
      "statement" in what ? what.statement.replace(/;\s*$/, "") : "FROM tables_on_disk.main.answer";
    const copy = `COPY (${source}\n) TO ${sqlText(draft)} (FORMAT parquet, COMPRESSION zstd)`;
    const { connection } = database;
    await guarded(() => connection.run(copy));
    renameSync(draft, path);
    if (failure !== undefined) throw failure;
  } catch (error) {
    throw databaseError(error) ?? error;
  } finally {
    database?.close();
    removeTemporary(draft);
  }
}
