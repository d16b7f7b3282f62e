/** A recorded program behaves as it does without the recorder: streams, ends, descriptors, environment. */

import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { lacking } from "../support/tools.js";
import {
  cli,
  compile,
  type Ended,
  ended,
  environment,
  folder,
  isAlive,
  type RunOptions,
  record,
  recordWords,
  run,
  start,
  stateOf,
  until,
} from "./support.js";

function outcome({ code, signal, stdout, stderr }: Ended) {
  return { code, signal, stdout, stderr };
}

/** The same command without and with the recorder. */
async function both(argv: readonly string[], options: RunOptions = {}) {
  // Some programs show or use their environment: both get the same.
  const env = { ...stateOf(folder()), ...options.env };
  const native = await run(argv, { ...options, env });
  const recorded = await record(argv, { ...options, env });
  return { native: outcome(native), recorded: outcome(recorded) };
}

const shell = (script: string) => ["sh", "-c", script];

describe("output and exit code are the same", () => {
  it.each([
    ["ls -l /usr/include"],
    ["ls --no-such-option"],
    ["ls /nonexistent; echo $?"],
    ["printf '\\0\\377\\n'; printf err >&2"],
    ["echo a; echo b >&2; exit 3"],
    ["cat /etc/passwd | sort | uniq -c | tail -3"],
    ["tar c -C /etc passwd group | md5sum"],
    ["find /usr/include -maxdepth 1 | sort"],
    ["pwd; umask; ulimit -a"],
    ["head -c 3000000 /dev/zero | md5sum"],
    ["seq 20000 | while read -r n; do test $n != 17 || { echo $n; break; }; done"],
    ["trap 'echo caught' TERM; kill $$; echo on"],
    ["(exit 9); echo $?; false || true"],
    ["perl -e 'print \"x\" x 70000; warn 1; exit 77'"],
    ["awk 'BEGIN { for (i = 0; i < 3; i++) print i > \"/dev/stderr\"; exit 2 }'"],
    ["grep -E 'Sig(Ign|Blk|Cgt)|Seccomp:|NoNewPrivs|Cap|Groups|Uid|Gid|Umask' /proc/self/status"],
    ["cat /proc/self/limits /proc/self/oom_score_adj"],
    ["nproc; taskset -pc $$ | sed 's/.*://'"],
    ["env | sort"],
    ["umask 027; nice -n 5 sh -c 'umask; nice'"],
  ])("%s", async (script) => {
    const { native, recorded } = await both(shell(script));
    expect(recorded).toEqual(native);
  });

  it("python, with an exit code and a traceback", async () => {
    const { native, recorded } = await both(["python3", "-c", "print(1); raise ValueError('x')"]);
    expect(native.code).toBe(1);
    expect(recorded).toEqual(native);
  });

  it("every exit code", async () => {
    const each = 'for n in $(seq 0 255); do sh -c "exit $n"; echo $?; done';
    const { native, recorded } = await both(shell(each));
    expect(recorded).toEqual(native);
    for (const code of [0, 1, 2, 3, 42, 124, 125, 126, 127, 128, 137, 254, 255]) {
      expect((await record(shell(`exit ${code}`))).code).toBe(code);
    }
  });

  it("arguments that are empty, odd, or not UTF-8", async () => {
    const words = "'' ' ' -n -- --help '$x' \"$(printf '\\377\\001')\" '*'";
    const file = join(folder(), "x.trace");
    const trace = recordWords(file).join(" ");
    const native = await run(shell(`printf '[%s]' ${words}`));
    const recorded = await run(shell(`${trace} printf '[%s]' ${words}`), {
      env: stateOf(folder()),
    });
    expect(outcome(recorded)).toEqual(outcome(native));
    expect(native.stdout).toContain("[\xff\x01]");
  });
});

describe("a terminating signal is raised again", () => {
  it.each(["TERM", "KILL", "SEGV", "PIPE", "ABRT", "HUP", "INT", "USR1", "XFSZ", "BUS"])(
    "SIG%s",
    async (name) => {
      const { native, recorded } = await both(shell(`kill -${name} $$`));
      expect(native.signal).toBe(`SIG${name}`);
      expect(recorded).toEqual(native);
    },
  );

  it("a real-time signal", () => {
    // Node has no names for these.
    const script = 'sh -c "kill -40 \\$\\$"; echo $?; "$@" sh -c "kill -40 \\$\\$"; echo $?';
    const dir = folder();
    const words = recordWords(join(dir, "x.trace"));
    const env = { ...environment, ...stateOf(dir) };
    const done = spawnSync("sh", ["-c", script, "sh", ...words], { encoding: "latin1", env });
    expect(done.stdout).toBe("168\n168\n");
  });

  it("SIGPIPE when the reader goes away", () => {
    const dir = folder();
    const script = '{ "$@" yes; echo "status $?" >&2; } | head -1';
    const words = recordWords(join(dir, "x.trace"));
    const env = { ...environment, ...stateOf(dir) };
    const done = spawnSync("sh", ["-c", script, "sh", ...words], { encoding: "latin1", env });
    expect({ out: done.stdout, err: done.stderr }).toEqual({ out: "y\n", err: "status 141\n" });
  });
});

