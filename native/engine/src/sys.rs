//! The kernel calls of the recorder, one thin safe function each.
//!
//! Nothing here decides anything; every `unsafe` block of the recorder that is not in `launch.rs` (after fork) is here.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long, c_void, pid_t};
use trace_format::table::Arch;

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

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
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
        /// The first one is on, for execution (Intel SDM volume 3, 19.2.4).
        const FIRST: u64 = 1;
        set_debug_register(tid, 0, addr).ok()?;
        let set = Breakpoint(tid);
        set_debug_register(tid, 7, FIRST).ok()?;
        Some(set)
    }
}

impl Drop for Breakpoint {
    fn drop(&mut self) {
        // Nothing to do for a tracee that is gone.
        let _ = set_debug_register(self.0, 7, 0);
    }
}

fn set_debug_register(tid: pid_t, number: usize, value: u64) -> io::Result<()> {
    let place = std::mem::offset_of!(libc::user, u_debugreg) + number * size_of::<u64>();
    // SAFETY: PTRACE_POKEUSER takes a place and a value, no pointer.
    check(unsafe { libc::ptrace(libc::PTRACE_POKEUSER, tid, place, value as usize) }).map(drop)
}

/// The floating-point and vector registers of a stopped tracee (`NT_X86_XSTATE`), at most `buffer.len()` bytes; how many there are.
pub fn vector_registers(tid: pid_t, buffer: &mut [u8]) -> io::Result<usize> {
    const NT_X86_XSTATE: usize = 0x202;
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: the iovec covers `buffer`, of which the kernel writes at most the given length.
    check(unsafe { libc::ptrace(libc::PTRACE_GETREGSET, tid, NT_X86_XSTATE, &raw mut piece) })?;
    Ok(piece.iov_len.min(buffer.len()))
}

/// A limit of a task in bytes, getrlimit(2), and what /proc/PID/limits calls it.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    resource: libc::__rlimit_resource_t,
    label: &'static str,
}

/// How large it may make its files.
pub const FILE_SIZE: Limit = Limit { resource: libc::RLIMIT_FSIZE, label: "Max file size" };
/// How much it may have mapped.
pub const ADDRESS_SPACE: Limit = Limit { resource: libc::RLIMIT_AS, label: "Max address space" };

/// What the soft limit of a task is.
#[must_use]
pub fn soft_limit(tid: pid_t, of: Limit) -> u64 {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the old limit is written to a valid struct, and no new one is given.
    let asked = unsafe { libc::prlimit64(tid, of.resource, std::ptr::null(), &raw mut limit) };
    if asked == 0 {
        return limit.rlim_cur;
    }
    // Of another user's process it takes a privilege, while proc(5) tells it to who may trace it.
    let limits = std::fs::read_to_string(format!("/proc/{tid}/limits")).unwrap_or_default();
    limit_in(&limits, of).unwrap_or(0)
}

/// A file of zeros in memory, which may be sealed, memfd_create(2).
///
/// # Errors
/// As memfd_create(2) and ftruncate(2).
pub fn memory_file(name: &CStr, length: u64) -> io::Result<File> {
    // SAFETY: the name is a string with its end.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and owned by nobody else.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(length)?;
    Ok(file)
}

/// A soft limit in the text of /proc/PID/limits.
fn limit_in(limits: &str, of: Limit) -> Option<u64> {
    let word = limits.lines().find_map(|line| line.strip_prefix(of.label))?.split_whitespace().next()?;
    if word == "unlimited" { Some(libc::RLIM_INFINITY) } else { word.parse().ok() }
}

/// Whether calls of this thread, and so of all that it starts, pass a filter already, prctl(2).
#[must_use]
pub fn has_own_filter() -> bool {
    // SAFETY: takes no pointer.
    unsafe { libc::prctl(libc::PR_GET_SECCOMP) == 2 }
}

