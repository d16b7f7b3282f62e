/**
 * Events to accesses: what one call asked of the system, as verb and object. Used by everything that compares a
 * recording with a spec, so that `gen` and `check` cannot mean different things.
 */

import { resolve } from "node:path";
import { decodeCall } from "../decode/call.js";
import { AT_FDCWD, refObject, type TraceContext } from "../decode/context.js";
import { choiceName, known } from "../decode/flags.js";
import { captureBytes, findCapture } from "../decode/memory.js";
import { ERRNO_NAMES } from "../decode/names.generated.js";
import type { Value } from "../decode/value.js";
import { addressText, CallFacts } from "../query/facts.js";
import { valueText } from "../show/notation.js";
import {
  CaptureSide,
  type EventBatch,
  EventFlag,
  EventKind,
  type FdObject,
  Slot,
} from "../trace/batch.js";
import {
  ALTERS,
  CHANGES_DESCRIPTOR,
  CONTROLS,
  EXECS,
  linkOf,
  OPENS,
  PATH_ARGUMENTS,
  REACHES_INTO,
  reachedBy,
  SIGNALS,
  USER_CALLS,
} from "./calls.js";
import { netlinkChange } from "./capabilities.js";
import { choiceObject, choosesBy } from "./choices.js";
import type { Verb } from "./model.js";
import { isDescriptorName } from "./object.js";

/** Gets each access of a call; the object is a plain path, address or word, and no pattern yet. */
export type Emit = (verb: Verb, object: string) => void;

const flag = (name: string): number => known("open_flags", name);
const ACCESS_MODE = 3;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_CREAT = flag("O_CREAT");
const O_TRUNC = flag("O_TRUNC");
const O_PATH = flag("O_PATH");
const O_DIRECTORY = flag("O_DIRECTORY");
const TMPFILE = flag("O_TMPFILE") & ~O_DIRECTORY;
const F_SETOWN = known("fcntl_cmd", "F_SETOWN");
const RESULTLESS = EventFlag.NoReturn | EventFlag.NoResult;

/** Errors with which a call has done its work, or will have. */
const STARTED: ReadonlySet<string> = new Set([
  "EINPROGRESS",
  "EALREADY",
  "EISCONN",
  "EINTR",
  "EAGAIN",
]);

/** Name of the error; undefined when the call did what it was asked, or nobody saw the result. */
export function failureOf(batch: EventBatch, i: number): string | undefined {
  if (((batch.flags[i] ?? 0) & EventFlag.Error) === 0) return undefined;
  const errno = -((batch.ret[2 * i] ?? 0) | 0);
  const name = ERRNO_NAMES[errno] ?? "";
  // Results that only the kernel sees (ERESTARTSYS) are above what programs get.
  if (STARTED.has(name) || errno >= 512) return undefined;
  return name === "" ? String(errno) : name;
}

/** Whether the call counts: it returned, or it is one that never does. */
export function isSeen(batch: EventBatch, i: number): boolean {
  return batch.kind[i] === EventKind.Call && ((batch.flags[i] ?? 0) & EventFlag.Interrupted) === 0;
}

const DELETED = " (deleted)";

/** The path of a file or device that has one; undefined for pipes, sockets and what was removed. */
export function pathOf(object: FdObject | undefined): string | undefined {
  if (object === undefined || !object.path.startsWith("/") || object.kind === "memfd") {
    return undefined;
  }
  return object.path.endsWith(DELETED) ? undefined : object.path;
}

/** The name of a program, as its role is called by: also of one that is removed, or only ever was in memory (memfd_create(2)). */
export function programPath(path: string): string {
  return path.endsWith(DELETED) ? path.slice(0, -DELETED.length) : path;
}

export class AccessReader {
  readonly #trace: TraceContext;
  readonly #facts: CallFacts;
  /** Address that a socket object was bound to. */
  readonly #bound = new Map<number, string>();
  /** Names of directories that programs had open, once they are asked for. */
  #directories: ReadonlySet<string> | undefined;
  #cwd = "/";

  constructor(trace: TraceContext) {
    this.#trace = trace;
    this.#facts = new CallFacts(trace);
  }

  get facts(): CallFacts {
    return this.#facts;
  }

  /** Name of the call in row `i`; undefined for events that are none, and for calls without a name. */
  nameOf(batch: EventBatch, i: number): string | undefined {
    return this.#facts.shape(batch, i)?.name;
  }

