//! Frames of programs that do not run as machine code of a file: of interpreters, by their structures in the memory of the
//! stopped process, and of compilers at run time, by the maps that they write.
//!
//! What is in that memory is whatever the program has put there: every read has a bound, every list an end.

pub mod perf_map;
pub mod python;

use std::collections::HashMap;

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
const PAGE: usize = 4096;
/// Most pages that are kept of one stop.
const MOST_PAGES: usize = 4096;

/// Memory by whole pages, each read once: for a process that does not run meanwhile.
pub struct Pages<R> {
    /// Reads a page; `false` when it is not there.
    read: R,
    pages: HashMap<u64, Option<Box<[u8; PAGE]>>>,
}

impl<R: FnMut(u64, &mut [u8; PAGE]) -> bool> Pages<R> {
    pub fn new(read: R) -> Pages<R> {
        Pages { read, pages: HashMap::new() }
    }

    fn page(&mut self, start: u64) -> Option<&[u8; PAGE]> {
        if self.pages.len() >= MOST_PAGES {
            self.pages.clear();
        }
        let read = &mut self.read;
        let page = self.pages.entry(start).or_insert_with(|| {
            let mut page = Box::new([0; PAGE]);
            read(start, &mut page).then_some(page)
        });
        page.as_deref()
    }
}

impl<R: FnMut(u64, &mut [u8; PAGE]) -> bool> Memory for Pages<R> {
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> bool {
        let mut done = 0;
        while done < buffer.len() {
            let Some(at) = addr.checked_add(done as u64) else { return false };
            let inside = (at % PAGE as u64) as usize;
            let Some(page) = self.page(at - inside as u64) else { return false };
            let length = (PAGE - inside).min(buffer.len() - done);
            buffer[done..done + length].copy_from_slice(&page[inside..inside + length]);
            done += length;
        }
        true
    }
}
