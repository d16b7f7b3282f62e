//! The addon boundary: options in, results or coded errors out. Knows no ptrace and keeps no state.

mod doctor;
mod elf;
mod enforce;
mod files;
mod reader;
mod record;
mod replay;
mod stacks;
mod tables;
mod usage;

use napi_derive::napi;

/// Ends this process at once, without node's clean-up: it would reset the terminal, which the recorded program may have
/// changed on purpose.
#[napi]
pub fn exit_now(code: i32) {
    // SAFETY: _exit takes no pointer and does not return.
    unsafe { libc::_exit(code) }
}

/// Ends this process by `signal`, as its default action would, but without a core file of node.
/// Returns only if the signal's default action is not to end a process.
#[napi]
pub fn die_by_signal(signal: i32) {
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain libc calls on values of this frame; the set is initialised by sigemptyset.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        libc::signal(signal, libc::SIG_DFL);
        let mut set = core::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), core::ptr::null_mut());
        libc::kill(libc::getpid(), signal);
    }
}
