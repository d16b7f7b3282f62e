/**
 * Is a spec enough, and is it tight? The program is run again under enforcement while it is recorded, and compared with the
 * recording that the spec was made from; then attempts are made at what it does not grant.
 */

import { release, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { native } from "../native.js";
import { startRecording } from "../record.js";
import { removeTemporary, temporaryDirectory } from "../temporary.js";
import { openTrace } from "../trace/open.js";
import type { Trace } from "../trace/trace.js";
import { type CheckResult, checkTrace, roleOf } from "./check.js";
import { Collector, type Observation, type ObservedProbe, type ObservedRole } from "./collect.js";
import type { Compiled, CompileOptions } from "./compile.js";
import { needsDescriptors } from "./descriptors.js";
import { preparePolicy, type Refusal, tellRefusals } from "./enforce.js";
import { firstRung } from "./generalise.js";
import type { Grant, Spec, Verb } from "./model.js";
import { isAliasOf } from "./needed.js";
import { type ProbeResult, probeAll } from "./probes.js";
import { identityName } from "./roles.js";
import { type Tokens, tokensOfRun } from "./tokens.js";

/** A call that failed under enforcement, and had worked before. */
export interface FatalDenial {
  readonly role: string;
  readonly verb: string;
  readonly object: string;
  readonly error: string;
  /** Event of the enforced recording. */
  readonly seq: number;
  readonly grant: Pick<Grant, "verb" | "object">;
}

export interface Proof {
  /** Each recording that was looked at, and what it did outside the spec. */
  readonly checks: readonly (CheckResult & { readonly trace: string })[];
  readonly run: {
    /** `exit 0`, `signal 9`. */
    readonly ended: string;
    /** It had not ended by itself after so many milliseconds, and was ended with all that it had started. */
    readonly late?: number;
    /** How the recording ended; undefined when there is none. */
    readonly before: string | undefined;
    readonly refusals: readonly Refusal[];
    /** How many more refusals there were than could be told. */
    readonly leftOut?: number;
    readonly fatal: FatalDenial | undefined;
  };
  readonly probes: readonly ProbeResult[];
  readonly compiled: Compiled;
  readonly kernel: string;
  readonly landlock: number;
  readonly proved: boolean;
}

export interface ProveOptions extends CompileOptions {
  readonly command: readonly string[];
  readonly weaker?: boolean;
  /** How many milliseconds the enforced run may take; `timeLimit` when left out. */
  readonly timeout?: number;
  /** Where the enforced run is recorded; nowhere to stay when left out. */
  readonly output?: string;
}

/** @throws TraceError as `startEnforced` and `openTrace` do */
export async function prove(
  spec: Spec,
  baselines: readonly Trace[],
  options: ProveOptions,
): Promise<Proof> {
  const checks: (CheckResult & { readonly trace: string })[] = [];
  for (const trace of baselines)
    checks.push({ ...(await checkTrace(spec, trace)), trace: trace.path });
  const compiled = preparePolicy(spec, options);
  const limit = options.timeout ?? timeLimit(baselines);
  const run = await enforcedRun(spec, compiled, baselines[0], { ...options, timeout: limit });
  const probes = await probeAll(spec, compiled.policy, options.tokens);
  const isSufficient = run.fatal === undefined && run.late === undefined && endsAsBefore(run);
  const isInside = checks.every(({ violations }) => violations.length === 0);
  return {
    checks,
    run,
    probes,
    compiled,
    kernel: release(),
    landlock: native().landlockVersion(),
    proved: isSufficient && isInside && probes.every(({ denied }) => denied),
  };
}

/** Shorter programs may have to wait for the machine, or for others. */
const LEAST_MS = 60_000;
/** How many times what the recording took an enforced run may take. Recorded as well, most take two or three times. */
const TIMES = 10;
/** What a timer can wait. */
const MOST_MS = 2 ** 31 - 1;

/** How many milliseconds a run under enforcement may take, by the longest recording: after that it hangs. */
export function timeLimit(baselines: readonly Pick<Trace, "duration">[]): number {
  const longest = Math.max(0, ...baselines.map(({ duration }) => duration / 1e6));
  return Math.min(Math.max(LEAST_MS, Math.ceil(TIMES * longest)), MOST_MS);
}

async function enforcedRun(
  spec: Spec,
  compiled: Compiled,
  baseline: Trace | undefined,
  options: ProveOptions & { readonly timeout: number },
): Promise<Proof["run"]> {
  const folder = temporaryDirectory(join(tmpdir(), "trace-prove-"));
  const output = options.output ?? join(folder, "enforced.trace");
  const refusals: Refusal[] = [];
  let leftOut = 0;
  const told = {
    onRefusal: (refusal: Refusal) => void refusals.push(refusal),
    onLeftOut: (count: number) => {
      leftOut += count;
    },
  };
  const { timeout } = options;
  const { take, all } = tellRefusals(options.tokens, told);
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), timeout);
  try {
    const result = await startRecording({
      command: options.command,
      output,
      force: true,
      observe: true,
      signal: end.signal,
      inheritDescriptors: needsDescriptors(spec),
      enforce: {
        policy: JSON.stringify(compiled.policy),
        onRefusal: take,
      },
    })
      .result.then(all)
      .finally(() => clearTimeout(timer));
    const ended =
      result.exitSignal === undefined ? `exit ${result.exitCode}` : `signal ${result.exitSignal}`;
    const enforced = await openTrace(output);
    try {
      const before = baseline && endOf(baseline);
      const mayLack = endsAsBefore({ ended, before });
      const fatal =
        baseline && (await fatalDenial(enforced, baseline, spec, options.tokens, mayLack));
      return {
        ended,
        before,
        refusals,
        ...(leftOut > 0 && { leftOut }),
        fatal,
        ...(end.signal.aborted && { late: timeout }),
      };
    } finally {
      enforced.close();
    }
  } finally {
    clearTimeout(timer);
    removeTemporary(folder);
  }
}

