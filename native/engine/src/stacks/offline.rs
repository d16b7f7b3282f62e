//! Stacks of calls whose threads were copied while they were recorded: the memory of a stack from the copy, the code around it by
//! the events that mapped it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use trace_format::column::{Columns, Projection};
use trace_format::event::{EventKind, Side, flag};

use super::Stacks;
use super::collect::{Collector, Moment, Region, region_at};
use super::samples::Sample;
use crate::error::EngineError;
use crate::interpreters::Memory;
use crate::reader::Trace;
use crate::replay::event::Event;
use crate::replay::scan;
use crate::replay::stacks::Wanted;
use crate::store::Hash;
use crate::unwind::{Code, End, Process, Registers};

/// Most executable mappings of a process.
const MOST_MAPPINGS: usize = 1 << 16;
const PROT_EXEC: u64 = libc::PROT_EXEC as u64;
const CLONE_VM: u64 = libc::CLONE_VM as u64;

/// Stacks of copied threads, and the files of which nothing but the name was at hand.
#[derive(Debug, Default)]
pub struct Offline {
    pub stacks: Stacks,
    pub gone: Vec<String>,
}

/// A piece of executable memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    hash: Option<Hash>,
}

/// The executable memory of a process.
#[derive(Clone, Debug, Default)]
struct Space {
    /// No other one has it.
    number: u64,
    /// By address, apart from each other.
    mappings: Vec<Mapping>,
}

impl Space {
    /// Forgets what is executable between two addresses.
    fn remove(&mut self, start: u64, end: u64) {
        let mut kept = Vec::with_capacity(self.mappings.len() + 1);
        for mapping in &self.mappings {
            if mapping.end <= start || end <= mapping.start {
                kept.push(*mapping);
                continue;
            }
            if mapping.start < start {
                kept.push(Mapping { end: start, ..*mapping });
            }
            if end < mapping.end {
                kept.push(Mapping { start: end, offset: mapping.offset.wrapping_add(end - mapping.start), ..*mapping });
            }
        }
        self.mappings = kept;
    }

    fn add(&mut self, mapping: Mapping) {
        if mapping.start >= mapping.end || self.mappings.len() >= MOST_MAPPINGS {
            return;
        }
        self.remove(mapping.start, mapping.end);
        let at = self.mappings.partition_point(|other| other.start < mapping.start);
        self.mappings.insert(at, mapping);
    }
}

/// Address spaces as the events change them.
struct Spaces<'a> {
    trace: &'a Trace,
    of: HashMap<u32, Rc<RefCell<Space>>>,
    made: u64,
    /// Counts changes.
    version: u64,
}

impl Spaces<'_> {
    fn process(&self, thread: u32) -> u32 {
        self.trace.definitions().threads().get(thread as usize).map_or(0, |thread| thread.process)
    }

    fn make(&mut self, process: u32, mappings: Vec<Mapping>) {
        self.made += 1;
        self.of.insert(process, Rc::new(RefCell::new(Space { number: self.made, mappings })));
    }

    fn space(&mut self, process: u32) -> Rc<RefCell<Space>> {
        if !self.of.contains_key(&process) {
            self.make(process, Vec::new());
        }
        self.of.get(&process).map(Rc::clone).unwrap_or_default()
    }

    /// Follows an event; the file of a mapping, when it is one.
    fn note(&mut self, event: &Event<'_>) -> Option<(Hash, Vec<u8>)> {
        let process = self.process(event.thread());
        match event.kind() {
            EventKind::Exec => self.make(process, Vec::new()),
            EventKind::Task => self.born(event, process),
            EventKind::Map => {
                let hash = event.captured(2, Side::In).and_then(|bytes| Hash::try_from(bytes).ok());
                let end = event.arg(0).saturating_add(event.arg(1));
                let mapping = Mapping { start: event.arg(0), end, offset: event.arg(2), hash };
                self.space(process).borrow_mut().add(mapping);
                self.version += 1;
                return hash.map(|hash| (hash, event.captured(0, Side::In).unwrap_or_default().to_vec()));
            }
            EventKind::Call if event.flags() & (flag::ERROR | flag::NO_RETURN) == 0 => {
                let changes = change(event, &mut self.space(process).borrow_mut());
                self.version += u64::from(changes);
                return None;
            }
            _ => return None,
        }
        self.version += 1;
        None
    }

    /// A new process has the memory of the one that made it, or a copy; a new thread is in its process already.
    fn born(&mut self, event: &Event<'_>, process: u32) {
        let Some(parent) = event.arg(0).checked_sub(1).and_then(|index| u32::try_from(index).ok()) else { return };
        let parent = self.process(parent);
        if parent == process {
            return;
        }
        let space = self.space(parent);
        if event.arg(1) & CLONE_VM == 0 {
            let mappings = space.borrow().mappings.clone();
            self.make(process, mappings);
        } else {
            self.of.insert(process, space);
        }
    }
}

/// What a call changes about executable memory. Files that it maps have an event of their own.
fn change(event: &Event<'_>, space: &mut Space) -> bool {
    if event.arch() != 0 {
        return false;
    }
    let (start, length) = match scan::name(event) {
        "mmap" => (event.ret().cast_unsigned(), event.arg(1)),
        "munmap" | "mprotect" | "pkey_mprotect" | "mremap" => (event.arg(0), event.arg(1)),
        _ => return false,
    };
    let page = |value: u64| value.saturating_add(0xfff) & !0xfff;
    let end = start.saturating_add(page(length));
    let covered = space.mappings.iter().any(|mapping| mapping.start <= start && end <= mapping.end);
    match scan::name(event) {
        "mmap" if event.arg(2) & PROT_EXEC != 0 => space.add(Mapping { start, end, offset: 0, hash: None }),
        "mprotect" | "pkey_mprotect" if event.arg(2) & PROT_EXEC != 0 => {
            // Code that was made writable for a moment is the file's all the same.
            if !covered {
                space.add(Mapping { start, end, offset: 0, hash: None });
            }
        }
        "mprotect" | "pkey_mprotect" => return false,
        _ => space.remove(start, end),
    }
    true
}

