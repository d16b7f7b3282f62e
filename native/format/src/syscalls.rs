//! THE syscall table: one row per syscall, on one line.
//!
//! Recorder, replayer, decoder, diff and spec read these rows, and the TypeScript tables are generated from them. This
//! module knows what the kernel does with an argument; how a value is shown is not its business. Numbers are in
//! `numbers.rs`, constants in `flags.rs`, layouts in `structs.rs`.
//!
//! How to read and write a row:
//! - A row holds for both architectures where number column, arguments and struct layouts agree. Where i386 differs (old
//!   `timespec`, split 64-bit offsets, 16-bit ids) there are two rows of one name, made by [`only64`] and [`only32`], or
//!   one of another name; structs named `compat_*` and `old_*32` have the 32-bit layout. Pointers to arrays of pointers,
//!   `iovec`, `msghdr`, `fd_set`, and `Irregular` types are read with the word size of the event's architecture.
//! - `int`, `fd`, `pid` and their like are the low 32 bits of the register, `size`, `off`, `addr`, `long`, `ulong`,
//!   `hex` and `flags` the whole word. Behind a pointer `Off` has 8 bytes on every architecture, `Long`, `Ulong`, `Size`,
//!   `Addr` and `Time` one word, all other scalars 4.
//! - [`special`] is a scalar whose display depends on more than its own set; nothing behind it is captured.
//! - An `Irregular` pointer with a length other than `Own` is captured as that many plain bytes, so only pointers inside
//!   them need code of their own; with `Own` the family's file says how much there is.
//! - A struct whose first member is its own 32-bit size has `Pointee` of its own index as length.
//! - `InOut` also marks what the kernel writes although the call fails: the time left of `select`, the size it wants.
//! - Classes are those of strace 6.1, and for newer calls those of later versions. `since` is the version of the native
//!   64-bit call.

use crate::numbers::nr;
use crate::table::Blocks::{Fd, May, Never};
use crate::table::Len::{Arg as FromArg, Fixed, Pointee, RetMax};
use crate::table::Replay::{Emulate, Execute, Lifecycle, Refuse};
use crate::table::class::{
    CLOCK, CREDS, DESC, FILE, FSTAT, FSTATFS, IPC, LSTAT, MEMORY, NETWORK, PROCESS, PURE, SIGNAL, STAT, STATFS,
};
use crate::table::{Arch, Arg, Blocks, Dir, Len, Number, Replay, Ret, Syscall, Ty};

/// In no class.
const NONE: u32 = 0;

// The fields of a row, in the order in which the rows of the table are read.
#[allow(clippy::too_many_arguments)]
const fn row(
    number: Number,
    name: &'static str,
    class: u32,
    args: &'static [Arg],
    ret: Ret,
    blocks: Blocks,
    replay: Replay,
    since: (u8, u8),
) -> Syscall {
    Syscall { name, number, class, args, ret, blocks, replay, since }
}

/// The x86-64 half of a name that means something else on i386.
const fn only64(number: Number) -> Number {
    Number { x86_64: number.x86_64, i386: -1 }
}

/// The i386 half of a name that means something else on x86-64.
const fn only32(number: Number) -> Number {
    Number { x86_64: -1, i386: number.i386 }
}

const fn arg(name: &'static str, ty: Ty, dir: Dir, len: Len) -> Arg {
    Arg { name, ty, dir, len }
}

const fn scalar(name: &'static str, ty: Ty) -> Arg {
    arg(name, ty, Dir::In, Len::Own)
}

/// Constructors of arguments that are a plain scalar: `fd("fd")`.
macro_rules! scalars {
    ($($function:ident $ty:ident),+ $(,)?) => {
        $(const fn $function(name: &'static str) -> Arg {
            scalar(name, Ty::$ty)
        })+
    };
}

scalars! {
    int Int, uint Uint, long Long, ulong Ulong, hex Hex, addr Addr, size Size, off Off, fd Fd, dirfd DirFd, pid Pid,
    uid Uid, gid Gid, mode Mode, filemode FileMode, dev Dev, signal Signal,
}

const fn flags(name: &'static str, set: &'static str) -> Arg {
    scalar(name, Ty::Flags(set))
}

const fn choice(name: &'static str, set: &'static str) -> Arg {
    scalar(name, Ty::Enum(set))
}

const fn special(name: &'static str, family: &'static str) -> Arg {
    arg(name, Ty::Irregular(family), Dir::In, Len::Fixed(0))
}

const fn path(name: &'static str) -> Arg {
    scalar(name, Ty::Path)
}

const fn path_out(name: &'static str, len: Len) -> Arg {
    arg(name, Ty::Path, Dir::Out, len)
}

const fn string(name: &'static str) -> Arg {
    scalar(name, Ty::Str)
}

const fn strings(name: &'static str) -> Arg {
    scalar(name, Ty::StrArray)
}

const fn bytes_in(name: &'static str, len: Len) -> Arg {
    arg(name, Ty::Bytes, Dir::In, len)
}

const fn bytes_out(name: &'static str, len: Len) -> Arg {
    arg(name, Ty::Bytes, Dir::Out, len)
}

const fn struct_in(name: &'static str, layout: &'static str) -> Arg {
    arg(name, Ty::Struct(layout), Dir::In, Len::Own)
}

const fn struct_out(name: &'static str, layout: &'static str) -> Arg {
    arg(name, Ty::Struct(layout), Dir::Out, Len::Own)
}

const fn struct_inout(name: &'static str, layout: &'static str) -> Arg {
    arg(name, Ty::Struct(layout), Dir::InOut, Len::Own)
}

/// The same argument with a size that the program says.
const fn sized(argument: Arg, len: Len) -> Arg {
    Arg { len, ..argument }
}

const fn ptr_in(name: &'static str, ty: &'static Ty) -> Arg {
    arg(name, Ty::Ptr(ty), Dir::In, Len::Own)
}

const fn ptr_out(name: &'static str, ty: &'static Ty) -> Arg {
    arg(name, Ty::Ptr(ty), Dir::Out, Len::Own)
}

const fn ptr_inout(name: &'static str, ty: &'static Ty) -> Arg {
    arg(name, Ty::Ptr(ty), Dir::InOut, Len::Own)
}

const fn array_in(name: &'static str, ty: &'static Ty, len: Len) -> Arg {
    arg(name, Ty::Array(ty), Dir::In, len)
}

const fn array_out(name: &'static str, ty: &'static Ty, len: Len) -> Arg {
    arg(name, Ty::Array(ty), Dir::Out, len)
}

const fn array_inout(name: &'static str, ty: &'static Ty, len: Len) -> Arg {
    arg(name, Ty::Array(ty), Dir::InOut, len)
}

const fn iovec_in(name: &'static str, len: Len) -> Arg {
    arg(name, Ty::Iovec, Dir::In, len)
}

const fn iovec_out(name: &'static str, len: Len) -> Arg {
    arg(name, Ty::Iovec, Dir::Out, len)
}

const fn msghdr_in(name: &'static str) -> Arg {
    arg(name, Ty::Msghdr, Dir::In, Len::Own)
}

const fn msghdr_out(name: &'static str) -> Arg {
    arg(name, Ty::Msghdr, Dir::Out, Len::Own)
}

const fn mmsghdr_in(name: &'static str, len: Len) -> Arg {
    arg(name, Ty::Mmsghdr, Dir::In, len)
}

const fn mmsghdr_out(name: &'static str, len: Len) -> Arg {
    arg(name, Ty::Mmsghdr, Dir::Out, len)
}

const fn sockaddr_in(name: &'static str, len: Len) -> Arg {
    arg(name, Ty::Sockaddr, Dir::In, len)
}

const fn sockaddr_out(name: &'static str, len: Len) -> Arg {
    arg(name, Ty::Sockaddr, Dir::Out, len)
}

const fn fdset(name: &'static str, len: Len) -> Arg {
    arg(name, Ty::FdSet, Dir::InOut, len)
}

const fn sigset_in(name: &'static str, len: Len) -> Arg {
    arg(name, Ty::Sigset, Dir::In, len)
}

const fn sigset_out(name: &'static str, len: Len) -> Arg {
    arg(name, Ty::Sigset, Dir::Out, len)
}

const fn irregular_in(name: &'static str, family: &'static str) -> Arg {
    arg(name, Ty::Irregular(family), Dir::In, Len::Own)
}

const fn irregular_out(name: &'static str, family: &'static str) -> Arg {
    arg(name, Ty::Irregular(family), Dir::Out, Len::Own)
}

const fn irregular_inout(name: &'static str, family: &'static str) -> Arg {
    arg(name, Ty::Irregular(family), Dir::InOut, Len::Own)
}

/// All rows: by x86-64 number, then those that only i386 has by i386 number.
pub static SYSCALLS: &[Syscall] = ROWS;

