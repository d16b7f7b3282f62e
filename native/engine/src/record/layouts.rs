//! What replay has to map: the address space of a new program, and what calls map into one; and who else sees that memory.

use std::cell::RefCell;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libc::pid_t;
use trace_format::event::{Lost, Side, slot};
use trace_format::ring::MOST_MAPPED;
use trace_format::ring::block::{KEPT_FILES, KEPT_WORDS};
use trace_format::table::Arch;

use super::World;
use super::agent::ToldFile;
use crate::capture::Call;
use crate::guard::Guard;
use crate::image::{self, FileId, Mapping};
use crate::layout::{PAGE, ROW_BYTES, Row};
use crate::memory::{Capturer, Memory, word_of};
use crate::objects;
use crate::raw::{ObjectKind, RawEvent};
use crate::stack::Stack;
use crate::sys::{self, USER32_CS};
use crate::task::{Boundary, Guarded, Loader, SharedFile, Space, Task};

const MAP_SHARED: u64 = libc::MAP_SHARED as u64;
const MAP_ANONYMOUS: u64 = libc::MAP_ANONYMOUS as u64;
const PROT_WRITE: u64 = libc::PROT_WRITE as u64;
const PROT_EXEC: u64 = libc::PROT_EXEC as u64;
/// With fewer shared files nobody looks which are still mapped.
const LEAST_CHECKED: usize = 1 << 10;
/// Smaller ones go into the trace.
const SMALL_FILE: u64 = MOST_MAPPED;
/// Larger files are not copied when they are mapped.
const MAX_FILE: u64 = 4 << 30;
/// What is said of each file of which there is no copy.
pub(super) const NOT_KEPT: &str = " could not be kept";
/// What an agent is told of a file instead of its state, so that it takes no file for it.
const NO_STATE: [u64; KEPT_WORDS as usize] = {
    let mut words = [u64::MAX; KEPT_WORDS as usize];
    words[CODE_WORD] = 0;
    words
};
/// Where it is told whether code of a file may be mapped without the engine.
const CODE_WORD: usize = KEPT_WORDS as usize - 1;

impl World {
    /// Adds to an Exec event what the address space is made of, and hides the vDSO from the program.
    pub(super) fn describe_space(
        &mut self,
        task: &mut Task,
        mappings: Vec<Mapping>,
        stack: Option<&mut Stack>,
        (event, memory): (&mut RawEvent, &mut Memory),
    ) {
        let Ok(regs) = sys::registers(task.tid) else {
            if !sys::is_gone(task.tid) {
                self.lost[Lost::TaskGone as usize] += 1;
                self.unreplayable("a new program could not be looked into");
            }
            return;
        };
        let arch = if regs.cs == USER32_CS { Arch::I386 } else { Arch::X86_64 };
        (event.arch, event.ip, event.sp) = (arch as u8, regs.rip, regs.rsp);
        task.boundary = Some(Boundary::at(regs.rip, regs.rsp));
        let mut rows = Vec::with_capacity(mappings.len() * ROW_BYTES);
        let mut tails = Vec::new();
        let mut above = 0;
        let mappings = self.keep_programs(task.tid, mappings);
        if sys::is_gone(task.tid) {
            // It was killed before its first instruction: nothing of it has to be known.
            return;
        }
        for (mapping, hash) in &mappings {
            let row = Row::of(mapping, *hash);
            rows.extend(row.bytes());
            if mapping.prot & PROT_EXEC != 0 && mapping.ino != 0 && !mapping.shared {
                let facts = self.images.facts_of_mapping(mapping, &image::reachable(task.tid, &mapping.path));
                tails.extend(self.trap_unseen(task, mapping, &facts));
            }
            if row.is_stack() {
                above = row.end;
            } else if mapping.ino != 0 && mapping.prot & PROT_WRITE != 0 && mapping.length >= PAGE {
                // The kernel has cleared what is behind the data in its last page.
                tails.push((row.end - PAGE, PAGE));
            }
        }
        memory.add(slot::LAYOUT, Side::In, &rows);
        task.traps.cpuid_is_forbidden = false;
        self.trap_cpuid(task, &regs);
        let stack = hide_vdso(task.tid, arch, regs.rsp, stack);
        if let Some(known) = stack.and_then(|stack| stack.up_to(above)) {
            memory.add_written(slot::LAYOUT, regs.rsp, known);
        } else if above > 0 {
            tails.push((regs.rsp, above.saturating_sub(regs.rsp)));
        }
        let mut capturer = Capturer { tid: task.tid, word: arch.word(), data: self.data, memory };
        capturer.structures(slot::LAYOUT, Side::Out, &tails);
        let hash = |code: &Mapping| mappings.iter().find(|(mapping, _)| mapping == code).and_then(|(_, hash)| *hash);
        if let Some(loader) = Loader::find(stack, mappings.iter().map(|(mapping, _)| mapping), hash) {
            self.spare_loader(task, loader, memory);
        }
    }

