//! Sums of a trace that is written: what the writer keeps beside its blocks.

use trace_format::column::{BlockRows, Encoder, Events};
use trace_format::event::{EventKind, Side};
use trace_format::limits;

use super::counter::{Block, Counter};
use super::frame;
use super::names::Names;
use super::{by_path, plan_of, plans};
use crate::error::EngineError;
use crate::raw::{ObjectKind, RawCapture, RawEvent};
use crate::reader::Content;

/// Objects of a trace whose sums are kept: 32 MiB.
const MAX_OBJECTS: usize = 4 << 20;

/// Bytes of their names, of which many are relative to others.
const MAX_TEXT: usize = 32 << 20;

/// The sums so far.
pub(crate) struct Written {
    counter: Counter,
    long: LongPaths,
}

impl Written {
    pub(crate) fn new() -> Written {
        let names = Names::bounded(MAX_TEXT, limits::MAX_USAGE_PATHS as usize);
        Written { counter: Counter::new(names, 0), long: LongPaths::default() }
    }

    /// Takes the next object of the trace.
    pub(crate) fn define(&mut self, kind: ObjectKind, path: &[u8]) {
        self.counter.define(kind, path);
    }

    /// Keeps the bytes of a content of the block, if they are a path of the event that is too long to stay in the block.
    pub(crate) fn captured(&mut self, event: &RawEvent, capture: &RawCapture, content: u32, bytes: &[u8]) {
        if bytes.len() < limits::INLINE_BELOW as usize || capture.side == Side::Out {
            return;
        }
        let is_path = match event.kind {
            EventKind::Exec | EventKind::Map => capture.slot == 0,
            EventKind::Call => {
                plan_of(plans(), event.arch, event.code).is_some_and(|plan| plan.paths.contains(&Some(capture.slot)))
            }
            _ => false,
        };
        if is_path {
            self.long.keep(content, bytes);
        }
    }

    /// Adds up the block that was encoded last. `false` when the sums are more than is kept: then they are of no use any more.
    pub(crate) fn add(&mut self, rows: &BlockRows, encoder: &Encoder) -> bool {
        let block = WrittenBlock { rows, encoder, long: &self.long };
        let added = self.counter.add(&block);
        self.long.clear();
        added.is_ok() && self.counter.left_out == 0 && self.counter.objects() <= MAX_OBJECTS
    }

    /// How many names have sums: a path has one, or a few.
    pub(crate) fn names(&self) -> usize {
        self.counter.sums.len()
    }

    /// The payload of a frame with the sums, which are those of so many events, and how many paths it has. None: there is too much
    /// for a frame.
    pub(crate) fn encode(self, events: u64, payload: &mut Vec<u8>) -> Option<u32> {
        let Counter { names, sums, .. } = self.counter;
        let usage = by_path(&names, &sums, Names::default());
        let fits = usage.left_out == 0 && usage.text.len() <= limits::MAX_USAGE_TEXT as usize;
        fits.then(|| frame::encode(&usage, events, payload))
    }
}

/// Bytes of some contents of the block: they may have left for the file before its events do.
#[derive(Default)]
struct LongPaths {
    bytes: Vec<u8>,
    /// Where they begin, plus 1, by number of the content; 0 where there are none.
    starts: Vec<u32>,
}

impl LongPaths {
    fn keep(&mut self, content: u32, bytes: &[u8]) {
        let content = content as usize;
        if content >= self.starts.len() {
            self.starts.resize(content + 1, 0);
        }
        if self.starts[content] == 0 {
            self.starts[content] = self.bytes.len() as u32 + 1;
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn of(&self, content: u32, len: u32) -> Option<&[u8]> {
        let start = self.starts.get(content as usize)?.checked_sub(1)? as usize;
        Some(&self.bytes[start..start + len as usize])
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }
}

/// A block that has been encoded. Its contents are numbered twice: as the rows came, and in stored order.
struct WrittenBlock<'a> {
    rows: &'a BlockRows,
    encoder: &'a Encoder,
    long: &'a LongPaths,
}

impl Block for WrittenBlock<'_> {
    fn events(&self) -> Events<'_> {
        self.encoder.events()
    }

    fn contents(&self) -> usize {
        self.encoder.contents().len()
    }

    fn content(&self, number: usize) -> Content<'_> {
        let row = self.rows.contents[self.encoder.contents()[number] as usize];
        let at = row.at as usize;
        if row.inline {
            return Content::Inline(&self.rows.inline[at..at + row.len as usize]);
        }
        let chunks = row.len.div_ceil(limits::CHUNK_BYTES) as usize;
        Content::Chunks { chunks: &self.rows.chunks[at..at + chunks], len: row.len }
    }

    fn append_content(&self, number: usize, out: &mut Vec<u8>) -> Result<(), EngineError> {
        let number = self.encoder.contents()[number];
        let bytes = self.long.of(number, self.rows.contents[number as usize].len);
        out.extend_from_slice(bytes.ok_or(EngineError::Broken { part: "writer" })?);
        Ok(())
    }

    fn object(&self, _: usize) -> Option<(ObjectKind, &[u8])> {
        None
    }
}
