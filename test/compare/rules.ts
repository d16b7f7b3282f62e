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

/**
 * What `trace` names and strace 6.1 cannot: constants that are newer, or that it has no table for. Where the line with `ours` written as `theirs` is what
 * strace printed, the line agrees, and is counted as explained.
 */
export interface Newer {
  readonly id: string;
  readonly reason: string;
  readonly ours: RegExp;
  /** With `$1` and `$2` for what is kept, or made of what was found. */
  readonly theirs: string | ((found: string) => string);
}

/** Attributes of links that strace 6.1 has no names for: their numbers. It shows what they hold as bytes. */
const NEWER_LINK_ATTRIBUTES: Readonly<Record<string, number>> = {
  IFLA_GSO_IPV4_MAX_SIZE: 0x3f,
  IFLA_GRO_IPV4_MAX_SIZE: 0x40,
  IFLA_MAX_PACING_OFFLOAD_HORIZON: 0x42,
  IFLA_NETNS_IMMUTABLE: 0x43,
  IFLA_HEADROOM: 0x44,
  IFLA_TAILROOM: 0x45,
};
/** How many attributes of a message strace shows, whatever it is asked for. */
const MOST_ATTRIBUTES = 32;
const ATTRIBUTE_HEADER = 4;

/** `[{nla_len=5, nla_type=IFLA_NETNS_IMMUTABLE}, 1]` without the name. */
function unnamedAttribute(attribute: string): string {
  const [, length = "", name = "", value = ""] =
    /^\[\{nla_len=(\d+), nla_type=(\w+)\}, (\d+)\]$/.exec(attribute) ?? [];
  const number = NEWER_LINK_ATTRIBUTES[name];
  if (number === undefined) return attribute;
  const bytes = Buffer.alloc(Number(length) - ATTRIBUTE_HEADER);
  bytes.writeUIntLE(Number(value), 0, bytes.length);
  const text = bytes.toString("hex").replace(/../g, "\\x$&");
  return `[{nla_len=${length}, nla_type=0x${number.toString(16)} /* IFLA_??? */}, "${text}"]`;
}

/** The items of the list that a text begins with, and what is behind it. None has a bracket in a string. */
function listOf(text: string): { items: string[]; rest: string } {
  const items: string[] = [];
  let [depth, from, at] = [0, 0, 0];
  for (; at < text.length && depth >= 0; at++) {
    if (/[[{]/.test(text.charAt(at))) depth += 1;
    else if (/[\]}]/.test(text.charAt(at))) depth -= 1;
    else if (depth === 0 && text.startsWith(", ", at)) {
      items.push(text.slice(from, at));
      from = at + 2;
    }
  }
  const end = at - 1;
  return { items: [...items, text.slice(from, end)], rest: text.slice(end) };
}

