/** What the doctor says of machines that nobody has at hand. */

import { describe, expect, it } from "vitest";
import { findings, type ReplayTrial } from "../../src/doctor/checks.js";
import type { MachineFacts } from "../../src/doctor/facts.js";
import type { NativeCheck } from "../../src/native.js";

const names = [
  "fork",
  "ptrace",
  "process-vm-readv",
  "proc-mem",
  "seccomp-filter",
  "seccomp-trace",
].concat([
  "syscall-info",
  "user-namespace",
  "sysemu",
  "signal-mask",
  "tsc-trap",
  "cpuid-trap",
  "seccomp-notify",
  "call-dispatch",
  "shared-descriptors",
  "landlock",
  "perf-counters",
]);

const healthy: MachineFacts = {
  kernel: "6.1.0",
  container: undefined,
  ptraceScope: 1,
  seccomp: 0,
  noNewPrivs: false,
  isRoot: false,
  canPtraceAll: false,
  tracer: undefined,
  cpus: 4,
  usable: 4,
  hidesProcesses: false,
  freeBytes: 1 << 40,
};

function of(
  facts: Partial<MachineFacts>,
  errors: Readonly<Record<string, number>> = {},
  works = true,
  replay: ReplayTrial = { millis: 3 },
) {
  const checks: NativeCheck[] = names.map((name) => ({ name, errno: errors[name] ?? 0, value: 1 }));
  const failed = { message: "it cannot", hint: undefined };
  const trial = works ? { events: 50, millis: 5, replay } : failed;
  const found = findings({ ...healthy, ...facts }, checks, trial);
  return new Map(found.map((finding) => [finding.topic, finding]));
}

const EPERM = 1;
const EIO = 5;
const ENOSYS = 38;

describe("findings", () => {
  it("has no failure on a healthy machine", () => {
    const bad = [...of({}).values()].filter(({ verdict }) => verdict === "bad");
    expect(bad).toEqual([]);
  });

  it("says why a test replay failed, and nothing of one that was not tried", () => {
    const failed = { message: "the kernel refuses", hint: "try another" };
    expect(of({}).get("replay")?.verdict).toBe("ok");
    expect(of({}, {}, true, failed).get("replay")).toEqual({
      topic: "replay",
      verdict: "bad",
      text: "does not work: the kernel refuses",
      fix: "try another",
    });
    expect(of({}, {}, false).has("replay")).toBe(false);
  });

  it("names what replay cannot do without an ability", () => {
    const found = of({}, { sysemu: ENOSYS, "cpuid-trap": 19 });
    expect(found.get("emulation")).toMatchObject({
      verdict: "note",
      text: expect.stringContaining("ENOSYS"),
    });
    expect(found.get("cpuid traps")).toMatchObject({
      verdict: "note",
      text: expect.stringContaining("ENODEV"),
    });
    expect(found.get("time traps")?.verdict).toBe("ok");
  });

  it("leads with the test recording", () => {
    expect([...of({}, {}, false).values()][0]).toMatchObject({
      topic: "recording",
      verdict: "bad",
      fix: expect.any(String),
    });
  });

  it("blames the tracer where there is one", () => {
    const found = of(
      { tracer: { pid: 7, name: "gdb" }, container: "docker" },
      { ptrace: EPERM },
      false,
    );
    expect([...found.keys()].slice(0, 2)).toEqual(["recording", "tracer"]);
    expect(found.get("ptrace")?.fix).toBe("run trace outside of gdb");
  });

  it.each([
    ["ptrace", { container: "docker" }, { ptrace: EPERM }, /SYS_PTRACE/],
    ["ptrace_scope", { ptraceScope: 2 }, {}, /sysctl/],
    ["ptrace_scope", { ptraceScope: 3 }, {}, /restart/],
    ["memory", {}, { "process-vm-readv": EPERM }, /SYS_PTRACE/],
    ["/proc", {}, { "proc-mem": 2 }, /mount/],
    ["kernel", { kernel: "4.19.0" }, {}, /newer/],
    ["kernel", {}, { "syscall-info": ENOSYS }, /gVisor/],
  ])("%s fails with a way out", (topic, facts, errors, fix) => {
    expect(of(facts, errors).get(topic)).toMatchObject({
      verdict: "bad",
      fix: expect.stringMatching(fix),
    });
  });

  it.each([
    ["seccomp", {}, { "seccomp-filter": ENOSYS }],
    ["seccomp", { seccomp: 2 }, { "call-dispatch": EIO }],
    ["tracer", { tracer: { pid: 7, name: "gdb" } }, {}],
    ["/proc", { hidesProcesses: true }, {}],
    ["disk", { freeBytes: 1 << 20 }, {}],
    ["disk", { freeBytes: undefined }, {}],
    ["supervision", {}, { "shared-descriptors": EPERM }],
    ["Landlock", {}, { landlock: ENOSYS }],
  ])("%s is noted", (topic, facts, errors) => {
    expect(of(facts, errors).get(topic)).toMatchObject({ verdict: "note" });
  });

  it("knows that administrators may trace under ptrace_scope 2", () => {
    expect(of({ ptraceScope: 2, canPtraceAll: true }).get("ptrace_scope")?.verdict).toBe("ok");
  });
});
