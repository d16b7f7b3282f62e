//! Which pages of a process have content: proc_pid_pagemap(5).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

use libc::pid_t;

use super::check;

const PAGE: u64 = 4096;
/// Bits of an entry: in memory, or swapped out.
const PRESENT_OR_SWAPPED: u64 = 3 << 62;
/// `PAGEMAP_SCAN`, `PAGE_IS_PRESENT` and `PAGE_IS_SWAPPED` of linux/fs.h.
const PAGEMAP_SCAN: libc::Ioctl = 0xc060_6610;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;

/// `struct pm_scan_arg` (linux/fs.h).
#[derive(Default)]
#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region` (linux/fs.h).
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// The pages of a process.
pub struct Pagemap(File);

impl Pagemap {
    /// # Errors
    /// As open(2).
    pub fn open(tid: pid_t) -> io::Result<Pagemap> {
        File::open(format!("/proc/{tid}/pagemap")).map(Pagemap)
    }

    /// The parts of a range of whole pages that are in memory or swapped out. What nobody has touched is skipped by the kernel (Linux
    /// 6.7): programs reserve terabytes.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn touched(&self, range: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        self.scan(range.clone()).or_else(|_| self.read(range))
    }

    fn scan(&self, range: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        const REGIONS: usize = 512;
        let mut regions = [Region::default(); REGIONS];
        let mut found = Vec::new();
        let mut from = range.start;
        while from < range.end {
            let mut scan = Scan {
                size: size_of::<Scan>() as u64,
                start: from,
                end: range.end,
                vec: regions.as_mut_ptr() as u64,
                vec_len: REGIONS as u64,
                category_anyof_mask: IS_PRESENT | IS_SWAPPED,
                return_mask: IS_PRESENT | IS_SWAPPED,
                ..Scan::default()
            };
            // SAFETY: the kernel reads and writes the structure, whose size it is told, and at most `vec_len` regions, which are there.
            let count = check(unsafe { libc::ioctl(self.0.as_raw_fd(), PAGEMAP_SCAN, &raw mut scan) }.into())?;
            let regions = regions.get(..count as usize).unwrap_or_default();
            for region in regions {
                add(&mut found, region.start..region.end);
            }
            if scan.walk_end <= from {
                return Err(io::ErrorKind::InvalidData.into());
            }
            from = scan.walk_end;
        }
        Ok(found)
    }

    /// By the entry of each page.
    fn read(&self, range: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        const AT_ONCE: u64 = 512 * PAGE;
        let mut entries = [0_u8; (AT_ONCE / PAGE * 8) as usize];
        let mut found = Vec::new();
        let mut from = range.start;
        while from < range.end {
            let length = (range.end - from).min(AT_ONCE);
            let entries = &mut entries[..(length / PAGE * 8) as usize];
            self.0.read_exact_at(entries, from / PAGE * 8)?;
            let (entries, _) = entries.as_chunks::<8>();
            let is_there = |entry: &[u8; 8]| u64::from_le_bytes(*entry) & PRESENT_OR_SWAPPED != 0;
            for (index, _) in entries.iter().enumerate().filter(|(_, entry)| is_there(entry)) {
                let page = from + index as u64 * PAGE;
                add(&mut found, page..page + PAGE);
            }
            from += length;
        }
        Ok(found)
    }
}

/// Adds a part behind all others, of which it may be the rest of the last one.
fn add(parts: &mut Vec<Range<u64>>, part: Range<u64>) {
    match parts.last_mut().filter(|last| last.end == part.start) {
        Some(last) => last.end = part.end,
        None => parts.push(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_is_found_in_terabytes_that_are_not() {
        const LENGTH: u64 = 1 << 43;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, whose address the kernel chooses.
        let addr = unsafe {
            libc::mmap(std::ptr::null_mut(), LENGTH as usize, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        assert_ne!(addr, libc::MAP_FAILED);
        let start = addr as u64;
        // No huge page is to hold what is near.
        // SAFETY: the mapping above.
        unsafe { libc::madvise(addr, LENGTH as usize, libc::MADV_NOHUGEPAGE) };
        let mut wanted: Vec<Range<u64>> = Vec::new();
        // More than one scan has room for, and some next to each other.
        for page in (0..1500).map(|number| number * 2).chain([1 << 28, (1 << 28) + 1, LENGTH / PAGE - 1]) {
            let at = start + page * PAGE;
            // SAFETY: a page of the mapping above, which nobody else knows.
            unsafe { std::ptr::write_volatile(at as *mut u8, 1) };
            add(&mut wanted, at..at + PAGE);
        }
        let pagemap = Pagemap::open(std::process::id() as pid_t).unwrap();
        let near = start..start + 4096 * PAGE;
        let inside =
            |range: &Range<u64>| wanted.iter().filter(|part| part.end <= range.end).cloned().collect::<Vec<_>>();
        assert_eq!(pagemap.read(near.clone()).unwrap(), inside(&near));
        match pagemap.scan(start..start + LENGTH) {
            Ok(found) => assert_eq!(found, wanted),
            // An older kernel.
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOTTY)),
        }
        assert_eq!(pagemap.touched(near.clone()).unwrap(), inside(&near));
        // SAFETY: the mapping above, of which nothing is used any more.
        unsafe { libc::munmap(addr, LENGTH as usize) };
    }
}
