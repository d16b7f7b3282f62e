//! Putting the agent into a new program, and a ring into a thread; and taking it out again.

use std::fs::{File, OpenOptions};
use std::io;
use std::rc::Rc;

use libc::pid_t;
use trace_format::ring::{
    BASE, END, FIRST_RING, KNOWN, KNOWN_BYTES, RESERVED_END, RING_BYTES, RINGS, SPARE, STACK_TOP, TABLE, block, refuse,
};

use super::remote::{self, Borrowed, Call, NAME};
use super::ring::{Arena, Arenas, Ring};
use super::{Image, code};
use crate::sys;

/// The control block of a process that has just been forked.
fn spare_block() -> Vec<u8> {
    let mut bytes = vec![0; block::BYTES as usize];
    let refuses = u64::from(refuse::ALL) << 32;
    for (offset, value) in [(block::SELF, SPARE), (block::STACK, SPARE + STACK_TOP), (block::PHASE, refuses)] {
        bytes[offset as usize..offset as usize + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// What is put into a program.
pub struct Parts<'a> {
    pub image: &'a Image,
    pub table: &'a [u8],
    /// Descriptors whose identity is known.
    pub known: &'a [u8],
    pub arenas: &'a mut Arenas,
    /// Where an area for trampolines would be good.
    pub area: u64,
}

/// What has been put there.
pub struct Put {
    pub arena: Rc<Arena>,
    pub ring: Ring,
    /// The area, if it is there.
    pub area: Option<u64>,
}

/// Maps the agent into a program, with a ring for the thread. `instruction`: where a `syscall` is.
///
/// # Errors
/// Why not. Then the program runs without.
pub fn program(parts: &mut Parts<'_>, thread: &mut Borrowed<'_>, instruction: u64) -> io::Result<Put> {
    // It would have less of it than without the agent.
    if sys::soft_limit(thread.tid(), sys::ADDRESS_SPACE) != libc::RLIM_INFINITY {
        return Err(io::Error::other("its memory is limited"));
    }
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE) as u64;
    let all = (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) as u64;
    let mapped = thread.bootstrap(instruction, libc::SYS_mmap, [BASE, END - BASE, all, flags, u64::MAX, 0])?;
    let filled = if mapped == BASE {
        fill(parts, thread)
    } else {
        // Kernels before 4.17 do not know the flag.
        Err(io::Error::other("the agent's place is taken"))
    };
    if filled.is_err() {
        let _ = thread.bootstrap(instruction, libc::SYS_munmap, [mapped, END - BASE, 0, 0, 0, 0]);
    }
    filled
}

/// Puts the agent and its rings onto its pages.
fn fill(parts: &mut Parts<'_>, thread: &mut Borrowed<'_>) -> io::Result<Put> {
    let spare = spare_block();
    let known = &parts.known[..parts.known.len().min(KNOWN_BYTES as usize)];
    let pieces: [(u64, &[u8]); 4] = [(BASE, &parts.image.text), (SPARE, &spare), (TABLE, parts.table), (KNOWN, known)];
    write(thread, &pieces)?;
    let protect = |start, end, prot: i32| Call::new(libc::SYS_mprotect, &[start, end - start, prot as u64]);
    let more = [
        protect(BASE, KNOWN, libc::PROT_READ | libc::PROT_EXEC),
        protect(KNOWN, END, libc::PROT_READ | libc::PROT_WRITE),
        code::area(parts.area),
    ];
    let mut done = Vec::new();
    let arena = match own_rings(parts.arenas, thread, &more, &mut done) {
        Some(arena) => Ok(arena),
        None => new_rings(thread, &more, &mut done),
    };
    let area = done.get(2).filter(|mapped| **mapped as u64 == parts.area).map(|_| parts.area);
    let put = arena.and_then(|arena| {
        let failed = done.iter().take(2).find_map(|raw| remote::result(*raw as u64).err());
        let ring =
            failed.map_or_else(|| arena.ring().ok_or_else(|| io::Error::other("its ring cannot be mapped")), Err);
        if ring.is_err() {
            let _ = thread.run(&[unmap(FIRST_RING, arena.length())]);
        }
        Ok(Put { ring: ring?, arena, area })
    });
    match &put {
        Ok(put) => thread.regs.gs_base = put.ring.addr,
        Err(_) => {
            if let Some(area) = area {
                let _ = thread.run(&[unmap(area, code::AREA_BYTES)]);
            }
        }
    }
    put
}

fn unmap(start: u64, length: u64) -> Call {
    Call::new(libc::SYS_munmap, &[start, length])
}

fn write(thread: &Borrowed<'_>, pieces: &[(u64, &[u8])]) -> io::Result<()> {
    if sys::write_pieces(thread.tid(), pieces) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EFAULT)) }
}