/// Whether this thread, and so all that it starts, gains no privileges, prctl(2).
#[must_use]
pub fn gains_nothing() -> bool {
    // SAFETY: takes no pointer.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }
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

/// Whether a filter of the program has made a trap of the call that a tracee comes back from: its SIGSYS waits then.
#[must_use]
pub fn is_trapped_by_filter(tid: pid_t) -> bool {
    let mut waiting = (0..).map_while(|place| waiting_signal(tid, 0, place).ok().flatten());
    waiting.any(|info| siginfo::signal(&info) == libc::SIGSYS && siginfo::code(&info) == siginfo::SYS_SECCOMP)
}

/// Waits for the next stop or end of one tracee.
pub fn wait_for(tid: pid_t) -> io::Result<Waited> {
    if let Some(waited) = take(tid) {
        return Ok(waited);
    }
    loop {
        match wait(tid, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(None) => return Err(io::Error::from_raw_os_error(libc::ECHILD)),
            Ok(Some(waited)) => return Ok(waited),
            Err(error) => return Err(error),
        }
    }
}

thread_local! {
    /// What [`await_report`] has taken of other tracees, for who waits for any.
    static TAKEN: RefCell<VecDeque<Waited>> = const { RefCell::new(VecDeque::new()) };
}

/// What a tracee has reported while another one was waited for.
fn take(tid: pid_t) -> Option<Waited> {
    TAKEN.with_borrow_mut(|taken| {
        let place = taken.iter().position(|waited| waited.tid == tid)?;
        taken.remove(place)
    })
}

/// Waits for the next stop of a tracee whose process may be killed meanwhile. An end, and what others report, is left to [`wait_any`].
///
/// # Errors
/// ESRCH when it has ended.
pub fn wait_stop(tid: pid_t) -> io::Result<Waited> {
    let gone = || io::Error::from_raw_os_error(libc::ESRCH);
    let taken = TAKEN.with_borrow(|taken| taken.iter().find(|waited| waited.tid == tid).map(|waited| waited.status));
    if let Some(status) = taken {
        return if libc::WIFSTOPPED(status) { wait_for(tid) } else { Err(gone()) };
    }
    while await_report(tid)? {
        // A stop of one that is killed now is gone.
        if let Some(waited) = wait(tid, libc::WNOHANG)? {
            return Ok(waited);
        }
    }
    Err(gone())
}

/// Waits until a tracee has a stop (`true`) or an end to tell. The end of a process' first thread is told when all its other threads have
/// been waited for, and not before: so reports of others are taken while it has none.
fn await_report(tid: pid_t) -> io::Result<bool> {
    const ANY: c_int = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT;
    // SAFETY: takes numbers only, and sends nothing.
    let is_first = unsafe { libc::syscall(libc::SYS_tgkill, tid, tid, 0) } == 0;
    loop {
        let unhurried = if is_first { libc::WNOHANG } else { 0 };
        match wait_id(libc::P_PID, tid, ANY | unhurried) {
            Ok(Some((_, stopped))) => return Ok(stopped.is_some()),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if let Ok(Some((other, _))) = wait_id(libc::P_ALL, 0, ANY)
            && other != tid
            && let Ok(Some(waited)) = wait(other, libc::WNOHANG)
        {
            TAKEN.with_borrow_mut(|taken| taken.push_back(waited));
        }
    }
}

/// The end of a child, or its being stopped or continued by a signal, that is there already.
pub fn poll_child(pid: pid_t) -> io::Result<Option<Waited>> {
    wait(pid, libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED)
}

/// The stop or end of one tracee that is there already.
pub fn poll(tid: pid_t) -> io::Result<Option<Waited>> {
    take(tid).map_or_else(|| wait(tid, libc::WNOHANG), |waited| Ok(Some(waited)))
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

/// A child that changed its state.
#[derive(Clone, Copy)]
pub struct Waited {
    pub tid: pid_t,
    pub status: c_int,
    /// Of an end. A stop may come without.
    pub usage: libc::rusage,
}

/// How stops of any tracee are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// With one call.
    Plainly,
    /// With two, and without the usage at a stop, which the kernel sums up over all threads of the process: 40 ns for each.
    Sparing,
}

/// Waits for the next stop or end of any tracee of this thread. `None` when interrupted by a signal.
///
/// # Errors
/// ECHILD when nothing is left.
pub fn wait_any(how: Waiting) -> io::Result<Option<Waited>> {
    match wait_how(how, 0) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        result => result,
    }
}

/// A stop or end that is there already.
#[must_use]
pub fn wait_now(how: Waiting) -> Option<Waited> {
    wait_how(how, libc::WNOHANG).ok().flatten()
}

fn wait_how(how: Waiting, flags: c_int) -> io::Result<Option<Waited>> {
    if let Some(waited) = TAKEN.with_borrow_mut(VecDeque::pop_front) {
        return Ok(Some(waited));
    }
    if how == Waiting::Plainly {
        return wait(-1, flags);
    }
    loop {
        let Some((tid, stopped)) = wait_id(libc::P_ALL, 0, libc::WEXITED | libc::WNOWAIT | flags)? else {
            return Ok(None);
        };
        // It may be another's by now: a stop of one that was killed is gone, and its end may come only after others.
        let found = match stopped {
            Some(_) => {
                wait_id(libc::P_PID, tid, libc::WSTOPPED | libc::WNOHANG).ok().flatten().and_then(|(tid, status)| {
                    // SAFETY: a struct of numbers, for which zeros are valid.
                    status.map(|status| Waited { tid, status, usage: unsafe { std::mem::zeroed() } })
                })
            }
            None => wait(tid, libc::WNOHANG).ok().flatten(),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
}

/// What waitid(2) tells: whom of, and the status of a stop as wait(2) has it; nothing of an end. `None` when there is nothing.
fn wait_id(kind: libc::idtype_t, of: pid_t, flags: c_int) -> io::Result<Option<(pid_t, Option<c_int>)>> {
    let options = libc::__WALL | libc::__WNOTHREAD | flags;
    // SAFETY: siginfo_t is plain data; the kernel fills it, and for a child it has these members.
    unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        check(c_long::from(libc::waitid(kind, of as libc::id_t, &raw mut info, options)))?;
        let is_stop = matches!(info.si_code, libc::CLD_STOPPED | libc::CLD_TRAPPED);
        let status = is_stop.then(|| info.si_status() << 8 | 0x7f);
        Ok(Some((info.si_pid(), status)).filter(|(tid, _)| *tid != 0))
    }
}

fn wait(of: pid_t, flags: c_int) -> io::Result<Option<Waited>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let options = libc::__WALL | libc::__WNOTHREAD | flags;
    // SAFETY: both pointers are valid for writing; wait4 fills them.
    let tid = unsafe { libc::wait4(of, &raw mut status, options, usage.as_mut_ptr()) };
    if tid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed above.
    let usage = unsafe { usage.assume_init() };
    Ok((tid > 0).then_some(Waited { tid, status, usage }))
}

/// The id of this thread.
#[must_use]
pub fn own_tid() -> pid_t {
    // SAFETY: takes no argument.
    unsafe { libc::gettid() }
}

/// Makes a signal do nothing but interrupt the call that a thread waits in.
pub fn catch(signal: c_int) {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: the handler does nothing, and without SA_RESTART it interrupts waits, which is its purpose.
    unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
    }
}

