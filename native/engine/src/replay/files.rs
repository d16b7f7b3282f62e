//! The files that recorded programs had mapped: by hash, from the trace itself or from the object store. Nothing that a
//! trace names by path is ever opened.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{EngineError, Fact};
use crate::image::Mapping;
use crate::pack::Packed;
use crate::reader::Trace;
use crate::store::{Hash, Store, read_verified};
use crate::sys;

/// Most files that are kept open.
const MOST_OPEN: usize = 256;

/// An open file of the object store, or a copy in memory of one that is packed in the trace.
#[derive(Debug)]
pub struct Content {
    file: OwnedFd,
    /// Verified when it was copied.
    is_copy: bool,
}

impl Content {
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The files of one trace, for all replaying threads.
pub struct Files<'a> {
    trace: &'a Trace,
    store: Store,
    packed: HashMap<Hash, Packed>,
    open: Mutex<HashMap<Hash, Arc<Content>>>,
    /// Which content a copy in memory has, by its inode.
    copies: Mutex<HashMap<u64, Hash>>,
}

impl<'a> Files<'a> {
    #[must_use]
    pub fn new(trace: &'a Trace, store: Store) -> Files<'a> {
        let packed = trace.packed().into_iter().map(|packed| (packed.hash, packed)).collect();
        Files { trace, store, packed, open: Mutex::default(), copies: Mutex::default() }
    }

    /// The file with this hash.
    ///
    /// # Errors
    /// `missing-object` when neither the trace nor the store has it.
    pub fn get(&self, hash: &Hash) -> Result<Arc<Content>, EngineError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = open.get(hash) {
            return Ok(Arc::clone(content));
        }
        let content = Arc::new(self.find(hash)?);
        keep(&mut open, hash, &content);
        Ok(content)
    }

