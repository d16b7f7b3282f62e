/** Single calls against lines that strace 6.1 printed for real programs (`strace -y`). */

import { expect, test } from "vitest";
import { decodeCall } from "../../src/decode/call.js";
import { type Notation, STRACE_NOTATION } from "../../src/show/notation.js";
import { wholeCallText } from "../../src/show/strace.js";
import {
  BatchBuilder,
  CaptureSide,
  type CaptureSpec,
  concat,
  cstr,
  EventFlag,
  type EventSpec,
  object,
  pack,
  Slot,
  trace,
} from "../support/batch.js";

type Int = number | bigint;
type Spec = Omit<EventSpec, "code" | "kind">;

const context = trace({
  objects: [
    object(0, "/tmp/w"),
    object(1, "/tmp/w/x"),
    object(2, "pipe:[17]", { kind: "pipe" }),
    object(3, "socket:[21]", { kind: "socket" }),
    object(4, "/memfd:foo (deleted)"),
    object(5, "socket:[22]", { kind: "socket", detail: "NETLINK:[ROUTE:1951]" }),
    object(6, "/dev/null", { kind: "chr" }),
    object(7, "anon_inode:[pidfd]", { kind: "anon" }),
  ],
});

const into = (slot: number, addr: Int, bytes: Uint8Array | string): CaptureSpec => ({
  slot,
  addr,
  bytes,
  side: CaptureSide.In,
});
const out = (slot: number, addr: Int, bytes: Uint8Array | string): CaptureSpec => ({
  slot,
  addr,
  bytes,
  side: CaptureSide.Out,
});
const ref = (slot: number, index: number, fd = -1) => ({ slot, object: index, fd });
const zeros = (count: number) => new Uint8Array(count);
const text = (value: string) => Uint8Array.from(Buffer.from(value, "latin1"));

function show(name: string, spec: Spec, notation: Notation = STRACE_NOTATION): string {
  const batch = new BatchBuilder().call(name, spec).build();
  return wholeCallText(decodeCall(batch, 0, context), notation);
}

/** Line, call, what the recording has of it. */
const LINES: readonly (readonly [line: string, name: string, spec: Spec])[] = [];
const lines = LINES as (readonly [string, string, Spec])[];
const add = (line: string, name: string, spec: Spec) => lines.push([line, name, spec]);

// --- files ---

add('openat(AT_FDCWD</tmp/w>, "/tmp/w/x", O_RDWR|O_CREAT|O_TRUNC, 0644) = 8</tmp/w/x>', "openat", {
  args: [-100, 0x1000, 0o1102, 0o644],
  ret: 8,
  captures: [into(1, 0x1000, "/tmp/w/x")],
  refs: [ref(Slot.Cwd, 0), ref(Slot.Ret, 1)],
});
add(
  'openat(AT_FDCWD</tmp/w>, "x", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)',
  "openat",
  {
    args: [0xffffff9c, 0x1000, 0x80000, 0],
    ret: -2,
    captures: [into(1, 0x1000, "x")],
    refs: [ref(Slot.Cwd, 0)],
  },
);
add('write(8</tmp/w/x>, "hello\\n\\0\\1\\377\\"\\\\ world 7\\0", 20) = 20', "write", {
  args: [8, 0x1000, 20],
  ret: 20,
  captures: [into(1, 0x1000, text('hello\n\0\x01\xff"\\ world 7\0'))],
  refs: [ref(0, 1)],
});
add('read(3</tmp/w/x>, "\\0017\\t\\33x", 4096)  = 5', "read", {
  args: [3, 0x1000, 4096],
  ret: 5,
  captures: [out(1, 0x1000, text("\x017\t\x1bx"))],
  refs: [ref(0, 1)],
});
add('read(3</tmp/w/x>, "\\08\\0007", 4096)     = 4', "read", {
  args: [3, 0x1000, 4096],
  ret: 4,
  captures: [out(1, 0x1000, text("\x008\x007"))],
  refs: [ref(0, 1)],
});
add('read(3</tmp/w/x>, "", 4096)             = 0', "read", {
  args: [3, 0x1000, 4096],
  captures: [out(1, 0x1000, zeros(0))],
  refs: [ref(0, 1)],
});
add('read(3, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"..., 100) = 40', "read", {
  args: [3, 0x1000, 100],
  ret: 40,
  captures: [out(1, 0x1000, text("a".repeat(40)))],
});
add(
  "read(3, 0x1000, 100)                    = -1 EAGAIN (Resource temporarily unavailable)",
  "read",
  {
    args: [3, 0x1000, 100],
    ret: -11,
  },
);
add("close(1234567)                          = -1 EBADF (Bad file descriptor)", "close", {
  args: [1234567],
  ret: -9,
});

const STAT = (mode: number, rdev: number, size: number) =>
  concat(
    pack([8, 0xfe00], [8, 819], [8, 1], [4, mode], [4, 0], [4, 0], [4, 0], [8, rdev]),
    pack([8, size], [8, 4096], [8, 80]),
    zeros(72),
  );
