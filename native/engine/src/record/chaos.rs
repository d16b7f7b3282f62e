//! Turns of a recording that explores schedules: who runs next follows from a seed and from the program alone.
//!
//! All threads of the whole tree take turns, so that processes race with each other as threads do, and no two pieces of
//! code run at the same time. Which thread comes first to a boundary depends on the machine; so nobody takes a turn by coming
//! first. A choice is made when every thread that can come to a stop without another one's help has come there: each has
//! its call behind it, or sleeps in it. Then one of those that could go on is drawn, in the order of their births.
//!
//! A thread in a sleep that it asked for (nanosleep(2)) wakes by a clock that counts boundaries and not nanoseconds, or when
//! nobody else can run; it is waited for then.

use std::time::Duration;

use libc::pid_t;
use trace_format::event::Side;

use super::{Recorder, World};
use crate::capture::Call;
use crate::memory::word_of;
use crate::place::Place;
use crate::sys;
use crate::task::Task;

/// A choice is made without those that are still on their way after this time.
const SETTLES_NS: u64 = 1_000_000_000;
/// How much of it may pass from one look to the next: while a machine stands still nobody is on his way.
const LOOK_NS: u64 = 1_000_000;
/// How long nothing is done while threads are on their way.
const NAP: Duration = Duration::from_micros(10);
/// Looks at all threads that have to agree: what was on its way during the first one may have woken another before the second.
const LOOKS: u32 = 2;
/// What a boundary counts on the clock of sleepers: about what a stop costs.
const BOUNDARY_NS: u64 = 20_000;
/// A thread that computes so long without a call is stopped, wherever it is, so that others run.
const COMPUTES_NS: u64 = 200_000_000;
/// A sleeper that is back goes on after so many times what it has asked for, and no less than this, whatever their clock says.
const OVERDUE: u64 = 4;
const LEAST_OVERDUE_NS: u64 = 2_000_000_000;

/// The turn of all threads, and what decides who has it.
pub(super) struct Chaos {
    random: Random,
    /// One in so many boundaries is a hand-over: by the seed, so that both long and short runs come about.
    one_in: u64,
    holder: Option<pid_t>,
    /// Stopped until they get the turn.
    waiting: Vec<pid_t>,
    /// Nobody has the turn, and somebody waits for it.
    is_due: bool,
    /// The last holder, which entered a call: it goes on like others that pass a boundary when it comes back at once.
    last: Option<pid_t>,
    /// The last holder is to let another one run.
    yields: bool,
    /// The clock of sleepers.
    clock: u64,
    sleepers: Vec<Sleeper>,
    /// Who computes since its last boundary, and what its process had run when that was seen first.
    computes: Option<(pid_t, u64)>,
    /// Looks while a choice is due.
    looked: Option<Looked>,
}

impl Chaos {
    pub fn new(seed: u64) -> Chaos {
        let mut random = Random(seed);
        let one_in = 2 << random.below(5);
        Chaos {
            random,
            one_in,
            holder: None,
            waiting: Vec::new(),
            is_due: false,
            last: None,
            yields: false,
            clock: 0,
            sleepers: Vec::new(),
            computes: None,
            looked: None,
        }
    }

    /// Whether the thread has the turn; it waits for it otherwise.
    pub fn take(&mut self, tid: pid_t) -> bool {
        if self.holder == Some(tid) {
            return true;
        }
        if !self.waiting.contains(&tid) {
            self.waiting.push(tid);
        }
        self.due(self.holder.is_none());
        false
    }

    /// The thread neither has the turn nor waits for it any more.
    pub fn release(&mut self, tid: pid_t) {
        self.waiting.retain(|waiting| *waiting != tid);
        self.woke(tid);
        if self.holder == Some(tid) {
            self.holder = None;
            self.last = Some(tid);
            self.yields = false;
        }
        self.due(self.holder.is_none() && !self.waiting.is_empty());
    }