/// Keeps all signals from this thread, but for one. They go to others, or wait.
pub fn block_signals(but: Option<c_int>) {
    // SAFETY: the set is of this frame, and full before it is used.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut set);
        if let Some(signal) = but {
            libc::sigdelset(&raw mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Stops this process as a stop signal does by default, whatever its handler is and also where it is blocked; returns when it
/// is continued.
pub fn stop_self(signal: c_int) {
    // SAFETY: the actions and sets are of this frame. The signal is for this thread and is taken when it is unblocked at the
    // latest, so that the old handler is back before anybody else could need it.
    unsafe {
        let mut old = std::mem::zeroed::<libc::sigaction>();
        let mut default = std::mem::zeroed::<libc::sigaction>();
        default.sa_sigaction = libc::SIG_DFL;
        let mut this = std::mem::zeroed::<libc::sigset_t>();
        let mut blocked = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut this);
        libc::sigaddset(&raw mut this, signal);
        // (SIGSTOP has no handler to change: that fails, and need not work.)
        libc::sigaction(signal, &raw const default, &raw mut old);
        libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const this, &raw mut blocked);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const blocked, std::ptr::null_mut());
        libc::sigaction(signal, &raw const old, std::ptr::null_mut());
    }
}

/// Sends a signal to one thread.
pub fn tgkill(pid: pid_t, tid: pid_t, signal: c_int) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) }).map(drop)
}

/// Sends a signal to a process.
pub fn kill(pid: pid_t, signal: c_int) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(c_long::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// Reads tracee memory; the result is how many bytes from `addr` on were readable (0 when none).
pub fn read_memory(tid: pid_t, addr: u64, buffer: &mut [MaybeUninit<u8>]) -> usize {
    let mut got = 0;
    while got < buffer.len() {
        let at = addr.wrapping_add(got as u64);
        let rest = &mut buffer[got..];
        let local = libc::iovec { iov_base: rest.as_mut_ptr().cast::<c_void>(), iov_len: rest.len() };
        let remote = libc::iovec { iov_base: at as *mut c_void, iov_len: rest.len() };
        // SAFETY: `local` covers `rest`; `remote` is only an address in the other process and never dereferenced here.
        let read = unsafe { libc::process_vm_readv(tid, &raw const local, 1, &raw const remote, 1, 0) };
        let read = usize::try_from(read).unwrap_or(0);
        got += read;
        if read < rest.len() {
            let forced = read_write_only(tid, at.wrapping_add(read as u64), &mut rest[read..]);
            got += forced;
            if forced == 0 {
                break;
            }
        }
    }
    got
}

/// Reads memory that may be written and not read, from `addr` to its end at most; 0 where other memory or none is. The processor lets
/// a program read it all the same, and so does the kernel in its calls: only who reads from outside is refused, but not by
/// /proc/PID/mem.
fn read_write_only(tid: pid_t, addr: u64, buffer: &mut [MaybeUninit<u8>]) -> usize {
    const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let covers = |mapping: &crate::image::Mapping| addr.wrapping_sub(mapping.start) < mapping.length;
    let mapping = query_mapping(tid, addr).unwrap_or_else(|_| crate::image::mappings(tid).into_iter().find(covers));
    let Some(mapping) = mapping.filter(|mapping| mapping.prot & READ_WRITE == libc::PROT_WRITE as u64) else {
        return 0;
    };
    let left = mapping.length.saturating_sub(addr.wrapping_sub(mapping.start));
    let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    let (Ok(file), Ok(offset)) = (File::open(format!("/proc/{tid}/mem")), libc::off_t::try_from(addr)) else {
        return 0;
    };
    // SAFETY: the kernel writes at most `length` bytes to `buffer`, which is as long.
    let read = unsafe { libc::pread(file.as_raw_fd(), buffer.as_mut_ptr().cast(), length, offset) };
    usize::try_from(read).unwrap_or(0)
}

/// Reads pieces of tracee memory one behind the other; the result is how many bytes were read before the first piece that
/// could not be read. `buffer` has room for all pieces.
pub fn read_pieces(tid: pid_t, pieces: &[(u64, usize)], buffer: &mut [u8]) -> usize {
    let remote: Vec<libc::iovec> =
        pieces.iter().map(|piece| libc::iovec { iov_base: piece.0 as *mut c_void, iov_len: piece.1 }).collect();
    read_vector(tid, &remote, buffer)
}

/// As [`read_pieces`], of pieces that are addresses in the other process.
pub fn read_vector(tid: pid_t, pieces: &[libc::iovec], buffer: &mut [u8]) -> usize {
    let wanted: usize = pieces.iter().map(|piece| piece.iov_len).sum();
    assert!(wanted <= buffer.len(), "{wanted} bytes into {}", buffer.len());
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast::<c_void>(), iov_len: wanted };
    // SAFETY: `local` covers the start of `buffer`; the pieces are addresses in the other process.
    let got =
        unsafe { libc::process_vm_readv(tid, &raw const local, 1, pieces.as_ptr(), pieces.len() as libc::c_ulong, 0) };
    let got = usize::try_from(got).unwrap_or(0);
    // SAFETY: u8 and MaybeUninit<u8> have the same layout, and only initialised bytes are ever written through it.
    let buffer = unsafe { &mut *(&raw mut *buffer as *mut [MaybeUninit<u8>]) };
    let mut start = 0;
    for piece in pieces {
        let end = start + piece.iov_len;
        if got < end {
            // The first that is not there as a whole, and then those behind it.
            let read = read_memory(tid, piece.iov_base as u64, &mut buffer[start..end]);
            if read < piece.iov_len {
                return got.max(start + read);
            }
        }
        start = end;
    }
    wanted
}

