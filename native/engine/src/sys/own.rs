//! What the recorder changes for its own process or thread, as long as it records.

use std::marker::PhantomData;
use std::mem::size_of;

use libc::c_int;

use super::check;

/// Makes a signal do nothing but interrupt the call that a thread waits in.
pub fn catch(signal: c_int) {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: the handler does nothing, and without SA_RESTART it interrupts waits, which is its purpose.
    unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
    }
}

/// Keeps all signals from this thread, but for one. They go to others, or wait.
pub fn block_signals(but: Option<c_int>) {
    // SAFETY: the set is of this frame, and full before it is used.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut set);
        if let Some(signal) = but {
            libc::sigdelset(&raw mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Stops this process as a stop signal does by default, whatever its handler is and also where it is blocked; returns when it
/// is continued.
pub fn stop_self(signal: c_int) {
    // SAFETY: the actions and sets are of this frame. The signal is for this thread and is taken when it is unblocked at the
    // latest, so that the old handler is back before anybody else could need it.
    unsafe {
        let mut old = std::mem::zeroed::<libc::sigaction>();
        let mut default = std::mem::zeroed::<libc::sigaction>();
        default.sa_sigaction = libc::SIG_DFL;
        let mut this = std::mem::zeroed::<libc::sigset_t>();
        let mut blocked = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut this);
        libc::sigaddset(&raw mut this, signal);
        // (SIGSTOP has no handler to change: that fails, and need not work.)
        libc::sigaction(signal, &raw const default, &raw mut old);
        libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const this, &raw mut blocked);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const blocked, std::ptr::null_mut());
        libc::sigaction(signal, &raw const old, std::ptr::null_mut());
    }
}

/// As long as it lives the kernel raises no SIGCHLD in this process for children that stop (SA_NOCLDSTOP, sigaction(2)). A tracer
/// learns of stops by waiting; the signal for each, though nobody takes it, is a twentieth of what a stop costs. What else
/// is to happen at SIGCHLD stays as it was.
pub struct StopsUnsignalled(());

impl StopsUnsignalled {
    /// `None` when it is so already.
    #[must_use]
    pub fn new() -> Option<StopsUnsignalled> {
        change_sigchld(|flags| flags & libc::SA_NOCLDSTOP == 0, |flags| flags | libc::SA_NOCLDSTOP)
            .then(|| StopsUnsignalled(()))
    }
}

impl Drop for StopsUnsignalled {
    fn drop(&mut self) {
        // Who has set another action meanwhile wants its own flags.
        change_sigchld(|flags| flags & libc::SA_NOCLDSTOP != 0, |flags| flags & !libc::SA_NOCLDSTOP);
    }
}

/// Changes the flags of SIGCHLD's action where they are as asked.
fn change_sigchld(is_due: impl Fn(c_int) -> bool, change: impl Fn(c_int) -> c_int) -> bool {
    // SAFETY: sigaction reads and writes structs of its own kind; the action that is set is the one that was there.
    unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        if libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut action) != 0 || !is_due(action.sa_flags) {
            return false;
        }
        action.sa_flags = change(action.sa_flags);
        libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut()) == 0
    }
}

/// As long as it lives this thread asks for short slices of processor time, sched(7): one that wakes up for a stop runs at once then, and
/// not when the slice of a program is over that computes there (Linux 6.12 and later; others take no notice).
pub struct ShortSlices {
    before: libc::sched_attr,
    of_one_thread: PhantomData<*const ()>,
}

impl ShortSlices {
    /// The shortest that the kernel gives.
    const SLICE_NS: u64 = 100_000;

    /// `None` where a thread has another policy than the usual one, or the kernel does not let it change.
    #[must_use]
    pub fn new() -> Option<ShortSlices> {
        let before = scheduling().filter(|before| before.sched_policy == libc::SCHED_OTHER as u32)?;
        let short = libc::sched_attr { sched_runtime: ShortSlices::SLICE_NS, ..before };
        set_scheduling(&short).then_some(ShortSlices { before, of_one_thread: PhantomData })
    }
}

impl Drop for ShortSlices {
    fn drop(&mut self) {
        set_scheduling(&self.before);
    }
}

/// How this thread is scheduled, sched_getattr(2).
fn scheduling() -> Option<libc::sched_attr> {
    // SAFETY: numbers only, for which zero is a value.
    let mut now: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes at most as many bytes as it is told that there are.
    check(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut now, size, 0) }).ok().map(|_| now)
}

fn set_scheduling(attributes: &libc::sched_attr) -> bool {
    // SAFETY: the kernel reads as many bytes as the struct says itself.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *attributes, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_what_they_were_when_short_ones_end() {
        let slice = || scheduling().unwrap().sched_runtime;
        let before = slice();
        let short = ShortSlices::new();
        // Kernels before 6.12 tell no slice.
        assert!(slice() <= before && (before == 0 || short.is_none() || slice() == ShortSlices::SLICE_NS));
        drop(short);
        assert_eq!(slice(), before);
    }

    /// In a process of its own, since the action belongs to the whole process and other tests record meanwhile.
    #[test]
    fn stops_are_signalled_again_after_a_recording() {
        fn flags() -> c_int {
            // SAFETY: asks for the action, a struct of numbers that is written to a local.
            unsafe {
                let mut action = std::mem::zeroed::<libc::sigaction>();
                libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut action);
                action.sa_flags
            }
        }
        fn is_right() -> bool {
            let set = |flags: c_int| flags & libc::SA_NOCLDSTOP != 0;
            drop(StopsUnsignalled(()));
            let guard = StopsUnsignalled::new();
            let is_set = guard.is_some() && StopsUnsignalled::new().is_none() && set(flags());
            drop(guard);
            let is_gone = !set(flags());
            let guard = StopsUnsignalled::new();
            // A runtime sets an action of its own meanwhile.
            // SAFETY: the action is the default one, in a local.
            unsafe {
                let mut action = std::mem::zeroed::<libc::sigaction>();
                action.sa_flags = libc::SA_RESTART;
                libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut());
            }
            drop(guard);
            is_set && is_gone && flags() & libc::SA_RESTART != 0 && !set(flags())
        }
        // SAFETY: the child makes calls that are safe after a fork, and ends without returning.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::_exit(c_int::from(!is_right()));
            }
            let mut status = -1;
            assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
            assert_eq!(status, 0);
        }
    }
}
