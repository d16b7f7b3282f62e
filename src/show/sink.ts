/**
 * A growing buffer of UTF-8 text, written piece by piece without making strings.
 *
 * What is copied goes four bytes at a time, so a write may touch up to three bytes after its end: there is always room for
 * them, and the next write puts its own bytes there.
 */

/** Bytes that may be touched after the end of what is written. */
const SLACK = 3;

const SIZE = 256 * 1024;

/** Text as bytes, to be put into sinks many times. */
export interface Piece {
  /** Four bytes to a word, the first one lowest; the last word is filled up with zeros. */
  readonly words: Uint32Array;
  /** In bytes. */
  readonly length: number;
}

const encoder = new TextEncoder();

export function piece(text: string): Piece {
  const bytes = encoder.encode(text);
  const words = new Uint32Array((bytes.length + 3) >>> 2);
  new Uint8Array(words.buffer).set(bytes);
  return { words, length: bytes.length };
}

export const QUOTE = 0x22;
const MINUS = 0x2d;
const ZERO = 0x30;
const EIGHT_DIGITS = 100_000_000;

/** JSON escapes of ASCII characters; null for those that stand for themselves. */
const ESCAPES: readonly (Piece | null)[] = Array.from({ length: 128 }, (_, code) => {
  const text = JSON.stringify(String.fromCharCode(code)).slice(1, -1);
  return text.length === 1 ? null : piece(text);
});

/** 1 for the ASCII characters that JSON strings hold unescaped. */
export const PLAIN = Uint8Array.from({ length: 256 }, (_, code) =>
  code < 128 && ESCAPES[code] === null ? 1 : 0,
);

/** Whether four bytes are all ASCII characters that JSON strings hold unescaped. */
function isPlain(word: number): boolean {
  const quote = word ^ 0x2222_2222;
  const backslash = word ^ 0x5c5c_5c5c;
  // In each byte: the sign of `x - n` without that of x says x < n, once a byte with the sign itself is ruled out; what a
  // byte borrows from the next one can only rule out more.
  const odd = word | (word - 0x2020_2020) | (quote - 0x0101_0101) | (backslash - 0x0101_0101);
  return (odd & 0x8080_8080) === 0;
}

const HEX = encoder.encode("0123456789abcdef");

/** Two characters of base64 for each twelve bits, the first one lowest. */
const BASE64 = Uint16Array.from({ length: 4096 }, (_, bits) => {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return digits.charCodeAt(bits >> 6) | (digits.charCodeAt(bits & 63) << 8);
});
const PADDING = 0x3d;

/** The four digits of each number below 10,000, the first one lowest. */
const DIGITS = Uint32Array.from({ length: 10_000 }, (_, value) => {
  const digit = (power: number) => ZERO + (Math.floor(value / power) % 10);
  return digit(1000) | (digit(100) << 8) | (digit(10) << 16) | (digit(1) << 24);
});

export class Sink {
  #buffer = Buffer.allocUnsafeSlow(SIZE);
  #view = viewOf(this.#buffer);
  /** Of the buffer, without the slack. */
  #capacity = SIZE - SLACK;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** What was written since the last time. The memory is no longer the sink's. */
  take(): Buffer {
    const out = this.#buffer.subarray(0, this.#length);
    this.#allocate(SIZE);
    this.#length = 0;
    return out;
  }

