//! Memory that a process writes into another one: process_vm_writev(2), /proc/PID/mem, and calls that write to a file which another
//! one has mapped. Each is an event of the process in whose memory it lands, with what is there afterwards.
//!
//! The write has to come at a place in that process's code that replay knows: so the two take turns from the first such call on, and
//! the call is made only when its thread has the turn.

use std::cell::RefCell;
use std::rc::Rc;

use libc::pid_t;
use trace_format::event::{EventKind, Lost, Side, slot};

use super::layouts::{file_position, maps_to_write};
use super::leaving::WRITTEN;
use super::replayable::sink;
use super::{Recorder, World};
use crate::capture::Call;
use crate::memory::{Capturer, Memory, word_of};
use crate::plan::Role;
use crate::raw::ObjectKind;
use crate::sys;
use crate::task::{Pending, SharedFile, Space, Task};

/// The processes of this number whose memory a path of /proc stands for.
#[must_use]
pub(super) fn memory_of(path: &[u8]) -> Option<pid_t> {
    let text = std::str::from_utf8(path).ok()?;
    let inside = text.strip_prefix("/proc/")?.strip_suffix("/mem")?;
    let (pid, thread) = inside.split_once("/task/").unwrap_or((inside, "0"));
    thread.parse::<pid_t>().ok()?;
    pid.parse().ok()
}

/// Bytes in memory: address and length.
type Piece = (u64, u64);

/// Where a call that has moved `length` bytes to a file has put them.
fn target_offset(task: &Task, call: &Call, length: u64) -> Option<u64> {
    let given = match call.name() {
        "pwrite64" | "pwritev" | "pwritev2" if call.args[3] != u64::MAX => Some(call.args[3]),
        "splice" | "copy_file_range" if call.args[3] != 0 => {
            let mut after = [0; 8];
            let got = crate::sys::read_pieces(task.tid, &[(call.args[3], 8)], &mut after);
            (got == 8).then(|| word_of(&after).saturating_sub(length))
        }
        _ => None,
    };
    given.or_else(|| Some(file_position(task.tid, sink(call)?)?.saturating_sub(length)))
}

/// The pieces of a process's memory that process_vm_writev(2) has written.
fn pieces_of_vector(task: &Task, call: &Call, mut left: u64) -> Vec<Piece> {
    let word = call.arch.word();
    let vector = task.memory.find(3, Side::In).unwrap_or_default();
    let pieces = vector.chunks_exact(2 * word).map(|entry| {
        let length = word_of(&entry[word..]).min(left);
        left -= length;
        (word_of(&entry[..word]), length)
    });
    pieces.filter(|(_, length)| *length > 0).collect()
}

/// The parts of a mapping that show a part of its file.
fn piece_of_mapping(mapped: &SharedFile, from: u64, length: u64) -> Option<Piece> {
    let first = from.max(mapped.offset);
    let last = from.saturating_add(length).min(mapped.offset.saturating_add(mapped.length));
    (first < last).then(|| (mapped.start + (first - mapped.offset), last - first))
}

/// Memory that several processes may see.
#[derive(Clone, Copy, PartialEq)]
enum Shared {
    /// Of a file, by device and inode.
    File((u64, u64)),
    /// Of a segment, shmget(2).
    Segment(i32),
}

/// What a call maps that has a descriptor for it.
fn kind_of_mapped(task: &Task, call: &Call) -> Option<ObjectKind> {
    Some(task.fds.borrow().open(call.int(4))?.kind)
}

/// The memory that a call maps which others may see, too.
fn shared_by(task: &Task, call: &Call) -> Option<Shared> {
    let has = |flag: libc::c_int| call.args[3] & flag as u64 != 0;
    match call.name() {
        "mmap" | "mmap2" if has(libc::MAP_SHARED) && !has(libc::MAP_ANONYMOUS) => {
            Some(Shared::File(task.fds.borrow().open(call.int(4))?.file))
        }
        "shmat" => Some(Shared::Segment(call.int(0))),
        _ => None,
    }
}

impl World {
    /// The file that the kernel has behind a segment, if somebody has attached it.
    fn segment(&self, number: i32) -> Option<(u64, u64)> {
        let is_it = |(file, known): (&(u64, u64), &super::Sharing)| (known.segment == Some(number)).then_some(*file);
        self.shared_files.iter().find_map(is_it)
    }

