//! Applying a recorded call to the thread that stands at it: memory that the kernel wrote, the result, and for the few calls
//! that change the process itself, their execution.

use libc::c_int;
use trace_format::column::Columns;
use trace_format::event::{Side, flag, slot};
use trace_format::table::Arch;

use super::agent;
use super::desync::DesyncReason;
use super::event::{Captured, Event};
use super::guards;
use super::kernel::{self, Go, Register};
use super::remote::RemoteCall;
use super::run::Runner;
use super::scan::{self, Next};
use super::tracee::{Action, At, Thread};
use super::watch::{Halt, lost};
use super::zygote::Content;
use crate::capture;
use crate::capture::Call;
use crate::error::{EngineError, Fact};
use crate::layout::{self, PAGE, Row};
use crate::memory::word_of;
use crate::plan;
use crate::raw::ObjectKind;
use crate::sys::{self, Pagemap};

/// Results by which the kernel tells itself to restart a call (include/linux/errno.h).
const ERESTARTSYS: i64 = -512;
const ERESTARTNOINTR: i64 = -513;
const ERESTARTNOHAND: i64 = -514;
const ERESTART_RESTARTBLOCK: i64 = -516;

const PROT_EXEC: u64 = libc::PROT_EXEC as u64;
const MAP_FIXED: u64 = libc::MAP_FIXED as u64;
const MAP_PRIVATE: u64 = libc::MAP_PRIVATE as u64;
const MAP_SHARED: u64 = libc::MAP_SHARED as u64;
/// Private memory of nothing, at a given place, which is not counted before it is used.
pub(super) const MAP_MEMORY: u64 = MAP_FIXED | MAP_PRIVATE | libc::MAP_ANONYMOUS as u64 | libc::MAP_NORESERVE as u64;

/// Signals that cannot be blocked.
pub(super) const UNBLOCKABLE: u64 = 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1);

fn round_up(length: u64) -> u64 {
    length.checked_next_multiple_of(PAGE).unwrap_or(!(PAGE - 1))
}

/// What mmap(2) in its three forms was asked for: length, protection, flags.
fn mapping_arguments(event: &Event<'_>, name: &str) -> Option<(u64, u64, u64)> {
    if name == "mmap" && event.arch() == Arch::I386 as u8 {
        let words = event.captured(0, Side::In).filter(|words| words.len() >= 16)?;
        let word = |index: usize| word_of(&words[index * 4..index * 4 + 4]);
        return Some((word(1), word(2), word(3)));
    }
    Some((event.arg(1), event.arg(2), event.arg(3)))
}

/// Huge pages make the length of a mapping larger than asked for.
fn mapped_length(length: u64, flags: u64) -> u64 {
    const HUGE_SHIFT: u64 = 26;
    const HUGE_MASK: u64 = 0x3f;
    if flags & libc::MAP_HUGETLB as u64 == 0 {
        return round_up(length);
    }
    let shift = match flags >> HUGE_SHIFT & HUGE_MASK {
        0 => 21,
        shift => shift.min(40),
    };
    length.checked_next_multiple_of(1 << shift).unwrap_or(length)
}