    /// The mappings of a new program with the hashes of their files. A file has several, one after the other.
    fn keep_programs(&mut self, tid: pid_t, mappings: Vec<Mapping>) -> Vec<(Mapping, Option<[u8; 32]>)> {
        let mut last = (0, 0, None);
        let kept = mappings.into_iter().map(|mapping| {
            if (mapping.dev, mapping.ino) != (last.0, last.1) {
                let hash = if mapping.ino == 0 { None } else { self.keep_program(tid, &mapping) };
                last = (mapping.dev, mapping.ino, hash);
            }
            (mapping, last.2)
        });
        kept.collect()
    }

    /// The hash of a file that an exec has mapped.
    fn keep_program(&mut self, tid: pid_t, mapping: &Mapping) -> Option<[u8; 32]> {
        use std::os::unix::fs::MetadataExt as _;
        if sys::is_served(mapping.dev) {
            self.could_not_keep(mapping);
            return None;
        }
        let mut hash = self.images.facts_of_mapping(mapping, &image::reachable(tid, &mapping.path)).hash;
        if hash.is_none() {
            // The program file has no name any more, or never had one.
            let exe = PathBuf::from(format!("/proc/{tid}/exe"));
            if std::fs::metadata(&exe).is_ok_and(|meta| meta.ino() == mapping.ino) {
                hash = self.images.facts(&exe).hash;
            }
        }
        if hash.is_none() {
            self.unreplayable_of(tid, &format!("a mapped program file{NOT_KEPT}"));
        }
        hash
    }

    /// A call has mapped something: what is executable has a load event of its own, and replay has to map everything.
    pub(super) fn mapped(&mut self, task: &mut Task, call: &Call, result: i64) {
        let Some(asked) = mapping_arguments(task, call) else { return };
        World::forget_unseen(task, result as u64, asked.length);
        if asked.flags & libc::MAP_FIXED as u64 != 0 {
            let (start, end) = pages(result as u64, asked.length);
            let mut space = task.space.borrow_mut();
            cut_files(&mut space.shared_files, start, end);
            space.cut_guards(&(start..end));
        }
        let shared = asked.flags & MAP_SHARED != 0;
        let executable = asked.prot & PROT_EXEC != 0;
        if asked.flags & MAP_ANONYMOUS != 0 || asked.fd < 0 {
            if shared && self.replayable {
                self.describe_shared(task, result as u64, asked.length, asked.prot);
            }
            return;
        }
        if !executable && !self.replayable {
            return;
        }
        if let Some(told) = self.agent.as_mut().and_then(|agent| agent.told_mapped.take()) {
            return match &told.content {
                Some(content) => self.mapped_by_agent(task, &asked, result as u64, (&told, content)),
                None => self.mapped_as_kept(task, &asked, result as u64, &told),
            };
        }
        let known = task.fds.borrow().get(asked.fd).and_then(|object| self.objects.lately(object).cloned());
        let Some(identity) = known.or_else(|| objects::identify(task.tid, asked.fd).ok()) else {
            self.unreplayable_of(task.tid, "a mapped file could not be identified");
            return;
        };
        if !self.is_watched(task, (identity.dev, identity.ino)) {
            self.images.look_again();
        }
        let mut mapping = Mapping {
            start: result as u64,
            length: asked.length.next_multiple_of(PAGE),
            offset: asked.offset,
            prot: asked.prot,
            shared,
            dev: identity.dev,
            ino: identity.ino,
            path: identity.path,
        };
        if self.is_served(task.tid, asked.fd) {
            sys::ask_nobody([mapping.dev]);
            self.could_not_keep(&mapping);
            task.memory.add(slot::LAYOUT, Side::In, &Row::of(&mapping, None).bytes());
            return;
        }
        if self.replayable {
            self.describe_mapping(task, &mapping, identity.kind, asked.fd);
        }
        if executable {
            mapping.length = asked.length;
            let file = open_file(task.tid, asked.fd);
            let facts = self.images.facts_of_mapping(&mapping, &file);
            if self.replayable
                && facts.hash.is_some()
                && facts.unseen.is_empty()
                && let Some(meta) = self.images.state_of_mapping(&mapping, || file)
            {
                self.tell_kept(task, &meta, true);
            }
            self.code_appears(task, mapping, facts);
        }
    }

