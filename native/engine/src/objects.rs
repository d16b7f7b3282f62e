//! The objects behind file descriptors, and the descriptor tables of processes.
//!
//! An object is one open file description (or a directory that somebody works in). Its identity is asked of the kernel
//! through /proc when a descriptor first shows up, and then followed through dup, fork, exec and close.

use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;
use std::io::{self, Write as _};

use libc::pid_t;

use crate::raw::{Definition, ObjectKind};
use crate::sys;

/// Descriptors beyond this are not followed (`fs.nr_open` is a million by default).
const MAX_FD: usize = 1 << 20;

/// What an open descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Number of the object.
    pub object: u32,
    pub kind: ObjectKind,
    /// Device and inode.
    pub file: (u64, u64),
    /// No call ever waits for it.
    pub is_ready: bool,
    /// It is known to be for reading only.
    pub only_reads: bool,
}

/// What each descriptor of a process stands for.
#[derive(Clone, Debug, Default)]
pub struct FdTable {
    open: Vec<Option<Open>>,
    outlived: Vec<Outlived>,
}

/// A descriptor whose number another thread got before anything was told of the call that closed it.
#[derive(Clone, Copy, Debug)]
struct Outlived {
    fd: i32,
    open: Open,
    /// The event that tells who got the number. The close began before it.
    until: u64,
}

impl FdTable {
    /// The object behind `fd`, if it is known.
    #[must_use]
    pub fn get(&self, fd: i32) -> Option<u32> {
        self.open(fd).map(|open| open.object)
    }

    /// What is known of `fd`.
    #[must_use]
    pub fn open(&self, fd: i32) -> Option<Open> {
        self.open.get(usize::try_from(fd).ok()?).copied().flatten()
    }

    /// The descriptors of a file, given by device and inode.
    pub fn of_file(&self, file: (u64, u64)) -> impl Iterator<Item = (u32, Open)> {
        self.numbered().filter(move |(_, open)| open.file == file)
    }

    /// All of them, in the order of their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, Open)> {
        self.open.iter().enumerate().filter_map(|(fd, open)| Some((fd as u32, (*open)?)))
    }

    /// What all of them stand for.
    pub fn all(&self) -> impl Iterator<Item = Open> {
        self.open.iter().filter_map(|open| *open)
    }

    pub fn set(&mut self, fd: i32, open: Open) {
        let Ok(index) = usize::try_from(fd) else { return };
        if index >= MAX_FD {
            return;
        }
        if index >= self.open.len() {
            self.open.resize(index + 1, None);
        }
        self.open[index] = Some(open);
    }

    pub fn close(&mut self, fd: i32) {
        if let Some(slot) = usize::try_from(fd).ok().and_then(|index| self.open.get_mut(index)) {
            *slot = None;
        }
    }

    /// The kernel has given out the number `fd`, as event `seq` will tell. If it is not known to be free, a call that is not told of yet has
    /// closed what it stood for.
    pub fn given_out(&mut self, fd: i32, seq: u64) {
        /// As many threads can be about to return from close(2). Who closed by other calls, or died in it, is never told of.
        const MOST: usize = 64;
        let Some(open) = self.open(fd) else { return };
        if self.outlived.len() == MOST {
            self.outlived.remove(0);
        }
        self.outlived.push(Outlived { fd, open, until: seq });
        self.close(fd);
    }

    /// What a close(2) of `fd` closes that began after `began` events. `Err`: it is not what the number stands for now.
    fn of_close(&self, fd: i32, began: u64) -> Result<Option<Open>, usize> {
        let owes = |outlived: &Outlived| outlived.fd == fd && began <= outlived.until;
        self.outlived.iter().position(owes).map_or_else(|| Ok(self.open(fd)), Err)
    }

    /// The object that a close(2) of `fd` closes which began after `began` events.
    #[must_use]
    pub fn closed_by(&self, fd: i32, began: u64) -> Option<u32> {
        let open =
            self.of_close(fd, began).unwrap_or_else(|index| self.outlived.get(index).map(|outlived| outlived.open));
        open.map(|open| open.object)
    }

    /// That close(2) has been told of.
    pub fn close_begun(&mut self, fd: i32, began: u64) {
        match self.of_close(fd, began) {
            Err(index) => drop(self.outlived.remove(index)),
            Ok(_) => self.close(fd),
        }
    }

    /// Closes `first..=last`.
    pub fn close_range(&mut self, first: u32, last: u32) {
        let first = (first as usize).min(self.open.len());
        let end = (last as usize).saturating_add(1).min(self.open.len());
        if first < end {
            self.open[first..end].fill(None);
        }
    }

    /// Forgets the descriptors of a process that are not open any more: exec has closed the close-on-exec ones.
    pub fn retain_open(&mut self, pid: pid_t) {
        /// To ask for each of more descriptors takes longer than to list them all.
        const FEW: usize = 16;
        let known = || self.open.iter().enumerate().filter(|(_, open)| open.is_some());
        let fds: Vec<i32> = known().map(|(fd, _)| fd as i32).take(FEW + 1).collect();
        let answers = fds.iter().map(|fd| Some((*fd, sys::is_open(pid, *fd)?)));
        let asked = if fds.len() > FEW { None } else { answers.collect::<Option<Vec<_>>>() };
        if let Some(asked) = asked {
            asked.iter().filter(|(_, is_open)| !is_open).for_each(|(fd, _)| self.close(*fd));
        } else if let Some(open) = open_descriptors(pid) {
            self.retain(&open);
        }
    }

    /// Forgets the descriptors that `keep` does not list.
    fn retain(&mut self, keep: &[i32]) {
        for (fd, open) in self.open.iter_mut().enumerate() {
            if open.is_some() && keep.binary_search(&(fd as i32)).is_err() {
                *open = None;
            }
        }
    }
}

