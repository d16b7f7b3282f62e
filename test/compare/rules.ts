/**
 * Differences between two runs of the same program that come from timing alone, each with its reason.
 * A rule looks at one call that is missing or extra; what no rule explains counts against the score.
 */

export interface Difference {
  readonly name: string;
  /** Masked result: "3", "-1 EAGAIN", "ADDR", "?"; with " [/proc]" for a file of the system. */
  readonly result: string;
  readonly args: string;
  /** Whether the process had more than one thread in either run. */
  readonly threaded: boolean;
  /** The same call stands at another place of the other run, and the process handles signals. */
  readonly moved: boolean;
}

export interface Rule {
  readonly id: string;
  readonly reason: string;
  readonly explains: (difference: Difference) => boolean;
}

const named = (names: string): ((difference: Difference) => boolean) => {
  const set = new Set(names.split(" "));
  return (difference) => set.has(difference.name);
};
const inThreads =
  (names: string): ((difference: Difference) => boolean) =>
  (difference) =>
    difference.threaded && named(names)(difference);

export const RULES: readonly Rule[] = [
  {
    id: "handler",
    reason:
      "a signal handler's calls stand where the signal arrived, among the calls of the program",
    explains: (it) => it.moved,
  },
  {
    id: "temp-name",
    reason: "libc draws random bytes for a temp name again when the first ones would bias it",
    explains: (it) => it.name === "getrandom" && it.result === "8",
  },
  {
    id: "futex",
    reason: "whether a lock is contended depends on how threads are scheduled",
    explains: inThreads("futex sched_yield"),
  },
  {
    id: "collector",
    reason: "a garbage collector, JIT or per-thread allocator reacts to time and to contention",
    explains: inThreads("madvise munmap mmap mprotect brk mremap mincore"),
  },
  {
    id: "threads",
    reason:
      "how many worker threads a runtime starts depends on which of them is idle at that moment",
    explains: inThreads(
      "clone clone3 set_robust_list rseq sigaltstack rt_sigprocmask rt_sigaction exit gettid prctl " +
        "sched_getaffinity sched_setaffinity set_mempolicy get_mempolicy getpriority setpriority",
    ),
  },
  {
    id: "preemption",
    reason: "the runtime interrupts its own threads by signals after a time slice",
    explains: inThreads("tgkill rt_sigreturn getpid timer_create timer_settime timer_delete"),
  },
  {
    id: "wait-loop",
    reason: "how often a waiting loop turns depends on when the event arrives",
    explains: inThreads(
      "epoll_wait epoll_pwait epoll_ctl poll ppoll select pselect6 nanosleep clock_nanosleep " +
        "restart_syscall",
    ),
  },
  {
    id: "wakeup",
    reason: "one thread wakes another only when that one already sleeps",
    explains: (it) =>
      it.threaded &&
      /^(read|write)$/.test(it.name) &&
      /^\d+<(anon_inode|pipe|socket)/.test(it.args),
  },
  {
    id: "heartbeat",
    reason: "a runtime's housekeeping thread reads the state of the system every so often",
    explains: (it) =>
      it.threaded && (it.result.endsWith("[/proc]") || /^(sysinfo|getrusage|times)$/.test(it.name)),
  },
  {
    id: "interrupted",
    reason: "a signal arrives before, in or after a call",
    explains: (it) => /\b(ERESTART\w*|EINTR)\b/.test(it.result) || it.name === "restart_syscall",
  },
  {
    id: "reaping",
    reason: "a child has ended, or has not yet ended, when its parent asks without waiting",
    explains: (it) =>
      (/^(wait4|waitid)$/.test(it.name) && /WNOHANG/.test(it.args)) || it.name === "rt_sigreturn",
  },
  {
    id: "pipe",
    reason: "a read from a pipe or socket gets what the other side has written so far",
    explains: (it) =>
      /^(read|readv|recvfrom|recvmsg|poll|select|pselect6|ppoll|splice)$/.test(it.name) &&
      /(pipe|socket):\[/.test(it.args) &&
      /^(\d|-1 EAGAIN)/.test(it.result),
  },
];

export const ruleFor = (difference: Difference): Rule | undefined =>
  RULES.find((rule) => rule.explains(difference));
