/**
 * Recording as a library: options in, a running recording out. It prints nothing, touches none of this
 * process's streams, and keeps the event loop free; the recorder is a thread of the addon.
 */

import { readFileSync, readlinkSync } from "node:fs";
import { resolve } from "node:path";
import type { Backend } from "./backends.js";
import type { TraceError } from "./errors.js";
import { type NativeRecording, type NativeRecordOptions, native } from "./native.js";
import { traceError, unwrap } from "./trace/failure.js";

/** Which memory is kept: all, only what is needed to tell paths and arguments, or none. */
export type DataMode = "all" | "paths" | "none";

/** What the processor is to seem to be: what it is, or a level of the x86-64 psABI. */
export type CpuLevel = (typeof CPU_LEVELS)[number];
export const CPU_LEVELS = ["host", "x86-64-v2", "x86-64-v3"] as const;

export interface RecordOptions {
  /**
   * Program and arguments; bytes for those that are not UTF-8. A program without a slash is looked up in PATH. Empty with
   * `attach`.
   */
  readonly command: readonly (string | Uint8Array)[];
  /** Process ids of running programs to observe instead; `Recording.detach` lets them go. */
  readonly attach?: readonly number[];
  /** Trace file; `./<program>-<n>.trace` with the first free number when absent. */
  readonly output?: string;
  /** Replace an existing file. */
  readonly force?: boolean;
  readonly cwd?: string;
  /** Environment of the program, also as `NAME=value` in bytes; this process's own when absent. */
  readonly env?: Readonly<Record<string, string | undefined>> | readonly Uint8Array[];
  readonly data?: DataMode;
  /** Names of the syscalls to record; all when absent. Calls that carry descriptors or processes are always recorded. */
  readonly only?: readonly string[];
  /** When the program ends, leave the processes that it started running, unobserved. */
  readonly detachOnExit?: boolean;
  /** Do not keep tracees and recorder on one CPU. */
  readonly unpinned?: boolean;
  /**
   * Let threads run freely and clocks be read unseen. It costs less, and the trace cannot be replayed. Implied by `attach`,
   * `only`, `detachOnExit` and by `data` other than `all`.
   */
  readonly observe?: boolean;
  /**
   * The agent when absent. Where that cannot do what is asked for, ptrace does it: the fact `without_agent` says why, and for who
   * has named the agent a note too.
   */
  readonly backend?: Backend;
  /** Seed (an integer) of a recording that varies the order in which threads run. */
  readonly chaos?: number;
  /**
   * What programs are told of the processor. A level of the architecture makes a trace that replays on every processor that has
   * it; that needs a processor and kernel that let `cpuid` trap.
   */
  readonly cpu?: CpuLevel;
  /**
   * Pass on every descriptor that this process was started with, as a shell would, and not only 0 to 2. Only right in a
   * process that has opened no files itself.
   */
  readonly inheritDescriptors?: boolean;
  /** Start the program with SIGHUP ignored, as nohup does. Node resets that for itself. */
  readonly ignoreHangup?: boolean;
  /** User to run as (needs root). */
  readonly user?: {
    readonly uid: number;
    readonly gid: number;
    readonly groups: readonly number[];
  };
  /** Kills the program and ends the recording; what was recorded until then is a complete trace. */
  readonly signal?: AbortSignal;
  /**
   * Copy the registers and the end of the stack of each thread that enters one of these calls, so that its stack can be shown
   * without a replay. Other calls cost nothing.
   */
  readonly stacks?: {
    /** Names of syscalls; all when absent. */
    readonly calls?: readonly string[];
    /** Bytes of each stack; 16 KiB when absent, at most 1 MiB. */
    readonly bytes?: number;
  };
  /** A policy (`compilePolicy`) that the program runs under, and who is told what it refuses. Implies `observe`. */
  readonly enforce?: { readonly policy: string; readonly onRefusal: (refusal: string) => void };
}

/** What could not be captured. All zero in a recording that lost nothing. */
export interface LostCounts {
  /** Memory that could not be read (often a bad pointer of the program). */
  readonly memory: number;
  readonly tasks: number;
  readonly descriptors: number;
  /** Calls whose number the table does not know; they are recorded raw. */
  readonly unknownCalls: number;
  /** Events that could not be written: the disk was full. */
  readonly events: number;
}

export interface RecordResult {
  readonly path: string;
  /** Exit code of the program, or undefined when a signal ended it. */
  readonly exitCode: number | undefined;
  /** Number of the signal that ended it. */
  readonly exitSignal: number | undefined;
  readonly processes: number;
  readonly threads: number;
  readonly events: number;
  /** Size of the trace file. */
  readonly bytes: number;
  readonly durationNs: number;
  readonly lost: LostCounts;
  /** What the user ought to know, a line each. */
  readonly notes: readonly string[];
  /** Counts, size and path in one line, for people. */
  readonly summary: string;
  /** Why the trace is cut, if it is. */
  readonly failure: TraceError | undefined;
}

