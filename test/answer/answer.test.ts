/** Rows that filters choose, in which order; saved queries against what SQL says. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { answer, type Question } from "../../src/answer/answer.js";
import { questionOf } from "../../src/answer/catalog.js";
import type { ResultValue } from "../../src/answer/results.js";
import { SAVED_QUERIES } from "../../src/answer/saved/index.js";
import { parseFilter } from "../../src/query/filter/index.js";
import { vocabulary } from "../../src/query/syscalls.js";
import { sqlResults } from "../../src/sql/query.js";
import { type Row as BuiltRow, rowTable } from "../../src/tables/builder.js";
import { fieldSetOf } from "../../src/tables/fields.js";
import { TABLES } from "../../src/tables/registry.js";
import { openTrace } from "../../src/trace/open.js";
import type { Trace } from "../../src/trace/trace.js";
import { sampleTrace, temporaryFolder } from "../support/text_trace.js";
import { tableNamed } from "../tables/support.js";

const folder = temporaryFolder();
const traces: Trace[] = [];
let sample: Trace;

const recordings = fileURLToPath(new URL("../../traces/", import.meta.url));

beforeAll(async () => {
  const path = folder.file("sample.trace");
  await sampleTrace().write(path);
  sample = await openTrace(path);
  for (const name of readdirSync(recordings).filter((one) => one.endsWith(".trace"))) {
    traces.push(await openTrace(join(recordings, name)));
  }
  traces.push(sample);
});
afterAll(() => {
  for (const trace of traces) trace.close();
  folder.remove();
});

async function all(question: Question, ...runs: Trace[]): Promise<ResultValue[][]> {
  const named = runs.map((trace, k) => ({ name: `run${k}`, trace }));
  const rows: ResultValue[][] = [];
  for await (const row of answer(named, question).rows) rows.push([...row]);
  return rows;
}

const large = 2n ** 63n - 1n;

/** A table with every type, and rows that lack everything but their name. */
const odd = rowTable(
  {
    name: "odd",
    doc: "rows of every sort",
    columns: [
      { name: "id", type: "int", doc: "which", nullable: false },
      { name: "n", type: "int", doc: "a number", nullable: true },
      { name: "w", type: "word", doc: "a large number", nullable: true },
      { name: "b", type: "bool", doc: "yes or no", nullable: true },
      { name: "t", type: "text", doc: "a text", nullable: true },
      { name: "raw", type: "bytes", doc: "some bytes", nullable: true },
      { name: "dur", type: "int", unit: "ns", doc: "a time", nullable: true },
    ],
  },
  async function* (): AsyncGenerator<BuiltRow> {
    yield [1, -5, -large - 1n, true, "ä\u{1f600}", Uint8Array.of(0xff, 0xfe, 0x41), 1000];
    yield [2, 0, 0, false, "", Uint8Array.of(), 0];
    yield [3, 2 ** 53 - 1, large, true, "plain", Uint8Array.of(0x41), 2 ** 52];
    yield [4, undefined, undefined, undefined, undefined, undefined, undefined];
    yield [5, 7, 2n ** 53n + 1n, false, "a\0b", Uint8Array.of(0, 1), 999_999];
  },
);

async function chosen(filter: string): Promise<ResultValue[]> {
  const parsed = parseFilter(filter, { vocabulary, fields: fieldSetOf(odd) });
  const rows = await all({ table: odd, columns: ["id"], filter: parsed }, sample);
  return rows.map(([id]) => id ?? null);
}

