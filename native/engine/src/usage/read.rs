//! Sums of a trace that is read, block by block.

use trace_format::column::{Events, Projection};

use super::counter::{Block, Counter};
use super::names::Names;
use super::{Usage, by_path};
use crate::error::EngineError;
use crate::raw::ObjectKind;
use crate::reader::{Content, StoredBlock, Trace};

/// Adds up all events of the trace.
pub(super) fn usage(trace: &Trace) -> Usage {
    let mut counter = Counter::new(Names::default(), trace.definitions().object_count());
    let mut failure = None;
    let mut places = Vec::new();
    let projection = Projection { results: true, contents: true, refs: true, ..Projection::CORE };
    for number in 0..trace.blocks().len() {
        let added = trace.visit_block(number, projection, |stored| {
            stored.places(&mut places);
            counter.add(&ReadBlock { trace, stored, places: &places })
        });
        if let Err(error) = added {
            failure = Some(error);
            break;
        }
    }
    let usage = by_path(&counter.names, &counter.sums, Names::default());
    Usage { failure, left_out: usage.left_out + counter.left_out, ..usage }
}

struct ReadBlock<'a> {
    trace: &'a Trace,
    stored: &'a StoredBlock<'a>,
    /// By content: where its bytes begin, or its chunks.
    places: &'a [u32],
}

impl Block for ReadBlock<'_> {
    fn events(&self) -> Events<'_> {
        self.stored.events
    }

    fn contents(&self) -> usize {
        self.places.len()
    }

    fn content(&self, number: usize) -> Content<'_> {
        self.stored.content(number, self.places[number])
    }

    fn append_content(&self, number: usize, out: &mut Vec<u8>) -> Result<(), EngineError> {
        self.stored.append_content(self.content(number), out)
    }

    fn object(&self, index: usize) -> Option<(ObjectKind, &[u8])> {
        self.trace.definitions().object(index).map(|object| (object.kind, object.path))
    }
}
