/**
 * What a decoded argument or result is: data, not text. `show/` turns it into strace's notation or into JSON.
 *
 * A value never carries less than the recording had: a number that no table names is still a number, memory that was
 * not captured is still a pointer.
 */

import type { FdObject } from "../trace/batch.js";

/** An integer; a bigint only where it is beyond 2^53 - 1. */
export type Num = number | bigint;

export interface IntValue {
  readonly kind: "int";
  readonly value: Num;
  readonly base: "dec" | "hex" | "oct";
  /** How people write it where that is not the plain number: `8192*1024`, `RLIM64_INFINITY`. */
  readonly text?: string;
}

/** A bit mask. `names` are the known bits in the order of the set, `rest` the bits that nothing names. */
export interface FlagsValue {
  readonly kind: "flags";
  readonly set: string;
  readonly value: Num;
  readonly names: readonly string[];
  readonly rest: Num;
}

/** One value of a named set; `name` is missing when the set does not have it. */
export interface ChoiceValue {
  readonly kind: "choice";
  readonly set: string;
  readonly value: Num;
  readonly name?: string;
}

export interface FdValue {
  readonly kind: "fd";
  readonly fd: number;
  /** What stands for the number where it is no descriptor: `AT_FDCWD`. */
  readonly name?: string;
  readonly object?: FdObject;
}

export interface BytesValue {
  readonly kind: "bytes";
  /** The bytes that were captured, without the NUL of a string. A view, not a copy. */
  readonly bytes: Uint8Array;
  /** How many there were in the tracee; more than `bytes.length` when the recording holds only a part. */
  readonly total: number;
  /** `path`: never shortened; `string`: ends at its NUL; `buffer`: counted; `hex`: counted, no text; `blob`: bare digits. */
  readonly style: "path" | "string" | "buffer" | "hex" | "blob";
  /** Address of a string that runs into memory that is not there; strace shows only that. */
  readonly fault?: Num;
}

/** An address. 0 is NULL. What is behind it was not captured, or is not looked at. */
export interface PointerValue {
  readonly kind: "pointer";
  readonly addr: Num;
  /** A remark, such as `5 entries`. */
  readonly note?: string;
}

/** One value behind a pointer: `[5]`. */
export interface DerefValue {
  readonly kind: "deref";
  readonly value: Value;
}

export interface FieldValue {
  /** Empty where strace writes the value alone; then `key` is the member's name. */
  readonly name: string;
  readonly key?: string;
  readonly value: Value;
  /** Shown only in the long form (strace -v). */
  readonly detail?: boolean;
  /** Data that no text shows. */
  readonly hidden?: boolean;
}

export interface StructValue {
  readonly kind: "struct";
  readonly name: string;
  readonly fields: readonly FieldValue[];
  /** True when the recording or the tables do not hold all of it. */
  readonly elided: boolean;
  /** A remark, such as the date that a time is. */
  readonly note?: string;
  /** What the short form shows in its place. */
  readonly brief?: Value;
}

export interface ArrayValue {
  readonly kind: "array";
  readonly items: readonly Value[];
  /** True when there were more items than were captured. */
  readonly elided: boolean;
  /** Sets of descriptors are written with blanks between. */
  readonly spaced?: boolean;
  /** Never shortened, whatever the limit. */
  readonly whole?: boolean;
  /** What the short form shows in its place. */
  readonly brief?: Value;
  /** An environment: values of variables whose names look like secrets are masked. */
  readonly environment?: boolean;
}

/** A signal set; `negated` when fewer signals are outside it than in it. Names without `SIG`. */
export interface SigsetValue {
  readonly kind: "sigset";
  readonly names: readonly string[];
  readonly negated: boolean;
}

/** A value as a macro or function makes it: `makedev(0x8, 0x1)`, `htons(80)`, `inet_addr("127.0.0.1")`. */
export interface ApplyValue {
  readonly kind: "apply";
  readonly name: string;
  readonly args: readonly Value[];
  /** What JSON shows; default: the only argument, or the list of arguments. */
  readonly plain?: string | number;
}

