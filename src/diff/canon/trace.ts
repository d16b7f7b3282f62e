/**
 * A trace as streams of canonical events, one stream for each thread: hash, name, verb and event number of each, in
 * columns. Nothing is decoded that the columns tell; no object is made per event.
 */

import { decodeCall } from "../../decode/call.js";
import { captureText, decodeExec, decodeExit, type ExecEvent } from "../../decode/event.js";
import { fcntlArgument } from "../../decode/irregular/fcntl.js";
import { captureBytes, findCapture } from "../../decode/memory.js";
import { TraceError } from "../../errors.js";
import { addressText } from "../../query/facts.js";
import {
  CaptureSide,
  type DigestedBatch,
  EventFlag,
  EventKind,
  NO_CONTENT,
  Slot,
} from "../../trace/batch.js";
import type { ProcessInfo } from "../../trace/process.js";
import type { Trace } from "../../trace/trace.js";
import { KERNEL_FILE } from "../rules.js";
import { HashIndex, Words } from "./columns.js";
import { Hasher, mixed, StreamHash, textHash } from "./hash.js";
import { NameKind, Names, NO_NAME } from "./names.js";
import { ITSELF, PathJoiner } from "./paths.js";
import { captureAt, forPieces, NOT_OK } from "./pieces.js";
import { Chance, Op, type Plan, type Plans, type Step, type Verbs } from "./plan.js";
import { addEntries, closeRun, MAX_U32, type Run, Stream } from "./run.js";
import { feedArguments } from "./value.js";

export interface Program extends ExecEvent {
  readonly seq: number;
  readonly credentials: string;
}

export interface End {
  readonly seq: number;
  readonly code: number;
  readonly signal: string | undefined;
  readonly core: boolean;
  readonly micros: number;
}

export class ProcessStreams {
  readonly programs: Program[] = [];
  end: End | undefined;
  /** How often each call was made, by the number of its plan; and their names as they came first. */
  readonly #counts: number[] = [];
  readonly #order: { readonly call: string; readonly number: number }[] = [];
  readonly runs = new Map<number, Run>();
  readonly images = new Set<number>();
  /** Objects without a path that it made, by verb. */
  readonly made = new Map<number, number>();

  constructor(readonly number: number) {}

  count(plan: Plan): void {
    const before = this.#counts[plan.number];
    this.#counts[plan.number] = (before ?? 0) + 1;
    if (before === undefined) this.#order.push(plan);
  }

