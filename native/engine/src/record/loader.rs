//! What the program loader would trap at, at each start of a program: eight time stamps that glibc's reads for its own statistics, and
//! seventy times `cpuid`.
//!
//! A site that has trapped once is known by the loader's hash and its place in the file. In the next program that has the
//! same loader, a time stamp is replaced by an instruction of the same length that leaves in place what was in its registers, before
//! the program runs: any number will do, as long as it comes again in replay; and `cpuid` by a jump to code that knows what was answered
//! (`cpuid.rs`). Few processors and fewer virtual machines let `cpuid` trap: elsewhere the sites are those that are proved in the loader's
//! file, and what glibc's asks is asked before. What was written is part of the Exec event, so replay needs to know nothing of it. A
//! program whose loader is to tell its times (LD_DEBUG) is spared nothing.

use std::collections::HashMap;
use std::fs::File;
use std::rc::Rc;

use libc::pid_t;
use object::Endianness;
use object::elf::{FileHeader64, PF_X, PT_LOAD};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use trace_format::event::slot;

use super::World;
use super::agent::Agent;
use super::cpuid::{self, Question};
use super::traps::note_blocked;
use crate::agent::twin::Instead;
use crate::cpu::features::{self, Answer};
use crate::image::Mapping;
use crate::layout::PAGE;
use crate::memory::Memory;
use crate::stack::{self, Stack};
use crate::store::Hash;
use crate::sys;
use crate::task::{Loader, Spared, Task};
use crate::trap::CPUID;
use crate::unseen;

/// `rdtsc`
const READS: [u8; LENGTH] = [0x0f, 0x31];
/// `mov eax, eax`: changes no flag, and clears the upper half of rax as `rdtsc` does. That of rdx is shifted out where the
/// two halves are put together.
const KEEPS: [u8; LENGTH] = [0x89, 0xc0];
const LENGTH: usize = 2;
/// Sites of one loader that are remembered, of each kind, and answers.
const MOST_SITES: usize = 64;
/// Loaders that are remembered.
const MOST_LOADERS: usize = 64;
/// Most code of a loader that is looked at.
const MOST_CODE: u64 = 1 << 20;

/// What is known of a loader. Places are offsets in the file.
#[derive(Default)]
pub(super) struct Sites {
    clocks: Vec<u64>,
    /// Where `cpuid` stands, and a leaf that it was asked for there, if it has been.
    asking: Vec<(u64, Option<u32>)>,
    answers: Vec<(Question, Answer)>,
    /// What is to be written in place of these, from the mapping's start on; none while it has not been made of what is known now.
    instead: Option<Rc<Instead>>,
    /// How many programs it has loaded.
    loaded: u32,
}

/// Where `cpuid` does not trap in all programs, a loader is looked into with the program that it loads after so many others: those have
/// paid what it costs to find out, had they been spared it.
const WORTH_LOOKING: u32 = 4;

