/** Text in columns of a terminal: widths, cuts, and what must not reach a terminal. */

import { strayByte } from "../trace/byte_text.js";

/** East Asian wide characters and pictures take two columns, combining marks and controls none. */
const wide =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\p{Emoji_Presentation}\u{20000}-\u{3fffd}]$/u;
const narrow = /^[\x20-\x7e]*$/;

export function width(text: string): number {
  if (narrow.test(text)) return text.length;
  let columns = 0;
  for (const character of text) {
    if (/^[\p{Mn}\p{Me}\p{Cf}]$/u.test(character)) continue;
    columns += wide.test(character) ? 2 : 1;
  }
  return columns;
}

/** The text in at most `columns`, its end replaced by `…` where it is longer. */
export function cut(text: string, columns: number): string {
  if (width(text) <= columns) return text;
  let used = 0;
  let out = "";
  for (const character of text) {
    used += width(character);
    if (used > columns - 1) break;
    out += character;
  }
  return `${out}…`;
}

/** The same with the middle left out, for paths: both ends matter. */
export function cutMiddle(text: string, columns: number): string {
  const characters = [...text];
  if (width(text) <= columns || columns < 5) return cut(text, columns);
  const tail = Math.floor(((columns - 1) * 2) / 3);
  const head = columns - 1 - tail;
  return `${characters.slice(0, head).join("")}…${characters.slice(-tail).join("")}`;
}

/** Two long texts, each from a little before what they differ in, so that it is seen when both are cut. */
export function fromDifference(a: string, b: string, longest: number): [string, string] {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  const before = Math.floor(longest / 3);
  if (at <= 2 * before || Math.max(a.length, b.length) <= longest) return [a, b];
  return [`...${a.slice(at - before)}`, `...${b.slice(at - before)}`];
}

/** What moves the cursor, is not seen, or shows the rest in another order. */
export const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

/** Control characters, which would move the cursor or do worse, as `\x1b`; line ends as `\n`. */
export function printable(text: string): string {
  if (narrow.test(text)) return text;
  return text.replace(UNSEEN, (character) => {
    const code = character.codePointAt(0) ?? 0;
    const named = { 9: "\\t", 10: "\\n", 13: "\\r" }[code];
    if (named !== undefined) return named;
    const byte = strayByte(code);
    if (byte !== undefined) return `\\x${byte.toString(16)}`;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
  });
}

/** The text in lines of at most `columns`, broken at blanks; longer words stay whole. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && width(last) + 1 + width(word) <= columns) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else {
      lines.push(word);
    }
  }
  return lines;
}
