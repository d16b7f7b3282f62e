//! Mapped files inside the trace: put there from the object store, listed, taken out again.
//!
//! Packed files have no names but their hashes, so taking them out cannot leave the folder it is told to use.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use trace_format::column::{Columns, NO_CONTENT, Projection};
use trace_format::event::{EventKind, Side, slot};
use trace_format::frame::{FrameHeader, FrameKind};
use trace_format::limits;
use trace_format::table::Arch;
use trace_format::varint::{Cursor, DecodeError, Problem};

use crate::error::EngineError;
use crate::extension::Extension;
use crate::index::{self, Extra, ObjectPiece};
use crate::layout::{self, Row};
use crate::plan::{self, Effect};
use crate::reader::Trace;
use crate::store::{Hash, Store, read_verified};
use crate::writer::Sink;

/// A file inside a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// BLAKE3 hash.
    pub hash: Hash,
    /// Bytes.
    pub total: u64,
    /// Its frames.
    pieces: Vec<usize>,
}

impl Packed {
    /// The hash in hexadecimal: the file's only name.
    #[must_use]
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.hash).to_hex().to_string()
    }
}

/// A file that a trace speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// BLAKE3 hash.
    pub hash: Hash,
    /// Where it was, for people.
    pub path: Vec<u8>,
}

/// What packing did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackSummary {
    /// Files that were put in, and their bytes.
    pub added: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Files that were there before.
    pub present: u64,
    /// Files that are not in the object store, or damaged there.
    pub missing: Vec<Mapped>,
    /// Length of the new trace.
    pub bytes_total: u64,
}

impl Trace {
    /// The files inside the trace that are whole.
    #[must_use]
    pub fn packed(&self) -> Vec<Packed> {
        let mut found: Vec<Packed> = Vec::new();
        let mut reached = 0;
        for (number, entry) in self.entries().iter().enumerate() {
            let Extra::Object(piece) = entry.extra else { continue };
            let goes_on = piece.offset > 0
                && found.last().is_some_and(|last| {
                    last.hash == piece.hash && last.total == piece.total && piece.offset == reached
                });
            if piece.offset == 0 {
                found.push(Packed { hash: piece.hash, total: piece.total, pieces: Vec::new() });
            } else if !goes_on {
                continue;
            }
            if let Some(last) = found.last_mut() {
                last.pieces.push(number);
            }
            reached = piece.offset + u64::from(entry.header.raw_len).saturating_sub(piece_head(&piece));
        }
        let mut seen = HashSet::new();
        found.retain(|packed| {
            let end = packed.pieces.last().map_or(0, |&number| self.piece_end(number));
            end == packed.total && seen.insert(packed.hash)
        });
        found
    }

    fn piece_end(&self, number: usize) -> u64 {
        let entry = &self.entries()[number];
        match entry.extra {
            Extra::Object(piece) => piece.offset + u64::from(entry.header.raw_len).saturating_sub(piece_head(&piece)),
            _ => 0,
        }
    }

    /// Writes the content of a packed file to `out` and verifies its hash; what was written of a damaged one is of no
    /// use.
    ///
    /// # Errors
    /// When the trace is damaged there, or `out` cannot be written.
    pub fn read_packed(&self, packed: &Packed, out: &mut impl Write) -> Result<(), EngineError> {
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        for &number in &packed.pieces {
            let entry = &self.entries()[number];
            offset = entry.offset;
            let payload = self.payload(entry, limits::OBJECT_PIECE_BYTES * 2)?;
            let mut cursor = Cursor::new(&payload, "packed file");
            let piece = index::decode_piece(&mut cursor).map_err(|error| EngineError::corrupt(offset, &error))?;
            if entry.extra != Extra::Object(piece) {
                let problem = Problem::Invalid { value: piece.offset };
                return Err(EngineError::corrupt(offset, &cursor.fail(problem)));
            }
            let bytes = &payload[cursor.position()..];
            hasher.update(bytes);
            out.write_all(bytes).map_err(|source| EngineError::io("write a file packed in", self.path(), source))?;
        }
        if hasher.finalize().as_bytes() == &packed.hash {
            return Ok(());
        }
        let problem = Problem::Invalid { value: packed.total };
        Err(EngineError::corrupt(offset, &DecodeError { reading: "hash of a packed file", offset: 0, problem }))
    }

    /// The distinct files that were mapped: those that Map events name, and those that replay maps.
    ///
    /// # Errors
    /// When a block is damaged.
    pub fn mapped(&self) -> Result<Vec<Mapped>, EngineError> {
        self.mapped_files().map(|all| all.files)
    }

    /// What a replay maps and would not find: it is neither in the trace nor in the store.
    ///
    /// # Errors
    /// When a block is damaged.
    pub fn missing(&self, store: &Store) -> Result<Vec<Mapped>, EngineError> {
        let packed: HashSet<Hash> = self.packed().iter().map(|packed| packed.hash).collect();
        let MappedFiles { mut files, replayed, .. } = self.mapped_files()?;
        files.retain(|Mapped { hash, .. }| {
            replayed.contains(hash) && !packed.contains(hash) && store.get(hash).is_none()
        });
        Ok(files)
    }