    /// The agent has mapped a file, and kept its content. By now it may be mapped no more.
    fn mapped_by_agent(&mut self, task: &mut Task, asked: &Asked, start: u64, (told, content): (&ToldFile, &[u8])) {
        let (.., size) = told.file.state();
        if content.len() as u64 != size {
            self.unreplayable("a file became smaller while it was mapped");
            return;
        }
        let mapping = self.told_mapping(task, asked, start, told);
        let hash = Some(*blake3::hash(content).as_bytes());
        World::add_content(task, &mapping, hash, content);
        self.remember_told(task, &mapping, told, hash);
    }

    /// The agent has mapped a file whose content was kept before.
    fn mapped_as_kept(&mut self, task: &mut Task, asked: &Asked, start: u64, told: &ToldFile) {
        let mapping = self.told_mapping(task, asked, start, told);
        let hash = self.images.kept_as(&told.file, || image::reachable(task.tid, &mapping.path));
        if hash.is_none() {
            self.could_not_keep(&mapping);
        }
        task.memory.add(slot::LAYOUT, Side::In, &Row::of(&mapping, hash).bytes());
        self.remember_told(task, &mapping, told, hash);
        if let Some(agent) = &mut self.agent
            && let Some(twin) = told.twin.and_then(|number| task.space.borrow_mut().code.lent.get_mut(number)?.take())
        {
            agent.twin_put = Some((start, twin));
        }
        if asked.prot & PROT_EXEC != 0 {
            let facts = self.images.facts_as(&told.file, || image::reachable(task.tid, &mapping.path));
            self.pending_maps.push((Mapping { length: asked.length, ..mapping }, facts));
        }
    }

    fn told_mapping(&mut self, task: &Task, asked: &Asked, start: u64, told: &ToldFile) -> Mapping {
        let (dev, ino) = told.file.numbers();
        let known = task.fds.borrow().get(asked.fd).and_then(|object| self.objects.lately(object).cloned());
        let known = known.or_else(|| objects::identify(task.tid, asked.fd).ok());
        let known = known.filter(|identity| (identity.dev, identity.ino) == (dev, ino));
        let path = known.map(|identity| identity.path).unwrap_or_default();
        let length = asked.length.next_multiple_of(PAGE);
        let shared = asked.flags & MAP_SHARED != 0;
        Mapping { start, length, offset: asked.offset, prot: asked.prot, shared, dev, ino, path }
    }

    fn remember_told(&mut self, task: &mut Task, mapping: &Mapping, told: &ToldFile, hash: Option<[u8; 32]>) {
        if mapping.shared {
            self.share(task, mapping, false, true);
        } else {
            self.remember_file(task, mapping);
        }
        self.watch_mapped_as(mapping, told.file.state(), hash);
    }

    fn add_content(task: &mut Task, mapping: &Mapping, hash: Option<[u8; 32]>, content: &[u8]) {
        task.memory.add(slot::LAYOUT, Side::In, &Row::of(mapping, hash).with_content().bytes());
        task.memory.add(slot::LAYOUT, Side::In, content);
    }

    /// Says what replay has to map: whole pages of the file behind a descriptor.
    fn describe_mapping(&mut self, task: &mut Task, mapping: &Mapping, kind: ObjectKind, fd: i32) {
        if !matches!(kind, ObjectKind::File | ObjectKind::Memfd) {
            if mapping.path != b"/dev/zero" {
                let shown = String::from_utf8_lossy(&mapping.path);
                // One after the other has a number of its own.
                let shown = if kind == ObjectKind::Socket { "a socket" } else { &*shown };
                self.unreplayable(&format!("it maps {shown}, whose memory changes without a call"));
            } else if mapping.shared {
                self.describe_shared(task, mapping.start, mapping.length, mapping.prot);
            }
            return;
        }
        let meta = self.images.state_of_mapping(mapping, || open_file(task.tid, fd));
        let hash = self.describe_content(task, mapping, meta.as_ref(), fd);
        if mapping.shared {
            let is_known = self.shared_files.contains_key(&(mapping.dev, mapping.ino));
            let left = behind_end(task.tid, mapping, meta.as_ref().map_or(0, Metadata::len));
            // Replay may have there what somebody has written before.
            if let Some((addr, bytes)) = left.filter(|(_, bytes)| is_known || bytes.iter().any(|byte| *byte != 0)) {
                task.memory.add_written(slot::LAYOUT, addr, &bytes);
            }
            let is_written = mapping.prot & PROT_WRITE != 0 || is_writable(&open_file(task.tid, fd));
            self.share(task, mapping, is_written, kind == ObjectKind::File);
        } else {
            // Pages that were not written to still show what is in the file.
            self.remember_file(task, mapping);
        }
        self.watch_mapped(mapping, &open_file(task.tid, fd), hash);
    }

