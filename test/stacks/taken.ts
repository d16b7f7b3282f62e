/** The stacks of all calls of a program: as gdb shows them, and as a replay of a recording takes them. */

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { syscallName } from "../../src/decode/context.js";
import type { StackFrame } from "../../src/stacks/table.js";
import { takeStacks } from "../../src/stacks/take.js";
import { EventFlag, EventKind } from "../../src/trace/batch.js";
import { openTrace } from "../../src/trace/open.js";
import { cli } from "../support/command.js";
import type { Build } from "./builds.js";
import type { Call, Frame, OwnFrame } from "./frames.js";

const script = fileURLToPath(new URL("./gdb.py", import.meta.url));
const MOST_SECONDS = 120;
const MOST_SAID = 400;

/** Runs a command; one that fails, or takes too long, is an error that has the end of what it said. */
function run(command: string, words: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, {
      env,
      stdio: ["ignore", "ignore", "pipe"],
      timeout: MOST_SECONDS * 1000,
    });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-MOST_SAID);
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${basename(command)} ended with ${signal ?? code}: ${said.trim()}`));
    });
  });
}

/** Lists by thread, in the order in which the threads came to be. */
function byThread<F extends Frame>(rows: readonly (readonly [number, Call<F>])[]): Call<F>[][] {
  const threads = new Map<number, Call<F>[]>();
  for (const [thread, call] of rows) {
    const calls = threads.get(thread);
    if (calls === undefined) threads.set(thread, [call]);
    else calls.push(call);
  }
  return [...threads].sort(([one], [other]) => one - other).map(([, calls]) => calls);
}

export async function gdbStacks(build: Build, folder: string): Promise<Call<Frame>[][]> {
  const out = join(folder, "gdb.json");
  const [program = "", ...rest] = build.argv;
  const env = {
    ...process.env,
    ...build.env,
    STACKS_OUT: out,
    STACKS_ARGS: JSON.stringify(rest),
  };
  const all = build.child === undefined ? env : { ...env, STACKS_CHILD: build.child };
  await run("gdb", ["-q", "-nx", "-batch", "-x", script, program], all);
  const rows: [number, Call<Frame>][] = [];
  for (const line of readFileSync(out, "utf8").split("\n")) {
    if (line === "") continue;
    const row = JSON.parse(line) as { thread: number; failure?: string } & Call<Frame>;
    if (row.failure !== undefined) throw new Error(`gdb: ${row.failure}`);
    rows.push([row.thread, row]);
  }
  return byThread(rows);
}

function ownFrame(frame: StackFrame, k: number): OwnFrame {
  const isExact = k === 0 || frame.interrupted || frame.trampoline;
  return {
    function: frame.function ?? null,
    file: frame.source?.file ?? null,
    line: frame.source?.line ?? 0,
    kind: frame.trampoline ? "trampoline" : frame.inlined ? "inlined" : "plain",
    image: frame.image?.path,
    lookup: isExact ? frame.address : frame.address - 1n,
    isGuess: frame.guessed,
  };
}

/** What is inlined at the place where a thread stands has the same address. */
function ownFrames(frames: readonly StackFrame[]): OwnFrame[] {
  const inner = frames.findIndex((frame) => !frame.inlined);
  return frames.map((frame, k) => ownFrame(frame, k <= inner ? 0 : k));
}

export async function replayedStacks(build: Build, folder: string): Promise<Call<OwnFrame>[][]> {
  const file = join(folder, "run.trace");
  const words = ["record", "-q", "--force", "-o", file, "--", ...build.argv];
  await run(cli, words, { ...process.env, ...build.env, XDG_STATE_HOME: folder });
  const trace = await openTrace(file);
  try {
    const process = build.child === undefined ? 1 : 2;
    const calls = new Map<number, readonly [thread: number, arch: number, number: number]>();
    const parts = EventFlag.Interrupted;
    const { stacks } = await takeStacks(trace, {
      read: { columns: ["base"] },
      keep: (batch, i) => {
        const thread = batch.thread[i] ?? 0;
        const isWanted =
          batch.kind[i] === EventKind.Call &&
          ((batch.flags[i] ?? 0) & parts) === 0 &&
          trace.threads[thread]?.process === process;
        if (isWanted)
          calls.set(batch.firstSeq + i, [thread, batch.arch[i] ?? 0, batch.code[i] ?? -1]);
        return isWanted;
      },
    });
    const rows = [...calls].map(([seq, [thread, arch, number]]) => {
      const stack = stacks.of(seq);
      const frames = ownFrames(stack?.frames ?? []);
      return [
        thread,
        { number, name: syscallName(arch, number), frames, cut: stack?.cut },
      ] as const;
    });
    return byThread(rows);
  } finally {
    trace.close();
  }
}
