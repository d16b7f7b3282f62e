//! Mapped files that somebody outside of the recording changes: pages that the program has not looked at yet show the new
//! content, and nothing tells when that was. What can be noticed is that the file is another one when it is unmapped,
//! or its process ends, than it was when it was mapped; such a recording cannot be replayed, and says so.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use super::World;
use crate::capture::Call;
use crate::image::Mapping;
use crate::task::{Space, Task};

/// A file as it was when it was mapped.
pub(super) struct Mapped {
    path: PathBuf,
    state: State,
    /// Of its content, where that was kept.
    hash: Option<[u8; 32]>,
}

/// What tells that a file was written to: the time of the last change, seconds and nanoseconds, and its size.
pub(super) type State = (i64, i64, u64);

fn state_of(meta: &Metadata) -> State {
    (meta.mtime(), meta.mtime_nsec(), meta.len())
}

impl World {
    /// A call has mapped a file, whose content has this hash.
    pub(super) fn watch_mapped(&mut self, mapping: &Mapping, file: &Path, hash: Option<[u8; 32]>) {
        let meta = self.images.state_of_mapping(mapping, || file.to_owned());
        if let Some(state) = meta.as_ref().map(state_of) {
            self.watch_mapped_as(mapping, state, hash);
        }
    }

    /// The same, of a file that was in this state: seconds and nanoseconds of the last change, and size.
    pub(super) fn watch_mapped_as(&mut self, mapping: &Mapping, state: State, hash: Option<[u8; 32]>) {
        let key = (mapping.dev, mapping.ino);
        let Some(known) = self.shared_files.get(&key) else { return };
        if known.as_mapped.as_ref().is_some_and(|before| before.state != state) {
            // Mapped before, maybe by somebody who still looks at it.
            self.check_mapped(key);
        }
        let path = PathBuf::from(OsStr::from_bytes(&mapping.path));
        if let Some(known) = self.shared_files.get_mut(&key) {
            known.as_mapped = Some(Mapped { path, state, hash });
        }
    }

    /// Whether a task has just mapped another part of a file, so that it is noticed at the end if that has changed since.
    pub(super) fn is_watched(&self, task: &Task, file: (u64, u64)) -> bool {
        /// A loader maps the parts of a file one after the other.
        const LAST: usize = 8;
        let is_same = |known: &super::Sharing| known.as_mapped.is_some() && !known.changed && !known.written;
        self.shared_files.get(&file).is_some_and(is_same)
            && task.space.borrow().shared_files.iter().rev().take(LAST).any(|mapped| (mapped.dev, mapped.ino) == file)
    }

    /// A call of the program's own changes a file: what follows from that is in its event.
    pub(super) fn changes_by_itself(&mut self, task: &Task, call: &Call, result: i64) {
        if self.shared_files.is_empty() {
            return;
        }
        let fd = match call.name() {
            "ftruncate" | "ftruncate64" | "fallocate" | "ioctl" => call.int(0),
            "open" | "openat" | "openat2" | "creat" => result as i32,
            _ => return,
        };
        let file = task.fds.borrow().open(fd).map(|open| open.file);
        if let Some(file) = file {
            self.changed_by_itself(file, call.name().starts_with("open"));
        }
    }

    /// A file is changed by a process of the recording, or may be from now on.
    pub(super) fn changed_by_itself(&mut self, file: (u64, u64), is_only_opened: bool) {
        let Some(known) = self.shared_files.get_mut(&file) else { return };
        let Some(mapped) = known.as_mapped.as_ref().filter(|_| is_only_opened) else {
            known.changed = true;
            return;
        };
        // Opened with O_TRUNC.
        known.changed |= std::fs::metadata(&mapped.path).is_ok_and(|meta| state_of(&meta) != mapped.state);
    }

    /// Looks whether files that an address space maps have been changed from outside, when it goes, or lets go of some.
    pub(super) fn check_mapped_of(&mut self, space: &Rc<RefCell<Space>>) {
        if !self.replayable || Rc::strong_count(space) > 1 {
            return;
        }
        let files: HashSet<(u64, u64)> = space.borrow().shared_files.iter().map(|file| (file.dev, file.ino)).collect();
        for file in files {
            self.check_mapped_by(space, file);
        }
    }

    /// Looks whether a file has been changed from outside of which an address space has let go all or a part, unless others still map it:
    /// it is the same file in the same state for them, and is looked at when they let go.
    pub(super) fn check_mapped_by(&mut self, space: &Rc<RefCell<Space>>, file: (u64, u64)) {
        let Some(known) = self.shared_files.get(&file) else { return };
        let maps =
            |space: &RefCell<Space>| space.borrow().shared_files.iter().any(|mapped| (mapped.dev, mapped.ino) == file);
        let others = known.spaces.iter().filter_map(Weak::upgrade);
        if others.filter(|other| !Rc::ptr_eq(other, space)).any(|other| maps(&other)) {
            return;
        }
        self.check_mapped(file);
    }

    /// Looks whether a mapped file has been changed from outside.
    fn check_mapped(&mut self, file: (u64, u64)) {
        let Some(known) = self.shared_files.get(&file).filter(|known| !(known.changed || known.written)) else {
            return;
        };
        let Some(mapped) = &known.as_mapped else { return };
        // One that has another name by now, or none, is not found any more; who replaces a file does not change it.
        let Ok(meta) = std::fs::metadata(&mapped.path) else { return };
        if (meta.dev(), meta.ino()) != file || state_of(&meta) == mapped.state {
            return;
        }
        if mapped.hash.is_some() && mapped.hash == hash_of(&mapped.path) {
            return;
        }
        let shown = mapped.path.display().to_string();
        self.unreplayable(&format!("the mapped file {shown} was changed by a process that was not recorded"));
    }
}

fn hash_of(path: &Path) -> Option<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path).ok()?).ok()?;
    Some(*hasher.finalize().as_bytes())
}
