//! The engine's side of one ring: its memory, and the records that come out of it.
//!
//! The tracee can write all of it at any time. What is read is copied first, and then checked.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::rc::Rc;

use std::sync::atomic::{AtomicU64, Ordering, fence};

use libc::c_int;
use trace_format::event::{Side, Status};
use trace_format::ring::{
    BUFFER_BYTES, FIRST_RING, HEAD_BYTES, RING_BYTES, RINGS, RINGS_BYTES, STACK_TOP, block, capture, files, phase,
    record, site, tries,
};

use super::window::Kind;
use crate::counter::Relation;
use crate::raw::RawCapture;
use crate::sys;

/// A ring that is mapped here and in a tracee.
pub struct Ring {
    /// Its address in the tracee.
    pub addr: u64,
    memory: Memory,
    /// The position behind the records that have been taken.
    taken: u64,
    /// The file with rings of others that it is a part of, and its number there.
    part: Option<(Rc<Arena>, u64)>,
}

/// The memory of one ring, as it is mapped here.
struct Memory {
    here: *mut u8,
    /// So many bytes of its buffer may have been written, from the start on.
    used: u64,
}

/// The file with the rings of a program, its threads and its children. All of them have it mapped at the same place.
pub struct Arena {
    file: File,
    rings: u64,
    /// Rings that nobody uses, by their number, with the memory of those that somebody has used.
    free: RefCell<Vec<(u64, Option<Memory>)>>,
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} rings are free", self.free.borrow().len())
    }
}

/// Files with rings that were made here, for one program after the other. What a ring was used for is not there any more when the next
/// program gets it.
#[derive(Default)]
pub struct Arenas(Vec<Rc<Arena>>);

impl Arenas {
    /// One that no program uses; and when there are enough of them, none.
    ///
    /// # Errors
    /// When none can be made.
    pub fn take(&mut self) -> io::Result<Option<Rc<Arena>>> {
        /// Most files, and most rings whose memory is kept when a program has ended.
        const MOST: usize = 16;
        const MOST_RINGS: usize = 4;
        let is_idle = |arena: &Rc<Arena>| Rc::strong_count(arena) == 1;
        self.0.retain(|arena| !is_idle(arena) || arena.used_rings() <= MOST_RINGS);
        if let Some(idle) = self.0.iter().find(|arena| is_idle(arena)) {
            idle.clear();
            return Ok(Some(Rc::clone(idle)));
        }
        if self.0.len() >= MOST {
            return Ok(None);
        }
        let arena = Rc::new(Arena::new(sys::memory_file(c"trace", RINGS_BYTES)?, RINGS)?);
        self.0.push(Rc::clone(&arena));
        Ok(Some(arena))
    }
}

/// Has a file keep its size: a tracee that made it smaller would have the engine fault.
fn seal(file: &File, size: u64) -> io::Result<()> {
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: takes no pointer.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if file.metadata()?.len() != size {
        return Err(io::Error::other("the agent's ring has another size"));
    }
    Ok(())
}

impl Arena {
    /// A file with room for so many rings that a tracee has mapped at [`FIRST_RING`].
    ///
    /// # Errors
    /// When it has another size or cannot be sealed.
    pub fn new(file: File, rings: u64) -> io::Result<Arena> {
        seal(&file, rings * RING_BYTES)?;
        Ok(Arena { file, rings, free: RefCell::new((0..rings).rev().map(|number| (number, None)).collect()) })
    }

    /// The file's descriptor, and what tells it from others: device and inode.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn identity(&self) -> io::Result<(c_int, (u64, u64))> {
        let meta = self.file.metadata()?;
        Ok((self.file.as_raw_fd(), (meta.dev(), meta.ino())))
    }

    /// Bytes of the file.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.rings * RING_BYTES
    }

    fn used_rings(&self) -> usize {
        self.free.borrow().iter().filter(|(_, memory)| memory.is_some()).count()
    }

    /// Forgets what its rings, which nobody uses, were used for.
    fn clear(&self) {
        for (_, memory) in &mut *self.free.borrow_mut() {
            memory.iter_mut().for_each(Memory::clear);
        }
    }

    /// A ring that nobody uses, until it is dropped; `None` when all are in use or it cannot be mapped.
    #[must_use]
    pub fn ring(self: &Rc<Arena>) -> Option<Ring> {
        let (number, memory) = self.free.borrow_mut().pop()?;
        let offset = number * RING_BYTES;
        let Some(memory) = memory.or_else(|| Memory::map(&self.file, offset).ok()) else {
            self.free.borrow_mut().push((number, None));
            return None;
        };
        let mut ring = Ring::of(memory, FIRST_RING + offset);
        ring.part = Some((Rc::clone(self), number));
        ring.renew();
        Some(ring)
    }
}

