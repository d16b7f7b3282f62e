/** Recording programs that run already: what they notice of it, and what is told of them. */

import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EventFlag } from "../../src/trace/batch.js";
import { lacking } from "../support/tools.js";
import {
  calls,
  compile,
  contentOf,
  ended,
  environment,
  folder,
  objectOf,
  read,
  recordWords,
  run,
  start,
  stateOf,
  stringOf,
  until,
} from "./support.js";

const statuses = (pid: number) =>
  readdirSync(`/proc/${pid}/task`).map((tid) => contentOf(`/proc/${pid}/task/${tid}/status`));
const isTraced = (pid: number) =>
  statuses(pid).every((status) => /^TracerPid:\t[1-9]/m.test(status));
const areAsleep = (pid: number) => statuses(pid).every((status) => /^State:\tS/m.test(status));

/** A program that reads lines, and what it has written. */
function talk(argv: readonly string[]) {
  const [program = "", ...args] = argv;
  const child = spawn(program, args, { env: environment, stdio: ["pipe", "pipe", "ignore"] });
  let output = "";
  child.stdout.on("data", (part: Buffer) => {
    output += part.toString();
  });
  const pid = child.pid ?? 0;
  return { child, pid, end: ended(child), output: () => output };
}

/** Observes processes; ends it by a signal. */
async function observe(ids: readonly number[], ...options: string[]) {
  const dir = folder();
  const file = join(dir, "out.trace");
  const words = recordWords(file, ...options, "-p", ids.join()).slice(0, -1);
  const recorder = start(words, { env: stateOf(dir) });
  const end = ended(recorder);
  await until(() => recorder.exitCode !== null || (ids[0] && isTraced(ids[0])));
  return {
    file,
    end: async (signal: NodeJS.Signals = "SIGINT") => {
      recorder.kill(signal);
      const { code, stderr } = await end;
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    },
  };
}

/** What refuses it says. */
async function refusal(...words: string[]): Promise<string> {
  const dir = folder();
  const own = recordWords(join(dir, "out.trace"), ...words).slice(0, -1);
  const { code, stderr } = await run(own, { env: stateOf(dir) });
  expect(code).toBe(125);
  expect(readdirSync(dir).filter((name) => name.endsWith(".trace"))).toEqual([]);
  return stderr;
}

function kill(child: ChildProcess): void {
  if (child.exitCode === null) child.kill("SIGKILL");
}

describe("a program that waits in calls", () => {
  it("sees none of them interrupted, and its calls are told as they are", async () => {
    const { child, pid, end, output } = talk([compile("attached", "-pthread")]);
    try {
      await until(() => readdirSync(`/proc/${pid}/task`).length === 6 && areAsleep(pid));
      const recording = await observe([pid]);
      await until(() => areAsleep(pid));
      child.kill("SIGUSR1");
      await until(() => output() === "read -1 4\n");
      child.stdin.write("x\n");
      await until(() => output().endsWith("zero 1 0\n"));
      child.stdin.write("t\n");
      await until(() => output().endsWith("timed 0 0\n") && areAsleep(pid));
      await recording.end();
      expect(isTraced(pid)).toBe(false);
      child.stdin.end();
      expect((await end).code).toBe(0);
      // What ends last is a matter of chance.
      const [before, after] = output().split("timed 0 0\n");
      expect(before).toBe("read -1 4\nnull 0 0\nzero 1 0\n");
      expect(after?.trimEnd().split("\n").sort()).toEqual([
        "epoll 1 0",
        "recv 1 0",
        "semop 0 0",
        "sigwait 12 0",
        "time 0 0",
      ]);
      const { trace, events } = await read(recording.file);
      expect(trace.info.status).toBeUndefined();
      // A thread's descriptors are those of its process.
      const whole = calls(events, "read").filter(({ flags }) => (flags & EventFlag.NoReturn) === 0);
      const reads = (result: number) => whole.filter(({ ret }) => ret === result);
      expect(reads(0).map((call) => objectOf(call, 0)?.path)).toEqual(["/dev/null"]);
      expect(reads(1).map((call) => objectOf(call, 0)?.path)).toEqual(["/dev/zero"]);
      // Whether a handler has a call go on was never told: it did not here, so the call has ended, and is no part of a later one.
      expect(reads(-512).map(({ flags }) => flags & EventFlag.Interrupted)).toEqual([0]);
    } finally {
      kill(child);
    }
  });
});

