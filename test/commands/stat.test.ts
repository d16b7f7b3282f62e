import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCommand } from "../support/run.js";
import { sampleTrace, temporaryFolder } from "../support/text_trace.js";

const folder = temporaryFolder();
const path = folder.file("sample.trace");

beforeAll(async () => {
  await sampleTrace().write(path);
});
afterAll(() => folder.remove());

async function stat(...words: string[]): Promise<string> {
  const { stdout, stderr, status } = await runCommand(["stat", path, ...words]);
  expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  return stdout;
}

interface Row {
  readonly name: string;
  readonly calls: number;
  readonly errors: number;
  readonly total: number;
  readonly read?: number;
  readonly written?: number;
  readonly user?: number;
}

async function rows(...words: string[]): Promise<Row[]> {
  const document = JSON.parse(await stat("--format=json", ...words)) as { rows: Row[]; total: Row };
  const sum = document.rows.reduce((calls, row) => calls + row.calls, 0);
  expect(document.total.calls).toBe(sum);
  return document.rows;
}

const names = (found: readonly Row[]) => found.map(({ name }) => name);

describe("trace stat", () => {
  it("counts calls, errors and time; a restarted call once", async () => {
    const found = await rows();
    expect(names(found)[0]).toBe("read");
    expect(found.find(({ name }) => name === "read")).toMatchObject({ calls: 2, errors: 0 });
    expect(found.find(({ name }) => name === "openat")).toMatchObject({ calls: 2, errors: 1 });
    expect(found.find(({ name }) => name === "read")?.total).toBeGreaterThan(12_000_000);
  });

  it.each([
    ["process", ["p1", "p2"]],
    ["thread", ["p1", "p1.2", "p2"]],
    ["path", ["pipe:[17]", "/etc/passwd", "socket:[18]", "/srv/missing.conf"]],
    ["peer", ["10.0.0.1:443"]],
  ])("by %s", async (by, expected) => {
    expect(names(await rows("--by", by)).sort()).toEqual([...expected].sort());
  });

  it("says no times of calls that were only seen to begin", async () => {
    const begun = folder.file("begun.trace");
    await sampleTrace().meta("backend", "notify").write(begun);
    const { stdout } = await runCommand(["stat", begun, "p1"]);
    expect(stdout).toMatch(/^calls {2}syscall\n +2 {2}openat\n/);
    expect(stdout).not.toMatch(/ (?:ns|ms)\b/);
    expect(stdout).toMatch(/\nhow long calls took was not recorded/);
  });

  it("counts the bytes of files, and the CPU time of processes", async () => {
    const pipe = (await rows("--by", "path")).find(({ name }) => name === "pipe:[17]");
    expect(pipe).toMatchObject({ read: 5, written: 5 });
    const child = (await rows("--by", "process")).find(({ name }) => name === "p2");
    expect(child).toMatchObject({ user: 1_500_000 });
    expect(await stat("--by", "process")).toMatch(/1\.50 ms {2}2\.50 ms {2}p2 cat it's/);
  });

  it.each([
    ["calls", "openat"],
    ["errors", "openat"],
    ["name", "exit_group"],
    ["max-time", "read"],
    ["count", "openat"],
  ])("-S %s puts %s first", async (key, first) => {
    expect(names(await rows("-S", key))[0]).toBe(first);
  });

  it("counts what the filter chooses", async () => {
    expect(names(await rows("p2"))).toEqual(["write"]);
    expect(names(await rows("-Z"))).toEqual(["openat"]);
    expect(names(await rows("@1..@2")).sort()).toEqual(["openat", "read"]);
  });

  it("prints aligned columns that fit 80", async () => {
    const lines = (await stat()).trimEnd().split("\n");
    expect(lines[0]).toBe(
      "calls  errors    total      %     mean      p50      p99      max  syscall",
    );
    expect(lines.at(-1)).toMatch(/^ {4}7 {7}1 .* total$/);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
  });

  it("prints the table of strace -c", async () => {
    const lines = (await stat("-c")).trimEnd().split("\n");
    expect(lines[0]).toBe("% time     seconds  usecs/call     calls    errors syscall");
    expect(lines[1]).toBe("------ ----------- ----------- --------- --------- ----------------");
    expect(lines[2]).toMatch(/^ {1}99\.\d\d {4}0\.012\d{3} {8}\d{4} {9}2 {11}read$/);
    expect(lines.at(-1)).toMatch(/^100\.00 +0\.012\d{3} +\d+ {9}7 {9}1 total$/);
  });

  it("-C shows the calls first", async () => {
    const text = await stat("-C");
    expect(text.indexOf("openat(AT_FDCWD")).toBeLessThan(text.indexOf("% time"));
    expect(text).toContain("openat(AT_FDCWD");
  });

  it("draws histograms", async () => {
    const text = await stat("read", "--histogram");
    expect(text).toMatch(/^read {2}2 calls, 12\.0 ms\n/);
    expect(text).toMatch(/8\.39 ms \.\. +16\.8 ms {2}1 {2}50\.0 % {2}█+$/m);
  });

  it("prints CSV and Markdown", async () => {
    const csv = (await stat("--format=csv")).trimEnd().split("\n");
    expect(csv[0]).toMatch(/^name,command,calls,errors,total_ns,/);
    expect(csv).toHaveLength(6);
    expect(await stat("--format=md")).toMatch(/^\| calls \| errors \|.*\n\| ---: \| ---: \|/);
  });
});
