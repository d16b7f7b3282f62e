//! Tracees as ptrace(2) shows them: how they are attached and go on, their registers, signals and the call they are stopped at.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::ops::Range;

use libc::{c_int, pid_t};
use trace_format::table::Arch;

use super::check;
use crate::siginfo::{self, SigInfo};

/// `PTRACE_EVENT_*` numbers as they stand in the high half of a wait status, ptrace(2).
pub mod event {
    pub const FORK: i32 = libc::PTRACE_EVENT_FORK;
    pub const VFORK: i32 = libc::PTRACE_EVENT_VFORK;
    pub const CLONE: i32 = libc::PTRACE_EVENT_CLONE;
    pub const EXEC: i32 = libc::PTRACE_EVENT_EXEC;
    pub const SECCOMP: i32 = libc::PTRACE_EVENT_SECCOMP;
    pub const STOP: i32 = libc::PTRACE_EVENT_STOP;
}

/// Attaches without stopping; `options` are `PTRACE_O_*` bits.
pub fn seize(tid: pid_t, options: c_int) -> io::Result<()> {
    // SAFETY: PTRACE_SEIZE takes no pointer.
    check(unsafe { libc::ptrace(libc::PTRACE_SEIZE, tid, 0_usize, options as usize) }).map(drop)
}

/// Asks a seized tracee to stop; it reports `PTRACE_EVENT_STOP`.
pub fn interrupt(tid: pid_t) -> io::Result<()> {
    // SAFETY: PTRACE_INTERRUPT takes no pointer.
    check(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, tid, 0_usize, 0_usize) }).map(drop)
}

/// How a stopped tracee goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// To the next syscall boundary.
    Syscall,
    /// To the next event, signal or seccomp stop.
    Cont,
    /// Stays in group-stop, but reports new events.
    Listen,
    /// By one instruction.
    Step,
    /// Goes on unobserved.
    Detach,
}

/// Lets a stopped tracee go on, with the signal that it is to get (0 for none).
pub fn resume(tid: pid_t, how: Resume, signal: c_int) -> io::Result<()> {
    let request = match how {
        Resume::Syscall => libc::PTRACE_SYSCALL,
        Resume::Cont => libc::PTRACE_CONT,
        Resume::Listen => libc::PTRACE_LISTEN,
        Resume::Step => libc::PTRACE_SINGLESTEP,
        Resume::Detach => libc::PTRACE_DETACH,
    };
    // SAFETY: none of these requests takes a pointer.
    check(unsafe { libc::ptrace(request, tid, 0_usize, signal as usize) }).map(drop)
}

/// `struct ptrace_sud_config` (linux/ptrace.h).
#[repr(C)]
struct DispatchConfig {
    mode: u64,
    selector: u64,
    offset: u64,
    len: u64,
}

/// Has the calls of a stopped tracee come back to it as SIGSYS, before any filter sees them, but those from instructions that end in
/// `passing`; none of them, without that. `PR_SET_SYSCALL_USER_DISPATCH` of prctl(2), set by the tracer (Linux 6.4).
pub fn set_dispatch(tid: pid_t, passing: Option<&Range<u64>>) -> io::Result<()> {
    const PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG: u32 = 0x4210;
    const PR_SYS_DISPATCH_OFF: u64 = 0;
    const PR_SYS_DISPATCH_ON: u64 = 1;
    let config = match passing {
        Some(passing) => DispatchConfig {
            mode: PR_SYS_DISPATCH_ON,
            selector: 0,
            offset: passing.start,
            len: passing.end - passing.start,
        },
        None => DispatchConfig { mode: PR_SYS_DISPATCH_OFF, selector: 0, offset: 0, len: 0 },
    };
    let request = PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG;
    // SAFETY: the kernel reads one `ptrace_sud_config`, whose size it is told.
    check(unsafe { libc::ptrace(request, tid, size_of::<DispatchConfig>(), &raw const config) }).map(drop)
}

/// The message of the last ptrace event (a new tid, a former tid).
pub fn event_message(tid: pid_t) -> io::Result<u64> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one unsigned long to `message`.
    check(unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, tid, 0_usize, &raw mut message) })?;
    Ok(message)
}

/// The siginfo of the signal that the tracee is stopped for, as the kernel's 128 bytes.
pub fn signal_info(tid: pid_t) -> io::Result<SigInfo> {
    let mut info = [0_u8; 128];
    // SAFETY: siginfo_t has 128 bytes in every Linux ABI; the kernel writes at most those.
    check(unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, tid, 0_usize, info.as_mut_ptr()) })?;
    Ok(info)
}

