/** What events look like as JSON, and as lines for people. */

import { expect, test } from "vitest";
import { JSON_OPTIONS, jsonEvent } from "../../src/show/json.js";
import { jsonLines } from "../../src/show/jsonl.js";
import { STRACE_NOTATION } from "../../src/show/notation.js";
import { COLOURS } from "../../src/show/palette.js";
import { TEXT_OPTIONS, TextWriter } from "../../src/show/text.js";
import type { EventBatch } from "../../src/trace/batch.js";
import {
  BatchBuilder,
  CaptureSide,
  cstr,
  EventKind,
  object,
  pack,
  Slot,
  thread,
  trace,
} from "../support/batch.js";

const context = trace({
  threads: [thread(0, 100), thread(1, 101, { process: 1, ordinal: 2 })],
  objects: [object(0, "/tmp"), object(1, "/tmp/ä")],
});
const { Out, Resolved } = CaptureSide;

const event = (batch: EventBatch, i = 0, options = JSON_OPTIONS) =>
  JSON.parse(jsonEvent(batch, i, context, options));

test("a call has its arguments by name", () => {
  const batch = new BatchBuilder(5)
    .call("openat", {
      args: [-100, 0x1000, 0x80000, 0],
      ret: 3,
      thread: 1,
      captures: [
        { slot: 1, addr: 0x1000, bytes: "ä" },
        { slot: 1, side: Resolved, bytes: new TextEncoder().encode("/private/ä") },
      ],
      refs: [
        { slot: Slot.Cwd, object: 0 },
        { slot: Slot.Ret, object: 1 },
      ],
    })
    .build();
  expect(event(batch)).toEqual({
    seq: 5,
    kind: "call",
    time: 0,
    dur: 500,
    thread: "p1.2",
    tid: 101,
    call: "openat",
    args: { dfd: { fd: -100, path: "/tmp" }, filename: "ä", flags: ["O_RDONLY", "O_CLOEXEC"] },
    ret: 3,
    retPath: "/tmp/ä",
    resolved: { filename: "/private/ä" },
  });
});

test("failures have the name of the error", () => {
  const batch = new BatchBuilder().call("close", { args: [9], ret: -9 }).build();
  expect(event(batch)).toMatchObject({ args: { fd: { fd: 9 } }, ret: -1, err: "EBADF" });
});

test("bytes are text when they are UTF-8, and say their size when cut", () => {
  const read = (bytes: Uint8Array, total: number) =>
    new BatchBuilder()
      .call("read", {
        args: [3, 0x1000, total],
        ret: total,
        captures: [{ slot: 1, side: Out, addr: 0x1000, bytes }],
      })
      .build();
  const options = { ...JSON_OPTIONS, stringLimit: 4 };
  const bytes = (data: Uint8Array, total = data.length) =>
    event(read(data, total), 0, options).args.buf;
  expect(bytes(Uint8Array.of(104, 105, 10))).toBe("hi\n");
  expect(bytes(Uint8Array.of(0xff, 1))).toEqual({ base64: "/wE=" });
  expect(bytes(new TextEncoder().encode("abcdef"))).toEqual({ text: "abcd", size: 6 });
  expect(bytes(new TextEncoder().encode("abcü"))).toEqual({ text: "abc", size: 5 });
  expect(bytes(Uint8Array.of(97), 3)).toEqual({ text: "a", size: 3 });
});

test("numbers above 2^53 are strings, addresses too", () => {
  const batch = new BatchBuilder()
    .call("lseek", { args: [3, 2n ** 60n, 0], ret: 2n ** 60n })
    .call("mmap", { args: [0, 4096, 3, 0x22, -1, 0], ret: 0x7f00_0000_1000 })
    .build();
  expect(event(batch)).toMatchObject({
    args: { offset: "1152921504606846976" },
    ret: "1152921504606846976",
  });
  expect(event(batch, 1)).toMatchObject({ args: { addr: null, len: 4096 }, ret: "0x7f0000001000" });
});

const execSpec = {
  kind: EventKind.Exec,
  code: 0,
  captures: [
    { slot: 0, bytes: new TextEncoder().encode("/bin/true") },
    { slot: 1, bytes: cstr("true\0-x") },
    { slot: 2, bytes: cstr("A=1\0DB_PASSWORD=hunter2") },
    { slot: 3, bytes: new TextEncoder().encode("/tmp") },
  ],
};

test("a program start masks what look like secrets", () => {
  const batch = new BatchBuilder().event(execSpec).build();
  expect(event(batch)).toMatchObject({
    kind: "exec",
    path: "/bin/true",
    argv: ["true", "-x"],
    env: ["A=1", "DB_PASSWORD=***"],
    cwd: "/tmp",
  });
  expect(event(batch, 0, { ...JSON_OPTIONS, showSecrets: true }).env[1]).toBe(
    "DB_PASSWORD=hunter2",
  );
});

test("JSONL begins with its schema", async () => {
  const batch = new BatchBuilder().call("getpid", { ret: 1 }).event(execSpec).build();
  const batches = async function* () {
    yield batch;
  };
  let text = "";
  for await (const chunk of jsonLines(context, batches())) text += chunk.toString();
  const [header, ...rest] = text.trimEnd().split("\n");
  expect(JSON.parse(header ?? "")).toEqual({ schema: "trace.events", version: 1 });
  expect(rest.map((line) => JSON.parse(line).kind)).toEqual(["call", "exec"]);
});

