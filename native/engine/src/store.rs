//! The object store: mapped files, each once per content, under the user's cache folder.
//!
//! A trace names them by BLAKE3 hash. Objects never change and have no other name than their hash; a file in the
//! making has a name of its own until it is whole, so that any number of recorders may use the store at once.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::error::EngineError;
use crate::unseen;

/// A BLAKE3 hash of a whole file.
pub type Hash = [u8; 32];

/// Files that changed within this many nanoseconds are hashed again the next time: the clock of the file system is
/// too coarse to tell whether they changed since.
pub const RACY_NS: i128 = 2_000_000_000;

/// What a file is known by as long as it does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    dev: u64,
    ino: u64,
    size: u64,
    mtime_ns: i128,
    ctime_ns: i128,
}

impl Identity {
    fn of(file: &File) -> io::Result<Identity> {
        let meta = file.metadata()?;
        let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Ok(Identity {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.len(),
            mtime_ns: time(meta.mtime(), meta.mtime_nsec()),
            ctime_ns: time(meta.ctime(), meta.ctime_nsec()),
        })
    }

    fn is_settled(&self) -> bool {
        let now = i128::from(crate::sys::realtime());
        self.ctime_ns.max(self.mtime_ns) + RACY_NS < now
    }

    fn name(&self) -> String {
        format!("{:x}-{:x}-{:x}-{:x}-{:x}", self.dev, self.ino, self.size, self.mtime_ns, self.ctime_ns)
    }
}

/// Of a user's caches.
const OBJECTS: &str = "trace/objects";
/// Changes with how sites are patched, and with what is noted of them.
const PATCHED: &str = "patched-2";

/// A folder of objects.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// The folder that it is in, where others may have made that: nothing of theirs is used.
    among_others: Option<PathBuf>,
    known: Mutex<HashMap<Identity, Hash>>,
    fallback: Option<Box<Fallback>>,
}

/// A folder of its own for one recording, used from the moment on at which the store cannot be written. Its objects are to be packed into
/// the trace, and it goes with its owner.
#[derive(Debug)]
struct Fallback {
    store: Store,
    /// Objects that are not packed yet.
    fresh: Mutex<Vec<Hash>>,
    /// Why the store could not be written.
    reason: OnceLock<EngineError>,
}

impl Drop for Fallback {
    fn drop(&mut self) {
        if self.reason.get().is_some() {
            let _ = std::fs::remove_dir_all(&self.store.root);
        }
    }
}

/// Removes an unfinished file.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn open_to_keep(path: &Path) -> Result<File, EngineError> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    options.open(path).map_err(|source| EngineError::io("open", path, source))
}

impl Store {
    /// The user's store: `trace/objects` in `$XDG_CACHE_HOME`, or in `.cache` of the home folder.
    #[must_use]
    pub fn of_user() -> Store {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        cache.map_or_else(
            || Store::among_others(&std::env::temp_dir().join(format!("cache-{}", user_id()))),
            |cache| Store::at(&cache.join(OBJECTS)),
        )
    }

    /// The store in a folder that anybody may make: only when it is the user's own is it used.
    fn among_others(cache: &Path) -> Store {
        Store { among_others: Some(cache.to_owned()), ..Store::at(&cache.join(OBJECTS)) }
    }

