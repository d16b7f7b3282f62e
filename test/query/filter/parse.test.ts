import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FIELDS } from "../../../src/query/fields.js";
import { type Filter, FilterError, parseFilter } from "../../../src/query/filter/index.js";
import { MAX_DEPTH, MAX_TEXT } from "../../../src/query/filter/limits.js";
import { cpuMillis } from "../../support/time.js";

function text(
  field: string,
  op: "=" | "contains" | "startswith" | "~" | "glob",
  value: string,
): Filter {
  return { type: "compare", field, op, negated: false, value: { type: "string", value } };
}

const openat: Filter = { type: "syscalls", patterns: [{ kind: "name", name: "openat" }] };
const failed: Filter = { type: "truth", field: "failed" };
const ok: Filter = { type: "truth", field: "ok" };

describe("the language", () => {
  it("parses the filter of the manual", () => {
    const filter = parseFilter(
      "proc.exe = /usr/bin/cc1 and fd.path startswith /etc and err = ENOENT and dur > 10ms",
    );
    const dur = { type: "duration", ns: 10_000_000 } as const;
    expect(filter).toEqual({
      type: "and",
      terms: [
        text("proc.exe", "=", "/usr/bin/cc1"),
        text("fd.path", "startswith", "/etc"),
        text("err", "=", "ENOENT"),
        { type: "compare", field: "dur", op: ">", negated: false, value: dur },
      ],
    });
  });

  it("parses the example of every field", () => {
    for (const { example } of FIELDS) expect(() => parseFilter(example), example).not.toThrow();
  });

  it("binds not before and before or", () => {
    expect(parseFilter("not failed and ok or openat")).toEqual({
      type: "or",
      terms: [{ type: "and", terms: [{ type: "not", term: failed }, ok] }, openat],
    });
    expect(parseFilter("openat or failed and ok")).toEqual({
      type: "or",
      terms: [openat, { type: "and", terms: [failed, ok] }],
    });
    expect(parseFilter("not (failed or ok)")).toEqual({
      type: "not",
      term: { type: "or", terms: [failed, ok] },
    });
  });

  it("takes symbols for and, or and not, with or without space around them", () => {
    const spelled = parseFilter("not failed and ok or openat");
    expect(parseFilter("!failed&&ok||openat")).toEqual(spelled);
    expect(parseFilter("NOT failed AND ok OR openat")).toEqual(spelled);
    expect(parseFilter("err=ENOENT&&ok")).toEqual(parseFilter("err = ENOENT and ok"));
    expect(parseFilter("dur>=1us")).toEqual(parseFilter("  dur\n>=\t1us "));
  });

  it("applies not to a comparison as a whole", () => {
    const filter = parseFilter("not fd.path = x");
    expect(filter).toEqual({ type: "not", term: text("fd.path", "=", "x") });
  });

  it("understands negated operators", () => {
    const negated = { ...text("path", "contains", "x"), negated: true };
    expect(parseFilter("path not contains x")).toEqual(negated);
    expect(parseFilter("path != x")).toEqual({ ...text("path", "=", "x"), negated: true });
    expect(parseFilter("path !~ x")).toEqual({ ...text("path", "~", "x"), negated: true });
    expect(parseFilter("path not exists")).toEqual(parseFilter("not path exists"));
  });

  it("takes a list after in and after =", () => {
    const filter: Filter = {
      type: "in",
      field: "name",
      negated: false,
      values: [
        { type: "string", value: "open" },
        { type: "string", value: "openat" },
      ],
    };
    expect(parseFilter("name in (open, openat)")).toEqual(filter);
    expect(parseFilter("name in(open,openat)")).toEqual(filter);
    expect(parseFilter("name=open,openat")).toEqual(filter);
    expect(parseFilter("name != open,openat")).toEqual({ ...filter, negated: true });
    expect(parseFilter("name not in (open, openat)")).toEqual({ ...filter, negated: true });
  });
});

