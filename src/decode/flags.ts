/**
 * Numbers to names: bit masks and choices over the named sets of the table.
 *
 * Some masks hold a choice in a part of their bits (the access mode of `open`, the exit signal of `clone`); `PARTS`
 * names them. Results are remembered per set and value, since a trace repeats few values very often.
 */

import { FLAG_SETS } from "./tables.generated.js";
import type { ChoiceValue, FlagsValue, Num } from "./value.js";

interface Part {
  readonly mask: number;
  readonly set: string;
  /** Shown after the bits, not before. */
  readonly last?: boolean;
}

/** Sets whose masks contain choices: those bits are looked up whole in `set`. */
const PARTS: Readonly<Record<string, readonly Part[]>> = {
  open_flags: [{ mask: 3, set: "open_access" }],
  mmap_flags: [{ mask: 0xf, set: "mmap_type" }],
  clone_flags: [{ mask: 0xff, set: "signal", last: true }],
  statx_flags: [{ mask: 0x6000, set: "statx_sync" }],
  termios_oflag: [
    { mask: 0x100, set: "termios_oflag_nl" },
    { mask: 0x600, set: "termios_oflag_cr" },
    { mask: 0x1800, set: "termios_oflag_tab" },
    { mask: 0x2000, set: "termios_oflag_bs" },
    { mask: 0x4000, set: "termios_oflag_vt" },
    { mask: 0x8000, set: "termios_oflag_ff" },
  ],
  fanotify_init_flags: [{ mask: 0xc, set: "fanotify_class" }],
  kexec_flags: [{ mask: 0xffff0000, set: "kexec_arch" }],
  termios_cflag: [
    { mask: 0x100f, set: "termios_baud" },
    { mask: 0x30, set: "termios_csize" },
  ],
};

/** Sets whose upper bits hold the binary logarithm of a page size, when the bit for huge pages is set. */
const HUGE: Readonly<Record<string, readonly [bit: number, shift: string]>> = {
  mmap_flags: [0x40000, "MAP_HUGE_SHIFT"],
  memfd_flags: [4, "MFD_HUGE_SHIFT"],
};
const HUGE_SHIFT = 26;

/** What strace writes for unknown bits where the common prefix of the names is not it. */
const UNKNOWN: Readonly<Record<string, string>> = {
  access_mode: "?_OK",
  open_flags: "O_???",
  sockopt_level: "SOL_??",
  socket_type: "SOCK_???",
  mbind_flags: "MPOL_???",
  move_pages_flags: "MPOL_???",
  rename_flags: "RENAME_??",
  tcflush_queue: "TC???",
  tcflow_action: "TC???",
  io_uring_register_op: "IORING_REGISTER_???",
  seccomp_op: "SECCOMP_SET_MODE_???",
  shmctl_cmd: "SHM_???",
  semctl_cmd: "SEM_???",
  msgctl_cmd: "MSG_???",
  quota_format: "QFMT_VFS_???",
  mount_flags: "MS_???",
  bpf_elem_flags: "BPF_???",
  xfs_dqblk_type: "FS_???_QUOTA",
  reboot_magic1: "LINUX_REBOOT_MAGIC_???",
  reboot_magic2: "LINUX_REBOOT_MAGIC_???",
  setns_types: "CLONE_NEW???",
  wait4_options: "W???",
  waitid_options: "W???",
  pr_set_vma: "PR_SET_VMA_???",
  timerfd_settime_flags: "TFD_???",

  statx_flags: "AT_???",
  epoll_events: "EPOLL???",
  kexec_flags: "KEXEC_ARCH_???",
  // Bare numbers.
  cloexec: "",
  pidfd_signal_flags: "",
  poll_events: "POLL???",
};

const MEMO_LIMIT = 4096;
const TWO32 = 0x1_0000_0000;

const flagMemo = new Map<string, Map<Num, FlagsValue>>();
const choiceMaps = new Map<string, Map<Num, string>>();
const prefixes = new Map<string, string>();

