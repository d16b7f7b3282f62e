/** The processes of a trace as a tree: who started whom, what ran, how long, how it ended. */

import { append } from "../group.js";
import type { Painter } from "../report/color.js";
import { cut, printable, width } from "../report/text.js";
import { counted, humanDuration } from "../report/units.js";
import type { History, ProcessLife, ProgramStart } from "../trace/history.js";
import { processName } from "../trace/process.js";
import { shellCommand } from "./shell.js";

export interface TreeNode {
  readonly life: ProcessLife;
  readonly children: readonly TreeNode[];
}

/** Roots are processes whose parent is not in the trace. No process is lost, whatever the parents say. */
export function treeOf(history: History): TreeNode[] {
  const children = new Map<number, ProcessLife[]>();
  const roots: ProcessLife[] = [];
  for (const life of history.lives) {
    // Parents come before their children; what says otherwise is damaged, and stands on its own.
    const hasParent = life.parent !== 0 && life.parent < life.number && history.life(life.parent);
    if (!hasParent) roots.push(life);
    else append(children, life.parent, life);
  }
  return buildNodes(roots, children);
}

/** From the last process to the first, so that a long chain of parents needs no deep recursion. */
function buildNodes(
  roots: readonly ProcessLife[],
  children: ReadonlyMap<number, readonly ProcessLife[]>,
): TreeNode[] {
  const nodes = new Map<number, TreeNode>();
  const lives = [...roots, ...[...children.values()].flat()].sort((a, b) => b.number - a.number);
  for (const life of lives) {
    const own = (children.get(life.number) ?? []).map((child) => nodes.get(child.number));
    nodes.set(life.number, { life, children: own.filter((node) => node !== undefined) });
  }
  return roots.map((life) => nodes.get(life.number)).filter((node) => node !== undefined);
}

export interface RenderOptions {
  readonly paint: Painter;
  readonly width: number;
  /** End of the recording, for processes that outlived it. */
  readonly duration: number;
  /** Lines below each program start. */
  readonly command?: (program: ProgramStart, life: ProcessLife) => string;
}

interface Step {
  readonly node: TreeNode;
  readonly before: string;
  readonly isLast: boolean;
  readonly depth: number;
}

export function* treeLines(
  roots: readonly TreeNode[],
  history: History,
  options: RenderOptions,
): Generator<string> {
  const stack: Step[] = roots
    .map((node) => ({ node, before: "", isLast: true, depth: 0 }))
    .reverse();
  for (let step = stack.pop(); step !== undefined; step = stack.pop()) {
    const { node, before, isLast, depth } = step;
    const branch = depth === 0 ? "" : isLast ? "└─ " : "├─ ";
    const below = depth === 0 ? "" : `${before}${isLast ? "   " : "│  "}`;
    yield* lifeLines(
      node.life,
      history,
      `${before}${branch}`,
      below,
      node.children.length > 0,
      options,
    );
    const { children } = node;
    for (let k = children.length - 1; k >= 0; k--) {
      const child = children[k];
      if (child === undefined) continue;
      stack.push({
        node: child,
        before: below,
        isLast: k === children.length - 1,
        depth: depth + 1,
      });
    }
  }
}

/** Columns for the command line of a process that only its parent's program runs in. */
const FORK_WIDTH = 32;

function* lifeLines(
  life: ProcessLife,
  history: History,
  head: string,
  below: string,
  hasChildren: boolean,
  options: RenderOptions,
): Generator<string> {
  const { paint, command } = options;
  const facts = factsText(life, options.duration);
  const name = processName(life.number);
  const inherited = life.programs.length === 0;
  const shown = inherited ? [history.programAt(life.number, life.createdBy)] : life.programs;
  for (const [k, program] of shown.entries()) {
    const isFirst = k === 0;
    const words = program === undefined ? "?" : printable(shellCommand(program.argv));
    const text = inherited ? `(${cut(words, FORK_WIDTH)})` : words;
    const start = isFirst ? head : `${below}${hasChildren ? "│  " : "   "}`;
    const label = isFirst ? `${name} ` : "→ ";
    const tail = isFirst ? `  ${facts}` : "";
    const room = options.width - width(start) - width(label) - width(tail);
    const line = cut(text, Math.max(20, room));
    const ends = isFirst ? `  ${paint(isFailed(life) ? "red" : "dim", facts)}` : "";
    yield `${paint("dim", start)}${paint("cyan", label)}${line}${ends}\n`;
    if (command !== undefined && program !== undefined && !inherited) {
      const indent = `${below}${hasChildren ? "│  " : "   "}`;
      yield `${paint("dim", indent)}  ${command(program, life)}\n`;
    }
  }
}

function isFailed(life: ProcessLife): boolean {
  return life.end !== undefined && (life.end.code !== 0 || life.end.signal !== undefined);
}

/** `[4711] 12.3 ms, exit 1`. */
function factsText(life: ProcessLife, duration: number): string {
  const end = life.end?.time ?? duration;
  const parts = [humanDuration(Math.max(0, end - life.start))];
  if (life.threads.length > 1) parts.push(counted(life.threads.length, "thread"));
  parts.push(endText(life));
  return `[${life.pid}] ${parts.join(", ")}`;
}

export function endText(life: ProcessLife): string {
  const { end } = life;
  if (end === undefined) return "did not end";
  if (end.signal === undefined) return `exit ${end.code}`;
  return `killed by ${end.signal}${end.core ? " (core dumped)" : ""}`;
}

/** For programs: one object per process, in the order of their numbers. */
export function treeJson(
  history: History,
  command: (program: ProgramStart, life: ProcessLife) => string,
  mask: (variable: string) => string,
): string {
  const processes = history.lives.map((life) => ({
    process: processName(life.number),
    pid: life.pid,
    parent: life.parent === 0 ? null : processName(life.parent),
    threads: life.threads.length,
    start: life.start,
    end: life.end?.time ?? null,
    exitCode: life.end === undefined || life.end.signal !== undefined ? null : life.end.code,
    signal: life.end?.signal ?? null,
    userTime: life.end?.userTime ?? null,
    systemTime: life.end?.systemTime ?? null,
    peakMemory: life.end?.peakMemory ?? null,
    programs: life.programs.map((program) => ({
      event: program.seq,
      time: program.time,
      path: program.path,
      argv: program.argv,
      cwd: program.cwd,
      interpreter: program.interpreter === "" ? null : program.interpreter,
      env: program.env.map(mask),
      command: command(program, life),
    })),
  }));
  return `${JSON.stringify({ schema: "trace.tree", version: 1, unit: "ns", processes }, undefined, 2)}\n`;
}