    /// Whether nobody else can have put anything there.
    fn is_own(&self) -> bool {
        const OTHERS_WRITE: u32 = 0o022;
        let Some(folder) = &self.among_others else { return true };
        match folder.symlink_metadata() {
            Ok(meta) => meta.is_dir() && meta.uid() == user_id() && meta.mode() & OTHERS_WRITE == 0,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// The store in a folder, which is made when it is needed.
    #[must_use]
    pub fn at(root: &Path) -> Store {
        Store { root: root.to_owned(), among_others: None, known: Mutex::default(), fallback: None }
    }

    /// The same with a folder beside the trace `output` for what cannot be written to the store: it is often read-only where programs are
    /// built and tested, or the user has no home. Its objects have to be packed, see [`Store::to_pack`].
    #[must_use]
    pub fn or_beside(self, output: &Path) -> Store {
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(format!(".objects-{}", std::process::id()));
        let store = Store::at(&output.with_file_name(name));
        let fallback = Fallback { store, fresh: Mutex::default(), reason: OnceLock::new() };
        Store { fallback: Some(Box::new(fallback)), ..self }
    }

    /// The objects that were kept beside the trace since this was asked last; errors stand for those that are not there any more.
    #[must_use]
    pub fn to_pack(&self) -> Vec<Result<(Hash, File), EngineError>> {
        let Some(fallback) = &self.fallback else { return Vec::new() };
        let fresh = std::mem::take(&mut *fallback.fresh.lock().unwrap_or_else(PoisonError::into_inner));
        let opened = |hash: Hash| {
            let path = fallback.store.object_path(&hash);
            File::open(&path).map(|file| (hash, file)).map_err(|source| EngineError::io("open", &path, source))
        };
        fresh.into_iter().map(opened).collect()
    }

    /// Why objects are kept beside the trace, if they are.
    #[must_use]
    pub fn unwritable(&self) -> Option<&EngineError> {
        self.fallback.as_ref()?.reason.get()
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn object_path(&self, hash: &Hash) -> PathBuf {
        let hex = blake3::Hash::from_bytes(*hash).to_hex();
        self.root.join(&hex[..2]).join(&hex[2..])
    }

    /// The object with this hash.
    #[must_use]
    pub fn get(&self, hash: &Hash) -> Option<PathBuf> {
        let path = self.object_path(hash);
        let is_there = self.is_own() && path.symlink_metadata().is_ok_and(|meta| meta.is_file());
        let own = is_there.then_some(path);
        own.or_else(|| self.fallback.as_ref()?.store.get(hash))
    }

    /// Makes sure that the content of a file is in the store.
    ///
    /// # Errors
    /// When the file cannot be read or the store cannot be written.
    pub fn put(&self, path: &Path) -> Result<Hash, EngineError> {
        self.put_file(&open_to_keep(path)?, path)
    }

    /// As [`Store::put`], for a file whose times do not tell whether it has changed.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn put_afresh(&self, path: &Path) -> Result<Hash, EngineError> {
        self.copy_in(&open_to_keep(path)?, path)
    }

    /// As [`Store::put`], for an open file; `path` is for errors.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn put_file(&self, file: &File, path: &Path) -> Result<Hash, EngineError> {
        let unreadable = |source| EngineError::io("read", path, source);
        let identity = Identity::of(file).map_err(unreadable)?;
        if let Some(hash) = self.recall(&identity) {
            return Ok(hash);
        }
        let hash = self.copy_in(file, path)?;
        if identity.is_settled() && Identity::of(file).is_ok_and(|after| after == identity) {
            self.remember(&identity, &hash);
        }
        Ok(hash)
    }

    /// The hash of an unchanged file whose object is still there.
    fn recall(&self, identity: &Identity) -> Option<Hash> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hash) = known.get(identity) {
            return self.get(hash).is_some().then_some(*hash);
        }
        if !self.is_own() {
            return None;
        }
        let text = std::fs::read_to_string(self.root.join("known").join(identity.name())).ok()?;
        let hash = *blake3::Hash::from_hex(text.trim()).ok()?.as_bytes();
        self.get(&hash)?;
        known.insert(*identity, hash);
        Some(hash)
    }

    /// Best effort: without it the file is hashed again.
    fn remember(&self, identity: &Identity, hash: &Hash) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(*identity, *hash);
        self.write_note("known", &identity.name(), &blake3::Hash::from_bytes(*hash).to_hex());
    }

    /// Best effort: a small text that is found again under its folder and name.
    fn write_note(&self, folder: &str, name: &str, text: &str) {
        let folder = self.root.join(folder);
        let _ = self.unfinished().and_then(|(mut file, unfinished)| {
            file.write_all(text.as_bytes())?;
            make_folder(&folder)?;
            std::fs::rename(&unfinished.0, folder.join(name))
        });
    }

    /// The instructions of a file whose results have to be seen, worked out once for each content.
    pub(crate) fn unseen_sites(&self, file: &File, hash: &Hash) -> Vec<unseen::Site> {
        /// Changes with what is looked for.
        const FOLDER: &str = "unseen-1";
        let known = self.note(FOLDER, hash);
        known.and_then(|text| unseen::from_text(&text)).unwrap_or_else(|| {
            let sites = unseen::sites(file);
            self.write_note_of(FOLDER, hash, &unseen::to_text(&sites));
            sites
        })
    }

    /// What an earlier recording has noted about the calls in a file's code, see `agent::known`.
    pub(crate) fn patched_sites(&self, hash: &Hash) -> Option<String> {
        self.note(PATCHED, hash)
    }

    pub(crate) fn note_patched_sites(&self, hash: &Hash, text: &str) {
        self.write_note_of(PATCHED, hash, text);
    }

    /// The text in a folder about a content.
    fn note(&self, folder: &str, hash: &Hash) -> Option<String> {
        /// None is nearly as long; one that is, is not what was written there.
        const MOST: u64 = 1 << 20;
        if !self.is_own() {
            return None;
        }
        let path = self.root.join(folder).join(blake3::Hash::from_bytes(*hash).to_hex().as_str());
        let mut text = String::new();
        File::open(path).ok()?.take(MOST).read_to_string(&mut text).ok()?;
        Some(text).filter(|text| (text.len() as u64) < MOST)
    }

    fn write_note_of(&self, folder: &str, hash: &Hash, text: &str) {
        self.write_note(folder, &blake3::Hash::from_bytes(*hash).to_hex(), text);
    }

    fn unfinished(&self) -> io::Result<(File, Unfinished)> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        make_folder(&self.root)?;
        if !self.is_own() {
            return Err(io::Error::other("the folder is somebody else's, or others may write there"));
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(format!("new-{}-{number}", std::process::id()));
        let open = || OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        // One that is left over from a process of the same number is of no use to anybody.
        let file = open().or_else(|_| std::fs::remove_file(&path).and_then(|()| open()))?;
        Ok((file, Unfinished(path)))
    }

    fn copy_in(&self, file: &File, path: &Path) -> Result<Hash, EngineError> {
        let Some(fallback) = &self.fallback else { return self.copy_to_root(file, path) };
        let failure = match fallback.reason.get() {
            Some(_) => None,
            None => match self.copy_to_root(file, path) {
                Ok(hash) => return Ok(hash),
                Err(failure) => Some(failure),
            },
        };
        match (fallback.store.copy_to_root(file, path), failure) {
            (Ok(hash), failure) => {
                if let Some(failure) = failure {
                    let _ = fallback.reason.set(failure);
                }
                fallback.fresh.lock().unwrap_or_else(PoisonError::into_inner).push(hash);
                Ok(hash)
            }
            (Err(_), Some(failure)) | (Err(failure), None) => Err(failure),
        }
    }

    fn copy_to_root(&self, file: &File, path: &Path) -> Result<Hash, EngineError> {
        let unwritable = |source| EngineError::io("write to the object store", &self.root, source);
        let (mut copy, unfinished) = self.unfinished().map_err(unwritable)?;
        // The hash is taken of the copy, so that it fits even when the file changes meanwhile.
        if !clone_file(file, &copy) {
            use std::os::unix::fs::FileExt;
            let mut buffer = vec![0; 256 << 10];
            let mut offset = 0;
            loop {
                let count =
                    file.read_at(&mut buffer, offset).map_err(|source| EngineError::io("read", path, source))?;
                if count == 0 {
                    break;
                }
                copy.write_all(&buffer[..count]).map_err(unwritable)?;
                offset += count as u64;
            }
        }
        let hash = hash_file(&copy).map_err(unwritable)?;
        let target = self.object_path(&hash);
        if self.get(&hash).is_none() {
            if let Some(folder) = target.parent() {
                make_folder(folder).map_err(unwritable)?;
            }
            copy.set_permissions(Permissions::from_mode(0o400)).map_err(unwritable)?;
            std::fs::rename(&unfinished.0, &target).map_err(unwritable)?;
        }
        Ok(hash)
    }
}

