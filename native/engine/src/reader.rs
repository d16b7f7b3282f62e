//! Trace file in, columns out.
//!
//! A trace is hostile input: every length is checked before anything is allocated, and what is wrong becomes an error
//! that says what was being read, and where. The file is read with `pread`, never mapped: a file that becomes shorter
//! while it is read must not end the reading process.

mod contents;
mod moved;
mod open;
mod unpack;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use trace_format::column::{
    BlockHeader, COLUMNS, Choice, Column, ColumnEntry, Columns, ContentTable, Decoder, Events, Projection,
    decode_column_table,
};
use trace_format::frame::{Codec, FRAME_HEADER_BYTES, FileHeader, FrameHeader, FrameKind};
use trace_format::limits;
use trace_format::varint::{Cursor, DecodeError, Problem};

use crate::definitions::Definitions;
use crate::error::EngineError;
use crate::index::{Entry, Extra};

pub use crate::definitions::{Object, Thread};
pub use crate::index::{BlockSummary, ObjectPiece};
pub use contents::Content;
use contents::ContentCache;
use moved::Source;
pub use moved::{Digest, Digests, Layout, Move, Moves};
use unpack::Unpacker;

/// How a trace ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A writer is still at it.
    Recording,
    /// Index and end are there.
    Complete,
    /// The writer ended early; what is before the damage is readable.
    Cut,
}

impl State {
    /// The state's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Recording => "recording",
            State::Complete => "complete",
            State::Cut => "cut",
        }
    }
}

/// A block of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of its first event.
    pub first_seq: u64,
    /// How many events.
    pub count: u32,
    /// Smallest start and so on.
    pub summary: BlockSummary,
    entry: usize,
}

/// Sums over the whole file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events.
    pub events: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Bytes of the frames of events.
    pub bytes_events: u64,
    /// Bytes of the frames of captured contents.
    pub bytes_content: u64,
    /// Bytes of the frames of definitions.
    pub bytes_definitions: u64,
    /// Bytes of the packed files.
    pub bytes_objects: u64,
    /// End of the last event, nanoseconds since the start.
    pub duration_ns: u64,
}

/// An open trace.
pub struct Trace {
    path: PathBuf,
    file: File,
    len: u64,
    header: FileHeader,
    state: State,
    damage: Option<EngineError>,
    entries: Vec<Entry>,
    blocks: Vec<Block>,
    contents: Mutex<ContentCache>,
    /// Those that nobody decodes at; at most as many as have done so at the same time.
    desks: Mutex<Vec<Desk>>,
    definitions: OnceLock<(Definitions, Option<EngineError>)>,
}

impl Trace {
    /// Opens a trace; one without an index is searched for its frames up to the first damage.
    ///
    /// # Errors
    /// When the file cannot be read, is no trace, or of a later version.
    pub fn open(path: &Path) -> Result<Trace, EngineError> {
        open::open(path)
    }

    fn new(path: &Path, file: File, header: FileHeader, found: open::Found) -> Trace {
        let open::Found { len, state, damage, entries } = found;
        let mut blocks = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            if let Extra::Block(summary) = entry.extra {
                blocks.push(Block { first_seq: entry.header.first, count: entry.header.count, summary, entry: number });
            }
        }
        Trace {
            path: path.to_owned(),
            file,
            len,
            header,
            state,
            damage,
            contents: Mutex::new(ContentCache::new(&entries)),
            desks: Mutex::default(),
            entries,
            blocks,
            definitions: OnceLock::new(),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's header.
    #[must_use]
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// How the trace ends.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Why the reader stopped before the end of the file, if it did.
    #[must_use]
    pub fn damage(&self) -> Option<&EngineError> {
        self.damage.as_ref()
    }

    /// The blocks of events in their order.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The frames in their order, without the index.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Sums over the file.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { bytes: self.len, ..Totals::default() };
        for entry in &self.entries {
            let len = entry.end() - entry.offset;
            match entry.kind() {
                Some(FrameKind::Events) => totals.bytes_events += len,
                Some(FrameKind::Content) => totals.bytes_content += len,
                Some(FrameKind::Defs) => totals.bytes_definitions += len,
                Some(FrameKind::Object) => totals.bytes_objects += len,
                _ => {}
            }
        }
        for block in &self.blocks {
            totals.events += u64::from(block.count);
            totals.duration_ns = totals.duration_ns.max(self.nanoseconds(block.summary.max_end));
        }
        totals
    }

    /// Ticks of this trace in nanoseconds.
    #[must_use]
    pub fn nanoseconds(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(self.header.tick_ns.into())
    }

