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
use std::rc::Rc;

use libc::{c_int, pid_t, user_regs_struct};
use trace_format::event::{EventKind, Trap, guard};
use trace_format::ring::block::GUARDED_PARTS;

use super::agent::filters;
use super::called::{Numbers, Stepped, call_in, step};
use super::turns::SLICE_NS;
use super::{Recorder, World};
use crate::capture::Call;
use crate::memory::{Memory, word_of};
use crate::plan::{Effect, Role};
use crate::probe;
use crate::siginfo::{self, SigInfo};
use crate::stepped;
use crate::sys;
use crate::task::{Boundary, Guard, Pending, SharedFile, Space, Task};

const MPROTECT: Numbers = (libc::SYS_mprotect, 125);
/// Memory that was touched so often is not guarded any more, and its process guards nothing from then on. (A Go compiler touches its
/// counters some 100 times; each costs 90 us.)
const MOST_TOUCHES: u32 = 160;
const WORD: usize = 8;
/// Bytes of a vector of iovec(3type), or of another structure with addresses.
const MOST_STRUCTURE: usize = 1024 * 2 * WORD;

impl Guard {
    pub(super) fn has(&self, addr: u64) -> bool {
        addr.wrapping_sub(self.start) < self.length
    }

    fn overlaps(&self, start: u64, length: u64) -> bool {
        start < self.start.saturating_add(self.length) && self.start < start.saturating_add(length)
    }

    /// Whether a part of a file that a space has mapped is of this.
    fn covers(&self, mapped: &SharedFile) -> bool {
        (mapped.dev, mapped.ino) == self.file && self.overlaps(mapped.start, mapped.length)
    }

    /// Has a task that stands still make the memory what the program wants it to be, or keeps it from the task.
    fn protect(&self, task: &Task, regs: &user_regs_struct, is_open: bool) -> bool {
        let prot = if is_open { self.prot } else { libc::PROT_NONE as u64 };
        call_in(task, regs, MPROTECT, &[self.start, self.length, prot]) == Some(0)
    }
}

impl Space {
    /// Whether all that it has mapped of a file is guarded.
    pub(super) fn guards_all_of(&self, file: (u64, u64)) -> bool {
        let mut mapped = self.shared_files.iter().filter(|mapped| (mapped.dev, mapped.ino) == file);
        mapped.all(|mapped| self.guards.all.iter().any(|guard| guard.covers(mapped)))
    }

    /// A part of the address space is gone.
    pub(super) fn cut_guards(&mut self, start: u64, end: u64) {
        for guard in std::mem::take(&mut self.guards.all) {
            let (first, last) = (guard.start, guard.start.saturating_add(guard.length));
            let parts = [(first, last.min(start)), (first.max(end), last)];
            let left = parts.into_iter().filter(|(first, last)| first < last);
            self.guards.all.extend(left.map(|(start, last)| Guard { start, length: last - start, ..guard }));
        }
    }

    /// Whether it has memory that is guarded there.
    pub(super) fn is_guarded(&self, start: u64, length: u64) -> bool {
        self.guards.all.iter().any(|guard| guard.overlaps(start, length))
    }
}

