//! Memory of stopped threads, by whole pages. What was asked for at one stop of a thread is read with one call at its next one:
//! threads stop again and again below the same functions, and each read of another process costs more than copying a page.

use std::collections::HashMap;

use libc::pid_t;

use crate::interpreters::{Memory, PAGE};
use crate::sys;

/// Most pages that are kept of one stop.
const MOST_PAGES: usize = 4096;
/// Most pages that are read before anybody has asked for them, and threads of which such are known.
const MOST_USUAL: usize = 256;
const MOST_THREADS: usize = 1024;

/// A page that was read.
#[derive(Clone, Copy, Debug)]
struct Page {
    start: u64,
    /// Which piece of the bytes it has; nothing when it is not there.
    slot: Option<usize>,
    is_asked_for: bool,
}

/// The memory of a thread for as long as it does not run.
#[derive(Debug, Default)]
pub struct Pages {
    tid: pid_t,
    /// By address.
    known: Vec<Page>,
    /// Index of the one that was asked for last.
    last: usize,
    bytes: Vec<u8>,
    used: usize,
    /// By thread: what its last stop has asked for.
    usual: HashMap<pid_t, Vec<u64>>,
}

impl Pages {
    /// A thread has stopped. What was known of any memory is forgotten.
    pub fn stop(&mut self, tid: pid_t) {
        self.remember();
        self.tid = tid;
        self.forget();
        let Some(usual) = self.usual.get(&tid) else { return };
        let wanted = usual.len() * PAGE;
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        let pieces: Vec<(u64, usize)> = usual.iter().map(|start| (*start, PAGE)).collect();
        // Up to the first one that is gone; those behind it are read when they are asked for.
        let got = sys::read_pieces(tid, &pieces, &mut self.bytes) / PAGE;
        let page = |(slot, start): (usize, &u64)| Page { start: *start, slot: Some(slot), is_asked_for: false };
        self.known.extend(usual[..got].iter().enumerate().map(page));
        self.used = got;
    }

    fn forget(&mut self) {
        self.known.clear();
        (self.last, self.used) = (0, 0);
    }

    fn remember(&mut self) {
        if self.tid == 0 {
            return;
        }
        if self.usual.len() >= MOST_THREADS {
            self.usual.clear();
        }
        let usual = self.usual.entry(self.tid).or_default();
        usual.clear();
        let asked = self.known.iter().filter(|page| page.is_asked_for && page.slot.is_some());
        usual.extend(asked.map(|page| page.start).take(MOST_USUAL));
    }

    fn page(&mut self, start: u64) -> Option<&[u8]> {
        if self.known.get(self.last).is_none_or(|page| page.start != start) {
            self.last = match self.known.binary_search_by_key(&start, |page| page.start) {
                Ok(index) => index,
                Err(_) => self.read_page(start),
            };
        }
        let page = &mut self.known[self.last];
        page.is_asked_for = true;
        page.slot.map(|slot| &self.bytes[slot * PAGE..(slot + 1) * PAGE])
    }

    /// Reads a page that is not known; its index.
    fn read_page(&mut self, start: u64) -> usize {
        if self.known.len() >= MOST_PAGES {
            self.forget();
        }
        let slot = self.used;
        if self.bytes.len() < (slot + 1) * PAGE {
            self.bytes.resize((slot + 1) * PAGE, 0);
        }
        let room = &mut self.bytes[slot * PAGE..(slot + 1) * PAGE];
        let is_there = sys::read_pieces(self.tid, &[(start, PAGE)], room) == PAGE;
        self.used += usize::from(is_there);
        let index = self.known.partition_point(|page| page.start < start);
        self.known.insert(index, Page { start, slot: is_there.then_some(slot), is_asked_for: false });
        index
    }
}

impl Memory for Pages {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of this process, of which the one in the middle can be taken away.
    struct Mapped(u64);

    impl Mapped {
        fn new() -> Mapped {
            let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: a new mapping, at any address.
            let at = unsafe { libc::mmap(std::ptr::null_mut(), 3 * PAGE, prot, flags, -1, 0) };
            assert_ne!(at, libc::MAP_FAILED);
            Mapped(at as u64)
        }

        fn put(&self, offset: usize, value: u8) {
            // SAFETY: inside the mapping, at a page that was not taken away, and nothing else refers to it.
            unsafe { ((self.0 as *mut u8).add(offset)).write(value) };
        }

        fn take_middle(&self) {
            // SAFETY: a page of the own mapping, which nothing refers to.
            assert_eq!(unsafe { libc::munmap((self.0 + PAGE as u64) as *mut libc::c_void, PAGE) }, 0);
        }
    }

    impl Drop for Mapped {
        fn drop(&mut self) {
            // SAFETY: the own mapping, to which nothing refers any more.
            unsafe { libc::munmap(self.0 as *mut libc::c_void, 3 * PAGE) };
        }
    }

    fn own() -> pid_t {
        std::process::id().cast_signed()
    }

    #[test]
    fn a_stop_sees_memory_as_it_is_then() {
        let mapped = Mapped::new();
        let mut pages = Pages::default();
        for value in [1, 2, 3] {
            mapped.put(PAGE - 1, value);
            mapped.put(PAGE, value + 1);
            pages.stop(own());
            assert_eq!(
                pages.half(mapped.0 + PAGE as u64 - 2),
                Some(u32::from(value) << 8 | u32::from(value + 1) << 16)
            );
            // What changes while a thread is stopped is not its own doing.
            mapped.put(PAGE, 9);
            assert_eq!(pages.byte(mapped.0 + PAGE as u64), Some(value + 1));
        }
    }

    #[test]
    fn what_was_asked_for_is_read_at_the_next_stop() {
        let mapped = Mapped::new();
        let mut pages = Pages::default();
        let at = |page: usize| mapped.0 + (page * PAGE) as u64;
        pages.stop(own());
        assert!(pages.byte(at(2)).is_some() && pages.byte(at(0)).is_some() && pages.byte(at(1)).is_some());
        pages.stop(own());
        assert_eq!(pages.used, 3);
        assert!(pages.byte(at(1)).is_some());
        pages.stop(own());
        assert_eq!(pages.known.iter().map(|page| page.start).collect::<Vec<_>>(), [at(1)]);
    }

    #[test]
    fn pages_behind_one_that_is_gone_are_read_all_the_same() {
        let mapped = Mapped::new();
        let mut pages = Pages::default();
        let at = |page: usize| mapped.0 + (page * PAGE) as u64;
        pages.stop(own());
        assert!((0..3).all(|page| pages.byte(at(page)) == Some(0)));
        mapped.take_middle();
        mapped.put(2 * PAGE, 7);
        for _ in 0..2 {
            pages.stop(own());
            assert_eq!([0, 1, 2].map(|page| pages.byte(at(page))), [Some(0), None, Some(7)]);
            assert!(!pages.read(at(1) - 1, &mut [0; 2]) && !pages.read(u64::MAX, &mut [0; 2]));
        }
    }

    #[test]
    fn what_is_kept_of_a_stop_has_a_limit() {
        let mapped = Mapped::new();
        let mut pages = Pages::default();
        pages.stop(own());
        for page in 0..3 * MOST_PAGES as u64 {
            assert_eq!(pages.byte(mapped.0), Some(0));
            let _ = pages.byte(page * PAGE as u64);
        }
        assert!(pages.known.len() <= MOST_PAGES);
        pages.stop(own());
        assert!(pages.used <= MOST_USUAL);
    }
}