test("lines for people", () => {
  const batch = new BatchBuilder(41)
    .call("close", { args: [9], ret: -9, start: 12_345_678, duration: 2_500_000 })
    .event({ ...execSpec, start: 13_000_000 })
    .event({ kind: EventKind.Task, code: 0, args: [1, 0x11], thread: 1, start: 14_000_000 })
    .event({ kind: EventKind.Exit, code: pack([4, 0x300])[1] === 3 ? 0x300 : 0, start: 15_000_000 })
    .build();
  const writer = new TextWriter(context);
  expect([0, 1, 2, 3].map((i) => writer.line(batch, i))).toEqual([
    "@41          0.012345 p1     close(9) = -1 EBADF (Bad file descriptor) <2.5ms>",
    '@42          0.013000 p1     +++ runs /bin/true ["true","-x"], 2 variables +++',
    "@43          0.014000 p1.2   +++ created by p1 (SIGCHLD) +++",
    "@44          0.015000 p1     +++ exited with 3 +++",
  ]);
  const coloured = new TextWriter(context, { ...TEXT_OPTIONS, palette: COLOURS }).line(batch, 0);
  expect(coloured).toContain("\x1b[31m-1 EBADF (Bad file descriptor)\x1b[0m");
});

test("no line has what a terminal obeys", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const batch = new BatchBuilder()
    .event({
      ...execSpec,
      captures: [
        { slot: 0, bytes: bytes("/bin/a\x1b[2J\n") },
        { slot: 1, bytes: cstr("a\x1b\u009b\u202e") },
        { slot: 2, bytes: cstr("A=\x07\x7f") },
        { slot: 3, bytes: bytes("/tmp") },
      ],
    })
    .event({
      kind: EventKind.Map,
      code: 0,
      args: [1, 2],
      captures: [{ slot: 0, bytes: bytes("/a\x1b[m") }],
    })
    .event({ kind: EventKind.Note, code: 0, captures: [{ slot: 0, bytes: bytes("note\x1b[m") }] })
    .build();
  const verbose = { ...TEXT_OPTIONS, notation: { ...STRACE_NOTATION, verbose: true } };
  const writer = new TextWriter(context, verbose);
  const lines = [0, 1, 2].map((i) => writer.text(batch, i));
  expect(lines).toEqual([
    '+++ runs /bin/a\\x1b[2J\\n ["a\\u001b\\x9b\\u{202e}"] ["A=\\u0007\\x7f"] +++',
    "--- mapped /a\\x1b[m at 0x1, 2 bytes ---",
    "--- note\\x1b[m ---",
  ]);
});

const registers = new Uint8Array(216);
// rip in struct user_regs_struct.
registers.set(pack([8, 0x401136]), 128);

const steering = new BatchBuilder(7)
  .event({ kind: EventKind.Trap, code: 0, args: [0x12_3456_789a] })
  .event({ kind: EventKind.Trap, code: 1, args: [2n ** 60n, 3] })
  .event({ kind: EventKind.Trap, code: 2, args: [7, 0, 2, 0x9c, 0, 0xffff_ffff] })
  .event({ kind: EventKind.Trap, code: 9, args: [1] })
  .event({ kind: EventKind.Preempt, code: 0, captures: [{ slot: 0, bytes: registers }] })
  .event({ kind: EventKind.Preempt, code: 0, args: [1] })
  .event({ kind: EventKind.Preempt, code: 0, captures: [{ slot: 0, bytes: Uint8Array.of(1) }] })
  .event({ kind: EventKind.Signal, code: 10, args: [0, 0, 1] })
  .event({ kind: EventKind.Signal, code: 15, args: [0, 0, 2] })
  .event({ kind: EventKind.Signal, code: 20, args: [0, 0, 3] })
  .event({ kind: EventKind.Signal, code: 17, args: [0, 0, 0] })
  .event({ kind: EventKind.Signal, code: 17, args: [0, 0, 77] })
  .build();

test("instructions that were answered, preemptions and what signals did, as JSON", () => {
  const facts = Array.from({ length: steering.count }, (_, i) => {
    const { seq, time, thread: name, tid, kind, ...rest } = event(steering, i);
    return [kind, rest];
  });
  expect(facts).toEqual([
    ["trap", { instruction: "rdtsc", tsc: 0x12_3456_789a }],
    ["trap", { instruction: "rdtscp", tsc: String(2n ** 60n), ecx: 3 }],
    [
      "trap",
      {
        instruction: "cpuid",
        eaxBefore: 7,
        ecxBefore: 0,
        eax: 2,
        ebx: 0x9c,
        ecx: 0,
        edx: 0xffff_ffff,
      },
    ],
    ["trap", { instruction: "9" }],
    ["preempt", { ip: "0x401136" }],
    ["preempt", { turn: true }],
    ["preempt", { ip: null }],
    ["signal", { signal: "SIGUSR1", disposition: "handled" }],
    ["signal", { signal: "SIGTERM", disposition: "fatal" }],
    ["signal", { signal: "SIGTSTP", disposition: "stops" }],
    ["signal", { signal: "SIGCHLD" }],
    ["signal", { signal: "SIGCHLD" }],
  ]);
});

test("the same for people", () => {
  const writer = new TextWriter(context);
  const texts = Array.from({ length: steering.count }, (_, i) => writer.text(steering, i));
  expect(texts).toEqual([
    "--- rdtsc: tsc=0x123456789a ---",
    "--- rdtscp: tsc=0x1000000000000000, ecx=0x3 ---",
    "--- cpuid(eax=0x7, ecx=0): eax=0x2, ebx=0x9c, ecx=0, edx=0xffffffff ---",
    "--- instruction 9 ---",
    "--- preempted at 0x401136 ---",
    "--- has its turn ---",
    "--- preempted ---",
    "--- SIGUSR1, handled ---",
    "--- SIGTERM, fatal ---",
    "--- SIGTSTP, stops ---",
    "--- SIGCHLD ---",
    "--- SIGCHLD ---",
  ]);
});
