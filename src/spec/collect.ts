/**
 * One recording to what each of its programs did: accesses with counts, channels between programs, what started them.
 * One pass over the events, in their order. Nothing is generalised here, and nothing is judged.
 */

import { refObject, rowIndex } from "../decode/context.js";
import { captureText, decodeExec } from "../decode/event.js";
import { known } from "../decode/flags.js";
import { NAMES } from "../decode/names.generated.js";
import { type EventBatch, EventFlag, EventKind } from "../trace/batch.js";
import { replayability, type TraceInfo } from "../trace/info.js";
import type { Trace } from "../trace/trace.js";
import {
  AccessReader,
  failureOf,
  isAnswered,
  isResultless,
  isSeen,
  programPath,
} from "./access.js";
import { EXECS, OPENS } from "./calls.js";
import { ChannelCollector, type InheritedDescriptor, type ObservedChannel } from "./channels.js";
import { ProcessGroups } from "./groups.js";
import { isLink } from "./links.js";
import type { Verb } from "./model.js";
import { PhaseTracker } from "./phases.js";
import { type Identity, identityKey, identityOf } from "./roles.js";
import { StampFinder, type Stamps } from "./stamps.js";

/** One access of a role, over the whole recording. */
export interface Observed {
  readonly verb: Verb;
  /** Plain: no pattern. Signals name their target as `self`, `child`, or a role's key as `role KEY`. */
  readonly object: string;
  count: number;
  /** Event that used it first. */
  readonly first: number;
  phases: number;
}

export interface ObservedProbe {
  readonly verb: Verb;
  readonly object: string;
  readonly error: string;
  count: number;
  /** Event that failed first. */
  readonly first: number;
}

export interface ObservedRole {
  readonly identity: Identity;
  readonly key: string;
  /** Keys of the roles that started it; "" is whoever started the recording. */
  readonly from: Set<string>;
  readonly lines: string[][];
  readonly accesses: Map<string, Observed>;
  readonly probes: Map<string, ObservedProbe>;
  /** Paths that were made or replaced by rename. */
  readonly replaced: Set<string>;
  /** Objects that got another name (rename, link), with their names then. */
  readonly moved: Map<string, Set<string>>;
  processes: number;
  threads: number;
  memory: number;
  serves: boolean;
  /** How often it was started by what: `exec`, `message CHANNEL`, ... */
  readonly starts: Map<string, number>;
}

export interface Observation {
  readonly roles: ReadonlyMap<string, ObservedRole>;
  readonly channels: readonly ObservedChannel[];
  /** Descriptors that a role was started with and used, by its key. */
  inherited(role: string): readonly InheritedDescriptor[];
  readonly unknown: readonly string[];
  /** Of names that were made, by their paths, what tells who made them or when. */
  readonly stamps: ReadonlyMap<string, Stamps>;
  /** Names that led to other paths, with those. */
  readonly links: ReadonlyMap<string, string>;
  /** Real process ids of the recording. */
  readonly pids: ReadonlySet<number>;
  readonly env: readonly string[];
  readonly cwd: string;
}

/** What is told of each access while the events go by. */
export interface Listener {
  access?(seq: number, role: ObservedRole, verb: Verb, object: string, error?: string): void;
}

/** A process as the pass knows it. */
interface Process {
  role: ObservedRole | undefined;
  readonly phases: PhaseTracker;
  /** Path of the exec that is under way. */
  execPath: string | undefined;
  cwd: string;
}

const MAX_LINES = 200;
/**
 * Errors of who had all that can be granted: a shell reads a program itself that the kernel cannot run, and a port that somebody
 * else had may be free the next time.
 */
const FAILS_AFTERWARDS: ReadonlyMap<Verb, string> = new Map([
  ["exec", "ENOEXEC"],
  ["bind", "EADDRINUSE"],
]);
/** Calls that ask for the number of a process or thread. */
const TELLS_NUMBER: ReadonlySet<string> = new Set(["getpid", "gettid", "getppid"]);
/** renameat2(2). */
const RENAME_EXCHANGE = 2;

