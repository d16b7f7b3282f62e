import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FIELDS, findField } from "../../../src/query/fields.js";
import {
  type Filter,
  formatFilter,
  operatorsOf,
  parseFilter,
} from "../../../src/query/filter/index.js";

/** Words that are valid as the exact value of a field with a shape. */
const shaped: Readonly<Record<string, readonly string[]>> = {
  class: ["%file", "desc", "%%stat"],
  errno: ["ENOENT", "eacces"],
  event: ["12", "@7"],
  process: ["p1", "p30"],
  signal: ["SIGINT", "9", "chld", "40"],
  syscall: ["open", "openat", "time", "file"],
  thread: ["p1.1"],
};

const numbers = [
  "0",
  "-1",
  "0x1f",
  "0644",
  "4k",
  "1.5MiB",
  "18446744073709551615",
  "9007199254740993",
];
const durations = ["0", "1ns", "1500us", "10ms", "1.5s", "90s", "2h"];
const regexes = [
  "^/a(b|c){1,2}$",
  "'it s'",
  String.raw`"a \" b"`,
  "it's",
  String.raw`"\d+ [)]"`,
  "and",
  "!x",
  '"!x y"',
];
const globs = [
  "/usr/*",
  "'a b*'",
  String.raw`"[a-z]?\*"`,
  '"and"',
  "**",
  String.raw`'\" c'`,
  String.raw`"\' c"`,
  String.raw`x\"y\'z`,
];

const quoted = fc.string({ unit: "binary", maxLength: 6 }).map((text) => {
  const inner = text.replace(/["\\]/g, "\\$&");
  return `"${inner}"`;
});
const texts = fc.oneof(
  fc.constantFrom(
    "/etc",
    "a=b",
    "it's",
    "~/x",
    '"and"',
    "'3'",
    "3",
    "0x1f",
    '"a,b"',
    "ÿ",
    '"\\xff\\0"',
  ),
  quoted,
);

const comparisons = fc.constantFrom(...FIELDS).chain((def) => {
  const name = def.name.replace("*", "flags");
  const exact =
    def.shape === "choice"
      ? fc.constantFrom(...(def.choices ?? []))
      : def.shape !== undefined
        ? fc.constantFrom(...(shaped[def.shape] ?? []))
        : exactText(def.type);
  return fc.constantFrom(...operatorsOf(def.type)).chain((op) => comparison(name, op, exact));
});

function exactText(type: string): fc.Arbitrary<string> {
  if (type === "number") return fc.constantFrom(...numbers);
  if (type === "duration" || type === "time") return fc.constantFrom(...durations);
  if (type === "bool") return fc.constantFrom("true", "false");
  return texts;
}

function comparison(name: string, op: string, exact: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const not = fc.constantFrom("", "not ");
  const isTime = ["duration", "time"].includes(findField(name)?.def.type ?? "");
  switch (op) {
    case "exists":
      return not.map((word) => `${name} ${word}exists`);
    case "in":
      return fc
        .tuple(not, fc.array(exact, { minLength: 1, maxLength: 3 }))
        .map(([word, values]) => `${name} ${word}in (${values.join(", ")})`);
    case "~":
      return fc.constantFrom(...regexes).map((value) => `${name} ~ ${value}`);
    case "glob":
      return fc
        .tuple(not, fc.constantFrom(...globs))
        .map(([word, value]) => `${name} ${word}glob ${value}`);
    case "contains":
    case "startswith":
    case "endswith":
      return fc.tuple(not, texts).map(([word, value]) => `${name} ${word}${op} ${value}`);
    case "=":
    case "!=":
      return fc
        .array(exact, { minLength: 1, maxLength: findField(name)?.def.type === "bool" ? 1 : 2 })
        .map((values) => `${name} ${op} ${values.join()}`);
    default:
      return fc
        .constantFrom(...(isTime ? durations : numbers))
        .map((value) => `${name} ${op} ${value}`);
  }
}

const terms = fc.oneof(
  { weight: 3, arbitrary: comparisons },
  fc.constantFrom(
    "ok",
    "failed",
    "openat",
    "%file",
    "%%stat",
    "/^get/",
    "/a{1,2}",
    "?nosuch",
    "?time",
  ),
  fc.constantFrom(
    "trace=all",
    "trace=none",
    "trace=time,file",
    "trace=a,%net,/x/,!b",
    "trace=!a,b",
    "?p3",
  ),
  fc.constantFrom(
    "trace=open@32",
    "trace=1,read@64,!2",
    "open,close",
    "!open,close",
    "signal=all",
    "fd=!3",
  ),
  fc.constantFrom("@1", "@1..@5", "@5..", "..@5", "12ms..3s", "1h..", "..90s", "p3", "p3.2"),
);

const filters = fc.letrec<Record<"or" | "and" | "unary", string>>((tie) => ({
  or: fc.array(tie("and"), { minLength: 1, maxLength: 3 }).map((parts) => parts.join(" or ")),
  and: fc.array(tie("unary"), { minLength: 1, maxLength: 3 }).map((parts) => parts.join(" and ")),
  unary: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    terms,
    tie("unary").map((inner) => `not ${inner}`),
    tie("or").map((inner) => `(${inner})`),
  ),
})).or;

describe("formatFilter", () => {
  it("prints what parses to the same filter", () => {
    fc.assert(
      fc.property(filters, (text) => {
        const filter: Filter = parseFilter(text);
        const printed = formatFilter(filter);
        expect(parseFilter(printed), printed).toEqual(filter);
        expect(formatFilter(parseFilter(printed))).toBe(printed);
      }),
      { numRuns: 4_000 },
    );
  });

  it.each([
    ["(ok and failed) and openat", "(ok and failed) and openat"],
    ["not (ok or !failed)", "not (ok or not failed)"],
    ["fd.path='a b'", 'fd.path = "a b"'],
    ["dur>1500us", "dur > 1500us"],
    ["dur>1.5s", "dur > 1500ms"],
    ["trace=time", "trace=time"],
    ["data contains '\\x00é'", 'data contains "\\x00\\xc3\\xa9"'],
    ["path ~ 'a b\"c'", 'path ~ "a b\\"c"'],
  ])("%s", (text, printed) => {
    expect(formatFilter(parseFilter(text))).toBe(printed);
  });
});
