//! On which CPU tracees and recorder run.
//!
//! A ptrace stop costs 2.7 us when the recorder runs on the tracee's own CPU and ten times as much when it does not, so
//! tracees are kept on the recorder's CPU for as long as they stop often. A tracee that computes for a while without a
//! call is let go to any CPU of its own mask, and fetched back when it starts to stop often again. The program never
//! sees this: `sched_getaffinity` is answered with the mask that it would have, and a task whose program sets its own
//! mask is left alone from then on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use libc::pid_t;

use crate::sys::{self, CpuMask};

/// How often the tasks that run are looked at.
const TICK: Duration = Duration::from_millis(4);
/// A task that has not stopped for this long computes.
const COMPUTES_NS: u64 = 3_000_000;
/// A released task that came to this many stops at less than [`CLOSE_NS`] from each other is fetched back.
const CLOSE_STOPS: u8 = 16;
const CLOSE_NS: u64 = 150_000;

/// What recorder and watcher both know of a task.
#[derive(Debug, Default)]
struct Slot {
    /// Since when the task runs its own code; 0 while it is stopped or inside a call, where it may sleep.
    running_since: AtomicU64,
    /// The watcher has let it go.
    released: AtomicBool,
}

/// Where one task stands.
#[derive(Debug, Default)]
pub struct Place {
    /// The program chose its CPUs itself.
    pub own: bool,
    slot: Arc<Slot>,
    close_stops: u8,
    resumed_at: u64,
}

impl Place {
    /// The place of a task whose program chose its CPUs itself, or did not.
    #[must_use]
    pub fn new(own: bool) -> Place {
        Place { own, ..Place::default() }
    }

    /// It was let go to all CPUs.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.slot.released.load(Ordering::Relaxed)
    }
}

type Watched = Mutex<Vec<(pid_t, Arc<Slot>)>>;

fn locked(watched: &Watched) -> MutexGuard<'_, Vec<(pid_t, Arc<Slot>)>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps tasks on the recorder's CPU, or does nothing when there is only one CPU.
pub struct Placement {
    /// The mask that the program believes to have.
    pub visible: CpuMask,
    home: Option<CpuMask>,
    watched: Arc<Watched>,
    stop: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
    /// The recorder has left its CPU to a task; and how many stops have come close to each other since.
    aside: bool,
    close_stops: u8,
    last_stop: u64,
}

impl Placement {
    /// Moves this thread to one CPU. `pinned = false` leaves everything where it is.
    #[must_use]
    pub fn new(pinned: bool) -> Placement {
        let visible = sys::affinity(0).unwrap_or(CpuMask([u64::MAX; 16]));
        let home = (pinned && visible.count() > 1).then(|| CpuMask::single(sys::current_cpu()));
        let home = home.filter(|home| sys::set_affinity(0, home).is_ok());
        let (aside, close_stops, last_stop) = (false, 0, 0);
        let watcher = None;
        Placement {
            visible,
            home,
            watched: Arc::default(),
            stop: Arc::default(),
            watcher,
            aside,
            close_stops,
            last_stop,
        }
    }

    /// The recorder leaves its CPU to tasks that go on without stops, until they stop often again.
    pub fn step_aside(&mut self) {
        if let Some(home) = self.home.filter(|_| !self.aside) {
            let others = self.visible.without(&home);
            self.aside = others.count() > 0 && sys::set_affinity(0, &others).is_ok();
            self.close_stops = 0;
        }
    }

    /// A task has stopped: it is served from its own CPU if it or others do that often.
    fn come_back(&mut self, now: u64) {
        let close = now.saturating_sub(self.last_stop) < CLOSE_NS;
        self.last_stop = now;
        self.close_stops = if close { self.close_stops.saturating_add(1) } else { 0 };
        if self.close_stops >= CLOSE_STOPS
            && let Some(home) = &self.home
        {
            self.aside = false;
            let _ = sys::set_affinity(0, home);
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
        if let Some(home) = self.home.filter(|_| !place.own) {
            let _ = sys::set_affinity(tid, &home);
            self.follow(tid, place);
        }
    }

    /// A task appeared that has the CPUs of its parent: the recorder's, or all when the parent was `released`. (If the parent
    /// was released just after it made the task, the task stays on the recorder's CPU, and is treated as one that comes back.)
    pub fn adopt_child(&mut self, tid: pid_t, place: &Place, released: bool) {
        if self.home.is_some() && !place.own {
            place.slot.released.store(released, Ordering::Relaxed);
            self.follow(tid, place);
        }
    }

    fn follow(&mut self, tid: pid_t, place: &Place) {
        locked(&self.watched).push((tid, Arc::clone(&place.slot)));
        // With a single task there is nobody to make room for.
        if self.watcher.is_none() && locked(&self.watched).len() > 1 {
            self.watcher = self.watch();
        }
    }

    /// A task came to a stop.
    pub fn stopped(&mut self, tid: pid_t, place: &mut Place, now: u64) {
        if self.home.is_none() {
            return;
        }
        if self.aside {
            self.come_back(now);
        }
        place.slot.running_since.store(0, Ordering::Relaxed);
        if place.own || !place.is_released() {
            return;
        }
        let close = now.saturating_sub(place.resumed_at) < CLOSE_NS;
        place.close_stops = if close { place.close_stops + 1 } else { 0 };
        if place.close_stops >= CLOSE_STOPS {
            self.fetch_back(tid, place);
        }
    }

    /// A stopped task is about to stop many times: it is fetched back if it was let go.
    pub fn fetch_back(&self, tid: pid_t, place: &mut Place) {
        if let Some(home) = self.home.filter(|_| !place.own && place.is_released()) {
            place.close_stops = 0;
            place.slot.released.store(false, Ordering::Relaxed);
            let _ = sys::set_affinity(tid, &home);
        }
    }

    /// A task goes on: inside a call, where it may sleep, or in its own code.
    pub fn resumed(&self, place: &mut Place, now: u64, in_call: bool) {
        if self.home.is_some() && !place.own {
            place.resumed_at = now;
            place.slot.running_since.store(if in_call { 0 } else { now }, Ordering::Relaxed);
        }
    }

    /// A task is gone, or chose its own CPUs.
    pub fn forget(&self, tid: pid_t) {
        if self.home.is_some() {
            locked(&self.watched).retain(|(watched, _)| *watched != tid);
        }
    }

    fn watch(&self) -> Option<JoinHandle<()>> {
        let (watched, stop) = (Arc::clone(&self.watched), Arc::clone(&self.stop));
        let visible = self.visible;
        let run = move || {
            sys::enable_instructions();
            let _ = sys::set_affinity(0, &visible);
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                release(&watched, &visible);
            }
        };
        std::thread::Builder::new().name("trace-placement".into()).spawn(run).ok()
    }
}

/// Lets the tasks go that compute while others want the CPU too.
fn release(watched: &Watched, visible: &CpuMask) {
    let now = sys::monotonic();
    let watched = locked(watched);
    let on_home = || watched.iter().filter(|(_, slot)| !slot.released.load(Ordering::Relaxed));
    // One task that computes alone is best off where it is.
    if on_home().filter(|(_, slot)| slot.running_since.load(Ordering::Relaxed) != 0).count() < 2 {
        return;
    }
    for (tid, slot) in on_home() {
        let since = slot.running_since.load(Ordering::Relaxed);
        if since != 0 && now.saturating_sub(since) > COMPUTES_NS && sys::set_affinity(*tid, visible).is_ok() {
            slot.released.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Placement {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
        if self.home.is_some() {
            let _ = sys::set_affinity(0, &self.visible);
        }
    }
}
