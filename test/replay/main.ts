/**
 * `npm run replay:table -- [options]`: real programs, each recorded once and replayed many times after what they used is gone.
 *
 *   --replays N    replays of each recording; default 20
 *   --only NAME    only this program; may be repeated
 *   --fixtures     all fixture programs as well, a line for each set
 *   --jobs N       replays at the same time; default: 2, or 1 where there is one CPU
 *   --list         print the names
 *   -v             also print how each replay differs
 *
 * Prints the table, and writes bench/replay.md when all programs were replayed at least 20 times. Exits with 1 when a replay
 * was not what the recording was.
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, release } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openTrace } from "../../src/trace/open.js";
import { buildFixtures, type FixtureSet } from "../support/fixtures.js";
import {
  abandon,
  CLI,
  difference,
  isDesync,
  leave,
  makePlace,
  mannerOf,
  type Place,
  type Recording,
  record,
  recordCopy,
  refusal,
  replay,
  takeAway,
} from "./faithful.js";
import { loadScenarios, missingPrograms, prepare, type Scenario, SetupError } from "./scenarios.js";

const TABLE = fileURLToPath(new URL("../../bench/replay.md", import.meta.url));
const RECORD_LIMIT_MS = 300_000;
/** A replay that takes this much longer than its recording took is one that hangs. */
const replayLimit = (recordedMs: number): number => 60_000 + 10 * recordedMs;
const FULL = 20;
/** A recording that cannot be replayed so many times in a row is not tried any further. */
const GIVE_UP = 3;

interface Options {
  readonly replays: number;
  readonly jobs: number;
  readonly only: readonly string[];
  readonly fixtures: boolean;
  readonly verbose: boolean;
}

interface Size {
  readonly events: number;
  readonly threads: number;
  readonly processes: number;
}

/** One line of the table. */
interface Row extends Size {
  readonly title: string;
  readonly replays: number;
  /** Replays whose output or exit code was not that of the recording. */
  readonly different: number;
  readonly note: string;
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

function readOptions(): Options & { readonly list: boolean } {
  const { values } = parseArgs({
    options: {
      replays: { type: "string", default: String(FULL) },
      jobs: { type: "string", default: String(Math.min(2, availableParallelism())) },
      only: { type: "string", multiple: true, default: [] },
      fixtures: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      verbose: { type: "boolean", short: "v", default: false },
    },
  });
  const count = (name: "replays" | "jobs"): number => {
    const number = Number(values[name]);
    if (!Number.isInteger(number) || number < 1)
      throw new SetupError(`--${name} ${values[name]}: not a count`);
    return number;
  };
  return { ...values, replays: count("replays"), jobs: count("jobs") };
}

async function sizeOf(file: string): Promise<Size> {
  const trace = await openTrace(file);
  const { eventCount: events, threads, processes } = trace;
  const size = { events, threads: threads.length, processes: processes.length };
  trace.close();
  return size;
}

/** The verdict over the replays of one recording. */
interface Verdict {
  readonly replays: number;
  readonly different: number;
  /** Each way of being different, and how often it was seen. */
  readonly ways: ReadonlyMap<string, number>;
  /** Median time of the faithful replays, when there were any. */
  readonly milliseconds: number | undefined;
}

async function replayAll(recording: Recording, options: Options): Promise<Verdict> {
  const ways = new Map<string, number>();
  const times: number[] = [];
  const limit = replayLimit(recording.outcome.milliseconds);
  let started = 0;
  let replays = 0;
  let different = 0;
  const replayOn = async (): Promise<void> => {
    while (started < options.replays && !(different === replays && different >= GIVE_UP)) {
      const outcome = await replay(recording, mannerOf(started++), limit);
      const what = difference(recording.outcome, outcome);
      replays++;
      if (what === undefined) times.push(outcome.milliseconds);
      else {
        different++;
        const way = refusal(outcome) ?? (isDesync(outcome) ? desyncLine(outcome.stderr) : what);
        ways.set(way, (ways.get(way) ?? 0) + 1);
        if (options.verbose) say(`${what}\n${outcome.stderr.toString().slice(-3000)}`);
      }
    }
  };
  // The packed copy is made once, by the first who needs it.
  await Promise.all(Array.from({ length: options.jobs }, replayOn));
  const milliseconds = times.sort((a, b) => a - b)[times.length >> 1];
  return { replays, different, ways, milliseconds };
}

/** The line of a report that says what differed. */
function desyncLine(stderr: Buffer): string {
  const line = stderr
    .toString()
    .split("\n")
    .find((text) => text.startsWith("trace: "));
  return line?.slice("trace: ".length) ?? "desync";
}

function noteOf({ replays, ways }: Verdict, note: string): string {
  const parts = [...ways].map(([way, times]) => `${times} of ${replays}: ${way.split("\n")[0]}`);
  return [note, ...parts].filter((part) => part !== "").join("; ");
}

async function measureScenario(scenario: Scenario, options: Options): Promise<Row> {
  const place = makePlace();
  try {
    const recording = await record(place, prepare(scenario, place), RECORD_LIMIT_MS);
    const { ended, stderr, milliseconds } = recording.outcome;
    if (ended !== "exit 0") {
      throw new SetupError(
        `${scenario.name} ends with ${ended} while it is recorded: ${stderr.toString().slice(-600)}`,
      );
    }
    takeAway(place);
    const size = await sizeOf(recording.file);
    say(`${scenario.name}: ${size.events} events in ${seconds(milliseconds)}`);
    const verdict = await replayAll(recording, options);
    const { replays, different, milliseconds: time } = verdict;
    const each = time === undefined ? "" : `, in ${seconds(time)} each`;
    say(`${scenario.name}: ${replays - different} of ${replays} replays are the same${each}`);
    return {
      title: scenario.title,
      ...size,
      replays,
      different,
      note: noteOf(verdict, scenario.note),
    };
  } finally {
    leave(place);
  }
}

/** All fixtures of a set in one row. */
async function measureFixtures(set: FixtureSet, options: Options): Promise<Row> {
  const { dir, names, skipped } = buildFixtures(set);
  const sum = { events: 0, threads: 0, processes: 0, replays: 0, different: 0 };
  const wrong: string[] = [];
  for (const name of names) {
    const place: Place = makePlace();
    try {
      const recording = await recordCopy(place, join(dir, name), RECORD_LIMIT_MS);
      if (recording.outcome.ended !== "exit 0") {
        throw new SetupError(
          `${name} ends with ${recording.outcome.ended}: ${recording.outcome.stderr}`,
        );
      }
      const size = await sizeOf(recording.file);
      const verdict = await replayAll(recording, options);
      for (const key of ["events", "threads", "processes"] as const) sum[key] += size[key];
      for (const key of ["replays", "different"] as const) sum[key] += verdict[key];
      if (verdict.different > 0) {
        wrong.push(name);
        say(`${name}: ${noteOf(verdict, "")}`);
      }
    } finally {
      leave(place);
    }
  }
  const parts = [...skipped, ...(wrong.length > 0 ? [`different: ${wrong.join(", ")}`] : [])];
  return { title: `${names.length} programs of fixtures/${set}`, ...sum, note: parts.join("; ") };
}

const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`;

function tableOf(rows: readonly Row[], skipped: readonly string[]): string {
  const cell = (text: string): string => text.replaceAll("|", "\\|").slice(0, 300);
  const lines = rows.map(
    (row) =>
      `| ${cell(row.title)} | ${row.events} | ${row.threads} | ${row.processes} | ${row.replays} | ${row.different} | ${cell(row.note)} |`,
  );
  return `# Replays of real programs

Made by \`npm run replay:table\`. Each program was recorded once; then its work directory was removed, and the recording
replayed in another directory, with another environment, without network, every second time as another user, every fifth
time from a packed copy without the object store. A replay counts as a desync when its output or its exit code is not that
of the recording in every byte, for whatever reason.

Linux ${release()}, ${availableParallelism()} CPUs${cpuModel()}.

| program | events | threads | processes | replays | desyncs | note |
|---|--:|--:|--:|--:|--:|---|
${lines.join("\n")}
${skipped.map((line) => `\nNot tried: ${line}\n`).join("")}`;
}