describe("input is the program's", () => {
  it("from a pipe", async () => {
    const input = Buffer.alloc(300_000, "0123456789\n");
    const { native, recorded } = await both(["md5sum"], { input });
    expect(recorded).toEqual(native);
  });

  it("from a file, at its position", async () => {
    const file = join(folder(), "input");
    writeFileSync(file, "one\ntwo\nthree\n");
    const { native, recorded } = await both(shell("read a; read b; echo $a$b"), {
      stdio: [openSync(file, "r"), "pipe", "pipe"],
    });
    expect(native.stdout).toBe("onetwo\n");
    // The two share one open file: the second reads on where the first stopped.
    expect(recorded.stdout).toBe("three\n");
  });

  it("is not read ahead", async () => {
    const words = recordWords(join(folder(), "x.trace"))
      .map((word) => `'${word}'`)
      .join(" ");
    const done = await run(shell(`${words} head -c 2 >/dev/null; cat`), {
      input: "abcdef",
      env: stateOf(folder()),
    });
    expect(done.stdout).toBe("cdef");
  });
});

describe("descriptors", () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell replaces it.
  const list = "for fd in /proc/self/fd/*; do echo ${fd##*/} $(readlink $fd | tr -d 0-9); done";

  it("are those that were passed on, and no others", async () => {
    const dir = folder();
    writeFileSync(join(dir, "list.sh"), list);
    const file = join(dir, "x.trace");
    const words = recordWords(file).join(" ");
    const opened = "exec 3</etc/passwd 5>>/dev/null 7<&0 9<>/dev/zero";
    const native = await run(["bash", "-c", `${opened}; sh ${dir}/list.sh`]);
    const recorded = await run(["bash", "-c", `${opened}; ${words} sh ${dir}/list.sh`], {
      env: stateOf(dir),
    });
    expect(native.stdout).toContain("9 /dev/zero");
    expect(outcome(recorded)).toEqual(outcome(native));
  });

  it("include those of make's jobserver, and anonymous ones that the parent has", async () => {
    const dir = folder();
    const words = recordWords("$@.trace").join(" ");
    writeFileSync(join(dir, "list"), "#!/bin/sh\nls /proc/self/fd | tr '\\n' ' '\n");
    chmodSync(join(dir, "list"), 0o755);
    const makefile = (prefix: string) => `all: x\nx:\n\t+@${prefix} ./list\n`;
    writeFileSync(join(dir, "native.mk"), makefile(""));
    writeFileSync(join(dir, "recorded.mk"), makefile(words));
    const options = { cwd: dir, env: { ...stateOf(dir), MAKEFLAGS: "" } };
    const native = await run(["make", "-s", "-j2", "-f", "native.mk"], options);
    const recorded = await run(["make", "-s", "-j2", "-f", "recorded.mk"], options);
    expect(native.stdout.split(" ").length).toBeGreaterThan(4);
    expect(outcome(recorded)).toEqual(outcome(native));

    const passes = compile("pass_eventfd");
    const plain = await run([passes, "./list"], options);
    const kept = await run([passes, ...recordWords("e.trace"), "./list"], options);
    expect(plain.stdout).toContain("11 12");
    expect(outcome(kept)).toEqual(outcome(plain));
  });

  it("are not made non-blocking", async () => {
    const program = compile("nonblocking");
    const { native, recorded } = await both([program]);
    expect(native.stdout).toBe("0 blocks\n1 blocks\n2 blocks\n");
    expect(recorded).toEqual(native);
    // Nor afterwards, for whoever shares them, also when something was said.
    const dir = folder();
    const words = recordWords(join(dir, "x.trace")).filter((word) => word !== "-q");
    words.splice(words.indexOf("-o"), 0, "-v");
    const script = '"$@" true; $program';
    const after = await run(["sh", "-c", script, "sh", ...words], {
      env: { ...stateOf(dir), program },
    });
    expect(after.stdout).toBe(native.stdout);
    expect(after.stderr).toMatch(/^trace: \d+ events, 1 process, /);
  });

  it("have the limit that the parent has, not node's", async () => {
    const dir = folder();
    const words = recordWords(join(dir, "x.trace"));
    const script = 'ulimit -Sn 200; sh -c "ulimit -Sn; ulimit -Hn"; "$@"; true';
    const inner = ["sh", "-c", "ulimit -Sn; ulimit -Hn"];
    const done = await run(["sh", "-c", script, "sh", ...words, ...inner], { env: stateOf(dir) });
    const [soft, hard, ...again] = done.stdout.trim().split("\n");
    expect(soft).toBe("200");
    expect(again).toEqual([soft, hard]);
  });
});

