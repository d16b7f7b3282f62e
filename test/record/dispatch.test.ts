/** Recording with the agent where calls are filtered already, as in most containers: what the older filter refuses is seen, too. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { coverageOf } from "../../src/trace/coverage.js";
import { syscallNumber } from "../support/number.js";
import { calls, compile, compileGo, read, readWhole, record, recordAndReplay } from "./support.js";

/** Starts what comes behind it under a filter; each word says what that refuses. */
const under = (...what: string[]) => [compile("refuse"), ...what, "--"];

/** A filter that lets everything through that there is. */
const passing = under("enosys=1000");

const eager = "--backend=eager-agent";
const ways = { replayable: [], observing: ["--observe"] };

const EPERM = -1;

describe.each(Object.entries(ways))("%s", (_, options) => {
  test("calls that are refused are told, wherever they are made", async () => {
    const filter = under(`eperm=${syscallNumber("getpriority", 0)}`, "namespaces");
    const { code, stdout, file } = await record([compile("filtered"), "300"], {
      under: filter,
      options: [...options, eager],
    });
    const said = "309 refused, 0 made, clone Operation not permitted, 0 lost\n";
    expect({ code, stdout }).toEqual({ code: 0, stdout: said });
    const { trace, events } = await readWhole(file);
    expect(trace.info.facts.get("backend")).toBe("agent");
    const results = calls(events, "getpriority").map((event) => event.ret);
    expect(results).toEqual(Array(309).fill(EPERM));
    expect(calls(events, "clone").map((event) => event.ret)).toEqual([EPERM]);
    expect(coverageOf(trace.info)?.inProcess).toBeGreaterThan(250);
  });

  const programs = ["early", "exec", "data", "sigsys", "vforks", "blocked", "cancel", "gs"];
  test.each(programs)(
    "pitfall_%s finds nothing changed",
    async (name) => {
      const program = compile(`pitfall_${name}`, "-pthread");
      const ended = await record([program], { under: passing, options: [...options, eager] });
      expect(ended).toMatchObject({ code: 0, signal: null, stdout: "", stderr: "" });
      const { trace } = await read(ended.file);
      expect(trace.info.facts.get("backend")).toBe("agent");
      const coverage = coverageOf(trace.info);
      if (name !== "gs") expect(coverage?.inProcess).toBeGreaterThan(50);
    },
    120_000,
  );

  test("no call of any thread or process is lost, and nearly all are made in the process", async () => {
    const [threads, each] = [20, 500];
    const { code, file } = await record(
      [compile("agent_tasks", "-pthread"), String(threads), String(each)],
      { under: passing, options: [...options, eager] },
    );
    expect(code).toBe(0);
    const { trace, events } = await readWhole(file);
    expect(calls(events, "getppid")).toHaveLength((threads + 10) * each);
    expect(coverageOf(trace.info)?.inProcess).toBeGreaterThan(threads * each);
  });

  test.each(["calls", "loop"])(
    "flags of a program that handles signals stay its own, %s",
    async (how) => {
      const program = [compile("loads_flags"), how];
      const { code, signal } = await record(program, {
        under: passing,
        options: [...options, eager],
      });
      expect({ code, signal }).toEqual({ code: 0, signal: null });
    },
  );

  test("a handler of SIGTRAP stays, though the program blocks that while it sends signals to itself", async () => {
    const { code, signal, stdout } = await record([compile("blocked_trap")], {
      under: passing,
      options: [...options, eager],
    });
    expect({ code, signal, stdout }).toEqual({ code: 0, signal: null, stdout: "trap handled\n" });
  });

  test("who is stopped and continued at once goes on", async () => {
    const program = [compile("stop_continue"), "400"];
    const ended = await record(program, { under: passing, options: [...options, eager] });
    expect(ended).toMatchObject({ code: 0, signal: null, stdout: "" });
  }, 60_000);

  test("no call is lost where somebody sends the signal", async () => {
    const program = [compile("sent_sigsys", "-pthread"), "1500"];
    const ended = await record(program, { under: passing, options: [...options, eager] });
    expect(ended).toMatchObject({ code: 0, signal: null, stdout: "0 wrong, handled 1\n" });
  }, 120_000);

  test("calls of 32-bit programs are told", async () => {
    const { code, file } = await record([compile("foreign_abi")], {
      under: passing,
      options: [...options, eager],
    });
    expect(code).toBe(0);
    expect((await readWhole(file)).events.some((event) => event.i386)).toBe(true);
  });

  test("files have their names where openat2 is refused", async () => {
    const dir = await mkdtemp(join(tmpdir(), "trace-filtered-"));
    const file = join(dir, "file");
    await writeFile(file, "content");
    const script = `for k in 1 2 3 4 5 6 7 8 9; do read line < ${file}; done; echo $line`;
    const recorded = await record(["bash", "-c", script], {
      under: under(`eperm=${syscallNumber("openat2", 0)}`),
      options: [...options, eager],
    });
    expect(recorded).toMatchObject({ code: 0, stdout: "content\n" });
    const { trace, events } = await readWhole(recorded.file);
    expect(trace.info.facts.get("backend")).toBe("agent");
    const opened = calls(events, "openat").flatMap((event) => event.refs);
    expect(opened.filter((ref) => ref.object.path === file)).toHaveLength(9);
    expect(coverageOf(trace.info)?.inProcess).toBeGreaterThan(40);
    await rm(dir, { recursive: true });
  });
});

