//! How often rings are looked into whose threads come to no stop, and from which CPU.
//!
//! A ring that is full is a call that stops, and whose thread waits until all of it has become events. So while rings fill quickly, and
//! hardly anything stops, they are emptied from another CPU before that.

use libc::c_int;

use crate::placement::Placement;
use crate::sys::Timer;

/// How often rings are looked into that fill slowly, and clocks of agents become old.
pub(super) const SELDOM_NS: i64 = 50_000_000;
/// The same of rings that fill quickly: in a millisecond hardly more than half a megabyte is written.
const OFTEN_NS: i64 = 1_000_000;
/// So many bytes in one period are many.
const MANY_BYTES: u64 = 64 << 10;
/// After so many periods with less they are looked into half as often.
const QUIET_PERIODS: u32 = 16;
/// More stops than this in one of the short periods cost more on another CPU than what is gained there.
const FEW_STOPS: u32 = 4;

/// When the recorder wakes up by itself.
#[derive(Default)]
pub(super) struct Pace {
    timer: Option<Timer>,
    period: i64,
    /// Bytes of records taken, and stops seen, since it woke up last.
    bytes: u64,
    stops: u32,
    /// Periods with few bytes, one after the other.
    quiet: u32,
    /// When clocks became old last.
    last: u64,
}

impl Pace {
    /// The timer sends that signal to this thread from now on.
    pub fn begin(&mut self, signal: c_int) {
        self.timer = Timer::new(signal);
        self.set(SELDOM_NS);
    }

    pub fn end(&mut self) {
        self.timer = None;
    }

    fn set(&mut self, period: i64) {
        if let Some(timer) = self.timer.as_ref().filter(|_| period != self.period) {
            self.period = period;
            timer.every(period);
        }
    }

    /// So much was in the rings.
    pub fn took(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes > MANY_BYTES {
            self.set(OFTEN_NS);
        }
    }

    /// A tracee has stopped.
    pub fn stopped(&mut self) {
        self.stops += 1;
    }

    /// The rings were emptied without a stop.
    pub fn woken(&mut self, now: u64, placement: &mut Placement) {
        if self.last == 0 {
            self.last = now;
        }
        if self.bytes > MANY_BYTES {
            self.quiet = 0;
            if self.stops <= FEW_STOPS {
                placement.step_aside();
            }
        } else if self.quiet < QUIET_PERIODS {
            self.quiet += 1;
        } else {
            self.quiet = 0;
            self.set((self.period * 2).min(SELDOM_NS));
        }
        (self.bytes, self.stops) = (0, 0);
    }

    /// Whether it is time for clocks to become old.
    pub fn is_due(&mut self, now: u64) -> bool {
        let is_due = now.saturating_sub(self.last) >= (SELDOM_NS - OFTEN_NS) as u64;
        if is_due {
            self.last = now;
        }
        is_due
    }
}
