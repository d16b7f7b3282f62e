//! Finds chunks of captured bytes; keeps the frames that were used last.

use trace_format::frame::FrameKind;
use trace_format::limits;
use trace_format::varint::{DecodeError, Problem};

use super::Trace;
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
}

impl ContentCache {
    pub(super) fn new(entries: &[Entry]) -> ContentCache {
        let frames = entries.iter().filter(|entry| entry.kind() == Some(FrameKind::Content)).map(|entry| {
            let first = entry.header.first;
            (first, first + u64::from(entry.header.count), *entry)
        });
        ContentCache { frames: frames.collect(), kept: Vec::new() }
    }

    /// Appends a chunk of the expected length. `offset` is that of the frame that wants it.
    pub(super) fn append(
        &mut self,
        trace: &Trace,
        chunk: u64,
        expected: u32,
        out: &mut Vec<u8>,
        offset: u64,
    ) -> Result<(), EngineError> {
        let fail = |problem| {
            EngineError::corrupt(offset, &DecodeError { reading: "chunk of a content", offset: chunk, problem })
        };
        let frame = self.frames.partition_point(|(first, _, _)| *first <= chunk);
        let Some(&(first, end, entry)) = frame.checked_sub(1).map(|frame| &self.frames[frame]) else {
            return Err(fail(Problem::Invalid { value: chunk }));
        };
        if chunk >= end {
            return Err(fail(Problem::TooLarge { value: chunk, limit: end }));
        }
        self.load(trace, first, &entry)?;
        let Some(frame) = self.kept.last() else { return Err(fail(Problem::Invalid { value: chunk })) };
        let place = (chunk - first) as usize;
        let bytes = &frame.payload[frame.starts[place] as usize..frame.starts[place + 1] as usize];
        if bytes.len() != expected as usize {
            return Err(fail(Problem::Ends { need: expected.into(), have: bytes.len() as u64 }));
        }
        out.extend_from_slice(bytes);
        Ok(())
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
