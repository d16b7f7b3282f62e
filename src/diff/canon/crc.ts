/**
 * Cyclic redundancy checks of two pieces, joined to that of both together. With the bytes as a polynomial over GF(2), the
 * check of the first is multiplied by x^(8 n), where n is the length of the second, and the check of the second is added.
 */

/** Powers x^(2^k) that are kept: for all lengths up to 2^31 bytes. */
const POWERS = 35;
/** x^0, in the order of bits of reflected checks: the highest bit is the constant. */
const ONE = 0x8000_0000;

export class Crc {
  readonly #polynomial: number;
  readonly #powers = new Int32Array(POWERS);
  /** The length that was asked for last, and its factor: most pieces are as long as the one before. */
  #length = 0;
  #factor = ONE | 0;

  /** Of the reflected polynomial. */
  constructor(polynomial: number) {
    this.#polynomial = polynomial;
    this.#powers[0] = ONE >>> 1;
    for (let k = 1; k < POWERS; k++) {
      const before = this.#powers[k - 1] as number;
      this.#powers[k] = this.#product(before, before);
    }
  }

  /** Check of two pieces, the second of `length` bytes (below 2^31). */
  join(first: number, second: number, length: number): number {
    if (length !== this.#length) {
      this.#factor = this.#power(length);
      this.#length = length;
    }
    return (this.#product(this.#factor, first) ^ second) >>> 0;
  }

  /** x^(8 length) */
  #power(length: number): number {
    let power = ONE | 0;
    for (let left = length, k = 3; left > 0; left >>>= 1, k++) {
      if ((left & 1) !== 0) power = this.#product(this.#powers[k] as number, power);
    }
    return power;
  }

  /** Product modulo the polynomial. */
  #product(a: number, b: number): number {
    let sum = 0;
    let shifted = b;
    for (let left = a; left !== 0; left <<= 1) {
      if (left < 0) sum ^= shifted;
      shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ this.#polynomial;
    }
    return sum | 0;
  }
}

export const CRC32 = new Crc(0xedb8_8320);
export const CRC32C = new Crc(0x82f6_3b78);
