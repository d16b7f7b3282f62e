//! Calls with paths, performed for the program on the object that was checked.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use super::filter;
use super::interpreter;
use super::paths::{Entry, GONE, Place, RESOLVE_ALL, Walker, facts_of, is_link, kind_of, name_of, open_how};
use super::rules::verb;
use super::supervise::{Answer, Asked, Check, Slow};
use super::target::{Errno, checked, errno_of};
use crate::pidfd::owned;

type Done = Result<Answer, Errno>;

/// Longest value of an extended attribute (XATTR_SIZE_MAX), and of a list of their names.
const XATTR_MAX: usize = 65_536;

/// Calls of Linux 6.13 (setxattrat, getxattrat, listxattrat, removexattrat) and 6.17.
const SYS_SETXATTRAT: i64 = 463;
const SYS_REMOVEXATTRAT: i64 = 466;
const SYS_FILE_GETATTR: i64 = 468;
const SYS_FILE_SETATTR: i64 = 469;

fn low(value: u64) -> i32 {
    value as i32
}

/// Answers a call with paths; `None` when it is none.
pub fn answer(asked: &Asked<'_>, check: &dyn Check) -> Option<Done> {
    let a = asked.args;
    let at = libc::AT_FDCWD;
    Some(match asked.number {
        libc::SYS_open => open(asked, check, at, a[0], low(a[1]), a[2]),
        libc::SYS_creat => open(asked, check, at, a[0], libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, a[1]),
        libc::SYS_openat => open(asked, check, low(a[0]), a[1], low(a[2]), a[3]),
        libc::SYS_openat2 => openat2(asked, check),
        libc::SYS_stat => stat(asked, check, at, a[0], a[1], 0),
        libc::SYS_lstat => stat(asked, check, at, a[0], a[1], libc::AT_SYMLINK_NOFOLLOW),
        libc::SYS_newfstatat => stat(asked, check, low(a[0]), a[1], a[2], low(a[3])),
        libc::SYS_statx => statx(asked, check),
        libc::SYS_access => access(asked, check, at, a[0], low(a[1]), 0),
        libc::SYS_faccessat => access(asked, check, low(a[0]), a[1], low(a[2]), 0),
        libc::SYS_faccessat2 => access(asked, check, low(a[0]), a[1], low(a[2]), low(a[3])),
        libc::SYS_readlink => readlink(asked, check, at, a[0], a[1], a[2]),
        libc::SYS_readlinkat => readlink(asked, check, low(a[0]), a[1], a[2], a[3]),
        libc::SYS_statfs => statfs(asked, check),
        libc::SYS_chdir => chdir(asked, check),
        libc::SYS_getxattr => get_attribute(asked, check, true),
        libc::SYS_lgetxattr => get_attribute(asked, check, false),
        libc::SYS_listxattr => list_attributes(asked, check, true),
        libc::SYS_llistxattr => list_attributes(asked, check, false),
        libc::SYS_setxattr => set_attribute(asked, check, true),
        libc::SYS_lsetxattr => set_attribute(asked, check, false),
        libc::SYS_removexattr => remove_attribute(asked, check, true),
        libc::SYS_lremovexattr => remove_attribute(asked, check, false),
        libc::SYS_chmod => chmod(asked, check, at, a[0], a[1], 0),
        libc::SYS_fchmodat => chmod(asked, check, low(a[0]), a[1], a[2], 0),
        libc::SYS_fchmodat2 => chmod(asked, check, low(a[0]), a[1], a[2], low(a[3])),
        libc::SYS_fchmod => fchmod(asked, check),
        libc::SYS_chown => chown(asked, check, at, a[0], (a[1], a[2]), 0),
        libc::SYS_lchown => chown(asked, check, at, a[0], (a[1], a[2]), libc::AT_SYMLINK_NOFOLLOW),
        libc::SYS_fchownat => chown(asked, check, low(a[0]), a[1], (a[2], a[3]), low(a[4])),
        libc::SYS_fchown => chown(asked, check, low(a[0]), 0, (a[1], a[2]), libc::AT_EMPTY_PATH),
        libc::SYS_fsetxattr => set_held_attribute(asked, check),
        libc::SYS_fremovexattr => remove_held_attribute(asked, check),
        libc::SYS_utimensat => utimensat(asked, check),
        libc::SYS_utime => old_times(asked, check, at, a[0], a[1], false),
        libc::SYS_utimes => old_times(asked, check, at, a[0], a[1], true),
        libc::SYS_futimesat => old_times(asked, check, low(a[0]), a[1], a[2], true),
        libc::SYS_truncate => truncate(asked, check),
        libc::SYS_mkdir => mkdir(asked, check, at, a[0], a[1]),
        libc::SYS_mkdirat => mkdir(asked, check, low(a[0]), a[1], a[2]),
        libc::SYS_mknod => mknod(asked, check, at, a[0], a[1], a[2]),
        libc::SYS_mknodat => mknod(asked, check, low(a[0]), a[1], a[2], a[3]),
        libc::SYS_symlink => symlink(asked, check, a[0], at, a[1]),
        libc::SYS_symlinkat => symlink(asked, check, a[0], low(a[1]), a[2]),
        libc::SYS_unlink => unlink(asked, check, at, a[0], 0),
        libc::SYS_rmdir => unlink(asked, check, at, a[0], libc::AT_REMOVEDIR),
        libc::SYS_unlinkat => unlink(asked, check, low(a[0]), a[1], low(a[2])),
        libc::SYS_rename => rename(asked, check, (at, a[0]), (at, a[1]), 0),
        libc::SYS_renameat => rename(asked, check, (low(a[0]), a[1]), (low(a[2]), a[3]), 0),
        libc::SYS_renameat2 => rename(asked, check, (low(a[0]), a[1]), (low(a[2]), a[3]), a[4] as u32),
        libc::SYS_link => link(asked, check, (at, a[0]), (at, a[1]), 0),
        libc::SYS_linkat => link(asked, check, (low(a[0]), a[1]), (low(a[2]), a[3]), low(a[4])),
        libc::SYS_inotify_add_watch => watch(asked, check),
        libc::SYS_ioctl => alter(asked, check, filter::altered(asked.number, &asked.args)?),
        // Programs do without them: their arguments stand in structs that grow, and handles lead past all names.
        SYS_SETXATTRAT..=SYS_REMOVEXATTRAT
        | SYS_FILE_GETATTR
        | SYS_FILE_SETATTR
        | libc::SYS_name_to_handle_at
        | libc::SYS_open_by_handle_at => Err(libc::ENOSYS),
        _ => return None,
    })
}

