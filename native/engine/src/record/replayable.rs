//! What makes a recording replayable: turns, held signals, answered instructions, refused calls, and the memory that no
//! call returns (what an exec maps, what the kernel writes when a thread ends).

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libc::{c_int, pid_t};
use trace_format::event::{EventKind, Lost, Side, Status, Trap, disposition, slot};
use trace_format::table::{Arch, Blocks, Replay};

use super::turns::{COMPUTES_NS, LONG_CALL_NS, MOST_PATIENCE, SIGNAL_WAITS_NS};
use super::{Recorder, World};
use crate::capture::{self, Call};
use crate::image::{self, Mapping};
use crate::memory::{Capturer, Data, Memory, word_of};
use crate::objects;
use crate::probe;
use crate::raw::{Definition, ObjectKind, RawCapture, RawEvent};
use crate::state;
use crate::sys::{self, Resume};
use crate::task::{Birth, Boundary, HeldSignal, Pending, SharedFile, Task};

/// Bits of a layout row's kind, FORMAT.md section "Replay".
pub mod layout {
    pub const SHARED: u32 = 1;
    pub const STACK: u32 = 2;
    pub const SPECIAL: u32 = 4;
    pub const HASHED: u32 = 8;
    /// Bytes of a row.
    pub const ROW: usize = 80;
}

const PAGE: u64 = 4096;
/// Code segment of 64-bit programs (`__USER_CS`).
const USER_CS: u64 = 0x33;
const MAP_SHARED: u64 = libc::MAP_SHARED as u64;
const MAP_ANONYMOUS: u64 = libc::MAP_ANONYMOUS as u64;
const PROT_WRITE: u64 = libc::PROT_WRITE as u64;
/// Larger files are not copied when they are mapped.
const MAX_FILE: u64 = 4 << 30;

fn row(mapping: &Mapping, kind: u32, hash: Option<[u8; 32]>) -> [u8; layout::ROW] {
    let mut row = [0; layout::ROW];
    let end = mapping.start.wrapping_add(mapping.length);
    for (index, word) in [mapping.start, end, mapping.offset, mapping.dev, mapping.ino].into_iter().enumerate() {
        row[index * 8..index * 8 + 8].copy_from_slice(&word.to_le_bytes());
    }
    row[40..44].copy_from_slice(&(mapping.prot as u32).to_le_bytes());
    let kind = kind | if mapping.shared { layout::SHARED } else { 0 } | if hash.is_some() { layout::HASHED } else { 0 };
    row[44..48].copy_from_slice(&kind.to_le_bytes());
    row[48..].copy_from_slice(&hash.unwrap_or_default());
    row
}

impl World {
    /// The recording cannot be replayed, for this reason.
    pub(super) fn unreplayable(&mut self, reason: &str) {
        if self.replayable && !self.obstacles.iter().any(|known| known == reason) && self.obstacles.len() < 64 {
            self.obstacles.push(reason.to_owned());
        }
    }

    /// Adds to an Exec event what the address space is made of, and hides the vDSO from the program.
    pub(super) fn describe_space(
        &mut self,
        task: &mut Task,
        mappings: &[Mapping],
        event: &mut RawEvent,
        memory: &mut Memory,
    ) {
        /// Code segment of 32-bit programs (`__USER32_CS`).
        const USER32_CS: u64 = 0x23;
        let Ok(regs) = sys::registers(task.tid) else { return };
        let arch = if regs.cs == USER32_CS { Arch::I386 } else { Arch::X86_64 };
        (event.arch, event.ip, event.sp) = (arch as u8, regs.rip, regs.rsp);
        task.boundary = Some(Boundary { ip: regs.rip, sp: regs.rsp, recurs: false });
        let mut rows = Vec::with_capacity(mappings.len() * layout::ROW);
        let mut tails = Vec::new();
        let mut last = (0, 0, None);
        for mapping in mappings {
            let kind = match mapping.path.as_slice() {
                b"[stack]" => layout::STACK,
                path if path.starts_with(b"[v") => layout::SPECIAL,
                _ => 0,
            };
            // A file has several mappings, one after the other.
            if (mapping.dev, mapping.ino) != (last.0, last.1) {
                let hash = if mapping.ino == 0 { None } else { self.keep_program(task.tid, mapping) };
                last = (mapping.dev, mapping.ino, hash);
            }
            let hash = last.2;
            rows.extend(row(mapping, kind, hash));
            if kind == layout::STACK {
                let end = mapping.start + mapping.length;
                tails.push((regs.rsp, end.saturating_sub(regs.rsp)));
            } else if mapping.ino != 0 && mapping.prot & PROT_WRITE != 0 && mapping.length >= PAGE {
                // The kernel has cleared what is behind the data in its last page.
                tails.push((mapping.start + mapping.length - PAGE, PAGE));
            }
        }
        memory.add(slot::LAYOUT, Side::In, &rows);
        hide_vdso(task.tid, arch, regs.rsp);
        let mut capturer = Capturer { tid: task.tid, word: arch.word(), data: self.data, memory };
        for (addr, length) in tails {
            capturer.structure(slot::LAYOUT, Side::Out, addr, length);
        }
    }

    /// Says which objects the first program's output goes to.
    pub(super) fn name_streams(&mut self, task: &Task) {
        if std::mem::replace(&mut self.streams_named, true) {
            return;
        }
        for (fd, key) in [(1, "stdout"), (2, "stderr")] {
            if let Some(object) = self.object(task, fd) {
                self.streams.push(Stream { object, writer: None, waiting: VecDeque::new() });
                self.definitions.push(Definition::Meta { key: key.into(), value: object.to_string().into_bytes() });
            }
        }
    }

    /// The hash of a file that an exec has mapped.
    fn keep_program(&mut self, tid: pid_t, mapping: &Mapping) -> Option<[u8; 32]> {
        use std::os::unix::fs::MetadataExt as _;
        let mut hash = self.images.facts_of_mapping(mapping, &image::reachable(tid, &mapping.path)).hash;
        if hash.is_none() {
            // The program file has no name any more, or never had one.
            let exe = PathBuf::from(format!("/proc/{tid}/exe"));
            if std::fs::metadata(&exe).is_ok_and(|meta| meta.ino() == mapping.ino) {
                hash = self.images.facts(&exe).hash;
            }
        }
        if hash.is_none() {
            self.unreplayable("a mapped program file could not be kept");
        }
        hash
    }

