/** The library as its users call it: these are the examples of the README, and more. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openTrace, type ReadableTrace, TABLES } from "../src/index.js";
import { sampleTrace, temporaryFolder } from "./support/text_trace.js";

const folder = temporaryFolder();
let trace: ReadableTrace;

beforeAll(async () => {
  await sampleTrace().write(folder.file("sample.trace"));
  trace = await openTrace(folder.file("sample.trace"));
});
afterAll(() => {
  trace.close();
  folder.remove();
});

describe("an open trace", () => {
  it("is iterated block by block, as typed columns", async () => {
    let failed = 0;
    let nanos = 0;
    for await (const { count, flags, duration } of trace) {
      for (let i = 0; i < count; i++) {
        nanos += duration[i] ?? 0;
        if (((flags[i] ?? 0) & 8) !== 0) failed += 1;
      }
    }
    expect(failed).toBeGreaterThan(0);
    expect(nanos).toBeGreaterThan(12_000_000);
  });

  it("gives the events that a filter chooses", async () => {
    const found = [];
    for await (const { seq, name, err, path } of trace.events("%file and failed")) {
      found.push([seq, name, err, path]);
    }
    expect(found).toEqual([[expect.any(Number), "openat", "ENOENT", "sub/../missing.conf"]]);
    let all = 0;
    for await (const _ of trace.events()) all += 1;
    // A part of a call that was restarted is no event of its own.
    expect(all).toBe(trace.eventCount - 1);
    const calls = [];
    const options = { table: "syscall", columns: ["name", "arg0", "flags"] } as const;
    for await (const row of trace.events("name = close", options)) calls.push(row);
    expect(calls.every((row) => Object.keys(row).join() === "name,arg0,flags")).toBe(true);
  });

  it("gives rows of every table", async () => {
    for (const table of TABLES) {
      for await (const row of trace.rows(table.name)) {
        expect(Object.keys(row)).toEqual(table.columns.map(({ name }) => name));
      }
    }
    const paths = [];
    const options = { columns: ["path"], filter: "opens > 0" };
    for await (const { path } of trace.rows("file", options)) paths.push(path);
    expect(paths).toEqual(["/etc/passwd"]);
  });

  it("gives tables as typed arrays", async () => {
    const sums = new Map<string, number>();
    for await (const { count, columns } of trace.table("syscall", { columns: ["name", "dur"] })) {
      const [names, durations] = columns;
      if (names?.type !== "text" || durations?.type !== "int") throw new Error("other types");
      for (let i = 0; i < count; i++) {
        const name = names.dictionary.text(names.values[i] ?? 0);
        sums.set(name, (sums.get(name) ?? 0) + (durations.values[i] ?? 0));
      }
    }
    expect(sums.get("read")).toBeGreaterThan(12_000_000);
  });

  it("answers SQL", async () => {
    const { columns, rows } = await trace.sql(
      "SELECT name, count(*) AS n FROM syscall GROUP BY name ORDER BY n DESC, name LIMIT 1",
    );
    expect(columns.map(({ name }) => name)).toEqual(["name", "n"]);
    expect(rows[0]?.n).toBeGreaterThan(1n);
    const again = await openTrace(folder.file("sample.trace"));
    const both = await trace.sql("SELECT count(DISTINCT proc) AS n, count(*) AS m FROM exec", {
      with: [again],
    });
    expect(both.rows).toEqual([{ n: 2n, m: 4n }]);
    again.close();
  });
});

describe("mistakes", () => {
  it("are errors with a code and a way out", async () => {
    const first = (rows: AsyncIterable<unknown>) => rows[Symbol.asyncIterator]().next();
    await expect(first(trace.rows("fil"))).rejects.toMatchObject({
      code: "NO_TABLE",
      hint: "did you mean file?",
    });
    await expect(first(trace.rows("file", { columns: ["pth"] }))).rejects.toMatchObject({
      code: "NO_COLUMN",
    });
    await expect(first(trace.events("er = 1"))).rejects.toMatchObject({ code: "BAD_FILTER" });
    await expect(first(trace.rows("file", { filter: "x = 1" }))).rejects.toMatchObject({
      code: "BAD_FILTER",
    });
    await expect(trace.sql("SELECT nme FROM syscall")).rejects.toMatchObject({ code: "BAD_SQL" });
  });
});
