/** Replay through the agent finds what replay by stops finds, and answers calls without a stop. */

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { REPLAY_BACKENDS, type ReplayBackend } from "../../src/backends.js";
import { type ReplayOptions, type ReplayResult, replay } from "../../src/replay.js";
import { compile, folder, record } from "../record/support.js";
import { changes } from "./changes.js";
import { assemble, partsOf, type TextEvent } from "./support.js";

interface Replayed {
  readonly result: ReplayResult;
  /** What was written, piece by piece: the stream and the text. */
  readonly output: readonly [number, string][];
}

async function through(
  backend: ReplayBackend,
  file: string,
  options: ReplayOptions = {},
): Promise<Replayed> {
  process.env.XDG_CACHE_HOME = join(dirname(file), "cache");
  const output: [number, string][] = [];
  const onOutput = (stream: 1 | 2, bytes: Uint8Array) =>
    void output.push([stream, Buffer.from(bytes).toString("latin1")]);
  const result = await replay(file, { onOutput, ...options, backend });
  return { result, output };
}

/** What has to be the same whichever way calls are answered; mappings name files in memory that are new each time. */
function verdict({ result, output }: Replayed): object {
  const { durationNs, answered, repeated, desyncs, stacks, addedStacks, ...rest } = result;
  const text = output.map(([stream, piece]) => `${stream}${piece}`).join("\n");
  return { ...rest, desyncs: desyncs.map(({ maps, ...desync }) => desync), text };
}

const programs: Readonly<Record<string, readonly string[]>> = {
  "a loop of calls": ["sh", "-c", "i=0; while [ $i -lt 300 ]; do echo $i; i=$((i+1)); done"],
  "reads and writes of files": ["grep", "-r", "-c", "define", "/usr/include/linux"],
  "a program that forks": [
    "sh",
    "-c",
    "for i in 1 2 3 4 5; do (echo $i; exit $i) | cat; done; wait",
  ],
  "signals and children": [
    "sh",
    "-c",
    "trap 'echo caught' USR1; for i in 1 2 3; do kill -USR1 $$; (echo in; exit 3); echo $?; done",
  ],
  "errors to the other stream": [
    "sh",
    "-c",
    "for i in 1 2 3 4; do echo $i; echo e$i >&2; done; exit 7",
  ],
};

describe.each(Object.entries(programs))("%s", (_, argv) => {
  it.each(["ptrace", "eager-agent"])(
    "recorded through %s is replayed alike, whole and in part",
    async (recorder) => {
      const { file, stdout } = await record(argv, { options: [`--backend=${recorder}`] });
      const reference = await through("ptrace", file);
      expect(
        reference.output
          .filter(([stream]) => stream === 1)
          .map(([, text]) => text)
          .join(""),
      ).toBe(stdout);
      expect(reference.result).toMatchObject({ faithful: true, answered: 0, repeated: false });
      for (const backend of REPLAY_BACKENDS) {
        const replayed = await through(backend, file);
        expect(verdict(replayed)).toEqual(verdict(reference));
        expect(replayed.result.repeated).toBe(false);
        const jobs = await through(backend, file, { jobs: 2 });
        expect(verdict(jobs)).toEqual(verdict(reference));
      }
      const { events } = reference.result;
      for (const until of [0, 1, 2, 3, 5, 8].map((part) => Math.floor((events * part) / 9))) {
        const whole = verdict(await through("ptrace", file, { until }));
        expect(verdict(await through("eager-agent", file, { until }))).toEqual(whole);
      }
    },
    120_000,
  );
});

it("most calls of a program are answered without a stop", async () => {
  const { file } = await record(["find", "/usr/include", "-name", "*.h"], {});
  const { result } = await through("agent", file);
  expect(result).toMatchObject({ faithful: true, repeated: false });
  expect(result.answered / result.events).toBeGreaterThan(0.9);
});

it("threads are replayed through the agent as well", async () => {
  const { file } = await record([compile("agent_tasks", "-pthread"), "3", "100"], {});
  const { result } = await through("eager-agent", file);
  expect(result).toMatchObject({ faithful: true, repeated: false });
  expect(result.answered).toBeGreaterThan(200);
});

