/** Stacks of chosen events, taken by replaying the trace up to the last of them. */

import { TraceError } from "../errors.js";
import type { NativeAddedStacks } from "../native.js";
import { replay } from "../replay.js";
import { type EventBatch, EventKind } from "../trace/batch.js";
import type { ReadOptions, Trace } from "../trace/trace.js";
import type { StackTable } from "./table.js";

export interface StackSelection {
  readonly read: Pick<ReadOptions, "from" | "to" | "fromTime" | "toTime" | "columns">;
  readonly keep: (batch: EventBatch, i: number) => boolean;
}

export interface TakenStacks {
  readonly stacks: StackTable;
  /** The event at which the replay was no longer what had been recorded: later ones have no stack. */
  readonly differsAt: number | undefined;
}

/** Events that have a stack: a thread stands somewhere in its program when they begin. */
const KINDS: readonly number[] = [EventKind.Call, EventKind.Signal];

async function chosen(trace: Trace, { read, keep }: StackSelection): Promise<Float64Array> {
  const seqs: number[] = [];
  for await (const batch of trace.batches({ ...read, kinds: KINDS })) {
    for (let i = 0; i < batch.count; i++) {
      if (KINDS.includes(batch.kind[i] ?? 0) && keep(batch, i)) seqs.push(batch.firstSeq + i);
    }
  }
  return Float64Array.from(seqs);
}

/**
 * Those that are in the trace already, when it has all of them; taken in a replay otherwise.
 *
 * @throws TraceError as `replay` does: `OBSERVE_MODE`, `UNREPLAYABLE`, `MISSING_OBJECT`, ...
 */
export async function takeStacks(trace: Trace, selection: StackSelection): Promise<TakenStacks> {
  const only = await chosen(trace, selection);
  const [from, to] = [only[0] ?? 0, only[only.length - 1] ?? 0];
  const kept = await trace.stacks(from, to);
  if (kept !== undefined && only.every((seq) => kept.has(seq))) {
    return { stacks: kept, differsAt: undefined };
  }
  const result = await replay(trace, { until: to, stacks: { from, to, only } });
  if (result.stacks === undefined) throw new TraceError("NO_STACKS", "the replay took no stacks");
  return { stacks: result.stacks, differsAt: result.desyncs[0]?.seq };
}

/**
 * Takes stacks, and writes them into the trace or into a copy of it.
 *
 * @throws TraceError as `replay` and `Trace.pack` do
 */
export async function addStacks(
  trace: Trace,
  selection: StackSelection,
  where: { readonly output: string | undefined; readonly force: boolean },
): Promise<{ readonly added: NativeAddedStacks; readonly differsAt: number | undefined }> {
  const only = await chosen(trace, selection);
  const [from, to] = [only[0] ?? 0, only[only.length - 1] ?? 0];
  const { output, force } = where;
  const write = { force, ...(output !== undefined && { output }) };
  const result = await replay(trace, { until: to, stacks: { from, to, only, write } });
  if (result.addedStacks === undefined) {
    throw new TraceError("NO_STACKS", "the replay took no stacks");
  }
  return { added: result.addedStacks, differsAt: result.desyncs[0]?.seq };
}
