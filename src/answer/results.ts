/** The rows that a question gives, and how they are written: for people, as CSV, JSON, Markdown. */

import type { Painter } from "../report/color.js";
import {
  type Cell,
  type Column,
  csvCell,
  csvText,
  tableMarkdown,
  tableText,
} from "../report/table.js";
import { humanBytes, humanDuration } from "../report/units.js";
import type { Unit } from "../tables/table.js";

export type ResultValue =
  | number
  | bigint
  | boolean
  | string
  | Uint8Array
  | readonly ResultValue[]
  | { readonly [name: string]: ResultValue }
  | null;

export interface ResultColumn {
  readonly name: string;
  /** Numbers stand right. */
  readonly numeric: boolean;
  readonly unit?: Unit;
}

export type ResultRow = readonly ResultValue[];

/** Rows that come many at a time: waiting for each of them costs more than most of them do. */
export class ResultRows implements AsyncIterable<ResultRow> {
  readonly chunks: AsyncIterable<Iterable<ResultRow>>;

  constructor(chunks: AsyncIterable<Iterable<ResultRow>>) {
    this.chunks = chunks;
  }

  /** One by one. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ResultRow> {
    for await (const chunk of this.chunks) yield* chunk;
  }
}

export interface Results {
  readonly columns: readonly ResultColumn[];
  readonly rows: ResultRows;
}

export type ResultFormat = "text" | "csv" | "json" | "jsonl" | "md";

export interface RenderOptions {
  readonly format: ResultFormat;
  /** Rows of text and Markdown; a line says when there are more. 0: all. */
  readonly limit: number;
  readonly paint?: Painter;
  readonly width?: number;
  /** A trace was not whole: JSON says so, where its readers see it. */
  readonly partial?: boolean;
}

const CHUNK = 64 * 1024;

/** The results as pieces of text. An error among the rows comes after everything that was before it. */
export async function* renderResults(
  results: Results,
  options: RenderOptions,
): AsyncGenerator<string> {
  switch (options.format) {
    case "csv":
      yield* pieces(csvText([results.columns.map(({ name }) => name)]), results, csvLine, "");
      return;
    case "jsonl":
      yield* pieces("", results, jsonWriter(results.columns, "\n"), "");
      return;
    case "json":
      yield* jsonDocument(results, options.partial === true);
      return;
    default:
      yield* tables(results, options);
  }
}

type LineWriter = (row: ResultRow, isFirst: boolean) => string;

async function* pieces(
  head: string,
  { rows }: Results,
  line: LineWriter,
  foot: string,
): AsyncGenerator<string> {
  let text = head;
  let isFirst = true;
  try {
    for await (const chunk of rows.chunks) {
      for (const row of chunk) {
        text += line(row, isFirst);
        isFirst = false;
        if (text.length < CHUNK) continue;
        yield text;
        text = "";
      }
    }
  } catch (error) {
    yield text + foot;
    throw error;
  }
  yield text + foot;
}

const csvLine: LineWriter = (row) => {
  let line = "";
  for (let k = 0; k < row.length; k++) {
    if (k > 0) line += ",";
    line += csvCell(plainText(row[k] ?? null));
  }
  return `${line}\n`;
};

/** A value as the text of a cell; nothing for none. Bytes are hexadecimal. */
function plainText(value: ResultValue): string | number | undefined {
  if (value === null) return undefined;
  if (typeof value === "number" || typeof value === "string") return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  return typeof value === "object" ? jsonText(value) : String(value);
}

/** Whole numbers beyond 2^53 - 1 are strings; bytes are `{"base64":...}`, as `trace show --format=jsonl` has them. */
function jsonText(value: ResultValue): string {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? String(number) : `"${value}"`;
  }
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  if (value instanceof Uint8Array) return `{"base64":"${Buffer.from(value).toString("base64")}"}`;
  if (isList(value)) return `[${value.map(jsonText).join(",")}]`;
  const members = Object.entries(value).map(([name, member]) => jsonMember(name, member));
  return `{${members.join(",")}}`;
}

function isList(value: object): value is readonly ResultValue[] {
  return Array.isArray(value);
}

function jsonMember(name: string, value: ResultValue): string {
  return `${JSON.stringify(name)}:${jsonText(value)}`;
}

/** One object per row. A column without a value is there as null. */
function jsonWriter(columns: readonly ResultColumn[], end: string): LineWriter {
  const keys = columns.map(({ name }) => `${JSON.stringify(name)}:`);
  return (row) => `{${keys.map((key, k) => key + jsonText(row[k] ?? null)).join(",")}}${end}`;
}

async function* jsonDocument(results: Results, partial: boolean): AsyncGenerator<string> {
  const columns = results.columns.map(({ name }) => name);
  const mark = partial ? ',"partial":true' : "";
  const head = `{"schema":"trace.query","version":1${mark},"columns":${JSON.stringify(columns)},"rows":[\n`;
  const object = jsonWriter(results.columns, "\n");
  const line: LineWriter = (row, isFirst) => (isFirst ? "" : ",") + object(row, isFirst);
  yield* pieces(head, results, line, "]}\n");
}

/** Columns need their widths before the first line, so what is shown is held, up to the limit. */
async function* tables(results: Results, options: RenderOptions): AsyncGenerator<string> {
  const { format, limit, paint, width } = options;
  const text = format === "text";
  const shown: Cell[][] = [];
  let count = 0;
  let failure: { readonly error: unknown } | undefined;
  try {
    for await (const row of results.rows) {
      count += 1;
      // One more than is shown: then there are more, and how many is not worth reading them all.
      if (limit > 0 && count > limit) break;
      shown.push(row.map((value, k) => cellText(value, text ? results.columns[k] : undefined)));
    }
  } catch (error) {
    failure = { error };
  }
  const columns = tableColumns(results.columns);
  yield text
    ? tableText(columns, shown, { ...(paint && { paint }), ...(width && { width }) })
    : tableMarkdown(columns, shown);
  if (count > shown.length) yield "there are more rows; --limit 0 shows all\n";
  if (failure !== undefined) throw failure.error;
}

/** The widest text gives way on a narrow terminal: that of paths and arguments. */
function tableColumns(columns: readonly ResultColumn[]): Column[] {
  const shrinks = columns.findLastIndex(({ name }) => /path|argv|^text$|value|query/.test(name));
  return columns.map(({ name, numeric }, k) => ({
    head: name,
    align: numeric ? "right" : "left",
    ...(k === shrinks && { shrink: "middle" as const }),
  }));
}

/** With a column's unit, as people read it. */
function cellText(value: ResultValue, column: ResultColumn | undefined): string {
  if (value === null) return "";
  if (typeof value === "number" && column?.unit !== undefined) {
    if (column.unit === "ns") return humanDuration(value);
    if (column.unit === "bytes") return humanBytes(value);
    if (column.unit === "ns since start") return (value / 1e9).toFixed(6);
  }
  return String(plainText(value) ?? "");
}
