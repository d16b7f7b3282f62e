//! Where a debugged replay goes, and where it stops: decides by what happens to the program, and touches nothing of it.

use std::collections::{BTreeSet, HashMap};

use super::place::{Access, Guide, Leg, Mark, Place, Segment, Watch};
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

/// Where a way ends whose last step is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Mark(Mark),
    /// The thread's next event.
    Event,
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
    Search { until: Guide, last: Option<Shown> },
    /// From a moment to the next mark, for which of some instructions is the last one before it, and how often it was come to.
    Count { from: Guide, to: Mark, passed: Vec<(u64, u64)>, last: Option<u64>, reason: Reason },
    /// From a moment step by step, to see how many there are to the end.
    Trail { from: Guide, to: End, steps: u64, reason: Reason },
}

/// Arrivals at an instruction as the processor watches for them: code need not be written for that.
fn arrival(addr: u64) -> Watch {
    Watch { addr, length: 1, kind: Access::Execute }
}

/// What has happened to a running thread.
#[derive(Clone, Copy)]
pub struct Passing<'a> {
    pub mark: Mark,
    /// Watched memory that a step has touched.
    pub accessed: Option<Watch>,
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
    /// Marks since the way to the goal last came to a corner.
    seen: HashMap<Mark, u64>,
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
            seen: HashMap::new(),
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

    /// All is replayed from the beginning.
    pub fn begin_anew(&mut self) {
        self.seen.clear();
        self.last.clear();
        self.here = Place::start(self.start);
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
            Goal::Trail { from, to, .. } => {
                follow(from);
                if from.is_in(segment) && from.is_done() {
                    how.steps = true;
                    if let End::Mark(Mark::Access(watch)) = to {
                        how.watches.push(*watch);
                    }
                }
            }
            Goal::Count { from, to, passed, .. } => {
                follow(from);
                if from.is_in(segment) && from.is_done() {
                    match *to {
                        Mark::Step => {}
                        Mark::Arrival(ip) => how.breaks.push(ip),
                        Mark::Access(watch) => how.watches.push(watch),
                    }
                    how.watches.extend(passed.iter().map(|(addr, _)| arrival(*addr)));
                }
            }
            Goal::Search { until, .. } => follow(until),
            Goal::Forward { motion, .. } => match motion {
                Motion::Continue => {}
                Motion::Step(thread) | Motion::Range { thread, .. } => how.steps = *thread == segment.thread,
            },
        }
        if matches!(self.goal, Goal::Forward { .. } | Goal::Search { .. }) {
            how.breaks.extend(asked.breaks);
            how.breaks.sort_unstable();
            how.breaks.dedup();
            let new = asked.watches.iter().filter(|watch| !how.watches.contains(watch)).copied().collect::<Vec<_>>();
            how.watches.extend(new);
        }
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
            Goal::Search { until, last } => {
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
        let verdict = self.weigh(passing, asked);
        self.hints = match verdict {
            Verdict::Stop(_) => (passing.hints)(),
            _ => Vec::new(),
        };
        verdict
    }

    fn weigh(&mut self, passing: &Passing<'_>, asked: Asked<'_>) -> Verdict {
        let Passing { mark, accessed, ip, hints } = *passing;
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
            Goal::Search { until, last } => {
                let is_near = until.is_in(segment);
                let is_on_way = is_near && until.next() == Some(mark);
                let is_corner = is_near && until.passes(mark);
                if is_near && until.is_done() {
                    // One stands behind it, so that it is the first thing backwards.
                    if let Some(reason @ Reason::Watchpoint(..)) = shown {
                        *last = Some(Shown { place: until.place().clone(), reason, hints: hints() });
                    }
                    return self.found();
                }
                if is_corner {
                    self.seen.clear();
                }
                let count = *self.seen.entry(mark).and_modify(|count| *count += 1).or_insert(u64::from(!is_corner));
                if let Some(reason) = shown {
                    let legs = if is_on_way {
                        until.so_far()
                    } else {
                        let mut legs = if is_near { until.done().to_vec() } else { Vec::new() };
                        legs.push(Leg::so_often(mark, count));
                        legs
                    };
                    *last = Some(Shown { place: Place::In { segment, legs }, reason, hints: hints() });
                }
                Verdict::GoOn
            }
            Goal::Count { from, to, passed, last, .. } => {
                if !from.is_in(segment) {
                    return Verdict::GoOn;
                }
                if !from.is_done() {
                    from.passes(mark);
                    return Verdict::GoOn;
                }
                if mark == *to {
                    return self.counted();
                }
                if let Some((addr, count)) = passed.iter_mut().find(|(addr, _)| mark == Mark::Access(arrival(*addr))) {
                    *count += 1;
                    *last = Some(*addr);
                }
                Verdict::GoOn
            }
            Goal::Trail { from, to, steps, .. } => {
                if !from.is_in(segment) {
                    return Verdict::GoOn;
                }
                if !from.is_done() {
                    from.passes(mark);
                    return Verdict::GoOn;
                }
                *steps += u64::from(mark == Mark::Step);
                let is_end = match to {
                    End::Mark(Mark::Arrival(addr)) => *addr == ip,
                    End::Mark(Mark::Access(watch)) => touched == Some(*watch),
                    End::Mark(Mark::Step) => true,
                    End::Event => false,
                };
                if is_end { self.trailed() } else { Verdict::GoOn }
            }
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
            Goal::Search { until, last } => {
                if *until.place() == Place::Before(seq) || is_past(until) {
                    return self.found();
                }
                if let Some(reason) = shown {
                    *last = Some(Shown::at(Place::Before(seq), reason));
                }
                Verdict::GoOn
            }
            Goal::Count { from, .. } if is_past(from) => self.counted(),
            Goal::Count { .. } => Verdict::GoOn,
            Goal::Trail { from, .. } if is_past(from) => self.trailed(),
            Goal::Trail { .. } => Verdict::GoOn,
        }
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
                self.goal = Goal::Search { until: Guide::to(self.here.clone()), last: None };
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
                    let from = Guide::to(Place::start(*segment));
                    self.goal = Goal::Trail { from, to: End::Event, steps: 0, reason };
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
                        let (from, passed) = (Guide::to(from), hints.into_iter().map(|addr| (addr, 0)).collect());
                        self.goal = Goal::Count { from, to: mark, passed, last: None, reason };
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
        let Goal::Search { last, .. } = &mut self.goal else { return Verdict::GoOn };
        let shown = last.take().unwrap_or_else(|| Shown::at(Place::start(self.start), Reason::Begin));
        // Backwards one comes to an access from behind, and stops before it.
        if matches!(shown.reason, Reason::Watchpoint(..)) && matches!(shown.place, Place::In { .. }) {
            return self.step_back(shown);
        }
        self.goal = Goal::Reach(Guide::to(shown.place), shown.reason);
        Verdict::Rewind
    }

    /// The mark has been reached behind which instructions were counted. Where it was none of them, single steps find it.
    fn counted(&mut self) -> Verdict {
        let Goal::Count { from, to, passed, last, reason } = &self.goal else { return Verdict::GoOn };
        let found = last.and_then(|last| passed.iter().find(|(addr, _)| *addr == last));
        let (place, to, reason) = (from.place().clone(), *to, *reason);
        self.goal = match (found, place) {
            (Some((ip, count)), Place::In { segment, mut legs }) => {
                legs.push(Leg::Arrivals { ip: *ip, count: *count });
                Goal::Reach(Guide::to(Place::In { segment, legs }), reason)
            }
            (_, place) => Goal::Trail { from: Guide::to(place), to: End::Mark(to), steps: 0, reason },
        };
        Verdict::Rewind
    }

    /// The end of a trail has been reached: the place before it is known.
    fn trailed(&mut self) -> Verdict {
        let Goal::Trail { from, steps, reason, .. } = &self.goal else { return Verdict::GoOn };
        let mut place = from.place().clone();
        let reason = *reason;
        match (*steps, &place) {
            // There the thread stands at the call that is its next event, and before it there was another event.
            (0, Place::In { segment, legs }) if legs.is_empty() => {
                let (place, reason) = if *segment == self.start {
                    (Place::start(self.start), Reason::Begin)
                } else {
                    (Place::Before(segment.seq), reason)
                };
                self.goal = Goal::Reach(Guide::to(place), reason);
                return Verdict::Rewind;
            }
            (steps, _) => (1..steps).for_each(|_| place.go_on(Mark::Step)),
        }
        self.goal = Goal::Reach(Guide::to(place), reason);
        Verdict::Rewind
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A thread's code: the addresses that it comes to behind each event, and the memory that each instruction writes. Whether the
    /// instruction before each is known, and how many steps it was run by.
    struct Program(Vec<Vec<(u64, Option<u64>)>>, bool, Cell<u64>);

    const THREAD: u32 = 3;
    const START: Segment = Segment { seq: 0, thread: THREAD };

    fn watch(addr: u64) -> Watch {
        Watch { addr, length: 8, kind: Access::Write }
    }

    impl Program {
        /// Two segments: a loop of three turns that writes to 100 in each, and a straight piece that passes the loop's head once.
        fn new(has_hints: bool) -> Program {
            let turn = [(10, None), (11, Some(100)), (12, None)];
            let looped: Vec<(u64, Option<u64>)> =
                [(1, None)].into_iter().chain(turn).chain(turn).chain(turn).chain([(20, None)]).collect();
            let straight = vec![(21, None), (10, None), (30, Some(200)), (31, None)];
            Program(vec![looped, straight], has_hints, Cell::new(0))
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
                        let mut pass =
                            |mark, accessed| course.passes(&Passing { mark, accessed, ip, hints: &hints }, asked);
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
                                *from = Program::rewind(course, asked);
                                if let Err(stop) = self.begin(course, *from, asked) {
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
                            *from = Program::rewind(course, asked);
                            if let Err(stop) = self.begin(course, *from, asked) {
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

        fn rewind(course: &mut Course, _: Asked<'_>) -> (usize, usize) {
            course.begin_anew();
            (0, 0)
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
            Session::with_hints(true)
        }

        fn with_hints(has_hints: bool) -> Session {
            let program = Program::new(has_hints);
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
                    self.at = Program::rewind(&mut self.course, asked);
                    if let Err(stop) = self.program.begin(&mut self.course, self.at, asked) {
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
        let mut session = Session::new();
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
        let mut session = Session::new();
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
            let mut session = Session::with_hints(has_hints);
            session.say(ON, &[20], &[]);
            assert_eq!(session.say(BACK, &[], &[100]), (reason, (0, 8)));
            assert_eq!(session.program.2.get() == 0, has_hints);
        }
    }

    #[test]
    fn watched_memory_stops_behind_the_write_and_backwards_before_it() {
        [true, false].into_iter().for_each(stops_at_writes);
    }

    fn stops_at_writes(has_hints: bool) {
        let mut session = Session::with_hints(has_hints);
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
