/**
 * `npm run diff:large -- [options]`: what it costs to compare two long recordings.
 *
 *   --long        also two of 10 million events; recording them takes minutes and 200 MB of the temporary folder
 *   --runs N      comparisons of each pair, of which the median counts; default 3
 *
 * Prints the table, and writes bench/diff-large.md when both lengths were measured. Exits with 1 when a pair takes more than it
 * may. CPU time is that of all threads of the command, user and system.
 */

import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { tableMarkdown } from "../../src/report/table.js";
import { openTrace } from "../../src/trace/open.js";
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

/**
 * Programs that look at many files and read many bytes, one pass after the other. What one pass does depends on what is installed.
 */
const PASSES = `n=0
while [ $n -lt "$1" ]; do
  grep -rc include /usr/include >/dev/null
  find /usr/lib /usr/share -size +100k >/dev/null
  find /usr/lib/python3 /usr/share/perl* -newer /etc/passwd >/dev/null
  tar cf - /usr/include 2>/dev/null | cat >/dev/null
  python3 -m compileall -q -f -o 0 "$HOME/python" >/dev/null
  n=$((n+1))
done`;
const SETUP = 'mkdir "$HOME/python" && cp /usr/lib/python3*/[a-m]*.py "$HOME/python"';
const LIMIT_MS = 900_000;

/** What a run of the command took. */
interface Usage {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly memoryMiB: number;
  readonly summary: string;
}

interface Row extends Usage {
  readonly size: Size;
  readonly events: number;
  readonly megabytes: number;
}

async function recordPasses(place: Place, name: string, passes: number): Promise<string> {
  const argv = ["sh", "-c", PASSES, "passes", String(passes)];
  return record(place, name, { argv, limit: LIMIT_MS });
}

async function sizeOf(path: string): Promise<{ events: number; megabytes: number }> {
  const trace = await openTrace(path);
  const { eventCount: events, info } = trace;
  trace.close();
  return { events, megabytes: info.bytes.total / 1e6 };
}

/** Tells what the process has used when it ends. */
const HOOK = `process.on("exit", () => {
  require("node:fs").writeFileSync(process.env.USAGE, JSON.stringify(process.resourceUsage()));
});`;

async function compare(place: Place, a: string, b: string): Promise<Usage> {
  const [hook, file] = [join(place.base, "hook.cjs"), join(place.base, "usage.json")];
  writeFileSync(hook, HOOK);
  const begin = performance.now();
  const env = { ...place.env, NODE_OPTIONS: `--require=${hook}`, USAGE: file };
  const child = spawn(CLI, ["diff", a, b], { env, stdio: ["ignore", "pipe", "inherit"] });
  const said: Buffer[] = [];
  child.stdout.on("data", (part: Buffer) => said.push(part));
  const code = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  const wallSeconds = (performance.now() - begin) / 1000;
  if (code !== 0 && code !== 1) throw new Error(`trace diff ended with ${String(code)}`);
  const used = JSON.parse(readFileSync(file, "utf8")) as NodeJS.ResourceUsage;
  const cpuSeconds = (used.userCPUTime + used.systemCPUTime) / 1e6;
  const [summary = ""] = Buffer.concat(said).toString().split("\n");
  return { cpuSeconds, wallSeconds, memoryMiB: used.maxRSS / 1024, summary };
}

/** Of several runs the one in the middle by CPU time. */
async function middle(runs: number, once: () => Promise<Usage>): Promise<Usage> {
  const all: Usage[] = [];
  for (let run = 0; run < runs; run++) all.push(await once());
  all.sort((x, y) => x.cpuSeconds - y.cpuSeconds);
  return all[Math.floor(all.length / 2)] ?? once();
}

async function measure(place: Place, size: Size, passes: number, runs: number): Promise<Row> {
  const a = await recordPasses(place, "a", passes);
  const b = await recordPasses(place, "b", passes);
  const [one, other] = [await sizeOf(a), await sizeOf(b)];
  const usage = await middle(runs, () => compare(place, a, b));
  // What is allowed is allowed for so many events in each.
  const events = Math.min(one.events, other.events);
  return { ...usage, size, events, megabytes: one.megabytes };
}

/** CPU seconds that a pair may take, in proportion to its events. */
function allowed({ size, events }: Row): number {
  return (size.cpuSeconds * events) / size.events;
}

function isOk(row: Row): boolean {
  const { size, events, cpuSeconds, memoryMiB } = row;
  return events >= size.events && cpuSeconds <= allowed(row) && memoryMiB <= size.memoryMiB;
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
    ...[row.cpuSeconds, allowed(row), row.wallSeconds].map((value) => value.toFixed(1)),
    ...[row.memoryMiB, row.size.memoryMiB].map((value) => value.toFixed(0)),
    isOk(row) ? "ok" : "not ok",
    row.summary,
  ]);
  return tableMarkdown(columns, body);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { long: { type: "boolean", default: false }, runs: { type: "string", default: "3" } },
  });
  const runs = Number(values.runs);
  const sizes = values.long ? SIZES : SIZES.slice(0, 1);
  const place = makePlace();
  const rows: Row[] = [];
  try {
    await record(place, "setup", { argv: ["sh", "-e", "-c", SETUP] });
    const pass = await sizeOf(await recordPasses(place, "pass", 1));
    for (const size of sizes) {
      const passes = Math.ceil(size.events / (pass.events * 0.99));
      const row = await measure(place, size, passes, runs);
      rows.push(row);
      process.stderr.write(`${row.events} events: ${row.cpuSeconds.toFixed(1)} s of CPU\n`);
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

process.exitCode = await main();
