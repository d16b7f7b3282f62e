//! On which CPU tracees and recorder run.
//!
//! A ptrace stop costs 2.7 us when the recorder runs on the tracee's own CPU and ten times as much when it does not, so
//! tracees are kept on the recorder's CPU for as long as they stop often. A tracee that computes for a while without a
//! call while others want the CPU is let go to any CPU of its own mask, and fetched back when it starts to stop often again or
//! executes a program, since programs stop often while they begin. Those that take turns with each other want no CPU meanwhile:
//! they wait for the turn. They stay together where that is handed on often, as each hand-over to another CPU takes as long as ten
//! stops. The program never sees this: `sched_getaffinity` and `status` in /proc are answered with the mask that it would have, and
//! a task for which a program chooses CPUs is left alone from then on, until it is given all of them again.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use libc::pid_t;
use rustc_hash::FxHashMap;

use crate::sys::{self, CpuMask};

/// How often the tasks that run are looked at, while several want the CPU.
const TICK: Duration = Duration::from_millis(1);
/// The same otherwise.
const SLOW_TICK: Duration = Duration::from_millis(4);
/// A task that has not stopped for this long computes.
const COMPUTES_NS: u64 = 1_000_000;
/// One that was found asleep meanwhile is not looked at again for this long: it costs more than all else of a look.
const SLEEPS_NS: u64 = 4_000_000;
/// Others want the CPU when one of them has stopped so long ago, or later.
const STOPPED_LATELY_NS: u64 = 3_000_000;
/// A released task that came to this many stops at less than [`CLOSE_NS`] from each other is fetched back.
const CLOSE_STOPS: u8 = 16;
const CLOSE_NS: u64 = 150_000;
/// Those that take turns stop often with more stops than this in a millisecond, and then still with that many. Who comes next is woken at
/// each of them.
const OFTEN: u64 = 6;
const STILL_OFTEN: u64 = 3;
/// Over at least so long.
const RATE_NS: u64 = 4_000_000;
/// So many groups are known at a time.
const MOST_RATES: usize = 1024;

/// What recorder and watcher both know of a task.
#[derive(Debug, Default)]
struct Slot {
    /// Since when the task runs its own code; 0 while it is stopped or inside a call, where it may sleep.
    running_since: AtomicU64,
    /// Until when it is taken to sleep in a call of the agent, which stops nothing.
    asleep_until: AtomicU64,
    /// Those that take turns with it have the same one; 0 where nobody does.
    group: AtomicU32,
    /// The watcher has let it go.
    released: AtomicBool,
    /// A program chose its CPUs.
    own: AtomicBool,
}

impl Slot {
    /// Lets the task go to all CPUs; to the `other` ones at once, not when the kernel next looks at how busy each of them is.
    fn let_go(&self, tid: pid_t, other: Option<&CpuMask>, visible: &CpuMask) {
        if let Some(other) = other {
            let _ = sys::set_affinity(tid, other);
        }
        if sys::set_affinity(tid, visible).is_ok() {
            self.released.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a task that runs since then is not asleep in a call that has not stopped it.
    fn is_awake(&self, tid: pid_t, since: u64, now: u64) -> bool {
        if now.saturating_sub(since) <= COMPUTES_NS {
            return true;
        }
        if now < self.asleep_until.load(Ordering::Relaxed) {
            return false;
        }
        let is_awake = sys::state_of(tid) == Some(b'R');
        if !is_awake {
            self.asleep_until.store(now + SLEEPS_NS, Ordering::Relaxed);
        }
        is_awake
    }
}

/// Where one task stands.
#[derive(Debug, Default)]
pub struct Place {
    slot: Arc<Slot>,
    close_stops: u8,
    resumed_at: u64,
}

impl Place {
    /// The place of a task whose CPUs a program chose, or did not.
    #[must_use]
    pub fn new(own: bool) -> Place {
        let place = Place::default();
        place.slot.own.store(own, Ordering::Relaxed);
        place
    }

    /// A program chose its CPUs.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.slot.own.load(Ordering::Relaxed)
    }

    /// It was let go to all CPUs.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.slot.released.load(Ordering::Relaxed)
    }
}

