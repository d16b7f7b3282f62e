/**
 * Replaying as a library: a trace in, the program's output and a verdict out. It prints nothing and keeps the event loop
 * free; the engine is a thread of the addon. What a desync means is said by `desyncReport`.
 */

import { setTimeout as passed } from "node:timers/promises";
import type { ReplayBackend } from "./backends.js";
import { TraceError } from "./errors.js";
import type {
  NativeAddedStacks,
  NativeDebugRequest,
  NativeDesync,
  NativeReplay,
  NativeReplayOutput,
  NativeStackRequest,
} from "./native.js";
import { StackTable } from "./stacks/table.js";
import { type EventBatch, EventKind } from "./trace/batch.js";
import { ioError, unwrap } from "./trace/failure.js";
import { openTrace } from "./trace/open.js";
import type { Trace } from "./trace/trace.js";

export interface ReplayOptions {
  /** Number of the only process to replay (3 is p3); what must run for it is replayed too. */
  readonly process?: number;
  /** Number of the last event to replay. */
  readonly until?: number;
  /** Only load each program: shows whether all files that were mapped are still to be had. */
  readonly execOnly?: boolean;
  /**
   * Most processes that are replayed at the same time; when absent, one for each processor, as far as there is something for
   * it to do. More than one run on other processors than the recorded one, whose number `cpuid` tells.
   */
  readonly jobs?: number;
  /** Gets what the program wrote to its standard output (1) and error (2), in the order in which it did. */
  readonly onOutput?: (stream: 1 | 2, bytes: Uint8Array) => void;
  /** Write that to this process's own standard output and error instead. They are not to be used meanwhile. */
  readonly inheritStreams?: boolean;
  /** What to do at a difference: stop (the default), or go on with what was recorded. */
  readonly onDesync?: "stop" | "warn";
  /** Milliseconds that a program may run without a call before it is stuck, which is a desync too. Default: 30,000. */
  readonly stuckAfter?: number;
  /** Take the stacks of these events (calls and signals), as they were when the event began. */
  readonly stacks?: StackOptions;
  /** What answers calls; the agent when absent. */
  readonly backend?: ReplayBackend;
  /** Wait for a debugger, and let it stop the program wherever it likes, forwards and backwards. */
  readonly debug?: DebugOptions;
  /** Kills what is being replayed, and makes the promise fail with `ABORTED`. */
  readonly signal?: AbortSignal;
}

/**
 * A debugger that speaks gdb's remote protocol. It sees `ReplayOptions.process`, or else that of event `at`, or the first one, from
 * where its last program begins. Nothing can be changed, for it has happened. The replay ends when the debugger leaves.
 */
export interface DebugOptions {
  /** Where it connects: a socket that is made for this user alone, or a port of 127.0.0.1. */
  readonly listen: { readonly socket: string } | { readonly port: number };
  /** The event before which the program stops first. */
  readonly at?: number;
  /**
   * States of the programs are kept on the way, so that going back need not begin at the beginning: one for so many milliseconds of
   * replay, as long as there is memory for them. 0: none. Default: 100.
   */
  readonly checkpointEvery?: number;
  /** Called when it can connect: the program stands where it is to be stopped first. */
  readonly onListening?: () => void;
}

/** Of which events stacks are taken, and what becomes of them. */
export interface StackOptions {
  readonly from: number;
  readonly to: number;
  /** Only these, in ascending order. */
  readonly only?: Float64Array;
  /** Write them into the trace (or into a copy of it) instead of handing them over. */
  readonly write?: { readonly output?: string; readonly force?: boolean };
}

/**
 * What differs. `kind`: a signal instead of a call, and the like; `number`: another call; `argument`: an argument of the
 * call; `ip`, `sp`: the place of the call in the program, its stack; `memory`: bytes that the program hands out; `signal`:
 * another signal, or other facts of it; `exit`: it ended; `state`: it never came to the registers and memory at which it had
 * been preempted; `stuck`: it did not come to the next event; `result`: the kernel answered a call that is made again
 * otherwise; `unmapped`: what the kernel wrote has no place in the program; `impossible`: the trace contradicts itself.
 */
export type DesyncReason =
  | "kind"
  | "number"
  | "argument"
  | "ip"
  | "sp"
  | "memory"
  | "unmapped"
  | "signal"
  | "exit"
  | "stuck"
  | "state"
  | "result"
  | "impossible"
  | (string & {});

/** A function that an interpreter runs, and the line that it is at (from 1; 0 when that is not known). */
export interface ScriptLine {
  readonly function: string;
  readonly file: string;
  readonly line: number;
}

