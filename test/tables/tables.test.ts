/** What holds for every table, over the checked-in recordings and a trace written by hand. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EVENT_FIELDS } from "../../src/query/fields.js";
import { TABLES } from "../../src/tables/registry.js";
import type { ColumnData, TableBatch, TableDef } from "../../src/tables/table.js";
import type { Trace } from "../../src/trace/trace.js";
import { sampleTrace, temporaryFolder } from "../support/text_trace.js";
import { readTable, rowsOf, withTrace } from "./support.js";

const folder = temporaryFolder();
const recordings = fileURLToPath(new URL("../../traces/", import.meta.url));
const traces = readdirSync(recordings)
  .filter((name) => name.endsWith(".trace"))
  .map((name) => join(recordings, name));

beforeAll(async () => {
  const path = folder.file("sample.trace");
  await sampleTrace().write(path);
  traces.push(path);
});
afterAll(() => folder.remove());

const arrays = {
  int: Float64Array,
  word: BigInt64Array,
  bool: Uint8Array,
  text: Uint32Array,
  bytes: Uint32Array,
} as const;

function checkColumn(column: ColumnData, count: number, isNullable: boolean, name: string): void {
  expect(column.values, name).toBeInstanceOf(arrays[column.type]);
  expect(column.values.length, name).toBe(count);
  if (column.nulls === undefined) {
    checkCodes(column, name);
    return;
  }
  expect(column.nulls.length, name).toBe(count);
  const isNull = column.nulls.some((flag) => flag !== 0);
  if (!isNullable) expect(isNull, `${name} has no value somewhere`).toBe(false);
  checkCodes(column, name);
}

function checkCodes(column: ColumnData, name: string): void {
  if (column.type === "int") {
    column.values.forEach((value, i) => {
      if (column.nulls?.[i] !== 1)
        expect(Number.isSafeInteger(value), `${name}: ${value}`).toBe(true);
    });
  }
  if (column.type !== "text" && column.type !== "bytes") return;
  expect(column.dictionary.kind).toBe(column.type);
  column.values.forEach((code, i) => {
    if (column.nulls?.[i] !== 1) expect(code, name).toBeLessThan(column.dictionary.size);
  });
}

async function batchesOf(trace: Trace, table: TableDef, columns: readonly string[]) {
  const batches: TableBatch[] = [];
  for await (const batch of table.scan(trace, { columns })) batches.push(batch);
  return batches;
}

describe.each(TABLES.map((table) => [table.name, table] as const))("table %s", (_name, table) => {
  const names = table.columns.map(({ name }) => name);

  it("has columns with plain names, each once, and a line on each", () => {
    expect(new Set(names).size).toBe(names.length);
    expect((table.brief ?? []).filter((name) => !names.includes(name))).toEqual([]);
    for (const { name, doc } of table.columns) {
      expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
      expect(doc).toMatch(/^[^\n]{4,120}(?:[^.]|\.\.\.)$/);
    }
  });

  it("gives what it says, of every trace", async () => {
    for (const path of traces) {
      await withTrace(path, async (trace) => {
        for (const batch of await batchesOf(trace, table, names)) {
          expect(batch.count).toBeGreaterThan(0);
          expect(batch.columns.length).toBe(names.length);
          table.columns.forEach((column, k) => {
            const data = batch.columns[k] as ColumnData;
            expect(data.type, column.name).toBe(column.type);
            checkColumn(data, batch.count, column.nullable, `${path} ${table.name}.${column.name}`);
          });
        }
      });
    }
  });

  it("gives the same for some columns, in their order, as for all", async () => {
    for (const path of traces) {
      await withTrace(path, async (trace) => {
        const all = (await batchesOf(trace, table, names)).flatMap((batch) => rowsOf(batch, names));
        for (const name of names) {
          const pair = name === names[0] ? [name] : [name, names[0] ?? ""];
          const some = (await batchesOf(trace, table, pair)).flatMap((batch) =>
            rowsOf(batch, pair),
          );
          expect(some).toEqual(
            all.map((row) => Object.fromEntries(pair.map((key) => [key, row[key]]))),
          );
        }
      });
    }
  });

  it.runIf(table.ofEvents)("has a field for each column", () => {
    const without = names.filter((name) => EVENT_FIELDS.find(name) === undefined);
    expect(without).toEqual([]);
  });
});

describe("events", () => {
  it("are all there, but parts of restarted calls", async () => {
    for (const path of traces) {
      await withTrace(path, async (trace) => {
        let parts = 0;
        for await (const { flags } of trace.batches()) {
          for (const bits of flags) parts += (bits & 32) !== 0 ? 1 : 0;
        }
        const rows = await readTable(trace, "event", { columns: ["seq"] });
        expect(rows.length).toBe(trace.eventCount - parts);
      });
    }
  });
});

describe("what was lost", () => {
  it("tells of a trace that was cut", async () => {
    const { truncateSync, statSync } = await import("node:fs");
    const path = folder.file("cut.trace");
    await sampleTrace().write(path);
    truncateSync(path, statSync(path).size - 20);
    await withTrace(path, async (trace) => {
      expect(trace.state).toBe("cut");
      expect(await readTable(trace, "lost")).toContainEqual(
        expect.objectContaining({ what: "cut" }),
      );
    });
  });
});
