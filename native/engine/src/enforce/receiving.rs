//! Threads that take calls from a listener.
//!
//! Until its call was received a caller is interrupted by any signal that it handles: then calls fail with EINTR that without a
//! supervisor never do, such as open(2) and kill(2) of a shell whose children end meanwhile. So somebody has to be there to receive
//! while a call that takes long is decided. One of the threads receives. It decides what is decided soon, and goes on receiving, as
//! waking another one takes as long; before anything else it leaves its post to the next.
//!
//! A program takes a descriptor that it is handed when it runs: one that runs when no other wants to may let a thread wait for seconds.
//! Nor can that be interrupted, as the program would be told of a descriptor that it has not. So somebody looks after those that
//! hand over: who does for long loses the post, and another thread takes its place.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, LockResult, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::share::Share;
use crate::notify::{Listener, Notification};
use crate::sys;

/// One that receives, one that decides, and one that has a call in its hands meanwhile.
const THREADS: usize = 3;
/// How often somebody looks who hands over: who is seen twice does it for long.
const PAUSE: Duration = Duration::from_millis(4);
/// After so many times without anybody there is no looking until somebody does.
const MAX_PAUSES: usize = 25;
/// Most that hand over for long at once, to one role when there are no others.
const MAX_LONG: usize = 1024;

/// A descriptor that is a call's answer.
pub struct HandOver {
    /// The first of the caller's.
    pub role: Option<usize>,
    pub fd: OwnedFd,
    pub cloexec: bool,
}

/// Decides calls, one at a time, and answers them.
pub trait Decide: Send {
    /// Whether that will take longer than to wake another thread.
    fn takes_long(&self, call: &Notification) -> bool;

    /// Returns what is to be handed over while others are decided.
    fn handle(&self, call: &Notification) -> Option<HandOver>;
}

/// Answers the calls of a listener until no process has the filter any more. `roles`: how many there are that have to have their part.
///
/// # Errors
/// When the kernel gives no more notifications, though there are processes that wait for answers; when a decision has panicked: that call
/// and all later ones failed with ENOSYS.
pub fn run(listener: &Listener, decide: impl Decide, roles: usize) -> io::Result<()> {
    // One that came while a descriptor is handed over would leave the program without it.
    sys::block_signals(None);
    let limit = Share::of_descriptors(roles).limit.min(MAX_LONG);
    let (post, decide) = (Post::new(Share { limit, roles }), Mutex::new(decide));
    let (post, decide) = (&post, &decide);
    std::thread::scope(|scope| {
        let named = |name: &str| std::thread::Builder::new().name(name.into());
        let begin = move || named("trace-supervisor").spawn_scoped(scope, || post.serve(listener, decide)).is_ok();
        for _ in 1..THREADS {
            // One does as well, with more calls that are interrupted.
            begin();
        }
        // Without, a program that takes what it is handed late holds others up.
        let _ = named("trace-relief").spawn_scoped(scope, move || post.relieve(begin));
        post.serve(listener, decide);
    });
    let failure = post.lock().failure.take();
    match failure {
        Some(error) => Err(error),
        None if decide.is_poisoned() => Err(io::Error::other("a decision panicked")),
        None => Ok(()),
    }
}

/// Who receives, and who hands over.
struct Post {
    state: Mutex<State>,
    free: Condvar,
    /// Somebody hands over after a time in which nobody did, or there is nothing more to come.
    stirred: Condvar,
    /// Those that hand over for long.
    long: Share,
}

#[derive(Default)]
struct State {
    is_taken: bool,
    /// There is nothing more to receive.
    is_over: bool,
    /// Why there is nothing, though processes wait.
    failure: Option<io::Error>,
    handing: Vec<Handing>,
    /// How many have begun to hand over.
    begun: u64,
    /// Nobody looks who does.
    is_resting: bool,
}

/// A thread that hands over.
struct Handing {
    ticket: u64,
    role: Option<usize>,
    /// It would receive.
    has_post: bool,
    times_seen: u8,
    /// It was seen twice.
    is_long: bool,
    /// Another thread is in its place.
    is_replaced: bool,
}

/// What a thread does when it has handed over.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    GoesOn,
    /// Another one receives.
    HasNoPost,
    Ends,
}

impl Post {
    fn new(long: Share) -> Post {
        Post { state: Mutex::default(), free: Condvar::new(), stirred: Condvar::new(), long }
    }

