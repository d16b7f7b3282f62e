//! Files that several processes map to write there, without that they take turns for it.
//!
//! Such memory is mostly touched now and then: counters, a table of who is there. So it is kept from the processes
//! (mprotect(2) with PROT_NONE), and each instruction that touches it is executed by itself, in an event of its own: the order of
//! these events is all that there is to know, and what lies between them runs at the same time. Replay keeps the memory from
//! the processes likewise, and finds each of the instructions by its fault.
//!
//! The guard is lifted, and those that map the file take turns from then on, when the memory turns out to be touched often, and before a
//! call to which the kernel would find it, or that would change it.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use libc::{c_int, pid_t, user_regs_struct};
use trace_format::event::{EventKind, Trap, guard};
use trace_format::ring::block::GUARDED_PARTS;

use super::agent::filters;
use super::called::{Numbers, Stepped, call_in, step};
use super::turns::SLICE_NS;
use super::{Recorder, World};
use crate::capture::Call;
use crate::guard::Guard;
use crate::memory::{Memory, word_of};
use crate::plan::{Effect, Role};
use crate::probe;
use crate::siginfo::{self, SigInfo};
use crate::stepped;
use crate::sys;
use crate::task::{Boundary, Guarded, Pending, SharedFile, Space, Task};

const MPROTECT: Numbers = (libc::SYS_mprotect, 125);
/// Memory that was touched so often is not guarded any more, and its process guards nothing from then on. (A Go compiler touches its
/// counters some 100 times; each costs 90 us.)
const MOST_TOUCHES: u32 = 160;
const WORD: usize = 8;
/// Bytes of a vector of iovec(3type), or of another structure with addresses.
const MOST_STRUCTURE: usize = 1024 * 2 * WORD;

/// What is said where memory stays kept from a program.
const NOT_GIVEN_BACK: &str = "memory that several processes map could not be given back to one of them";
/// What is said where memory was given back, and could not be kept from a program again.
const NOT_KEPT_FROM: &str = "memory that several processes map could not be kept from one of them any longer";

impl Guarded {
    /// Whether a part of a file that a space has mapped is of this.
    fn covers(&self, mapped: &SharedFile) -> bool {
        (mapped.dev, mapped.ino) == self.file && self.guard.overlaps(mapped.start, mapped.length)
    }
}

/// Has a task that stands still make memory what the program wants it to be, or keeps it from the task.
fn protect(task: &Task, regs: &user_regs_struct, guard: &Guard, is_open: bool) -> bool {
    call_in(task, regs, MPROTECT, &guard.protection(is_open)) == Some(0)
}

/// The same for all of it, also what is behind a part that fails. Whether none does.
fn protect_all(task: &Task, regs: &user_regs_struct, guards: &[Guarded], is_open: bool) -> bool {
    let fails = |kept: &&Guarded| !protect(task, regs, &kept.guard, is_open);
    guards.iter().filter(fails).count() == 0
}

impl Space {
    /// Whether all that it has mapped of a file is guarded.
    pub(super) fn guards_all_of(&self, file: (u64, u64)) -> bool {
        let mut mapped = self.shared_files.iter().filter(|mapped| (mapped.dev, mapped.ino) == file);
        mapped.all(|mapped| self.guards.all.iter().any(|guard| guard.covers(mapped)))
    }

    /// Nothing of what was in a part of the address space is guarded any more.
    pub(super) fn cut_guards(&mut self, gone: &Range<u64>) {
        if self.guards.all.is_empty() {
            return;
        }
        self.guards.are_cut = true;
        let cut = |kept: Guarded| kept.guard.without(gone).map(move |guard| Guarded { guard, ..kept });
        self.guards.all = std::mem::take(&mut self.guards.all).into_iter().flat_map(cut).collect();
    }

    /// Whether it has memory that is guarded there.
    pub(super) fn is_guarded(&self, start: u64, length: u64) -> bool {
        self.guards.all.iter().any(|kept| kept.guard.overlaps(start, length))
    }

    /// Where the kernel must not come, in as many parts as an agent can be told of: what is between the last ones is with them.
    pub(super) fn guarded_parts(&self) -> Vec<Range<u64>> {
        let mut parts: Vec<Range<u64>> = self.guards.all.iter().map(|kept| kept.guard.range()).collect();
        parts.sort_unstable_by_key(|part| part.start);
        if let Some(end) = parts.last().map(|last| last.end).filter(|_| parts.len() > GUARDED_PARTS as usize) {
            parts.truncate(GUARDED_PARTS as usize);
            parts.iter_mut().last().expect("parts that were too many").end = end;
        }
        parts
    }
}

