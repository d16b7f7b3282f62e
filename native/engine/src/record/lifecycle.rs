//! Births, execs and deaths of tasks, and the beginning and end of the recording.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use libc::{c_int, pid_t};
use trace_format::event::{EventKind, Lost, Side, slot};
use trace_format::ring::{BASE, RESERVED_END};
use trace_format::table::Arch;

use super::layouts::NOT_KEPT;
use super::replayable::sink;
use super::{Outcome, Recorder, World};
use crate::capture::Call;
use crate::error::{EngineError, without_number};
use crate::image::{self, ElfFacts, Identity, Mapping};
use crate::launch::Launched;
use crate::memory::{Capturer, Memory};
use crate::placement::Place;
use crate::raw::{Definition, RawEvent};
use crate::stack::Stack;
use crate::sys::{self, Waited};
use crate::task::{Birth, Boundary, Loader, Pending, Process, Space, Task};

impl World {
    pub(super) fn new_process(&mut self, pid: pid_t) -> Rc<RefCell<Process>> {
        self.processes += 1;
        Rc::new(RefCell::new(Process { pid, number: self.processes, ..Process::default() }))
    }

    /// Numbers a new thread and commits its Task event.
    pub(super) fn new_task(
        &mut self,
        tid: pid_t,
        process: Rc<RefCell<Process>>,
        birth: Option<&Birth>,
        is_stopped: bool,
    ) -> Task {
        let parent = birth.and_then(|birth| birth.parent);
        let index = self.threads;
        self.threads += 1;
        let (number, ordinal, pid) = {
            let mut process = process.borrow_mut();
            process.threads += 1;
            process.alive += 1;
            (process.number, process.threads, process.pid)
        };
        self.definitions.push(Definition::Thread {
            process: number,
            ordinal,
            tid,
            pid,
            parent,
            created_by: self.sink.seq(),
        });
        let mut task = Task::new(tid, index, process);
        let mut event = self.event(&task, EventKind::Task, 0);
        let mut memory = Memory::default();
        event.nargs = 2;
        event.args[0] = parent.map_or(0, |parent| u64::from(parent) + 1);
        event.args[1] = birth.map_or(0, |birth| birth.flags);
        if let Some(birth) = birth.filter(|_| self.replayable && is_stopped) {
            self.describe_birth(&mut task, birth, &mut event, &mut memory);
        }
        self.commit(event, &memory);
        task
    }

    /// Adds to a Task event where the new thread stands, and what the kernel has written for it.
    fn describe_birth(&mut self, task: &mut Task, birth: &Birth, event: &mut RawEvent, memory: &mut Memory) {
        let Ok(regs) = sys::registers(task.tid) else {
            self.lost[Lost::TaskGone as usize] += 1;
            return;
        };
        event.nargs = 4;
        // The maker's agent is found through that register.
        let is_agents = (BASE..RESERVED_END).contains(&regs.gs_base) && self.agent.is_some();
        (event.args[2], event.args[3]) = (regs.fs_base, if is_agents { 0 } else { regs.gs_base });
        let ip = birth.space.borrow().code.own_ip(regs.rip);
        (event.ip, event.sp) = (ip, regs.rsp);
        task.boundary = Some(Boundary::at(ip, regs.rsp));
        task.clear_tid = birth.clear_tid;
        let mut capturer = Capturer { tid: task.tid, word: 8, data: self.data, memory };
        capturer.structure(slot::LAYOUT, Side::Out, birth.set_tid, 4);
        capturer.structure(slot::LAYOUT, Side::Out, birth.parent_word, 4);
    }

    /// A thread that executed a program has taken the leader's place: its own index ends, and it goes on as the leader.
    fn take_leaders_place(&mut self, task: &mut Task) {
        let Some(leader) = task.becomes.take() else { return };
        let mut event = self.event(task, EventKind::Exit, 0);
        event.nargs = 4;
        event.args[0] = 2;
        self.commit(event, &Memory::default());
        task.index = leader;
        let mut process = task.process.borrow_mut();
        process.alive = process.alive.saturating_sub(1);
    }