impl Loader {
    /// Finds the loader of a program that has not run yet by its code, among mappings with the hashes of their files; none if it has none,
    /// its file could not be kept, or it is to tell its times, ld.so(8).
    pub(super) fn find<'a>(
        stack: Option<&Stack>,
        mappings: impl IntoIterator<Item = &'a Mapping>,
        hash: impl FnOnce(&Mapping) -> Option<Hash>,
    ) -> Option<Loader> {
        const PROT_EXEC: u64 = libc::PROT_EXEC as u64;
        let stack =
            stack.filter(|stack| !stack.env().split(|byte| *byte == 0).any(|line| line.starts_with(b"LD_DEBUG=")))?;
        let base = stack::auxiliary(stack.auxv(), libc::AT_BASE).filter(|base| *base != 0)?;
        let is_code = |mapping: &&Mapping| {
            mapping.ino != 0 && mapping.prot & PROT_EXEC != 0 && mapping.start.checked_sub(mapping.offset) == Some(base)
        };
        let code = mappings.into_iter().find(is_code)?;
        Some(Loader { hash: hash(code)?, base, start: code.start, length: code.length, offset: code.offset })
    }

    /// How many bytes of the mapping belong to the segment of the file; behind them nothing is ever used.
    fn used(&self, tid: pid_t) -> Option<usize> {
        /// Headers are at the start of the file.
        const HEADERS: usize = 4096;
        let mut headers = vec![0; HEADERS];
        let got = sys::read_pieces(tid, &[(self.base, HEADERS)], &mut headers);
        let headers = headers.get(..got)?;
        let file = FileHeader64::<Endianness>::parse(headers).ok()?;
        let endian = file.endian().ok()?;
        let segments = file.program_headers(endian, headers).ok()?;
        let code = segments.iter().find(|segment| {
            let begins = segment.p_offset(endian) & !(PAGE - 1);
            segment.p_type(endian) == PT_LOAD && segment.p_flags(endian).contains(PF_X) && begins == self.offset
        })?;
        let (offset, size) = (code.p_offset(endian), code.p_filesz(endian).max(code.p_memsz(endian)));
        let used = offset.checked_add(size)?.checked_sub(self.offset)?;
        usize::try_from(used.min(self.length)).ok()
    }

    /// Writes this in place of what a program that has not run yet has there. Whether all of it is there now.
    pub(super) fn write(&self, tid: pid_t, instead: &Instead) -> bool {
        let pieces: Vec<(u64, &[u8])> = instead.iter().map(|(at, bytes)| (self.start + at, &bytes[..])).collect();
        pieces.is_empty() || sys::write_code(tid, &pieces).is_ok()
    }

    fn holds(&self, addr: u64) -> bool {
        addr >= self.start && addr - self.start <= self.length.saturating_sub(LENGTH as u64)
    }
}

impl World {
    /// What is known of the loader of a task that has trapped at an address in it, and the place in its file.
    fn sites_at(&mut self, task: &Task, ip: u64) -> Option<(&mut Sites, u64)> {
        let loader = task.space.borrow().loader.filter(|loader| loader.holds(ip))?;
        Some((Sites::of(&mut self.loader_sites, &loader)?, loader.offset + (ip - loader.start)))
    }

    /// A task has trapped at this `rdtsc`.
    pub(super) fn remember_clock(&mut self, task: &Task, ip: u64) {
        let Some((sites, offset)) = self.sites_at(task, ip) else { return };
        if sites.clocks.len() < MOST_SITES && !sites.clocks.contains(&offset) {
            sites.clocks.push(offset);
            sites.instead = None;
        }
    }

    /// A task has trapped at this `cpuid`, and was answered.
    pub(super) fn remember_answer(&mut self, task: &Task, ip: u64, (leaf, subleaf): Question, answer: Answer) {
        let Some((sites, offset)) = self.sites_at(task, ip) else { return };
        let question = (leaf, if features::has_subleaves(leaf) { subleaf } else { 0 });
        let is_new = !sites.answers.iter().any(|(known, _)| *known == question);
        if is_new && sites.answers.len() < MOST_SITES {
            sites.answers.push((question, answer));
            sites.instead = None;
        }
        let is_known = sites.asking.iter().any(|(known, _)| *known == offset);
        if !is_known && sites.asking.len() < MOST_SITES {
            sites.asking.push((offset, Some(leaf)));
            sites.instead = None;
        }
    }

    /// Spares a new program what is known of its loader, finds out what is worth it, and adds what was written to its Exec event.
    pub(super) fn spare_loader(&mut self, task: &mut Task, loader: Loader, memory: &mut Memory) {
        let (traps_in_all, can_trap) = (self.traps_all_cpuid(), self.shown_cpu.is_some());
        if let Some(sites) = Sites::of(&mut self.loader_sites, &loader) {
            sites.loaded = sites.loaded.saturating_add(1);
            let is_worth = !traps_in_all && sites.loaded == WORTH_LOOKING;
            if is_worth && !can_trap {
                sites.look_into(self.images.open_kept(&loader.hash));
            }
            if is_worth && can_trap {
                task.traps.learns = sys::registers(task.tid).is_ok_and(|regs| World::set_cpuid(task, &regs, false));
                note_blocked(task);
            } else {
                let instead = sites.instead(task.tid, &loader);
                // It may be mapped instead.
                let has_twin = |agent: &Agent| agent.known.has_twin_with(&instead);
                let waits = self.tends && self.agent.as_ref().is_some_and(has_twin);
                let is_whole = waits || loader.write(task.tid, &instead);
                for (offset, bytes) in &*instead {
                    let (addr, mut is) = (loader.start + offset, bytes.clone());
                    // Some of them may have been written.
                    if is_whole || sys::read_pieces(task.tid, &[(addr, is.len())], &mut is) == is.len() {
                        memory.add_written(slot::LAYOUT, addr, &is);
                    }
                }
                task.space.borrow_mut().spared = Some(Spared { instead, is_written: !waits });
            }
        }
        task.space.borrow_mut().loader = Some(loader);
    }
}