    /// The block that holds event `seq`.
    #[must_use]
    pub fn block_of(&self, seq: u64) -> Option<usize> {
        let after = self.blocks.partition_point(|block| block.first_seq <= seq);
        let number = after.checked_sub(1)?;
        let block = &self.blocks[number];
        (seq - block.first_seq < block.count.into()).then_some(number)
    }

    /// Threads, objects and facts. A damaged frame ends them; [`Trace::definitions_damage`] says so.
    pub fn definitions(&self) -> &Definitions {
        &self.loaded_definitions().0
    }

    /// What is wrong with the definitions, if anything is.
    pub fn definitions_damage(&self) -> Option<&EngineError> {
        self.loaded_definitions().1.as_ref()
    }

    fn loaded_definitions(&self) -> &(Definitions, Option<EngineError>) {
        self.definitions.get_or_init(|| {
            let mut definitions = Definitions::default();
            for entry in self.entries.iter().filter(|entry| entry.kind() == Some(FrameKind::Defs)) {
                let added = self.payload(entry, limits::MAX_DEFS_FRAME_BYTES).and_then(|payload| {
                    definitions
                        .add_frame(&payload, entry.header.count)
                        .map_err(|error| EngineError::corrupt(entry.offset, &error))
                });
                if let Err(error) = added {
                    return (definitions, Some(error));
                }
            }
            (definitions, None)
        })
    }

    /// Reads a frame as it is in the file, its header in front, with its checksum verified.
    fn read_stored(&self, entry: &Entry, bytes: &mut Vec<u8>) -> Result<FrameHeader, EngineError> {
        bytes.resize(FRAME_HEADER_BYTES + entry.header.stored_len as usize, 0);
        self.file.read_exact_at(bytes, entry.offset).map_err(|source| EngineError::io("read", &self.path, source))?;
        let header = open::check_frame(bytes, entry.offset)?;
        let expected = FrameHeader { crc: header.crc, ..entry.header };
        if header != expected {
            let error = DecodeError {
                reading: "frame header, compared with the index",
                offset: 0,
                problem: Problem::Invalid { value: header.kind.into() },
            };
            return Err(EngineError::corrupt(entry.offset, &error));
        }
        Ok(header)
    }

    /// The raw payload of a frame of at most `limit` bytes.
    pub(crate) fn payload(&self, entry: &Entry, limit: u32) -> Result<Vec<u8>, EngineError> {
        let mut raw = Vec::new();
        self.read_payload(entry, limit, (&mut Vec::new(), &mut Unpacker::default()), &mut raw)?;
        Ok(raw)
    }

    /// The same into `raw`, by way of memory that is there already.
    fn read_payload(
        &self,
        entry: &Entry,
        limit: u32,
        (stored, unpack): (&mut Vec<u8>, &mut Unpacker),
        raw: &mut Vec<u8>,
    ) -> Result<(), EngineError> {
        let fail = |reading, problem| EngineError::corrupt(entry.offset, &DecodeError { reading, offset: 0, problem });
        if entry.header.raw_len > limit {
            let problem = Problem::TooLarge { value: entry.header.raw_len.into(), limit: limit.into() };
            return Err(fail("length of a frame", problem));
        }
        let header = self.read_stored(entry, stored)?;
        let payload = &stored[FRAME_HEADER_BYTES..];
        if Codec::from_code(header.codec) == Some(Codec::Raw) {
            raw.clear();
            raw.extend_from_slice(payload);
            return Ok(());
        }
        unpack.unpack(payload, header.raw_len, raw).map_err(|problem| fail("compressed frame", problem))
    }

    /// Decodes a block. Columns outside `projection` stay empty.
    ///
    /// # Errors
    /// When there is no such block, or it is damaged; other blocks stay readable.
    pub fn decode_block(&self, number: usize, projection: Projection) -> Result<Columns, EngineError> {
        let mut block = LazyBlock::default();
        self.decode_lazily(number, projection, &mut block)?;
        if projection.has_contents() {
            self.fetch_contents(&mut block, |_| true)?;
        }
        Ok(block.columns)
    }

    /// Those events of a block that a choice leaves. Contents that only others speak of are empty.
    ///
    /// # Errors
    /// As [`Trace::decode_block`].
    pub fn choose_block(&self, number: usize, projection: Projection, choice: &Choice) -> Result<Columns, EngineError> {
        let mut block = LazyBlock::default();
        self.decode_chosen(number, projection, Some(choice), &mut block)?;
        if projection.has_contents() {
            let mut wanted = vec![false; block.contents.table.lens.len()];
            for &content in &block.columns.cap_content {
                if let Some(wanted) = wanted.get_mut(content as usize) {
                    *wanted = true;
                }
            }
            self.fetch_contents(&mut block, |content| wanted[content])?;
        }
        Ok(block.columns)
    }

