//! What the calls of a trace did with each path: counts, bytes and times, added up while its blocks are decoded.
//!
//! Which calls name paths, open or move bytes is not known here. The caller says so in a [`Plan`] per syscall; a path is
//! reported as it was captured, behind the directory that it is relative to.

pub mod names;

use std::collections::HashMap;

use foldhash::fast::RandomState;
use trace_format::column::{Events, NO_CONTENT, Projection, Shape};
use trace_format::event::{EventKind, Side, flag, slot};

use crate::error::EngineError;
use crate::path::normal;
use crate::reader::{Content, StoredBlock, Trace};
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
    for number in 0..trace.blocks().len() {
        if let Err(error) = trace.visit_block(number, projection, |block| counter.add(block)) {
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
    tick_ns: f64,
    names: Names,
    /// By number of the name.
    sums: Vec<Sums>,
    /// Name by object, of those that have one.
    objects: Vec<u32>,
    /// Name by object, of whatever paths are relative to.
    directories: Vec<u32>,
    /// By content of the block: where its bytes begin, or its chunks.
    places: Vec<u32>,
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

/// What is to be done with the events of one shape.
struct Work {
    /// How many captures and references an event has.
    captures: usize,
    refs: usize,
    flags: u8,
    is_i386: bool,
    task: Task,
}

enum Task {
    Nothing,
    /// A call that names paths, and whether it opens them.
    Paths([Option<Given>; 2], bool),
    /// A call that works on descriptors in arguments.
    Descriptors(Vec<Descriptor>),
    Exec(Given),
    Map(Given),
}

/// Places of a path among the captures of an event, best first, and of what it is relative to among its references.
#[derive(Clone, Copy)]
struct Given {
    captures: [Option<usize>; 2],
    base: Option<usize>,
}

struct Descriptor {
    /// Among the references of the event.
    place: usize,
    argument: usize,
    is_read: bool,
    is_written: bool,
}

/// One event: where it is in the columns of its block.
#[derive(Clone, Copy)]
struct Event {
    row: usize,
    capture: usize,
    reference: usize,
    flags: u8,
}

impl<'a> Counter<'a> {
    fn new(trace: &'a Trace, plans: &'a Plans) -> Counter<'a> {
        let objects = trace.definitions().object_count();
        Counter {
            trace,
            plans,
            tick_ns: trace.header().tick_ns.into(),
            names: Names::default(),
            sums: Vec::new(),
            objects: vec![UNKNOWN; objects],
            directories: vec![UNKNOWN; objects],
            places: Vec::new(),
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

    /// In stored order: nothing that is added up depends on the order.
    fn add(&mut self, stored: &StoredBlock) -> Result<(), EngineError> {
        stored.places(&mut self.places);
        self.contents.clear();
        self.contents.resize(self.places.len(), Named { directory: UNKNOWN, name: UNKNOWN });
        let events = stored.events;
        let work: Vec<Work> = events.shapes.iter().map(|shape| work(shape, events.signatures, self.plans)).collect();
        let (mut capture, mut reference) = (0, 0);
        for (row, &shape) in events.shape.iter().enumerate() {
            let work = &work[shape as usize];
            let event = Event { row, capture, reference, flags: work.flags };
            match &work.task {
                Task::Nothing => {}
                Task::Paths(given, opens) => self.paths(stored, event, given, *opens)?,
                Task::Descriptors(descriptors) => self.descriptors(events, event, work.is_i386, descriptors),
                Task::Exec(given) => self.named(stored, event, *given, |sums| sums.execs += 1)?,
                Task::Map(given) => self.named(stored, event, *given, |sums| sums.maps += 1)?,
            }
            capture += work.captures;
            reference += work.refs;
        }
        Ok(())
    }

    fn paths(
        &mut self,
        block: &StoredBlock,
        event: Event,
        given: &[Option<Given>; 2],
        opens: bool,
    ) -> Result<(), EngineError> {
        let mut first = NONE;
        for given in given.iter().flatten() {
            let key = self.given(block, event, *given)?;
            if key != first {
                self.counted(block.events, event, key, opens);
            }
            first = key;
        }
        Ok(())
    }

    fn descriptors(&mut self, events: Events, event: Event, is_i386: bool, descriptors: &[Descriptor]) {
        let bytes = moved(events.ret[event.row], event.flags, is_i386);
        // By argument: a call that names a file twice is one call.
        let mut met = [NONE; 6];
        for descriptor in descriptors {
            let key = self.object(events.object[event.reference + descriptor.place] as u32);
            if !met.contains(&key) {
                self.counted(events, event, key, false);
            }
            met[descriptor.argument] = key;
            let (Some(bytes), Some(sums)) = (bytes, self.sums.get_mut(key as usize)) else { continue };
            if descriptor.is_read {
                sums.reads += 1;
                sums.bytes_read += bytes;
            }
            if descriptor.is_written {
                sums.writes += 1;
                sums.bytes_written += bytes;
            }
        }
    }

    fn named(
        &mut self,
        block: &StoredBlock,
        event: Event,
        given: Given,
        count: impl FnOnce(&mut Sums),
    ) -> Result<(), EngineError> {
        let key = self.given(block, event, given)?;
        if let Some(sums) = self.met(block.events, event, key) {
            count(sums);
        }
        Ok(())
    }

    fn met(&mut self, events: Events, event: Event, key: u32) -> Option<&mut Sums> {
        let sums = self.sums.get_mut(key as usize)?;
        let start = events.start[event.row] as f64 * self.tick_ns;
        sums.first = sums.first.min(start);
        sums.last = sums.last.max(start);
        Some(sums)
    }

    fn counted(&mut self, events: Events, event: Event, key: u32, opens: bool) {
        let duration = events.duration[event.row] as f64 * self.tick_ns;
        let Some(sums) = self.met(events, event, key) else { return };
        sums.calls += 1;
        sums.total += duration;
        let failed = event.flags & flag::ERROR != 0;
        sums.errors += u64::from(failed);
        sums.open_errors += u64::from(opens && failed);
        sums.opens += u64::from(opens && event.flags & NOT_OK == 0);
    }

    /// The name of the path in an argument: the resolved one, where there is one.
    fn given(&mut self, block: &StoredBlock, event: Event, given: Given) -> Result<u32, EngineError> {
        let events = block.events;
        let content = |place: &usize| Some(events.content[event.capture + place]).filter(|found| *found != NO_CONTENT);
        let Some(content) = given.captures.iter().flatten().find_map(content) else { return Ok(NONE) };
        let content = content as usize;
        let base = given.base.map(|place| events.object[event.reference + place] as u32);
        let known = self.contents[content];
        if known.name != UNKNOWN && (known.directory == ROOT || known.directory == self.base(base)) {
            return Ok(known.name);
        }
        let found = block.content(content, self.places[content]);
        let chunk = match found {
            Content::Inline(bytes) => return Ok(self.path(content, bytes, base)),
            Content::Chunks { chunks, .. } => chunks[0],
        };
        if let Some(&name) = self.chunks.get(&chunk) {
            self.contents[content] = Named { directory: ROOT, name };
            return Ok(name);
        }
        let mut bytes = std::mem::take(&mut self.fetched);
        bytes.clear();
        block.append_content(found, &mut bytes)?;
        let name = self.path(content, &bytes, base);
        self.fetched = bytes;
        if self.contents[content].directory == ROOT {
            self.chunks.insert(chunk, name);
        }
        Ok(name)
    }

    /// The name of a captured path. `base` is the object that it is relative to.
    fn path(&mut self, content: usize, bytes: &[u8], base: Option<u32>) -> u32 {
        let path = memchr::memchr(0, bytes).map_or(bytes, |end| &bytes[..end]);
        let directory = if path.first() == Some(&b'/') { ROOT } else { self.base(base) };
        // Relative to nothing that is known, it names no file; an empty one is what it is relative to.
        let name = if directory == NONE || path.is_empty() { directory } else { self.number(directory, path) };
        self.contents[content] = Named { directory, name };
        name
    }

    /// The name of what a path is relative to.
    fn base(&mut self, object: Option<u32>) -> u32 {
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

/// What the events of a shape do with paths. `signatures` are those of all shapes.
fn work(shape: &Shape, signatures: &[u8], plans: &Plans) -> Work {
    let is_i386 = shape.arch == 1;
    let captures = &signatures[shape.captures.start as usize..shape.captures.end as usize];
    let slots = &signatures[shape.refs.start as usize..shape.refs.end as usize];
    let capture = |argument: u8, side: Side| {
        captures.iter().position(|signature| signature >> 4 == argument && signature >> 2 & 3 == side as u8)
    };
    let reference = |wanted: u8| slots.iter().position(|slot| *slot == wanted);
    let given = |argument: u8, base: Option<u8>| Given {
        captures: [capture(argument, Side::Resolved), capture(argument, Side::In)],
        base: base.and_then(reference).or_else(|| reference(slot::CWD)),
    };
    let plan = usize::try_from(shape.code).ok().and_then(|code| plans[usize::from(is_i386)].get(code));
    let task = match (EventKind::from_code(shape.kind), plan) {
        _ if shape.flags & flag::INTERRUPTED != 0 => Task::Nothing,
        (Some(EventKind::Exec), _) => Task::Exec(given(0, None)),
        (Some(EventKind::Map), _) => Task::Map(given(0, None)),
        (Some(EventKind::Call), Some(plan)) if plan.paths[0].is_some() => {
            let path = |k: usize| plan.paths[k].map(|argument| given(argument, plan.bases[k]));
            Task::Paths([path(0), path(1)], plan.opens)
        }
        (Some(EventKind::Call), Some(plan)) => {
            let arguments = slots.iter().enumerate().filter(|(_, slot)| **slot < 6);
            let descriptors = arguments.map(|(place, &slot)| Descriptor {
                place,
                argument: slot.into(),
                is_read: plan.from == Some(slot),
                is_written: plan.to == Some(slot),
            });
            Task::Descriptors(descriptors.collect())
        }
        _ => Task::Nothing,
    };
    Work { captures: captures.len(), refs: slots.len(), flags: shape.flags, is_i386, task }
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
fn moved(ret: u64, flags: u8, is_i386: bool) -> Option<u64> {
    if flags & NOT_OK != 0 {
        return None;
    }
    if is_i386 {
        return Some(ret & 0xffff_ffff);
    }
    i64::try_from(ret).ok().map(|_| ret)
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
