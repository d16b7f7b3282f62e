//! The bytes of program files: mapped into memory from the object store, or unpacked from the trace. Nothing that a trace
//! names by path is opened.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use memmap2::Mmap;

use crate::pack::Packed;
use crate::reader::Trace;
use crate::store::{Hash, Store};

/// Largest packed file that is unpacked into memory.
const MAX_PACKED: u64 = 1 << 30;

/// The bytes of one file.
#[derive(Debug)]
pub enum Binary {
    /// Pages of a file that nobody writes to.
    Mapped(Mmap),
    /// Unpacked, or decompressed.
    Owned(Vec<u8>),
}

impl Binary {
    /// Maps a file; `None` when it is none, cannot be read or is empty.
    ///
    /// Meant for files that are replaced and not rewritten: objects of the store, debug information of packages.
    #[must_use]
    pub fn map(path: &Path) -> Option<Binary> {
        // Some devices do something when they are opened, and the name may come from a file that nobody vouches for.
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        // It may have become something else meanwhile: a pipe would make this wait.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).ok()?;
        file.metadata().ok().filter(|meta| meta.is_file() && meta.len() > 0)?;
        // SAFETY: objects of the store never change once they have their name, and package managers put new files in the
        // place of old ones, so that the pages stay what they are while they are mapped.
        let mapped = unsafe { Mmap::map(&file) }.ok()?;
        Some(Binary::Mapped(mapped))
    }
}

impl Deref for Binary {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Binary::Mapped(mapped) => mapped,
            Binary::Owned(bytes) => bytes,
        }
    }
}

/// The files that a trace names by hash.
pub struct Binaries<'a> {
    trace: &'a Trace,
    store: Store,
    packed: HashMap<Hash, Packed>,
}

impl<'a> Binaries<'a> {
    #[must_use]
    pub fn new(trace: &'a Trace, store: Store) -> Binaries<'a> {
        let packed = trace.packed().into_iter().map(|packed| (packed.hash, packed)).collect();
        Binaries { trace, store, packed }
    }

    /// The file with this hash; `None` when neither the store nor the trace has it.
    #[must_use]
    pub fn get(&self, hash: &Hash) -> Option<Binary> {
        if let Some(mapped) = self.store.get(hash).and_then(|path| Binary::map(&path)) {
            return Some(mapped);
        }
        let packed = self.packed.get(hash).filter(|packed| packed.total <= MAX_PACKED)?;
        let mut bytes = Vec::new();
        self.trace.read_packed(packed, &mut bytes).ok()?;
        Some(Binary::Owned(bytes))
    }
}
