/**
 * A trace as streams of canonical events, one stream for each thread: hash, name, verb and event number of each, in
 * columns. Nothing is decoded that the columns tell; no object is made per event.
 */

import { decodeCall } from "../../decode/call.js";
import { captureText, decodeExec, decodeExit, type ExecEvent } from "../../decode/event.js";
import { captureBytes, findCapture } from "../../decode/memory.js";
import { TraceError } from "../../errors.js";
import { addressText } from "../../query/facts.js";
import { CaptureSide, type EventBatch, EventFlag, EventKind, Slot } from "../../trace/batch.js";
import { CALL_COLUMNS } from "../../trace/columns.js";
import type { ProcessInfo } from "../../trace/process.js";
import type { Trace } from "../../trace/trace.js";
import { KERNEL_FILE, type RuleSet } from "../rules.js";
import { HashIndex } from "./columns.js";
import { Hasher, mixed, StreamHash, textHash } from "./hash.js";
import { Names, NO_NAME } from "./names.js";
import { PathJoiner } from "./paths.js";
import { forPieces, NOT_OK } from "./pieces.js";
import { Op, type Plan, planOf, type Step, type Verbs } from "./plan.js";
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
  /** Calls by verb, those that are set aside too. */
  readonly calls = new Map<string, number>();
  readonly runs = new Map<number, Run>();
  readonly images = new Set<number>();
  /** Objects without a path that it made, by verb. */
  readonly made = new Map<number, number>();

  constructor(readonly number: number) {}
}

export interface CanonOptions {
  readonly rules: RuleSet;
  readonly verbs: Verbs;
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
const EINTR = 4;
const ABSENT = 0x5f5f;
const CLONE_THREAD = 0x10000;
const TIMER_ABSTIME = 1;
const F_GETFL = 3;
const F_SETFL = 4;
const SHORT_SLEEP_NS = 50_000_000;
/** SIGALRM, SIGCHLD, SIGURG, SIGVTALRM, SIGPROF, SIGWINCH */
const CHANCE_SIGNALS: ReadonlySet<number> = new Set([14, 17, 23, 26, 27, 28]);
/** SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV */
const FAULTS: ReadonlySet<number> = new Set([4, 5, 7, 8, 11]);
const HANDLED = 1;
const FIRST_REALTIME = 32;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_TMPFILE = 0o20000000;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;

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
  /** Processes that use each pipe: the number, or -1 for several. */
  readonly pipeUsers = new Map<number, number>();
  /** Which process made an object that has no path, and which of its kind it was there. */
  readonly origins = new Map<number, { readonly process: number; readonly ordinal: number }>();
  /** Why a part could not be read. */
  failure: TraceError | undefined;

  readonly verbs: Verbs;
  readonly #options: CanonOptions;
  readonly #plans: (Plan | undefined)[][] = [[], []];
  readonly #otherPlans = new Map<string, Plan>();
  readonly #hasher = new Hasher();
  readonly #special: Uint8Array;
  readonly #threadOfPid = new HashIndex();
  readonly #join: PathJoiner;
  readonly #mapVerb: number;
  readonly #threads: Trace["threads"];
  #name = NO_NAME;
  #object = -1;
  #kind = 0;

  constructor(trace: Trace, options: CanonOptions) {
    this.trace = trace;
    this.verbs = options.verbs;
    this.#options = options;
    this.names = new Names(trace);
    this.#special = new Uint8Array(Math.min(trace.info.objectCount, 1 << 24));
    this.#join = new PathJoiner(trace, this.names);
    this.#mapVerb = options.verbs.of("map");
    this.#threads = trace.threads;
    this.infos = new Map(trace.processes.map((info) => [info.number, info]));
  }

  async read(): Promise<this> {
    try {
      for await (const batch of this.trace.batches({ columns: CALL_COLUMNS })) this.#batch(batch);
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

  #batch(batch: EventBatch): void {
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
      if (batch.kind[i] === EventKind.Call) this.#call(batch, i, stream, process);
      else this.#event(batch, i, stream, process);
    }
  }

  // Calls

  /** How calls of that number are compared; made once. */
  planOf(arch: number, sysno: number): Plan {
    const table = this.#plans[arch === 1 ? 1 : 0] ?? [];
    const known =
      sysno >= 0 && sysno < 1024 ? table[sysno] : this.#otherPlans.get(`${arch}/${sysno}`);
    if (known !== undefined) return known;
    const { rules, verbs } = this.#options;
    const plan = planOf(arch, sysno, rules, verbs);
    if (sysno >= 0 && sysno < 1024) table[sysno] = plan;
    else this.#otherPlans.set(`${arch}/${sysno}`, plan);
    return plan;
  }

