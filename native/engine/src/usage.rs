//! What the calls of a trace did with each path: counts, bytes and times, added up while its blocks are decoded.
//!
//! Which calls name paths, open or move bytes is not known here. The caller says so in a [`Plan`] per syscall; a path is
//! reported as it was captured, behind the directory that it is relative to.

mod names;

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;
use trace_format::column::{Columns, NO_CONTENT, Projection};
use trace_format::event::{EventKind, Side, flag, slot};

use crate::error::EngineError;
use crate::path::normal;
use crate::reader::{Content, LazyBlock, Trace};
use names::{NONE, Names, ROOT};

/// What a syscall does with paths and descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Arguments that are paths.
    pub paths: [Option<u8>; 2],
    /// For each of them the argument with the directory that it is relative to.
    pub bases: [Option<u8>; 2],
    /// It opens what its path names.
    pub opens: bool,
    /// The argument with the descriptor that it reads from, and the one that it writes to.
    pub from: Option<u8>,
    pub to: Option<u8>,
}

/// Plans by number, for x86-64 and i386. Calls beyond them touch nothing.
pub type Plans = [Vec<Plan>; 2];

/// Sums of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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
    /// Nanoseconds.
    pub total: f64,
    pub first: f64,
    pub last: f64,
}

impl Sums {
    fn add(&mut self, more: &Sums) {
        self.calls += more.calls;
        self.errors += more.errors;
        self.opens += more.opens;
        self.open_errors += more.open_errors;
        self.reads += more.reads;
        self.writes += more.writes;
        self.bytes_read += more.bytes_read;
        self.bytes_written += more.bytes_written;
        self.execs += more.execs;
        self.maps += more.maps;
        self.total += more.total;
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
    }
}

/// The result: normal absolute paths, each once, in the order in which they were met first.
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

/// Adds up all events of the trace.
#[must_use]
pub fn usage(trace: &Trace, plans: &Plans) -> Usage {
    let mut counter = Counter::new(trace, plans);
    let mut failure = None;
    let projection = Projection { results: true, contents: true, refs: true, ..Projection::CORE };
    let mut block = LazyBlock::default();
    for number in 0..trace.blocks().len() {
        let added = trace.decode_lazily(number, projection, &mut block).and_then(|()| counter.add(&block));
        if let Err(error) = added {
            failure = Some(error);
            break;
        }
    }
    Usage { failure, ..counter.finish() }
}

/// Not looked at yet.
const UNKNOWN: u32 = u32::MAX;

const NOT_OK: u8 = flag::ERROR | flag::NO_RETURN | flag::NO_RESULT;

struct Counter<'a> {
    trace: &'a Trace,
    plans: &'a Plans,
    names: Names,
    /// By number of the name.
    sums: Vec<Sums>,
    /// Name by object, of those that have one.
    objects: Vec<u32>,
    /// Name by object, of whatever paths are relative to.
    directories: Vec<u32>,
    /// By content of the block: what it named last, and relative to what.
    contents: Vec<Named>,
    /// Name by chunk of the trace: long absolute paths.
    chunks: HashMap<u64, u32, RandomState>,
    /// A long path.
    fetched: Vec<u8>,
    left_out: u64,
}

#[derive(Clone, Copy)]
struct Named {
    directory: u32,
    name: u32,
}

/// A block, and where its contents are.
struct Block<'a> {
    lazy: &'a LazyBlock,
    columns: &'a Columns,
    contents: Vec<Content<'a>>,
}

