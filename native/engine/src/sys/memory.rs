//! Memory and mappings of other processes.

use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::AsRawFd as _;

use libc::{c_void, pid_t};

use super::served;
use crate::image::{self, Mapping};
use crate::layout::PAGE;
use crate::twins;

/// Reads tracee memory; the result is how many bytes from `addr` on were readable (0 when none).
pub fn read_memory(tid: pid_t, addr: u64, buffer: &mut [MaybeUninit<u8>]) -> usize {
    let mut got = 0;
    while got < buffer.len() {
        let at = addr.wrapping_add(got as u64);
        let rest = &mut buffer[got..];
        let read = read_once(tid, at, rest);
        got += read;
        if read < rest.len() {
            let forced = read_write_only(tid, at.wrapping_add(read as u64), &mut rest[read..]);
            got += forced;
            if forced == 0 {
                break;
            }
        }
    }
    got
}

/// Reads what may be read, up to what may not or is not there.
fn read_once(tid: pid_t, addr: u64, buffer: &mut [MaybeUninit<u8>]) -> usize {
    let there = served::without_asking(tid, addr, buffer.len());
    let buffer = &mut buffer[..there];
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast::<c_void>(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: addr as *mut c_void, iov_len: buffer.len() };
    // SAFETY: `local` covers `buffer`; `remote` is only an address in the other process and never dereferenced here.
    let read = unsafe { libc::process_vm_readv(tid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).unwrap_or(0)
}

/// Reads memory that may be written and not read, from `addr` to its end at most; 0 where other memory or none is. The processor lets
/// a program read it all the same, and so does the kernel in its calls: only who reads from outside is refused, but not by
/// /proc/PID/mem.
fn read_write_only(tid: pid_t, addr: u64, buffer: &mut [MaybeUninit<u8>]) -> usize {
    const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let covers = |mapping: &Mapping| addr.wrapping_sub(mapping.start) < mapping.length;
    let mapping = query_mapping(tid, addr).unwrap_or_else(|_| image::mappings(tid).into_iter().find(covers));
    let Some(mapping) = mapping.filter(|mapping| mapping.prot & READ_WRITE == libc::PROT_WRITE as u64) else {
        return 0;
    };
    let left = mapping.length.saturating_sub(addr.wrapping_sub(mapping.start));
    let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    read_as_debugger(tid, addr, &mut buffer[..length])
}

/// Reads memory whatever its protection is; the result is how many bytes.
fn read_as_debugger(tid: pid_t, addr: u64, buffer: &mut [MaybeUninit<u8>]) -> usize {
    let (Ok(file), Ok(offset)) = (File::open(format!("/proc/{tid}/mem")), libc::off_t::try_from(addr)) else {
        return 0;
    };
    let there = served::without_asking(tid, addr, buffer.len());
    let buffer = &mut buffer[..there];
    // SAFETY: the kernel writes at most as many bytes as `buffer` has.
    let read = unsafe { libc::pread(file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), offset) };
    usize::try_from(read).unwrap_or(0)
}

/// Reads memory that is kept from its program for the time being; whether all of it was there.
pub fn read_kept(tid: pid_t, addr: u64, buffer: &mut [u8]) -> bool {
    let length = buffer.len();
    // SAFETY: u8 and MaybeUninit<u8> have the same layout, and only initialised bytes are ever written through it.
    let buffer = unsafe { &mut *(&raw mut *buffer as *mut [MaybeUninit<u8>]) };
    read_as_debugger(tid, addr, buffer) == length
}

/// Appends what a part of tracee memory holds, up to what cannot be read. How many bytes those are.
pub fn read_behind(tid: pid_t, addr: u64, length: usize, bytes: &mut Vec<u8>) -> usize {
    append(length, bytes, |room| read_memory(tid, addr, room))
}

/// The same of memory that ends somewhere, and may be read up to there.
pub fn read_to_end(tid: pid_t, addr: u64, length: usize, bytes: &mut Vec<u8>) -> usize {
    append(length, bytes, |room| read_once(tid, addr, room))
}

