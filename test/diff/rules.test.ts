/** Each rule takes out what it says, and only while it is on. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DiffOptions, diff } from "../../src/diff/diff.js";
import type { DiffResult } from "../../src/diff/result.js";
import { RULES, type RuleName } from "../../src/diff/rules.js";
import { pack } from "../support/batch.js";
import type { TextTrace } from "../support/text_trace.js";
import { one, open, stat } from "./written.js";

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

  it("directory-order is none of the entries'", async () => {
    const entry = (name: string, inode: number): Uint8Array =>
      Buffer.concat([pack([8, inode], [8, 1], [2, 24], [1, 8]), Buffer.from(name.padEnd(5, "\0"))]);
    const listing = (names: readonly string[]) => (run: number) =>
      one(run, (trace) => {
        const order = run === 0 ? names : [...names].reverse();
        const data = Buffer.concat(order.map((name, k) => entry(name, 10 * run + k)));
        trace.object("dir", "/data").call("getdents64", {
          args: [3, 0x3000, 4096],
          ret: data.length,
          captures: [[1, "out", 0x3000, data]],
          refs: [[0, 3, 1]],
        });
      });
    expect((await compare(listing(["a", "b", "c"]))).verdict).toBe("same");
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
    expect(result.differences[0]?.aspects[0]?.lines).toEqual(["-total 7", "+total 8", " "]);
  });

  it("signals", async () => {
    await proves("signals", (run) =>
      one(run, (trace) => void (run === 1 && trace.event("signal", { code: 17, args: [1, 0, 1] }))),
    );
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