    /// Commits the Exec event of the program that a process runs, and the load events of its first images.
    pub(super) fn exec_event(&mut self, task: &mut Task) {
        self.take_leaders_place(task);
        self.images.look_again();
        let tid = task.tid;
        self.leave_served(tid);
        // Only right after an exec does the stack hold what the kernel has put there.
        let info = if task.executed { sys::syscall_info(tid).ok() } else { None };
        let fresh = info.filter(|info| info.machine() == Arch::X86_64);
        let mut stack = fresh.and_then(|info| Stack::read(tid, info.sp));
        let (space, mappings) = if self.replayable {
            let all = image::mappings(tid);
            let executable = all.iter().filter(|mapping| mapping.prot & 4 != 0).cloned().collect();
            (all, executable)
        } else {
            (Vec::new(), self.images.executable_mappings(tid, fresh.is_some()))
        };
        let vdso = mappings.iter().find(|mapping| mapping.path == b"[vdso]").map(|vdso| vdso.start);
        task.space.borrow_mut().vdso = vdso;
        let mut memory = Memory::default();
        let facts = image::exec_facts(&mut self.images, tid, &mappings, stack.as_ref(), &mut memory);
        image::identity_facts(&self.identity(task, &facts), &mut memory);
        if let Some(owner) = facts.set_user_id {
            self.warn_of_lost_privilege(tid, owner);
        }
        let mut event = self.event(task, EventKind::Exec, 0);
        if self.replayable {
            self.describe_space(task, space, stack.as_mut(), (&mut event, &mut memory));
            self.name_streams(task);
        } else if self.agent.is_some() {
            let images = &mut self.images;
            let hash = |code: &Mapping| images.facts_of_mapping(code, &image::reachable(tid, &code.path)).hash;
            if let Some(loader) = Loader::find(stack.as_ref(), &mappings, hash) {
                // Nothing of what it writes has to come again.
                self.spare_loader(task, loader, &mut Memory::default());
            }
        }
        self.commit(event, &memory);
        for mapping in &mappings {
            let facts = self.images.facts_of_mapping(mapping, &image::reachable(tid, &mapping.path));
            self.map_event(task, mapping, &facts);
        }
    }

    /// Who a process is after an exec: what it was before, unless a call of any process may have changed that.
    fn identity(&mut self, task: &mut Task, facts: &ElfFacts) -> Rc<Identity> {
        // With a capture filter the calls that change it do not stop.
        if let Some((changes, identity)) = &task.identity
            && self.only.is_none()
            && !facts.sets_ids
            && *changes == self.identity_changes
            && identity.still_holds(task.tid)
        {
            return Rc::clone(identity);
        }
        let identity = Rc::new(Identity::of(task.tid));
        task.identity = Some((self.identity_changes, Rc::clone(&identity)));
        identity
    }
}

impl Recorder {
    /// Takes the first task in: seized, and asked to stop.
    pub(super) fn begin(&mut self, root: pid_t) {
        self.root = root;
        let process = self.world.new_process(self.root);
        let mut task = self.world.new_task(self.root, process, None, false);
        task.launching = true;
        task.space.borrow_mut().group = self.world.turns.new_group(self.root);
        self.world.placement.adopt(self.root, &task.place);
        self.tasks.insert(self.root, task);
        self.control.born(self.root);
        let _ = sys::interrupt(self.root);
    }

    /// A program has been replaced. When a thread that is not the leader did it, it has taken the leader's id.
    pub(super) fn executed(&mut self, tid: pid_t) {
        let former = sys::event_message(tid).ok().and_then(|former| pid_t::try_from(former).ok()).unwrap_or(tid);
        if former != tid
            && let Some(mut caller) = self.tasks.remove(&former)
        {
            if let Some(mut leader) = self.tasks.remove(&tid) {
                let group = leader.space.borrow().group;
                let next = self.world.turns.release(group, tid);
                self.grant(next);
                self.world.take_pending(&mut leader);
                self.end_calls(&mut leader);
                caller.becomes = Some(leader.index);
            }
            self.world.placement.forget(former);
            self.world.placement.forget(tid);
            caller.tid = tid;
            caller.place = Place::new(caller.place.is_own());
            self.world.placement.adopt(tid, &caller.place);
            self.tasks.insert(tid, caller);
        }
        let sharer = self.sees_last_writes(tid);
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        self.world.placement.fetch_back(tid, &mut task.place);
        if self.world.executed_recorded(task)
            && let Some(sharer) = sharer
        {
            self.world.take_last_writes(task, sharer);
        }
        self.world.written_by_exec(task);
        task.executed = true;
        task.launching = false;
        task.interrupted.clear();
        task.left = None;
        // What was ignored stays ignored.
        let ignored =
            task.handlers.borrow().iter().filter(|(_, handler)| handler.addr == 1).map(|(k, v)| (*k, *v)).collect();
        task.handlers = Rc::new(RefCell::new(ignored));
        task.held.clear();
        (task.clear_tid, task.robust_list) = (0, 0);
        Recorder::return_ring(task);
        (task.has_block, task.is_stranded) = (false, false);
        task.fds_apart = false;
        task.trapped = 0;
        task.traps.learns = false;
        task.is_armed.set(false);
        self.world.check_mapped_of(&task.space);
        let former_group = task.space.borrow().group;
        let group = self.world.turns.new_group(tid);
        task.space = Rc::new(RefCell::new(Space { group, ..Space::default() }));
        // Exec gives the process a table of its own and closes what is to be closed.
        let mut own = task.fds.borrow().clone();
        own.retain_open(tid);
        task.fds = Rc::new(RefCell::new(own));
        self.go_on(tid, 0);
        for gone in [tid, former] {
            let next = self.world.turns.release(former_group, gone);
            self.grant(next);
        }
    }