impl Ring {
    /// Maps a file of [`RING_BYTES`] that the tracee has mapped at `addr`, and writes the control block. The file keeps its
    /// size from now on.
    ///
    /// # Errors
    /// As mmap(2), or when the file has another size or cannot be sealed.
    pub fn new(file: &File, addr: u64) -> io::Result<Ring> {
        seal(file, RING_BYTES)?;
        Ok(Ring::of(Memory::map(file, 0)?, addr))
    }

    fn of(memory: Memory, addr: u64) -> Ring {
        let ring = Ring { addr, memory, taken: 0, part: None };
        ring.set_word(block::SELF, addr);
        ring.set_word(block::STACK, addr + STACK_TOP);
        ring
    }

    /// Whether it is one of an [`Arena`], which has it back when it is dropped.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.part.is_some()
    }

    fn word(&self, offset: u64) -> u64 {
        assert!(offset < RING_BYTES && offset.is_multiple_of(8), "word at {offset}");
        // SAFETY: in bounds and aligned, by the assertion; volatile, since another process writes there.
        unsafe { self.memory.here.add(offset as usize).cast::<u64>().read_volatile() }
    }

    fn set_word(&self, offset: u64, value: u64) {
        assert!(offset < RING_BYTES && offset.is_multiple_of(8), "word at {offset}");
        // SAFETY: as in `word`.
        unsafe { self.memory.here.add(offset as usize).cast::<u64>().write_volatile(value) }
    }

    fn set_half(&self, offset: u64, value: u32) {
        assert!(offset < RING_BYTES && offset.is_multiple_of(4), "half a word at {offset}");
        // SAFETY: as in `word`. The other half may be written by the tracee at the same time.
        unsafe { self.memory.here.add(offset as usize).cast::<u32>().write_volatile(value) }
    }

    /// Copies `length` bytes of records from `start` on.
    fn copy(&self, start: u64, length: u64, out: &mut Vec<u8>) {
        assert!(start <= BUFFER_BYTES && length <= BUFFER_BYTES - start, "{length} bytes at {start}");
        out.clear();
        out.reserve(length as usize);
        // SAFETY: the source is in bounds by the assertion, the target has room for it. The bytes may change while they are
        // copied, which leaves any bytes in `out`, all of which are valid.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.memory.here.add((HEAD_BYTES + start) as usize),
                out.as_mut_ptr(),
                length as usize,
            );
            out.set_len(length as usize);
        }
    }

    /// The position behind the records that are complete; `None` when the program has written there.
    fn head(&self) -> Option<u64> {
        let head = self.word(block::HEAD);
        // What is read from now on comes after that: the processor keeps the order of loads, and so does the fence.
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        Some(head).filter(|head| head.wrapping_sub(self.taken) <= BUFFER_BYTES && head.is_multiple_of(8))
    }

    /// How far it can be read now.
    #[must_use]
    pub fn end(&self) -> End {
        End(self.head().unwrap_or(u64::MAX))
    }

    /// Copies records from there on where the last ones were taken, before `end`: `most` bytes of them, or one that is longer. The last one may
    /// be cut. `None` when there are no more.
    ///
    /// # Errors
    /// When there is something else.
    pub fn read(&mut self, end: End, most: u64, out: &mut Vec<u8>) -> Result<Option<()>, Damage> {
        loop {
            let left = end.0.wrapping_sub(self.taken);
            if left == 0 {
                return Ok(None);
            }
            let start = self.taken % BUFFER_BYTES;
            let of_lap = BUFFER_BYTES - start;
            if left > BUFFER_BYTES {
                return Err(Damage);
            }
            match self.word(HEAD_BYTES + start) & 0xffff_ffff {
                record::END_OF_LAP if of_lap <= left => self.has_taken(of_lap),
                size => {
                    self.copy(start, left.min(of_lap).min(size.max(most)), out);
                    return Ok(Some(()));
                }
            }
        }
    }

    /// So many bytes have been taken: the agent may write there again.
    pub fn has_taken(&mut self, bytes: u64) {
        // A program may have put its head anywhere.
        self.taken = self.taken.wrapping_add(bytes);
        self.memory.used = self.memory.used.max(self.taken);
        // What was read there has been read.
        std::sync::atomic::fence(std::sync::atomic::Ordering::Release);
        self.set_word(block::TAKEN, self.taken);
    }

    /// Takes all records up to there, behind those in `out`, or up to the first that `stays`.
    ///
    /// # Errors
    /// When there is something else. It is not looked at again.
    pub fn take(
        &mut self,
        end: End,
        mut stays: impl FnMut(&Record<'_>) -> bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        let mut piece = Vec::new();
        while self.read(end, BUFFER_BYTES, &mut piece)?.is_some() {
            let (mut whole, mut is_last) = (0, false);
            while let Some((record, size)) = Record::parse(&piece[whole..]) {
                is_last = stays(&record);
                if is_last {
                    break;
                }
                whole += size;
            }
            if whole == 0 && !is_last {
                return Err(Damage);
            }
            out.extend_from_slice(&piece[..whole]);
            self.has_taken(whole as u64);
            if is_last {
                break;
            }
        }
        Ok(())
    }

    /// Takes what is there as taken, whatever it is.
    pub fn skip(&mut self) {
        self.taken = self.word(block::HEAD) & !7;
        self.memory.used = BUFFER_BYTES;
        self.set_word(block::TAKEN, self.taken);
    }

    #[must_use]
    pub fn has_more(&self) -> bool {
        self.head() != Some(self.taken)
    }

    /// The agent works for a recording that is to be replayed.
    pub fn set_replayable(&self) {
        self.set_half(block::REPLAYABLE, 1);
        self.set_half(block::STALE, 1);
    }

    /// How the counter is told from the clock.
    pub fn set_counter(&self, relation: Relation) {
        // At no time another one.
        self.set_word(block::COUNTER_RATE, 0);
        self.set_word(block::COUNTER, relation.counter);
        self.set_word(block::COUNTER_TIME, relation.time);
        self.set_word(block::COUNTER_RATE, relation.rate);
    }

    /// The agent may map small files by itself, or not.
    pub fn set_maps(&self, maps: bool) {
        self.set_word(block::MAPS, u64::from(maps));
    }

    /// What a path says is not the name of a file any more: the agent asks for it.
    pub fn ask_names(&self) {
        self.set_word(block::ASKS, 1);
    }

    /// Others see what is written to this file.
    pub fn see(&self, file: (u64, u64)) {
        self.add_file(block::SEEN, file);
    }

    /// The program may write to this file without a stop.
    pub fn writes(&self, file: (u64, u64)) {
        self.add_file(block::WRITTEN, file);
    }

    /// Code with jumps to the agent is in these parts of memory.
    pub fn set_code(&self, parts: &[Range<u64>]) {
        self.set_parts(block::CODE, block::CODE_PARTS, parts);
    }

    /// The kernel must not touch these parts of memory for the program.
    pub fn set_guarded(&self, parts: &[Range<u64>]) {
        self.set_parts(block::GUARDED, block::GUARDED_PARTS, parts);
    }

    fn set_parts(&self, table: u64, most: u64, parts: &[Range<u64>]) {
        for index in 0..most {
            let part = parts.get(index as usize).cloned().unwrap_or(0..0);
            let at = table + index * 16;
            // At no time more than there is, or was.
            self.set_word(at + 8, 0);
            self.set_word(at, part.start);
            self.set_word(at + 8, part.end);
        }
    }

    /// The content of a file is kept, in the state that these words tell: it is the file with that number.
    pub fn keep(&self, number: usize, words: &[u64; block::KEPT_WORDS as usize]) {
        let at = block::KEPT + number as u64 % block::KEPT_FILES * block::KEPT_WORDS * 8;
        // At no time another one.
        self.set_word(at, u64::MAX);
        for (index, word) in words.iter().enumerate().rev() {
            self.set_word(at + index as u64 * 8, *word);
        }
    }

    /// A file is the first program's output, the one with that number.
    pub fn has_output(&self, number: usize, (dev, ino): (u64, u64)) {
        let at = block::OUTPUTS + number as u64 % block::MOST_OUTPUTS * 16;
        self.set_word(at, dev);
        self.set_word(at + 8, ino);
    }

    /// To which file a path leads, by what [`block::NAMES`] has of each.
    pub fn set_name(&self, index: usize, words: &[u64; block::NAME_WORDS as usize]) {
        let at = block::NAMES + index as u64 % block::MOST_NAMES * block::NAME_WORDS * 8;
        // The number last: at no time it is that of another file.
        self.set_word(at + (block::NAME_WORDS - 1) * 8, 0);
        for (index, word) in words.iter().enumerate() {
            self.set_word(at + index as u64 * 8, *word);
        }
    }

    /// Code of this length, of a library's part from an offset on, waits with a number.
    pub fn lend(&self, number: usize, length: u64, offset: u64) {
        let at = block::TWINS_AT + number as u64 % block::TWINS * block::TWIN_BYTES;
        self.set_word(at + block::TWIN_OFFSET, offset);
        self.set_word(at + block::TWIN_MOVES, 0);
        self.set_word(at + block::TWIN_LENGTH, length);
    }

    /// For which trampolines the agent has begun to put code that waits in place of a library's, and has not written that down.
    /// Told once.
    #[must_use]
    pub fn take_moving(&self) -> Option<u64> {
        let at = |number: u64| block::TWINS_AT + number * block::TWIN_BYTES + block::TWIN_MOVES;
        let moving = (0..block::TWINS).map(at).find(|at| self.head_word(*at) != 0)?;
        let place = self.head_word(moving);
        self.set_word(moving, 0);
        Some(place)
    }

    fn add_file(&self, set: u64, (dev, ino): (u64, u64)) {
        let bit = files::bit(dev, ino);
        let offset = set + bit / 64 * 8;
        assert!(offset < HEAD_BYTES && offset.is_multiple_of(8), "word at {offset}");
        // SAFETY: in bounds and aligned, by the assertion; only accessed atomically, here and in the tracee.
        let word = unsafe { AtomicU64::from_ptr(self.memory.here.add(offset as usize).cast()) };
        word.fetch_or(1 << (bit % 64), Ordering::SeqCst);
    }

    /// Behind these reads of the counter threads have waited for others.
    pub fn set_waited(&self, counters: [u64; block::COUNTERS as usize]) {
        for (index, ip) in counters.into_iter().enumerate() {
            self.set_word(block::WAITED + index as u64 * 8, ip);
        }
    }

    /// The agent has mapped nothing last: what was there may be something else by now.
    pub fn forget_last(&self) {
        self.set_word(block::LAST + 8, 0);
        self.set_word(block::LAST, 0);
    }

    /// A handler has interrupted this place, and a thread that comes back to it goes on at the other. Zeros: that is the engine's.
    pub fn set_back(&self, place: u64, way: u64) {
        self.set_word(block::BACK, 0);
        self.set_word(block::BACK + 8, way);
        self.set_word(block::BACK, place);
    }

    /// Whether the thread has left the agent by rt_sigreturn(2) last, or was about to, and the record of that is not complete.
    #[must_use]
    pub fn is_returning(&self) -> bool {
        self.word(block::RETURNING) != 0
    }

    /// The same of a thread that stands still in the agent's code, behind the beginning of its entry: whether it has yet to make that call.
    #[must_use]
    pub fn has_yet_to_return(&self) -> bool {
        self.word(block::PHASE) as u32 == phase::RETURNING
    }

    /// The thread has left by that call.
    pub fn end_return(&self) {
        let size = self.word(block::RETURNING);
        self.set_word(block::RETURNING, 0);
        self.set_word(block::HEAD, self.word(block::HEAD).wrapping_add(size));
    }

    /// The clock is read again at the next call.
    pub fn clock_is_old(&self) {
        self.set_half(block::STALE, 1);
    }

    /// Begins at the start of the buffer again. Only when the thread stands still outside the agent, and all was taken.
    pub fn rewind(&mut self) {
        if self.taken > 0 && self.head() == Some(self.taken) {
            self.set_word(block::HEAD, 0);
            self.set_word(block::TAKEN, 0);
            self.taken = 0;
        }
    }

    /// The ring is another thread's from now on.
    pub fn renew(&mut self) {
        self.taken = 0;
        // Of a phase, and of what is refused.
        let sets = (block::SEEN..block::BYTES).step_by(8);
        let words = [block::HEAD, block::TAKEN, block::PENDING, block::PHASE, block::TRIES, block::MAPS, block::ASKS];
        for offset in words.into_iter().chain(sets) {
            self.set_word(offset, 0);
        }
    }

    /// The thread has been moved out of the agent.
    pub fn has_left(&self) {
        self.set_half(block::PHASE, phase::LEFT);
        self.set_word(block::TRIES, 0);
        // Of a call that it has not made any more.
        self.set_word(block::RETURNING, 0);
    }

    /// What the time is, for a thread that is about to go on.
    pub fn set_clock(&self, monotonic: u64) {
        self.set_word(block::CLOCK, monotonic);
    }

    /// Whether bits of `refuse` are set.
    #[must_use]
    pub fn refuses(&self) -> u32 {
        (self.word(block::PHASE) >> 32) as u32
    }

    /// Sets bits of `refuse`.
    pub fn refuse(&self, bits: u32) {
        self.set_half(block::REFUSE, bits);
    }

    /// Has the agent keep the turn no longer while a call waits. Whether it is in such a call now, out of which it has to be brought.
    #[must_use]
    pub fn ask_turn(&self) -> bool {
        self.refuse(self.refuses() | trace_format::ring::refuse::TURNS);
        // The agent says first what it does, and looks then.
        fence(Ordering::SeqCst);
        self.waits_in_turn()
    }

    /// Whether the agent is in a call that waits, and keeps the turn.
    #[must_use]
    pub fn waits_in_turn(&self) -> bool {
        self.word(block::TRIES) == tries::IN_TURN
    }

    /// How far the agent is with a call. Only of a thread that stands still.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match (self.word(block::PHASE) as u32, self.word(block::HEAD) == self.word(block::PENDING)) {
            (phase::ENTERED | phase::LEFT | phase::RETURNING, _) => Progress::NotMade,
            (phase::ANSWERING, true) => Progress::NotMade,
            (phase::CALLING, _) => Progress::Calling,
            (phase::CALLED, true) => match self.word(block::RESULT) as i64 {
                result if self.has_failed(result) => Progress::NotMade,
                result => Progress::Made(result),
            },
            _ => Progress::Recorded,
        }
    }

    /// Whether a raw result is that of another form of the call, which has done nothing. One that was interrupted is the call itself.
    #[must_use]
    pub fn has_failed(&self, result: i64) -> bool {
        const EINTR: i64 = -4;
        match self.word(block::TRIES) {
            tries::FORM => result < 0 && tries::FORM_ERRORS.contains(&result.unsigned_abs()),
            tries::NO_WAIT | tries::IN_TURN => result == 0 || result == EINTR || sys::is_restart(result),
            _ => false,
        }
    }

    /// The record of the call that is being made, with what was taken at entry.
    pub fn pending(&self, out: &mut Vec<u8>) {
        let (start, length) = self.pending_place();
        self.copy(start, length, out);
    }

    /// Where that record begins in the buffer, and its bytes: as many as it says, at most up to the buffer's end.
    fn pending_place(&self) -> (u64, u64) {
        let start = (self.word(block::PENDING) % BUFFER_BYTES) & !7;
        let room = BUFFER_BYTES - start;
        let size = if room < record::BYTES { 0 } else { self.word(HEAD_BYTES + start) & 0xffff_ffff };
        (start, size.min(room))
    }

    /// A word of the control block or the stack.
    #[must_use]
    pub fn head_word(&self, offset: u64) -> u64 {
        self.word(offset)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Some((arena, number)) = self.part.take() {
            // A call that was being made has left part of a record.
            match self.word(block::PHASE) as u32 {
                0 | phase::DONE | phase::LEFT => {}
                // It has not come back: exit(2) and the like.
                phase::CALLING => {
                    let (start, length) = self.pending_place();
                    self.memory.used = self.memory.used.max(start + length);
                }
                _ => self.memory.used = BUFFER_BYTES,
            }
            let memory = std::mem::replace(&mut self.memory, Memory::none());
            arena.free.borrow_mut().push((number, Some(memory)));
        }
    }
}

