/** Stacks that a trace holds without a replay of it, and the line of the program in each. */

import { baseName } from "../report/path.js";
import { printable } from "../report/text.js";
import type { Trace } from "../trace/trace.js";
import { type Stack, type StackFrame, StackTable } from "./table.js";

/** Stacks that are there without a replay. */
export interface StoredStacks {
  readonly stacks: StackTable;
  /** Threads were copied while they were recorded. */
  readonly isCopied: boolean;
  /** Files of code that are not at hand any more, of copied threads. */
  readonly gone: readonly string[];
}

/** Of all events, by trace: they are made once, however many tables ask for them. */
const ofAll = new WeakMap<Trace, Promise<StoredStacks | undefined>>();

/**
 * Of each event the stack that `trace enrich` has put into the trace, or else the one of a thread that was copied while it was
 * recorded; undefined when there are neither. `only`: event numbers, in ascending order; all of them when left out.
 *
 * @throws TraceError `CORRUPT` when they are damaged
 */
export function storedStacks(trace: Trace, only?: Float64Array): Promise<StoredStacks | undefined> {
  if (only !== undefined) return stored(trace, only);
  let all = ofAll.get(trace);
  if (all === undefined) {
    all = stored(trace, undefined);
    ofAll.set(trace, all);
  }
  return all;
}

async function stored(
  trace: Trace,
  only: Float64Array | undefined,
): Promise<StoredStacks | undefined> {
  const [from, to] =
    only === undefined ? [0, Number.MAX_SAFE_INTEGER] : [only[0] ?? 0, only.at(-1) ?? 0];
  const kept = await trace.stacks(from, to);
  const lacking = kept === undefined ? only : only?.filter((seq) => !kept.has(seq));
  if (kept !== undefined && lacking?.length === 0) {
    return { stacks: kept, isCopied: false, gone: [] };
  }
  const copied = await trace.copiedStacks({
    from,
    to,
    ...(lacking !== undefined && { only: lacking }),
    write: false,
    force: false,
  });
  if (copied?.stacks === undefined) {
    return kept && { stacks: kept, isCopied: false, gone: [] };
  }
  const made = new StackTable(copied.stacks);
  return { stacks: kept?.over(made) ?? made, isCopied: true, gone: copied.gone };
}

/**
 * The stacks of {@link storedStacks} alone.
 *
 * @throws TraceError `CORRUPT` when they are damaged
 */
export async function keptStacks(
  trace: Trace,
  only?: readonly number[],
): Promise<StackTable | undefined> {
  return (await storedStacks(trace, only && Float64Array.from(only)))?.stacks;
}

/** Code that programs call and have not written: the C library and its loader, and what the kernel adds. */
const LIBRARIES = /^(?:libc[.-]|ld[-.]|libpthread[-.]|libm[.-]|ld-musl|\[)/;

/**
 * The frame that a program's author looks for: the innermost one with a line of source, of a script where an interpreter runs
 * one, and not of the C library. Undefined where no frame has a line.
 */
export function ownFrame({ frames }: Stack): StackFrame | undefined {
  const script = frames.find(({ source, interpreted }) => interpreted && source !== undefined);
  const isOwn = ({ source, image }: StackFrame) =>
    source !== undefined && !LIBRARIES.test(baseName(image?.path ?? ""));
  return script ?? frames.find(isOwn);
}

/** A place in a program's source. */
export interface Site {
  readonly function: string | undefined;
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

export function siteOf(stack: Stack | undefined): Site | undefined {
  const frame = stack && ownFrame(stack);
  if (frame?.source === undefined) return undefined;
  return { function: frame.function, file: frame.source.file, line: frame.source.line };
}

/** `/src/x.c:12 (main)` */
export function siteText({ function: name, file, line }: Site): string {
  return printable(`${file}:${line}${name === undefined ? "" : ` (${name})`}`);
}
