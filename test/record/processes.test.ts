/** Processes and threads of every sort, as the recorder sees them and as they see themselves. */

import { execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { EventFlag } from "../../src/trace/batch.js";
import { lacking } from "../support/tools.js";
import {
  bytesOf,
  calls,
  compile,
  contentOf,
  ended,
  expectWholeTree,
  folder,
  isAlive,
  read,
  readWhole,
  record,
  recordWords,
  run,
  start,
  stateOf,
  stringsOf,
  until,
} from "./support.js";

let tree = "";
beforeAll(() => {
  tree = compile("tree", "-pthread");
});

/** Records and runs natively; the outcomes must be alike and the trace whole. */
async function alike(argv: readonly string[], options: readonly string[] = []) {
  const native = await run(argv);
  const recorded = await record(argv, { options });
  const { code, signal, stdout, stderr } = recorded;
  expect({ code, signal, stdout, stderr }).toEqual(native);
  return { native, ...(await readWhole(recorded.file)) };
}

const execs = (events: Awaited<ReturnType<typeof read>>["events"]) =>
  events.filter((event) => event.kind === "Exec").map((event) => stringsOf(event, 1).join(" "));

describe("a process is made by", () => {
  it("fork, vfork, posix_spawn, clone and clone3, traced or not", async () => {
    const { native, trace, events } = await alike([tree, "forks"]);
    expect(native.stdout).toContain("untraced clone3 exit 10\nflags kept\n");
    expect(trace.processes.length).toBe(11);
    const exits = events.filter((event) => event.kind === "Exit" && event.process > 1);
    expect(exits.map((event) => event.code >> 8).sort((a, b) => a - b)).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ]);
    // The flags that the program gave, and who made whom.
    const tasks = events.filter((event) => event.kind === "Task");
    expect(tasks.slice(1).every((event) => event.args[0] === 1n)).toBe(true);
    const vm = 0x100n;
    expect(tasks.filter((event) => ((event.args[1] ?? 0n) & vm) !== 0n).length).toBe(5);
  });

  it.each(["-e", "--data=none"])("the same with %s", async (how) => {
    const options = how === "-e" ? ["-e", "getpid"] : ["--observe", how];
    const { trace } = await alike([tree, "forks"], options);
    expect(trace.processes.length).toBe(11);
  });

  it.each(["--backend=agent", "--observe"])(
    "a namespace whose first a fault ends, with %s",
    async (how) => {
      const script =
        "import ctypes, os; os.kill(1, 15); print('goes on', flush=True); ctypes.string_at(0)";
      const native = await run(["unshare", "-Urpf", "python3", "-c", script]);
      const isRefused = native.code === 1 && native.stderr.startsWith("unshare: ");
      expect(isRefused ? "goes on\n" : native.stdout).toBe("goes on\n");
      const { code, signal, stdout } = await record(["unshare", "-Urpf", "python3", "-c", script], {
        options: [how],
      });
      expect({ code, signal, stdout }).toEqual({
        code: native.code,
        signal: native.signal,
        stdout: native.stdout,
      });
    },
  );

  it.each(["agent", "ptrace"])(
    "threads that its end cuts short, whose calls are no loss to the %s backend",
    async (name) => {
      const words = [compile("cut_short", "-pthread"), "20"];
      for (let k = 0; k < 4; k++) {
        const { trace } = await alike(words, ["--observe", `--backend=${name}`]);
        expect(trace.info.lost?.tasks).toBe(0);
      }
    },
  );

  it("300 forks at once", async () => {
    const { trace } = await alike([tree, "bomb", "300"]);
    expect(trace.processes.length).toBe(301);
  });

  it("parents that are killed while they make children", async () => {
    const { native } = await alike([tree, "killed_makers", "60"]);
    expect(native.stdout).toBe("done\n");
  });
});

