/** What runs of one side differ in from each other does not count, and nothing else. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { diff } from "../../src/diff/diff.js";
import type { DiffResult } from "../../src/diff/result.js";
import { one, type Write } from "./written.js";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "trace-diff-own-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let count = 0;

/** Compares runs 0 and 1, with run 2 as another one like the first. */
async function compare(write: Write): Promise<{ plain: DiffResult; like: DiffResult }> {
  const name = join(dir, `t${count++}`);
  const make = (run: number) => one(run, write).write(`${name}${run}.trace`);
  const [a, b, other] = [await make(0), await make(1), await make(2)];
  return { plain: await diff(a, b), like: await diff(a, b, { like: [other] }) };
}

const written = (text: string) =>
  ({
    args: [3, 0x3000, text.length],
    ret: text.length,
    captures: [[1, "in", 0x3000, text]],
    refs: [[0, 3, 1]],
  }) as const;

const unlink = (path: string) =>
  ({ args: [0x1000], captures: [[0, "in", 0x1000, `${path}\0`]] }) as const;

it("lines that differ in their numbers in each run", async () => {
  const { plain, like } = await compare((trace, run) => {
    trace.object("file", "/srv/log").call("write", written(`used ${100 + 7 * run} bytes\n`));
  });
  expect(plain.verdict).toBe("different");
  expect(like.verdict).toBe("same");
  expect(like.explained).toHaveProperty("like", 1);
});

it("another line beside one that differs in each run is told", async () => {
  const { like } = await compare((trace, run) => {
    const last = run === 1 ? "failed" : "done";
    trace.object("file", "/srv/log");
    trace.call("write", written(`used ${100 + 7 * run} bytes\n${last}\n`));
  });
  expect(like.firstCause?.lines).toContain("+failed");
});

it("bytes that differ from another place on are told", async () => {
  const { like } = await compare((trace, run) => {
    const data = Buffer.alloc(32, 1);
    data[20] = 5 * run;
    if (run === 1) data[8] = 9;
    trace.object("file", "/srv/data").call("write", written(data.toString("latin1")));
  });
  expect(like.verdict).toBe("different");
});

it("calls that come in some runs only, and another one that came in none", async () => {
  const { like } = await compare((trace, run) => {
    if (run > 0) trace.call("unlink", unlink("/srv/lock12"));
    if (run === 1) trace.call("unlink", unlink("/srv/data"));
  });
  expect(like.differences.map(({ object }) => object)).toEqual(["/srv/data"]);
});
