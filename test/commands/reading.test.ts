/** What the commands that read a trace have in common: naming it, filters, and traces that are not whole. */

import { copyFileSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { splitTrace } from "../../src/commands/selection.js";
import { rememberLatest } from "../../src/state.js";
import { type FailedRun, runCommand } from "../support/run.js";
import { sampleTrace, temporaryFolder } from "../support/text_trace.js";

const folder = temporaryFolder();
const path = folder.file("sample.trace");
const env = { XDG_STATE_HOME: folder.path, HOME: folder.path };

beforeAll(async () => {
  await sampleTrace().write(path);
});
afterAll(() => folder.remove());

/** Numbers of the events that `show` lists. */
async function seqs(...words: string[]): Promise<number[]> {
  const { stdout } = await runCommand(["show", path, "--format=jsonl", ...words]);
  const lines = stdout.trimEnd().split("\n").slice(1);
  return lines.map((line) => (JSON.parse(line) as { seq: number }).seq);
}

async function failure(...words: string[]) {
  const error = (await runCommand(words, env).catch((reason: unknown) => reason)) as FailedRun;
  return error.cause as { code: string; message: string; hint?: string };
}

describe("which trace", () => {
  it("is the latest one when none is named", async () => {
    rememberLatest(path, env);
    expect((await runCommand(["stat"], env)).stdout).toContain("openat");
    expect(splitTrace({ args: ["openat"], env })).toEqual({ path, words: ["openat"] });
  });

  it("is TRACE_FILE before the latest one", () => {
    const other = { ...env, TRACE_FILE: "/x/y.trace" };
    expect(splitTrace({ args: [], env: other }).path).toBe("/x/y.trace");
  });

  it("may stand behind the filter when its name says what it is", () => {
    const found = splitTrace({ args: ["openat", "a.trace", "p1"], env });
    expect(found).toEqual({ path: "a.trace", words: ["openat", "p1"] });
  });

  it("is asked for when there is none", async () => {
    const empty = { XDG_STATE_HOME: folder.file("nowhere") };
    const error = (await runCommand(["stat"], empty).catch(
      (reason: unknown) => reason,
    )) as FailedRun;
    expect(error.cause).toMatchObject({
      code: "NO_TRACE",
      hint: expect.stringContaining("trace record"),
    });
  });
});

describe("which events", () => {
  it.each([
    [["@2"], [2]],
    [["@1..@3"], [1, 2, 3]],
    [["..@1"], [0, 1]],
    [["p2"], [4, 5, 6, 11]],
    [["p1.2"], [7, 12]],
    [
      ["p2", "@5..@6"],
      [5, 6],
    ],
    [
      ["p2", "@0..@4", "@6"],
      [4, 6],
    ],
    [["openat"], [1, 3]],
    [["openat", "p1", "@3"], [3]],
    [["%file", "and", "err", "=", "ENOENT"], [3]],
    [["1ms.."], [9, 10, 11, 12, 13, 14].filter((seq) => seq !== 9)],
    [
      ["-e", "openat"],
      [0, 1, 3, 4, 5, 7, 10, 11, 14],
    ],
    [
      ["-e", "trace=!openat,read", "--filter", "kind = call"],
      [6, 12, 13],
    ],
    [
      ["-P", "/etc/passwd"],
      [1, 2],
    ],
    [["-P", "/srv/missing.conf"], [3]],
    [
      ["-p", "102"],
      [4, 5, 6, 11],
    ],
    [["-Z"], [3]],
    [["-z", "openat"], [1]],
    [["kind = signal"], [10]],
    [["signal = SIGCHLD"], [10]],
    [["exit.code = 2"], [11]],
    [["dur > 10ms"], [9]],
    [["path = /etc/passwd"], [1]],
    [["path.resolved = /srv/missing.conf"], [3]],
    [["fd = 3"], [1, 2]],
    [["fd.path startswith pipe:"], [6, 9]],
    [["fd.kind = socket"], [12]],
    [["peer = 10.0.0.1:443"], [12]],
    [["bytes = 5"], [2, 6, 9]],
    [['data contains "ello"'], [6, 9]],
    [[`data = "\\x01\\x02\\xff"`], [12]],
    [["arg.flags contains O_CLOEXEC"], [1]],
    [["arg.1 = /etc/passwd"], [1]],
    [["arg.count = 100"], [2, 9]],
    [["proc.exe = /bin/cat"], [4, 5, 6, 11].filter((seq) => seq !== 4)],
    [["proc.cwd = '/tmp/a b'"], [5, 6, 11]],
    [["proc.argv contains it's"], [5, 6, 11]],
    [["proc.comm = cat"], [5, 6, 11]],
    [["parent = p1"], [4, 5, 6, 11]],
    [["status = unfinished"], [13]],
    [["ret = 3"], [1, 12]],
    [["ip = 0x401000 and kind = call"], [1, 2, 3, 6, 9, 12, 13]],
    [["class = network"], [12]],
    [["arch = i386"], []],
  ])("%j", async (words, expected) => {
    expect(await seqs(...words)).toEqual(expected);
  });

  it("marks the place of a mistake", async () => {
    const error = await failure("show", path, "openat and er = 3");
    expect(error.message).toMatch(/column 12/);
    expect(error.hint).toMatch(/^openat and er = 3\n {11}\^\^/);
  });

  it("takes one trace, and says which commands take more", async () => {
    const error = await failure("show", path, "other.trace");
    expect(error.message).toBe("one trace at a time: other.trace is another one");
    expect(error.hint).toContain("trace diff");
  });

  it.each([["nosuchcall"], ["dur > soon"], ["-p", "p1"]])("refuses %j", async (...words) => {
    const error = await failure("show", path, ...words.flat());
    expect(["BAD_FILTER", "USAGE"]).toContain(error.code);
    expect(error.hint).toBeTruthy();
  });
});

describe.each(["show", "stat", "tree", "info"])("trace %s of a trace that is not whole", (name) => {
  const cut = folder.file("cut.trace");

  it("says in one line what is missing", async () => {
    copyFileSync(path, cut);
    truncateSync(cut, readFileSync(path).length - 40);
    const { stdout, stderr, status } = await runCommand([name, cut]);
    expect(status).toBe(0);
    expect(stderr).toMatch(
      /^trace: .*cut\.trace is cut \(.*\): it holds .*; what came after is missing\n$/,
    );
    expect(stdout).not.toBe("");
  });

  it("shows what can be read before it names the damage", async () => {
    const damaged = folder.file("damaged.trace");
    const bytes = readFileSync(path);
    // The last frame before the index is the block of events.
    const marks = [...bytes.toString("latin1").matchAll(/\xf7TRf/g)].map((match) => match.index);
    const block = marks.find((mark) => bytes[mark + 4] === 3) ?? 0;
    bytes.fill(0xff, block + 60, block + 70);
    writeFileSync(damaged, bytes);
    const error = (await runCommand([name, damaged]).catch(
      (reason: unknown) => reason,
    )) as FailedRun;
    expect(error.cause).toMatchObject({ code: "CORRUPT", hint: expect.any(String) });
    if (name !== "show") expect(error.stdout).not.toBe("");
  });
});
