//! Taking stacks while a replay goes from event to event: a thread stands where its event begins, so that its registers and
//! memory are those of the recorded program at that moment.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::sync::Arc;

use libc::pid_t;
use trace_format::event::{EventKind, Side};

use super::event::Event;
use super::files::Files;
use super::scan;
use super::tracee::{At, Thread};
use super::watch::{Halt, lost};
use crate::binary::Binaries;
use crate::image::{self, Mapping};
use crate::reader::Trace;
use crate::stacks::{CodeFile, EXACT, GUESSED, INTERRUPTED, NO_FILE, NOTHING, Place, Stacks, TRAMPOLINE};
use crate::store::{Hash, Store};
use crate::sys;
use crate::unwind::module::Module;
use crate::unwind::{Code, End, Frame, How, Process, Registers, Unwinder};

/// Of which events stacks are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The first and the last one.
    pub from: u64,
    pub to: u64,
    /// Only these, in ascending order.
    pub only: Option<Vec<u64>>,
}

impl Wanted {
    /// Of none.
    pub const NOTHING: Wanted = Wanted { from: 1, to: 0, only: None };

    fn has(&self, seq: u64) -> bool {
        (self.from..=self.to).contains(&seq) && self.only.as_ref().is_none_or(|only| only.binary_search(&seq).is_ok())
    }
}

/// Bytes of the stack that are read at once, and of what is read when that is not enough.
const WINDOW: usize = 16 << 10;
const PIECE: usize = 4 << 10;
/// Most frames that a replay keeps (4 bytes each).
const MOST_FRAMES: usize = 1 << 29;

/// A piece of executable memory.
struct Region {
    start: u64,
    end: u64,
    offset: u64,
    file: u32,
    code: Code,
}

/// Takes stacks, and keeps what is known of the files from one to the next.
pub struct Taker<'a> {
    wanted: &'a Wanted,
    files: &'a Files<'a>,
    binaries: Binaries<'a>,
    /// Where files were, as Map events tell.
    paths: HashMap<Hash, Vec<u8>>,
    modules: HashMap<Hash, (u32, Option<Rc<Module>>)>,
    /// Executable memory by process; forgotten when a call may have changed it.
    spaces: HashMap<pid_t, Vec<Region>>,
    places: HashMap<Place, u32>,
    unwinder: Unwinder,
    frames: Vec<Frame>,
    window: Vec<u8>,
    pub stacks: Stacks,
}

impl<'a> Taker<'a> {
    #[must_use]
    pub fn new(trace: &'a Trace, files: &'a Files<'a>, wanted: &'a Wanted) -> Taker<'a> {
        Taker {
            wanted,
            files,
            binaries: Binaries::new(trace, Store::of_user()),
            paths: HashMap::new(),
            modules: HashMap::new(),
            spaces: HashMap::new(),
            places: HashMap::new(),
            unwinder: Unwinder::default(),
            frames: Vec::new(),
            window: Vec::new(),
            stacks: Stacks::default(),
        }
    }

    /// An event is about to be applied to its thread.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn before(&mut self, event: &Event<'_>, thread: Option<&mut Thread>) -> Result<(), Halt> {
        if event.kind() == EventKind::Map
            && let Some(hash) = event.captured(2, Side::In).and_then(|bytes| Hash::try_from(bytes).ok())
        {
            self.paths.entry(hash).or_insert_with(|| event.captured(0, Side::In).unwrap_or_default().to_vec());
        }
        if matches!(event.kind(), EventKind::Call | EventKind::Signal) && self.wanted.has(event.seq()) {
            let end = match thread {
                Some(thread) => self.take(thread)?,
                None => NOTHING,
            };
            self.stacks.seqs.push(event.seq());
            self.stacks.frame_end.push(self.stacks.frames.len() as u32);
            self.stacks.ends.push(end);
        }
        if changes_code(event) {
            self.spaces.clear();
        }
        Ok(())
    }

    /// Where a stopped thread is, and who called that, innermost first: return addresses.
    pub fn addresses(&mut self, (pid, tid): (pid_t, pid_t), regs: &libc::user_regs_struct) -> Vec<u64> {
        self.unwind((pid, tid), regs);
        self.frames.iter().map(|frame| frame.address).collect()
    }

    /// Appends the frames of a thread; why there are no more of them.
    fn take(&mut self, thread: &mut Thread) -> Result<u8, Halt> {
        if matches!(thread.at, At::Ended(_)) {
            return Ok(NOTHING);
        }
        if self.stacks.frames.len() >= MOST_FRAMES {
            return Ok(End::TooDeep.code());
        }
        let tid = thread.tid;
        let regs = if thread.is_borrowed() {
            *thread.registers()?
        } else {
            sys::registers(tid).map_err(|error| lost(tid, &error))?
        };
        let pid = thread.pid();
        let end = self.unwind((pid, tid), &regs);
        let regions = self.spaces.get(&pid).map(Vec::as_slice).unwrap_or_default();
        for frame in &self.frames {
            let place = place_of(frame, regions);
            let next = self.stacks.places.len() as u32;
            let number = *self.places.entry(place).or_insert(next);
            if number == next {
                self.stacks.places.push(place);
            }
            self.stacks.frames.push(number);
        }
        Ok(end.code())
    }

    /// Puts the frames of a stopped thread into `self.frames`.
    fn unwind(&mut self, (pid, tid): (pid_t, pid_t), regs: &libc::user_regs_struct) -> End {
        if !self.spaces.contains_key(&pid) {
            let regions = self.regions(pid);
            self.spaces.insert(pid, regions);
        }
        let regions = self.spaces.get(&pid).map(Vec::as_slice).unwrap_or_default();
        let registers = Registers::of(regs);
        self.frames.clear();
        let mut memory = StoppedThread::new(tid, registers.sp(), &mut self.window, regions);
        self.unwinder.unwind(registers, &mut memory, &mut self.frames)
    }

    /// The executable memory of a process, with what is known of the files behind it.
    fn regions(&mut self, pid: pid_t) -> Vec<Region> {
        let mappings = image::mappings(pid).into_iter().filter(|mapping| mapping.prot & 4 != 0);
        mappings.map(|mapping| self.region(&mapping)).collect()
    }

    fn region(&mut self, mapping: &Mapping) -> Region {
        let (start, end) = (mapping.start, mapping.start.saturating_add(mapping.length));
        let (file, module) = match self.files.hash_behind(mapping) {
            Some(hash) => self.module(hash),
            None => (NO_FILE, None),
        };
        let address = module.as_ref().and_then(|module| module.address_of(mapping.offset));
        let to_file = address.map_or(0, |address| address.wrapping_sub(start));
        let code = Code { module: module.filter(|_| address.is_some()), to_file };
        Region { start, end, offset: mapping.offset, file, code }
    }

    fn module(&mut self, hash: Hash) -> (u32, Option<Rc<Module>>) {
        if let Some(known) = self.modules.get(&hash) {
            return known.clone();
        }
        let number = self.stacks.files.len() as u32;
        let path = self.paths.get(&hash).cloned().unwrap_or_default();
        self.stacks.files.push(CodeFile { hash, path });
        let module = self.binaries.get(&hash).and_then(|binary| Module::new(Arc::new(binary))).map(Rc::new);
        self.modules.insert(hash, (number, module.clone()));
        (number, module)
    }
}

