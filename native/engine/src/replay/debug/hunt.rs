//! Looks for the last instruction before a moment, which may be millions of instructions behind the last place that is known.
//!
//! Single steps find it, but each one costs a stop. So a few thousand are made, and what they came to is counted from there on by
//! breakpoints: where the last of those was hit, nearer to the moment, the steps go on. They become more from turn to turn, so that code
//! in which no breakpoint helps is stepped through in the end.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::course::How;
use super::place::{Guide, Leg, Mark, Place, arrival};
use super::target::{MOST_WATCHES, Reason};

/// Steps of the first turn: milliseconds.
const FIRST_STEPS: u64 = 4096;
/// Breakpoints of a turn, half of them where the steps came seldom and half where they came last.
const MOST_PROBES: usize = 24;
/// Arrivals at all breakpoints of the first turn, and of any, until the one that was come to most often is taken out: it stands in a loop.
const FIRST_ARRIVALS: u64 = 4096;
const MOST_ARRIVALS: u64 = 1 << 16;

/// Where a hunt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Mark(Mark),
    /// The thread's next event.
    Event,
}

/// What is known after something has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    GoOn,
    /// The way has to be gone once more.
    Again,
    /// The moment before the end.
    Before(Place),
    /// The place that the way had come to is the end: what is before that is not known yet.
    NotBefore(Place),
}

/// An instruction at which arrivals are counted.
#[derive(Clone, Copy, Debug)]
struct Probe {
    addr: u64,
    count: u64,
    /// How often the steps have come to it.
    stepped: u64,
    is_out: bool,
}

impl Probe {
    fn new(addr: u64, stepped: u64) -> Probe {
        Probe { addr, count: 0, stepped, is_out: false }
    }

    /// It was come to.
    fn count(&mut self) -> Last {
        self.count += 1;
        Last { addr: self.addr, count: self.count, is_beyond: self.count > self.stepped }
    }
}

/// The last arrival of a turn.
#[derive(Clone, Copy, Debug)]
struct Last {
    addr: u64,
    count: u64,
    /// It is behind the steps.
    is_beyond: bool,
}

#[derive(Clone, Debug)]
enum Look {
    /// Step by step; how often each instruction was come to, and at which step last.
    Steps { taken: u64, visited: HashMap<u64, (u64, u64)> },
    /// By what the processor watches for, and by breakpoints; arrivals at those that are in, and the last one at any.
    Arrivals { hints: Vec<Probe>, probes: Vec<Probe>, arrivals: u64, last: Option<Last> },
}

impl Look {
    fn by_steps() -> Look {
        Look::Steps { taken: 0, visited: HashMap::new() }
    }
}

#[derive(Clone, Debug)]
pub struct Hunt {
    from: Guide,
    to: End,
    pub reason: Reason,
    /// Instructions that may be the last one, or not far from it. They may also be none at all.
    hints: Vec<u64>,
    most_steps: u64,
    most_arrivals: u64,
    look: Look,
}

impl Hunt {
    /// `from`: a place before `to` in the same segment, `hints`: addresses of instructions that may come shortly before it, the likeliest
    /// first.
    #[must_use]
    pub fn new(from: Place, to: End, hints: Vec<u64>, reason: Reason) -> Hunt {
        let (from, look) = (Guide::to(from), Look::by_steps());
        let (most_steps, most_arrivals) = (FIRST_STEPS, FIRST_ARRIVALS);
        let mut hunt = Hunt { from, to, reason, hints, most_steps, most_arrivals, look };
        if !hunt.hints.is_empty() {
            hunt.look = hunt.by_arrivals(Vec::new());
        }
        hunt
    }

    #[must_use]
    pub fn start(&self) -> &Guide {
        &self.from
    }

    pub fn start_mut(&mut self) -> &mut Guide {
        &mut self.from
    }

    /// How the thread is run behind the place that is known.
    pub fn ask(&self, how: &mut How) {
        let end = match self.to {
            End::Mark(mark) => Some(mark),
            End::Event => None,
        };
        if let Some(Mark::Access(watch)) = end {
            how.watches.push(watch);
        }
        match &self.look {
            Look::Steps { .. } => how.steps = true,
            Look::Arrivals { hints, probes, .. } => {
                if let Some(Mark::Arrival(ip)) = end {
                    how.breaks.push(ip);
                }
                how.watches.extend(hints.iter().map(|hint| arrival(hint.addr)));
                how.breaks.extend(probes.iter().filter(|probe| !probe.is_out).map(|probe| probe.addr));
            }
        }
    }