/// `struct ptrace_syscall_info` (linux/ptrace.h), flattened: which fields mean something depends on `op`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SyscallInfo {
    pub op: u8,
    pad: [u8; 3],
    pub arch: u32,
    pub ip: u64,
    pub sp: u64,
    /// Entry and seccomp: the number. Exit: the result.
    pub first: u64,
    /// Entry: the arguments. Exit: the low byte of the first says whether the result is an error.
    pub args: [u64; 6],
    tail: u64,
}

impl SyscallInfo {
    /// The entry of a call: `AUDIT_ARCH_*`, instruction and stack pointer, number and arguments.
    #[must_use]
    pub fn entry(arch: u32, (ip, sp): (u64, u64), number: u64, args: [u64; 6]) -> SyscallInfo {
        SyscallInfo { op: INFO_ENTRY, pad: [0; 3], arch, ip, sp, first: number, args, tail: 0 }
    }

    /// The kind of call, and after an exec the kind of program.
    #[must_use]
    pub fn machine(&self) -> Arch {
        const AUDIT_ARCH_I386: u32 = 0x4000_0003;
        if self.arch == AUDIT_ARCH_I386 { Arch::I386 } else { Arch::X86_64 }
    }
}

/// Whether an address is in the page at which the kernel offers three calls to old programs (`[vsyscall]`).
#[must_use]
pub fn is_in_vsyscall(addr: u64) -> bool {
    const START: u64 = 0xffff_ffff_ff60_0000;
    addr & !0xfff == START
}

pub const INFO_ENTRY: u8 = 1;
pub const INFO_EXIT: u8 = 2;
pub const INFO_SECCOMP: u8 = 3;
const PTRACE_GET_SYSCALL_INFO: u32 = 0x420e;

/// What the tracee is stopped at: entry, exit or seccomp, with registers (Linux 5.3).
pub fn syscall_info(tid: pid_t) -> io::Result<SyscallInfo> {
    let mut info = MaybeUninit::<SyscallInfo>::zeroed();
    // SAFETY: the kernel writes at most the given size into `info`, of which every bit pattern is valid.
    check(unsafe { libc::ptrace(PTRACE_GET_SYSCALL_INFO, tid, size_of::<SyscallInfo>(), info.as_mut_ptr()) })?;
    // SAFETY: zeroed above, so initialised whatever the kernel wrote.
    Ok(unsafe { info.assume_init() })
}

/// Segments of 64-bit user code and data (`__USER_CS`, `__USER_DS`).
pub const USER_CS: u64 = 0x33;
pub const USER_DS: u64 = 0x2b;
/// Code segment of 32-bit programs (`__USER32_CS`).
pub const USER32_CS: u64 = 0x23;

/// The general registers of a stopped tracee, `struct user_regs_struct`.
pub fn registers(tid: pid_t) -> io::Result<libc::user_regs_struct> {
    let mut regs = MaybeUninit::<libc::user_regs_struct>::zeroed();
    // SAFETY: PTRACE_GETREGS writes one user_regs_struct.
    check(unsafe { libc::ptrace(libc::PTRACE_GETREGS, tid, 0_usize, regs.as_mut_ptr()) })?;
    // SAFETY: zeroed above and then written by the kernel.
    Ok(unsafe { regs.assume_init() })
}

/// Sets the general registers of a stopped tracee.
pub fn set_registers(tid: pid_t, regs: &libc::user_regs_struct) -> io::Result<()> {
    // SAFETY: PTRACE_SETREGS reads one user_regs_struct.
    check(unsafe { libc::ptrace(libc::PTRACE_SETREGS, tid, 0_usize, std::ptr::from_ref(regs)) }).map(drop)
}

/// The bytes of `struct user_regs_struct`, as events hold them.
#[must_use]
pub fn register_bytes(regs: &libc::user_regs_struct) -> [u8; size_of::<libc::user_regs_struct>()] {
    // SAFETY: the struct is `repr(C)` and has only 64-bit members, so it has no padding and any bytes of it are initialised.
    unsafe { std::mem::transmute_copy(regs) }
}

/// A hardware breakpoint of a stopped tracee, as long as this lives: it stops before the instruction at an address, with
/// SIGTRAP and the code `TRAP_HWBKPT`. One at a time.
pub struct Breakpoint(pid_t);

