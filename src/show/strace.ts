/**
 * Lines as `strace -f -o FILE` writes them, byte for byte, so that viewers and scripts made for strace work.
 *
 * A recording has one event per call; strace has a line that grows: what is known at entry, then, when nothing else was
 * printed in between, the rest; else ` <unfinished ...>` and later `<... name resumed>`. `StraceWriter` is that growing
 * line; `straceLines` feeds it entries and exits in the order in which they happened.
 */

import { decodeCall } from "../decode/call.js";
import { decodeExit, decodeSignal } from "../decode/event.js";
import { ERRNO_NAMES } from "../decode/names.generated.js";
import type { Argument, Call, Result } from "../decode/value.js";
import { type EventBatch, EventFlag, EventKind } from "../trace/batch.js";
import { errorText, restartName } from "./errno_text.js";
import { hexText, type Notation, STRACE_NOTATION, valueText } from "./notation.js";
import type { EventSource, Keep, SpanningCalls } from "./source.js";
import { durationText, type TimeStyle, timeText } from "./time.js";

export interface StraceOptions {
  readonly notation: Notation;
  readonly time: TimeStyle;
  /** Time spent in each call, at the end of its line (-T). */
  readonly duration: boolean;
  /** The column of thread ids. */
  readonly pid: boolean;
  /** Lines below those of an event. */
  readonly below?: (seq: number) => string;
}

/** As `strace -f -ttt -T -y -o FILE`. */
export const STRACE_OPTIONS: StraceOptions = {
  notation: STRACE_NOTATION,
  time: "ttt",
  duration: true,
  pid: true,
};

/** Column of the `=` in lines that are shorter. */
const RESULT_COLUMN = 40;

/** The text of a call up to the point to which strace prints it at entry, and the rest up to the parenthesis. */
export function callText(call: Call, style: Notation): { entry: string; exit: string } {
  let entry = `${call.name}(`;
  let exit = "";
  let late = false;
  let first = true;
  for (const arg of call.args) {
    if (arg.hidden === true) continue;
    const separator = first ? "" : ", ";
    first = false;
    if (late) {
      exit += separator + argumentText(arg, style);
    } else if (arg.at === "exit") {
      late = true;
      if (arg.labelled === true) exit += separator;
      else entry += separator;
      exit += argumentText(arg, style);
    } else if (arg.at === "both" && arg.value.kind === "change") {
      late = true;
      entry += separator + argumentText({ ...arg, value: arg.value.before }, style);
      exit += ` => ${valueText(arg.value.after, style)}`;
    } else {
      entry += separator + argumentText(arg, style);
    }
  }
  return { entry, exit };
}

function argumentText(arg: Argument, style: Notation): string {
  const text = valueText(arg.text ?? arg.value, style);
  return arg.labelled === true ? `${arg.name}=${text}` : text;
}

/** What stands after the `=`. */
export function resultText(result: Result, style: Notation): string {
  switch (result.status) {
    case "none":
    case "unseen":
      return "?";
    case "error":
      return errorResult(result.errno ?? 0);
    case "ok": {
      const { value } = result;
      const text = value.kind === "pointer" ? hexText(value.addr) : valueText(value, style);
      return result.note === undefined ? text : `${text} (${valueText(result.note, style)})`;
    }
  }
}

function errorResult(errno: number): string {
  const restart = restartName(errno);
  if (restart !== undefined) return `? ${restart} (${errorText(errno)})`;
  const name = ERRNO_NAMES[errno];
  if (name === undefined || name === "") return `-1 (errno ${errno})`;
  const text = errorText(errno);
  return text === "" ? `-1 ${name}` : `-1 ${name} (${text})`;
}

/** `name(args) = result` with the `=` in its column; `column` is where the line stands before it. */
export function wholeCallText(call: Call, style: Notation, column = 0): string {
  const { entry, exit } = callText(call, style);
  const text = `${entry}${exit}) `;
  return `${text.padEnd(RESULT_COLUMN - column)}= ${resultText(call.result, style)}`;
}

