/** Events that are no calls, as data: signals, exits, program starts, mappings. */

import { CaptureSide, type EventBatch, EventKind } from "../trace/batch.js";
import { byteText } from "../trace/byte_text.js";
import { unsigned } from "../trace/word.js";
import { CallContext, type TraceContext } from "./context.js";
import { siginfo } from "./irregular/signal.js";
import { waitStatus } from "./irregular/wait.js";
import { captureBytes, findCapture, u64 } from "./memory.js";
import { signalName } from "./scalar.js";
import type { Num, Value } from "./value.js";

export interface SignalEvent {
  /** `SIGCHLD`; the bare number where no signal has it. */
  readonly name: string;
  readonly info?: Value;
  /** What it did; missing where it did nothing, or the trace does not say. */
  readonly disposition?: Disposition;
}

/** A handler runs next; the process ends; the process stops. */
export type Disposition = "handled" | "fatal" | "stops";

/** By the numbers of `disposition` in native/format/src/event.rs. */
const DISPOSITIONS: readonly (Disposition | undefined)[] = [undefined, "handled", "fatal", "stops"];

export function decodeSignal(batch: EventBatch, i: number, trace: TraceContext): SignalEvent {
  const signal = batch.code[i] ?? 0;
  const name = signalName(signal) ?? String(signal);
  if (batch.kind[i] !== EventKind.Signal) return { name };
  const disposition = DISPOSITIONS[batch.args[12 * i + 4] ?? 0];
  const event = disposition === undefined ? { name } : { name, disposition };
  const capture = findCapture(batch, i, 0, CaptureSide.In);
  if (capture < 0) return event;
  const data = captureBytes(batch, capture);
  if (data.length < 12) return event;
  return { ...event, info: siginfo(data, new CallContext(batch, i, trace), 8) };
}

export interface RegisterValue {
  readonly name: string;
  readonly value: Num;
}

/** An instruction that the recorder answered, or executed by itself. */
export interface TrapEvent {
  /** `rdtsc`, `cpuid`, `rdrand`, ..., what became of guarded memory, or the bare number where nothing has it. */
  readonly instruction: string;
  /** What `cpuid` was asked. */
  readonly before: readonly RegisterValue[];
  /** What it was answered; the counter stands under `tsc`, and where in guarded memory it was under `address`. */
  readonly after: readonly RegisterValue[];
}

/** By the codes of `Trap` in native/format/src/event.rs: the instruction and the registers of its arguments. */
const TRAPS: readonly {
  readonly name: string;
  readonly before: readonly string[];
  readonly after: readonly string[];
}[] = [
  { name: "rdtsc", before: [], after: ["tsc"] },
  { name: "rdtscp", before: [], after: ["tsc", "ecx"] },
  { name: "cpuid", before: ["eax", "ecx"], after: ["eax", "ebx", "ecx", "edx"] },
  { name: "rdrand", before: [], after: ["value", "carry"] },
  { name: "rdseed", before: [], after: ["value", "carry"] },
  { name: "rdpid", before: [], after: ["value"] },
  { name: "guard", before: [], after: ["address"] },
];

/** What a `guard` tells, by `guard` in native/format/src/event.rs. */
const GUARD_EVENTS = ["shared memory touched", "shared memory open", "shared memory guarded"];

export function decodeTrap(batch: EventBatch, i: number): TrapEvent {
  const trap = TRAPS[batch.code[i] ?? -1];
  if (trap === undefined) return { instruction: String(batch.code[i] ?? 0), before: [], after: [] };
  const values = [...trap.before, ...trap.after].map((name, k) => {
    const at = 12 * i + 2 * k;
    return { name, value: unsigned(batch.args[at] ?? 0, batch.args[at + 1] ?? 0) };
  });
  if (trap.name === "guard") {
    const what = GUARD_EVENTS[batch.args[12 * i + 2] ?? -1] ?? "shared memory";
    return { instruction: what, before: [], after: values };
  }
  const asked = trap.before.length;
  return { instruction: trap.name, before: values.slice(0, asked), after: values.slice(asked) };
}

export interface PreemptEvent {
  /** The thread stood at a boundary, and now gets its turn; else it was stopped in the middle of its code. */
  readonly turn: boolean;
  /** Where it was stopped. */
  readonly ip: Num | undefined;
}

/** Offset of `rip` in `struct user_regs_struct` (sys/user.h). */
const RIP = 16 * 8;

export function decodePreempt(batch: EventBatch, i: number): PreemptEvent {
  const turn = batch.args[12 * i] === 1;
  const capture = findCapture(batch, i, 0, CaptureSide.In);
  const ip = capture < 0 ? undefined : u64(captureBytes(batch, capture), RIP);
  return { turn, ip: turn ? undefined : ip };
}

export interface ExitEvent {
  readonly code: number;
  readonly signal?: string;
  readonly core: boolean;
  /** True when the whole process ended with this thread. */
  readonly process: boolean;
}

export function decodeExit(batch: EventBatch, i: number): ExitEvent {
  const status = waitStatus(batch.code[i] ?? 0);
  const process = batch.args[12 * i] === 1;
  if (status.signal !== undefined) {
    return { code: -1, signal: status.signal, core: status.core === true, process };
  }
  return { code: status.exited ?? ((batch.code[i] ?? 0) >> 8) & 0xff, core: false, process };
}

/** Text of the capture in that slot; undefined when there is none. */
export function captureText(batch: EventBatch, i: number, slot: number): string | undefined {
  const capture = findCapture(batch, i, slot, CaptureSide.In);
  return capture < 0 ? undefined : byteText(captureBytes(batch, capture));
}

/** The strings of a capture that holds several, each ended by NUL. */
export function captureStrings(batch: EventBatch, i: number, slot: number): string[] {
  const text = captureText(batch, i, slot);
  if (text === undefined || text === "") return [];
  return (text.endsWith("\0") ? text.slice(0, -1) : text).split("\0");
}

export interface ExecEvent {
  readonly path: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly interpreter: string;
}

export function decodeExec(batch: EventBatch, i: number): ExecEvent {
  return {
    path: captureText(batch, i, 0) ?? "",
    argv: captureStrings(batch, i, 1),
    env: captureStrings(batch, i, 2),
    cwd: captureText(batch, i, 3) ?? "",
    interpreter: captureText(batch, i, 4) ?? "",
  };
}
