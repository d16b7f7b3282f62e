/** Stacks that a trace holds without a replay of it, and the line of the program in each. */

import { baseName } from "../report/path.js";
import { printable } from "../report/text.js";
import type { Trace } from "../trace/trace.js";
import { type Stack, type StackFrame, StackTable } from "./table.js";

/**
 * Those that `trace enrich` has put into the trace, or else those of threads that were copied while they were recorded; undefined
 * when there are neither. `only`: event numbers, in ascending order; all of them when left out.
 *
 * @throws TraceError `CORRUPT` when they are damaged
 */
export async function keptStacks(
  trace: Trace,
  only?: readonly number[],
): Promise<StackTable | undefined> {
  const [from, to] =
    only === undefined ? [0, Number.MAX_SAFE_INTEGER] : [only[0] ?? 0, only.at(-1) ?? 0];
  const kept = await trace.stacks(from, to);
  if (kept !== undefined) return kept;
  const copied = await trace.copiedStacks({
    from,
    to,
    ...(only !== undefined && { only: Float64Array.from(only) }),
    write: false,
    force: false,
  });
  return copied?.stacks && new StackTable(copied.stacks);
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
