import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Dictionary, PackedDictionary } from "../../src/tables/dictionary.js";

describe("a dictionary", () => {
  it("gives each value one code, and the value back", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" })), (texts) => {
        const dictionary = new Dictionary("text");
        const codes = texts.map((text) => dictionary.code(text));
        expect(codes.map((code) => dictionary.text(code))).toEqual(texts);
        expect(dictionary.size).toBe(new Set(texts).size);
        expect(Math.max(-1, ...codes)).toBe(dictionary.size - 1);
      }),
    );
  });

  it("keeps bytes as they are", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array()), (values) => {
        const dictionary = new Dictionary("bytes");
        const codes = values.map((value) => dictionary.code(value));
        expect(codes.map((code) => [...dictionary.bytes(code)])).toEqual(
          values.map((value) => [...value]),
        );
      }),
    );
  });

  it("packs what is new", () => {
    const dictionary = new Dictionary("text");
    for (const text of ["a", "", "zwölf"]) dictionary.code(text);
    const { offsets, bytes } = dictionary.pack(1);
    expect([...offsets]).toEqual([0, 0, 6]);
    expect(Buffer.from(bytes).toString()).toBe("zwölf");
    expect(dictionary.pack(3)).toEqual({ offsets: Uint32Array.of(0), bytes: Buffer.alloc(0) });
  });

  it("packs as many values as there are, whatever they are of", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" })), fc.nat(8), (texts, from) => {
        const dictionary = new Dictionary("text");
        for (const text of texts) dictionary.code(text);
        const { offsets, bytes } = dictionary.pack(from);
        const packed = Array.from(offsets.subarray(1), (end, k) =>
          Buffer.from(bytes.subarray(offsets[k], end)).toString("latin1"),
        );
        const own = [...new Set(texts)].slice(from);
        expect(packed).toEqual(own.map((text) => Buffer.from(text).toString("latin1")));
      }),
    );
  });

  it("makes texts that were numbered elsewhere", () => {
    const dictionary = new Dictionary("text");
    for (const text of ["/a", "", "/zwölf"]) dictionary.code(text);
    const packed = new PackedDictionary(dictionary.pack());
    expect(packed.size).toBe(3);
    expect([0, 1, 2, 3].map((code) => packed.text(code))).toEqual(["/a", "", "/zwölf", ""]);
    expect(packed.pack(1)).toEqual(dictionary.pack(1));
    expect(() => packed.code()).toThrow("no more values");
  });

  it("says when it is large", () => {
    const dictionary = new Dictionary("text");
    expect(dictionary.isLarge).toBe(false);
    dictionary.code("x".repeat(1 << 25));
    expect(dictionary.isLarge).toBe(true);
  });
});
