/**
 * Matches regular expressions in time linear in the text, whatever the pattern: a program for a set
 * of threads (Thompson's construction), turned into a deterministic automaton while it runs. The
 * engine of JavaScript backtracks, and one pattern in a shared command could then hang a query.
 * Answers only whether there is a match.
 *
 * Cost: a known step is two table look-ups; a new one is bounded by the length of the program, and
 * the table is emptied when it grows beyond `maxStates`.
 */

import { MAX_REGEX_STEPS } from "./limits.js";
import {
  type Look,
  parseRegex,
  type Ranges,
  RegexError,
  type RegexNode,
  WORD_RANGES,
} from "./regex_syntax.js";

type Step =
  | { readonly op: "set"; readonly ranges: Ranges }
  | { readonly op: "look"; readonly at: Look }
  | { readonly op: "fork"; first: number; second: number }
  | { readonly op: "match" };

const maxStates = 1_000;
const unknownState = -1;
const matched = -2;

/** A set of program steps, before the looks among them are decided. */
interface State {
  readonly steps: readonly number[];
  readonly afterWord: boolean;
  readonly atStart: boolean;
  /** Whether the text may end here; undefined until somebody asks. */
  endsHere: boolean | undefined;
}

/** @throws RegexError when the pattern is wrong or refused */
export function compileRegex(source: string): Regex {
  return new Regex(parseRegex(source));
}

export class Regex {
  readonly #program: readonly Step[];
  /** Class of each code point below 256, and of all others by their lower bounds. */
  readonly #lowClasses = new Uint16Array(256);
  readonly #bounds: readonly number[];
  readonly #classCount: number;
  readonly #classIsWord: readonly boolean[];
  #states: State[] = [];
  #ids = new Map<string, number>();
  #table = new Int32Array(0);
  #visited: Uint8Array;

  /** @throws RegexError when the pattern needs too many steps */
  constructor(node: RegexNode) {
    this.#program = compile(node);
    this.#bounds = classBounds(this.#program);
    this.#classCount = this.#bounds.length;
    this.#classIsWord = this.#bounds.map((low) => contains(WORD_RANGES, low));
    for (let code = 0; code < 256; code++) this.#lowClasses[code] = this.#searchClass(code);
    this.#visited = new Uint8Array(this.#program.length);
    this.#reset();
  }

  /** Whether the pattern matches somewhere in the text. */
  test(text: string): boolean {
    let state = 0;
    for (let i = 0; i < text.length; i++) {
      let code = text.charCodeAt(i);
      if (code >= 0xd800 && code < 0xdc00) {
        const low = text.charCodeAt(i + 1);
        if (low >= 0xdc00 && low < 0xe000) {
          code = (code - 0xd800) * 0x400 + (low - 0xdc00) + 0x10000;
          i += 1;
        }
      }
      const cls = code < 256 ? (this.#lowClasses[code] ?? 0) : this.#searchClass(code);
      state = this.#advance(state, cls);
      if (state === matched) return true;
    }
    return this.#endsHere(state);
  }

  /** The same over bytes, each of which counts as the character U+0000 to U+00FF. */
  testBytes(bytes: Uint8Array): boolean {
    let state = 0;
    for (let i = 0; i < bytes.length; i++) {
      state = this.#advance(state, this.#lowClasses[bytes[i] ?? 0] ?? 0);
      if (state === matched) return true;
    }
    return this.#endsHere(state);
  }

  #advance(state: number, cls: number): number {
    const known = this.#table[state * this.#classCount + cls];
    return known === undefined || known === unknownState ? this.#explore(state, cls) : known;
  }