  /**
   * All accesses of the call in row `i` but the call itself. Events have to come in their order. `cwd`: where the process
   * stands, from which the paths of unix sockets are read.
   */
  read(batch: EventBatch, i: number, name: string, cwd: string, tell: Emit): void {
    this.#cwd = cwd;
    const emit: Emit = (verb, object) => {
      // What stands in a link of /proc is not for all either, though the link may be looked at.
      const reached = reachedBy(READS_LINK.has(name) ? "read" : verb, object);
      if (reached !== undefined) tell("ptrace", `other ${reached}`);
      tell(verb, object);
    };
    this.#choice(batch, i, name, emit);
    if (SENDS.has(name)) this.#netlink(batch, i, name, emit);
    const flagsAt = OPENS.get(name);
    if (flagsAt !== undefined) this.#open(batch, i, name, flagsAt, emit);
    else if (EXECS.has(name)) this.#path(batch, i, 0, "exec", emit);
    else if (PATH_ARGUMENTS.has(name)) this.#paths(batch, i, name, emit);
    else if (CHANGES_DESCRIPTOR.has(name)) this.#descriptor(batch, i, emit);
    else if (SIGNALS.has(name)) this.#signal(batch, i, name, emit);
    else if (REACHES_INTO.has(name)) this.#reaches(batch, i, name, emit);
    else if (CONTROLS.has(name)) this.#controls(batch, i, name, emit);
    else if (name === "fcntl") this.#owner(batch, i, emit);
    else if (USER_CALLS.has(name)) this.#user(batch, i, name, emit);
    else if (name === "ioctl") this.#ioctl(batch, i, emit);
    else this.#socket(batch, i, name, emit);
  }