/// How often those stop that take turns with each other.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    since: u64,
    stops: u64,
    is_high: bool,
}

impl Rate {
    fn stopped(&mut self, now: u64) {
        self.stops += 1;
        let time = now.saturating_sub(self.since);
        if time >= RATE_NS {
            let limit = if self.is_high { STILL_OFTEN } else { OFTEN };
            (self.since, self.is_high) = (now, self.stops * 1_000_000 > limit * time);
            self.stops = 0;
        }
    }

    fn is_high(&self, now: u64) -> bool {
        self.is_high && now.saturating_sub(self.since) < 2 * RATE_NS
    }
}

/// When tasks came to a stop.
#[derive(Debug, Default)]
struct Stops {
    last: u64,
    /// The group of that one, and when one of another group did.
    group: u32,
    last_beside: u64,
    rates: FxHashMap<u32, Rate>,
}

impl Stops {
    /// A task of a group has stopped. When one did before, and whether that group stops often.
    fn stopped(&mut self, group: u32, now: u64) -> (u64, bool) {
        let before = std::mem::replace(&mut self.last, now);
        if !take_turns(std::mem::replace(&mut self.group, group), group) {
            self.last_beside = before;
        }
        if group == 0 {
            return (before, false);
        }
        if self.rates.len() >= MOST_RATES {
            self.rates.clear();
        }
        let rate = self.rates.entry(group).or_default();
        rate.stopped(now);
        (before, rate.is_high(now))
    }

    /// When a task stopped last that wants the CPU of one of a group.
    fn last_for(&self, group: u32, now: u64) -> u64 {
        let stay = self.rates.get(&group).is_some_and(|rate| rate.is_high(now));
        if stay && take_turns(self.group, group) { self.last_beside } else { self.last }
    }
}

/// What recorder and watcher both know of all tasks.
#[derive(Debug, Default)]
struct Watched {
    tasks: Mutex<Vec<(pid_t, Arc<Slot>)>>,
    stops: Mutex<Stops>,
    ends: AtomicBool,
}

