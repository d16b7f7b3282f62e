//! The vocabulary in which the syscall table is written: types, directions, length sources and classes.
//!
//! This module holds no row. `syscalls.rs` has the rows (one per syscall), `numbers.rs`, `flags.rs` and `structs.rs`
//! are generated from the kernel headers. Recorder, replayer, decoder, diff and spec all read the same rows; the
//! TypeScript tables are generated from them (`cargo run -p trace-format --example generate`).

/// An architecture (more exactly: a syscall ABI) whose numbers the table knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Arch {
    /// The `syscall` instruction of 64-bit code, `AUDIT_ARCH_X86_64`.
    X86_64 = 0,
    /// `int 0x80` and `sysenter`, `AUDIT_ARCH_I386`, also on a 64-bit kernel.
    I386 = 1,
}

impl Arch {
    /// Size of a pointer and of a C `long` in bytes.
    #[must_use]
    pub const fn word(self) -> usize {
        match self {
            Arch::X86_64 => 8,
            Arch::I386 => 4,
        }
    }

    /// The architecture with this stored code, if it is one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Arch> {
        match code {
            0 => Some(Arch::X86_64),
            1 => Some(Arch::I386),
            _ => None,
        }
    }
}

/// The number of one syscall in every architecture; `-1` where the architecture lacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub x86_64: i16,
    pub i386: i16,
}

impl Number {
    /// The number in `arch`, or `None` when `arch` has no such syscall.
    #[must_use]
    pub const fn on(self, arch: Arch) -> Option<u16> {
        let number = match arch {
            Arch::X86_64 => self.x86_64,
            Arch::I386 => self.i386,
        };
        if number < 0 { None } else { Some(number as u16) }
    }
}

