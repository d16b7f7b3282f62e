/** Calls that a spec grants although no recording shows them: other names of what was seen, and what every program may need. */

/**
 * Calls of which libraries choose one by version and kernel. None of a group gives more than another: what they open,
 * send or start is granted by other verbs.
 */
const ALIASES: readonly (readonly string[])[] = [
  ["open", "openat", "openat2"],
  ["stat", "newfstatat", "statx"],
  ["lstat", "newfstatat", "statx"],
  ["fstat", "newfstatat", "statx"],
  ["access", "faccessat", "faccessat2"],
  ["fork", "vfork", "clone", "clone3"],
  ["dup2", "dup3"],
  ["pipe", "pipe2"],
  ["epoll_create", "epoll_create1"],
  ["epoll_wait", "epoll_pwait", "epoll_pwait2"],
  ["select", "pselect6"],
  ["poll", "ppoll"],
  ["rename", "renameat", "renameat2"],
  ["unlink", "unlinkat"],
  ["rmdir", "unlinkat"],
  ["mkdir", "mkdirat"],
  ["mknod", "mknodat"],
  ["link", "linkat"],
  ["symlink", "symlinkat"],
  ["readlink", "readlinkat"],
  ["chmod", "fchmodat", "fchmodat2"],
  ["chown", "lchown", "fchownat"],
  ["utime", "utimes", "futimesat", "utimensat"],
  ["accept", "accept4"],
  ["getdents", "getdents64"],
  ["eventfd", "eventfd2"],
  ["signalfd", "signalfd4"],
  ["inotify_init", "inotify_init1"],
  ["getrlimit", "setrlimit", "prlimit64"],
  ["sendto", "sendmsg", "sendmmsg"],
  ["recvfrom", "recvmsg", "recvmmsg"],
  ["nanosleep", "clock_nanosleep"],
  ["preadv", "preadv2"],
  ["pwritev", "pwritev2"],
  ["futex", "futex_waitv", "futex_wait", "futex_wake", "futex_requeue"],
  ["execve", "execveat"],
  ["time", "gettimeofday", "clock_gettime"],
  ["mmap", "munmap", "mremap", "madvise", "mprotect"],
  ["sched_getaffinity", "getcpu"],
  // Shells wait in one or the other way, depending on what has ended by then.
  ["wait4", "waitid", "rt_sigsuspend", "pause"],
];

/**
 * Calls that go on with what one of them made: whether all are made in a run may depend on how long it takes. Each is about
 * objects of the program's own.
 */
const COMPANIONS: readonly (readonly string[])[] = [
  ["epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait"],
  ["timerfd_create", "timerfd_settime", "timerfd_gettime"],
  ["timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete"],
];

/**
 * What healthy runs seldom show: the kernel's own restarts and returns from handlers, ending, aborting, clocks that the
 * vDSO hides on most machines, starting threads, giving memory back, waiting where others were quick enough, asking
 * where one is when nobody has told it in PWD, and going back in a file of which more was read than is used.
 */
export const NEEDED: readonly string[] = [
  "restart_syscall",
  "rt_sigreturn",
  "exit",
  "exit_group",
  "rt_sigprocmask",
  "rt_sigaction",
  "gettid",
  "getpid",
  "tgkill",
  "clock_gettime",
  "clock_getres",
  "gettimeofday",
  "time",
  "getcpu",
  "futex",
  "set_robust_list",
  "set_tid_address",
  "rseq",
  "membarrier",
  "brk",
  "mmap",
  "munmap",
  "mremap",
  "mprotect",
  "madvise",
  "sched_yield",
  "poll",
  "ppoll",
  "select",
  "pselect6",
  "nanosleep",
  "clock_nanosleep",
  "getrandom",
  "getcwd",
  "lseek",
  "write",
  "writev",
  "close",
];

/** What glibc reads before it gives back memory of a thread other than the first: when that is depends on how threads take turns. */
export const READ_BY_THREADS = "/proc/sys/vm/overcommit_memory";

/** Never granted by `gen`, whatever was seen: what goes through the rings passes every filter. */
export const WITHHELD: ReadonlySet<string> = new Set([
  "io_uring_setup",
  "io_uring_enter",
  "io_uring_register",
]);

/** By what programs do without it: each of these moves bytes of a descriptor that they have. */
export const IN_PLACE_OF_RINGS: readonly string[] = [
  "io_setup",
  "io_submit",
  "io_getevents",
  "io_pgetevents",
  "io_cancel",
  "io_destroy",
  "pread64",
  "pwrite64",
  "preadv",
  "pwritev",
  "readv",
  "fsync",
  "fdatasync",
];

/** Whether two calls do the same, so that a program that is refused one can make the other. */
export function isAliasOf(one: string, other: string): boolean {
  return ALIASES.some((group) => group.includes(one) && group.includes(other));
}

/** Other names of the calls in `seen`, in the order of the groups; none that is there already. */
export function aliasesOf(seen: ReadonlySet<string>): string[] {
  return restOf(ALIASES, seen);
}

/** What goes on with what the calls in `seen` made; none that is there already. */
export function companionsOf(seen: ReadonlySet<string>): string[] {
  return restOf(COMPANIONS, seen);
}

function restOf(groups: readonly (readonly string[])[], seen: ReadonlySet<string>): string[] {
  const begun = groups.filter((group) => group.some((name) => seen.has(name)));
  return [...new Set(begun.flat())].filter((name) => !seen.has(name));
}
