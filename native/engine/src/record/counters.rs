//! Time stamps of a replayable recording: `rdtsc` and `rdtscp` trap (PR_SET_TSC, prctl(2)) and are answered by the recorder; those that
//! come often, by the agent.

use std::rc::Rc;

use libc::pid_t;
use trace_format::event::{EventKind, Trap};

use super::{Recorder, World};
use crate::agent::code::State;
use crate::agent::ring::Record;
use crate::agent::window::{Kind, Passed};
use crate::memory::Memory;
use crate::siginfo::{self, SigInfo};
use crate::sys;
use crate::task::{Boundary, Task};

/// The instruction at an address, if it is one that reads the counter.
pub(super) fn kind_at(tid: pid_t, ip: u64) -> Option<Kind> {
    let mut code = [0; 3];
    let got = sys::read_pieces(tid, &[(ip, code.len())], &mut code);
    [Kind::Rdtsc, Kind::Rdtscp].into_iter().find(|kind| code[..got].starts_with(kind.code()))
}

/// Where a task has read the counter: behind the instruction.
#[derive(Clone, Copy)]
struct Read {
    kind: Kind,
    ip: u64,
    sp: u64,
    counter: u64,
    processor: u64,
}

impl World {
    /// Answers a task that has trapped where it reads the counter: what it has passed.
    pub(super) fn answer_counter(&mut self, task: &mut Task, info: &SigInfo) -> Option<Passed> {
        if siginfo::code(info) != siginfo::SI_KERNEL || task.traps.clock_is_forbidden {
            return None;
        }
        let mut regs = sys::registers(task.tid).ok()?;
        let kind = kind_at(task.tid, regs.rip)?;
        // In a trampoline it is the program's own.
        let ip = task.space.borrow().code.own_place(task.tid, regs.rip) + kind.length();
        let (counter, processor) = self.timestamps.next();
        let read = Read { kind, ip, sp: regs.rsp, counter, processor: u64::from(processor) };
        if kind == Kind::Rdtsc {
            self.remember_clock(task, ip - kind.length());
        }
        let is_blocked = self.keep_signal(task, libc::SIGSEGV, &regs);
        (regs.rax, regs.rdx) = (counter & u64::from(u32::MAX), counter >> 32);
        if kind == Kind::Rdtscp {
            regs.rcx = u64::from(processor);
        }
        regs.rip += kind.length();
        // One that has been killed meanwhile has not read it.
        if sys::set_registers(task.tid, &regs).is_ok() {
            self.commit_counter(task, read, self.clock, is_blocked);
        }
        Some(Passed::counter(ip, kind))
    }

    /// The agent has answered a task.
    pub(super) fn counted(&mut self, task: &mut Task, record: &Record<'_>, kind: Kind, time: u64) {
        let (counter, processor) = (record.result as u64, record.args[0]);
        let read = Read { kind, ip: record.ip, sp: record.sp, counter, processor };
        // Replay has it trap, which unblocks the signal.
        let is_blocked = task.traps.blocked & 1 << (libc::SIGSEGV - 1) != 0;
        self.commit_counter(task, read, time, is_blocked);
    }

    fn commit_counter(&mut self, task: &mut Task, read: Read, time: u64, is_blocked: bool) {
        let trap = if read.kind == Kind::Rdtscp { Trap::Rdtscp } else { Trap::Rdtsc };
        let mut event = self.event(task, EventKind::Trap, trap as i32);
        (event.start, event.end) = (self.time(time), self.time(time));
        // Of the agent's record the program may have made anything.
        (event.ip, event.sp) = (read.ip.wrapping_sub(read.kind.length()), read.sp);
        event.nargs = 2;
        event.args[0] = read.counter;
        if trap == Trap::Rdtscp {
            event.args[1] = read.processor;
        }
        event.ret = i64::from(is_blocked);
        task.boundary = Some(Boundary::at(read.ip, read.sp));
        self.commit(event, &Memory::default());
    }
}

impl Recorder {
    /// A task has trapped where it reads the counter, and was answered: the time to bring the agent, or to lead the site to it.
    pub(super) fn tend_counter(&mut self, tid: pid_t, passed: Passed) {
        let Some(task) = self.tasks.get(&tid).filter(|_| self.world.agent.is_some()) else { return };
        let (space, has_ring) = (Rc::clone(&task.space), task.ring.is_some());
        let state = space.borrow().code.state;
        match state {
            State::Absent => self.come_to(tid),
            State::Present if has_ring => {
                let Some(relation) = self.world.timestamps.relation() else { return };
                if !space.borrow_mut().code.is_worth_counting(passed.ip) || !self.all_have_rings(&space) {
                    return;
                }
                // Those that were there before it was known.
                let sharing = self.tasks.values().filter(|task| Rc::ptr_eq(&task.space, &space));
                sharing.filter_map(|task| task.ring.as_ref()).for_each(|ring| ring.set_counter(relation));
                self.patch(tid, passed);
            }
            _ => {}
        }
    }
}
