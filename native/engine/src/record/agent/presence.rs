//! Where the agent is: it comes to programs, its blocks are given to tasks, and it leaves.

use std::rc::Rc;

use libc::{c_int, pid_t};
use trace_format::ring::{BASE, RESERVED_END, SPARE, refuse};

use super::EINTR;
use super::told::refusals;
use super::twins::twin_put;
use crate::agent::code::{self, State};
use crate::agent::inject;
use crate::agent::known::{Part, WORTH_BEGUN};
use crate::agent::remote::Borrowed;
use crate::agent::ring::{Arena, Record, Ring};
use crate::agent::stopped::{self, Block, Place};
use crate::agent::twin::Twin;
use crate::record::replayable::Stream;
use crate::record::{Recorder, World, signals};
use crate::siginfo;
use crate::sys;
use crate::task::Task;

/// So many calls of a program stop it before the agent is worth its price. Most short programs make hardly more.
const WORTH_AGENT: u32 = 40;

impl Recorder {
    /// Whether a program that has not run yet is to have the agent from its first call on: when what it begins with, its loader mostly,
    /// was patched before, or when that has been begun often enough to find out. Who records one short program after the other finds out
    /// with one of them.
    pub(super) fn is_worth_from_start(&mut self, tid: pid_t) -> bool {
        let Some(agent) = &mut self.world.agent else { return false };
        let Some(task) = self.tasks.get(&tid) else { return false };
        let part = sys::registers(tid).ok().and_then(|regs| task.space.borrow().code.part_at(regs.rip));
        let Some((begun, has_sites)) = part.map(|part| agent.known.begins(&part)) else { return agent.eager };
        let is_begun = |count| count >= WORTH_BEGUN;
        agent.eager || has_sites || is_begun(begun.earlier) || (agent.waits == 0 && is_begun(begun.here))
    }

    /// A task has been stopped in whose process the agent is not: it comes when that has happened often enough, or at once if it was asked
    /// for.
    pub(in crate::record) fn come_to(&mut self, tid: pid_t) {
        let (Some(task), Some(agent)) = (self.tasks.get(&tid), &self.world.agent) else { return };
        let stops = {
            let code = &mut task.space.borrow_mut().code;
            code.stops += 1;
            code.stops
        };
        if (agent.eager || (stops >= WORTH_AGENT && agent.waits == 0)) && self.may_have_agent(tid) {
            self.inject(tid, None);
        }
    }

