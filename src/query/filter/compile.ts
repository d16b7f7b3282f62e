/**
 * A `Filter` to a predicate over the events of a batch. Everything that can be known before the first
 * event is: fields are bound once, patterns compiled once, sets of syscalls reduced to one look-up.
 * Evaluating a term looks at one value and allocates nothing.
 */

import { EVENT_FIELDS, type FieldSet } from "../fields.js";
import { type CompareFilter, type Filter, type InFilter, processName, threadName } from "./ast.js";
import { syscallTest } from "./capture.js";
import { type FieldValue, oneOfTest, valueTest } from "./value_test.js";

export type { FieldValue } from "./value_test.js";

/** Whether event `i` of the batch is chosen. */
export type EventPredicate = (i: number) => boolean;

/** The value of a field of event `i`; undefined where the event has none. It should not allocate. */
export type FieldGetter = (i: number) => FieldValue | undefined;

/** How a trace reads fields. Getters look at whatever batch is current when they are called. */
export interface FieldResolver {
  /** What the filter was parsed with; the fields of events when left out. */
  readonly fieldSet?: FieldSet;
  /** The getter of a field by its canonical name (`fd.path`, `arg.0`); undefined: no event has it. */
  field(name: string): FieldGetter | undefined;
  /**
   * True for calls whose syscall fits, false for all other events. `fits` is a pure function: call it
   * once per syscall of the table and keep the answers. `classes` come without `%`.
   */
  nameSet(fits: (name: string, classes: readonly string[]) => boolean): EventPredicate;
}

const never: EventPredicate = () => false;

export function compileFilter(filter: Filter, resolver: FieldResolver): EventPredicate {
  return compileSyscalls(filter, resolver) ?? compileTerm(filter, resolver);
}

/** A filter, or a part of one, that looks only at the syscall: one look-up. */
function compileSyscalls(filter: Filter, resolver: FieldResolver): EventPredicate | undefined {
  // Elsewhere a field that is called `name` is not that of a syscall.
  const test = resolver.fieldSet?.calls === false ? undefined : syscallTest(filter);
  if (test === undefined) return undefined;
  if (!test.elsewhere) return resolver.nameSet(test.fits);
  // The look-up is false where there is no call, so what is true there is asked the other way round.
  const misfits = resolver.nameSet((name, classes) => !test.fits(name, classes));
  return (i) => !misfits(i);
}

function compileTerm(filter: Filter, resolver: FieldResolver): EventPredicate {
  switch (filter.type) {
    case "and":
      return allOf(filter.terms.map((term) => compileFilter(term, resolver)));
    case "or":
      return anyOf(filter.terms.map((term) => compileFilter(term, resolver)));
    case "not": {
      const term = compileFilter(filter.term, resolver);
      return (i) => !term(i);
    }
    case "compare":
    case "in":
      return compileComparison(filter, resolver);
    case "exists": {
      const get = resolver.field(filter.field);
      return get === undefined ? never : (i) => get(i) !== undefined;
    }
    case "truth": {
      const get = resolver.field(filter.field);
      return get === undefined ? never : (i) => get(i) === true;
    }
    case "syscalls":
      throw new Error("a set of syscalls looks at nothing but the syscall");
    case "events":
      return compileRange(resolver.field("seq"), filter.from, filter.to);
    case "times":
      return compileRange(resolver.field("time"), filter.from, filter.to);
    case "process":
      return filter.thread === undefined
        ? compileIdentity(resolver.field("proc"), processName(filter.process))
        : compileIdentity(resolver.field("thread"), threadName(filter.process, filter.thread));
  }
}

function compileComparison(
  filter: CompareFilter | InFilter,
  resolver: FieldResolver,
): EventPredicate {
  const get = resolver.field(filter.field);
  if (get === undefined) return never;
  const type = (resolver.fieldSet ?? EVENT_FIELDS).find(filter.field)?.def.type ?? "any";
  const test =
    filter.type === "in" ? oneOfTest(filter.values) : valueTest(filter.op, filter.value, type);
  if (filter.negated) {
    return (i) => {
      const value = get(i);
      return value !== undefined && !test(value);
    };
  }
  return (i) => {
    const value = get(i);
    return value !== undefined && test(value);
  };
}

function compileRange(
  get: FieldGetter | undefined,
  from: number = Number.NEGATIVE_INFINITY,
  to: number = Number.POSITIVE_INFINITY,
): EventPredicate {
  if (get === undefined) return never;
  return (i) => {
    const value = get(i);
    if (typeof value !== "number" && typeof value !== "bigint") return false;
    return value >= from && value <= to;
  };
}

function compileIdentity(get: FieldGetter | undefined, name: string): EventPredicate {
  return get === undefined ? never : (i) => get(i) === name;
}

function allOf(terms: readonly EventPredicate[]): EventPredicate {
  const [first, second] = terms;
  if (terms.length === 2 && first !== undefined && second !== undefined) {
    return (i) => first(i) && second(i);
  }
  return (i) => {
    for (const term of terms) if (!term(i)) return false;
    return true;
  };
}

function anyOf(terms: readonly EventPredicate[]): EventPredicate {
  const [first, second] = terms;
  if (terms.length === 2 && first !== undefined && second !== undefined) {
    return (i) => first(i) || second(i);
  }
  return (i) => {
    for (const term of terms) if (term(i)) return true;
    return false;
  };
}