/// Writes tracee memory; whether all bytes were written.
pub fn write_memory(tid: pid_t, addr: u64, bytes: &[u8]) -> bool {
    let local = libc::iovec { iov_base: bytes.as_ptr() as *mut c_void, iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: addr as *mut c_void, iov_len: bytes.len() };
    // SAFETY: `local` covers `bytes`, which the kernel only reads.
    let done = unsafe { libc::process_vm_writev(tid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(done).is_ok_and(|done| done == bytes.len())
}

/// The file behind a descriptor of another process, opened again for reading, so that it has a position of its own. A pipe
/// stays the same pipe.
pub fn open_again(tid: pid_t, fd: c_int) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(format!("/proc/{tid}/fd/{fd}"))
}

/// The open file description behind a descriptor of another thread, shared with it, pidfd_getfd(2). `pid` is its process.
pub fn share_descriptor(pid: pid_t, tid: pid_t, fd: c_int) -> io::Result<OwnedFd> {
    /// Linux 6.9: the thread itself, which may have a table of its own.
    const PIDFD_THREAD: c_int = libc::O_EXCL;
    // SAFETY: takes no pointer.
    let open = |of: pid_t, flags: c_int| check(unsafe { libc::syscall(libc::SYS_pidfd_open, of, flags) });
    let process = open(tid, PIDFD_THREAD).or_else(|_| open(pid, 0))?;
    // SAFETY: just made, and owned by nobody else.
    let process = unsafe { OwnedFd::from_raw_fd(process as c_int) };
    // SAFETY: takes no pointer.
    let shared = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })?;
    // SAFETY: just made, and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(shared as c_int) })
}

