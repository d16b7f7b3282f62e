//! The patched sites of one address space: what stood there, and where its trampolines are.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;

use iced_x86::{Decoder, DecoderOptions};
use libc::pid_t;

use super::known::{self, Batch, Place};
use super::window::TRAMPOLINE_BYTES;
use crate::sys;

/// A patched site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub start: u64,
    pub original: Vec<u8>,
    pub jump: Vec<u8>,
    /// The instruction that it is about, and whether that reads the time stamp counter.
    pub at: u64,
    pub is_counter: bool,
    /// Its trampoline, and in there its own instruction and what comes behind that.
    pub base: u64,
    pub trap: u64,
    pub behind: u64,
}

impl Site {
    /// The same at another place.
    pub fn moved(&self, place: Place) -> Site {
        let mut jump = self.jump.clone();
        // Behind the first byte of a jump there is how far it goes.
        known::change(&mut jump, 1, |far| place.to_trampolines(u32::from_le_bytes(far)).to_le_bytes());
        let own = |addr| place.in_trampolines(addr);
        let (start, at) = (place.in_image(self.start), place.in_image(self.at));
        let (base, trap, behind) = (own(self.base), own(self.trap), own(self.behind));
        Site { start, original: self.original.clone(), jump, at, is_counter: self.is_counter, base, trap, behind }
    }

    /// Where the jump is.
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.jump.len() as u64
    }

    /// Whether a thread that is to go on at this address would find part of the jump.
    pub fn has_inside(&self, ip: u64) -> bool {
        ip > self.start && ip - self.start < self.jump.len() as u64
    }

    /// Whether memory has part of the jump.
    pub fn meets(&self, start: u64, end: u64) -> bool {
        self.start < end && start < self.range().end
    }

    /// Whether the jump is still there: the program may have put other code there.
    pub fn is_there(&self, tid: pid_t) -> bool {
        let mut now = vec![0; self.jump.len()];
        sys::read_pieces(tid, &[(self.start, now.len())], &mut now) == now.len() && now == self.jump
    }

    /// The program's own address for one of a moved instruction in the trampoline. `ip`: behind the site's instruction.
    pub fn original_of(&self, tid: pid_t, addr: u64, ip: u64) -> Option<u64> {
        self.moved_instructions(tid, ip).into_iter().find(|(moved, _)| *moved == addr).map(|(_, own)| own)
    }

    /// The instructions that were moved to the trampoline: their addresses there, and the program's own. `ip`: behind the site's
    /// instruction.
    pub fn moved_instructions(&self, tid: pid_t, ip: u64) -> Vec<(u64, u64)> {
        let mut moved = [0; TRAMPOLINE_BYTES as usize];
        if sys::read_pieces(tid, &[(self.base, moved.len())], &mut moved) != moved.len() {
            return Vec::new();
        }
        let is_before = self.start < self.at;
        let (from, own) = if is_before { (self.base, self.start) } else { (self.behind, ip) };
        let Some(moved) = moved.get((from - self.base) as usize..) else { return Vec::new() };
        let Some(original) = self.original.get((own - self.start) as usize..) else { return Vec::new() };
        let moved = Decoder::with_ip(64, moved, from, DecoderOptions::NONE);
        let own = Decoder::with_ip(64, original, own, DecoderOptions::NONE);
        moved.into_iter().zip(own).map(|(moved, own)| (moved.ip(), own.ip())).collect()
    }

    /// Where a call in its trampoline ends, and one that has gone on there.
    pub fn ends(&self, ip: u64) -> [u64; 2] {
        [self.trap + (ip - self.at), self.behind]
    }
}

/// Sites that came with code that was made before, all at once.
#[derive(Clone, Debug)]
struct Placed {
    range: Range<u64>,
    place: Place,
    batch: Rc<Batch>,
}

impl Placed {
    fn sites(&self) -> impl Iterator<Item = (u64, Site)> {
        self.batch.sites.iter().map(|(ip, site)| (self.place.in_image(*ip), site.moved(self.place)))
    }
}

