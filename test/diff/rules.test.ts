/** Each rule takes out what it says, and only while it is on. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DiffOptions, diff } from "../../src/diff/diff.js";
import type { DiffResult } from "../../src/diff/result.js";
import { RULES, type RuleName } from "../../src/diff/rules.js";
import { EventFlag } from "../../src/trace/batch.js";
import { pack } from "../support/batch.js";
import { TextTrace } from "../support/text_trace.js";
import { listing, one, open, stat } from "./written.js";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "trace-diff-rules-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let count = 0;

async function compare(
  make: (run: number) => TextTrace,
  options: DiffOptions = {},
): Promise<DiffResult> {
  const name = join(dir, `t${count++}`);
  const [a, b] = [await make(0).write(`${name}a.trace`), await make(1).write(`${name}b.trace`)];
  return diff(a, b, options);
}

/** Both runs are the same with the rule, and different without it. */
async function proves(rule: RuleName, make: (run: number) => TextTrace): Promise<void> {
  const on = await compare(make);
  expect(on.differences.map(({ verb, object, aspects }) => ({ verb, object, aspects }))).toEqual(
    [],
  );
  expect(on.verdict).toBe("same");
  const off = await compare(make, { without: [rule] });
  expect(off.verdict, `without ${rule}`).toBe("different");
}

const fstat = (bytes: Uint8Array) =>
  ({
    args: [3, 0x2000],
    captures: [[1, "out", 0x2000, bytes]],
    refs: [[0, 3, 1]],
  }) as const;

const NO_RETURN = EventFlag.NoReturn;
const O_RDWR_CREAT_EXCL = 0o302;

