/** Recording again and again: which runs there are, which traces stay, and what is said. */

import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type RunsOptions, recordRuns } from "../../src/commands/runs.js";
import type { RecordOptions, RecordResult } from "../../src/record.js";
import { openTrace } from "../../src/trace/open.js";
import {
  contentOf,
  ended,
  folder,
  record,
  recordWords,
  run,
  start,
  stateOf,
  until,
} from "../record/support.js";
import { temporaryFolder } from "../support/text_trace.js";

const scratch = temporaryFolder();
afterAll(() => scratch.remove());

const { SIGINT } = constants.signals;

/** Runs that end as listed (a negative number: by that signal), with files in place of traces. */
async function runs(options: Partial<RunsOptions>, ends: readonly number[]) {
  const asked: Partial<RecordOptions>[] = [];
  const record = async (changes: Partial<RecordOptions>): Promise<RecordResult> => {
    const end = ends[asked.length] ?? 0;
    asked.push(changes);
    const path = scratch.file(`run-${asked.length}`);
    writeFileSync(path, "trace");
    return {
      path,
      exitCode: end < 0 ? undefined : end,
      exitSignal: end < 0 ? -end : undefined,
      processes: 1,
      threads: 1,
      events: 1,
      bytes: 5,
      durationNs: 1,
      lost: { memory: 0, tasks: 0, descriptors: 0, unknownCalls: 0, events: 0 },
      notes: [],
      summary: "1 event",
      failure: undefined,
    };
  };
  const done = await recordRuns({ keep: "always", ...options }, record, () => false);
  const left = asked.map((_, k) => existsSync(scratch.file(`run-${k + 1}`)));
  return { ...done, asked, left };
}

describe("recordRuns", () => {
  it("runs once, and keeps the trace, when nothing else is said", async () => {
    expect(await runs({}, [0])).toMatchObject({ isKept: true, left: [true], remarks: [] });
    expect(await runs({}, [1])).toMatchObject({ isKept: true, left: [true], remarks: [] });
  });

  it("removes the trace of a success with --keep=on-failure, and says so", async () => {
    const good = await runs({ keep: "on-failure" }, [0]);
    expect(good).toMatchObject({ isKept: false, left: [false] });
    expect(good.remarks).toEqual([
      "the program succeeded, so its trace was removed (--keep=on-failure)",
    ]);
    expect(await runs({ keep: "on-failure" }, [7])).toMatchObject({ isKept: true, left: [true] });
    expect(await runs({ keep: "on-failure" }, [-11])).toMatchObject({ isKept: true, left: [true] });
  });

  it("keeps all of several runs, or those that failed", async () => {
    expect(await runs({ runs: 3 }, [0, 1, 0])).toMatchObject({ left: [true, true, true] });
    const some = await runs({ runs: 3, keep: "on-failure" }, [0, 1, 0]);
    expect(some).toMatchObject({ isKept: false, left: [false, true, false] });
    expect(some.remarks).toContain("3 runs, 1 failed");
  });

  it("stops at the first failure with --until-failure, and keeps that alone", async () => {
    const found = await runs({ untilFailure: true }, [0, 0, 3, 0]);
    expect(found).toMatchObject({ isKept: true, left: [false, false, true] });
    expect(found.result.exitCode).toBe(3);
    expect(found.remarks).toEqual(["3 runs, 1 failed"]);
  });

  it("gives up after --runs", async () => {
    const none = await runs({ untilFailure: true, runs: 4 }, []);
    expect(none).toMatchObject({ isKept: false, left: [false, false, false, false] });
    expect(none.remarks).toContain("4 runs, 0 failed");
  });

  it("takes Ctrl-C for the end of all runs", async () => {
    const stopped = await runs({ runs: 9 }, [0, -SIGINT]);
    expect(stopped.asked).toHaveLength(2);
    expect(stopped.result.exitSignal).toBe(SIGINT);
  });

  it("varies the seed, and names the one that matters", async () => {
    const found = await runs({ untilFailure: true, chaos: 40 }, [0, 0, 1]);
    expect(found.asked).toEqual([{ chaos: 40 }, { chaos: 41 }, { chaos: 42 }]);
    expect(found.remarks).toContain("the same order of threads again: --chaos=42");
    const made = await runs({ chaos: true, runs: 2 }, []);
    const [first, second] = made.asked.map(({ chaos }) => chaos ?? Number.NaN);
    expect(Number.isSafeInteger(first)).toBe(true);
    expect(second).toBe((first ?? 0) + 1);
    expect((await runs({ runs: 2 }, [])).asked).toEqual([{}, {}]);
  });

  it("says when a trace cannot be packed, and goes on", async () => {
    const done = await runs({ pack: true }, [0]);
    expect(done.isKept).toBe(true);
    expect(done.warnings).toEqual([expect.stringMatching(/^not packed: /)]);
  });
});