/** Links and their attributes, as strace 6.1 shows them. */
function olderLinks(line: string): string {
  const [head = "", ...links] = line.split(/(?<=, ifi_change=\w+\}, \[)(?=\[\{nla_len=)/);
  const older = links.map((link) => {
    const { items, rest } = listOf(link);
    const shown = items.slice(0, MOST_ATTRIBUTES).map(unnamedAttribute);
    return [...shown, ...(items.length > MOST_ATTRIBUTES ? ["..."] : [])].join(", ") + rest;
  });
  return head + older.join("");
}

export const NEWER: readonly Newer[] = [
  {
    id: "rw-hint",
    reason: "strace 6.1 has no names for the write-lifetime hints of fcntl",
    ours: /^(fcntl\([^,]*), F_SET_RW_HINT, \[RWH_WRITE_LIFE_SHORT\]/,
    theirs: "$1, 0x40c /* F_??? */, ADDR",
  },
  {
    id: "rw-hint",
    reason: "strace 6.1 has no names for the write-lifetime hints of fcntl",
    ours: /^(fcntl\([^,]*), F_GET_RW_HINT, (?:\[RWH_WRITE_LIFE_SHORT\]|(0x10))/,
    theirs: "$1, 0x40b /* F_??? */, $2",
  },
  {
    id: "rw-hint",
    reason: "strace 6.1 has no names for the write-lifetime hints of fcntl",
    ours: /^(fcntl\([^,]*), F_GET_FILE_RW_HINT, /,
    theirs: "$1, 0x40d /* F_??? */, ",
  },
  {
    id: "memfd-noexec",
    reason: "MFD_NOEXEC_SEAL came with Linux 6.3",
    ours: /^(memfd_create\("noexec"), MFD_NOEXEC_SEAL\)/,
    theirs: "$1, 0x8 /* MFD_??? */)",
  },
  {
    id: "membarrier-registrations",
    reason: "MEMBARRIER_CMD_GET_REGISTRATIONS came with Linux 6.3",
    ours: /^(membarrier\(MEMBARRIER_CMD_QUERY, .*)\|MEMBARRIER_CMD_GET_REGISTRATIONS\)$/,
    theirs: "$1|0x200)",
  },
  {
    id: "futex2-numa",
    reason: "FUTEX2_NUMA came with Linux 6.16",
    ours: /^(futex_waitv\(.*)\|FUTEX2_NUMA\|0x71\b/,
    theirs: "$1|0x75",
  },
  {
    id: "io-uring-features",
    reason: "io_uring features after IORING_FEAT_LINKED_FILE came with Linux 6.3 and later",
    ours: new RegExp(
      "^(io_uring_setup\\(.*)\\|IORING_FEAT_REG_REG_RING\\|IORING_FEAT_RECVSEND_BUNDLE" +
        "\\|IORING_FEAT_MIN_TIMEOUT\\|IORING_FEAT_RW_ATTR\\|IORING_FEAT_NO_IOWAIT\\b",
    ),
    theirs: "$1|0x3e000",
  },
  {
    id: "uffd-features",
    reason: "features of userfaultfd after UFFD_FEATURE_WP_HUGETLBFS_SHMEM came with Linux 6.4 on",
    ours: /^(ioctl\(.*, UFFDIO_API, .*\|UFFD_FEATURE_WP_HUGETLBFS_SHMEM)(?:\|UFFD_FEATURE_(?:WP_UNPOPULATED|POISON|WP_ASYNC|MOVE)){4}/,
    theirs: "$1|0x1e000",
  },
  {
    id: "uffd-ioctls",
    reason: "UFFDIO_POISON and UFFDIO_MOVE came with Linux 6.6 and 6.8",
    ours: /^(ioctl\(.*, UFFDIO_REGISTER, .*\|1<<_UFFDIO_ZEROPAGE)\|1<<_UFFDIO_MOVE\|1<<_UFFDIO_POISON/,
    theirs: "$1|0x120",
  },
  {
    id: "netlink-unbound",
    reason:
      "the kernel names the protocol of a netlink socket to strace only once a message has bound it",
    ours: /^(sendto\(\d<socket:\[INODE\]>, \[\{nlmsg_len=44, nlmsg_type=)RTM_NEWLINK(, [^{}]*\}, )\{ifi_family=AF_UNSPEC, ifi_type=ARPHRD_NETROM, ifi_index=9999, ifi_flags=IFF_UP, ifi_change=0\}, \[\{nla_len=12, nla_type=IFLA_IFNAME\}, "name0"\]/,
    theirs:
      '$10x10 /* NLMSG_??? */$2"\\x00\\x00\\x00\\x00\\x0f\\x27\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00' +
      '\\x0c\\x00\\x03\\x00\\x6e\\x61\\x6d\\x65\\x30\\x00\\x00\\x00"',
  },
  {
    id: "netlink-unbound",
    reason:
      "the kernel names the protocol of a netlink socket to strace only once a message has bound it",
    ours: /^(sendto\(\d<socket:\[INODE\]>, \[\{nlmsg_len=\d+, nlmsg_type=)nlctrl,/,
    theirs: "$10x10 /* NLMSG_??? */,",
  },
  {
    id: "netlink-unbound",
    reason:
      "the kernel names the protocol of a netlink socket to strace only once a message has bound it",
    ours: /^(sendto\(\d<socket:\[INODE\]>, \[\{nlmsg_len=\d+, nlmsg_type=)SOCK_DIAG_BY_FAMILY, nlmsg_flags=NLM_F_REQUEST\|NLM_F_DUMP,/,
    theirs: "$10x14 /* NLMSG_??? */, nlmsg_flags=NLM_F_REQUEST|0x300,",
  },
  {
    id: "link-attributes",
    reason:
      "strace 6.1 shows no more than 32 attributes of a link, and has no names for those that came with Linux 6.3 and later",
    ours: /^recvfrom\(.*, nlmsg_type=RTM_NEWLINK, .*$/,
    theirs: olderLinks,
  },
  {
    id: "removed-name",
    reason:
      "the name was removed while it was open: strace asks at every call, a trace holds the name of the opening",
    ours: /^(mq_\w+\(\d+<\/trace-fixture-\w+>)/,
    theirs: "$1(deleted)",
  },
  {
    id: "foreign-descriptor",
    reason: "a descriptor number of another process is not looked up",
    ours: /^(pidfd_getfd\(\d+<[^>]*>, 0), /,
    theirs: "$1</dev/null>, ",
  },
  {
    id: "icmpv6-option",
    reason: "strace 6.1 has no names for options of the level SOL_ICMPV6",
    ours: /^([gs]etsockopt\([^,]*, SOL_ICMPV6), ICMPV6_FILTER,/,
    theirs: "$1, 1,",
  },
];

export const ruleFor = (difference: Difference): Rule | undefined =>
  RULES.find((rule) => rule.explains(difference));
