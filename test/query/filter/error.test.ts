import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TraceError } from "../../../src/errors.js";
import {
  FilterError,
  parseFilter,
  parseStraceExpression,
} from "../../../src/query/filter/index.js";

const vocabulary = {
  syscalls: new Set(["open", "openat", "close", "read", "write", "getpid", "time"]),
  errors: new Set(["ENOENT", "EACCES", "EAGAIN"]),
};

function errorOf(run: () => unknown): FilterError {
  try {
    run();
  } catch (error) {
    if (error instanceof FilterError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/**
 * Cases of errors.txt: a filter after `$ ` (an argument of -e after `-e `), and what is said about it.
 */
const golden = readFileSync(new URL("errors.txt", import.meta.url), "utf8");
const cases = golden
  .trimEnd()
  .split(/\n\n(?=\$ |-e )/)
  .map((block) => {
    const [head = "", ...rest] = block.split("\n");
    return { head, expected: rest.join("\n") };
  });

describe("messages", () => {
  it("has cases", () => expect(cases.length).toBeGreaterThan(50));

  it.each(cases)("$head", ({ head, expected }) => {
    const isExpression = head.startsWith("-e ");
    const parse = isExpression ? parseStraceExpression : parseFilter;
    const text = head.slice(isExpression ? 3 : 2);
    const error = errorOf(() => parse(text, { vocabulary }));
    expect(`${error.column}: ${error.message}\n${error.pointer}`).toBe(expected);
  });
});

describe("FilterError", () => {
  it("is a TraceError with a code and a hint", () => {
    const error = errorOf(() => parseFilter("fd.pth = /etc"));
    expect(error).toBeInstanceOf(TraceError);
    expect(error.code).toBe("BAD_FILTER");
    expect(error.hint).toBe("did you mean fd.path?");
    expect(error.column).toBe(1);
  });

  it("counts columns in characters and draws them by their width", () => {
    const error = errorOf(() => parseFilter("path = \u{1f600}日本e\u0301 and nothing = 1"));
    expect(error.column).toBe(18);
    const [line = "", carets = ""] = error.pointer.split("\n");
    expect(line).toBe("path = \u{1f600}日本e\u0301 and nothing = 1");
    // Two columns for each of the three wide characters, none for the combining mark.
    expect(carets.indexOf("^")).toBe(7 + 6 + 1 + 5);
  });

  it("shows control characters as harmless ones", () => {
    const error = errorOf(() => parseFilter("path = '\x1b[2J\u202e\n' and nothing = 1"));
    expect(error.pointer.split("\n")[0]).toBe("path = '\ufffd[2J\ufffd ' and nothing = 1");
    expect(errorOf(() => parseFilter("err = \x1b")).message).toBe(
      "`\ufffd` is not the name of an error",
    );
  });

  it("shortens a long text around the place", () => {
    const long = "ok and ".repeat(100);
    const [line = "", carets = ""] = errorOf(() =>
      parseFilter(`${long}nothing = 1 ${long}`),
    ).pointer.split("\n");
    expect(line.length).toBeLessThan(110);
    expect(line).toMatch(/^….*nothing = 1 ok.*…$/);
    expect(line.slice(carets.indexOf("^"), carets.length)).toBe("nothing");
  });
});
