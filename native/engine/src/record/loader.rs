//! The time stamps that the program loader reads for its own statistics: eight at each start of glibc's, each of which
//! would be a trap.
//!
//! A site that has trapped once is known by the loader's hash and its place in the file. In the next program that has the
//! same loader, the instruction is replaced by one of the same length that leaves in place what was in its registers, before the
//! program runs: any number will do, as long as it comes again in replay. What was written is part of the Exec event, so
//! replay needs to know nothing of it. A program whose loader is to tell its times (LD_DEBUG) traps.

use libc::pid_t;
use trace_format::event::slot;

use super::World;
use crate::image::Mapping;
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
/// Sites of one loader that are remembered.
const MOST_SITES: usize = 64;
/// Loaders that are remembered.
const MOST_LOADERS: usize = 64;

impl Loader {
    /// Finds the loader of a program that has not run yet; none if it has none, its file could not be kept, or it is to
    /// tell its times, ld.so(8).
    pub(super) fn find(stack: Option<&Stack>, mappings: &[(Mapping, Option<Hash>)]) -> Option<Loader> {
        const PROT_EXEC: u64 = libc::PROT_EXEC as u64;
        let stack =
            stack.filter(|stack| !stack.env().split(|byte| *byte == 0).any(|line| line.starts_with(b"LD_DEBUG=")))?;
        let base = stack::auxiliary(stack.auxv(), libc::AT_BASE).filter(|base| *base != 0)?;
        let (first, _) = mappings.iter().find(|(mapping, _)| mapping.start == base && mapping.ino != 0)?;
        let is_code =
            |mapping: &Mapping| (mapping.dev, mapping.ino) == (first.dev, first.ino) && mapping.prot & PROT_EXEC != 0;
        let (code, hash) = mappings.iter().find(|(mapping, _)| is_code(mapping))?;
        Some(Loader { hash: (*hash)?, start: code.start, length: code.length, offset: code.offset })
    }

    fn holds(&self, addr: u64) -> bool {
        addr >= self.start && addr - self.start <= self.length.saturating_sub(LENGTH as u64)
    }
}

impl World {
    /// A task has trapped at this `rdtsc`.
    pub(super) fn remember_site(&mut self, task: &Task, ip: u64) {
        let Some(loader) = task.space.borrow().loader.filter(|loader| loader.holds(ip)) else { return };
        if self.loader_sites.len() >= MOST_LOADERS && !self.loader_sites.contains_key(&loader.hash) {
            return;
        }
        let sites = self.loader_sites.entry(loader.hash).or_default();
        let offset = loader.offset + (ip - loader.start);
        if sites.len() < MOST_SITES && !sites.contains(&offset) {
            sites.push(offset);
        }
    }

    /// Replaces the sites that are known of a new program's loader, and adds what was written to its Exec event.
    pub(super) fn replace_sites(&self, task: &Task, loader: &Loader, memory: &mut Memory) {
        let Some(sites) = self.loader_sites.get(&loader.hash) else { return };
        let addresses = sites.iter().map(|offset| loader.start.wrapping_add(offset.wrapping_sub(loader.offset)));
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
        let loader = Loader { hash: [1; 32], start: 0x7000, length: 0x1000, offset: 0x2000 };
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
