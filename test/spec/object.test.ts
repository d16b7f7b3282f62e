import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  belowPath,
  coversAddress,
  coversPath,
  literalPath,
  PathPattern,
  parseAddress,
  plainPath,
} from "../../src/spec/object.js";

/** The same cases stand beside native/engine/src/enforce/pattern.rs. */
const cases: readonly (readonly [object: string, path: string, matches: boolean])[] = [
  ["/etc/passwd", "/etc/passwd", true],
  ["/etc/passwd", "/etc/passwd2", false],
  ["/tmp/cc*.s", "/tmp/ccAbC.s", true],
  ["/tmp/cc*.s", "/tmp/cc.s", true],
  ["/tmp/cc*.s", "/tmp/cc/x.s", false],
  ["/tmp/*", "/tmp", false],
  ["/usr/**", "/usr", true],
  ["/usr/**", "/usr/lib/x", true],
  ["/usr/**", "/usrlib", false],
  ["/**", "/", true],
  ["/**", "/a/b", true],
  ["/proc/@{pid}/stat", "/proc/12/stat", true],
  ["/proc/@{pid}/stat", "/proc/x/stat", false],
  ["/a\\*b", "/a*b", true],
  ["/a\\*b", "/axb", false],
  ["/a*b*c", "/a1b2c", true],
  ["/a*b*c", "/a1c2b", false],
];

describe("patterns of paths", () => {
  it.each(cases)("%s and %s: %s", (object, path, matches) => {
    expect(new PathPattern(object).matches(path)).toBe(matches);
  });

  it("match any path as a literal of itself, and no other", () => {
    const path = fc.string({ minLength: 1 }).map((text) => `/${text}`);
    fc.assert(
      fc.property(path, path, (one, other) => {
        const object = literalPath(one);
        expect(plainPath(object)).toBe(one);
        expect(new PathPattern(object).matches(one)).toBe(true);
        expect(new PathPattern(object).matches(other)).toBe(one === other);
      }),
    );
  });

  it("take bounded time when they are hostile", () => {
    const pattern = new PathPattern(`/${"a*".repeat(400)}b`);
    expect(pattern.matches(`/${"a".repeat(2000)}`)).toBe(false);
  });

  it("cover another only when everything that it matches is matched", () => {
    const name = fc.constantFrom("a", "b", "*", "a*", "*b", "ab");
    const pattern = fc
      .tuple(fc.array(name, { minLength: 1, maxLength: 3 }), fc.boolean())
      .map(([names, below]) => `/${names.join("/")}${below ? "/**" : ""}`);
    const plain = fc
      .array(fc.constantFrom("a", "b", "ab", "aab"), { minLength: 1, maxLength: 4 })
      .map((names) => `/${names.join("/")}`);
    fc.assert(
      fc.property(pattern, pattern, plain, (outer, inner, path) => {
        if (coversPath(outer, inner) && new PathPattern(inner).matches(path)) {
          expect(new PathPattern(outer).matches(path)).toBe(true);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe("a wildcard", () => {
  it("is covered by no character, whatever it is", () => {
    for (const character of ["\uE000", "\0", "?", "%", "\u{10FFFD}"])
      expect(coversPath(`/d/a${character}b`, "/d/a*b")).toBe(false);
    expect(coversPath("/d/a*", "/d/a*b")).toBe(true);
  });
});

describe("what a pattern says of what is below a directory", () => {
  it("is what is left of it", () => {
    expect(belowPath("/d/a/x", "/d/a")).toBe("x");
    expect(belowPath("/d/*/x*", "/d/a")).toBe("x*");
    expect(belowPath("/*/log", "/n*")).toBe("log");
    expect(belowPath("/d/x", "/")).toBe("d/x");
    expect(belowPath("/d/**", "/d/a/b")).toBe("**");
    expect(belowPath("/d/x/**", "/d")).toBe("x/**");
    expect(belowPath("/**", "/d")).toBe("**");
  });

  it("is nothing where it does not reach, or not into all of them", () => {
    expect(belowPath("/d/a", "/d/a")).toBeUndefined();
    expect(belowPath("/d", "/d/a")).toBeUndefined();
    expect(belowPath("/e/**", "/d")).toBeUndefined();
    expect(belowPath("/d/new/log", "/d/n*")).toBeUndefined();
  });
});

describe("addresses", () => {
  it("are read and compared by protocol, host and port", () => {
    expect(parseAddress("tcp:[::1]:80")).toEqual({ protocol: "tcp", host: "::1", port: 80 });
    expect(parseAddress("tcp:1.2.3.4:99999")).toBeUndefined();
    expect(parseAddress("tcp:1.2.3.400:1")).toBeUndefined();
    expect(coversAddress("tcp:*:80", "tcp:1.2.3.4:80")).toBe(true);
    expect(coversAddress("tcp:*:80", "udp:1.2.3.4:80")).toBe(false);
    expect(coversAddress("tcp:1.2.3.4:*", "tcp:1.2.3.5:80")).toBe(false);
    expect(coversAddress("unix:/run/*", "unix:/run/x")).toBe(true);
    expect(coversAddress("unix:/run/*", "unix:@x")).toBe(false);
  });
});