/** `args[0]` of the Exit event of a thread that goes on as the first of its process. */
const SUPERSEDED = 2;
const RESTART = "restart_syscall";
/** ERESTART_RESTARTBLOCK: the call goes on by `restart_syscall`. */
const RESTART_BLOCK = -516;

/** The Exec event that follows call `i`, when its thread took the place of the first one; else -1. */
function successorOf(batch: EventBatch, i: number): number {
  const exit = i + 1;
  const superseded =
    exit + 1 < batch.count &&
    batch.kind[exit] === EventKind.Exit &&
    batch.thread[exit] === batch.thread[i] &&
    batch.args[12 * exit] === SUPERSEDED &&
    batch.kind[exit + 1] === EventKind.Exec;
  return superseded ? exit + 1 : -1;
}

/** modify_ldt(2) hands errors over as 32-bit numbers, which only look like results. */
function wideErrno(call: Call): string {
  const { status, value } = call.result;
  if (call.name !== "modify_ldt" || status !== "ok" || value.kind !== "int") return "";
  const errno = 2 ** 32 - Number(value.value);
  const name = errno > 0 && errno < 4096 ? ERRNO_NAMES[errno] : undefined;
  return name === undefined || name === "" ? "" : ` ${name} (${errorText(errno)})`;
}

/** One growing line, and the lines before it. */
export class StraceWriter {
  readonly #source: Pick<EventSource, "trace">;
  readonly #options: StraceOptions;
  #out = "";
  /** Event number of the call whose line is open, or -1, and the length of that line. */
  #open = -1;
  #column = 0;
  #previous = 0;
  /** The last call of each thread that ended, by the thread's index. */
  readonly #last = new Map<number, string>();
  /** Of each thread's interrupted calls that the kernel has not begun again yet: when those parts ended, and how it has them go on. */
  readonly #parts = new Map<number, { readonly end: number; readonly resumes: boolean }[]>();

  constructor(source: Pick<EventSource, "trace">, options: StraceOptions) {
    this.#source = source;
    this.#options = options;
  }

  /** Everything written since the last time; the open line is kept back only when `end` is false. */
  take(): string {
    const out = this.#out;
    this.#out = "";
    return out;
  }

  get length(): number {
    return this.#out.length;
  }

  entry(batch: EventBatch, i: number): void {
    const call = this.#decode(batch, i);
    const { entry } = callText(call, this.#options.notation);
    this.#begin(batch, i, this.#startOf(batch, i), entry + this.#resumes(batch, i, call));
    this.#open = batch.firstSeq + i;
  }

  exit(batch: EventBatch, i: number): void {
    const call = this.#decode(batch, i);
    const { exit } = callText(call, this.#options.notation);
    const successor = successorOf(batch, i);
    if (successor >= 0) {
      this.#supersede(batch, i, successor, call, exit);
      return;
    }
    if (this.#open !== batch.firstSeq + i) {
      const end = (batch.start[i] ?? 0) + (batch.duration[i] ?? 0);
      this.#begin(batch, i, end, `<... ${call.name} resumed>`);
    }
    this.#open = -1;
    this.#finish(batch, i, call, exit);
  }

  /** Entry and exit at once. */
  call(batch: EventBatch, i: number): void {
    const call = this.#decode(batch, i);
    const { entry, exit } = callText(call, this.#options.notation);
    this.#begin(batch, i, this.#startOf(batch, i), entry + this.#resumes(batch, i, call));
    const successor = successorOf(batch, i);
    if (successor < 0) {
      this.#finish(batch, i, call, exit);
      return;
    }
    this.#open = batch.firstSeq + i;
    this.#supersede(batch, i, successor, call, exit);
  }

  /** A thread that is not the first executed a program: its call ends under the id of the first thread. */
  #supersede(batch: EventBatch, i: number, successor: number, call: Call, exit: string): void {
    const tid = this.#source.trace.threads[batch.thread[i] ?? -1]?.tid ?? 0;
    const end = (batch.start[i] ?? 0) + (batch.duration[i] ?? 0);
    this.#begin(batch, successor, end, `+++ superseded by execve in pid ${tid} +++`);
    this.#out += "\n";
    this.#begin(batch, successor, end, `<... ${call.name} resumed>`);
    this.#finish(batch, i, call, exit);
  }

  /** When a call began: the last part of one that was begun again, which is an event with the start of the first. */
  #startOf(batch: EventBatch, i: number): number {
    const start = batch.start[i] ?? 0;
    if (((batch.flags[i] ?? 0) & EventFlag.Restarted) === 0) return start;
    return this.#parts.get(batch.thread[i] ?? -1)?.at(-1)?.end ?? start;
  }

  /** Notes the end of a part, and that a call goes on. */
  #noteParts(batch: EventBatch, i: number, end: number): void {
    const thread = batch.thread[i] ?? -1;
    const flags = batch.flags[i] ?? 0;
    const parts = this.#parts.get(thread) ?? [];
    if ((flags & EventFlag.Restarted) !== 0) parts.pop();
    if ((flags & EventFlag.Interrupted) === 0) return;
    this.#parts.set(thread, [...parts, { end, resumes: batch.ret[2 * i] === RESTART_BLOCK }]);
  }