    /// Says what a call has mapped, so that replay can map it too.
    pub(super) fn describe_mapping(&mut self, task: &mut Task, call: &Call, result: i64) {
        let Some((length, prot, flags, fd, offset)) = mapping_arguments(task, call) else { return };
        let shared = flags & MAP_SHARED != 0;
        let length = length.next_multiple_of(PAGE);
        if flags & MAP_ANONYMOUS != 0 || fd < 0 {
            if shared {
                self.describe_shared(task, result as u64, length, prot);
            }
            return;
        }
        let Ok(identity) = objects::identify(task.tid, fd) else {
            self.unreplayable("a mapped file could not be identified");
            return;
        };
        let mapping = Mapping {
            start: result as u64,
            length,
            offset,
            prot,
            shared,
            dev: identity.dev,
            ino: identity.ino,
            path: identity.path,
        };
        let is_file = matches!(identity.kind, ObjectKind::File | ObjectKind::Memfd);
        if !is_file {
            if mapping.path == b"/dev/zero" {
                if shared {
                    self.describe_shared(task, mapping.start, length, prot);
                }
                return;
            }
            let shown = String::from_utf8_lossy(&mapping.path).into_owned();
            self.unreplayable(&format!("it maps {shown}, whose memory changes without a call"));
            return;
        }
        let hash = self.keep_mapped(&mapping, &format!("/proc/{}/fd/{fd}", task.tid));
        task.memory.add(slot::LAYOUT, Side::In, &row(&mapping, 0, hash));
        if shared {
            self.share(task, &mapping);
        } else {
            // Pages that were not written to still show what is in the file.
            self.remember_file(task, &mapping);
        }
    }

    fn keep_mapped(&mut self, mapping: &Mapping, file: &str) -> Option<[u8; 32]> {
        let size = std::fs::metadata(file).map_or(0, |meta| meta.len());
        if size == 0 {
            return None;
        }
        let hash = if size > MAX_FILE { None } else { self.images.keep(Path::new(file)) };
        if hash.is_none() {
            let shown = String::from_utf8_lossy(&mapping.path).into_owned();
            self.unreplayable(&format!("the mapped file {shown} could not be kept"));
        }
        hash
    }

    /// Shared memory without a file of the program: identified by what the kernel has behind it.
    fn describe_shared(&mut self, task: &mut Task, start: u64, length: u64, prot: u64) {
        let found = image::file_mapping_at(task.tid, start);
        let (dev, ino) = found.map_or((0, start), |found| (found.dev, found.ino));
        let mapping = Mapping { start, length, offset: 0, prot, shared: true, dev, ino, path: Vec::new() };
        task.memory.add(slot::LAYOUT, Side::In, &row(&mapping, 0, None));
        self.share(task, &mapping);
    }

    /// shmat(2): the segment, and what is in it when nobody of this recording has put that there.
    pub(super) fn describe_segment(&mut self, task: &mut Task, call: &Call, result: i64) {
        const SHM_RDONLY: u64 = 0o10000;
        let start = result as u64;
        let Some(found) = image::file_mapping_at(task.tid, start) else {
            self.unreplayable("a shared memory segment could not be identified");
            return;
        };
        let prot = if call.args[2] & SHM_RDONLY == 0 { 3 } else { 1 };
        let mapping = Mapping { start: found.start, offset: 0, prot, shared: true, ..found };
        task.memory.add(slot::LAYOUT, Side::In, &row(&mapping, 0, None));
        if !self.shared_files.contains_key(&(mapping.dev, mapping.ino)) {
            let length = mapping.length;
            let data = self.data;
            let mut capturer = Capturer { tid: task.tid, word: 8, data, memory: &mut task.memory };
            capturer.structure(slot::LAYOUT, Side::Out, start, length);
        }
        self.share(task, &mapping);
    }

