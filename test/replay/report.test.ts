/** What a desync report says, of desyncs and traces that are written by hand. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { replayJson } from "../../src/replay/json.js";
import { type DesyncReport, desyncReport } from "../../src/replay/report.js";
import { reportText } from "../../src/replay/text.js";
import type { Desync, ReplayResult } from "../../src/replay.js";
import { plainPainter } from "../../src/report/color.js";
import { EventKind } from "../../src/trace/batch.js";
import { openTrace } from "../../src/trace/open.js";
import type { Trace } from "../../src/trace/trace.js";
import { pack } from "../support/batch.js";
import { TextTrace, temporaryFolder } from "../support/text_trace.js";
import { came, cameCall, desync } from "./support.js";

const folder = temporaryFolder();
let trace: Trace;

/** Events of p1: 0 exec, 1-2 loads, 3 openat, 4 read, 6 write, 8 signal, 10 to 15 getpid, 16 exit; p2 has the odd ones. */
function sample(): TextTrace {
  const text = new TextTrace()
    .meta("argv", `["sh","-c","echo it's"]`)
    .meta("mode", "replayable")
    .thread(1, 1, 100, 100)
    .thread(2, 1, 102, 102, 0, 5)
    .object("dir", "/srv")
    .object("file", "/etc/passwd")
    .object("pipe", "pipe:[17]")
    .event("exec", {
      captures: [
        [0, "in", 0, "/bin/sh"],
        [1, "in", 0, "sh\0-c\0echo it's\0"],
        [3, "in", 0, "/srv"],
      ],
    })
    .event("map", {
      args: [0x400000, 0x2000, 0x1000, 5, 7, 1],
      captures: [[0, "in", 0, "/bin/sh"]],
    })
    .event("map", {
      args: [0x7000000, 0x1000, 0, 5, 8, 1],
      captures: [[0, "in", 0, "/lib/my lib.so"]],
    })
    .call("openat", {
      args: [-100, 0x1000, 0x80000, 0],
      ret: 3,
      captures: [[1, "in", 0x1000, "/etc/passwd\0"]],
      refs: [
        ["cwd", -1, 0],
        ["ret", 3, 1],
      ],
    })
    .call("read", {
      args: [3, 0x2000, 100],
      ret: 5,
      captures: [[1, "out", 0x2000, "root:"]],
      refs: [[0, 3, 1]],
    })
    .event("task", { thread: 1, args: [1, 0x11] })
    .call("write", {
      args: [1, 0x3000, 70],
      ret: 70,
      captures: [[1, "in", 0x3000, `${"x".repeat(60)}0123456789`]],
      refs: [[0, 1, 2]],
    })
    .call("getpid", { thread: 1, ret: 102 })
    .event("signal", { code: 14, args: [0x80, 0, 1], captures: [[0, "in", 0, siginfo(14, 0x80)]] })
    .call("getppid", { thread: 1, ret: 100 });
  for (let k = 0; k < 6; k++) text.call("getpid", { ret: 100 });
  return text.event("exit", { args: [1] }).event("exit", { thread: 1, args: [1] });
}

function siginfo(signal: number, code: number): Uint8Array {
  const info = new Uint8Array(128);
  info.set(pack([4, signal], [4, 0], [4, code]));
  return info;
}

beforeAll(async () => {
  trace = await openTrace(await sample().write(folder.file("sample trace")));
});
afterAll(() => {
  trace.close();
  folder.remove();
});

function report(seq: number, spec: Partial<Desync> & { readonly reason: string }) {
  return desyncReport(trace, desync(seq, spec));
}

function text(found: DesyncReport): string {
  return reportText(found, trace, plainPainter, false);
}

const differing = ({ fields }: DesyncReport) =>
  fields.filter(({ differs }) => differs).map(({ name }) => name);

