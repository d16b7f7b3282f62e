//! The recorder's loop: it waits for stops of tasks, and does what each asks for.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use libc::{c_int, pid_t};
use trace_format::event::EventKind;

use crate::error::EngineError;
use crate::launch::Launched;
use crate::memory::Memory;
use crate::plan;
use crate::record::calls::RESUMES;
use crate::record::chaos::Settling;
use crate::record::control::wake_signal;
use crate::record::{Options, Outcome, Recorder, World, filter, signals, trace_options};
use crate::sys::{self, Resume, Waited, Waiting};
use crate::task::{Handler, MovingStep, Task};

/// With one busy task, other stops are asked for after this many.
const SELDOM: u32 = 4;
/// With more tasks than this a second call for each stop costs less than what it spares.
const MANY: usize = 32;

impl Recorder {
    /// Observes processes that run already, until they end or the recording is to stop.
    pub(super) fn observe(mut self, options: &Options) -> Result<Outcome, EngineError> {
        // The recorder's end must not be the end of a server.
        let trace_options = trace_options(false) & !libc::PTRACE_O_EXITKILL;
        if let Err(error) = self.attach(&options.attach, trace_options) {
            // What was seized already is let go when this thread ends.
            self.world.discard(&options.output);
            return Err(error);
        }
        self.run(None);
        self.finish(None, &options.output)
    }

    pub(super) fn run(&mut self, launched: Option<&Launched>) {
        sys::catch(wake_signal());
        if self.world.agent.is_some() {
            self.pace.begin(wake_signal());
        }
        self.control.thread.store(sys::own_tid(), Ordering::SeqCst);
        let mut released = launched.is_none();
        let mut unasked = 0;
        loop {
            match self.settle_turns() {
                Settling::Chosen(next) => self.grant(Some(next)),
                Settling::Moving => Recorder::await_settling(),
                Settling::NotDue | Settling::Asleep => match sys::wait_any(self.waiting()) {
                    Ok(Some(waited)) => self.stops.push_back(waited),
                    Ok(None) => self.woken(),
                    Err(_) => break,
                },
            }
            // Where one task at a time is busy, or has its turn, there is rarely another stop: then it is asked for only now
            // and then.
            unasked += 1;
            let tasks = self.tasks.len();
            if tasks > 1 && (unasked >= SELDOM || self.stops.is_empty() || self.world.turns.are_varied()) {
                self.collect();
                unasked = if self.stops.len() > 1 { SELDOM } else { 0 };
            }
            while let Some(waited) = self.stops.pop_front() {
                self.dispatch(waited);
                if let Some(launched) = launched.filter(|_| !released) {
                    // The first stop is the one that was asked for; from here on everything is seen.
                    released = launched.release().is_ok();
                }
            }
            if !self.detaching && self.control.is_stopping() {
                self.detach_all();
            }
            if self.has_let_go() {
                // A stop that was told of and not answered would be lost with this thread, and its signal with it.
                self.collect();
                while let Some(waited) = self.stops.pop_front() {
                    self.dispatch(waited);
                }
                break;
            }
        }
        self.pace.end();
        self.control.thread.store(0, Ordering::SeqCst);
    }

    /// No tracee has stopped: the time to look into the rings, and whether somebody has kept its turn for too long.
    pub(super) fn woken(&mut self) {
        self.drain(None);
        let now = sys::monotonic();
        self.pace.woken(now, &mut self.world.placement);
        if self.pace.is_due(now) {
            self.age_clocks();
        }
        if self.world.replayable {
            self.tick();
        }
        self.end_waits(now);
    }

    pub(super) fn waiting(&self) -> Waiting {
        if self.tasks.len() > MANY { Waiting::Sparing } else { Waiting::Plainly }
    }

    /// Adds the stops that are there already, so that tasks are served in the order in which they stopped: a wait alone looks
    /// at the oldest task first, and one that stops often would keep the others waiting.
    pub(super) fn collect(&mut self) {
        while let Some(waited) = sys::wait_now(self.waiting()) {
            // A later state of the same id supersedes the earlier: it was killed, or an exec by a thread took it over.
            self.stops.retain(|earlier| earlier.tid != waited.tid);
            self.stops.push_back(waited);
        }
    }

