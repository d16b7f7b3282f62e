/**
 * `npm run bench:query -- [options]`: what questions to a long trace take, in CPU time and memory.
 *
 *   --events N    events of the trace of real programs; default 10,000,000
 *   --long N      events of the trace that is exported as a stream; default 100,000,000, 0 for none
 *   --trace FILE  ask this trace instead of recording one
 *   --rounds N    how often each question is asked; default 3
 *   --dir FOLDER  where the traces go: some 2 GB for a while; default: a temporary folder
 *   --cli FILE    the `trace` to measure; default: dist/trace
 *
 * Prints the report, and writes it to bench/query.md when all was measured in full.
 */

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, release } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { countOption } from "../count.js";
import { cpuCount, makeFolder, which } from "../environment.js";
import { endRunning } from "../run.js";
import { tracers } from "../tracers.js";
import { onePercent, parquet, perfetto, range, stat, topFiles } from "./questions.js";
import { counted, type Place, recordLoop, recordPrograms } from "./recordings.js";
import { type Results, report } from "./report.js";

const HERE = fileURLToPath(new URL("./", import.meta.url));
const FULL = { events: 10e6, long: 100e6 };
const PROGRAMS = ["time", "gcc", "grep", "find", "tar", "python3"];

const progress = (line: string): void => void process.stderr.write(`${line}\n`);

function options() {
  const { values } = parseArgs({
    options: {
      events: { type: "string", default: String(FULL.events) },
      long: { type: "string", default: String(FULL.long) },
      trace: { type: "string" },
      rounds: { type: "string", default: "3" },
      dir: { type: "string" },
      cli: { type: "string", default: resolve(HERE, "../../dist/trace") },
    },
  });
  const numbers = {
    events: countOption("events", values.events),
    long: countOption("long", values.long, 0),
    rounds: countOption("rounds", values.rounds),
  };
  const missing = PROGRAMS.filter((program) => which(program) === undefined);
  if (missing.length > 0) throw new Error(`not installed: ${missing.join(", ")}`);
  if (!existsSync(values.cli)) throw new Error(`${values.cli} is not there: npm run build`);
  return { ...numbers, trace: values.trace, dir: values.dir, cli: resolve(values.cli) };
}

type Options = ReturnType<typeof options>;

async function measure(place: Place, { events, long, trace, rounds }: Options): Promise<Results> {
  progress(trace === undefined ? "recording ..." : `${trace} ...`);
  const recorded = await (trace === undefined
    ? recordPrograms(place, events)
    : counted(resolve(trace)));
  progress(`${recorded.events} events`);
  const step = async <T>(name: string, ask: () => Promise<T>): Promise<T> => {
    const answer = await ask();
    progress(`${name}: ${JSON.stringify(answer)}`);
    return answer;
  };
  const results = {
    events: recorded.events,
    stat: await step("stat", () => stat(place, recorded, rounds)),
    filter: await step("filter", () => onePercent(place, recorded, rounds)),
    topFiles: await step("top files", () => topFiles(place, recorded, rounds)),
    parquet: await step("parquet", () => parquet(place, recorded, "rows")),
    range: await step("range", () => range(place, "rows", rounds)),
    perfetto: await step("perfetto", () => perfetto(place, recorded)),
  };
  if (long === 0) return results;
  const loop = await step("long recording", () => recordLoop(place, long));
  return { ...results, long: await step("long export", () => parquet(place, loop, "long")) };
}

/** A folder for everything, and what removes it. */
function folder(dir: string | undefined): [string, () => void] {
  const [base, leave] = makeFolder();
  if (dir === undefined) return [base, leave];
  mkdirSync(dir, { recursive: true });
  const own = mkdtempSync(join(resolve(dir), "query-"));
  return [
    own,
    () => {
      rmSync(own, { recursive: true, force: true });
      leave();
    },
  ];
}

async function main(): Promise<void> {
  const chosen = options();
  const [base, leave] = folder(chosen.dir);
  const stop = (): never => {
    endRunning();
    leave();
    process.exit(1);
  };
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
  try {
    const [load = 0] = loadavg();
    const place = { tracers: tracers(chosen.cli, base), base };
    const results = await measure(place, chosen);
    const { rounds } = chosen;
    const recorded = chosen.trace === undefined;
    const node = process.versions.node;
    const conditions = { kernel: release(), cpus: cpuCount(), node, rounds, load, recorded };
    const text = report(results, conditions);
    process.stdout.write(text);
    const whole = results.events >= FULL.events * 0.99 && chosen.long >= FULL.long;
    if (whole) writeFileSync(resolve(HERE, "../query.md"), text);
  } finally {
    leave();
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench:query: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
