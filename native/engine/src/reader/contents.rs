//! Finds chunks of captured bytes; keeps the frames that were used last.

use trace_format::frame::FrameKind;
use trace_format::limits;
use trace_format::varint::{DecodeError, Problem};

use super::unpack::Unpacker;
use super::{Digest, Trace};
use crate::content::{FoldedMap, chunk_starts};
use crate::error::EngineError;
use crate::index::Entry;

/// Frames that are kept; together at most 64 MiB, and four bytes for each of their chunks.
const KEPT: usize = 32;

/// Chunks of at most so many bytes are kept apart of all frames, as long as they take no more than `KEPT_SMALL_BYTES`
/// together. Who digests asks for little else: statuses of files and the like, from between the files that were read.
const SMALL: u32 = 2048;
const KEPT_SMALL_BYTES: usize = 64 << 20;
/// Bytes of all that stays of frames that were unpacked. A frame has up to a million chunks, so one alone may take a sixth.
const KNOWN_BYTES: usize = 128 << 20;

/// Where the bytes of a content are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// In the block.
    Inline(&'a [u8]),
    /// In CONTENT frames, each chunk once.
    Chunks {
        /// Their numbers, as many as the length needs.
        chunks: &'a [u64],
        /// Bytes of all of them.
        len: u32,
    },
}

impl Content<'_> {
    /// How many bytes it has.
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Content::Inline(bytes) => bytes.len(),
            Content::Chunks { len, .. } => len as usize,
        }
    }

    /// Whether it has none: no content of a trace is.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Numbers and lengths of the chunks of a content of `len` bytes.
pub(super) fn with_lens(chunks: &[u64], len: u32) -> impl Iterator<Item = (u64, u32)> {
    let before = (0..len).step_by(limits::CHUNK_BYTES as usize);
    chunks.iter().zip(before).map(move |(&chunk, before)| (chunk, (len - before).min(limits::CHUNK_BYTES)))
}

#[derive(Default)]
struct Frame {
    number: usize,
    payload: Vec<u8>,
    starts: Vec<u32>,
}

/// The CONTENT frames of a trace.
pub(super) struct ContentCache {
    /// Number of the first chunk, of the first behind the last, and the entry of each frame.
    frames: Vec<(u64, u64, Entry)>,
    /// Used last comes last.
    kept: Vec<Frame>,
    /// A frame as it is in the file, and what unpacks it.
    stored: Vec<u8>,
    unpack: Unpacker,
    /// Whether digests and small chunks are kept: for who digests, and when frames are asked for again that were let go.
    is_digesting: bool,
    /// By frame, whether it was unpacked once.
    unpacked: Vec<bool>,
    known: KnownFrames,
}

/// What stays of frames that were unpacked, by their numbers.
#[derive(Default)]
struct KnownFrames {
    frames: FoldedMap<u64, Known>,
    /// Bytes of all, and of the small chunks among them.
    bytes: usize,
    small_bytes: usize,
}

/// What stays of a frame that was unpacked.
struct Known {
    /// Of each chunk.
    chunks: Vec<KnownChunk>,
    /// The bytes of small ones.
    small: Vec<u8>,
}

struct KnownChunk {
    len: u32,
    digest: Digest,
    /// Where its bytes begin in `small`.
    small: Option<u32>,
}

fn fail(offset: u64, chunk: u64, problem: Problem) -> EngineError {
    EngineError::corrupt(offset, &DecodeError { reading: "chunk of a content", offset: chunk, problem })
}

fn check_len(len: usize, expected: u32, offset: u64, chunk: u64) -> Result<(), EngineError> {
    if len == expected as usize {
        return Ok(());
    }
    Err(fail(offset, chunk, Problem::Ends { need: expected.into(), have: len as u64 }))
}

impl ContentCache {
    pub(super) fn new(entries: &[Entry]) -> ContentCache {
        let frames = entries.iter().filter(|entry| entry.kind() == Some(FrameKind::Content)).map(|entry| {
            let first = entry.header.first;
            (first, first + u64::from(entry.header.count), *entry)
        });
        ContentCache {
            frames: frames.collect(),
            kept: Vec::new(),
            stored: Vec::new(),
            unpack: Unpacker::default(),
            is_digesting: false,
            unpacked: Vec::new(),
            known: KnownFrames::default(),
        }
    }

    /// Appends all bytes of a content. `offset` is that of the frame that wants it.
    pub(super) fn append(
        &mut self,
        trace: &Trace,
        content: Content,
        out: &mut Vec<u8>,
        offset: u64,
    ) -> Result<(), EngineError> {
        match content {
            Content::Inline(bytes) => out.extend_from_slice(bytes),
            Content::Chunks { chunks, len } => {
                for (chunk, len) in with_lens(chunks, len) {
                    out.extend_from_slice(self.bytes(trace, chunk, len, offset)?);
                }
            }
        }
        Ok(())
    }

    /// A chunk of the expected length. `offset` is that of the frame that wants it.
    pub(super) fn bytes(
        &mut self,
        trace: &Trace,
        chunk: u64,
        expected: u32,
        offset: u64,
    ) -> Result<&[u8], EngineError> {
        let (number, place) = self.place(chunk, offset)?;
        if self.known.small(number, place).is_none() {
            self.load(trace, number)?;
        }
        if let Some(bytes) = self.known.small(number, place) {
            check_len(bytes.len(), expected, offset, chunk)?;
            return Ok(bytes);
        }
        let Some(frame) = self.kept.last() else { return Err(fail(offset, chunk, Problem::Invalid { value: chunk })) };
        let bytes = &frame.payload[frame.starts[place] as usize..frame.starts[place + 1] as usize];
        check_len(bytes.len(), expected, offset, chunk)?;
        Ok(bytes)
    }

