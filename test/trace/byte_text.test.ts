/** Names that need not be UTF-8, as text and back. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { byteText, inUtf8, strayByte, textBytes, writeText } from "../../src/trace/byte_text.js";

const bytes = (text: string) => Uint8Array.from(Buffer.from(text, "latin1"));

describe("bytes", () => {
  it.each([
    ["plain", "plain"],
    ["\xc3\xa4\xf0\x9f\x98\x80", "ä😀"],
    ["\xff\xfe", "\udcff\udcfe"],
    ["a\xc3(\xe2\x82", "a\udcc3(\udce2\udc82"],
    // Longer than needed, half a character of UTF-16, and beyond all characters.
    [
      "\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80",
      "\udcc0\udc80\udced\udca0\udc80\udcf4\udc90\udc80\udc80",
    ],
    ["\xef\xbf\xbd\xff", "\ufffd\udcff"],
    ["\xef\xbb\xbfbom", "\ufeffbom"],
  ])("%j is %j", (from, text) => {
    expect(byteText(bytes(from))).toBe(text);
    expect(Buffer.from(textBytes(text)).toString("latin1")).toBe(from);
  });

  it("come back of any text that is made of them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (data) => {
        const text = byteText(data);
        expect(Buffer.from(textBytes(text)).equals(Buffer.from(data))).toBe(true);
        const buffer = Buffer.alloc(64);
        expect(buffer.subarray(0, writeText(buffer, text, 64)).equals(Buffer.from(data))).toBe(
          true,
        );
        expect(JSON.parse(JSON.stringify(text))).toBe(text);
      }),
    );
  });

  it("are replaced where only UTF-8 will do", () => {
    expect(["ä😀", "a\udcffb"].map(inUtf8)).toEqual(["ä😀", "a\ufffdb"]);
  });

  it("have units of their own where they are part of no character", () => {
    expect([0xdc7f, 0xdc80, 0xdcff, 0xdd00].map(strayByte)).toEqual([
      undefined,
      0x80,
      0xff,
      undefined,
    ]);
  });
});
