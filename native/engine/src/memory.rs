//! What is read from a tracee's memory for one event: the captures and their bytes.
//!
//! Everything is bounded, and what could not be read is said in the capture's status instead of being left out.

use libc::pid_t;
use trace_format::event::{Side, Status};

use crate::raw::{RawCapture, RawRef};
use crate::sys;

/// Most bytes that one event may hold; the rest of a larger transfer is marked as truncated.
pub const MAX_EVENT_BYTES: usize = 32 << 20;
/// Longest string that is read (an exec argument can have 128 KiB, `MAX_ARG_STRLEN`).
const MAX_STRING: usize = 128 << 10;
/// First bite of a string; most paths are shorter.
const STRING_BITE: usize = 256;
/// Most captures of one event: their number is stored in 16 bits. A few are left for what is added at exit.
const MAX_CAPTURES: usize = (u16::MAX as usize) - 64;
const PAGE: u64 = 4096;
/// How many strings of an array are read at once, and how much of each.
const GROUP: usize = 48;
const GROUP_BITE: usize = 128;

/// Which memory is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Data {
    /// Nothing but numbers.
    None,
    /// Paths, strings and structs, but no transferred data.
    Paths,
    /// All of it.
    #[default]
    All,
}

impl Data {
    /// As the command line and the trace name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Data::None => "none",
            Data::Paths => "paths",
            Data::All => "all",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Data> {
        [Data::None, Data::Paths, Data::All].into_iter().find(|data| data.name() == name)
    }
}

/// Captures, references and bytes of one event. Reused from call to call.
#[derive(Clone, Default, Debug)]
pub struct Memory {
    pub captures: Vec<RawCapture>,
    pub refs: Vec<RawRef>,
    pub bytes: Vec<u8>,
    /// How many captures could not be read.
    pub unreadable: u32,
    /// Descriptors that the memory names; the record loop adds what they stand for.
    pub mentioned: Vec<i32>,
}

impl Memory {
    pub fn clear(&mut self) {
        self.captures.clear();
        self.refs.clear();
        self.bytes.clear();
        self.unreadable = 0;
        self.mentioned.clear();
        if self.bytes.capacity() > (1 << 20) {
            self.bytes.shrink_to(1 << 16);
        }
    }

    /// What was read of it at the entry of a call, and what that refers to.
    #[must_use]
    pub fn read(&self) -> Memory {
        let mut read = Memory { refs: self.refs.clone(), ..Memory::default() };
        let mut rest = &self.bytes[..];
        for capture in &self.captures {
            let (bytes, after) = rest.split_at(capture.len as usize);
            rest = after;
            if capture.side == Side::In {
                read.captures.push(*capture);
                read.bytes.extend_from_slice(bytes);
            }
        }
        read
    }

    /// The call failed since the kernel could not read the memory either: what is missing of it is not lost.
    pub fn excuse_unreadable(&mut self) {
        let faulty = self.captures.iter().filter(|capture| capture.status == Status::Unreadable).count();
        self.unreadable = self.unreadable.saturating_sub(faulty as u32);
    }

    /// Adds bytes that were not read from the tracee (a resolved path, an exec's environment).
    pub fn add(&mut self, slot: u8, side: Side, bytes: &[u8]) {
        self.add_at(slot, side, 0, bytes);
    }

    /// Adds bytes that the tracee has at an address.
    pub fn add_at(&mut self, slot: u8, side: Side, addr: u64, bytes: &[u8]) {
        if self.captures.len() >= usize::from(u16::MAX) {
            self.unreadable += 1;
            return;
        }
        self.bytes.extend_from_slice(bytes);
        self.captures.push(RawCapture {
            slot,
            side,
            status: Status::Whole,
            addr,
            wanted: bytes.len() as u64,
            len: bytes.len() as u32,
        });
    }