    /// Says what is in a file that a call has mapped: in the trace itself, or in the object store. The hash of its content.
    fn describe_content(
        &mut self,
        task: &mut Task,
        mapping: &Mapping,
        meta: Option<&Metadata>,
        fd: i32,
    ) -> Option<[u8; 32]> {
        let size = meta.map_or(0, Metadata::len);
        if !meta.is_some_and(|meta| self.is_often_mapped(meta))
            && let Some(content) = small_content(task.tid, mapping, size)
        {
            let hash = Some(*blake3::hash(&content).as_bytes());
            World::add_content(task, mapping, hash, &content);
            return hash;
        }
        let file = open_file(task.tid, fd);
        if let Some(pieces) = meta.and_then(|meta| sparse_content(mapping, &file, meta)) {
            for (addr, bytes) in pieces {
                task.memory.add_written(slot::LAYOUT, addr, &bytes);
            }
            task.memory.add(slot::LAYOUT, Side::In, &Row::sparse(mapping, size).bytes());
            return None;
        }
        let hash = meta.and_then(|meta| self.keep_mapped(mapping, &file, meta));
        if let Some(meta) = meta.filter(|_| hash.is_some()) {
            self.tell_kept(task, meta, false);
        }
        task.memory.add(slot::LAYOUT, Side::In, &Row::of(mapping, hash).bytes());
        hash
    }

    /// Whether a small file in this state has been mapped some times before: when it is kept, agents map it by themselves.
    fn is_often_mapped(&mut self, meta: &Metadata) -> bool {
        /// So many times its content is told once more.
        const SELDOM: u32 = 2;
        /// Most files of which it is remembered.
        const MOST: usize = 1 << 12;
        if self.agent.is_none() || meta.len() > SMALL_FILE {
            return false;
        }
        let Some(id) = FileId::settled(meta) else { return false };
        if self.small_mapped.len() >= MOST {
            self.small_mapped.clear();
        }
        let times = self.small_mapped.entry(id).or_default();
        *times = times.saturating_add(1);
        *times > SELDOM
    }

    fn keep_mapped(&mut self, mapping: &Mapping, file: &Path, meta: &Metadata) -> Option<[u8; 32]> {
        if meta.len() == 0 {
            return None;
        }
        let hash = if meta.len() > MAX_FILE { None } else { self.images.keep(file, meta) };
        if hash.is_none() {
            self.could_not_keep(mapping);
        }
        hash
    }

    fn could_not_keep(&mut self, mapping: &Mapping) {
        let shown = String::from_utf8_lossy(&mapping.path).into_owned();
        self.unreplayable(&format!("the mapped file {shown}{NOT_KEPT}"));
    }

