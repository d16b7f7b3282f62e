//! The reader for JavaScript: traces, their definitions, and blocks of events as typed arrays.
//!
//! Everything that reads the file runs on a thread of the pool. An array is handed over as it was decoded, without a
//! copy. What goes wrong outside this program comes back as a [`Failure`], never as a bare text.
#![allow(clippy::cast_precision_loss, reason = "JavaScript numbers; the format bounds what may be larger than 2^53")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use napi::bindgen_prelude::{
    AsyncTask, Buffer, Either, Env, Float64Array, Int32Array, Null, Result, Task, Uint8Array, Uint16Array, Uint32Array,
};
use napi::{Error, Status};
use napi_derive::napi;
use trace_engine::error::{EngineError, Fact};
use trace_engine::reader::{Block, Digests, Layout, Move, Moves, Trace};
use trace_format::column::{Choice, Columns, Projection};
use trace_format::event::Side;

/// An error of the engine: its code and its facts, and a text made of them.
#[napi(object, object_from_js = false)]
pub struct Failure {
    pub code: String,
    pub message: String,
    pub facts: HashMap<String, Either<f64, String>>,
}

impl From<&EngineError> for Failure {
    fn from(error: &EngineError) -> Failure {
        let facts = error.facts().into_iter().map(|(name, fact)| {
            let value = match fact {
                Fact::Number(number) => Either::A(number as f64),
                Fact::Text(text) => Either::B(text),
            };
            (name.to_owned(), value)
        });
        Failure { code: error.code().to_owned(), message: error.to_string(), facts: facts.collect() }
    }
}

/// A value, or why there is none.
pub type Outcome<T> = Either<T, Failure>;

pub(crate) fn outcome<T, U>(result: std::result::Result<T, EngineError>, convert: impl FnOnce(T) -> U) -> Outcome<U> {
    match result {
        Ok(value) => Either::A(convert(value)),
        Err(error) => Either::B((&error).into()),
    }
}

fn nullable(error: Option<&EngineError>) -> Either<Failure, Null> {
    error.map_or(Either::B(Null), |error| Either::A(error.into()))
}

/// A trace, open until it is closed.
#[napi]
pub struct NativeTrace {
    trace: Mutex<Option<Arc<Trace>>>,
}

impl NativeTrace {
    /// The trace. What holds on to it keeps it in memory, closed or not.
    pub(crate) fn opened(&self) -> Result<Arc<Trace>> {
        let trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        trace.clone().ok_or_else(|| Error::new(Status::GenericFailure, "the trace was closed"))
    }
}

/// Sums over the file, in bytes.
#[napi(object, object_from_js = false)]
pub struct Totals {
    pub events: f64,
    pub bytes: f64,
    pub bytes_events: f64,
    pub bytes_content: f64,
    pub bytes_definitions: f64,
    pub bytes_objects: f64,
    pub duration: f64,
}

/// What is known of a trace without decoding an event.
#[napi(object, object_from_js = false)]
pub struct Header {
    pub version_major: u32,
    pub version_minor: u32,
    pub tick: u32,
    pub id: String,
    pub start_seconds: f64,
    pub start_nanos: u32,
    pub state: String,
    pub damage: Either<Failure, Null>,
    pub definitions_damage: Either<Failure, Null>,
    pub totals: Totals,
    pub meta_keys: Vec<String>,
    pub meta_values: Vec<Buffer>,
    pub objects: u32,
}

/// The blocks of events, one entry per block in each array.
#[napi(object, object_from_js = false)]
pub struct Blocks {
    pub first_seq: Float64Array,
    pub count: Uint32Array,
    /// Nanoseconds.
    pub min_start: Float64Array,
    pub max_end: Float64Array,
    pub spanning: Uint32Array,
    pub kinds: Uint16Array,
}

