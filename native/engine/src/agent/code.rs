//! The code of one address space: which of its sites are patched, where their trampolines are, and what was left alone.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::rc::Rc;

use libc::pid_t;
use trace_format::ring::{AREA_BYTES, BASE, DISTANCE, END, FIRST_RING, RESERVED_END, block};

use super::known::{Known, MOST_SITES, Part, Place};
use super::remote::{self, Borrowed, Call};
use super::ring::{Arena, Ring};
use super::sites::{Site, Sites};
use super::twin::{Twin, trampolines_of};
use super::window::{self, Around, Entries, Kind, Passed, Refused, TRAMPOLINE_BYTES, Window};
use crate::layout::PAGE;
use crate::sys;

const _: () = assert!(MOST_SITES as u64 * TRAMPOLINE_BYTES <= AREA_BYTES);
const STEP: u64 = 64 << 20;

/// No byte of a jump is further from the address behind its site's instruction.
const MOST_APART: u64 = window::READ_BEFORE + window::READ_AFTER;
/// So many calls of a process tell which sites its program uses.
const MOST_WATCHED: u32 = 1 << 12;
/// Most parts of files that are remembered.
const MOST_PARTS: usize = 1 << 10;

/// Whether the agent is in an address space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not yet: the program makes few calls, or has only begun.
    #[default]
    Absent,
    Present,
    /// It cannot be there, or not any more.
    Off,
}

#[derive(Clone, Debug)]
struct Area {
    start: u64,
    used: u64,
}

/// Rings whose threads have ended, for the next threads. A copy of an address space has none: the memory would be shared.
#[derive(Default)]
pub struct Pool(pub Vec<Ring>);

impl Clone for Pool {
    fn clone(&self) -> Pool {
        Pool::default()
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} rings", self.0.len())
    }
}

/// The call that maps an area for trampolines.
#[must_use]
pub fn area(start: u64) -> Call {
    mapping(start, AREA_BYTES)
}

fn mapping(start: u64, length: u64) -> Call {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let prot = libc::PROT_READ | libc::PROT_EXEC;
    Call::new(libc::SYS_mmap, &[start, length, prot as u64, flags as u64, u64::MAX, 0])
}

/// Where the first area for trampolines of code should be.
#[must_use]
pub fn best_place_for(code: u64) -> u64 {
    places_for(code).next().unwrap_or(RESERVED_END)
}

/// Where areas for trampolines of code may be, the best first.
fn places_for(code: u64) -> impl Iterator<Item = u64> {
    const LOW: u64 = 4 << 30;
    (0..16).map(move |step| {
        if code < LOW {
            RESERVED_END + (16 << 20) + step * STEP / 4
        } else {
            (code & !(PAGE - 1)) - DISTANCE - step * STEP
        }
    })
}

/// Whether jumps lead from an area to an address, and back.
fn within_reach(area: u64, addr: u64) -> bool {
    const REACH: u64 = (2 << 30) - AREA_BYTES - (1 << 20);
    addr.abs_diff(area) < REACH
}

/// A stopped thread whose code is to be patched.
pub trait Host {
    fn tid(&self) -> pid_t;

    /// Maps memory to be read and executed; whether it is there.
    fn map(&mut self, start: u64, length: u64) -> bool;

    /// The thread is to go on at another address.
    fn go_on_at(&mut self, ip: u64);
}

impl Host for Borrowed<'_> {
    fn tid(&self) -> pid_t {
        Borrowed::tid(self)
    }

    fn map(&mut self, start: u64, length: u64) -> bool {
        let mapped =
            self.run(&[mapping(start, length)]).ok().and_then(|results| remote::result(results[0] as u64).ok());
        mapped == Some(start)
    }

    fn go_on_at(&mut self, ip: u64) {
        self.regs.rip = ip;
    }
}

/// A site and what a jump is to be put over.
pub struct Chosen {
    ip: u64,
    kind: Kind,
    part: Option<Part>,
    window: Window,
    original: Vec<u8>,
}

impl Chosen {
    /// Whether a thread that stands there would run something else once the jump is there.
    #[must_use]
    pub fn is_inside(&self, ip: u64) -> bool {
        self.window.has_inside() && ip > self.window.start && ip < self.window.end
    }
}