export class Collector {
  readonly #trace: Trace;
  readonly #reader: AccessReader;
  readonly #listener: Listener;
  readonly #roles = new Map<string, ObservedRole>();
  readonly #processes = new Map<number, Process>();
  readonly #channels: ChannelCollector;
  /** By thread, the call that a signal has interrupted last: it is begun once more, unless that has killed the thread. */
  readonly #interrupted = new Map<number, { readonly batch: EventBatch; readonly i: number }>();
  readonly #byPid = new Map<number, number>();
  readonly #groups: ProcessGroups;
  readonly #unknown = new Set<string>();
  readonly #stamps: StampFinder;
  readonly #links = new Map<string, string>();
  #env: readonly string[] = [];
  #cwd = "";

  private constructor(trace: Trace, listener: Listener) {
    this.#trace = trace;
    this.#listener = listener;
    this.#reader = new AccessReader(trace);
    this.#channels = new ChannelCollector(trace);
    this.#stamps = new StampFinder(trace);
    this.#groups = new ProcessGroups(trace.processes);
    for (const { number, pid } of trace.processes) this.#byPid.set(pid, number);
  }

  static async read(trace: Trace, listener: Listener = {}): Promise<Observation> {
    const collector = new Collector(trace, listener);
    for await (const batch of trace.batches({ columns: ["base", "args", "captures", "refs"] })) {
      for (let i = 0; i < batch.count; i++) collector.#event(batch, i);
    }
    return collector.#observation();
  }