    /// Decodes all columns of a block but `place`, with digests. A content that only moves speak of is empty.
    ///
    /// # Errors
    /// As [`Trace::decode_block`].
    pub fn digest_block(&self, number: usize, moves: &Moves) -> Result<(Columns, Digests), EngineError> {
        let mut block = LazyBlock::default();
        self.decode_lazily(number, Projection { place: false, ..Projection::ALL }, &mut block)?;
        let LazyBlock { columns, contents } = &mut block;
        let digests = moved::digest(columns, &mut Source::new(self, &mut lock(&self.contents), contents), moves)?;
        Ok((block.columns, digests))
    }

    /// Decodes a block, and leaves the bytes of its contents where they are until they are asked for. What `block` held is
    /// forgotten, and its memory used again.
    ///
    /// # Errors
    /// As [`Trace::decode_block`].
    pub fn decode_lazily(
        &self,
        number: usize,
        projection: Projection,
        block: &mut LazyBlock,
    ) -> Result<(), EngineError> {
        self.decode_chosen(number, projection, None, block)
    }

    /// The same, with the events that a choice leaves.
    ///
    /// # Errors
    /// As [`Trace::decode_block`].
    pub fn decode_chosen(
        &self,
        number: usize,
        projection: Projection,
        choice: Option<&Choice>,
        block: &mut LazyBlock,
    ) -> Result<(), EngineError> {
        let LazyBlock { columns, contents } = block;
        columns.clear();
        contents.clear();
        self.at_desk(|desk| {
            let Some(read) = self.read_at(desk, number, projection, choice)? else {
                columns.set_none(projection);
                return Ok(());
            };
            desk.decoder.put((projection, choice), self.header.tick_ns, columns);
            columns.first_seq = read.block.first_seq;
            contents.table = read.table;
            contents.inline.extend_from_slice(desk.raw.slice(&desk.frame[FRAME_HEADER_BYTES..], Column::Bytes));
            contents.offset = read.offset;
            Ok(())
        })
    }

    /// Reads a block and leaves its rows in stored order, which is what costs least.
    ///
    /// # Errors
    /// As [`Trace::decode_block`], and those of `visit`.
    pub fn visit_block<T>(
        &self,
        number: usize,
        projection: Projection,
        visit: impl FnOnce(&StoredBlock) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.at_desk(|desk| {
            let Some(read) = self.read_at(desk, number, projection, None)? else {
                return Err(EngineError::NoBlock { block: number, blocks: self.blocks.len() });
            };
            visit(&StoredBlock {
                first_seq: read.block.first_seq,
                events: desk.decoder.events(),
                trace: self,
                table: &read.table,
                inline: desk.raw.slice(&desk.frame[FRAME_HEADER_BYTES..], Column::Bytes),
                offset: read.offset,
            })
        })
    }

    fn at_desk<T>(&self, work: impl FnOnce(&mut Desk) -> Result<T, EngineError>) -> Result<T, EngineError> {
        let mut desk = lock(&self.desks).pop().unwrap_or_default();
        let done = work(&mut desk);
        if desk.size() <= KEPT_BYTES {
            lock(&self.desks).push(desk);
        }
        done
    }

    /// Reads a block; its rows stay in the decoder. None: the choice leaves none of them, which was seen before they were read.
    fn read_at(
        &self,
        desk: &mut Desk,
        number: usize,
        projection: Projection,
        choice: Option<&Choice>,
    ) -> Result<Option<Read>, EngineError> {
        let block =
            *self.blocks.get(number).ok_or(EngineError::NoBlock { block: number, blocks: self.blocks.len() })?;
        let entry = &self.entries[block.entry];
        let corrupt = |error: DecodeError| EngineError::corrupt(entry.offset, &error);
        let Desk { frame, raw, unpack, decoder } = desk;
        self.read_stored(entry, frame)?;
        let payload = &frame[FRAME_HEADER_BYTES..];
        let (header, table) = block_layout(payload).map_err(corrupt)?;
        if let Some(choice) = choice {
            let few = [Column::Shapes, Column::NewThreads];
            raw.read(payload, &table, |id| few.iter().any(|&column| column as usize == id), unpack).map_err(corrupt)?;
            let [shapes, threads] = few.map(|column| raw.slice(payload, column));
            if !choice.leaves(&header, block.count, shapes, threads).map_err(corrupt)? {
                return Ok(None);
            }
        }
        raw.read(payload, &table, |id| projection.needs(id), unpack).map_err(corrupt)?;
        let slices = raw.slices(payload);
        let table = decoder.read(&header, block.count, self.header.tick_ns, &slices, projection).map_err(corrupt)?;
        self.check_indexes(decoder.events()).map_err(corrupt)?;
        Ok(Some(Read { block, table, offset: entry.offset }))
    }

