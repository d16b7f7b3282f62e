/** Seccomp profiles as OCI runtimes (runc, crun, Docker, Kubernetes) read them. */

import { constant } from "../../decode/flags.js";
import { NAMES, X86_64 } from "../../decode/names.generated.js";
import { SYSCALLS } from "../../decode/tables.generated.js";
import { choiceOf, choiceTests, choosesBy, freeChoices } from "../choices.js";
import type { Spec } from "../model.js";
import type { ArgumentTest } from "../policy.js";
import {
  callsOf,
  type Exported,
  type ExportOptions,
  judgeAll,
  socketKinds,
  type Target,
  unionRemark,
} from "./target.js";

/** Calls that the runtime itself makes between loading the filter and the program's first instruction. */
const RUNTIME: Readonly<Record<string, readonly string[]>> = {
  none: [],
  runc: words(`capget capset chdir close close_range dup3 epoll_create1 epoll_ctl epoll_pwait eventfd2
    execve exit exit_group faccessat2 fchdir fchown fcntl fstat fstatfs futex getdents64 getcwd getgid geteuid getegid
    getpid getppid gettid getuid ioctl lseek madvise mmap mprotect munmap nanosleep newfstatat openat openat2 pipe2
    prctl pread64 read readlinkat rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield setgid
    setgroups setsid setuid sigaltstack statfs statx tgkill uname unlinkat wait4 waitid write`),
  crun: words(`capget capset chdir close close_range dup2 dup3 execve exit exit_group fchdir fcntl fstat futex
    getdents64 getpid gettid ioctl mmap mprotect munmap newfstatat openat openat2 prctl pread64 read readlinkat
    rt_sigaction rt_sigprocmask rt_sigreturn setgid setgroups setsid setuid statx umask write`),
};

function words(text: string): string[] {
  return text.split(/\s+/);
}

/** From this kernel version on programs know how to do without a call. */
const OPTIONAL_SINCE = 4.05;
const ENOSYS = 38;
const EPERM = 1;

interface Argument {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: string;
}

interface Rule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly Argument[];
}

export const ociSeccomp: Target = {
  name: "oci-seccomp",
  summary: "seccomp profile for runc, crun, Docker and Kubernetes (JSON)",
  perRole: false,
  export: exportSeccomp,
};

function exportSeccomp(spec: Spec, options: ExportOptions): Exported {
  const granted = callsOf(spec);
  const own = RUNTIME[options.base] ?? [];
  const isKnown = (name: string) => options.known?.has(name) ?? true;
  const kinds = socketKinds(spec);
  const chosen = choicesOf(spec).filter(({ call }) => isKnown(call) && !own.includes(call));
  const isHeld = (name: string) => isHeldByChoice(name) && !own.includes(name);
  const allowed = [...new Set([...granted, ...own])]
    .filter((name) => isKnown(name) && name !== "socket" && !isHeld(name))
    .sort();
  const free = granted.filter((name) => isKnown(name) && isHeld(name)).flatMap(freeRules);
  const looked = new Set(["socket", ...allowed, ...[...free, ...chosen].map(({ call }) => call)]);
  const old = olderCalls().filter((name) => !looked.has(name) && isKnown(name));
  const rules: Rule[] = [
    { names: allowed, action: "SCMP_ACT_ALLOW" },
    ...kinds.map((kind) => ({
      names: ["socket"],
      action: "SCMP_ACT_ALLOW",
      args: socketArguments(kind),
    })),
    ...[...free, ...chosen]
      .filter(({ call }) => isHeld(call))
      .map(({ call, tests }) => ({
        names: [call],
        action: "SCMP_ACT_ALLOW",
        ...(tests.length > 0 && { args: tests.map(argumentOf) }),
      })),
    // A denied call that programs have always had fails as forbidden; a newer one as missing, so that they fall back.
    { names: old, action: "SCMP_ACT_ERRNO", errnoRet: EPERM },
  ];
  const profile = {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: ENOSYS,
    architectures: ["SCMP_ARCH_X86_64"],
    syscalls: rules.filter(({ names }) => names.length > 0),
  };
  const unknown = granted.filter((name) => !isKnown(name));
  return {
    text: `${JSON.stringify(profile, undefined, 2)}\n`,
    judged: judgeAll(spec, ({ verb, object }) => {
      if (verb !== "syscall")
        return ["lost", "a seccomp filter sees no paths and addresses: nothing holds them back"];
      const name = object.split("(")[0] ?? "";
      if (!isKnown(name)) return ["lost", "the installed libseccomp does not know the call"];
      const isChoice = choosesBy(name) !== undefined;
      return isChoice && !isHeld(name)
        ? ["widened", "whatever the call chooses: a profile cannot leave some out"]
        : ["kept"];
    }),
    remarks: [
      ...unionRemark(spec),
      ...(own.length > 0
        ? [
            `${options.base} itself needs ${own.filter((name) => !granted.includes(name)).length} more calls, which are allowed too (--base=none leaves them out)`,
          ]
        : []),
      ...(unknown.length > 0
        ? [`left out, since libseccomp does not know them: ${unknown.join(", ")}`]
        : []),
      ...(options.known === undefined
        ? ["names were not checked: install seccomp (scmp_sys_resolver)"]
        : []),
    ],
  };
}

