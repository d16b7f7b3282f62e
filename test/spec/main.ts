/**
 * `npm run spec:table -- [options]`: real programs; of each a spec is made of two recordings, and then it is run under that
 * spec, again and again.
 *
 *   --runs N      enforced runs of each; default 10
 *   --only NAME   only this program; may be repeated
 *   --supervise W auto, always or never; default auto
 *   --install     install what is missing, as root by apt; without it such programs are left out
 *   --list        print the names
 *   -v            print what is refused
 *
 * Prints the table, and writes bench/spec.md when all programs were run at least 10 times. Exits with 1 when a run was not
 * what it is without enforcement, or an attempt was not refused.
 */

import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeSection } from "../../bench/section.js";
import { native } from "../../src/native.js";
import { compilePolicy } from "../../src/spec/compile.js";
import { readSpec } from "../../src/spec/file.js";
import { specMetrics } from "../../src/spec/metrics.js";
import { probeAll } from "../../src/spec/probes.js";
import { tokensOf } from "../../src/spec/tokens.js";
import { type Outcome, runProgram } from "../replay/faithful.js";
import { toolchains } from "../replay/scenarios.js";
import { cli as CLI } from "../support/command.js";
import { findProgram } from "../support/tools.js";
import { installPrograms } from "./install.js";
import { PROGRAMS, type RealProgram } from "./programs.js";

const TABLE = fileURLToPath(new URL("../../bench/spec.md", import.meta.url));
const PACKAGES = fileURLToPath(new URL("../../node_modules/", import.meta.url));
const LIMIT_MS = 120_000;
const FULL = 10;

interface Row {
  readonly name: string;
  readonly roles: number;
  readonly grants: number;
  /** Grants if every program had the union. */
  readonly asOne: number;
  readonly how: string;
  readonly same: number;
  readonly runs: number;
  readonly attempts: number;
  readonly denied: number;
  readonly note: string;
}

interface Options {
  readonly runs: number;
  readonly supervise: "auto" | "always" | "never";
  readonly verbose: boolean;
}

class Failed extends Error {}

/** Version managers put scripts in front of python and node: their programs themselves come first. */
function searchPath(): string {
  return ["/usr/bin", "/bin", "/usr/sbin", "/sbin", ...(process.env.PATH ?? "").split(":")].join(
    ":",
  );
}

function environment(base: string): Record<string, string> {
  return {
    PATH: searchPath(),
    HOME: join(base, "home"),
    TMPDIR: join(base, "tmp"),
    LC_ALL: "C.UTF-8",
    TZ: "UTC",
    NODE_PACKAGES: PACKAGES,
    XDG_STATE_HOME: join(base, "state"),
    XDG_CACHE_HOME: join(base, "cache"),
    ...toolchains(),
    GOCACHE: join(tmpdir(), "trace-spec-go"),
    GO111MODULE: "off",
    GOTOOLCHAIN: "local",
  };
}

/** A program laid out in a place of its own, from which copies are run. */
class Laid {
  readonly base = mkdtempSync(join(tmpdir(), "trace-spec-"));
  readonly program: RealProgram;
  readonly env: Record<string, string>;
  #copies = 0;

  constructor(program: RealProgram) {
    this.program = program;
    this.env = environment(this.base);
    for (const name of ["home", "tmp", "template"]) mkdirSync(join(this.base, name));
    for (const [name, text] of Object.entries(program.files ?? {})) {
      writeFileSync(join(this.base, "template", name), text);
    }
    writeFileSync(join(this.base, "template", "run"), `#!/bin/sh\n${program.script}\n`, {
      mode: 0o755,
    });
  }

  async setUp(): Promise<void> {
    const { setup } = this.program;
    if (setup === undefined) return;
    const done = await runProgram(["sh", "-ec", setup], {
      cwd: join(this.base, "template"),
      env: this.env,
      timeoutMs: LIMIT_MS,
    });
    if (done.ended !== "exit 0")
      throw new Failed(`setup ends with ${done.ended}: ${done.stderr.toString().slice(-300)}`);
  }

