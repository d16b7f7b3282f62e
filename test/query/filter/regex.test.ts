import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileGlob } from "../../../src/query/filter/glob.js";
import { MAX_REGEX } from "../../../src/query/filter/limits.js";
import { compileRegex } from "../../../src/query/filter/regex.js";
import { RegexError } from "../../../src/query/filter/regex_syntax.js";
import { cpuMillis } from "../../support/time.js";

/** Patterns from the grammar that is supported. */
const patterns = fc.letrec<Record<"any" | "seq" | "item" | "atom", string>>((tie) => ({
  any: fc.oneof(
    { weight: 3, arbitrary: tie("seq") },
    fc.tuple(tie("seq"), tie("seq")).map((parts) => parts.join("|")),
  ),
  seq: fc.array(tie("item"), { maxLength: 4 }).map((items) => items.join("")),
  item: fc.oneof(
    { weight: 3, arbitrary: tie("atom") },
    fc.constantFrom("^", "$", "\\b", "\\B"),
    fc
      .tuple(tie("atom"), fc.constantFrom("*", "+", "?", "*?", "{2}", "{0,2}", "{1,}", "{0}"))
      .map((parts) => parts.join("")),
  ),
  atom: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom("a", "b", "_", "é", "\u{1f600}", ".", "\\.", "\\n", "\\x61", "\\u{1f600}"),
    fc.constantFrom(
      "\\d",
      "\\D",
      "\\w",
      "\\W",
      "\\s",
      "\\S",
      "[ab]",
      "[^a]",
      "[a-c_-]",
      "[\\s\\d]",
    ),
    fc.constantFrom("[^\\W]", "[]", "[^]", "[\\b]", "[é-\u{1f600}]"),
    tie("any").map((inner) => `(${inner})`),
    tie("any").map((inner) => `(?:${inner})`),
  ),
})).any;

const texts = fc.string({
  unit: fc.constantFrom(
    "a",
    "b",
    "c",
    "_",
    "1",
    ".",
    " ",
    "\n",
    "\u2028",
    "é",
    "\u{1f600}",
    "\ud83d",
  ),
  maxLength: 12,
});

function isWithinLimits(source: string): boolean {
  try {
    compileRegex(source);
  } catch (error) {
    return !(error instanceof RegexError && /limit is|more than/.test(error.message));
  }
  return true;
}