describe("a changed argument", () => {
  const actual = () =>
    cameCall(3, "openat", {
      args: [-100, 0x1000, 0x80000, 0],
      captures: [{ slot: 1, addr: 0x1000, bytes: "/etc/shadow" }],
    });

  it("is named, and every other field is shown as equal", async () => {
    const found = await report(3, { reason: "argument", argument: 1, actual: actual() });
    expect(differing(found)).toEqual(["filename"]);
    expect(found.fields.map(({ name }) => name)).toEqual(["call", "dfd", "filename", "flags"]);
    expect(found.summary).toBe("openat has another filename");
    expect(found.process).toEqual({
      number: 1,
      thread: "p1",
      tid: 100,
      argv: ["sh", "-c", "echo it's"],
      path: "/bin/sh",
    });
  });

  it("is marked, in one table with what was expected", async () => {
    const lines = text(await report(3, { reason: "argument", argument: 1, actual: actual() }));
    expect(lines.split("\n")[0]).toBe(
      "trace: replay differs from the recording at @3: openat has another filename",
    );
    expect(lines).toContain("  process   p1 [100]  sh -c 'echo it'\\''s'\n");
    expect(lines).toContain(
      '  expected  openat(AT_FDCWD</srv>, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3</etc/passwd>\n',
    );
    expect(lines).toContain(
      '  replayed  openat(AT_FDCWD</srv>, "/etc/shadow", O_RDONLY|O_CLOEXEC)\n',
    );
    expect(lines).toMatch(/\n {2}> {2}filename {2}"\/etc\/passwd" +"\/etc\/shadow"\n/);
    expect(lines.match(/^ {2}> {2}/gm)).toHaveLength(1);
  });

  it("is found in the raw register when no decoded argument shows it", async () => {
    const read = cameCall(4, "read", { args: [3, 0x2000, 100, 9] });
    const found = await report(4, { reason: "argument", argument: 3, actual: read });
    expect(differing(found)).toEqual(["register 4"]);
  });

  it("shows the end of long strings, where they differ", async () => {
    const bytes = new TextEncoder().encode(`${"x".repeat(60)}0123456700`);
    const write = cameCall(6, "write", {
      args: [1, 0x3000, 70],
      captures: [{ slot: 1, addr: 0x3000, bytes }],
    });
    const lines = text(await report(6, { reason: "argument", argument: 1, actual: write }));
    expect(lines).toMatch(/> {2}buf +\.\.\."456789" +\.\.\."456700"\n/);
  });
});

describe("another call", () => {
  it("is put beside the expected one", async () => {
    const actual = cameCall(4, "write", {
      args: [3, 0x2000, 2],
      captures: [{ slot: 1, addr: 0x2000, bytes: new TextEncoder().encode("ab") }],
    });
    const found = await report(4, { reason: "number", actual });
    expect(found.summary).toBe("read was recorded, write came");
    expect(differing(found)).toEqual(["call"]);
    // The descriptor is the one that the calls before it speak of.
    expect(text(found)).toContain('  replayed  write(3</etc/passwd>, "ab", 2)\n');
  });

  it("of another architecture is not the same by its name", async () => {
    const found = await report(4, { reason: "number", actual: cameCall(4, "read", { arch: 1 }) });
    expect(found.summary).toBe("read was recorded, read (i386) came");
  });

  it("that no table knows is shown raw", async () => {
    const call = cameCall(4, "read", { args: [1, 2, 3, 4, 5, 6] });
    if (call === undefined) throw new Error("no call");
    const actual = { ...call, batch: { ...call.batch, code: Int32Array.of(9999) } };
    const found = await report(4, { reason: "number", actual });
    expect(text(found)).toContain("replayed  syscall_0x270f(0x1, 0x2, 0x3, 0x4, 0x5, 0x6)");
  });
});

describe("other bytes", () => {
  const memory = {
    slot: 1,
    address: 0x3000n,
    offset: 62,
    from: 46,
    expected: new TextEncoder().encode(`${"x".repeat(14)}0123456789`),
    actual: new TextEncoder().encode(`${"x".repeat(14)}01_3456789`),
  };
  const spec = {
    reason: "memory",
    memory,
    actual: cameCall(6, "write", { args: [1, 0x3000, 70] }),
  };

  it("are shown from a few bytes before the difference on, with a mark below it", async () => {
    const found = await report(6, spec);
    expect(found.summary).toBe("write hands out other bytes in buf from byte 62 on");
    const lines = text(found).split("\n");
    const at = lines.findIndex((line) =>
      line.includes("bytes of buf (0x3000), the first difference at 62"),
    );
    const [expected = "", replayed = "", mark = ""] = lines.slice(at + 1);
    expect(expected).toMatch(/^ {4}expected {2}78 78 30 31 32 33 .* "xx0123456789"$/);
    expect(replayed).toMatch(/^ {4}replayed {2}78 78 30 31 5f 33 .* "xx01_3456789"$/);
    expect(replayed.slice(mark.indexOf("^"), mark.length)).toBe("5f");
  });

  it("may be missing on one side", async () => {
    const gone = { ...memory, actual: new Uint8Array(0) };
    expect(text(await report(6, { ...spec, memory: gone }))).toContain("bytes of buf");
  });
});