fn files_of(guards: &[Guarded]) -> Vec<(u64, u64)> {
    guards.iter().map(|kept| kept.file).collect()
}

/// A call that gives the kernel something to do with guarded memory, or that would leave it to somebody who does not know of it.
fn meets_guard(task: &Task, call: &Call) -> bool {
    let space = task.space.borrow();
    let is_in = |addr: u64| space.guards.all.iter().any(|kept| kept.guard.has(addr));
    let is_fork = call.plan.is_some_and(|plan| plan.effect == Effect::Clone)
        && super::lifecycle::clone_flags(task) & libc::CLONE_VM as u64 == 0;
    if is_fork || filters(call) {
        return true;
    }
    match call.name() {
        // What was there is gone.
        "munmap" | "mmap" | "mmap2" => return false,
        "mprotect" | "pkey_mprotect" | "mremap" | "mlock" | "mlock2" | "madvise" | "msync" | "remap_file_pages"
            if space.is_guarded(call.args[0], call.args[1].max(1)) =>
        {
            return true;
        }
        _ => {}
    }
    let is_given = call.args[..usize::from(call.nargs())].iter().any(|arg| is_in(*arg));
    let mut rest = &task.memory.bytes[..];
    is_given
        || task.memory.captures.iter().any(|capture| {
            let (bytes, behind) = rest.split_at((capture.len as usize).min(rest.len()));
            rest = behind;
            // Structures have further addresses in them.
            let mut words = bytes.chunks_exact(WORD).filter(|_| bytes.len() <= MOST_STRUCTURE).map(word_of);
            space.is_guarded(capture.addr, capture.wanted.max(1)) || words.any(is_in)
        })
}

impl World {
    /// Whether a file that a task maps can be guarded, as far as the task is concerned.
    pub(super) fn can_guard(&self, task: &Task, file: (u64, u64)) -> bool {
        let space = task.space.borrow();
        self.replayable
            && !self.turns.are_varied()
            && !task.stepwise
            && !space.is_joined
            && !space.guards.are_over
            && (space.guards.all.len() as u64) < GUARDED_PARTS
            && space.guards_all_of(file)
    }

    fn guard_event(&mut self, task: &Task, what: u64, place: (u64, u64), args: [u64; 3]) {
        let mut event = self.event(task, EventKind::Trap, Trap::Guard as i32);
        (event.ip, event.sp, event.nargs) = (place.0, place.1, 4);
        event.args[..4].copy_from_slice(&[args[0], what, args[1], args[2]]);
        event.ret = i64::from(task.traps.blocked & 1 << (libc::SIGSEGV - 1) != 0);
        self.commit(event, &Memory::default());
    }

    /// Reads what a process has in memory, also where that is guarded.
    pub(super) fn read_guarded(task: &Task, addr: u64, length: u64) -> Option<Vec<u8>> {
        if !task.space.borrow().is_guarded(addr, length) {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        sys::read_kept(task.tid, addr, &mut bytes).then_some(bytes)
    }
}

impl Recorder {
    /// A call of a task has been committed: what it has mapped is guarded, if it is to be, and agents learn what is no more.
    pub(super) fn follow_guards(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let next = {
            let guards = &mut task.space.borrow_mut().guards;
            if guards.next.is_none() && !guards.are_cut {
                return;
            }
            guards.next.take()
        };
        if let Some(next) = next
            && let Ok(regs) = sys::registers(tid)
        {
            if protect(task, &regs, &next.guard, false) {
                let place = (task.space.borrow().code.own_ip(regs.rip), regs.rsp);
                task.space.borrow_mut().guards.all.push(next);
                self.world.guard_event(task, guard::SET, place, [next.guard.start, next.guard.length, next.guard.prot]);
            } else {
                task.space.borrow_mut().guards.are_over = true;
                // Others that map it are guarded, so that nothing is known to have happened yet.
                let others = self.world.sharing_mappers(task, &[next.file]);
                self.join_turns(tid, &others);
            }
        }
        self.tell_guards(tid);
    }

    /// Tells the agents of an address space what is guarded.
    fn tell_guards(&self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let parts = {
            let mut space = task.space.borrow_mut();
            space.guards.are_cut = false;
            space.guarded_parts()
        };
        let sharing = self.tasks.values().filter(|other| Rc::ptr_eq(&other.space, &task.space));
        sharing.filter_map(|task| task.ring.as_ref()).for_each(|ring| ring.set_guarded(&parts));
    }

