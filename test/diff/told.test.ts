/** What differs is told, also where the decoder does not see it: nothing is put down to a rule that did not take it out. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DiffOptions, diff } from "../../src/diff/diff.js";
import { failures } from "../../src/diff/golden.js";
import type { DiffResult } from "../../src/diff/result.js";
import { TraceError } from "../../src/errors.js";
import { openTrace } from "../../src/trace/open.js";
import { pack } from "../support/batch.js";
import { TextTrace } from "../support/text_trace.js";
import { listing, one, read, type StartOptions, stat, type Write } from "./written.js";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "trace-diff-told-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let count = 0;

async function compare(
  write: Write,
  start: (run: number) => StartOptions = () => ({}),
): Promise<DiffResult> {
  const name = join(dir, `t${count++}`);
  const [a, b] = [0, 1].map((run) => one(run, write, start(run)).write(`${name}${run}.trace`));
  return diff((await a) ?? "", (await b) ?? "");
}

const aspectsOf = ({ differences }: DiffResult) => differences.flatMap(({ aspects }) => aspects);
/** What fails a check with that of `--fail-on`. */
const failed = (result: DiffResult, what: string) =>
  failures(result, { kinds: [what], slower: undefined });
const unrecorded = () => ({ data: "none" as const });

describe("streams", () => {
  const MIB = "a".repeat(1 << 20);
  const long =
    (last: (run: number) => string): Write =>
    (trace, run) => {
      trace.object("file", "/data");
      for (let k = 0; k < 9; k++) trace.call("read", read(MIB));
      trace.call("read", read(last(run)));
    };

  it("that differ only behind what is looked at", async () => {
    const result = await compare(long((run) => `last ${run}`));
    expect(result.verdict).toBe("different");
    const size = 9 * MIB.length + 6;
    const text = `${size} bytes, differs after the first 8 MiB`;
    expect(aspectsOf(result)).toEqual([{ what: "data", a: text, b: text }]);
    expect((await compare(long(() => "last"))).verdict).toBe("same");
  });

  it("of another length whose bytes were not recorded", async () => {
    const part = (name: string, ret: number) => (trace: Parameters<Write>[0]) =>
      trace.call(name, { args: [3, 0x3000, 64], ret, refs: [[0, 3, 1]] });
    const moves =
      (name: string): Write =>
      (trace, run) => {
        trace.object("file", "/data");
        part(name, 5)(trace);
        part(name, 7 + run)(trace);
      };
    const input = await compare(moves("read"), unrecorded);
    expect(aspectsOf(input)).toEqual([{ what: "result", a: "12", b: "13" }]);
    expect(input.differences[0]?.side).toBe("input");
    const output = await compare(moves("write"), unrecorded);
    expect(output.differences[0]?.side).toBe("action");
    const cut: Write = (trace, run) => {
      trace.object("file", "/data");
      for (const length of run === 0 ? [5, 7] : [12]) part("read", length)(trace);
    };
    expect((await compare(cut, unrecorded)).verdict).toBe("same");
  });

  it("directories with other names, whatever else was not recorded", async () => {
    const names: Write = (trace, run) =>
      trace.object("dir", "/data").call("getdents64", listing(["a", ["b", "c"][run] ?? ""]));
    const result = await compare(names, unrecorded);
    expect(result.firstCause?.lines).toEqual([" a", "-b", "+c"]);
  });
});

