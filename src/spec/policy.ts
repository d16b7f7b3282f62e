/**
 * The boundary between what a spec means (TypeScript) and what enforces it (native/engine/src/enforce): a spec, compiled for
 * this machine and this moment to plain data. The enforcer knows no spec, no token, no ladder; it does what stands here
 * and nothing else.
 *
 * Two ways to enforce:
 * - *kernel only*: Landlock and a seccomp filter decide everything. It costs next to nothing, and cannot hold every grant
 *   to the letter: `coarse` says which.
 * - *supervised*: calls with paths, addresses, processes and programs stop, and a supervisor performs them for the
 *   program, as far as the program's own role was granted them. The union of all roles lies underneath in the kernel.
 *
 * In both every call that no role was granted is refused, and reported.
 */

import { existsSync, lstatSync, realpathSync } from "node:fs";
import { dirname } from "node:path";
import { constant, known } from "../decode/flags.js";
import { NAMES, X86_64 } from "../decode/names.generated.js";
import { SYSCALLS } from "../decode/tables.generated.js";
import { TraceError } from "../errors.js";
import {
  CHANGES_DESCRIPTOR,
  EXECS,
  OPENS,
  PATH_ARGUMENTS,
  REACHES_INTO,
  SIGNALS,
  USER_CALLS,
} from "./calls.js";
import { type Grant, isPathVerb, type Role, rootRole, SOCKET_VERBS, type Spec } from "./model.js";
import { literalPath, PathPattern, parseAddress, plainPath, subtreeOf } from "./object.js";
import { type ScriptOptions, scriptOptions } from "./roles.js";
import { expanded, type Tokens } from "./tokens.js";

/** Version of this data; the enforcer refuses another one. */
export const POLICY_VERSION = 3;

/** Rights of Landlock by their names in the kernel's documentation, lower case without prefix. */
export type FsRight =
  | "execute"
  | "write_file"
  | "read_file"
  | "read_dir"
  | "remove_dir"
  | "remove_file"
  | "make_dir"
  | "make_reg"
  | "make_sock"
  | "make_fifo"
  | "make_sym"
  | "refer"
  | "truncate"
  | "ioctl_dev";

export interface LandlockRule {
  /** Exists now. Rights that only directories have are left out for files. */
  readonly path: string;
  readonly rights: readonly FsRight[];
}

/** `socket(family, type, protocol)`; -1 stands for any. */
export type SocketRule = readonly [family: number, type: number, protocol: number];

/** A call that changes as whom a program acts, by its number, with the ids that it may be given. */
export type UserRule = readonly [call: number, ids: readonly number[]];

export interface PolicyGrant {
  readonly verb: string;
  /** Expanded, in the language of object.ts. */
  readonly object: string;
  readonly phase?: "init" | "serve";
}

/** The script of a role, and how the interpreter is told which one it runs (roles.ts). */
export interface PolicyScript extends ScriptOptions {
  readonly path: string;
}

export interface PolicyRole {
  readonly name: string;
  /** Canonical paths of executables. */
  readonly exe: readonly string[];
  readonly script?: PolicyScript;
  /** Numbers of the calls that it may make. */
  readonly calls: readonly number[];
  readonly sockets: readonly SocketRule[];
  readonly users: readonly UserRule[];
  readonly grants: readonly PolicyGrant[];
}

export interface Policy {
  readonly version: number;
  readonly supervised: boolean;
  /** Calls that go to the kernel at once. All others stop, and are answered by the supervisor. */
  readonly pass: readonly number[];
  /** Calls that are answered with ENOSYS when they are refused: programs then do without them. */
  readonly absent: readonly number[];
  /** Calls that a supervisor has to judge: one that it has no rule for is refused, whoever was granted it. */
  readonly judged: readonly number[];
  /** Opening of what exists that Landlock holds to the letter: such calls do not stop. */
  readonly opens: { readonly reading: boolean; readonly writing: boolean };
  /** Arguments of socket(2) that pass, when the filter decides. */
  readonly sockets: readonly SocketRule[];
  readonly landlock: {
    readonly rules: readonly LandlockRule[];
    /** TCP ports; missing: any. */
    readonly connect?: readonly number[];
    readonly bind?: readonly number[];
    /** Whether abstract unix sockets and processes outside are out of reach. */
    readonly scopeAbstract: boolean;
    readonly scopeSignal: boolean;
  };
  readonly roles: readonly PolicyRole[];
  /** Index of the role that the program starts as. */
  readonly root: number;
  /** Refused accesses are reported and then allowed: nothing is enforced. */
  readonly learn: boolean;
}

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
  const own = names(roles) ? JUDGED : JUDGED.filter((call) => call !== GETSOCKNAME);
  const judged = new Set(own);
  const forks = FORKS.filter((call) => all.has(call));
  const unseen = new Set(supervised ? [] : unseenOf(spec));
  const pass = supervised
    ? [...new Set([...common, ...forks])].filter((call) => !judged.has(call))
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