describe("filters over rows", () => {
  it.each([
    ["n = -5", [1]],
    ["n != -5", [2, 3, 5]],
    ["not (n = -5)", [2, 3, 4, 5]],
    ["n < 0", [1]],
    ["n <= 0", [1, 2]],
    ["n > 0", [3, 5]],
    ["n >= 9007199254740991", [3]],
    ["n in (0, 7, 99)", [2, 5]],
    ["n not in (0, 7)", [1, 3]],
    ["n exists", [1, 2, 3, 5]],
    ["n not exists", [4]],
    ["w = 9223372036854775807", [3]],
    ["w = -9223372036854775808", [1]],
    ["w > 9007199254740992", [3, 5]],
    ["w = 9007199254740993", [5]],
    ["w = 9007199254740992", []],
    ["w < 0", [1]],
    ["w in (0, 9223372036854775807)", [2, 3]],
    ["w exists", [1, 2, 3, 5]],
    ["b", [1, 3]],
    ["not b", [2, 4, 5]],
    ["b = false", [2, 5]],
    ["b != false", [1, 3]],
    ["b exists", [1, 2, 3, 5]],
    ['t = ""', [2]],
    ["t = ä😀", [1]],
    ['t contains "😀"', [1]],
    ["t startswith pl", [3]],
    ["t endswith ain", [3]],
    ["t glob p*n", [3]],
    ["t ~ ^.l", [3]],
    ["t !~ ^.l", [1, 2, 5]],
    ['t not contains "p"', [1, 2, 5]],
    ["t in (plain, other)", [3]],
    ["t exists", [1, 2, 3, 5]],
    ['raw = "\\xff\\xfeA"', [1]],
    ['raw != "\\xff\\xfeA"', [2, 3, 5]],
    ['raw startswith "\\xff"', [1]],
    ["raw endswith A", [1, 3]],
    ['raw contains "\\xfe"', [1]],
    ['raw in ("A", "\\x00\\x01")', [3, 5]],
    ['raw ~ "^\\xff"', [1]],
    ["raw exists", [1, 2, 3, 5]],
    ["dur >= 1us", [1, 3, 5]],
    ["dur = 0ns", [2]],
    ["dur > 1ms", [3]],
    ["dur exists or dur not exists", [1, 2, 3, 4, 5]],
    ["id > 0", [1, 2, 3, 4, 5]],
  ])("%s", async (filter, expected) => {
    expect(await chosen(filter)).toEqual(expected);
  });

  it("gives every row that has nothing but its name", async () => {
    const columns = odd.columns.map(({ name }) => name);
    const rows = await all({ table: odd, columns }, sample);
    expect(rows[3]).toEqual([4, null, null, null, null, null, null]);
    expect(rows[0]?.[2]).toBe(-large - 1n);
    expect(rows[2]?.slice(1, 3)).toEqual([2 ** 53 - 1, large]);
  });
});

describe("mistakes in filters over rows", () => {
  const message = (table: string, text: string) => {
    try {
      parseFilter(text, { vocabulary, fields: fieldSetOf(tableNamed(table)) });
    } catch (error) {
      return [(error as Error).message, (error as { pointer: string }).pointer.split("\n").at(-1)];
    }
    return [];
  };

  it.each([
    ["file", "wrtes > 0", "there is no column `wrtes`", "did you mean writes?"],
    ["file", "openat", "there is no column `openat`", "did you mean opens?"],
    ["file", "getppid", "there is no column `getppid`", "`trace query --schema file` lists them"],
    ["file", "%file", "a term is missing before `%file`", /field operator value/],
    ["file", "@12", "`@12` asks for the column `seq`, which is not there", /--schema file/],
    ["elf", "1ms..2ms", "`1ms..2ms` asks for the column `time`, which is not there", /--schema/],
    ["elf", "p3", "`p3` asks for the column `proc`, which is not there", /--schema/],
    ["exec", "p3.2", "`p3.2` asks for the column `thread`, which is not there", /--schema/],
    ["fd", "path > 3", "`>` does not apply to path", /operators of path/],
    ["fd", "opened > 3", "`3` is not a duration", /it needs a unit/],
    ["exec", "argv", "an operator is missing after `argv`", /operators of argv/],
  ])("%s: %s", (table, text, expected, hint) => {
    const [what, way] = message(table, text);
    expect(what).toBe(expected);
    expect(way).toMatch(hint);
  });

  it("take selectors where the table has what they ask", async () => {
    const fields = fieldSetOf(tableNamed("exec"));
    const filter = parseFilter("p2 and @0.. and 0ns..10s", { vocabulary, fields });
    const rows = await all({ table: tableNamed("exec"), columns: ["proc"], filter }, sample);
    expect(rows).toEqual([["p2"]]);
  });
});