  #call(batch: EventBatch, i: number, stream: Stream, process: ProcessStreams): void {
    const flags = batch.flags[i] as number;
    if ((flags & EventFlag.Interrupted) !== 0) return;
    const plan = this.planOf(batch.arch[i] as number, batch.code[i] as number);
    process.calls.set(plan.call, (process.calls.get(plan.call) ?? 0) + 1);
    if (plan.quick && (batch.duration[i] as number) > this.noise) {
      this.noise = batch.duration[i] as number;
    }
    if (plan.aside || this.#isChance(plan, batch, i, flags)) return;
    const succeeded = (flags & NOT_OK) === 0;
    const hasher = this.#hasher.reset().number(plan.verbHash);
    this.#name = NO_NAME;
    this.#object = -1;
    this.#kind = Special.None;
    for (let s = 0; s < plan.steps.length; s++) {
      const step = plan.steps[s] as Step;
      if (step.op === Op.Data) continue;
      if (step.out && !succeeded) continue;
      this.#step(step, plan, batch, i);
    }
    if (this.#kind === Special.WakeUp && this.#options.rules.has("wake-ups")) return;
    if (this.#kind === Special.Inherited && this.#isShared(plan, batch, i)) return;
    const isAnonymous = plan.verb === this.#mapVerb && this.#name === NO_NAME;
    if (isAnonymous && this.#options.rules.has("memory")) return;
    if (!succeeded) {
      hasher.word((flags & EventFlag.Error) !== 0 ? (batch.ret[2 * i] as number) : 1);
      this.#push(stream, plan, batch, i, hasher.value);
      return;
    }
    if (plan.makes === "object") this.#noteOrigins(plan, batch, i, process);
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
  #isChance(plan: Plan, batch: EventBatch, i: number, flags: number): boolean {
    const { rules } = this.#options;
    if ((flags & EventFlag.Error) !== 0) {
      const errno = -(batch.ret[2 * i] as number);
      return (errno === EAGAIN || errno === EINTR || errno >= 512) && rules.has("retries");
    }
    switch (plan.call) {
      case "clone":
        return ((batch.args[12 * i] as number) & CLONE_THREAD) !== 0 && rules.has("scheduler");
      case "clone3":
        return rules.has("scheduler") && this.#clone3Flags(batch, i) >= CLONE_THREAD;
      case "execve":
      case "execveat":
        // The start of the program follows, and says all of it.
        return (flags & NOT_OK) === 0 || (flags & EventFlag.NoReturn) !== 0;
      case "nanosleep":
      case "clock_nanosleep":
        return rules.has("short-sleeps") && this.#isShortSleep(plan, batch, i);
      case "exit_group":
        return true;
      default:
        return false;
    }
  }

  /** Asks or sets what a standard stream has in common with whoever started the program. */
  #isShared({ call }: Plan, batch: EventBatch, i: number): boolean {
    if (!this.#options.rules.has("streams")) return false;
    const command = batch.args[12 * i + 2] as number;
    return call === "lseek" || (call === "fcntl" && (command === F_GETFL || command === F_SETFL));
  }

  /** The bit for a thread, alone. */
  #clone3Flags(batch: EventBatch, i: number): number {
    const capture = findCapture(batch, i, 0, CaptureSide.In);
    const data = capture < 0 ? undefined : captureBytes(batch, capture);
    return data === undefined || data.length < 4 ? 0 : ((data[2] as number) & 1) << 16;
  }

  #isShortSleep(plan: Plan, batch: EventBatch, i: number): boolean {
    const absolute =
      plan.call === "clock_nanosleep" && (batch.args[12 * i + 2] as number) === TIMER_ABSTIME;
    if (absolute) return (batch.duration[i] as number) < SHORT_SLEEP_NS;
    const capture = findCapture(batch, i, plan.call === "nanosleep" ? 0 : 2, CaptureSide.In);
    if (capture < 0) return false;
    const data = Buffer.from(captureBytes(batch, capture));
    if (data.length < 16) return false;
    return data.readUInt32LE(0) === 0 && data.readUInt32LE(8) < SHORT_SLEEP_NS;
  }

  #push(
    stream: Stream,
    plan: Pick<Plan, "verb">,
    batch: EventBatch,
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

  #step(step: Step, plan: Plan, batch: EventBatch, i: number): void {
    const hasher = this.#hasher;
    const { op, k } = step;
    const at = 12 * i + 2 * k;
    switch (op) {
      case Op.Path:
        if (this.#join.isEmpty(batch, i, k, step.base)) {
          this.#descriptor(batch, i, step.base);
          return;
        }
        this.#name = this.names.pair(this.#name, this.#join.path(batch, i, k, step.base));
        return;
      case Op.Descriptor:
        this.#descriptor(batch, i, k);
        return;
      case Op.Process:
        this.#pid((batch.args[at] as number) | 0);
        return;
      case Op.Word:
        hasher.word(batch.args[at] as number);
        return;
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
      case Op.Decode: {
        const call = decodeCall(batch, i, this.trace);
        feedArguments(hasher, plan.call, call.args, this.#options.rules);
        return;
      }
      default:
        this.#memory(step, batch, i);
    }
  }

  /** Steps that look at what an argument points to. */
  #memory(step: Step, batch: EventBatch, i: number): void {
    const hasher = this.#hasher;
    const side = step.out ? CaptureSide.Out : CaptureSide.In;
    const capture = findCapture(batch, i, step.k, side);
    if (capture < 0) {
      hasher.word(ABSENT);
      return;
    }
    const data = captureBytes(batch, capture);
    switch (step.op) {
      case Op.Text: {
        const nul = data.indexOf(0);
        hasher.bytes(data, 0, nul < 0 ? data.length : nul);
        return;
      }
      case Op.Status:
        this.#status(step, data);
        return;
      case Op.Address:
        this.#address(data, step.out);
        return;
      case Op.Struct:
        for (let p = 0; p + 1 < step.parts.length; p += 2) {
          const from = step.parts[p] as number;
          hasher.bytes(data, from, Math.min(data.length, from + (step.parts[p + 1] as number)));
        }
        return;
      default:
        hasher.bytes(data);
    }
  }