describe("events that cannot be read again", () => {
  const writes: Write = (trace, run) => trace.object("file", "/data").call("read", read(`${run}`));

  /** Both traces, where reading single events of the second fails. */
  const compareFailing = async (error: Error) => {
    const name = join(dir, `t${count++}`);
    const a = await openTrace(await one(0, writes).write(`${name}0.trace`));
    const b = await openTrace(await one(1, writes).write(`${name}1.trace`));
    b.eventAt = () => Promise.reject(error);
    try {
      return await diff(a, b);
    } finally {
      a.close();
      b.close();
    }
  };

  it("are counted where the trace is damaged", async () => {
    const result = await compareFailing(new TraceError("CORRUPT", "a block is damaged"));
    expect(result).toMatchObject({ verdict: "different", differences: [], more: 1 });
  });

  it("end the comparison where it is no damage", async () => {
    await expect(compareFailing(new RangeError("out of range"))).rejects.toThrow(RangeError);
    const trace = await openTrace(await one(0, writes).write(join(dir, "closed.trace")));
    trace.close();
    await expect(diff(trace, trace)).rejects.toThrow(/was closed/);
  });

  it("and what is damaged is said", async () => {
    const name = join(dir, `t${count++}`);
    const a = await openTrace(await one(0, writes).write(`${name}0.trace`));
    const readable = a.batches.bind(a);
    a.batches = async function* (wanted) {
      yield* readable(wanted);
      throw new TraceError("CORRUPT", "block 1 is damaged");
    };
    const { notes } = await diff(a, `${name}0.trace`);
    a.close();
    expect(notes.join("\n")).toMatch(/A is cut: .* is not compared: block 1 is damaged/);
  });
});

describe("programs", () => {
  const image = (trace: TextTrace, path: string, run: number) => {
    // Sums that have nothing in common, as those of two files.
    const sum = ["2e551e17aed68f3d", "6ce9e79a189901e4"][run] ?? "";
    return trace.event("map", {
      args: [0x400000, 4096, 0, 5],
      captures: [
        [0, "in", 0, path],
        [2, "in", 0, Buffer.from(sum, "hex")],
      ],
    });
  };

  it("that are other ones", async () => {
    const result = await compare((trace, run) => void image(trace, "/srv/prog", run));
    expect(result.firstCause?.summary).toMatch(/the file \/srv\/prog is another one/);
  });

  it("and where they do something else first", async () => {
    const result = await compare((trace, run) => {
      image(trace, "/srv/prog", run);
      trace.object("file", "/data").call("read", read("same"));
      trace.call(run === 0 ? "fsync" : "fdatasync", { args: [3], refs: [[0, 3, 1]] });
    });
    expect(result.firstCause).toMatchObject({ object: "/srv/prog" });
    const marked = (lines: readonly { mark: boolean; text: string }[] = []) =>
      lines.filter(({ mark }) => mark).map(({ text }) => text);
    expect(marked(result.firstCause?.contextA)).toEqual(["fsync(3</data>) = 0"]);
    expect(result.firstCause?.consequences[0]).toBe("fsync /data only in A");
  });

  it("but not those that the run has made, which are compared when they are written", async () => {
    const made: Write = (trace, run) => {
      const names = ["/srv/new\0", "/srv/made\0"] as const;
      trace.call("rename", {
        args: [0x1000, 0x1100],
        captures: names.map((name, k) => [k, "in", 0x1000 + 0x100 * k, name] as const),
      });
      image(trace, "/srv/made", run);
    };
    expect((await compare(made)).verdict).toBe("same");
  });
});

describe("files that were changed before", () => {
  /** A file of which no more differs than its time, and what the program does then. */
  const looks = (path: string, after: (run: number) => number): Write => {
    return (trace, run) => {
      trace.object("file", path).call("fstat", {
        args: [3, 0x2000],
        captures: [[1, "out", 0x2000, stat(5, 7, after(run))]],
        refs: [[0, 3, 1]],
      });
      if (run === 1) trace.call("fsync", { args: [3], refs: [[0, 3, 1]] });
    };
  };
  const causeOf = async (path: string, after: (run: number) => number) =>
    (await compare(looks(path, after))).firstCause?.summary;
  const START = 1_700_000_000;

  it("are named as the cause of what is done then", async () => {
    expect(await causeOf("/srv/source", (run) => START - 5 + run)).toMatch(/source finds another/);
  });

  it("but not those that come to be when they are asked for", async () => {
    expect(await causeOf("/etc/mtab", (run) => START + run)).toMatch(/fsync .* only in B/);
    const running = "/tmp/hsperfdata_root/7";
    expect(await causeOf(running, (run) => START - 5 + run)).toMatch(/fsync .* only in B/);
  });
});

