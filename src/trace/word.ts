/** Reading 64-bit values that are stored as pairs of 32-bit words (low word first), without a BigInt where none is needed. */

/** The unsigned value as a number when it is at most 2^53 - 1, else as a bigint. */
export function unsigned(low: number, high: number): number | bigint {
  const lo = low >>> 0;
  const hi = high >>> 0;
  return hi <= 0x1f_ffff ? hi * 0x1_0000_0000 + lo : (BigInt(hi) << 32n) | BigInt(lo);
}

/** The signed value as a number when its magnitude is at most 2^53 - 1, else as a bigint. */
export function signed(low: number, high: number): number | bigint {
  const lo = low >>> 0;
  const hi = high | 0;
  if (hi >= -0x20_0000 && hi <= 0x1f_ffff) {
    const value = hi * 0x1_0000_0000 + lo;
    if (Number.isSafeInteger(value)) return value;
  }
  return (BigInt(hi) << 32n) | BigInt(lo);
}

/** `0x...` with no leading zeros; `0` stays `0x0`. */
export function hex(low: number, high: number): string {
  const lo = low >>> 0;
  const hi = high >>> 0;
  if (hi === 0) return `0x${lo.toString(16)}`;
  return `0x${hi.toString(16)}${lo.toString(16).padStart(8, "0")}`;
}
