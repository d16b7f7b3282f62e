//! On which CPU tracees and recorder run.
//!
//! A ptrace stop costs 2.7 us when the recorder runs on the tracee's own CPU and ten times as much when it does not, so
//! tracees are kept on the recorder's CPU for as long as they stop often. A tracee that computes for a while without a
//! call is let go to any CPU of its own mask, and fetched back when it starts to stop often again. The program never
//! sees this: `sched_getaffinity` is answered with the mask that it would have, and a task whose program sets its own
//! mask is left alone from then on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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

/// Where one task stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The program chose its CPUs itself.
    pub own: bool,
    released: bool,
    close_stops: u8,
    resumed_at: u64,
}

struct Running {
    since: u64,
    in_call: bool,
}

type Watched = Mutex<HashMap<pid_t, Running>>;

/// Keeps tasks on the recorder's CPU, or does nothing when there is only one CPU.
pub struct Placement {
    /// The mask that the program believes to have.
    pub visible: CpuMask,
    home: Option<CpuMask>,
    watched: Arc<Watched>,
    released: Arc<Mutex<Vec<pid_t>>>,
    stop: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

impl Placement {
    /// Moves this thread to one CPU and starts the watcher. `pinned = false` leaves everything where it is.
    #[must_use]
    pub fn new(pinned: bool) -> Placement {
        let visible = sys::affinity(0).unwrap_or(CpuMask([u64::MAX; 16]));
        let home = (pinned && visible.count() > 1).then(|| CpuMask::single(sys::current_cpu()));
        let home = home.filter(|home| sys::set_affinity(0, home).is_ok());
        Placement {
            visible,
            home,
            watched: Arc::default(),
            released: Arc::default(),
            stop: Arc::default(),
            watcher: None,
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

    /// A task appeared (children inherit the CPU of their parent; the first one is put there).
    pub fn adopt(&mut self, tid: pid_t, place: &mut Place) {
        let Some(home) = self.home else { return };
        if !place.own {
            let _ = sys::set_affinity(tid, &home);
            place.released = false;
        }
        if self.watcher.is_none() {
            self.watcher = self.watch();
        }
    }

    /// A task came to a stop.
    pub fn stopped(&self, tid: pid_t, place: &mut Place, now: u64) {
        let Some(home) = self.home else { return };
        if place.own {
            return;
        }
        let ran = now.saturating_sub(place.resumed_at);
        if ran > COMPUTES_NS {
            let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(index) = released.iter().position(|other| *other == tid) {
                released.swap_remove(index);
                place.released = true;
                place.close_stops = 0;
            }
        }
        if place.released {
            place.close_stops = if ran < CLOSE_NS { place.close_stops + 1 } else { 0 };
            if place.close_stops >= CLOSE_STOPS {
                let _ = sys::set_affinity(tid, &home);
                place.released = false;
            }
        }
    }

    /// A task goes on: inside a call, where it may sleep, or in its own code.
    pub fn resumed(&self, tid: pid_t, place: &mut Place, now: u64, in_call: bool) {
        if self.home.is_none() || place.own {
            return;
        }
        place.resumed_at = now;
        if !place.released {
            let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            watched.insert(tid, Running { since: now, in_call });
        }
    }

    /// A task is gone, or chose its own CPUs.
    pub fn forget(&self, tid: pid_t) {
        if self.home.is_some() {
            self.watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&tid);
        }
    }

    fn watch(&self) -> Option<JoinHandle<()>> {
        let (watched, released, stop) = (Arc::clone(&self.watched), Arc::clone(&self.released), Arc::clone(&self.stop));
        let visible = self.visible;
        let run = move || {
            let _ = sys::set_affinity(0, &visible);
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                release(&watched, &released, &visible);
            }
        };
        std::thread::Builder::new().name("trace-placement".into()).spawn(run).ok()
    }
}

/// Lets the tasks go that compute while others want the CPU too.
fn release(watched: &Watched, released: &Mutex<Vec<pid_t>>, visible: &CpuMask) {
    let now = sys::monotonic();
    let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
    let long = |running: &Running| !running.in_call && now.saturating_sub(running.since) > COMPUTES_NS;
    let computing: Vec<pid_t> = watched.iter().filter(|(_, running)| long(running)).map(|(tid, _)| *tid).collect();
    // One task that computes alone is best off where it is; the first of several keeps the CPU.
    let others = watched.values().filter(|running| !running.in_call).count();
    if others < 2 {
        return;
    }
    for tid in computing {
        watched.remove(&tid);
        if sys::set_affinity(tid, visible).is_ok() {
            released.lock().unwrap_or_else(PoisonError::into_inner).push(tid);
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
