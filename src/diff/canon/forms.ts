/**
 * What of each call is compared, as a short notation. Calls that do the same thing have the same verb and put the same
 * things in the same order; all others are read from their rows of the syscall table.
 *
 *     pK path    fK descriptor    kK process id    wK word of 32 bits    qK of 64    nK word, when it is not 0
 *     cV constant V    aK the AT_SYMLINK_NOFOLLOW bit of word K    zK text    tK status of a file, an output
 *     d bytes that were read or written    xK socket address, an input    yK the same, an output
 *     iK input memory as it is    oK output memory as it is    sK struct, an input    uK struct, an output
 *     v everything by decoding the call    gK argument K of fcntl, as its command says
 *     lK clock
 */

export interface Form {
  readonly verb: string;
  readonly steps: string;
  /** Calls in a row on one object that make one event: bytes of a stream, or entries of a directory. */
  readonly run?: "read" | "write" | "list";
}

function form(verb: string, steps: string, run?: Form["run"]): Form {
  return run === undefined ? { verb, steps } : { verb, steps, run };
}

const O_CREAT_WRONLY_TRUNC = 0o1101;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;

/** By the names of the table. */
export const FORMS: Readonly<Record<string, Form>> = {
  open: form("open", "p0 w1 m2"),
  openat: form("open", "p1 w2 m3"),
  creat: form("open", `p0 c${O_CREAT_WRONLY_TRUNC} w1`),
  openat2: form("open", "p1 i2"),
  stat: form("stat", "p0 c0 t1"),
  lstat: form("stat", `p0 c${AT_SYMLINK_NOFOLLOW} t1`),
  fstat: form("stat", "f0 c0 t1"),
  newfstatat: form("stat", "p1 a3 t2"),
  statx: form("stat", "p1 a2 t4"),
  stat64: form("stat", "p0 c0 t1"),
  lstat64: form("stat", `p0 c${AT_SYMLINK_NOFOLLOW} t1`),
  fstat64: form("stat", "f0 c0 t1"),
  fstatat64: form("stat", "p1 a3 t2"),
  access: form("access", "p0 w1"),
  faccessat: form("access", "p1 w2"),
  faccessat2: form("access", "p1 w2"),
  mkdir: form("mkdir", "p0 w1"),
  mkdirat: form("mkdir", "p1 w2"),
  unlink: form("unlink", "p0 c0"),
  rmdir: form("unlink", `p0 c${AT_REMOVEDIR}`),
  unlinkat: form("unlink", "p1 w2"),
  rename: form("rename", "p0 p1"),
  renameat: form("rename", "p1 p3"),
  renameat2: form("rename", "p1 p3 n4"),
  link: form("link", "p0 p1"),
  linkat: form("link", "p1 p3 n4"),
  symlink: form("symlink", "z0 p1"),
  symlinkat: form("symlink", "z0 p2"),
  readlink: form("readlink", "p0 d"),
  readlinkat: form("readlink", "p1 d"),
  chmod: form("chmod", "p0 w1"),
  fchmodat: form("chmod", "p1 w2"),
  fchmodat2: form("chmod", "p1 w2 n3"),
  chown: form("chown", "p0 w1 w2 c0"),
  lchown: form("chown", `p0 w1 w2 c${AT_SYMLINK_NOFOLLOW}`),
  fchownat: form("chown", "p1 w2 w3 a4"),
  mknod: form("mknod", "p0 w1 q2"),
  mknodat: form("mknod", "p1 w2 q3"),
  dup: form("dup", "f0"),
  dup2: form("dup", "f0 w1"),
  dup3: form("dup", "f0 w1"),
  pipe: form("pipe", ""),
  pipe2: form("pipe", "n1"),
  accept: form("accept", "f0 y1"),
  accept4: form("accept", "f0 y1"),
  inotify_init: form("inotify_init", ""),
  inotify_init1: form("inotify_init", "n0"),
  fork: form("fork", ""),
  vfork: form("fork", ""),
  clone: form("fork", ""),
  clone3: form("fork", ""),
  read: form("read", "f0 d", "read"),
  readv: form("read", "f0 d", "read"),
  pread64: form("pread", "f0 q3 d"),
  preadv: form("pread", "f0 q3 d"),
  preadv2: form("pread", "f0 q3 d"),
  recvfrom: form("receive", "f0 d", "read"),
  recvmsg: form("receive", "f0 d", "read"),
  write: form("write", "f0 d", "write"),
  writev: form("write", "f0 d", "write"),
  pwrite64: form("pwrite", "f0 q3 d"),
  pwritev: form("pwrite", "f0 q3 d"),
  pwritev2: form("pwrite", "f0 q3 d"),
  sendto: form("send", "f0 x4 d", "write"),
  sendmsg: form("send", "f0 d", "write"),
  connect: form("connect", "f0 x1"),
  bind: form("bind", "f0 x1"),
  getsockname: form("getsockname", "f0 y1"),
  getpeername: form("getpeername", "f0 y1"),
  getdents: form("list", "f0 d", "list"),
  getdents64: form("list", "f0 d", "list"),
  sendfile: form("copy", "f0 f1"),
  sendfile64: form("copy", "f0 f1"),
  splice: form("copy", "f2 f0"),
  copy_file_range: form("copy", "f2 f0"),
  mmap: form("map", "f4 w2 w3 q1"),
  execve: form("execve", "p0"),
  execveat: form("execve", "p1"),
  kill: form("kill", "k0 w1"),
  utime: form("utime", "p0"),
  utimes: form("utime", "p0"),
  futimesat: form("utime", "p1"),
  utimensat: form("utime", "p1"),
  nanosleep: form("sleep", "i0"),
  clock_nanosleep: form("sleep", "i2"),
  getcwd: form("getcwd", "o0"),
  ioctl: form("ioctl", "f0 w1 v"),
  fcntl: form("fcntl", "f0 w1 g2"),
};

/** Verbs whose time is compared: they wait for a disk or a lock, not for another program. */
export const TIMED: ReadonlySet<string> = new Set([
  ...["open", "read", "pread", "write", "pwrite", "copy", "list", "fsync", "fdatasync", "sync"],
  ...["syncfs", "sync_file_range", "msync", "flock", "fcntl"],
]);

/** Verbs that change nothing: their order on one file is of no consequence where threads share it. */
export const LOOKING: ReadonlySet<string> = new Set([
  ...["open", "stat", "access", "read", "pread", "readlink", "list", "close", "map", "image"],
  ...["lseek", "ioctl", "fcntl", "statfs", "fstatfs", "getcwd", "exec", "fadvise64", "readahead"],
]);