const NUMBERS: ReadonlyMap<string, number> = new Map(
  [...X86_64].flatMap((row, number) => {
    const name = row < 0 ? undefined : NAMES[row];
    return name === undefined ? [] : [[name, number] as const];
  }),
);

function rowOf(number: number): number {
  return X86_64[number] ?? -1;
}

/** Number of a call on x86-64; undefined when it has none. */
export function callNumber(name: string): number | undefined {
  return NUMBERS.get(name);
}

/** Calls that a supervisor performs, or decides about. */
const SUPERVISED: ReadonlySet<string> = new Set([
  ...PATH_ARGUMENTS.keys(),
  ...OPENS.keys(),
  ...EXECS,
  ...SIGNALS.keys(),
  ...REACHES_INTO.keys(),
  ...CHANGES_DESCRIPTOR,
  ..."socket connect bind listen accept accept4 sendto sendmsg sendmmsg getsockname".split(" "),
  // They lead to files past all names, and to mounts.
  ..."open_by_handle_at fsopen fsconfig fsmount open_tree_attr".split(" "),
  // They change as whom the program acts, and the supervisor has to act as the same.
  ...USER_CALLS.keys(),
  "setgroups",
]);

const JUDGED: readonly number[] = [...SUPERVISED].flatMap((name) => callNumber(name) ?? []);
const GETSOCKNAME = callNumber("getsockname");

/**
 * A signal may interrupt a call before a supervisor has it, and shells do not try again to fork. What is started that way is
 * still its parent's role; new namespaces are refused to all.
 */
const FORKS = ["clone", "fork", "vfork"].flatMap((name) => callNumber(name) ?? []);

/** Whether sockets get names of files, which the supervisor gives them in a way that the kernel tells otherwise. */
function names(roles: readonly PolicyRole[]): boolean {
  return roles.some(({ grants }) =>
    grants.some(({ verb, object }) => verb === "bind" && object.startsWith("unix:/")),
  );
}

/**
 * openat2(2), where it is granted only as another name of calls that were seen. Its flags stand in memory, where no filter sees
 * them; programs do without it, as on a kernel that lacks it.
 */
function unseenOf({ roles }: Spec): number[] {
  const isSeen = roles.some(({ grants }) =>
    grants.some(
      ({ verb, object, because }) =>
        verb === "syscall" && object === "openat2" && because !== "alias",
    ),
  );
  return isSeen ? [] : [callNumber("openat2") ?? -1];
}

/** From this version of the kernel on programs know how to do without a call. */
const OPTIONAL_SINCE = 4.05;

/** Calls of newer kernels, and the rings: refused as by a kernel that lacks them. */
const ABSENT: readonly number[] = [...NUMBERS].flatMap(([name, number]) => {
  const [major = "0", minor = "0"] = (SYSCALLS[rowOf(number)]?.since ?? "0.0").split(".");
  const isNew = Number(major) + Number(minor) / 100 >= OPTIONAL_SINCE;
  return isNew || name.startsWith("io_uring") ? [number] : [];
});

/** Calls on a process by its handle, whose role no register tells. */
const HANDLES = "pidfd_send_signal pidfd_getfd".split(" ").map(callNumber);

/** Of several roles none may make them: one could take descriptors of another. */
function withoutHandles(role: PolicyRole): PolicyRole {
  return { ...role, calls: role.calls.filter((call) => !HANDLES.includes(call)) };
}

