/** A spec becomes the policy that the enforcer holds programs to, for this machine and this moment. */

import { dirname } from "node:path";
import { constant } from "../decode/flags.js";
import { X86_64 } from "../decode/names.generated.js";
import { SYSCALLS } from "../decode/tables.generated.js";
import { TraceError } from "../errors.js";
import { CALL_NUMBERS, callNumber, USER_CALLS } from "./calls.js";
import { canonical, isOfThisProcess } from "./canonical.js";
import { unneededCapabilities } from "./capabilities.js";
import { choicePolicies, choiceRule } from "./choices.js";
import { heldOpens, landlockOf, NO_OPENS } from "./landlock.js";
import { type Grant, isPathVerb, type Role, rootRole, type Spec } from "./model.js";
import { literalPath, plainPath } from "./object.js";
import {
  type ChoiceRule,
  POLICY_VERSION,
  type Policy,
  type PolicyGrant,
  type PolicyRole,
  type SocketRule,
  type UserRule,
} from "./policy.js";
import { scriptOptions } from "./roles.js";
import { coarseOf, judgedCalls, reasonsOf, seenCalls } from "./supervision.js";
import { expanded, type Tokens } from "./tokens.js";

export interface Compiled {
  readonly policy: Policy;
  /** Why it is supervised, a reason each. */
  readonly reasons: readonly string[];
  /** What the kernel alone does not hold to the letter, a sentence each; empty when supervised. */
  readonly coarse: readonly string[];
}

export interface CompileOptions {
  readonly tokens: Tokens;
  readonly supervise: "auto" | "always" | "never";
  readonly learn?: boolean;
}

/** @throws TraceError `BAD_SPEC` when the spec cannot be enforced at all */
export function compilePolicy(spec: Spec, options: CompileOptions): Compiled {
  const root = rootRole(spec);
  if (root < 0) {
    throw new TraceError(
      "BAD_SPEC",
      "the spec does not say which role is started first (a trigger `on: launch`, or `from: []`)",
      {
        hint: "trace spec validate says what else is wrong",
      },
    );
  }
  const tree = spec.roles.map((role) => policyRole(role, options.tokens));
  const roles = tree.length === 1 ? tree : tree.map(withoutHandles);
  const reasons =
    options.learn === true ? ["--learn has to see every access"] : reasonsOf(spec, roles);
  const supervised =
    options.supervise === "always" ||
    options.learn === true ||
    (options.supervise === "auto" && reasons.length > 0);
  const all = new Set(roles.flatMap(({ calls }) => calls));
  const common = [...all].filter((call) => roles.every(({ calls }) => calls.includes(call)));
  const own = judgedCalls(roles);
  const judged = new Set(own);
  const uninterrupted = UNINTERRUPTED.filter((call) => all.has(call));
  const unseen = new Set(supervised ? [] : unseenOf(spec));
  const pass = supervised
    ? [...new Set([...common, ...uninterrupted])].filter((call) => !judged.has(call))
    : [...all].filter((call) => !unseen.has(call));
  const sockets = unique(roles.flatMap((role) => role.sockets));
  const policy: Policy = {
    version: POLICY_VERSION,
    supervised,
    pass: pass.sort((a, b) => a - b),
    absent: ABSENT.filter((call) => !all.has(call) || unseen.has(call)),
    judged: own,
    opens:
      supervised && options.supervise === "auto" && options.learn !== true
        ? heldOpens(roles)
        : NO_OPENS,
    sockets,
    choices: choicePolicies(),
    without: options.learn === true ? [] : unneededCapabilities(spec),
    landlock: landlockOf(roles),
    roles,
    root,
    learn: options.learn === true,
  };
  return {
    policy,
    reasons: supervised ? reasons : [],
    coarse: supervised ? [] : coarseOf(roles, reasons),
  };
}

/**
 * A signal may interrupt a call before a supervisor has it, and shells do not try again to fork or to make a pipe. What is started
 * that way is still its parent's role; new namespaces are refused to all.
 */
const UNINTERRUPTED = "clone fork vfork pipe pipe2"
  .split(" ")
  .flatMap((name) => callNumber(name) ?? []);

/**
 * Calls that nobody gets without a supervisor: fanotify_init(2), which leads to files past all names, and where they are granted only
 * as other names of calls that were seen, those whose arguments stand in memory, where no filter sees them. That is openat2(2),
 * which programs do without as on a kernel that lacks it, and messages where there are pairs of sockets (`pairsReach`).
 */
function unseenOf({ roles }: Spec): number[] {
  const seen = new Set(roles.flatMap((role) => [...seenCalls(role)]));
  const messages = seen.has("socketpair") ? ["sendmsg", "sendmmsg"] : [];
  const names = ["openat2", ...messages].filter((name) => !seen.has(name));
  return ["fanotify_init", ...names].flatMap((name) => callNumber(name) ?? []);
}

