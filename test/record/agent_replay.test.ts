/** Recordings through the agent that can be replayed: they are what the ptrace backend makes, and the agent leaves when it has to. */

import { execFileSync } from "node:child_process";
import { copyFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Slot } from "../../src/trace/batch.js";
import { type Coverage, coverageOf } from "../../src/trace/coverage.js";
import {
  bytesOf,
  calls,
  compile,
  compileBy,
  type Event,
  folder,
  objectOf,
  type Replayed,
  readWhole,
  record,
  recordAndReplay,
  toldOf,
} from "./support.js";

const eager = ["--backend=eager-agent"];
const usual = ["--backend=agent"];

describe("programs that check themselves find nothing changed, in replay neither", () => {
  test.each([
    "agent_registers",
    "agent_window",
    "agent_signals",
    "agent_pointers",
    "agent_faults",
    "agent_tasks",
  ])(
    "%s",
    async (name) => {
      const program = compile(name, "-pthread");
      for (const options of [eager, usual]) await recordAndReplay([program], options);
    },
    120_000,
  );
});

test.each([
  ["agent_pointers", []],
  ["agent_messages", ["-no-pie", "-pthread"]],
])("bytes, results and failures are those of the ptrace backend: %s", async (name, flags) => {
  const program = compile(name, ...flags);
  const told = async (options: readonly string[]) => {
    const { events } = await readWhole((await record([program], { options })).file);
    return toldOf(events);
  };
  const [agent, ptrace] = [await told(eager), await told(["--backend=ptrace"])];
  expect(agent.length).toBeGreaterThan(1000);
  expect(agent).toEqual(ptrace);
});

test("sockets and what else is made without a file are those of the ptrace backend, and the agent's", async () => {
  const program = compile("agent_sockets", "-no-pie");
  const argv = [program, folder()];
  const agent = await recordAndReplay(argv, eager);
  const ptrace = await record(argv, { options: ["--backend=ptrace"] });
  const told = toldOf(agent.events);
  expect(told.length).toBeGreaterThan(4000);
  expect(told).toEqual(toldOf((await readWhole(ptrace.file)).events));
  const stopped = new Map(agent.coverage.calls.map(({ what, count }) => [what, count]));
  // Of 60 to 1,440 of each. Calls with a filter are the engine's.
  const makers = [
    "socket",
    "accept",
    "accept4",
    "eventfd2",
    "epoll_create1",
    "pipe",
    "pipe2",
    "socketpair",
    "getsockname",
  ];
  expect(makers.filter((name) => (stopped.get(name) ?? 0) > 5)).toEqual([]);
  expect(stopped.get("setsockopt")).toBeLessThan(200);
});

test("a socket that is to wait again holds nobody up, and the clock that is told is the event's time", async () => {
  const program = compile("agent_toggles", "-pthread");
  for (const options of [eager, usual]) {
    const { events, coverage, stdout } = await recordAndReplay([program], options);
    expect(stdout).toBe("done\n");
    const inVain = [...calls(events, "read"), ...calls(events, "recvfrom")];
    expect(inVain.filter(({ ret }) => ret === -11).length).toBe(24 * 50);
    // Of the bad pointers; none of the pointers to nothing.
    expect(coverage.faults).toBeLessThan(200);
    const own = events.find(({ name }) => name === "socketpair")?.thread;
    const MONOTONIC = 1n;
    const told = calls(events, "clock_gettime").filter(
      ({ args, ret, thread }) => args[0] === MONOTONIC && ret === 0 && thread === own,
    );
    expect(told.length).toBeGreaterThan(24 * 40);
    const late = told.map((event) => {
      const now = bytesOf(event, 1, "out");
      return Number(now.readBigInt64LE(0)) * 1e9 + Number(now.readBigInt64LE(8)) - event.start;
    });
    const usually = [...late].sort((a, b) => a - b)[late.length >> 1] ?? 0;
    // To 100 ns; the engine's are of when they began. A double has 53 bits.
    const exact = late.filter((one) => Math.abs(one - usually) <= 256);
    expect(exact.length).toBeGreaterThan(told.length * 0.9);
  }
});

