//! From a stopped thread to a row of [`Stacks`]: its frames of machine code, with those of interpreters in their places.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::binary::Binaries;
use crate::error::EngineError;
use crate::interpreters::Memory;
use crate::interpreters::perf_map::PerfMaps;
use crate::interpreters::python::{self, Native, Runtime};
use crate::quick::QuickMap;
use crate::reader::Trace;
use crate::stacks::rows::Rows;
use crate::stacks::{COMPILED, CodeFile, EXACT, GUESSED, INTERPRETED, INTERRUPTED, NO_FILE, Place, Stacks, TRAMPOLINE};
use crate::store::{Hash, Store};
use crate::symbolize::Source;
use crate::unwind::module::Module;
use crate::unwind::{self, Code, End, Frame, How, Process, Registers, Unwinder};

/// A piece of executable memory.
pub struct Region {
    pub start: u64,
    pub end: u64,
    pub offset: u64,
    pub file: u32,
    pub code: Code,
    python: Option<Rc<Runtime>>,
}

/// The region at an address; they are in ascending order.
#[must_use]
pub fn region_at(regions: &[Region], addr: u64) -> Option<&Region> {
    let next = regions.partition_point(|region| region.start <= addr);
    regions[..next].last().filter(|region| addr < region.end)
}

/// What is known of a file.
#[derive(Clone)]
struct Image {
    number: u32,
    module: Option<Rc<Module>>,
    python: Option<Rc<Runtime>>,
}

/// Whose stack it is, and when.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub seq: u64,
    /// The process, as the trace numbers it.
    pub process: u32,
    /// The address space: no other one has this number.
    pub space: u64,
    /// Base of %fs, where threads of C libraries know themselves.
    pub thread_pointer: u64,
}

/// Collects stacks, and keeps what is known of the files from one to the next.
pub struct Collector<'a> {
    binaries: Binaries<'a>,
    maps: PerfMaps,
    /// Where files were.
    pub paths: HashMap<Hash, Vec<u8>>,
    images: HashMap<Hash, Image>,
    python: python::Reader,
    unwinder: Unwinder,
    frames: Vec<Frame>,
    /// Files that are not at hand.
    gone: Vec<Hash>,
    rows: Rows,
    /// Places of frames of Python that were met already.
    scripts: QuickMap<python::Place, u32>,
    /// Room for the places of a row.
    row: Vec<u32>,
}

