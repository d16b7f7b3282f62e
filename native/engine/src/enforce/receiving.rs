//! Threads that take calls from a listener.
//!
//! Until its call was received a caller is interrupted by any signal that it handles: then calls fail with EINTR that without a
//! supervisor never do, such as open(2) and kill(2) of a shell whose children end meanwhile. So somebody has to be there to receive
//! while a call that takes long is decided. One of the threads receives. It decides what is decided soon, and goes on receiving, as
//! waking another one takes as long; before anything else it leaves its post to the next.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, LockResult, Mutex, MutexGuard, PoisonError};

use crate::notify::{Listener, Notification};
use crate::sys;

/// One that receives, one that decides, and one that has a call in its hands meanwhile.
const THREADS: usize = 3;

/// Decides calls, one at a time, and answers them.
pub trait Decide: Send {
    /// Whether that will take longer than to wake another thread.
    fn takes_long(&self, call: &Notification) -> bool;

    fn handle(&self, call: &Notification);
}

/// Answers the calls of a listener until no process has the filter any more.
///
/// # Errors
/// When the kernel gives no more notifications, though there are processes that wait for answers; when a decision has panicked: that call
/// and all later ones failed with ENOSYS.
pub fn run(listener: &Listener, decide: impl Decide) -> io::Result<()> {
    // One that came while a descriptor is handed over would leave the program without it.
    sys::block_signals(None);
    let (post, decide) = (Post::default(), Mutex::new(decide));
    std::thread::scope(|scope| {
        for _ in 1..THREADS {
            let thread = std::thread::Builder::new().name("trace-supervisor".into());
            // One does as well, with more calls that are interrupted.
            let _ = thread.spawn_scoped(scope, || post.serve(listener, &decide));
        }
        post.serve(listener, &decide);
    });
    let failure = post.lock().failure.take();
    match failure {
        Some(error) => Err(error),
        None if decide.is_poisoned() => Err(io::Error::other("a decision panicked")),
        None => Ok(()),
    }
}

/// Who receives.
#[derive(Default)]
struct Post {
    state: Mutex<State>,
    free: Condvar,
}

#[derive(Default)]
struct State {
    is_taken: bool,
    /// There is nothing more to receive.
    is_over: bool,
    /// Why there is nothing, though processes wait.
    failure: Option<io::Error>,
}

impl Post {
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
            match self.receive(listener, decide) {
                Ok(call) => answer(decide.lock(), listener, &call),
                Err(error) => self.end(error),
            }
        }
    }

    /// The next call that takes long, when the post was left for it. Others are answered before.
    fn receive(&self, listener: &Listener, decide: &Mutex<impl Decide>) -> io::Result<Notification> {
        loop {
            let Some(call) = listener.receive()? else { continue };
            if let Some(own) = decide.try_lock().ok().filter(|own| !own.takes_long(&call)) {
                answer(Ok(own), listener, &call);
            } else {
                self.leave();
                return Ok(call);
            }
        }
    }
}

/// Decides a call. A panic poisons what decides: nothing is granted any more, as by a supervisor that is gone.
fn answer(own: LockResult<MutexGuard<'_, impl Decide>>, listener: &Listener, call: &Notification) {
    let is_decided = own.is_ok_and(|own| catch_unwind(AssertUnwindSafe(move || own.handle(call))).is_ok());
    if !is_decided {
        listener.refuse(call.id, libc::ENOSYS);
    }
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

        fn handle(&self, _: &Notification) {
            self.0.fetch_add(1, Ordering::Relaxed);
            panic!("as it is to");
        }
    }

    /// Where nobody listens: to receive there fails, and what is sent goes nowhere.
    fn nobody() -> Listener {
        Listener::new(File::open("/dev/null").unwrap().into())
    }

    #[test]
    fn a_listener_that_fails_is_an_error_whoever_receives() {
        // On a thread of its own, whose signals it blocks.
        let fails = || run(&nobody(), Panics(&AtomicUsize::new(0))).is_err();
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
            answer(decide.lock(), &listener, &call);
        }
        assert!(decide.is_poisoned() && decided.load(Ordering::Relaxed) == 1);
    }
}
