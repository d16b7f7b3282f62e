//! Files, pipes and sockets, of this process and behind the descriptors of others.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd};

use libc::{c_int, c_long, pid_t};

use super::check;

/// A file of zeros in memory, which may be sealed and mapped executable, memfd_create(2).
///
/// # Errors
/// As memfd_create(2) and ftruncate(2).
pub fn memory_file(name: &CStr, length: u64) -> io::Result<File> {
    /// Since Linux 6.3; without it a system may be set up to make the file not executable.
    const MFD_EXEC: u32 = 0x10;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a string with its end.
    let make = |flags: u32| check(c_long::from(unsafe { libc::memfd_create(name.as_ptr(), flags) }));
    let fd = make(flags | MFD_EXEC).or_else(|_| make(flags))?;
    // SAFETY: just made, and owned by nobody else.
    let file = unsafe { File::from_raw_fd(fd as c_int) };
    file.set_len(length)?;
    Ok(file)
}

/// Has a file in memory consist of large pages, of which a process that maps it gets many at each fault, madvise(2) with `MADV_COLLAPSE`
/// (Linux 6.1). Where the kernel does not do that, it stays as it is. The length is to be a multiple of [`LARGE_PAGE`].
pub fn collapse(file: &File, length: u64) {
    const MADV_COLLAPSE: c_int = 25;
    let Ok(room) = usize::try_from(length + LARGE_PAGE) else { return };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, whose address the kernel chooses.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), room, libc::PROT_NONE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return;
    }
    let aligned = start.map_addr(|addr| addr.next_multiple_of(LARGE_PAGE as usize));
    let length = length as usize;
    // SAFETY: in place of part of that mapping, which nobody uses.
    unsafe {
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        if libc::mmap(aligned, length, libc::PROT_READ, flags, file.as_raw_fd(), 0) == aligned {
            libc::madvise(aligned, length, MADV_COLLAPSE);
        }
        libc::munmap(start, room);
    }
}

/// Bytes of a large page.
pub const LARGE_PAGE: u64 = 2 << 20;

/// Lets nobody change a file in memory any more, fcntl(2) with F_ADD_SEALS.
///
/// # Errors
/// As that.
pub fn seal(file: &File) -> io::Result<()> {
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    // SAFETY: takes no pointer.
    check(c_long::from(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })).map(drop)
}

/// The file behind a descriptor of another process, opened again for reading, so that it has a position of its own. A pipe
/// stays the same pipe.
pub fn open_again(tid: pid_t, fd: c_int) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(format!("/proc/{tid}/fd/{fd}"))
}

/// The open file description behind a descriptor of another thread, shared with it, pidfd_getfd(2). `pid` is its process.
pub fn share_descriptor(pid: pid_t, tid: pid_t, fd: c_int) -> io::Result<OwnedFd> {
    /// Linux 6.9: the thread itself, which may have a table of its own.
    const PIDFD_THREAD: c_int = libc::O_EXCL;
    // SAFETY: takes no pointer.
    let open = |of: pid_t, flags: c_int| check(unsafe { libc::syscall(libc::SYS_pidfd_open, of, flags) });
    let process = open(tid, PIDFD_THREAD).or_else(|_| open(pid, 0))?;
    // SAFETY: just made, and owned by nobody else.
    let process = unsafe { OwnedFd::from_raw_fd(process as c_int) };
    // SAFETY: takes no pointer.
    let shared = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })?;
    // SAFETY: just made, and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(shared as c_int) })
}

/// How long calls that use a socket wait at most, by the option that says it: SO_RCVTIMEO or SO_SNDTIMEO, socket(7). In nanoseconds; 0 is without
/// end.
pub fn socket_limit(socket: &impl AsRawFd, option: c_int) -> io::Result<u64> {
    let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut length = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: the time and its length are of this frame.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw mut time).cast(), &raw mut length)
    };
    check(c_long::from(done))?;
    Ok((time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_usec as u64 * 1000))
}

/// How many bytes there is room for where a file is, or this process may write to one, if that is less.
pub fn room_for(file: &File) -> io::Result<u64> {
    let mut disk = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: statvfs is plain data, and the kernel fills it.
    let disk = unsafe {
        check(c_long::from(libc::fstatvfs(file.as_raw_fd(), disk.as_mut_ptr())))?;
        disk.assume_init()
    };
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: 0 };
    // SAFETY: the limit is of this frame.
    check(c_long::from(unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) }))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize).min(limit.rlim_cur))
}

