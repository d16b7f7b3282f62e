/** Table `thread`: the threads of the trace. */

import { type EventBatch, EventKind } from "../trace/batch.js";
import { processName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { rowTable } from "./builder.js";
import type { TableColumn } from "./table.js";

const columns: readonly TableColumn[] = [
  { name: "thread", type: "text", doc: "name in the trace: p3.2", nullable: false },
  { name: "proc", type: "text", doc: "its process", nullable: false },
  { name: "tid", type: "int", doc: "thread id as the kernel gave it", nullable: false },
  { name: "pid", type: "int", doc: "process id as the kernel gave it", nullable: false },
  { name: "parent", type: "text", doc: "thread that made it", nullable: true },
  { name: "start", type: "int", unit: "ns since start", doc: "when it was made", nullable: false },
  { name: "end", type: "int", unit: "ns since start", doc: "when it ended", nullable: true },
  { name: "created_by", type: "int", doc: "event number of its start", nullable: false },
];

export const thread = rowTable(
  { name: "thread", doc: "every thread of the trace", columns },
  async function* (trace) {
    const { starts, ends, failure } = await livesOf(trace);
    const nameOf = (index: number) => {
      const info = trace.threads[index];
      return info === undefined ? undefined : `${processName(info.process)}.${info.ordinal}`;
    };
    for (const info of trace.threads) {
      yield [
        nameOf(info.index),
        processName(info.process),
        info.tid,
        info.pid,
        nameOf(info.parent),
        starts.get(info.index) ?? 0,
        ends.get(info.index),
        info.createdBy,
      ];
    }
    if (failure !== undefined) throw failure;
  },
);

/** When the threads were made and ended, as far as the trace can be read. */
async function livesOf(trace: Trace) {
  const starts = new Map<number, number>();
  const ends = new Map<number, number>();
  let failure: unknown;
  const note = (batch: EventBatch, i: number) => {
    const index = batch.thread[i] ?? -1;
    const moment = batch.start[i] ?? 0;
    if (batch.kind[i] === EventKind.Task && !starts.has(index)) starts.set(index, moment);
    else if (batch.kind[i] === EventKind.Exit) ends.set(index, moment);
  };
  try {
    const kinds = [EventKind.Task, EventKind.Exit];
    for await (const batch of trace.batches({ columns: ["core"], kinds })) {
      for (let i = 0; i < batch.count; i++) note(batch, i);
    }
  } catch (error) {
    failure = error;
  }
  return { starts, ends, failure };
}
