/** Rows of tables of any number of traces into a sink, one trace after the other. */

import type { Filter } from "../query/filter/index.js";
import { selectEvents } from "../query/select.js";
import type { TableDef } from "../tables/table.js";
import type { Trace } from "../trace/trace.js";
import { columnNames, type Run, type TableSink } from "./tables/sink.js";

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
  const { filter, showSecrets } = options;
  const run = runOf(trace);
  let failure: unknown;
  for (const table of options.tables) {
    const rows = await sink.begin(run, table);
    const events = table.ofEvents ? await selectEvents(trace, filter) : undefined;
    const batches = table.scan(trace, {
      columns: columnNames(table.columns),
      showSecrets,
      ...(events !== undefined && { events }),
    });
    const iterator = batches[Symbol.asyncIterator]();
    for (;;) {
      const next = await iterator.next().catch((error: unknown) => {
        failure ??= error;
        return undefined;
      });
      if (next === undefined || next.done === true) break;
      if (!(await rows.write(next.value))) break;
    }
    await rows.end();
  }
  return failure;
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