  /** A fresh copy of the files: each run finds what the first one found. */
  fresh(): string {
    const place = join(this.base, `work${this.#copies++}`);
    cpSync(join(this.base, "template"), place, { recursive: true, preserveTimestamps: true });
    return place;
  }

  async run(words: readonly string[]): Promise<Outcome> {
    const cwd = this.fresh();
    const outcome = await runProgram([...words, "./run"], {
      cwd,
      env: this.env,
      timeoutMs: LIMIT_MS,
    });
    rmSync(cwd, { recursive: true, force: true });
    return outcome;
  }

  trace(...words: string[]): string[] {
    return [CLI, ...words];
  }

  leave(): void {
    rmSync(this.base, { recursive: true, force: true });
  }
}

function isSame(one: Outcome, other: Outcome): boolean {
  return one.ended === other.ended && one.stdout.equals(other.stdout);
}

async function measure(program: RealProgram, options: Options): Promise<Row> {
  const laid = new Laid(program);
  try {
    await laid.setUp();
    const plain = await laid.run([]);
    if (plain.ended !== "exit 0")
      throw new Failed(`ends with ${plain.ended}: ${plain.stderr.toString().slice(-300)}`);
    const traces: string[] = [];
    for (let run = 1; run <= 2; run++) {
      const file = join(laid.base, `${run}.trace`);
      const recorded = await laid.run(laid.trace("record", "-q", "--observe", "-o", file, "--"));
      if (!isSame(plain, recorded))
        throw new Failed(`differs while it is recorded: ${recorded.ended}`);
      traces.push(file);
    }
    const file = join(laid.base, "spec");
    const made = await runProgram(laid.trace("spec", "gen", "-o", file, ...traces), {
      cwd: laid.base,
      env: laid.env,
      timeoutMs: LIMIT_MS,
    });
    if (!existsSync(file)) throw new Failed(`no spec: ${made.stderr}`);
    return await enforce(laid, file, plain, options);
  } finally {
    laid.leave();
  }
}

async function enforce(laid: Laid, file: string, plain: Outcome, options: Options): Promise<Row> {
  let same = 0;
  let note = "";
  for (let run = 0; run < options.runs; run++) {
    const words = laid.trace("spec", "run", `--supervise=${options.supervise}`, file, "--");
    const outcome = await laid.run(words);
    if (isSame(plain, outcome)) same++;
    else if (note === "") note = differenceOf(plain, outcome);
    if (options.verbose) process.stderr.write(outcome.stderr);
  }
  const spec = readSpec(file);
  const cwd = laid.fresh();
  const tokens = tokensOf((name) => laid.env[name], cwd);
  const { policy } = compilePolicy(spec, { tokens, supervise: options.supervise });
  const probes = await probeAll(spec, policy, tokens);
  const metrics = specMetrics(spec, tokens);
  const open = probes.filter(({ denied }) => !denied);
  if (open.length > 0)
    note += ` ${open.map(({ role, what, result }) => `${role} can ${what} (${result})`).join("; ")}`;
  return {
    name: laid.program.name,
    roles: spec.roles.length,
    grants: metrics.grants,
    asOne: metrics.grantsAsOneProfile,
    how: policy.supervised ? "supervised" : "kernel",
    same,
    runs: options.runs,
    attempts: probes.length,
    denied: probes.length - open.length,
    note,
  };
}

function differenceOf(plain: Outcome, outcome: Outcome): string {
  const refusals = outcome.stderr
    .toString()
    .split("\n")
    .filter((line) => line.startsWith("trace: "));
  const ended = plain.ended === outcome.ended ? "other output" : outcome.ended;
  return `${ended}: ${(refusals.slice(0, 3).join(" ") || outcome.stderr.toString()).slice(0, 400)}`;
}

