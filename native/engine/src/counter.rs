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

/// What programs are told of the counter.
#[derive(Default)]
pub struct Timestamps {
    /// A reading, with the rate once there was another one.
    first: Option<Relation>,
    processor: u32,
    last: u64,
}

impl Timestamps {
    /// The counter, never the same twice, and the number of the processor, as `rdtscp` gives them.
    pub fn next(&mut self) -> (u64, u32) {
        let counter = self.relation().map_or_else(|| self.read(), |relation| relation.at(sys::monotonic()));
        self.last = counter.max(self.last + 1);
        (self.last, self.processor)
    }

    /// Reads it, and takes the rate from two readings.
    fn read(&mut self) -> u64 {
        /// So far apart they tell the rate to a few parts in ten thousand.
        const APART_NS: u64 = 10_000_000;
        let (time, counter);
        (time, counter, self.processor) = reading();
        let first = self.first.get_or_insert(Relation { counter, time, rate: 0 });
        if time > first.time + APART_NS {
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

/// Clock, counter and processor at one moment: that of the tries that took least, since the thread may lose its processor between them.
fn reading() -> (u64, u64, u32) {
    const TRIES: u32 = 4;
    let read = |_| {
        let before = sys::monotonic();
        let (counter, processor) = sys::counter_and_processor();
        let took = sys::monotonic() - before;
        (took, (before + took / 2, counter, processor))
    };
    (0..TRIES).map(read).min().map_or((0, 0, 0), |(_, reading)| reading)
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
        let before = relation.at(sys::monotonic());
        let (shown, _) = sys::counter_and_processor();
        let after = relation.at(sys::monotonic());
        let slack = (shown - relation.counter) / 100;
        assert!((before - slack..after + slack).contains(&shown), "{before} {shown} {after}");
    }
}
