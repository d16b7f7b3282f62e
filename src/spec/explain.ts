/** Events of a recording that need a grant. */

import { decodeCall } from "../decode/call.js";
import { wholeCallText } from "../show/strace.js";
import { keptStacks, siteOf, siteText } from "../stacks/kept.js";
import type { StackTable } from "../stacks/table.js";
import { EventKind } from "../trace/batch.js";
import { threadName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { Collector, type ObservedRole } from "./collect.js";
import { RoleEvaluator } from "./evaluate.js";
import type { Grant, Role, Spec } from "./model.js";
import { matchRole } from "./roles.js";
import { expanded, tokensOfRun } from "./tokens.js";

export interface Explained {
  /** One line for each event: number, thread, call. */
  readonly lines: readonly string[];
  readonly total: number;
}

/** Events of `trace` in which `role` uses `grant`; at most `top` of them as lines, 0 for all. */
export async function eventsOf(
  trace: Trace,
  spec: Spec,
  role: Role,
  grant: Grant,
  top: number,
): Promise<Explained> {
  const accesses: { seq: number; observed: ObservedRole; verb: Grant["verb"]; object: string }[] =
    [];
  const seen = await Collector.read(trace, {
    access(seq, observed, verb, object, error) {
      if (error === undefined && verb === grant.verb)
        accesses.push({ seq, observed, verb, object });
    },
  });
  const tokens = tokensOfRun(seen);
  const evaluator = new RoleEvaluator({ ...role, grants: [grant] }, tokens);
  const isRole = new Map<ObservedRole, boolean>();
  const belongs = (observed: ObservedRole): boolean => {
    let known = isRole.get(observed);
    if (known === undefined) {
      const argv = observed.lines[0] ?? [];
      const own = matchRole(spec.roles, observed.identity.exe, argv, seen.cwd, (text) =>
        expanded(text, tokens),
      );
      known = own?.name === role.name;
      isRole.set(observed, known);
    }
    return known;
  };
  const seqs = accesses
    .filter(({ observed, verb, object }) => belongs(observed) && evaluator.grantFor(verb, object))
    .map(({ seq }) => seq);
  const lines: string[] = [];
  const shown = top === 0 ? seqs : seqs.slice(0, top);
  const stacks = shown.length > 0 ? await keptStacks(trace, shown) : undefined;
  for (const seq of shown) lines.push(await eventLine(trace, seq, stacks));
  return { lines, total: seqs.length };
}

const NOTATION = { stringLimit: 64, verbose: false, descriptors: "path" } as const;

/** With the line of the program that made the call, where the trace holds its stack. */
async function eventLine(
  trace: Trace,
  seq: number,
  stacks: StackTable | undefined,
): Promise<string> {
  const found = await trace.eventAt(seq);
  if (found === undefined) return `@${seq}`;
  const { batch, i } = found;
  const thread = trace.threads[batch.thread[i] ?? -1];
  const who = thread === undefined ? "?" : threadName(thread);
  if (batch.kind[i] !== EventKind.Call) return `@${seq}  ${who}  starts the program`;
  const site = siteOf(stacks?.of(seq));
  const from = site === undefined ? "" : `  at ${siteText(site)}`;
  return `@${seq}  ${who}  ${wholeCallText(decodeCall(batch, i, trace), NOTATION)}${from}`;
}
