//! Waiting for tracees without ever hanging: a timer interrupts each wait, and somebody may have asked to stop.

use std::sync::Arc;
use std::time::Duration;

use libc::{c_int, pid_t};

use super::Control;
use super::desync::Desync;
use super::kernel;
use crate::error::EngineError;
use crate::sys::{self, Timer};

/// Why a step of replay does not go on.
#[derive(Debug)]
pub enum Halt {
    /// Something went wrong that has nothing to do with the program.
    Failed(EngineError),
    /// The program did something else than recorded.
    Desync(Box<Desync>),
    /// Somebody asked to stop.
    Aborted,
    /// A tracee runs and runs.
    Stuck,
}

impl From<EngineError> for Halt {
    fn from(error: EngineError) -> Halt {
        Halt::Failed(error)
    }
}

/// How often a wait is interrupted.
const TICK_NS: i64 = 50_000_000;

/// The wait of one replaying thread.
pub struct Watch {
    control: Arc<Control>,
    limit_ns: u64,
    _timer: Option<Timer>,
}

impl Watch {
    /// For the thread that calls it, and only there.
    #[must_use]
    pub fn new(control: &Arc<Control>, limit: Duration) -> Watch {
        let signal = libc::SIGRTMAX() - 3;
        sys::catch(signal);
        kernel::unblock(signal);
        let timer = Timer::new(signal);
        if let Some(timer) = &timer {
            timer.every(TICK_NS);
        }
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Watch { control: Arc::clone(control), limit_ns, _timer: timer }
    }

    /// The wait status of the tracee's next stop or end.
    pub fn wait(&self, tid: pid_t) -> Result<c_int, Halt> {
        let (mut waited, mut looked) = (0, sys::monotonic());
        loop {
            match kernel::wait(tid) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) => return Err(lost(tid, &error).into()),
            }
            self.check()?;
            let now = sys::monotonic();
            waited += counted(now - looked);
            looked = now;
            if waited > self.limit_ns {
                return Err(Halt::Stuck);
            }
        }
    }

    /// Whether somebody has asked to stop.
    pub fn check(&self) -> Result<(), Halt> {
        if self.control.is_aborted() { Err(Halt::Aborted) } else { Ok(()) }
    }
}

/// How much of the time between two looks counts: a machine that stood still, or had no time for who waits here, had none for the tracee.
fn counted(since: u64) -> u64 {
    const MOST_NS: u64 = 4 * TICK_NS.unsigned_abs();
    since.min(MOST_NS)
}

/// A tracee is not there any more: somebody else has killed it.
pub fn lost(tid: pid_t, error: &std::io::Error) -> EngineError {
    let message = format!("a process of the replay (pid {tid}) was ended from outside: {error}; replay again");
    EngineError::replay("lost", message, vec![("pid", crate::error::Fact::Number(tid.unsigned_abs().into()))])
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn a_machine_that_stood_still_has_not_waited() {
        let second = 1_000_000_000;
        assert_eq!(counted(50_000_000), 50_000_000);
        assert!(counted(30 * second) < second);
    }
}