/// The object of a path argument. An empty path means the descriptor where the call allows that.
fn place(
    asked: &Asked<'_>,
    check: &dyn Check,
    dirfd: i32,
    addr: u64,
    follow: bool,
    empty: bool,
) -> Result<Place, Errno> {
    let path = asked.target.string(addr)?;
    asked.still_waiting()?;
    let walker = Walker::new(&asked.target, check);
    if path.is_empty() && empty {
        return if dirfd == libc::AT_FDCWD { walker.place(dirfd, b".", true) } else { walker.held(dirfd) };
    }
    walker.place(dirfd, &path, follow)
}

fn entry(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, addr: u64) -> Result<Entry, Errno> {
    let path = asked.target.string(addr)?;
    asked.still_waiting()?;
    Walker::new(&asked.target, check).entry(dirfd, &path)
}

/// Checks that an object may be looked at, by `STAT` or `LIST`. What the thread holds a descriptor of it may look at anyway.
fn check_place(check: &dyn Check, bits: u16, place: &Place) -> Result<(), Errno> {
    if place.own { Ok(()) } else { check.path(bits, &place.path) }
}

/// As [`check_place`] of more than fstat(2) tells, for which a descriptor has to be open with rights: without any (`O_PATH`) the
/// kernel may have opened another object than the one that was checked.
fn check_more(asked: &Asked<'_>, check: &dyn Check, place: &Place) -> Result<(), Errno> {
    if place.own && rights(asked, place)? != 0 { Ok(()) } else { check.path(verb::STAT, &place.path) }
}

/// Whether it is an object without a name (a pipe, a socket, a removed file) that the thread has opened: those are nobody else's. One that
/// it holds without rights may be another's all the same.
fn is_own_nameless(asked: &Asked<'_>, place: &Place) -> Result<bool, Errno> {
    if !place.own || (place.path.starts_with(b"/") && facts_of(&place.fd)?.st_nlink > 0) {
        return Ok(false);
    }
    Ok(rights(asked, place)? != 0)
}

/// Checks that an object may be opened with some rights. A descriptor of it gives those that it has itself, and no more: one
/// that was opened for reading does not let anybody write.
fn check_open(asked: &Asked<'_>, check: &dyn Check, bits: u16, place: &Place) -> Result<(), Errno> {
    if place.own && (rights(asked, place)? & bits == bits || is_own_nameless(asked, place)?) {
        return Ok(());
    }
    check.path(bits, &place.path)
}

/// The rights with which the descriptor is open that led to the object.
fn rights(asked: &Asked<'_>, place: &Place) -> Result<u16, Errno> {
    let Some(number) = place.descriptor.and_then(|number| u64::try_from(number).ok()) else { return Ok(0) };
    let Ok(held) = asked.target.descriptor(number) else { return Ok(0) };
    asked.still_waiting()?;
    let (found, meant) = (facts_of(&held)?, facts_of(&place.fd)?);
    if (found.st_dev, found.st_ino) != (meant.st_dev, meant.st_ino) {
        return Ok(0);
    }
    // SAFETY: takes no pointer.
    let flags = checked(unsafe { libc::fcntl(held.as_raw_fd(), libc::F_GETFL) }.into())? as i32;
    Ok(match flags & libc::O_ACCMODE {
        _ if flags & libc::O_PATH != 0 => 0,
        libc::O_RDONLY => verb::READ | verb::LIST,
        libc::O_WRONLY => verb::WRITE,
        libc::O_RDWR => verb::READ | verb::WRITE,
        _ => 0,
    })
}

fn open(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, addr: u64, flags: i32, mode: u64) -> Done {
    let path = asked.target.text(addr)?;
    open_path(asked, check, dirfd, &path, &How { flags, mode: mode as u32, resolve: 0 })
}

/// How a path is opened, as in `struct open_how`.
struct How {
    flags: i32,
    mode: u32,
    resolve: u64,
}

/// `struct open_how`: flags, mode, resolve.
fn openat2(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let bytes = asked.target.read_exact(asked.args[2], 24)?;
    let path = asked.target.text(asked.args[1])?;
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
    // What newer kernels take besides, programs do without.
    if word(16) & !RESOLVE_ALL != 0 || asked.args[3] < 24 {
        return Err(libc::ENOSYS);
    }
    let how = How { flags: word(0) as i32, mode: word(8) as u32, resolve: word(16) };
    let makes = how.flags & (libc::O_CREAT | TMPFILE) != 0;
    // open(2) takes no notice of either.
    if word(0) > u64::from(u32::MAX) || (!makes && word(8) != 0) {
        return Err(libc::EINVAL);
    }
    open_path(asked, check, low(asked.args[0]), &path, &how)
}

/// Opens a path that was read of the thread's memory, which need not have been found to be waiting still.
fn open_path(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, name: &CStr, how: &How) -> Done {
    let How { flags, mode, resolve } = *how;
    let makes = libc::O_CREAT | libc::O_DIRECTORY;
    // Since Linux 6.4, which says the same of files that are there.
    if flags & (makes | libc::O_PATH) == makes {
        return Err(libc::EINVAL);
    }
    let cloexec = flags & libc::O_CLOEXEC != 0;
    // To open a file for reading changes nothing, and only a thread that has waited all along can be given the descriptor: it
    // need not be asked whether it does.
    let changes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
    if changes {
        asked.still_waiting()?;
    }
    if resolve == 0
        && let Some(opened) = open_granted(check, asked.known, name, flags)
    {
        return opened.map(|fd| Answer::Descriptor(fd, cloexec));
    }
    if !changes {
        asked.still_waiting()?;
    }
    let path = name.to_bytes();
    let walker = Walker::with(&asked.target, check, resolve);
    match walker.place(dirfd, path, flags & libc::O_NOFOLLOW == 0) {
        Ok(place) => open_place(check, place, flags, mode, asked).map(|fd| match fd {
            Opened::Bare => Answer::Pass,
            Opened::Now(fd) => Answer::Descriptor(fd, cloexec),
            Opened::Slow(object, flags) => Answer::SlowOpen(object, flags, cloexec),
        }),
        Err(libc::ENOENT) if flags & libc::O_CREAT != 0 => {
            create(asked, check, dirfd, path, how).map(|fd| Answer::Descriptor(fd, cloexec))
        }
        Err(errno) => Err(errno),
    }
}