describe("other events", () => {
  it.each([
    [
      4,
      "kind",
      came("signal", 4, { kind: EventKind.Signal, code: 11 }),
      "read was recorded, SIGSEGV came",
    ],
    [
      4,
      "exit",
      came("ended", 4, { kind: EventKind.Exit, code: 0x300, args: [1] }),
      "read was recorded, the end with code 3 came",
    ],
    [
      4,
      "exit",
      came("ended", 4, { kind: EventKind.Exit, code: 9, args: [1] }),
      "read was recorded, the end by SIGKILL came",
    ],
    [8, "kind", cameCall(8, "getpid"), "SIGALRM was recorded, getpid came"],
    [
      8,
      "signal",
      came("signal", 8, { kind: EventKind.Signal, code: 15 }),
      "SIGALRM was recorded, SIGTERM came",
    ],
    [
      4,
      "stuck",
      came("held", 4, { kind: EventKind.Preempt, code: 0 }),
      "the program runs on and does not come to read",
    ],
    [4, "kind", undefined, "read was recorded, nothing came"],
    [4, "unmapped", undefined, "what read gave has no place in the program's memory"],
    [4, "impossible", undefined, "the trace contradicts itself at read"],
    [16, "exit", cameCall(16, "getpid"), "the end with code 0 was recorded, getpid came"],
    [999, "kind", undefined, "an event that is not there was recorded, nothing came"],
  ] as const)("@%i, %s", async (seq, reason, actual, summary) => {
    const found = await report(seq, { reason, actual });
    expect(found.summary).toBe(summary);
    expect(text(found)).toContain(summary);
  });

  it("of one signal show what is in it", async () => {
    const actual = came("signal", 8, {
      kind: EventKind.Signal,
      code: 14,
      captures: [{ slot: 0, bytes: siginfo(14, -2) }],
    });
    const found = await report(8, { reason: "signal", actual });
    expect(differing(found)).toEqual(["info"]);
    expect(text(found)).toMatch(/> {2}info.*SI_KERNEL.*SI_TIMER/);
  });

  it("say what the kernel answered, by its name", async () => {
    const found = await report(3, { reason: "result", result: -12n });
    expect(found.summary).toBe("openat was answered otherwise by this kernel (ENOMEM)");
  });

  it("that are stuck say how to wait longer", async () => {
    const found = await report(4, { reason: "stuck", frames: [0x400123n] });
    expect(found.hints.join("\n")).toContain("--stuck-after");
    expect(text(found)).toContain("replayed     nothing\n");
    expect(text(found)).toContain("replayed at  /bin/sh+0x1123\n");
  });
});

describe("the place", () => {
  const at = async (ip: number, maps = "") =>
    (await report(4, { reason: "number", actual: cameCall(4, "write", { ip }), maps })).place;

  it("is a file and an offset in it, of the instruction and not of what is behind it", async () => {
    expect(await at(0x400012)).toMatchObject({
      address: 0x400010n,
      file: "/bin/sh",
      offset: 0x1010,
    });
    expect(await at(0x7000002)).toMatchObject({ file: "/lib/my lib.so", offset: 0 });
    // One byte further the instruction is before the mapping.
    expect(await at(0x7000001)).toMatchObject({ file: undefined, offset: undefined });
  });

  it("may be in memory that has another name, or none", async () => {
    const maps = "7ffc0000-7ffd0000 rwxp 00000000 00:00 0          [stack]\nnonsense\n";
    expect(await at(0x7ffc0012, maps)).toMatchObject({ file: "[stack]" });
    expect(await at(0x1234567, maps)).toMatchObject({ file: undefined });
  });

  it("of the recording is shown when it was another", async () => {
    const lines = text(
      await report(4, {
        reason: "ip",
        actual: cameCall(4, "read", { args: [3, 0x2000, 100], ip: 0x400102 }),
      }),
    );
    expect(lines).toContain("recorded at  /bin/sh+0x1ffe\n");
    expect(lines).toContain("replayed at  /bin/sh+0x1100\n");
    expect(lines).toMatch(/> {2}ip +0x401000 +0x400102\n/);
  });
});