add(
  'newfstatat(3</tmp/w/x>, "", {st_mode=S_IFREG|0644, st_size=33763, ...}, AT_EMPTY_PATH) = 0',
  "newfstatat",
  {
    args: [3, 0x1000, 0x2000, 0x1000],
    captures: [into(1, 0x1000, ""), out(2, 0x2000, STAT(0o100644, 0, 33763))],
    refs: [ref(0, 1)],
  },
);
add(
  'newfstatat(AT_FDCWD</tmp/w>, "/dev/tty", {st_mode=S_IFCHR|0666, st_rdev=makedev(0x5, 0), ...}, 0) = 0',
  "newfstatat",
  {
    args: [-100, 0x1000, 0x2000, 0],
    captures: [into(1, 0x1000, "/dev/tty"), out(2, 0x2000, STAT(0o020666, 0x500, 0))],
    refs: [ref(Slot.Cwd, 0)],
  },
);
add(
  'newfstatat(AT_FDCWD</tmp/w>, "no", 0x7ffdca203740, 0) = -1 ENOENT (No such file or directory)',
  "newfstatat",
  {
    args: [-100, 0x1000, 0x7ffdca203740, 0],
    ret: -2,
    captures: [into(1, 0x1000, "no")],
    refs: [ref(Slot.Cwd, 0)],
  },
);
add('access("x", F_OK)                       = 0', "access", {
  args: [0x1000, 0],
  captures: [into(0, 0x1000, "x")],
});
add(
  'faccessat2(AT_FDCWD</tmp/w>, "x", 0x8 /* ?_OK */, 0x8 /* AT_??? */) = -1 EINVAL (Invalid argument)',
  "faccessat2",
  {
    args: [-100, 0x1000, 8, 8],
    ret: -22,
    captures: [into(1, 0x1000, "x")],
    refs: [ref(Slot.Cwd, 0)],
  },
);
add('chmod("x", 000)                         = 0', "chmod", {
  args: [0x1000, 0],
  captures: [into(0, 0x1000, "x")],
});
add('chmod("x", 04755)                       = 0', "chmod", {
  args: [0x1000, 0o4755],
  captures: [into(0, 0x1000, "x")],
});
add("umask(022)                              = 022", "umask", { args: [0o22], ret: 0o22 });
add('mknodat(AT_FDCWD</tmp/w>, "nn", S_IFIFO|0600) = 0', "mknodat", {
  args: [-100, 0x1000, 0o010600, 0],
  captures: [into(1, 0x1000, "nn")],
  refs: [ref(Slot.Cwd, 0)],
});
add('readlink("/proc/self/exe", "/tmp/", 5)  = 5', "readlink", {
  args: [0x1000, 0x2000, 5],
  ret: 5,
  captures: [into(0, 0x1000, "/proc/self/exe"), out(1, 0x2000, text("/tmp/"))],
});
add('getcwd("/tmp/w", 100)                   = 7', "getcwd", {
  args: [0x2000, 100],
  ret: 7,
  captures: [out(0, 0x2000, "/tmp/w")],
});
add('getrandom("\\xc8\\x54\\x99\\xbd", 4, GRND_NONBLOCK) = 4', "getrandom", {
  args: [0x1000, 4, 1],
  ret: 4,
  captures: [out(0, 0x1000, Uint8Array.of(0xc8, 0x54, 0x99, 0xbd))],
});
add("pipe2([3<pipe:[17]>, 4<pipe:[17]>], O_NONBLOCK|O_CLOEXEC) = 0", "pipe2", {
  args: [0x1000, 0o2004000],
  captures: [out(0, 0x1000, pack([4, 3], [4, 4]))],
  refs: [ref(Slot.Nested, 2, 3), ref(Slot.Nested, 2, 4)],
});
add("lseek(8</tmp/w/x>, -5, SEEK_END)        = 29", "lseek", {
  args: [8, -5, 2],
  ret: 29,
  refs: [ref(0, 1)],
});
add("sendfile(6<pipe:[17]>, 8</tmp/w/x>, [2] => [7], 5) = 5", "sendfile", {
  args: [6, 8, 0x1000, 5],
  ret: 5,
  captures: [into(2, 0x1000, pack([8, 2])), out(2, 0x1000, pack([8, 7]))],
  refs: [ref(0, 2), ref(1, 1)],
});
add(
  'writev(8</tmp/w/x>, [{iov_base="abc", iov_len=3}, {iov_base="defg", iov_len=4}], 2) = 7',
  "writev",
  {
    args: [8, 0x1000, 2],
    ret: 7,
    captures: [
      into(1, 0x1000, pack([8, 0x2000], [8, 3], [8, 0x3000], [8, 4])),
      into(1, 0x2000, text("abc")),
      into(1, 0x3000, text("defg")),
    ],
    refs: [ref(0, 1)],
  },
);
add(
  'readv(8, [{iov_base="hell", iov_len=4}, {iov_base="o", iov_len=40}, {iov_base="", iov_len=3}], 3) = 5',
  "readv",
  {
    args: [8, 0x1000, 3],
    ret: 5,
    captures: [
      into(1, 0x1000, pack([8, 0x2000], [8, 4], [8, 0x3000], [8, 40], [8, 0x4000], [8, 3])),
      out(1, 0x2000, text("hell")),
      out(1, 0x3000, text("o")),
    ],
  },
);
add(
  "readv(999, [{iov_base=0x2000, iov_len=4}, {iov_base=0x3000, iov_len=40}], 2) = -1 EBADF (Bad file descriptor)",
  "readv",
  {
    args: [999, 0x1000, 2],
    ret: -9,
    captures: [into(1, 0x1000, pack([8, 0x2000], [8, 4], [8, 0x3000], [8, 40]))],
  },
);
const DIRENTS = concat(
  pack([8, 11], [8, 1], [2, 24], [1, 4]),
  text(".\0\0\0\0"),
  pack([8, 12], [8, 2], [2, 24], [1, 8]),
  text("f1\0\0\0"),
);
add("getdents64(19, 0x1000 /* 2 entries */, 8192) = 48", "getdents64", {
  args: [19, 0x1000, 8192],
  ret: 48,
  captures: [out(1, 0x1000, DIRENTS)],
});
add('memfd_create("foo", MFD_CLOEXEC|MFD_ALLOW_SEALING) = 9</memfd:foo>(deleted)', "memfd_create", {
  args: [0x1000, 3],
  ret: 9,
  captures: [into(0, 0x1000, "foo")],
  refs: [ref(Slot.Ret, 4)],
});

// --- fcntl, ioctl ---

const LOCK = (type: number, pid: number) =>
  pack([2, type], [2, 0], [4, 0], [8, 0], [8, 10], [4, pid], [4, 0]);
