/** In a terminal: keys that send signals, job control, window size, terminal modes, full-screen programs. */

import { constants } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { lacking } from "../support/tools.js";
import { folder, read, readWhole, recordWords, run, stateOf } from "./support.js";

const driver = fileURLToPath(new URL("./programs/terminal.py", import.meta.url));

type Step =
  | { readonly expect: string }
  | { readonly send: string }
  | { readonly resize: readonly [number, number] }
  | { readonly modes: true };

interface Talked {
  readonly output: string;
  readonly code: number | null;
  readonly signal: number | null;
  readonly modes: readonly (readonly [boolean, boolean])[];
  readonly failed: string | null;
}

async function talk(argv: readonly string[], steps: readonly Step[], env = {}): Promise<Talked> {
  const spec = JSON.stringify({ argv, steps, seconds: 60 });
  // No history: bash gives the file that it writes to its user, even /dev/null.
  const variables = { TERM: "dumb", PS1: "ready> ", HISTFILE: "", INPUTRC: "/dev/null" };
  const done = await run(["python3", driver, spec], { env: { ...variables, ...env } });
  expect(done.stderr).toBe("");
  const talked = JSON.parse(done.stdout) as Talked;
  if (talked.failed !== null) throw new Error(`waited for ${talked.failed} in ${talked.output}`);
  return talked;
}

/** The same talk with the program alone and with the recorder. */
async function both(argv: readonly string[], steps: readonly Step[]) {
  const dir = folder();
  const file = join(dir, "x.trace");
  const env = stateOf(dir);
  const native = await talk(argv, steps, env);
  const recorded = await talk([...recordWords(file), ...argv], steps, env);
  return { native, recorded, file };
}

const shell = (script: string) => ["sh", "-c", script];

/** Job control of a shell around the recorder. */
function inShell(dir: string, steps: readonly Step[]): Promise<Talked> {
  const start: Step[] = [{ expect: "ready> " }];
  return talk(["bash", "--norc", "--noprofile", "-i"], [...start, ...steps], stateOf(dir));
}

describe("keys that send signals", () => {
  it("Ctrl-C ends a program that does not handle it", async () => {
    const script = "echo on; exec sleep 1000";
    const { native, recorded } = await both(shell(script), [{ expect: "on" }, { send: "\x03" }]);
    expect(native.signal).toBe(2);
    expect(recorded).toEqual(native);
  });

  it("Ctrl-C is the program's to handle", async () => {
    const script = "trap 'echo no; exit 3' INT; echo on; read x";
    const { native, recorded } = await both(shell(script), [{ expect: "on" }, { send: "\x03" }]);
    expect(native.code).toBe(3);
    expect(recorded).toEqual(native);
  });

  it("a program that ignores Ctrl-C goes on", async () => {
    const script = "trap '' INT; echo on; read x; echo got $x; exit 4";
    const steps = [{ expect: "on" }, { send: "\x03" }, { send: "line\n" }, { expect: "got line" }];
    const { native, recorded } = await both(shell(script), steps);
    expect(recorded.code).toBe(4);
    expect(native.code).toBe(4);
  });

  it("Ctrl-\\", async () => {
    const { native, recorded } = await both(shell("ulimit -c 0; echo on; exec sleep 1000"), [
      { expect: "on" },
      { send: "\x1c" },
    ]);
    expect(native.signal).toBe(3);
    expect(recorded.signal).toBe(3);
  });

  it("the trace is complete afterwards", async () => {
    const { file } = await both(shell("echo on; exec sleep 1000"), [
      { expect: "on" },
      { send: "\x03" },
    ]);
    const { events } = await readWhole(file);
    expect(events.some((event) => event.kind === "Signal" && event.code === 2)).toBe(true);
    expect(events.at(-1)).toMatchObject({ kind: "Exit", code: 2 });
  });
});

describe("job control", () => {
  it("Ctrl-Z stops the program, fg goes on with it", async () => {
    const dir = folder();
    const file = join(dir, "x.trace");
    const program = "sh -c 'echo on; read x; echo got $x; exit 6'";
    const done = await inShell(dir, [
      { send: `${recordWords(file).join(" ")} ${program}\n` },
      { expect: "\non" },
      { send: "\x1a" },
      { expect: "Stopped.*ready> " },
      { send: "fg\n" },
      { expect: "exit 6'" },
      { send: "line\n" },
      { expect: "got line.*ready> " },
      { send: "exit $?\n" },
    ]);
    expect({ code: done.code }).toEqual({ code: 6 });
    const { events } = await readWhole(file);
    const signals = events.filter((event) => event.kind === "Signal" || event.kind === "Stop");
    expect(signals.map((event) => [event.kind, event.code])).toEqual([
      ["Signal", constants.signals.SIGTSTP],
      ["Stop", constants.signals.SIGTSTP],
      ["Signal", constants.signals.SIGCONT],
    ]);
  });

  it("bg lets it go on in the background", async () => {
    const dir = folder();
    const done = await inShell(dir, [
      {
        send: `${recordWords(join(dir, "x.trace")).join(" ")} sh -c 'echo on; sleep 1; echo end'\n`,
      },
      { expect: "\non" },
      { send: "\x1a" },
      { expect: "Stopped.*ready> " },
      { send: "bg\n" },
      { expect: "end\r\n" },
      { send: "wait; exit $?\n" },
    ]);
    expect({ code: done.code }).toEqual({ code: 0 });
  });

  it("a recorded interactive shell has its own", async () => {
    const dir = folder();
    const words = [...recordWords(join(dir, "x.trace")), "bash", "--norc", "--noprofile", "-i"];
    const done = await talk(
      words,
      [
        { expect: "ready> " },
        { send: "sh -c 'echo up; read x; echo got $x; read x'\n" },
        { expect: "\nup\r\n" },
        { send: "\x1a" },
        { expect: "Stopped +sh -c .*ready> " },
        { send: "jobs; echo $-\n" },
        { expect: "Stopped +sh -c .*i.*m.*ready> " },
        { send: "fg\n" },
        { expect: "fg\r\nsh -c " },
        { send: "line\n" },
        { expect: "got line\r\n" },
        { send: "\x03" },
        { expect: "ready> " },
        { send: "echo after $?\n" },
        { expect: "after 130\r\n.*ready> " },
        { send: "exit 9\n" },
      ],
      stateOf(dir),
    );
    expect({ code: done.code }).toEqual({ code: 9 });
    expect(done.output).not.toMatch(/no job control|cannot set terminal/);
    await readWhole(join(dir, "x.trace"));
  });

  it("the terminal stays with the shell around it", async () => {
    const dir = folder();
    const done = await inShell(dir, [
      { send: `${recordWords(join(dir, "x.trace")).join(" ")} bash --norc -i\n` },
      { expect: "-i\r\n.*ready> " },
      { send: "exit 3\n" },
      { expect: "exit\r\nready> " },
      { send: "echo back $?\n" },
      { expect: "back 3\r\n" },
      { send: "exit\n" },
    ]);
    expect({ code: done.code }).toEqual({ code: 0 });
  });
});

