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

/** Hash to number, with open addressing: 24 bytes an entry at most, and nothing for the garbage collector. */
export class HashIndex {
  #keys: Float64Array;
  #values: Int32Array;
  #size = 0;

  constructor(expected = 512) {
    let capacity = 1024;
    while (capacity < expected * 2) capacity *= 2;
    this.#keys = new Float64Array(capacity);
    this.#values = new Int32Array(capacity).fill(-1);
  }

  /** The number of that hash, or -1. */
  get(hash: number): number {
    return this.#values[this.#place(hash)] as number;
  }

  set(hash: number, value: number): void {
    const place = this.#place(hash);
    if (this.#values[place] === -1) this.#size += 1;
    this.#keys[place] = hash;
    this.#values[place] = value;
    if (this.#size * 2 > this.#keys.length) this.#grow();
  }

  /** Where the hash stands, or would. */
  #place(hash: number): number {
    const mask = this.#keys.length - 1;
    let at = ((hash | 0) ^ (hash / 0x100_0000)) & mask;
    while (this.#values[at] !== -1 && this.#keys[at] !== hash) at = (at + 1) & mask;
    return at;
  }

  #grow(): void {
    const keys = this.#keys;
    const values = this.#values;
    this.#keys = new Float64Array(keys.length * 2);
    this.#values = new Int32Array(keys.length * 2).fill(-1);
    for (let at = 0; at < keys.length; at++) {
      if (values[at] === -1) continue;
      const place = this.#place(keys[at] as number);
      this.#keys[place] = keys[at] as number;
      this.#values[place] = values[at] as number;
    }
  }
}