    /// Tells a task's agent, and those that are still to come, that a file in this state need not be looked at when it is mapped; `code`:
    /// nor its code.
    fn tell_kept(&mut self, task: &Task, meta: &Metadata, code: bool) {
        if self.agent.is_none() || !self.images.knows_again(meta) {
            return;
        }
        let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()].map(|time| time as u64);
        let state = [meta.dev(), meta.ino(), meta.len(), times[0], times[1], times[2], times[3]];
        let known = self.kept_files.iter().position(|kept| kept[..2] == state[..2]);
        let number = known.unwrap_or_else(|| {
            if self.kept_files.len() < KEPT_FILES as usize {
                self.kept_files.push(NO_STATE);
                return self.kept_files.len() - 1;
            }
            self.next_kept = (self.next_kept + 1) % self.kept_files.len();
            self.next_kept
        });
        let words = &mut self.kept_files[number];
        let is_known = words[..CODE_WORD] == state && words[CODE_WORD] != 0;
        words[..CODE_WORD].copy_from_slice(&state);
        words[CODE_WORD] = u64::from(code || is_known);
        if let Some(ring) = &task.ring {
            ring.keep(number, words);
        }
    }

    /// A file may be written to through memory: no agent knows its content by its times any more.
    fn distrust(&mut self, file: (u64, u64)) {
        if !self.images.distrust(file) {
            return;
        }
        for (number, words) in
            self.kept_files.iter_mut().enumerate().filter(|(_, words)| words[..2] == [file.0, file.1])
        {
            *words = NO_STATE;
            self.forgotten_kept.push(number);
        }
    }

    /// Shared memory without a file of the program: identified by what the kernel has behind it.
    fn describe_shared(&mut self, task: &mut Task, start: u64, length: u64, prot: u64) {
        let found = image::file_mapping_at(task.tid, start);
        let (dev, ino) = found.map_or((0, start), |found| (found.dev, found.ino));
        let length = length.next_multiple_of(PAGE);
        let mapping = Mapping { start, length, offset: 0, prot, shared: true, dev, ino, path: Vec::new() };
        task.memory.add(slot::LAYOUT, Side::In, &Row::of(&mapping, None).bytes());
        self.share(task, &mapping, true, false);
    }

    /// shmat(2): the segment, and what is in it when nobody of this recording has put that there.
    pub(super) fn describe_segment(&mut self, task: &mut Task, call: &Call, result: i64) {
        let start = result as u64;
        let Some(found) = image::file_mapping_at(task.tid, start) else {
            self.unreplayable_of(task.tid, "a shared memory segment could not be identified");
            return;
        };
        let prot = if call.args[2] & SHM_RDONLY == 0 { 3 } else { 1 };
        let mapping = Mapping { start: found.start, offset: 0, prot, shared: true, ..found };
        task.memory.add(slot::LAYOUT, Side::In, &Row::of(&mapping, None).bytes());
        if !self.shared_files.contains_key(&(mapping.dev, mapping.ino)) {
            let length = mapping.length;
            let data = self.data;
            let mut capturer = Capturer { tid: task.tid, word: 8, data, memory: &mut task.memory };
            capturer.structure(slot::LAYOUT, Side::Out, start, length);
        }
        self.share(task, &mapping, prot & PROT_WRITE != 0, false);
        if let Some(known) = self.shared_files.get_mut(&(mapping.dev, mapping.ino)) {
            known.segment = Some(call.int(0));
        }
    }

    /// Remembers which file is mapped where: who writes to the file changes that memory.
    fn remember_file(&mut self, task: &Task, mapping: &Mapping) {
        let Mapping { start, length, offset, dev, ino, .. } = *mapping;
        task.space.borrow_mut().shared_files.push(SharedFile { start, length, offset, dev, ino });
        if self.agent.is_some() && !self.shared_files.contains_key(&(dev, ino)) {
            self.new_files.push((dev, ino));
        }
        let known = self.shared_files.entry((dev, ino)).or_default();
        let this = Rc::downgrade(&task.space);
        known.spaces.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&this));
        known.spaces.push(this);
        if self.shared_files.len() > self.shared_files_checked.max(LEAST_CHECKED) * 2 {
            self.forget_unmapped_files();
        }
    }

    /// Forgets the files that nobody maps any more, so that a long recording does not remember all that there ever were.
    fn forget_unmapped_files(&mut self) {
        self.shared_files.retain(|file, known| {
            known.spaces.retain(|space| {
                let maps = |space: Rc<RefCell<Space>>| {
                    space.borrow().shared_files.iter().any(|mapped| (mapped.dev, mapped.ino) == *file)
                };
                space.upgrade().is_some_and(maps)
            });
            !known.spaces.is_empty()
        });
        self.shared_files_checked = self.shared_files.len();
    }

    /// Joins the turns of those that see the same memory, unless it is guarded. `is_written`: it may be written to, now or after
    /// mprotect(2). `may_guard`: it is a file.
    fn share(&mut self, task: &mut Task, mapping: &Mapping, is_written: bool, may_guard: bool) {
        let file = (mapping.dev, mapping.ino);
        let others = self.sharing_mappers(task, &[file]);
        let are_guarded = others.iter().all(|other| other.borrow().guards_all_of(file));
        let is_data = mapping.prot & PROT_EXEC == 0;
        let may_guard = may_guard && is_data && are_guarded && self.can_guard(task, file);
        self.remember_file(task, mapping);
        let known = self.shared_files.entry(file).or_default();
        // Nobody has it mapped any more, and it may be another file that has its number by now.
        known.written &= !others.is_empty();
        known.written |= is_written;
        let is_guarded = known.written && may_guard;
        let is_joined = known.written && !others.is_empty() && !is_guarded;
        if is_written {
            self.distrust(file);
        }
        {
            let mut space = task.space.borrow_mut();
            space.shares = true;
            space.writes_shared |= is_written;
            let guard = Guard { start: mapping.start, length: mapping.length, prot: mapping.prot };
            space.guards.next = is_guarded.then_some(Guarded { guard, file, touched: 0 });
        }
        if is_joined {
            self.join_turns(&task.space, &others);
            self.some_joined = true;
        }
    }

    /// An address space takes turns with others from now on. Whoever runs there goes on running; the caller waits.
    pub(super) fn join_turns(&mut self, space: &Rc<RefCell<Space>>, others: &[Rc<RefCell<Space>>]) {
        let group = space.borrow().group;
        for other in others {
            let others_group = other.borrow().group;
            self.turns.join(others_group, group);
            for joined in [space, other] {
                joined.borrow_mut().is_joined = true;
            }
        }
    }

    /// A process was forked that has a group of its own: it maps the files that its maker has mapped, and nobody writes there.
    pub(super) fn shares_along(&mut self, space: &Rc<RefCell<Space>>) {
        let own = space.borrow();
        if !own.shares {
            return;
        }
        for file in &own.shared_files {
            let Some(known) = self.shared_files.get_mut(&(file.dev, file.ino)) else { continue };
            let this = Rc::downgrade(space);
            known.spaces.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&this));
            known.spaces.push(this);
        }
    }

    /// A part of the address space is gone.
    pub(super) fn unmapped(&mut self, task: &Task, call: &Call) {
        let (start, end) = pages(call.args[0], call.args[1]);
        let cut = {
            let mut space = task.space.borrow_mut();
            space.cut_guards(&(start..end));
            cut_files(&mut space.shared_files, start, end)
        };
        for (file, _) in cut.into_iter().filter(|(file, shown)| file == shown) {
            self.check_mapped_by(&task.space, (file.dev, file.ino));
        }
        World::forget_unseen(task, start, end - start);
    }

    /// A part of the address space has moved, or has another length: whoever writes to a file of it changes memory elsewhere.
    pub(super) fn remapped(task: &Task, call: &Call, result: i64) {
        let [old, old_length, new_length, flags, ..] = call.args;
        let keeps = flags & libc::MREMAP_DONTUNMAP as u64 != 0;
        let (start, end) = pages(result as u64, new_length);
        let mut space = task.space.borrow_mut();
        // The guard of what has moved was lifted before.
        space.cut_guards(&(start..end));
        move_files(&mut space.shared_files, pages(old, old_length), (start, end), keeps);
    }
}

