//! The file itself: created safely, locked while it is written, and always ending on a whole frame.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use trace_format::column::{BlockHeader, COLUMNS, ColumnEntry, encode_column_table};
use trace_format::frame::{Codec, FileHeader, FrameHeader, FrameKind, HEADER_BYTES, TRAILER_BYTES, Trailer, VERSION};

use super::Options;
use crate::error::EngineError;
use crate::index::{self, BlockSummary, Entry, Extra};
use crate::sys;

/// Compression level: higher ones gain little and cost the recorded program time.
const LEVEL: i32 = 3;
/// The same of what programs read and wrote, of which there may be as much as they can read: half to two thirds of the time of the other,
/// for 4 % more bytes of documentation and headers, and 9 % more of libraries.
const CONTENT_LEVEL: i32 = 1;

/// Takes or tests the lock that a writer holds. `false` when somebody else has it.
pub(crate) fn lock(file: &File, operation: libc::c_int) -> io::Result<bool> {
    // SAFETY: flock reads nothing but its two arguments; the descriptor belongs to `file`, which outlives the call.
    if unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::WouldBlock { Ok(false) } else { Err(error) }
}

/// Appends frames to a trace file.
pub struct Sink {
    path: PathBuf,
    file: File,
    /// End of the last whole frame.
    end: u64,
    entries: Vec<Entry>,
    failure: Option<EngineError>,
    /// Events that are not in the file.
    lost: u64,
    /// Files that were to be packed, and are not in it either.
    left_out: u64,
    compressor: Option<zstd::bulk::Compressor<'static>>,
    /// Reused for each piece that is compressed, each payload, and each frame.
    compressed: Vec<u8>,
    buffer: Vec<u8>,
    bodies: Vec<u8>,
    whole: Vec<u8>,
}

impl Sink {
    pub(crate) fn create(path: &Path, options: &Options) -> Result<(Sink, FileHeader), EngineError> {
        let file = open_new(path, options.force)?;
        lock(&file, libc::LOCK_EX).ok();
        let id = options.id.map_or_else(random_id, Ok).map_err(|source| {
            remove(path);
            EngineError::io("make an id for", path, source)
        })?;
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let header = FileHeader {
            version: VERSION,
            tick_ns: options.tick_ns,
            start_realtime_ns: options.start_realtime_ns.unwrap_or_else(now),
            id,
        };
        let mut sink = Sink::over(path, file, 0, Vec::new());
        sink.write(&header.encode(crc32fast::hash));
        match sink.failure.take() {
            Some(failure) => {
                remove(path);
                Err(failure)
            }
            None => Ok((sink, header)),
        }
    }

    /// Goes on at `end`, behind the last of `entries`; the file's position must be there.
    pub(crate) fn over(path: &Path, file: File, end: u64, entries: Vec<Entry>) -> Sink {
        // Without a compressor (out of memory) the frames are stored as they are.
        let compressor = zstd::bulk::Compressor::new(LEVEL).ok();
        Sink {
            path: path.to_owned(),
            file,
            end,
            entries,
            failure: None,
            lost: 0,
            left_out: 0,
            compressor,
            compressed: Vec::new(),
            buffer: Vec::new(),
            bodies: Vec::new(),
            whole: Vec::new(),
        }
    }

    /// How many bytes there is room for, as far as that can be told.
    pub(super) fn room(&self) -> Option<u64> {
        sys::room_for(&self.file).ok()
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// A file that was to be packed is not in the file.
    pub(crate) fn has_left_out(&mut self) {
        self.left_out += 1;
    }

    /// How many were not.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(crate) fn take_failure(&mut self) -> Option<EngineError> {
        self.failure.take()
    }

    /// Appends compressed `raw` to `out` if that makes it smaller.
    pub(crate) fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Codec {
        self.compress_at(LEVEL, raw, out)
    }

    fn compress_at(&mut self, level: i32, raw: &[u8], out: &mut Vec<u8>) -> Codec {
        if raw.len() >= 32
            && let Some(compressor) = &mut self.compressor
            && compressor.set_compression_level(level).is_ok()
        {
            self.compressed.clear();
            self.compressed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
            if compressor.compress_to_buffer(raw, &mut self.compressed).is_ok_and(|len| len < raw.len()) {
                out.extend_from_slice(&self.compressed);
                return Codec::Zstd;
            }
        }
        out.extend_from_slice(raw);
        Codec::Raw
    }

    /// Writes a frame with a compressed payload.
    pub(crate) fn frame(&mut self, kind: FrameKind, raw: &[u8], first: u64, count: u32) -> bool {
        let mut stored = std::mem::take(&mut self.buffer);
        stored.clear();
        let level = if kind == FrameKind::Content { CONTENT_LEVEL } else { LEVEL };
        let codec = self.compress_at(level, raw, &mut stored);
        let header = FrameHeader {
            kind: kind as u8,
            codec: codec as u8,
            stored_len: stored.len() as u32,
            raw_len: raw.len() as u32,
            count,
            first,
            crc: 0,
        };
        let done = self.stored_frame(header, &stored, Extra::None);
        self.buffer = stored;
        done
    }

