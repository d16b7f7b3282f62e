//! What the calls of a trace did with each path: counts, bytes and times.
//!
//! They are added up while blocks are decoded, or have been while they were written: a long trace has the sums of all its events in
//! a frame at its end. Which calls name paths, open or move bytes is told by the syscall table; a path is reported as it was
//! captured, behind the directory that it is relative to.

pub(crate) mod counter;
mod frame;
pub mod names;
mod read;
pub(crate) mod written;

use std::sync::LazyLock;

use trace_format::syscalls::by_number;
use trace_format::table::Arch;
use trace_format::usage::Plan;

use crate::error::EngineError;
use crate::path::normal;
use crate::reader::Trace;
use names::{NONE, Names, ROOT};

/// Plans by number, for x86-64 and i386. Calls beyond them touch nothing.
type Plans = [Vec<Plan>; 2];

fn plans() -> &'static Plans {
    /// The tables of both architectures have fewer.
    const NUMBERS: u32 = 1024;
    static PLANS: LazyLock<Plans> = LazyLock::new(|| {
        let plan = |arch, number| by_number(arch, number).map_or_else(Plan::default, Plan::of);
        [Arch::X86_64, Arch::I386].map(|arch| (0..NUMBERS).map(|number| plan(arch, number)).collect())
    });
    &PLANS
}

/// The plan of a syscall.
fn plan_of(plans: &Plans, arch: u8, code: i32) -> Option<&Plan> {
    usize::try_from(code).ok().and_then(|code| plans[usize::from(arch == 1)].get(code))
}

/// Sums of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    pub calls: u64,
    pub errors: u64,
    pub opens: u64,
    pub open_errors: u64,
    pub reads: u64,
    pub writes: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub execs: u64,
    pub maps: u64,
    /// In ticks of the trace, like those that follow.
    pub total: u64,
    /// When it was met first; [`u64::MAX`] before it is.
    pub first: u64,
    pub last: u64,
}

impl Default for Sums {
    fn default() -> Sums {
        Sums {
            calls: 0,
            errors: 0,
            opens: 0,
            open_errors: 0,
            reads: 0,
            writes: 0,
            bytes_read: 0,
            bytes_written: 0,
            execs: 0,
            maps: 0,
            total: 0,
            first: u64::MAX,
            last: 0,
        }
    }
}

impl Sums {
    fn is_met(&self) -> bool {
        self.first != u64::MAX
    }

    fn add(&mut self, more: &Sums) {
        self.calls += more.calls;
        self.errors += more.errors;
        self.opens += more.opens;
        self.open_errors += more.open_errors;
        self.reads += more.reads;
        self.writes += more.writes;
        self.bytes_read = self.bytes_read.saturating_add(more.bytes_read);
        self.bytes_written = self.bytes_written.saturating_add(more.bytes_written);
        self.execs += more.execs;
        self.maps += more.maps;
        self.total = self.total.saturating_add(more.total);
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
    }
}

/// The result: normal absolute paths, each once, in the order in which they were met first; those that were met at once by
/// their bytes.
#[derive(Default)]
pub struct Usage {
    /// The paths, one behind the other.
    pub text: Vec<u8>,
    /// Where each ends.
    pub ends: Vec<u32>,
    pub sums: Vec<Sums>,
    /// How often a path was met, or had been counted, for which there was no room.
    pub left_out: u64,
    /// What ended the reading early.
    pub failure: Option<EngineError>,
}

/// The sums of all events of the trace: those that are stored in it, or else of its blocks.
#[must_use]
pub fn usage(trace: &Trace) -> Usage {
    frame::of(trace).unwrap_or_else(|| read::usage(trace))
}

/// The sums of names that were met, by normal path: `paths` takes these.
fn by_path(names: &Names, sums: &[Sums], mut paths: Names) -> Usage {
    let mut order: Vec<u32> = (0..sums.len() as u32).filter(|name| sums[*name as usize].is_met()).collect();
    let first = |name: u32| sums[name as usize].first;
    order.sort_by_key(|&name| first(name));
    let path_of = |name: u32| {
        let mut path = Vec::new();
        names.path(name, &mut path);
        path
    };
    for at_once in order.chunk_by_mut(|&a, &b| first(a) == first(b)).filter(|names| names.len() > 1) {
        at_once.sort_by_cached_key(|&name| path_of(name));
    }
    let mut usage = Usage::default();
    let mut path = Vec::new();
    for name in order {
        let own = &sums[name as usize];
        path.clear();
        names.path(name, &mut path);
        match paths.number(ROOT, &normal(&path)) {
            NONE => usage.left_out += 1,
            number if number as usize == usage.sums.len() => usage.sums.push(*own),
            number => usage.sums[number as usize].add(own),
        }
    }
    (usage.text, usage.ends) = paths.into_text();
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_room_is_left_out_and_the_others_keep_their_sums() {
        let mut names = Names::default();
        let mut sums = Vec::new();
        for (number, path) in
            [b"/first".as_slice(), b"/much too long", b"/last", b"/a/../first", b"/"].iter().enumerate()
        {
            assert_eq!(names.number(ROOT, path) as usize, number);
            let first = number as u64;
            sums.push(Sums { calls: 1 << number, first, last: first, ..Sums::default() });
        }
        let usage = by_path(&names, &sums, Names::with_room(b"/first/last/".len()));
        let mut start = 0;
        let ends = usage.ends.iter().map(|&end| {
            let text = &usage.text[std::mem::replace(&mut start, end) as usize..end as usize];
            String::from_utf8_lossy(text).into_owned()
        });
        let found: Vec<(String, u64)> = ends.zip(usage.sums.iter().map(|sums| sums.calls)).collect();
        let expected = [("/first", 0b1001), ("/last", 0b100), ("/", 0b1_0000)];
        assert_eq!(found, expected.map(|(path, calls)| (path.to_owned(), calls)));
        assert_eq!((usage.sums.len(), usage.left_out), (3, 1));
    }
}