add(
  "fcntl(8</tmp/w/x>, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=10}) = 0",
  "fcntl",
  {
    args: [8, 6, 0x1000],
    captures: [into(2, 0x1000, LOCK(1, 0))],
    refs: [ref(0, 1)],
  },
);
add(
  "fcntl(8, F_GETLK, {l_type=F_UNLCK, l_whence=SEEK_SET, l_start=0, l_len=10, l_pid=0}) = 0",
  "fcntl",
  {
    args: [8, 5, 0x1000],
    captures: [into(2, 0x1000, LOCK(1, 0)), out(2, 0x1000, LOCK(2, 0))],
  },
);
add("fcntl(8, F_GETFD)                       = 0x1 (flags FD_CLOEXEC)", "fcntl", {
  args: [8, 1, 0x77],
  ret: 1,
});
add("fcntl(8, F_GETFD)                       = 0", "fcntl", { args: [8, 1, 0] });
add("fcntl(8, F_GETFL)                       = 0x8002 (flags O_RDWR|O_LARGEFILE)", "fcntl", {
  args: [8, 3, 0],
  ret: 0x8002,
});
add("fcntl(8, F_SETFL, O_RDONLY|O_APPEND|O_NONBLOCK) = 0", "fcntl", { args: [8, 4, 0o6000] });
add("fcntl(8, F_DUPFD_CLOEXEC, 50)           = 50</tmp/w/x>", "fcntl", {
  args: [8, 1030, 50],
  ret: 50,
  refs: [ref(Slot.Ret, 1)],
});
add("fcntl(8, F_GETSIG)                      = 10 (SIGUSR1)", "fcntl", { args: [8, 11], ret: 10 });
add("fcntl(8, F_GETLEASE)                    = 0x2 (F_UNLCK)", "fcntl", {
  args: [8, 1025],
  ret: 2,
});
add("fcntl(8, F_GET_SEALS)                   = 0xa (seals F_SEAL_SHRINK|F_SEAL_WRITE)", "fcntl", {
  args: [8, 1034],
  ret: 10,
});
add("fcntl(8, 0x1234 /* F_??? */, 0x5)       = -1 EINVAL (Invalid argument)", "fcntl", {
  args: [8, 0x1234, 5],
  ret: -22,
});
add(
  "ioctl(0</dev/null>, TCGETS, 0x7ffc1887d800) = -1 ENOTTY (Inappropriate ioctl for device)",
  "ioctl",
  {
    args: [0, 0x5401, 0x7ffc1887d800],
    ret: -25,
    refs: [ref(0, 6)],
  },
);
const TERMIOS = pack([4, 0x500], [4, 5], [4, 0xbf], [4, 0xa3b], [1, 0]);
add(
  "ioctl(12, TCGETS, {c_iflag=ICRNL|IXON, c_oflag=NL0|CR0|TAB0|BS0|VT0|FF0|OPOST|ONLCR, c_cflag=B38400|CS8|CREAD, c_lflag=ISIG|ICANON|ECHO|ECHOE|ECHOK|ECHOCTL|ECHOKE, ...}) = 0",
  "ioctl",
  { args: [12, 0x5401, 0x1000], captures: [out(2, 0x1000, concat(TERMIOS, zeros(19)))] },
);
add("ioctl(12, TIOCGWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}) = 0", "ioctl", {
  args: [12, 0x5413, 0x1000],
  captures: [out(2, 0x1000, pack([2, 24], [2, 80], [2, 0], [2, 0]))],
});
add("ioctl(5<pipe:[17]>, FIONREAD, [0])      = 0", "ioctl", {
  args: [5, 0x541b, 0x1000],
  captures: [out(2, 0x1000, zeros(4))],
  refs: [ref(0, 2)],
});
add("ioctl(5, FIONBIO, [1])                  = 0", "ioctl", {
  args: [5, 0x5421, 0x1000],
  captures: [into(2, 0x1000, pack([4, 1]))],
});
add("ioctl(8, FIOCLEX)                       = 0", "ioctl", { args: [8, 0x5451, 1] });
add(
  "ioctl(8, _IOC(_IOC_READ, 0x12, 0x34, 0x56), 0x7ffc1887d7f8) = -1 ENOTTY (Inappropriate ioctl for device)",
  "ioctl",
  {
    args: [8, 0x80561234, 0x7ffc1887d7f8],
    ret: -25,
  },
);
add(
  "ioctl(8, _IOC(_IOC_READ|_IOC_WRITE, 0x66, 0xfa, 0x4), 0x1000) = -1 ENOTTY (Inappropriate ioctl for device)",
  "ioctl",
  {
    args: [8, 0xc00466fa, 0x1000],
    ret: -25,
  },
);
add("ioctl(8, FS_IOC_GETFLAGS, [FS_EXTENT_FL]) = 0", "ioctl", {
  args: [8, 0x80086601, 0x1000],
  captures: [out(2, 0x1000, pack([8, 0x80000]))],
});
const ifreq = (name: string, rest: Uint8Array) =>
  concat(text(name.padEnd(16, "\0")), rest, zeros(24 - rest.length));
add(
  'ioctl(4, SIOCGIFFLAGS, {ifr_name="lo", ifr_flags=IFF_UP|IFF_LOOPBACK|IFF_RUNNING}) = 0',
  "ioctl",
  {
    args: [4, 0x8913, 0x1000],
    captures: [
      into(2, 0x1000, ifreq("lo", zeros(0))),
      out(2, 0x1000, ifreq("lo", pack([2, 0x49]))),
    ],
  },
);
add(
  'ioctl(4, SIOCGIFHWADDR, {ifr_name="lo", ifr_hwaddr={sa_family=ARPHRD_LOOPBACK, sa_data=00:00:00:00:00:00}}) = 0',
  "ioctl",
  {
    args: [4, 0x8927, 0x1000],
    captures: [into(2, 0x1000, ifreq("lo", zeros(0))), out(2, 0x1000, ifreq("lo", pack([2, 772])))],
  },
);
add("ioctl(4, SIOCGIFCONF, {ifc_len=4096 => 0, ifc_buf=[]}) = 0", "ioctl", {
  args: [4, 0x8912, 0x1000],
  captures: [
    into(2, 0x1000, pack([4, 4096], [4, 0], [8, 0x2000])),
    out(2, 0x1000, pack([4, 0], [4, 0], [8, 0x2000])),
  ],
});
add('ioctl(4, SIOCGIFFLAGS, {ifr_name="nope"}) = -1 ENODEV (No such device)', "ioctl", {
  args: [4, 0x8913, 0x1000],
  ret: -19,
  captures: [into(2, 0x1000, ifreq("nope", zeros(0)))],
});

