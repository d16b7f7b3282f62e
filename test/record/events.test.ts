/** What is in a trace: programs, loads, descriptors, paths, bytes, interrupted calls, and what was not readable. */

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { EventFlag, Slot } from "../../src/trace/batch.js";
import {
  bytesOf,
  type Capture,
  calls,
  compile,
  contentOf,
  type Event,
  environment,
  folder,
  objectOf,
  type Read,
  readWhole,
  record,
  stringOf,
  stringsOf,
} from "./support.js";

function whole(captures: readonly Capture[]): boolean {
  return captures.every((capture) => capture.status === "whole");
}

describe("a program's start", () => {
  it("has path, arguments, environment, directory, interpreter, auxiliary vector and credentials", async () => {
    const dir = realpathSync(folder());
    const argv = ["sh", "-c", "umask 027; exec env", "", "last word"];
    const { file, stdout } = await record(argv, { cwd: dir, env: { ODD: "a\nb" } });
    const { events } = await readWhole(file);
    const [first, second, ...more] = events.filter((event) => event.kind === "Exec");
    expect(more).toEqual([]);
    if (first === undefined || second === undefined) throw new Error("two execs");
    expect(stringOf(first, 0)).toBe(realpathSync("/bin/sh"));
    expect(stringsOf(first, 1)).toEqual(argv);
    const variables = stringsOf(first, 2);
    expect(variables).toContain("ODD=a\nb");
    expect(variables).toContain(`PATH=${environment.PATH}`);
    expect(stringOf(first, 3)).toBe(dir);
    expect(stringOf(first, 4)).toMatch(/^\/lib(64)?\/ld-linux/);
    expect(stringOf(first, 6)).toMatch(/^uid=\d+ \d+ \d+ \d+ gid=/);
    expect(stringOf(first, 7)).toMatch(/^mnt:\[\d+\]$/);
    expect(stringsOf(second, 2).join("\n")).toBe(stdout.trimEnd());
    expect(stringOf(second, 6)).toContain("umask=0027");
    // AT_PAGESZ (6) is in the vector, which ends with AT_NULL.
    const vector = bytesOf(second, 5);
    const words = Array.from({ length: vector.length / 8 }, (_, k) =>
      vector.readBigUInt64LE(8 * k),
    );
    expect(words[words.indexOf(6n) + 1]).toBe(4096n);
    expect(words.slice(-2)).toEqual([0n, 0n]);
  });

  it("is the first thing that is recorded, with the call that made it", async () => {
    const { file } = await record(["true"]);
    const { events } = await readWhole(file);
    expect(events.slice(0, 3).map((event) => event.kind)).toEqual(["Task", "Call", "Exec"]);
    const exec = events[1];
    expect(exec).toMatchObject({ name: "execve", ret: 0 });
    expect(stringOf(exec as Event, 0)).toMatch(/\/true$/);
    expect(events.at(-1)).toMatchObject({ kind: "Exit", code: 0 });
  });

  it("with more arguments than an event has captures is counted, and harms nothing else", async () => {
    const script = "/bin/echo $(seq 70000) | md5sum";
    const { file, stdout } = await record(["sh", "-c", script]);
    expect(stdout).toBe(execFileSync("sh", ["-c", script]).toString());
    const { trace, events } = await readWhole(file);
    expect(trace.info.lost?.memory).toBeGreaterThan(0);
    const echo = events.find(
      (event) => event.kind === "Exec" && stringsOf(event, 1).length > 70_000,
    );
    expect(stringsOf(echo as Event, 1).at(-1)).toBe("70000");
    const last = calls(events, "write").at(-1);
    expect(bytesOf(last as Event, 1).toString()).toBe(stdout);
  });

  it("says who runs it after every call that changes that", async () => {
    const who =
      "grep -E '^(Uid|Gid|Groups|Umask|CapEff):' /proc/self/status; readlink /proc/self/ns/mnt";
    const show = `sh -c "${who}"`;
    const steps = [
      show,
      `umask 027; ${show}`,
      `(umask 0; ${show}); ${show}`,
      ...(process.getuid?.() === 0
        ? [
            `setpriv --regid 7 --clear-groups ${show}`,
            `setpriv --bounding-set -chown ${show}`,
            `setpriv --reuid 1234 --regid 5 --groups 3,4 ${show}`,
            `unshare -m ${show}`,
          ]
        : []),
      show,
    ];
    const { file, stdout } = await record(["sh", "-c", steps.join("\n")], { cwd: folder() });
    const { events } = await readWhole(file);
    const execs = events.filter((event) => event.kind === "Exec");
    const seen = execs.filter((exec) => /grep|readlink/.test(stringOf(exec, 0)));
    const told = seen.map((exec) =>
      stringOf(exec, 0).endsWith("grep") ? stringOf(exec, 6) : stringOf(exec, 7),
    );
    const lines = stdout.trim().split("\n");
    const expected = lines
      .join("\n")
      .replace(
        /Umask:\s*(.*)\nUid:\s*(.*)\nGid:\s*(.*)\nGroups:\s*(.*)\nCapEff:\s*(.*)/g,
        (_, umask, uid, gid, groups, caps) =>
          `uid=${uid} gid=${gid} groups=${groups} umask=${umask} capeff=${caps}`.replaceAll(
            "\t",
            " ",
          ),
      );
    expect(told.map((text) => text.trim())).toEqual(
      expected.split("\n").map((text) => text.replaceAll(/ +(?= umask)/g, "").trim()),
    );
    expect(new Set(told).size).toBeGreaterThan(3);
  });
});

