/**
 * Shell patterns over whole texts: `*` any characters but `/`, `**` any characters, `?` one character
 * but `/`, `[a-z]` and `[!a-z]` one of a set, `\` takes the next character as it is.
 *
 * A glob becomes the tree of a regular expression and is run by regex.ts, so it is linear too.
 */

import { MAX_GLOB } from "./limits.js";
import { Regex } from "./regex.js";
import {
  complementRanges,
  normalizeRanges,
  type Ranges,
  RegexError,
  type RegexNode,
} from "./regex_syntax.js";

const anything: Ranges = [0, 0x10ffff];
const notSlash: Ranges = complementRanges([0x2f, 0x2f]);

/** @throws RegexError with the place inside the glob */
export function compileGlob(glob: string): Regex {
  if (glob.length > MAX_GLOB) {
    const message = `the pattern has ${glob.length} characters, the limit is ${MAX_GLOB}`;
    throw new RegexError(message, 0);
  }
  const items: RegexNode[] = [{ type: "look", at: "start" }];
  for (let offset = 0; offset < glob.length; ) offset = readPiece(glob, offset, items);
  items.push({ type: "look", at: "end" });
  return new Regex({ type: "sequence", items });
}

/** Adds the piece at `offset` to `items`; returns where the next one begins. */
function readPiece(glob: string, offset: number, items: RegexNode[]): number {
  const character = characterAt(glob, offset);
  const next = offset + character.length;
  switch (character) {
    case "*": {
      const stars = /^\*+/.exec(glob.slice(offset))?.[0].length ?? 1;
      const item: RegexNode = { type: "set", ranges: stars === 1 ? notSlash : anything };
      items.push({ type: "repeat", item, min: 0, max: Number.POSITIVE_INFINITY });
      return offset + stars;
    }
    case "?":
      items.push({ type: "set", ranges: notSlash });
      return next;
    case "[":
      return readSet(glob, offset, items);
    case "\\": {
      const escaped = characterAt(glob, next);
      if (escaped === "") throw new RegexError("`\\` at the end of the pattern", offset);
      items.push(one(escaped));
      return next + escaped.length;
    }
    default:
      items.push(one(character));
      return next;
  }
}

function readSet(glob: string, offset: number, items: RegexNode[]): number {
  let at = offset + 1;
  const inverted = glob[at] === "!" || glob[at] === "^";
  if (inverted) at += 1;
  const ranges: number[] = [];
  // As in a shell, a `]` that comes first is a member.
  for (let first = true; first || glob[at] !== "]"; first = false) {
    const low = member(glob, at, offset);
    at = low.next;
    let high = low;
    if (glob[at] === "-" && glob[at + 1] !== "]") high = member(glob, at + 1, offset);
    at = high.next;
    if (high.code < low.code) {
      throw new RegexError("the ends of the range are out of order", offset);
    }
    ranges.push(low.code, high.code);
  }
  const set = normalizeRanges(ranges);
  items.push({
    type: "set",
    ranges: inverted ? complementRanges(normalizeRanges([...set, 0x2f, 0x2f])) : set,
  });
  return at + 1;
}

function member(glob: string, at: number, setStart: number): { code: number; next: number } {
  const start = glob[at] === "\\" ? at + 1 : at;
  const character = characterAt(glob, start);
  if (character === "") throw new RegexError("`[` without `]`", setStart);
  return { code: character.codePointAt(0) ?? 0, next: start + character.length };
}

function one(character: string): RegexNode {
  const code = character.codePointAt(0) ?? 0;
  return { type: "set", ranges: [code, code] };
}

function characterAt(text: string, offset: number): string {
  const code = text.codePointAt(offset);
  return code === undefined ? "" : String.fromCodePoint(code);
}
