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
function grown<T extends Float64Array | Int32Array | Uint32Array>(
  old: T,
  make: new (length: number) => T,
): T {
  // Small columns are many (a task each), large ones are few: they grow by half.
  const length =
    old.length < 65_536 ? Math.max(FIRST, old.length * 2) : Math.ceil(old.length * 1.5);
  const data = new make(length);
  data.set(old);
  return data;
}

/**
 * Hash to number: an entry for each, in the order in which they were set, and a table that finds them. 36 bytes an entry while
 * nothing is set aside to grow into, and nothing for the garbage collector.
 *
 * A program that looks at many files mostly does so in the same order again. So the entry behind the one that was found last is
 * tried before the table, of which every look-up is at another place in memory.
 */
export class HashIndex {
  /** By place: low word of the hash, and number of the entry plus 1, or 0. */
  #slots: Int32Array;
  #mask: number;
  /** Of the entries. What is set aside has the hash NaN, which no other equals. */
  #hashes: Float64Array;
  #values: Int32Array;
  #size = 0;
  /** The entry that was found or set last. */
  #last = 0;

  constructor(expected = 512) {
    let capacity = 1024;
    while (capacity * MOST_FILLED < expected) capacity *= 2;
    this.#slots = new Int32Array(2 * capacity);
    this.#mask = capacity - 1;
    this.#hashes = new Float64Array(Math.max(FIRST, expected) + 1).fill(Number.NaN);
    this.#values = new Int32Array(this.#hashes.length);
  }

  /** The number of that hash, or -1. */
  get(hash: number): number {
    const last = this.#last;
    if (this.#hashes[last] === hash) return this.#values[last] as number;
    // There is always one more than there are entries.
    if (this.#hashes[last + 1] === hash) {
      this.#last = last + 1;
      return this.#values[last + 1] as number;
    }
    const entry = this.#find(hash);
    if (entry < 0) return -1;
    this.#last = entry;
    return this.#values[entry] as number;
  }

  /** `value`: 0 to 2^31 - 1. */
  set(hash: number, value: number): void {
    const known = this.#find(hash);
    const entry = known < 0 ? this.#add(hash) : known;
    this.#values[entry] = value;
    this.#last = entry;
  }

  /** The entry of a hash, or -1. */
  #find(hash: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    const low = hash | 0;
    for (let at = placeOf(hash) & mask; ; at = (at + 1) & mask) {
      const entry = (slots[2 * at + 1] as number) - 1;
      if (entry < 0 || (slots[2 * at] === low && this.#hashes[entry] === hash)) return entry;
    }
  }

  #add(hash: number): number {
    const entry = this.#size++;
    if (this.#size === this.#hashes.length) {
      this.#hashes = grown(this.#hashes, Float64Array).fill(Number.NaN, this.#size);
      this.#values = grown(this.#values, Int32Array);
    }
    this.#hashes[entry] = hash;
    if (this.#size > (this.#mask + 1) * MOST_FILLED) this.#spread();
    else this.#place(hash, entry);
    return entry;
  }

  #place(hash: number, entry: number): void {
    const slots = this.#slots;
    let at = placeOf(hash) & this.#mask;
    while (slots[2 * at + 1] !== 0) at = (at + 1) & this.#mask;
    slots[2 * at] = hash | 0;
    slots[2 * at + 1] = entry + 1;
  }

  /** A table of twice the size. */
  #spread(): void {
    this.#slots = new Int32Array(2 * this.#slots.length);
    this.#mask = this.#slots.length / 2 - 1;
    for (let entry = 0; entry < this.#size; entry++) {
      this.#place(this.#hashes[entry] as number, entry);
    }
  }
}

const MOST_FILLED = 2 / 3;

function placeOf(hash: number): number {
  return (hash | 0) ^ (hash / 0x100_0000);
}