enum Opened {
    /// Without rights (`O_PATH`): the kernel hands no such descriptor to another process, so it opens this one itself. Whatever
    /// is done with it is asked here again, of the object that it then leads to.
    Bare,
    Now(OwnedFd),
    /// It may have to wait: for the other end of a pipe, for a device, until what a file holds is given up.
    Slow(OwnedFd, i32),
}

/// O_TMPFILE without the O_DIRECTORY that is part of it.
const TMPFILE: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;

/// What opening a file with these flags asks for. (The access mode that is neither asks for both, open(2).)
fn file_bits(flags: i32) -> u16 {
    let mode = flags & libc::O_ACCMODE;
    let reads = if mode == libc::O_WRONLY { 0 } else { verb::READ };
    let writes = if mode == libc::O_RDONLY && flags & libc::O_TRUNC == 0 { 0 } else { verb::WRITE };
    reads | writes
}

fn open_place(check: &dyn Check, place: Place, flags: i32, mode: u32, asked: &Asked<'_>) -> Result<Opened, Errno> {
    let kind = kind_of(&place.fd)?;
    if flags & libc::O_PATH != 0 {
        check_place(check, verb::STAT, &place)?;
        if flags & libc::O_DIRECTORY != 0 && kind != libc::S_IFDIR {
            return Err(libc::ENOTDIR);
        }
        return Ok(Opened::Bare);
    }
    if flags & libc::O_CREAT != 0 && flags & libc::O_EXCL != 0 {
        return Err(libc::EEXIST);
    }
    if kind == libc::S_IFLNK {
        return Err(if flags & libc::O_DIRECTORY != 0 { libc::ENOTDIR } else { libc::ELOOP });
    }
    if kind == libc::S_IFSOCK {
        return Err(libc::ENXIO);
    }
    let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
    if flags & TMPFILE != 0 {
        let path = [place.path.as_slice(), b"/#tmpfile"].concat();
        check.path(verb::CREATE, &path)?;
        let mode = mode & !asked.target.umask();
        return reopen(&place.fd, flags, mode).map(Opened::Now);
    }
    if kind == libc::S_IFDIR {
        if writes || flags & libc::O_CREAT != 0 {
            return Err(libc::EISDIR);
        }
        check_open(asked, check, verb::LIST, &place)?;
        return reopen(&place.fd, flags, 0).map(Opened::Now);
    }
    if flags & libc::O_DIRECTORY != 0 {
        return Err(libc::ENOTDIR);
    }
    let is_own_terminal = device_of(&place.fd)? == Some(OWN_TERMINAL);
    if is_own_terminal && asked.target.terminal() == 0 {
        // There is nothing that could be refused.
        return Err(libc::ENXIO);
    }
    check_open(asked, check, file_bits(flags), &place)?;
    let flags = flags & !(libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW);
    let object = if is_own_terminal { terminal_of(asked)? } else { place.fd };
    let may_wait = kind != libc::S_IFREG && flags & libc::O_NONBLOCK == 0 && !is_memory_device(&object)?;
    let empties = flags & libc::O_TRUNC != 0 && is_large(&facts_of(&object)?);
    if may_wait || empties {
        return Ok(Opened::Slow(object, flags));
    }
    reopen(&object, flags, 0).map(Opened::Now)
}

/// `/dev/tty`, which is another terminal for each session: opened here it would be the one of this process.
const OWN_TERMINAL: libc::dev_t = libc::makedev(5, 0);

/// The terminal of the caller's session.
fn terminal_of(asked: &Asked<'_>) -> Result<OwnedFd, Errno> {
    let device = asked.target.terminal();
    asked.still_waiting()?;
    let minor = libc::minor(device);
    let name = match libc::major(device) {
        // Unix98 terminals, virtual consoles, serial lines: Documentation/admin-guide/devices.txt of Linux.
        136 => format!("/dev/pts/{minor}\0"),
        4 if minor < 64 => format!("/dev/tty{minor}\0"),
        4 => format!("/dev/ttyS{}\0", minor - 64),
        _ => return Err(libc::ENXIO),
    };
    let name = CStr::from_bytes_with_nul(name.as_bytes()).map_err(|_| libc::ENXIO)?;
    let found = open_how(libc::AT_FDCWD, name, libc::O_PATH | libc::O_CLOEXEC, libc::RESOLVE_NO_SYMLINKS)?;
    if device_of(&found)? == Some(device) { Ok(found) } else { Err(libc::ENXIO) }
}

/// The number of a character device; `None` when it is none.
fn device_of(fd: &OwnedFd) -> Result<Option<libc::dev_t>, Errno> {
    let facts = facts_of(fd)?;
    Ok((facts.st_mode & libc::S_IFMT == libc::S_IFCHR).then_some(facts.st_rdev))
}

