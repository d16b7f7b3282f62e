//! The columns of an EVENTS frame: rows in, one byte string per column out, and back.
//!
//! A block is self-contained: everything that its values are predicted from is in the block. Its rows are stored
//! thread by thread, so that what one thread does stays together; the `Threads` column gives back the common order.
//! The same walk over the rows ([`model`]) serves both directions, so that they cannot come to differ. Compression
//! of the columns and the bytes of long contents are the business of the engine.

mod choice;
mod decode;
mod encode;
mod model;
mod put;
mod shape;
mod time;

use crate::limits;
use crate::varint::{Cursor, DecodeError, Problem, put};
use alloc::vec::Vec;

pub use choice::Choice;
pub use decode::{ContentTable, Decoder, Events};
pub use encode::{BlockRows, CaptureRow, ContentRow, Encoder, RefRow, Row};
pub use shape::Shape;

/// `content` of a capture without bytes.
pub const NO_CONTENT: u32 = u32::MAX;

/// The columns, by the code that the file uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "FORMAT.md describes each")]
pub enum Column {
    Threads = 0,
    NewThreads = 1,
    Shapes = 2,
    Shape = 3,
    StartClass = 4,
    StartBits = 5,
    DurationClass = 6,
    DurationBits = 7,
    TimeEscapes = 8,
    Code = 9,
    Span = 10,
    RetToken = 11,
    RetRest = 12,
    IpToken = 13,
    IpRest = 14,
    SpToken = 15,
    SpRest = 16,
    ArgToken = 17,
    ArgRest = 18,
    AddrToken = 19,
    AddrRest = 20,
    WantedToken = 21,
    WantedRest = 22,
    ContentToken = 23,
    ContentRest = 24,
    Contents = 25,
    Bytes = 26,
    FdToken = 27,
    FdRest = 28,
    ObjectToken = 29,
    ObjectRest = 30,
}

/// How many columns there are.
pub const COLUMNS: usize = 31;

impl Column {
    /// The columns' names, in the order of their codes.
    pub const NAMES: [&'static str; COLUMNS] = [
        "threads",
        "new threads",
        "shapes",
        "shape",
        "start class",
        "start bits",
        "duration class",
        "duration bits",
        "time escapes",
        "code",
        "span",
        "ret token",
        "ret rest",
        "ip token",
        "ip rest",
        "sp token",
        "sp rest",
        "arg token",
        "arg rest",
        "addr token",
        "addr rest",
        "wanted token",
        "wanted rest",
        "content token",
        "content rest",
        "contents",
        "bytes",
        "fd token",
        "fd rest",
        "object token",
        "object rest",
    ];

    /// The name, for errors and measurements.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Which groups of columns to decode, next to the base columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "a set of independent choices")]
pub struct Projection {
    /// Results.
    pub results: bool,
    /// How many events were committed while a call lasted.
    pub spans: bool,
    /// Arguments.
    pub args: bool,
    /// Instruction and stack pointer.
    pub place: bool,
    /// Captured memory.
    pub captures: bool,
    /// Of captured memory only which bytes there are, and not where they were or how many there should be. Nothing else
    /// has to be decoded for them.
    pub contents: bool,
    /// Objects behind descriptors.
    pub refs: bool,
}

impl Projection {
    /// What happened, when, and in which thread.
    pub const CORE: Projection = Projection {
        results: false,
        spans: false,
        args: false,
        place: false,
        captures: false,
        contents: false,
        refs: false,
    };
    /// The base columns only.
    pub const BASE: Projection = Projection { results: true, spans: true, ..Projection::CORE };
    /// Every column.
    pub const ALL: Projection =
        Projection { args: true, place: true, captures: true, contents: true, refs: true, ..Projection::BASE };

    /// Whether values are wanted that are predicted from arguments, or the arguments themselves.
    pub(crate) fn walks_args(self) -> bool {
        self.args || self.captures || self.refs
    }

    /// Whether the bytes of captures are wanted.
    #[must_use]
    pub fn has_contents(self) -> bool {
        self.captures || self.contents
    }

    /// Whether the results have to be decoded: for themselves, or because others are predicted from them.
    pub(crate) fn walks_results(self) -> bool {
        self.results || self.walks_args()
    }

