//! Calls that a stopped task makes for the recorder, at a call instruction of its vDSO.

use libc::user_regs_struct;

use crate::image;
use crate::siginfo;
use crate::sys::{self, Resume, USER_CS};
use crate::task::Task;

/// Numbers of a call for 64-bit and for 32-bit programs (asm/unistd_32.h).
pub(super) type Numbers = (i64, u64);

/// Lets a stopped tracee execute a call with up to six arguments; its raw result, `None` when it cannot. The registers and blocked
/// signals are `regs` and what they were afterwards. Signals that come meanwhile are sent again.
pub(super) fn call_in(task: &Task, regs: &user_regs_struct, numbers: Numbers, args: &[u64]) -> Option<i64> {
    const MOST_SIGNALS: usize = 64;
    let tid = task.tid;
    let is_64_bit = regs.cs == USER_CS;
    let (number, instruction) = if is_64_bit { (numbers.0 as u64, image::SYSCALL) } else { (numbers.1, image::INT_80) };
    let mut own = user_regs_struct {
        rip: task.call_instruction(instruction)?,
        orig_rax: u64::MAX,
        rax: number,
        eflags: 0x202,
        ..*regs
    };
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    if is_64_bit {
        [own.rdi, own.rsi, own.rdx, own.r10, own.r8, own.r9] = all;
    } else {
        [own.rbx, own.rcx, own.rdx, own.rsi, own.rdi, own.rbp] = all;
    }
    let mask = sys::signal_mask(tid).ok()?;
    sys::set_signal_mask(tid, u64::MAX).ok()?;
    sys::set_registers(tid, &own).ok()?;
    let (mut came, mut result) = (Vec::new(), None);
    while came.len() < MOST_SIGNALS && sys::resume(tid, Resume::Step, 0).is_ok() {
        let waited = sys::wait_stop(tid).ok()?;
        if !libc::WIFSTOPPED(waited.status) {
            return None;
        }
        let signal = waited.status >> 8;
        // TRAP_TRACE, or TRAP_BRKPT where the step was a call.
        if signal == libc::SIGTRAP && sys::signal_info(tid).is_ok_and(|info| siginfo::code(&info) > 0) {
            let raw = |after: user_regs_struct| if is_64_bit { after.rax as i64 } else { (after.rax as i32).into() };
            result = sys::registers(tid).ok().map(raw);
            break;
        }
        if waited.status >> 16 == sys::event::STOP {
            // It stops with its process, or goes on with it (SIGTRAP).
            came.retain(|came| *came != libc::SIGSTOP);
            came.extend((libc::WSTOPSIG(waited.status) != libc::SIGTRAP).then_some(libc::SIGSTOP));
        }
        came.extend((1..=64).contains(&signal).then_some(signal));
    }
    let _ = sys::set_registers(tid, regs);
    let _ = sys::set_signal_mask(tid, mask);
    let pid = task.process.borrow().pid;
    for signal in came {
        let _ = sys::tgkill(pid, tid, signal);
    }
    result
}
