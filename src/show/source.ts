/** What the formatters that depend on the order of entries and exits need of a reader. */

import type { TraceContext } from "../decode/context.js";
import type { EventBatch } from "../trace/batch.js";

/** Calls during which other events were committed, in the order of their entries. */
export interface SpanningCalls {
  /** `entry[k]` is the event number before which the entry of call `seq[k]` stands. Ascending. */
  readonly entry: ArrayLike<number>;
  readonly seq: ArrayLike<number>;
}

export interface EventSource {
  readonly trace: TraceContext;
  batches(): AsyncIterable<EventBatch>;
  spanningCalls(): Promise<SpanningCalls>;
  /** The event of that number, wherever it is. */
  eventAt(seq: number): Promise<{ readonly batch: EventBatch; readonly i: number } | undefined>;
}

/** Which events to show. */
export type Keep = (batch: EventBatch, i: number) => boolean;