    fn due(&mut self, is_due: bool) {
        self.is_due = is_due;
        if !is_due {
            self.looked = None;
        }
    }

    /// The thread waits for its next turn, and others come first.
    pub fn yield_to_next(&mut self, tid: pid_t) {
        self.release(tid);
        self.take(tid);
        self.give_way(tid);
    }

    /// The thread has given its turn up for others to run.
    pub fn give_way(&mut self, tid: pid_t) {
        self.yields |= self.last == Some(tid);
    }

    /// The holder passes a boundary: whether it is a hand-over.
    pub fn is_over(&mut self) -> bool {
        self.clock += BOUNDARY_NS;
        self.random.below(self.one_in) == 0
    }

    pub fn contended(&self) -> Option<pid_t> {
        self.holder.filter(|_| !self.waiting.is_empty())
    }

    /// The thread, which has just given up its turn, sleeps for so long.
    pub fn sleeps(&mut self, tid: pid_t, nanoseconds: u64) {
        let (until, came) = (self.clock.saturating_add(nanoseconds), None);
        self.sleepers.push(Sleeper { tid, until, nanoseconds, came });
    }

    /// The thread does not sleep any more, whatever the clock says.
    pub fn woke(&mut self, tid: pid_t) {
        self.sleepers.retain(|sleeper| sleeper.tid != tid);
    }

    /// Nanoseconds that a thread has computed since its last boundary, as far as that was watched; `ran` is what its process
    /// has run, and `begins` says that there was a boundary since it was asked last.
    pub fn computed(&mut self, tid: pid_t, ran: u64, begins: bool) -> u64 {
        match self.computes {
            Some((known, since)) if known == tid && !begins => ran.saturating_sub(since),
            _ => {
                self.computes = Some((tid, ran));
                0
            }
        }
    }

    /// Whether a thread that waits may go on by the clock of sleepers.
    fn is_awake(&self, tid: pid_t) -> bool {
        self.sleepers.iter().all(|sleeper| sleeper.tid != tid || sleeper.until <= self.clock)
    }

    /// The clock goes on to the first of the sleepers, when nobody else can run. Whether that one has come.
    fn sleep_on(&mut self, now: u64, order: impl Fn(pid_t) -> u32) -> bool {
        for sleeper in &mut self.sleepers {
            if sleeper.came.is_none() && self.waiting.contains(&sleeper.tid) {
                sleeper.came = Some(now);
            }
        }
        // Who computes for long without a boundary does not keep sleepers for ever.
        let is_overdue = |sleeper: &&Sleeper| {
            let patience = sleeper.nanoseconds.saturating_mul(OVERDUE).max(LEAST_OVERDUE_NS);
            sleeper.came.is_some_and(|came| now.saturating_sub(came) > patience)
        };
        let overdue = self.sleepers.iter().filter(is_overdue).map(|sleeper| sleeper.until).max();
        self.clock = self.clock.max(overdue.unwrap_or(0));
        if self.waiting.iter().any(|tid| self.is_awake(*tid)) {
            return true;
        }
        let Some(first) = self.sleepers.iter().min_by_key(|sleeper| (sleeper.until, order(sleeper.tid))) else {
            return true;
        };
        let has_come = self.waiting.contains(&first.tid);
        if has_come {
            self.clock = self.clock.max(first.until);
        }
        has_come
    }

    /// Gives the turn to one of `ready`, which are those that wait, in the order of their births.
    fn choose(&mut self, ready: &[pid_t]) -> Option<pid_t> {
        let last = self.last.take().filter(|last| ready.contains(last));
        let yields = std::mem::take(&mut self.yields);
        let others: Vec<pid_t> = ready.iter().copied().filter(|tid| Some(*tid) != last).collect();
        let keeps = |own: &mut Chaos| others.is_empty() || !(yields || own.is_over());
        let next = match last {
            Some(last) if keeps(self) => Some(last),
            _ if others.len() > 1 => {
                let drawn = self.random.below(others.len() as u64) as usize;
                others.get(drawn).copied()
            }
            _ => others.first().copied(),
        };
        if let Some(next) = next {
            self.waiting.retain(|waiting| *waiting != next);
            self.woke(next);
        }
        self.holder = next;
        self.due(false);
        next
    }
}