describe("files that are read, and written later", () => {
  /** As git commit reads what HEAD was, writes both into its log, and then what HEAD is. */
  const [first, second, third] = ["add2ca044bd82563", "ec11706cd3e1a768", "69d981b8316f5c8e"];
  const write = (object: number, text: string) =>
    ({
      args: [3, 0x3000, text.length],
      ret: text.length,
      captures: [[1, "in", 0x3000, text]],
      refs: [[0, 3, object]],
    }) as const;

  it("come from outside until then", async () => {
    const commits: Write = (trace, run) => {
      const [old, next] = run === 0 ? [first, second] : [second, third];
      trace.object("file", "/srv/head").object("file", "/srv/log");
      trace.call("read", read(old));
      for (let k = 0; k < 80; k++) trace.call("fsync", { args: [4], refs: [[0, 4, 2]] });
      trace.call("write", write(2, `${old} ${next}`));
      trace.call("write", write(1, next));
      trace.call("read", read(next));
    };
    const result = await compare(commits);
    expect(result.firstCause?.summary).toMatch(/: reads other bytes from \/srv\/head$/);
    // What was made in the run is random, and known again.
    expect(result.differences.map(({ object }) => object)).toEqual(["/srv/head"]);
  });

  it("are compared where they are read first, though the other run reads the same later", async () => {
    const reads: Write = (trace, run) => {
      trace.object("file", "/srv/head");
      for (const text of run === 0 ? ["one", "two"] : ["two", "six"]) {
        trace.call("read", read(text));
        trace.call("lseek", { args: [3, 0, 0], refs: [[0, 3, 1]] });
        for (let k = 0; k < 9; k++) trace.call("fsync", { args: [k] });
      }
    };
    const { differences } = await compare(reads);
    expect(differences.map(({ kind, verb }) => `${kind} ${verb}`)).toEqual([
      "changed read",
      "changed read",
    ]);
  });
});

it("the first cause is told, however much comes of it", async () => {
  const writes: Write = (trace, run) => {
    trace.object("file", "/srv/data");
    for (let k = 0; k < 20_050; k++) {
      const text = `${k} ${run === 0 ? "one" : "two"}`;
      trace.call("pwrite64", {
        args: [3, 0x3000, text.length, k],
        ret: text.length,
        captures: [[1, "in", 0x3000, text]],
        refs: [[0, 3, 1]],
      });
    }
  };
  const result = await compare(writes, (run) => ({ argv: ["prog", run === 0 ? "one" : "two"] }));
  expect(result.firstCause?.summary).toMatch(/argument 1 is one in A, two in B/);
  expect(result.differences.length + result.more).toBe(20_051);
});

it("names that are no text are told apart", async () => {
  const names: readonly (readonly [string, string])[] = [
    ["/srv/a\xff", "/srv/a\xfe"],
    ["b\xff", "b\xfe"],
  ];
  for (const name of names) {
    const stats: Write = (trace, run) => {
      const path = Buffer.from(`${name[run]}\0`, "latin1");
      const captures = [[1, "in", 0x1000, path]] as const;
      trace.call("newfstatat", {
        args: [-100, 0x1000, 0x2000, 0],
        captures,
        refs: [["cwd", -100, 0]],
      });
    };
    const result = await compare(stats);
    const objects = result.differences.map(({ object }) => object);
    expect(objects.sort()).toEqual([
      expect.stringMatching(/^\/srv\/[ab]\udcfe$/),
      expect.stringMatching(/^\/srv\/[ab]\udcff$/),
    ]);
  }
});

