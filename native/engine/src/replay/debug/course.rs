//! Where a debugged replay goes, and where it stops: decides by what happens to the program, and touches nothing of it.

use std::collections::{BTreeSet, HashMap};

use super::hunt::{End, Hunt, Outcome};
use super::place::{Guide, Leg, Mark, Place, Segment, Watch, arrival};
use super::target::{Motion, Reason, Request};

/// What the user has asked to be stopped at.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub breaks: &'a BTreeSet<u64>,
    pub watches: &'a [Watch],
}

/// What is to happen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    GoOn,
    /// The user has the word.
    Stop(Reason),
    /// All begins anew, towards another goal.
    Rewind,
}

/// How a thread is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Instruction by instruction.
    pub steps: bool,
    pub breaks: Vec<u64>,
    pub watches: Vec<Watch>,
}

impl How {
    /// What watches for arrivals at an instruction, if something does.
    #[must_use]
    pub fn arrival_at(&self, ip: u64) -> Option<Watch> {
        self.watches.iter().find(|watch| **watch == arrival(ip)).copied()
    }
}

/// A moment that the user would be shown, why, and which instructions may have been the last one before it.
#[derive(Clone, Debug)]
struct Shown {
    place: Place,
    reason: Reason,
    hints: Vec<u64>,
}

impl Shown {
    /// A moment that is not in the middle of code.
    fn at(place: Place, reason: Reason) -> Shown {
        Shown { place, reason, hints: Vec::new() }
    }
}

#[derive(Clone, Debug)]
enum Goal {
    /// To a moment.
    Reach(Guide, Reason),
    /// As the user has said.
    Forward { motion: Motion, moved: bool },
    /// To a moment, for the last thing before it that the user would have been shown.
    Search(Search),
    /// For the instruction before a moment.
    Hunt(Box<Hunt>),
}

#[derive(Clone, Debug)]
struct Search {
    until: Guide,
    last: Option<Shown>,
    /// How many legs of the way were done where the pass began, in the segment of the moment; `None` when it began at the beginning of all.
    began: Option<usize>,
    /// From places with so many legs nothing was found.
    vain: Option<usize>,
    /// Nor from this many states before it.
    barren: usize,
}

/// What has happened to a running thread.
#[derive(Clone, Copy)]
pub struct Passing<'a> {
    pub mark: Mark,
    /// Watched memory that a step has touched.
    pub accessed: Option<Watch>,
    /// Behind an access to memory it stands at an instruction that is watched for, too.
    pub arrives: bool,
    /// Where the thread stands now.
    pub ip: u64,
    /// Tells which instructions may have been the last one before.
    pub hints: &'a dyn Fn() -> Vec<u64>,
}

/// How a segment begins.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    pub segment: Segment,
    pub ip: u64,
    /// Watched memory that the event has changed.
    pub changed: Option<Watch>,
    /// The call that the event is, when the user wants to see it return.
    pub returned: Option<u64>,
}

/// The course of a debugged replay.
pub struct Course {
    goal: Goal,
    here: Place,
    /// Whose event is next, where the replay is before one.
    next: u32,
    /// Where the debugged program begins.
    start: Segment,
    /// The event before which the pass began, where that was not the beginning of all.
    state: Option<u64>,
    /// Legs to the last corner of the way to the goal, and marks since then.
    corner: Vec<Leg>,
    seen: HashMap<Mark, u64>,
    /// The last thing that has happened has brought a corner.
    turns: bool,
    /// The last segment of each thread.
    last: HashMap<u32, Segment>,
    /// Which instructions may have been the last one before the present moment.
    hints: Vec<u64>,
}

impl Course {
    /// Towards the first stop.
    #[must_use]
    pub fn new(start: Segment, first: Place) -> Course {
        Course {
            goal: Goal::Reach(Guide::to(first), Reason::Connected),
            here: Place::start(start),
            next: start.thread,
            start,
            state: None,
            corner: Vec::new(),
            seen: HashMap::new(),
            turns: false,
            last: HashMap::new(),
            hints: Vec::new(),
        }
    }

    /// Where the debugged program begins.
    #[must_use]
    pub fn start(&self) -> Segment {
        self.start
    }

