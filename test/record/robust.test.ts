/** The recorder is killed, the disk is full, the library is told to stop: what was recorded stays, nothing is left running. */

import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  type Recording,
  type RecordResult,
  record as recordProgram,
  startRecording,
} from "../../src/record.js";
import { freedomUntil } from "../support/time.js";
import {
  calls,
  compile,
  contentOf,
  ended,
  folder,
  isAlive,
  read,
  readWhole,
  recordWords,
  run,
  start,
  stateOf,
  until,
} from "./support.js";

const isRoot = process.getuid?.() === 0;

/** The processes whose environment has the mark. */
function marked(mark: string): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => contentOf(`/proc/${pid}/environ`).includes(mark)).map(Number);
}

async function expectNobodyLeft(mark: string): Promise<void> {
  // What was killed may still be on its way out.
  await until(() => marked(mark).filter(isAlive).length === 0);
}

describe("kill -9 of the recorder", () => {
  const busy = `
    for n in 1 2 3; do (while :; do head -c 20000 /etc/services | md5sum >/dev/null; done) & done
    while :; do true & (exit 1); done`;

  /** Kills a recorder some time after its file is there; how many events are in what is left. */
  async function killedAfter(milliseconds: number): Promise<number> {
    const dir = folder();
    const file = join(dir, "x.trace");
    const recorder = start([...recordWords(file), "sh", "-c", busy], {
      env: { ...stateOf(dir), TRACE_TEST_MARK: dir },
      stdio: "ignore",
    });
    const end = ended(recorder);
    await until(() => (statSync(file, { throwIfNoEntry: false })?.size ?? 0) > 0);
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    recorder.kill("SIGKILL");
    expect((await end).signal).toBe("SIGKILL");
    await expectNobodyLeft(`TRACE_TEST_MARK=${dir}`);
    const { trace, events } = await read(file);
    expect(trace.state).toBe("cut");
    expect(events.length).toBe(trace.eventCount);
    return events.length;
  }

  it("at 50 moments: the trace opens, and nothing is left running", async () => {
    const random = (k: number) => (Math.imul(k + 1, 2654435761) >>> 0) / 2 ** 32;
    // Half of them around the start, most within the first milliseconds, where the program is born; half around the first
    // blocks, which two seconds bring.
    const moments = Array.from({ length: 50 }, (_, k) =>
      k < 25 ? random(k) ** 3 * 200 : 200 + random(k) * 1800,
    );
    const found: number[] = [];
    while (moments.length > 0) {
      found.push(...(await Promise.all(moments.splice(0, 5).map(killedAfter))));
    }
    expect(found.length).toBe(50);
    expect(found.filter((events) => events > 0).length).toBeGreaterThanOrEqual(10);
  }, 300_000);

  // Of what the first second brought nothing was there.
  it("loses little of what has just begun", async () => {
    // However busy the machine is, in one of them the writer gets its turn within half a second.
    for (;;) {
      const dir = folder();
      const file = join(dir, "x.trace");
      const begun = join(dir, "begun");
      const script = `echo > ${begun}; exec sleep 1000`;
      const recorder = start([...recordWords(file), "sh", "-c", script], {
        env: { ...stateOf(dir), TRACE_TEST_MARK: dir },
        stdio: "ignore",
      });
      const end = ended(recorder);
      await until(() => contentOf(begun) !== "");
      const since = performance.now();
      while (performance.now() - since < 500 && (await read(file)).events.length === 0) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      recorder.kill("SIGKILL");
      await end;
      await expectNobodyLeft(`TRACE_TEST_MARK=${dir}`);
      const { trace, events } = await read(file);
      expect(trace.state).toBe("cut");
      const written = calls(events, "write").filter((call) => call.args[0] === 1n);
      if (written.length === 1) break;
    }
  });

  it("loses at most what the last second brought", async () => {
    const dir = folder();
    const file = join(dir, "x.trace");
    const progress = join(dir, "progress");
    // Slow, so that no block fills up: only time makes the writer write.
    const wait = `mkfifo ${dir}/nothing; exec 3<>${dir}/nothing`;
    const script = `${wait}; n=0; while :; do n=$((n + 1)); echo $n >> ${progress}; read -t 0.02 -u 3 x; done`;
    const recorder = start([...recordWords(file), "bash", "-c", script], {
      env: { ...stateOf(dir), TRACE_TEST_MARK: dir },
      stdio: ["pipe", "ignore", "ignore"],
    });
    const end = ended(recorder);
    const lines = () => contentOf(progress).split("\n").length - 1;
    await until(() => lines() >= 20);
    // The program's own clock: each line takes 20 ms, and longer where the recorder has to wait for a CPU as well.
    const seen = lines();
    await until(() => lines() >= seen + 80);
    recorder.kill("SIGKILL");
    await end;
    const { trace, events } = await read(file);
    expect(trace.state).toBe("cut");
    const written = calls(events, "write").filter((call) => call.args[0] === 1n);
    expect(written.length).toBeGreaterThanOrEqual(seen);
    await expectNobodyLeft(`TRACE_TEST_MARK=${dir}`);
  });
});

