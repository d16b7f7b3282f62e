import { describe, expect, it } from "vitest";
import {
  type RenderOptions,
  ResultRows,
  type ResultValue,
  renderResults,
} from "../../src/answer/results.js";

const columns = [
  { name: "path", numeric: false },
  { name: "n", numeric: true },
  { name: "dur", numeric: true, unit: "ns" },
] as const;

const rows: readonly (readonly ResultValue[])[] = [
  ['/a, "b"', 2n ** 63n, 1500],
  ["x|y", null, null],
  [Uint8Array.of(0xff), -1, 0],
];

async function render(
  options: Partial<RenderOptions>,
  given: readonly (readonly ResultValue[])[] = rows,
  error?: Error,
): Promise<string> {
  async function* iterate() {
    yield given;
    if (error !== undefined) throw error;
  }
  let text = "";
  try {
    const results = { columns, rows: new ResultRows(iterate()) };
    const all = { format: "text", limit: 0, ...options } as const;
    for await (const part of renderResults(results, all)) text += part;
  } catch (caught) {
    text += `! ${(caught as Error).message}`;
  }
  return text;
}

describe("answers", () => {
  it("for people have units", async () => {
    const lines = (await render({})).split("\n").map((line) => line.split(/ {2,}/));
    expect(lines).toEqual([
      ["path", "n", "dur"],
      ['/a, "b"', "9223372036854775808", "1.50 µs"],
      ["x|y"],
      ["ff", "-1", "0 ns"],
      [""],
    ]);
  });

  it("as CSV quote what must be quoted", async () => {
    const expected = 'path,n,dur\n"/a, ""b""",9223372036854775808,1500\nx|y,,\nff,-1,0\n';
    expect(await render({ format: "csv" })).toBe(expected);
  });

  it("as JSON keep large numbers as text, and say what is missing", async () => {
    const document = JSON.parse(await render({ format: "json", partial: true }));
    expect(document).toEqual({
      schema: "trace.query",
      version: 1,
      partial: true,
      columns: ["path", "n", "dur"],
      rows: [
        { path: '/a, "b"', n: "9223372036854775808", dur: 1500 },
        { path: "x|y", n: null, dur: null },
        { path: { base64: "/w==" }, n: -1, dur: 0 },
      ],
    });
    const lines = (await render({ format: "jsonl" })).trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual(document.rows);
  });

  it("as Markdown escape bars", async () => {
    expect(await render({ format: "md" })).toContain("| x\\|y |  |  |");
  });

  it("say that there are more rows", async () => {
    expect(await render({ limit: 2 })).toMatch(
      /^path.*\n.*\n.*\nthere are more rows; --limit 0 shows all\n$/,
    );
  });

  it.each(["text", "csv", "json", "jsonl", "md"] as const)(
    "as %s show what was before an error",
    async (format) => {
      const text = await render({ format }, rows, new Error("damaged"));
      expect(text).toContain("9223372036854775808");
      expect(text).toMatch(/! damaged$/);
    },
  );

  it("without rows are what they are", async () => {
    expect(await render({ format: "json" }, [])).toContain('"rows":[\n]}');
    expect(await render({ format: "csv" }, [])).toBe("path,n,dur\n");
    expect(await render({}, [])).toBe("path  n  dur\n");
  });
});