describe("threads", () => {
  it.each(["exit_group", "leader_first", "thread_dies"])("%s", async (how) => {
    const { trace, events } = await alike([tree, how]);
    expect(trace.processes.length).toBe(1);
    expect(trace.threads.length).toBeGreaterThanOrEqual(how === "exit_group" ? 8 : 5);
    expect(events.filter((event) => event.kind === "Exit").length).toBe(trace.threads.length);
  });

  it.each(["thread_exec", "thread_exec_after_leader"])("%s: goes on as the leader", async (how) => {
    const { trace, events } = await alike([tree, how]);
    expect(execs(events)).toEqual([`${tree} ${how}`, "sh -c echo executed by a thread; exit 13"]);
    const superseded = events.filter((event) => event.kind === "Exit" && event.args[0] === 2n);
    expect(superseded.length).toBe(1);
    const exec = events.filter((event) => event.kind === "Exec")[1];
    expect(trace.threads[exec?.thread ?? -1]?.ordinal).toBe(1);
    // The call that did it returned, although its thread is gone.
    const call = calls(events, "execve")[1];
    expect({ ret: call?.ret, flags: call?.flags }).toEqual({ ret: 0, flags: 0 });
  });
});

describe("ends", () => {
  it("a zombie that nobody reaps", async () => {
    const { native, trace } = await alike([tree, "zombie"]);
    expect(native.stdout).toBe("zombie exit 1\n");
    expect(trace.processes.length).toBe(2);
  });

  it("stopped and continued", async () => {
    const { native, events } = await alike([tree, "stopped"]);
    expect(native.stdout).toBe("stopped 1 by 19\ncontinued 1\nexit 14\n");
    expect(events.filter((event) => event.kind === "Stop").map((event) => event.code)).toEqual([
      19,
    ]);
  });

  it("killed inside a call: the call never returned", async () => {
    const { events } = await alike([tree, "killed_inside"]);
    const last = events.filter((event) => event.process === 2 && event.kind === "Call").at(-1);
    expect({ name: last?.name, flags: last?.flags }).toEqual({
      name: "read",
      flags: EventFlag.NoReturn,
    });
    const exit = events.find((event) => event.process === 2 && event.kind === "Exit");
    expect(exit?.code).toBe(9);
  });

  it("a process that leaves its session and group", async () => {
    const script = "setsid sh -c 'echo in $(ps -o sid= -p $$)' >/dev/null; setsid -w true; exit 3";
    const { trace } = await alike(["sh", "-c", script]);
    expect(trace.processes.length).toBeGreaterThanOrEqual(3);
  });
});

describe("daemons", () => {
  it("are recorded until they end", async () => {
    const dir = folder();
    const pidFile = join(dir, "pid");
    const file = join(dir, "x.trace");
    const go = join(dir, "go");
    execFileSync("mkfifo", [go]);
    const child = start(
      [...recordWords(file), tree, "daemon", pidFile, `read x < ${go}; exit 15`],
      {
        env: stateOf(dir),
        stdio: "ignore",
      },
    );
    const end = ended(child);
    const pid = Number(await until(() => contentOf(pidFile).trim()));
    expect(isAlive(pid)).toBe(true);
    expect(child.exitCode).toBe(null);
    await run(["sh", "-c", `echo > ${go}`]);
    // The exit code is that of the first program.
    expect((await end).code).toBe(0);
    const { trace, events } = await readWhole(file);
    expect(trace.processes.length).toBe(3 + calls(events, "clone", "fork", "vfork").length - 2);
    const exits = events.filter((event) => event.kind === "Exit");
    expect(exits.map((event) => event.code >> 8)).toContain(15);
  });

  it("go on unobserved with --detach-on-exit", async () => {
    const dir = folder();
    const pidFile = join(dir, "pid");
    const file = join(dir, "x.trace");
    const go = join(dir, "go");
    const result = join(dir, "result");
    execFileSync("mkfifo", [go]);
    // The first program waits for the daemon to be there, so that there is something to leave behind.
    const daemon = `${tree} daemon ${pidFile} 'read x < ${go}; echo $x $$ > ${result}'`;
    const script = `${daemon}; while ! test -e ${pidFile}; do sleep 0.01; done; exit 7`;
    const words = [...recordWords(file, "--detach-on-exit"), "sh", "-c", script];
    const done = await run(words, { env: stateOf(dir), stdio: "ignore" });
    expect(done.code).toBe(7);
    const pid = Number(await until(() => contentOf(pidFile).trim()));
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    expect(/^TracerPid:\t(\d+)$/m.exec(status)?.[1]).toBe("0");
    // It comes to its waiting in its own time.
    await until(() => /^State:\tS/m.test(contentOf(`/proc/${pid}/status`)));
    // It has its CPUs back.
    const cpus = /^Cpus_allowed:.*$/m;
    expect(cpus.exec(status)?.[0]).toBe(
      cpus.exec(readFileSync("/proc/self/status", "latin1"))?.[0],
    );
    await run(["sh", "-c", `echo done > ${go}`]);
    expect(await until(() => contentOf(result))).toBe(`done ${pid}\n`);
    expect((await read(file)).trace.state).toBe("complete");
  });
});