/** What is shown, in numbers. */
function totals(rows: readonly Row[]): string {
  const sum = (of: (row: Row) => number) => rows.reduce((total, row) => total + of(row), 0);
  const several = rows.filter(({ roles }) => roles > 1);
  const smaller = several.filter(({ grants, asOne }) => grants < asOne);
  return `${rows.length} programs: ${sum(({ same }) => same)} of ${sum(({ runs }) => runs)} runs as without enforcement, ${sum(({ denied }) => denied)} of
${sum(({ attempts }) => attempts)} attempts refused. Of ${several.length} programs with several roles ${smaller.length} have fewer grants than as one: ${sum(({ grants }) => grants)} in place of ${sum(({ asOne }) => asOne)}.`;
}

function tableOf(rows: readonly Row[], skipped: readonly string[]): string {
  const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ").trim();
  const percent = (part: number, whole: number) =>
    whole === 0 ? "" : `${Math.round((100 * part) / whole)} %`;
  const lines = rows.map(
    (row) =>
      `| ${cell(row.name)} | ${row.roles} | ${row.grants} | ${row.asOne} | ${percent(row.grants, row.asOne)} | ${row.how} | ${row.same} of ${row.runs} | ${row.denied} of ${row.attempts} | ${cell(row.note)} |`,
  );
  return `Made by \`npm run spec:table\`. Each program is recorded twice, in directories of its own; of both a spec is made; then it is run
under that spec, and has to print and end as it does without. "As one" is the number of grants if every program of the tree
had what any of them has, as in one profile for all. Attempts are made as each role at what it was not granted; all must be
refused.

Linux ${release()}, Landlock ${native().landlockVersion()}.

${totals(rows)}

| program | roles | grants | as one | | enforced by | same as without | attempts refused | note |
|---|--:|--:|--:|--:|---|--:|--:|---|
${lines.join("\n")}
${skipped.map((line) => `\nNot tried: ${line}\n`).join("")}`;
}

function missingOf({ needs }: RealProgram): string[] {
  return needs.filter(
    (need) => findProgram(need) === undefined && !existsSync(`/usr/sbin/${need}`),
  );
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      runs: { type: "string", default: String(FULL) },
      only: { type: "string", multiple: true, default: [] },
      supervise: { type: "string", default: "auto" },
      install: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      verbose: { type: "boolean", short: "v", default: false },
    },
  });
  if (values.list) {
    for (const { name } of PROGRAMS) process.stdout.write(`${name}\n`);
    return 0;
  }
  if (!existsSync(CLI)) throw new Failed(`${CLI} is not there: npm run build`);
  const options: Options = {
    runs: Number(values.runs),
    supervise: values.supervise as Options["supervise"],
    verbose: values.verbose,
  };
  const rows: Row[] = [];
  const skipped: string[] = [];
  for (const program of PROGRAMS) {
    if (values.only.length > 0 && !values.only.includes(program.name)) continue;
    let missing = missingOf(program);
    if (missing.length > 0 && values.install) {
      installPrograms(missing);
      missing = missingOf(program);
    }
    if (missing.length > 0) {
      skipped.push(`${program.name} (${missing.join(", ")} not installed)`);
      continue;
    }
    try {
      const row = await measure(program, options);
      rows.push(row);
      process.stderr.write(
        `${row.name}: ${row.same} of ${row.runs}, ${row.denied} of ${row.attempts} ${row.note}\n`,
      );
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      process.stderr.write(`${program.name}: ${error.message}\n`);
      rows.push({
        name: program.name,
        roles: 0,
        grants: 0,
        asOne: 0,
        how: "",
        same: 0,
        runs: options.runs,
        attempts: 0,
        denied: 0,
        note: error.message,
      });
    }
  }
  const table = tableOf(rows, skipped);
  process.stdout.write(table);
  if (values.only.length === 0 && options.runs >= FULL)
    writeSection(TABLE, "# Specs, enforced", "Real programs", table);
  return rows.every(({ same, runs, attempts, denied }) => same === runs && attempts === denied)
    ? 0
    : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof Failed)) throw error;
  process.stderr.write(`spec:table: ${error.message}\n`);
  process.exitCode = 2;
}
