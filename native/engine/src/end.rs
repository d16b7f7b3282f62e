//! How a process ends that ran a program for somebody: as the program did.

use libc::c_int;

/// Ends this process at once: no clean-up of a runtime, which could reset the terminal that the program has changed, and no
/// freeing of memory that goes with the process.
pub fn exit_now(code: c_int) -> ! {
    // SAFETY: _exit takes no pointer and does not return.
    unsafe { libc::_exit(code) }
}

/// Ends this process by `signal`, as its default action would, but without a core file: the program has left one.
/// Returns only if the signal's default action is not to end a process.
pub fn die_by_signal(signal: c_int) {
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain libc calls on values of this frame; the set is initialised by sigemptyset.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        libc::signal(signal, libc::SIG_DFL);
        let mut set = core::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), core::ptr::null_mut());
        // To this thread: another one may wait for the signals of the process.
        libc::raise(signal);
    }
}