fn region_at(regions: &[Region], addr: u64) -> Option<&Region> {
    let next = regions.partition_point(|region| region.start <= addr);
    regions[..next].last().filter(|region| addr < region.end)
}

fn place_of(frame: &Frame, regions: &[Region]) -> Place {
    let bits = match frame.how {
        How::Registers => EXACT,
        How::Table => 0,
        How::Signal => EXACT | INTERRUPTED,
        How::Trampoline => EXACT | TRAMPOLINE,
        How::Guess => GUESSED,
    };
    match region_at(regions, frame.lookup()) {
        Some(region) if region.file != NO_FILE => Place {
            file: region.file,
            offset: frame.address.wrapping_sub(region.start).wrapping_add(region.offset),
            address: frame.address.wrapping_add(region.code.to_file),
            bits,
        },
        _ => Place { file: NO_FILE, offset: frame.address, address: frame.address, bits },
    }
}

/// Whether an event may change what is executable, or which file is behind it.
fn changes_code(event: &Event<'_>) -> bool {
    const EXEC: u64 = libc::PROT_EXEC as u64;
    match event.kind() {
        EventKind::Exec | EventKind::Task => true,
        EventKind::Call => match scan::name(event) {
            // Of the old i386 call the protection is in memory.
            "mmap" | "mmap2" => {
                event.arch() != 0 || event.arg(2) & EXEC != 0 || event.arg(3) & libc::MAP_FIXED as u64 != 0
            }
            "mprotect" | "pkey_mprotect" => true,
            "munmap" | "mremap" | "remap_file_pages" | "shmat" | "shmdt" => true,
            _ => false,
        },
        _ => false,
    }
}

/// Memory of a stopped thread: a window of its stack, and pieces of other memory.
struct StoppedThread<'t> {
    tid: pid_t,
    regions: &'t [Region],
    window_start: u64,
    window: &'t mut Vec<u8>,
    piece_start: u64,
    piece: Vec<u8>,
}

fn fill(tid: pid_t, addr: u64, size: usize, room: &mut Vec<u8>) {
    room.clear();
    room.reserve(size);
    let spare: &mut [MaybeUninit<u8>] = &mut room.spare_capacity_mut()[..size];
    let got = sys::read_memory(tid, addr, spare);
    // SAFETY: the kernel has written the first `got` bytes of the spare capacity.
    unsafe { room.set_len(got.min(size)) };
}

fn copy(from: &[u8], start: u64, addr: u64, buffer: &mut [u8]) -> bool {
    let Some(at) = addr.checked_sub(start).and_then(|at| usize::try_from(at).ok()) else { return false };
    let Some(bytes) = at.checked_add(buffer.len()).and_then(|end| from.get(at..end)) else { return false };
    buffer.copy_from_slice(bytes);
    true
}

impl<'t> StoppedThread<'t> {
    fn new(tid: pid_t, sp: u64, window: &'t mut Vec<u8>, regions: &'t [Region]) -> StoppedThread<'t> {
        fill(tid, sp, WINDOW, window);
        StoppedThread { tid, regions, window_start: sp, window, piece_start: 0, piece: Vec::new() }
    }
}

impl Process for StoppedThread<'_> {
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> bool {
        if copy(self.window, self.window_start, addr, buffer) || copy(&self.piece, self.piece_start, addr, buffer) {
            return true;
        }
        fill(self.tid, addr, PIECE, &mut self.piece);
        self.piece_start = addr;
        copy(&self.piece, addr, addr, buffer)
    }

    fn code_at(&mut self, addr: u64) -> Option<Code> {
        region_at(self.regions, addr).map(|region| region.code.clone())
    }
}