impl<'a> Counter<'a> {
    fn new(trace: &'a Trace, plans: &'a Plans) -> Counter<'a> {
        let objects = trace.definitions().object_count();
        Counter {
            trace,
            plans,
            names: Names::default(),
            sums: Vec::new(),
            objects: vec![UNKNOWN; objects],
            directories: vec![UNKNOWN; objects],
            contents: Vec::new(),
            chunks: HashMap::default(),
            fetched: Vec::new(),
            left_out: 0,
        }
    }

    /// What was counted, by normal path.
    fn finish(self) -> Usage {
        let mut usage = by_path(&self.names, &self.sums, Names::default());
        usage.left_out += self.left_out;
        usage
    }

    fn add(&mut self, lazy: &LazyBlock) -> Result<(), EngineError> {
        let columns = &lazy.columns;
        let block = Block { lazy, columns, contents: lazy.contents().collect() };
        self.contents.clear();
        self.contents.resize(block.contents.len(), Named { directory: UNKNOWN, name: UNKNOWN });
        for row in 0..columns.count as usize {
            if columns.flags[row] & flag::INTERRUPTED != 0 {
                continue;
            }
            match EventKind::from_code(columns.kind[row]) {
                Some(EventKind::Call) => self.call(&block, row)?,
                Some(EventKind::Exec) => self.named(&block, row, |sums| sums.execs += 1)?,
                Some(EventKind::Map) => self.named(&block, row, |sums| sums.maps += 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn call(&mut self, block: &Block, row: usize) -> Result<(), EngineError> {
        let columns = block.columns;
        let plans = &self.plans[usize::from(columns.arch[row] == 1)];
        let Some(plan) = usize::try_from(columns.code[row]).ok().and_then(|code| plans.get(code)).copied() else {
            return Ok(());
        };
        if plan.paths[0].is_some() {
            let mut first = NONE;
            for (path, base) in plan.paths.iter().zip(plan.bases) {
                let Some(path) = *path else { continue };
                let key = self.given(block, row, path, base)?;
                if key != first {
                    self.counted(columns, row, key, plan.opens);
                }
                first = key;
            }
            return Ok(());
        }
        let bytes = moved(columns, row);
        // By argument: a call that names a file twice is one call.
        let mut met = [NONE; 6];
        for at in refs(columns, row) {
            let place = columns.ref_slot[at];
            if usize::from(place) >= met.len() {
                continue;
            }
            let key = self.object(columns.ref_object[at]);
            if !met.contains(&key) {
                self.counted(columns, row, key, false);
            }
            met[usize::from(place)] = key;
            let (Some(bytes), Some(sums)) = (bytes, self.sums.get_mut(key as usize)) else { continue };
            if plan.from == Some(place) {
                sums.reads += 1;
                sums.bytes_read += bytes;
            }
            if plan.to == Some(place) {
                sums.writes += 1;
                sums.bytes_written += bytes;
            }
        }
        Ok(())
    }

    fn named(&mut self, block: &Block, row: usize, count: impl FnOnce(&mut Sums)) -> Result<(), EngineError> {
        let key = self.given(block, row, 0, None)?;
        if let Some(sums) = self.met(block.columns, row, key) {
            count(sums);
        }
        Ok(())
    }

    fn met(&mut self, block: &Columns, row: usize, key: u32) -> Option<&mut Sums> {
        let sums = self.sums.get_mut(key as usize)?;
        sums.first = sums.first.min(block.start[row]);
        sums.last = sums.last.max(block.start[row]);
        Some(sums)
    }

    fn counted(&mut self, block: &Columns, row: usize, key: u32, opens: bool) {
        let flags = block.flags[row];
        let Some(sums) = self.met(block, row, key) else { return };
        sums.calls += 1;
        sums.total += block.duration[row];
        let failed = flags & flag::ERROR != 0;
        sums.errors += u64::from(failed);
        sums.open_errors += u64::from(opens && failed);
        sums.opens += u64::from(opens && flags & NOT_OK == 0);
    }

    /// The name of the path in an argument: the resolved one, where there is one.
    fn given(&mut self, block: &Block, row: usize, argument: u8, base: Option<u8>) -> Result<u32, EngineError> {
        let columns = block.columns;
        let content =
            capture(columns, row, argument, Side::Resolved).or_else(|| capture(columns, row, argument, Side::In));
        let Some(content) = content else { return Ok(NONE) };
        let known = self.contents[content];
        if known.name != UNKNOWN && (known.directory == ROOT || known.directory == self.base(columns, row, base)) {
            return Ok(known.name);
        }
        let chunk = match block.contents[content] {
            Content::Inline(bytes) => return Ok(self.path(columns, row, content, bytes, base)),
            Content::Chunks { chunks, .. } => chunks[0],
        };
        if let Some(&name) = self.chunks.get(&chunk) {
            self.contents[content] = Named { directory: ROOT, name };
            return Ok(name);
        }
        let mut bytes = std::mem::take(&mut self.fetched);
        bytes.clear();
        self.trace.append_content(block.lazy, block.contents[content], &mut bytes)?;
        let name = self.path(columns, row, content, &bytes, base);
        self.fetched = bytes;
        if self.contents[content].directory == ROOT {
            self.chunks.insert(chunk, name);
        }
        Ok(name)
    }

    /// The name of a captured path.
    fn path(&mut self, columns: &Columns, row: usize, content: usize, bytes: &[u8], base: Option<u8>) -> u32 {
        let path = memchr::memchr(0, bytes).map_or(bytes, |end| &bytes[..end]);
        let directory = if path.first() == Some(&b'/') { ROOT } else { self.base(columns, row, base) };
        // Relative to nothing that is known, it names no file; an empty one is what it is relative to.
        let name = if directory == NONE || path.is_empty() { directory } else { self.number(directory, path) };
        self.contents[content] = Named { directory, name };
        name
    }

    /// The name of what a path is relative to.
    fn base(&mut self, columns: &Columns, row: usize, base: Option<u8>) -> u32 {
        let object = base.and_then(|base| object_in(columns, row, base)).or_else(|| object_in(columns, row, slot::CWD));
        let Some(index) = object else { return NONE };
        let known = self.directories[index as usize];
        if known != UNKNOWN {
            return known;
        }
        let name = match self.trace.definitions().object(index as usize) {
            Some(object) if object.path.first() == Some(&b'/') => self.number(ROOT, object.path),
            _ => NONE,
        };
        self.directories[index as usize] = name;
        name
    }

    fn object(&mut self, index: u32) -> u32 {
        let known = self.objects[index as usize];
        if known != UNKNOWN {
            return known;
        }
        let name = match self.trace.definitions().object(index as usize) {
            Some(object) if object.kind.is_named() && object.path.first() == Some(&b'/') => {
                self.number(ROOT, object.path)
            }
            _ => NONE,
        };
        self.objects[index as usize] = name;
        name
    }

    fn number(&mut self, directory: u32, path: &[u8]) -> u32 {
        let name = self.names.number(directory, path);
        self.left_out += u64::from(name == NONE);
        if name as usize == self.sums.len() {
            self.sums.push(Sums { first: f64::INFINITY, ..Sums::default() });
        }
        name
    }
}

/// The sums of names that were met, by normal path: `paths` takes these.
fn by_path(names: &Names, sums: &[Sums], mut paths: Names) -> Usage {
    let mut order: Vec<u32> = (0..sums.len() as u32).filter(|name| sums[*name as usize].first.is_finite()).collect();
    order.sort_by(|a, b| sums[*a as usize].first.total_cmp(&sums[*b as usize].first));
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

/// Bytes that a call which succeeded moved.
fn moved(block: &Columns, row: usize) -> Option<u64> {
    if block.flags[row] & NOT_OK != 0 {
        return None;
    }
    let low = u64::from(block.ret[2 * row] as u32);
    let high = if block.arch[row] == 1 { 0 } else { block.ret[2 * row + 1] };
    u64::try_from(high).ok().map(|high| high << 32 | low)
}

fn refs(block: &Columns, row: usize) -> Range<usize> {
    block.ref_start[row] as usize..block.ref_start[row + 1] as usize
}

fn object_in(block: &Columns, row: usize, place: u8) -> Option<u32> {
    refs(block, row).find(|&at| block.ref_slot[at] == place).map(|at| block.ref_object[at])
}

/// The content of the first capture of an argument on that side.
fn capture(block: &Columns, row: usize, argument: u8, side: Side) -> Option<usize> {
    let all = block.cap_start[row] as usize..block.cap_start[row + 1] as usize;
    all.into_iter()
        .find(|&at| block.cap_slot[at] == argument && block.cap_side[at] == side as u8)
        .map(|at| block.cap_content[at])
        .filter(|content| *content != NO_CONTENT)
        .map(|content| content as usize)
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
            let first = number as f64;
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
