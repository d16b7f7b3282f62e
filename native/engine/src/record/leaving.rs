//! Replayable recordings through the agent: what is to be done for a call that it has made, which processes it may work in, and how it
//! leaves one, which is from then on as if it had never been there.
//!
//! Replay knows nothing of the agent. So it works only where no other process sees memory that this one writes, or writes what it sees:
//! there the order of events is that of the records. Before a call that changes this the agent is taken out of the process, with all its
//! pages, and the call is entered once more.

use std::ops::Range;
use std::rc::Rc;

use libc::{c_int, pid_t};
use trace_format::event::Side;
use trace_format::ring::{BASE, FIRST_RING, KNOWN, KNOWN_BYTES, RESERVED_END, SPARE, known, refuse};
use trace_format::table::Arch;

use super::agent::{is_beyond, refusals};
use super::lifecycle::flags_of;
use super::replayable::Stream;
use super::shown::{self, Hidden as _};
use super::turns::{SOON_AGAIN_NS, Turns};
use super::{Recorder, World};
use crate::agent::code::State;
use crate::agent::inject;
use crate::agent::remote::Borrowed;
use crate::capture::{self, Call};
use crate::guard::Guard;
use crate::image::{self, Mapping};
use crate::layout::STACK_ROOM;
use crate::memory::{Memory, word_of};
use crate::objects::Open;
use crate::plan::{self, Role};
use crate::siginfo::{self, SigInfo};
use crate::sys::{self, Resume};
use crate::task::{Boundary, Task};

/// Why the agent leaves a process.
const OTHER_PROCESS: &str = "it began a process in its own memory";
const LOOKS: &str = "it looked at its own mappings or code";
const OWN_FILTER: &str = "it has its calls filtered, or uses the register that the agent needs";
const PLACE: &str = "it wanted the agent's place in memory";
const MEASURES: &str = "its memory is limited, or locked";
pub(super) const WRITTEN: &str = "another process wrote into its memory";

/// Whether a call is one of those that a thread makes between two looks at what it polls: it looks at the clock, or has found no descriptor
/// to be ready.
fn finds_nothing(call: &Call, result: i64) -> bool {
    match call.name() {
        "clock_gettime" | "gettimeofday" | "time" => true,
        "poll" | "ppoll" | "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "select" | "pselect6" => result == 0,
        _ => false,
    }
}

impl World {
    /// What is to be known of a call that a thread has made in the agent.
    pub(super) fn recorded_in_turn(task: &mut Task, call: &Call, result: i64) {
        const UNBLOCKABLE: u64 = 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1);
        let role = call.plan.map(|plan| plan.role);
        World::remember_words(task, call);
        if task.is_watched() && finds_nothing(call, result) {
            task.boundary = Some(Boundary::at(call.ip, call.sp));
        } else {
            task.comes_to(Boundary::at(call.ip, call.sp));
        }
        if role == Some(Role::ReturnsFromHandler) {
            // To some place of its code, from which it has gone on.
            task.boundary = None;
            if let Some(mask) = task.memory.find(0, Side::In).filter(|mask| mask.len() == 8).map(word_of) {
                task.traps.blocked = mask & !UNBLOCKABLE;
            }
            return;
        }
        let masks = role == Some(Role::Masks) && !capture::is_error(result);
        if masks && let Some(set) = task.memory.find(1, Side::In).filter(|set| set.len() == 8).map(word_of) {
            let blocked = &mut task.traps.blocked;
            *blocked = match call.int(0) {
                libc::SIG_BLOCK => *blocked | set,
                libc::SIG_UNBLOCK => *blocked & !set,
                _ => set,
            } & !UNBLOCKABLE;
        }
    }

    /// The program hands out its own code: the jumps in it are not there in replay.
    pub(super) fn look_for_code(&mut self, task: &Task) {
        let shown = {
            let code = &task.space.borrow().code;
            let mut given = task.memory.captures.iter().filter(|capture| capture.side == Side::In);
            given.any(|capture| code.shows(capture.addr, capture.len.into()))
        };
        if shown {
            self.unreplayable("a program has written its own code, in which there were jumps to the agent");
        }
    }

    /// Whether an open file shows the memory of a process, and the agent in it.
    pub(super) fn shows_agent(&self, object: u32) -> bool {
        self.mapping_files.contains_key(&object)
    }

    /// Whether what is written to a descriptor is seen elsewhere but by calls: it comes in order with that then, and what others see of
    /// it is an event.
    pub(super) fn is_seen_when_written(&self, open: &Open) -> bool {
        self.memory_files.contains_key(&open.object)
            || self.shared_files.contains_key(&open.file)
            || (self.are_several && self.streams.iter().any(|stream| stream.is(open)))
    }
}

