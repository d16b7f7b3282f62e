/**
 * `trace replay` as a process: real programs are recorded and replayed, traces are changed in between, and what the command
 * prints and how it ends is compared. Needs the build (`pretest`).
 */

import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { replay as replayTrace } from "../../src/replay.js";
import { openTrace } from "../../src/trace/open.js";
import { cli, folder, type Recorded, record, run, stateOf } from "../record/support.js";
import {
  assemble,
  callsOf,
  partsOf,
  replay,
  replayWords,
  type TextEvent,
  type TextParts,
} from "../replay/support.js";
import { freedomUntil } from "../support/time.js";

/** Says who its parent is, on both streams, in an order that shows; ends with 7. */
const asking = `
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static void say(int fd, const char *text) { if (write(fd, text, strlen(text)) < 0) abort(); }
int main(void)
{
	char line[64];
	long parent = syscall(SYS_getppid);
	say(1, "one\\n");
	say(2, "two\\n");
	snprintf(line, sizeof line, "parent %ld\\n", parent);
	say(1, line);
	syscall(SYS_getuid);
	say(2, "four\\n");
	return 7;
}
`;

const dying = `
#include <signal.h>
#include <unistd.h>
int main(void) { if (write(1, "last words\\n", 11) < 0) return 1; raise(SIGTERM); return 0; }
`;

/** Ends only when somebody writes to its input: with an end of its recording changed, it would wait for ever. */
const spinning = `
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
	volatile long turns = 0;
	while (syscall(SYS_getppid) == -1) turns++;
	if (syscall(SYS_getuid) == 77) for (;;) turns++;
	return 0;
}
`;

function build(source: string, ...flags: string[]): string {
  const file = join(folder(), "program");
  writeFileSync(`${file}.c`, source);
  execFileSync("gcc", ["-O1", "-Wall", "-Werror", "-o", file, `${file}.c`, ...flags]);
  return file;
}

/** A trace beside the first one, changed: it finds the same files. */
async function changed(file: string, change: (parts: TextParts) => void): Promise<string> {
  const parts = await partsOf(file);
  change(parts);
  return assemble(parts, join(dirname(file), "changed.trace"));
}

/** Copies the trace and its files to another folder. */
function elsewhere(file: string): string {
  const dir = folder();
  execFileSync("cp", ["-r", join(dirname(file), "cache"), dir]);
  const copy = join(dir, "copy.trace");
  copyFileSync(file, copy);
  return copy;
}

function first<T>(list: readonly T[], k = 0): T {
  const found = list.at(k);
  if (found === undefined) throw new Error(`nothing at ${k} of ${list.length}`);
  return found;
}

function reportOf(file: string): { desyncs: { seq: number; reason: string }[]; faithful: boolean } {
  return JSON.parse(readFileSync(file, "utf8"));
}

let asked: Recorded;

beforeAll(async () => {
  asked = await record([build(asking)]);
  expect(asked).toMatchObject({ code: 7, stderr: "two\nfour\n" });
});

