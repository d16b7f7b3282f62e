/** What takes rows of tables: one implementation per format. */

import type { TraceError } from "../../errors.js";
import type { TableBatch, TableColumn, TableDef } from "../../tables/table.js";
import type { Trace } from "../../trace/trace.js";
import type { Unfinished } from "../whole.js";

/** One trace of those that are exported. */
export interface Run {
  /** Its id: that of the trace. */
  readonly id: string;
  /** Facts for the head of files that have room for them. */
  readonly facts: ReadonlyMap<string, string>;
}

/** The rows of one table of one run. */
export interface RowSink {
  /** Takes over the batch. Waits while the other end is behind. False: nobody reads any more. */
  write(batch: TableBatch): Promise<boolean>;
  /**
   * Writes all rows of table `event` without their passing through here, where the format can. Why they end before the trace does,
   * if so.
   */
  writeEvents?(trace: Trace): Promise<TraceError | undefined>;
  end(): Promise<void>;
}

export interface TableSink extends Unfinished {
  /** Begins a table of a run. The one before has ended. */
  begin(run: Run, table: TableDef): Promise<RowSink>;
}

/** Names of all columns of a table, as a scan takes them. */
export function columnNames(columns: readonly TableColumn[]): string[] {
  return columns.map(({ name }) => name);
}