  /** A call as strace sees it: one that the kernel has go on by `restart_syscall` is that. */
  #decode(batch: EventBatch, i: number): Call {
    const call = decodeCall(batch, i, this.#source.trace);
    const isRestarted = ((batch.flags[i] ?? 0) & EventFlag.Restarted) !== 0;
    const part = isRestarted ? this.#parts.get(batch.thread[i] ?? -1)?.at(-1) : undefined;
    return part?.resumes === true ? { ...call, name: RESTART, args: [] } : call;
  }

  /** What `restart_syscall` goes on with: the call that its thread made before. */
  #resumes(batch: EventBatch, i: number, call: Call): string {
    if (call.name !== RESTART) return "";
    const name = this.#last.get(batch.thread[i] ?? -1) ?? "system call";
    return `<... resuming interrupted ${name} ...>`;
  }

  /** An event that is no call; those for which strace has no line are left out. */
  event(batch: EventBatch, i: number): void {
    const text = this.#eventText(batch, i);
    if (text === undefined) return;
    this.#begin(batch, i, batch.start[i] ?? 0, text);
    this.#out += `\n${this.#options.below?.(batch.firstSeq + i) ?? ""}`;
  }

  /** Ends the open line, if there is one. */
  close(): void {
    if (this.#open >= 0) this.#out += " <unfinished ...>\n";
    this.#open = -1;
  }

  #begin(batch: EventBatch, i: number, nanos: number, text: string): void {
    this.close();
    const { pid, time } = this.#options;
    let line = "";
    if (pid) {
      const thread = this.#source.trace.threads[batch.thread[i] ?? -1];
      line = `${String(thread?.tid ?? 0).padEnd(5)} `;
    }
    line += timeText(time, this.#source.trace, nanos, this.#previous) + text;
    this.#previous = nanos;
    this.#column = line.length;
    this.#out += line;
  }

  #finish(batch: EventBatch, i: number, call: Call, exit: string): void {
    const { notation, duration } = this.#options;
    const gone = call.result.status === "none";
    const tail = gone ? `${exit === "" ? "" : " <unfinished ...>"}) ` : `${exit}) `;
    const text = resultText(call.result, notation) + wideErrno(call);
    this.#out += `${tail.padEnd(RESULT_COLUMN - this.#column)}= ${text}`;
    if (call.name !== RESTART) this.#last.set(batch.thread[i] ?? -1, call.name);
    const end = (batch.start[i] ?? 0) + (batch.duration[i] ?? 0);
    if (duration && !gone) this.#out += ` ${durationText(end - this.#startOf(batch, i))}`;
    this.#noteParts(batch, i, end);
    this.#out += `\n${this.#options.below?.(batch.firstSeq + i) ?? ""}`;
  }

  #eventText(batch: EventBatch, i: number): string | undefined {
    const { trace } = this.#source;
    switch (batch.kind[i]) {
      case EventKind.Signal: {
        const { name, info } = decodeSignal(batch, i, trace);
        return `--- ${name} ${info === undefined ? "" : `${valueText(info, this.#options.notation)} `}---`;
      }
      case EventKind.Exit: {
        // Said with the call that did it.
        if (batch.args[12 * i] === SUPERSEDED) return undefined;
        const exit = decodeExit(batch, i);
        if (exit.signal === undefined) return `+++ exited with ${exit.code} +++`;
        return `+++ killed by ${exit.signal}${exit.core ? " (core dumped)" : ""} +++`;
      }
      case EventKind.Stop:
        return `--- stopped by ${decodeSignal(batch, i, trace).name} ---`;
      default:
        return undefined;
    }
  }
}

