/**
 * The life of an open file description: every event that touches it, under whatever descriptor, and
 * the forks, program starts and exits of the processes that hold it.
 */

import { refObject } from "../decode/context.js";
import { type EventBatch, EventFlag, EventKind, Slot } from "../trace/batch.js";
import { inUtf8 } from "../trace/byte_text.js";
import type { Trace } from "../trace/trace.js";
import { CallFacts } from "./facts.js";

/** `what`: a descriptor number, or the path (`/etc/passwd`, `pipe:[17]`) that it is open on. */
export async function followDescriptor(trace: Trace, what: string): Promise<ReadonlySet<number>> {
  const followed = /^\d{1,7}$/.test(what)
    ? await objectsOfNumber(trace, Number(what))
    : objectsOfPath(trace, what);
  const seqs = new Set<number>();
  if (followed.size === 0) return seqs;
  const holders = new Holders(trace, followed);
  for await (const batch of trace.batches({ columns: ["base", "args", "refs"] })) {
    for (let i = 0; i < batch.count; i++)
      if (holders.touches(batch, i)) seqs.add(batch.firstSeq + i);
  }
  return seqs;
}

function objectsOfPath(trace: Trace, path: string): Set<number> {
  const found = new Set<number>();
  for (let index = 0; index < trace.objects.length; index++) {
    if (inUtf8(trace.objects[index]?.path ?? "") === path) found.add(index);
  }
  return found;
}

async function objectsOfNumber(trace: Trace, fd: number): Promise<Set<number>> {
  const found = new Set<number>();
  for await (const { refFd, refSlot, refObject: object } of trace.batches({ columns: ["refs"] })) {
    for (let r = 0; r < refFd.length; r++) {
      if (refFd[r] === fd && refSlot[r] !== Slot.Cwd) found.add(object[r] ?? -1);
    }
  }
  return found;
}

/** Who holds the followed objects, and under which numbers. */
class Holders {
  readonly #trace: Trace;
  readonly #facts: CallFacts;
  readonly #followed: ReadonlySet<number>;
  readonly #numbers = new Map<number, Set<number>>();

  constructor(trace: Trace, followed: ReadonlySet<number>) {
    this.#trace = trace;
    this.#facts = new CallFacts(trace);
    this.#followed = followed;
  }

  /** Events have to come in their order. */
  touches(batch: EventBatch, i: number): boolean {
    const process = this.#trace.threads[batch.thread[i] ?? -1]?.process ?? 0;
    switch (batch.kind[i]) {
      case EventKind.Call:
        return this.#call(batch, i, process);
      case EventKind.Task:
        return this.#task(batch, i, process);
      case EventKind.Exec:
        return this.#holds(process);
      case EventKind.Exit: {
        const held = this.#holds(process) && batch.args[12 * i] === 1;
        if (held) this.#numbers.delete(process);
        return held;
      }
      default:
        return false;
    }
  }

  #holds(process: number): boolean {
    return (this.#numbers.get(process)?.size ?? 0) > 0;
  }

  #task(batch: EventBatch, i: number, process: number): boolean {
    const parent = this.#trace.threads[(batch.args[12 * i] ?? 0) - 1]?.process ?? 0;
    const numbers = this.#numbers.get(parent);
    if (parent === process || numbers === undefined || numbers.size === 0) return false;
    this.#numbers.set(process, new Set(numbers));
    return true;
  }

  #call(batch: EventBatch, i: number, process: number): boolean {
    let isTouched = false;
    const end = batch.refStart[i + 1] ?? 0;
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      if (batch.refSlot[r] === Slot.Cwd || !this.#followed.has(batch.refObject[r] ?? -1)) continue;
      isTouched = true;
      const numbers = this.#numbers.get(process) ?? new Set();
      numbers.add(batch.refFd[r] ?? -1);
      this.#numbers.set(process, numbers);
    }
    if (isTouched && this.#facts.shape(batch, i)?.name === "close") {
      // Even where close fails, the descriptor is gone.
      const isUnseen = ((batch.flags[i] ?? 0) & EventFlag.NoReturn) !== 0;
      if (!isUnseen && refObject(batch, i, this.#trace, 0) !== undefined) {
        this.#numbers.get(process)?.delete((batch.args[12 * i] ?? 0) | 0);
      }
    }
    return isTouched;
  }
}
