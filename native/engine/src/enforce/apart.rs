//! Calls that may wait for others: each is performed on a thread of its own, so that the supervisor goes on.
//!
//! The kernel keeps signals from a caller while its call is being answered. A watch looks from time to time whether there is one
//! that the caller handles, or whether the caller is gone, and interrupts the thread that waits in its place: then the call ends
//! as it would have without a supervisor, interrupted or begun once more after the handler.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::share::Share;
use super::supervise::{Answer, Caller};
use super::target::Errno;
use crate::notify::Listener;
use crate::sys;

/// Most calls that are under way at once, of one role when there are no others.
const MAX_CALLS: usize = 1024;
/// Most bytes that these hold, as `MAX_CALLS`: two for each that sends as much of a stream as is sent at once.
const MAX_BYTES: usize = MAX_CALLS << 17;
/// How often the watch looks while a call has not waited for long, and when all have.
const SOON: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_millis(500);
/// What the kernel itself ends an interrupted call with: after the handler it is begun once more, or fails with EINTR, as the
/// handler was set up. Never seen by the program (`ERESTARTSYS` of linux/errno.h).
pub const RESTART: Errno = 512;

/// Interrupts the threads; does nothing else. The recorder's own is the one before.
fn wake_signal() -> i32 {
    libc::SIGRTMAX() - 4
}

/// A call that waits.
#[derive(Clone, Copy)]
struct Call {
    /// Thread that performs it, once that runs.
    worker: Option<i32>,
    since: Instant,
    tid: i32,
    tgid: i32,
    holder: Holder,
}

/// Whose call it is, and what it holds meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holder {
    /// The first of its roles.
    pub role: Option<usize>,
    pub held: Held,
}

/// Of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    pub descriptors: usize,
    /// At most, of its memory.
    pub bytes: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to watch, or nothing more to come.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    calls: HashMap<u64, Call>,
    /// There is a watch.
    is_watched: bool,
    /// The watch looks again later than it has to for a new call.
    is_resting: bool,
    is_over: bool,
}

impl State {
    /// The calls that a thread performs by now.
    fn performed(&self) -> Vec<(u64, Call)> {
        self.calls.iter().filter(|(_, call)| call.worker.is_some()).map(|(id, call)| (*id, *call)).collect()
    }
}

impl Shared {
    /// Nothing in here is left half done when a thread panics.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Apart {
    listener: Arc<Listener>,
    shared: Arc<Shared>,
    shares: Shares,
}

impl Apart {
    /// `roles`: how many there are that have to have their part.
    #[must_use]
    pub fn new(listener: Arc<Listener>, roles: usize) -> Apart {
        let calls = Share { limit: MAX_CALLS, roles };
        let bytes = Share { limit: MAX_BYTES, roles };
        let shares = Shares { calls, descriptors: Share::of_descriptors(roles), bytes };
        Apart { listener, shared: Arc::default(), shares }
    }