describe("rules", () => {
  it("have names of their own, and say why", () => {
    expect(new Set(RULES.map(({ name }) => name)).size).toBe(RULES.length);
    for (const { name, what, why } of RULES)
      expect(`${name} ${what} ${why}`).not.toMatch(/undefined/);
  });

  it("pids", async () => {
    await proves("pids", (run) => one(run, (trace) => trace.call("getppid", { ret: 40 + run })));
  });

  it("inodes", async () => {
    await proves("inodes", (run) =>
      one(run, (trace) => {
        trace.object("dir", "/data").call("fstatfs", {
          args: [3, 0x2000],
          captures: [
            [
              1,
              "out",
              0x2000,
              pack(
                [8, 0xef53],
                [8, 4096],
                [8, 1000 + run],
                [8, 5],
                [8, 5],
                [8, 5],
                [8, 5],
                [8, 0],
                [8, 255],
                [8, 4096],
                [8, 0],
                [8, 0],
                [8, 0],
                [8, 0],
                [8, 0],
              ),
            ],
          ],
          refs: [[0, 3, 1]],
        });
      }),
    );
  });

  it("times and inodes of files, but not their sizes", async () => {
    const made = (size: (run: number) => number) => (run: number) =>
      one(
        run,
        (trace) =>
          void trace
            .object("file", "/data")
            .call("fstat", fstat(stat(size(run), 7 + run, 1e9 + run))),
      );
    expect((await compare(made(() => 5))).verdict).toBe("same");
    const other = await compare(made((run) => 5 + run));
    expect(other.firstCause?.summary).toMatch(/stat \/data: size is 5 in A, 6 in B/);
  });

  it("temp-names", async () => {
    await proves("temp-names", (run) =>
      one(run, (trace) => {
        const path = ["/tmp/ccgqGEZC.s", "/tmp/cc9Kd2Xy.s"][run] ?? "";
        trace.object("file", path).call("openat", open(path, O_RDWR_CREAT_EXCL, 3, 1));
      }),
    );
  });

  it("temporary names, and below them the names that both have", async () => {
    const result = await compare((run) =>
      one(
        run,
        (trace) => {
          const directory = `/tmp/pip-target-${["7pcbkuid", "vldl9t3v"][run]}`;
          for (const path of [directory, `${directory}/python`]) {
            trace.call("mkdir", { args: [0x1000], captures: [[0, "in", 0x1000, `${path}\0`]] });
          }
          if (run === 1) trace.call("sync");
        },
        { argv: ["/bin/python"] },
      ),
    );
    expect(result.differences.map(({ verb }) => verb)).toEqual(["sync"]);
    expect(result.firstCause?.process.command).toEqual(["/bin/python"]);
  });

  it("ids in the names of files that are made, and of no other files", async () => {
    const ids = ["6062dc65-364d-4f64-a25b-e768c66dfd59", "03c04542-6cb1-49db-9477-6dc03be5b127"];
    const opens = (flags: number) => (run: number) =>
      one(run, (trace) => {
        const path = `/home/user/.cache/${ids[run]}`;
        trace.object("file", path).call("openat", open(path, flags, 3, 1));
      });
    await proves("temp-names", opens(O_RDWR_CREAT_EXCL));
    expect((await compare(opens(0))).verdict).toBe("different");
  });

  it("times of the run in the names of files, and no other times", async () => {
    // The run begins at 2023-11-14T22:13:20Z.
    const logs = (names: readonly string[]) => (run: number) =>
      one(run, (trace) => {
        const path = `/home/user/logs/${names[run]}.log`;
        trace.object("file", path).call("openat", open(path, 0o2101, 3, 1));
      });
    for (const names of [
      ["2023-11-14T22_13_20_001Z-debug", "2023-11-14T22_13_21_950Z-debug"],
      ["app-20231114-221320", "app-20231114-221321"],
      ["core.1700000000", "core.1700000001"],
    ])
      await proves("times", logs(names));
    for (const names of [
      ["2023-11-14T22_11_20_001Z-debug", "2023-11-14T22_12_20_001Z-debug"],
      ["core.1600000000", "core.1600000001"],
    ])
      expect((await compare(logs(names))).verdict, names.join()).toBe("different");
  });

  it("temporary names beside words that hold the number of a process", async () => {
    // Of python's compileall, where the first run has a process 100.
    const result = await compare((run) =>
      one(run, (trace) => {
        const name = "/lib/__pycache__/poly100.cpython-311.pyc";
        const made = `${name}.${["139733792162640", "140039686964048"][run] ?? ""}`;
        trace.object("file", made).call("openat", open(made, O_RDWR_CREAT_EXCL, 3, 1));
        trace.call("rename", {
          args: [0x1000, 0x2000],
          captures: [
            [0, "in", 0x1000, Buffer.from(`${made}\0`)],
            [1, "in", 0x2000, Buffer.from(`${name}\0`)],
          ],
        });
      }),
    );
    expect(result.verdict).toBe("same");
  });

  it("no rule hides a fixed name that changed", async () => {
    const result = await compare((run) =>
      one(run, (trace) => {
        const path = ["/srv/report", "/srv/summary"][run] ?? "";
        trace.object("file", path).call("openat", open(path, O_RDWR_CREAT_EXCL, 3, 1));
      }),
    );
    expect(result.verdict).toBe("different");
    expect(result.files.map(({ path }) => path).sort()).toEqual(["/srv/report", "/srv/summary"]);
  });

  it("chunks", async () => {
    await proves("chunks", (run) =>
      one(run, (trace) => {
        trace.object("pipe", "pipe:[7]");
        for (const text of run === 0 ? ["one two ", "three"] : ["one ", "two thr", "ee"]) {
          trace.call("read", {
            args: [3, 0x3000, 64],
            ret: text.length,
            captures: [[1, "out", 0x3000, text]],
            refs: [[0, 3, 1]],
          });
        }
      }),
    );
  });

  it("chunks of a stream between which others go the other way", async () => {
    const talk = (second: (run: number) => string) => (run: number) =>
      one(run, (trace) => {
        trace.object("socket", "socket:[7]", "UNIX-STREAM");
        const moves = (call: string, side: "in" | "out", text: string) =>
          trace.call(call, {
            args: [3, 0x3000, 64, 0, 0, 0],
            ret: text.length,
            captures: [[1, side, 0x3000, text]],
            refs: [[0, 3, 1]],
          });
        const news = "news";
        moves("recvfrom", "out", run === 0 ? `hello ${news}` : "hello ");
        moves("sendto", "in", "what");
        moves("recvfrom", "out", run === 0 ? second(run) : `${news}${second(run)}`);
      });
    await proves(
      "chunks",
      talk(() => "end"),
    );
    expect((await compare(talk((run) => `end${run}`))).verdict).toBe("different");
  });

  it("order of what goes through two sockets, where a process waits for both", async () => {
    const talks = (polls: boolean, names: readonly string[]) => (run: number) =>
      one(run, (trace) => {
        for (const [k, name] of names.entries())
          trace.object(name.startsWith("/") ? "file" : "socket", name, k === 0 ? "TCP" : "UDP");
        if (polls) trace.call("poll", { args: [0x1000, 2, -1], ret: 1 });
        for (const k of run === 0 ? [0, 1] : [1, 0]) {
          trace.call("write", {
            args: [3 + k, 0x3000, 2],
            ret: 2,
            captures: [[1, "in", 0x3000, "ok"]],
            refs: [[0, 3 + k, 1 + k]],
          });
        }
      });
    const sockets = ["socket:[7]", "socket:[8]"];
    await proves("order", talks(true, sockets));
    expect((await compare(talks(false, sockets))).verdict).toBe("different");
    expect((await compare(talks(true, ["/srv/one", "/srv/two"]))).verdict).toBe("different");
  });

  it("a file that a stream leads to, when another process is given it", async () => {
    await proves("streams", (run) =>
      one(run, (trace) => {
        const path = `/logs/run${run}`;
        trace.object("file", path).object("file", path);
        trace.call("fstat", {
          ...fstat(stat(5 + run, 7, 1e9)),
          args: [1, 0x2000],
          refs: [[0, 1, 1]],
        });
        trace.call("close", { args: [9], refs: [[0, 9, 2]] });
      }),
    );
  });

  it("tokens in a pipe that a process reads and writes, and nothing else in it", async () => {
    const tokens = (last: string) => (run: number) =>
      one(run, (trace) => {
        trace.object("pipe", "pipe:[7]");
        for (const text of run === 0 ? ["+", "+"] : ["+", "+", "+", last]) {
          for (const [call, side] of [
            ["write", "in"],
            ["read", "out"],
          ] as const) {
            trace.call(call, {
              args: [3, 0x3000, text.length],
              ret: text.length,
              captures: [[1, side, 0x3000, text]],
              refs: [[0, 3, 1]],
            });
          }
        }
      });
    await proves("wake-ups", tokens("+"));
    expect((await compare(tokens("stop"))).verdict).toBe("different");
  });

  it("retries", async () => {
    await proves("retries", (run) =>
      one(run, (trace) => {
        trace.object("socket", "socket:[7]", "TCP");
        if (run === 1)
          trace.call("recvfrom", { args: [3, 0x3000, 64, 0, 0, 0], ret: -11, refs: [[0, 3, 1]] });
        trace.call("recvfrom", {
          args: [3, 0x3000, 64, 0, 0, 0],
          ret: 2,
          captures: [[1, "out", 0x3000, "ok"]],
          refs: [[0, 3, 1]],
        });
      }),
    );
  });

  it("directory-order", async () => {
    await proves("directory-order", (run) =>
      one(
        run,
        (trace) =>
          void trace
            .object("dir", "/data")
            .call("getdents64", listing(run === 0 ? ["a", "b", "c"] : ["c", "a", "b"])),
      ),
    );
  });

  it("recordings", async () => {
    await proves("recordings", (run) =>
      one(
        run,
        (trace) =>
          void trace
            .object("dir", "/data")
            .call("getdents64", listing(run === 0 ? ["a"] : ["a", "a.trace"])),
      ),
    );
  });

  it("synonyms", async () => {
    await proves("synonyms", (run) =>
      one(run, (trace) => {
        trace.object("file", "/data");
        if (run === 0) trace.call("openat", open("/data", 0, 3, 1));
        else
          trace.call("open", {
            args: [0x1000, 0, 0],
            ret: 3,
            captures: [[0, "in", 0x1000, "/data\0"]],
            refs: [
              ["cwd", -100, 0],
              ["ret", 3, 1],
            ],
          });
      }),
    );
  });

  it("random", async () => {
    await proves("random", (run) =>
      one(
        run,
        (trace) =>
          void trace.call("getrandom", {
            args: [0x3000, 4, 0],
            ret: 4,
            captures: [[0, "out", 0x3000, `abc${run}`]],
          }),
      ),
    );
  });

  it("places", async () => {
    await proves("places", (run) => {
      const home = ["/home/ann", "/home/bob"][run] ?? "";
      return one(
        run,
        (trace) => {
          trace.object("file", `${home}/.config`).call("openat", open(`${home}/.config`, 0, 3, 1));
        },
        { env: [`HOME=${home}`], cwd: `${home}/work` },
      );
    });
  });

  it("session", async () => {
    await proves("session", (run) =>
      one(run, () => {}, { env: ["HOME=/root", `SHLVL=${run + 1}`] }),
    );
  });

  it("session: whether the directory is still there in which the shell was before", async () => {
    const looks = (path: string, call: "stat" | "chdir") => (run: number) =>
      one(
        run,
        (trace) => {
          const named = `${path}${run}`;
          trace.call(call, { args: [0x1000], captures: [[0, "in", 0x1000, `${named}\0`]] });
        },
        { env: [`OLDPWD=/before${run}`] },
      );
    await proves("session", looks("/before", "stat"));
    expect((await compare(looks("/before", "chdir"))).verdict).toBe("different");
    expect((await compare(looks("/other", "stat"))).verdict).toBe("different");
  });

  it("numbers-in-text: a program's own process id, and the time", async () => {
    await proves("numbers-in-text", (run) =>
      one(
        run,
        (trace) => {
          const text = `2026-01-0${run + 1} 10:11:1${run} prog[${4711 + run}]: at 0x7f00123${run}abc, done in ${run + 1}.5 ms\n`;
          trace.object("file", "/var/log/prog").call("write", {
            args: [3, 0x3000, text.length],
            ret: text.length,
            captures: [[1, "in", 0x3000, text]],
            refs: [[0, 3, 1]],
          });
        },
        { pid: 4711 + run },
      ),
    );
  });

  it("numbers that mean something are no rule's", async () => {
    const result = await compare((run) =>
      one(run, (trace) => {
        const text = `total ${run + 7}\n`;
        trace.object("file", "/out").call("write", {
          args: [3, 0x3000, text.length],
          ret: text.length,
          captures: [[1, "in", 0x3000, text]],
          refs: [[0, 3, 1]],
        });
      }),
    );
    expect(result.differences[0]?.aspects[0]?.lines).toEqual(["-total 7", "+total 8"]);
  });

  it("signals", async () => {
    await proves("signals", (run) =>
      one(run, (trace) => void (run === 1 && trace.event("signal", { code: 17, args: [1, 0, 1] }))),
    );
  });
});

