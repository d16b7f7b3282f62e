/** The report of `npm run bench:spec`, as Markdown. */

import { release } from "node:os";
import { ratio } from "../numbers.js";
import { NAMES, type Way } from "./opens.js";
import type { Cost, Ratio } from "./workloads.js";

/** Most that enforcement may cost, to native: a workload by the kernel alone, and an open that is supervised. */
export const GOALS = { kernel: 1.1, supervised: 10 };

export interface Measured {
  readonly costs: readonly Cost[];
  /** Nanoseconds of one open, where it was measured. */
  readonly opens: Record<Way, number> | undefined;
  /** Of the machine, at the start. */
  readonly load: number;
}

function milliseconds(seconds: number): string {
  return `${(seconds * 1000).toFixed(seconds < 0.1 ? 1 : 0)} ms`;
}

function withRange({ value, off }: Ratio): string {
  return `${value.toFixed(3)} ± ${off.toFixed(3)}`;
}

function verdict({ value, off }: Ratio, goal: number): string {
  if (value + off <= goal) return "yes";
  return value - off > goal ? "no" : "too close to tell";
}

/** A goal that is missed where the kernel takes more for enforcing anything says so. */
function verdictOf({ ratio: own, filter, both, named }: Cost): string {
  const said = verdict(own, GOALS.kernel);
  if (said !== "no") return said;
  if (verdict(filter, GOALS.kernel) === "no") return "no: nor is any filter";
  if (verdict(both, GOALS.kernel) === "no") return "no: nor are any two";
  return verdict(named, GOALS.kernel) === "no" ? "no: nor are any two by name" : said;
}

function workloads(costs: readonly Cost[]): string {
  const rows = costs.map(
    (cost) =>
      `| ${cost.title} | ${milliseconds(cost.native)} | ${milliseconds(cost.enforced)} | ${withRange(cost.ratio)} | ${withRange(cost.filter)} | ${withRange(cost.both)} | ${withRange(cost.named)} | ${cost.rounds} | ${verdictOf(cost)} |`,
  );
  return `Workloads by the kernel alone (goal: at most ${GOALS.kernel} times native). CPU time of the program and all that it starts, asked of the
kernel inside the sandbox, so that it is counted to the microsecond and what \`trace\` does before the program starts is not in
it. In each round it is run natively, enforced, and below what refuses nothing: a filter that allows every call, and the same
with a domain of Landlock that grants everything by a rule on each directory of the workload, or on each file as well. The ratios
are medians of the rounds, with the interval that holds the median in 19 of 20 cases. "Any filter": no enforcement by seccomp can
cost less on this kernel; "any two": none by seccomp and Landlock; "by name": none by these that grants files by their names, as
specs do unless they are told to grant directories (\`--climb=directory\`): the kernel looks longer for one of many rules.

| workload | native | enforced | ratio | any filter | any two | by name | rounds | within |
|---|--:|--:|--:|--:|--:|--:|--:|---|
${rows.join("\n")}
`;
}

function opensTable(opens: Record<Way, number>): string {
  const rows = NAMES.map((way) => {
    const value = opens[way] / opens.native;
    const goal = way === "supervised" ? GOALS.supervised : GOALS.kernel;
    const kept = way === "native" ? "" : verdict({ value, off: 0 }, goal);
    return `| ${way} | ${(opens[way] / 1000).toFixed(2)} µs | ${ratio(value)} | ${kept} |`;
  });
  return `One open of a file, in wall time, the fastest of many short series (goal, supervised: at most ${GOALS.supervised} times native). By the kernel,
Landlock asks each directory from the file up to the one that is granted.

| how | time | ratio | within |
|---|--:|--:|---|
${rows.join("\n")}
`;
}

/** What was measured; tables of nothing are left out. */
export function report({ costs, opens, load }: Measured): string {
  const made = `Made by \`npm run bench:spec\` on Linux ${release()}, ${process.arch}, load ${load.toFixed(1)} at the start.\n`;
  const tables = [
    ...(costs.length > 0 ? [workloads(costs)] : []),
    ...(opens !== undefined ? [opensTable(opens)] : []),
  ];
  return [made, ...tables].join("\n");
}
