/** Rows of several traces as one table. */

import { Dictionary } from "../tables/dictionary.js";
import { gather } from "../tables/rows.js";
import type { TableBatch, TableColumn } from "../tables/table.js";
import type { Trace } from "../trace/trace.js";
import type { Run } from "./answer.js";

/** Which trace a row is of. */
export const RUN: TableColumn = {
  name: "run",
  type: "text",
  doc: "the trace",
  nullable: false,
};

/**
 * The rows of all traces, one trace after the other, with the given columns; `RUN` may be one of them. `scan` reads the
 * others of one trace. What keeps a part of a trace from being read is thrown after the rows of the last one.
 */
export async function* runBatches(
  runs: readonly Run[],
  columns: readonly TableColumn[],
  scan: (trace: Trace, names: readonly string[]) => AsyncIterable<TableBatch>,
  limit = Number.POSITIVE_INFINITY,
): AsyncGenerator<TableBatch> {
  const place = columns.indexOf(RUN);
  const own = columns.filter((column) => column !== RUN).map(({ name }) => name);
  const dictionary = new Dictionary("text");
  let left = limit;
  let failure: unknown;
  for (const { name, trace } of runs) {
    if (left <= 0) break;
    const code = dictionary.code(name);
    try {
      for await (const whole of scan(trace, own)) {
        const { count, columns: values } = first(whole, left);
        left -= count;
        const run = {
          type: "text",
          values: new Uint32Array(count).fill(code),
          dictionary,
        } as const;
        yield { count, columns: place < 0 ? values : values.toSpliced(place, 0, run) };
        if (left <= 0) break;
      }
    } catch (error) {
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
}

/** At most that many rows of a batch. */
function first(batch: TableBatch, limit: number): TableBatch {
  if (batch.count <= limit) return batch;
  return gather(
    batch.columns,
    Uint32Array.from({ length: limit }, (_, k) => k),
  );
}
