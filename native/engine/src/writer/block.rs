//! From batches to frames: numbers the events, finds equal contents, and closes blocks at their limits.

use std::path::Path;

use trace_format::column::{BlockRows, CaptureRow, ContentRow, Encoder, NO_CONTENT, RefRow, Row};
use trace_format::event::{Status, slot};
use trace_format::frame::{FileHeader, FrameHeader, FrameKind};
use trace_format::limits;

use super::output::{Apart, Output};
use super::sink::Sink;
use super::{Options, Summary, cannot_start};
use crate::content::{Contents, quick_hash};
use crate::definitions;
use crate::error::EngineError;
use crate::index::Extra;
use crate::raw::{Definition, RawBatch, RawCapture, RawEvent, RawRef};
use crate::stacks::samples::{self, Sample};
use crate::sys;
use crate::usage::written::Written;

/// Events of a block: more make the file hardly smaller, and do not stay in the processor's caches from the time at which they come to that
/// at which they are encoded.
const BLOCK_EVENTS: usize = 8192;
/// Captured bytes of a block: with so many it has enough.
const BLOCK_BYTES: u64 = limits::CLOSE_BLOCK_BYTES as u64;

/// Where there is less room than this, the first blocks are small, as what waits when the disk is full is lost. Each has as much as those
/// before it, and at least this.
const TIGHT_BYTES: u64 = 32 << 20;
const FIRST_EVENTS: usize = 256;
const FIRST_BYTES: u64 = 64 << 10;

/// The sums of what is done with each path are stored if they are this small, or such a part of the file.
const USAGE_BYTES: u64 = 256 << 10;
const USAGE_SHARE: u64 = 50;
/// What a name takes there, once it is compressed: so many that they will be too large need not be put in order first.
const USAGE_NAME_BYTES: u64 = 5;

/// Contents of a block that can be found again, twice its events.
const SEEN_BITS: u32 = 16;

/// Writes a trace file; [`super::Writer`] runs it on a thread, and its output on another.
pub struct BlockWriter<O = Sink> {
    output: O,
    tick_ns: u64,
    contents: Contents,
    definitions: definitions::Encoder,
    encoder: Encoder,
    rows: BlockRows,
    /// Number of the block's first event.
    first: u64,
    /// Captured bytes of the block.
    content_bytes: u64,
    /// With so many events or captured bytes it is closed.
    most: (usize, u64),
    /// Contents of this block, their number plus 1, by a hash of their bytes or chunk numbers: the last one with the same upper bits. It
    /// is compared; what is not found is only told of twice.
    seen: Vec<u32>,
    payload: Vec<u8>,
    samples: Samples,
    /// Sums of what is done with each path, as long as they are not too many.
    usage: Option<Box<Written>>,
    usage_from: u64,
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
        let key = content_key(path)?;
        let (sink, header) = Sink::create(path, options)?;
        let room = sink.room();
        Ok(BlockWriter::over(sink, room, &header, key, options))
    }

    /// The file, for frames of other kinds. They go behind what has been flushed.
    pub(crate) fn sink(&mut self) -> &mut Sink {
        self.flush();
        &mut self.output
    }
}

impl BlockWriter<Apart> {
    /// As [`BlockWriter::create`], but frames are compressed and written on another thread.
    ///
    /// # Errors
    /// As there, and when there can be no thread.
    pub(super) fn create_apart(path: &Path, options: &Options) -> Result<BlockWriter<Apart>, EngineError> {
        let key = content_key(path)?;
        let (sink, header) = Sink::create(path, options)?;
        let room = sink.room();
        let output = Apart::begin(sink).map_err(|source| cannot_start(path, source))?;
        Ok(BlockWriter::over(output, room, &header, key, options))
    }
}