// --- memory, processes, signals, time ---

add(
  "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7fb11626e000",
  "mmap",
  {
    args: [0, 8192, 3, 0x22, 0xffffffff, 0],
    ret: 0x7fb11626e000,
  },
);
add(
  "mmap(0x7fb116241000, 69632, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE, 3, 0xf000) = 0x7fb116241000",
  "mmap",
  {
    args: [0x7fb116241000, 69632, 5, 0x812, 3, 0xf000],
    ret: 0x7fb116241000,
  },
);
add(
  "mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|21<<MAP_HUGE_SHIFT, -1, 0) = -1 ENOMEM (Cannot allocate memory)",
  "mmap",
  {
    args: [0, 4096, 0, 0x40022 + 21 * 2 ** 26, -1, 0],
    ret: -12,
  },
);
add("brk(NULL)                               = 0x55b1b1cb2000", "brk", { ret: 0x55b1b1cb2000 });
add("mremap(0x7f9aaf2b4000, 8192, 16384, MREMAP_MAYMOVE) = 0x7f9aaf2b0000", "mremap", {
  args: [0x7f9aaf2b4000, 8192, 16384, 1, 0x55],
  ret: 0x7f9aaf2b0000,
});
add(
  "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f9aaf0c7a10) = 26321",
  "clone",
  { args: [0x1200011, 0, 0, 0x7f9aaf0c7a10, 0], ret: 26321 },
);
const CLONE_ARGS = pack(
  [8, 0x3d0f00],
  [8, 0x9000],
  [8, 0x9000],
  [8, 0x9000],
  [8, 0],
  [8, 0x5000],
  [8, 0x7fff80],
  [8, 0x6000],
);
add(
  "clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS|CLONE_PARENT_SETTID|CLONE_CHILD_CLEARTID, child_tid=0x9000, parent_tid=0x9000, exit_signal=0, stack=0x5000, stack_size=0x7fff80, tls=0x6000} => {parent_tid=[1957]}, 88) = 1957",
  "clone3",
  {
    args: [0x1000, 88],
    ret: 1957,
    captures: [into(0, 0x1000, concat(CLONE_ARGS, zeros(24))), out(0, 0x9000, pack([4, 1957]))],
  },
);
const PIDFD_ARGS = pack([8, 0x1000], [8, 0x8000], [8, 0], [8, 0], [8, 17], [8, 0], [8, 0], [8, 0]);
add(
  "clone3({flags=CLONE_PIDFD, pidfd=0x8000, exit_signal=SIGCHLD, stack=NULL, stack_size=0} => {pidfd=[20<anon_inode:[pidfd]>]}, 88) = 1959",
  "clone3",
  {
    args: [0x1000, 88],
    ret: 1959,
    captures: [into(0, 0x1000, concat(PIDFD_ARGS, zeros(24))), out(0, 0x8000, pack([4, 20]))],
    refs: [ref(Slot.Nested, 7, 20)],
  },
);
add('execve("/bin/true", ["/bin/true", "a\\nb"], 0x3000 /* 2 vars */) = 0', "execve", {
  args: [0x1000, 0x2000, 0x3000],
  captures: [
    into(0, 0x1000, "/bin/true"),
    into(1, 0x2000, pack([8, 0x4000], [8, 0x5000], [8, 0])),
    into(1, 0x4000, "/bin/true"),
    into(1, 0x5000, "a\nb"),
    into(2, 0x3000, pack([8, 0x6000], [8, 0x6010], [8, 0])),
    into(2, 0x6000, "A=1"),
    into(2, 0x6010, "SECRET=x"),
  ],
});
add("wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 26321", "wait4", {
  args: [-1, 0x1000, 0, 0],
  ret: 26321,
  captures: [out(1, 0x1000, pack([4, 0x300]))],
});
add(
  "wait4(-1, [{WIFSIGNALED(s) && WTERMSIG(s) == SIGABRT && WCOREDUMP(s)}], WNOHANG, NULL) = 7",
  "wait4",
  {
    args: [-1, 0x1000, 1, 0],
    ret: 7,
    captures: [out(1, 0x1000, pack([4, 0x86]))],
  },
);
add("wait4(-1, 0x7ffc1887cf00, WNOHANG, NULL) = 0", "wait4", {
  args: [-1, 0x7ffc1887cf00, 1, 0],
  captures: [out(1, 0x7ffc1887cf00, pack([4, 0]))],
});
add("exit_group(0)                           = ?", "exit_group", { flags: EventFlag.NoReturn });
const ACTION = (handler: number, bits: number, mask: Int) =>
  pack([8, handler], [8, bits], [8, 0x7f9aaf106050], [8, mask]);
