/** Events (`@1200`, `@1200..@1300`, `@5..`), times (`12ms..3s`), processes and threads (`p3`, `p3.2`). */

import type { EventsFilter, ProcessFilter, TimesFilter } from "./ast.js";
import { Scanner, type Word } from "./scan.js";
import { readDuration } from "./units.js";

const eventHint = "events are @1200, @1200..@1300, @1200.. or ..@1300; times are 12ms..3s";

/** @throws FilterError */
export function parseRange(text: string): EventsFilter | TimesFilter {
  const scanner = new Scanner(text);
  return rangeOf(scanner, wholeWord(scanner, "range", eventHint));
}

/** @throws FilterError */
export function parseSelector(text: string): ProcessFilter {
  const scanner = new Scanner(text);
  const hint = "p3 is a process, p3.2 a thread of it";
  const word = wholeWord(scanner, "process", hint);
  const selector = selectorOf(word.text);
  return selector ?? scanner.fail(word, `\`${word.text}\` is no process or thread`, hint);
}

function wholeWord(scanner: Scanner, what: string, hint: string): Word {
  scanner.space();
  const word = scanner.match(/\S+/y);
  if (word === undefined) return scanner.fail(scanner.lookingAt(), `the ${what} is empty`, hint);
  scanner.space();
  if (scanner.done) return word;
  const rest = scanner.lookingAt();
  return scanner.fail(rest, `\`${rest.text}\` follows the ${what}`, hint);
}

/** The process or thread of a whole word; undefined when the word is something else. */
export function selectorOf(word: string): ProcessFilter | undefined {
  const found = /^p(\d{1,9})(?:\.(\d{1,9}))?$/.exec(word);
  if (found === null) return undefined;
  const process = Number(found[1]);
  return found[2] === undefined
    ? { type: "process", process }
    : { type: "process", process, thread: Number(found[2]) };
}

/** The range of a whole word that the scanner has just passed. */
export function rangeOf(scanner: Scanner, word: Word): EventsFilter | TimesFilter {
  const dots = word.text.indexOf("..");
  const left = dots < 0 ? word.text : word.text.slice(0, dots);
  const right = dots < 0 ? undefined : word.text.slice(dots + 2);
  const rightStart = word.start + dots + 2;
  const isEvents = left.startsWith("@") || (left === "" && right?.startsWith("@") === true);
  const read = isEvents ? readEvent : readTime;
  const from =
    left === "" ? undefined : read(scanner, { ...word, text: left, end: word.start + left.length });
  if (right === undefined) {
    if (isEvents && from !== undefined) return { type: "events", from, to: from };
    return scanner.fail(
      word,
      `\`${left}\` is a time, not a range`,
      `${left}.. is all from then on`,
    );
  }
  const to =
    right === "" ? undefined : read(scanner, { text: right, start: rightStart, end: word.end });
  if (from === undefined && to === undefined) {
    return scanner.fail(word, "the range has no end on either side", eventHint);
  }
  if (from !== undefined && to !== undefined && from > to) {
    return scanner.fail(word, "the range ends before it begins");
  }
  const ends = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
  return isEvents ? { type: "events", ...ends } : { type: "times", ...ends };
}

function readEvent(scanner: Scanner, word: Word): number {
  const value = /^@?\d{1,16}$/.test(word.text) ? Number(word.text.replace("@", "")) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  return scanner.fail(word, `\`${word.text}\` is not an event number`, eventHint);
}

function readTime(scanner: Scanner, word: Word): number {
  const ns = readDuration(word.text);
  if (typeof ns === "number") return ns;
  const isPlain = /^\d+(?:\.\d+)?$/.test(word.text);
  const hint = isPlain ? `@${word.text} is an event, ${word.text}ms a time` : eventHint;
  return scanner.fail(word, `\`${word.text}\` is no event and no time`, hint);
}
