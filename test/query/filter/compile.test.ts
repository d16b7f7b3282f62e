import { describe, expect, it } from "vitest";
import { compileFilter, type FieldValue, parseFilter } from "../../../src/query/filter/index.js";
import { chooses, type Row, RowResolver } from "./rows.js";

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

describe("operators", () => {
  it.each<[string, FieldValue, boolean]>([
    ["ret = 3", 3, true],
    ["ret = 3", 3n, true],
    ["ret = 3", 4, false],
    ["ret != 3", 4n, true],
    ["ret != 3", 3, false],
    ["ret < 3", 2n, true],
    ["ret < 3", 3, false],
    ["ret <= 3", 3, true],
    ["ret > -1", 0n, true],
    ["ret >= 9007199254740993", 9007199254740992n, false],
    ["ret >= 9007199254740993", 9007199254740993n, true],
    ["ret = 9007199254740993", 9007199254740992, false],
    ["ret = 9007199254740992", 9007199254740993n, false],
    ["ret = 18446744073709551615", 2n ** 64n - 1n, true],
    ["ret < 18446744073709551615", 2 ** 64, false],
    ["ret in (1, 2, 18446744073709551615)", 2n, true],
    ["ret in (1, 2, 18446744073709551615)", 2n ** 64n - 1n, true],
    ["ret in (1, 2)", 3, false],
    ["ret not in (1, 2)", 3, true],
    ["ret not in (1, 2)", 1, false],
    ["ret = 3", Number.NaN, false],
    ["dur > 10ms", 10_000_001, true],
    ["dur > 10ms", 10_000_000, false],
    ["dur in (1ms, 2ms)", 2_000_000, true],
    ["time <= 1.5s", 1_500_000_000n, true],
    ["path = /etc/passwd", "/etc/passwd", true],
    ["path = /etc", "/etc/passwd", false],
    ["path != /etc", "/etc/passwd", true],
    ["path contains pass", "/etc/passwd", true],
    ["path not contains pass", "/etc/passwd", false],
    ["path startswith /etc", "/etc/passwd", true],
    ["path startswith etc", "/etc/passwd", false],
    ["path endswith wd", "/etc/passwd", true],
    ["path not endswith wd", "/etc/passwd", false],
    ["path glob /etc/*", "/etc/passwd", true],
    ["path not glob /etc/*", "/etc/x/y", true],
    ["path ~ ^/(etc|usr)/", "/usr/lib", true],
    ["path !~ ^/(etc|usr)/", "/usr/lib", false],
    ["path in (/a, /b)", "/b", true],
    ["path exists", "", true],
    ["path not exists", "", false],
    ["ok", true, true],
    ["ok", false, false],
    ["ok = false", false, true],
    ["ok != true", false, true],
    ["arg.flags contains O_CLOEXEC", "O_RDONLY|O_CLOEXEC", true],
    ["arg.flags contains O_CLOEXEC", ["O_RDONLY", "O_CLOEXEC"], true],
    ["arg.flags > 1", 2, true],
    ["arg.flags > 1", "2", false],
    ["arg.flags != 1", "O_RDONLY", true],
    ["arg.flags = '1'", 1, false],
    ["data contains '\\x00PNG'", bytes("x\0PNGx"), true],
    ["data contains PNG", bytes("PN"), false],
    ["data contains é", Buffer.from("café"), true],
    ["data contains é", "café", true],
    ["data = abc", bytes("abc"), true],
    ["data = abc", bytes("abcd"), false],
    ["data in (x, abc)", bytes("abc"), true],
    ["data startswith ab", bytes("abc"), true],
    ["data startswith abcd", bytes("abc"), false],
    ["data endswith bc", bytes("abc"), true],
    ["data endswith abcd", bytes("abc"), false],
    ["data ~ ^GET\\s", bytes("GET /"), true],
    ["data !~ ^GET\\s", bytes("GET /"), false],
  ])("%s on %s", (text, value, expected) => {
    const field = /^[a-z.]+/.exec(text)?.[0] ?? "";
    expect(chooses(text, { [field]: value })).toBe(expected);
  });

  it("finds bytes at the place where they are in a larger buffer", () => {
    const part = bytes("xxabcxx").subarray(2, 5);
    expect(chooses("data = abc", { data: part })).toBe(true);
    expect(chooses("data contains x", { data: part })).toBe(false);
  });
});