/// Opens a file or directory by a path that is granted as it is written: then one walk that follows no link at all reaches what
/// was granted or nothing, so that there is nothing to look up beforehand. `None`: it has to be done step by step.
fn open_granted(check: &dyn Check, known: &KnownFiles, name: &CStr, flags: i32) -> Option<Result<OwnedFd, Errno>> {
    let path = name.to_bytes();
    if flags & (libc::O_CREAT | libc::O_TRUNC | libc::O_PATH | TMPFILE) != 0
        || !is_tidy(path)
        || path.starts_with(b"/proc/")
    {
        return None;
    }
    let mode = flags & libc::O_ACCMODE;
    if mode == libc::O_ACCMODE {
        return None;
    }
    let is_listed = || mode == libc::O_RDONLY && check.grants(verb::LIST, path);
    let may_file = check.grants(file_bits(flags), path);
    if !may_file && !is_listed() {
        return None;
    }
    // A pipe or device would do something when it is opened: what it is is asked before, and again of what was opened. (By links
    // it may be another one here than for the program, which then is not opened.)
    let kind = known.kind_of(name).ok()?;
    let is_granted = match kind {
        libc::S_IFREG => may_file,
        libc::S_IFDIR => is_listed(),
        _ => false,
    };
    if !is_granted {
        return None;
    }
    let own = flags | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let fd = match open_how(libc::AT_FDCWD, name, own, libc::RESOLVE_NO_SYMLINKS) {
        Err(libc::ENOENT) => return Some(Err(libc::ENOENT)),
        fd => fd.ok()?,
    };
    if kind_of(&fd).ok()? != kind {
        known.forget(path);
        return None;
    }
    if flags & libc::O_NONBLOCK == 0 {
        // SAFETY: takes no pointer; sets the flags that the program has asked for, without the one that was added.
        unsafe {
            libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags & (libc::O_APPEND | libc::O_NOATIME | libc::O_DIRECT))
        };
    }
    Some(Ok(fd))
}

/// Absolute, with names only: what it is called by is then its canonical path, unless there are links on the way.
fn is_tidy(path: &[u8]) -> bool {
    let mut names = path.split(|byte| *byte == b'/');
    names.next() == Some(b"") && names.all(|name| !matches!(name, b"" | b"." | b".."))
}

/// Names that were those of files when they were opened last. One that is by now a pipe, which only its user could have put
/// there, is found out when it has been opened without waiting: then it is opened once more, as pipes are.
#[derive(Default)]
pub struct KnownFiles(RefCell<HashSet<Vec<u8>>>);

/// Most names that are remembered.
const MAX_KNOWN: usize = 1 << 14;

impl KnownFiles {
    fn kind_of(&self, name: &CStr) -> Result<u32, Errno> {
        let path = name.to_bytes();
        if self.0.borrow().contains(path) {
            return Ok(libc::S_IFREG);
        }
        let kind = kind_by_name(name)?;
        let mut names = self.0.borrow_mut();
        if names.len() >= MAX_KNOWN {
            names.clear();
        }
        if kind == libc::S_IFREG {
            names.insert(path.to_vec());
        }
        Ok(kind)
    }

    fn forget(&self, path: &[u8]) {
        self.0.borrow_mut().remove(path);
    }
}

/// `S_IFMT` bits of what has an absolute name; a link at its end is not followed.
fn kind_by_name(name: &CStr) -> Result<u32, Errno> {
    // SAFETY: a struct of plain numbers.
    let mut facts: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the name is NUL-terminated; the kernel fills the struct of this frame.
    checked(unsafe { libc::lstat(name.as_ptr(), &raw mut facts) }.into())?;
    Ok(facts.st_mode & libc::S_IFMT)
}

/// `/dev/null` and its like, which never wait.
fn is_memory_device(fd: &OwnedFd) -> Result<bool, Errno> {
    const MEMORY_DEVICES: u32 = 1;
    Ok(device_of(fd)?.is_some_and(|device| libc::major(device) == MEMORY_DEVICES))
}

/// Opens the very object again, with rights. A terminal does not become that of this process.
pub fn reopen(fd: &OwnedFd, flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = (flags & !libc::O_NOFOLLOW) | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: the name is NUL-terminated, and leads to an object that is held open.
    owned(unsafe { libc::open(name_of(fd).as_ptr(), flags, mode) }.into()).map_err(|error| errno_of(&error))
}

fn create(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, path: &[u8], how: &How) -> Result<OwnedFd, Errno> {
    let How { flags, mode, resolve } = *how;
    if path.last() == Some(&b'/') {
        return Err(libc::EISDIR);
    }
    let walker = Walker::with(&asked.target, check, resolve);
    let entry = if flags & (libc::O_EXCL | libc::O_NOFOLLOW) == 0 {
        walker.opened(dirfd, path)?
    } else {
        walker.entry(dirfd, path)?
    };
    // A link that leads nowhere is there all the same.
    if flags & libc::O_EXCL != 0 && exists(&entry) {
        return Err(libc::EEXIST);
    }
    check.path(verb::CREATE | file_bits(flags), &entry.path)?;
    let mode = mode & !asked.target.umask();
    let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the name is NUL-terminated; a link that appeared meanwhile is not followed.
    owned(unsafe { libc::openat(entry.directory.as_raw_fd(), entry.name.as_ptr(), flags, mode) }.into())
        .map_err(|error| errno_of(&error))
}

fn done(result: i64) -> Done {
    checked(result).map(Answer::Value)
}

fn stat(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, addr: u64, buffer: u64, flags: i32) -> Done {
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    let place = place(asked, check, dirfd, addr, follow, flags & libc::AT_EMPTY_PATH != 0)?;
    check_place(check, verb::STAT, &place)?;
    let facts = facts_of(&place.fd)?;
    asked.write(buffer, bytes_of(&facts))?;
    Ok(Answer::Value(0))
}

fn statx(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let [dirfd, addr, flags, mask, buffer, _] = asked.args;
    let flags = low(flags);
    let place = if addr == 0 {
        Walker::new(&asked.target, check).held(low(dirfd))?
    } else {
        let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        place(asked, check, low(dirfd), addr, follow, flags & libc::AT_EMPTY_PATH != 0)?
    };
    check_place(check, verb::STAT, &place)?;
    // SAFETY: a struct of plain numbers.
    let mut facts: libc::statx = unsafe { std::mem::zeroed() };
    let flags = (flags & !libc::AT_SYMLINK_NOFOLLOW) | libc::AT_EMPTY_PATH;
    // SAFETY: an empty path means the descriptor; the kernel fills the struct of this frame.
    checked(unsafe { libc::statx(place.fd.as_raw_fd(), c"".as_ptr(), flags, mask as u32, &raw mut facts) }.into())?;
    asked.write(buffer, bytes_of(&facts))?;
    Ok(Answer::Value(0))
}