/// Whether a file is in a file system that a process serves, fuse(4), by the list of mounts: nothing is asked of that process. So is
/// one whose mount is not listed.
#[must_use]
pub fn is_on_fuse(tid: pid_t, fd: i32) -> bool {
    let text = |name: &str| sys::text_of(&format!("/proc/{tid}/{name}")).unwrap_or_default();
    let facts = text(&format!("fdinfo/{fd}"));
    let Some(mount) = facts.lines().find_map(|line| line.strip_prefix("mnt_id:")) else { return false };
    let mounts = text("mountinfo");
    let of_mount = |line: &&str| line.split(' ').next() == Some(mount.trim());
    mounts.lines().find(of_mount).is_none_or(is_mounted_by_fuse)
}

/// The devices of all file systems that a process sees and that a process serves, fuse(4).
#[must_use]
pub fn served_devices(tid: pid_t) -> Vec<u64> {
    let mounts = sys::text_of(&format!("/proc/{tid}/mountinfo")).unwrap_or_default();
    let served = mounts.lines().filter(|line| is_mounted_by_fuse(line));
    let device = |line: &str| {
        let (major, minor) = line.split(' ').nth(2)?.split_once(':')?;
        Some(libc::makedev(major.parse().ok()?, minor.parse().ok()?))
    };
    served.filter_map(device).collect()
}

/// Whether a line of mountinfo is of such a file system, or does not tell.
fn is_mounted_by_fuse(line: &str) -> bool {
    let kind = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').next());
    kind.is_none_or(|kind| kind == "fuseblk" || kind.split('.').next() == Some("fuse"))
}

/// Device, inode and mode of a file.
pub type Facts = (u64, u64, u32);

/// What the kernel says of one descriptor.
#[derive(Clone)]
pub struct Identity {
    pub kind: ObjectKind,
    pub path: Vec<u8>,
    pub dev: u64,
    pub ino: u64,
}

impl Identity {
    /// Whether both name one file; of what has no file, whether they name it alike.
    #[must_use]
    pub fn is_same(&self, other: &Identity) -> bool {
        (self.dev, self.ino, &self.path) == (other.dev, other.ino, &other.path)
    }

    /// Whether no call ever waits for it.
    #[must_use]
    pub fn is_always_ready(&self) -> bool {
        match self.kind {
            ObjectKind::File | ObjectKind::Dir | ObjectKind::Memfd => true,
            ObjectKind::CharDevice => !shows_output(&self.path) || self.path == b"/dev/urandom",
            _ => false,
        }
    }

    /// From a name as /proc/PID/fd shows it, and device, inode and mode as far as they are known.
    #[must_use]
    pub fn new(path: Vec<u8>, facts: Option<Facts>) -> Identity {
        let kind = facts.map_or(ObjectKind::Unknown, |(_, _, mode)| kind_of(&path, mode));
        let (dev, ino) = facts.map_or((0, 0), |(dev, ino, _)| (dev, ino));
        Identity { kind, path, dev, ino }
    }
}

