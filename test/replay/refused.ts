/**
 * The fixtures whose traces cannot be replayed, each with the reason that `trace replay` has to give. One that is replayed
 * after all fails its test, and then leaves this list.
 */
export const REFUSED: ReadonlyMap<string, RegExp> = new Map([
  // Another process writes into this one's memory, which no call of its own tells of.
  ["mem_process_vm", /process_vm_writev/],
  ["process_vm", /process_vm_writev/],
  // The mapped file is larger than what is kept of a file (4 GiB), even though it is nearly empty.
  ["mem_sparse", /could not be kept/],
]);

/**
 * The fixtures that read what neither the recorder nor replay can see or set, where the processor or the kernel offers it.
 * Their replays are the same all the same, or end with a desync: never quietly with something else.
 */
export const UNSEEN: ReadonlySet<string> = new Set([
  // The kernel answers the calls of the vsyscall page while it handles a page fault: no tracer is asked.
  "trap_vsyscall",
]);