  #low(batch: EventBatch, i: number, k: number): number {
    return batch.args[12 * i + 2 * k] ?? 0;
  }

  /** What a call chooses by its registers, where that reaches further than the call itself. */
  #choice(batch: EventBatch, i: number, name: string, emit: Emit): void {
    const args = choosesBy(name);
    if (args === undefined) return;
    const object = choiceObject(
      name,
      args.map((k) => this.#low(batch, i, k)),
    );
    if (object !== undefined) emit("syscall", object);
  }

  /** What messages to a netlink socket change; they may be written to it as to any file. */
  #netlink(batch: EventBatch, i: number, name: string, emit: Emit): void {
    const { detail = "" } = refObject(batch, i, this.#trace, 0) ?? {};
    if (!detail.startsWith("NETLINK")) return;
    const protocol = /^NETLINK(?:-|:\[)([A-Z_]+)/.exec(detail)?.[1]?.toLowerCase() ?? "*";
    const isWhole = name === "sendto" || name === "write";
    const capture = isWhole ? findCapture(batch, i, 1, CaptureSide.In) : -1;
    const types =
      capture < 0
        ? typesIn(decodeCall(batch, i, this.#trace).args[1]?.value)
        : messageTypes(captureBytes(batch, capture));
    for (const type of types.length > 0 ? new Set(types) : [undefined]) {
      const object =
        type === undefined ? `sendto(netlink,${protocol},*)` : netlinkChange(protocol, type);
      if (object !== undefined) emit("syscall", object);
    }
  }

  #open(batch: EventBatch, i: number, name: string, flagsAt: number, emit: Emit): void {
    const path = this.#resolved(batch, i, 0);
    if (path === undefined || !path.startsWith("/")) return;
    this.#follows(batch, i, 0, path, emit);
    const flags = this.#openFlags(batch, i, name, flagsAt);
    const opened = refObject(batch, i, this.#trace, Slot.Ret);
    // Another descriptor of a pipe or socket that the program has already: there is no path to grant.
    if (opened !== undefined && pathOf(opened) === undefined && isDescriptorName(path)) return;
    const kind = opened?.kind ?? this.#kindUnseen(batch, i, path);
    if ((flags & O_PATH) !== 0) {
      emit("stat", path);
      return;
    }
    if ((flags & TMPFILE) !== 0) {
      // The file has no name yet; it is made in that directory.
      emit("create", `${path === "/" ? "" : path}/#tmpfile`);
      return;
    }
    const mode = flags & ACCESS_MODE;
    if (kind === "dir" || (kind === undefined && (flags & O_DIRECTORY) !== 0)) {
      emit("list", path);
      return;
    }
    if (mode !== O_WRONLY) emit("read", path);
    if (mode === O_WRONLY || mode === O_RDWR || (flags & O_TRUNC) !== 0) emit("write", path);
    if ((flags & O_CREAT) !== 0 && (kind === undefined || kind === "file")) emit("create", path);
  }

  /** The canonical path. `/proc/self` is the caller, whoever it was whose view the path was resolved in. */
  #resolved(batch: EventBatch, i: number, n: number): string | undefined {
    const path = this.#facts.resolvedPath(batch, i, n) ?? this.#belowCwd(batch, i, n);
    const isSelf = /^\/proc\/(?:thread-)?self(?:\/|$)/.test(this.#facts.path(batch, i, n) ?? "");
    return isSelf ? path?.replace(/^\/proc\/\d+(?=\/|$)/, "/proc/self") : path;
  }

  /** A name in the working directory, which the recorder could not ask for any more when the program ended at once. */
  #belowCwd(batch: EventBatch, i: number, n: number): string | undefined {
    const given = this.#facts.path(batch, i, n);
    const base = this.#facts.shape(batch, i)?.bases[n] ?? -1;
    if (!given || (base >= 0 && (this.#low(batch, i, base) | 0) !== AT_FDCWD)) return undefined;
    return resolve("/", this.#cwd, given);
  }

  /** What an open found whose result is not in the recording, where what was done with the descriptor later tells that. */
  #kindUnseen(batch: EventBatch, i: number, path: string): string | undefined {
    if (!isResultless(batch, i)) return undefined;
    this.#directories ??= new Set(
      Array.from(this.#trace.objects)
        .filter(({ kind }) => kind === "dir")
        .map((object) => object.path),
    );
    return this.#directories.has(path) ? "dir" : undefined;
  }

  #openFlags(batch: EventBatch, i: number, name: string, flagsAt: number): number {
    if (flagsAt < 0) return O_CREAT | O_WRONLY | O_TRUNC;
    if (name !== "openat2") return this.#low(batch, i, flagsAt);
    const how = findCapture(batch, i, flagsAt, CaptureSide.In);
    const bytes = how < 0 ? undefined : captureBytes(batch, how);
    return bytes === undefined || bytes.length < 4
      ? 0
      : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  }

  #paths(batch: EventBatch, i: number, name: string, emit: Emit): void {
    const verbs = PATH_ARGUMENTS.get(name) ?? [];
    for (let n = 0; n < verbs.length; n++) {
      const verb = verbs[n];
      if (verb !== undefined) this.#path(batch, i, n, verb, emit);
    }
  }

  #path(batch: EventBatch, i: number, n: number, verb: Verb, emit: Emit): void {
    const given = this.#facts.path(batch, i, n);
    // Without a name the call speaks of its descriptor, which was granted when it was opened.
    const isMeta = verb === "chmeta" || verb === "exec";
    if ((given === undefined || given === "") && !isMeta) return;
    const path =
      given === undefined || given === ""
        ? this.#held(batch, i, verb)
        : this.#resolved(batch, i, n);
    // As opening one anew (`#open`): it is that of what the program has already, which it may ask.
    if (path === undefined || !path.startsWith("/") || isOwnDescriptor(path)) return;
    this.#follows(batch, i, n, path, emit);
    emit(verb, path);
  }

  /** A link of `/proc` that was followed on the way to a path: it tells of its process, as reading it does. */
  #follows(batch: EventBatch, i: number, n: number, path: string, emit: Emit): void {
    const name = this.#facts.namedPath(batch, i, n) ?? "";
    const pid = name === path ? undefined : linkOf(name);
    if (pid !== undefined) emit("ptrace", `other ${pid}`);
  }

  /** The path of what a call has a descriptor of. */
  #held(batch: EventBatch, i: number, verb: Verb): string | undefined {
    const at = this.#facts.shape(batch, i)?.fds[0] ?? 0;
    const object = refObject(batch, i, this.#trace, at);
    return verb === "exec" && object !== undefined ? programPath(object.path) : pathOf(object);
  }

  #descriptor(batch: EventBatch, i: number, emit: Emit): void {
    const path = pathOf(refObject(batch, i, this.#trace, 0));
    if (path !== undefined) emit("chmeta", path);
  }

  /** Which process it goes to is told by number; roles are known to the caller. */
  #signal(batch: EventBatch, i: number, name: string, emit: Emit): void {
    const how = SIGNALS.get(name);
    if (how === undefined) return;
    const target = this.#low(batch, i, how.arg) | 0;
    emit("signal", `${how.id} ${target}`);
  }

  #reaches(batch: EventBatch, i: number, name: string, emit: Emit): void {
    for (const k of REACHES_INTO.get(name) ?? [])
      emit("ptrace", `pid ${this.#low(batch, i, k) | 0}`);
  }

  /** What a program does to itself in this way needs no more than the call. */
  #controls(batch: EventBatch, i: number, name: string, emit: Emit): void {
    const how = CONTROLS.get(name);
    if (how === undefined) return;
    const id = this.#low(batch, i, how.arg) | 0;
    const { which, changes } = how;
    if (changes !== undefined && !this.#isGiven(batch, i, changes)) return;
    const kind = which === undefined ? 0 : (this.#low(batch, i, which.arg) | 0) - which.process;
    // Only one counts events of a control group, which a descriptor stands for.
    const isGroup =
      name === "perf_event_open" && (this.#low(batch, i, 4) & PERF_FLAG_PID_CGROUP) !== 0;
    if (isGroup) emit("ptrace", "pid -1");
    else if (kind === 0 && id !== 0) emit("ptrace", `other ${id}`);
    else if (kind === 1) emit("ptrace", `pid ${-id}`);
    else if (kind !== 0) emit("ptrace", "pid -1");
  }

  /** Whom the kernel tells by signals what comes in. */
  #owner(batch: EventBatch, i: number, emit: Emit): void {
    const owner = this.#low(batch, i, 2) | 0;
    if (this.#low(batch, i, 1) === F_SETOWN && owner !== 0) emit("signal", `other ${owner}`);
  }

  /** Whether an address is not NULL. */
  #isGiven(batch: EventBatch, i: number, k: number): boolean {
    return this.#low(batch, i, k) !== 0 || (batch.args[12 * i + 2 * k + 1] ?? 0) !== 0;
  }

  /** Whom it becomes. To stay who one is, or root, needs no more than the call. */
  #user(batch: EventBatch, i: number, name: string, emit: Emit): void {
    const ids = Array.from(
      { length: USER_CALLS.get(name) ?? 0 },
      (_, k) => this.#low(batch, i, k) | 0,
    );
    if (ids.some((id) => id > 0 || id < -1)) emit("syscall", `${name}(${ids.join()})`);
  }

  /**
   * Only devices have ioctls that are worth a grant of their own: those of files and sockets are granted with the call, but for
   * those that change a file.
   */
  #ioctl(batch: EventBatch, i: number, emit: Emit): void {
    if (ALTERS.has(this.#low(batch, i, 1))) {
      this.#descriptor(batch, i, emit);
      return;
    }
    const object = refObject(batch, i, this.#trace, 0);
    if (object === undefined || (object.kind !== "chr" && object.kind !== "blk")) return;
    const path = pathOf(object);
    if (path !== undefined) emit(`ioctl:${this.#ioctlName(batch, i, path)}`, path);
    // Some open a device: the other end of a terminal (TIOCGPTPEER).
    const opened = pathOf(refObject(batch, i, this.#trace, Slot.Ret));
    if (opened !== undefined) for (const verb of ["read", "write"] as const) emit(verb, opened);
  }

  #ioctlName(batch: EventBatch, i: number, path: string): string {
    const request = this.#low(batch, i, 1);
    const value: Value | undefined = decodeCall(batch, i, this.#trace).args[1]?.value;
    const text =
      value === undefined
        ? ""
        : valueText(value, { stringLimit: 0, verbose: false, descriptors: "number" });
    // Sound and terminals share some numbers.
    const names = text.match(/\b[A-Z][A-Z0-9_]+\b/g) ?? [];
    const isSound = /^\/dev\/(?:snd\/|dsp|mixer|sequencer)/.test(path);
    const name = names.find((one) => isSound === /^SND/.test(one)) ?? names[0];
    return name ?? `0x${request.toString(16)}`;
  }

  #socket(batch: EventBatch, i: number, name: string, emit: Emit): void {
    switch (name) {
      case "socket":
        emit("syscall", `socket(${socketKind(batch, i)})`);
        return;
      case "connect":
        this.#address(batch, i, "connect", emit);
        return;
      case "sendto":
        this.#address(batch, i, "connect", emit);
        return;
      case "sendmsg":
      case "sendmmsg":
        this.#messages(batch, i, emit);
        return;
      case "bind":
        this.#bind(batch, i, emit);
        return;
      case "listen":
      case "accept":
      case "accept4": {
        const index = this.#facts.objects(batch, i)[0] ?? -1;
        const at = this.#bound.get(index) ?? this.#inheritedListener(index) ?? this.#unbound(index);
        if (at !== undefined) emit(name === "listen" ? "listen" : "accept", at);
        return;
      }
    }
  }

  /** The socket address argument of the call as an object, by the protocol of the socket. */
  #addressObject(batch: EventBatch, i: number): string | undefined {
    const k = this.#facts.shape(batch, i)?.addresses[0];
    const capture = k === undefined ? -1 : findCapture(batch, i, k, CaptureSide.In);
    if (capture < 0) return undefined;
    const object = refObject(batch, i, this.#trace, 0);
    return socketObject(object, addressText(captureBytes(batch, capture)), this.#cwd);
  }

  #address(batch: EventBatch, i: number, verb: Verb, emit: Emit): void {
    const object = this.#addressObject(batch, i);
    if (object !== undefined) emit(verb, object);
  }

  #bind(batch: EventBatch, i: number, emit: Emit): void {
    const object = this.#addressObject(batch, i);
    if (object === undefined) return;
    const index = this.#facts.objects(batch, i)[0] ?? -1;
    if (index >= 0) this.#bound.set(index, object);
    emit("bind", object);
  }

  /** Address of a listening socket that the program was started with. */
  #inheritedListener(index: number): string | undefined {
    const object = this.#trace.objects[index];
    return object && socketObject(object, localAddress(object));
  }

  /** Where an internet socket listens that was bound to nothing: at a port that the kernel chooses, of all addresses. */
  #unbound(index: number): string | undefined {
    const object = this.#trace.objects[index];
    const family = /^(?:MP)?TCP(v6)?(?::|$)/.exec(object?.detail ?? "");
    return family === null ? undefined : socketObject(object, family[1] ? "[::]:0" : "0.0.0.0:0");
  }

  /** Addresses inside message headers: only datagrams have them, so that these calls are decoded whole. */
  #messages(batch: EventBatch, i: number, emit: Emit): void {
    const object = refObject(batch, i, this.#trace, 0);
    if (
      object !== undefined &&
      /^(?:(?:MP)?TCP|UNIX-STREAM|UNIX-SEQPACKET|NETLINK)/.test(object.detail)
    ) {
      return;
    }
    for (const name of messageNames(decodeCall(batch, i, this.#trace).args[1]?.value)) {
      const address = socketObject(object, name, this.#cwd);
      if (address !== undefined) emit("connect", address);
    }
  }
}

/** As `isDescriptorName`, of whoever asks and of nobody else. */
function isOwnDescriptor(path: string): boolean {
  return isDescriptorName(path) && !/^\/proc\/\d/.test(path);
}

const READS_LINK: ReadonlySet<string> = new Set(["readlink", "readlinkat"]);

/** Calls by which messages get to a netlink socket. */
const SENDS: ReadonlySet<string> = new Set("sendto sendmsg sendmmsg write writev".split(" "));

/** Size of `struct nlmsghdr`. */
const MESSAGE_HEADER = 16;

/** Types of the messages in a buffer, netlink(7). */
function messageTypes(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const types: number[] = [];
  for (let at = 0; at + MESSAGE_HEADER <= bytes.length; ) {
    const length = view.getUint32(at, true);
    types.push(view.getUint16(at + 4, true));
    if (length < MESSAGE_HEADER) break;
    at += Math.ceil(length / 4) * 4;
  }
  return types;
}

/** Types of the messages in a decoded value. */
function typesIn(value: Value | undefined): number[] {
  if (value === undefined) return [];
  if (value.kind === "array") return value.items.flatMap(typesIn);
  if (value.kind !== "struct") return [];
  return value.fields.flatMap(({ name, value: member }) => {
    if (name !== "nlmsg_type") return typesIn(member);
    return [member.kind === "choice" ? Number(member.value) : CONTROL_TYPE];
  });
}

/** The one type that is no constant: that which tells the families of generic netlink. */
const CONTROL_TYPE = 16;

/** The call never came back, or nobody saw how. */
export function isResultless(batch: EventBatch, i: number): boolean {
  return ((batch.flags[i] ?? 0) & RESULTLESS) !== 0;
}

/** The call came back and has what it was made for; one that would have had to wait has not. */
export function isAnswered(batch: EventBatch, i: number): boolean {
  return !isResultless(batch, i) && ((batch.flags[i] ?? 0) & EventFlag.Error) === 0;
}

/** Of linux/perf_event.h. */
const PERF_FLAG_PID_CGROUP = 4;
const TYPE_MASK = 0xf;

/** `inet,stream,tcp`: family, type and protocol of socket(2), the protocol that is meant where it says 0. */
export function socketKind(batch: EventBatch, i: number): string {
  const low = (k: number) => batch.args[12 * i + 2 * k] ?? 0;
  return socketWords(low(0), low(1) & TYPE_MASK, low(2));
}

const lower = (set: string, prefix: string, value: number): string =>
  choiceName(set, value)?.replace(prefix, "").toLowerCase() ?? String(value);

/** What protocol 0 means for a family and type. */
const DEFAULTS: Readonly<Record<string, string>> = {
  "inet,stream": "tcp",
  "inet6,stream": "tcp",
  "inet,dgram": "udp",
  "inet6,dgram": "udp",
};

export function socketWords(family: number, type: number, protocol: number): string {
  const words = `${lower("addr_family", "AF_", family)},${lower("socket_type", "SOCK_", type)}`;
  if (protocol === 0) return `${words},${DEFAULTS[words] ?? "0"}`;
  const isInternet = words.startsWith("inet");
  const name = isInternet ? lower("socket_protocol_inet", "IPPROTO_", protocol) : String(protocol);
  return `${words},${name}`;
}

/** The address as an object of grants. Families without addresses of their own are granted with socket(2). */
export function socketObject(
  object: FdObject | undefined,
  address: string | undefined,
  cwd?: string,
): string | undefined {
  if (address === undefined) return undefined;
  if (address.startsWith("@")) return `unix:${address}`;
  const internet = /^(.*):(\d+)$/.exec(address);
  if (internet === null || address.startsWith("/") || !/^[\d[]/.test(address)) {
    // Where its directories lead is looked up by whoever enforces the grant, but no grant has dots in it.
    return `unix:${resolve("/", cwd ?? "", address)}`;
  }
  return `${protocolOf(object?.detail ?? "")}:${address}`;
}

/** The own end of a socket, as far as the kernel told it. */
export function localAddress({ detail }: FdObject): string | undefined {
  return /\[(.*?)(?:->.*)?\]$/.exec(detail)?.[1];
}

/** The protocol in the words of grants, from what the kernel says of the socket: `TCPv6:[...]`, `UDP`. */
function protocolOf(detail: string): string {
  const word = /^([A-Za-z-]+?)(?:v6)?(?::|$)/.exec(detail)?.[1]?.toLowerCase() ?? "tcp";
  return PROTOCOL_WORDS[word] ?? word;
}

/** Where the kernel has another word than grants. */
const PROTOCOL_WORDS: Readonly<Record<string, string>> = { ping: "icmp", "udp-lite": "udplite" };

/** Texts of the `msg_name` members of a message or a list of messages. */
function messageNames(value: Value | undefined): string[] {
  if (value === undefined) return [];
  if (value.kind === "array") return value.items.flatMap(messageNames);
  if (value.kind !== "struct") return [];
  const found: string[] = [];
  for (const { name, value: member } of value.fields) {
    if (name === "msg_hdr") found.push(...messageNames(member));
    if (name === "msg_name" && member.kind === "struct") {
      const text = addressOfStruct(member);
      if (text !== undefined) found.push(text);
    }
  }
  return found;
}

/** The decoded address as text, `127.0.0.1:53`. */
function addressOfStruct(value: Extract<Value, { kind: "struct" }>): string | undefined {
  const plain = (key: string): string | number | undefined => {
    const member = value.fields.find((item) => (item.key ?? item.name) === key)?.value;
    if (member?.kind === "apply") {
      const inner = member.args[0];
      return member.plain ?? (inner?.kind === "int" ? Number(inner.value) : undefined);
    }
    if (member?.kind === "bytes") return Buffer.from(member.bytes).toString();
    return member?.kind === "list" && typeof member.plain === "string" ? member.plain : undefined;
  };
  const port = plain("sin_port") ?? plain("sin6_port");
  const host = plain("sin_addr") ?? plain("sin6_addr");
  if (port !== undefined && host !== undefined) {
    return String(host).includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  }
  const path = plain("sun_path");
  return path === undefined ? undefined : String(path);
}
