/**
 * Rows of a table that a filter chooses. For tables of events the filter is applied to the events, before a column is
 * made; for the others to their rows.
 */

import {
  compileFilter,
  type EventPredicate,
  type FieldGetter,
  type FieldResolver,
  type Filter,
} from "../query/filter/index.js";
import { fieldsOf } from "../query/resolver.js";
import { selectEvents } from "../query/select.js";
import type { Trace } from "../trace/trace.js";
import { fieldSetOf } from "./fields.js";
import type { ColumnData, Scan, TableBatch, TableDef } from "./table.js";

export interface RowsOptions extends Pick<Scan, "showSecrets"> {
  /** Names of columns; all when left out. */
  readonly columns?: readonly string[];
  /** As `parseFilter` reads it with the fields of the table. */
  readonly filter?: Filter;
}

/**
 * Batches of the chosen rows; none of them is empty. A damaged block ends them with an error, after everything that was
 * before it.
 */
export async function* selectRows(
  trace: Trace,
  table: TableDef,
  options: RowsOptions = {},
): AsyncGenerator<TableBatch> {
  const { filter, columns = table.columns.map(({ name }) => name), showSecrets = false } = options;
  if (filter === undefined || table.ofEvents) {
    const events = filter === undefined ? undefined : await selectEvents(trace, filter);
    yield* table.scan(trace, { columns, showSecrets, ...(events && { events }) });
    return;
  }
  const asked = [...new Set([...columns, ...fieldsAsked(filter)])];
  const resolver = new TableResolver(table, asked);
  const keep = compileFilter(filter, resolver);
  for await (const batch of table.scan(trace, { columns: asked, showSecrets })) {
    resolver.batch = batch;
    const chosen = chosenRows(batch.count, keep);
    const wanted = batch.columns.slice(0, columns.length);
    if (chosen.length === batch.count) yield { count: batch.count, columns: wanted };
    else if (chosen.length > 0) yield gather(wanted, chosen);
  }
}

/** Columns that the filter looks at, also by its ranges and selectors. */
function fieldsAsked(filter: Filter): Set<string> {
  const found = fieldsOf(filter);
  const walk = (part: Filter): void => {
    if (part.type === "and" || part.type === "or") part.terms.forEach(walk);
    else if (part.type === "not") walk(part.term);
    else if (part.type === "events") found.add("seq");
    else if (part.type === "times") found.add("time");
    else if (part.type === "process") found.add(part.thread === undefined ? "proc" : "thread");
  };
  walk(filter);
  return found;
}

function chosenRows(count: number, keep: EventPredicate): Uint32Array {
  const rows = new Uint32Array(count);
  let chosen = 0;
  for (let i = 0; i < count; i++) if (keep(i)) rows[chosen++] = i;
  return rows.subarray(0, chosen);
}

/** The rows of a batch at those places. */
export function gather(columns: readonly ColumnData[], rows: Uint32Array): TableBatch {
  return { count: rows.length, columns: columns.map((column) => gathered(column, rows)) };
}

function gathered(column: ColumnData, rows: Uint32Array): ColumnData {
  const values = column.values.slice(0, rows.length);
  const nulls = column.nulls && new Uint8Array(rows.length);
  rows.forEach((row, k) => {
    values[k] = column.values[row] as never;
    if (nulls !== undefined) nulls[k] = column.nulls?.[row] ?? 0;
  });
  return { ...column, values, ...(nulls && { nulls }) } as ColumnData;
}

/** The columns of batches as fields of the filter language. */
class TableResolver implements FieldResolver {
  batch: TableBatch | undefined;
  readonly fieldSet;
  readonly #columns: readonly string[];

  constructor(table: TableDef, columns: readonly string[]) {
    this.fieldSet = fieldSetOf(table);
    this.#columns = columns;
  }

  field(name: string): FieldGetter | undefined {
    const place = this.#columns.indexOf(name);
    if (place < 0) return undefined;
    return (i) => {
      const column = this.batch?.columns[place];
      return column === undefined ? undefined : cellOf(column, i);
    };
  }

  nameSet(): EventPredicate {
    throw new Error("the filter was parsed for a table without calls");
  }
}

/** One value of a column; undefined where the row has none. */
export type CellValue = number | bigint | boolean | string | Uint8Array;

/** A `word` is a number where that holds it exactly. */
export function cellOf(column: ColumnData, i: number): CellValue | undefined {
  if (column.nulls?.[i] === 1) return undefined;
  switch (column.type) {
    case "int":
      return column.values[i];
    case "bool":
      return column.values[i] === 1;
    case "text":
      return column.dictionary.text(column.values[i] ?? 0);
    case "bytes":
      return column.dictionary.bytes(column.values[i] ?? 0);
    case "word":
      return exact(column.values[i] ?? 0n);
  }
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