  /** Calls by name, those that are set aside too. */
  get calls(): ReadonlyMap<string, number> {
    const calls = new Map<string, number>();
    for (const { call, number } of this.#order) {
      calls.set(call, (calls.get(call) ?? 0) + (this.#counts[number] ?? 0));
    }
    return calls;
  }
}

export interface CanonOptions {
  readonly plans: Plans;
  /** Whether the bytes that were read and written are compared: both traces must have them. */
  readonly payload: boolean;
}

/** What is special about an object, for the rules. */
const Special = {
  Unknown: 0,
  None: 1,
  WakeUp: 2,
  KernelFile: 3,
  Random: 4,
  Inherited: 5,
  Pipe: 6,
} as const;

const EAGAIN = 11;
const EEXIST = 17;
const EINTR = 4;
const ABSENT = 0x5f5f;
const CLONE_THREAD = 0x10000;
const TIMER_ABSTIME = 1;
const F_GETFL = 3;
const F_SETFL = 4;
const SHORT_SLEEP_NS = 50_000_000;
const MILLISECOND_NS = 1_000_000;
/** SIGALRM, SIGCHLD, SIGURG, SIGVTALRM, SIGPROF, SIGWINCH */
const CHANCE_SIGNALS: ReadonlySet<number> = new Set([14, 17, 23, 26, 27, 28]);
/** SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV */
const FAULTS: ReadonlySet<number> = new Set([4, 5, 7, 8, 11]);
const HANDLED = 1;
const FIRST_REALTIME = 32;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_TMPFILE = 0o20000000;
/** Numbers of inodes that are kept. */
const MOST_INODES = 1 << 20;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;

// An imported table is looked up through a getter wherever it is used, once for every event.
const { Call: CALL } = EventKind;
const { Error: FAILED, Interrupted: INTERRUPTED, NoReturn: NO_RETURN } = EventFlag;
const { In: IN, Out: OUT } = CaptureSide;
const NONE = NO_CONTENT;

/** A part of the trace cannot be read: what is left is compared. Anything else that goes wrong is no property of the trace. */
export function isDamage(error: unknown): error is TraceError {
  return error instanceof TraceError && error.code !== "CLOSED";
}

/** A sleep that names the time of its end. */
function isUntil({ chance }: Plan, batch: DigestedBatch, i: number): boolean {
  return chance === Chance.SleepUntil && (batch.args[12 * i + 2] as number) === TIMER_ABSTIME;
}

function wordAt(data: Uint8Array, at: number): number {
  const high = ((data[at + 2] as number) << 16) | ((data[at + 3] as number) << 24);
  return ((data[at] as number) | ((data[at + 1] as number) << 8) | high) >>> 0;
}

/** What the third argument of fcntl is, by command: nothing, a number, or what decoding says. */
const Control = { None: 0, Number: 1, Other: 2 } as const;
const CONTROLS = Uint8Array.from({ length: 1100 }, (_, command) => {
  const kind = fcntlArgument(command);
  if (kind === "none") return Control.None;
  return kind === "number" ? Control.Number : Control.Other;
});

export class CanonicalTrace {
  readonly trace: Trace;
  readonly names: Names;
  readonly streams: (Stream | undefined)[] = [];
  readonly processes = new Map<number, ProcessStreams>();
  /** Processes of the trace by their numbers. */
  readonly infos: ReadonlyMap<number, ProcessInfo>;
  /** Nanoseconds of the longest of the calls that never wait: what a busy machine adds to any call. */
  noise = 0;
  /** Processes that use each pipe: the number, or -1 for several. */
  readonly pipeUsers = new Map<number, number>();
  /** Which process made an object that has no path, and which of its kind it was there. */
  readonly origins = new Map<number, { readonly process: number; readonly ordinal: number }>();
  /** System V ids that it was given. */
  readonly ids = new Set<string>();
  /** Numbers of the inodes that it was told, their low 32 bits. */
  readonly inodes = new Set<number>();
  /** Why a part could not be read. */
  failure: TraceError | undefined;

  readonly verbs: Verbs;
  readonly #plans: Plans;
  readonly #comparesBytes: boolean;
  readonly #hasher = new Hasher();
  /** By the number of an object, and of a path. */
  readonly #special: Uint8Array;
  readonly #specialPaths = new Words();
  readonly #threadOfPid = new HashIndex();
  readonly #join: PathJoiner;
  readonly #mapVerb: number;
  readonly #threads: Trace["threads"];
  #name = NO_NAME;
  /** Of a call with the address of a socket at a path: that path. */
  #socketPath = NO_NAME;
  #object = -1;
  #kind = 0;

  constructor(trace: Trace, { plans, payload }: CanonOptions) {
    this.trace = trace;
    this.verbs = plans.verbs;
    this.#plans = plans;
    this.#comparesBytes = payload;
    this.names = new Names(trace);
    this.#special = new Uint8Array(Math.min(trace.info.objectCount, 1 << 24));
    this.#join = new PathJoiner(trace, this.names);
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
    for (const process of this.processes.values()) {
      for (const run of process.runs.values()) closeRun(run);
      process.runs.clear();
    }
    for (const stream of this.streams) stream?.finish();
    return this;
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
    if (plan.aside || this.#isChance(plan, batch, i, flags)) return;
    const succeeded = (flags & NOT_OK) === 0;
    const hasher = this.#hasher.reset().number(plan.verbHash);
    this.#name = NO_NAME;
    this.#socketPath = NO_NAME;
    this.#object = -1;
    this.#kind = Special.None;
    for (let s = 0; s < plan.steps.length; s++) {
      const step = plan.steps[s] as Step;
      if (step.op === Op.Data) continue;
      if (step.out && !succeeded) continue;
      this.#step(step, plan, batch, i);
    }
    if (this.#kind === Special.WakeUp && this.#plans.rules.has("wake-ups")) return;
    if (this.#kind === Special.Inherited && this.#isShared(plan, batch, i)) return;
    const isAnonymous = plan.verb === this.#mapVerb && this.#name === NO_NAME;
    if (isAnonymous && this.#plans.rules.has("memory")) return;
    if (!succeeded) {
      hasher.word((flags & FAILED) !== 0 ? (batch.ret[2 * i] as number) : 1);
      // What it would have made is as new as what it makes.
      if (plan.makes === "open" && batch.ret[2 * i] !== -EEXIST) this.#noteMade(plan, batch, i);
      this.#push(stream, plan, batch, i, hasher.value);
      return;
    }
    if (plan.makes === "id") this.ids.add(String(batch.ret[2 * i]));
    else if (plan.makes === "object") this.#noteOrigins(plan, batch, i, process);
    else if (plan.makes !== undefined) this.#noteMade(plan, batch, i);
    const object = this.#object;
    let open = object >= 0 ? process.runs.get(object) : undefined;
    if (open !== undefined && open.kind !== plan.run) {
      closeRun(open);
      process.runs.delete(object);
      open = undefined;
    }
    if (plan.run !== undefined && object >= 0) {
      this.#piece(open, plan, batch, i, stream, process, hasher.value);
      return;
    }
    this.#payload(plan, batch, i, hasher);
    this.#push(stream, plan, batch, i, hasher.value);
  }

  /** Retries, thread births, short sleeps: what chance decides in calls that are compared otherwise. */
  #isChance(plan: Plan, batch: DigestedBatch, i: number, flags: number): boolean {
    const rules = this.#plans.rules;
    if ((flags & FAILED) !== 0) {
      const errno = -(batch.ret[2 * i] as number);
      return (errno === EAGAIN || errno === EINTR || errno >= 512) && rules.has("retries");
    }
    switch (plan.chance) {
      case Chance.None:
        return false;
      case Chance.Clone:
        return ((batch.args[12 * i] as number) & CLONE_THREAD) !== 0 && rules.has("scheduler");
      case Chance.Clone3:
        return rules.has("scheduler") && this.#clone3Flags(batch, i) >= CLONE_THREAD;
      case Chance.Exec:
        // The start of the program follows, and says all of it.
        return (flags & NOT_OK) === 0 || (flags & NO_RETURN) !== 0;
      case Chance.Sleep:
      case Chance.SleepUntil:
        return rules.has("short-sleeps") && this.#isChanceSleep(plan, batch, i, flags);
      default:
        return true;
    }
  }

  /** Asks or sets what a standard stream has in common with whoever started the program. */
  #isShared({ call }: Plan, batch: DigestedBatch, i: number): boolean {
    if (!this.#plans.rules.has("streams")) return false;
    const command = batch.args[12 * i + 2] as number;
    return call === "lseek" || (call === "fcntl" && (command === F_GETFL || command === F_SETFL));
  }

  /** The bit for a thread, alone. */
  #clone3Flags(batch: DigestedBatch, i: number): number {
    const capture = findCapture(batch, i, 0, CaptureSide.In);
    const data = capture < 0 ? undefined : captureBytes(batch, capture);
    return data === undefined || data.length < 4 ? 0 : ((data[2] as number) & 1) << 16;
  }

  /** Short, cut off by the end of the process, or of a length that was worked out from a clock. */
  #isChanceSleep(plan: Plan, batch: DigestedBatch, i: number, flags: number): boolean {
    if ((flags & NO_RETURN) !== 0) return true;
    if (isUntil(plan, batch, i)) return (batch.duration[i] as number) < SHORT_SLEEP_NS;
    const capture = findCapture(batch, i, plan.chance === Chance.Sleep ? 0 : 2, IN);
    if (capture < 0) return false;
    const data = Buffer.from(captureBytes(batch, capture));
    if (data.length < 16) return false;
    const [seconds, nanos] = [data.readUInt32LE(0), data.readUInt32LE(8)];
    return (seconds === 0 && nanos < SHORT_SLEEP_NS) || nanos % MILLISECOND_NS !== 0;
  }

  #push(
    stream: Stream,
    plan: Pick<Plan, "verb">,
    batch: DigestedBatch,
    i: number,
    rest: number,
  ): number {
    stream.rest.push(rest);
    stream.name.push(this.#name);
    stream.verb.push(plan.verb);
    stream.seq.push(batch.firstSeq + i);
    stream.micros.push(Math.min(MAX_U32, (batch.duration[i] as number) / 1000));
    return stream.rest.length - 1;
  }

  #step(step: Step, plan: Plan, batch: DigestedBatch, i: number): void {
    const hasher = this.#hasher;
    const { op, k } = step;
    const at = 12 * i + 2 * k;
    switch (op) {
      case Op.Path: {
        const name = this.#join.path(batch, i, k, step.base);
        if (name === ITSELF) this.#descriptor(batch, i, step.base);
        else this.#name = this.names.pair(this.#name, name);
        return;
      }
      case Op.Descriptor:
        this.#descriptor(batch, i, k);
        return;
      case Op.Process:
        this.#pid((batch.args[at] as number) | 0);
        return;
      case Op.Word:
        hasher.word(batch.args[at] as number);
        return;
      case Op.Clock: {
        // Clocks of a process or thread are made of its id.
        const isOwn = ((batch.args[at] as number) | 0) < 0 && this.#plans.rules.has("pids");
        hasher.word(isOwn ? ABSENT : (batch.args[at] as number));
        return;
      }
      case Op.Long:
        hasher.word(batch.args[at] as number).word(batch.args[at + 1] as number);
        return;
      case Op.NotZero:
        if (batch.args[at] !== 0) hasher.word(batch.args[at] as number);
        return;
      case Op.Constant:
        hasher.word(k);
        return;
      case Op.LinkBit:
        hasher.word((batch.args[at] as number) & 0x100);
        return;
      case Op.Mode: {
        const flags = batch.args[at - 2] as number;
        if ((flags & (O_CREAT | O_TMPFILE)) !== 0) hasher.word(batch.args[at] as number);
        return;
      }
      case Op.Control: {
        const kind = CONTROLS[batch.args[12 * i + 2] as number];
        if (kind === Control.Number) hasher.word(batch.args[at] as number);
        if (kind === Control.Number || kind === Control.None) return;
        const call = decodeCall(batch, i, this.trace);
        feedArguments(hasher, plan.call, call.args, this.#plans.rules);
        return;
      }
      case Op.Decode: {
        const call = decodeCall(batch, i, this.trace);
        feedArguments(hasher, plan.call, call.args, this.#plans.rules);
        return;
      }
      default:
        this.#memory(step, plan, batch, i);
    }
  }

  /** Steps that look at what an argument points to. */
  #memory(step: Step, plan: Plan, batch: DigestedBatch, i: number): void {
    const hasher = this.#hasher;
    const capture = captureAt(batch, i, step.k, step.out ? OUT : IN);
    if (capture < 0) {
      hasher.word(ABSENT);
      return;
    }
    const content = batch.capContent[capture] as number;
    const isThere = content !== NONE;
    const from = isThere ? (batch.contentStart[content] as number) : 0;
    const to = isThere ? (batch.contentStart[content + 1] as number) : 0;
    switch (step.op) {
      case Op.Status:
        this.#status(step, batch.bytes, from, to);
        return;
      case Op.Text: {
        const nul = batch.bytes.subarray(from, to).indexOf(0);
        hasher.bytes(batch.bytes, from, nul < 0 ? to : from + nul);
        return;
      }
      case Op.Address:
        this.#address(batch.bytes.subarray(from, to), step.out);
        return;
      case Op.Struct:
        for (let p = 0; p + 1 < step.parts.length; p += 2) {
          const start = from + (step.parts[p] as number);
          hasher.bytes(batch.bytes, start, Math.min(to, start + (step.parts[p + 1] as number)));
        }
        return;
      default:
        // A point in time at which a sleep ends is another one in each run.
        if (isUntil(plan, batch, i) && this.#plans.rules.has("times")) return;
        hasher.bytes(batch.bytes, from, to);
    }
  }

  /** Mode, owner and size; no size of directories, kernel files, and streams that were there before. */
  #status({ parts, inode }: Step, data: Uint8Array, start: number, end: number): void {
    const hasher = this.#hasher;
    if (inode >= 0 && start + inode + 4 <= end && this.inodes.size < MOST_INODES) {
      this.inodes.add(wordAt(data, start + inode));
    }
    const last = parts.length - 2;
    let mode = 0;
    for (let p = 0; p <= last; p += 2) {
      const from = start + (parts[p] as number);
      const size = parts[p + 1] as number;
      if (from + size > end) return;
      const low = (data[from] as number) | ((data[from + 1] as number) << 8);
      if (p === 0) mode = low;
      if (p === last && ((mode & S_IFMT) === S_IFDIR || !this.#hasSize())) return;
      // Widths differ between stat and statx: the same numbers are the same words.
      const high = size > 2 ? (data[from + 2] as number) | ((data[from + 3] as number) << 8) : 0;
      hasher.word(low | (high << 16));
      if (size === 8) {
        for (let k = 4; k < 8; k++) if (data[from + k] !== 0) hasher.word(data[from + k] as number);
      }
    }
  }

  #hasSize(): boolean {
    if (this.#kind === Special.Inherited) return !this.#plans.rules.has("streams");
    return this.#kind !== Special.KernelFile && this.#kind !== Special.Random;
  }

  /** Addresses of peers count with their ports unless the kernel chose those. */
  #address(data: Uint8Array, out: boolean): void {
    const text = addressText(data);
    if (text === undefined) {
      // Netlink addresses hold process ids.
      this.#hasher.word(data[0] ?? 0);
      return;
    }
    const kept = out && this.#plans.rules.has("ports") ? text.replace(/:\d+$/, "") : text;
    const name = kept.startsWith("/") ? this.names.path(kept) : this.names.other(kept);
    this.#socketPath = kept.startsWith("/") ? name : NO_NAME;
    this.#name = this.names.pair(this.#name, name);
  }

  #descriptor(batch: DigestedBatch, i: number, k: number): void {
    const fd = (batch.args[12 * i + 2 * k] as number) | 0;
    const end = batch.refStart[i + 1] as number;
    for (let r = batch.refStart[i] as number; r < end; r++) {
      if (batch.refSlot[r] !== k) continue;
      const object = batch.refObject[r] as number;
      if (!this.#plans.rules.has("descriptors")) this.#hasher.word(fd);
      const name = this.names.object(object, fd);
      this.#name = this.names.pair(this.#name, name);
      if (this.#object < 0) {
        this.#object = object;
        this.#kind = this.#specialOf(object, fd, name);
        if (this.#kind === Special.Pipe) this.#notePipe(batch, i, object);
      }
      return;
    }
    this.#hasher.word(fd < 0 ? fd : ABSENT);
  }

  #notePipe(batch: DigestedBatch, i: number, object: number): void {
    const process = this.trace.threads[batch.thread[i] as number]?.process ?? 0;
    const known = this.pipeUsers.get(object);
    if (known === undefined) this.pipeUsers.set(object, process);
    else if (known !== process) this.pipeUsers.set(object, -1);
  }

  #specialOf(index: number, fd: number, name: number): number {
    const known = this.#special[index];
    if (known !== undefined && known !== Special.Unknown) return known;
    // A standard stream may be the one that the program began with.
    const isStream = fd >= 0 && fd <= 2;
    const special = isStream ? this.#specialBy(index, fd) : this.#specialByName(index, fd, name);
    if (index < this.#special.length) this.#special[index] = special;
    return special;
  }

  /** Many objects have one path. */
  #specialByName(index: number, fd: number, name: number): number {
    if (this.names.kind.at(name) !== NameKind.Path) return this.#specialBy(index, fd);
    while (this.#specialPaths.length < this.names.count) this.#specialPaths.push(Special.Unknown);
    const known = this.#specialPaths.at(name);
    if (known !== Special.Unknown) return known;
    const special = this.#specialBy(index, fd);
    this.#specialPaths.set(name, special);
    return special;
  }

  /** Whole objects are fetched only where the path does not say enough: a long trace has millions of them. */
  #specialBy(index: number, fd: number): number {
    const path = this.trace.objectPath(index) ?? "";
    const isNamed = path.startsWith("/");
    const object = !isNamed || (fd >= 0 && fd <= 2) ? this.trace.objects[index] : undefined;
    if (object !== undefined && object.createdBy < 0 && fd >= 0 && fd <= 2)
      return Special.Inherited;
    if (isNamed) {
      if (KERNEL_FILE.test(path)) return Special.KernelFile;
      return path === "/dev/urandom" || path === "/dev/random" ? Special.Random : Special.None;
    }
    if (/^anon_inode:\[(?:eventfd|timerfd|signalfd|eventpoll|pidfd)/.test(path))
      return Special.WakeUp;
    if (object?.detail.startsWith("NETLINK") === true) return Special.KernelFile;
    return object?.kind === "pipe" ? Special.Pipe : Special.None;
  }

  #pid(pid: number): void {
    if (!this.#plans.rules.has("pids")) {
      this.#hasher.word(pid);
      return;
    }
    const thread = pid > 0 ? this.#threadOfPid.get(pid) : -1;
    if (thread >= 0) this.#name = this.names.pair(this.#name, this.names.task(thread));
    else if (pid <= 0 && pid >= -1) this.#hasher.word(pid);
    else this.#hasher.word(ABSENT);
  }

  #noteMade(plan: Plan, batch: DigestedBatch, i: number): void {
    if (plan.makes === "socket") {
      if (this.#socketPath !== NO_NAME) this.names.bound.add(this.#socketPath);
      return;
    }
    if (plan.makes === "file") {
      this.names.made.add(this.#name);
      return;
    }
    const flags = batch.args[12 * i + (plan.call === "open" ? 2 : 4)] as number;
    if ((flags & (O_CREAT | O_EXCL)) === (O_CREAT | O_EXCL)) this.names.made.add(this.#name);
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
    if (this.#kind === Special.KernelFile) return !rules.has("kernel-files");
    if (this.#kind === Special.Random) return !rules.has("random");
    return true;
  }

  /** The result, and the bytes of a call that is an event of its own. */
  #payload(plan: Plan, batch: DigestedBatch, i: number, hasher: Hasher): void {
    if (!this.#isPayload()) return;
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
      const entry = this.#push(stream, plan, batch, i, rest);
      run = { stream, entry, kind: plan.run ?? "read", bytes: new StreamHash(), low: 0, high: 0 };
      process.runs.set(this.#object, run);
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
        if (tid > 0) this.#threadOfPid.set(tid, batch.thread[i] as number);
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

  #own(verb: string, batch: DigestedBatch, i: number, stream: Stream, rest: number): void {
    this.#push(stream, { verb: this.verbs.of(verb) }, batch, i, mixed(textHash(verb), rest));
  }

  #exec(batch: DigestedBatch, i: number, stream: Stream, process: ProcessStreams): void {
    const credentials = captureText(batch, i, 6) ?? "";
    const program = { ...decodeExec(batch, i), seq: batch.firstSeq + i, credentials };
    process.programs.push(program);
    process.images.clear();
    for (const run of process.runs.values()) closeRun(run);
    process.runs.clear();
    const env = program.env.filter((variable) => !this.#plans.rules.ignoresVariable(variable));
    const rest = textHash([...program.argv, "", ...env, "", program.cwd, credentials].join("\0"));
    this.#name = this.names.path(program.path);
    this.#own("exec", batch, i, stream, rest);
  }

  #exit(batch: DigestedBatch, i: number, stream: Stream, process: ProcessStreams): void {
    const exit = decodeExit(batch, i);
    if (!exit.process) return;
    const micros = (batch.args[12 * i + 2] as number) + (batch.args[12 * i + 4] as number);
    const { code, signal, core } = exit;
    process.end = { seq: batch.firstSeq + i, code, signal, core, micros };
    for (const run of process.runs.values()) closeRun(run);
    process.runs.clear();
    this.#name = NO_NAME;
    this.#own("end", batch, i, stream, batch.code[i] as number);
  }

  /** A program or library is mapped: once per file and program, with the hash of its contents. */
  #image(batch: DigestedBatch, i: number, stream: Stream, process: ProcessStreams): void {
    const capture = findCapture(batch, i, 0, CaptureSide.In);
    if (capture < 0) return;
    const path = captureBytes(batch, capture);
    if (path[0] !== 0x2f || path.length > 4096) return;
    const text = Buffer.from(path).toString();
    if (text.endsWith(" (deleted)") || /^\/(?:memfd:|dev\/|SYSV|anon)/.test(text)) return;
    const name = this.names.path(text);
    if (process.images.has(name)) return;
    process.images.add(name);
    this.#name = name;
    const content = findCapture(batch, i, 2, CaptureSide.In);
    const id = content >= 0 ? content : findCapture(batch, i, 1, CaptureSide.In);
    const rest = id < 0 ? 0 : this.#hasher.reset().bytes(captureBytes(batch, id)).value;
    this.#own("image", batch, i, stream, rest);
  }

  #signal(batch: DigestedBatch, i: number, stream: Stream): void {
    const signal = batch.code[i] as number;
    const handled = (batch.args[12 * i + 4] as number) === HANDLED;
    if (this.#plans.rules.has("signals")) {
      if (CHANCE_SIGNALS.has(signal) || signal >= FIRST_REALTIME) return;
      if (FAULTS.has(signal) && handled) return;
    }
    this.#name = NO_NAME;
    this.#own("signal", batch, i, stream, signal);
  }
}
