/**
 * A trace as streams of canonical events, one stream for each thread: hash, name, verb and event number of each, in
 * columns. Nothing is decoded that the columns tell; no object is made per event.
 */

import { captureText, decodeExec, decodeExit } from "../../decode/event.js";
import { known } from "../../decode/flags.js";
import { captureBytes, findCapture } from "../../decode/memory.js";
import { TraceError } from "../../errors.js";
import {
  CaptureSide,
  type DigestedBatch,
  EventFlag,
  EventKind,
  NO_CONTENT,
  Slot,
} from "../../trace/batch.js";
import { byteText } from "../../trace/byte_text.js";
import type { ProcessInfo } from "../../trace/process.js";
import type { Trace } from "../../trace/trace.js";
import { isChanceCall, isChanceSignal } from "./aside.js";
import { CanonicalCall } from "./call.js";
import { Hasher, mixed, StreamHash, textHash } from "./hash.js";
import { Names, NO_NAME } from "./names.js";
import { captureAt, forPieces, NOT_OK } from "./pieces.js";
import type { Plan, Plans, Verbs } from "./plan.js";
import { ProcessStreams } from "./process.js";
import { addEntries, closeRun, MAX_U32, type Run, Stream } from "./run.js";
import { Special } from "./special.js";

export interface CanonOptions {
  readonly plans: Plans;
  /** Whether the bytes that were read and written are compared: both traces must have them. */
  readonly payload: boolean;
}

const EEXIST = 17;
const F_GETFL = known("fcntl_cmd", "F_GETFL");
const F_SETFL = known("fcntl_cmd", "F_SETFL");
const O_CREAT = known("open_flags", "O_CREAT");
const O_EXCL = known("open_flags", "O_EXCL");

// An imported table is looked up through a getter wherever it is used, once for every event.
const { Call: CALL } = EventKind;
const { Error: FAILED, Interrupted: INTERRUPTED } = EventFlag;
const { Out: OUT } = CaptureSide;
const NONE = NO_CONTENT;

/** A part of the trace cannot be read: what is left is compared. Anything else that goes wrong is no property of the trace. */
export function isDamage(error: unknown): error is TraceError {
  return error instanceof TraceError && error.code !== "CLOSED";
}

export class CanonicalTrace {
  readonly trace: Trace;
  readonly names: Names;
  readonly streams: (Stream | undefined)[] = [];
  readonly processes = new Map<number, ProcessStreams>();
  /** Processes of the trace by their numbers. */
  readonly infos: ReadonlyMap<number, ProcessInfo>;
  /** Nanoseconds of the longest of the calls that never wait: what a busy machine adds to any call. */
  noise = 0;
  /** Which process made an object that has no path, and which of its kind it was there. */
  readonly origins = new Map<number, { readonly process: number; readonly ordinal: number }>();
  /** System V ids that it was given. */
  readonly ids = new Set<string>();
  /** Why a part could not be read. */
  failure: TraceError | undefined;

  readonly verbs: Verbs;
  readonly #plans: Plans;
  readonly #comparesBytes: boolean;
  readonly #current: CanonicalCall;
  readonly #mapVerb: number;
  readonly #threads: Trace["threads"];

  constructor(trace: Trace, { plans, payload }: CanonOptions) {
    this.trace = trace;
    this.verbs = plans.verbs;
    this.#plans = plans;
    this.#comparesBytes = payload;
    this.names = new Names(trace);
    this.#current = new CanonicalCall(trace, this.names, plans.rules);
    this.#mapVerb = plans.verbs.of("map");
    this.#threads = trace.threads;
    this.infos = new Map(trace.processes.map((info) => [info.number, info]));
  }

