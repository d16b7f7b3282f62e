//! How often rings are looked into whose threads come to no stop, and from which CPU.
//!
//! A ring that is full is a call that stops, and whose thread waits until all of it has become events. So while rings fill quickly, and
//! hardly anything stops, they are emptied from another CPU before that.

use libc::c_int;
use trace_format::ring;

use crate::placement::Placement;
use crate::sys::Timer;

/// How often rings are looked into that fill slowly, and clocks of agents become old.
pub(super) const SELDOM_NS: i64 = 50_000_000;
/// The same of rings that fill quickly.
const OFTEN_NS: i64 = 1_000_000;
/// The same of those that are written to without end: the recorder takes that as fast as it comes, but it may have to wait for a CPU, and
/// a thread whose ring is full waits until all of it was taken.
const ALWAYS_NS: i64 = 250_000;
/// So many bytes in one period are many.
const MANY_BYTES: u64 = 64 << 10;
/// So many in one of the short periods are written without end: a quarter of a ring.
const ENDLESS_BYTES: u64 = ring::BUFFER_BYTES / 4;
/// After so many periods with less they are looked into half as often.
const QUIET_PERIODS: u32 = 16;
/// More stops than this in a millisecond cost more on another CPU than what is gained there.
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
        if self.bytes > ENDLESS_BYTES && self.period <= OFTEN_NS {
            self.set(ALWAYS_NS);
        } else if self.bytes > MANY_BYTES && self.period > OFTEN_NS {
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
            if i64::from(self.stops) * OFTEN_NS <= i64::from(FEW_STOPS) * self.period.min(OFTEN_NS) {
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