/// What looks at all threads have found, until a choice is made.
struct Looked {
    /// When the last look was.
    at: u64,
    /// How long threads have been on their way.
    waited: u64,
    /// How many looks in a row have found all of them settled.
    settled: u32,
}

/// A thread that sleeps because it asked to.
struct Sleeper {
    tid: pid_t,
    /// By the clock of sleepers.
    until: u64,
    nanoseconds: u64,
    /// When it was seen to have come back.
    came: Option<u64>,
}

/// What came of looking whether a choice can be made.
pub(super) enum Settling {
    /// Nobody is to be chosen.
    NotDue,
    /// Some thread is on its way.
    Moving,
    /// Nobody can go on but sleepers.
    Asleep,
    /// This thread has the turn.
    Chosen(pid_t),
}

impl Recorder {
    /// Makes a choice when one is due and all threads have settled.
    pub(super) fn settle_turns(&mut self) -> Settling {
        let Some(chaos) = self.world.turns.chaos.as_ref().filter(|chaos| chaos.is_due) else { return Settling::NotDue };
        let now = sys::monotonic();
        let (waited, settled) = chaos
            .looked
            .as_ref()
            .map_or((0, 0), |looked| (looked.waited + now.saturating_sub(looked.at).min(LOOK_NS), looked.settled));
        let is_late = waited > SETTLES_NS;
        let is_held = |task: &Task| self.inspected.contains_key(&task.tid);
        let is_moving = !is_late && self.tasks.values().any(|task| !is_held(task) && !is_settled(&self.world, task));
        let settled = if is_moving { 0 } else { settled + 1 };
        let tasks = &self.tasks;
        let Some(chaos) = self.world.turns.chaos.as_mut() else { return Settling::NotDue };
        chaos.looked = Some(Looked { at: now, waited, settled });
        if settled < LOOKS && !is_late {
            return Settling::Moving;
        }
        // Only now: a thread that is on its way goes before sleepers.
        let order = |tid: pid_t| tasks.get(&tid).map_or(u32::MAX, |task| task.index);
        let has_come = chaos.sleep_on(now, order);
        // A sleeper whose time has come is waited for, however long that takes.
        let is_awaited = chaos.sleepers.iter().any(|sleeper| {
            let is_stopped = tasks.get(&sleeper.tid).is_none_or(|task| task.in_group_stop || is_held(task));
            sleeper.until <= chaos.clock && !chaos.waiting.contains(&sleeper.tid) && !is_stopped
        });
        if is_awaited || !has_come {
            // The time counts only while somebody moves.
            chaos.looked = None;
            return Settling::Asleep;
        }
        let mut ready: Vec<pid_t> = chaos.waiting.iter().copied().filter(|tid| chaos.is_awake(*tid)).collect();
        ready.sort_unstable_by_key(|tid| order(*tid));
        chaos.choose(&ready).map_or(Settling::Asleep, Settling::Chosen)
    }

    /// Waits a moment for threads that are on their way.
    pub(super) fn await_settling() {
        std::thread::sleep(NAP);
    }
}

impl World {
    /// Whether a thread that was stopped in its own code keeps its turn: how far it has come since its last boundary depends on the
    /// machine, unless it waits in a loop in which nothing changes.
    pub(super) fn goes_on_computing(&mut self, task: &Task, place: &Place) -> bool {
        let Some(chaos) = &mut self.turns.chaos else { return false };
        if place.may_wait && place.changed.is_empty() {
            return false;
        }
        let ran = sys::cpu_time(task.process.borrow().pid).unwrap_or(0);
        chaos.computed(task.tid, ran, task.preempted <= 1) < COMPUTES_NS
    }
}

