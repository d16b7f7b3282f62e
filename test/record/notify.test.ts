/** Recording by notifications of seccomp: what begins is seen as by ptrace, what calls result in is not. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startRecording } from "../../src/record.js";
import { EventFlag } from "../../src/trace/batch.js";
import { syscallNumber } from "../support/number.js";
import {
  bytesOf,
  calls,
  cli,
  compile,
  type Event,
  ended,
  environment,
  folder,
  isAlive,
  readWhole,
  record,
  recordWords,
  run,
  start,
  stateOf,
  stringOf,
  stringsOf,
} from "./support.js";

const notify = { options: ["--backend=notify"] };
const ptrace = { options: ["--observe", "--backend=ptrace"] };

/** What can be compared of a call that was only seen to begin. */
function begun(events: readonly Event[]) {
  return events
    .filter((event) => event.kind === "Call")
    .map(({ name, refs, captures, process }) => ({
      process,
      name,
      refs: refs
        .filter(({ slot }) => slot < 6)
        .map(({ slot, fd, object }) => [slot, fd, object.path.replace(/\[\d+\]/, "")]),
      paths: captures
        .filter(({ side, slot }) => side === "in" && slot < 2 && /open|stat|access/.test(name))
        .map(({ slot, bytes }) => [slot, bytes.toString("latin1")]),
    }));
}

const exits = (events: readonly Event[]) =>
  events.filter(({ kind, args }) => kind === "Exit" && args[0] === 1n).map(({ code }) => code);

describe("what begins", () => {
  it("is seen as ptrace sees it", async () => {
    const dir = folder();
    const argv = ["sh", "-c", "cd /; cat etc/passwd > /dev/null; exec ls -d etc"];
    const seen = await Promise.all(
      [notify, ptrace].map((how) => record(argv, { ...how, cwd: dir })),
    );
    for (const { code, stdout, stderr } of seen) {
      expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "etc\n", stderr: "" });
    }
    const [own, other] = await Promise.all(seen.map(({ file }) => readWhole(file)));
    // A signal of a child that ends may come before or behind a call of its parent.
    const isSteady = ({ name }: { name: string }) => name !== "rt_sigreturn";
    const of = (which: typeof own, process: number) =>
      begun(which?.events ?? []).filter((call) => call.process === process && isSteady(call));
    for (const process of [1, 2]) {
      // The traced program's first call is seen when it is made, not when it returns.
      expect(of(own, process)).toEqual(of(other, process));
    }
    const loaded = (which: typeof own) =>
      which?.events
        .filter(({ kind }) => kind === "Exec")
        .map((event) => [stringOf(event, 0), stringsOf(event, 1)]);
    expect(loaded(own)).toEqual(loaded(other));
    const libraries = (which: typeof own) =>
      which?.events
        .filter(({ kind, args }) => kind === "Map" && args[4] !== 0n)
        .map((event) => bytesOf(event, 0).toString());
    expect(libraries(own)?.sort()).toEqual(libraries(other)?.sort());
  });

  it("has no result, and says so", async () => {
    const { file } = await record(["cat", "/etc/hostname"], notify);
    const { trace, events } = await readWhole(file);
    for (const event of calls(events, "read", "openat", "mmap", "close")) {
      expect(event.flags & EventFlag.NoResult).toBe(EventFlag.NoResult);
    }
    expect(calls(events, "exit_group")[0]?.flags).toBe(EventFlag.NoReturn);
    expect(trace.info.facts.get("backend")).toBe("notify");
    expect(trace.info.notes.join()).toContain("recorded by notifications");
    const shown = await run([cli, "show", file, "name = openat"], { env: stateOf(folder()) });
    expect(shown.stdout).toMatch(/openat\(AT_FDCWD<.*>, "\/etc\/hostname", O_RDONLY.*\) += \?$/m);
    const info = await run([cli, "info", file], { env: stateOf(folder()) });
    expect(info.stdout).toContain("cannot: it was recorded with --backend=notify");
  });

  it("can be chosen", async () => {
    const { file } = await record(["cat", "/etc/hostname"], {
      options: ["--backend=notify", "-e", "openat"],
    });
    const { events } = await readWhole(file);
    expect(calls(events, "openat").length).toBeGreaterThan(1);
    expect(calls(events, "read", "newfstatat", "pread64")).toEqual([]);
  });
});

