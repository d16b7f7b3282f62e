/** The events of a process around one of its events. */

import { EventKind } from "../trace/batch.js";
import { ALL_COLUMNS } from "../trace/columns.js";
import type { Trace } from "../trace/trace.js";
import { type Row, seqOf } from "./rows.js";

/** Events that say little of what a program does. */
const QUIET: readonly number[] = [EventKind.Map, EventKind.Note, EventKind.Trap];
/** Blocks that are looked through in each direction: a process may be quiet for very long. */
const MOST_BLOCKS = 256;

export interface Neighbours {
  /** In their order, the last one is the nearest. */
  readonly before: readonly Row[];
  /** The event itself; undefined when the trace does not have it. */
  readonly at: Row | undefined;
  readonly after: readonly Row[];
}

/** Up to `count` events of process `process` before event `seq`, and after it. */
export async function neighboursOf(
  trace: Trace,
  process: number,
  seq: number,
  count: number,
): Promise<Neighbours> {
  const { firstSeq, count: counts } = trace.blocks;
  let middle = 0;
  while (middle + 1 < firstSeq.length && (firstSeq[middle + 1] ?? 0) <= seq) middle++;
  const before: Row[] = [];
  const after: Row[] = [];
  let at: Row | undefined;
  const isOwn = ({ batch, i }: Row) =>
    trace.threads[batch.thread[i] ?? -1]?.process === process &&
    !QUIET.includes(batch.kind[i] ?? -1);
  for (let k = middle; k >= 0 && k > middle - MOST_BLOCKS && before.length < count; k--) {
    for (const row of (await rowsOf(trace, firstSeq[k] ?? 0, counts[k] ?? 0)).reverse()) {
      if (seqOf(row) === seq) at = row;
      else if (seqOf(row) < seq && before.length < count && isOwn(row)) before.unshift(row);
    }
  }
  const last = Math.min(firstSeq.length, middle + MOST_BLOCKS);
  for (let k = middle; k < last && after.length < count; k++) {
    for (const row of await rowsOf(trace, firstSeq[k] ?? 0, counts[k] ?? 0)) {
      if (seqOf(row) > seq && after.length < count && isOwn(row)) after.push(row);
    }
  }
  return { before, at, after };
}

/** The rows of one block; none of one that cannot be read. */
async function rowsOf(trace: Trace, from: number, count: number): Promise<Row[]> {
  const rows: Row[] = [];
  const to = from + count - 1;
  try {
    for await (const batch of trace.batches({ columns: ALL_COLUMNS, from, to })) {
      for (let i = 0; i < batch.count; i++) rows.push({ batch, i });
    }
  } catch {
    // Damage further on in the trace is no reason to show less of what was read.
  }
  return rows;
}
