//! The shapes of a block: what many events have in common, said once.
//!
//! Kind, flags, architecture, code (of calls), number of arguments, and the signatures of captures and references.

use crate::event::{EventKind, Side, Status, slot};
use crate::limits;
use crate::varint::{Cursor, DecodeError, Problem, put, put_signed};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Slot, side and status of a capture in one byte.
pub(crate) fn pack_signature(slot: u8, side: Side, status: Status) -> u8 {
    slot << 4 | (side as u8) << 2 | status as u8
}

/// One shape; the ranges are positions in the block's signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Code of the `EventKind`.
    pub kind: u8,
    /// Bits of `event::flag`.
    pub flags: u8,
    /// Code of the architecture.
    pub arch: u8,
    /// How many arguments count.
    pub nargs: u8,
    /// 0 for anything but calls, whose code is in a column of its own.
    pub code: i32,
    /// Signatures of its captures.
    pub captures: Range<u32>,
    /// Slots of its references.
    pub refs: Range<u32>,
}

impl Shape {
    /// Whether its events are calls.
    #[must_use]
    pub fn is_call(&self) -> bool {
        self.kind == EventKind::Call as u8
    }

    pub(crate) fn capture_range(&self) -> Range<usize> {
        self.captures.start as usize..self.captures.end as usize
    }

    pub(crate) fn ref_range(&self) -> Range<usize> {
        self.refs.start as usize..self.refs.end as usize
    }
}

/// The shapes of a block with their signatures.
#[derive(Default, Debug)]
pub(crate) struct Shapes {
    pub list: Vec<Shape>,
    pub signatures: Vec<u8>,
}

impl Shapes {
    /// Reads the dictionary. Every shape is used by at least one event, which bounds their number and signatures.
    pub(crate) fn decode(bytes: &[u8], events: u32, captures: u32, refs: u32) -> Result<Shapes, DecodeError> {
        let mut cursor = Cursor::new(bytes, "shapes");
        let mut shapes = Shapes::default();
        let (mut captures_left, mut refs_left) = (u64::from(captures), u64::from(refs));
        while cursor.left() > 0 {
            if shapes.list.len() as u64 == u64::from(events) {
                return Err(cursor.fail(Problem::Extra { bytes: cursor.left() as u64 }));
            }
            let [kind, flags, arch, nargs] = cursor.array::<4>()?;
            if EventKind::from_code(kind).is_none() || nargs > 6 {
                return Err(cursor.fail(Problem::Invalid { value: kind.max(nargs).into() }));
            }
            let code = cursor.signed()?;
            let Ok(code) = i32::try_from(code) else {
                return Err(cursor.fail(Problem::TooLarge { value: code as u64, limit: i32::MAX as u64 }));
            };
            let captures = Self::signatures(&mut cursor, &mut captures_left, &mut shapes.signatures, |byte| {
                byte >> 4 < slot::COUNT && byte >> 2 & 3 <= Side::Resolved as u8
            })?;
            let refs =
                Self::signatures(&mut cursor, &mut refs_left, &mut shapes.signatures, |byte| byte < slot::COUNT)?;
            shapes.list.push(Shape { kind, flags, arch, nargs, code, captures, refs });
        }
        Ok(shapes)
    }

    fn signatures(
        cursor: &mut Cursor,
        left: &mut u64,
        out: &mut Vec<u8>,
        valid: impl Fn(u8) -> bool,
    ) -> Result<Range<u32>, DecodeError> {
        let count = cursor.bounded(*left)?;
        *left -= count;
        let bytes = cursor.take(count as usize)?;
        if let Some(&byte) = bytes.iter().find(|byte| !valid(**byte)) {
            return Err(cursor.fail(Problem::Invalid { value: byte.into() }));
        }
        let start = out.len() as u32;
        out.extend_from_slice(bytes);
        Ok(start..out.len() as u32)
    }
}

/// Finds the number of a shape by its encoded bytes.
pub(crate) struct ShapeFinder {
    /// Shape number plus 1 by hash.
    slots: Vec<u32>,
    /// Number plus 1 of the shape that was found last, by code.
    latest: Vec<u32>,
    /// Where each shape's encoded bytes are in `encoded`.
    spans: Vec<Range<u32>>,
    pub encoded: Vec<u8>,
    pub shapes: Shapes,
    key: Vec<u8>,
}