    /// Remembers which file is mapped where: who writes to the file changes that memory.
    fn remember_file(&mut self, task: &Task, mapping: &Mapping) {
        let Mapping { start, length, offset, dev, ino, .. } = *mapping;
        task.space.borrow_mut().shared_files.push(SharedFile { start, length, offset, dev, ino });
        let known = self.shared_files.entry((dev, ino)).or_default();
        let this = Rc::downgrade(&task.space);
        known.spaces.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&this));
        known.spaces.push(this);
    }

    /// Joins the turns of those that see the same memory.
    fn share(&mut self, task: &mut Task, mapping: &Mapping) {
        self.remember_file(task, mapping);
        let mut space = task.space.borrow_mut();
        space.shares = true;
        let known = self.shared_files.entry((mapping.dev, mapping.ino)).or_default();
        known.written |= mapping.prot & PROT_WRITE != 0;
        if !known.groups.contains(&space.group) {
            known.groups.push(space.group);
        }
        if known.written && known.groups.len() > 1 {
            let groups = std::mem::take(&mut known.groups);
            for other in &groups[1..] {
                self.turns.join(groups[0], *other);
            }
            known.groups.push(groups[0]);
        }
    }

    /// A call has written to a file that is mapped: the mapping has changed with it.
    pub(super) fn wrote(&mut self, task: &mut Task, call: &Call, result: i64) {
        if self.shared_files.is_empty() || result <= 0 {
            return;
        }
        let positioned = match call.name() {
            "write" | "writev" => false,
            "pwrite64" | "pwritev" | "pwritev2" => true,
            _ => return,
        };
        let fd = call.int(0);
        let Some(object) = task.fds.borrow().get(fd) else { return };
        let file = self.objects.place(object);
        if !self.shared_files.contains_key(&file) {
            return;
        }
        let length = result as u64;
        let from = if positioned && call.args[3] != u64::MAX {
            call.args[3]
        } else {
            file_position(task.tid, fd).unwrap_or(0).saturating_sub(length)
        };
        let space = task.space.borrow();
        let own: Vec<SharedFile> =
            space.shared_files.iter().filter(|mapped| (mapped.dev, mapped.ino) == file).copied().collect();
        drop(space);
        let is_here = |mapped: &SharedFile| {
            (mapped.dev, mapped.ino) == file && from < mapped.offset + mapped.length && mapped.offset < from + length
        };
        let known = self.shared_files.get(&file);
        let elsewhere = known.is_some_and(|known| {
            let spaces = known.spaces.iter().filter_map(std::rc::Weak::upgrade);
            spaces
                .filter(|space| !Rc::ptr_eq(space, &task.space))
                .any(|space| space.borrow().shared_files.iter().any(is_here))
        });
        if own.is_empty() && elsewhere {
            self.unreplayable("a process writes to a file by calls that another one has mapped");
        }
        let data = self.data;
        for file in own {
            let (first, last) = (from.max(file.offset), (from + length).min(file.offset + file.length));
            if first < last {
                let mut capturer = Capturer { tid: task.tid, word: 8, data, memory: &mut task.memory };
                capturer.payload(slot::LAYOUT, Side::Out, file.start + (first - file.offset), last - first);
            }
        }
    }

    /// A part of the address space is gone.
    pub(super) fn unmapped(task: &Task, call: &Call) {
        let (start, end) = (call.args[0], call.args[0].saturating_add(call.args[1]));
        let within = |file: &SharedFile| start <= file.start && file.start + file.length <= end;
        task.space.borrow_mut().shared_files.retain(|file| !within(file));
    }

    /// Whether a call may wait for what another thread does.
    fn may_wait(&self, task: &Task, call: &Call) -> bool {
        let Some(plan) = call.plan else { return true };
        match (call.name(), plan.row.blocks) {
            ("sched_yield" | "vfork", _) => true,
            ("clone" | "clone3", _) => super::lifecycle::clone_flags(task) & libc::CLONE_VFORK as u64 != 0,
            // FUTEX_WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2
            ("futex" | "futex_time64", _) => matches!(call.int(1) & 0x7f, 0 | 6 | 9 | 11 | 13),
            // F_SETLKW, F_SETLKW64, F_OFD_SETLKW
            ("fcntl" | "fcntl64", _) => matches!(call.int(1), 7 | 14 | 38),
            (_, Blocks::Never) => false,
            (_, Blocks::May) => true,
            (_, Blocks::Fd(index)) => {
                let object = task.fds.borrow().get(call.int(usize::from(index)));
                let kind = object.map(|object| self.objects.kind(object));
                !matches!(kind, Some(ObjectKind::File | ObjectKind::Dir | ObjectKind::Memfd))
            }
        }
    }

    /// Lets a call that cannot be replayed fail with ENOSYS: the kernel skips it.
    fn refuse(&mut self, task: &Task, call: &Call) {
        if call.plan.is_none_or(|plan| plan.row.replay != Replay::Refuse) {
            return;
        }
        let refused = sys::registers(task.tid).and_then(|mut regs| {
            regs.orig_rax = u64::MAX;
            sys::set_registers(task.tid, &regs)
        });
        if refused.is_err() {
            self.lost[Lost::TaskGone as usize] += 1;
        }
    }

    /// Some calls change memory of which no event tells.
    pub(super) fn watch_for_obstacles(&mut self, call: &Call, result: i64) {
        if call.name() == "process_vm_writev" && result > 0 {
            self.unreplayable("a process writes into the memory of another one (process_vm_writev)");
        }
    }

    /// Remembers what the kernel will write into memory when this thread ends.
    fn remember_words(task: &mut Task, call: &Call) {
        match call.name() {
            "set_tid_address" => task.clear_tid = call.args[0],
            "set_robust_list" => (task.robust_list, task.word) = (call.args[0], call.arch.word()),
            _ => {}
        }
    }

    /// The writes of a thread that ends: robust futexes that it holds, and the word that tells of its end, futex(2).
    fn take_last_writes(&self, task: &mut Task) {
        const WAITERS: u32 = 0x8000_0000;
        const OWNER_DIED: u32 = 0x4000_0000;
        const TID_MASK: u32 = 0x3fff_ffff;
        /// As many as the kernel follows (`ROBUST_LIST_LIMIT`).
        const MOST: usize = 2048;
        task.last_writes.clear();
        if task.robust_list != 0 {
            let word = task.word as u64;
            let mut unused = Memory::default();
            let peek = Capturer { tid: task.tid, word: word as usize, data: self.data, memory: &mut unused };
            let head = task.robust_list;
            let offset = peek.peek_word(head.wrapping_add(word)).unwrap_or(0);
            let pending = peek.peek_word(head.wrapping_add(2 * word)).unwrap_or(0) & !1;
            let mut entries = Vec::new();
            let mut entry = peek.peek_word(head).unwrap_or(head);
            while entry & !1 != head && entry != 0 && entries.len() < MOST {
                if entry & !1 != pending {
                    entries.push(entry & !1);
                }
                entry = peek.peek_word(entry & !1).unwrap_or(head);
            }
            entries.extend((pending != 0).then_some(pending));
            let offset = if word == 4 { offset as i32 as u64 } else { offset };
            let held: Vec<(u64, u32)> = entries
                .iter()
                .map(|entry| entry.wrapping_add(offset))
                .filter_map(|addr| peek.peek_u32(addr).map(|value| (addr, value)))
                .filter(|(_, value)| value & TID_MASK == task.tid as u32)
                .collect();
            for (addr, value) in held {
                write_later(&mut task.last_writes, addr, (value & WAITERS) | OWNER_DIED);
            }
        }
        if task.clear_tid != 0 && Rc::strong_count(&task.space) > 1 {
            write_later(&mut task.last_writes, task.clear_tid, 0);
        }
    }

    /// Answers `rdtsc` or `rdtscp` for a task that has trapped at one (PR_SET_TSC, prctl(2)); whether it has.
    fn answer_trap(&mut self, task: &mut Task, info: &[u8; 128]) -> bool {
        const SI_KERNEL: i32 = 0x80;
        if int_at(info, 8) != SI_KERNEL {
            return false;
        }
        let Ok(mut regs) = sys::registers(task.tid) else { return false };
        let Some((trap, length)) = trap_at(task.tid, regs.rip) else { return false };
        let mut event = self.event(task, EventKind::Trap, trap as i32);
        event.ip = regs.rip;
        event.sp = regs.rsp;
        let (counter, extra) = self.timestamps.next();
        regs.rax = counter & 0xffff_ffff;
        regs.rdx = counter >> 32;
        event.nargs = 2;
        event.args[0] = counter;
        if trap == Trap::Rdtscp {
            regs.rcx = u64::from(extra);
            event.args[1] = u64::from(extra);
        }
        regs.rip += length;
        if sys::set_registers(task.tid, &regs).is_err() {
            return true;
        }
        task.boundary = Some(Boundary { ip: regs.rip, sp: regs.rsp, recurs: false });
        self.commit(event, &Memory::default());
        true
    }

    /// An event that says that a thread goes on where its last event left it.
    fn turn_event(&mut self, task: &Task) {
        let mut event = self.event(task, EventKind::Preempt, 0);
        event.nargs = 1;
        event.args[0] = 1;
        self.commit(event, &Memory::default());
    }
}

fn int_at(info: &[u8; 128], at: usize) -> i32 {
    i32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]])
}

/// The instruction at an address, if it is one that traps, and its length.
fn trap_at(tid: pid_t, ip: u64) -> Option<(Trap, u64)> {
    let mut code = [0; 3];
    match (sys::read_pieces(tid, &[(ip, 3)], &mut code), code) {
        (2.., [0x0f, 0x31, _]) => Some((Trap::Rdtsc, 2)),
        (3, [0x0f, 0x01, 0xf9]) => Some((Trap::Rdtscp, 3)),
        _ => None,
    }
}