impl Memory {
    /// Maps a part of a file that keeps its size.
    fn map(file: &File, offset: u64) -> io::Result<Memory> {
        // SAFETY: a new mapping, whose address the kernel chooses; it is undone in `drop`. It is only accessed by `clear` here and
        // `word`, `set_word`, `copy` and the like of [`Ring`], never through a reference, since the tracee writes to it.
        let here = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                RING_BYTES as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if here == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Memory { here: here.cast(), used: 0 })
        }
    }

    /// Stands where there was another that is used elsewhere.
    fn none() -> Memory {
        Memory { here: std::ptr::null_mut(), used: 0 }
    }

    fn clear(&mut self) {
        let length = HEAD_BYTES + self.used.min(BUFFER_BYTES);
        if !self.here.is_null() {
            // SAFETY: mapped with [`RING_BYTES`], which is not less.
            unsafe { std::ptr::write_bytes(self.here, 0, length as usize) };
        }
        self.used = 0;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !self.here.is_null() {
            // SAFETY: mapped by `map` with that length, and nothing refers to it any more.
            unsafe { libc::munmap(self.here.cast(), RING_BYTES as usize) };
        }
    }
}

/// A position up to which a ring is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End(u64);

/// The program has written over its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage;

/// How far the agent is with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    NotMade,
    /// It is about to make the call, is in it, or has just come back.
    Calling,
    /// The call came back with this raw result, and its record is not complete.
    Made(i64),
    Recorded,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Of the call, or more than any.
    pub number: u16,
    /// Time stamp counter at entry and exit.
    pub start: u64,
    pub end: u64,
    pub result: i64,
    pub ip: u64,
    pub sp: u64,
    pub args: [u64; 6],
    /// Captures, as it says.
    pub count: u8,
    captures: &'a [u8],
}

