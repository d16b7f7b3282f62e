//! The outer layout of a trace file: file header, frame headers, end trailer. Fixed sizes, little-endian.
//!
//! Checksums are computed by the caller (this crate has no tables); each `decode` takes the function that does it.

use crate::limits;
use crate::varint::{DecodeError, Problem};

/// First bytes of a trace file: not text, not UTF-8, and broken by every newline conversion.
pub const FILE_MAGIC: [u8; 8] = *b"\x8ATRC\r\n\x1a\n";

/// First bytes of a frame header.
pub const FRAME_MAGIC: [u8; 4] = *b"\xF7TRf";

/// First bytes of the end trailer.
pub const TRAILER_MAGIC: [u8; 8] = *b"\x8ATRE\r\n\x1a\n";

/// Version of the format that is written. A reader refuses a larger major version.
pub const VERSION: (u16, u16) = (1, 0);

/// Bytes of the file header.
pub const HEADER_BYTES: usize = 48;

/// Bytes of a frame header.
pub const FRAME_HEADER_BYTES: usize = 32;

/// Bytes of the end trailer.
pub const TRAILER_BYTES: usize = 32;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Definitions of threads, objects and facts about the recording.
    Defs = 1,
    /// Chunks of captured bytes.
    Content = 2,
    /// A block of events.
    Events = 3,
    /// A piece of a packed file.
    Object = 4,
    /// Where the other frames are.
    Index = 5,
    /// Stacks of events.
    Stacks = 6,
    /// Registers and memory of threads that enter calls.
    Samples = 7,
    /// What was done with each path, added up over all events.
    Usage = 8,
}

impl FrameKind {
    /// The kind with this code, if it is known.
    #[must_use]
    pub fn from_code(code: u8) -> Option<FrameKind> {
        use FrameKind::{Content, Defs, Events, Index, Object, Samples, Stacks, Usage};
        [Defs, Content, Events, Object, Index, Stacks, Samples, Usage].into_iter().find(|kind| *kind as u8 == code)
    }
}

/// How the payload of a frame, or a column of a block, is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
}

impl Codec {
    /// The codec with this code, if it is known.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Codec> {
        [Codec::Raw, Codec::Zstd].get(usize::from(code)).copied()
    }
}

/// The first bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Major and minor version.
    pub version: (u16, u16),
    /// Nanoseconds of one unit of time.
    pub tick_ns: u32,
    /// Start of the recording, nanoseconds since 1970.
    pub start_realtime_ns: u64,
    /// Random; also the key of the content hashes.
    pub id: [u8; 16],
}

/// What stands in front of each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Code of a [`FrameKind`]; others are skipped.
    pub kind: u8,
    /// Code of a [`Codec`].
    pub codec: u8,
    /// Bytes in the file.
    pub stored_len: u32,
    /// Bytes once decompressed.
    pub raw_len: u32,
    /// How many events, chunks, definitions, entries.
    pub count: u32,
    /// Number of the first of them.
    pub first: u64,
    /// Over the header without this field, then the stored payload.
    pub crc: u32,
}

/// The last bytes of a complete file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where the INDEX frame starts.
    pub index_offset: u64,
    /// Length of the whole file.
    pub file_len: u64,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn check_crc(bytes: &[u8], at: usize, reading: &'static str, crc: impl Fn(&[u8]) -> u32) -> Result<(), DecodeError> {
    let (stored, computed) = (u32_at(bytes, at), crc(&bytes[..at]));
    if stored == computed {
        return Ok(());
    }
    Err(DecodeError { reading, offset: at as u64, problem: Problem::Checksum { stored, computed } })
}

