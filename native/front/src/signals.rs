//! Signals that reach this process and are meant for the program, or for both.
//!
//! They are blocked and taken by a thread that waits for them, so nothing runs in a handler and no disposition is changed:
//! what was ignored when this process started stays so for the program.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use libc::{c_int, sigset_t, timespec};
use trace_engine::record::Control;

/// Meant for the program when they reach the recorder.
const FORWARDED: [c_int; 4] = [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];
/// The terminal sends them to the program as well: the program decides, the recorder stays.
const FROM_TERMINAL: [c_int; 2] = [libc::SIGINT, libc::SIGQUIT];
/// The same, for job control: the recorder stops when the program has stopped, not before.
const STOPPING: [c_int; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
/// What this process would die of by its own writing, which fails with an error instead. Nobody waits for them.
const OF_WRITING: [c_int; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

/// Whoever continues a job continues the program too; only if it then still stands is the signal passed on.
const CONTINUE_AFTER: Duration = Duration::from_millis(50);
/// How often it is looked whether a program that was asked to end has done so.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A recorder that is told to let go may not wait yet, and is told again.
const DETACH_EVERY: Duration = Duration::from_millis(20);
/// The stack of the thread that waits.
const STACK: usize = 64 << 10;

/// Signals that are held back from doing what they do by default.
pub struct Held {
    before: sigset_t,
    waited: sigset_t,
}

fn set_of(signals: impl IntoIterator<Item = c_int>) -> sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// Changes which signals this thread blocks; returns those that it did block.
fn mask(how: c_int, set: &sigset_t) -> sigset_t {
    let mut before = set_of([]);
    // SAFETY: both sets are valid for the call.
    unsafe { libc::pthread_sigmask(how, &raw const *set, &raw mut before) };
    before
}

impl Held {
    /// To be called before any thread is started, since threads inherit it.
    pub fn new() -> Held {
        let waited = set_of(FORWARDED.into_iter().chain(FROM_TERMINAL).chain(STOPPING).chain([libc::SIGCONT]));
        let before = mask(libc::SIG_BLOCK, &waited);
        mask(libc::SIG_BLOCK, &set_of(OF_WRITING));
        Held { before, waited }
    }

    /// The signals that this process was started with as blocked.
    pub fn before(&self) -> sigset_t {
        self.before
    }

    /// Passes signals on for as long as this process lives.
    pub fn pass_on(&self, control: &Arc<Control>) {
        let (waited, control) = (self.waited, Arc::clone(control));
        // Without the thread the recording goes on, deaf.
        let _ = Builder::new().name("trace-signals".into()).stack_size(STACK).spawn(move || {
            let mut hold = Hold { control, look: None, detach: None, go_on: None };
            loop {
                if let Some(signal) = wait(&waited, hold.next()) {
                    hold.came(signal);
                }
                hold.tick(Instant::now());
            }
        });
    }

    /// The program has ended: signals are for this process again.
    pub fn release(&self) {
        // Those that nobody has taken yet came while there was a program, and were for it.
        while wait(&self.waited, Some(Instant::now())).is_some() {}
        let mut still = self.before;
        for signal in OF_WRITING {
            // SAFETY: the set is a copy of one that the system has filled.
            unsafe { libc::sigaddset(&raw mut still, signal) };
        }
        mask(libc::SIG_SETMASK, &still);
    }

    /// Blocks what was blocked when this process was started, and no more.
    pub fn restore(&self) {
        // What a failed write has left would end this process now.
        while wait(&set_of(OF_WRITING), Some(Instant::now())).is_some() {}
        mask(libc::SIG_SETMASK, &self.before);
    }
}

/// Waits for a signal, at most until `end`.
fn wait(set: &sigset_t, end: Option<Instant>) -> Option<c_int> {
    let left = end.map(|end| end.saturating_duration_since(Instant::now()));
    let left = left.map(|left| timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() });
    let limit = left.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: set and limit are valid for the call; no facts of the signal are asked for.
    let signal = unsafe { libc::sigtimedwait(&raw const *set, ptr::null_mut(), limit) };
    (signal > 0).then_some(signal)
}

/// What is to be done for the program, and when.
struct Hold {
    control: Arc<Control>,
    look: Option<Instant>,
    detach: Option<Instant>,
    go_on: Option<Instant>,
}

impl Hold {
    fn next(&self) -> Option<Instant> {
        [self.look, self.detach, self.go_on].into_iter().flatten().min()
    }

    fn came(&mut self, signal: c_int) {
        let now = Instant::now();
        if FORWARDED.contains(&signal) {
            let is_there = self.control.signal(signal);
            if matches!(signal, libc::SIGTERM | libc::SIGHUP) {
                if is_there {
                    self.look.get_or_insert(now + LOOK_EVERY);
                } else {
                    self.detach(now);
                }
            }
        } else if FROM_TERMINAL.contains(&signal) {
            self.end_with_program(now);
        } else if STOPPING.contains(&signal) {
            self.control.stop_along(signal);
        } else {
            self.go_on = Some(now + CONTINUE_AFTER);
        }
    }

    fn tick(&mut self, now: Instant) {
        let is_due = |when: Option<Instant>| when.is_some_and(|when| when <= now);
        if is_due(self.go_on) {
            self.go_on = None;
            self.control.signal(libc::SIGCONT);
        }
        if is_due(self.look) {
            self.look = Some(now + LOOK_EVERY);
            self.end_with_program(now);
        }
        if is_due(self.detach) {
            self.detach(now);
        }
    }

    /// A program that was asked to end, and did, is not waited for in what it left behind: that goes on, as without us.
    fn end_with_program(&mut self, now: Instant) {
        if !self.control.signal(0) {
            self.detach(now);
        }
    }

    fn detach(&mut self, now: Instant) {
        self.control.detach();
        self.detach = Some(now + DETACH_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_came_before_the_end_does_not_outlive_it() {
        let held = Held::new();
        // To this thread, as no other one of the tests blocks it.
        // SAFETY: raise takes no pointer.
        unsafe { libc::raise(libc::SIGINT) };
        held.release();
        held.restore();
    }
}