    /// Performs the call of a thread (its number, its process, the notification) by `work`, and answers it. If there can be no more
    /// threads, or its role has as many calls as it may, the call fails as one for which the system has no means.
    pub fn start(
        &self,
        (tid, tgid, id): (i32, i32, u64),
        holder: Holder,
        work: impl FnOnce(&Caller<'_>) -> Answer + Send + 'static,
    ) {
        let call = Call { worker: None, since: Instant::now(), tid, tgid, holder };
        self.watch();
        let Some(place) = Place::take(&self.shared, self.shares, id, call) else {
            return self.listener.refuse(id, libc::EAGAIN);
        };
        let listener = Arc::clone(&self.listener);
        let spawned = std::thread::Builder::new().name("trace-call".into()).spawn(move || {
            place.begin();
            let caller = Caller { tid, tgid, listener: &listener, id };
            let answer = work(&caller);
            // Until a descriptor was taken, which may be late, there is its thread.
            let _held = Some(place).filter(|_| matches!(answer, Answer::Descriptor(..)));
            // A descriptor that is being handed over when a signal comes is lost: the program would be told that it has one.
            sys::block_signals(None);
            finish(&caller, answer);
        });
        if spawned.is_err() {
            self.listener.refuse(id, libc::EAGAIN);
        }
    }

    /// Starts the watch if there is none.
    fn watch(&self) {
        let mut state = self.shared.lock();
        if !state.is_watched {
            sys::catch(wake_signal());
            let (listener, shared) = (Arc::clone(&self.listener), Arc::clone(&self.shared));
            let watching = std::thread::Builder::new().name("trace-watch".into());
            state.is_watched = watching.spawn(move || watch(&listener, &shared)).is_ok();
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_one();
    }
}

/// How much all calls may take.
#[derive(Clone, Copy)]
struct Shares {
    calls: Share,
    descriptors: Share,
    bytes: Share,
}

impl Shares {
    /// Whether there may be one more call.
    fn allow(self, calls: &HashMap<u64, Call>, holder: Holder) -> bool {
        let own = || calls.values().filter(|call| call.holder.role == holder.role);
        let allows = |share: Share, part: fn(&Held) -> usize| {
            let sum = |some: &mut dyn Iterator<Item = &Call>| some.map(|call| part(&call.holder.held)).sum::<usize>();
            share.allows(sum(&mut calls.values()) + part(&holder.held), sum(&mut own()))
        };
        self.calls.allows(calls.len(), own().count())
            && allows(self.descriptors, |held| held.descriptors)
            && allows(self.bytes, |held| held.bytes)
    }
}

/// One of the calls, as long as it is under way.
struct Place {
    shared: Arc<Shared>,
    id: u64,
}

impl Place {
    /// `None`: there are too many, or nobody would interrupt it.
    fn take(shared: &Arc<Shared>, shares: Shares, id: u64, call: Call) -> Option<Place> {
        let mut state = shared.lock();
        if !state.is_watched || !shares.allow(&state.calls, call.holder) {
            return None;
        }
        state.calls.insert(id, call);
        if std::mem::take(&mut state.is_resting) {
            shared.changed.notify_one();
        }
        Some(Place { shared: Arc::clone(shared), id })
    }

    /// By the thread that performs it.
    fn begin(&self) {
        sys::block_signals(Some(wake_signal()));
        if let Some(call) = self.shared.lock().calls.get_mut(&self.id) {
            call.worker = Some(sys::own_tid());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lock().calls.remove(&self.id);
    }
}

/// Answers a call that was performed on a thread of its own.
fn finish(caller: &Caller<'_>, answer: Answer) {
    match answer {
        Answer::Value(value) => caller.listener.answer(caller.id, value),
        Answer::Descriptor(fd, cloexec) => caller.listener.answer_with(caller.id, &fd, cloexec),
        Answer::Refused(errno) => caller.listener.refuse(caller.id, errno),
        // Only what is being decided is passed on, or put off.
        Answer::Pass | Answer::Slow(_) | Answer::SlowOpen(..) => caller.listener.refuse(caller.id, libc::EIO),
    }
}

/// Interrupts the threads of calls that should not wait any more. A signal that comes too early is sent again.
fn watch(listener: &Listener, shared: &Shared) {
    let own = std::process::id() as i32;
    let mut state = shared.lock();
    loop {
        while state.calls.is_empty() {
            if state.is_over {
                return;
            }
            state.is_resting = true;
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let is_soon = state.calls.values().any(|call| call.since.elapsed() < LONG);
        state.is_resting = !is_soon;
        let pause = if is_soon { SOON } else { LATER };
        let (woken, pause) = shared.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
        state = woken;
        if !pause.timed_out() {
            continue;
        }
        let performed = state.performed();
        // To look takes system calls for each, while others begin and end.
        drop(state);
        let ends = |(id, call): &(u64, Call)| !listener.is_waiting(*id) || interruption(call.tid, call.tgid).is_some();
        let ending: Vec<(u64, Call)> = performed.into_iter().filter(ends).collect();
        state = shared.lock();
        for (id, _) in ending {
            // A thread takes its call off the list before it ends: what is on it has its number still.
            if let Some(worker) = state.calls.get(&id).and_then(|call| call.worker) {
                let _ = sys::tgkill(own, worker, wake_signal());
            }
        }
    }
}

/// Repeats a call that waits, when nothing that is the caller's business has interrupted it.
///
/// # Errors
/// Those of the call; when it was interrupted, what the caller's own call would end with.
pub fn patiently<T>(caller: &Caller<'_>, mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(libc::EINTR) if !caller.is_waiting() => return Err(libc::EINTR),
            Err(libc::EINTR) => {
                if let Some(errno) = interruption(caller.tid, caller.tgid) {
                    return Err(errno);
                }
            }
            done => return done,
        }
    }
}

/// What a waiting call ends with when a handler of its thread has to run; `None`: no handler has.
fn interruption(tid: i32, tgid: i32) -> Option<Errno> {
    interruption_in(&sys::status_of(tid)?, tid == tgid)
}

/// As [`interruption`], by the text of `/proc/TID/status`. `is_first`: the first thread of its process.
fn interruption_in(status: &str, is_first: bool) -> Option<Errno> {
    let field = |name: &str| sys::status_field(status, name);
    let set = |name: &str| field(name).and_then(|word| u64::from_str_radix(word, 16).ok()).unwrap_or(0);
    let handled = set("SigCgt") & !set("SigBlk");
    let is_alone = field("Threads") == Some("1");
    if set("SigPnd") & handled != 0 {
        Some(RESTART)
    } else if set("ShdPnd") & handled == 0 {
        None
    } else if is_first || is_alone {
        // The kernel gives signals for the process to this one if it takes them.
        Some(RESTART)
    } else {
        // It may be another thread's.
        Some(libc::EINTR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        call_of(0, 1)
    }

    fn call_of(role: usize, descriptors: usize) -> Call {
        call_with(role, Held { descriptors, bytes: 0 })
    }

    fn call_with(role: usize, held: Held) -> Call {
        let holder = Holder { role: Some(role), held };
        Call { worker: None, since: Instant::now(), tid: 0, tgid: 0, holder }
    }

    const SHARES: Shares = Shares {
        calls: Share { limit: MAX_CALLS, roles: 2 },
        descriptors: Share { limit: 2 * MAX_CALLS, roles: 2 },
        bytes: Share { limit: MAX_BYTES, roles: 2 },
    };

    fn watched() -> Arc<Shared> {
        let shared = Arc::new(Shared::default());
        shared.lock().is_watched = true;
        shared
    }

    #[test]
    fn no_call_is_performed_without_a_watch() {
        assert!(Place::take(&Arc::default(), SHARES, 1, call()).is_none());
        assert!(Place::take(&watched(), SHARES, 1, call()).is_some());
    }

    #[test]
    fn a_watch_that_rests_is_woken_once() {
        let shared = watched();
        let place = Place::take(&shared, SHARES, 1, call()).unwrap();
        assert!(shared.lock().performed().is_empty());
        place.begin();
        assert_eq!(shared.lock().performed().len(), 1);
        shared.lock().is_resting = true;
        let other = Place::take(&shared, SHARES, 2, call());
        assert!(other.is_some() && !shared.lock().is_resting);
        drop(place);
        assert!(shared.lock().performed().is_empty());
    }

    #[test]
    fn calls_that_wait_are_bounded() {
        let shared = watched();
        let places: Vec<_> = (0..).map_while(|id| Place::take(&shared, SHARES, id, call())).collect();
        assert_eq!(places.len(), MAX_CALLS);
        // Those of another role are performed all the same.
        let others: Vec<_> =
            (MAX_CALLS as u64..).map_while(|id| Place::take(&shared, SHARES, id, call_of(1, 1))).collect();
        assert_eq!(others.len(), MAX_CALLS / 2);
        drop((places, others));
        assert!(shared.lock().calls.is_empty());
    }

    #[test]
    fn descriptors_that_calls_hold_are_bounded() {
        let shared = watched();
        let take = |id, role, held| Place::take(&shared, SHARES, id, call_of(role, held));
        let own = take(1, 0, 2 * MAX_CALLS - 2).unwrap();
        assert!(take(2, 0, 2).is_none());
        let others = (take(3, 1, MAX_CALLS).unwrap(), take(4, 1, 1).is_none());
        assert!(others.1);
        drop(own);
        assert!(take(5, 0, 2).is_some());
    }

    #[test]
    fn bytes_that_calls_hold_are_bounded() {
        const MESSAGE: usize = 1 << 20;
        let shared = watched();
        let take =
            |id, role| Place::take(&shared, SHARES, id, call_with(role, Held { descriptors: 1, bytes: MESSAGE }));
        let own: Vec<_> = (0..).map_while(|id| take(id, 0)).collect();
        assert!(own.len() < MAX_CALLS / 4 && own.len() > MAX_CALLS / 16);
        // Another role has its part, and this one sends what is small.
        assert!(take(MAX_CALLS as u64, 1).is_some());
        assert!(Place::take(&shared, SHARES, 1 << 20, call()).is_some());
    }

    #[test]
    fn only_signals_that_a_thread_handles_interrupt_it() {
        let status = |own: &str, shared: &str, blocked: &str, threads: u32| {
            format!(
                "Threads:\t{threads}\nSigPnd:\t{own}\nShdPnd:\t{shared}\nSigBlk:\t{blocked}\nSigCgt:\t0000000000002000\n"
            )
        };
        let (none, alarm, other) = ("0000000000000000", "0000000000002000", "0000000000000001");
        assert_eq!(interruption_in(&status(none, none, none, 1), true), None);
        assert_eq!(interruption_in(&status(alarm, none, none, 2), false), Some(RESTART));
        assert_eq!(interruption_in(&status(none, alarm, none, 1), false), Some(RESTART));
        assert_eq!(interruption_in(&status(none, alarm, none, 2), false), Some(libc::EINTR));
        assert_eq!(interruption_in(&status(alarm, alarm, alarm, 1), true), None);
        assert_eq!(interruption_in(&status(other, other, none, 1), true), None);
        assert_eq!(interruption_in("", true), None);
    }
}