    /// Whether the decoder needs this column (values are predicted from other columns).
    #[must_use]
    pub fn needs(self, column: usize) -> bool {
        match column {
            0..=9 => true,
            10 => self.spans,
            11..=12 => self.walks_results(),
            13..=16 => self.place || self.walks_args(),
            17..=18 => self.walks_args(),
            19..=22 => self.captures,
            23..=26 => self.has_contents(),
            _ => self.refs,
        }
    }
}

/// The events of one block as arrays, one entry per event in the order of the trace unless said otherwise.
/// They are those of `src/trace/batch.ts`; 64-bit values are pairs of words there, low word first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// Number of events.
    pub count: u32,
    /// Event number of the first of the block.
    pub first_seq: u64,
    /// Places in the block, where only some events were chosen; otherwise empty.
    pub rows: Vec<u32>,
    /// Codes of `EventKind`.
    pub kind: Vec<u8>,
    /// Bits of `event::flag`.
    pub flags: Vec<u8>,
    /// Codes of the architecture.
    pub arch: Vec<u8>,
    /// How many arguments mean something; the others are 0.
    pub nargs: Vec<u8>,
    /// Syscall number, signal, wait status.
    pub code: Vec<i32>,
    /// Index of the thread.
    pub thread: Vec<u32>,
    /// Nanoseconds since the start of the recording at entry.
    pub start: Vec<f64>,
    /// Nanoseconds from entry to exit.
    pub duration: Vec<f64>,
    /// Events committed between entry and commit; empty when left out.
    pub span: Vec<u32>,
    /// Results, pairs; empty when left out.
    pub ret: Vec<i32>,
    /// Arguments, six pairs per event; empty when left out.
    pub args: Vec<u32>,
    /// Instruction pointers, pairs; empty when left out.
    pub ip: Vec<u32>,
    /// Stack pointers, pairs; empty when left out.
    pub sp: Vec<u32>,
    /// `count + 1` positions in the capture arrays; empty when left out, like all that follow.
    pub cap_start: Vec<u32>,
    /// Slot per capture.
    pub cap_slot: Vec<u8>,
    /// Codes of `Side` per capture.
    pub cap_side: Vec<u8>,
    /// Codes of `Status` per capture.
    pub cap_status: Vec<u8>,
    /// Address per capture, pairs; empty where only contents are wanted.
    pub cap_addr: Vec<u32>,
    /// Bytes that the call spoke of, per capture; empty where only contents are wanted.
    pub cap_wanted: Vec<f64>,
    /// Index of the content, or [`NO_CONTENT`], per capture.
    pub cap_content: Vec<u32>,
    /// One position in `bytes` per content, and the end.
    pub content_start: Vec<u32>,
    /// All contents of the block.
    pub bytes: Vec<u8>,
    /// `count + 1` positions in the reference arrays; empty when left out.
    pub ref_start: Vec<u32>,
    /// Slot per reference.
    pub ref_slot: Vec<u8>,
    /// Descriptor per reference.
    pub ref_fd: Vec<i32>,
    /// Index of the object per reference.
    pub ref_object: Vec<u32>,
}

impl Columns {
    /// Forgets the events: those of a block of which none are chosen.
    pub fn set_none(&mut self, projection: Projection) {
        self.clear();
        if projection.has_contents() {
            self.cap_start.push(0);
        }
        if projection.refs {
            self.ref_start.push(0);
        }
    }

    /// Forgets the events and keeps the allocations.
    pub fn clear(&mut self) {
        // No `..`: what is added to the columns has to be cleared too.
        let Columns {
            count,
            first_seq,
            rows,
            kind,
            flags,
            arch,
            nargs,
            code,
            thread,
            start,
            duration,
            span,
            ret,
            args,
            ip,
            sp,
            cap_start,
            cap_slot,
            cap_side,
            cap_status,
            cap_addr,
            cap_wanted,
            cap_content,
            content_start,
            bytes,
            ref_start,
            ref_slot,
            ref_fd,
            ref_object,
        } = self;
        (*count, *first_seq) = (0, 0);
        rows.clear();
        kind.clear();
        flags.clear();
        arch.clear();
        nargs.clear();
        code.clear();
        thread.clear();
        start.clear();
        duration.clear();
        span.clear();
        ret.clear();
        args.clear();
        ip.clear();
        sp.clear();
        cap_start.clear();
        cap_slot.clear();
        cap_side.clear();
        cap_status.clear();
        cap_addr.clear();
        cap_wanted.clear();
        cap_content.clear();
        content_start.clear();
        bytes.clear();
        ref_start.clear();
        ref_slot.clear();
        ref_fd.clear();
        ref_object.clear();
    }
}

/// What stands at the head of a block's payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockHeader {
    /// Start of the first event that is stored, in ticks.
    pub base_time: u64,
    /// Smallest start in ticks.
    pub min_start: u64,
    /// Largest end in ticks.
    pub max_end: u64,
    /// How many events have a span.
    pub spanning: u32,
    /// Bit `1 << kind` for each kind of event that occurs.
    pub kinds: u16,
    /// How many objects had been referred to before this block.
    pub object_base: u64,
    /// How many chunks had been written before this block.
    pub content_base: u64,
    /// Captures of all events.
    pub captures: u32,
    /// References of all events.
    pub refs: u32,
    /// Distinct contents.
    pub contents: u32,
    /// Their bytes.
    pub content_bytes: u32,
}