  /** Mode, owner and size; no size of directories, kernel files, and streams that were there before. */
  #status(step: Step, data: Uint8Array): void {
    const hasher = this.#hasher;
    const { parts } = step;
    const last = parts.length - 2;
    let mode = 0;
    for (let p = 0; p <= last; p += 2) {
      const from = parts[p] as number;
      const size = parts[p + 1] as number;
      if (from + size > data.length) return;
      const low = (data[from] as number) | ((data[from + 1] as number) << 8);
      if (p === 0) mode = low;
      const hasSize = (mode & S_IFMT) !== S_IFDIR && this.#hasSize();
      if (p === last && !hasSize) return;
      // Widths differ between stat and statx: the same numbers are the same words.
      const high = size > 2 ? (data[from + 2] as number) | ((data[from + 3] as number) << 8) : 0;
      hasher.word(low | (high << 16));
      if (size === 8) {
        for (let k = 4; k < 8; k++) if (data[from + k] !== 0) hasher.word(data[from + k] as number);
      }
    }
  }

  #hasSize(): boolean {
    if (this.#kind === Special.Inherited) return !this.#options.rules.has("streams");
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
    const kept = out && this.#options.rules.has("ports") ? text.replace(/:\d+$/, "") : text;
    this.#name = this.names.pair(this.#name, this.names.other(kept));
  }

  #descriptor(batch: EventBatch, i: number, k: number): void {
    const fd = (batch.args[12 * i + 2 * k] as number) | 0;
    const end = batch.refStart[i + 1] as number;
    for (let r = batch.refStart[i] as number; r < end; r++) {
      if (batch.refSlot[r] !== k) continue;
      const object = batch.refObject[r] as number;
      if (!this.#options.rules.has("descriptors")) this.#hasher.word(fd);
      this.#name = this.names.pair(this.#name, this.names.object(object, fd));
      if (this.#object < 0) {
        this.#object = object;
        this.#kind = this.#specialOf(object, fd);
        if (this.#kind === Special.Pipe) this.#notePipe(batch, i, object);
      }
      return;
    }
    this.#hasher.word(fd < 0 ? fd : ABSENT);
  }

  #notePipe(batch: EventBatch, i: number, object: number): void {
    const process = this.trace.threads[batch.thread[i] as number]?.process ?? 0;
    const known = this.pipeUsers.get(object);
    if (known === undefined) this.pipeUsers.set(object, process);
    else if (known !== process) this.pipeUsers.set(object, -1);
  }

  #specialOf(index: number, fd: number): number {
    const known = this.#special[index];
    if (known !== undefined && known !== Special.Unknown) return known;
    const special = this.#specialBy(index, fd, this.trace.objectPath(index) ?? "");
    if (index < this.#special.length) this.#special[index] = special;
    return special;
  }

  /** Whole objects are fetched only where the path does not say enough: a long trace has millions of them. */
  #specialBy(index: number, fd: number, path: string): number {
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
    if (!this.#options.rules.has("pids")) {
      this.#hasher.word(pid);
      return;
    }
    const thread = pid > 0 ? this.#threadOfPid.get(pid) : -1;
    if (thread >= 0) this.#name = this.names.pair(this.#name, this.names.task(thread));
    else if (pid <= 0 && pid >= -1) this.#hasher.word(pid);
    else this.#hasher.word(ABSENT);
  }

  #noteMade(plan: Plan, batch: EventBatch, i: number): void {
    if (plan.makes === "file") {
      this.names.made.add(this.#name);
      return;
    }
    const flags = batch.args[12 * i + (plan.call === "open" ? 2 : 4)] as number;
    if ((flags & (O_CREAT | O_EXCL)) === (O_CREAT | O_EXCL)) this.names.made.add(this.#name);
  }

  #noteOrigins(plan: Plan, batch: EventBatch, i: number, process: ProcessStreams): void {
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
    const { rules } = this.#options;
    if (this.#kind === Special.KernelFile) return !rules.has("kernel-files");
    if (this.#kind === Special.Random) return !rules.has("random");
    return true;
  }

  /** The result, and the bytes of a call that is an event of its own. */
  #payload(plan: Plan, batch: EventBatch, i: number, hasher: Hasher): void {
    if (!this.#isPayload()) return;
    if (plan.result) hasher.word(batch.ret[2 * i] as number).word(batch.ret[2 * i + 1] as number);
    if (plan.data === undefined || !this.#options.payload) return;
    forPieces(batch, i, plan.data, (piece) => void hasher.bytes(piece));
  }

  /** One piece of a stream: a part of the event that the piece before made, or a new event. */
  #piece(
    open: Run | undefined,
    plan: Plan,
    batch: EventBatch,
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
    if (plan.data.shape === "dirents") {
      const ordered = !this.#options.rules.has("directory-order");
      addEntries(run, batch, i, { slot: plan.data.slot, old: plan.call === "getdents", ordered });
    } else if (this.#options.payload) {
      forPieces(batch, i, plan.data, (piece) => bytes.add(piece));
    } else {
      bytes.length += batch.ret[2 * i] as number;
    }
  }

  // Events that are no calls

  #event(batch: EventBatch, i: number, stream: Stream, process: ProcessStreams): void {
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

  #own(verb: string, batch: EventBatch, i: number, stream: Stream, rest: number): void {
    this.#push(
      stream,
      { verb: this.#options.verbs.of(verb) },
      batch,
      i,
      mixed(textHash(verb), rest),
    );
  }

  #exec(batch: EventBatch, i: number, stream: Stream, process: ProcessStreams): void {
    const credentials = captureText(batch, i, 6) ?? "";
    const program = { ...decodeExec(batch, i), seq: batch.firstSeq + i, credentials };
    process.programs.push(program);
    process.images.clear();
    for (const run of process.runs.values()) closeRun(run);
    process.runs.clear();
    const env = program.env.filter((variable) => !this.#options.rules.ignoresVariable(variable));
    const rest = textHash([...program.argv, "", ...env, "", program.cwd, credentials].join("\0"));
    this.#name = this.names.path(program.path);
    this.#own("exec", batch, i, stream, rest);
  }

  #exit(batch: EventBatch, i: number, stream: Stream, process: ProcessStreams): void {
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
  #image(batch: EventBatch, i: number, stream: Stream, process: ProcessStreams): void {
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

  #signal(batch: EventBatch, i: number, stream: Stream): void {
    const signal = batch.code[i] as number;
    const handled = (batch.args[12 * i + 4] as number) === HANDLED;
    if (this.#options.rules.has("signals")) {
      if (CHANCE_SIGNALS.has(signal) || signal >= FIRST_REALTIME) return;
      if (FAULTS.has(signal) && handled) return;
    }
    this.#name = NO_NAME;
    this.#own("signal", batch, i, stream, signal);
  }
}
