import { describe, expect, it } from "vitest";
import { ProtoWriter } from "../../src/export/protobuf.js";

/** Fields of a message: number, wire type, and the value as bigint or bytes. */
function fieldsOf(bytes: Uint8Array): [field: number, value: bigint | Uint8Array][] {
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] ?? 0;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const fields: [number, bigint | Uint8Array][] = [];
  while (at < bytes.length) {
    const tag = Number(varint());
    if (tag % 8 === 0) fields.push([tag >> 3, varint()]);
    else if (tag % 8 === 1) {
      fields.push([tag >> 3, Buffer.from(bytes).readBigUInt64LE(at)]);
      at += 8;
    } else {
      const length = Number(varint());
      fields.push([tag >> 3, bytes.slice(at, at + length)]);
      at += length;
    }
  }
  return fields;
}

function written(write: (writer: ProtoWriter) => void): [number, bigint | Uint8Array][] {
  const writer = new ProtoWriter();
  write(writer);
  return fieldsOf(writer.take());
}

describe("ProtoWriter", () => {
  const numbers = [0, 1, 127, 128, 300, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1];

  it.each(numbers)("writes %d unsigned", (value) => {
    expect(written((w) => w.uint(1, value))).toEqual([[1, BigInt(value)]]);
    expect(written((w) => w.fixed64(47, value))).toEqual([[47, BigInt(value)]]);
  });

  it.each([...numbers.map((n) => -n), -(2n ** 63n), 2n ** 64n - 1n, 2n ** 63n])(
    "writes %d in two's complement",
    (value) => {
      const expected = BigInt.asUintN(64, BigInt(value));
      expect(written((w) => w.int(15, value))).toEqual([[15, expected]]);
      const [low, high] = [Number(expected & 0xffff_ffffn), Number(expected >> 32n)];
      expect(written((w) => w.words(16, low, high))).toEqual([[16, expected]]);
    },
  );

  it.each(["", "plain", "é", "a".repeat(200), "\u{1f600}".repeat(60)])("writes text %s", (text) => {
    const bytes = new Uint8Array(Buffer.from(text));
    expect(written((w) => w.string(3, text))).toEqual([[3, bytes]]);
    expect(written((w) => w.bytes(3, bytes))).toEqual([[3, bytes]]);
  });

  it.each([0, 1, 61, 62, 8_000, 300_000])("nests messages, with %d fields inside", (count) => {
    const [outer, after] = written((w) => {
      const mark = w.open(2);
      const inner = w.open(3);
      for (let k = 0; k < count; k++) w.uint(1, k % 100);
      w.close(inner);
      w.close(mark);
      w.uint(1, 5);
    });
    const [inner] = fieldsOf(outer?.[1] as Uint8Array);
    const values = fieldsOf(inner?.[1] as Uint8Array);
    expect(values.length).toBe(count);
    expect(values.every(([, value], k) => value === BigInt(k % 100))).toBe(true);
    expect(after).toEqual([1, 5n]);
  });

  it("starts anew after what was taken", () => {
    const writer = new ProtoWriter();
    writer.uint(1, 1);
    expect(writer.take()).toEqual(Uint8Array.of(8, 1));
    expect(writer.length).toBe(0);
    writer.uint(2, 2);
    expect(writer.take()).toEqual(Uint8Array.of(16, 2));
  });
});
