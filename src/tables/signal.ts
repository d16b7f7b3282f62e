/** Table `signal`: every signal that was delivered. */

import { decodeSignal } from "../decode/event.js";
import type { Value } from "../decode/value.js";
import { EventKind } from "../trace/batch.js";
import { CALL_COLUMNS } from "../trace/columns.js";
import { processName } from "../trace/process.js";
import { rowTable } from "./builder.js";
import type { TableColumn } from "./table.js";

const columns: readonly TableColumn[] = [
  { name: "seq", type: "int", doc: "event number", nullable: false },
  {
    name: "time",
    type: "int",
    unit: "ns since start",
    doc: "when it was delivered",
    nullable: false,
  },
  { name: "proc", type: "text", doc: "process that got it", nullable: true },
  { name: "thread", type: "text", doc: "thread that got it", nullable: true },
  { name: "tid", type: "int", doc: "thread id as the kernel gave it", nullable: true },
  { name: "signal", type: "text", doc: "SIGCHLD, ...", nullable: false },
  { name: "number", type: "int", doc: "number of the signal", nullable: false },
  {
    name: "code",
    type: "text",
    doc: "why it was sent: SI_USER, CLD_EXITED, SEGV_MAPERR, ...",
    nullable: true,
  },
  {
    name: "sender_pid",
    type: "int",
    doc: "process id of the sender, or of the child",
    nullable: true,
  },
  { name: "sender", type: "text", doc: "the same as a process of the trace", nullable: true },
  { name: "address", type: "word", doc: "address of the fault", nullable: true },
  {
    name: "disposition",
    type: "text",
    doc: "handled, fatal or stops; none: it did nothing",
    nullable: true,
  },
];

export const signal = rowTable(
  { name: "signal", doc: "every signal that was delivered", columns },
  async function* (trace) {
    const byPid = new Map(trace.processes.map(({ pid, number }) => [pid, processName(number)]));
    for await (const batch of trace.batches({ columns: CALL_COLUMNS, kinds: [EventKind.Signal] })) {
      for (let i = 0; i < batch.count; i++) {
        if (batch.kind[i] !== EventKind.Signal) continue;
        const thread = trace.threads[batch.thread[i] ?? -1];
        const { name, info, disposition } = decodeSignal(batch, i, trace);
        const pid = numberOf(member(info, "si_pid"));
        const address = member(info, "si_addr");
        yield [
          batch.firstSeq + i,
          batch.start[i],
          thread && processName(thread.process),
          thread && `${processName(thread.process)}.${thread.ordinal}`,
          thread?.tid,
          name,
          batch.code[i],
          codeText(member(info, "si_code")),
          pid,
          pid === undefined ? undefined : byPid.get(pid),
          address?.kind === "pointer" ? address.addr : undefined,
          disposition,
        ];
      }
    }
  },
);

function member(info: Value | undefined, name: string): Value | undefined {
  if (info?.kind !== "struct") return undefined;
  return info.fields.find((field) => field.name === name)?.value;
}

function numberOf(value: Value | undefined): number | undefined {
  return value?.kind === "int" ? Number(value.value) : undefined;
}

function codeText(value: Value | undefined): string | undefined {
  return value?.kind === "choice" ? (value.name ?? String(value.value)) : undefined;
}