describe("a program that sleeps", () => {
  it("is told to be in the call that it was in", async () => {
    const child = spawn("sleep", ["100"], { env: environment, stdio: "ignore" });
    const pid = child.pid ?? 0;
    try {
      await until(() => contentOf(`/proc/${pid}/comm`) === "sleep\n" && areAsleep(pid));
      const recording = await observe([pid]);
      await until(() => areAsleep(pid));
      await recording.end("SIGTERM");
      const { events } = await read(recording.file);
      const sleeps = calls(events, "clock_nanosleep", "restart_syscall");
      expect(sleeps.map(({ name, flags }) => [name, flags])).toEqual([
        ["clock_nanosleep", EventFlag.Interrupted | EventFlag.Error],
        ["clock_nanosleep", EventFlag.Restarted | EventFlag.NoReturn],
      ]);
    } finally {
      kill(child);
    }
  });
});

describe("which processes are observed", () => {
  it("is said by any thread, each once, and of which calls", async () => {
    const script =
      "import threading, time, os, sys\n" +
      "threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n" +
      "for line in sys.stdin: os.stat('/tmp'); open('/dev/null').close(); print('done', flush=True)";
    const { child, pid, end, output } = talk(["python3", "-c", script]);
    try {
      await until(() => readdirSync(`/proc/${pid}/task`).length === 2 && areAsleep(pid));
      const threads = readdirSync(`/proc/${pid}/task`).map(Number);
      const recording = await observe(threads.toReversed(), "-e", "stat,newfstatat");
      child.stdin.write("\n");
      await until(() => output() === "done\n");
      await recording.end();
      child.stdin.end();
      await end;
      const { trace, events } = await read(recording.file);
      expect(trace.info).toMatchObject({ command: ["python3", "-c", script], cwd: process.cwd() });
      expect(trace.processes.map((process) => process.pid)).toEqual([pid]);
      expect(trace.threads.map((thread) => thread.tid)).toEqual(threads);
      const paths = calls(events, "newfstatat", "stat").map(
        (call) => stringOf(call, 1) || stringOf(call, 0),
      );
      expect(paths).toContain("/tmp");
      expect(calls(events, "read", "write")).toEqual([]);
    } finally {
      kill(child);
    }
  });

  it("is told by the title that one has given itself", async () => {
    const { child, pid, output } = talk([
      compile("attached", "-pthread"),
      ..."a few words".split(" "),
    ]);
    try {
      await until(() => output() === "titled 0 0\n" && areAsleep(pid));
      const recording = await observe([pid]);
      await recording.end();
      const { trace } = await read(recording.file);
      expect(trace.info.command).toEqual(["server: idle"]);
    } finally {
      kill(child);
    }
  });

  it("is those of them that are still there", async () => {
    const child = spawn("sleep", ["100"], { env: environment, stdio: "ignore" });
    const pid = child.pid ?? 0;
    try {
      await until(() => contentOf(`/proc/${pid}/comm`) === "sleep\n" && areAsleep(pid));
      const recording = await observe([pid, 4_194_303, pid]);
      await recording.end();
      const { trace } = await read(recording.file);
      expect(trace.processes.map((process) => process.pid)).toEqual([pid]);
      expect(trace.info.notes).toEqual(["not observed: there is no process 4194303"]);
    } finally {
      kill(child);
    }
  });

  it("cannot be one of the kernel, or one that has ended", async () => {
    const parent = talk([
      "python3",
      "-c",
      "import os, time\npid = os.fork() or os._exit(0)\nprint(pid, flush=True)\ninput()",
    ]);
    try {
      const pid = await until(() => parent.output().trim());
      await until(() => /^State:\tZ/m.test(contentOf(`/proc/${pid}/status`)));
      expect(await refusal("-p", pid)).toContain(`process ${pid} has ended`);
    } finally {
      kill(parent.child);
    }
    expect(await refusal("-p", "2")).toMatch(
      /process 2 is a thread of the kernel|there is no process 2/,
    );
  });

  it.skipIf(lacking("strace"))("cannot be one that is traced already", async () => {
    const child = spawn("sleep", ["100"], { env: environment, stdio: "ignore" });
    const pid = child.pid ?? 0;
    const strace = spawn("strace", ["-q", "-o", "/dev/null", "-p", String(pid)], {
      stdio: "ignore",
    });
    try {
      await until(() => isTraced(pid));
      const said = await refusal("-p", String(pid));
      expect(said).toContain(`process ${pid} is traced already, by strace (process ${strace.pid})`);
    } finally {
      kill(strace);
      kill(child);
    }
  });

  it("is no matter of what a program is started with", async () => {
    for (const words of [["-u", "nobody"], ["-E", "A=1"], ["--keep=on-failure"]]) {
      expect(await refusal("-p", String(process.pid), ...words)).toContain(
        "is for a program that is started",
      );
    }
    // That many are no process: a number that is cut would be another one.
    expect(await refusal("-p", String(2 ** 32 + process.pid))).toContain("not a whole number");
  });
});
