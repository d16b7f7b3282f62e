/**
 * strace's sets of syscalls: `openat,%file,/^get/,!close`, with or without `trace=` before them.
 *
 * A set is what fits one of the items without the items that have a `!`. When the first item has
 * one, the whole list is what is left out, as in strace(1).
 */

import { nearestName } from "../nearest.js";
import type { Filter, SyscallPattern } from "./ast.js";
import { compileRegex } from "./regex.js";
import { RegexError } from "./regex_syntax.js";
import type { Scanner } from "./scan.js";
import { readNumber } from "./units.js";
import { checkSyscall } from "./values.js";
import { canonicalClass, classNames, LEGACY_CLASSES, type Vocabulary } from "./vocabulary.js";

const architectures: Readonly<Record<string, string>> = {
  "64": "x86_64",
  "32": "i386",
  x32: "x32",
};

/** Items of one sign: those that a look at the table answers, and those that need more. */
class ItemSet {
  readonly patterns: SyscallPattern[] = [];
  readonly others: Filter[] = [];
  isEmpty = true;

  filter(): Filter {
    const patterns: Filter = { type: "syscalls", patterns: this.patterns };
    if (this.others.length === 0) return patterns;
    const terms = this.patterns.length === 0 ? this.others : [patterns, ...this.others];
    return terms.length === 1 && terms[0] !== undefined ? terms[0] : { type: "or", terms };
  }
}

/**
 * Reads a list of items that begins here. `inverted`: a `!` stands before it that the caller applies
 * to the whole; a `!` inside then says the same once more.
 */
export function readSyscalls(scanner: Scanner, inverted: boolean, vocabulary: Vocabulary): Filter {
  const wanted = new ItemSet();
  const unwanted = new ItemSet();
  let isInverse = false;
  do {
    scanner.space();
    const isFirst = wanted.isEmpty && unwanted.isEmpty;
    const marked = scanner.match(/!/y) !== undefined;
    if (isFirst && marked) isInverse = true;
    const target = marked && !inverted && !isInverse ? unwanted : wanted;
    readItem(scanner, target, vocabulary);
    target.isEmpty = false;
    if (scanner.peek(/\s*,/y) === undefined) break;
  } while (scanner.take(","));
  const base = wanted.filter();
  if (isInverse && !inverted) return { type: "not", term: base };
  if (unwanted.isEmpty) return base;
  return { type: "and", terms: [base, { type: "not", term: unwanted.filter() }] };
}

function readItem(scanner: Scanner, target: ItemSet, vocabulary: Vocabulary): void {
  const optional = scanner.match(/\?/y) !== undefined;
  if (scanner.here === "/") {
    target.patterns.push(readRegex(scanner));
    return;
  }
  const cls = scanner.match(/%%?[\w]*/y);
  if (cls !== undefined) {
    const name = canonicalClass(cls.text.slice(1));
    const known = classNames(vocabulary);
    if (!known.includes(name)) {
      const near = nearestName(name, known);
      const hint =
        near === undefined
          ? `there is ${known.map((c) => `%${c}`).join(" ")}`
          : `did you mean %${near}?`;
      scanner.fail(cls, `\`${cls.text}\` is not a class of syscalls`, hint);
    }
    target.patterns.push({ kind: "class", name });
    return;
  }
  readNamed(scanner, target, optional, vocabulary);
}

/** A name, number, `all`, `none`, or legacy class, perhaps of one architecture. */
function readNamed(
  scanner: Scanner,
  target: ItemSet,
  optional: boolean,
  vocabulary: Vocabulary,
): void {
  const word = scanner.match(/\w+/y) ?? missingName(scanner);
  const suffix = scanner.match(/@\w*/y);
  const arch = suffix === undefined ? undefined : architectures[suffix.text.slice(1)];
  if (suffix !== undefined && arch === undefined) {
    scanner.fail(suffix, `\`${suffix.text}\` is not an architecture`, "there is @64, @32 and @x32");
  }
  if (word.text === "none" && arch === undefined) return;
  const term = namedTerm(scanner, word, optional, vocabulary);
  if (arch !== undefined) {
    const value = { type: "string", value: arch } as const;
    const only: Filter = { type: "compare", field: "arch", op: "=", negated: false, value };
    target.others.push({ type: "and", terms: [term, only] });
  } else if (term.type === "syscalls") {
    target.patterns.push(...term.patterns);
  } else {
    target.others.push(term);
  }
}

function missingName(scanner: Scanner): never {
  const found = scanner.lookingAt();
  const what = found.text === "" ? "the end" : `\`${found.text}\``;
  const hint = "a syscall is given as openat, %file, /^get/ or !close";
  return scanner.fail(found, `the name of a syscall is missing before ${what}`, hint);
}

function namedTerm(
  scanner: Scanner,
  word: { readonly text: string; readonly start: number; readonly end: number },
  optional: boolean,
  vocabulary: Vocabulary,
): Filter {
  const name = word.text;
  if (/^\d/.test(name)) {
    const value = readNumber(name);
    if (typeof value === "string") return scanner.fail(word, `\`${name}\` is not a syscall number`);
    const number = { type: "number", value } as const;
    return { type: "compare", field: "sysno", op: "=", negated: false, value: number };
  }
  if (name === "all") return { type: "syscalls", patterns: [{ kind: "all" }] };
  if (LEGACY_CLASSES.has(name)) return { type: "syscalls", patterns: [{ kind: "class", name }] };
  if (!optional) checkSyscall(scanner, word, name, vocabulary);
  const pattern: SyscallPattern = optional
    ? { kind: "name", name, optional: true }
    : { kind: "name", name };
  return { type: "syscalls", patterns: [pattern] };
}

/** `/regex` or `/regex/`: until white space, a comma outside braces, or the second slash. */
function readRegex(scanner: Scanner): SyscallPattern {
  const slash = scanner.offset;
  scanner.offset += 1;
  const start = scanner.offset;
  const end = scanner.regexEnd(",/");
  scanner.offset = end;
  const source = scanner.text.slice(start, end);
  scanner.match(/\//y);
  if (scanner.peek(/[^\s,)]/y) !== undefined) {
    const whole = { start: slash, end: scanner.peek(/[^\s,)]+/y)?.end ?? end };
    const text = scanner.text.slice(whole.start, whole.end);
    const hint = `a path needs a field: path = ${text}, or fd.path startswith ${text}`;
    scanner.fail(whole, `\`${text}\` is no regular expression of syscall names`, hint);
  }
  if (source === "") scanner.fail({ start: slash, end: scanner.offset }, "the expression is empty");
  try {
    compileRegex(source);
  } catch (error) {
    if (!(error instanceof RegexError)) throw error;
    const at = start + error.offset;
    const hint = "this is a regular expression of syscall names, as /^get/";
    scanner.fail({ start: at, end: at + 1 }, `bad regular expression: ${error.message}`, hint);
  }
  return { kind: "regex", source };
}
