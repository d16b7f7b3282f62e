/**
 * Text of a filter to a `Filter`.
 *
 *     or     = and { ("or" | "||") and }
 *     and    = unary { ("and" | "&&") unary }
 *     unary  = { "not" | "!" } term
 *     term   = "(" or ")" | comparison | bool-field | syscalls | range | selector
 *     comparison = field ["not"] operator value | field ["not"] "exists"
 *                | field ["not"] "in" "(" value { "," value } ")" | field ("=" | "!=") value { "," value }
 *     syscalls   = ["trace" ("=" | "!=")] item { "," item }          (syscalls.ts)
 *     range      = @1200 | @1200..@1300 | 12ms..3s, selector = p3 | p3.2   (range.ts)
 */

import { EVENT_FIELDS, type FieldSet, type FoundField } from "../fields.js";
import { nearestName } from "../nearest.js";
import type { CompareOp, Filter, Value } from "./ast.js";
import { MAX_DEPTH } from "./limits.js";
import { rangeOf, selectorOf } from "./range.js";
import { Scanner, type Word } from "./scan.js";
import { readSyscalls } from "./syscalls.js";
import { checkSyscall, KEYWORDS, operatorsOf, readValue } from "./values.js";
import type { Vocabulary } from "./vocabulary.js";

export interface ParseOptions {
  /** The names that exist; without them the form of a name is all that is checked. */
  readonly vocabulary?: Vocabulary;
  /** What the filter asks about; the fields of events when left out. */
  readonly fields?: FieldSet;
}

/** @throws FilterError */
export function parseFilter(text: string, options: ParseOptions = {}): Filter {
  const { vocabulary = {}, fields = EVENT_FIELDS } = options;
  return new Parser(new Scanner(text), vocabulary, fields).whole();
}

/** An operator as the user wrote it and as the filter holds it. */
interface Operator extends Word {
  readonly op: CompareOp | "in" | "exists";
  readonly negated: boolean;
}

const symbols: Readonly<Record<string, readonly [CompareOp, boolean]>> = {
  "=": ["=", false],
  "==": ["=", false],
  "!=": ["=", true],
  "<": ["<", false],
  "<=": ["<=", false],
  ">": [">", false],
  ">=": [">=", false],
  "~": ["~", false],
  "=~": ["~", false],
  "!~": ["~", true],
};
const symbolPattern = /=~|==|!=|!~|<=|>=|[=<>~]/y;
const wordOps = ["in", "exists", "contains", "startswith", "endswith", "glob"] as const;
const wordPattern = /[A-Za-z_][A-Za-z0-9_.]*/y;

/** Fields of strace's own `-e` lists: there `!` and the words `all` and `none` have a meaning. */
const straceLists: ReadonlySet<string> = new Set(["fd", "signal", "status"]);

class Parser {
  readonly #scanner: Scanner;
  readonly #vocabulary: Vocabulary;
  readonly #fields: FieldSet;

  constructor(scanner: Scanner, vocabulary: Vocabulary, fields: FieldSet) {
    this.#scanner = scanner;
    this.#vocabulary = vocabulary;
    this.#fields = fields;
  }

  whole(): Filter {
    const scanner = this.#scanner;
    scanner.space();
    if (scanner.done) {
      const hint = "as in: name in (open, openat) and failed";
      scanner.fail(scanner.lookingAt(), "the filter is empty", hint);
    }
    const filter = this.#or(0);
    scanner.space();
    if (scanner.done) return filter;
    const rest = scanner.lookingAt();
    if (rest.text === ")") return scanner.fail(rest, "`)` without `(`");
    return this.#expectedJoint(rest);
  }

  #or(depth: number): Filter {
    const terms = [this.#and(depth)];
    while (this.#joint("or", "||")) terms.push(this.#and(depth));
    return terms.length === 1 && terms[0] !== undefined ? terms[0] : { type: "or", terms };
  }

  #and(depth: number): Filter {
    const terms = [this.#unary(depth)];
    while (this.#joint("and", "&&")) terms.push(this.#unary(depth));
    return terms.length === 1 && terms[0] !== undefined ? terms[0] : { type: "and", terms };
  }

  #joint(word: string, symbol: string): boolean {
    return this.#keyword(word) !== undefined || this.#scanner.take(symbol);
  }

  #keyword(word: string): Word | undefined {
    this.#scanner.space();
    const found = this.#scanner.peek(wordPattern);
    if (found === undefined || found.text.toLowerCase() !== word) return undefined;
    this.#scanner.offset = found.end;
    return found;
  }