    /// Puts the agent into the program of a task that stands behind a call, or where it is about to get a signal. `begins`: the code that
    /// the program is about to begin with, and what is to be mapped in its place.
    pub(super) fn inject(&mut self, tid: pid_t, begins: Option<(Part, Rc<Twin>)>) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let pid = task.process.borrow().pid;
        let is_64 = sys::registers(tid).is_ok_and(|regs| regs.cs == sys::USER_CS && regs.gs_base == 0);
        // Nor without the counter, which the agent reads.
        let is_forbidden = !self.world.replayable && task.traps.clock_is_forbidden;
        if !is_64 || is_forbidden || task.stepwise || task.fds_apart {
            task.space.borrow_mut().code.state = State::Off;
            return;
        }
        let known = self.world.known_table(task);
        let lent = begins.as_ref().map_or_else(Vec::new, |_| self.world.twins_to_lend(task));
        task.disarm();
        let is_filtered = !self.world.dispatches;
        let Some(agent) = &mut self.world.agent else { return };
        let instruction = agent.call_instruction(task);
        let injected = instruction.ok_or_else(|| std::io::Error::other("the process has no vDSO")).and_then(|at| {
            let mut thread = Borrowed::new(agent.image, pid, tid)?;
            thread.is_filtered = is_filtered;
            let area = code::best_place_for(thread.regs.rip);
            let (image, table, arenas) = (agent.image, &agent.table[..], &mut agent.arenas);
            let begins = begins.clone();
            let parts = &mut inject::Parts { image, table, known: &known, arenas, area, begins, lent: &lent };
            inject::program(parts, &mut thread, at)
        });
        match injected {
            Ok(put) => {
                let inject::Put { arena, ring, area, .. } = put;
                {
                    let space = &mut *task.space.borrow_mut();
                    let code = &mut space.code;
                    code.state = State::Present;
                    code.arena = Some(arena);
                    if let Some(start) = area {
                        code.has_area(start);
                    }
                    if let Some((part, twin)) = begins.filter(|_| put.begins) {
                        code.has_twin(&part, &twin);
                        agent.counts.patched += twin.sites();
                        if let Some(spared) = &mut space.spared {
                            spared.is_written = true;
                        }
                    }
                    code.lent =
                        lent.into_iter().zip(put.lent).map(|(twin, is_there)| is_there.then_some(twin)).collect();
                }
                task.has_block = true;
                self.world.hand_over(task, ring);
            }
            Err(error) => {
                task.space.borrow_mut().code.state = State::Off;
                self.world.does_without(&format!("it never came: {error}"));
            }
        }
    }

    /// Has a new task find a ring of its own, before it runs; or, where there is none, a block that lets all calls stop.
    pub(in crate::record) fn welcome(&mut self, tid: pid_t, shares_memory: bool, shares_fds: bool) {
        if self.world.agent.is_none() {
            return;
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        task.fds_apart = shares_memory && !shares_fds;
        let (state, ring) = {
            let code = &task.space.borrow().code;
            (code.state, code.arena.as_ref().filter(|_| code.state == State::Present).and_then(Arena::ring))
        };
        if state != State::Present {
            return;
        }
        if ring.is_none() && shares_memory && !self.world.replayable {
            self.equip(tid);
            return;
        }
        let gs_base = ring.as_ref().map_or(SPARE, |ring| ring.addr);
        let moved =
            sys::registers(tid).and_then(|regs| sys::set_registers(tid, &libc::user_regs_struct { gs_base, ..regs }));
        if moved.is_err() {
            return self.give_up(tid);
        }
        task.has_block = true;
        if let Some(ring) = ring {
            self.world.hand_over(task, ring);
        }
    }

    /// Gives a task that stands still a ring of its own.
    pub(super) fn equip(&mut self, tid: pid_t) {
        let Some(agent) = &mut self.world.agent else { return };
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let space = Rc::clone(&task.space);
        let pid = task.process.borrow().pid;
        let reused = {
            let code = &mut space.borrow_mut().code;
            code.arena.as_ref().and_then(Arena::ring).or_else(|| code.pool.0.pop())
        };
        if self.world.replayable && reused.is_none() {
            // It goes on with the block that lets all calls stop.
            return;
        }
        let ring = sys::registers(tid).and_then(|regs| match reused {
            _ if regs.cs != sys::USER_CS => Err(std::io::Error::other("it runs 32-bit code")),
            Some(mut ring) => {
                ring.renew();
                sys::set_registers(tid, &libc::user_regs_struct { gs_base: ring.addr, ..regs })?;
                Ok(ring)
            }
            None => {
                let mut thread = Borrowed::new(agent.image, pid, tid)?;
                thread.restarts = sys::is_interrupted(&regs);
                inject::ring(&mut thread)
            }
        });
        match ring {
            Ok(ring) => {
                task.has_block = true;
                self.world.hand_over(task, ring);
            }
            Err(error) => {
                self.world.does_without(&format!("a thread could not have it: {error}"));
                self.give_up(tid);
            }
        }
    }

    /// Takes the agent out of the code of a task's address space: all calls stop from now on.
    pub(in crate::record) fn give_up(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let space = Rc::clone(&task.space);
        let held = self.hold_running(tid, &space);
        let restored = space.borrow_mut().code.restore(tid);
        self.release(held);
        if let Err(error) = restored {
            self.world.note(&format!("the agent could not be taken out of a program's code, and stays there: {error}"));
        }
        for task in self.tasks.values_mut().filter(|task| Rc::ptr_eq(&task.space, &space)) {
            // Threads in a trampoline still come by.
            if let Some(ring) = &task.ring {
                ring.refuse(refuse::ALL);
            }
        }
    }

    /// A task has ended or executed a program: others who still share its memory may get its ring.
    pub(in crate::record) fn return_ring(task: &mut Task) {
        if let Some(ring) = task.ring.take().filter(|ring| !ring.is_part())
            && Rc::strong_count(&task.space) > 1
        {
            task.space.borrow_mut().code.pool.0.push(ring);
        }
    }

    /// The registers of a stopped task as they would be without the recorder.
    pub(in crate::record) fn own_registers(&self, tid: pid_t) -> Option<libc::user_regs_struct> {
        let task = self.tasks.get(&tid)?;
        let regs = sys::registers(tid).ok()?;
        let Some(agent) = &self.world.agent else { return Some(regs) };
        let block = block_of(task);
        let mut own = match stopped::place(agent.image, block, &regs, false) {
            Place::Outside => regs,
            place => stopped::program(agent.image, tid, block, &regs, place).ok()?.0,
        };
        own.rip = task.space.borrow().code.own_ip(own.rip);
        if (BASE..RESERVED_END).contains(&own.gs_base) {
            own.gs_base = 0;
        }
        Some(own)
    }

    /// A signal is about to be delivered to a task that may be in the agent: afterwards it is not. `true` when there is nothing to
    /// deliver, and the task goes on.
    pub(in crate::record) fn leave_agent(&mut self, tid: pid_t, signal: c_int) -> bool {
        let Some(agent) = &mut self.world.agent else { return false };
        let Some(task) = self.tasks.get_mut(&tid) else { return false };
        if task.ring.is_none() && task.space.borrow().code.is_untouched() {
            return false;
        }
        let Ok(regs) = sys::registers(tid) else { return false };
        let block = block_of(task);
        // One that somebody sent may come where a fault does.
        let is_fault = matches!(signal, libc::SIGSEGV | libc::SIGBUS)
            && sys::signal_info(tid).is_ok_and(|info| siginfo::is_synchronous(signal, siginfo::code(&info)));
        let mut place = stopped::place(agent.image, block, &regs, is_fault);
        if place == Place::Back(EINTR) && signals::has_no_effect(task, signal) {
            // Without the recorder such a signal interrupts nothing: what is left of its time is waited.
            place = Place::Back(signals::ERESTARTNOHAND);
        }
        match place {
            Place::Outside => return false,
            Place::Fault(on) => {
                agent.counts.faults += 1;
                let regs = libc::user_regs_struct { rip: on, ..regs };
                if self.world.replayable {
                    self.world.keep_signal(task, signal, &regs);
                } else {
                    self.world.keep_unnoted_signal(task, signal, &regs);
                }
                let _ = sys::set_registers(tid, &regs);
                self.go_on(tid, 0);
                return true;
            }
            _ => {}
        }
        let Ok((mut own, site)) = stopped::program(agent.image, tid, block, &regs, place) else { return false };
        own.orig_rax = u64::MAX;
        match place {
            Place::Back(result) => {
                let mut bytes = Vec::new();
                if let Some(ring) = &task.ring {
                    ring.pending(&mut bytes);
                }
                let number = own.rax;
                own.rax = result as u64;
                own.rip = site.after;
                if sys::is_restart(result) {
                    // As if the call had been made in the trampoline: the kernel does the rest.
                    own.rip = site.trap + 2;
                    own.orig_rax = number;
                }
                if let Some((record, _)) = Record::parse(&bytes) {
                    if i64::from(record.number) == libc::SYS_mmap {
                        agent.twin_put = twin_put(task, result as u64);
                    }
                    // One that is made again is counted then.
                    agent.counts.in_process += u64::from(!sys::is_restart(result));
                    agent.clock.refresh();
                    let start = agent.clock.at(record.start);
                    let call = self.world.begin_recorded(task, &record, start);
                    if self.world.replayable {
                        World::recorded_in_turn(task, &call, result);
                    }
                    self.world.leave(task, call, result, sys::monotonic());
                }
            }
            Place::Behind => own.rip = site.after,
            _ => {}
        }
        if let Some(ring) = &mut task.ring {
            ring.rewind();
            ring.has_left();
        }
        let _ = sys::set_registers(tid, &own);
        false
    }
}