describe("surroundings", () => {
  it("the environment, byte for byte and in order", async () => {
    const dir = folder();
    const words = recordWords(join(dir, "x.trace"));
    // Duplicates, entries without a value, not UTF-8, and a name that sorts first as a number.
    const odd = ["B=2", "A=\\xff\\x01", "EMPTY=", "7=seven", "B=3"];
    const launcher = `
import os, sys, ctypes
libc = ctypes.CDLL(None)
env = [s.encode('latin1').decode('unicode_escape').encode('latin1') for s in ${JSON.stringify(odd)}]
env += [k.encode() + b'=' + v.encode() for k, v in os.environ.items()]
argv = [a.encode() for a in sys.argv[1:]]
array = lambda list: (ctypes.c_char_p * (len(list) + 1))(*list, None)
libc.execve(argv[0], array(argv), array(env))
`;
    const show = ["/bin/cat", "/proc/self/environ"];
    const native = await run(["python3", "-c", launcher, ...show], { env: stateOf(dir) });
    const recorded = await run(["python3", "-c", launcher, ...words, ...show], {
      env: stateOf(dir),
    });
    expect(native.stdout).toContain("A=\xff\x01\0");
    expect(outcome(recorded)).toEqual(outcome(native));
    // -E changes only what it names.
    const changed = await run(
      [
        "python3",
        "-c",
        launcher,
        ...recordWords(join(dir, "y.trace"), "-E", "NEW=1", "-E", "7"),
        ...show,
      ],
      { env: stateOf(dir) },
    );
    expect(changed.stdout).toBe(`${native.stdout.replace("7=seven\0", "")}NEW=1\0`);
  });

  it("a working directory that cannot be read, or is gone", async () => {
    const dir = folder();
    const gone = join(dir, "gone");
    const closed = join(dir, "closed");
    mkdirSync(gone);
    mkdirSync(closed, { mode: 0o111 });
    const words = recordWords(join(dir, "x.trace"), "--force");
    const script = (inner: string) => `cd ${gone} && rmdir ${gone} && ${inner}; mkdir ${gone}`;
    const look = ["sh", "-c", "/bin/pwd; readlink /proc/self/cwd; echo $?"];
    const env = stateOf(dir);
    const native = await run(["bash", "-c", script('"$@"'), "sh", ...look], { env });
    const recorded = await run(["bash", "-c", script('"$@"'), "sh", ...words, ...look], { env });
    expect(native.stdout).toContain("(deleted)");
    expect(outcome(recorded)).toEqual(outcome(native));

    const inside = `cd ${closed} && "$@"`;
    const setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const own = recordWords(join(dir, "y.trace"));
    const listed = await run([...setpriv, "sh", "-c", inside, "sh", ...own, "ls"], { env });
    expect(listed.code).toBe(2);
    expect(listed.stderr).toContain("cannot open directory");
  });

  it.each([
    ["in the background", "(trap '' HUP; \"$@\"; true)"],
    ["under nohup", 'nohup "$@"'],
  ])("SIGHUP is ignored %s where it was ignored", async (_, script) => {
    const dir = folder();
    const words = recordWords(join(dir, "x.trace"));
    const look = ["grep", "SigIgn", "/proc/self/status"];
    const native = await run(["bash", "-c", script, "bash", ...look], { env: stateOf(dir) });
    const recorded = await run(["bash", "-c", script, "bash", ...words, ...look], {
      env: stateOf(dir),
    });
    expect(Number.parseInt(native.stdout.split("\t")[1] ?? "", 16) & 1).toBe(1);
    expect(recorded.stdout).toBe(native.stdout);
  });

  it("the user that -u names", async () => {
    const words = ["sh", "-c", "id -u; id -g; id -G; cat /proc/self/oom_score_adj"];
    const recorded = await record(words, { options: ["-u", "nobody"] });
    expect(recorded.stdout.split("\n").slice(0, 2)).toEqual(["65534", "65534"]);
    expect((await record(words, { options: ["-u", "65534"] })).stdout).toBe(recorded.stdout);
  });

  it("a symbolic link as program name: argv[0] stays as given", async () => {
    const dir = folder();
    symlinkSync("/bin/busybox", join(dir, "echo"));
    const { native, recorded } = await both(["./echo", "hello"], { cwd: dir });
    expect(native.stdout).toBe("hello\n");
    expect(recorded).toEqual(native);
  });
});