// A table is read down its columns: one row is one line, however long.
#[rustfmt::skip]
const ROWS: &[Syscall] = &[
    row(nr::READ, "read", DESC, &[fd("fd"), bytes_out("buf", RetMax(2)), size("count")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(nr::WRITE, "write", DESC, &[fd("fd"), bytes_in("buf", FromArg(2)), size("count")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(nr::OPEN, "open", FILE | DESC, &[path("filename"), flags("flags", "open_flags"), mode("mode")], Ret::Fd, May, Emulate, (2, 6)),
    row(nr::CLOSE, "close", DESC, &[fd("fd")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::STAT), "stat", FILE | STAT, &[path("filename"), struct_out("statbuf", "stat")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::FSTAT), "fstat", DESC | FSTAT, &[fd("fd"), struct_out("statbuf", "stat")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::LSTAT), "lstat", FILE | LSTAT, &[path("filename"), struct_out("statbuf", "stat")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::POLL, "poll", DESC, &[array_inout("ufds", &Ty::Struct("pollfd"), FromArg(1)), uint("nfds"), int("timeout")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::LSEEK, "lseek", DESC, &[fd("fd"), off("offset"), choice("whence", "whence")], Ret::Size, Never, Emulate, (2, 6)),
    row(only64(nr::MMAP), "mmap", DESC | MEMORY, &[addr("addr"), size("len"), flags("prot", "mmap_prot"), flags("flags", "mmap_flags"), fd("fd"), hex("off")], Ret::Addr, Never, Execute, (2, 6)),
    row(nr::MPROTECT, "mprotect", MEMORY, &[addr("start"), size("len"), flags("prot", "mmap_prot")], Ret::Int, Never, Execute, (2, 6)),
    row(nr::MUNMAP, "munmap", MEMORY, &[addr("addr"), size("len")], Ret::Int, Never, Execute, (2, 6)),
    row(nr::BRK, "brk", MEMORY, &[addr("brk")], Ret::Addr, Never, Execute, (2, 6)),
    row(only64(nr::RT_SIGACTION), "rt_sigaction", SIGNAL, &[signal("sig"), struct_in("act", "sigaction"), struct_out("oact", "sigaction"), size("sigsetsize")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::RT_SIGPROCMASK, "rt_sigprocmask", SIGNAL, &[choice("how", "sigprocmask_how"), sigset_in("nset", FromArg(3)), sigset_out("oset", FromArg(3)), size("sigsetsize")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::RT_SIGRETURN, "rt_sigreturn", SIGNAL, &[], Ret::Int, Never, Execute, (2, 6)),
    row(nr::IOCTL, "ioctl", DESC, &[fd("fd"), special("cmd", "ioctl_cmd"), irregular_inout("arg", "ioctl")], Ret::Irregular("ioctl"), Fd(0), Emulate, (2, 6)),
    row(only64(nr::PREAD64), "pread64", DESC, &[fd("fd"), bytes_out("buf", RetMax(2)), size("count"), off("pos")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(only64(nr::PWRITE64), "pwrite64", DESC, &[fd("fd"), bytes_in("buf", FromArg(2)), size("count"), off("pos")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(nr::READV, "readv", DESC, &[fd("fd"), iovec_out("vec", FromArg(2)), ulong("vlen")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(nr::WRITEV, "writev", DESC, &[fd("fd"), iovec_in("vec", FromArg(2)), ulong("vlen")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(nr::ACCESS, "access", FILE, &[path("filename"), flags("mode", "access_mode")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::PIPE, "pipe", DESC, &[array_out("fildes", &Ty::Fd, Fixed(2))], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::SELECT), "select", DESC, &[int("n"), fdset("inp", FromArg(0)), fdset("outp", FromArg(0)), fdset("exp", FromArg(0)), struct_inout("tvp", "timeval")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::SCHED_YIELD, "sched_yield", NONE, &[], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MREMAP, "mremap", MEMORY, &[addr("addr"), size("old_len"), size("new_len"), flags("flags", "mremap_flags"), addr("new_addr")], Ret::Addr, Never, Execute, (2, 6)),
    row(nr::MSYNC, "msync", MEMORY, &[addr("start"), size("len"), flags("flags", "msync_flags")], Ret::Int, Never, Execute, (2, 6)),
    row(nr::MINCORE, "mincore", MEMORY, &[addr("start"), size("len"), irregular_out("vec", "mincore")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MADVISE, "madvise", MEMORY, &[addr("start"), size("len"), choice("behavior", "madvise_advice")], Ret::Int, Never, Execute, (2, 6)),
    row(nr::SHMGET, "shmget", IPC, &[choice("key", "ipc_key"), size("size"), flags("shmflg", "shmget_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SHMAT, "shmat", MEMORY | IPC, &[int("shmid"), addr("shmaddr"), flags("shmflg", "shmat_flags")], Ret::Addr, Never, Execute, (2, 6)),
    row(nr::SHMCTL, "shmctl", IPC, &[int("shmid"), choice("cmd", "shmctl_cmd"), irregular_inout("buf", "shmctl")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::DUP, "dup", DESC, &[fd("fildes")], Ret::Fd, Never, Emulate, (2, 6)),
    row(nr::DUP2, "dup2", DESC, &[fd("oldfd"), fd("newfd")], Ret::Fd, Never, Emulate, (2, 6)),
    row(nr::PAUSE, "pause", SIGNAL, &[], Ret::Int, May, Emulate, (2, 6)),
    row(only64(nr::NANOSLEEP), "nanosleep", NONE, &[struct_in("rqtp", "timespec"), struct_out("rmtp", "timespec")], Ret::Int, May, Emulate, (2, 6)),
    row(only64(nr::GETITIMER), "getitimer", NONE, &[choice("which", "itimer_which"), struct_out("value", "itimerval")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::ALARM, "alarm", NONE, &[uint("seconds")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::SETITIMER), "setitimer", NONE, &[choice("which", "itimer_which"), struct_in("value", "itimerval"), struct_out("ovalue", "itimerval")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETPID, "getpid", PURE, &[], Ret::Pid, Never, Emulate, (2, 6)),
    row(only64(nr::SENDFILE), "sendfile", DESC | NETWORK, &[fd("out_fd"), fd("in_fd"), ptr_inout("offset", &Ty::Ulong), size("count")], Ret::Size, May, Emulate, (2, 6)),
    row(nr::SOCKET, "socket", NETWORK, &[choice("family", "addr_family"), special("type", "socket_type"), special("protocol", "socket_protocol")], Ret::Fd, Never, Emulate, (2, 6)),
    row(nr::CONNECT, "connect", NETWORK, &[fd("fd"), sockaddr_in("uservaddr", FromArg(2)), int("addrlen")], Ret::Int, Fd(0), Emulate, (2, 6)),
    row(nr::ACCEPT, "accept", NETWORK, &[fd("fd"), sockaddr_out("upeer_sockaddr", Pointee(2)), ptr_inout("upeer_addrlen", &Ty::Int)], Ret::Fd, Fd(0), Emulate, (2, 6)),
    row(nr::SENDTO, "sendto", NETWORK, &[fd("fd"), bytes_in("buff", FromArg(2)), size("len"), flags("flags", "msg_flags"), sockaddr_in("addr", FromArg(5)), int("addr_len")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(nr::RECVFROM, "recvfrom", NETWORK, &[fd("fd"), bytes_out("ubuf", RetMax(2)), size("size"), flags("flags", "msg_flags"), sockaddr_out("addr", Pointee(5)), ptr_inout("addr_len", &Ty::Int)], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(nr::SENDMSG, "sendmsg", NETWORK, &[fd("fd"), msghdr_in("msg"), flags("flags", "msg_flags")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(nr::RECVMSG, "recvmsg", NETWORK, &[fd("fd"), msghdr_out("msg"), flags("flags", "msg_flags")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(nr::SHUTDOWN, "shutdown", NETWORK, &[fd("fd"), choice("how", "shutdown_how")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::BIND, "bind", NETWORK, &[fd("fd"), sockaddr_in("umyaddr", FromArg(2)), int("addrlen")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::LISTEN, "listen", NETWORK, &[fd("fd"), int("backlog")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETSOCKNAME, "getsockname", NETWORK, &[fd("fd"), sockaddr_out("usockaddr", Pointee(2)), ptr_inout("usockaddr_len", &Ty::Int)], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETPEERNAME, "getpeername", NETWORK, &[fd("fd"), sockaddr_out("usockaddr", Pointee(2)), ptr_inout("usockaddr_len", &Ty::Int)], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SOCKETPAIR, "socketpair", NETWORK, &[choice("family", "addr_family"), special("type", "socket_type"), special("protocol", "socket_protocol"), array_out("usockvec", &Ty::Fd, Fixed(2))], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SETSOCKOPT, "setsockopt", NETWORK, &[fd("fd"), choice("level", "sockopt_level"), special("optname", "sockopt_name"), sized(irregular_in("optval", "sockopt"), FromArg(4)), int("optlen")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETSOCKOPT, "getsockopt", NETWORK, &[fd("fd"), choice("level", "sockopt_level"), special("optname", "sockopt_name"), sized(irregular_out("optval", "sockopt"), Pointee(4)), ptr_inout("optlen", &Ty::Int)], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::CLONE), "clone", PROCESS, &[special("clone_flags", "clone_flags"), addr("newsp"), irregular_out("parent_tidptr", "clone_tid"), irregular_out("child_tidptr", "clone_tid"), addr("tls")], Ret::Pid, Never, Lifecycle, (2, 6)),
    row(nr::FORK, "fork", PROCESS, &[], Ret::Pid, Never, Lifecycle, (2, 6)),
    row(nr::VFORK, "vfork", PROCESS, &[], Ret::Pid, May, Lifecycle, (2, 6)),
    row(nr::EXECVE, "execve", FILE | PROCESS, &[path("filename"), strings("argv"), strings("envp")], Ret::Int, May, Lifecycle, (2, 6)),
    row(nr::EXIT, "exit", PROCESS, &[int("error_code")], Ret::Never, Never, Lifecycle, (2, 6)),
    row(only64(nr::WAIT4), "wait4", PROCESS, &[pid("upid"), ptr_out("stat_addr", &Ty::Irregular("wait_status")), flags("options", "wait4_options"), struct_out("ru", "rusage")], Ret::Pid, May, Emulate, (2, 6)),
    row(nr::KILL, "kill", PROCESS | SIGNAL, &[pid("pid"), signal("sig")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::UNAME, "uname", NONE, &[struct_out("name", "new_utsname")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SEMGET, "semget", IPC, &[choice("key", "ipc_key"), int("nsems"), flags("semflg", "semget_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SEMOP, "semop", IPC, &[int("semid"), array_in("tsops", &Ty::Struct("sembuf"), FromArg(2)), size("nsops")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::SEMCTL, "semctl", IPC, &[int("semid"), int("semnum"), choice("cmd", "semctl_cmd"), irregular_inout("arg", "semctl")], Ret::Irregular("semctl"), Never, Emulate, (2, 6)),
    row(nr::SHMDT, "shmdt", MEMORY | IPC, &[addr("shmaddr")], Ret::Int, Never, Execute, (2, 6)),
    row(nr::MSGGET, "msgget", IPC, &[choice("key", "ipc_key"), flags("msgflg", "msgget_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MSGSND, "msgsnd", IPC, &[int("msqid"), irregular_in("msgp", "msgbuf"), size("msgsz"), flags("msgflg", "msg_ipc_flags")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::MSGRCV, "msgrcv", IPC, &[int("msqid"), irregular_out("msgp", "msgbuf"), size("msgsz"), long("msgtyp"), flags("msgflg", "msg_ipc_flags")], Ret::Size, May, Emulate, (2, 6)),
    row(nr::MSGCTL, "msgctl", IPC, &[int("msqid"), choice("cmd", "msgctl_cmd"), irregular_inout("buf", "msgctl")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FCNTL, "fcntl", DESC, &[fd("fd"), choice("cmd", "fcntl_cmd"), irregular_inout("arg", "fcntl")], Ret::Irregular("fcntl"), May, Emulate, (2, 6)),
    row(nr::FLOCK, "flock", DESC, &[fd("fd"), flags("cmd", "flock_op")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::FSYNC, "fsync", DESC, &[fd("fd")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FDATASYNC, "fdatasync", DESC, &[fd("fd")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::TRUNCATE, "truncate", FILE, &[path("path"), ulong("length")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FTRUNCATE, "ftruncate", DESC, &[fd("fd"), ulong("length")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETDENTS, "getdents", DESC, &[fd("fd"), sized(irregular_out("dirent", "dirents"), RetMax(2)), uint("count")], Ret::Size, Never, Emulate, (2, 6)),
    row(nr::GETCWD, "getcwd", FILE, &[path_out("buf", RetMax(1)), size("size")], Ret::Size, Never, Emulate, (2, 6)),
    row(nr::CHDIR, "chdir", FILE, &[path("filename")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FCHDIR, "fchdir", DESC, &[fd("fd")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::RENAME, "rename", FILE, &[path("oldname"), path("newname")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MKDIR, "mkdir", FILE, &[path("pathname"), mode("mode")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::RMDIR, "rmdir", FILE, &[path("pathname")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::CREAT, "creat", FILE | DESC, &[path("pathname"), mode("mode")], Ret::Fd, May, Emulate, (2, 6)),
    row(nr::LINK, "link", FILE, &[path("oldname"), path("newname")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::UNLINK, "unlink", FILE, &[path("pathname")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SYMLINK, "symlink", FILE, &[string("oldname"), path("newname")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::READLINK, "readlink", FILE, &[path("path"), bytes_out("buf", RetMax(2)), size("bufsiz")], Ret::Size, Never, Emulate, (2, 6)),
    row(nr::CHMOD, "chmod", FILE, &[path("filename"), mode("mode")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FCHMOD, "fchmod", DESC, &[fd("fd"), mode("mode")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::CHOWN), "chown", FILE, &[path("filename"), uid("user"), gid("group")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::FCHOWN), "fchown", DESC, &[fd("fd"), uid("user"), gid("group")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::LCHOWN), "lchown", FILE, &[path("filename"), uid("user"), gid("group")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::UMASK, "umask", NONE, &[mode("mask")], Ret::Mode, Never, Emulate, (2, 6)),
    row(only64(nr::GETTIMEOFDAY), "gettimeofday", CLOCK, &[struct_out("tv", "timeval"), struct_out("tz", "timezone")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::GETRLIMIT), "getrlimit", NONE, &[choice("resource", "rlimit_resource"), struct_out("rlim", "rlimit")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::GETRUSAGE), "getrusage", NONE, &[choice("who", "rusage_who"), struct_out("ru", "rusage")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::SYSINFO), "sysinfo", NONE, &[struct_out("info", "sysinfo")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::TIMES), "times", NONE, &[struct_out("tbuf", "tms")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::PTRACE, "ptrace", NONE, &[choice("request", "ptrace_request"), pid("pid"), irregular_inout("addr", "ptrace"), irregular_inout("data", "ptrace")], Ret::Irregular("ptrace"), Never, Emulate, (2, 6)),
    row(only64(nr::GETUID), "getuid", CREDS | PURE, &[], Ret::Uid, Never, Emulate, (2, 6)),
    row(nr::SYSLOG, "syslog", NONE, &[choice("type", "syslog_action"), bytes_out("buf", RetMax(2)), int("len")], Ret::Size, May, Emulate, (2, 6)),
    row(only64(nr::GETGID), "getgid", CREDS | PURE, &[], Ret::Gid, Never, Emulate, (2, 6)),
    row(only64(nr::SETUID), "setuid", CREDS, &[uid("uid")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::SETGID), "setgid", CREDS, &[gid("gid")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::GETEUID), "geteuid", CREDS | PURE, &[], Ret::Uid, Never, Emulate, (2, 6)),
    row(only64(nr::GETEGID), "getegid", CREDS | PURE, &[], Ret::Gid, Never, Emulate, (2, 6)),
    row(nr::SETPGID, "setpgid", NONE, &[pid("pid"), pid("pgid")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETPPID, "getppid", PURE, &[], Ret::Pid, Never, Emulate, (2, 6)),
    row(nr::GETPGRP, "getpgrp", PURE, &[], Ret::Pid, Never, Emulate, (2, 6)),
    row(nr::SETSID, "setsid", NONE, &[], Ret::Pid, Never, Emulate, (2, 6)),
    row(only64(nr::SETREUID), "setreuid", CREDS, &[uid("ruid"), uid("euid")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::SETREGID), "setregid", CREDS, &[gid("rgid"), gid("egid")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::GETGROUPS), "getgroups", CREDS, &[int("gidsetsize"), array_out("grouplist", &Ty::Gid, RetMax(0))], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::SETGROUPS), "setgroups", CREDS, &[int("gidsetsize"), array_in("grouplist", &Ty::Gid, FromArg(0))], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::SETRESUID), "setresuid", CREDS, &[uid("ruid"), uid("euid"), uid("suid")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::GETRESUID), "getresuid", CREDS, &[ptr_out("ruidp", &Ty::Uid), ptr_out("euidp", &Ty::Uid), ptr_out("suidp", &Ty::Uid)], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::SETRESGID), "setresgid", CREDS, &[gid("rgid"), gid("egid"), gid("sgid")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::GETRESGID), "getresgid", CREDS, &[ptr_out("rgidp", &Ty::Gid), ptr_out("egidp", &Ty::Gid), ptr_out("sgidp", &Ty::Gid)], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETPGID, "getpgid", NONE, &[pid("pid")], Ret::Pid, Never, Emulate, (2, 6)),
    row(only64(nr::SETFSUID), "setfsuid", CREDS, &[uid("uid")], Ret::Uid, Never, Emulate, (2, 6)),
    row(only64(nr::SETFSGID), "setfsgid", CREDS, &[gid("gid")], Ret::Gid, Never, Emulate, (2, 6)),
    row(nr::GETSID, "getsid", NONE, &[pid("pid")], Ret::Pid, Never, Emulate, (2, 6)),
    row(nr::CAPGET, "capget", CREDS, &[struct_inout("header", "cap_user_header"), irregular_out("dataptr", "cap_data")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::CAPSET, "capset", CREDS, &[struct_in("header", "cap_user_header"), irregular_in("data", "cap_data")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::RT_SIGPENDING, "rt_sigpending", SIGNAL, &[sigset_out("uset", FromArg(1)), size("sigsetsize")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::RT_SIGTIMEDWAIT), "rt_sigtimedwait", SIGNAL, &[sigset_in("uthese", FromArg(3)), struct_out("uinfo", "siginfo"), struct_in("uts", "timespec"), size("sigsetsize")], Ret::Flags("signal"), May, Emulate, (2, 6)),
    row(only64(nr::RT_SIGQUEUEINFO), "rt_sigqueueinfo", PROCESS | SIGNAL, &[pid("pid"), signal("sig"), struct_in("uinfo", "siginfo")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::RT_SIGSUSPEND, "rt_sigsuspend", SIGNAL, &[sigset_in("unewset", FromArg(1)), size("sigsetsize")], Ret::Int, May, Emulate, (2, 6)),
    row(only64(nr::SIGALTSTACK), "sigaltstack", SIGNAL, &[struct_in("uss", "stack_t"), struct_out("uoss", "stack_t")], Ret::Int, Never, Execute, (2, 6)),
    row(only64(nr::UTIME), "utime", FILE, &[path("filename"), struct_in("times", "utimbuf")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MKNOD, "mknod", FILE, &[path("filename"), filemode("mode"), dev("dev")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::USELIB, "uselib", FILE, &[path("library")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::PERSONALITY, "personality", NONE, &[special("personality", "personality")], Ret::Irregular("personality"), Never, Emulate, (2, 6)),
    row(only64(nr::USTAT), "ustat", NONE, &[dev("dev"), struct_out("ubuf", "ustat")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::STATFS), "statfs", FILE | STATFS, &[path("pathname"), struct_out("buf", "statfs")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::FSTATFS), "fstatfs", DESC | FSTATFS, &[fd("fd"), struct_out("buf", "statfs")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SYSFS, "sysfs", NONE, &[choice("option", "sysfs_option"), irregular_in("arg1", "sysfs"), irregular_out("arg2", "sysfs")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETPRIORITY, "getpriority", NONE, &[choice("which", "priority_which"), int("who")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SETPRIORITY, "setpriority", NONE, &[choice("which", "priority_which"), int("who"), int("niceval")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SCHED_SETPARAM, "sched_setparam", NONE, &[pid("pid"), struct_in("param", "sched_param")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SCHED_GETPARAM, "sched_getparam", NONE, &[pid("pid"), struct_out("param", "sched_param")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SCHED_SETSCHEDULER, "sched_setscheduler", NONE, &[pid("pid"), special("policy", "sched_policy"), struct_in("param", "sched_param")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SCHED_GETSCHEDULER, "sched_getscheduler", NONE, &[pid("pid")], Ret::Flags("sched_policy"), Never, Emulate, (2, 6)),
    row(nr::SCHED_GET_PRIORITY_MAX, "sched_get_priority_max", NONE, &[choice("policy", "sched_policy")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SCHED_GET_PRIORITY_MIN, "sched_get_priority_min", NONE, &[choice("policy", "sched_policy")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::SCHED_RR_GET_INTERVAL), "sched_rr_get_interval", NONE, &[pid("pid"), struct_out("interval", "timespec")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MLOCK, "mlock", MEMORY, &[addr("start"), size("len")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MUNLOCK, "munlock", MEMORY, &[addr("start"), size("len")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MLOCKALL, "mlockall", MEMORY, &[flags("flags", "mlockall_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MUNLOCKALL, "munlockall", MEMORY, &[], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::VHANGUP, "vhangup", NONE, &[], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MODIFY_LDT, "modify_ldt", NONE, &[int("func"), irregular_inout("ptr", "modify_ldt"), ulong("bytecount")], Ret::Size, Never, Execute, (2, 6)),
    row(nr::PIVOT_ROOT, "pivot_root", FILE, &[path("new_root"), path("put_old")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::_SYSCTL, "_sysctl", NONE, &[addr("args")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::PRCTL, "prctl", CREDS, &[choice("option", "prctl_option"), irregular_inout("arg2", "prctl"), irregular_inout("arg3", "prctl"), irregular_inout("arg4", "prctl"), irregular_inout("arg5", "prctl")], Ret::Irregular("prctl"), Never, Emulate, (2, 6)),
    row(nr::ARCH_PRCTL, "arch_prctl", NONE, &[choice("option", "arch_prctl_code"), irregular_inout("arg2", "arch_prctl")], Ret::Int, Never, Execute, (2, 6)),
    row(only64(nr::ADJTIMEX), "adjtimex", CLOCK, &[struct_inout("txc_p", "timex")], Ret::Flags("timex_state"), Never, Emulate, (2, 6)),
    row(only64(nr::SETRLIMIT), "setrlimit", NONE, &[choice("resource", "rlimit_resource"), struct_in("rlim", "rlimit")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::CHROOT, "chroot", FILE, &[path("filename")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SYNC, "sync", NONE, &[], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::ACCT, "acct", FILE, &[path("name")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::SETTIMEOFDAY), "settimeofday", CLOCK, &[struct_in("tv", "timeval"), struct_in("tz", "timezone")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MOUNT, "mount", FILE, &[path("dev_name"), path("dir_name"), string("type"), flags("flags", "mount_flags"), irregular_in("data", "mount_data")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::UMOUNT2, "umount2", FILE, &[path("name"), flags("flags", "umount_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SWAPON, "swapon", FILE, &[path("specialfile"), flags("swap_flags", "swap_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SWAPOFF, "swapoff", FILE, &[path("specialfile")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::REBOOT, "reboot", NONE, &[choice("magic1", "reboot_magic1"), choice("magic2", "reboot_magic2"), choice("cmd", "reboot_cmd"), irregular_in("arg", "reboot")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SETHOSTNAME, "sethostname", NONE, &[bytes_in("name", FromArg(1)), int("len")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SETDOMAINNAME, "setdomainname", NONE, &[bytes_in("name", FromArg(1)), int("len")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::IOPL, "iopl", NONE, &[uint("level")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::IOPERM, "ioperm", NONE, &[ulong("from"), ulong("num"), int("turn_on")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::CREATE_MODULE, "create_module", NONE, &[string("name"), size("size")], Ret::Addr, Never, Refuse, (2, 6)),
    row(nr::INIT_MODULE, "init_module", NONE, &[bytes_in("umod", FromArg(1)), ulong("len"), string("uargs")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::DELETE_MODULE, "delete_module", NONE, &[string("name_user"), flags("flags", "delete_module_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GET_KERNEL_SYMS, "get_kernel_syms", NONE, &[addr("table")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::QUERY_MODULE, "query_module", NONE, &[string("name"), int("which"), bytes_out("buf", FromArg(3)), size("bufsize"), ptr_out("ret", &Ty::Size)], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::QUOTACTL, "quotactl", FILE, &[special("cmd", "quotactl_cmd"), path("special"), special("id", "quotactl"), irregular_inout("addr", "quotactl")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::NFSSERVCTL, "nfsservctl", NONE, &[int("cmd"), addr("argp"), addr("resp")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::GETPMSG, "getpmsg", NETWORK, &[int("fd"), addr("ctlptr"), addr("dataptr"), addr("bandp"), addr("flagsp")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::PUTPMSG, "putpmsg", NETWORK, &[int("fd"), addr("ctlptr"), addr("dataptr"), int("band"), int("flags")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::AFS_SYSCALL, "afs_syscall", NONE, &[hex("arg1"), hex("arg2"), hex("arg3"), hex("arg4"), hex("arg5")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::TUXCALL, "tuxcall", NONE, &[hex("arg1"), hex("arg2"), hex("arg3")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::SECURITY, "security", NONE, &[hex("arg1"), hex("arg2"), hex("arg3")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::GETTID, "gettid", PURE, &[], Ret::Pid, Never, Emulate, (2, 6)),
    row(only64(nr::READAHEAD), "readahead", DESC, &[fd("fd"), off("offset"), size("count")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SETXATTR, "setxattr", FILE, &[path("pathname"), string("name"), bytes_in("value", FromArg(3)), size("size"), flags("flags", "xattr_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::LSETXATTR, "lsetxattr", FILE, &[path("pathname"), string("name"), bytes_in("value", FromArg(3)), size("size"), flags("flags", "xattr_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FSETXATTR, "fsetxattr", DESC, &[fd("fd"), string("name"), bytes_in("value", FromArg(3)), size("size"), flags("flags", "xattr_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETXATTR, "getxattr", FILE, &[path("pathname"), string("name"), bytes_out("value", RetMax(3)), size("size")], Ret::Size, Never, Emulate, (2, 6)),
    row(nr::LGETXATTR, "lgetxattr", FILE, &[path("pathname"), string("name"), bytes_out("value", RetMax(3)), size("size")], Ret::Size, Never, Emulate, (2, 6)),
    row(nr::FGETXATTR, "fgetxattr", DESC, &[fd("fd"), string("name"), bytes_out("value", RetMax(3)), size("size")], Ret::Size, Never, Emulate, (2, 6)),
    row(nr::LISTXATTR, "listxattr", FILE, &[path("pathname"), bytes_out("list", RetMax(2)), size("size")], Ret::Size, Never, Emulate, (2, 6)),
    row(nr::LLISTXATTR, "llistxattr", FILE, &[path("pathname"), bytes_out("list", RetMax(2)), size("size")], Ret::Size, Never, Emulate, (2, 6)),
    row(nr::FLISTXATTR, "flistxattr", DESC, &[fd("fd"), bytes_out("list", RetMax(2)), size("size")], Ret::Size, Never, Emulate, (2, 6)),
    row(nr::REMOVEXATTR, "removexattr", FILE, &[path("pathname"), string("name")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::LREMOVEXATTR, "lremovexattr", FILE, &[path("pathname"), string("name")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FREMOVEXATTR, "fremovexattr", DESC, &[fd("fd"), string("name")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::TKILL, "tkill", PROCESS | SIGNAL, &[pid("pid"), signal("sig")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::TIME, "time", CLOCK, &[ptr_out("tloc", &Ty::Time)], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FUTEX, "futex", NONE, &[irregular_inout("uaddr", "futex"), special("op", "futex_op"), uint("val"), irregular_in("utime", "futex"), irregular_inout("uaddr2", "futex"), hex("val3")], Ret::Irregular("futex"), May, Emulate, (2, 6)),
    row(nr::SCHED_SETAFFINITY, "sched_setaffinity", NONE, &[pid("pid"), uint("len"), sized(irregular_in("user_mask_ptr", "cpumask"), FromArg(1))], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SCHED_GETAFFINITY, "sched_getaffinity", NONE, &[pid("pid"), uint("len"), sized(irregular_out("user_mask_ptr", "cpumask"), RetMax(1))], Ret::Size, Never, Emulate, (2, 6)),
    row(nr::SET_THREAD_AREA, "set_thread_area", NONE, &[struct_inout("u_info", "user_desc")], Ret::Int, Never, Execute, (2, 6)),
    row(nr::IO_SETUP, "io_setup", MEMORY, &[uint("nr_reqs"), ptr_inout("ctxp", &Ty::Addr)], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::IO_DESTROY, "io_destroy", MEMORY, &[addr("ctx")], Ret::Int, May, Refuse, (2, 6)),
    row(only64(nr::IO_GETEVENTS), "io_getevents", NONE, &[addr("ctx_id"), long("min_nr"), long("nr"), array_out("events", &Ty::Struct("io_event"), RetMax(2)), struct_in("timeout", "timespec")], Ret::Int, May, Refuse, (2, 6)),
    row(nr::IO_SUBMIT, "io_submit", NONE, &[addr("ctx_id"), long("nr"), irregular_in("iocbpp", "iocbs")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::IO_CANCEL, "io_cancel", NONE, &[addr("ctx_id"), irregular_in("iocb", "iocb"), struct_out("result", "io_event")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::GET_THREAD_AREA, "get_thread_area", NONE, &[struct_inout("u_info", "user_desc")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::LOOKUP_DCOOKIE), "lookup_dcookie", NONE, &[hex("cookie64"), bytes_out("buf", RetMax(2)), size("len")], Ret::Size, Never, Refuse, (2, 6)),
    row(nr::EPOLL_CREATE, "epoll_create", DESC, &[int("size")], Ret::Fd, Never, Emulate, (2, 6)),
    row(nr::EPOLL_CTL_OLD, "epoll_ctl_old", NONE, &[hex("arg1"), hex("arg2"), hex("arg3"), hex("arg4")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::EPOLL_WAIT_OLD, "epoll_wait_old", NONE, &[hex("arg1"), hex("arg2"), hex("arg3"), hex("arg4")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::REMAP_FILE_PAGES, "remap_file_pages", MEMORY, &[addr("start"), size("size"), flags("prot", "mmap_prot"), ulong("pgoff"), flags("flags", "mmap_flags")], Ret::Int, Never, Execute, (2, 6)),
    row(nr::GETDENTS64, "getdents64", DESC, &[fd("fd"), sized(irregular_out("dirent", "dirents"), RetMax(2)), uint("count")], Ret::Size, Never, Emulate, (2, 6)),
    row(nr::SET_TID_ADDRESS, "set_tid_address", NONE, &[addr("tidptr")], Ret::Pid, Never, Emulate, (2, 6)),
    row(nr::RESTART_SYSCALL, "restart_syscall", NONE, &[], Ret::Int, May, Emulate, (2, 6)),
    row(nr::SEMTIMEDOP, "semtimedop", IPC, &[int("semid"), array_in("tsops", &Ty::Struct("sembuf"), FromArg(2)), uint("nsops"), struct_in("timeout", "timespec")], Ret::Int, May, Emulate, (2, 6)),
    row(only64(nr::FADVISE64), "fadvise64", DESC, &[fd("fd"), off("offset"), size("len"), choice("advice", "fadvise_advice")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::TIMER_CREATE), "timer_create", NONE, &[choice("which_clock", "clock_id"), struct_in("timer_event_spec", "sigevent"), ptr_out("created_timer_id", &Ty::Int)], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::TIMER_SETTIME), "timer_settime", NONE, &[int("timer_id"), flags("flags", "timer_flags"), struct_in("new_setting", "itimerspec"), struct_out("old_setting", "itimerspec")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::TIMER_GETTIME), "timer_gettime", NONE, &[int("timer_id"), struct_out("setting", "itimerspec")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::TIMER_GETOVERRUN, "timer_getoverrun", NONE, &[int("timer_id")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::TIMER_DELETE, "timer_delete", NONE, &[int("timer_id")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::CLOCK_SETTIME), "clock_settime", CLOCK, &[choice("which_clock", "clock_id"), struct_in("tp", "timespec")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::CLOCK_GETTIME), "clock_gettime", CLOCK, &[choice("which_clock", "clock_id"), struct_out("tp", "timespec")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::CLOCK_GETRES), "clock_getres", CLOCK, &[choice("which_clock", "clock_id"), struct_out("tp", "timespec")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::CLOCK_NANOSLEEP), "clock_nanosleep", NONE, &[choice("which_clock", "clock_id"), flags("flags", "timer_flags"), struct_in("rqtp", "timespec"), struct_out("rmtp", "timespec")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::EXIT_GROUP, "exit_group", PROCESS, &[int("error_code")], Ret::Never, Never, Lifecycle, (2, 6)),
    row(nr::EPOLL_WAIT, "epoll_wait", DESC, &[fd("epfd"), array_out("events", &Ty::Struct("epoll_event"), RetMax(2)), int("maxevents"), int("timeout")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::EPOLL_CTL, "epoll_ctl", DESC, &[fd("epfd"), choice("op", "epoll_op"), fd("fd"), struct_in("event", "epoll_event")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::TGKILL, "tgkill", PROCESS | SIGNAL, &[pid("tgid"), pid("pid"), signal("sig")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::UTIMES), "utimes", FILE, &[path("filename"), array_in("utimes", &Ty::Struct("timeval"), Fixed(2))], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::VSERVER, "vserver", NONE, &[hex("arg1"), hex("arg2"), hex("arg3"), hex("arg4"), hex("arg5")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::MBIND, "mbind", MEMORY, &[addr("start"), ulong("len"), special("mode", "mempolicy_mode"), irregular_in("nmask", "nodemask"), ulong("maxnode"), flags("flags", "mbind_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SET_MEMPOLICY, "set_mempolicy", MEMORY, &[special("mode", "mempolicy_mode"), irregular_in("nmask", "nodemask"), ulong("maxnode")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GET_MEMPOLICY, "get_mempolicy", MEMORY, &[ptr_out("policy", &Ty::Irregular("mempolicy_mode")), irregular_out("nmask", "nodemask"), ulong("maxnode"), addr("addr"), flags("flags", "get_mempolicy_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::MQ_OPEN), "mq_open", DESC, &[string("u_name"), flags("oflag", "open_flags"), mode("mode"), struct_in("u_attr", "mq_attr")], Ret::Fd, Never, Emulate, (2, 6)),
    row(nr::MQ_UNLINK, "mq_unlink", NONE, &[string("u_name")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::MQ_TIMEDSEND), "mq_timedsend", DESC, &[fd("mqdes"), bytes_in("u_msg_ptr", FromArg(2)), size("msg_len"), uint("msg_prio"), struct_in("u_abs_timeout", "timespec")], Ret::Int, May, Emulate, (2, 6)),
    row(only64(nr::MQ_TIMEDRECEIVE), "mq_timedreceive", DESC, &[fd("mqdes"), bytes_out("u_msg_ptr", RetMax(2)), size("msg_len"), ptr_out("u_msg_prio", &Ty::Uint), struct_in("u_abs_timeout", "timespec")], Ret::Size, May, Emulate, (2, 6)),
    row(only64(nr::MQ_NOTIFY), "mq_notify", DESC, &[fd("mqdes"), struct_in("u_notification", "sigevent")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::MQ_GETSETATTR), "mq_getsetattr", DESC, &[fd("mqdes"), struct_in("u_mqstat", "mq_attr"), struct_out("u_omqstat", "mq_attr")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::KEXEC_LOAD), "kexec_load", NONE, &[addr("entry"), ulong("nr_segments"), array_in("segments", &Ty::Struct("kexec_segment"), FromArg(1)), flags("flags", "kexec_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::WAITID), "waitid", PROCESS, &[choice("which", "waitid_type"), pid("upid"), struct_out("infop", "siginfo"), flags("options", "waitid_options"), struct_out("ru", "rusage")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::ADD_KEY, "add_key", NONE, &[string("_type"), string("_description"), bytes_in("_payload", FromArg(3)), size("plen"), choice("ringid", "key_special")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::REQUEST_KEY, "request_key", NONE, &[string("_type"), string("_description"), string("_callout_info"), choice("destringid", "key_special")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::KEYCTL, "keyctl", NONE, &[choice("cmd", "keyctl_op"), irregular_inout("arg2", "keyctl"), irregular_inout("arg3", "keyctl"), irregular_inout("arg4", "keyctl"), irregular_inout("arg5", "keyctl")], Ret::Irregular("keyctl"), May, Emulate, (2, 6)),
    row(nr::IOPRIO_SET, "ioprio_set", NONE, &[choice("which", "ioprio_who"), int("who"), special("ioprio", "ioprio")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::IOPRIO_GET, "ioprio_get", NONE, &[choice("which", "ioprio_who"), int("who")], Ret::Irregular("ioprio"), Never, Emulate, (2, 6)),
    row(nr::INOTIFY_INIT, "inotify_init", DESC, &[], Ret::Fd, Never, Emulate, (2, 6)),
    row(nr::INOTIFY_ADD_WATCH, "inotify_add_watch", FILE | DESC, &[fd("fd"), path("pathname"), flags("mask", "inotify_mask")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::INOTIFY_RM_WATCH, "inotify_rm_watch", DESC, &[fd("fd"), int("wd")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MIGRATE_PAGES, "migrate_pages", MEMORY, &[pid("pid"), ulong("maxnode"), irregular_in("old_nodes", "nodemask"), irregular_in("new_nodes", "nodemask")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::OPENAT, "openat", FILE | DESC, &[dirfd("dfd"), path("filename"), flags("flags", "open_flags"), mode("mode")], Ret::Fd, May, Emulate, (2, 6)),
    row(nr::MKDIRAT, "mkdirat", FILE | DESC, &[dirfd("dfd"), path("pathname"), mode("mode")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MKNODAT, "mknodat", FILE | DESC, &[dirfd("dfd"), path("filename"), filemode("mode"), dev("dev")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FCHOWNAT, "fchownat", FILE | DESC, &[dirfd("dfd"), path("filename"), uid("user"), gid("group"), flags("flag", "fchownat_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::FUTIMESAT), "futimesat", FILE | DESC, &[dirfd("dfd"), path("filename"), array_in("utimes", &Ty::Struct("timeval"), Fixed(2))], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::NEWFSTATAT, "newfstatat", FILE | DESC | FSTAT, &[dirfd("dfd"), path("filename"), struct_out("statbuf", "stat"), flags("flag", "fstatat_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::UNLINKAT, "unlinkat", FILE | DESC, &[dirfd("dfd"), path("pathname"), flags("flag", "unlinkat_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::RENAMEAT, "renameat", FILE | DESC, &[dirfd("olddfd"), path("oldname"), dirfd("newdfd"), path("newname")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::LINKAT, "linkat", FILE | DESC, &[dirfd("olddfd"), path("oldname"), dirfd("newdfd"), path("newname"), flags("flags", "linkat_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SYMLINKAT, "symlinkat", FILE | DESC, &[string("oldname"), dirfd("newdfd"), path("newname")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::READLINKAT, "readlinkat", FILE | DESC, &[dirfd("dfd"), path("pathname"), bytes_out("buf", RetMax(3)), size("bufsiz")], Ret::Size, Never, Emulate, (2, 6)),
    row(nr::FCHMODAT, "fchmodat", FILE | DESC, &[dirfd("dfd"), path("filename"), mode("mode")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FACCESSAT, "faccessat", FILE | DESC, &[dirfd("dfd"), path("filename"), flags("mode", "access_mode")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::PSELECT6), "pselect6", DESC, &[int("n"), fdset("inp", FromArg(0)), fdset("outp", FromArg(0)), fdset("exp", FromArg(0)), struct_inout("tsp", "timespec"), irregular_in("sig", "pselect6_sigmask")], Ret::Int, May, Emulate, (2, 6)),
    row(only64(nr::PPOLL), "ppoll", DESC, &[array_inout("ufds", &Ty::Struct("pollfd"), FromArg(1)), uint("nfds"), struct_inout("tsp", "timespec"), sigset_in("sigmask", FromArg(4)), size("sigsetsize")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::UNSHARE, "unshare", NONE, &[flags("unshare_flags", "unshare_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SET_ROBUST_LIST, "set_robust_list", NONE, &[addr("head"), size("len")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GET_ROBUST_LIST, "get_robust_list", NONE, &[pid("pid"), ptr_out("head_ptr", &Ty::Addr), ptr_out("len_ptr", &Ty::Size)], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SPLICE, "splice", DESC, &[fd("fd_in"), ptr_inout("off_in", &Ty::Off), fd("fd_out"), ptr_inout("off_out", &Ty::Off), size("len"), flags("flags", "splice_flags")], Ret::Size, May, Emulate, (2, 6)),
    row(nr::TEE, "tee", DESC, &[fd("fdin"), fd("fdout"), size("len"), flags("flags", "splice_flags")], Ret::Size, May, Emulate, (2, 6)),
    row(only64(nr::SYNC_FILE_RANGE), "sync_file_range", DESC, &[fd("fd"), off("offset"), off("nbytes"), flags("flags", "sync_file_range_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::VMSPLICE, "vmsplice", DESC, &[fd("fd"), iovec_in("uiov", FromArg(2)), ulong("nr_segs"), flags("flags", "splice_flags")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(nr::MOVE_PAGES, "move_pages", MEMORY, &[pid("pid"), ulong("nr_pages"), array_in("pages", &Ty::Addr, FromArg(1)), array_in("nodes", &Ty::Int, FromArg(1)), array_out("status", &Ty::Int, FromArg(1)), flags("flags", "move_pages_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::UTIMENSAT), "utimensat", FILE | DESC, &[dirfd("dfd"), path("filename"), array_in("utimes", &Ty::Struct("timespec"), Fixed(2)), flags("flags", "utimensat_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::EPOLL_PWAIT, "epoll_pwait", DESC, &[fd("epfd"), array_out("events", &Ty::Struct("epoll_event"), RetMax(2)), int("maxevents"), int("timeout"), sigset_in("sigmask", FromArg(5)), size("sigsetsize")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::SIGNALFD, "signalfd", DESC | SIGNAL, &[fd("ufd"), sigset_in("user_mask", FromArg(2)), size("sizemask")], Ret::Fd, Never, Emulate, (2, 6)),
    row(nr::TIMERFD_CREATE, "timerfd_create", DESC, &[choice("clockid", "clock_id"), flags("flags", "timerfd_create_flags")], Ret::Fd, Never, Emulate, (2, 6)),
    row(nr::EVENTFD, "eventfd", DESC, &[uint("count")], Ret::Fd, Never, Emulate, (2, 6)),
    row(only64(nr::FALLOCATE), "fallocate", DESC, &[fd("fd"), flags("mode", "fallocate_mode"), off("offset"), off("len")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::TIMERFD_SETTIME), "timerfd_settime", DESC, &[fd("ufd"), flags("flags", "timerfd_settime_flags"), struct_in("utmr", "itimerspec"), struct_out("otmr", "itimerspec")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::TIMERFD_GETTIME), "timerfd_gettime", DESC, &[fd("ufd"), struct_out("otmr", "itimerspec")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::ACCEPT4, "accept4", NETWORK, &[fd("fd"), sockaddr_out("upeer_sockaddr", Pointee(2)), ptr_inout("upeer_addrlen", &Ty::Int), flags("flags", "sock_flags")], Ret::Fd, Fd(0), Emulate, (2, 6)),
    row(nr::SIGNALFD4, "signalfd4", DESC | SIGNAL, &[fd("ufd"), sigset_in("user_mask", FromArg(2)), size("sizemask"), flags("flags", "signalfd_flags")], Ret::Fd, Never, Emulate, (2, 6)),
    row(nr::EVENTFD2, "eventfd2", DESC, &[uint("count"), flags("flags", "eventfd_flags")], Ret::Fd, Never, Emulate, (2, 6)),
    row(nr::EPOLL_CREATE1, "epoll_create1", DESC, &[flags("flags", "epoll_create_flags")], Ret::Fd, Never, Emulate, (2, 6)),
    row(nr::DUP3, "dup3", DESC, &[fd("oldfd"), fd("newfd"), flags("flags", "dup3_flags")], Ret::Fd, Never, Emulate, (2, 6)),
    row(nr::PIPE2, "pipe2", DESC, &[array_out("fildes", &Ty::Fd, Fixed(2)), flags("flags", "pipe2_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::INOTIFY_INIT1, "inotify_init1", DESC, &[flags("flags", "inotify_init_flags")], Ret::Fd, Never, Emulate, (2, 6)),
    row(only64(nr::PREADV), "preadv", DESC, &[fd("fd"), iovec_out("vec", FromArg(2)), ulong("vlen"), off("pos")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(only64(nr::PWRITEV), "pwritev", DESC, &[fd("fd"), iovec_in("vec", FromArg(2)), ulong("vlen"), off("pos")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(only64(nr::RT_TGSIGQUEUEINFO), "rt_tgsigqueueinfo", PROCESS | SIGNAL, &[pid("tgid"), pid("pid"), signal("sig"), struct_in("uinfo", "siginfo")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::PERF_EVENT_OPEN, "perf_event_open", DESC, &[irregular_inout("attr_uptr", "perf_event_attr"), pid("pid"), int("cpu"), fd("group_fd"), flags("flags", "perf_event_open_flags")], Ret::Fd, Never, Refuse, (2, 6)),
    row(only64(nr::RECVMMSG), "recvmmsg", NETWORK, &[fd("fd"), mmsghdr_out("mmsg", RetMax(2)), uint("vlen"), flags("flags", "msg_flags"), struct_inout("timeout", "timespec")], Ret::Int, Fd(0), Emulate, (2, 6)),
    row(nr::FANOTIFY_INIT, "fanotify_init", DESC, &[flags("flags", "fanotify_init_flags"), flags("event_f_flags", "open_flags")], Ret::Fd, Never, Emulate, (2, 6)),
    row(only64(nr::FANOTIFY_MARK), "fanotify_mark", FILE | DESC, &[fd("fanotify_fd"), flags("flags", "fanotify_mark_flags"), flags("mask", "fanotify_events"), dirfd("dfd"), path("pathname")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::PRLIMIT64, "prlimit64", NONE, &[pid("pid"), choice("resource", "rlimit_resource"), struct_in("new_rlim", "rlimit64"), struct_out("old_rlim", "rlimit64")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::NAME_TO_HANDLE_AT, "name_to_handle_at", FILE | DESC, &[dirfd("dfd"), path("name"), irregular_inout("handle", "file_handle"), irregular_out("mnt_id", "mount_id"), flags("flag", "name_to_handle_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::OPEN_BY_HANDLE_AT, "open_by_handle_at", DESC, &[dirfd("mountdirfd"), irregular_in("handle", "file_handle"), flags("flags", "open_flags")], Ret::Fd, May, Emulate, (2, 6)),
    row(only64(nr::CLOCK_ADJTIME), "clock_adjtime", CLOCK, &[choice("which_clock", "clock_id"), struct_inout("utx", "timex")], Ret::Flags("timex_state"), Never, Emulate, (2, 6)),
    row(nr::SYNCFS, "syncfs", DESC, &[fd("fd")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SENDMMSG, "sendmmsg", NETWORK, &[fd("fd"), mmsghdr_in("mmsg", FromArg(2)), uint("vlen"), flags("flags", "msg_flags")], Ret::Int, Fd(0), Emulate, (3, 0)),
    row(nr::SETNS, "setns", DESC, &[fd("fd"), flags("flags", "setns_types")], Ret::Int, Never, Emulate, (3, 0)),
    row(nr::GETCPU, "getcpu", NONE, &[ptr_out("cpup", &Ty::Uint), ptr_out("nodep", &Ty::Uint), addr("unused")], Ret::Int, Never, Emulate, (2, 6)),
    row(only64(nr::PROCESS_VM_READV), "process_vm_readv", NONE, &[pid("pid"), iovec_out("lvec", FromArg(2)), ulong("liovcnt"), array_in("rvec", &Ty::Struct("iovec"), FromArg(4)), ulong("riovcnt"), ulong("flags")], Ret::Size, Never, Emulate, (3, 2)),
    row(only64(nr::PROCESS_VM_WRITEV), "process_vm_writev", NONE, &[pid("pid"), iovec_in("lvec", FromArg(2)), ulong("liovcnt"), array_in("rvec", &Ty::Struct("iovec"), FromArg(4)), ulong("riovcnt"), ulong("flags")], Ret::Size, Never, Emulate, (3, 2)),
    row(nr::KCMP, "kcmp", NONE, &[pid("pid1"), pid("pid2"), choice("type", "kcmp_type"), special("idx1", "kcmp"), irregular_in("idx2", "kcmp")], Ret::Int, Never, Emulate, (3, 5)),
    row(nr::FINIT_MODULE, "finit_module", DESC, &[fd("fd"), string("uargs"), flags("flags", "module_init_flags")], Ret::Int, Never, Emulate, (3, 8)),
    row(nr::SCHED_SETATTR, "sched_setattr", NONE, &[pid("pid"), irregular_inout("uattr", "sched_attr"), uint("flags")], Ret::Int, Never, Emulate, (3, 14)),
    row(nr::SCHED_GETATTR, "sched_getattr", NONE, &[pid("pid"), sized(struct_out("uattr", "sched_attr"), FromArg(2)), uint("usize"), flags("flags", "sched_getattr_flags")], Ret::Int, Never, Emulate, (3, 14)),
    row(nr::RENAMEAT2, "renameat2", FILE | DESC, &[dirfd("olddfd"), path("oldname"), dirfd("newdfd"), path("newname"), flags("flags", "rename_flags")], Ret::Int, Never, Emulate, (3, 15)),
    row(nr::SECCOMP, "seccomp", NONE, &[choice("op", "seccomp_op"), flags("flags", "seccomp_filter_flags"), irregular_inout("uargs", "seccomp")], Ret::Irregular("seccomp"), Never, Emulate, (3, 17)),
    row(nr::GETRANDOM, "getrandom", NONE, &[bytes_out("ubuf", RetMax(1)), size("len"), flags("flags", "getrandom_flags")], Ret::Size, Never, Emulate, (3, 17)),
    row(nr::MEMFD_CREATE, "memfd_create", DESC, &[string("uname"), flags("flags", "memfd_flags")], Ret::Fd, Never, Emulate, (3, 17)),
    row(nr::KEXEC_FILE_LOAD, "kexec_file_load", DESC, &[fd("kernel_fd"), fd("initrd_fd"), ulong("cmdline_len"), bytes_in("cmdline_ptr", FromArg(2)), flags("flags", "kexec_file_flags")], Ret::Int, Never, Emulate, (3, 17)),
    row(nr::BPF, "bpf", DESC, &[choice("cmd", "bpf_cmd"), sized(irregular_inout("uattr", "bpf"), FromArg(2)), uint("size")], Ret::Irregular("bpf"), Never, Emulate, (3, 18)),
    row(nr::EXECVEAT, "execveat", FILE | DESC | PROCESS, &[dirfd("fd"), path("filename"), strings("argv"), strings("envp"), flags("flags", "execveat_flags")], Ret::Int, May, Lifecycle, (3, 19)),
    row(nr::USERFAULTFD, "userfaultfd", DESC, &[flags("flags", "userfaultfd_flags")], Ret::Fd, Never, Refuse, (4, 3)),
    row(nr::MEMBARRIER, "membarrier", NONE, &[choice("cmd", "membarrier_cmd"), flags("flags", "membarrier_flags"), int("cpu_id")], Ret::Int, Never, Emulate, (4, 3)),
    row(nr::MLOCK2, "mlock2", MEMORY, &[addr("start"), size("len"), flags("flags", "mlock2_flags")], Ret::Int, Never, Emulate, (4, 4)),
    row(nr::COPY_FILE_RANGE, "copy_file_range", DESC, &[fd("fd_in"), ptr_inout("off_in", &Ty::Off), fd("fd_out"), ptr_inout("off_out", &Ty::Off), size("len"), uint("flags")], Ret::Size, Never, Emulate, (4, 5)),
    row(only64(nr::PREADV2), "preadv2", DESC, &[fd("fd"), iovec_out("vec", FromArg(2)), ulong("vlen"), off("pos"), ulong("pos_h"), flags("flags", "rwf_flags")], Ret::Size, Fd(0), Emulate, (4, 6)),
    row(only64(nr::PWRITEV2), "pwritev2", DESC, &[fd("fd"), iovec_in("vec", FromArg(2)), ulong("vlen"), off("pos"), ulong("pos_h"), flags("flags", "rwf_flags")], Ret::Size, Fd(0), Emulate, (4, 6)),
    row(nr::PKEY_MPROTECT, "pkey_mprotect", MEMORY, &[addr("start"), size("len"), flags("prot", "mmap_prot"), int("pkey")], Ret::Int, Never, Execute, (4, 9)),
    row(nr::PKEY_ALLOC, "pkey_alloc", NONE, &[ulong("flags"), flags("init_val", "pkey_rights")], Ret::Int, Never, Execute, (4, 9)),
    row(nr::PKEY_FREE, "pkey_free", NONE, &[int("pkey")], Ret::Int, Never, Execute, (4, 9)),
    row(nr::STATX, "statx", FILE | DESC | FSTAT, &[dirfd("dfd"), path("filename"), flags("flags", "statx_flags"), flags("mask", "statx_mask"), struct_out("buffer", "statx")], Ret::Int, Never, Emulate, (4, 11)),
    row(only64(nr::IO_PGETEVENTS), "io_pgetevents", NONE, &[addr("ctx_id"), long("min_nr"), long("nr"), array_out("events", &Ty::Struct("io_event"), RetMax(2)), struct_in("timeout", "timespec"), irregular_in("usig", "pselect6_sigmask")], Ret::Int, May, Refuse, (4, 18)),
    row(nr::RSEQ, "rseq", NONE, &[sized(struct_inout("rseq", "rseq"), FromArg(1)), uint("rseq_len"), flags("flags", "rseq_flags"), hex("sig")], Ret::Int, Never, Refuse, (4, 18)),
    row(nr::URETPROBE, "uretprobe", NONE, &[], Ret::Int, Never, Emulate, (6, 11)),
    row(nr::UPROBE, "uprobe", NONE, &[], Ret::Int, Never, Emulate, (6, 18)),
    row(only64(nr::PIDFD_SEND_SIGNAL), "pidfd_send_signal", DESC | PROCESS | SIGNAL, &[fd("pidfd"), signal("sig"), struct_in("info", "siginfo"), flags("flags", "pidfd_signal_flags")], Ret::Int, Never, Emulate, (5, 1)),
    row(nr::IO_URING_SETUP, "io_uring_setup", DESC, &[uint("entries"), struct_inout("params", "io_uring_params")], Ret::Fd, Never, Refuse, (5, 1)),
    row(nr::IO_URING_ENTER, "io_uring_enter", DESC | SIGNAL, &[fd("fd"), uint("to_submit"), uint("min_complete"), flags("flags", "io_uring_enter_flags"), sized(irregular_in("argp", "io_uring_enter_arg"), FromArg(5)), size("argsz")], Ret::Int, May, Refuse, (5, 1)),
    row(nr::IO_URING_REGISTER, "io_uring_register", DESC | MEMORY, &[fd("fd"), choice("opcode", "io_uring_register_op"), irregular_inout("arg", "io_uring_register"), uint("nr_args")], Ret::Irregular("io_uring_register"), May, Refuse, (5, 1)),
    row(nr::OPEN_TREE, "open_tree", FILE | DESC, &[dirfd("dfd"), path("filename"), flags("flags", "open_tree_flags")], Ret::Fd, Never, Emulate, (5, 2)),
    row(nr::MOVE_MOUNT, "move_mount", FILE | DESC, &[dirfd("from_dfd"), path("from_pathname"), dirfd("to_dfd"), path("to_pathname"), flags("flags", "move_mount_flags")], Ret::Int, Never, Emulate, (5, 2)),
    row(nr::FSOPEN, "fsopen", DESC, &[string("_fs_name"), flags("flags", "fsopen_flags")], Ret::Fd, Never, Emulate, (5, 2)),
    row(nr::FSCONFIG, "fsconfig", FILE | DESC, &[fd("fd"), choice("cmd", "fsconfig_cmd"), string("_key"), irregular_in("_value", "fsconfig"), int("aux")], Ret::Int, Never, Emulate, (5, 2)),
    row(nr::FSMOUNT, "fsmount", DESC, &[fd("fs_fd"), flags("flags", "fsmount_flags"), flags("attr_flags", "mount_attr_flags")], Ret::Fd, Never, Emulate, (5, 2)),
    row(nr::FSPICK, "fspick", FILE | DESC, &[dirfd("dfd"), path("path"), flags("flags", "fspick_flags")], Ret::Fd, Never, Emulate, (5, 2)),
    row(nr::PIDFD_OPEN, "pidfd_open", DESC, &[pid("pid"), flags("flags", "pidfd_open_flags")], Ret::Fd, Never, Emulate, (5, 3)),
    row(nr::CLONE3, "clone3", PROCESS, &[sized(irregular_inout("uargs", "clone3"), FromArg(1)), size("size")], Ret::Pid, Never, Lifecycle, (5, 3)),
    row(nr::CLOSE_RANGE, "close_range", NONE, &[fd("fd"), uint("max_fd"), flags("flags", "close_range_flags")], Ret::Int, Never, Emulate, (5, 9)),
    row(nr::OPENAT2, "openat2", FILE | DESC, &[dirfd("dfd"), path("filename"), sized(struct_in("how", "open_how"), FromArg(3)), size("usize")], Ret::Fd, May, Emulate, (5, 6)),
    row(nr::PIDFD_GETFD, "pidfd_getfd", DESC, &[fd("pidfd"), int("fd"), uint("flags")], Ret::Fd, Never, Emulate, (5, 6)),
    row(nr::FACCESSAT2, "faccessat2", FILE | DESC, &[dirfd("dfd"), path("filename"), flags("mode", "access_mode"), flags("flags", "faccessat_flags")], Ret::Int, Never, Emulate, (5, 8)),
    row(only64(nr::PROCESS_MADVISE), "process_madvise", DESC, &[fd("pidfd"), array_in("vec", &Ty::Struct("iovec"), FromArg(2)), size("vlen"), choice("behavior", "madvise_advice"), uint("flags")], Ret::Size, Never, Emulate, (5, 10)),
    row(nr::EPOLL_PWAIT2, "epoll_pwait2", DESC, &[fd("epfd"), array_out("events", &Ty::Struct("epoll_event"), RetMax(2)), int("maxevents"), struct_in("timeout", "timespec"), sigset_in("sigmask", FromArg(5)), size("sigsetsize")], Ret::Int, May, Emulate, (5, 11)),
    row(nr::MOUNT_SETATTR, "mount_setattr", FILE | DESC, &[dirfd("dfd"), path("path"), flags("flags", "mount_setattr_flags"), sized(struct_in("uattr", "mount_attr"), FromArg(4)), size("usize")], Ret::Int, Never, Emulate, (5, 12)),
    row(nr::QUOTACTL_FD, "quotactl_fd", DESC, &[fd("fd"), special("cmd", "quotactl_cmd"), special("id", "quotactl"), irregular_inout("addr", "quotactl")], Ret::Int, Never, Emulate, (5, 14)),
    row(nr::LANDLOCK_CREATE_RULESET, "landlock_create_ruleset", DESC, &[sized(struct_in("attr", "landlock_ruleset_attr"), FromArg(1)), size("size"), flags("flags", "landlock_create_flags")], Ret::Fd, Never, Emulate, (5, 13)),
    row(nr::LANDLOCK_ADD_RULE, "landlock_add_rule", DESC, &[fd("ruleset_fd"), choice("rule_type", "landlock_rule_type"), irregular_in("rule_attr", "landlock_rule"), uint("flags")], Ret::Int, Never, Emulate, (5, 13)),
    row(nr::LANDLOCK_RESTRICT_SELF, "landlock_restrict_self", DESC, &[fd("ruleset_fd"), flags("flags", "landlock_restrict_flags")], Ret::Int, Never, Emulate, (5, 13)),
    row(nr::MEMFD_SECRET, "memfd_secret", DESC, &[flags("flags", "cloexec")], Ret::Fd, Never, Refuse, (5, 14)),
    row(nr::PROCESS_MRELEASE, "process_mrelease", DESC, &[fd("pidfd"), uint("flags")], Ret::Int, Never, Emulate, (5, 15)),
    row(nr::FUTEX_WAITV, "futex_waitv", NONE, &[array_in("waiters", &Ty::Struct("futex_waitv"), FromArg(1)), uint("nr_futexes"), uint("flags"), struct_in("timeout", "timespec"), choice("clockid", "clock_id")], Ret::Int, May, Emulate, (5, 16)),
    row(nr::SET_MEMPOLICY_HOME_NODE, "set_mempolicy_home_node", MEMORY, &[addr("start"), ulong("len"), ulong("home_node"), ulong("flags")], Ret::Int, Never, Emulate, (5, 17)),
    row(nr::CACHESTAT, "cachestat", DESC, &[fd("fd"), struct_in("cstat_range", "cachestat_range"), struct_out("cstat", "cachestat"), uint("flags")], Ret::Int, Never, Emulate, (6, 5)),
    row(nr::FCHMODAT2, "fchmodat2", FILE | DESC, &[dirfd("dfd"), path("filename"), mode("mode"), flags("flags", "fchmodat_flags")], Ret::Int, Never, Emulate, (6, 6)),
    row(nr::MAP_SHADOW_STACK, "map_shadow_stack", MEMORY, &[addr("addr"), size("size"), flags("flags", "shadow_stack_flags")], Ret::Addr, Never, Execute, (6, 6)),
    row(nr::FUTEX_WAKE, "futex_wake", NONE, &[addr("uaddr"), hex("mask"), int("nr"), flags("flags", "futex2_flags")], Ret::Int, Never, Emulate, (6, 7)),
    row(nr::FUTEX_WAIT, "futex_wait", NONE, &[addr("uaddr"), ulong("val"), hex("mask"), flags("flags", "futex2_flags"), struct_in("timeout", "timespec"), choice("clockid", "clock_id")], Ret::Int, May, Emulate, (6, 7)),
    row(nr::FUTEX_REQUEUE, "futex_requeue", NONE, &[array_in("waiters", &Ty::Struct("futex_waitv"), Fixed(2)), uint("flags"), int("nr_wake"), int("nr_requeue")], Ret::Int, Never, Emulate, (6, 7)),
    row(nr::STATMOUNT, "statmount", NONE, &[sized(struct_in("req", "mnt_id_req"), Pointee(0)), sized(irregular_out("buf", "statmount"), FromArg(2)), size("bufsize"), flags("flags", "statmount_flags")], Ret::Int, Never, Emulate, (6, 8)),
    row(nr::LISTMOUNT, "listmount", NONE, &[sized(struct_in("req", "mnt_id_req"), Pointee(0)), array_out("mnt_ids", &Ty::Off, RetMax(2)), size("nr_mnt_ids"), flags("flags", "listmount_flags")], Ret::Int, Never, Emulate, (6, 8)),
    row(nr::LSM_GET_SELF_ATTR, "lsm_get_self_attr", NONE, &[choice("attr", "lsm_attr"), sized(irregular_out("ctx", "lsm_ctx"), Pointee(2)), ptr_inout("size", &Ty::Uint), flags("flags", "lsm_attr_flags")], Ret::Int, Never, Emulate, (6, 8)),
    row(nr::LSM_SET_SELF_ATTR, "lsm_set_self_attr", NONE, &[choice("attr", "lsm_attr"), sized(irregular_in("ctx", "lsm_ctx"), FromArg(2)), uint("size"), uint("flags")], Ret::Int, Never, Emulate, (6, 8)),
    row(nr::LSM_LIST_MODULES, "lsm_list_modules", NONE, &[sized(irregular_out("ids", "lsm_ids"), Pointee(1)), ptr_inout("size", &Ty::Uint), uint("flags")], Ret::Int, Never, Emulate, (6, 8)),
    row(nr::MSEAL, "mseal", MEMORY, &[addr("start"), size("len"), ulong("flags")], Ret::Int, Never, Execute, (6, 10)),
    row(nr::SETXATTRAT, "setxattrat", FILE | DESC, &[dirfd("dfd"), path("pathname"), flags("at_flags", "xattrat_flags"), string("name"), sized(irregular_in("uargs", "xattr_args"), FromArg(5)), size("usize")], Ret::Int, Never, Emulate, (6, 13)),
    row(nr::GETXATTRAT, "getxattrat", FILE | DESC, &[dirfd("dfd"), path("pathname"), flags("at_flags", "xattrat_flags"), string("name"), sized(irregular_inout("uargs", "xattr_args"), FromArg(5)), size("usize")], Ret::Size, Never, Emulate, (6, 13)),
    row(nr::LISTXATTRAT, "listxattrat", FILE | DESC, &[dirfd("dfd"), path("pathname"), flags("at_flags", "xattrat_flags"), bytes_out("list", RetMax(4)), size("size")], Ret::Size, Never, Emulate, (6, 13)),
    row(nr::REMOVEXATTRAT, "removexattrat", FILE | DESC, &[dirfd("dfd"), path("pathname"), flags("at_flags", "xattrat_flags"), string("name")], Ret::Int, Never, Emulate, (6, 13)),
    row(nr::OPEN_TREE_ATTR, "open_tree_attr", FILE | DESC, &[dirfd("dfd"), path("filename"), flags("flags", "open_tree_flags"), sized(struct_in("uattr", "mount_attr"), FromArg(4)), size("usize")], Ret::Fd, Never, Emulate, (6, 15)),
    row(nr::FILE_GETATTR, "file_getattr", FILE | DESC, &[dirfd("dfd"), path("filename"), sized(struct_out("ufattr", "file_attr"), FromArg(3)), size("usize"), flags("at_flags", "file_attr_flags")], Ret::Int, Never, Emulate, (6, 17)),
    row(nr::FILE_SETATTR, "file_setattr", FILE | DESC, &[dirfd("dfd"), path("filename"), sized(struct_in("ufattr", "file_attr"), FromArg(3)), size("usize"), flags("at_flags", "file_attr_flags")], Ret::Int, Never, Emulate, (6, 17)),
    row(nr::LISTNS, "listns", NONE, &[sized(struct_in("req", "ns_id_req"), Pointee(0)), array_out("ns_ids", &Ty::Off, RetMax(2)), size("nr_ns_ids"), uint("flags")], Ret::Int, Never, Emulate, (6, 19)),
    row(nr::RSEQ_SLICE_YIELD, "rseq_slice_yield", NONE, &[], Ret::Int, Never, Emulate, (7, 0)),
    // i386 only, or with another signature there than on x86-64.
    row(nr::WAITPID, "waitpid", PROCESS, &[pid("pid"), ptr_out("stat_addr", &Ty::Irregular("wait_status")), flags("options", "wait4_options")], Ret::Pid, May, Emulate, (2, 6)),
    row(only32(nr::LCHOWN), "lchown", FILE, &[path("filename"), uid("user"), gid("group")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::BREAK, "break", MEMORY, &[], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::OLDSTAT, "oldstat", FILE | STAT, &[path("filename"), struct_out("statbuf", "old_kernel_stat")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::UMOUNT, "umount", FILE, &[path("name")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::SETUID), "setuid", CREDS, &[uid("uid")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::GETUID), "getuid", CREDS | PURE, &[], Ret::Uid, Never, Emulate, (2, 6)),
    row(nr::STIME, "stime", NONE, &[ptr_in("tptr", &Ty::Int)], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::OLDFSTAT, "oldfstat", DESC | FSTAT, &[fd("fd"), struct_out("statbuf", "old_kernel_stat")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::UTIME), "utime", FILE, &[path("filename"), struct_in("t", "old_utimbuf32")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::STTY, "stty", NONE, &[hex("arg1"), hex("arg2")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::GTTY, "gtty", NONE, &[hex("arg1"), hex("arg2")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::NICE, "nice", NONE, &[int("increment")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FTIME, "ftime", NONE, &[], Ret::Int, Never, Refuse, (2, 6)),
    row(only32(nr::TIMES), "times", NONE, &[struct_out("tbuf", "compat_tms")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::PROF, "prof", NONE, &[], Ret::Int, Never, Refuse, (2, 6)),
    row(only32(nr::SETGID), "setgid", CREDS, &[gid("gid")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::GETGID), "getgid", CREDS | PURE, &[], Ret::Gid, Never, Emulate, (2, 6)),
    row(nr::SIGNAL, "signal", SIGNAL, &[signal("sig"), special("handler", "signal_handler")], Ret::Irregular("signal_handler"), Never, Emulate, (2, 6)),
    row(only32(nr::GETEUID), "geteuid", CREDS | PURE, &[], Ret::Uid, Never, Emulate, (2, 6)),
    row(only32(nr::GETEGID), "getegid", CREDS | PURE, &[], Ret::Gid, Never, Emulate, (2, 6)),
    row(nr::LOCK, "lock", NONE, &[], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::MPX, "mpx", NONE, &[], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::ULIMIT, "ulimit", NONE, &[int("cmd"), long("newval")], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::OLDOLDUNAME, "oldolduname", NONE, &[struct_out("name", "oldold_utsname")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::USTAT), "ustat", NONE, &[dev("dev"), struct_out("ubuf", "compat_ustat")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SIGACTION, "sigaction", SIGNAL, &[signal("sig"), struct_in("act", "compat_old_sigaction"), struct_out("oact", "compat_old_sigaction")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SGETMASK, "sgetmask", SIGNAL, &[], Ret::Irregular("old_sigset"), Never, Emulate, (2, 6)),
    row(nr::SSETMASK, "ssetmask", SIGNAL, &[special("newmask", "old_sigset")], Ret::Irregular("old_sigset"), Never, Emulate, (2, 6)),
    row(only32(nr::SETREUID), "setreuid", CREDS, &[uid("ruid"), uid("euid")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::SETREGID), "setregid", CREDS, &[gid("rgid"), gid("egid")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SIGSUSPEND, "sigsuspend", SIGNAL, &[int("unused1"), int("unused2"), special("mask", "old_sigset")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::SIGPENDING, "sigpending", SIGNAL, &[sigset_out("uset", Fixed(4))], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::SETRLIMIT), "setrlimit", NONE, &[choice("resource", "rlimit_resource"), struct_in("rlim", "compat_rlimit")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::GETRLIMIT), "getrlimit", NONE, &[choice("resource", "rlimit_resource"), struct_out("rlim", "compat_rlimit")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::GETRUSAGE), "getrusage", NONE, &[choice("who", "rusage_who"), struct_out("ru", "compat_rusage")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::GETTIMEOFDAY), "gettimeofday", CLOCK, &[struct_out("tv", "old_timeval32"), struct_out("tz", "timezone")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::SETTIMEOFDAY), "settimeofday", CLOCK, &[struct_in("tv", "old_timeval32"), struct_in("tz", "timezone")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::GETGROUPS), "getgroups", CREDS, &[int("gidsetsize"), array_out("grouplist", &Ty::Struct("old_gid"), RetMax(0))], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::SETGROUPS), "setgroups", CREDS, &[int("gidsetsize"), array_in("grouplist", &Ty::Struct("old_gid"), FromArg(0))], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::SELECT), "select", DESC, &[sized(irregular_inout("arg", "old_select"), Fixed(20))], Ret::Int, May, Emulate, (2, 6)),
    row(nr::OLDLSTAT, "oldlstat", FILE | LSTAT, &[path("filename"), struct_out("statbuf", "old_kernel_stat")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::READDIR, "readdir", DESC, &[fd("fd"), irregular_out("dirent", "old_dirent"), uint("count")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::MMAP), "mmap", DESC | MEMORY, &[sized(irregular_in("arg", "old_mmap"), Fixed(24))], Ret::Addr, Never, Execute, (2, 6)),
    row(only32(nr::FCHOWN), "fchown", DESC, &[fd("fd"), uid("user"), gid("group")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::PROFIL, "profil", NONE, &[hex("arg1"), hex("arg2"), hex("arg3"), hex("arg4")], Ret::Int, Never, Refuse, (2, 6)),
    row(only32(nr::STATFS), "statfs", FILE | STATFS, &[path("pathname"), struct_out("buf", "compat_statfs")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::FSTATFS), "fstatfs", DESC | FSTATFS, &[fd("fd"), struct_out("buf", "compat_statfs")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SOCKETCALL, "socketcall", DESC, &[choice("call", "socketcall"), irregular_inout("args", "socketcall")], Ret::Irregular("socketcall"), May, Emulate, (2, 6)),
    row(only32(nr::SETITIMER), "setitimer", NONE, &[choice("which", "itimer_which"), struct_in("value", "old_itimerval32"), struct_out("ovalue", "old_itimerval32")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::GETITIMER), "getitimer", NONE, &[choice("which", "itimer_which"), struct_out("value", "old_itimerval32")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::STAT), "stat", FILE | STAT, &[path("filename"), struct_out("statbuf", "compat_stat")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::LSTAT), "lstat", FILE | LSTAT, &[path("filename"), struct_out("statbuf", "compat_stat")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::FSTAT), "fstat", DESC | FSTAT, &[fd("fd"), struct_out("statbuf", "compat_stat")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::OLDUNAME, "olduname", NONE, &[struct_out("name", "old_utsname")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::IDLE, "idle", NONE, &[], Ret::Int, Never, Refuse, (2, 6)),
    row(nr::VM86OLD, "vm86old", NONE, &[addr("user_vm86")], Ret::Int, Never, Refuse, (2, 6)),
    row(only32(nr::WAIT4), "wait4", PROCESS, &[pid("upid"), ptr_out("stat_addr", &Ty::Irregular("wait_status")), flags("options", "wait4_options"), struct_out("ru", "compat_rusage")], Ret::Pid, May, Emulate, (2, 6)),
    row(only32(nr::SYSINFO), "sysinfo", NONE, &[struct_out("info", "compat_sysinfo")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::IPC, "ipc", IPC, &[special("call", "ipc"), int("first"), special("second", "ipc"), special("third", "ipc"), irregular_inout("ptr", "ipc"), special("fifth", "ipc")], Ret::Irregular("ipc"), May, Emulate, (2, 6)),
    row(nr::SIGRETURN, "sigreturn", SIGNAL, &[], Ret::Int, Never, Execute, (2, 6)),
    row(only32(nr::CLONE), "clone", PROCESS, &[special("clone_flags", "clone_flags"), addr("newsp"), irregular_out("parent_tidptr", "clone_tid"), irregular_in("tls", "clone_tls"), irregular_out("child_tidptr", "clone_tid")], Ret::Pid, Never, Lifecycle, (2, 6)),
    row(only32(nr::ADJTIMEX), "adjtimex", CLOCK, &[struct_inout("txc_p", "old_timex32")], Ret::Flags("timex_state"), Never, Emulate, (2, 6)),
    row(nr::SIGPROCMASK, "sigprocmask", SIGNAL, &[choice("how", "sigprocmask_how"), sigset_in("set", Fixed(4)), sigset_out("oset", Fixed(4))], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::BDFLUSH, "bdflush", NONE, &[int("func"), long("data")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::SETFSUID), "setfsuid", CREDS, &[uid("uid")], Ret::Uid, Never, Emulate, (2, 6)),
    row(only32(nr::SETFSGID), "setfsgid", CREDS, &[gid("gid")], Ret::Gid, Never, Emulate, (2, 6)),
    row(nr::_LLSEEK, "_llseek", DESC, &[fd("fd"), ulong("offset_high"), ulong("offset_low"), ptr_out("result", &Ty::Off), choice("whence", "whence")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::_NEWSELECT, "_newselect", DESC, &[int("n"), fdset("inp", FromArg(0)), fdset("outp", FromArg(0)), fdset("exp", FromArg(0)), struct_inout("tvp", "old_timeval32")], Ret::Int, May, Emulate, (2, 6)),
    row(only32(nr::SCHED_RR_GET_INTERVAL), "sched_rr_get_interval", NONE, &[pid("pid"), struct_out("interval", "old_timespec32")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::NANOSLEEP), "nanosleep", NONE, &[struct_in("rqtp", "old_timespec32"), struct_out("rmtp", "old_timespec32")], Ret::Int, May, Emulate, (2, 6)),
    row(only32(nr::SETRESUID), "setresuid", CREDS, &[uid("ruid"), uid("euid"), uid("suid")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::GETRESUID), "getresuid", CREDS, &[struct_out("ruidp", "old_uid"), struct_out("euidp", "old_uid"), struct_out("suidp", "old_uid")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::VM86, "vm86", NONE, &[ulong("cmd"), addr("arg")], Ret::Int, Never, Refuse, (2, 6)),
    row(only32(nr::SETRESGID), "setresgid", CREDS, &[gid("rgid"), gid("egid"), gid("sgid")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::GETRESGID), "getresgid", CREDS, &[struct_out("rgidp", "old_gid"), struct_out("egidp", "old_gid"), struct_out("sgidp", "old_gid")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::RT_SIGACTION), "rt_sigaction", SIGNAL, &[signal("sig"), struct_in("act", "compat_sigaction"), struct_out("oact", "compat_sigaction"), size("sigsetsize")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::RT_SIGTIMEDWAIT), "rt_sigtimedwait", SIGNAL, &[sigset_in("uthese", FromArg(3)), struct_out("uinfo", "compat_siginfo"), struct_in("uts", "old_timespec32"), size("sigsetsize")], Ret::Flags("signal"), May, Emulate, (2, 6)),
    row(only32(nr::RT_SIGQUEUEINFO), "rt_sigqueueinfo", PROCESS | SIGNAL, &[pid("pid"), signal("sig"), struct_in("uinfo", "compat_siginfo")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::PREAD64), "pread64", DESC, &[fd("fd"), bytes_out("buf", RetMax(2)), size("count"), ulong("pos_low"), ulong("pos_high")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(only32(nr::PWRITE64), "pwrite64", DESC, &[fd("fd"), bytes_in("buf", FromArg(2)), size("count"), ulong("pos_low"), ulong("pos_high")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(only32(nr::CHOWN), "chown", FILE, &[path("filename"), uid("user"), gid("group")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::SIGALTSTACK), "sigaltstack", SIGNAL, &[struct_in("uss", "compat_sigaltstack"), struct_out("uoss", "compat_sigaltstack")], Ret::Int, Never, Execute, (2, 6)),
    row(only32(nr::SENDFILE), "sendfile", DESC | NETWORK, &[fd("out_fd"), fd("in_fd"), ptr_inout("offset", &Ty::Long), size("count")], Ret::Size, May, Emulate, (2, 6)),
    row(nr::UGETRLIMIT, "ugetrlimit", NONE, &[choice("resource", "rlimit_resource"), struct_out("rlim", "compat_rlimit")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::MMAP2, "mmap2", DESC | MEMORY, &[addr("addr"), size("len"), flags("prot", "mmap_prot"), flags("flags", "mmap_flags"), fd("fd"), ulong("pgoff")], Ret::Addr, Never, Execute, (2, 6)),
    row(nr::TRUNCATE64, "truncate64", FILE, &[path("filename"), ulong("offset_low"), ulong("offset_high")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FTRUNCATE64, "ftruncate64", DESC, &[fd("fd"), ulong("offset_low"), ulong("offset_high")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::STAT64, "stat64", FILE | STAT, &[path("filename"), struct_out("statbuf", "compat_stat64")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::LSTAT64, "lstat64", FILE | LSTAT, &[path("filename"), struct_out("statbuf", "compat_stat64")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FSTAT64, "fstat64", DESC | FSTAT, &[fd("fd"), struct_out("statbuf", "compat_stat64")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::LCHOWN32, "lchown32", FILE, &[path("filename"), uid("user"), gid("group")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETUID32, "getuid32", CREDS | PURE, &[], Ret::Uid, Never, Emulate, (2, 6)),
    row(nr::GETGID32, "getgid32", CREDS | PURE, &[], Ret::Gid, Never, Emulate, (2, 6)),
    row(nr::GETEUID32, "geteuid32", CREDS | PURE, &[], Ret::Uid, Never, Emulate, (2, 6)),
    row(nr::GETEGID32, "getegid32", CREDS | PURE, &[], Ret::Gid, Never, Emulate, (2, 6)),
    row(nr::SETREUID32, "setreuid32", CREDS, &[uid("ruid"), uid("euid")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SETREGID32, "setregid32", CREDS, &[gid("rgid"), gid("egid")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETGROUPS32, "getgroups32", CREDS, &[int("gidsetsize"), array_out("grouplist", &Ty::Gid, RetMax(0))], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SETGROUPS32, "setgroups32", CREDS, &[int("gidsetsize"), array_in("grouplist", &Ty::Gid, FromArg(0))], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FCHOWN32, "fchown32", DESC, &[fd("fd"), uid("user"), gid("group")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SETRESUID32, "setresuid32", CREDS, &[uid("ruid"), uid("euid"), uid("suid")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETRESUID32, "getresuid32", CREDS, &[ptr_out("ruidp", &Ty::Uid), ptr_out("euidp", &Ty::Uid), ptr_out("suidp", &Ty::Uid)], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SETRESGID32, "setresgid32", CREDS, &[gid("rgid"), gid("egid"), gid("sgid")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::GETRESGID32, "getresgid32", CREDS, &[ptr_out("rgidp", &Ty::Gid), ptr_out("egidp", &Ty::Gid), ptr_out("sgidp", &Ty::Gid)], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::CHOWN32, "chown32", FILE, &[path("filename"), uid("user"), gid("group")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SETUID32, "setuid32", CREDS, &[uid("uid")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SETGID32, "setgid32", CREDS, &[gid("gid")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SETFSUID32, "setfsuid32", CREDS, &[uid("uid")], Ret::Uid, Never, Emulate, (2, 6)),
    row(nr::SETFSGID32, "setfsgid32", CREDS, &[gid("gid")], Ret::Gid, Never, Emulate, (2, 6)),
    row(nr::FCNTL64, "fcntl64", DESC, &[fd("fd"), choice("cmd", "fcntl_cmd"), irregular_inout("arg", "fcntl")], Ret::Irregular("fcntl"), May, Emulate, (2, 6)),
    row(only32(nr::READAHEAD), "readahead", DESC, &[fd("fd"), ulong("offset_low"), ulong("offset_high"), size("count")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::SENDFILE64, "sendfile64", DESC | NETWORK, &[fd("out_fd"), fd("in_fd"), ptr_inout("offset", &Ty::Off), size("count")], Ret::Size, May, Emulate, (2, 6)),
    row(only32(nr::IO_GETEVENTS), "io_getevents", NONE, &[addr("ctx_id"), long("min_nr"), long("nr"), array_out("events", &Ty::Struct("io_event"), RetMax(2)), struct_in("timeout", "old_timespec32")], Ret::Int, May, Refuse, (2, 6)),
    row(only32(nr::FADVISE64), "fadvise64", DESC, &[fd("fd"), ulong("offset_low"), ulong("offset_high"), size("len"), choice("advice", "fadvise_advice")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::LOOKUP_DCOOKIE), "lookup_dcookie", NONE, &[ulong("cookie_low"), ulong("cookie_high"), bytes_out("buf", RetMax(3)), size("len")], Ret::Size, Never, Refuse, (2, 6)),
    row(only32(nr::TIMER_CREATE), "timer_create", NONE, &[choice("which_clock", "clock_id"), struct_in("timer_event_spec", "compat_sigevent"), ptr_out("created_timer_id", &Ty::Int)], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::TIMER_SETTIME), "timer_settime", NONE, &[int("timer_id"), flags("flags", "timer_flags"), struct_in("new_setting", "old_itimerspec32"), struct_out("old_setting", "old_itimerspec32")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::TIMER_GETTIME), "timer_gettime", NONE, &[int("timer_id"), struct_out("setting", "old_itimerspec32")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::CLOCK_SETTIME), "clock_settime", CLOCK, &[choice("which_clock", "clock_id"), struct_in("tp", "old_timespec32")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::CLOCK_GETTIME), "clock_gettime", CLOCK, &[choice("which_clock", "clock_id"), struct_out("tp", "old_timespec32")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::CLOCK_GETRES), "clock_getres", CLOCK, &[choice("which_clock", "clock_id"), struct_out("tp", "old_timespec32")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::CLOCK_NANOSLEEP), "clock_nanosleep", NONE, &[choice("which_clock", "clock_id"), flags("flags", "timer_flags"), struct_in("rqtp", "old_timespec32"), struct_out("rmtp", "old_timespec32")], Ret::Int, May, Emulate, (2, 6)),
    row(nr::STATFS64, "statfs64", FILE | STATFS, &[path("pathname"), size("sz"), struct_out("buf", "compat_statfs64")], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FSTATFS64, "fstatfs64", DESC | FSTATFS, &[fd("fd"), size("sz"), struct_out("buf", "compat_statfs64")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::UTIMES), "utimes", FILE, &[path("filename"), array_in("utimes", &Ty::Struct("old_timeval32"), Fixed(2))], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FADVISE64_64, "fadvise64_64", DESC, &[fd("fd"), ulong("offset_low"), ulong("offset_high"), ulong("len_low"), ulong("len_high"), choice("advice", "fadvise_advice")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::MQ_OPEN), "mq_open", DESC, &[string("u_name"), flags("oflag", "open_flags"), mode("mode"), struct_in("u_attr", "compat_mq_attr")], Ret::Fd, Never, Emulate, (2, 6)),
    row(only32(nr::MQ_TIMEDSEND), "mq_timedsend", DESC, &[fd("mqdes"), bytes_in("u_msg_ptr", FromArg(2)), size("msg_len"), uint("msg_prio"), struct_in("u_abs_timeout", "old_timespec32")], Ret::Int, May, Emulate, (2, 6)),
    row(only32(nr::MQ_TIMEDRECEIVE), "mq_timedreceive", DESC, &[fd("mqdes"), bytes_out("u_msg_ptr", RetMax(2)), size("msg_len"), ptr_out("u_msg_prio", &Ty::Uint), struct_in("u_abs_timeout", "old_timespec32")], Ret::Size, May, Emulate, (2, 6)),
    row(only32(nr::MQ_NOTIFY), "mq_notify", DESC, &[fd("mqdes"), struct_in("u_notification", "compat_sigevent")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::MQ_GETSETATTR), "mq_getsetattr", DESC, &[fd("mqdes"), struct_in("u_mqstat", "compat_mq_attr"), struct_out("u_omqstat", "compat_mq_attr")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::KEXEC_LOAD), "kexec_load", NONE, &[addr("entry"), ulong("nr_segments"), array_in("segments", &Ty::Struct("compat_kexec_segment"), FromArg(1)), flags("flags", "kexec_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::WAITID), "waitid", PROCESS, &[choice("which", "waitid_type"), pid("upid"), struct_out("infop", "compat_siginfo"), flags("options", "waitid_options"), struct_out("ru", "compat_rusage")], Ret::Int, May, Emulate, (2, 6)),
    row(only32(nr::FUTIMESAT), "futimesat", FILE | DESC, &[dirfd("dfd"), path("filename"), array_in("utimes", &Ty::Struct("old_timeval32"), Fixed(2))], Ret::Int, Never, Emulate, (2, 6)),
    row(nr::FSTATAT64, "fstatat64", FILE | DESC | FSTAT, &[dirfd("dfd"), path("filename"), struct_out("statbuf", "compat_stat64"), flags("flag", "fstatat_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::PSELECT6), "pselect6", DESC, &[int("n"), fdset("inp", FromArg(0)), fdset("outp", FromArg(0)), fdset("exp", FromArg(0)), struct_inout("tsp", "old_timespec32"), irregular_in("sig", "pselect6_sigmask")], Ret::Int, May, Emulate, (2, 6)),
    row(only32(nr::PPOLL), "ppoll", DESC, &[array_inout("ufds", &Ty::Struct("pollfd"), FromArg(1)), uint("nfds"), struct_inout("tsp", "old_timespec32"), sigset_in("sigmask", FromArg(4)), size("sigsetsize")], Ret::Int, May, Emulate, (2, 6)),
    row(only32(nr::SYNC_FILE_RANGE), "sync_file_range", DESC, &[fd("fd"), ulong("offset_low"), ulong("offset_high"), ulong("nbytes_low"), ulong("nbytes_high"), flags("flags", "sync_file_range_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::UTIMENSAT), "utimensat", FILE | DESC, &[dirfd("dfd"), path("filename"), array_in("utimes", &Ty::Struct("old_timespec32"), Fixed(2)), flags("flags", "utimensat_flags")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::FALLOCATE), "fallocate", DESC, &[fd("fd"), flags("mode", "fallocate_mode"), ulong("offset_low"), ulong("offset_high"), ulong("len_low"), ulong("len_high")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::TIMERFD_SETTIME), "timerfd_settime", DESC, &[fd("ufd"), flags("flags", "timerfd_settime_flags"), struct_in("utmr", "old_itimerspec32"), struct_out("otmr", "old_itimerspec32")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::TIMERFD_GETTIME), "timerfd_gettime", DESC, &[fd("ufd"), struct_out("otmr", "old_itimerspec32")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::PREADV), "preadv", DESC, &[fd("fd"), iovec_out("vec", FromArg(2)), ulong("vlen"), ulong("pos_l"), ulong("pos_h")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(only32(nr::PWRITEV), "pwritev", DESC, &[fd("fd"), iovec_in("vec", FromArg(2)), ulong("vlen"), ulong("pos_l"), ulong("pos_h")], Ret::Size, Fd(0), Emulate, (2, 6)),
    row(only32(nr::RT_TGSIGQUEUEINFO), "rt_tgsigqueueinfo", PROCESS | SIGNAL, &[pid("tgid"), pid("pid"), signal("sig"), struct_in("uinfo", "compat_siginfo")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::RECVMMSG), "recvmmsg", NETWORK, &[fd("fd"), mmsghdr_out("mmsg", RetMax(2)), uint("vlen"), flags("flags", "msg_flags"), struct_inout("timeout", "old_timespec32")], Ret::Int, Fd(0), Emulate, (2, 6)),
    row(only32(nr::FANOTIFY_MARK), "fanotify_mark", FILE | DESC, &[fd("fanotify_fd"), flags("flags", "fanotify_mark_flags"), flags("mask_low", "fanotify_events"), hex("mask_high"), dirfd("dfd"), path("pathname")], Ret::Int, Never, Emulate, (2, 6)),
    row(only32(nr::CLOCK_ADJTIME), "clock_adjtime", CLOCK, &[choice("which_clock", "clock_id"), struct_inout("utx", "old_timex32")], Ret::Flags("timex_state"), Never, Emulate, (2, 6)),
    row(only32(nr::PROCESS_VM_READV), "process_vm_readv", NONE, &[pid("pid"), iovec_out("lvec", FromArg(2)), ulong("liovcnt"), array_in("rvec", &Ty::Struct("compat_iovec"), FromArg(4)), ulong("riovcnt"), ulong("flags")], Ret::Size, Never, Emulate, (3, 2)),
    row(only32(nr::PROCESS_VM_WRITEV), "process_vm_writev", NONE, &[pid("pid"), iovec_in("lvec", FromArg(2)), ulong("liovcnt"), array_in("rvec", &Ty::Struct("compat_iovec"), FromArg(4)), ulong("riovcnt"), ulong("flags")], Ret::Size, Never, Emulate, (3, 2)),
    row(only32(nr::PREADV2), "preadv2", DESC, &[fd("fd"), iovec_out("vec", FromArg(2)), ulong("vlen"), ulong("pos_l"), ulong("pos_h"), flags("flags", "rwf_flags")], Ret::Size, Fd(0), Emulate, (4, 6)),
    row(only32(nr::PWRITEV2), "pwritev2", DESC, &[fd("fd"), iovec_in("vec", FromArg(2)), ulong("vlen"), ulong("pos_l"), ulong("pos_h"), flags("flags", "rwf_flags")], Ret::Size, Fd(0), Emulate, (4, 6)),
    row(only32(nr::IO_PGETEVENTS), "io_pgetevents", NONE, &[addr("ctx_id"), long("min_nr"), long("nr"), array_out("events", &Ty::Struct("io_event"), RetMax(2)), struct_in("timeout", "old_timespec32"), irregular_in("usig", "pselect6_sigmask")], Ret::Int, May, Refuse, (4, 18)),
    row(nr::CLOCK_GETTIME64, "clock_gettime64", CLOCK, &[choice("which_clock", "clock_id"), struct_out("tp", "timespec")], Ret::Int, Never, Emulate, (5, 1)),
    row(nr::CLOCK_SETTIME64, "clock_settime64", CLOCK, &[choice("which_clock", "clock_id"), struct_in("tp", "timespec")], Ret::Int, Never, Emulate, (5, 1)),
    row(nr::CLOCK_ADJTIME64, "clock_adjtime64", CLOCK, &[choice("which_clock", "clock_id"), struct_inout("utx", "timex")], Ret::Flags("timex_state"), Never, Emulate, (5, 1)),
    row(nr::CLOCK_GETRES_TIME64, "clock_getres_time64", CLOCK, &[choice("which_clock", "clock_id"), struct_out("tp", "timespec")], Ret::Int, Never, Emulate, (5, 1)),
    row(nr::CLOCK_NANOSLEEP_TIME64, "clock_nanosleep_time64", NONE, &[choice("which_clock", "clock_id"), flags("flags", "timer_flags"), struct_in("rqtp", "timespec"), struct_out("rmtp", "timespec")], Ret::Int, May, Emulate, (5, 1)),
    row(nr::TIMER_GETTIME64, "timer_gettime64", NONE, &[int("timer_id"), struct_out("setting", "itimerspec")], Ret::Int, Never, Emulate, (5, 1)),
    row(nr::TIMER_SETTIME64, "timer_settime64", NONE, &[int("timer_id"), flags("flags", "timer_flags"), struct_in("new_setting", "itimerspec"), struct_out("old_setting", "itimerspec")], Ret::Int, Never, Emulate, (5, 1)),
    row(nr::TIMERFD_GETTIME64, "timerfd_gettime64", DESC, &[fd("ufd"), struct_out("otmr", "itimerspec")], Ret::Int, Never, Emulate, (5, 1)),
    row(nr::TIMERFD_SETTIME64, "timerfd_settime64", DESC, &[fd("ufd"), flags("flags", "timerfd_settime_flags"), struct_in("utmr", "itimerspec"), struct_out("otmr", "itimerspec")], Ret::Int, Never, Emulate, (5, 1)),
    row(nr::UTIMENSAT_TIME64, "utimensat_time64", FILE | DESC, &[dirfd("dfd"), path("filename"), array_in("utimes", &Ty::Struct("timespec"), Fixed(2)), flags("flags", "utimensat_flags")], Ret::Int, Never, Emulate, (5, 1)),
    row(nr::PSELECT6_TIME64, "pselect6_time64", DESC, &[int("n"), fdset("inp", FromArg(0)), fdset("outp", FromArg(0)), fdset("exp", FromArg(0)), struct_inout("tsp", "timespec"), irregular_in("sig", "pselect6_sigmask")], Ret::Int, May, Emulate, (5, 1)),
    row(nr::PPOLL_TIME64, "ppoll_time64", DESC, &[array_inout("ufds", &Ty::Struct("pollfd"), FromArg(1)), uint("nfds"), struct_inout("tsp", "timespec"), sigset_in("sigmask", FromArg(4)), size("sigsetsize")], Ret::Int, May, Emulate, (5, 1)),
    row(nr::IO_PGETEVENTS_TIME64, "io_pgetevents_time64", NONE, &[addr("ctx_id"), long("min_nr"), long("nr"), array_out("events", &Ty::Struct("io_event"), RetMax(2)), struct_in("timeout", "timespec"), irregular_in("usig", "pselect6_sigmask")], Ret::Int, May, Refuse, (5, 1)),
    row(nr::RECVMMSG_TIME64, "recvmmsg_time64", NETWORK, &[fd("fd"), mmsghdr_out("mmsg", RetMax(2)), uint("vlen"), flags("flags", "msg_flags"), struct_inout("timeout", "timespec")], Ret::Int, Fd(0), Emulate, (5, 1)),
    row(nr::MQ_TIMEDSEND_TIME64, "mq_timedsend_time64", DESC, &[fd("mqdes"), bytes_in("u_msg_ptr", FromArg(2)), size("msg_len"), uint("msg_prio"), struct_in("u_abs_timeout", "timespec")], Ret::Int, May, Emulate, (5, 1)),
    row(nr::MQ_TIMEDRECEIVE_TIME64, "mq_timedreceive_time64", DESC, &[fd("mqdes"), bytes_out("u_msg_ptr", RetMax(2)), size("msg_len"), ptr_out("u_msg_prio", &Ty::Uint), struct_in("u_abs_timeout", "timespec")], Ret::Size, May, Emulate, (5, 1)),
    row(nr::SEMTIMEDOP_TIME64, "semtimedop_time64", IPC, &[int("semid"), array_in("tsops", &Ty::Struct("sembuf"), FromArg(2)), uint("nsops"), struct_in("timeout", "timespec")], Ret::Int, May, Emulate, (5, 1)),
    row(nr::RT_SIGTIMEDWAIT_TIME64, "rt_sigtimedwait_time64", SIGNAL, &[sigset_in("uthese", FromArg(3)), struct_out("uinfo", "compat_siginfo"), struct_in("uts", "timespec"), size("sigsetsize")], Ret::Flags("signal"), May, Emulate, (5, 1)),
    row(nr::FUTEX_TIME64, "futex_time64", NONE, &[irregular_inout("uaddr", "futex"), special("op", "futex_op"), uint("val"), irregular_in("utime", "futex"), irregular_inout("uaddr2", "futex"), hex("val3")], Ret::Irregular("futex"), May, Emulate, (5, 1)),
    row(nr::SCHED_RR_GET_INTERVAL_TIME64, "sched_rr_get_interval_time64", NONE, &[pid("pid"), struct_out("interval", "timespec")], Ret::Int, Never, Emulate, (5, 1)),
    row(only32(nr::PIDFD_SEND_SIGNAL), "pidfd_send_signal", DESC | PROCESS | SIGNAL, &[fd("pidfd"), signal("sig"), struct_in("info", "compat_siginfo"), flags("flags", "pidfd_signal_flags")], Ret::Int, Never, Emulate, (5, 1)),
    row(only32(nr::PROCESS_MADVISE), "process_madvise", DESC, &[fd("pidfd"), array_in("vec", &Ty::Struct("compat_iovec"), FromArg(2)), size("vlen"), choice("behavior", "madvise_advice"), uint("flags")], Ret::Size, Never, Emulate, (5, 10)),
];

/// The row of syscall `number`, or `None` when the table does not know it.
#[must_use]
pub fn by_number(arch: Arch, number: u32) -> Option<&'static Syscall> {
    let index: &[u16] = match arch {
        Arch::X86_64 => &X86_64,
        Arch::I386 => &I386,
    };
    let row = *index.get(usize::try_from(number).ok()?)?;
    SYSCALLS.get(usize::from(row))
}

/// The number behind those of all syscalls that the table knows.
#[must_use]
pub const fn first_unknown(arch: Arch) -> usize {
    size_of_index(arch)
}

/// The row of the syscall of that name in `arch`.
#[must_use]
pub fn by_name(arch: Arch, name: &str) -> Option<&'static Syscall> {
    SYSCALLS.iter().find(|syscall| syscall.name == name && syscall.number.on(arch).is_some())
}

/// Stands in an index for a number that no row has.
const NO_ROW: u16 = u16::MAX;

/// Row index by number.
static X86_64: [u16; size_of_index(Arch::X86_64)] = index(Arch::X86_64);
static I386: [u16; size_of_index(Arch::I386)] = index(Arch::I386);

/// The number of `row` in `arch`, negative where it has none.
const fn number_of(row: usize, arch: Arch) -> i16 {
    match arch {
        Arch::X86_64 => ROWS[row].number.x86_64,
        Arch::I386 => ROWS[row].number.i386,
    }
}

const fn size_of_index(arch: Arch) -> usize {
    let mut size = 0;
    let mut row = 0;
    while row < ROWS.len() {
        let number = number_of(row, arch);
        if number >= 0 && number as usize >= size {
            size = number as usize + 1;
        }
        row += 1;
    }
    size
}

const fn index<const N: usize>(arch: Arch) -> [u16; N] {
    let mut index = [NO_ROW; N];
    let mut row = 0;
    while row < ROWS.len() {
        let number = number_of(row, arch);
        if number >= 0 {
            assert!(index[number as usize] == NO_ROW, "two rows have one number");
            index[number as usize] = row as u16;
        }
        row += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::NUMBERS;
    use crate::{flags, structs};
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    const ARCHES: [Arch; 2] = [Arch::X86_64, Arch::I386];

    /// Every row that breaks a rule, in words; empty when all keep it.
    fn complaints(complain: impl Fn(&Syscall, &mut Vec<String>)) -> Vec<String> {
        let mut all = Vec::new();
        for syscall in SYSCALLS {
            complain(syscall, &mut all);
        }
        all
    }

    #[test]
    fn every_number_of_the_headers_has_its_row() {
        for arch in ARCHES {
            for (name, number) in NUMBERS {
                let Some(number) = number.on(arch) else {
                    continue;
                };
                let row = by_number(arch, u32::from(number));
                assert_eq!(row.map(|row| row.name), Some(*name), "{arch:?} {number}");
            }
        }
    }

    #[test]
    fn every_row_has_a_number_of_the_headers() {
        for arch in ARCHES {
            let in_table = SYSCALLS.iter().filter(|row| row.number.on(arch).is_some());
            let in_headers = NUMBERS.iter().filter(|(_, n)| n.on(arch).is_some());
            assert_eq!(in_table.count(), in_headers.count(), "{arch:?}");
        }
    }

    #[test]
    fn names_are_found_and_are_unique_in_an_architecture() {
        for arch in ARCHES {
            for syscall in SYSCALLS.iter().filter(|row| row.number.on(arch).is_some()) {
                let found = by_name(arch, syscall.name).expect("a row is found by its name");
                assert_eq!(found.number, syscall.number, "two rows named {}", syscall.name);
            }
        }
    }

    #[test]
    fn numbers_and_names_outside_the_table_are_unknown() {
        for number in [387, 423, 1_000_000, u32::MAX] {
            assert!(by_number(Arch::X86_64, number).is_none(), "{number}");
        }
        assert!(by_name(Arch::X86_64, "socketcall").is_none());
        assert!(by_name(Arch::I386, "accept").is_none());
        assert!(by_name(Arch::X86_64, "").is_none());
    }

    #[test]
    fn rows_are_sorted() {
        let key = |row: &Syscall| match row.number.on(Arch::X86_64) {
            Some(number) => (0, number),
            None => (1, row.number.on(Arch::I386).expect("a row has a number")),
        };
        for pair in SYSCALLS.windows(2) {
            assert!(key(&pair[0]) < key(&pair[1]), "{} stands too late", pair[1].name);
        }
    }

    #[test]
    fn argument_names_are_unique_and_at_most_six() {
        let bad = complaints(|row, all| {
            if row.args.len() > 6 {
                all.push(format!("{}: {} arguments", row.name, row.args.len()));
            }
            for (i, argument) in row.args.iter().enumerate() {
                if row.args[..i].iter().any(|before| before.name == argument.name) {
                    all.push(format!("{}: two arguments {}", row.name, argument.name));
                }
            }
        });
        assert!(bad.is_empty(), "{bad:#?}");
    }

    fn is_count(ty: Ty) -> bool {
        matches!(ty, Ty::Int | Ty::Uint | Ty::Long | Ty::Ulong | Ty::Size)
    }

    /// Whether what is behind an argument of type `ty` starts with a 32-bit length; `own` is the argument itself.
    fn holds_length(ty: Ty, own: bool) -> bool {
        match ty {
            Ty::Ptr(&(Ty::Int | Ty::Uint)) => true,
            Ty::Struct(name) => {
                own && structs::layout(name).is_some_and(|layout| {
                    let first = &layout.fields[0];
                    (first.name, first.offset, first.size) == ("size", 0, 4)
                })
            }
            _ => false,
        }
    }

    #[test]
    fn lengths_come_from_arguments_that_are_lengths() {
        let bad = complaints(|row, all| {
            for (i, argument) in row.args.iter().enumerate() {
                let good = match argument.len {
                    Len::Own | Len::Ret | Len::Fixed(_) => true,
                    Len::Arg(from) | Len::RetMax(from) => {
                        row.args.get(usize::from(from)).is_some_and(|source| is_count(source.ty))
                    }
                    Len::Pointee(from) => row
                        .args
                        .get(usize::from(from))
                        .is_some_and(|source| holds_length(source.ty, usize::from(from) == i)),
                    Len::PointeeWord(from) => {
                        row.args.get(usize::from(from)).is_some_and(|source| matches!(source.ty, Ty::Ptr(&Ty::Size)))
                    }
                };
                if !good {
                    all.push(format!("{}: {} has {:?}", row.name, argument.name, argument.len));
                }
            }
        });
        assert!(bad.is_empty(), "{bad:#?}");
    }

    #[test]
    fn only_pointers_have_a_direction_and_a_length() {
        let bad = complaints(|row, all| {
            for argument in row.args {
                let needs_length = matches!(
                    argument.ty,
                    Ty::Bytes | Ty::Array(_) | Ty::Iovec | Ty::Mmsghdr | Ty::Sockaddr | Ty::Sigset | Ty::FdSet
                );
                let sizeless = matches!(
                    argument.ty,
                    Ty::Struct(_) | Ty::Irregular(_) | Ty::Path | Ty::Str | Ty::StrArray | Ty::Msghdr
                );
                let own = argument.len == Len::Own;
                if needs_length && own {
                    all.push(format!("{}: {} needs a length", row.name, argument.name));
                }
                let is_scalar = !needs_length && !sizeless && !matches!(argument.ty, Ty::Ptr(_));
                if is_scalar && (!own || argument.dir != Dir::In) {
                    all.push(format!("{}: {} is a scalar", row.name, argument.name));
                }
            }
        });
        assert!(bad.is_empty(), "{bad:#?}");
    }

    #[test]
    fn blocking_is_decided_by_a_descriptor() {
        let bad = complaints(|row, all| {
            if let Blocks::Fd(i) = row.blocks
                && !matches!(row.args.get(usize::from(i)), Some(a) if a.ty == Ty::Fd)
            {
                all.push(String::from(row.name));
            }
        });
        assert!(bad.is_empty(), "{bad:#?}");
    }

    fn names_in(ty: Ty, sets: &mut Vec<&'static str>, layouts: &mut Vec<&'static str>) {
        match ty {
            Ty::Flags(set) | Ty::Enum(set) => sets.push(set),
            Ty::Struct(name) => layouts.push(name),
            Ty::Array(inner) | Ty::Ptr(inner) => names_in(*inner, sets, layouts),
            _ => {}
        }
    }

    #[test]
    fn every_set_and_struct_named_exists() {
        let mut sets = Vec::new();
        let mut layouts = Vec::new();
        for row in SYSCALLS {
            for argument in row.args {
                names_in(argument.ty, &mut sets, &mut layouts);
            }
            if let Ret::Flags(set) = row.ret {
                sets.push(set);
            }
        }
        for layout in structs::STRUCTS {
            for field in layout.fields {
                names_in(field.ty, &mut sets, &mut layouts);
            }
        }
        sets.retain(|name| flags::set(name).is_none());
        layouts.retain(|name| structs::layout(name).is_none());
        for missing in [&mut sets, &mut layouts] {
            missing.sort_unstable();
            missing.dedup();
        }
        assert!(sets.is_empty() && layouts.is_empty(), "sets {sets:?}, structs {layouts:?}");
    }
}