/** From this version of the kernel on programs know how to do without a call. */
const OPTIONAL_SINCE = 4.05;

/** Calls of newer kernels, and the rings: refused as by a kernel that lacks them. */
const ABSENT: readonly number[] = [...CALL_NUMBERS].flatMap(([name, number]) => {
  const [major = "0", minor = "0"] = (SYSCALLS[X86_64[number] ?? -1]?.since ?? "0.0").split(".");
  const isNew = Number(major) + Number(minor) / 100 >= OPTIONAL_SINCE;
  return isNew || name.startsWith("io_uring") ? [number] : [];
});

/** Calls on a process by its handle, whose role no register tells. */
const HANDLES = "pidfd_send_signal pidfd_getfd process_madvise process_mrelease"
  .split(" ")
  .map(callNumber);

/** Of several roles none may make them: one could take descriptors of another. */
function withoutHandles(role: PolicyRole): PolicyRole {
  return { ...role, calls: role.calls.filter((call) => !HANDLES.includes(call)) };
}

function policyRole(role: Role, tokens: Tokens): PolicyRole {
  const grants: PolicyGrant[] = [];
  const calls = new Set<number>();
  const sockets: SocketRule[] = [];
  const users: UserRule[] = [];
  const choices: ChoiceRule[] = [];
  for (const grant of role.grants) {
    const word = /^\w+/.exec(grant.object)?.[0] ?? "";
    if (grant.verb !== "syscall") {
      grants.push(...policyGrants(grant, tokens));
      continue;
    }
    const number = callNumber(word);
    if (number === undefined) continue;
    calls.add(number);
    const ids = USER_CALLS.has(word) ? /\(([-\d,]+)\)$/.exec(grant.object)?.[1] : undefined;
    if (ids !== undefined) users.push([number, ids.split(",").map(Number)]);
    const choice = choiceRule(grant.object);
    if (choice !== undefined) choices.push(choice);
    if (word === "socket" && grant.object.includes("(")) sockets.push(...socketRules(grant.object));
  }
  return {
    name: role.name,
    exe: role.exe.map((exe) => {
      const own = expanded(exe, tokens);
      const plain = plainPath(own);
      return plain === undefined ? own : literalPath(canonical(plain));
    }),
    ...(role.script !== undefined && {
      script: {
        path: plainPath(expanded(role.script, tokens)) ?? role.script,
        ...scriptOptions(role.exe[0] ?? ""),
      },
    }),
    calls: [...calls].sort((a, b) => a - b),
    sockets,
    users,
    choices,
    grants,
  };
}

/**
 * The grant, and the same with the links on the way to its object followed: the kernel and the supervisor see canonical
 * paths. A link that is the object itself is not followed: it grants the link, and not where it leads.
 */
function policyGrants({ verb, object, phase }: Grant, tokens: Tokens): PolicyGrant[] {
  const own = expanded(object, tokens);
  const make = (text: string): PolicyGrant => ({
    verb,
    object: text,
    ...(phase !== undefined && { phase }),
  });
  const path = own.startsWith("unix:")
    ? own.slice("unix:".length)
    : isPathVerb(verb)
      ? own
      : undefined;
  const plain = path === undefined ? undefined : plainPath(path);
  if (plain === undefined || !plain.startsWith("/")) return [make(own)];
  const parent = canonical(dirname(plain));
  if (isOfThisProcess(parent)) return [make(own)];
  const real = literalPath(
    `${parent === "/" ? "" : parent}/${plain.slice(plain.lastIndexOf("/") + 1)}`,
  );
  return real === path
    ? [make(own)]
    : [make(own), make(own.startsWith("unix:") ? `unix:${real}` : real)];
}

const DEFAULT_PROTOCOLS: ReadonlySet<string> = new Set(["stream,tcp", "dgram,udp"]);

/** `socket(inet,stream,tcp)` as numbers. A protocol that is the default of its type may be given as 0 too. */
function socketRules(object: string): SocketRule[] {
  const words = object.slice(object.indexOf("(") + 1, -1).split(",");
  const [family = "*", type = "*", protocol = "*"] = words;
  const value = (set: string, prefix: string, word: string): number => {
    if (word === "*") return -1;
    if (/^\d+$/.test(word)) return Number(word);
    return Number(constant(set, `${prefix}${word.toUpperCase()}`) ?? -2);
  };
  const head = [value("addr_family", "AF_", family), value("socket_type", "SOCK_", type)] as const;
  const rule: SocketRule = [...head, value("socket_protocol_inet", "IPPROTO_", protocol)];
  return DEFAULT_PROTOCOLS.has(`${type},${protocol}`) ? [rule, [...head, 0]] : [rule];
}

function unique(rules: readonly SocketRule[]): SocketRule[] {
  return [...new Map(rules.map((rule) => [rule.join(), rule])).values()];
}
