/** Which calls make descriptors that an exec closes. */

import { captureBytes, findCapture, u32 } from "../decode/memory.js";
import { CaptureSide, type EventBatch } from "../trace/batch.js";

const O_CLOEXEC = 0o2000000;

/** The argument with the flags, and the bit in it that asks for closing. From the manual pages of the calls. */
const BITS: ReadonlyMap<string, readonly [argument: number, bit: number]> = new Map([
  ["open", [1, O_CLOEXEC]],
  ["openat", [2, O_CLOEXEC]],
  ["socket", [1, O_CLOEXEC]],
  ["socketpair", [1, O_CLOEXEC]],
  ["accept4", [3, O_CLOEXEC]],
  ["pipe2", [1, O_CLOEXEC]],
  ["dup3", [2, O_CLOEXEC]],
  ["eventfd2", [1, O_CLOEXEC]],
  ["epoll_create1", [0, O_CLOEXEC]],
  ["timerfd_create", [1, O_CLOEXEC]],
  ["signalfd4", [3, O_CLOEXEC]],
  ["inotify_init1", [0, O_CLOEXEC]],
  ["userfaultfd", [0, O_CLOEXEC]],
  ["mq_open", [1, O_CLOEXEC]],
  ["open_tree", [2, O_CLOEXEC]],
  ["open_by_handle_at", [2, O_CLOEXEC]],
  ["memfd_create", [1, 1]],
  ["memfd_secret", [0, O_CLOEXEC]],
  ["fanotify_init", [0, 1]],
  ["fsopen", [1, 1]],
  ["fsmount", [1, 1]],
  ["fspick", [2, 1]],
  ["perf_event_open", [4, 8]],
  ["recvmsg", [2, 0x4000_0000]],
  ["recvmmsg", [3, 0x4000_0000]],
]);

/** Their descriptors are always of that kind. */
const ALWAYS: ReadonlySet<string> = new Set([
  ...["pidfd_open", "pidfd_getfd", "io_uring_setup", "landlock_create_ruleset", "bpf"],
  ...["clone", "clone3", "seccomp"],
]);

const F_DUPFD_CLOEXEC = 1030;

/** Whether the descriptors that the call has made are closed by an exec. */
export function opensForExec(name: string, batch: EventBatch, i: number): boolean {
  if (ALWAYS.has(name)) return true;
  if (name === "fcntl" || name === "fcntl64") return batch.args[12 * i + 2] === F_DUPFD_CLOEXEC;
  if (name === "openat2") {
    const how = findCapture(batch, i, 2, CaptureSide.In);
    return how >= 0 && ((u32(captureBytes(batch, how), 0) ?? 0) & O_CLOEXEC) !== 0;
  }
  const found = BITS.get(name);
  if (found === undefined) return false;
  const [argument, bit] = found;
  return ((batch.args[12 * i + 2 * argument] ?? 0) & bit) !== 0;
}
