/**
 * Which event caused which: the arrows between slices.
 *
 * A fork leads to the start of the thread that it made, an execve to the start of the program, and bytes that were written into a pipe or
 * a connected socket to the calls that read them. Bytes are counted from both ends. A read may be recorded before the write that
 * it waited for; then the write pays what the read took in advance.
 */

import { captureBytes, findCapture } from "../../decode/memory.js";
import { groupBy } from "../../group.js";
import { addressText, type CallFacts, type RowShape } from "../../query/facts.js";
import { CaptureSide, type EventBatch, Slot, type ThreadInfo } from "../../trace/batch.js";
import type { Trace } from "../../trace/trace.js";

/** Arrows that begin at the start of a call, and those that lead to its end. */
export interface CallFlows {
  readonly out: readonly number[];
  readonly in: readonly number[];
}

const NONE: CallFlows = { out: [], in: [] };

/** Pieces that one channel remembers, and arrows of one call. */
const MAX_PIECES = 4096;
const MAX_ARROWS = 16;

/** Connections and addresses that are remembered. */
const MAX_WAITING = 4096;

interface Piece {
  readonly flow: number;
  left: number;
}

/** Bytes on their way in one direction. */
class Channel {
  #written: Piece[] = [];
  #taken: Piece[] = [];

  write(bytes: number, next: () => number): number[] {
    const left = drain(this.#taken, bytes);
    if (left.bytes > 0 && left.flows.length < MAX_ARROWS) {
      const flow = next();
      keep(this.#written, { flow, left: left.bytes });
      left.flows.push(flow);
    }
    return left.flows;
  }

  read(bytes: number, next: () => number): number[] {
    const left = drain(this.#written, bytes);
    if (left.bytes > 0 && left.flows.length < MAX_ARROWS) {
      const flow = next();
      keep(this.#taken, { flow, left: left.bytes });
      left.flows.push(flow);
    }
    return left.flows;
  }
}

/** Takes bytes from the front of a list of pieces: the flows that they belong to, and what was not there. */
function drain(pieces: Piece[], bytes: number): { flows: number[]; bytes: number } {
  const flows: number[] = [];
  let left = bytes;
  let done = 0;
  for (const piece of pieces) {
    if (left <= 0) break;
    if (flows.length < MAX_ARROWS) flows.push(piece.flow);
    const part = Math.min(left, piece.left);
    piece.left -= part;
    left -= part;
    if (piece.left === 0) done += 1;
  }
  if (done > 0) pieces.splice(0, done);
  return { flows, bytes: left };
}

function keep(pieces: Piece[], piece: Piece): void {
  if (pieces.length >= MAX_PIECES) pieces.shift();
  pieces.push(piece);
}

/** Which sockets talk to each other, by the calls that connected them. */
class Connections {
  readonly #peers = new Map<number, number>();
  readonly #bound = new Map<number, string>();
  /** By address: sockets that were connected to it, and those that were accepted there, that have no other end yet. */
  readonly #connecting = new Map<string, number[]>();
  readonly #accepted = new Map<string, number[]>();

  peer(object: number): number | undefined {
    return this.#peers.get(object);
  }

  join(a: number, b: number): void {
    this.#peers.set(a, b);
    this.#peers.set(b, a);
  }

  bind(object: number, address: string): void {
    if (this.#bound.size >= MAX_WAITING) this.#bound.clear();
    this.#bound.set(object, address);
  }

  connect(object: number, address: string): void {
    this.#meet(object, address, this.#accepted, this.#connecting);
  }

  accept(listening: number, object: number): void {
    const address = this.#bound.get(listening);
    if (address !== undefined) this.#meet(object, address, this.#connecting, this.#accepted);
  }

  /** Joins the object with the one that has waited longest on the other side, or lets it wait itself. */
  #meet(
    object: number,
    address: string,
    others: Map<string, number[]>,
    own: Map<string, number[]>,
  ): void {
    const key = anyHost(address);
    const other = others.get(key)?.shift();
    if (other !== undefined) {
      this.join(object, other);
      return;
    }
    if (own.size >= MAX_WAITING) own.clear();
    const waiting = own.get(key) ?? [];
    if (waiting.length < MAX_WAITING) waiting.push(object);
    own.set(key, waiting);
  }
}

/** What is bound to every address of the host is reached by any of them: the port tells them apart. */
function anyHost(address: string): string {
  return /^(?:\d+\.\d+\.\d+\.\d+|\[.*\])(:\d+)$/.exec(address)?.[1] ?? address;
}

const FORKS: ReadonlySet<string> = new Set(["fork", "vfork", "clone", "clone3"]);
const EXECS: ReadonlySet<string> = new Set(["execve", "execveat"]);

export class Flows {
  readonly #trace: Trace;
  readonly #facts: CallFacts;
  readonly #connections = new Connections();
  readonly #channels = new Map<string, Channel>();
  readonly #children: ReadonlyMap<number, ThreadInfo[]>;
  /** Arrows to program starts, by process. */
  readonly #execs = new Map<number, number>();
  #last: number;

  constructor(trace: Trace, facts: CallFacts) {
    this.#trace = trace;
    this.#facts = facts;
    this.#children = childrenOf(trace.threads);
    // Starts of threads have the numbers of their threads.
    this.#last = trace.threads.length + 1;
  }

  readonly #next = (): number => {
    this.#last += 1;
    return this.#last;
  };

  /** The arrow to the start of a thread; undefined when nobody in the trace made it. */
  ofTask(thread: number): number | undefined {
    return (this.#trace.threads[thread]?.parent ?? -1) < 0 ? undefined : thread + 1;
  }

  /** The arrow to the start of a program. */
  ofExec(process: number): number | undefined {
    const flow = this.#execs.get(process);
    this.#execs.delete(process);
    return flow;
  }

  ofCall(batch: EventBatch, i: number): CallFlows {
    const shape = this.#facts.shape(batch, i);
    if (shape === undefined || !this.#facts.succeeded(batch, i)) return NONE;
    const { name } = shape;
    if (FORKS.has(name)) return this.#fork(batch, i);
    if (EXECS.has(name)) {
      const flow = this.#next();
      this.#execs.set(this.#trace.threads[batch.thread[i] ?? -1]?.process ?? 0, flow);
      return { out: [flow], in: [] };
    }
    if (shape.addresses.length > 0) this.#address(batch, i, shape);
    if (name === "socketpair") this.#pair(batch, i);
    return this.#transfer(batch, i, shape);
  }

  #fork(batch: EventBatch, i: number): CallFlows {
    const made = batch.ret[2 * i] ?? 0;
    const children = this.#children.get(batch.thread[i] ?? -1) ?? [];
    // Numbers of the kernel come again; the oldest thread that has not been met is the one.
    const place = children.findIndex(({ tid }) => tid === made);
    const child = place < 0 ? undefined : children.splice(place, 1)[0];
    return child === undefined ? NONE : { out: [child.index + 1], in: [] };
  }

  #address(batch: EventBatch, i: number, { name, addresses }: RowShape): void {
    const object = this.#object(batch, i, 0);
    if (object < 0) return;
    if (name === "accept" || name === "accept4") {
      const made = this.#object(batch, i, Slot.Ret);
      if (made >= 0) this.#connections.accept(object, made);
      return;
    }
    const slot = addresses[0] ?? -1;
    const side = name === "getsockname" ? CaptureSide.Out : CaptureSide.In;
    const capture = findCapture(batch, i, slot, side);
    const text = capture < 0 ? undefined : addressText(captureBytes(batch, capture));
    if (text === undefined) return;
    if (name === "bind" || name === "getsockname") this.#connections.bind(object, text);
    else if (name === "connect") this.#connections.connect(object, text);
  }

  #pair(batch: EventBatch, i: number): void {
    const [a, b] = this.#facts.objects(batch, i);
    if (a !== undefined && b !== undefined) this.#connections.join(a, b);
  }

  #transfer(batch: EventBatch, i: number, shape: RowShape): CallFlows {
    const bytes = this.#facts.bytes(batch, i) ?? 0;
    const ends = shape.transfer;
    if (bytes <= 0 || (ends.from < 0 && ends.to < 0)) return NONE;
    const from = this.#key(this.#object(batch, i, ends.from), "read");
    const to = this.#key(this.#object(batch, i, ends.to), "write");
    return {
      in: from === undefined ? [] : this.#channel(from).read(bytes, this.#next),
      out: to === undefined ? [] : this.#channel(to).write(bytes, this.#next),
    };
  }

  /** Index of the object behind a slot, or -1. */
  #object(batch: EventBatch, i: number, slot: number): number {
    const end = Math.min(batch.refStart[i + 1] ?? 0, batch.refSlot.length);
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      if (batch.refSlot[r] === slot) return batch.refObject[r] ?? -1;
    }
    return -1;
  }

  /** The channel that bytes go through; undefined where the trace does not know the other end. */
  #key(object: number, direction: "read" | "write"): string | undefined {
    const info = this.#trace.objects[object];
    if (info === undefined) return undefined;
    if (info.kind === "pipe" || info.kind === "fifo") return `${info.dev}:${info.ino}`;
    if (info.kind !== "socket") return undefined;
    const peer = this.#connections.peer(object);
    if (peer === undefined) return undefined;
    return direction === "write" ? `${object}>` : `${peer}>`;
  }

  #channel(key: string): Channel {
    let channel = this.#channels.get(key);
    if (channel === undefined) {
      if (this.#channels.size >= 4 * MAX_WAITING) this.#channels.clear();
      channel = new Channel();
      this.#channels.set(key, channel);
    }
    return channel;
  }
}

/** By the index of the thread that made them, in the order in which they were made. */
function childrenOf(threads: readonly ThreadInfo[]): Map<number, ThreadInfo[]> {
  const born = threads.filter(({ parent }) => parent >= 0);
  return groupBy(born, ({ parent }) => parent);
}