describe("trace record", () => {
  it("runs no program again when it was asked to end, also where the program makes an end of its own of that", async () => {
    const dir = folder();
    const script = 'trap "exit 0" INT; echo $$ >> pids; while :; do sleep 0.01; done';
    const options = ["--runs=50", "--until-failure"];
    const words = [...recordWords(join(dir, "x.trace"), ...options), "sh", "-c", script];
    const recorder = start(words, { cwd: dir, env: stateOf(dir) });
    const end = ended(recorder);
    try {
      const pid = await until(() => contentOf(join(dir, "pids")).trim());
      // As from a terminal: both have it.
      recorder.kill("SIGINT");
      process.kill(Number(pid), "SIGINT");
      expect(await end).toMatchObject({ code: 0, stderr: "" });
      expect(contentOf(join(dir, "pids"))).toBe(`${pid}\n`);
    } finally {
      // With all that it records.
      recorder.kill("SIGKILL");
    }
    expect(existsSync(join(dir, "x.trace"))).toBe(false);
  });

  const counting = 'n=$(cat count 2>/dev/null || echo 0); echo $((n + 1)) > count; [ "$n" -lt 2 ]';

  it("repeats a program until it fails, and keeps that one", async () => {
    const dir = folder();
    const file = join(dir, "out.trace");
    const words = recordWords(file, "--until-failure", "--runs=9", "--chaos=5");
    const done = await run([...words, "sh", "-c", counting], { cwd: dir, env: stateOf(dir) });
    expect(done).toMatchObject({ code: 1, stdout: "", stderr: "" });
    const trace = await openTrace(file);
    expect(trace.info.facts.get("chaos")).toBe("7");
    expect(trace.info.facts.get("mode")).toBe("replayable");
    trace.close();
  });

  it("leaves nothing behind when nothing fails", async () => {
    const dir = folder();
    const words = recordWords(join(dir, "out.trace"), "--keep=on-failure");
    const done = await run([...words, "true"], { cwd: dir, env: stateOf(dir) });
    expect(done).toEqual({ code: 0, signal: null, stdout: "", stderr: "" });
    expect(readdirSync(dir).filter((name) => name.includes("trace"))).toEqual([]);
  });

  it("says with -v what became of the trace", async () => {
    const dir = folder();
    const quiet = recordWords(join(dir, "out.trace"), "--keep=on-failure", "-v");
    const words = quiet.filter((word) => word !== "-q");
    const done = await run([...words, "true"], { cwd: dir, env: stateOf(dir) });
    expect(done.stderr).toBe(
      "trace: the program succeeded, so its trace was removed (--keep=on-failure)\n",
    );
  });

  it("packs what it keeps", async () => {
    const { file, code } = await record(["false"], { options: ["--keep=on-failure", "--pack"] });
    expect(code).toBe(1);
    const trace = await openTrace(file);
    expect(trace.packedFiles().length).toBeGreaterThan(1);
    trace.close();
  });

  it("takes a program's name behind a bare --chaos for the program", async () => {
    const { file, code } = await record(["true"], { options: ["--chaos"] });
    expect(code).toBe(0);
    const trace = await openTrace(file);
    expect(trace.info.facts.get("chaos")).toMatch(/^\d+$/);
    trace.close();
  });

  it.each([
    [["--data=paths"], "--observe"],
    [["--data=none"], "--observe"],
    [["--chaos", "--observe"], "use one of the two"],
    [["--chaos", "-e", "open"], "use one of the two"],
    [["--runs=2"], "--until-failure"],
    [["--runs=0"], "trace help record"],
  ])("refuses %j, and says the way out", async (options, hint) => {
    const { code, stdout, stderr } = await record(["echo", "hello"], { options });
    expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
    expect(stderr).toMatch(/^trace: .*\n/);
    if (hint !== "trace help record") expect(stderr).toContain(hint);
  });

  it.each([
    [["--observe"], "observe"],
    [["--observe", "--data=paths"], "observe"],
    [["-e", "openat"], "observe"],
    [[], "replayable"],
  ])("%j records in mode %s", async (options, mode) => {
    const { file } = await record(["true"], { options });
    const trace = await openTrace(file);
    expect(trace.info.facts.get("mode")).toBe(mode);
    trace.close();
  });
});