add(
  "rt_sigaction(SIGUSR1, {sa_handler=0x559f0a11c889, sa_mask=~[RTMIN RT_1], sa_flags=SA_RESTORER|SA_RESTART, sa_restorer=0x7f9aaf106050}, NULL, 8) = 0",
  "rt_sigaction",
  {
    args: [10, 0x1000, 0, 8],
    captures: [into(1, 0x1000, ACTION(0x559f0a11c889, 0x14000000, 0xffff_fffe_7fff_ffffn))],
  },
);
add(
  "rt_sigaction(SIGRT_1, {sa_handler=SIG_DFL, sa_mask=[], sa_flags=0}, {sa_handler=SIG_IGN, sa_mask=[INT TERM], sa_flags=SA_RESTART}, 8) = 0",
  "rt_sigaction",
  {
    args: [33, 0x1000, 0x2000, 8],
    captures: [into(1, 0x1000, ACTION(0, 0, 0)), out(2, 0x2000, ACTION(1, 0x10000000, 0x4002))],
  },
);
add("rt_sigprocmask(SIG_SETMASK, NULL, [INT RT_3], 8) = 0", "rt_sigprocmask", {
  args: [2, 0, 0x1000, 8],
  captures: [out(2, 0x1000, pack([4, 2], [4, 4]))],
});
add("rt_sigprocmask(SIG_BLOCK, ~[], [], 8)   = 0", "rt_sigprocmask", {
  args: [0, 0x2000, 0x1000, 8],
  captures: [into(1, 0x2000, pack([4, -1], [4, -1])), out(2, 0x1000, zeros(8))],
});
add(
  "prlimit64(0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}) = 0",
  "prlimit64",
  {
    args: [0, 3, 0, 0x1000],
    captures: [out(3, 0x1000, pack([8, 8192 * 1024], [8, -1]))],
  },
);
add("nanosleep({tv_sec=1, tv_nsec=0}, 0x2000) = 0", "nanosleep", {
  args: [0x1000, 0x2000],
  captures: [into(0, 0x1000, pack([8, 1], [8, 0]))],
});
add("sched_getaffinity(0, 128, [0 1])        = 32", "sched_getaffinity", {
  args: [0, 128, 0x1000],
  ret: 32,
  captures: [out(2, 0x1000, concat(Uint8Array.of(3), zeros(31)))],
});
add("personality(0xffffffff)                 = 0 (PER_LINUX)", "personality", {
  args: [0xffffffff],
});

// --- futex, prctl ---

add("futex(0x1000, FUTEX_WAKE_PRIVATE, 1)    = 0", "futex", { args: [0x1000, 129, 1] });
add(
  "futex(0x1000, FUTEX_WAIT, 0, NULL)      = -1 EAGAIN (Resource temporarily unavailable)",
  "futex",
  {
    args: [0x1000, 0, 0, 0],
    ret: -11,
  },
);
add(
  "futex(0x1000, FUTEX_WAIT_BITSET|FUTEX_CLOCK_REALTIME, 0, {tv_sec=0, tv_nsec=1000000}, FUTEX_BITSET_MATCH_ANY) = -1 EAGAIN (Resource temporarily unavailable)",
  "futex",
  {
    args: [0x1000, 265, 0, 0x2000, 0, 0xffffffff],
    ret: -11,
    captures: [into(3, 0x2000, pack([8, 0], [8, 1000000]))],
  },
);
add("futex(0x1000, FUTEX_CMP_REQUEUE_PRIVATE, 1, 2, 0x2000, 1) = 0", "futex", {
  args: [0x1000, 132, 1, 2, 0x2000, 1],
});
add(
  "futex(0x1000, FUTEX_WAKE_OP, 1, 2, 0x2000, FUTEX_OP_ADD<<28|0x1<<12|FUTEX_OP_CMP_GT<<24|0x3) = 0",
  "futex",
  {
    args: [0x1000, 5, 1, 2, 0x2000, 0x14001003],
  },
);
add(
  "futex(0x1000, 0x4d /* FUTEX_??? */, 1, 0x2, 0x3, 0x4) = -1 ENOSYS (Function not implemented)",
  "futex",
  {
    args: [0x1000, 77, 1, 2, 3, 4],
    ret: -38,
  },
);
add('prctl(PR_SET_NAME, "abc")               = 0', "prctl", {
  args: [15, 0x1000],
  captures: [into(1, 0x1000, "abc")],
});
add("prctl(PR_GET_PDEATHSIG, [SIGTERM])      = 0", "prctl", {
  args: [2, 0x1000],
  captures: [out(1, 0x1000, pack([4, 15]))],
});
add("prctl(PR_GET_DUMPABLE)                  = 1 (SUID_DUMP_USER)", "prctl", { args: [3], ret: 1 });
add("prctl(PR_CAPBSET_READ, CAP_FOWNER)      = 1", "prctl", { args: [23, 3], ret: 1 });
add("prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  = 0", "prctl", { args: [38, 1, 0, 0, 0] });
add("prctl(0x270f /* PR_??? */, 0x1, 0x2, 0x3, 0x4) = -1 EINVAL (Invalid argument)", "prctl", {
  args: [9999, 1, 2, 3, 4],
  ret: -22,
});
add("arch_prctl(ARCH_SET_FS, 0x7fb11604d740) = 0", "arch_prctl", {
  args: [0x1002, 0x7fb11604d740],
});

// --- poll, select, epoll ---