/// Lets a stopped tracee read the time stamp counter again, for nobody will answer for it any more: it executes prctl(2)
/// at a call instruction of its vDSO. Signals that come meanwhile are sent again.
fn give_clock_back(pid: pid_t, tid: pid_t) {
    /// Number of prctl(2) for 32-bit programs.
    const PRCTL_I386: u64 = 172;
    const MOST_SIGNALS: usize = 64;
    let Ok(regs) = sys::registers(tid) else { return };
    let Some(vdso) = image::mappings(tid).into_iter().find(|mapping| mapping.path == b"[vdso]") else { return };
    let mut code = vec![0; usize::try_from(vdso.length).unwrap_or(0).min(16 << 10)];
    let got = sys::read_pieces(tid, &[(vdso.start, code.len())], &mut code);
    let (number, instruction) =
        if regs.cs == USER_CS { (libc::SYS_prctl as u64, [0x0f, 0x05]) } else { (PRCTL_I386, [0xcd, 0x80]) };
    let Some(at) = code[..got].windows(2).position(|pair| pair == instruction) else { return };
    let (option, enable) = (libc::PR_SET_TSC as u64, libc::PR_TSC_ENABLE as u64);
    let mut own = libc::user_regs_struct { rip: vdso.start + at as u64, orig_rax: u64::MAX, rax: number, ..regs };
    if regs.cs == USER_CS {
        (own.rdi, own.rsi) = (option, enable);
    } else {
        (own.rbx, own.rcx) = (option, enable);
    }
    if sys::set_registers(tid, &own).is_err() {
        return;
    }
    let mut came = Vec::new();
    while came.len() < MOST_SIGNALS && sys::resume(tid, Resume::Step, 0).is_ok() {
        let Ok(waited) = sys::wait_for(tid) else { return };
        if !libc::WIFSTOPPED(waited.status) {
            return;
        }
        let signal = waited.status >> 8;
        // TRAP_TRACE, or TRAP_BRKPT where the step was a call.
        if signal == libc::SIGTRAP && sys::signal_info(tid).is_ok_and(|info| int_at(&info, 8) > 0) {
            break;
        }
        came.extend((1..=64).contains(&signal).then_some(signal));
    }
    let _ = sys::set_registers(tid, &regs);
    for signal in came {
        let _ = sys::tgkill(pid, tid, signal);
    }
}

/// Whether a call writes to the descriptor that is its first argument.
fn writes_to_first(call: &Call) -> bool {
    const WRITES: [&str; 11] = [
        "write",
        "writev",
        "pwrite64",
        "pwritev",
        "pwritev2",
        "sendto",
        "sendmsg",
        "sendmmsg",
        "sendfile",
        "sendfile64",
        "splice",
    ];
    WRITES.contains(&call.name())
}

/// Where output of the first program goes, and who writes there.
pub(super) struct Stream {
    object: u32,
    writer: Option<pid_t>,
    waiting: VecDeque<pid_t>,
}

/// Adds a word that the kernel is going to write.
fn write_later(memory: &mut Memory, addr: u64, value: u32) {
    memory.bytes.extend(value.to_le_bytes());
    memory.captures.push(RawCapture {
        slot: slot::LAYOUT,
        side: Side::Out,
        status: Status::Whole,
        addr,
        wanted: 4,
        len: 4,
    });
}

/// Length, protection, flags, descriptor and offset of mmap(2) in its three forms.
fn mapping_arguments(task: &Task, call: &Call) -> Option<(u64, u64, u64, i32, u64)> {
    let args = call.args;
    match (call.name(), call.arch) {
        ("mmap2", _) => Some((args[1], args[2], args[3], args[4] as i32, args[5] * PAGE)),
        ("mmap", Arch::X86_64) => Some((args[1], args[2], args[3], args[4] as i32, args[5])),
        ("mmap", Arch::I386) => {
            let words = task.memory.find(0, Side::In).filter(|words| words.len() >= 24)?;
            let word = |index: usize| word_of(&words[index * 4..index * 4 + 4]);
            Some((word(1), word(2), word(3), word(4) as i32, word(5)))
        }
        _ => None,
    }
}

/// Position of an open file, from /proc/PID/fdinfo.
fn file_position(tid: pid_t, fd: i32) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix("pos:"))?.trim().parse().ok()
}

/// Takes the vDSO out of the auxiliary vector at the stack pointer of a new program, so that the C library reads clocks
/// by calls, getauxval(3).
fn hide_vdso(tid: pid_t, arch: Arch, sp: u64) {
    const AT_NULL: u64 = 0;
    const AT_IGNORE: u64 = 1;
    const AT_SYSINFO: u64 = 32;
    const AT_SYSINFO_EHDR: u64 = 33;
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
            if value == AT_NULL {
                return;
            }
            if matches!(value, AT_SYSINFO | AT_SYSINFO_EHDR) {
                sys::write_memory(tid, at + offset as u64, &AT_IGNORE.to_le_bytes()[..word]);
            }
            offset += 2 * word;
        }
        at += offset as u64;
    }
}

/// What happens by default, signal(7).
fn by_default(tid: pid_t, signal: c_int) -> u64 {
    match signal {
        libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT => disposition::NONE,
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => disposition::STOPS,
        _ if ignores(tid, signal) => disposition::NONE,
        _ => disposition::FATAL,
    }
}

/// Whether a process ignores a signal since before its program began.
fn ignores(tid: pid_t, signal: c_int) -> bool {
    is_in_mask(tid, "SigIgn:", signal)
}

/// Whether a process has a handler for a signal.
fn catches(tid: pid_t, signal: c_int) -> bool {
    is_in_mask(tid, "SigCgt:", signal)
}

fn is_in_mask(tid: pid_t, label: &str, signal: c_int) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(label));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & 1 << (signal - 1) != 0
}

/// The state of a thread, as /proc/TID/stat tells it in one letter; `None` when it is gone.
fn state_of(tid: pid_t) -> Option<u8> {
    let stat = std::fs::read_to_string(format!("/proc/{tid}/stat")).ok()?;
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.bytes().next())
}

/// The futex that a thread is about to wait for in a way that makes the kernel write to it (FUTEX_LOCK_PI,
/// FUTEX_LOCK_PI2): address and content.
fn lock_word(task: &Task) -> Option<(u64, u32)> {
    let call = task.call.as_ref().filter(|call| matches!(call.name(), "futex" | "futex_time64"))?;
    if !matches!(call.int(1) & 0x7f, 6 | 13) {
        return None;
    }
    let mut unused = Memory::default();
    let peek = Capturer { tid: task.tid, word: 8, data: Data::None, memory: &mut unused };
    peek.peek_u32(call.args[0]).map(|value| (call.args[0], value))
}

