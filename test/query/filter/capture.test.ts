import { describe, expect, it } from "vitest";
import {
  captureBound,
  captureSysnos,
  combineStraceExpressions,
  parseFilter,
  parseStraceExpression,
} from "../../../src/query/filter/index.js";
import { table } from "./rows.js";

describe("captureSysnos", () => {
  it.each([
    ["openat", "openat"],
    ["trace=%file,!open", "openat stat"],
    ["!%desc and !%file", "getpid getuid socket connect kill"],
    ["name in (open, close) or class = creds", "open close getuid"],
    ["name startswith open", "open openat"],
    ["name != read and class = desc", "write open openat close"],
    ["kind = call and openat", "openat"],
    ["kind = signal or openat", "openat"],
    ["kind = signal", ""],
    ["name exists", table.map((row) => row.name).join(" ")],
    ["trace=none and failed", ""],
  ])("%s", (text, names) => {
    expect([...(captureSysnos(parseFilter(text), table) ?? ["undefined"])].join(" ")).toBe(names);
  });

  it.each([
    "failed",
    "openat and failed",
    "openat or p3",
    "not (openat and fd = 3)",
    "@1..",
    "arch = i386",
  ])("is undefined for %s", (text) =>
    expect(captureSysnos(parseFilter(text), table)).toBeUndefined(),
  );

  it("reads -e as strace does", () => {
    const one = parseStraceExpression("trace=!%desc,%file");
    expect([...(captureSysnos(one, table) ?? [])].join(" ")).toBe(
      "getpid getuid socket connect kill",
    );
    const all = combineStraceExpressions(["trace=openat", "signal=none"]);
    expect(all && captureSysnos(all, table)).toEqual(new Set(["openat"]));
  });
});

describe("captureBound", () => {
  it.each([
    ["openat and failed", "openat", false],
    ["not (openat and failed)", table.map((row) => row.name).join(" "), false],
    ["%network and (failed or connect)", "socket connect", false],
    ["%network and not socket", "connect", true],
  ])("%s", (text, names, exact) => {
    const bound = captureBound(parseFilter(text), table);
    expect([...bound.names].join(" ")).toBe(names);
    expect(bound.exact).toBe(exact);
  });
});
