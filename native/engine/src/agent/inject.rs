//! Putting the agent into a new program, and a ring into a thread; and taking it out again.

use std::fs::{File, OpenOptions};
use std::io;
use std::rc::Rc;

use libc::pid_t;
use trace_format::ring::{
    AREA_BYTES, BASE, END, FIRST_RING, KNOWN, KNOWN_BYTES, LENT, RESERVED_END, RING_BYTES, RINGS, SPARE, STACK_TOP,
    TABLE, block, refuse,
};

use super::known::Part;
use super::remote::{self, Borrowed, Call, NAME};
use super::ring::{Arena, Arenas, Ring};
use super::twin::{self, Twin, trampolines_of};
use super::{Image, code};
use crate::sys;

/// What is not 0 of the control block of a process that has just been forked.
fn spare_block() -> Vec<u8> {
    const MEMBERS: [(u64, u64); 3] =
        [(block::SELF, SPARE), (block::STACK, SPARE + STACK_TOP), (block::PHASE, (refuse::ALL as u64) << 32)];
    let end = MEMBERS.iter().map(|(offset, _)| offset + 8).max().unwrap_or(0);
    let mut bytes = vec![0; end as usize];
    for (offset, value) in MEMBERS {
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
    /// The code that the program begins with, and what is to be mapped in its place, with an area.
    pub begins: Option<(Part, Rc<Twin>)>,
    /// What is to wait for libraries.
    pub lent: &'a [Rc<Twin>],
}

/// What has been put there.
pub struct Put {
    pub arena: Rc<Arena>,
    pub ring: Ring,
    /// The area, if it is there and no twin's.
    pub area: Option<u64>,
    /// Whether the twin is there.
    pub begins: bool,
    /// Which of those that wait are.
    pub lent: Vec<bool>,
}

/// A twin in the table of calls.
struct Lending {
    /// The call that maps its code, and where that is to be.
    call: usize,
    addr: u64,
}

/// The calls that open a file by a name, look whether it is the very one, by its struct stat that goes to an address, and otherwise leave
/// out so many calls that follow.
fn open_very(name: u64, access: i32, stat: u64, numbers: [u64; 2], skipped: usize) -> [Call; 3] {
    let flags = access | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    [
        Call::new(libc::SYS_open, &[name, flags as u64]),
        Call::new(libc::SYS_fstat, &[0, stat]).with_result(1, 0),
        Call::unless(stat, numbers, skipped),
    ]
}

/// Adds the calls that map a twin: its trampolines first, and its code only where those are, and only of the very file. With what a program
/// begins with comes the agent's code.
fn lend(calls: &mut Vec<Call>, names: &mut Vec<(u64, String)>, twin: &Twin, at: (u64, u64), flag: i32) -> Lending {
    /// Where its name goes, behind that of the rings' file, and its struct stat.
    const NAME_BYTES: u64 = 0x40;
    const STAT_BYTES: u64 = 0xa0;
    let number = names.len() as u64 + 1;
    let (name, stat) = (NAME + number * NAME_BYTES, STAT + number * STAT_BYTES);
    names.push((name, twin.name()));
    let (addr, trampolines) = at;
    let begins = flag == libc::MAP_FIXED;
    let first = calls.len();
    calls.extend(open_very(name, libc::O_RDONLY, stat, twin.numbers(), 3 + usize::from(begins)));
    calls.extend([
        twin.map_trampolines(trampolines).with_result(3, 4),
        Call::unless_result(first + 3, trampolines, 1 + usize::from(begins)),
    ]);
    if begins {
        calls.push(twin.map_agent().with_result(5, 4));
    }
    let call = calls.len();
    calls.push(twin.map_code(addr, flag).with_result(call - first, 4));
    calls.push(Call::new(libc::SYS_close, &[0]).with_result(call + 1 - first, 0));
    Lending { call, addr }
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
    let mut calls = Vec::new();
    let mut names = Vec::new();
    let begins = parts.begins.as_ref().and_then(|(part, twin)| {
        let at = (part.start, trampolines_of(part)?);
        Some(lend(&mut calls, &mut names, twin, at, libc::MAP_FIXED))
    });
    let lent: Vec<Lending> = (0..)
        .zip(parts.lent)
        .map(|(number, twin)| lend(&mut calls, &mut names, twin, twin::lent(number), libc::MAP_FIXED_NOREPLACE))
        .collect();
    let area = begins.is_none().then(|| {
        calls.extend([protect_code(), code::area(parts.area)]);
        calls.len() - 1
    });
    calls.push(protect(KNOWN, END, libc::PROT_READ | libc::PROT_WRITE));
    let spare = spare_block();
    let known = &parts.known[..parts.known.len().min(KNOWN_BYTES as usize)];
    let mut pieces: Vec<(u64, &[u8])> = vec![(SPARE, &spare), (KNOWN, known)];
    // Of code that is mapped only what maps it has to be there before.
    let own = if begins.is_some() { parts.image.begins() } else { &parts.image.text[..] };
    pieces.push((BASE, own));
    if begins.is_none() {
        pieces.push((TABLE, parts.table));
    }
    pieces.extend(names.iter().map(|(addr, name)| (*addr, name.as_bytes())));
    write(thread, &pieces)?;
    let mut done = Vec::new();
    let arena = match own_rings(parts.arenas, thread, &calls, &mut done) {
        Some(arena) => Ok(arena),
        None => new_rings(thread, &calls, &mut done),
    };
    let is_there = |lending: &Lending| done.get(lending.call).is_some_and(|mapped| *mapped as u64 == lending.addr);
    let has_begun = begins.as_ref().is_some_and(is_there);
    let lent: Vec<bool> = lent.iter().map(is_there).collect();
    let has_area = area.and_then(|call| done.get(call)).is_some_and(|mapped| *mapped as u64 == parts.area);
    let protected = done.last().map_or(Ok(0), |raw| remote::result(*raw as u64));
    let put = arena.and_then(|arena| {
        let ring = protected
            .and_then(|_| put_code(parts, thread, begins.is_some(), has_begun))
            .and_then(|()| arena.ring().ok_or_else(|| io::Error::other("its ring cannot be mapped")));
        if ring.is_err() {
            let _ = thread.run(&[unmap(FIRST_RING, arena.length())]);
        }
        Ok(Put { ring: ring?, arena, area: has_area.then_some(parts.area), begins: has_begun, lent })
    });
    if let Ok(put) = &put {
        thread.regs.gs_base = put.ring.addr;
    } else {
        take_back(parts, thread, has_begun, has_area)?;
    }
    put
}

/// Puts the agent's code there, where that was to be mapped with a twin, and is not.
fn put_code(parts: &Parts<'_>, thread: &mut Borrowed<'_>, was_to_begin: bool, has_begun: bool) -> io::Result<()> {
    if !was_to_begin || has_begun {
        return Ok(());
    }
    write(thread, &[(BASE, &parts.image.text), (TABLE, parts.table)])?;
    let done = thread.run(&[protect_code()])?;
    remote::result(done[0] as u64).map(drop)
}

/// Takes out of a program what has been mapped beside the agent's pages.
fn take_back(parts: &Parts<'_>, thread: &mut Borrowed<'_>, has_begun: bool, has_area: bool) -> io::Result<()> {
    let mut calls = vec![unmap(LENT, RESERVED_END - LENT)];
    if let Some((part, twin)) = parts.begins.as_ref().filter(|_| has_begun) {
        twin.undo(thread.tid(), part.start)?;
        calls.extend(trampolines_of(part).map(|start| unmap(start, AREA_BYTES)));
    }
    if has_area {
        calls.push(unmap(parts.area, AREA_BYTES));
    }
    thread.run(&calls).map(drop)
}

fn protect(start: u64, end: u64, prot: i32) -> Call {
    Call::new(libc::SYS_mprotect, &[start, end - start, prot as u64])
}

/// The call that lets nobody write to the agent's code and table.
fn protect_code() -> Call {
    protect(BASE, KNOWN, libc::PROT_READ | libc::PROT_EXEC)
}

fn unmap(start: u64, length: u64) -> Call {
    Call::new(libc::SYS_munmap, &[start, length])
}

fn write(thread: &Borrowed<'_>, pieces: &[(u64, &[u8])]) -> io::Result<()> {
    if sys::write_pieces(thread.tid(), pieces) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EFAULT)) }
}

