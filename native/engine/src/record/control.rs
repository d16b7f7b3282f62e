//! What other threads may ask of a running recording.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::{c_int, pid_t};

use crate::sys;

/// Where the first program stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// Not started; a signal for it came already.
    NotYet(Option<c_int>),
    Running {
        root: pid_t,
        /// In a group-stop.
        stopped: bool,
        /// This process is to stop when the program does.
        stop_along: bool,
    },
    Ended,
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::NotYet(None)
    }
}

/// The other threads' hold on a running recording.
#[derive(Debug, Default)]
pub struct Control {
    program: Mutex<Stage>,
    aborted: AtomicBool,
    /// Processes that are alive.
    processes: Mutex<HashSet<pid_t>>,
    /// The recorder's thread, as long as it waits for stops.
    pub(super) thread: AtomicI32,
    stopping: AtomicBool,
}

/// Wakes the recorder from its wait. Nothing else uses it: glibc hands out the real-time signals from the other end.
pub(super) fn wake_signal() -> c_int {
    libc::SIGRTMAX() - 3
}

impl Control {
    /// Ends the recording: the first program and all that came from it are killed.
    pub fn abort(&self) {
        self.aborted.store(true, Ordering::SeqCst);
        // What is born meanwhile is killed by the recorder when it shows up.
        for pid in self.processes().iter() {
            let _ = sys::kill(*pid, libc::SIGKILL);
        }
    }

    /// Ends the recording and lets the processes go on unobserved.
    pub fn detach(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let thread = self.thread.load(Ordering::SeqCst);
        if thread > 0 {
            let _ = sys::tgkill(std::process::id() as pid_t, thread, wake_signal());
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(super) fn processes(&self) -> MutexGuard<'_, HashSet<pid_t>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process is there. It is killed at once when the recording was aborted.
    pub(super) fn born(&self, pid: pid_t) {
        self.processes().insert(pid);
        if self.is_aborted() {
            let _ = sys::kill(pid, libc::SIGKILL);
        }
    }

    pub(super) fn gone(&self, pid: pid_t) {
        self.processes().remove(&pid);
    }

    /// Whether a process is there, as far as was told.
    pub(super) fn has(&self, pid: pid_t) -> bool {
        self.processes().contains(&pid)
    }

    /// Sends a signal to the first program; one that comes before its start waits for it. 0 sends nothing. `false` when
    /// the program has ended, and only what it left behind is still recorded.
    #[allow(clippy::must_use_candidate, reason = "sending is the purpose")]
    pub fn signal(&self, signal: c_int) -> bool {
        match &mut *self.program() {
            Stage::NotYet(waiting) => {
                if signal != 0 {
                    waiting.get_or_insert(signal);
                }
                true
            }
            // Who continues our process group has continued the program too; it need not hear of it twice.
            Stage::Running { stopped: false, .. } if signal == libc::SIGCONT => true,
            Stage::Running { root, .. } => {
                let _ = sys::kill(*root, signal);
                true
            }
            Stage::Ended => false,
        }
    }

    pub(super) fn program(&self) -> MutexGuard<'_, Stage> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn program_started(&self, root: pid_t) {
        let running = Stage::Running { root, stopped: false, stop_along: false };
        if let Stage::NotYet(Some(signal)) = std::mem::replace(&mut *self.program(), running) {
            let _ = sys::kill(root, signal);
        }
    }

    /// The terminal asked our process group to stop: this process does so when the program does. One that handles the
    /// signal first has its time, and one that ignores it goes on, observed.
    pub fn stop_along(&self, signal: c_int) {
        let now = match &mut *self.program() {
            Stage::Running { stopped, stop_along, .. } => {
                *stop_along = !*stopped;
                *stopped
            }
            _ => true,
        };
        if now {
            sys::stop_self(signal);
        }
    }

    /// The program was stopped, or goes on.
    pub(super) fn program_stopped(&self, is_stopped: bool, signal: c_int) {
        let now = match &mut *self.program() {
            Stage::Running { stopped, stop_along, .. } => {
                *stopped = is_stopped;
                is_stopped && std::mem::take(stop_along)
            }
            _ => false,
        };
        if now {
            sys::stop_self(signal);
        }
    }

    pub(super) fn program_ended(&self) {
        *self.program() = Stage::Ended;
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::SeqCst)
    }
}
