/** The events that an export is made of, in their order. */

import type { EventBatch } from "../trace/batch.js";
import type { Trace } from "../trace/trace.js";

export interface EventStream {
  readonly trace: Trace;
  /** Ends without an error where the trace is damaged; `missing` says so then. */
  batches(): AsyncIterable<EventBatch>;
  /** Whether the batches begin with the first event of the trace, so that whoever counts misses none. */
  readonly isFromStart: boolean;
  /** Which events of a batch are chosen. */
  keep(batch: EventBatch, i: number): boolean;
  /** Why the trace is not whole, when that is so; known for certain after the last batch. */
  readonly missing: string | undefined;
}
