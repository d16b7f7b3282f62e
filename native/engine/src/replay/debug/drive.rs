//! How a replayed thread is run under a debugger's eyes.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};

use libc::{c_int, pid_t, user_regs_struct};
use trace_format::event::{EventKind, disposition};

use super::breaks::Inserted;
use super::course::{Beginning, Course, How, Passing, Verdict};
use super::place::{Leg, Mark, Segment};
use super::predecessors;
use super::scout::{Body, Scouts};
use super::target::{Member, Reason};
use super::{Asked, Debugger, Halt};
use crate::probe;
use crate::replay::event::Event;
use crate::replay::kernel::{self, Go, Register};
use crate::replay::remote;
use crate::replay::run::Runner;
use crate::replay::tracee::{At, Thread};
use crate::replay::watch::lost;
use crate::siginfo;
use crate::stepped;
use crate::sys;

/// Stops of the debugger's, and events of others, after which it is looked whether the user has asked to stop.
const OFTEN: u32 = 256;
/// The same for events of the debugged process.
const SOMETIMES: u32 = 16;
/// Bytes of the instruction of a call.
const CALL_BYTES: u64 = 2;

/// What a thread that was let go has come to.
enum Stop {
    /// Something of the program's.
    Own(At),
    /// A step, a breakpoint or a watchpoint of the debugger's.
    Debuggers,
    /// The user has asked for it.
    Asked,
    /// A copy has come to where its thread has something of the program's.
    Left,
}

/// What ends the running of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replay) enum RunUntil {
    /// Its next event.
    Event,
    /// A breakpoint of the processor's.
    Breakpoint,
    /// The same, or that the user has had the word: there is code in the way of the debugger's steps.
    Word,
}