const CHUNK = 64 * 1024;

/** All lines, in chunks that end anywhere. */
export async function* straceLines(
  source: EventSource,
  options: StraceOptions = STRACE_OPTIONS,
  keep: Keep = () => true,
): AsyncGenerator<string> {
  const spanning = await source.spanningCalls();
  const writer = new StraceWriter(source, options);
  const entries = new Entries(source, spanning, keep);
  for await (const batch of source.batches()) {
    for (let i = 0; i < batch.count; i++) {
      const waiting = entries.due(batch.firstSeq + i) ? await entries.take(batch, i) : [];
      writeEvent(writer, batch, i, waiting, keep);
      if (writer.length > CHUNK) yield writer.take();
    }
  }
  writer.close();
  yield writer.take();
}

interface Place {
  readonly batch: EventBatch;
  readonly i: number;
}

/** One event, and the entries of other calls that stand before its end. */
function writeEvent(
  writer: StraceWriter,
  batch: EventBatch,
  i: number,
  waiting: readonly Place[],
  keep: Keep,
): void {
  const start = batch.start[i] ?? 0;
  const isCall = batch.kind[i] === EventKind.Call;
  const spans = isCall && (batch.span[i] ?? 0) > 0;
  const inside: Place[] = [];
  for (const place of waiting) {
    if (isCall && !spans && (place.batch.start[place.i] ?? 0) > start) inside.push(place);
    else writer.entry(place.batch, place.i);
  }
  if (!keep(batch, i)) {
    for (const place of inside) writer.entry(place.batch, place.i);
  } else if (!isCall) {
    writer.event(batch, i);
  } else if (spans) {
    writer.exit(batch, i);
  } else if (inside.length === 0) {
    writer.call(batch, i);
  } else {
    writer.entry(batch, i);
    for (const place of inside) writer.entry(place.batch, place.i);
    writer.exit(batch, i);
  }
}

/** The entries of spanning calls, in the order of their places. */
class Entries {
  readonly #source: EventSource;
  readonly #spanning: SpanningCalls;
  readonly #keep: Keep;
  #next = 0;

  constructor(source: EventSource, spanning: SpanningCalls, keep: Keep) {
    this.#source = source;
    this.#spanning = spanning;
    this.#keep = keep;
  }

  due(seq: number): boolean {
    const entry = this.#spanning.entry[this.#next];
    return entry !== undefined && entry <= seq;
  }

  /** Those that stand before event `i` of the batch, by time of entry. */
  async take(batch: EventBatch, i: number): Promise<Place[]> {
    const found: Place[] = [];
    while (this.due(batch.firstSeq + i)) {
      const seq = this.#spanning.seq[this.#next++] ?? -1;
      const here = seq - batch.firstSeq;
      const place =
        here >= 0 && here < batch.count ? { batch, i: here } : await this.#source.eventAt(seq);
      if (place !== undefined && this.#keep(place.batch, place.i)) found.push(place);
    }
    return found.sort((a, b) => (a.batch.start[a.i] ?? 0) - (b.batch.start[b.i] ?? 0));
  }
}