const POLLFDS = pack([4, 5], [2, 1], [2, 0], [4, 6], [2, 0x14], [2, 0]);
const POLLED = pack([4, 5], [2, 1], [2, 0], [4, 6], [2, 0x14], [2, 4]);
add(
  "poll([{fd=5<pipe:[17]>, events=POLLIN}, {fd=6, events=POLLOUT|POLLHUP}], 2, 10) = 1 ([{fd=6, revents=POLLOUT}])",
  "poll",
  {
    args: [0x1000, 2, 10],
    ret: 1,
    captures: [into(0, 0x1000, POLLFDS), out(0, 0x1000, POLLED)],
    refs: [ref(Slot.Nested, 2, 5)],
  },
);
add("poll([{fd=5, events=POLLIN}], 1, 1)     = 0 (Timeout)", "poll", {
  args: [0x1000, 1, 1],
  captures: [into(0, 0x1000, POLLFDS.subarray(0, 8)), out(0, 0x1000, POLLFDS.subarray(0, 8))],
});
add(
  "pselect6(7, [5], [6], NULL, {tv_sec=0, tv_nsec=1000000}, {sigmask=[INT RT_3], sigsetsize=8}) = 1 (out [6], left {tv_sec=0, tv_nsec=998608})",
  "pselect6",
  {
    args: [7, 0x1000, 0x2000, 0, 0x3000, 0x4000],
    ret: 1,
    captures: [
      into(1, 0x1000, pack([8, 0x20])),
      into(2, 0x2000, pack([8, 0x40])),
      into(4, 0x3000, pack([8, 0], [8, 1000000])),
      into(5, 0x4000, pack([8, 0x5000], [8, 8])),
      into(5, 0x5000, pack([4, 2], [4, 4])),
      out(1, 0x1000, pack([8, 0])),
      out(2, 0x2000, pack([8, 0x40])),
      out(4, 0x3000, pack([8, 0], [8, 998608])),
    ],
  },
);
add(
  "epoll_ctl(7, EPOLL_CTL_ADD, 5, {events=EPOLLIN|EPOLLET, data={u32=878082192, u64=78187493520}}) = 0",
  "epoll_ctl",
  {
    args: [7, 1, 5, 0x1000],
    captures: [into(3, 0x1000, pack([4, 0x80000001], [8, 0x1234567890]))],
  },
);
add("epoll_ctl(7, EPOLL_CTL_DEL, 5, 0x7ffc1887d8a4) = 0", "epoll_ctl", {
  args: [7, 2, 5, 0x7ffc1887d8a4],
  captures: [into(3, 0x7ffc1887d8a4, pack([4, 1], [8, 1]))],
});
add("epoll_wait(7, [{events=EPOLLOUT, data={u32=6, u64=77309411334}}], 4, 10) = 1", "epoll_wait", {
  args: [7, 0x1000, 4, 10],
  ret: 1,
  captures: [out(1, 0x1000, pack([4, 4], [8, 77309411334]))],
});
add("epoll_wait(7, [], 4, 0)                 = 0", "epoll_wait", {
  args: [7, 0x1000, 4, 0],
  captures: [out(1, 0x1000, zeros(0))],
});

// --- sockets ---

add(
  "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_TCP) = 3<socket:[21]>",
  "socket",
  {
    args: [2, 0o2004001, 6],
    ret: 3,
    refs: [ref(Slot.Ret, 3)],
  },
);
add("socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE) = 15", "socket", {
  args: [16, 0o2000003, 0],
  ret: 15,
});
add("socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) = 18", "socket", {
  args: [17, 3, 0x300],
  ret: 18,
});
add(
  "socket(0x4d /* AF_??? */, SOCK_SEQPACKET, 9) = -1 EAFNOSUPPORT (Address family not supported by protocol)",
  "socket",
  {
    args: [77, 5, 9],
    ret: -97,
  },
);
const INET = (port: number) =>
  concat(pack([2, 2]), Uint8Array.of(port >> 8, port & 255, 127, 0, 0, 1), zeros(8));
