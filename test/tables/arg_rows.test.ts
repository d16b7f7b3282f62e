/** Rows of table `arg`, where there are more keys than one dictionary takes. */

import { expect, it } from "vitest";
import { ArgRows } from "../../src/tables/arg_rows.js";
import { cellOf } from "../../src/tables/rows.js";
import type { TableBatch, TableColumn } from "../../src/tables/table.js";

const columns: readonly TableColumn[] = [
  { name: "seq", type: "int", doc: "", nullable: false },
  { name: "key", type: "text", doc: "", nullable: false },
  { name: "flat_key", type: "text", doc: "", nullable: false },
  { name: "int_value", type: "word", doc: "", nullable: true },
];

function cells(batches: readonly TableBatch[]) {
  return batches.flatMap((batch) =>
    Array.from({ length: batch.count }, (_, i) => batch.columns.map((column) => cellOf(column, i))),
  );
}

it("keys stay what they are when a dictionary is full, also within an event", () => {
  const rows = new ArgRows(columns);
  const expected: unknown[][] = [];
  for (let seq = 0; seq < 2; seq++) {
    rows.begin(seq);
    const list = rows.keys.field("list");
    const last = rows.keys.field("last").field("len");
    for (let k = 0; k < 265_000; k++) {
      rows.add(list.item(k), k);
      expected.push([seq, `list[${k}]`, "list", k]);
    }
    rows.add(last, seq - 7);
    expected.push([seq, "last.len", "last.len", seq - 7]);
  }
  const found = cells([...rows.rest()]);
  expect(found.length).toBe(expected.length);
  for (let k = 0; k < found.length; k += 997) expect(found[k]).toEqual(expected[k]);
  expect(found.filter(([, , flat]) => flat === "last.len")).toEqual(
    expected.filter(([, , flat]) => flat === "last.len"),
  );
});

it("words are whole whatever their size and sign", () => {
  const rows = new ArgRows(columns);
  const values = [0, -0, 1, -1, 2 ** 31, 2 ** 32 + 5, -(2 ** 32) - 5, 2 ** 53 - 1, 1 - 2 ** 53];
  const large = [2n ** 63n, 2n ** 64n - 1n, -(2n ** 63n)];
  rows.begin(0);
  for (const value of [...values, ...large]) rows.add(rows.keys.field("n"), value);
  const found = cells([...rows.rest()]).map((row) => BigInt(row[3] as number | bigint));
  expect(found).toEqual([...values, ...large].map((value) => BigInt.asIntN(64, BigInt(value))));
});
