//! What is around an instruction that is answered: it traps by a signal, of which the program is to notice nothing, and when the
//! program is let go it does not trap any more.

use libc::{c_int, pid_t};
use trace_format::event::{EventKind, Trap};

use super::World;
use super::signals::catches;
use crate::cpu::features;
use crate::image;
use crate::memory::Memory;
use crate::siginfo::{self, SigInfo};
use crate::sys::{self, Resume, USER_CS};
use crate::task::{Boundary, Task};

/// Numbers of calls for 64-bit and for 32-bit programs (asm/unistd_32.h).
type Numbers = (i64, u64);
const PRCTL: Numbers = (libc::SYS_prctl, 172);
const ARCH_PRCTL: Numbers = (libc::SYS_arch_prctl, 384);
const RT_SIGACTION: Numbers = (libc::SYS_rt_sigaction, 174);
const CPUID: [u8; 2] = [0x0f, 0xa2];
/// Bytes of a kernel signal set, and of the largest struct sigaction with one.
const SET_BYTES: u64 = 8;
const ACTION_BYTES: usize = 32;

/// Remembers which signals a stopped thread blocks now.
pub(super) fn note_blocked(task: &mut Task) {
    if let Ok(mask) = sys::signal_mask(task.tid) {
        task.traps.blocked = mask;
    }
}

impl World {
    /// The kernel unblocks a signal that an instruction forces upon a thread, and forgets what is to be done about it when it
    /// was blocked or ignored (`force_sig_info`). Here nothing was to happen at all: both become what they were. Whether it
    /// was blocked.
    pub(super) fn keep_signal(&mut self, task: &Task, signal: c_int, regs: &libc::user_regs_struct) -> bool {
        let is_blocked = task.traps.blocked & 1 << (signal - 1) != 0;
        let handler = task.handler(signal).filter(|handler| is_blocked || handler.addr == 1);
        if let Some(handler) = handler
            && restore_handler(task, regs, signal, handler.addr).is_none()
        {
            self.note("the handler of a signal could not be kept while an instruction was answered");
        }
        if is_blocked {
            let _ = sys::set_signal_mask(task.tid, task.traps.blocked);
        }
        is_blocked
    }

    /// The same where nobody has noted what the thread blocks. That the kernel has taken a handler away says that the signal
    /// was blocked; of one without a handler it cannot be told.
    pub(super) fn keep_unnoted_signal(&mut self, task: &mut Task, signal: c_int, regs: &libc::user_regs_struct) {
        let noted = task.traps.blocked;
        let handler = task.handler(signal).filter(|handler| handler.is_caught() && !handler.once);
        if handler.is_some() && !catches(task.tid, signal) {
            note_blocked(task);
            task.traps.blocked |= 1 << (signal - 1);
        }
        self.keep_signal(task, signal, regs);
        task.traps.blocked = noted;
    }
}

impl World {
    /// Lets `cpuid` trap in a program that is about to begin: exec has ended that.
    pub(super) fn trap_cpuid(&mut self, task: &Task, regs: &libc::user_regs_struct) {
        if self.shown_cpu.is_some() && call_in(task, regs, ARCH_PRCTL, [sys::ARCH_SET_CPUID, 0, 0, 0]).is_none() {
            self.unreplayable(
                "a program was told of this processor what a trace does not have (cpuid could not be caught)",
            );
        }
    }

    /// Whether a `cpuid` that traps stands at an address.
    pub(super) fn is_cpuid(&self, tid: pid_t, ip: u64) -> bool {
        let mut code = [0; 2];
        self.shown_cpu.is_some() && sys::read_pieces(tid, &[(ip, 2)], &mut code) == 2 && code == CPUID
    }

    /// Answers `cpuid` for a task that has trapped at one; whether it has.
    pub(super) fn answer_cpuid(&mut self, task: &mut Task, info: &SigInfo) -> bool {
        let Some(level) = self.shown_cpu.filter(|_| siginfo::code(info) == siginfo::SI_KERNEL) else { return false };
        let Ok(mut regs) = sys::registers(task.tid) else { return false };
        if !self.is_cpuid(task.tid, regs.rip) {
            return false;
        }
        let asked = (regs.rax as u32, regs.rcx as u32);
        let [eax, ebx, ecx, edx] = features::answer(level, asked.0, asked.1).map(u64::from);
        let mut event = self.event(task, EventKind::Trap, Trap::Cpuid as i32);
        (event.ip, event.sp, event.nargs) = (regs.rip, regs.rsp, 6);
        event.args = [u64::from(asked.0), u64::from(asked.1), eax, ebx, ecx, edx];
        event.ret = i64::from(self.keep_signal(task, libc::SIGSEGV, &regs));
        (regs.rax, regs.rbx, regs.rcx, regs.rdx) = (eax, ebx, ecx, edx);
        regs.rip += CPUID.len() as u64;
        if sys::set_registers(task.tid, &regs).is_ok() {
            task.boundary = Some(Boundary { ip: regs.rip, sp: regs.rsp, recurs: false });
            self.commit(event, &Memory::default());
        }
        true
    }
}

