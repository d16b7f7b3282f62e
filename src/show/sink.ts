/** A growing buffer of UTF-8 text, written piece by piece without making strings. */

const encoder = new TextEncoder();

/** Text as bytes, to be put into sinks many times. */
export function piece(text: string): Uint8Array {
  return encoder.encode(text);
}

const QUOTE = 0x22;
const MINUS = 0x2d;
const ZERO = 0x30;
const BILLION = 1_000_000_000;

/** JSON escapes of ASCII characters; null for those that stand for themselves. */
const ESCAPES: readonly (Uint8Array | null)[] = Array.from({ length: 128 }, (_, code) => {
  const text = JSON.stringify(String.fromCharCode(code)).slice(1, -1);
  return text.length === 1 ? null : piece(text);
});

/** 1 for the ASCII characters that JSON strings hold unescaped. */
const PLAIN = Uint8Array.from({ length: 256 }, (_, code) =>
  code < 128 && ESCAPES[code] === null ? 1 : 0,
);

const HEX = piece("0123456789abcdef");
const BASE64 = piece("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const PADDING = 0x3d;

export class Sink {
  #buffer: Buffer;
  #length = 0;

  constructor(size = 256 * 1024) {
    this.#buffer = Buffer.allocUnsafe(size);
  }

  get length(): number {
    return this.#length;
  }

  /** A copy of what was written since the last time. */
  take(): Buffer {
    const out = Buffer.from(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
    return out;
  }

  /** Drops what was written after that length. */
  truncate(length: number): void {
    this.#length = length;
  }

  /** Makes room for `count` more bytes. */
  #room(count: number): void {
    if (this.#length + count <= this.#buffer.length) return;
    const wider = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + count));
    this.#buffer.copy(wider, 0, 0, this.#length);
    this.#buffer = wider;
  }

  put(bytes: Uint8Array): void {
    const count = bytes.length;
    this.#room(count);
    const buffer = this.#buffer;
    const at = this.#length;
    if (count > 64) {
      buffer.set(bytes, at);
    } else {
      for (let k = 0; k < count; k++) buffer[at + k] = bytes[k] as number;
    }
    this.#length = at + count;
  }

  byte(value: number): void {
    this.#room(1);
    this.#buffer[this.#length++] = value;
  }

  text(text: string): void {
    this.#room(text.length * 3);
    this.#length += this.#buffer.write(text, this.#length, "utf8");
  }

  /** A non-negative integer up to 2^53. */
  uint(value: number): void {
    this.#room(20);
    if (value >= BILLION) {
      const high = Math.floor(value / BILLION);
      if (high >= BILLION) {
        this.text(String(value));
        return;
      }
      this.#digits(high, 0);
      this.#digits(value - high * BILLION, 9);
    } else {
      this.#digits(value, 0);
    }
  }

  int(value: number): void {
    if (value < 0) {
      this.byte(MINUS);
      this.uint(-value);
    } else {
      this.uint(value);
    }
  }

  /** Decimal digits of a number below 10^9, filled with zeros to `width`. */
  #digits(value: number, width: number): void {
    let rest = value | 0;
    let count = 1;
    for (let limit = 10; count < 9 && rest >= limit; limit *= 10) count++;
    if (count < width) count = width;
    const buffer = this.#buffer;
    const start = this.#length;
    for (let at = start + count - 1; at >= start; at--) {
      const next = (rest / 10) | 0;
      buffer[at] = ZERO + rest - next * 10;
      rest = next;
    }
    this.#length = start + count;
  }

  /** `"0x..."` of a 64-bit value that is not 0. */
  address(low: number, high: number): void {
    this.#room(20);
    const buffer = this.#buffer;
    let at = this.#length;
    buffer[at++] = QUOTE;
    buffer[at++] = ZERO;
    buffer[at++] = 0x78;
    let digits = high === 0 ? 8 : 16;
    const nibble = (k: number) => ((k >= 8 ? high >>> (4 * (k - 8)) : low >>> (4 * k)) & 15) >>> 0;
    while (digits > 1 && nibble(digits - 1) === 0) digits--;
    for (let k = digits - 1; k >= 0; k--) buffer[at++] = HEX[nibble(k)] as number;
    buffer[at++] = QUOTE;
    this.#length = at;
  }

  /** The base64 text of bytes. */
  base64(bytes: Uint8Array, from: number, to: number): void {
    this.#room(4 * Math.ceil((to - from) / 3));
    const buffer = this.#buffer;
    let at = this.#length;
    for (let k = from; k < to; k += 3) {
      const first = bytes[k] as number;
      const second = k + 1 < to ? (bytes[k + 1] as number) : 0;
      const third = k + 2 < to ? (bytes[k + 2] as number) : 0;
      buffer[at++] = BASE64[first >> 2] as number;
      buffer[at++] = BASE64[((first & 3) << 4) | (second >> 4)] as number;
      buffer[at++] = k + 1 < to ? (BASE64[((second & 15) << 2) | (third >> 6)] as number) : PADDING;
      buffer[at++] = k + 2 < to ? (BASE64[third & 63] as number) : PADDING;
    }
    this.#length = at;
  }

  /** A JSON string of ASCII bytes; writes nothing and returns false when one is not ASCII. */
  asciiString(bytes: Uint8Array, from: number, to: number): boolean {
    this.#room(6 * (to - from) + 2);
    const buffer = this.#buffer;
    let at = this.#length;
    buffer[at++] = QUOTE;
    for (let k = from; k < to; k++) {
      const code = bytes[k] as number;
      if (PLAIN[code] === 1) {
        buffer[at++] = code;
        continue;
      }
      const escaped = ESCAPES[code];
      if (escaped === undefined || escaped === null) return false;
      for (let n = 0; n < escaped.length; n++) buffer[at++] = escaped[n] as number;
    }
    buffer[at++] = QUOTE;
    this.#length = at;
    return true;
  }
}
