/**
 * What each syscall asks for, as data: verbs for its path arguments, verbs for the file behind its descriptor. Calls that
 * are not here ask for nothing but themselves (`syscall NAME`) or are read by `access.ts`.
 */

import { known } from "../decode/flags.js";
import { NAMES, X86_64 } from "../decode/names.generated.js";
import { OPEN_TO_ALL } from "../decode/procfs.generated.js";
import type { Verb } from "./model.js";

const STAT: readonly Verb[] = ["stat"];
const CHMETA: readonly Verb[] = ["chmeta"];
const CREATE: readonly Verb[] = ["create"];
const DELETE: readonly Verb[] = ["delete"];
const MOUNT: readonly Verb[] = ["mount"];

function all(verbs: readonly Verb[], names: string): [string, readonly Verb[]][] {
  return names.split(" ").map((name) => [name, verbs]);
}

/**
 * Verb of each path argument, in their order. A link is made to a file that can be written through it, so the old name
 * needs `write`. Source and target of a rename need `rename`.
 */
export const PATH_ARGUMENTS: ReadonlyMap<string, readonly Verb[]> = new Map([
  ...all(STAT, "stat lstat newfstatat fstatat64 stat64 lstat64 oldstat oldlstat statx access"),
  ...all(STAT, "faccessat faccessat2 readlink readlinkat statfs statfs64 getxattr lgetxattr"),
  ...all(STAT, "listxattr llistxattr getxattrat listxattrat chdir inotify_add_watch"),
  ...all(STAT, "name_to_handle_at file_getattr"),
  ...all(CHMETA, "chmod fchmodat fchmodat2 chown lchown fchownat chown32 lchown32 utime utimes"),
  ...all(CHMETA, "futimesat utimensat utimensat_time64 setxattr lsetxattr removexattr"),
  ...all(CHMETA, "lremovexattr setxattrat removexattrat file_setattr"),
  ...all(CREATE, "mkdir mkdirat mknod mknodat symlink symlinkat"),
  ...all(DELETE, "rmdir unlink unlinkat"),
  ...all(["rename", "rename"], "rename renameat renameat2"),
  ...all(["write", "create"], "link linkat"),
  ...all(["write"], "truncate truncate64"),
  ...all(MOUNT, "chroot swapon swapoff acct open_tree fspick mount_setattr umount2 umount"),
  ...all(["mount", "mount"], "mount pivot_root move_mount"),
]);

/** Calls that change the file behind descriptor argument 0. */
export const CHANGES_DESCRIPTOR: ReadonlySet<string> = new Set([
  "fchmod",
  "fchown",
  "fchown32",
  "fsetxattr",
  "fremovexattr",
]);

/** Requests of ioctl(2) that change the file behind any descriptor of it; as in native/engine/src/enforce/filter.rs. */
export const ALTERS: ReadonlySet<number> = new Set(
  [
    "FS_IOC_SETFLAGS",
    "FS_IOC_SETVERSION",
    "EXT4_IOC_SETVERSION",
    "FS_IOC_FSSETXATTR",
    "FAT_IOCTL_SET_ATTRIBUTES",
    "BTRFS_IOC_SUBVOL_SETFLAGS",
  ].map((name) => known("ioctl_names", name)),
);

/** Calls that open a path, with the argument that holds the flags; -1: `creat`, which has none. */
export const OPENS: ReadonlyMap<string, number> = new Map([
  ["open", 1],
  ["openat", 2],
  ["openat2", 2],
  ["creat", -1],
]);

/** Calls that run a program. */
export const EXECS: ReadonlySet<string> = new Set(["execve", "execveat"]);

/** Calls that change as whom a program acts, with the number of ids that they take. */
export const USER_CALLS: ReadonlyMap<string, number> = new Map([
  ...["setuid", "setgid", "setfsuid", "setfsgid"].map((name) => [name, 1] as const),
  ...["setreuid", "setregid"].map((name) => [name, 2] as const),
  ...["setresuid", "setresgid"].map((name) => [name, 3] as const),
]);