/// Where the agent keeps what it does for a task.
fn block_of(task: &Task) -> Block<'_> {
    task.ring.as_ref().map_or(Block::Spare(task.tid), Block::Ring)
}

impl World {
    /// A process or thread is without the agent from now on, so that each of its calls stops it.
    pub(in crate::record) fn does_without(&mut self, why: &str) {
        if let Some(agent) = &mut self.agent {
            *agent.counts.left.entry(why.to_owned()).or_default() += 1;
        }
    }

    /// A ring is a task's from now on.
    fn hand_over(&self, task: &mut Task, ring: Ring) {
        ring.refuse(refusals(task, self.replayable));
        if self.names_moved {
            ring.ask_names();
        } else if let Some(agent) = &self.agent {
            agent.names.tell(&ring);
        }
        ring.set_code(&task.space.borrow().code.parts());
        let guarded = task.space.borrow().guarded_parts();
        if !guarded.is_empty() {
            ring.set_guarded(&guarded);
        }
        self.begin_replayable(task, &ring);
        task.ring = Some(ring);
    }

    /// Tells the agent of a task what it has to know in a recording that is to be replayed.
    fn begin_replayable(&self, task: &Task, ring: &Ring) {
        if !self.replayable {
            return;
        }
        ring.set_replayable();
        if let Some(relation) = self.timestamps.relation() {
            ring.set_counter(relation);
        }
        for file in self.shared_files.keys() {
            ring.see(*file);
        }
        self.keep_and_lend(task, ring);
        for (number, file) in self.streams.iter().filter_map(Stream::file).enumerate() {
            ring.has_output(number, file);
        }
        if self.are_several {
            self.streams.iter().filter_map(Stream::file).for_each(|file| ring.see(file));
            return;
        }
        for open in task.fds.borrow().all() {
            ring.writes(open.file);
        }
        ring.set_maps(true);
    }
}