/// What has stopped processes that are copies of each other.
#[derive(Debug, Default)]
struct Kin {
    /// Sites that have stopped a thread once.
    once: HashSet<u64>,
    /// Those that were patched then: the address behind each.
    patched: Vec<u64>,
}

/// What is known of an address space. Copied when a process forks, as its memory is.
#[derive(Clone, Debug, Default)]
pub struct Code {
    pub state: State,
    /// Calls that stopped a thread before the agent was there.
    pub stops: u32,
    /// How often each `rdtsc` has stopped a thread that is not a site yet, by the address behind it.
    counted: HashMap<u64, u32>,
    /// The program has forbidden itself to read the counter.
    forbids_counter: bool,
    sites: Sites,
    refused: HashMap<u64, Refused>,
    /// Code of files.
    images: Vec<Part>,
    /// Parts of the program of which all was patched that is known from other processes.
    as_known: Vec<Range<u64>>,
    areas: Vec<Area>,
    /// The agent was there before the program ran.
    pub from_start: bool,
    pub pool: Pool,
    /// The rings of this program and of those that it was forked from, where the agent has come to it.
    pub arena: Option<Rc<Arena>>,
    /// The ends of calls in its trampolines when the agent left: threads may still be in some that they have made there.
    former: HashMap<u64, u64>,
    /// Why it is to leave at the next call that stops a thread.
    pub leaves: Option<&'static str>,
    /// How often it has left.
    returns: u32,
    /// A thread was let go in a trampoline, which is to stay.
    pub has_inside: bool,
    /// What is known of stops here and in processes that are copies of this one, or that this one is a copy of.
    kin: Rc<RefCell<Kin>>,
    /// So many sites that were patched there have been looked at here.
    caught_up: usize,
    /// Code of libraries that waits to be mapped in their place, by number.
    pub lent: Vec<Option<Rc<Twin>>>,
    /// From where so many of the next calls are made is noted: all sites were patched, used or not.
    watched: u32,
}

impl Code {
    /// Of an address space in which nothing is left of the agent. It may come again, when the program makes many more calls, but not
    /// for ever.
    #[must_use]
    pub fn left(&self, may_return: bool) -> Code {
        const MOST_RETURNS: u32 = 4;
        let returns = self.returns + 1;
        let state = if may_return && returns <= MOST_RETURNS { State::Absent } else { State::Off };
        Code { state, returns, former: self.sites.ends(), ..Code::default() }
    }

    /// The program's own address for one in a trampoline that was there before the agent left.
    #[must_use]
    pub fn former_ip(&self, ip: u64) -> u64 {
        self.former.get(&ip).copied().unwrap_or(ip)
    }

    /// Whether what ends at an address of the program is patched, and reads the time stamp counter: it changes no register otherwise.
    #[must_use]
    pub fn counts(&self, ip: u64) -> bool {
        self.sites.is_counter(ip)
    }

    /// The program's own address for one in a trampoline, as a call's instruction pointer.
    #[must_use]
    pub fn own_ip(&self, ip: u64) -> u64 {
        self.sites.end_of(ip).or_else(|| self.former.get(&ip).copied()).unwrap_or(ip)
    }

    /// The place of the program that a thread has come to which a signal finds in a trampoline; any other address stays.
    #[must_use]
    pub fn own_place(&self, tid: pid_t, addr: u64) -> u64 {
        let own = self.own_ip(addr);
        let of = |site: &Site| own.wrapping_sub(site.base) < TRAMPOLINE_BYTES;
        let site = self.is_trampoline(own).then(|| self.sites.all().iter().find(|(_, site)| of(site))).flatten();
        let Some((&ip, site)) = site else { return own };
        let moved = site.original_of(tid, own, ip);
        // What is left is the way to the agent, or back to the program.
        moved.unwrap_or(if own <= site.trap { site.at } else { site.start + site.original.len() as u64 })
    }

    /// The place in a trampoline that stands for one of the program, where that is inside a jump; any other stays. Changes nothing: other
    /// threads may be running there.
    #[must_use]
    pub fn moved_place(&self, tid: pid_t, addr: u64) -> u64 {
        let inside = self.sites.all().iter().find(|(_, site)| site.has_inside(addr));
        let Some((&ip, site)) = inside.filter(|(_, site)| site.is_there(tid)) else { return addr };
        match addr {
            _ if addr == ip => site.behind,
            _ if addr == site.at => site.trap,
            _ => site
                .moved_instructions(tid, ip)
                .into_iter()
                .find(|(_, own)| *own == addr)
                .map_or(addr, |(moved, _)| moved),
        }
    }

