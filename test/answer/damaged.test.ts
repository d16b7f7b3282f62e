/** Answers over several traces, one of which is damaged: what can be read, then what is wrong. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answer, type Question } from "../../src/answer/answer.js";
import { batchesOf } from "../../src/answer/catalog.js";
import type { ResultValue } from "../../src/answer/results.js";
import { sqlResults } from "../../src/sql/query.js";
import { cellOf } from "../../src/tables/rows.js";
import { openTrace } from "../../src/trace/open.js";
import type { Trace } from "../../src/trace/trace.js";
import { damagedTrace, WHOLE } from "../support/damage.js";
import { sampleTrace, temporaryFolder } from "../support/text_trace.js";
import { tableNamed } from "../tables/support.js";

const folder = temporaryFolder();
let damaged: Trace;
let sample: Trace;

beforeAll(async () => {
  damaged = await openTrace(await damagedTrace(folder.file("damaged.trace")));
  sample = await openTrace(await sampleTrace().write(folder.file("sample.trace")));
});
afterAll(() => {
  damaged.close();
  sample.close();
  folder.remove();
});

type Row = readonly ResultValue[];

/** Rows until an error, and its code. */
async function readAll(rows: AsyncIterable<Row>): Promise<{ rows: Row[]; code: unknown }> {
  const found: Row[] = [];
  try {
    for await (const row of rows) found.push(row);
  } catch (error) {
    return { rows: found, code: (error as { code?: unknown }).code };
  }
  return { rows: found, code: undefined };
}

function ask(question: Question, ...traces: Trace[]) {
  const runs = traces.map((trace, k) => ({ name: `run${k}`, trace }));
  return readAll(answer(runs, question).rows);
}

/** The rows of batches, as those of an answer are. */
async function* rowsOf({ batches }: ReturnType<typeof batchesOf>): AsyncGenerator<Row> {
  for await (const { count, columns } of batches) {
    for (const { values } of columns) expect(values.length).toBe(count);
    for (let i = 0; i < count; i++) yield columns.map((column) => cellOf(column, i) ?? null);
  }
}

function batched(question: Question, ...traces: Trace[]) {
  const runs = traces.map((trace, k) => ({ name: `run${k}`, trace }));
  return readAll(rowsOf(batchesOf(runs, question)));
}

const table = tableNamed("syscall");
const calls = { table, columns: ["seq", "name", "err"] };
const grouped = {
  table,
  columns: ["name", "err", "n", "bytes"],
  group: { by: ["name", "err"], sums: ["bytes"], count: "n" },
};

describe("a damaged trace", () => {
  it("gives its groups, then the damage", async () => {
    const { rows, code } = await ask(grouped, damaged);
    expect(code).toBe("CORRUPT");
    const counts = rows.map((row) => Number(row[2]));
    const read = (await ask(calls, damaged)).rows.length;
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThan(WHOLE);
    expect(rows.map(([name, err]) => [name, err])).toEqual([
      ["read", "EAGAIN"],
      ["read", null],
    ]);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(read);
    const order = { by: ["n"], descending: true };
    const ordered = await ask({ ...grouped, order }, damaged);
    expect(ordered).toEqual({ rows: rows.toReversed(), code: "CORRUPT" });
  });

  it("does not keep the traces after it from being asked", async () => {
    const question = { ...calls, showSecrets: false };
    const expected = await ask(question, damaged, sample);
    expect(expected.code).toBe("CORRUPT");
    expect(expected.rows.some(([run]) => run === "run1")).toBe(true);
    expect(await batched(question, damaged, sample)).toEqual(expected);
  });

  it("is named when as many rows as were wanted came from others, too", async () => {
    const order = { by: ["seq"], descending: true };
    const ordered = await ask({ ...calls, order, limit: 2 }, damaged, sample);
    expect(ordered.rows.length).toBe(2);
    expect(ordered.code).toBe("CORRUPT");
    const { rows } = await ask(calls, damaged);
    for (const ask of [batched, (question: Question) => askBoth(question)]) {
      const found = await ask({ ...calls, limit: rows.length + 1 }, damaged, sample);
      expect(found.rows.length).toBe(rows.length + 1);
      expect(found.code).toBe("CORRUPT");
    }
  });

  const askBoth = (question: Question) => ask(question, damaged, sample);

  it("fills each table of a statement as far as it can be read", async () => {
    const statement = "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM syscall)";
    const results = await sqlResults([{ name: "run", trace: damaged }], statement);
    const { rows, code } = await readAll(results.rows);
    const read = (await ask(calls, damaged)).rows.length;
    expect(code).toBe("CORRUPT");
    expect(rows).toEqual([[BigInt(read + 1), BigInt(read)]]);
  });
});

describe("a limit", () => {
  it("ends the reading with its last row", async () => {
    const { rows } = await ask(calls, damaged);
    const question = { ...calls, limit: rows.length };
    const expected = { rows, code: undefined };
    // The damage comes after the last row that is wanted.
    expect(await ask(question, damaged)).toEqual(expected);
    expect(await batched(question, damaged)).toEqual(expected);
    expect((await batched({ ...calls, limit: 5 }, damaged)).rows).toEqual(rows.slice(0, 5));
  });
});

describe("batches", () => {
  it("are grouped and ordered as the answer is", async () => {
    const order = { by: ["bytes"], descending: false };
    for (const question of [
      grouped,
      { ...grouped, order, limit: 1 },
      { ...calls, order: { by: ["seq"], descending: true }, limit: 7 },
    ]) {
      const expected = await ask(question, sample, damaged);
      expect(expected.rows.length).toBeGreaterThan(0);
      expect(await batched(question, sample, damaged)).toEqual(expected);
    }
  });
});
