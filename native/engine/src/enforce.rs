//! Enforcing a policy on a program and all that it starts, as an ordinary user.
//!
//! `src/spec/compile.ts` compiles a spec to plain data (`policy.rs`). The child puts on Landlock (`ruleset.rs`) and a seccomp
//! filter (`filter.rs`) on its way to its program (`gate.rs`). Calls that these cannot judge are notified (`notify.rs`) to a
//! supervisor (`supervise.rs`), which finds the caller's role (`processes.rs`), asks what it may do (`rules.rs`), and performs
//! the call itself (`files.rs`, `sockets.rs`), on a thread of its own if it may wait (`apart.rs`).
//!
//! What holds without the supervisor: whatever a program does, it stays within the union of all roles in what Landlock and
//! the filter express. The supervisor only narrows that, role by role.

mod apart;
mod capabilities;
mod choices;
mod files;
mod filter;
mod gate;
mod interpreter;
mod lent;
mod paths;
mod pattern;
mod policy;
mod probe;
mod processes;
mod reach;
mod reaper;
mod receiving;
mod rules;
mod ruleset;
mod share;
mod sockets;
mod supervise;
mod target;

use std::sync::Arc;
use std::time::{Duration, Instant};

use libc::pid_t;

pub use gate::{Gate, STEP_FILTER, STEP_HANDOVER, STEP_LANDLOCK, STEP_PRIVILEGES};
pub use policy::Policy;
pub use probe::{Attempt, attempt};
pub use reaper::{Forked, Reaper};
pub use ruleset::version as landlock_version;
pub use supervise::{Refusal, Report};

use crate::error::EngineError;
use crate::launch::{self, How, Program};

/// What is to be enforced, and who is told of refusals.
#[derive(Clone)]
pub struct Enforcement {
    pub policy: Arc<Policy>,
    pub report: Report,
    /// Whether calls are notified: not possible where another supervisor does so already.
    pub notify: bool,
    /// In place of the program.
    pub attempt: Option<Attempt>,
}

impl std::fmt::Debug for Enforcement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enforcement").field("notify", &self.notify).finish_non_exhaustive()
    }
}

/// A supervisor that is being started.
pub type Supervising = std::thread::JoinHandle<std::io::Result<()>>;

impl Enforcement {
    /// Starts the thread that takes the listener of a child that goes through `gate`, and answers for it.
    ///
    /// # Errors
    /// `system` when there can be no thread.
    pub fn supervise(&self, gate: Gate, pid: pid_t) -> Result<Option<Supervising>, EngineError> {
        if !self.notify {
            return Ok(None);
        }
        let own = self.clone();
        let work = move || {
            // It has what the programs have, and no more: it performs their calls.
            capabilities::give_up(&own.policy.without)?;
            // Without a listener the child has failed, and says why; without a supervisor nobody lets it go on.
            if let Ok(Some(listener)) = gate.take(pid, |listener| {
                let runs_program = own.attempt.is_none();
                supervise::Supervisor::new(
                    listener,
                    Arc::clone(&own.policy),
                    pid,
                    runs_program,
                    Arc::clone(&own.report),
                )
            }) {
                return listener.run();
            }
            Ok(())
        };
        std::thread::Builder::new()
            .name("trace-supervisor".into())
            .spawn(work)
            .map(Some)
            .map_err(|error| EngineError::start("system", format!("cannot start the supervisor: {error}")))
    }
}

/// A program that runs under a policy.
pub struct Running {
    pub pid: pid_t,
    supervisor: Option<Supervising>,
    launched: launch::Launched,
    reaper: Option<Arc<Reaper>>,
    adopts: bool,
}

/// Starts a program under a policy, unrecorded. `adopts`: processes that lose their parents become children of this one, which
/// must have no others, so that all that the program has started is found among its descendants. When this process is killed,
/// so are the program and all that it has started (`reaper.rs`).
///
/// # Errors
/// As [`launch::find`]; `policy` when it cannot be enforced.
pub fn start(program: &Program, enforcement: &Enforcement, adopts: bool) -> Result<Running, EngineError> {
    if adopts {
        // SAFETY: takes no pointer.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    }
    let how = How { untraced: true, ..How::default() };
    let mut launched = launch::launch_enforced(program, &how, None, Some(enforcement))?;
    let supervisor = launched.take_supervisor();
    let reaper = launched.take_reaper().map(Arc::new);
    launched.release().map_err(|error| EngineError::start("system", format!("the program is gone: {error}")))?;
    Ok(Running { pid: launched.pid, supervisor, launched, reaper, adopts })
}

impl Running {
    /// Who lets go of what the program has left running.
    #[must_use]
    pub fn reaper(&self) -> Option<Arc<Reaper>> {
        self.reaper.clone()
    }

    /// Waits for the program, and for all that it left running. Gives its wait status.
    ///
    /// # Errors
    /// When it did not get as far as its program.
    pub fn wait(self) -> Result<i32, EngineError> {
        let status = match &self.reaper {
            Some(reaper) => reaper.wait(),
            None => wait_for(self.pid)
                .map_err(|error| EngineError::start("system", format!("cannot wait for the program: {error}")))?,
        };
        if let Some(error) = self.launched.failure() {
            return Err(error);
        }
        while self.adopts && wait_for(ANY_CHILD).is_ok() {}
        if let Some(supervisor) = self.supervisor {
            ended(supervisor)?;
        }
        if let Some(reaper) = self.reaper {
            reaper.let_go();
        }
        Ok(status)
    }
}

/// Of waitpid(2).
const ANY_CHILD: pid_t = -1;

/// Waits for a child of this process; its wait status.
fn wait_for(pid: pid_t) -> std::io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: the status is of this frame.
        if unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } > 0 {
            return Ok(status);
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Waits for a supervisor. One that gave up before its programs has answered none of their later calls.
fn ended(supervisor: Supervising) -> Result<(), EngineError> {
    let why = match supervisor.join() {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => format!(" ({error})"),
        Err(_) => String::new(),
    };
    let what = "the supervisor failed before the program ended: later calls failed with ENOSYS";
    Err(EngineError::start("system", format!("{what}{why}")))
}

/// How long a supervisor has to see that its last process has ended.
const SEES_END: Duration = Duration::from_secs(1);

/// As [`ended`], when the programs have ended or are let be: a supervisor that still answers for some goes on.
pub(crate) fn failed(supervisor: Supervising) -> Result<(), EngineError> {
    let until = Instant::now() + SEES_END;
    while !supervisor.is_finished() {
        if Instant::now() > until {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    ended(supervisor)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_supervisor_that_fails_is_an_error() {
        for asked in [super::ended, super::failed] {
            assert!(asked(std::thread::spawn(|| Ok(()))).is_ok());
            assert!(asked(std::thread::spawn(|| Err(std::io::ErrorKind::OutOfMemory.into()))).is_err());
            assert!(asked(std::thread::spawn(|| panic!("on purpose"))).is_err());
        }
    }

    #[test]
    fn a_supervisor_that_goes_on_is_none() {
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let supervisor = std::thread::spawn(move || {
            let _ = ends.recv();
            Ok(())
        });
        assert!(super::failed(supervisor).is_ok());
        drop(end);
    }
}