    /// Adds bytes that the kernel has put at an address, known from elsewhere.
    pub fn add_written(&mut self, slot: u8, addr: u64, bytes: &[u8]) {
        self.add_at(slot, Side::Out, addr, bytes);
    }

    /// Replaces the start of the first capture in that slot and side by bytes that were written over it.
    pub fn replace(&mut self, slot: u8, side: Side, bytes: &[u8]) {
        let mut start = 0;
        for capture in &self.captures {
            let length = capture.len as usize;
            if capture.slot == slot && capture.side == side {
                let length = length.min(bytes.len());
                self.bytes[start..start + length].copy_from_slice(&bytes[..length]);
                return;
            }
            start += length;
        }
    }

    /// The bytes of the first capture in that slot and side.
    #[must_use]
    pub fn find(&self, slot: u8, side: Side) -> Option<&[u8]> {
        let mut start = 0;
        for capture in &self.captures {
            let end = start + capture.len as usize;
            if capture.slot == slot && capture.side == side {
                return self.bytes.get(start..end);
            }
            start = end;
        }
        None
    }

    /// The bytes that were taken at `addr` at entry, in that slot.
    #[must_use]
    pub fn at_entry(&self, slot: u8, addr: u64) -> Option<&[u8]> {
        let mut start = 0;
        for capture in &self.captures {
            let end = start + capture.len as usize;
            if capture.slot == slot && capture.side == Side::In && capture.addr == addr {
                return self.bytes.get(start..end);
            }
            start = end;
        }
        None
    }

    /// The flags that a `struct clone_args` at `addr` begins with: as captured, or read again when that was left out.
    #[must_use]
    pub fn flags_of_clone3(&self, tid: pid_t, addr: u64) -> u64 {
        if let Some(captured) = self.find(0, Side::In).and_then(|bytes| bytes.get(..8)) {
            return word_of(captured);
        }
        let mut unused = Memory::default();
        Capturer { tid, word: 8, data: Data::None, memory: &mut unused }.peek_word(addr).unwrap_or(0)
    }

    /// The string (without its NUL) of the first capture in that slot at entry.
    #[must_use]
    pub fn string(&self, slot: u8) -> Option<&[u8]> {
        let bytes = self.find(slot, Side::In)?;
        Some(bytes.strip_suffix(b"\0").unwrap_or(bytes))
    }
}

/// Reads memory of one tracee into a [`Memory`].
pub struct Capturer<'a> {
    pub tid: pid_t,
    /// Size of a pointer in the tracee.
    pub word: usize,
    pub data: Data,
    pub memory: &'a mut Memory,
}