impl FileHeader {
    /// The bytes of the header.
    #[must_use]
    pub fn encode(&self, crc: impl Fn(&[u8]) -> u32) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&FILE_MAGIC);
        out[8..10].copy_from_slice(&self.version.0.to_le_bytes());
        out[10..12].copy_from_slice(&self.version.1.to_le_bytes());
        out[12..16].copy_from_slice(&self.tick_ns.to_le_bytes());
        out[16..24].copy_from_slice(&self.start_realtime_ns.to_le_bytes());
        out[24..40].copy_from_slice(&self.id);
        let sum = crc(&out[..44]);
        out[44..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// The version of a file that starts with `bytes`, if it is a trace at all. It is readable in every version.
    #[must_use]
    pub fn version_of(bytes: &[u8]) -> Option<(u16, u16)> {
        (bytes.len() >= 12 && bytes[..8] == FILE_MAGIC).then(|| (u16_at(bytes, 8), u16_at(bytes, 10)))
    }

    /// Reads a header whose magic and version the caller has looked at.
    ///
    /// # Errors
    /// When the checksum or a value is wrong.
    pub fn decode(bytes: &[u8; HEADER_BYTES], crc: impl Fn(&[u8]) -> u32) -> Result<Self, DecodeError> {
        check_crc(bytes, 44, "file header", crc)?;
        let tick_ns = u32_at(bytes, 12);
        if tick_ns == 0 || tick_ns > limits::MAX_TICK_NS {
            let problem = Problem::TooLarge { value: tick_ns.into(), limit: limits::MAX_TICK_NS.into() };
            return Err(DecodeError { reading: "file header, unit of time", offset: 12, problem });
        }
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[24..40]);
        Ok(FileHeader {
            version: (u16_at(bytes, 8), u16_at(bytes, 10)),
            tick_ns,
            start_realtime_ns: u64_at(bytes, 16),
            id,
        })
    }
}

impl FrameHeader {
    /// The header's bytes without the checksum, which covers these and then the stored payload.
    #[must_use]
    pub fn encode_unsummed(&self) -> [u8; FRAME_HEADER_BYTES - 4] {
        let mut out = [0; FRAME_HEADER_BYTES - 4];
        out[..4].copy_from_slice(&FRAME_MAGIC);
        out[4] = self.kind;
        out[5] = self.codec;
        out[8..12].copy_from_slice(&self.stored_len.to_le_bytes());
        out[12..16].copy_from_slice(&self.raw_len.to_le_bytes());
        out[16..20].copy_from_slice(&self.count.to_le_bytes());
        out[20..28].copy_from_slice(&self.first.to_le_bytes());
        out
    }

    /// Reads a header. The checksum is left to who reads the payload.
    ///
    /// # Errors
    /// When this is no frame header or a length is over its limit.
    pub fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<Self, DecodeError> {
        let fail = |offset: u64, problem| DecodeError { reading: "frame header", offset, problem };
        if bytes[..4] != FRAME_MAGIC {
            return Err(fail(0, Problem::Invalid { value: u32_at(bytes, 0).into() }));
        }
        let header = FrameHeader {
            kind: bytes[4],
            codec: bytes[5],
            stored_len: u32_at(bytes, 8),
            raw_len: u32_at(bytes, 12),
            count: u32_at(bytes, 16),
            first: u64_at(bytes, 20),
            crc: u32_at(bytes, 28),
        };
        for (offset, len) in [(8, header.stored_len), (12, header.raw_len)] {
            if len > limits::MAX_FRAME_BYTES {
                let limit = limits::MAX_FRAME_BYTES.into();
                return Err(fail(offset, Problem::TooLarge { value: len.into(), limit }));
            }
        }
        match Codec::from_code(header.codec) {
            Some(Codec::Raw) if header.stored_len != header.raw_len => {
                Err(fail(12, Problem::Invalid { value: header.raw_len.into() }))
            }
            Some(_) => Ok(header),
            None => Err(fail(5, Problem::Invalid { value: header.codec.into() })),
        }
    }
}

impl Trailer {
    /// The bytes of the trailer.
    #[must_use]
    pub fn encode(&self, crc: impl Fn(&[u8]) -> u32) -> [u8; TRAILER_BYTES] {
        let mut out = [0; TRAILER_BYTES];
        out[..8].copy_from_slice(&TRAILER_MAGIC);
        out[8..16].copy_from_slice(&self.index_offset.to_le_bytes());
        out[16..24].copy_from_slice(&self.file_len.to_le_bytes());
        let sum = crc(&out[..28]);
        out[28..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads a trailer; `None` when the bytes are none.
    #[must_use]
    pub fn decode(bytes: &[u8; TRAILER_BYTES], crc: impl Fn(&[u8]) -> u32) -> Option<Self> {
        let known = bytes[..8] == TRAILER_MAGIC && check_crc(bytes, 28, "end trailer", crc).is_ok();
        known.then(|| Trailer { index_offset: u64_at(bytes, 8), file_len: u64_at(bytes, 16) })
    }
}