  /** A call that was interrupted and never begun once more, as its thread was killed in it. */
  #abandoned(thread: number): void {
    const call = this.#interrupted.get(thread);
    if (call === undefined) return;
    this.#interrupted.delete(thread);
    this.#call(call.batch, call.i, this.#trace.threads[thread]?.process ?? 0);
  }

  #observation(): Observation {
    for (const thread of this.#interrupted.keys()) this.#abandoned(thread);
    const { lost, notes } = this.#trace.info;
    if (this.#trace.state !== "complete") {
      this.#unknown.add("the recording is cut: what came after its end is missing");
    }
    if (lost !== undefined && lost.tasks + lost.descriptors > 0) {
      this.#unknown.add(
        `the recorder lost ${lost.tasks} tasks and ${lost.descriptors} descriptors: accesses may be missing`,
      );
    }
    for (const gap of gapsOf(this.#trace.info)) this.#unknown.add(gap);
    for (const note of notes) if (/lost|not recorded|unseen/.test(note)) this.#unknown.add(note);
    return {
      roles: this.#roles,
      channels: this.#channels.channels(),
      inherited: (role) => this.#channels.inherited(role),
      unknown: [...this.#unknown],
      stamps: this.#stamps.found,
      links: this.#links,
      pids: new Set(this.#byPid.keys()),
      env: this.#env,
      cwd: this.#cwd,
    };
  }

  #event(batch: EventBatch, i: number): void {
    const process = this.#trace.threads[batch.thread[i] ?? -1]?.process ?? 0;
    const thread = batch.thread[i] ?? -1;
    switch (batch.kind[i]) {
      case EventKind.Call:
        if (!isSeen(batch, i)) {
          this.#interrupted.set(thread, { batch, i });
          return;
        }
        this.#interrupted.delete(thread);
        this.#call(batch, i, process);
        return;
      case EventKind.Task:
        this.#task(batch, i, process);
        return;
      case EventKind.Exec:
        this.#exec(batch, i, process);
        return;
      case EventKind.Exit:
        this.#abandoned(thread);
        this.#exit(batch, i, process);
        return;
      case EventKind.Note:
        if (batch.code[i] === LOST_TASK)
          this.#unknown.add(captureText(batch, i, 0) ?? "a task was lost");
        return;
    }
  }

  #process(number: number): Process {
    let process = this.#processes.get(number);
    if (process === undefined) {
      process = { role: undefined, phases: new PhaseTracker(), execPath: undefined, cwd: "/" };
      this.#processes.set(number, process);
    }
    return process;
  }

  #task(batch: EventBatch, i: number, number: number): void {
    const parent = this.#trace.threads[(batch.args[12 * i] ?? 0) - 1];
    if (parent === undefined) return;
    const from = this.#process(parent.process);
    const [by, thread] = [(batch.args[12 * i] ?? 0) - 1, batch.thread[i] ?? -1];
    if (parent.process === number) {
      if (from.role !== undefined) from.role.threads++;
      from.phases.thread(by, thread, batch.firstSeq + i);
      return;
    }
    const { role, cwd } = from;
    const phases = from.phases.fork(by, thread);
    this.#processes.set(number, { role, phases, execPath: undefined, cwd });
    this.#channels.fork(parent.process, number);
    this.#groups.fork(parent.process, number);
    this.#stamps.fork(parent.process, number);
  }

  #exec(batch: EventBatch, i: number, number: number): void {
    const process = this.#process(number);
    const before = process.role;
    const decoded = decodeExec(batch, i);
    const exec = { ...decoded, path: programPath(decoded.path) };
    const seq = batch.firstSeq + i;
    if (before !== undefined) {
      // The interpreter of a script and the dynamic loader are opened for execution too.
      if (process.execPath !== exec.path) this.#note(process, seq, before, "exec", exec.path);
      if (exec.interpreter.startsWith("/"))
        this.#note(process, seq, before, "exec", exec.interpreter);
    } else {
      this.#env = exec.env;
      this.#cwd = exec.cwd;
    }
    const { execPath } = process;
    const role = this.#role(exec.path, exec.argv);
    role.from.add(before?.key ?? "");
    if (role.lines.length < MAX_LINES) role.lines.push([...exec.argv]);
    role.processes++;
    const start =
      this.#channels.startOf(number) ?? (before === undefined ? "launch" : `exec ${before.key}`);
    role.starts.set(start, (role.starts.get(start) ?? 0) + 1);
    process.role = role;
    process.cwd = exec.cwd;
    process.phases.exec();
    process.execPath = undefined;
    this.#channels.exec(number, seq);
    // A program maps its own loader and file, which the exec that started it has opened.
    if (before === undefined) {
      this.#note(process, seq, role, "exec", exec.path);
      if (execPath?.startsWith("/") && execPath !== exec.path) {
        this.#note(process, seq, role, "exec", execPath);
      }
      if (exec.interpreter.startsWith("/"))
        this.#note(process, seq, role, "exec", exec.interpreter);
    }
  }

  #role(exe: string, argv: readonly string[]): ObservedRole {
    const identity = identityOf(exe, argv);
    const key = identityKey(identity);
    let role = this.#roles.get(key);
    if (role === undefined) {
      role = {
        identity,
        key,
        from: new Set(),
        lines: [],
        accesses: new Map(),
        probes: new Map(),
        replaced: new Set(),
        moved: new Map(),
        processes: 0,
        threads: 0,
        memory: 0,
        serves: false,
        starts: new Map(),
      };
      this.#roles.set(key, role);
    }
    return role;
  }

  #exit(batch: EventBatch, i: number, number: number): void {
    const role = this.#processes.get(number)?.role;
    if (role === undefined || batch.args[12 * i] !== 1) return;
    role.memory = Math.max(role.memory, (batch.args[12 * i + 6] ?? 0) * 1024);
  }

  #call(batch: EventBatch, i: number, number: number): void {
    const process = this.#process(number);
    const { role } = process;
    const name = this.#nameOf(batch, i);
    const error = failureOf(batch, i);
    if (EXECS.has(name) && error === undefined) {
      const path = this.#reader.facts.resolvedPath(batch, i, 0);
      process.execPath = path && programPath(path);
    }
    if (error === undefined) this.#followed(batch, i);
    if (role === undefined) return;
    process.phases.current = batch.thread[i] ?? -1;
    const seq = batch.firstSeq + i;
    this.#syscall(process, seq, role, name, error);
    if (name === "io_uring_setup" && error === undefined) {
      this.#unknown.add(
        "io_uring is used: what it opened, read and connected to is not in the recording",
      );
    }
    // What nobody saw the end of is needed as much as what worked. Its arguments tell all about it, but what kind of file an
    // open would have found.
    if (isResultless(batch, i) && OPENS.has(name)) {
      this.#unknown.add(
        ((batch.flags[i] ?? 0) & EventFlag.NoResult) !== 0
          ? "what calls resulted in is not in the recording (--backend=notify): what failed is granted as what worked"
          : "a file was being opened when the recording or the thread ended",
      );
    }
    this.#reader.read(batch, i, name, process.cwd, (verb, object) => {
      const failure = error === FAILS_AFTERWARDS.get(verb) ? undefined : error;
      for (const target of this.#targets(number, verb, object))
        this.#access(process, seq, role, verb, target, failure);
      if (error === undefined && (verb === "create" || verb === "bind"))
        this.#stamps.made(
          number,
          object.replace(/^unix:/, ""),
          batch.start[i] ?? 0,
          isPrivate(batch, i, name),
        );
    });
    if (error !== undefined) return;
    if (name === "wait4") this.#groups.waitedFor(batch.ret[2 * i] ?? 0);
    if (name === "setsid") this.#groups.lead(number);
    if (name === "setpgid") {
      this.#groups.join(number, batch.args[12 * i] ?? 0, batch.args[12 * i + 2] ?? 0);
    }
    if (TELLS_NUMBER.has(name)) this.#stamps.told(number, batch.ret[2 * i] ?? 0);
    if (name === "chdir") {
      process.cwd = this.#reader.facts.resolvedPath(batch, i, 0) ?? process.cwd;
    } else if (name === "fchdir") {
      process.cwd = refObject(batch, i, this.#trace, 0)?.path ?? process.cwd;
    }
    if (name.startsWith("rename")) this.#renamed(batch, i, name, role);
    if (name === "link" || name === "linkat") this.#moved(batch, i, [0, 1], role);
    if (name.startsWith("accept") && isAnswered(batch, i)) {
      process.phases.serves(batch.thread[i] ?? -1);
      role.serves = true;
    }
    this.#channels.call(batch, i, name, number, role.key, this.#reader.facts);
  }

  #followed(batch: EventBatch, i: number): void {
    const { facts } = this.#reader;
    for (let n = 0; n < facts.pathCount(batch, i); n++) {
      const path = facts.resolvedPath(batch, i, n);
      const named = facts.namedPath(batch, i, n);
      if (path?.startsWith("/") !== true || named?.startsWith("/") !== true) continue;
      if (isLink(facts.path(batch, i, n) ?? "", named, path)) this.#links.set(named, path);
    }
  }

  #nameOf(batch: EventBatch, i: number): string {
    const row = rowIndex(batch.arch[i] ?? 0, batch.code[i] ?? -1);
    const name = NAMES[row];
    if (batch.arch[i] === 1) this.#unknown.add("32-bit calls were made: they are not filtered");
    if (name !== undefined) return name;
    this.#unknown.add(`the table does not know call number ${batch.code[i]}`);
    return `syscall_${batch.code[i]}`;
  }

  #renamed(batch: EventBatch, i: number, name: string, role: ObservedRole): void {
    const target = this.#reader.facts.resolvedPath(batch, i, 1);
    if (target !== undefined) {
      role.replaced.add(target);
      const { process = 0 } = this.#trace.threads[batch.thread[i] ?? -1] ?? {};
      this.#stamps.made(process, target, batch.start[i] ?? 0);
    }
    this.#moved(batch, i, [0, 1], role);
    const flags = name === "renameat2" ? (batch.args[12 * i + 8] ?? 0) : 0;
    if ((flags & RENAME_EXCHANGE) !== 0) this.#moved(batch, i, [1, 0], role);
  }

  #moved(batch: EventBatch, i: number, [from, to]: [number, number], role: ObservedRole): void {
    const old = this.#reader.facts.resolvedPath(batch, i, from);
    const target = this.#reader.facts.resolvedPath(batch, i, to);
    if (old === undefined || target === undefined) return;
    const known = role.moved.get(old);
    if (known === undefined) role.moved.set(old, new Set([target]));
    else known.add(target);
  }

  /** Targets of signals and of ptrace, by who they are. */
  #targets(from: number, verb: Verb, object: string): string[] {
    if (verb !== "signal" && verb !== "ptrace") return [object];
    const [kind, word] = object.split(" ");
    const id = Number(word);
    if (id < -1) return this.#members(from, -id);
    const target = this.#targetOf(from, kind, id);
    return kind === "other" && target === "self" ? [] : [target];
  }

  /** `pid`, `tid`, or `other`: a process or thread that the caller may be itself. */
  #targetOf(from: number, kind: string | undefined, id: number): string {
    if (id === 0) return "group";
    if (id < 0) return "any";
    const byTid = () => this.#trace.threads.find(({ tid }) => tid === id)?.process;
    const number =
      kind === "tid" ? byTid() : (this.#byPid.get(id) ?? (kind === "other" ? byTid() : undefined));
    return this.#named(from, number, "outside");
  }

  /** All that are in a process group by now. That of whoever started the recording is granted as a group. */
  #members(from: number, group: number): string[] {
    const numbers = this.#groups.members(group);
    if (numbers.length === 0) return ["group"];
    return [...new Set(numbers.map((number) => this.#named(from, number, "outside")))];
  }

  #named(from: number, number: number | undefined, otherwise: string): string {
    if (number === undefined) return otherwise;
    if (number === from) return "self";
    const key = this.#processes.get(number)?.role?.key;
    return key === undefined ? otherwise : `role ${key}`;
  }

  #syscall(
    process: Process,
    seq: number,
    role: ObservedRole,
    name: string,
    error: string | undefined,
  ): void {
    // A call that this kernel does not have is one that programs can do without.
    this.#access(process, seq, role, "syscall", name, error === "ENOSYS" ? error : undefined);
  }

  #access(
    process: Process,
    seq: number,
    role: ObservedRole,
    verb: Verb,
    object: string,
    error: string | undefined,
  ): void {
    const told = this.#pidless(object, verb);
    this.#listener.access?.(seq, role, verb, told, error);
    if (error === undefined) {
      this.#note(process, seq, role, verb, told, true);
      return;
    }
    const key = `${verb} ${told} ${error}`;
    const known = role.probes.get(key);
    if (known !== undefined) known.count++;
    else role.probes.set(key, { verb, object: told, error, count: 1, first: seq });
  }

  #note(
    process: Process,
    seq: number,
    role: ObservedRole,
    verb: Verb,
    object: string,
    isTold = false,
  ): void {
    if (!isTold) this.#listener.access?.(seq, role, verb, object);
    const key = `${verb} ${object}`;
    let access = role.accesses.get(key);
    if (access === undefined) {
      access = { verb, object, count: 0, first: seq, phases: 0 };
      role.accesses.set(key, access);
    }
    access.count++;
    process.phases.made(access, seq);
  }

  /** Numbers of this recording's processes below /proc mean `whoever asks`, and their children. */
  #pidless(object: string, verb: Verb): string {
    if (!object.startsWith("/proc/") || verb === "syscall") return object;
    return object
      .replace(/^\/proc\/(\d+|self|thread-self)(?=\/|$)/, (whole, id: string) => {
        if (id === "self" || this.#byPid.has(Number(id))) return PID_DIRECTORY;
        return id === "thread-self" ? `${PID_DIRECTORY}/task/\u0000` : whole;
      })
      .replace(/\/task\/\d+(?=\/|$)/, "/task/\u0000");
  }
}

