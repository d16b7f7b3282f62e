//! Batches in, trace file out, on two threads: one puts events into blocks, the other compresses and writes.
//!
//! The queue is bounded and [`Writer::send`] waits when it is full, so memory stays bounded and nothing is dropped.
//! When the file cannot be written the writer keeps taking batches and throws them away, so that the recorded program
//! goes on; [`Writer::finish`] says so, with counts.

mod block;
mod output;
mod sink;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::EngineError;
use crate::raw::RawBatch;

pub use block::BlockWriter;
pub(crate) use sink::{Sink, lock, remove};

/// Batches that wait at most.
pub const QUEUE: usize = 8;

/// Events wait at most this long before they are written, as long as the recording lasts.
pub const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// The first ones wait this long only: of a recording that is killed early little is to be missing.
const FIRST_FLUSH_AFTER: Duration = Duration::from_millis(100);

/// How long something may wait: four times as long as the last time, up to an end. (Each flush makes a trace larger, as what is behind it
/// is compressed anew: twice as long made those of a second or two larger by a tenth.)
pub(crate) struct Patience {
    now: Duration,
    most: Duration,
}

impl Patience {
    #[must_use]
    pub fn new(first: Duration, most: Duration) -> Patience {
        Patience { now: first, most }
    }

    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    pub fn grow(&mut self) {
        self.now = (self.now * 4).min(self.most);
    }
}

/// Batches that grew beyond this many bytes are not kept for reuse.
const KEEP_BATCH_BYTES: usize = 2 << 20;

/// How a trace file is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Replace the file if it exists.
    pub force: bool,
    /// Nanoseconds of one unit of time.
    pub tick_ns: u32,
    /// The trace's id; random by default.
    pub id: Option<[u8; 16]>,
    /// Start of the recording in nanoseconds since 1970; now by default.
    pub start_realtime_ns: Option<u64>,
    /// How many chunks of captured bytes are remembered in order to store them once.
    pub remembered_chunks: usize,
    /// From how many events on the sums of what was done with each path are stored: of fewer they are made in no time.
    pub usage_from: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            force: false,
            tick_ns: 100,
            id: None,
            start_realtime_ns: None,
            remembered_chunks: crate::content::REMEMBERED,
            usage_from: 1 << 16,
        }
    }
}

/// What became of a recording.
#[derive(Debug, Default)]
pub struct Summary {
    /// Events in the file.
    pub events: u64,
    /// Events that could not be written.
    pub lost: u64,
    /// Length of the file.
    pub bytes_total: u64,
    /// Bytes of the frames of events.
    pub bytes_events: u64,
    /// Bytes of the frames of captured contents.
    pub bytes_content: u64,
    /// Bytes of the frames of definitions.
    pub bytes_definitions: u64,
    /// Captured bytes that were not stored since they were there already.
    pub bytes_deduplicated: u64,
    /// Mapped files that were to be in the file, and could not be read as they were.
    pub left_out: u64,
    /// Why the trace is cut, if it is.
    pub failure: Option<EngineError>,
}

/// The way to a trace file that is being written.
pub struct Writer {
    path: PathBuf,
    queue: SyncSender<RawBatch>,
    empties: Receiver<RawBatch>,
    failed: Arc<AtomicBool>,
    thread: JoinHandle<Summary>,
}

impl Writer {
    /// Creates the file and starts the thread.
    ///
    /// # Errors
    /// When the file exists and `force` is not set, is being recorded, or cannot be made.
    pub fn create(path: &Path, options: &Options) -> Result<Writer, EngineError> {
        let mut block = BlockWriter::create_apart(path, options)?;
        let (queue, batches) = sync_channel::<RawBatch>(QUEUE);
        let (give_back, empties) = channel();
        let failed = Arc::new(AtomicBool::new(false));
        let says_failed = Arc::clone(&failed);
        let run = move || {
            block_signals();
            // The sender ends the queue in two ways: `finish` sends an empty batch first, a drop does not.
            let mut whole = false;
            let mut oldest: Option<Instant> = None;
            let mut patience = Patience::new(FIRST_FLUSH_AFTER, FLUSH_AFTER);
            loop {
                let wait =
                    oldest.map_or(Duration::from_secs(3600), |since| patience.now().saturating_sub(since.elapsed()));
                match batches.recv_timeout(wait) {
                    Ok(batch) if batch.is_empty() => whole = true,
                    Ok(mut batch) => {
                        block.push_batch(&batch);
                        batch.clear();
                        if batch.bytes.capacity() > KEEP_BATCH_BYTES {
                            batch.bytes = Vec::new();
                        }
                        let _ = give_back.send(batch);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if !block.has_pending() {
                    oldest = None;
                } else if *oldest.get_or_insert_with(Instant::now) + patience.now() <= Instant::now() {
                    block.flush();
                    patience.grow();
                    oldest = None;
                }
                if block.has_failed() {
                    says_failed.store(true, Ordering::Relaxed);
                }
            }
            if whole { block.finish() } else { block.abandon() }
        };
        let thread = std::thread::Builder::new()
            .name("trace-writer".into())
            .spawn(run)
            .map_err(|source| cannot_start(path, source))?;
        Ok(Writer { path: path.to_owned(), queue, empties, failed, thread })
    }

    /// Hands a batch over and gives an empty one back. Waits while the queue is full.
    #[allow(clippy::must_use_candidate, reason = "the empty batch is an offer")]
    pub fn send(&self, batch: RawBatch) -> RawBatch {
        if batch.is_empty() {
            return batch;
        }
        if let Err(TrySendError::Full(batch)) = self.queue.try_send(batch) {
            // The thread can only be gone after a panic, which `finish` reports.
            let _ = self.queue.send(batch);
        }
        self.empties.try_recv().unwrap_or_default()
    }

    /// Whether the file can no longer be written. Events are taken and lost from then on.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what is left, the index and the end, and waits for it. Without this call the trace is left cut.
    #[must_use]
    pub fn finish(self) -> Summary {
        let _ = self.queue.send(RawBatch::default());
        drop(self.queue);
        self.thread
            .join()
            .unwrap_or_else(|_| Summary { failure: Some(EngineError::Broken { part: "writer" }), ..Summary::default() })
    }
}

/// Without its threads a trace never begins.
fn cannot_start(path: &Path, source: std::io::Error) -> EngineError {
    remove(path);
    EngineError::io("start a thread that writes", path, source)
}

/// Signals are the business of other threads, and SIGXFSZ must not end the process: the write fails with an error.
fn block_signals() {
    let mut all = std::mem::MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set, which pthread_sigmask reads; both are of this frame.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_to_its_end() {
        let mut patience = Patience::new(Duration::from_millis(50), Duration::from_secs(1));
        let waits: Vec<_> = std::iter::from_fn(|| {
            let now = patience.now().as_millis();
            patience.grow();
            Some(now)
        })
        .take(5)
        .collect();
        assert_eq!(waits, [50, 200, 800, 1000, 1000]);
    }
}
