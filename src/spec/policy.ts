/**
 * The boundary between what a spec means (TypeScript) and what enforces it (native/engine/src/enforce): a spec, compiled for
 * this machine and this moment to plain data. The enforcer knows no spec, no token, no ladder; it does what stands here
 * and nothing else.
 *
 * Two ways to enforce:
 * - *kernel only*: Landlock and a seccomp filter decide everything. It costs next to nothing, and cannot hold every grant
 *   to the letter: `coarse` of `compilePolicy` says which.
 * - *supervised*: calls with paths, addresses, processes and programs stop, and a supervisor performs them for the
 *   program, as far as the program's own role was granted them. The union of all roles lies underneath in the kernel.
 *
 * In both every call that no role was granted is refused, and reported.
 */

import type { ScriptOptions } from "./roles.js";

/** Version of this data; the enforcer refuses another one. */
export const POLICY_VERSION = 4;

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

/** A test of an argument, of its lower half: `has`: all bits of the value. */
export type ArgumentTest = readonly [
  arg: number,
  is: "eq" | "ne" | "le" | "ge" | "has",
  value: number,
];

/** A call that is many in one (choices.ts): what it chooses by, and what comes with the call itself, any of these lists of tests. */
export interface ChoicePolicy {
  readonly call: number;
  readonly args: readonly number[];
  readonly free: readonly (readonly ArgumentTest[])[];
}

/** One of those that a call may be, by its number and the values that it is chosen by; -1 stands for any. */
export type ChoiceRule = readonly [call: number, values: readonly number[]];

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
  /** Executables, as objects: canonical paths, and patterns of those that are made anew in each run. */
  readonly exe: readonly string[];
  readonly script?: PolicyScript;
  /** Numbers of the calls that it may make. */
  readonly calls: readonly number[];
  readonly sockets: readonly SocketRule[];
  readonly users: readonly UserRule[];
  readonly choices: readonly ChoiceRule[];
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
  readonly choices: readonly ChoicePolicy[];
  /** Numbers of capabilities that programs of root give up, and the supervisor with them. */
  readonly without: readonly number[];
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