/// Appends what is read into so much room; how many bytes those are.
fn append(length: usize, bytes: &mut Vec<u8>, read: impl FnOnce(&mut [MaybeUninit<u8>]) -> usize) -> usize {
    let filled = bytes.len();
    bytes.reserve(length);
    let room: &mut [MaybeUninit<u8>] = &mut bytes.spare_capacity_mut()[..length];
    let got = read(room);
    // SAFETY: the kernel has written the first `got` bytes of the spare capacity, which begins where the vector ends.
    unsafe { bytes.set_len(filled + got) };
    got
}

/// Reads pieces of tracee memory one behind the other; the result is how many bytes were read before the first piece that
/// could not be read. `buffer` has room for all pieces.
pub fn read_pieces(tid: pid_t, pieces: &[(u64, usize)], buffer: &mut [u8]) -> usize {
    let remote: Vec<libc::iovec> =
        pieces.iter().map(|piece| libc::iovec { iov_base: piece.0 as *mut c_void, iov_len: piece.1 }).collect();
    read_vector(tid, &remote, buffer)
}

/// As [`read_pieces`], of pieces that are addresses in the other process.
pub fn read_vector(tid: pid_t, pieces: &[libc::iovec], buffer: &mut [u8]) -> usize {
    let wanted: usize = pieces.iter().map(|piece| piece.iov_len).sum();
    assert!(wanted <= buffer.len(), "{wanted} bytes into {}", buffer.len());
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast::<c_void>(), iov_len: wanted };
    let read_all = || {
        // SAFETY: `local` covers the start of `buffer`; the pieces are addresses in the other process.
        unsafe { libc::process_vm_readv(tid, &raw const local, 1, pieces.as_ptr(), pieces.len() as libc::c_ulong, 0) }
    };
    // Else each piece is looked at.
    let got = if served::is_all_there() { usize::try_from(read_all()).unwrap_or(0) } else { 0 };
    // SAFETY: u8 and MaybeUninit<u8> have the same layout, and only initialised bytes are ever written through it.
    let buffer = unsafe { &mut *(&raw mut *buffer as *mut [MaybeUninit<u8>]) };
    let mut start = 0;
    for piece in pieces {
        let end = start + piece.iov_len;
        if got < end {
            // The first that is not there as a whole, and then those behind it.
            let read = read_memory(tid, piece.iov_base as u64, &mut buffer[start..end]);
            if read < piece.iov_len {
                return got.max(start + read);
            }
        }
        start = end;
    }
    wanted
}