test("what is moved, bytes and memory, is that of the ptrace backend, and moved by the agent", async () => {
  const program = compile("agent_moves", "-no-pie");
  const argv = [program, folder()];
  // What is mapped is told with its address, which differs.
  const toldBy = (events: readonly Event[]) =>
    toldOf(events).map((event) =>
      ["mmap", "mremap"].includes(event.name) ? { ...event, captures: [] } : event,
    );
  const ptrace = async (options: readonly string[]) =>
    toldBy((await readWhole((await record(argv, { options })).file)).events);
  // Of 40 to 372 of each. To an address mremap is the engine's, or to no length, or of a file that is shared; and sendfile to the output
  // of a recording that is to be replayed.
  const expectMade = (coverage: Coverage | undefined, output: number) => {
    const stopped = new Map(coverage?.calls.map(({ what, count }) => [what, count]));
    const made = ["copy_file_range", "fsync", "fdatasync", "sync_file_range"];
    expect(made.filter((name) => (stopped.get(name) ?? 0) > 5)).toEqual([]);
    expect(stopped.get("sendfile") ?? 0).toBeLessThan(output + 20);
    expect(stopped.get("mremap") ?? 0).toBeLessThan(180);
  };
  const replayed = await recordAndReplay(argv, eager);
  const told = toldBy(replayed.events);
  expect(told.length).toBeGreaterThan(1500);
  expect(told).toEqual(await ptrace(["--backend=ptrace"]));
  expectMade(replayed.coverage, 40);
  const observed = await readWhole((await record(argv, { options: [...eager, "--observe"] })).file);
  expect(toldBy(observed.events)).toEqual(await ptrace(["--backend=ptrace", "--observe"]));
  expectMade(coverageOf(observed.trace.info), 0);
});

test("handlers come back in the process, to where the ptrace backend has them", async () => {
  const program = compile("agent_returns", "-no-pie");
  const stopped = (coverage: Coverage | undefined) =>
    coverage?.calls.find(({ what }) => what === "rt_sigreturn")?.count;
  for (const options of [eager, usual]) await recordAndReplay([program], options);
  await record([program], { options: [...eager, "--observe"] });
  const argv = [program, "calls"];
  const { events, coverage, stdout } = await recordAndReplay(argv, eager);
  expect(stdout).toBe("60 120 60\n");
  const about = ["tgkill", "rt_sigreturn", "rt_sigprocmask"];
  const toldOfCalls = (of: readonly Event[]) =>
    toldOf(of).filter(({ name }) => about.includes(name));
  const told = toldOfCalls(events);
  expect(told.filter(({ name }) => name === "rt_sigreturn").length).toBe(7 * 60);
  const ptrace = await record(argv, { options: ["--backend=ptrace"] });
  expect(told).toEqual(toldOfCalls((await readWhole(ptrace.file)).events));
  // The engine's are those to another place, before a signal that waits, and from around another handler.
  expect(stopped(coverage)).toBeLessThan(190);
  const observed = await readWhole((await record(argv, { options: [...eager, "--observe"] })).file);
  expect(stopped(coverageOf(observed.trace.info))).toBeLessThan(70);
  // Without tables, unwinders look for the instructions.
  const musl = [compileBy("musl-gcc", "agent_returns", "-static"), "calls"];
  expect((await recordAndReplay(musl, eager)).coverage.refused).toContainEqual({
    what: "it returns from signal handlers, and is known by its instructions",
    count: 1,
  });
}, 60_000);

test("programs that are looked for where there are none are so in the process, as by the ptrace backend", async () => {
  const program = compile("executes", "-no-pie");
  const told = (events: readonly Event[]) =>
    calls(events, "execve").map(({ ret, flags, args, captures }) => [
      ret,
      flags,
      // The vectors of the C library's own are on its stack.
      captures.filter(({ slot }) => slot === 0 || (args[slot] ?? 0n) < 1n << 32n),
    ]);
  for (const mode of [[], ["--observe"]]) {
    const argv = () => [program, folder()];
    const agent = mode.length
      ? await readWhole((await record(argv(), { options: [...eager, ...mode] })).file)
      : await recordAndReplay(argv(), eager);
    const ptrace = await record(argv(), { options: ["--backend=ptrace", ...mode] });
    expect(told(agent.events).length).toBeGreaterThan(500);
    expect(told(agent.events)).toEqual(told((await readWhole(ptrace.file)).events));
    const coverage = "coverage" in agent ? agent.coverage : coverageOf(agent.trace.info);
    const stopped = coverage?.calls.find(({ what }) => what === "execve")?.count ?? 0;
    // Those with strings that the agent cannot take.
    expect(stopped).toBeLessThan(told(agent.events).length * 0.4);
  }
});

test("what programs load has its name, also where many load it at once", async () => {
  const script = "for i in 1 2 3 4 5 6 7 8 9 10; do sort /dev/null | cat | tail -1 & done; wait";
  const { events } = await recordAndReplay(["sh", "-c", script], usual);
  const loaded = events
    .filter(({ kind }) => kind === "Map")
    .map((event) => bytesOf(event, 0, "in").toString());
  expect(loaded.filter((path) => path === "")).toEqual([]);
  expect(loaded.filter((path) => path.includes("/libc.so")).length).toBe(31);
});

