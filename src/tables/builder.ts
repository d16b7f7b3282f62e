/**
 * Batches from rows that come one by one: for tables that are small beside the trace, where a list per row costs
 * nothing that matters. Tables of events fill whole columns instead (event_columns.ts).
 */

import type { Trace } from "../trace/trace.js";
import { Dictionary } from "./dictionary.js";
import type { ColumnData, Scan, TableBatch, TableColumn, TableDef } from "./table.js";

/** A value by the type of its column; undefined where the row has none. */
export type RowValue = number | bigint | boolean | string | Uint8Array | undefined;

/** The values of a row, in the order of the table's columns. */
export type Row = readonly RowValue[];

const ROWS = 8192;

/** The columns of those names. Unknown names are an error of the program: users' names were checked before. */
export function columnsNamed<C extends TableColumn>(
  all: readonly C[],
  names: readonly string[],
): C[] {
  return names.map((name) => {
    const column = all.find((one) => one.name === name);
    if (column === undefined) throw new Error(`no column ${name}`);
    return column;
  });
}

/** A table whose rows a generator makes. */
export function rowTable(
  def: Pick<TableDef, "name" | "doc" | "columns" | "brief">,
  rows: (trace: Trace, scan: Scan) => AsyncIterable<Row>,
): TableDef {
  return {
    ...def,
    ofEvents: false,
    scan: (trace, scan) => {
      const wanted = columnsNamed(def.columns, scan.columns);
      const places = wanted.map((column) => def.columns.indexOf(column));
      return rowBatches(wanted, rows(trace, scan), places);
    },
  };
}

/** Rows as batches of these columns; `places`: where in a row the values of each are. */
export async function* rowBatches(
  columns: readonly TableColumn[],
  rows: AsyncIterable<Row>,
  places: readonly number[] = columns.map((_, k) => k),
): AsyncGenerator<TableBatch> {
  const builders = columns.map((column) => new ColumnBuilder(column));
  let count = 0;
  const take = (): TableBatch => {
    const batch = { count, columns: builders.map((builder) => builder.take(count)) };
    count = 0;
    return batch;
  };
  try {
    for await (const row of rows) {
      builders.forEach((builder, k) => {
        builder.set(count, row[places[k] ?? -1]);
      });
      count += 1;
      if (count === ROWS) yield take();
    }
  } catch (error) {
    // What was before the damage belongs to the reader.
    if (count > 0) yield take();
    throw error;
  }
  if (count > 0) yield take();
}

type Values = Float64Array | BigInt64Array | Uint8Array | Uint32Array;

/** One column of a batch that is being made. */
class ColumnBuilder {
  readonly #column: TableColumn;
  #values: Values;
  #nulls: Uint8Array | undefined;
  #dictionary: Dictionary | undefined;

  constructor(column: TableColumn) {
    this.#column = column;
    this.#values = emptyValues(column);
    if (column.type === "text" || column.type === "bytes")
      this.#dictionary = new Dictionary(column.type);
  }

  set(row: number, value: RowValue): void {
    if (value === undefined) {
      this.#nulls ??= new Uint8Array(ROWS);
      this.#nulls[row] = 1;
      return;
    }
    const values = this.#values;
    if (values instanceof BigInt64Array)
      values[row] = BigInt.asIntN(64, BigInt(value as number | bigint));
    else if (this.#dictionary === undefined) values[row] = Number(value);
    else values[row] = this.#dictionary.code(value as string | Uint8Array);
  }

  take(count: number): ColumnData {
    const { type } = this.#column;
    const data = {
      type,
      values: this.#values.subarray(0, count),
      ...(this.#nulls !== undefined && { nulls: this.#nulls.subarray(0, count) }),
      ...(this.#dictionary !== undefined && { dictionary: this.#dictionary }),
    } as ColumnData;
    this.#values = emptyValues(this.#column);
    this.#nulls = undefined;
    if (this.#dictionary?.isLarge === true)
      this.#dictionary = new Dictionary(this.#dictionary.kind);
    return data;
  }
}

function emptyValues({ type }: TableColumn): Values {
  switch (type) {
    case "int":
      return new Float64Array(ROWS);
    case "word":
      return new BigInt64Array(ROWS);
    case "bool":
      return new Uint8Array(ROWS);
    default:
      return new Uint32Array(ROWS);
  }
}
