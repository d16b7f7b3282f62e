/**
 * The fixtures whose traces cannot be replayed, each with the reason that `trace replay` has to give. One that is replayed
 * after all fails its test, and then leaves this list.
 */
export const REFUSED: ReadonlyMap<string, RegExp> = new Map([
  // Who serves the file may be stopped, so that the recorder would wait for itself.
  ["io_fuse_executed", /the mapped file \S+\/fuse-\w+\/file could not be kept/],
  ["io_fuse_mapped", /the mapped file \S+\/fuse-\w+\/file could not be kept/],
]);

/**
 * The fixtures that read what neither the recorder nor replay can see or set, where the processor or the kernel offers it.
 * Their replays are the same all the same, are refused for this reason, or end with a desync: never quietly with something else.
 */
export const UNSEEN: ReadonlyMap<string, RegExp> = new Map([
  // The kernel answers the calls of the vsyscall page while it handles a page fault: only a filter is asked.
  ["trap_vsyscall", /a program has called the vsyscall page/],
]);

/**
 * The fixtures that see the agent of a replay, or on which CPU they are: it goes another way there, and is repeated without the agent on one CPU.
 * What comes of it is the same.
 */
export const REPEATED: ReadonlySet<string> = new Set([
  // It compares its own code in memory with its file.
  "mem_own_text",
  // Where cpuid cannot trap it tells on which CPU it is, and programs replayed side by side are on several.
  "trap_cpuid",
]);
