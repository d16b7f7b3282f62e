/** What stands behind an operator: reads one value for a field, checks and normalizes it. */

import type { FieldDef, FieldType, FoundField } from "../fields.js";
import { nearestName } from "../nearest.js";
import type { CompareOp, Value } from "./ast.js";
import type { Span } from "./error.js";
import { compileGlob } from "./glob.js";
import { compileRegex } from "./regex.js";
import { RegexError } from "./regex_syntax.js";
import { type Scanner, toBytes, type Word } from "./scan.js";
import { readDuration, readNumber, type UnitFault } from "./units.js";
import {
  canonicalClass,
  canonicalError,
  canonicalSignal,
  classNames,
  SIGNAL_NAMES,
  type Vocabulary,
} from "./vocabulary.js";

const orderOps = ["<", "<=", ">", ">="];
const textOps = ["contains", "startswith", "endswith", "glob", "~"];

/** The operators that make sense for a type, as they are written; each can be negated. */
export function operatorsOf(type: FieldType): readonly string[] {
  switch (type) {
    case "number":
    case "duration":
    case "time":
      return ["=", "!=", ...orderOps, "in", "exists"];
    case "bool":
      return ["=", "!=", "exists"];
    case "string":
    case "set":
      return ["=", "!=", "in", ...textOps, "exists"];
    case "bytes":
      return ["=", "!=", "in", "contains", "startswith", "endswith", "~", "exists"];
    case "any":
      return ["=", "!=", ...orderOps, "in", ...textOps, "exists"];
  }
}

interface RawValue extends Span {
  readonly text: string;
  readonly bytes: string;
  readonly quote: string;
}

/** Words that are part of the language, and so no value unless they are quoted. */
export const KEYWORDS: ReadonlySet<string> = new Set(["and", "or", "not", "in"]);

/** A bare word: until white space, a parenthesis, a comma, `&&` or `||`. */
const bareWord = /(?:(?!&&|\|\|)[^\s(),])+/y;

/** Reads the value of `field OP value`. */
export function readValue(
  scanner: Scanner,
  field: FoundField,
  op: CompareOp,
  vocabulary: Vocabulary,
): Value {
  scanner.space();
  const isPattern = op === "~" || op === "glob";
  const raw = readRaw(scanner, isPattern, op === "~");
  if (isPattern) return patternValue(scanner, raw, op, field.def.type);
  const reader = new ValueReader(scanner, field, raw, vocabulary);
  return op === "=" ? reader.exact() : reader.loose(op);
}

function readRaw(scanner: Scanner, isPattern: boolean, isRegex: boolean): RawValue {
  const quote = scanner.here;
  if (quote === '"' || quote === "'") {
    const quoted = scanner.quoted(isPattern);
    if (scanner.peek(/[^\s(),&|]/y) !== undefined) {
      const rest = scanner.lookingAt();
      scanner.fail(rest, `\`${rest.text}\` follows the string without a space`);
    }
    return { ...quoted, quote };
  }
  const word = isRegex ? regexWord(scanner) : scanner.match(bareWord);
  if (word === undefined || (KEYWORDS.has(word.text.toLowerCase()) && !isRegex)) {
    const found = word ?? scanner.lookingAt();
    const what = found.text === "" ? "the end" : `\`${found.text}\``;
    const hint = word && `a value of this form needs quotes: "${word.text}"`;
    return scanner.fail(found, `a value is missing before ${what}`, hint);
  }
  return { ...word, bytes: toBytes(word.text), quote: "" };
}

/** A regular expression needs no quotes around balanced parentheses and commas. */
function regexWord(scanner: Scanner): Word | undefined {
  const start = scanner.offset;
  const end = scanner.regexEnd("");
  if (end === start) return undefined;
  scanner.offset = end;
  const text = scanner.text.slice(start, end);
  if (/^\/(?:\^|.*\$\/$)/.test(text)) {
    const hint = "write it without slashes around it, as in: path ~ ^/etc/.*\\.conf$";
    scanner.fail({ start, end }, "the slashes would be part of the pattern", hint);
  }
  return { text, start, end };
}

function patternValue(scanner: Scanner, raw: RawValue, op: CompareOp, type: FieldType): Value {
  try {
    if (op === "~") compileRegex(raw.text);
    else compileGlob(raw.text);
  } catch (error) {
    if (!(error instanceof RegexError)) throw error;
    const start = raw.quote === "" ? raw.start + error.offset : quotedOffset(raw, error.offset);
    const what = op === "~" ? "regular expression" : "glob";
    const end = Math.min(start + 1, raw.end);
    scanner.fail({ start: Math.min(start, raw.end), end }, `bad ${what}: ${error.message}`);
  }
  return type === "bytes"
    ? { type: "bytes", value: raw.text }
    : { type: "string", value: raw.text };
}

/** Where a place of the unquoted pattern is in the text: each escaped quote is one longer there. */
function quotedOffset(raw: RawValue, offset: number): number {
  let start = raw.start + 1;
  for (let i = 0; i < offset; i++) {
    const isEscape = raw.text[i] === raw.quote && raw.text[i - 1] !== "\\";
    start += isEscape ? 2 : 1;
  }
  return start;
}

class ValueReader {
  readonly #scanner: Scanner;
  readonly #name: string;
  readonly #def: FieldDef;
  readonly #raw: RawValue;
  readonly #vocabulary: Vocabulary;

  constructor(scanner: Scanner, field: FoundField, raw: RawValue, vocabulary: Vocabulary) {
    this.#scanner = scanner;
    this.#name = field.name;
    this.#def = field.def;
    this.#raw = raw;
    this.#vocabulary = vocabulary;
  }

