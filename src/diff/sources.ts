/** The lines of source that made the calls of a result: looked up afterwards, only for the calls that it names. */

import { keptStacks, siteOf } from "../stacks/kept.js";
import type { StackTable } from "../stacks/table.js";
import type { Trace } from "../trace/trace.js";
import { isDamage } from "./canon/trace.js";
import type { Cause, ContextLine, DiffResult, EventRef } from "./result.js";

/** The same result, with the source of each call whose stack its trace holds. No trace is replayed for that. */
export async function withSources(result: DiffResult, a: Trace, b: Trace): Promise<DiffResult> {
  const causes = [...(result.firstCause ? [result.firstCause] : []), ...result.otherCauses];
  const seqsOf = (key: "a" | "b", context: "contextA" | "contextB") => [
    ...result.differences.flatMap((one) => one[key]?.seq ?? []),
    ...causes.flatMap((cause) => cause[context].filter(({ mark }) => mark).map(({ seq }) => seq)),
  ];
  const [ofA, ofB] = [
    await stacksOf(a, seqsOf("a", "contextA")),
    await stacksOf(b, seqsOf("b", "contextB")),
  ];
  if (ofA === undefined && ofB === undefined) return result;
  const withSource = (cause: Cause): Cause => ({
    ...cause,
    contextA: cause.contextA.map((line) => marked(line, ofA)),
    contextB: cause.contextB.map((line) => marked(line, ofB)),
  });
  return {
    ...result,
    firstCause: result.firstCause && withSource(result.firstCause),
    otherCauses: result.otherCauses.map(withSource),
    differences: result.differences.map((one) => ({
      ...one,
      a: one.a && sourced(one.a, ofA),
      b: one.b && sourced(one.b, ofB),
    })),
  };
}

/** Stacks of events. That they are damaged is no matter of a comparison: `trace show --stacks` says it. */
async function stacksOf(trace: Trace, seqs: readonly number[]): Promise<StackTable | undefined> {
  const only = [...new Set(seqs)].filter((seq) => seq >= 0).sort((one, other) => one - other);
  if (only.length === 0) return undefined;
  try {
    return await keptStacks(trace, only);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return undefined;
  }
}

function sourced<R extends EventRef>(ref: R, stacks: StackTable | undefined): R {
  const source = siteOf(stacks?.of(ref.seq));
  return source === undefined ? ref : { ...ref, source };
}

function marked(line: ContextLine, stacks: StackTable | undefined): ContextLine {
  return line.mark ? sourced(line, stacks) : line;
}
