/** Table `socket`: every socket, what it was bound and connected to, and what went through it. */

import { processName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { type Row, rowTable } from "./builder.js";
import { present } from "./fd.js";
import { readSockets, type Sockets } from "./sockets.js";
import type { TableColumn } from "./table.js";

const columns: readonly TableColumn[] = [
  {
    name: "fd_id",
    type: "int",
    doc: "open file description: the number of table fd",
    nullable: false,
  },
  { name: "proc", type: "text", doc: "process that made it, or used it first", nullable: true },
  { name: "family", type: "text", doc: "AF_INET, AF_INET6, AF_UNIX, ...", nullable: true },
  { name: "type", type: "text", doc: "SOCK_STREAM, SOCK_DGRAM, ...", nullable: true },
  {
    name: "protocol",
    type: "text",
    doc: "TCP, UDP, UNIX-STREAM, ..., as far as known",
    nullable: true,
  },
  { name: "local", type: "text", doc: "its own address", nullable: true },
  { name: "local_port", type: "int", doc: "its own port", nullable: true },
  { name: "peer", type: "text", doc: "address of the other end", nullable: true },
  { name: "peer_address", type: "text", doc: "the same without the port", nullable: true },
  { name: "peer_port", type: "int", doc: "port of the other end", nullable: true },
  {
    name: "peers",
    type: "int",
    doc: "addresses that it sent to or received from without a connection",
    nullable: false,
  },
  {
    name: "state",
    type: "text",
    doc: "open, bound, listening, connecting, connected, shut down or closed",
    nullable: false,
  },
  { name: "opened", type: "int", unit: "ns since start", doc: "when it was made", nullable: true },
  {
    name: "closed",
    type: "int",
    unit: "ns since start",
    doc: "when the last descriptor was closed",
    nullable: true,
  },
  { name: "reads", type: "int", doc: "calls that received", nullable: false },
  { name: "writes", type: "int", doc: "calls that sent", nullable: false },
  { name: "bytes_read", type: "int", unit: "bytes", doc: "bytes received", nullable: false },
  { name: "bytes_written", type: "int", unit: "bytes", doc: "bytes sent", nullable: false },
];

export const socket = rowTable(
  {
    name: "socket",
    doc: "every socket, its ends and its bytes",
    brief: [
      "fd_id",
      "proc",
      "protocol",
      "local",
      "peer",
      "state",
      "opened",
      "closed",
      "bytes_read",
      "bytes_written",
    ],
    columns,
  },
  async function* (trace) {
    const sockets = await readSockets(trace);
    for (let id = 0; id < sockets.lives.count; id++) {
      const isSocket = trace.objects[id]?.kind === "socket";
      if (isSocket && (sockets.lives.firstSeq[id] ?? -1) >= 0) yield rowOf(trace, sockets, id);
    }
    if (sockets.failure !== undefined) throw sockets.failure;
  },
);

function rowOf(trace: Trace, { lives, facts }: Sockets, id: number): Row {
  const own = facts.get(id);
  const thread = trace.threads[lives.firstThread[id] ?? -1];
  const closed = present(lives.closed[id]);
  return [
    id,
    thread && processName(thread.process),
    own?.family || undefined,
    own?.type,
    trace.objects[id]?.detail || undefined,
    own?.local?.text,
    own?.local?.port,
    own?.peer?.text,
    own?.peer?.address,
    own?.peer?.port,
    own?.peers.size ?? 0,
    closed === undefined ? (own?.state ?? "open") : "closed",
    present(lives.opened[id]),
    closed,
    lives.reads[id],
    lives.writes[id],
    lives.bytesRead[id],
    lives.bytesWritten[id],
  ];
}
