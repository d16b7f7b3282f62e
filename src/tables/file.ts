/** Table `file`: what was done with every path. */

import { isUtf8 } from "node:buffer";
import type { NativeFileUsage } from "../native.js";
import { normalPath, type RowShape, shapeOf } from "../query/facts.js";
import { traceError } from "../trace/failure.js";
import { type Row, rowTable } from "./builder.js";
import type { TableColumn } from "./table.js";
import { transferOf } from "./transfer.js";

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

export const file = rowTable(
  {
    name: "file",
    doc: "every path: how often it was opened, read and written",
    brief: [
      "path",
      "calls",
      "errors",
      "opens",
      "reads",
      "writes",
      "bytes_read",
      "bytes_written",
      "total",
    ],
    columns,
  },
  async function* (trace) {
    const usage = await trace.fileUsage(plans());
    yield* rowsOf(usage);
    if (usage.failure !== null) throw traceError(usage.failure);
  },
);

/** Numbers of each path, as native/src/usage.rs hands them over: those of the columns from `calls` on. */
const WIDTH = columns.length - columns.findIndex(({ name }) => name === "calls");
const FIRST = WIDTH - 2;
const LAST = WIDTH - 1;

/** Of a plan: two paths, their directories, whether it opens, the descriptors that bytes come from and go to. */
const PLAN_BYTES = 7;
const NO_ARGUMENT = 255;
/** The tables of both architectures have fewer. */
const NUMBERS = 1024;

let made: Uint8Array | undefined;

/** What each syscall does with paths and descriptors. */
function plans(): Uint8Array {
  made ??= makePlans();
  return made;
}

function makePlans(): Uint8Array {
  const bytes = new Uint8Array(2 * NUMBERS * PLAN_BYTES);
  for (const arch of [0, 1]) {
    for (let sysno = 0; sysno < NUMBERS; sysno++) {
      const place = (arch * NUMBERS + sysno) * PLAN_BYTES;
      bytes.set(planOf(shapeOf(arch, sysno)), place);
    }
  }
  return bytes;
}

function planOf(shape: RowShape | undefined): number[] {
  const argument = (k: number | undefined) => (k === undefined || k < 0 ? NO_ARGUMENT : k);
  const { paths = [], bases = [], returnsFd = false } = shape ?? {};
  const { from, to } = shape === undefined ? { from: -1, to: -1 } : transferOf(shape);
  return [
    ...[argument(paths[0]), argument(paths[1]), argument(bases[0]), argument(bases[1])],
    ...[returnsFd ? 1 : 0, argument(from), argument(to)],
  ];
}

/** Several captured paths may name one file: `/etc/../etc/hosts` and `/etc//hosts`. */
function* rowsOf(usage: NativeFileUsage): Generator<Row> {
  const files = new Map<string, Float64Array>();
  for (let k = 0; k < usage.keyEnd.length; k++) {
    const numbers = usage.sums.subarray(k * WIDTH, (k + 1) * WIDTH);
    // A path that was captured, but never counted, has no time.
    if (numbers[FIRST] === Number.POSITIVE_INFINITY) continue;
    const bytes = usage.keys.subarray(k === 0 ? 0 : usage.keyEnd[k - 1], usage.keyEnd[k]);
    // A character for each byte: what is cut and joined is ASCII.
    const given = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
    const path = normalPath(given);
    const known = files.get(path);
    if (known === undefined) files.set(path, Float64Array.from(numbers));
    else add(known, numbers);
  }
  const all = [...files].sort(([, a], [, b]) => (a[FIRST] ?? 0) - (b[FIRST] ?? 0));
  for (const [latin, numbers] of all) {
    const path = Buffer.from(latin, "latin1");
    yield [path.toString("utf8"), isUtf8(path) ? undefined : path, ...numbers];
  }
}

function add(sums: Float64Array, more: Float64Array): void {
  for (let k = 0; k < FIRST; k++) sums[k] = (sums[k] ?? 0) + (more[k] ?? 0);
  sums[FIRST] = Math.min(sums[FIRST] ?? 0, more[FIRST] ?? 0);
  sums[LAST] = Math.max(sums[LAST] ?? 0, more[LAST] ?? 0);
}
