/** How calls are captured and answered. The choices of the command line and the types of the library are these lists. */

/**
 * What answers the calls of replayed programs: `ptrace`, which stops a program at each call, or `agent`, which answers inside
 * the program where it can. Both find the same. `eager-agent` does so from the first call of each program on, also where that
 * costs more than it saves: for tests.
 */
export const REPLAY_BACKENDS = ["agent", "ptrace", "eager-agent"] as const;
export type ReplayBackend = (typeof REPLAY_BACKENDS)[number];

/**
 * How calls are captured: each stops the program (`ptrace`), or most are made and written down inside it (`agent`), which is
 * many times faster.
 * `eager-agent` does so from the first call of each program on, also where that costs more than it saves: for tests.
 * `notify` is told by the kernel of each call before it is made (seccomp_unotify(2)). It needs no right to trace, so it works
 * where ptrace is refused and for programs that trace others; results, what calls write, and signals are not in the trace.
 */
export const BACKENDS = [...REPLAY_BACKENDS, "notify"] as const;
export type Backend = (typeof BACKENDS)[number];
