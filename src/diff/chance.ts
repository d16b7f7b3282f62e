/**
 * Bytes of two versions of an event, side by side: is all that differs in them chance? Values that the kernel, the clock or a random
 * generator chose are taken out in pairs, each where the other stands, so that a number that both runs have is itself, whatever it is
 * the number of in one of them.
 *
 * What looks random is chance only in what a traced process put out, and where that arrives again. Bytes from outside are compared.
 */

import { createHash } from "node:crypto";
import type { CanonicalTexts } from "./canon/texts.js";
import type { RuleSet } from "./rules.js";

/** What each trace knows of the values in its bytes. */
export interface ChanceSide {
  readonly texts: CanonicalTexts;
  /** Which process an id stands for, the same number in both traces. */
  readonly processes: ReadonlyMap<number, number>;
  /** Numbers of the inodes that it was told, their low 32 bits. */
  readonly inodes: ReadonlySet<number>;
  /** When the recording began and ended, in seconds since 1970. */
  readonly from: number;
  readonly to: number;
}

/** Where bytes come from: a traced process makes them, or they come from one, or from outside of the trace. */
export type Source = "made" | "inside" | "outside";

/** Bytes that are looked through. */
const MOST_COMPARED = 2 << 20;
/** Bytes that are no text in which temporary names are looked for, each of thousands perhaps. */
const MOST_NAMED = 256 << 10;
/** What processes made that looks random, kept to be known again. */
const MOST_KEPT = 16 << 20;
/** As long as there is no more of it, parts of it are known again too. */
const MOST_SEARCHED = 1 << 20;
/** Of those that begin alike, so many. */
const MOST_ALIKE = 8;
/** A region of random bytes is at least so long, and this many equal bytes end it. */
const LEAST_RANDOM = 8;
const LEAST_EQUAL = 4;
/** Letters and digits that differ in a random word. */
const LEAST_WORD = 12;
/** Smaller numbers are of other things too. */
const LEAST_PID = 256;
const LEAST_INODE = 65_536;
/** Share of a random word that may be equal. */
const MOST_EQUAL = 2 / 5;
/** Seconds by which a program's clock may be off. */
const OFF = 2;

export class Chance {
  readonly #rules: RuleSet;
  readonly #a: ChanceSide;
  readonly #b: ChanceSide;
  /** What was made in the first trace, and what in the second. */
  readonly #made = new Map<string, Buffer>();
  /** Of the former those that begin alike. */
  readonly #begun = new Map<string, readonly string[]>();
  #kept = 0;

  constructor(rules: RuleSet, a: ChanceSide, b: ChanceSide) {
    this.#rules = rules;
    this.#a = a;
    this.#b = b;
  }

