//! From a path to the list of frames: by the index, or by searching.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use trace_format::column::BlockHeader;
use trace_format::frame::{
    FRAME_HEADER_BYTES, FileHeader, FrameHeader, FrameKind, HEADER_BYTES, TRAILER_BYTES, Trailer, VERSION,
};
use trace_format::limits;
use trace_format::varint::{Cursor, DecodeError, Problem};

use super::unpack::decompress;
use super::{State, Trace};
use crate::error::EngineError;
use crate::index::{self, BlockSummary, Entry, Extra, Next};
use crate::writer::lock;

/// What was found in a file.
pub(super) struct Found {
    pub len: u64,
    pub state: State,
    pub damage: Option<EngineError>,
    pub entries: Vec<Entry>,
}

pub(super) fn open(path: &Path) -> Result<Trace, EngineError> {
    let cannot = |source| EngineError::io("open", path, source);
    let not = |why| EngineError::NotATrace { path: path.to_owned(), why };
    // A pipe would make `open` wait.
    let kind = std::fs::metadata(path).map_err(cannot)?.file_type();
    if !kind.is_file() {
        return Err(not(if kind.is_dir() { "it is a directory" } else { "it is not a regular file" }));
    }
    let file = File::open(path).map_err(cannot)?;
    let recording = !lock(&file, libc::LOCK_SH).unwrap_or(true);
    lock(&file, libc::LOCK_UN).ok();
    let len = file.metadata().map_err(cannot)?.len();
    let header = read_header(&file, path, len)?;
    let mut damage = None;
    if !recording {
        match by_index(&file, path, len) {
            Ok(Some(entries)) => {
                let found = Found { len, state: State::Complete, damage: None, entries };
                return Ok(Trace::new(path, file, header, found));
            }
            Ok(None) => {}
            Err(error) => damage = Some(error),
        }
    }
    let mut entries = Vec::new();
    let stopped = search(&file, path, len, &mut entries);
    let state = if recording { State::Recording } else { State::Cut };
    let damage = damage.or(stopped);
    Ok(Trace::new(path, file, header, Found { len, state, damage, entries }))
}

fn read_header(file: &File, path: &Path, len: u64) -> Result<FileHeader, EngineError> {
    let not = |why| EngineError::NotATrace { path: path.to_owned(), why };
    let mut bytes = [0; HEADER_BYTES];
    let have = len.min(HEADER_BYTES as u64) as usize;
    file.read_exact_at(&mut bytes[..have], 0).map_err(|source| EngineError::io("read", path, source))?;
    if have == 0 {
        return Err(not("it is empty"));
    }
    let Some(version) = FileHeader::version_of(&bytes[..have]) else {
        return Err(not("it does not start as one"));
    };
    if version.0 > VERSION.0 {
        return Err(EngineError::Version { path: path.to_owned(), version, reads: VERSION.0 });
    }
    if have < HEADER_BYTES {
        return Err(not("it ends inside the file header"));
    }
    FileHeader::decode(&bytes, crc32fast::hash).map_err(|error| EngineError::corrupt(0, &error))
}

/// Reads the header of a frame and compares the checksum; `bytes` is the whole frame.
pub(super) fn check_frame(bytes: &[u8], offset: u64) -> Result<FrameHeader, EngineError> {
    let fail = |error: DecodeError| EngineError::corrupt(offset, &error);
    let Some((head, stored)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else {
        return Err(fail(ends("frame header", FRAME_HEADER_BYTES as u64, bytes.len() as u64)));
    };
    let header = FrameHeader::decode(head).map_err(fail)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..FRAME_HEADER_BYTES - 4]);
    crc.update(stored);
    let computed = crc.finalize();
    if computed != header.crc {
        let problem = Problem::Checksum { stored: header.crc, computed };
        return Err(fail(DecodeError { reading: "frame", offset: 0, problem }));
    }
    Ok(header)
}

fn ends(reading: &'static str, need: u64, have: u64) -> DecodeError {
    DecodeError { reading, offset: 0, problem: Problem::Ends { need, have } }
}

/// Reads the frame at `offset` into `buffer`. `end` bounds the file.
fn read_frame(
    file: &File,
    path: &Path,
    offset: u64,
    end: u64,
    buffer: &mut Vec<u8>,
) -> Result<FrameHeader, EngineError> {
    let io = |source| EngineError::io("read", path, source);
    let fail = |error: DecodeError| EngineError::corrupt(offset, &error);
    let have = end.saturating_sub(offset);
    if have < FRAME_HEADER_BYTES as u64 {
        return Err(fail(ends("frame header", FRAME_HEADER_BYTES as u64, have)));
    }
    let mut head = [0; FRAME_HEADER_BYTES];
    file.read_exact_at(&mut head, offset).map_err(io)?;
    let header = FrameHeader::decode(&head).map_err(fail)?;
    let need = FRAME_HEADER_BYTES as u64 + u64::from(header.stored_len);
    if have < need {
        return Err(fail(ends("frame", need, have)));
    }
    buffer.clear();
    buffer.extend_from_slice(&head);
    buffer.resize(need as usize, 0);
    file.read_exact_at(&mut buffer[FRAME_HEADER_BYTES..], offset + FRAME_HEADER_BYTES as u64).map_err(io)?;
    check_frame(buffer, offset)
}