  /** Finds the state after a character of class `cls`, and remembers it. */
  #explore(id: number, cls: number): number {
    const state = this.#state(id);
    const isWord = this.#classIsWord[cls] ?? false;
    const here = this.#closure(state, isWord, false);
    if (here === undefined) return this.#remember(id, cls, matched);
    const low = this.#bounds[cls] ?? 0;
    const next: number[] = [];
    for (const index of here) {
      const step = this.#program[index];
      if (step?.op === "set" && contains(step.ranges, low)) next.push(index + 1);
    }
    // A match may begin at every character.
    if (!next.includes(0)) next.push(0);
    if (this.#states.length >= maxStates) {
      this.#reset();
      return this.#intern(next, isWord, false);
    }
    return this.#remember(id, cls, this.#intern(next, isWord, false));
  }

  #endsHere(id: number): boolean {
    const state = this.#state(id);
    state.endsHere ??= this.#closure(state, false, true) === undefined;
    return state.endsHere;
  }

  /** All steps that are reached without a character; undefined when the match is among them. */
  #closure(state: State, beforeWord: boolean, atEnd: boolean): readonly number[] | undefined {
    const reached: number[] = [];
    const todo = [...state.steps];
    this.#visited.fill(0);
    for (let index = todo.pop(); index !== undefined; index = todo.pop()) {
      if (this.#visited[index] === 1) continue;
      this.#visited[index] = 1;
      const step = this.#program[index];
      if (step === undefined || step.op === "match") return undefined;
      if (step.op === "set") reached.push(index);
      else if (step.op === "fork") todo.push(step.first, step.second);
      else if (holds(step.at, state, beforeWord, atEnd)) todo.push(index + 1);
    }
    return reached;
  }

  #remember(id: number, cls: number, next: number): number {
    this.#table[id * this.#classCount + cls] = next;
    return next;
  }

  #intern(steps: number[], afterWord: boolean, atStart: boolean): number {
    steps.sort((a, b) => a - b);
    const key = `${afterWord ? "w" : "-"}${atStart ? "^" : "-"}${steps.join()}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const id = this.#states.length;
    this.#states.push({ steps, afterWord, atStart, endsHere: undefined });
    this.#ids.set(key, id);
    const needed = this.#states.length * this.#classCount;
    if (needed > this.#table.length) {
      const larger = new Int32Array(needed * 2).fill(unknownState);
      larger.set(this.#table);
      this.#table = larger;
    }
    return id;
  }

  /** State 0 is always the start of the text. */
  #reset(): void {
    this.#states = [];
    this.#ids = new Map();
    this.#table.fill(unknownState);
    this.#intern([0], false, true);
  }

  #state(id: number): State {
    const state = this.#states[id];
    if (state === undefined) throw new Error(`regex state ${id} of ${this.#states.length}`);
    return state;
  }

  #searchClass(code: number): number {
    let low = 0;
    let high = this.#bounds.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#bounds[middle] ?? 0) <= code) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function holds(look: Look, state: State, beforeWord: boolean, atEnd: boolean): boolean {
  switch (look) {
    case "start":
      return state.atStart;
    case "end":
      return atEnd;
    case "boundary":
      return state.afterWord !== beforeWord;
    case "inside":
      return state.afterWord === beforeWord;
  }
}

/** Lower bounds of the largest groups of code points that no step of the program tells apart. */
function classBounds(program: readonly Step[]): readonly number[] {
  const bounds = new Set([0]);
  const add = (ranges: Ranges): void => {
    for (let i = 0; i + 1 < ranges.length; i += 2) {
      bounds.add(ranges[i] ?? 0);
      bounds.add((ranges[i + 1] ?? 0) + 1);
    }
  };
  add(WORD_RANGES);
  for (const step of program) if (step.op === "set") add(step.ranges);
  return [...bounds].sort((a, b) => a - b);
}

function contains(ranges: Ranges, code: number): boolean {
  for (let i = 0; i + 1 < ranges.length; i += 2) {
    if (code < (ranges[i] ?? 0)) return false;
    if (code <= (ranges[i + 1] ?? 0)) return true;
  }
  return false;
}

function compile(node: RegexNode): readonly Step[] {
  const program: Step[] = [];
  emit(node, program);
  push(program, { op: "match" });
  return program;
}

function push(program: Step[], step: Step): number {
  if (program.length >= MAX_REGEX_STEPS) {
    throw new RegexError(`the pattern needs more than ${MAX_REGEX_STEPS} steps`, 0);
  }
  return program.push(step) - 1;
}

function emit(node: RegexNode, program: Step[]): void {
  switch (node.type) {
    case "empty":
      return;
    case "set":
      push(program, { op: "set", ranges: node.ranges });
      return;
    case "look":
      push(program, { op: "look", at: node.at });
      return;
    case "sequence":
      for (const item of node.items) emit(item, program);
      return;
    case "choice":
      emitChoice(node.items, program);
      return;
    case "repeat":
      emitRepeat(node.item, node.min, node.max, program);
  }
}

function emitChoice(items: readonly RegexNode[], program: Step[]): void {
  const exits: { first: number; second: number }[] = [];
  items.forEach((item, index) => {
    if (index === items.length - 1) {
      emit(item, program);
      return;
    }
    const fork = { op: "fork" as const, first: 0, second: 0 };
    fork.first = push(program, fork) + 1;
    emit(item, program);
    const exit = { op: "fork" as const, first: 0, second: 0 };
    fork.second = push(program, exit) + 1;
    exits.push(exit);
  });
  for (const exit of exits) {
    exit.first = program.length;
    exit.second = program.length;
  }
}

function emitRepeat(item: RegexNode, min: number, max: number, program: Step[]): void {
  if (max === 0 || item.type === "empty") return;
  // An item without steps of its own (`(){9999999}`) must not cost time for each turn.
  for (let i = 0; i < min; i++) {
    const before = program.length;
    emit(item, program);
    if (program.length === before) return;
  }
  if (max === Number.POSITIVE_INFINITY) {
    const fork = { op: "fork" as const, first: 0, second: 0 };
    const at = push(program, fork);
    fork.first = at + 1;
    emit(item, program);
    const back = { op: "fork" as const, first: at, second: at };
    fork.second = push(program, back) + 1;
    return;
  }
  const forks: { first: number; second: number }[] = [];
  for (let i = min; i < max; i++) {
    const fork = { op: "fork" as const, first: 0, second: 0 };
    fork.first = push(program, fork) + 1;
    forks.push(fork);
    emit(item, program);
  }
  for (const fork of forks) fork.second = program.length;
}