/// Where the program's struct stat of the rings' file goes.
const STAT: u64 = NAME + 0x100;

/// Maps rings that others have used before, by the name that the recorder's descriptor has for all processes which may look at it, and
/// makes more calls. `None` when the program sees another file there, or none.
fn own_rings(
    arenas: &mut Arenas,
    thread: &mut Borrowed<'_>,
    more: &[Call],
    results: &mut Vec<i64>,
) -> Option<Rc<Arena>> {
    let arena = arenas.take().ok()??;
    let (fd, (dev, ino)) = arena.identity().ok()?;
    let name = format!("/proc/{}/fd/{fd}\0", std::process::id());
    write(thread, &[(NAME, name.as_bytes())]).ok()?;
    let mut calls = more.to_vec();
    calls.extend(open_very(NAME, libc::O_RDWR, STAT, [dev, ino], 1));
    let call = calls.len();
    calls.extend([map(FIRST_RING, arena.length(), 3), Call::new(libc::SYS_close, &[0]).with_result(4, 0)]);
    results.extend(thread.run(&calls).ok()?);
    let is_mapped = results.get(call).is_some_and(|mapped| *mapped as u64 == FIRST_RING);
    results.truncate(more.len());
    is_mapped.then_some(arena)
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

/// Maps the file that a call has opened, so many before this one, at an address unless that is 0.
fn map(addr: u64, length: u64, before: usize) -> Call {
    let place = if addr == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
    let flags = (libc::MAP_SHARED | place) as u64;
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    Call::new(libc::SYS_mmap, &[addr, length, prot, flags, 0, 0]).with_result(before, 4)
}

/// Maps a new file for rings, at an address unless that is 0. The file, and where it is.
fn map_rings(thread: &mut Borrowed<'_>, addr: u64, length: u64) -> io::Result<(File, u64)> {
    write(thread, &[(NAME, b"trace\0")])?;
    let calls = [
        Call::new(libc::SYS_memfd_create, &[NAME, u64::from(libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)]),
        Call::new(libc::SYS_ftruncate, &[0, length]).with_result(1, 0),
        map(addr, length, 2),
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
