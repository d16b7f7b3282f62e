//! Stacks of events, as columns: the frames of each are places, and a place is known once, however many stacks have it.

pub mod collect;
pub mod offline;
mod rows;
pub mod samples;
pub mod stream;

use std::collections::HashMap;

use crate::binary::Binaries;
use crate::store::Hash;
use crate::symbolize::{self, Lack, Source, Sources};

/// A place that is in no file.
pub const NO_FILE: u32 = u32::MAX;
/// No string.
pub const NO_STRING: u32 = u32::MAX;
/// End of a stack without frames: the call is not one that a replayed thread makes (the exec of the first program).
pub const NOTHING: u8 = 5;
/// Bit of a place: it was guessed by a frame pointer.
pub const GUESSED: u8 = 1;
/// Bit of a place: a signal interrupted it there.
pub const INTERRUPTED: u8 = 2;
/// Bit of a place: the address is the next one that is executed, and not one behind a call.
pub const EXACT: u8 = 4;

/// Bit of a place: it returns from the handler of a signal.
pub const TRAMPOLINE: u8 = 8;
/// Where the number of a [`Lack`] stands in the bits of a place. Places that no file has got have none, but another number there.
pub const LACK_SHIFT: u8 = 4;

/// Number in the bits of a place: a function that an interpreter runs. Offset and address say nothing but which one of them it is.
pub const INTERPRETED: u8 = 8 << LACK_SHIFT;

/// Number in the bits of a place: code that was compiled at run time, whose name is what the program itself told in a map for
/// perf(1).
pub const COMPILED: u8 = 9 << LACK_SHIFT;

/// A place in the code of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Index of the file, or [`NO_FILE`].
    pub file: u32,
    /// Offset in the file; without one, the address in memory.
    pub offset: u64,
    /// The address that the file itself has for it; without one, the address in memory.
    pub address: u64,
    /// [`GUESSED`], [`INTERRUPTED`], [`EXACT`], [`TRAMPOLINE`], and from [`LACK_SHIFT`] on [`INTERPRETED`], [`COMPILED`], or why
    /// less is known of it than there is to know.
    pub bits: u8,
}

/// A file that places are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeFile {
    pub hash: Hash,
    /// Where it was.
    pub path: Vec<u8>,
}

/// A function at a place, by numbers of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceRow {
    pub function: u32,
    pub file: u32,
    pub line: u32,
    pub column: u32,
}

/// Stacks of events, in the order of the events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stacks {
    /// Numbers of the events.
    pub seqs: Vec<u64>,
    /// Frames of stack k: from `frame_end[k - 1]` (0 at first) to `frame_end[k]`.
    pub frame_end: Vec<u32>,
    /// Why there are no more frames ([`crate::unwind::End::code`]), or [`NOTHING`].
    pub ends: Vec<u8>,
    /// Indexes of places, innermost first.
    pub frames: Vec<u32>,
    pub places: Vec<Place>,
    pub files: Vec<CodeFile>,
    /// Functions at place k, innermost first: those up to `source_end[k]`. Empty before [`Stacks::symbolize`].
    pub source_end: Vec<u32>,
    pub sources: Vec<SourceRow>,
    /// Bytes behind the start of the function, per place; -1 when that is not known.
    pub behind: Vec<i64>,
    pub strings: Vec<String>,
    /// Places whose function was known when the stack was taken: no file has it.
    pub told: HashMap<u32, Source>,
}

impl Stacks {
    /// Finds functions and lines of all places. `binaries` has the files.
    pub fn symbolize(&mut self, binaries: &Binaries<'_>) {
        let mut found = vec![Sources::default(); self.places.len()];
        for (place, source) in std::mem::take(&mut self.told) {
            if let Some(sources) = found.get_mut(place as usize) {
                sources.frames.push(source);
            }
        }
        let mut by_file: Vec<Vec<usize>> = vec![Vec::new(); self.files.len()];
        for (place, Place { file, .. }) in self.places.iter().enumerate() {
            if let Some(own) = by_file.get_mut(*file as usize) {
                own.push(place);
            }
        }
        for (file, own) in self.files.iter().zip(by_file) {
            let Some(binary) = binaries.get(&file.hash) else {
                for place in own {
                    found[place].lack = Lack::File;
                }
                continue;
            };
            let addresses: Vec<u64> = own.iter().map(|place| lookup(&self.places[*place])).collect();
            for (place, sources) in own.into_iter().zip(symbolize::of_file(&binary, &file.path, &addresses)) {
                found[place] = sources;
            }
        }
        self.set_sources(&found);
    }

    /// Puts the stacks into the order of their events.
    pub fn sort(&mut self) {
        if self.seqs.is_sorted() {
            return;
        }
        let mut order: Vec<usize> = (0..self.seqs.len()).collect();
        order.sort_by_key(|row| self.seqs[*row]);
        let (mut frames, mut frame_end) = (Vec::with_capacity(self.frames.len()), Vec::new());
        for &row in &order {
            let start = row.checked_sub(1).map_or(0, |before| self.frame_end[before]);
            frames.extend_from_slice(&self.frames[start as usize..self.frame_end[row] as usize]);
            frame_end.push(frames.len() as u32);
        }
        self.seqs = order.iter().map(|row| self.seqs[*row]).collect();
        self.ends = order.iter().map(|row| self.ends[*row]).collect();
        (self.frames, self.frame_end) = (frames, frame_end);
    }

    /// Bytes of memory that all of it takes, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        const ROW: usize = size_of::<u64>() + size_of::<u32>() + size_of::<u8>();
        const PLACE: usize = size_of::<Place>() + size_of::<u32>() + size_of::<i64>();
        let files = self.files.iter().map(|file| size_of::<CodeFile>() + file.path.len());
        let strings = self.strings.iter().map(|text| size_of::<String>() + text.len());
        let told = self.told.values().map(|source| size_of::<(u32, Source)>() + source.bytes());
        let tables = self.places.len() * PLACE + self.sources.len() * size_of::<SourceRow>();
        let rows = self.seqs.len() * ROW + self.frames.len() * size_of::<u32>();
        (files.chain(strings).chain(told).sum::<usize>() + tables + rows) as u64
    }

    fn set_sources(&mut self, found: &[Sources]) {
        let mut numbers = HashMap::new();
        let mut strings: Vec<String> = Vec::new();
        let mut number = |text: &Option<String>| match text {
            None => NO_STRING,
            Some(text) => *numbers.entry(text.clone()).or_insert_with(|| {
                strings.push(text.clone());
                strings.len() as u32 - 1
            }),
        };
        (self.sources, self.source_end, self.behind) = (Vec::new(), Vec::new(), Vec::new());
        for (sources, place) in found.iter().zip(&mut self.places) {
            place.bits |= sources.lack.code() << LACK_SHIFT;
            for Source { function, file, line, column } in &sources.frames {
                let (function, file) = (number(function), number(file));
                self.sources.push(SourceRow { function, file, line: *line, column: *column });
            }
            self.source_end.push(self.sources.len() as u32);
            let exact = u64::from(place.bits & EXACT == 0);
            self.behind.push(sources.offset.map_or(-1, |offset| offset.wrapping_add(exact).cast_signed()));
        }
        self.strings = strings;
    }
}

/// An address inside the instruction of a place.
fn lookup(place: &Place) -> u64 {
    place.address.wrapping_sub(u64::from(place.bits & EXACT == 0))
}
