/** Through what the programs of a recording exchange data: pipes, socket pairs, listening sockets, inherited files. */

import { refObject } from "../decode/context.js";
import type { CallFacts } from "../query/facts.js";
import { type EventBatch, type FdObject, Slot } from "../trace/batch.js";
import type { Trace } from "../trace/trace.js";
import { localAddress, socketObject } from "./access.js";

export interface ObservedChannel {
  readonly kind: "pipe" | "socketpair" | "listener" | "file";
  readonly at: string | undefined;
  /** Keys of roles. */
  readonly writers: ReadonlySet<string>;
  readonly readers: ReadonlySet<string>;
  readonly passes: boolean;
}

/** A descriptor that a role was started with: a standard one that it read or wrote, or another that it did anything with. */
export interface InheritedDescriptor {
  readonly fd: number;
  readonly object: FdObject;
  /** What it belongs to, as `channels` has it; others may take no part in that. */
  readonly channel: ObservedChannel | undefined;
  readonly uses: Set<"read" | "write">;
}

interface Draft {
  readonly kind: ObservedChannel["kind"];
  at: string | undefined;
  readonly writers: Set<string>;
  readonly readers: Set<string>;
  passes: boolean;
  /** Made by whoever started the recording: its other end is nobody's of the tree. */
  isForeign: boolean;
}

/** The last of the standard streams. */
const STDERR = 2;

/** What a process got last, from which it may start another. */
type Incoming = "message" | "connection" | "descriptor";

export class ChannelCollector {
  readonly #trace: Trace;
  readonly #drafts = new Map<string, Draft>();
  /** By process: what came in since it last started another process. */
  readonly #incoming = new Map<number, Incoming>();
  /** By process: what its parent had got when it was forked. */
  readonly #startedBy = new Map<number, Incoming>();
  /** By process: event of its last exec. */
  readonly #execs = new Map<number, number>();
  /** By process: numbers that its program gave to descriptors itself, such as copies of what it was started with. */
  readonly #made = new Map<number, Set<number>>();
  /** By role, and by number; of files also by what they are, since whoever has one open has it whatever its own grants are. */
  readonly #inherited = new Map<string, Map<string, InheritedDescriptor>>();

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  fork(parent: number, child: number): void {
    const incoming = this.#incoming.get(parent);
    if (incoming !== undefined) this.#startedBy.set(child, incoming);
    this.#incoming.delete(parent);
    const exec = this.#execs.get(parent);
    if (exec !== undefined) this.#execs.set(child, exec);
    const made = this.#made.get(parent);
    if (made !== undefined) this.#made.set(child, new Set(made));
  }

  exec(process: number, seq: number): void {
    this.#execs.set(process, seq);
    this.#made.delete(process);
    this.#startedBy.delete(process);
  }

  /** What started the process, when it was not its parent's own idea. */
  startOf(process: number): string | undefined {
    return this.#startedBy.get(process);
  }