describe("load events", () => {
  it("name every executable file with its build id", async () => {
    const { file } = await record(["gzip", "--version"]);
    const { events } = await readWhole(file);
    const maps = events.filter(
      (event) => event.kind === "Map" && stringOf(event, 0).startsWith("/"),
    );
    const paths = maps.map((event) => stringOf(event, 0));
    expect(paths).toContain(realpathSync("/bin/gzip"));
    expect(paths.some((path) => /ld-linux|\/ld-/.test(path))).toBe(true);
    expect(paths.some((path) => /\/libc[.-]/.test(path))).toBe(true);
    for (const event of maps) {
      const notes = execFileSync("readelf", ["-n", stringOf(event, 0)]).toString();
      expect(bytesOf(event, 1).toString("hex")).toBe(/Build ID: ([0-9a-f]+)/.exec(notes)?.[1]);
      expect(bytesOf(event, 2).length).toBe(32);
      expect((event.args[0] ?? 1n) % 4096n).toBe(0n);
      expect((event.args[3] ?? 0n) & 4n).toBe(4n);
    }
  });

  it("come also from dlopen and from mprotect", async () => {
    const script = `
import ctypes, mmap
libc = ctypes.CDLL("libm.so.6")
path = "/usr/lib/x86_64-linux-gnu/libz.so.1"
with open(path, "rb") as file:
    view = mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
    address = ctypes.addressof(ctypes.c_char.from_buffer_copy(view[:1]))
    c = ctypes.CDLL(None, use_errno=True)
    c.mmap.restype = ctypes.c_void_p
    at = c.mmap(None, 4096, 1, 2, file.fileno(), 0)
    print(c.mprotect(ctypes.c_void_p(at), 4096, 5))`;
    const { file, stdout } = await record(["python3", "-c", script]);
    expect(stdout).toBe("0\n");
    const { events } = await readWhole(file);
    const maps = events.filter((event) => event.kind === "Map").map((event) => stringOf(event, 0));
    expect(maps.filter((path) => path.includes("libm.so")).length).toBe(1);
    expect(maps.at(-1)).toBe(realpathSync("/usr/lib/x86_64-linux-gnu/libz.so.1"));
  });
});

