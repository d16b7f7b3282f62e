//! From batches to frames: numbers the events, finds equal contents, and closes blocks at their limits.

use std::path::Path;

use trace_format::column::{
    BlockRows, COLUMNS, CaptureRow, ColumnEntry, ContentRow, Encoder, NO_CONTENT, RefRow, Row, encode_column_table,
};
use trace_format::event::{Status, slot};
use trace_format::frame::{Codec, FrameHeader, FrameKind};
use trace_format::limits;

use super::sink::Sink;
use super::{Options, Summary};
use crate::content::{Contents, quick_hash};
use crate::definitions;
use crate::error::EngineError;
use crate::index::{BlockSummary, Extra};
use crate::raw::{RawBatch, RawCapture, RawEvent, RawRef};
use crate::stacks::samples::{self, Sample};

/// Events of a block: more make the file hardly smaller, and do not stay in the processor's caches from the time at which they come to that
/// at which they are encoded.
const BLOCK_EVENTS: usize = 8192;

/// Contents of a block that can be found again, twice its events.
const SEEN_BITS: u32 = 16;

/// Writes a trace file; [`super::Writer`] runs it on a thread.
pub struct BlockWriter {
    sink: Sink,
    tick_ns: u64,
    contents: Contents,
    definitions: definitions::Encoder,
    encoder: Encoder,
    rows: BlockRows,
    /// Number of the block's first event.
    first: u64,
    /// Captured bytes of the block.
    content_bytes: u64,
    /// Contents of this block, their number plus 1, by a hash of their bytes or chunk numbers: the last one with the same upper bits. It
    /// is compared; what is not found is only told of twice.
    seen: Vec<u32>,
    lost: u64,
    payload: Vec<u8>,
    stored: Vec<u8>,
    samples: Samples,
}

/// Samples that wait to be written.
#[derive(Default)]
struct Samples {
    payload: Vec<u8>,
    count: u32,
    /// How many were written.
    first: u64,
    last_seq: u64,
}

impl BlockWriter {
    /// Creates the file.
    ///
    /// # Errors
    /// When the file exists and `force` is not set, is being recorded, or cannot be made.
    pub fn create(path: &Path, options: &Options) -> Result<BlockWriter, EngineError> {
        let (sink, header) = Sink::create(path, options)?;
        Ok(BlockWriter {
            sink,
            tick_ns: header.tick_ns.max(1).into(),
            contents: Contents::new(header.id, options.remembered_chunks),
            definitions: definitions::Encoder::default(),
            encoder: Encoder::new(),
            rows: BlockRows::default(),
            first: 0,
            content_bytes: 0,
            seen: vec![0; 1 << SEEN_BITS],
            lost: 0,
            payload: Vec::new(),
            stored: Vec::new(),
            samples: Samples::default(),
        })
    }

    /// The file, for frames of other kinds. They go behind what has been flushed.
    pub(crate) fn sink(&mut self) -> &mut Sink {
        self.flush();
        &mut self.sink
    }