function policyRole(role: Role, tokens: Tokens): PolicyRole {
  const grants: PolicyGrant[] = [];
  const calls = new Set<number>();
  const sockets: SocketRule[] = [];
  const users: UserRule[] = [];
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
    if (word === "socket" && grant.object.includes("(")) sockets.push(...socketRules(grant.object));
  }
  return {
    name: role.name,
    exe: role.exe.map((exe) => canonical(plainPath(expanded(exe, tokens)) ?? exe)),
    ...(role.script !== undefined && {
      script: {
        path: plainPath(expanded(role.script, tokens)) ?? role.script,
        ...scriptOptions(role.exe[0] ?? ""),
      },
    }),
    calls: [...calls].sort((a, b) => a - b),
    sockets,
    users,
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

/**
 * Whether a name leads to this process where the program would come to itself: it says nothing of what the program may reach.
 * (The standard streams it has in common with the program.)
 */
function isOfThisProcess(path: string): boolean {
  const isOwn = (name: string) => /^\/(?:proc\/(?:self|thread-self)|dev\/fd)(?:\/|$)/.test(name);
  return isOwn(path) || `${canonical(path)}/`.startsWith(`/proc/${process.pid}/`);
}

/** The path behind links, as far as it exists. */
function canonical(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    const parent = dirname(path);
    if (parent === path) return path;
    const base = canonical(parent);
    return `${base === "/" ? "" : base}/${path.slice(path.lastIndexOf("/") + 1)}`;
  }
}

const DEFAULT_PROTOCOLS: ReadonlySet<string> = new Set(["stream,tcp", "dgram,udp"]);

const AF_UNIX = known("addr_family", "AF_UNIX");
const AF_INET = known("addr_family", "AF_INET");
const AF_INET6 = known("addr_family", "AF_INET6");
const SOCK_STREAM = known("socket_type", "SOCK_STREAM");
const IPPROTO_TCP = known("socket_protocol_inet", "IPPROTO_TCP");

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

const READS: readonly FsRight[] = ["read_file"];
const MAKES: readonly FsRight[] = ["make_reg", "make_dir", "make_sym", "make_fifo"];
const REMOVES: readonly FsRight[] = ["remove_file", "remove_dir"];

/** Rights on the object itself, and on the directory that it stands in. */
const RIGHTS: Readonly<Record<string, { own?: readonly FsRight[]; parent?: readonly FsRight[] }>> =
  {
    read: { own: READS },
    write: { own: ["write_file", "truncate"] },
    exec: { own: ["execute", "read_file"] },
    list: { own: ["read_dir"] },
    create: { parent: MAKES },
    delete: { parent: REMOVES },
    rename: { parent: [...MAKES, ...REMOVES, "refer"] },
    bind: { parent: ["make_sock"] },
  };

/** How the end of what is made without a name is written, by `AccessReader` and files.rs. */
const NAMELESS = "/#tmpfile";

function landlockOf(roles: readonly PolicyRole[]): Policy["landlock"] {
  const rules = new Map<string, Set<FsRight>>();
  const add = (path: string, rights: readonly FsRight[]) => {
    const known = rules.get(path) ?? new Set();
    for (const right of rights) known.add(right);
    rules.set(path, known);
  };
  // A rule stands on a file as it is now: what the programs make anew is granted by its directory.
  const grants = roles.flatMap((role) => role.grants);
  const made = new Set(grants.filter(isAboutName).map(({ object }) => object));
  const makes = new PathSet([...made]);
  const leaves = new PathSet(
    grants.filter(({ verb }) => /^(?:delete|rename)$/.test(verb)).map(({ object }) => object),
  );
  // What is not there and is not made is not granted by what is there: its directory would give everything else in it. A
  // directory that is made and that may be removed can be another one later.
  const addExisting = (wanted: string, rights: readonly FsRight[]) => {
    if (isOfThisProcess(wanted)) return;
    let place = wanted;
    while (place !== "/") {
      if (existsSync(place) && !(isDirectory(place) && makes.has(place) && leaves.has(place)))
        break;
      if (!makes.has(place)) return;
      place = dirname(place);
    }
    add(place, rights);
  };
  const links = roles.some(({ calls }) =>
    ["link", "linkat"].some((name) => calls.includes(callNumber(name) ?? -1)),
  );
  for (const { verb, object } of grants) {
    const path = object.startsWith("unix:/") ? object.slice("unix:".length) : object;
    if (!path.startsWith("/")) continue;
    const rights = verb.startsWith("ioctl:") ? { own: ["ioctl_dev"] as const } : RIGHTS[verb];
    if (rights?.own !== undefined) addExisting(placeOf(path, made.has(object)), rights.own);
    if (rights?.parent !== undefined) addExisting(placeOf(path, true), rights.parent);
    // A file without a name is one of its directory to Landlock, whatever is in it (O_TMPFILE).
    if (verb === "create" && path.endsWith(NAMELESS))
      addExisting(placeOf(path, true), ["read_file", "write_file"]);
    // Links to another directory move rights between them.
    if (links && (verb === "create" || verb === "write"))
      addExisting(placeOf(path, true), ["refer"]);
  }
  const connect = portsOf(grants, "connect");
  const bind = portsOf(grants, "bind");
  return {
    rules: [...rules].map(([path, rights]) => ({ path, rights: [...rights].sort() })),
    ...(connect && { connect }),
    ...(bind && { bind }),
    scopeAbstract: !grants.some(({ object }) => object.startsWith("unix:@")),
    scopeSignal: !grants.some(
      ({ verb, object }) => verb === "signal" && /^(?:any|outside)$/.test(object),
    ),
  };
}