impl Watched {
    fn tasks(&self) -> MutexGuard<'_, Vec<(pid_t, Arc<Slot>)>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stops(&self) -> MutexGuard<'_, Stops> {
        self.stops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps tasks on the recorder's CPU, or does nothing when there is only one CPU.
pub struct Placement {
    /// The mask that the program believes to have.
    pub visible: CpuMask,
    home: Option<CpuMask>,
    watched: Arc<Watched>,
    watcher: Option<JoinHandle<()>>,
    /// Recorder and tasks run on any CPU; and how many stops have come close to each other since.
    aside: bool,
    close_stops: u8,
}

impl Placement {
    /// Moves this thread to one CPU. `pinned = false` leaves everything where it is.
    #[must_use]
    pub fn new(pinned: bool) -> Placement {
        let visible = sys::affinity(0).unwrap_or(CpuMask([u64::MAX; 16]));
        let home = (pinned && visible.count() > 1).then(|| CpuMask::single(sys::current_cpu()));
        let home = home.filter(|home| sys::set_affinity(0, home).is_ok());
        Placement { visible, home, watched: Arc::default(), watcher: None, aside: false, close_stops: 0 }
    }

    /// Tasks go on without stops: they and the recorder run where the kernel likes until they stop often again. Kept on one CPU, they
    /// would have to share it with whoever they talk to. Nothing changes when some run elsewhere already.
    pub fn step_aside(&mut self) {
        let Some(home) = self.home.filter(|_| !self.aside) else { return };
        let tasks = self.watched.tasks();
        if tasks.iter().any(|(_, slot)| slot.released.load(Ordering::Relaxed)) {
            return;
        }
        // At once to another one, not when the kernel next looks at how busy each is.
        let others = self.visible.without(&home);
        self.aside = others.count() > 0 && sys::set_affinity(0, &others).is_ok();
        if self.aside {
            let _ = sys::set_affinity(0, &self.visible);
            tasks.iter().filter(|(_, slot)| !slot.own.load(Ordering::Relaxed)).for_each(|(tid, slot)| {
                slot.let_go(*tid, None, &self.visible);
            });
        }
        self.close_stops = 0;
    }

    /// A task has stopped: all are served from one CPU if it or others do that often.
    fn come_back(&mut self, now: u64, last_stop: u64) {
        let close = now.saturating_sub(last_stop) < CLOSE_NS;
        self.close_stops = if close { self.close_stops.saturating_add(1) } else { 0 };
        let Some(home) = self.home.filter(|_| self.close_stops >= CLOSE_STOPS) else { return };
        self.aside = false;
        let _ = sys::set_affinity(0, &home);
        for (tid, slot) in self.watched.tasks().iter().filter(|(_, slot)| !slot.own.load(Ordering::Relaxed)) {
            slot.released.store(false, Ordering::Relaxed);
            let _ = sys::set_affinity(*tid, &home);
        }
    }

    /// The mask that tasks are kept on.
    #[must_use]
    pub fn home(&self) -> Option<CpuMask> {
        self.home
    }

    /// Whether tasks are being moved at all.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.home.is_some()
    }

    /// A task appeared, on whatever CPU.
    pub fn adopt(&mut self, tid: pid_t, place: &Place) {
        let Some(home) = self.home else { return };
        if !place.is_own() {
            let _ = sys::set_affinity(tid, &home);
        }
        self.follow(tid, place);
    }

    /// A task appeared whose parent was on the recorder's CPU, or `released`. It is given the CPUs that it should have from it: the
    /// parent may have been on its way to others when it made the task.
    pub fn adopt_child(&mut self, tid: pid_t, place: &Place, released: bool) {
        let Some(home) = self.home else { return };
        if !place.is_own() {
            let _ = sys::set_affinity(tid, if released { &self.visible } else { &home });
            place.slot.released.store(released, Ordering::Relaxed);
        }
        self.follow(tid, place);
    }

    fn follow(&mut self, tid: pid_t, place: &Place) {
        self.watched.tasks().push((tid, Arc::clone(&place.slot)));
        // With a single task there is nobody to make room for.
        if self.watcher.is_none() && self.watched.tasks().len() > 1 {
            self.watcher = self.watch();
        }
    }

    /// A task of a group came to a stop.
    pub fn stopped(&mut self, tid: pid_t, place: &mut Place, group: u32, now: u64) {
        if self.home.is_none() {
            return;
        }
        place.slot.group.store(group, Ordering::Relaxed);
        let (last_stop, is_often) = self.watched.stops().stopped(group, now);
        if self.aside {
            self.come_back(now, last_stop);
        }
        place.slot.running_since.store(0, Ordering::Relaxed);
        if place.is_own() || !place.is_released() {
            return;
        }
        let close = now.saturating_sub(place.resumed_at) < CLOSE_NS;
        place.close_stops = if close { place.close_stops + 1 } else { 0 };
        if is_often || place.close_stops >= CLOSE_STOPS {
            self.fetch_back(tid, place);
        }
    }

    /// A stopped task is about to stop many times: it is fetched back if it was let go.
    pub fn fetch_back(&self, tid: pid_t, place: &mut Place) {
        if let Some(home) = self.home.filter(|_| !place.is_own() && place.is_released()) {
            place.close_stops = 0;
            place.slot.released.store(false, Ordering::Relaxed);
            let _ = sys::set_affinity(tid, &home);
        }
    }

    /// A task goes on: inside a call, where it may sleep, or in its own code.
    pub fn resumed(&self, place: &mut Place, now: u64, in_call: bool) {
        if self.home.is_some() && !place.is_own() {
            place.resumed_at = now;
            place.slot.running_since.store(if in_call { 0 } else { now }, Ordering::Relaxed);
        }
    }

    /// A program has chosen the CPUs of a task, its own or another.
    pub fn chosen(&self, tid: pid_t, mask: &CpuMask) {
        let Some(home) = self.home else { return };
        let tasks = self.watched.tasks();
        let Some((_, slot)) = tasks.iter().find(|(watched, _)| *watched == tid) else { return };
        let is_own = self.visible.without(mask).count() > 0;
        slot.own.store(is_own, Ordering::Relaxed);
        slot.released.store(false, Ordering::Relaxed);
        // The watcher may have let it go since.
        let _ = sys::set_affinity(tid, if is_own { mask } else { &home });
    }

    /// The mask that a task would have without the recorder, where it has another one.
    #[must_use]
    pub fn shown(&self, tid: pid_t) -> Option<CpuMask> {
        let tasks = self.watched.tasks();
        let is_kept = tasks.iter().any(|(watched, slot)| *watched == tid && !slot.own.load(Ordering::Relaxed));
        is_kept.then_some(self.visible)
    }

    /// All tasks that are recorded, where tasks are being moved.
    #[must_use]
    pub fn tids(&self) -> Vec<pid_t> {
        self.watched.tasks().iter().map(|(tid, _)| *tid).collect()
    }

    /// A task is gone.
    pub fn forget(&self, tid: pid_t) {
        if self.home.is_some() {
            self.watched.tasks().retain(|(watched, _)| *watched != tid);
        }
    }

    fn watch(&self) -> Option<JoinHandle<()>> {
        let (watched, visible) = (Arc::clone(&self.watched), self.visible);
        let others = self.home.map(|home| visible.without(&home))?;
        let run = move || {
            sys::enable_instructions();
            let _ = sys::set_affinity(0, &visible);
            let mut before = 0;
            while !watched.ends.load(Ordering::Relaxed) {
                let last_stop = watched.stops().last;
                let several = release(&watched, &visible, &others) > 1;
                let is_busy = several || std::mem::replace(&mut before, last_stop) != last_stop;
                std::thread::sleep(if is_busy { TICK } else { SLOW_TICK });
            }
        };
        std::thread::Builder::new().name("trace-placement".into()).spawn(run).ok()
    }
}

/// Lets the tasks go that compute while others want the CPU too. How many run there.
fn release(watched: &Watched, visible: &CpuMask, others: &CpuMask) -> usize {
    let (tasks, now) = (watched.tasks(), sys::monotonic());
    let is_elsewhere = |slot: &Slot| slot.released.load(Ordering::Relaxed) || slot.own.load(Ordering::Relaxed);
    let running: Vec<(&(pid_t, Arc<Slot>), u64)> = tasks
        .iter()
        .filter(|(_, slot)| !is_elsewhere(slot))
        .map(|task| (task, task.1.running_since.load(Ordering::Relaxed)))
        .filter(|((tid, slot), since)| *since != 0 && slot.is_awake(*tid, *since, now))
        .collect();
    // Only now: the recorder waits at each stop for whoever has these.
    let stops = watched.stops();
    let state = |&((_, slot), since): &(&(pid_t, Arc<Slot>), u64)| {
        let group = slot.group.load(Ordering::Relaxed);
        Running { since, group, stopped_beside: stops.last_for(group, now) }
    };
    let states: Vec<Running> = running.iter().map(state).collect();
    drop(stops);
    for (order, index) in computing(&states, now).into_iter().enumerate() {
        let ((tid, slot), _) = running[index];
        slot.let_go(*tid, Some(others).filter(|others| order < others.count() as usize), visible);
    }
    running.len()
}

/// A task that runs its own code.
#[derive(Clone, Copy, Debug)]
struct Running {
    since: u64,
    group: u32,
    /// When one stopped last that wants its CPU.
    stopped_beside: u64,
}

/// Whether tasks of two groups take turns with each other.
fn take_turns(one: u32, other: u32) -> bool {
    one == other && one != 0
}

/// Which of these tasks compute while others want the CPU: that run too, or stop. One that computes alone is best off where it is.
fn computing(tasks: &[Running], now: u64) -> Vec<usize> {
    let is_beside = |index: usize, task: &Running| {
        (0..tasks.len()).any(|other| other != index && !take_turns(tasks[other].group, task.group))
    };
    let some_stop = |task: &Running| {
        task.stopped_beside > task.since && now.saturating_sub(task.stopped_beside) < STOPPED_LATELY_NS
    };
    let computes = |index: usize| {
        let task = &tasks[index];
        now.saturating_sub(task.since) > COMPUTES_NS && (is_beside(index, task) || some_stop(task))
    };
    (0..tasks.len()).filter(|index| computes(*index)).collect()
}

impl Drop for Placement {
    fn drop(&mut self) {
        self.watched.ends.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
        if self.home.is_some() {
            let _ = sys::set_affinity(0, &self.visible);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG_AGO: u64 = 1_000;
    const NOW: u64 = 50_000_000;

    /// Tasks that take no turns, after one of them has stopped.
    fn computing_of(since: &[u64], last_stop: u64) -> Vec<usize> {
        let running = |since: &u64| Running { since: *since, group: 0, stopped_beside: last_stop };
        computing(&since.iter().map(running).collect::<Vec<_>>(), NOW)
    }

    #[test]
    fn a_task_that_computes_alone_stays() {
        assert_eq!(computing_of(&[LONG_AGO], LONG_AGO), [0; 0]);
        assert_eq!(computing_of(&[], NOW), [0; 0]);
        let long_before = NOW - 2 * STOPPED_LATELY_NS;
        assert_eq!(computing_of(&[LONG_AGO], long_before), [0; 0]);
    }

    #[test]
    fn tasks_go_that_compute_while_others_run_or_stop() {
        assert_eq!(computing_of(&[LONG_AGO], NOW - 10), [0]);
        assert_eq!(computing_of(&[LONG_AGO, NOW - 10], LONG_AGO), [0]);
        assert_eq!(computing_of(&[NOW - COMPUTES_NS, LONG_AGO, LONG_AGO], LONG_AGO), [1, 2]);
    }

    #[test]
    fn who_takes_turns_stays_where_that_happens_often() {
        const PERIOD: u64 = 100_000;
        let mut stops = Stops::default();
        let running =
            |stops: &Stops, group| Running { since: LONG_AGO, group, stopped_beside: stops.last_for(group, NOW) };
        let begin = NOW - 2 * RATE_NS;
        let often: Vec<bool> =
            (0..80).map(|index| stops.stopped(7, begin + index * PERIOD)).map(|(_, is_often)| is_often).collect();
        assert_eq!((often[0], often[79]), (false, true));
        assert_eq!(computing(&[running(&stops, 7)], NOW), [0; 0]);
        assert_eq!(computing(&[running(&stops, 8)], NOW), [0]);
        assert_eq!(computing(&[running(&stops, 7), running(&stops, 7)], NOW), [0; 0]);
        assert_eq!(computing(&[running(&stops, 7), running(&stops, 8)], NOW), [0, 1]);
        // One that takes no turns with it wants the CPU, and so does one that does where they seldom stop.
        assert_eq!(stops.stopped(8, NOW - 20).0, begin + 79 * PERIOD);
        stops.stopped(7, NOW - 10);
        assert_eq!(computing(&[running(&stops, 7)], NOW), [0]);
        let mut seldom = Stops::default();
        seldom.stopped(7, NOW - RATE_NS);
        assert_eq!(seldom.stopped(7, NOW - 10), (NOW - RATE_NS, false));
        assert_eq!(computing(&[running(&seldom, 7)], NOW), [0]);
        // Nobody takes turns in what is only observed.
        let often = (0..80).any(|index| stops.stopped(0, begin + index * PERIOD).1);
        assert_eq!((often, stops.last_for(0, NOW)), (false, begin + 79 * PERIOD));
    }
}
