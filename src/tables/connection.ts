/** Table `connection`: who connected to whom, and how much went through. */

import { processName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { type Row, rowTable } from "./builder.js";
import { present } from "./fd.js";
import { type ConnectionAttempt, readSockets, type Sockets } from "./sockets.js";
import type { TableColumn } from "./table.js";

const columns: readonly TableColumn[] = [
  { name: "seq", type: "int", doc: "event number of the connect or accept", nullable: false },
  { name: "time", type: "int", unit: "ns since start", doc: "when it was called", nullable: false },
  { name: "dur", type: "int", unit: "ns", doc: "how long the call took", nullable: false },
  { name: "proc", type: "text", doc: "process that called it", nullable: true },
  { name: "direction", type: "text", doc: "out: connect; in: accept", nullable: false },
  { name: "family", type: "text", doc: "AF_INET, AF_INET6, AF_UNIX, ...", nullable: true },
  {
    name: "protocol",
    type: "text",
    doc: "TCP, UDP, UNIX-STREAM, ..., as far as known",
    nullable: true,
  },
  { name: "local", type: "text", doc: "address of this end, as far as known", nullable: true },
  { name: "peer", type: "text", doc: "address of the other end", nullable: true },
  { name: "peer_address", type: "text", doc: "the same without the port", nullable: true },
  { name: "peer_port", type: "int", doc: "port of the other end", nullable: true },
  {
    name: "err",
    type: "text",
    doc: "error of the call; EINPROGRESS goes on without it",
    nullable: true,
  },
  { name: "fd_id", type: "int", doc: "the socket: number of table fd", nullable: true },
  {
    name: "closed",
    type: "int",
    unit: "ns since start",
    doc: "when the socket was closed",
    nullable: true,
  },
  {
    name: "bytes_read",
    type: "int",
    unit: "bytes",
    doc: "bytes received on the socket",
    nullable: true,
  },
  {
    name: "bytes_written",
    type: "int",
    unit: "bytes",
    doc: "bytes sent on the socket",
    nullable: true,
  },
];

export const connection = rowTable(
  {
    name: "connection",
    doc: "every connect, and every accept that found somebody",
    brief: [
      "time",
      "dur",
      "proc",
      "direction",
      "protocol",
      "local",
      "peer",
      "err",
      "bytes_read",
      "bytes_written",
    ],
    columns,
  },
  async function* (trace) {
    const sockets = await readSockets(trace);
    for (const attempt of sockets.attempts) yield rowOf(trace, sockets, attempt);
    if (sockets.failure !== undefined) throw sockets.failure;
  },
);

function rowOf(trace: Trace, { lives, facts }: Sockets, attempt: ConnectionAttempt): Row {
  const { object, peer } = attempt;
  const own = facts.get(object);
  const thread = trace.threads[attempt.thread];
  return [
    attempt.seq,
    attempt.time,
    attempt.duration,
    thread && processName(thread.process),
    attempt.direction,
    own?.family || peer?.family || undefined,
    trace.objects[object]?.detail || undefined,
    own?.local?.text,
    peer?.text,
    peer?.address,
    peer?.port,
    attempt.err,
    object < 0 ? undefined : object,
    present(lives.closed[object]),
    lives.bytesRead[object],
    lives.bytesWritten[object],
  ];
}
