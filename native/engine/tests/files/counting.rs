//! An allocator that counts for the thread of each test, and bounds that a test holds its work to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

/// Counts what the thread of a test has allocated.
struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn grew(size: usize) {
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + size);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
    });
}

fn shrank(size: usize) {
    let _ = LIVE.try_with(|live| live.set(live.get().saturating_sub(size)));
}

// SAFETY: every call goes to the system's allocator unchanged; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrank(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        shrank(layout.size());
        grew(size);
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How long this thread has run: others that want the processor do not count.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What reading one file may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of one allocation, and of all at one time.
    pub largest: usize,
    pub peak: usize,
    /// On a processor.
    pub time: Duration,
}

impl Bounds {
    /// Does some work on this thread, and fails when it takes more.
    pub fn hold<T>(self, what: &str, run: impl FnOnce() -> T) -> T {
        let before = LIVE.with(Cell::get);
        PEAK.with(|peak| peak.set(before));
        LARGEST.with(|largest| largest.set(0));
        let begin = processor_time();
        let value = run();
        let (peak, largest) = (PEAK.with(Cell::get) - before, LARGEST.with(Cell::get));
        assert!(largest <= self.largest, "{what}: one allocation of {largest} bytes");
        assert!(peak <= self.peak, "{what}: {peak} bytes");
        let time = processor_time().saturating_sub(begin);
        assert!(time < self.time, "{what}: {time:?}");
        value
    }
}