  async read(): Promise<this> {
    try {
      for await (const batch of this.trace.batches({ moves: this.#plans.moves })) {
        if (batch.digests === undefined) throw new Error("a batch without digests");
        this.#batch({ ...batch, digests: batch.digests });
      }
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.failure = error;
    }
    for (const process of this.processes.values()) process.closeRuns();
    for (const stream of this.streams) stream?.finish();
    return this;
  }

  /** Processes that use each pipe: the number, or -1 for several. */
  get pipeUsers(): ReadonlyMap<number, number> {
    return this.#current.pipeUsers;
  }

  /** Ports of addresses that its programs were told, and that the kernel may have chosen. */
  get ports(): ReadonlySet<string> {
    return this.#current.ports;
  }

  /** Numbers of the inodes that its programs were told, their low 32 bits. */
  get inodes(): ReadonlySet<number> {
    return this.#current.inodes;
  }

  process(number: number): ProcessStreams {
    let process = this.processes.get(number);
    if (process === undefined) {
      process = new ProcessStreams(number);
      this.processes.set(number, process);
    }
    return process;
  }

  #stream(thread: number): Stream {
    let stream = this.streams[thread];
    if (stream === undefined) {
      stream = new Stream();
      this.streams[thread] = stream;
    }
    return stream;
  }

  #batch(batch: DigestedBatch): void {
    const threads = this.#threads;
    let thread = -1;
    let stream: Stream | undefined;
    let process: ProcessStreams | undefined;
    for (let i = 0; i < batch.count; i++) {
      if (batch.thread[i] !== thread || stream === undefined || process === undefined) {
        thread = batch.thread[i] as number;
        stream = this.#stream(thread);
        process = this.process(threads[thread]?.process ?? 0);
      }
      stream.lastSeq = batch.firstSeq + i;
      if (batch.kind[i] === CALL) this.#call(batch, i, stream, process);
      else this.#event(batch, i, stream, process);
    }
  }

  // Calls

  /** How calls of that number are compared. */
  planOf(arch: number, sysno: number): Plan {
    return this.#plans.of(arch, sysno);
  }

  #call(batch: DigestedBatch, i: number, stream: Stream, process: ProcessStreams): void {
    const flags = batch.flags[i] as number;
    if ((flags & INTERRUPTED) !== 0) return;
    const plan = this.#plans.of(batch.arch[i] as number, batch.code[i] as number);
    process.count(plan);
    if (plan.quick && (batch.duration[i] as number) > this.noise) {
      this.noise = batch.duration[i] as number;
    }
    const isAside = plan.aside || isChanceCall(this.#plans.rules, plan, batch, i);
    // A port that the kernel chose is one wherever it stands, also when that was asked for in a call that does not count.
    if (isAside && !plan.told) return;
    const succeeded = (flags & NOT_OK) === 0;
    const call = this.#current.reset(plan.verbHash);
    call.take(plan, batch, i, succeeded);
    if (isAside) return;
    if (call.kind === Special.WakeUp && this.#plans.rules.has("wake-ups")) return;
    if (call.kind === Special.Inherited && this.#isShared(plan, batch, i)) return;
    const isAnonymous = plan.verb === this.#mapVerb && call.name === NO_NAME;
    if (isAnonymous && this.#plans.rules.has("memory")) return;
    if (!succeeded) {
      call.hash.word((flags & FAILED) !== 0 ? (batch.ret[2 * i] as number) : 1);
      // What it would have made is as new as what it makes.
      if (plan.makes === "open" && batch.ret[2 * i] !== -EEXIST) this.#noteMade(plan, batch, i);
      this.#push(stream, plan, batch, i, call.hash.value, call.name);
      return;
    }
    if (plan.makes === "id") this.ids.add(String(batch.ret[2 * i]));
    else if (plan.makes === "object") this.#noteOrigins(plan, batch, i, process);
    else if (plan.makes !== undefined) this.#noteMade(plan, batch, i);
    const object = call.object;
    let open = object >= 0 ? process.runs.get(object) : undefined;
    if (open !== undefined && open.kind !== plan.run) {
      closeRun(open);
      process.runs.delete(object);
      open = undefined;
    }
    if (plan.run !== undefined && object >= 0) {
      this.#piece(open, plan, batch, i, stream, process, call.hash.value);
      return;
    }
    this.#payload(plan, batch, i);
    this.#push(stream, plan, batch, i, call.hash.value, call.name);
  }

  /** Asks or sets what a standard stream has in common with whoever started the program. */
  #isShared({ call }: Plan, batch: DigestedBatch, i: number): boolean {
    if (!this.#plans.rules.has("streams")) return false;
    const command = batch.args[12 * i + 2] as number;
    return call === "lseek" || (call === "fcntl" && (command === F_GETFL || command === F_SETFL));
  }

  #push(
    stream: Stream,
    plan: Pick<Plan, "verb">,
    batch: DigestedBatch,
    i: number,
    rest: number,
    name: number,
  ): number {
    stream.rest.push(rest);
    stream.name.push(name);
    stream.verb.push(plan.verb);
    stream.seq.push(batch.firstSeq + i);
    stream.micros.push(Math.min(MAX_U32, (batch.duration[i] as number) / 1000));
    return stream.rest.length - 1;
  }

  #noteMade(plan: Plan, batch: DigestedBatch, i: number): void {
    const { name, socketPath } = this.#current;
    if (plan.makes === "socket") {
      if (socketPath !== NO_NAME) this.names.bound.add(socketPath);
      return;
    }
    if (plan.makes === "file") {
      this.names.made.add(name);
      return;
    }
    const flags = batch.args[12 * i + (plan.call === "open" ? 2 : 4)] as number;
    if ((flags & (O_CREAT | O_EXCL)) === (O_CREAT | O_EXCL)) this.names.made.add(name);
  }

  #noteOrigins(plan: Plan, batch: DigestedBatch, i: number, process: ProcessStreams): void {
    const end = batch.refStart[i + 1] as number;
    for (let r = batch.refStart[i] as number; r < end; r++) {
      const slot = batch.refSlot[r];
      const object = batch.refObject[r] as number;
      if ((slot !== Slot.Ret && slot !== Slot.Nested) || this.origins.has(object)) continue;
      const ordinal = process.made.get(plan.verb) ?? 0;
      process.made.set(plan.verb, ordinal + 1);
      this.origins.set(object, { process: process.number, ordinal });
    }
  }