const SLOT_BITS: u32 = 16;
/// Codes for which the last shape is kept; more than there are syscalls.
const CODES: usize = 1 << 10;
/// A chain longer than this ends the search; the shape is then entered twice, which is allowed.
const MAX_PROBES: usize = 32;

impl ShapeFinder {
    pub(crate) fn new() -> Self {
        const { assert!(1 << SLOT_BITS >= 2 * limits::MAX_BLOCK_EVENTS) };
        ShapeFinder {
            slots: vec![0; 1 << SLOT_BITS],
            latest: vec![0; CODES],
            spans: Vec::new(),
            encoded: Vec::new(),
            shapes: Shapes::default(),
            key: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.slots.fill(0);
        self.latest.fill(0);
        self.spans.clear();
        self.encoded.clear();
        self.shapes.list.clear();
        self.shapes.signatures.clear();
    }

    /// The number of the shape with this head (kind, flags, arch, nargs), code and signatures.
    #[inline]
    pub(crate) fn find(
        &mut self,
        head: [u8; 4],
        code: i32,
        captures: impl ExactSizeIterator<Item = u8> + Clone,
        refs: impl ExactSizeIterator<Item = u8> + Clone,
    ) -> u32 {
        // Nearly always that of the last event with this code.
        let of_code = code as usize % CODES;
        if let Some(number) = self.latest[of_code].checked_sub(1) {
            let Shapes { list, signatures } = &self.shapes;
            let shape = &list[number as usize];
            if shape.code == code
                && [shape.kind, shape.flags, shape.arch, shape.nargs] == head
                && signatures[shape.capture_range()].iter().copied().eq(captures.clone())
                && signatures[shape.ref_range()].iter().copied().eq(refs.clone())
            {
                return number;
            }
        }
        let number = self.search(head, code, captures, refs);
        self.latest[of_code] = number + 1;
        number
    }

    fn search(
        &mut self,
        head: [u8; 4],
        code: i32,
        captures: impl ExactSizeIterator<Item = u8>,
        refs: impl ExactSizeIterator<Item = u8>,
    ) -> u32 {
        let mut key = core::mem::take(&mut self.key);
        key.clear();
        key.extend_from_slice(&head);
        put_signed(&mut key, code.into());
        put(&mut key, captures.len() as u64);
        let captures_at = key.len();
        key.extend(captures);
        let captures_end = key.len();
        put(&mut key, refs.len() as u64);
        let refs_at = key.len();
        key.extend(refs);
        let found = self.find_key(&key).unwrap_or_else(|slot| {
            let start = self.shapes.signatures.len() as u32;
            self.shapes.signatures.extend_from_slice(&key[captures_at..captures_end]);
            let middle = self.shapes.signatures.len() as u32;
            self.shapes.signatures.extend_from_slice(&key[refs_at..]);
            let end = self.shapes.signatures.len() as u32;
            let [kind, flags, arch, nargs] = head;
            let shape = Shape { kind, flags, arch, nargs, code, captures: start..middle, refs: middle..end };
            self.enter(shape, &key, slot)
        });
        self.key = key;
        found
    }

    /// The number of a known shape, or the slot to enter a new one in.
    fn find_key(&self, key: &[u8]) -> Result<u32, usize> {
        let mut hash = 0u64;
        for part in key.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            hash = (hash.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        let first = (hash >> (64 - SLOT_BITS)) as usize;
        let mask = (1 << SLOT_BITS) - 1;
        for probe in 0..MAX_PROBES {
            let slot = (first + probe) & mask;
            let Some(number) = self.slots[slot].checked_sub(1) else { return Err(slot) };
            let span = &self.spans[number as usize];
            if self.encoded[span.start as usize..span.end as usize] == *key {
                return Ok(number);
            }
        }
        Err(first)
    }

    fn enter(&mut self, shape: Shape, key: &[u8], slot: usize) -> u32 {
        let number = self.shapes.list.len() as u32;
        self.shapes.list.push(shape);
        let start = self.encoded.len() as u32;
        self.encoded.extend_from_slice(key);
        self.spans.push(start..self.encoded.len() as u32);
        self.slots[slot] = number + 1;
        number
    }
}
