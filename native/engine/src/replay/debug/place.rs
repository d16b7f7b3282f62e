//! Moments of a replay that can be found again.
//!
//! Between two events a thread runs a piece of its own code, a segment. A moment in there is told by the way to it: so many steps,
//! so many arrivals at an instruction, so many accesses to memory. The same way leads to the same moment in every replay, whatever else a
//! debugger watches meanwhile, for the code is the same and sees the same memory. No counter of the processor's is needed.

/// What a debugger wants to know of an address: whether it is written to, or touched at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    pub addr: u64,
    /// 1, 2, 4 or 8 bytes, and the address is a multiple of it.
    pub length: u8,
    pub kind: Access,
}

impl Watch {
    /// Whether reading stops, too.
    #[must_use]
    pub fn may_be_read(&self) -> bool {
        self.kind == Access::ReadOrWrite
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    Write,
    /// The processor has none for reading alone.
    ReadOrWrite,
    /// Arrivals at an instruction, where nobody knows yet that there is one.
    Execute,
}

/// Arrivals at an instruction as the processor watches for them: code need not be written for that.
#[must_use]
pub fn arrival(addr: u64) -> Watch {
    Watch { addr, length: 1, kind: Access::Execute }
}

/// A piece of a thread's own code: what it does after an event, up to its next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Number of the event.
    pub seq: u64,
    /// Index of the thread in the trace.
    pub thread: u32,
}

/// A part of the way to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// So many instructions.
    Steps(u64),
    /// To the instruction at an address, so many times.
    Arrivals { ip: u64, count: u64 },
    /// To behind an access to watched memory, so many times.
    Accesses { watch: Watch, count: u64 },
    /// To where somebody stopped the thread: nothing leads there again.
    Somewhere,
}

/// What has happened on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    Step,
    Arrival(u64),
    Access(Watch),
}

impl Leg {
    /// The leg that the same mark makes so many times.
    #[must_use]
    pub fn so_often(mark: Mark, count: u64) -> Leg {
        match mark {
            Mark::Step => Leg::Steps(count),
            Mark::Arrival(ip) => Leg::Arrivals { ip, count },
            Mark::Access(watch) => Leg::Accesses { watch, count },
        }
    }

    /// What makes it, and how often.
    #[must_use]
    pub fn marks(&self) -> Option<(Mark, u64)> {
        match *self {
            Leg::Steps(count) => Some((Mark::Step, count)),
            Leg::Arrivals { ip, count } => Some((Mark::Arrival(ip), count)),
            Leg::Accesses { watch, count } => Some((Mark::Access(watch), count)),
            Leg::Somewhere => None,
        }
    }
}

/// A moment of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An event is about to be applied: its thread stands where it begins.
    Before(u64),
    /// In a thread's own code.
    In { segment: Segment, legs: Vec<Leg> },
}

impl Place {
    /// Where a segment begins.
    #[must_use]
    pub fn start(segment: Segment) -> Place {
        Place::In { segment, legs: Vec::new() }
    }

    /// Number of the last event that has been applied, or that is about to be.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Place::Before(seq) => *seq,
            Place::In { segment, .. } => segment.seq,
        }
    }

    /// The same place, or the last one before it that can be found again.
    #[must_use]
    pub fn findable(mut self) -> Place {
        if let Place::In { legs, .. } = &mut self
            && let Some(at) = legs.iter().position(|leg| *leg == Leg::Somewhere)
        {
            legs.truncate(at);
        }
        self
    }

    /// Goes on by a mark.
    pub fn go_on(&mut self, mark: Mark) {
        self.go_on_by(mark, 1);
    }

    /// Goes on by the same mark so many times.
    pub fn go_on_by(&mut self, mark: Mark, times: u64) {
        let Place::In { legs, .. } = self else { return };
        match (legs.last_mut(), mark) {
            _ if times == 0 => {}
            (Some(Leg::Steps(count)), Mark::Step) => *count += times,
            (Some(Leg::Arrivals { ip, count }), Mark::Arrival(to)) if *ip == to => *count += times,
            (Some(Leg::Accesses { watch, count }), Mark::Access(of)) if *watch == of => *count += times,
            _ => legs.push(Leg::so_often(mark, times)),
        }
    }
}

/// Follows the way to a place.
#[derive(Clone, Debug)]
pub struct Guide {
    place: Place,
    /// Legs that are done, and how much of the next one.
    done: usize,
    count: u64,
}

impl Guide {
    #[must_use]
    pub fn to(place: Place) -> Guide {
        Guide { place: place.findable(), done: 0, count: 0 }
    }

    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    fn legs(&self) -> &[Leg] {
        match &self.place {
            Place::Before(_) => &[],
            Place::In { legs, .. } => legs,
        }
    }

    /// Whether the place is in a segment.
    #[must_use]
    pub fn is_in(&self, segment: Segment) -> bool {
        matches!(&self.place, Place::In { segment: own, .. } if *own == segment)
    }

