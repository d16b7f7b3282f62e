/** Calls that are counted where blocks are decoded, against the same counted from batches. */

import { readdirSync } from "node:fs";
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { collectStatistics, type Statistics } from "../../src/stat/collect.js";
import { statCsv, statJson } from "../../src/stat/report.js";
import { openTrace } from "../../src/trace/open.js";
import { randomTrace } from "../support/random_trace.js";
import { temporaryFolder } from "../support/text_trace.js";

const folder = temporaryFolder();
afterAll(() => folder.remove());

async function bothWays(file: string): Promise<readonly [Statistics, Statistics]> {
  const trace = await openTrace(file);
  const all = { columns: ["core"], read: {} } as const;
  const counted = await collectStatistics(trace, "syscall", { ...all, keep: undefined });
  const added = await collectStatistics(trace, "syscall", { ...all, keep: () => true });
  trace.close();
  return [counted, added];
}

function expectSame([a, b]: readonly [Statistics, Statistics]): void {
  const facts = (statistics: Statistics) =>
    ({ by: "syscall", statistics, rows: statistics.rows }) as const;
  expect(statCsv(facts(a))).toBe(statCsv(facts(b)));
  expect(statJson(facts(a), true)).toBe(statJson(facts(b), true));
  expect(a.failure).toEqual(b.failure);
}

it("counts the same in random traces", async () => {
  await fc.assert(
    fc.asyncProperty(randomTrace, async (text) => {
      expectSame(await bothWays(await text.write(folder.file("random.trace"))));
    }),
    { numRuns: 60 },
  );
});

const traces = readdirSync("traces").filter((name) => name.endsWith(".trace"));

it.each(traces)("counts the same in %s", async (name) => {
  const both = await bothWays(`traces/${name}`);
  expectSame(both);
  expect(both[0].total.durations.count).toBeGreaterThan(0);
});