/** A wait status. Exactly one of `exited`, `signal`, `stop`, `continued` says what it is; else it is only a number. */
export interface WaitValue {
  readonly kind: "wait";
  readonly status: number;
  readonly exited?: number;
  readonly signal?: string;
  readonly core?: boolean;
  readonly stop?: string;
  /** `PTRACE_EVENT_...` in the high half of a stop status. */
  readonly event?: string;
  readonly continued?: boolean;
}

/** What memory held at entry and what it held at exit. */
export interface ChangeValue {
  readonly kind: "change";
  readonly before: Value;
  readonly after: Value;
}

/** Text that is a name or a phrase of the domain: `SIG_DFL`, `B38400 opost isig`. */
export interface SymbolValue {
  readonly kind: "symbol";
  readonly text: string;
}

/** Several values that stand for one argument, joined by `sep`: `FUTEX_OP_SET<<28|...`, `in [3], left {...}`. */
export interface ListValue {
  readonly kind: "list";
  readonly sep: string;
  readonly items: readonly { readonly label?: string; readonly value: Value }[];
  /** Labels are written `label=value`, not `label value`. */
  readonly equals?: boolean;
  /** What JSON shows; default: an object when all items have labels, else a list. */
  readonly plain?: string;
}

export type Value =
  | IntValue
  | FlagsValue
  | ChoiceValue
  | FdValue
  | BytesValue
  | PointerValue
  | DerefValue
  | StructValue
  | ArrayValue
  | SigsetValue
  | ApplyValue
  | WaitValue
  | ChangeValue
  | SymbolValue
  | ListValue;

export interface Argument {
  readonly name: string;
  readonly value: Value;
  /**
   * Whether strace can show it at entry (the default) or only at exit; an unfinished call is split there. `both`: the
   * first half of a change at entry, the second at exit.
   */
  readonly at?: "entry" | "exit" | "both";
  /** Shown as `name=value`, where strace does so (`clone`). */
  readonly labelled?: boolean;
  /** Kept as data, not part of the text. */
  readonly hidden?: boolean;
  /** What the text shows in place of the value. */
  readonly text?: Value;
  /** Canonical absolute path of a path argument, where the recording has one. */
  readonly resolved?: string;
}

export interface Result {
  /** `ok`, `error`; `none`: the call never returned; `unseen`: it did, and nobody looked. */
  readonly status: "ok" | "error" | "none" | "unseen";
  readonly value: Value;
  readonly errno?: number;
  /** What strace adds in parentheses: flags behind the number, poll's results, `Timeout`. */
  readonly note?: Value;
}

/** A decoded syscall. */
export interface Call {
  readonly name: string;
  readonly sysno: number;
  /** False when the table has no row for the number: then name is `syscall_0x...` and args are the raw words. */
  readonly known: boolean;
  readonly args: readonly Argument[];
  readonly result: Result;
}

export const NULL: PointerValue = { kind: "pointer", addr: 0 };

export function int(value: Num): IntValue {
  return { kind: "int", value, base: "dec" };
}

export function hexInt(value: Num): IntValue {
  return { kind: "int", value, base: "hex" };
}

export function octInt(value: Num): IntValue {
  return { kind: "int", value, base: "oct" };
}

export function pointer(addr: Num, note?: string): PointerValue {
  return note === undefined ? { kind: "pointer", addr } : { kind: "pointer", addr, note };
}

export function symbol(text: string): SymbolValue {
  return { kind: "symbol", text };
}

export function deref(value: Value): DerefValue {
  return { kind: "deref", value };
}

export function array(items: readonly Value[], elided = false): ArrayValue {
  return { kind: "array", items, elided };
}

export function bytes(
  data: Uint8Array,
  total = data.length,
  style: BytesValue["style"] = "buffer",
): BytesValue {
  return { kind: "bytes", bytes: data, total, style };
}

export function field(name: string, value: Value, detail = false): FieldValue {
  return detail ? { name, value, detail } : { name, value };
}

export function struct(name: string, fields: readonly FieldValue[], elided = false): StructValue {
  return { kind: "struct", name, fields, elided };
}

export function apply(name: string, args: readonly Value[], plain?: string | number): ApplyValue {
  return plain === undefined ? { kind: "apply", name, args } : { kind: "apply", name, args, plain };
}