    /// Another task with the memory of this one, in which the kernel may write as it leaves.
    fn sees_last_writes(&self, tid: pid_t) -> Option<pid_t> {
        let writes = |task: &&Task| self.world.replayable && (task.robust_list, task.clear_tid) != (0, 0);
        let task = self.tasks.get(&tid).filter(writes).filter(|task| Rc::strong_count(&task.space) > 1)?;
        let mut others = self.tasks.values();
        others.find(|other| other.tid != tid && Rc::ptr_eq(&other.space, &task.space)).map(|other| other.tid)
    }

    /// Commits what a task was in the middle of when it ended.
    fn end_calls(&mut self, task: &mut Task) {
        if let Some((call, result, end)) = task.undecided.take() {
            self.world.commit_call(task, &call, Some(result), end, 0);
        }
        if let Some(call) = task.call.take() {
            self.world.commit_call(task, &call, None, self.world.clock, 0);
        }
        self.world.commit_left(task);
    }

    pub(super) fn ended(&mut self, waited: &Waited) {
        let tid = waited.tid;
        self.world.placement.forget(tid);
        if tid == self.root {
            self.root_status = Some(waited.status);
        }
        let Some(mut task) = self.tasks.remove(&tid) else {
            if tid == self.root {
                // It was let go before; it ends as our child.
                self.control.program_ended();
            } else {
                self.unknown_ended(waited);
            }
            return;
        };
        let flags = clone_flags(&task);
        self.leave_streams(tid);
        match task.pending.take() {
            // What it has run since its last event stays, where others see its memory.
            Some(Pending::Preempted(stopped)) => {
                let (mut event, memory) = *stopped;
                event.entry_seq = event.entry_seq.min(self.world.sink.seq());
                self.world.commit(event, &memory);
            }
            // What it has sent has arrived, though it never had a turn to see that. Of other calls more than the result would have to be told.
            Some(Pending::Leave(result, at)) if task.call.as_ref().is_some_and(|call| sink(call).is_some()) => {
                if let Some(call) = task.call.take() {
                    self.world.commit_call(&mut task, &call, Some(result), at, 0);
                }
            }
            _ => {}
        }
        self.world.take_pending(&mut task);
        Recorder::return_ring(&mut task);
        self.end_calls(&mut task);
        if task.making && flags & libc::CLONE_THREAD as u64 != 0 {
            // Who ends last in a process is told by how many there are.
            self.left_behind(&task, flags);
            task.making = false;
        }
        let last = {
            let mut process = task.process.borrow_mut();
            process.alive = process.alive.saturating_sub(1);
            process.alive == 0
        };
        let mut event = self.world.event(&task, EventKind::Exit, waited.status);
        event.nargs = 4;
        event.args[0] = u64::from(last);
        if last {
            let pid = task.process.borrow().pid;
            self.control.gone(pid);
            let (user, system) = self.own_time(&task, &waited.usage);
            event.args[1] = user;
            event.args[2] = system;
            event.args[3] = waited.usage.ru_maxrss as u64;
        }
        self.world.commit(event, &task.last_writes);
        self.world.check_mapped_of(&task.space);
        let group = task.space.borrow().group;
        let next = self.world.turns.release(group, tid);
        if Rc::strong_count(&task.space) == 1 && !task.space.borrow().is_joined {
            self.world.turns.drop_group(group);
        }
        self.grant(next);
        self.inspector_gone(tid);
        self.left_behind(&task, flags);
        if tid == self.root {
            self.control.program_ended();
            self.after_root();
        }
    }

    /// User and system time of a process in microseconds. The kernel counts its reaped children in; they are taken out,
    /// and added to what the parent will have to take out.
    fn own_time(&mut self, task: &Task, usage: &libc::rusage) -> (u64, u64) {
        let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
        let (user, system) = (micros(usage.ru_utime), micros(usage.ru_stime));
        let process = task.process.borrow();
        if let Some(parent) = process.parent
            && let Some(parent) = self.tasks.values().find(|other| other.process.borrow().pid == parent)
            && !Rc::ptr_eq(&parent.process, &task.process)
        {
            let mut parent = parent.process.borrow_mut();
            parent.children_user += user;
            parent.children_system += system;
        }
        (user.saturating_sub(process.children_user), system.saturating_sub(process.children_system))
    }