describe("processes", () => {
  it.each([
    ["ends by itself", "exit 3", { code: 3, signal: null }, [3 << 8]],
    ["is killed", "kill -9 $$", { code: null, signal: "SIGKILL" }, [9]],
    [
      "cannot execute what it names",
      "/nonexistent; exit 4",
      { code: 4, signal: null },
      [127 << 8, 4 << 8],
    ],
  ])(
    "one that %s",
    async (_, script, how, ends) => {
      const { code, signal, file } = await record(["sh", "-c", script], notify);
      expect({ code, signal }).toEqual(how);
      expect(exits((await readWhole(file)).events)).toEqual(ends);
    },
    120_000,
  );

  it("children end as they end", async () => {
    const script = "sh -c 'exit 7'; sh -c 'kill -15 $$'; (sleep 0.1; exit 2) & wait";
    const { events, trace } = await readWhole((await record(["bash", "-c", script], notify)).file);
    expect(trace.processes.length).toBeGreaterThanOrEqual(4);
    // Kernels before 6.15 do not tell of what was killed.
    const known = events.filter(
      ({ kind, flags }) => kind === "Exit" && (flags & EventFlag.NoResult) === 0,
    );
    expect(known.map(({ code }) => code)).toEqual(expect.arrayContaining([7 << 8, 2 << 8, 0]));
    expect(events.some(({ kind, code }) => kind === "Exit" && code === 15)).toBe(
      known.length === exits(events).length,
    );
  });

  it("one that goes on alone is recorded to its end", async () => {
    const { stdout, file } = await record(
      ["sh", "-c", "(sleep 0.3; echo late) & echo first"],
      notify,
    );
    expect(stdout).toBe("first\nlate\n");
    expect((await readWhole(file)).trace.processes.length).toBe(3);
  });

  it("threads, and one of them that executes a program", async () => {
    const script =
      "import os, threading\n" +
      "threading.Thread(target=lambda: os.execv('/bin/echo', ['echo', 'done'])).start()\n" +
      "threading.Event().wait()";
    const { stdout, file } = await record(["python3", "-c", script], notify);
    expect(stdout).toBe("done\n");
    const { events } = await readWhole(file);
    expect(stringOf(events.findLast(({ kind }) => kind === "Exec") as Event, 0)).toMatch(/echo$/);
    expect(exits(events).at(-1)).toBe(0);
  });

  it("calls of 32-bit code are told as such", async () => {
    const { file, code } = await record([compile("foreign_abi")], notify);
    expect(code).toBe(0);
    expect((await readWhole(file)).events.some(({ i386 }) => i386)).toBe(true);
  });

  it("an interrupted recording ends its program, and is whole", async () => {
    const file = join(folder(), "out.trace");
    const words = [...recordWords(file, "--backend=notify"), "sh", "-c", "echo up; exec sleep 60"];
    const child = start(words, { env: stateOf(folder()) });
    await new Promise((resolve) => child.stdout?.once("data", resolve));
    const done = ended(child);
    child.kill("SIGTERM");
    expect(await done).toMatchObject({ code: null, signal: "SIGTERM" });
    const { trace, events } = await readWhole(file);
    expect(exits(events)).toEqual([15]);
    expect(isAlive(trace.threads[0]?.pid ?? 0)).toBe(false);
  });

  it("a recording that is given up ends its program, which could make no call any more", async () => {
    const output = join(folder(), "out.trace");
    const recording = startRecording({ command: ["sleep", "60"], output, backend: "notify" });
    recording.detach();
    expect(await recording.result).toMatchObject({ exitSignal: 9 });
    expect(exits((await readWhole(output)).events)).toEqual([9]);
  });
});

describe("where ptrace cannot go", () => {
  it("a program that traces another one", async () => {
    const dir = folder();
    const inner = join(dir, "inner.trace");
    const words = [...recordWords(inner, "--observe"), "echo", "traced"];
    const { code, stdout, stderr, file } = await record(words, { ...notify, env: stateOf(dir) });
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "traced\n", stderr: "" });
    expect(calls((await readWhole(file)).events, "ptrace").length).toBeGreaterThan(100);
    const traced = await readWhole(inner);
    expect(
      calls(traced.events, "write").some((event) => bytesOf(event, 1).toString() === "traced\n"),
    ).toBe(true);
  });

  it("where ptrace is refused", async () => {
    const dir = folder();
    const refuse = [compile("refuse"), `eperm=${syscallNumber("ptrace", 0)}`, "--"];
    const file = join(dir, "out.trace");
    const env = { ...environment, ...stateOf(dir) };
    const refused = await run([...refuse, ...recordWords(file), "true"], { env });
    expect(refused.code).toBe(125);
    expect(refused.stderr).toContain("--backend=notify");
    const { code, stderr } = await run(
      [...refuse, ...recordWords(file, "--backend=notify"), "cat", "/etc/hostname"],
      { env },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(calls((await readWhole(file)).events, "read").length).toBeGreaterThan(0);
  });
});

it.each([
  ["-p", ["-p", "1"]],
  ["--detach-on-exit", ["--detach-on-exit"]],
  ["--stacks", ["--stacks", "--observe"]],
  ["--chaos", ["--chaos=1"]],
])("what it cannot do is refused: %s", async (_, options) => {
  const argv = options[0] === "-p" ? [] : ["true"];
  const { code, stderr, file } = await record(argv, { options: ["--backend=notify", ...options] });
  expect(code).toBe(125);
  expect(stderr).toContain("the notify backend cannot be used");
  expect(existsSync(file)).toBe(false);
});
