/** Events that are no calls, as data: signals, exits, program starts, mappings. */

import { CaptureSide, type EventBatch, EventKind } from "../trace/batch.js";
import { CallContext, type TraceContext } from "./context.js";
import { siginfo } from "./irregular/signal.js";
import { waitStatus } from "./irregular/wait.js";
import { captureBytes, findCapture } from "./memory.js";
import { signalName } from "./scalar.js";
import type { Value } from "./value.js";

export interface SignalEvent {
  /** `SIGCHLD`; the bare number where no signal has it. */
  readonly name: string;
  readonly info?: Value;
}

export function decodeSignal(batch: EventBatch, i: number, trace: TraceContext): SignalEvent {
  const signal = batch.code[i] ?? 0;
  const name = signalName(signal) ?? String(signal);
  const capture =
    batch.kind[i] === EventKind.Signal ? findCapture(batch, i, 0, CaptureSide.In) : -1;
  if (capture < 0) return { name };
  const data = captureBytes(batch, capture);
  if (data.length < 12) return { name };
  return { name, info: siginfo(data, new CallContext(batch, i, trace), 8) };
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

const utf8 = new TextDecoder();

/** Text of the capture in that slot; undefined when there is none. */
export function captureText(batch: EventBatch, i: number, slot: number): string | undefined {
  const capture = findCapture(batch, i, slot, CaptureSide.In);
  return capture < 0 ? undefined : utf8.decode(captureBytes(batch, capture));
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
