/**
 * `npm run diff:large -- [options]`: what it costs to compare two long recordings.
 *
 *   --long        also two of 10 million events; recording them takes minutes and 200 MB of the temporary folder
 *   --runs N      comparisons of each pair, of which the median counts; default 3
 *
 * Prints the table, and writes bench/diff-large.md when both lengths were measured. Exits with 1 when a pair takes more than it
 * may. CPU time is that of all threads of the command, user and system.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { countOption } from "../../bench/count.js";
import { passesScript } from "../../bench/query/programs.js";
import { counted, type Recorded } from "../../bench/query/recordings.js";
import { type Taken, taken } from "../../bench/run.js";
import { tableMarkdown } from "../../src/report/table.js";
import { CLI, leave, makePlace, type Place, record } from "./recording.js";

const TABLE = fileURLToPath(new URL("../../bench/diff-large.md", import.meta.url));

interface Size {
  readonly events: number;
  readonly cpuSeconds: number;
  readonly memoryMiB: number;
}

/** What two traces of so many events may take; of the passes that make so many there are a few more, and so much more CPU time. */
const SIZES: readonly Size[] = [
  { events: 1e6, cpuSeconds: 5, memoryMiB: 1024 },
  { events: 10e6, cpuSeconds: 60, memoryMiB: 2048 },
];

/** Programs that look at many files and read many bytes, one pass after the other. */
const PASSES = passesScript({ reads: true, sources: '"$HOME/python"' });
const SETUP = 'mkdir "$HOME/python" && cp /usr/lib/python3*/[a-m]*.py "$HOME/python"';
const LIMIT_MS = 900_000;

/** What a comparison took, and its first line. */
interface Compared extends Taken {
  readonly summary: string;
}

interface Row extends Compared {
  readonly size: Size;
  readonly events: number;
  readonly megabytes: number;
}

async function recordPasses(place: Place, name: string, passes: number): Promise<Recorded> {
  const argv = ["sh", "-c", PASSES, "passes", String(passes)];
  return counted(await record(place, name, { argv, limit: LIMIT_MS }));
}

async function compare(place: Place, a: string, b: string): Promise<Compared> {
  const output = join(place.base, "compared.txt");
  const { base, work: dir } = place;
  const argv = [CLI, "diff", a, b];
  const took = await taken({ argv, dir, base, output, codes: [0, 1], limitMs: LIMIT_MS });
  const [summary = ""] = readFileSync(output, "utf8").split("\n");
  return { ...took, summary };
}

/** Of several comparisons the one in the middle by CPU time. */
async function middle(once: () => Promise<Compared>, runs: number): Promise<Compared> {
  const all = [await once()];
  for (let run = 1; run < runs; run++) all.push(await once());
  all.sort((x, y) => x.cpu - y.cpu);
  return all[Math.floor(all.length / 2)] as Compared;
}

async function measure(place: Place, size: Size, passes: number, runs: number): Promise<Row> {
  const a = await recordPasses(place, "a", passes);
  const b = await recordPasses(place, "b", passes);
  const compared = await middle(() => compare(place, a.file, b.file), runs);
  // What is allowed is allowed for so many events in each.
  const events = Math.min(a.events, b.events);
  return { ...compared, size, events, megabytes: a.bytes / 1e6 };
}

/** CPU seconds that a pair may take, in proportion to its events. */
function allowed({ size, events }: Row): number {
  return (size.cpuSeconds * events) / size.events;
}

function isOk(row: Row): boolean {
  const { size, events, cpu, peakMiB } = row;
  return events >= size.events && cpu <= allowed(row) && peakMiB <= size.memoryMiB;
}

function table(rows: readonly Row[]): string {
  const heads = ["events in each", "MB of each", "CPU s", "may be", "wall s", "peak MiB", "may be"];
  const columns = [...heads, "", "verdict"].map((head, k) => ({
    head,
    align: k < heads.length ? ("right" as const) : ("left" as const),
  }));
  const body = rows.map((row) => [
    row.events.toLocaleString("en"),
    row.megabytes.toFixed(0),
    ...[row.cpu, allowed(row), row.wall].map((value) => value.toFixed(1)),
    ...[row.peakMiB, row.size.memoryMiB].map((value) => value.toFixed(0)),
    isOk(row) ? "ok" : "not ok",
    row.summary,
  ]);
  return tableMarkdown(columns, body);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { long: { type: "boolean", default: false }, runs: { type: "string", default: "3" } },
  });
  const runs = countOption("runs", values.runs);
  const sizes = values.long ? SIZES : SIZES.slice(0, 1);
  const place = makePlace();
  const rows: Row[] = [];
  try {
    await record(place, "setup", { argv: ["sh", "-e", "-c", SETUP] });
    const pass = await recordPasses(place, "pass", 1);
    for (const size of sizes) {
      const passes = Math.ceil(size.events / (pass.events * 0.99));
      const row = await measure(place, size, passes, runs);
      rows.push(row);
      process.stderr.write(`${row.events} events: ${row.cpu.toFixed(1)} s of CPU\n`);
    }
  } finally {
    leave(place);
  }
  const text =
    "# Two long recordings compared\n\nMade by `npm run diff:large -- --long`: a run that looks at many files and reads many bytes is recorded twice, and " +
    `the recordings are compared with the default rules, ${runs} times; the median by CPU time counts. CPU time is that of all threads, user and ` +
    `system; allowed are 5 s for a million events and 60 s for ten million, in proportion.\n\n${table(rows)}`;
  process.stdout.write(text);
  if (sizes.length === SIZES.length) writeFileSync(TABLE, text);
  return rows.every(isOk) ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`diff:large: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
