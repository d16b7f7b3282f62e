/** The lives of open file descriptions: when each was made and closed, and what went through it. */

import { CallFacts, type Transfer } from "../query/facts.js";
import { type EventBatch, EventFlag, EventKind, Slot } from "../trace/batch.js";
import { CALL_COLUMNS } from "../trace/columns.js";
import type { Trace } from "../trace/trace.js";
import { Descriptors, type Holding } from "./descriptors.js";

/** Numbers per open file description, by its index in `trace.objects`. Times in nanoseconds, NaN where there is none. */
export class Lives {
  readonly count: number;
  /** First event that mentions it, -1 for none; its thread and descriptor number. */
  readonly firstSeq: Float64Array;
  readonly firstThread: Int32Array;
  readonly firstFd: Int32Array;
  readonly opened: Float64Array;
  readonly closed: Float64Array;
  readonly closedBy: Float64Array;
  readonly calls: Float64Array;
  readonly reads: Float64Array;
  readonly writes: Float64Array;
  readonly bytesRead: Float64Array;
  readonly bytesWritten: Float64Array;
  readonly #trace: Trace;
  readonly #facts: CallFacts;

  private constructor(trace: Trace) {
    const count = trace.objects.length;
    const numbers = () => new Float64Array(count);
    this.count = count;
    this.firstSeq = numbers().fill(-1);
    this.firstThread = new Int32Array(count).fill(-1);
    this.firstFd = new Int32Array(count).fill(-1);
    this.opened = numbers().fill(Number.NaN);
    this.closed = numbers().fill(Number.NaN);
    this.closedBy = numbers();
    [this.calls, this.reads, this.writes] = [numbers(), numbers(), numbers()];
    [this.bytesRead, this.bytesWritten] = [numbers(), numbers()];
    this.#trace = trace;
    this.#facts = new CallFacts(trace);
  }

  /** `also` sees every call in its order, after it was accounted for. A damaged block ends the lives with an error. */
  static async read(
    trace: Trace,
    also?: (batch: EventBatch, i: number) => void,
  ): Promise<{ readonly lives: Lives; readonly failure: unknown }> {
    const lives = new Lives(trace);
    const descriptors = new Descriptors(trace, lives.#facts, lives.#ends);
    try {
      for await (const batch of trace.batches({ columns: CALL_COLUMNS })) {
        for (let i = 0; i < batch.count; i++) {
          descriptors.event(batch, i);
          if (batch.kind[i] !== EventKind.Call) continue;
          lives.#call(batch, i);
          also?.(batch, i);
        }
      }
    } catch (failure) {
      return { lives, failure };
    }
    return { lives, failure: undefined };
  }

  /** A released object that is held again was not closed after all: it had been sent to somebody meanwhile. */
  readonly #ends: Holding = {
    held: (object) => {
      this.closed[object] = Number.NaN;
    },
    released: (object, batch, i) => {
      this.closed[object] = endOf(batch, i);
      this.closedBy[object] = batch.firstSeq + i;
    },
  };

  #call(batch: EventBatch, i: number): void {
    const end = batch.refStart[i + 1] ?? 0;
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      if (batch.refSlot[r] === Slot.Cwd) continue;
      const object = batch.refObject[r] ?? 0;
      if (this.firstSeq[object] === -1) this.#meet(batch, i, object, batch.refFd[r] ?? -1);
      this.#count(object, batch, i);
    }
    const shape = this.#facts.shape(batch, i);
    if (shape !== undefined) this.#account(batch, i, shape.transfer);
  }

  #meet(batch: EventBatch, i: number, object: number, fd: number): void {
    const seq = batch.firstSeq + i;
    this.firstSeq[object] = seq;
    this.firstThread[object] = batch.thread[i] ?? -1;
    this.firstFd[object] = fd;
    if (this.#trace.objects[object]?.createdBy === seq) this.opened[object] = endOf(batch, i);
  }

  /** Parts of a call that the kernel restarted count once, with the whole. A call that names an object twice, too. */
  #count(object: number, batch: EventBatch, i: number): void {
    if (((batch.flags[i] ?? 0) & EventFlag.Interrupted) !== 0) return;
    if (this.#lastCounted === object && this.#lastSeq === batch.firstSeq + i) return;
    this.#lastCounted = object;
    this.#lastSeq = batch.firstSeq + i;
    this.calls[object] = (this.calls[object] ?? 0) + 1;
  }

  #lastCounted = -1;
  #lastSeq = -1;

  #account(batch: EventBatch, i: number, { from, to }: Transfer): void {
    if (from < 0 && to < 0) return;
    const bytes = this.#facts.bytes(batch, i);
    if (bytes === undefined) return;
    const end = batch.refStart[i + 1] ?? 0;
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      const object = batch.refObject[r] ?? 0;
      if (batch.refSlot[r] === from) {
        this.reads[object] = (this.reads[object] ?? 0) + 1;
        this.bytesRead[object] = (this.bytesRead[object] ?? 0) + bytes;
      } else if (batch.refSlot[r] === to) {
        this.writes[object] = (this.writes[object] ?? 0) + 1;
        this.bytesWritten[object] = (this.bytesWritten[object] ?? 0) + bytes;
      }
    }
  }
}

function endOf(batch: EventBatch, i: number): number {
  return (batch.start[i] ?? 0) + (batch.duration[i] ?? 0);
}
