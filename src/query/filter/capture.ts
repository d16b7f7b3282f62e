/**
 * What a filter says about syscalls alone, before any event is there: which ones a capture filter has
 * to let through, and which parts of a filter one look at the syscall's number answers.
 */

import { findField } from "../fields.js";
import type { Filter, SyscallPattern } from "./ast.js";
import { compileRegex } from "./regex.js";
import { type FieldValue, oneOfTest, valueTest } from "./value_test.js";
import { allClasses, inClass } from "./vocabulary.js";

/** A row of the syscall table; classes without `%`. */
export interface SyscallEntry {
  readonly name: string;
  readonly classes: readonly string[];
}

export interface SyscallBound {
  /** Names of all syscalls whose calls the filter may choose. */
  readonly names: ReadonlySet<string>;
  /** Whether it chooses every call of these: whether it depends on nothing but the syscall. */
  readonly exact: boolean;
}

/** True, false, or undefined: it depends on more than the syscall. */
type Truth = boolean | undefined;
type NameTest = (name: string, classes: readonly string[]) => Truth;

/**
 * The names of the syscalls that the filter chooses, or undefined when it depends on something else
 * than the syscall. Since only calls are in question, terms on `kind` count as known.
 */
export function captureSysnos(
  filter: Filter,
  table: Iterable<SyscallEntry>,
): ReadonlySet<string> | undefined {
  const { names, exact } = captureBound(filter, table);
  return exact ? names : undefined;
}

/** The same for any filter: of `openat and failed` the bound is openat, and not exact. */
export function captureBound(filter: Filter, table: Iterable<SyscallEntry>): SyscallBound {
  const test = nameTest(filter, true);
  const names = new Set<string>();
  let exact = true;
  for (const { name, classes } of table) {
    const truth = test(name, classes);
    if (truth !== false) names.add(name);
    if (truth === undefined) exact = false;
  }
  return { names, exact };
}

export interface SyscallTest {
  readonly fits: (name: string, classes: readonly string[]) => boolean;
  /** What the filter is for an event that is no call. */
  readonly elsewhere: boolean;
}

/** The filter as a test of the syscall, when it looks at nothing else. */
export function syscallTest(filter: Filter): SyscallTest | undefined {
  const elsewhere = withoutCall(filter);
  if (elsewhere === undefined) return undefined;
  const test = nameTest(filter, false);
  return { fits: (name, classes) => test(name, classes) === true, elsewhere };
}

/** The filter where there is no syscall; undefined when it looks at anything but the syscall. */
function withoutCall(filter: Filter): Truth {
  switch (filter.type) {
    case "and":
    case "or": {
      const truths = filter.terms.map(withoutCall);
      if (truths.includes(undefined)) return undefined;
      return filter.type === "and" ? !truths.includes(false) : truths.includes(true);
    }
    case "not": {
      const truth = withoutCall(filter.term);
      return truth === undefined ? undefined : !truth;
    }
    case "syscalls":
      return false;
    case "compare":
    case "in":
    case "exists":
      return isSyscallField(filter.field) ? false : undefined;
    default:
      return undefined;
  }
}

export interface MayChoose {
  /** Whether the filter may choose calls of a syscall, whatever else it looks at. */
  readonly may: (name: string, classes: readonly string[]) => boolean;
  /** Whether it may choose events that are no calls. */
  readonly elsewhere: boolean;
}

/** What any filter says of the syscall: false where nothing else of the event could make it true. */
export function syscallBound(filter: Filter): MayChoose {
  const test = nameTest(filter, false);
  return {
    may: (name, classes) => test(name, classes) !== false,
    elsewhere: mayElsewhere(filter) !== false,
  };
}

/** `withoutCall`, where one false term of an `and` is enough, and a true one of an `or`. */
function mayElsewhere(filter: Filter): Truth {
  if (filter.type === "not") {
    const truth = mayElsewhere(filter.term);
    return truth === undefined ? undefined : !truth;
  }
  if (filter.type !== "and" && filter.type !== "or") return withoutCall(filter);
  const truths = filter.terms.map(mayElsewhere);
  const decisive = filter.type === "or";
  if (truths.includes(decisive)) return decisive;
  return truths.includes(undefined) ? undefined : !decisive;
}

function isSyscallField(field: string): boolean {
  return field === "name" || field === "class";
}

function nameTest(filter: Filter, callsOnly: boolean): NameTest {
  switch (filter.type) {
    case "and":
    case "or":
      return joinTests(
        filter.terms.map((term) => nameTest(term, callsOnly)),
        filter.type === "or",
      );
    case "not": {
      const test = nameTest(filter.term, callsOnly);
      return (name, classes) => {
        const truth = test(name, classes);
        return truth === undefined ? undefined : !truth;
      };
    }
    case "syscalls":
      return patternsTest(filter.patterns);
    case "compare":
    case "in":
    case "exists":
      return fieldTest(filter, callsOnly);
    default:
      return () => undefined;
  }
}

/** `decisive`: the truth of one term that settles the whole. */
function joinTests(tests: readonly NameTest[], decisive: boolean): NameTest {
  return (name, classes) => {
    let whole: Truth = !decisive;
    for (const test of tests) {
      const truth = test(name, classes);
      if (truth === decisive) return decisive;
      if (truth === undefined) whole = undefined;
    }
    return whole;
  };
}

function fieldTest(
  filter: Extract<Filter, { readonly field: string; readonly type: "compare" | "in" | "exists" }>,
  callsOnly: boolean,
): NameTest {
  const { field } = filter;
  const isKind = callsOnly && field === "kind";
  if (!isSyscallField(field) && !isKind) return () => undefined;
  const test = leafTest(filter);
  if (isKind) {
    const truth = test("call");
    return () => truth;
  }
  return field === "name"
    ? (name) => test(name)
    : (name, classes) => test(allClasses(name, classes));
}

function leafTest(
  filter: Extract<Filter, { readonly field: string; readonly type: "compare" | "in" | "exists" }>,
): (value: FieldValue) => boolean {
  if (filter.type === "exists") return () => true;
  const type = findField(filter.field)?.def.type ?? "any";
  const test =
    filter.type === "in" ? oneOfTest(filter.values) : valueTest(filter.op, filter.value, type);
  return filter.negated ? (value) => !test(value) : test;
}

function patternsTest(patterns: readonly SyscallPattern[]): NameTest {
  const tests = patterns.map(patternTest);
  return (name, classes) => tests.some((test) => test(name, classes));
}

function patternTest(
  pattern: SyscallPattern,
): (name: string, classes: readonly string[]) => boolean {
  switch (pattern.kind) {
    case "all":
      return () => true;
    case "name":
      return (name) => name === pattern.name;
    case "class":
      return (name, classes) => inClass(pattern.name, name, classes);
    case "regex": {
      const regex = compileRegex(pattern.source);
      return (name) => regex.test(name);
    }
  }
}