/// The threads, one entry per thread in each array.
#[napi(object, object_from_js = false)]
pub struct Threads {
    pub process: Uint32Array,
    pub ordinal: Uint32Array,
    pub tid: Int32Array,
    pub pid: Int32Array,
    /// -1: none.
    pub parent: Float64Array,
    pub created_by: Float64Array,
}

/// What descriptors stand for, one entry per object in each array. Texts of object k are two pieces of `text`: its path,
/// which ends before UTF-16 unit `path_end[k]`, and its detail, which ends before `detail_end[k]`. A byte that is part of no
/// character is U+FFFD in it; `strays` has two numbers for each of them: the unit, and the byte.
#[napi(object, object_from_js = false)]
pub struct Objects {
    pub kind: Uint8Array,
    pub dev: Float64Array,
    pub ino: Float64Array,
    pub created_by: Float64Array,
    pub path_end: Uint32Array,
    pub detail_end: Uint32Array,
    pub text: String,
    pub strays: Uint32Array,
}

/// One block of events. Columns that were not asked for are empty.
#[napi(object, object_from_js = false)]
pub struct Batch {
    pub count: u32,
    pub first_seq: f64,
    /// Event numbers, where they are not all of a block.
    pub seqs: Option<Float64Array>,
    pub kind: Uint8Array,
    pub flags: Uint8Array,
    pub arch: Uint8Array,
    pub code: Int32Array,
    pub thread: Uint32Array,
    pub start: Float64Array,
    pub duration: Float64Array,
    pub span: Uint32Array,
    pub ret: Int32Array,
    pub args: Uint32Array,
    pub ip: Uint32Array,
    pub sp: Uint32Array,
    pub cap_start: Uint32Array,
    pub cap_slot: Uint8Array,
    pub cap_side: Uint8Array,
    pub cap_status: Uint8Array,
    pub cap_addr: Uint32Array,
    pub cap_wanted: Float64Array,
    pub cap_content: Uint32Array,
    pub content_start: Uint32Array,
    pub bytes: Uint8Array,
    pub ref_start: Uint32Array,
    pub ref_slot: Uint8Array,
    pub ref_fd: Int32Array,
    pub ref_object: Uint32Array,
    pub digests: Option<BlockDigests>,
}

/// Digests of the contents of a block, and of what its events moved.
#[napi(object, object_from_js = false)]
pub struct BlockDigests {
    pub content: Float64Array,
    pub moved_length: Float64Array,
    pub moved: Uint32Array,
}

impl From<Digests> for BlockDigests {
    fn from(digests: Digests) -> BlockDigests {
        BlockDigests {
            content: digests.content.into(),
            moved_length: digests.moved_len.into(),
            moved: digests.moved.into(),
        }
    }
}

/// What a task gives for a batch.
pub struct Read {
    columns: Columns,
    digests: Option<Digests>,
    is_chosen: bool,
}