describe("a faithful replay", () => {
  it("writes what the program wrote, ends as it ended, and says nothing", async () => {
    const { code, stdout, stderr } = asked;
    expect(await replay(asked.file)).toEqual({ code, stdout, stderr, signal: null });
  });

  it("keeps the order of both streams", async () => {
    const all = join(folder(), "all");
    const words = replayWords(asked.file).map((word) => `'${word}'`);
    const env = stateOf(dirname(asked.file));
    await run(["sh", "-c", `${words.join(" ")} > '${all}' 2>&1`], { env });
    const parent = asked.stdout.replace("one\n", "");
    expect(readFileSync(all, "latin1")).toBe(`one\ntwo\n${parent}four\n`);
  });

  it("ends by the signal that ended the program", async () => {
    const { file, signal } = await record([build(dying)]);
    expect(signal).toBe("SIGTERM");
    const again = await replay(file);
    expect(again).toEqual({ code: null, signal: "SIGTERM", stdout: "last words\n", stderr: "" });
  });

  it("needs neither the program nor its folder nor its environment", async () => {
    const program = build(asking);
    const one = await record([program], { env: { SOME: "thing" } });
    rmSync(dirname(program), { recursive: true });
    const copy = elsewhere(one.file);
    const again = await replay(copy, [], { cwd: "/", env: { OTHER: "thing", LC_ALL: "C.UTF-8" } });
    expect(again).toMatchObject({ code: 7, stdout: one.stdout, stderr: one.stderr });
  });

  it("of a packed trace needs no cache", async () => {
    const { file, code, stdout } = await record([build(asking)], { options: ["--pack"] });
    const copy = join(folder(), "alone.trace");
    copyFileSync(file, copy);
    const again = await replay(copy);
    expect(again).toMatchObject({ code, stdout });
    expect(existsSync(join(dirname(copy), "cache", "trace", "objects"))).toBe(false);
  });

  it("can be muted, and repeated with its output written once", async () => {
    expect(await replay(asked.file, ["--no-output"])).toMatchObject({
      code: 7,
      stdout: "",
      stderr: "",
    });
    const { stdout, stderr } = await replay(asked.file, ["--repeat=3", "-v"]);
    expect(stdout).toBe(asked.stdout);
    expect(stderr).toMatch(
      /^two\nfour\ntrace: replayed \d+ events, 1 process, 1 thread, 3 times, no difference, /,
    );
  });

  it("waits for who reads slowly", async () => {
    const { file, stdout } = await record(["sh", "-c", "seq 30000"]);
    const words = replayWords(file).map((word) => `'${word}'`);
    const env = stateOf(dirname(file));
    const slow = await run(["sh", "-c", `${words.join(" ")} | { sleep 0.5; cat; }`], { env });
    expect(slow.stdout).toBe(stdout);
  });

  it("goes on to the end when nobody reads any more", async () => {
    const { file } = await record(["sh", "-c", "seq 30000; exit 5"]);
    const words = replayWords(file).map((word) => `'${word}'`);
    const env = stateOf(dirname(file));
    const done = await run(["bash", "-c", `${words.join(" ")} | head -1; echo \${PIPESTATUS[0]}`], {
      env,
    });
    expect(done).toMatchObject({ stdout: "1\n5\n", stderr: "" });
  });
});

describe("a part of a recording", () => {
  it("up to an event: what was written until then, and no failure", async () => {
    const parts = await partsOf(asked.file);
    const seq = first(callsOf(parts, "write"), 1).seq;
    const part = await replay(asked.file, [`--until=@${seq}`]);
    expect(part).toMatchObject({ code: 0, stdout: "one\n", stderr: "two\n" });
  });

  it("one process: its output, and its own exit code", async () => {
    const { file } = await record(["sh", "-c", "echo first; (echo second; exit 4); true"]);
    const trace = await openTrace(file);
    expect(trace.processes.map(({ number }) => number)).toEqual([1, 2]);
    trace.close();
    expect(await replay(file, ["--process=p2"])).toMatchObject({ code: 4, stdout: "second\n" });
  });

  it("only the programs' loads: nothing is written", async () => {
    const loaded = await replay(asked.file, ["--exec-only"]);
    expect(loaded).toEqual({ code: 0, signal: null, stdout: "", stderr: "" });
  });

  it.each([
    [["--process=p9"], "no process p9"],
    [["--process=9"], "not a process"],
    [["--until=@99999999"], "no event @99999999"],
    [["--until=soon"], "not an event"],
    [["--timeout=soon"], "not a span of time"],
    [["--repeat=0"], "not a whole number"],
    [["--on-desync=ignore"], "Allowed choices are stop, warn"],
    [["-j", "0"], "not a whole number"],
  ])("refuses %j", async (options, message) => {
    const { code, stdout, stderr } = await replay(asked.file, options);
    expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
    expect(stderr).toMatch(/^trace: .*\n(?: {2}\S.*\n)?$/);
    expect(stderr).toContain(message);
  });
});

/** Changes of a recording that the program can see, and where. */
interface Change {
  readonly name: string;
  readonly reason: string;
  change(parts: TextParts): TextEvent;
}

