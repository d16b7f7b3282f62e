/** Commands about whole files and about the program itself: tree, info, ls, fields, pack, dump, doctor. */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FIELDS } from "../../src/query/fields.js";
import { rememberLatest } from "../../src/state.js";
import { cli } from "../support/command.js";
import { type FailedRun, runCommand } from "../support/run.js";
import { sampleTrace, TextTrace, temporaryFolder } from "../support/text_trace.js";

const folder = temporaryFolder();
const path = folder.file("sample.trace");
const env = { XDG_STATE_HOME: folder.file("state"), HOME: folder.path };

beforeAll(async () => {
  await sampleTrace().write(path);
});
afterAll(() => folder.remove());

async function run(...words: string[]) {
  return runCommand(words, env);
}

/** Writes a trace of several blocks, and gives back its bytes. */
async function manyCalls(file: string): Promise<Buffer> {
  const text = new TextTrace().thread(1, 1, 10, 10);
  for (let k = 0; k < 50_000; k++) text.call("close", { args: [k] });
  await text.write(file);
  return readFileSync(file);
}

async function failure(...words: string[]) {
  const error = (await run(...words).catch((reason: unknown) => reason)) as FailedRun;
  return error.cause as { code: string; message: string; hint?: string };
}

describe("trace tree", () => {
  it("draws who started whom, and how it ended", async () => {
    const { stdout } = await run("tree", path);
    expect(stdout.split("\n")).toEqual([
      expect.stringMatching(/^p1 sh -c 'cat \| x' {2}\[100\] 12\.0 ms, 2 threads, exit 0$/),
      expect.stringMatching(/^└─ p2 cat 'it'\\''s' {2}\[102\] 12\.0 ms, exit 2$/),
      "",
    ]);
  });

  it("gives command lines with the changes of the environment", async () => {
    const { stdout } = await run("tree", path, "--commands");
    expect(stdout).toContain(`cd '/tmp/a b' && env LANG=C /bin/cat 'it'\\''s'\n`);
    const full = (await run("tree", path, "--full-env")).stdout;
    expect(full).toContain("env -i HOME=/root API_TOKEN='***' /bin/sh -c 'cat | x'");
    const secrets = (await run("tree", path, "--full-env", "--show-secrets")).stdout;
    expect(secrets).toContain("API_TOKEN=s3cret");
  });

  it("is JSON, too", async () => {
    const { stdout } = await run("tree", path, "--format=json");
    expect(stdout).not.toContain("s3cret");
    expect(JSON.parse(stdout)).toMatchObject({
      schema: "trace.tree",
      processes: [
        { process: "p1", pid: 100, parent: null, threads: 2, exitCode: 0, signal: null },
        { process: "p2", pid: 102, parent: "p1", exitCode: 2, userTime: 1_500_000 },
      ],
    });
  });

  it("shows signals, several programs of one process, and forks without a program", async () => {
    const start = (name: string) =>
      [
        [0, "in", 0, `/bin/${name}`],
        [1, "in", 0, `${name}\0`],
        [3, "in", 0, "/"],
      ] as const;
    const file = folder.file("odd.trace");
    await new TextTrace()
      .thread(1, 1, 10, 10)
      .thread(2, 1, 11, 11, 0, 2)
      .event("exec", { captures: start("one") })
      .event("exec", { captures: start("two") })
      .event("task", { thread: 1, args: [1, 17] })
      .event("exit", { thread: 1, code: 139, args: [1, 0, 0, 0] })
      .write(file);
    const { stdout } = await run("tree", file);
    const lines = stdout.split("\n");
    expect(lines[0]).toMatch(/^p1 one {2}\[10\] .*, did not end$/);
    expect(lines[1]).toBe("│  → two");
    expect(lines[2]).toMatch(/^└─ p2 \(two\) {2}\[11\] .*, killed by SIGSEGV \(core dumped\)$/);
  });

  it("does not lose processes whose parents make no sense", async () => {
    const file = folder.file("cycle.trace");
    const trace = new TextTrace()
      .thread(5, 1, 10, 10)
      .thread(3, 1, 11, 11, 0)
      .thread(4, 1, 12, 12, 1);
    await trace.event("task", { thread: 0 }).write(file);
    const { stdout } = await run("tree", file);
    for (const name of ["p3", "p4", "p5"]) expect(stdout).toContain(`${name} `);
  });
});

describe.each(["tree", "info", "pack", "dump", "replay"])("trace %s", (name) => {
  it("takes its word for the name of a trace, whatever it is", async () => {
    const cases = [
      ["", "NO_FILE", "the name of the trace is empty"],
      [folder.path, "NOT_A_TRACE", `${folder.path} is not a trace: it is a directory`],
      ["nothing", "NO_FILE", "there is no file nothing"],
    ] as const;
    for (const [word, code, message] of cases) {
      expect(await failure(name, word)).toMatchObject({ code, message });
    }
    await rememberLatest(path, env);
    expect(await failure(name, "p3")).toMatchObject({ code: "USAGE" });
  });
});

describe("trace show", () => {
  it("says that a word without a trace was taken for a filter", async () => {
    await rememberLatest(path, env);
    const error = await failure("show", "nothing");
    expect(error).toMatchObject({ message: expect.stringContaining("is not a syscall") });
    expect(error.hint).toMatch(/\nnothing is no trace, so it was taken for a filter$/);
  });
});

describe("trace info", () => {
  it("does not guess how a trace was recorded that is cut before it says so", async () => {
    const cut = folder.file("head.trace");
    writeFileSync(cut, readFileSync(path).subarray(0, 100));
    const { stdout } = await run("info", cut);
    expect(stdout).toContain("cannot: the trace is cut before it says how it was recorded");
  });

  it("tells about the recording and the file", async () => {
    const { stdout } = await run("info", path);
    expect(stdout).toMatch(/sample\.trace {2}complete$/m);
    expect(stdout).toMatch(/^ {2}command {4}sh -c 'cat \| x'$/m);
    expect(stdout).toMatch(/^ {2}ended {6}exit 0$/m);
    expect(stdout).toMatch(/^ {2}events {5}15: 8 call, 1 signal, 2 task, 2 exec, 2 exit$/m);
    expect(stdout).toMatch(/^ {2}lost {7}1 descriptor of unknown files$/m);
    expect(stdout).toMatch(/^ {2}note {7}one remark$/m);
  });

  it("breaks long lines where a terminal ends, below each other", async () => {
    const long = folder.file("long.trace");
    await sampleTrace().meta("notes", "some words ".repeat(20).trim()).write(long);
    const { stdout } = await runCommand(["info", long], { COLUMNS: "60" });
    expect(stdout.split("\n").filter((line) => line.length > 60)).toEqual([]);
    expect(stdout).toMatch(/\n {2}note {7}(?:some words ?){4}\n {13}(?:some words ?){4}\n/);
    expect((await runCommand(["info", long])).stdout).toContain("some words ".repeat(19));
  });

  it("is JSON, too", async () => {
    const document: unknown = JSON.parse((await run("info", path, "--format=json")).stdout);
    expect(document).toMatchObject({
      schema: "trace.info",
      state: "complete",
      events: 15,
      processes: 2,
      threads: 3,
      objects: 4,
      kinds: { call: 8, exit: 2 },
      lost: { descriptors: 1 },
      facts: { backend: "ptrace" },
    });
  });
});

describe("trace ls", () => {
  it("lists traces with their commands, and marks the latest one", async () => {
    rememberLatest(path, env);
    const { stdout } = await run("ls", folder.path);
    const line = stdout.split("\n").find((text) => text.includes("sample.trace"));
    expect(line).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d {2}complete +15 .*sample\.trace\* +sh -c/);
  });

  it("finds traces by their content, and says what cannot be read", async () => {
    const own = folder.file("mixed");
    mkdirSync(own);
    writeFileSync(`${own}/recording`, readFileSync(path));
    writeFileSync(`${own}/broken.trace`, "no trace");
    writeFileSync(`${own}/notes.txt`, "hello");
    const { stdout } = await run("ls", own, "--format=json");
    const { traces } = JSON.parse(stdout) as { traces: { path: string; state: string }[] };
    expect(
      traces.map(({ path: name, state }) => [name.slice(own.length + 1), state]).sort(),
    ).toEqual([
      ["broken.trace", "unreadable"],
      ["recording", "complete"],
    ]);
  });

  it("puts the later of one second first", async () => {
    const own = folder.file("same-second");
    mkdirSync(own);
    await sampleTrace().write(`${own}/z.trace`);
    const earlier = readFileSync(`${own}/z.trace`);
    const text = folder.file("earlier.txt");
    await run("dump", `${own}/z.trace`, "-o", text);
    writeFileSync(
      text,
      readFileSync(text, "latin1").replace(
        /^start (\d+)/m,
        (_, at) => `start ${BigInt(at) - 1000n}`,
      ),
    );
    await run("dump", "--assemble", text, "-o", `${own}/a.trace`);
    expect(readFileSync(`${own}/a.trace`)).not.toEqual(earlier);
    const { traces } = JSON.parse((await run("ls", own, "--format=json")).stdout);
    expect(traces.map(({ path: name }: { path: string }) => name.slice(own.length + 1))).toEqual([
      "z.trace",
      "a.trace",
    ]);
  });

  it("says how to make one where there is none", async () => {
    const empty = folder.file("empty");
    mkdirSync(empty);
    const { stdout, stderr, status } = await run("ls", empty);
    expect({ stdout, status }).toEqual({ stdout: "", status: 0 });
    expect(stderr).toBe(`trace: no traces in ${empty}\n  make one with: trace record PROGRAM\n`);
    expect(await failure("ls", folder.file("nowhere"))).toMatchObject({ code: "NO_FILE" });
    expect((await failure("ls", "")).message).toBe("there is no file or folder of an empty name");
  });

  it("names another place for a file where the kernel lets nobody make one", async () => {
    const hint = "nothing can be made in /proc: name another place";
    expect(await failure("dump", path, "-o", "/proc/x")).toMatchObject({ hint });
  });
});

