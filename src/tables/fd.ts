/** Table `fd`: the life of every open file description. */

import { processName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { type Row, rowTable } from "./builder.js";
import type { Lives } from "./lives.js";
import { readSockets } from "./sockets.js";
import type { TableColumn } from "./table.js";

const columns: readonly TableColumn[] = [
  {
    name: "fd_id",
    type: "int",
    doc: "number of the open file description in the trace",
    nullable: false,
  },
  { name: "fd", type: "int", doc: "first descriptor that stood for it", nullable: true },
  {
    name: "kind",
    type: "text",
    doc: "file, dir, pipe, fifo, socket, chr, blk, anon, memfd or unknown",
    nullable: false,
  },
  { name: "path", type: "text", doc: "what it is open on", nullable: false },
  {
    name: "detail",
    type: "text",
    doc: "of sockets: protocol and addresses, as far as known",
    nullable: true,
  },
  { name: "proc", type: "text", doc: "process that opened it, or used it first", nullable: true },
  {
    name: "opened_by",
    type: "int",
    doc: "event number of the call that made it; none: it was there before",
    nullable: true,
  },
  { name: "opened", type: "int", unit: "ns since start", doc: "when it was made", nullable: true },
  {
    name: "closed_by",
    type: "int",
    doc: "event number of what closed the last descriptor",
    nullable: true,
  },
  {
    name: "closed",
    type: "int",
    unit: "ns since start",
    doc: "when the last descriptor was closed",
    nullable: true,
  },
  { name: "calls", type: "int", doc: "calls that worked on it", nullable: false },
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
];

export const fd = rowTable(
  {
    name: "fd",
    doc: "the life of every open file description",
    brief: [
      "fd_id",
      "fd",
      "kind",
      "proc",
      "opened",
      "closed",
      "reads",
      "writes",
      "bytes_read",
      "bytes_written",
      "path",
    ],
    columns,
  },
  async function* (trace) {
    const { lives, failure } = await readSockets(trace);
    for (let id = 0; id < lives.count; id++) {
      // Directories that were only worked in are no open files.
      if ((lives.firstSeq[id] ?? -1) >= 0) yield rowOf(trace, lives, id);
    }
    if (failure !== undefined) throw failure;
  },
);

function rowOf(trace: Trace, lives: Lives, id: number): Row {
  const object = trace.objects[id];
  const thread = trace.threads[lives.firstThread[id] ?? -1];
  const isClosed = !Number.isNaN(lives.closed[id]);
  return [
    id,
    lives.firstFd[id],
    object?.kind ?? "unknown",
    object?.path ?? "",
    object?.detail || undefined,
    thread && processName(thread.process),
    (object?.createdBy ?? -1) < 0 ? undefined : object?.createdBy,
    present(lives.opened[id]),
    isClosed ? lives.closedBy[id] : undefined,
    present(lives.closed[id]),
    lives.calls[id],
    lives.reads[id],
    lives.writes[id],
    lives.bytesRead[id],
    lives.bytesWritten[id],
  ];
}

/** The number; nothing in place of NaN. */
export function present(value: number | undefined): number | undefined {
  return value === undefined || Number.isNaN(value) ? undefined : value;
}