/// Maps rings that others have used before, by the name that the recorder's descriptor has for all processes which may look at it, and
/// makes more calls. `None` when the program sees another file there, or none.
fn own_rings(
    arenas: &mut Arenas,
    thread: &mut Borrowed<'_>,
    more: &[Call],
    results: &mut Vec<i64>,
) -> Option<Rc<Arena>> {
    /// Where the program's struct stat goes; device and inode in it.
    const STAT: u64 = NAME + 0x100;
    const NUMBERS: usize = 16;
    let arena = arenas.take().ok()??;
    let (fd, (dev, ino)) = arena.identity().ok()?;
    let name = format!("/proc/{}/fd/{fd}\0", std::process::id());
    write(thread, &[(NAME, name.as_bytes())]).ok()?;
    let flags = libc::O_RDWR | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut calls = vec![
        Call::new(libc::SYS_open, &[NAME, flags as u64]),
        Call::new(libc::SYS_fstat, &[0, STAT]).with_first(0),
        map(FIRST_RING, arena.length()),
        Call::new(libc::SYS_close, &[0]).with_first(0),
    ];
    let own = calls.len();
    calls.extend(more);
    let mut raw = thread.run(&calls).ok()?;
    let mut numbers = [0; NUMBERS];
    let is_read = sys::read_pieces(thread.tid(), &[(STAT, NUMBERS)], &mut numbers) == NUMBERS;
    let is_it = is_read && numbers == [dev.to_le_bytes(), ino.to_le_bytes()].concat()[..];
    let is_mapped = raw[2] as u64 == FIRST_RING;
    results.extend(raw.split_off(own));
    if is_it && is_mapped && raw[1] == 0 {
        return Some(arena);
    }
    if is_mapped {
        let _ = thread.run(&[unmap(FIRST_RING, arena.length())]);
    }
    None
}

/// Maps a new file with rings, which the program makes itself. `more`: calls that are made when there are no results of them yet.
fn new_rings(thread: &mut Borrowed<'_>, more: &[Call], results: &mut Vec<i64>) -> io::Result<Rc<Arena>> {
    // A file that is larger than the program's files may be would have a signal sent to it, setrlimit(2).
    let rings = (sys::soft_limit(thread.tid(), sys::FILE_SIZE) / RING_BYTES).min(RINGS);
    if rings == 0 {
        return Err(io::Error::other("its files may not be as large as the agent's ring"));
    }
    let length = rings * RING_BYTES;
    if results.is_empty() {
        results.extend(thread.run(more)?);
    }
    let (file, _) = map_rings(thread, FIRST_RING, length)?;
    let arena = Arena::new(file, rings);
    if arena.is_err() {
        let _ = thread.run(&[unmap(FIRST_RING, length)]);
    }
    arena.map(Rc::new)
}

/// Gives a thread a ring of its own, somewhere.
///
/// # Errors
/// Why not.
pub fn ring(thread: &mut Borrowed<'_>) -> io::Result<Ring> {
    let (file, addr) = map_rings(thread, 0, RING_BYTES)?;
    let ring = Ring::new(&file, addr)?;
    thread.regs.gs_base = ring.addr;
    Ok(ring)
}

/// Takes everything out of a process that was ever put there, and the register of this thread, so that its memory is what it would
/// be without. The code has been restored. `areas` is all that is mapped but the agent itself, `instruction` is where a `syscall` is.
///
/// # Errors
/// Why not: then pages stay that are of no use.
pub fn remove(thread: &mut Borrowed<'_>, instruction: u64, areas: impl Iterator<Item = (u64, u64)>) -> io::Result<()> {
    /// As many as fit into one run.
    const MOST: usize = 16;
    let calls: Vec<Call> = areas.map(|(start, length)| unmap(start, length)).collect();
    for calls in calls.chunks(MOST) {
        for raw in thread.run(calls)? {
            remote::result(raw as u64)?;
        }
    }
    thread.bootstrap(instruction, libc::SYS_munmap, [BASE, END - BASE, 0, 0, 0, 0])?;
    if (BASE..RESERVED_END).contains(&thread.regs.gs_base) {
        thread.regs.gs_base = 0;
    }
    Ok(())
}

/// Maps the file that the first call of a run has opened, at an address unless that is 0.
fn map(addr: u64, length: u64) -> Call {
    let place = if addr == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
    let flags = (libc::MAP_SHARED | place) as u64;
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    Call::new(libc::SYS_mmap, &[addr, length, prot, flags, 0, 0]).with_first(4)
}

/// Maps a new file for rings, at an address unless that is 0. The file, and where it is.
fn map_rings(thread: &mut Borrowed<'_>, addr: u64, length: u64) -> io::Result<(File, u64)> {
    write(thread, &[(NAME, b"trace\0")])?;
    let calls = [
        Call::new(libc::SYS_memfd_create, &[NAME, u64::from(libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)]),
        Call::new(libc::SYS_ftruncate, &[0, length]).with_first(0),
        map(addr, length),
    ];
    let results = thread.run(&calls)?;
    let fd = remote::result(results[0] as u64)?;
    let file = open(thread.tid(), fd);
    thread.run(&[Call::new(libc::SYS_close, &[fd])])?;
    let place = remote::result(results[2] as u64)?;
    let failed = results[1..].iter().find_map(|raw| remote::result(*raw as u64).err());
    match failed.map_or(file, Err) {
        Ok(file) => Ok((file, place)),
        Err(error) => {
            thread.run(&[unmap(place, length)])?;
            Err(error)
        }
    }
}

fn open(tid: pid_t, fd: u64) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(format!("/proc/{tid}/fd/{fd}"))
}