describe("trace fields", () => {
  it("explains every field with an example", async () => {
    const { stdout } = await run("fields");
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    for (const { name, doc, example } of FIELDS) {
      expect(stdout).toContain(name);
      for (const word of doc.split(" ")) expect(stdout).toContain(word);
      expect(stdout).toContain(example);
    }
  });

  it("explains those that are asked for, by any of their names", async () => {
    const { stdout } = await run("fields", "errno", "--format=json");
    const { fields } = JSON.parse(stdout) as { fields: { name: string }[] };
    expect(fields.map(({ name }) => name)).toEqual(["err"]);
    expect(await failure("fields", "nofield")).toMatchObject({ code: "USAGE" });
  });
});

describe("trace dump", () => {
  it("writes text from which the same trace is made", async () => {
    const [text, again, second] = ["dump.txt", "again.trace", "again.txt"].map(folder.file) as [
      string,
      string,
      string,
    ];
    await run("dump", path, "-o", text);
    expect(readFileSync(text, "utf8")).toContain("event 1 call thread=0 code=257");
    await run("dump", "--assemble", text, "-o", again);
    await run("dump", again, "-o", second);
    expect(readFileSync(second, "utf8")).toBe(readFileSync(text, "utf8"));
  });

  it("replaces a file only with --force", async () => {
    const file = folder.file("there.txt");
    writeFileSync(file, "mine");
    expect(await failure("dump", path, "-o", file)).toMatchObject({ code: "EXISTS" });
    expect(readFileSync(file, "utf8")).toBe("mine");
    await run("dump", path, "-o", file, "--force");
    expect(readFileSync(file, "utf8")).not.toBe("mine");
  });

  it("keeps what is before the damage of a trace", async () => {
    const [damaged, text] = ["damaged.trace", "damaged.txt"].map(folder.file) as [string, string];
    const bytes = await manyCalls(folder.file("many.trace"));
    bytes.fill(0, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 40);
    writeFileSync(damaged, bytes);
    expect(await failure("dump", damaged, "-o", text)).toMatchObject({ code: "CORRUPT" });
    expect(readFileSync(text, "utf8")).toContain("event 1 call thread=0 code=3");
    expect(existsSync(`${text}.partial`)).toBe(false);
  });

  it("names the line of a mistake", async () => {
    const file = folder.file("wrong.txt");
    writeFileSync(file, "trace 1\ntick 100\nstart 1\nid 00\n");
    const error = await failure("dump", "--assemble", file, "-o", folder.file("wrong.trace"));
    expect(error).toMatchObject({ code: "TEXT", message: expect.stringContaining("line 4") });
    expect(await failure("dump", "--assemble", file)).toMatchObject({ code: "USAGE" });
  });
});

