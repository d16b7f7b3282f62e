//! Memory that several recorded processes had mapped shared: a file in memory for each device and inode.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use super::files::Files;
use super::kernel;
use crate::error::EngineError;
use crate::layout::Row;
use crate::sys;

/// Largest shared file that is made for a row without content; a trace may ask for any size.
const MOST_BYTES: u64 = 1 << 40;

/// The shared memory of the processes that one thread replays.
#[derive(Default)]
pub struct Shared {
    /// By device and inode.
    files: HashMap<(u64, u64), File>,
    /// How often a file has become shorter.
    cuts: Cell<u64>,
}

/// What was in shared memory at some moment.
pub struct Content {
    files: Vec<Former>,
    cuts: u64,
}

/// What was in a file: all that is in no piece was zero.
struct Former {
    key: (u64, u64),
    length: u64,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Shared {
    /// The file behind a shared mapping, with the content that it had when it was mapped.
    ///
    /// # Errors
    /// When the content is missing, or memory is short.
    pub fn file(&mut self, row: &Row, files: &Files<'_>) -> Result<BorrowedFd<'_>, EngineError> {
        let failed = |error: io::Error| {
            EngineError::replay("refused", format!("cannot make shared memory for the replay: {error}"), Vec::new())
        };
        let file: &File = match self.files.entry((row.dev, row.ino)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(sys::memory_file(c"trace-shared", 0).map_err(failed)?),
        };
        if let Some(hash) = row.hash() {
            let content = files.get(hash)?;
            let source = File::from(content.descriptor().try_clone_to_owned().map_err(failed)?);
            if file.metadata().map_err(failed)?.len() > source.metadata().map_err(failed)?.len() {
                self.cuts.set(self.cuts.get() + 1);
            }
            copy(&source, file).map_err(failed)?;
        } else if let Some(size) = row.sparse_size() {
            file.set_len(size.min(MOST_BYTES)).map_err(failed)?;
        } else if !row.is_short() {
            let needed = row.offset.saturating_add(row.length()).min(MOST_BYTES);
            if file.metadata().map_err(failed)?.len() < needed {
                file.set_len(needed).map_err(failed)?;
            }
        }
        Ok(file.as_fd())
    }

    /// Whether the file of a mapping is mapped shared by somebody.
    #[must_use]
    pub fn has(&self, row: &Row) -> bool {
        self.files.contains_key(&(row.dev, row.ino))
    }

    /// A call has changed the size of a file, which may be mapped.
    pub fn resize(&self, dev: u64, ino: u64, size: u64) {
        if let Some(file) = self.files.get(&(dev, ino)) {
            if file.metadata().is_ok_and(|meta| meta.len() > size) {
                self.cuts.set(self.cuts.get() + 1);
            }
            // Failing means that a mapping ends too early, which shows as a desync where it matters.
            let _ = file.set_len(size.min(MOST_BYTES));
        }
    }

    /// A call has made a file at least this long.
    pub fn grow(&self, dev: u64, ino: u64, size: u64) {
        if self.files.get(&(dev, ino)).is_some_and(|file| file.metadata().is_ok_and(|meta| meta.len() < size)) {
            self.resize(dev, ino, size);
        }
    }

    /// A call has allocated or released a part of a file, fallocate(2).
    pub fn allocate(&self, dev: u64, ino: u64, mode: i32, offset: u64, length: u64) {
        if let Some(file) = self.files.get(&(dev, ino))
            && offset.saturating_add(length) <= MOST_BYTES
        {
            kernel::allocate(file.as_fd(), mode, offset as i64, length as i64);
        }
    }

    /// Writes to the file with this device and inode here; whether there is one.
    pub fn write(&self, known: (u64, u64), offset: u64, bytes: &[u8]) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let own = |file: &&File| file.metadata().is_ok_and(|meta| (meta.dev(), meta.ino()) == known);
        let end = offset.saturating_add(bytes.len() as u64);
        end <= MOST_BYTES && self.files.values().find(own).is_some_and(|file| file.write_all_at(bytes, offset).is_ok())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What is in all of it now; `None` where that is more than `most` bytes, or cannot be read.
    #[must_use]
    pub fn content(&self, most: u64) -> Option<Content> {
        let mut left = most;
        let files = self.files.iter().map(|(key, file)| {
            let length = file.metadata().ok()?.len();
            let mut pieces = Vec::new();
            let mut at = 0;
            while let Some((start, end)) = kernel::data_behind(file.as_fd(), at).ok()? {
                left = left.checked_sub(end - start)?;
                let mut bytes = vec![0; (end - start) as usize];
                file.read_exact_at(&mut bytes, start).ok()?;
                pieces.push((start, bytes));
                at = end;
            }
            Some(Former { key: *key, length, pieces })
        });
        Some(Content { files: files.collect::<Option<_>>()?, cuts: self.cuts.get() })
    }

    /// Whether [`Shared::go_back`] leads there: where a file has become shorter, pages that processes had written to for themselves are gone.
    #[must_use]
    pub fn can_go_back(&self, to: &Content) -> bool {
        self.cuts.get() == to.cuts
    }

    /// All is as it was. Nobody runs who sees it. The files that were not there then, by device and inode: they are none any more.
    ///
    /// # Errors
    /// When memory is short.
    pub fn go_back(&mut self, to: &Content) -> io::Result<Vec<(u64, u64)>> {
        let mut gone: Vec<(u64, u64)> = self.files.keys().copied().collect();
        gone.retain(|key| to.files.iter().all(|former| former.key != *key));
        for key in &gone {
            self.files.remove(key);
        }
        for former in &to.files {
            let Some(file) = self.files.get(&former.key) else { continue };
            let length = file.metadata()?.len();
            if length != former.length {
                file.set_len(former.length)?;
            }
            // What processes have for themselves in private mappings stays, unlike when a file is truncated.
            let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            kernel::allocate(file.as_fd(), mode, 0, i64::try_from(former.length).unwrap_or(i64::MAX));
            for (start, bytes) in &former.pieces {
                file.write_all_at(bytes, *start)?;
            }
        }
        Ok(gone)
    }
}

/// Makes `to` what `from` is; pages that are equal already are not written. Where it has that length already, what is in the last page
/// behind its end stays: truncation would clear that.
fn copy(from: &File, to: &File) -> io::Result<()> {
    let length = from.metadata()?.len();
    if to.metadata()?.len() != length {
        to.set_len(length)?;
    }
    let (mut wanted, mut present) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    loop {
        let got = from.read_at(&mut wanted, at)?;
        if got == 0 {
            return Ok(());
        }
        to.read_exact_at(&mut present[..got], at)?;
        if wanted[..got] != present[..got] {
            to.write_all_at(&wanted[..got], at)?;
        }
        at += got as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[((u64, u64), &[u8])]) -> Shared {
        let mut shared = Shared::default();
        for (key, bytes) in files {
            let file = sys::memory_file(c"trace-test", 0).unwrap();
            file.write_all_at(bytes, 0).unwrap();
            shared.files.insert(*key, file);
        }
        shared
    }

    fn read(shared: &Shared, key: (u64, u64)) -> Vec<u8> {
        let file = &shared.files[&key];
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn shared_memory_goes_back_to_what_it_was() {
        let mut shared = with(&[((1, 1), b"first"), ((1, 2), b"second")]);
        // A file with a hole, of which only the end is kept.
        shared.files[&(1, 2)].write_all_at(b"end", 1 << 30).unwrap();
        let before = shared.content(1 << 20).unwrap();
        assert!(shared.content(4096).is_none(), "that is less than there is");
        shared.files[&(1, 1)].write_all_at(b"F", 0).unwrap();
        shared.files[&(1, 2)].write_all_at(b"hole", 1 << 20).unwrap();
        shared.grow(1, 1, 10_000);
        shared.files.insert((1, 3), sys::memory_file(c"trace-test", 0).unwrap());
        assert!(shared.can_go_back(&before));
        assert_eq!(shared.go_back(&before).unwrap(), [(1, 3)]);
        assert_eq!(read(&shared, (1, 1)), b"first");
        let mut hole = [1; 4];
        shared.files[&(1, 2)].read_exact_at(&mut hole, 1 << 20).unwrap();
        assert_eq!(hole, [0; 4]);
        assert_eq!(shared.files[&(1, 2)].metadata().unwrap().len(), (1 << 30) + 3);
    }

    #[test]
    fn nothing_leads_back_behind_a_cut() {
        let shared = with(&[((1, 1), b"content")]);
        let before = shared.content(1 << 20).unwrap();
        shared.resize(1, 1, 100);
        assert!(shared.can_go_back(&before));
        shared.resize(1, 1, 3);
        assert!(!shared.can_go_back(&before));
    }
}