/// Whether a call may change the mappings where the agent's pages are.
pub(super) fn takes_place(call: &Call) -> bool {
    if !matches!(
        call.name(),
        "mmap" | "munmap" | "mprotect" | "pkey_mprotect" | "mremap" | "madvise" | "remap_file_pages"
    ) {
        return false;
    }
    let meets = |addr: u64, length: u64| addr < RESERVED_END && length > BASE.saturating_sub(addr);
    let moves_there = call.name() == "mremap" && meets(call.args[4], call.args[2]);
    // Without MAP_FIXED an address is only a wish.
    let is_wish = call.name() == "mmap" && call.args[3] & libc::MAP_FIXED as u64 == 0;
    moves_there || (!is_wish && meets(call.args[0], call.args[1]))
}

/// Whether the result of a call, or of later ones that map memory, depends on how much is mapped: what is there for the agent counts.
fn measures_memory(call: &Call, tid: pid_t) -> bool {
    let limits = |resource: c_int, limit: u64| {
        let mut soft = libc::RLIM_INFINITY.to_ne_bytes();
        resource as u32 == libc::RLIMIT_AS
            && limit != 0
            && sys::read_pieces(tid, &[(limit, soft.len())], &mut soft) == soft.len()
            && u64::from_ne_bytes(soft) != libc::RLIM_INFINITY
    };
    match call.name() {
        "mlockall" => true,
        "setrlimit" => limits(call.int(0), call.args[1]),
        "prlimit64" => limits(call.int(1), call.args[2]),
        _ => false,
    }
}

/// Whether a call only asks whether the agent's pages are there, mincore(2).
fn asks_for_place(call: &Call) -> bool {
    let end = call.args[0].saturating_add(call.args[1]);
    matches!(call.name(), "mincore" | "msync") && call.args[0] < RESERVED_END && end > BASE
}

/// Whether a call only asks for much more address space than the agent has, if all of it is free: who asks has to take no for an answer,
/// since anything may be there, and looks elsewhere. So do Java's virtual machines, at places that are drawn.
fn reserves_around(call: &Call) -> bool {
    const HOW: c_int = libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE | libc::MAP_ANONYMOUS;
    let [start, length, prot, flags, ..] = call.args;
    call.name() == "mmap"
        && prot == libc::PROT_NONE as u64
        && flags & HOW as u64 == (libc::MAP_FIXED_NOREPLACE | libc::MAP_ANONYMOUS) as u64
        && start < RESERVED_END
        && start.saturating_add(length) > BASE
        && length > RESERVED_END - BASE
}

/// Whether a call maps something where one of these parts of memory is, by address and length.
fn maps_over(call: &Call, mut parts: impl Iterator<Item = (u64, u64)>) -> bool {
    const AT_ADDRESS: u64 = (libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE) as u64;
    let is_fixed = call.name() == "mmap" && call.args[3] & AT_ADDRESS != 0;
    let [start, length, ..] = call.args;
    is_fixed && parts.any(|(other, size)| start < other + size && length > other.saturating_sub(start))
}

impl shown::Hidden for Recorder {
    fn hides_vdso(&self) -> bool {
        self.world.replayable
    }

    fn mappings(&self, pid: pid_t) -> Vec<Range<u64>> {
        let task = self.tasks.values().find(|task| task.process.borrow().pid == pid);
        task.map_or_else(Vec::new, |task| task.space.borrow().code.mappings().collect())
    }

    fn guards(&self, pid: pid_t) -> Vec<Guard> {
        let task = self.tasks.values().find(|task| task.process.borrow().pid == pid);
        task.map_or_else(Vec::new, |task| task.space.borrow().guards.all.iter().map(|kept| kept.guard).collect())
    }

    fn cpus(&self, tid: pid_t) -> Option<sys::CpuMask> {
        self.world.placement.shown(tid)
    }