/// A call that gives the kernel something to do with guarded memory, or that would leave it to somebody who does not know of it.
fn meets_guard(task: &Task, call: &Call) -> bool {
    let space = task.space.borrow();
    let is_in = |addr: u64| space.guards.all.iter().any(|guard| guard.has(addr));
    let is_fork = call.plan.is_some_and(|plan| plan.effect == Effect::Clone)
        && super::lifecycle::clone_flags(task) & libc::CLONE_VM as u64 == 0;
    if is_fork || filters(call) {
        return true;
    }
    match call.name() {
        // What was there is gone.
        "munmap" | "mmap" | "mmap2" | "execve" => return false,
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
    /// A call of a task has been committed: what it has mapped is guarded, if it is to be.
    pub(super) fn guard_mapped(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let Some(guard) = task.space.borrow_mut().guards.next.take() else { return };
        let Ok(regs) = sys::registers(tid) else { return };
        if !guard.protect(task, &regs, false) {
            // Others that map it are guarded, so that nothing is known to have happened yet.
            return self.join_mappers(tid, &[guard]);
        }
        let place = (task.space.borrow().code.own_ip(regs.rip), regs.rsp);
        task.space.borrow_mut().guards.all.push(guard);
        self.world.guard_event(task, guard::SET, place, [guard.start, guard.length, guard.prot]);
        self.tell_guards(tid);
    }

    /// Tells the agents of an address space what is guarded.
    fn tell_guards(&self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let parts = task.space.borrow().guarded_parts();
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
        let Some(index) = space.borrow().guards.all.iter().position(|guard| guard.has(addr)) else { return false };
        let Ok(regs) = sys::registers(tid) else { return false };
        let place = (space.borrow().code.own_place(tid, regs.rip), regs.rsp);
        self.world.keep_signal(task, signal, &regs);
        let guards = space.borrow().guards.all.clone();
        if !guards.iter().all(|guard| guard.protect(task, &regs, true)) {
            self.world.unreplayable("memory that several processes map could not be given back to one of them");
            return false;
        }
        let guard = guards[index];
        let is_alone =
            self.world.mappers(task, guard.file).iter().all(|other| other.borrow().guards_all_of(guard.file));
        if guard.touched >= MOST_TOUCHES || !is_alone {
            self.lifted(tid, addr, place);
            return true;
        }
        let instruction = probe::decode(tid, regs.rip, probe::bits(&regs));
        let is_done = match step(task) {
            Stepped::Done => true,
            // It does not come to the memory, or not to the end: that is as without guard.
            Stepped::Raised => false,
            Stepped::Gone => return true,
        };
        let after = sys::registers(tid).ok();
        let Some(after) = after.filter(|after| is_done && guards.iter().all(|guard| guard.protect(task, after, false)))
        else {
            self.lifted(tid, addr, place);
            return true;
        };
        if let Some(instruction) = instruction {
            stepped::clear_stack(tid, &instruction, after.rsp);
        }
        if let Some(guard) = space.borrow_mut().guards.all.get_mut(index) {
            guard.touched += 1;
        }
        self.world.guard_event(task, guard::TOUCHED, place, [addr, 0, 0]);
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
        let guards = {
            let mut space = task.space.borrow_mut();
            space.guards.are_over = true;
            std::mem::take(&mut space.guards.all)
        };
        self.world.guard_event(task, guard::LIFTED, place, [addr, 0, 0]);
        task.boundary = Some(Boundary::at(place.0, place.1));
        let group = task.space.borrow().group;
        self.join_mappers(tid, &guards);
        self.tell_guards(tid);
        if self.take_turn(group, tid) {
            self.go_on(tid, 0);
        } else if let Some(task) = self.tasks.get_mut(&tid) {
            task.pending = Some(Pending::Start);
        }
    }

    /// A task takes turns with all that map the same files.
    fn join_mappers(&mut self, tid: pid_t, guards: &[Guard]) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let mut others: Vec<Rc<RefCell<Space>>> =
            guards.iter().flat_map(|guard| self.world.mappers(task, guard.file)).collect();
        others.retain(|space| space.borrow().shares);
        if others.is_empty() {
            return;
        }
        let group = task.space.borrow().group;
        task.space.borrow_mut().is_joined = true;
        for other in others {
            let mut other = other.borrow_mut();
            // Whoever runs there goes on running; the caller waits.
            self.world.turns.join(other.group, group);
            other.is_joined = true;
        }
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
        let guards = task.space.borrow().guards.all.clone();
        if guards.is_empty() || !(meets_guard(task, &call) || self.leaves_locks(task, &call)) {
            return false;
        }
        let mut others: Vec<Rc<RefCell<Space>>> =
            guards.iter().flat_map(|guard| self.world.mappers(task, guard.file)).collect();
        others.retain(|space| space.borrow().shares);
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
        if !guards.iter().all(|guard| guard.protect(task, &regs, true)) {
            self.world.unreplayable("memory that several processes map could not be given back to one of them");
        }
        let place = (regs.rip, regs.rsp);
        task.space.borrow_mut().guards.all.clear();
        self.world.guard_event(task, guard::LIFTED, place, [guards[0].start, 0, 0]);
        regs.rip = task.space.borrow_mut().code.way_to(tid, regs.rip);
        let _ = sys::set_registers(tid, &regs);
        self.tell_guards(tid);
        self.go_on(tid, 0);
        true
    }
}

impl Space {
    /// Where the kernel must not come.
    pub(super) fn guarded_parts(&self) -> Vec<std::ops::Range<u64>> {
        self.guards.all.iter().map(|guard| guard.start..guard.start.saturating_add(guard.length)).collect()
    }
}

/// Gives a task that is let go its memory back.
pub(super) fn give_back(task: &Task, regs: &user_regs_struct) {
    for guard in &task.space.borrow().guards.all.clone() {
        guard.protect(task, regs, true);
    }
}

/// Whether a task has stopped at an instruction that touches guarded memory.
pub(super) fn is_at_guard(task: &Task, info: &SigInfo) -> bool {
    let addr = siginfo::address(info);
    siginfo::code(info) == siginfo::SEGV_ACCERR && task.space.borrow().guards.all.iter().any(|guard| guard.has(addr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Guards;

    const FILE: (u64, u64) = (1, 2);

    fn space() -> Space {
        let guard = Guard { start: 0x7000, length: 0x4000, prot: 3, file: FILE, touched: 0 };
        let mapped = SharedFile { start: 0x7000, length: 0x4000, offset: 0, dev: FILE.0, ino: FILE.1 };
        let guards = Guards { all: vec![guard], ..Guards::default() };
        Space { guards, shared_files: vec![mapped], ..Space::default() }
    }

    #[test]
    fn what_is_unmapped_is_guarded_no_more() {
        let mut space = space();
        space.cut_guards(0x8000, 0x9000);
        let parts =
            |space: &Space| space.guards.all.iter().map(|guard| (guard.start, guard.length)).collect::<Vec<_>>();
        assert_eq!(parts(&space), [(0x7000, 0x1000), (0x9000, 0x2000)]);
        space.cut_guards(0x7000, 0xa000);
        assert_eq!(parts(&space), [(0xa000, 0x1000)]);
        space.cut_guards(0, u64::MAX);
        assert_eq!(space.guards.all, []);
    }

    #[test]
    fn a_file_is_guarded_where_all_of_its_mappings_are() {
        let mut space = space();
        assert!(space.guards_all_of(FILE) && space.guards_all_of((7, 7)));
        space.shared_files.push(SharedFile { start: 0x2_0000, length: 0x1000, offset: 0, dev: FILE.0, ino: FILE.1 });
        assert!(!space.guards_all_of(FILE));
    }

    #[test]
    fn memory_is_guarded_to_its_last_byte() {
        let space = space();
        assert!(space.is_guarded(0x6fff, 2) && space.is_guarded(0xafff, 1) && space.is_guarded(0, u64::MAX));
        assert!(!space.is_guarded(0x6fff, 1) && !space.is_guarded(0xb000, 8));
    }
}
