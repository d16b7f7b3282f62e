import { describe, expect, it } from "vitest";
import {
  FilterError,
  parseFilter,
  parseRange,
  parseSelector,
} from "../../../src/query/filter/index.js";

describe("parseRange", () => {
  it.each([
    ["@1200", { type: "events", from: 1200, to: 1200 }],
    ["@1200..@1300", { type: "events", from: 1200, to: 1300 }],
    ["@1200..1300", { type: "events", from: 1200, to: 1300 }],
    ["@5..", { type: "events", from: 5 }],
    ["..@9", { type: "events", to: 9 }],
    ["12ms..3s", { type: "times", from: 12_000_000, to: 3_000_000_000 }],
    ["0..1.5us", { type: "times", from: 0, to: 1_500 }],
    ["2s..", { type: "times", from: 2_000_000_000 }],
    ["..2s", { type: "times", to: 2_000_000_000 }],
    [" @7 ", { type: "events", from: 7, to: 7 }],
  ])("%s", (text, range) => {
    expect(parseRange(text)).toEqual(range);
    expect(parseFilter(text)).toEqual(range);
  });

  it.each([
    "",
    "@",
    "@x",
    "@5..@3",
    "..",
    "12ms",
    "@5..3s",
    "3s..@5",
    "5",
    "@1 @2",
    "@99999999999999999",
    "p3",
  ])("refuses %j", (text) => {
    expect(() => parseRange(text)).toThrow(FilterError);
  });
});

describe("parseSelector", () => {
  it("reads processes and threads", () => {
    expect(parseSelector("p3")).toEqual({ type: "process", process: 3 });
    expect(parseSelector("p3.2")).toEqual({ type: "process", process: 3, thread: 2 });
    expect(parseFilter("p3.2 or p4")).toEqual({
      type: "or",
      terms: [
        { type: "process", process: 3, thread: 2 },
        { type: "process", process: 4 },
      ],
    });
  });

  it.each(["", "3", "p", "p3.", "p3.2.1", "p-1", "p3 p4", "P3"])("refuses %j", (text) => {
    expect(() => parseSelector(text)).toThrow(FilterError);
  });
});
