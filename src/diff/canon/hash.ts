/**
 * Hashes of 53 bits, kept as numbers: two lanes of 32 bits that are mixed apart. Not cryptographic. Equal hashes stand
 * for equal contents; by chance two of a hundred million differing events meet once in some two thousand comparisons of traces.
 */

import { textBytes } from "../../trace/byte_text.js";
import { CRC32, CRC32C } from "./crc.js";

const LANE_A = 0x9e37_79b1;
const LANE_B = 0x85eb_ca77;
const MIX_A = 0xc2b2_ae3d;
const MIX_B = 0x27d4_eb2f;

/** From so many bytes on, a view of the buffer costs less than putting words together. */
const LONG = 64;
/** Of the buffer that was read last: a batch has its bytes in one. */
let viewed: DataView = new DataView(new ArrayBuffer(0));

/** The hash of no words at all. */
export class Hasher {
  #a = LANE_A | 0;
  #b = LANE_B | 0;

  reset(): this {
    this.#a = LANE_A | 0;
    this.#b = LANE_B | 0;
    return this;
  }

  /** 32 bits. */
  word(value: number): this {
    let a = this.#a ^ value;
    a = Math.imul(a, MIX_A);
    this.#a = (((a << 13) | (a >>> 19)) + LANE_B) | 0;
    let b = (this.#b + value) | 0;
    b = Math.imul(b ^ (b >>> 15), MIX_B);
    this.#b = ((b << 17) | (b >>> 15)) ^ LANE_A;
    return this;
  }

  /** A hash, or any other number up to 2^53. */
  number(value: number): this {
    return this.word(value | 0).word(Math.floor(value / 0x1_0000_0000) | 0);
  }

  bytes(data: Uint8Array, from = 0, to = data.length): this {
    let at = from;
    if (to - from >= LONG) {
      at = this.words(data, from, to);
    } else {
      for (; at + 4 <= to; at += 4) {
        this.word(
          (data[at] as number) |
            ((data[at + 1] as number) << 8) |
            ((data[at + 2] as number) << 16) |
            ((data[at + 3] as number) << 24),
        );
      }
    }
    return this.rest(data, at, to, to - from);
  }

  /** As `bytes` where `words` has put in all but the last of `length` bytes. */
  rest(data: Uint8Array, from: number, to: number, length: number): this {
    let rest = 0;
    for (let at = from, shift = 0; at < to; at++, shift += 8) rest |= (data[at] as number) << shift;
    return this.word(rest).word(length);
  }

  /** What the other one is now. */
  from(other: Hasher): this {
    this.#a = other.#a;
    this.#b = other.#b;
    return this;
  }

  /** As `word` with every four bytes from `from` on, little-endian, as many as end by `to`; returns where those end. */
  words(data: Uint8Array, from: number, to: number): number {
    if (data.buffer !== viewed.buffer) viewed = new DataView(data.buffer);
    const view = viewed;
    const start = data.byteOffset + from;
    const end = start + ((to - from) & ~3);
    let lane = this.#a;
    let other = this.#b;
    for (let at = start; at < end; at += 4) {
      const value = view.getInt32(at, true);
      const a = Math.imul(lane ^ value, MIX_A);
      lane = (((a << 13) | (a >>> 19)) + LANE_B) | 0;
      const sum = (other + value) | 0;
      const b = Math.imul(sum ^ (sum >>> 15), MIX_B);
      other = ((b << 17) | (b >>> 15)) ^ LANE_A;
    }
    this.#a = lane;
    this.#b = other;
    return from + ((to - from) & ~3);
  }

  /** Text of any characters, as its UTF-16 units; equal to `bytes` of it for ASCII. */
  ascii(text: string): this {
    const { length } = text;
    let at = 0;
    for (; at + 4 <= length; at += 4) {
      this.word(
        text.charCodeAt(at) |
          (text.charCodeAt(at + 1) << 8) |
          (text.charCodeAt(at + 2) << 16) |
          (text.charCodeAt(at + 3) << 24),
      );
    }
    let rest = 0;
    for (let shift = 0; at < length; at++, shift += 8) rest |= text.charCodeAt(at) << shift;
    return this.word(rest).word(length);
  }

  /** The hash of all that was put in; more may follow. */
  get value(): number {
    const a = finish(this.#a);
    const b = finish(this.#b ^ a);
    return (b & 0x1f_ffff) * 0x1_0000_0000 + (a >>> 0);
  }
}

function finish(lane: number): number {
  let x = lane ^ (lane >>> 16);
  x = Math.imul(x, 0x85eb_ca6b);
  x ^= x >>> 13;
  x = Math.imul(x, 0xc2b2_ae35);
  return x ^ (x >>> 16);
}

const shared = new Hasher();

/** Hash of a text as its UTF-8 bytes. */
export function textHash(text: string): number {
  for (let at = 0; at < text.length; at++) {
    if (text.charCodeAt(at) > 127) return bytesHash(textBytes(text));
  }
  return shared.reset().ascii(text).value;
}

export function bytesHash(data: Uint8Array, from = 0, to = data.length): number {
  return shared.reset().bytes(data, from, to).value;
}

/** One hash of several, in their order. */
export function mixed(...hashes: readonly number[]): number {
  shared.reset();
  for (const hash of hashes) shared.number(hash);
  return shared.value;
}

/** As `mixed` of two. */
export function mixed2(a: number, b: number): number {
  return shared.reset().number(a).number(b).value;
}

/**
 * Hash of bytes that come in pieces, however they were cut: what a program reads or writes in several calls is the same
 * stream as in one. Pieces are known by their CRC-32 and CRC-32C.
 */
export class StreamHash {
  #crc32 = 0;
  #crc32c = 0;
  /** Bytes so far. */
  length = 0;

  add(crc32: number, crc32c: number, length: number): void {
    if (length === 0) return;
    const isFirst = this.length === 0;
    this.#crc32 = isFirst ? crc32 : CRC32.join(this.#crc32, crc32, length);
    this.#crc32c = isFirst ? crc32c : CRC32C.join(this.#crc32c, crc32c, length);
    this.length += length;
  }

  get value(): number {
    return shared.reset().word(this.#crc32).word(this.#crc32c).number(this.length).value;
  }
}