  // Bytes

  /** Whether what is read there is the program's business. */
  #isPayload(): boolean {
    const rules = this.#plans.rules;
    if (this.#current.kind === Special.KernelFile) return !rules.has("kernel-files");
    if (this.#current.kind === Special.Random) return !rules.has("random");
    return true;
  }

  /** The result, and the bytes of a call that is an event of its own. */
  #payload(plan: Plan, batch: DigestedBatch, i: number): void {
    if (!this.#isPayload()) return;
    const hasher = this.#current.hash;
    if (plan.result) hasher.word(batch.ret[2 * i] as number).word(batch.ret[2 * i + 1] as number);
    if (plan.data === undefined || !this.#comparesBytes) return;
    if (plan.digested) {
      const { moved, movedLength } = batch.digests;
      hasher.word(moved[2 * i] as number).word(moved[2 * i + 1] as number);
      hasher.number(movedLength[i] as number);
    } else {
      forPieces(batch, i, plan.data, (piece) => void hasher.bytes(piece));
    }
  }

  /** One piece of a stream: a part of the event that the piece before made, or a new event. */
  #piece(
    open: Run | undefined,
    plan: Plan,
    batch: DigestedBatch,
    i: number,
    stream: Stream,
    process: ProcessStreams,
    rest: number,
  ): void {
    let run = open;
    if (run === undefined) {
      const { name, object } = this.#current;
      const entry = this.#push(stream, plan, batch, i, rest, name);
      run = { stream, entry, kind: plan.run ?? "read", bytes: new StreamHash(), low: 0, high: 0 };
      process.runs.set(object, run);
    } else {
      run.stream.notePart(run.entry, batch.firstSeq + i, batch.duration[i] as number);
    }
    const { bytes } = run;
    if (!this.#isPayload() || plan.data === undefined) return;
    if (plan.data.shape === "dirents") this.#listed(run, plan, batch, i, plan.data.slot);
    else if (this.#comparesBytes) {
      const { moved, movedLength } = batch.digests;
      bytes.add(moved[2 * i] as number, moved[2 * i + 1] as number, movedLength[i] as number);
    } else {
      bytes.length += batch.ret[2 * i] as number;
    }
  }

  #listed(run: Run, plan: Plan, batch: DigestedBatch, i: number, slot: number): void {
    const capture = captureAt(batch, i, slot, OUT);
    const content = capture < 0 ? NONE : (batch.capContent[capture] as number);
    if (content === NONE) return;
    const ordered = !this.#plans.rules.has("directory-order");
    addEntries(
      run,
      batch.bytes,
      batch.contentStart[content] as number,
      batch.contentStart[content + 1] as number,
      { old: plan.call === "getdents", ordered },
    );
  }

  // Events that are no calls

  #event(batch: DigestedBatch, i: number, stream: Stream, process: ProcessStreams): void {
    switch (batch.kind[i]) {
      case EventKind.Task: {
        const tid = this.trace.threads[batch.thread[i] as number]?.tid ?? -1;
        if (tid > 0) this.#current.threads.set(tid, batch.thread[i] as number);
        return;
      }
      case EventKind.Exec:
        this.#exec(batch, i, stream, process);
        return;
      case EventKind.Exit:
        this.#exit(batch, i, stream, process);
        return;
      case EventKind.Map:
        this.#image(batch, i, stream, process);
        return;
      case EventKind.Signal:
        this.#signal(batch, i, stream);
        return;
      default:
    }
  }

