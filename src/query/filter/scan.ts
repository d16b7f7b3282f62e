/**
 * A text and a place in it. Words end at different characters in different places of a filter (an
 * `=` may be part of a path but not of a field's name), so there is no separate list of tokens: the
 * parser asks for what may stand here.
 */

import { FilterError, type Span } from "./error.js";
import { MAX_TEXT } from "./limits.js";

export interface Word extends Span {
  readonly text: string;
}

export interface Quoted extends Span {
  /** With all escapes replaced. */
  readonly text: string;
  /** The same as bytes, one character per byte: `\xff` is one byte, an unescaped `ÿ` is two. */
  readonly bytes: string;
}

const controlEscapes: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  f: "\f",
  a: "\x07",
  b: "\b",
  e: "\x1b",
};

export class Scanner {
  readonly text: string;
  offset = 0;

  constructor(text: string) {
    this.text = text;
    if (text.length <= MAX_TEXT) return;
    const message = `the filter has ${text.length} characters, the limit is ${MAX_TEXT}`;
    throw new FilterError(text, { start: MAX_TEXT, end: MAX_TEXT }, message);
  }

  get done(): boolean {
    return this.offset >= this.text.length;
  }

  /** The character here; "" at the end. */
  get here(): string {
    return this.text[this.offset] ?? "";
  }

  space(): void {
    this.match(/\s+/y);
  }

  /** Skips white space, then takes `symbol` if it is next. */
  take(symbol: string): boolean {
    this.space();
    if (!this.text.startsWith(symbol, this.offset)) return false;
    this.offset += symbol.length;
    return true;
  }

  /** What the sticky expression matches here, without moving. */
  peek(pattern: RegExp): Word | undefined {
    pattern.lastIndex = this.offset;
    const found = pattern.exec(this.text);
    if (found === null || found[0] === "") return undefined;
    return { text: found[0], start: this.offset, end: this.offset + found[0].length };
  }

  match(pattern: RegExp): Word | undefined {
    const word = this.peek(pattern);
    if (word !== undefined) this.offset = word.end;
    return word;
  }

  /** What stands here, for the message of an error: a word, a symbol, or nothing at the end. */
  lookingAt(): Word {
    const word = this.peek(/[\p{L}\p{N}_.%@/-]+/uy) ?? this.peek(/[\s\S]/uy);
    return word ?? { text: "", start: this.text.length, end: this.text.length };
  }

  /** @throws always */
  fail(span: Span, message: string, hint?: string): never {
    throw new FilterError(this.text, span, message, hint);
  }

  /** A quoted string that begins here. `raw`: only the quote itself can be escaped. */
  quoted(raw: boolean): Quoted {
    const start = this.offset;
    const quote = this.here;
    this.offset += 1;
    let text = "";
    let bytes = "";
    for (;;) {
      const plain = this.match(quote === '"' ? /[^"\\]+/y : /[^'\\]+/y)?.text ?? "";
      text += plain;
      bytes += toBytes(plain);
      if (this.done) {
        const end = { start, end: start + 1 };
        this.fail(end, "the string is not closed", `it needs a second ${quote}`);
      }
      if (this.here === quote) break;
      const replaced = raw ? this.#rawEscape(quote) : this.#escape();
      text += replaced.text;
      bytes += replaced.bytes;
    }
    this.offset += 1;
    return { text, bytes, start, end: this.offset };
  }

  #rawEscape(quote: string): { text: string; bytes: string } {
    const two = this.match(/\\[\s\S]/uy)?.text ?? this.match(/\\/y)?.text ?? "";
    const text = two === `\\${quote}` ? quote : two;
    return { text, bytes: toBytes(text) };
  }

  #escape(): { text: string; bytes: string } {
    const byte = this.match(/\\(?:x[0-9a-fA-F]{2}|[0-3]?[0-7]{1,2})/y)?.text;
    if (byte !== undefined) {
      const isHex = byte[1] === "x";
      const code = Number.parseInt(byte.slice(isHex ? 2 : 1), isHex ? 16 : 8);
      const text = String.fromCharCode(code);
      return { text, bytes: text };
    }
    const unicode = this.match(/\\u(?:[0-9a-fA-F]{4}|\{[0-9a-fA-F]{1,6}\})/y);
    if (unicode !== undefined) {
      const code = Number.parseInt(unicode.text.replace(/[^0-9a-fA-F]/g, ""), 16);
      if (code > 0x10ffff) this.fail(unicode, "there is no such character");
      const text = String.fromCodePoint(code);
      return { text, bytes: toBytes(text) };
    }
    const start = this.offset;
    this.offset += 1;
    const letter = this.match(/[\s\S]/uy)?.text ?? "";
    const text = controlEscapes[letter] ?? (/[\\"'\n]/.test(letter) ? letter : undefined);
    if (text !== undefined) return { text, bytes: text };
    const hint = "a backslash itself is \\\\; others are \\n \\t \\r \\e \\xNN \\NNN \\u{N}";
    return this.fail({ start, end: this.offset }, `\\${letter} has no meaning`, hint);
  }

  /** The end of a regular expression that begins here: at white space, `stops`, or an unbalanced `)`. */
  regexEnd(stops: string): number {
    let depth = 0;
    let inSet = false;
    let inBraces = false;
    for (let i = this.offset; i < this.text.length; i++) {
      const character = this.text[i] ?? "";
      if (/\s/.test(character)) return i;
      if (character === "\\") {
        if (!/\s/.test(this.text[i + 1] ?? " ")) i += 1;
      } else if (inSet) {
        inSet = character !== "]";
      } else if (inBraces) {
        inBraces = character !== "}";
      } else if (stops.includes(character)) {
        return i;
      } else if (character === "(") {
        depth += 1;
      } else if (character === ")") {
        depth -= 1;
        if (depth < 0) return i;
      } else {
        inSet = character === "[";
        inBraces = character === "{";
      }
    }
    return this.text.length;
  }
}

const utf8 = new TextEncoder();

/** The UTF-8 form of the text, one character per byte. */
export function toBytes(text: string): string {
  let bytes = "";
  for (const byte of utf8.encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}