/// mremap(2): what was at one place is at another, where more of it may be seen. `keeps`: there still is something at the old one.
fn move_files(files: &mut Vec<SharedFile>, (start, end): (u64, u64), new: (u64, u64), keeps: bool) {
    let (new_start, new_end) = new;
    let mut moved = Vec::new();
    if start == end {
        // Another view of the same: a length of 0 asks for that.
        moved.extend(
            files.iter().find(|file| start.wrapping_sub(file.start) < file.length).map(|file| from_there(file, start)),
        );
    } else {
        let kept = keeps.then(|| files.clone());
        moved.extend(cut_files(files, start, end).into_iter().map(|(_, part)| part));
        if let Some(kept) = kept {
            *files = kept;
        }
    }
    if new_start != start {
        cut_files(files, new_start, new_end);
    }
    for mut part in moved {
        let is_last = start == end || part.start + part.length == end;
        part.start = part.start - start + new_start;
        let room = new_end.saturating_sub(part.start);
        part.length = if is_last { room } else { part.length.min(room) };
        if part.length > 0 {
            files.push(part);
        }
    }
}

/// Programs name the length that they asked for; the kernel takes whole pages.
fn pages(start: u64, length: u64) -> (u64, u64) {
    (start, start.saturating_add(length.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX)))
}

/// Takes a part of the address space out of the mappings of files. What was there: each mapping, and the part of it.
fn cut_files(files: &mut Vec<SharedFile>, start: u64, end: u64) -> Vec<(SharedFile, SharedFile)> {
    let overlaps = |file: &mut SharedFile| file.start < end && start < file.start.saturating_add(file.length);
    let cut: Vec<SharedFile> = files.extract_if(.., overlaps).collect();
    let part = |file: SharedFile| {
        let shown = from_there(&file, file.start.max(start));
        let length = shown.length.min(end - shown.start);
        (file, SharedFile { length, ..shown })
    };
    files.extend(cut.iter().flat_map(|file| left_of(file, start, end)).flatten());
    cut.into_iter().map(part).collect()
}

/// A mapping from an address inside on.
fn from_there(file: &SharedFile, addr: u64) -> SharedFile {
    let inside = addr - file.start;
    SharedFile { start: addr, length: file.length - inside, offset: file.offset + inside, ..*file }
}

/// What is left of a mapping when a part of the address space is gone: before that, and behind it.
fn left_of(mapped: &SharedFile, start: u64, end: u64) -> [Option<SharedFile>; 2] {
    let behind = mapped.start.saturating_add(mapped.length);
    let (before, inside) = (start.saturating_sub(mapped.start), end.saturating_sub(mapped.start));
    let first = SharedFile { length: before.min(mapped.length), ..*mapped };
    let last = (end < behind).then(|| SharedFile {
        start: mapped.start + inside,
        length: mapped.length - inside,
        offset: mapped.offset + inside,
        ..*mapped
    });
    [(before > 0).then_some(first), last]
}

/// shmat(2).
const SHM_RDONLY: u64 = 0o10000;

/// Whether a call maps memory that others may see and that it may write to, now or after mprotect(2).
pub(super) fn maps_to_write(tid: pid_t, call: &Call) -> bool {
    match call.name() {
        "mmap" | "mmap2" => {
            let [_, _, prot, flags, ..] = call.args;
            let has = |flag: libc::c_int| flags & flag as u64 != 0;
            has(libc::MAP_SHARED)
                && (prot & PROT_WRITE != 0 || has(libc::MAP_ANONYMOUS) || is_writable(&open_file(tid, call.int(4))))
        }
        "shmat" => call.args[2] & SHM_RDONLY == 0,
        _ => false,
    }
}

