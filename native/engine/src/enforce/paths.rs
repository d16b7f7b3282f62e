//! What a path means to the thread that names it: the object itself, held open without rights, and its canonical name.
//! What is checked and what is then used are the same object, so that nothing can be exchanged in between.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS};

use super::supervise::Check;
use super::target::{Errno, Target, errno, errno_of};
use crate::pidfd::owned;
use crate::resolve::join;
use crate::sys;

/// An object that exists.
pub struct Place {
    /// Opened with `O_PATH`.
    pub fd: OwnedFd,
    pub path: Vec<u8>,
    /// Reached through the thread's own descriptors, which it has already: it may be looked at. It says nothing of the rights
    /// that the descriptor has.
    pub own: bool,
    /// Number of that descriptor.
    pub descriptor: Option<i32>,
}

/// A name in a directory; the object may not exist.
pub struct Entry {
    pub directory: OwnedFd,
    pub name: CString,
    pub path: Vec<u8>,
    /// The name ends with a slash: what has it, or gets it, has to be a directory.
    pub is_directory: bool,
}

impl Entry {
    fn new(directory: Place, name: &[u8], is_directory: bool) -> Result<Entry, Errno> {
        let path = join(&directory.path, name);
        Ok(Entry { directory: directory.fd, name: CString::new(name).map_err(|_| libc::ENOENT)?, path, is_directory })
    }

    /// What stands in the link that it is; `None`: it is none.
    pub fn link(&self) -> Result<Option<Vec<u8>>, Errno> {
        let mut text = vec![0_u8; 4096];
        // SAFETY: the name is NUL-terminated; the buffer has that size.
        let length = unsafe {
            libc::readlinkat(self.directory.as_raw_fd(), self.name.as_ptr(), text.as_mut_ptr().cast(), text.len())
        };
        match usize::try_from(length) {
            Ok(length) => {
                text.truncate(length);
                Ok(Some(text))
            }
            Err(_) => match errno() {
                libc::EINVAL | libc::ENOENT => Ok(None),
                errno => Err(errno),
            },
        }
    }
}

/// What the kernel adds to the name of a file that is gone, proc(5).
pub const GONE: &[u8] = b" (deleted)";

/// Most links that lead to a file which is made, as the kernel follows.
const MAX_LINKS: u32 = 40;
/// Most steps by hand: a link, or a name behind one of `/proc`.
const MAX_STEPS: u32 = 64;

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

fn open_path(base: i32, path: &[u8], flags: i32, resolve: u64) -> Result<OwnedFd, Errno> {
    let path = CString::new(path).map_err(|_| libc::ENOENT)?;
    open_how(base, &path, libc::O_PATH | libc::O_CLOEXEC | flags, resolve)
}

/// openat2(2) of what exists.
pub fn open_how(base: i32, path: &CStr, flags: i32, resolve: u64) -> Result<OwnedFd, Errno> {
    let how = OpenHow { flags: flags as u64, mode: 0, resolve };
    // SAFETY: `path` is NUL-terminated, `how` is a struct open_how of the given size.
    owned(unsafe { libc::syscall(libc::SYS_openat2, base, path.as_ptr(), &raw const how, size_of::<OpenHow>()) })
        .map_err(|error| errno_of(&error))
}

/// `/proc/self/fd/N` of a descriptor of this process: a name for the object that nobody can change.
#[must_use]
pub fn name_of(fd: &OwnedFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default()
}

fn canonical(fd: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut buffer = [0_u8; 4096];
    let length = sys::read_link(&name_of(fd), &mut buffer).map_err(|error| errno_of(&error))?;
    Ok(buffer[..length].to_vec())
}

/// Names are taken below the directory that they start from, and stay there.
const SCOPED: u64 = RESOLVE_BENEATH | RESOLVE_IN_ROOT;
/// All that openat2(2) lets a program ask for.
pub const RESOLVE_ALL: u64 =
    SCOPED | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV | libc::RESOLVE_CACHED;

/// Resolves names for one thread.
pub struct Walker<'a> {
    target: &'a Target<'a>,
    /// Asked before a link of another process is followed.
    check: &'a dyn Check,
    own: u32,
    /// How the thread wants names to be resolved, `RESOLVE_*` of openat2(2); 0: as by any call.
    resolve: u64,
    /// Steps that may still be taken by hand. For all links together, as the kernel counts them: one that leads twice to another one,
    /// which does the same, and so on, would keep everybody waiting.
    steps: Cell<u32>,
}