/// A folder for its owner alone: what programs have mapped is nobody else's business.
fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn hash_file(file: &File) -> io::Result<Hash> {
    use std::os::unix::fs::FileExt;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    let mut offset = 0;
    loop {
        let count = file.read_at(&mut buffer, offset)?;
        if count == 0 {
            return Ok(*hasher.finalize().as_bytes());
        }
        hasher.update(&buffer[..count]);
        offset += count as u64;
    }
}

/// Shares the blocks of the file, where the file system can.
fn clone_file(from: &File, to: &File) -> bool {
    // SAFETY: FICLONE takes a descriptor as its argument; both belong to files that outlive the call.
    unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) == 0 }
}

fn user_id() -> u32 {
    // SAFETY: getuid takes nothing and cannot fail.
    unsafe { libc::getuid() }
}

/// Copies an object and verifies its hash on the way. `false` when it is not what its name says.
pub(crate) fn read_verified(
    mut from: impl Read,
    hash: &Hash,
    mut piece: impl FnMut(&[u8]),
    piece_bytes: usize,
) -> io::Result<bool> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; piece_bytes];
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match from.read(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        if filled == 0 {
            return Ok(hasher.finalize().as_bytes() == hash);
        }
        hasher.update(&buffer[..filled]);
        piece(&buffer[..filled]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_used_where_others_may_write() {
        let folder = std::env::temp_dir().join(format!("trace-store-{}", std::process::id()));
        let allow = |mode| std::fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        let store = Store::among_others(&folder.join("cache"));
        std::fs::create_dir_all(&folder).unwrap();
        let program = Path::new("/proc/self/exe");
        // Nobody has made it yet: it is made for its owner alone.
        let hash = store.put(program).unwrap();
        assert!(store.get(&hash).is_some());
        let other = Store::among_others(&folder);
        allow(0o777);
        assert!(other.put(program).unwrap_err().to_string().contains("object store"));
        allow(0o700);
        let hash = other.put(program).unwrap();
        other.write_note(PATCHED, "name", "text");
        assert!(other.get(&hash).is_some());
        allow(0o770);
        assert_eq!((other.get(&hash), other.put(program).is_ok()), (None, false));
        allow(0o700);
        // Nor is what a link leads to.
        std::os::unix::fs::symlink(&folder, folder.join("link")).unwrap();
        let linked = Store::among_others(&folder.join("link"));
        assert_eq!((linked.get(&hash), linked.put(program).is_ok()), (None, false));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