/** Whether it is about a name: what is called so is made, removed or gets another name. */
function isAboutName({ verb }: PolicyGrant): boolean {
  return /^(?:create|delete|rename)$/.test(verb);
}

const NO_OPENS: Policy["opens"] = { reading: false, writing: false };
const OPENS_FOR_READING = /^(?:read|exec|list)$/;
const OPENS_FOR_WRITING = /^write$/;

/**
 * Which opens Landlock holds to the letter: there is one role, with the same grants in every phase, and every object is a file
 * that stands there and stays, or a whole tree. (Its rules stand on files themselves, and on directories with all below.)
 * Of several roles none: Landlock lets each open what another one holds, by its descriptors in /proc.
 */
function heldOpens(roles: readonly PolicyRole[]): Policy["opens"] {
  const [role] = roles;
  if (role === undefined || roles.length > 1) return NO_OPENS;
  const made = new PathSet(role.grants.filter(isAboutName).map(({ object }) => object));
  const holds = (verbs: RegExp) =>
    withoutLinks(role.grants.filter(({ verb }) => verbs.test(verb))).every(
      (grant) => grant.phase === undefined && isHeld(grant, made),
    );
  const reading = holds(OPENS_FOR_READING);
  const isNamed = role.grants.every(({ object }) => !object.endsWith(NAMELESS));
  return { reading, writing: reading && isNamed && holds(OPENS_FOR_WRITING) };
}

/** Without links to what is granted by its own name. */
function withoutLinks(grants: readonly PolicyGrant[]): readonly PolicyGrant[] {
  const names = new Set(grants.map(({ object }) => object));
  return grants.filter(({ object }) => {
    const plain = plainPath(object);
    const real = plain === undefined ? undefined : literalPath(canonical(plain));
    return real === undefined || real === object || !names.has(real);
  });
}

function isHeld({ object }: PolicyGrant, made: PathSet): boolean {
  if (subtreeOf(object) !== undefined) {
    const tree = plainPath(subtreeOf(object) ?? "");
    return tree !== undefined && tree !== "/" && canonical(tree) === tree;
  }
  const plain = plainPath(object);
  if (plain === undefined || made.has(plain)) return false;
  // The rule of a link would stand on what it leads to; what is not there has no rule.
  const facts = lstatSync(plain, { throwIfNoEntry: false });
  return facts !== undefined && !facts.isDirectory() && !facts.isSymbolicLink();
}

/** Objects of grants, asked for paths. */
class PathSet {
  readonly #patterns: readonly PathPattern[];

  constructor(objects: readonly string[]) {
    this.#patterns = objects.map((object) => new PathPattern(object));
  }

  has(path: string): boolean {
    return this.#patterns.some((pattern) => pattern.matches(path));
  }
}

/** TCP ports; undefined when one grant allows any. */
function portsOf(grants: readonly PolicyGrant[], verb: string): number[] | undefined {
  const ports = new Set<number>();
  for (const { verb: own, object } of grants) {
    if (own !== verb || !object.startsWith("tcp:")) continue;
    const port = parseAddress(object)?.port;
    if (port === "*") return undefined;
    if (port !== undefined) ports.add(port);
  }
  return [...ports].sort((a, b) => a - b);
}

