//! What agents are told: which calls they leave to the recorder, and of which descriptors it knows the identity.

use std::rc::Rc;

use libc::pid_t;
use trace_format::event::{Side, slot};
use trace_format::ring::{KNOWN, KNOWN_BYTES, SPARE, known, refuse};

use crate::agent::code::State;
use crate::agent::ring::Ring;
use crate::capture::Call;
use crate::objects::Open;
use crate::plan::Effect;
use crate::raw::ObjectKind;
use crate::record::{Recorder, World};
use crate::sys;
use crate::task::Task;

impl Recorder {
    /// The agents read their clocks anew.
    pub(in crate::record) fn age_clocks(&self) {
        if self.world.replayable {
            self.tasks.values().filter_map(|task| task.ring.as_ref()).for_each(Ring::clock_is_old);
        }
    }

    /// Tells agents when names of files are not those that they are opened by: directories have other names, or the root is another.
    pub(super) fn tell_names(&mut self, tid: pid_t, call: &Call) {
        let Some(effect) = call.plan.map(|plan| plan.effect) else { return };
        if effect == Effect::Rename && self.world.names_moved {
            self.tasks.values().filter_map(|task| task.ring.as_ref()).for_each(Ring::ask_names);
        }
        let Some(location) = self.tasks.get(&tid).map(|task| Rc::clone(&task.location)) else { return };
        if effect == Effect::Chdir && location.borrow().foreign_root {
            for task in self.tasks.values().filter(|task| Rc::ptr_eq(&task.location, &location)) {
                task.ring.iter().for_each(|ring| ring.refuse(refusals(task, self.world.replayable)));
            }
        }
    }
}

impl World {
    /// Answers ARCH_GET_GS with what the program would have without the agent, whose block that register names.
    pub(in crate::record) fn hide_block(task: &mut Task, call: &Call, result: i64) {
        const ARCH_GET_GS: i32 = 0x1004;
        let shown = call.name() == "arch_prctl" && call.int(0) == ARCH_GET_GS && result == 0;
        if !shown || task.space.borrow().code.state != State::Present {
            return;
        }
        let own = task.ring.as_ref().map_or(SPARE, |ring| ring.addr);
        if task.memory.find(1, Side::Out) == Some(&own.to_le_bytes()) {
            sys::write_memory(task.tid, call.args[1], &[0; 8]);
            task.memory.replace(1, Side::Out, &[0; 8]);
        }
    }

    /// Tells the agent of a task which place of the program a handler interrupts, and where it goes on that comes back there. Where calls are
    /// sent back, the engine has to see to what becomes of SIGSYS.
    pub(in crate::record) fn tell_way_back(&self, task: &Task, place: u64) {
        let Some(ring) = task.ring.as_ref().filter(|_| !self.dispatches) else { return };
        match task.space.borrow().code.way_back(task.tid, place) {
            Some(way) => ring.set_back(place, way),
            None => ring.set_back(0, 0),
        }
    }

    /// Tells the agent of a task which descriptors of the present call are known now. Before the call is committed.
    pub(in crate::record) fn tell_known(&self, task: &Task, call: &Call) {
        if self.agent.is_none() || task.fds_apart || task.space.borrow().code.state != State::Present {
            return;
        }
        if call.plan.is_some_and(|plan| plan.effect == Effect::CloseRange) {
            let mut table = self.known_table(task);
            table.resize(KNOWN_BYTES as usize, 0);
            sys::write_memory(task.tid, KNOWN, &table);
            return;
        }
        for reference in &task.memory.refs {
            let Some(fd) = u64::try_from(reference.fd).ok().filter(|fd| *fd < KNOWN_BYTES) else { continue };
            let open = task.fds.borrow().open(reference.fd);
            // What was open before is known to be written to.
            let is_new = reference.slot >= slot::RET && !opens_to_read(call);
            if let (Some(open), Some(ring), true) = (open, &task.ring, is_new) {
                ring.writes(open.file);
            }
            sys::write_memory(task.tid, KNOWN + fd, &[open.map_or(0, |open| self.known_bits(&open))]);
        }
    }

    /// What the agent is to know of a descriptor.
    pub(in crate::record) fn known_bits(&self, open: &Open) -> u8 {
        if open.kind == ObjectKind::Unknown {
            return 0;
        }
        if self.shows_agent(open.object) {
            return 0;
        }
        if !self.replayable {
            return known::IS;
        }
        let mut bits = known::IS;
        if self.is_seen_when_written(open) {
            bits |= known::WRITES_STOP;
        }
        if !open.is_ready {
            bits |= known::WAITS;
        }
        if open.only_reads && open.kind == ObjectKind::File {
            bits |= known::READS;
        }
        bits
    }

    /// A byte for each descriptor whose identity is known.
    pub(in crate::record) fn known_table(&self, task: &Task) -> Vec<u8> {
        let fds = task.fds.borrow();
        let mut table = Vec::new();
        for (fd, open) in fds.numbered().take_while(|(fd, _)| u64::from(*fd) < KNOWN_BYTES) {
            let known = self.known_bits(&open);
            if known != 0 {
                table.resize(fd as usize, 0);
                table.push(known);
            }
        }
        table
    }
}

/// What a task's agent leaves to the engine: bits of [`refuse`].
pub(in crate::record) fn refusals(task: &Task, replayable: bool) -> u32 {
    let code = &task.space.borrow().code;
    // Threads in a trampoline still come by where it is not in the code any more.
    if !task.held.is_empty() || code.leaves.is_some() || code.state == State::Off {
        return refuse::ALL;
    }
    // From another root a file's name is another one.
    let apart = if task.fds_apart || task.location.borrow().foreign_root { refuse::OPENS } else { 0 };
    if !replayable {
        return apart;
    }
    let space = task.space.borrow();
    let takes_turns = Rc::strong_count(&task.space) > 1 || space.is_joined;
    // By a number of another namespace nobody sees which end a call has waited for: the call stops behind that.
    let waits = if takes_turns || task.process.borrow().is_apart { refuse::WAITS } else { 0 };
    let ends = if space.is_seen_written() || !space.guards.all.is_empty() { refuse::ENDS | refuse::EXECS } else { 0 };
    let execs = if task.process.borrow().alive > 1 { refuse::EXECS } else { 0 };
    apart | waits | ends | execs | if task.fds_apart { refuse::DESCRIPTORS } else { 0 }
}

/// A call whose descriptor is for reading only.
pub(in crate::record) fn opens_to_read(call: &Call) -> bool {
    let flags = match call.name() {
        "open" => call.int(1),
        "openat" => call.int(2),
        _ => return false,
    };
    flags & libc::O_ACCMODE == libc::O_RDONLY
}