    /// From now on keeps digests and small chunks of the frames that it unpacks.
    pub(super) fn digesting(&mut self) {
        self.is_digesting = true;
    }

    /// The digest of a chunk of the expected length, after [`ContentCache::digesting`].
    pub(super) fn digest(
        &mut self,
        trace: &Trace,
        chunk: u64,
        expected: u32,
        offset: u64,
    ) -> Result<Digest, EngineError> {
        let (number, place) = self.place(chunk, offset)?;
        if self.known.chunk(number, place).is_none() {
            self.load(trace, number)?;
        }
        let known = self.known.chunk(number, place);
        let Some(known) = known else { return Err(fail(offset, chunk, Problem::Invalid { value: chunk })) };
        check_len(known.len as usize, expected, offset, chunk)?;
        Ok(known.digest)
    }

    /// Number of the frame in which a chunk is, and its place there.
    fn place(&self, chunk: u64, offset: u64) -> Result<(usize, usize), EngineError> {
        let after = self.frames.partition_point(|(first, _, _)| *first <= chunk);
        let Some(number) = after.checked_sub(1) else {
            return Err(fail(offset, chunk, Problem::Invalid { value: chunk }));
        };
        let (first, end, _) = self.frames[number];
        if chunk >= end {
            return Err(fail(offset, chunk, Problem::TooLarge { value: chunk, limit: end }));
        }
        Ok((number, (chunk - first) as usize))
    }

    /// Makes the frame the last of the kept ones.
    fn load(&mut self, trace: &Trace, number: usize) -> Result<(), EngineError> {
        match self.kept.iter().rposition(|frame| frame.number == number) {
            Some(place) if place + 1 == self.kept.len() => {}
            Some(place) => {
                let frame = self.kept.remove(place);
                self.kept.push(frame);
            }
            None => {
                let frame = self.unpacked(trace, number)?;
                self.kept.push(frame);
            }
        }
        if let Some(frame) = self.kept.last()
            && self.is_digesting
        {
            self.known.add(frame);
        }
        Ok(())
    }

    /// A frame in the memory of the one that was not used for the longest time, when as many are kept as may be.
    fn unpacked(&mut self, trace: &Trace, number: usize) -> Result<Frame, EngineError> {
        let (_, _, entry) = self.frames[number];
        self.unpacked.resize(self.frames.len(), false);
        self.is_digesting |= std::mem::replace(&mut self.unpacked[number], true);
        let mut frame = if self.kept.len() < KEPT { Frame::default() } else { self.kept.remove(0) };
        let limit = limits::MAX_CONTENT_FRAME_BYTES;
        let read = trace.read_payload(&entry, limit, (&mut self.stored, &mut self.unpack), &mut frame.payload);
        // What is stored may be longer than what comes of it.
        self.stored.clear();
        self.stored.shrink_to(limit as usize);
        read?;
        chunk_starts(&frame.payload, entry.header.count, &mut frame.starts)
            .map_err(|error| EngineError::corrupt(entry.offset, &error))?;
        frame.number = number;
        Ok(frame)
    }
}

impl KnownFrames {
    fn chunk(&self, number: usize, place: usize) -> Option<&KnownChunk> {
        self.frames.get(&(number as u64))?.chunks.get(place)
    }

    /// The bytes of a small chunk.
    fn small(&self, number: usize, place: usize) -> Option<&[u8]> {
        let known = self.frames.get(&(number as u64))?;
        let chunk = known.chunks.get(place)?;
        let start = chunk.small? as usize;
        known.small.get(start..start + chunk.len as usize)
    }

    /// Digests the chunks of a frame. When there is no room for them all others are forgotten: what is asked for next is
    /// mostly near.
    fn add(&mut self, frame: &Frame) {
        let number = frame.number as u64;
        if self.frames.contains_key(&number) {
            return;
        }
        let lens = frame.starts.windows(2).map(|ends| ends[1] - ends[0]);
        let small: usize = lens.clone().filter(|len| *len <= SMALL).map(|len| len as usize).sum();
        let own = size_of::<(u64, Known)>() + lens.len() * size_of::<KnownChunk>() + small;
        if self.bytes + own > KNOWN_BYTES {
            *self = KnownFrames::default();
        }
        let mut known = Known { chunks: Vec::with_capacity(lens.len()), small: Vec::new() };
        for ends in frame.starts.windows(2) {
            let bytes = &frame.payload[ends[0] as usize..ends[1] as usize];
            let len = ends[1] - ends[0];
            let is_small = len <= SMALL && self.small_bytes + bytes.len() <= KEPT_SMALL_BYTES;
            let small = is_small.then_some(known.small.len() as u32);
            if is_small {
                known.small.extend_from_slice(bytes);
                self.small_bytes += bytes.len();
            }
            known.chunks.push(KnownChunk { len, digest: Digest::of(bytes), small });
        }
        known.small.shrink_to_fit();
        self.bytes += own;
        self.frames.insert(number, known);
    }
}