/// How long a thread that enters a call is going to sleep, if that is what it asks for; not until what time.
pub(super) fn sleep_of(task: &Task, call: &Call) -> Option<u64> {
    let slot = match call.name() {
        // What is left of its time is counted already.
        _ if call.restarted => return None,
        "nanosleep" => 0,
        "clock_nanosleep" if call.int(1) & libc::TIMER_ABSTIME == 0 => 2,
        _ => return None,
    };
    let time = task.memory.find(slot, Side::In)?;
    let half = time.len() / 2;
    let (seconds, nanoseconds) = (word_of(&time[..half]), word_of(&time[half..]));
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}

/// Whether a thread comes to no stop before another one does something.
fn is_settled(world: &World, task: &Task) -> bool {
    if task.pending.is_some() || task.in_group_stop || world.waits_for_stream(task.tid) {
        return true;
    }
    match sys::state_of(task.tid) {
        Some(b'S' | b'T' | b'I') => true,
        // The parent of a vfork(2) waits uninterruptibly.
        Some(b'D') => super::lifecycle::clone_flags(task) & libc::CLONE_VFORK as u64 != 0,
        // The first thread of a process is told of when all have ended.
        Some(b'Z' | b'X') => {
            let process = task.process.borrow();
            process.pid == task.tid && process.alive > 1
        }
        _ => false,
    }
}
/// Numbers that look random and follow from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who gets the turn in so many choices among threads 0 to 19, which all wait.
    fn order(seed: u64, arrivals: impl Iterator<Item = pid_t>) -> Vec<pid_t> {
        let mut chaos = Chaos::new(seed);
        for tid in arrivals {
            chaos.take(tid);
        }
        let mut order = Vec::new();
        for _ in 0..20 {
            let mut ready = chaos.waiting.clone();
            ready.sort_unstable();
            let next = chaos.choose(&ready).unwrap();
            assert!(chaos.take(next));
            chaos.release(next);
            order.push(next);
        }
        order
    }

    #[test]
    fn choices_follow_from_the_seed_and_not_from_arrival() {
        assert_eq!(order(7, 0..20), order(7, (0..20).rev()));
        assert_ne!(order(7, 0..20), order(8, 0..20));
        let mut all = order(7, 0..20);
        all.sort_unstable();
        assert!(all.into_iter().eq(0..20));
    }

    #[test]
    fn one_that_gives_way_comes_after_others() {
        let mut chaos = Chaos::new(1);
        for _ in 0..100 {
            chaos.take(1);
            assert_eq!(chaos.choose(&[1]), Some(1));
            chaos.take(2);
            chaos.yield_to_next(1);
            assert_eq!(chaos.choose(&[1, 2]), Some(2));
            assert_eq!(chaos.contended(), Some(2));
            chaos.release(2);
            chaos.release(1);
            assert!(!chaos.is_due);
        }
    }

    #[test]
    fn sleepers_wake_when_others_have_passed_boundaries_or_nobody_runs() {
        let order = |tid: pid_t| tid as u32;
        let mut chaos = Chaos::new(1);
        chaos.sleeps(1, 10 * BOUNDARY_NS);
        chaos.sleeps(2, 20 * BOUNDARY_NS);
        chaos.take(3);
        chaos.take(2);
        assert!(chaos.sleep_on(0, order));
        assert!(!chaos.is_awake(2));
        for _ in 0..10 {
            chaos.is_over();
        }
        assert!(chaos.is_awake(1) && !chaos.is_awake(2));
        // Nobody is left but sleepers: the second one is back, and the first one comes before it.
        chaos.release(3);
        chaos.clock = 0;
        assert!(!chaos.sleep_on(0, order));
        chaos.take(1);
        assert!(chaos.sleep_on(0, order));
        assert!(chaos.is_awake(1) && !chaos.is_awake(2));
        // A second later than it asked for by the clock on the wall.
        assert!(chaos.sleep_on(LEAST_OVERDUE_NS + 1, order));
        assert!(chaos.is_awake(2));
    }
}