const changes: readonly Change[] = [
  {
    name: "a byte that was written",
    reason: "memory",
    change(parts) {
      const write = first(callsOf(parts, "write"));
      write.more = write.more.map((line) => line.replace('"one', '"onf'));
      return write;
    },
  },
  {
    name: "a result",
    reason: "memory",
    change(parts) {
      // The parent that is said to be another one, of as many digits, is written by the third write.
      const { fields } = first(callsOf(parts, "getppid"));
      fields.ret = fields.ret?.replace(/^./, (digit) => (digit === "1" ? "2" : "1")) ?? "";
      return first(callsOf(parts, "write"), 2);
    },
  },
  {
    name: "an argument",
    reason: "argument",
    change(parts) {
      const write = first(callsOf(parts, "write"), 1);
      write.fields.args = (write.fields.args ?? "").replace(/^0x2,/, "0x1,");
      return write;
    },
  },
  {
    name: "the call itself",
    reason: "number",
    change(parts) {
      const uid = first(callsOf(parts, "getuid"));
      uid.fields.code = "104";
      return uid;
    },
  },
  {
    name: "the place of a call",
    reason: "ip",
    change(parts) {
      const uid = first(callsOf(parts, "getuid"));
      uid.fields.ip = `0x${(BigInt(uid.fields.ip ?? 0) + 16n).toString(16)}`;
      return uid;
    },
  },
  {
    name: "the stack of a call",
    reason: "sp",
    change(parts) {
      const uid = first(callsOf(parts, "getuid"));
      uid.fields.sp = `0x${(BigInt(uid.fields.sp ?? 0) + 16n).toString(16)}`;
      return uid;
    },
  },
];

it("a report says who made the call, down to the line of the source", async () => {
  const { file } = await record([build(asking, "-g")]);
  const copy = await changed(file, (parts) => {
    for (const event of callsOf(parts, "write"))
      event.more = event.more.map((line) => line.replace('"four', '"five'));
  });
  const { code, stderr } = await replay(copy);
  expect(code).toBe(3);
  expect(stderr).toMatch(/^ {2}at .*libc.*write/m);
  // The compiler may have put the function that writes into main, or not.
  expect(stderr).toMatch(/^ {2}called by .*\((say|main)\+0x.*program\.c:\d+\)/m);
  const lines = [...stderr.matchAll(/program\.c:(\d+)\)/g)].map(([, line]) => Number(line));
  const wanted = asking.split("\n").findIndex((text) => text.includes('"four')) + 1;
  expect(lines).toContain(wanted);
  const report = join(folder(), "report.json");
  await replay(copy, ["--format=json", `--report=${report}`]);
  const [desync] = JSON.parse(readFileSync(report, "utf8")).desyncs;
  expect(desync.callers.length).toBeGreaterThan(1);
  expect(desync.callers[0].source.file).toMatch(/program\.c$/);
});

it("a report says when what came is recorded a little further on", async () => {
  const copy = await changed(asked.file, (parts) => {
    const index = parts.events.indexOf(first(callsOf(parts, "getppid")));
    const extra = parts.events[index];
    if (extra === undefined) throw new Error("no call");
    // An identity that the program never asked for.
    parts.events.splice(index, 0, { ...extra, fields: { ...extra.fields, code: "104" } });
  });
  const { code, stderr } = await replay(copy);
  expect(code).toBe(3);
  expect(stderr).toMatch(/-> what came is what the recording has at @\d+\n/);
});

describe("a recording that was changed differs at the event that shows it", () => {
  it.each(changes)("$name", async ({ reason, change }) => {
    let seq = -1;
    const file = await changed(asked.file, (parts) => {
      seq = change(parts).seq;
    });
    const json = join(dirname(file), "report.json");
    const done = await replay(file, ["--format=json", `--report=${json}`]);
    expect({ code: done.code, desyncs: reportOf(json).desyncs }).toMatchObject({
      code: 3,
      desyncs: [{ seq, reason }],
    });
  });

  it("a call that was taken out", async () => {
    let seq = -1;
    const file = await changed(asked.file, (parts) => {
      seq = parts.events.indexOf(first(callsOf(parts, "getuid")));
      parts.events.splice(seq, 1);
    });
    const json = join(dirname(file), "report.json");
    expect(await replay(file, ["--format=json", `--report=${json}`])).toMatchObject({ code: 3 });
    // The write behind it is expected, and getuid comes.
    expect(reportOf(json).desyncs).toMatchObject([{ seq, reason: "number" }]);
  });

  it("two calls that were swapped", async () => {
    let seq = -1;
    const file = await changed(asked.file, ({ events }) => {
      seq = events.findIndex((event) => event.fields.code === "102" && event.kind === "call");
      const [one, other] = [events[seq], events[seq + 1]] as [TextEvent, TextEvent];
      events[seq] = other;
      events[seq + 1] = one;
    });
    const json = join(dirname(file), "report.json");
    expect(await replay(file, ["--format=json", `--report=${json}`])).toMatchObject({ code: 3 });
    expect(reportOf(json).desyncs).toMatchObject([{ seq, reason: "number" }]);
  });

  it("what the program cannot see changes nothing", async () => {
    const file = await changed(asked.file, (parts) => {
      first(callsOf(parts, "getuid")).fields.ret = "5";
    });
    expect(await replay(file)).toMatchObject({
      code: 7,
      stdout: asked.stdout,
      stderr: asked.stderr,
    });
  });
});