describe("Regex", () => {
  it("agrees with RegExp and its u flag", () => {
    fc.assert(
      fc.property(patterns, fc.array(texts, { minLength: 1, maxLength: 8 }), (source, samples) => {
        fc.pre(isWithinLimits(source));
        const regex = compileRegex(source);
        const native = new RegExp(source, "u");
        for (const text of samples) {
          // V8 lets \B match between the halves of a surrogate pair, where no character ends.
          if (source.includes("\\B") && text.includes("\u{1f600}")) continue;
          expect(regex.test(text), text).toBe(native.test(text));
        }
      }),
      { numRuns: 4_000 },
    );
  });

  it("accepts no pattern that RegExp refuses", () => {
    const units = [..."ab01-^$.*+?()[]{},|\\/dDwbBnxu:<>=!\u{1f600}"];
    const source = fc.string({ unit: fc.constantFrom(...units), maxLength: 12 });
    fc.assert(
      fc.property(source, (text) => {
        try {
          compileRegex(text);
        } catch (error) {
          expect(error).toBeInstanceOf(RegexError);
          return;
        }
        expect(() => new RegExp(text, "u")).not.toThrow();
      }),
      { numRuns: 4_000 },
    );
  });

  it("takes bytes for characters", () => {
    expect(compileRegex("\\x00\\xff+$").testBytes(Uint8Array.of(65, 0, 255, 255))).toBe(true);
    expect(compileRegex("^\\xff").testBytes(Uint8Array.of(65, 0, 255))).toBe(false);
    expect(compileRegex("^$").testBytes(new Uint8Array())).toBe(true);
  });

  it.each([
    ["(a+)+$", "a"],
    ["^(a|a)*$", "a"],
    ["(a|aa)+$", "a"],
    ["(.*)*x", "a"],
    [".*.*.*.*=.*;", "x"],
    ["(x+x+)+y", "x"],
    ["^(([a-z])+.)+[A-Z]([a-z])+$", "a"],
    ["(a?){50}a{50}$", "a"],
    ["[ab]*a[ab]{12}c", "ab"],
  ])("needs linear time for %s", (source, unit) => {
    const regex = compileRegex(source);
    const text = `${unit.repeat(200_000)}!`;
    const spent = cpuMillis(() => expect(regex.test(text)).toBe(false));
    // Backtracking would need longer than the universe is old, or at least minutes.
    expect(spent).toBeLessThan(3_000);
  });

  it("forgets states that it cannot keep, and still answers right", () => {
    const regex = compileRegex("a[ab]{14}c");
    let seed = 1;
    const noise = Array.from({ length: 100_000 }, () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed & 65_536 ? "a" : "b";
    }).join("");
    expect(regex.test(noise)).toBe(false);
    expect(regex.test(`${noise}a${"b".repeat(14)}c`)).toBe(true);
    expect(regex.test(`${noise}bc`)).toBe(/a[ab]{14}c$/.test(`${noise}bc`));
  });

  it.each([
    ["a".repeat(MAX_REGEX + 1), 0, "257 characters, the limit is 256"],
    ["a{1001}", 0, "more than 1000 steps"],
    ["((a{50}){50}){50}", 0, "more than 1000 steps"],
    ["(".repeat(33), 32, "more than 32 groups"],
    ["a(b", 1, "`(` without `)`"],
    ["a)b", 1, "`)` without `(`"],
    ["a[b", 1, "`[` without `]`"],
    ["ab\\", 2, "end of the pattern"],
    ["a|*", 2, "nothing to repeat"],
    ["a{2,1}", 1, "out of order"],
    ["a{x}", 1, "incomplete quantifier"],
    ["[z-a]", 1, "out of order"],
    ["^*", 1, "cannot be repeated"],
    ["a(?<!b)", 1, "lookaround"],
    ["(a)\\k<x>", 3, "backreferences"],
    ["\\q", 0, "no meaning"],
    ["a]", 1, "stands alone"],
  ])("refuses %s", (source, offset, message) => {
    try {
      compileRegex(source);
    } catch (error) {
      if (!(error instanceof RegexError)) throw error;
      expect(error.offset).toBe(offset);
      expect(error.message).toContain(message);
      return;
    }
    throw new Error("it was accepted");
  });

  it("spends no time on a repetition of nothing", () => {
    for (const source of ["(){99999999}", "((a{0}){99999999}){99999999}", "(){9,99999999}"]) {
      expect(compileRegex(source).test("")).toBe(true);
    }
  });
});

describe("compileGlob", () => {
  it.each([
    ["*.so", "libc.so", true],
    ["*.so", "/lib/libc.so", false],
    ["/lib/*.so", "/lib/libc.so", true],
    ["/lib/*.so", "/lib/x/libc.so", false],
    ["/lib/**.so", "/lib/x/libc.so", true],
    ["**", "", true],
    ["*", "a\nb", true],
    ["?", "\u{1f600}", true],
    ["?", "/", false],
    ["a[0-9b]", "ab", true],
    ["a[!0-9b]", "ab", false],
    ["a[!b]", "a/", false],
    ["a[]]", "a]", true],
    ["a[x-]", "a-", true],
    ["a\\*", "a*", true],
    ["a\\*", "ab", false],
    ["a+(b).{c}$^|", "a+(b).{c}$^|", true],
    ["a", "xa", false],
  ])("%s and %j", (glob, text, expected) => {
    expect(compileGlob(glob).test(text)).toBe(expected);
  });

  it("needs linear time", () => {
    const glob = compileGlob(`${"*a".repeat(60)}b`);
    const spent = cpuMillis(() => expect(glob.test("a".repeat(200_000))).toBe(false));
    expect(spent).toBeLessThan(3_000);
  });

  it.each([
    ["a[b", 1],
    ["ab\\", 2],
    ["[z-a]", 0],
    ["*".repeat(257), 0],
  ])("refuses %s", (glob, offset) => {
    expect(() => compileGlob(glob)).toThrow(expect.objectContaining({ offset }));
  });
});