    /// Every thread and object that is spoken of must be defined.
    fn check_indexes(&self, events: Events) -> Result<(), DecodeError> {
        let definitions = self.definitions();
        let check = |reading, largest: Option<u64>, count: usize| match largest {
            Some(value) if value >= count as u64 => {
                let problem = Problem::TooLarge { value, limit: count as u64 };
                Err(DecodeError { reading, offset: 0, problem })
            }
            _ => Ok(()),
        };
        let threads = definitions.threads().len();
        check("index of a thread", events.threads.iter().max().map(|&thread| thread.into()), threads)?;
        check("index of an object", events.object.iter().max().copied(), definitions.object_count())
    }

    /// Puts the contents that are wanted, by number, into the columns of a block; the others are empty there.
    ///
    /// # Errors
    /// When a frame that has some of them is damaged.
    pub fn fetch_contents(&self, block: &mut LazyBlock, wanted: impl Fn(usize) -> bool) -> Result<(), EngineError> {
        let LazyBlock { columns, contents } = block;
        columns.content_start.clear();
        columns.bytes.clear();
        let lens = contents.table.lens.iter().enumerate();
        let bytes = lens.filter(|(number, _)| wanted(*number)).map(|(_, len)| *len as usize).sum();
        columns.content_start.reserve_exact(contents.table.lens.len() + 1);
        columns.bytes.reserve_exact(bytes);
        let mut cache = lock(&self.contents);
        for (number, content) in contents.iter().enumerate() {
            columns.content_start.push(columns.bytes.len() as u32);
            if wanted(number) {
                cache.append(self, content, &mut columns.bytes, contents.offset)?;
            }
        }
        columns.content_start.push(columns.bytes.len() as u32);
        Ok(())
    }

    /// Appends the bytes of a content of a block that was decoded lazily.
    ///
    /// # Errors
    /// When the frame that has them is damaged.
    pub fn append_content(&self, block: &LazyBlock, content: Content, out: &mut Vec<u8>) -> Result<(), EngineError> {
        lock(&self.contents).append(self, content, out, block.contents.offset)
    }

    /// Entry position and number of each event of a block whose entry does not stand directly before its number.
    ///
    /// # Errors
    /// As [`Trace::decode_block`].
    pub fn spanning_calls(&self, number: usize) -> Result<Vec<(u64, u64)>, EngineError> {
        if self.blocks.get(number).is_some_and(|block| block.summary.spanning == 0) {
            return Ok(Vec::new());
        }
        let columns = self.decode_block(number, Projection::BASE)?;
        let seqs = columns.first_seq..;
        Ok(seqs
            .zip(&columns.span)
            .filter(|(_, span)| **span > 0)
            .map(|(seq, &span)| (seq.saturating_sub(span.into()), seq))
            .collect())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A block whose contents have not been fetched: `content_start` and `bytes` of its columns are empty.
#[derive(Default)]
pub struct LazyBlock {
    /// Everything else.
    pub columns: Columns,
    contents: BlockContents,
}

impl LazyBlock {
    /// All contents of the block, by number.
    pub fn contents(&self) -> impl Iterator<Item = Content<'_>> {
        self.contents.iter()
    }
}

/// Where the contents of a block are.
#[derive(Default)]
struct BlockContents {
    table: ContentTable,
    /// The bytes of the short ones.
    inline: Vec<u8>,
    /// Of the frame of the block.
    offset: u64,
}

impl BlockContents {
    fn clear(&mut self) {
        self.table = ContentTable::default();
        self.inline.clear();
    }

    fn iter(&self) -> impl Iterator<Item = Content<'_>> {
        contents_of(&self.table, &self.inline)
    }
}

/// The contents of a table, with the bytes of the short ones.
fn contents_of<'a>(table: &'a ContentTable, mut inline: &'a [u8]) -> impl Iterator<Item = Content<'a>> {
    let mut chunks = table.chunks.as_slice();
    table.lens.iter().zip(&table.inline).map(move |(&len, &is_inline)| {
        // The decoder has checked that there are as many bytes and chunks as these contents need.
        if is_inline {
            let (own, others) = inline.split_at(len as usize);
            inline = others;
            return Content::Inline(own);
        }
        let (own, others) = chunks.split_at(len.div_ceil(limits::CHUNK_BYTES) as usize);
        chunks = others;
        Content::Chunks { chunks: own, len }
    })
}