    fn mapped_files(&self) -> Result<MappedFiles, EngineError> {
        let mut all = MappedFiles::default();
        for number in 0..self.blocks().len() {
            let columns = self.decode_block(number, Projection::CORE)?;
            if !(0..columns.count as usize).any(|row| may_map(&columns, row)) {
                continue;
            }
            let columns = self.decode_block(number, Projection { captures: true, refs: true, ..Projection::BASE })?;
            for row in 0..columns.count as usize {
                self.mapped_by(&columns, row, &mut all);
            }
        }
        Ok(all)
    }

    fn mapped_by(&self, columns: &Columns, row: usize, all: &mut MappedFiles) {
        let captures = columns.cap_start[row] as usize..columns.cap_start[row + 1] as usize;
        let in_slot =
            |slot| captures.clone().find(|&at| columns.cap_slot[at] == slot).and_then(|at| bytes_of(columns, at));
        if columns.kind[row] == EventKind::Map as u8 {
            if let Some(hash) = in_slot(2).and_then(|bytes| Hash::try_from(bytes).ok()) {
                all.add(hash, in_slot(0).unwrap_or_default());
            }
            return;
        }
        let layout = |&at: &usize| columns.cap_slot[at] == slot::LAYOUT && columns.cap_side[at] == Side::In as u8;
        let rows = captures.clone().find(layout).and_then(|at| bytes_of(columns, at)).map(layout::rows);
        for hash in rows.iter().flatten().filter(|row| !row.has_content()).filter_map(Row::hash) {
            all.add(*hash, self.mapped_path(columns, row));
            all.replayed.insert(*hash);
        }
    }

    /// The path of the descriptor that a call maps; nothing for what maps many files or none by descriptor.
    fn mapped_path(&self, columns: &Columns, row: usize) -> &[u8] {
        const MMAP_FD: u8 = 4;
        let refs = columns.ref_start[row] as usize..columns.ref_start[row + 1] as usize;
        let object = refs.into_iter().find(|&at| columns.ref_slot[at] == MMAP_FD).map(|at| columns.ref_object[at]);
        object.and_then(|index| self.definitions().object(index as usize)).map_or(&[], |object| object.path)
    }

    /// Writes each packed file into `folder` under its hash.
    ///
    /// # Errors
    /// When a file is damaged or cannot be written.
    pub fn extract(&self, folder: &Path) -> Result<Vec<Packed>, EngineError> {
        std::fs::create_dir_all(folder).map_err(|source| EngineError::io("create", folder, source))?;
        let all = self.packed();
        for packed in &all {
            let target = folder.join(packed.hex());
            let (mut file, unfinished) = Unfinished::beside(&target)?;
            self.read_packed(packed, &mut file)?;
            unfinished.rename(&target)?;
        }
        Ok(all)
    }
}

/// Whether an event may tell of a mapped file.
fn may_map(columns: &Columns, row: usize) -> bool {
    match EventKind::from_code(columns.kind[row]) {
        Some(EventKind::Exec | EventKind::Map) => true,
        Some(EventKind::Call) => {
            let arch = Arch::from_code(columns.arch[row]);
            let plan = arch.and_then(|arch| plan::by_number(arch, columns.code[row] as u32));
            plan.is_some_and(|plan| matches!(plan.effect, Effect::Mmap | Effect::Shmat))
        }
        _ => false,
    }
}

/// Bytes of capture `at`; nothing when it has none.
fn bytes_of(columns: &Columns, at: usize) -> Option<&[u8]> {
    let content = columns.cap_content[at];
    (content != NO_CONTENT).then(|| {
        let starts = &columns.content_start[content as usize..=content as usize + 1];
        &columns.bytes[starts[0] as usize..starts[1] as usize]
    })
}

/// Files in the order in which they were met, each once.
#[derive(Default)]
struct MappedFiles {
    files: Vec<Mapped>,
    places: HashMap<Hash, usize>,
    /// Those that replay maps.
    replayed: HashSet<Hash>,
}

impl MappedFiles {
    /// A path that comes later is taken where none was known.
    fn add(&mut self, hash: Hash, path: &[u8]) {
        let place = *self.places.entry(hash).or_insert_with(|| {
            self.files.push(Mapped { hash, path: Vec::new() });
            self.files.len() - 1
        });
        let known = &mut self.files[place].path;
        if known.is_empty() {
            known.extend_from_slice(path);
        }
    }
}

/// Bytes of a piece's payload in front of the file's bytes.
fn piece_head(piece: &ObjectPiece) -> u64 {
    let mut head = Vec::with_capacity(64);
    index::encode_piece(piece, &mut head);
    head.len() as u64
}

/// A file that gets its name when it is whole, and is removed otherwise.
pub(crate) struct Unfinished(Option<PathBuf>);

