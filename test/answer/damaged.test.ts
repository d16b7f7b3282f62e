/** Answers over several traces, one of which is damaged: what can be read, then what is wrong. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answer, type Question } from "../../src/answer/answer.js";
import type { ResultValue } from "../../src/answer/results.js";
import { sqlResults } from "../../src/sql/query.js";
import { openTrace } from "../../src/trace/open.js";
import type { Trace } from "../../src/trace/trace.js";
import { damagedTrace, WHOLE } from "../support/damage.js";
import { temporaryFolder } from "../support/text_trace.js";
import { tableNamed } from "../tables/support.js";

const folder = temporaryFolder();
let damaged: Trace;

beforeAll(async () => {
  damaged = await openTrace(await damagedTrace(folder.file("damaged.trace")));
});
afterAll(() => {
  damaged.close();
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

const table = tableNamed("syscall");
const calls = { table, columns: ["seq", "name", "err"] };

describe("a damaged trace", () => {
  it("fills each table of a statement as far as it can be read", async () => {
    const statement = "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM syscall)";
    const results = await sqlResults([{ name: "run", trace: damaged }], statement);
    const { rows, code } = await readAll(results.rows);
    const read = (await ask(calls, damaged)).rows.length;
    expect(code).toBe("CORRUPT");
    expect(rows).toEqual([[BigInt(read + 1), BigInt(read)]]);
  });
});