describe("the terminal", () => {
  it("is the program's controlling terminal", async () => {
    const script = "test -t 0 && test -t 1 && test -t 2 && echo tty > /dev/tty; exit 8";
    const { native, recorded } = await both(shell(script), []);
    expect(native.output).toBe("tty\r\n");
    expect(recorded).toEqual(native);
  });

  it("a change of its size reaches the program", async () => {
    const script = `
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
print("on", flush=True)
signal.sigwait([signal.SIGWINCH])
print(os.get_terminal_size())
sys.exit(7)`;
    const steps: Step[] = [{ expect: "on" }, { resize: [33, 99] }, { expect: "=99.*=33" }];
    const { native, recorded } = await both(["python3", "-c", script], steps);
    expect(native.code).toBe(7);
    expect(recorded).toEqual(native);
  });

  it("keeps the modes that the program leaves", async () => {
    const dir = folder();
    const words = recordWords(join(dir, "x.trace")).join(" ");
    // The outer shell does not touch the modes: what it reads is not a terminal.
    const script = `${words} stty -echo -icanon; stty -a | grep -o -- '-icanon\\|-echo '; read x; exit 5`;
    const done = await talk(
      shell(script),
      [{ expect: "-icanon" }, { expect: "-echo" }, { modes: true }, { send: "\n" }],
      stateOf(dir),
    );
    expect({ modes: done.modes, code: done.code }).toEqual({
      modes: [[false, false]],
      code: 5,
    });
  });

  it("shows one summary line at the end, unless -q", async () => {
    const dir = folder();
    const file = join(dir, "x.trace");
    const words = recordWords(file).filter((word) => word !== "-q");
    const done = await talk([...words, "echo", "hello"], [], stateOf(dir));
    expect(done.output).toMatch(
      /^hello\r\ntrace: \d+ events, 1 process, [\d.]+ KiB, [\d.]+ s -> \S+x\.trace {2}\(trace show\)\r\n$/,
    );
  });

  it("hangs up: the program gets SIGHUP, and the trace is complete", async () => {
    const dir = folder();
    const file = join(dir, "x.trace");
    const script = `
import os, pty, sys
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
while b"on" not in os.read(master, 100):
    pass
os.close(master)
print(os.waitpid(pid, 0)[1])
`;
    const words = [...recordWords(file), "sh", "-c", "echo on; read x; sleep 1000"];
    const done = await run(["python3", "-c", script, ...words], { env: stateOf(dir) });
    expect({ out: done.stdout, err: done.stderr }).toEqual({ out: "1\n", err: "" });
    // What the shell may have started in the meantime is not waited for.
    const { trace, events } = await read(file);
    expect(trace.state).toBe("complete");
    expect(events.filter((event) => event.kind === "Exit")[0]).toMatchObject({
      process: 1,
      code: 1,
    });
  });
});

describe("full-screen programs", () => {
  it.skipIf(lacking("less"))("less", async () => {
    const steps: Step[] = [
      { expect: "line 1\r\n" },
      { send: "G" },
      { expect: "line 200" },
      { send: "q" },
    ];
    const script = "seq -f 'line %g' 200 | less";
    const { native, recorded } = await both(["env", "TERM=xterm", "sh", "-c", script], steps);
    expect(recorded.code).toBe(native.code);
  });

  it.skipIf(lacking("tmux"))("tmux, with its server as part of the recording", async () => {
    const dir = folder();
    const file = join(dir, "x.trace");
    const socket = join(dir, "socket");
    const tmux = ["tmux", "-S", socket, "-f", "/dev/null", "new-session", "sh"];
    const done = await talk(
      [...recordWords(file), ...tmux],
      [
        { expect: "[$#] " },
        { send: "echo in$((1+1))side\r" },
        { expect: "in2side" },
        { send: "exit\r" },
        { expect: "exited" },
      ],
      { ...stateOf(dir), SHELL: "/bin/sh", PS1: "$ ", TERM: "xterm" },
    );
    expect({ code: done.code }).toEqual({ code: 0 });
    const { trace } = await readWhole(file);
    expect(trace.processes.length).toBeGreaterThanOrEqual(3);
  });
});