  #allocate(size: number): void {
    this.#buffer = Buffer.allocUnsafeSlow(size);
    this.#view = viewOf(this.#buffer);
    this.#capacity = size - SLACK;
  }

  /** Drops what was written after that length. */
  truncate(length: number): void {
    this.#length = length;
  }

  /** Makes room for `count` more bytes and the slack. */
  #room(count: number): void {
    if (this.#length + count > this.#capacity) this.#grow(count);
  }

  #grow(count: number): void {
    const old = this.#buffer;
    this.#allocate(Math.max(old.length * 2, this.#length + count + SLACK));
    old.copy(this.#buffer, 0, 0, this.#length);
  }

  put(piece: Piece): void {
    this.words(piece.words, 0, piece.length);
  }

  /** `length` bytes that begin at word `from`. */
  words(words: Uint32Array, from: number, length: number): void {
    this.#room(length);
    const view = this.#view;
    const start = this.#length;
    for (let at = 0, k = from; at < length; at += 4, k++) {
      view.setUint32(start + at, words[k] as number, true);
    }
    this.#length = start + length;
  }

  byte(value: number): void {
    this.#room(1);
    this.#buffer[this.#length++] = value;
  }

  text(text: string): void {
    this.#room(text.length * 3);
    this.#length += this.#buffer.write(text, this.#length, "utf8");
  }

  /** A non-negative integer; beyond 2^53 as JavaScript writes it. */
  uint(value: number): void {
    this.#room(20);
    if (value < EIGHT_DIGITS) {
      this.#leading(value | 0);
    } else if (value > Number.MAX_SAFE_INTEGER) {
      this.text(String(value));
    } else {
      const high = Math.floor(value / EIGHT_DIGITS);
      this.#leading(high | 0);
      this.#eight((value - high * EIGHT_DIGITS) | 0);
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

  /** A number of at most eight digits, without leading zeros. */
  #leading(value: number): void {
    if (value < 10_000) {
      this.#few(value);
    } else {
      const high = (value / 10_000) | 0;
      this.#few(high);
      this.#view.setUint32(this.#length, DIGITS[value - high * 10_000] as number, true);
      this.#length += 4;
    }
  }

  /** A number of at most four digits, without leading zeros. */
  #few(value: number): void {
    const zeros = value < 100 ? (value < 10 ? 3 : 2) : value < 1000 ? 1 : 0;
    this.#view.setUint32(this.#length, (DIGITS[value] as number) >>> (8 * zeros), true);
    this.#length += 4 - zeros;
  }

  /** Eight digits, with leading zeros. */
  #eight(value: number): void {
    const high = (value / 10_000) | 0;
    this.#view.setUint32(this.#length, DIGITS[high] as number, true);
    this.#view.setUint32(this.#length + 4, DIGITS[value - high * 10_000] as number, true);
    this.#length += 8;
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
    const view = this.#view;
    let at = this.#length;
    let k = from;
    for (; k + 2 < to; k += 3) {
      const second = bytes[k + 1] as number;
      const first = ((bytes[k] as number) << 4) | (second >> 4);
      view.setUint16(at, BASE64[first] as number, true);
      const last = ((second & 15) << 8) | (bytes[k + 2] as number);
      view.setUint16(at + 2, BASE64[last] as number, true);
      at += 4;
    }
    if (k < to) {
      const second = k + 1 < to ? (bytes[k + 1] as number) : 0;
      const first = ((bytes[k] as number) << 4) | (second >> 4);
      view.setUint16(at, BASE64[first] as number, true);
      view.setUint16(at + 2, BASE64[(second & 15) << 8] as number, true);
      if (k + 1 === to) view.setUint8(at + 2, PADDING);
      view.setUint8(at + 3, PADDING);
      at += 4;
    }
    this.#length = at;
  }

  /** A JSON string of ASCII bytes; writes nothing and returns false when one is not ASCII. */
  asciiString(bytes: DataView, from: number, to: number): boolean {
    return this.#ascii(bytes, from, to, -1) >= 0;
  }

  /**
   * A JSON string of the ASCII bytes before the first NUL, or before `to`. Returns where it ended; writes nothing and returns
   * -1 when one is not ASCII.
   */
  asciiText(bytes: DataView, from: number, to: number): number {
    return this.#ascii(bytes, from, to, 0);
  }

  #ascii(bytes: DataView, from: number, to: number, end: number): number {
    this.#room(6 * (to - from) + 2);
    const buffer = this.#buffer;
    const view = this.#view;
    let at = this.#length;
    buffer[at++] = QUOTE;
    let k = from;
    while (k < to) {
      if (k + 4 <= to) {
        const word = bytes.getUint32(k, true) | 0;
        if (isPlain(word)) {
          view.setUint32(at, word, true);
          at += 4;
          k += 4;
          continue;
        }
      }
      const code = bytes.getUint8(k);
      if (code === end) break;
      k++;
      if (PLAIN[code] === 1) {
        buffer[at++] = code;
        continue;
      }
      const escaped = ESCAPES[code];
      if (escaped === undefined || escaped === null) return -1;
      for (let n = 0; n < escaped.words.length; n++) {
        view.setUint32(at + 4 * n, escaped.words[n] as number, true);
      }
      at += escaped.length;
    }
    buffer[at++] = QUOTE;
    this.#length = at;
    return k;
  }
}

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
