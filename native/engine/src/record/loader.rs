//! What the program loader would trap at, at each start of a program: eight time stamps that glibc's reads for its own statistics, and
//! seventy times `cpuid`.
//!
//! A site that has trapped once is known by the loader's hash and its place in the file. In the next program that has the
//! same loader, a time stamp is replaced by an instruction of the same length that leaves in place what was in its registers, before
//! the program runs: any number will do, as long as it comes again in replay; and `cpuid` by a jump to code that knows what was answered
//! (`cpuid.rs`). What was written is part of the Exec event, so replay needs to know nothing of it. A program whose loader is to tell
//! its times (LD_DEBUG) traps.

use libc::pid_t;
use object::Endianness;
use object::elf::{FileHeader64, PF_X, PT_LOAD};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use trace_format::event::slot;

use super::World;
use super::cpuid::{self, Question};
use super::traps::note_blocked;
use crate::cpu::features::{self, Answer};
use crate::image::Mapping;
use crate::layout::PAGE;
use crate::memory::Memory;
use crate::stack::{self, Stack};
use crate::store::Hash;
use crate::sys;
use crate::task::{Loader, Task};

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
    /// Where `cpuid` stands, and a leaf that it was asked for there.
    asking: Vec<(u64, u32)>,
    answers: Vec<(Question, Answer)>,
    /// What is to be written so that these are answered, from the mapping's start on; none while it has not been made of the present
    /// sites and answers.
    answering: Option<Vec<(u64, Vec<u8>)>>,
    /// How many programs it has loaded, where they are only observed.
    loaded: u32,
}

/// Where programs are only observed, `cpuid` traps once in the program that a loader loads after so many others: those have paid what
/// it costs to find out, had they been spared it.
const WORTH_TRAPS: u32 = 4;

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

    fn holds(&self, addr: u64) -> bool {
        addr >= self.start && addr - self.start <= self.length.saturating_sub(LENGTH as u64)
    }
}

impl World {
    /// What is known of the loader of a task that has trapped at an address in it, and the place in its file.
    fn sites_at(&mut self, task: &Task, ip: u64) -> Option<(&mut Sites, u64)> {
        let loader = task.space.borrow().loader.filter(|loader| loader.holds(ip))?;
        if self.loader_sites.len() >= MOST_LOADERS && !self.loader_sites.contains_key(&loader.hash) {
            return None;
        }
        Some((self.loader_sites.entry(loader.hash).or_default(), loader.offset + (ip - loader.start)))
    }

    /// A task has trapped at this `rdtsc`.
    pub(super) fn remember_clock(&mut self, task: &Task, ip: u64) {
        let Some((sites, offset)) = self.sites_at(task, ip) else { return };
        if sites.clocks.len() < MOST_SITES && !sites.clocks.contains(&offset) {
            sites.clocks.push(offset);
        }
    }

    /// A task has trapped at this `cpuid`, and was answered.
    pub(super) fn remember_answer(&mut self, task: &Task, ip: u64, (leaf, subleaf): Question, answer: Answer) {
        let Some((sites, offset)) = self.sites_at(task, ip) else { return };
        let question = (leaf, if features::has_subleaves(leaf) { subleaf } else { 0 });
        let is_new = !sites.answers.iter().any(|(known, _)| *known == question);
        if is_new && sites.answers.len() < MOST_SITES {
            sites.answers.push((question, answer));
            sites.answering = None;
        }
        let is_known = sites.asking.iter().any(|(known, _)| *known == offset);
        if !is_known && sites.asking.len() < MOST_SITES {
            sites.asking.push((offset, leaf));
            sites.answering = None;
        }
    }

    /// Replaces the sites that are known of a new program's loader, and adds what was written to its Exec event.
    pub(super) fn replace_sites(&mut self, task: &Task, loader: &Loader, memory: &mut Memory) {
        let Some(sites) = self.loader_sites.get_mut(&loader.hash) else { return };
        sites.answer(task.tid, loader, memory);
        replace_clocks(task, loader, &sites.clocks, memory);
    }

    /// Spares a new program that is only observed the `cpuid` of its loader, or has them trap to learn what they say.
    pub(super) fn spare_cpuid(&mut self, task: &mut Task, loader: Loader) {
        if self.loader_sites.len() >= MOST_LOADERS && !self.loader_sites.contains_key(&loader.hash) {
            return;
        }
        let sites = self.loader_sites.entry(loader.hash).or_default();
        sites.loaded = sites.loaded.saturating_add(1);
        if sites.loaded == WORTH_TRAPS {
            task.traps.learns = sys::registers(task.tid).is_ok_and(|regs| World::set_cpuid(task, &regs, false));
            note_blocked(task);
        } else {
            sites.answer(task.tid, &loader, &mut Memory::default());
        }
        task.space.borrow_mut().loader = Some(loader);
    }
}

