//! The instructions that read the processor's clock and name, which the recorder's own thread is kept from as its tracees are.

use std::cell::Cell;
use std::marker::PhantomData;

use libc::c_int;

thread_local! {
    pub(super) static COUNTERLESS: Cell<bool> = const { Cell::new(false) };
    static TRAPS_CPUID: Cell<bool> = const { Cell::new(false) };
}

/// As long as it lives `rdtsc` traps on this thread, as it does in the tracees: the processor is spared from being switched
/// between the two at each stop, which a virtual machine can make cost more than the stop itself. Nothing on this thread
/// may read a clock but through [`super::clock`], since the C library's clocks use that instruction.
pub struct Counterless(PhantomData<*const ()>);

impl Counterless {
    /// `None` when the kernel cannot.
    #[must_use]
    pub fn new() -> Option<Counterless> {
        set_counter(libc::PR_TSC_SIGSEGV).then(|| {
            COUNTERLESS.set(true);
            Counterless(PhantomData)
        })
    }
}

impl Drop for Counterless {
    fn drop(&mut self) {
        set_counter(libc::PR_TSC_ENABLE);
        COUNTERLESS.set(false);
    }
}

/// Calls something that may read clocks, from a thread that may be [`Counterless`].
pub fn with_counter<T>(call: impl FnOnce() -> T) -> T {
    let hidden = COUNTERLESS.get() && set_counter(libc::PR_TSC_ENABLE);
    let result = call();
    if hidden {
        set_counter(libc::PR_TSC_SIGSEGV);
    }
    result
}

/// For a new thread: one that was made by a [`Counterless`] thread or by one that [`TrapsCpuid`] is so too, and has to read clocks
/// again.
pub fn enable_instructions() {
    set_counter(libc::PR_TSC_ENABLE);
    set_cpuid(true);
}

fn set_counter(how: c_int) -> bool {
    // SAFETY: takes no pointer; what the thread does afterwards is said at [`Counterless`].
    unsafe { libc::prctl(libc::PR_SET_TSC, how) == 0 }
}

/// The time stamp counter and the number of the processor, as `rdtscp` gives them, also on a [`Counterless`] thread.
#[must_use]
pub fn counter_and_processor() -> (u64, u32) {
    let hidden = COUNTERLESS.get() && set_counter(libc::PR_TSC_ENABLE);
    let mut processor = 0;
    // SAFETY: a processor on which `rdtsc` can trap in 64-bit mode has `rdtscp`, which only writes its operand.
    let counter = unsafe { std::arch::x86_64::__rdtscp(&raw mut processor) };
    if hidden {
        set_counter(libc::PR_TSC_SIGSEGV);
    }
    (counter, processor)
}

/// `arch_prctl` operation that lets `cpuid` trap (0) or not (1) in a thread, asm/prctl.h. Threads and forked processes inherit it, exec
/// ends it.
pub const ARCH_GET_CPUID: u64 = 0x1011;
pub const ARCH_SET_CPUID: u64 = 0x1012;

/// Whether processor and kernel can let `cpuid` trap.
#[must_use]
pub fn can_trap_cpuid() -> bool {
    set_cpuid(false) && set_cpuid(true)
}

/// As long as it lives `cpuid` traps on this thread, as it does in the tracees, for the reason that [`Counterless`] is for. Nothing on
/// this thread may execute it but in [`with_cpuid`]; what libraries choose by it is chosen before.
pub struct TrapsCpuid(PhantomData<*const ()>);

impl TrapsCpuid {
    /// `None` when processor or kernel cannot.
    #[must_use]
    pub fn new() -> Option<TrapsCpuid> {
        // Both keep what they have found out, for the whole process: so do all that ask the standard library.
        let _ = (std::is_x86_feature_detected!("avx2"), blake3::hash(&[]));
        set_cpuid(false).then(|| {
            TRAPS_CPUID.set(true);
            TrapsCpuid(PhantomData)
        })
    }
}

impl Drop for TrapsCpuid {
    fn drop(&mut self) {
        set_cpuid(true);
        TRAPS_CPUID.set(false);
    }
}

/// Calls something that may execute `cpuid`, from a thread that may be one that [`TrapsCpuid`].
pub fn with_cpuid<T>(call: impl FnOnce() -> T) -> T {
    let hidden = TRAPS_CPUID.get() && set_cpuid(true);
    let result = call();
    if hidden {
        set_cpuid(false);
    }
    result
}

/// What the processor says of itself.
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> std::arch::x86_64::CpuidResult {
    with_cpuid(|| std::arch::x86_64::__cpuid_count(leaf, subleaf))
}

fn set_cpuid(works: bool) -> bool {
    // SAFETY: takes no pointer; what the thread does afterwards is said at [`TrapsCpuid`].
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_CPUID, libc::c_long::from(works)) == 0 }
}

/// The time stamp counter, on a thread that may read it.
#[must_use]
pub fn counter() -> u64 {
    // SAFETY: the instruction only returns a number; the caller's thread is not [`Counterless`].
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_uses_executes_no_cpuid() {
        // Where it did, the thread would end here, and the test with it.
        let traps = TrapsCpuid::new();
        let content = vec![7; 1 << 20];
        let hash = blake3::hash(&content);
        let found = memchr::memchr(8, &content);
        let said = cpuid(0, 0);
        drop(traps);
        assert_eq!((hash, found), (blake3::hash(&content), None));
        assert_eq!(said, cpuid(0, 0));
    }
}