describe("descriptors are followed", () => {
  const markers: readonly (readonly [string, "one" | "two"])[] = [
    ["open", "one"],
    ["dup", "one"],
    ["dup2", "one"],
    ["dup3", "one"],
    ["dupfd", "one"],
    ["dupfd_cloexec", "one"],
    ["replaced", "two"],
    ["reused", "two"],
    ["fork", "one"],
    ["after fork", "one"],
    ["passed", "one"],
    ["pidfd_getfd", "one"],
    ["after unshare", "one"],
    ["exec", "one"],
  ];

  it.each([
    ["with everything recorded", []],
    ["with a capture filter", ["-e", "write"]],
    ["without data", ["--observe", "--data=none"]],
    ["with paths alone", ["--observe", "--data=paths"]],
  ])("%s", async (_, options) => {
    const dir = realpathSync(folder());
    const recorded = await record([compile("descriptors", "-pthread"), dir], { options });
    expect({ code: recorded.code, stderr: recorded.stderr }).toEqual({ code: 0, stderr: "" });
    const { trace, events } = await readWhole(recorded.file);
    const written = calls(events, "write").filter((call) => call.ret > 0);
    expect(written.map((call) => objectOf(call, 0)?.path)).toEqual(
      markers.map(([, name]) => join(dir, name)),
    );
    if (options.length === 0) {
      expect(written.map((call) => bytesOf(call, 1).toString())).toEqual(
        markers.map(([text]) => text),
      );
    }
    // One open file is one object, except where it came back from the kernel as a stranger.
    const ids = written.map((call) => objectOf(call, 0)?.id);
    const strangers = ["passed", "pidfd_getfd"].map((text) =>
      markers.findIndex(([m]) => m === text),
    );
    const known = ids.filter((_, k) => !strangers.includes(k));
    expect(new Set(known).size).toBe(2);
    // The closed one is nobody.
    const closed = calls(events, "write").find((call) => call.ret < 0);
    expect({ ret: closed?.ret, object: objectOf(closed, 0) }).toEqual({
      ret: -9,
      object: undefined,
    });
    expect(trace.info.lost?.descriptors).toBe(0);
  });

  it("and the working directory", async () => {
    const dir = realpathSync(folder());
    mkdirSync(join(dir, "inner"));
    const script = `
import os
os.open("a", os.O_CREAT); fd = os.open("inner", os.O_RDONLY); os.chdir("inner"); os.open("b", os.O_CREAT)
os.chdir(".."); os.open("c", os.O_CREAT); os.fchdir(fd); os.open("d", os.O_CREAT)
os.open("e", os.O_CREAT, dir_fd=fd)
pid = os.fork()
if pid == 0: os.chdir("/tmp"); os._exit(0)
os.waitpid(pid, 0); os.open("f", os.O_CREAT)`;
    const { file } = await record(["python3", "-c", script], { cwd: dir });
    const { events } = await readWhole(file);
    const made = calls(events, "openat").filter((call) => /^[a-f]$/.test(stringOf(call, 1)));
    const where = (call: Event) =>
      objectOf(call, Number(BigInt.asIntN(32, call.args[0] ?? 0n)) === -100 ? Slot.Cwd : 0)?.path;
    expect(made.map((call) => [stringOf(call, 1), where(call)])).toEqual([
      ["a", dir],
      ["b", join(dir, "inner")],
      ["c", dir],
      ["d", join(dir, "inner")],
      ["e", join(dir, "inner")],
      ["f", join(dir, "inner")],
    ]);
  });
});

describe("paths", () => {
  it("are kept as given, and as what they mean", async () => {
    const dir = realpathSync(folder());
    mkdirSync(join(dir, "real/deep"), { recursive: true });
    symlinkSync("real/deep", join(dir, "link"));
    symlinkSync("file", join(dir, "real/deep/alias"));
    writeFileSync(join(dir, "real/deep/file"), "content");
    const script =
      "cat link/alias link/../deep/./file real//deep/file; stat -L link/alias >/dev/null; readlink link/alias; rm link/alias";
    const { file } = await record(["sh", "-c", script], { cwd: dir });
    const { events } = await readWhole(file);
    const meaning = (name: string, given: string, slot: number) => {
      const call = calls(events, name).find((one) => stringOf(one, slot) === given && one.ret >= 0);
      return call && (stringOf(call, slot, "resolved") || "as given");
    };
    const target = join(dir, "real/deep/file");
    expect(meaning("openat", "link/alias", 1)).toBe(target);
    expect(meaning("openat", "link/../deep/./file", 1)).toBe(target);
    expect(meaning("openat", "real//deep/file", 1)).toBe(target);
    expect(meaning("statx", "link/alias", 1)).toBe(target);
    expect(meaning("readlink", "link/alias", 0)).toBe(join(dir, "real/deep/alias"));
    expect(meaning("unlinkat", "link/alias", 1)).toBe(join(dir, "real/deep/alias"));
  });

  it("mean what they mean in another root", async () => {
    const { file } = await record(["chroot", "/usr", "/bin/ls", "/share/doc/../doc"]);
    const { events } = await readWhole(file);
    const call = calls(events, "openat").find((one) => stringOf(one, 1) === "/share/doc/../doc");
    expect(call?.ret).toBeGreaterThanOrEqual(0);
    // As seen from outside, where the descriptor says it, or from inside.
    expect(stringOf(call as Event, 1, "resolved")).toMatch(/^(\/usr)?\/share\/doc$/);
  });
});