/** Where the replay was when it was not what had been recorded. */
export interface Desync {
  /** Number of the event that was expected of the thread. */
  readonly seq: number;
  /** Index into `trace.threads`. */
  readonly thread: number;
  readonly reason: DesyncReason;
  /** Which argument, when that is the reason. */
  readonly argument: number | undefined;
  /** The memory, when that is the reason. */
  readonly memory: MemoryDifference | undefined;
  /** The raw result, when that is the reason. */
  readonly result: bigint | undefined;
  /** What the program did instead; undefined when it is gone. */
  readonly actual: ActualStop | undefined;
  /** /proc/PID/maps of the replayed process: files have other names there than where they were recorded. */
  readonly maps: string;
  /** Code addresses, innermost first. */
  readonly frames: readonly bigint[];
  /** Functions of an interpreter (CPython) that stand on that stack, innermost first. */
  readonly script: readonly ScriptLine[];
}

/** Memory that is not what it was. */
export interface MemoryDifference {
  /** The argument that leads to it. */
  readonly slot: number;
  readonly address: bigint;
  /** How far from the address the first difference is. */
  readonly offset: number;
  /** The memory around the difference on both sides, and how far from the address it begins. */
  readonly expected: Uint8Array;
  readonly actual: Uint8Array;
  readonly from: number;
}

/** What the program did, as a batch of one event without a result. `held`: it was stopped by the replay. */
export interface ActualStop {
  readonly kind: "call" | "signal" | "ended" | "held" | (string & {});
  /** Signal number, or wait status. */
  readonly code: number;
  readonly batch: EventBatch;
}

export interface ReplayResult {
  /** True when there was no difference. */
  readonly faithful: boolean;
  /**
   * How the program (or the chosen process) had ended: exit code, or number of the signal. Both undefined when the replay
   * did not come to its end: `until`, `execOnly`, a trace that is cut, a desync.
   */
  readonly exitCode: number | undefined;
  readonly exitSignal: number | undefined;
  /** How many events were replayed. */
  readonly events: number;
  /** Processes that were made; a program that is started in one makes another. Threads, their first ones included. */
  readonly processes: number;
  readonly threads: number;
  readonly durationNs: number;
  /** The trace is cut: this event would have been next. */
  readonly cutAt: number | undefined;
  readonly desyncs: readonly Desync[];
  /** What the user ought to know, a line each. */
  readonly notes: readonly string[];
  /** The stacks that were asked for, as far as the replay came. */
  readonly stacks: StackTable | undefined;
  /** What was written into a trace instead. */
  readonly addedStacks: NativeAddedStacks | undefined;
  /** How many calls were answered without a stop. */
  readonly answered: number;
  /**
   * There was a difference while the agent answered calls, or processes ran side by side without anybody having asked for it,
   * and all was replayed again without: that alone tells differences.
   */
  readonly repeated: boolean;
}

/**
 * Replays a trace: runs the recorded programs again, with everything that they were told by the kernel taken from the
 * trace, and compares everything that they ask of it. No file, socket, device or clock of this machine is touched.
 *
 * @throws TraceError `OBSERVE_MODE`, `UNREPLAYABLE`, `OBJECT_MISSING`, `CPU`, `PERMISSION`, `ABORTED`, ... when it cannot be
 * replayed. A difference is no error: see `ReplayResult.desyncs`.
 */
export async function replay(
  what: Trace | string,
  options: ReplayOptions = {},
): Promise<ReplayResult> {
  if (typeof what !== "string") return replayOpen(what, options);
  const trace = await openTrace(what);
  try {
    return await replayOpen(trace, options);
  } finally {
    trace.close();
  }
}

