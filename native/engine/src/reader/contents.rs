//! Finds chunks of captured bytes; keeps the frames that were used last.

use std::ops::Range;

use trace_format::frame::FrameKind;
use trace_format::limits;
use trace_format::varint::{DecodeError, Problem};

use super::{Digest, Trace};
use crate::content::chunk_starts;
use crate::error::EngineError;
use crate::index::Entry;

/// Frames that are kept; together at most 64 MiB.
const KEPT: usize = 32;

/// Chunks of at most so many bytes are kept apart of all frames, as long as they take no more than `KEPT_SMALL_BYTES`
/// together. Who digests asks for little else: statuses of files and the like, from between the files that were read.
const SMALL: u32 = 2048;
const KEPT_SMALL_BYTES: usize = 64 << 20;

struct Frame {
    /// Number of its first chunk.
    first: u64,
    payload: Vec<u8>,
    starts: Vec<u32>,
}

/// The CONTENT frames of a trace.
pub(super) struct ContentCache {
    /// Number of the first chunk, of the first behind the last, and the entry of each frame.
    frames: Vec<(u64, u64, Entry)>,
    /// Used last comes last.
    kept: Vec<Frame>,
    /// By the number of the frame; empty before [`ContentCache::digesting`].
    known: Vec<Option<Known>>,
    /// Bytes of small chunks in `known`.
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
        ContentCache { frames: frames.collect(), kept: Vec::new(), known: Vec::new(), small_bytes: 0 }
    }

    /// Appends the chunks of a content of `len` bytes. `offset` is that of the frame that wants it.
    pub(super) fn append_all<'a>(
        &mut self,
        trace: &Trace,
        chunks: impl Iterator<Item = &'a u64>,
        len: u32,
        out: &mut Vec<u8>,
        offset: u64,
    ) -> Result<(), EngineError> {
        let mut left = len;
        for &chunk in chunks {
            let expected = left.min(limits::CHUNK_BYTES);
            out.extend_from_slice(self.bytes(trace, chunk, expected, offset)?);
            left -= expected;
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
        if self.small(number, place).is_none() {
            self.load(trace, number)?;
        }
        if let Some(range) = self.small(number, place)
            && let Some(Some(known)) = self.known.get(number)
        {
            check_len(range.len(), expected, offset, chunk)?;
            return Ok(&known.small[range]);
        }
        let Some(frame) = self.kept.last() else { return Err(fail(offset, chunk, Problem::Invalid { value: chunk })) };
        let bytes = &frame.payload[frame.starts[place] as usize..frame.starts[place + 1] as usize];
        check_len(bytes.len(), expected, offset, chunk)?;
        Ok(bytes)
    }

    /// From now on keeps digests and small chunks of the frames that it unpacks.
    pub(super) fn digesting(&mut self) {
        if self.known.is_empty() {
            self.known.resize_with(self.frames.len(), || None);
        }
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
        if self.known.get(number).is_none_or(Option::is_none) {
            self.load(trace, number)?;
        }
        let known = self.known.get(number).and_then(Option::as_ref).and_then(|known| known.chunks.get(place));
        let Some(known) = known else { return Err(fail(offset, chunk, Problem::Invalid { value: chunk })) };
        check_len(known.len as usize, expected, offset, chunk)?;
        Ok(known.digest)
    }

    /// Where a chunk is among the small ones of its frame.
    fn small(&self, number: usize, place: usize) -> Option<Range<usize>> {
        let chunk = self.known.get(number)?.as_ref()?.chunks.get(place)?;
        let start = chunk.small? as usize;
        Some(start..start + chunk.len as usize)
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
        let (first, _, entry) = self.frames[number];
        match self.kept.iter().rposition(|frame| frame.first == first) {
            Some(place) if place + 1 == self.kept.len() => {}
            Some(place) => {
                let frame = self.kept.remove(place);
                self.kept.push(frame);
            }
            None => {
                let payload = trace.payload(&entry, limits::MAX_CONTENT_FRAME_BYTES)?;
                let starts = chunk_starts(&payload, entry.header.count)
                    .map_err(|error| EngineError::corrupt(entry.offset, &error))?;
                if self.kept.len() == KEPT {
                    self.kept.remove(0);
                }
                self.kept.push(Frame { first, payload, starts });
            }
        }
        if self.known.get(number).is_some_and(Option::is_none) {
            self.know(number);
        }
        Ok(())
    }

    /// Digests the chunks of the frame that is the last of the kept ones.
    fn know(&mut self, number: usize) {
        let Some(Frame { payload, starts, .. }) = self.kept.last() else { return };
        let mut known = Known { chunks: Vec::with_capacity(starts.len() - 1), small: Vec::new() };
        for ends in starts.windows(2) {
            let bytes = &payload[ends[0] as usize..ends[1] as usize];
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
        self.known[number] = Some(known);
    }
}
