/**
 * Durations as a histogram: 16 buckets per power of two, so that a percentile is at most 1/32 off,
 * in memory that does not grow with the number of calls. Not for negative values.
 */

/** Buckets for 0 .. 2^53. */
export const BUCKETS = (53 - 4 + 2) * 16;

/** The bucket of a duration in nanoseconds. */
export function bucketOf(nanos: number): number {
  if (nanos < 16) return nanos > 0 ? nanos | 0 : 0;
  if (nanos < 0x4000_0000) {
    const shift = 27 - Math.clz32(nanos);
    return (shift << 4) + ((nanos >>> shift) | 0);
  }
  // Exact division by a power of two, then the same.
  let value = nanos;
  let shift = 0;
  while (value >= 0x4000_0000) {
    value /= 65536;
    shift += 16;
  }
  const rest = Math.floor(value);
  const own = 27 - Math.clz32(rest);
  return own >= 0 ? ((shift + own) << 4) + (rest >>> own) : (shift << 4) + rest;
}

/** Smallest duration of the bucket. */
export function bucketStart(bucket: number): number {
  if (bucket < 32) return bucket;
  const shift = (bucket >> 4) - 1;
  return (16 + (bucket & 15)) * 2 ** shift;
}

/** Calls of one kind: how many, how long. */
export class Durations {
  count = 0;
  total = 0;
  min = Number.POSITIVE_INFINITY;
  max = 0;
  /** Counts of the buckets `#first` .. */
  #counts = new Uint32Array(0);
  #first = 0;

  add(nanos: number): void {
    this.count += 1;
    this.total += nanos;
    if (nanos < this.min) this.min = nanos;
    if (nanos > this.max) this.max = nanos;
    const bucket = bucketOf(nanos);
    const at = bucket - this.#first;
    const old = this.#counts[at];
    if (old === undefined) this.#grow(bucket);
    else this.#counts[at] = old + 1;
  }

  /** Adds durations that were counted elsewhere: how many of them each bucket has, from the first one on. */
  addCounted(
    counted: Pick<Durations, "count" | "total" | "min" | "max">,
    buckets: Uint32Array,
  ): void {
    this.count += counted.count;
    this.total += counted.total;
    this.min = Math.min(this.min, counted.min);
    this.max = Math.max(this.max, counted.max);
    for (let bucket = 0; bucket < buckets.length; bucket++) {
      const more = buckets[bucket] ?? 0;
      if (more === 0) continue;
      const at = bucket - this.#first;
      const old = this.#counts[at];
      if (old === undefined) this.#grow(bucket, more);
      else this.#counts[at] = old + more;
    }
  }

  #grow(bucket: number, count = 1): void {
    const { length } = this.#counts;
    const first = Math.max(0, Math.min(length === 0 ? bucket : this.#first, bucket) - 16);
    const end = Math.max(length === 0 ? 0 : this.#first + length, bucket + 1) + 16;
    const wider = new Uint32Array(end - first);
    wider.set(this.#counts, length === 0 ? 0 : this.#first - first);
    this.#counts = wider;
    this.#first = first;
    const at = bucket - first;
    this.#counts[at] = (this.#counts[at] ?? 0) + count;
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.total / this.count;
  }

  /** The duration that a share of the calls (0 to 1) does not exceed: middle of its bucket. */
  percentile(share: number): number {
    if (this.count === 0) return 0;
    const rank = Math.max(1, Math.ceil(share * this.count));
    let seen = 0;
    for (let at = 0; at < this.#counts.length; at++) {
      seen += this.#counts[at] ?? 0;
      if (seen < rank) continue;
      const bucket = this.#first + at;
      const middle = (bucketStart(bucket) + bucketStart(bucket + 1)) / 2;
      return Math.min(this.max, Math.max(this.min, bucket < 32 ? bucketStart(bucket) : middle));
    }
    return this.max;
  }

  /** Counts per power of two, from the first to the last that occurs. */
  octaves(): { from: number; to: number; count: number }[] {
    const counts = new Map<number, number>();
    for (let at = 0; at < this.#counts.length; at++) {
      const count = this.#counts[at] ?? 0;
      if (count === 0) continue;
      const octave = Math.floor(Math.log2(Math.max(1, bucketStart(this.#first + at))));
      counts.set(octave, (counts.get(octave) ?? 0) + count);
    }
    if (counts.size === 0) return [];
    const bars: { from: number; to: number; count: number }[] = [];
    for (let octave = Math.min(...counts.keys()); octave <= Math.max(...counts.keys()); octave++) {
      const from = octave === 0 ? 0 : 2 ** octave;
      bars.push({ from, to: 2 ** (octave + 1), count: counts.get(octave) ?? 0 });
    }
    return bars;
  }
}