fn word(bytes: &[u8], offset: u64) -> Option<u64> {
    let at = offset as usize;
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

impl<'a> Record<'a> {
    /// The instruction that was answered; `None` of a call.
    #[must_use]
    pub fn answers(&self) -> Option<Kind> {
        match u64::from(self.number).checked_sub(record::INSTRUCTIONS)? {
            site::RDTSC => Some(Kind::Rdtsc),
            site::RDTSCP => Some(Kind::Rdtscp),
            _ => None,
        }
    }

    /// The record at the start of `bytes`, and how many bytes it has; `None` when there is none.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<(Record<'a>, usize)> {
        let first = word(bytes, record::SIZE)?;
        let size = first as u32 as usize;
        let whole = bytes.get(..size).filter(|_| size >= record::BYTES as usize && size.is_multiple_of(8))?;
        let at = |offset| word(whole, offset).unwrap_or(0);
        let mut args = [0; 6];
        for (index, arg) in args.iter_mut().enumerate() {
            *arg = at(record::ARGS + index as u64 * 8);
        }
        let number = (first >> (record::NUMBER * 8)) as u16;
        let count = (first >> (record::CAPTURES * 8)) as u8;
        let captures = &whole[record::BYTES as usize..];
        let (start, end) = (at(record::START), at(record::END));
        let (ip, sp, result) = (at(record::IP), at(record::SP), at(record::RESULT) as i64);
        Some((Record { number, start, end, result, ip, sp, args, count, captures }, size))
    }

    /// Its captures with their bytes, as far as they are well-formed.
    pub fn captures(&self) -> impl Iterator<Item = (Captured, &'a [u8])> {
        let mut rest = self.captures;
        (0..self.count).map_while(move |_| {
            let head = rest.get(..capture::BYTES as usize)?;
            let tail = word(head, capture::LENGTH)?;
            let length = tail as u32 as usize;
            let byte = |offset: u64| (tail >> ((offset - capture::LENGTH) * 8)) as u8;
            let bytes = rest.get(capture::BYTES as usize..)?.get(..length)?;
            let (addr, wanted) = (word(head, capture::ADDR)?, word(head, capture::WANTED)?);
            let captured = match byte(capture::SLOT) {
                capture::OPENED => Captured::Opened { fd: wanted as i32, number: addr },
                capture::MAPPED => Captured::Mapped,
                capture::CONTENT => Captured::Content,
                capture::TWIN => Captured::Twin { number: wanted },
                slot if slot < 6 => {
                    let side = Side::from_code(byte(capture::SIDE)).filter(|side| *side != Side::Resolved)?;
                    let status = Status::from_code(byte(capture::STATUS))?;
                    Captured::Memory(RawCapture { slot, side, status, addr, wanted, len: length as u32 })
                }
                _ => return None,
            };
            rest = rest.get((capture::BYTES as usize + length).next_multiple_of(8)..).unwrap_or_default();
            Some((captured, bytes))
        })
    }
}