    pub(super) fn dispatch(&mut self, waited: Waited) {
        let (tid, status) = (waited.tid, waited.status);
        // Of what others do while rings are emptied, nothing comes before this stop.
        let now = self.world.read_clock();
        self.settle_return(tid, !libc::WIFSTOPPED(status));
        if self.drain(Some(tid)) {
            self.world.read_clock();
        }
        self.pace.stopped();
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            self.ended(&waited);
            return;
        }
        if self.keeps_still(&waited) {
            return;
        }
        let Some(task) = self.tasks.get_mut(&tid) else {
            self.unknown_stopped(&waited);
            return;
        };
        self.world.seized(task);
        if tid == self.root && std::mem::take(&mut self.root_stopped) {
            self.control.program_stopped(false, 0);
        }
        let was_in_group_stop = std::mem::take(&mut task.in_group_stop);
        let group = self.world.turns.common(task.space.borrow().group);
        self.world.placement.stopped(tid, &mut task.place, group, now);
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let is_in_call = task.call.is_some();
        if self.detaching && self.stays_for(event) {
            // The stop that was asked for is forgotten with this one.
            let _ = sys::interrupt(tid);
        } else if self.detaching {
            let signal = signal_of(&waited);
            if signal == 0 && self.comes_back_before_call(tid) {
                return;
            }
            if let Some(signal) = self.ready_to_leave(tid, signal) {
                self.let_go(tid, signal);
                self.forget(tid);
            }
            return;
        }
        match event {
            0 if signal == libc::SIGTRAP | 0x80 => self.syscall_stop(tid, now),
            0 if self.enters_sent_back(tid, signal, now) => {}
            0 => self.signal_stop(tid, signal),
            // The entry has been seen already, of a task whose own filter would hide calls from ours.
            sys::event::SECCOMP if is_in_call => self.go_on(tid, 0),
            sys::event::SECCOMP => self.syscall_stop(tid, now),
            sys::event::FORK | sys::event::VFORK | sys::event::CLONE => self.forked(tid),
            sys::event::EXEC => self.executed(tid),
            sys::event::STOP => self.group_stop(tid, signal, was_in_group_stop),
            _ => self.go_on(tid, 0),
        }
    }

    /// Lets a task go on as its state wants, with a signal to deliver.
    pub(super) fn go_on(&mut self, tid: pid_t, signal: c_int) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let in_call = task.call.is_some();
        let how = if in_call { Resume::Syscall } else { self.world.between_calls(task) };
        task.resumed = self.world.clock;
        if self.world.replayable {
            Recorder::ready_to_go_on(task, &self.world.turns);
        }
        self.world.placement.resumed(&mut task.place, task.resumed, in_call);
        // A task that was killed meanwhile reports its end by itself.
        let _ = sys::resume(tid, how, signal);
    }

    pub(super) fn syscall_stop(&mut self, tid: pid_t, now: u64) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        match sys::syscall_info(tid) {
            // The kernel answers it while it handles a page fault: there is no end of it, and without a filter nobody is told of it.
            Ok(info) if info.op == sys::INFO_SECCOMP && sys::is_in_vsyscall(info.ip) => {
                self.world
                    .unreplayable("a program has called the vsyscall page, and what that answers cannot be recorded");
            }
            Ok(info) if self.world.replayable && info.op == sys::INFO_EXIT => return self.came_back(tid, &info, now),
            Ok(info) if self.world.replayable && matches!(info.op, sys::INFO_ENTRY | sys::INFO_SECCOMP) => {
                if is_entered_again(task) {
                    return self.went_away(tid);
                }
                if self.leaves_before(tid, &info) {
                    return;
                }
                let Some(task) = self.tasks.get_mut(&tid) else { return };
                task.at_filter = info.op == sys::INFO_SECCOMP;
                self.world.enter(task, &info, now);
                self.guard(tid);
                self.keep_strict(tid);
                return self.went_away(tid);
            }
            Ok(info) if info.op == sys::INFO_EXIT => {
                let Some(result) = self.moved(tid, info.first as i64) else { return };
                let Some(task) = self.tasks.get_mut(&tid) else { return };
                if let Some(call) = task.call.take() {
                    let result = signals::wait_on_for_nothing(task, &call, result, now);
                    self.world.tends = true;
                    self.world.leave(task, call, result, now);
                    if call.plan.is_some_and(|plan| plan.role == plan::Role::ReturnsFromHandler) {
                        signals::lead_from_handler(task);
                    }
                    self.tend(tid, &call, result);
                }
            }
            Ok(info) if matches!(info.op, sys::INFO_ENTRY | sys::INFO_SECCOMP) && self.world.wants(task, &info) => {
                self.world.enter(task, &info, now);
                self.guard(tid);
                self.keep_strict(tid);
                self.answer_shown(tid);
            }
            Ok(_) => {}
            Err(error) => self.world.could_not_look(&error),
        }
        self.go_on(tid, 0);
    }

    pub(super) fn signal_stop(&mut self, tid: pid_t, signal: c_int) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if self.world.replayable && !task.launching {
            return self.signal_in_turn(tid, signal);
        }
        if !task.launching && self.leave_agent(tid, signal) {
            return;
        }
        if self.is_left_to_leader(tid, signal) {
            return self.go_on(tid, 0);
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if self.world.answer_learnt(task, signal) {
            return self.go_on(tid, 0);
        }
        let is_unknown = task.handler(signal).is_some_and(|handler| handler.addr == Handler::UNKNOWN);
        if is_unknown
            && matches!(task.undecided, Some((_, signals::ERESTARTSYS, _)))
            && let Ok(info) = sys::signal_info(tid)
        {
            return match self.learn_handler(tid, signal, &info) {
                Some(waited) => self.dispatch(waited),
                None => self.go_on(tid, 0),
            };
        }
        self.world.decide(task, Some(signal));
        if !task.launching {
            self.world.signal(task, signal);
            signals::show_own_place(task, signal);
            if task.handler(signal).is_some_and(|handler| handler.is_caught()) {
                task.left = None;
                if let Ok(regs) = sys::registers(tid) {
                    self.world.tell_way_back(task, regs.rip);
                }
            }
            if signals::is_spared(task, signal)
                && !signals::catches(tid, signal)
                && let Ok(info) = sys::signal_info(tid)
            {
                return self.go_on_unhandled(tid, signal, &info);
            }
        }
        if task.is_armed.get() && task.handler(signal).is_some_and(|handler| handler.is_caught()) {
            return self.go_into_handler(tid, signal);
        }
        self.go_on(tid, signal);
    }

    pub(super) fn group_stop(&mut self, tid: pid_t, signal: c_int, was_in_group_stop: bool) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if signals::stops(signal) {
            self.world.decide(task, None);
            let event = self.world.event(task, EventKind::Stop, signal);
            self.world.commit(event, &Memory::default());
            task.in_group_stop = true;
            let own_ip = |ip| task.space.borrow().code.own_ip(ip);
            let place = sys::registers(tid).map(|regs| (own_ip(regs.rip), regs.rsp));
            task.stopped_in_code = task.call.is_none() && !place.is_ok_and(|place| signals::stands_at(task, place));
            let _ = sys::resume(tid, Resume::Listen, 0);
            let (group, is_in_call) = (task.space.borrow().group, task.call.is_some());
            let keeps = task.stopped_in_code && Rc::strong_count(&task.space) > 1;
            // Who continues it needs the turn.
            if let Some(chaos) = self.world.turns.chaos.as_mut().filter(|_| !keeps) {
                chaos.release(tid);
            } else if !is_in_call && self.gives_its_turn_up(tid) {
                let next = self.world.turns.release(group, tid);
                self.grant(next);
            }
            // A program that waits for the child of its vfork cannot stop before the child has gone on.
            let root_waits = |root: &Task| {
                root.call.as_ref().and_then(|call| call.plan).is_some_and(|plan| plan.effect == plan::Effect::Clone)
            };
            if tid == self.root || self.tasks.get(&self.root).is_some_and(root_waits) {
                self.root_stopped = true;
                self.control.program_stopped(true, signal);
            }
        } else if was_in_group_stop && self.world.replayable && self.world.turns.chaos.is_none() {
            self.continued(tid);
        } else if task.interrupting {
            self.interrupted(tid);
        } else if self.world.turns.chaos.is_some() && !(task.launching || task.call.is_some() || task.stopped_in_code) {
            // It gave its turn up when it was stopped.
            self.start(tid);
        } else {
            self.go_on(tid, 0);
        }
    }
}

