/** A recording under gdb, forwards and backwards: the real gdb, and its protocol by hand where gdb hides it. */

import { type ChildProcess, spawn } from "node:child_process";
import { rmSync, symlinkSync } from "node:fs";
import { type AddressInfo, connect as connectTo, createServer, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  cli,
  compile,
  type Ended,
  ended,
  environment,
  folder,
  readWhole,
  record,
  run,
  start,
  stateOf,
} from "../record/support.js";
import { lacking } from "../support/tools.js";

const canDebug = !lacking("gdb") && !lacking("gcc");

const QUIET = [
  "set pagination off",
  "set confirm off",
  "set debuginfod enabled off",
  "handle SIGUSR1 nostop noprint pass",
];

/** The program's own code is there, and its libraries are. */
const TO_MAIN = ["tbreak main", "continue"];

/** What gdb writes for these commands at a replay, from `main` on unless options say where, without the program's own output. */
async function gdb(
  file: string,
  commands: readonly string[],
  options: readonly string[] = [],
): Promise<Ended> {
  const first = options.length === 0 ? TO_MAIN : [];
  const env = stateOf(dirname(file));
  const words = [...QUIET, ...first, ...commands].flatMap((command) => ["-ex", command]);
  const argv = [
    cli,
    "replay",
    "-q",
    "--no-output",
    ...options,
    "--gdb",
    file,
    "--",
    "-nx",
    "-batch",
  ];
  const child = start([...argv, ...words], { env });
  // Also where a test is given up.
  onTestFinished(() => {
    child.kill();
  });
  return ended(child);
}

/** The lines that `printf` commands of gdb have written, which begin with a dash. */
function told({ stdout }: Ended): string[] {
  return stdout.split("\n").filter((line) => line.startsWith("- "));
}

const say = (format: string, ...values: string[]) =>
  `printf "- ${format}\\n"${values.map((value) => `, ${value}`).join("")}`;

const debugged = (...args: string[]) => [compile("debugged", "-g", "-O0"), ...args];

