/**
 * `npm run bench:spec -- [options]`: what it costs to enforce a spec. Everything is run natively and enforced, in turns.
 *
 *   --rounds N    rounds; default 7
 *   --only NAME   only this workload, or `opens`; may be repeated
 *   --quick       less work and two rounds
 *   --write       write the report although not everything was measured
 *   --list        print the names
 *
 * Workloads are enforced by the kernel alone and counted in CPU time, without what `trace` needs to read the spec and to start.
 * An open is counted in wall time: the fastest of many short series, so that others on the machine count little.
 * Writes a section of bench/spec.md when everything was measured in full, or `--write` is given.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, release } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { countOption } from "./count.js";
import { ENVIRONMENT, makeFolder } from "./environment.js";
import { median, ratio } from "./numbers.js";
import { cpuTime, endRunning } from "./run.js";
import { writeSection } from "./section.js";
import { loadWorkloads, missingPrograms, type Prepared, prepare } from "./workload.js";

const REPORT = fileURLToPath(new URL("./spec.md", import.meta.url));
const CLI = resolve(fileURLToPath(new URL("../dist/trace", import.meta.url)));
const OPENS = "opens";
const FULL = { rounds: 7, scale: 1 };
const QUICK = { rounds: 2, scale: 0.2 };

/** Most that enforcement may cost. */
const GOALS = { workload: 1.1, open: 10 };

interface Size {
  readonly rounds: number;
  readonly scale: number;
}

interface Cost {
  readonly title: string;
  /** CPU seconds. */
  readonly native: number;
  readonly enforced: number;
}

const progress = (line: string): void => void process.stderr.write(`${line}\n`);

function trace(dir: string, ...words: string[]): string {
  return execFileSync(CLI, words, {
    cwd: dir,
    env: ENVIRONMENT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 1 << 28,
  });
}

/** Records a command and makes a spec of it. */
function learn(dir: string, base: string, name: string, argv: readonly string[]): string {
  const recording = join(base, `${name}.trace`);
  const spec = join(base, `${name}.spec`);
  trace(dir, "record", "-q", "--force", "--observe", "-o", recording, "--", ...argv);
  trace(dir, "spec", "gen", "--force", "-o", spec, recording);
  rmSync(recording, { force: true });
  return spec;
}

async function workloadCost(workload: Prepared, base: string, rounds: number): Promise<Cost> {
  const { dir, argv, name } = workload;
  workload.reset?.();
  const spec = learn(dir, base, name, argv);
  // The same spec, and a program that is not there: all that is done before it would start.
  const enforced = [CLI, "spec", "run", "-q", "--supervise=never", spec, "--"];
  const start = ["/bin/sh", "-c", '"$@" || [ $? -eq 127 ]', "sh", ...enforced, "./not-there"];
  const times: { native: number[]; enforced: number[] } = { native: [], enforced: [] };
  for (let round = 0; round < rounds; round++) {
    workload.reset?.();
    times.native.push(await cpuTime({ argv, dir, base }));
    workload.reset?.();
    const all = await cpuTime({ argv: [...enforced, ...argv], dir, base });
    times.enforced.push(all - (await cpuTime({ argv: start, dir, base })));
  }
  return {
    title: workload.title,
    native: median(times.native),
    enforced: median(times.enforced),
  };
}

/** Opens a file again and again: prints the nanoseconds of one open in the fastest series. Closing is not counted. */
const OPENER = `#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
enum { EACH = 200 };
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}
int main(int argc, char **argv) {
  double best = 1e18;
  for (int series = atoi(argv[1]); series > 0; series--) {
    int fds[EACH];
    double start = now();
    for (int k = 0; k < EACH; k++) fds[k] = open(argv[2], O_RDONLY | O_CLOEXEC);
    double one = (now() - start) / EACH;
    if (one < best) best = one;
    for (int k = 0; k < EACH; k++)
      if (close(fds[k]) != 0) return 1;
  }
  printf("%.1f\\n", best);
  return 0;
}
`;

/** How opens are enforced, with the option that does it; the first is without a spec. */
const WAYS = {
  native: undefined,
  "by the kernel": "--supervise=never",
  "supervised where needed": "--supervise=auto",
  supervised: "--supervise=always",
} as const;
type Way = keyof typeof WAYS;
const NAMES = Object.keys(WAYS) as Way[];

