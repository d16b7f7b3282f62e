/** Code in which jumps lead to the agent already takes the place of a loader's and a library's: programs notice nothing. */

import { utimesSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { coverageOf } from "../../src/trace/coverage.js";
import { compile, folder, readWhole, record, recordAndReplay } from "./support.js";

const eager = "--backend=eager-agent";
const usual = "--backend=agent";

describe("programs that are executed again and again are as without", () => {
  test.each([usual, eager])(
    "their memory, descriptors and code, while signals come: %s",
    async (backend) => {
      const { stdout, coverage } = await recordAndReplay([compile("agent_twins"), "60"], [backend]);
      expect(stdout).toBe("as without\n");
      expect(coverage.patched).toBeGreaterThan(60 * 20);
    },
    120_000,
  );

  test.each([
    "agent_registers",
    "agent_window",
    "agent_signals",
    "agent_pointers",
    "agent_code",
    "agent_maps",
  ])(
    "%s",
    async (name) => {
      const program = compile(name, "-pthread");
      const loop = `for i in 1 2 3 4 5 6 7 8; do "$0" "$1" >"$1/out" || exit 1; done`;
      const { coverage } = await recordAndReplay(
        ["/bin/sh", "-c", loop, program, folder()],
        [usual],
      );
      expect(coverage.patched).toBeGreaterThan(60);
    },
    120_000,
  );
});

test("a short program stops for its birth, its exec and its end, and for no call of its libraries", async () => {
  const loop = "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done";
  const { file, code } = await record(["/bin/sh", "-c", loop], { options: [usual] });
  expect(code).toBe(0);
  const { trace } = await readWhole(file);
  const coverage = coverageOf(trace.info);
  if (coverage === undefined) throw new Error("the trace does not tell of the agent");
  // vfork, execve and rt_sigreturn of each round; the first few programs are those that the others learn from.
  expect(coverage.trapped).toBeLessThan(3 * 200 + 150);
});

test("instructions that are answered where they trap still do in programs that begin with their own code", async () => {
  const loop = 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do "$0" || exit 1; done';
  const program = compile("agent_random", "-static-pie");
  // What has just been written is not known by its times.
  utimesSync(program, 1_000_000_000, 1_000_000_000);
  const { stdout, coverage } = await recordAndReplay(["/bin/sh", "-c", loop, program], [usual]);
  expect(coverage.patched).toBeGreaterThan(12);
  expect(stdout.trim().split("\n").length).toBe(12);
});

test("a loader that is spared as others are, and is a file that has just been written, is as its recording says", async () => {
  const loader = join(folder(), "loader");
  const program = compile("agent_random", `-Wl,--dynamic-linker=${loader}`);
  const loop =
    'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do /bin/true; done; cp -L "$1" "$2"; "$0"; "$0"';
  const argv = ["/bin/sh", "-c", loop, program, "/lib64/ld-linux-x86-64.so.2", loader];
  const { stdout } = await recordAndReplay(argv, [usual]);
  expect(stdout.trim().split("\n").length).toBe(2);
});

test("what stops one child of a process stops no later one, nor do descriptors and files that all may read", async () => {
  const argv = [compile("agent_kin"), join(folder(), "file"), "40"];
  const { stdout, coverage } = await recordAndReplay(argv, [usual]);
  expect(stdout).toBe("all the same\n");
  const stops = new Map(coverage.calls.map(({ what, count }) => [what, count]));
  // One of a closed descriptor for each.
  expect(stops.get("dup2")).toBeLessThan(50);
  expect(stops.get("mmap") ?? 0).toBeLessThan(20);
  for (const name of ["getsid", "getpgid", "dup3", "pipe", "munmap", "read"])
    expect(stops.get(name) ?? 0).toBeLessThan(5);
  await recordAndReplay(argv, [eager]);
});