function cpuModel(): string {
  const name = /^model name\s*:\s*(.*)$/m.exec(readFileSync("/proc/cpuinfo", "latin1"))?.[1];
  return name === undefined ? "" : ` (${name})`;
}

async function main(): Promise<number> {
  const { list, ...options } = readOptions();
  const scenarios = loadScenarios();
  if (list) {
    for (const { name, title } of scenarios) process.stdout.write(`${name}\t${title}\n`);
    return 0;
  }
  const unknown = options.only.filter(
    (name) => !scenarios.some((scenario) => scenario.name === name),
  );
  if (unknown.length > 0)
    throw new SetupError(`no program ${unknown.join(", ")}; --list names them`);
  if (!existsSync(CLI)) throw new SetupError(`${CLI} is not there: npm run build`);
  const rows: Row[] = [];
  const skipped: string[] = [];
  for (const scenario of scenarios) {
    if (options.only.length > 0 && !options.only.includes(scenario.name)) continue;
    const missing = missingPrograms(scenario);
    if (missing.length > 0) skipped.push(`${scenario.title} (${missing.join(", ")} not installed)`);
    else rows.push(await attempt(scenario, options));
  }
  if (options.fixtures) {
    for (const set of ["programs", "replay"] as const)
      rows.push(await measureFixtures(set, options));
  }
  const table = tableOf(rows, skipped);
  process.stdout.write(table);
  if (options.only.length === 0 && options.replays >= FULL) writeFileSync(TABLE, table);
  return rows.every((row) => row.different === 0 && row.replays >= options.replays) ? 0 : 1;
}

/** A program that fails while it is recorded is a line of the table too. */
async function attempt(scenario: Scenario, options: Options): Promise<Row> {
  try {
    return await measureScenario(scenario, options);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    const nothing = { events: 0, threads: 0, processes: 0, replays: 0, different: 0 };
    return { title: scenario.title, ...nothing, note: error.message.replaceAll("\n", " ") };
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    abandon();
    process.exit(1);
  });
}
try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`replay:table: ${error.message}\n`);
  process.exitCode = 2;
}
