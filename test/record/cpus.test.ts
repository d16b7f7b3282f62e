/** What a program is told of its CPUs is what it is told without a recorder, which keeps it on one of them; and a replay runs where it has bound itself. */

import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import {
  cli,
  compile,
  firstAndLastCpu,
  folder,
  readWhole,
  record,
  recordWords,
  run,
  stateOf,
  stringOf,
} from "./support.js";

test.each([
  { options: [] },
  { options: ["--backend=eager-agent"] },
  { options: ["--backend=ptrace"] },
  { options: ["--observe"] },
  { options: ["--observe", "--backend=ptrace"] },
])("recorded with $options", async ({ options }) => {
  const program = compile("cpus", "-pthread");
  const native = await run([program]);
  expect(native).toMatchObject({ code: 0, stderr: "" });
  expect(native.stdout).toMatch(/^at first: mask( \d+)+ own( \d+)+ Cpus_allowed:/);
  const recorded = await record([program], { options });
  expect(recorded).toMatchObject({ code: 0, stderr: "", stdout: native.stdout });
  if (options.includes("--observe")) return;
  for (const backend of ["agent", "ptrace"]) {
    const words = [cli, "replay", "-q", `--backend=${backend}`, recorded.file];
    const env = stateOf(dirname(recorded.file));
    expect(await run(words, { env })).toMatchObject({ code: 0, stdout: native.stdout, stderr: "" });
  }
});

test.for([
  { words: ["sh"], isNamespace: false },
  { words: ["unshare", "-Urpf", "--mount-proc", "sh"], isNamespace: true },
])("of another process, by its number, with $words", async ({ words, isNamespace }, { skip }) => {
  const script =
    "sleep 9 & taskset -pc 0 $! | cut -d: -f2; taskset -pc $! | cut -d: -f2; taskset -pc $$ | cut -d: -f2; kill $!";
  const native = await run([...words, "-c", script]);
  skip(isNamespace && native.code !== 0, "no namespaces of users and processes can be made here");
  expect(native.stdout.trim().split("\n")).toHaveLength(4);
  const recorded = await record([...words, "-c", script]);
  expect(recorded).toMatchObject({ code: 0, stdout: native.stdout });
});

test.each([{ options: [] }, { options: ["--observe"] }])(
  "what the loader has asked is the same in all programs, recorded with $options",
  async ({ options }) => {
    // The fourth program of a loader and those after it are spared the question. getconf(1) shows what its loader was told.
    const script = "for i in 1 2 3 4 5 6 7 8; do getconf -a | grep CACHE; done";
    const native = await run(["sh", "-c", script]);
    expect(native.stdout).toMatch(/LEVEL1_DCACHE_SIZE +\d/);
    const recorded = await record(["sh", "-c", script], { options });
    expect(recorded).toMatchObject({ code: 0, stdout: native.stdout, stderr: "" });
    if (options.length > 0) return;
    const env = stateOf(dirname(recorded.file));
    const replayed = await run([cli, "replay", "-q", recorded.file], { env });
    expect(replayed).toMatchObject({ code: 0, stdout: native.stdout, stderr: "" });
    const { events } = await readWhole(recorded.file);
    const ofSame = events.filter(
      (event) => event.kind === "Exec" && stringOf(event, 0).endsWith("/getconf"),
    );
    expect(ofSame).toHaveLength(8);
    expect(ofSame[7]?.captures.length).toBeGreaterThan(ofSame[0]?.captures.length ?? 0);
  },
);

test("one that keeps what cpuid told is found again on another CPU", async ({ skip }) => {
  const [first, last] = firstAndLastCpu();
  skip(first === last, "there is one CPU");
  const dir = folder();
  const [file, env] = [join(dir, "out.trace"), stateOf(dir)];
  const words = [...recordWords(file), compile("asked_cpu")];
  const recorded = await run(["taskset", "-c", first, ...words], { env });
  expect(recorded).toMatchObject({ code: 0, stdout: "interrupted\n", stderr: "" });
  const { events } = await readWhole(file);
  expect(events.some(({ kind, args }) => kind === "Preempt" && args[0] === 0n)).toBe(true);
  const replayed = await run(["taskset", "-c", last, cli, "replay", "-q", file], { env });
  expect(replayed).toMatchObject({ code: 0, stdout: recorded.stdout, stderr: "" });
});