async function replayOpen(trace: Trace, options: ReplayOptions): Promise<ReplayResult> {
  const { signal } = options;
  if (signal?.aborted) throw aborted(signal);
  const sink = new OutputSink(options.onOutput);
  const running = start(trace, options, sink);
  const abort = () => running.abort();
  sink.stop = abort;
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const waiting = running.wait();
    if (options.debug) await announce(running, waiting, options.debug);
    const outcome = await waiting;
    await sink.ended;
    if (sink.failure !== undefined) throw sink.failure.error;
    if (signal?.aborted) throw aborted(signal);
    const result = unwrap(outcome);
    if (result.outputErrno !== 0) throw outputError(result.outputErrno);
    const status = await statusOf(trace, options);
    const ended = result.desyncs.length === 0 || options.onDesync === "warn" ? status : undefined;
    return {
      faithful: result.desyncs.length === 0,
      ...endOf(ended),
      events: result.events,
      processes: result.processes,
      threads: result.threads,
      durationNs: result.durationNs,
      cutAt: result.cutAt,
      desyncs: result.desyncs.map(desyncOf),
      notes: result.notes,
      stacks: result.stacks && new StackTable(result.stacks),
      addedStacks: result.addedStacks,
      answered: result.answered,
      repeated: result.repeated,
    };
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

function start(trace: Trace, options: ReplayOptions, sink: OutputSink): NativeReplay {
  const native = {
    process: options.process,
    until: options.until,
    execOnly: options.execOnly ?? false,
    jobs: options.jobs ?? 0,
    toDescriptors: options.inheritStreams ?? false,
    warnOnly: options.onDesync === "warn",
    stuckAfter: options.stuckAfter,
    stacks: options.stacks && stackRequest(options.stacks),
    backend: options.backend ?? "agent",
    debug: options.debug && debugRequest(options.debug),
  };
  if (!sink.isWanted) return trace.startReplay(native);
  return trace.startReplay(native, sink.take);
}

/** Says when a debugger can connect, if that comes to be. */
async function announce(
  running: NativeReplay,
  waiting: Promise<unknown>,
  { onListening }: DebugOptions,
): Promise<void> {
  const LOOK_AGAIN_MS = 10;
  let isOver = false;
  void waiting.then(
    () => {
      isOver = true;
    },
    () => {
      isOver = true;
    },
  );
  while (!isOver && !running.listens) await passed(LOOK_AGAIN_MS);
  if (!isOver) onListening?.();
}

function debugRequest({ listen, at, checkpointEvery }: DebugOptions): NativeDebugRequest {
  const where =
    "socket" in listen ? { port: undefined, ...listen } : { socket: undefined, ...listen };
  return { ...where, at, checkpointEvery };
}

function stackRequest({ from, to, only, write }: StackOptions): NativeStackRequest {
  const { output, force = false } = write ?? {};
  return {
    from,
    to,
    write: write !== undefined,
    force,
    ...(only && { only }),
    ...(output !== undefined && { output }),
  };
}

/** Output on its way from the engine to a callback. */
class OutputSink {
  readonly isWanted: boolean;
  /** When all of it was handed over. */
  readonly ended: Promise<void>;
  /** Ends the replay: the callback failed. */
  stop = (): void => {};
  failure: { readonly error: unknown } | undefined;
  readonly #callback: ReplayOptions["onOutput"];
  #end = (): void => {};

  constructor(callback: ReplayOptions["onOutput"]) {
    this.#callback = callback;
    this.isWanted = callback !== undefined;
    this.ended = this.isWanted
      ? new Promise((resolve) => {
          this.#end = resolve;
        })
      : Promise.resolve();
  }

  readonly take: NativeReplayOutput = (stream, bytes) => {
    if (stream === 0) {
      this.#end();
    } else if (this.failure === undefined) {
      try {
        this.#callback?.(stream === 2 ? 2 : 1, bytes);
      } catch (error) {
        this.failure = { error };
        this.stop();
      }
    }
  };
}

function aborted(signal: AbortSignal): TraceError {
  return new TraceError("ABORTED", "the replay was aborted", { cause: signal.reason });
}

function outputError(errno: number): TraceError {
  return ioError("write", "the program's output", errno);
}

/** The wait status with which the program or process ended; undefined where the replay does not come to that. */
async function statusOf(trace: Trace, options: ReplayOptions): Promise<number | undefined> {
  if (options.execOnly) return undefined;
  const { process = 1, until = Number.POSITIVE_INFINITY } = options;
  const exits = trace.batches({ columns: ["base", "args"], kinds: [EventKind.Exit], to: until });
  try {
    for await (const batch of exits) {
      for (let i = 0; i < batch.count; i++) {
        if (batch.kind[i] !== EventKind.Exit || batch.args[12 * i] !== 1) continue;
        if (trace.threads[batch.thread[i] ?? -1]?.process === process) return batch.code[i];
      }
    }
  } catch {
    // A damaged trace has been replayed as far as it can be read.
  }
  return undefined;
}

function endOf(status: number | undefined): Pick<ReplayResult, "exitCode" | "exitSignal"> {
  if (status === undefined) return { exitCode: undefined, exitSignal: undefined };
  const signal = status & 0x7f;
  return signal === 0
    ? { exitCode: (status >> 8) & 0xff, exitSignal: undefined }
    : { exitCode: undefined, exitSignal: signal };
}

function memoryOf(native: NativeDesync): MemoryDifference | undefined {
  const { slot, address, offset, expectedBytes, actualBytes } = native;
  if (slot === undefined || address === undefined || offset === undefined) return undefined;
  const none = new Uint8Array(0);
  return {
    slot,
    address,
    offset,
    expected: expectedBytes ?? none,
    actual: actualBytes ?? none,
    from: native.window,
  };
}

function desyncOf(native: NativeDesync): Desync {
  return {
    seq: native.seq,
    thread: native.thread,
    reason: native.reason,
    argument: native.argument,
    memory: memoryOf(native),
    result: native.result,
    actual: native.actual,
    maps: native.maps,
    frames: native.frames,
    script: native.script.map(({ function: name, file, line }) => ({
      function: name ?? "?",
      file: file ?? "?",
      line,
    })),
  };
}
