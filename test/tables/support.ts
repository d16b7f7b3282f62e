/** Rows of tables as objects, for tests. */

import { columnsNamed } from "../../src/tables/builder.js";
import { findTable } from "../../src/tables/registry.js";
import { type CellValue, cellOf } from "../../src/tables/rows.js";
import type { Scan, TableBatch, TableDef } from "../../src/tables/table.js";
import { openTrace } from "../../src/trace/open.js";
import type { Trace } from "../../src/trace/trace.js";

export type Row = Readonly<Record<string, CellValue | undefined>>;

export function tableNamed(name: string): TableDef {
  const table = findTable(name);
  if (table === undefined) throw new Error(`no table ${name}`);
  return table;
}

export function rowsOf(batch: TableBatch, names: readonly string[]): Row[] {
  return Array.from({ length: batch.count }, (_, i) =>
    Object.fromEntries(names.map((name, k) => [name, cellOf(batch.columns[k] as never, i)])),
  );
}

/** All rows of a table. */
export async function readTable(
  trace: Trace,
  name: string,
  scan: Partial<Scan> = {},
): Promise<Row[]> {
  const table = tableNamed(name);
  const columns = scan.columns ?? table.columns.map((column) => column.name);
  columnsNamed(table.columns, columns);
  const rows: Row[] = [];
  for await (const batch of table.scan(trace, { ...scan, columns })) {
    for (const row of rowsOf(batch, columns)) rows.push(row);
  }
  return rows;
}

export async function withTrace<T>(path: string, use: (trace: Trace) => Promise<T>): Promise<T> {
  const trace = await openTrace(path);
  try {
    return await use(trace);
  } finally {
    trace.close();
  }
}
