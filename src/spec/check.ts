/** Does a recording stay inside a spec? Every access that it does not grant, with the grant that would. */

import type { Trace } from "../trace/trace.js";
import { Collector, type Observed, type ObservedRole, PID_MARK } from "./collect.js";
import { RoleEvaluator } from "./evaluate.js";
import { firstRung } from "./generalise.js";
import type { Proposal } from "./learner.js";
import type { Grant, Role, Spec } from "./model.js";
import { WITHHELD } from "./needed.js";
import { identityName, matchRole } from "./roles.js";
import { expanded, type Tokens, tokensOfRun } from "./tokens.js";

export interface Violation {
  /** Name of the role, or of the program when the spec has no role for it. */
  readonly role: string;
  readonly isUnknownRole: boolean;
  readonly verb: string;
  readonly object: string;
  readonly count: number;
  /** Number of the first event. */
  readonly first: number;
  /** What to add to the role's grants. */
  readonly grant: Grant;
}

export interface CheckResult {
  readonly violations: readonly Violation[];
  /** Why the recording cannot tell whether it stays inside. */
  readonly unknown: readonly string[];
  /** Accesses that were asked about. */
  readonly accesses: number;
}

export async function checkTrace(spec: Spec, trace: Trace): Promise<CheckResult> {
  const seen = await Collector.read(trace);
  const tokens = tokensOfRun(seen);
  const roles = new Map<string, Role | undefined>();
  for (const observed of seen.roles.values())
    roles.set(observed.key, roleOf(spec, observed, tokens));
  const violations: Violation[] = [];
  let accesses = 0;
  for (const observed of seen.roles.values()) {
    const role = roles.get(observed.key);
    accesses += observed.accesses.size;
    if (role === undefined) violations.push(...strangers(observed));
    else violations.push(...outside(role, observed, roles, tokens));
  }
  violations.sort((a, b) => a.first - b.first);
  return { violations, unknown: seen.unknown, accesses };
}

/** The role of a spec that a program of a recording has. */
export function roleOf(spec: Spec, observed: ObservedRole, tokens: Tokens): Role | undefined {
  const argv = observed.lines[0] ?? [];
  const cwd = tokens.PWD ?? "/";
  return matchRole(spec.roles, observed.identity.exe, argv, cwd, (text) => expanded(text, tokens));
}

/** A program that the spec has no role for: its first access stands for all. */
function strangers(observed: ObservedRole): Violation[] {
  const first = [...observed.accesses.values()].reduce(
    (least, { first: seq }) => Math.min(least, seq),
    Number.MAX_SAFE_INTEGER,
  );
  const { exe } = observed.identity;
  return [
    {
      role: identityName(observed.identity, observed.lines[0]?.[0]),
      isUnknownRole: true,
      verb: "exec",
      object: exe,
      count: observed.processes,
      first,
      grant: { verb: "exec", object: exe, because: "manual" },
    },
  ];
}

function outside(
  role: Role,
  observed: ObservedRole,
  roles: ReadonlyMap<string, Role | undefined>,
  tokens: Tokens,
): Violation[] {
  const evaluator = new RoleEvaluator(role, tokens);
  const found: Violation[] = [];
  for (const access of observed.accesses.values()) {
    const object = access.object.replace(
      /^role (.*)$/s,
      (_, key: string) => `role:${roles.get(key)?.name ?? "?"}`,
    );
    if (access.verb === "syscall" && WITHHELD.has(object)) continue;
    if (evaluator.grantFor(access.verb, object) !== undefined) continue;
    found.push(violationOf(role, { ...access, object }, tokens));
  }
  return found;
}

function violationOf(role: Role, access: Observed, tokens: Tokens): Violation {
  const { object } = firstRung(access, tokens);
  return {
    role: role.name,
    isUnknownRole: false,
    verb: access.verb,
    object: access.object.replaceAll(PID_MARK, "PID"),
    count: access.count,
    first: access.first,
    grant: { verb: access.verb, object },
  };
}

/** The line that allows what a role was refused. One that is there may allow it in one phase alone: two would contradict. */
export function allowingLine(roles: readonly Role[], name: string, grant: Proposal): string {
  const own = roles.find((role) => role.name === name)?.grants ?? [];
  const known = own.find(({ verb, object }) => verb === grant.verb && object === grant.object);
  const line = grantLine(grant);
  return known?.phase === undefined ? line : `${line}, in place of that for phase ${known.phase}`;
}

/** A grant as the line to put into the spec. */
export function grantLine({ verb, object, rung, adds, beyond }: Proposal): string {
  const quote = (text: string) =>
    /^[\w$/.@+=-][\w$/.@+=:*-]*$/.test(text) && !text.endsWith(":") ? text : JSON.stringify(text);
  const more = [rung && `, rung: ${rung}`, adds !== undefined && `, adds: ${adds}`];
  const line = `- {verb: ${quote(verb)}, object: ${quote(object)}${more.filter(Boolean).join("")}}`;
  return beyond === undefined ? line : `${line}; a name that is new in each run needs ${beyond}`;
}