impl<O: Output> BlockWriter<O> {
    fn over(output: O, room: Option<u64>, header: &FileHeader, key: [u64; 4], options: &Options) -> BlockWriter<O> {
        let is_tight = room.is_some_and(|room| room < TIGHT_BYTES);
        let most = if is_tight { (FIRST_EVENTS, FIRST_BYTES) } else { (BLOCK_EVENTS, BLOCK_BYTES) };
        BlockWriter {
            output,
            tick_ns: header.tick_ns.max(1).into(),
            contents: Contents::new(key, options.remembered_chunks),
            definitions: definitions::Encoder::default(),
            encoder: Encoder::new(),
            rows: BlockRows::default(),
            first: 0,
            content_bytes: 0,
            most,
            seen: vec![0; 1 << SEEN_BITS],
            payload: Vec::new(),
            samples: Samples::default(),
            usage: Some(Box::new(Written::new())),
            usage_from: options.usage_from,
        }
    }

    /// Whether something waits to be written.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.rows.rows.is_empty() || self.definitions.has_pending()
    }

    /// Whether the file can no longer be written.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.output.has_failed()
    }

    /// Takes over everything in the batch.
    ///
    /// # Panics
    /// When the counts of the events do not fit the arrays: a mistake of the caller.
    pub fn push_batch(&mut self, batch: &RawBatch) {
        for definition in &batch.definitions {
            self.definitions.add(definition);
            if let (Some(usage), Definition::Object { kind, .. }) = (&mut self.usage, definition) {
                usage.define(*kind, self.definitions.last_path());
            }
            if self.definitions.is_full() {
                self.write_definitions();
            }
        }
        for (hash, file) in &batch.files {
            self.output.pack(hash, file);
        }
        for sample in &batch.samples {
            self.push_sample(sample);
        }
        let (mut captures, mut refs, mut bytes) = (&batch.captures[..], &batch.refs[..], &batch.bytes[..]);
        let mut before = None;
        for event in &batch.events {
            let (own_captures, other_captures) = captures.split_at(event.captures.into());
            let (own_refs, other_refs) = refs.split_at(event.refs.into());
            bytes = self.push(event, own_captures, own_refs, bytes, &mut before);
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
        let Samples { payload, count, first, .. } = &mut self.samples;
        if *count > 0 {
            self.output.frame(FrameKind::Samples, payload, *first, *count);
        }
        let first = *first + u64::from(*count);
        self.samples = Samples { first, ..Samples::default() };
    }

    /// Takes over one event and gives back the bytes that belong to the next ones. `before`: the content before, and its number in the
    /// block; many programs write what they have just read.
    fn push<'a>(
        &mut self,
        event: &RawEvent,
        captures: &[RawCapture],
        refs: &[RawRef],
        mut bytes: &'a [u8],
        before: &mut Option<(&'a [u8], u32)>,
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
            let content = match *before {
                Some((equal, number)) if equal == kept => {
                    if !is_inline(kept) {
                        self.contents.came_again(kept.len());
                    }
                    number
                }
                _ => self.content(kept),
            };
            *before = Some((kept, content));
            if let Some(usage) = &mut self.usage {
                usage.captured(event, capture, content, kept);
            }
            let row = CaptureRow {
                slot: capture.slot.min(slot::COUNT - 1),
                side: capture.side,
                status: if cut { Status::Truncated } else { capture.status },
                addr: capture.addr,
                wanted: capture.wanted,
                content,
            };
            self.rows.captures.push(row);
        }
        self.rows.refs.extend(refs.iter().map(|reference| RefRow {
            slot: reference.slot.min(slot::COUNT - 1),
            fd: reference.fd,
            object: reference.object.min(limits::MAX_OBJECTS - 1),
        }));
        let (most_events, most_bytes) = self.most;
        if self.rows.rows.len() >= most_events
            || self.rows.captures.len() >= limits::MAX_BLOCK_CAPTURES as usize / 2
            || self.rows.refs.len() >= limits::MAX_BLOCK_REFS as usize / 2
            || self.rows.inline.len() >= limits::CLOSE_INLINE_BYTES as usize
            || self.content_bytes >= most_bytes
        {
            self.flush();
            *before = None;
        }
        bytes
    }

    /// The number in the block of a content.
    fn content(&mut self, bytes: &[u8]) -> u32 {
        if bytes.is_empty() {
            return NO_CONTENT;
        }
        let inline = is_inline(bytes);
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
            self.output.frame(FrameKind::Defs, &mut self.payload, first, count);
        }
    }

    fn write_contents(&mut self) {
        if let Some((first, count)) = self.contents.take_frame(&mut self.payload) {
            self.output.frame(FrameKind::Content, &mut self.payload, first, count);
        }
    }

    /// Writes all that waits: definitions, contents, then the events that use them.
    pub fn flush(&mut self) {
        self.write_definitions();
        self.write_contents();
        self.write_samples();
        let count = self.rows.rows.len() as u32;
        if count > 0 {
            let (header, columns) = self.encoder.encode(&self.rows);
            self.output.block(header, columns, self.first, count);
            self.first += u64::from(count);
            if self.usage.as_mut().is_some_and(|usage| !usage.add(&self.rows, &self.encoder)) {
                self.usage = None;
            }
        }
        self.rows.clear();
        self.seen.fill(0);
        let (events, bytes) = self.most;
        if self.first as usize > events {
            self.most = ((2 * events).min(BLOCK_EVENTS), (2 * bytes).min(BLOCK_BYTES));
        }
        self.content_bytes = 0;
        self.rows.object_base = self.definitions.objects();
        self.rows.content_base = self.contents.next();
    }

    /// Writes what waits and leaves the trace cut.
    #[must_use]
    pub fn abandon(mut self) -> Summary {
        self.flush();
        self.summary(false)
    }

    /// Writes what waits, the index, and the end.
    #[must_use]
    pub fn finish(mut self) -> Summary {
        self.flush();
        self.summary(true)
    }

    fn summary(self, complete: bool) -> Summary {
        let (first, bytes_deduplicated) = (self.first, self.contents.deduplicated());
        let Some(mut sink) = self.output.into_sink() else {
            return Summary { failure: Some(EngineError::Broken { part: "writer" }), ..Summary::default() };
        };
        if complete {
            let usage = self.usage.filter(|_| first >= self.usage_from && sink.lost() == 0);
            if let Some(usage) = usage {
                write_usage(&mut sink, usage, first);
            }
            sink.complete();
        }
        let lost = sink.lost();
        let mut summary =
            Summary { events: first - lost, lost, bytes_total: sink.end(), bytes_deduplicated, ..Summary::default() };
        for entry in sink.entries() {
            let len = entry.end() - entry.offset;
            match entry.kind() {
                Some(FrameKind::Events) => summary.bytes_events += len,
                Some(FrameKind::Content) => summary.bytes_content += len,
                Some(FrameKind::Defs) => summary.bytes_definitions += len,
                _ => {}
            }
        }
        summary.left_out = sink.left_out();
        summary.failure = sink.take_failure();
        summary
    }
}

