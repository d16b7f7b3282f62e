/**
 * Takes out of a line what differs between any two runs of the same program: addresses, process ids,
 * clock readings, inode numbers, names of temp files, identifiers that the kernel counts up. A mask never
 * depends on which tool wrote the line, with one exception that says so.
 */
import { parseCall, type Task } from "./log.js";

interface Mask {
  readonly pattern: RegExp;
  readonly with: string;
}

const STRING = '"(?:[^"\\\\]|\\\\.)*"(?:\\.\\.\\.)?';

/** Applied to every line, in this order. */
const EVERYWHERE: readonly Mask[] = [
  { pattern: /0x[0-9a-f]{6,}/g, with: "ADDR" },
  { pattern: /\b(socket|pipe|pidfd|eventpoll|eventfd|[a-z]+):\[\d+\]/g, with: "$1:[INODE]" },
  { pattern: /\b(st_ino|d_ino|stx_ino|f_fsid|sdiag_ino|udiag_ino)=\d+/g, with: "$1=INODE" },
  { pattern: /\/#\d+>\(deleted\)/g, with: "/#INODE>(deleted)" },
  { pattern: /fx-[A-Za-z0-9]{6}/g, with: "fx-TEMP" },
  { pattern: /\b(si_[us]time)=\d+/g, with: "$1=TIME" },
  { pattern: /\b(ru_[us]time)=\{[^}]*\}/g, with: "$1=TIME" },
  { pattern: /\b(ru_(?:maxrss|minflt|majflt|nvcsw|nivcsw|inblock|oublock))=\d+/g, with: "$1=N" },
  { pattern: /\bleft (\{[^}]*\}|\d+)/g, with: "left TIME" },
  { pattern: /\btv_sec=\d{6,}/g, with: "tv_sec=TIME" },
  { pattern: /\btv_nsec=\d{4,}/g, with: "tv_nsec=TIME" },
  { pattern: /\b(st_[amc]time(?:_nsec)?|stx_[a-z]time)=[^,}]*/g, with: "$1=TIME" },
  { pattern: /\b(shm|msg|sem)_([a-z]*time)=\d+/g, with: "$1_$2=TIME" },
  { pattern: /htons\((3[2-9]|[45]\d|6[01])\d{3}\)/g, with: "htons(PORT)" },
  { pattern: /\b(nl_pid|nlmsg_pid)=-?\d+/g, with: "$1=PORT" },
  { pattern: /\b(cookie|ifi_seq|nlmsg_seq)=\d{6,}/g, with: "$1=N" },
];

/** Applied to the calls of that name only. */
const BY_NAME: readonly (Mask & { readonly name: RegExp })[] = [
  { name: /^getrandom$/, pattern: new RegExp(`^getrandom\\(${STRING}`), with: "getrandom(BYTES" },
  {
    name: /^(clock_gettime|gettimeofday|timer_gettime|timerfd_gettime|[gs]etitimer|times|getrusage|sysinfo)/,
    pattern: /\b(tv_u?n?sec|tms_\w+|uptime|loads|\w+ram|procs|free\w+|ru_\w+)=(\d+|\[[^\]]*\])/g,
    with: "$1=N",
  },
  { name: /^(time|times)$/, pattern: / = \d{4,}.*$/, with: " = TIME" },
  { name: /^(timerfd_settime|timer_settime)$/, pattern: /tv_nsec=\d{4,}/g, with: "tv_nsec=TIME" },
  { name: /^(shm|sem|msg)get$/, pattern: / = \d+$/, with: " = ID" },
  {
    name: /^(shmat|shmctl|semop|semtimedop|semctl|msgsnd|msgrcv|msgctl)$/,
    pattern: /^(\w+)\(\d+/,
    with: "$1(ID",
  },
  { name: /^(add_key|request_key|keyctl)$/, pattern: /\b\d{6,}\b/g, with: "KEY" },
  // The order of two kernel objects is that of their addresses, scrambled at boot.
  { name: /^kcmp$/, pattern: / = [12]$/, with: " = ORDER" },
  { name: /^getcpu$/, pattern: /\[\d+\]/g, with: "[CPU]" },
  {
    // The bytes of a signalfd_siginfo hold the sender's process id.
    name: /^read$/,
    pattern: new RegExp(`(anon_inode:\\[signalfd\\]>, )${STRING}`),
    with: "$1BYTES",
  },
  {
    // What has gone through an interface, also by other programs meanwhile.
    name: /^recvfrom$/,
    pattern: /\b([rt]x_packets|[rt]x_bytes|multicast)=\d+/g,
    with: "$1=N",
  },
  { name: /^bpf$/, pattern: /\b(\w*id)=\d+/g, with: "$1=N" },
];