describe("a missing field", () => {
  const operators = [
    "= x",
    "!= x",
    "contains x",
    "not contains x",
    "~ x",
    "!~ x",
    "in (x)",
    "not in (x)",
    "exists",
  ];

  it.each(operators)("is false for %s, and true for not", (operator) => {
    expect(chooses(`fd.path ${operator}`, {})).toBe(false);
    expect(chooses(`not fd.path ${operator}`, {})).toBe(true);
  });

  it.each([
    "ok",
    "fd = 3",
    "fd < 3",
    "dur >= 0",
    "data contains x",
    "@1..@5",
    "1s..2s",
    "p3",
    "p3.2",
    "openat",
    "class = file",
    "class != file",
    "name != x",
  ])("is false for %s, and true for not", (term) => {
    expect(chooses(term, {})).toBe(false);
    expect(chooses(`not (${term})`, {})).toBe(true);
  });

  it("may be one that the whole trace lacks", () => {
    const resolver = { field: () => undefined, nameSet: () => () => false };
    for (const term of ["fd = 3", "fd != 3", "fd exists", "ok", "@1", "p3", "..5s"]) {
      expect(compileFilter(parseFilter(term), resolver)(0), term).toBe(false);
      expect(compileFilter(parseFilter(`not (${term})`), resolver)(0), term).toBe(true);
    }
  });
});

describe("terms", () => {
  const row: Row = {
    kind: "call",
    name: "openat",
    seq: 1250,
    time: 20_000_000n,
    proc: "p3",
    thread: "p3.2",
    failed: true,
    ok: false,
  };

  it.each([
    ["@1250", true],
    ["@1200..@1300", true],
    ["@1250..", true],
    ["@1251..", false],
    ["..@1249", false],
    ["12ms..3s", true],
    ["..20ms", true],
    ["21ms..", false],
    ["p3", true],
    ["p3.2", true],
    ["p3.1", false],
    ["p33", false],
    ["openat", true],
    ["%file", true],
    ["%network", false],
    ["/^open/", true],
    ["!close", true],
    ["!openat", false],
    ["class = file", true],
    ["class contains file", true],
    ["class in (network, desc)", true],
    ["class != file", false],
    ["class contains fil", false],
    ["name startswith open", true],
    ["trace=%file,!openat", false],
    ["failed and @1250 and p3", true],
    ["ok or close or %file", true],
    ["ok or close or %network", false],
    ["failed and openat and @1 and p3", false],
  ])("%s", (text, expected) => {
    expect(chooses(text, row)).toBe(expected);
  });

  it("is true for events that are no calls when it is a negated set of syscalls", () => {
    const signal: Row = { kind: "signal", signal: "SIGINT" };
    expect(chooses("!close", signal)).toBe(true);
    expect(chooses("not (openat or not close)", signal)).toBe(false);
    expect(chooses("%file or !%file", signal)).toBe(true);
    expect(chooses("openat", signal)).toBe(false);
  });
});

describe("compileFilter", () => {
  it("binds each field once, and needs one look-up for all that is about the syscall", () => {
    const resolver = new RowResolver([{ name: "open", fd: 3 }]);
    const filter = parseFilter("(trace=%file,!close and not name ~ ^x or class = ipc) and fd = 3");
    const fits = compileFilter(filter, resolver);
    for (let i = 0; i < 100; i++) fits(0);
    expect(fits(0)).toBe(true);
    expect(resolver.nameSets).toBe(1);
    expect(resolver.fields).toBe(1);
  });
});
