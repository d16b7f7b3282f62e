//! Memory that several recorded processes had mapped shared: a file in memory for each device and inode.

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
pub struct Shared(HashMap<(u64, u64), File>);

impl Shared {
    /// The file behind a shared mapping, with the content that it had when it was mapped.
    ///
    /// # Errors
    /// When the content is missing, or memory is short.
    pub fn file(&mut self, row: &Row, files: &Files<'_>) -> Result<BorrowedFd<'_>, EngineError> {
        let failed = |error: io::Error| {
            EngineError::replay("refused", format!("cannot make shared memory for the replay: {error}"), Vec::new())
        };
        let file: &File = match self.0.entry((row.dev, row.ino)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(sys::memory_file(c"trace-shared", 0).map_err(failed)?),
        };
        if let Some(hash) = row.hash() {
            let content = files.get(hash)?;
            let source = File::from(content.descriptor().try_clone_to_owned().map_err(failed)?);
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
        self.0.contains_key(&(row.dev, row.ino))
    }

    /// A call has changed the size of a file, which may be mapped.
    pub fn resize(&self, dev: u64, ino: u64, size: u64) {
        if let Some(file) = self.0.get(&(dev, ino)) {
            // Failing means that a mapping ends too early, which shows as a desync where it matters.
            let _ = file.set_len(size.min(MOST_BYTES));
        }
    }

    /// A call has made a file at least this long.
    pub fn grow(&self, dev: u64, ino: u64, size: u64) {
        if self.0.get(&(dev, ino)).is_some_and(|file| file.metadata().is_ok_and(|meta| meta.len() < size)) {
            self.resize(dev, ino, size);
        }
    }

    /// A call has allocated or released a part of a file, fallocate(2).
    pub fn allocate(&self, dev: u64, ino: u64, mode: i32, offset: u64, length: u64) {
        if let Some(file) = self.0.get(&(dev, ino))
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
        end <= MOST_BYTES && self.0.values().find(own).is_some_and(|file| file.write_all_at(bytes, offset).is_ok())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
