/** Stacks of a recorded program: taken in replay, written into the trace, and read from it. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { folder, record } from "../record/support.js";
import { runCommand } from "../support/run.js";
import { lacking } from "../support/tools.js";

const source = fileURLToPath(new URL("./programs/calls.c", import.meta.url));
const canReplay = !lacking("gcc");
let file = "";
let dir = "";

/** The frames below each line of an event, without numbers and addresses. */
function framesOf(text: string): string[][] {
  const stacks: string[][] = [];
  for (const line of text.split("\n")) {
    const frame = /^ +#\d+ +(.*)$/.exec(line)?.[1];
    if (frame === undefined) stacks.push([]);
    else stacks.at(-1)?.push(frame.replace(/\+0x\w+/, "").replace(/ at \S*\//, " at "));
  }
  return stacks.filter((stack) => stack.length > 0);
}

/** The number of the first line of the program that has this in it. */
function numberOf(code: string): number {
  const number = readFileSync(source, "utf8")
    .split("\n")
    .findIndex((line) => line.includes(code));
  if (number < 0) throw new Error(`no ${code} in ${source}`);
  return number + 1;
}

const line = (code: string) => `calls.c:${numberOf(code)}`;

beforeAll(async () => {
  if (!canReplay) return;
  dir = folder();
  const program = join(dir, "calls");
  execFileSync("gcc", ["-O1", "-g", "-o", program, source]);
  const recorded = await record([program]);
  file = recorded.file;
  process.env.XDG_CACHE_HOME = join(file, "..", "cache");
});

describe.skipIf(!canReplay)("trace show --stacks", () => {
  it("shows functions, lines and what is inlined", async () => {
    const { stdout } = await runCommand(["show", "--stacks", file, "name = write"]);
    const [deep = []] = framesOf(stdout);
    const own = deep.filter((frame) => frame.includes("calls.c"));
    const again = `recursive at ${line("recursive(depth - 1)")}`;
    expect(own).toEqual([
      `emit at ${line("write(1, text")} (inlined)`,
      `twice at ${line("emit(text)")} (inlined)`,
      `recursive at ${line('twice("deep')}`,
      again,
      again,
      again,
      `main at ${line("recursive(3)")}`,
    ]);
  });

  it("goes through the frame of a signal", async () => {
    const { stdout } = await runCommand(["show", "--stacks", file, "name = write"]);
    const handled = framesOf(stdout).find((stack) =>
      stack.some((frame) => frame.startsWith("handler")),
    );
    expect(handled).toBeDefined();
    expect(handled).toContain("<signal handler called>");
    expect(handled?.some((frame) => frame === `main at ${line("raise(SIGUSR1)")}`)).toBe(true);
  });

  it("shows them as strace -k does, and in JSON", async () => {
    const strace = await runCommand(["show", "-k", "--format=strace", file, "name = getppid"]);
    expect(strace.stdout).toMatch(/^ > \S+\/calls\(recursive\+0x\w+\) \[0x\w+\]$/m);
    const json = await runCommand(["show", "-k", "--format=jsonl", file, "name = getppid"]);
    const events = json.stdout
      .trim()
      .split("\n")
      .slice(1)
      .map((line) => JSON.parse(line));
    const frames = events[0].stack.frames as { function: string; line: number }[];
    expect(frames.find((frame) => frame.function === "recursive")?.line).toBe(
      numberOf("recursive(depth - 1)") + 1,
    );
  });
});

describe.skipIf(!canReplay)("trace enrich --stacks", () => {
  it("writes stacks that are shown without a replay, as they were", async () => {
    const rich = join(dir, "rich.trace");
    const { status, stderr } = await runCommand(["enrich", "--stacks", file, "-o", rich]);
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/^trace: added \d+ stacks of \d+ places in /);
    const taken = await runCommand(["show", "--stacks", file]);
    // Without the program and its files nothing can be replayed.
    const cache = process.env.XDG_CACHE_HOME;
    process.env.XDG_CACHE_HOME = join(dir, "empty");
    const read = await runCommand(["show", "--stacks", rich]);
    process.env.XDG_CACHE_HOME = cache;
    expect(read.stdout).toBe(taken.stdout);
    const plain = await runCommand(["show", rich]);
    expect(plain.stdout).toBe((await runCommand(["show", file])).stdout);
  });

  it("says what it can add", async () => {
    await expect(runCommand(["enrich", file])).rejects.toThrow("nothing to add");
  });
});
