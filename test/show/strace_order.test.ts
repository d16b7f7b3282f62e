/** The order of lines: what was known at entry, what other threads did meanwhile, what the call came to. */

import { expect, test } from "vitest";
import type { EventSource, SpanningCalls } from "../../src/show/source.js";
import { STRACE_OPTIONS, straceLines } from "../../src/show/strace.js";
import type { EventBatch } from "../../src/trace/batch.js";
import {
  BatchBuilder,
  CaptureSide,
  EventFlag,
  EventKind,
  pack,
  thread,
  trace,
} from "../support/batch.js";

const context = trace({ threads: [thread(0, 100), thread(1, 101)] });

/** A source over batches in memory; the spanning calls are found as a reader's first pass would. */
function source(...batches: EventBatch[]): EventSource {
  const spans: [entry: number, seq: number][] = [];
  for (const batch of batches) {
    for (let i = 0; i < batch.count; i++) {
      const seq = batch.firstSeq + i;
      const span = batch.span[i] ?? 0;
      if (span > 0) spans.push([seq - span, seq]);
    }
  }
  spans.sort((a, b) => a[0] - b[0]);
  const spanning: SpanningCalls = {
    entry: spans.map(([at]) => at),
    seq: spans.map(([, seq]) => seq),
  };
  return {
    trace: context,
    batches: async function* () {
      yield* batches;
    },
    spanningCalls: async () => spanning,
    eventAt: async (seq) => {
      const batch = batches.find((one) => seq >= one.firstSeq && seq < one.firstSeq + one.count);
      return batch && { batch, i: seq - batch.firstSeq };
    },
  };
}

async function lines(from: EventSource, keep?: (batch: EventBatch, i: number) => boolean) {
  const options = { ...STRACE_OPTIONS, time: "none" as const, duration: false };
  let text = "";
  for await (const chunk of straceLines(from, options, keep)) text += chunk;
  return text.split("\n");
}

const exited = { kind: EventKind.Exit, code: 0, thread: 1, start: 3000 };

test("a call during which others acted is unfinished, then resumed", async () => {
  const batch = new BatchBuilder()
    .call("getpid", { thread: 1, start: 2000, duration: 10, ret: 101 })
    .event(exited)
    .call("wait4", {
      args: [-1, 0x1000, 0, 0],
      ret: 101,
      start: 1000,
      duration: 3000,
      span: 2,
      captures: [{ slot: 1, side: CaptureSide.Out, addr: 0x1000, bytes: pack([4, 0]) }],
    })
    .build();
  expect(await lines(source(batch))).toEqual([
    "100   wait4(-1,  <unfinished ...>",
    "101   getpid()                          = 101",
    "101   +++ exited with 0 +++",
    "100   <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 101",
    "",
  ]);
});

test("events that strace does not print leave the line whole", async () => {
  const batch = new BatchBuilder()
    .event({ kind: EventKind.Task, code: 0, thread: 1, start: 1100, args: [1, 17] })
    .call("clone", { args: [17, 0, 0, 0, 0], ret: 101, start: 1000, duration: 500, span: 1 })
    .build();
  expect(await lines(source(batch))).toEqual([
    "100   clone(child_stack=NULL, flags=SIGCHLD) = 101",
    "",
  ]);
});

test("entries that fall into a call without a span split it", async () => {
  const batch = new BatchBuilder()
    .call("close", { args: [4], thread: 1, start: 1000, duration: 500 })
    .call("close", { args: [3], start: 1200, duration: 600, span: 1 })
    .build();
  expect(await lines(source(batch))).toEqual([
    "101   close(4 <unfinished ...>",
    "100   close(3 <unfinished ...>",
    "101   <... close resumed>)              = 0",
    "100   <... close resumed>)              = 0",
    "",
  ]);
});

test("the entry of a call that ends in another batch is looked up", async () => {
  const first = new BatchBuilder(0).call("close", { args: [4], thread: 1, start: 2000 }).build();
  const second = new BatchBuilder(1)
    .call("pause", { ret: -4, start: 1000, duration: 9000, span: 1 })
    .build();
  expect(await lines(source(first, second))).toEqual([
    "100   pause( <unfinished ...>",
    "101   close(4)                          = 0",
    "100   <... pause resumed>)              = -1 EINTR (Interrupted system call)",
    "",
  ]);
});

test("what is filtered out does not interrupt", async () => {
  const batch = new BatchBuilder()
    .call("getpid", { thread: 1, start: 2000, ret: 101 })
    .call("close", { args: [3], start: 1000, duration: 3000, span: 1 })
    .build();
  expect(await lines(source(batch), (one, i) => one.thread[i] === 0)).toEqual([
    "100   close(3)                          = 0",
    "",
  ]);
});

