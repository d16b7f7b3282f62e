import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { align } from "../../src/diff/align.js";
import { bytesHash, StreamHash, textHash } from "../../src/diff/canon/hash.js";
import { crc32, crc32c } from "../crc.js";

/** Length of the longest common subsequence, by the book. */
function longest(a: readonly number[], b: readonly number[]): number {
  const rows = Array.from({ length: a.length + 1 }, () => new Array<number>(b.length + 1).fill(0));
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const [up, left, corner] = [
        rows[i - 1]?.[j] ?? 0,
        rows[i]?.[j - 1] ?? 0,
        rows[i - 1]?.[j - 1] ?? 0,
      ];
      const row = rows[i];
      if (row !== undefined) row[j] = a[i - 1] === b[j - 1] ? corner + 1 : Math.max(up, left);
    }
  }
  return rows[a.length]?.[b.length] ?? 0;
}

function check(a: readonly number[], b: readonly number[]): number {
  const matches = align(a, b);
  let last = -1;
  let count = 0;
  let wrong = 0;
  matches.forEach((y, x) => {
    if (y < 0) return;
    if (a[x] !== b[y] || y <= last) wrong += 1;
    last = y;
    count += 1;
  });
  expect(wrong).toBe(0);
  return count;
}

describe("align", () => {
  it("finds as many equal events as there are in one order", () => {
    const list = fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 40 });
    fc.assert(
      fc.property(list, list, (a, b) => {
        expect(check(a, b)).toBe(longest(a, b));
      }),
    );
  });

  it("copes with streams that have little in common", () => {
    const a = Array.from({ length: 20_000 }, (_, k) => k % 97);
    const b = Array.from({ length: 20_000 }, (_, k) => (k * 31) % 101);
    expect(check(a, b)).toBeGreaterThan(0);
  });

  it("passes over an insertion in a long stream", () => {
    const a = Array.from({ length: 200_000 }, (_, k) => k % 1000);
    const b = [...a.slice(0, 70_000), -1, -2, ...a.slice(70_000)];
    expect(check(a, b)).toBe(a.length);
  });
});

function add(hash: StreamHash, bytes: Uint8Array): void {
  hash.add(crc32(bytes), crc32c(bytes), bytes.length);
}

describe("hashes", () => {
  it("are of a stream and not of its pieces", () => {
    const bytes = fc.uint8Array({ maxLength: 60 });
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 6 }), (pieces) => {
        const [whole, parts] = [new StreamHash(), new StreamHash()];
        add(whole, Buffer.concat(pieces));
        for (const piece of pieces) add(parts, piece);
        expect(parts.value).toBe(whole.value);
      }),
    );
  });

  it("tell different bytes apart", () => {
    const bytes = fc.uint8Array({ maxLength: 40 });
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        const [one, other] = [new StreamHash(), new StreamHash()];
        add(one, a);
        add(other, b);
        const same = Buffer.compare(a, b) === 0;
        expect(one.value === other.value).toBe(same);
        expect(bytesHash(a) === bytesHash(b)).toBe(same);
      }),
    );
  });

  it("are the same for a text and its bytes", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        expect(textHash(text)).toBe(bytesHash(Buffer.from(text)));
      }),
    );
  });
});