it("names of open files that are no text are told apart", async () => {
  const syncs: Write = (trace, run) => {
    const path = Buffer.from(run === 0 ? "/srv/ä\xff" : "/srv/ä\xfe", "latin1");
    trace.object("file", path).call("fsync", { args: [3], refs: [[0, 3, 1]] });
  };
  const { differences } = await compare(syncs);
  expect(differences.map(({ object }) => object).sort()).toEqual([
    "/srv/\udce4\udcfe",
    "/srv/\udce4\udcff",
  ]);
  expect(differences[0]?.a?.text).toBe("fsync(3</srv/\\344\\377>) = 0");
});

describe("sentences", () => {
  it("name which limit another one is of", async () => {
    const limits: Write = (trace, run) =>
      trace.call("prlimit64", {
        args: [0, 7, 0, 0x2000],
        captures: [[3, "out", 0x2000, pack([8, 1024 - run], [8, 4096])]],
      });
    const result = await compare(limits);
    expect(result.firstCause?.summary).toMatch(
      /: prlimit64 RLIMIT_NOFILE: rlim_cur is 1024 in A, 1023 in B$/,
    );
    expect(result.differences[0]?.about).toBe("RLIMIT_NOFILE");
  });

  it("show what long arguments differ in", async () => {
    const script = `for i in range(300000): ${"work(i); ".repeat(20)}`;
    const result = await compare(
      () => {},
      (run) => ({ argv: ["python3", "-c", `${script}print(i % ${97 - 8 * run})`] }),
    );
    expect(result.firstCause?.summary).toMatch(
      / argument 2 is \.\.\..*print\(i % 97\) in A, \.\.\..*print\(i % 89\) in B$/,
    );
  });

  it("name what is another one of the rights of a program", async () => {
    const starts = (trace: TextTrace, run: number) =>
      trace.event("exec", {
        captures: [
          [0, "in", 0, "/bin/other"],
          [1, "in", 0, "other\0"],
          [2, "in", 0, "\0"],
          [3, "in", 0, "/srv"],
          ["ret", "in", 0, `uid=0 0 0 0 gid=0 0 0 0 groups= umask=00${run}2 capeff=0`],
        ],
      });
    const result = await compare((trace, run) => void starts(trace, run));
    expect(aspectsOf(result)).toEqual([{ what: "umask", a: "0002", b: "0012" }]);
  });
});

describe("calls", () => {
  it("that ask how long a value is, without reading it", async () => {
    const asks =
      (length: (run: number) => number, size: (run: number) => number): Write =>
      (trace, run) =>
        trace.call("getxattr", {
          args: [0x1000, 0x1100, 0, size(run)],
          ret: length(run),
          captures: [
            [0, "in", 0x1000, "/data\0"],
            [1, "in", 0x1100, "user.x\0"],
          ],
          refs: [["cwd", -100, 0]],
        });
    const result = await compare(
      asks(
        (run) => 5 + run,
        () => 0,
      ),
    );
    expect(aspectsOf(result)).toEqual([{ what: "result", a: "5", b: "6" }]);
    const roomier = asks(
      () => 0,
      (run) => 64 + run,
    );
    expect(await compare(roomier)).toMatchObject({ verdict: "same", explained: {} });
  });

  it("starts whose variables come in another order", async () => {
    const env = ["HOME=/root", "LANG=C"];
    const result = await compare(
      () => {},
      (run) => ({ env: run === 0 ? env : [...env].reverse() }),
    );
    expect(aspectsOf(result)).toEqual([
      { what: "order of variables", a: "HOME LANG", b: "LANG HOME" },
    ]);
  });

  it("but not what a rule rewrote in their texts", async () => {
    const result = await compare(
      () => {},
      (run) => ({ argv: ["prog", `--pid=${4711 + run}`], pid: 4711 + run }),
    );
    expect(result.verdict).toBe("same");
    expect(result.explained).toEqual({ "numbers-in-text": 1 });
  });
});