    fn under_filter(&self, tid: pid_t) -> Option<shown::UnderFilter> {
        let task = self.tasks.get(&tid).filter(|_| self.is_filtered())?;
        Some(shown::UnderFilter { gains_nothing: task.traps.gains_nothing || sys::gains_nothing() })
    }
}

impl Recorder {
    /// Whether the agent may come to a process: nobody else uses its memory, but threads that take turns.
    pub(super) fn may_have_agent(&self, tid: pid_t) -> bool {
        if !self.world.replayable {
            return true;
        }
        self.tasks.get(&tid).is_some_and(|task| {
            let mut sharing = self.tasks.values().filter(|other| Rc::ptr_eq(&other.space, &task.space));
            // One that another process waits for uses its memory.
            sharing.all(|other| !other.is_stranded && Rc::ptr_eq(&other.process, &task.process))
        })
    }

    /// Memory below the stack pointers of the threads of a process, which is nobody's: addresses and lengths. The dynamic loader saves
    /// vector registers there. How many of them count as in use depends on when a thread was switched last, which the recording and its
    /// replay do not have in common: with the agent calls stop nothing, and on a busy machine a thread is switched between stops, too.
    /// `sp`: of the thread that is stopped.
    pub(super) fn dead_stacks(&self, tid: pid_t, sp: u64) -> Vec<(u64, u64)> {
        let Some(task) = self.tasks.get(&tid) else { return Vec::new() };
        let mappings = image::mappings(tid);
        let sharing = self.tasks.values().filter(|other| Rc::ptr_eq(&other.space, &task.space));
        let pointers = sharing.filter_map(|other| match &other.call {
            _ if other.tid == tid => Some(sp),
            Some(call) => Some(call.sp),
            None => sys::registers(other.tid).ok().map(|regs| regs.rsp),
        });
        pointers.filter_map(|sp| dead_stack(&mappings, sp)).collect()
    }

