//! Rows of a layout: what a recorded address space, or one mapping of it, was made of. The recorder writes them, replay
//! and pack read them; FORMAT.md section "Replay" has the bytes.

use crate::image::Mapping;
use crate::store::Hash;

/// Bytes of a row.
pub const ROW_BYTES: usize = 80;
/// Rows of one address space at most (the kernel's default limit is 65,530 mappings).
const MOST_ROWS: usize = 1 << 18;
pub const PAGE: u64 = 4096;
/// Room for a stack when nobody said otherwise (RLIMIT_STACK).
pub const STACK_ROOM: u64 = 8 << 20;
/// Most room, where it is not limited.
pub const MOST_STACK_ROOM: u64 = 1 << 30;

/// Bits of a row's kind, FORMAT.md section "Replay".
mod kind {
    pub const SHARED: u32 = 1;
    pub const STACK: u32 = 2;
    pub const SPECIAL: u32 = 4;
    pub const HASHED: u32 = 8;
    pub const SHORT: u32 = 16;
    pub const SPARSE: u32 = 32;
    pub const INLINE: u32 = 64;
}

/// One mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub start: u64,
    pub end: u64,
    /// In the file.
    pub offset: u64,
    pub dev: u64,
    pub ino: u64,
    /// `PROT_*` bits.
    pub prot: u64,
    kind: u32,
    hash: Hash,
}

impl Row {
    /// The row of a mapping, with the content of its file if there is one.
    #[must_use]
    pub fn of(mapping: &Mapping, hash: Option<Hash>) -> Row {
        let named = match mapping.path.as_slice() {
            b"[stack]" => kind::STACK,
            path if path.starts_with(b"[v") => kind::SPECIAL,
            _ => 0,
        };
        let shared = if mapping.shared { kind::SHARED } else { 0 };
        let hashed = if hash.is_some() { kind::HASHED } else { 0 };
        Row {
            start: mapping.start,
            end: mapping.start.wrapping_add(mapping.length),
            offset: mapping.offset,
            dev: mapping.dev,
            ino: mapping.ino,
            prot: mapping.prot,
            kind: named | shared | hashed,
            hash: hash.unwrap_or_default(),
        }
    }

    /// The row of a mapping of a file that is nearly empty: zeros, but for what output captures say.
    #[must_use]
    pub fn sparse(mapping: &Mapping, size: u64) -> Row {
        let mut row = Row::of(mapping, None);
        row.kind |= kind::SPARSE;
        row.hash[..8].copy_from_slice(&size.to_le_bytes());
        row
    }

    /// The size of a nearly empty file; nothing when the row is not one of such a file.
    #[must_use]
    pub fn sparse_size(&self) -> Option<u64> {
        let size = self.hash[..8].try_into().map_or(0, u64::from_le_bytes);
        (self.kind & (kind::SPARSE | kind::HASHED) == kind::SPARSE).then_some(size)
    }

    /// The row as a capture holds it.
    #[must_use]
    pub fn bytes(&self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        for (index, word) in [self.start, self.end, self.offset, self.dev, self.ino].into_iter().enumerate() {
            bytes[index * 8..index * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes[40..44].copy_from_slice(&(self.prot as u32).to_le_bytes());
        bytes[44..48].copy_from_slice(&self.kind.to_le_bytes());
        bytes[48..].copy_from_slice(&self.hash);
        bytes
    }

    fn read(bytes: &[u8; ROW_BYTES]) -> Option<Row> {
        let word = |index: usize| u64::from_le_bytes(bytes[index * 8..index * 8 + 8].try_into().unwrap_or_default());
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default());
        let row = Row {
            start: word(0),
            end: word(1),
            offset: word(2),
            dev: word(3),
            ino: word(4),
            prot: u64::from(half(40) & 7),
            kind: half(44),
            hash: bytes[48..].try_into().unwrap_or_default(),
        };
        let aligned = [row.start, row.end, row.offset].iter().all(|value| value.is_multiple_of(PAGE));
        (aligned && row.start < row.end).then_some(row)
    }

    /// The same content, mapped at that place with those `PROT_*` bits.
    #[must_use]
    pub fn mapped_at(self, start: u64, length: u64, prot: u64) -> Row {
        Row { start, end: start.saturating_add(length), prot: prot & 7, ..self }
    }

    /// Behind the end of its file there is nothing, also where no content was recorded: the file was empty.
    pub fn ends_with_its_file(&mut self) {
        self.kind |= kind::SHORT;
    }

    /// The content stands in the same event.
    #[must_use]
    pub fn with_content(self) -> Row {
        Row { kind: self.kind | kind::INLINE, ..self }
    }

    /// Whether the content of the file stands in the same event, and not among the mapped files.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.kind & kind::INLINE != 0
    }

