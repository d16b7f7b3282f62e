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
use super::called::{Numbers, call_in, with_scratch};
use super::traps::note_blocked;
use super::{Recorder, World};
use crate::agent::code::State;
use crate::doctor::{self, Wrong};
use crate::image;
use crate::siginfo::{self, SigInfo};
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
        if !doctor::reach_kernel(&OWN_CALLS) {
            return Err("where calls that it makes for itself are filtered (seccomp)");
        }
        Ok(OlderFilter { opens: doctor::reach_kernel(&[OPENS]) })
    }
}

/// Calls that the agent makes for itself.
const OWN_CALLS: [Wrong; 6] = [
    (libc::SYS_fstat, [-1, 0, 0, 0], libc::EBADF),
    (libc::SYS_fcntl, [-1, libc::F_GETFD as c_long, 0, 0], libc::EBADF),
    (libc::SYS_poll, [0, 1, 0, 0], libc::EFAULT),
    (libc::SYS_readlink, [0, 0, 1, 0], libc::EFAULT),
    (libc::SYS_newfstatat, [libc::AT_FDCWD as c_long, 0, 0, 0], libc::EFAULT),
    (libc::SYS_clock_gettime, [libc::CLOCK_MONOTONIC as c_long, 1, 0, 0], libc::EFAULT),
];
const OPENS: Wrong = (libc::SYS_openat2, [libc::AT_FDCWD as c_long, 0, 0, 0], libc::EINVAL);

const GETPID: Numbers = (libc::SYS_getpid, 20);
const GETTID: Numbers = (libc::SYS_gettid, 224);
const RT_TGSIGQUEUEINFO: Numbers = (libc::SYS_rt_tgsigqueueinfo, 335);
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
        // It may be in the agent, and goes on there also when that has left.
        if task.is_armed.get() {
            return Resume::Cont;
        }
        if task.stepwise {
            return Resume::Syscall;
        }
        if !self.dispatches || self.arm(task) { self.between } else { Resume::Syscall }
    }

    /// Has the calls of a stopped task sent back that are not the agent's, if that is in it.
    fn arm(&self, task: &mut Task) -> bool {
        let has_agent = task.ring.is_some() && task.space.borrow().code.state == State::Present;
        let passing = self.agent.as_ref().filter(|_| has_agent).map(Agent::passing);
        let is_armed = passing.is_some_and(|passing| sys::set_dispatch(task.tid, Some(&passing)).is_ok());
        task.is_armed.set(is_armed);
        if is_armed {
            note_blocked(task);
            tell_made(task.tid);
        }
        is_armed
    }
}

impl Recorder {
    /// Has a call entered that was sent back, if that is what a task has stopped for.
    pub(super) fn enters_sent_back(&mut self, tid: pid_t, signal: c_int, now: u64) -> bool {
        let Some(sent_back) = self.sent_back(tid, signal) else { return false };
        let Some(mask) = self.stand_before_call(tid, &sent_back) else { return true };
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

    /// What a task has stopped with for a call that was sent back; nothing where it has stopped for something else.
    pub(super) fn sent_back(&self, tid: pid_t, signal: c_int) -> Option<SentBack> {
        let task = self.tasks.get(&tid).filter(|task| signal == libc::SIGSYS && task.is_armed.get())?;
        let info = sys::signal_info(tid).ok()?;
        let is_forced = siginfo::code(&info) == siginfo::SYS_USER_DISPATCH;
        (is_forced || self.is_one_with_pending(task)).then_some(SentBack { pending: (!is_forced).then_some(info) })
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
    pub(super) fn stand_before_call(&mut self, tid: pid_t, sent_back: &SentBack) -> Option<u64> {
        let task = self.tasks.get(&tid)?;
        task.disarm();
        let regs = sys::registers(tid).ok()?;
        self.world.keep_signal(task, libc::SIGSYS, &regs);
        if let Some(info) = &sent_back.pending
            && send_again(task, &regs, info).is_none()
        {
            self.world.note("a SIGSYS that was pending was lost while a call was entered");
        }
        let before = libc::user_regs_struct { rip: regs.rip.wrapping_sub(CALL_BYTES), orig_rax: u64::MAX, ..regs };
        sys::set_registers(tid, &before).ok()?;
        sys::signal_mask(tid).ok()
    }
}

/// A call that was sent back.
pub(super) struct SentBack {
    /// The signal that was pending, with which the one for the call has become one.
    pending: Option<SigInfo>,
}

/// Has a stopped thread send a signal to itself that it had got, as it was.
fn send_again(task: &Task, regs: &libc::user_regs_struct, info: &SigInfo) -> Option<()> {
    // By the numbers that it has in its own namespace.
    let [pid, tid] = [GETPID, GETTID].map(|own| call_in(task, regs, own, &[]));
    let ids = [pid? as u64, tid? as u64, siginfo::signal(info) as u64];
    with_scratch(task, regs, info.len(), |scratch| {
        sys::write_memory(task.tid, scratch, info).then_some(())?;
        let sent = call_in(task, regs, RT_TGSIGQUEUEINFO, &[ids[0], ids[1], ids[2], scratch]);
        (sent == Some(0)).then_some(())
    })
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
