//! What this machine lets a recorder do: each ability is tried on a child of our own, and the errno is reported.
//!
//! The children are forked from a program with other threads, so they make system calls and nothing else: no
//! allocation, no locks, no panics. The parent waits for them with a time limit and kills what is left.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use libc::{c_int, c_long, c_uint, pid_t};

use crate::{pidfd, sys};

/// One ability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    /// 0 when it works; else what the system said.
    pub errno: i32,
    /// A version or count, where there is one.
    pub value: i64,
}

impl Check {
    fn new(name: &'static str, result: Result<i64, i32>) -> Check {
        Check { name, errno: result.err().unwrap_or(0), value: result.unwrap_or(0) }
    }
}

/// A child that does not get this far in this time hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Memory that the child has at the same address.
static MARKER: u64 = 0x7472_6163_652d_6f6b;

fn errno() -> i32 {
    code_of(&io::Error::last_os_error())
}

fn code_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn checked(result: c_long) -> Result<i64, i32> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// Tries everything. Takes some milliseconds.
#[must_use]
pub fn probe() -> Vec<Check> {
    let mut checks = traced();
    checks.extend(emulated());
    // SAFETY: the closures make one system call each, on no memory of ours.
    let in_child = |name, call: fn() -> c_long| Check::new(name, unsafe { forked(call) });
    checks.push(in_child("user-namespace", || {
        // SAFETY: takes a number; it is the child's own namespace that changes.
        c_long::from(unsafe { libc::unshare(libc::CLONE_NEWUSER) })
    }));
    checks.push(in_child("tsc-trap", || {
        // SAFETY: changes how the child's own rdtsc behaves.
        c_long::from(unsafe { libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV) })
    }));
    checks.push(in_child("cpuid-trap", || {
        const ARCH_SET_CPUID: c_int = 0x1012;
        // SAFETY: changes how the child's own cpuid behaves.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_CPUID, 0) }
    }));
    checks.push(Check::new("seccomp-notify", notify()));
    checks.push(Check::new("call-dispatch", dispatch()));
    let shares = pidfd::shares_descriptors();
    checks.push(Check::new("shared-descriptors", shares.map(|()| 0).map_err(|error| code_of(&error))));
    checks.push(Check::new("landlock", landlock()));
    checks.push(Check::new("perf-counters", perf()));
    checks
}

/// Runs `call` in a child: its errno.
///
/// # Safety
/// `call` may do nothing but make system calls.
unsafe fn forked(call: fn() -> c_long) -> Result<i64, i32> {
    // SAFETY: as the caller says.
    unsafe { forked_as(|| if call() < 0 { errno() } else { 0 }) }
}

/// Runs `code_of_calls` in a child: the errno that it gives, 0 for none.
///
/// # Safety
/// It may do nothing but make system calls.
unsafe fn forked_as(code_of_calls: impl Fn() -> c_int) -> Result<i64, i32> {
    // SAFETY: the child makes system calls only, and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: does not return.
        unsafe { libc::_exit(code_of_calls()) };
    }
    if pid < 0 {
        return Err(errno());
    }
    let end = wait_for(pid, Instant::now() + PATIENCE, |_| {});
    match end {
        Some(status) if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 => Ok(0),
        Some(status) if libc::WIFEXITED(status) => Err(libc::WEXITSTATUS(status)),
        _ => Err(libc::EIO),
    }
}

/// Waits for the end of a child, and calls `stopped` at each stop. Kills it when time is over.
fn wait_for(pid: pid_t, deadline: Instant, mut stopped: impl FnMut(c_int)) -> Option<c_int> {
    loop {
        let mut status = 0;
        // SAFETY: the status is ours; the child is our own.
        let found = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::WNOHANG) };
        if found == pid && libc::WIFSTOPPED(status) {
            stopped(status);
        } else if found == pid {
            return Some(status);
        } else if found < 0 && errno() != libc::EINTR {
            return None;
        } else if Instant::now() > deadline {
            // SAFETY: the child is our own and has not been waited for.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, &raw mut status, libc::__WALL);
            }
            return None;
        } else {
            std::thread::sleep(Duration::from_micros(300));
        }
    }
}

/// A filter that hands `getppid` to the tracer and lets everything else pass.
const fn filter() -> [libc::sock_filter; 4] {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    [
        libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: 0 },
        libc::sock_filter { code: JUMP, jt: 0, jf: 1, k: libc::SYS_getppid as u32 },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_TRACE },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ]
}