    /// Whether a mapping without content is one of an empty file.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.kind & kind::SHORT != 0
    }

    /// Whether this is a mapping of a file that was empty then.
    #[must_use]
    pub fn is_of_empty_file(&self) -> bool {
        self.is_short() && self.hash().is_none() && self.sparse_size().is_none()
    }

    /// Bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.end - self.start
    }

    /// The same memory for all processes that map it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.kind & kind::SHARED != 0
    }

    /// Grows down.
    #[must_use]
    pub fn is_stack(&self) -> bool {
        self.kind & kind::STACK != 0
    }

    /// Provided by the kernel, and not mapped in replay.
    #[must_use]
    pub fn is_special(&self) -> bool {
        self.kind & kind::SPECIAL != 0
    }

    /// The file behind it; nothing for anonymous memory.
    #[must_use]
    pub fn hash(&self) -> Option<&Hash> {
        (self.kind & kind::HASHED != 0).then_some(&self.hash)
    }
}

/// The rows in the bytes of a capture, in the order of their addresses; those that are no rows are left out.
#[must_use]
pub fn rows(bytes: &[u8]) -> Vec<Row> {
    let (rows, _) = bytes.as_chunks::<ROW_BYTES>();
    rows.iter().take(MOST_ROWS).filter_map(Row::read).collect()
}

/// Rows with the room that stacks had below them (RLIMIT_STACK), as far as it is free.
#[must_use]
pub fn with_room(mut rows: Vec<Row>, room: u64) -> Vec<Row> {
    rows.sort_unstable_by_key(|row| row.start);
    let mut free_from = PAGE * 16;
    for row in &mut rows {
        if row.is_stack() {
            row.start = row.end.saturating_sub(room).max(free_from).min(row.start);
        }
        free_from = row.end;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(start: u64, end: u64, kind: u32) -> Vec<u8> {
        Row { start, end, offset: 0, dev: 0, ino: 0, prot: 3, kind, hash: [0; 32] }.bytes().to_vec()
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let mapping = Mapping {
            start: 0x7000_0000_0000,
            length: 0x5000,
            offset: 0x2000,
            prot: 5,
            shared: true,
            dev: 0xfe00,
            ino: 1 << 40,
            path: b"/usr/lib/x.so".to_vec(),
        };
        for row in [Row::of(&mapping, Some([7; 32])), Row::of(&mapping, None)] {
            assert_eq!(rows(&row.bytes()), [row]);
        }
        assert_eq!(rows(&Row::sparse(&mapping, 8 << 30).bytes())[0].sparse_size(), Some(8 << 30));
        assert_eq!(Row::of(&mapping, Some([7; 32])).sparse_size(), None);
        let stack = Row::of(&Mapping { path: b"[stack]".to_vec(), ino: 0, shared: false, ..mapping }, None);
        assert!(stack.is_stack() && !stack.is_shared() && stack.hash().is_none());
    }

    #[test]
    fn rows_that_are_none_are_left_out() {
        let all = [bytes(0x1000, 0x3000, 0), bytes(0x3000, 0x1000, 0), bytes(0x1001, 0x3000, 0), vec![0; 79]].concat();
        let rows = rows(&all);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].length(), rows[0].prot, rows[0].hash()), (0x2000, 3, None));
    }

    #[test]
    fn a_stack_gets_the_room_below_it_that_is_free() {
        let near = [bytes(0x40_0000, 0x50_0000, 0), bytes(0x60_0000, 0x70_0000, kind::STACK)].concat();
        let far = bytes(0x7fff_0000_0000, 0x7fff_0002_0000, kind::STACK);
        let near = with_room(rows(&near), STACK_ROOM);
        assert_eq!((near[1].start, near[1].end), (0x50_0000, 0x70_0000));
        let far = with_room(rows(&far), STACK_ROOM);
        assert_eq!(far[0].length(), STACK_ROOM);
    }
}