    /// Whether something waits to be written.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.rows.rows.is_empty() || self.definitions.has_pending()
    }

    /// Whether the file can no longer be written.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.sink.has_failed()
    }

    /// Takes over everything in the batch.
    ///
    /// # Panics
    /// When the counts of the events do not fit the arrays: a mistake of the caller.
    pub fn push_batch(&mut self, batch: &RawBatch) {
        for definition in &batch.definitions {
            self.definitions.add(definition);
            if self.definitions.is_full() {
                self.write_definitions();
            }
        }
        for sample in &batch.samples {
            self.push_sample(sample);
        }
        let (mut captures, mut refs, mut bytes) = (&batch.captures[..], &batch.refs[..], &batch.bytes[..]);
        for event in &batch.events {
            let (own_captures, other_captures) = captures.split_at(event.captures.into());
            let (own_refs, other_refs) = refs.split_at(event.refs.into());
            bytes = self.push(event, own_captures, own_refs, bytes);
            (captures, refs) = (other_captures, other_refs);
        }
    }

    fn push_sample(&mut self, sample: &Sample) {
        // Equal memory of samples in one frame costs next to nothing.
        const FULL_BYTES: usize = 8 << 20;
        samples::encode(sample, self.samples.last_seq, &mut self.samples.payload);
        self.samples.last_seq = sample.seq;
        self.samples.count += 1;
        if self.samples.payload.len() >= FULL_BYTES || self.samples.count >= limits::MAX_FRAME_SAMPLES {
            self.write_samples();
        }
    }

    fn write_samples(&mut self) {
        let Samples { payload, count, first, .. } = &self.samples;
        if *count > 0 {
            self.sink.frame(FrameKind::Samples, payload, *first, *count);
        }
        let first = first + u64::from(*count);
        self.samples = Samples { first, ..Samples::default() };
    }

    /// Takes over one event and gives back the bytes that belong to the next ones.
    fn push<'a>(
        &mut self,
        event: &RawEvent,
        captures: &[RawCapture],
        refs: &[RawRef],
        mut bytes: &'a [u8],
    ) -> &'a [u8] {
        let seq = self.first + self.rows.rows.len() as u64;
        let last = limits::MAX_TIME_NS / self.tick_ns;
        let start = (event.start / self.tick_ns).min(last);
        self.rows.rows.push(Row {
            kind: event.kind,
            flags: event.flags,
            arch: event.arch,
            nargs: event.nargs.min(6),
            code: event.code,
            thread: event.thread.min(limits::MAX_THREADS - 1),
            start,
            end: (event.end / self.tick_ns).clamp(start, last),
            span: u32::try_from(seq.saturating_sub(event.entry_seq)).unwrap_or(u32::MAX),
            args: event.args,
            ret: event.ret,
            ip: event.ip,
            sp: event.sp,
            captures: event.captures,
            refs: event.refs,
        });
        let mut room = limits::MAX_EVENT_BYTES as usize;
        for capture in captures {
            let (own, other) = bytes.split_at(capture.len as usize);
            bytes = other;
            let kept = &own[..own.len().min(room)];
            room -= kept.len();
            let cut = kept.len() < own.len();
            let row = CaptureRow {
                slot: capture.slot.min(slot::COUNT - 1),
                side: capture.side,
                status: if cut { Status::Truncated } else { capture.status },
                addr: capture.addr,
                wanted: capture.wanted,
                content: self.content(kept),
            };
            self.rows.captures.push(row);
        }
        self.rows.refs.extend(refs.iter().map(|reference| RefRow {
            slot: reference.slot.min(slot::COUNT - 1),
            fd: reference.fd,
            object: reference.object.min(limits::MAX_OBJECTS - 1),
        }));
        if self.rows.rows.len() >= BLOCK_EVENTS
            || self.rows.captures.len() >= limits::MAX_BLOCK_CAPTURES as usize / 2
            || self.rows.refs.len() >= limits::MAX_BLOCK_REFS as usize / 2
            || self.rows.inline.len() >= limits::CLOSE_INLINE_BYTES as usize
            || self.content_bytes >= limits::CLOSE_BLOCK_BYTES.into()
        {
            self.flush();
        }
        bytes
    }

    /// The number in the block of a content.
    fn content(&mut self, bytes: &[u8]) -> u32 {
        if bytes.is_empty() {
            return NO_CONTENT;
        }
        let inline = bytes.len() < limits::INLINE_BELOW as usize;
        let chunks_at = self.rows.chunks.len();
        let hash = if inline {
            quick_hash(bytes)
        } else {
            for chunk in bytes.chunks(limits::CHUNK_BYTES as usize) {
                let number = self.contents.add(chunk);
                self.rows.chunks.push(number);
                if self.contents.is_full() {
                    self.write_contents();
                }
            }
            fold(!0, self.rows.chunks[chunks_at..].iter().copied())
        };
        let seen = (hash >> (64 - SEEN_BITS)) as usize;
        if let Some(number) = self.seen[seen].checked_sub(1) {
            let row = self.rows.contents[number as usize];
            let at = row.at as usize;
            let same = row.len as usize == bytes.len() && row.inline == inline && {
                if inline {
                    self.rows.inline[at..at + bytes.len()] == *bytes
                } else {
                    self.rows.chunks[at..].starts_with(&self.rows.chunks[chunks_at..])
                }
            };
            if same {
                self.rows.chunks.truncate(chunks_at);
                return number;
            }
        }
        let at = if inline {
            self.rows.inline.extend_from_slice(bytes);
            self.rows.inline.len() - bytes.len()
        } else {
            chunks_at
        };
        let number = self.rows.contents.len() as u32;
        self.rows.contents.push(ContentRow { len: bytes.len() as u32, inline, at: at as u32 });
        self.content_bytes += bytes.len() as u64;
        self.seen[seen] = number + 1;
        number
    }

    fn write_definitions(&mut self) {
        if let Some((first, count)) = self.definitions.take_frame(&mut self.payload) {
            self.sink.frame(FrameKind::Defs, &self.payload, first, count);
        }
    }

    fn write_contents(&mut self) {
        if let Some((first, count)) = self.contents.take_frame(&mut self.payload) {
            self.sink.frame(FrameKind::Content, &self.payload, first, count);
        }
    }

    /// Writes all that waits: definitions, contents, then the events that use them.
    pub fn flush(&mut self) {
        self.write_definitions();
        self.write_contents();
        self.write_samples();
        let count = self.rows.rows.len() as u32;
        if count > 0 {
            if self.write_events(count) {
                self.first += u64::from(count);
            } else {
                self.lost += u64::from(count);
            }
        }
        self.rows.clear();
        self.seen.fill(0);
        self.content_bytes = 0;
        self.rows.object_base = self.definitions.objects();
        self.rows.content_base = self.contents.next();
    }

    fn write_events(&mut self, count: u32) -> bool {
        if self.sink.has_failed() {
            return false;
        }
        let (header, columns) = self.encoder.encode(&self.rows);
        let mut bodies = std::mem::take(&mut self.stored);
        bodies.clear();
        let mut entries = Vec::with_capacity(COLUMNS);
        for (id, raw) in columns.iter().enumerate().filter(|(_, raw)| !raw.is_empty()) {
            let offset = bodies.len();
            let codec = self.sink.compress(raw, &mut bodies);
            let (raw_len, stored_len) = (raw.len() as u32, (bodies.len() - offset) as u32);
            entries.push(ColumnEntry { id: id as u8, codec: codec as u8, raw_len, stored_len, offset });
        }
        self.payload.clear();
        header.encode(&mut self.payload);
        encode_column_table(&entries, &mut self.payload);
        self.payload.extend_from_slice(&bodies);
        self.stored = bodies;
        let len = self.payload.len() as u32;
        let frame = FrameHeader {
            kind: FrameKind::Events as u8,
            codec: Codec::Raw as u8,
            stored_len: len,
            raw_len: len,
            count,
            first: self.first,
            crc: 0,
        };
        let block = BlockSummary {
            min_start: header.min_start,
            max_end: header.max_end,
            spanning: header.spanning,
            kinds: header.kinds,
        };
        self.sink.stored_frame(frame, &self.payload, Extra::Block(block))
    }

    /// Writes what waits and leaves the trace cut.
    #[must_use]
    pub fn abandon(mut self) -> Summary {
        self.flush();
        self.summary()
    }

    /// Writes what waits, the index, and the end.
    #[must_use]
    pub fn finish(mut self) -> Summary {
        self.flush();
        self.sink.complete();
        self.summary()
    }

    fn summary(&mut self) -> Summary {
        let mut summary = Summary {
            events: self.first,
            lost: self.lost,
            bytes_total: self.sink.end(),
            bytes_deduplicated: self.contents.deduplicated(),
            ..Summary::default()
        };
        for entry in self.sink.entries() {
            let len = entry.end() - entry.offset;
            match entry.kind() {
                Some(FrameKind::Events) => summary.bytes_events += len,
                Some(FrameKind::Content) => summary.bytes_content += len,
                Some(FrameKind::Defs) => summary.bytes_definitions += len,
                _ => {}
            }
        }
        summary.failure = self.sink.take_failure();
        summary
    }
}

fn fold(start: u64, words: impl Iterator<Item = u64>) -> u64 {
    words.fold(start, |hash, word| (hash.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}