impl Sites {
    /// Has the loader of a program that has not run yet answer what is known, and adds what was written to memory.
    fn answer(&mut self, tid: pid_t, loader: &Loader, memory: &mut Memory) {
        let made = self.answering.take().unwrap_or_else(|| answering(tid, loader, self));
        let pieces: Vec<(u64, &[u8])> =
            made.iter().map(|(offset, bytes)| (loader.start + offset, &bytes[..])).collect();
        let written = if pieces.is_empty() { Ok(()) } else { sys::write_code(tid, &pieces) };
        for (addr, bytes) in pieces {
            let mut is = bytes.to_vec();
            // Some of them may have been written.
            if written.is_ok() || sys::read_pieces(tid, &[(addr, is.len())], &mut is) == is.len() {
                memory.add_written(slot::LAYOUT, addr, &is);
            }
        }
        self.answering = Some(made);
    }
}

/// What answers the known sites of a loader, that of a new program which has not run yet. Addresses are from its mapping's start on.
fn answering(tid: pid_t, loader: &Loader, sites: &Sites) -> Vec<(u64, Vec<u8>)> {
    if sites.asking.is_empty() || loader.length > MOST_CODE {
        return Vec::new();
    }
    let mut bytes = vec![0; loader.length as usize];
    let Some(used) = loader.used(tid) else { return Vec::new() };
    if sys::read_pieces(tid, &[(loader.start, bytes.len())], &mut bytes) < bytes.len() {
        return Vec::new();
    }
    let code = cpuid::Mapped { start: loader.start, bytes: &bytes, used };
    // A question that was not known has come from behind the code.
    let own = |offset: u64| offset.checked_sub(loader.offset).filter(|at| *at < used as u64);
    let asking: Vec<_> =
        sites.asking.iter().filter_map(|(offset, leaf)| Some((loader.start + own(*offset)?, *leaf))).collect();
    let written = cpuid::build(&code, &asking, &sites.answers);
    written.into_iter().map(|(addr, bytes)| (addr - loader.start, bytes)).collect()
}

/// Replaces the time stamps at these offsets in a new program's loader.
fn replace_clocks(task: &Task, loader: &Loader, offsets: &[u64], memory: &mut Memory) {
    let addresses = offsets.iter().map(|offset| loader.start.wrapping_add(offset.wrapping_sub(loader.offset)));
    let addresses: Vec<u64> = addresses.filter(|addr| loader.holds(*addr)).collect();
    let Some(mut runs) = read_runs(task.tid, &addresses) else { return };
    for addr in &addresses {
        let Some(code) = runs.iter_mut().find_map(|run| site_in(run, *addr)).filter(|code| **code == READS) else {
            return;
        };
        code.copy_from_slice(&KEEPS);
    }
    let pieces: Vec<(u64, &[u8])> = runs.iter().map(|(start, code)| (*start, &code[..])).collect();
    if sys::write_code(task.tid, &pieces).is_err() {
        // Some of them may have been written.
        runs = read_runs(task.tid, &addresses).unwrap_or_default();
    }
    for addr in addresses {
        if runs.iter_mut().find_map(|run| site_in(run, addr)).is_some_and(|code| *code == KEEPS) {
            memory.add_written(slot::LAYOUT, addr, &KEEPS);
        }
    }
}

/// Code from an address on.
type Run = (u64, Vec<u8>);

/// Reads the code with the sites at these addresses, as few pieces as may be: what is close together is written at once.
/// `None` when some of it cannot be read.
fn read_runs(tid: pid_t, addresses: &[u64]) -> Option<Vec<Run>> {
    let mut runs = runs_of(addresses);
    let pieces: Vec<(u64, usize)> = runs.iter().map(|(start, code)| (*start, code.len())).collect();
    let mut all = vec![0; pieces.iter().map(|piece| piece.1).sum()];
    if sys::read_pieces(tid, &pieces, &mut all) < all.len() {
        return None;
    }
    let mut rest = &all[..];
    for (_, code) in &mut runs {
        let (own, others) = rest.split_at(code.len());
        code.copy_from_slice(own);
        rest = others;
    }
    Some(runs)
}

/// The runs of code that hold the sites at these addresses, as zeros.
fn runs_of(addresses: &[u64]) -> Vec<Run> {
    /// Bytes between two sites that cost less than another piece.
    const CLOSE: u64 = 1024;
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    let mut runs: Vec<Run> = Vec::new();
    for addr in sorted {
        match runs.last_mut() {
            Some((start, code)) if addr - (*start + code.len() as u64).min(addr) <= CLOSE => {
                code.resize((addr - *start) as usize + LENGTH, 0);
            }
            _ => runs.push((addr, vec![0; LENGTH])),
        }
    }
    runs
}

/// The code of the site at an address, where it is in that run.
fn site_in((start, code): &mut Run, addr: u64) -> Option<&mut [u8]> {
    let at = usize::try_from(addr.checked_sub(*start)?).ok()?;
    code.get_mut(at..at.checked_add(LENGTH)?)
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
    fn sites_that_are_close_are_written_at_once() {
        let mut runs = runs_of(&[0x1800, 0x1000, 0x1010, 0x1011]);
        assert_eq!(runs, [(0x1000, vec![0; 0x13]), (0x1800, vec![0; LENGTH])]);
        site_in(&mut runs[0], 0x1010).expect("a site").copy_from_slice(&KEEPS);
        assert_eq!(runs[0].1[0x10..0x12], KEEPS);
        assert!(site_in(&mut runs[0], 0x1012).is_none() && site_in(&mut runs[1], 0x17ff).is_none());
        assert!(runs_of(&[]).is_empty());
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