describe("the bytes of transfers", () => {
  let source = Buffer.alloc(0);
  let recorded: Read = { trace: {} as Read["trace"], events: [] };
  let copy = Buffer.alloc(0);

  beforeAll(async () => {
    const dir = folder();
    source = Buffer.alloc(4_000_003);
    for (let k = 0; k + 4 <= source.length; k += 4)
      source.writeUInt32LE((k * 2654435761) % 2 ** 32, k);
    writeFileSync(join(dir, "source"), source);
    const argv = [compile("transfers"), join(dir, "source"), join(dir, "copy")];
    const done = await record(argv);
    expect({ code: done.code, stderr: done.stderr }).toEqual({ code: 0, stderr: "" });
    recorded = await readWhole(done.file);
    copy = readFileSync(join(dir, "copy"));
  });

  const one = (name: string, length?: number) => {
    const found = calls(recorded.events, name).filter(
      (call) => length === undefined || call.ret === length,
    );
    expect(found.length).toBe(1);
    const call = found[0] as Event;
    expect(whole(call.captures)).toBe(true);
    return call;
  };
  const data = (call: Event, slot: number, side: "in" | "out", from = 0) =>
    bytesOf(call, slot, side).subarray(from);

  it("read and write of 3 MiB", () => {
    const size = 3 << 20;
    expect(data(one("read", size), 1, "out").equals(source.subarray(0, size))).toBe(true);
    expect(data(one("write", size), 1, "in").equals(source.subarray(0, size))).toBe(true);
    expect(copy.length).toBe(size + 400);
  });

  it("pread, pwrite and the vectors", () => {
    const piece = source.subarray(5, 1005);
    const last = calls(recorded.events, "pread64").at(-1) as Event;
    expect(data(last, 1, "out").equals(piece)).toBe(true);
    expect(data(one("pwrite64"), 1, "in").equals(piece)).toBe(true);
    // The array of three, then the bytes.
    expect(data(one("preadv"), 1, "out").equals(source.subarray(0, 1010))).toBe(true);
    expect(data(one("preadv"), 1, "in").length).toBe(48);
    expect(data(one("pwritev"), 1, "in", 48).equals(source.subarray(0, 1010))).toBe(true);
    expect(data(one("readv"), 1, "out").equals(source.subarray(-500))).toBe(true);
    expect(data(one("writev", 400), 1, "in", 16).equals(source.subarray(-500, -100))).toBe(true);
  });

  it("messages", () => {
    const texts = (name: string, slot: number, side: "in" | "out") =>
      data(one(name), slot, side).toString("latin1");
    expect(texts("sendmsg", 1, "in")).toContain("hello");
    expect(texts("recvmsg", 1, "out")).toContain("hello");
    expect(texts("sendmmsg", 1, "in")).toMatch(/he.*llo/s);
    expect(texts("recvmmsg", 1, "out")).toMatch(/he.*llo/s);
    const [sent, datagram] = calls(recorded.events, "sendto");
    const [received, from] = calls(recorded.events, "recvfrom");
    expect(bytesOf(sent as Event, 1).toString()).toBe("sent");
    expect(bytesOf(received as Event, 1, "out").toString()).toBe("sent");
    expect(bytesOf(datagram as Event, 1).toString()).toBe("datagram");
    expect(bytesOf(from as Event, 1, "out").toString()).toBe("datagram");
    expect(bytesOf(from as Event, 4, "out")).toEqual(bytesOf(datagram as Event, 4));
  });

  it.each([
    ["paths", true],
    ["none", false],
  ])("are left out with --data=%s, and said to be", async (mode, strings) => {
    const dir = folder();
    writeFileSync(join(dir, "f"), "0123456789");
    const { file } = await record(["cat", "f"], {
      cwd: dir,
      options: ["--observe", `--data=${mode}`],
    });
    const { trace, events } = await readWhole(file);
    const call = calls(events, "read").find((event) => event.ret === 10) as Event;
    expect(call.captures).toMatchObject([
      { status: "omitted", wanted: 10, bytes: Buffer.alloc(0) },
    ]);
    const open = calls(events, "openat").find((event) =>
      objectOf(event, Slot.Ret)?.path.endsWith("/f"),
    );
    expect(stringOf(open as Event, 1)).toBe(strings ? "f" : "");
    expect(trace.info.lost?.memory).toBe(0);
  });
});

