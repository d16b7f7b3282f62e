/**
 * What two runs of one program differ in without behaving differently. Each rule is a row: its name, what it takes out
 * and why, and, where that is all there is to it, the calls, arguments and members that it takes out. Rules speak of decoded
 * calls and types of the syscall table, never of text that was printed.
 *
 * `--with NAME` and `--without NAME` switch them, `[rules]` of .trace-diff.toml does for a project, and
 * `trace diff --show-canonical` prints what is left of each event.
 */

import { compileGlob } from "../query/filter/glob.js";
import type { Regex } from "../query/filter/regex.js";

export interface Rule {
  readonly name: string;
  /** What it takes out. */
  readonly what: string;
  /** Why that is no behaviour. */
  readonly why: string;
  /** Calls that are counted and not compared. */
  readonly aside?: readonly string[];
  /** Arguments that are not compared, by call: their names in the table. */
  readonly arguments?: Readonly<Record<string, readonly string[]>>;
  /** Members of structs that are not compared, by the struct's name in the table. */
  readonly members?: Readonly<Record<string, readonly string[]>>;
}

const STAT_TIMES = ["st_atime", "st_atime_nsec", "st_mtime", "st_mtime_nsec", "st_ctime"];

export const RULES = [
  {
    name: "pids",
    what: "process and thread ids stand for the processes of the trace",
    why: "the kernel hands out the next free number",
    aside: ["getpid", "gettid", "getppid", "set_tid_address", "getpgrp", "getpgid", "getsid"],
    members: { cap_user_header: ["pid"], flock: ["l_pid"], f_owner_ex: ["pid"] },
  },
  {
    name: "addresses",
    what: "addresses in the program's memory",
    why: "address space randomisation",
  },
  {
    name: "descriptors",
    what: "descriptor numbers stand for what is open on them",
    why: "which number is free depends on the order in which threads open and close",
  },
  {
    name: "ports",
    what: "ports that the kernel chose, and questions after the ends of a connection",
    why: "the next free port; what a program connects or binds to is compared",
    aside: ["getsockname", "getpeername"],
  },
  {
    name: "inodes",
    what: "inode, device and mount numbers, link counts, block counts, sizes of directories, System V ids",
    why: "they number what the system has, and say nothing of what it is",
    arguments: {
      ...{ shmat: ["shmid"], shmctl: ["shmid"], semop: ["semid"], semtimedop: ["semid"] },
      ...{ semctl: ["semid"], msgsnd: ["msqid"], msgrcv: ["msqid"], msgctl: ["msqid"] },
    },
    members: {
      stat: ["st_dev", "st_ino", "st_nlink", "st_blocks", "st_blksize"],
      compat_stat: ["st_dev", "st_ino", "st_nlink", "st_blocks", "st_blksize"],
      compat_stat64: ["st_dev", "__st_ino", "st_ino", "st_nlink", "st_blocks", "st_blksize"],
      statx: [
        ...["stx_mask", "stx_blksize", "stx_attributes", "stx_attributes_mask", "stx_ino"],
        ...["stx_nlink", "stx_blocks", "stx_dev_major", "stx_dev_minor", "stx_mnt_id"],
      ],
      statfs: ["f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_fsid"],
      file_handle: ["f_handle"],
    },
  },
  {
    name: "temp-names",
    what: "names of temporary files: made in this run by O_EXCL or mkdir, in one trace only, and random to look at",
    why: "mkstemp and its like make a new name each time",
  },
  {
    name: "times",
    what: "clocks, file times, timeouts; slow calls of several processes at once",
    why: "time goes on between two runs; where several are slow, the machine was busy",
    aside: [
      ...[
        "clock_gettime",
        "clock_gettime64",
        "gettimeofday",
        "time",
        "clock_getres",
        "clock_adjtime",
      ],
      ...["adjtimex", "timerfd_settime", "timerfd_gettime", "timer_settime", "timer_gettime"],
    ],
    arguments: {
      utimensat: ["utimes"],
      utime: ["times"],
      utimes: ["utimes"],
      futimesat: ["utimes"],
    },
    members: {
      stat: [...STAT_TIMES, "st_ctime_nsec"],
      compat_stat: [...STAT_TIMES, "st_ctime_nsec"],
      compat_stat64: [...STAT_TIMES, "st_ctime_nsec"],
      statx: ["stx_atime", "stx_btime", "stx_ctime", "stx_mtime"],
      msqid64_ds: ["msg_stime", "msg_rtime", "msg_ctime", "msg_lspid", "msg_lrpid"],
      shmid64_ds: ["shm_atime", "shm_dtime", "shm_ctime", "shm_cpid", "shm_lpid"],
      semid64_ds: ["sem_otime", "sem_ctime"],
    },
  },
  {
    name: "short-sleeps",
    what: "sleeps of less than 50 ms",
    why: "threads sleep so while they wait for each other; longer ones are meant",
  },
  {
    name: "usage",
    what: "CPU time, memory in use, load",
    why: "measurements of the machine at that moment",
    aside: ["getrusage", "times", "sysinfo", "mincore", "cachestat"],
  },
  {
    name: "kernel-files",
    what: "what /proc, /sys, netlink sockets, and the list of running Java programs (hsperfdata) say",
    why: "they tell of the machine at the moment when they are read",
  },
  {
    name: "random",
    what: "random bytes of getrandom, /dev/random and /dev/urandom, and what looks random in what programs put out, where it arrives too",
    why: "they are different each time by design",
    aside: ["getrandom"],
  },
  {
    name: "chunks",
    what: "in how many pieces a stream is read or written, and what goes the other way between them",
    why: "a pipe or socket gives what has arrived so far",
  },
  {
    name: "retries",
    what: "calls that fail with EAGAIN, EINTR or ERESTART, and are made again",
    why: "whether data or a signal was there first is chance",
  },
  {
    name: "directory-order",
    what: "the order of the entries of a directory",
    why: "file systems promise none",
  },
  {
    name: "synonyms",
    what: "which of several calls for the same thing is made: open and openat, stat and statx, fork and clone",
    why: "another libc chooses another one",
  },
  {
    name: "probing",
    what: "libraries that are looked for in one directory and found in the next",
    why: "it depends on the machine's library paths; what was found in the end is compared",
  },
  {
    name: "scheduler",
    what: "futexes, yields, affinities, thread set-up, names and end, signals between own threads",
    why: "which thread came first is chance",
    aside: [
      ...["futex", "futex_time64", "futex_wake", "futex_wait", "futex_requeue", "futex_waitv"],
      ...[
        "sched_yield",
        "sched_getaffinity",
        "sched_setaffinity",
        "sched_getparam",
        "sched_setparam",
      ],
      ...["sched_getscheduler", "sched_setscheduler", "sched_get_priority_max"],
      ...["sched_get_priority_min", "getcpu", "membarrier", "rseq", "set_robust_list"],
      ...["get_robust_list", "exit", "tgkill", "tkill", "rt_tgsigqueueinfo", "restart_syscall"],
      ...["rt_sigreturn", "sigreturn", "rt_sigprocmask", "sigprocmask", "sigaltstack"],
      ...["rt_sigpending", "arch_prctl", "set_thread_area", "get_thread_area", "pause"],
      ...["rt_sigsuspend", "rt_sigtimedwait", "getpriority", "setpriority", "sched_getattr"],
    ],
  },
  {
    name: "memory",
    what: "brk, anonymous mappings, protections, advice",
    why: "allocators and collectors ask for memory as threads and timing have it",
    aside: [
      ...["brk", "munmap", "mprotect", "pkey_mprotect", "mremap", "madvise", "process_madvise"],
      ...["mlock", "mlock2", "munlock", "mbind", "set_mempolicy", "get_mempolicy"],
    ],
  },
  {
    name: "readiness",
    what: "poll, select, epoll and the waits for children",
    why: "they wait; what is then read, and how a child ended, is compared by itself",
    aside: [
      ...["poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6", "epoll_wait"],
      ...["epoll_pwait", "epoll_pwait2", "epoll_ctl", "epoll_create", "epoll_create1", "wait4"],
      ...["waitpid", "waitid", "io_getevents", "io_pgetevents", "pidfd_open", "pidfd_send_signal"],
    ],
  },
  {
    name: "wake-ups",
    what: "eventfds, timerfds, signalfds, pipes from a process to itself, and how many tokens go through one that it shares",
    why: "threads wake each other by them, as often as it happens to be needed",
    aside: ["eventfd", "eventfd2", "timerfd_create", "signalfd", "signalfd4"],
  },
  {
    name: "signals",
    what: "SIGCHLD, SIGURG, SIGALRM, SIGPROF, SIGVTALRM, SIGWINCH, and faults that the program handles",
    why: "they come when they come; garbage collectors use faults to stop threads",
  },
  {
    name: "pools",
    what: "which thread of a process does the work, or which of several processes that one started alike",
    why: "any of a pool takes the next piece; the order of calls on one file is compared",
  },
  {
    name: "order",
    what: "the order of calls on different files where a process has several threads or children at a time, and on different streams where it waits for several; the size of a file, and the order of its lines, while several processes write to it",
    why: "they finish in any order; one that is alone has no such excuse",
  },
  {
    name: "repeats",
    what: "questions that are asked once more and answered alike, signal handlers that are set once more, and looks into the own program, its libraries, and files that a process with threads has mapped as well",
    why: "how often a loop asks depends on what has finished by then",
  },
  {
    name: "journals",
    what: "contents of journals of SQLite (-journal, -wal, -shm); their lengths are compared",
    why: "each has a random salt, on which all of its checksums depend",
  },
  {
    name: "recordings",
    what: "trace files among the entries of a directory",
    why: "recording makes them, and not the program",
  },
  {
    name: "streams",
    what: "size, position and status flags of the standard streams that a program began with",
    why: "it shares them with whoever started it",
  },
  {
    name: "unread-input",
    what: "what the standard input of a process is that never reads it",
    why: "make hands its own to one job at a time",
  },
  {
    name: "places",
    what: "the working directory, home, user and host of the recordings",
    why: "the same program at another place",
  },
  {
    name: "session",
    what: "environment variables of the terminal session, and looks at the paths that they hold: _, SHLVL, OLDPWD, SSH_*, XDG_SESSION_*, TMUX, ...",
    why: "they say from where a program was started",
  },
  {
    name: "numbers-in-text",
    what: "process ids, ports, temporary names, addresses and times that a program writes, as text or binary, and sums over them",
    why: "logs repeat what the kernel chose",
  },
] as const satisfies readonly Rule[];