describe("a file that finds no room", () => {
  it.each([["dump"], ["diff", "--format=html", path]])(
    "is not there at all: trace %s",
    async (...[command = "", ...words]) => {
      const trace = folder.file(`${command}-many.trace`);
      await manyCalls(trace);
      const output = folder.file(`${command}.out`);
      const line = 'ulimit -f 8; exec "$@"';
      const argv = ["-c", line, "sh", cli, command, ...words, trace, "-o", output];
      const { status, stderr } = spawnSync("sh", argv, { env: { ...process.env, ...env } });
      expect(status).toBe(2);
      expect(String(stderr)).toMatch(/file too large/i);
      expect([output, `${output}.partial`].filter(existsSync)).toEqual([]);
    },
  );
});

describe("trace pack", () => {
  it("makes a copy, and reports what is no longer there", async () => {
    const file = folder.file("mapped.trace");
    await new TextTrace()
      .thread(1, 1, 10, 10)
      .event("map", {
        args: [4096, 4096, 0, 5, 1, 1],
        captures: [
          [0, "in", 0, "/usr/bin/gone"],
          [2, "in", 0, Uint8Array.from({ length: 32 }, () => 7)],
        ],
      })
      .write(file);
    const copy = folder.file("packed.trace");
    const { status, stderr } = await run("pack", file, "-o", copy);
    expect(status).toBe(1);
    expect(stderr).toContain("not in the cache any more: /usr/bin/gone");
    expect(existsSync(copy)).toBe(true);
    expect(await failure("pack", file, "-o", copy)).toMatchObject({ code: "EXISTS" });
  });
});

describe("trace doctor", () => {
  it("tries everything, and says that recording works", async () => {
    const { stdout, status } = await run("doctor", "--format=json");
    const document = JSON.parse(stdout) as {
      works: boolean;
      findings: { topic: string; verdict: string; text: string }[];
    };
    expect({ status, works: document.works }).toEqual({ status: 0, works: true });
    const topics = document.findings.map(({ topic }) => topic);
    expect(topics).toEqual(
      expect.arrayContaining(["recording", "ptrace", "seccomp", "memory", "disk"]),
    );
    expect(new Set(topics).size).toBe(topics.length);
  });

  it("fits 80 columns", async () => {
    const { stdout } = await run("doctor");
    expect(stdout).toMatch(/^ok {5}recording {5}works/m);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });
});