describe("interrupted calls", () => {
  it("are one call when the kernel goes on with them", async () => {
    const { file, stdout } = await record([compile("interrupts")]);
    expect(stdout).toBe(
      "restarted 1\ninterrupted -1 Interrupted system call\n" +
        "nanosleep -1 Interrupted system call, the rest left\nslept 0\npolled 0\n",
    );
    // The others send the signals.
    const events = (await readWhole(file)).events.filter(({ process }) => process === 1);
    const pipe = calls(events, "read").filter((call) => call.args[2] === 1n && call.args[0] !== 0n);
    const marks = EventFlag.Interrupted | EventFlag.Restarted;
    expect(pipe.map((call) => [call.ret, call.flags & marks])).toEqual([
      [-512, EventFlag.Interrupted],
      [1, EventFlag.Restarted],
      // No SA_RESTART: the program saw EINTR, and called again.
      [-512, 0],
      [1, 0],
    ]);
    expect(pipe[1]?.start).toBe(pipe[0]?.start);
    expect((pipe[1]?.end ?? 0) - (pipe[1]?.start ?? 0)).toBeGreaterThan(40e6);
    // A handler ran: the rest of the time was written. Then signals that only a tracer sees.
    const [handled, ignored] = calls(events, "clock_nanosleep", "nanosleep");
    expect([handled?.flags ?? 0, ignored?.flags ?? 0].map((flags) => flags & marks)).toEqual([
      0,
      EventFlag.Interrupted,
    ]);
    const resumed = events.filter(
      (event) => event.kind === "Call" && (event.flags & EventFlag.Restarted) !== 0,
    );
    const [, slept, polled] = resumed;
    expect([slept?.ret, polled?.ret]).toEqual([0, 0]);
    for (const call of [slept, polled])
      expect((call?.end ?? 0) - (call?.start ?? 0)).toBeGreaterThan(990e6);
  });
});

describe("pointers that lead nowhere", () => {
  // As pieces of memory that could not be read they said that the recording was not whole. The kernel could not read them either.
  it.each(["agent", "ptrace"])("are recorded as unreadable, and are no loss, by %s", async (by) => {
    const options = [`--backend=${by}`];
    const { file, stdout } = await record([compile("bad_pointers")], { options });
    expect(stdout.match(/Bad address/g)?.length).toBe(8);
    const { trace, events } = await readWhole(file);
    const bad = events.filter((event) => event.kind === "Call" && event.ret === -14);
    const unreadable = bad.map((call) => [
      call.name,
      call.captures
        .filter((capture) => capture.status === "unreadable")
        .map((capture) => capture.bytes.length),
      (call.flags & EventFlag.Partial) !== 0,
    ]);
    expect(unreadable).toEqual([
      ["open", [0], true],
      ["write", [0], true],
      // What is there of the path, up to the end of the page.
      ["open", [96], true],
      // Nothing was read into it: there is nothing to record.
      ["read", [], false],
      ["write", [4], true],
      ["writev", [0], true],
      ["writev", [0], true],
      ["execve", [0], true],
    ]);
    expect(trace.info.lost).toMatchObject({ memory: 0, tasks: 0, descriptors: 0 });
  });
});