function endsAsBefore({ ended, before }: Pick<Proof["run"], "ended" | "before">): boolean {
  return before === undefined || before === ended;
}

function endOf({ info }: Trace): string | undefined {
  if (info.status === undefined) return undefined;
  const signal = info.status & 0x7f;
  return signal === 0 ? `exit ${(info.status >> 8) & 0xff}` : `signal ${signal}`;
}

const REFUSED: ReadonlySet<string> = new Set(["EACCES", "EPERM", "ENOSYS", "EXDEV"]);

/**
 * The first call that was refused and that the same program could make before, be it under another name: what else was
 * refused is noise. `mayLack`: so is that there is no such call (ENOSYS), as a kernel before it says: programs then do without.
 */
async function fatalDenial(
  enforced: Trace,
  baseline: Trace,
  spec: Spec,
  tokens: Tokens,
  mayLack: boolean,
): Promise<FatalDenial | undefined> {
  const [now, before] = [await Collector.read(enforced), await Collector.read(baseline)];
  const named = { now: namesOf(now), before: namesOf(before) };
  const denials = [...now.roles.values()].flatMap((role) =>
    [...role.probes.values()]
      .filter(({ error }) => REFUSED.has(error))
      .map((probe) => ({ role, probe })),
  );
  denials.sort((a, b) => a.probe.first - b.probe.first);
  for (const { role, probe } of denials) {
    const own = sameRole(before, role, spec);
    if (own === undefined) continue;
    const name = named.now(probe);
    const had = [...own.accesses.values()]
      .filter(({ verb }) => verb === probe.verb)
      .map(named.before);
    const failed = (error?: string) =>
      [...own.probes.values()].some(
        (other) =>
          other.verb === probe.verb &&
          named.before(other) === name &&
          (error === undefined || other.error === error),
      );
    // What has a new name in each run, beside that of before.
    const isMade = () =>
      probe.verb === "create" && had.some((other) => dirname(other) === dirname(name)) && !failed();
    if (!had.includes(name) && !isMade()) continue;
    // One verb stands for several questions, as access(2) asks of three rights: what worked still does, what failed had failed.
    const has = [...role.accesses.values()].some(
      (access) => access.verb === probe.verb && named.now(access) === name,
    );
    if (has && failed(probe.error)) continue;
    if (isLacking(probe) && (mayLack || isReplaced(probe, role))) continue;
    return {
      role: identityName(role.identity, role.lines[0]?.[0]),
      verb: probe.verb,
      object: probe.object,
      error: probe.error,
      seq: probe.first,
      grant: { verb: probe.verb, object: firstRung(probe, tokens).object },
    };
  }
  return undefined;
}