  /** True when chance is all that the bytes differ in. `sorted`: the order of lines does not matter. */
  explains(a: Buffer, b: Buffer, source: Source, sorted: boolean): boolean {
    if (a.length > MOST_COMPARED || b.length > MOST_COMPARED) return false;
    const one = linesOf(a, sorted ? this.#a.texts : undefined);
    const other = linesOf(b, sorted ? this.#b.texts : undefined);
    if (one.length === other.length) {
      if (one.every((line, k) => this.#sameText(line, other[k] ?? "", source))) return true;
    }
    if (source === "outside") return false;
    if (a.length === b.length && this.#sameBytes(a, b, source)) return true;
    if (a.length > MOST_NAMED || b.length > MOST_NAMED) return false;
    const [named, otherNamed] = [unnamed(a, this.#a.texts), unnamed(b, this.#b.texts)];
    const isNamed = !named.equals(a) || !otherNamed.equals(b);
    return (
      isNamed && named.length === otherNamed.length && this.#sameBytes(named, otherNamed, source)
    );
  }

  /** True when chance is all that two words of a call differ in. */
  sameWords(a: string, b: string): boolean {
    if (a === b) return true;
    return this.#samePieces(this.#a.texts.words(a, false), this.#b.texts.words(b, false), "made");
  }

  #sameText(a: string, b: string, source: Source): boolean {
    if (a === b) return true;
    const isInput = source === "outside";
    const one = isInput ? this.#a.texts.words(a, false) : this.#a.texts.prose(a, false);
    const other = isInput ? this.#b.texts.words(b, false) : this.#b.texts.prose(b, false);
    return this.#samePieces(one, other, source);
  }

  /** Word by word. */
  #samePieces(a: string, b: string, source: Source): boolean {
    if (a === b) return true;
    const one = a.split(WORDS);
    const other = b.split(WORDS);
    if (one.length !== other.length) return false;
    return one.every((word, k) => this.#sameWord(word, other[k] ?? "", source));
  }

  #sameWord(a: string, b: string, source: Source): boolean {
    if (a === b || this.#sameNumbers(a, b)) return true;
    if (!this.#rules.has("random") || source === "outside" || !areRandom(a, b)) return false;
    return this.#isMade(Buffer.from(a, "latin1"), Buffer.from(b, "latin1"), source);
  }

  /** Process ids and ports, each where the other has one. */
  #sameNumbers(a: string, b: string): boolean {
    const one = a.split(/(\d+)/);
    const other = b.split(/(\d+)/);
    return (
      one.length === other.length &&
      one.every((part, k) => {
        const own = other[k] ?? "";
        if (part === own) return true;
        const stands = this.#a.texts.number(part);
        return stands !== part && stands === this.#b.texts.number(own);
      })
    );
  }

  /** What looks random is so where it was made, and known again where it arrives. */
  #isMade(a: Buffer, b: Buffer, source: Source): boolean {
    const key = a.toString("latin1");
    if (source === "made") {
      if (this.#kept + a.length <= MOST_KEPT) {
        this.#made.set(key, b);
        const begin = beginOf(a);
        this.#begun.set(begin, [...(this.#begun.get(begin) ?? []), key].slice(-MOST_ALIKE));
        this.#kept += a.length;
      }
      return true;
    }
    if (this.#made.get(key)?.equals(b) === true) return true;
    if (this.#kept > MOST_SEARCHED) return false;
    for (const [one, other] of this.#made) {
      const at = one.indexOf(key);
      if (at >= 0 && other.subarray(at, at + b.length).equals(b)) return true;
    }
    return false;
  }

  /** Numbers, addresses and random bytes in what is no text. */
  #sameBytes(a: Buffer, b: Buffer, source: Source): boolean {
    if (!this.#rules.has("numbers-in-text")) return false;
    for (let at = 0; at < a.length; ) {
      if (a[at] === b[at]) {
        at += 1;
        continue;
      }
      const end = this.#valueEnd(a, b, at) || this.#randomEnd(a, b, at, source);
      if (end > 0) at = end;
      else return isDigest(a, at) && isDigest(b, at);
    }
    return true;
  }

  /** Behind the number or address in which the byte stands, or 0. */
  #valueEnd(a: Buffer, b: Buffer, at: number): number {
    for (let from = at; from >= Math.max(0, at - 7); from--) {
      if (
        from + 8 <= a.length &&
        (this.#areAddresses(a, b, from) || this.#areLongTimes(a, b, from))
      )
        return from + 8;
      if (at - from < 4 && from + 4 <= a.length && this.#areWords(a, b, from)) return from + 4;
    }
    return 0;
  }

  /** Process ids of one process, inodes, and seconds of the run, in either order of bytes; behind such seconds their nanoseconds. */
  #areWords(a: Buffer, b: Buffer, from: number): boolean {
    for (const read of ["readUInt32LE", "readUInt32BE"] as const) {
      const [one, other] = [a[read](from), b[read](from)];
      if (this.#rules.has("pids") && this.#areOneProcess(one, other)) return true;
      if (this.#rules.has("inodes") && this.#areInodes(one, other)) return true;
      if (!this.#rules.has("times")) continue;
      if (this.#areNow(one, other)) return true;
      const before = from >= 8 ? [from - 4, from - 8] : from >= 4 ? [from - 4] : [];
      const isBehind = before.some((at) => this.#areNow(a[read](at), b[read](at)));
      if (isBehind && one < NANOS && other < NANOS) return true;
    }
    return false;
  }

  #areOneProcess(a: number, b: number): boolean {
    if (a < LEAST_PID || b < LEAST_PID) return false;
    const process = this.#a.processes.get(a);
    return process !== undefined && process === this.#b.processes.get(b);
  }

  #areInodes(a: number, b: number): boolean {
    const isLarge = a >= LEAST_INODE && b >= LEAST_INODE;
    return isLarge && this.#a.inodes.has(a) && this.#b.inodes.has(b);
  }

  #areNow(a: number, b: number): boolean {
    return isIn(a, this.#a) && isIn(b, this.#b);
  }

  /** Times of 64 bits: microseconds and others since the years from which systems count. */
  #areLongTimes(a: Buffer, b: Buffer, from: number): boolean {
    if (!this.#rules.has("times")) return false;
    const read = [
      (data: Buffer) => Number(data.readBigUInt64LE(from)),
      (data: Buffer) => Number(data.readBigUInt64BE(from)),
    ];
    const areSome = read.some((own) => {
      const [one, other] = [own(a), own(b)];
      return UNITS.some((unit) =>
        EPOCHS.some((epoch) => this.#areNow(one / unit - epoch, other / unit - epoch)),
      );
    });
    return areSome || this.#areNow(a.readDoubleLE(from), b.readDoubleLE(from));
  }

  /** Addresses of a place in a program's memory: where it was mapped is chance, its page offset is not. */
  #areAddresses(a: Buffer, b: Buffer, from: number): boolean {
    if (!this.#rules.has("addresses")) return false;
    const [one, other] = [a.readBigUInt64LE(from), b.readBigUInt64LE(from)];
    return isAddress(one) && isAddress(other) && ((one ^ other) & 0xfffn) === 0n;
  }

  /** Behind a region that looks random on both sides, or 0. */
  #randomEnd(a: Buffer, b: Buffer, at: number, source: Source): number {
    if (!this.#rules.has("random")) return 0;
    let end = at;
    for (let equal = 0; end < a.length && equal < LEAST_EQUAL; end++) {
      equal = a[end] === b[end] ? equal + 1 : 0;
    }
    while (end > at && a[end - 1] === b[end - 1]) end -= 1;
    const [one, other] = [a.subarray(at, end), b.subarray(at, end)];
    if (!looksRandom(one) || !looksRandom(other)) return 0;
    if (this.#isMade(one, other, source)) return end;
    // Several that were made one by one arrive as one.
    for (const key of this.#begun.get(beginOf(one)) ?? []) {
      const length = key.length;
      const isFirst = one.subarray(0, length).equals(Buffer.from(key, "latin1"));
      const same = this.#made.get(key)?.equals(other.subarray(0, length)) === true;
      if (isFirst && same) return at + length;
    }
    return 0;
  }
}

const WORDS = /([A-Za-z0-9+/=_.~-]+)/;
const NANOS = 1_000_000_000;
/** Of 64-bit times, in parts of a second. */
const UNITS = [1, 1e3, 1e6, 1e9];
/** Seconds from the beginnings of 1970, 1601, 1904 and 2000 to that of 1970. */
const EPOCHS = [0, 11_644_473_600, 2_082_844_800, -946_684_800];

function isIn(seconds: number, { from, to }: ChanceSide): boolean {
  return seconds >= from - OFF && seconds <= to + OFF;
}

function isAddress(value: bigint): boolean {
  return value >= 0x5500_0000_0000n && value < 0x8000_0000_0000n;
}

/** Bytes with what stands for temporary names in their place: what is no text has such names in it too. */
function unnamed(data: Buffer, texts: CanonicalTexts): Buffer {
  return Buffer.from(texts.words(data.toString("latin1"), false), "latin1");
}

/** Lines; sorted by what rules make of them, where their order does not matter. */
function linesOf(data: Buffer, sorted: CanonicalTexts | undefined): string[] {
  const lines = data.toString("latin1").split("\n");
  if (sorted === undefined) return lines;
  const keyed = lines.map((line) => ({ line, key: sorted.prose(line) }));
  keyed.sort((x, y) => (x.key < y.key ? -1 : x.key > y.key ? 1 : 0));
  return keyed.map(({ line }) => line);
}

/** Ids, cookies, sums: what differs of two words is long, has letters and digits, and little in it is equal: a clock may have a part in it. */
function areRandom(a: string, b: string): boolean {
  let from = 0;
  while (from < a.length && from < b.length && a[from] === b[from]) from += 1;
  let end = 0;
  const most = Math.min(a.length, b.length) - from;
  while (end < most && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const one = a.slice(from, a.length - end);
  const other = b.slice(from, b.length - end);
  if (one.length < LEAST_WORD || other.length < LEAST_WORD) return false;
  if (/^\d+$/.test(one) && /^\d+$/.test(other)) return true;
  if (one.length !== other.length || !isMixed(one) || !isMixed(other)) return false;
  let equal = 0;
  for (let k = 0; k < one.length; k++) if (one[k] === other[k]) equal += 1;
  return equal <= one.length * MOST_EQUAL;
}

/** Hexadecimal, or letters of both cases and digits that change places more often than in a name. */
function isMixed(word: string): boolean {
  if (/^(?:[0-9a-f]+|[0-9A-F]+)$/.test(word)) return /\d/.test(word) && /[a-f]/i.test(word);
  let changes = 0;
  for (let k = 1; k < word.length; k++) {
    const [before, here] = [kindOf(word.charCodeAt(k - 1)), kindOf(word.charCodeAt(k))];
    if (before !== here && before < OTHER && here < OTHER) changes += 1;
  }
  return changes >= word.length / 3;
}

const OTHER = 3;

function kindOf(unit: number): number {
  if (unit >= 0x30 && unit <= 0x39) return 0;
  if (unit >= 0x61 && unit <= 0x7a) return 1;
  return unit >= 0x41 && unit <= 0x5a ? 2 : OTHER;
}

function beginOf(data: Buffer): string {
  return data.toString("latin1", 0, LEAST_RANDOM);
}

/** Most values are there once, as of bytes that are drawn; and they are no text. */
function looksRandom(data: Buffer): boolean {
  if (data.length < LEAST_RANDOM) return false;
  const seen = new Set(data);
  const expected = 256 * (1 - (255 / 256) ** data.length);
  const text = data.filter((byte) => byte >= 0x20 && byte < 0x7f).length;
  return seen.size >= 0.8 * expected && text <= 0.75 * data.length;
}

/** The last bytes are a checksum of all before them. */
function isDigest(data: Buffer, at: number): boolean {
  for (const [size, sum] of DIGESTS) {
    const from = data.length - size;
    if (from <= at && from > 0 && sum(data.subarray(0, from)).equals(data.subarray(from)))
      return true;
  }
  return false;
}

const hash = (name: string) => (data: Buffer) => createHash(name).update(data).digest();
const DIGESTS: readonly (readonly [size: number, sum: (data: Buffer) => Buffer])[] = [
  [32, hash("sha256")],
  [20, hash("sha1")],
  [16, hash("md5")],
];