    /// Nothing in here is left half done when a thread panics.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody receives. Returns whether there is something to receive.
    fn take(&self) -> bool {
        let is_occupied = |state: &mut State| state.is_taken && !state.is_over;
        let mut state = self.free.wait_while(self.lock(), is_occupied).unwrap_or_else(PoisonError::into_inner);
        state.is_taken = true;
        !state.is_over
    }

    fn leave(&self) {
        self.lock().is_taken = false;
        self.free.notify_one();
    }

    fn end(&self, why: io::Error) {
        let mut state = self.lock();
        state.is_over = true;
        state.failure = Some(why).filter(|why| why.kind() != io::ErrorKind::NotFound);
        self.free.notify_all();
        self.stirred.notify_all();
    }

    /// `None`: so many hand over for long to that role already that it gets nothing.
    fn begin(&self, role: Option<usize>, has_post: bool) -> Option<u64> {
        let mut state = self.lock();
        let long = || state.handing.iter().filter(|handing| handing.is_long);
        if !self.long.allows(long().count(), long().filter(|handing| handing.role == role).count()) {
            return None;
        }
        state.begun += 1;
        let ticket = state.begun;
        state.handing.push(Handing { ticket, role, has_post, times_seen: 0, is_long: false, is_replaced: false });
        if std::mem::take(&mut state.is_resting) {
            self.stirred.notify_one();
        }
        Some(ticket)
    }

    fn done(&self, ticket: u64) -> Then {
        let mut state = self.lock();
        let Some(at) = state.handing.iter().position(|handing| handing.ticket == ticket) else { return Then::GoesOn };
        let handing = state.handing.swap_remove(at);
        match (handing.is_replaced, handing.is_long && handing.has_post) {
            (true, _) => Then::Ends,
            (false, true) => Then::HasNoPost,
            (false, false) => Then::GoesOn,
        }
    }

    /// Looks after those that hand over, until there is nothing more to receive. `replace` begins another thread, if it can.
    fn relieve(&self, replace: impl Fn() -> bool) {
        let (mut state, mut pauses, mut seen) = (self.lock(), 0, 0);
        while !state.is_over {
            if pauses == MAX_PAUSES {
                state.is_resting = true;
                let rests = |state: &mut State| state.is_resting && !state.is_over;
                state = self.stirred.wait_while(state, rests).unwrap_or_else(PoisonError::into_inner);
            }
            let goes_on = |state: &mut State| !state.is_over;
            let woken = self.stirred.wait_timeout_while(state, PAUSE, goes_on);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
            let is_idle = state.begun == seen && state.handing.iter().all(|handing| handing.is_long);
            (pauses, seen) = (if is_idle { pauses + 1 } else { 0 }, state.begun);
            let State { handing, is_taken, .. } = &mut *state;
            for late in handing.iter_mut().filter(|handing| !handing.is_long) {
                late.times_seen += 1;
                if late.times_seen < 2 {
                    continue;
                }
                late.is_long = true;
                late.is_replaced = replace();
                if late.has_post {
                    *is_taken = false;
                    self.free.notify_one();
                }
            }
        }
    }

    fn serve(&self, listener: &Listener, decide: &Mutex<impl Decide>) {
        // A call waits to be received no longer than it has to, however busy the machine is.
        let _short = sys::ShortSlices::new();
        // The umask of created files is the program's: it is applied by hand. It belongs to this thread from now on.
        // SAFETY: takes no pointer; only this thread's view of its working directory and mask is split off.
        unsafe {
            if libc::unshare(libc::CLONE_FS) == 0 {
                libc::umask(0);
            }
        }
        while self.take() {
            let then = match self.receive(listener, decide) {
                Ok(Received::Call(call)) => self.answer(decide.lock(), listener, &call, false),
                Ok(Received::Then(then)) => then,
                Err(error) => {
                    self.end(error);
                    Then::Ends
                }
            };
            if then == Then::Ends {
                return;
            }
        }
    }

    /// The next call that takes long, when the post was left for it. Others are answered before.
    fn receive(&self, listener: &Listener, decide: &Mutex<impl Decide>) -> io::Result<Received> {
        loop {
            let Some(call) = listener.receive()? else { continue };
            if let Some(own) = decide.try_lock().ok().filter(|own| !own.takes_long(&call)) {
                match self.answer(Ok(own), listener, &call, true) {
                    Then::GoesOn => {}
                    then => return Ok(Received::Then(then)),
                }
            } else {
                self.leave();
                return Ok(Received::Call(call));
            }
        }
    }