    /// A file whose content stands in an event, to be had by its hash from now on.
    ///
    /// # Errors
    /// `missing-object` when the content is not what the hash says.
    pub fn supply(&self, hash: &Hash, bytes: &[u8]) -> Result<(), EngineError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.contains_key(hash) {
            return Ok(());
        }
        if blake3::hash(bytes).as_bytes() != hash {
            return Err(self.missing(hash));
        }
        let content = Arc::new(self.copy(hash, |target| target.write_all(bytes))?);
        keep(&mut open, hash, &content);
        Ok(())
    }

    /// The same content as a file in memory: for a store on a file system from which nothing may be executed.
    ///
    /// # Errors
    /// As [`Files::get`].
    pub fn get_copy(&self, hash: &Hash) -> Result<Arc<Content>, EngineError> {
        let content = self.get(hash)?;
        if content.is_copy {
            return Ok(content);
        }
        let copy = Arc::new(self.copy(hash, |target| {
            let mut source = File::from(content.file.try_clone()?);
            std::io::Seek::rewind(&mut source)?;
            std::io::copy(&mut source, target).map(drop)
        })?);
        keep(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner), hash, &copy);
        Ok(copy)
    }

    fn find(&self, hash: &Hash) -> Result<Content, EngineError> {
        if let Some(packed) = self.packed.get(hash) {
            let mut failure = None;
            let content = self.copy(hash, |target| {
                self.trace.read_packed(packed, target).map_err(|error| {
                    let text = error.to_string();
                    failure = Some(error);
                    std::io::Error::other(text)
                })
            });
            return failure.map_or(content, Err);
        }
        let path = self.store.get(hash).ok_or_else(|| self.missing(hash))?;
        match File::open(&path) {
            Ok(file) => Ok(Content { file: file.into(), is_copy: false }),
            // Others may remove objects.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(self.missing(hash)),
            Err(source) => Err(EngineError::io("open", &path, source)),
        }
    }

    fn copy(&self, hash: &Hash, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<Content, EngineError> {
        let unwritable = |source| EngineError::io("copy a mapped file to memory from", self.trace.path(), source);
        let mut file = sys::memory_file(c"trace-object", 0).map_err(unwritable)?;
        fill(&mut file).and_then(|()| file.flush()).map_err(|error| match error.raw_os_error() {
            Some(_) => unwritable(error),
            None => self.missing(hash),
        })?;
        if let Ok(meta) = file.metadata() {
            self.copies.lock().unwrap_or_else(PoisonError::into_inner).insert(meta.ino(), *hash);
        }
        Ok(Content { file: file.into(), is_copy: true })
    }

    /// Whether all of them are there, also those that no exec maps.
    ///
    /// # Errors
    /// `missing-object` with the first that is not; when a block is damaged.
    pub fn demand_all(&self) -> Result<(), EngineError> {
        let missing = self.trace.missing(&self.store)?;
        missing.first().map_or(Ok(()), |first| Err(self.missing(&first.hash)))
    }

    fn missing(&self, hash: &Hash) -> EngineError {
        let hex = blake3::Hash::from_bytes(*hash).to_hex().to_string();
        let name = self.name(hash);
        let what = name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        let message = format!(
            "the mapped file{what} is neither in the trace nor in the object store (BLAKE3 {hex}, {}); run `trace pack` \
             on the machine of the recording, which puts such files into the trace",
            self.store.root().display()
        );
        let mut facts = vec![("hash", Fact::Text(hex))];
        facts.extend(name.map(|name| ("path", Fact::Text(name))));
        EngineError::replay("missing-object", message, facts)
    }

    /// The content of a file that a replayed process has mapped, as far as the name of the mapping tells: it is one of the
    /// store, or a copy in memory.
    #[must_use]
    pub fn hash_behind(&self, mapping: &Mapping) -> Option<Hash> {
        let path = Path::new(OsStr::from_bytes(&mapping.path));
        if mapping.path.starts_with(b"/memfd:") {
            return self.copies.lock().unwrap_or_else(PoisonError::into_inner).get(&mapping.ino).copied();
        }
        let mut parts = path.iter().rev();
        let (rest, start) = (parts.next()?.to_str()?, parts.next()?.to_str()?);
        blake3::Hash::from_hex(format!("{start}{rest}")).ok().map(|hash| *hash.as_bytes())
    }

    /// What the recorded machine called the file, as far as the trace tells.
    fn name(&self, hash: &Hash) -> Option<String> {
        let mapped = self.trace.mapped().ok()?;
        let found = mapped.iter().find(|mapped| mapped.hash == *hash)?;
        Some(String::from_utf8_lossy(&found.path).into_owned())
    }

    /// The opened files whose content is not what their hash says: looked for when a replay has gone astray.
    #[must_use]
    pub fn damaged(&self) -> Vec<String> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter()
            .filter(|(hash, content)| !content.is_copy && !is_whole(hash, content))
            .map(|(hash, _)| {
                let hex = blake3::Hash::from_bytes(*hash).to_hex();
                let name = self.name(hash).unwrap_or_default();
                format!("the object {hex} of the store ({name}) is damaged; record again, or `trace pack` elsewhere")
            })
            .collect()
    }
}

/// Who uses one that is let go keeps it open.
fn keep(open: &mut HashMap<Hash, Arc<Content>>, hash: &Hash, content: &Arc<Content>) {
    if open.len() >= MOST_OPEN {
        open.clear();
    }
    open.insert(*hash, Arc::clone(content));
}

fn is_whole(hash: &Hash, content: &Content) -> bool {
    struct At<'a>(&'a File, u64);
    impl std::io::Read for At<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let got = std::os::unix::fs::FileExt::read_at(self.0, buffer, self.1)?;
            self.1 += got as u64;
            Ok(got)
        }
    }
    let Ok(file) = content.file.try_clone().map(File::from) else { return true };
    read_verified(At(&file, 0), hash, |_| {}, 1 << 20).unwrap_or(true)
}