/** Calls that send a signal, with the argument that names the process and what kind of id that is. */
export const SIGNALS: ReadonlyMap<string, { readonly arg: number; readonly id: "pid" | "tid" }> =
  new Map([
    ["kill", { arg: 0, id: "pid" }],
    ["tkill", { arg: 0, id: "tid" }],
    ["tgkill", { arg: 0, id: "pid" }],
    ["rt_sigqueueinfo", { arg: 0, id: "pid" }],
    ["rt_tgsigqueueinfo", { arg: 0, id: "pid" }],
  ]);

/** Calls that read or change the memory of other processes, or compare what they have, with the arguments that name them. */
export const REACHES_INTO: ReadonlyMap<string, readonly number[]> = new Map([
  ["ptrace", [1]],
  ["process_vm_readv", [0]],
  ["process_vm_writev", [0]],
  ["kcmp", [0, 1]],
]);

/**
 * Calls that change how another process runs (its limits, its turn, its priority, where its memory lies) or look into it past all
 * files, with the argument that names it and, where a number may also be that of a group or user, the argument that says so with
 * what stands there for a process. Of `prlimit64` only with new limits (`changes`, an address).
 */
export const CONTROLS: ReadonlyMap<
  string,
  {
    readonly arg: number;
    readonly which?: { readonly arg: number; readonly process: number };
    readonly changes?: number;
  }
> = new Map([
  ["prlimit64", { arg: 0, changes: 2 }],
  ["sched_setparam", { arg: 0 }],
  ["sched_setscheduler", { arg: 0 }],
  ["sched_setaffinity", { arg: 0 }],
  ["sched_setattr", { arg: 0 }],
  ["setpriority", { arg: 1, which: { arg: 0, process: 0 } }],
  ["ioprio_set", { arg: 1, which: { arg: 0, process: 1 } }],
  ["migrate_pages", { arg: 0 }],
  ["move_pages", { arg: 0 }],
  ["get_robust_list", { arg: 0 }],
  ["perf_event_open", { arg: 1 }],
]);

/** The process that an access of a file of `/proc` reaches into, as ptrace(2) does; undefined when it reaches into none. */
export function reachedBy(verb: Verb, path: string): number | undefined {
  const changes = verb === "write" || verb === "chmeta";
  const reads = verb === "read" || verb === "list";
  if (!changes && !reads && verb !== "stat") return undefined;
  const [, pid, rest = ""] = /^\/proc\/(\d+)(?:\/task\/\d+)?(?:\/(.*))?$/s.exec(path) ?? [];
  if (pid === undefined) return undefined;
  const isOpen = OPEN_TO_ALL.includes(rest.replace(/^net\/.*/s, "net"));
  // What it holds, and for what, is told by names and modes already.
  return changes || (reads && !isOpen) || /^(?:fd|fdinfo|map_files)\//.test(rest)
    ? Number(pid)
    : undefined;
}

/** The process one of whose links in `/proc` a name leads through, or may end with; undefined when there is none. */
export function linkOf(name: string): number | undefined {
  const link =
    /^\/proc\/(\d+)(?:\/task\/\d+)?\/(?:exe|cwd|root|(?:fd|map_files|ns)\/[^/]+)(?:\/|$)/s;
  const pid = link.exec(name)?.[1];
  return pid === undefined ? undefined : Number(pid);
}

/** Numbers of calls on x86-64. */
export const CALL_NUMBERS: ReadonlyMap<string, number> = new Map(
  [...X86_64].flatMap((row, number) => {
    const name = row < 0 ? undefined : NAMES[row];
    return name === undefined ? [] : [[name, number] as const];
  }),
);

/** Number of a call on x86-64; undefined when it has none. */
export function callNumber(name: string): number | undefined {
  return CALL_NUMBERS.get(name);
}
