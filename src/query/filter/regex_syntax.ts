/**
 * Parser of the regular expressions of `~` and `/name/`. They are a part of JavaScript's with the
 * `u` flag, and mean the same; regex.ts runs them in linear time. Refused, since no linear matcher
 * has them: backreferences and lookaround. Refused, since nothing here needs them: `\p{...}`.
 */

import { MAX_REGEX, MAX_REGEX_DEPTH } from "./limits.js";

/** Inclusive ranges of code points: flat pairs, ascending, without overlap. */
export type Ranges = readonly number[];

export type RegexNode =
  | { readonly type: "empty" }
  | { readonly type: "set"; readonly ranges: Ranges }
  | { readonly type: "sequence"; readonly items: readonly RegexNode[] }
  | { readonly type: "choice"; readonly items: readonly RegexNode[] }
  | {
      readonly type: "repeat";
      readonly item: RegexNode;
      readonly min: number;
      readonly max: number;
    }
  | { readonly type: "look"; readonly at: Look };

export type Look = "start" | "end" | "boundary" | "inside";

/** Thrown with the place inside the pattern; the filter parser turns it into a `FilterError`. */
export class RegexError extends Error {
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

const lastCodePoint = 0x10ffff;
const syntaxCharacters = "^$\\.*+?()[]{}|/";
const digits: Ranges = [0x30, 0x39];
/** Also what `\b` looks at. */
export const WORD_RANGES: Ranges = [0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a];
const spaces: Ranges = [
  0x09, 0x0d, 0x20, 0x20, 0xa0, 0xa0, 0x1680, 0x1680, 0x2000, 0x200a, 0x2028, 0x2029, 0x202f,
  0x202f, 0x205f, 0x205f, 0x3000, 0x3000, 0xfeff, 0xfeff,
];
const lineEnds: Ranges = [0x0a, 0x0a, 0x0d, 0x0d, 0x2028, 0x2029];
const controls: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, v: 11, f: 12 };

/** @throws RegexError */
export function parseRegex(source: string): RegexNode {
  if (source.length > MAX_REGEX) {
    const message = `the pattern has ${source.length} characters, the limit is ${MAX_REGEX}`;
    throw new RegexError(message, 0);
  }
  const parser = new RegexParser(source);
  const node = parser.choice(0);
  if (!parser.done()) throw new RegexError("`)` without `(`", parser.offset);
  return node;
}

class RegexParser {
  offset = 0;
  readonly #source: string;

  constructor(source: string) {
    this.#source = source;
  }

  done(): boolean {
    return this.offset >= this.#source.length;
  }

