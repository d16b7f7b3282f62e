/**
 * Protocol buffers, written field by field into one growing buffer (protobuf.dev, "Encoding").
 *
 * This is a writer for streams of small messages, not a schema compiler: who calls it knows numbers and types of the
 * fields. Nothing is allocated per field, and 64-bit values are taken as the pairs of words that batches hold.
 */

const SIZE = 256 * 1024;

/** Wire types. */
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;

const utf8 = new TextEncoder();

export class ProtoWriter {
  #bytes = new Uint8Array(SIZE);
  #length = 0;

  /** Bytes written since the last `take`. */
  get length(): number {
    return this.#length;
  }

  /** What was written since the last time, as a copy. Every message must be closed. */
  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return taken;
  }

  #room(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(2 * (this.#length + count));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }

  /** An unsigned number up to 2^53 - 1; the caller has made room for ten bytes. */
  #varint(value: number): void {
    const bytes = this.#bytes;
    let rest = value;
    let at = this.#length;
    while (rest > 0x7fff_ffff) {
      bytes[at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest > 0x7f) {
      bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[at++] = rest;
    this.#length = at;
  }

  #tag(field: number, wire: number): void {
    this.#varint(field * 8 + wire);
  }

  /** `uint64`, `uint32`, enums, `bool`: a number up to 2^53 - 1. */
  uint(field: number, value: number): void {
    this.#room(20);
    this.#tag(field, VARINT);
    this.#varint(value);
  }

  /** `uint64` or `int64` as two unsigned words. */
  words(field: number, low: number, high: number): void {
    this.#room(20);
    this.#tag(field, VARINT);
    const bytes = this.#bytes;
    let at = this.#length;
    let lo = low >>> 0;
    let hi = high >>> 0;
    while (hi !== 0 || lo > 0x7f) {
      bytes[at++] = (lo & 0x7f) | 0x80;
      lo = ((lo >>> 7) | (hi << 25)) >>> 0;
      hi >>>= 7;
    }
    bytes[at++] = lo;
    this.#length = at;
  }

  /** `int64` or `uint64`; what is beyond 64 bits is cut off. */
  int(field: number, value: number | bigint): void {
    if (typeof value === "bigint") {
      const word = BigInt.asUintN(64, value);
      this.words(field, Number(word & 0xffff_ffffn), Number(word >> 32n));
    } else if (value >= 0) {
      this.uint(field, value);
    } else {
      // Two's complement of a number above -2^53.
      this.words(field, value >>> 0, Math.floor(value / 0x1_0000_0000) >>> 0);
    }
  }

  /** `fixed64` of a number up to 2^53 - 1. */
  fixed64(field: number, value: number): void {
    this.#room(20);
    this.#tag(field, FIXED64);
    let rest = value;
    for (let k = 0; k < 8; k++) {
      this.#bytes[this.#length++] = rest % 256;
      rest = Math.floor(rest / 256);
    }
  }

  bytes(field: number, value: Uint8Array): void {
    this.#room(20 + value.length);
    this.#tag(field, BYTES);
    this.#varint(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** A string as UTF-8; lone surrogates are replaced. */
  string(field: number, text: string): void {
    this.#room(20 + 3 * text.length);
    this.#tag(field, BYTES);
    const mark = this.#length;
    this.#varint(text.length);
    const bytes = this.#bytes;
    let at = this.#length;
    for (let k = 0; k < text.length; k++) {
      const code = text.charCodeAt(k);
      if (code > 0x7f) {
        this.#length = mark;
        this.#encoded(text);
        return;
      }
      bytes[at++] = code;
    }
    this.#length = at;
  }

  /** Length and bytes of a text that is not ASCII. */
  #encoded(text: string): void {
    const data = utf8.encode(text);
    this.#varint(data.length);
    this.#bytes.set(data, this.#length);
    this.#length += data.length;
  }

  /** Begins a message that is a field of another; `close` takes what this returns. */
  open(field: number): number {
    this.#room(12);
    this.#tag(field, BYTES);
    // One byte for the length, which is enough for nearly all messages.
    this.#length += 1;
    return this.#length;
  }

  close(mark: number): void {
    const size = this.#length - mark;
    if (size < 0x80) {
      this.#bytes[mark - 1] = size;
      return;
    }
    let extra = 0;
    for (let rest = size; rest > 0x7f; rest = Math.floor(rest / 128)) extra += 1;
    this.#room(extra);
    this.#bytes.copyWithin(mark + extra, mark, this.#length);
    const end = this.#length + extra;
    this.#length = mark - 1;
    this.#varint(size);
    this.#length = end;
  }
}