  /** The value of `=` and of `in`: one that the field can have. */
  exact(): Value {
    const { type, shape } = this.#def;
    if (type === "bytes") return { type: "bytes", value: this.#raw.bytes };
    if (type === "bool") return this.#bool();
    if (type === "any") return this.#any();
    if (type === "string" || type === "set") {
      return { type: "string", value: shape === undefined ? this.#raw.text : this.#shaped() };
    }
    return this.#ordered();
  }

  /** The value of any other operator. */
  loose(op: CompareOp): Value {
    const { type } = this.#def;
    if (!orderOps.includes(op)) {
      return type === "bytes"
        ? { type: "bytes", value: this.#raw.bytes }
        : { type: "string", value: this.#raw.text };
    }
    return this.#ordered();
  }

  #ordered(): Value {
    const { type, shape } = this.#def;
    if (type === "duration" || type === "time") return this.#duration();
    const { text } = this.#raw;
    const value = readNumber(shape === "event" ? text.replace(/^@/, "") : text);
    if (typeof value !== "string") return { type: "number", value };
    const hint = "a number is written as 42, -1, 0x1f, 0644, 4k or 1MiB";
    return this.#unitFault(value, "a number", hint);
  }

  #duration(): Value {
    const { text } = this.#raw;
    const ns = readDuration(text);
    if (typeof ns === "number") return { type: "duration", ns };
    const hint = /^\d+(?:\.\d+)?$/.test(text)
      ? `it needs a unit: ${text}ns, ${text}us, ${text}ms or ${text}s`
      : "a duration is written as 250ns, 3us, 10ms, 1.5s, 2m or 1h";
    return this.#unitFault(ns, "a duration", hint);
  }

  #unitFault(fault: UnitFault, wanted: string, hint?: string): never {
    const { text } = this.#raw;
    if (fault === "too large") return this.#fail(`\`${text}\` is too large`);
    if (fault === "not whole") {
      const unit = this.#def.type === "number" ? "whole number" : "whole number of nanoseconds";
      return this.#fail(`\`${text}\` is not a ${unit}`, hint);
    }
    return this.#fail(`\`${text}\` is not ${wanted}`, hint);
  }

  #bool(): Value {
    const { text } = this.#raw;
    if (text === "true" || text === "false") return { type: "bool", value: text === "true" };
    return this.#fail(`\`${text}\` is neither true nor false`);
  }

  #any(): Value {
    const { text, quote } = this.#raw;
    const number = quote === "" ? readNumber(text) : "not one";
    return typeof number === "string"
      ? { type: "string", value: text }
      : { type: "number", value: number };
  }

  #shaped(): string {
    const { text } = this.#raw;
    switch (this.#def.shape) {
      case "choice":
        return this.#known(text, this.#def.choices ?? []);
      case "class":
        return this.#known(canonicalClass(text.replace(/^%/, "")), classNames(this.#vocabulary));
      case "errno":
        return this.#error();
      case "signal":
        return this.#signal();
      case "syscall":
        checkSyscall(this.#scanner, this.#raw, text, this.#vocabulary);
        return text;
      case "process":
        return this.#matching(/^p\d{1,10}$/, "a process of the trace");
      case "thread":
        return this.#matching(/^p\d{1,10}\.\d{1,10}$/, "a thread of the trace");
      default:
        return text;
    }
  }

  #matching(pattern: RegExp, wanted: string): string {
    const { text } = this.#raw;
    return pattern.test(text)
      ? text
      : this.#fail(
          `\`${text}\` is not ${wanted}`,
          "p3 is a process, p3.2 a thread of it; the kernel's numbers are pid and tid",
        );
  }

  #known(text: string, names: readonly string[]): string {
    if (names.includes(text)) return text;
    const near = nearestName(text, names);
    const hint = near === undefined ? `the values are ${list(names)}` : `did you mean ${near}?`;
    return this.#fail(`\`${text}\` is no value of ${this.#name}`, hint);
  }

  #error(): string {
    const { text } = this.#raw;
    const name = canonicalError(text);
    const known = this.#vocabulary.errors;
    if (name !== undefined && (known === undefined || known.has(name))) return name;
    const near = nearestName(text, known ?? []);
    const hint = near === undefined ? "as in: err = ENOENT" : `did you mean ${near}?`;
    return this.#fail(`\`${text}\` is not the name of an error`, hint);
  }

  #signal(): string {
    const { text } = this.#raw;
    const name = canonicalSignal(text);
    if (name !== undefined) return name;
    const near = nearestName(text, SIGNAL_NAMES);
    const hint = near === undefined ? "as in: signal = SIGCHLD" : `did you mean ${near}?`;
    return this.#fail(`\`${text}\` is not a signal`, hint);
  }

  #fail(message: string, hint?: string): never {
    return this.#scanner.fail(this.#raw, message, hint);
  }
}

/** Refuses a name that no syscall has. Calls with an unknown number are named `syscall_...`. */
export function checkSyscall(
  scanner: Scanner,
  span: Span,
  name: string,
  vocabulary: Vocabulary,
): void {
  const known = vocabulary.syscalls;
  const isName = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name);
  if (isName && (known === undefined || known.has(name) || name.startsWith("syscall_"))) return;
  const near = nearestName(name, known ?? []);
  scanner.fail(span, `\`${name}\` is not a syscall`, near && `did you mean ${near}?`);
}

/** `a, b and c` */
export function list(words: readonly string[]): string {
  const last = words[words.length - 1] ?? "";
  return words.length < 2 ? last : `${words.slice(0, -1).join(", ")} and ${last}`;
}
