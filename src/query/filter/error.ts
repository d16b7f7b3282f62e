/** The one error that filters, ranges and strace expressions raise. It points into the text. */

import { TraceError } from "../../errors.js";
import { UNSEEN } from "../../report/text.js";

/** Columns of the text that are shown around the place of an error. */
const shownBefore = 60;
const shownAfter = 40;

/** Where in a text something is, in UTF-16 units. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export class FilterError extends TraceError {
  readonly #span: Span;
  /** First column of what is wrong, from 1, counted in characters (code points). */
  readonly column: number;
  /**
   * The text, a line of carets below it, and the hint when there is one; no trailing newline. Free of
   * control characters, and shortened around the place of the error.
   */
  readonly pointer: string;

  constructor(text: string, span: Span, message: string, hint?: string) {
    super("BAD_FILTER", visible(message), hint === undefined ? {} : { hint: visible(hint) });
    this.#span = span;
    this.column = [...text.slice(0, span.start)].length + 1;
    this.pointer = draw(text, span, this.hint);
  }

  /** The same error in another text that is `shift` units longer before the place `from`. */
  inText(text: string, from: number, shift: number): FilterError {
    const move = (offset: number): number => (offset >= from ? offset + shift : offset);
    const span = { start: move(this.#span.start), end: move(this.#span.end) };
    return new FilterError(text, span, this.message, this.hint);
  }
}

function draw(text: string, span: Span, hint: string | undefined): string {
  const before = [...text.slice(0, span.start)].map(visible);
  const marked = [...text.slice(span.start, span.end)].map(visible);
  const after = [...text.slice(Math.max(span.start, span.end))].map(visible);
  const head = before.length > shownBefore ? ["…", ...before.slice(-shownBefore)] : before;
  const middle = marked.slice(0, shownAfter);
  const room = Math.max(0, shownAfter - middle.length);
  const tail = [...marked.slice(shownAfter), ...after];
  const rest = tail.length > room ? [...tail.slice(0, room), "…"] : tail;
  const line = [...head, ...middle, ...rest].join("");
  const carets = " ".repeat(columns(head)) + "^".repeat(Math.max(1, columns(middle)));
  return [line, carets, ...(hint === undefined ? [] : [hint])].join("\n");
}

/** Control and direction characters would move the cursor and the carets, or do worse to a terminal. */
function visible(text: string): string {
  return text.replace(/[\t\n\r]/g, " ").replace(UNSEEN, "\ufffd");
}

/** East Asian wide characters and pictures take two columns of a terminal, combining marks none. */
function columns(characters: readonly string[]): number {
  let width = 0;
  for (const character of characters) {
    if (/^[\p{Mn}\p{Me}]$/u.test(character)) continue;
    width += wide.test(character) ? 2 : 1;
  }
  return width;
}

const wide =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\p{Emoji_Presentation}\u{20000}-\u{3fffd}]$/u;