/// A pipe of this process with room for so many bytes, if it may have that much: the ends to read and to write.
pub fn wide_pipe(room: c_int) -> io::Result<(File, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: pipe2 writes two descriptors.
    check(c_long::from(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) }))?;
    // SAFETY: takes no pointer; a smaller pipe is as good.
    unsafe { libc::fcntl(ends[1], libc::F_SETPIPE_SZ, room) };
    // SAFETY: both descriptors are new and owned by nobody else.
    Ok(unsafe { (File::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Copies what is in a pipe to another one, and leaves it there, tee(2). 0 when nothing will ever come.
///
/// # Errors
/// EAGAIN when nothing has come yet.
pub fn copy_pipe(from: &impl AsRawFd, to: &impl AsRawFd, most: usize) -> io::Result<usize> {
    // SAFETY: takes no pointer.
    let copied = unsafe { libc::tee(from.as_raw_fd(), to.as_raw_fd(), most, libc::SPLICE_F_NONBLOCK) };
    check(copied as c_long).map(|copied| copied as usize)
}

/// Looks at what has come to a stream socket, and leaves it there. 0 when nothing will ever come.
///
/// # Errors
/// EAGAIN when nothing has come yet.
pub fn peek_socket(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`.
    let got = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    check(got as c_long).map(|got| got as usize)
}

/// Whether a socket carries a stream of bytes.
#[must_use]
pub fn is_stream_socket(socket: &impl AsRawFd) -> bool {
    let (mut kind, mut length) = (0 as c_int, size_of::<c_int>() as libc::socklen_t);
    let value = (&raw mut kind).cast();
    // SAFETY: the kernel writes one int, whose length `length` says.
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TYPE, value, &raw mut length) };
    done == 0 && kind == libc::SOCK_STREAM
}

/// The parts of a file between two offsets that hold data: offset and length, lseek(2) with SEEK_DATA.
pub fn data_extents(file: &File, from: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
    /// A file of more parts is not one that is nearly empty.
    const MOST: usize = 1 << 14;
    // SAFETY: takes no pointer.
    let seek = |at: u64, how: c_int| check(unsafe { libc::lseek(file.as_raw_fd(), at as i64, how) });
    let (mut found, mut at) = (Vec::new(), from);
    while at < end && found.len() < MOST {
        let start = match seek(at, libc::SEEK_DATA) {
            Ok(start) => start as u64,
            // Nothing but a hole follows.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(found),
            Err(error) => return Err(error),
        };
        if start >= end {
            return Ok(found);
        }
        at = seek(start, libc::SEEK_HOLE)? as u64;
        found.push((start, at.min(end) - start));
    }
    if at < end { Err(io::Error::from_raw_os_error(libc::EFBIG)) } else { Ok(found) }
}

/// The type of the file system that a file is on, statfs(2).
pub fn file_system(file: &impl AsRawFd) -> io::Result<i64> {
    let mut facts = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel writes one struct statfs.
    check(c_long::from(unsafe { libc::fstatfs(file.as_raw_fd(), facts.as_mut_ptr()) }))?;
    // SAFETY: zeroed above and then written by the kernel.
    Ok(unsafe { facts.assume_init() }.f_type)
}

/// Whether two open descriptors of two processes are one open file description, kcmp(2); `None` when the kernel will not say.
#[must_use]
pub fn same_file(one: (pid_t, i32), other: (pid_t, i32)) -> Option<bool> {
    kcmp_file(one, other).ok().map(|order| order == 0)
}

fn kcmp_file(one: (pid_t, i32), other: (pid_t, i32)) -> io::Result<c_long> {
    const KCMP_FILE: c_long = 0;
    // SAFETY: takes no pointer.
    check(unsafe {
        libc::syscall(libc::SYS_kcmp, one.0, other.0, KCMP_FILE, c_long::from(one.1), c_long::from(other.1))
    })
}

/// Type, device and inode behind a path, following links; the path may be a magic link of /proc.
pub fn stat(path: &CStr) -> io::Result<libc::stat> {
    let mut buffer = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `path` is NUL-terminated and the kernel writes one stat.
    check(c_long::from(unsafe { libc::stat(path.as_ptr(), buffer.as_mut_ptr()) }))?;
    // SAFETY: filled by the kernel.
    Ok(unsafe { buffer.assume_init() })
}

/// Device, inode and mode of a file, as the kernel knows them: no server or process that serves the file is asked.
///
/// # Errors
/// As statx(2).
pub fn known_facts(path: &CStr) -> io::Result<(u64, u64, u32)> {
    let mut buffer = MaybeUninit::<libc::statx>::zeroed();
    let wanted = libc::STATX_TYPE | libc::STATX_MODE | libc::STATX_INO;
    // SAFETY: `path` is NUL-terminated and the kernel writes one statx.
    let result =
        unsafe { libc::statx(libc::AT_FDCWD, path.as_ptr(), libc::AT_STATX_DONT_SYNC, wanted, buffer.as_mut_ptr()) };
    check(c_long::from(result))?;
    // SAFETY: filled by the kernel.
    let facts = unsafe { buffer.assume_init() };
    Ok((libc::makedev(facts.stx_dev_major, facts.stx_dev_minor), facts.stx_ino, u32::from(facts.stx_mode)))
}

/// Reads a symbolic link into `buffer`; the length, or the error.
pub fn read_link(path: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `path` is NUL-terminated, the kernel writes at most `buffer.len()` bytes.
    let length = unsafe { libc::readlink(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    check(length as c_long).map(|length| length as usize)
}

/// Whether a descriptor of a process is open; `None` when the kernel will not say.
#[must_use]
pub fn is_open(pid: pid_t, fd: i32) -> Option<bool> {
    match kcmp_file((pid, fd), (pid, fd)) {
        Ok(_) => Some(true),
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Some(false),
        Err(_) => None,
    }
}

/// Whether a descriptor can be read without waiting, or its other end is gone; waits for it so many milliseconds, poll(2).
pub fn is_readable(fd: c_int, within_ms: c_int) -> bool {
    let mut wait = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry of this frame.
    unsafe { libc::poll(&raw mut wait, 1, within_ms) > 0 }
}
