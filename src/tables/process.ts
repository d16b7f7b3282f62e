/** Table `process`: the processes of the trace, how they ended and what they used. */

import { History, type ProcessLife } from "../trace/history.js";
import { processName } from "../trace/process.js";
import { type Row, rowTable } from "./builder.js";
import type { TableColumn } from "./table.js";

const columns: readonly TableColumn[] = [
  { name: "proc", type: "text", doc: "name in the trace: p3", nullable: false },
  { name: "parent", type: "text", doc: "process that started it", nullable: true },
  { name: "pid", type: "int", doc: "process id as the kernel gave it", nullable: false },
  {
    name: "start",
    type: "int",
    unit: "ns since start",
    doc: "when it was started",
    nullable: false,
  },
  { name: "end", type: "int", unit: "ns since start", doc: "when it ended", nullable: true },
  { name: "exit_code", type: "int", doc: "exit code", nullable: true },
  { name: "exit_signal", type: "text", doc: "signal that ended it", nullable: true },
  { name: "core", type: "bool", doc: "it left a core file", nullable: true },
  { name: "user_time", type: "int", unit: "ns", doc: "CPU time in the program", nullable: true },
  { name: "system_time", type: "int", unit: "ns", doc: "CPU time in the kernel", nullable: true },
  {
    name: "peak_memory",
    type: "int",
    unit: "bytes",
    doc: "peak of resident memory",
    nullable: true,
  },
  { name: "threads", type: "int", doc: "how many threads it had, all in all", nullable: false },
  { name: "execs", type: "int", doc: "how many programs it started in itself", nullable: false },
  { name: "exe", type: "text", doc: "program that it ran last", nullable: true },
  {
    name: "argv",
    type: "text",
    doc: "arguments of that program, joined by spaces",
    nullable: true,
  },
  {
    name: "cwd",
    type: "text",
    doc: "working directory when that program was started",
    nullable: true,
  },
  { name: "created_by", type: "int", doc: "event number of its start", nullable: false },
];

export const process = rowTable(
  {
    name: "process",
    doc: "every process of the trace",
    brief: [
      "proc",
      "parent",
      "pid",
      "start",
      "end",
      "exit_code",
      "exit_signal",
      "user_time",
      "system_time",
      "peak_memory",
      "argv",
    ],
    columns,
  },
  async function* (trace) {
    const history = await History.read(trace);
    for (const life of history.lives) yield rowOf(life, history);
    if (history.failure !== undefined) throw history.failure;
  },
);

function rowOf(life: ProcessLife, history: History): Row {
  const { end } = life;
  const program = life.programs.at(-1) ?? history.programAt(life.number, life.createdBy);
  return [
    processName(life.number),
    life.parent === 0 ? undefined : processName(life.parent),
    life.pid,
    life.start,
    end?.time,
    end === undefined || end.signal !== undefined ? undefined : end.code,
    end?.signal,
    end?.core,
    end?.userTime,
    end?.systemTime,
    end?.peakMemory,
    life.threads.length,
    life.programs.length,
    program?.path,
    program?.argv.join(" "),
    program?.cwd,
    life.createdBy,
  ];
}
