//! What a path means: the canonical absolute path behind a path argument, as the tracee sees the file system.
//!
//! Asked of the kernel with `O_PATH` (nothing is opened for reading, no device wakes up), and remembered until a call of
//! any tracee changes what names mean.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::sys;

/// Most remembered paths; when it is full all are forgotten.
const MAX_REMEMBERED: usize = 1 << 15;

/// What a path turned out to mean, if it means anything.
type Canonical = Option<Box<[u8]>>;

/// Resolves paths of tracees that have this process's root directory, or the root that is given.
#[derive(Default)]
pub struct Resolver {
    /// Path as looked up, and whether a link at its end is followed.
    known: HashMap<(Vec<u8>, bool), Canonical>,
    /// The canonical paths of directories.
    directories: HashMap<Box<[u8]>, Canonical>,
    /// Only what the kernel knows without asking anybody is told ([`Resolver::ask_nobody`]).
    asks_nobody: bool,
}

impl Resolver {
    /// From now on a path is not told where a file system would have to be asked for it: a process that serves one, fuse(4), may be stopped.
    /// A name that a call has just used is known to the kernel, unless its file system forbids that.
    pub fn ask_nobody(&mut self) {
        self.asks_nobody = true;
    }

    /// Names may mean something else from now on.
    pub fn forget(&mut self) {
        self.known.clear();
        self.directories.clear();
    }

    /// The canonical path of `path` relative to `base`, when it can be told and is not simply `base/path`.
    ///
    /// `root` is a directory like `/proc/PID/root` when the tracee's root is another one than ours.
    pub fn resolve(&mut self, root: Option<&CStr>, base: &[u8], path: &[u8], follow: bool) -> Option<Box<[u8]>> {
        if path.is_empty() {
            return None;
        }
        let joined = join(base, path);
        // The base is canonical already: one plain name below it that is not followed needs no look-up.
        if !follow && !path.contains(&b'/') && path != b"." && path != b".." {
            return None;
        }
        let key = (joined, follow);
        let canonical = if let Some(known) = self.known.get(&key) {
            known.clone()
        } else {
            if self.known.len() >= MAX_REMEMBERED {
                self.forget();
            }
            let found = self.look_up(root, &key.0, follow).map(|found| meant(&key.0, found).into_boxed_slice());
            // What the kernel does not remember now it may remember later.
            if found.is_some() || !self.asks_nobody {
                self.known.insert((key.0.clone(), follow), found.clone());
            }
            found
        };
        canonical.filter(|canonical| **canonical != *key.0)
    }

    /// Most paths differ from others in their last name only: that is looked at alone, if it may be a link.
    fn look_up(&mut self, root: Option<&CStr>, path: &[u8], follow: bool) -> Option<Vec<u8>> {
        let trimmed = if follow { path } else { path.strip_suffix(b"/").unwrap_or(path) };
        let slash = trimmed.iter().rposition(|byte| *byte == b'/')?;
        let (directory, name) = (&trimmed[..slash.max(1)], &trimmed[slash + 1..]);
        if matches!(name, b"" | b"." | b"..") || (follow && root.is_some()) {
            return canonical(root, path, self.asks_nobody);
        }
        let found = join(self.directory(root, directory)?, name);
        let may_be_link = follow && (self.asks_nobody || !is_no_link(&found));
        if may_be_link { canonical(root, path, self.asks_nobody) } else { Some(found) }
    }

    fn directory(&mut self, root: Option<&CStr>, path: &[u8]) -> Option<&[u8]> {
        if !self.directories.contains_key(path) {
            let found = canonical(root, path, self.asks_nobody);
            if found.is_none() && self.asks_nobody {
                return None;
            }
            self.directories.insert(path.into(), found.map(Vec::into_boxed_slice));
        }
        self.directories.get(path)?.as_deref()
    }
}

/// Whether there is a file, and it is no symbolic link: readlink(2) fails with EINVAL.
fn is_no_link(path: &[u8]) -> bool {
    let mut target = [0; 1];
    CString::new(path).is_ok_and(|path| {
        sys::read_link(&path, &mut target).is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
    })
}

/// `base/path`, or `path` when it is absolute.
#[must_use]
pub fn join(base: &[u8], path: &[u8]) -> Vec<u8> {
    if path.first() == Some(&b'/') {
        return path.to_vec();
    }
    let base = base.strip_suffix(b"/").unwrap_or(base);
    [base, b"/", path].concat()
}

/// An absolute path without empty parts, `.` and `..`: the same file, where no part is a symbolic link.
#[must_use]
pub fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut plain: Vec<u8> = Vec::with_capacity(path.len());
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => plain.truncate(plain.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            _ => {
                plain.push(b'/');
                plain.extend_from_slice(part);
            }
        }
    }
    if plain.is_empty() {
        plain.push(b'/');
    }
    plain
}

/// A link that led to `/proc/self` has led to this process, where the tracee would have come to itself.
fn meant(given: &[u8], found: Vec<u8>) -> Vec<u8> {
    if !found.starts_with(b"/proc/") {
        return found;
    }
    let own = format!("/proc/{}", std::process::id());
    let below = |path: &[u8]| -> Option<Vec<u8>> {
        let rest = path.strip_prefix(own.as_bytes()).filter(|rest| rest.is_empty() || rest[0] == b'/')?;
        Some([b"/proc/self", rest].concat())
    };
    match below(&found) {
        Some(meant) if below(given).is_none() => meant,
        _ => found,
    }
}

