//! Where finished events go: numbered, put into the open batch, and handed to the writer when the batch is full or old.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::memory::Memory;
use crate::raw::{Definition, RawBatch, RawEvent};
use crate::stacks::samples::Sample;
use crate::store::Hash;
use crate::writer::{Patience, Summary, Writer};

/// A batch is handed over at this many events or bytes of memory.
const FULL_EVENTS: usize = 4096;
const FULL_BYTES: usize = 512 << 10;
/// An unfinished batch waits at most this long when the tracees are silent, and the first one so long.
const OLD: Duration = Duration::from_millis(250);
const FIRST_OLD: Duration = Duration::from_millis(50);

struct Open {
    batch: RawBatch,
    writer: Option<Writer>,
    closing: bool,
}

impl Open {
    fn hand_over(&mut self) {
        if let Some(writer) = &self.writer {
            self.batch = writer.send(std::mem::take(&mut self.batch));
        }
    }
}

struct Shared {
    open: Mutex<Open>,
    closed: Condvar,
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The recorder's end of the trace file.
pub struct Sink {
    shared: Arc<Shared>,
    flush_thread: Option<JoinHandle<()>>,
    seq: u64,
}

impl Sink {
    #[must_use]
    pub fn new(writer: Writer) -> Sink {
        let open = Open { batch: RawBatch::default(), writer: Some(writer), closing: false };
        let shared = Arc::new(Shared { open: Mutex::new(open), closed: Condvar::new() });
        let flushed = Arc::clone(&shared);
        let run = move || {
            let mut open = flushed.open();
            let mut patience = Patience::new(FIRST_OLD, OLD);
            while !open.closing {
                let waited = flushed.closed.wait_timeout(open, patience.now());
                open = waited.unwrap_or_else(PoisonError::into_inner).0;
                if !open.batch.is_empty() {
                    open.hand_over();
                    patience.grow();
                }
            }
        };
        // Without the thread a silent tracee's last events only wait longer.
        let flush_thread = std::thread::Builder::new().name("trace-flush".into()).spawn(run).ok();
        Sink { shared, flush_thread, seq: 0 }
    }

    /// How many events have been committed: the number that the next one gets.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Adds things that events refer to. They are written before any event that is committed later.
    pub fn define(&self, definitions: &mut Vec<Definition>) {
        if !definitions.is_empty() {
            self.shared.open().batch.definitions.append(definitions);
        }
    }

    /// Puts files into the trace.
    pub fn pack(&self, files: Vec<(Hash, File)>) {
        if !files.is_empty() {
            self.shared.open().batch.files.extend(files.into_iter().map(|(hash, file)| (hash, Arc::new(file))));
        }
    }

    /// Commits one event with its memory.
    pub fn commit(&mut self, mut event: RawEvent, memory: &Memory) {
        event.captures = memory.captures.len() as u16;
        event.refs = memory.refs.len() as u16;
        let mut open = self.shared.open();
        let batch = &mut open.batch;
        batch.events.push(event);
        batch.captures.extend_from_slice(&memory.captures[..usize::from(event.captures)]);
        batch.refs.extend_from_slice(&memory.refs[..usize::from(event.refs)]);
        batch.bytes.extend_from_slice(&memory.bytes);
        self.seq += 1;
        if batch.events.len() >= FULL_EVENTS || batch.bytes.len() + batch.sampled >= FULL_BYTES {
            open.hand_over();
        }
    }

    /// Adds a sample, of the event that is committed next.
    pub fn sample(&self, sample: Sample) {
        let mut open = self.shared.open();
        // As large as the memory of events, and counted with it.
        open.batch.sampled += sample.len();
        open.batch.samples.push(Sample { seq: self.seq, ..sample });
    }

    /// Writes everything and ends the file.
    #[must_use]
    pub fn finish(mut self) -> Summary {
        let writer = {
            let mut open = self.shared.open();
            open.hand_over();
            open.closing = true;
            open.writer.take()
        };
        self.shared.closed.notify_all();
        if let Some(flush_thread) = self.flush_thread.take() {
            let _ = flush_thread.join();
        }
        writer.map(Writer::finish).unwrap_or_default()
    }
}
