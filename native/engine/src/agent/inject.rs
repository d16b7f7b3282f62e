//! Putting the agent into a new program, and a ring into a thread.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::sync::LazyLock;

use libc::pid_t;
use trace_format::ring::{
    BASE, END, FIRST_RING, KNOWN, KNOWN_BYTES, RING_BYTES, SPARE, STACK_TOP, TABLE, TEXT_BYTES, block, refuse,
};

use super::Image;
use super::remote::{self, Borrowed, Call, NAME};
use super::ring::Ring;
use crate::sys;

const AT_SYSINFO_EHDR: u64 = 33;

/// The offset of a `syscall` instruction in the kernel's vDSO: any such pair of bytes will do.
static VDSO_CALL: LazyLock<Option<u64>> = LazyLock::new(|| {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    let mut bytes = vec![0; (end - start) as usize];
    let own = std::process::id() as pid_t;
    let got = sys::read_pieces(own, &[(start, bytes.len())], &mut bytes);
    bytes[..got].windows(2).position(|pair| pair == [0x0f, 0x05]).map(|at| at as u64)
});

/// Where a process has its vDSO.
fn vdso(tid: pid_t) -> Option<u64> {
    let auxv = fs::read(format!("/proc/{tid}/auxv")).ok()?;
    let mut pairs = auxv.chunks_exact(16).map(|pair| {
        let word = |at: usize| u64::from_le_bytes(pair[at..at + 8].try_into().unwrap_or_default());
        (word(0), word(8))
    });
    pairs.find(|(key, value)| *key == AT_SYSINFO_EHDR && *value != 0).map(|(_, value)| value)
}

/// The control block of a process that has just been forked.
fn spare_block() -> Vec<u8> {
    let mut bytes = vec![0; block::BYTES as usize];
    let refuses = u64::from(refuse::ALL) << 32;
    for (offset, value) in [(block::SELF, SPARE), (block::STACK, SPARE + STACK_TOP), (block::PHASE, refuses)] {
        bytes[offset as usize..offset as usize + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// Maps the agent into a program, with a ring for the thread. `known`: descriptors whose identity is
/// known.
///
/// # Errors
/// Why not. Then the program runs without.
pub fn program(image: &Image, table: &[u8], thread: &mut Borrowed<'_>, known: &[u8]) -> io::Result<Ring> {
    let tid = thread.tid();
    let none = || io::Error::other("the process has no vDSO");
    let instruction = vdso(tid).and_then(|vdso| Some(vdso + (*VDSO_CALL)?)).ok_or_else(none)?;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE) as u64;
    let all = (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) as u64;
    let mapped = thread.bootstrap(instruction, libc::SYS_mmap, [BASE, END - BASE, all, flags, u64::MAX, 0])?;
    if mapped != BASE {
        return Err(io::Error::other("the agent's place is taken"));
    }
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
    ring_with(thread, FIRST_RING, libc::MAP_FIXED_NOREPLACE, &protections)
}

/// Gives a thread a ring of its own.
///
/// # Errors
/// Why not.
pub fn ring(thread: &mut Borrowed<'_>) -> io::Result<Ring> {
    ring_with(thread, 0, 0, &[])
}

fn ring_with(thread: &mut Borrowed<'_>, addr: u64, place: i32, more: &[Call]) -> io::Result<Ring> {
    let flags = (libc::MAP_SHARED | place) as u64;
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let mut calls = vec![
        Call::new(libc::SYS_memfd_create, &[NAME, u64::from(libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)]),
        Call::new(libc::SYS_ftruncate, &[0, RING_BYTES]).with_first(0),
        Call::new(libc::SYS_mmap, &[addr, RING_BYTES, prot, flags, 0, 0]).with_first(4),
    ];
    calls.extend(more);
    let results = thread.run(&calls)?;
    let fd = remote::result(results[0] as u64)?;
    let file = open(thread.tid(), fd);
    thread.run(&[Call::new(libc::SYS_close, &[fd])])?;
    for raw in &results[1..] {
        remote::result(*raw as u64)?;
    }
    let ring = Ring::new(&file?, results[2] as u64)?;
    thread.regs.gs_base = ring.addr;
    Ok(ring)
}

fn open(tid: pid_t, fd: u64) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(format!("/proc/{tid}/fd/{fd}"))
}
