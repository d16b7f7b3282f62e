/**
 * What the reading commands share: the words after the command's name and strace's flags, as a trace
 * and a filter. A word is the trace, a selector (`@12..@30`, `3ms..`, `p3`), or a part of a filter.
 */

import { existsSync } from "node:fs";
import { TraceError, usageError } from "../errors.js";
import type { FieldSet } from "../query/fields.js";
import type { Filter } from "../query/filter/index.js";
import { defaultTrace } from "../state.js";
import { startsAsTrace } from "../trace/magic.js";
import type { Trace } from "../trace/trace.js";
import type { CommandContext, OptionDef } from "./command.js";
import { collect, wholeNumber } from "./values.js";

export interface FilterFlags {
  readonly filter?: readonly string[];
  readonly e?: readonly string[];
  readonly P?: readonly string[];
  readonly p?: readonly string[];
  readonly z?: boolean;
  readonly Z?: boolean;
}

const group = "Filters";

export const filterOptions: readonly OptionDef[] = [
  {
    flags: "--filter <filter>",
    help: "show what the filter chooses; several must all hold (trace fields lists what there is)",
    parse: collect,
    group,
  },
  {
    flags: "-e <expression>",
    help: "strace's: -e openat,%file  -e trace=!close  -e status=failed, or any filter",
    parse: collect,
    group,
  },
  {
    flags: "-P <path>",
    help: "calls that work on this path, or on a file open on it",
    parse: collect,
    group,
  },
  {
    flags: "-p <pid>",
    help: "this process or thread, by its number in the system",
    parse: collect,
    group,
  },
  { flags: "-z", help: "successful calls only", group },
  { flags: "-Z", help: "failed calls only", group },
];

export const colorOption: OptionDef = {
  flags: "--color [when]",
  help: "colours: auto, always or never",
  choices: ["auto", "always", "never"],
  default: "auto",
  group: "Output",
};

export const stringSizeOption: OptionDef = {
  flags: "-s <bytes>",
  help: "how much of a string or buffer is shown",
  parse: wholeNumber(0, 2 ** 30),
  default: 32,
  group: "Output",
};

/** `--color` without a word is `always`. */
export function colorChoice(value: string | true | undefined): "auto" | "always" | "never" {
  if (value === true) return "always";
  return value === "always" || value === "never" ? value : "auto";
}

/** Columns of the terminal that is written to; elsewhere nothing is cut. */
export function terminalWidth(context: Pick<CommandContext, "isTTY" | "env" | "stdout">): number {
  const own = (context.stdout as { columns?: number }).columns ?? 0;
  const told = Number(context.env.COLUMNS ?? "");
  if (Number.isInteger(told) && told >= 20) return told;
  return context.isTTY.stdout && own >= 20 ? own : Number.POSITIVE_INFINITY;
}

export interface Words {
  /** As the user wrote it, or the latest trace. */
  readonly path: string;
  readonly words: readonly string[];
}

/**
 * Splits off the trace: the first word when it names a file or looks like one, or any other that
 * ends in `.trace`.
 */
export function splitTrace(context: Pick<CommandContext, "args" | "env">): Words {
  const { args } = context;
  const place = args.findIndex((word, k) => (k === 0 ? isTrace(word) : word.endsWith(".trace")));
  const named = args[place];
  if (named !== undefined) return { path: named, words: args.filter((_, k) => k !== place) };
  const path = defaultTrace(context.env);
  if (path === undefined) {
    throw new TraceError("NO_TRACE", "no trace is named, and none was recorded yet", {
      hint: "name one, or record one: trace record PROGRAM",
    });
  }
  return { path, words: args };
}

/** The trace of a command that takes nothing else: whatever the word is, it can only be meant as one. */
export function onlyTrace(context: Pick<CommandContext, "args" | "env">, command: string): string {
  const [first, second] = context.args;
  if (first !== undefined && second === undefined && !isSelector(first)) return first;
  const { path, words } = splitTrace(context);
  if (words[0] === undefined) return path;
  throw usageError(`unexpected argument '${words[0]}'`, `trace ${command} takes a trace file`);
}

export interface SeveralWords {
  /** As the user wrote them, or the latest trace. */
  readonly paths: readonly string[];
  readonly words: readonly string[];
}

/** Splits off all traces: the words that name files at the beginning, and any others that end in `.trace`. */
export function splitTraces(context: Pick<CommandContext, "args" | "env">): SeveralWords {
  const { args } = context;
  // A question may begin like a path: with a comment of SQL.
  const isQuestion = (word: string) => !isTrace(word) || (/\s/.test(word) && !existsSync(word));
  const first = args.findIndex(isQuestion);
  const leading = first < 0 ? args.length : first;
  const isNamed = (word: string, k: number) => k < leading || /^\S*\.trace$/.test(word);
  const paths = args.filter(isNamed);
  if (paths.length === 0)
    return { paths: [splitTrace({ args: [], env: context.env }).path], words: args };
  return { paths, words: args.filter((word, k) => !isNamed(word, k)) };
}

/** A bare word may be the name of a syscall; then only a real trace of that name is taken for one. */
function isTrace(word: string): boolean {
  if (isSelector(word)) return false;
  // Of a variable that is not set: no filter, either.
  if (word === "") return true;
  if (word.endsWith(".trace") || /^(?:\/|\.\.?\/|~)/.test(word)) return true;
  if (!existsSync(word)) return false;
  return /^[a-z0-9_]+$/.test(word) ? startsAsTrace(word) : true;
}