    /// Whether memory has code in it that was patched.
    #[must_use]
    pub fn shows(&self, addr: u64, length: u64) -> bool {
        let end = addr.saturating_add(length);
        let near = addr.saturating_sub(MOST_APART)..end.saturating_add(MOST_APART);
        !self.sites.is_apart(&near) && self.sites.all().range(near).any(|(_, site)| site.meets(addr, end))
    }

    /// Parts of memory that have all the jumps, as many as the agent looks at.
    #[must_use]
    pub fn parts(&self) -> Vec<Range<u64>> {
        /// What is between two sites of the same library's code is code, mostly.
        const NEAR: u64 = 512 << 10;
        let mut jumps: Vec<Range<u64>> = self.sites.jumps().collect();
        jumps.sort_unstable_by_key(|jump| jump.start);
        let mut parts: Vec<Range<u64>> = Vec::new();
        for jump in jumps {
            let is_last = parts.len() as u64 == block::CODE_PARTS;
            match parts.last_mut() {
                Some(part) if is_last || jump.start.saturating_sub(part.end) < NEAR => {
                    part.end = part.end.max(jump.end);
                }
                _ => parts.push(jump),
            }
        }
        parts
    }

    /// Puts what the program has into bytes that were read from an address.
    pub fn cover_up(&self, addr: u64, bytes: &mut [u8]) {
        let end = addr.saturating_add(bytes.len() as u64);
        let near = addr.saturating_sub(MOST_APART)..end.saturating_add(MOST_APART);
        if self.sites.is_apart(&near) {
            return;
        }
        for site in self.sites.all().values().filter(|site| site.meets(addr, end)) {
            for (own, at) in site.original.iter().zip(site.start..).filter(|(_, at)| (addr..end).contains(at)) {
                bytes[(at - addr) as usize] = *own;
            }
        }
    }

    /// Whether an address is in the trampolines.
    #[must_use]
    pub fn is_trampoline(&self, ip: u64) -> bool {
        self.areas.iter().any(|area| ip.wrapping_sub(area.start) < AREA_BYTES)
    }

    /// Whether a range of code has part of a jump.
    #[must_use]
    pub fn is_changed(&self, range: &Range<u64>) -> bool {
        self.sites.all().values().any(|site| site.meets(range.start, range.end))
    }

    /// Whether a thread that goes on at `ip` reads the counter with the instruction before `behind` next: it stands there, or where a jump is
    /// in its place.
    #[must_use]
    pub fn reads_counter_at(&self, ip: u64, behind: u64) -> bool {
        match self.sites.all().get(&behind) {
            Some(site) => ip == site.start,
            None => (2..=3).contains(&behind.wrapping_sub(ip)),
        }
    }

    /// Whether a jump's place ends there in bytes that are no part of the jump.
    #[must_use]
    pub fn is_left_over(&self, ip: u64) -> bool {
        self.sites.all().values().any(|site| site.has_inside(ip) && ip - site.start >= window::JUMP_BYTES as u64)
    }

    /// An instruction at `rip` has raised a signal. Where it was moved, or is what a jump has left of one, the program's own is put
    /// back: the address where the thread has it.
    pub fn put_back_at(&mut self, tid: pid_t, signal: libc::c_int, rip: u64) -> Option<u64> {
        if self.is_trampoline(rip) {
            return self.uncover(tid, rip);
        }
        let left = rip.wrapping_sub(1);
        (signal == libc::SIGTRAP && self.is_left_over(left) && self.way_to(tid, left) == left).then_some(left)
    }

    /// What the agent has mapped.
    pub fn mappings(&self) -> impl Iterator<Item = Range<u64>> {
        let own =
            [(BASE, END - BASE), (FIRST_RING, RESERVED_END - FIRST_RING)].into_iter().filter(|_| self.arena.is_some());
        own.chain(self.areas()).map(|(start, length)| start..start + length)
    }

    /// The trampolines, by address and length.
    pub fn areas(&self) -> impl Iterator<Item = (u64, u64)> {
        self.areas.iter().map(|area| (area.start, AREA_BYTES))
    }

