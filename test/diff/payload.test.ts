/** Bytes that differ, as lines. */

import { expect, it } from "vitest";
import { CanonicalTexts } from "../../src/diff/canon/texts.js";
import { lineDiff } from "../../src/diff/payload.js";
import { RuleSet } from "../../src/diff/rules.js";

const texts = new CanonicalTexts({
  rules: new RuleSet([]),
  places: undefined,
  pids: new Set(),
  ports: new Set(),
  ids: new Set(),
  from: 0,
  to: 1,
});

const lines = (a: string, b: string) => lineDiff(a, b, { a: texts, b: texts });

it("shows lines that differ between those around them", () => {
  expect(lines("one\ntwo\nsix\nten\n", "one\ntoo\nsix\nten\n")).toEqual([
    " one",
    "-two",
    "+too",
    " six",
  ]);
});

it("shows no line behind the last one", () => {
  expect(lines("one\n", "two\n")).toEqual(["-one", "+two"]);
});

it("shows that only one side ends its last line", () => {
  expect(lines("one\n", "one")).toEqual([" one", "-"]);
});

it("shows the place at which long lines differ", () => {
  const head = `{"list":[${"1,".repeat(80)}`;
  expect(lines(`${head}"red"]}\n`, `${head}"blue"]}\n`)).toEqual([
    '-...,1,1,1,1,1,1,1,1,1,1,1,"red"]}',
    '+...,1,1,1,1,1,1,1,1,1,1,1,"blue"]}',
  ]);
  // Others are shown from their beginning.
  expect(lines("x".repeat(60), `${"x".repeat(60)}y`)).toEqual([
    `-${"x".repeat(60)}`,
    `+${"x".repeat(60)}y`,
  ]);
});

it("finds a line that differs behind thousands that do not", () => {
  const long = Array.from({ length: 9000 }, (_, k) => `line ${k}`);
  expect(lines(long.join("\n"), long.with(8000, "new").join("\n"))).toEqual([
    " line 7999",
    "-line 8000",
    "+new",
    " line 8001",
  ]);
});