test("a capture filter misses none that are refused", async () => {
  const { code, file } = await record([compile("filtered"), "20"], {
    under: under(`eperm=${syscallNumber("getpriority", 0)}`),
    options: ["-e", "getpriority"],
  });
  expect(code).toBe(0);
  const { events } = await readWhole(file);
  expect(calls(events, "getpriority").map((event) => event.ret)).toEqual(Array(29).fill(EPERM));
  expect(calls(events, "write", "rt_sigprocmask")).toEqual([]);
});

test("the notify backend says that it misses them", async () => {
  const { file } = await record(["true"], { under: passing, options: ["--backend=notify"] });
  expect((await read(file)).trace.info.notes.join()).toContain("calls are filtered already");
});

test.each([
  ["a program that is refused calls", [compile("filtered"), "50"]],
  ["a shell", ["bash", "-c", "for k in 1 2 3 4; do (echo $k; exit $k) | cat; done; echo $?"]],
  ["threads", ["python3", "-c", "import threading as t; t.Thread(target=print).start()"]],
  [
    "a program that a thread executes",
    [
      "python3",
      "-c",
      "import os, threading as t; t.Thread(target=os.execl, args=('/bin/ls', 'ls')).start()",
    ],
  ],
  ["calls that are made again before flags are loaded", [compile("loads_flags"), "calls"]],
  ["a loop that loads flags", [compile("loads_flags"), "loop"]],
  ["a process that is stopped and continued", [compile("stop_continue"), "400"]],
  ["Go", [compileGo("pitfall_stacks")]],
  ["node", ["node", "-e", "setTimeout(() => console.log(Math.random(), Date.now()), 10)"]],
])("%s can be replayed", async (_, program) => {
  const filter = under(`eperm=${syscallNumber("getpriority", 0)}`, "namespaces");
  await recordAndReplay(program, [eager], { under: filter });
});

test("a thread that is asked to stop at the entry of a call is not taken for one behind the call before", async () => {
  const { events } = await recordAndReplay([compile("polls_in_turn", "-pthread")], [eager], {
    under: passing,
  });
  expect(events.filter(({ kind }) => kind === "Preempt").length).toBeGreaterThan(4);
}, 120_000);

test("does not come where calls that it makes itself are refused", async () => {
  const filter = under(`eperm=${syscallNumber("readlink", 0)}`);
  const { code, file } = await record(["true"], { under: filter, options: ["--backend=agent"] });
  expect(code).toBe(0);
  const { trace } = await read(file);
  expect(trace.info.facts.get("without_agent")).toContain("calls that it makes for itself");
});