describe("order", () => {
  const question = { table: odd, columns: ["id"] } as const;
  const order = (by: string[], descending: boolean) => ({ order: { by, descending } });

  it("is that of a column, either way; what lacks it counts as 0", async () => {
    expect(await all({ ...question, ...order(["n"], true) }, sample)).toEqual([
      [3],
      [5],
      [2],
      [4],
      [1],
    ]);
    expect(await all({ ...question, ...order(["n"], false) }, sample)).toEqual([
      [1],
      [2],
      [4],
      [5],
      [3],
    ]);
    expect(await all({ ...question, ...order(["n"], true), limit: 2 }, sample)).toEqual([[3], [5]]);
  });

  it("holds over several traces, and says which one a row is of", async () => {
    const rows = await all({ ...question, ...order(["n"], true), limit: 3 }, sample, sample);
    expect(rows).toEqual([
      ["run0", 3],
      ["run1", 3],
      ["run0", 5],
    ]);
  });

  it("of many events reads every block once", async () => {
    const read = vi.spyOn(sample, "batches");
    try {
      const question = { table: tableNamed("syscall"), columns: ["seq"], ...order(["dur"], true) };
      const expected = await all(question, sample);
      expect(expected.length).toBeGreaterThan(3);
      const once = read.mock.calls.length;
      expect(once).toBeGreaterThan(0);
      expect(await all({ ...question, limit: 1000 }, sample)).toEqual(expected);
      expect(read.mock.calls.length).toBe(2 * once);
    } finally {
      read.mockRestore();
    }
  });

  it("of events reads the rest only for those that are shown", async () => {
    for (const trace of traces) {
      const syscalls = { table: tableNamed("syscall"), columns: ["seq", "name", "dur"] } as const;
      const expected = (await all(syscalls, trace)).sort((a, b) => Number(b[2]) - Number(a[2]));
      const found = await all({ ...syscalls, ...order(["dur"], true), limit: 7 }, trace);
      expect(found).toEqual(expected.slice(0, 7));
    }
  });
});

describe("groups", () => {
  const texts = rowTable(
    {
      name: "texts",
      doc: "texts that look alike",
      columns: [
        { name: "a", type: "text", doc: "a text", nullable: true },
        { name: "b", type: "text", doc: "a text", nullable: true },
      ],
    },
    async function* (): AsyncGenerator<BuiltRow> {
      yield [undefined, "x"];
      yield ["null", "x"];
      yield ["x\0y", "z"];
      yield ["x", "y\0z"];
      yield ["-", undefined];
      yield ["null", "x"];
    },
  );

  it("are of rows whose values are the same, and not only look so", async () => {
    const group = { by: ["a", "b"], sums: [], count: "n" };
    expect(await all({ table: texts, columns: ["a", "b", "n"], group }, sample)).toEqual([
      [null, "x", 1],
      ["null", "x", 2],
      ["x\0y", "z", 1],
      ["x", "y\0z", 1],
      ["-", null, 1],
    ]);
  });
});

describe.each(SAVED_QUERIES.map((query) => [query.name, query] as const))("@%s", (_name, query) => {
  it("answers what its SQL answers", async () => {
    for (const trace of traces) {
      const own = await all(questionOf(query), trace);
      const results = await sqlResults([{ name: "run", trace }], query.sql);
      expect(results.columns.map(({ name }) => name)).toEqual(query.columns);
      const rows: ResultValue[][] = [];
      for await (const row of results.rows) rows.push(row.map(plain));
      expect(own.map((row) => row.map(plain))).toEqual(rows);
    }
  });
});

function plain(value: ResultValue): ResultValue {
  return typeof value === "bigint" ? Number(value) : value;
}

it("saved queries ask tables that there are", () => {
  for (const { table, columns, group } of SAVED_QUERIES) {
    const found = TABLES.find(({ name }) => name === table);
    const names = [...(found?.columns.map(({ name }) => name) ?? []), group?.count];
    expect(columns.filter((name) => !names.includes(name))).toEqual([]);
  }
});