/// All sites, by the address behind each one's instruction. Those that were placed are made one by one only when somebody asks for one of
/// them: few programs have anything done to their code.
#[derive(Clone, Debug, Default)]
pub(super) struct Sites {
    own: BTreeMap<u64, Site>,
    placed: Vec<Placed>,
    /// So many of these are among `own`, as far as they are still there.
    settled: usize,
    all: OnceCell<BTreeMap<u64, Site>>,
    /// Of the instruction in a trampoline: the addresses behind it, and behind the program's own. Those of placed ones are in their batches.
    ends: HashMap<u64, u64>,
}

impl Sites {
    fn unsettled(&self) -> &[Placed] {
        &self.placed[self.settled..]
    }

    /// All of them.
    pub fn all(&self) -> &BTreeMap<u64, Site> {
        if self.unsettled().is_empty() {
            return &self.own;
        }
        self.all.get_or_init(|| {
            let mut all = self.own.clone();
            all.extend(self.unsettled().iter().flat_map(Placed::sites));
            all
        })
    }

    /// All of them, to change some.
    pub fn all_mut(&mut self) -> &mut BTreeMap<u64, Site> {
        if !self.unsettled().is_empty() {
            self.own = match self.all.take() {
                Some(all) => all,
                None => std::mem::take(&mut self.own)
                    .into_iter()
                    .chain(self.unsettled().iter().flat_map(Placed::sites))
                    .collect(),
            };
            self.settled = self.placed.len();
        }
        &mut self.own
    }

    pub fn add(&mut self, ip: u64, site: Site) {
        for end in site.ends(ip) {
            self.ends.insert(end, ip);
        }
        self.all.take();
        self.own.insert(ip, site);
    }

    /// Code of which these sites are patched was put into a range.
    pub fn place(&mut self, range: Range<u64>, place: Place, batch: Rc<Batch>) {
        self.all.take();
        self.placed.push(Placed { range, place, batch });
    }

    /// What is in a range that `is_gone` tells of is something else.
    pub fn forget(&mut self, range: &Range<u64>, is_gone: impl Fn(u64) -> bool) {
        if self.unsettled().iter().any(|placed| meets(&placed.range, range)) {
            self.all_mut();
        }
        self.all.take();
        self.own.retain(|ip, _| !is_gone(*ip));
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.unsettled().is_empty()
    }

    /// There has never been one.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.ends.is_empty() && self.placed.is_empty()
    }

    #[must_use]
    pub fn has(&self, ip: u64) -> bool {
        self.own.contains_key(&ip)
            || self.unsettled().iter().any(|placed| placed.range.contains(&ip) && placed.batch.has(placed.place, ip))
    }

    /// One that reads the time stamp counter: none of those was ever placed.
    #[must_use]
    pub fn is_counter(&self, ip: u64) -> bool {
        self.own.get(&ip).is_some_and(|site| site.is_counter)
    }

    /// Whether none of them is near a range.
    #[must_use]
    pub fn is_apart(&self, range: &Range<u64>) -> bool {
        self.own.range(range.clone()).next().is_none()
            && !self.unsettled().iter().any(|placed| meets(&placed.range, range))
    }

    /// Where all the jumps are, and what is between those of a placed image.
    pub fn jumps(&self) -> impl Iterator<Item = Range<u64>> {
        let placed = self.unsettled().iter().filter_map(|placed| placed.batch.jumps(placed.place));
        self.own.values().map(Site::range).chain(placed)
    }

    /// The program's own address for one in a trampoline behind a call's instruction.
    #[must_use]
    pub fn end_of(&self, ip: u64) -> Option<u64> {
        let placed = || self.placed.iter().find_map(|placed| placed.batch.end_of(placed.place, ip));
        self.ends.get(&ip).copied().or_else(placed)
    }

    /// All of these.
    #[must_use]
    pub fn ends(&self) -> HashMap<u64, u64> {
        let of = |(ip, site): (u64, Site)| site.ends(ip).map(|end| (end, ip));
        let mut ends = self.ends.clone();
        ends.extend(self.placed.iter().flat_map(Placed::sites).flat_map(of));
        ends
    }
}

fn meets(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}