/// Whether a signal comes from the instruction at which the thread stands.
fn is_synchronous(signal: c_int, info: &[u8; 128]) -> bool {
    matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP) && int_at(info, 8) > 0
}

impl Recorder {
    /// A call that writes to the first program's output waits for another one that does so already: the order in which they
    /// are committed is then the order in which they wrote. Whether it waits.
    fn queue_for_stream(&mut self, tid: pid_t) -> bool {
        if self.tasks.len() < 2 {
            return false;
        }
        let Some(task) = self.tasks.get(&tid) else { return false };
        let Some(call) = task.call.as_ref().filter(|call| writes_to_first(call)) else { return false };
        let Some(object) = task.fds.borrow().get(call.int(0)) else { return false };
        let Some(stream) = self.world.streams.iter_mut().find(|stream| stream.object == object) else { return false };
        match stream.writer {
            Some(writer) if writer != tid => {
                stream.waiting.push_back(tid);
                true
            }
            _ => {
                stream.writer = Some(tid);
                false
            }
        }
    }

    /// A thread writes to no stream any more: the next one may.
    pub(super) fn leave_streams(&mut self, tid: pid_t) {
        for index in 0..self.world.streams.len() {
            let stream = &mut self.world.streams[index];
            stream.waiting.retain(|waiting| *waiting != tid);
            if stream.writer == Some(tid) {
                stream.writer = stream.waiting.pop_front();
                if let Some(next) = stream.writer {
                    self.go_on(next, 0);
                }
            }
        }
    }

    /// A thread has entered a call: refused ones are skipped, held signals are queued, and others may run.
    pub(super) fn went_away(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let Some(call) = task.call.take() else {
            self.go_on(tid, 0);
            return;
        };
        self.world.refuse(task, &call);
        let waits = self.world.may_wait(task, &call);
        let ends = matches!(call.name(), "exit_group" | "execve" | "execveat");
        if call.name() == "exit" {
            self.world.take_last_writes(task);
        }
        let leads = call.name() == "exit" && {
            let process = task.process.borrow();
            process.pid == tid && process.alive > 1
        };
        task.call = Some(call);
        let own = task.process.borrow().pid;
        let killed = self.tasks.get(&tid).and_then(|task| self.kills_sharer(task));
        for pid in killed.into_iter().chain(ends.then_some(own)) {
            self.foresee_end(pid);
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let group = task.space.borrow().group;
        let signal = queue_held(task);
        let lock = self.tasks.get(&tid).and_then(lock_word);
        if signal != 0 || !self.queue_for_stream(tid) {
            self.go_on(tid, signal);
        }
        if let Some(before) = lock {
            self.await_lock(tid, before);
        }
        if leads {
            self.leader_left(tid, group);
        } else if waits || signal != 0 {
            let next = self.world.turns.release(group, tid);
            self.grant(next);
        }
    }

    /// The kernel marks the word of a lock with an owner while a thread waits for it: told before others run on.
    fn await_lock(&mut self, tid: pid_t, (addr, before): (u64, u32)) {
        const LONGEST_NS: u64 = 2_000_000;
        let deadline = sys::monotonic() + LONGEST_NS;
        while !matches!(state_of(tid), Some(b'S' | b't' | b'Z' | b'X') | None) && sys::monotonic() < deadline {
            std::thread::sleep(std::time::Duration::from_micros(10));
        }
        let Some(task) = self.tasks.get(&tid) else { return };
        let mut memory = Memory::default();
        let mut capturer = Capturer { tid, word: 8, data: self.world.data, memory: &mut memory };
        if capturer.peek_u32(addr).is_none_or(|now| now == before) {
            return;
        }
        capturer.structure(slot::LAYOUT, Side::Out, addr, 4);
        memory.add(0, Side::In, b"the kernel changed the word of a futex");
        let event = self.world.event(task, EventKind::Note, Lost::Remark as i32);
        self.world.commit(event, &memory);
    }

    /// The first thread of a process ends before the others. The kernel tells of that only when all have ended, so its
    /// call is committed as soon as it is seen to be gone, and others take their turns.
    fn leader_left(&mut self, tid: pid_t, group: u32) {
        let gone = || matches!(state_of(tid), None | Some(b'Z' | b'X'));
        for _ in 0..1000 {
            if gone() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if let Some(call) = task.call.take() {
            let writes = std::mem::take(&mut task.last_writes);
            task.memory.captures.extend_from_slice(&writes.captures);
            task.memory.bytes.extend_from_slice(&writes.bytes);
            self.world.commit_call(task, &call, None, sys::monotonic(), 0);
        }
        let next = self.world.turns.release(group, tid);
        self.grant(next);
    }

    /// A thread has come back from a call.
    pub(super) fn came_back(&mut self, tid: pid_t, info: &sys::SyscallInfo, now: u64) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let result = info.first as i64;
        task.preempted = 0;
        let wrote = task.call.as_ref().is_some_and(writes_to_first);
        let returned = task.call.as_ref().is_some_and(|call| matches!(call.name(), "rt_sigreturn" | "sigreturn"));
        task.boundary = Some(Boundary { ip: info.ip, sp: info.sp, recurs: returned });
        if task.launching || task.call.is_none() {
            self.leave_and_go_on(tid, result, now);
            return;
        }
        let group = task.space.borrow().group;
        if let Some(killed) = self.tasks.get(&tid).and_then(|task| self.kills_sharer(task)).filter(|_| result == 0) {
            self.await_end(killed);
        }
        if wrote {
            // Committed before the next writer is let go; a thread that has to wait for its turn is committed later.
            self.leave_in_turn(tid, group, result, now);
            self.leave_streams(tid);
            return;
        }
        self.leave_in_turn(tid, group, result, now);
    }

    /// A process is about to be killed: what the kernel will write then has to be known before its memory is gone.
    fn foresee_end(&mut self, pid: pid_t) {
        for task in self.tasks.values_mut().filter(|task| task.process.borrow().pid == pid) {
            self.world.take_last_writes(task);
        }
    }

    /// A process that shares memory with its killer is gone before the killer goes on, so that its writes come before.
    fn await_end(&mut self, pid: pid_t) {
        const LONGEST: u32 = 100;
        let tids: Vec<pid_t> =
            self.tasks.iter().filter(|(_, task)| task.process.borrow().pid == pid).map(|(tid, _)| *tid).collect();
        for _ in 0..LONGEST {
            super::collect(&mut self.stops);
            let ended = |tid: &pid_t| self.stops.iter().any(|stop| stop.tid == *tid && !libc::WIFSTOPPED(stop.status));
            if tids.iter().all(ended) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        for tid in tids {
            let found = self.stops.iter().position(|stop| stop.tid == tid && !libc::WIFSTOPPED(stop.status));
            if let Some(waited) = found.and_then(|index| self.stops.remove(index)) {
                self.ended(&waited);
            }
        }
    }

    /// The other process that a call of this thread kills, when both see the same memory.
    fn kills_sharer(&self, task: &Task) -> Option<pid_t> {
        let call = task.call.as_ref().filter(|_| task.space.borrow().shares)?;
        let signal = match call.name() {
            "kill" | "tkill" => call.int(1),
            "tgkill" => call.int(2),
            _ => return None,
        };
        let target = self.tasks.get(&call.int(0))?;
        let (own, other) = (task.process.borrow().pid, target.process.borrow().pid);
        (signal == libc::SIGKILL && own != other && target.space.borrow().shares).then_some(other)
    }

    fn leave_in_turn(&mut self, tid: pid_t, group: u32, result: i64, now: u64) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if !self.world.turns.take(group, tid) {
            task.pending = Some(Pending::Leave(result, now));
        } else if self.world.turns.is_over(group, now) {
            // What a call has changed in the address space, or printed, comes before all that others do in their turns.
            let executes = |call: &Call| call.plan.is_some_and(|plan| plan.row.replay == Replay::Execute);
            let shows = |call: &Call| executes(call) || writes_to_first(call);
            if task.call.as_ref().is_some_and(shows) && !capture::is_error(result) {
                self.leave(tid, result, now);
                let Some(task) = self.tasks.get_mut(&tid) else { return };
                task.pending = Some(Pending::Start);
            } else {
                task.pending = Some(Pending::Leave(result, now));
            }
            let next = self.world.turns.yield_to_next(group, tid);
            self.grant(next);
        } else {
            self.leave_and_go_on(tid, result, now);
        }
    }

    fn leave_and_go_on(&mut self, tid: pid_t, result: i64, at: u64) {
        self.leave(tid, result, at);
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let signal = queue_held(task);
        match task.boundary.filter(|boundary| boundary.recurs) {
            Some(boundary) => self.go_on_from_handler(tid, boundary, signal),
            None => self.go_on(tid, signal),
        }
    }

    /// A thread has come back from a handler to some place of its own code. Signals that are deliverable now come before
    /// it runs anything; one that comes later may find it at the same place again. So it is let go by one instruction.
    fn go_on_from_handler(&mut self, tid: pid_t, boundary: Boundary, signal: c_int) {
        const TRAP_TRACE: i32 = 2;
        const TRAP_FLAG: u64 = 1 << 8;
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        task.boundary = Some(Boundary { recurs: false, ..boundary });
        let mut code = [0; 2];
        sys::read_pieces(tid, &[(boundary.ip, 2)], &mut code);
        // A step would pass a call unseen; its stop is the next one anyway. So is that of a program that steps itself.
        let calls = matches!(code, [0x0f, 0x05 | 0x34] | [0xcd, 0x80]);
        let steps = sys::registers(tid).is_ok_and(|regs| regs.eflags & TRAP_FLAG != 0);
        if calls || steps || sys::resume(tid, Resume::Step, signal).is_err() {
            self.go_on(tid, signal);
            return;
        }
        let Ok(waited) = sys::wait_for(tid) else { return };
        let stepped = waited.status >> 8 == libc::SIGTRAP
            && sys::signal_info(tid).is_ok_and(|info| int_at(&info, 8) == TRAP_TRACE);
        if stepped {
            task.boundary = None;
            self.go_on(tid, 0);
        } else {
            self.dispatch(waited);
        }
    }

    /// Commits the call that a thread has come back from.
    fn leave(&mut self, tid: pid_t, result: i64, at: u64) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if let Some(call) = task.call.take() {
            if call.plan.is_some() {
                World::remember_words(task, &call);
            }
            // An exec that succeeded ended what was before; one that failed did not.
            let writes = std::mem::take(&mut task.last_writes);
            if task.executed {
                task.memory.captures.extend_from_slice(&writes.captures);
                task.memory.bytes.extend_from_slice(&writes.bytes);
            }
            self.world.leave(task, call, result, at);
        }
    }

