//! Waiting for tracees without ever hanging: a timer interrupts each wait, and somebody may have asked to stop.

use std::sync::Arc;
use std::time::Duration;

use libc::{c_int, pid_t};

use super::Control;
use super::desync::Desync;
use super::kernel;
use crate::error::EngineError;
use crate::sys::{self, Stat, Timer};

/// Why a step of replay does not go on.
#[derive(Debug)]
pub enum Halt {
    /// Something went wrong that has nothing to do with the program.
    Failed(EngineError),
    /// The program did something else than recorded.
    Desync(Box<Desync>),
    /// Somebody asked to stop.
    Aborted,
    /// A tracee runs and runs: what the kernel tells of it.
    Stuck(String),
    /// A debugger goes back: all begins anew.
    Rewind,
    /// The debugger is gone.
    Over,
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
        let mut waited = 0;
        let mut before: Option<Look> = None;
        loop {
            match kernel::wait(tid) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) => return Err(lost(tid, &error).into()),
            }
            self.check()?;
            let look = Look::at(tid);
            waited += before.as_ref().map_or(0, |before| look.counts_since(before));
            if waited > self.limit_ns {
                return Err(Halt::Stuck(look.told(tid)));
            }
            before = Some(look);
        }
    }

    /// From now on a debugger may come.
    pub fn await_debugger(&self) {
        self.control.await_debugger();
    }

    /// Whether somebody has asked to stop.
    pub fn check(&self) -> Result<(), Halt> {
        if self.control.is_aborted() { Err(Halt::Aborted) } else { Ok(()) }
    }
}

/// What is seen of a tracee that is waited for.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: u64,
    state: u8,
    /// Nanoseconds that it has run.
    spent: u64,
}

impl Look {
    fn at(tid: pid_t) -> Look {
        let stat = Stat::of_thread(tid);
        let (user, system) = stat.as_ref().map_or((0, 0), Stat::times);
        Look {
            at: sys::monotonic(),
            state: stat.map_or(b'?', |stat| stat.state()),
            spent: user.saturating_add(system).saturating_mul(1000),
        }
    }

    /// How much of the time since another look counts: a tracee that wants to run, or waits for a disk, may have been kept from it
    /// by others, or by a machine that stood still.
    fn counts_since(&self, before: &Look) -> u64 {
        const MOST_NS: u64 = 4 * TICK_NS.unsigned_abs();
        match self.state {
            b'R' => self.spent.saturating_sub(before.spent),
            b'D' => 0,
            _ => self.at.saturating_sub(before.at).min(MOST_NS),
        }
    }

    fn told(&self, tid: pid_t) -> String {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{tid}/{name}")).unwrap_or_default();
        let (state, call, place) = (char::from(self.state), read("syscall"), read("wchan"));
        format!("process {tid} is in state {state}, call {:?}, at {place:?}", call.trim_end())
    }
}

/// Time to come to a place from stop to stop: by the clock, and also of the processor's.
pub struct Patience {
    tid: pid_t,
    limit_ns: u64,
    started: u64,
    spent: u64,
}

impl Patience {
    /// For a tracee and the thread that calls it.
    #[must_use]
    pub fn new(tid: pid_t, limit_ns: u64) -> Patience {
        Patience { tid, limit_ns, started: sys::monotonic(), spent: spent_with(tid) }
    }

    /// Whether both times are over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        sys::monotonic().saturating_sub(self.started) > self.limit_ns
            && spent_with(self.tid).saturating_sub(self.spent) > self.limit_ns
    }
}

/// What a tracee and this thread have run, in nanoseconds.
fn spent_with(tid: pid_t) -> u64 {
    sys::own_cpu_time().saturating_add(Look::at(tid).spent)
}

/// A tracee is not there any more: somebody else has killed it.
pub fn lost(tid: pid_t, error: &std::io::Error) -> EngineError {
    let message = format!("a process of the replay (pid {tid}) was ended from outside: {error}; replay again");
    EngineError::replay("lost", message, vec![("pid", crate::error::Fact::Number(tid.unsigned_abs().into()))])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn only_what_a_tracee_could_have_used_counts() {
        let before = Look { at: SECOND, state: b'S', spent: 0 };
        let later = |state, after, spent| Look { at: before.at + after, state, spent }.counts_since(&before);
        // It sleeps, and the machine stood still meanwhile.
        assert_eq!(later(b'S', SECOND / 20, 0), SECOND / 20);
        assert!(later(b'S', 30 * SECOND, 0) < SECOND);
        // It runs, it waits for others to let it, it waits for a disk.
        assert_eq!(later(b'R', SECOND, SECOND / 2), SECOND / 2);
        assert_eq!(later(b'R', 30 * SECOND, 0), 0);
        assert_eq!(later(b'D', 30 * SECOND, 0), 0);
    }

    #[test]
    fn patience_ends_for_who_runs_and_not_for_who_is_kept_from_it() {
        let own = sys::own_tid();
        let patience = Patience::new(own, SECOND / 20);
        std::thread::sleep(Duration::from_millis(150));
        assert!(!patience.is_over());
        let until = sys::own_cpu_time() + SECOND / 5;
        while sys::own_cpu_time() < until {}
        assert!(patience.is_over());
    }
}