/// A pipe of this process with room for so many bytes, if it may have that much: the ends to read and to write.
pub fn wide_pipe(room: c_int) -> io::Result<(File, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: pipe2 writes two descriptors.
    check(c_long::from(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) }))?;
    // SAFETY: takes no pointer; a smaller pipe is as good.
    unsafe { libc::fcntl(ends[1], libc::F_SETPIPE_SZ, room) };
    // SAFETY: both descriptors are new and owned by nobody else.
    Ok(unsafe { (File::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Copies what is in a pipe to another one, and leaves it there, tee(2). 0 when nothing will ever come.
///
/// # Errors
/// EAGAIN when nothing has come yet.
pub fn copy_pipe(from: &impl AsRawFd, to: &impl AsRawFd, most: usize) -> io::Result<usize> {
    // SAFETY: takes no pointer.
    let copied = unsafe { libc::tee(from.as_raw_fd(), to.as_raw_fd(), most, libc::SPLICE_F_NONBLOCK) };
    check(copied as c_long).map(|copied| copied as usize)
}

/// Looks at what has come to a stream socket, and leaves it there. 0 when nothing will ever come.
///
/// # Errors
/// EAGAIN when nothing has come yet.
pub fn peek_socket(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`.
    let got = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    check(got as c_long).map(|got| got as usize)
}

/// Whether a socket carries a stream of bytes.
#[must_use]
pub fn is_stream_socket(socket: &impl AsRawFd) -> bool {
    let (mut kind, mut length) = (0 as c_int, size_of::<c_int>() as libc::socklen_t);
    let value = (&raw mut kind).cast();
    // SAFETY: the kernel writes one int, whose length `length` says.
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TYPE, value, &raw mut length) };
    done == 0 && kind == libc::SOCK_STREAM
}

/// The parts of a file between two offsets that hold data: offset and length, lseek(2) with SEEK_DATA.
pub fn data_extents(file: &File, from: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
    /// A file of more parts is not one that is nearly empty.
    const MOST: usize = 1 << 14;
    // SAFETY: takes no pointer.
    let seek = |at: u64, how: c_int| check(unsafe { libc::lseek(file.as_raw_fd(), at as i64, how) });
    let (mut found, mut at) = (Vec::new(), from);
    while at < end && found.len() < MOST {
        let start = match seek(at, libc::SEEK_DATA) {
            Ok(start) => start as u64,
            // Nothing but a hole follows.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(found),
            Err(error) => return Err(error),
        };
        if start >= end {
            return Ok(found);
        }
        at = seek(start, libc::SEEK_HOLE)? as u64;
        found.push((start, at.min(end) - start));
    }
    if at < end { Err(io::Error::from_raw_os_error(libc::EFBIG)) } else { Ok(found) }
}

/// The type of the file system that a file is on, statfs(2).
pub fn file_system(file: &impl AsRawFd) -> io::Result<i64> {
    let mut facts = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel writes one struct statfs.
    check(c_long::from(unsafe { libc::fstatfs(file.as_raw_fd(), facts.as_mut_ptr()) }))?;
    // SAFETY: zeroed above and then written by the kernel.
    Ok(unsafe { facts.assume_init() }.f_type)
}

/// Nanoseconds of CLOCK_MONOTONIC.
#[must_use]
pub fn monotonic() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970. Also right on a thread that is [`Counterless`].
#[must_use]
pub fn realtime() -> u64 {
    clock(libc::CLOCK_REALTIME)
}

thread_local! {
    static COUNTERLESS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    static TRAPS_CPUID: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// As long as it lives the kernel raises no SIGCHLD in this process for children that stop (SA_NOCLDSTOP, sigaction(2)). A tracer
/// learns of stops by waiting; the signal for each, though nobody takes it, is a twentieth of what a stop costs. What else
/// is to happen at SIGCHLD stays as it was.
pub struct StopsUnsignalled(());

impl StopsUnsignalled {
    /// `None` when it is so already.
    #[must_use]
    pub fn new() -> Option<StopsUnsignalled> {
        change_sigchld(|flags| flags & libc::SA_NOCLDSTOP == 0, |flags| flags | libc::SA_NOCLDSTOP)
            .then_some(StopsUnsignalled(()))
    }
}

impl Drop for StopsUnsignalled {
    fn drop(&mut self) {
        // Who has set another action meanwhile wants its own flags.
        change_sigchld(|flags| flags & libc::SA_NOCLDSTOP != 0, |flags| flags & !libc::SA_NOCLDSTOP);
    }
}

/// Changes the flags of SIGCHLD's action where they are as asked.
fn change_sigchld(is_due: impl Fn(c_int) -> bool, change: impl Fn(c_int) -> c_int) -> bool {
    // SAFETY: sigaction reads and writes structs of its own kind; the action that is set is the one that was there.
    unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        if libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut action) != 0 || !is_due(action.sa_flags) {
            return false;
        }
        action.sa_flags = change(action.sa_flags);
        libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut()) == 0
    }
}

/// As long as it lives this thread asks for short slices of processor time, sched(7): one that wakes up for a stop runs at once then, and
/// not when the slice of a program is over that computes there (Linux 6.12 and later; others take no notice).
pub struct ShortSlices {
    before: libc::sched_attr,
    of_one_thread: std::marker::PhantomData<*const ()>,
}

impl ShortSlices {
    /// The shortest that the kernel gives.
    const SLICE_NS: u64 = 100_000;

    /// `None` where a thread has another policy than the usual one, or the kernel does not let it change.
    #[must_use]
    pub fn new() -> Option<ShortSlices> {
        let before = scheduling().filter(|before| before.sched_policy == libc::SCHED_OTHER as u32)?;
        let short = libc::sched_attr { sched_runtime: ShortSlices::SLICE_NS, ..before };
        set_scheduling(&short).then_some(ShortSlices { before, of_one_thread: std::marker::PhantomData })
    }
}

impl Drop for ShortSlices {
    fn drop(&mut self) {
        set_scheduling(&self.before);
    }
}

/// How this thread is scheduled, sched_getattr(2).
fn scheduling() -> Option<libc::sched_attr> {
    // SAFETY: numbers only, for which zero is a value.
    let mut now: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes at most as many bytes as it is told that there are.
    check(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut now, size, 0) }).ok().map(|_| now)
}

fn set_scheduling(attributes: &libc::sched_attr) -> bool {
    // SAFETY: the kernel reads as many bytes as the struct says itself.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *attributes, 0) == 0 }
}

/// As long as it lives `rdtsc` traps on this thread, as it does in the tracees: the processor is spared from being switched
/// between the two at each stop, which a virtual machine can make cost more than the stop itself. Nothing on this thread
/// may read a clock but through this module, since the C library's clocks use that instruction.
pub struct Counterless(std::marker::PhantomData<*const ()>);

impl Counterless {
    /// `None` when the kernel cannot.
    #[must_use]
    pub fn new() -> Option<Counterless> {
        set_counter(libc::PR_TSC_SIGSEGV).then(|| {
            COUNTERLESS.set(true);
            Counterless(std::marker::PhantomData)
        })
    }
}

impl Drop for Counterless {
    fn drop(&mut self) {
        set_counter(libc::PR_TSC_ENABLE);
        COUNTERLESS.set(false);
    }
}

/// Calls something that may read clocks, from a thread that may be [`Counterless`].
pub fn with_counter<T>(call: impl FnOnce() -> T) -> T {
    let hidden = COUNTERLESS.get() && set_counter(libc::PR_TSC_ENABLE);
    let result = call();
    if hidden {
        set_counter(libc::PR_TSC_SIGSEGV);
    }
    result
}

/// For a new thread: one that was made by a [`Counterless`] thread or by one that [`TrapsCpuid`] is so too, and has to read clocks
/// again.
pub fn enable_instructions() {
    set_counter(libc::PR_TSC_ENABLE);
    set_cpuid(true);
}

fn set_counter(how: c_int) -> bool {
    // SAFETY: takes no pointer; what the thread does afterwards is said at [`Counterless`].
    unsafe { libc::prctl(libc::PR_SET_TSC, how) == 0 }
}

/// The time stamp counter and the number of the processor, as `rdtscp` gives them, also on a [`Counterless`] thread.
#[must_use]
pub fn counter_and_processor() -> (u64, u32) {
    let hidden = COUNTERLESS.get() && set_counter(libc::PR_TSC_ENABLE);
    let mut processor = 0;
    // SAFETY: a processor on which `rdtsc` can trap in 64-bit mode has `rdtscp`, which only writes its operand.
    let counter = unsafe { std::arch::x86_64::__rdtscp(&raw mut processor) };
    if hidden {
        set_counter(libc::PR_TSC_SIGSEGV);
    }
    (counter, processor)
}

/// `arch_prctl` operation that lets `cpuid` trap (0) or not (1) in a thread, asm/prctl.h. Threads and forked processes inherit it, exec
/// ends it.
pub const ARCH_GET_CPUID: u64 = 0x1011;
pub const ARCH_SET_CPUID: u64 = 0x1012;

/// Whether processor and kernel can let `cpuid` trap.
#[must_use]
pub fn can_trap_cpuid() -> bool {
    set_cpuid(false) && set_cpuid(true)
}

/// As long as it lives `cpuid` traps on this thread, as it does in the tracees, for the reason that [`Counterless`] is for. Nothing on
/// this thread may execute it but in [`with_cpuid`]; what libraries choose by it is chosen before.
pub struct TrapsCpuid(std::marker::PhantomData<*const ()>);

impl TrapsCpuid {
    /// `None` when processor or kernel cannot.
    #[must_use]
    pub fn new() -> Option<TrapsCpuid> {
        // Both keep what they have found out, for the whole process: so do all that ask the standard library.
        let _ = (std::is_x86_feature_detected!("avx2"), blake3::hash(&[]));
        set_cpuid(false).then(|| {
            TRAPS_CPUID.set(true);
            TrapsCpuid(std::marker::PhantomData)
        })
    }
}

impl Drop for TrapsCpuid {
    fn drop(&mut self) {
        set_cpuid(true);
        TRAPS_CPUID.set(false);
    }
}

/// Calls something that may execute `cpuid`, from a thread that may be one that [`TrapsCpuid`].
pub fn with_cpuid<T>(call: impl FnOnce() -> T) -> T {
    let hidden = TRAPS_CPUID.get() && set_cpuid(true);
    let result = call();
    if hidden {
        set_cpuid(false);
    }
    result
}

/// What the processor says of itself.
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> std::arch::x86_64::CpuidResult {
    with_cpuid(|| std::arch::x86_64::__cpuid_count(leaf, subleaf))
}

fn set_cpuid(works: bool) -> bool {
    // SAFETY: takes no pointer; what the thread does afterwards is said at [`TrapsCpuid`].
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_CPUID, libc::c_long::from(works)) == 0 }
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes one timespec, by the call and by the C library.
    unsafe {
        if COUNTERLESS.get() {
            libc::syscall(libc::SYS_clock_gettime, id, &raw mut now);
        } else {
            libc::clock_gettime(id, &raw mut now);
        }
    }
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Nanoseconds that a process has run on processors, all its threads together, clock_getcpuclockid(3); `None` when it is gone.
#[must_use]
pub fn cpu_time(pid: pid_t) -> Option<u64> {
    /// `CPUCLOCK_SCHED` of linux/posix-timers.h: what the scheduler has measured.
    const SCHED: libc::clockid_t = 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    let done = unsafe { libc::syscall(libc::SYS_clock_gettime, !pid << 3 | SCHED, &raw mut time) };
    (done == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Nanoseconds that this thread has run on a processor.
#[must_use]
pub fn own_cpu_time() -> u64 {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// A CPU set as the kernel's bit mask of 1024 CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuMask(pub [u64; 16]);

impl CpuMask {
    /// The mask with that one CPU.
    #[must_use]
    pub fn single(cpu: usize) -> CpuMask {
        let mut mask = CpuMask([0; 16]);
        if let Some(word) = mask.0.get_mut(cpu / 64) {
            *word = 1 << (cpu % 64);
        }
        mask
    }

    /// The smallest number in it.
    #[must_use]
    pub fn first(&self) -> usize {
        let word = self.0.iter().position(|word| *word != 0).unwrap_or(0);
        word * 64 + self.0[word].trailing_zeros() as usize % 64
    }

    /// The CPUs that are not in the other one.
    #[must_use]
    pub fn without(&self, other: &CpuMask) -> CpuMask {
        CpuMask(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    /// How many CPUs are in it.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// The affinity of a thread (0: this one).
pub fn affinity(tid: pid_t) -> io::Result<CpuMask> {
    let mut mask = CpuMask([0; 16]);
    // SAFETY: the kernel writes at most the given 128 bytes.
    check(unsafe { libc::syscall(libc::SYS_sched_getaffinity, tid, size_of::<CpuMask>(), mask.0.as_mut_ptr()) })?;
    Ok(mask)
}

/// Sets the affinity of a thread (0: this one).
pub fn set_affinity(tid: pid_t, mask: &CpuMask) -> io::Result<()> {
    // SAFETY: the kernel reads the given 128 bytes.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, tid, size_of::<CpuMask>(), mask.0.as_ptr()) }).map(drop)
}

/// The CPU this thread runs on.
#[must_use]
pub fn current_cpu() -> usize {
    // SAFETY: takes no argument.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

/// Whether two open descriptors of two processes are one open file description, kcmp(2); `None` when the kernel will not say.
#[must_use]
pub fn same_file(one: (pid_t, i32), other: (pid_t, i32)) -> Option<bool> {
    kcmp_file(one, other).ok().map(|order| order == 0)
}

fn kcmp_file(one: (pid_t, i32), other: (pid_t, i32)) -> io::Result<c_long> {
    const KCMP_FILE: c_long = 0;
    // SAFETY: takes no pointer.
    check(unsafe {
        libc::syscall(libc::SYS_kcmp, one.0, other.0, KCMP_FILE, c_long::from(one.1), c_long::from(other.1))
    })
}

/// Type, device and inode behind a path, following links; the path may be a magic link of /proc.
pub fn stat(path: &std::ffi::CStr) -> io::Result<libc::stat> {
    let mut buffer = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `path` is NUL-terminated and the kernel writes one stat.
    check(c_long::from(unsafe { libc::stat(path.as_ptr(), buffer.as_mut_ptr()) }))?;
    // SAFETY: filled by the kernel.
    Ok(unsafe { buffer.assume_init() })
}

/// Reads a symbolic link into `buffer`; the length, or the error.
pub fn read_link(path: &std::ffi::CStr, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `path` is NUL-terminated, the kernel writes at most `buffer.len()` bytes.
    let length = unsafe { libc::readlink(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    check(length as c_long).map(|length| length as usize)
}

/// `struct procmap_query` (linux/fs.h).
#[repr(C)]
#[derive(Default)]
struct MappingQuery {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

/// `PROCMAP_QUERY_VMA_EXECUTABLE` and `PROCMAP_QUERY_COVERING_OR_NEXT_VMA` of linux/fs.h.
const NEXT_EXECUTABLE: u64 = 0x04 | 0x10;

/// The mapping that covers `addr` in a process, or `None` when nothing is mapped there.
///
/// # Errors
/// ENOTTY when the kernel has no such query (before Linux 6.11), or as open(2).
pub fn query_mapping(tid: pid_t, addr: u64) -> io::Result<Option<crate::image::Mapping>> {
    query(&std::fs::File::open(format!("/proc/{tid}/maps"))?, addr, 0)
}

/// The executable mappings of a process in the order of their addresses, without the page that the kernel maps into all
/// (`[vsyscall]`).
///
/// # Errors
/// As [`query_mapping`].
pub fn query_executable(tid: pid_t) -> io::Result<Vec<crate::image::Mapping>> {
    let file = std::fs::File::open(format!("/proc/{tid}/maps"))?;
    let mut found: Vec<crate::image::Mapping> = Vec::new();
    let mut from = 0;
    while let Some(mapping) = query(&file, from, NEXT_EXECUTABLE)? {
        from = mapping.start.saturating_add(mapping.length);
        found.push(mapping);
    }
    Ok(found)
}

/// Asks an open /proc/PID/maps for one mapping.
fn query(maps: &std::fs::File, addr: u64, flags: u64) -> io::Result<Option<crate::image::Mapping>> {
    /// `_IOWR(PROCFS_IOCTL_MAGIC 'f', 17, struct procmap_query)`.
    const PROCMAP_QUERY: libc::c_ulong = 0xc068_6611;
    let mut name = [0_u8; 4096];
    let mut query = MappingQuery {
        size: size_of::<MappingQuery>() as u64,
        query_flags: flags,
        query_addr: addr,
        vma_name_size: name.len() as u32,
        vma_name_addr: name.as_mut_ptr() as u64,
        ..MappingQuery::default()
    };
    // SAFETY: `query` is a struct procmap_query of the size that it says, and its name buffer is `name`.
    let result = unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
    if result != 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENOENT) { Ok(None) } else { Err(error) };
    }
    let length = (query.vma_name_size as usize).saturating_sub(1).min(name.len());
    Ok(Some(crate::image::Mapping {
        start: query.vma_start,
        length: query.vma_end.saturating_sub(query.vma_start),
        offset: query.vma_offset,
        prot: query.vma_flags & 7,
        shared: query.vma_flags & 8 != 0,
        dev: libc::makedev(query.dev_major, query.dev_minor),
        ino: query.inode,
        path: name[..length].to_vec(),
    }))
}

/// The state of a thread, as its `stat` tells it in one letter, proc_pid_stat(5); `None` when it is gone.
#[must_use]
pub fn state_of(tid: pid_t) -> Option<u8> {
    // Of the thread alone: for its process the kernel would sum up over all threads.
    let stat = std::fs::read_to_string(format!("/proc/{tid}/task/{tid}/stat")).ok()?;
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.bytes().next())
}

/// Whether a call of that raw result is one that the kernel will restart by itself, or that its handler ends: ERESTARTSYS,
/// ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK (include/linux/errno.h). Only a tracer ever sees them.
#[must_use]
pub fn is_restart(result: i64) -> bool {
    matches!(result, -512 | -513 | -514 | -516)
}

/// A timer that sends a signal to the thread that made it, timer_create(2).
pub struct Timer(libc::timer_t);

impl Timer {
    /// `None` when the kernel has no room for another one.
    #[must_use]
    pub fn new(signal: c_int) -> Option<Timer> {
        let mut timer: libc::timer_t = std::ptr::null_mut();
        // SAFETY: the event is of this frame and says that the signal goes to this thread; the kernel writes the id.
        let done = unsafe {
            let mut event = std::mem::zeroed::<libc::sigevent>();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = own_tid();
            libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer)
        };
        (done == 0).then_some(Timer(timer))
    }

    /// Fires every so many nanoseconds, less than a second; never when 0.
    pub fn every(&self, nanoseconds: i64) {
        let time = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds };
        let setting = libc::itimerspec { it_interval: time, it_value: time };
        // SAFETY: the timer is alive and the setting of this frame.
        unsafe { libc::timer_settime(self.0, 0, &raw const setting, std::ptr::null_mut()) };
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer was made by `new` and is deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// Whether a descriptor of a process is open; `None` when the kernel will not say.
#[must_use]
pub fn is_open(pid: pid_t, fd: i32) -> Option<bool> {
    match kcmp_file((pid, fd), (pid, fd)) {
        Ok(_) => Some(true),
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Some(false),
        Err(_) => None,
    }
}

/// The effective capabilities of a thread, capget(2).
///
/// # Errors
/// ESRCH when it is gone.
pub fn effective_capabilities(tid: pid_t) -> io::Result<u64> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two halves of 32 bits for each set.
    const VERSION: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION, tid as u32];
    // Effective, permitted and inheritable, low half first.
    let mut halves = [[0_u32; 3]; 2];
    // SAFETY: the kernel reads a header of two words and writes the two halves of this version.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), halves.as_mut_ptr()) })?;
    Ok(u64::from(halves[0][0]) | u64::from(halves[1][0]) << 32)
}

/// The time stamp counter, on a thread that may read it.
#[must_use]
pub fn counter() -> u64 {
    // SAFETY: the instruction only returns a number; the caller's thread is not [`Counterless`].
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Writes memory of a stopped tracee whatever its protection is, as a debugger puts breakpoints. Shared memory
/// only where the tracee may write itself.
pub fn write_code(tid: pid_t, pieces: &[(u64, &[u8])]) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let memory = std::fs::OpenOptions::new().write(true).open(format!("/proc/{tid}/mem"))?;
    pieces.iter().try_for_each(|(addr, bytes)| memory.write_all_at(bytes, *addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_files_is_told_in_two_ways() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax cpu time  7  8  seconds\nMax file size  4096  unlimited  bytes\n";
        assert_eq!(limit_in(text, FILE_SIZE), Some(4096));
        assert_eq!(
            limit_in("Max file size             unlimited            unlimited            bytes", FILE_SIZE),
            Some(u64::MAX)
        );
        assert_eq!(limit_in("", FILE_SIZE), None);
        let own = std::fs::read_to_string("/proc/self/limits").unwrap();
        assert_eq!(limit_in(&own, FILE_SIZE), Some(soft_limit(own_tid(), FILE_SIZE)));
    }

    #[test]
    fn slices_are_what_they_were_when_short_ones_end() {
        let slice = || scheduling().unwrap().sched_runtime;
        let before = slice();
        let short = ShortSlices::new();
        // Kernels before 6.12 tell no slice.
        assert!(slice() <= before && (before == 0 || short.is_none() || slice() == ShortSlices::SLICE_NS));
        drop(short);
        assert_eq!(slice(), before);
    }

    #[test]
    fn what_the_engine_uses_executes_no_cpuid() {
        // Where it did, the thread would end here, and the test with it.
        let traps = TrapsCpuid::new();
        let content = vec![7; 1 << 20];
        let hash = blake3::hash(&content);
        let found = memchr::memchr(8, &content);
        let said = cpuid(0, 0);
        drop(traps);
        assert_eq!((hash, found), (blake3::hash(&content), None));
        assert_eq!(said, cpuid(0, 0));
    }

    /// In a process of its own, since the action belongs to the whole process and other tests record meanwhile.
    #[test]
    fn stops_are_signalled_again_after_a_recording() {
        fn flags() -> c_int {
            // SAFETY: asks for the action, a struct of numbers that is written to a local.
            unsafe {
                let mut action = std::mem::zeroed::<libc::sigaction>();
                libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut action);
                action.sa_flags
            }
        }
        fn is_right() -> bool {
            let set = |flags: c_int| flags & libc::SA_NOCLDSTOP != 0;
            drop(StopsUnsignalled(()));
            let guard = StopsUnsignalled::new();
            let is_set = guard.is_some() && set(flags()) && StopsUnsignalled::new().is_none();
            drop(guard);
            let is_gone = !set(flags());
            let guard = StopsUnsignalled::new();
            // A runtime sets an action of its own meanwhile.
            // SAFETY: the action is the default one, in a local.
            unsafe {
                let mut action = std::mem::zeroed::<libc::sigaction>();
                action.sa_flags = libc::SA_RESTART;
                libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut());
            }
            drop(guard);
            is_set && is_gone && flags() & libc::SA_RESTART != 0 && !set(flags())
        }
        // SAFETY: the child makes calls that are safe after a fork, and ends without returning.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::_exit(c_int::from(!is_right()));
            }
            let mut status = -1;
            assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
            assert_eq!(status, 0);
        }
    }
}
