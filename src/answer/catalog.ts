/** What can be asked: tables with their columns, and saved queries; as text, Markdown and JSON. */

import { parseFilter } from "../query/filter/index.js";
import { vocabulary } from "../query/syscalls.js";
import { tableMarkdown, tableText } from "../report/table.js";
import { wrap } from "../report/text.js";
import { sqlType } from "../sql/types.js";
import { columnsNamed, type Row, type RowValue, rowBatches } from "../tables/builder.js";
import { fieldSetOf } from "../tables/fields.js";
import { findTable, TABLES } from "../tables/registry.js";
import { selectRows } from "../tables/rows.js";
import type { TableBatch, TableColumn, TableDef } from "../tables/table.js";
import type { Trace } from "../trace/trace.js";
import { answer, type Question, type Run } from "./answer.js";
import { RUN, runBatches } from "./runs.js";
import { SAVED_QUERIES } from "./saved/index.js";
import type { SavedQuery } from "./saved/saved.js";

/** What a saved query asks. */
export function questionOf(query: SavedQuery, showSecrets = false): Question {
  const table = findTable(query.table);
  if (table === undefined) throw new Error(`no table ${query.table}`);
  const { columns, where, group, order, limit } = query;
  const filter = where && parseFilter(where, { vocabulary, fields: fieldSetOf(table) });
  return {
    table,
    columns,
    showSecrets,
    ...(filter && { filter }),
    ...(group && { group }),
    ...(order && { order }),
    ...(limit !== undefined && { limit }),
  };
}

export function listText(): string {
  const rows = SAVED_QUERIES.map(({ name, doc }) => [`@${name}`, doc]);
  return tableText([left("query"), left("what it answers")], rows);
}

function left(head: string) {
  return { head, align: "left" } as const;
}

const columnHeads = ["column", "type", "unit", "what it is"].map(left);

/** The tables; of those that are named the columns, too. */
export function schemaText(tables: readonly TableDef[], format: string): string {
  if (format === "json" || format === "jsonl") return schemaJson(tables);
  if (tables.length === 0 && format !== "md") {
    const rows = TABLES.map(({ name, doc, columns }) => [name, String(columns.length), doc]);
    const heads = [left("table"), { head: "columns", align: "right" } as const, left("a row is")];
    return `${tableText(heads, rows)}\ntrace query --schema TABLE lists its columns\n`;
  }
  const chosen = tables.length === 0 ? TABLES : tables;
  return chosen.map((table) => tableSchema(table, format === "md")).join("\n");
}

/** Width of what a column is, on a terminal of 80. */
const DOC_WIDTH = 44;

function tableSchema({ name, doc, columns }: TableDef, isMarkdown: boolean): string {
  if (isMarkdown) {
    const rows = columns.map((column) => [...cells(column), column.doc]);
    return `### ${name}\n\n${doc}\n\n${tableMarkdown(columnHeads, rows)}`;
  }
  const rows = columns.flatMap((column) => {
    const [first = "", ...more] = wrap(column.doc, DOC_WIDTH);
    return [[...cells(column), first], ...more.map((line) => ["", "", "", line])];
  });
  return `${name}: ${doc}\n${tableText(columnHeads, rows)}`;
}

function cells({ name, type, unit, nullable }: TableColumn): string[] {
  return [name, `${sqlType({ type })}${nullable ? "?" : ""}`, unit ?? ""];
}

function schemaJson(tables: readonly TableDef[]): string {
  const list = (tables.length === 0 ? TABLES : tables).map(({ name, doc, columns }) => ({
    name,
    doc,
    columns: columns.map((column) => ({ ...column, type: sqlType(column) })),
  }));
  return `${JSON.stringify({ schema: "trace.tables", version: 1, tables: list }, undefined, 2)}\n`;
}

/** The rows that a question chooses, as batches; of several traces with a column `run` first. */
export function batchesOf(
  runs: readonly Run[],
  question: Question,
): { readonly columns: readonly TableColumn[]; readonly batches: AsyncIterable<TableBatch> } {
  const own = question.columns.map((name) => columnOf(question, name));
  const columns = runs.length > 1 ? [RUN, ...own] : own;
  const { table, filter, group, order, limit, showSecrets = false } = question;
  if (group !== undefined || order !== undefined) {
    return { columns, batches: rowBatches(columns, rowsOf(runs, question)) };
  }
  const scan = (trace: Trace, names: readonly string[]) =>
    selectRows(trace, table, { columns: names, showSecrets, ...(filter && { filter }) });
  return { columns, batches: runBatches(runs, columns, scan, limit) };
}

/** A column of the answer: one of the table, or the number of rows of a group. */
function columnOf({ table, group }: Question, name: string): TableColumn {
  if (group?.count === name) return { name, type: "int", doc: "how many rows", nullable: false };
  return columnsNamed(table.columns, [name])[0] as TableColumn;
}

/** Rows of a table hold no lists and structures: those come from SQL only. */
async function* rowsOf(runs: readonly Run[], question: Question): AsyncGenerator<Row> {
  for await (const row of answer(runs, question).rows) {
    yield row.map((value) => (value ?? undefined) as RowValue);
  }
}
