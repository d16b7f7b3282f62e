import { describe, expect, it } from "vitest";
import { painter, wantsColor } from "../../src/report/color.js";
import { histogramText } from "../../src/report/histogram.js";
import { csvText, tableMarkdown, tableText } from "../../src/report/table.js";
import { cut, cutMiddle, printable, width, wrap } from "../../src/report/text.js";
import { humanBytes, humanCount, humanDuration, percent } from "../../src/report/units.js";

describe("numbers for people", () => {
  it.each([
    [0, "0 ns"],
    [999, "999 ns"],
    [1000, "1 µs"],
    [12_345, "12.3 µs"],
    [999_499, "999 µs"],
    [999_960, "1.00 ms"],
    [1_250_000_000, "1.25 s"],
    [59_999_999_999, "1m 00s"],
    [187e9, "3m 07s"],
    [7_500e9, "2h 05m"],
  ])("%i ns is %s", (nanos, text) => {
    expect(humanDuration(nanos)).toBe(text);
  });

  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "0.98 KiB"],
    [1536, "1.50 KiB"],
    [79.4 * 2 ** 20, "79.4 MiB"],
    [2 ** 40, "1 TiB"],
  ])("%i bytes are %s", (bytes, text) => {
    expect(humanBytes(bytes)).toBe(text);
  });

  it("groups digits, and takes shares", () => {
    expect([humanCount(7), humanCount(1234), humanCount(1_234_567)]).toEqual([
      "7",
      "1,234",
      "1,234,567",
    ]);
    expect([percent(1, 3), percent(0, 0)]).toEqual(["33.3", "0.0"]);
  });
});

describe("text", () => {
  it("counts columns of a terminal", () => {
    expect([width("abc"), width("日本"), width("é")]).toEqual([3, 4, 1]);
  });

  it("cuts at the end, or in the middle", () => {
    expect(cut("abcdef", 4)).toBe("abc…");
    expect(cut("日本語", 4)).toBe("日…");
    expect(cutMiddle("/usr/lib/x86_64/libc.so.6", 12)).toBe("/usr…bc.so.6");
    expect(width(cutMiddle("/usr/lib/x86_64/libc.so.6", 12))).toBe(12);
  });

  it("lets nothing through that moves the cursor", () => {
    expect(printable("a\x1b[2Jb\n\u202e\u009b")).toBe("a\\x1b[2Jb\\n\\u{202e}\\x9b");
  });

  it("wraps at blanks", () => {
    expect(wrap("one two three", 7)).toEqual(["one two", "three"]);
    expect(wrap("unbreakable", 3)).toEqual(["unbreakable"]);
  });
});

describe("tables", () => {
  const columns = [
    { head: "calls", align: "right" },
    { head: "name", align: "left", shrink: "end" },
  ] as const;

  it("align numbers right, and end no line with blanks", () => {
    const text = tableText(
      columns,
      [
        ["1", "a"],
        ["1,000", ""],
      ],
      { foot: ["1,001", "total"] },
    );
    expect(text).toBe("calls  name\n    1  a\n1,000\n-----  -----\n1,001  total\n");
  });

  it("have a rule of which one sees the end", () => {
    const text = tableText(columns, [["1", "a".repeat(5000)]], { foot: ["1", "total"] });
    expect(text.split("\n")[2]).toMatch(/^-{5} {2}-{5,80}$/);
  });

  it("fit the terminal", () => {
    const text = tableText(columns, [["1", "a".repeat(100)]], { width: 40 });
    for (const line of text.trimEnd().split("\n")) expect(width(line)).toBeLessThanOrEqual(40);
    expect(text).toContain("…");
  });

  it("leave out columns that matter least, one by one", () => {
    const wide = [
      { head: "a".repeat(10), align: "right", drop: 0 },
      { head: "b".repeat(10), align: "right", drop: 1 },
      { head: "name", align: "left", shrink: "end" },
    ] as const;
    const heads = (limit: number) =>
      tableText(wide, [["1", "2", "n".repeat(30)]], { width: limit })
        .split("\n")[0]
        ?.split(/ +/);
    expect(heads(48)).toEqual([wide[0].head, wide[1].head, "name"]);
    expect(heads(47)).toEqual([wide[0].head, "name"]);
    expect(heads(30)).toEqual(["name"]);
  });

  it("style cells without moving them", () => {
    const paint = painter("always", false, {});
    const cells = [[{ text: "1", style: "red" as const }, "a"]];
    const plain = tableText(columns, cells);
    const colored = tableText(columns, cells, { paint });
    expect(colored).toContain("\x1b[31m1\x1b[39m");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what is left out is the colour
    expect(colored.replace(/\x1b\[\d+m/g, "")).toBe(plain);
  });

  it("are Markdown and CSV with their own quoting", () => {
    expect(tableMarkdown(columns, [["1", "a|b"]])).toBe(
      "| calls | name |\n| ---: | --- |\n| 1 | a\\|b |\n",
    );
    expect(csvText([["a,b", 'say "x"', 3, undefined]])).toBe('"a,b","say ""x""",3,\n');
  });
});

describe("histograms", () => {
  it("draw the longest bar in full, and none for nothing", () => {
    const bars = [
      { from: 0, to: 1024, count: 4 },
      { from: 1024, to: 2048, count: 0 },
      { from: 2048, to: 4096, count: 1 },
    ];
    const lines = histogramText(bars, 80).trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/ 4 {2}80\.0 % {2}█+$/);
    expect(lines[1]).toMatch(/ 0 {3}0\.0 %$/);
    const length = (line = "") => (line.match(/█/g) ?? []).length;
    expect(length(lines[2])).toBe(Math.floor(length(lines[0]) / 4));
    for (const line of lines) expect(width(line)).toBeLessThanOrEqual(80);
  });
});

describe("colour", () => {
  it.each([
    ["auto", true, {}, true],
    ["auto", false, {}, false],
    ["auto", true, { NO_COLOR: "1" }, false],
    ["auto", true, { NO_COLOR: "" }, true],
    ["auto", true, { TERM: "dumb" }, false],
    ["always", false, { NO_COLOR: "1" }, true],
    ["never", true, {}, false],
  ] as const)("%s on a terminal (%s) with %j: %s", (choice, isTTY, env, wanted) => {
    expect(wantsColor(choice, isTTY, env)).toBe(wanted);
  });
});
