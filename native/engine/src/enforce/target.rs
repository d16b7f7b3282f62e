//! The thread whose call is being answered: its memory, its descriptors, its idea of where it is.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use super::lent::Lent;
use crate::pidfd::{self, owned};
use crate::sys::{self, Stat};

/// Longest path, with its NUL.
const PATH_MAX: usize = 4096;
const PAGE: u64 = 4096;
/// Most paths are shorter: the rest of the page is not copied for them.
const FIRST_PIECE: usize = 256;

pub type Errno = i32;

/// errno of the last call.
#[must_use]
pub fn errno() -> Errno {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

#[must_use]
pub fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// The result of a system call, or its errno.
pub fn checked(result: i64) -> Result<i64, Errno> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

pub struct Target<'a> {
    pub tid: i32,
    pub tgid: i32,
    /// A handle of it.
    pub thread: &'a OwnedFd,
}

impl Target<'_> {
    /// Up to `length` bytes at `addr`, as far as they can be read.
    pub fn read(&self, addr: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = Vec::new();
        let got = sys::read_behind(self.tid, addr, length, &mut bytes);
        if got == 0 && length > 0 { Err(libc::EFAULT) } else { Ok(bytes) }
    }

    pub fn read_exact(&self, addr: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let bytes = self.read(addr, length)?;
        if bytes.len() == length { Ok(bytes) } else { Err(libc::EFAULT) }
    }

    /// As [`Target::text`], without its NUL.
    pub fn string(&self, addr: u64) -> Result<Vec<u8>, Errno> {
        self.text(addr).map(CString::into_bytes)
    }

    /// The string at `addr`, page by page, since the page behind its end may not be there.
    pub fn text(&self, addr: u64) -> Result<CString, Errno> {
        let mut piece = [MaybeUninit::uninit(); PATH_MAX];
        let mut text = Vec::new();
        while text.len() < PATH_MAX {
            let at = addr.wrapping_add(text.len() as u64);
            let most = if text.is_empty() { FIRST_PIECE } else { PATH_MAX - text.len() };
            let room = ((PAGE - at % PAGE) as usize).min(most);
            let got = sys::read_memory(self.tid, at, &mut piece[..room]);
            if got == 0 {
                return Err(libc::EFAULT);
            }
            // SAFETY: the call has written that many bytes.
            let bytes = unsafe { std::slice::from_raw_parts(piece.as_ptr().cast::<u8>(), got) };
            let end = bytes.iter().position(|byte| *byte == 0);
            // With exactly the room that it takes: a string that is made of it takes no other.
            text.reserve_exact(end.map_or(got, |end| end + 1));
            text.extend_from_slice(&bytes[..end.map_or(got, |end| end + 1)]);
            if end.is_some() {
                return CString::from_vec_with_nul(text).map_err(|_| libc::EFAULT);
            }
        }
        Err(libc::ENAMETOOLONG)
    }

    /// Its descriptor, as one of this process.
    pub fn descriptor(&self, fd: u64) -> Result<Lent, Errno> {
        pidfd::descriptor(self.thread, fd as i32).map(Lent::from).map_err(|error| errno_of(&error))
    }

    /// What its descriptor is open on, without the rights to use it.
    pub fn place_of(&self, fd: i32) -> Result<OwnedFd, Errno> {
        self.open_proc(&format!("fd/{fd}\0")).map_err(|errno| if errno == libc::ENOENT { libc::EBADF } else { errno })
    }

    pub fn cwd(&self) -> Result<OwnedFd, Errno> {
        self.open_proc("cwd\0")
    }

    fn open_proc(&self, what: &str) -> Result<OwnedFd, Errno> {
        let path = format!("/proc/{}/{what}", self.tid);
        // SAFETY: `path` ends with NUL.
        owned(unsafe { libc::open(path.as_ptr().cast(), libc::O_PATH | libc::O_CLOEXEC) }.into())
            .map_err(|error| errno_of(&error))
    }

    /// Device number of the terminal that its session has; 0 when it has none.
    #[must_use]
    pub fn terminal(&self) -> libc::dev_t {
        Stat::of_process(self.tid).map_or(0, |stat| stat.terminal())
    }

    /// The file mode creation mask.
    #[must_use]
    pub fn umask(&self) -> u32 {
        let status = sys::status_of(self.tid).unwrap_or_default();
        let word = sys::status_field(&status, "Umask");
        word.and_then(|word| u32::from_str_radix(word, 8).ok()).unwrap_or(0o077)
    }
}
