/**
 * Table `dns`: names that were looked up, read from the messages that went over sockets to port 53. Look-ups that a service
 * answers over a local socket (nscd, systemd-resolved by D-Bus) are not DNS, and not here.
 */

import { type Answer, decode, type Packet } from "dns-packet";
import { captureBytes } from "../decode/memory.js";
import { CallFacts } from "../query/facts.js";
import { CaptureSide, type EventBatch, EventFlag, EventKind, Slot } from "../trace/batch.js";
import { CALL_COLUMNS } from "../trace/columns.js";
import { processName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { type Row, rowTable } from "./builder.js";
import type { TableColumn } from "./table.js";

const columns: readonly TableColumn[] = [
  { name: "seq", type: "int", doc: "event number of the call that asked", nullable: false },
  { name: "time", type: "int", unit: "ns since start", doc: "when it asked", nullable: false },
  { name: "proc", type: "text", doc: "process that asked", nullable: true },
  { name: "server", type: "text", doc: "address that was asked", nullable: false },
  { name: "query", type: "text", doc: "the name", nullable: false },
  { name: "type", type: "text", doc: "A, AAAA, MX, ...", nullable: false },
  {
    name: "rcode",
    type: "text",
    doc: "NOERROR, NXDOMAIN, ...; none: no answer was seen",
    nullable: true,
  },
  {
    name: "answers",
    type: "text",
    doc: "addresses and names of the answer, separated by blanks",
    nullable: true,
  },
  {
    name: "answered_by",
    type: "int",
    doc: "event number of the call that got the answer",
    nullable: true,
  },
  { name: "took", type: "int", unit: "ns", doc: "from the question to the answer", nullable: true },
];

export const dns = rowTable(
  { name: "dns", doc: "every name that was looked up over port 53", columns },
  async function* (trace) {
    const reader = new DnsReader(trace);
    let failure: unknown;
    try {
      for await (const batch of trace.batches({ columns: CALL_COLUMNS })) {
        for (let i = 0; i < batch.count; i++) {
          if (batch.kind[i] === EventKind.Call) reader.call(batch, i);
        }
      }
    } catch (error) {
      failure = error;
    }
    for (const lookup of reader.lookups) yield rowOf(lookup, trace);
    if (failure !== undefined) throw failure;
  },
);

interface Lookup {
  readonly seq: number;
  readonly time: number;
  readonly thread: number;
  readonly server: string;
  readonly query: string;
  readonly type: string;
  answer: { readonly seq: number; readonly time: number; readonly packet: Packet } | undefined;
}

const PORT = ":53";
/** Header of a message. */
const SHORTEST = 12;
/** Look-ups that wait for an answer; the oldest ones are given up. */
const MAX_WAITING = 4096;

class DnsReader {
  readonly lookups: Lookup[] = [];
  readonly #facts: CallFacts;
  /** By socket: the server that it is connected to. */
  readonly #servers = new Map<number, string>();
  /** By socket and id of the message. */
  readonly #waiting = new Map<string, Lookup>();

  constructor(trace: Trace) {
    this.#facts = new CallFacts(trace);
  }

  call(batch: EventBatch, i: number): void {
    const shape = this.#facts.shape(batch, i);
    if (shape === undefined || ((batch.flags[i] ?? 0) & EventFlag.Interrupted) !== 0) return;
    const object = socketOf(batch, i);
    if (object < 0) return;
    const peer = shape.addresses.length > 0 ? this.#facts.peer(batch, i) : undefined;
    if (peer?.endsWith(PORT) === true) this.#servers.set(object, peer);
    const server = this.#servers.get(object);
    if (server === undefined || shape.name === "connect") return;
    const end = Math.min(batch.capStart[i + 1] ?? 0, batch.capSlot.length);
    for (let c = batch.capStart[i] ?? 0; c < end; c++) {
      const bytes = captureBytes(batch, c);
      if (bytes.length < SHORTEST) continue;
      const packet = message(bytes);
      if (packet?.questions?.[0] === undefined) continue;
      const isSent = batch.capSide[c] === CaptureSide.In;
      if (isSent && packet.type === "query") this.#asked(batch, i, object, server, packet);
      if (!isSent && packet.type === "response") this.#answered(batch, i, object, packet);
    }
  }

  #asked(batch: EventBatch, i: number, object: number, server: string, packet: Packet): void {
    const [question] = packet.questions ?? [];
    if (question === undefined) return;
    const lookup: Lookup = {
      seq: batch.firstSeq + i,
      time: batch.start[i] ?? 0,
      thread: batch.thread[i] ?? -1,
      server,
      query: question.name,
      type: question.type,
      answer: undefined,
    };
    this.lookups.push(lookup);
    const key = keyOf(object, packet);
    // Asked once more, it is the youngest.
    this.#waiting.delete(key);
    this.#waiting.set(key, lookup);
    const [oldest] = this.#waiting.keys();
    if (this.#waiting.size > MAX_WAITING && oldest !== undefined) this.#waiting.delete(oldest);
  }

  #answered(batch: EventBatch, i: number, object: number, packet: Packet): void {
    const key = keyOf(object, packet);
    const lookup = this.#waiting.get(key);
    if (lookup === undefined) return;
    this.#waiting.delete(key);
    const time = (batch.start[i] ?? 0) + (batch.duration[i] ?? 0);
    lookup.answer = { seq: batch.firstSeq + i, time, packet };
  }
}

function keyOf(object: number, { id, questions }: Packet): string {
  const [question] = questions ?? [];
  return `${object} ${id} ${question?.type} ${question?.name.toLowerCase()}`;
}

/** The socket that a call works on, or another descriptor; -1: none. */
function socketOf(batch: EventBatch, i: number): number {
  const r = batch.refStart[i] ?? 0;
  if (r >= (batch.refStart[i + 1] ?? 0)) return -1;
  const slot = batch.refSlot[r];
  return slot === Slot.Cwd || slot === Slot.Ret ? -1 : (batch.refObject[r] ?? -1);
}

/** A DNS message, also behind the length that TCP puts before it; undefined for other bytes. */
function message(bytes: Uint8Array): Packet | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (const offset of [0, 2]) {
    if (offset === 2 && (buffer.length < SHORTEST + 2 || buffer.readUInt16BE(0) > buffer.length))
      return undefined;
    // One question: what resolvers send. It keeps other bytes from being taken for a message.
    if (buffer.readUInt16BE(offset + 4) !== 1) continue;
    try {
      return decode(buffer, offset);
    } catch {
      // Not a message, or a damaged one.
    }
  }
  return undefined;
}

function rowOf(lookup: Lookup, trace: Trace): Row {
  const thread = trace.threads[lookup.thread];
  const { answer } = lookup;
  const packet = answer?.packet as (Packet & { readonly rcode?: string }) | undefined;
  return [
    lookup.seq,
    lookup.time,
    thread && processName(thread.process),
    lookup.server,
    lookup.query,
    lookup.type,
    packet?.rcode,
    packet?.answers?.map(answerText).join(" "),
    answer?.seq,
    answer && answer.time - lookup.time,
  ];
}

function answerText(answer: Answer): string {
  if (!("data" in answer)) return answer.type;
  const { data } = answer;
  if (typeof data === "string") return data;
  return Buffer.isBuffer(data) ? data.toString("latin1") : JSON.stringify(data);
}
