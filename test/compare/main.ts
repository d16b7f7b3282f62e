/**
 * `npm run compare -- [fixtures|programs] [names...]`: how far `trace` agrees with `strace`.
 *
 *   fixtures   `trace show --format=strace` against `strace -f -ttt -T -y`, line by line
 *   programs   the calls of real programs and their results, process by process
 *   --reference ptrace   compare with `trace record --observe` of the ptrace backend instead of strace
 *   --self     strace against strace, which shows what the comparison itself is worth
 *   --min N    exit 0 from N agreeing programs on; default: all
 *   --record OPTION   hand this option to `trace record`; may be repeated
 *   --cli FILE the `trace` to compare; default: dist/trace
 *   -v         also print the differing lines
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BuildError, buildFixtures } from "../support/fixtures.js";
import { compareFixture } from "./fixtures.js";
import { availableCommands, compareProgram } from "./programs.js";
import { HarnessError, strace, type Tracer, traceWith } from "./tracer.js";

interface Options {
  readonly names: readonly string[];
  readonly verbose: boolean;
  readonly min: number | undefined;
  readonly tracers: readonly [Tracer, Tracer];
  readonly base: string;
}

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..", "..");
const print = (line: string): void => void process.stdout.write(`${line}\n`);

function wanted<T>(all: readonly T[], nameOf: (item: T) => string, names: readonly string[]): T[] {
  const unknown = names.filter((name) => !all.some((item) => nameOf(item) === name));
  if (unknown.length > 0) throw new HarnessError(`no such program: ${unknown.join(", ")}`);
  return all.filter((item) => names.length === 0 || names.includes(nameOf(item)));
}

/** Runs one comparison; a program that cannot be compared counts as one that does not agree. */
function attempt<T>(name: string, compare: () => T): T | undefined {
  try {
    return compare();
  } catch (error) {
    if (!(error instanceof HarnessError)) throw error;
    print(`${name}: FAILED: ${error.message.trim()}`);
    return undefined;
  }
}

function fixtures(options: Options): boolean {
  const { dir, names, skipped } = buildFixtures("programs");
  for (const line of skipped) print(line);
  const chosen = wanted(names, (name) => name, options.names);
  let agreeing = 0;
  let lines = 0;
  let differing = 0;
  let explained = 0;
  for (const name of chosen) {
    const report = attempt(name, () =>
      compareFixture(name, join(dir, name), options.base, options.tracers),
    );
    if (report === undefined) continue;
    lines += report.lines;
    differing += Math.min(report.differing, report.lines);
    if (report.differing === 0) agreeing++;
    const verdict =
      report.differing === 0 ? "ok" : `${report.differing} of ${report.lines} lines differ`;
    const newer = [...report.explained].map(([id, count]) => `${id} ${count}`);
    explained += [...report.explained.values()].reduce((sum, count) => sum + count, 0);
    print(`${name}: ${verdict}${newer.length === 0 ? "" : ` (explained: ${newer.join(", ")})`}`);
    if (options.verbose) for (const line of report.diff) print(`  ${line}`);
  }
  print(
    `fixtures: ${agreeing} of ${chosen.length} programs agree line by line ` +
      `(${lines - differing} of ${lines} lines; explained: ${explained})`,
  );
  return agreeing >= (options.min ?? chosen.length);
}

function programs(options: Options): boolean {
  const { present, skipped } = availableCommands();
  for (const line of skipped) print(line);
  const chosen = wanted(present, (command) => command.name, options.names);
  let agreeing = 0;
  let explained = 0;
  let unexplained = 0;
  for (const command of chosen) {
    const report = attempt(command.name, () =>
      compareProgram(command, options.base, options.tracers),
    );
    if (report === undefined) continue;
    const byRule = [...report.explained].map(([id, count]) => `${id} ${count}`);
    explained += [...report.explained.values()].reduce((sum, count) => sum + count, 0);
    unexplained += report.unexplained;
    if (report.unexplained === 0) agreeing++;
    const notes = byRule.length === 0 ? "" : `, explained: ${byRule.join(", ")}`;
    const verdict = report.unexplained === 0 ? "ok" : `${report.unexplained} calls differ`;
    print(
      `${command.name}: ${verdict} (${report.calls} calls, ${report.processes} processes${notes})`,
    );
    if (options.verbose) for (const line of report.diff) print(`  ${line}`);
  }
  print(
    `programs: ${agreeing} of ${chosen.length} agree ` +
      `(explained: ${explained}, unexplained: ${unexplained})`,
  );
  return agreeing >= (options.min ?? chosen.length);
}

function main(): boolean {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      reference: { type: "string", default: "strace" },
      self: { type: "boolean", default: false },
      verbose: { type: "boolean", short: "v", default: false },
      min: { type: "string" },
      cli: { type: "string", default: join(ROOT, "dist", "trace") },
      record: { type: "string", multiple: true, default: [] },
    },
  });
  const [mode, ...names] = positionals;
  const min = values.min === undefined ? undefined : Number(values.min);
  if (Number.isNaN(min)) throw new HarnessError(`--min takes a number, not ${values.min}`);
  const second = values.self ? strace : traceWith(resolve(values.cli), values.record);
  if (!["strace", "ptrace"].includes(values.reference)) {
    throw new HarnessError(`--reference is strace or ptrace, not ${values.reference}`);
  }
  const first =
    values.reference === "strace" ? strace : traceWith(resolve(values.cli), ["--observe"]);
  const base = mkdtempSync(join(tmpdir(), "trace-compare-"));
  try {
    const options: Options = {
      names,
      verbose: values.verbose,
      min,
      tracers: [first, second],
      base,
    };
    if (mode === "fixtures") return fixtures(options);
    if (mode === "programs") return programs(options);
    if (mode !== undefined) throw new HarnessError(`no such mode: ${mode}; fixtures or programs`);
    const lines = fixtures(options);
    return programs(options) && lines;
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}

try {
  process.exitCode = main() ? 0 : 1;
} catch (error) {
  if (!(error instanceof HarnessError || error instanceof BuildError)) throw error;
  process.stderr.write(`compare: ${error.message}\n`);
  process.exitCode = 2;
}
