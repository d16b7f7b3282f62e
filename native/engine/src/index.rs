//! The INDEX frame: one entry per frame of the trace, in their order. Offsets follow from the lengths.

use trace_format::frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind, HEADER_BYTES};
use trace_format::limits;
use trace_format::varint::{Cursor, DecodeError, Problem, put};

/// What is known of a block of events without decoding it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockSummary {
    /// Smallest start in ticks.
    pub min_start: u64,
    /// Largest end in ticks.
    pub max_end: u64,
    /// Events whose span is not 0.
    pub spanning: u32,
    /// Bit `1 << kind` for each kind of event that occurs.
    pub kinds: u16,
}

/// Which piece of which packed file a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectPiece {
    /// BLAKE3 hash of the whole file.
    pub hash: [u8; 32],
    /// Where the piece starts.
    pub offset: u64,
    /// Length of the whole file.
    pub total: u64,
}

/// What an entry says beyond the frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    None,
    /// Of an EVENTS frame.
    Block(BlockSummary),
    /// Of an OBJECT frame.
    Object(ObjectPiece),
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where its header starts.
    pub offset: u64,
    /// The header, whose checksum is 0 when it comes from an index.
    pub header: FrameHeader,
    /// What depends on the kind.
    pub extra: Extra,
}

impl Entry {
    /// Where the next frame starts.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + FRAME_HEADER_BYTES as u64 + u64::from(self.header.stored_len)
    }

    /// The kind of the frame, if it is known.
    #[must_use]
    pub fn kind(&self) -> Option<FrameKind> {
        FrameKind::from_code(self.header.kind)
    }
}

/// Reads the start of an OBJECT frame's payload.
pub(crate) fn decode_piece(cursor: &mut Cursor) -> Result<ObjectPiece, DecodeError> {
    let hash = cursor.array::<32>()?;
    let total = cursor.bounded(limits::MAX_OBJECT_FILE_BYTES)?;
    let offset = cursor.bounded(total)?;
    Ok(ObjectPiece { hash, offset, total })
}

pub(crate) fn encode_piece(piece: &ObjectPiece, out: &mut Vec<u8>) {
    out.extend_from_slice(&piece.hash);
    put(out, piece.total);
    put(out, piece.offset);
}

/// Appends the payload of the INDEX frame.
pub(crate) fn encode(entries: &[Entry], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    for entry in entries {
        body.clear();
        put(&mut body, entry.header.stored_len.into());
        put(&mut body, entry.header.raw_len.into());
        put(&mut body, entry.header.count.into());
        match &entry.extra {
            Extra::None => {}
            Extra::Block(block) => {
                put(&mut body, block.min_start);
                put(&mut body, block.max_end);
                put(&mut body, block.spanning.into());
                put(&mut body, block.kinds.into());
            }
            Extra::Object(piece) => encode_piece(piece, &mut body),
        }
        out.push(entry.header.kind);
        out.push(entry.header.codec);
        put(out, body.len() as u64);
        out.extend_from_slice(&body);
    }
}

/// Numbers of the next event, chunk, definition and packed piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Next([u64; FrameKind::Usage as usize + 1]);

impl Next {
    /// The number that the first thing in the next frame of this kind must have.
    pub(crate) fn of(self, kind: FrameKind) -> u64 {
        self.0[kind as usize]
    }

    /// Moves behind a frame.
    pub(crate) fn pass(&mut self, kind: FrameKind, count: u32) {
        self.0[kind as usize] += u64::from(count);
    }
}

/// Reads `count` entries; `index_offset` is where they must end.
pub(crate) fn decode(payload: &[u8], count: u32, index_offset: u64) -> Result<Vec<Entry>, DecodeError> {
    let mut cursor = Cursor::new(payload, "index");
    if count as usize > payload.len() / 5 {
        return Err(cursor.fail(Problem::TooLarge { value: count.into(), limit: payload.len() as u64 / 5 }));
    }
    let mut entries = Vec::with_capacity(count as usize);
    let mut next = Next::default();
    let mut offset = HEADER_BYTES as u64;
    for _ in 0..count {
        let kind = cursor.u8()?;
        let codec = cursor.u8()?;
        let len = cursor.bounded(4096)? as usize;
        let mut body = Cursor::new(cursor.take(len)?, "index entry");
        let stored_len = body.bounded(limits::MAX_FRAME_BYTES.into())? as u32;
        let raw_len = body.bounded(limits::MAX_FRAME_BYTES.into())? as u32;
        let count = body.bounded(u32::MAX.into())? as u32;
        let known = FrameKind::from_code(kind);
        let extra = match known {
            Some(FrameKind::Events) => Extra::Block(BlockSummary {
                min_start: body.bounded(limits::MAX_TIME_NS)?,
                max_end: body.bounded(limits::MAX_TIME_NS)?,
                spanning: body.bounded(limits::MAX_BLOCK_EVENTS.into())? as u32,
                kinds: body.bounded(u16::MAX.into())? as u16,
            }),
            Some(FrameKind::Object) => Extra::Object(decode_piece(&mut body)?),
            _ => Extra::None,
        };
        let first = known.map_or(0, |kind| next.of(kind));
        let header = FrameHeader { kind, codec, stored_len, raw_len, count, first, crc: 0 };
        let entry = Entry { offset, header, extra };
        offset = entry.end();
        if offset > index_offset {
            return Err(cursor.fail(Problem::TooLarge { value: offset, limit: index_offset }));
        }
        if let Some(kind) = known {
            next.pass(kind, count);
        }
        entries.push(entry);
    }
    cursor.end()?;
    if offset != index_offset {
        return Err(cursor.fail(Problem::Invalid { value: offset }));
    }
    Ok(entries)
}