fn canonical(root: Option<&CStr>, path: &[u8], asks_nobody: bool) -> Option<Vec<u8>> {
    let path = CString::new(path).ok()?;
    let file = open_path(root, &path, if asks_nobody { libc::RESOLVE_CACHED } else { 0 }).ok()?;
    let link = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let mut target = [0_u8; 4096];
    let length = sys::read_link(&link, &mut target).ok()?;
    let mut target = &target[..length];
    if let Some(root) = root {
        // Seen from our root the tracee's root is a prefix; the tracee does not see it.
        let mut prefix = [0_u8; 4096];
        let length = sys::read_link(root, &mut prefix).ok()?;
        let prefix = &prefix[..length];
        if prefix != b"/" {
            target = target.strip_prefix(prefix)?;
        }
    }
    Some(if target.is_empty() { b"/".to_vec() } else { target.to_vec() })
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

fn open_path(root: Option<&CStr>, path: &CStr, resolve: u64) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let raw = if root.is_none() && resolve == 0 {
        // SAFETY: `path` is NUL-terminated.
        i64::from(unsafe { libc::open(path.as_ptr(), flags) })
    } else {
        use std::os::unix::ffi::OsStrExt as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let open = |root: &CStr| {
            let root = std::ffi::OsStr::from_bytes(root.to_bytes());
            OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(root)
        };
        let root = root.map(open).transpose()?;
        let base = root.as_ref().map_or(libc::AT_FDCWD, AsRawFd::as_raw_fd);
        let in_root = if root.is_some() { libc::RESOLVE_IN_ROOT } else { 0 };
        let how = OpenHow { flags: flags as u64, mode: 0, resolve: resolve | in_root };
        // SAFETY: `path` is NUL-terminated, `how` is a struct open_how of the given size, `base` is open.
        unsafe { libc::syscall(libc::SYS_openat2, base, path.as_ptr(), &raw const how, std::mem::size_of::<OpenHow>()) }
    };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_dots() {
        for (path, plain) in [
            ("/", "/"),
            ("//a/./b//", "/a/b"),
            ("/a/../b", "/b"),
            ("/../..", "/"),
            ("/a/b/../..", "/"),
            ("/..a/.b", "/..a/.b"),
        ] {
            assert_eq!(without_dots(path.as_bytes()), plain.as_bytes());
        }
    }

    #[test]
    fn links_and_dots_are_resolved() {
        let dir = std::env::temp_dir().join(format!("trace-resolve-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("real")).unwrap();
        std::fs::write(dir.join("real/file"), b"").unwrap();
        std::os::unix::fs::symlink("real", dir.join("link")).unwrap();
        let base = dir.canonicalize().unwrap();
        let base = base.as_os_str().as_encoded_bytes();
        let mut resolver = Resolver::default();
        let real = join(base, b"real/file");
        assert_eq!(resolver.resolve(None, base, b"link/file", true).as_deref(), Some(&real[..]));
        assert_eq!(resolver.resolve(None, base, b"link/../real/file", true).as_deref(), Some(&real[..]));
        assert_eq!(resolver.resolve(None, base, b"real/file", true), None);
        assert_eq!(resolver.resolve(None, base, b"link", true).as_deref(), Some(&join(base, b"real")[..]));
        assert_eq!(resolver.resolve(None, base, b"link", false), None);
        assert_eq!(resolver.resolve(None, base, b"missing", true), None);
        std::os::unix::fs::symlink("../real/file", dir.join("real/alias")).unwrap();
        assert_eq!(resolver.resolve(None, base, b"link/alias", true).as_deref(), Some(&real[..]));
        assert_eq!(resolver.resolve(None, base, b"real/alias", false), None);
        let alias = join(base, b"real/alias");
        assert_eq!(resolver.resolve(None, base, b"link/alias", false).as_deref(), Some(&alias[..]));
        assert_eq!(resolver.resolve(None, base, b"link/", true).as_deref(), Some(&join(base, b"real")[..]));
        // Names are looked up anew when they may mean something else.
        std::fs::remove_file(dir.join("link")).unwrap();
        std::os::unix::fs::symlink(".", dir.join("link")).unwrap();
        resolver.forget();
        assert_eq!(resolver.resolve(None, base, b"link/missing", true), None);
        assert_eq!(resolver.resolve(None, base, b"link/real", true).as_deref(), Some(&join(base, b"real")[..]));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn links_to_self_mean_whoever_follows_them() {
        let mut resolver = Resolver::default();
        let mut resolve = |path: &str| resolver.resolve(None, b"/", path.as_bytes(), true);
        assert_eq!(resolve("/proc/mounts").as_deref(), Some(&b"/proc/self/mounts"[..]));
        // Named by its number this process is meant.
        let own = format!("/proc/{}", std::process::id());
        assert_eq!(
            resolve(&format!("{own}/../{}/status", std::process::id())),
            Some(format!("{own}/status").into_bytes().into())
        );
    }
}