impl Breakpoint {
    /// `None` when the machine has none to give.
    #[must_use]
    pub fn set(tid: pid_t, addr: u64) -> Option<Breakpoint> {
        set_debug_register(tid, 0, addr).ok()?;
        let set = Breakpoint(tid);
        let others = debug_register(tid, DEBUG_CONTROL).ok()?;
        set_debug_register(tid, DEBUG_CONTROL, others | FIRST).ok()?;
        Some(set)
    }
}

/// The first one is on, for execution (Intel SDM volume 3, 19.2.4).
const FIRST: u64 = 1;

impl Drop for Breakpoint {
    fn drop(&mut self) {
        // Nothing to do for a tracee that is gone.
        let others = debug_register(self.0, DEBUG_CONTROL).unwrap_or(0);
        let _ = set_debug_register(self.0, DEBUG_CONTROL, others & !FIRST);
    }
}

/// The debug register that tells which of the others have stopped the thread, and the one that turns them on.
pub const DEBUG_STATUS: usize = 6;
pub const DEBUG_CONTROL: usize = 7;

fn place_of_debug_register(number: usize) -> usize {
    std::mem::offset_of!(libc::user, u_debugreg) + number * size_of::<u64>()
}

/// Sets a debug register of a stopped tracee.
pub fn set_debug_register(tid: pid_t, number: usize, value: u64) -> io::Result<()> {
    let place = place_of_debug_register(number);
    // SAFETY: PTRACE_POKEUSER takes a place and a value, no pointer.
    check(unsafe { libc::ptrace(libc::PTRACE_POKEUSER, tid, place, value as usize) }).map(drop)
}

/// A debug register of a stopped tracee.
pub fn debug_register(tid: pid_t, number: usize) -> io::Result<u64> {
    let place = place_of_debug_register(number);
    let mut value = 0_u64;
    // SAFETY: the kernel writes the word of this frame (the raw call stores what it has read there, ptrace(2)).
    check(unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_PEEKUSER, tid, place, &raw mut value) })?;
    Ok(value)
}

/// All that XSAVE saves, as a set of registers (linux/elf.h).
pub const NT_X86_XSTATE: usize = 0x202;
/// More bytes of it than any processor has.
pub const MOST_VECTOR_STATE: usize = 16 << 10;

/// The floating-point and vector registers of a stopped tracee (`NT_X86_XSTATE`), at most `buffer.len()` bytes; how many there are.
pub fn vector_registers(tid: pid_t, buffer: &mut [u8]) -> io::Result<usize> {
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: the iovec covers `buffer`, of which the kernel writes at most the given length.
    check(unsafe { libc::ptrace(libc::PTRACE_GETREGSET, tid, NT_X86_XSTATE, &raw mut piece) })?;
    Ok(piece.iov_len.min(buffer.len()))
}

/// Sets the floating-point and vector registers of a stopped tracee, as [`vector_registers`] has given them.
pub fn set_vector_registers(tid: pid_t, bytes: &[u8]) -> io::Result<()> {
    let piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the iovec covers `bytes`, which the kernel only reads (PTRACE_SETREGSET, ptrace(2)).
    check(unsafe { libc::ptrace(libc::PTRACE_SETREGSET, tid, NT_X86_XSTATE, &raw const piece) }).map(drop)
}

/// Replaces the siginfo of the signal that the tracee is stopped for.
pub fn set_signal_info(tid: pid_t, info: &SigInfo) -> io::Result<()> {
    // SAFETY: siginfo_t has 128 bytes, which the kernel reads.
    check(unsafe { libc::ptrace(libc::PTRACE_SETSIGINFO, tid, 0_usize, info.as_ptr()) }).map(drop)
}

/// The blocked signals of a stopped tracee, bit 0 for signal 1.
pub fn signal_mask(tid: pid_t) -> io::Result<u64> {
    const PTRACE_GETSIGMASK: u32 = 0x420a;
    let mut mask = 0_u64;
    // SAFETY: the kernel writes the 8 bytes that it is told to.
    check(unsafe { libc::ptrace(PTRACE_GETSIGMASK, tid, 8_usize, &raw mut mask) })?;
    Ok(mask)
}

/// Sets the blocked signals of a stopped tracee.
pub fn set_signal_mask(tid: pid_t, mask: u64) -> io::Result<()> {
    const PTRACE_SETSIGMASK: u32 = 0x420b;
    // SAFETY: the kernel reads the 8 bytes that it is told to.
    check(unsafe { libc::ptrace(PTRACE_SETSIGMASK, tid, 8_usize, &raw const mask) }).map(drop)
}

