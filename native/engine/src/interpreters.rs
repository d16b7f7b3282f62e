//! Frames of programs that do not run as machine code of a file: of interpreters, by their structures in the memory of the
//! stopped process, and of compilers at run time, by the maps that they write.
//!
//! What is in that memory is whatever the program has put there: every read has a bound, every list an end.

pub mod perf_map;
pub mod python;

use std::collections::BTreeMap;

/// Memory of a process.
pub trait Memory {
    /// Reads memory; `false` when not all of it is there.
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> bool;

    fn word(&mut self, addr: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(addr, &mut bytes).then(|| u64::from_le_bytes(bytes))
    }

    fn half(&mut self, addr: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(addr, &mut bytes).then(|| u32::from_le_bytes(bytes))
    }

    fn byte(&mut self, addr: u64) -> Option<u8> {
        let mut bytes = [0; 1];
        self.read(addr, &mut bytes).then(|| bytes[0])
    }
}

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Most pages that are kept.
const MOST_PAGES: usize = 4096;

/// Bytes of memory that are kept or not, together.
const LINE: usize = 64;

/// A page, unless it is not there, and a bit for each line of it that was read.
type TouchedPage = (Option<Box<[u8; PAGE]>>, u64);

/// Memory that remembers what was read of it.
pub struct Touched<R> {
    read: R,
    /// By address.
    pages: BTreeMap<u64, TouchedPage>,
    /// Lines that may still be read.
    left: usize,
}

impl<R: FnMut(u64, &mut [u8; PAGE]) -> bool> Touched<R> {
    /// `most`: so many bytes may be read; further reads fail.
    pub fn new(most: usize, read: R) -> Touched<R> {
        Touched { read, pages: BTreeMap::new(), left: most / LINE }
    }

    /// What was read, by address.
    pub fn pieces(&self, mut piece: impl FnMut(u64, &[u8])) {
        for (start, (page, lines)) in &self.pages {
            let Some(page) = page else { continue };
            for (index, line) in page.chunks_exact(LINE).enumerate() {
                if lines >> index & 1 == 1 {
                    piece(start + (index * LINE) as u64, line);
                }
            }
        }
    }
}

impl<R: FnMut(u64, &mut [u8; PAGE]) -> bool> Memory for Touched<R> {
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> bool {
        let mut done = 0;
        while done < buffer.len() {
            let Some(at) = addr.checked_add(done as u64) else { return false };
            let inside = (at % PAGE as u64) as usize;
            let start = at - inside as u64;
            if !self.pages.contains_key(&start) && self.pages.len() >= MOST_PAGES {
                return false;
            }
            let read = &mut self.read;
            let (page, lines) = self.pages.entry(start).or_insert_with(|| {
                let mut page = Box::new([0; PAGE]);
                (read(start, &mut page).then_some(page), 0)
            });
            let Some(page) = page else { return false };
            let length = (PAGE - inside).min(buffer.len() - done);
            for line in inside / LINE..=(inside + length - 1) / LINE {
                if *lines >> line & 1 == 0 {
                    let Some(left) = self.left.checked_sub(1) else { return false };
                    self.left = left;
                    *lines |= 1 << line;
                }
            }
            buffer[done..done + length].copy_from_slice(&page[inside..inside + length]);
            done += length;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_known_by_lines() {
        let page = |addr: u64, page: &mut [u8; PAGE]| {
            page.fill((addr / PAGE as u64) as u8);
            addr < 0x4000
        };
        let mut memory = Touched::new(4 * LINE, page);
        let mut room = [0; 100];
        assert!(memory.read(0x1fd0, &mut room));
        assert_eq!((room[0x2f], room[0x30]), (1, 2));
        assert!(memory.read(0x2000, &mut room[..8]) && !memory.read(0x4000, &mut room[..8]));
        // Two lines are left.
        assert!(memory.read(0x3000, &mut room) && !memory.read(0x3080, &mut room[..1]));
        let mut pieces = Vec::new();
        memory.pieces(|start, bytes| pieces.push((start, bytes[0])));
        assert_eq!(pieces, [(0x1fc0, 1), (0x2000, 2), (0x3000, 3), (0x3040, 3)]);
    }
}