impl Runner<'_> {
    /// A call event.
    pub(super) fn call(&mut self, thread: &mut Thread, event: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        self.check(thread, event)?;
        let name = scan::name(event);
        if event.flags() & flag::NO_RETURN != 0 {
            return self.write_outputs(thread, event);
        }
        let result = event.ret();
        if matches!(result, ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND | ERESTART_RESTARTBLOCK) {
            self.write_outputs(thread, event)?;
            self.interrupt(thread, event, name)?;
            return self.go_on(thread, event, columns);
        }
        if name == "rt_sigreturn" || name == "sigreturn" {
            return self.return_from_handler(thread, event, columns);
        }
        if !capture::is_error(result) {
            self.execute(thread, event, name)?;
            self.forget_code(thread, event, name);
        }
        self.write_outputs(thread, event)?;
        thread.set_result(result)?;
        self.remember_waiting_mask(thread, event, name);
        self.pass_on(event, name);
        self.tend(thread, event)?;
        self.go_on(thread, event, columns)
    }

    /// Writes what the kernel has written.
    pub(super) fn write_outputs(&mut self, thread: &Thread, event: &Event<'_>) -> Result<(), Halt> {
        if self.reaches_agent(event) {
            return Err(self.desync(event, Some(thread), DesyncReason::Impossible.into()));
        }
        let outputs = || event.captures().filter(Captured::is_output).map(|capture| (capture.addr, capture.bytes));
        if kernel::write_pieces(thread.tid, outputs(), &mut self.room) {
            return Ok(());
        }
        // Some page cannot be written by the program itself (any more): the debugger's way ignores protections.
        for (addr, bytes) in outputs() {
            let done = sys::write_code(thread.tid, &[(addr, bytes)]).is_ok();
            if !done && !sys::write_memory(thread.tid, addr, bytes) && !self.write_shared(thread, addr, bytes) {
                return Err(self.desync(event, Some(thread), DesyncReason::Unmapped { addr }.into()));
            }
        }
        Ok(())
    }

    /// Writes to memory that a thread sees and may only read, through the file behind it.
    fn write_shared(&self, thread: &Thread, addr: u64, bytes: &[u8]) -> bool {
        let mappings = crate::image::mappings(thread.tid);
        let mapping = mappings.iter().find(|mapping| addr.wrapping_sub(mapping.start) < mapping.length);
        mapping.is_some_and(|mapping| {
            let inside = addr - mapping.start;
            let length = (mapping.length - inside).min(bytes.len() as u64);
            // Of a private mapping only what is behind the end of its file could not be written.
            length == bytes.len() as u64
                && self.shared.write((mapping.dev, mapping.ino), mapping.offset + inside, bytes)
        })
    }

    /// A call was interrupted, and the kernel is to start it again, or to let it fail when a handler runs.
    fn interrupt(&mut self, thread: &mut Thread, event: &Event<'_>, name: &str) -> Result<(), Halt> {
        if self.job.scan.next(thread.index, event.seq()) == Some(Next::Handler) {
            // The kernel decides while it delivers the signal: it finds the number of the call and this result.
            thread.set_result(event.ret())?;
            self.remember_waiting_mask(thread, event, name);
            return Ok(());
        }
        let regs = thread.registers()?;
        regs.rip = regs.rip.wrapping_sub(2);
        regs.rax = event.code() as u64;
        regs.orig_rax = u64::MAX;
        Ok(())
    }

    /// While such a call waits another set of signals is blocked, and it is what a handler begins with. The set that the
    /// handler returns to is the one from before.
    fn remember_waiting_mask(&self, thread: &mut Thread, event: &Event<'_>, name: &str) {
        if !matches!(self.job.scan.next(thread.index, event.seq()), Some(Next::Handler)) {
            return;
        }
        let Some(slot) = plan::waiting_mask(name) else { return };
        let mut inputs = event.captures().filter(|capture| capture.slot == slot && capture.side == Side::In as u8);
        let set = if slot == plan::PSELECT_MASK { inputs.nth(1) } else { inputs.next() };
        thread.waiting_mask = set.filter(|set| set.bytes.len() >= 8).map(|set| word_of(&set.bytes[..8]));
    }

    /// Executes rt_sigreturn where it stands: registers, mask and signal stack come from the frame in the program's memory.
    fn return_from_handler(&mut self, thread: &mut Thread, event: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        let failed = |error: std::io::Error| lost(thread.tid, &error);
        let ip = self.instruction(thread, event.ip().wrapping_sub(2));
        if thread.is_borrowed() {
            let regs = thread.registers()?;
            (regs.rip, regs.rax, regs.orig_rax) = (ip, event.code() as u64, u64::MAX);
            thread.settle()?;
        } else {
            kernel::set_register(thread.tid, Register::Rip, ip).map_err(failed)?;
            kernel::set_register(thread.tid, Register::Rax, event.code() as u64).map_err(failed)?;
        }
        self.pass_to(thread, event, sys::INFO_ENTRY)?;
        // The set comes from the frame.
        thread.mask = event.captured(0, Side::In).filter(|set| set.len() == 8).map(|set| word_of(set) & !UNBLOCKABLE);
        thread.waiting_mask = None;
        let is_patched = self.is_patched(thread);
        if is_patched || self.debugger.is_some() || self.job.scan.next(thread.index, event.seq()).is_some() {
            // It is to stay where the handler interrupted it, or a debugger looks at it there.
            self.pass_to(thread, event, sys::INFO_EXIT)?;
        }
        if is_patched {
            agent::go_around(thread)?;
        }
        self.go_on(thread, event, columns)
    }

    /// Lets a thread go on to the entry or the exit of its call. (A thread that stands at the entry of a call that is not
    /// executed comes to the exit of that one first.)
    fn pass_to(&mut self, thread: &mut Thread, event: &Event<'_>, wanted: u8) -> Result<(), Halt> {
        loop {
            kernel::go(thread.tid, Go::ToBoundary, 0).map_err(|error| lost(thread.tid, &error))?;
            let status = self.remote.watch.wait(thread.tid)?;
            if status >> 8 == libc::SIGTRAP | 0x80 {
                let info = sys::syscall_info(thread.tid).map_err(|error| lost(thread.tid, &error))?;
                if info.op == wanted {
                    return Ok(());
                }
                continue;
            }
            let signal = libc::WSTOPSIG(status);
            if !libc::WIFSTOPPED(status) || matches!(signal, libc::SIGSEGV | libc::SIGBUS) {
                thread.at = if libc::WIFSTOPPED(status) {
                    At::Signal(signal, sys::signal_info(thread.tid).unwrap_or([0; 128]))
                } else {
                    At::Ended(status)
                };
                return Err(self.desync(event, Some(thread), DesyncReason::Signal.into()));
            }
        }
    }

    /// Executes a call in the thread; the raw result.
    pub(super) fn natively(&mut self, thread: &mut Thread, call: &RemoteCall) -> Result<i64, Halt> {
        let (pid, tid) = (thread.pid(), thread.tid);
        let regs = *thread.registers()?;
        self.remote.one(pid, tid, &regs, call)
    }

    /// The same, with the result that it has to have.
    pub(super) fn natively_as(
        &mut self,
        thread: &mut Thread,
        event: &Event<'_>,
        call: &RemoteCall,
        expected: i64,
    ) -> Result<(), Halt> {
        let actual = self.natively(thread, call)?;
        if actual == expected {
            return Ok(());
        }
        Err(self.desync(event, Some(thread), DesyncReason::Result { actual }.into()))
    }

    /// What a successful call changes in the process itself.
    fn execute(&mut self, thread: &mut Thread, event: &Event<'_>, name: &str) -> Result<(), Halt> {
        let args = event.args();
        let result = event.ret();
        let same = |number| RemoteCall::new(number, &args);
        match name {
            "mmap" | "munmap" if self.lend(thread, event)? => Ok(()),
            "mmap" | "mmap2" => self.mmap(thread, event, name),
            "munmap" => {
                self.claim(thread, event, args[0], args[1])?;
                guards::cut(&mut thread.space().borrow_mut().guards, args[0], round_up(args[1]));
                self.natively_as(thread, event, &RemoteCall::new(libc::SYS_munmap, &args[..2]), 0)
            }
            "mprotect" | "pkey_mprotect" => {
                self.claim(thread, event, args[0], args[1])?;
                let number = if name == "mprotect" { libc::SYS_mprotect } else { libc::SYS_pkey_mprotect };
                self.natively_as(thread, event, &same(number), 0)
            }
            "mremap" => self.mremap(thread, event),
            "brk" => self.brk(thread, event),
            "madvise" => self.madvise(thread, event),
            "remap_file_pages" => {
                self.claim(thread, event, args[0], args[1])?;
                self.natively_as(thread, event, &same(libc::SYS_remap_file_pages), 0)
            }
            "shmat" => self.shmat(thread, event),
            "shmdt" => {
                let space = thread.space();
                let mut space = space.borrow_mut();
                let Some(at) = space.segments.iter().position(|(start, _)| *start == args[0]) else { return Ok(()) };
                let (start, length) = space.segments.swap_remove(at);
                drop(space);
                self.natively_as(thread, event, &RemoteCall::new(libc::SYS_munmap, &[start, length]), 0)
            }
            "rt_sigaction" | "sigaction" | "signal" | "rt_sigprocmask" | "sigprocmask" | "ssetmask" => {
                remember(thread, event, name)
            }
            "sigaltstack" if args[0] != 0 => {
                let is_i386 = event.arch() == Arch::I386 as u8;
                let number = if is_i386 { i64::from(event.code()) } else { libc::SYS_sigaltstack };
                let call = RemoteCall { i386: is_i386, ..RemoteCall::new(number, &[args[0], 0]) };
                self.natively_as(thread, event, &call, 0)
            }
            "arch_prctl" => self.arch_prctl(thread, event),
            "set_thread_area" if event.arch() == Arch::I386 as u8 => {
                let call = RemoteCall { i386: true, ..RemoteCall::new(i64::from(event.code()), &args[..1]) };
                self.natively_as(thread, event, &call, result)
            }
            // Functions 1 and 17 write an entry, the others only read.
            "modify_ldt" if matches!(args[0] as c_int, 1 | 0x11) => {
                let is_i386 = event.arch() == Arch::I386 as u8;
                let number = if is_i386 { i64::from(event.code()) } else { libc::SYS_modify_ldt };
                let call = RemoteCall { i386: is_i386, ..RemoteCall::new(number, &args[..3]) };
                self.natively_as(thread, event, &call, result)
            }
            "prlimit64" | "setrlimit" => self.limit_stack(thread, event, name),
            "sched_setaffinity" => {
                self.bind(thread, event);
                Ok(())
            }
            "pkey_alloc" => self.natively_as(thread, event, &RemoteCall::new(libc::SYS_pkey_alloc, &args[..2]), result),
            "pkey_free" => self.natively_as(thread, event, &RemoteCall::new(libc::SYS_pkey_free, &args[..1]), result),
            "map_shadow_stack" => {
                let reason = DesyncReason::Result { actual: -i64::from(libc::EOPNOTSUPP) };
                Err(self.desync(event, Some(thread), reason.into()))
            }
            "ftruncate" | "ftruncate64" | "fallocate" | "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => {
                self.resize_shared(event, name);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Part of an address space is about to become something else: not the stub's pages, which are not the program's, and nothing stays
    /// there that was lent.
    pub(super) fn claim(
        &mut self,
        thread: &mut Thread,
        event: &Event<'_>,
        start: u64,
        length: u64,
    ) -> Result<(), Halt> {
        if length != 0 && self.remote.stub.overlaps(start, start.saturating_add(length)) {
            return Err(address_taken(start, length).into());
        }
        if thread.space().borrow_mut().lent.make_room(start, length) {
            return Ok(());
        }
        self.give_back(thread, event)
    }

    fn mmap(&mut self, thread: &mut Thread, event: &Event<'_>, name: &str) -> Result<(), Halt> {
        let Some((length, prot, flags)) = mapping_arguments(event, name) else {
            return Err(self.desync(event, Some(thread), DesyncReason::Impossible.into()));
        };
        let start = event.ret() as u64;
        guards::cut(&mut thread.space().borrow_mut().guards, start, round_up(length));
        let row = event.captured(slot::LAYOUT, Side::In).and_then(|bytes| layout::rows(bytes).first().copied());
        if let Some(row) = row {
            let mut row = row.mapped_at(start, round_up(length), prot);
            if flags & libc::MAP_ANONYMOUS as u64 == 0 && self.maps_a_file(event) {
                row.ends_with_its_file();
            }
            if let Some(hash) = row.hash().filter(|_| row.has_content()) {
                let content = event.captures().filter(Captured::is_layout).nth(1);
                self.job.files.supply(hash, content.map_or(&[], |content| content.bytes))?;
            }
            return self.map_row(thread, event, &row);
        }
        let length = mapped_length(length, flags);
        self.claim(thread, event, start, length)?;
        if flags & libc::MAP_GROWSDOWN as u64 != 0 {
            return self.map_growing(thread, event, start, length, prot & 7);
        }
        let call = RemoteCall::new(libc::SYS_mmap, &[start, length, prot & 7, MAP_MEMORY, u64::MAX, 0]);
        self.natively_as(thread, event, &call, start as i64)
    }

    /// Maps memory that grows down, with all the room that it may come to have.
    fn map_growing(
        &mut self,
        thread: &mut Thread,
        event: &Event<'_>,
        start: u64,
        length: u64,
        prot: u64,
    ) -> Result<(), Halt> {
        /// The kernel keeps stacks that far from what is below them (stack_guard_gap).
        const GAP: u64 = 256 * PAGE;
        let end = start.saturating_add(length);
        let below = end_below(thread, start).map_or(PAGE * 16, |below| below.saturating_add(GAP));
        let room = thread.process.borrow().stack_room;
        let first = end.saturating_sub(room).max(below).min(start);
        self.claim(thread, event, first, end - first)?;
        let flags = MAP_MEMORY | libc::MAP_GROWSDOWN as u64;
        let call = RemoteCall::new(libc::SYS_mmap, &[first, end - first, prot, flags, u64::MAX, 0]);
        self.natively_as(thread, event, &call, first as i64)
    }

    /// The limit of the stack has changed, setrlimit(2): so does its room.
    fn limit_stack(&mut self, thread: &mut Thread, event: &Event<'_>, name: &str) -> Result<(), Halt> {
        let (resource, slot) = if name == "prlimit64" { (event.arg(1), 2) } else { (event.arg(0), 1) };
        let own = self.job.trace.definitions().threads().get(thread.index as usize).map_or(0, |own| own.pid);
        let is_other = name == "prlimit64" && event.arg(0) as i32 != 0 && event.arg(0) as i32 != own;
        let limit = event.captured(slot, Side::In).filter(|limit| limit.len() == 16).map(|limit| word_of(&limit[..8]));
        let Some(limit) = limit.filter(|_| resource as u32 == libc::RLIMIT_STACK && !is_other) else { return Ok(()) };
        let room = limit.min(layout::MOST_STACK_ROOM) & !(PAGE - 1);
        thread.process.borrow_mut().stack_room = room;
        let space = thread.space();
        let Some((start, end)) = space.borrow().stack else { return Ok(()) };
        let mut wanted = end.saturating_sub(room);
        let call = if wanted < start {
            wanted = wanted.max(end_below(thread, start).unwrap_or(PAGE * 16)).min(start);
            let flags = MAP_MEMORY | libc::MAP_GROWSDOWN as u64;
            let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
            RemoteCall::new(libc::SYS_mmap, &[wanted, start - wanted, prot, flags, u64::MAX, 0])
        } else {
            // What was used already stays.
            wanted = wanted.min(first_used(thread, start, wanted));
            RemoteCall::new(libc::SYS_munmap, &[start, wanted - start])
        };
        space.borrow_mut().stack = Some((wanted, end));
        if wanted == start {
            return Ok(());
        }
        let expected = if wanted < start { wanted as i64 } else { 0 };
        self.claim(thread, event, wanted.min(start), wanted.abs_diff(start))?;
        self.natively_as(thread, event, &call, expected)
    }

    /// A program has chosen the CPUs of a thread, its own or another (sched_setaffinity(2)).
    fn bind(&mut self, thread: &mut Thread, event: &Event<'_>) {
        let mask = event.captured(2, Side::In).unwrap_or_default();
        let mut cpus = (0..mask.len() * 8).filter(|cpu| mask[cpu / 8] & 1 << (cpu % 8) != 0);
        let cpu = cpus.next().filter(|_| cpus.next().is_none());
        let number = event.arg(0) as i32;
        let recorded = self.job.trace.definitions().threads();
        let has_number = |index: u32| recorded.get(index as usize).is_some_and(|recorded| recorded.tid == number);
        if number == 0 || has_number(thread.index) {
            thread.bind(cpu);
        } else if let Some(other) = self.threads.iter_mut().flatten().find(|other| has_number(other.index)) {
            other.bind(cpu);
        }
    }

    /// Whether the descriptor of a mapping is one of a file, and not of something that only provides memory.
    fn maps_a_file(&self, event: &Event<'_>) -> bool {
        let object = event.refs().find(|(slot, ..)| *slot == 4).map(|(_, _, object)| object as usize);
        let object = object.and_then(|object| self.job.trace.definitions().object(object));
        object.is_some_and(|object| matches!(object.kind, ObjectKind::File | ObjectKind::Memfd))
    }

    /// Maps a file or shared memory where it was.
    fn map_row(&mut self, thread: &mut Thread, event: &Event<'_>, row: &Row) -> Result<(), Halt> {
        self.claim(thread, event, row.start, row.length())?;
        if self.looks_at_shared(row) {
            thread.space().borrow_mut().looks = true;
        }
        if row.is_shared() {
            let space = thread.space();
            let mut space = space.borrow_mut();
            space.is_seen = true;
            // All that map anything shared are looked at as one group.
            space.group = 0;
        }
        let call = self.mapping_call(row)?;
        let mut actual = self.natively(thread, &call)?;
        if actual == -i64::from(libc::EPERM) && row.prot & PROT_EXEC != 0 {
            let call = self.mapping_call_of_copy(row)?;
            actual = self.natively(thread, &call)?;
        }
        if actual == row.start as i64 {
            return Ok(());
        }
        Err(self.desync(event, Some(thread), DesyncReason::Result { actual }.into()))
    }

    /// Whether a row is a private mapping of what somebody may write to by a shared one, or of a file that has no content of its own here.
    pub(super) fn looks_at_shared(&self, row: &Row) -> bool {
        let is_known = row.hash().is_some() && self.shared.has(row);
        !row.is_shared() && (is_known || row.sparse_size().is_some() || row.is_of_empty_file())
    }

    /// The call that maps what a row says.
    pub(super) fn mapping_call(&mut self, row: &Row) -> Result<RemoteCall, Halt> {
        // A private mapping of a file that somebody maps shared sees what is written there; one of an empty file may grow, too.
        let (fd, flags, offset) = if row.is_shared() || self.looks_at_shared(row) {
            let file = self.shared.file(row, self.job.files)?;
            let fd = self.zygote.descriptor(&self.remote, Content::Shared(row.dev, row.ino), file)?;
            let kind = if row.is_shared() { MAP_SHARED } else { MAP_PRIVATE };
            (fd, kind | MAP_FIXED, row.offset)
        } else if let Some(hash) = row.hash() {
            let content = self.job.files.get(hash)?;
            let fd = self.zygote.descriptor(&self.remote, Content::Object(*hash), content.descriptor())?;
            (fd, MAP_PRIVATE | MAP_FIXED, row.offset)
        } else {
            let grows = if row.is_stack() { libc::MAP_GROWSDOWN as u64 } else { 0 };
            (u64::MAX, MAP_MEMORY | grows, 0)
        };
        Ok(RemoteCall::new(libc::SYS_mmap, &[row.start, row.length(), row.prot, flags, fd, offset]))
    }

    /// The same from a copy in memory, since nothing may be executed from the store's file system.
    pub(super) fn mapping_call_of_copy(&mut self, row: &Row) -> Result<RemoteCall, Halt> {
        if let Some(hash) = row.hash().filter(|_| !row.is_shared()) {
            let copy = self.job.files.get_copy(hash)?;
            self.zygote.forget(Content::Object(*hash));
            self.zygote.descriptor(&self.remote, Content::Object(*hash), copy.descriptor())?;
        }
        self.mapping_call(row)
    }

    fn mremap(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        const MREMAP_MAYMOVE: u64 = 1;
        const MREMAP_FIXED: u64 = 2;
        const MREMAP_DONTUNMAP: u64 = 4;
        let [old, old_length, new_length, flags, ..] = event.args();
        let new = event.ret() as u64;
        self.claim(thread, event, old, old_length)?;
        self.claim(thread, event, new, new_length)?;
        let (flags, target) =
            if new == old { (0, 0) } else { (MREMAP_MAYMOVE | MREMAP_FIXED | flags & MREMAP_DONTUNMAP, new) };
        guards::cut(&mut thread.space().borrow_mut().guards, new, round_up(new_length));
        let call = RemoteCall::new(libc::SYS_mremap, &[old, old_length, new_length, flags, target]);
        self.natively_as(thread, event, &call, new as i64)
    }

    /// The heap is ordinary memory here: the kernel's own idea of it is where the stub's program ended.
    fn brk(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        const MOST: u64 = 1 << 46;
        let result = event.ret() as u64;
        let space = thread.space();
        let before = space.borrow_mut().brk.replace(result);
        let end = round_up(result);
        let start = match before {
            Some(before) => round_up(before),
            // The first call asks where the heap is, as all C libraries do; one that does not has it begin at once.
            None if event.arg(0) != result => return Ok(()),
            None => end_below(thread, end).unwrap_or(end),
        };
        if end > start && end - start < MOST {
            self.claim(thread, event, start, end - start)?;
            let args = [start, end - start, (libc::PROT_READ | libc::PROT_WRITE) as u64, MAP_MEMORY, u64::MAX, 0];
            return self.natively_as(thread, event, &RemoteCall::new(libc::SYS_mmap, &args), start as i64);
        }
        if end < start {
            self.claim(thread, event, end, start - end)?;
            let call = RemoteCall::new(libc::SYS_munmap, &[end, start - end]);
            return self.natively_as(thread, event, &call, 0);
        }
        Ok(())
    }

    /// Only advice that changes what the program finds in its memory, or what its children do, is given.
    fn madvise(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        /// Linux 5.18, 6.13.
        const MADV_DONTNEED_LOCKED: c_int = 24;
        const MADV_GUARD_INSTALL: c_int = 102;
        const MADV_GUARD_REMOVE: c_int = 103;
        let args = event.args();
        match args[2] as c_int {
            libc::MADV_DONTNEED
            | libc::MADV_REMOVE
            | libc::MADV_DONTFORK
            | libc::MADV_DOFORK
            | libc::MADV_WIPEONFORK
            | libc::MADV_KEEPONFORK
            | MADV_DONTNEED_LOCKED
            | MADV_GUARD_INSTALL
            | MADV_GUARD_REMOVE => {
                self.claim(thread, event, args[0], args[1])?;
                if matches!(args[2] as c_int, libc::MADV_DONTFORK | libc::MADV_WIPEONFORK) {
                    thread.space().borrow_mut().keeps_from_children = true;
                }
                self.natively_as(thread, event, &RemoteCall::new(libc::SYS_madvise, &args[..3]), event.ret())
            }
            _ => Ok(()),
        }
    }

    fn shmat(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        let row = event.captured(slot::LAYOUT, Side::In).and_then(|bytes| layout::rows(bytes).first().copied());
        let Some(row) = row.filter(|row| row.start == event.ret() as u64) else {
            return Err(self.desync(event, Some(thread), DesyncReason::Impossible.into()));
        };
        thread.space().borrow_mut().segments.push((row.start, row.length()));
        self.map_row(thread, event, &row)
    }

    fn arch_prctl(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        const ARCH_SET_GS: u64 = 0x1001;
        const ARCH_SET_FS: u64 = 0x1002;
        const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
        match event.arg(0) {
            ARCH_SET_FS => thread.registers()?.fs_base = event.arg(1),
            ARCH_SET_GS => thread.registers()?.gs_base = event.arg(1),
            ARCH_REQ_XCOMP_PERM => {
                let call = RemoteCall::new(libc::SYS_arch_prctl, &event.args()[..2]);
                return self.natively_as(thread, event, &call, event.ret());
            }
            _ => {}
        }
        Ok(())
    }

    /// A file that is mapped shared has another length after this call.
    fn resize_shared(&self, event: &Event<'_>, name: &str) {
        if self.shared.is_empty() {
            return;
        }
        let object = event.refs().find(|(slot, ..)| *slot == 0).map(|(_, _, object)| object);
        let Some(object) = object.and_then(|object| self.job.trace.definitions().object(object as usize)) else {
            return;
        };
        let (dev, ino) = (object.dev, object.ino);
        match name {
            "ftruncate" => self.shared.resize(dev, ino, event.arg(1)),
            "ftruncate64" => self.shared.resize(dev, ino, event.arg(1) | event.arg(2) << 32),
            "fallocate" if event.arch() == Arch::X86_64 as u8 => {
                self.shared.allocate(dev, ino, event.arg(1) as c_int, event.arg(2), event.arg(3));
            }
            "pwrite64" | "pwritev" | "pwritev2" if event.arch() == Arch::X86_64 as u8 => {
                self.shared.grow(dev, ino, event.arg(3).saturating_add(event.ret().max(0) as u64));
            }
            _ => {}
        }
    }
}

/// The first page from `start` on that has been used, at most `end`.
fn first_used(thread: &Thread, start: u64, end: u64) -> u64 {
    let used = Pagemap::open(thread.tid).and_then(|pages| pages.touched(start..end));
    used.map_or(start, |used| used.first().map_or(end, |part| part.start))
}

/// The end of the last mapping below an address.
fn end_below(thread: &Thread, addr: u64) -> Option<u64> {
    let mappings = crate::image::mappings(thread.tid);
    mappings.iter().map(|mapping| mapping.start + mapping.length).filter(|end| *end <= addr).max()
}

/// The trace uses the addresses where the stub is.
pub fn address_taken(start: u64, length: u64) -> EngineError {
    let end = start.saturating_add(length);
    let message = format!(
        "the program uses the addresses {start:x}-{end:x}, which replay needs for itself; record it again with a smaller \
         address space, or report this"
    );
    EngineError::replay("address-taken", message, vec![("start", Fact::Number(start)), ("end", Fact::Number(end))])
}

/// Remembers what a call says of signals.
pub fn remember(thread: &mut Thread, event: &Event<'_>, name: &str) -> Result<(), Halt> {
    if matches!(name, "rt_sigaction" | "sigaction" | "signal") {
        remember_action(thread, event, name);
        return Ok(());
    }
    change_mask(thread, event, name)
}

/// Remembers what the process does about a signal; the kernel hears of it when one is to be delivered.
fn remember_action(thread: &Thread, event: &Event<'_>, name: &str) {
    const SA_RESETHAND: u64 = libc::SA_RESETHAND as u32 as u64;
    let signal = event.arg(0) as c_int;
    let word = Arch::from_code(event.arch()).map_or(8, Arch::word);
    let (bytes, handler, once) = if name == "signal" {
        (Vec::new(), event.arg(1), true)
    } else {
        let Some(action) = event.captured(1, Side::In).filter(|action| action.len() >= 3 * word) else { return };
        // The old i386 struct has the mask between handler and flags.
        let at = if name == "sigaction" { 2 * word } else { word };
        (action.to_vec(), word_of(&action[..word]), word_of(&action[at..at + word]) & SA_RESETHAND != 0)
    };
    let i386 = event.arch() == Arch::I386 as u8;
    let action = Action { number: event.code() as u64, i386, bytes, handler, once };
    thread.actions().borrow_mut().wanted.insert(signal, action);
}

/// Changes the set of blocked signals, rt_sigprocmask(2). The kernel has to know, since a fault depends on it.
fn change_mask(thread: &mut Thread, event: &Event<'_>, name: &str) -> Result<(), Halt> {
    const LOW: u64 = u32::MAX as u64;
    let set = match name {
        "ssetmask" => Some(event.arg(0) & LOW),
        _ => event.captured(1, Side::In).filter(|set| !set.is_empty()).map(|set| word_of(&set[..set.len().min(8)])),
    };
    let Some(set) = set else { return Ok(()) };
    let before = thread.blocked()?;
    let how = if name == "ssetmask" { libc::SIG_SETMASK } else { event.arg(0) as c_int };
    let after = match how {
        libc::SIG_BLOCK => before | set,
        libc::SIG_UNBLOCK => before & !set,
        // The calls of old know 32 signals.
        _ if name != "rt_sigprocmask" => before & !LOW | set & LOW,
        _ => set,
    };
    thread.block(after & !UNBLOCKABLE)
}

/// The call that a thread stands at, if it stands at one.
pub fn standing_at(thread: &Thread) -> &'static str {
    match &thread.at {
        At::Call(info) => Call::entered(info).name(),
        _ => "",
    }
}