impl Unfinished {
    pub(crate) fn beside(target: &Path) -> Result<(File, Unfinished), EngineError> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let path = target.with_file_name(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| EngineError::io("create", &path, source))?;
        Ok((file, Unfinished(Some(path))))
    }

    pub(crate) fn rename(mut self, target: &Path) -> Result<(), EngineError> {
        if let Some(path) = &self.0 {
            std::fs::rename(path, target).map_err(|source| EngineError::io("create", target, source))?;
            self.0 = None;
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A packed file in the making.
pub(crate) struct Pieces {
    hash: Hash,
    total: u64,
    offset: u64,
    pending: Vec<u8>,
    hasher: blake3::Hasher,
    written: bool,
}

impl Pieces {
    pub(crate) fn new(hash: Hash, total: u64) -> Pieces {
        Pieces { hash, total, offset: 0, pending: Vec::new(), hasher: blake3::Hasher::new(), written: false }
    }

    pub(crate) fn add(&mut self, mut bytes: &[u8], sink: &mut Sink) {
        self.hasher.update(bytes);
        while !bytes.is_empty() {
            let room = limits::OBJECT_PIECE_BYTES as usize - self.pending.len();
            let (own, other) = bytes.split_at(bytes.len().min(room));
            self.pending.extend_from_slice(own);
            bytes = other;
            if self.pending.len() == limits::OBJECT_PIECE_BYTES as usize {
                self.write(sink);
            }
        }
    }

    fn write(&mut self, sink: &mut Sink) {
        let piece = ObjectPiece { hash: self.hash, offset: self.offset.min(self.total), total: self.total };
        let mut payload = Vec::with_capacity(self.pending.len() + 64);
        index::encode_piece(&piece, &mut payload);
        payload.extend_from_slice(&self.pending);
        let mut stored = Vec::new();
        let codec = sink.compress(&payload, &mut stored);
        let first = sink.entries().iter().filter(|entry| entry.kind() == Some(FrameKind::Object)).count() as u64;
        let header = FrameHeader {
            kind: FrameKind::Object as u8,
            codec: codec as u8,
            stored_len: stored.len() as u32,
            raw_len: payload.len() as u32,
            count: 1,
            first,
            crc: 0,
        };
        sink.stored_frame(header, &stored, Extra::Object(piece));
        self.offset += self.pending.len() as u64;
        self.pending.clear();
        self.written = true;
    }

    /// Writes the last piece. `false` when the bytes were not those that were announced.
    pub(crate) fn end(mut self, sink: &mut Sink) -> bool {
        if !self.pending.is_empty() || !self.written {
            self.write(sink);
        }
        self.offset == self.total && self.hasher.finalize().as_bytes() == &self.hash
    }
}

/// Makes a trace with its mapped files inside: `out`, or the trace itself, which is replaced when all is written.
/// What is missing in the store is left out and reported. A cut trace stays cut.
///
/// # Errors
/// When the trace is being recorded or damaged inside, when `out` exists and `force` is not set, or when something
/// cannot be read or written.
pub fn pack(trace: &Trace, store: &Store, out: Option<&Path>, force: bool) -> Result<PackSummary, EngineError> {
    let present: HashSet<Hash> = trace.packed().iter().map(|packed| packed.hash).collect();
    let mut summary = PackSummary::default();
    let mut extension = Extension::begin(trace, out, force)?;
    for mapped in trace.mapped()? {
        if present.contains(&mapped.hash) {
            summary.present += 1;
        } else if let Some(bytes) = put_stored(&mapped.hash, store, &mut extension.sink)? {
            summary.added += 1;
            summary.bytes += bytes;
        } else {
            summary.missing.push(mapped);
        }
    }
    summary.bytes_total = extension.finish()?;
    Ok(summary)
}

/// Puts one file into the trace; `None` when the store does not have it as it was.
fn put_stored(hash: &Hash, store: &Store, sink: &mut Sink) -> Result<Option<u64>, EngineError> {
    let Some(path) = store.get(hash) else { return Ok(None) };
    let cannot = |source| EngineError::io("read", &path, source);
    put_in(hash, &File::open(&path).map_err(cannot)?, sink).map_err(cannot)
}

/// Puts a file into the trace; `None` when its content is not what the hash says.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn put_in(hash: &Hash, mut file: &File, sink: &mut Sink) -> io::Result<Option<u64>> {
    file.rewind()?;
    // Verified before anything is written: a damaged object must not get into the trace.
    if !read_verified(file, hash, |_| {}, 256 << 10)? {
        return Ok(None);
    }
    let total = file.stream_position()?;
    file.rewind()?;
    let mut pieces = Pieces::new(*hash, total);
    let whole = read_verified(file, hash, |bytes| pieces.add(bytes, sink), 256 << 10)?;
    // Where it changed between the two readings, what was written is ignored, since its hash does not fit.
    Ok((pieces.end(sink) && whole).then_some(total))
}