/// What an argument, a pointee or a struct member is.
///
/// Scalars say how the register is read; pointer types say what is behind it. Which bytes are captured follows from the
/// type, the [`Dir`] and the [`Len`] of the argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    // --- scalars, in registers and in structs ---
    /// Signed, of the register's C type `int` (or the member's own size).
    Int,
    /// Unsigned, `unsigned int` (or the member's own size).
    Uint,
    /// Signed, one machine word.
    Long,
    /// Unsigned, one machine word.
    Ulong,
    /// Unsigned, shown in hexadecimal.
    Hex,
    /// An address that is not followed.
    Addr,
    /// A count of bytes (`size_t`).
    Size,
    /// A file offset (`loff_t`), signed.
    Off,
    /// A file descriptor.
    Fd,
    /// A directory file descriptor or `AT_FDCWD`.
    DirFd,
    /// A process, thread or process-group id.
    Pid,
    Uid,
    Gid,
    /// File mode bits without the file type (`umask`, `chmod`), shown in octal.
    Mode,
    /// File mode with the file type (`st_mode`, `mknod`).
    FileMode,
    /// A device number in the kernel's "new" encoding.
    Dev,
    /// A signal number.
    Signal,
    /// A bit mask of the named set of `flags.rs`.
    Flags(&'static str),
    /// Exactly one value of the named set of `flags.rs`.
    Enum(&'static str),
    /// Seconds since the epoch in a struct or register, shown as a number.
    Time,
    /// Network byte order 16-bit port.
    Port,
    /// Network byte order IPv4 address.
    Ipv4,
    /// 16 bytes of IPv6 address.
    Ipv6,
    /// A `char[]` member that holds a string and ends at the first NUL.
    Chars,
    /// Raw bytes of a member, shown quoted or in hexadecimal.
    Blob,

    // --- pointers ---
    /// NUL-terminated path.
    Path,
    /// NUL-terminated string that is no path.
    Str,
    /// `len` bytes.
    Bytes,
    /// The named struct of `structs.rs`. With a [`Len`] the program says its size (extensible structs).
    Struct(&'static str),
    /// An array; its element count (or byte count) is the argument's [`Len`].
    Array(&'static Ty),
    /// One value of that scalar type behind a pointer (`int *`, `size_t *`, `off_t *`).
    Ptr(&'static Ty),
    /// `struct iovec[len]`; the buffers behind it are captured in the argument's direction.
    Iovec,
    /// `struct msghdr` with name, iovec and control messages.
    Msghdr,
    /// `struct mmsghdr[len]`.
    Mmsghdr,
    /// `struct sockaddr` of `len` bytes.
    Sockaddr,
    /// NULL-terminated array of strings (`argv`, `envp`).
    StrArray,
    /// `fd_set` whose size follows from the `nfds` argument named by the [`Len`].
    FdSet,
    /// Kernel `sigset_t` of `len` bytes.
    Sigset,
    /// Depends on other arguments in a way that data cannot say: one file in `irregular/` captures it and one file of the
    /// decoder reads it, found by this name (`ioctl`, `fcntl`, `prctl`, `futex`, `bpf`, `keyctl`, ...).
    Irregular(&'static str),
}

/// Which way the bytes behind a pointer travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dir {
    /// Read by the kernel: captured at entry.
    In,
    /// Written by the kernel: captured at exit when the call succeeded (or as [`Ty::Irregular`] says).
    Out,
    /// Both: captured at entry and at exit.
    InOut,
}

/// Where the length of what is behind a pointer comes from. Argument indexes count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Len {
    /// The type says it (a struct, a NUL-terminated string, a single scalar).
    Own,
    /// A constant number of bytes (`Bytes`) or elements (`Array`).
    Fixed(u32),
    /// The value of argument `i`: bytes for `Bytes`, `Sockaddr`, `Sigset` and sized structs, elements for arrays.
    Arg(u8),
    /// The return value in bytes or elements, at most argument `i`; what was there before when the call failed is nothing.
    RetMax(u8),
    /// The return value alone.
    Ret,
    /// The 32-bit value behind argument `i` (`socklen_t *`): at entry for input; for output the smaller of the value
    /// before and after the call.
    Pointee(u8),
    /// The machine word behind argument `i` (`size_t *`), read as `Pointee`.
    PointeeWord(u8),
}

/// One argument of a syscall.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    pub name: &'static str,
    pub ty: Ty,
    pub dir: Dir,
    pub len: Len,
}

/// What the return value is when it is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// A plain number; 0 for most calls.
    Int,
    /// An address or another value shown in hexadecimal.
    Addr,
    /// A new file descriptor.
    Fd,
    /// A number of bytes.
    Size,
    /// A process or thread id.
    Pid,
    /// A bit mask or value of the named set, shown after the number.
    Flags(&'static str),
    /// File mode in octal (`umask`).
    Mode,
    Uid,
    Gid,
    /// Depends on the arguments (`fcntl`, `prctl`, `ioctl`): the decoder's file of that name knows.
    Irregular(&'static str),
    /// Does not return when it succeeds.
    Never,
}

/// Whether the call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    Never,
    /// May wait, whatever its arguments.
    May,
    /// May wait when the open file behind fd argument `i` is not a regular file or directory.
    Fd(u8),
}

/// How replay treats the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Replay {
    /// Not executed: result and output memory come from the trace.
    Emulate,
    /// Executed at the recorded addresses (address space, signal stack, thread-local set-up).
    Execute,
    /// Creates, replaces or ends threads and processes.
    Lifecycle,
    /// Answered with ENOSYS (or the recorded error) while a replayable trace is recorded.
    Refuse,
}

/// The classes of strace's `-e trace=%class`, as bits.
pub mod class {
    pub const FILE: u32 = 1;
    pub const DESC: u32 = 1 << 1;
    pub const NETWORK: u32 = 1 << 2;
    pub const PROCESS: u32 = 1 << 3;
    pub const MEMORY: u32 = 1 << 4;
    pub const SIGNAL: u32 = 1 << 5;
    pub const IPC: u32 = 1 << 6;
    pub const CLOCK: u32 = 1 << 7;
    pub const CREDS: u32 = 1 << 8;
    /// stat and its variants that take a path and follow links.
    pub const STAT: u32 = 1 << 9;
    pub const LSTAT: u32 = 1 << 10;
    pub const FSTAT: u32 = 1 << 11;
    pub const STATFS: u32 = 1 << 12;
    pub const FSTATFS: u32 = 1 << 13;
    /// Never fails and has no argument (`getpid`).
    pub const PURE: u32 = 1 << 14;

    /// Name (without `%`) and bit of every class.
    pub static NAMES: &[(&str, u32)] = &[
        ("file", FILE),
        ("desc", DESC),
        ("network", NETWORK),
        ("process", PROCESS),
        ("memory", MEMORY),
        ("signal", SIGNAL),
        ("ipc", IPC),
        ("clock", CLOCK),
        ("creds", CREDS),
        ("stat", STAT),
        ("lstat", LSTAT),
        ("fstat", FSTAT),
        ("statfs", STATFS),
        ("fstatfs", FSTATFS),
        ("pure", PURE),
    ];
}

/// One syscall: everything that any part of the program knows about it.
#[derive(Clone, Copy, Debug)]
pub struct Syscall {
    pub name: &'static str,
    pub number: Number,
    /// Bits of [`class`].
    pub class: u32,
    pub args: &'static [Arg],
    pub ret: Ret,
    pub blocks: Blocks,
    pub replay: Replay,
    /// First kernel version that has it (2.6 for all that is older).
    pub since: (u8, u8),
}

/// A named set of constants, used as a bit mask or as a choice.
#[derive(Clone, Copy, Debug)]
pub struct FlagSet {
    pub name: &'static str,
    /// Value and name, in the order in which they are to be shown. In a bit mask an entry of several bits stands before
    /// the entries that it contains; an entry of value 0 is shown only when nothing else is set.
    pub entries: &'static [(u64, &'static str)],
}

/// One member of a struct.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    /// Byte offset in the 64-bit layout.
    pub offset: u16,
    /// Bytes of one element.
    pub size: u16,
    /// Number of elements; 1 for a plain member. For `Chars` and `Blob` the bytes are `size * count`.
    pub count: u16,
    pub ty: Ty,
    /// Whether it is shown in the short form (strace without `-v`).
    pub brief: bool,
}

/// The memory layout of a kernel struct on x86-64.
#[derive(Clone, Copy, Debug)]
pub struct Struct {
    pub name: &'static str,
    pub size: u16,
    pub fields: &'static [Field],
}
