/** Stacks of chosen events: read, made of copied threads, or taken by replaying the trace up to the last of them. */

import { TraceError } from "../errors.js";
import type { NativeAddedStacks } from "../native.js";
import { type ReplayOptions, type ReplayResult, replay } from "../replay.js";
import { printable } from "../report/text.js";
import { type EventBatch, EventKind } from "../trace/batch.js";
import { replayability } from "../trace/info.js";
import type { ReadOptions, Trace } from "../trace/trace.js";
import { storedStacks } from "./kept.js";
import type { StackTable } from "./table.js";

export interface StackSelection {
  readonly read: Pick<ReadOptions, "from" | "to" | "fromTime" | "toTime" | "columns">;
  readonly keep: (batch: EventBatch, i: number) => boolean;
}

/** What there is to say about stacks that were taken. */
export interface StackNotes {
  /** The event at which the replay was no longer what had been recorded: later ones have no stack. */
  readonly differsAt: number | undefined;
  /** Files of code that are not at hand any more: their frames have no names, and stacks may end there. */
  readonly gone: readonly string[];
}

export interface TakenStacks extends StackNotes {
  readonly stacks: StackTable;
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
 * Those that are in the trace already, or made of threads that were copied while they were recorded, when these are all of them or
 * it cannot be replayed; taken in a replay otherwise.
 *
 * @throws TraceError as `replay` does: `OBSERVE_MODE`, `UNREPLAYABLE`, `MISSING_OBJECT`, ...
 */
export async function takeStacks(trace: Trace, selection: StackSelection): Promise<TakenStacks> {
  const only = await chosen(trace, selection);
  const stored = await storedStacks(trace, only);
  if (stored !== undefined) {
    const { stacks, isCopied, gone } = stored;
    const isEnough = only.every((seq) => stacks.has(seq)) || (isCopied && !isReplayable(trace));
    if (isEnough) return { stacks, differsAt: undefined, gone };
  }
  const [from, to] = [only[0] ?? 0, only[only.length - 1] ?? 0];
  const result = await replayed(trace, { until: to, stacks: { from, to, only } });
  if (result.stacks === undefined) throw new TraceError("NO_STACKS", "the replay took no stacks");
  return { stacks: result.stacks, differsAt: result.desyncs[0]?.seq, gone: [] };
}

function isReplayable(trace: Trace): boolean {
  return replayability(trace.info).mode === "replayable";
}

/** A replay, or how to get stacks of a trace that has none. */
async function replayed(trace: Trace, options: ReplayOptions): Promise<ReplayResult> {
  try {
    return await replay(trace, options);
  } catch (error) {
    if (!(error instanceof TraceError) || error.code !== "OBSERVE_MODE") throw error;
    throw new TraceError(error.code, "stacks are taken in a replay, which --observe leaves out", {
      hint: "trace record --observe --stacks=openat,%network copies stacks while it records; without --observe all are there",
      cause: error,
    });
  }
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
): Promise<{ readonly added: NativeAddedStacks } & StackNotes> {
  const only = await chosen(trace, selection);
  const [from, to] = [only[0] ?? 0, only[only.length - 1] ?? 0];
  const { output, force } = where;
  const write = { force, ...(output !== undefined && { output }) };
  if (!isReplayable(trace)) {
    const copied = await trace.copiedStacks({ from, to, only, write: true, ...write });
    if (copied?.added !== undefined) {
      return { added: copied.added, differsAt: undefined, gone: copied.gone };
    }
  }
  const result = await replayed(trace, { until: to, stacks: { from, to, only, write } });
  if (result.addedStacks === undefined) {
    throw new TraceError("NO_STACKS", "the replay took no stacks");
  }
  return { added: result.addedStacks, differsAt: result.desyncs[0]?.seq, gone: [] };
}

/** Lines for people: what is missing in stacks, and why. */
export function stackNotes({ path }: Pick<Trace, "path">, { differsAt, gone }: StackNotes): string {
  let text = "";
  if (differsAt !== undefined) {
    text +=
      `trace: the replay is not what was recorded from @${differsAt} on; stacks end there: ` +
      `trace replay ${path} tells why\n`;
  }
  for (const file of gone) {
    text += printable(
      `trace: ${file} is not at hand any more: its functions have no names, and stacks may end there`,
    );
    text += "\n";
  }
  return text;
}