  #unary(depth: number): Filter {
    const scanner = this.#scanner;
    let inner = depth;
    let marked = false;
    for (;;) {
      scanner.space();
      const start = scanner.offset;
      const isWord = this.#keyword("not") !== undefined;
      if (!isWord && !scanner.take("!")) break;
      marked = !isWord;
      inner += 1;
      this.#checkDepth(inner, start);
    }
    let filter = this.#term(inner, marked);
    for (let i = depth; i < inner; i++) filter = { type: "not", term: filter };
    return filter;
  }

  #checkDepth(depth: number, at: number): void {
    if (depth <= MAX_DEPTH) return;
    const message = `more than ${MAX_DEPTH} parentheses and \`not\`s inside each other`;
    this.#scanner.fail({ start: at, end: at + 1 }, message);
  }

  /** `marked`: a `!` stands right before, which strace(1) takes for the whole list of syscalls. */
  #term(depth: number, marked: boolean): Filter {
    const scanner = this.#scanner;
    if (scanner.here === "(") return this.#group(depth);
    if (this.#fields.calls && /[%/?]/.test(scanner.here)) {
      return readSyscalls(scanner, marked, this.#vocabulary);
    }
    const range = scanner.match(/(?:[@\d]|\.\.)[^\s(),]*/y);
    if (range !== undefined) return this.#known(range, rangeOf(scanner, range));
    const word = scanner.peek(wordPattern);
    if (word === undefined || KEYWORDS.has(word.text.toLowerCase())) return this.#noTerm();
    scanner.offset = word.end;
    return this.#wordTerm(word, marked);
  }

  /** A range or a selector, when there is something that it is about. */
  #known(word: Word, filter: Filter): Filter {
    const about = { events: "seq", times: "time", process: "proc" } as const;
    const isThread = filter.type === "process" && filter.thread !== undefined;
    const field = isThread ? "thread" : about[filter.type as keyof typeof about];
    if (this.#fields.find(field) !== undefined) return filter;
    const { noun, listedBy } = this.#fields;
    const message = `\`${word.text}\` asks for the ${noun} \`${field}\`, which is not there`;
    return this.#scanner.fail(word, message, `\`${listedBy}\` lists what there is`);
  }

  #group(depth: number): Filter {
    const scanner = this.#scanner;
    const start = scanner.offset;
    this.#checkDepth(depth + 1, start);
    scanner.offset += 1;
    const filter = this.#or(depth + 1);
    if (scanner.take(")")) return filter;
    scanner.space();
    if (!scanner.done) return this.#expectedJoint(scanner.lookingAt());
    return scanner.fail({ start, end: start + 1 }, "`(` without `)`");
  }

  #wordTerm(word: Word, marked: boolean): Filter {
    const operator = this.#operator();
    if (operator !== undefined) {
      if (word.text === "trace" && this.#fields.calls) return this.#trace(operator);
      return this.#comparison(this.#field(word), operator);
    }
    const selector = selectorOf(word.text);
    if (selector !== undefined) return this.#known(word, selector);
    const field = this.#fields.find(word.text);
    if (field?.def.type === "bool") return { type: "truth", field: field.name };
    if (field !== undefined || word.text.includes(".") || !this.#fields.calls) {
      this.#fieldAlone(word);
    }
    const next = this.#scanner.peek(/\s*(?:[a-z]+)/y)?.text.trim();
    if (next !== undefined && !KEYWORDS.has(next)) this.#checkBareName(word);
    this.#scanner.offset = word.start;
    return readSyscalls(this.#scanner, marked, this.#vocabulary);
  }

  /** Two words in a row: the first is more likely a mistyped field than a syscall. */
  #checkBareName(word: Word): void {
    const near = nearestName(word.text, this.#fields.names);
    if (near !== undefined) this.#unknownField(word);
    checkSyscall(this.#scanner, word, word.text, this.#vocabulary);
  }

  #field(word: Word): FoundField {
    return this.#fields.find(word.text) ?? this.#unknownField(word);
  }

  #unknownField(word: Word): never {
    const { names, noun, listedBy } = this.#fields;
    const tail = names.find((name) => name.endsWith(`.${word.text}`));
    const near = tail ?? nearestName(word.text, names);
    const hint = near === undefined ? `\`${listedBy}\` lists them` : `did you mean ${near}?`;
    return this.#scanner.fail(word, `there is no ${noun} \`${word.text}\``, hint);
  }

  /** A field that is neither true nor false stands without an operator that it knows. */
  #fieldAlone(word: Word): never {
    const { def } = this.#field(word);
    const scanner = this.#scanner;
    scanner.space();
    const next = scanner.lookingAt();
    const operators = `operators of ${word.text}: ${operatorsOf(def.type).join(" ")}`;
    const isOperator = next.text !== "" && !/^[),|&]/.test(next.text);
    if (isOperator && !KEYWORDS.has(next.text.toLowerCase())) {
      const start = next.text.toLowerCase();
      const near = wordOps.find((op) => op.startsWith(start)) ?? nearestName(start, wordOps);
      const hint = near === undefined ? operators : `did you mean ${near}? ${operators}`;
      return scanner.fail(next, `\`${next.text}\` is not an operator`, hint);
    }
    const isCall = /^(?:time|signal)$/.test(word.text);
    const call = isCall ? `; the syscall is name = ${word.text}` : "";
    const hint = `${operators}${call}`;
    return scanner.fail(word, `an operator is missing after \`${word.text}\``, hint);
  }

  #operator(): Operator | undefined {
    const scanner = this.#scanner;
    const before = scanner.offset;
    scanner.space();
    const symbol = scanner.match(symbolPattern);
    const known = symbol === undefined ? undefined : symbols[symbol.text];
    if (symbol !== undefined && known !== undefined) {
      return { ...symbol, op: known[0], negated: known[1] };
    }
    const start = scanner.offset;
    const negated = this.#keyword("not") !== undefined;
    scanner.space();
    const word = scanner.match(wordPattern);
    const op = wordOps.find((name) => name === word?.text.toLowerCase());
    if (word !== undefined && op !== undefined) {
      return { text: scanner.text.slice(start, word.end), start, end: word.end, op, negated };
    }
    scanner.offset = before;
    return undefined;
  }

  #trace(operator: Operator): Filter {
    if (operator.op !== "=") {
      return this.#scanner.fail(
        operator,
        "`trace` takes only = and !=",
        "as in: trace=%file,!close",
      );
    }
    this.#scanner.space();
    const syscalls = readSyscalls(this.#scanner, operator.negated, this.#vocabulary);
    return operator.negated ? { type: "not", term: syscalls } : syscalls;
  }

  #comparison(field: FoundField, operator: Operator): Filter {
    const { op, negated } = operator;
    const known = operatorsOf(field.def.type);
    if (!known.includes(op)) {
      const message = `\`${operator.text}\` does not apply to ${field.name}`;
      this.#scanner.fail(operator, message, `operators of ${field.name}: ${known.join(" ")}`);
    }
    if (op === "exists") {
      const exists: Filter = { type: "exists", field: field.name };
      return negated ? { type: "not", term: exists } : exists;
    }
    if (op === "in") {
      return { type: "in", field: field.name, negated, values: this.#valueList(field) };
    }
    const strace = op === "=" && !negated ? this.#straceWord(field) : undefined;
    if (typeof strace === "object") return strace;
    const inverted = negated || strace === "!";
    const values = [this.#value(field, op)];
    if (op === "=" && known.includes("in")) {
      while (this.#scanner.take(",")) values.push(this.#value(field, op));
    }
    const [value] = values;
    if (values.length > 1 || value === undefined) {
      return { type: "in", field: field.name, negated: inverted, values };
    }
    return { type: "compare", field: field.name, op, negated: inverted, value };
  }

  /** `all`, `none`, or the `!` of strace's lists, if it stands here. */
  #straceWord(field: FoundField): Filter | "!" | undefined {
    const scanner = this.#scanner;
    scanner.space();
    const exists: Filter = { type: "exists", field: field.name };
    const isList = straceLists.has(field.name);
    const word = isList ? scanner.match(/!?(?:all|none)(?![^\s()])/y)?.text : undefined;
    if (word !== undefined) {
      return word === "all" || word === "!none" ? exists : { type: "not", term: exists };
    }
    const mark = scanner.peek(/!/y);
    if (mark === undefined) return undefined;
    if (!isList) scanner.fail(mark, "`!` cannot begin a value", "use !=, or put quotes around it");
    scanner.offset = mark.end;
    return "!";
  }

  #valueList(field: FoundField): readonly Value[] {
    const scanner = this.#scanner;
    scanner.space();
    const start = scanner.offset;
    if (!scanner.take("(")) {
      const hint = `as in: ${field.name} in (first, second)`;
      return scanner.fail(scanner.lookingAt(), "`in` needs a list in parentheses", hint);
    }
    const values: Value[] = [];
    do values.push(this.#value(field, "="));
    while (scanner.take(","));
    if (scanner.take(")")) return values;
    scanner.space();
    if (scanner.done) return scanner.fail({ start, end: start + 1 }, "`(` without `)`");
    const rest = scanner.lookingAt();
    return scanner.fail(rest, `\`,\` or \`)\` is missing before \`${rest.text}\``);
  }

  #value(field: FoundField, op: CompareOp): Value {
    return readValue(this.#scanner, field, op, this.#vocabulary);
  }

  #noTerm(): never {
    const scanner = this.#scanner;
    const found = scanner.lookingAt();
    const what = found.text === "" ? "the end" : `\`${found.text}\``;
    const hint = "a term is `field operator value`, a syscall, %class, /regex/, @event or p3";
    return scanner.fail(found, `a term is missing before ${what}`, hint);
  }

  #expectedJoint(rest: Word): never {
    const hint = "`and` or `or` joins two terms; a value with spaces or parentheses needs quotes";
    return this.#scanner.fail(rest, `\`and\` or \`or\` is missing before \`${rest.text}\``, hint);
  }
}