/// A struct that the kernel has filled, as bytes.
fn bytes_of<T>(value: &T) -> &[u8] {
    // SAFETY: only used for structs of the kernel that were zeroed first, so that their padding is initialised.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

fn access(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, addr: u64, mode: i32, flags: i32) -> Done {
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    let place = place(asked, check, dirfd, addr, follow, flags & libc::AT_EMPTY_PATH != 0)?;
    check_place(check, verb::STAT, &place)?;
    let flags = (flags & libc::AT_EACCESS) | libc::AT_EMPTY_PATH;
    // SAFETY: an empty path means the descriptor.
    done(unsafe { libc::syscall(libc::SYS_faccessat2, place.fd.as_raw_fd(), c"".as_ptr(), mode, flags) })
}

fn readlink(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, addr: u64, buffer: u64, size: u64) -> Done {
    if size == 0 || size > i32::MAX as u64 {
        return Err(libc::EINVAL);
    }
    let path = asked.target.string(addr)?;
    asked.still_waiting()?;
    if let Some(text) = own_link(asked, &path) {
        return answer_link(asked, buffer, size, text.as_bytes());
    }
    let walker = Walker::new(&asked.target, check);
    let place = if path.is_empty() { walker.held(dirfd)? } else { walker.place(dirfd, &path, false)? };
    if let Some(text) = own_link(asked, &place.path) {
        return answer_link(asked, buffer, size, text.as_bytes());
    }
    // Programs ask this of every name on the way to a file; the kernel's answer says no more than that it is there.
    if !is_link(&place.fd)? {
        return Err(libc::EINVAL);
    }
    if !names_descriptor(asked, &place.path) {
        check_more(asked, check, &place)?;
        check.reads_link(&place.path)?;
    }
    let mut text = vec![0_u8; (size as usize).min(4096)];
    // SAFETY: an empty path means the descriptor; the buffer has that size.
    let length =
        checked(unsafe { libc::readlinkat(place.fd.as_raw_fd(), c"".as_ptr(), text.as_mut_ptr().cast(), text.len()) }
            as i64)
        .map_err(|errno| if errno == libc::ENOENT { libc::EINVAL } else { errno })?;
    answer_link(asked, buffer, size, &text[..length as usize])
}

/// What `/proc/self` and its like lead to, which is another process for whoever asks.
fn own_link(asked: &Asked<'_>, path: &[u8]) -> Option<String> {
    let target = &asked.target;
    match path {
        b"/proc/self" => Some(target.tgid.to_string()),
        b"/proc/thread-self" => Some(format!("{}/task/{}", target.tgid, target.tid)),
        _ => None,
    }
}

/// Whether a canonical name is that of a descriptor of the process itself, which may ask what it has opened.
fn names_descriptor(asked: &Asked<'_>, path: &[u8]) -> bool {
    let rest = path.strip_prefix(format!("/proc/{}/", asked.target.tgid).as_bytes());
    let number = rest.and_then(|rest| rest.strip_prefix(b"fd/"));
    number.is_some_and(|number| number.iter().all(u8::is_ascii_digit))
}

fn answer_link(asked: &Asked<'_>, buffer: u64, size: u64, text: &[u8]) -> Done {
    let length = text.len().min(size as usize);
    asked.write(buffer, &text[..length])?;
    Ok(Answer::Value(length as i64))
}

fn statfs(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let place = place(asked, check, libc::AT_FDCWD, asked.args[0], true, false)?;
    check_place(check, verb::STAT, &place)?;
    // SAFETY: a struct of plain numbers.
    let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the struct of this frame.
    checked(unsafe { libc::fstatfs(place.fd.as_raw_fd(), &raw mut facts) }.into())?;
    asked.write(asked.args[1], bytes_of(&facts))?;
    Ok(Answer::Value(0))
}

/// Where a thread stands cannot be changed from outside. The kernel does it, which gives nothing away: every later path is
/// resolved from where the thread stands then.
fn chdir(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let place = place(asked, check, libc::AT_FDCWD, asked.args[0], true, false)?;
    check_place(check, verb::STAT, &place)?;
    Ok(Answer::Pass)
}

fn get_attribute(asked: &Asked<'_>, check: &dyn Check, follow: bool) -> Done {
    let [addr, name, buffer, size, ..] = asked.args;
    let place = place(asked, check, libc::AT_FDCWD, addr, follow, false)?;
    check_more(asked, check, &place)?;
    let name = asked.target.text(name)?;
    let mut value = vec![0_u8; (size as usize).min(XATTR_MAX)];
    // SAFETY: both names are NUL-terminated; the buffer has that size.
    let length = checked(unsafe {
        libc::getxattr(name_of(&place.fd).as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    } as i64)?;
    if size > 0 {
        asked.write(buffer, &value[..length as usize])?;
    }
    Ok(Answer::Value(length))
}

fn list_attributes(asked: &Asked<'_>, check: &dyn Check, follow: bool) -> Done {
    let [addr, buffer, size, ..] = asked.args;
    let place = place(asked, check, libc::AT_FDCWD, addr, follow, false)?;
    check_more(asked, check, &place)?;
    let mut list = vec![0_u8; (size as usize).min(XATTR_MAX)];
    // SAFETY: the name is NUL-terminated; the buffer has that size.
    let length =
        checked(unsafe { libc::listxattr(name_of(&place.fd).as_ptr(), list.as_mut_ptr().cast(), list.len()) } as i64)?;
    if size > 0 {
        asked.write(buffer, &list[..length as usize])?;
    }
    Ok(Answer::Value(length))
}

fn set_attribute(asked: &Asked<'_>, check: &dyn Check, follow: bool) -> Done {
    let place = place(asked, check, libc::AT_FDCWD, asked.args[0], follow, false)?;
    set_attribute_of(asked, check, &place)
}

fn set_held_attribute(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let place = Walker::new(&asked.target, check).held(low(asked.args[0]))?;
    set_attribute_of(asked, check, &place)
}

fn set_attribute_of(asked: &Asked<'_>, check: &dyn Check, place: &Place) -> Done {
    let [_, name, value, size, flags, _] = asked.args;
    check_change(asked, check, verb::CHMETA, place)?;
    if size as usize > XATTR_MAX {
        return Err(libc::E2BIG);
    }
    let name = asked.target.text(name)?;
    let value = asked.target.read_exact(value, size as usize)?;
    asked.still_waiting()?;
    // SAFETY: both names are NUL-terminated; the value has that size.
    done(
        unsafe {
            libc::setxattr(name_of(&place.fd).as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), low(flags))
        }
        .into(),
    )
}

fn remove_attribute(asked: &Asked<'_>, check: &dyn Check, follow: bool) -> Done {
    let place = place(asked, check, libc::AT_FDCWD, asked.args[0], follow, false)?;
    remove_attribute_of(asked, check, &place)
}

fn remove_held_attribute(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let place = Walker::new(&asked.target, check).held(low(asked.args[0]))?;
    remove_attribute_of(asked, check, &place)
}

fn remove_attribute_of(asked: &Asked<'_>, check: &dyn Check, place: &Place) -> Done {
    check_change(asked, check, verb::CHMETA, place)?;
    let name = asked.target.text(asked.args[1])?;
    asked.still_waiting()?;
    // SAFETY: both names are NUL-terminated.
    done(unsafe { libc::removexattr(name_of(&place.fd).as_ptr(), name.as_ptr()) }.into())
}

fn chmod(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, addr: u64, mode: u64, flags: i32) -> Done {
    if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(libc::EINVAL);
    }
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    let place = place(asked, check, dirfd, addr, follow, flags & libc::AT_EMPTY_PATH != 0)?;
    check_change(asked, check, verb::CHMETA, &place)?;
    // SAFETY: the name is NUL-terminated.
    done(unsafe { libc::chmod(name_of(&place.fd).as_ptr(), mode as u32) }.into())
}

