//! The way of finished frames into the file: at once, or compressed and written on a thread of their own.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use trace_format::column::{BlockHeader, COLUMNS};
use trace_format::frame::FrameKind;

use super::block_signals;
use super::sink::Sink;
use crate::pack;
use crate::store::Hash;

/// Frames that wait at most: the large ones have a megabyte or two.
const QUEUE: usize = 2;

/// Where frames go, in their order. Buffers that are handed over may hold anything afterwards.
pub trait Output {
    /// Whether the file can no longer be written.
    fn has_failed(&self) -> bool;
    /// A frame with a compressed payload.
    fn frame(&mut self, kind: FrameKind, raw: &mut Vec<u8>, first: u64, count: u32);
    /// A block of events.
    fn block(&mut self, header: BlockHeader, columns: &mut Vec<Vec<u8>>, first: u64, count: u32);
    /// A file that is to be in the trace itself, under its hash. One that cannot be read is left out, and told of in the end.
    fn pack(&mut self, hash: &Hash, file: &Arc<File>);
    /// The file, with all frames in it. None when that broke off, which is a mistake of this program.
    fn into_sink(self) -> Option<Sink>;
}

impl Output for Sink {
    fn has_failed(&self) -> bool {
        Sink::has_failed(self)
    }

    fn frame(&mut self, kind: FrameKind, raw: &mut Vec<u8>, first: u64, count: u32) {
        Sink::frame(self, kind, raw, first, count);
    }

    fn block(&mut self, header: BlockHeader, columns: &mut Vec<Vec<u8>>, first: u64, count: u32) {
        Sink::block(self, &header, columns, first, count);
    }

    fn pack(&mut self, hash: &Hash, file: &Arc<File>) {
        if !matches!(pack::put_in(hash, file, self), Ok(Some(_))) {
            self.has_left_out();
        }
    }

    fn into_sink(self) -> Option<Sink> {
        Some(self)
    }
}

/// A frame as it is before it is compressed.
enum Job {
    Frame { kind: FrameKind, raw: Vec<u8>, first: u64, count: u32 },
    Block { header: BlockHeader, columns: Vec<Vec<u8>>, first: u64, count: u32 },
    File { hash: Hash, file: Arc<File> },
}

impl Job {
    fn done(self, sink: &mut Sink) -> Option<Empty> {
        match self {
            Job::Frame { kind, raw, first, count } => {
                sink.frame(kind, &raw, first, count);
                Some(Empty::Raw(raw))
            }
            Job::Block { header, columns, first, count } => {
                sink.block(&header, &columns, first, count);
                Some(Empty::Columns(columns))
            }
            Job::File { hash, file } => {
                Output::pack(sink, &hash, &file);
                None
            }
        }
    }
}

/// Buffers of a frame that is in the file.
enum Empty {
    Raw(Vec<u8>),
    Columns(Vec<Vec<u8>>),
}

/// A thread that compresses and writes, while the next frame is being made.
pub(crate) struct Apart {
    jobs: SyncSender<Job>,
    empties: Receiver<Empty>,
    raw: Vec<Vec<u8>>,
    columns: Vec<Vec<Vec<u8>>>,
    failed: Arc<AtomicBool>,
    thread: JoinHandle<Sink>,
}

impl Apart {
    pub(super) fn begin(mut sink: Sink) -> io::Result<Apart> {
        let (jobs, waiting) = sync_channel::<Job>(QUEUE);
        let (give_back, empties) = channel();
        let failed = Arc::new(AtomicBool::new(false));
        let says_failed = Arc::clone(&failed);
        let run = move || {
            block_signals();
            for job in waiting {
                let empty = job.done(&mut sink);
                says_failed.store(sink.has_failed(), Ordering::Relaxed);
                if let Some(empty) = empty {
                    let _ = give_back.send(empty);
                }
            }
            sink
        };
        let thread = std::thread::Builder::new().name("trace-compress".into()).spawn(run)?;
        Ok(Apart { jobs, empties, raw: Vec::new(), columns: Vec::new(), failed, thread })
    }

    /// Waits while the queue is full.
    fn send(&mut self, job: Job) {
        // The thread can only be gone after a panic, which `into_sink` reports.
        let _ = self.jobs.send(job);
        for empty in self.empties.try_iter() {
            match empty {
                Empty::Raw(raw) => self.raw.push(raw),
                Empty::Columns(columns) => self.columns.push(columns),
            }
        }
    }
}

impl Output for Apart {
    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn frame(&mut self, kind: FrameKind, raw: &mut Vec<u8>, first: u64, count: u32) {
        let raw = std::mem::replace(raw, self.raw.pop().unwrap_or_default());
        self.send(Job::Frame { kind, raw, first, count });
    }

    fn block(&mut self, header: BlockHeader, columns: &mut Vec<Vec<u8>>, first: u64, count: u32) {
        let empty = self.columns.pop().unwrap_or_else(|| vec![Vec::new(); COLUMNS]);
        let columns = std::mem::replace(columns, empty);
        self.send(Job::Block { header, columns, first, count });
    }

    fn pack(&mut self, hash: &Hash, file: &Arc<File>) {
        self.send(Job::File { hash: *hash, file: Arc::clone(file) });
    }

    fn into_sink(self) -> Option<Sink> {
        drop(self.jobs);
        self.thread.join().ok()
    }
}
