/** Lines of source beside the calls of a result. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { diff } from "../../src/diff/diff.js";
import type { DiffResult } from "../../src/diff/result.js";
import { withSources } from "../../src/diff/sources.js";
import { TraceError } from "../../src/errors.js";
import { openTrace } from "../../src/trace/open.js";
import type { Trace } from "../../src/trace/trace.js";
import { one, read } from "./written.js";

let dir = "";
let result: DiffResult;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "trace-diff-sources-"));
  const paths = ["a", "b"].map((text, run) =>
    one(run, (trace) => trace.object("file", "/data").call("read", read(text))).write(
      join(dir, `${text}.trace`),
    ),
  );
  const [a = "", b = ""] = await Promise.all(paths);
  result = await diff(a, b);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** The result again, from traces whose stacks cannot be had. */
async function without(error: Error): Promise<DiffResult> {
  const [a, b] = await Promise.all(["a", "b"].map((name) => openTrace(join(dir, `${name}.trace`))));
  const failing = (trace: Trace | undefined): Trace => {
    if (trace === undefined) throw new Error("no trace");
    return new Proxy(trace, {
      get: (target, key) =>
        key === "stacks" ? () => Promise.reject(error) : Reflect.get(target, key),
    });
  };
  try {
    return await withSources(result, failing(a), failing(b));
  } finally {
    a?.close();
    b?.close();
  }
}

it("are left out where the stacks are damaged", async () => {
  expect(result.differences.length).toBeGreaterThan(0);
  expect(await without(new TraceError("CORRUPT", "the stacks are damaged"))).toEqual(result);
});

it("are not left out when anything else goes wrong", async () => {
  const error = new TypeError("a mistake of the program");
  await expect(without(error)).rejects.toBe(error);
});
