/** Rows in columns: for terminals, as Markdown, as CSV. */

import { type Painter, plainPainter, type Style } from "./color.js";
import { cut, cutMiddle, printable, width } from "./text.js";

export interface Column {
  readonly head: string;
  /** Numbers stand right, texts left. */
  readonly align: "left" | "right";
  /** Which part of a text that is too long is left out. One column at most. */
  readonly shrink?: "end" | "middle";
  /** On a narrow terminal columns with a number are left out, the largest first. */
  readonly drop?: number;
}

/** Text, or text with a style. */
export type Cell = string | { readonly text: string; readonly style: Style };

export interface TableOptions {
  readonly paint?: Painter;
  /** Columns of the terminal; the column with `shrink` gives way. Left out: nothing is cut. */
  readonly width?: number;
  /** Row below a rule, such as the sums. */
  readonly foot?: readonly Cell[];
}

const GAP = "  ";

function textOf(cell: Cell | undefined): string {
  return typeof cell === "string" ? cell : (cell?.text ?? "");
}

function widths(columns: readonly Column[], rows: readonly (readonly Cell[])[], limit: number) {
  const found = columns.map((column, k) => Math.max(width(column.head), ...spans(rows, k), 1));
  const total = found.reduce((sum, columns) => sum + columns, GAP.length * (columns.length - 1));
  const shrinking = columns.findIndex((column) => column.shrink !== undefined);
  if (total > limit && shrinking >= 0) {
    found[shrinking] = Math.max(12, (found[shrinking] ?? 0) - (total - limit));
  }
  return found;
}

/** The widest cell of a column, in a list of one (a spread of a million cells would be too much). */
function spans(rows: readonly (readonly Cell[])[], k: number): [number] {
  let most = 0;
  for (const row of rows) most = Math.max(most, width(printable(textOf(row[k]))));
  return [most];
}

/** What the column that gives way keeps before others are left out. */
const KEPT = 24;

/** Indexes of the columns that a terminal of that width has room for. */
function fitting(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  limit: number,
): number[] {
  const natural = widths(columns, rows, Number.POSITIVE_INFINITY);
  const least = natural.map((own, k) =>
    columns[k]?.shrink === undefined ? own : Math.min(own, KEPT),
  );
  const shown = new Set(columns.keys());
  const dropped = [...columns.keys()]
    .filter((k) => columns[k]?.drop !== undefined)
    .sort((a, b) => (columns[b]?.drop ?? 0) - (columns[a]?.drop ?? 0));
  const total = () =>
    [...shown].reduce((sum, k) => sum + (least[k] ?? 0) + GAP.length, -GAP.length);
  for (const k of dropped) if (total() > limit) shown.delete(k);
  return [...shown];
}

/** Columns of the rule under the last column, whose texts may be of any length where nothing cuts them. */
const LONGEST_LAST_RULE = 40;

/** Lines without trailing blanks, each ended. */
export function tableText(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  options: TableOptions = {},
): string {
  const { width: limit = Number.POSITIVE_INFINITY, foot } = options;
  const shown = fitting(columns, foot === undefined ? rows : [...rows, foot], limit);
  if (shown.length === columns.length) return linesText(columns, rows, options);
  const part = (cells: readonly Cell[]) => shown.map((k) => cells[k] ?? "");
  return linesText(
    columns.filter((_, k) => shown.includes(k)),
    rows.map(part),
    foot === undefined ? options : { ...options, foot: part(foot) },
  );
}

function linesText(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  options: TableOptions,
): string {
  const { paint = plainPainter, foot } = options;
  const all = foot === undefined ? rows : [...rows, foot];
  const room = widths(columns, all, options.width ?? Number.POSITIVE_INFINITY);
  const line = (cells: readonly Cell[], style?: Style) => {
    const parts = columns.map((column, k) =>
      cellText(column, cells[k] ?? "", room[k] ?? 0, k, paint, style),
    );
    return `${parts.join(GAP).replace(/ +$/, "")}\n`;
  };
  const cellText = (
    column: Column,
    cell: Cell,
    columnsOf: number,
    k: number,
    painted: Painter,
    style?: Style,
  ) => {
    const shrink = column.shrink === "middle" ? cutMiddle : cut;
    const text = shrink(printable(textOf(cell)), columnsOf);
    const own = typeof cell === "string" ? style : cell.style;
    const blank = " ".repeat(columnsOf - width(text));
    const shown = own === undefined ? text : painted(own, text);
    if (column.align === "right") return blank + shown;
    return k === columns.length - 1 ? shown : shown + blank;
  };
  let out = line(
    columns.map((column) => column.head),
    "bold",
  );
  for (const row of rows) out += line(row);
  // A rule need not be as long as the longest command.
  const rule = (columnsOf: number, k: number) =>
    "-".repeat(k === columns.length - 1 ? Math.min(columnsOf, LONGEST_LAST_RULE) : columnsOf);
  if (foot !== undefined) out += line(room.map(rule)) + line(foot);
  return out;
}

export function tableMarkdown(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
): string {
  const cell = (text: string) => printable(text).replaceAll("|", "\\|").replaceAll("`", "\\`");
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  let out = line(columns.map((column) => cell(column.head)));
  out += line(columns.map((column) => (column.align === "right" ? "---:" : "---")));
  for (const row of rows) out += line(columns.map((_, k) => cell(textOf(row[k]))));
  return out;
}

/** As RFC 4180 has it, with plain line ends. */
export function csvText(rows: readonly (readonly (string | number | undefined)[])[]): string {
  let out = "";
  for (const row of rows) out += `${row.map(csvCell).join(",")}\n`;
  return out;
}

/** One value; nothing for none. */
export function csvCell(value: string | number | undefined): string {
  if (typeof value === "number") return String(value);
  const text = value ?? "";
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