test("a file has its name however often a path has led to it through links", async () => {
  const dir = folder();
  const script = [
    "mkdir d; echo a > d/one; ln -s d l; p=$PWD/l/one",
    "cat $p; cat $p; cat $p; cat $p",
    // Renamed; with another link to it; replaced; and where the directory has another name.
    "mv d/one d/two; ln -s two d/one; cat $p; cat $p",
    "ln d/two d/also; cat $p; rm d/two; ln -sf also d/one; cat $p; cat $p; cat $p",
    "mv d e; ln -sfn e l; cat $p",
  ];
  const told = async (options: readonly string[]) => {
    const { file } = await record(["sh", "-c", script.join("\n")], { cwd: dir, options });
    const { events } = await readWhole(file);
    execFileSync("rm", ["-r", "e", "l"], { cwd: dir });
    return calls(events, "openat")
      .filter((event) => bytesOf(event, 1, "in").toString().startsWith(`${dir}/l/one`))
      .map((event) => objectOf(event, Slot.Ret)?.path.slice(dir.length + 1));
  };
  const names = ["d/one", "d/two", "d/two", "d/two", "d/also", "d/also", "d/also", "e/also"];
  const expected = ["d/one", "d/one", "d/one", ...names];
  for (const options of [eager, usual, [...eager, "--observe"], ["--backend=ptrace"]])
    expect(await told(options)).toEqual(expected);
}, 60_000);

test("messages and sets of descriptors are waited for, in replay too", async () => {
  const program = compile("agent_messages", "-no-pie", "-pthread");
  for (const options of [eager, usual]) await recordAndReplay([program, "waits"], options);
});

test("messages and sets of descriptors are the agent's where their pointers and descriptors are good", async () => {
  const program = compile("agent_messages", "-no-pie", "-pthread");
  const { coverage } = await recordAndReplay([program], eager);
  const stopped = new Map(coverage.calls.map(({ what, count }) => [what, count]));
  // Of 750, 800, 500 and 150: with descriptors, or about pointers to nothing, these are the engine's.
  expect(stopped.get("sendmsg")).toBeLessThan(400);
  expect(stopped.get("recvmsg")).toBeLessThan(400);
  expect(stopped.get("select")).toBeLessThan(250);
  expect(stopped.get("pselect6") ?? 0).toBeLessThan(10);
});

describe("code of files that are kept is mapped without the engine", () => {
  test("by a program that is run again and again: load events are those of the ptrace backend", async () => {
    const argv = ["sh", "-c", "for i in $(seq 30); do ls -l /etc/passwd; done"];
    const { events, coverage } = await recordAndReplay(argv, usual);
    const loads = (of: typeof events) =>
      of
        .filter(({ kind }) => kind === "Map")
        .map(({ args, captures }) => [
          args.slice(1),
          captures.map(({ bytes }) => bytes.toString("hex")),
        ]);
    const reference = await readWhole((await record(argv, { options: ["--backend=ptrace"] })).file);
    expect(loads(events)).toEqual(loads(reference.events));
    // Three libraries of `ls` each time. Only the first programs do without the agent.
    expect(loads(events).length).toBeGreaterThanOrEqual(30 * 3);
    const stopped = coverage.calls.find(({ what }) => what === "mmap")?.count ?? 0;
    expect(stopped).toBeLessThan(45);
  });

  test.each([
    ["usual", usual],
    ["eager", eager],
  ])("also where another library comes to its place, %s", async (_, options) => {
    const place = folder();
    const old = new Date(2001, 1, 1);
    const [first = "", second = ""] = [7, 9].map((value) => {
      const library = join(place, `${value}.so`);
      copyFileSync(compile("loads_code", "-shared", "-fPIC", `-DVALUE=${value}`), library);
      // What has just changed is not known by its times.
      utimesSync(library, old, old);
      return library;
    });
    const { stdout } = await recordAndReplay([compile("loads_code"), first, second], options);
    expect(stdout).toBe(`${"140\n".repeat(6)}${"180\n".repeat(6)}`);
  });
});

test("small files that are mapped have what is in them when others write, in replay too", async () => {
  const program = compile("agent_files");
  const { stdout } = await record([program], { options: ["--backend=ptrace"] });
  expect(stdout.split("\n").length).toBe(83);
  for (const options of [eager, usual]) {
    const replayed = await recordAndReplay([program], options);
    expect(replayed.stdout).toBe(stdout);
    const stopped = replayed.coverage.calls.find(({ what }) => what === "mmap")?.count ?? 0;
    // Those of files that are written to, and none of the others.
    expect(stopped).toBeLessThan(150);
  }
});

