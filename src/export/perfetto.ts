/**
 * A trace for the Perfetto UI and trace processor: a track for each process and thread, a slice for each call from its entry to
 * its exit, arguments and results with their types, arrows for what caused what, counters for descriptors and bytes.
 *
 * The file is a `Trace` of perfetto_trace.proto. Times are those of the recording, as its boot time, with the wall clock
 * of its start beside it.
 */

import { decodeCall } from "../decode/call.js";
import { rowIndex } from "../decode/context.js";
import {
  captureText,
  decodeExec,
  decodeExit,
  decodePreempt,
  decodeSignal,
  decodeTrap,
} from "../decode/event.js";
import { flags } from "../decode/flags.js";
import type { Call } from "../decode/value.js";
import { CallFacts } from "../query/facts.js";
import { classesOf } from "../query/syscalls.js";
import { errnoName } from "../show/json.js";
import type { Notation } from "../show/notation.js";
import { frameText } from "../stacks/render.js";
import type { StackTable } from "../stacks/table.js";
import { type EventBatch, EventFlag, EventKind } from "../trace/batch.js";
import { History } from "../trace/history.js";
import { processName, threadName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { unsigned } from "../trace/word.js";
import { AnnotationWriter } from "./perfetto/annotation.js";
import { COUNTERS, type Counters, NOTHING, ProcessCounters } from "./perfetto/counters.js";
import {
  Clock,
  ClockId,
  Clocks,
  CounterTrack,
  EventType,
  Packet,
  ProcessTrack,
  ThreadTrack,
  Trace as TraceField,
  TraceUuid,
  Track,
  TrackEvent,
  Unit,
} from "./perfetto/fields.js";
import { type CallFlows, Flows } from "./perfetto/flows.js";
import { Sequence, Texts } from "./perfetto/sequence.js";
import { programName } from "./program.js";
import { ProtoWriter } from "./protobuf.js";
import type { EventStream } from "./stream.js";

/** Tracks are numbered by what they are of. */
const TRACKS = {
  process: 1 * 2 ** 32,
  thread: 2 * 2 ** 32,
  descriptors: 3 * 2 ** 32,
  read: 4 * 2 ** 32,
  written: 5 * 2 ** 32,
  trace: 6 * 2 ** 32,
} as const;

/** Sequence of the packets that belong to no thread; those of threads follow. */
const COMMON = 1;

const CHUNK = 192 * 1024;

export interface PerfettoOptions {
  readonly notation: Notation;
  /** Stacks of calls, written with them. */
  readonly stacks?: StackTable;
}

/** The whole file, in pieces. */
export async function* perfettoChunks(
  stream: EventStream,
  options: PerfettoOptions,
): AsyncGenerator<Uint8Array> {
  const history = await History.read(stream.trace);
  const writer = new PerfettoWriter(stream.trace, history, stream.isFromStart, options);
  for await (const batch of stream.batches()) {
    for (let i = 0; i < batch.count; i++) {
      writer.follow(batch, i);
      if (!stream.keep(batch, i)) continue;
      writer.event(batch, i);
      if (writer.length > CHUNK) yield writer.take();
    }
  }
  if (stream.missing !== undefined) writer.remark(`partial: ${stream.missing}`);
  yield writer.take();
}

export class PerfettoWriter {
  readonly #out = new ProtoWriter();
  readonly #texts = new Texts();
  readonly #trace: Trace;
  readonly #history: History;
  readonly #facts: CallFacts;
  readonly #flows: Flows;
  /** Undefined where events that they count are missing. */
  readonly #counters: ProcessCounters | undefined;
  readonly #sequences: (Sequence | undefined)[] = [];
  /** Those of threads that have ended. */
  readonly #free: Sequence[] = [];
  #made = 0;
  /** By process: the counters as they were written last. */
  readonly #written = new Map<number, Counters>();
  readonly #categories = new Map<number, string>();
  readonly #annotate: AnnotationWriter;
  readonly #stacks: StackTable | undefined;

  /** `counts`: every event is given to `follow`. */
  constructor(
    trace: Trace,
    history: History,
    counts: boolean,
    { notation, stacks }: PerfettoOptions,
  ) {
    this.#stacks = stacks;
    this.#trace = trace;
    this.#history = history;
    this.#facts = new CallFacts(trace);
    this.#flows = new Flows(trace, this.#facts);
    this.#counters = counts ? new ProcessCounters(trace, this.#facts) : undefined;
    this.#head();
    const { tick } = trace.info;
    const of = { id: COMMON + 1, track: TRACKS.trace, start: 0 };
    const common = new Sequence(this.#out, this.#texts, tick, of);
    this.#annotate = new AnnotationWriter(this.#out, common, notation);
    this.#common = common;
  }

  readonly #common: Sequence;

  get length(): number {
    return this.#out.length;
  }

  take(): Uint8Array {
    return this.#out.take();
  }

  /** Identity and clocks. */
  #head(): void {
    const w = this.#out;
    this.#packet(() => {
      const id = w.open(Packet.traceUuid);
      const words = this.#trace.info.id.match(/.{8}/g) ?? [];
      const word = (k: number) => Number.parseInt(words[k] ?? "0", 16);
      w.words(TraceUuid.high, word(1), word(0));
      w.words(TraceUuid.low, word(3), word(2));
      w.close(id);
    });
    this.#packet(() => {
      const snapshot = w.open(Packet.clockSnapshot);
      const { startSeconds, startNanos } = this.#trace;
      const wall = BigInt(startSeconds) * 1_000_000_000n + BigInt(startNanos);
      for (const [id, time] of [
        [ClockId.boottime, 0n],
        [ClockId.realtime, wall],
      ] as const) {
        const clock = w.open(Clocks.clock);
        w.uint(Clock.id, id);
        w.int(Clock.timestamp, time);
        w.close(clock);
      }
      w.uint(Clocks.primary, ClockId.boottime);
      w.close(snapshot);
    });
  }

  /** A packet without time, of no thread. */
  #packet(write: () => void): void {
    const packet = this.#out.open(TraceField.packet);
    this.#out.uint(Packet.sequenceId, COMMON);
    write();
    this.#out.close(packet);
  }

  #track(uuid: number, write: () => void): void {
    this.#packet(() => {
      const track = this.#out.open(Packet.trackDescriptor);
      this.#out.uint(Track.uuid, uuid);
      write();
      this.#out.close(track);
    });
  }

  /** The sequence of a thread; its tracks are written with the first event. */
  #sequence(index: number, time: number): Sequence {
    const known = this.#sequences[index];
    if (known !== undefined) return known;
    const track = TRACKS.thread + index;
    this.#threadTrack(index, track);
    const free = this.#free.pop();
    free?.retarget(track);
    const made = free ?? this.#newSequence(track, time);
    this.#sequences[index] = made;
    return made;
  }

  #newSequence(track: number, start: number): Sequence {
    const of = { id: COMMON + 2 + this.#made, track, start };
    this.#made += 1;
    return new Sequence(this.#out, this.#texts, this.#trace.info.tick, of);
  }

  #threadTrack(index: number, uuid: number): void {
    const thread = this.#trace.threads[index];
    const process = thread?.process ?? 0;
    if (!this.#written.has(process)) this.#processTracks(process);
    const w = this.#out;
    this.#track(uuid, () => {
      w.uint(Track.parent, TRACKS.process + process);
      const track = w.open(Track.thread);
      w.int(ThreadTrack.pid, thread?.pid ?? 0);
      w.int(ThreadTrack.tid, thread?.tid ?? 0);
      w.string(ThreadTrack.name, thread === undefined ? "p?" : threadName(thread));
      w.close(track);
    });
  }

  #processTracks(process: number): void {
    const w = this.#out;
    const life = this.#history.life(process);
    const program = life?.programs.at(-1) ?? this.#history.programAt(process, life?.createdBy ?? 0);
    this.#track(TRACKS.process + process, () => {
      const track = w.open(Track.process);
      w.int(ProcessTrack.pid, life?.pid ?? 0);
      for (const word of program?.argv ?? []) w.string(ProcessTrack.cmdline, word);
      w.string(ProcessTrack.name, `${processName(process)} ${programName(program)}`);
      w.uint(ProcessTrack.start, Math.max(0, life?.start ?? 0));
      w.close(track);
    });
    this.#written.set(process, NOTHING);
    if (this.#counters === undefined) return;
    this.#counterTrack(TRACKS.descriptors, process, "open descriptors", Unit.count);
    this.#counterTrack(TRACKS.read, process, "bytes read", Unit.bytes);
    this.#counterTrack(TRACKS.written, process, "bytes written", Unit.bytes);
  }

  #counterTrack(kind: number, process: number, name: string, unit: number): void {
    const w = this.#out;
    this.#track(kind + process, () => {
      w.uint(Track.parent, TRACKS.process + process);
      w.string(Track.name, name);
      const counter = w.open(Track.counter);
      w.uint(CounterTrack.unit, unit);
      w.close(counter);
    });
  }

  /** Counts event `i`, whether it is written or not. */
  follow(batch: EventBatch, i: number): void {
    this.#counters?.follow(batch, i);
  }

  /** Event `i`: a call becomes a slice, everything else an instant. */
  event(batch: EventBatch, i: number): void {
    const index = batch.thread[i] ?? 0;
    const time = Math.max(0, batch.start[i] ?? 0);
    const sequence = this.#sequence(index, time);
    this.#annotate.sequence = sequence;
    if (batch.kind[i] === EventKind.Call) this.#call(sequence, batch, i, time);
    else this.#instant(sequence, batch, i, time);
    if (batch.kind[i] === EventKind.Exit) this.#release(index, sequence);
  }

  /** Nothing comes from a thread that has ended; if something does, it gets a sequence again. */
  #release(index: number, sequence: Sequence): void {
    this.#sequences[index] = undefined;
    this.#free.push(sequence);
  }

  /** A remark on the whole trace. */
  remark(text: string): void {
    const w = this.#out;
    this.#track(TRACKS.trace, () => w.string(Track.name, "trace"));
    const packet = this.#common.begin();
    const event = w.open(Packet.trackEvent);
    w.uint(TrackEvent.type, EventType.instant);
    w.string(TrackEvent.name, text);
    w.close(event);
    this.#common.end(packet, this.#trace.duration);
  }

  #begin(sequence: Sequence, type: number, name: string, category: string): number {
    const w = this.#out;
    const event = w.open(Packet.trackEvent);
    w.uint(TrackEvent.type, type);
    const iid = sequence.iid("names", name);
    if (iid === 0) w.string(TrackEvent.name, name);
    else w.uint(TrackEvent.nameIid, iid);
    const of = sequence.iid("categories", category);
    if (of !== 0) w.uint(TrackEvent.categoryIids, of);
    return event;
  }

  #call(sequence: Sequence, batch: EventBatch, i: number, time: number): void {
    const w = this.#out;
    const call = decodeCall(batch, i, this.#trace);
    const arrows = this.#flows.ofCall(batch, i);
    const packet = sequence.begin();
    const event = this.#begin(sequence, EventType.begin, call.name, this.#category(batch, i));
    for (const flow of arrows.out) w.fixed64(TrackEvent.flowIds, flow);
    this.#arguments(call, batch, i);
    w.close(event);
    sequence.end(packet, time);
    this.#callEnd(sequence, batch, i, time + Math.max(0, batch.duration[i] ?? 0), arrows);
  }

  #arguments(call: Call, batch: EventBatch, i: number): void {
    const annotate = this.#annotate;
    for (const arg of call.args) {
      annotate.value(arg.name, arg.value);
      if (arg.resolved !== undefined) annotate.text(`${arg.name}.resolved`, arg.resolved);
    }
    const { result } = call;
    if (result.status === "none") annotate.bool("unfinished", true);
    else if (result.status === "error") annotate.word("err", errnoName(result.errno ?? 0));
    else if (result.status === "ok") {
      annotate.value("ret", result.value);
      if (result.note !== undefined) annotate.value("note", result.note);
    }
    if (((batch.flags[i] ?? 0) & EventFlag.Partial) !== 0) annotate.bool("partial", true);
    const stack = this.#stacks?.of(batch.firstSeq + i);
    if (stack !== undefined) annotate.word("stack", stack.frames.map(frameText).join("\n"));
  }

  #callEnd(
    sequence: Sequence,
    batch: EventBatch,
    i: number,
    time: number,
    arrows: CallFlows,
  ): void {
    const w = this.#out;
    const packet = sequence.begin();
    const event = w.open(Packet.trackEvent);
    w.uint(TrackEvent.type, EventType.end);
    for (const flow of arrows.in) w.fixed64(TrackEvent.flowIds, flow);
    this.#count(batch, i);
    w.close(event);
    sequence.end(packet, time);
  }

  /** Values of the counters of the event's process, as far as they have changed. */
  #count(batch: EventBatch, i: number): void {
    if (this.#counters === undefined) return;
    const process = this.#trace.threads[batch.thread[i] ?? -1]?.process ?? 0;
    const before = this.#written.get(process) ?? NOTHING;
    const now = this.#counters.of(process);
    for (const name of COUNTERS) {
      if (now[name] !== before[name]) this.#counter(TRACKS[name] + process, now[name]);
    }
    this.#written.set(process, now);
  }

  #counter(track: number, value: number): void {
    this.#out.uint(TrackEvent.extraCounterTracks, track);
    this.#out.uint(TrackEvent.extraCounterValues, value);
  }

  /** The first strace class of the call. */
  #category(batch: EventBatch, i: number): string {
    const row = rowIndex(batch.arch[i] ?? 0, batch.code[i] ?? -1);
    let category = this.#categories.get(row);
    if (category === undefined) {
      category = classesOf(row)[0] ?? "other";
      this.#categories.set(row, category);
    }
    return category;
  }

  #instant(sequence: Sequence, batch: EventBatch, i: number, time: number): void {
    const w = this.#out;
    const packet = sequence.begin();
    const { name, category, describe, flow } = this.#instantOf(batch, i);
    const event = this.#begin(sequence, EventType.instant, name, category);
    if (flow !== undefined) w.fixed64(TrackEvent.terminatingFlowIds, flow);
    describe();
    // What the CLI addresses; there are too many events of the other kinds.
    if (category === "process" || category === "signal") {
      this.#annotate.int("event", batch.firstSeq + i);
    }
    this.#count(batch, i);
    w.close(event);
    sequence.end(packet, time);
  }

  #instantOf(batch: EventBatch, i: number): Instant {
    const a = this.#annotate;
    const wide = (k: number) =>
      unsigned(batch.args[12 * i + 2 * k] ?? 0, batch.args[12 * i + 2 * k + 1] ?? 0);
    switch (batch.kind[i]) {
      case EventKind.Signal:
      case EventKind.Stop: {
        const { name, info, disposition } = decodeSignal(batch, i, this.#trace);
        const stops = batch.kind[i] === EventKind.Stop;
        const describe = () => {
          if (info !== undefined) a.value("info", info);
          if (disposition !== undefined) a.word("disposition", disposition);
        };
        return { name: stops ? `stopped by ${name}` : name, category: "signal", describe };
      }
      case EventKind.Task: {
        const describe = () => {
          const { names, rest } = flags("clone_flags", wide(1));
          a.word("flags", (rest === 0 ? names : [...names, `0x${rest.toString(16)}`]).join("|"));
        };
        const flow = this.#flows.ofTask(batch.thread[i] ?? -1);
        return { name: "start", category: "process", describe, flow };
      }
      case EventKind.Exec:
        return this.#exec(batch, i);
      case EventKind.Exit: {
        const exit = decodeExit(batch, i);
        const describe = () => {
          if (exit.signal === undefined) a.int("code", exit.code);
          else a.word("signal", exit.signal);
          a.bool("process", exit.process);
        };
        return { name: "exit", category: "process", describe };
      }
      default:
        return this.#recorded(batch, i, wide);
    }
  }

  #exec(batch: EventBatch, i: number): Instant {
    const a = this.#annotate;
    const { path, argv, cwd, interpreter } = decodeExec(batch, i);
    const process = this.#trace.threads[batch.thread[i] ?? -1]?.process ?? 0;
    const describe = () => {
      a.text("path", path);
      a.value("argv", {
        kind: "array",
        items: argv.map((word) => ({ kind: "symbol", text: word })),
        elided: false,
      });
      a.word("cwd", cwd);
      if (interpreter !== "") a.text("interpreter", interpreter);
    };
    const name = `run ${path.split("/").at(-1) ?? path}`;
    return { name, category: "process", describe, flow: this.#flows.ofExec(process) };
  }

  /** Events that are the recorder's, or the loader's. */
  #recorded(batch: EventBatch, i: number, wide: (k: number) => number | bigint): Instant {
    const a = this.#annotate;
    switch (batch.kind[i]) {
      case EventKind.Map: {
        const describe = () => {
          a.word("path", captureText(batch, i, 0) ?? "");
          a.pointer("base", wide(0));
          a.int("length", wide(1));
          a.int("offset", wide(2));
        };
        return { name: "map", category: "memory", describe };
      }
      case EventKind.Note:
        return {
          name: "note",
          category: "recorder",
          describe: () => a.text("text", captureText(batch, i, 0) ?? ""),
        };
      case EventKind.Trap: {
        const { instruction, before, after } = decodeTrap(batch, i);
        const describe = () => {
          for (const { name, value } of before) a.int(`${name}.before`, value);
          for (const { name, value } of after) a.int(name, value);
        };
        return { name: instruction, category: "recorder", describe };
      }
      case EventKind.Preempt: {
        const { turn, ip } = decodePreempt(batch, i);
        const describe = () => {
          if (ip !== undefined) a.pointer("ip", ip);
        };
        return { name: turn ? "turn" : "preempt", category: "recorder", describe };
      }
      default:
        return {
          name: `kind ${batch.kind[i] ?? -1}`,
          category: "recorder",
          describe: () => a.int("code", batch.code[i] ?? 0),
        };
    }
  }
}

interface Instant {
  readonly name: string;
  readonly category: string;
  /** Writes the annotations. */
  readonly describe: () => void;
  readonly flow?: number | undefined;
}