const RETURNS_PID = new Set(
  (
    "getpid gettid getppid getpgrp getpgid getsid setsid fork vfork clone clone3 wait4 waitpid " +
    "set_tid_address fcntl"
  ).split(" "),
);
/** These may name a process outside the log: the tracer, or the session's leader. */
const MAY_BE_OUTSIDE = new Set(["getppid", "getpgrp", "getpgid", "getsid"]);
const TAKES_PID = new Set(
  (
    "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo wait4 waitpid waitid process_vm_readv " +
    "process_vm_writev prlimit64 sched_getaffinity sched_setaffinity sched_getscheduler " +
    "sched_setscheduler sched_getparam sched_setparam sched_getattr sched_setattr " +
    "sched_rr_get_interval getpgid setpgid getsid pidfd_open kcmp move_pages migrate_pages " +
    "get_robust_list getpriority setpriority ioprio_get ioprio_set ptrace perf_event_open futex capget " +
    "capset"
  ).split(" "),
);
const NUMBER = /(?<![\w.</-])\d+(?![\w.>])/g;
const PID_FIELD = /\b(\w*pid|tgid)=(\d+)/g;
const TID_FIELD = /\b(parent_tid|child_tid|ptid|ctid)=\[(\d+)\]/g;
const PROC_PATH = /\/proc\/(\d+)/g;
const OWNER = /\bF_[GS]ET(OWN|LK)/;

/** Calls that strace 6.1 has no name for. */
const NEWER_THAN_STRACE = new Set(
  (
    "cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount " +
    "lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat " +
    "removexattrat open_tree_attr file_getattr file_setattr uretprobe uprobe"
  ).split(" "),
);

/** Masks the lines of all tasks of one log. */
export function maskTasks(tasks: readonly Task[], workDir: string): Map<string, string[]> {
  const labels = new Map(tasks.map((task) => [String(task.tid), task.label]));
  const masked = new Map<string, string[]>();
  for (const task of tasks) {
    masked.set(
      task.label,
      task.lines.map((line) => maskLine(line, labels, workDir)),
    );
  }
  return masked;
}

function maskLine(line: string, labels: ReadonlyMap<string, string>, workDir: string): string {
  let text = maskPids(line.replaceAll(workDir, "/WORK"), labels);
  const name = parseCall(text)?.name;
  for (const mask of EVERYWHERE) text = text.replace(mask.pattern, mask.with);
  if (name === undefined) return text;
  for (const mask of BY_NAME) {
    if (mask.name.test(name)) text = text.replace(mask.pattern, mask.with);
  }
  return maskUnnamed(text, name);
}

/** The exception: what strace 6.1 prints as `syscall_0x1c3(...)` is compared by its result alone. */
function maskUnnamed(text: string, name: string): string {
  if (!NEWER_THAN_STRACE.has(name) && !/^syscall_0x1[cd][0-9a-f]$/.test(name)) return text;
  const result = parseCall(text)?.result ?? "";
  return `(newer than strace)(...) = ${result.replace(/ \(.*\)$/, "")}`;
}

function maskPids(line: string, labels: ReadonlyMap<string, string>): string {
  const named = (pid: string): string => labels.get(pid) ?? pid;
  let text = line
    .replace(PID_FIELD, (_, key: string, pid: string) => `${key}=${named(pid)}`)
    .replace(TID_FIELD, (_, key: string, pid: string) => `${key}=[${named(pid)}]`)
    .replace(PROC_PATH, (_, pid: string) => `/proc/${named(pid)}`)
    .replace(
      /(superseded by execve in pid )(\d+)/,
      (_, head: string, pid: string) => head + named(pid),
    );
  const call = parseCall(text);
  if (call === undefined) return text;
  let { args, result } = call;
  if (TAKES_PID.has(call.name) || OWNER.test(args)) args = args.replace(NUMBER, named);
  if (RETURNS_PID.has(call.name) && (call.name !== "fcntl" || OWNER.test(args))) {
    result = result.replace(/^\d+/, named);
    if (MAY_BE_OUTSIDE.has(call.name)) result = result.replace(/^\d+/, "OUTSIDE");
  }
  text = `${call.name}(${args}) = ${result}`;
  return text;
}
