/** Table `run`: what each exported trace is. One row per run, so that a query over many knows which are whole. */

import { rowTable } from "../tables/builder.js";
import type { TableColumn } from "../tables/table.js";
import { shellCommand } from "../tree/shell.js";

const columns: readonly TableColumn[] = [
  { name: "file", type: "text", doc: "the trace that was exported", nullable: false },
  { name: "command", type: "text", doc: "what was recorded, as for a shell", nullable: true },
  { name: "cwd", type: "text", doc: "where it was started", nullable: true },
  { name: "host", type: "text", doc: "on which machine", nullable: true },
  { name: "kernel", type: "text", doc: "release of its kernel", nullable: true },
  {
    name: "start",
    type: "word",
    unit: "ns since 1970",
    doc: "start of the recording",
    nullable: false,
  },
  { name: "duration", type: "int", unit: "ns", doc: "until its last event", nullable: false },
  { name: "events", type: "int", doc: "events of the trace", nullable: false },
  { name: "processes", type: "int", doc: "processes of the trace", nullable: false },
  { name: "status", type: "int", doc: "wait status of the command", nullable: true },
  { name: "state", type: "text", doc: "complete, cut or recording", nullable: false },
  { name: "partial", type: "bool", doc: "the trace holds not all that happened", nullable: false },
];

export const run = rowTable(
  { name: "run", doc: "the traces that were exported", columns },
  async function* (trace) {
    const { info } = trace;
    const fact = (key: string) => info.facts.get(key) || undefined;
    yield [
      trace.path,
      info.command.length === 0 ? undefined : shellCommand(info.command),
      info.cwd,
      fact("host"),
      fact("kernel"),
      BigInt(trace.startSeconds) * 1_000_000_000n + BigInt(trace.startNanos),
      trace.duration,
      trace.eventCount,
      trace.processes.length,
      info.status,
      trace.state,
      trace.state !== "complete" || trace.damage !== undefined,
    ];
  },
);
