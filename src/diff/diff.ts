/** Compares two traces. */

import { TraceError } from "../errors.js";
import { append } from "../group.js";
import { baseName } from "../report/path.js";
import { counted } from "../report/units.js";
import { statusText } from "../trace/info.js";
import { openTrace } from "../trace/open.js";
import type { Trace } from "../trace/trace.js";
import { type Canonical, canonical, mismatches } from "./canon/canonical.js";
import type { CanonicalTrace } from "./canon/trace.js";
import { causesOf } from "./causes.js";
import { compareProcesses } from "./compare.js";
import { isCut } from "./cut.js";
import { Explainer } from "./explain.js";
import { loneEffects, loneProcesses } from "./lone.js";
import { maskedAspect, maskedDifference } from "./mask.js";
import { OwnDifferences } from "./own.js";
import type { PlaceMap } from "./places.js";
import type { DiffResult, TraceSide } from "./result.js";
import { type ProjectRules, RULE_NAMES, type RuleName, RuleSet } from "./rules.js";
import { withSources } from "./sources.js";
import { countsOf, filesOf, netOf, startsOf } from "./summary.js";

export interface DiffOptions extends ProjectRules {
  /** Rules that are not applied. */
  readonly without?: readonly RuleName[];
  /** What `b` in the second trace is in the first. Working directory, home, user and host are found by themselves. */
  readonly maps?: readonly { readonly a: string; readonly b: string }[];
  /** More runs like the first: what they differ from it in does not count. */
  readonly like?: readonly (Trace | string)[];
  /** Milliseconds by which a single call has to be slower, and five times slower, to count. Default 300; more where the machine was busy. */
  readonly slowCall?: number;
  /** Masks values of environment variables whose names look like secrets, as `trace diff` does. Default false. */
  readonly maskSecrets?: boolean;
}

const SLOW_CALL_MS = 300;
/** How much longer than what a busy machine adds to a call that never waits. */
const ABOVE_NOISE = 2;

/**
 * What the second run did differently from the first. Takes open traces or paths of trace files.
 *
 * @throws TraceError as `openTrace` does
 */
export async function diff(
  a: Trace | string,
  b: Trace | string,
  options: DiffOptions = {},
): Promise<DiffResult> {
  const opened: Trace[] = [];
  const open = async (trace: Trace | string): Promise<Trace> => {
    if (typeof trace !== "string") return trace;
    const own = await openTrace(trace);
    opened.push(own);
    return own;
  };
  try {
    const first = await open(a);
    const own = new OwnDifferences();
    for (const run of options.like ?? []) {
      own.add(await diffTraces(first, await open(run), options, new OwnDifferences()));
    }
    return await diffTraces(first, await open(b), options, own);
  } finally {
    for (const trace of opened) trace.close();
  }
}

export function ruleSet(options: DiffOptions): RuleSet {
  return new RuleSet(options.without ?? [], options);
}

export function givenMaps(options: DiffOptions): PlaceMap[] {
  return (options.maps ?? []).map((map) => ({ what: "--map", ...map }));
}

/** A trace of which no event can be read is like any other, whatever was recorded. @throws TraceError unless it holds none */
function refuseNone({ trace: { path, state }, failure }: CanonicalTrace): void {
  const again = { hint: "record it again: trace record -o FILE PROGRAM" };
  const none = "nothing can be compared";
  if (failure !== undefined) {
    const message = `${path} cannot be read from its first event on: ${none}: ${failure.message}`;
    throw new TraceError(failure.code, message, { ...again, cause: failure });
  }
  if (state === "cut")
    throw new TraceError("CUT", `${path} is cut before its first event: ${none}`, again);
  if (state === "recording")
    throw new TraceError("BUSY", `${path} holds no events yet: ${none}`, {
      hint: "wait until the recording ends",
    });
}

