//! Strict mode of seccomp, for programs that are under a filter of the recorder: the kernel has one mode only.
//!
//! A program that asks for it is told that it has it, and the recorder ends it at the first call that the mode does not have.

use libc::pid_t;
use trace_format::table::Arch;

use super::Recorder;
use crate::capture::Call;
use crate::sys;
use crate::task::Task;

/// Whether a call asks for the mode: prctl(2) or seccomp(2).
pub(super) fn is_asked_for(call: &Call) -> bool {
    match call.name() {
        "prctl" => call.int(0) == libc::PR_SET_SECCOMP && call.args[1] == u64::from(libc::SECCOMP_MODE_STRICT),
        "seccomp" => call.int(0) as u32 == libc::SECCOMP_SET_MODE_STRICT && call.args[1] == 0 && call.args[2] == 0,
        _ => false,
    }
}

/// Whether the mode has a call: `mode1_syscalls` of kernel/seccomp.c, by their numbers as the kernel compares them.
pub(super) fn has(call: &Call) -> bool {
    match call.arch {
        Arch::X86_64 => matches!(call.name(), "read" | "write" | "exit" | "rt_sigreturn"),
        Arch::I386 => matches!(call.name(), "read" | "write" | "exit" | "sigreturn"),
    }
}

/// The numbers of these calls.
#[must_use]
pub fn numbers(arch: Arch) -> [u32; 4] {
    match arch {
        Arch::X86_64 => [0, 1, 15, 60],
        Arch::I386 => [3, 4, 119, 1],
    }
}

/// Ends a thread that makes a call that its mode does not have. The kernel would leave other threads of the process alone.
pub(super) fn end(task: &Task) {
    let _ = sys::kill(task.process.borrow().pid, libc::SIGKILL);
}

impl Recorder {
    /// A task has entered a call: gives it the mode, or holds it to that.
    pub(super) fn keep_strict(&mut self, tid: pid_t) {
        // Without a filter the kernel does it itself.
        if !self.is_filtered() {
            return;
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let Some(call) = &task.call else { return };
        if task.is_strict {
            if !has(call) {
                end(task);
            }
        } else if !task.stepwise && is_asked_for(call) {
            let skip = |regs| sys::set_registers(tid, &libc::user_regs_struct { orig_rax: u64::MAX, rax: 0, ..regs });
            if sys::registers(tid).and_then(skip).is_ok() {
                // From now on each call is looked at.
                (task.is_strict, task.stepwise) = (true, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use trace_format::syscalls::SYSCALLS;
    use trace_format::table::Arch;

    use super::{has, is_asked_for, numbers};
    use crate::capture::Call;
    use crate::sys::SyscallInfo;

    fn call(name: &str, args: [u64; 6]) -> Call {
        let row = SYSCALLS.iter().find(|row| row.name == name).expect("a row");
        let number = row.number.on(Arch::X86_64).expect("a number");
        Call::entered(&SyscallInfo::entry(0xc000_003e, (0, 0), u64::from(number), args))
    }

    #[test]
    fn the_mode_is_asked_for_in_two_ways() {
        assert!(is_asked_for(&call("prctl", [22, 1, 0, 0, 0, 0])));
        assert!(!is_asked_for(&call("prctl", [22, 2, 0, 0, 0, 0])));
        assert!(is_asked_for(&call("seccomp", [0, 0, 0, 0, 0, 0])));
        // The kernel refuses these.
        assert!(!is_asked_for(&call("seccomp", [0, 1, 0, 0, 0, 0])));
        assert!(!is_asked_for(&call("seccomp", [0, 0, 1, 0, 0, 0])));
    }

    #[test]
    fn the_numbers_are_those_of_its_calls() {
        for (arch, machine) in [(Arch::X86_64, 0xc000_003e), (Arch::I386, 0x4000_0003)] {
            let has = |number: u32| has(&Call::entered(&SyscallInfo::entry(machine, (0, 0), number.into(), [0; 6])));
            let all: Vec<u32> = (0..500).filter(|number| has(*number)).collect();
            let mut wanted = numbers(arch);
            wanted.sort_unstable();
            assert_eq!(all, wanted);
        }
    }

    #[test]
    fn the_mode_has_four_calls() {
        assert!(["read", "write", "exit", "rt_sigreturn"].iter().all(|name| has(&call(name, [0; 6]))));
        assert!(!["getpid", "exit_group", "openat"].iter().any(|name| has(&call(name, [0; 6]))));
    }
}