fn fchmod(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let place = Walker::new(&asked.target, check).held(low(asked.args[0]))?;
    check_change(asked, check, verb::CHMETA, &place)?;
    // SAFETY: the name is NUL-terminated.
    done(unsafe { libc::chmod(name_of(&place.fd).as_ptr(), asked.args[1] as u32) }.into())
}

/// What ioctl(2) changes of a file, for which one that was opened for reading will do.
fn alter(asked: &Asked<'_>, check: &dyn Check, size: usize) -> Done {
    let [fd, request, addr, ..] = asked.args;
    let place = Walker::new(&asked.target, check).held(low(fd))?;
    check_change(asked, check, verb::CHMETA, &place)?;
    let mut value = asked.target.read_exact(addr, size)?;
    asked.still_waiting()?;
    let held = asked.target.descriptor(fd)?;
    let (own, meant) = (facts_of(&held)?, facts_of(&place.fd)?);
    if (own.st_dev, own.st_ino) != (meant.st_dev, meant.st_ino) {
        return Err(libc::EBADF);
    }
    // SAFETY: the kernel reads no more than was read of the program.
    done(unsafe { libc::ioctl(held.as_raw_fd(), request as libc::Ioctl, value.as_mut_ptr()) }.into())
}

/// Checks that an object may be changed, by `CHMETA` or `WRITE`.
fn check_change(asked: &Asked<'_>, check: &dyn Check, bits: u16, place: &Place) -> Result<(), Errno> {
    if is_own_nameless(asked, place)? { Ok(()) } else { check.path(bits, &place.path) }
}

fn chown(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, addr: u64, (uid, gid): (u64, u64), flags: i32) -> Done {
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    let place = if addr == 0 {
        Walker::new(&asked.target, check).held(dirfd)?
    } else {
        place(asked, check, dirfd, addr, follow, flags & libc::AT_EMPTY_PATH != 0)?
    };
    check_change(asked, check, verb::CHMETA, &place)?;
    // SAFETY: an empty path means the descriptor.
    done(
        unsafe { libc::fchownat(place.fd.as_raw_fd(), c"".as_ptr(), uid as u32, gid as u32, libc::AT_EMPTY_PATH) }
            .into(),
    )
}

fn set_times(place: &Place, times: Option<[libc::timespec; 2]>) -> Done {
    let pointer = times.as_ref().map_or(std::ptr::null(), |times| times.as_ptr());
    // SAFETY: the name is NUL-terminated; the times are an array of this frame, or NULL.
    done(unsafe { libc::utimensat(libc::AT_FDCWD, name_of(&place.fd).as_ptr(), pointer, 0) }.into())
}

fn utimensat(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let [dirfd, addr, times, flags, ..] = asked.args;
    let follow = low(flags) & libc::AT_SYMLINK_NOFOLLOW == 0;
    let place = if addr == 0 {
        Walker::new(&asked.target, check).held(low(dirfd))?
    } else {
        place(asked, check, low(dirfd), addr, follow, low(flags) & libc::AT_EMPTY_PATH != 0)?
    };
    check_change(asked, check, verb::CHMETA, &place)?;
    set_times(&place, read_times(asked, times, 1)?)
}

/// Two pairs of words; `scale` nanoseconds to the unit of the second word.
fn read_times(asked: &Asked<'_>, addr: u64, scale: i64) -> Result<Option<[libc::timespec; 2]>, Errno> {
    if addr == 0 {
        return Ok(None);
    }
    let bytes = asked.target.read_exact(addr, 32)?;
    asked.still_waiting()?;
    let word = |k: usize| i64::from_ne_bytes(bytes[8 * k..8 * k + 8].try_into().unwrap_or_default());
    let time = |k: usize| libc::timespec { tv_sec: word(k), tv_nsec: word(k + 1).saturating_mul(scale) };
    Ok(Some([time(0), time(2)]))
}

fn old_times(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, addr: u64, times: u64, micro: bool) -> Done {
    let place = place(asked, check, dirfd, addr, true, false)?;
    check_change(asked, check, verb::CHMETA, &place)?;
    if micro {
        return set_times(&place, read_times(asked, times, 1000)?);
    }
    if times == 0 {
        return set_times(&place, None);
    }
    let bytes = asked.target.read_exact(times, 16)?;
    asked.still_waiting()?;
    let word = |k: usize| i64::from_ne_bytes(bytes[8 * k..8 * k + 8].try_into().unwrap_or_default());
    let time = |k: usize| libc::timespec { tv_sec: word(k), tv_nsec: 0 };
    set_times(&place, Some([time(0), time(1)]))
}

