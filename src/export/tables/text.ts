/** Rows of one table as lines of text: CSV, or an object per line. */

import { type Piece, piece, Sink } from "../../show/sink.js";
import type { Dictionary } from "../../tables/dictionary.js";
import type { ColumnData, TableBatch, TableColumn, TableDef } from "../../tables/table.js";
import type { Target } from "../target.js";
import type { RowSink, Run, TableSink } from "./sink.js";

const CHUNK = 192 * 1024;

/** How a format writes a row. */
interface Style {
  /** The first line, if there is one. */
  head(columns: readonly string[]): string;
  /** What stands in front of the value of column `k`; the last is what ends the row. */
  between(columns: readonly string[]): readonly string[];
  readonly none: string;
  text(value: string): string;
  bytes(value: Uint8Array): string;
  /** Beyond what JSON readers hold exactly. */
  large(value: bigint): string;
}

const CSV: Style = {
  head: (columns) => `${columns.map(csvCell).join(",")}\n`,
  between: (columns) => [...columns.map((_, k) => (k === 0 ? "" : ",")), "\n"],
  none: "",
  // An empty text is told from no value by its quotes.
  text: (value) => (value === "" ? '""' : csvCell(value)),
  bytes: (value) => Buffer.from(value).toString("hex"),
  large: String,
};

const JSONL: Style = {
  head: () => "",
  between: (columns) => [
    ...columns.map((name, k) => `${k === 0 ? "{" : ","}${JSON.stringify(name)}:`),
    "}\n",
  ],
  none: "null",
  text: JSON.stringify,
  bytes: (value) => JSON.stringify(Buffer.from(value).toString("base64")),
  large: (value) => `"${value}"`,
};

export type RowFormat = "csv" | "jsonl";

function csvCell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Tables as text to one target; every table after the first has to have the same columns. */
export class TextSink implements TableSink {
  readonly #target: Target;
  readonly #style: Style;
  readonly #withRun: boolean;
  #isFirst = true;

  /** `withRun`: the first column says the run. */
  constructor(target: Target, format: RowFormat, withRun: boolean) {
    this.#target = target;
    this.#style = format === "csv" ? CSV : JSONL;
    this.#withRun = withRun;
  }

  async begin(run: Run, table: TableDef): Promise<RowSink> {
    const rows = new TextRows(
      this.#target,
      this.#style,
      table.columns,
      this.#withRun ? run.id : undefined,
    );
    if (this.#isFirst) await this.#target.write(rows.head);
    this.#isFirst = false;
    return rows;
  }

  get hasDraft(): boolean {
    return this.#target.hasDraft;
  }

  async finish(): Promise<void> {
    await this.#target.finish();
  }

  async abandon(): Promise<void> {
    await this.#target.abandon();
  }
}

class TextRows implements RowSink {
  readonly head: string;
  readonly #target: Target;
  readonly #style: Style;
  readonly #sink = new Sink();
  readonly #between: readonly Piece[];
  readonly #none: Piece;
  readonly #run: Piece | undefined;
  readonly #values: readonly Values[];

  constructor(
    target: Target,
    style: Style,
    columns: readonly TableColumn[],
    run: string | undefined,
  ) {
    const names = columns.map(({ name }) => name);
    const all = run === undefined ? names : ["run", ...names];
    this.head = style.head(all);
    this.#target = target;
    this.#style = style;
    this.#between = style.between(all).map(piece);
    this.#none = piece(style.none);
    this.#run = run === undefined ? undefined : piece(style.text(run));
    this.#values = columns.map(() => new Values(style));
  }

  async write(batch: TableBatch): Promise<boolean> {
    const sink = this.#sink;
    for (let row = 0; row < batch.count; row++) {
      this.#row(batch, row);
      if (sink.length > CHUNK && !(await this.#target.write(sink.take()))) return false;
    }
    return true;
  }

  #row({ columns }: TableBatch, row: number): void {
    const sink = this.#sink;
    let at = 0;
    if (this.#run !== undefined) {
      sink.put(this.#between[at++] as Piece);
      sink.put(this.#run);
    }
    for (let k = 0; k < columns.length; k++) {
      sink.put(this.#between[at++] as Piece);
      const column = columns[k] as ColumnData;
      if (column.nulls?.[row] === 1) sink.put(this.#none);
      else this.#value(column, row, this.#values[k] as Values);
    }
    sink.put(this.#between[at] as Piece);
  }

  #value(column: ColumnData, row: number, values: Values): void {
    const sink = this.#sink;
    switch (column.type) {
      case "int":
        number(sink, column.values[row] as number);
        break;
      case "word": {
        const value = column.values[row] as bigint;
        const small = Number(value);
        if (Number.isSafeInteger(small)) number(sink, small);
        else sink.text(this.#style.large(value));
        break;
      }
      case "bool":
        sink.text(column.values[row] === 0 ? "false" : "true");
        break;
      default:
        sink.put(values.piece(column.dictionary, column.values[row] as number));
    }
  }

  async end(): Promise<void> {
    if (this.#sink.length > 0) await this.#target.write(this.#sink.take());
  }
}

function number(sink: Sink, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) sink.uint(value);
  else sink.text(String(value));
}

/** The values of a dictionary as they are written, each made once. */
class Values {
  readonly #style: Style;
  #dictionary: Dictionary | undefined;
  #pieces: Piece[] = [];

  constructor(style: Style) {
    this.#style = style;
  }

  piece(dictionary: Dictionary, code: number): Piece {
    if (dictionary !== this.#dictionary) {
      this.#dictionary = dictionary;
      this.#pieces = [];
    }
    let made = this.#pieces[code];
    if (made === undefined) {
      made = piece(
        dictionary.kind === "text"
          ? this.#style.text(dictionary.text(code))
          : this.#style.bytes(dictionary.bytes(code)),
      );
      this.#pieces[code] = made;
    }
    return made;
  }
}