/// Whether a descriptor, by its path in /proc, was opened for writing, proc_pid_fdinfo(5).
fn is_writable(descriptor: &Path) -> bool {
    let info = descriptor.to_str().map(|path| path.replacen("/fd/", "/fdinfo/", 1)).unwrap_or_default();
    let info = std::fs::read_to_string(info).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_none_or(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
}

/// Where the file behind a descriptor of a process can be read.
fn open_file(tid: pid_t, fd: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{tid}/fd/{fd}"))
}

/// The content of a small file that has just been mapped as a whole, to be read and for nobody else: it goes into the trace.
/// Programs with thousands of such files (git's objects) would fill the object store with them.
fn small_content(tid: pid_t, mapping: &Mapping, size: u64) -> Option<Vec<u8>> {
    const PROT_READ: u64 = libc::PROT_READ as u64;
    let is_plain = !mapping.shared && mapping.prot & (PROT_READ | PROT_EXEC) == PROT_READ;
    let is_whole = mapping.offset == 0 && size > 0 && size <= mapping.length;
    if !is_plain || !is_whole || size > SMALL_FILE {
        return None;
    }
    let mut content = vec![0; size as usize];
    let got = sys::read_pieces(tid, &[(mapping.start, content.len())], &mut content);
    (got == content.len()).then_some(content)
}

/// Bytes and where they are in memory.
type Piece = (u64, Vec<u8>);

/// What a mapping shows of a large file that is nearly empty: pieces with their addresses. Nothing of any other file: that is
/// kept as a whole.
fn sparse_content(mapping: &Mapping, file: &Path, meta: &Metadata) -> Option<Vec<Piece>> {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};
    /// Smaller files are as well kept.
    const LARGE: u64 = 64 << 20;
    /// What an event has room for.
    const MOST: u64 = 16 << 20;
    if meta.len() < LARGE || meta.blocks().saturating_mul(512) > meta.len() / 4 {
        return None;
    }
    let file = std::fs::File::open(file).ok()?;
    let end = mapping.offset.saturating_add(mapping.length).min(meta.len());
    let (mut pieces, mut total) = (Vec::new(), 0);
    for (start, length) in sys::data_extents(&file, mapping.offset, end).ok()? {
        total += length;
        if total > MOST {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        file.read_exact_at(&mut bytes, start).ok()?;
        pieces.push((mapping.start + (start - mapping.offset), bytes));
    }
    Some(pieces)
}

/// What a mapping shows behind the end of its file, in the last page. It is not in the file, but who maps that shared can write there,
/// and others see it as long as the page stays in memory, mmap(2).
fn behind_end(tid: pid_t, mapping: &Mapping, size: u64) -> Option<Piece> {
    let shown = size.checked_sub(mapping.offset).filter(|shown| *shown < mapping.length)?;
    let mut bytes = vec![0; (shown.next_multiple_of(PAGE) - shown) as usize];
    let addr = mapping.start + shown;
    (!bytes.is_empty() && sys::read_kept(tid, addr, &mut bytes)).then_some((addr, bytes))
}

/// What mmap(2) was asked for.
struct Asked {
    length: u64,
    prot: u64,
    flags: u64,
    fd: i32,
    offset: u64,
}

/// The arguments of mmap(2) in its three forms.
fn mapping_arguments(task: &Task, call: &Call) -> Option<Asked> {
    let args = call.args;
    let (values, unit) = match (call.name(), call.arch) {
        ("mmap2", _) => (args, PAGE),
        (_, Arch::X86_64) => (args, 1),
        (_, Arch::I386) => {
            let words = task.memory.find(0, Side::In).filter(|words| words.len() >= 24)?;
            (std::array::from_fn(|index| word_of(&words[index * 4..index * 4 + 4])), 1)
        }
    };
    let [_, length, prot, flags, fd, offset] = values;
    Some(Asked { length, prot, flags, fd: fd as i32, offset: offset.wrapping_mul(unit) })
}

/// Position of an open file, from /proc/PID/fdinfo.
pub(super) fn file_position(tid: pid_t, fd: i32) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix("pos:"))?.trim().parse().ok()
}

/// Of 32-bit programs.
const AT_SYSINFO: u64 = 32;