fn truncate(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let place = place(asked, check, libc::AT_FDCWD, asked.args[0], true, false)?;
    if kind_of(&place.fd)? == libc::S_IFDIR {
        return Err(libc::EISDIR);
    }
    check_change(asked, check, verb::WRITE, &place)?;
    Ok(Answer::Slow(Slow::Freeing(Freeing::Truncation(place.fd, asked.args[1] as i64))))
}

/// Calls that give up what a file holds, which takes the longer the more that is; to truncate one also waits for whoever has taken a
/// lease on it.
pub enum Freeing {
    /// To a length.
    Truncation(OwnedFd, i64),
    /// Flags of unlinkat(2).
    Removal(Entry, i32),
    /// From, to, flags of renameat2(2): what stood there is removed.
    Replacement(Entry, Entry, u32),
}

/// A file that takes so much room is given up apart. (It takes as long as some opens.)
const LARGE: i64 = 4 << 20;
/// Unit of `st_blocks`, stat(2).
const BLOCK: i64 = 512;

fn is_large(facts: &libc::stat) -> bool {
    facts.st_mode & libc::S_IFMT == libc::S_IFREG && facts.st_blocks >= LARGE / BLOCK
}

impl Freeing {
    /// At once, or apart when what is given up is large: `stands` tells what it is.
    fn answer(self, stands: Option<&libc::stat>) -> Done {
        if stands.is_some_and(is_large) {
            Ok(Answer::Slow(Slow::Freeing(self)))
        } else {
            self.perform().map(Answer::Value)
        }
    }

    /// How many descriptors it holds.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        match self {
            Freeing::Truncation(..) | Freeing::Removal(..) => 1,
            Freeing::Replacement(..) => 2,
        }
    }

    /// # Errors
    /// Those of the call.
    pub fn perform(&self) -> Result<i64, Errno> {
        let result = match self {
            // SAFETY: the name is NUL-terminated.
            Freeing::Truncation(file, length) => unsafe { libc::truncate(name_of(file).as_ptr(), *length) },
            Freeing::Removal(entry, flags) => {
                // SAFETY: the name is NUL-terminated.
                unsafe { libc::unlinkat(entry.directory.as_raw_fd(), entry.name.as_ptr(), *flags) }
            }
            Freeing::Replacement(from, to, flags) => {
                let (old, new) = (from.directory.as_raw_fd(), to.directory.as_raw_fd());
                // SAFETY: both names are NUL-terminated.
                unsafe { libc::renameat2(old, from.name.as_ptr(), new, to.name.as_ptr(), *flags) }
            }
        };
        checked(result.into())
    }
}

/// What stands there.
fn facts_at(entry: &Entry) -> Option<libc::stat> {
    // SAFETY: a struct of plain numbers.
    let mut facts: libc::stat = unsafe { std::mem::zeroed() };
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the name is NUL-terminated; the kernel fills the struct of this frame.
    let result = unsafe { libc::fstatat(entry.directory.as_raw_fd(), entry.name.as_ptr(), &raw mut facts, flags) };
    (result == 0).then_some(facts)
}

/// `S_IFMT` bits of it.
fn kind_at(entry: &Entry) -> Option<u32> {
    facts_at(entry).map(|facts| facts.st_mode & libc::S_IFMT)
}

fn exists(entry: &Entry) -> bool {
    kind_at(entry).is_some()
}

/// The kernel says that a name is taken before it asks whether it may be made; so does this.
fn check_new(check: &dyn Check, entry: &Entry) -> Result<(), Errno> {
    if exists(entry) { Err(libc::EEXIST) } else { check.path(verb::CREATE, &entry.path) }
}

/// As [`check_new`], of what is no directory, and has no name that says so.
fn check_new_file(check: &dyn Check, entry: &Entry) -> Result<(), Errno> {
    if entry.is_directory && !exists(entry) { Err(libc::ENOENT) } else { check_new(check, entry) }
}

fn mkdir(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, addr: u64, mode: u64) -> Done {
    let path = asked.target.string(addr)?;
    asked.still_waiting()?;
    let entry = match Walker::new(&asked.target, check).entry(dirfd, &path) {
        // `.`, `..` and `/` are there already.
        Err(libc::EINVAL | libc::EBUSY) => return Err(libc::EEXIST),
        entry => entry?,
    };
    check_new(check, &entry)?;
    let mode = mode as u32 & !asked.target.umask();
    // SAFETY: the name is NUL-terminated.
    done(unsafe { libc::mkdirat(entry.directory.as_raw_fd(), entry.name.as_ptr(), mode) }.into())
}

fn mknod(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, addr: u64, mode: u64, device: u64) -> Done {
    let kind = mode as u32 & libc::S_IFMT;
    if kind == libc::S_IFCHR || kind == libc::S_IFBLK {
        return Err(libc::EPERM);
    }
    let entry = entry(asked, check, dirfd, addr)?;
    check_new_file(check, &entry)?;
    let mode = mode as u32 & !asked.target.umask();
    // SAFETY: the name is NUL-terminated.
    done(unsafe { libc::mknodat(entry.directory.as_raw_fd(), entry.name.as_ptr(), mode, device) }.into())
}

fn symlink(asked: &Asked<'_>, check: &dyn Check, text: u64, dirfd: i32, addr: u64) -> Done {
    let text = asked.target.text(text)?;
    let entry = entry(asked, check, dirfd, addr)?;
    check_new_file(check, &entry)?;
    // SAFETY: both names are NUL-terminated.
    done(unsafe { libc::symlinkat(text.as_ptr(), entry.directory.as_raw_fd(), entry.name.as_ptr()) }.into())
}

fn unlink(asked: &Asked<'_>, check: &dyn Check, dirfd: i32, addr: u64, flags: i32) -> Done {
    let entry = entry(asked, check, dirfd, addr)?;
    // Programs ask in this way what it is, and remove a directory then (remove(3)).
    let facts = facts_at(&entry).ok_or(libc::ENOENT)?;
    match (facts.st_mode & libc::S_IFMT == libc::S_IFDIR, flags & libc::AT_REMOVEDIR != 0) {
        (true, false) => return Err(libc::EISDIR),
        (false, true) => return Err(libc::ENOTDIR),
        (false, false) if entry.is_directory => return Err(libc::ENOTDIR),
        _ => {}
    }
    check.path(verb::DELETE, &entry.path)?;
    Freeing::Removal(entry, flags).answer(Some(&facts))
}