/// The frames as the index lists them; `None` when the file has no end trailer.
fn by_index(file: &File, path: &Path, len: u64) -> Result<Option<Vec<Entry>>, EngineError> {
    let io = |source| EngineError::io("read", path, source);
    let Some(at) = len.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
    let mut bytes = [0; TRAILER_BYTES];
    file.read_exact_at(&mut bytes, at).map_err(io)?;
    let Some(trailer) = Trailer::decode(&bytes, crc32fast::hash) else { return Ok(None) };
    let offset = trailer.index_offset;
    let fail = |error: DecodeError| EngineError::corrupt(offset, &error);
    if trailer.file_len != len || offset > at {
        return Err(fail(ends("end trailer", trailer.file_len, len)));
    }
    let mut buffer = Vec::new();
    let header = read_frame(file, path, offset, at, &mut buffer)?;
    if header.kind != FrameKind::Index as u8 {
        let problem = Problem::Invalid { value: header.kind.into() };
        return Err(fail(DecodeError { reading: "kind of the index frame", offset: 4, problem }));
    }
    let stored = &buffer[FRAME_HEADER_BYTES..];
    let raw = if header.codec == 0 {
        stored.to_vec()
    } else {
        decompress(stored, header.raw_len)
            .map_err(|problem| fail(DecodeError { reading: "index", offset: 0, problem }))?
    };
    index::decode(&raw, header.count, offset).map_err(fail).map(Some)
}

/// Goes from frame to frame and says what stopped it, if it was not the end of the file or of the trace.
fn search(file: &File, path: &Path, len: u64, entries: &mut Vec<Entry>) -> Option<EngineError> {
    let mut next = Next::default();
    let mut offset = HEADER_BYTES as u64;
    let mut buffer = Vec::new();
    while offset < len {
        let header = match read_frame(file, path, offset, len, &mut buffer) {
            Ok(header) => header,
            Err(error) => return Some(error),
        };
        let kind = FrameKind::from_code(header.kind);
        if kind == Some(FrameKind::Index) {
            return None;
        }
        match describe(&header, &buffer[FRAME_HEADER_BYTES..], kind, next) {
            Ok(extra) => entries.push(Entry { offset, header, extra }),
            Err(error) => return Some(EngineError::corrupt(offset, &error)),
        }
        if let Some(kind) = kind {
            next.pass(kind, header.count);
        }
        offset += FRAME_HEADER_BYTES as u64 + u64::from(header.stored_len);
    }
    None
}

/// Checks the numbers of a frame that was found by searching, and reads what the index would say of it.
fn describe(header: &FrameHeader, stored: &[u8], kind: Option<FrameKind>, next: Next) -> Result<Extra, DecodeError> {
    let Some(kind) = kind else { return Ok(Extra::None) };
    let fail = |reading, offset, problem| DecodeError { reading, offset, problem };
    if header.first != next.of(kind) {
        return Err(fail("number of the frame's first item", 20, Problem::Invalid { value: header.first }));
    }
    match kind {
        FrameKind::Events => {
            if header.count > limits::MAX_BLOCK_EVENTS {
                let limit = limits::MAX_BLOCK_EVENTS.into();
                return Err(fail("number of events", 16, Problem::TooLarge { value: header.count.into(), limit }));
            }
            let block = BlockHeader::decode(&mut Cursor::new(stored, "block"))?;
            Ok(Extra::Block(BlockSummary {
                min_start: block.min_start,
                max_end: block.max_end,
                spanning: block.spanning,
                kinds: block.kinds,
            }))
        }
        FrameKind::Object => {
            // Pieces of files may be compressed; the start of the payload says which file it is.
            let raw;
            let payload = if header.codec == 0 {
                stored
            } else if header.raw_len > limits::OBJECT_PIECE_BYTES * 2 {
                let limit = u64::from(limits::OBJECT_PIECE_BYTES) * 2;
                return Err(fail("length of a piece", 12, Problem::TooLarge { value: header.raw_len.into(), limit }));
            } else {
                raw = decompress(stored, header.raw_len).map_err(|problem| fail("packed file", 0, problem))?;
                &raw
            };
            Ok(Extra::Object(index::decode_piece(&mut Cursor::new(payload, "packed file"))?))
        }
        _ => Ok(Extra::None),
    }
}