/** Calls that only one of the runs makes. */
const extra =
  (name: string, spec: Parameters<TextTrace["call"]>[1] = {}) =>
  (run: number) =>
    one(run, (trace) => void (run === 1 && trace.call(name, spec)));

describe("rules that set calls aside", () => {
  for (const [rule, call] of [
    ["scheduler", "sched_yield"],
    ["memory", "brk"],
    ["readiness", "wait4"],
    ["usage", "getrusage"],
    ["times", "clock_gettime"],
    ["wake-ups", "eventfd2"],
    ["ports", "getsockname"],
  ] as const) {
    it(rule, async () => {
      await proves(rule, extra(call));
    });
  }
});

describe("rules of what the system chose", () => {
  it("addresses", async () => {
    await proves("addresses", (run) =>
      one(
        run,
        (trace) =>
          void trace
            .call("munlockall")
            .call("get_kernel_syms", { args: [0x7f00_0000_0000 + run * 4096] }),
      ),
    );
  });

  it("descriptors", async () => {
    await proves("descriptors", (run) =>
      one(
        run,
        (trace) =>
          void trace
            .object("file", "/data")
            .call("fsync", { args: [3 + run], refs: [[0, 3 + run, 1]] }),
      ),
    );
  });

  it("ports that the kernel chose", async () => {
    await proves("ports", (run) =>
      one(run, (trace) => {
        const address = Buffer.from([2, 0, 200 + run, 7, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        trace.object("socket", "socket:[9]", "TCP").call("accept4", {
          args: [3, 0x4000, 0x5000, 0],
          ret: 5,
          captures: [[1, "out", 0x4000, address]],
          refs: [[0, 3, 1]],
        });
      }),
    );
  });

  it("ports that the kernel chose and a program then names", async () => {
    for (const call of ["accept", "getsockname"]) {
      await proves("ports", (run) => {
        const port = String(51_207 + run);
        const address = Buffer.from([2, 0, 200, 7 + run, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        return one(run, (trace) => {
          trace
            .object("socket", "socket:[9]", "TCP")
            .call(call, {
              args: [3, 0x4000, 0x5000],
              captures: [[1, "out", 0x4000, address]],
              refs: [[0, 3, 1]],
            })
            .event("exec", {
              captures: [
                [0, "in", 0, "/bin/handle"],
                [1, "in", 0, `handle\0--peer=127.0.0.1:${port}\0`],
                [2, "in", 0, `REMOTE_PORT=${port}\0`],
                [3, "in", 0, "/srv"],
              ],
            });
        });
      });
    }
  });

  it("short-sleeps, and only short ones", async () => {
    const sleep = (millis: number) =>
      extra("nanosleep", {
        args: [0x6000, 0],
        captures: [[0, "in", 0x6000, pack([8, 0], [8, millis * 1e6])]],
      });
    await proves("short-sleeps", sleep(5));
    expect((await compare(sleep(200))).verdict).toBe("different");
  });

  it("sleeps whose length a clock decided, or the end of the program", async () => {
    const sleeps =
      (length: (run: number) => number, isCut = false) =>
      (run: number) =>
        one(run, (trace) => {
          const captures = [[0, "in", 0x6000, pack([8, 0], [8, length(run)])]] as const;
          trace.call("nanosleep", { args: [0x6000, 0], captures });
          if (isCut && run === 1)
            trace.call("nanosleep", { args: [0x6000, 0], captures, flags: NO_RETURN });
        });
    await proves(
      "short-sleeps",
      sleeps((run) => 150_910_000 + 10_000 * run),
    );
    await proves(
      "short-sleeps",
      sleeps(() => 200_000_000, true),
    );
    expect((await compare(sleeps((run) => (2 + run) * 1e8))).verdict).toBe("different");
  });

  it("the time at which a sleep ends, and not how many there are", async () => {
    const until = (times: (run: number) => number) => (run: number) =>
      one(run, (trace) => {
        for (let k = 0; k < times(run); k++) {
          trace.call("clock_nanosleep", {
            ...{ args: [1, 1, 0x6000, 0], start: 1e9 * (k + 1), end: 1e9 * (k + 1) + 4e8 },
            captures: [[2, "in", 0x6000, pack([8, 100 + run], [8, 0])]],
          });
        }
      });
    await proves(
      "times",
      until(() => 1),
    );
    expect((await compare(until((run) => 1 + run))).verdict).toBe("different");
  });

  it("clocks of threads, and no other clocks", async () => {
    const timer = (clock: (run: number) => number) => (run: number) =>
      one(run, (trace) => {
        const event = pack([8, 0], [4, 34], [4, 0], [8, 0], [8, 0]);
        trace.call("timer_create", {
          args: [clock(run), 0x6000, 0x7000],
          captures: [
            [1, "in", 0x6000, event],
            [2, "out", 0x7000, pack([4, 0])],
          ],
        });
      });
    await proves(
      "pids",
      timer((run) => -246_354 + 8 * run),
    );
    expect((await compare(timer((run) => run))).verdict).toBe("different");
  });

  it("System V ids, and where a program writes them", async () => {
    const shared = (size: (run: number) => number) => (run: number) =>
      one(run, (trace) => {
        const id = 20_807_683 + run;
        trace.object("file", "/srv/state");
        trace.call("shmget", { args: [0, size(run), 0o1600], ret: id });
        trace.call("shmat", { args: [id, 0, 0], ret: 0x7000_0000 + 0x1000 * run });
        const text = `id ${id}\n`;
        trace.call("write", {
          args: [3, 0x3000, text.length],
          ret: text.length,
          captures: [[1, "in", 0x3000, text]],
          refs: [[0, 3, 1]],
        });
      });
    await proves(
      "inodes",
      shared(() => 56),
    );
    expect((await compare(shared((run) => 56 + run))).verdict).toBe("different");
  });

  it("sockets at temporary paths, and no other path", async () => {
    const binds = (path: (run: number) => string) => (run: number) =>
      one(run, (trace) => {
        const address = Buffer.concat([pack([2, 1]), Buffer.from(`${path(run)}\0`)]);
        trace.object("socket", "socket:[9]", "UNIX-STREAM").call("bind", {
          args: [3, 0x4000, address.length],
          captures: [[1, "in", 0x4000, address]],
          refs: [[0, 3, 1]],
        });
      });
    await proves(
      "temp-names",
      binds((run) => ["/tmp/bus-PGGp085dAn", "/tmp/bus-7jFm4uVgMB"][run] ?? ""),
    );
    for (const word of [
      ["socket0", "socket1"],
      ["system", "session"],
    ]) {
      const result = await compare(binds((run) => `/run/bus/${word[run]}`));
      expect(result.verdict, word.join()).toBe("different");
    }
  });

  it("kernel-files", async () => {
    await proves("kernel-files", (run) =>
      one(run, (trace) => {
        const text = `load ${run + 5}\n`;
        trace.object("file", "/proc/loadavg").call("read", {
          args: [3, 0x3000, 64],
          ret: text.length,
          captures: [[1, "out", 0x3000, text]],
          refs: [[0, 3, 1]],
        });
      }),
    );
  });

  it("streams: what a standard stream has in common with the shell's", async () => {
    await proves("streams", (run) =>
      one(run, (trace) => {
        const fcntl = {
          args: [2, 3],
          ret: run === 0 ? 0x8001 : 0x8401,
          refs: [[0, 2, 1]],
        } as const;
        trace.object("file", "/tmp/stderr").call("fcntl", fcntl);
      }),
    );
  });

  it("streams: their sizes, also where fstat is newfstatat with an empty path", async () => {
    await proves("streams", (run) =>
      one(run, (trace) => {
        trace.object("file", "/tmp/stdout").call("newfstatat", {
          args: [1, 0x1000, 0x2000, 0x1000],
          captures: [
            [1, "in", 0x1000, "\0"],
            [2, "out", 0x2000, stat(117 + 17 * run, 7, 1e9)],
          ],
          refs: [[0, 1, 1]],
        });
      }),
    );
  });

  it("journals of SQLite", async () => {
    await proves("journals", (run) =>
      one(run, (trace) => {
        trace.object("file", "/t.db-journal").call("pwrite64", {
          args: [3, 0x3000, 4, 0],
          ret: 4,
          captures: [[1, "in", 0x3000, `sal${run}`]],
          refs: [[0, 3, 1]],
        });
      }),
    );
  });

  it("repeats: the same question once more", async () => {
    const limit = {
      args: [0, 7, 0, 0x7000],
      captures: [[3, "out", 0x7000, pack([8, 64], [8, 64])]],
    } as const;
    await proves("repeats", (run) =>
      one(run, (trace) => {
        trace.call("prlimit64", limit).call("sync");
        if (run === 1) trace.call("prlimit64", limit);
      }),
    );
  });

  it("probing for a library that is found in the end", async () => {
    const probe = (path: string, ret: number) =>
      ({
        args: [-100, 0x1000, 0x80000, 0],
        ret,
        captures: [[1, "in", 0x1000, `${path}\0`]],
        refs: [["cwd", -100, 0]],
      }) as const;
    await proves("probing", (run) =>
      one(run, (trace) => {
        if (run === 1) trace.call("openat", probe("/opt/lib/libx.so.1", -2));
        trace.event("map", {
          args: [0x7f0000, 4096, 0, 5, 9, 1],
          captures: [
            [0, "in", 0, "/usr/lib/libx.so.1"],
            [2, "in", 0, "h".repeat(32)],
          ],
        });
      }),
    );
  });

  it("unread-input", async () => {
    await proves("unread-input", (run) =>
      one(run, (trace) => {
        trace.object("pipe", "pipe:[5]");
        if (run === 1) trace.call("dup2", { args: [5, 0], refs: [[0, 5, 1]] });
      }),
    );
  });
});

describe("threads and children", () => {
  /** Two threads of one process; `write` says which of them does what. */
  const threads =
    (write: (trace: TextTrace, threads: readonly [number, number]) => void) => (run: number) => {
      const trace = new TextTrace()
        .meta("data", "all")
        .thread(1, 1, 100, 100)
        .thread(1, 2, 101, 100, 0, 0)
        .object("dir", "/srv")
        .object("file", "/one")
        .object("file", "/two")
        .event("task", { args: [0, 0] })
        .event("task", { thread: 1, args: [1, 0x10000] });
      write(trace, run === 0 ? [0, 1] : [1, 0]);
      return trace.event("exit", { args: [1, 0, 0, 0] });
    };
  const fsync = (object: number, thread: number) =>
    ({ thread, args: [2 + object], refs: [[0, 2 + object, object]] }) as const;

  it("pools: another thread does the work", async () => {
    await proves(
      "pools",
      threads(
        (trace, [first, second]) =>
          void trace.call("fsync", fsync(1, first)).call("fsync", fsync(2, second)),
      ),
    );
  });

  it("a race on one file is told", async () => {
    const write = (text: string, thread: number) =>
      ({
        thread,
        args: [3, 0x3000, 1],
        ret: 1,
        captures: [[1, "in", 0x3000, text]],
        refs: [[0, 3, 1]],
      }) as const;
    const result = await compare((run) =>
      threads((trace, [first, second]) => {
        const order = run === 0 ? ["a", "b"] : ["b", "a"];
        trace.call("pwrite64", { ...write(order[0] ?? "", first), args: [3, 0x3000, 1, 0] });
        trace.call("pwrite64", { ...write(order[1] ?? "", second), args: [3, 0x3000, 1, 0] });
      })(run),
    );
    expect(result.verdict).toBe("different");
    expect(result.firstCause?.object).toBe("/one");
  });

  it("repeats: a thread looks something up once more, in a file that is mapped as well", async () => {
    const looks = (mapped: boolean, written = false) =>
      threads((trace, [first]) => {
        const refs = [[0, 3, 1]] as const;
        const text = (side: "in" | "out") => [[1, side, 0x3000, "class"]] as const;
        if (mapped)
          trace.call("mmap", { args: [0, 4096, 1, 1, 3, 0], ret: 0x7000_0000, refs: [[4, 3, 1]] });
        if (written)
          trace.call("pwrite64", { args: [3, 0x3000, 5, 0], ret: 5, refs, captures: text("in") });
        const read = { args: [3, 0x3000, 5, 0], ret: 5, refs, captures: text("out") } as const;
        trace.call("pread64", read);
        if (first === 1) trace.call("pread64", { ...read, thread: 1, args: [3, 0x3000, 5, 64] });
      });
    await proves("repeats", looks(true));
    expect((await compare(looks(false))).verdict).toBe("different");
    expect((await compare(looks(true, true))).verdict).toBe("different");
  });

  it("scheduler: a thread that comes to its name before its process runs another program", async () => {
    const naming = (option: number) =>
      threads((trace, [first]) => {
        trace.call("sync");
        if (first === 0) return;
        const captures = [[1, "in", 0x3000, "worker\0"]] as const;
        trace.call("prctl", { thread: 1, args: [option, 0x3000], captures });
      });
    await proves("scheduler", naming(15));
    expect((await compare(naming(38))).verdict).toBe("different");
  });

  it("what another thread found in a directory is compared", async () => {
    const lists = (object: number, thread: number, run: number) =>
      ({ ...listing([`old${run}`]), thread, refs: [[0, 3, object]] }) as const;
    const result = await compare((run) =>
      threads((trace, [first, second]) => {
        trace.call("getdents64", lists(1, second, run));
        trace.call("getdents64", lists(2, first, run));
      })(run),
    );
    const kinds = result.differences.map(({ kind, object }) => `${kind} ${object}`);
    expect(kinds).toEqual(["changed /one", "changed /two"]);
  });

  it("what a thread does that has waited comes behind what others did until then", async () => {
    const result = await compare((run) =>
      threads((trace) => {
        trace.call("fsync", fsync(1, 0)).call("fsync", fsync(2, 0));
        if (run === 1) trace.call("vhangup", { thread: 1 });
        trace.call("sync", { thread: 1 });
      })(run),
    );
    const places = result.differences.map(({ verb, at }) => `${verb} ${at}`);
    expect(places).toEqual(["vhangup 3.5"]);
  });

  it("what threads do to temporary files comes in any order, and to one of them in this order", async () => {
    const names = [
      ["/tmp/ccgqGEZC", "/tmp/cc9Kd2Xy"],
      ["/tmp/ccA8s7Qw", "/tmp/ccPo3Z1b"],
    ];
    /** The steps for each of two files; in the first run one thread does them all. */
    const pool = (steps: (run: number) => readonly string[]) =>
      compare((run) =>
        threads((trace, workers) => {
          const paths = names[run] ?? [];
          for (const path of paths) trace.object("file", path);
          for (const step of steps(run)) {
            const [file, what] = [Number(step[0]), step.slice(1)];
            const thread = run === 0 ? 0 : (workers[file] ?? 0);
            const refs = [[0, 3, 3 + file]] as const;
            const created = open(paths[file] ?? "", O_RDWR_CREAT_EXCL, 3, 3 + file);
            if (what === "open") trace.call("openat", { ...created, thread });
            if (what === "fsync") trace.call("fsync", { thread, refs, args: [3] });
            if (what === "fchmod") trace.call("fchmod", { thread, refs, args: [3, 0o600] });
          }
        })(run),
      );
    const all = ["0open", "0fsync", "0fchmod", "1open", "1fsync", "1fchmod"];
    const mixed = ["0open", "1open", "0fsync", "1fsync", "0fchmod", "1fchmod"];
    expect((await pool((run) => (run === 0 ? all : mixed))).verdict).toBe("same");
    const swapped = ["0open", "1open", "0fchmod", "1fchmod", "0fsync", "1fsync"];
    expect((await pool((run) => (run === 0 ? all : swapped))).verdict).toBe("different");
  });

  /** A parent with two children at a time, which does two things in this order or that. */
  const parent = (run: number) => {
    const trace = new TextTrace()
      .meta("data", "all")
      .thread(1, 1, 100, 100)
      .thread(2, 1, 101, 101, 0, 1)
      .thread(3, 1, 102, 102, 0, 2)
      .object("dir", "/srv")
      .object("file", "/one")
      .object("file", "/two")
      .event("task", { args: [0, 0] })
      .event("task", { thread: 1, args: [1, 0] })
      .event("task", { thread: 2, args: [1, 0] });
    for (const object of run === 0 ? [1, 2] : [2, 1]) trace.call("fsync", fsync(object, 0));
    for (const thread of [1, 2, 0]) trace.event("exit", { thread, args: [1, 0, 0, 0] });
    return trace;
  };

  it("what a child does first comes behind its start", async () => {
    const result = await compare((run) => {
      const argv = ["prog", String(run)];
      const trace = one(run, (parent) => void parent.thread(2, 1, 500, 500, 0, 2), { argv });
      trace.event("task", { thread: 1, args: [1, 0] });
      if (run === 1) trace.call("sync", { thread: 1 });
      return trace.event("exit", { thread: 1, args: [1, 0, 0, 0] });
    });
    expect(result.differences.map(({ verb }) => verb)).toEqual(["exec", "sync"]);
    expect(result.firstCause?.summary).toMatch(/argument 1 is 0 in A, 1 in B/);
  });

  it("order, where children run side by side", async () => {
    await proves("order", parent);
  });
});

describe("a project", () => {
  const writes = (path: string) => (run: number) =>
    one(run, (trace) => {
      const text = `line ${run}\n`;
      trace.object("file", path).call("write", {
        args: [3, 0x3000, text.length],
        ret: text.length,
        captures: [[1, "in", 0x3000, text]],
        refs: [[0, 3, 1]],
      });
    });

  it("ignores paths by pattern", async () => {
    expect(
      (await compare(writes("/var/log/x/y.log"), { ignorePaths: ["/var/log/**"] })).verdict,
    ).toBe("same");
    expect((await compare(writes("/var/lib/x"), { ignorePaths: ["/var/log/**"] })).verdict).toBe(
      "different",
    );
  });

  it("ignores variables and calls", async () => {
    const env = (run: number) => one(run, () => {}, { env: ["HOME=/root", `BUILD_ID=${run}`] });
    expect((await compare(env)).starts[0]?.aspects).toEqual([
      { what: "variable BUILD_ID", a: "0", b: "1" },
    ]);
    expect((await compare(env, { ignoreVariables: ["BUILD_ID"] })).verdict).toBe("same");
    const call = (run: number) => one(run, (trace) => void (run === 1 && trace.call("sync")));
    expect((await compare(call)).verdict).toBe("different");
    expect((await compare(call, { ignoreCalls: ["sync"] })).verdict).toBe("same");
  });
});

describe("events that differ", () => {
  it("are told with both results", async () => {
    const result = await compare((run) =>
      one(run, (trace) => {
        trace.object("file", "/etc/app.conf");
        const found = open("/etc/app.conf", 0, 3, 1);
        trace.call("openat", run === 0 ? found : { ...found, ret: -2, refs: [["cwd", -100, 0]] });
      }),
    );
    expect(result.firstCause?.summary).toBe(
      "p1 prog: open /etc/app.conf gives success in A, ENOENT in B",
    );
    expect(result.firstCause?.contextB.some(({ mark }) => mark)).toBe(true);
    expect(result.summary).toBe("different: 1 difference, in 1 of 1 process");
  });

  it("a call that took longer, though it did the same", async () => {
    const slow = (nanos: readonly number[]) => (run: number) =>
      one(run, (trace) => {
        const start = 10_000_000;
        trace
          .object("file", "/data")
          .call("fsync", { args: [3], start, end: start + (nanos[run] ?? 0), refs: [[0, 3, 1]] });
      });
    expect((await compare(slow([1e6, 400e6]))).firstCause?.summary).toMatch(
      /fsync \/data takes 1 ms in A, 400 ms in B/,
    );
    expect((await compare(slow([1e6, 100e6]))).verdict).toBe("same");
    expect((await compare(slow([200e6, 550e6]))).verdict).toBe("same");
  });

  it("the order of calls of a process that is alone", async () => {
    const result = await compare((run) =>
      one(run, (trace) => {
        trace.object("file", "/data");
        const steps = [
          () => trace.call("fsync", { args: [3], refs: [[0, 3, 1]] }),
          () =>
            trace.call("unlink", {
              args: [0x1000],
              captures: [[0, "in", 0x1000, "/gone\0"]],
              refs: [["cwd", -100, 0]],
            }),
        ];
        for (const step of run === 0 ? steps : steps.reverse()) step();
      }),
    );
    expect(result.differences.map(({ kind }) => kind)).toEqual(["moved"]);
  });
});
