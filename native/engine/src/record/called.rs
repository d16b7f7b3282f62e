//! Calls that a stopped task makes for the recorder, at a call instruction of its vDSO.

use libc::{c_int, user_regs_struct};

use crate::image;
use crate::siginfo;
use crate::sys::{self, Resume, USER_CS};
use crate::task::Task;

/// Numbers of a call for 64-bit and for 32-bit programs (asm/unistd_32.h).
pub(super) type Numbers = (i64, u64);

/// Lets a stopped tracee execute a call with up to six arguments; its raw result, `None` when it cannot. The registers and blocked
/// signals are `regs` and what they were afterwards. Signals that come meanwhile are sent again.
pub(super) fn call_in(task: &Task, regs: &user_regs_struct, numbers: Numbers, args: &[u64]) -> Option<i64> {
    let tid = task.tid;
    task.disarm();
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
    sys::set_registers(tid, &own).ok()?;
    let is_made = matches!(make_call(task), Stepped::Done);
    let raw = |after: user_regs_struct| if is_64_bit { after.rax as i64 } else { (after.rax as i32).into() };
    let result = sys::registers(tid).ok().filter(|_| is_made).map(raw);
    let _ = sys::set_registers(tid, regs);
    result
}

/// Lends memory of a stopped tracee that is free to use, by its address: below the stack, and below what functions without frames use of it.
/// Afterwards it is what it was.
pub(super) fn with_scratch<T>(
    task: &Task,
    regs: &user_regs_struct,
    bytes: usize,
    act: impl FnOnce(u64) -> Option<T>,
) -> Option<T> {
    const RED_ZONE: u64 = 128;
    let scratch = regs.rsp.checked_sub(RED_ZONE + bytes as u64)? & !15;
    let mut before = vec![0; bytes];
    (sys::read_pieces(task.tid, &[(scratch, bytes)], &mut before) == bytes).then_some(())?;
    let done = act(scratch);
    sys::write_memory(task.tid, scratch, &before);
    done
}

/// How a step has ended.
pub(super) enum Stepped {
    Done,
    /// The instruction has raised a signal, at which the task stands now.
    Raised,
    /// The task has ended, or came to no end of the instruction.
    Gone,
}

/// Lets a stopped tracee execute one instruction. Signals that come meanwhile are sent again.
pub(super) fn step(task: &Task) -> Stepped {
    let tid = task.tid;
    lead(task, Resume::Step, |status| {
        let signal = status >> 8;
        let raised = (1..=64).contains(&signal)
            && sys::signal_info(tid).is_ok_and(|info| siginfo::is_synchronous(signal, siginfo::code(&info)));
        // TRAP_TRACE, or TRAP_BRKPT where the step was a call.
        raised.then_some(if signal == libc::SIGTRAP { Stepped::Done } else { Stepped::Raised })
    })
}

/// Lets a stopped tracee make the call before which it stands. It is not stepped, since the trap of a step is forced upon it: where the
/// program blocks SIGTRAP, the kernel would forget its handler.
fn make_call(task: &Task) -> Stepped {
    let (tid, mut is_entered) = (task.tid, false);
    lead(task, Resume::Syscall, |status| {
        let info = sys::syscall_info(tid).ok().filter(|_| status >> 8 == libc::SIGTRAP | 0x80)?;
        is_entered |= info.op == sys::INFO_ENTRY;
        // The end of another call may come first.
        (is_entered && info.op == sys::INFO_EXIT).then_some(Stepped::Done)
    })
}

/// Lets a stopped tracee go on until `end` says what a stop has brought. Signals that come meanwhile are sent again.
fn lead(task: &Task, how: Resume, mut end: impl FnMut(c_int) -> Option<Stepped>) -> Stepped {
    const MOST_SIGNALS: usize = 64;
    /// What an instruction raises: blocked it would end the program.
    const RAISED: u64 = 1 << (libc::SIGILL - 1)
        | 1 << (libc::SIGTRAP - 1)
        | 1 << (libc::SIGBUS - 1)
        | 1 << (libc::SIGFPE - 1)
        | 1 << (libc::SIGSEGV - 1);
    let tid = task.tid;
    let Ok(mask) = sys::signal_mask(tid) else { return Stepped::Gone };
    if sys::set_signal_mask(tid, mask | !RAISED).is_err() {
        return Stepped::Gone;
    }
    let (mut came, mut stepped) = (Vec::new(), Stepped::Gone);
    while came.len() < MOST_SIGNALS && sys::resume(tid, how, 0).is_ok() {
        let Ok(waited) = sys::wait_stop(tid) else { return Stepped::Gone };
        if !libc::WIFSTOPPED(waited.status) {
            return Stepped::Gone;
        }
        if let Some(ended) = end(waited.status) {
            stepped = ended;
            break;
        }
        if waited.status >> 16 == sys::event::STOP {
            // It stops with its process, or goes on with it (SIGTRAP).
            came.retain(|came| *came != libc::SIGSTOP);
            came.extend((libc::WSTOPSIG(waited.status) != libc::SIGTRAP).then_some(libc::SIGSTOP));
        }
        let signal = waited.status >> 8;
        came.extend((1..=64).contains(&signal).then_some(signal));
    }
    let _ = sys::set_signal_mask(tid, mask);
    let pid = task.process.borrow().pid;
    for signal in came {
        let _ = sys::tgkill(pid, tid, signal);
    }
    stepped
}