describe("the events around", () => {
  const around = async (seq: number) =>
    (await report(seq, { reason: "stuck" })).around.map(({ batch, i }) => batch.firstSeq + i);

  it("are five before and five after, of the process alone, without loads", async () => {
    expect(await around(10)).toEqual([0, 3, 4, 6, 8, 10, 11, 12, 13, 14, 15]);
    expect(await around(0)).toEqual([0, 3, 4, 6, 8, 10]);
    expect(await around(16)).toEqual([11, 12, 13, 14, 15, 16]);
  });

  it("are those of the thread's process", async () => {
    const found = await desyncReport(trace, desync(7, { thread: 1, reason: "stuck" }));
    expect(found.process).toMatchObject({
      number: 2,
      thread: "p2",
      argv: ["sh", "-c", "echo it's"],
    });
    expect(found.around.map(({ batch, i }) => batch.firstSeq + i)).toEqual([5, 7, 9, 17]);
  });

  it("mark the one that was expected", async () => {
    const lines = text(await report(10, { reason: "stuck" }));
    expect(lines.match(/^ {2}> @10 /gm)).toHaveLength(1);
    expect(lines.match(/^ {2}[> ] @\d+ .* p1 /gm)).toHaveLength(11);
  });
});

it("a report of a thread that is not there still says what there is", async () => {
  const found = await desyncReport(trace, desync(4, { thread: 77, reason: "stuck" }));
  expect(found.process.thread).toBe("p?");
  expect(text(found)).toContain("read");
});

it("paths are quoted in the command that helps", async () => {
  const { hints } = await report(10, { reason: "stuck" });
  expect(hints.find((hint) => hint.includes("trace show"))).toContain(`'${trace.path}' p1 @0..@10`);
});

it("JSON holds the same as data", async () => {
  const actual = cameCall(3, "openat", {
    args: [-100, 0x1000, 0x80000, 0],
    captures: [{ slot: 1, addr: 0x1000, bytes: "/etc/shadow" }],
  });
  const found = desync(3, { reason: "argument", argument: 1, actual });
  const result: ReplayResult = {
    faithful: false,
    exitCode: undefined,
    exitSignal: undefined,
    events: 3,
    processes: 1,
    threads: 1,
    durationNs: 5,
    cutAt: undefined,
    desyncs: [found],
    notes: ["a note"],
    stacks: undefined,
    addedStacks: undefined,
    answered: 2,
    repeated: true,
  };
  const reports = [await desyncReport(trace, found)];
  const document = JSON.parse(replayJson(trace, { result, replays: 2, reports }));
  expect(document).toMatchObject({
    schema: "trace.replay",
    version: 1,
    trace: trace.path,
    faithful: false,
    exitCode: null,
    answered: 2,
    repeated: true,
    replays: 2,
    differences: 1,
    notes: ["a note"],
  });
  const [one] = document.desyncs;
  expect(one).toMatchObject({
    seq: 3,
    reason: "argument",
    summary: "openat has another filename",
    process: "p1",
    argv: ["sh", "-c", "echo it's"],
    expected: { seq: 3, call: "openat", args: { filename: "/etc/passwd" }, ret: 3 },
    actual: { call: "openat", args: { filename: "/etc/shadow" } },
    bytes: null,
    place: { address: "0x400ffe", file: "/bin/sh", offset: 0x1ffe },
    expectedPlace: null,
  });
  expect(Object.keys(one.actual)).not.toContain("ret");
  expect(one.fields.filter((field: { differs: boolean }) => field.differs)).toEqual([
    { name: "filename", expected: "/etc/passwd", actual: "/etc/shadow", differs: true },
  ]);
  expect(one.around).toHaveLength(7);
});
