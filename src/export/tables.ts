/** Rows of tables of any number of traces into a sink, one trace after the other. */

import type { Filter } from "../query/filter/index.js";
import { selectEvents } from "../query/select.js";
import { event } from "../tables/event.js";
import type { TableBatch, TableDef } from "../tables/table.js";
import type { Trace } from "../trace/trace.js";
import { columnNames, type RowSink, type Run, type TableSink } from "./tables/sink.js";

export interface TableExport {
  readonly tables: readonly TableDef[];
  /** Which events; tables of other things are exported whole. */
  readonly filter: Filter | undefined;
  readonly showSecrets: boolean;
}

/**
 * Writes the tables of one trace. What could be read of a damaged trace is written all the same.
 *
 * @returns why rows are missing, if some are
 */
export async function exportTables(
  trace: Trace,
  sink: TableSink,
  options: TableExport,
): Promise<unknown> {
  const run = runOf(trace);
  let failure: unknown;
  for (const table of options.tables) {
    const rows = await sink.begin(run, table);
    const missing =
      table === event && options.filter === undefined && rows.writeEvents !== undefined
        ? await rows.writeEvents(trace)
        : await scanInto(rows, trace, table, options);
    failure ??= missing;
    await rows.end();
  }
  return failure;
}

/** Why rows are missing, if some are. */
async function scanInto(
  rows: RowSink,
  trace: Trace,
  table: TableDef,
  { filter, showSecrets }: TableExport,
): Promise<unknown> {
  const events = table.ofEvents ? await selectEvents(trace, filter) : undefined;
  const columns = columnNames(table.columns);
  const scan = table.scan(trace, { columns, showSecrets, ...(events !== undefined && { events }) });
  const batches = scan[Symbol.asyncIterator]();
  for (;;) {
    let next: IteratorResult<TableBatch>;
    try {
      next = await batches.next();
    } catch (error) {
      return error;
    }
    if (next.done === true || !(await rows.write(next.value))) return undefined;
  }
}

/** The trace as a run: its id, written as UUIDs are, which no engine takes for a number. */
export function runOf(trace: Trace): Run {
  const id = trace.info.id.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  const { startSeconds, startNanos, state, damage } = trace;
  const start = BigInt(startSeconds) * 1_000_000_000n + BigInt(startNanos);
  const facts = new Map([
    ["trace.id", trace.info.id],
    ["trace.start_unix_ns", String(start)],
    ["trace.state", state],
  ]);
  if (damage !== undefined) facts.set("trace.damage", damage.message);
  return { id, facts };
}
