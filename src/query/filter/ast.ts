/**
 * A parsed filter as data. Nothing here refers to the text it came from or to a trace, so a filter
 * can be stored, compared, printed (format.ts) and compiled for any trace (compile.ts).
 */

export type Filter =
  | AndFilter
  | OrFilter
  | NotFilter
  | CompareFilter
  | InFilter
  | ExistsFilter
  | TruthFilter
  | SyscallsFilter
  | EventsFilter
  | TimesFilter
  | ProcessFilter;

/** All terms hold; two or more. */
export interface AndFilter {
  readonly type: "and";
  readonly terms: readonly Filter[];
}

/** One term holds; two or more. */
export interface OrFilter {
  readonly type: "or";
  readonly terms: readonly Filter[];
}

/** The term does not hold. True for an event that lacks the term's field. */
export interface NotFilter {
  readonly type: "not";
  readonly term: Filter;
}

export type OrderOp = "=" | "<" | "<=" | ">" | ">=";
export type TextOp = "=" | "contains" | "startswith" | "endswith" | "glob" | "~";
export type CompareOp = OrderOp | TextOp;

/** False for an event that lacks the field, negated or not. */
export interface CompareFilter {
  readonly type: "compare";
  readonly field: string;
  readonly op: CompareOp;
  /** `!=`, `!~`, `not contains`, ... */
  readonly negated: boolean;
  readonly value: Value;
}

/** Equal to one of the values. False for an event that lacks the field, negated or not. */
export interface InFilter {
  readonly type: "in";
  readonly field: string;
  readonly negated: boolean;
  readonly values: readonly Value[];
}

export interface ExistsFilter {
  readonly type: "exists";
  readonly field: string;
}

/** A bool field on its own. */
export interface TruthFilter {
  readonly type: "truth";
  readonly field: string;
}

/** A call whose syscall fits one of the patterns; no pattern fits none. */
export interface SyscallsFilter {
  readonly type: "syscalls";
  readonly patterns: readonly SyscallPattern[];
}

export type SyscallPattern =
  /** `optional` (`?name`): no error when there is no such syscall. */
  | { readonly kind: "name"; readonly name: string; readonly optional?: true }
  /** Class without its `%` (of `%%stat` without the first). */
  | { readonly kind: "class"; readonly name: string }
  | { readonly kind: "regex"; readonly source: string }
  | { readonly kind: "all" };

/** Event numbers, both ends included; an end that is left out is open. */
export interface EventsFilter {
  readonly type: "events";
  readonly from?: number;
  readonly to?: number;
}

/** Nanoseconds since the start of the recording, both ends included; an end that is left out is open. */
export interface TimesFilter {
  readonly type: "times";
  readonly from?: number;
  readonly to?: number;
}

/** A process of the trace, or one thread of it. */
export interface ProcessFilter {
  readonly type: "process";
  readonly process: number;
  readonly thread?: number;
}

export type Value =
  | { readonly type: "string"; readonly value: string }
  /** A bigint only where a number could not hold it exactly. */
  | { readonly type: "number"; readonly value: number | bigint }
  | { readonly type: "duration"; readonly ns: number }
  | { readonly type: "bool"; readonly value: boolean }
  /** One character per byte, U+0000 to U+00FF. */
  | { readonly type: "bytes"; readonly value: string };

/** `p3` */
export function processName(process: number): string {
  return `p${process}`;
}

/** `p3.2` */
export function threadName(process: number, thread: number): string {
  return `p${process}.${thread}`;
}
