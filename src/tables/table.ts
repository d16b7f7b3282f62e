/**
 * Tables over a trace: what they are called, which columns they have, and batches of their rows.
 *
 * A batch is one typed array per column and no object per row, so that the same rows can be filtered here, written as
 * Parquet by the addon, or copied into the vectors of a database. How a table is made of events is in the file of that
 * name; `registry.ts` lists them all.
 */

import type { Selection } from "../query/select.js";
import type { Trace } from "../trace/trace.js";
import type { Dictionary } from "./dictionary.js";

/**
 * How the values of a column are kept:
 * - `int`: whole numbers up to 2^53 - 1 in magnitude, as Float64Array
 * - `word`: any 64-bit integer, signed, as BigInt64Array (registers, addresses)
 * - `bool`: 0 or 1, as Uint8Array
 * - `text`: codes of a dictionary of texts, as Uint32Array
 * - `bytes`: codes of a dictionary of byte strings, as Uint32Array
 */
export type ColumnType = "int" | "word" | "bool" | "text" | "bytes";

/** What the numbers of a column count: how long, when (since the start of the recording), how much. */
export type Unit = "ns" | "ns since start" | "ns since 1970" | "bytes";

export interface TableColumn {
  readonly name: string;
  readonly type: ColumnType;
  readonly unit?: Unit;
  /** One line for people. */
  readonly doc: string;
  /** Whether rows may lack the value. */
  readonly nullable: boolean;
}

interface Column {
  /** 1 where a row lacks the value; left out when every row has it. What stands in `values` there means nothing. */
  readonly nulls?: Uint8Array;
}

export interface IntData extends Column {
  readonly type: "int";
  readonly values: Float64Array;
}

export interface WordData extends Column {
  readonly type: "word";
  readonly values: BigInt64Array;
}

export interface BoolData extends Column {
  readonly type: "bool";
  readonly values: Uint8Array;
}

/** The values of a column of texts or of byte strings. */
export interface CodeData extends Column {
  readonly type: "text" | "bytes";
  readonly values: Uint32Array;
  /**
   * What the codes mean. It only grows, and a code keeps its meaning. Batches of one scan share it until it has grown
   * large; then the next batch begins another one.
   */
  readonly dictionary: Dictionary;
}

export type ColumnData = IntData | WordData | BoolData | CodeData;

/** Rows of a table. */
export interface TableBatch {
  readonly count: number;
  /** In the order of the scan's columns. Each has `count` values; the arrays may be views into larger ones. */
  readonly columns: readonly ColumnData[];
}

export interface Scan {
  /** Names of the columns that are wanted, in the order in which batches hold them. */
  readonly columns: readonly string[];
  /** Which events; only for tables whose rows are events. */
  readonly events?: Selection;
  /** Values of environment variables whose names look like secrets, too. */
  readonly showSecrets?: boolean;
}

export interface TableDef {
  readonly name: string;
  /** What one row is. */
  readonly doc: string;
  readonly columns: readonly TableColumn[];
  /** Those that people are shown who name none; all when left out. */
  readonly brief?: readonly string[];
  /** Each row is one event, and a scan can be narrowed to a selection of events. */
  readonly ofEvents: boolean;
  /**
   * The rows, in the order of the trace. A damaged block ends them with an error; what was before it has been handed
   * over by then. A batch belongs to whoever gets it: nothing is written to its arrays afterwards.
   */
  scan(trace: Trace, scan: Scan): AsyncIterable<TableBatch>;
}
