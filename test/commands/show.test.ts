import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FailedRun, runCommand } from "../support/run.js";
import { sampleTrace, TextTrace, temporaryFolder } from "../support/text_trace.js";

const folder = temporaryFolder();
const path = folder.file("sample.trace");

beforeAll(async () => {
  await sampleTrace().write(path);
});
afterAll(() => folder.remove());

async function show(...words: string[]): Promise<string> {
  const { stdout, stderr, status } = await runCommand(["show", path, ...words]);
  expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  return stdout;
}

describe("trace show", () => {
  it("has a line per event, without the parts of a call that was restarted", async () => {
    const lines = (await show()).trimEnd().split("\n");
    expect(lines).toHaveLength(14);
    expect(lines[1]).toMatch(
      /^@1 +0\.000001 p1 +openat\(AT_FDCWD<\/srv>, "\/etc\/passwd", O_RDONLY\|O_CLOEXEC\) = 3<\/etc\/passwd>$/,
    );
    expect(lines.filter((line) => line.startsWith("@8 "))).toEqual([]);
    expect(lines.find((line) => line.startsWith("@9 "))).toContain("(restarted)");
  });

  it.each([["p99"], ["@999"], ["err = ENOSPC"], ["p99", "--format=strace"]])(
    "says so when %s chooses nothing",
    async (...words) => {
      const { stdout, stderr, status } = await runCommand(["show", path, ...words]);
      expect({ stdout, stderr, status }).toEqual({
        stdout: "",
        stderr: expect.stringMatching(
          /^trace: note: no event is like that; the trace has \d+ events of processes p1 to p\d+\n$/,
        ),
        status: 0,
      });
    },
  );

  it("says how a pattern is asked for, where one was taken for a text", async () => {
    const { stderr } = await runCommand(["show", path, "not failed and path = /etc/*"]);
    expect(stderr).toMatch(
      /no event is like that.*\n {2}path = "?\/etc\/\*"? asks for that very text; for a pattern: path glob "?\/etc\/\*"?\n$/,
    );
    const plain = await runCommand(["show", path, "path = /nowhere"]);
    expect(plain.stderr).not.toMatch(/pattern/);
  });

  it("has the bytes of names that are no text, which are found as a terminal would name them", async () => {
    const file = folder.file("bytes.trace");
    const named = Buffer.from("/srv/a\xff", "latin1");
    const trace = new TextTrace().thread(1, 1, 100, 100).object("file", named);
    await trace.call("fsync", { args: [3], refs: [[0, 3, 0]] }).write(file);
    const choices = [["-P", "/srv/a\ufffd"], ["--follow-fd", "/srv/a\ufffd"], []];
    for (const words of choices) {
      const { stdout } = await runCommand(["show", file, ...words]);
      expect(stdout, words.join(" ")).toContain("fsync(3</srv/a\\377>) = 0");
    }
    const json = (await runCommand(["show", file, "--format=jsonl"])).stdout;
    expect(json).toContain('"path":"/srv/a\\udcff"');
  });

  it("writes as strace does, parts of restarted calls included", async () => {
    const lines = (await show("--format=strace")).trimEnd().split("\n");
    expect(lines[0]).toMatch(
      /^100 {3}1700000000\.\d{6} openat\(.*\) = 3<\/etc\/passwd> <0\.000001>$/,
    );
    expect(lines.filter((line) => line.includes("ERESTARTSYS"))).toHaveLength(1);
    expect(lines).toContainEqual(expect.stringMatching(/^102 .*\+\+\+ exited with 2 \+\+\+$/));
  });

  it.each([
    [["-t", "@1"], /^@1 +\d\d:\d\d:\d\d p1/],
    [["-tt", "@1"], /^@1 +\d\d:\d\d:\d\d\.\d{6} p1/],
    [["-ttt", "@1"], /^@1 +1700000000\.\d{6} p1/],
    [["--format=strace", "-r", "@1"], /^100 +0\.00000\d openat/],
    [["-T", "@1"], /<1us>\n$/],
    [["-s", "3", "@2"], /read\(3<\/etc\/passwd>, "roo"\.\.\., 100\) = 5/],
    [["-yy", "@12"], /sendto\(5<TCP:\[127\.0\.0\.1:4000->10\.0\.0\.1:443\]>/],
  ])("%j", async (words, expected) => {
    expect(await show(...words)).toMatch(expected);
  });

  it("gives one JSON document, or one object per line", async () => {
    const document: unknown = JSON.parse(await show("--format=json"));
    expect(document).toMatchObject({ schema: "trace.events", version: 1 });
    const { events } = document as { events: unknown[] };
    expect(events).toHaveLength(14);
    const [head, ...lines] = (await show("--format=jsonl")).trimEnd().split("\n");
    expect(JSON.parse(head ?? "")).toMatchObject({ schema: "trace.events", version: 1 });
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(events);
    expect(JSON.parse(await show("--format=json", "@400"))).toMatchObject({ events: [] });
  });

  it.each(["text", "strace", "json", "jsonl"])(
    "masks secrets in %s unless told not to",
    async (format) => {
      const words = [`--format=${format}`, "-v", "-s", "1000"];
      expect(await show(...words)).not.toContain("s3cret");
      if (format !== "strace") expect(await show(...words, "--show-secrets")).toContain("s3cret");
    },
  );

  it("colours only when it is told to, or on a terminal", async () => {
    expect(await show()).not.toContain("\x1b[");
    expect(await show("--color")).toContain("\x1b[");
    expect(await show("--color=never")).not.toContain("\x1b[");
  });

  it.each([
    ["pipe:[17]", [6, 9, 11, 14]],
    ["/etc/passwd", [1, 2, 4, 5, 11, 14]],
    ["3", [1, 2, 4, 5, 11, 14]],
  ])("--follow-fd %s", async (what, expected) => {
    const text = await show("--follow-fd", what);
    const seqs = [...text.matchAll(/^@(\d+)/gm)].map((match) => Number(match[1]));
    expect(seqs).toEqual(expected);
  });

  it("says when nothing is open as that", async () => {
    const error = (await runCommand(["show", path, "--follow-fd", "/nowhere"]).catch(
      (reason: unknown) => reason,
    )) as FailedRun;
    expect(error.cause).toMatchObject({ code: "NO_DESCRIPTOR", hint: expect.any(String) });
  });
});