/// Writes tracee memory; whether all bytes were written.
pub fn write_memory(tid: pid_t, addr: u64, bytes: &[u8]) -> bool {
    let local = libc::iovec { iov_base: bytes.as_ptr() as *mut c_void, iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: addr as *mut c_void, iov_len: bytes.len() };
    // SAFETY: `local` covers `bytes`, which the kernel only reads.
    let done = unsafe { libc::process_vm_writev(tid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(done).is_ok_and(|done| done == bytes.len())
}

/// Writes several pieces of tracee memory, at most `IOV_MAX`, with one call; whether all bytes were written.
pub fn write_pieces(tid: pid_t, pieces: &[Piece<'_>]) -> bool {
    let piece = |start: *mut c_void, bytes: &[u8]| libc::iovec { iov_base: start, iov_len: bytes.len() };
    let local: Vec<_> = pieces.iter().map(|(_, bytes)| piece(bytes.as_ptr() as *mut c_void, bytes)).collect();
    let remote: Vec<_> = pieces.iter().map(|(addr, bytes)| piece(*addr as *mut c_void, bytes)).collect();
    let (here, there, count) = (local.as_ptr(), remote.as_ptr(), pieces.len() as libc::c_ulong);
    // SAFETY: `local` covers the pieces, which the kernel only reads; the others are addresses in the other process.
    let done = unsafe { libc::process_vm_writev(tid, here, count, there, count, 0) };
    usize::try_from(done).is_ok_and(|done| done == pieces.iter().map(|(_, bytes)| bytes.len()).sum::<usize>())
}

/// `struct procmap_query` (linux/fs.h).
#[repr(C)]
#[derive(Default)]
struct MappingQuery {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

/// `PROCMAP_QUERY_COVERING_OR_NEXT_VMA` of linux/fs.h, and that with `PROCMAP_QUERY_VMA_EXECUTABLE`.
const NEXT: u64 = 0x10;
const NEXT_EXECUTABLE: u64 = NEXT | 0x04;

/// The mapping that covers `addr` in a process, or `None` when nothing is mapped there.
///
/// # Errors
/// ENOTTY when the kernel has no such query (before Linux 6.11), or as open(2).
pub fn query_mapping(tid: pid_t, addr: u64) -> io::Result<Option<Mapping>> {
    query(&File::open(format!("/proc/{tid}/maps"))?, addr, 0)
}

/// The mappings of a process that have part of one of these ranges (first address, and the one behind it), which are in order and apart.
///
/// # Errors
/// As [`query_mapping`].
pub fn query_ranges(tid: pid_t, ranges: &[(u64, u64)]) -> io::Result<Vec<Mapping>> {
    let file = File::open(format!("/proc/{tid}/maps"))?;
    let mut found: Vec<Mapping> = Vec::new();
    let mut from = 0;
    for &(start, end) in ranges {
        from = from.max(start);
        while from < end
            && let Some(mapping) = query(&file, from, NEXT)?
        {
            from = mapping.start.saturating_add(mapping.length);
            // The next one may begin in a later range.
            if mapping.start >= end {
                from = mapping.start;
                break;
            }
            found.push(mapping);
        }
    }
    Ok(found)
}

/// The executable mappings of a process in the order of their addresses, without the page that the kernel maps into all
/// (`[vsyscall]`).
///
/// # Errors
/// As [`query_mapping`].
pub fn query_executable(tid: pid_t) -> io::Result<Vec<Mapping>> {
    let file = File::open(format!("/proc/{tid}/maps"))?;
    let mut found: Vec<Mapping> = Vec::new();
    let mut from = 0;
    while let Some(mapping) = query(&file, from, NEXT_EXECUTABLE)? {
        from = mapping.start.saturating_add(mapping.length);
        found.push(mapping);
    }
    Ok(found)
}

/// Asks an open /proc/PID/maps for one mapping.
fn query(maps: &File, addr: u64, flags: u64) -> io::Result<Option<Mapping>> {
    /// `_IOWR(PROCFS_IOCTL_MAGIC 'f', 17, struct procmap_query)`.
    const PROCMAP_QUERY: libc::c_ulong = 0xc068_6611;
    let mut name = [0_u8; 4096];
    let mut query = MappingQuery {
        size: size_of::<MappingQuery>() as u64,
        query_flags: flags,
        query_addr: addr,
        vma_name_size: name.len() as u32,
        vma_name_addr: name.as_mut_ptr() as u64,
        ..MappingQuery::default()
    };
    // SAFETY: `query` is a struct procmap_query of the size that it says, and its name buffer is `name`.
    let result = unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
    if result != 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENOENT) { Ok(None) } else { Err(error) };
    }
    let length = (query.vma_name_size as usize).saturating_sub(1).min(name.len());
    Ok(Some(twins::own(Mapping {
        start: query.vma_start,
        length: query.vma_end.saturating_sub(query.vma_start),
        offset: query.vma_offset,
        prot: query.vma_flags & 7,
        shared: query.vma_flags & 8 != 0,
        dev: libc::makedev(query.dev_major, query.dev_minor),
        ino: query.inode,
        path: name[..length].to_vec(),
    })))
}

/// What is to be written, and where.
type Piece<'a> = (u64, &'a [u8]);

/// Writes memory of a stopped tracee, whose other threads are stopped too, whatever its protection is, as a debugger puts breakpoints.
/// Shared memory only where the tracee may write itself.
///
/// # Errors
/// As open(2) and write(2). What stands before the piece that cannot be written, and some behind it, may have been written.
pub fn write_code(tid: pid_t, pieces: &[Piece<'_>]) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let memory = std::fs::OpenOptions::new().write(true).open(format!("/proc/{tid}/mem"))?;
    let write = |(addr, bytes): &Piece<'_>| memory.write_all_at(bytes, *addr);
    if let [piece] = pieces {
        return write(piece);
    }
    let runs = runs_of(pieces);
    let spans: Vec<(u64, usize)> = runs.iter().filter(|run| run.len() > 1).map(|run| span_of(run)).collect();
    let mut between = vec![0; spans.iter().map(|span| span.1).sum()];
    if !spans.is_empty() && read_pieces(tid, &spans, &mut between) != between.len() {
        return pieces.iter().try_for_each(write);
    }
    let mut rest = &mut between[..];
    for run in &runs {
        if let [piece] = run[..] {
            write(&piece)?;
            continue;
        }
        let (start, length) = span_of(run);
        let (all, others) = rest.split_at_mut(length);
        for (addr, bytes) in run {
            let at = (addr - start) as usize;
            all[at..at + bytes.len()].copy_from_slice(bytes);
        }
        write(&(start, all))?;
        rest = others;
    }
    Ok(())
}

/// Pieces that are so close to each other that to write what lies between them too costs less than another call: there is no page between
/// them that would become a copy. The first ones come first.
fn runs_of<'a>(pieces: &[Piece<'a>]) -> Vec<Vec<Piece<'a>>> {
    const CLOSE: u64 = PAGE - 1;
    let mut sorted: Vec<(usize, &Piece<'a>)> = pieces.iter().enumerate().collect();
    sorted.sort_by_key(|(_, piece)| piece.0);
    let mut runs: Vec<(usize, Vec<Piece<'a>>)> = Vec::new();
    for (index, piece) in sorted {
        match runs.last_mut() {
            Some((first, run)) if run.last().and_then(|last| gap(last, piece)).is_some_and(|gap| gap <= CLOSE) => {
                *first = index.min(*first);
                run.push(*piece);
            }
            _ => runs.push((index, vec![*piece])),
        }
    }
    runs.sort_by_key(|(first, _)| *first);
    runs.into_iter().map(|(_, run)| run).collect()
}

/// The bytes between two pieces; `None` when the second begins in the first.
fn gap(first: &Piece<'_>, second: &Piece<'_>) -> Option<u64> {
    second.0.checked_sub(first.0.checked_add(first.1.len() as u64)?)
}

/// Where a run begins, and its length.
fn span_of(run: &[Piece<'_>]) -> (u64, usize) {
    let start = run.first().map_or(0, |first| first.0);
    let end = run.last().map_or(0, |(addr, bytes)| addr + bytes.len() as u64);
    (start, (end - start) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_are_close_are_written_at_once_and_nothing_between_them_changes() {
        let mut page: Vec<u8> = (0..8192_u32).map(|at| at as u8).collect();
        let start = page.as_mut_ptr() as u64;
        let far = [1_u8; 4];
        let pieces: [Piece<'_>; 5] =
            [(start + 7000, &far), (start + 40, b"ab"), (start, b"xyz"), (start + 42, b"c"), (start + 600, b"q")];
        let runs = runs_of(&pieces);
        let starts: Vec<Vec<u64>> = runs.iter().map(|run| run.iter().map(|piece| piece.0 - start).collect()).collect();
        assert_eq!(starts, [vec![7000], vec![0, 40, 42, 600]]);
        let own = std::process::id() as pid_t;
        write_code(own, &pieces).unwrap();
        let mut expected: Vec<u8> = (0..8192_u32).map(|at| at as u8).collect();
        for (addr, bytes) in pieces {
            let at = (addr - start) as usize;
            expected[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let mut now = vec![0; page.len()];
        assert!(read_kept(own, start, &mut now));
        assert_eq!(now, expected);
    }

    #[test]
    fn pieces_are_written_with_one_call_as_far_as_they_can_be() {
        let mut bytes = Box::new([0_u8; 8]);
        let (start, own) = (bytes.as_mut_ptr() as u64, std::process::id() as pid_t);
        let mut now = vec![0; bytes.len()];
        assert!(write_pieces(own, &[(start + 6, b"yz"), (start, b""), (start, b"ab")]));
        assert!(read_kept(own, start, &mut now));
        assert_eq!(now, b"ab\0\0\0\0yz");
        assert!(!write_pieces(own, &[(start, b"q"), (8, b"q")]));
    }

    #[test]
    fn pieces_that_overlap_are_written_in_their_order() {
        let mut bytes = Box::new([0_u8; 64]);
        let start = bytes.as_mut_ptr() as u64;
        let own = std::process::id() as pid_t;
        write_code(own, &[(start, b"aaaa"), (start + 2, b"bb"), (start + 4, b"c")]).unwrap();
        let mut now = vec![0; 6];
        assert!(read_kept(own, start, &mut now));
        assert_eq!(now, b"aabbc\0");
    }
}
