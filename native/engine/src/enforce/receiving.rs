//! Threads that take calls from a listener.
//!
//! Until its call was received a caller is interrupted by any signal that it handles: then calls fail with EINTR that without a
//! supervisor never do, such as open(2) and kill(2) of a shell whose children end meanwhile. So somebody has to be there to receive
//! while a call that takes long is decided. One of the threads receives. It decides what is decided soon, and goes on receiving, as
//! waking another one takes as long; before anything else it leaves its post to the next.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

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
/// When the kernel gives no more notifications, though there are processes that wait for answers.
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
        post.serve(listener, &decide)
    })
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

    fn end(&self) {
        self.lock().is_over = true;
        self.free.notify_all();
    }

    fn serve(&self, listener: &Listener, decide: &Mutex<impl Decide>) -> io::Result<()> {
        // However busy the machine is.
        let _short = sys::ShortSlices::new();
        // The umask of created files is the program's: it is applied by hand. It belongs to this thread from now on.
        // SAFETY: takes no pointer; only this thread's view of its working directory and mask is split off.
        unsafe {
            if libc::unshare(libc::CLONE_FS) == 0 {
                libc::umask(0);
            }
        }
        while self.take() {
            let received = self.receive(listener, decide);
            if received.is_err() {
                self.end();
            }
            match received {
                Ok(call) => handle(&*decide.lock().unwrap_or_else(PoisonError::into_inner), listener, &call),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next call that takes long, when the post was left for it. Others are answered before.
    fn receive(&self, listener: &Listener, decide: &Mutex<impl Decide>) -> io::Result<Notification> {
        loop {
            let Some(call) = listener.receive()? else { continue };
            let own = match decide.try_lock() {
                Ok(own) => Some(own),
                Err(TryLockError::Poisoned(own)) => Some(own.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if let Some(own) = own.filter(|own| !own.takes_long(&call)) {
                handle(&*own, listener, &call);
            } else {
                self.leave();
                return Ok(call);
            }
        }
    }
}

/// A call whose decision panics is refused, as nobody else would answer it.
fn handle(decide: &impl Decide, listener: &Listener, call: &Notification) {
    if catch_unwind(AssertUnwindSafe(|| decide.handle(call))).is_err() {
        listener.refuse(call.id, libc::EPERM);
    }
}