/// What a capture of a record is.
#[derive(Clone, Copy, Debug)]
pub enum Captured {
    Memory(RawCapture),
    /// What a new descriptor stands for: `struct stat` and name; or the number of that (`block::NAMES`), else 0.
    Opened {
        fd: i32,
        number: u64,
    },
    /// The file that is to be mapped: `struct stat`.
    Mapped,
    /// What is in it.
    Content,
    /// It was replaced by what was lent with this number.
    Twin {
        number: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(count: u8, captures: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0_u8; record::BYTES as usize];
        bytes.extend(captures);
        let size = bytes.len() as u32;
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        bytes[record::NUMBER as usize] = 39;
        bytes[record::CAPTURES as usize] = count;
        bytes
    }

    fn captured(slot: u8, length: u32, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 16];
        out.extend(length.to_le_bytes());
        out.extend([slot, 0, 0, 0]);
        out.extend(bytes);
        out.resize(out.len().next_multiple_of(8), 0);
        out
    }

    fn made(length: u64) -> File {
        sys::memory_file(c"ring", length).unwrap()
    }

    /// A ring with records at these positions, and the end of a lap where there is none.
    fn filled(taken: u64, records: &[u64], laps: &[u64], head: u64) -> Ring {
        let mut ring = Ring::new(&made(RING_BYTES), 0).unwrap();
        let start = |position: &u64| HEAD_BYTES + position % BUFFER_BYTES;
        let records = records.iter().map(|position| (position, record::BYTES | 39 << 32));
        for (position, word) in records.chain(laps.iter().map(|position| (position, record::END_OF_LAP))) {
            ring.set_word(start(position), word);
        }
        ring.set_word(block::HEAD, head);
        ring.taken = taken;
        ring
    }

    #[test]
    fn records_are_taken_from_lap_to_lap() {
        const SIZE: u64 = record::BYTES;
        let last = BUFFER_BYTES - 2 * SIZE;
        let mut ring =
            filled(last, &[last, BUFFER_BYTES, BUFFER_BYTES + SIZE], &[last + SIZE], BUFFER_BYTES + 2 * SIZE);
        let (end, mut bytes) = (ring.end(), Vec::new());
        assert_eq!(ring.take(end, |_| false, &mut bytes), Ok(()));
        assert_eq!((bytes.len() as u64, ring.has_more()), (3 * SIZE, false));
        assert_eq!(ring.word(block::TAKEN), BUFFER_BYTES + 2 * SIZE);
        ring.rewind();
        assert_eq!((ring.word(block::HEAD), ring.word(block::TAKEN)), (0, 0));
    }

    #[test]
    fn pieces_are_as_large_as_wanted_or_one_record() {
        const SIZE: u64 = record::BYTES;
        let mut ring = filled(0, &[0, SIZE, 2 * SIZE], &[], 3 * SIZE);
        let (end, mut bytes) = (ring.end(), Vec::new());
        for (most, length) in [(8, SIZE), (SIZE + 8, SIZE + 8), (1 << 16, 2 * SIZE)] {
            assert_eq!(ring.read(end, most, &mut bytes), Ok(Some(())));
            assert_eq!(bytes.len() as u64, length);
            if most == 8 {
                ring.has_taken(SIZE);
            }
        }
        ring.has_taken(2 * SIZE);
        assert_eq!(ring.read(end, 8, &mut bytes), Ok(None));
    }

    #[test]
    fn what_is_to_stay_is_left_for_the_next_time() {
        const SIZE: u64 = record::BYTES;
        let mut ring = filled(0, &[0, SIZE, 2 * SIZE], &[], 3 * SIZE);
        for (number, end) in [10, 20, 30].into_iter().enumerate() {
            ring.set_word(HEAD_BYTES + number as u64 * SIZE + record::END, end);
        }
        let (end, mut bytes) = (ring.end(), Vec::new());
        for (limit, taken) in [(9, 0), (20, 2 * SIZE), (29, 2 * SIZE), (u64::MAX, 3 * SIZE)] {
            assert_eq!(ring.take(end, |record| record.end > limit, &mut bytes), Ok(()));
            assert_eq!((bytes.len() as u64, ring.word(block::TAKEN)), (taken, taken));
        }
    }

    #[test]
    fn a_head_that_cannot_be_is_damage() {
        for head in [BUFFER_BYTES + 8, 4, u64::MAX] {
            let mut ring = filled(0, &[0], &[], head);
            let end = ring.end();
            assert!(ring.has_more());
            assert_eq!(ring.take(end, |_| false, &mut Vec::new()), Err(Damage));
            ring.skip();
        }
        // A lap cannot end behind the head.
        let mut ring = filled(0, &[], &[0], record::BYTES);
        let end = ring.end();
        assert_eq!(ring.take(end, |_| false, &mut Vec::new()), Err(Damage));
    }

    #[test]
    fn the_file_of_a_ring_keeps_its_size() {
        let file = made(RING_BYTES);
        let ring = Ring::new(&file, 0).unwrap();
        assert!(file.set_len(0).is_err() && file.set_len(RING_BYTES * 2).is_err());
        assert!(!ring.has_more());
        assert!(Ring::new(&made(4096), 0).is_err());
    }

    #[test]
    fn rings_of_a_program_are_used_again() {
        let file = made(5 * RING_BYTES);
        let arena = Rc::new(Arena::new(file, 5).unwrap());
        let first = arena.ring().unwrap();
        first.refuse(7);
        first.set_word(block::HEAD, 96);
        let second = arena.ring().unwrap();
        assert_eq!((first.addr, second.addr), (FIRST_RING, FIRST_RING + RING_BYTES));
        assert_eq!((second.refuses(), second.head_word(block::SELF)), (0, second.addr));
        drop(first);
        let again = arena.ring().unwrap();
        assert_eq!((again.addr, again.refuses(), again.has_more()), (FIRST_RING, 0, false));
        let others: Vec<Ring> = std::iter::from_fn(|| arena.ring()).collect();
        assert_eq!(others.len(), 3);
    }

    #[test]
    fn what_a_program_left_in_its_rings_is_cleared_as_far_as_it_goes() {
        let arena = Rc::new(Arena::new(made(RING_BYTES), 1).unwrap());
        let last = |ring: &Ring| ring.word(HEAD_BYTES + BUFFER_BYTES - 8);
        let used = || arena.free.borrow()[0].1.as_ref().unwrap().used;
        // It has ended in a call, whose record says how long it is.
        let ring = arena.ring().unwrap();
        ring.set_word(block::PENDING, 64);
        ring.set_word(block::PHASE, u64::from(phase::CALLING));
        ring.set_word(HEAD_BYTES + 64, 160);
        ring.set_word(HEAD_BYTES + 64 + 152, 7);
        drop(ring);
        assert_eq!(used(), 64 + 160);
        arena.clear();
        let ring = arena.ring().unwrap();
        assert_eq!((used_words(&ring), last(&ring)), (0, 0));
        // Nothing tells how far it was.
        ring.set_word(block::PHASE, u64::from(phase::CALLED));
        ring.set_word(HEAD_BYTES + BUFFER_BYTES - 8, 9);
        drop(ring);
        assert_eq!(used(), BUFFER_BYTES);
        arena.clear();
        let ring = arena.ring().unwrap();
        assert_eq!(last(&ring), 0);
        // A length that is more than there is.
        ring.set_word(block::PENDING, BUFFER_BYTES - 128);
        ring.set_word(block::PHASE, u64::from(phase::CALLING));
        ring.set_word(HEAD_BYTES + BUFFER_BYTES - 128, u64::from(u32::MAX));
        drop(ring);
        assert_eq!(used(), BUFFER_BYTES);
    }

    /// Words of the first page of records that are not zero.
    fn used_words(ring: &Ring) -> usize {
        (0..4096).step_by(8).filter(|offset| ring.word(HEAD_BYTES + offset) != 0).count()
    }

    #[test]
    fn records_are_read_one_behind_the_other() {
        let mut bytes = record(2, &[captured(1, 3, b"abc"), captured(capture::OPENED, 2, b"xy")].concat());
        let length = bytes.len();
        bytes.extend(record(0, &[]));
        let (first, size) = Record::parse(&bytes).unwrap();
        assert_eq!((first.number, size), (39, length));
        let found: Vec<_> = first.captures().collect();
        assert!(matches!(found[0], (Captured::Memory(RawCapture { slot: 1, len: 3, .. }), b"abc")));
        assert!(matches!(found[1], (Captured::Opened { fd: 0, .. }, b"xy")));
        assert!(Record::parse(&bytes[size..]).is_some());
    }

    #[test]
    fn what_a_program_may_have_written_there_is_not_believed() {
        assert!(Record::parse(&[0; 64]).is_none());
        let mut bytes = record(0, &[]);
        bytes[0] = 0xff;
        assert!(Record::parse(&bytes).is_none());
        bytes[..4].copy_from_slice(&97_u32.to_le_bytes());
        bytes.resize(128, 0);
        assert!(Record::parse(&bytes).is_none());
        // A capture that is longer than its record, a slot and a side that there are not.
        assert_eq!(Record::parse(&record(9, &captured(1, 900, b"abc"))).unwrap().0.captures().count(), 0);
        assert_eq!(Record::parse(&record(1, &captured(7, 3, b"abc"))).unwrap().0.captures().count(), 0);
        let mut odd = captured(1, 3, b"abc");
        odd[21] = 2;
        assert_eq!(Record::parse(&record(1, &odd)).unwrap().0.captures().count(), 0);
    }
}