    /// Why the agent is to leave before a call.
    fn reason_to_leave(&self, task: &Task, call: &Call) -> Option<&'static str> {
        let space = task.space.borrow();
        if let Some(why) = space.code.leaves {
            return Some(why);
        }
        if call.arch != Arch::X86_64 {
            return None;
        }
        let plan = call.plan?;
        if plan.effect == plan::Effect::Clone {
            let has = |flags: u64, flag: c_int| flags & flag as u64 != 0;
            let flags = flags_of(call, &Memory::default(), task.tid);
            if has(flags, libc::CLONE_VM) {
                let takes_turns = has(flags, libc::CLONE_THREAD) || has(flags, libc::CLONE_VFORK);
                return (!takes_turns).then_some(OTHER_PROCESS);
            }
            return None;
        }
        if is_beyond(call) {
            return Some(OWN_FILTER);
        }
        let own = space.code.areas().chain([(BASE, RESERVED_END - BASE)]);
        if takes_place(call) || (!reserves_around(call) && maps_over(call, own)) {
            return Some(PLACE);
        }
        if measures_memory(call, task.tid) {
            return Some(MEASURES);
        }
        if call.name() == "process_vm_readv" && call.int(0) == task.process.borrow().pid {
            return Some(LOOKS);
        }
        let looks = plan.fds.iter().any(|slot| {
            let object = task.fds.borrow().get(call.int(usize::from(*slot)));
            object.and_then(|object| self.world.mapping_files.get(&object)).is_some_and(|shown| !shown.allows(call))
        });
        looks.then_some(LOOKS)
    }

    /// A task stands at the entry of a call. If the agent is to leave its process before, it does, and the task enters the call once
    /// more.
    pub(super) fn leaves_before(&mut self, tid: pid_t, info: &sys::SyscallInfo) -> bool {
        let Some(task) = self.tasks.get(&tid).filter(|_| self.world.agent.is_some()) else { return false };
        if task.space.borrow().code.state != State::Present || task.launching {
            return false;
        }
        let Some(why) = self.reason_to_leave(task, &Call::entered(info)) else { return false };
        if !self.go_back_before(tid, info) {
            return true;
        }
        self.evict(tid, why);
        self.go_on(tid, 0);
        true
    }

    /// Has a task that is at the entry of a call stand before the program's own instruction of it. When `false`, it has come to
    /// another stop, or has ended.
    pub(super) fn go_back_before(&mut self, tid: pid_t, info: &sys::SyscallInfo) -> bool {
        let skip = |regs| sys::set_registers(tid, &libc::user_regs_struct { orig_rax: u64::MAX, rax: 0, ..regs });
        if sys::registers(tid).and_then(skip).is_err() {
            return false;
        }
        loop {
            if sys::resume(tid, Resume::Syscall, 0).is_err() {
                return false;
            }
            let Ok(waited) = sys::wait_stop(tid) else { return false };
            let status = waited.status;
            if status >> 8 == libc::SIGTRAP | 0x80 {
                break;
            }
            // Of one that was stopped at the entry by itself, the filter tells as well.
            if status >> 16 != sys::event::SECCOMP {
                self.stops.push_back(waited);
                return false;
            }
        }
        let Some(task) = self.tasks.get(&tid) else { return false };
        let ip = task.space.borrow().code.own_ip(info.ip);
        let number = u64::from(info.first as u32);
        sys::registers(tid)
            .and_then(|regs| {
                let regs = libc::user_regs_struct { rip: ip - 2, rax: number, orig_rax: u64::MAX, ..regs };
                sys::set_registers(tid, &regs)
            })
            .is_ok()
    }

    /// Takes the agent out of the process of a task that stands still outside of calls, and out of the agent. Whether it is gone.
    pub(super) fn evict(&mut self, tid: pid_t, why: &'static str) -> bool {
        let Some(task) = self.tasks.get_mut(&tid) else { return false };
        let space = Rc::clone(&task.space);
        let Ok(regs) = sys::registers(tid) else { return false };
        {
            let mut space = space.borrow_mut();
            let own = space.code.own_ip(regs.rip);
            let own = if space.code.is_trampoline(own) { space.code.uncover(tid, own) } else { Some(own) };
            let Some(own) = own else { return false };
            if own != regs.rip && sys::set_registers(tid, &libc::user_regs_struct { rip: own, ..regs }).is_err() {
                return false;
            }
        }
        self.give_up(tid);
        self.world.does_without(why);
        let Some(task) = self.tasks.get_mut(&tid) else { return false };
        let pid = task.process.borrow().pid;
        let instruction = task.call_instruction(image::SYSCALL);
        task.disarm();
        let is_filtered = !self.world.dispatches;
        let Some(agent) = &self.world.agent else { return false };
        if space.borrow().code.is_patched() {
            return false;
        }
        let areas: Vec<(u64, u64)> =
            space.borrow().code.areas().chain([(FIRST_RING, RESERVED_END - FIRST_RING)]).collect();
        let removed = instruction.ok_or_else(|| std::io::Error::other("the process has no vDSO")).and_then(|at| {
            let mut thread = Borrowed::new(agent.image, pid, tid)?;
            thread.is_filtered = is_filtered;
            thread.restarts = sys::is_interrupted(&regs);
            inject::remove(&mut thread, at, areas.into_iter())
        });
        match removed {
            Ok(()) => {
                for other in self.tasks.values_mut().filter(|other| Rc::ptr_eq(&other.space, &space)) {
                    other.ring = None;
                    // They stand in or before calls, and go on where they would be without the agent.
                    other.is_stranded = other.tid != tid && other.has_block;
                    other.has_block = false;
                }
                // Who has looked at its mappings has seen none of the agent's.
                let left = space.borrow().code.left(why == LOOKS);
                space.borrow_mut().code = left;
                true
            }
            Err(error) => {
                self.world.note(&format!("the agent's pages could not be taken out of a program: {error}"));
                false
            }
        }
    }

    /// A task has come back from a call: whoever is to do without the agent stops at its next call, and who has asked for a
    /// file's mapping has others tell what they write there.
    pub(super) fn settle_agents(&mut self, tid: pid_t) {
        let files = std::mem::take(&mut self.world.new_files);
        if !files.is_empty() {
            for ring in self.tasks.values().filter_map(|task| task.ring.as_ref()) {
                for file in &files {
                    ring.see(*file);
                }
            }
            // What was opened before that is in a record.
            self.drain(None);
        }
        for number in std::mem::take(&mut self.world.forgotten_kept) {
            for ring in self.tasks.values().filter_map(|task| task.ring.as_ref()) {
                ring.keep(number, &self.world.kept_files[number]);
            }
        }
        for file in files {
            for task in self.tasks.values().filter(|task| is_known_to_agent(task)) {
                for (fd, _) in task.fds.borrow().of_file(file).filter(|(fd, _)| u64::from(*fd) < KNOWN_BYTES) {
                    let addr = KNOWN + u64::from(fd);
                    let mut bits = [0];
                    if sys::read_pieces(task.tid, &[(addr, 1)], &mut bits) == 1 && bits[0] != 0 {
                        sys::write_memory(task.tid, addr, &[bits[0] | known::WRITES_STOP]);
                    }
                }
            }
        }
        if std::mem::take(&mut self.world.some_joined) {
            self.stop_joined();
        }
        let Some(task) = self.tasks.get(&tid) else { return };
        let leaves = {
            let code = &task.space.borrow().code;
            code.leaves.filter(|_| code.state == State::Present)
        };
        if let Some(why) = leaves {
            self.evict(tid, why);
        }
    }

    /// Has those stop at their next call who take turns with other address spaces: there they wait for their turn, and are told what they
    /// leave to the engine; or the agent leaves them.
    pub(super) fn stop_joined(&self) {
        for task in self.tasks.values() {
            if let Some(ring) = task.ring.as_ref().filter(|_| task.space.borrow().is_joined) {
                ring.refuse(refuse::ALL);
            }
        }
    }

    /// There is more than one task from now on: what they write to the first program's output comes in order.
    pub(super) fn become_several(&mut self) {
        if self.world.agent.is_none() || !self.world.replayable || self.world.are_several || self.tasks.len() < 2 {
            return;
        }
        self.world.are_several = true;
        for ring in self.tasks.values().filter_map(|task| task.ring.as_ref()) {
            ring.set_maps(false);
            self.world.streams.iter().filter_map(Stream::file).for_each(|file| ring.see(file));
        }
        for task in self.tasks.values().filter(|task| is_known_to_agent(task)) {
            let mut table = self.world.known_table(task);
            table.resize(KNOWN_BYTES as usize, 0);
            sys::write_memory(task.tid, KNOWN, &table);
        }
    }

    /// A task is about to make a call that tells where its memory is, that its calls are filtered, or on which CPUs it runs: whether it is
    /// answered without what is the recording's.
    pub(super) fn answers_shown(&mut self, tid: pid_t) -> Option<i64> {
        if let Some(answer) = self.answers_cpuid_mode(tid).or_else(|| self.answers_inspector(tid)) {
            return Some(answer);
        }
        let hides_in_files = self.world.replayable || self.world.placement.is_active();
        if !self.stops_seldom() && (!hides_in_files || self.world.mapping_files.is_empty()) {
            return None;
        }
        let task = self.tasks.get(&tid)?;
        let call = task.call?;
        let is_prctl = call.plan.is_some_and(|plan| plan.role == Role::Prctl);
        if is_prctl || call.name() == "seccomp" {
            let filtered = self.under_filter(tid)?;
            let answer = if is_prctl { shown::asked(task, &call, filtered) } else { None };
            return answer.or_else(|| shown::refused(task, &call, filtered));
        }
        if asks_for_place(&call) && task.space.borrow().code.arena.is_some() {
            return Some(-i64::from(libc::ENOMEM));
        }
        if reserves_around(&call) && task.space.borrow().code.arena.is_some() {
            return Some(-i64::from(libc::EEXIST));
        }
        if self.world.mapping_files.is_empty() {
            return None;
        }
        let mut files = std::mem::take(&mut self.world.mapping_files);
        let answer = self.tasks.get(&tid).and_then(|task| shown::answer(&mut files, task, &call, self));
        self.world.mapping_files = files;
        answer
    }

    /// A task is about to go on, now: while a signal is held for it, its next call stops, and where others want the turn it keeps it in no
    /// call that waits.
    pub(super) fn ready_to_go_on(task: &mut Task, turns: &Turns) {
        if task.call.is_none() && (task.is_stranded || !task.has_block) {
            find_block(task);
        }
        let Some(ring) = &task.ring else { return };
        ring.set_clock(task.resumed);
        let was_wanted = task.resumed.saturating_sub(task.wanted) < SOON_AGAIN_NS;
        let space = task.space.borrow();
        let is_wanted = was_wanted || turns.is_awaited(space.group);
        // Others may come to want the turn while it runs.
        if space.waits.has_countings() {
            ring.set_waited(space.waits.counters());
        }
        let bits = refusals(task, true) | if is_wanted { refuse::TURNS } else { 0 };
        if ring.refuses() != bits {
            ring.refuse(bits);
        }
    }

    /// A signal has stopped a task at an instruction that was moved into a trampoline, or at what is left of one. When the
    /// instruction itself has raised it, it is put back where it was, and runs again: `true`.
    pub(super) fn put_moved_back(&mut self, tid: pid_t, signal: c_int, info: &SigInfo) -> bool {
        let Some(task) = self.tasks.get_mut(&tid) else { return false };
        if task.space.borrow().code.is_untouched() || !siginfo::is_synchronous(signal, siginfo::code(info)) {
            return false;
        }
        let Ok(regs) = sys::registers(tid) else { return false };
        let own = task.space.borrow_mut().code.put_back_at(tid, signal, regs.rip);
        let Some(own) = own else { return false };
        let regs = libc::user_regs_struct { rip: own, ..regs };
        self.world.keep_signal(task, signal, &regs);
        let _ = sys::set_registers(tid, &regs);
        self.go_on(tid, 0);
        true
    }

    /// A task that is to be stopped in its own code stands somewhere. Its next call stops it, so that it makes none on the way to a place
    /// that is found in replay. `false` when it stands in the agent's code, in a call that it makes there, or where a jump leads there.
    pub(super) fn stands_in_own_code(&mut self, tid: pid_t) -> bool {
        let Some(task) = self.tasks.get(&tid) else { return false };
        if task.space.borrow().code.state != State::Present {
            return true;
        }
        let Ok(regs) = sys::registers(tid) else { return false };
        if let Some(ring) = &task.ring {
            ring.refuse(refuse::ALL);
        }
        !self.is_foreign(tid, regs.rip..regs.rip + 1)
    }

    /// Whether a part of the code of a task is not as its program has it: the agent's, or changed by it.
    pub(super) fn is_foreign(&self, tid: pid_t, range: Range<u64>) -> bool {
        let Some(task) = self.tasks.get(&tid) else { return false };
        let Some(agent) = &self.world.agent else { return false };
        let code = &task.space.borrow().code;
        agent.image.covers(range.start) || code.is_trampoline(range.start) || code.is_changed(&range)
    }
}

