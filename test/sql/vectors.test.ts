/** Batches as DuckDB reads them back: every type, every value. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Database } from "../../src/sql/database.js";
import { type Row, rowTable } from "../../src/tables/builder.js";
import { Dictionary } from "../../src/tables/dictionary.js";
import type { TableBatch, TableColumn } from "../../src/tables/table.js";
import type { Trace } from "../../src/trace/trace.js";

const columns: readonly TableColumn[] = [
  { name: "n", type: "int", doc: "a number", nullable: true },
  { name: "w", type: "word", doc: "a large number", nullable: true },
  { name: "b", type: "bool", doc: "yes or no", nullable: true },
  { name: "t", type: "text", doc: "a text", nullable: true },
  { name: "raw", type: "bytes", doc: "some bytes", nullable: true },
];

function batches(rows: readonly Row[]): AsyncIterable<TableBatch> {
  const table = rowTable({ name: "x", doc: "rows", columns }, async function* () {
    yield* rows;
  });
  return table.scan({} as Trace, { columns: columns.map(({ name }) => name) });
}

async function stored(from: AsyncIterable<TableBatch>): Promise<unknown[][]> {
  const database = await Database.open();
  try {
    expect(await database.fill("memory", "x", columns, from)).toBeUndefined();
    const reader = await database.connection.runAndReadAll("FROM memory.main.x");
    return reader.getRows().map((row) => row.map((value) => database.plain(value)));
  } finally {
    database.close();
  }
}

function expected([n, w, b, t, raw]: Row): unknown[] {
  return [
    n === undefined ? null : BigInt(n as number),
    w === undefined ? null : BigInt(w as bigint),
    b ?? null,
    t ?? null,
    raw ?? null,
  ];
}

const maybe = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined });
const row: fc.Arbitrary<Row> = fc.tuple(
  maybe(fc.maxSafeInteger()),
  maybe(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  maybe(fc.boolean()),
  // Short texts stand in the vector itself, long ones elsewhere.
  maybe(fc.string({ unit: "binary", maxLength: 40 })),
  maybe(fc.uint8Array({ maxLength: 40 })),
);

describe("vectors", () => {
  it("hold what was put into them", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 50 }), async (rows) => {
        expect(await stored(batches(rows))).toEqual(rows.map(expected));
      }),
      { numRuns: 25 },
    );
  });

  it("hold more rows and texts than one of them has room for", async () => {
    const rows: Row[] = Array.from({ length: 20_011 }, (_, k) => [
      k % 3 === 0 ? undefined : k - 10_000,
      BigInt(k) << 40n,
      k % 2 === 0,
      // New texts come in every batch, behind those that are known.
      k % 5 === 0 ? undefined : `a text that is long enough, ${Math.floor(k / 3)}`,
      k % 7 === 0 ? undefined : Uint8Array.of(k & 255, k >> 8),
    ]);
    expect(await stored(batches(rows))).toEqual(rows.map(expected));
  });

  it("go on with another dictionary", async () => {
    async function* two(): AsyncGenerator<TableBatch> {
      for (const word of ["first", "second, with more than twelve bytes"]) {
        const dictionary = new Dictionary("text");
        dictionary.code("not used");
        const values = Uint32Array.of(dictionary.code(word), 0);
        const nulls = Uint8Array.of(0, 1);
        const bytes = new Dictionary("bytes");
        yield {
          count: 2,
          columns: [
            { type: "int", values: Float64Array.of(1, 2) },
            { type: "word", values: BigInt64Array.of(1n, -2n) },
            { type: "bool", values: Uint8Array.of(0, 1) },
            { type: "text", values, nulls, dictionary },
            // No value at all: there is no text that the codes could mean.
            {
              type: "bytes",
              values: Uint32Array.of(0, 0),
              nulls: Uint8Array.of(1, 1),
              dictionary: bytes,
            },
          ],
        };
      }
    }
    expect(await stored(two())).toEqual([
      [1n, 1n, false, "first", null],
      [2n, -2n, true, null, null],
      [1n, 1n, false, "second, with more than twelve bytes", null],
      [2n, -2n, true, null, null],
    ]);
  });
});