impl Runner<'_> {
    /// Whether the debugger may stop a thread behind an event. Then its segment begins.
    ///
    /// # Errors
    /// As [`Debugger::converse`].
    pub(in crate::replay) fn begin_segment(&self, thread: &Thread, event: &Event<'_>) -> Result<(), Halt> {
        let Some(debugger) = &self.debugger else { return Ok(()) };
        if !debugger.borrow().sees(thread.index, event.seq()) {
            return Ok(());
        }
        let verdict = {
            let mut debugger = debugger.borrow_mut();
            let Debugger { inferior, course, watched, memory, .. } = &mut *debugger;
            let regs = thread.own_registers().ok_or_else(|| remote::gone(thread.tid))?;
            let changed = if inferior.watches.is_empty() {
                None
            } else {
                let memory = memory_of(memory, thread.pid())?;
                watched.changed((thread.pid(), memory), &inferior.watches)
            };
            let is_caught = event.kind() == EventKind::Call && inferior.catch.has(event.code() as u64);
            let segment = Segment { seq: event.seq(), thread: thread.index };
            let returned = is_caught.then_some(event.code() as u64);
            let asked = Asked { breaks: &inferior.breaks, watches: &inferior.watches };
            course.begins(Beginning { segment, ip: regs.rip, changed, returned }, asked)
        };
        self.obey(verdict, Some(thread), None)
    }

    /// Whether the debugger stops before an event.
    pub(in crate::replay) fn consult(&self, event: &Event<'_>) -> Result<(), Halt> {
        let Some(debugger) = &self.debugger else { return Ok(()) };
        if !debugger.borrow().sees(event.thread(), event.seq()) {
            // Others may run for long.
            if event.seq().is_multiple_of(OFTEN.into()) && self.is_disturbed()? {
                return self.obey(Verdict::Stop(Reason::Interrupted), None, None);
            }
            return Ok(());
        }
        let thread = event.thread();
        let shown = match event.kind() {
            EventKind::Call => {
                let number = event.code() as u64;
                debugger.borrow().inferior.catch.has(number).then_some(Reason::Entry(thread, number))
            }
            EventKind::Signal if matches!(event.arg(2), disposition::HANDLED | disposition::FATAL) => {
                Some(Reason::Signal(thread, event.code()))
            }
            EventKind::Exit => (event.arg(0) != 0).then_some(Reason::End),
            EventKind::Exec if event.seq() != debugger.borrow().course.start().seq => Some(Reason::End),
            EventKind::Trap | EventKind::Preempt | EventKind::Signal => None,
            // No thread stands at such an event.
            _ => return Ok(()),
        };
        let verdict = {
            let mut debugger = debugger.borrow_mut();
            let verdict = debugger.course.before(event.seq(), thread, shown);
            if let Verdict::Stop(_) = verdict {
                let standing = self.threads.get(thread as usize).and_then(Option::as_deref);
                let hints = standing.map_or(Vec::new(), hints_at_event);
                debugger.course.may_have_come_by(hints);
            }
            debugger.consulted = debugger.consulted.wrapping_add(1);
            let is_disturbed =
                debugger.consulted.is_multiple_of(SOMETIMES) && debugger.is_disturbed(&self.remote.watch)?;
            if is_disturbed && verdict == Verdict::GoOn { Verdict::Stop(Reason::Interrupted) } else { verdict }
        };
        self.obey(verdict, None, Some(thread))
    }

    /// The replay has come to its end: one can only go back from here.
    pub(in crate::replay) fn end_debugging(&self) -> Result<(), Halt> {
        let Some(debugger) = &self.debugger else { return Ok(()) };
        let verdict = debugger.borrow_mut().course.before(u64::MAX, u32::MAX, Some(Reason::End));
        match verdict {
            Verdict::GoOn => self.obey(Verdict::Stop(Reason::End), None, None),
            verdict => self.obey(verdict, None, None),
        }
    }

    fn obey(&self, verdict: Verdict, running: Option<&Thread>, next: Option<u32>) -> Result<(), Halt> {
        let Some(debugger) = &self.debugger else { return Ok(()) };
        match verdict {
            Verdict::GoOn => Ok(()),
            Verdict::Rewind => Err(Halt::Rewind),
            Verdict::Stop(reason) => {
                let members = self.members(running, next);
                let pid = members.first().map(|member| member.pid);
                debugger.borrow_mut().converse(members, reason, &self.remote.watch)?;
                pid.map_or(Ok(()), |pid| self.look_at_watched(pid))
            }
        }
    }

    /// The living threads of the debugged process. `running` is the one that was let go last, and `next` the one whose event is next.
    fn members(&self, running: Option<&Thread>, next: Option<u32>) -> Vec<Member> {
        let Some(debugger) = &self.debugger else { return Vec::new() };
        let debugger = debugger.borrow();
        let others = self.threads.iter().flatten().map(|thread| &**thread);
        let threads = running.into_iter().chain(others).filter(|thread| debugger.sees(thread.index, u64::MAX));
        let known = self.job.trace.definitions().threads();
        let mut members: Vec<Member> = threads
            .filter(|thread| !matches!(thread.at, At::Ended(_)) && !thread.process.borrow().has_ended)
            .filter_map(|thread| {
                let copy = debugger.scout.filter(|_| Some(thread.index) == running.map(|running| running.index));
                let mut regs = match copy {
                    Some(copy) => sys::registers(copy.tid).ok()?,
                    None => thread.own_registers()?,
                };
                if next == Some(thread.index)
                    && let At::Call(info) = thread.at
                {
                    // The kernel has not been told of the call: it is the next instruction.
                    (regs.rip, regs.rax, regs.orig_rax) = (info.ip.wrapping_sub(CALL_BYTES), info.first, u64::MAX);
                }
                let own = known.get(thread.index as usize)?;
                let number = usize::try_from(own.tid).ok().and_then(std::num::NonZeroUsize::new)?;
                let Body { pid, tid, .. } = copy.unwrap_or(Body::of(thread));
                Some(Member { index: thread.index, number, ordinal: own.ordinal, pid, tid, regs })
            })
            .collect();
        let first = next.or(running.map(|thread| thread.index));
        members.sort_by_key(|member| (Some(member.index) != first, member.ordinal));
        members
    }

    /// How a thread is run, if the debugger has a say in it.
    pub(in crate::replay) fn manner(&self, thread: &Thread, event: &Event<'_>) -> Option<How> {
        let debugger = self.debugger.as_ref()?.borrow();
        debugger.sees(thread.index, event.seq()).then(|| debugger.course.how(debugger.asked()))
    }

    /// Runs a thread, which has its registers, to its next stop; `None` when the user has had the word, where that ends it.
    pub(in crate::replay) fn run_on(
        &self,
        thread: &Thread,
        event: &Event<'_>,
        signal: c_int,
        until: RunUntil,
    ) -> Result<Option<At>, Halt> {
        let tid = thread.tid;
        if self.manner(thread, event).is_none() {
            kernel::go(tid, Go::Emulated, signal).map_err(|error| lost(tid, &error))?;
            return self.await_stop(thread, event).map(Some);
        }
        let body = Body::of(thread);
        if until == RunUntil::Event && signal == 0 && self.leads_into(thread, event) && Scouts::can_be(thread) {
            self.scout(thread, event)?;
            // What was found in memory is behind it now.
            self.set_watches(body, &How::default())?;
            kernel::go(tid, Go::Emulated, 0).map_err(|error| lost(tid, &error))?;
            let at = self.await_stop(thread, event)?;
            self.look_at_watched(body.pid)?;
            return Ok(Some(at));
        }
        match self.run_body(thread, event, body, (signal, until), None)? {
            Stop::Own(at) => Ok(Some(at)),
            Stop::Debuggers | Stop::Asked | Stop::Left => Ok(None),
        }
    }

    fn leads_into(&self, thread: &Thread, event: &Event<'_>) -> bool {
        let segment = Segment { seq: event.seq(), thread: thread.index };
        self.debugger.as_ref().is_some_and(|debugger| debugger.borrow().course.leads_into(segment))
    }

    /// Sends copies of a process ahead, until one of them has come to the end of the segment.
    fn scout(&self, thread: &Thread, event: &Event<'_>) -> Result<(), Halt> {
        let Some(debugger) = &self.debugger else { return Ok(()) };
        let segment = Segment { seq: event.seq(), thread: thread.index };
        let mut scouts = Scouts::new(self, thread)?;
        let mut body = scouts.begin()?;
        loop {
            debugger.borrow_mut().goes_ahead(Some(body));
            let result = self.run_body(thread, event, body, (0, RunUntil::Event), Some(&mut scouts));
            debugger.borrow_mut().goes_ahead(None);
            match result {
                Ok(_) => return Ok(()),
                Err(Halt::Rewind) => {
                    let will_do = |legs: &[Leg]| debugger.borrow_mut().course.begins_at(segment, legs);
                    body = scouts.begin_anew(will_do)?.ok_or(Halt::Rewind)?;
                }
                Err(halt) => return Err(halt),
            }
        }
    }

    /// A copy begins where the last one or its thread stood: that may be the goal.
    fn begin_ahead(&self, thread: &Thread, body: Body) -> Result<(), Halt> {
        let Some(debugger) = &self.debugger else { return Ok(()) };
        let verdict = debugger.borrow().course.is_there();
        if verdict != Verdict::GoOn {
            let regs = sys::registers(body.tid).map_err(|error| lost(body.tid, &error))?;
            let hints = predecessors::of((body.tid, &Inserted::default()), &regs, None);
            debugger.borrow_mut().course.may_have_come_by(hints);
        }
        self.obey(verdict, Some(thread), None)
    }

    /// Runs a thread or a copy of it to something of the program's, or to where running ends otherwise.
    fn run_body(
        &self,
        thread: &Thread,
        event: &Event<'_>,
        body: Body,
        (signal, until): (c_int, RunUntil),
        mut scouts: Option<&mut Scouts<'_, '_>>,
    ) -> Result<Stop, Halt> {
        let mut signal = signal;
        let mut turn = 0_u32;
        let mut inserted = Inserted::default();
        if body.is_copy {
            self.begin_ahead(thread, body)?;
        }
        loop {
            turn = turn.wrapping_add(1);
            // Where it stops all the time no wait is ever interrupted.
            if turn.is_multiple_of(OFTEN) && self.is_disturbed()? {
                self.insert(body, &mut inserted, &[])?;
                self.obey(Verdict::Stop(Reason::Interrupted), Some(thread), None)?;
                if until == RunUntil::Word {
                    return Ok(Stop::Asked);
                }
            }
            let how = self.manner(thread, event).unwrap_or_default();
            let before = sys::registers(body.tid).map_err(|error| lost(body.tid, &error))?;
            let is_over = how.breaks.contains(&before.rip) || how.arrival_at(before.rip).is_some();
            let steps = how.steps || is_over;
            self.with_course(Course::lets_go);
            let stop = if steps {
                self.step_once(thread, body, &before, (&how, signal), &inserted)?
            } else {
                self.run_to_breaks(thread, body, (&how, signal), &mut inserted)?
            };
            signal = 0;
            let verdict = match stop {
                Stop::Own(At::Ended(_)) => return Ok(stop),
                Stop::Own(_) => {
                    self.insert(body, &mut inserted, &[])?;
                    return Ok(stop);
                }
                Stop::Left => {
                    let verdict = self.debugger.as_ref().map(|debugger| debugger.borrow_mut().course.ends());
                    self.obey(verdict.unwrap_or(Verdict::GoOn), Some(thread), None)?;
                    return Ok(stop);
                }
                Stop::Asked => {
                    self.with_course(Course::is_lost);
                    Verdict::Stop(Reason::Interrupted)
                }
                Stop::Debuggers => self.weigh(body, &how, before.rip, &inserted)?,
            };
            if verdict != Verdict::GoOn {
                self.insert(body, &mut inserted, &[])?;
            }
            if let (Verdict::GoOn, Some(scouts), Some(debugger)) = (verdict, scouts.as_deref_mut(), &self.debugger) {
                let corner = debugger.borrow().course.corner();
                if let Some(legs) = corner {
                    self.insert(body, &mut inserted, &[])?;
                    scouts.leave_behind(&legs)?;
                }
            }
            self.obey(verdict, Some(thread), None)?;
            if verdict != Verdict::GoOn && until == RunUntil::Word {
                return Ok(stop);
            }
        }
    }

    /// Whether the user has asked to stop.
    fn is_disturbed(&self) -> Result<bool, Halt> {
        self.remote.watch.check()?;
        self.debugger.as_ref().map_or(Ok(false), |debugger| debugger.borrow_mut().is_disturbed(&self.remote.watch))
    }

    fn with_course(&self, act: impl FnOnce(&mut Course)) {
        if let Some(debugger) = &self.debugger {
            act(&mut debugger.borrow_mut().course);
        }
    }

    /// What a stop of the debugger's means.
    fn weigh(&self, body: Body, how: &How, before: u64, inserted: &Inserted) -> Result<Verdict, Halt> {
        let Some(debugger) = &self.debugger else { return Ok(Verdict::GoOn) };
        let mut debugger = debugger.borrow_mut();
        let Body { pid, tid, .. } = body;
        let regs = sys::registers(tid).map_err(|error| lost(tid, &error))?;
        let ip = regs.rip;
        let accessed = debugger.watched.taken(tid).map_err(|error| lost(tid, &error))?;
        let Debugger { inferior, course, watched, memory, .. } = &mut *debugger;
        if accessed.is_some() {
            watched.changed((pid, memory_of(memory, pid)?), &inferior.watches);
        }
        let asked = Asked { breaks: &inferior.breaks, watches: &inferior.watches };
        let mark = match accessed {
            _ if how.steps => Mark::Step,
            Some(watch) => Mark::Access(watch),
            // It has left a breakpoint, or has made one turn of a repeated instruction there.
            None if ip == before => return Ok(Verdict::GoOn),
            None if how.breaks.contains(&ip) => Mark::Arrival(ip),
            None => match how.arrival_at(ip) {
                Some(watch) => Mark::Access(watch),
                None => return Ok(Verdict::GoOn),
            },
        };
        let arrives = matches!(mark, Mark::Access(_)) && ip != before && how.breaks.contains(&ip);
        let hints = || predecessors::of((tid, inserted), &regs, accessed);
        Ok(course.passes(&Passing { mark, accessed, arrives, ip, hints: &hints }, asked))
    }

    /// Executes one instruction of a thread, which has these registers.
    fn step_once(
        &self,
        thread: &Thread,
        body: Body,
        before: &user_regs_struct,
        (how, signal): (&How, c_int),
        inserted: &Inserted,
    ) -> Result<Stop, Halt> {
        let tid = body.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        self.set_watches(body, how)?;
        let is_over = inserted.has(before.rip);
        if is_over {
            self.with_memory(body.pid, |memory| inserted.lift(memory, before.rip))?;
        }
        let instruction = probe::decode(tid, before.rip, probe::bits(before));
        kernel::go(tid, Go::EmulatedStep, signal).map_err(failed)?;
        let stop = self.await_debugged(thread, body, Go::EmulatedStep)?;
        if is_over {
            self.with_memory(body.pid, |memory| inserted.again(memory, before.rip))?;
        }
        let Some(instruction) = instruction.filter(|_| signal == 0) else { return Ok(stop) };
        match &stop {
            Stop::Own(At::Ended(_)) | Stop::Left => {}
            Stop::Own(At::Call(_)) => {
                // The processor has put the flags into a register, with that of the step.
                let mut regs = sys::registers(tid).map_err(failed)?;
                if before.eflags & stepped::TRAP_FLAG == 0 && regs.r11 & stepped::TRAP_FLAG != 0 {
                    regs.r11 &= !stepped::TRAP_FLAG;
                    sys::set_registers(tid, &regs).map_err(failed)?;
                }
            }
            _ if stepped::leaves_flag(&instruction) => {}
            _ => {
                stepped::clear_stack(tid, &instruction, sys::registers(tid).map_err(failed)?.rsp);
                stepped::clear_flag(tid, before.eflags);
            }
        }
        Ok(stop)
    }

    /// Runs a thread until it comes to a breakpoint or a watchpoint, or to something of its own.
    fn run_to_breaks(
        &self,
        thread: &Thread,
        body: Body,
        (how, signal): (&How, c_int),
        inserted: &mut Inserted,
    ) -> Result<Stop, Halt> {
        let tid = body.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        self.set_watches(body, how)?;
        self.insert(body, inserted, &how.breaks)?;
        kernel::go(tid, Go::Emulated, signal).map_err(failed)?;
        let stop = self.await_debugged(thread, body, Go::Emulated)?;
        let is_breakpoint = match &stop {
            Stop::Own(At::Signal(libc::SIGTRAP, info)) => siginfo::is_breakpoint(info),
            Stop::Left => sys::signal_info(tid).is_ok_and(|info| siginfo::is_breakpoint(&info)),
            _ => false,
        };
        if is_breakpoint {
            // The processor is behind it.
            let ip = sys::registers(tid).map_err(failed)?.rip.wrapping_sub(1);
            if inserted.has(ip) {
                kernel::set_register(tid, Register::Rip, ip).map_err(failed)?;
                return Ok(Stop::Debuggers);
            }
        }
        Ok(stop)
    }

    /// Has breakpoints at these addresses in memory, and at no others.
    fn insert(&self, body: Body, inserted: &mut Inserted, addresses: &[u64]) -> Result<(), Halt> {
        self.with_memory(body.pid, |memory| inserted.be(memory, addresses))
    }

    fn set_watches(&self, body: Body, how: &How) -> Result<(), Halt> {
        let Some(debugger) = &self.debugger else { return Ok(()) };
        debugger.borrow_mut().watched.set(body.tid, &how.watches).map_err(|error| lost(body.tid, &error).into())
    }

    /// What is watched from now on is what it is now.
    pub(super) fn look_at_watched(&self, pid: pid_t) -> Result<(), Halt> {
        let Some(debugger) = &self.debugger else { return Ok(()) };
        let mut debugger = debugger.borrow_mut();
        let Debugger { inferior, watched, memory, .. } = &mut *debugger;
        if !inferior.watches.is_empty() {
            watched.changed((pid, memory_of(memory, pid)?), &inferior.watches);
        }
        Ok(())
    }

    fn with_memory<T>(&self, pid: pid_t, act: impl FnOnce(&File) -> T) -> Result<T, Halt> {
        let Some(debugger) = &self.debugger else { return Err(remote::gone(pid)) };
        let mut debugger = debugger.borrow_mut();
        Ok(act(memory_of(&mut debugger.memory, pid)?))
    }

    /// The next stop of a thread that runs, as [`Runner::await_stop`] has it, and those of the debugger.
    fn await_debugged(&self, thread: &Thread, body: Body, how: Go) -> Result<Stop, Halt> {
        let tid = body.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        let mut is_asked = false;
        loop {
            let Some(status) = kernel::wait(tid).map_err(failed)? else {
                // The timer of the wait. Nobody says for how long a program may run under a debugger.
                if self.is_disturbed()? && !is_asked {
                    is_asked = true;
                    sys::interrupt(tid).map_err(failed)?;
                }
                continue;
            };
            let (signal, kind) = (libc::WSTOPSIG(status), status >> 16);
            if libc::WIFSTOPPED(status) && kind == libc::PTRACE_EVENT_STOP && is_asked {
                return Ok(Stop::Asked);
            }
            if libc::WIFSTOPPED(status) && kind == 0 && signal == libc::SIGTRAP {
                let info = sys::signal_info(tid).map_err(failed)?;
                let is_step = siginfo::code(&info) == siginfo::TRAP_TRACE && how == Go::EmulatedStep;
                if is_step || (siginfo::code(&info) == siginfo::TRAP_HWBKPT && is_watchpoint(tid)?) {
                    return Ok(Stop::Debuggers);
                }
            }
            if body.is_copy {
                if leaves(tid, status)? {
                    return Ok(Stop::Left);
                }
            } else if let Some(at) = self.own_stop(thread, status)? {
                return Ok(Stop::Own(at));
            }
            kernel::go(tid, how, 0).map_err(failed)?;
        }
    }
}