    /// Puts the program's own instruction back that a thread has come to in a trampoline; its address. `None` when it is at no such
    /// instruction, or the code cannot be written.
    pub fn uncover(&mut self, tid: pid_t, addr: u64) -> Option<u64> {
        let of = |site: &Site| addr.wrapping_sub(site.base) < TRAMPOLINE_BYTES;
        let (ip, site) = self.sites.all().iter().find(|(_, site)| of(site)).map(|(ip, site)| (*ip, site.clone()))?;
        let own = site.original_of(tid, addr, ip)?;
        self.put_back(tid, ip, &site).then_some(own)
    }

    /// Where a thread goes on that is to be at an address of the program: where a jump now is, in the trampoline, or at what
    /// was there before. Other addresses stay.
    pub fn way_to(&mut self, tid: pid_t, addr: u64) -> u64 {
        let inside = self.sites.all().iter().find(|(_, site)| site.has_inside(addr));
        let inside = inside.filter(|(_, site)| site.is_there(tid));
        let Some((ip, site)) = inside.map(|(ip, site)| (*ip, site.clone())) else { return addr };
        if addr == ip {
            return site.behind;
        }
        self.put_back(tid, ip, &site);
        addr
    }

    /// Where a thread goes on that comes back to an address of the program, if that is known without a change: where a jump is behind an
    /// instruction there, in the trampoline. `None` in other places inside of a jump.
    #[must_use]
    pub fn way_back(&self, tid: pid_t, addr: u64) -> Option<u64> {
        let near = addr.saturating_sub(MOST_APART)..addr.saturating_add(MOST_APART);
        if self.sites.is_apart(&near) {
            return Some(addr);
        }
        match self.sites.all().range(near).find(|(_, site)| site.has_inside(addr)) {
            None => Some(addr),
            Some((&ip, site)) => (ip == addr && site.is_there(tid)).then_some(site.behind),
        }
    }

    /// Puts back what was there where an address is inside a jump: a thread will come to it that cannot be led around.
    pub fn clear(&mut self, tid: pid_t, addr: u64) {
        let inside = self.sites.all().iter().find(|(_, site)| site.has_inside(addr));
        if let Some((ip, site)) = inside.map(|(ip, site)| (*ip, site.clone())) {
            self.put_back(tid, ip, &site);
        }
    }

    /// Puts back what was there in a part of memory, which is about to be moved: a jump leads elsewhere from another place. No other thread
    /// may be running.
    pub fn clear_part(&mut self, tid: pid_t, start: u64, length: u64) {
        let end = start.saturating_add(length);
        self.put_back_all(tid, |site| site.meets(start, end));
    }

    fn put_back_all(&mut self, tid: pid_t, is_meant: impl Fn(&Site) -> bool) {
        let meant = self.sites.all().iter().filter(|(_, site)| is_meant(site));
        let meant: Vec<(u64, Site)> = meant.map(|(ip, site)| (*ip, site.clone())).collect();
        for (ip, site) in meant {
            self.put_back(tid, ip, &site);
        }
    }