/// What was read of a block beside its rows.
struct Read {
    block: Block,
    table: ContentTable,
    offset: u64,
}

/// A block with its rows in stored order.
pub struct StoredBlock<'a> {
    /// Number of the first event of the block.
    pub first_seq: u64,
    /// The rows.
    pub events: Events<'a>,
    trace: &'a Trace,
    table: &'a ContentTable,
    inline: &'a [u8],
    /// Of the frame of the block.
    offset: u64,
}

impl StoredBlock<'_> {
    /// Where each content begins: in the bytes of the short ones, or among the chunks of the others.
    pub fn places(&self, places: &mut Vec<u32>) {
        let (mut bytes, mut chunks) = (0, 0);
        places.clear();
        places.extend(self.table.lens.iter().zip(&self.table.inline).map(|(&len, &is_inline)| {
            let (next, own) =
                if is_inline { (&mut bytes, len) } else { (&mut chunks, len.div_ceil(limits::CHUNK_BYTES)) };
            *next += own;
            *next - own
        }));
    }

    /// A content of the block, by its number and its place.
    #[must_use]
    pub fn content(&self, number: usize, place: u32) -> Content<'_> {
        let (len, place) = (self.table.lens[number], place as usize);
        if self.table.inline[number] {
            return Content::Inline(&self.inline[place..place + len as usize]);
        }
        let chunks = len.div_ceil(limits::CHUNK_BYTES) as usize;
        Content::Chunks { chunks: &self.table.chunks[place..place + chunks], len }
    }

    /// Appends the bytes of a content of the block.
    ///
    /// # Errors
    /// When the frame that has them is damaged.
    pub fn append_content(&self, content: Content, out: &mut Vec<u8>) -> Result<(), EngineError> {
        lock(&self.trace.contents).append(self.trace, content, out, self.offset)
    }
}

/// Header and column table of a block's payload.
fn block_layout(payload: &[u8]) -> Result<(BlockHeader, Vec<ColumnEntry>), DecodeError> {
    let mut cursor = Cursor::new(payload, "block");
    let header = BlockHeader::decode(&mut cursor)?;
    let table = decode_column_table(&mut cursor)?;
    Ok((header, table))
}

/// What blocks are decoded with: memory that is there already for the next one.
#[derive(Default)]
struct Desk {
    frame: Vec<u8>,
    raw: RawColumns,
    unpack: Unpacker,
    decoder: Decoder,
}

/// A desk on which more than that was read is not kept.
const KEPT_BYTES: usize = 16 << 20;

impl Desk {
    fn size(&self) -> usize {
        self.frame.capacity() + self.raw.unpacked.iter().map(Vec::capacity).sum::<usize>()
    }
}

/// The columns of a block: those that were compressed, and where the others are in the payload.
#[derive(Default)]
struct RawColumns {
    unpacked: [Vec<u8>; COLUMNS],
    stored: [std::ops::Range<usize>; COLUMNS],
}

impl RawColumns {
    fn slices<'a>(&'a self, payload: &'a [u8]) -> [&'a [u8]; COLUMNS] {
        std::array::from_fn(|id| self.of(payload, id))
    }

    fn slice<'a>(&'a self, payload: &'a [u8], column: Column) -> &'a [u8] {
        self.of(payload, column as usize)
    }

    fn of<'a>(&'a self, payload: &'a [u8], id: usize) -> &'a [u8] {
        if self.unpacked[id].is_empty() { &payload[self.stored[id].clone()] } else { &self.unpacked[id] }
    }

    fn read(
        &mut self,
        payload: &[u8],
        table: &[ColumnEntry],
        needs: impl Fn(usize) -> bool,
        unpack: &mut Unpacker,
    ) -> Result<(), DecodeError> {
        self.unpacked.iter_mut().for_each(Vec::clear);
        self.stored.fill(0..0);
        for entry in table {
            let id = usize::from(entry.id);
            if id >= COLUMNS || !needs(id) {
                continue;
            }
            let stored = entry.offset..entry.offset + entry.stored_len as usize;
            if entry.codec == Codec::Raw as u8 {
                self.stored[id] = stored;
                continue;
            }
            unpack.unpack(&payload[stored], entry.raw_len, &mut self.unpacked[id]).map_err(|problem| DecodeError {
                reading: Column::NAMES[id],
                offset: entry.offset as u64,
                problem,
            })?;
        }
        Ok(())
    }
}