    /// A stopped thread gets its turn.
    pub(super) fn grant(&mut self, next: Option<pid_t>) {
        let Some(tid) = next else { return };
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        match task.pending.take() {
            Some(Pending::Leave(result, at)) => self.leave_and_go_on(tid, result, at),
            Some(Pending::Start) => {
                self.world.turn_event(task);
                self.go_on(tid, 0);
            }
            Some(Pending::Preempted(stopped)) => {
                let (mut event, memory) = *stopped;
                event.entry_seq = event.entry_seq.min(self.world.sink.seq());
                self.world.commit(event, &memory);
                self.go_on(tid, 0);
            }
            None => {}
        }
    }

    /// The threads that are stopped until their turn comes, or until they may write.
    pub(super) fn kept_waiting(&self) -> Vec<pid_t> {
        let turns = self.tasks.iter().filter(|(_, task)| task.pending.is_some()).map(|(tid, _)| *tid);
        turns.chain(self.world.streams.iter().flat_map(|stream| stream.waiting.iter().copied())).collect()
    }

    /// Makes a stopped task what it would be without the recorder. The signal with which it may be let go; nothing when it
    /// has to come to its next stop first.
    pub(super) fn ready_to_leave(&mut self, tid: pid_t, signal: c_int) -> Option<c_int> {
        let Some(task) = self.tasks.get_mut(&tid).filter(|_| self.world.replayable) else { return Some(signal) };
        if sys::syscall_info(tid).is_ok_and(|info| info.op == sys::INFO_ENTRY) {
            // What it has entered would be lost with other registers. Asked to stop, it soon comes back.
            let _ = sys::interrupt(tid);
            let _ = sys::resume(tid, Resume::Syscall, 0);
            return None;
        }
        let trapped = signal == libc::SIGSEGV && sys::registers(tid).is_ok_and(|regs| trap_at(tid, regs.rip).is_some());
        let pid = task.process.borrow().pid;
        give_clock_back(pid, tid);
        for held in task.held.drain(..).filter(|held| !held.queued) {
            let _ = sys::tgkill(pid, tid, held.number);
        }
        // The instruction that trapped runs when it comes again.
        Some(if trapped { 0 } else { signal })
    }

    /// A new task runs at once, or waits for its turn.
    pub(super) fn start(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let group = task.space.borrow().group;
        if self.world.turns.take(group, tid) {
            self.go_on(tid, 0);
        } else {
            task.pending = Some(Pending::Start);
        }
    }

