//! Finds chunks of captured bytes; keeps the frames that were used last.

use trace_format::frame::FrameKind;
use trace_format::limits;
use trace_format::varint::{DecodeError, Problem};

use super::{Digest, Trace};
use crate::content::chunk_starts;
use crate::error::EngineError;
use crate::index::Entry;

/// Frames that are kept; together at most 64 MiB.
const KEPT: usize = 32;

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
    /// Length and digest of each chunk of the frames of which any was asked for.
    digests: Vec<Vec<(u32, Digest)>>,
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
        ContentCache { frames: frames.collect(), kept: Vec::new(), digests: Vec::new() }
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
        let (first, _, entry) = self.frames[number];
        self.load(trace, first, &entry)?;
        let Some(frame) = self.kept.last() else { return Err(fail(offset, chunk, Problem::Invalid { value: chunk })) };
        let bytes = &frame.payload[frame.starts[place] as usize..frame.starts[place + 1] as usize];
        check_len(bytes.len(), expected, offset, chunk)?;
        Ok(bytes)
    }

    /// The digest of a chunk of the expected length, which is kept; a frame is unpacked only for its first.
    pub(super) fn digest(
        &mut self,
        trace: &Trace,
        chunk: u64,
        expected: u32,
        offset: u64,
    ) -> Result<Digest, EngineError> {
        let (number, place) = self.place(chunk, offset)?;
        if self.digests.is_empty() {
            self.digests = vec![Vec::new(); self.frames.len()];
        }
        if self.digests[number].is_empty() {
            let (first, _, entry) = self.frames[number];
            self.load(trace, first, &entry)?;
            if let Some(Frame { payload, starts, .. }) = self.kept.last() {
                let chunks = starts.windows(2).map(|ends| &payload[ends[0] as usize..ends[1] as usize]);
                self.digests[number] = chunks.map(|bytes| (bytes.len() as u32, Digest::of(bytes))).collect();
            }
        }
        let (len, digest) = self.digests[number][place];
        check_len(len as usize, expected, offset, chunk)?;
        Ok(digest)
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
    fn load(&mut self, trace: &Trace, first: u64, entry: &Entry) -> Result<(), EngineError> {
        match self.kept.iter().rposition(|frame| frame.first == first) {
            Some(place) if place + 1 == self.kept.len() => {}
            Some(place) => {
                let frame = self.kept.remove(place);
                self.kept.push(frame);
            }
            None => {
                let payload = trace.payload(entry, limits::MAX_CONTENT_FRAME_BYTES)?;
                let starts = chunk_starts(&payload, entry.header.count)
                    .map_err(|error| EngineError::corrupt(entry.offset, &error))?;
                if self.kept.len() == KEPT {
                    self.kept.remove(0);
                }
                self.kept.push(Frame { first, payload, starts });
            }
        }
        Ok(())
    }
}
