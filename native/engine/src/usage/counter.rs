//! The one who counts: takes blocks in stored order, from whoever has one.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use trace_format::column::{Events, NO_CONTENT, Shape};
use trace_format::event::{EventKind, Side, flag, slot};

use super::names::{NONE, Names, ROOT};
use super::{Plans, Sums, plan_of, plans};
use crate::error::EngineError;
use crate::raw::ObjectKind;
use crate::reader::Content;

/// A block of events, and what they refer to.
pub(crate) trait Block {
    /// Its rows; what is looked at are shapes, times, results, contents and objects.
    fn events(&self) -> Events<'_>;

    /// How many contents it has.
    fn contents(&self) -> usize;

    fn content(&self, number: usize) -> Content<'_>;

    /// Appends the bytes of a content that an event has as its path.
    fn append_content(&self, number: usize, out: &mut Vec<u8>) -> Result<(), EngineError>;

    /// What an object is, and its path. It is asked for only once.
    fn object(&self, index: usize) -> Option<(ObjectKind, &[u8])>;
}

/// Not looked at yet.
const UNKNOWN: u32 = u32::MAX;

/// Long paths that are known again by their chunk.
const MAX_CHUNKS: usize = 1 << 20;

const NOT_OK: u8 = flag::ERROR | flag::NO_RETURN | flag::NO_RESULT;

/// Sums by name, of the blocks that were added.
pub(crate) struct Counter {
    plans: &'static Plans,
    pub(super) names: Names,
    /// By number of the name.
    pub(super) sums: Vec<Sums>,
    objects: Vec<Object>,
    /// By content of the block: what it named last, and relative to what.
    contents: Vec<Named>,
    /// Name by chunk of the trace: long absolute paths.
    chunks: HashMap<u64, u32, RandomState>,
    /// A long path.
    fetched: Vec<u8>,
    /// How often there was no room for a name.
    pub(super) left_out: u64,
}

/// The name of an object's path, which others may be relative to, and whether it is a file of that name itself.
#[derive(Clone, Copy)]
struct Object {
    name: u32,
    is_file: bool,
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

impl Counter {
    /// Of a trace that has this many objects.
    pub(crate) fn new(names: Names, objects: usize) -> Counter {
        Counter {
            plans: plans(),
            names,
            sums: Vec::new(),
            objects: vec![Object { name: UNKNOWN, is_file: false }; objects],
            contents: Vec::new(),
            chunks: HashMap::default(),
            fetched: Vec::new(),
            left_out: 0,
        }
    }

    /// Takes the next object, where blocks come before all objects are known.
    pub(crate) fn define(&mut self, kind: ObjectKind, path: &[u8]) {
        let object = self.named_object(kind, path);
        self.objects.push(object);
    }

    /// How many objects there are.
    pub(crate) fn objects(&self) -> usize {
        self.objects.len()
    }

    /// In stored order: nothing that is added up depends on the order.
    pub(crate) fn add(&mut self, block: &impl Block) -> Result<(), EngineError> {
        self.contents.clear();
        self.contents.resize(block.contents(), Named { directory: UNKNOWN, name: UNKNOWN });
        let events = &block.events();
        let work: Vec<Work> = events.shapes.iter().map(|shape| work(shape, events.signatures, self.plans)).collect();
        let (mut capture, mut reference) = (0, 0);
        for (row, &shape) in events.shape.iter().enumerate() {
            let work = &work[shape as usize];
            let event = Event { row, capture, reference, flags: work.flags };
            match &work.task {
                Task::Nothing => {}
                Task::Paths(given, opens) => self.paths(block, events, event, given, *opens)?,
                Task::Descriptors(_) => self.descriptors(block, events, event, work),
                Task::Exec(given) => self.named(block, events, event, *given, |sums| sums.execs += 1)?,
                Task::Map(given) => self.named(block, events, event, *given, |sums| sums.maps += 1)?,
            }
            capture += work.captures;
            reference += work.refs;
        }
        Ok(())
    }

    fn paths(
        &mut self,
        block: &impl Block,
        events: &Events,
        event: Event,
        given: &[Option<Given>; 2],
        opens: bool,
    ) -> Result<(), EngineError> {
        let mut first = NONE;
        for given in given.iter().flatten() {
            let key = self.given(block, events, event, *given)?;
            if key != first {
                self.counted(events, event, key, opens);
            }
            first = key;
        }
        Ok(())
    }

    fn descriptors(&mut self, block: &impl Block, events: &Events, event: Event, work: &Work) {
        let Task::Descriptors(descriptors) = &work.task else { return };
        let bytes = moved(events.ret[event.row], event.flags, work.is_i386);
        // By argument: a call that names a file twice is one call.
        let mut met = [NONE; 6];
        for descriptor in descriptors {
            let object = self.object(block, events.object[event.reference + descriptor.place]);
            let key = if object.is_file { object.name } else { NONE };
            if !met.contains(&key) {
                self.counted(events, event, key, false);
            }
            met[descriptor.argument] = key;
            let (Some(bytes), Some(sums)) = (bytes, self.sums.get_mut(key as usize)) else { continue };
            if descriptor.is_read {
                sums.reads += 1;
                sums.bytes_read = sums.bytes_read.saturating_add(bytes);
            }
            if descriptor.is_written {
                sums.writes += 1;
                sums.bytes_written = sums.bytes_written.saturating_add(bytes);
            }
        }
    }

