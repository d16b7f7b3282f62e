/** Recording with the agent: programs that would notice it, every call counted, and the same events as with ptrace. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { coverageOf } from "../../src/trace/coverage.js";
import {
  calls,
  cli,
  compile,
  type Event,
  firstAndLastCpu,
  read,
  readWhole,
  record,
  run,
  toldOf,
} from "./support.js";

const eager = { options: ["--observe", "--backend=eager-agent"] };
const usual = { options: ["--observe", "--backend=agent"] };

function counts(events: readonly Event[], ...names: string[]): number[] {
  return names.map((name) => events.filter((event) => event.name === name).length);
}

describe("programs that check themselves find nothing changed", () => {
  test.each([
    "agent_registers",
    "agent_window",
    "agent_signals",
    "agent_pointers",
    "agent_faults",
    "agent_pages",
    "agent_reserves",
    "agent_tasks",
    "agent_alignment",
    "agent_counter",
    "agent_code",
  ])(
    "%s",
    async (name) => {
      const program = compile(name, "-pthread");
      for (const how of [eager, usual]) {
        const { code, signal, stdout, stderr, file } = await record([program], how);
        expect({ code, signal, stdout, stderr }).toEqual({
          code: 0,
          signal: null,
          stdout: "",
          stderr: "",
        });
        const { trace } = await readWhole(file);
        expect(trace.info.facts.get("backend")).toBe("agent");
      }
    },
    120_000,
  );
});

test("no call of any thread or process is lost, and nearly all are made in the process", async () => {
  const program = compile("agent_tasks", "-pthread");
  const [threads, calls] = [6, 3000];
  const { code, file } = await record([program, String(threads), String(calls)], eager);
  expect(code).toBe(0);
  const { trace, events } = await readWhole(file);
  const own = events.filter((event) => event.process === 1);
  expect(counts(own, "getppid")).toEqual([threads * calls]);
  // Ten children made the same calls each.
  expect(counts(events, "getppid")).toEqual([(threads + 10) * calls]);
  const opened = events.filter((event) => event.name === "openat" && event.ret >= 0);
  const zeros = opened.filter((event) => event.refs.some((ref) => ref.object.path === "/dev/zero"));
  expect(zeros).toHaveLength((threads + 10) * calls);
  const { inProcess = 0, trapped = 0 } = coverageOf(trace.info) ?? {};
  expect(inProcess / (inProcess + trapped)).toBeGreaterThan(0.95);
  expect(inProcess + trapped).toBeLessThanOrEqual(events.length);
});

test.each([eager, { options: ["--backend=eager-agent"] }])(
  "the end of a child is told before the call that has waited for it, %o",
  async (how) => {
    // One of them is not where the recorder is, and is quicker than it.
    const loop = "n=0; while [ $n -lt 200 ]; do /usr/bin/true; n=$((n + 1)); done";
    const [first, last] = firstAndLastCpu();
    const both = `taskset -c ${first} sh -c '${loop}' & taskset -c ${last} sh -c '${loop}'; wait`;
    const { code, file } = await record(["sh", "-c", both], how);
    expect(code).toBe(0);
    const { trace, events } = await readWhole(file);
    const pidOf = (event: Event) => trace.threads[event.thread]?.pid;
    const ended = new Set<number | undefined>();
    let waited = 0;
    for (const event of events) {
      if (event.kind === "Exit") ended.add(pidOf(event));
      if (event.name !== "wait4" || event.ret <= 0) continue;
      expect(ended.has(Number(event.ret))).toBe(true);
      waited += 1;
    }
    expect(waited).toBe(402);
    // They wait, and end, without a stop.
    const { calls = [] } = coverageOf(trace.info) ?? {};
    const stops = calls.filter(({ what }) => ["wait4", "exit_group"].includes(what));
    expect(stops.reduce((sum, { count }) => sum + count, 0)).toBeLessThan(80);
  },
  120_000,
);

test("the end of a child is told before the wait for it where processes have other numbers", async ({
  skip,
}) => {
  const loop = "n=0; while [ $n -lt 100 ]; do /usr/bin/true; n=$((n + 1)); done";
  const words = ["unshare", "-Urpf", "--mount-proc", "sh", "-c"];
  const { code: made } = await run([...words, "true"]);
  skip(made !== 0, "no namespaces of users and processes can be made here");
  const { code, file } = await record([...words, loop], { options: ["--backend=eager-agent"] });
  expect(code).toBe(0);
  const { trace, events } = await readWhole(file);
  let ended = 0;
  let waited = 0;
  for (const event of events) {
    // Of the shell, and of what it runs.
    if (event.process === 2 && event.name === "wait4" && event.ret > 0) waited += 1;
    if (event.process > 2 && event.kind === "Exit") ended += 1;
    expect(waited).toBeLessThanOrEqual(ended);
  }
  expect([ended, waited]).toEqual([100, 100]);
  const stops = coverageOf(trace.info)?.calls.find(({ what }) => what === "wait4")?.count;
  expect(stops).toBeGreaterThanOrEqual(100);
});

test.each([eager, { options: ["--observe", "--backend=ptrace"] }])(
  "nor of more threads than a few, %o",
  async (how) => {
    const program = compile("agent_tasks", "-pthread");
    const [threads, calls] = [60, 50];
    const { code, file } = await record([program, String(threads), String(calls)], how);
    expect(code).toBe(0);
    const { events } = await readWhole(file);
    expect(counts(events, "getppid")).toEqual([(threads + 10) * calls]);
    const ends = events.filter((event) => event.kind === "Exit");
    expect(ends.filter((event) => event.process === 1)).toHaveLength(threads + 1);
    // The last one of a process has the most memory that it used.
    const last = ends.filter((event) => event.args[0] === 1n);
    expect(last).toHaveLength(1 + 3 * 10);
    expect(last.every((event) => (event.args[3] ?? 0n) > 100n)).toBe(true);
  },
  120_000,
);

test.each([[[]], [["forged"]]])(
  "records that the program has written over are counted, and said: %o",
  async (words) => {
    const { code, file } = await record([compile("agent_damage"), ...words], eager);
    expect(code).toBe(0);
    const { trace, events } = await readWhole(file);
    expect(counts(events, "exit_group", "chdir")).toEqual([1, 0]);
    expect(trace.info.facts.get("notes")).toContain("written over the agent's ring");
    expect(Number(trace.info.facts.get("lost")?.split(" ")[0])).toBeGreaterThan(0);
  },
);

test.each([
  ["agent_pointers", [], "all"],
  ["agent_pointers", [], "paths"],
  ["agent_messages", ["-no-pie", "-pthread"], "all"],
  ["agent_messages", ["-no-pie", "-pthread"], "paths"],
])(
  "bytes, paths and results are those of the ptrace backend: %s %j, data of %s",
  async (name, flags, data) => {
    const program = compile(name, ...flags);
    const told = async (options: readonly string[]) => {
      const { file } = await record([program], { options: [...options, `--data=${data}`] });
      return toldOf((await read(file)).events);
    };
    const [agent, ptrace] = [
      await told(eager.options),
      await told(["--observe", "--backend=ptrace"]),
    ];
    expect(agent.length).toBeGreaterThan(1000);
    expect(agent).toEqual(ptrace);
  },
);

test("files are opened as without the agent, and have their names", async () => {
  const program = compile("agent_opens");
  const told = async (options: readonly string[]) => {
    const folder = await mkdtemp(join(tmpdir(), "trace-opens-"));
    const { code, stdout, file } = await record([program, folder], { options });
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    await rm(folder, { recursive: true });
    const { events } = await read(file);
    const plain = (text: string) =>
      text
        .replaceAll(folder, "FOLDER")
        .replace(/#\d+/, "#")
        .replace(/proc\/\d+/, "proc/PID");
    const opened = calls(events, "open", "openat").map(({ name, ret, flags, captures, refs }) => ({
      name,
      ret,
      flags,
      captures: captures.map(({ side, status, bytes }) => [side, status, plain(bytes.toString())]),
      refs: refs.map(({ slot, fd, object }) => [slot, fd, plain(object.path)]),
    }));
    const waits = ({ captures }: (typeof opened)[number]) =>
      captures.some(([, , path]) => path === "real/fifo\0");
    // How often these are interrupted depends on when the signals come.
    const results = new Set(opened.filter(waits).map(({ ret }) => Math.min(ret, 0)));
    return { opened: opened.filter((event) => !waits(event)), results };
  };
  const expected = await told(["--observe", "--backend=ptrace"]);
  expect(expected.opened.length).toBeGreaterThan(60 * 23);
  expect(expected.results.size).toBeGreaterThan(1);
  expect(await told(eager.options)).toEqual(expected);
  expect(await told(["--backend=eager-agent"])).toEqual(expected);
});

test("who answers for each file that is opened is asked once", async (context) => {
  const NO_RIGHT = 77;
  const program = compile("asked_once");
  const folder = await mkdtemp(join(tmpdir(), "trace-asked-"));
  const file = join(folder, "file");
  await writeFile(file, "");
  if ((await run([program, file])).code === NO_RIGHT) context.skip();
  const { code, stdout } = await record([program, file], { options: ["--backend=eager-agent"] });
  expect({ code, stdout }).toEqual({ code: 0, stdout: "asked 50 times\n" });
  await rm(folder, { recursive: true });
});

test("what a killed program was doing is told", async () => {
  const sleeping = "grep -q '^Name:.sleep' $status && grep -q '^State:.S' $status";
  const script = `status=/proc/$$/status; (until ${sleeping}; do :; done; kill -KILL $$) & exec sleep 60`;
  const { file } = await record(["sh", "-c", script], eager);
  const { events } = await readWhole(file);
  const last = events.filter((event) => event.kind === "Call" && event.thread === 0).at(-1);
  expect(last?.name).toBe("clock_nanosleep");
  // NO_RETURN
  expect((last?.flags ?? 0) & 1).toBe(1);
});

test.each([[], ["--observe"]])(
  "what a thread was doing is told when another one executes a program, %o",
  async (...mode) => {
    const program = compile("exec_beside", "-pthread");
    const { code, file } = await record([program], {
      options: ["--backend=eager-agent", ...mode.flat()],
    });
    expect(code).toBe(0);
    const { events } = await readWhole(file);
    // NO_RETURN
    const unfinished = events.filter(
      ({ kind, flags, name }) => kind === "Call" && flags & 1 && name !== "exit",
    );
    const whose = unfinished.map(({ name, thread }) => [name, thread]);
    expect(whose).toEqual([
      ["futex", 0],
      ["exit_group", 0],
    ]);
    expect(calls(events, "execve").map(({ ret, thread }) => [ret, thread])).toEqual([
      [0, 0],
      [0, 3],
    ]);
  },
);

test.each([eager, { options: ["--backend=eager-agent"] }])(
  "each stop of a process is told of, also while its code is patched, %o",
  async (how) => {
    const { code, stderr } = await record([compile("agent_stops"), "60"], how);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  },
  120_000,
);

test("a process with threads may be killed at any time", async () => {
  const { code, signal, file } = await record([compile("agent_killed", "-pthread"), "200"], usual);
  expect({ code, signal }).toEqual({ code: 0, signal: null });
  const { events } = await readWhole(file);
  const last = events.filter((event) => event.kind === "Exit").at(-1);
  expect(last?.thread).toBe(0);
}, 60_000);

test("a thread that was there before the agent may be interrupted", async () => {
  const program = compile("agent_restart", "-pthread", "-static");
  const { code, signal, file } = await record([program], usual);
  expect({ code, signal }).toEqual({ code: 0, signal: null });
  const { trace, events } = await readWhole(file);
  expect(counts(events, "getppid", "read")).toEqual([203, 4]);
  // The agent came when the thread was waiting, and patched what it calls later.
  expect(coverageOf(trace.info)?.inProcess).toBeGreaterThan(100);
});

test("says why it does without the agent", async () => {
  const why = /agent cannot be used with a capture filter/;
  const { file } = await record(["true"], { options: ["--backend=agent", "-e", "openat"] });
  const { trace } = await read(file);
  expect(trace.info.facts.get("backend")).toBe("ptrace");
  expect(trace.info.notes.join()).toMatch(why);
  const { stdout } = await run([cli, "info", "--coverage", file]);
  expect(stdout).toMatch(why);
});

test("is the usual way, and says only in the trace where it is not", async () => {
  const usual = await record(["ls", "-l", "/usr/bin"], { options: ["--observe"] });
  expect(usual).toMatchObject({ code: 0, stderr: "" });
  const { trace } = await readWhole(usual.file);
  expect(trace.info.facts.get("backend")).toBe("agent");
  expect(coverageOf(trace.info)?.inProcess).toBeGreaterThan(1000);
  const file = join(dirname(usual.file), "other.trace");
  const words = [cli, "record", "-o", file, "-e", "openat", "--", "true"];
  expect(await run(words)).toMatchObject({ code: 0, stderr: "" });
  const { stdout } = await run([cli, "info", file]);
  expect(stdout).toMatch(/ptrace backend \(the agent cannot be used with a capture filter/);
});

test("does not come to what makes few calls", async () => {
  const { file } = await record(["sh", "-c", "ls | cat; true"]);
  const { trace } = await read(file);
  expect(coverageOf(trace.info)).toMatchObject({ inProcess: 0, patched: 0 });
});

test("does not come where threads are scheduled by a seed", async () => {
  const { file } = await record(["true"], { options: ["--backend=agent", "--chaos=3"] });
  const why = (await read(file)).trace.info.facts.get("without_agent");
  expect(why).toBe("the agent cannot be used with --chaos");
});

test("leaves a program alone whose files may not be large", async () => {
  const script = "ulimit -f 100; for k in $(seq 100); do echo $k > /dev/null; done; echo done";
  const { code, stdout, file } = await record(["sh", "-c", script], eager);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "done\n" });
  expect((await read(file)).trace.info.facts.get("backend")).toBe("agent");
});

test("leaves a program alone whose memory is limited, or locked", async () => {
  const script = "ulimit -v 2000000; for k in $(seq 100); do echo $k > /dev/null; done; echo done";
  const limited = await record(["bash", "-c", script], eager);
  expect(limited).toMatchObject({ code: 0, stdout: "done\n" });
  const program = compile("agent_locked");
  const native = await run([program]);
  expect(native.stdout).toMatch(/^\d+\n0\n$/);
  // One that is only to be looked at has it until it executes another one.
  const { code, stdout, file } = await record([program], { options: ["--backend=eager-agent"] });
  expect({ code, stdout }).toEqual({ code: 0, stdout: native.stdout });
  expect((await read(file)).trace.info.facts.get("agent")).toContain("limited, or locked");
});

test("stays where memory is said to have no limit", async () => {
  const script =
    "ulimit -v unlimited; for k in $(seq 100); do echo $k > /dev/null; done; echo done";
  const { code, stdout, file } = await record(["bash", "-c", script], eager);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "done\n" });
  expect((await read(file)).trace.info.facts.get("agent")).not.toContain("left");
});

test("stays where it is only asked what filters the kernel can put on", async () => {
  for (const options of [["--backend=eager-agent"], ["--backend=eager-agent", "--observe"]]) {
    const { code, stderr, file } = await record([compile("agent_asks_filters")], { options });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect((await read(file)).trace.info.facts.get("agent")).not.toContain("left");
  }
});

test("stays where much more is reserved than its place", async () => {
  for (const options of [["--backend=eager-agent"], ["--backend=eager-agent", "--observe"]]) {
    const { code, file } = await record([compile("agent_reserves")], { options });
    expect(code).toBe(0);
    expect((await read(file)).trace.info.facts.get("agent")).not.toContain("left");
  }
});

test("is not among the mappings that a program reads", async () => {
  const { code, stderr } = await record([compile("agent_maps")], eager);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
});