/// The child of [`traced`]: waits to be attached to, sets a filter on itself, makes the filtered call.
fn traced_child(go: c_int, program: *const libc::sock_fprog) -> ! {
    let mut byte = 0u8;
    // SAFETY: system calls on this frame and on a filter that outlives them; none returns to the parent's code.
    unsafe {
        libc::read(go, (&raw mut byte).cast(), 1);
        let mut code = 0;
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, program) < 0
        {
            code = errno();
        } else {
            libc::syscall(libc::SYS_getppid);
        }
        libc::_exit(code)
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), i32> {
    let mut ends = [0; 2];
    // SAFETY: fills the two numbers.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(errno());
    }
    // SAFETY: both are open, and nobody else's.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Attaches to a child, reads its memory, and meets it at a filtered call: the way of the recorder.
fn traced() -> Vec<Check> {
    let mut checks = Vec::new();
    let (read_end, write_end) = match pipe() {
        Ok(ends) => ends,
        Err(code) => return vec![Check::new("fork", Err(code))],
    };
    let mut instructions = filter();
    let program = libc::sock_fprog { len: instructions.len() as u16, filter: instructions.as_mut_ptr() };
    // SAFETY: the child makes system calls only, and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        traced_child(read_end.as_raw_fd(), &raw const program);
    }
    checks.push(Check::new("fork", checked(pid.into())));
    if pid < 0 {
        return checks;
    }
    let options = libc::PTRACE_O_TRACESECCOMP | libc::PTRACE_O_EXITKILL;
    // SAFETY: attaches to a child of our own.
    let attached = checked(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, c_long::from(options)) });
    checks.push(Check::new("ptrace", attached));
    checks.push(Check::new("process-vm-readv", read_marker(pid)));
    checks.push(Check::new("proc-mem", read_proc(pid)));
    checks.extend(filtered(pid, &write_end, attached.is_ok()));
    checks
}

/// Lets the child set its filter, and looks for the stop at the filtered call.
fn filtered(pid: pid_t, go: &OwnedFd, attached: bool) -> [Check; 3] {
    // SAFETY: writes one byte of a static.
    unsafe { libc::write(go.as_raw_fd(), c"g".as_ptr().cast(), 1) };
    let mut seen = Err(libc::ENOSYS);
    let mut info = Err(libc::ENOSYS);
    let end = wait_for(pid, Instant::now() + PATIENCE, |status| {
        if status >> 8 == libc::SIGTRAP | libc::PTRACE_EVENT_SECCOMP << 8 {
            seen = Ok(0);
            info = syscall_info(pid);
        }
        // SAFETY: the child is stopped, and ours.
        unsafe { libc::ptrace(libc::PTRACE_CONT, pid, 0, 0) };
    });
    let set = match end {
        Some(status) if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 => Ok(0),
        Some(status) if libc::WIFEXITED(status) => Err(libc::WEXITSTATUS(status)),
        _ => Err(libc::EIO),
    };
    // Without a tracer the filtered call fails, and there is no stop to see.
    let untraced = Err(libc::EPERM);
    let (seen, info) = if attached { (seen, info) } else { (untraced, untraced) };
    [Check::new("seccomp-filter", set), Check::new("seccomp-trace", seen), Check::new("syscall-info", info)]
}

/// What the child of [`emulated`] is told in place of its parent's number: no process has it.
const EMULATED: c_long = 0x7472_6163_6501;

/// The child of [`emulated`]: its calls are answered by the tracer, else it waits for what never comes.
fn emulated_child(never: c_int) -> ! {
    let mut byte = 0u8;
    // SAFETY: system calls on this frame; none returns to the parent's code.
    unsafe {
        libc::read(never, (&raw mut byte).cast(), 1);
        let answer = libc::syscall(libc::SYS_getppid);
        libc::_exit(if answer == EMULATED { 0 } else { libc::ENOSYS })
    }
}