    fn named(
        &mut self,
        block: &impl Block,
        events: &Events,
        event: Event,
        given: Given,
        count: impl FnOnce(&mut Sums),
    ) -> Result<(), EngineError> {
        let key = self.given(block, events, event, given)?;
        if let Some(sums) = self.met(events, event, key) {
            count(sums);
        }
        Ok(())
    }

    fn met(&mut self, events: &Events, event: Event, key: u32) -> Option<&mut Sums> {
        let sums = self.sums.get_mut(key as usize)?;
        let start = events.start[event.row];
        sums.first = sums.first.min(start);
        sums.last = sums.last.max(start);
        Some(sums)
    }

    fn counted(&mut self, events: &Events, event: Event, key: u32, opens: bool) {
        let duration = events.duration[event.row];
        let Some(sums) = self.met(events, event, key) else { return };
        sums.calls += 1;
        sums.total = sums.total.saturating_add(duration);
        let failed = event.flags & flag::ERROR != 0;
        sums.errors += u64::from(failed);
        sums.open_errors += u64::from(opens && failed);
        sums.opens += u64::from(opens && event.flags & NOT_OK == 0);
    }

    /// The name of the path in an argument: the resolved one, where there is one.
    fn given(&mut self, block: &impl Block, events: &Events, event: Event, given: Given) -> Result<u32, EngineError> {
        let content = |place: &usize| Some(events.content[event.capture + place]).filter(|found| *found != NO_CONTENT);
        let Some(content) = given.captures.iter().flatten().find_map(content) else { return Ok(NONE) };
        let content = content as usize;
        let base = given.base.map(|place| events.object[event.reference + place]);
        let known = self.contents[content];
        if known.name != UNKNOWN && (known.directory == ROOT || known.directory == self.base(block, base)) {
            return Ok(known.name);
        }
        let chunk = match block.content(content) {
            Content::Inline(bytes) => return Ok(self.path(block, content, bytes, base)),
            Content::Chunks { chunks, .. } => chunks[0],
        };
        if let Some(&name) = self.chunks.get(&chunk) {
            self.contents[content] = Named { directory: ROOT, name };
            return Ok(name);
        }
        let mut bytes = std::mem::take(&mut self.fetched);
        bytes.clear();
        block.append_content(content, &mut bytes)?;
        let name = self.path(block, content, &bytes, base);
        self.fetched = bytes;
        if self.contents[content].directory == ROOT {
            if self.chunks.len() >= MAX_CHUNKS {
                self.chunks.clear();
            }
            self.chunks.insert(chunk, name);
        }
        Ok(name)
    }

    /// The name of a captured path. `base` is the object that it is relative to.
    fn path(&mut self, block: &impl Block, content: usize, bytes: &[u8], base: Option<u64>) -> u32 {
        let path = memchr::memchr(0, bytes).map_or(bytes, |end| &bytes[..end]);
        let directory = if path.first() == Some(&b'/') { ROOT } else { self.base(block, base) };
        // Relative to nothing that is known, it names no file; an empty one is what it is relative to.
        let name = if directory == NONE || path.is_empty() { directory } else { self.number(directory, path) };
        self.contents[content] = Named { directory, name };
        name
    }

    /// The name of what a path is relative to.
    fn base(&mut self, block: &impl Block, object: Option<u64>) -> u32 {
        object.map_or(NONE, |index| self.object(block, index).name)
    }

    fn object(&mut self, block: &impl Block, index: u64) -> Object {
        let Some(&known) = self.objects.get(index as usize) else {
            // A reader refuses such a block.
            self.left_out += 1;
            return Object { name: NONE, is_file: false };
        };
        if known.name != UNKNOWN {
            return known;
        }
        let (kind, path) = block.object(index as usize).unwrap_or((ObjectKind::Unknown, &[]));
        let object = self.named_object(kind, path);
        self.objects[index as usize] = object;
        object
    }

    fn named_object(&mut self, kind: ObjectKind, path: &[u8]) -> Object {
        let name = if path.first() == Some(&b'/') { self.number(ROOT, path) } else { NONE };
        Object { name, is_file: kind.is_named() }
    }

    fn number(&mut self, directory: u32, path: &[u8]) -> u32 {
        let name = self.names.number(directory, path);
        self.left_out += u64::from(name == NONE);
        if name as usize == self.sums.len() {
            self.sums.push(Sums::default());
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
    let plan = plan_of(plans, shape.arch, shape.code);
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
                is_read: plan.transfer.from == Some(slot),
                is_written: plan.transfer.to == Some(slot),
            });
            Task::Descriptors(descriptors.collect())
        }
        _ => Task::Nothing,
    };
    Work { captures: captures.len(), refs: slots.len(), flags: shape.flags, is_i386, task }
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