/** By call, where its flags and its mode stand among its arguments. A directory is always a new one. */
const MAKES: ReadonlyMap<string, readonly [flags: number | undefined, mode: number]> = new Map([
  ["open", [1, 2]],
  ["openat", [2, 3]],
  ["mkdir", [undefined, 1]],
  ["mkdirat", [undefined, 2]],
]);
const O_EXCL = known("open_flags", "O_EXCL");
const OTHERS = 0o77;

/** Whether a call made something new that nobody else may open. */
function isPrivate(batch: EventBatch, i: number, name: string): boolean {
  const at = MAKES.get(name);
  if (at === undefined) return false;
  const argument = (n: number) => batch.args[12 * i + 2 * n] ?? 0;
  const [flags, mode] = at;
  return (
    (flags === undefined || (argument(flags) & O_EXCL) !== 0) && (argument(mode) & OTHERS) === 0
  );
}

/** Stands for a process id in plain objects, until `generalise.ts` makes a token of it: no path holds it. */
export const PID_MARK = "\u0000";
const PID_DIRECTORY = `/proc/${PID_MARK}`;
/** `Lost::TaskGone` of native/format/src/event.rs. */
const LOST_TASK = 1;

/** What is missing in a recording because of how it was made. */
function gapsOf(info: Pick<TraceInfo, "facts">): string[] {
  const { observedBy } = replayability(info);
  const only = info.facts.get("only");
  return [
    ...(observedBy.includes("-p")
      ? ["the program ran already when its recording began (-p): what it needs to start is missing"]
      : []),
    ...(only ? [`only some calls were recorded (-e ${only}): what others need is missing`] : []),
    ...(info.facts.get("data") === "none"
      ? ["no memory was recorded (--data=none): files and addresses are missing"]
      : []),
  ];
}
