import { expect, test } from "vitest";
import { coverageOf } from "../../src/trace/coverage.js";
import type { TraceInfo } from "../../src/trace/info.js";

const info = (facts: readonly (readonly [string, string])[]) =>
  ({ facts: new Map(facts) }) as unknown as TraceInfo;

test("reads what the recorder has counted", () => {
  const lines = [
    "in_process=90",
    "trapped=10",
    "patched=7",
    "faults=3",
    "call=6 openat",
    "call=4 execve",
    "refused=2 no room for a jump",
    "left=1 it began a second thread",
  ];
  expect(coverageOf(info([["agent", lines.join("\n")]]))).toEqual({
    inProcess: 90,
    trapped: 10,
    patched: 7,
    faults: 3,
    calls: [
      { count: 6, what: "openat" },
      { count: 4, what: "execve" },
    ],
    refused: [{ count: 2, what: "no room for a jump" }],
    left: [{ count: 1, what: "it began a second thread" }],
  });
});

test("a trace without the agent has none, and a strange one has zeros", () => {
  expect(coverageOf(info([]))).toBeUndefined();
  const none = { inProcess: 0, trapped: 0, patched: 0, faults: 0 };
  const nothing = { ...none, calls: [], refused: [], left: [] };
  expect(coverageOf(info([["agent", ""]]))).toEqual(nothing);
  expect(
    coverageOf(info([["agent", "in_process=-5\ntrapped=x\npatched=1e99\ncall=\n=\n"]])),
  ).toEqual(nothing);
});
