/** Tables `exec` and `env`: the programs that were started, and what they were given. */

import { isUtf8 } from "node:buffer";
import { captureBytes, findCapture } from "../decode/memory.js";
import { MASK, maskVariable } from "../show/secrets.js";
import { CaptureSide, type EventBatch, EventKind } from "../trace/batch.js";
import { History, type ProcessLife, type ProgramStart } from "../trace/history.js";
import { processName } from "../trace/process.js";
import { type Row, rowTable } from "./builder.js";
import type { TableColumn } from "./table.js";

const columns: readonly TableColumn[] = [
  { name: "seq", type: "int", doc: "event number of the start", nullable: false },
  {
    name: "time",
    type: "int",
    unit: "ns since start",
    doc: "when it was started",
    nullable: false,
  },
  { name: "proc", type: "text", doc: "process that runs it", nullable: false },
  { name: "pid", type: "int", doc: "process id as the kernel gave it", nullable: false },
  { name: "parent", type: "text", doc: "process that started that process", nullable: true },
  { name: "exe", type: "text", doc: "program file, links resolved", nullable: false },
  { name: "given", type: "text", doc: "the path as it was given to exec", nullable: true },
  {
    name: "argv",
    type: "text",
    doc: "arguments, joined by spaces; one by one they are in table arg",
    nullable: false,
  },
  { name: "argc", type: "int", doc: "how many arguments", nullable: false },
  { name: "cwd", type: "text", doc: "working directory", nullable: false },
  { name: "interpreter", type: "text", doc: "dynamic loader of the program", nullable: true },
  { name: "uid", type: "int", doc: "effective user", nullable: true },
  { name: "gid", type: "int", doc: "effective group", nullable: true },
  {
    name: "until",
    type: "int",
    unit: "ns since start",
    doc: "when the process ended or ran another program",
    nullable: true,
  },
  {
    name: "exit_code",
    type: "int",
    doc: "exit code, when the process ended with this program",
    nullable: true,
  },
  { name: "exit_signal", type: "text", doc: "signal that ended it", nullable: true },
];

export const exec = rowTable(
  {
    name: "exec",
    doc: "every program that was started",
    brief: ["time", "proc", "parent", "pid", "until", "exit_code", "exit_signal", "exe", "argv"],
    columns,
  },
  async function* (trace) {
    const history = await History.read(trace);
    const rows = history.lives.flatMap((life) =>
      life.programs.map((start, k) => ({ seq: start.seq, row: execRow(life, start, k) })),
    );
    rows.sort((a, b) => a.seq - b.seq);
    for (const { row } of rows) yield row;
    if (history.failure !== undefined) throw history.failure;
  },
);

function execRow(life: ProcessLife, start: ProgramStart, k: number): Row {
  const next = life.programs[k + 1];
  const end = next === undefined ? life.end : undefined;
  return [
    start.seq,
    start.time,
    processName(life.number),
    life.pid,
    life.parent === 0 ? undefined : processName(life.parent),
    start.path,
    start.given,
    start.argv.join(" "),
    start.argv.length,
    start.cwd,
    start.interpreter || undefined,
    effective(start.credentials, "uid"),
    effective(start.credentials, "gid"),
    next?.time ?? end?.time,
    end?.signal === undefined ? end?.code : undefined,
    end?.signal,
  ];
}

/** The effective id in `uid=REAL EFFECTIVE SAVED FILESYSTEM gid=...`. */
function effective(credentials: string, word: "uid" | "gid"): number | undefined {
  const found = (word === "uid" ? UID : GID).exec(credentials);
  return found === null ? undefined : Number(found[1]);
}

const UID = /(?:^| )uid=\d+ (\d{1,10})/;
const GID = /(?:^| )gid=\d+ (\d{1,10})/;

const envColumns: readonly TableColumn[] = [
  { name: "seq", type: "int", doc: "event number of the start of the program", nullable: false },
  { name: "proc", type: "text", doc: "process that runs it", nullable: true },
  { name: "position", type: "int", doc: "place in the environment, from 0", nullable: false },
  { name: "name", type: "text", doc: "name of the variable", nullable: false },
  {
    name: "value",
    type: "text",
    doc: `its value; ${MASK} where the name looks like a secret's`,
    nullable: true,
  },
  { name: "value_bytes", type: "bytes", doc: "its bytes where they are not UTF-8", nullable: true },
];

const ENVIRONMENT = 2;
const utf8 = new TextDecoder();

export const env = rowTable(
  { name: "env", doc: "the environment of every program that was started", columns: envColumns },
  async function* (trace, scan) {
    const read = { columns: ["core", "contents"], kinds: [EventKind.Exec] } as const;
    for await (const batch of trace.batches(read)) {
      for (let i = 0; i < batch.count; i++) {
        if (batch.kind[i] !== EventKind.Exec) continue;
        const thread = trace.threads[batch.thread[i] ?? -1];
        const proc = thread && processName(thread.process);
        let position = 0;
        for (const variable of variables(batch, i)) {
          yield [
            batch.firstSeq + i,
            proc,
            position,
            ...envRow(variable, scan.showSecrets === true),
          ];
          position += 1;
        }
      }
    }
  },
);

function* variables(batch: EventBatch, i: number): Generator<Uint8Array> {
  const capture = findCapture(batch, i, ENVIRONMENT, CaptureSide.In);
  if (capture < 0) return;
  const bytes = captureBytes(batch, capture);
  for (let at = 0; at < bytes.length; ) {
    const nul = bytes.indexOf(0, at);
    const end = nul < 0 ? bytes.length : nul;
    yield bytes.subarray(at, end);
    at = end + 1;
  }
}

/** Name, value and value's bytes of `NAME=value`. */
function envRow(variable: Uint8Array, showSecrets: boolean): Row {
  const equals = variable.indexOf(0x3d);
  if (equals < 0) return [utf8.decode(variable), undefined, undefined];
  const name = utf8.decode(variable.subarray(0, equals));
  const value = variable.subarray(equals + 1);
  if (!showSecrets && maskVariable(`${name}=x`).endsWith(MASK)) return [name, MASK, undefined];
  return [name, utf8.decode(value), isUtf8(value) ? undefined : value];
}
