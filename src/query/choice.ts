/**
 * What a filter says of events before they are decoded whole: which syscalls, kinds, threads and times it may choose. The reader
 * leaves out what cannot be chosen, and whole blocks that have nothing else. The filter itself is asked of what is left, so that
 * nothing here needs to be exact: it may only let too much through, never too little.
 */

import { rowIndex, syscallName } from "../decode/context.js";
import type { NativeChoiceParts } from "../native.js";
import { EventFlag, type ThreadInfo } from "../trace/batch.js";
import { processName, threadName } from "./filter/ast.js";
import { compileFilter, type FieldGetter, type Filter, syscallBound } from "./filter/index.js";
import { classesOf } from "./syscalls.js";

/** Syscalls with numbers beyond are always let through. */
const NUMBERS = 1024;
const ALL_KINDS = 0xffff;

/** Fields that only calls have. */
const CALL_FIELDS: ReadonlySet<string> = new Set([
  ...["name", "sysno", "arch", "class", "status", "ret", "err", "ok", "failed"],
  ...["fd", "fd.path", "fd.kind", "fd.id", "dur"],
]);

/** Fields that depend on nothing but the thread. */
const THREAD_FIELDS: ReadonlySet<string> = new Set(["proc", "thread", "pid", "tid"]);

interface Parts extends NativeChoiceParts {
  kinds: number;
  flagsSet: number;
  flagsClear: number;
  threads?: Uint8Array;
  leastDuration: number;
  mostDuration: number;
  leastStart: number;
  mostStart: number;
}

/** What the filter lets through; undefined when that is everything. */
export function choiceOf(
  filter: Filter,
  threads: readonly ThreadInfo[],
): NativeChoiceParts | undefined {
  const bound = syscallBound(filter);
  const parts: Parts = {
    calls: callsOf(bound.may),
    kinds: bound.elsewhere ? ALL_KINDS : 0,
    flagsSet: 0,
    flagsClear: 0,
    leastDuration: 0,
    mostDuration: Number.POSITIVE_INFINITY,
    leastStart: 0,
    mostStart: Number.POSITIVE_INFINITY,
  };
  for (const term of conjuncts(filter)) narrow(parts, term, threads);
  return isOpen(parts) ? undefined : parts;
}

function callsOf(may: (name: string, classes: readonly string[]) => boolean): Uint8Array {
  const calls = new Uint8Array(2 * NUMBERS);
  for (const arch of [0, 1]) {
    for (let sysno = 0; sysno < NUMBERS; sysno++) {
      const row = rowIndex(arch, sysno);
      const fits = may(syscallName(arch, sysno), row < 0 ? [] : classesOf(row));
      calls[arch * NUMBERS + sysno] = fits ? 1 : 0;
    }
  }
  return calls;
}

/** Terms that all have to hold. */
function conjuncts(filter: Filter): readonly Filter[] {
  return filter.type === "and" ? filter.terms.flatMap(conjuncts) : [filter];
}

function isOpen({ calls, kinds, flagsSet, flagsClear, threads, ...times }: Parts): boolean {
  const { leastDuration, mostDuration, leastStart, mostStart } = times;
  return (
    kinds === ALL_KINDS &&
    (flagsSet | flagsClear) === 0 &&
    threads === undefined &&
    leastDuration <= 0 &&
    leastStart <= 0 &&
    Math.min(mostDuration, mostStart) === Number.POSITIVE_INFINITY &&
    !calls.includes(0)
  );
}

function narrow(parts: Parts, term: Filter, threads: readonly ThreadInfo[]): void {
  if (isOfThread(term)) {
    parts.threads = both(parts.threads, threadsOf(term, threads));
    return;
  }
  if ("field" in term && (CALL_FIELDS.has(term.field) || term.field.startsWith("arg."))) {
    parts.kinds = 0;
  }
  switch (term.type) {
    case "truth":
      if (term.field === "failed") parts.flagsSet |= EventFlag.Error;
      if (term.field === "ok") {
        parts.flagsClear |= EventFlag.Error | EventFlag.NoReturn | EventFlag.NoResult;
      }
      return;
    case "times":
      parts.leastStart = Math.max(parts.leastStart, term.from ?? 0);
      parts.mostStart = Math.min(parts.mostStart, term.to ?? Number.POSITIVE_INFINITY);
      return;
    case "compare":
    case "in":
    case "exists":
      if (term.field === "err") parts.flagsSet |= EventFlag.Error;
      if (term.type === "compare" && term.field === "dur") narrowDuration(parts, term);
  }
}

function narrowDuration(
  parts: Parts,
  { op, negated, value }: Extract<Filter, { readonly type: "compare" }>,
): void {
  if (negated || value.type !== "duration") return;
  if (op === ">" || op === ">=" || op === "=") {
    parts.leastDuration = Math.max(parts.leastDuration, value.ns);
  }
  if (op === "<" || op === "<=" || op === "=") {
    parts.mostDuration = Math.min(parts.mostDuration, value.ns);
  }
}

function isOfThread(filter: Filter): boolean {
  switch (filter.type) {
    case "and":
    case "or":
      return filter.terms.every(isOfThread);
    case "not":
      return isOfThread(filter.term);
    case "process":
      return true;
    case "compare":
    case "in":
    case "exists":
      return THREAD_FIELDS.has(filter.field);
    default:
      return false;
  }
}

/** The threads that a filter chooses which looks at nothing else. */
function threadsOf(filter: Filter, threads: readonly ThreadInfo[]): Uint8Array {
  const getters: Readonly<Record<string, (info: ThreadInfo) => string | number>> = {
    proc: ({ process }) => processName(process),
    thread: ({ process, ordinal }) => threadName(process, ordinal),
    pid: ({ pid }) => pid,
    tid: ({ tid }) => tid,
  };
  const field = (name: string): FieldGetter | undefined => {
    const get = getters[name];
    return (i) => {
      const info = threads[i];
      return info === undefined || get === undefined ? undefined : get(info);
    };
  };
  const nameSet = () => {
    throw new Error("the filter looks at nothing but the thread");
  };
  const keep = compileFilter(filter, { field, nameSet });
  return Uint8Array.from(threads, (_, index) => (keep(index) ? 1 : 0));
}

function both(a: Uint8Array | undefined, b: Uint8Array): Uint8Array {
  return a === undefined ? b : b.map((one, k) => one & (a[k] ?? 0));
}
