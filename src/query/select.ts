/** From a filter to the events of a trace that it chooses, reading no more of the file than it must. */

import type { NativeChoiceParts } from "../native.js";
import type { ColumnGroup, EventBatch } from "../trace/batch.js";
import { inUtf8 } from "../trace/byte_text.js";
import type { ReadOptions, Trace } from "../trace/trace.js";
import { choiceOf } from "./choice.js";
import { CallFacts } from "./facts.js";
import { compileFilter, type Filter } from "./filter/index.js";
import { ProcessTimes } from "./process_times.js";
import { BatchResolver, columnsFor, needsProcesses } from "./resolver.js";

export interface Selection {
  /** Column groups that `keep` looks at. */
  readonly columns: readonly ColumnGroup[];
  /** What the filter says of event numbers, times: blocks outside need not be read. */
  readonly read: Pick<ReadOptions, "from" | "to" | "fromTime" | "toTime">;
  /** For readers of batches that need not be whole (`ReadOptions.choice`): what `keep` cannot choose is left out of them. */
  readonly choice?: NativeChoiceParts;
  /** Whether event `i` is chosen; undefined when every event is. */
  readonly keep: ((batch: EventBatch, i: number) => boolean) | undefined;
}

export async function selectEvents(trace: Trace, filter: Filter | undefined): Promise<Selection> {
  if (filter === undefined) return { columns: ["core"], read: {}, keep: undefined };
  const parents = new Map(trace.processes.map(({ number, parent }) => [number, parent]));
  const resolver = new BatchResolver({
    threads: trace.threads,
    facts: new CallFacts(trace),
    times: needsProcesses(filter) ? await ProcessTimes.read(trace) : undefined,
    parentOf: (process) => parents.get(process) ?? 0,
    // Paths in arguments of a command are UTF-8.
    pathOf: (object) => inUtf8(trace.objects[object]?.path ?? ""),
    kindOf: (object) => trace.objects[object]?.kind ?? "unknown",
  });
  const chosen = compileFilter(filter, resolver);
  const keep = (batch: EventBatch, i: number): boolean => {
    resolver.batch = batch;
    return chosen(i);
  };
  const choice = choiceOf(filter, trace.threads);
  return { columns: columnsFor(filter), read: boundsOf(filter), keep, ...(choice && { choice }) };
}

/** Ranges that hold for everything that the filter chooses: those that stand alone, or in an `and`. */
function boundsOf(filter: Filter): Selection["read"] {
  const terms = filter.type === "and" ? filter.terms : [filter];
  const bounds: { from?: number; to?: number; fromTime?: number; toTime?: number } = {};
  for (const term of terms) {
    if (term.type === "events") {
      bounds.from = Math.max(bounds.from ?? 0, term.from ?? 0);
      bounds.to = Math.min(
        bounds.to ?? Number.MAX_SAFE_INTEGER,
        term.to ?? Number.MAX_SAFE_INTEGER,
      );
    } else if (term.type === "times") {
      bounds.fromTime = Math.max(bounds.fromTime ?? 0, term.from ?? 0);
      bounds.toTime = Math.min(
        bounds.toTime ?? Number.MAX_SAFE_INTEGER,
        term.to ?? Number.MAX_SAFE_INTEGER,
      );
    } else if (term.type === "and") {
      const inner = boundsOf(term);
      if (inner.from !== undefined) bounds.from = Math.max(bounds.from ?? 0, inner.from);
      if (inner.to !== undefined) bounds.to = Math.min(bounds.to ?? inner.to, inner.to);
    }
  }
  return bounds;
}

/** The column groups of both. */
export function columnsOfBoth(a: readonly ColumnGroup[], b: readonly ColumnGroup[]): ColumnGroup[] {
  return [...new Set([...a, ...b])];
}