describe("values", () => {
  function value(filter: string): unknown {
    const parsed = parseFilter(filter);
    return parsed.type === "compare" && "value" in parsed.value ? parsed.value.value : parsed;
  }

  it.each([
    ["ret = 42", 42],
    ["ret = -1", -1],
    ["ret = 0x1F", 31],
    ["ret = 0644", 0o644],
    ["ret = 0o17", 15],
    ["ip = 0xffffffffffffffff", 0xffff_ffff_ffff_ffffn],
    ["ret = -9223372036854775808", -(2n ** 63n)],
    ["ret = 9007199254740993", 9007199254740993n],
    ["bytes >= 4k", 4096],
    ["bytes >= 1.5KiB", 1536],
    ["bytes >= 1MiB", 1 << 20],
    ["bytes >= 2MB", 2_000_000],
    ["bytes = 512B", 512],
    ["seq > @12", 12],
    ["ok = false", false],
    ["arg.0 = 3", 3],
    ["arg.0 = '3'", "3"],
    ["arg.flags = O_RDONLY", "O_RDONLY"],
    ["err = enoent", "ENOENT"],
    ["err = EWOULDBLOCK", "EAGAIN"],
    ["signal = 9", "SIGKILL"],
    ["signal = int", "SIGINT"],
    ["signal = SIGCLD", "SIGCHLD"],
    ["signal = 34", "SIGRT_2"],
    ["class = %net", "network"],
    ["path = ~/a=b!c", "~/a=b!c"],
    ["path = it's", "it's"],
    ['path = "a b"', "a b"],
    ["path = 'a\"b'", 'a"b'],
    ['path = "\\"\\x41\\u0042\\u{1F600}\\103\\n\\e"', '"AB\u{1f600}C\n\x1b'],
    ['path = ""', ""],
    ['data = "\\xff\xff"', "\xff\xc3\xbf"],
    ['path ~ "\\.so(\\.\\d+)*$"', "\\.so(\\.\\d+)*$"],
    ["path ~ ^/(usr|lib)/.{1,3}$", "^/(usr|lib)/.{1,3}$"],
    ["path ~ '\\''", "'"],
    ["path glob /usr/lib/*.so.[0-9]", "/usr/lib/*.so.[0-9]"],
  ])("%s", (filter, expected) => {
    expect(value(filter)).toEqual(expected);
  });

  it.each([
    ["dur > 250ns", 250],
    ["dur > 3us", 3_000],
    ["dur > 3µs", 3_000],
    ["dur > 10ms", 10_000_000],
    ["dur > 1.5s", 1_500_000_000],
    ["time < 2m", 120_000_000_000],
    ["time < 1h", 3_600_000_000_000],
    ["dur = 0", 0],
  ])("%s", (filter, ns) => {
    expect(parseFilter(filter)).toMatchObject({ value: { type: "duration", ns } });
  });

  it("lets a bare regular expression end at the parenthesis around the term", () => {
    const path = text("path", "~", "^a(b|c)[)]");
    expect(parseFilter("(path ~ ^a(b|c)[)]) and ok")).toEqual({ type: "and", terms: [path, ok] });
  });

  it("uses the field's own name for an alias", () => {
    expect(parseFilter("errno = EPERM")).toEqual(parseFilter("err = EPERM"));
    expect(parseFilter("addr exists")).toEqual({ type: "exists", field: "peer" });
  });

  it("knows no field by the names of Object.prototype", () => {
    expect(() => parseFilter("constructor = 1")).toThrow(FilterError);
    expect(() => parseFilter("arg.constructor = 1")).not.toThrow();
    expect(() => parseFilter("bytes = 1constructor")).toThrow(FilterError);
    expect(() => parseFilter("dur = 1toString")).toThrow(FilterError);
  });
});

describe("hostile text", () => {
  /** The parser may refuse a text, but only in its own words. */
  function survives(filter: string): void {
    try {
      parseFilter(filter);
    } catch (error) {
      expect(error).toBeInstanceOf(FilterError);
      if (!(error instanceof FilterError)) return;
      expect(error.column).toBeGreaterThanOrEqual(1);
      expect(error.column).toBeLessThanOrEqual([...filter].length + 1);
      expect(error.pointer.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
      expect(error.message).not.toMatch(/\p{Cc}/u);
    }
  }

  it("throws nothing but FilterError for any string", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), survives), { numRuns: 3_000 });
  });

  it("throws nothing but FilterError for any sequence of its own words", () => {
    const words = fc.constantFrom(
      ...[
        "and",
        "or",
        "not",
        "in",
        "exists",
        "contains",
        "~",
        "glob",
        "=",
        "!=",
        "<",
        "!",
        "(",
        ")",
      ],
      ...[
        ",",
        "fd",
        "path",
        "dur",
        "ok",
        "arg.0",
        "data",
        "seq",
        "trace=",
        "openat",
        "%file",
        "/^a/",
      ],
      ...[
        "@1",
        "@1..@2",
        "..",
        "5ms..",
        "p3",
        "p3.2",
        "10ms",
        "4k",
        "0x1",
        '"',
        "'",
        "\\",
        '"a\\"b"',
      ],
      ...[
        "[a",
        "(a|",
        "a{2}",
        "all",
        "none",
        "?x",
        "@32",
        " ",
        "&&",
        "||",
        "signal",
        "time",
        "é",
        "\0",
      ],
    );
    const texts = fc.array(fc.tuple(words, fc.constantFrom("", " ")), { maxLength: 14 });
    fc.assert(
      fc.property(texts, (parts) => survives(parts.flat().join(""))),
      { numRuns: 4_000 },
    );
  });

  it("limits the depth, however deep the text goes", () => {
    for (const [open, close] of [
      ["(", ")"],
      ["not ", ""],
      ["!", ""],
      ["not (", ")"],
    ] as const) {
      const nested = (n: number): string => `${open.repeat(n)}ok${close.repeat(n)}`;
      const levels = open === "not (" ? 2 : 1;
      expect(() => parseFilter(nested(MAX_DEPTH / levels))).not.toThrow();
      expect(() => parseFilter(nested(MAX_DEPTH / levels + 1))).toThrow(/more than 100/);
      expect(() => parseFilter(open.repeat(10_000))).toThrow(/more than 100/);
    }
  });

  it("limits the length", () => {
    expect(() => parseFilter(" ".repeat(MAX_TEXT + 1))).toThrow(
      /65537 characters, the limit is 65536/,
    );
  });

  it("parses a long list in time linear in its length", () => {
    const names = Array.from({ length: 10_000 }, (_, i) => `a${i % 10}`).join(",");
    const spent = cpuMillis(() => {
      for (const filter of [`name in (${names})`, names, `path = ${names}`]) parseFilter(filter);
      for (const joint of [" or ", " and "])
        parseFilter(names.replaceAll(",", joint).slice(0, 60_000));
    });
    expect(spent).toBeLessThan(2_000);
  });
});
