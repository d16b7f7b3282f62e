import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Dictionary } from "../../src/tables/dictionary.js";

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

  it("says when it is large", () => {
    const dictionary = new Dictionary("text");
    expect(dictionary.isLarge).toBe(false);
    dictionary.code("x".repeat(1 << 25));
    expect(dictionary.isLarge).toBe(true);
  });
});