test.skipIf(process.getuid?.() !== 0)(
  "the first segment of shared memory that a container has, whose number is 0",
  async () => {
    for (const options of [eager, usual]) {
      const under = ["unshare", "--ipc"];
      const { stdout } = await recordAndReplay([compile("segment")], options, { under });
      expect(stdout).toBe("segment 0: 1\n");
    }
  },
);

test("nearly all calls of a program with one thread are made in the process", async () => {
  const { coverage } = await recordAndReplay(["find", "/usr/include", "-name", "*.h"], usual);
  const { inProcess, trapped, left } = coverage;
  expect(left).toEqual([]);
  expect(inProcess / (inProcess + trapped)).toBeGreaterThan(0.9);
});

test("the agent is there before a program runs whose loader is known from others, or from an earlier recording", async () => {
  const loop = "i=0; while [ $i -lt 60 ]; do /bin/true; i=$((i+1)); done";
  const words = ["dash", "-c", loop];
  const program = compile("agent_tasks", "-pthread");
  const cache = { env: { XDG_CACHE_HOME: folder() } };
  const shares: number[] = [];
  for (const argv of [words, words, [program, "1", "1"]]) {
    const { code, file } = await record(argv, cache);
    expect(code).toBe(0);
    const { trace } = await readWhole(file);
    const { inProcess = 0, trapped = 0 } = coverageOf(trace.info) ?? {};
    shares.push(inProcess / (inProcess + trapped));
  }
  const [first = 0, second = 0, other = 0] = shares;
  expect(first).toBeGreaterThan(0.5);
  expect(second).toBeGreaterThan(first + 0.1);
  expect(other).toBeGreaterThan(0.5);
  const { coverage } = await recordAndReplay(words, usual);
  expect(coverage.left).toEqual([]);
});

describe("the agent stays in a process", () => {
  const share = ({ inProcess, trapped }: Coverage): number => inProcess / (inProcess + trapped);

  test("that begins other threads", async () => {
    const { coverage } = await recordAndReplay(
      [compile("agent_tasks", "-pthread"), "3", "2000"],
      eager,
    );
    expect(coverage.left).toEqual([]);
    expect(share(coverage)).toBeGreaterThan(0.8);
  });

  test("that reads where its memory is, by whatever way, and finds nothing of it", async () => {
    const program = compile("agent_maps");
    for (const options of [eager, usual, ["--backend=ptrace"]]) {
      const { code, stdout, stderr } = await record([program], { options });
      expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "", stderr: "" });
    }
    const { coverage } = await recordAndReplay([program], eager);
    expect(coverage.left).toEqual([]);
    expect((await recordAndReplay(["cat", "/proc/self/maps"], eager)).stdout).toContain("[stack]");
  });

  test("that writes to memory which others see", async () => {
    const script = [
      "import mmap, os",
      "m = mmap.mmap(-1, 4096)",
      "child = os.fork()",
      "for k in range(2000):",
      "  os.stat('/')",
      "  m[0 if child else 1] = k % 199",
      "if child: os.wait(), print(m[0], m[1])",
    ].join("\n");
    const { coverage, stdout } = await recordAndReplay(["python3", "-c", script], eager);
    expect(stdout).toBe("9 9\n");
    expect(coverage.left).toEqual([]);
    expect(share(coverage)).toBeGreaterThan(0.9);
  });

  test("that waits for events while its other threads wait, too", async () => {
    const { coverage, stdout } = await recordAndReplay(
      [compile("agent_events", "-pthread")],
      eager,
    );
    expect(stdout).toBe("200 events\n");
    const stopped = coverage.calls.find(({ what }) => what === "epoll_wait")?.count ?? 0;
    expect(stopped).toBeLessThan(50);
  });

  test("whose children ask and lock", async () => {
    const { coverage } = await recordAndReplay([compile("agent_vfork")], eager);
    expect(coverage.left).toEqual([]);
    expect(share(coverage)).toBeGreaterThan(0.9);
  });
});

describe("the agent leaves a process", () => {
  const left = async (argv: readonly string[]): Promise<Replayed & { readonly why: string }> => {
    const replayed = await recordAndReplay(argv, eager);
    const why = replayed.coverage.left.map(({ count, what }) => `${count} ${what}`).join(", ");
    return { ...replayed, why };
  };

  test("that looks into its own memory", async () => {
    const { why } = await left(["python3", "-c", "open('/proc/self/pagemap', 'rb').read(8)"]);
    expect(why).toMatch(/^\d it looked at its own mappings or code$/);
  });
});