/// Answers calls of a child in place of the kernel, and sets its signal mask: the way of replay.
fn emulated() -> [Check; 2] {
    let failed = |code| [Check::new("sysemu", Err(code)), Check::new("signal-mask", Err(code))];
    let (read_end, _write_end) = match pipe() {
        Ok(ends) => ends,
        Err(code) => return failed(code),
    };
    let (pid, attached) = match attached_child(read_end.as_raw_fd()) {
        Ok(child) => child,
        Err(code) => return failed(code),
    };
    let mut mask = Err(libc::ENOSYS);
    let mut emulated = attached;
    let mut done = false;
    let end = wait_for(pid, Instant::now() + PATIENCE, |status| {
        if status >> 16 == libc::PTRACE_EVENT_STOP {
            mask = set_mask(pid);
        } else if libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80 {
            // The C library may have made calls of its own since the fork; their results change nothing here.
            match answer_call(pid) {
                Ok(number) => done = number == libc::SYS_getppid,
                Err(code) => {
                    emulated = emulated.and(Err(code));
                    kill(pid);
                }
            }
        }
        let how = if done { libc::PTRACE_CONT } else { libc::PTRACE_SYSEMU };
        // SAFETY: the child is stopped, and ours.
        if let Err(code) = checked(unsafe { libc::ptrace(how, pid, 0, 0) }) {
            emulated = emulated.and(Err(code));
            kill(pid);
        }
    });
    let ended = match end {
        Some(status) if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 => Ok(0),
        Some(status) if libc::WIFEXITED(status) => Err(libc::WEXITSTATUS(status)),
        _ => Err(libc::EIO),
    };
    [Check::new("sysemu", emulated.and(ended)), Check::new("signal-mask", attached.and(mask))]
}

/// A child that makes the calls of [`emulated_child`], and whether it is attached and asked to stop. If not, it is killed.
fn attached_child(never: c_int) -> Result<(pid_t, Result<i64, i32>), i32> {
    // SAFETY: the child makes system calls only, and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        emulated_child(never);
    }
    if pid < 0 {
        return Err(errno());
    }
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
    // SAFETY: attaches to a child of our own, and asks it to stop.
    let attached = checked(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, c_long::from(options)) })
        .and_then(|_| checked(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0) }));
    if attached.is_err() {
        kill(pid);
    }
    Ok((pid, attached))
}

/// Has the calls of a child sent back to it as signals: how the recorder sees calls that are filtered already.
pub(crate) fn dispatch() -> Result<i64, i32> {
    let (read_end, _write_end) = pipe()?;
    let (pid, attached) = attached_child(read_end.as_raw_fd())?;
    let mut works = attached.and(Err(libc::EIO));
    wait_for(pid, Instant::now() + PATIENCE, |_| {
        works = sys::set_dispatch(pid, Some(&(0..1))).map_or_else(|error| Err(code_of(&error)), |()| Ok(0));
        kill(pid);
    });
    works
}

/// Number of a call, arguments of which not all are right, and what the kernel finds wrong with them.
pub(crate) type Wrong = (c_long, [c_long; 4], c_int);

/// Whether all of these calls fail in a child as the kernel has them fail: no filter answers them otherwise, or ends who makes them.
pub(crate) fn reach_kernel(calls: &[Wrong]) -> bool {
    let reaches = |&(number, [first, second, third, fourth], wrong): &Wrong| {
        // SAFETY: the call fails before it does anything.
        (unsafe { libc::syscall(number, first, second, third, fourth) }) < 0 && errno() == wrong
    };
    // SAFETY: the child only makes these calls.
    unsafe { forked_as(|| if calls.iter().all(reaches) { 0 } else { libc::EACCES }) == Ok(0) }
}

/// Kills a child that has not been waited for.
fn kill(pid: pid_t) {
    // SAFETY: the number is that of a child of our own until it is waited for.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Puts a result into the register in which the child, stopped at a call that is not made, expects it; the call's number.
fn answer_call(pid: pid_t) -> Result<i64, i32> {
    let mut regs = core::mem::MaybeUninit::<libc::user_regs_struct>::zeroed();
    // SAFETY: the child is stopped, and ours; the kernel writes one user_regs_struct.
    checked(unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0, regs.as_mut_ptr()) })?;
    // SAFETY: zeroed above and then written by the kernel.
    let mut regs = unsafe { regs.assume_init() };
    regs.rax = if regs.orig_rax as i64 == libc::SYS_getppid { EMULATED as u64 } else { 0 };
    // SAFETY: the kernel reads one user_regs_struct.
    checked(unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, 0, &raw const regs) })?;
    Ok(regs.orig_rax as i64)
}

/// Blocks all signals of a stopped child, looks whether they are, and puts its own mask back.
fn set_mask(pid: pid_t) -> Result<i64, i32> {
    const PTRACE_GETSIGMASK: c_uint = 0x420a;
    const PTRACE_SETSIGMASK: c_uint = 0x420b;
    const USR1: u64 = 1 << (libc::SIGUSR1 - 1);
    let (mut own, mut now) = (0u64, 0u64);
    let all = u64::MAX;
    // SAFETY: each request reads or writes the eight bytes of a kernel signal set of this frame.
    unsafe {
        checked(libc::ptrace(PTRACE_GETSIGMASK, pid, 8, &raw mut own))?;
        checked(libc::ptrace(PTRACE_SETSIGMASK, pid, 8, &raw const all))?;
        checked(libc::ptrace(PTRACE_GETSIGMASK, pid, 8, &raw mut now))?;
        checked(libc::ptrace(PTRACE_SETSIGMASK, pid, 8, &raw const own))?;
    }
    if now & USR1 == 0 { Err(libc::EINVAL) } else { Ok(0) }
}

