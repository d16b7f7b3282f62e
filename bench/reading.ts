/**
 * How fast a long trace is read through the command line: the CPU time of `stat` and the events per
 * second of `show --format=jsonl`. The trace is made by the engine's own example program.
 */

import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openTrace } from "../src/trace/open.js";
import { median } from "./numbers.js";
import { cpuTime, RunError, wallTime } from "./run.js";
import type { Tracers } from "./tracers.js";

const NATIVE = fileURLToPath(new URL("../native/", import.meta.url));
const RUNS = 3;

export interface Reading {
  readonly events: number;
  /** CPU seconds of `stat`, or why there are none. */
  readonly statCpu: number | string;
  /** Events per second of `show --format=jsonl`, or why there are none. */
  readonly jsonl: number | string;
}

/** `millions` of events. */
export async function measureReading(
  { cli }: Tracers,
  base: string,
  millions: number,
): Promise<Reading> {
  const file = join(base, "long.trace");
  makeTrace(file, millions);
  const trace = await openTrace(file);
  const { eventCount: events } = trace;
  trace.close();
  const command = (...words: string[]) => ({
    argv: [cli, ...words, file],
    dir: base,
    base,
  });
  const statCpu = await repeated(() => cpuTime(command("stat")));
  const seconds = await repeated(() => wallTime(command("show", "--format=jsonl")));
  rmSync(file);
  const jsonl = typeof seconds === "string" ? seconds : events / (seconds / 1000);
  return { events, statCpu, jsonl };
}

function makeTrace(file: string, millions: number): void {
  const example = ["run", "--release", "--quiet", "-p", "trace-engine", "--example", "make_trace"];
  execFileSync("cargo", [...example, "--", file, String(millions)], {
    cwd: NATIVE,
    stdio: ["ignore", "ignore", "inherit"],
  });
}

/** The median of a few runs; a command that is not there is said so and is no failure. */
async function repeated(once: () => Promise<number>): Promise<number | string> {
  const values: number[] = [];
  try {
    for (let run = 0; run < RUNS; run++) values.push(await once());
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    if (error.message.includes("unknown command")) return "this build has no such command";
    return error.message;
  }
  return median(values);
}