add(
  'connect(4, {sa_family=AF_INET, sin_port=htons(38567), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
  "connect",
  {
    args: [4, 0x1000, 16],
    captures: [into(1, 0x1000, INET(38567))],
  },
);
add(
  'accept4(3, {sa_family=AF_INET, sin_port=htons(51414), sin_addr=inet_addr("127.0.0.1")}, [128 => 16], SOCK_CLOEXEC) = 5',
  "accept4",
  {
    args: [3, 0x1000, 0x2000, 0o2000000],
    ret: 5,
    captures: [
      into(2, 0x2000, pack([4, 128])),
      out(2, 0x2000, pack([4, 16])),
      out(1, 0x1000, INET(51414)),
    ],
  },
);
add(
  "accept(3, NULL, NULL)                   = -1 EAGAIN (Resource temporarily unavailable)",
  "accept",
  {
    args: [3, 0, 0],
    ret: -11,
  },
);
const INET6 = concat(
  pack([2, 10]),
  Uint8Array.of(0, 53, 0, 0, 0, 5),
  zeros(15),
  Uint8Array.of(1),
  pack([4, 0]),
);
add(
  'connect(6, {sa_family=AF_INET6, sin6_port=htons(53), sin6_flowinfo=htonl(5), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0',
  "connect",
  {
    args: [6, 0x1000, 28],
    captures: [into(1, 0x1000, INET6)],
  },
);
add(
  'connect(7, {sa_family=AF_UNIX, sun_path="/tmp/w/nosock"}, 110) = -1 ENOENT (No such file or directory)',
  "connect",
  {
    args: [7, 0x1000, 110],
    ret: -2,
    captures: [into(1, 0x1000, concat(pack([2, 1]), text("/tmp/w/nosock"), zeros(95)))],
  },
);
add('bind(7, {sa_family=AF_UNIX, sun_path=@"abstract"}, 11) = 0', "bind", {
  args: [7, 0x1000, 11],
  captures: [into(1, 0x1000, concat(pack([2, 1]), text("\0abstract")))],
});
add("bind(9, {sa_family=AF_UNIX}, 2)         = 0", "bind", {
  args: [9, 0x1000, 2],
  captures: [into(1, 0x1000, pack([2, 1]))],
});
add("bind(15, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 0", "bind", {
  args: [15, 0x1000, 12],
  captures: [into(1, 0x1000, concat(pack([2, 16]), zeros(10)))],
});
add('recvfrom(5, "hello", 20, 0, 0x2000, [128 => 0]) = 5', "recvfrom", {
  args: [5, 0x1000, 20, 0, 0x2000, 0x3000],
  ret: 5,
  captures: [
    out(1, 0x1000, text("hello")),
    into(5, 0x3000, pack([4, 128])),
    out(5, 0x3000, pack([4, 0])),
  ],
});
add("setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0", "setsockopt", {
  args: [3, 1, 2, 0x1000, 4],
  captures: [into(3, 0x1000, pack([4, 1]))],
});
add("setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 4) = 0", "setsockopt", {
  args: [3, 6, 1, 0x1000, 4],
  captures: [into(3, 0x1000, pack([4, 1]))],
});
add(
  'setsockopt(3, 0x3e7 /* SOL_?? */, 1, "abcdefgh", 8) = -1 ENOPROTOOPT (Protocol not available)',
  "setsockopt",
  {
    args: [3, 999, 1, 0x1000, 8],
    ret: -92,
    captures: [into(3, 0x1000, text("abcdefgh"))],
  },
);
add("getsockopt(3, SOL_SOCKET, SO_LINGER, {l_onoff=1, l_linger=5}, [100 => 8]) = 0", "getsockopt", {
  args: [3, 1, 13, 0x1000, 0x2000],
  captures: [
    into(4, 0x2000, pack([4, 100])),
    out(4, 0x2000, pack([4, 8])),
    out(3, 0x1000, pack([4, 1], [4, 5])),
  ],
});
add("getsockopt(3, SOL_SOCKET, SO_ERROR, [0], [4]) = 0", "getsockopt", {
  args: [3, 1, 4, 0x1000, 0x2000],
  captures: [
    into(4, 0x2000, pack([4, 4])),
    out(4, 0x2000, pack([4, 4])),
    out(3, 0x1000, pack([4, 0])),
  ],
});
const RIGHTS = pack([8, 24], [4, 1], [4, 1], [4, 0], [4, 1]);
add(
  'sendmsg(7<socket:[21]>, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="abc", iov_len=3}, {iov_base="de", iov_len=2}], msg_iovlen=2, msg_control=[{cmsg_len=24, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[0</dev/null>, 1</tmp/w/x>]}], msg_controllen=24, msg_flags=0}, MSG_NOSIGNAL) = 5',
  "sendmsg",
  {
    args: [7, 0x1000, 0x4000],
    ret: 5,
    captures: [
      into(1, 0x1000, pack([8, 0], [8, 0], [8, 0x2000], [8, 2], [8, 0x3000], [8, 24], [8, 0])),
      into(1, 0x2000, pack([8, 0x4000], [8, 3], [8, 0x5000], [8, 2])),
      into(1, 0x3000, RIGHTS),
      into(1, 0x4000, text("abc")),
      into(1, 0x5000, text("de")),
    ],
    refs: [ref(0, 3), ref(Slot.Nested, 6, 0), ref(Slot.Nested, 1, 1)],
  },
);
const CREDENTIALS = pack([8, 28], [4, 1], [4, 2], [4, 1951], [4, 0], [4, 0], [4, 0]);
add(
  'recvmsg(8, {msg_name={sa_family=AF_UNIX, sun_path=@"abstract"}, msg_namelen=110 => 11, msg_iov=[{iov_base="abcde", iov_len=50}], msg_iovlen=1, msg_control=[{cmsg_len=28, cmsg_level=SOL_SOCKET, cmsg_type=SCM_CREDENTIALS, cmsg_data={pid=1951, uid=0, gid=0}}, {cmsg_len=24, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[0</dev/null>, 1]}], msg_controllen=56, msg_flags=MSG_CMSG_CLOEXEC}, MSG_CMSG_CLOEXEC) = 5',
  "recvmsg",
  {
    args: [8, 0x1000, 0x40000000],
    ret: 5,
    captures: [
      into(
        1,
        0x1000,
        pack([8, 0x6000], [8, 110], [8, 0x2000], [8, 1], [8, 0x3000], [8, 100], [8, 0]),
      ),
      into(1, 0x2000, pack([8, 0x4000], [8, 50])),
      out(
        1,
        0x1000,
        pack([8, 0x6000], [8, 11], [8, 0x2000], [8, 1], [8, 0x3000], [8, 56], [8, 0x40000000]),
      ),
      out(1, 0x6000, concat(pack([2, 1]), text("\0abstract"))),
      out(1, 0x4000, text("abcde")),
      out(1, 0x3000, concat(CREDENTIALS, RIGHTS)),
    ],
    refs: [ref(Slot.Nested, 6, 0)],
  },
);
add(
  "recvmsg(8, {msg_namelen=110}, MSG_DONTWAIT) = -1 EAGAIN (Resource temporarily unavailable)",
  "recvmsg",
  {
    args: [8, 0x1000, 0x40],
    ret: -11,
    captures: [
      into(1, 0x1000, pack([8, 0x6000], [8, 110], [8, 0], [8, 0], [8, 0], [8, 0], [8, 0])),
    ],
  },
);
const GETLINK = pack([4, 20], [2, 18], [2, 0x301], [4, 1], [4, 0], [4, 0]);
add(
  "sendto(15<socket:[22]>, [{nlmsg_len=20, nlmsg_type=RTM_GETLINK, nlmsg_flags=NLM_F_REQUEST|NLM_F_DUMP, nlmsg_seq=1, nlmsg_pid=0}, {ifi_family=AF_UNSPEC, ...}], 20, 0, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 20",
  "sendto",
  {
    args: [15, 0x1000, 20, 0, 0x2000, 12],
    ret: 20,
    captures: [into(1, 0x1000, GETLINK), into(4, 0x2000, concat(pack([2, 16]), zeros(10)))],
    refs: [ref(0, 5)],
  },
);
const NEWADDR = concat(
  pack([4, 76], [2, 20], [2, 2], [4, 1], [4, 1951], [1, 2], [1, 8], [1, 0x80], [1, 254], [4, 1]),
  pack([2, 8], [2, 1], [4, 0x0100007f], [2, 8], [2, 2], [4, 0x0100007f], [2, 7], [2, 3]),
  text("lo\0\0"),
  pack([2, 8], [2, 8], [4, 0x80], [2, 20], [2, 6], [4, -1], [4, -1], [4, 22], [4, 22]),
);
const DONE = pack([4, 20], [2, 3], [2, 2], [4, 1], [4, 1951], [4, 0]);
add(
  'recvfrom(15<socket:[22]>, [[{nlmsg_len=76, nlmsg_type=RTM_NEWADDR, nlmsg_flags=NLM_F_MULTI, nlmsg_seq=1, nlmsg_pid=1951}, {ifa_family=AF_INET, ifa_prefixlen=8, ifa_flags=IFA_F_PERMANENT, ifa_scope=RT_SCOPE_HOST, ifa_index=if_nametoindex("lo")}, [[{nla_len=8, nla_type=IFA_ADDRESS}, inet_addr("127.0.0.1")], [{nla_len=8, nla_type=IFA_LOCAL}, inet_addr("127.0.0.1")], [{nla_len=7, nla_type=IFA_LABEL}, "lo"], [{nla_len=8, nla_type=IFA_FLAGS}, IFA_F_PERMANENT], [{nla_len=20, nla_type=IFA_CACHEINFO}, {ifa_prefered=4294967295, ifa_valid=4294967295, cstamp=22, tstamp=22}]]], [{nlmsg_len=20, nlmsg_type=NLMSG_DONE, nlmsg_flags=NLM_F_MULTI, nlmsg_seq=1, nlmsg_pid=1951}, 0]], 8192, 0, NULL, NULL) = 96',
  "recvfrom",
  {
    args: [15, 0x1000, 8192, 0, 0, 0],
    ret: 96,
    captures: [out(1, 0x1000, concat(NEWADDR, DONE))],
    refs: [ref(0, 5)],
  },
);
// A link has the name that its message tells.
const NEWLINK = concat(
  pack(
    [4, 144],
    [2, 16],
    [2, 2],
    [4, 1],
    [4, 1951],
    [1, 0],
    [1, 0],
    [2, 1],
    [4, 7],
    [4, 1],
    [4, 0],
  ),
  pack([2, 9], [2, 3]),
  text("eth0\0\0\0\0"),
  pack([2, 100], [2, 7], [4, 5], [4, 6]),
  zeros(88),
);
add(
  'recvfrom(15<socket:[22]>, [{nlmsg_len=144, nlmsg_type=RTM_NEWLINK, nlmsg_flags=NLM_F_MULTI, nlmsg_seq=1, nlmsg_pid=1951}, {ifi_family=AF_UNSPEC, ifi_type=ARPHRD_ETHER, ifi_index=if_nametoindex("eth0"), ifi_flags=IFF_UP, ifi_change=0}, [[{nla_len=9, nla_type=IFLA_IFNAME}, "eth0"], [{nla_len=100, nla_type=IFLA_STATS}, {rx_packets=5, tx_packets=6, rx_bytes=0, tx_bytes=0, rx_errors=0, tx_errors=0, rx_dropped=0, tx_dropped=0, multicast=0, collisions=0, rx_length_errors=0, rx_over_errors=0, rx_crc_errors=0, rx_frame_errors=0, rx_fifo_errors=0, rx_missed_errors=0, tx_aborted_errors=0, tx_carrier_errors=0, tx_fifo_errors=0, tx_heartbeat_errors=0, tx_window_errors=0, rx_compressed=0, tx_compressed=0, rx_nohandler=0}]]], 8192, 0, NULL, NULL) = 144',
  "recvfrom",
  {
    args: [15, 0x1000, 8192, 0, 0, 0],
    ret: 144,
    captures: [out(1, 0x1000, NEWLINK)],
    refs: [ref(0, 5)],
  },
);