  /** Events have to come in their order; only calls that worked. */
  call(
    batch: EventBatch,
    i: number,
    name: string,
    process: number,
    role: string,
    facts: CallFacts,
  ): void {
    const end = batch.refStart[i + 1] ?? 0;
    if ((batch.refStart[i] ?? 0) === end) return;
    this.#holds(batch, i, process, role);
    const shape = facts.shape(batch, i);
    if (name === "listen" || name.startsWith("accept"))
      this.#listener(batch, i, name, process, role);
    if (shape === undefined || !(shape.transfers || name === "sendmmsg" || name === "recvmmsg")) {
      return;
    }
    const isReading = shape.direction === "read";
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      const slot = batch.refSlot[r] ?? 0;
      const object = this.#trace.objects[batch.refObject[r] ?? -1];
      if (object === undefined || slot === Slot.Cwd) continue;
      if (slot === Slot.Nested) {
        this.#passed(batch, i, isReading, process, role);
        continue;
      }
      const use =
        shape.direction === "move"
          ? slot === shape.fds[0]
            ? "write"
            : "read"
          : isReading
            ? "read"
            : "write";
      this.#used(object, batch.refFd[r] ?? -1, use, process, role);
    }
  }

  /** Descriptors besides the standard ones that a role was started with, whatever it does with them. */
  #holds(batch: EventBatch, i: number, process: number, role: string): void {
    const end = batch.refStart[i + 1] ?? 0;
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      const fd = batch.refFd[r] ?? -1;
      const slot = batch.refSlot[r] ?? 0;
      if (slot === Slot.Ret) this.#makes(process, fd);
      if (fd <= STDERR || slot >= Slot.Ret || this.#made.get(process)?.has(fd) === true) continue;
      const object = this.#trace.objects[batch.refObject[r] ?? -1];
      if (object !== undefined && this.#isInherited(object, process)) {
        this.#inherit(object, fd, role, this.#draftOf(object));
      }
    }
  }

  #makes(process: number, fd: number): void {
    const made = this.#made.get(process);
    if (made === undefined) this.#made.set(process, new Set([fd]));
    else made.add(fd);
  }

  #isInherited({ createdBy }: FdObject, process: number): boolean {
    return createdBy < (this.#execs.get(process) ?? 0);
  }

  #inherit(
    object: FdObject,
    fd: number,
    role: string,
    channel: ObservedChannel | undefined,
  ): InheritedDescriptor {
    let known = this.#inherited.get(role);
    if (known === undefined) {
      known = new Map();
      this.#inherited.set(role, known);
    }
    const key = object.kind === "file" ? `${fd} ${object.path}` : `${fd}`;
    let descriptor = known.get(key);
    if (descriptor === undefined) {
      descriptor = { fd, object, channel, uses: new Set() };
      known.set(key, descriptor);
    }
    return descriptor;
  }

  #used(object: FdObject, fd: number, use: "read" | "write", process: number, role: string): void {
    const draft = this.#draftOf(object);
    if (draft !== undefined) {
      (use === "read" ? draft.readers : draft.writers).add(role);
    }
    if (!this.#isInherited(object, process)) return;
    // A message is what comes from outside: programs talk to their own threads and children by pipes too.
    if (use === "read" && draft?.kind === "pipe") this.#incoming.set(process, "message");
    this.#inherit(object, fd, role, draft).uses.add(use);
  }

  #draftOf(object: FdObject): Draft | undefined {
    if (object.kind === "pipe") {
      const draft = this.#draft(object.path, "pipe");
      draft.isForeign = object.createdBy < 0;
      return draft;
    }
    const isPair =
      object.kind === "socket" && object.detail.startsWith("UNIX") && object.createdBy >= 0;
    // Both ends of a pair were made by one call.
    return isPair ? this.#draft(`pair ${object.createdBy}`, "socketpair") : undefined;
  }

  #draft(key: string, kind: Draft["kind"]): Draft {
    let draft = this.#drafts.get(key);
    if (draft === undefined) {
      draft = {
        kind,
        at: undefined,
        writers: new Set(),
        readers: new Set(),
        passes: false,
        isForeign: false,
      };
      this.#drafts.set(key, draft);
    }
    return draft;
  }

  #listener(batch: EventBatch, i: number, name: string, process: number, role: string): void {
    const object = refObject(batch, i, this.#trace, 0);
    if (object === undefined) return;
    const draft = this.#draft(object.path, "listener");
    draft.at ??= socketObject(object, localAddress(object));
    if (name === "listen") draft.writers.add(role);
    else {
      draft.readers.add(role);
      this.#incoming.set(process, "connection");
    }
  }

  /** A descriptor inside a message. */
  #passed(batch: EventBatch, i: number, isReading: boolean, process: number, role: string): void {
    const object = refObject(batch, i, this.#trace, 0);
    const draft = object === undefined ? undefined : this.#draftOf(object);
    if (draft === undefined) return;
    draft.passes = true;
    (isReading ? draft.readers : draft.writers).add(role);
    if (isReading) this.#incoming.set(process, "descriptor");
  }

  /** Channels of the tree that more than one role takes part in, and listening sockets. */
  channels(): ObservedChannel[] {
    return [...this.#drafts.values()].filter(
      ({ kind, readers, writers, isForeign }) =>
        !isForeign && (kind === "listener" || new Set([...readers, ...writers]).size > 1),
    );
  }

  inherited(role: string): readonly InheritedDescriptor[] {
    return [...(this.#inherited.get(role)?.values() ?? [])].sort((a, b) => a.fd - b.fd);
  }
}