    /// Whether the place has been reached, if its segment has begun.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done == self.legs().len()
    }

    /// What leads on.
    #[must_use]
    pub fn next(&self) -> Option<Mark> {
        self.legs().get(self.done).and_then(Leg::marks).map(|(mark, _)| mark)
    }

    /// Nothing of the way is done.
    pub fn begin_anew(&mut self) {
        (self.done, self.count) = (0, 0);
    }

    /// These legs are done and nothing else, if the way begins with them; whether it does.
    pub fn begin_behind(&mut self, legs: &[Leg]) -> bool {
        let Some((last, before)) = legs.split_last() else {
            self.begin_anew();
            return true;
        };
        let own = self.legs().get(before.len()).filter(|_| self.legs().starts_with(before));
        let (Some((mark, count)), Some((last, done))) = (own.and_then(Leg::marks), last.marks()) else { return false };
        if mark != last || done > count {
            return false;
        }
        (self.done, self.count) = if done == count { (legs.len(), 0) } else { (before.len(), done) };
        true
    }

    /// How much of the current leg is done, behind the legs before it.
    #[must_use]
    pub fn so_far(&self) -> Vec<Leg> {
        let mut legs = self.legs()[..self.done].to_vec();
        if let (Some(mark), 1..) = (self.next(), self.count) {
            legs.push(Leg::so_often(mark, self.count));
        }
        legs
    }

    /// Steps of the current leg that are still to be made, when some have been.
    #[must_use]
    pub fn steps_left(&self) -> Option<u64> {
        match self.legs().get(self.done)? {
            Leg::Steps(count) if self.count > 0 => Some(count - self.count),
            _ => None,
        }
    }

    /// The legs that are done.
    #[must_use]
    pub fn done(&self) -> &[Leg] {
        &self.legs()[..self.done]
    }

    /// Something has happened in the segment; whether a leg is done by it.
    pub fn passes(&mut self, mark: Mark) -> bool {
        let Some((wanted, count)) = self.legs().get(self.done).and_then(Leg::marks) else { return false };
        if wanted != mark {
            return false;
        }
        self.count += 1;
        if self.count < count {
            return false;
        }
        self.done += 1;
        self.count = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: Segment = Segment { seq: 7, thread: 0 };

    fn place(marks: &[Mark]) -> Place {
        let mut place = Place::start(SEGMENT);
        for mark in marks {
            place.go_on(*mark);
        }
        place
    }

    #[test]
    fn marks_of_one_kind_are_one_leg() {
        use Mark::{Arrival, Step};
        let way = place(&[Step, Step, Arrival(16), Arrival(16), Arrival(32), Step]);
        let legs =
            vec![Leg::Steps(2), Leg::Arrivals { ip: 16, count: 2 }, Leg::Arrivals { ip: 32, count: 1 }, Leg::Steps(1)];
        assert_eq!(way, Place::In { segment: SEGMENT, legs });
    }

    #[test]
    fn a_guide_is_done_where_the_way_ends() {
        let marks = [Mark::Step, Mark::Arrival(16), Mark::Arrival(16), Mark::Step];
        let mut guide = Guide::to(place(&marks));
        for (at, mark) in marks.iter().enumerate() {
            assert!(!guide.is_done());
            assert_eq!(guide.next(), Some(*mark));
            // What is not on the way changes nothing.
            assert!(!guide.passes(Mark::Arrival(99)));
            assert_eq!(guide.passes(*mark), at != 1);
        }
        assert!(guide.is_done());
        assert_eq!(Place::In { segment: SEGMENT, legs: guide.so_far() }, place(&marks));
    }

    #[test]
    fn a_way_can_be_gone_from_the_middle_of_a_leg() {
        use Mark::{Arrival, Step};
        let way = place(&[Arrival(16), Arrival(16), Arrival(16), Step, Step]);
        let legs = |marks: &[Mark]| match place(marks) {
            Place::In { legs, .. } => legs,
            Place::Before(_) => Vec::new(),
        };
        let mut guide = Guide::to(way.clone());
        for marks in [&[][..], &[Arrival(16)], &[Arrival(16); 3], &[Arrival(16), Arrival(16), Arrival(16), Step]] {
            assert!(guide.begin_behind(&legs(marks)));
            assert_eq!(guide.so_far(), legs(marks));
        }
        assert!(guide.begin_behind(&legs(&[Arrival(16), Arrival(16), Arrival(16), Step, Step])));
        assert!(guide.is_done());
        for marks in [&[Arrival(32)][..], &[Arrival(16); 4], &[Step], &[Arrival(16), Arrival(16), Step]] {
            assert!(!guide.begin_behind(&legs(marks)));
        }
    }

    #[test]
    fn a_place_that_cannot_be_found_again_ends_before() {
        let Place::In { mut legs, .. } = place(&[Mark::Step]) else { unreachable!() };
        legs.extend([Leg::Somewhere, Leg::Steps(3)]);
        assert_eq!(Place::In { segment: SEGMENT, legs }.findable(), place(&[Mark::Step]));
    }
}
