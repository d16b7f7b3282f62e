//! Waiting for tracees to stop or end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;

use libc::{c_int, c_long, pid_t};

use super::check;

/// A child that changed its state.
#[derive(Clone, Copy)]
pub struct Waited {
    pub tid: pid_t,
    pub status: c_int,
    /// Of an end. A stop may come without.
    pub usage: libc::rusage,
}

impl Waited {
    /// Of a stop, or of an end that was not waited for.
    #[must_use]
    pub fn without_usage(tid: pid_t, status: c_int) -> Waited {
        // SAFETY: a struct of numbers, for which zeros are valid.
        Waited { tid, status, usage: unsafe { std::mem::zeroed() } }
    }
}

/// How stops of any tracee are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// With one call.
    Plainly,
    /// With two, and without the usage at a stop, which the kernel sums up over all threads of the process: 40 ns for each.
    Sparing,
}

thread_local! {
    /// What [`await_report`] has taken of other tracees, for who waits for any.
    static TAKEN: RefCell<VecDeque<Waited>> = const { RefCell::new(VecDeque::new()) };
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
                let stopped = wait_id(libc::P_PID, tid, libc::WSTOPPED | libc::WNOHANG).ok().flatten();
                stopped.and_then(|(tid, status)| Some(Waited::without_usage(tid, status?)))
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
