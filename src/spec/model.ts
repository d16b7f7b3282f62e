/**
 * What a sandbox spec is, as data. A spec says for each program of a process tree (a *role*) what it was granted: files,
 * addresses, programs, signals, syscalls. It knows no enforcement mechanism; `compile.ts` and `export/` translate it.
 * `schema.ts` is the same shape as JSON schema, and what files are checked against.
 */

/** Version of the schema. A reader refuses a larger one. */
export const SPEC_VERSION = 1;

/** What can be granted. `ioctl:NAME` and the others take an object: see `object.ts`. */
export const VERBS = [
  "read",
  "write",
  "create",
  "delete",
  "rename",
  "exec",
  "list",
  "stat",
  "chmeta",
  "connect",
  "bind",
  "listen",
  "accept",
  "signal",
  "ptrace",
  "mount",
  "syscall",
] as const;
export type PlainVerb = (typeof VERBS)[number];
export type Verb = PlainVerb | `ioctl:${string}`;

/** Verbs whose object is a path, or a pattern of paths. */
export const PATH_VERBS: ReadonlySet<string> = new Set<Verb>([
  "read",
  "write",
  "create",
  "delete",
  "rename",
  "exec",
  "list",
  "stat",
  "chmeta",
  "mount",
]);

export function isPathVerb(verb: string): boolean {
  return PATH_VERBS.has(verb) || verb.startsWith("ioctl:");
}

/** Verbs whose object is a socket address. */
export const SOCKET_VERBS: ReadonlySet<string> = new Set<Verb>([
  "connect",
  "bind",
  "listen",
  "accept",
]);

/**
 * How far a grant was generalised from what was seen:
 * - `literal`: the very object
 * - `token`: a part of it stands for what differs between users and runs: `$HOME $PWD $TMP @{pid}`
 * - `sibling`: names of one form in one directory
 * - `directory`: everything in or below a directory
 */
export const RUNGS = ["literal", "token", "sibling", "directory"] as const;
export type Rung = (typeof RUNGS)[number];

/** Why a grant is there although no recorded call asked for it. */
export const REASONS = [
  /** Another name of a call that was seen: libraries of another version use that one. */
  "alias",
  /** Calls that healthy runs seldom or never show and that are needed nevertheless. */
  "needed",
  /** The object is replaced by rename, so that a grant of the old file would not fit the new one. */
  "replaced",
  /** The object gets a name by rename or link on which this is granted: another name must not give it more. */
  "moved",
  /** Written by hand. */
  "manual",
] as const;
export type Reason = (typeof REASONS)[number];

/** Before a role accepts its first connection, and after. */
export const PHASES = ["init", "serve"] as const;
export type Phase = (typeof PHASES)[number];

export interface Grant {
  readonly verb: Verb;
  readonly object: string;
  /** Calls that used it, over all runs. */
  readonly count?: number;
  /** In which runs, by their numbers from 1. */
  readonly runs?: readonly number[];
  /** The first event that used it: `1@340` is event 340 of run 1. */
  readonly first?: string;
  /** Missing: `literal`. */
  readonly rung?: Rung;
  /** Names that the generalisation added to those that were used, as far as they existed when the spec was made. */
  readonly adds?: number;
  readonly because?: Reason;
  /** Missing: in both. */
  readonly phase?: Phase;
}

/** An access that failed: it is not granted. The name did not exist, mostly. */
export interface Probe {
  readonly verb: Verb;
  readonly object: string;
  /** Name of the error, `ENOENT`. */
  readonly error: string;
  readonly count?: number;
}

/** An open descriptor that a role is started with. */
export interface RoleDescriptor {
  readonly fd: number;
  /** Where it comes from: `stdin`, `file PATH`, or the name of a channel of the wiring. */
  readonly is: string;
  readonly use: readonly ("read" | "write")[];
}

export interface Limits {
  readonly processes?: number;
  readonly threads?: number;
  /** Peak of resident memory of one process, in bytes. */
  readonly memory?: number;
}

export interface Role {
  readonly name: string;
  /** Executables that it was seen to be, canonical paths (or tokens). */
  readonly exe: readonly string[];
  /** For interpreters: the word of the command line that names the script (a module, a class) that it runs. */
  readonly script?: string;
  /** What the command lines had in common: `*` stands for one word that differs, `**` for what follows. */
  readonly argv?: readonly string[];
  /** Roles that start it; empty for the first of the tree. */
  readonly from: readonly string[];
  /** True when it accepts connections, so that its grants can be of a phase. */
  readonly serves?: boolean;
  readonly descriptors?: readonly RoleDescriptor[];
  readonly limits?: Limits;
  readonly grants: readonly Grant[];
  readonly probes?: readonly Probe[];
}

/** Something through which roles exchange data. */
export interface Channel {
  readonly name: string;
  readonly kind: "pipe" | "socketpair" | "listener" | "file";
  /** Roles that made it or write to it, and roles that read from it. Of a listener: who listens, and who accepts. */
  readonly writers: readonly string[];
  readonly readers: readonly string[];
  /** Address or path where it has one. */
  readonly at?: string;
  /** True when descriptors were passed over it. */
  readonly passes?: boolean;
}

/** A symbolic link on the way to what was granted. */
export interface Link {
  readonly name: string;
  readonly to: string;
}

/** What makes a role start. */
export interface Trigger {
  readonly role: string;
  readonly on: "launch" | "exec" | "message" | "connection" | "descriptor";
  /** Role or channel that it comes from; missing for `launch`. */
  readonly of?: string;
}

/** One recording that the spec was made from. */
export interface Run {
  /** Id of the trace. */
  readonly trace: string;
  readonly file?: string;
  readonly command: readonly string[];
  readonly events: number;
  readonly kernel?: string;
}

export interface Spec {
  readonly traceSpec: number;
  readonly command: readonly string[];
  /** What tokens stood for where the runs were recorded. */
  readonly tokens: Readonly<Record<string, string>>;
  readonly runs: readonly Run[];
  readonly roles: readonly Role[];
  readonly channels: readonly Channel[];
  readonly triggers: readonly Trigger[];
  readonly links?: readonly Link[];
  /** What the recordings cannot tell, a sentence each. */
  readonly unknown: readonly string[];
}

/** `read /etc/passwd`: how a grant is written in one line. */
export function grantText({ verb, object }: Pick<Grant, "verb" | "object">): string {
  return `${verb} ${object}`;
}

/** Index of the role that the program is started as; -1 when there is none. It may be started by others too. */
export function rootRole({ roles, triggers }: Pick<Spec, "roles" | "triggers">): number {
  const launched = triggers.find(({ on }) => on === "launch")?.role;
  const index = roles.findIndex(({ name }) => name === launched);
  return index >= 0 ? index : roles.findIndex(({ from }) => from.length === 0);
}