/// Memory below a stack pointer that is nobody's: address and length; `None` when it is not known where the stack begins.
fn dead_stack(mappings: &[Mapping], sp: u64) -> Option<(u64, u64)> {
    const RED_ZONE: u64 = 128;
    let stack = mappings.iter().find(|mapping| sp.wrapping_sub(mapping.start) < mapping.length)?;
    let end = sp - RED_ZONE;
    let start = if stack.path == b"[stack]" {
        // In replay the stack is as long as it may become.
        (stack.start + stack.length).saturating_sub(STACK_ROOM).min(stack.start)
    } else {
        // That of another thread, as the C library maps it: behind memory that nobody may touch.
        let is_guard = |mapping: &Mapping| mapping.prot == 0 && mapping.start + mapping.length == stack.start;
        mappings.iter().find(|mapping| is_guard(mapping))?;
        stack.start
    };
    end.checked_sub(start).map(|length| (start, length))
}

/// A task goes on in its own code: with a block, where there are jumps to the agent by now; and where it would be without the agent, if
/// that has left its memory since it began its call.
fn find_block(task: &mut Task) {
    let (state, former) = {
        let code = &task.space.borrow().code;
        (code.state, task.is_stranded)
    };
    if !former && state != State::Present {
        return;
    }
    let Ok(regs) = sys::registers(task.tid) else { return };
    let rip = if former { task.space.borrow().code.former_ip(regs.rip) } else { regs.rip };
    let gs_base = if state == State::Present { SPARE } else { 0 };
    if sys::set_registers(task.tid, &libc::user_regs_struct { rip, gs_base, ..regs }).is_ok() {
        task.is_stranded = false;
        task.has_block = state == State::Present;
    }
}

/// Whether the agent in a task's memory knows of its descriptors.
fn is_known_to_agent(task: &Task) -> bool {
    !task.fds_apart && task.space.borrow().code.state == State::Present
}
