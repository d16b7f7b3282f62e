/**
 * Which programs spent how much in which calls, as stacks: the programs that led to a process, outermost first, and the call.
 * Where call stacks are given, the functions that led to the call stand between the two. Processes that ran the same
 * programs in the same way share a stack.
 */

import { syscallName } from "../decode/context.js";
import { CallFacts } from "../query/facts.js";
import { frameName } from "../stacks/folded.js";
import type { StackTable } from "../stacks/table.js";
import { type EventBatch, EventKind } from "../trace/batch.js";
import { History } from "../trace/history.js";
import { programName } from "./program.js";
import type { EventStream } from "./stream.js";

/** What is added up: nanoseconds from entry to exit, calls, or bytes that were transferred. */
export type Weight = "time" | "calls" | "bytes";
export const WEIGHTS: readonly Weight[] = ["time", "calls", "bytes"];

export interface StackNode {
  readonly name: string;
  /** What was counted in exactly this stack. */
  weight: number;
  readonly children: ReadonlyMap<string, StackNode>;
}

/** Programs of one stack; chains of forks that are longer are cut at the outer end. */
const MAX_FRAMES = 256;

class Node implements StackNode {
  weight = 0;
  readonly children = new Map<string, Node>();

  constructor(readonly name: string) {}

  child(name: string): Node {
    let child = this.children.get(name);
    if (child === undefined) {
      child = new Node(name);
      this.children.set(name, child);
    }
    return child;
  }
}

/** Adds up the calls of the stream, below the functions of `stacks` where those are known. The root stands for the whole trace. */
export async function collectStacks(
  stream: EventStream,
  weight: Weight,
  stacks?: StackTable,
): Promise<StackNode> {
  const root = new Node("all");
  const programs = new Programs(await History.read(stream.trace), root);
  const facts = new CallFacts(stream.trace);
  for await (const batch of stream.batches()) {
    for (let i = 0; i < batch.count; i++) {
      if (batch.kind[i] !== EventKind.Call || !stream.keep(batch, i)) continue;
      const process = stream.trace.threads[batch.thread[i] ?? -1]?.process ?? 0;
      const name = syscallName(batch.arch[i] ?? 0, batch.code[i] ?? -1);
      const seq = batch.firstSeq + i;
      let node = programs.at(process, seq);
      for (const frame of stacks?.of(seq)?.frames.toReversed() ?? []) {
        node = node.child(frameName(frame));
      }
      node = node.child(name);
      node.weight += weightOf(batch, i, weight, facts);
    }
  }
  return root;
}

function weightOf(batch: EventBatch, i: number, weight: Weight, facts: CallFacts): number {
  if (weight === "time") return Math.max(0, batch.duration[i] ?? 0);
  return weight === "calls" ? 1 : (facts.bytes(batch, i) ?? 0);
}

/** The stacks of programs that processes stood in. */
class Programs {
  readonly #history: History;
  readonly #root: Node;
  /** By process: the node, and up to which event it is the one. */
  readonly #current = new Map<number, { readonly until: number; readonly node: Node }>();

  constructor(history: History, root: Node) {
    this.#history = history;
    this.#root = root;
  }

  at(process: number, seq: number): Node {
    let current = this.#current.get(process);
    if (current === undefined || seq >= current.until) {
      const next = this.#history.life(process)?.programs.find((program) => program.seq > seq);
      const until = next?.seq ?? Number.POSITIVE_INFINITY;
      let node = this.#root;
      for (const name of this.#names(process, seq)) node = node.child(name);
      current = { until, node };
      this.#current.set(process, current);
    }
    return current.node;
  }

  #names(process: number, seq: number): string[] {
    const names: string[] = [];
    let life = this.#history.life(process);
    let moment = seq;
    while (life !== undefined && names.length < MAX_FRAMES) {
      const own = life.programs.findLast((program) => program.seq <= moment);
      const name = programName(own ?? this.#history.programAt(life.number, moment));
      // A fork that runs its parent's program is told from the parent.
      names.push(own === undefined && life.parent !== 0 ? `${name} (fork)` : name);
      moment = life.createdBy;
      life = life.parent < life.number ? this.#history.life(life.parent) : undefined;
    }
    return names.reverse();
  }
}

/** Every stack that something was counted in, outermost frame first. */
export function* stacksOf(root: StackNode): Generator<readonly [frames: string[], weight: number]> {
  const waiting: { readonly node: StackNode; readonly frames: string[] }[] = [
    { node: root, frames: [] },
  ];
  for (let step = waiting.pop(); step !== undefined; step = waiting.pop()) {
    const { node, frames } = step;
    if (node.weight > 0) yield [frames, node.weight];
    const children = [...node.children.values()].reverse();
    for (const child of children) waiting.push({ node: child, frames: [...frames, child.name] });
  }
}