impl Sites {
    /// Those of a loader; none when others are remembered already, and no more.
    fn of<'a>(all: &'a mut HashMap<Hash, Sites>, loader: &Loader) -> Option<&'a mut Sites> {
        let has_room = all.len() < MOST_LOADERS || all.contains_key(&loader.hash);
        has_room.then(|| all.entry(loader.hash).or_default())
    }

    /// Finds out where a loader asks for the processor, and what it is to be told, without a trap.
    fn look_into(&mut self, file: Option<File>) {
        let Some(asking) = file.map(|file| unseen::asking(&file)).filter(|asking| !asking.is_empty()) else { return };
        self.asking = asking.into_iter().take(MOST_SITES).map(|offset| (offset, None)).collect();
        self.answers = features::asked_by_loaders();
        self.answers.truncate(MOST_SITES);
        self.instead = None;
    }

    /// What is to stand in place of what is known, in the loader of a program that has not run yet.
    fn instead(&mut self, tid: pid_t, loader: &Loader) -> Rc<Instead> {
        let instead = self.instead.take().unwrap_or_else(|| Rc::new(self.instead_of(tid, loader)));
        self.instead = Some(Rc::clone(&instead));
        instead
    }

    /// What is to be written in place of the known sites, made of the loader of a new program which has not run yet. Addresses are from its
    /// mapping's start on.
    fn instead_of(&self, tid: pid_t, loader: &Loader) -> Instead {
        if (self.asking.is_empty() && self.clocks.is_empty()) || loader.length > MOST_CODE {
            return Vec::new();
        }
        let mut bytes = vec![0; loader.length as usize];
        let Some(used) = loader.used(tid) else { return Vec::new() };
        if sys::read_pieces(tid, &[(loader.start, bytes.len())], &mut bytes) < bytes.len() {
            return Vec::new();
        }
        let code = cpuid::Mapped { start: loader.start, bytes: &bytes, used };
        // A question that was not known has come from behind the code.
        let place = |offset: u64| offset.checked_sub(loader.offset).filter(|at| *at < used as u64);
        let stands_at = |at: u64, what: [u8; LENGTH]| bytes[at as usize..].starts_with(&what);
        let asking = self.asking.iter().filter_map(|(offset, leaf)| Some((place(*offset)?, *leaf)));
        let asking: Vec<_> =
            asking.filter(|(at, _)| stands_at(*at, CPUID)).map(|(at, leaf)| (loader.start + at, leaf)).collect();
        let written = cpuid::build(&code, &asking, &self.answers);
        let mut instead: Vec<_> = written.into_iter().map(|(addr, bytes)| (addr - loader.start, bytes)).collect();
        let clocks = self.clocks.iter().filter_map(|offset| place(*offset)).filter(|at| stands_at(*at, READS));
        instead.extend(clocks.map(|at| (at, KEEPS.to_vec())));
        instead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_loader_is_a_site() {
        let loader = Loader { hash: [1; 32], base: 0x5000, start: 0x7000, length: 0x1000, offset: 0x2000 };
        assert!(loader.holds(0x7000) && loader.holds(0x7ffe));
        assert!(!loader.holds(0x7fff) && !loader.holds(0x6fff));
    }

    #[test]
    fn what_is_put_there_is_as_long_and_changes_no_flag() {
        use iced_x86::{Code, Decoder, DecoderOptions};
        let only = |bytes: &[u8]| Decoder::new(64, bytes, DecoderOptions::NONE).decode();
        assert_eq!((only(&READS).code(), only(&READS).len()), (Code::Rdtsc, LENGTH));
        assert_eq!((only(&KEEPS).code(), only(&KEEPS).len()), (Code::Mov_rm32_r32, LENGTH));
        assert_eq!(only(&KEEPS).rflags_modified(), 0);
    }
}