const PEEK_SHARED: u32 = 1;

/// One of the signals that wait for a stopped tracee, by its place, or with [`PEEK_SHARED`] for its process: PTRACE_PEEKSIGINFO.
fn waiting_signal(tid: pid_t, flags: u32, place: u64) -> io::Result<Option<SigInfo>> {
    const PTRACE_PEEKSIGINFO: u32 = 0x4209;
    /// `struct ptrace_peeksiginfo_args` (linux/ptrace.h).
    #[repr(C)]
    struct Args {
        off: u64,
        flags: u32,
        nr: i32,
    }
    let args = Args { off: place, flags, nr: 1 };
    let mut info = [0_u8; 128];
    // SAFETY: the kernel reads the arguments and writes the one siginfo_t of 128 bytes that they ask for.
    let found = check(unsafe { libc::ptrace(PTRACE_PEEKSIGINFO, tid, &raw const args, info.as_mut_ptr()) })?;
    Ok((found != 0).then_some(info))
}

/// Whether signals wait for a stopped tracee or its process, blocked ones among them.
#[must_use]
pub fn has_pending_signals(tid: pid_t) -> bool {
    // What cannot be told may be.
    [0, PEEK_SHARED].into_iter().any(|flags| !matches!(waiting_signal(tid, flags, 0), Ok(None)))
}

/// The signals that wait for a stopped tracee alone, blocked ones among them.
fn own_waiting_signals(tid: pid_t) -> impl Iterator<Item = SigInfo> {
    (0..).map_while(move |place| waiting_signal(tid, 0, place).ok().flatten())
}

/// Whether a filter of the program has made a trap of the call that a tracee comes back from: its SIGSYS waits then.
#[must_use]
pub fn is_trapped_by_filter(tid: pid_t) -> bool {
    own_waiting_signals(tid)
        .any(|info| siginfo::signal(&info) == libc::SIGSYS && siginfo::code(&info) == siginfo::SYS_SECCOMP)
}

/// Whether a tracee that was stopped between two instructions has raised a signal with the one before, which is to come next.
#[must_use]
pub fn has_raised_signal(tid: pid_t) -> bool {
    own_waiting_signals(tid).any(|info| match siginfo::signal(&info) {
        // One that was pending already takes the place of the kernel's, which has let it through.
        libc::SIGSYS => signal_mask(tid).is_ok_and(|mask| mask & 1 << (libc::SIGSYS - 1) == 0),
        signal => siginfo::is_synchronous(signal, siginfo::code(&info)),
    })
}

/// Whether a tracee that had stopped was killed meanwhile.
#[must_use]
pub fn is_gone(tid: pid_t) -> bool {
    registers(tid).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
}

/// Sets one argument register (0 to 5) of a tracee in a syscall stop.
pub fn set_argument(tid: pid_t, arch: Arch, index: usize, value: u64) -> io::Result<()> {
    let mut regs = registers(tid)?;
    *argument(&mut regs, arch, index) = value;
    set_registers(tid, &regs)
}

/// The register of one argument (0 to 5).
pub fn argument(regs: &mut libc::user_regs_struct, arch: Arch, index: usize) -> &mut u64 {
    match (arch, index) {
        (Arch::X86_64, 0) | (Arch::I386, 4) => &mut regs.rdi,
        (Arch::X86_64, 1) | (Arch::I386, 3) => &mut regs.rsi,
        (_, 2) => &mut regs.rdx,
        (Arch::X86_64, 3) => &mut regs.r10,
        (Arch::X86_64, 4) => &mut regs.r8,
        (Arch::X86_64, _) => &mut regs.r9,
        (Arch::I386, 0) => &mut regs.rbx,
        (Arch::I386, 1) => &mut regs.rcx,
        (Arch::I386, _) => &mut regs.rbp,
    }
}

/// Whether a call of that raw result is one that the kernel will restart by itself, or that its handler ends: ERESTARTSYS,
/// ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK (include/linux/errno.h). Only a tracer ever sees them.
#[must_use]
pub fn is_restart(result: i64) -> bool {
    matches!(result, -512 | -513 | -514 | -516)
}

/// Whether a stopped tracee stands behind a call that was interrupted, and may be made again.
#[must_use]
pub fn is_interrupted(regs: &libc::user_regs_struct) -> bool {
    regs.orig_rax as i64 >= 0 && is_restart(regs.rax as i64)
}
