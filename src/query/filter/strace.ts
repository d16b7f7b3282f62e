/** Arguments of strace's `-e`, as filters. Whatever is no qualifier of strace's is a filter itself. */

import type { Filter } from "./ast.js";
import { FilterError } from "./error.js";
import { type ParseOptions, parseFilter } from "./parse.js";

type Qualifier = "trace" | "status" | "signal" | "fd";

const qualifiers: Readonly<Record<string, Qualifier>> = {
  t: "trace",
  trace: "trace",
  status: "status",
  s: "signal",
  signal: "signal",
  signals: "signal",
  fd: "fd",
  fds: "fd",
  "trace-fd": "fd",
  "trace-fds": "fd",
};

/** Qualifiers that change what strace prints, or the tracee, and choose no events. */
const otherQualifiers: ReadonlySet<string> = new Set([
  ...["a", "abbrev", "v", "verbose", "x", "raw", "r", "read", "reads", "w", "write", "writes"],
  ...["fault", "inject", "q", "quiet", "silent", "silence", "k", "kvm"],
  ...["decode-fd", "decode-fds", "decode-pid", "decode-pids", "namespace"],
]);

/**
 * The filter of one `-e`: `trace=...`, `status=...`, `signal=...`, `fd=...` with the names and short
 * forms that strace(1) has for them, a bare list of syscalls, or any filter.
 *
 * @throws FilterError
 */
export function parseStraceExpression(text: string, options: ParseOptions = {}): Filter {
  return parseExpression(text, options).filter;
}

interface Expression {
  readonly filter: Filter;
  /** Undefined for a filter that is no list of strace's. */
  readonly qualifier: Qualifier | undefined;
}

function parseExpression(text: string, options: ParseOptions): Expression {
  const found = /^\s*([a-z][a-z-]*)\s*=(?![=~])/.exec(text);
  const word = found?.[1] ?? "";
  if (otherQualifiers.has(word)) {
    const start = text.indexOf(word);
    const message = `\`${word}=\` of strace chooses no events`;
    const hint = "-e takes trace=, status=, signal=, fd=, or a filter";
    throw new FilterError(text, { start, end: start + word.length }, message, hint);
  }
  const qualifier = Object.hasOwn(qualifiers, word) ? qualifiers[word] : undefined;
  if (found !== null && qualifier !== undefined && qualifier !== word) {
    return { filter: parseRenamed(text, word, qualifier, options), qualifier };
  }
  const filter = parseFilter(text, options);
  return { filter, qualifier: qualifier ?? (isSyscallList(filter) ? "trace" : undefined) };
}

/** Parses with the qualifier's full name, and lets errors point into the text as it was given. */
function parseRenamed(text: string, word: string, name: string, options: ParseOptions): Filter {
  const start = text.indexOf(word);
  const renamed = text.slice(0, start) + name + text.slice(start + word.length);
  try {
    return parseFilter(renamed, options);
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    throw error.inText(text, start + name.length, word.length - name.length);
  }
}

function isSyscallList(filter: Filter): boolean {
  switch (filter.type) {
    case "syscalls":
      return true;
    case "not":
      return isSyscallList(filter.term);
    case "and":
    case "or":
      return filter.terms.every(isSyscallList);
    default:
      return false;
  }
}

/**
 * The filter of several `-e` together: what strace would print. Lists of `trace`, `status` and `fd`
 * choose among calls, those of `signal` among signals, and other events stay; of two lists with the
 * same qualifier the last counts. Filters that are no list of strace's apply to every event.
 *
 * @returns undefined when there are no expressions
 * @throws FilterError
 */
export function combineStraceExpressions(
  texts: readonly string[],
  options: ParseOptions = {},
): Filter | undefined {
  const lists = new Map<Qualifier, Filter>();
  const terms: Filter[] = [];
  for (const text of texts) {
    const { filter, qualifier } = parseExpression(text, options);
    if (qualifier === undefined) terms.push(filter);
    else lists.set(qualifier, filter);
  }
  const { signal, calls } = splitLists(lists);
  if (calls.length > 0) terms.push(among("call", all(calls)));
  if (signal !== undefined) terms.push(among("signal", signal));
  return terms.length === 0 ? undefined : all(terms);
}

function splitLists(lists: ReadonlyMap<Qualifier, Filter>): {
  signal: Filter | undefined;
  calls: readonly Filter[];
} {
  const calls = [...lists].filter(([qualifier]) => qualifier !== "signal");
  return { signal: lists.get("signal"), calls: calls.map(([, filter]) => filter) };
}

/** Events of another kind, or those that the filter chooses. */
function among(kind: string, filter: Filter): Filter {
  const value = { type: "string", value: kind } as const;
  const others: Filter = { type: "compare", field: "kind", op: "=", negated: true, value };
  return { type: "or", terms: [others, filter] };
}

function all(terms: readonly Filter[]): Filter {
  return terms.length === 1 && terms[0] !== undefined ? terms[0] : { type: "and", terms };
}
