/** The bytes that a sink writes, compared with what the language itself makes of the same values. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { piece, Sink } from "../../src/show/sink.js";

function written(write: (sink: Sink) => void): string {
  const sink = new Sink();
  write(sink);
  return sink.take().toString();
}

const viewOf = (bytes: Uint8Array) =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

describe("numbers", () => {
  test("of any size, and one after the other", () => {
    const edges = Array.from({ length: 16 }, (_, k) => [10 ** k - 1, 10 ** k, 10 ** k + 1]).flat();
    for (const value of [...edges, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER, 2 ** 60, 1e25]) {
      expect(written((sink) => sink.uint(value))).toBe(String(value));
      expect(written((sink) => sink.int(-value))).toBe(value === 0 ? "0" : `-${value}`);
    }
    fc.assert(
      fc.property(fc.array(fc.maxSafeInteger()), (values) => {
        const text = written((sink) => {
          for (const value of values) {
            sink.int(value);
            sink.byte(10);
          }
        });
        expect(text).toBe(values.map((value) => `${value}\n`).join(""));
      }),
    );
  });

  test("addresses", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }), fc.nat(63), (bits, shift) => {
        const value = bits >> BigInt(shift) || 1n;
        const low = Number(value & 0xffff_ffffn);
        const text = written((sink) => sink.address(low, Number(value >> 32n)));
        expect(text).toBe(`"0x${value.toString(16)}"`);
      }),
    );
  });
});

/** Mostly bytes that stand for themselves; then some of the others at any place. */
const bytes = fc.oneof(
  fc.uint8Array({ max: 127, maxLength: 40 }),
  fc.uint8Array({ maxLength: 12 }),
  fc
    .tuple(fc.uint8Array({ min: 32, max: 127, maxLength: 40 }), fc.nat(39), fc.nat(255))
    .map(([data, at, value]) => {
      const changed = data.slice();
      changed[at] = value;
      return changed;
    }),
);

describe("bytes", () => {
  test("ASCII is a JSON string; anything else writes nothing", () => {
    fc.assert(
      fc.property(bytes, fc.nat(5), (data, offset) => {
        const from = Math.min(offset, data.length);
        const sink = new Sink();
        const isAscii = data.subarray(from).every((byte) => byte < 128);
        expect(sink.asciiString(viewOf(data), from, data.length)).toBe(isAscii);
        const text = Buffer.from(data.subarray(from)).toString("latin1");
        expect(sink.take().toString()).toBe(isAscii ? JSON.stringify(text) : "");
      }),
      { numRuns: 3000 },
    );
  });

  test("each byte at each place of a word", () => {
    for (let value = 0; value < 256; value++) {
      for (let at = 0; at < 9; at++) {
        const data = new Uint8Array(9).fill(0x61);
        data[at] = value;
        const expected = value < 128 ? JSON.stringify(String.fromCharCode(...data)) : "";
        expect(written((sink) => sink.asciiString(viewOf(data), 0, 9))).toBe(expected);
      }
    }
  });

  test("a string ends before the first NUL", () => {
    fc.assert(
      fc.property(bytes, (data) => {
        const nul = data.indexOf(0);
        const end = nul < 0 ? data.length : nul;
        const isAscii = data.subarray(0, end).every((byte) => byte < 128);
        const sink = new Sink();
        expect(sink.asciiText(viewOf(data), 0, data.length)).toBe(isAscii ? end : -1);
        const text = JSON.stringify(Buffer.from(data.subarray(0, end)).toString("latin1"));
        expect(sink.take().toString()).toBe(isAscii ? text : "");
      }),
      { numRuns: 3000 },
    );
  });

  test("base64", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(5), (data, offset) => {
        const from = Math.min(offset, data.length);
        const text = written((sink) => sink.base64(data, from, data.length));
        expect(text).toBe(Buffer.from(data.subarray(from)).toString("base64"));
      }),
    );
  });
});

describe("the buffer", () => {
  test("grows under pieces and texts of any length", () => {
    const long = "0123456789abcdef".repeat(20_000);
    const parts = ["", "a", "ab", "abc", "abcd", "äöü€😀", long, "x", long, "yz"];
    const text = written((sink) => {
      for (const part of parts) {
        sink.put(piece(part));
        sink.text(part);
      }
    });
    expect(text).toBe(parts.map((part) => part + part).join(""));
  });

  test("is filled to its last byte by each kind of write", () => {
    const data = new TextEncoder().encode("plain text");
    const writes: [(sink: Sink) => void, string][] = [
      [(sink) => sink.put(piece("abcde")), "abcde"],
      [(sink) => sink.uint(1_234_567_890_123), "1234567890123"],
      [(sink) => sink.address(0xabcd, 0), '"0xabcd"'],
      [(sink) => sink.base64(data, 0, 4), "cGxhaQ=="],
      [(sink) => sink.asciiString(viewOf(data), 0, 10), '"plain text"'],
    ];
    for (const [write, expected] of writes) {
      for (let left = 0; left < 24; left++) {
        const before = "-".repeat(256 * 1024 - left);
        const text = written((sink) => {
          sink.text(before.slice(0, 1000));
          sink.truncate(0);
          sink.put(piece(before));
          write(sink);
        });
        expect(text.slice(before.length)).toBe(expected);
      }
    }
  });

  test("what was taken stays as it is", () => {
    const sink = new Sink();
    sink.text("first");
    const first = sink.take();
    sink.text("second");
    sink.truncate(3);
    expect([first, sink.take(), sink.take()].map(String)).toEqual(["first", "sec", ""]);
    expect(sink.length).toBe(0);
  });
});