describe("a disk that fills up", () => {
  it.runIf(isRoot)(
    "the program goes on with its own exit code, the trace is cut and says so",
    async () => {
      const dir = folder();
      const disk = join(dir, "disk");
      mkdirSync(disk);
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", disk]);
      try {
        const file = join(disk, "x.trace");
        // Longer than events wait for being written: some are safe before the disk is full.
        const script =
          "true; sleep 1.5; head -c 3000000 /dev/urandom | md5sum | wc -c; (exit 1); exit 6";
        // Said also by a recorder that is to be quiet.
        const done = await run([...recordWords(file), "sh", "-c", script], { env: stateOf(dir) });
        expect({ code: done.code, stdout: done.stdout }).toEqual({ code: 6, stdout: "36\n" });
        expect(done.stderr).toMatch(
          /^trace: the trace is cut: .*x\.trace: No space left on device.*; \d+ events were not written\n {2}make room/,
        );
        // Read elsewhere: a file that is open keeps the disk from being unmounted.
        copyFileSync(file, join(dir, "copy.trace"));
      } finally {
        execFileSync("umount", [disk]);
      }
      const { trace, events } = await read(join(dir, "copy.trace"));
      expect(trace.state).toBe("cut");
      expect(events.length).toBeGreaterThan(0);
    },
  );

  it("a limit on the size of files is the same", async () => {
    const dir = folder();
    const file = join(dir, "x.trace");
    const words = recordWords(file).filter((word) => word !== "-q");
    // The program itself gets the limit too, and may not meet it: it only writes to pipes.
    const script = `ulimit -f 100; "$@"`;
    const inner = ["sh", "-c", "head -c 3000000 /dev/urandom | md5sum | wc -c; exit 6"];
    const done = await run(["bash", "-c", script, "bash", ...words, ...inner], {
      env: stateOf(dir),
    });
    expect({ code: done.code, stdout: done.stdout }).toEqual({ code: 6, stdout: "36\n" });
    expect(done.stderr).toMatch(
      /^trace: the trace is cut: cannot write .*x\.trace: File too large/m,
    );
    expect((await read(file)).trace.state).toBe("cut");
  });

  it("what was recorded until then is there, also in the first second", async () => {
    const dir = folder();
    const file = join(dir, "x.trace");
    const words = recordWords(file).filter((word) => word !== "-q");
    const loop = "for k in $(seq 50); do cat /etc/hostname > /dev/null; done";
    const done = await run(
      ["bash", "-c", 'ulimit -f 30; "$@"', "bash", ...words, "bash", "-c", loop],
      {
        env: stateOf(dir),
      },
    );
    expect(done.code).toBe(0);
    const [, lost = 0] = /; (\d+) events were not written/.exec(done.stderr) ?? [];
    const { trace, events } = await read(file);
    expect(trace.state).toBe("cut");
    expect(Number(lost)).toBeGreaterThan(0);
    expect(events.length).toBeGreaterThan(500);
  });
});