    /// Whether a call writes to a file, by whatever way.
    fn writes_to_file(call: &Call) -> bool {
        call.plan.is_some_and(|plan| matches!(plan.role, Role::Writes | Role::WritesAt | Role::Moves(_)))
    }

    /// Other address spaces in which a file is mapped.
    pub(super) fn mappers(&self, task: &Task, file: (u64, u64)) -> Vec<Rc<RefCell<Space>>> {
        let spaces = self.shared_files.get(&file).into_iter().flat_map(|known| &known.spaces);
        spaces
            .filter_map(std::rc::Weak::upgrade)
            .filter(|space| !Rc::ptr_eq(space, &task.space))
            .filter(|space| space.borrow().shared_files.iter().any(|mapped| (mapped.dev, mapped.ino) == file))
            .collect()
    }

    /// Those of them that share it, for some files.
    pub(super) fn sharing_mappers(&self, task: &Task, files: &[(u64, u64)]) -> Vec<Rc<RefCell<Space>>> {
        let mappers = files.iter().flat_map(|file| self.mappers(task, *file));
        mappers.filter(|space| space.borrow().shares).collect()
    }

    /// What a process has written into its own memory by a call: by its number, through /proc/self/mem, or to a file that it has
    /// mapped itself.
    pub(super) fn wrote(&mut self, task: &mut Task, call: &Call, result: i64) {
        if std::mem::take(&mut task.writes_within) && result > 0 {
            let pieces = pieces_of_vector(task, call, result as u64);
            self.take_written(task, pieces);
        }
        let Some(fd) = sink(call).filter(|_| result > 0 && World::writes_to_file(call)) else { return };
        let length = result as u64;
        let Some(open) = task.fds.borrow().open(fd) else { return };
        let own = self.memory_files.get(&open.object).is_some_and(|pid| *pid == task.process.borrow().pid);
        if !own && !self.shared_files.contains_key(&open.file) {
            return;
        }
        self.changed_by_itself(open.file, false);
        let Some(from) = target_offset(task, call, length) else { return };
        let pieces: Vec<Piece> = if own {
            vec![(from, length)]
        } else {
            let space = task.space.borrow();
            let mapped = space.shared_files.iter().filter(|mapped| (mapped.dev, mapped.ino) == open.file);
            mapped.filter_map(|mapped| piece_of_mapping(mapped, from, length)).collect()
        };
        self.take_written(task, pieces);
    }

    /// Takes what a call has written into the memory of its own process.
    fn take_written(&self, task: &mut Task, pieces: Vec<Piece>) {
        for (addr, length) in pieces {
            if let Some(bytes) = World::read_guarded(task, addr, length) {
                task.memory.add_written(slot::LAYOUT, addr, &bytes);
                continue;
            }
            let mut capturer = Capturer { tid: task.tid, word: 8, data: self.data, memory: &mut task.memory };
            capturer.payload(slot::LAYOUT, Side::Out, addr, length);
        }
    }
}

/// Which of these threads, by the recorder's numbers, has this one in the process ids of another: the recorder's own, or those of its
/// namespace.
pub(super) fn numbered(by: pid_t, number: pid_t, tids: impl IntoIterator<Item = pid_t>) -> Option<pid_t> {
    let namespace = |tid: pid_t| std::fs::read_link(format!("/proc/{tid}/ns/pid")).ok();
    let own = namespace(by);
    let mut tids = tids.into_iter();
    if own == std::fs::read_link("/proc/self/ns/pid").ok() {
        return tids.find(|tid| *tid == number);
    }
    let innermost = |tid: pid_t| {
        let status = sys::status_of(tid)?;
        sys::status_field(&status, "NSpid")?.split_whitespace().last()?.parse::<pid_t>().ok()
    };
    tids.find(|tid| innermost(*tid) == Some(number) && namespace(*tid) == own)
}

impl Recorder {
    /// The thread that has this number in the process ids of a task: the recorder's own, or those of its namespace.
    pub(super) fn task_numbered(&self, by: &Task, number: pid_t) -> Option<&Task> {
        self.tasks.get(&numbered(by.tid, number, self.tasks.keys().copied())?)
    }