export type RuleName = (typeof RULES)[number]["name"];

export const RULE_NAMES: readonly RuleName[] = RULES.map(({ name }) => name);

/** Files that tell of the machine and what runs on it. */
export const KERNEL_FILE = /^\/(?:proc|sys)\/|^\/tmp\/hsperfdata_[^/]*(?:\/|$)/;

/** What a project knows of its own programs, besides the rules. */
export interface ProjectRules {
  /** Syscalls that are counted and not compared. */
  readonly ignoreCalls?: readonly string[] | undefined;
  /** Paths that are not compared; `*` is anything but a slash, `**` anything. */
  readonly ignorePaths?: readonly string[] | undefined;
  /** Environment variables that are not compared. */
  readonly ignoreVariables?: readonly string[] | undefined;
}

/** The rules that are on, and what a project adds to them. */
export class RuleSet {
  readonly #on: ReadonlySet<string>;
  readonly #aside: ReadonlySet<string>;
  readonly #arguments = new Map<string, Set<string>>();
  readonly #members = new Map<string, Set<string>>();
  readonly #variables: ReadonlySet<string>;
  readonly #paths: readonly Regex[];

  constructor(off: readonly RuleName[] = [], project: ProjectRules = {}) {
    const on = RULES.filter(({ name }) => !off.includes(name)) as readonly Rule[];
    this.#on = new Set(on.map(({ name }) => name));
    this.#aside = new Set([
      ...on.flatMap((rule) => rule.aside ?? []),
      ...(project.ignoreCalls ?? []),
    ]);
    this.#variables = new Set(project.ignoreVariables);
    this.#paths = (project.ignorePaths ?? []).map(compileGlob);
    for (const rule of on) {
      collect(this.#arguments, rule.arguments);
      collect(this.#members, rule.members);
    }
  }

  has(name: RuleName): boolean {
    return this.#on.has(name);
  }

  /** Whether calls of that name are counted only. */
  setsAside(call: string): boolean {
    return this.#aside.has(call);
  }

  ignoresArgument(call: string, argument: string): boolean {
    return this.#arguments.get(call)?.has(argument) === true;
  }

  ignoresMember(struct: string, member: string): boolean {
    return this.#members.get(struct)?.has(member) === true;
  }

  /** `NAME=value`, or the name alone. */
  ignoresVariable(variable: string): boolean {
    return this.#variables.has(nameOf(variable)) || this.isOfSession(variable);
  }

  /** Likewise. */
  isOfSession(variable: string): boolean {
    return this.has("session") && SESSION.test(nameOf(variable));
  }

  ignoresPath(path: string): boolean {
    return this.#paths.some((pattern) => pattern.test(path));
  }
}

function nameOf(variable: string): string {
  const equals = variable.indexOf("=");
  return equals < 0 ? variable : variable.slice(0, equals);
}

const SESSION =
  /^(?:_|SHLVL|PWD|OLDPWD|COLUMNS|LINES|WINDOWID|SSH_\w+|XDG_SESSION_\w+|XDG_VTNR|XDG_SEAT|TMUX\w*|STY|TERM_SESSION_ID|DBUS_SESSION_BUS_ADDRESS|INVOCATION_ID|JOURNAL_STREAM|GPG_TTY|LS_COLORS|MAKE_TERMOUT|MAKE_TERMERR)$/;

function collect(into: Map<string, Set<string>>, from: Rule["members"]): void {
  for (const [key, names] of Object.entries(from ?? {})) {
    const set = into.get(key) ?? new Set();
    for (const name of names) set.add(name);
    into.set(key, set);
  }
}