impl<'a> Walker<'a> {
    #[must_use]
    pub fn new(target: &'a Target<'a>, check: &'a dyn Check) -> Walker<'a> {
        Walker::with(target, check, 0)
    }

    #[must_use]
    pub fn with(target: &'a Target<'a>, check: &'a dyn Check, resolve: u64) -> Walker<'a> {
        Walker { target, check, own: std::process::id(), resolve, steps: Cell::new(MAX_STEPS) }
    }

    fn base(&self, dirfd: i32, path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
        if path.first() == Some(&b'/') && self.resolve & SCOPED == 0 {
            Ok(None)
        } else if dirfd == libc::AT_FDCWD {
            self.target.cwd().map(Some)
        } else {
            self.target.place_of(dirfd).map(Some)
        }
    }

    /// The object behind `path` seen from `dirfd`. `follow`: whether a link at the end is followed.
    pub fn place(&self, dirfd: i32, path: &[u8], follow: bool) -> Result<Place, Errno> {
        if path.is_empty() {
            return Err(libc::ENOENT);
        }
        let base = self.base(dirfd, path)?;
        // What stands for the thread's directory of /proc is a link, which may not be wanted.
        let own = if self.resolve & (SCOPED | RESOLVE_NO_SYMLINKS) == 0 { self.rewritten(path) } else { None };
        let named = own.as_deref().unwrap_or(path);
        let base = base.as_ref().map_or(libc::AT_FDCWD, AsRawFd::as_raw_fd);
        if self.resolve == 0 {
            return self.walk(base, named, follow);
        }
        self.restricted(base, named, follow)
    }

    /// As the kernel resolves it under the restrictions of the thread.
    fn restricted(&self, base: i32, path: &[u8], follow: bool) -> Result<Place, Errno> {
        let flags = if follow { 0 } else { libc::O_NOFOLLOW };
        let is_told = self.resolve & (SCOPED | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS) != 0;
        let fd = open_path(base, path, flags, self.resolve | RESOLVE_NO_MAGICLINKS).map_err(|errno| match errno {
            // A magic link was not ruled out by the thread: it falls back to other calls.
            libc::ELOOP if !is_told => libc::ENOSYS,
            errno => errno,
        })?;
        let path = canonical(&fd)?;
        match self.exchanged(&path) {
            Some(meant) => self.walk(libc::AT_FDCWD, &meant, follow),
            None => Ok(Place { fd, path, own: false, descriptor: None }),
        }
    }

    /// The object of a descriptor.
    pub fn held(&self, number: i32) -> Result<Place, Errno> {
        let fd = self.target.place_of(number)?;
        let path = canonical(&fd)?;
        Ok(Place { fd, path, own: true, descriptor: Some(number) })
    }

    fn walk(&self, base: i32, path: &[u8], follow: bool) -> Result<Place, Errno> {
        let flags = if follow { 0 } else { libc::O_NOFOLLOW };
        match open_path(base, path, flags, RESOLVE_NO_MAGICLINKS) {
            Ok(fd) => {
                let found = canonical(&fd)?;
                // The supervisor's own directory of /proc, where the thread's was meant.
                match self.exchanged(&found) {
                    Some(meant) => {
                        self.step()?;
                        self.walk(libc::AT_FDCWD, &meant, follow)
                    }
                    None => Ok(Place { fd, path: found, own: false, descriptor: None }),
                }
            }
            Err(libc::ELOOP) => self.by_hand(base, path, follow),
            Err(errno) => Err(errno),
        }
    }

    fn step(&self) -> Result<(), Errno> {
        self.steps.set(self.steps.get().checked_sub(1).ok_or(libc::ELOOP)?);
        Ok(())
    }

    /// A magic link is on the way: directory and last name are looked at one after the other.
    fn by_hand(&self, base: i32, path: &[u8], follow: bool) -> Result<Place, Errno> {
        self.step()?;
        let (directory, name) = split(path).ok_or(libc::ELOOP)?;
        let directory = if directory.is_empty() { b".".as_slice() } else { directory };
        let place = self.walk(base, directory, true)?;
        let at = place.fd.as_raw_fd();
        if !follow {
            return self.walk(at, name, false);
        }
        let link = open_path(at, name, libc::O_NOFOLLOW, 0)?;
        if !is_link(&link)? {
            return self.walk(at, name, true);
        }
        if is_proc(&link)? {
            let fd = open_path(at, name, 0, 0)?;
            let path = canonical(&fd)?;
            let own = format!("/proc/{}/", self.target.tgid);
            // `self`, seen by the supervisor.
            if let Some(meant) = self.exchanged(&path) {
                return self.walk(libc::AT_FDCWD, &meant, true);
            }
            let is_own = place.path.starts_with(own.as_bytes()) && place.path.ends_with(b"/fd");
            if !is_own && !path.starts_with(b"/") {
                return Err(libc::EACCES);
            }
            // Memory and removed files of another process have no name that could have been granted.
            if !place.path.starts_with(own.as_bytes()) && facts_of(&fd)?.st_nlink == 0 {
                return Err(libc::EACCES);
            }
            // The kernel asks who follows such a link, which is this process.
            self.check.reads_link(&join(&place.path, name))?;
            let number = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
            return Ok(Place { fd, path, own: is_own, descriptor: number.filter(|_| is_own) });
        }
        let mut buffer = [0_u8; 4096];
        // SAFETY: an empty path means the link itself; the buffer has that size.
        let length =
            unsafe { libc::readlinkat(link.as_raw_fd(), c"".as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
        let length = usize::try_from(length).map_err(|_| errno())?;
        let target = &buffer[..length];
        let own = self.rewritten(target);
        self.walk(at, own.as_deref().unwrap_or(target), true)
    }

    /// `/proc/self` of the thread, where it stands at the head of a path.
    fn rewritten(&self, path: &[u8]) -> Option<Vec<u8>> {
        let rest = |head: &[u8]| path.strip_prefix(head).filter(|rest| rest.is_empty() || rest[0] == b'/');
        let Target { tgid, tid, .. } = self.target;
        let head = if rest(b"/proc/self").is_some() {
            (b"/proc/self".len(), format!("/proc/{tgid}"))
        } else if rest(b"/proc/thread-self").is_some() {
            (b"/proc/thread-self".len(), format!("/proc/{tgid}/task/{tid}"))
        } else if rest(b"/dev/fd").is_some() {
            (b"/dev/fd".len(), format!("/proc/{tgid}/fd"))
        } else {
            return None;
        };
        Some([head.1.as_bytes(), &path[head.0..]].concat())
    }

    /// A canonical name below the supervisor's directory of /proc, as the one that the thread meant.
    fn exchanged(&self, path: &[u8]) -> Option<Vec<u8>> {
        let own = format!("/proc/{}", self.own);
        let rest = path.strip_prefix(own.as_bytes()).filter(|rest| rest.is_empty() || rest[0] == b'/')?;
        Some([format!("/proc/{}", self.target.tgid).as_bytes(), rest].concat())
    }

    /// Directory and last name of a path, for what is made, removed or renamed.
    pub fn entry(&self, dirfd: i32, path: &[u8]) -> Result<Entry, Errno> {
        let trimmed = trimmed(path);
        if trimmed.is_empty() {
            return Err(if path.is_empty() { libc::ENOENT } else { libc::EBUSY });
        }
        let (directory, name) = split(trimmed).ok_or(libc::ENOENT)?;
        if name == b"." || name == b".." {
            return Err(libc::EINVAL);
        }
        let place = match directory {
            b"" => self.place(dirfd, b".", true)?,
            directory => self.place(dirfd, directory, true)?,
        };
        Entry::new(place, name, path.len() > trimmed.len())
    }

    /// As [`Walker::entry`], of a file that is made by being opened: where its name is a link that leads to nothing yet, the name
    /// that it leads to.
    pub fn opened(&self, dirfd: i32, path: &[u8]) -> Result<Entry, Errno> {
        let mut entry = self.entry(dirfd, path)?;
        for _ in 0..MAX_LINKS {
            let Some(text) = entry.link()? else { return Ok(entry) };
            // What holds links together is not known of one alone.
            if self.resolve != 0 {
                break;
            }
            let own = self.rewritten(&text);
            let text = trimmed(own.as_deref().unwrap_or(&text));
            let (directory, name) = split(text).ok_or(libc::ENOENT)?;
            let directory = if directory.is_empty() { b".".as_slice() } else { directory };
            entry = Entry::new(self.walk(entry.directory.as_raw_fd(), directory, true)?, name, false)?;
        }
        Err(libc::ELOOP)
    }
}

/// Without slashes at the end.
fn trimmed(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    &path[..end]
}

/// Directory (empty: the current one) and last name.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let path = trimmed(path);
    if path.is_empty() {
        return None;
    }
    match path.iter().rposition(|byte| *byte == b'/') {
        None => Some((b"", path)),
        Some(0) => Some((b"/", &path[1..])),
        Some(slash) => Some((&path[..slash], &path[slash + 1..])),
    }
}

/// fstat(2).
pub fn facts_of(fd: &OwnedFd) -> Result<libc::stat, Errno> {
    // SAFETY: a struct of plain numbers.
    let mut facts: libc::stat = unsafe { std::mem::zeroed() };
    // By the call itself: the library asks in a way that takes a name as well, for which the kernel looks.
    // SAFETY: the kernel fills the struct of this frame, which is the one that the library has.
    if unsafe { libc::syscall(libc::SYS_fstat, fd.as_raw_fd(), &raw mut facts) } != 0 {
        return Err(errno());
    }
    Ok(facts)
}

/// What kind of file it is, `S_IFMT` bits.
pub fn kind_of(fd: &OwnedFd) -> Result<u32, Errno> {
    Ok(facts_of(fd)?.st_mode & libc::S_IFMT)
}

pub fn is_link(fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(kind_of(fd)? == libc::S_IFLNK)
}

fn is_proc(fd: &OwnedFd) -> Result<bool, Errno> {
    // SAFETY: a struct of plain numbers.
    let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the struct of this frame.
    if unsafe { libc::fstatfs(fd.as_raw_fd(), &raw mut facts) } != 0 {
        return Err(errno());
    }
    Ok(facts.f_type == libc::PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn paths_are_split_at_their_last_name() {
        assert_eq!(split(b"a"), Some((&b""[..], &b"a"[..])));
        assert_eq!(split(b"/a"), Some((&b"/"[..], &b"a"[..])));
        assert_eq!(split(b"a/b//"), Some((&b"a"[..], &b"b"[..])));
        assert_eq!(split(b"///"), None);
    }
}