test("a call that never returned ends with its thread", async () => {
  const batch = new BatchBuilder()
    .call("read", { args: [0, 0x1000, 1], flags: EventFlag.NoReturn })
    .event({ kind: EventKind.Exit, code: 9, start: 5000 })
    .build();
  expect(await lines(source(batch))).toEqual([
    "100   read(0,  <unfinished ...>)        = ?",
    "100   +++ killed by SIGKILL +++",
    "",
  ]);
});

test("signals, stops and restarts", async () => {
  const info = pack(
    [4, 17],
    [4, 0],
    [4, 1],
    [4, 0],
    [4, 101],
    [4, 0],
    [4, 3],
    [4, 0],
    [8, 1],
    [8, 2],
  );
  const batch = new BatchBuilder()
    .event({ kind: EventKind.Signal, code: 17, captures: [{ slot: 0, bytes: info }] })
    .event({ kind: EventKind.Stop, code: 19 })
    .call("read", { args: [0, 0x1000, 1], ret: -512 })
    .build();
  expect(await lines(source(batch))).toEqual([
    "100   --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=101, si_uid=0, si_status=3, si_utime=1, si_stime=2} ---",
    "100   --- stopped by SIGSTOP ---",
    "100   read(0, 0x1000, 1)                = ? ERESTARTSYS (To be restarted if SA_RESTART is set)",
    "",
  ]);
});

test("a call that goes on with what is left of its time is restart_syscall", async () => {
  const { Interrupted, Restarted } = EventFlag;
  const time = { slot: 0, addr: 0x1000, bytes: pack([8, 5], [8, 0]) };
  const sleep = { args: [0x1000, 0], captures: [time] };
  const batch = new BatchBuilder()
    .call("nanosleep", { ...sleep, ret: -516, flags: EventFlag.Error | Interrupted })
    .call("nanosleep", { ...sleep, ret: -516, flags: EventFlag.Error | Interrupted | Restarted })
    .call("nanosleep", { ...sleep, ret: 0, flags: Restarted })
    .call("nanosleep", { ...sleep, ret: 0 })
    .build();
  const resumed = "100   restart_syscall(<... resuming interrupted nanosleep ...>)";
  expect(await lines(source(batch))).toEqual([
    "100   nanosleep({tv_sec=5, tv_nsec=0}, NULL) = ? ERESTART_RESTARTBLOCK (Interrupted by signal)",
    `${resumed} = ? ERESTART_RESTARTBLOCK (Interrupted by signal)`,
    `${resumed} = 0`,
    "100   nanosleep({tv_sec=5, tv_nsec=0}, NULL) = 0",
    "",
  ]);
});

test("times", async () => {
  const batch = new BatchBuilder()
    .call("getpid", { ret: 1, start: 1_500_000, duration: 2_345_678 })
    .call("getpid", { ret: 1, start: 4_000_000, duration: 1000 })
    .build();
  const show = async (time: "ttt" | "r") => {
    let text = "";
    for await (const chunk of straceLines(source(batch), { ...STRACE_OPTIONS, time }))
      text += chunk;
    return text.split("\n").slice(0, 2);
  };
  expect(await show("ttt")).toEqual([
    "100   1700000000.001500 getpid()        = 1 <0.002345>",
    "100   1700000000.004000 getpid()        = 1 <0.000001>",
  ]);
  expect(await show("r")).toEqual([
    "100        0.001500 getpid()            = 1 <0.002345>",
    "100        0.002500 getpid()            = 1 <0.000001>",
  ]);
});

// Each event of such a call has the start of the first part, since the last one tells the whole.
test("times of a call that was begun again, with another one in a handler", async () => {
  const { Interrupted, Restarted } = EventFlag;
  const ms = 1_000_000;
  const part = (flags: number, start: number, end: number, ret: number) => ({
    args: [0, 0x1000, 1],
    flags,
    start: start * ms,
    duration: (end - start) * ms,
    ret,
  });
  const batch = new BatchBuilder()
    .call("read", part(Interrupted, 10, 12, -512))
    .call("read", part(Interrupted, 13, 14, -512))
    .call("read", part(Restarted, 13, 17, 1))
    .call("read", part(Interrupted | Restarted, 10, 20, -512))
    .call("read", part(Restarted, 10, 25, 1))
    .call("read", part(0, 30, 31, 1))
    .build();
  let text = "";
  for await (const chunk of straceLines(source(batch), { ...STRACE_OPTIONS, time: "ttt" }))
    text += chunk;
  const times = text
    .split("\n")
    .map((line) => line.replace(/^100 {3}1700000000(\S+) .* <(.*)>$/, "$1 $2"));
  expect(times).toEqual([
    ".010000 0.002000",
    ".013000 0.001000",
    ".014000 0.003000",
    ".012000 0.008000",
    ".020000 0.005000",
    ".030000 0.001000",
    "",
  ]);
});
