/**
 * Events for people: one line each, calls in strace's notation, with the event number, the time since the start, and
 * the process.
 *
 *     @1234     0.012345 p3.2   openat(AT_FDCWD</tmp>, "x", O_RDONLY) = -1 ENOENT (No such file or directory)
 */

import { decodeCall } from "../decode/call.js";
import type { TraceContext } from "../decode/context.js";
import {
  captureText,
  decodeExec,
  decodeExit,
  decodePreempt,
  decodeSignal,
  decodeTrap,
  type RegisterValue,
} from "../decode/event.js";
import { flags } from "../decode/flags.js";
import { printable } from "../report/text.js";
import { type EventBatch, EventFlag, EventKind } from "../trace/batch.js";
import { unsigned } from "../trace/word.js";
import { finite, threadName } from "./json.js";
import { hexText, type Notation, STRACE_NOTATION, valueText } from "./notation.js";
import { type Palette, PLAIN } from "./palette.js";
import { maskVariable } from "./secrets.js";
import { callText, resultText } from "./strace.js";
import { type TimeStyle, timeText } from "./time.js";

export interface TextOptions {
  readonly notation: Notation;
  readonly palette: Palette;
  /** Time column: seconds since the start of the recording, or one of strace's. */
  readonly time: "relative" | TimeStyle;
  /** Calls that took at least so many nanoseconds show how long. */
  readonly slow: number;
  /** All environment variables of a program start, values of secrets included. */
  readonly showSecrets: boolean;
}

export const TEXT_OPTIONS: TextOptions = {
  notation: STRACE_NOTATION,
  palette: PLAIN,
  time: "relative",
  slow: 1_000_000,
  showSecrets: false,
};

/** Writes lines; remembers the time of the line before, for the style `r`. */
export class TextWriter {
  readonly #trace: TraceContext;
  readonly #options: TextOptions;
  readonly #notation: Notation;
  #previous = 0;

  constructor(trace: TraceContext, options: TextOptions = TEXT_OPTIONS) {
    this.#trace = trace;
    this.#options = options;
    this.#notation =
      options.palette === PLAIN
        ? options.notation
        : { ...options.notation, paint: options.palette };
  }

