/** What GitHub Actions is told: its commands are lines, so nothing of a program may break out of one. */

import { mkdirSync, readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { addToSummary, annotation, runsInActions } from "../../src/replay/github.js";
import type { DesyncReport } from "../../src/replay/report.js";
import { temporaryFolder } from "../support/text_trace.js";

const folder = temporaryFolder();
afterAll(() => folder.remove());

const report: DesyncReport = {
  seq: 12,
  reason: "number",
  summary: "read was recorded, 100% of\r\n::error::write came",
  process: { number: 3, thread: "p3.2", tid: 7, argv: ["a b", "c"], path: "/bin/a" },
  expected: undefined,
  actual: undefined,
  fields: [],
  bytes: undefined,
  place: undefined,
  expectedPlace: undefined,
  callers: [],
  script: [],
  around: [],
  hints: [],
};

describe("the annotation", () => {
  it("is one line, whatever the program is called", () => {
    expect(annotation(report)).toBe(
      "::error title=trace replay differs from the recording::p3.2 ('a b' c) at @12: read was recorded, 100%25 of%0D%0A::error::write came\n",
    );
  });

  it("is only for Actions", () => {
    expect(runsInActions({ GITHUB_ACTIONS: "true" })).toBe(true);
    expect(runsInActions({ CI: "true" })).toBe(false);
  });
});

describe("the summary of the job", () => {
  it("gets the report in a fence that it cannot close", () => {
    const path = folder.file("summary.md");
    addToSummary({ GITHUB_STEP_SUMMARY: path }, "one\n````\ntwo\n");
    addToSummary({ GITHUB_STEP_SUMMARY: path }, "three\n");
    expect(readFileSync(path, "utf8")).toBe(
      "### trace replay\n\n`````text\none\n````\ntwo\n`````\n### trace replay\n\n```text\nthree\n```\n",
    );
  });

  it("that cannot be written changes nothing", () => {
    const path = folder.file("directory");
    mkdirSync(path);
    expect(() => addToSummary({ GITHUB_STEP_SUMMARY: path }, "x")).not.toThrow();
    expect(() => addToSummary({}, "x")).not.toThrow();
  });
});
