/** Stacks of threads that were copied while they were recorded, and those that a replay takes at the same calls. */

import { execFileSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { replay } from "../../src/replay.js";
import { keptStacks } from "../../src/stacks/kept.js";
import { type Stack, StackTable } from "../../src/stacks/table.js";
import { openTrace } from "../../src/trace/open.js";
import { folder, record } from "../record/support.js";
import { runCommand } from "../support/run.js";
import { lacking } from "../support/tools.js";
import { pythons } from "./pythons.js";

const own = (name: string) => fileURLToPath(new URL(`./programs/${name}`, import.meta.url));
const canBuild = !lacking("gcc");
const everything = { from: 0, to: Number.MAX_SAFE_INTEGER };
let dir = "";

function build(name: string, ...flags: string[]): string {
  const program = join(dir, `${name.replace(/\..*/, "")}${flags.join("").replaceAll(/\W/g, "")}`);
  execFileSync("gcc", ["-O1", "-g", "-pthread", "-o", program, own(name), ...flags]);
  return program;
}

async function recorded(words: readonly string[], options: readonly string[]): Promise<string> {
  const { file } = await record([...words], { cwd: dir, options: [...options] });
  process.env.XDG_CACHE_HOME = join(file, "..", "cache");
  return file;
}

async function copiedOf(file: string): Promise<StackTable> {
  const trace = await openTrace(file);
  const copied = await trace.copiedStacks({ ...everything, write: false, force: false });
  trace.close();
  if (copied?.stacks === undefined) throw new Error("no stacks were copied");
  expect(copied.gone).toEqual([]);
  return new StackTable(copied.stacks);
}

/** Copied and replayed stacks of all events that were copied. */
async function bothOf(file: string): Promise<{ seq: number; copied: Stack; replayed: Stack }[]> {
  const copied = await copiedOf(file);
  const trace = await openTrace(file);
  const { stacks } = await replay(trace, { stacks: everything });
  trace.close();
  return [...copied.columns.seqs].map((seq) => ({
    seq,
    copied: copied.of(seq) as Stack,
    replayed: stacks?.of(seq) as Stack,
  }));
}

/** What does not depend on where things were loaded. */
function named(stack: Stack | undefined): string[] {
  return (stack?.frames ?? []).map(
    ({ function: name, source, image }) => `${name} ${source?.file}:${source?.line} ${image?.path}`,
  );
}

beforeAll(() => {
  dir = folder();
});

describe.skipIf(!canBuild)("trace record --stacks", () => {
  it.each([
    ["calls.c"],
    ["calls.c", "-static"],
    ["calls.c", "-fomit-frame-pointer", "-O2", "-no-pie"],
    ["threads.c"],
  ])("copies what a replay shows: %s %s", async (name, ...flags) => {
    const program = build(name, ...flags);
    const both = await bothOf(await recorded([program], ["--stacks"]));
    expect(both.length).toBeGreaterThan(20);
    for (const { seq, copied, replayed } of both) {
      expect({ seq, ...copied }).toEqual({ seq, ...replayed });
    }
  });

  it("copies at the calls that are named, and at no others", async () => {
    const file = await recorded([build("calls.c")], ["--stacks=getppid,%process"]);
    const { stdout } = await runCommand(["show", file, "name = getppid or %process"]);
    const shown = [...stdout.matchAll(/^@(\d+)/gm)].map((match) => Number(match[1]));
    const copied = [...(await copiedOf(file)).columns.seqs];
    expect(copied.length).toBeGreaterThan(1);
    expect(shown).toEqual(expect.arrayContaining(copied));
  });

  it.each(["ptrace", "agent", "eager-agent"])("needs no replay: --observe, %s", async (backend) => {
    const program = build("calls.c");
    const stacks = async (options: string[]) => {
      const file = await recorded([program], [...options, "--stacks=write,getppid"]);
      const all = await copiedOf(file);
      return [...all.columns.seqs].map((seq) => named(all.of(seq)));
    };
    const free = await stacks(["--observe", `--backend=${backend}`]);
    expect(free).toEqual(await stacks([]));
    expect(free.flat().some((frame) => /^recursive .*calls\.c:\d+ /.test(frame))).toBe(true);
  });

  it("shows them of a trace that cannot be replayed, and says which file is gone", async () => {
    const file = await recorded([build("calls.c")], ["--observe", "--stacks=write"]);
    const { stdout, stderr } = await runCommand(["show", "--stacks", file, "name = write"]);
    expect(stdout).toMatch(/#\d+ +recursive\+0x\w+ at \S*calls\.c:\d+\n/);
    expect(stderr).toBe("");
    const rich = join(dir, "rich.trace");
    await runCommand(["enrich", "--stacks", "-q", "--force", file, "-o", rich]);
    const cache = join(file, "..", "cache");
    for (const name of readdirSync(cache)) rmSync(join(cache, name), { recursive: true });
    expect((await runCommand(["show", "--stacks", rich, "name = write"])).stdout).toBe(stdout);
    const gone = await runCommand(["show", "--stacks", file, "name = write"]);
    expect(gone.stderr).toMatch(/calls is not at hand any more: its functions have no names/);
  });

  it("has them beside those that were put into the trace", async () => {
    const file = await recorded([build("calls.c")], ["--observe", "--stacks=write,getppid"]);
    const rich = join(dir, "partly.trace");
    await runCommand(["enrich", "--stacks", "-q", "--force", file, "name = getppid", "-o", rich]);
    const rows = async (...words: string[]) => (await runCommand(["query", ...words])).stdout;
    const words = ["-t", "stack", "--format=jsonl"];
    const all = await rows(file, ...words);
    expect(all).toMatch(/"write".*\n(.*\n)*.*"getppid"|"getppid".*\n(.*\n)*.*"write"/);
    expect(await rows(rich, ...words)).toBe(all);
    const shown = await runCommand(["show", "--stacks", rich, "name in (write, getppid)"]);
    const plain = await runCommand(["show", "--stacks", file, "name in (write, getppid)"]);
    expect(shown.stdout).toBe(plain.stdout);
    const trace = await openTrace(rich);
    const made = vi.spyOn(trace, "copiedStacks");
    const [one, other] = [await keptStacks(trace), await keptStacks(trace)];
    trace.close();
    expect(one).toBe(other);
    expect(made).toHaveBeenCalledTimes(1);
  });

  it("says how to get stacks of a trace that has none", async () => {
    const file = await recorded(["true"], ["--observe"]);
    await expect(runCommand(["show", "--stacks", file])).rejects.toMatchObject({
      message: "stacks are taken in a replay, which --observe leaves out",
      cause: { hint: expect.stringContaining("trace record --observe --stacks=") },
    });
  });

  it("takes no more of a stack than it is told", async () => {
    const file = await recorded(
      [build("calls.c")],
      ["--observe", "--stacks=write", "--stack-bytes=256"],
    );
    const { stdout } = await runCommand(["show", "--stacks", file, "name = write"]);
    expect(stdout).toContain(
      "... the next frame is beyond what was copied of the stack; trace record --stack-bytes=",
    );
  });
});

describe.skipIf(pythons().length === 0)("trace record --stacks of Python", () => {
  it.each(pythons())(
    "copies its frames: $version",
    async ({ program }) => {
      const out = join(folder(), "out");
      const file = await recorded([program, own("frames.py"), out], ["--stacks=write"]);
      const both = await bothOf(file);
      expect(
        both.filter(({ copied }) => copied.frames.some((frame) => frame.interpreted)).length,
      ).toBeGreaterThan(70);
      for (const { seq, copied, replayed } of both) {
        if (copied.cut === undefined) expect({ seq, ...copied }).toEqual({ seq, ...replayed });
        // Of deep stacks only the end was copied, and how far the last frame reaches is not known.
        const end = copied.frames.findLastIndex((frame) => frame.interpreted) + 1;
        expect(copied.frames.slice(0, end)).toEqual(replayed.frames.slice(0, end));
      }
    },
    120_000,
  );
});

describe("trace record --observe --stacks of node", () => {
  it("names functions by the map that it writes", async () => {
    const out = join(folder(), "out");
    const flags = ["--perf-basic-prof", "--interpreted-frames-native-stack"];
    const words = [process.execPath, ...flags, own("compiled.cjs"), out];
    const file = await recorded(words, ["--observe", "--stacks=write"]);
    const { stdout } = await runCommand([
      "show",
      "--stacks",
      file,
      "name = write and fd.path endswith /out",
    ]);
    expect(stdout).toMatch(
      /JS:\W?area \S*compiled\.cjs:\d+:\d+ \(by frame pointer, compiled at run time\)/,
    );
  }, 120_000);
});
