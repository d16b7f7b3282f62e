/** Table `file`: what was done with every path. */

import { CallFacts } from "../query/facts.js";
import { type EventBatch, EventFlag, EventKind } from "../trace/batch.js";
import { CALL_COLUMNS } from "../trace/columns.js";
import type { Trace } from "../trace/trace.js";
import { type Row, rowTable } from "./builder.js";
import { PathIds } from "./path_ids.js";
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
  { name: "file", doc: "every path: how often it was opened, read and written", columns },
  async function* (trace) {
    const usage = new FileUsage(trace);
    let failure: unknown;
    try {
      for await (const batch of trace.batches({ columns: CALL_COLUMNS })) usage.add(batch);
    } catch (error) {
      failure = error;
    }
    yield* usage.rows();
    if (failure !== undefined) throw failure;
  },
);

/** Numbers that are kept of each path, in this order. */
const FIELDS = [
  ...(["calls", "errors", "opens", "openErrors", "reads", "writes"] as const),
  ...(["bytesRead", "bytesWritten", "execs", "maps", "total", "first", "last"] as const),
] as const;
const WIDTH = FIELDS.length;
const AT = Object.fromEntries(FIELDS.map((name, k) => [name, k])) as Record<
  (typeof FIELDS)[number],
  number
>;

/** Counts by path. The numbers of path k stand at `k * WIDTH` of one array, which grows. */
class FileUsage {
  readonly #facts: CallFacts;
  readonly #paths: PathIds;
  #sums = new Float64Array(1024 * WIDTH);

  constructor(trace: Trace) {
    this.#facts = new CallFacts(trace);
    this.#paths = new PathIds(trace);
  }

  add(batch: EventBatch): void {
    this.#paths.begin(batch);
    const { kind, flags, count } = batch;
    for (let i = 0; i < count; i++) {
      if (kind[i] === EventKind.Call) {
        if (((flags[i] as number) & EventFlag.Interrupted) === 0) this.#call(batch, i);
      } else if (kind[i] === EventKind.Exec) {
        this.#met(batch, i, this.#paths.given(i, 0), AT.execs);
      } else if (kind[i] === EventKind.Map) {
        this.#met(batch, i, this.#paths.given(i, 0), AT.maps);
      }
    }
  }

  /** Where the numbers of a path begin, after it was met at an event. */
  #place(batch: EventBatch, i: number, id: number): number {
    const place = id * WIDTH;
    if (place + WIDTH > this.#sums.length) {
      const wider = new Float64Array(Math.max(2 * this.#sums.length, place + WIDTH));
      wider.set(this.#sums);
      this.#sums = wider;
    }
    const sums = this.#sums;
    const time = batch.start[i] as number;
    if (sums[place + AT.last] === 0 && sums[place + AT.first] === 0) sums[place + AT.first] = time;
    sums[place + AT.last] = time;
    return place;
  }

  #met(batch: EventBatch, i: number, id: number, field: number): void {
    if (id < 0) return;
    const place = this.#place(batch, i, id);
    this.#sums[place + field] = (this.#sums[place + field] as number) + 1;
  }

  #call(batch: EventBatch, i: number): void {
    const shape = this.#facts.shape(batch, i);
    if (shape === undefined) return;
    if (shape.paths.length > 0) {
      for (let n = 0; n < shape.paths.length; n++) {
        const id = this.#paths.given(i, n);
        if (id >= 0) this.#counted(batch, i, id, shape.returnsFd);
      }
      return;
    }
    const { from, to } = transferOf(shape);
    for (let r = batch.refStart[i] as number; r < (batch.refStart[i + 1] as number); r++) {
      // Only descriptors among the arguments: what poll looks at is not used by it.
      const slot = batch.refSlot[r] as number;
      if (slot > 5) continue;
      const id = this.#paths.object(batch.refObject[r] as number);
      if (id < 0) continue;
      const place = this.#counted(batch, i, id, false);
      if (slot === from) this.#transferred(batch, i, place + AT.reads, place + AT.bytesRead);
      if (slot === to) this.#transferred(batch, i, place + AT.writes, place + AT.bytesWritten);
    }
  }

  #counted(batch: EventBatch, i: number, id: number, opens: boolean): number {
    const place = this.#place(batch, i, id);
    const sums = this.#sums;
    sums[place + AT.calls] = (sums[place + AT.calls] as number) + 1;
    sums[place + AT.total] = (sums[place + AT.total] as number) + (batch.duration[i] as number);
    const failed = ((batch.flags[i] as number) & EventFlag.Error) !== 0;
    if (failed) sums[place + AT.errors] = (sums[place + AT.errors] as number) + 1;
    if (!opens) return place;
    const field = failed ? AT.openErrors : AT.opens;
    const counts = failed || this.#facts.succeeded(batch, i);
    if (counts) sums[place + field] = (sums[place + field] as number) + 1;
    return place;
  }

  #transferred(batch: EventBatch, i: number, calls: number, bytes: number): void {
    const moved = this.#facts.bytes(batch, i);
    if (moved === undefined) return;
    this.#sums[calls] = (this.#sums[calls] as number) + 1;
    this.#sums[bytes] = (this.#sums[bytes] as number) + moved;
  }

  *rows(): Generator<Row> {
    for (let id = 0; id < this.#paths.count; id++) {
      const numbers = this.#sums.subarray(id * WIDTH, (id + 1) * WIDTH);
      // Met only where it was not counted, as the directory of another path.
      if (numbers.length === 0 || numbers.every((number) => number === 0)) continue;
      yield [this.#paths.path(id), this.#paths.bytes(id), ...numbers];
    }
  }
}
