//! What the calls of a trace did with each path: counts, bytes and times, added up while its blocks are decoded.
//!
//! Which calls name paths, open or move bytes is not known here. The caller says so in a [`Plan`] per syscall; a path is
//! reported as it was captured, behind the directory that it is relative to.

use std::collections::HashMap;
use std::ops::Range;

use trace_format::column::{Columns, NO_CONTENT, Projection};
use trace_format::event::{EventKind, Side, flag, slot};

use crate::error::EngineError;
use crate::reader::Trace;

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

/// The result: absolute paths up to their NUL, not made normal, and their sums, in the order in which they were met.
#[derive(Default)]
pub struct Usage {
    pub keys: Vec<Vec<u8>>,
    pub sums: Vec<Sums>,
    /// What ended the reading early.
    pub failure: Option<EngineError>,
}

/// Adds up all events of the trace.
#[must_use]
pub fn usage(trace: &Trace, plans: &Plans) -> Usage {
    let mut counter = Counter {
        trace,
        plans,
        numbers: HashMap::new(),
        joined: Vec::new(),
        objects: vec![UNKNOWN; trace.definitions().object_count()],
        contents: Vec::new(),
        usage: Usage::default(),
    };
    let projection = Projection { results: true, contents: true, refs: true, ..Projection::CORE };
    for number in 0..trace.blocks().len() {
        match trace.decode_block(number, projection) {
            Ok(columns) => counter.add(&columns),
            Err(error) => {
                counter.usage.failure = Some(error);
                break;
            }
        }
    }
    counter.usage
}

/// Not looked at yet; no path.
const UNKNOWN: u32 = u32::MAX;
const NONE: u32 = u32::MAX - 1;

const NOT_OK: u8 = flag::ERROR | flag::NO_RETURN | flag::NO_RESULT;

struct Counter<'a> {
    trace: &'a Trace,
    plans: &'a Plans,
    /// Numbers of the keys. By the path of its directory, since each opening of one is an object of its own.
    numbers: HashMap<Vec<u8>, u32>,
    /// The path that was put together last.
    joined: Vec<u8>,
    /// Number of the key by object.
    objects: Vec<u32>,
    /// Number of the key by content of the block, of absolute paths.
    contents: Vec<u32>,
    usage: Usage,
}

impl Counter<'_> {
    fn add(&mut self, block: &Columns) {
        self.contents.clear();
        self.contents.resize(block.content_start.len(), UNKNOWN);
        for row in 0..block.count as usize {
            if block.flags[row] & flag::INTERRUPTED != 0 {
                continue;
            }
            match EventKind::from_code(block.kind[row]) {
                Some(EventKind::Call) => self.call(block, row),
                Some(EventKind::Exec) => self.named(block, row, |sums| sums.execs += 1),
                Some(EventKind::Map) => self.named(block, row, |sums| sums.maps += 1),
                _ => {}
            }
        }
    }

    fn call(&mut self, block: &Columns, row: usize) {
        let plans = &self.plans[usize::from(block.arch[row] == 1)];
        let Some(plan) = usize::try_from(block.code[row]).ok().and_then(|code| plans.get(code)).copied() else {
            return;
        };
        if plan.paths[0].is_some() {
            let mut first = NONE;
            for (path, base) in plan.paths.iter().zip(plan.bases) {
                let Some(path) = *path else { continue };
                let key = self.given(block, row, path, base);
                if key != first {
                    self.counted(block, row, key, plan.opens);
                }
                first = key;
            }
            return;
        }
        let bytes = moved(block, row);
        // By argument: a call that names a file twice is one call.
        let mut met = [NONE; 6];
        for at in refs(block, row) {
            let place = block.ref_slot[at];
            if usize::from(place) >= met.len() {
                continue;
            }
            let key = self.object(block.ref_object[at]);
            if !met.contains(&key) {
                self.counted(block, row, key, false);
            }
            met[usize::from(place)] = key;
            let (Some(bytes), Some(sums)) = (bytes, self.usage.sums.get_mut(key as usize)) else { continue };
            if plan.from == Some(place) {
                sums.reads += 1;
                sums.bytes_read += bytes;
            }
            if plan.to == Some(place) {
                sums.writes += 1;
                sums.bytes_written += bytes;
            }
        }
    }

    fn named(&mut self, block: &Columns, row: usize, count: impl FnOnce(&mut Sums)) {
        let key = self.given(block, row, 0, None);
        if let Some(sums) = self.met(block, row, key) {
            count(sums);
        }
    }

    fn met(&mut self, block: &Columns, row: usize, key: u32) -> Option<&mut Sums> {
        let sums = self.usage.sums.get_mut(key as usize)?;
        sums.first = sums.first.min(block.start[row]);
        sums.last = block.start[row];
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

    /// The key of the path in an argument: the resolved one, where there is one.
    fn given(&mut self, block: &Columns, row: usize, argument: u8, base: Option<u8>) -> u32 {
        let content = capture(block, row, argument, Side::Resolved).or_else(|| capture(block, row, argument, Side::In));
        let Some(content) = content else { return NONE };
        if self.contents[content] != UNKNOWN {
            return self.contents[content];
        }
        let bytes = &block.bytes[block.content_start[content] as usize..block.content_start[content + 1] as usize];
        let path = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        if path.first() == Some(&b'/') {
            let number = self.number(path);
            self.contents[content] = number;
            return number;
        }
        let directory = base.and_then(|base| object_in(block, row, base)).or_else(|| object_in(block, row, slot::CWD));
        // Relative to nothing that is known, it names no file.
        directory.map_or(NONE, |directory| self.below(directory, path))
    }

    fn object(&mut self, index: u32) -> u32 {
        let known = self.objects[index as usize];
        if known != UNKNOWN {
            return known;
        }
        let number = match self.trace.definitions().object(index as usize) {
            Some(object) if object.kind.is_named() && object.path.first() == Some(&b'/') => self.number(object.path),
            _ => NONE,
        };
        self.objects[index as usize] = number;
        number
    }

    /// The key of a path that is relative to an object; an empty one is the object itself.
    fn below(&mut self, directory: u32, path: &[u8]) -> u32 {
        let Some(object) = self.trace.definitions().object(directory as usize) else { return NONE };
        if object.path.first() != Some(&b'/') {
            return NONE;
        }
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        joined.extend_from_slice(object.path);
        if !path.is_empty() {
            joined.push(b'/');
            joined.extend_from_slice(path);
        }
        let number = self.number(&joined);
        self.joined = joined;
        number
    }

    fn number(&mut self, path: &[u8]) -> u32 {
        // Most are known: those cost no copy.
        if let Some(known) = self.numbers.get(path) {
            return *known;
        }
        let number = self.usage.keys.len() as u32;
        if number < NONE {
            self.usage.keys.push(path.to_vec());
            self.usage.sums.push(Sums { first: f64::INFINITY, ..Sums::default() });
        }
        self.numbers.insert(path.to_vec(), number);
        number
    }
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