    /// Number of the event that the replay is at.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.here.seq()
    }

    /// All is replayed anew: from the beginning, or from a state before an event, behind these segments of the threads.
    pub fn begins_from(&mut self, state: Option<u64>, segments: HashMap<u32, Segment>) {
        self.seen.clear();
        self.last = segments;
        self.state = state;
        self.here = state.map_or(Place::start(self.start), Place::Before);
    }

    /// From which event on the next pass has to see everything, and how many states it is to pass over that are before that: between
    /// those and there is nothing that is looked for.
    #[must_use]
    pub fn needs(&self) -> (u64, usize) {
        match &self.goal {
            Goal::Forward { .. } => (0, 0),
            Goal::Search(Search { until, barren, .. }) => {
                // Between a place and itself is nothing.
                let seq = match until.place() {
                    Place::Before(seq) => seq.saturating_sub(1),
                    place @ Place::In { .. } => place.seq(),
                };
                (seq, *barren)
            }
            Goal::Reach(guide, _) => (guide.place().seq(), 0),
            Goal::Hunt(hunt) => (hunt.start().place().seq(), 0),
        }
    }

    /// The last segment of each thread.
    #[must_use]
    pub fn segments(&self) -> &HashMap<u32, Segment> {
        &self.last
    }

    /// A thread is stopped where nothing leads to again.
    pub fn is_lost(&mut self) {
        if let Place::In { legs, .. } = &mut self.here {
            legs.push(Leg::Somewhere);
        }
    }

    fn segment(&self) -> Option<Segment> {
        match &self.here {
            Place::Before(_) => None,
            Place::In { segment, .. } => Some(*segment),
        }
    }

    /// How the thread is run from here.
    #[must_use]
    pub fn how(&self, asked: Asked<'_>) -> How {
        let Some(segment) = self.segment() else { return How::default() };
        let mut how = How::default();
        let mut follow = |guide: &Guide| match guide.next().filter(|_| guide.is_in(segment)) {
            Some(Mark::Step) => how.steps = true,
            Some(Mark::Arrival(ip)) => how.breaks.push(ip),
            Some(Mark::Access(watch)) => how.watches.push(watch),
            None => {}
        };
        match &self.goal {
            Goal::Reach(guide, _) => follow(guide),
            Goal::Hunt(hunt) => {
                follow(hunt.start());
                if hunt.start().is_in(segment) && hunt.start().is_done() {
                    hunt.ask(&mut how);
                }
            }
            Goal::Search(search) => follow(&search.until),
            Goal::Forward { motion, .. } => match motion {
                Motion::Continue => {}
                Motion::Step(thread) | Motion::Range { thread, .. } => how.steps = *thread == segment.thread,
            },
        }
        if matches!(self.goal, Goal::Forward { .. } | Goal::Search(_)) {
            how.breaks.extend(asked.breaks);
            let new = asked.watches.iter().filter(|watch| !how.watches.contains(watch)).copied().collect::<Vec<_>>();
            how.watches.extend(new);
        }
        how.breaks.sort_unstable();
        how.breaks.dedup();
        how
    }

    /// The thread is let go: whatever it comes to next, it has moved.
    pub fn lets_go(&mut self) {
        let segment = self.segment();
        if let Goal::Forward { motion: Motion::Step(thread) | Motion::Range { thread, .. }, moved } = &mut self.goal
            && segment.is_some_and(|segment| segment.thread == *thread)
        {
            *moved = true;
        }
    }

    /// A thread is about to run its own code behind an event.
    pub fn begins(&mut self, beginning: Beginning, asked: Asked<'_>) -> Verdict {
        let Beginning { segment, ip, changed, returned } = beginning;
        let thread = segment.thread;
        self.here = Place::start(segment);
        self.last.insert(thread, segment);
        self.corner.clear();
        self.seen.clear();
        self.hints.clear();
        let shown = match (changed, returned) {
            (Some(watch), _) => Some(Reason::Watchpoint(thread, watch)),
            (None, Some(number)) => Some(Reason::Return(thread, number)),
            (None, None) => asked.breaks.contains(&ip).then_some(Reason::Breakpoint(thread)),
        };
        match &mut self.goal {
            Goal::Reach(guide, reason) if guide.is_in(segment) && guide.is_done() => Verdict::Stop(*reason),
            Goal::Forward { motion, moved } => match motion {
                Motion::Step(own) if *own == thread && *moved => Verdict::Stop(Reason::Stepped(thread)),
                Motion::Range { thread: own, start, end }
                    if *own == thread && *moved && !(*start..*end).contains(&ip) =>
                {
                    Verdict::Stop(shown.unwrap_or(Reason::Stepped(thread)))
                }
                _ => shown.map_or(Verdict::GoOn, Verdict::Stop),
            },
            Goal::Search(Search { until, last, .. }) => {
                let is_end = until.is_in(segment) && until.is_done();
                match shown {
                    // It was changed by the event: backwards that is seen before it.
                    Some(reason) if changed.is_some() => *last = Some(Shown::at(Place::Before(segment.seq), reason)),
                    Some(reason) if !is_end => *last = Some(Shown::at(self.here.clone(), reason)),
                    _ => {}
                }
                if is_end { self.found() } else { Verdict::GoOn }
            }
            _ => Verdict::GoOn,
        }
    }

    /// Something has happened to the running thread. Where the user has the word then, it is known how to come to the step before.
    pub fn passes(&mut self, passing: &Passing<'_>, asked: Asked<'_>) -> Verdict {
        let done = |course: &Course| course.guide().map_or(0, |guide| guide.done().len());
        let before = done(self);
        let verdict = self.weigh(passing, asked);
        self.turns = verdict == Verdict::GoOn && done(self) > before;
        self.hints = match verdict {
            Verdict::Stop(_) => (passing.hints)(),
            _ => Vec::new(),
        };
        verdict
    }

    fn weigh(&mut self, passing: &Passing<'_>, asked: Asked<'_>) -> Verdict {
        let Passing { mark, accessed, arrives, ip, hints } = *passing;
        self.here.go_on(mark);
        let Some(segment) = self.segment() else { return Verdict::GoOn };
        let thread = segment.thread;
        let touched = match mark {
            Mark::Access(watch) => Some(watch),
            _ => accessed,
        };
        let shown = match touched.filter(|watch| asked.watches.contains(watch)) {
            Some(watch) => Some(Reason::Watchpoint(thread, watch)),
            None => asked.breaks.contains(&ip).then_some(Reason::Breakpoint(thread)),
        };
        match &mut self.goal {
            Goal::Reach(guide, reason) => {
                if guide.is_in(segment) && guide.passes(mark) && guide.is_done() {
                    return Verdict::Stop(*reason);
                }
                Verdict::GoOn
            }
            Goal::Forward { motion, .. } => {
                let stepped = mark == Mark::Step
                    && match motion {
                        Motion::Continue => false,
                        Motion::Step(own) => *own == thread,
                        Motion::Range { thread: own, start, end } => *own == thread && !(*start..*end).contains(&ip),
                    };
                shown.or(stepped.then_some(Reason::Stepped(thread))).map_or(Verdict::GoOn, Verdict::Stop)
            }
            Goal::Search(Search { until, last, .. }) => {
                let is_near = until.is_in(segment);
                let is_on_way = is_near && until.next() == Some(mark);
                let second = Mark::Arrival(ip);
                let is_corner = is_near && (until.passes(mark) || arrives && until.passes(second));
                if is_near && until.is_done() {
                    // One stands behind it, so that it is the first thing backwards.
                    if let Some(reason @ Reason::Watchpoint(..)) = shown {
                        *last = Some(Shown { place: until.place().clone(), reason, hints: hints() });
                    }
                    return self.found();
                }
                if is_corner {
                    self.corner = until.done().to_vec();
                    self.seen.clear();
                }
                let count = *self.seen.entry(mark).and_modify(|count| *count += 1).or_insert(u64::from(!is_corner));
                if arrives {
                    self.seen.entry(second).and_modify(|count| *count += 1).or_insert(u64::from(!is_corner));
                }
                if let Some(reason) = shown {
                    let legs = if is_on_way {
                        until.so_far()
                    } else {
                        let mut legs = self.corner.clone();
                        legs.push(Leg::so_often(mark, count));
                        legs
                    };
                    // To a breakpoint one comes as it is told: what is before it is not asked for.
                    let hints = if let Reason::Watchpoint(..) = reason { hints() } else { Vec::new() };
                    *last = Some(Shown { place: Place::In { segment, legs }, reason, hints });
                }
                Verdict::GoOn
            }
            Goal::Hunt(hunt) if hunt.start().is_in(segment) => {
                let outcome = hunt.passes(mark, touched.is_some(), ip);
                self.take(outcome)
            }
            Goal::Hunt(_) => Verdict::GoOn,
        }
    }

    /// The event of a thread is about to be applied. `shown`: why the user would be shown it.
    pub fn before(&mut self, seq: u64, thread: u32, shown: Option<Reason>) -> Verdict {
        self.here = Place::Before(seq);
        self.next = thread;
        let is_past = |guide: &Guide| matches!(guide.place(), Place::In { segment, .. } if segment.thread == thread && segment.seq < seq);
        match &mut self.goal {
            Goal::Reach(guide, reason) if *guide.place() == Place::Before(seq) => Verdict::Stop(*reason),
            // The way leads nowhere: it was told wrong, and the user ought to see where the replay is.
            Goal::Reach(guide, _) if is_past(guide) => Verdict::Stop(Reason::Interrupted),
            Goal::Reach(..) => Verdict::GoOn,
            Goal::Forward { .. } => shown.map_or(Verdict::GoOn, Verdict::Stop),
            Goal::Search(Search { until, last, .. }) => {
                if *until.place() == Place::Before(seq) || is_past(until) {
                    return self.found();
                }
                if let Some(reason) = shown {
                    *last = Some(Shown::at(Place::Before(seq), reason));
                }
                Verdict::GoOn
            }
            Goal::Hunt(hunt) if is_past(hunt.start()) => self.ends(),
            Goal::Hunt(_) => Verdict::GoOn,
        }
    }

    /// Instructions that may have been the last one before the present moment, where the user has the word.
    pub fn may_have_come_by(&mut self, hints: Vec<u64>) {
        self.hints = hints;
    }

    /// Whether the goal, or the way to it, is in a segment.
    #[must_use]
    pub fn leads_into(&self, segment: Segment) -> bool {
        self.guide().is_some_and(|guide| guide.is_in(segment))
    }

    fn guide(&self) -> Option<&Guide> {
        match &self.goal {
            Goal::Reach(guide, _) => Some(guide),
            Goal::Search(search) => Some(&search.until),
            Goal::Hunt(hunt) => Some(hunt.start()),
            Goal::Forward { .. } => None,
        }
    }

    fn guide_mut(&mut self) -> Option<&mut Guide> {
        match &mut self.goal {
            Goal::Reach(guide, _) => Some(guide),
            Goal::Search(search) => Some(&mut search.until),
            Goal::Hunt(hunt) => Some(hunt.start_mut()),
            Goal::Forward { .. } => None,
        }
    }

    /// Whether the next pass may begin where these legs lead in a segment. Then it does.
    pub fn begins_at(&mut self, segment: Segment, legs: &[Leg]) -> bool {
        match &mut self.goal {
            Goal::Search(search) if search.vain.is_some_and(|vain| legs.len() >= vain) => return false,
            Goal::Search(search) => search.began = Some(legs.len()),
            _ => {}
        }
        let is_search = matches!(self.goal, Goal::Search(_));
        // There is nothing to search between a place and itself.
        let will_do =
            |guide: &mut Guide| guide.is_in(segment) && guide.begin_behind(legs) && !(is_search && guide.is_done());
        if !self.guide_mut().is_some_and(will_do) {
            if let Goal::Search(search) = &mut self.goal {
                search.began = None;
            }
            return false;
        }
        self.here = Place::In { segment, legs: legs.to_vec() };
        self.corner = legs.to_vec();
        self.seen.clear();
        self.hints.clear();
        true
    }

    /// What it means that a pass begins where it does.
    #[must_use]
    pub fn is_there(&self) -> Verdict {
        match &self.goal {
            Goal::Reach(guide, reason) if guide.is_done() => Verdict::Stop(*reason),
            _ => Verdict::GoOn,
        }
    }

    /// The legs to where the thread stands, when ways will begin there again: the last of them has just been done, or the goal is not far.
    #[must_use]
    pub fn corner(&self) -> Option<Vec<Leg>> {
        /// Steps: tens of milliseconds, and one or two.
        const NOT_FAR: [u64; 2] = [4096, 256];
        let guide = self.guide()?;
        if self.turns {
            return Some(guide.done().to_vec());
        }
        guide.steps_left().filter(|left| NOT_FAR.contains(left)).map(|_| guide.so_far())
    }

    /// The thread has come to its next event.
    pub fn ends(&mut self) -> Verdict {
        let Goal::Hunt(hunt) = &mut self.goal else { return Verdict::GoOn };
        let outcome = hunt.found();
        self.take(outcome)
    }

    fn take(&mut self, outcome: Outcome) -> Verdict {
        let Goal::Hunt(hunt) = &self.goal else { return Verdict::GoOn };
        let reason = hunt.reason;
        match outcome {
            Outcome::GoOn => return Verdict::GoOn,
            Outcome::Again => {}
            Outcome::Before(place) => self.goal = Goal::Reach(Guide::to(place), reason),
            // There the thread stands at what is its next event, and before it there was another event or a corner.
            Outcome::NotBefore(place) => return self.step_back(Shown::at(place, reason)),
        }
        Verdict::Rewind
    }

    /// The user has said how to go on.
    pub fn request(&mut self, request: Request) -> Verdict {
        match request {
            Request::Go(motion) => {
                let is_next = |thread: u32| matches!(self.here, Place::Before(_)) && self.next == thread;
                let moved = match motion {
                    Motion::Continue => false,
                    // Its next step is the event.
                    Motion::Step(thread) | Motion::Range { thread, .. } => is_next(thread),
                };
                self.goal = Goal::Forward { motion, moved };
                Verdict::GoOn
            }
            Request::BackContinue if self.here == Place::start(self.start) => Verdict::Stop(Reason::Begin),
            Request::BackContinue => {
                let until = Guide::to(self.here.clone());
                self.goal = Goal::Search(Search { until, last: None, began: None, vain: None, barren: 0 });
                Verdict::Rewind
            }
            Request::BackStep(thread) => {
                let reason = Reason::Stepped(thread);
                self.step_back(Shown { place: self.here.clone(), reason, hints: self.hints.clone() })
            }
        }
    }

    /// Towards the instruction before a place.
    fn step_back(&mut self, Shown { place, reason, hints }: Shown) -> Verdict {
        let begin = (Place::start(self.start), Reason::Begin);
        let (place, reason) = match place.findable() {
            Place::Before(_) => match self.last.get(&self.next) {
                Some(segment) => {
                    let hunt = Hunt::new(Place::start(*segment), End::Event, hints, reason);
                    self.goal = Goal::Hunt(Box::new(hunt));
                    return Verdict::Rewind;
                }
                None => begin,
            },
            Place::In { segment, mut legs } => match legs.pop().and_then(|leg| leg.marks()) {
                Some((mark, count)) => {
                    if count > 1 {
                        legs.push(Leg::so_often(mark, count - 1));
                    }
                    let from = Place::In { segment, legs };
                    if mark != Mark::Step {
                        self.goal = Goal::Hunt(Box::new(Hunt::new(from, End::Mark(mark), hints, reason)));
                        return Verdict::Rewind;
                    }
                    (from, reason)
                }
                None if segment == self.start && self.here == begin.0 => return Verdict::Stop(Reason::Begin),
                None if segment == self.start => begin,
                None => (Place::Before(segment.seq), reason),
            },
        };
        self.goal = Goal::Reach(Guide::to(place), reason);
        Verdict::Rewind
    }

    /// A search is over.
    fn found(&mut self) -> Verdict {
        let Goal::Search(search) = &mut self.goal else { return Verdict::GoOn };
        let shown = match (search.last.take(), search.began.take()) {
            (Some(shown), _) => shown,
            // Not behind where the pass began.
            (None, began @ Some(_)) => {
                search.vain = began;
                search.until.begin_anew();
                return Verdict::Rewind;
            }
            // Not behind the state where the pass began: from an earlier one, twice as far away.
            (None, None) if self.state.is_some() => {
                search.barren = 2 * search.barren + 1;
                search.vain = Some(0);
                search.until.begin_anew();
                return Verdict::Rewind;
            }
            (None, None) => Shown::at(Place::start(self.start), Reason::Begin),
        };
        // Backwards one comes to an access from behind, and stops before it.
        if matches!(shown.reason, Reason::Watchpoint(..)) && matches!(shown.place, Place::In { .. }) {
            return self.step_back(shown);
        }
        self.goal = Goal::Reach(Guide::to(shown.place), shown.reason);
        Verdict::Rewind
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::replay::debug::place::Access;

    /// A thread's code: the addresses that it comes to behind each event, and the memory that each instruction writes. Whether the
    /// instruction before each is known, how many steps it was run by, and whether there is a state before the second segment to go back to.
    struct Program(Vec<Vec<(u64, Option<u64>)>>, bool, Cell<u64>, bool);

    const THREAD: u32 = 3;
    const START: Segment = Segment { seq: 0, thread: THREAD };

    fn watch(addr: u64) -> Watch {
        Watch { addr, length: 8, kind: Access::Write }
    }

    impl Program {
        /// Two segments: a loop of three turns that writes to 100 in each, and a straight piece that passes the loop's head once.
        fn new(has_hints: bool, has_state: bool) -> Program {
            let turn = [(10, None), (11, Some(100)), (12, None)];
            let looped: Vec<(u64, Option<u64>)> =
                [(1, None)].into_iter().chain(turn).chain(turn).chain(turn).chain([(20, None)]).collect();
            let straight = vec![(21, None), (10, None), (30, Some(200)), (31, None)];
            Program(vec![looped, straight], has_hints, Cell::new(0), has_state)
        }

        /// Runs to the next stop; where that is: the segment and how many instructions were executed in it, or before which event.
        fn run(
            &self,
            course: &mut Course,
            from: &mut (usize, usize),
            breaks: &[u64],
            watches: &[u64],
        ) -> (Reason, (usize, usize)) {
            let breaks: BTreeSet<u64> = breaks.iter().copied().collect();
            let watches: Vec<Watch> = watches.iter().map(|addr| watch(*addr)).collect();
            let asked = Asked { breaks: &breaks, watches: &watches };
            'pass: for _ in 0..10 {
                while from.0 < self.0.len() {
                    let code = &self.0[from.0];
                    let segment = Segment { seq: from.0 as u64 * 10, thread: THREAD };
                    // Behind its last instruction a thread stands at its next call.
                    while from.1 < code.len() {
                        let how = course.how(asked);
                        let written = code[from.1].1;
                        course.lets_go();
                        from.1 += 1;
                        let ip = code.get(from.1).map_or(99, |next| next.0);
                        let accessed = written.map(watch).filter(|watch| how.watches.contains(watch));
                        let before = code[from.1 - 1].0;
                        let hints = || if self.1 { vec![77, before] } else { vec![77] };
                        let mut pass = |mark, accessed| {
                            course.passes(&Passing { mark, accessed, arrives: false, ip, hints: &hints }, asked)
                        };
                        let verdict = if from.1 == code.len() {
                            // The call itself: no step ends.
                            Verdict::GoOn
                        } else if how.steps {
                            self.2.set(self.2.get() + 1);
                            pass(Mark::Step, accessed)
                        } else if let Some(watch) = accessed {
                            pass(Mark::Access(watch), None)
                        } else if how.breaks.contains(&ip) {
                            pass(Mark::Arrival(ip), None)
                        } else if how.watches.contains(&arrival(ip)) {
                            pass(Mark::Access(arrival(ip)), None)
                        } else {
                            Verdict::GoOn
                        };
                        match verdict {
                            Verdict::GoOn => {}
                            Verdict::Stop(reason) => return (reason, *from),
                            Verdict::Rewind => {
                                if let Err(stop) = self.rewind(course, from, asked) {
                                    return stop;
                                }
                                continue 'pass;
                            }
                        }
                    }
                    let seq = segment.seq + 10;
                    let is_end = from.0 + 1 == self.0.len();
                    let verdict = course.before(seq, THREAD, is_end.then_some(Reason::End));
                    match verdict {
                        Verdict::Stop(reason) => return (reason, (from.0, from.1)),
                        Verdict::Rewind => {
                            if let Err(stop) = self.rewind(course, from, asked) {
                                return stop;
                            }
                            continue 'pass;
                        }
                        Verdict::GoOn => {}
                    }
                    *from = (from.0 + 1, 0);
                    if from.0 < self.0.len()
                        && let Err(stop) = self.begin(course, *from, asked)
                    {
                        return stop;
                    }
                }
                unreachable!("the end is a stop");
            }
            unreachable!("it went round");
        }

        /// Back to the state, where there is one and that will do, or to the beginning.
        fn rewind(
            &self,
            course: &mut Course,
            from: &mut (usize, usize),
            asked: Asked<'_>,
        ) -> Result<(), (Reason, (usize, usize))> {
            const STATE: u64 = 10;
            if self.3 && matches!(course.needs(), (STATE.., 0)) {
                course.begins_from(Some(STATE), HashMap::from([(THREAD, START)]));
                *from = (0, self.0[0].len());
                return Ok(());
            }
            course.begins_from(None, HashMap::new());
            *from = (0, 0);
            self.begin(course, *from, asked)
        }

        fn begin(
            &self,
            course: &mut Course,
            from: (usize, usize),
            asked: Asked<'_>,
        ) -> Result<(), (Reason, (usize, usize))> {
            let segment = Segment { seq: from.0 as u64 * 10, thread: THREAD };
            let beginning = Beginning { segment, ip: self.0[from.0][0].0, changed: None, returned: None };
            match course.begins(beginning, asked) {
                Verdict::Stop(reason) => Err((reason, from)),
                _ => Ok(()),
            }
        }
    }

    /// A debugger at the program: what it says, and where the program stops then.
    struct Session {
        program: Program,
        course: Course,
        at: (usize, usize),
    }

    impl Session {
        fn new() -> Session {
            Session::with(true, false)
        }

        /// Whether instructions before others are known, and whether there is a state in the middle.
        fn with(has_hints: bool, has_state: bool) -> Session {
            let program = Program::new(has_hints, has_state);
            let mut course = Course::new(START, Place::start(START));
            let none = BTreeSet::new();
            let first = program.begin(&mut course, (0, 0), Asked { breaks: &none, watches: &[] });
            assert_eq!(first, Err((Reason::Connected, (0, 0))));
            Session { program, course, at: (0, 0) }
        }

        fn say(&mut self, request: Request, breaks: &[u64], watches: &[u64]) -> (Reason, (usize, usize)) {
            let (set, watched): (BTreeSet<u64>, Vec<Watch>) =
                (breaks.iter().copied().collect(), watches.iter().map(|addr| watch(*addr)).collect());
            let asked = Asked { breaks: &set, watches: &watched };
            match self.course.request(request) {
                Verdict::Stop(reason) => return (reason, self.at),
                Verdict::Rewind => {
                    if let Err(stop) = self.program.rewind(&mut self.course, &mut self.at, asked) {
                        return stop;
                    }
                }
                Verdict::GoOn => {
                    // Before an event the next thing is the event.
                    if self.at.1 == self.program.0[self.at.0].len() {
                        self.at = (self.at.0 + 1, 0);
                        if let Err(stop) = self.program.begin(&mut self.course, self.at, asked) {
                            return stop;
                        }
                    }
                }
            }
            self.program.run(&mut self.course, &mut self.at, breaks, watches)
        }
    }

    const ON: Request = Request::Go(Motion::Continue);
    const STEP: Request = Request::Go(Motion::Step(THREAD));
    const BACK: Request = Request::BackContinue;
    const STEP_BACK: Request = Request::BackStep(THREAD);
    const BREAK: Reason = Reason::Breakpoint(THREAD);
    const STEPPED: Reason = Reason::Stepped(THREAD);

    #[test]
    fn breakpoints_stop_at_each_turn_in_both_directions() {
        [false, true].into_iter().for_each(stops_at_breakpoints);
    }

    fn stops_at_breakpoints(has_state: bool) {
        let mut session = Session::with(true, has_state);
        let there: Vec<_> = (0..4).map(|_| session.say(ON, &[10], &[])).collect();
        assert_eq!(there, [(BREAK, (0, 1)), (BREAK, (0, 4)), (BREAK, (0, 7)), (BREAK, (1, 1))]);
        assert_eq!(session.say(ON, &[10], &[]).0, Reason::End);
        let back: Vec<_> = (0..5).map(|_| session.say(BACK, &[10], &[])).collect();
        let begin = (Reason::Begin, (0, 0));
        assert_eq!(back, [(BREAK, (1, 1)), (BREAK, (0, 7)), (BREAK, (0, 4)), (BREAK, (0, 1)), begin]);
        assert_eq!(session.say(BACK, &[10], &[]), begin);
        // And there again, with others.
        assert_eq!(session.say(ON, &[20], &[]), (BREAK, (0, 10)));
        assert_eq!(session.say(BACK, &[12], &[]), (BREAK, (0, 9)));
        assert_eq!(session.say(ON, &[12, 21], &[]), (BREAK, (1, 0)));
    }

    #[test]
    fn steps_lead_back_where_they_came_from() {
        [false, true].into_iter().for_each(steps_lead_back);
    }

    fn steps_lead_back(has_state: bool) {
        let mut session = Session::with(true, has_state);
        let mut places = vec![(0, 0)];
        loop {
            let (reason, at) = session.say(STEP, &[], &[]);
            if reason == Reason::End {
                break;
            }
            assert_eq!(reason, STEPPED);
            places.push(at);
        }
        assert_eq!(places.len(), 11 + 4);
        for expected in places[..places.len() - 1].iter().rev() {
            let (reason, at) = session.say(STEP_BACK, &[], &[]);
            // Before an event the thread stands at its call, as it does behind the step to it.
            let at = if at.1 == session.program.0[at.0].len() { (at.0, at.1 - 1) } else { at };
            assert_eq!((reason, at), (STEPPED, *expected));
        }
        assert_eq!(session.say(STEP_BACK, &[], &[]).0, Reason::Begin);
    }

    #[test]
    fn the_step_before_a_breakpoint_is_found() {
        let mut session = Session::new();
        session.say(ON, &[10], &[]);
        session.say(ON, &[10], &[]);
        assert_eq!(session.say(STEP_BACK, &[10], &[]), (STEPPED, (0, 3)));
        assert_eq!(session.say(STEP_BACK, &[10], &[]), (STEPPED, (0, 2)));
        assert_eq!(session.say(STEP, &[], &[]), (STEPPED, (0, 3)));
    }

    #[test]
    fn the_instruction_before_an_access_is_found_without_steps_where_it_is_known() {
        let reason = Reason::Watchpoint(THREAD, watch(100));
        for has_hints in [true, false] {
            let mut session = Session::with(has_hints, false);
            session.say(ON, &[20], &[]);
            assert_eq!(session.say(BACK, &[], &[100]), (reason, (0, 8)));
            // Where it is known one step shows that it is the one.
            assert_eq!(session.program.2.get() == 1, has_hints);
        }
    }

    #[test]
    fn watched_memory_stops_behind_the_write_and_backwards_before_it() {
        for has_hints in [true, false] {
            for has_state in [true, false] {
                stops_at_writes(has_hints, has_state);
            }
        }
    }

    fn stops_at_writes(has_hints: bool, has_state: bool) {
        let mut session = Session::with(has_hints, has_state);
        let reason = Reason::Watchpoint(THREAD, watch(100));
        let there: Vec<_> = (0..3).map(|_| session.say(ON, &[], &[100])).collect();
        assert_eq!(there, [(reason, (0, 3)), (reason, (0, 6)), (reason, (0, 9))]);
        // What one stands behind is the first thing that one comes to.
        assert_eq!(session.say(BACK, &[], &[100]), (reason, (0, 8)));
        assert_eq!(session.say(ON, &[], &[100]), (reason, (0, 9)));
        assert_eq!(session.say(ON, &[], &[100]).0, Reason::End);
        let back: Vec<_> = (0..3).map(|_| session.say(BACK, &[], &[100])).collect();
        assert_eq!(back, [(reason, (0, 8)), (reason, (0, 5)), (reason, (0, 2))]);
        assert_eq!(session.say(BACK, &[], &[100]), (Reason::Begin, (0, 0)));
    }

    #[test]
    fn a_range_is_stepped_through() {
        let mut session = Session::new();
        let range = Request::Go(Motion::Range { thread: THREAD, start: 10, end: 13 });
        session.say(ON, &[10], &[]);
        assert_eq!(session.say(range, &[], &[]), (STEPPED, (0, 10)));
        assert_eq!(session.say(BACK, &[11], &[]), (BREAK, (0, 8)));
    }
}
