//! Events on their way from capture to the writer: flat arrays that are filled, handed over and reused.
//!
//! A batch owns no allocation per event. The recorder pushes into the four arrays; the writer reads them in order and
//! gives the batch back empty.

use std::fs::File;
use std::sync::Arc;

use trace_format::event::{EventKind, Side, Status};

use crate::stacks::samples::Sample;

/// One event. Its captures and references are the next `captures` and `refs` entries of the batch's arrays.
#[derive(Clone, Copy, Debug)]
pub struct RawEvent {
    pub kind: EventKind,
    pub flags: u8,
    /// [`trace_format::table::Arch`] code; 0 for anything but calls.
    pub arch: u8,
    /// How many of `args` mean something.
    pub nargs: u8,
    pub code: i32,
    /// Index of the thread in the trace.
    pub thread: u32,
    /// Nanoseconds since the start of the recording.
    pub start: u64,
    pub end: u64,
    /// How many events had been committed when this one began.
    pub entry_seq: u64,
    pub args: [u64; 6],
    pub ret: i64,
    pub ip: u64,
    pub sp: u64,
    pub captures: u16,
    pub refs: u16,
}

/// Memory of one event; its bytes are the next `len` of the batch's `bytes`.
#[derive(Clone, Copy, Debug)]
pub struct RawCapture {
    pub slot: u8,
    pub side: Side,
    pub status: Status,
    pub addr: u64,
    /// Bytes the call spoke of; `len` of them are stored.
    pub wanted: u64,
    pub len: u32,
}

/// The object behind a descriptor of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRef {
    pub slot: u8,
    pub fd: i32,
    /// Index of the object in the trace.
    pub object: u32,
}

/// Things that events refer to by index; always written before the events that use them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Definition {
    /// Threads are numbered in the order of their definitions, from 0.
    Thread {
        /// Process number as shown (`p3`), from 1.
        process: u32,
        /// 1 for the first thread of the process.
        ordinal: u32,
        tid: i32,
        pid: i32,
        /// Index of the thread that made it.
        parent: Option<u32>,
        /// Event number at which it appeared.
        created_by: u64,
    },
    /// Objects are numbered in the order of their definitions, from 0.
    Object {
        kind: ObjectKind,
        /// As /proc/PID/fd shows it.
        path: Vec<u8>,
        /// Protocol and addresses of a socket, as far as known.
        detail: Vec<u8>,
        dev: u64,
        ino: u64,
        /// Event number of the call that made it; `None` when it was there before.
        created_by: Option<u64>,
    },
    /// A fact about the recording (`command`, `backend`, `host`, ...). A later value of a key replaces the earlier one.
    Meta { key: String, value: Vec<u8> },
}

/// What kind of file an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ObjectKind {
    Unknown = 0,
    File = 1,
    Dir = 2,
    Pipe = 3,
    Fifo = 4,
    Socket = 5,
    CharDevice = 6,
    BlockDevice = 7,
    Anon = 8,
    Memfd = 9,
}

impl ObjectKind {
    /// Whether its path is a name in the file system.
    #[must_use]
    pub fn is_named(self) -> bool {
        matches!(
            self,
            ObjectKind::File | ObjectKind::Dir | ObjectKind::Fifo | ObjectKind::CharDevice | ObjectKind::BlockDevice
        )
    }
}

/// A batch of events, with everything that they refer to.
#[derive(Default, Debug)]
pub struct RawBatch {
    pub definitions: Vec<Definition>,
    pub events: Vec<RawEvent>,
    pub captures: Vec<RawCapture>,
    pub refs: Vec<RawRef>,
    pub bytes: Vec<u8>,
    /// Threads that have entered some of these calls.
    pub samples: Vec<Sample>,
    /// Bytes of memory in the samples.
    pub sampled: usize,
    /// Files to be packed, with their BLAKE3 hashes.
    pub files: Vec<([u8; 32], Arc<File>)>,
}

impl RawBatch {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.definitions.is_empty() && self.files.is_empty()
    }

    /// Forgets the contents and keeps the allocations.
    pub fn clear(&mut self) {
        self.definitions.clear();
        self.events.clear();
        self.captures.clear();
        self.refs.clear();
        self.bytes.clear();
        self.samples.clear();
        self.sampled = 0;
        self.files.clear();
    }
}