interface ChosenRule {
  readonly call: string;
  readonly tests: readonly ArgumentTest[];
}

/** Whether a profile can say what comes with a call that chooses: each argument is compared with one value. */
function isHeldByChoice(name: string): boolean {
  const free = freeChoices(name);
  return free?.every((tests) => tests.every(([, is]) => is === "eq")) === true;
}

/** Rules for what comes with the call itself. */
function freeRules(call: string): ChosenRule[] {
  return (freeChoices(call) ?? []).map((tests) => ({ call, tests }));
}

/** What calls of any role were granted to choose. */
function choicesOf(spec: Spec): ChosenRule[] {
  const objects = new Set(
    spec.roles.flatMap(({ grants }) =>
      grants.flatMap(({ verb, object }) => (verb === "syscall" ? [object] : [])),
    ),
  );
  return [...objects].sort().flatMap((object) => {
    const [call, tests] = [choiceOf(object)?.call, choiceTests(object)];
    return call === undefined || tests === undefined ? [] : [{ call, tests }];
  });
}

function argumentOf([index, , value]: ArgumentTest): Argument {
  return { index, value: 0xffff_ffff, valueTwo: value, op: "SCMP_CMP_MASKED_EQ" };
}

/** Calls of x86-64 that are older than what programs can do without. */
function olderCalls(): string[] {
  const names: string[] = [];
  for (const row of X86_64) {
    const name = row < 0 ? undefined : NAMES[row];
    const [major = "0", minor = "0"] = (SYSCALLS[row]?.since ?? "0.0").split(".");
    if (name !== undefined && Number(major) + Number(minor) / 100 < OPTIONAL_SINCE)
      names.push(name);
  }
  return names.sort();
}

const TYPE_MASK = 0xf;
const DEFAULTS: ReadonlySet<string> = new Set(["stream,tcp", "dgram,udp"]);

function socketArguments(kind: string): Argument[] {
  const [family = "*", type = "*", protocol = "*"] = kind.split(",");
  const value = (set: string, prefix: string, word: string) =>
    /^\d+$/.test(word)
      ? Number(word)
      : Number(constant(set, `${prefix}${word.toUpperCase()}`) ?? -1);
  const args: Argument[] = [];
  if (family !== "*")
    args.push({ index: 0, value: value("addr_family", "AF_", family), op: "SCMP_CMP_EQ" });
  if (type !== "*") {
    args.push({
      index: 1,
      value: TYPE_MASK,
      valueTwo: value("socket_type", "SOCK_", type),
      op: "SCMP_CMP_MASKED_EQ",
    });
  }
  // The default protocol may be named or not; anything larger (MPTCP is 262) is another one.
  if (DEFAULTS.has(`${type},${protocol}`)) {
    args.push({
      index: 2,
      value: value("socket_protocol_inet", "IPPROTO_", protocol),
      op: "SCMP_CMP_LE",
    });
  } else if (protocol !== "*") {
    args.push({
      index: 2,
      value: value("socket_protocol_inet", "IPPROTO_", protocol),
      op: "SCMP_CMP_EQ",
    });
  }
  return args;
}
