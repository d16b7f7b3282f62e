/** Table `lost`: what the recording does not hold. */

import { captureText } from "../decode/event.js";
import { EventKind } from "../trace/batch.js";
import { processName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { type Row, rowTable } from "./builder.js";
import type { TableColumn } from "./table.js";

const columns: readonly TableColumn[] = [
  {
    name: "seq",
    type: "int",
    doc: "event number; none: counted over the whole recording",
    nullable: true,
  },
  { name: "time", type: "int", unit: "ns since start", doc: "when it was noticed", nullable: true },
  { name: "proc", type: "text", doc: "process that it happened in", nullable: true },
  {
    name: "what",
    type: "text",
    doc: "memory, task, descriptor, unknown call, remark, or cut",
    nullable: false,
  },
  { name: "count", type: "int", doc: "how many", nullable: false },
  { name: "text", type: "text", doc: "what the recorder says of it", nullable: true },
];

/** By the codes of `Lost` in native/format/src/event.rs. */
const WHAT = ["memory", "task", "descriptor", "unknown call", "remark"];

export const lost = rowTable(
  { name: "lost", doc: "what could not be recorded, and remarks of the recorder", columns },
  async function* (trace) {
    yield* totals(trace);
    const read = { columns: ["core", "args", "contents"], kinds: [EventKind.Note] } as const;
    for await (const batch of trace.batches(read)) {
      for (let i = 0; i < batch.count; i++) {
        if (batch.kind[i] !== EventKind.Note) continue;
        const thread = trace.threads[batch.thread[i] ?? -1];
        const code = batch.code[i] ?? -1;
        yield [
          batch.firstSeq + i,
          batch.start[i],
          thread && processName(thread.process),
          WHAT[code] ?? String(code),
          batch.args[12 * i],
          captureText(batch, i, 0),
        ];
      }
    }
  },
);

/** What the recorder counted, and what its file lacks. */
function* totals(trace: Trace): Generator<Row> {
  const { lost: counts, notes } = trace.info;
  const found = counts && [counts.memory, counts.tasks, counts.descriptors, counts.unknownCalls];
  for (const [k, count] of (found ?? []).entries()) {
    if (count > 0) yield [undefined, undefined, undefined, WHAT[k], count, undefined];
  }
  for (const note of notes) yield [undefined, undefined, undefined, "remark", 1, note];
  if (trace.state === "cut") {
    const text = trace.damage?.message ?? "the recorder ended early";
    yield [undefined, undefined, undefined, "cut", 1, text];
  }
}