function isSelector(word: string): boolean {
  const isRange = /^(?:@?[\d.]+[a-zµ]*)?\.\.(?:@?[\d.]+[a-zµ]*)?$/.test(word) && word !== "..";
  return isRange || /^@\d/.test(word) || /^p\d+(?:\.\d+)?$/.test(word);
}

/** The trace, opened; the user is told when it is not whole. */
export async function openNamed(
  path: string,
  context: Pick<CommandContext, "stderr">,
): Promise<Trace> {
  const { openTrace } = await import("../trace/open.js");
  const trace = await openTrace(path);
  if (trace.state === "cut") {
    const { counted } = await import("../report/units.js");
    const count = trace.eventCount;
    const last = count === 0 ? "no events" : `${counted(count, "event")} up to @${count - 1}`;
    const why = trace.damage === undefined ? "the recorder ended early" : reason(trace.damage);
    context.stderr.write(
      `trace: ${path} is cut (${why}): it holds ${last}; what came after is missing\n`,
    );
  }
  return trace;
}

/** What stopped the reader; a file that just ends needs no offsets. */
function reason(damage: TraceError): string {
  return /needs|ends/.test(damage.message) ? "the recorder ended early" : damage.message;
}

/**
 * The filter of words and flags together; undefined when there is none. `fields` is what it asks about where that is not
 * events.
 */
export async function filterOf(
  words: readonly string[],
  flags: FilterFlags,
  fields?: FieldSet,
): Promise<Filter | undefined> {
  const { filter = [], e = [], P = [], p = [], z, Z } = flags;
  if (words.length + filter.length + e.length + P.length + p.length === 0 && !z && !Z) {
    return undefined;
  }
  const language = await import("../query/filter/index.js");
  const { vocabulary } = await import("../query/syscalls.js");
  const parse = (text: string) =>
    pointing(() => language.parseFilter(text, { vocabulary, ...(fields && { fields }) }));
  const terms: (Filter | undefined)[] = [
    wordsFilter(words, parse),
    ...filter.map(parse),
    pointing(() => language.combineStraceExpressions(e, { vocabulary })),
    anyOf(P.map(pathFilter)),
    anyOf(p.map(pidFilter)),
  ];
  if (z === true) terms.push({ type: "truth", field: "ok" });
  if (Z === true) terms.push({ type: "truth", field: "failed" });
  return allOf(terms);
}

/**
 * Words as one filter; where they are none, selectors stand for themselves and the rest is the
 * filter: `p3 @10..@20 openat` is the calls of p3 in that range that are openat.
 */
function wordsFilter(
  words: readonly string[],
  parse: (text: string) => Filter,
): Filter | undefined {
  if (words.length === 0) return undefined;
  if (/^\S+\.trace$/.test(words[0] ?? "")) {
    throw usageError(
      `one trace at a time: ${words[0]} is another one`,
      "trace diff compares two; trace query and trace export take many",
    );
  }
  const selectors = words.filter(isSelector);
  if (selectors.length === 0) return telling(words, parse);
  try {
    return parse(words.join(" "));
  } catch {
    const chosen = selectors.map(parse);
    const rest = words.filter((word) => !isSelector(word));
    return allOf([
      anyOf(chosen.filter((term) => term.type === "process")),
      anyOf(chosen.filter((term) => term.type !== "process")),
      rest.length === 0 ? undefined : parse(rest.join(" ")),
    ]);
  }
}

/** Words as a filter. Whoever named a trace that is not there is told what the word was taken for. */
function telling(words: readonly string[], parse: (text: string) => Filter): Filter {
  try {
    return parse(words.join(" "));
  } catch (error) {
    const [word = ""] = words;
    if (words.length > 1 || !(error instanceof TraceError) || !/^[\w-]+$/.test(word)) throw error;
    const what = `${word} is no trace, so it was taken for a filter`;
    throw new TraceError(error.code, error.message, {
      hint: [error.hint, what].filter((line) => line !== undefined).join("\n"),
      cause: error,
    });
  }
}

/** An error in a filter, with the place marked below the text. */
export function pointing<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const { pointer, column } = error as { pointer?: unknown; column?: unknown };
    if (!(error instanceof TraceError) || typeof pointer !== "string") throw error;
    throw new TraceError(error.code, `in the filter, column ${column}: ${error.message}`, {
      hint: pointer,
      cause: error,
    });
  }
}

function pathFilter(path: string): Filter {
  const is = (field: string): Filter => ({
    type: "compare",
    field,
    op: "=",
    negated: false,
    value: { type: "string", value: path },
  });
  return { type: "or", terms: [is("path"), is("path.resolved"), is("fd.path")] };
}

function pidFilter(text: string): Filter {
  if (!/^\d{1,10}$/.test(text)) {
    throw usageError(
      `-p ${text}: not a process id`,
      "processes of the trace are named p1, p2, ...: trace tree",
    );
  }
  const is = (field: string): Filter => ({
    type: "compare",
    field,
    op: "=",
    negated: false,
    value: { type: "number", value: Number(text) },
  });
  return { type: "or", terms: [is("pid"), is("tid")] };
}

function anyOf(terms: readonly Filter[]): Filter | undefined {
  return terms.length <= 1 ? terms[0] : { type: "or", terms };
}

function allOf(terms: readonly (Filter | undefined)[]): Filter | undefined {
  const found = terms.filter((term) => term !== undefined);
  return found.length <= 1 ? found[0] : { type: "and", terms: found };
}