describe("namespaces and roots", () => {
  it.each([
    ["a process namespace", ["unshare", "-p", "-f", "sh", "-c", "echo $$; true; exit 6"]],
    [
      "one of its own /proc",
      ["unshare", "-p", "-f", "--mount-proc", "sh", "-c", "ls /proc/1/exe; exit 6"],
    ],
    ["a user namespace", ["unshare", "-r", "sh", "-c", "id -u; cat /proc/self/uid_map; exit 6"]],
    ["nested ones", ["unshare", "-p", "-f", "unshare", "-p", "-f", "sh", "-c", "echo $$; exit 6"]],
    ["another root", ["chroot", "/usr", "/bin/ls", "/"]],
  ])("%s", async (_, argv) => {
    const { native, events } = await alike(argv);
    expect(native.stderr).toBe("");
    expect(execs(events).length).toBeGreaterThan(1);
  });
});

describe("programs that trace", () => {
  it.skipIf(lacking("gdb"))("gdb is refused, and a note says why", async () => {
    const words = ["gdb", "-batch", "-nx", "-ex", "run", "true"];
    const dir = folder();
    const args = recordWords(join(dir, "x.trace")).filter((word) => word !== "-q");
    const done = await run([...args, ...words], { env: stateOf(dir) });
    expect(done.stderr).toContain("trace: note: the program itself uses ptrace");
    expect(done.stdout + done.stderr).toMatch(/Operation not permitted|not being run/);
    const { trace } = await readWhole(join(dir, "x.trace"));
    expect(trace.info.notes.join()).toContain("ptrace");
  });

  it.skipIf(lacking("strace"))("strace is refused, and ends by itself", async () => {
    const native = await run(["strace", "-o", "/dev/null", "true"]);
    expect(native.code).toBe(0);
    const recorded = await record(["strace", "-o", "/dev/null", "true"]);
    expect(recorded.code).toBe(1);
    expect(recorded.stderr).toMatch(/Operation not permitted/);
    expect((await readWhole(recorded.file)).trace.info.notes.join()).toContain("only one tracer");
  });
});

describe("programs with a seccomp filter of their own", () => {
  it.each(["errno", "trap", "kill_thread", "kill_process", "log"])("%s", async (action) => {
    const { native, events } = await alike([compile("seccomp"), action]);
    expect([native.code, native.signal]).toEqual(
      { errno: [20, null], trap: [21, null], log: [20, null] }[action] ?? [null, "SIGSYS"],
    );
    const call = calls(events, "getppid")[0];
    if (action === "errno") expect(call?.ret).toBe(-25);
    else expect(call?.name).toBe("getppid");
  });

  it.each(["errno", "trap", "log"])("%s, under a capture filter", async (action) => {
    await alike([compile("seccomp"), action], ["-e", "getpid,write"]);
  });
});

describe("other ABIs", () => {
  it("i386 and x32 calls and unknown numbers of a 64-bit program are told apart", async () => {
    const { trace, events } = await alike([compile("foreign_abi")]);
    const first = events.find((event) => event.kind === "Call" && event.i386);
    expect(first).toMatchObject({ name: "getpid", code: 20 });
    const raw = events.filter((event) => event.kind === "Call" && event.name === "");
    expect(raw.map((event) => event.code)).toEqual([0x40000000 + 39, 9999]);
    for (const event of raw) expect(event.args.slice(0, 3)).toEqual([1n, 2n, 3n]);
    expect(trace.info.lost?.unknownCalls).toBe(2);
  });

  it("a static i386 program", async (context) => {
    let program: string;
    try {
      program = compile("nonblocking", "-m32", "-static");
    } catch (error) {
      // Needs a 32-bit C library, which is there in continuous integration.
      if (lacking("a 32-bit C library")) context.skip();
      throw error;
    }
    const { events } = await alike([program]);
    const own = events.filter((event) => event.kind === "Call").slice(1);
    expect(own.every((event) => event.i386)).toBe(true);
    expect(calls(events, "fcntl64").length).toBeGreaterThanOrEqual(3);
  });
});