    /// A signal is about to be delivered to a task.
    pub(super) fn signal_in_turn(&mut self, tid: pid_t, signal: c_int) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let Ok(mut info) = sys::signal_info(tid) else {
            self.go_on(tid, signal);
            return;
        };
        if signal == libc::SIGSEGV && self.world.answer_trap(task, &info) {
            self.go_on(tid, 0);
            return;
        }
        // One that was queued while the thread stood still is taken before its next instruction.
        let queued = task.held.iter().position(|held| held.number == signal && held.queued);
        if let Some(index) = queued {
            // Another one of that number may have come before the one that was queued again: the older goes first.
            let came = info;
            info = task.held[index].info;
            if is_queued_again(&came) {
                task.held.remove(index);
            } else {
                task.held[index].info = came;
            }
            let _ = sys::set_signal_info(tid, &info);
        }
        let handler = task.handler(signal);
        let becomes = match handler {
            // A fault whose signal is blocked takes the handler away.
            Some(handler) if handler.is_caught() && is_synchronous(signal, &info) && !catches(tid, signal) => {
                disposition::FATAL
            }
            Some(handler) if handler.is_caught() => disposition::HANDLED,
            Some(handler) if handler.addr == 1 && !is_synchronous(signal, &info) => disposition::NONE,
            Some(_) | None => by_default(tid, signal),
        };
        let place = sys::syscall_info(tid).map(|info| (info.ip, info.sp)).unwrap_or_default();
        let stands = queued.is_some() || stands_at(task, place);
        if becomes == disposition::HANDLED && !is_synchronous(signal, &info) && !stands {
            hold(task, signal, info);
            self.world.turns.arm();
            self.go_on(tid, 0);
            return;
        }
        self.world.decide(task, Some(signal));
        let mut memory = Memory::default();
        memory.add(0, Side::In, &info);
        let event = self.world.signal_event(task, signal, &info, becomes, place);
        if becomes != disposition::HANDLED {
            self.world.commit(event, &memory);
            if becomes == disposition::FATAL {
                let pid = task.process.borrow().pid;
                self.foresee_end(pid);
            }
            self.go_on(tid, signal);
            return;
        }
        if handler.is_some_and(|handler| handler.once) {
            task.handlers.borrow_mut().remove(&signal);
        }
        // To the first instruction of the handler, where its frame can be read.
        let _ = sys::resume(tid, Resume::Step, signal);
        let waited = sys::wait_for(tid);
        let regs = sys::registers(tid).ok();
        let stepped = waited.as_ref().is_ok_and(|waited| waited.status >> 8 == libc::SIGTRAP);
        if let Some(regs) = regs.filter(|_| stepped) {
            let mut capturer = Capturer { tid, word: 8, data: self.world.data, memory: &mut memory };
            let length = frame_length(&capturer, &regs, place.1);
            capturer.structure(slot::LAYOUT, Side::Out, regs.rsp, length);
            task.boundary = Some(Boundary { ip: regs.rip, sp: regs.rsp, recurs: false });
        }
        self.world.commit(event, &memory);
        match waited {
            Ok(waited) if !stepped => self.dispatch(waited),
            _ => self.go_on(tid, 0),
        }
    }

    /// Where calls of a group that are not committed yet may have written: addresses and lengths.
    fn unsettled_outputs(&self, group: u32) -> Vec<(u64, u64)> {
        /// More than any buffer: what a call might write at most.
        const ALL: i64 = 1 << 40;
        const MOST: usize = 4096;
        let mut holes = Vec::new();
        for task in self.tasks.values().filter(|task| task.space.borrow().group == group) {
            let Some(call) = &task.call else { continue };
            let result = match task.pending {
                Some(Pending::Leave(result, _)) => result,
                _ => ALL,
            };
            let mut memory = Memory::default();
            capture::exit(task.tid, Data::Paths, call, result, &mut memory);
            let outputs = memory.captures.iter().filter(|capture| capture.side == Side::Out && capture.addr != 0);
            holes.extend(outputs.map(|capture| (capture.addr, capture.wanted)));
        }
        holes.truncate(MOST);
        holes
    }

    /// A task that was asked to stop has stopped, somewhere.
    pub(super) fn interrupted(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let group = task.space.borrow().group;
        let holes = self.unsettled_outputs(group);
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        task.interrupting = false;
        let Ok(regs) = sys::registers(tid) else {
            self.go_on(tid, 0);
            return;
        };
        if task.call.is_some() || task.pending.is_some() {
            self.go_on(tid, 0);
            return;
        }
        let at_boundary = stands_at(task, (regs.rip, regs.rsp));
        let (mut regs, mut words) = (regs, Vec::new());
        if !at_boundary {
            let mut came = Vec::new();
            let settled = probe::settle(tid, &mut came, &mut task.plain_loop);
            for (number, info) in came {
                hold(task, number, info);
            }
            match settled {
                probe::Settled::Place(place) => {
                    // One that may wait for another is not given more and more time.
                    if place.may_wait {
                        task.preempted = 0;
                    }
                    (regs, words) = (place.regs, place.words);
                }
                probe::Settled::Boundary => return self.go_on(tid, 0),
                probe::Settled::Event(waited) => return self.dispatch(*waited),
            }
        }
        let stopped = (!at_boundary).then(|| {
            self.world.decide(task, None);
            let mut memory = Memory::default();
            memory.add(0, Side::In, &sys::register_bytes(&regs));
            memory.add(1, Side::In, &state::state_hash(tid, &[], &holes));
            for (slot, pairs) in [(2, &words), (3, &holes)] {
                if !pairs.is_empty() {
                    let words = pairs.iter().flat_map(|(addr, other)| [*addr, *other]);
                    memory.add(slot, Side::In, &words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
                }
            }
            let mut event = self.world.event(task, EventKind::Preempt, 0);
            event.nargs = 1;
            event.ip = regs.rip;
            event.sp = regs.rsp;
            (event, memory)
        });
        let waiting = !task.held.is_empty();
        if waiting {
            // Delivered right here: the thread goes on to the stop of the signal without running anything.
            if let Some((event, memory)) = stopped {
                self.world.commit(event, &memory);
            }
            task.boundary = Some(Boundary { ip: regs.rip, sp: regs.rsp, recurs: true });
            let pid = task.process.borrow().pid;
            for held in task.held.iter_mut().filter(|held| !held.queued) {
                held.queued = sys::tgkill(pid, tid, held.number).is_ok();
            }
            self.go_on(tid, 0);
            return;
        }
        task.pending = Some(match stopped {
            Some(stopped) => {
                task.boundary = None;
                Pending::Preempted(Box::new(stopped))
            }
            None => Pending::Start,
        });
        let next = self.world.turns.yield_to_next(group, tid);
        self.grant(next);
    }

    /// Looks whether somebody has kept the turn, or a signal waiting, for too long.
    pub(super) fn tick(&mut self) {
        let now = sys::monotonic();
        let contended = self.world.turns.contended();
        let mut idle = contended.is_empty();
        for tid in contended {
            let Some(task) = self.tasks.get_mut(&tid) else { continue };
            let since = now.saturating_sub(task.resumed);
            if task.pending.is_some() || task.interrupting {
                continue;
            }
            if task.call.is_some() {
                if since > LONG_CALL_NS {
                    let group = task.space.borrow().group;
                    let next = self.world.turns.release(group, tid);
                    self.grant(next);
                }
            } else if since > COMPUTES_NS << task.preempted.min(MOST_PATIENCE) && sys::interrupt(tid).is_ok() {
                task.interrupting = true;
                task.preempted += 1;
            }
        }
        for (tid, task) in self.tasks.iter_mut().filter(|(_, task)| !task.held.is_empty()) {
            idle = false;
            let due = now.saturating_sub(task.held_since) > SIGNAL_WAITS_NS;
            let runs = task.call.is_none() && task.pending.is_none() && !task.interrupting;
            if due && runs && task.held.iter().any(|held| !held.queued) && sys::interrupt(*tid).is_ok() {
                task.interrupting = true;
            }
        }
        if idle {
            self.world.turns.disarm();
        }
    }

    /// Waits until a new task has stopped, so that it is there before its parent's call ends.
    pub(super) fn await_birth(&mut self, child: pid_t, birth: Birth) {
        let waiting = self.stops.iter().position(|waited| waited.tid == child);
        let waited = match waiting {
            Some(index) => self.stops.remove(index),
            None => sys::wait_for(child).ok(),
        };
        let Some(waited) = waited else { return };
        let ended = libc::WIFEXITED(waited.status) || libc::WIFSIGNALED(waited.status);
        self.adopt(child, birth, ended.then_some(waited));
    }

    /// The words that the kernel writes for a new task, from the call that makes it.
    pub(super) fn words_of_birth(task: &Task, birth: &mut Birth) {
        let Some(call) = &task.call else { return };
        let child_word = match (call.name(), call.arch) {
            ("clone", Arch::X86_64) => call.args[3],
            ("clone", Arch::I386) => call.args[4],
            ("clone3", _) => task.memory.find(0, Side::In).and_then(|bytes| bytes.get(16..24)).map_or(0, word_of),
            _ => 0,
        };
        let has = |flag: c_int| birth.flags & flag as u64 != 0;
        (birth.set_tid, birth.clear_tid) = (
            if has(libc::CLONE_CHILD_SETTID) { child_word } else { 0 },
            if has(libc::CLONE_CHILD_CLEARTID) { child_word } else { 0 },
        );
        // The child may read it before its parent's call ends, where they share memory.
        let parent_word = match call.name() {
            "clone" => call.args[2],
            "clone3" => task.memory.find(0, Side::In).and_then(|bytes| bytes.get(24..32)).map_or(0, word_of),
            _ => 0,
        };
        birth.parent_word = if has(libc::CLONE_PARENT_SETTID) && has(libc::CLONE_VM) { parent_word } else { 0 };
    }
}