/// Memory of a copied thread, and code of files.
struct Copied<'s> {
    sample: &'s Sample,
    regions: &'s [Region],
}

impl Process for Copied<'_> {
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> bool {
        let mut sample = self.sample;
        if sample.read(addr, buffer) {
            return true;
        }
        let Some(region) = region_at(self.regions, addr) else { return false };
        let inside = addr.checked_add(buffer.len() as u64).is_some_and(|end| end <= region.end);
        let module = region.code.module.as_ref().filter(|_| inside);
        module.is_some_and(|module| module.read(addr.wrapping_add(region.code.to_file), buffer))
    }

    fn code_at(&mut self, addr: u64) -> Option<Code> {
        region_at(self.regions, addr).map(|region| region.code.clone())
    }
}

/// Goes through events and samples side by side.
struct Maker<'a> {
    trace: &'a Trace,
    collector: Collector<'a>,
    spaces: Spaces<'a>,
    /// By number of the space: what it was made of, and when.
    regions: HashMap<u64, (u64, Vec<Region>)>,
    /// The next event: its block, and its row there.
    block: usize,
    row: usize,
    columns: Option<Columns>,
}

impl Maker<'_> {
    /// Follows the events in front of one.
    fn advance(&mut self, to: u64) -> Result<(), EngineError> {
        while let Some(block) = self.trace.blocks().get(self.block) {
            if block.first_seq + self.row as u64 >= to {
                break;
            }
            let columns = match self.columns.take() {
                Some(columns) => columns,
                None => self.trace.decode_block(self.block, Projection::ALL)?,
            };
            while self.row < columns.count as usize {
                let event = Event::new(&columns, self.row);
                if event.seq() >= to {
                    break;
                }
                if let Some((hash, path)) = self.spaces.note(&event) {
                    self.collector.paths.entry(hash).or_insert(path);
                }
                self.row += 1;
            }
            if self.row < columns.count as usize {
                self.columns = Some(columns);
            } else {
                (self.block, self.row) = (self.block + 1, 0);
            }
        }
        Ok(())
    }

    fn take(&mut self, sample: &Sample) {
        let process = self.spaces.process(sample.thread);
        let space = self.spaces.space(process);
        let space = space.borrow();
        let (version, regions) = self.regions.entry(space.number).or_default();
        if *version != self.spaces.version || regions.is_empty() {
            *version = self.spaces.version;
            let mappings = space.mappings.iter();
            *regions = mappings
                .map(|Mapping { start, end, offset, hash }| self.collector.region(*start, *end, *offset, *hash))
                .collect();
        }
        let regs = sample.registers();
        let end = match self.collector.unwind(Registers::of(&regs), &mut Copied { sample, regions }) {
            End::Unreadable => End::NotCopied,
            end => end,
        };
        let moment = Moment { seq: sample.seq, process, space: space.number, thread_pointer: regs.fs_base };
        let mut memory = sample;
        self.collector.add(moment, end, regions, &mut memory);
    }
}

/// Makes the stacks of copied threads; nothing when the trace has none of them. The memory of a process is taken to be as it
/// was when the thread entered the call, or, of a call that lasted long, as it was when others had ended meanwhile.
///
/// # Errors
/// When the trace is damaged.
pub fn stacks(trace: &Trace, wanted: &Wanted) -> Result<Option<Offline>, EngineError> {
    if !trace.has_samples() {
        return Ok(None);
    }
    let spaces = Spaces { trace, of: HashMap::new(), made: 0, version: 0 };
    let collector = Collector::new(trace);
    let mut maker = Maker { trace, collector, spaces, regions: HashMap::new(), block: 0, row: 0, columns: None };
    maker.collector.read_maps(trace)?;
    for samples in trace.samples() {
        let mut samples: Vec<Sample> = samples?.into_iter().filter(|sample| wanted.has(sample.seq)).collect();
        samples.sort_by_key(|sample| sample.entry);
        for sample in &samples {
            maker.advance(sample.entry)?;
            maker.take(sample);
        }
    }
    let gone = maker.collector.gone();
    Ok(Some(Offline { stacks: maker.collector.into_symbolized(), gone }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_cut_where_others_come_or_go() {
        let mapping = |start, end, offset| Mapping { start, end, offset, hash: None };
        let mut space = Space::default();
        space.add(mapping(0x1000, 0x9000, 0x100));
        space.remove(0x3000, 0x4000);
        assert_eq!(space.mappings, [mapping(0x1000, 0x3000, 0x100), mapping(0x4000, 0x9000, 0x3100)]);
        space.add(mapping(0x2000, 0x5000, 7));
        let all = [mapping(0x1000, 0x2000, 0x100), mapping(0x2000, 0x5000, 7), mapping(0x5000, 0x9000, 0x4100)];
        assert_eq!(space.mappings, all);
        space.remove(0, u64::MAX);
        space.add(mapping(9, 9, 0));
        assert_eq!(space.mappings, []);
    }
}
