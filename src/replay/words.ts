/** What a desync is in one sentence, and what can be done about it. */

import type { TraceContext } from "../decode/context.js";
import { decodeExit, decodeSignal, decodeTrap } from "../decode/event.js";
import { ERRNO_NAMES } from "../decode/names.generated.js";
import type { Desync } from "../replay.js";
import { hexText } from "../show/notation.js";
import { EventKind } from "../trace/batch.js";
import { replayability } from "../trace/info.js";
import type { Trace } from "../trace/trace.js";
import { shellWord } from "../tree/shell.js";
import type { ByteDifference, Field } from "./fields.js";
import { callName, kindOf, type Row, seqOf } from "./rows.js";

export interface Comparison {
  readonly desync: Desync;
  readonly expected: Row | undefined;
  readonly actual: Row | undefined;
  readonly fields: readonly Field[];
  readonly bytes: ByteDifference | undefined;
}

/** What an event is, in the middle of a sentence. */
function nameOf(row: Row | undefined, trace: TraceContext): string {
  if (row === undefined) return "an event that is not there";
  const { batch, i } = row;
  switch (kindOf(row)) {
    case EventKind.Call:
      return callName(row);
    case EventKind.Signal:
      return decodeSignal(batch, i, trace).name;
    case EventKind.Exit: {
      const { code, signal } = decodeExit(batch, i);
      return signal === undefined ? `the end with code ${code}` : `the end by ${signal}`;
    }
    case EventKind.Exec:
      return "the start of a program";
    case EventKind.Task:
      return "the start of a thread";
    case EventKind.Trap:
      return decodeTrap(batch, i).instruction;
    case EventKind.Preempt:
      return "a preemption";
    default:
      return `an event of kind ${kindOf(row)}`;
  }
}

/** One sentence without a full stop. */
export function summaryOf(comparison: Comparison, trace: TraceContext): string {
  const { desync, expected, actual, fields } = comparison;
  const wanted = nameOf(expected, trace);
  switch (desync.reason) {
    case "stuck":
      return `the program runs on and does not come to ${wanted}`;
    case "state":
      return "the program never comes to the state in which it was preempted";
    case "unmapped":
      return `what ${wanted} gave has no place in the program's memory`;
    case "result":
      return `${wanted} was answered otherwise by this kernel${resultText(desync.result)}`;
    case "impossible":
      return `the trace contradicts itself at ${wanted}`;
  }
  if (desync.actual === undefined || desync.actual.kind === "held") {
    return `${wanted} was recorded, nothing came`;
  }
  const isSame =
    expected !== undefined && actual !== undefined && kindOf(expected) === kindOf(actual);
  if (!isSame || fields[0]?.differs === true) {
    return `${wanted} was recorded, ${nameOf(actual, trace)} came`;
  }
  return sameEvent(wanted, comparison);
}

/** The right event with other contents. */
function sameEvent(wanted: string, { desync, fields, bytes }: Comparison): string {
  switch (desync.reason) {
    case "memory": {
      const offset = bytes?.offset ?? 0;
      const where = offset === 0 ? "" : ` from byte ${offset} on`;
      return `${wanted} hands out other bytes in ${bytes?.name ?? "memory"}${where}`;
    }
    case "ip":
      return `${wanted} comes from another place in the program`;
    case "sp":
      return `${wanted} comes with another stack pointer`;
    case "exit":
      return "the program ends otherwise";
    default: {
      const names = fields.filter(({ differs }) => differs).map(({ name }) => name);
      return names.length === 0 ? `${wanted} differs` : `${wanted} has another ${names.join(", ")}`;
    }
  }
}

function resultText(result: bigint | undefined): string {
  if (result === undefined) return "";
  const errno = result < 0n && result > -4096n ? ERRNO_NAMES[Number(-result)] : undefined;
  return errno === undefined || errno === "" ? ` (${hexText(result)})` : ` (${errno})`;
}

/** How far back the calls are that tell a program what it does. */
const LOOK_BACK = 100;

/** What to do next, a line each; `first` is the first event that the report shows. */
export function hintsOf(
  desync: Desync,
  trace: Trace,
  process: number,
  first: Row | undefined,
): string[] {
  const file = shellWord(trace.path);
  const { obstacles } = replayability(trace.info);
  const hints = obstacles.map((reason) => `the recording is not exact: ${reason}`);
  if (desync.reason === "stuck") {
    hints.push(
      "a program that computes for long without a call needs more time: --stuck-after=10m",
    );
  }
  const start = first === undefined ? desync.seq : Math.min(desync.seq, seqOf(first));
  const from = Math.max(0, start - LOOK_BACK);
  hints.push(`what it was told before: trace show ${file} p${process} @${from}..@${desync.seq}`);
  if (trace.packedFiles().length === 0) {
    hints.push(`to have this looked at on another machine: trace pack ${file}`);
  }
  return hints;
}
