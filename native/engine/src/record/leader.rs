//! Signals to a process whose first thread is to have them. The kernel chooses that one, if it does not block the signal, and wakes it; but a
//! thread that comes back from a stop of its tracer looks by itself for what was sent to the process, and is first as often as not. A
//! program whose first thread only waits for signals would wait for ever.

use libc::{c_int, pid_t};
use trace_format::event::Side;

use super::Recorder;
use super::signals::{hold, hold_again, is_in_mask, is_own, take_held};
use crate::capture::Call;
use crate::memory::word_of;
use crate::place::Came;
use crate::plan;
use crate::siginfo::{self, SigInfo};
use crate::sys;
use crate::task::{Pending, Task};

impl Recorder {
    /// Whether a signal is left to the first thread of its process: the kernel has chosen that one, if it does not block it, but who comes back
    /// from a stop meanwhile takes what was sent to the process. Where turns are taken that one has to wait in a call: there it can have it.
    pub(super) fn leave_to_leader(&mut self, tid: pid_t, signal: c_int, info: &SigInfo) -> bool {
        let Some(task) = self.tasks.get(&tid) else { return false };
        let leader = task.process.borrow().pid;
        // Of the thread's own that was queued again the number is all that is known.
        let may_be_own = || task.held.iter().any(|held| held.number == signal);
        let is_caught = || task.handler(signal).is_some_and(|handler| handler.is_caught());
        if leader == tid
            || self.world.turns.chaos.is_some()
            || !is_to_first(signal, info)
            || may_be_own()
            || !is_caught()
        {
            return false;
        }
        let Some(leading) = self.tasks.get_mut(&leader) else { return false };
        // It may have been woken already, and found nothing.
        let is_woken = matches!(leading.pending, Some(Pending::Leave(result, _)) if sys::is_restart(result));
        // Or it has left its call, and waits for its turn to make it again.
        let is_about_to = matches!(leading.undecided, Some((_, result, _)) if sys::is_restart(result));
        let waits = is_about_to || leading.call.is_some() && (leading.pending.is_none() || is_woken);
        let can_have_it = !leading.launching && !leading.in_group_stop && leading.held.is_empty();
        if (self.world.replayable && !waits) || !can_have_it || !is_let_in(leading, signal) {
            return false;
        }
        if !is_woken && sys::tgkill(leader, leader, signal).is_err() {
            return false;
        }
        hold(leading, signal, *info);
        if let Some(held) = leading.held.last_mut() {
            held.queued = !is_woken;
        }
        true
    }

    /// Signals that came while a thread was led through its code are held for it, or left to the first thread.
    pub(super) fn came_on_the_way(&mut self, tid: pid_t, came: Vec<Came>) {
        for (signal, info) in came {
            if !self.leave_to_leader(tid, signal, &info)
                && let Some(task) = self.tasks.get_mut(&tid)
            {
                hold_again(task, signal, info);
            }
        }
    }

    /// The same where no turns are taken; what was left to this thread before is made what was sent.
    pub(super) fn is_left_to_leader(&mut self, tid: pid_t, signal: c_int) -> bool {
        let Some(task) = self.tasks.get(&tid) else { return false };
        if task.held.is_empty() && task.process.borrow().alive == 1 {
            return false;
        }
        let Ok(info) = sys::signal_info(tid) else { return false };
        if self.leave_to_leader(tid, signal, &info) {
            return true;
        }
        if let Some(sent) = self.tasks.get_mut(&tid).and_then(|task| take_held(task, signal, &info))
            && is_own(&info)
        {
            let _ = sys::set_signal_info(tid, &sent);
        }
        false
    }
}

/// Whether the kernel chooses the first thread for such a signal before any other. SIGCHLD is for the thread that has made the child, and what
/// a thread does itself (it writes where nobody reads, it runs for long) is for that one, though it looks as if somebody had sent it.
fn is_to_first(signal: c_int, info: &SigInfo) -> bool {
    let is_own_doing =
        matches!(signal, libc::SIGPIPE | libc::SIGXFSZ | libc::SIGXCPU | libc::SIGPROF | libc::SIGVTALRM);
    let code = siginfo::code(info);
    matches!(code, siginfo::SI_USER | siginfo::SI_KERNEL) && !is_own_doing && !siginfo::is_synchronous(signal, code)
}

/// Whether a thread is there and does not block a signal, or not while it waits. Woken in vain it is about to wait again.
fn is_let_in(task: &Task, signal: c_int) -> bool {
    if matches!(sys::state_of(task.tid), None | Some(b'Z' | b'X')) {
        return false;
    }
    let woken = task.undecided.filter(|(_, result, _)| sys::is_restart(*result)).map(|(call, ..)| call);
    match task.call.or(woken).and_then(|call| mask_while_waiting(task, &call)) {
        Some(mask) => mask & 1 << (signal - 1) == 0,
        None => !is_in_mask(task.tid, "SigBlk", signal),
    }
}

/// The signals that are blocked only while a call waits, if it has said which.
fn mask_while_waiting(task: &Task, call: &Call) -> Option<u64> {
    let slot = plan::waiting_mask(call.name())?;
    let set = task.memory.find(slot, Side::In).filter(|set| set.len() >= 8)?;
    let set = if slot == plan::PSELECT_MASK { task.memory.at_entry(slot, word_of(&set[..8]))? } else { set };
    set.get(..8).map(word_of)
}