impl Capturer<'_> {
    fn push(&mut self, slot: u8, side: Side, status: Status, addr: u64, wanted: u64, len: usize) {
        if self.memory.captures.len() >= MAX_CAPTURES {
            // The capture does not fit any more: counted, and its bytes go too, or they would be taken for the next one's.
            self.memory.bytes.truncate(self.memory.bytes.len() - len);
            self.memory.unreadable += 1;
            return;
        }
        if status == Status::Unreadable {
            self.memory.unreadable += 1;
        }
        self.memory.captures.push(RawCapture { slot, side, status, addr, wanted, len: len as u32 });
    }

    /// Takes `length` bytes of a struct or another value that the call's meaning depends on.
    pub fn structure(&mut self, slot: u8, side: Side, addr: u64, length: u64) {
        self.take(slot, side, addr, length, Data::Paths);
    }

    /// Takes several structs, addresses with lengths, each a capture of its own.
    pub fn structures(&mut self, slot: u8, side: Side, all: &[(u64, u64)]) {
        let old = self.memory.bytes.len();
        let pieces: Vec<(u64, usize)> = all.iter().map(|(addr, length)| (*addr, *length as usize)).collect();
        let wanted = pieces.iter().fold(old, |sum, piece| sum.saturating_add(piece.1));
        if self.data >= Data::Paths
            && wanted <= MAX_EVENT_BYTES
            && all.iter().all(|(addr, length)| *addr > 0 && *length > 0)
        {
            let mut read = vec![0; wanted - old];
            if sys::read_pieces(self.tid, &pieces, &mut read) == read.len() {
                let mut rest = &read[..];
                for (addr, length) in pieces {
                    let (own, others) = rest.split_at(length);
                    self.memory.bytes.extend_from_slice(own);
                    self.push(slot, side, Status::Whole, addr, length as u64, length);
                    rest = others;
                }
                return;
            }
        }
        for (addr, length) in all {
            self.structure(slot, side, *addr, *length);
        }
    }

    /// Takes `length` bytes of transferred data.
    pub fn payload(&mut self, slot: u8, side: Side, addr: u64, length: u64) {
        self.take(slot, side, addr, length, Data::All);
    }

    fn take(&mut self, slot: u8, side: Side, addr: u64, length: u64, needs: Data) {
        if addr == 0 || length == 0 {
            return;
        }
        if self.data < needs {
            self.push(slot, side, Status::Omitted, addr, length, 0);
            return;
        }
        let room = MAX_EVENT_BYTES.saturating_sub(self.memory.bytes.len());
        let bounded = usize::try_from(length).unwrap_or(usize::MAX).min(room);
        let got = sys::read_behind(self.tid, addr, bounded, &mut self.memory.bytes);
        let status = if got < bounded {
            Status::Unreadable
        } else if (bounded as u64) < length {
            Status::Truncated
        } else {
            Status::Whole
        };
        self.push(slot, side, status, addr, length, got);
    }

    /// Takes a NUL-terminated string, with its NUL.
    pub fn string(&mut self, slot: u8, side: Side, addr: u64) {
        if addr == 0 {
            return;
        }
        if self.data < Data::Paths {
            self.push(slot, side, Status::Omitted, addr, 0, 0);
            return;
        }
        let old = self.memory.bytes.len();
        let mut at = addr;
        let status = loop {
            let length = self.memory.bytes.len() - old;
            if length >= MAX_STRING {
                break Status::Truncated;
            }
            // Never across a page in one bite: the next page may not be mapped.
            let to_page = PAGE - at % PAGE;
            let bite = to_page.min(if length == 0 { STRING_BITE as u64 } else { PAGE });
            let got = sys::read_behind(self.tid, at, bite as usize, &mut self.memory.bytes);
            let fresh = &self.memory.bytes[old + length..];
            if let Some(nul) = fresh.iter().position(|byte| *byte == 0) {
                self.memory.bytes.truncate(old + length + nul + 1);
                break Status::Whole;
            }
            if got < bite as usize {
                break Status::Unreadable;
            }
            at = at.wrapping_add(bite);
        };
        let length = self.memory.bytes.len() - old;
        self.push(slot, side, status, addr, length as u64, length);
    }

    /// Takes a NULL-terminated array of strings: the pointers, then each string.
    pub fn strings(&mut self, slot: u8, side: Side, addr: u64) {
        const MOST: usize = 1 << 17;
        if addr == 0 {
            return;
        }
        let mut pointers = Vec::new();
        let mut buffer = [0_u8; 512];
        let mut at = addr;
        let mut ended = false;
        let mut bites = 0;
        while !ended && pointers.len() < MOST {
            bites += 1;
            let bite = ((PAGE - at % PAGE) as usize).min(buffer.len());
            let got = self.peek(at, &mut buffer[..bite]) / self.word * self.word;
            if got == 0 {
                break;
            }
            for entry in buffer[..got].chunks_exact(self.word) {
                let pointer = word_of(entry);
                if pointer == 0 {
                    ended = true;
                    break;
                }
                pointers.push(pointer);
            }
            at = at.wrapping_add(got as u64);
        }
        // The end belongs to it, also when it is what cannot be read.
        let length = (pointers.len() + usize::from(pointers.len() < MOST)) * self.word;
        if ended && bites == 1 && self.data >= Data::Paths {
            self.memory.bytes.extend_from_slice(&buffer[..length]);
            self.push(slot, side, Status::Whole, addr, length as u64, length);
        } else {
            self.structure(slot, side, addr, length as u64);
        }
        for group in pointers.chunks(GROUP) {
            if self.memory.bytes.len() >= MAX_EVENT_BYTES || self.memory.captures.len() >= MAX_CAPTURES {
                // What is missing is said once, not for each string.
                self.memory.unreadable += 1;
                break;
            }
            self.string_group(slot, side, group);
        }
    }

    /// Takes several strings, the short ones with a single call to the kernel.
    fn string_group(&mut self, slot: u8, side: Side, pointers: &[u64]) {
        if self.data < Data::Paths {
            for pointer in pointers {
                self.string(slot, side, *pointer);
            }
            return;
        }
        let bite = |pointer: u64| ((PAGE - pointer % PAGE) as usize).min(GROUP_BITE);
        let mut sorted = [0_u64; GROUP];
        let sorted = &mut sorted[..pointers.len()];
        sorted.copy_from_slice(pointers);
        sorted.sort_unstable();
        // Strings of a new program's stack stand one behind the other: each piece costs the kernel as much as all their bytes.
        let mut pieces: Vec<(u64, usize)> = Vec::with_capacity(pointers.len());
        for &pointer in &*sorted {
            let length = bite(pointer);
            match pieces.last_mut() {
                Some((start, whole)) if pointer - *start <= *whole as u64 => {
                    *whole = (*whole).max((pointer - *start) as usize + length);
                }
                _ => pieces.push((pointer, length)),
            }
        }
        let mut buffer = [0_u8; GROUP * GROUP_BITE];
        let readable = sys::read_pieces(self.tid, &pieces, &mut buffer);
        let found = |pointer: u64| {
            let mut at = 0;
            for &(start, length) in &pieces {
                if pointer.wrapping_sub(start) < length as u64 {
                    // A piece counts only when it was read whole; the kernel stops at the first one that it cannot read.
                    let bytes = buffer[at..at + length]
                        .get((pointer - start) as usize..)
                        .filter(|_| at + length <= readable)?;
                    return bytes.iter().position(|byte| *byte == 0).map(|nul| &bytes[..=nul]);
                }
                at += length;
            }
            None
        };
        for pointer in pointers {
            match found(*pointer) {
                Some(string) => {
                    self.memory.bytes.extend_from_slice(string);
                    self.push(slot, side, Status::Whole, *pointer, string.len() as u64, string.len());
                }
                None => self.string(slot, side, *pointer),
            }
        }
    }

    /// Reads memory without keeping it; how many bytes were readable.
    pub fn peek(&self, addr: u64, buffer: &mut [u8]) -> usize {
        // SAFETY: u8 and MaybeUninit<u8> have the same layout, and only initialised bytes are ever written through it.
        let view = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [std::mem::MaybeUninit<u8>]) };
        sys::read_memory(self.tid, addr, view)
    }

    /// The 32-bit value at `addr`.
    #[must_use]
    pub fn peek_u32(&self, addr: u64) -> Option<u32> {
        let mut buffer = [0; 4];
        (addr != 0 && self.peek(addr, &mut buffer) == 4).then(|| u32::from_ne_bytes(buffer))
    }

    /// The pointer-sized value at `addr`.
    #[must_use]
    pub fn peek_word(&self, addr: u64) -> Option<u64> {
        let mut buffer = [0; 8];
        (addr != 0 && self.peek(addr, &mut buffer[..self.word]) == self.word).then(|| word_of(&buffer[..self.word]))
    }
}