    fn by_arrivals(&self, probes: Vec<Probe>) -> Look {
        let room = MOST_WATCHES - usize::from(matches!(self.to, End::Mark(Mark::Access(_))));
        let hints = self.hints.iter().take(room).map(|addr| Probe::new(*addr, 0)).collect();
        Look::Arrivals { hints, probes, arrivals: 0, last: None }
    }

    /// Something has happened to the thread, which stands at `ip` now, in the segment of the hunt.
    pub fn passes(&mut self, mark: Mark, is_touched: bool, ip: u64) -> Outcome {
        if !self.from.is_done() {
            self.from.passes(mark);
            return Outcome::GoOn;
        }
        match &mut self.look {
            Look::Steps { taken, visited } => {
                *taken += u64::from(mark == Mark::Step);
                let is_end = match self.to {
                    End::Mark(Mark::Arrival(addr)) => addr == ip,
                    End::Mark(Mark::Access(_)) => is_touched,
                    End::Mark(Mark::Step) => true,
                    End::Event => false,
                };
                if is_end {
                    return self.found();
                }
                let (times, last) = visited.entry(ip).or_default();
                (*times, *last) = (*times + 1, *taken);
                if *taken < self.most_steps {
                    return Outcome::GoOn;
                }
                let probes = self.probes();
                self.look = self.by_arrivals(probes);
                self.from.begin_anew();
                Outcome::Again
            }
            Look::Arrivals { hints, probes, arrivals, last } => {
                if self.to == End::Mark(mark) {
                    return self.found();
                }
                if let Some(hint) = hints.iter_mut().find(|hint| mark == Mark::Access(arrival(hint.addr))) {
                    *last = Some(hint.count());
                } else if let Some(probe) = probes.iter_mut().find(|probe| mark == Mark::Arrival(probe.addr)) {
                    *last = Some(probe.count());
                    *arrivals += 1;
                    let most = probes.iter_mut().filter(|probe| !probe.is_out).max_by_key(|probe| probe.count);
                    if let Some(most) = most.filter(|_| *arrivals >= self.most_arrivals) {
                        most.is_out = true;
                        *arrivals -= most.count;
                    }
                }
                Outcome::GoOn
            }
        }
    }

    /// The instructions that the steps came to and at which it is worth counting.
    fn probes(&self) -> Vec<Probe> {
        let Look::Steps { visited, .. } = &self.look else { return Vec::new() };
        let mut seen: Vec<(u64, u64, u64)> = visited
            .iter()
            .filter(|(addr, _)| !self.hints.contains(addr))
            .map(|(addr, (times, last))| (*addr, *times, *last))
            .collect();
        seen.sort_unstable_by_key(|(_, times, last)| (*times, Reverse(*last)));
        let mut others = seen.split_off(seen.len().min(MOST_PROBES / 2));
        others.sort_unstable_by_key(|(.., last)| Reverse(*last));
        seen.extend(others.into_iter().take(MOST_PROBES / 2));
        seen.into_iter().map(|(addr, times, _)| Probe::new(addr, times)).collect()
    }

