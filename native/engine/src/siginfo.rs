//! Members of a `siginfo_t`, as the kernel's 128 bytes, sigaction(2) and asm-generic/siginfo.h.

use libc::c_int;

/// The bytes of a `siginfo_t`.
pub type SigInfo = [u8; 128];

/// Sent by kill(2).
pub const SI_USER: c_int = 0;
/// Sent by the kernel.
pub const SI_KERNEL: c_int = 0x80;
/// Memory that is there, but not for this, sigaction(2).
pub const SEGV_ACCERR: c_int = 2;
/// Sent by tgkill(2).
pub const SI_TKILL: c_int = -6;
/// An instruction that is none.
pub const ILL_ILLOPN: c_int = 2;
/// A step of one instruction.
pub const TRAP_TRACE: c_int = 2;
/// A hardware breakpoint.
pub const TRAP_HWBKPT: c_int = 4;
/// `si_code` of SIGSYS for a call of which a filter has made a trap, seccomp(2).
pub const SYS_SECCOMP: c_int = 1;
/// `si_code` of SIGSYS for a call that the program has sent to itself: prctl(2), PR_SET_SYSCALL_USER_DISPATCH. The kernel looks
/// at that before a tracer hears of the call.
pub const SYS_USER_DISPATCH: c_int = 2;

fn int(info: &SigInfo, at: usize) -> c_int {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&info[at..at + 4]);
    c_int::from_ne_bytes(bytes)
}

/// `si_signo`.
#[must_use]
pub fn signal(info: &SigInfo) -> c_int {
    int(info, 0)
}

/// `si_code`.
#[must_use]
pub fn code(info: &SigInfo) -> c_int {
    int(info, 8)
}

/// `si_pid`, of a signal that somebody has sent.
#[must_use]
pub fn pid(info: &SigInfo) -> c_int {
    int(info, 16)
}

/// `si_addr`, of a fault.
#[must_use]
pub fn address(info: &SigInfo) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&info[16..24]);
    u64::from_ne_bytes(bytes)
}

/// `si_syscall`, of SIGSYS: the number of the call.
#[must_use]
pub fn call_number(info: &SigInfo) -> c_int {
    int(info, 24)
}

/// Whether a breakpoint of the program's own code (int3) was run: its thread stands behind it.
#[must_use]
pub fn is_breakpoint(info: &SigInfo) -> bool {
    signal(info) == libc::SIGTRAP && code(info) == SI_KERNEL
}

/// Whether a signal comes from the instruction at which its thread stands: it recurs in replay.
#[must_use]
pub fn is_synchronous(signal: c_int, code: c_int) -> bool {
    match signal {
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP => code > 0,
        libc::SIGSYS => code == SYS_USER_DISPATCH,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_where_the_c_library_has_them() {
        // SAFETY: siginfo_t is plain data, for which zeros are valid.
        let mut c: libc::siginfo_t = unsafe { std::mem::zeroed() };
        (c.si_signo, c.si_code) = (libc::SIGUSR1, SI_TKILL);
        // SAFETY: both types have 128 bytes, and all of the first are initialised.
        let mut info: SigInfo = unsafe { std::mem::transmute(c) };
        info[16..20].copy_from_slice(&4711_i32.to_ne_bytes());
        // SAFETY: as above, the other way round.
        let c: libc::siginfo_t = unsafe { std::mem::transmute(info) };
        // SAFETY: the members of a signal that was sent are these.
        assert_eq!((code(&info), pid(&info)), (c.si_code, unsafe { c.si_pid() }));
        // SAFETY: a fault has its address in the same place.
        assert_eq!(address(&info), unsafe { c.si_addr() } as u64);
        assert!(is_synchronous(libc::SIGSEGV, SI_KERNEL) && !is_synchronous(libc::SIGSEGV, SI_TKILL));
        assert!(!is_synchronous(libc::SIGALRM, SI_KERNEL));
        assert!(is_synchronous(libc::SIGSYS, SYS_USER_DISPATCH) && !is_synchronous(libc::SIGSYS, 1));
    }
}