test.each(lines)("%s", (line, name, spec) => {
  expect(show(name, spec)).toBe(line);
});

test("the long form shows what the short one counts", () => {
  const verbose = { ...STRACE_NOTATION, verbose: true };
  const spec = { args: [19, 0x1000, 8192], ret: 48, captures: [out(1, 0x1000, DIRENTS)] };
  expect(show("getdents64", spec, verbose)).toBe(
    'getdents64(19, [{d_ino=11, d_off=1, d_reclen=24, d_type=DT_DIR, d_name="."}, {d_ino=12, d_off=2, d_reclen=24, d_type=DT_REG, d_name="f1"}], 8192) = 48',
  );
});

test("the long form has the number of a device where a file has its size", () => {
  const verbose = { ...STRACE_NOTATION, verbose: true };
  const status = STAT(0o020666, 0x500, 0);
  const spec = { args: [3, 0x2000], captures: [out(1, 0x2000, status)], refs: [ref(0, 1)] };
  expect(show("fstat", spec, verbose)).toMatch(
    /st_blksize=4096, st_blocks=80, st_rdev=makedev\(0x5, 0\), st_atime=/,
  );
});

test("-s shortens buffers and arrays, not paths", () => {
  const short = { ...STRACE_NOTATION, stringLimit: 4 };
  const path = "/a/rather/long/path";
  expect(show("chdir", { args: [0x1000], captures: [into(0, 0x1000, path)] }, short)).toContain(
    path,
  );
  const write = { args: [1, 0x1000, 6], ret: 6, captures: [into(1, 0x1000, text("abcdef"))] };
  expect(show("write", write, short)).toContain('"abcd"..., 6)');
});

test("memory that was not captured is its address", () => {
  expect(show("openat", { args: [-100, 0x1000, 0, 0], ret: 3 })).toBe(
    "openat(AT_FDCWD, 0x1000, O_RDONLY)      = 3",
  );
  expect(show("rt_sigaction", { args: [2, 0x1000, 0x2000, 8] })).toBe(
    "rt_sigaction(SIGINT, 0x1000, 0x2000, 8) = 0",
  );
});

test("i386 arguments of 64 bits come in halves", () => {
  const spec = { arch: 1, args: [3, 0x1000, 2, 0xfffffffb, 0xffffffff], ret: -22 };
  expect(show("pread64", spec)).toBe(
    "pread64(3, 0x1000, 2, -5)               = -1 EINVAL (Invalid argument)",
  );
});

test("environment values of secrets are masked in the long form", () => {
  const spec: Spec = {
    args: [0x1000, 0, 0x3000],
    captures: [
      into(0, 0x1000, "/bin/true"),
      into(2, 0x3000, pack([8, 0x6000], [8, 0x6020], [8, 0])),
      into(2, 0x6000, "A=1"),
      into(2, 0x6020, cstr("API_TOKEN=abc")),
    ],
  };
  const verbose = { ...STRACE_NOTATION, verbose: true };
  expect(show("execve", spec, verbose)).toContain('["A=1", "API_TOKEN=***"]');
  expect(show("execve", spec, { ...verbose, showSecrets: true })).toContain('"API_TOKEN=abc"');
});
