/** From what was tried and read to one line per topic: what it means, and the way out. */

import { getSystemErrorName } from "node:util";
import type { NativeCheck } from "../native.js";
import { humanBytes } from "../report/units.js";
import type { MachineFacts } from "./facts.js";

/** `ok`: works. `note`: works, and there is something to know. `bad`: recording or replay does not work without it. */
export type Verdict = "ok" | "note" | "bad";

export interface Finding {
  readonly topic: string;
  readonly verdict: Verdict;
  readonly text: string;
  /** The way out. */
  readonly fix?: string;
}

/** A test recording: how it went, or why it failed. */
export type Trial = ({ readonly events: number; readonly replay: ReplayTrial } & Took) | Failed;

/** A test replay of that. */
export type ReplayTrial = Took | Failed;

interface Took {
  readonly millis: number;
}

interface Failed {
  readonly message: string;
  readonly hint: string | undefined;
}

export function findings(
  facts: MachineFacts,
  checks: readonly NativeCheck[],
  trial: Trial,
): Finding[] {
  const errors = new Map(checks.map((check) => [check.name, check]));
  const failed = (name: string): string | undefined => {
    const check = errors.get(name);
    if (check === undefined) return "not tried";
    return check.errno === 0 ? undefined : errorName(check.errno);
  };
  return [
    trialFinding(trial),
    ...replayFinding(trial),
    ...tracerFinding(facts),
    ptraceFinding(facts, failed),
    scopeFinding(facts),
    memoryFinding(failed),
    seccompFinding(facts, failed),
    containerFinding(facts),
    procFinding(facts, failed),
    kernelFinding(facts, failed),
    cpuFinding(facts),
    diskFinding(facts),
    ...extraFindings(errors, failed),
  ];
}

type ErrorOf = (name: string) => string | undefined;