describe("without privilege", () => {
  const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const isRoot = process.getuid?.() === 0;

  async function asNobody(argv: readonly string[]) {
    const dir = folder();
    const file = join(dir, "x.trace");
    const words = recordWords(file).filter((word) => word !== "-q");
    const done = await run([...user, ...words, ...argv], { cwd: dir, env: stateOf(dir) });
    return { ...done, ...(await readWhole(file)) };
  }

  it.runIf(isRoot)("a whole tree is recorded", async () => {
    const native = await run([...user, tree, "forks"]);
    const done = await asNobody([tree, "forks"]);
    expect(done.stdout).toBe(native.stdout);
    expect(done.trace.processes.length).toBe(11);
  });

  it.runIf(isRoot)(
    "a set-user-ID program runs, without its privilege, and a note says so",
    async () => {
      const id = join(folder(), "id");
      copyFileSync("/usr/bin/id", id);
      chownSync(id, 0, 0);
      chmodSync(id, 0o4755);
      expect((await run([...user, id, "-u"])).stdout).toBe("0\n");
      const done = await asNobody([id, "-u"]);
      expect(done.stdout).toBe("65534\n");
      expect(done.stderr).toMatch(/^trace: note: a set-user-ID program ran without its privilege/);
    },
  );

  it.runIf(isRoot)("a set-user-ID program keeps its privilege when root records", async () => {
    const id = join(folder(), "id");
    copyFileSync("/usr/bin/id", id);
    chownSync(id, 65534, 0);
    chmodSync(id, 0o4755);
    const { native } = await alike([id, "-u"]);
    expect(native.stdout).toBe("65534\n");
  });

  it.runIf(isRoot)(
    "a program that closes itself is recorded without memory, and counted",
    async () => {
      const done = await asNobody([compile("undumpable")]);
      expect(done.stdout).toBe("16\n");
      expect(done.stderr).toMatch(/^trace: note: the kernel does not let a process be looked into/);
      const call = calls(done.events, "read").at(-1);
      expect(call?.captures.map((capture) => capture.status)).toEqual(["unreadable"]);
      expect((call?.flags ?? 0) & EventFlag.Partial).toBe(EventFlag.Partial);
      expect(done.trace.info.lost?.memory).toBeGreaterThan(0);
      expect(done.trace.info.lost?.descriptors).toBeGreaterThan(0);
    },
  );
});

describe("a running process", () => {
  it("is observed from -p on until Ctrl-C, and goes on", async () => {
    const dir = folder();
    const file = join(dir, "x.trace");
    const script = "while read -r x; do echo got $x; done";
    const server = spawn("sh", ["-c", script], { stdio: ["pipe", "pipe", "ignore"] });
    let output = "";
    server.stdout.on("data", (part: Buffer) => {
      output += part.toString();
    });
    const serverEnd = ended(server);
    const pid = server.pid ?? 0;
    const words = [...recordWords(file).slice(0, -1), "-p", String(pid)];
    const recorder = start(words, { env: stateOf(dir) });
    const recorderEnd = ended(recorder);
    await until(() => /^TracerPid:\t[1-9]/m.test(contentOf(`/proc/${pid}/status`)));
    server.stdin.write("zero\n");
    await until(() => output === "got zero\n");
    server.stdin.write("one\n");
    await until(() => output === "got zero\ngot one\n");
    recorder.kill("SIGINT");
    const done = await recorderEnd;
    expect({ code: done.code, stderr: done.stderr }).toEqual({ code: 0, stderr: "" });
    expect(/^TracerPid:\t0/m.test(contentOf(`/proc/${pid}/status`))).toBe(true);
    server.stdin.end("two\n");
    expect((await serverEnd).code).toBe(0);
    expect(output).toBe("got zero\ngot one\ngot two\n");
    const { trace, events } = await read(file);
    expect(trace.state).toBe("complete");
    expect(trace.threads[0]?.pid).toBe(pid);
    expect(execs(events)).toEqual([`sh -c ${script}`]);
    const written = calls(events, "write").map((call) => bytesOf(call, 1).toString());
    expect(written.at(-1)).toBe("got one\n");
  });
});

it("expectWholeTree sees a thread that never ended", async () => {
  const { file } = await record(["true"]);
  const { trace, events } = await read(file);
  expect(() => expectWholeTree({ trace, events: events.slice(0, -1) })).toThrow();
});