  choice(depth: number): RegexNode {
    const items = [this.#sequence(depth)];
    while (this.#take("|")) items.push(this.#sequence(depth));
    return items.length === 1 && items[0] !== undefined ? items[0] : { type: "choice", items };
  }

  #sequence(depth: number): RegexNode {
    const items: RegexNode[] = [];
    while (!this.done() && !this.#sees("|") && !this.#sees(")")) {
      const start = this.offset;
      items.push(this.#quantified(this.#atom(depth), start));
    }
    if (items.length === 0) return { type: "empty" };
    return items.length === 1 && items[0] !== undefined ? items[0] : { type: "sequence", items };
  }

  #quantified(item: RegexNode, start: number): RegexNode {
    const at = this.offset;
    const bounds = this.#bounds();
    if (bounds === undefined) return item;
    if (item.type === "look" && this.#source[start] !== "(") {
      throw new RegexError(`\`${this.#source.slice(start, at)}\` cannot be repeated`, at);
    }
    this.#take("?"); // which match is preferred makes no difference to whether there is one
    if (this.#sees("*") || this.#sees("+") || this.#sees("?")) {
      throw new RegexError("nothing to repeat", this.offset);
    }
    return { type: "repeat", item, ...bounds };
  }

  #bounds(): { min: number; max: number } | undefined {
    if (this.#take("*")) return { min: 0, max: Number.POSITIVE_INFINITY };
    if (this.#take("+")) return { min: 1, max: Number.POSITIVE_INFINITY };
    if (this.#take("?")) return { min: 0, max: 1 };
    if (!this.#sees("{")) return undefined;
    const found = /^\{(\d+)(,(\d*))?\}/.exec(this.#source.slice(this.offset));
    if (found === null)
      throw new RegexError("incomplete quantifier; `\\{` is a brace", this.offset);
    const min = Number(found[1]);
    const open = found[3] === "" ? Number.POSITIVE_INFINITY : Number(found[3]);
    const max = found[2] === undefined ? min : open;
    if (max < min)
      throw new RegexError("the numbers of the quantifier are out of order", this.offset);
    this.offset += found[0].length;
    return { min, max };
  }

  #atom(depth: number): RegexNode {
    const at = this.offset;
    const character = this.#next();
    switch (character) {
      case "^":
        return { type: "look", at: "start" };
      case "$":
        return { type: "look", at: "end" };
      case ".":
        return { type: "set", ranges: complementRanges(lineEnds) };
      case "(":
        return this.#group(depth + 1, at);
      case "[":
        return { type: "set", ranges: this.#set(at) };
      case "\\":
        return this.#escape(at);
      case "*":
      case "+":
      case "?":
        throw new RegexError("nothing to repeat", at);
      case "{":
      case "}":
      case "]":
        throw new RegexError(`\`${character}\` stands alone; write \`\\${character}\``, at);
      default:
        return literal(character);
    }
  }

  #group(depth: number, at: number): RegexNode {
    if (depth > MAX_REGEX_DEPTH) {
      throw new RegexError(`more than ${MAX_REGEX_DEPTH} groups inside each other`, at);
    }
    if (this.#sees("?")) {
      const found = /^\?(?::|<[A-Za-z_]\w*>)/.exec(this.#source.slice(this.offset));
      if (found === null) throw new RegexError("lookaround and inline flags are not supported", at);
      this.offset += found[0].length;
    }
    const node = this.choice(depth);
    if (!this.#take(")")) throw new RegexError("`(` without `)`", at);
    return node;
  }

  #escape(at: number): RegexNode {
    const letter = this.#source[this.offset];
    if (letter === "b" || letter === "B") {
      this.offset += 1;
      return { type: "look", at: letter === "b" ? "boundary" : "inside" };
    }
    if (letter !== undefined && /[1-9k]/.test(letter)) {
      throw new RegexError("backreferences are not supported", at);
    }
    const named = this.#namedSet();
    return named === undefined
      ? literalCode(this.#escapedCode(at, syntaxCharacters))
      : { type: "set", ranges: named };
  }

  /** `\d \w \s` and their opposites. */
  #namedSet(): Ranges | undefined {
    const letter = this.#source[this.offset] ?? "";
    const ranges = { d: digits, w: WORD_RANGES, s: spaces }[letter.toLowerCase()];
    if (ranges === undefined) return undefined;
    this.offset += 1;
    return letter === letter.toLowerCase() ? ranges : complementRanges(ranges);
  }

  #escapedCode(at: number, escapable: string): number {
    const rest = this.#source.slice(this.offset);
    const hex = /^(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\})/.exec(rest);
    const code = hex === null ? undefined : Number.parseInt(hex[1] ?? hex[2] ?? hex[3] ?? "", 16);
    if (hex !== null && code !== undefined && code <= lastCodePoint) {
      if (code >= 0xd800 && code < 0xe000) {
        throw new RegexError("half of a surrogate pair; write the character itself", at);
      }
      this.offset += hex[0].length;
      return code;
    }
    if (rest === "") throw new RegexError("`\\` at the end of the pattern", at);
    const character = this.#next();
    if (escapable.includes(character)) return character.charCodeAt(0);
    if (character === "0" && !/^\d/.test(this.#source.slice(this.offset))) return 0;
    const control = controls[character];
    if (control !== undefined) return control;
    throw new RegexError(`\`\\${character}\` has no meaning`, at);
  }

  #set(at: number): Ranges {
    const inverted = this.#take("^");
    const ranges: number[] = [];
    while (!this.#take("]")) {
      if (this.done()) throw new RegexError("`[` without `]`", at);
      const start = this.offset;
      const first = this.#member();
      const isRange = this.#sees("-") && this.#source[this.offset + 1] !== "]";
      if (!isRange) {
        ranges.push(...(typeof first === "number" ? [first, first] : first));
        continue;
      }
      this.offset += 1;
      if (this.done()) throw new RegexError("`[` without `]`", at);
      const last = this.#member();
      if (typeof first !== "number" || typeof last !== "number") {
        throw new RegexError("a range cannot start or end with a class", start);
      }
      if (last < first) throw new RegexError("the ends of the range are out of order", start);
      ranges.push(first, last);
    }
    return inverted ? complementRanges(normalizeRanges(ranges)) : normalizeRanges(ranges);
  }

  #member(): number | Ranges {
    const at = this.offset;
    if (!this.#take("\\")) return this.#next().codePointAt(0) ?? 0;
    if (this.#take("b")) return 8;
    return this.#namedSet() ?? this.#escapedCode(at, `${syntaxCharacters}-`);
  }

  #sees(character: string): boolean {
    return this.#source[this.offset] === character;
  }

  #take(character: string): boolean {
    if (!this.#sees(character)) return false;
    this.offset += 1;
    return true;
  }

  #next(): string {
    const code = this.#source.codePointAt(this.offset);
    if (code === undefined) throw new RegexError("the pattern ends too early", this.offset);
    const character = String.fromCodePoint(code);
    this.offset += character.length;
    return character;
  }
}

function literal(character: string): RegexNode {
  return literalCode(character.codePointAt(0) ?? 0);
}

function literalCode(code: number): RegexNode {
  return { type: "set", ranges: [code, code] };
}

export function normalizeRanges(ranges: Ranges): Ranges {
  const pairs: [number, number][] = [];
  for (let i = 0; i + 1 < ranges.length; i += 2) pairs.push([ranges[i] ?? 0, ranges[i + 1] ?? 0]);
  pairs.sort((a, b) => a[0] - b[0]);
  const out: number[] = [];
  for (const [low, high] of pairs) {
    const lastHigh = out[out.length - 1];
    if (lastHigh === undefined || low > lastHigh + 1) out.push(low, high);
    else if (high > lastHigh) out[out.length - 1] = high;
  }
  return out;
}

export function complementRanges(ranges: Ranges): Ranges {
  const out: number[] = [];
  let from = 0;
  for (let i = 0; i + 1 < ranges.length; i += 2) {
    const low = ranges[i] ?? 0;
    if (low > from) out.push(from, low - 1);
    from = (ranges[i + 1] ?? 0) + 1;
  }
  if (from <= lastCodePoint) out.push(from, lastCodePoint);
  return out;
}