    /// Decides a call. A panic poisons what decides: nothing is granted any more, as by a supervisor that is gone.
    fn answer(
        &self,
        own: LockResult<MutexGuard<'_, impl Decide>>,
        listener: &Listener,
        call: &Notification,
        has_post: bool,
    ) -> Then {
        let decided = own.ok().and_then(|own| catch_unwind(AssertUnwindSafe(move || own.handle(call))).ok());
        let Some(decided) = decided else {
            listener.refuse(call.id, libc::ENOSYS);
            return Then::GoesOn;
        };
        let Some(HandOver { role, fd, cloexec }) = decided else { return Then::GoesOn };
        let Some(ticket) = self.begin(role, has_post) else {
            listener.refuse(call.id, libc::EAGAIN);
            return Then::GoesOn;
        };
        listener.answer_with(call.id, &fd, cloexec);
        self.done(ticket)
    }
}

/// How receiving ends.
enum Received {
    Call(Notification),
    /// The post was lost.
    Then(Then),
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Panics<'a>(&'a AtomicUsize);

    impl Decide for Panics<'_> {
        fn takes_long(&self, _: &Notification) -> bool {
            false
        }

        fn handle(&self, _: &Notification) -> Option<HandOver> {
            self.0.fetch_add(1, Ordering::Relaxed);
            panic!("as it is to");
        }
    }

    /// Where nobody listens: to receive there fails, and what is sent goes nowhere.
    fn nobody() -> Listener {
        Listener::new(File::open("/dev/null").unwrap().into())
    }

    fn post() -> Post {
        Post::new(Share { limit: 2, roles: 1 })
    }

    #[test]
    fn who_hands_over_for_long_loses_the_post() {
        let post = post();
        assert!(post.take());
        let (first, other) = (post.begin(None, true).unwrap(), post.begin(None, false).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| post.relieve(|| false));
            // Waits until it is lost.
            assert!(post.take());
            assert_eq!(post.done(first), Then::HasNoPost);
            post.end(io::ErrorKind::NotFound.into());
        });
        assert_eq!(post.done(other), Then::GoesOn);
    }

    #[test]
    fn who_hands_over_for_long_is_replaced_though_not_without_bound() {
        let post = post();
        let tickets: Vec<u64> = (0..2).map(|_| post.begin(None, false).unwrap()).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| post.relieve(|| true));
            while post.begin(None, false).map(|ticket| post.done(ticket)).is_some() {
                std::thread::yield_now();
            }
            post.end(io::ErrorKind::NotFound.into());
        });
        assert!(tickets.iter().all(|ticket| post.done(*ticket) == Then::Ends) && post.begin(None, false).is_some());
    }

    #[test]
    fn nobody_looks_after_nobody() {
        let post = post();
        std::thread::scope(|scope| {
            scope.spawn(|| post.relieve(|| true));
            for _ in 0..2 {
                while !post.lock().is_resting {
                    std::thread::yield_now();
                }
                let ticket = post.begin(None, false).unwrap();
                while !post.lock().handing[0].is_replaced {
                    std::thread::yield_now();
                }
                assert_eq!(post.done(ticket), Then::Ends);
            }
            post.end(io::ErrorKind::NotFound.into());
        });
    }

    #[test]
    fn a_listener_that_fails_is_an_error_whoever_receives() {
        // On a thread of its own, whose signals it blocks.
        let fails = || run(&nobody(), Panics(&AtomicUsize::new(0)), 1).is_err();
        for _ in 0..50 {
            assert!(std::thread::spawn(fails).join().unwrap());
        }
    }

    #[test]
    fn nothing_is_decided_after_a_panic() {
        let call = Notification { id: 1, tid: 1, arch: 0, number: 0, args: [0; 6], ip: 0 };
        let (listener, decided) = (nobody(), AtomicUsize::new(0));
        let decide = Mutex::new(Panics(&decided));
        for _ in 0..3 {
            post().answer(decide.lock(), &listener, &call, false);
        }
        assert!(decide.is_poisoned() && decided.load(Ordering::Relaxed) == 1);
    }
}