describe("a capture filter", () => {
  it("records what is asked for and what carries state, nothing else", async () => {
    const dir = realpathSync(folder());
    writeFileSync(join(dir, "f"), "text");
    const options = ["-e", "trace=fstat,newfstatat"];
    const { file, stdout } = await record(["sh", "-c", "cat f; (cd /; ls -d usr)"], {
      cwd: dir,
      options,
    });
    expect(stdout).toBe("textusr\n");
    const { trace, events } = await readWhole(file);
    expect(calls(events, "newfstatat", "fstat").length).toBeGreaterThan(2);
    expect(calls(events, "read", "write", "brk", "lseek", "rt_sigprocmask")).toEqual([]);
    expect(calls(events, "openat", "close", "execve").length).toBeGreaterThan(4);
    expect(trace.processes.length).toBeGreaterThanOrEqual(3);
    expect(trace.info.facts.get("only")).toContain("newfstatat");
    const open = calls(events, "openat").find((call) => stringOf(call, 1) === "f");
    expect(objectOf(open, Slot.Ret)?.path).toBe(join(dir, "f"));
  });

  it("does not change what the program sees", async () => {
    const script = "grep -c . /proc/self/maps >/dev/null; kill -TERM $$; exit 1";
    const { signal } = await record(["sh", "-c", script], { options: ["-e", "%file"] });
    expect(signal).toBe("SIGTERM");
  });
});

describe("signals", () => {
  it("are recorded with their sender", async () => {
    const { file } = await record(["sh", "-c", "trap : USR1; kill -USR1 $$; exit 0"]);
    const { trace, events } = await readWhole(file);
    const signal = events.filter((event) => event.kind === "Signal");
    expect(signal.map((event) => event.code)).toEqual([10]);
    const info = bytesOf(signal[0] as Event, 0);
    expect(info.length).toBe(128);
    expect(info.readInt32LE(16)).toBe(trace.threads[0]?.pid);
  });
});

it("times and numbers go up", async () => {
  const { file } = await record(["sh", "-c", "for i in 1 2 3; do true & done; wait"]);
  const { trace, events } = await readWhole(file);
  expect(events.map((event) => event.seq)).toEqual(events.map((_, k) => k));
  expect(events.every((event) => event.start <= event.end)).toBe(true);
  expect(events.every((event) => event.end <= trace.duration)).toBe(true);
  // What becomes of an interrupted call (results -512 and below) is known at the next stop: it is committed then, with
  // the time at which it ended.
  const ends = events.filter((event) => event.ret > -512).map((event) => event.end);
  expect(ends).toEqual([...ends].sort((a, b) => a - b));
  expect(contentOf(file).slice(0, 8)).not.toBe("");
});

it("what interfaces are asked for is taken as long as its struct says", async () => {
  const { code, file } = await record([compile("interface_sizes")]);
  expect(code).toBe(0);
  const { events } = await readWhole(file);
  const lengths = calls(events, "ioctl").map(
    ({ captures }) => captures.filter(({ side }) => side === "in")[1]?.bytes.length,
  );
  expect(lengths).toEqual([520, 520 + 3 * 92, 192 + 5 * 4, 180 + 7 * 4]);
});

describe("calls of the vsyscall page", () => {
  for (const option of ["--backend=agent", "--observe"]) {
    it(`change nothing of the others, with ${option}`, async () => {
      const { file, code, stdout } = await record([compile("vsyscall")], { options: [option] });
      expect(code).toBe(0);
      const { trace, events } = await readWhole(file);
      expect(
        calls(events, "write")
          .map((event) => bytesOf(event, 1).toString())
          .join(""),
      ).toBe(stdout);
      const reasons = trace.info.facts.get("unreplayable");
      if (stdout !== "") expect(reasons).toMatch(/^(a program has called the vsyscall page, .*)?$/);
    });
  }
});