impl World {
    /// Whether a call at whose entry a task has stopped is to be looked at. Not all are where a task stops at each.
    fn wants(&self, task: &Task, info: &sys::SyscallInfo) -> bool {
        let is_wanted = |names: &Vec<String>| {
            let resumes =
                plan::by_number(info.machine(), info.first as u32).is_some_and(|plan| plan.row.name == RESUMES);
            let is_known = !resumes || !task.interrupted.is_empty() || names.iter().any(|name| name == RESUMES);
            is_known && filter::wants(names, info.machine(), info.first as u32)
        };
        task.is_strict || self.only.as_ref().is_none_or(is_wanted)
    }
}

/// The signal that a task is about to get; 0 where it has stopped for something else.
pub(super) fn signal_of(waited: &Waited) -> c_int {
    let signal = libc::WSTOPSIG(waited.status);
    if waited.status >> 16 == 0 && signal & 0x80 == 0 { signal } else { 0 }
}

/// Whether a thread is about to enter the call that it is in once more, having waited for what it moves.
pub(super) fn enters_again(task: &Task) -> bool {
    task.call.is_some() && task.moving.as_ref().is_some_and(|moving| matches!(moving.step, MovingStep::Again))
}

/// Whether a thread has entered the call that it is in once more.
pub(super) fn is_entered_again(task: &mut Task) -> bool {
    let again = enters_again(task);
    if again {
        task.moving = None;
    }
    again
}
