import {
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ResultValue } from "../../src/answer/results.js";
import type { TraceError } from "../../src/errors.js";
import { Database, quoted } from "../../src/sql/database.js";
import { needsOf } from "../../src/sql/needs.js";
import { newParquet } from "../../src/sql/parquet.js";
import { sqlColumns, sqlResults } from "../../src/sql/query.js";
import { sqlType } from "../../src/sql/types.js";
import { TABLES } from "../../src/tables/registry.js";
import { openTrace } from "../../src/trace/open.js";
import type { Trace } from "../../src/trace/trace.js";
import { sampleTrace, TextTrace, temporaryFolder } from "../support/text_trace.js";
import { readTable } from "../tables/support.js";

const folder = temporaryFolder();
let trace: Trace;

beforeAll(async () => {
  await sampleTrace().write(folder.file("sample.trace"));
  trace = await openTrace(folder.file("sample.trace"));
});
afterAll(() => {
  trace.close();
  folder.remove();
});

async function sql(statement: string, ...others: Trace[]): Promise<ResultValue[][]> {
  const runs = [trace, ...others].map((one, k) => ({ name: `run${k}`, trace: one }));
  const rows: ResultValue[][] = [];
  for await (const row of (await sqlResults(runs, statement)).rows) rows.push([...row]);
  return rows;
}

async function failure(statement: string): Promise<TraceError> {
  return (await sql(statement).catch((error: unknown) => error)) as TraceError;
}

describe("a statement", () => {
  it.each(TABLES.map(({ name }) => name))("reads table %s as it is", async (name) => {
    const rows = await readTable(trace, name);
    const table = TABLES.find((one) => one.name === name);
    const names = table?.columns.map((column) => column.name) ?? [];
    const found = await sql(`SELECT * FROM ${name}`);
    const same = (value: unknown) => (typeof value === "number" ? BigInt(value) : (value ?? null));
    expect(found).toEqual(rows.map((row) => [...names.map((one) => same(row[one])), "run0"]));
  });

  it("joins, groups and orders", async () => {
    const rows = await sql(`
      SELECT e.exe, count(*) AS calls, sum(s.bytes) AS bytes
      FROM syscall s JOIN exec e USING (proc) GROUP BY ALL ORDER BY calls DESC`);
    expect(rows[0]?.[1]).toBeGreaterThan(1n);
  });

  it("asks several traces together", async () => {
    const rows = await sql("SELECT run, count(*) FROM event GROUP BY run ORDER BY run", trace);
    expect(rows.map(([run]) => run)).toEqual(["run0", "run1"]);
    expect(rows[0]?.[1]).toBe(rows[1]?.[1]);
  });

  it("may be several, or a PIVOT, which is", async () => {
    expect(await sql("CREATE MACRO twice(x) AS 2 * x; SELECT twice(count(*)) FROM exec;")).toEqual([
      [4n],
    ]);
    const [row] = await sql("PIVOT syscall ON status USING count(*)");
    expect(row?.length).toBeGreaterThan(1);
    expect((await sql("DESCRIBE exec")).length).toBeGreaterThan(10);
    expect(await sql("SELECT 1")).toEqual([[1]]);
  });

  it("gives every sort of value", async () => {
    const statement = `SELECT 18446744073709551615::HUGEINT, 1.5::DECIMAL(4, 1), [1, NULL], {'a': ['b']},
      DATE '2024-02-29', 'x\\xff'::BLOB, NULL, true, 0.5, MAP {'k': 1}`;
    expect(await sql(statement)).toEqual([
      [
        ...[18446744073709551615n, 1.5, [1, null], { a: ["b"] }, "2024-02-29"],
        ...[Uint8Array.of(120, 255), null, true, 0.5, "{'k': 1}"],
      ],
    ]);
  });

  it("leaves nothing behind", async () => {
    const { readdirSync } = await import("node:fs");
    const own = folder.file("spill");
    const results = await sqlResults([{ name: "x", trace }], "SELECT count(*) FROM event", {
      env: { TMPDIR: own },
    });
    expect(readdirSync(own).length).toBe(1);
    for await (const _ of results.rows);
    expect(readdirSync(own)).toEqual([]);
  });
});

describe("mistakes", () => {
  it.each([
    [
      "SELECT erno FROM syscall",
      "line 1: there is no column `erno`",
      "SELECT erno FROM syscall\n       ^\ndid you mean errno?",
    ],
    [
      "SELECT seq\nFROM evnt",
      "line 2: there is no table `evnt`",
      "FROM evnt\n     ^\ndid you mean event?",
    ],
    [
      "SELECT s.nme FROM syscall s",
      "line 1: there is no column `nme`",
      /\n {7}\^\ndid you mean name\?/,
    ],
    ["SELEC 1", 'line 1: syntax error at or near "SELEC"', "SELEC 1\n^"],
    ["SELECT count(DISTINCT) FROM fd", /line 1: syntax error/, /\^/],
    ["SELECT 1; SELECT zz FROM fd", /there is no column `zz`/, /\^/],
    ["SELECT 'a'::INTEGER FROM exec", /Could not convert string 'a'/, undefined],
  ])("%s", async (statement, message, hint) => {
    const error = await failure(statement);
    expect(error.code).toBe("BAD_SQL");
    expect(error.message).toMatch(message);
    if (hint !== undefined) expect(error.hint).toMatch(hint);
  });
});