    /// Whether a signal tells that a task has come to an instruction that touches guarded memory. Then that is done.
    pub(super) fn touches_guarded(&mut self, tid: pid_t, signal: c_int, info: &SigInfo) -> bool {
        let Some(task) = self.tasks.get_mut(&tid) else { return false };
        if signal != libc::SIGSEGV || siginfo::code(info) != siginfo::SEGV_ACCERR {
            return false;
        }
        let addr = siginfo::address(info);
        let space = Rc::clone(&task.space);
        let Some(index) = space.borrow().guards.all.iter().position(|kept| kept.guard.has(addr)) else { return false };
        let Ok(regs) = sys::registers(tid) else { return false };
        let place = (space.borrow().code.own_place(tid, regs.rip), regs.rsp);
        self.world.keep_signal(task, signal, &regs);
        let guards = space.borrow().guards.all.clone();
        if !protect_all(task, &regs, &guards, true) {
            self.world.unreplayable(NOT_GIVEN_BACK);
            return false;
        }
        let Guarded { file, touched, .. } = guards[index];
        let is_alone = self.world.mappers(task, file).iter().all(|other| other.borrow().guards_all_of(file));
        if touched >= MOST_TOUCHES || !is_alone {
            self.lifted(tid, addr, place);
            return true;
        }
        let instruction = probe::decode(tid, regs.rip, probe::bits(&regs));
        match step(task) {
            Stepped::Done => {}
            // It does not come to the memory, or not to the end: that is as without guard.
            Stepped::Raised => {
                self.lifted(tid, addr, place);
                return true;
            }
            Stepped::Gone => return true,
        }
        let Ok(after) = sys::registers(tid) else { return true };
        if let Some(instruction) = instruction {
            stepped::clear_stack(tid, &instruction, after.rsp);
        }
        if let Some(kept) = space.borrow_mut().guards.all.get_mut(index) {
            kept.touched += 1;
        }
        self.world.guard_event(task, guard::TOUCHED, place, [addr, 0, 0]);
        if !protect_all(task, &after, &guards, false) {
            protect_all(task, &after, &guards, true);
            self.world.unreplayable(NOT_KEPT_FROM);
            self.unguarded(tid);
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return true };
        let ip = space.borrow().code.own_place(tid, after.rip);
        task.boundary = Some(Boundary::at(ip, after.rsp));
        let group = space.borrow().group;
        if self.world.turns.is_over(group, SLICE_NS, self.world.clock) {
            task.pending = Some(Pending::Start);
            let next = self.world.turns.yield_to_next(group, tid);
            self.grant(next);
        } else {
            self.go_on(tid, 0);
        }
        true
    }

    /// The guarded memory of a task, which stands before an instruction that touches it, is its own again: whoever maps it takes turns.
    fn lifted(&mut self, tid: pid_t, addr: u64, place: (u64, u64)) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        self.world.guard_event(task, guard::LIFTED, place, [addr, 0, 0]);
        task.boundary = Some(Boundary::at(place.0, place.1));
        let group = task.space.borrow().group;
        self.unguarded(tid);
        if self.take_turn(group, tid) {
            self.go_on(tid, 0);
        } else if let Some(task) = self.tasks.get_mut(&tid) {
            task.pending = Some(Pending::Start);
        }
    }

    /// The memory of a task's process is its own again: it takes turns with all that map the same files, and guards nothing from now on.
    fn unguarded(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let guards = {
            let guards = &mut task.space.borrow_mut().guards;
            guards.are_over = true;
            std::mem::take(&mut guards.all)
        };
        let others = self.world.sharing_mappers(task, &files_of(&guards));
        self.join_turns(tid, &others);
        self.tell_guards(tid);
    }

    /// A task takes turns with those of other address spaces.
    fn join_turns(&mut self, tid: pid_t, others: &[Rc<RefCell<Space>>]) {
        let Some(task) = self.tasks.get(&tid).filter(|_| !others.is_empty()) else { return };
        self.world.join_turns(&task.space, others);
        self.stop_joined();
    }

