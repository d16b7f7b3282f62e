/** Processes that were started alike do each other's work; what they do, in which order, is compared. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type DiffOptions, diff } from "../../src/diff/diff.js";
import type { DiffResult } from "../../src/diff/result.js";
import type { TextTrace } from "../support/text_trace.js";
import { one } from "./written.js";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "trace-diff-pools-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let count = 0;

/** What worker `worker` of run `run` does. */
type Work = (trace: TextTrace, worker: number, run: number) => void;

const FIRST = 1;

async function compare(work: Work, options: DiffOptions = {}): Promise<DiffResult> {
  const name = join(dir, `t${count++}`);
  const make = (run: number) =>
    one(run, (trace) => {
      trace.object("file", "/srv/log");
      for (const socket of [2, 3]) trace.object("socket", `socket:[${socket}]`, "TCP");
      for (const worker of [0, 1]) {
        const pid = 2000 + 100 * run + worker;
        trace.thread(2 + worker, 1, pid, pid, 0, 3 + worker);
      }
      for (const thread of [FIRST, FIRST + 1]) trace.event("task", { thread, args: [0, 0] });
      for (const worker of [0, 1]) work(trace, worker, run);
      for (const thread of [FIRST, FIRST + 1]) trace.event("exit", { thread, args: [1, 0, 0, 0] });
    });
  const [a, b] = [await make(0).write(`${name}a.trace`), await make(1).write(`${name}b.trace`)];
  return diff(a, b, options);
}

const unlink = (worker: number, path: string) =>
  ({
    thread: FIRST + worker,
    args: [0x1000],
    captures: [[0, "in", 0x1000, `${path}\0`]],
  }) as const;

const rename = (worker: number, from: string, to: string) =>
  ({
    thread: FIRST + worker,
    args: [0x1000, 0x2000],
    captures: [
      [0, "in", 0x1000, `${from}\0`],
      [1, "in", 0x2000, `${to}\0`],
    ],
  }) as const;

const write = (worker: number, text: string) =>
  ({
    thread: FIRST + worker,
    args: [3, 0x3000, text.length],
    ret: text.length,
    captures: [[1, "in", 0x3000, text]],
    refs: [[0, 3, 1]],
  }) as const;

/** Which worker has the job: another one in the second run. */
const jobOf = (worker: number, run: number) => (worker + run) % 2;

it("takes work that another worker does for the same, and no other work", async () => {
  const work: Work = (trace, worker, run) =>
    void trace.call("unlink", unlink(worker, `/srv/job${jobOf(worker, run)}`));
  expect((await compare(work)).verdict).toBe("same");
  expect((await compare(work, { without: ["pools"] })).verdict).toBe("different");
  const other = await compare((trace, worker, run) =>
    trace.call(
      "unlink",
      unlink(worker, `/srv/job${jobOf(worker, run) + (worker === 1 ? run : 0)}`),
    ),
  );
  expect(other.differences.map(({ kind, object }) => `${kind} ${object}`).sort()).toEqual([
    "added /srv/job1",
    "removed /srv/job0",
  ]);
});

it("tells what changed places within the work", async () => {
  const result = await compare((trace, worker, run) => {
    const [job, isLast] = [jobOf(worker, run), run === 1 && worker === 1];
    const calls = [
      () => trace.call("unlink", unlink(worker, `/srv/${job}`)),
      () => trace.call("rename", rename(worker, `/srv/${job}.new`, `/srv/${job}`)),
    ];
    for (const call of isLast ? calls.reverse() : calls) call();
  });
  expect(result.differences.map(({ kind }) => kind)).toContain("moved");
});

it("finds the same answer at another worker, though its time is another one", async () => {
  const answers =
    (end: (run: number) => string): Work =>
    (trace, worker, run) => {
      const text = `at 12:00:0${run} job ${jobOf(worker, run)} ${end(run)}\n`;
      trace.call("sendto", {
        ...{ thread: FIRST + worker, args: [3, 0x3000, text.length, 0, 0, 0], ret: text.length },
        captures: [[1, "in", 0x3000, text]],
        refs: [[0, 3, 2 + worker]],
      });
    };
  expect((await compare(answers(() => "done"))).verdict).toBe("same");
  expect(
    (
      await compare(
        answers(() => "done"),
        { without: ["pools"] },
      )
    ).verdict,
  ).toBe("different");
  expect((await compare(answers((run) => (run === 0 ? "done" : "failed")))).verdict).toBe(
    "different",
  );
});

it("names what comes from outside before what may be a race, and no file of its own before that", async () => {
  const path = "/srv/log";
  const config =
    (written: boolean): Work =>
    (trace, worker, run) => {
      const text = `colour ${run}`;
      if (worker === 0) trace.call("unlink", unlink(worker, `/srv/race${run}`));
      if (worker === 1 && written) trace.call("write", write(worker, text));
      if (worker === 1)
        trace.call("read", {
          ...{ thread: FIRST + worker, args: [3, 0x3000, 64], ret: text.length },
          captures: [[1, "out", 0x3000, text]],
          refs: [[0, 3, 1]],
        });
    };
  expect((await compare(config(false))).firstCause?.object).toBe(path);
  expect((await compare(config(true))).firstCause?.object).toMatch(/race/);
});

it("takes lines that several write to one file in any order", async () => {
  const lines =
    (last: (run: number) => string): Work =>
    (trace, worker, run) => {
      const own = jobOf(worker, run) === 0 ? ["one", "two", last(run)] : ["three"];
      for (const line of own) trace.call("write", write(worker, `${line}\n`));
    };
  expect((await compare(lines(() => "four"))).verdict).toBe("same");
  const moved: Work = (trace, worker, run) => {
    const all = [["one", "two"], ["three"]];
    const other = [["one"], ["three", "two"]];
    for (const line of (run === 0 ? all : other)[worker] ?? [])
      trace.call("write", write(worker, `${line}\n`));
  };
  expect((await compare(moved)).verdict).toBe("same");
  expect((await compare(moved, { without: ["order"] })).verdict).toBe("different");
  expect((await compare(lines((run) => `four ${run}`))).verdict).toBe("different");
});
