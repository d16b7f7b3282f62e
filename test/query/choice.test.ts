/** Filters whose events are chosen where blocks are decoded, against the same filters over whole batches. */

import { readdirSync } from "node:fs";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { choiceOf } from "../../src/query/choice.js";
import { parseFilter } from "../../src/query/filter/index.js";
import { selectEvents } from "../../src/query/select.js";
import { vocabulary } from "../../src/query/syscalls.js";
import { collectStatistics } from "../../src/stat/collect.js";
import { statJson } from "../../src/stat/report.js";
import { event } from "../../src/tables/event.js";
import { cellOf } from "../../src/tables/rows.js";
import { syscall } from "../../src/tables/syscall.js";
import type { Scan, TableDef } from "../../src/tables/table.js";
import { openTrace } from "../../src/trace/open.js";
import type { Trace } from "../../src/trace/trace.js";
import { randomTrace } from "../support/random_trace.js";
import { temporaryFolder } from "../support/text_trace.js";

const folder = temporaryFolder();
afterAll(() => folder.remove());

/** Some that leave out much, some that leave out nothing, and combinations of both. */
const FILTERS = [
  "name = read",
  "name = read or name = lseek",
  "name != read",
  "not name = read",
  "%file",
  "not %file",
  "name = read and failed",
  "name = read or failed",
  "name = read or kind = signal",
  "not (name = read and failed)",
  "not (name = read or kind = exit)",
  "failed",
  "not failed",
  "ok",
  "not ok",
  "err = ENOENT",
  "err != ENOENT",
  "not err exists",
  "status = unfinished",
  "dur > 10us",
  "dur <= 10us",
  "not dur > 10us",
  "dur = 0s",
  "dur != 0s",
  "dur > 1us and dur < 1ms",
  "dur > 1us or name = read",
  "p1",
  "p1.2",
  "not p2",
  "p2 or p3",
  "pid = 100",
  "tid != 100",
  "proc = p2 and name = openat",
  "p1 or name = openat",
  "kind = exit",
  "kind != call",
  "1us..1ms",
  "not 1us..1ms",
  "@3..@20",
  "@3..@20 and name = read",
  "path ~ passwd",
  "name = openat and path startswith '/'",
  "fd = 3",
  "sysno < 10",
  "bytes > 0",
  "fd.path = '/etc/passwd' and name = read",
] as const;

async function rowsOf(trace: Trace, table: TableDef, scan: Scan): Promise<unknown[]> {
  const rows: unknown[] = [];
  for await (const { count, columns } of table.scan(trace, scan)) {
    for (let k = 0; k < count; k++) rows.push(columns.map((column) => cellOf(column, k)));
  }
  return rows;
}

async function compare(trace: Trace, text: string): Promise<number> {
  const filter = parseFilter(text, { vocabulary });
  const { choice, ...whole } = await selectEvents(trace, filter);
  let rows = 0;
  for (const table of [event, syscall]) {
    const columns = table.columns.map(({ name }) => name);
    const chosen = { ...whole, ...(choice && { choice }) };
    const found = await rowsOf(trace, table, { columns, events: chosen });
    expect(found, text).toEqual(await rowsOf(trace, table, { columns, events: whole }));
    rows += found.length;
  }
  const json = async (selection: typeof whole) => {
    const statistics = await collectStatistics(trace, "path", selection);
    return statJson({ by: "path", statistics, rows: statistics.rows }, true);
  };
  expect(await json({ ...whole, ...(choice && { choice }) }), text).toBe(await json(whole));
  return rows;
}

it("chooses the same in random traces", async () => {
  let rows = 0;
  await fc.assert(
    fc.asyncProperty(
      randomTrace,
      fc.shuffledSubarray([...FILTERS], { minLength: 8, maxLength: 8 }),
      async (text, filters) => {
        const trace = await openTrace(await text.write(folder.file("random.trace")));
        for (const filter of filters) rows += await compare(trace, filter);
        trace.close();
      },
    ),
    { numRuns: 40 },
  );
  expect(rows).toBeGreaterThan(0);
});

const traces = readdirSync("traces").filter((name) => name.endsWith(".trace"));

it.each(traces)("chooses the same in %s", async (name) => {
  const trace = await openTrace(`traces/${name}`);
  for (const filter of FILTERS) await compare(trace, filter);
  trace.close();
});

describe("what is left out", () => {
  const threads = [1, 2].map((process) => ({
    ...{ index: process - 1, process, ordinal: 1, tid: 10 * process, pid: 10 * process },
    ...{ parent: -1, createdBy: 0 },
  }));
  const choice = (text: string) => choiceOf(parseFilter(text, { vocabulary }), threads);

  it.each(["kind = call", "not failed", "path ~ x", "name = read or p1", "not p1 or failed"])(
    "is nothing for %s",
    (text) => {
      expect(choice(text)).toBeUndefined();
    },
  );

  it("is all but one syscall", () => {
    const { calls, kinds } = choice("name = read and path ~ x") ?? {};
    expect(kinds).toBe(0);
    // Of x86-64 and i386.
    expect(calls?.reduce((sum, one) => sum + one)).toBe(2);
  });

  it("are other threads, and what did not fail or was quick", () => {
    const parts = choice("p2 and failed and dur > 1ms");
    expect([...(parts?.threads ?? [])]).toEqual([0, 1]);
    expect(parts).toMatchObject({ flagsSet: 8, leastDuration: 1e6, kinds: 0 });
  });
});