    fn after_root(&mut self) {
        if self.detach_on_exit && !self.control.is_aborted() {
            self.detach_all();
        }
    }

    /// A task goes on unobserved.
    pub(super) fn forget(&mut self, tid: pid_t) {
        if let Some(mut task) = self.tasks.remove(&tid) {
            self.control.gone(task.process.borrow().pid);
            self.end_calls(&mut task);
            self.inspector_gone(tid);
        }
    }

    pub(super) fn finish(self, launched: Option<&Launched>, output: &Path) -> Result<Outcome, EngineError> {
        let status = (self.root != 0).then(|| self.root_status.unwrap_or(0));
        self.world.finish(status, launched, output)
    }
}

impl World {
    /// Ends the recording of a program that ended with this wait status; of one that ran already nobody is told.
    pub(super) fn finish(
        self,
        status: Option<c_int>,
        launched: Option<&Launched>,
        output: &Path,
    ) -> Result<Outcome, EngineError> {
        let mut world = self;
        if let Some(error) = launched.and_then(Launched::failure) {
            world.discard(output);
            return Err(error);
        }
        world.sink.pack(world.images.take_unpacked());
        world.tell_what_was_not_kept();
        let duration_ns = world.time(sys::monotonic());
        let status_text = status.map(|status| ("status", status.to_string()));
        for (key, value) in status_text.into_iter().chain([
            ("duration_ns", duration_ns.to_string()),
            ("processes", world.processes.to_string()),
            ("threads", world.threads.to_string()),
            ("lost", world.lost.map(|count| count.to_string()).join(" ")),
            ("notes", world.notes.join("\n")),
            ("unreplayable", world.obstacles.join("\n")),
        ]) {
            world.definitions.push(Definition::Meta { key: key.into(), value: value.into_bytes() });
        }
        if let Some(agent) = &world.agent {
            for (hash, text) in agent.known.notes() {
                world.images.note_patched_sites(&hash, &text);
            }
            world.definitions.push(Definition::Meta { key: "agent".into(), value: agent.summary().into_bytes() });
        }
        world.sink.define(&mut world.definitions);
        drop(world.placement);
        let summary = world.sink.finish();
        if summary.left_out > 0 {
            let count = summary.left_out;
            world.notes.push(format!(
                "{count} mapped files could not be put into the trace, which cannot be replayed without them"
            ));
        }
        Ok(Outcome {
            status: status.unwrap_or(0),
            processes: world.processes,
            threads: world.threads,
            duration_ns,
            summary,
            lost: world.lost,
            notes: world.notes,
        })
    }

    /// One cause stands for all the files that it kept from being kept.
    fn tell_what_was_not_kept(&mut self) {
        if let Some(failure) = self.images.unwritable().map(ToString::to_string) {
            let failure = without_number(&failure);
            self.note(&format!(
                "mapped files are in the trace itself: {failure}; XDG_CACHE_HOME can name another place for them"
            ));
        }
        let Some(failure) = self.images.failure.take() else { return };
        let failure = failure.to_string();
        let failure = without_number(&failure);
        let count = self.obstacles.len();
        self.obstacles.retain(|obstacle| !obstacle.ends_with(NOT_KEPT));
        if self.obstacles.len() < count {
            self.obstacles.insert(0, format!("mapped files could not be kept: {failure}"));
            self.note(&format!(
                "the trace cannot be replayed, since mapped files could not be kept: {failure}; XDG_CACHE_HOME can name another place"
            ));
        } else {
            self.note(&format!("some mapped files could not be kept: {failure}"));
        }
    }

    /// Says so when a set-user-ID program runs without the privilege that it would have had.
    fn warn_of_lost_privilege(&mut self, tid: pid_t, owner: u32) {
        use std::os::unix::fs::MetadataExt as _;
        let effective = std::fs::metadata(format!("/proc/{tid}")).map_or(owner, |own| own.uid());
        if effective != owner {
            self.note("a set-user-ID program ran without its privilege: the kernel does not grant it under a tracer (record as root to keep it)");
        }
    }
}

/// The clone flags of the call that a task is in.
pub(super) fn clone_flags(task: &Task) -> u64 {
    task.call.as_ref().map_or(0, |call| flags_of(call, &task.memory, task.tid))
}

/// The clone flags of a call that makes a task. `memory` has what was captured of it, if anything was.
pub(super) fn flags_of(call: &Call, memory: &Memory, tid: pid_t) -> u64 {
    const VFORK: u64 = (libc::CLONE_VFORK | libc::CLONE_VM) as u64;
    match call.name() {
        "vfork" => VFORK | libc::SIGCHLD as u64,
        "clone" => call.args[0],
        "clone3" => memory.flags_of_clone3(tid, call.args[0]),
        _ => libc::SIGCHLD as u64,
    }
}