/// Where a column stands in the payload of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnEntry {
    /// Code of the column; those above [`COLUMNS`] are skipped.
    pub id: u8,
    /// Code of the codec.
    pub codec: u8,
    /// Bytes once decompressed.
    pub raw_len: u32,
    /// Bytes in the payload.
    pub stored_len: u32,
    /// Where they start in the payload.
    pub offset: usize,
}

impl BlockHeader {
    /// Appends the header, its length first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(64);
        let fields = [
            self.base_time,
            self.min_start,
            self.max_end,
            self.spanning.into(),
            self.kinds.into(),
            self.object_base,
            self.content_base,
            self.captures.into(),
            self.refs.into(),
            self.contents.into(),
            self.content_bytes.into(),
        ];
        for field in fields {
            put(&mut body, field);
        }
        put(out, body.len() as u64);
        out.extend_from_slice(&body);
    }

    /// Reads the header and moves behind it. What follows the known fields inside its length is of a later minor version.
    ///
    /// # Errors
    /// When it ends early or a number is over its limit.
    pub fn decode(cursor: &mut Cursor) -> Result<Self, DecodeError> {
        let len = cursor.bounded(4096)? as usize;
        let mut body = Cursor::new(cursor.take(len)?, "block header");
        let header = BlockHeader {
            base_time: body.bounded(limits::MAX_TIME_NS)?,
            min_start: body.bounded(limits::MAX_TIME_NS)?,
            max_end: body.bounded(limits::MAX_TIME_NS)?,
            spanning: body.bounded(limits::MAX_BLOCK_EVENTS.into())? as u32,
            kinds: body.bounded(u16::MAX.into())? as u16,
            object_base: body.bounded(limits::MAX_OBJECTS.into())?,
            content_base: body.bounded(u64::MAX >> 8)?,
            captures: body.bounded(limits::MAX_BLOCK_CAPTURES.into())? as u32,
            refs: body.bounded(limits::MAX_BLOCK_REFS.into())? as u32,
            contents: body.bounded(limits::MAX_BLOCK_CAPTURES.into())? as u32,
            content_bytes: body.bounded(limits::MAX_BLOCK_BYTES.into())? as u32,
        };
        if header.contents > header.captures {
            let problem = Problem::TooLarge { value: header.contents.into(), limit: header.captures.into() };
            return Err(body.fail(problem));
        }
        Ok(header)
    }
}

/// Appends the table of the columns; their bytes follow it in the same order.
pub fn encode_column_table(entries: &[ColumnEntry], out: &mut Vec<u8>) {
    put(out, entries.len() as u64);
    for entry in entries {
        out.push(entry.id);
        out.push(entry.codec);
        put(out, entry.raw_len.into());
        if entry.codec != 0 {
            put(out, entry.stored_len.into());
        }
    }
}

/// Reads the table of the columns and checks that their bytes fill the rest of the payload exactly.
///
/// # Errors
/// When the table is damaged, a column comes twice, or the sizes do not add up or are over the limit of a frame.
pub fn decode_column_table(cursor: &mut Cursor) -> Result<Vec<ColumnEntry>, DecodeError> {
    let count = cursor.bounded(255)?;
    let mut entries = Vec::with_capacity(count as usize);
    let mut seen = [false; 256];
    let limit = u64::from(limits::MAX_FRAME_BYTES);
    let (mut raw_total, mut stored_total) = (0u64, 0u64);
    for _ in 0..count {
        let id = cursor.u8()?;
        let codec = cursor.u8()?;
        let raw_len = cursor.bounded(limit)? as u32;
        let stored_len = match codec {
            0 => raw_len,
            1 => cursor.bounded(limit)? as u32,
            other => return Err(cursor.fail(Problem::Invalid { value: other.into() })),
        };
        if core::mem::replace(&mut seen[usize::from(id)], true) {
            return Err(cursor.fail(Problem::Invalid { value: id.into() }));
        }
        raw_total += u64::from(raw_len);
        if raw_total > limit {
            return Err(cursor.fail(Problem::TooLarge { value: raw_total, limit }));
        }
        entries.push(ColumnEntry { id, codec, raw_len, stored_len, offset: stored_total as usize });
        stored_total += u64::from(stored_len);
    }
    let have = cursor.left() as u64;
    if stored_total != have {
        return Err(cursor.fail(Problem::Ends { need: stored_total, have }));
    }
    let start = cursor.position();
    for entry in &mut entries {
        entry.offset += start;
    }
    Ok(entries)
}

/// How many events are expected to have been committed since `start`: those whose end (or that of one before them) is
/// later. `latest` has the running maximum of the ends of the events before.
pub(crate) fn predict_span(latest: &[u64], start: u64) -> u32 {
    // Nearly always none or very few: look at the last ones first, then double the distance.
    let mut step = 1;
    let mut low = latest.len();
    while low > 0 && latest[low - 1] > start {
        low = low.saturating_sub(step);
        step *= 2;
    }
    let high = (low + step).min(latest.len());
    let first = low + latest[low..high].partition_point(|&end| end <= start);
    (latest.len() - first) as u32
}