describe("signals to the recorder", () => {
  it.each(["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const)("%s is passed on", async (name) => {
    const dir = folder();
    const ready = join(dir, "ready");
    const number = constants.signals[name];
    const script = `trap 'echo got; exit 5' ${number}; : > ${ready}; while :; do read -r x < ${dir}/fifo; done`;
    execFileSync("mkfifo", [join(dir, "fifo")]);
    const child = start([...recordWords(join(dir, "x.trace")), "bash", "-c", script], {
      env: stateOf(dir),
    });
    const end = ended(child);
    await until(() => readable(ready));
    child.kill(name);
    expect(outcome(await end)).toEqual({ code: 5, signal: null, stdout: "got\n", stderr: "" });
  });

  it("one that comes before the program has started", async () => {
    const dir = folder();
    const script = `
      import { startRecording } from ${JSON.stringify(new URL("index.js", pathToFileURL(cli)).href)};
      const recording = startRecording({ command: ["sleep", "1000"], output: process.argv[1] });
      console.log(recording.kill(15), (await recording.result).exitSignal);`;
    const words = ["--input-type=module", "-e", script, join(dir, "x.trace")];
    const done = await run([process.execPath, ...words], { env: stateOf(dir) });
    expect(outcome(done)).toEqual({ code: 0, signal: null, stdout: "true 15\n", stderr: "" });
  });

  it.each(["SIGTERM", "SIGINT"] as const)(
    "%s ends the recording of what the program left behind, and that goes on",
    async (name) => {
      const dir = folder();
      const pidFile = join(dir, "pid");
      const script = `setsid sh -c 'echo $$ > ${pidFile}; exec sleep 1000' & exit 7`;
      const child = start([...recordWords(join(dir, "x.trace")), "sh", "-c", script], {
        env: stateOf(dir),
        stdio: "ignore",
      });
      const end = ended(child);
      const pid = Number(
        await until(() => readable(pidFile) && readFileSync(pidFile, "utf8").trim()),
      );
      // Only after the end of the program is the signal not for it.
      await until(() => readable(join(dir, "x.trace")) && comm(pid) === "sleep" && ppid(pid) === 1);
      child.kill(name);
      const { code } = await end;
      const alive = isAlive(pid) && tracer(pid) === 0;
      process.kill(pid, "SIGKILL");
      expect({ code, alive }).toEqual({ code: 7, alive: true });
    },
  );
});

function readable(file: string): boolean {
  try {
    closeSync(openSync(file, "r"));
    return true;
  } catch {
    return false;
  }
}

function status(pid: number, field: string): string {
  const text = readFileSync(`/proc/${pid}/status`, "latin1");
  return new RegExp(`^${field}:\\s*(.*)$`, "m").exec(text)?.[1] ?? "";
}

const comm = (pid: number) => status(pid, "Name");
const ppid = (pid: number) => Number(status(pid, "PPid"));
const tracer = (pid: number) => Number(status(pid, "TracerPid"));

describe.skipIf(lacking("busybox"))("static programs", () => {
  it("busybox", async () => {
    const { native, recorded } = await both(["busybox", "sh", "-c", "ls /; exit 4"]);
    expect(recorded).toEqual(native);
  });
});

describe("nothing stays behind", () => {
  it("no process and no file but the trace", async () => {
    const dir = folder();
    const trace = join(dir, "x.trace");
    const child = start([...recordWords(trace), "sh", "-c", "ls | cat; true & wait"], {
      cwd: dir,
      env: stateOf(dir),
    });
    await ended(child);
    expect(isAlive(child.pid ?? 0)).toBe(false);
    rmSync(trace);
    const left = execFileSync("find", [
      dir,
      "-type",
      "f",
      "-not",
      "-path",
      "*/cache/*",
      "-not",
      "-path",
      "*/state/*",
    ]);
    expect(left.toString()).toBe("");
  });
});