/// Numbers objects and remembers those that can be recognised again.
#[derive(Default)]
pub struct Objects {
    count: u32,
    /// Pipes and sockets by device and inode: the same everywhere.
    shared: HashMap<(u64, u64), u32>,
    directories: HashMap<Vec<u8>, u32>,
    /// Paths of directory objects, to resolve against: of those that were used lately, and of the ones before.
    paths: HashMap<u32, Vec<u8>>,
    older_paths: HashMap<u32, Vec<u8>>,
    /// The objects that were numbered lately, the latest first: what is mapped has mostly just been opened, but what others have opened
    /// meanwhile may come between.
    lately: VecDeque<(u32, Identity)>,
    /// Protocols of sockets, as far as known: an accepted socket has that of the listening one.
    details: HashMap<u32, Vec<u8>>,
}

/// Most objects that were numbered lately.
const MOST_LATELY: usize = 256;

/// Most remembered objects of a sort; beyond it an object may get a second number.
pub const MAX_REMEMBERED: usize = 1 << 16;

/// Whether what is written to a file by this name is seen by somebody: not so of the devices that swallow everything.
#[must_use]
pub fn shows_output(path: &[u8]) -> bool {
    !matches!(path, b"/dev/null" | b"/dev/zero" | b"/dev/full")
}

/// The identity of a descriptor.
///
/// # Errors
/// ENOENT when it is closed or the tracee is gone, EACCES when the tracee may not be looked at.
pub fn identify(tid: pid_t, fd: i32) -> io::Result<Identity> {
    let link = ProcPath::new(tid, format_args!("fd/{fd}"));
    let mut target = [0_u8; 4096];
    let length = sys::read_link(link.as_c_str(), &mut target)?;
    let path = target[..length].to_vec();
    Ok(Identity::new(path, sys::known_facts(link.as_c_str()).ok()))
}

impl Objects {
    /// The number for a new descriptor, with its definition when it is a new object.
    pub fn number(
        &mut self,
        identity: Identity,
        detail: Vec<u8>,
        created_by: Option<u64>,
        out: &mut Vec<Definition>,
    ) -> u32 {
        let shared = matches!(identity.kind, ObjectKind::Pipe | ObjectKind::Socket);
        let key = (identity.dev, identity.ino);
        if shared && let Some(known) = self.shared.get(&key) {
            return *known;
        }
        let object = self.count;
        self.count += 1;
        if shared {
            if self.shared.len() >= MAX_REMEMBERED {
                self.shared.clear();
            }
            self.shared.insert(key, object);
        }
        if identity.kind == ObjectKind::Dir {
            self.remember_path(object, identity.path.clone());
        }
        if !detail.is_empty() {
            if self.details.len() >= MAX_REMEMBERED {
                self.details.clear();
            }
            self.details.insert(object, detail.clone());
        }
        out.push(Definition::Object {
            kind: identity.kind,
            path: identity.path.clone(),
            detail,
            dev: identity.dev,
            ino: identity.ino,
            created_by,
        });
        self.lately.truncate(MOST_LATELY - 1);
        self.lately.push_front((object, identity));
        object
    }

    /// The object of a working directory.
    pub fn directory(&mut self, tid: pid_t, out: &mut Vec<Definition>) -> Option<u32> {
        let link = ProcPath::new(tid, format_args!("cwd"));
        let mut target = [0_u8; 4096];
        let length = sys::read_link(link.as_c_str(), &mut target).ok()?;
        let path = &target[..length];
        if let Some(known) = self.directories.get(path) {
            return Some(*known);
        }
        let (dev, ino, _) = sys::known_facts(link.as_c_str()).unwrap_or_default();
        let identity = Identity { kind: ObjectKind::Dir, path: path.to_vec(), dev, ino };
        let object = self.number(identity, Vec::new(), None, out);
        if self.directories.len() >= MAX_REMEMBERED {
            self.directories.clear();
        }
        self.directories.insert(path.to_vec(), object);
        Some(object)
    }

    /// What is known of a socket object beyond its number; empty when nothing is.
    #[must_use]
    pub fn detail(&self, object: u32) -> &[u8] {
        self.details.get(&object).map_or(&[], Vec::as_slice)
    }

    /// The identity of an object, if it was numbered lately.
    #[must_use]
    pub fn lately(&self, object: u32) -> Option<&Identity> {
        self.lately.iter().find(|(numbered, _)| *numbered == object).map(|(_, identity)| identity)
    }

    fn remember_path(&mut self, object: u32, path: Vec<u8>) {
        if self.paths.len() >= MAX_REMEMBERED {
            self.older_paths = std::mem::take(&mut self.paths);
        }
        self.paths.insert(object, path);
    }