function errorName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`;
  }
}

function trialFinding(trial: Trial): Finding {
  const topic = "recording";
  if ("events" in trial) {
    const text = `works: a test program gave ${trial.events} events in ${trial.millis} ms`;
    return { topic, verdict: "ok", text };
  }
  // The general way out is this command; here the other lines are it.
  const isGeneral = trial.hint === undefined || trial.hint.includes("trace doctor");
  const fix = isGeneral ? "the lines below say what is missing" : (trial.hint ?? "");
  return { topic, verdict: "bad", text: `does not work: ${trial.message}`, fix };
}

function replayFinding(trial: Trial): Finding[] {
  if (!("events" in trial)) return [];
  const topic = "replay";
  const { replay } = trial;
  if ("millis" in replay) {
    const text = `works: the test program was replayed in ${replay.millis} ms, without a difference`;
    return [{ topic, verdict: "ok", text }];
  }
  const { message, hint } = replay;
  const fix = hint === undefined ? {} : { fix: hint };
  return [{ topic, verdict: "bad", text: `does not work: ${message}`, ...fix }];
}

function ptraceFinding(facts: MachineFacts, failed: ErrorOf): Finding {
  const error = failed("fork") ?? failed("ptrace");
  const topic = "ptrace";
  if (error === undefined) return { topic, verdict: "ok", text: "a child can be traced" };
  const text = `a child cannot be traced (${error})`;
  return { topic, verdict: "bad", text, fix: ptraceFix(facts) };
}

function ptraceFix(facts: MachineFacts): string {
  if (facts.tracer !== undefined) return `run trace outside of ${facts.tracer.name}`;
  if (facts.container === undefined) {
    return "look at ptrace_scope below, and at the security modules of this system";
  }
  return "start the container with: --cap-add=SYS_PTRACE, or --security-opt seccomp=unconfined";
}

const scopes = [
  "processes of the same user can be traced",
  "only own children can be traced, which is enough",
  "only with CAP_SYS_PTRACE",
  "nobody can trace anything until the next boot",
];

function scopeFinding(facts: MachineFacts): Finding {
  const { ptraceScope: scope } = facts;
  const topic = "ptrace_scope";
  if (scope === undefined) return { topic, verdict: "ok", text: "no restriction (no Yama)" };
  const text = `${scope}: ${scopes[scope] ?? "unknown value"}`;
  if (scope <= 1 || (scope === 2 && facts.canPtraceAll)) return { topic, verdict: "ok", text };
  const fix =
    scope === 2
      ? "run as root, or: sudo sysctl kernel.yama.ptrace_scope=1"
      : "set kernel.yama.ptrace_scope=1 in /etc/sysctl.d and restart the machine";
  return { topic, verdict: "bad", text, fix };
}

function memoryFinding(failed: ErrorOf): Finding {
  const topic = "memory";
  const error = failed("process-vm-readv");
  if (error === undefined) {
    return { topic, verdict: "ok", text: "the memory of a child can be read (process_vm_readv)" };
  }
  const fallback = failed("proc-mem") === undefined;
  return {
    topic,
    verdict: "bad",
    text: `process_vm_readv fails (${error})${fallback ? ", /proc/PID/mem works" : ""}`,
    fix: "containers: --cap-add=SYS_PTRACE; else allow process_vm_readv in the seccomp profile",
  };
}

function seccompFinding(facts: MachineFacts, failed: ErrorOf): Finding {
  const topic = "seccomp";
  const error = failed("seccomp-filter");
  if (error !== undefined) {
    return {
      topic,
      verdict: "note",
      text: `no filter can be set (${error}): every call stops the program twice, and nothing is skipped`,
      fix: "a kernel with CONFIG_SECCOMP_FILTER makes recording faster",
    };
  }
  const traced = failed("ptrace") === undefined ? failed("seccomp-trace") : undefined;
  if (traced !== undefined) {
    return {
      topic,
      verdict: "note",
      text: `a filtered call does not stop (${traced}): a profile around this process decides first`,
      fix: "containers: --security-opt seccomp=unconfined",
    };
  }
  if (facts.seccomp !== 2) return { topic, verdict: "ok", text: "filters work" };
  const under = "filters work; this process runs under a profile itself";
  const slow = failed("call-dispatch");
  if (slow === undefined) {
    return { topic, verdict: "ok", text: `${under}, and what that refuses is recorded too` };
  }
  return {
    topic,
    verdict: "note",
    text: `${under}, where each call stops the program twice: PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG fails (${slow})`,
    fix: "Linux 6.4 or newer, or containers with --security-opt seccomp=unconfined, make recording faster",
  };
}

function tracerFinding(facts: MachineFacts): Finding[] {
  if (facts.tracer === undefined) return [];
  const { pid, name } = facts.tracer;
  return [
    {
      topic: "tracer",
      verdict: "note",
      text: `this process is traced by ${name} (${pid}); a program can have one tracer only`,
      fix: `run trace outside of ${name}`,
    },
  ];
}

function containerFinding(facts: MachineFacts): Finding {
  const topic = "container";
  const { container } = facts;
  const who = facts.isRoot ? "as root" : "as an ordinary user";
  if (container === undefined) return { topic, verdict: "ok", text: `none; runs ${who}` };
  return { topic, verdict: "ok", text: `${container}; runs ${who}` };
}

function procFinding(facts: MachineFacts, failed: ErrorOf): Finding {
  const topic = "/proc";
  const error = failed("proc-mem");
  if (error !== undefined) {
    return {
      topic,
      verdict: "bad",
      text: `/proc/PID of a child cannot be read (${error})`,
      fix: "mount it: mount -t proc proc /proc",
    };
  }
  if (!facts.hidesProcesses)
    return { topic, verdict: "ok", text: "files of children can be looked at" };
  const text = "other users' processes are hidden (hidepid): their file names will be missing";
  return { topic, verdict: "note", text };
}

function kernelFinding(facts: MachineFacts, failed: ErrorOf): Finding {
  const topic = "kernel";
  const [major = 0, minor = 0] = facts.kernel.split(".").map(Number);
  const error = failed("syscall-info");
  if (major > 5 || (major === 5 && minor >= 3)) {
    if (error === undefined || failed("ptrace") !== undefined) {
      return { topic, verdict: "ok", text: `Linux ${facts.kernel}` };
    }
    return {
      topic,
      verdict: "bad",
      text: `Linux ${facts.kernel}, but PTRACE_GET_SYSCALL_INFO fails (${error})`,
      fix: "emulated kernels (gVisor, WSL1) do not have it; use a real one",
    };
  }
  return {
    topic,
    verdict: "bad",
    text: `Linux ${facts.kernel} is older than 5.3 (no PTRACE_GET_SYSCALL_INFO)`,
    fix: "use a newer kernel",
  };
}

function cpuFinding(facts: MachineFacts): Finding {
  const topic = "CPUs";
  const { cpus, usable } = facts;
  const text = usable === cpus ? `${cpus}` : `${usable} of ${cpus} may be used (affinity or quota)`;
  return { topic, verdict: "ok", text };
}

const LITTLE = 1 << 30;

function diskFinding(facts: MachineFacts): Finding {
  const topic = "disk";
  const { freeBytes } = facts;
  if (freeBytes === undefined) {
    return { topic, verdict: "note", text: "the free space here cannot be read" };
  }
  const text = `${humanBytes(freeBytes)} free in this folder`;
  if (freeBytes >= LITTLE) return { topic, verdict: "ok", text };
  return {
    topic,
    verdict: "note",
    text,
    fix: "record to another disk with -o, or less with --data=paths",
  };
}

function extraFindings(checks: ReadonlyMap<string, NativeCheck>, failed: ErrorOf): Finding[] {
  const other = (topic: string, name: string, good: string, bad: string, fix?: string): Finding => {
    const error = failed(name);
    if (error === undefined) return { topic, verdict: "ok", text: good };
    const note: Finding = { topic, verdict: "note", text: `${bad} (${error})` };
    return fix === undefined ? note : { ...note, fix };
  };
  const version = checks.get("landlock")?.value ?? 0;
  const counters = failed("perf-counters") === undefined ? "there" : "not there";
  return [
    other(
      "namespaces",
      "user-namespace",
      "user namespaces can be made",
      "no user namespaces; nothing here needs them yet",
    ),
    other(
      "notification",
      "seccomp-notify",
      "seccomp can ask another process",
      "no seccomp notification",
    ),
    other(
      "supervision",
      "shared-descriptors",
      "calls of a program under a policy can be answered (pidfd_getfd)",
      "calls of a program under a policy cannot be answered (pidfd_getfd)",
      "containers: --cap-add=SYS_PTRACE; else trace spec run --no-supervisor --weaker",
    ),
    other("Landlock", "landlock", `version ${version}`, "not there"),
    other(
      "emulation",
      "sysemu",
      "calls can be answered in place of the kernel (PTRACE_SYSEMU)",
      "calls cannot be answered in place of the kernel (PTRACE_SYSEMU), so nothing can be replayed",
    ),
    other(
      "signals",
      "signal-mask",
      "signals of a child can be held back (PTRACE_SETSIGMASK)",
      "signals of a child cannot be held back (PTRACE_SETSIGMASK): replay of signal handlers fails",
    ),
    other(
      "time traps",
      "tsc-trap",
      "reading the clock counter can be caught (PR_SET_TSC)",
      "the clock counter cannot be caught (PR_SET_TSC): programs that read it do not replay",
    ),
    other(
      "cpuid traps",
      "cpuid-trap",
      "cpuid can be caught (ARCH_SET_CPUID)",
      "cpuid cannot be caught here, as on many virtual machines: replay needs the same sort of CPU",
    ),
    { topic: "counters", verdict: "ok", text: `hardware counters are ${counters}, and not needed` },
  ];
}