/** The names in `value`, in the order of the set. */
export function flags(set: string, value: Num): FlagsValue {
  let memo = flagMemo.get(set);
  if (memo === undefined) {
    memo = new Map();
    flagMemo.set(set, memo);
  }
  const known = memo.get(value);
  if (known !== undefined) return known;
  if (memo.size >= MEMO_LIMIT) memo.clear();
  const result = split(set, value);
  memo.set(value, result);
  return result;
}

function split(set: string, value: Num): FlagsValue {
  const names: string[] = [];
  let low = Number(BigInt.asUintN(32, BigInt(value)));
  let high = Number(BigInt.asUintN(32, BigInt(value) >> 32n));
  const last: string[] = [];
  for (const part of PARTS[set] ?? []) {
    const name = choiceName(part.set, (low & part.mask) >>> 0);
    if (name === undefined) continue;
    low = (low & ~part.mask) >>> 0;
    (part.last === true ? last : names).push(name);
  }
  const huge = HUGE[set];
  if (huge !== undefined && (low & huge[0]) !== 0 && low >>> HUGE_SHIFT !== 0) {
    last.push(`${low >>> HUGE_SHIFT}<<${huge[1]}`);
    low = (low & ((1 << HUGE_SHIFT) - 1)) >>> 0;
  }
  let zero: string | undefined;
  for (const [bits, name] of FLAG_SETS[set] ?? []) {
    const lo = Number(BigInt.asUintN(32, BigInt(bits)));
    const hi = Number(BigInt.asUintN(32, BigInt(bits) >> 32n));
    if (lo === 0 && hi === 0) {
      zero ??= name;
    } else if ((low & lo) >>> 0 === lo && (high & hi) >>> 0 === hi) {
      names.push(name);
      low = (low & ~lo) >>> 0;
      high = (high & ~hi) >>> 0;
    }
  }
  names.push(...last);
  if (names.length === 0 && zero !== undefined && low === 0 && high === 0) names.push(zero);
  return { kind: "flags", set, value, names, rest: join(low, high) };
}

function join(low: number, high: number): Num {
  return high <= 0x1f_ffff ? high * TWO32 + low : (BigInt(high) << 32n) | BigInt(low);
}

/** The name of exactly this value, if the set has it. */
export function choiceName(set: string, value: Num): string | undefined {
  let map = choiceMaps.get(set);
  if (map === undefined) {
    map = new Map();
    for (const [number, name] of FLAG_SETS[set] ?? []) if (!map.has(number)) map.set(number, name);
    choiceMaps.set(set, map);
  }
  return map.get(value);
}

export function choice(set: string, value: Num): ChoiceValue {
  const name = choiceName(set, value);
  return name === undefined ? { kind: "choice", set, value } : { kind: "choice", set, value, name };
}

/** The value of a name of a set; undefined when the set lacks it. For decoders that depend on one constant. */
export function constant(set: string, name: string): Num | undefined {
  for (const [value, entry] of FLAG_SETS[set] ?? []) if (entry === name) return value;
  return undefined;
}

/**
 * The number of a name that the tables have, for those who decide by it.
 * @throws RangeError when they lack it
 */
export function known(set: string, name: string): number {
  const value = constant(set, name);
  if (value === undefined) throw new RangeError(`${set} has no ${name}`);
  return Number(value);
}

/** `O_???` for set `open_flags`: what to call bits that no name covers. */
export function unknownName(set: string): string {
  let name = UNKNOWN[set] ?? prefixes.get(set);
  if (name === undefined) {
    name = `${commonPrefix((FLAG_SETS[set] ?? []).map((entry) => entry[1]))}???`;
    prefixes.set(set, name);
  }
  return name;
}

function commonPrefix(names: readonly string[]): string {
  const [first = "", ...rest] = names;
  let length = first.lastIndexOf("_") + 1;
  for (const name of rest) {
    while (length > 0 && !name.startsWith(first.slice(0, length))) {
      length = first.lastIndexOf("_", length - 2) + 1;
    }
  }
  return length > 0 ? first.slice(0, length) : first.slice(0, first.indexOf("_") + 1);
}
