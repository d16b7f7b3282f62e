/** Typed columns that grow, and an index of hashes: what a trace of millions of events is kept in. */

const FIRST = 256;

/** Numbers of one type, one after the other. */
class Column<T extends Float64Array | Uint32Array> {
  readonly #make: new (
    length: number,
  ) => T;
  #data: T;
  length: number;

  /** Empty, or all of `data`, which is taken over. */
  constructor(make: new (length: number) => T, data?: T) {
    this.#make = make;
    this.#data = data ?? new make(FIRST);
    this.length = data?.length ?? 0;
  }

  push(value: number): void {
    if (this.length === this.#data.length) this.#data = grown(this.#data, this.#make);
    this.#data[this.length++] = value;
  }

  at(index: number): number {
    return this.#data[index] as number;
  }

  set(index: number, value: number): void {
    this.#data[index] = value;
  }

  /** Index of the first that is not below `value`, where they rise. */
  firstNotBelow(value: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#data[middle] as number) < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Gives back what was set aside to grow into. */
  trim(): void {
    if (this.#data.length > this.length) this.#data = this.#data.slice(0, this.length) as T;
  }

  /** What is there now, as a view. */
  view(): T {
    return this.#data.subarray(0, this.length) as T;
  }
}

export class Numbers extends Column<Float64Array> {
  constructor() {
    super(Float64Array);
  }
}

export class Words extends Column<Uint32Array> {
  constructor(data?: Uint32Array) {
    super(Uint32Array, data);
  }
}

/** A column that was trimmed may be empty. */
function grown<T extends Float64Array | Uint32Array>(old: T, make: new (length: number) => T): T {
  // Small columns are many (a task each), large ones are few: they grow by half.
  const length =
    old.length < 65_536 ? Math.max(FIRST, old.length * 2) : Math.ceil(old.length * 1.5);
  const data = new make(length);
  data.set(old);
  return data;
}

/** Hash to number, with open addressing: 48 bytes an entry at most, and nothing for the garbage collector. */
export class HashIndex {
  /** Key and value side by side: what is found costs one access to memory. */
  #slots: Float64Array;
  #mask: number;
  #size = 0;

  constructor(expected = 512) {
    let capacity = 1024;
    while (capacity * MOST_FILLED < expected) capacity *= 2;
    this.#slots = emptySlots(capacity);
    this.#mask = capacity - 1;
  }

  /** The number of that hash, or -1. */
  get(hash: number): number {
    const slots = this.#slots;
    let at = placeOf(hash) & this.#mask;
    while (slots[2 * at] !== hash) {
      if (slots[2 * at + 1] === -1) return -1;
      at = (at + 1) & this.#mask;
    }
    return slots[2 * at + 1] as number;
  }

  set(hash: number, value: number): void {
    const slots = this.#slots;
    let at = placeOf(hash) & this.#mask;
    while (slots[2 * at + 1] !== -1 && slots[2 * at] !== hash) at = (at + 1) & this.#mask;
    if (slots[2 * at + 1] === -1) this.#size += 1;
    slots[2 * at] = hash;
    slots[2 * at + 1] = value;
    if (this.#size > (this.#mask + 1) * MOST_FILLED) this.#grow();
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = emptySlots(old.length);
    this.#mask = old.length - 1;
    this.#size = 0;
    for (let at = 0; at < old.length; at += 2) {
      if (old[at + 1] !== -1) this.set(old[at] as number, old[at + 1] as number);
    }
  }
}

const MOST_FILLED = 2 / 3;

function emptySlots(capacity: number): Float64Array {
  return new Float64Array(2 * capacity).fill(-1);
}

function placeOf(hash: number): number {
  return (hash | 0) ^ (hash / 0x100_0000);
}