/// Whether a content stays in the block.
fn is_inline(bytes: &[u8]) -> bool {
    bytes.len() < limits::INLINE_BELOW as usize
}

/// A key for the hashes of one trace's contents.
fn content_key(path: &Path) -> Result<[u64; 4], EngineError> {
    sys::random_words().map_err(|source| cannot_start(path, source))
}

/// Writes the sums of so many events, where they are worth their room.
fn write_usage(sink: &mut Sink, usage: Box<Written>, events: u64) {
    let most = USAGE_BYTES.max(sink.end() / USAGE_SHARE);
    if usage.names() as u64 * USAGE_NAME_BYTES > most {
        return;
    }
    let (mut payload, mut stored) = (Vec::new(), Vec::new());
    let Some(count) = usage.encode(events, &mut payload) else { return };
    if payload.len() > limits::MAX_FRAME_BYTES as usize {
        return;
    }
    let codec = sink.compress(&payload, &mut stored);
    if stored.len() as u64 > most {
        return;
    }
    let frame = FrameHeader {
        kind: FrameKind::Usage as u8,
        codec: codec as u8,
        stored_len: stored.len() as u32,
        raw_len: payload.len() as u32,
        count,
        first: 0,
        crc: 0,
    };
    sink.stored_frame(frame, &stored, Extra::None);
}

fn fold(start: u64, words: impl Iterator<Item = u64>) -> u64 {
    words.fold(start, |hash, word| (hash.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}