describe("what a statement needs", () => {
  it.each([
    [
      "SELECT name, count(*) FROM syscall WHERE err IS NOT NULL GROUP BY name",
      { syscall: ["err", "name"] },
    ],
    ["SELECT count(*) FROM event", { event: [] }],
    [
      "WITH a AS (SELECT seq FROM exec) SELECT * FROM a JOIN env USING (seq)",
      { env: "all", exec: ["seq"] },
    ],
    [
      "SELECT pid FROM process WHERE proc IN (SELECT proc FROM fd WHERE path LIKE '/etc%')",
      { fd: ["path", "proc"], process: ["pid", "proc"] },
    ],
    ["FROM lost", { lost: "all" }],
    ["SELECT a.seq FROM exec a, exec b WHERE a.time < b.until", { exec: ["seq", "time", "until"] }],
    ["SELECT path FROM file ORDER BY bytes_read DESC LIMIT 3", { file: ["bytes_read", "path"] }],
  ])("%s", async (statement, expected) => {
    const database = await Database.open();
    try {
      for (const table of TABLES) {
        const defs = sqlColumns(table).map((column) => `${quoted(column.name)} ${sqlType(column)}`);
        await database.connection.run(`CREATE TABLE ${quoted(table.name)} (${defs.join(", ")})`);
      }
      const needs = await needsOf(database, statement);
      const all = (name: string) =>
        sqlColumns(TABLES.find((table) => table.name === name) as never)
          .map((column) => column.name)
          .sort();
      const wanted = Object.entries(expected).map(([name, columns]) => [
        name,
        columns === "all" ? all(name) : columns,
      ]);
      expect([...needs].map(([name, columns]) => [name, [...columns].sort()]).sort()).toEqual(
        wanted,
      );
    } finally {
      database.close();
    }
  });
});

describe("too little memory", () => {
  it("is said wherever it is wanting, and nothing is answered from what there was room for", async () => {
    const path = folder.file("large.trace");
    const text = new TextTrace().thread(1, 1, 7, 7).event("task", { args: [0, 0] });
    for (let k = 0; k < 40_000; k++) text.call("getpid", { ret: 7 });
    await text.write(path);
    const large = await openTrace(path);
    const runs = [{ name: "large", trace: large }];
    const [statement, codes] = ["SELECT count(*) FROM event WHERE ret = 7", new Set<unknown>()];
    for (const memory of [1, 32_000, 64_000, 128_000, 256_000, 512_000, 1_000_000, 64_000_000]) {
      const answer = async () => {
        const rows: ResultValue[][] = [];
        for await (const row of (await sqlResults(runs, statement, { memory })).rows)
          rows.push([...row]);
        return rows;
      };
      const found = await answer().catch((error: unknown) => error as TraceError);
      if (Array.isArray(found)) expect(found).toEqual([[40_000n]]);
      else codes.add(found.code);
      const draft = folder.file(`of-${memory}.parquet`);
      const written = await newParquet(draft, false, { runs, statement }, { memory }).catch(
        (error: unknown) => error as TraceError,
      );
      expect(existsSync(draft)).toBe(written === undefined);
      if (written !== undefined) codes.add(written.code);
    }
    large.close();
    expect([...codes]).toEqual(["OUT_OF_MEMORY"]);
  });
});

describe("a trace that is not whole", () => {
  it("answers with what there is, and says so then", async () => {
    const path = folder.file("damaged.trace");
    const text = new TextTrace().thread(1, 1, 7, 7).event("task", { args: [0, 0] });
    for (let k = 0; k < 40_000; k++) text.call("getpid", { ret: 7 });
    await text.write(path);
    truncateSync(path, Math.floor(statSync(path).size * 0.6));
    const cut = await openTrace(path);
    expect(cut.state).toBe("cut");
    const results = await sqlResults([{ name: "cut", trace: cut }], "SELECT count(*) FROM event");
    for await (const [count] of results.rows) expect(count).toBe(BigInt(cut.eventCount));
    cut.close();
  });
});

describe("Parquet", () => {
  it("is read back as it was", async () => {
    const path = folder.file("out.parquet");
    const what = { runs: [{ name: "x", trace }], statement: "SELECT seq, name, ret FROM syscall;" };
    await newParquet(path, false, what, {});
    expect(await sql(`FROM '${path}'`)).toEqual(await sql("SELECT seq, name, ret FROM syscall"));
    expect(existsSync(`${path}.partial`)).toBe(false);
    const again = newParquet(path, false, what, {});
    await expect(again).rejects.toMatchObject({
      code: "EXISTS",
      hint: expect.stringContaining("--force"),
    });
    await newParquet(path, true, what, {});
  });

  it("that cannot be written says why", async () => {
    const what = { runs: [{ name: "x", trace }], statement: "SELECT 1" };
    const path = folder.file("nowhere/out.parquet");
    await expect(newParquet(path, false, what, {})).rejects.toMatchObject({
      code: "IO",
      message: expect.stringContaining("nowhere"),
    });
  });

  it("leaves a folder alone that has the name of its draft", async () => {
    const path = folder.file("taken.parquet");
    mkdirSync(`${path}.partial`);
    writeFileSync(`${path}.partial/notes`, "mine");
    const what = { runs: [{ name: "x", trace }], statement: "SELECT 1" };
    await expect(newParquet(path, false, what, {})).rejects.toMatchObject({ code: "IO" });
    expect(readFileSync(`${path}.partial/notes`, "utf8")).toBe("mine");
  });
});
