//! Code objects: names, files and lines of the functions that frames run.

use super::super::Memory;
use super::layout::{Layout, OWNED_BY_GENERATOR, Position, TextFields};
use super::lines;
use crate::quick::QuickMap;
use crate::symbolize::{LONGEST_NAME, Source};

/// Longest table of lines, and most code objects that are remembered.
const MOST_TABLE: u64 = 1 << 20;
const MOST_CODES: usize = 1 << 16;
/// Most bytes of the tables that are remembered.
const MOST_TABLES: usize = 256 << 20;
/// Bits of a reference that are no part of the address (`Py_TAG_BITS`).
const TAG: u64 = 7;

/// A line of a function, in numbers of the [`super::Reader`] that has found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    code: u32,
    /// From 1; 0 when the table has none.
    line: u32,
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    At(Place),
    /// It has not come to its source yet: no traceback shows it.
    Unborn,
}

impl Stand {
    /// The place, if it has one.
    pub fn place(self) -> Option<Place> {
        match self {
            Stand::At(place) => Some(place),
            Stand::Unborn => None,
        }
    }
}

/// What tells one code object from another that came to stand in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    process: u64,
    address: u64,
    filename: u64,
    name: u64,
    table: u64,
    first_line: u32,
}

#[derive(Debug)]
struct Code {
    function: String,
    file: String,
    table: Vec<u8>,
}

/// The code objects that were met.
#[derive(Debug, Default)]
pub struct Codes {
    numbers: QuickMap<Key, u32>,
    known: Vec<Code>,
    bytes: usize,
}

impl Codes {
    /// Where a frame is; nothing when it cannot be read.
    pub fn stand(&mut self, layout: &Layout, process: u64, frame: u64, memory: &mut impl Memory) -> Option<Stand> {
        let code = memory.word(frame.wrapping_add(layout.frame_code))? & !TAG;
        let fields = &layout.code;
        let mut word = |offset: u64| memory.word(code.wrapping_add(offset));
        let (filename, name, table) = (word(fields.filename)?, word(fields.name)?, word(fields.table)?);
        let first_line = memory.half(code.wrapping_add(fields.first_line))?;
        let (instruction, byte) = match layout.position {
            Position::Number { offset, unit } => {
                let number = i64::from(memory.half(frame.wrapping_add(offset))?.cast_signed());
                (number, number.saturating_mul(unit))
            }
            Position::Address { offset, code: start } => {
                let at = memory.word(frame.wrapping_add(offset))?;
                let byte = at.wrapping_sub(code.wrapping_add(start)).cast_signed();
                (byte >> 1, byte)
            }
        };
        if is_unborn(layout, frame, code, instruction, memory) {
            return Some(Stand::Unborn);
        }
        let key = Key { process, address: code, filename, name, table, first_line };
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None => self.read(layout, key, memory)?,
        };
        let table = &self.known[number as usize].table;
        let line = lines::find(fields.lines, table, first_line, byte);
        Some(Stand::At(Place { code: number, line }))
    }

    fn read(&mut self, layout: &Layout, key: Key, memory: &mut impl Memory) -> Option<u32> {
        if self.known.len() >= MOST_CODES || self.bytes >= MOST_TABLES {
            return None;
        }
        let function = text(&layout.text, key.name, memory)?;
        let file = text(&layout.text, key.filename, memory)?;
        let table = bytes(layout, key.table, memory)?;
        self.bytes += table.len() + function.len() + file.len();
        let number = self.known.len() as u32;
        self.known.push(Code { function, file, table });
        // What cannot be read now may be there in another copy of the memory.
        self.numbers.insert(key, number);
        Some(number)
    }

    /// The function, file and line of a place.
    pub fn source(&self, place: Place) -> Source {
        let Code { function, file, .. } = &self.known[place.code as usize];
        Source { function: Some(function.clone()), file: Some(file.clone()), line: place.line, column: 0 }
    }
}

/// Whether a frame has not come to its source yet: no traceback shows it (`_PyFrame_IsIncomplete`).
fn is_unborn(layout: &Layout, frame: u64, code: u64, instruction: i64, memory: &mut impl Memory) -> bool {
    let Some((owner, first)) = layout.frame_owner.zip(layout.code.first_traceable) else { return false };
    let Some(first) = memory.half(code.wrapping_add(first)) else { return false };
    instruction < i64::from(first.cast_signed())
        && memory.byte(frame.wrapping_add(owner)).is_some_and(|owner| owner != OWNED_BY_GENERATOR)
}

/// A string, up to the longest name.
fn text(fields: &TextFields, address: u64, memory: &mut impl Memory) -> Option<String> {
    let length = memory.word(address.wrapping_add(fields.length))?;
    let state = memory.half(address.wrapping_add(fields.state))?;
    let bits = state >> fields.kind;
    let (width, is_compact, is_ascii) = ((bits & 7) as usize, bits & 8 != 0, bits & 16 != 0);
    // Names in code objects are compact (PEP 393).
    if !matches!(width, 1 | 2 | 4) || !is_compact || (is_ascii && width != 1) {
        return None;
    }
    let length = length.min(LONGEST_NAME as u64) as usize;
    let mut letters = vec![0; length * width];
    let start = if is_ascii { fields.ascii } else { fields.wide };
    if !memory.read(address.wrapping_add(start), &mut letters) {
        return None;
    }
    let letter = |bytes: &[u8]| {
        let value = bytes.iter().rev().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
        char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    Some(crate::symbolize::cut(&letters.chunks_exact(width).map(letter).collect::<String>()))
}

/// The content of a `bytes` object.
fn bytes(layout: &Layout, address: u64, memory: &mut impl Memory) -> Option<Vec<u8>> {
    let size = memory.word(address.wrapping_add(layout.bytes_size)).filter(|size| *size <= MOST_TABLE)?;
    let mut content = vec![0; size as usize];
    memory.read(address.wrapping_add(layout.bytes_start), &mut content).then_some(content)
}
