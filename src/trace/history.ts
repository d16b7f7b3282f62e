/**
 * What became of the processes of a trace: programs they ran, how long they lived, how they ended.
 * One pass over the blocks that hold such events; made when somebody asks.
 */

import { captureText, decodeExec, decodeExit, type ExecEvent } from "../decode/event.js";
import { type EventBatch, EventFlag, EventKind } from "./batch.js";
import { CALL_COLUMNS } from "./columns.js";
import type { ProcessInfo } from "./process.js";
import type { Trace } from "./trace.js";

export interface ProgramStart extends ExecEvent {
  readonly seq: number;
  /** Nanoseconds since the start of the recording. */
  readonly time: number;
  /** Index of the thread that called exec. */
  readonly thread: number;
  readonly credentials: string;
  /** The path as it was given to exec, before links were followed; undefined when that was not recorded. */
  readonly given: string | undefined;
}

export interface ProcessEnd {
  readonly seq: number;
  readonly time: number;
  readonly code: number;
  readonly signal: string | undefined;
  readonly core: boolean;
  /** CPU time in nanoseconds, and the peak of resident memory in bytes. */
  readonly userTime: number;
  readonly systemTime: number;
  readonly peakMemory: number;
}

export interface ProcessLife extends ProcessInfo {
  /** Nanoseconds since the start; of a process that was there before, 0. */
  readonly start: number;
  readonly programs: readonly ProgramStart[];
  /** Undefined: it was still there when the recording ended. */
  readonly end: ProcessEnd | undefined;
}

interface Draft {
  start: number | undefined;
  programs: ProgramStart[];
  end: ProcessEnd | undefined;
}

export class History {
  /** In the order of their numbers. */
  readonly lives: readonly ProcessLife[];
  /** Why a part of the trace could not be read. */
  readonly failure: unknown;
  readonly #byNumber: ReadonlyMap<number, ProcessLife>;

  private constructor(lives: readonly ProcessLife[], failure: unknown) {
    this.lives = lives;
    this.failure = failure;
    this.#byNumber = new Map(lives.map((life) => [life.number, life]));
  }

  static async read(trace: Trace): Promise<History> {
    const drafts = new Map<number, Draft>();
    let failure: unknown;
    try {
      await noteAll(trace, drafts);
    } catch (error) {
      failure = error;
    }
    const lives = trace.processes.map((info) => lifeOf(info, drafts.get(info.number)));
    return new History(lives, failure);
  }

  life(number: number): ProcessLife | undefined {
    return this.#byNumber.get(number);
  }

  /** The program before the one that was started at event `seq`: the one that started it. */
  programBefore(number: number, seq: number): ProgramStart | undefined {
    const life = this.#byNumber.get(number);
    const own = life && lastBefore(life.programs, seq - 1);
    if (own !== undefined || life === undefined || life.parent === 0) return own;
    return this.programAt(life.parent, life.createdBy);
  }

  /** The program that the process ran at event `seq`: its own, or the one it was forked from. */
  programAt(number: number, seq: number): ProgramStart | undefined {
    let life = this.#byNumber.get(number);
    let moment = seq;
    for (let depth = 0; life !== undefined && depth <= this.lives.length; depth++) {
      const found = lastBefore(life.programs, moment);
      if (found !== undefined) return found;
      moment = Math.min(moment, life.createdBy);
      life = this.#byNumber.get(life.parent);
    }
    // The first program's own execve stands before its start.
    return this.#byNumber.get(number)?.programs[0];
  }
}

const kinds: readonly number[] = [EventKind.Task, EventKind.Exec, EventKind.Exit];

async function noteAll(trace: Trace, drafts: Map<number, Draft>): Promise<void> {
  // By thread: the path of its last exec, whose start of a program comes next.
  const given = new Map<number, string>();
  for await (const batch of trace.batches({ columns: CALL_COLUMNS, kinds })) {
    for (let i = 0; i < batch.count; i++) {
      if (isExecCall(batch, i)) given.set(batch.thread[i] ?? 0, captureText(batch, i, 0) ?? "");
      if (!kinds.includes(batch.kind[i] ?? 0)) continue;
      const number = trace.threads[batch.thread[i] ?? -1]?.process ?? 0;
      let draft = drafts.get(number);
      if (draft === undefined) {
        draft = { start: undefined, programs: [], end: undefined };
        drafts.set(number, draft);
      }
      note(draft, batch, i, given);
    }
  }
}

/** A successful execve: execveat may mean a descriptor instead of a path. */
function isExecCall(batch: EventBatch, i: number): boolean {
  const isCall =
    batch.kind[i] === EventKind.Call && batch.code[i] === (batch.arch[i] === 1 ? 11 : 59);
  return isCall && ((batch.flags[i] ?? 0) & EventFlag.Error) === 0;
}

function note(draft: Draft, batch: EventBatch, i: number, given: Map<number, string>): void {
  const time = batch.start[i] ?? 0;
  const seq = batch.firstSeq + i;
  draft.start ??= time;
  if (batch.kind[i] === EventKind.Exec) {
    const thread = batch.thread[i] ?? 0;
    const credentials = captureText(batch, i, 6) ?? "";
    const path = given.get(thread)?.split("\0")[0];
    given.delete(thread);
    const start = { ...decodeExec(batch, i), seq, time, thread, credentials };
    draft.programs.push({ ...start, given: path === "" ? undefined : path });
  } else if (batch.kind[i] === EventKind.Exit) {
    const exit = decodeExit(batch, i);
    if (!exit.process) return;
    draft.end = {
      seq,
      time,
      code: exit.code,
      signal: exit.signal,
      core: exit.core,
      userTime: word(batch, i, 1) * 1000,
      systemTime: word(batch, i, 2) * 1000,
      peakMemory: word(batch, i, 3) * 1024,
    };
  }
}

function word(batch: EventBatch, i: number, k: number): number {
  const at = 12 * i + 2 * k;
  return (batch.args[at + 1] ?? 0) * 0x1_0000_0000 + (batch.args[at] ?? 0);
}

function lifeOf(info: ProcessInfo, draft: Draft | undefined): ProcessLife {
  return {
    ...info,
    start: draft?.start ?? 0,
    programs: draft?.programs ?? [],
    end: draft?.end,
  };
}

/** The last start at or before event `seq`. */
function lastBefore(programs: readonly ProgramStart[], seq: number): ProgramStart | undefined {
  let low = 0;
  let high = programs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((programs[middle]?.seq ?? 0) <= seq) low = middle + 1;
    else high = middle;
  }
  return programs[low - 1];
}