/// Whether a thread has certainly run nothing since its last event.
fn stands_at(task: &Task, (ip, sp): (u64, u64)) -> bool {
    task.boundary.is_some_and(|boundary| boundary.ip == ip && boundary.sp == sp && !boundary.recurs)
}

/// Whether a siginfo is that of a signal which this process has queued: by tgkill(2), or by going on from a stop with it.
fn is_queued_again(info: &[u8; 128]) -> bool {
    const SI_TKILL: i32 = -6;
    const SI_KERNEL: i32 = 0x80;
    let (code, pid) = (int_at(info, 8), int_at(info, 16));
    code == SI_KERNEL || (code == SI_TKILL && pid == std::process::id() as i32)
}

/// Keeps a signal for the next boundary. One of the old signals is pending once, however often it is sent, signal(7).
fn hold(task: &mut Task, number: c_int, info: [u8; 128]) {
    const SIGRTMIN: c_int = 32;
    if number < SIGRTMIN && task.held.iter().any(|held| held.number == number) {
        return;
    }
    if task.held.is_empty() {
        task.held_since = sys::monotonic();
    }
    task.held.push(HeldSignal { number, info, queued: false });
}

/// The next held signal, to be queued by going on with it from a syscall stop; 0 for none.
fn queue_held(task: &mut Task) -> c_int {
    let Some(held) = task.held.iter_mut().find(|held| !held.queued) else { return 0 };
    held.queued = true;
    held.number
}

impl World {
    fn signal_event(
        &mut self,
        task: &Task,
        signal: c_int,
        info: &[u8; 128],
        becomes: u64,
        place: (u64, u64),
    ) -> RawEvent {
        let mut event = self.event(task, EventKind::Signal, signal);
        event.nargs = 3;
        event.args[0] = int_at(info, 8) as u64;
        event.args[1] = int_at(info, 16) as u64;
        event.args[2] = becomes;
        (event.ip, event.sp) = place;
        event
    }
}

/// Length of the signal frame at the stack pointer, as far as the kernel has written it: registers, siginfo and the
/// floating-point state behind them (asm/sigframe.h, asm/sigcontext.h). `before` is the stack pointer that was interrupted.
fn frame_length(capturer: &Capturer<'_>, regs: &libc::user_regs_struct, before: u64) -> u64 {
    /// Most that a frame can have on any processor: 11 KiB with AMX.
    const MOST: u64 = 16 << 10;
    const RED_ZONE: u64 = 128;
    let same_stack = before.wrapping_sub(regs.rsp);
    if (1..=MOST).contains(&same_stack) {
        let zone = if regs.cs == USER_CS { RED_ZONE } else { 0 };
        return same_stack.saturating_sub(zone);
    }
    // On another stack: up to the end of the floating-point state, whose address the context has.
    let (at, word) = if regs.cs == USER_CS { (8 + 40 + 184, 8) } else { (0, 4) };
    if word == 4 {
        return 0;
    }
    let state = capturer.peek_word(regs.rsp.wrapping_add(at)).unwrap_or(0);
    // struct _fpx_sw_bytes at offset 464: magic, extended size.
    let size = capturer.peek_u32(state.wrapping_add(468)).map_or(0, u64::from);
    let length = state.wrapping_add(size).wrapping_sub(regs.rsp);
    if length <= MOST { length } else { 0 }
}
