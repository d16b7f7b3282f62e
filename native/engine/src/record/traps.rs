//! What is around an instruction that is answered: it traps by a signal, of which the program is to notice nothing, and when the
//! program is let go it does not trap any more.

use libc::{c_int, pid_t};
use trace_format::event::{EventKind, Trap};

use super::called::{Numbers, call_in, with_scratch};
use super::signals::catches;
use super::{Recorder, World};
use crate::memory::Memory;
use crate::siginfo::{self, SigInfo};
use crate::sys::{self, USER_CS};
use crate::task::{Boundary, Task};
use crate::trap::CPUID;

const PRCTL: Numbers = (libc::SYS_prctl, 172);
const ARCH_PRCTL: Numbers = (libc::SYS_arch_prctl, 384);
const RT_SIGACTION: Numbers = (libc::SYS_rt_sigaction, 174);
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
    /// Whether `cpuid` traps in all programs.
    pub(super) fn traps_all_cpuid(&self) -> bool {
        self.replayable && self.shown_cpu.is_some()
    }

    /// Lets `cpuid` trap in a program that is about to begin: exec has ended that.
    pub(super) fn trap_cpuid(&mut self, task: &Task, regs: &libc::user_regs_struct) {
        if self.shown_cpu.is_some() && !World::set_cpuid(task, regs, false) {
            self.unreplayable_of(
                task.tid,
                "a program was told of this processor what a trace does not have (cpuid could not be caught)",
            );
        }
    }

    /// Lets `cpuid` trap in a stopped task, or not; whether the kernel does so.
    pub(super) fn set_cpuid(task: &Task, regs: &libc::user_regs_struct, works: bool) -> bool {
        call_in(task, regs, ARCH_PRCTL, &[sys::ARCH_SET_CPUID, u64::from(works)]) == Some(0)
    }

    /// From now on `cpuid` does not trap any more in a stopped task whose loader was learnt from.
    pub(super) fn end_learning(task: &mut Task) {
        if let Ok(regs) = sys::registers(task.tid) {
            task.traps.learns = !World::set_cpuid(task, &regs, true);
        }
    }

    /// Whether a `cpuid` that traps stands at an address.
    pub(super) fn is_cpuid(&self, tid: pid_t, ip: u64) -> bool {
        let mut code = [0; 2];
        self.shown_cpu.is_some() && sys::read_pieces(tid, &[(ip, 2)], &mut code) == 2 && code == CPUID
    }

    /// The same while a loader is learnt from.
    pub(super) fn answer_learnt(&mut self, task: &mut Task, signal: c_int) -> bool {
        task.traps.learns
            && signal == libc::SIGSEGV
            && sys::signal_info(task.tid).is_ok_and(|info| self.answer_cpuid(task, &info))
    }

    /// Answers `cpuid` for a task that has trapped at one; whether it has.
    pub(super) fn answer_cpuid(&mut self, task: &mut Task, info: &SigInfo) -> bool {
        if siginfo::code(info) != siginfo::SI_KERNEL || task.traps.cpuid_is_forbidden {
            return false;
        }
        let Ok(mut regs) = sys::registers(task.tid) else { return false };
        if !self.is_cpuid(task.tid, regs.rip) {
            return false;
        }
        let asked = (regs.rax as u32, regs.rcx as u32);
        let Some(answers) = &mut self.shown_cpu else { return false };
        let answer = answers.answer(asked.0, asked.1);
        self.remember_answer(task, regs.rip, asked, answer);
        let [eax, ebx, ecx, edx] = answer.map(u64::from);
        let mut event = self.event(task, EventKind::Trap, Trap::Cpuid as i32);
        (event.ip, event.sp, event.nargs) = (regs.rip, regs.rsp, 6);
        event.args = [u64::from(asked.0), u64::from(asked.1), eax, ebx, ecx, edx];
        event.ret = i64::from(self.keep_signal(task, libc::SIGSEGV, &regs));
        (regs.rax, regs.rbx, regs.rcx, regs.rdx) = (eax, ebx, ecx, edx);
        regs.rip += CPUID.len() as u64;
        if sys::set_registers(task.tid, &regs).is_ok() && self.replayable {
            task.boundary = Some(Boundary::at(regs.rip, regs.rsp));
            self.commit(event, &Memory::default());
        }
        true
    }
}

impl Recorder {
    /// What a task is told that is about to ask whether `cpuid` works (ARCH_GET_CPUID, arch_prctl(2)): it does as far as its program has
    /// not said otherwise.
    pub(super) fn answers_cpuid_mode(&self, tid: pid_t) -> Option<i64> {
        let task = self.tasks.get(&tid).filter(|task| self.world.traps_all_cpuid() || task.traps.learns)?;
        let asks = task.call.is_some_and(|call| call.name() == "arch_prctl" && call.args[0] == sys::ARCH_GET_CPUID);
        asks.then_some(i64::from(!task.traps.cpuid_is_forbidden))
    }
}

/// Sets the handler of an action whose other members are as they were.
fn restore_handler(task: &Task, regs: &libc::user_regs_struct, signal: c_int, handler: u64) -> Option<()> {
    let word = if regs.cs == USER_CS { 8 } else { 4 };
    let act = |args: &[u64]| call_in(task, regs, RT_SIGACTION, args).filter(|result| *result == 0).map(drop);
    with_scratch(task, regs, ACTION_BYTES, |scratch| {
        act(&[signal as u64, 0, scratch, SET_BYTES])?;
        let mut action = [0; ACTION_BYTES];
        (sys::read_pieces(task.tid, &[(scratch, ACTION_BYTES)], &mut action) == ACTION_BYTES).then_some(())?;
        action[..word].copy_from_slice(&handler.to_le_bytes()[..word]);
        sys::write_memory(task.tid, scratch, &action).then_some(())?;
        act(&[signal as u64, scratch, 0, SET_BYTES])
    })
}

/// Lets a stopped tracee do by itself what was answered for it: nobody will do that any more.
pub(super) fn give_back(world: &World, task: &Task) {
    World::put_unseen_back(task);
    let Ok(regs) = sys::registers(task.tid) else { return };
    super::guarded::give_back(task, &regs);
    if world.traps_all_cpuid() {
        World::set_cpuid(task, &regs, true);
    }
    if !task.traps.clock_is_forbidden {
        let (option, enable) = (libc::PR_SET_TSC as u64, libc::PR_TSC_ENABLE as u64);
        call_in(task, &regs, PRCTL, &[option, enable, 0, 0]);
    }
}