  /** The line of event `i`, without its line end. */
  line(batch: EventBatch, i: number): string {
    const { palette } = this.#options;
    const start = finite(batch.start[i]);
    const number = palette("dim", `@${batch.firstSeq + i}`.padEnd(9));
    const process = threadName(this.#trace, batch.thread[i] ?? -1).padEnd(6);
    const head = `${number} ${this.#time(start)}${palette("process", process)} `;
    this.#previous = start;
    return head + this.text(batch, i);
  }

  /** The same without number, time and process. */
  text(batch: EventBatch, i: number): string {
    return batch.kind[i] === EventKind.Call ? this.#call(batch, i) : this.#event(batch, i);
  }

  #time(start: number): string {
    const { time } = this.#options;
    if (time === "relative") return `${seconds(start).padStart(11)} `;
    return timeText(time, this.#trace, start, this.#previous);
  }

  #call(batch: EventBatch, i: number): string {
    const { palette, slow } = this.#options;
    const call = decodeCall(batch, i, this.#trace);
    const { entry, exit } = callText(call, this.#notation);
    const name = call.name;
    const result = resultText(call.result, this.#notation);
    const failed = call.result.status === "error";
    let line = `${palette("name", name)}${entry.slice(name.length)}${exit}) = `;
    line += failed ? palette("error", result) : result;
    const duration = finite(batch.duration[i]);
    if (duration >= slow) line += ` ${palette("slow", `<${durationText(duration)}>`)}`;
    const flagBits = batch.flags[i] ?? 0;
    if ((flagBits & EventFlag.Restarted) !== 0) line += palette("dim", " (restarted)");
    if ((flagBits & EventFlag.Partial) !== 0) line += palette("dim", " (partly captured)");
    return line;
  }

  #event(batch: EventBatch, i: number): string {
    const { palette } = this.#options;
    const low = (k: number) => batch.args[12 * i + 2 * k] ?? 0;
    const wide = (k: number) => unsigned(low(k), batch.args[12 * i + 2 * k + 1] ?? 0);
    switch (batch.kind[i]) {
      case EventKind.Signal: {
        const { name, info, disposition } = decodeSignal(batch, i, this.#trace);
        const text = info === undefined ? "" : ` ${valueText(info, this.#notation)}`;
        const then = disposition === undefined ? "" : `, ${disposition}`;
        return palette("signal", `--- ${name}${text}${then} ---`);
      }
      case EventKind.Stop:
        return palette("signal", `--- stopped by ${decodeSignal(batch, i, this.#trace).name} ---`);
      case EventKind.Exit:
        return this.#exit(batch, i);
      case EventKind.Exec:
        return this.#exec(batch, i);
      case EventKind.Task: {
        const parent = low(0) === 0 ? "" : ` by ${threadName(this.#trace, low(0) - 1)}`;
        const how = valueText(flags("clone_flags", wide(1)), this.#notation);
        return palette("process", `+++ created${parent} (${how}) +++`);
      }
      case EventKind.Map: {
        const path = printable(captureText(batch, i, 0) ?? "");
        return palette("dim", `--- mapped ${path} at ${hexText(wide(0))}, ${wide(1)} bytes ---`);
      }
      case EventKind.Note:
        return palette("error", `--- ${printable(captureText(batch, i, 0) ?? "note")} ---`);
      case EventKind.Trap:
        return palette("dim", `--- ${trapText(batch, i)} ---`);
      case EventKind.Preempt: {
        const { turn, ip } = decodePreempt(batch, i);
        const where = ip === undefined ? "" : ` at ${hexText(ip)}`;
        return palette("dim", turn ? "--- has its turn ---" : `--- preempted${where} ---`);
      }
      default:
        return palette("dim", `--- event of kind ${batch.kind[i]} ---`);
    }
  }

  #exit(batch: EventBatch, i: number): string {
    const { palette } = this.#options;
    const { code, signal, core } = decodeExit(batch, i);
    if (signal === undefined) {
      return palette(code === 0 ? "process" : "error", `+++ exited with ${code} +++`);
    }
    return palette("error", `+++ killed by ${signal}${core ? " (core dumped)" : ""} +++`);
  }

  #exec(batch: EventBatch, i: number): string {
    const { palette, notation, showSecrets } = this.#options;
    const { path, argv, env } = decodeExec(batch, i);
    // JSON leaves some characters that terminals obey.
    const list = (words: readonly string[]) => printable(JSON.stringify(words));
    let text = `+++ runs ${printable(path)} ${list(argv)}`;
    if (notation.verbose) {
      text += ` ${list(showSecrets ? env : env.map(maskVariable))}`;
    } else {
      text += `, ${env.length} ${env.length === 1 ? "variable" : "variables"}`;
    }
    return palette("process", `${text} +++`);
  }
}

/** `rdtsc: tsc=0x5d1f`, `cpuid(eax=0x7, ecx=0): eax=0x2, ebx=0x9c, ecx=0, edx=0`. */
function trapText(batch: EventBatch, i: number): string {
  const { instruction, before, after } = decodeTrap(batch, i);
  const list = (registers: readonly RegisterValue[]) =>
    registers.map(({ name, value }) => `${name}=${hexText(value)}`).join(", ");
  const asked = before.length === 0 ? "" : `(${list(before)})`;
  return after.length === 0
    ? `instruction ${instruction}`
    : `${instruction}${asked}: ${list(after)}`;
}

/** `1.234567`. */
function seconds(nanos: number): string {
  const micros = Math.floor(nanos / 1000);
  return `${Math.floor(micros / 1e6)}.${String(micros % 1e6).padStart(6, "0")}`;
}

/** `1.50s`, `12.3ms`, `450us`, `80ns`. */
export function durationText(nanos: number): string {
  if (nanos >= 1e9) return `${(nanos / 1e9).toFixed(2)}s`;
  if (nanos >= 1e6) return `${(nanos / 1e6).toFixed(1)}ms`;
  return nanos >= 1000 ? `${Math.floor(nanos / 1000)}us` : `${Math.floor(nanos)}ns`;
}
