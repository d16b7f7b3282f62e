/** Tables against what other programs measure of the same run: strace -c, time -v, /proc/PID/fd. */

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { environment, folder, record, run } from "../record/support.js";
import { lacking } from "../support/tools.js";
import { readTable, withTrace } from "./support.js";

let program = "";

beforeAll(() => {
  program = join(folder(), "random_calls");
  const source = fileURLToPath(new URL("./programs/random_calls.c", import.meta.url));
  execFileSync("gcc", ["-O1", "-Wall", "-o", program, source]);
});

function files(): string {
  const dir = join(folder(), "files");
  mkdirSync(dir);
  return dir;
}

/** Calls and errors by syscall of a table that strace -c wrote. */
function straceCounts(text: string): Map<string, readonly [number, number]> {
  const counts = new Map<string, readonly [number, number]>();
  for (const line of text.split("\n")) {
    const found = /^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:(\d+)\s+)?([a-z_0-9]+)$/.exec(line);
    if (found === null || found[3] === "total") continue;
    counts.set(found[3] ?? "", [Number(found[1]), Number(found[2] ?? 0)]);
  }
  return counts;
}

describe("table syscall", () => {
  it.skipIf(lacking("strace"))("counts what strace -c counts", async () => {
    const log = join(folder(), "strace.txt");
    // The same seed makes the same calls, each time on files that are not there yet.
    await run(["strace", "-f", "-c", "-o", log, program, files(), "4711", "120"]);
    const { file } = await record([program, files(), "4711", "120"], { options: ["--observe"] });
    const rows = await withTrace(file, (trace) => readTable(trace, "syscall"));
    const own = new Map<string, readonly [number, number]>();
    for (const { name, err } of rows) {
      const [calls, errors] = own.get(String(name)) ?? [0, 0];
      own.set(String(name), [calls + 1, errors + (err === undefined ? 0 : 1)]);
    }
    const expected = straceCounts(readFileSync(log, "utf8"));
    expect(expected.size).toBeGreaterThan(10);
    // strace does not count calls that do not return, and counts restarted ones by their parts.
    for (const name of ["exit_group", "rt_sigreturn", "wait4", "restart_syscall"]) {
      own.delete(name);
      expected.delete(name);
    }
    expect(own).toEqual(expected);
  });
});

const burner = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";

describe("table process", () => {
  it.skipIf(lacking("time"))(
    "has the CPU time and memory that time -v shows",
    { timeout: 120_000 },
    async () => {
      const { file, stderr } = await record(["/usr/bin/time", "-v", "sh", "-c", burner], {
        options: ["--observe"],
      });
      const rows = await withTrace(file, (trace) => readTable(trace, "process"));
      const child = rows.find(({ argv }) => String(argv).startsWith("sh -c"));
      const number = (label: string) =>
        Number(new RegExp(`${label}[^:]*: ([\\d.]+)`).exec(stderr)?.[1]);
      const seconds = (value: unknown) => Number(value) / 1e9;
      // time -v shows hundredths of a second.
      expect(seconds(child?.user_time)).toBeCloseTo(number("User time"), 1);
      expect(seconds(child?.system_time)).toBeCloseTo(number("System time"), 1);
      expect(Number(child?.peak_memory) / 1024).toBe(number("Maximum resident set size"));
    },
  );
});

/** A program that says what it has open: `NUMBER KIND-AND-PLACE` lines of its own /proc/self/fd. */
const lister = `
const fs = require("node:fs");
const kept = ["/etc/passwd", "/etc/hosts"].map((path) => fs.openSync(path));
fs.closeSync(fs.openSync("/etc/group"));
const listed = fs.readdirSync("/proc/self/fd").flatMap((fd) => {
  try { return [[Number(fd), fs.readlinkSync("/proc/self/fd/" + fd)]]; } catch { return []; }
});
fs.writeSync(1, JSON.stringify(listed));
fs.closeSync(kept[0]);
`;

describe("table fd", () => {
  it("has open what /proc/PID/fd lists", async () => {
    const { file, stdout } = await record([process.execPath, "-e", lister], {
      env: environment,
      options: ["--observe"],
    });
    const listed = JSON.parse(stdout) as [number, string][];
    await withTrace(file, async (trace) => {
      const writes = await readTable(trace, "syscall", {
        columns: ["seq", "name", "fd", "time", "bytes"],
      });
      const moment = Number(
        writes.find((row) => row.name === "write" && row.fd === 1 && row.bytes === stdout.length)
          ?.time,
      );
      const fds = await readTable(trace, "fd");
      const open = fds.filter(
        (row) =>
          (row.opened === undefined || Number(row.opened) < moment) &&
          (row.closed === undefined || Number(row.closed) > moment),
      );
      const paths = new Set(open.map(({ path }) => String(path)));
      // What the program never used is not known to the trace.
      const known = listed.filter(([, path]) => fds.some((row) => row.path === path));
      expect(known.length).toBeGreaterThan(4);
      expect(known.filter(([, path]) => !paths.has(path))).toEqual([]);
      expect(paths.has("/etc/group")).toBe(false);
      const there = new Set(listed.map(([, path]) => path));
      const files = open.filter(({ kind }) => kind === "file").map(({ path }) => String(path));
      expect(files.filter((path) => !there.has(path))).toEqual([]);
    });
  });
});
