/**
 * `npm run compare:stacks`: records programs that were built in many ways, and compares the frames of their calls, which a replay
 * takes, with what gdb shows at the same calls of a run of its own: function, file, line, what is inlined. Ends with 1 when fewer
 * than `--min=N` programs are the same.
 */

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { syscallName } from "../../src/decode/context.js";
import type { StackFrame } from "../../src/stacks/table.js";
import { takeStacks } from "../../src/stacks/take.js";
import { EventKind } from "../../src/trace/batch.js";
import { openTrace } from "../../src/trace/open.js";
import { cli } from "../support/command.js";
import { builds } from "./builds.js";

const script = fileURLToPath(new URL("./gdb.py", import.meta.url));
const CALLS = ["write", "getppid"];

interface Frame {
  readonly function: string | null;
  readonly file: string | null;
  readonly line: number;
  readonly inlined: boolean;
  readonly trampoline: boolean;
}

/** Without parameters, type arguments and suffixes of clones, which gdb and demanglers write differently. */
function plainName(name: string): string {
  let plain = name.replace(/ \[clone .*$/, "").replace(/@@?[\w.]+$/, "");
  for (let before = ""; before !== plain; ) {
    before = plain;
    plain = plain.replace(/::<[^<>]*>|<[^<>]*>/g, "").replace(/\([^()]*\)( const)?/g, "");
  }
  return plain
    .replace(/^(?:\w+ )+(?=\w+(::|$))/, "")
    .replace(/\.(?:constprop|isra|part|cold)\.?\d*/g, "")
    .trim();
}

function ours(frame: StackFrame): Frame {
  return {
    function: frame.function ?? null,
    file: frame.source?.file ?? null,
    line: frame.source?.line ?? 0,
    inlined: frame.inlined,
    trampoline: frame.trampoline,
  };
}

function text(frame: Frame | undefined): string {
  if (frame === undefined) return "nothing";
  if (frame.trampoline) return "<signal handler called>";
  const where = frame.file === null ? "" : ` ${basename(frame.file)}:${frame.line}`;
  return `${plainName(frame.function ?? "?")}${where}${frame.inlined ? " inlined" : ""}`;
}

function gdbStacks(program: readonly string[], folder: string): Frame[][] {
  const out = join(folder, "gdb.json");
  const env = { ...process.env, STACKS_OUT: out, STACKS_CALLS: CALLS.join(" ") };
  const words = ["-q", "-nx", "-batch", "-x", script, "--args", ...program];
  spawnSync("gdb", words, { env, encoding: "utf8", input: "", timeout: 120_000 });
  const lines = readFileSync(out, "utf8")
    .split("\n")
    .filter((line) => line !== "");
  return lines.map((line) => (JSON.parse(line) as { frames: Frame[] }).frames);
}

async function replayedStacks(program: readonly string[], folder: string): Promise<Frame[][]> {
  const file = join(folder, "run.trace");
  const words = ["record", "-q", "--force", "-o", file, "--", ...program];
  const env = { ...process.env, XDG_STATE_HOME: folder };
  spawnSync(cli, words, { env, stdio: "ignore", timeout: 120_000 });
  const trace = await openTrace(file);
  const wanted = new Set(CALLS);
  const { stacks } = await takeStacks(trace, {
    read: { columns: ["base"] },
    keep: (batch, i) =>
      batch.kind[i] === EventKind.Call &&
      wanted.has(syscallName(batch.arch[i] ?? 0, batch.code[i] ?? -1)),
  });
  trace.close();
  return [...stacks.columns.seqs].map((seq) => (stacks.of(seq)?.frames ?? []).map(ours));
}

interface Score {
  readonly same: number;
  readonly all: number;
  readonly differences: readonly string[];
}

function compare(theirs: readonly Frame[][], own: readonly Frame[][]): Score {
  let same = 0;
  let all = 0;
  const differences: string[] = [];
  if (theirs.length !== own.length)
    differences.push(`${theirs.length} calls in gdb, ${own.length} in the trace`);
  for (let call = 0; call < Math.min(theirs.length, own.length); call++) {
    const [one = [], other = []] = [theirs[call], own[call]];
    for (let k = 0; k < Math.max(one.length, other.length); k++) {
      all += 1;
      const [expected, actual] = [text(one[k]), text(other[k])];
      if (expected === actual) same += 1;
      else differences.push(`call ${call} frame ${k}: gdb ${expected}, trace ${actual}`);
    }
  }
  return { same, all, differences };
}

async function main(): Promise<number> {
  const least = Number(/--min=(\d+)/.exec(process.argv.join(" "))?.[1] ?? 0);
  const only = process.argv.slice(2).filter((word) => !word.startsWith("--"));
  const folder = mkdtempSync(join(tmpdir(), "trace-stacks-"));
  let [good, total, frames, equal] = [0, 0, 0, 0];
  try {
    for (const { name, argv } of builds(folder)) {
      if (only.length > 0 && !only.includes(name)) continue;
      total += 1;
      let score: Score;
      try {
        score = compare(gdbStacks(argv, folder), await replayedStacks(argv, folder));
      } catch (error) {
        score = { same: 0, all: 0, differences: [String(error)] };
      }
      frames += score.all;
      equal += score.same;
      const isSame = score.differences.length === 0 && score.all > 0;
      if (isSame) good += 1;
      process.stdout.write(
        `${isSame ? "same" : "DIFF"} ${name}: ${score.same} of ${score.all} frames\n`,
      );
      for (const line of score.differences.slice(0, 4)) process.stdout.write(`    ${line}\n`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  process.stdout.write(
    `stacks: ${good} of ${total} programs, ${equal} of ${frames} frames as gdb says\n`,
  );
  return good < least ? 1 : 0;
}

process.exitCode = await main();