    /// The end of the hunt has been reached.
    pub fn found(&mut self) -> Outcome {
        let mut place = self.from.place().clone();
        match &self.look {
            // It is there already.
            Look::Steps { taken: 0, .. } => Outcome::NotBefore(place),
            Look::Steps { taken, .. } => {
                place.go_on_by(Mark::Step, taken - 1);
                Outcome::Before(place)
            }
            Look::Arrivals { last, .. } => {
                let last = *last;
                if let (Some(Last { addr: ip, count, .. }), Place::In { legs, .. }) = (last, &mut place) {
                    legs.push(Leg::Arrivals { ip, count });
                }
                // Breakpoints lead on faster than steps, as long as they do.
                if self.most_arrivals >= MOST_ARRIVALS || !last.is_some_and(|last| last.is_beyond) {
                    self.most_steps = self.most_steps.saturating_mul(2);
                }
                self.most_arrivals = (self.most_arrivals * 2).min(MOST_ARRIVALS);
                self.from = Guide::to(place);
                self.look = Look::by_steps();
                Outcome::Again
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::debug::place::Segment;

    const SEGMENT: Segment = Segment { seq: 4, thread: 0 };

    /// Code of one segment, as the addresses that it comes to; the last one is that of the call at its end.
    struct Code {
        ips: Vec<u64>,
        steps: u64,
        stops: u64,
        passes: u64,
    }

    impl Code {
        fn new(ips: Vec<u64>) -> Code {
            Code { ips, steps: 0, stops: 0, passes: 0 }
        }

        /// A function that does much in a loop in which it calls others, and something afterwards.
        fn long() -> Code {
            let mut ips: Vec<u64> = (0..20).collect();
            for turn in 0..3000_u64 {
                ips.extend(100..110);
                for _ in 0..turn % 97 {
                    ips.extend(200..205);
                }
            }
            ips.extend(300..340);
            for _ in 0..500 {
                ips.extend([400, 401]);
            }
            ips.extend(500..503);
            Code::new(ips)
        }

        /// What happens to a thread that goes on from one of its places.
        fn mark(how: &How, ip: u64) -> Option<Mark> {
            if how.steps {
                Some(Mark::Step)
            } else if how.watches.contains(&arrival(ip)) {
                Some(Mark::Access(arrival(ip)))
            } else {
                how.breaks.contains(&ip).then_some(Mark::Arrival(ip))
            }
        }

        fn hunt(&mut self, mut hunt: Hunt) -> Place {
            loop {
                self.passes += 1;
                assert!(self.passes < 64);
                let mut outcome = Outcome::GoOn;
                for ip in self.ips[1..].iter().copied() {
                    let mut how = How::default();
                    if hunt.start().is_done() {
                        hunt.ask(&mut how);
                    } else {
                        match hunt.start().next() {
                            Some(Mark::Arrival(ip)) => how.breaks.push(ip),
                            Some(Mark::Step) => how.steps = true,
                            other => panic!("{other:?}"),
                        }
                    }
                    let Some(mark) = Code::mark(&how, ip) else { continue };
                    self.steps += u64::from(mark == Mark::Step);
                    self.stops += u64::from(mark != Mark::Step);
                    outcome = hunt.passes(mark, false, ip);
                    if outcome != Outcome::GoOn {
                        break;
                    }
                }
                match if outcome == Outcome::GoOn { hunt.found() } else { outcome } {
                    Outcome::Again => {}
                    Outcome::Before(place) => return place,
                    other => panic!("{other:?}"),
                }
            }
        }

        /// Where a way leads: how many instructions have been executed there.
        fn at(&self, place: Place) -> usize {
            let mut guide = Guide::to(place);
            let mut at = 0;
            while !guide.is_done() {
                at += 1;
                match guide.next() {
                    Some(Mark::Arrival(ip)) if self.ips[at] != ip => {}
                    Some(mark) => drop(guide.passes(mark)),
                    None => panic!("a way of steps and arrivals"),
                }
            }
            at
        }
    }

    fn before_the_end(hints: Vec<u64>) -> Hunt {
        Hunt::new(Place::start(SEGMENT), End::Event, hints, Reason::Stepped(0))
    }

    #[test]
    fn the_last_instruction_of_much_code_is_found_by_few_steps() {
        let mut code = Code::long();
        let length = code.ips.len();
        assert!(length > 700_000, "{length}");
        let place = code.hunt(before_the_end(Vec::new()));
        assert_eq!(code.at(place), length - 2);
        assert!(code.steps < length as u64 / 10, "{} steps, {} stops, {} passes", code.steps, code.stops, code.passes);
        assert!(code.stops < length as u64 / 10, "{} stops", code.stops);
    }

    #[test]
    fn an_instruction_that_is_expected_is_checked_by_one_step() {
        let mut code = Code::long();
        let length = code.ips.len();
        // One that does not exist, the one, and one that is only near it.
        let place = code.hunt(before_the_end(vec![77, 501, 339]));
        assert_eq!((code.at(place), code.steps), (length - 2, 1));
        // A mistake costs steps, and is none in the end.
        let mut code = Code::long();
        let place = code.hunt(before_the_end(vec![339]));
        assert_eq!(code.at(place), length - 2);
        assert!(code.steps < 2000, "{} steps", code.steps);
    }

    #[test]
    fn the_instruction_before_an_arrival_is_found_from_the_arrival_before() {
        let mut code = Code::long();
        let to = code.ips.iter().enumerate().filter(|(_, ip)| **ip == 105).nth(1999).map(|(at, _)| at).unwrap();
        let from = Place::In { segment: SEGMENT, legs: vec![Leg::Arrivals { ip: 105, count: 1999 }] };
        let place = code.hunt(Hunt::new(from, End::Mark(Mark::Arrival(105)), Vec::new(), Reason::Stepped(0)));
        assert_eq!(code.at(place), to - 1);
    }

    #[test]
    fn code_without_repetition_is_stepped_through() {
        let mut code = Code::new((0..50_000).collect());
        let place = code.hunt(before_the_end(Vec::new()));
        assert_eq!(code.at(place), 49_998);
        assert!(code.steps < 200_000, "{} steps", code.steps);
    }
}