/** A recording that is going on. */
export interface Recording {
  readonly path: string;
  /** Settles when the last process has ended. */
  readonly result: Promise<RecordResult>;
  /**
   * Sends a signal to the program; 0 sends nothing. `false` when the program has ended, and only what it left behind is
   * still recorded.
   */
  kill(signal: number): boolean;
  /** For a command in a terminal: stops this process by this signal when the program has stopped. */
  stopAlong(signal: number): void;
  abort(): void;
  /**
   * Ends the recording and lets what is observed go on. (With `only` it is killed: the filter stays in the processes, and
   * the calls that it stops fail when nobody answers.)
   */
  detach(): void;
}

/**
 * Records a program and everything that it starts.
 *
 * @throws TraceError NOT_FOUND, NOT_EXECUTABLE, EXEC_FORMAT, EXISTS, PERMISSION, ... when it cannot begin.
 */
export async function record(options: RecordOptions): Promise<RecordResult> {
  return startRecording(options).result;
}

/** The same with a hold on the running recording. */
export function startRecording(options: RecordOptions): Recording {
  const path = absolute(
    options.output ?? native().freeName(text(options.command[0] ?? programOf(options.attach?.[0]))),
  );
  const own: NativeRecordOptions = {
    argv: options.command.map(bytes),
    output: bytes(path),
    force: options.force ?? false,
    data: options.data ?? "all",
    detachOnExit: options.detachOnExit ?? false,
    unpinned: options.unpinned ?? false,
    observe: options.observe ?? options.enforce !== undefined,
    ...(options.backend && { backend: options.backend }),
    chaos: options.chaos,
    cpu: options.cpu ?? "host",
    inherit: options.inheritDescriptors ?? false,
    ignoreHangup: options.ignoreHangup ?? false,
    ...(options.attach && { attach: options.attach }),
    ...(options.env && { env: environment(options.env) }),
    ...(options.cwd !== undefined && { cwd: bytes(options.cwd) }),
    ...(options.only && { only: options.only }),
    ...(options.user && { user: options.user }),
    ...(options.enforce && { policy: options.enforce.policy }),
    ...(options.stacks && { stacks: options.stacks }),
    ...openFilesLimit(),
  };
  const { enforce } = options;
  const running = enforce
    ? native().startRecording(own, enforce.onRefusal)
    : native().startRecording(own);
  const abort = () => running.abort();
  if (options.signal?.aborted) abort();
  options.signal?.addEventListener("abort", abort, { once: true });
  let detaching: NodeJS.Timeout | undefined;
  const detach = () => {
    running.detach();
    detaching ??= setInterval(() => running.detach(), 20);
  };
  const result = settle(running, path).finally(() => {
    clearInterval(detaching);
    options.signal?.removeEventListener("abort", abort);
  });
  return {
    path,
    result,
    kill: (signal) => running.signal(signal),
    stopAlong: (signal) => running.stopAlong(signal),
    abort,
    detach,
  };
}

async function settle(running: NativeRecording, path: string): Promise<RecordResult> {
  const result = unwrap(await running.wait());
  const signal = result.status & 0x7f;
  const [memory = 0, tasks = 0, descriptors = 0, unknownCalls = 0] = result.lost;
  return {
    path,
    exitCode: signal === 0 ? (result.status >> 8) & 0xff : undefined,
    exitSignal: signal === 0 ? undefined : signal,
    processes: result.processes,
    threads: result.threads,
    events: result.events,
    bytes: result.bytes,
    durationNs: result.durationNs,
    lost: { memory, tasks, descriptors, unknownCalls, events: result.lostEvents },
    notes: result.notes,
    summary: result.line,
    failure:
      result.failure === undefined
        ? undefined
        : traceError({ code: result.failureCode ?? "io", message: result.failure, facts: {} }),
  };
}

function bytes(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? Buffer.from(value, "utf8") : value;
}

function text(value: string | Uint8Array): string {
  return typeof value === "string" ? value : Buffer.from(value).toString("utf8");
}

function environment(env: NonNullable<RecordOptions["env"]>): readonly Uint8Array[] {
  if (isByteList(env)) return env;
  return Object.entries(env)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => bytes(`${name}=${value}`));
}

function isByteList(env: NonNullable<RecordOptions["env"]>): env is readonly Uint8Array[] {
  return Array.isArray(env);
}

/** Now, since the program may remove the directory that it starts in. */
function absolute(path: string): string {
  try {
    return resolve(path);
  } catch {
    return path;
  }
}

/** What a process runs, for the name of the file. */
function programOf(pid: number | undefined): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return "";
  }
}

/**
 * Node raises its own soft limit of open files, and the program would inherit that. The parent's limit is
 * what the program would have had, as long as nobody changed the hard limit in between.
 */
export function openFilesLimit(): { nofile?: number } {
  const own = limitOf("self");
  const parent = limitOf(String(process.ppid));
  if (!own || !parent || own.hard !== parent.hard || parent.soft >= own.soft) return {};
  return { nofile: parent.soft };
}

function limitOf(pid: string): { soft: number; hard: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/limits`, "latin1");
    const match = /^Max open files\s+(\d+)\s+(\d+)/m.exec(text);
    return match ? { soft: Number(match[1]), hard: Number(match[2]) } : undefined;
  } catch {
    return undefined;
  }
}
