//! How no call passes unseen where calls are filtered already, as in most containers: what an older filter refuses never comes to one of
//! the recorder, since of all filters the strictest answer counts (seccomp(2)).
//!
//! There the kernel sends calls that are not the agent's back to where they came from, as SIGSYS, before it looks at any filter
//! (`PR_SET_SYSCALL_USER_DISPATCH` of prctl(2), set from outside). The recorder sees that signal, which the program never gets, and has
//! the call entered once more, as any that is traced: the older filter decides then, and its answer is seen. A thread is set so when it is
//! let go on and has a ring; any other stops at each of its calls anyway. New tasks are not, nor is what exec begins, so that nothing is
//! left in a program that goes on without the recorder.

use libc::{c_int, c_long, pid_t};

use super::agent::Agent;
use super::called::{Numbers, call_in};
use super::traps::note_blocked;
use super::{Recorder, World};
use crate::agent::code::State;
use crate::doctor;
use crate::image;
use crate::siginfo;
use crate::stepped;
use crate::sys::{self, Resume};
use crate::task::Task;

/// What the agent meets in a filter that was there before the recorder.
#[derive(Clone, Copy, Debug)]
pub(super) struct OlderFilter {
    /// Files may be opened by openat2(2).
    pub opens: bool,
}

impl OlderFilter {
    /// Looks what the filter of this thread lets the agent do, in children that try it.
    ///
    /// # Errors
    /// Why the agent cannot work under it.
    pub fn find() -> Result<OlderFilter, &'static str> {
        doctor::dispatch()
            .map_err(|_| "where calls are filtered already (seccomp) with this kernel (Linux 6.4 can)")?;
        let asks = |call: &OwnCall| doctor::fails_as(call.0, call.1, call.2);
        if !OWN_CALLS.iter().all(asks) {
            return Err("where calls that it makes for itself are filtered (seccomp)");
        }
        Ok(OlderFilter { opens: asks(&OPENS) })
    }
}

/// Number, arguments of which not all are right, and what the kernel finds wrong with them.
type OwnCall = (c_long, [c_long; 4], c_int);

/// Calls that the agent makes for itself.
const OWN_CALLS: [OwnCall; 6] = [
    (libc::SYS_fstat, [-1, 0, 0, 0], libc::EBADF),
    (libc::SYS_fcntl, [-1, libc::F_GETFD as c_long, 0, 0], libc::EBADF),
    (libc::SYS_poll, [0, 1, 0, 0], libc::EFAULT),
    (libc::SYS_readlink, [0, 0, 1, 0], libc::EFAULT),
    (libc::SYS_newfstatat, [libc::AT_FDCWD as c_long, 0, 0, 0], libc::EFAULT),
    (libc::SYS_clock_gettime, [libc::CLOCK_MONOTONIC as c_long, 1, 0, 0], libc::EFAULT),
];
const OPENS: OwnCall = (libc::SYS_openat2, [libc::AT_FDCWD as c_long, 0, 0, 0], libc::EINVAL);

const TGKILL: Numbers = (libc::SYS_tgkill, 270);
/// Bytes of an instruction of a call.
const CALL_BYTES: u64 = 2;
/// The one of 64-bit programs, and that of others; it stands before the place where `sysenter` comes back to, too.
const CALLS: [[u8; CALL_BYTES as usize]; 2] = [image::SYSCALL, image::INT_80];

impl Task {
    /// Calls of this stopped task are no longer sent back.
    pub(super) fn disarm(&self) {
        if self.is_armed.take() {
            let _ = sys::set_dispatch(self.tid, None);
        }
    }
}

impl World {
    /// How a task goes on that is in no call: so that it stops at those only that are not the agent's, where that is possible.
    pub(super) fn between_calls(&self, task: &mut Task) -> Resume {
        let has_agent = task.ring.is_some() && task.space.borrow().code.state == State::Present;
        let passing = self.agent.as_ref().filter(|_| self.dispatches && has_agent).map(Agent::passing);
        match passing {
            // It may be in the agent, and goes on there also when that has left.
            _ if task.is_armed.get() => Resume::Cont,
            _ if task.stepwise => Resume::Syscall,
            Some(passing) if sys::set_dispatch(task.tid, Some(&passing)).is_ok() => {
                task.is_armed.set(true);
                note_blocked(task);
                tell_made(task.tid);
                Resume::Cont
            }
            _ if self.dispatches => Resume::Syscall,
            _ => self.between,
        }
    }
}

