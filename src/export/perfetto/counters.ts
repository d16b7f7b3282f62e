/** What each process has open, and how many bytes it has moved so far: by the descriptors and transfers of the tables. */

import type { CallFacts } from "../../query/facts.js";
import { Descriptors } from "../../tables/descriptors.js";
import type { EventBatch } from "../../trace/batch.js";
import type { Trace } from "../../trace/trace.js";

export const COUNTERS = ["descriptors", "read", "written"] as const;

export type Counters = Readonly<Record<(typeof COUNTERS)[number], number>>;

export const NOTHING: Counters = { descriptors: 0, read: 0, written: 0 };

interface Moved {
  read: number;
  written: number;
}

export class ProcessCounters {
  readonly #trace: Trace;
  readonly #facts: CallFacts;
  readonly #descriptors: Descriptors;
  readonly #moved = new Map<number, Moved>();

  constructor(trace: Trace, facts: CallFacts) {
    this.#trace = trace;
    this.#facts = facts;
    this.#descriptors = new Descriptors(trace, facts);
  }

  /** All events have to be given, in their order. */
  follow(batch: EventBatch, i: number): void {
    this.#descriptors.event(batch, i);
    const { from, to } = this.#facts.shape(batch, i)?.transfer ?? { from: -1, to: -1 };
    if (from < 0 && to < 0) return;
    const bytes = this.#facts.bytes(batch, i) ?? 0;
    if (bytes === 0) return;
    const moved = this.#of(this.#trace.threads[batch.thread[i] ?? -1]?.process ?? 0);
    if (from >= 0) moved.read += bytes;
    if (to >= 0) moved.written += bytes;
  }

  #of(process: number): Moved {
    let moved = this.#moved.get(process);
    if (moved === undefined) {
      moved = { read: 0, written: 0 };
      this.#moved.set(process, moved);
    }
    return moved;
  }

  of(process: number): Counters {
    const { read = 0, written = 0 } = this.#moved.get(process) ?? {};
    return { descriptors: this.#descriptors.count(process), read, written };
  }
}
