/** `trace diff` and `trace accept` as typed: output, formats, exit codes, and what they say of mistakes. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DiffResult } from "../../src/diff/result.js";
import { TraceError } from "../../src/errors.js";
import { damageFirstBlock } from "../support/damage.js";
import { FailedRun, runCommand } from "../support/run.js";
import { lacking } from "../support/tools.js";
import { one, open, type StartOptions, type Write } from "./written.js";

let dir = "";
const at = (name: string): string => join(dir, name);

/** What goes wrong with a command. */
async function mistake(...words: string[]): Promise<string> {
  try {
    await runCommand(words);
  } catch (error) {
    const cause = error instanceof FailedRun ? error.cause : error;
    if (cause instanceof TraceError) return `${cause.message}\n${cause.hint}`;
  }
  throw new Error("no mistake");
}

const says =
  (text: string): Write =>
  (trace) => {
    trace.object("file", "/etc/app.conf").call("openat", open("/etc/app.conf", 0, 3, 1));
    trace.call("read", {
      args: [3, 0x2000, 64],
      ret: text.length,
      captures: [[1, "out", 0x2000, text]],
      refs: [[0, 3, 1]],
    });
  };

const connects: Write = (trace) => {
  says("mode=fast\n")(trace, 1);
  const address = Buffer.from([2, 0, 1, 187, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  trace.object("socket", "socket:[9]", "TCP").call("connect", {
    args: [4, 0x4000, 16],
    captures: [[1, "in", 0x4000, address]],
    refs: [[0, 4, 2]],
  });
};

const write = (name: string, run: number, what: Write, start?: StartOptions) =>
  one(run, what, start).write(at(name));

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "trace-diff-command-"));
  await write("fast.trace", 0, says("mode=fast\nsize=1\n"));
  await write("again.trace", 1, says("mode=fast\nsize=1\n"));
  await write("slow.trace", 1, says("mode=slow\nsize=1\n"));
  await write("net.trace", 1, connects);
  await write("plain.trace", 0, says("mode=fast\n"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("trace diff", () => {
  it("says that two runs are the same", async () => {
    const { status, stdout } = await runCommand(["diff", at("fast.trace"), at("again.trace")]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^the same: 4 events in 1 process\n/);
  });

  it("says where two runs parted, as text", async () => {
    const { status, stdout } = await runCommand(["diff", at("fast.trace"), at("slow.trace")]);
    expect(status).toBe(1);
    expect(stdout).toContain(
      "first cause\n  p1 prog: reads other bytes from /etc/app.conf\n    -mode=fast\n    +mode=slow\n",
    );
    expect(stdout).toMatch(/^ {4}> @3 .* read\(3<\/etc\/app.conf>, "mode=fast/m);
    expect(stdout).toContain("  ~ read        /etc/app.conf");
  });

  it("fits into a terminal", async () => {
    for (const columns of [80, 120]) {
      const words = ["diff", at("fast.trace"), at("net.trace")];
      const { stdout } = await runCommand(words, { COLUMNS: String(columns) });
      for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(columns);
    }
  });

  it("is JSON with a schema", async () => {
    const { stdout } = await runCommand([
      "diff",
      "--format=json",
      at("fast.trace"),
      at("slow.trace"),
    ]);
    const document = JSON.parse(stdout) as DiffResult & { schema: string; version: number };
    expect([document.schema, document.version]).toEqual(["trace.diff", 1]);
    expect(document.firstCause?.lines).toContain("+mode=slow");
    expect(document.differences).toHaveLength(1);
    expect(document.differences[0]?.a?.seq).toBe(3);
  });

  it("is Markdown for a comment", async () => {
    const { stdout } = await runCommand([
      "diff",
      "--format=md",
      at("fast.trace"),
      at("slow.trace"),
    ]);
    expect(stdout).toMatch(/^### ❌ trace diff: different: 1 difference/);
    expect(stdout).toContain("```diff\n-mode=fast\n+mode=slow\n");
    expect(stdout).toContain("<details><summary>Files (1)</summary>");
  });

  it("is one HTML file without anything from elsewhere, and escapes what programs chose", async () => {
    await write("evil.trace", 1, says("<script>alert(1)</script>\n"));
    const file = at("diff.html");
    const { status } = await runCommand([
      "diff",
      "--format=html",
      "-o",
      file,
      at("plain.trace"),
      at("evil.trace"),
    ]);
    expect(status).toBe(1);
    const page = readFileSync(file, "utf8");
    expect(page).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
    expect(page).not.toMatch(/<script|<link|https?:\/\//);
  });

  it("shows one section in full", async () => {
    const { stdout } = await runCommand(["diff", "--net", at("plain.trace"), at("net.trace")]);
    expect(stdout).toContain("network\n  + connect     10.0.0.1:443\n");
    expect(stdout).not.toContain("first cause");
    const events = await runCommand(["diff", "--events", at("plain.trace"), at("net.trace")]);
    expect(events.stdout).toMatch(/\+ connect .*10\.0\.0\.1:443 only in B/);
  });

  it("shows one process", async () => {
    const { status } = await runCommand([
      "diff",
      "--process",
      "p2",
      at("fast.trace"),
      at("slow.trace"),
    ]);
    expect(status).toBe(0);
    expect(
      (await runCommand(["diff", "--process", "p1", at("fast.trace"), at("slow.trace")])).status,
    ).toBe(1);
  });

  it("shows of one process what it starts, and nothing of B's process of that number", async () => {
    const text = one(1, says("mode=fast\n")).thread(2, 1, 300, 300, 0, 1).text;
    const born =
      "task thread=1 code=0 arch=0 flags=0 start=0 end=0 span=0 ret=0 ip=0x401000 sp=0x7ffc0000 args=0x1,0x0";
    writeFileSync(at("child.txt"), `${text}event 5 ${born}\n`);
    await runCommand(["dump", "--assemble", at("child.txt"), "-o", at("child.trace")]);
    const only = (process: string) =>
      runCommand(["diff", "--process", process, at("plain.trace"), at("child.trace")]);
    const starts = await only("p1");
    expect(starts.status).toBe(1);
    expect(starts.stdout).toMatch(/^different in p1: 0 differences, 1 process in one only\n/);
    const other = await only("p2");
    expect(other.status).toBe(0);
    expect(other.stdout).toMatch(/^the same in p2: 0 differences\n/);
  });

  it("shows what is compared of each event, and the rules", async () => {
    const { stdout } = await runCommand(["diff", "--show-canonical", at("fast.trace")]);
    expect(stdout).toMatch(/^@3 +p1 +[0-9a-f]{14} read \/etc\/app\.conf/m);
    expect((await runCommand(["diff", "--list-rules"])).stdout).toMatch(
      /^temp-names\n {4}names of temporary files/m,
    );
  });

  it("masks values of variables that look like secrets, in everything that it says", async () => {
    const env = (value: string) =>
      ["API_TOKEN", "my-password", "x.secret"].map(
        (name) => `${name}=${value};${value}: /in ${value}`,
      );
    await write("key1.trace", 0, () => {}, { env: env("swordfish") });
    await write("key2.trace", 1, () => {}, { env: env("marlin") });
    const [one, other] = [at("key1.trace"), at("key2.trace")];
    const ways = [
      ...["text", "json", "md", "html"].map((format) => [`--format=${format}`, one, other]),
      ["--events", one, other],
      ["--pass", one, "--fail", other],
      ["--pass", one, "--fail", other, "--format=json"],
      ["--against", one, other, "--fail-on", "any"],
      ["--show-canonical", one],
    ];
    for (const words of ways) {
      const { stdout } = await runCommand(["diff", ...words]);
      expect(stdout, words.join(" ")).toContain("API_TOKEN");
      expect(stdout, words.join(" ")).not.toMatch(/swordfish|marlin/);
      expect(stdout, words.join(" ")).not.toMatch(/\*\*\* in A, \*\*\* in B/);
    }
    for (const words of [
      [one, other],
      ["--pass", one, "--fail", other],
      ["--show-canonical", other],
    ]) {
      const { stdout } = await runCommand(["diff", "--show-secrets", ...words]);
      expect(stdout, words.join(" ")).toContain("marlin");
    }
  });

  it("says so when the programs are different ones", async () => {
    const other = one(1, says("mode=fast\n")).text.replaceAll("/bin/prog", "/bin/tool");
    writeFileSync(at("other.txt"), other);
    await runCommand(["dump", "--assemble", at("other.txt"), "-o", at("other.trace")]);
    const { status, stdout } = await runCommand(["diff", at("plain.trace"), at("other.trace")]);
    expect(status).toBe(1);
    expect(stdout).toContain("note: these are runs of different programs: prog in A, tool in B");
  });

  it("says what is wrong with the command line", async () => {
    expect(await mistake("diff", at("fast.trace"))).toMatch(/^1 trace is named\nname two/);
    expect(await mistake("diff", "--without", "pid", at("fast.trace"), at("slow.trace"))).toBe(
      "there is no rule pid\ndid you mean pids?",
    );
    expect(await mistake("diff", "--map", "/x", "a", "b")).toMatch(/not a pair/);
    expect(await mistake("diff", at("fast.trace"), at("none.trace"))).toMatch(/there is no file/);
    expect(await mistake("diff", "--pass", at("fast.trace"))).toMatch(/both needed/);
  });
});

describe("a cut trace", () => {
  /** Without its last events, and without the end of the process. */
  const cutText = (text: string, events: number): string => {
    const lines = text.split("\n");
    const end = lines.findIndex((line) => line.startsWith(`event ${events} `));
    return `${lines.slice(0, end).join("\n")}\n`;
  };

  it("is not blamed for what it does not hold", async () => {
    const whole = one(1, says("mode=fast\nsize=1\n")).text;
    writeFileSync(at("cut.txt"), cutText(whole, 3));
    await runCommand(["dump", "--assemble", at("cut.txt"), "-o", at("short.trace")]);
    // Its index is gone, as after a crash.
    copyFileSync(at("short.trace"), at("cut.trace"));
    truncateSync(at("cut.trace"), readFileSync(at("cut.trace")).length - 40);
    for (const [a, b] of [
      ["fast", "cut"],
      ["cut", "fast"],
    ]) {
      const { status, stdout, stderr } = await runCommand([
        "diff",
        at(`${a}.trace`),
        at(`${b}.trace`),
      ]);
      expect(stderr).toContain("is cut");
      expect(stdout).toContain("is not compared");
      expect(stdout).toMatch(/^the same/);
      expect(status).toBe(0);
    }
  });
});

describe("rules of a project", () => {
  it("are read from a file", async () => {
    writeFileSync(at("rules.toml"), '[ignore]\npaths = ["/etc/*.conf"]\n[rules]\norder = false\n');
    const { status } = await runCommand([
      "diff",
      "--config",
      at("rules.toml"),
      at("fast.trace"),
      at("slow.trace"),
    ]);
    expect(status).toBe(0);
  });

  it("say what is wrong with them", async () => {
    const wrong = async (text: string) => {
      writeFileSync(at("wrong.toml"), text);
      return mistake("diff", "--config", at("wrong.toml"), at("fast.trace"), at("slow.trace"));
    };
    expect(await wrong("[rules]\ntemp-name = false\n")).toMatch(
      /there is no rule temp-name\ndid you mean temp-names\?/,
    );
    expect(await wrong("[ignore]\npaths = 5\n")).toMatch(/ignore\.paths is not a list of texts/);
    expect(await wrong("[rules\n")).toMatch(/wrong\.toml: Invalid TOML/);
    expect(await wrong("[__proto__]\nx = 1\n")).toMatch(/there is no table __proto__|Invalid/);
    expect(await mistake("diff", "--config", at("none.toml"), "a", "b")).toMatch(/cannot read/);
  });

  it("are proposed from runs that ought to be the same", async () => {
    const { status, stdout } = await runCommand([
      "diff",
      "--learn",
      at("fast.trace"),
      at("again.trace"),
      at("slow.trace"),
    ]);
    expect(status).toBe(0);
    expect(stdout).toContain('paths = [\n  "/etc/app.conf", # 1 difference\n]');
    writeFileSync(at("learned.toml"), stdout);
    const again = await runCommand([
      "diff",
      "--config",
      at("learned.toml"),
      at("fast.trace"),
      at("slow.trace"),
    ]);
    expect(again.status).toBe(0);
    expect(
      (await runCommand(["diff", "--learn", at("fast.trace"), at("again.trace")])).stdout,
    ).toMatch(/no rules are needed/);
  });
});

describe("a trace that is cut before its first event", () => {
  it("is not the same as another", async () => {
    writeFileSync(at("head.trace"), readFileSync(at("fast.trace")).subarray(0, 100));
    expect(await mistake("diff", at("fast.trace"), at("head.trace"))).toMatch(
      /head\.trace is cut before its first event: nothing can be compared\nrecord it again/,
    );
  });

  it("may be one that is damaged there", async () => {
    damageFirstBlock(at("fast.trace"), at("damaged.trace"));
    expect(await mistake("diff", at("damaged.trace"), at("fast.trace"))).toMatch(
      /damaged\.trace cannot be read from its first event on: nothing can be compared: .* damaged .*\nrecord it again/,
    );
  });

  it.skipIf(lacking("flock"))("may be one that is just being recorded", async () => {
    writeFileSync(at("begun.trace"), readFileSync(at("fast.trace")).subarray(0, 100));
    // As the recorder holds it.
    const recorder = spawn("flock", ["-x", at("begun.trace"), "sh", "-c", "echo held; exec cat"]);
    await once(recorder.stdout, "data");
    try {
      expect(await mistake("diff", at("begun.trace"), at("fast.trace"))).toMatch(
        /begun\.trace holds no events yet: nothing can be compared\nwait until the recording ends/,
      );
    } finally {
      recorder.stdin.end();
    }
  });
});

describe("files that cannot be written", () => {
  it("are told as everywhere", async () => {
    const nowhere = at("no/where");
    const told = `cannot create ${nowhere}: no such file or directory\nmake its directory first: mkdir -p ${at("no")}`;
    const pair = [at("fast.trace"), at("plain.trace")];
    expect(await mistake("diff", ...pair, "-o", nowhere)).toBe(told);
    expect(await mistake("accept", at("plain.trace"), "--as", nowhere)).toBe(told);
  });
});

describe("golden traces", () => {
  it("are accepted at a desk and never in continuous integration", async () => {
    const golden = at("golden.trace");
    expect((await runCommand(["accept", at("plain.trace"), "--as", golden])).status).toBe(0);
    expect(readFileSync(golden).equals(readFileSync(at("plain.trace")))).toBe(true);
    const untouched = at("untouched.trace");
    await expect(
      runCommand(["accept", at("plain.trace"), "--as", untouched], { CI: "true" }),
    ).rejects.toThrow(/nothing is accepted/);
    expect(existsSync(untouched)).toBe(false);
  });

  it("fail on what is not allowed, and on nothing else", async () => {
    const golden = at("plain.trace");
    const check = async (what: string) =>
      await runCommand(["diff", at("net.trace"), "--against", golden, "--fail-on", what]);
    expect((await check("new-exec,new-write,errno")).status).toBe(0);
    const failed = await check("new-net");
    expect(failed.status).toBe(1);
    expect(failed.stdout).toContain("failed: connect 10.0.0.1:443");
    expect(
      await mistake("diff", at("net.trace"), "--against", golden, "--fail-on", "new-nets"),
    ).toMatch(/did you mean new-net\?/);
    expect(
      await mistake("diff", at("net.trace"), "--against", golden, "--fail-on", "slower"),
    ).toMatch(/by how much/);
  });

  it("tell GitHub Actions", async () => {
    const summary = at("summary.md");
    const env = { GITHUB_ACTIONS: "true", GITHUB_STEP_SUMMARY: summary };
    const { stderr } = await runCommand(["diff", at("fast.trace"), at("slow.trace")], env);
    expect(stderr).toBe(
      "::error title=trace diff::p1 prog: reads other bytes from /etc/app.conf\n",
    );
    expect(readFileSync(summary, "utf8")).toMatch(/^### ❌ trace diff/);
  });
});

describe("many runs", () => {
  it("rank what is in every failed run and in no other", async () => {
    await write("noise.trace", 1, says("mode=fast\nsize=2\n"));
    await write("bad.trace", 1, connects);
    const words = [
      "diff",
      "--pass",
      at("fast.trace"),
      "--pass",
      at("again.trace"),
      "--pass",
      at("noise.trace"),
      "--fail",
      at("net.trace"),
      "--fail",
      at("bad.trace"),
    ];
    const { status, stdout } = await runCommand(words);
    expect(status).toBe(1);
    expect(stdout).toMatch(
      /^2 failed runs, 3 passed runs: 1 thing in every failed run and in no other\n.*connect .*10\.0\.0\.1:443/,
    );
    const json = JSON.parse((await runCommand([...words, "--format=json"])).stdout) as {
      schema: string;
      always: { failed: number }[];
    };
    expect(json.schema).toBe("trace.diff.runs");
    expect(json.always[0]?.failed).toBe(2);
  });
});