/// What the kernel tells of the call that the child is stopped at.
fn syscall_info(pid: pid_t) -> Result<i64, i32> {
    const PTRACE_GET_SYSCALL_INFO: c_uint = 0x420e;
    const SECCOMP_STOP: u8 = 3;
    let mut info = [0u64; 16];
    let size = size_of_val(&info);
    // SAFETY: the kernel writes at most `size` bytes.
    let got = checked(unsafe { libc::ptrace(PTRACE_GET_SYSCALL_INFO, pid, size, info.as_mut_ptr()) })?;
    // Kind of stop in the first byte, number of the call after architecture, instruction and stack pointer.
    let known = got >= 32 && info[0].to_le_bytes()[0] == SECCOMP_STOP && info[3] == libc::SYS_getppid as u64;
    if known { Ok(got) } else { Err(libc::EINVAL) }
}

fn read_marker(pid: pid_t) -> Result<i64, i32> {
    let mut copy = 0u64;
    let local = libc::iovec { iov_base: (&raw mut copy).cast(), iov_len: 8 };
    let remote = libc::iovec { iov_base: (&raw const MARKER).cast_mut().cast(), iov_len: 8 };
    // SAFETY: reads another process into eight bytes of ours.
    let got = checked(unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) } as c_long)?;
    if got == 8 && copy == MARKER { Ok(got) } else { Err(libc::EFAULT) }
}

fn read_proc(pid: pid_t) -> Result<i64, i32> {
    use std::os::unix::fs::FileExt as _;
    let mut copy = [0; 8];
    let file = std::fs::File::open(format!("/proc/{pid}/mem")).map_err(|error| code_of(&error))?;
    file.read_exact_at(&mut copy, (&raw const MARKER) as u64).map_err(|error| code_of(&error))?;
    if u64::from_ne_bytes(copy) == MARKER { Ok(8) } else { Err(libc::EFAULT) }
}

/// Whether calls can be handed to another process for an answer.
fn notify() -> Result<i64, i32> {
    let action = libc::SECCOMP_RET_USER_NOTIF;
    // SAFETY: the kernel reads the four bytes of the action.
    checked(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) })
}

/// The version of Landlock.
fn landlock() -> Result<i64, i32> {
    const LANDLOCK_CREATE_RULESET_VERSION: c_long = 1;
    // SAFETY: with this flag the call takes no memory and makes nothing.
    checked(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, core::ptr::null::<u8>(), 0, LANDLOCK_CREATE_RULESET_VERSION)
    })
}

/// Hardware counters: other recorders need them.
fn perf() -> Result<i64, i32> {
    // type 0 (hardware), size, config 1 (instructions), user space only (exclude_kernel, bit 5; exclude_hv, bit 6).
    const SIZE: usize = 64;
    let mut attributes = [0u64; SIZE / 8];
    attributes[0] = (SIZE as u64) << 32;
    attributes[1] = 1;
    attributes[5] = 1 << 5 | 1 << 6;
    // SAFETY: the kernel reads the attributes, whose size they hold.
    let fd = checked(unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 8) })?;
    // SAFETY: just opened, and nobody else's.
    drop(unsafe { OwnedFd::from_raw_fd(fd as c_int) });
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::probe;

    #[test]
    fn every_ability_is_tried_once_and_leaves_no_child() {
        let checks = probe();
        let mut names: Vec<_> = checks.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), checks.len());
        assert_eq!(checks.iter().find(|check| check.name == "fork").map(|check| check.errno), Some(0));
        let errno = |name| checks.iter().find(|check| check.name == name).map(|check| check.errno);
        // Every Linux on x86-64 that lets a child be traced can do these (5.3 is required anyway).
        if errno("ptrace") == Some(0) {
            assert_eq!((errno("sysemu"), errno("signal-mask")), (Some(0), Some(0)));
        }
        // SAFETY: asks about children of this thread (other tests have theirs) that should not be there.
        let left = unsafe { libc::waitpid(-1, core::ptr::null_mut(), libc::WNOHANG | libc::__WNOTHREAD) };
        assert_eq!(left, -1);
    }
}