    /// The path of a directory object.
    pub fn path(&mut self, object: u32) -> Option<&[u8]> {
        if let Some(path) = self.older_paths.remove(&object) {
            self.remember_path(object, path);
        }
        self.paths.get(&object).map(Vec::as_slice)
    }
}

/// `/proc/TID/what`, built without an allocation.
pub struct ProcPath {
    bytes: [u8; 64],
}

impl ProcPath {
    #[must_use]
    pub fn new(tid: pid_t, what: std::fmt::Arguments<'_>) -> ProcPath {
        let mut path = ProcPath { bytes: [0; 64] };
        let last = path.bytes.len() - 1;
        // What does not fit would be cut; "/proc/", two numbers and a short word always fit.
        let _ = write!(&mut path.bytes[..last], "/proc/{tid}/{what}");
        path
    }

    #[must_use]
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"/")
    }
}

fn kind_of(path: &[u8], mode: u32) -> ObjectKind {
    if path.starts_with(b"anon_inode:") {
        return ObjectKind::Anon;
    }
    match mode & libc::S_IFMT {
        libc::S_IFREG if path.starts_with(b"/memfd:") => ObjectKind::Memfd,
        libc::S_IFREG => ObjectKind::File,
        libc::S_IFDIR => ObjectKind::Dir,
        libc::S_IFIFO if path.starts_with(b"pipe:[") => ObjectKind::Pipe,
        libc::S_IFIFO => ObjectKind::Fifo,
        libc::S_IFSOCK => ObjectKind::Socket,
        libc::S_IFCHR => ObjectKind::CharDevice,
        libc::S_IFBLK => ObjectKind::BlockDevice,
        _ => ObjectKind::Unknown,
    }
}

/// The open descriptors of a process in ascending order.
#[must_use]
pub fn open_descriptors(pid: pid_t) -> Option<Vec<i32>> {
    let mut fds = sys::numbers_in(&format!("/proc/{pid}/fd")).ok()?;
    fds.sort_unstable();
    Some(fds)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::{FdTable, Open};
    use crate::raw::ObjectKind;

    fn open(object: u32) -> Open {
        Open { object, kind: ObjectKind::File, file: (1, object.into()), is_ready: true, only_reads: false }
    }

    #[test]
    fn closed_descriptors_are_forgotten() {
        let own = std::process::id() as libc::pid_t;
        let file = std::fs::File::open("/dev/null").unwrap();
        let (number, closed) = (file.as_raw_fd(), 1_000);
        // Few descriptors are asked for one by one, many are compared with the list.
        for first in [closed, closed - 40] {
            let mut table = FdTable::default();
            table.set(number, open(1));
            (first..=closed).for_each(|fd| table.set(fd, open(2)));
            table.retain_open(own);
            assert_eq!((table.get(number), table.get(closed)), (Some(1), None));
        }
    }

    #[test]
    fn a_close_that_is_told_late_closes_what_it_closed() {
        let mut table = FdTable::default();
        table.set(3, open(7));
        // Two threads have closed 3, and two opens that got it are told of before them: events 10 and 20.
        for (object, seq) in [(8, 10), (9, 20)] {
            table.given_out(3, seq);
            table.set(3, open(object));
        }
        assert_eq!((table.closed_by(3, 9), table.closed_by(4, 9)), (Some(7), None));
        table.close_begun(3, 9);
        assert_eq!((table.closed_by(3, 20), table.get(3)), (Some(8), Some(9)));
        table.close_begun(3, 20);
        assert_eq!(table.get(3), Some(9));
        // One that began when all was told is of what the number stands for.
        table.given_out(3, 30);
        table.set(3, open(10));
        assert_eq!(table.closed_by(3, 31), Some(10));
        table.close_begun(3, 31);
        assert_eq!(table.get(3), None);
    }

    #[test]
    fn tables_follow_set_close_and_ranges() {
        let mut table = FdTable::default();
        table.set(3, open(7));
        table.set(5, open(8));
        assert_eq!(table.get(3), Some(7));
        assert_eq!(table.get(4), None);
        assert_eq!(table.get(-100), None);
        table.close_range(4, u32::MAX);
        assert_eq!((table.get(3), table.get(5)), (Some(7), None));
        table.set(5, open(9));
        table.retain(&[0, 5]);
        assert_eq!((table.get(3), table.get(5)), (None, Some(9)));
        table.close(5);
        table.close(1 << 30);
        assert_eq!(table.get(5), None);
    }
}
