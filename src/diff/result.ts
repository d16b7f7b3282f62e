/** What a comparison found, as data. The renderers, and programs that use the library, read only this. */

import type { Site } from "../stacks/kept.js";
import type { RuleName } from "./rules.js";

/** One thing that differs between two versions of an event. */
export interface Aspect {
  /** `data`, `errno`, `result`, `argument flags`, `variable LANG`, `size`, ... */
  readonly what: string;
  /** For people; null where that side has nothing. */
  readonly a: string | null;
  readonly b: string | null;
  /** Lines that differ, where both are text: unified, each begins with `-`, `+` or a blank. */
  readonly lines?: readonly string[];
}

/** An event of one trace. */
export interface EventRef {
  readonly seq: number;
  /** `p3.2` */
  readonly thread: string;
  /** As `trace show` prints it, without number, time and process. */
  readonly text: string;
  /** The line of the program that made the call, where the trace holds its stack. */
  readonly source?: Site | undefined;
}

export type DifferenceKind = "removed" | "added" | "changed" | "moved" | "time";

export interface Difference {
  readonly kind: DifferenceKind;
  /** What the calls do, whatever their names: `open`, `read`, `stat`, `exec`, `end`, `image`, ... */
  readonly verb: string;
  /** What they do it to: a path, `stdout`, `pipe 1 of p1`. */
  readonly object: string;
  readonly process: ProcessRef;
  readonly a: EventRef | undefined;
  readonly b: EventRef | undefined;
  readonly aspects: readonly Aspect[];
  /**
   * What came in differs (a result, bytes that were read, a program or its environment), or what the program did with it
   * (calls, arguments, bytes that were written), or how it ended.
   */
  readonly side: "input" | "action" | "end";
  /** Of calls that open a file: what for. */
  readonly opens?: "read" | "write" | "create" | undefined;
  /** Of calls on nothing that has a name: which of their kind, `RLIMIT_NOFILE`, `PR_SET_NAME`. */
  readonly about?: string | undefined;
  /** For order: number of the event in A, or of the event in A after which it comes. */
  readonly at: number;
  /** Of an event that only A has: the event in B after which it would come. */
  readonly after?: number | undefined;
}

export interface ProcessRef {
  /** `p3`; undefined where that trace has no such process. */
  readonly a: string | undefined;
  readonly b: string | undefined;
  /** Its program and arguments. */
  readonly command: readonly string[];
}

/** A process that only one of the traces has. */
export interface LoneProcess {
  readonly only: "a" | "b";
  readonly process: ProcessRef;
  readonly parent: ProcessRef | undefined;
  readonly seq: number;
  readonly at: number;
  readonly events: number;
  /** The first program that it ran; empty for a copy of its parent. */
  readonly path: string;
  /** All of them, one after the other: `env curl` runs two. */
  readonly paths: readonly string[];
}

/** Where the runs parted. */
export interface Cause {
  /** A sentence without a full stop. */
  readonly summary: string;
  /** Index in `differences`; undefined when it is a process that one trace lacks. */
  readonly difference: number | undefined;
  readonly process: ProcessRef;
  /** The object that it names: a path, a variable, an address. */
  readonly object: string;
  /** What differs in it, where that is text: lines that begin with `-`, `+` or a blank. */
  readonly lines: readonly string[];
  /** Events of both before and after it, in their order; `mark` is it. */
  readonly contextA: readonly ContextLine[];
  readonly contextB: readonly ContextLine[];
  /** What followed from it, a sentence each. */
  readonly consequences: readonly string[];
}

export interface ContextLine extends EventRef {
  readonly mark: boolean;
}

export interface FileChange {
  readonly path: string;
  readonly what:
    | "read"
    | "written"
    | "created"
    | "deleted"
    | "renamed"
    | "executed"
    | "mapped"
    | "looked for";
  readonly only: "a" | "b" | "both";
  /** Event numbers. */
  readonly a: number | undefined;
  readonly b: number | undefined;
  readonly note: string;
}

export interface NetChange {
  readonly address: string;
  readonly what: string;
  readonly only: "a" | "b" | "both";
  readonly a: number | undefined;
  readonly b: number | undefined;
}

export interface CountChange {
  readonly what: string;
  readonly a: number;
  readonly b: number;
  readonly unit: "calls" | "ns";
}

export interface TraceSide {
  readonly path: string;
  readonly command: readonly string[];
  readonly events: number;
  readonly processes: number;
  readonly threads: number;
  /** Nanoseconds. */
  readonly duration: number;
  readonly exit: string;
  readonly state: string;
}

export interface DiffResult {
  readonly verdict: "same" | "different";
  /** A sentence. */
  readonly summary: string;
  readonly a: TraceSide;
  readonly b: TraceSide;
  /** What a reader should know of the comparison: other programs, cut traces, modes. */
  readonly notes: readonly string[];
  /** Names that stand for one another. */
  readonly maps: readonly { readonly what: string; readonly a: string; readonly b: string }[];
  readonly firstCause: Cause | undefined;
  /** Further causes that do not follow from the first. */
  readonly otherCauses: readonly Cause[];
  readonly files: readonly FileChange[];
  readonly programs: readonly LoneProcess[];
  readonly net: readonly NetChange[];
  /** Environment and arguments of programs. */
  readonly starts: readonly { readonly process: ProcessRef; readonly aspects: readonly Aspect[] }[];
  readonly counts: readonly CountChange[];
  /** In the order in which they happened. */
  readonly differences: readonly Difference[];
  /** Differences beyond those that were looked at one by one. */
  readonly more: number;
  readonly totals: {
    readonly eventsA: number;
    readonly eventsB: number;
    /** Canonical events that both have. */
    readonly equal: number;
    /** Of these, at another place. */
    readonly moved: number;
    readonly processPairs: number;
    readonly processesDiffering: number;
  };
  /** What looked different and was not, by rule. */
  readonly explained: Readonly<Record<string, number>>;
  readonly rules: readonly RuleName[];
}