/// A pointer-sized little-endian value of 4 or 8 bytes.
#[must_use]
pub fn word_of(bytes: &[u8]) -> u64 {
    let mut value = [0; 8];
    value[..bytes.len().min(8)].copy_from_slice(&bytes[..bytes.len().min(8)]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken of this process's own memory: addresses, status and bytes.
    fn taken(data: Data, all: &[(u64, u64)]) -> (Vec<(u64, Status, u32)>, Vec<u8>) {
        let mut memory = Memory::default();
        let tid = std::process::id() as pid_t;
        Capturer { tid, word: 8, data, memory: &mut memory }.structures(0, Side::Out, all);
        let captures = memory.captures.iter().map(|capture| (capture.addr, capture.status, capture.len)).collect();
        (captures, memory.bytes)
    }

    #[test]
    fn several_structs_are_taken_at_once_or_one_by_one() {
        let (one, other) = (*b"some", *b"thing else");
        let at = |bytes: &[u8]| (bytes.as_ptr() as u64, bytes.len() as u64);
        let (first, second) = (at(&one), at(&other));
        let whole = |(addr, length): (u64, u64)| (addr, Status::Whole, length as u32);
        let (captures, bytes) = taken(Data::All, &[first, second]);
        assert_eq!((captures, &bytes[..]), (vec![whole(first), whole(second)], &b"something else"[..]));
        // Nothing is mapped there: the others are still taken.
        let (captures, bytes) = taken(Data::All, &[first, (8, 16), second]);
        let expected = vec![whole(first), (8, Status::Unreadable, 0), whole(second)];
        assert_eq!((captures, &bytes[..]), (expected, &b"something else"[..]));
        let (captures, bytes) = taken(Data::None, &[first]);
        assert_eq!((captures, bytes.len()), (vec![(first.0, Status::Omitted, 0)], 0));
    }

    #[test]
    fn strings_are_taken_in_their_order_wherever_they_stand() {
        const PAGES: usize = 3 * PAGE as usize;
        // SAFETY: a new mapping, whose address the kernel chooses; it stays until the process ends.
        let start = unsafe {
            let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            libc::mmap(std::ptr::null_mut(), PAGES, prot, flags, -1, 0)
        };
        assert_ne!(start, libc::MAP_FAILED);
        // SAFETY: the last of the three pages of that mapping.
        assert_eq!(unsafe { libc::mprotect(start.byte_add(2 * PAGE as usize), PAGE as usize, libc::PROT_NONE) }, 0);
        let start = start as u64;
        let tid = std::process::id() as pid_t;
        let long = [&[b'l'; 3 * GROUP_BITE][..], b"\0"].concat();
        // One behind the other across a page, a long one, and one that nothing ends before memory does.
        let across = start + PAGE - 6;
        let cut = start + 2 * PAGE - 3;
        let all: [(u64, &[u8]); 5] =
            [(start, b"first\0"), (across, b"one\0"), (across + 4, b"three\0"), (start + 256, &long), (cut, b"cut")];
        assert!(sys::write_pieces(tid, &all));
        let order = [all[2].0, all[0].0, all[3].0, cut, all[1].0, 8, all[2].0 + 1];
        let table: Vec<u8> = order.iter().chain(&[0]).flat_map(|pointer| pointer.to_le_bytes()).collect();
        let mut memory = Memory::default();
        let mut capturer = Capturer { tid, word: 8, data: Data::All, memory: &mut memory };
        capturer.strings(1, Side::In, table.as_ptr() as u64);
        let strings: Vec<_> = memory.captures[1..].iter().map(|taken| (taken.addr, taken.status, taken.len)).collect();
        let whole = |addr, length: usize| (addr, Status::Whole, length as u32);
        let unreadable = |addr, length| (addr, Status::Unreadable, length);
        let expected = [
            whole(order[0], 6),
            whole(order[1], 6),
            whole(order[2], long.len()),
            unreadable(cut, 3),
            whole(order[4], 4),
            unreadable(8, 0),
            whole(order[6], 5),
        ];
        assert_eq!(strings, expected);
        assert_eq!(memory.bytes[table.len()..], [b"three\0first\0", &long[..], b"cutone\0hree\0"].concat());
    }
}