/// The instructions that may have led a thread to its event.
fn hints_at_event(thread: &Thread) -> Vec<u64> {
    let Some(mut regs) = thread.own_registers() else { return Vec::new() };
    if let At::Call(info) = thread.at {
        regs.rip = info.ip.wrapping_sub(CALL_BYTES);
    }
    predecessors::of((thread.tid, &Inserted::default()), &regs, None)
}

/// Whether a copy has come to something that is an event of its thread's.
fn leaves(tid: pid_t, status: c_int) -> Result<bool, Halt> {
    if !libc::WIFSTOPPED(status) {
        return Ok(true);
    }
    let signal = libc::WSTOPSIG(status);
    if status >> 16 != 0 {
        return Ok(false);
    }
    let info = sys::signal_info(tid).map_err(|error| lost(tid, &error))?;
    Ok(signal == libc::SIGTRAP | 0x80 || siginfo::is_synchronous(signal, siginfo::code(&info)))
}

/// Whether a watchpoint has stopped a thread, and not the breakpoint that finds preempted ones.
fn is_watchpoint(tid: pid_t) -> Result<bool, Halt> {
    /// The first debug register.
    const FINDS: u64 = 1;
    let status = sys::debug_register(tid, sys::DEBUG_STATUS).map_err(|error| lost(tid, &error))?;
    Ok(status & FINDS == 0)
}

/// The memory of a process, which is opened once.
fn memory_of(known: &mut HashMap<pid_t, File>, pid: pid_t) -> Result<&File, Halt> {
    use std::collections::hash_map::Entry;
    Ok(match known.entry(pid) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => {
            let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"));
            new.insert(memory.map_err(|error| lost(pid, &error))?)
        }
    })
}