describe("the library", () => {
  const running: Recording[] = [];
  afterEach(async () => {
    for (const recording of running.splice(0)) {
      recording.abort();
      await recording.result.catch(() => {});
    }
  });

  function begin(command: string[], more: object = {}): Recording {
    const dir = folder();
    const env = { PATH: "/usr/bin:/bin" };
    const recording = startRecording({ command, output: join(dir, "x.trace"), env, ...more });
    running.push(recording);
    return recording;
  }

  it("records, and says what came of it", async () => {
    const dir = folder();
    const result = await recordProgram({
      command: ["sh", "-c", "true; exit 5"],
      output: join(dir, "x.trace"),
      cwd: dir,
      env: { PATH: "/usr/bin:/bin", ONLY: "this" },
    });
    expect(result).toMatchObject({
      exitCode: 5,
      exitSignal: undefined,
      failure: undefined,
      notes: [],
    });
    const { trace, events } = await readWhole(result.path);
    expect(trace.eventCount).toBe(result.events);
    expect(trace.info.bytes.total).toBe(result.bytes);
    const exec = events.find((event) => event.kind === "Exec");
    expect(exec?.captures.find((capture) => capture.slot === 2)?.bytes.toString()).toBe(
      "PATH=/usr/bin:/bin\0ONLY=this\0",
    );
    expect(exec?.captures.find((capture) => capture.slot === 3)?.bytes.toString()).toBe(dir);
  });

  it("leaves the event loop free", async () => {
    const script = "n=0; while test $n -lt 3000; do n=$((n + 1)); echo; done";
    const freedom = await freedomUntil(() => begin(["sh", "-c", script]).result);
    expect(freedom).toBeGreaterThan(0.05);
  });

  it("is aborted: everything is killed, the trace is complete", async () => {
    const abort = new AbortController();
    const dir = folder();
    const pids = join(dir, "pids");
    const script = `(setsid sh -c 'echo $$ >> ${pids}; exec sleep 1000' &) ; echo $$ >> ${pids}; exec sleep 1000`;
    const recording = begin(["sh", "-c", script], { signal: abort.signal });
    const started = await until(() => {
      const lines = contentOf(pids).split("\n").slice(0, -1);
      return lines.length === 2 && lines.map(Number);
    });
    abort.abort();
    const result = await recording.result;
    expect(result).toMatchObject({ exitCode: undefined, exitSignal: 9, failure: undefined });
    expect(started.filter(isAlive)).toEqual([]);
    await readWhole(result.path);
  });

  it("is aborted before it begins", async () => {
    const recording = begin(["sleep", "1000"], { signal: AbortSignal.abort() });
    expect(await recording.result).toMatchObject({ exitSignal: 9 });
  });

  it("is aborted in a storm of forks", async () => {
    const abort = new AbortController();
    const dir = folder();
    const recording = begin(["sh", "-c", "while :; do (:) & true; done"], {
      signal: abort.signal,
      env: { PATH: "/usr/bin:/bin", TRACE_TEST_MARK: dir },
      output: join(dir, "x.trace"),
    });
    await until(() => (statSync(recording.path, { throwIfNoEntry: false })?.size ?? 0) > 1000);
    abort.abort();
    const result = await recording.result;
    expect(result.exitSignal).toBe(9);
    expect(marked(`TRACE_TEST_MARK=${dir}`)).toEqual([]);
    await readWhole(result.path);
  });

  it("records two programs at once, and children of its own do not get lost", async () => {
    const script = (code: number) =>
      `for i in 1 2 3 4 5 6 7 8; do (exit 1); true; done; exit ${code}`;
    const two = [begin(["sh", "-c", script(3)]), begin(["sh", "-c", script(4)])];
    const own = run(["sh", "-c", "exit 9"]);
    const results: RecordResult[] = await Promise.all(two.map((recording) => recording.result));
    expect(results.map((result) => result.exitCode)).toEqual([3, 4]);
    expect((await own).code).toBe(9);
    for (const result of results) {
      const { trace } = await readWhole(result.path);
      expect(trace.processes.length).toBe(9);
    }
  });

  it("leaves no descriptor and no thread behind", async () => {
    const open = () =>
      readdirSync("/proc/self/fd")
        .map((fd) => linkOf(fd))
        .filter((path) => path === recording.path);
    const threads = () =>
      readdirSync("/proc/self/task").map((tid) => contentOf(`/proc/self/task/${tid}/comm`));
    const recording = begin(["true"]);
    await recording.result;
    expect(open()).toEqual([]);
    expect(threads().filter((name) => name.startsWith("trace-"))).toEqual([]);
  });

  it.each([
    { command: ["no-such-program"], code: "NOT_FOUND" },
    { command: ["/etc/passwd"], code: "NOT_EXECUTABLE" },
    { command: [], code: "EMPTY_COMMAND" },
    { command: ["true"], cwd: "/no/such/directory", code: "CWD" },
    { command: ["true"], output: "/no/such/directory/x.trace", code: "NO_DIRECTORY" },
    { command: ["true", "x".repeat(200_000)], code: "TOO_LONG" },
  ])("fails with a code: $code", async ({ code, ...options }) => {
    const dir = folder();
    const failing = recordProgram({ output: join(dir, "x.trace"), ...options });
    await expect(failing).rejects.toMatchObject({ name: "TraceError", code });
    expect(readdirSync(dir)).toEqual([]);
  });
});

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return "";
  }
}

it("threads and forks at once, without the pinning to one CPU", async () => {
  const dir = folder();
  const file = join(dir, "x.trace");
  const tree = compile("tree", "-pthread");
  const done = await run([...recordWords(file, "--no-pin"), tree, "bomb", "100"], {
    env: stateOf(dir),
  });
  expect(done.stdout).toBe((await run([tree, "bomb", "100"])).stdout);
  expect(readFileSync(file).length).toBeGreaterThan(0);
  await readWhole(file);
});
