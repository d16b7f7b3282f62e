/**
 * What a workload is, and which ones there are: every file of `workloads/` is one. A workload lays
 * out its files in a folder of its own and says what to run there; it measures nothing.
 */

import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ENVIRONMENT, which } from "./environment.js";

/** Where a workload lives during one run of the benchmark. */
export interface Place {
  /** An empty folder; also the working directory of the run. */
  readonly dir: string;
  /** An amount of work: `n`, or less when the benchmark was asked to be quick. */
  amount(n: number): number;
}

/** What is run, by every tracer alike. */
export interface Run {
  readonly argv: readonly string[];
  /** Brings the folder back to where it was before a run. */
  reset?(): void;
}

export interface Workload {
  /** What is run, as the report names it. */
  readonly title: string;
  /** Programs that must be installed. */
  readonly programs: readonly string[];
  /** How much of the work is enough for tracers that stop at each call; default: 1, all of it. */
  readonly share?: number;
  prepare(place: Place): Run;
}

export interface NamedWorkload extends Workload {
  /** Name of its file: what `--only` takes. */
  readonly name: string;
}

/** A workload that is ready to be run. */
export interface Prepared extends Run {
  readonly name: string;
  readonly title: string;
  readonly dir: string;
}

const FOLDER = new URL("./workloads/", import.meta.url);

/** All workloads, in the order of their names. */
export async function loadWorkloads(): Promise<NamedWorkload[]> {
  const files = readdirSync(FOLDER)
    .filter((file) => file.endsWith(".ts"))
    .sort();
  const load = async (file: string): Promise<NamedWorkload> => {
    const { workload } = (await import(new URL(file, FOLDER).href)) as { workload: Workload };
    return { ...workload, name: file.replace(/\.ts$/, "") };
  };
  return Promise.all(files.map(load));
}

/** Programs of a workload that are not there. */
export function missingPrograms(workload: Workload): string[] {
  return workload.programs.filter((program) => which(program) === undefined);
}

/** `suffix` keeps the folder of a workload that is prepared twice apart. */
export function prepare(
  workload: NamedWorkload,
  base: string,
  scale: number,
  suffix = "",
): Prepared {
  const dir = join(base, `${workload.name}${suffix}`);
  mkdirSync(dir);
  const amount = (n: number): number => Math.max(1, Math.round(n * scale));
  const run = workload.prepare({ dir, amount });
  return { ...run, name: workload.name, title: workload.title, dir };
}

/** Runs a program that makes files for a workload; its output, or an error that says what it said. */
export function setUp(dir: string, argv: readonly string[], input?: string): string {
  const [program = "", ...args] = argv;
  return execFileSync(program, args, {
    cwd: dir,
    encoding: "utf8",
    env: ENVIRONMENT,
    input: input ?? "",
    maxBuffer: 1 << 26,
    stdio: ["pipe", "pipe", "pipe"],
  });
}
