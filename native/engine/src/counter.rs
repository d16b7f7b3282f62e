//! The processor's time stamp counter, for programs that cannot read it themselves.
//!
//! Reading it where it traps takes two calls. Once it is known how fast it counts, what it would show follows from the clock: here, and
//! in the agent.

use crate::sys;

/// How the counter is told from the clock.
#[derive(Clone, Copy, Debug)]
pub struct Relation {
    /// The counter at that time, in nanoseconds of CLOCK_MONOTONIC.
    pub counter: u64,
    pub time: u64,
    /// By how much it grows in a nanosecond, in 2^-32.
    pub rate: u64,
}

impl Relation {
    fn at(self, time: u64) -> u64 {
        let grown = (u128::from(time.saturating_sub(self.time)) * u128::from(self.rate)) >> 32;
        self.counter.wrapping_add(grown as u64)
    }
}

#[derive(Default)]
pub struct Timestamps {
    first: Option<Relation>,
    processor: u32,
    last: u64,
}

impl Timestamps {
    /// The counter, never the same twice, and the number of the processor, as `rdtscp` gives them.
    pub fn next(&mut self) -> (u64, u32) {
        /// Two readings this far apart tell the rate to a few parts in ten thousand.
        const APART_NS: u64 = 10_000_000;
        let time = sys::monotonic();
        let counter = self.relation().map_or_else(|| self.read(time, APART_NS), |relation| relation.at(time));
        self.last = counter.max(self.last + 1);
        (self.last, self.processor)
    }

    /// Reads it at a time, and takes the rate from two readings that are so far apart.
    fn read(&mut self, time: u64, apart: u64) -> u64 {
        let counter;
        (counter, self.processor) = sys::counter_and_processor();
        let first = self.first.get_or_insert(Relation { counter, time, rate: 0 });
        if time > first.time + apart {
            let grown = u128::from(counter.saturating_sub(first.counter)) << 32;
            first.rate = u64::try_from(grown / u128::from(time - first.time)).unwrap_or(0);
        }
        counter
    }

    /// Where it is known.
    #[must_use]
    pub fn relation(&self) -> Option<Relation> {
        self.first.filter(|first| first.rate > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_counter_follows_from_the_clock() {
        let mut timestamps = Timestamps::default();
        let begun = Instant::now();
        let (mut before, _) = timestamps.next();
        while timestamps.relation().is_none() && begun.elapsed() < Duration::from_secs(10) {
            let (now, _) = timestamps.next();
            assert!(now > before);
            before = now;
        }
        let relation = timestamps.relation().expect("the clock goes on");
        assert!(timestamps.next().0 > before);
        // What is told of a moment is what the counter shows there, but for what the rate was not known by.
        let (time, (shown, _)) = (sys::monotonic(), sys::counter_and_processor());
        let told = relation.at(time);
        assert!(shown.abs_diff(told) < (shown - relation.counter) / 10, "{shown} {told}");
    }
}
