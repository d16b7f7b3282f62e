//! Where a thread stands that a signal has found in the agent, and how it is moved out of it.
//!
//! No signal is delivered inside the agent: the program's registers are put together from what the agent has saved, and the
//! thread stands before the call, or behind it, as it would without the agent.

use std::io;

use libc::{pid_t, user_regs_struct};
use trace_format::ring::{HEAD_BYTES, SPARE, STACK_TOP, block, frame, site};

use super::Image;
use super::ring::{Progress, Ring};
use crate::sys;

/// The control block and stack of a thread: those of its ring, or the spare ones of a process that has no ring.
#[derive(Clone, Copy)]
pub enum Block<'a> {
    Ring(&'a Ring),
    Spare(pid_t),
}

impl Block<'_> {
    fn word(&self, offset: u64) -> u64 {
        match self {
            Block::Ring(ring) => ring.head_word(offset),
            Block::Spare(tid) => {
                let mut bytes = [0; 8];
                sys::read_pieces(*tid, &[(SPARE + offset, 8)], &mut bytes);
                u64::from_le_bytes(bytes)
            }
        }
    }

    fn frame(&self, offset: u64) -> u64 {
        self.word(STACK_TOP - frame::BYTES + offset)
    }

    fn has_stack(&self, sp: u64) -> bool {
        let start = if let Block::Ring(ring) = self { ring.addr } else { SPARE };
        sp.wrapping_sub(start) < HEAD_BYTES
    }

    fn has_failed(&self, result: i64) -> bool {
        matches!(self, Block::Ring(ring) if ring.has_failed(result))
    }

    /// What lets all calls go to the engine has never made one.
    fn progress(&self) -> Progress {
        if let Block::Ring(ring) = self { ring.progress() } else { Progress::NotMade }
    }
}

/// Where a thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Outside,
    /// The agent reads a bad pointer of the program, and can go on here.
    Fault(u64),
    /// It has not made the call, and its registers are the program's.
    Entering,
    /// It has not made the call.
    Before,
    /// It has come back from the call with this raw result, and written nothing of it.
    Back(i64),
    /// The record is complete.
    Behind,
}

/// Where a thread stands that has stopped for a signal; `is_fault` when an access to memory there has raised it.
#[must_use]
pub fn place(image: &Image, block: Block<'_>, regs: &user_regs_struct, is_fault: bool) -> Place {
    let ip = regs.rip;
    if !image.covers(ip) {
        return Place::Outside;
    }
    if is_fault && let Some((_, on)) = image.faults.iter().find(|(reads, _)| *reads == ip) {
        return Place::Fault(*on);
    }
    if !image.is_within(ip) {
        return Place::Entering;
    }
    match block.progress() {
        Progress::NotMade => Place::Before,
        // Between the call and the note that it was made, its result is where the kernel has put it.
        Progress::Calling if (image.called..image.own_call).contains(&ip) => match regs.rax as i64 {
            result if block.has_failed(result) => Place::Before,
            result => Place::Back(result),
        },
        Progress::Calling => Place::Before,
        Progress::Made(result) => Place::Back(result),
        Progress::Recorded => Place::Behind,
    }
}

/// What the trampoline of the present call says of its site.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    pub after: u64,
    /// The site's own instruction in it.
    pub trap: u64,
    pub ip: u64,
    /// As in [`site::KIND`].
    kind: u64,
}

impl Site {
    fn read(tid: pid_t, addr: u64) -> io::Result<Site> {
        let mut bytes = [0; site::BYTES as usize];
        if sys::read_pieces(tid, &[(addr, bytes.len())], &mut bytes) != bytes.len() {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        let word = |offset: u64| {
            let at = offset as usize;
            u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
        };
        let place = |offset: u64| addr.wrapping_add(word(offset));
        Ok(Site { after: place(site::AFTER), trap: place(site::TRAP), ip: place(site::IP), kind: word(site::KIND) })
    }
}

/// The registers of the program at the entry of the call, with those of the trampoline.
///
/// # Errors
/// When the trampoline cannot be read.
pub fn program(
    image: &Image,
    tid: pid_t,
    own_block: Block<'_>,
    regs: &user_regs_struct,
    place: Place,
) -> io::Result<(user_regs_struct, Site)> {
    let mut own = *regs;
    if place == Place::Entering {
        let told = if image.enters_for_counter(regs.rip) { own_block.word(block::SITE) } else { regs.rcx };
        let site = Site::read(tid, told)?;
        if own_block.has_stack(regs.rsp) {
            own.rsp = own_block.word(block::SP);
        }
        own.rip = site.trap;
        return Ok((own, site));
    }
    let site = Site::read(tid, own_block.frame(frame::SITE))?;
    let word = |offset| own_block.frame(offset);
    let arg = |index: u64| own_block.frame(frame::ARGS + index * 8);
    own.rax = word(frame::RAX);
    (own.rdi, own.rsi, own.rdx, own.r10, own.r8, own.r9) = (arg(0), arg(1), arg(2), arg(3), arg(4), arg(5));
    (own.rbx, own.rbp) = (word(frame::RBX), word(frame::RBP));
    (own.r12, own.r13, own.r14, own.r15) = (word(frame::R12), word(frame::R13), word(frame::R14), word(frame::R15));
    own.eflags = word(frame::FLAGS);
    (own.rcx, own.r11) = (site.ip, own.eflags);
    if site.kind != site::SYSCALL {
        (own.rcx, own.r11) = (own_block.word(block::RCX), own_block.word(block::R11));
        if place == Place::Behind {
            // As in the frame, once the agent has come so far.
            let counter = own_block.word(block::RESULT);
            (own.rax, own.rdx) = (counter & u64::from(u32::MAX), counter >> 32);
            if site.kind == site::RDTSCP {
                own.rcx = own_block.word(block::PROCESSOR);
            }
        }
    }
    own.rsp = own_block.word(block::SP);
    own.rip = site.trap;
    Ok((own, site))
}
