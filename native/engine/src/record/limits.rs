//! Waits for some time that are made once more, because a signal has interrupted them of which the program takes no notice: they end when
//! the first one would have. The kernel makes them anew with all their time, so the thread is stopped when that is over.

use libc::{c_int, pid_t};

use super::Recorder;
use super::control::wake_signal;
use super::signals::is_interrupted_by_any;
use crate::capture::Call;
use crate::memory::word_of;
use crate::sys::{self, Timer};
use crate::task::Task;

/// A thread that was not stopped by the first attempt is looked at again after this.
const AGAIN_NS: i64 = 1_000_000;
/// What the flags of io_uring_enter(2) say: its fifth argument points to a structure, and the time in it is a point of the clock.
const ENTER_EXT_ARG: u64 = 8;
const ENTER_ABS_TIMER: u64 = 32;

/// The threads whose waits are to be ended, and the timer that says when.
#[derive(Default)]
pub(super) struct Limits {
    timer: Option<Timer>,
    waits: Vec<(pid_t, u64)>,
}

impl Limits {
    /// A thread enters a call, perhaps one that was interrupted.
    pub fn enter(&mut self, task: &mut Task, call: &Call) {
        task.waits_until = None;
        if !call.restarted || !is_interrupted_by_any(call, -i64::from(libc::EINTR)) {
            return;
        }
        let Some(until) = of(task, call).map(|limit| call.start.saturating_add(limit)) else { return };
        task.waits_until = Some(until);
        self.waits.push((task.tid, until));
        self.set();
    }

    fn set(&mut self) {
        if self.timer.is_none() {
            self.timer = Timer::new(wake_signal());
        }
        let first = self.waits.iter().map(|(_, until)| *until).min();
        let left = |until: u64| i64::try_from(until.saturating_sub(sys::monotonic()).max(1)).unwrap_or(0);
        if let Some(timer) = &self.timer {
            timer.set(first.map_or(0, left), AGAIN_NS);
        }
    }
}

impl Recorder {
    /// Stops the threads whose waits are over.
    pub(super) fn end_waits(&mut self, now: u64) {
        if self.world.limits.waits.iter().all(|(_, until)| *until > now) {
            return;
        }
        let tasks = &self.tasks;
        self.world.limits.waits.retain(|(tid, until)| {
            let waits = |task: &&Task| task.call.is_some() && task.waits_until == Some(*until);
            let Some(task) = tasks.get(tid).filter(waits) else { return false };
            if *until <= now && task.pending.is_none() {
                let _ = sys::interrupt(*tid);
            }
            true
        });
        self.world.limits.set();
    }
}

/// The nanoseconds for which a call waits at most, of those that any signal ends; nothing where it may wait for ever.
pub(super) fn of(task: &Task, call: &Call) -> Option<u64> {
    let word = |at: u64| {
        let mut word = [0; 8];
        (sys::read_pieces(task.tid, &[(at, word.len())], &mut word) == word.len()).then(|| word_of(&word))
    };
    let timespec = |at: u64| match at {
        0 => None,
        _ => Some(word(at)?.saturating_mul(1_000_000_000).saturating_add(word(at.wrapping_add(8))?)),
    };
    match call.name() {
        "epoll_wait" | "epoll_pwait" => u64::try_from(call.int(3)).ok().map(|milliseconds| milliseconds * 1_000_000),
        "epoll_pwait2" | "semtimedop" => timespec(call.args[3]),
        "rt_sigtimedwait" => timespec(call.args[2]),
        "io_getevents" | "io_pgetevents" => timespec(call.args[4]),
        "io_uring_enter" if call.args[3] & (ENTER_EXT_ARG | ENTER_ABS_TIMER) == ENTER_EXT_ARG => {
            timespec(word(call.args[4].wrapping_add(16))?)
        }
        "accept" | "accept4" | "read" | "readv" | "recvfrom" | "recvmsg" | "recvmmsg" => {
            of_socket(task, call, libc::SO_RCVTIMEO)
        }
        "connect" | "write" | "writev" | "sendto" | "sendmsg" | "sendmmsg" => of_socket(task, call, libc::SO_SNDTIMEO),
        _ => None,
    }
}

fn of_socket(task: &Task, call: &Call, option: c_int) -> Option<u64> {
    let socket = sys::share_descriptor(task.process.borrow().pid, task.tid, call.int(0)).ok()?;
    sys::socket_limit(&socket, option).ok().filter(|limit| *limit != 0)
}

/// The raw result of such a call when its time is over.
pub(super) fn result(call: &Call) -> i64 {
    match call.name() {
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "io_getevents" | "io_pgetevents" => 0,
        "io_uring_enter" => -i64::from(libc::ETIME),
        "connect" => -i64::from(libc::EINPROGRESS),
        _ => -i64::from(libc::EAGAIN),
    }
}