describe("small files that are mapped one after the other", () => {
  it("have in them what they have", { timeout: 60_000 }, async () => {
    const program = compile("small_maps", "-pthread");
    const { code, file, stdout } = await record([program], { cwd: folder() });
    expect(code).toBeNull();
    const [again, found] = ["as in the file: 192", stdout.trimEnd().split("\n")];
    expect(found.filter((line) => line === again).length).toBe(8);
    expect(found.filter((line) => line !== again)).toEqual([
      "together: 1 1 1",
      "writing: 11 0 11",
      "after that: 1 1 1",
      "gone: 11",
      "child: 1 121 11",
      "thread: 1 1",
      "without its middle: 0 11 0",
      "moved: 122 1",
      "new memory: 0",
      "as new: 0 119",
      "whole: 1",
      "end",
    ]);
    const reference = await through("ptrace", file);
    expect(reference.result).toMatchObject({ faithful: true });
    for (const backend of REPLAY_BACKENDS.filter((backend) => backend !== "ptrace")) {
      const replayed = await through(backend, file);
      expect(verdict(replayed)).toEqual(verdict(reference));
      expect(replayed.result.repeated).toBe(false);
      expect(replayed.result.answered / replayed.result.events).toBeGreaterThan(0.8);
    }
  });

  it("cost git hardly a stop", async () => {
    const cwd = folder();
    const git = (...words: string[]) => execFileSync("git", words, { cwd, encoding: "utf8" });
    git("init", "-q", ".");
    git("config", "user.name", "A");
    git("config", "user.email", "a@example.org");
    for (let commit = 0; commit < 100; commit++) {
      writeFileSync(join(cwd, "a.txt"), `${commit}\n`);
      git("add", "a.txt");
      git("-c", "commit.gpgsign=false", "commit", "-q", "-m", `commit ${commit}`);
    }
    const { file, stdout } = await record(["git", "log", "--stat"], { cwd });
    const { result, output } = await through("agent", file);
    expect(result).toMatchObject({ faithful: true, repeated: false });
    expect(output.map(([, text]) => text).join("")).toBe(stdout);
    expect(result.answered / result.events).toBeGreaterThan(0.8);
  });
});

it("stacks are those of a replay by stops", async () => {
  const { file } = await record(["ls", "-l", "/usr/include"], {});
  const frames = async (backend: ReplayBackend) => {
    const { result } = await through(backend, file, { stacks: { from: 40, to: 1e6 } });
    const taken = [];
    for (let seq = 0; seq < result.events; seq++) {
      taken.push(result.stacks?.of(seq)?.frames);
    }
    return taken;
  };
  const reference = await frames("ptrace");
  expect(reference.filter((stack) => stack !== undefined).length).toBeGreaterThan(100);
  expect(await frames("eager-agent")).toEqual(reference);
});

describe("a trace that was changed", () => {
  it("is judged as by a replay by stops, and nothing is written beyond", {
    timeout: 400_000,
  }, async () => {
    const { file } = await record(programs["signals and children"] ?? [], {});
    const parts = await partsOf(file);
    const changed = join(dirname(file), "changed.trace");
    let found = 0;
    const property = fc.asyncProperty(
      fc.nat({ max: parts.events.length - 1 }),
      fc.constantFrom(...Object.keys(changes)),
      fc.nat({ max: 1 << 20 }),
      async (at, how, pick) => {
        const events = structuredClone(parts.events);
        fc.pre(changes[how]?.(events[at] as TextEvent, pick, events) === true);
        await assemble({ ...parts, events }, changed);
        const [reference, agent] = await Promise.all(
          (["ptrace", "eager-agent"] as const).map((backend) =>
            through(backend, changed, { stuckAfter: 3000 }).then(
              (replayed) => ({ replayed, said: undefined }),
              (error: Error) => ({ replayed: undefined, said: error.message }),
            ),
          ),
        );
        expect(agent?.said).toBe(reference?.said);
        if (reference?.replayed === undefined || agent?.replayed === undefined) return;
        expect(verdict(agent.replayed)).toEqual(verdict(reference.replayed));
        // The agent has seen it itself.
        expect(agent.replayed.result.repeated).toBe(!reference.replayed.result.faithful);
        found += reference.replayed.result.faithful ? 0 : 1;
      },
    );
    await fc.assert(property, { numRuns: 120, seed: 11, endOnFailure: true });
    expect(found).toBeGreaterThan(20);
  });
});

describe("a program that writes where the agent is", () => {
  it.each(["zero", "ones", "skip", "again", "beyond", "inside"])(
    "%s",
    async (how) => {
      const { file, stdout } = await record([compile("agent_scribbles"), how], {
        options: ["--backend=ptrace"],
      });
      expect(stdout).toBe(`${how} 0 2000\n`);
      const { result, output } = await through("eager-agent", file);
      // There it finds memory where there was none, so that it goes another way.
      expect(result).toMatchObject({ faithful: true, exitCode: 0, repeated: true });
      expect(output).toEqual([[1, stdout]]);
    },
    120_000,
  );
});
