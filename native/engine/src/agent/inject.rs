//! Putting the agent into a new program, and a ring into a thread; and taking it out again.

use std::fs::{File, OpenOptions};
use std::io;
use std::rc::Rc;

use libc::pid_t;
use trace_format::ring::{
    BASE, END, FIRST_RING, KNOWN, KNOWN_BYTES, RESERVED_END, RING_BYTES, RINGS, SPARE, STACK_TOP, TABLE, TEXT_BYTES,
    block, refuse,
};

use super::Image;
use super::remote::{self, Borrowed, Call, NAME};
use super::ring::{Arena, Ring};
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

/// Maps the agent into a program, with a ring for the thread. `instruction`: where a `syscall` is. `known`: descriptors whose
/// identity is known.
///
/// # Errors
/// Why not. Then the program runs without.
pub fn program(
    image: &Image,
    table: &[u8],
    thread: &mut Borrowed<'_>,
    instruction: u64,
    known: &[u8],
) -> io::Result<(Rc<Arena>, Ring)> {
    // A file that is larger than the program's files may be would have a signal sent to it, setrlimit(2).
    let rings = (sys::soft_limit(thread.tid(), sys::FILE_SIZE) / RING_BYTES).min(RINGS);
    if rings == 0 {
        return Err(io::Error::other("its files may not be as large as the agent's ring"));
    }
    // It would have less of it than without the agent.
    if sys::soft_limit(thread.tid(), sys::ADDRESS_SPACE) != libc::RLIM_INFINITY {
        return Err(io::Error::other("its memory is limited"));
    }
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE) as u64;
    let all = (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) as u64;
    let mapped = thread.bootstrap(instruction, libc::SYS_mmap, [BASE, END - BASE, all, flags, u64::MAX, 0])?;
    let filled = if mapped == BASE {
        fill(image, table, thread, known, rings)
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
fn fill(
    image: &Image,
    table: &[u8],
    thread: &mut Borrowed<'_>,
    known: &[u8],
    rings: u64,
) -> io::Result<(Rc<Arena>, Ring)> {
    let tid = thread.tid();
    let spare = spare_block();
    let pieces: [(u64, &[u8]); 5] = [
        (BASE, &image.text),
        (SPARE, &spare),
        (TABLE, table),
        (KNOWN, &known[..known.len().min(KNOWN_BYTES as usize)]),
        (NAME, b"trace\0"),
    ];
    if !pieces.iter().all(|(addr, bytes)| bytes.is_empty() || sys::write_memory(tid, *addr, bytes)) {
        return Err(io::Error::from_raw_os_error(libc::EFAULT));
    }
    let protect = |start, end, prot: i32| Call::new(libc::SYS_mprotect, &[start, end - start, prot as u64]);
    let protections = [
        protect(BASE, BASE + TEXT_BYTES, libc::PROT_READ | libc::PROT_EXEC),
        protect(TABLE, KNOWN, libc::PROT_READ),
        protect(KNOWN, END, libc::PROT_READ | libc::PROT_WRITE),
    ];
    let length = rings * RING_BYTES;
    let (file, _) = map_rings(thread, FIRST_RING, length, &protections)?;
    let first = Arena::new(file, rings).and_then(|arena| {
        let arena = Rc::new(arena);
        let ring = arena.ring().ok_or_else(|| io::Error::other("its ring cannot be mapped"))?;
        Ok((arena, ring))
    });
    match &first {
        Ok((_, ring)) => thread.regs.gs_base = ring.addr,
        Err(_) => _ = thread.run(&[Call::new(libc::SYS_munmap, &[FIRST_RING, length])]),
    }
    first
}

/// Gives a thread a ring of its own, somewhere.
///
/// # Errors
/// Why not.
pub fn ring(thread: &mut Borrowed<'_>) -> io::Result<Ring> {
    let (file, addr) = map_rings(thread, 0, RING_BYTES, &[])?;
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
    let unmap = |(start, length): (u64, u64)| Call::new(libc::SYS_munmap, &[start, length]);
    let calls: Vec<Call> = areas.map(unmap).collect();
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

/// Maps a file for rings, at an address unless that is 0, and makes more calls. The file, and where it is.
fn map_rings(thread: &mut Borrowed<'_>, addr: u64, length: u64, more: &[Call]) -> io::Result<(File, u64)> {
    let place = if addr == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
    let flags = (libc::MAP_SHARED | place) as u64;
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let mut calls = vec![
        Call::new(libc::SYS_memfd_create, &[NAME, u64::from(libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)]),
        Call::new(libc::SYS_ftruncate, &[0, length]).with_first(0),
        Call::new(libc::SYS_mmap, &[addr, length, prot, flags, 0, 0]).with_first(4),
    ];
    calls.extend(more);
    let results = thread.run(&calls)?;
    let fd = remote::result(results[0] as u64)?;
    let file = open(thread.tid(), fd);
    thread.run(&[Call::new(libc::SYS_close, &[fd])])?;
    let place = remote::result(results[2] as u64)?;
    let failed = results[1..].iter().find_map(|raw| remote::result(*raw as u64).err());
    match failed.map_or(file, Err) {
        Ok(file) => Ok((file, place)),
        Err(error) => {
            thread.run(&[Call::new(libc::SYS_munmap, &[place, length])])?;
            Err(error)
        }
    }
}

fn open(tid: pid_t, fd: u64) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(format!("/proc/{tid}/fd/{fd}"))
}