    /// Whether threads end that hold robust locks, futex(2): the kernel writes to these, wherever they are.
    fn leaves_locks(&self, task: &Task, call: &Call) -> bool {
        let holds = |thread: &Task| {
            let head = thread.robust_list;
            let mut first = [0; WORD];
            let first = &mut first[..thread.word.clamp(1, WORD)];
            head != 0
                && sys::read_pieces(thread.tid, &[(head, first.len())], first) == first.len()
                && word_of(first) != head
        };
        match call.plan.map(|plan| plan.role) {
            Some(Role::Exits) => holds(task),
            Some(Role::EndsProcess) => {
                self.tasks.values().filter(|thread| Rc::ptr_eq(&thread.space, &task.space)).any(holds)
            }
            _ => false,
        }
    }

    /// A thread is about to make a call that meets guarded memory: it is lifted before, for which it may have to wait. Whether there is
    /// nothing more to do now.
    pub(super) fn lifts_before(&mut self, tid: pid_t) -> bool {
        let Some(task) = self.tasks.get(&tid) else { return false };
        let Some(call) = task.call else { return false };
        let has_guards = !task.space.borrow().guards.all.is_empty();
        if !has_guards || !(meets_guard(task, &call) || self.leaves_locks(task, &call)) {
            return false;
        }
        let guards = task.space.borrow().guards.all.clone();
        let others = self.world.sharing_mappers(task, &files_of(&guards));
        if self.waits_for(tid, &others, None) {
            return true;
        }
        let Ok(info) = sys::syscall_info(tid) else { return false };
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.call = None;
        }
        if !self.go_back_before(tid, &info) {
            return true;
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return true };
        let Ok(mut regs) = sys::registers(tid) else { return true };
        if !protect_all(task, &regs, &guards, true) {
            self.world.unreplayable(NOT_GIVEN_BACK);
        }
        let place = (regs.rip, regs.rsp);
        task.space.borrow_mut().guards.all.clear();
        self.world.guard_event(task, guard::LIFTED, place, [guards[0].guard.start, 0, 0]);
        regs.rip = task.space.borrow_mut().code.way_to(tid, regs.rip);
        let _ = sys::set_registers(tid, &regs);
        self.tell_guards(tid);
        self.go_on(tid, 0);
        true
    }
}

/// Gives a task that is let go its memory back.
pub(super) fn give_back(task: &Task, regs: &user_regs_struct) {
    protect_all(task, regs, &task.space.borrow().guards.all, true);
}

/// Whether a task has stopped at an instruction that touches guarded memory.
pub(super) fn is_at_guard(task: &Task, info: &SigInfo) -> bool {
    let addr = siginfo::address(info);
    siginfo::code(info) == siginfo::SEGV_ACCERR
        && task.space.borrow().guards.all.iter().any(|kept| kept.guard.has(addr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Guards;

    const FILE: (u64, u64) = (1, 2);

    fn space() -> Space {
        let guard = Guard { start: 0x7000, length: 0x4000, prot: 3 };
        let mapped = SharedFile { start: 0x7000, length: 0x4000, offset: 0, dev: FILE.0, ino: FILE.1 };
        let guards = Guards { all: vec![Guarded { guard, file: FILE, touched: 0 }], ..Guards::default() };
        Space { guards, shared_files: vec![mapped], ..Space::default() }
    }

    #[test]
    fn agents_are_told_when_less_is_guarded() {
        let mut space = space();
        assert!(!space.guards.are_cut);
        space.cut_guards(&(0x8000..0x9000));
        assert_eq!((space.guarded_parts(), space.guards.are_cut), (vec![0x7000..0x8000, 0x9000..0xb000], true));
        space.cut_guards(&(0..u64::MAX));
        assert_eq!((space.guarded_parts(), space.guards.are_cut), (vec![], true));
    }

    #[test]
    fn agents_are_told_of_no_less_than_is_guarded() {
        let mut space = space();
        for page in [0x9000, 0x8000] {
            space.cut_guards(&(page + 0x100..page + 0x200));
            space.cut_guards(&(page + 0x300..page + 0x400));
        }
        let parts = space.guarded_parts();
        assert_eq!((space.guards.all.len(), parts.len()), (5, GUARDED_PARTS as usize));
        assert_eq!(parts.last(), Some(&(0x9200..0xb000)));
    }

    #[test]
    fn a_file_is_guarded_where_all_of_its_mappings_are() {
        let mut space = space();
        assert!(space.guards_all_of(FILE) && space.guards_all_of((7, 7)));
        space.shared_files.push(SharedFile { start: 0x2_0000, length: 0x1000, offset: 0, dev: FILE.0, ino: FILE.1 });
        assert!(!space.guards_all_of(FILE));
    }
}