/** What objects of a run are called, wherever it ran. */
function namesOf(seen: Observation): (access: Pick<ObservedProbe, "verb" | "object">) => string {
  const tokens = tokensOfRun(seen);
  return (access) => firstRung(access, tokens).object;
}

function isLacking({ verb, error }: ObservedProbe): boolean {
  return verb === "syscall" && error === "ENOSYS";
}

/** Whether the program has made another call that does the same. */
function isReplaced({ object }: ObservedProbe, role: ObservedRole): boolean {
  const made = [...role.accesses.values()].filter(({ verb }) => verb === "syscall");
  return made.some((other) => other.object !== object && isAliasOf(object, other.object));
}

/** The same program in another run: by name, or, of one that is made anew in each run, by what it is in the spec. */
function sameRole(seen: Observation, role: ObservedRole, spec: Spec): ObservedRole | undefined {
  const named =
    seen.roles.get(role.key) ??
    [...seen.roles.values()].find(({ identity }) => identity.exe === role.identity.exe);
  if (named !== undefined) return named;
  const tokens = tokensOfRun(seen);
  const own = roleOf(spec, role, tokens);
  return own && [...seen.roles.values()].find((other) => roleOf(spec, other, tokens) === own);
}

/** Whether a spec with these grants left out is still enough; undefined: there will be no more answers. */
export type StillWorks = (spec: Spec) => Promise<boolean | undefined>;

/** Verbs whose grants may be tried. Whether the others are needed shows in what a program leaves behind, and not in the program. */
const WITHOUT_TRACE: ReadonlySet<Verb> = new Set<Verb>(["read", "list", "stat"]);

/**
 * Removes grants as long as the program goes on working: halves first, then halves of halves. Calls of the system are
 * left alone, since what they would be needed for happens seldom. When there are no more answers, what was not tried stays
 * (`isWhole` is false).
 */
export async function minimize(
  spec: Spec,
  works: StillWorks,
): Promise<{ readonly spec: Spec; readonly removed: number; readonly isWhole: boolean }> {
  let current = spec;
  let removed = 0;
  let isWhole = true;
  for (const { name } of spec.roles) {
    const role = current.roles.find((one) => one.name === name);
    const candidates = role?.grants.filter(({ verb }) => WITHOUT_TRACE.has(verb)) ?? [];
    const drop = async (grants: readonly Grant[]): Promise<void> => {
      if (grants.length === 0 || !isWhole) return;
      const trial = without(current, name, new Set(grants));
      const answer = await works(trial);
      isWhole = answer !== undefined;
      if (answer === true) {
        current = trial;
        removed += grants.length;
        return;
      }
      if (grants.length === 1) return;
      const middle = grants.length >> 1;
      await drop(grants.slice(0, middle));
      await drop(grants.slice(middle));
    };
    await drop(candidates);
  }
  return { spec: current, removed, isWhole };
}

function without(spec: Spec, name: string, grants: ReadonlySet<Grant>): Spec {
  const roles = spec.roles.map((role) =>
    role.name === name
      ? { ...role, grants: role.grants.filter((grant) => !grants.has(grant)) }
      : role,
  );
  return { ...spec, roles };
}
