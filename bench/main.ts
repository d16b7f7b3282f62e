/**
 * `npm run bench -- [options]`: what recording costs, next to strace, in one run.
 *
 *   --rounds N    rounds of each workload; default 5
 *   --only NAME   only this workload, or `startup`, `redis`, or `reading`; may be repeated
 *   --quick       less work and two rounds
 *   --list        print the names
 *   --cli FILE    the `trace` to measure; default: dist/trace
 *
 * Writes bench/latest.md when everything was measured in full. It is a measurement and not a test:
 * it fails when a program fails, not when a number is bad.
 */

import { existsSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, release } from "node:os";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { countOption } from "./count.js";
import { cpuCount, makeFolder, which } from "./environment.js";
import { type Measured, measure } from "./measure.js";
import { measureReading, type Reading } from "./reading.js";
import { measureRedis, REDIS_PROGRAMS, type Redis } from "./redis.js";
import { type Conditions, report } from "./report.js";
import { endRunning } from "./run.js";
import { measureStartup, type Startup } from "./startup.js";
import { straceVersion, type Tracers, tracers } from "./tracers.js";
import { loadWorkloads, missingPrograms, type NamedWorkload, prepare } from "./workload.js";

const HERE = fileURLToPath(new URL("./", import.meta.url));
const OTHERS = ["startup", "redis", "reading"];
const QUICK = { rounds: 2, scale: 0.2, millions: 1 };
const FULL = { rounds: 5, scale: 1, millions: 10 };

interface Options {
  readonly rounds: number;
  readonly scale: number;
  readonly millions: number;
  readonly quick: boolean;
  readonly only: readonly string[];
  readonly list: boolean;
  readonly cli: string;
}

const progress = (line: string): void => void process.stderr.write(`${line}\n`);

function options(): Options {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string" },
      only: { type: "string", multiple: true, default: [] },
      quick: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      cli: { type: "string", default: resolve(HERE, "../dist/trace") },
    },
  });
  const size = values.quick ? QUICK : FULL;
  const rounds = values.rounds === undefined ? size.rounds : countOption("rounds", values.rounds);
  const { quick, only, list, cli } = values;
  return { ...size, rounds, quick, only, list, cli: resolve(cli) };
}

function check({ only, cli }: Options, names: readonly string[]): void {
  const unknown = only.filter((name) => !names.includes(name));
  if (unknown.length > 0) throw new Error(`no workload ${unknown.join(", ")}; --list names them`);
  if (!existsSync(cli)) throw new Error(`${cli} is not there: npm run build`);
  const tools = ["strace", "taskset"].filter((program) => which(program) === undefined);
  if (tools.length > 0) throw new Error(`not installed: ${tools.join(", ")}`);
}

interface Session {
  readonly options: Options;
  readonly tracers: Tracers;
  readonly base: string;
}

async function measureAll(
  { options, tracers, base }: Session,
  workloads: readonly NamedWorkload[],
): Promise<{ measured: Measured[]; skipped: string[] }> {
  const measured: Measured[] = [];
  const skipped: string[] = [];
  for (const workload of workloads) {
    const missing = missingPrograms(workload);
    if (missing.length > 0) {
      skipped.push(`${workload.name} (not installed: ${missing.join(", ")})`);
      continue;
    }
    progress(`${workload.name} ...`);
    const { scale, rounds } = options;
    const whole = prepare(workload, base, scale);
    const { share = 1 } = workload;
    const part = share < 1 ? prepare(workload, base, scale * share, ".share") : whole;
    measured.push(await measure(whole, part, tracers, base, rounds));
    for (const { dir } of [whole, part]) rmSync(dir, { recursive: true, force: true });
  }
  return { measured, skipped };
}

async function bench(session: Session, workloads: readonly NamedWorkload[]): Promise<string> {
  const { options, tracers, base } = session;
  const [load = 0] = loadavg();
  const wanted = (name: string): boolean =>
    options.only.length === 0 || options.only.includes(name);
  let startup: Startup | undefined;
  if (wanted("startup")) {
    progress("startup ...");
    startup = await measureStartup(tracers, base, options.rounds);
  }
  const { measured, skipped } = await measureAll(
    session,
    workloads.filter(({ name }) => wanted(name)),
  );
  let redis: Redis | undefined;
  const missing = REDIS_PROGRAMS.filter((program) => which(program) === undefined);
  if (missing.length > 0) skipped.push(`redis (not installed: ${missing.join(", ")})`);
  else if (wanted("redis")) {
    progress("redis ...");
    redis = await measureRedis(tracers, base, options);
  }
  let reading: Reading | undefined;
  if (wanted("reading")) {
    progress("reading ...");
    reading = await measureReading(tracers, base, options.millions);
  }
  const conditions: Conditions = {
    kernel: release(),
    cpus: cpuCount(),
    node: process.versions.node,
    strace: straceVersion(),
    rounds: options.rounds,
    load,
    quick: options.quick,
    scale: options.scale,
    skipped,
  };
  return report({ workloads: measured, startup, redis, reading }, conditions);
}

async function main(): Promise<void> {
  const chosen = options();
  const workloads = await loadWorkloads();
  const names = [...OTHERS, ...workloads.map(({ name }) => name)];
  if (chosen.list) {
    process.stdout.write(`${names.join("\n")}\n`);
    return;
  }
  check(chosen, names);
  const [base, removeFolder] = makeFolder();
  const leave = (): void => {
    endRunning();
    removeFolder();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      leave();
      process.exit(1);
    });
  }
  try {
    const session = { options: chosen, tracers: tracers(chosen.cli, base), base };
    const text = await bench(session, workloads);
    process.stdout.write(text);
    if (!chosen.quick && chosen.only.length === 0) writeFileSync(resolve(HERE, "latest.md"), text);
  } finally {
    leave();
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
