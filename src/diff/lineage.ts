/**
 * Which process of one trace is which of the other: by who started it, what it ran with which arguments, and the how
 * many-eth such child of its parent it was. What is left over is matched by the program alone, then by likeness of arguments.
 */

import { groupBy } from "../group.js";
import type { Program } from "./canon/process.js";
import type { CanonicalTexts } from "./canon/texts.js";
import type { CanonicalTrace } from "./canon/trace.js";

export interface ProcessPair {
  /** Numbers of the processes; 0 where one trace has no such process. */
  readonly a: number;
  readonly b: number;
}

export interface Lineage {
  readonly pairs: readonly ProcessPair[];
  /** Index of the pair by number of the process. */
  readonly ofA: ReadonlyMap<number, number>;
  readonly ofB: ReadonlyMap<number, number>;
  /** By pair: the first of the pool that it belongs to, or itself. */
  readonly pools: readonly number[];
  /** The pools that have more than one pair. */
  readonly pooled: ReadonlySet<number>;
}

interface Node {
  readonly number: number;
  /** What it ran first of its own; empty for a fork that ran nothing. */
  readonly program: Program | undefined;
  /** Executable and arguments, in canonical form. */
  readonly words: readonly string[];
  readonly children: Node[];
  isWorker: boolean;
}

export function matchProcesses(
  a: CanonicalTrace,
  b: CanonicalTrace,
  texts: { readonly a: CanonicalTexts; readonly b: CanonicalTexts },
): Lineage {
  const pairs: ProcessPair[] = [];
  const pools: number[] = [];
  const queue: [Node[], Node[]][] = [[forest(a, texts.a), forest(b, texts.b)]];
  for (let k = 0; k < queue.length; k++) {
    const [left, right] = queue[k] ?? [[], []];
    const matches = matchSiblings(left, right);
    const first = new Map<string, number>();
    for (const [one, other] of k === 0 ? paired(matches) : matches) {
      const number = pairs.push({ a: one?.number ?? 0, b: other?.number ?? 0 }) - 1;
      const key = isWorker(one) && isWorker(other) ? one.words.join("\0") : undefined;
      pools.push(key === undefined || k === 0 ? number : (first.get(key) ?? number));
      if (key !== undefined && !first.has(key)) first.set(key, number);
      queue.push([one?.children ?? [], other?.children ?? []]);
    }
  }
  const index = (side: "a" | "b") =>
    new Map(pairs.flatMap((pair, k) => (pair[side] > 0 ? [[pair[side], k] as const] : [])));
  const pooled = new Set(pools.filter((pool, pair) => pool !== pair));
  return { pairs, ofA: index("a"), ofB: index("b"), pools, pooled };
}

/**
 * One of several that a process started alike, and that live at a time: any of them takes the next piece of work. They run the
 * program of their parent, or all the same one with the same arguments.
 */
function isWorker(node: Node | undefined): node is Node {
  return node?.isWorker === true;
}

/** Finds such among the children of one process. */
function markWorkers(canon: CanonicalTrace, siblings: readonly Node[]): void {
  const groups = groupBy(siblings, ({ words }) => words.join("\0"));
  for (const alike of groups.values()) {
    const spans = alike.map(({ number }) => ({
      from: canon.infos.get(number)?.createdBy ?? 0,
      to: canon.processes.get(number)?.end?.seq ?? Number.POSITIVE_INFINITY,
    }));
    alike.forEach((node, k) => {
      const own = spans[k];
      node.isWorker =
        own !== undefined &&
        spans.some((span) => span !== own && span.from < own.to && own.from < span.to);
    });
  }
}

/** The roots, with all that comes from them. */
function forest(canon: CanonicalTrace, texts: CanonicalTexts): Node[] {
  const nodes = new Map<number, Node>();
  const roots: Node[] = [];
  for (const { number, parent } of canon.trace.processes) {
    const program = canon.processes.get(number)?.programs[0];
    const words =
      program === undefined ? [] : [program.path, ...program.argv].map((w) => texts.words(w));
    const node: Node = { number, program, words, children: [], isWorker: false };
    nodes.set(number, node);
    const over = parent < number ? nodes.get(parent) : undefined;
    if (over === undefined) roots.push(node);
    else over.children.push(node);
  }
  for (const { children } of nodes.values()) if (children.length > 1) markWorkers(canon, children);
  return roots;
}

type Match = readonly [Node | undefined, Node | undefined];

function matchSiblings(a: readonly Node[], b: readonly Node[]): Match[] {
  const matches: Match[] = [];
  let left = a;
  let right = b;
  const keys: ((node: Node) => string)[] = [
    ({ words }) => words.join("\0"),
    ({ words }) => words[0] ?? "",
  ];
  for (const [k, key] of keys.entries()) {
    const found = k === 0 ? byKey(left, right, key) : byLikeness(left, right, key);
    matches.push(...found);
    const taken = new Set(found.flat());
    left = left.filter((node) => !taken.has(node));
    right = right.filter((node) => !taken.has(node));
  }
  matches.push(...left.map((node): Match => [node, undefined]));
  matches.push(...right.map((node): Match => [undefined, node]));
  return matches;
}

/** The programs that were recorded are compared with each other, whatever they are. */
function paired(matches: readonly Match[]): Match[] {
  const left = matches.filter(([, other]) => other === undefined);
  const right = matches.filter(([one]) => one === undefined);
  const count = Math.min(left.length, right.length);
  const pairs = left.slice(0, count).map(([one], k): Match => [one, right[k]?.[1]]);
  const taken = new Set([...left.slice(0, count), ...right.slice(0, count)]);
  return [...matches.filter((match) => !taken.has(match)), ...pairs];
}

/** Those with one key, in their order. */
function byKey(a: readonly Node[], b: readonly Node[], key: (node: Node) => string): Match[] {
  const waiting = groupBy(b, key);
  const matches: Match[] = [];
  const next = new Map<string, number>();
  for (const node of a) {
    const text = key(node);
    const at = next.get(text) ?? 0;
    const other = waiting.get(text)?.[at];
    if (other === undefined) continue;
    next.set(text, at + 1);
    matches.push([node, other]);
  }
  return matches;
}

/** Comparisons of one node with others before it takes what comes next. */
const MOST_TRIES = 200;

/** Of those with one key, the ones whose arguments are most alike. */
function byLikeness(a: readonly Node[], b: readonly Node[], key: (node: Node) => string): Match[] {
  const waiting = groupBy(b, key);
  const matches: Match[] = [];
  for (const node of a) {
    const others = waiting.get(key(node));
    if (others === undefined || others.length === 0) continue;
    let best = 0;
    let most = -1;
    for (let k = 0; k < others.length && k < MOST_TRIES; k++) {
      const alike = likeness(node.words, others[k]?.words ?? []);
      if (alike > most) {
        most = alike;
        best = k;
      }
    }
    const [other] = others.splice(best, 1);
    matches.push([node, other]);
  }
  return matches;
}

function likeness(a: readonly string[], b: readonly string[]): number {
  const words = new Set(b);
  const shared = a.filter((word) => words.has(word)).length;
  return shared / Math.max(1, Math.max(a.length, b.length));
}