  #own(
    verb: string,
    batch: DigestedBatch,
    i: number,
    stream: Stream,
    rest: number,
    name = NO_NAME,
  ): void {
    const own = { verb: this.verbs.of(verb) };
    this.#push(stream, own, batch, i, mixed(textHash(verb), rest), name);
  }

  #exec(batch: DigestedBatch, i: number, stream: Stream, process: ProcessStreams): void {
    const credentials = captureText(batch, i, 6) ?? "";
    const program = { ...decodeExec(batch, i), seq: batch.firstSeq + i, credentials };
    process.programs.push(program);
    process.images.clear();
    process.closeRuns();
    const env = program.env.filter((variable) => !this.#plans.rules.ignoresVariable(variable));
    const rest = textHash([...program.argv, "", ...env, "", program.cwd, credentials].join("\0"));
    this.#own("exec", batch, i, stream, rest, this.names.path(program.path));
  }

  #exit(batch: DigestedBatch, i: number, stream: Stream, process: ProcessStreams): void {
    const exit = decodeExit(batch, i);
    if (!exit.process) return;
    const micros = (batch.args[12 * i + 2] as number) + (batch.args[12 * i + 4] as number);
    const { code, signal, core } = exit;
    process.end = { seq: batch.firstSeq + i, code, signal, core, micros };
    process.closeRuns();
    this.#own("end", batch, i, stream, batch.code[i] as number);
  }

  /** A program or library is mapped: once per file and program, with the hash of its contents. */
  #image(batch: DigestedBatch, i: number, stream: Stream, process: ProcessStreams): void {
    const capture = findCapture(batch, i, 0, CaptureSide.In);
    if (capture < 0) return;
    const path = captureBytes(batch, capture);
    if (path[0] !== 0x2f || path.length > 4096) return;
    const text = byteText(path);
    if (text.endsWith(" (deleted)") || /^\/(?:memfd:|dev\/|SYSV|anon)/.test(text)) return;
    const name = this.names.path(text);
    if (process.images.has(name)) return;
    process.images.add(name);
    const content = findCapture(batch, i, 2, CaptureSide.In);
    const id = content >= 0 ? content : findCapture(batch, i, 1, CaptureSide.In);
    const rest = id < 0 ? 0 : new Hasher().bytes(captureBytes(batch, id)).value;
    this.#own("image", batch, i, stream, rest, name);
  }

  #signal(batch: DigestedBatch, i: number, stream: Stream): void {
    if (isChanceSignal(this.#plans.rules, batch, i)) return;
    this.#own("signal", batch, i, stream, batch.code[i] as number);
  }
}
