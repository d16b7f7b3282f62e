//! Where a child goes through on its way to its program: Landlock and the filter are put on, and the listener is handed to
//! the supervisor.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use libc::c_int;

use super::capabilities;
use super::filter::{self, Otherwise};
use super::policy::Policy;
use super::ruleset;
use crate::error::EngineError;
use crate::pidfd;

/// All that a child installs, made before the fork.
pub struct Gate {
    ruleset: Option<OwnedFd>,
    program: Vec<libc::sock_filter>,
    notify: bool,
    /// No process leaves a core file: the kernel would write it by itself wherever the process stands, into what any role may write.
    holds_cores: bool,
    /// Capabilities to be given up.
    without: Vec<u8>,
    /// The child says on the first which number its listener has, and waits on the second until that was fetched.
    report: (OwnedFd, OwnedFd),
    go: (OwnedFd, OwnedFd),
}

/// Steps of [`Gate::pass`], for the report of a failure.
pub const STEP_PRIVILEGES: c_int = 10;
pub const STEP_LANDLOCK: c_int = 11;
pub const STEP_FILTER: c_int = 12;
pub const STEP_HANDOVER: c_int = 13;

impl Gate {
    /// # Errors
    /// `policy` when the policy makes no filter or ruleset, `system` when there are no descriptors left.
    pub fn new(policy: &Policy, notify: bool) -> Result<Gate, EngineError> {
        let otherwise = if notify { Otherwise::Notify } else { Otherwise::Refuse };
        let ruleset =
            if policy.learn { None } else { ruleset::create(&policy.landlock, filter::holds_truncation(policy))? };
        let judges_opens = ruleset.is_some() && ruleset::judges_opens();
        let program = filter::program(policy, otherwise, judges_opens)?;
        let plain = program.iter().map(|one| libc::sock_filter { code: one.code, jt: one.jt, jf: one.jf, k: one.k });
        Ok(Gate {
            ruleset,
            program: plain.collect(),
            notify,
            holds_cores: notify && policy.holds_cores(),
            without: policy.without.clone(),
            report: pipe()?,
            go: pipe()?,
        })
    }

    /// The child's part.
    ///
    /// # Errors
    /// The step that failed, with errno set.
    ///
    /// # Safety
    /// Only in a child of fork that goes on to its exec.
    pub unsafe fn pass(&self) -> Result<(), c_int> {
        if capabilities::give_up(&self.without).is_err() {
            return Err(STEP_PRIVILEGES);
        }
        // SAFETY: all are system calls on descriptors and memory that were made before the fork.
        unsafe {
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
                return Err(STEP_PRIVILEGES);
            }
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            if self.holds_cores && libc::setrlimit(libc::RLIMIT_CORE, &raw const none) != 0 {
                return Err(STEP_PRIVILEGES);
            }
            if let Some(ruleset) = &self.ruleset
                && libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) != 0
            {
                return Err(STEP_LANDLOCK);
            }
            let fprog = libc::sock_fprog { len: self.program.len() as u16, filter: self.program.as_ptr().cast_mut() };
            let flags = if self.notify {
                libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
            } else {
                0
            };
            let result = libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const fprog);
            if result < 0 {
                return Err(STEP_FILTER);
            }
            if !self.notify {
                return Ok(());
            }
            let listener = result as c_int;
            let number = listener.to_ne_bytes();
            if libc::write(self.report.1.as_raw_fd(), number.as_ptr().cast(), number.len()) != 4 {
                return Err(STEP_HANDOVER);
            }
            // Otherwise the pipe would not end with the supervisor.
            libc::close(self.go.1.as_raw_fd());
            let mut byte = 0_u8;
            loop {
                match libc::read(self.go.0.as_raw_fd(), (&raw mut byte).cast(), 1) {
                    1 => break,
                    -1 if *libc::__errno_location() == libc::EINTR => {}
                    _ => return Err(STEP_HANDOVER),
                }
            }
            libc::close(listener);
            Ok(())
        }
    }

    /// The supervisor's part: waits for the child, takes the listener, and lets the child go on once `ready` is done with it.
    /// `None` when the child did not get that far.
    ///
    /// # Errors
    /// When the kernel does not let this process reach into its child, or `ready` fails.
    pub fn take<T>(self, pid: libc::pid_t, ready: impl FnOnce(OwnedFd) -> io::Result<T>) -> io::Result<Option<T>> {
        drop(self.report.1);
        let mut number = [0_u8; 4];
        // SAFETY: reads at most 4 bytes into a local buffer.
        let got = unsafe { libc::read(self.report.0.as_raw_fd(), number.as_mut_ptr().cast(), number.len()) };
        if got != 4 {
            return Ok(None);
        }
        let process = pidfd::open(pid, 0)?;
        let value = ready(pidfd::descriptor(&process, c_int::from_ne_bytes(number))?)?;
        // SAFETY: one byte of a static buffer to a descriptor of this value.
        unsafe { libc::write(self.go.1.as_raw_fd(), c"g".as_ptr().cast(), 1) };
        Ok(Some(value))
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), EngineError> {
    let mut ends = [0; 2];
    // SAFETY: pipe2 writes two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(EngineError::start("system", format!("cannot make a pipe: {}", io::Error::last_os_error())));
    }
    // SAFETY: both descriptors are new and owned by nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}