    /// The address spaces besides its own that a call may write to.
    fn written_spaces(&self, task: &Task, call: &Call) -> Vec<Rc<RefCell<Space>>> {
        let of_process = |number: pid_t| {
            let target = self.task_numbered(task, number)?;
            (!Rc::ptr_eq(&target.space, &task.space)).then(|| Rc::clone(&target.space))
        };
        if call.plan.is_some_and(|plan| plan.role == Role::WritesElsewhere) {
            return of_process(call.int(0)).into_iter().collect();
        }
        if !World::writes_to_file(call) {
            return Vec::new();
        }
        let Some(open) = sink(call).and_then(|fd| task.fds.borrow().open(fd)) else { return Vec::new() };
        match self.world.memory_files.get(&open.object) {
            Some(pid) => of_process(*pid).into_iter().collect(),
            None if self.world.shared_files.contains_key(&open.file) => self.world.mappers(task, open.file),
            None => Vec::new(),
        }
    }

    /// A thread is about to make a call that writes into another process. Whether it has to wait until that one stands still.
    pub(super) fn waits_to_write_outside(&mut self, tid: pid_t) -> bool {
        let Some(task) = self.tasks.get(&tid) else { return false };
        let Some(call) = task.call else { return false };
        let spaces = self.written_spaces(task, &call);
        let is_within = call.plan.is_some_and(|plan| plan.role == Role::WritesElsewhere)
            && self.task_numbered(task, call.int(0)).is_some_and(|target| Rc::ptr_eq(&target.space, &task.space));
        if self.waits_for(tid, &spaces, Some(WRITTEN)) {
            return true;
        }
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.writes_outside = !spaces.is_empty();
            task.writes_within = is_within;
        }
        false
    }

    /// A thread is about to map memory that others have mapped shared, or are mapping just now. What is in it then is part of the
    /// call's event, so none of them may be running. Whether it has to wait.
    pub(super) fn waits_to_share(&mut self, tid: pid_t) -> bool {
        let Some(task) = self.tasks.get(&tid) else { return false };
        let Some((call, shared)) = task.call.and_then(|call| Some((call, shared_by(task, &call)?))) else {
            return false;
        };
        let file = match shared {
            Shared::File(file) => Some(file),
            Shared::Segment(number) => self.world.segment(number),
        };
        let (mut others, mut is_written) = (Vec::new(), false);
        if let Some(file) = file {
            is_written = self.world.shared_files.get(&file).is_some_and(|known| known.written);
            others = self.world.sharing_mappers(task, &[file]);
            // Those that cannot touch it unseen may run on.
            others.retain(|space| !space.borrow().guards_all_of(file));
        }
        for other in
            self.tasks.values().filter(|other| other.pending.is_none() && !Rc::ptr_eq(&other.space, &task.space))
        {
            let Some(coming) = other.call.filter(|coming| shared_by(other, coming) == Some(shared)) else {
                continue;
            };
            let is_guarded = |mapper: &Task, call: &Call| {
                let is_file = kind_of_mapped(mapper, call) == Some(ObjectKind::File);
                is_file && file.is_some_and(|file| self.world.can_guard(mapper, file))
            };
            if is_guarded(task, &call) && is_guarded(other, &coming) {
                continue;
            }
            is_written |= maps_to_write(other.tid, &coming);
            others.push(Rc::clone(&other.space));
        }
        if others.is_empty() || !(is_written || maps_to_write(tid, &call)) {
            return false;
        }
        self.waits_for(tid, &others, None)
    }

    /// A thread takes turns with those of other address spaces from now on, which the agent perhaps `leaves`. Whether it has to wait for
    /// its own.
    pub(super) fn waits_for(
        &mut self,
        tid: pid_t,
        spaces: &[Rc<RefCell<Space>>],
        leaves: Option<&'static str>,
    ) -> bool {
        let Some(own_space) = self.tasks.get(&tid).map(|task| Rc::clone(&task.space)) else { return false };
        let own = own_space.borrow().group;
        for space in spaces {
            self.world.join_turns(&own_space, std::slice::from_ref(space));
            for joined in [space, &own_space] {
                let code = &mut joined.borrow_mut().code;
                code.leaves = code.leaves.or(leaves);
            }
            self.stop_joined();
            self.take_turns_of_stopped(space);
            if !self.take_turn(own, tid) {
                if let Some(task) = self.tasks.get_mut(&tid) {
                    task.pending = Some(Pending::Enter);
                }
                return true;
            }
        }
        false
    }

    /// Threads that were stopped by a signal keep nobody waiting.
    fn take_turns_of_stopped(&mut self, space: &Rc<RefCell<Space>>) {
        let group = space.borrow().group;
        let stopped = self.tasks.values().filter(|task| task.in_group_stop && Rc::ptr_eq(&task.space, space));
        let stopped: Vec<(pid_t, bool)> = stopped.map(|task| (task.tid, task.stopped_in_code)).collect();
        for (tid, in_code) in stopped {
            if in_code {
                self.world.unreplayable("a process wrote into the memory of one that was stopped in its own code");
            }
            let next = self.world.turns.release(group, tid);
            self.grant(next);
        }
    }

    /// A thread has come back from a call that may have written into other processes: each of them gets an event.
    pub(super) fn wrote_outside(&mut self, tid: pid_t, result: i64) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if !std::mem::take(&mut task.writes_outside) || result <= 0 {
            return;
        }
        let Some(task) = self.tasks.get(&tid) else { return };
        let Some(call) = task.call else { return };
        let length = result as u64;
        let is_vector = call.plan.is_some_and(|plan| plan.role == Role::WritesElsewhere);
        let open = sink(&call).and_then(|fd| task.fds.borrow().open(fd));
        let is_memory = open.is_some_and(|open| self.world.memory_files.contains_key(&open.object));
        let from = if is_vector { Some(0) } else { target_offset(task, &call, length) };
        let (Some(from), spaces) = (from, self.written_spaces(task, &call)) else { return };
        let mut written: Vec<(Rc<RefCell<Space>>, Vec<Piece>)> = Vec::new();
        for space in spaces {
            let pieces = if is_vector {
                pieces_of_vector(task, &call, length)
            } else if is_memory {
                vec![(from, length)]
            } else {
                let space = space.borrow();
                let file = open.map(|open| open.file);
                let mapped = space.shared_files.iter().filter(|mapped| Some((mapped.dev, mapped.ino)) == file);
                mapped.filter_map(|mapped| piece_of_mapping(mapped, from, length)).collect()
            };
            written.push((space, pieces));
        }
        for (space, pieces) in written.into_iter().filter(|(_, pieces)| !pieces.is_empty()) {
            self.tell_of_write(&space, &pieces);
        }
    }

    /// Commits an event of a process into whose memory another one has written.
    fn tell_of_write(&mut self, space: &Rc<RefCell<Space>>, pieces: &[Piece]) {
        let threads = self.tasks.values().filter(|task| Rc::ptr_eq(&task.space, space) && !task.executed);
        let Some(target) = threads.min_by_key(|task| task.index) else { return };
        let mut memory = Memory::default();
        for (addr, length) in pieces {
            if let Some(bytes) = World::read_guarded(target, *addr, *length) {
                memory.add_written(slot::LAYOUT, *addr, &bytes);
                continue;
            }
            let mut capturer = Capturer { tid: target.tid, word: 8, data: self.world.data, memory: &mut memory };
            capturer.payload(slot::LAYOUT, Side::Out, *addr, *length);
        }
        memory.add(0, Side::In, b"another process has written into the memory of this one");
        let event = self.world.event(target, EventKind::Note, Lost::Remark as i32);
        self.world.commit(event, &memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_memory_are_known() {
        assert_eq!(memory_of(b"/proc/4711/mem"), Some(4711));
        assert_eq!(memory_of(b"/proc/4711/task/4712/mem"), Some(4711));
        for path in [&b"/proc/4711/maps"[..], b"/proc/self/mem", b"/tmp/proc/1/mem", b"/proc/1/task/x/mem", b"\xff"] {
            assert_eq!(memory_of(path), None);
        }
    }

    #[test]
    fn a_part_of_a_file_is_where_its_mapping_shows_it() {
        let mapped = SharedFile { start: 0x7000, length: 0x2000, offset: 0x1000, dev: 1, ino: 2 };
        assert_eq!(piece_of_mapping(&mapped, 0x0800, 0x1000), Some((0x7000, 0x800)));
        assert_eq!(piece_of_mapping(&mapped, 0x2f00, 0x1000), Some((0x8f00, 0x100)));
        assert_eq!(piece_of_mapping(&mapped, 0x3000, 0x1000), None);
        assert_eq!(piece_of_mapping(&mapped, 0, u64::MAX), Some((0x7000, 0x2000)));
    }
}