/** Nanoseconds of one open. */
async function openCost(base: string, { rounds, scale }: Size): Promise<Record<Way, number>> {
  const dir = join(base, OPENS);
  mkdirSync(dir);
  writeFileSync(join(dir, "opener.c"), OPENER);
  writeFileSync(join(dir, "file"), "text\n");
  execFileSync("gcc", ["-O2", "-o", "opener", "opener.c"], { cwd: dir, stdio: "inherit" });
  const argv = ["./opener", String(Math.round(100 * scale)), join(dir, "file")];
  const spec = learn(dir, base, OPENS, argv);
  const times = Object.fromEntries(NAMES.map((way) => [way, [] as number[]])) as Record<
    Way,
    number[]
  >;
  for (let round = 0; round < rounds; round++) {
    for (let k = 0; k < NAMES.length; k++) {
      const way = NAMES[(round + k) % NAMES.length] ?? "native";
      const option = WAYS[way];
      const words = option === undefined ? argv : [CLI, "spec", "run", option, spec, "--", ...argv];
      const [program = "", ...args] = words;
      const done = spawnSync(program, args, { cwd: dir, env: ENVIRONMENT, encoding: "utf8" });
      if (done.status !== 0) throw new Error(`${way}: ended with ${done.status}: ${done.stderr}`);
      times[way].push(Number(done.stdout));
    }
  }
  const value = (way: Way) => Math.min(...times[way]);
  return Object.fromEntries(NAMES.map((way) => [way, value(way)])) as Record<Way, number>;
}

function verdict(value: number, goal: number): string {
  return value <= goal ? "yes" : "no";
}

function report(
  costs: readonly Cost[],
  opens: Record<Way, number>,
  { load, rounds }: { readonly load: number; readonly rounds: number },
): string {
  const lines = costs.map(({ title, native, enforced }) => {
    const value = enforced / native;
    return `| ${title} | ${native.toFixed(2)} s | ${enforced.toFixed(2)} s | ${ratio(value)} | ${verdict(value, GOALS.workload)} |`;
  });
  const ways = NAMES.map((way) => {
    const value = opens[way] / opens.native;
    const goal = way === "native" ? "" : verdict(value, way === "supervised" ? GOALS.open : 1.1);
    return `| ${way} | ${(opens[way] / 1000).toFixed(2)} µs | ${ratio(value)} | ${goal} |`;
  });
  return `Made by \`npm run bench:spec\` on Linux ${release()}, ${process.arch}, load ${load.toFixed(1)} at the start,
medians of ${rounds} rounds.
Workloads by the kernel alone, in CPU time, without the start of \`trace\` (goal: at most ${GOALS.workload} times native):

| workload | native | enforced | ratio | within |
|---|--:|--:|--:|---|
${lines.join("\n")}

One open of a file (goal, supervised: at most ${GOALS.open} times native):

| how | time | ratio | within |
|---|--:|--:|---|
${ways.join("\n")}
`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string" },
      only: { type: "string", multiple: true, default: [] },
      quick: { type: "boolean", default: false },
      write: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
    },
  });
  const workloads = await loadWorkloads();
  if (values.list) {
    for (const name of [...workloads.map(({ name }) => name), OPENS])
      process.stdout.write(`${name}\n`);
    return;
  }
  const size = values.quick ? QUICK : FULL;
  const rounds = values.rounds === undefined ? size.rounds : countOption("rounds", values.rounds);
  const isWanted = (name: string) => values.only.length === 0 || values.only.includes(name);
  const load = loadavg()[0] ?? Number.NaN;
  const [base, remove] = makeFolder();
  try {
    const costs: Cost[] = [];
    for (const workload of workloads) {
      if (!isWanted(workload.name) || missingPrograms(workload).length > 0) continue;
      const cost = await workloadCost(prepare(workload, base, size.scale), base, rounds);
      costs.push(cost);
      progress(`${cost.title}: ${ratio(cost.enforced / cost.native)}`);
    }
    const none = Object.fromEntries(NAMES.map((way) => [way, Number.NaN])) as Record<Way, number>;
    const opens = isWanted(OPENS) ? await openCost(base, { ...size, rounds }) : none;
    const text = report(costs, opens, { load, rounds });
    process.stdout.write(text);
    const isFull = values.only.length === 0 && !values.quick && rounds >= FULL.rounds;
    if (isFull || values.write) writeSection(REPORT, "# Specs, enforced", "Cost", text);
  } finally {
    endRunning();
    remove();
  }
}

await main();