describe.skipIf(!canDebug)("under gdb", () => {
  it("stops at breakpoints forwards, and at the same ones backwards", async () => {
    const { file, code } = await record(debugged());
    expect(code).toBe(0);
    const where = say("%d of %d", "value", "total");
    const session = await gdb(file, [
      "break add",
      ...Array.from({ length: 3 }, () => ["continue", where]).flat(),
      "reverse-continue",
      where,
      "reverse-continue",
      where,
      "reverse-continue",
      "continue",
      where,
    ]);
    expect(told(session)).toEqual([
      "- 0 of 0",
      "- 1 of 0",
      "- 4 of 1",
      "- 1 of 0",
      "- 0 of 0",
      "- 0 of 0",
    ]);
    expect(session.stdout).toContain("No more reverse-execution history");
    expect(session.code).toBe(0);
  });

  it("goes back from a crash to the line that caused it", async () => {
    const { file, signal } = await record(debugged("crash"));
    expect(signal).toBe("SIGSEGV");
    const session = await gdb(file, [
      "continue",
      "backtrace 1",
      say("%d", "pointer == 0"),
      "watch pointer",
      "reverse-continue",
      say("%d", "pointer == storage"),
      "backtrace",
    ]);
    expect(session.stdout).toContain("Program received signal SIGSEGV");
    expect(told(session)).toEqual(["- 1", "- 1"]);
    expect(session.stdout).toMatch(/#0 .* in lose \(\)|#0 {2}lose \(\)/);
    expect(session.stdout).toMatch(/#1 .* in main \(argc=2/);
  });

  it("finds each write to watched memory in both directions, and what the kernel writes", async () => {
    const { file } = await record(debugged());
    const turns = 6;
    const session = await gdb(file, [
      "watch storage[2]",
      ...Array.from({ length: turns }, () => ["continue", say("%ld", "storage[2]")]).flat(),
      ...Array.from({ length: turns }, () => ["reverse-continue", say("%ld", "storage[2]")]).flat(),
    ]);
    const values = [3, 5, 11, 21, 35, 53, 75];
    const there = values.slice(1);
    const back = values.slice(0, turns).reverse();
    expect(told(session)).toEqual([...there, ...back].map((value) => `- ${value}`));
  });

  it("steps back over every instruction that it has stepped over, calls included", async () => {
    const { file } = await record(debugged());
    const steps = 60;
    const state = say("%#lx %#lx %#lx", "$pc", "$sp", "$rax ^ $rdx ^ $rsi ^ $rdi");
    const session = await gdb(file, [
      "break write",
      "continue",
      "delete",
      state,
      ...Array.from({ length: steps }, () => ["stepi", state]).flat(),
      ...Array.from({ length: steps }, () => ["reverse-stepi", state]).flat(),
    ]);
    const lines = told(session);
    expect(lines.length).toBe(2 * steps + 1);
    const there = lines.slice(0, steps + 1);
    expect(lines.slice(steps)).toEqual(there.toReversed());
    // It has left the call.
    expect(new Set(there.map((line) => line.split(" ")[2])).size).toBeGreaterThan(2);
  });

  it("steps by lines, over and out of functions, in both directions", async () => {
    const { file } = await record(debugged());
    const where = 'python print("- %s" % gdb.selected_frame().name())';
    const line = 'python print("- %d" % gdb.selected_frame().find_sal().line)';
    const session = await gdb(file, [
      "break add",
      "continue",
      "continue",
      ...["delete", line, "next", line, "next", line, "reverse-next", line],
      ...["finish", where, "reverse-step", where, line, "reverse-finish", where],
    ]);
    const [first = "", ...lines] = told(session);
    const from = Number(first.slice(2));
    expect(lines).toEqual([
      ...[from + 1, from + 2, from + 1].map((number) => `- ${number}`),
      // Back into the end of the function, and to where it is called.
      ...["- main", "- add", `- ${from + 5}`, "- main"],
    ]);
  });

  it("stops at signals, in handlers, and at calls", async () => {
    const { file } = await record(debugged());
    const session = await gdb(file, [
      "handle SIGUSR1 stop print pass",
      "continue",
      say("%d", "handled"),
      "break handle",
      "continue",
      say("%d %d", "number", "handled"),
      "delete",
      "catch syscall write",
      // The signal, the last write as it returns and as it is made, and the one before as it returns.
      ...Array.from({ length: 4 }, () => ["reverse-continue", say("%d", "total")]).flat(),
      "continue",
      say("%d %d", "total", "$rax"),
    ]);
    expect(session.stdout).toContain("Program received signal SIGUSR1");
    expect(told(session).slice(0, 2)).toEqual(["- 0", "- 10 0"]);
    expect(session.stdout).toContain("returned from syscall write");
    expect(session.stdout).toContain("call to syscall write");
    expect(told(session).slice(2)).toEqual(["- 30", "- 30", "- 30", "- 14", "- 30 1"]);
  });

  it("looks at a child, at the program that a process executes last, and from an event on", async () => {
    const forked = await record(debugged("child"));
    const child = await gdb(
      forked.file,
      ["break _exit", "continue", say("%d", "total"), "backtrace"],
      ["--process", "p2"],
    );
    expect(told(child)).toEqual(["- 1007"]);
    expect(child.stdout).toMatch(/in_child \(value=7\)/);
    const executed = await record(debugged("executes"));
    const last = await gdb(executed.file, [say("%d %s", "argc", "argv[1]")]);
    expect(told(last)).toEqual(["- 2 again"]);
    const { events } = await readWhole(forked.file);
    const second = events.filter(({ name }) => name === "write")[1];
    const at = await gdb(
      forked.file,
      [say("%d", "total"), "monitor when", "reverse-continue"],
      ["--at", `@${second?.seq}`],
    );
    expect(told(at)).toEqual(["- 1"]);
    expect(`${at.stdout}${at.stderr}`).toContain(`event @${second?.seq} of ${events.length}`);
    expect(at.stdout).toContain("No more reverse-execution history");
  });

  it("shows threads where they stand, and follows memory from one to the other", async () => {
    const { file, code } = await record([compile("debugged_threads", "-g", "-O1", "-pthread")]);
    expect(code).toBe(0);
    const { events } = await readWhole(file);
    // Some are found again in the middle of their code.
    expect(events.some(({ kind }) => kind === "Preempt")).toBe(true);
    const session = await gdb(file, [
      "break exit",
      "continue",
      "delete",
      "watch counter",
      ...Array.from({ length: 6 }, () => ["reverse-continue", say("%ld", "counter")]).flat(),
      "info threads",
      ...Array.from({ length: 6 }, () => ["continue", say("%ld", "counter")]).flat(),
    ]);
    const values = told(session).map((line) => Number(line.slice(2)));
    expect(values.length).toBe(12);
    const back = values.slice(0, 6);
    expect(back.at(-1)).toBe(0);
    expect(values.slice(6)).toEqual([12, ...back].slice(0, 6).toReversed());
    expect(session.stdout).toMatch(/\(thread 2\).*(\n.*)*\(thread 4\)/);
  });

  it.each(["", "kept", "wiped", "shared"])(
    "goes back through millions of instructions on memory that is %s",
    async (how) => {
      const argv = [compile("debugged_back", "-g", "-O1"), ...(how === "" ? [] : [how])];
      const { file, signal } = await record(argv);
      expect(signal).toBe("SIGSEGV");
      const steps = 40;
      const state = say("%#lx %#lx %#lx %#lx %d", "$pc", "$sp", "$rax", "$rcx", "*word");
      const seen = say("%ld %d", "turns", "*word != $value");
      const session = await gdb(file, [
        "continue",
        state,
        ...Array.from({ length: steps }, () => ["reverse-stepi", state]).flat(),
        ...Array.from({ length: steps }, () => ["stepi", state]).flat(),
        "set $value = *word",
        "watch -location *word",
        ...Array.from({ length: 3 }, () => ["reverse-continue", seen, "set $value = *word"]).flat(),
        ...Array.from({ length: 3 }, () => ["continue", say("%ld", "turns")]).flat(),
        "delete",
        "break rarely",
        "reverse-continue",
        say("%ld", "turns"),
        "reverse-finish",
        say("%ld", "turns"),
      ]);
      const lines = told(session);
      const there = lines.slice(0, steps + 1);
      expect(new Set(there).size).toBe(steps + 1);
      expect(lines.slice(steps, 2 * steps + 1)).toEqual(there.toReversed());
      // Behind each write the memory is what it was before the next one.
      expect(lines.slice(2 * steps + 1)).toEqual([
        "- 1000000 1",
        "- 999431 1",
        "- 995335 1",
        "- 995335",
        "- 999431",
        "- 1000000",
        "- 999424",
        "- 999424",
      ]);
    },
  );

  it("counts arrivals at a breakpoint also where they come with a write to watched memory", async () => {
    const argv = [compile("debugged_back", "-g", "-O1"), "private", "9000"];
    const { file, signal } = await record(argv);
    expect(signal).toBe("SIGSEGV");
    const turns = say("%ld", "turns");
    const session = await gdb(file, [
      "continue",
      "watch -location *word",
      "break *behind_store",
      ...Array.from({ length: 3 }, () => ["reverse-continue", turns]).flat(),
      "delete 3",
      ...["reverse-continue", turns, "break *behind_store", "reverse-continue", turns],
    ]);
    expect(told(session)).toEqual([9000, 8999, 8998, 8199, 8198].map((turn) => `- ${turn}`));
  });

  it.each([
    ["threads and handlers on stacks of their own", []],
    ["memory that a child shares", ["child"]],
  ])("goes back to states that are kept: %s", async (_, args) => {
    const program = compile("debugged_long", "-g", "-O1", "-pthread");
    const { file, code } = await record([program, ...args]);
    expect(code).toBe(0);
    const state = say(
      "%ld %d %d %.6f %#lx %#lx %d %#lx %#lx",
      ...["turns", "handled[0]", "handled[1]", "sums[2]", "$pc", "$sp", "$eflags & 0x40"],
      ...["$rax ^ $rbx ^ $r12 ^ $r13", "$xmm0.v2_int64[0] ^ $xmm1.v2_int64[0]"],
    );
    const times = (count: number, command: string) =>
      Array.from({ length: count }, () => [command, state]).flat();
    const commands = [
      ...TO_MAIN,
      "break handle",
      ...times(15, "continue"),
      ...times(4, "reverse-continue"),
      ...times(8, "reverse-stepi"),
      ...times(8, "stepi"),
      "watch turns",
      ...times(5, "reverse-continue"),
      ...times(5, "continue"),
      "delete",
      // Nothing stops it before the beginning.
      "reverse-continue",
      "break handle",
      ...times(3, "continue"),
      "info threads",
      "monitor checkpoints",
    ];
    const [without, kept] = await Promise.all(
      ["0", "1ms"].map((span) => gdb(file, commands, [`--checkpoints=${span}`])),
    );
    const lines = told(kept as Ended);
    expect(lines).toEqual(told(without as Ended));
    expect(lines.length).toBe(15 + 4 + 8 + 8 + 5 + 5 + 3);
    expect(new Set(lines).size).toBeGreaterThan(30);
    expect(without?.stderr).toContain(
      "0 states are kept to go back to; gone back to one of them: 0,",
    );
    expect(kept?.stderr).toMatch(/states are kept to go back to; gone back to one of them: [1-9]/);
    const threads = (session: Ended | undefined) =>
      session?.stdout.split("\n").filter((line) => /^[* ] +[0-9]+ +Thread/.test(line));
    expect(threads(kept)).toEqual(threads(without));
  });

  it("has the program's files where they are gone, and changes nothing of what has happened", async () => {
    const program = compile("debugged", "-g", "-O0", "-fno-pie", "-no-pie");
    const { file } = await record([program]);
    rmSync(program);
    const session = await gdb(file, [
      "break add",
      "continue",
      "set var total = 5",
      "set $rax = 1",
      "print add(1)",
      "info proc mappings",
      say("%d", "total"),
    ]);
    expect(told(session)).toEqual(["- 0"]);
    expect(session.stdout).toMatch(/Breakpoint 2, add \(value=0\)/);
    expect(session.stdout).toContain(program);
    expect(session.stderr).toMatch(/Cannot access memory|Could not write|cannot/i);
  });
});

/** gdb's remote protocol (gdb's manual, "Remote Protocol"), as far as it is needed to do what gdb does not on request. */
class Remote {
  #text = "";
  #wake = (): void => {};

  constructor(readonly socket: Socket) {
    socket.on("data", (part: Buffer) => {
      this.#text += part.toString("latin1");
      this.#wake();
    });
  }

  send(text: string): void {
    const sum = [...Buffer.from(text)].reduce((all, byte) => (all + byte) & 0xff, 0);
    this.socket.write(`$${text}#${sum.toString(16).padStart(2, "0")}`);
  }

  /** The next packet. */
  async receive(): Promise<string> {
    for (;;) {
      const found = /^\+*\$([^#]*)#../.exec(this.#text);
      if (found !== null) {
        this.#text = this.#text.slice(found[0].length);
        this.socket.write("+");
        return found[1] ?? "";
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  ask(text: string): Promise<string> {
    this.send(text);
    return this.receive();
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface Waiting {
  readonly child: ChildProcess;
  readonly port: number;
  readonly ended: Promise<number | null>;
}

/** A replay that waits for a debugger on a port. */
async function waiting(file: string): Promise<Waiting> {
  const port = await freePort();
  const [program = "", ...args] = [cli, "replay", "--no-output", `--gdb=${port}`, file];
  const env = { ...environment, ...stateOf(dirname(file)) };
  const child = spawn(program, args, { env, stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  await new Promise<void>((resolve, reject) => {
    let text = "";
    child.stderr.on("data", (part) => {
      text += part;
      if (text.includes(`target remote :${port}`)) resolve();
    });
    child.on("close", () => reject(new Error(`it has ended: ${text}`)));
  });
  return { child, port, ended };
}

describe.skipIf(lacking("gcc"))("a debugger on a port", () => {
  it("stops a program that computes, and lets it go on", async () => {
    const { file } = await record([compile("debugged_loop", "-g", "-O0")]);
    const { child, port, ended } = await waiting(file);
    try {
      const remote = new Remote(connectTo(port, "127.0.0.1"));
      expect(await remote.ask("qSupported:multiprocess+;swbreak+")).toContain("ReverseContinue+");
      expect(await remote.ask("?")).toMatch(/^T05thread/);
      for (let k = 0; k < 2; k++) {
        remote.send("vCont;c");
        remote.socket.write("\x03");
        expect(await remote.receive()).toMatch(/^T02thread/);
      }
      // While it is run step by step, too, and then the way back is known.
      expect(await remote.ask("qXfer:features:read:target.xml:0,10")).toMatch(/^m/);
      const thread = /thread:p01\.([0-9a-f]+)/.exec(await remote.ask("?"))?.[1];
      remote.send(`vCont;r0,7fffffffffff:p1.${thread}`);
      remote.socket.write("\x03");
      expect(await remote.receive()).toMatch(/^T02thread/);
      // From where it was stopped nothing leads back but the moments before.
      expect(await remote.ask("bc")).toMatch(/replaylog:begin/);
      remote.send("D;1");
      await ended;
      expect(child.exitCode).toBe(0);
    } finally {
      child.kill();
    }
  });

  it("ends with its debugger, and tells what another one could have asked", async () => {
    const { file } = await record(["/bin/true"]);
    const { child, port, ended } = await waiting(file);
    try {
      const socket = connectTo(port, "127.0.0.1");
      const remote = new Remote(socket);
      await remote.ask("qSupported:swbreak+");
      // No file but those of the recording, and nothing that one could change.
      const name = (path: string) => Buffer.from(path).toString("hex");
      expect(await remote.ask(`vFile:open:${name("/etc/passwd")},0,0`)).toBe("F-1,02");
      const outside = "/usr/lib/debug/../../../etc/passwd";
      expect(await remote.ask(`vFile:open:${name(outside)},0,0`)).toBe("F-1,02");
      expect(await remote.ask(`vFile:open:${name("/usr/bin/true")},1,0`)).toBe("F-1,1e");
      expect(await remote.ask(`vFile:open:${name("/usr/bin/true")},0,0`)).toBe("F00");
      socket.destroy();
      expect(await ended).toBe(0);
    } finally {
      child.kill();
    }
  });

  it("refuses 32-bit programs, and what is forked from them", async () => {
    const { file } = await record([compile("debugged", "-m32"), "child"]);
    for (const process of ["p1", "p2"]) {
      const words = [cli, "replay", "--gdb", "--process", process, file];
      expect(await run(words, { env: stateOf(dirname(file)) })).toMatchObject({
        code: 125,
        stderr: expect.stringMatching(/32-bit programs are replayed, but not debugged/),
      });
    }
  });

  it("says what does not go together", async () => {
    const { file } = await record(["/bin/true"]);
    const env = stateOf(dirname(file));
    const told = async (...words: string[]) => {
      const { code, stderr } = await run([cli, "replay", ...words, file], { env });
      return { code, stderr };
    };
    expect(await told("--at", "@2")).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/--at is for --gdb/),
    });
    expect(await told("--gdb", "--until", "@2")).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/--gdb does not go with --until/),
    });
    expect(await told("--gdb", "--at", "@99999")).toMatchObject({
      stderr: expect.stringMatching(/no event @99999/),
    });
    expect(await told("--gdb", "--process", "p9")).toMatchObject({
      stderr: expect.stringMatching(/no process p9/),
    });
    expect(await told("--gdb=70000")).toMatchObject({ code: 125 });
    // The command finds its own node.
    const path = folder();
    symlinkSync(process.execPath, join(path, "node"));
    const none = await run([cli, "replay", "--gdb", file], { env: { ...env, PATH: path } });
    expect(none).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/gdb is not installed[\s\S]*--gdb=PORT/),
    });
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as AddressInfo;
    expect(await told(`--gdb=${port}`)).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/in use[\s\S]*another port/),
    });
    taken.close();
  });
});