describe("the report of a difference", () => {
  let file = "";
  let seq = -1;

  beforeAll(async () => {
    file = await changed(asked.file, (parts) => {
      const write = first(callsOf(parts, "write"), 2);
      seq = write.seq;
      write.more = write.more.map((line) => line.replace('"parent', '"Parent'));
    });
  });

  it("stands on stderr, behind what the program wrote until then; exit code 3", async () => {
    const { code, stdout, stderr } = await replay(file);
    expect({ code, stdout }).toEqual({ code: 3, stdout: "one\n" });
    const lines = stderr.split("\n");
    expect(lines.slice(0, 2)).toEqual([
      "two",
      `trace: replay differs from the recording at @${seq}: write hands out other bytes in buf`,
    ]);
    expect(stderr).toMatch(/\n {2}expected +write\(1<.*>, "Parent \d+\\n", \d+\) = \d+\n/);
    expect(stderr).toMatch(/\n {2}replayed +write\(1<.*>, "parent \d+\\n", \d+\)\n/);
    expect(stderr).toMatch(/\n {2}> {2}buf +"Parent \d+\\n" +"parent \d+\\n"\n/);
    expect(stderr).toMatch(
      /\n {2}at +\/.*libc\.so\.6\+0x[\da-f]+ \(.*write.*\+0x[\da-f]+(?: at \S+write\.c:\d+)?\)\n/,
    );
    expect(stderr).toMatch(/\n {4}expected {2}50 61 .*\n {4}replayed {2}70 61 .*\n {14}\^\^\n/);
    // Five before, the event, and the four that the program still made.
    expect(stderr.match(/^ {2}[> ] @\d+ /gm)?.length).toBeGreaterThanOrEqual(9);
    expect(stderr).toMatch(new RegExp(`^ {2}> @${seq} `, "m"));
    expect(stderr).toContain(`trace show ${file} p1 @`);
  });

  it("is written to a file, and nothing else is said", async () => {
    const report = join(dirname(file), "report.txt");
    expect(await replay(file, [`--report=${report}`])).toMatchObject({ code: 3, stderr: "two\n" });
    expect(readFileSync(report, "utf8")).toMatch(/^trace: replay differs /);
  });

  it("as JSON is one document, also without any difference", async () => {
    const { code, stdout, stderr } = await replay(file, ["--format=json", "--no-output"]);
    expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
    expect(JSON.parse(stderr)).toMatchObject({
      schema: "trace.replay",
      faithful: false,
      desyncs: [{ seq, reason: "memory", bytes: { name: "buf", offset: 0 } }],
    });
    const good = await replay(asked.file, ["--format=json", "--no-output"]);
    expect(JSON.parse(good.stderr)).toMatchObject({ faithful: true, exitCode: 7, desyncs: [] });
  });

  it("is an annotation and a summary under GitHub Actions", async () => {
    const summary = join(dirname(file), "summary.md");
    const env = { GITHUB_ACTIONS: "true", GITHUB_STEP_SUMMARY: summary };
    const { stderr } = await replay(file, [], { env });
    expect(stderr).toMatch(
      new RegExp(`^::error title=trace replay .*::p1 \\(.*\\) at @${seq}: write hands out`, "m"),
    );
    expect(readFileSync(summary, "utf8")).toContain(
      "### trace replay\n\n```text\ntrace: replay differs",
    );
    const before = readFileSync(summary, "utf8");
    expect((await replay(asked.file, [], { env })).stderr).toBe(asked.stderr);
    expect(readFileSync(summary, "utf8")).toBe(before);
  });

  it("does not end the replay with --on-desync=warn", async () => {
    const { code, stdout, stderr } = await replay(file, ["--on-desync=warn"]);
    expect(code).toBe(3);
    expect(stdout).toBe(asked.stdout.replace("parent", "Parent"));
    expect(stderr).toContain("four\n");
    expect(stderr.match(/^trace: replay differs/gm)).toHaveLength(1);
  });

  it("ends a repetition", async () => {
    const { code, stderr } = await replay(file, ["--repeat=5", "--no-output", "-v"]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/\ntrace: replayed \d+ events, 1 difference, /);
  });
});

