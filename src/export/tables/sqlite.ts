/** Tables in one SQLite file. The first column of each says the run, since one file holds any number of them. */

import { rename, rm } from "node:fs/promises";
import type { TraceError } from "../../errors.js";
import { type NativeSqlite, native } from "../../native.js";
import type { TableBatch, TableDef } from "../../tables/table.js";
import { explained, unwrap } from "../../trace/failure.js";
import type { Trace } from "../../trace/trace.js";
import { eventMeanings, missingRows } from "./events.js";
import { Handover, nativeColumns } from "./native.js";
import { columnNames, type RowSink, type Run, type TableSink } from "./sink.js";

export class SqliteSink implements TableSink {
  readonly hasDraft = true;
  readonly #path: string;
  readonly #draft: string;
  readonly #file: NativeSqlite;

  /** `draft`: the file that is made; it must not be there. */
  constructor(path: string, draft: string) {
    this.#path = path;
    this.#draft = draft;
    this.#file = unwrap(native().writeSqlite(draft));
  }

  async begin(run: Run, table: TableDef): Promise<RowSink> {
    const constants = [{ key: "run", value: run.id }];
    const columns = nativeColumns(table.columns);
    const number = unwrap(this.#file.table(table.name, columns, constants));
    return new SqliteRows(this.#file, number, columnNames(table.columns));
  }

  async finish(): Promise<void> {
    unwrap(await this.#file.finish());
    await explained("create", this.#path, () => rename(this.#draft, this.#path));
  }

  async abandon(): Promise<void> {
    await rm(this.#draft, { force: true });
  }
}

class SqliteRows implements RowSink {
  readonly #file: NativeSqlite;
  readonly #table: number;
  readonly #columns: readonly string[];
  readonly #handover = new Handover();
  #last: Promise<unknown> = Promise.resolve();

  constructor(file: NativeSqlite, table: number, columns: readonly string[]) {
    this.#file = file;
    this.#table = table;
    this.#columns = columns;
  }

  async write(batch: TableBatch): Promise<boolean> {
    await this.#last;
    this.#last = this.#file.write(this.#table, this.#handover.values(batch)).then(unwrap);
    this.#last.catch(() => {});
    return true;
  }

  async writeEvents(trace: Trace): Promise<TraceError | undefined> {
    const columns = this.#columns;
    const write = this.#file.writeEvents(this.#table, trace.native, columns, eventMeanings());
    return missingRows(unwrap(await write), trace);
  }

  async end(): Promise<void> {
    await this.#last;
  }
}
