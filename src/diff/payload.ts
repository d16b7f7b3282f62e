/** Bytes of two versions of an event: where they differ, and how that is shown. */

import { fromDifference } from "../report/text.js";
import { quoteBytes } from "../show/notation.js";
import { align } from "./align.js";
import { textHash } from "./canon/hash.js";
import type { CanonicalTexts } from "./canon/texts.js";
import type { Aspect } from "./result.js";

/** Bytes on both sides of a difference that are shown of what is no text. */
const AROUND = 12;
/** Lines of text that are compared, and that are shown. */
const MOST_LINES = 4000;
const MOST_SHOWN = 24;
const MOST_WIDTH = 240;
/** Longer lines are shown from what they differ in on: about as wide as a terminal. */
const MOST_UNCUT = 72;

/** Offset of the first byte that differs, or -1. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) if (a[at] !== b[at]) return at;
  return a.length === b.length ? -1 : length;
}

export function isText(data: Uint8Array): boolean {
  const end = Math.min(data.length, 4096);
  for (let at = 0; at < end; at++) {
    const byte = data[at] as number;
    if (byte < 9 || (byte > 13 && byte < 32 && byte !== 27)) return false;
  }
  return true;
}

/** What differs, as an aspect of the event. */
export function dataAspect(
  a: Buffer,
  b: Buffer,
  texts: { a: CanonicalTexts; b: CanonicalTexts },
): Aspect {
  const sizes = a.length === b.length ? ["", ""] : [`${a.length} bytes`, `${b.length} bytes`];
  if (isText(a) && isText(b)) {
    const lines = lineDiff(a.toString(), b.toString(), texts);
    return {
      what: "data",
      a: sizes[0] || excerpt(a, firstDifference(a, b)),
      b: sizes[1] || excerpt(b, firstDifference(a, b)),
      lines,
    };
  }
  const at = firstDifference(a, b);
  const side = (data: Buffer, size: string | undefined) =>
    `${size === "" || size === undefined ? "" : `${size}, `}byte ${at}: ${excerpt(data, at)}`;
  return { what: "data", a: side(a, sizes[0]), b: side(b, sizes[1]) };
}

/** The bytes of an event that only one side has. */
export function soleData(data: Buffer): readonly string[] {
  if (data.length === 0 || !isText(data)) return [];
  return data
    .toString()
    .trimEnd()
    .split("\n")
    .slice(0, 6)
    .map((line) => line.slice(0, MOST_WIDTH));
}

function excerpt(data: Buffer, at: number): string {
  if (at < 0) return "";
  const from = Math.max(0, at - AROUND);
  const text = quoteBytes(data.subarray(from, at + 2 * AROUND));
  return `${from > 0 ? "..." : ""}${text}${at + 2 * AROUND < data.length ? "..." : ""}`;
}

/** Lines that differ, with one line of context. What a rule makes equal is equal. */
export function lineDiff(
  a: string,
  b: string,
  texts: { a: CanonicalTexts; b: CanonicalTexts },
): string[] {
  // The end of the last line begins no other one.
  const end = a.endsWith("\n") && b.endsWith("\n") ? -1 : undefined;
  const [one, other] = differingLines(a.slice(0, end).split("\n"), b.slice(0, end).split("\n"));
  const matches = align(
    one.map((line) => textHash(texts.a.prose(line))),
    other.map((line) => textHash(texts.b.prose(line))),
  );
  const marked: string[] = [];
  let y = 0;
  for (let x = 0; x <= one.length; x++) {
    const match = x < one.length ? (matches[x] as number) : other.length;
    if (match < 0) {
      marked.push(`-${one[x]}`);
      continue;
    }
    for (; y < match; y++) marked.push(`+${other[y]}`);
    if (x < one.length) marked.push(` ${one[x]}`);
    y = match + 1;
  }
  cutToDifferences(marked);
  const near = marked.filter((line, k) =>
    [marked[k - 1], line, marked[k + 1]].some((own) => own !== undefined && own[0] !== " "),
  );
  const shown = near
    .slice(0, MOST_SHOWN)
    .map((line) => (line.length > MOST_WIDTH ? `${line.slice(0, MOST_WIDTH)}...` : line));
  return near.length > MOST_SHOWN
    ? [...shown, ` ... ${near.length - MOST_SHOWN} more lines`]
    : shown;
}

/** Lines from one before the first that differs to one behind the last, as many as are compared. */
function differingLines(a: readonly string[], b: readonly string[]): [string[], string[]] {
  const shorter = Math.min(a.length, b.length);
  let from = 0;
  while (from < shorter && a[from] === b[from]) from += 1;
  let equal = 0;
  while (equal < shorter - from && a.at(-1 - equal) === b.at(-1 - equal)) equal += 1;
  const part = (lines: readonly string[]) =>
    lines.slice(Math.max(0, from - 1), lines.length - Math.max(0, equal - 1)).slice(0, MOST_LINES);
  return [part(a), part(b)];
}

/** Lines that stand for each other begin, when they are long, shortly before what they differ in. */
function cutToDifferences(marked: string[]): void {
  for (let gone = 0; gone < marked.length; gone++) {
    let come = gone;
    while (marked[come]?.startsWith("-")) come += 1;
    const count = come - gone;
    for (let k = 0; k < count && marked[come + k]?.startsWith("+"); k++) {
      const [one, other] = [marked[gone + k] ?? "", marked[come + k] ?? ""];
      const [first, second] = fromDifference(one.slice(1), other.slice(1), MOST_UNCUT);
      marked[gone + k] = `-${first}`;
      marked[come + k] = `+${second}`;
    }
    gone = Math.max(gone, come - 1);
  }
}