async function diffTraces(
  a: Trace,
  b: Trace,
  options: DiffOptions,
  own: OwnDifferences,
): Promise<DiffResult> {
  const rules = ruleSet(options);
  const c = await canonical(a, b, { rules, maps: givenMaps(options) });
  for (const { canon } of [c.a, c.b]) if (canon.streams.length === 0) refuseNone(canon);
  const noise = Math.max(c.a.canon.noise, c.b.canon.noise) / 1000;
  const slowCall = Math.max((options.slowCall ?? SLOW_CALL_MS) * 1000, ABOVE_NOISE * noise);
  const compared = groupsOf(c).map((group) => compareProcesses(c, group, { slowCall }));
  const explainer = new Explainer(c);
  const all = await explainer.all(compared, (one) => own.has(one));
  const allLones = loneProcesses(c);
  const lones = allLones.filter((lone) => !own.hasProcess(lone));
  if (lones.length < allLones.length)
    all.explained.set("like", (all.explained.get("like") ?? 0) + allLones.length - lones.length);
  const effects = await loneEffects(c, explainer, lones);
  const isMasked = options.maskSecrets === true;
  const differences = isMasked ? all.differences.map(maskedDifference) : all.differences;
  const causes = await causesOf(c, explainer, differences, all.isRacy, lones);
  const verdict = differences.length + lones.length + all.more > 0 ? "different" : "same";
  const differing = new Set(differences.map(({ process }) => `${process.a} ${process.b}`));
  const result: Omit<DiffResult, "summary"> = {
    verdict,
    a: sideOf(a, c.a.canon.failure !== undefined),
    b: sideOf(b, c.b.canon.failure !== undefined),
    notes: notesOf(c, effects.left),
    maps: c.places.maps,
    firstCause: causes.first,
    otherCauses: causes.others,
    files: filesOf(differences, effects.files),
    programs: lones,
    net: netOf(differences, effects.net),
    starts: startsOf(all.differences).map(({ process, aspects }) => ({
      process,
      aspects: isMasked ? aspects.map(maskedAspect) : aspects,
    })),
    counts: countsOf(c),
    differences,
    more: all.more,
    totals: {
      eventsA: eventsOf(c, "a"),
      eventsB: eventsOf(c, "b"),
      equal: compared.reduce((sum, { equal }) => sum + equal, 0),
      moved: compared.reduce((sum, { moved }) => sum + moved, 0),
      processPairs: c.lineage.pairs.filter(({ a: one, b: other }) => one > 0 && other > 0).length,
      processesDiffering: differing.size + lones.length,
    },
    explained: Object.fromEntries(all.explained),
    rules: RULE_NAMES.filter((name) => rules.has(name)),
  };
  return withSources({ ...result, summary: summaryOf(result) }, a, b);
}

/** Pairs of processes that are compared together: one alone, or a pool. */
function groupsOf({ lineage, rules }: Canonical): number[][] {
  const groups = new Map<number, number[]>();
  lineage.pairs.forEach(({ a, b }, pair) => {
    if (a === 0 || b === 0) return;
    const first = rules.has("pools") ? (lineage.pools[pair] ?? pair) : pair;
    append(groups, first, pair);
  });
  return [...groups.values()];
}

function eventsOf(c: Canonical, key: "a" | "b"): number {
  return c[key].canon.streams.reduce((sum, stream) => sum + (stream?.length ?? 0), 0);
}

function summaryOf({
  verdict,
  differences,
  programs,
  more,
  totals,
  a,
  b,
}: Omit<DiffResult, "summary">): string {
  const exits = a.exit === b.exit ? "" : `; ${a.exit} in A, ${b.exit} in B`;
  if (verdict === "same") {
    return `the same: ${counted(totals.equal, "event")} in ${counted(totals.processPairs, "process", "processes")}${exits}`;
  }
  const count = differences.length + more;
  const parts = [
    ...(count > 0 ? [counted(count, "difference")] : []),
    ...(programs.length > 0
      ? [`${counted(programs.length, "process", "processes")} in one only`]
      : []),
  ];
  const processes = totals.processPairs + programs.length;
  return `different: ${parts.join(", ")}, in ${totals.processesDiffering} of ${counted(processes, "process", "processes")}${exits}`;
}

function sideOf(trace: Trace, isDamaged: boolean): TraceSide {
  const { status } = trace.info;
  return {
    path: trace.path,
    command: trace.info.command,
    events: trace.eventCount,
    processes: trace.processes.length,
    threads: trace.threads.length,
    duration: trace.duration,
    exit: status === undefined ? "no end" : statusText(status),
    state: isDamaged ? "damaged" : trace.state,
  };
}

function notesOf(c: Canonical, filesLeft: number): string[] {
  const [a, b] = [c.a.canon, c.b.canon];
  const notes = mismatches(a.trace, b.trace);
  const programs = [a, b].map((canon) => canon.processes.get(1)?.programs.at(-1)?.path ?? "");
  const names = programs.map(baseName);
  if (names[0] !== names[1]) {
    notes.unshift(
      `these are runs of different programs: ${names[0] || "?"} in A, ${names[1] || "?"} in B`,
    );
  }
  for (const [label, canon] of [["A", a] as const, ["B", b] as const]) {
    if (!isCut(canon)) continue;
    const other = label === "A" ? "B" : "A";
    const why = canon.failure === undefined ? "" : `: ${canon.failure.message}`;
    notes.push(
      `${label} is cut: it ends at @${Math.max(0, canon.trace.eventCount - 1)}, and what ${other} did after that is not compared${why}`,
    );
  }
  if (filesLeft > 0)
    notes.push(`${counted(filesLeft, "more file")} of processes that only one has, not listed`);
  return notes;
}