describe("never a hang", () => {
  let file = "";

  beforeAll(async () => {
    const { file: recorded } = await record([build(spinning)]);
    file = await changed(recorded, (parts) => {
      first(callsOf(parts, "getuid")).fields.ret = "77";
    });
  });

  it("a program that spins is stuck after its time, with a report", async () => {
    const { code, stderr } = await replay(file, ["--stuck-after=1s"]);
    expect(code).toBe(3);
    expect(stderr).toMatch(
      /^trace: replay differs .*: the program runs on and does not come to exit_group\n/,
    );
    expect(stderr).toMatch(/\n {2}replayed +nothing\n/);
    expect(stderr).toMatch(/\n {2}replayed at +\/.*\/program\+0x[\da-f]+ \(main\+0x[\da-f]+\)\n/);
    expect(stderr).toContain("--stuck-after=10m");
  });

  it("--timeout ends it with 124", async () => {
    const { code, stdout, stderr } = await replay(file, ["--timeout=500ms"]);
    expect({ code, stdout }).toEqual({ code: 124, stdout: "" });
    expect(stderr).toMatch(/^trace: the replay was not done after 0.5 s\n {2}.*--timeout/);
  });

  it("--timeout ends it also when nobody takes the output", async () => {
    const { file: long } = await record(["sh", "-c", "seq 200000"]);
    const words = replayWords(long, "--timeout=1s").map((word) => `'${word}'`);
    const env = stateOf(dirname(long));
    const done = await run(["bash", "-c", `${words.join(" ")} | sleep 4; echo \${PIPESTATUS[0]}`], {
      env,
    });
    expect(done.stdout).toBe("124\n");
  });
});

describe("a trace that cannot be replayed", () => {
  it.each([
    [["--observe"], "--observe"],
    [["-e", "openat"], "-e"],
    [["--observe", "--data=none"], "--observe and --data=none"],
    [["--backend=notify"], "--backend=notify"],
  ])("recorded with %j says so in one line, with the way out", async (options, without) => {
    const { file } = await record(["true"], { options });
    const { code, stdout, stderr } = await replay(file);
    expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
    expect(stderr).toMatch(
      new RegExp(
        `^trace: the trace was recorded with --?\\w.* looked at but not replayed\\n  record again without ${without}\\n$`,
      ),
    );
  });

  it("names the reasons that the recorder saw", async () => {
    const file = await changed(asked.file, ({ head }) => {
      head.push('meta "unreplayable" "it shared memory with a process that was not recorded"');
    });
    const { code, stderr } = await replay(file);
    expect(code).toBe(125);
    expect(stderr).toContain("it shared memory with a process that was not recorded");
    const info = await run([...replayWords(file).slice(0, 1), "info", file]);
    expect(info.stdout).toMatch(/\n {2}replay +cannot: it shared memory with/);
  });

  it("names the file that is missing, its hash, and the command that would have kept it", async () => {
    const copy = join(folder(), "alone.trace");
    copyFileSync(asked.file, copy);
    for (const options of [[], ["--exec-only"]]) {
      const { code, stdout, stderr } = await replay(copy, options);
      expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
      expect(stderr).toMatch(/^trace: .*\/program.*[\da-f]{16}/);
      expect(stderr).toContain("trace pack");
    }
  });

  it("says beforehand which library is gone, however late it was mapped", async () => {
    const copy = elsewhere(asked.file);
    const cache = join(dirname(copy), "cache");
    const info = async (XDG_CACHE_HOME: string, ...options: string[]) =>
      (await run([cli, "info", copy, ...options], { env: { XDG_CACHE_HOME } })).stdout;
    const missing = async (folder: string): Promise<{ hash: string; path: string }[]> =>
      JSON.parse(await info(folder, "--format=json")).replay.missing;
    expect(await info(cache)).toMatch(/^ {2}replay +can be replayed$/m);
    expect(await missing(cache)).toEqual([]);
    const all = await missing(folder());
    expect(all.map(({ path }) => path).filter((path) => /\/program$/.test(path))).toHaveLength(1);
    const { hash, path } = first(all.filter((file) => /\/libc[.-].*so/.test(file.path)));
    rmSync(join(cache, "trace/objects", hash.slice(0, 2), hash.slice(2)));
    expect(await info(cache)).toContain(
      "cannot: 1 mapped file is neither in the trace nor in the object store\n" +
        `             ${path} (BLAKE3 ${hash})\n`,
    );
    expect(await missing(cache)).toEqual([{ hash, path }]);
    for (const options of [[], ["--exec-only"]]) {
      const { code, stdout, stderr } = await replay(copy, options);
      expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
      expect(stderr).toContain(`the mapped file ${path} is neither`);
    }
  });

  it("does not take a file that cannot be opened for one that is gone", async () => {
    const libraries = `
import glob, mmap
for name in glob.glob("/usr/lib/x86_64-linux-gnu/lib*.so*")[:100]:
    with open(name) as file: mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
`;
    const { file } = await record(["python3", "-c", libraries]);
    const words = ["prlimit", "--nofile=44:44", ...replayWords(file)];
    const { code, stderr } = await run(words, { env: stateOf(dirname(file)) });
    expect(code).toBe(125);
    expect(stderr).toMatch(
      /^trace: cannot \w.*: Too many open files\n {2}raise .*: ulimit -n 1024\n$/,
    );
  });

  it("that is cut is replayed up to the cut", async () => {
    const { file, stdout } = await record(["sh", "-c", "seq 40000"]);
    const cut = join(dirname(file), "cut.trace");
    copyFileSync(file, cut);
    truncateSync(cut, Math.floor(readFileSync(file).length * 0.6));
    const done = await replay(cut);
    expect(done.code).toBe(0);
    expect(stdout.startsWith(done.stdout)).toBe(true);
    expect(done.stderr).toMatch(/^trace: .*cut\.trace is cut /);
  });

  it("is no trace at all", async () => {
    expect(await replay("/etc/passwd")).toMatchObject({ code: 125, stdout: "" });
    const extra = await run([...replayWords(asked.file), "more"]);
    expect(extra).toMatchObject({ code: 125 });
    expect(extra.stderr).toContain("unexpected argument 'more'");
  });
});

