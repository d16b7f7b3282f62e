/** Calls in a row on one object that make one canonical event, and the columns in which events are kept. */

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
  /** Further events that an entry was made of. */
  readonly #parts = new Parts();
  /** Number of its last event of any kind. */
  lastSeq = -1;

  get length(): number {
    return this.rest.length;
  }

  /** One more event is a part of an entry. */
  notePart(entry: number, seq: number, nanos: number): void {
    this.#parts.add(entry, seq);
    this.micros.set(entry, Math.min(MAX_U32, this.micros.at(entry) + nanos / 1000));
  }

  /** The numbers of the events that an entry was made of, once nothing more is added. */
  partsOf(entry: number): number[] {
    return [this.seq.at(entry), ...this.#parts.of(entry)];
  }

  /** Nothing more is added: gives back memory. */
  finish(): void {
    for (const column of this.#columns()) column.trim();
    this.#parts.finish(this.length);
  }

  /** Leaves out the entries that `drop` names, once nothing more is added. */
  compact(drop: (entry: number) => boolean): void {
    const length = this.length;
    const columns = this.#columns();
    const places = new Int32Array(length).fill(-1);
    let to = 0;
    for (let entry = 0; entry < length; entry++) {
      if (drop(entry)) continue;
      if (to !== entry) for (const column of columns) column.set(to, column.at(entry));
      places[entry] = to++;
    }
    for (const column of columns) column.length = to;
    this.#parts.move(places);
  }

  #columns(): readonly (Numbers | Words)[] {
    return [this.rest, this.name, this.verb, this.seq, this.micros];
  }
}

/** Which events belong to which entries, in two columns: a map of lists takes a hundred times the memory. */
class Parts {
  #entry = new Words();
  #seq = new Words();

  add(entry: number, seq: number): void {
    this.#entry.push(entry);
    this.#seq.push(seq);
  }

  /** Sorts them by entry, each entry's as they came. */
  finish(entries: number): void {
    const count = this.#entry.length;
    if (count === 0) return;
    const next = new Uint32Array(entries + 1);
    for (let k = 0; k < count; k++) raise(next, this.#entry.at(k) + 1, 1);
    for (let entry = 0; entry < entries; entry++) raise(next, entry + 1, next[entry] as number);
    const entry = new Uint32Array(count);
    const seq = new Uint32Array(count);
    for (let k = 0; k < count; k++) {
      const place = next[this.#entry.at(k)] as number;
      raise(next, this.#entry.at(k), 1);
      entry[place] = this.#entry.at(k);
      seq[place] = this.#seq.at(k);
    }
    this.#entry = new Words(entry);
    this.#seq = new Words(seq);
  }

  of(entry: number): Uint32Array {
    const from = this.#entry.firstNotBelow(entry);
    return this.#seq.view().subarray(from, this.#entry.firstNotBelow(entry + 1));
  }

  /** Entries stand elsewhere now, in the same order; those at -1 are gone. */
  move(places: Int32Array): void {
    let to = 0;
    for (let k = 0; k < this.#entry.length; k++) {
      const place = places[this.#entry.at(k)] as number;
      if (place < 0) continue;
      this.#entry.set(to, place);
      this.#seq.set(to++, this.#seq.at(k));
    }
    this.#entry.length = to;
    this.#seq.length = to;
  }
}

function raise(values: Uint32Array, at: number, by: number): void {
  values[at] = (values[at] as number) + by;
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

/** How the entries of a directory are read. */
export interface Listing {
  /** Entries of getdents: the name stands elsewhere. */
  readonly old: boolean;
  /** Whether their order counts. */
  readonly ordered: boolean;
}

/** Adds the names that a getdents call put into the bytes `start` to `stop`. */
export function addEntries(
  run: Run,
  data: Uint8Array,
  start: number,
  stop: number,
  { old, ordered }: Listing,
): void {
  let at = start;
  while (at + 19 <= stop) {
    const size = (data[at + 16] as number) | ((data[at + 17] as number) << 8);
    if (size < 19 || at + size > stop) return;
    const from = at + (old ? 18 : 19);
    let end = from;
    while (end < at + size && data[end] !== 0) end += 1;
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