impl<'a> Collector<'a> {
    #[must_use]
    pub fn new(trace: &'a Trace) -> Collector<'a> {
        Collector {
            binaries: Binaries::new(trace, Store::of_user()),
            maps: PerfMaps::default(),
            paths: HashMap::new(),
            images: HashMap::new(),
            python: python::Reader::default(),
            unwinder: Unwinder::default(),
            frames: Vec::new(),
            gone: Vec::new(),
            rows: Rows::default(),
            scripts: QuickMap::default(),
            row: Vec::new(),
        }
    }

    /// Where the files were of which only the name is at hand.
    #[must_use]
    pub fn gone(&self) -> Vec<String> {
        let path = |hash| self.paths.get(hash).map(|path| String::from_utf8_lossy(path).into_owned());
        self.gone.iter().filter_map(path).collect()
    }

    /// Names code that was compiled at run time, where programs have told its names in the recording.
    ///
    /// # Errors
    /// When the trace is damaged.
    pub fn read_maps(&mut self, trace: &Trace) -> Result<(), EngineError> {
        self.maps = PerfMaps::of(trace)?;
        Ok(())
    }

    /// A piece of executable memory with the file behind it.
    pub fn region(&mut self, start: u64, end: u64, offset: u64, hash: Option<Hash>) -> Region {
        let image = hash.map(|hash| self.image(hash));
        let Image { number, module, python } = image.unwrap_or(Image { number: NO_FILE, module: None, python: None });
        let address = module.as_ref().and_then(|module| module.address_of(offset));
        let to_file = address.map_or(0, |address| address.wrapping_sub(start));
        let code = Code { module: module.filter(|_| address.is_some()), to_file };
        Region { start, end, offset, file: number, code, python: python.filter(|_| address.is_some()) }
    }

    fn image(&mut self, hash: Hash) -> Image {
        if let Some(known) = self.images.get(&hash) {
            return known.clone();
        }
        let number = self.rows.stacks.files.len() as u32;
        let path = self.paths.get(&hash).cloned().unwrap_or_default();
        self.rows.stacks.files.push(CodeFile { hash, path });
        let binary = self.binaries.get(&hash);
        if binary.is_none() {
            self.gone.push(hash);
        }
        let python = binary.as_ref().and_then(Runtime::of).map(Rc::new);
        let module = binary.and_then(|binary| Module::new(Arc::new(binary))).map(Rc::new);
        let image = Image { number, module, python };
        self.images.insert(hash, image.clone());
        image
    }

    /// Finds the frames of a thread; why there are no more of them.
    pub fn unwind(&mut self, registers: Registers, process: &mut impl Process) -> End {
        self.frames.clear();
        self.unwinder.unwind(registers, process, &mut self.frames)
    }

    /// Addresses of the frames that were found: return addresses, innermost first.
    pub fn addresses(&self) -> Vec<u64> {
        self.frames.iter().map(|frame| frame.address).collect()
    }

    /// The functions of an interpreter among the frames that were found last, innermost first.
    pub fn script(&mut self, moment: Moment, end: End, regions: &[Region], memory: &mut impl Memory) -> Vec<Source> {
        let found = self.interpreted(moment, end, regions, memory);
        found.into_iter().flat_map(|(_, places)| places).map(|place| self.python.source(place)).collect()
    }

    /// Adds the frames that were found last as the stack of an event.
    pub fn add(&mut self, moment: Moment, end: End, regions: &[Region], memory: &mut impl Memory) {
        let mut instead = self.interpreted(moment, end, regions, memory).into_iter().peekable();
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        for (index, frame) in self.frames.iter().enumerate() {
            // One more than are kept says that there are more.
            if row.len() > unwind::MOST_FRAMES {
                break;
            }
            match instead.next_if(|(replaced, _)| *replaced == index) {
                Some((_, places)) => {
                    let Collector { rows, python, scripts, .. } = self;
                    row.extend(places.into_iter().map(|place| scripted(rows, python, scripts, place)));
                }
                None => row.push(native(&mut self.rows, &self.maps, frame, moment, regions)),
            }
        }
        self.rows.add(moment.seq, end, &row);
        self.row = row;
    }

    /// Adds an event without frames.
    pub fn row(&mut self, seq: u64, end: u8) {
        self.rows.end(seq, end);
    }

    /// The stacks that were added, in the order of their events and with their functions.
    #[must_use]
    pub fn into_symbolized(self) -> Stacks {
        let mut stacks = self.rows.stacks;
        stacks.sort();
        stacks.symbolize(&self.binaries);
        stacks
    }

    /// The stacks that were added.
    #[must_use]
    pub fn into_stacks(self) -> Stacks {
        self.rows.stacks
    }

    /// Frames of interpreters, by the native frame that they stand for.
    fn interpreted(
        &mut self,
        moment: Moment,
        end: End,
        regions: &[Region],
        memory: &mut impl Memory,
    ) -> Vec<(usize, Vec<python::Place>)> {
        let Some(region) = regions.iter().find(|region| region.python.is_some()) else { return Vec::new() };
        let Some(runtime) = region.python.as_ref() else { return Vec::new() };
        let native: Vec<Native> = self
            .frames
            .iter()
            .map(|frame| {
                let at = region_at(regions, frame.lookup()).filter(|at| at.file == region.file);
                Native { inside: at.map(|at| frame.lookup().wrapping_add(at.code.to_file)), sp: frame.sp }
            })
            .collect();
        if native.iter().all(|frame| frame.inside.is_none()) {
            return Vec::new();
        }
        let thread = python::Thread {
            pthread: moment.thread_pointer,
            process: moment.space,
            bias: 0_u64.wrapping_sub(region.code.to_file),
        };
        self.python.frames(runtime, thread, &native, end == End::Complete, memory)
    }
}

/// Most frames of Python whose numbers are remembered.
const MOST_SCRIPTS: usize = 1 << 20;

/// The number of the place of a frame of Python.
fn scripted(
    rows: &mut Rows,
    python: &python::Reader,
    known: &mut QuickMap<python::Place, u32>,
    place: python::Place,
) -> u32 {
    if let Some(number) = known.get(&place) {
        return *number;
    }
    let number = rows.tell(Place { file: NO_FILE, offset: 0, address: 0, bits: INTERPRETED }, python.source(place));
    if known.len() < MOST_SCRIPTS {
        known.insert(place, number);
    }
    number
}

/// The number of the place of a frame of machine code.
fn native(rows: &mut Rows, maps: &PerfMaps, frame: &Frame, moment: Moment, regions: &[Region]) -> u32 {
    let place = place_of(frame, regions);
    if place.file == NO_FILE
        && let Some(name) = maps.name(moment.process, frame.lookup(), moment.seq)
    {
        let source = Source { function: Some(name.to_owned()), ..Source::default() };
        return rows.tell(Place { bits: place.bits | COMPILED, ..place }, source);
    }
    rows.place(place)
}

fn place_of(frame: &Frame, regions: &[Region]) -> Place {
    let bits = match frame.how {
        How::Registers => EXACT,
        How::Table => 0,
        How::Signal => EXACT | INTERRUPTED,
        How::Trampoline => EXACT | TRAMPOLINE,
        How::Guess => GUESSED,
    };
    match region_at(regions, frame.lookup()) {
        Some(region) if region.file != NO_FILE => Place {
            file: region.file,
            offset: frame.address.wrapping_sub(region.start).wrapping_add(region.offset),
            address: frame.address.wrapping_add(region.code.to_file),
            bits,
        },
        _ => Place { file: NO_FILE, offset: frame.address, address: frame.address, bits },
    }
}