/// Takes the vDSO out of the auxiliary vector at the stack pointer of a new program, so that the C library reads clocks
/// by calls, getauxval(3). `stack` is what is there, where that was read; it is given back as it is then.
fn hide_vdso(tid: pid_t, arch: Arch, sp: u64, stack: Option<&mut Stack>) -> Option<&Stack> {
    if let Some(stack) = stack {
        stack.rename(tid, &[AT_SYSINFO, libc::AT_SYSINFO_EHDR], libc::AT_IGNORE);
        return Some(stack);
    }
    hide_vdso_unread(tid, arch, sp);
    None
}

/// The same where the stack is not known, word by word.
fn hide_vdso_unread(tid: pid_t, arch: Arch, sp: u64) {
    /// Words of arguments and environment, at most.
    const MOST: usize = 1 << 20;
    let word = arch.word();
    let mut unused = Memory::default();
    let peek = Capturer { tid, word, data: crate::memory::Data::None, memory: &mut unused };
    let mut at = sp + word as u64;
    let mut nulls = 0;
    let mut buffer = [0_u8; 4096];
    for _ in 0..MOST {
        let bite = ((PAGE - at % PAGE) as usize).min(buffer.len());
        let got = peek.peek(at, &mut buffer[..bite]) / word * word;
        if got == 0 {
            return;
        }
        let mut offset = 0;
        while offset < got {
            let value = word_of(&buffer[offset..offset + word]);
            if nulls < 2 {
                // Two arrays end with NULL: arguments and environment.
                nulls += usize::from(value == 0);
                offset += word;
                continue;
            }
            if value == libc::AT_NULL {
                return;
            }
            if matches!(value, AT_SYSINFO | libc::AT_SYSINFO_EHDR) {
                sys::write_memory(tid, at + offset as u64, &libc::AT_IGNORE.to_le_bytes()[..word]);
            }
            offset += 2 * word;
        }
        at += offset as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_mapping_shows_the_same_of_its_file() {
        let part = |start, length, offset| SharedFile { start, length, offset, dev: 1, ino: 2 };
        let mapped = part(0x4000, 0x4000, 0x1000);
        assert_eq!(left_of(&mapped, 0x4000, 0x5000), [None, Some(part(0x5000, 0x3000, 0x2000))]);
        assert_eq!(left_of(&mapped, 0x7000, 0x9000), [Some(part(0x4000, 0x3000, 0x1000)), None]);
        let both = [Some(part(0x4000, 0x1000, 0x1000)), Some(part(0x6000, 0x2000, 0x3000))];
        assert_eq!(left_of(&mapped, 0x5000, 0x6000), both);
        assert_eq!(left_of(&mapped, 0, u64::MAX), [None, None]);
    }

    #[test]
    fn a_mapping_that_moves_shows_the_same_of_its_file() {
        let part = |start, length, offset| SharedFile { start, length, offset, dev: 1, ino: 2 };
        let after = |from, to, keeps| {
            let mut files = vec![part(0x4000, 0x4000, 0x1000), part(0x10_0000, 0x2000, 0)];
            move_files(&mut files, from, to, keeps);
            files.sort_by_key(|file| file.start);
            files
        };
        let other = part(0x10_0000, 0x2000, 0);
        // Longer where it is, and elsewhere; shorter; a part of it; over another one.
        assert_eq!(after((0x4000, 0x8000), (0x4000, 0x9000), false), [part(0x4000, 0x5000, 0x1000), other]);
        assert_eq!(after((0x4000, 0x8000), (0x2_0000, 0x2_6000), false), [part(0x2_0000, 0x6000, 0x1000), other]);
        assert_eq!(after((0x4000, 0x8000), (0x4000, 0x5000), false), [part(0x4000, 0x1000, 0x1000), other]);
        let rest = part(0x4000, 0x1000, 0x1000);
        let tail = part(0x7000, 0x1000, 0x4000);
        assert_eq!(
            after((0x5000, 0x7000), (0x2_0000, 0x2_2000), false),
            [rest, tail, part(0x2_0000, 0x2000, 0x2000), other]
        );
        let cut = part(0x10_1000, 0x1000, 0x1000);
        assert_eq!(after((0x4000, 0x8000), (0xf_d000, 0x10_1000), false), [part(0xf_d000, 0x4000, 0x1000), cut]);
        // Twice, by a length of 0 and by MREMAP_DONTUNMAP.
        let whole = part(0x4000, 0x4000, 0x1000);
        assert_eq!(
            after((0x5000, 0x5000), (0x2_0000, 0x2_2000), false),
            [whole, part(0x2_0000, 0x2000, 0x2000), other]
        );
        assert_eq!(after((0x4000, 0x8000), (0x2_0000, 0x2_4000), true), [whole, part(0x2_0000, 0x4000, 0x1000), other]);
        // Something else moves.
        assert_eq!(after((0x9000, 0xa000), (0x2_0000, 0x2_1000), false), [whole, other]);
    }
}