    /// Whether sites have been patched in copies of this process since it was asked last which.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.kin.borrow().patched.len() > self.caught_up
    }

    /// Sites that have been patched in copies of this process since it was asked last, and are not here.
    pub fn news(&mut self) -> Vec<u64> {
        let kin = self.kin.borrow();
        let from = std::mem::replace(&mut self.caught_up, kin.patched.len());
        let news = kin.patched.get(from..).unwrap_or_default();
        news.iter().copied().filter(|ip| self.may_become_site(*ip)).collect()
    }

    /// Patches sites that are known, as far as the code there is what it was and the thread, which is the only one that runs, does not
    /// stand in it. How many were.
    pub fn catch_up(
        &mut self,
        entries: Entries,
        thread: &mut impl Host,
        known: &Known,
        (ips, at): (&[u64], u64),
    ) -> u64 {
        let mut count = 0;
        for ip in ips {
            let Some(part) = self.part_at(*ip) else { continue };
            let Ok(base) = self.room(thread, part.range(), TRAMPOLINE_BYTES) else { return count };
            let Some((trampoline, site)) = known.code_of(&part, *ip, base, entries) else { continue };
            let mut now = vec![0; site.original.len()];
            let is_there = sys::read_pieces(thread.tid(), &[(site.start, now.len())], &mut now) == now.len()
                && now == site.original;
            if !is_there || site.has_inside(at) {
                continue;
            }
            let pieces: [(u64, &[u8]); 2] = [(base, &trampoline), (site.start, &site.jump)];
            if sys::write_code(thread.tid(), &pieces).is_ok() {
                self.use_room(base, TRAMPOLINE_BYTES);
                self.sites.add(*ip, site);
                count += 1;
            }
        }
        count
    }

    fn put_back(&mut self, tid: pid_t, ip: u64, site: &Site) -> bool {
        let done = site.is_there(tid) && sys::write_code(tid, &[(site.start, &site.original)]).is_ok();
        if done {
            self.sites.all_mut().remove(&ip);
            self.refused.insert(ip, Refused::Interrupted);
        }
        done
    }

    /// Whether a site that has stopped a thread is worth to be patched, which costs more than a stop: when it has done so before.
    /// Or the first time, where it is worth that `at_once`.
    pub fn is_worth(&mut self, ip: u64, at_once: impl FnOnce(&Code) -> bool) -> bool {
        self.may_become_site(ip) && (at_once(self) || !self.kin.borrow_mut().once.insert(ip))
    }

    fn may_become_site(&self, ip: u64) -> bool {
        self.state == State::Present && !self.sites.has(ip) && !self.refused.contains_key(&ip)
    }

    /// Of a copy that another process has: it may live for a few calls only.
    pub fn forget_stops(&mut self) {
        self.kin = Rc::default();
        self.caught_up = 0;
    }

    /// A `rdtsc` or `rdtscp` has stopped a thread. Whether it is worth to be patched.
    pub fn is_worth_counting(&mut self, ip: u64) -> bool {
        /// Loaders have some that run once.
        const WORTH: u32 = 8;
        /// Most that are remembered.
        const MOST: usize = 1 << 10;
        if !self.may_become_site(ip) || self.forbids_counter {
            return false;
        }
        if self.counted.len() >= MOST {
            self.counted.clear();
        }
        let count = self.counted.entry(ip).or_default();
        *count += 1;
        *count >= WORTH
    }

    /// The program forbids itself to read the time stamp counter: that is a fault of its own from now on. No other thread may be running.
    pub fn forbid_counter(&mut self, tid: pid_t) {
        self.forbids_counter = true;
        self.put_back_all(tid, |site| site.is_counter);
    }

    pub fn refuse(&mut self, ip: u64, reason: Refused) {
        self.refused.insert(ip, reason);
    }

    /// Code of a file was mapped.
    pub fn mapped(&mut self, part: Part) {
        if self.images.len() < MOST_PARTS {
            self.images.push(part);
        }
    }

    /// The code of a file at an address, as it was mapped.
    #[must_use]
    pub fn part_at(&self, addr: u64) -> Option<Part> {
        self.images.iter().rev().find(|part| part.range().contains(&addr)).copied()
    }

    /// The first code of the program that is mapped, by which it is told from others.
    #[must_use]
    pub fn program(&self) -> Option<&Part> {
        self.images.first()
    }

    /// Whether it is still to be noted from where calls are made.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watched > 0
    }

    /// A call was made from a site that was patched or is now.
    pub fn has_used(&mut self, known: &mut Known, ip: u64) {
        self.watched = self.watched.saturating_sub(1);
        if let (Some(program), Some(part)) = (self.program(), self.part_at(ip)) {
            known.has_used(program, &part, ip);
        }
    }

    /// Whether the same code is mapped at one place only.
    #[must_use]
    pub fn is_mapped_once(&self, part: &Part) -> bool {
        self.images.iter().filter(|other| other.is_same(part)).count() == 1
    }

    /// Code of a file may have been changed, or is another's.
    pub fn protected(&mut self, start: u64, length: u64) {
        let end = start.saturating_add(length);
        self.images.retain(|part| part.start >= end || part.range().end <= start);
    }

    /// Some jump leads to the agent's pages.
    #[must_use]
    pub fn is_patched(&self) -> bool {
        !self.sites.is_empty()
    }

    /// Nothing has ever been patched.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.sites.is_untouched()
    }

    /// Memory was unmapped: what is mapped there later is something else.
    pub fn unmapped(&mut self, start: u64, length: u64) {
        // All of the last page.
        let length = length.saturating_add(start % PAGE).next_multiple_of(PAGE);
        let is_gone = |ip: u64| ip.wrapping_sub(start) < length;
        self.sites.forget(&(start..start.saturating_add(length)), is_gone);
        self.refused.retain(|ip, _| !is_gone(*ip));
        self.as_known.retain(|part| !is_gone(part.start));
        self.protected(start, length);
    }

    /// What a jump to the agent can be put over, at a site that a thread has just passed.
    ///
    /// # Errors
    /// Why the site is to be left alone.
    pub fn choose(
        &self,
        known: &mut Known,
        tid: pid_t,
        Passed { ip, kind, eax }: Passed,
        part: Option<Part>,
    ) -> Result<Chosen, Refused> {
        if let Some(reason) = part.and_then(|part| known.refusal(&part, ip)) {
            return Err(reason);
        }
        let start = ip.saturating_sub(window::READ_BEFORE);
        let mut bytes = vec![0; (window::READ_BEFORE + window::READ_AFTER) as usize];
        let page = start.next_multiple_of(4096);
        let mut from = start;
        let mut got = sys::read_pieces(tid, &[(start, bytes.len())], &mut bytes);
        if got == 0 && page < ip {
            // Its page is the first of the mapping.
            from = page;
            bytes.truncate((window::READ_AFTER + ip - page) as usize);
            got = sys::read_pieces(tid, &[(from, bytes.len())], &mut bytes);
        }
        if ip > from + got as u64 {
            // Its process has been killed. That tells nothing of the site.
            return Err(Refused::ReadOnly);
        }
        let around = Around { start: from, bytes: &bytes[..got], ip, length: kind.length(), eax };
        let mut branches = None;
        let chosen = window::choose(&around, |start, end| {
            let branches = branches.get_or_insert_with(|| known.branches(tid, ip, part.as_ref()));
            // What is not known may lead there.
            branches.as_ref().is_none_or(|(branches, base)| branches.lead_between(&around, *base, start, end))
        });
        if let (Some(part), Err(reason)) = (&part, &chosen) {
            known.refuse(part, ip, *reason);
        }
        let window = chosen?;
        let original = bytes[(window.start - from) as usize..(window.end - from) as usize].to_vec();
        Ok(Chosen { ip, kind, part, window, original })
    }

    /// Puts the jump there, which leads to one of `entries`, and has the thread go on behind. No other thread may stand inside the window.
    ///
    /// # Errors
    /// Why the site was left alone.
    pub fn patch(
        &mut self,
        entries: Entries,
        thread: &mut impl Host,
        known: &mut Known,
        chosen: Chosen,
    ) -> Result<(), Refused> {
        let Chosen { ip, kind, part, window, original } = chosen;
        let base = self.room(thread, ip..ip, TRAMPOLINE_BYTES)?;
        let patch = window::build(&window, (ip, kind), base, entries)?;
        let pieces: [(u64, &[u8]); 2] = [(base, &patch.trampoline), (window.start, &patch.jump)];
        sys::write_code(thread.tid(), &pieces).map_err(|_| Refused::ReadOnly)?;
        self.use_room(base, TRAMPOLINE_BYTES);
        let (at, is_counter) = (ip - kind.length(), kind != Kind::Call);
        if !window.leaves_site(at) {
            thread.go_on_at(patch.after);
        }
        let (trap, behind) = (patch.trap, patch.behind);
        let site = Site { start: window.start, original, jump: patch.jump, at, is_counter, base, trap, behind };
        if let Some(part) = part.filter(|_| !is_counter) {
            known.add(&part, ip, site.start, &site.original);
            self.tell_kin(ip);
        }
        self.sites.add(ip, site);
        Ok(())
    }

    /// The site of a call is patched in other processes that run this code: in this one it is not passed again.
    pub fn learn(&mut self, known: &mut Known, tid: pid_t, passed: Passed) {
        let ip = passed.ip;
        let Some(part) = self.part_at(ip) else { return };
        if !known.has_site(&part, ip)
            && let Ok(chosen) = self.choose(known, tid, passed, Some(part))
        {
            known.add(&part, ip, chosen.window.start, &chosen.original);
        }
        self.has_used(known, ip);
        if !self.sites.has(ip) {
            self.tell_kin(ip);
        }
    }

    /// Copies of this process patch this site, too, if it is known.
    fn tell_kin(&self, ip: u64) {
        let patched = &mut self.kin.borrow_mut().patched;
        if patched.len() < MOST_SITES && !patched.contains(&ip) {
            patched.push(ip);
        }
    }

    /// Whether the sites of a part of the program that are known from other processes have been patched, or there are none.
    #[must_use]
    pub fn is_patched_as_known(&self, ip: u64) -> bool {
        self.as_known.iter().any(|part| part.contains(&ip))
    }

    /// Patches the sites in a part of the program that are known from other processes, or those of them that the program uses, where its
    /// code is as it was there. `at`: where the thread stands; no other may be running, or stand inside what is changed. How many were
    /// patched: the others are when they stop the process, or are refused then.
    ///
    /// # Errors
    /// When there is no room for trampolines.
    pub fn patch_known(
        &mut self,
        entries: Entries,
        thread: &mut impl Host,
        known: &mut Known,
        (part, at): (&Part, u64),
    ) -> Result<u64, Refused> {
        self.as_known.push(part.range());
        if !known.has_sites(part) {
            return Ok(0);
        }
        let tid = thread.tid();
        let Some((batch, is_all)) = known.batch(self.program(), part, entries) else { return Ok(0) };
        if is_all {
            self.watched = MOST_WATCHED;
        }
        let base = self.room(thread, part.range(), batch.length())?;
        let place = Place::new(part.start, base);
        let trampolines = batch.moved(place);
        let pieces: Vec<(u64, usize)> =
            batch.sites.iter().map(|(_, site)| (place.in_image(site.start), site.original.len())).collect();
        let mut now = vec![0; pieces.iter().map(|piece| piece.1).sum()];
        let got = sys::read_pieces(tid, &pieces, &mut now);
        let mut rest = &now[..got];
        let mut sites = Vec::with_capacity(batch.sites.len());
        for (ip, site) in &batch.sites {
            let Some((there, others)) = rest.split_at_checked(site.original.len()) else { break };
            rest = others;
            let ip = place.in_image(*ip);
            if there == site.original && !self.sites.has(ip) && !self.refused.contains_key(&ip) {
                sites.push((ip, site.moved(place)));
            }
        }
        let jumps = sites.iter().map(|(_, site)| (site.start, &site.jump[..]));
        let pieces: Vec<(u64, &[u8])> = [(base, &trampolines[..])].into_iter().chain(jumps).collect();
        let written = sys::write_code(tid, &pieces);
        self.use_room(base, trampolines.len() as u64);
        if written.is_err() {
            // Those in front of the one that could not be written are there.
            sites.retain(|(_, site)| site.is_there(tid));
        }
        let count = sites.len() as u64;
        for (ip, site) in sites {
            if ip == at && site.has_inside(ip) {
                thread.go_on_at(site.behind);
            }
            self.sites.add(ip, site);
        }
        Ok(count)
    }

    /// A twin was mapped in place of a part of the program, and its trampolines in front of it.
    pub fn has_twin(&mut self, part: &Part, twin: &Twin) {
        let Some(start) = trampolines_of(part) else { return };
        self.areas.push(Area { start, used: twin.batch.length() });
        self.as_known.push(part.range());
        self.sites.place(part.range(), Place::new(part.start, start), Rc::clone(&twin.batch));
    }

    /// Where the next trampolines within reach of code go.
    fn room(&mut self, thread: &mut impl Host, code: Range<u64>, bytes: u64) -> Result<u64, Refused> {
        let is_near = |start: u64| within_reach(start, code.start) && within_reach(start, code.end);
        let fits = |area: &&Area| is_near(area.start) && area.used + bytes <= AREA_BYTES;
        if let Some(area) = self.areas.iter().find(fits) {
            return Ok(area.start + area.used);
        }
        for start in places_for(code.start).filter(|start| is_near(*start)) {
            if thread.map(start, AREA_BYTES) {
                self.has_area(start);
                return Ok(start);
            }
        }
        Err(Refused::NoRoom)
    }

    /// There is an area in which nothing will be of any use.
    pub fn has_left_over(&mut self, start: u64) {
        self.areas.push(Area { start, used: AREA_BYTES });
    }

    /// An area for trampolines was mapped.
    pub fn has_area(&mut self, start: u64) {
        self.areas.push(Area { start, used: 0 });
    }

    fn use_room(&mut self, base: u64, bytes: u64) {
        if let Some(area) = self.areas.iter_mut().find(|area| area.start + area.used == base) {
            area.used += bytes;
        }
    }

    /// Puts back what was at all sites. Trampolines stay: a thread may be in one.
    ///
    /// # Errors
    /// When some code cannot be written: then the jumps there stay, and lead to the agent's pages.
    pub fn restore(&mut self, tid: pid_t) -> io::Result<()> {
        self.state = State::Off;
        let mut outcome = Ok(());
        self.sites.all_mut().retain(|_, site| {
            let written =
                if site.is_there(tid) { sys::write_code(tid, &[(site.start, &site.original)]) } else { Ok(()) };
            let stays = written.is_err();
            outcome = std::mem::replace(&mut outcome, Ok(())).and(written);
            stays
        });
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::FileExt as _;
    use std::time::{Duration, SystemTime};

    use super::super::known::MOST_CODE;
    use super::*;

    /// Memory of this process to execute, from a file or without one.
    fn mapped(length: usize, file: Option<&File>) -> u64 {
        let (flags, fd) =
            file.map_or((libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1), |file| (libc::MAP_PRIVATE, file.as_raw_fd()));
        let write = if file.is_none() { libc::PROT_WRITE } else { 0 };
        let prot = libc::PROT_READ | libc::PROT_EXEC | write;
        // SAFETY: a new mapping, whose address the kernel chooses; it stays until the process ends.
        let addr = unsafe { libc::mmap(std::ptr::null_mut(), length, prot, flags, fd, 0) };
        assert_ne!(addr, libc::MAP_FAILED);
        addr as u64
    }

    fn own() -> pid_t {
        std::process::id() as pid_t
    }

    #[test]
    fn what_is_known_of_a_file_ends_when_it_is_written_to() {
        let path = std::env::temp_dir().join(format!("trace-code-{}", own()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let write = |bytes: &[u8], age| {
            file.write_all_at(bytes, 0).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        write(&[0x90; PAGE as usize], 1000);
        let start = mapped(PAGE as usize, Some(&file));
        let mut known = Known::default();
        let mut look = || known.branches(own(), start, Part::at(own(), start).as_ref()).unwrap().0;
        let first = look();
        assert!(Rc::ptr_eq(&first, &look()));
        // jmp +0x100
        write(&[0xe9, 0, 1, 0, 0], 500);
        let second = look();
        let around = Around { start: 0, bytes: &[], ip: 0, length: window::CALL_BYTES, eax: Some(0) };
        assert!(!first.lead_between(&around, 0, 0x104, 0x106) && second.lead_between(&around, 0, 0x104, 0x106));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_jump_from_far_away_is_seen_also_where_no_file_is() {
        let start = mapped(2 * PAGE as usize, None);
        // xor eax, eax; syscall; cmp rax, -4096
        let site = [0x31, 0xc0, 0x0f, 0x05, 0x48, 0x3d, 0, 0xf0, 0xff, 0xff];
        let at = PAGE;
        let ip = start + at + 4;
        let put = |offset: u64, bytes: &[u8]| assert!(sys::write_memory(own(), start + offset, bytes));
        put(0, &[0x90; 2 * PAGE as usize]);
        put(at, &site);
        let choose = || Code::default().choose(&mut Known::default(), own(), Passed::call(ip, 0), None);
        assert!(choose().is_ok_and(|chosen| chosen.window.end > ip));
        // jmp to the compare, from behind what is read around a site
        let from = at + 2000;
        let distance = (at as i64 + 4 - (from as i64 + 5)) as i32;
        put(from, &[&[0xe9][..], &distance.to_le_bytes()].concat());
        assert!(choose().map_or(true, |chosen| chosen.window.end < ip));
    }

    #[test]
    fn more_code_than_is_looked_at_is_not_known() {
        let start = mapped((MOST_CODE + PAGE) as usize, None);
        assert!(Known::default().branches(own(), start, None).is_none());
    }
}