describe("processes that only one run has", () => {
  /** A parent, and in the second run a child that runs these programs and does `write`. */
  const withChild =
    (programs: readonly string[], write: Write = () => {}) =>
    (run: number): TextTrace => {
      const trace = new TextTrace().meta("data", "all").thread(1, 1, 100, 100);
      if (run === 1) trace.thread(2, 1, 101, 101, 0, 1);
      trace.object("dir", "/srv").object("socket", "socket:[9]", "TCP");
      const exec = (thread: number, path: string) =>
        trace.event("exec", {
          thread,
          captures: [
            [0, "in", 0, path],
            [1, "in", 0, `${path.slice(path.lastIndexOf("/") + 1)}\0`],
            [2, "in", 0, "HOME=/root\0"],
            [3, "in", 0, "/srv"],
          ],
        });
      trace.event("task", { args: [0, 0] });
      exec(0, "/bin/prog");
      connect(trace, 1, 0);
      if (run === 1) {
        trace.event("task", { thread: 1, args: [1, 0] });
        for (const program of programs) exec(1, program);
        write(trace, run);
        trace.event("exit", { thread: 1, args: [1, 0, 0, 0] });
      }
      return trace.event("exit", { args: [1, 0, 0, 0] });
    };

  /** A connection to 10.0.0.`last`. */
  const connect = (trace: TextTrace, last: number, thread: number, ret = 0) =>
    trace.call("connect", {
      thread,
      ret,
      args: [4, 0x4000, 16],
      captures: [
        [1, "in", 0x4000, Buffer.from([2, 0, 1, 187, 10, 0, 0, last, 0, 0, 0, 0, 0, 0, 0, 0])],
      ],
      refs: [[0, 4, 1]],
    });

  const comparePair = async (make: (run: number) => TextTrace, options: DiffOptions = {}) => {
    const name = join(dir, `t${count++}`);
    const [a, b] = [await make(0).write(`${name}0.trace`), await make(1).write(`${name}1.trace`)];
    return diff(a, b, options);
  };
  it("are named with all programs that they ran", async () => {
    const result = await comparePair(withChild(["/usr/bin/env", "/usr/bin/curl"]));
    expect(result.programs[0]?.paths).toEqual(["/usr/bin/env", "/usr/bin/curl"]);
    expect(failed(result, "new-exec")).toEqual(["p1 prog starts env (then curl) only in B"]);
    const copy = await comparePair(withChild([]));
    expect([copy.verdict, failed(copy, "new-exec")]).toEqual(["different", []]);
  });

  it("fail a check by the addresses that only they speak to", async () => {
    const speaks = (last: number) =>
      comparePair(withChild([], (trace) => void connect(trace, last, 1)));
    const fresh = await speaks(7);
    expect(fresh.net).toMatchObject([{ what: "connect", address: "10.0.0.7:443", only: "b" }]);
    expect(failed(fresh, "new-net")).toEqual(["connect 10.0.0.7:443"]);
    expect(failed(await speaks(1), "new-net")).toEqual([]);
  });

  it("list files without those that are ignored, and say how many more there are", async () => {
    const removes = (path: string) => (trace: TextTrace) =>
      trace.call("unlink", {
        thread: 1,
        args: [0x1000],
        captures: [[0, "in", 0x1000, `${path}\0`]],
        refs: [["cwd", -100, 0]],
      });
    const many = await comparePair(
      withChild([], (trace) => {
        for (let k = 0; k < 2003; k++) removes(`/data/${k}`)(trace);
        removes("/data/7")(trace);
      }),
    );
    expect(many.files).toHaveLength(2000);
    expect(many.notes).toContain("3 more files of processes that only one has, not listed");
    const renames = withChild([], (trace) => {
      removes("/var/log/x")(trace);
      trace.call("rename", {
        thread: 1,
        args: [0x1000, 0x1100],
        captures: [
          [0, "in", 0x1000, "/data/a\0"],
          [1, "in", 0x1100, "/data/b\0"],
        ],
        refs: [["cwd", -100, 0]],
      });
    });
    const { files } = await comparePair(renames, { ignorePaths: ["/var/log/**"] });
    expect(files.map(({ what, path }) => `${what} ${path}`)).toEqual(["renamed /data/a"]);
  });
});

