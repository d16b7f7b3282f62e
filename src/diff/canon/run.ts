/** Calls in a row on one object that make one canonical event, and the columns in which events are kept. */

import { captureBytes, findCapture } from "../../decode/memory.js";
import { CaptureSide, type EventBatch } from "../../trace/batch.js";
import { Numbers, Words } from "./columns.js";
import { Hasher, mixed, type StreamHash } from "./hash.js";
import type { Plan } from "./plan.js";

/** Most that a column of 32 bits holds. */
export const MAX_U32 = 0xffff_ffff;

/** Columns of one thread's canonical events. */
export class Stream {
  /** Hash of what the event is without its name. */
  readonly rest = new Numbers();
  readonly name = new Words();
  readonly verb = new Words();
  readonly seq = new Words();
  /** Microseconds that it took. */
  readonly micros = new Words();
  /** Events that were made of several: their numbers, by index. */
  readonly parts = new Map<number, Words>();
  /** Number of its last event of any kind. */
  lastSeq = -1;

  get length(): number {
    return this.rest.length;
  }

  /** Gives back memory, once nothing more is added. */
  trim(): void {
    for (const column of [this.rest, this.name, this.verb, this.seq, this.micros]) column.trim();
  }

  /** Leaves out the entries that `drop` names. */
  compact(drop: (entry: number) => boolean): void {
    let to = 0;
    const parts = new Map<number, Words>();
    for (let entry = 0; entry < this.length; entry++) {
      if (drop(entry)) continue;
      const own = this.parts.get(entry);
      if (own !== undefined) parts.set(to, own);
      if (to !== entry) {
        for (const column of [this.rest, this.name, this.verb, this.seq, this.micros]) {
          column.set(to, column.at(entry));
        }
      }
      to += 1;
    }
    this.parts.clear();
    for (const [entry, own] of parts) this.parts.set(entry, own);
    for (const column of [this.rest, this.name, this.verb, this.seq, this.micros])
      column.length = to;
  }
}

/** A call in pieces that is not done yet. */
export interface Run {
  readonly stream: Stream;
  readonly entry: number;
  readonly kind: NonNullable<Plan["run"]>;
  readonly bytes: StreamHash;
  /** Of a directory: sums of the hashes of its entries, in two lanes. */
  low: number;
  high: number;
}

export function closeRun(run: Run): void {
  const { stream, entry, bytes, low, high } = run;
  const content = run.kind === "list" ? mixed(low >>> 0, high >>> 0) : bytes.value;
  stream.rest.set(entry, mixed(stream.rest.at(entry), content));
}

export function notePart({ stream, entry }: Run, seq: number, nanos: number): void {
  let parts = stream.parts.get(entry);
  if (parts === undefined) {
    parts = new Words();
    parts.push(stream.seq.at(entry));
    stream.parts.set(entry, parts);
  }
  parts.push(seq);
  stream.micros.set(entry, Math.min(MAX_U32, stream.micros.at(entry) + nanos / 1000));
}

/** How the entries of a directory are read. */
export interface Listing {
  readonly slot: number;
  /** Entries of getdents: the name stands elsewhere. */
  readonly old: boolean;
  /** Whether their order counts. */
  readonly ordered: boolean;
}

/** Adds the names that a getdents call gave. */
export function addEntries(run: Run, batch: EventBatch, i: number, listing: Listing): void {
  const { slot, old, ordered } = listing;
  const capture = findCapture(batch, i, slot, CaptureSide.Out);
  if (capture < 0) return;
  const data = captureBytes(batch, capture);
  let at = 0;
  while (at + 19 <= data.length) {
    const size = (data[at + 16] as number) | ((data[at + 17] as number) << 8);
    if (size < 19 || at + size > data.length) return;
    const from = at + (old ? 18 : 19);
    let end = data.indexOf(0, from);
    if (end < 0 || end > at + size) end = at + size;
    const length = end - from;
    const isSelf =
      data[from] === 0x2e && (length === 1 || (length === 2 && data[from + 1] === 0x2e));
    if (!isSelf) {
      const hash = entryHasher.reset().bytes(data, from, end).value;
      const times = ordered ? ORDER : 1;
      run.low = (Math.imul(run.low, times) + (hash | 0)) | 0;
      run.high = (Math.imul(run.high, times) + Math.floor(hash / 0x1_0000_0000)) | 0;
    }
    at += size;
  }
}

/** An odd factor: what comes later counts otherwise. */
const ORDER = 0x0100_0193;

const entryHasher = new Hasher();
