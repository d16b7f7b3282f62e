//! How often each syscall was called and how long its calls took, added up from blocks in stored order.
//!
//! What `src/stat/collect.ts` counts of batches, without a filter: parts of calls that the kernel restarted are left out, and
//! times are sorted into the buckets of `src/stat/durations.ts`. Names are not known here.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use trace_format::column::{Events, Projection, Shape};
use trace_format::event::{EventKind, flag};

use crate::error::EngineError;
use crate::reader::{StoredBlock, Trace};

/// Buckets of durations: 16 for each power of two below 2^53.
pub const BUCKETS: usize = (53 - 4 + 2) * 16;

/// More syscalls than that are of a trace that nobody recorded.
const MAX_SYSCALLS: usize = 4096;

/// The calls of one syscall.
#[derive(Clone, Debug, PartialEq)]
pub struct Calls {
    /// Code of the architecture: 1 for i386, 0 for all others.
    pub arch: u8,
    /// Number of the syscall.
    pub code: i32,
    /// How many there were.
    pub count: u64,
    /// How many of them failed.
    pub errors: u64,
    /// Sum of the durations, and the least and the largest of them, in nanoseconds.
    pub total: u64,
    /// As above.
    pub min: u64,
    /// As above.
    pub max: u64,
    /// How many durations there are in each of the [`BUCKETS`].
    pub buckets: Vec<u32>,
    /// Number of the first event.
    first: u64,
}

impl Calls {
    #[inline]
    fn add(&mut self, duration: u64, failed: bool) {
        self.count += 1;
        self.errors += u64::from(failed);
        self.total = self.total.saturating_add(duration);
        self.min = self.min.min(duration);
        self.max = self.max.max(duration);
        // Durations are bounded by the format.
        self.buckets[bucket_of(duration).min(BUCKETS - 1)] += 1;
    }
}

/// The bucket of a duration.
#[inline]
fn bucket_of(nanos: u64) -> usize {
    if nanos < 16 {
        return nanos as usize;
    }
    let shift = 59 - nanos.leading_zeros();
    ((shift as usize) << 4) + (nanos >> shift) as usize
}

/// All calls.
#[derive(Debug, Default)]
pub struct Tally {
    /// By syscall, in the order of their first calls.
    pub calls: Vec<Calls>,
    /// What ended the reading early.
    pub failure: Option<EngineError>,
}

/// Counts all calls of a trace. None: it has more different ones than are worth an array each.
#[must_use]
pub fn tally(trace: &Trace) -> Option<Tally> {
    let mut counter = Counter { tick_ns: trace.header().tick_ns.into(), ..Counter::default() };
    let mut failure = None;
    for (number, block) in trace.blocks().iter().enumerate() {
        if block.summary.kinds & 1 << EventKind::Call as u8 == 0 {
            continue;
        }
        let added = trace.visit_block(number, Projection::CORE, |block| {
            counter.add(block);
            Ok(())
        });
        if let Err(error) = added {
            failure = Some(error);
            break;
        }
        if counter.calls.len() > MAX_SYSCALLS {
            return None;
        }
    }
    let mut calls = counter.calls;
    calls.retain(|calls| calls.count > 0);
    calls.sort_by_key(|calls| calls.first);
    Some(Tally { calls, failure })
}

#[derive(Default)]
struct Counter {
    tick_ns: u64,
    calls: Vec<Calls>,
    places: HashMap<(u8, i32), usize, RandomState>,
}

/// In place of a place among the calls.
const NOT_COUNTED: usize = usize::MAX;

impl Counter {
    fn add(&mut self, block: &StoredBlock) {
        let events = block.events;
        let known = self.calls.len();
        let places: Vec<(usize, bool)> =
            events.shapes.iter().map(|shape| (self.place(shape), shape.flags & flag::ERROR != 0)).collect();
        for (&shape, &duration) in events.shape.iter().zip(events.duration) {
            let (place, failed) = places[shape as usize];
            if let Some(calls) = self.calls.get_mut(place) {
                calls.add(duration * self.tick_ns, failed);
            }
        }
        if self.calls.len() > known {
            self.note_first(block.first_seq, events, &places, known);
        }
    }

    fn place(&mut self, shape: &Shape) -> usize {
        if !shape.is_call() || shape.flags & flag::INTERRUPTED != 0 {
            return NOT_COUNTED;
        }
        let (arch, code) = (u8::from(shape.arch == 1), shape.code);
        let calls = &mut self.calls;
        *self.places.entry((arch, code)).or_insert_with(|| {
            calls.push(Calls {
                arch,
                code,
                count: 0,
                errors: 0,
                total: 0,
                min: u64::MAX,
                max: 0,
                buckets: vec![0; BUCKETS],
                first: u64::MAX,
            });
            calls.len() - 1
        })
    }

    /// Numbers of the first calls of what is new in this block.
    fn note_first(&mut self, first_seq: u64, events: Events, places: &[(usize, bool)], known: usize) {
        let mut next: Vec<u32> = events.groups.iter().map(|group| group.start).collect();
        let mut seq = first_seq;
        for &(group, len) in events.runs {
            let row = &mut next[group as usize];
            for _ in 0..len {
                let (place, _) = places[events.shape[*row as usize] as usize];
                if place >= known
                    && let Some(calls) = self.calls.get_mut(place)
                {
                    calls.first = calls.first.min(seq);
                }
                *row += 1;
                seq += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_sixteen_for_each_power_of_two() {
        for nanos in 0..32 {
            assert_eq!(bucket_of(nanos), nanos as usize);
        }
        let starts = [(32, 32), (33, 32), (34, 33), (63, 47), (64, 48), (1 << 30, 432), ((1 << 31) - 1, 447)];
        for (nanos, bucket) in starts {
            assert_eq!(bucket_of(nanos), bucket, "{nanos}");
        }
        assert!(bucket_of((1 << 53) - 1) < BUCKETS);
        assert!(bucket_of(1 << 53) < BUCKETS);
    }
}
