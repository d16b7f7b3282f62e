/**
 * `npm run bench:stacks`: what stacks cost. CPU time (user and system), since only that means something on a machine that does other
 * things; pairs that are compared are run in turn. `--rust=FILE` is a large Rust program with debug information; `--write` puts the
 * result into bench/stacks.md.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { realpathSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openTrace } from "../src/trace/open.js";
import { placesProgram, sampled } from "../test/stacks/places.js";
import { pythons } from "../test/stacks/pythons.js";
import { TITLE, target } from "../test/stacks/report.js";
import { ENVIRONMENT, makeFolder } from "./environment.js";
import { compile } from "./material.js";
import { median } from "./numbers.js";
import { cpuTime, endRunning } from "./run.js";
import { writeSection } from "./section.js";

const cli = fileURLToPath(new URL("../dist/trace", import.meta.url));
const native = fileURLToPath(new URL("../native", import.meta.url));
const RUNS = 3;
const EVENTS = 1_000_000;
const ENRICHED = 100_000;

/** Calls from a few functions below each other, each from a frame with its own tables. */
const SOURCE = `#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
__attribute__((noinline)) static long call(long left) { return syscall(SYS_getppid) + left; }
__attribute__((noinline)) static long below(long left, int depth) { return depth == 0 ? call(left) + 1 : below(left, depth - 1) + 1; }
int main(int argc, char **argv)
{
	long sum = 0;
	for (long left = argc > 1 ? atol(argv[1]) : 0; left > 0; left--)
		sum += below(left, left % 8);
	return sum == 0;
}
`;

/** The same from 16 functions of Python, one of them that of the module. */
const SCRIPT = `import os, sys

def below(depth):
    return below(depth - 1) + 1 if depth > 0 else os.getppid()

for _ in range(int(sys.argv[1])):
    below(14)
`;

interface Row {
  readonly what: string;
  readonly asked: string;
  readonly measured: string;
}

/** Opens a file for one frame: the CPU time in milliseconds, and the peak of memory in MiB: all, and without pages of files. */
function opened(program: string, image: string): { ms: number; all: number; own: number } {
  const [address = 0n] = sampled(image, 7).slice(-1);
  const said = spawnSync(program, [image], { input: address.toString(16), encoding: "utf8" });
  const [, us, all, file] = /^(\d+) us, (\d+) kB, of that (\d+) kB/.exec(said.stderr) ?? [];
  if (us === undefined) throw new Error(said.stderr);
  return {
    ms: Number(us) / 1000,
    all: Number(all) / 1024,
    own: (Number(all) - Number(file)) / 1024,
  };
}

function openingRow(program: string, name: string, image: string): Row {
  const runs = Array.from({ length: 2 * RUNS + 1 }, () => opened(program, image));
  const size = Math.round(statSync(image).size / 2 ** 20);
  const of = (key: "ms" | "all" | "own") => median(runs.map((run) => run[key])).toFixed(0);
  return {
    what: `one frame of ${name} (${size} MiB)`,
    asked: "300 ms, 200 MiB",
    measured: `${of("ms")} ms of CPU time, ${of("all")} MiB (${of("own")} without pages of the file)`,
  };
}

/** The program that was given, or one of this project as it is built for debugging. */
function largeRust(given: string | undefined): string {
  if (given !== undefined) return given;
  execFileSync("cargo", ["build", "-q", "-p", "trace-front"], { cwd: native, stdio: "inherit" });
  return join(process.env.CARGO_TARGET_DIR ?? join(native, "target"), "debug/trace");
}

/** CPU seconds of each of the commands, which are run in turn. */
async function inTurn(base: string, commands: readonly (readonly string[])[]): Promise<number[]> {
  const times = commands.map((): number[] => []);
  for (let run = 0; run < RUNS; run++) {
    for (const [k, words] of commands.entries()) {
      times[k]?.push(await cpuTime({ argv: [cli, ...words], dir: base, base }));
    }
  }
  return times.map(median);
}

async function recorded(
  base: string,
  name: string,
  argv: readonly string[],
  calls: number,
): Promise<[string, number]> {
  const file = join(base, name);
  execFileSync(cli, ["record", "-q", "--force", "-o", file, "--", ...argv, String(calls)], {
    env: ENVIRONMENT,
  });
  const trace = await openTrace(file);
  const { eventCount } = trace;
  trace.close();
  return [file, eventCount];
}

async function showingRow(base: string, program: string): Promise<Row> {
  const [file, events] = await recorded(base, "long.trace", [program], EVENTS);
  const last = `@${events - 100}`;
  const [show = 0, replay = 0] = await inTurn(base, [
    ["show", "--stacks", file, last],
    ["replay", "-q", "--no-output", "--until", last, file],
  ]);
  return {
    what: `show --stacks of one event near the end of ${events} events, beside replaying to it`,
    asked: "as long",
    measured: `${show.toFixed(2)} s, ${replay.toFixed(2)} s: ${(show / replay).toFixed(2)} times`,
  };
}

async function enrichRow(base: string, name: string, argv: readonly string[]): Promise<Row> {
  const [file] = await recorded(base, "rich.trace", argv, ENRICHED);
  const out = join(base, "out.trace");
  const [enrich = 0, replay = 0] = await inTurn(base, [
    ["enrich", "--stacks", "--force", "-o", out, file],
    ["replay", "-q", "--no-output", file],
  ]);
  const trace = await openTrace(out);
  const stacks = (await trace.stacks(0, trace.eventCount))?.size ?? 0;
  trace.close();
  const each = (seconds: number) => ((seconds / stacks) * 1e6).toFixed(1);
  return {
    what: `enrich --stacks of all ${stacks} events of ${name}`,
    asked: "30 us a stack",
    measured: `${each(enrich - replay)} us a stack (${each(enrich)} us with the replay)`,
  };
}

function text(rows: readonly Row[]): string {
  const lines = rows.map(({ what, asked, measured }) => `| ${what} | ${asked} | ${measured} |`);
  return ["| what | asked | measured |", "|---|---|---|", ...lines].join("\n");
}

async function main(): Promise<void> {
  const given = process.argv.find((word) => word.startsWith("--rust="))?.slice("--rust=".length);
  const [base, remove] = makeFolder();
  // The trace is read in this process as well, and its files are in the store of the measured ones.
  process.env.XDG_CACHE_HOME = ENVIRONMENT.XDG_CACHE_HOME;
  try {
    const program = placesProgram();
    const calls = compile(base, "stacks", SOURCE);
    const rows: Row[] = [];
    const add = (row: Row) => {
      rows.push(row);
      process.stdout.write(`${row.what}: ${row.measured} (asked: ${row.asked})\n`);
    };
    add(openingRow(program, "node", realpathSync(process.execPath)));
    add(openingRow(program, "a Rust program", largeRust(given)));
    add(await showingRow(base, calls));
    add(await enrichRow(base, "a C program", [calls]));
    const script = join(base, "deep.py");
    writeFileSync(script, SCRIPT);
    for (const { program: python, version } of pythons().slice(-1))
      add(await enrichRow(base, `Python ${version}`, [python, script]));
    if (process.argv.includes("--write")) writeSection(target, TITLE, "What they cost", text(rows));
  } finally {
    endRunning();
    remove();
  }
}

await main();