impl Recorder {
    /// Has a call entered that was sent back, if that is what a task has stopped for.
    pub(super) fn enters_sent_back(&mut self, tid: pid_t, signal: c_int, now: u64) -> bool {
        if !self.is_sent_back(tid, signal) {
            return false;
        }
        let Some(mask) = self.stand_before_call(tid) else { return true };
        // What comes before the entry would come in the middle of an instruction.
        let _ = sys::set_signal_mask(tid, u64::MAX);
        let mut was_asked = false;
        while sys::resume(tid, Resume::Syscall, 0).is_ok() {
            let Ok(waited) = sys::wait_stop(tid) else { break };
            let status = waited.status;
            if status >> 8 == libc::SIGTRAP | 0x80 {
                let _ = sys::set_signal_mask(tid, mask);
                if was_asked {
                    let _ = sys::interrupt(tid);
                }
                self.syscall_stop(tid, now);
                break;
            }
            if status >> 16 == sys::event::STOP && libc::WSTOPSIG(status) == libc::SIGTRAP {
                was_asked = true;
            } else {
                // One that is to be stopped stands before the call then: sent once more, the signal would outlive a SIGCONT.
                let _ = sys::set_signal_mask(tid, mask);
                self.stops.push_back(waited);
                break;
            }
        }
        true
    }

    /// Lets a task go on to the first instruction of its handler, which may block more than it did.
    pub(super) fn go_into_handler(&mut self, tid: pid_t, signal: c_int) {
        let before = sys::registers(tid);
        let _ = sys::resume(tid, Resume::Step, signal);
        let Ok(waited) = sys::wait_stop(tid) else { return };
        match self.tasks.get_mut(&tid).filter(|_| waited.status >> 8 == libc::SIGTRAP) {
            Some(task) => {
                if let (Ok(before), Ok(regs)) = (before, sys::registers(tid)) {
                    stepped::clear_frame(tid, &before, &regs);
                }
                note_blocked(task);
                self.go_on(tid, 0);
            }
            None => self.dispatch(waited),
        }
    }

    /// Whether a task has stopped for a call that was sent back.
    pub(super) fn is_sent_back(&self, tid: pid_t, signal: c_int) -> bool {
        let Some(task) = self.tasks.get(&tid).filter(|task| signal == libc::SIGSYS && task.is_armed.get()) else {
            return false;
        };
        let is_forced = sys::signal_info(tid).is_ok_and(|info| siginfo::code(&info) == siginfo::SYS_USER_DISPATCH);
        is_forced || self.is_one_with_pending(task)
    }

    /// Whether a thread has got a SIGSYS that was pending, which the kernel took for the one that it sends for a call. A thread that blocks it
    /// gets no other; the agent may just have unblocked it. For one that does not, the kernel has put back what the call was entered with.
    fn is_one_with_pending(&self, task: &Task) -> bool {
        let blocks = task.traps.blocked & 1 << (libc::SIGSYS - 1) != 0;
        let Ok(regs) = sys::registers(task.tid) else { return false };
        let ip = regs.rip;
        let is_agents = self.world.agent.as_ref().is_some_and(|agent| agent.passing().contains(&ip));
        let mut code = [0; CALL_BYTES as usize];
        let before = [(ip.wrapping_sub(CALL_BYTES), code.len())];
        (blocks || is_put_back(&regs))
            && !is_agents
            && sys::read_pieces(task.tid, &before, &mut code) == code.len()
            && CALLS.contains(&code)
    }

    /// Has a task stand before the call that was sent back, and make it as it would without the recorder. The signals that it blocks.
    pub(super) fn stand_before_call(&mut self, tid: pid_t) -> Option<u64> {
        let task = self.tasks.get(&tid)?;
        task.disarm();
        let regs = sys::registers(tid).ok()?;
        let was_pending = !sys::signal_info(tid).is_ok_and(|info| siginfo::code(&info) == siginfo::SYS_USER_DISPATCH);
        self.world.keep_signal(task, libc::SIGSYS, &regs);
        if was_pending {
            // One that was sent to a single thread, in practice by that itself.
            let ids = [task.process.borrow().pid, tid, libc::SIGSYS].map(|id| id as u64);
            call_in(task, &regs, TGKILL, &ids);
        }
        let before = libc::user_regs_struct { rip: regs.rip.wrapping_sub(CALL_BYTES), orig_rax: u64::MAX, ..regs };
        sys::set_registers(tid, &before).ok()?;
        sys::signal_mask(tid).ok()
    }
}

/// Whether a thread has the registers with which it entered a call, or the call's result is its number by chance.
fn is_put_back(regs: &libc::user_regs_struct) -> bool {
    regs.orig_rax as i64 >= 0 && regs.rax == regs.orig_rax
}

/// The call of a stopped thread that has come back from it is not to be taken for one that is sent back.
fn tell_made(tid: pid_t) {
    if let Ok(regs) = sys::registers(tid)
        && is_put_back(&regs)
    {
        let _ = sys::set_registers(tid, &libc::user_regs_struct { orig_rax: u64::MAX, ..regs });
    }
}