describe("the library", () => {
  const withCache = async <T>(file: string, work: () => Promise<T>): Promise<T> => {
    const before = process.env.XDG_CACHE_HOME;
    process.env.XDG_CACHE_HOME = join(dirname(file), "cache");
    try {
      return await work();
    } finally {
      if (before === undefined) delete process.env.XDG_CACHE_HOME;
      else process.env.XDG_CACHE_HOME = before;
    }
  };

  it("hands the output over in order, and all of it before it is done", async () => {
    const parts: string[] = [];
    const result = await withCache(asked.file, () =>
      replayTrace(asked.file, {
        onOutput: (stream, bytes) =>
          parts.push(`${stream}:${Buffer.from(bytes).toString("latin1")}`),
      }),
    );
    expect(result).toMatchObject({
      faithful: true,
      exitCode: 7,
      exitSignal: undefined,
      desyncs: [],
    });
    const parent = asked.stdout.replace("one\n", "");
    expect(parts.join("")).toBe(`1:one\n2:two\n1:${parent}2:four\n`);
  });

  it("keeps the event loop free", async () => {
    const { file } = await record(["sh", "-c", "seq 20000; ls -R /usr/share/doc > /dev/null"]);
    const replaying = () => withCache(file, () => replayTrace(file));
    expect(await freedomUntil(replaying)).toBeGreaterThan(0.05);
  });

  it("can be aborted, before and meanwhile", async () => {
    const { file: recorded } = await record([build(spinning)]);
    const file = await changed(recorded, (parts) => {
      first(callsOf(parts, "getuid")).fields.ret = "77";
    });
    await expect(replayTrace(file, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ABORTED",
    });
    // It would never end by itself: in 30 s it is stuck, which is not to be aborted.
    const running = withCache(file, () => replayTrace(file, { signal: AbortSignal.timeout(300) }));
    await expect(running).rejects.toMatchObject({ code: "ABORTED" });
  });

  it("passes an error of the callback on, and ends", async () => {
    const running = withCache(asked.file, () =>
      replayTrace(asked.file, {
        onOutput: () => {
          throw new RangeError("no room");
        },
      }),
    );
    await expect(running).rejects.toThrow(RangeError);
  });
});
