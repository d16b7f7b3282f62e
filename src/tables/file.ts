/** Table `file`: what was done with every path. */

import { isUtf8 } from "node:buffer";
import { TraceError } from "../errors.js";
import type { NativeFileUsage } from "../native.js";
import { traceError } from "../trace/failure.js";
import { columnsNamed } from "./builder.js";
import { Dictionary, PackedDictionary } from "./dictionary.js";
import type { ColumnData, TableBatch, TableColumn, TableDef } from "./table.js";

const columns: readonly TableColumn[] = [
  {
    name: "path",
    type: "text",
    doc: "absolute path, links resolved where the recorder could",
    nullable: false,
  },
  { name: "path_bytes", type: "bytes", doc: "its bytes where they are not UTF-8", nullable: true },
  {
    name: "calls",
    type: "int",
    doc: "calls that named it or worked on a descriptor of it",
    nullable: false,
  },
  { name: "errors", type: "int", doc: "those that failed", nullable: false },
  { name: "opens", type: "int", doc: "calls that opened it", nullable: false },
  { name: "open_errors", type: "int", doc: "calls that could not open it", nullable: false },
  { name: "reads", type: "int", doc: "calls that read from it", nullable: false },
  { name: "writes", type: "int", doc: "calls that wrote to it", nullable: false },
  { name: "bytes_read", type: "int", unit: "bytes", doc: "bytes read from it", nullable: false },
  {
    name: "bytes_written",
    type: "int",
    unit: "bytes",
    doc: "bytes written to it",
    nullable: false,
  },
  { name: "execs", type: "int", doc: "how often it was started as a program", nullable: false },
  { name: "maps", type: "int", doc: "how often it was mapped as code", nullable: false },
  { name: "total", type: "int", unit: "ns", doc: "time spent in those calls", nullable: false },
  {
    name: "first",
    type: "int",
    unit: "ns since start",
    doc: "when it was met first",
    nullable: false,
  },
  {
    name: "last",
    type: "int",
    unit: "ns since start",
    doc: "when it was met last",
    nullable: false,
  },
];

const brief = [
  "path",
  "calls",
  "errors",
  "opens",
  "reads",
  "writes",
  "bytes_read",
  "bytes_written",
  "total",
];

export const file: TableDef = {
  name: "file",
  doc: "every path: how often it was opened, read and written",
  brief,
  columns,
  ofEvents: false,
  scan: async function* (trace, scan) {
    const usage = await trace.fileUsage();
    yield* batchesOf(usage, columnsNamed(columns, scan.columns));
    if (usage.failure !== null) throw traceError(usage.failure);
    if (usage.leftOut > 0) throw tooMany(usage.leftOut);
  },
};

/** Rows before it are right, but not all. */
function tooMany(leftOut: number): TraceError {
  return new TraceError(
    "TOO_LARGE",
    `${leftOut} uses of paths are not counted: there are too many`,
    {
      hint: "ask for a part of the calls, each with its path: trace query FILE 'path ~ /srv'",
    },
  );
}

/** Numbers of each path, as native/src/usage.rs hands them over: those of the columns from `calls` on. */
const NUMBERED = columns.findIndex(({ name }) => name === "calls");
const WIDTH = columns.length - NUMBERED;

const ROWS = 8192;

function* batchesOf(usage: NativeFileUsage, wanted: readonly TableColumn[]): Generator<TableBatch> {
  const files = usage.keyEnd.length;
  for (let from = 0; from < files; from += ROWS) {
    const to = Math.min(from + ROWS, files);
    yield { count: to - from, columns: wanted.map((column) => dataOf(column, usage, from, to)) };
  }
}

function dataOf(
  { name }: TableColumn,
  usage: NativeFileUsage,
  from: number,
  to: number,
): ColumnData {
  if (name === "path") return pathsOf(usage, from, to);
  if (name === "path_bytes") return bytesOf(usage, from, to);
  const place = columns.findIndex((column) => column.name === name) - NUMBERED;
  const values = new Float64Array(to - from);
  for (let k = from; k < to; k++) values[k - from] = usage.sums[k * WIDTH + place] ?? 0;
  return { type: "int", values };
}

function keyOf({ keys, keyEnd }: NativeFileUsage, k: number): Buffer {
  const start = k === 0 ? 0 : (keyEnd[k - 1] ?? 0);
  return Buffer.from(keys.buffer, keys.byteOffset + start, (keyEnd[k] ?? 0) - start);
}

/** Dictionaries of their own: no path comes twice, except where two that are not UTF-8 look alike. */
function pathsOf({ keys, keyEnd }: NativeFileUsage, from: number, to: number): ColumnData {
  const offsets = new Uint32Array(to - from + 1);
  const start = from === 0 ? 0 : (keyEnd[from - 1] ?? 0);
  for (let k = from; k < to; k++) offsets[k - from + 1] = (keyEnd[k] ?? 0) - start;
  const dictionary = new PackedDictionary({ offsets, bytes: keys.subarray(start) });
  return { type: "text", values: Uint32Array.from({ length: to - from }, (_, k) => k), dictionary };
}

function bytesOf(usage: NativeFileUsage, from: number, to: number): ColumnData {
  const dictionary = new Dictionary("bytes");
  const values = new Uint32Array(to - from);
  const nulls = new Uint8Array(to - from);
  for (let k = from; k < to; k++) {
    const path = keyOf(usage, k);
    if (isUtf8(path)) nulls[k - from] = 1;
    else values[k - from] = dictionary.code(path);
  }
  return { type: "bytes", values, nulls, dictionary };
}
