/** What the calls on sockets say of each: for the tables `socket` and `connection`. */

import { decodeCall } from "../decode/call.js";
import { refObject } from "../decode/context.js";
import { ERRNO_NAMES } from "../decode/names.generated.js";
import type { Call } from "../decode/value.js";
import { CallFacts } from "../query/facts.js";
import { type EventBatch, EventFlag, Slot } from "../trace/batch.js";
import type { Trace } from "../trace/trace.js";
import { type Endpoint, endpointOfCall } from "./endpoint.js";
import { Lives } from "./lives.js";

export type SocketState = "open" | "bound" | "listening" | "connecting" | "connected" | "shut down";

export interface SocketFacts {
  family: string | undefined;
  type: string | undefined;
  local: Endpoint | undefined;
  peer: Endpoint | undefined;
  state: SocketState;
  /** Addresses that it sent to or received from. */
  readonly peers: Set<string>;
}

/** A connect or an accept. */
export interface ConnectionAttempt {
  readonly seq: number;
  readonly time: number;
  readonly duration: number;
  readonly thread: number;
  readonly direction: "out" | "in";
  /** The socket that is connected; -1 when it is not known. */
  readonly object: number;
  readonly peer: Endpoint | undefined;
  readonly err: string | undefined;
}

export interface Sockets {
  readonly lives: Lives;
  readonly facts: ReadonlyMap<number, SocketFacts>;
  readonly attempts: readonly ConnectionAttempt[];
  readonly failure: unknown;
}

/** Beyond this many, addresses of one socket are only those. */
const MAX_PEERS = 1024;

/** The calls that say something, and what. */
const CALLS: ReadonlySet<string> = new Set([
  ...["socket", "socketpair", "bind", "connect", "listen", "accept", "accept4", "shutdown"],
  ...["getsockname", "getpeername", "sendto", "recvfrom", "sendmsg", "recvmsg", "socketcall"],
]);

/** What was read of a trace last: tables `fd`, `socket` and `connection` are made of one reading of it. */
const read = new WeakMap<Trace, Promise<Sockets>>();

export function readSockets(trace: Trace): Promise<Sockets> {
  let sockets = read.get(trace);
  if (sockets === undefined) {
    sockets = readAll(trace);
    read.set(trace, sockets);
  }
  return sockets;
}

async function readAll(trace: Trace): Promise<Sockets> {
  const reader = new SocketReader(trace);
  const { lives, failure } = await Lives.read(trace, (batch, i) => reader.call(batch, i));
  return { lives, failure, facts: reader.facts, attempts: reader.attempts };
}

class SocketReader {
  readonly facts = new Map<number, SocketFacts>();
  readonly attempts: ConnectionAttempt[] = [];
  readonly #trace: Trace;
  readonly #calls: CallFacts;

  constructor(trace: Trace) {
    this.#trace = trace;
    this.#calls = new CallFacts(trace);
  }

  call(batch: EventBatch, i: number): void {
    const name = this.#calls.shape(batch, i)?.name;
    if (name === undefined || !CALLS.has(name)) return;
    if (((batch.flags[i] ?? 0) & (EventFlag.Interrupted | EventFlag.NoResult)) !== 0) return;
    const call = decodeCall(batch, i, this.#trace);
    const address = endpointOfCall(call);
    this.#note(call, address, batch, i);
    if (call.name === "connect" || call.name === "accept" || call.name === "accept4") {
      this.#attempt(call, address, batch, i);
    }
  }

  /** The object of the socket that a call works on. */
  #object(batch: EventBatch, i: number): number {
    for (let r = batch.refStart[i] ?? 0; r < (batch.refStart[i + 1] ?? 0); r++) {
      const slot = batch.refSlot[r];
      if (slot !== Slot.Cwd && slot !== Slot.Ret) return batch.refObject[r] ?? -1;
    }
    return -1;
  }

  #of(object: number): SocketFacts {
    let facts = this.facts.get(object);
    if (facts === undefined) {
      facts = {
        family: undefined,
        type: undefined,
        local: undefined,
        peer: undefined,
        state: "open",
        peers: new Set(),
      };
      this.facts.set(object, facts);
    }
    return facts;
  }

  #note(call: Call, address: Endpoint | undefined, batch: EventBatch, i: number): void {
    if (call.name === "socket" || call.name === "socketpair") {
      this.#made(call, batch, i);
      return;
    }
    const object = this.#object(batch, i);
    if (object < 0 || this.#trace.objects[object]?.kind !== "socket") return;
    const facts = this.#of(object);
    const ok = call.result.status === "ok";
    if (address !== undefined) facts.family ??= address.family;
    switch (call.name) {
      case "bind":
        if (!ok) return;
        facts.local = address;
        facts.state = "bound";
        return;
      case "listen":
        if (ok) facts.state = "listening";
        return;
      case "connect":
        if (ok || call.result.errno === EINPROGRESS) {
          facts.peer = address;
          facts.state = ok ? "connected" : "connecting";
        }
        return;
      case "accept":
      case "accept4":
        if (ok) this.#accepted(facts, address, batch, i);
        return;
      case "getsockname":
        if (ok && address !== undefined) facts.local = address;
        return;
      case "getpeername":
        if (ok && address !== undefined) {
          facts.peer = address;
          facts.state = "connected";
        }
        return;
      case "shutdown":
        if (ok) facts.state = "shut down";
        return;
      default:
        if (ok) moved(facts, address);
    }
  }

  #made(call: Call, batch: EventBatch, i: number): void {
    if (call.result.status !== "ok") return;
    const words = call.args.slice(0, 2).map(({ value }) => {
      if (value.kind === "choice") return value.name;
      return value.kind === "flags" ? value.names[0] : undefined;
    });
    for (let r = batch.refStart[i] ?? 0; r < (batch.refStart[i + 1] ?? 0); r++) {
      if (batch.refSlot[r] === Slot.Cwd) continue;
      const facts = this.#of(batch.refObject[r] ?? -1);
      [facts.family, facts.type] = words;
      if (call.name === "socketpair") facts.state = "connected";
    }
  }

  #accepted(
    listening: SocketFacts,
    address: Endpoint | undefined,
    batch: EventBatch,
    i: number,
  ): void {
    const object = refObject(batch, i, this.#trace, Slot.Ret);
    if (object === undefined) return;
    const facts = this.#of(object.id);
    facts.family = listening.family;
    facts.type = listening.type;
    facts.local ??= listening.local;
    facts.peer = address;
    facts.state = "connected";
  }

  #attempt(call: Call, address: Endpoint | undefined, batch: EventBatch, i: number): void {
    const incoming = call.name !== "connect";
    const { status, errno } = call.result;
    // Nobody was there to be accepted.
    if (incoming && status !== "ok") return;
    const object = incoming
      ? (refObject(batch, i, this.#trace, Slot.Ret)?.id ?? -1)
      : this.#object(batch, i);
    this.attempts.push({
      seq: batch.firstSeq + i,
      time: batch.start[i] ?? 0,
      duration: batch.duration[i] ?? 0,
      thread: batch.thread[i] ?? -1,
      direction: incoming ? "in" : "out",
      object,
      peer: address,
      err: errno === undefined ? undefined : ERRNO_NAMES[errno] || String(errno),
    });
  }
}

const EINPROGRESS = 115;

/** Bytes went one way or the other: a connection that was being made is there. */
function moved(facts: SocketFacts, address: Endpoint | undefined): void {
  if (facts.state === "connecting") facts.state = "connected";
  if (address !== undefined && facts.peers.size < MAX_PEERS) facts.peers.add(address.text);
}
