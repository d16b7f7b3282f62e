//! Clocks and timers.

use libc::c_int;

use super::instructions::COUNTERLESS;
use super::own_tid;

/// Nanoseconds of CLOCK_MONOTONIC.
#[must_use]
pub fn monotonic() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970. Also right on a thread that is [`Counterless`](super::Counterless).
#[must_use]
pub fn realtime() -> u64 {
    clock(libc::CLOCK_REALTIME)
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes one timespec, by the call and by the C library.
    unsafe {
        if COUNTERLESS.get() {
            libc::syscall(libc::SYS_clock_gettime, id, &raw mut now);
        } else {
            libc::clock_gettime(id, &raw mut now);
        }
    }
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Nanoseconds that this thread has run on a processor.
#[must_use]
pub fn own_cpu_time() -> u64 {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// A timer that sends a signal to the thread that made it, timer_create(2).
pub struct Timer(libc::timer_t);

impl Timer {
    /// `None` when the kernel has no room for another one.
    #[must_use]
    pub fn new(signal: c_int) -> Option<Timer> {
        let mut timer: libc::timer_t = std::ptr::null_mut();
        // SAFETY: the event is of this frame and says that the signal goes to this thread; the kernel writes the id.
        let done = unsafe {
            let mut event = std::mem::zeroed::<libc::sigevent>();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = own_tid();
            libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer)
        };
        (done == 0).then(|| Timer(timer))
    }

    /// Fires every so many nanoseconds, less than a second; never when 0.
    pub fn every(&self, nanoseconds: i64) {
        self.set(nanoseconds, nanoseconds);
    }

    /// Fires in so many nanoseconds, and every so many from then on; never when the first are 0.
    pub fn set(&self, first: i64, every: i64) {
        const SECOND: i64 = 1_000_000_000;
        let time = |time: i64| libc::timespec { tv_sec: time / SECOND, tv_nsec: time % SECOND };
        let setting = libc::itimerspec { it_interval: time(every), it_value: time(first) };
        // SAFETY: the timer is alive and the setting of this frame.
        unsafe { libc::timer_settime(self.0, 0, &raw const setting, std::ptr::null_mut()) };
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer was made by `new` and is deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}