/// Sets the handler of an action whose other members are as they were.
fn restore_handler(task: &Task, regs: &libc::user_regs_struct, signal: c_int, handler: u64) -> Option<()> {
    const RED_ZONE: u64 = 128;
    let word = if regs.cs == USER_CS { 8 } else { 4 };
    // Memory below the stack, and below what functions without frames use of it, is free to use.
    let scratch = regs.rsp.checked_sub(RED_ZONE + 2 * ACTION_BYTES as u64)? & !15;
    let (mut before, mut action) = ([0; ACTION_BYTES], [0; ACTION_BYTES]);
    let read = |buffer: &mut [u8]| {
        (sys::read_pieces(task.tid, &[(scratch, ACTION_BYTES)], buffer) == ACTION_BYTES).then_some(())
    };
    read(&mut before)?;
    let done = (|| {
        call_in(task, regs, RT_SIGACTION, [signal as u64, 0, scratch, SET_BYTES])?;
        read(&mut action)?;
        action[..word].copy_from_slice(&handler.to_le_bytes()[..word]);
        sys::write_memory(task.tid, scratch, &action).then_some(())?;
        call_in(task, regs, RT_SIGACTION, [signal as u64, scratch, 0, SET_BYTES])
    })();
    sys::write_memory(task.tid, scratch, &before);
    done
}

/// Lets a stopped tracee execute a call, at a call instruction of its vDSO; `None` when it cannot, or the call fails. Its registers
/// and blocked signals are `regs` and what they were. Signals that come meanwhile are sent again.
fn call_in(task: &Task, regs: &libc::user_regs_struct, numbers: Numbers, args: [u64; 4]) -> Option<()> {
    const MOST_SIGNALS: usize = 64;
    let tid = task.tid;
    let is_64_bit = regs.cs == USER_CS;
    let (number, instruction) = if is_64_bit { (numbers.0 as u64, image::SYSCALL) } else { (numbers.1, image::INT_80) };
    let mut own = libc::user_regs_struct {
        rip: task.call_instruction(instruction)?,
        orig_rax: u64::MAX,
        rax: number,
        eflags: 0x202,
        ..*regs
    };
    if is_64_bit {
        [own.rdi, own.rsi, own.rdx, own.r10] = args;
    } else {
        [own.rbx, own.rcx, own.rdx, own.rsi] = args;
    }
    let mask = sys::signal_mask(tid).ok()?;
    sys::set_signal_mask(tid, u64::MAX).ok()?;
    sys::set_registers(tid, &own).ok()?;
    let (mut came, mut result) = (Vec::new(), None);
    while came.len() < MOST_SIGNALS && sys::resume(tid, Resume::Step, 0).is_ok() {
        let waited = sys::wait_for(tid).ok()?;
        if !libc::WIFSTOPPED(waited.status) {
            return None;
        }
        let signal = waited.status >> 8;
        // TRAP_TRACE, or TRAP_BRKPT where the step was a call.
        if signal == libc::SIGTRAP && sys::signal_info(tid).is_ok_and(|info| siginfo::code(&info) > 0) {
            result = sys::registers(tid).ok().filter(|after| after.rax == 0).map(drop);
            break;
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

/// Lets a stopped tracee do by itself what was answered for it: nobody will do that any more.
pub(super) fn give_back(world: &World, task: &Task) {
    World::put_unseen_back(task);
    let Ok(regs) = sys::registers(task.tid) else { return };
    if world.shown_cpu.is_some() {
        call_in(task, &regs, ARCH_PRCTL, [sys::ARCH_SET_CPUID, 1, 0, 0]);
    }
    if !task.traps.clock_is_forbidden {
        let (option, enable) = (libc::PR_SET_TSC as u64, libc::PR_TSC_ENABLE as u64);
        call_in(task, &regs, PRCTL, [option, enable, 0, 0]);
    }
}