describe("checks", () => {
  it("see a program that a process goes on to run in one of them only", async () => {
    const more = await compare((trace, run) => {
      if (run === 0) return;
      trace.call("sync").event("exec", {
        captures: [
          [0, "in", 0, "/usr/bin/curl"],
          [1, "in", 0, "curl\0"],
          [2, "in", 0, "HOME=/root\0"],
          [3, "in", 0, "/srv"],
        ],
      });
    });
    expect(failed(more, "new-exec")).toEqual(["p1 prog: start of /usr/bin/curl only in B"]);
  });

  it("take a known address with another result for no new one", async () => {
    const result = await compare((trace, run) => {
      trace.object("socket", "socket:[9]", "TCP").call("connect", {
        ret: run === 0 ? 0 : -111,
        args: [4, 0x4000, 16],
        captures: [
          [1, "in", 0x4000, Buffer.from([2, 0, 1, 187, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])],
        ],
        refs: [[0, 4, 1]],
      });
    });
    expect(result.net).toMatchObject([{ address: "10.0.0.1:443", only: "both" }]);
    expect(failed(result, "new-net")).toEqual([]);
    expect(failed(result, "errno")).toHaveLength(1);
  });
});

describe("messages of i386", () => {
  // `struct msghdr` has 28 bytes there: name, its length, buffers, how many, control data, its length, flags.
  const sent =
    (base: (run: number) => number, text: (run: number) => string): Write =>
    (trace, run) => {
      const [name, list, data] = [base(run), base(run) + 0x100, base(run) + 0x200];
      const header = pack([4, name], [4, 8], [4, list], [4, 1], [4, 0], [4, 0], [4, 0]);
      expect(header.length).toBe(28);
      const body = text(run);
      trace.object("socket", "socket:[1]").call("sendmsg", {
        arch: 1,
        args: [3, 0x1000, 0],
        ret: body.length,
        captures: [
          [1, "in", 0x1000, header],
          [1, "in", name, pack([8, 1])],
          [1, "in", list, pack([4, data], [4, body.length])],
          [1, "in", data, body],
        ],
        refs: [[0, 3, 1]],
      });
    };

  it("whose buffers stand elsewhere", async () => {
    const result = await compare(
      sent(
        (run) => 0x8000 + 0x1000 * run,
        () => "message",
      ),
    );
    expect(result.verdict).toBe("same");
  });

  it("with other bytes", async () => {
    const result = await compare(
      sent(
        () => 0x8000,
        (run) => `message ${run}`,
      ),
    );
    expect(result.verdict).toBe("different");
  });
});

it.each(["read", "pread64"])("what a file of another size says, by %s", async (name) => {
  const text = (run: number) => (run === 0 ? "one\nten\n" : "one\ntwo\nten\n");
  const result = await compare((trace, run) => {
    const { args, ...bytes } = read(text(run));
    trace.object("file", "/srv/conf").call("fstat", {
      args: [3, 0x2000],
      captures: [[1, "out", 0x2000, stat(text(run).length, 7, 1e9)]],
      refs: [[0, 3, 1]],
    });
    trace.call(name, { ...bytes, args: name === "read" ? args : [...args, 0] });
  });
  expect(result.firstCause?.summary).toMatch(/stat \/srv\/conf: size is 8 in A, 12 in B/);
  expect(result.firstCause?.lines).toContain("+two");
});
