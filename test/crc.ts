/** Cyclic redundancy checks bit by bit, by the book. */

function check(polynomial: number, bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ polynomial;
  }
  return ~crc >>> 0;
}

export const crc32 = (bytes: Uint8Array): number => check(0xedb8_8320, bytes);
export const crc32c = (bytes: Uint8Array): number => check(0x82f6_3b78, bytes);