fn rename(asked: &Asked<'_>, check: &dyn Check, from: (i32, u64), to: (i32, u64), flags: u32) -> Done {
    let from = entry(asked, check, from.0, from.1)?;
    let to = entry(asked, check, to.0, to.1)?;
    let kind = kind_at(&from).ok_or(libc::ENOENT)?;
    if kind != libc::S_IFDIR && (from.is_directory || to.is_directory) {
        return Err(libc::ENOTDIR);
    }
    check.path(verb::RENAME, &from.path)?;
    check.path(verb::RENAME, &to.path)?;
    let replaced = facts_at(&to);
    // Until what is large is given up, a directory may come to stand in either place.
    let is_late = replaced.as_ref().is_some_and(is_large);
    check.moved(&from.path, &to.path, is_late || kind == libc::S_IFDIR)?;
    if flags & libc::RENAME_EXCHANGE != 0
        && let Some(facts) = &replaced
    {
        check.moved(&to.path, &from.path, is_late || facts.st_mode & libc::S_IFMT == libc::S_IFDIR)?;
    }
    Freeing::Replacement(from, to, flags).answer(replaced.as_ref())
}

fn link(asked: &Asked<'_>, check: &dyn Check, from: (i32, u64), to: (i32, u64), flags: i32) -> Done {
    let follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
    let place = place(asked, check, from.0, from.1, follow, flags & libc::AT_EMPTY_PATH != 0)?;
    let entry = entry(asked, check, to.0, to.1)?;
    if exists(&entry) {
        return Err(libc::EEXIST);
    }
    if entry.is_directory {
        return Err(libc::ENOENT);
    }
    if kind_of(&place.fd)? == libc::S_IFDIR {
        return Err(libc::EPERM);
    }
    // However it was named: another name is another set of grants.
    let is_nameless = is_own_nameless(asked, &place)?;
    if !is_nameless {
        check.path(verb::WRITE, &place.path)?;
    }
    check.path(verb::CREATE, &entry.path)?;
    if !is_nameless {
        check.moved(&place.path, &entry.path, false)?;
    }
    // SAFETY: both names are NUL-terminated; the first is followed to the object itself.
    done(
        unsafe {
            libc::linkat(
                libc::AT_FDCWD,
                name_of(&place.fd).as_ptr(),
                entry.directory.as_raw_fd(),
                entry.name.as_ptr(),
                libc::AT_SYMLINK_FOLLOW,
            )
        }
        .into(),
    )
}

fn watch(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let [fd, addr, mask, ..] = asked.args;
    let follow = mask as u32 & libc::IN_DONT_FOLLOW == 0;
    let place = place(asked, check, libc::AT_FDCWD, addr, follow, false)?;
    check_more(asked, check, &place)?;
    let inotify = asked.target.descriptor(fd)?;
    let mask = mask as u32 & !libc::IN_DONT_FOLLOW;
    // SAFETY: the name is NUL-terminated.
    done(unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), name_of(&place.fd).as_ptr(), mask) }.into())
}

/// The interpreter that running a file asks for, if it names one.
pub fn interpreter_of(asked: &Asked<'_>, check: &dyn Check, program: &Place) -> Option<Place> {
    // To open a named pipe would wait, and no kernel runs one.
    let is_file = kind_of(&program.fd) == Ok(libc::S_IFREG);
    let file = is_file.then(|| reopen(&program.fd, libc::O_RDONLY, 0))?.ok()?;
    let path = interpreter::of(file.into())?;
    Walker::new(&asked.target, check).place(libc::AT_FDCWD, &path, true).ok()
}

/// The program of an exec: checked, and then run by the kernel. What really runs is looked at when it calls again. One that is
/// removed, or only ever was in memory, is granted by the name that it has then (`processes.rs`).
pub fn exec_place(asked: &Asked<'_>, check: &dyn Check) -> Result<Place, Errno> {
    let mut place = named_program(asked, check)?;
    if place.path.ends_with(GONE) && facts_of(&place.fd)?.st_nlink == 0 {
        place.path.truncate(place.path.len() - GONE.len());
    }
    Ok(place)
}

fn named_program(asked: &Asked<'_>, check: &dyn Check) -> Result<Place, Errno> {
    let a = asked.args;
    if asked.number == libc::SYS_execveat {
        let flags = low(a[4]);
        let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        return place(asked, check, low(a[0]), a[1], follow, flags & libc::AT_EMPTY_PATH != 0);
    }
    place(asked, check, libc::AT_FDCWD, a[0], true, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_is_given_up_apart() {
        let base = std::env::temp_dir().join(format!("trace-freeing-{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let entry = |name: &str| Entry {
            directory: std::fs::File::open(&base).unwrap().into(),
            name: std::ffi::CString::new(name).unwrap(),
            path: Vec::new(),
            is_directory: false,
        };
        for (name, size, is_apart) in [("small", 1, false), ("large", LARGE as usize, true)] {
            let fill = || {
                std::fs::write(base.join(name), vec![1; size]).unwrap();
                // File systems find room for what is written when they write it.
                std::fs::File::open(base.join(name)).unwrap().sync_all().unwrap();
                std::fs::write(base.join("new"), "new").unwrap();
                facts_at(&entry(name)).unwrap()
            };
            for freeing in [Freeing::Removal(entry(name), 0), Freeing::Replacement(entry("new"), entry(name), 0)] {
                let facts = fill();
                match freeing.answer(Some(&facts)).unwrap_or_else(Answer::Refused) {
                    Answer::Slow(Slow::Freeing(freeing)) => {
                        assert!(is_apart && facts_at(&entry(name)).unwrap().st_blocks == facts.st_blocks);
                        assert_eq!(freeing.perform(), Ok(0));
                    }
                    answer => assert!(!is_apart && matches!(answer, Answer::Value(0))),
                }
                assert!(facts_at(&entry(name)).is_none_or(|facts| facts.st_size == 3));
            }
        }
        std::fs::remove_dir_all(&base).unwrap();
    }
}