impl From<Read> for Batch {
    fn from(Read { columns, digests, is_chosen }: Read) -> Batch {
        let first = columns.first_seq as f64;
        let seqs = || Float64Array::new(columns.rows.iter().map(|&row| first + f64::from(row)).collect());
        Batch {
            count: columns.count,
            first_seq: first,
            seqs: is_chosen.then(seqs),
            kind: columns.kind.into(),
            flags: columns.flags.into(),
            arch: columns.arch.into(),
            code: columns.code.into(),
            thread: columns.thread.into(),
            start: columns.start.into(),
            duration: columns.duration.into(),
            span: columns.span.into(),
            ret: columns.ret.into(),
            args: columns.args.into(),
            ip: columns.ip.into(),
            sp: columns.sp.into(),
            cap_start: columns.cap_start.into(),
            cap_slot: columns.cap_slot.into(),
            cap_side: columns.cap_side.into(),
            cap_status: columns.cap_status.into(),
            cap_addr: columns.cap_addr.into(),
            cap_wanted: columns.cap_wanted.into(),
            cap_content: columns.cap_content.into(),
            content_start: columns.content_start.into(),
            bytes: columns.bytes.into(),
            ref_start: columns.ref_start.into(),
            ref_slot: columns.ref_slot.into(),
            ref_fd: columns.ref_fd.into(),
            ref_object: columns.ref_object.into(),
            digests: digests.map(BlockDigests::from),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Bits of a projection, as `src/trace/columns.ts` makes them.
fn projection(bits: u32) -> Projection {
    let has = |bit: u32| bits & bit != 0;
    Projection {
        results: has(16) || has(64),
        spans: has(16),
        args: has(1),
        place: has(2),
        captures: has(4),
        contents: has(32),
        refs: has(8),
    }
}

/// Bytes of what says where a syscall moves bytes: argument (255: nowhere), side, layout.
const MOVE_BYTES: usize = 3;

fn moves_of(bytes: &[u8]) -> Moves {
    let all: Vec<Option<Move>> = bytes.chunks_exact(MOVE_BYTES).map(move_of).collect();
    let (x86_64, i386) = all.split_at(all.len() / 2);
    [x86_64.to_vec(), i386.to_vec()]
}

fn move_of(bytes: &[u8]) -> Option<Move> {
    let layout = match bytes[2] {
        0 => Layout::Bytes,
        1 => Layout::List,
        _ => Layout::Message,
    };
    let side = if bytes[1] == 0 { Side::In } else { Side::Out };
    (bytes[0] < 6).then_some(Move { slot: bytes[0], side, layout })
}

#[napi]
impl NativeTrace {
    #[napi]
    pub fn header(&self) -> Result<Header> {
        let trace = self.opened()?;
        let (header, totals) = (trace.header(), trace.totals());
        let definitions = trace.definitions();
        let (meta_keys, meta_values) =
            definitions.meta().iter().map(|(key, value)| (key.clone(), Buffer::from(value.as_slice()))).unzip();
        Ok(Header {
            version_major: header.version.0.into(),
            version_minor: header.version.1.into(),
            tick: header.tick_ns,
            id: hex(&header.id),
            start_seconds: (header.start_realtime_ns / 1_000_000_000) as f64,
            start_nanos: (header.start_realtime_ns % 1_000_000_000) as u32,
            state: trace.state().name().to_owned(),
            damage: nullable(trace.damage()),
            definitions_damage: nullable(trace.definitions_damage()),
            totals: Totals {
                events: totals.events as f64,
                bytes: totals.bytes as f64,
                bytes_events: totals.bytes_events as f64,
                bytes_content: totals.bytes_content as f64,
                bytes_definitions: totals.bytes_definitions as f64,
                bytes_objects: totals.bytes_objects as f64,
                duration: totals.duration_ns as f64,
            },
            meta_keys,
            meta_values,
            objects: definitions.object_count() as u32,
        })
    }

    #[napi]
    pub fn blocks(&self) -> Result<Blocks> {
        let trace = self.opened()?;
        let blocks = trace.blocks();
        let float =
            |get: &dyn Fn(&Block) -> u64| Float64Array::new(blocks.iter().map(|block| get(block) as f64).collect());
        Ok(Blocks {
            first_seq: float(&|block| block.first_seq),
            count: Uint32Array::new(blocks.iter().map(|block| block.count).collect()),
            min_start: float(&|block| trace.nanoseconds(block.summary.min_start)),
            max_end: float(&|block| trace.nanoseconds(block.summary.max_end)),
            spanning: Uint32Array::new(blocks.iter().map(|block| block.summary.spanning).collect()),
            kinds: Uint16Array::new(blocks.iter().map(|block| block.summary.kinds).collect()),
        })
    }

    #[napi]
    pub fn threads(&self) -> Result<Threads> {
        let trace = self.opened()?;
        let threads = trace.definitions().threads();
        Ok(Threads {
            process: Uint32Array::new(threads.iter().map(|thread| thread.process).collect()),
            ordinal: Uint32Array::new(threads.iter().map(|thread| thread.ordinal).collect()),
            tid: Int32Array::new(threads.iter().map(|thread| thread.tid).collect()),
            pid: Int32Array::new(threads.iter().map(|thread| thread.pid).collect()),
            parent: Float64Array::new(threads.iter().map(|thread| thread.parent.map_or(-1.0, f64::from)).collect()),
            created_by: Float64Array::new(threads.iter().map(|thread| thread.created_by as f64).collect()),
        })
    }

    /// The objects `from..to`, as far as they exist.
    #[napi]
    pub fn objects(&self, from: u32, to: u32) -> Result<Objects> {
        let trace = self.opened()?;
        let definitions = trace.definitions();
        let found: Vec<_> = (from..to).map_while(|index| definitions.object(index as usize)).collect();
        let mut text = String::new();
        let mut strays = Vec::new();
        let mut units = 0;
        let mut add = |bytes: &[u8]| {
            for chunk in bytes.utf8_chunks() {
                let valid = chunk.valid();
                units += if valid.is_ascii() { valid.len() } else { valid.encode_utf16().count() };
                text.push_str(valid);
                for &byte in chunk.invalid() {
                    strays.extend([units as u32, u32::from(byte)]);
                    text.push(char::REPLACEMENT_CHARACTER);
                    units += 1;
                }
            }
            units as u32
        };
        let (path_end, detail_end): (Vec<_>, Vec<_>) =
            found.iter().map(|object| (add(object.path), add(object.detail))).unzip();
        Ok(Objects {
            kind: Uint8Array::new(found.iter().map(|object| object.kind as u8).collect()),
            dev: Float64Array::new(found.iter().map(|object| object.dev as f64).collect()),
            ino: Float64Array::new(found.iter().map(|object| object.ino as f64).collect()),
            created_by: Float64Array::new(
                found.iter().map(|object| object.created_by.map_or(-1.0, |seq| seq as f64)).collect(),
            ),
            path_end: path_end.into(),
            detail_end: detail_end.into(),
            text,
            strays: strays.into(),
        })
    }

    /// Decodes block `number`. `columns` are the bits of [`projection`].
    #[napi]
    pub fn read_block(&self, number: u32, columns: u32) -> Result<AsyncTask<ReadBlock>> {
        Ok(AsyncTask::new(ReadBlock {
            trace: self.opened()?,
            number: number as usize,
            projection: projection(columns),
            work: Work::Decode,
        }))
    }

    /// The same, with those events that a choice leaves.
    #[napi]
    pub fn read_chosen(&self, number: u32, columns: u32, choice: &NativeChoice) -> Result<AsyncTask<ReadBlock>> {
        Ok(AsyncTask::new(ReadBlock {
            trace: self.opened()?,
            number: number as usize,
            projection: projection(columns),
            work: Work::Choose(choice.choice.clone()),
        }))
    }

    /// Decodes block `number` but `place`, with digests; what calls moved is digested only. `moves`: three bytes per syscall
    /// of x86-64 by number, then of as many of i386.
    #[napi]
    pub fn digest_block(&self, number: u32, moves: &[u8]) -> Result<AsyncTask<ReadBlock>> {
        Ok(AsyncTask::new(ReadBlock {
            trace: self.opened()?,
            number: number as usize,
            projection: Projection::ALL,
            work: Work::Digest(moves_of(moves)),
        }))
    }

    /// Where the entries of calls stand during which other events were committed: two arrays, by place of the entry.
    #[napi]
    pub fn spanning_calls(&self) -> Result<AsyncTask<SpanningCalls>> {
        Ok(AsyncTask::new(SpanningCalls { trace: self.opened()? }))
    }

    /// Lets go of the file and of what is kept of it, when nothing that was started reads it any more.
    #[napi]
    pub fn close(&self) {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// A first look at events, for [`NativeTrace::read_chosen`].
#[napi]
pub struct NativeChoice {
    choice: Arc<Choice>,
}

/// `Choice` of the format: what stands there by number comes in one array, x86-64 first.
#[napi(object, object_to_js = false)]
pub struct ChoiceParts {
    pub calls: Uint8Array,
    pub kinds: u32,
    pub flags_set: u32,
    pub flags_clear: u32,
    pub threads: Option<Uint8Array>,
    pub least_duration: f64,
    pub most_duration: f64,
    pub least_start: f64,
    pub most_start: f64,
}

#[napi]
pub fn make_choice(parts: ChoiceParts) -> NativeChoice {
    let bools = |bytes: &[u8]| bytes.iter().map(|&byte| byte != 0).collect();
    let (x86_64, i386) = parts.calls.split_at(parts.calls.len() / 2);
    let choice = Choice {
        calls: [bools(x86_64), bools(i386)],
        kinds: parts.kinds as u16,
        flags_set: parts.flags_set as u8,
        flags_clear: parts.flags_clear as u8,
        threads: parts.threads.map(|threads| bools(&threads)),
        duration: (parts.least_duration, parts.most_duration),
        start: (parts.least_start, parts.most_start),
    };
    NativeChoice { choice: Arc::new(choice) }
}

/// Opens a trace.
#[napi]
pub fn open_trace(path: String) -> AsyncTask<Open> {
    AsyncTask::new(Open { path: path.into() })
}

pub struct Open {
    path: PathBuf,
}

impl Task for Open {
    type Output = std::result::Result<Trace, EngineError>;
    type JsValue = Outcome<NativeTrace>;

    fn compute(&mut self) -> Result<Self::Output> {
        let trace = Trace::open(&self.path);
        if let Ok(trace) = &trace {
            // Read here rather than at the first question on the main thread.
            trace.definitions();
        }
        Ok(trace)
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, |trace| NativeTrace { trace: Mutex::new(Some(Arc::new(trace))) }))
    }
}

pub struct ReadBlock {
    trace: Arc<Trace>,
    number: usize,
    projection: Projection,
    work: Work,
}

enum Work {
    Decode,
    Choose(Arc<Choice>),
    Digest(Moves),
}

impl Task for ReadBlock {
    type Output = std::result::Result<Read, EngineError>;
    type JsValue = Outcome<Batch>;

    fn compute(&mut self) -> Result<Self::Output> {
        let ReadBlock { trace, number, projection, work } = self;
        let read = match work {
            Work::Digest(moves) => {
                trace.digest_block(*number, moves).map(|(columns, digests)| (columns, Some(digests)))
            }
            Work::Choose(choice) => trace.choose_block(*number, *projection, choice).map(|columns| (columns, None)),
            Work::Decode => trace.decode_block(*number, *projection).map(|columns| (columns, None)),
        };
        let is_chosen = matches!(work, Work::Choose(_));
        Ok(read.map(|(columns, digests)| Read { columns, digests, is_chosen }))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, Batch::from))
    }
}

/// Places of entries and event numbers, in two arrays of one length.
#[napi(object, object_from_js = false)]
pub struct Spans {
    pub entry: Float64Array,
    pub seq: Float64Array,
}

pub struct SpanningCalls {
    trace: Arc<Trace>,
}

impl Task for SpanningCalls {
    type Output = Vec<(u64, u64)>;
    type JsValue = Spans;

    fn compute(&mut self) -> Result<Self::Output> {
        let mut all = Vec::new();
        for number in 0..self.trace.blocks().len() {
            // A damaged block ends the trace for who reads its events, and is reported there.
            let Ok(spans) = self.trace.spanning_calls(number) else { break };
            all.extend(spans);
        }
        all.sort_unstable();
        Ok(all)
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(Spans {
            entry: Float64Array::new(output.iter().map(|(entry, _)| *entry as f64).collect()),
            seq: Float64Array::new(output.iter().map(|(_, seq)| *seq as f64).collect()),
        })
    }
}