    /// Writes a block of events, each column compressed by itself. Events that cannot be written are counted.
    pub(crate) fn block(&mut self, header: &BlockHeader, columns: &[Vec<u8>], first: u64, count: u32) {
        if self.has_failed() {
            self.lost += u64::from(count);
            return;
        }
        let (mut bodies, mut payload) = (std::mem::take(&mut self.bodies), std::mem::take(&mut self.buffer));
        bodies.clear();
        payload.clear();
        let mut entries = Vec::with_capacity(COLUMNS);
        for (id, raw) in columns.iter().enumerate().filter(|(_, raw)| !raw.is_empty()) {
            let offset = bodies.len();
            let codec = self.compress(raw, &mut bodies);
            let (raw_len, stored_len) = (raw.len() as u32, (bodies.len() - offset) as u32);
            entries.push(ColumnEntry { id: id as u8, codec: codec as u8, raw_len, stored_len, offset });
        }
        header.encode(&mut payload);
        encode_column_table(&entries, &mut payload);
        payload.extend_from_slice(&bodies);
        let len = payload.len() as u32;
        let frame = FrameHeader {
            kind: FrameKind::Events as u8,
            codec: Codec::Raw as u8,
            stored_len: len,
            raw_len: len,
            count,
            first,
            crc: 0,
        };
        let block = BlockSummary {
            min_start: header.min_start,
            max_end: header.max_end,
            spanning: header.spanning,
            kinds: header.kinds,
        };
        if !self.stored_frame(frame, &payload, Extra::Block(block)) {
            self.lost += u64::from(count);
        }
        (self.bodies, self.buffer) = (bodies, payload);
    }

    /// Writes a frame whose payload is as it is to be stored. `false` when it is not in the file.
    pub(crate) fn stored_frame(&mut self, mut header: FrameHeader, stored: &[u8], extra: Extra) -> bool {
        let head = header.encode_unsummed();
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head);
        crc.update(stored);
        header.crc = crc.finalize();
        let offset = self.end;
        let mut frame = std::mem::take(&mut self.whole);
        frame.clear();
        frame.extend_from_slice(&head);
        frame.extend_from_slice(&header.crc.to_le_bytes());
        frame.extend_from_slice(stored);
        let done = self.write(&frame);
        self.whole = frame;
        if done {
            self.entries.push(Entry { offset, header, extra });
        }
        done
    }

    /// Writes all of `bytes` or, as far as the system lets us, nothing of it.
    fn write(&mut self, bytes: &[u8]) -> bool {
        if self.failure.is_some() {
            return false;
        }
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.end += bytes.len() as u64;
                true
            }
            Err(source) => {
                // A part of the frame may be there. If it cannot be taken back, a reader stops in front of it.
                self.file.set_len(self.end).ok();
                self.failure = Some(EngineError::io("write", &self.path, source));
                false
            }
        }
    }

    /// Writes the index and the end trailer: the trace is complete.
    pub(crate) fn complete(&mut self) -> bool {
        let (index_offset, count) = (self.end, self.entries.len() as u32);
        let mut payload = Vec::new();
        index::encode(&self.entries, &mut payload);
        let done = self.frame(FrameKind::Index, &payload, 0, count) && {
            let file_len = self.end + TRAILER_BYTES as u64;
            self.write(&Trailer { index_offset, file_len }.encode(crc32fast::hash))
        };
        debug_assert!(self.end >= HEADER_BYTES as u64);
        done
    }
}

/// Opens a new file. With `force` an existing one is replaced, unless it is being recorded; devices and pipes are
/// written to as they are.
fn open_new(path: &Path, force: bool) -> Result<File, EngineError> {
    let cannot = |source| EngineError::io("create", path, source);
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other.map_err(cannot),
    }
    if !force {
        return Err(EngineError::Exists { path: path.to_owned() });
    }
    let target = std::fs::canonicalize(path).map_err(cannot)?;
    let old = OpenOptions::new().write(true).open(&target).map_err(cannot)?;
    if !old.metadata().map_err(cannot)?.is_file() {
        return Ok(old);
    }
    if !lock(&old, libc::LOCK_EX).unwrap_or(true) {
        return Err(EngineError::Busy { path: path.to_owned() });
    }
    // A new file rather than a shorter one: whoever reads the old trace keeps it.
    std::fs::remove_file(&target).map_err(cannot)?;
    OpenOptions::new().write(true).create_new(true).open(&target).map_err(cannot)
}

/// Removes the file of a trace that never began. What is no file, such as a device that was written to, stays.
pub(crate) fn remove(path: &Path) {
    if std::fs::metadata(path).is_ok_and(|facts| facts.is_file()) {
        let _ = std::fs::remove_file(path);
    }
}

fn random_id() -> io::Result<[u8; 16]> {
    let [first, second] = sys::random_words()?;
    Ok((u128::from(first) << 64 | u128::from(second)).to_ne_bytes())
}
