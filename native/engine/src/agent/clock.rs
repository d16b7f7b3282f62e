//! From the time stamp counter, which the agent reads, to the clock of the recording. Where programs cannot read the counter (nor
//! can the recorder, then) the agent has asked for that clock itself.

use crate::sys;

/// Two readings of counter and clock; what lies between and shortly before follows from them.
pub struct Clock {
    /// There is no counter.
    is_told: bool,
    first: (u64, u64),
    last: (u64, u64),
    /// Nanoseconds per count.
    rate: f64,
}

fn read() -> (u64, u64) {
    (sys::counter(), sys::monotonic())
}

impl Clock {
    /// `is_told`: what the agent notes is the clock's time.
    #[must_use]
    pub fn new(is_told: bool) -> Clock {
        let now = if is_told { (0, 0) } else { read() };
        Clock { is_told, first: now, last: now, rate: 0.0 }
    }

    /// Reads both again: to be called before counters of the recent past are asked for.
    pub fn refresh(&mut self) {
        if self.is_told {
            return;
        }
        self.last = read();
        let counts = self.last.0.saturating_sub(self.first.0);
        if counts > 0 {
            self.rate = self.last.1.saturating_sub(self.first.1) as f64 / counts as f64;
        }
    }

    /// Nanoseconds of CLOCK_MONOTONIC at a counter.
    #[must_use]
    pub fn at(&self, counter: u64) -> u64 {
        if self.is_told {
            return counter;
        }
        let before = self.last.0.saturating_sub(counter);
        self.last.1.saturating_sub((before as f64 * self.rate) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_become_times() {
        let clock = Clock { is_told: false, first: (1000, 500), last: (3000, 1500), rate: 0.5 };
        assert_eq!((clock.at(3000), clock.at(2000), clock.at(9000)), (1500, 1000, 1500));
    }
}