/**
 * The path that a Landlock rule has to stand on: the object itself, or the directory that holds all that a pattern matches.
 * `parent`: where it is made and removed.
 */
function placeOf(object: string, parent: boolean): string {
  const tree = subtreeOf(object);
  const plain = plainPath(tree ?? object);
  if (plain === undefined) return directoryOf(object);
  return parent && tree === undefined ? dirname(plain) : plain;
}

/** The part of a pattern before its first wildcard, up to a whole name. */
function directoryOf(object: string): string {
  const at = object.search(/(?<!\\)\*|@\{pid\}/);
  const fixed = at < 0 ? object : object.slice(0, at);
  return plainPath(fixed.slice(0, Math.max(1, fixed.lastIndexOf("/")))) ?? "/";
}

/** Why the kernel alone would not do. */
function reasonsOf(spec: Spec, roles: readonly PolicyRole[]): string[] {
  const reasons: string[] = [];
  if (roles.length > 1) reasons.push(`${roles.length} roles with grants of their own`);
  const grants = roles.flatMap((role) => role.grants);
  const has = (test: (grant: PolicyGrant) => boolean) => grants.some(test);
  const isHost = (object: string) => {
    const address = parseAddress(object);
    return address !== undefined && (address.protocol !== "tcp" || address.host !== "*");
  };
  if (
    has(
      ({ verb, object }) =>
        SOCKET_VERBS.has(verb) && (object.startsWith("unix:") || isHost(object)),
    )
  ) {
    reasons.push("addresses of sockets, of which Landlock knows TCP ports only");
  } else if (roles.some(reachesFreely)) {
    reasons.push("sockets that reach any address, as Landlock knows TCP ports only");
  }
  if (has(({ verb }) => verb === "chmeta"))
    reasons.push("changes of metadata, which Landlock does not restrict");
  if (has(({ verb, object }) => (verb === "signal" || verb === "ptrace") && object !== "self")) {
    reasons.push("signals to certain processes");
  }
  if (spec.roles.some((role) => role.grants.some(({ phase }) => phase !== undefined))) {
    reasons.push("grants of a phase");
  }
  const isForm = ({ verb, object }: PolicyGrant) =>
    isPathVerb(verb) &&
    plainPath(object) === undefined &&
    subtreeOf(object) === undefined &&
    !object.endsWith("/*");
  if (has(isForm)) reasons.push("names of one form in a directory");
  return reasons;
}

const ADDRESSES = "connect bind sendto sendmsg sendmmsg"
  .split(" ")
  .flatMap((name) => callNumber(name) ?? []);

/**
 * Whether a role that was granted no address could name any: its sockets are of a family or protocol that nobody asks for those.
 * Programs make such sockets to no end: a libc asks for a name service that is not there.
 */
function reachesFreely({ sockets, calls }: PolicyRole): boolean {
  return sockets.some(isUnrestricted) && ADDRESSES.some((call) => calls.includes(call));
}

function isUnrestricted([family, type, protocol]: SocketRule): boolean {
  const isInternet = family === AF_INET || family === AF_INET6;
  const isTcp = type === SOCK_STREAM && (protocol === 0 || protocol === IPPROTO_TCP);
  return family === -1 || family === AF_UNIX || (isInternet && !isTcp);
}

/** Whether the rule of a grant stands on a directory that holds more than was granted. */
function holdsMore(verb: string, object: string): boolean {
  if (object.endsWith("/*")) return true;
  const plain = RIGHTS[verb]?.own === undefined ? undefined : plainPath(object);
  if (plain === undefined) return false;
  return isDirectory(plain);
}

function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function coarseOf(roles: readonly PolicyRole[], reasons: readonly string[]): string[] {
  const coarse = ["which files are looked at (stat, access, readlink) is not restricted"];
  if (roles.some(({ grants }) => grants.some(isAboutName)))
    coarse.push(
      "what is made, removed or renamed in a directory is not restricted to the granted names",
    );
  const wide = roles.some(({ grants }) =>
    grants.some(({ verb, object }) => isPathVerb(verb) && holdsMore(verb, object)),
  );
  if (wide) coarse.push("granted directories are open with all that is below them");
  return [...coarse, ...reasons.map((reason) => `not told apart: ${reason}`)];
}
