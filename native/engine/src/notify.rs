//! The kernel's side of a supervisor: notifications of seccomp_unotify(2).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// The `_IOC` encoding of the kernel: direction, size, type, number.
const fn ioc(direction: u64, number: u64, size: usize) -> u64 {
    (direction << 30) | ((size as u64) << 16) | ((b'!' as u64) << 8) | number
}
const WRITE: u64 = 1;
const READ_WRITE: u64 = 3;

const RECV: u64 = ioc(READ_WRITE, 0, size_of::<libc::seccomp_notif>());
const SEND: u64 = ioc(READ_WRITE, 1, size_of::<libc::seccomp_notif_resp>());
const ID_VALID: u64 = ioc(WRITE, 2, size_of::<u64>());
const ADDFD: u64 = ioc(WRITE, 3, size_of::<libc::seccomp_notif_addfd>());
const SET_FLAGS: u64 = ioc(WRITE, 4, size_of::<u64>());
/// Wake the other side on this CPU: `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` of linux/seccomp.h.
const SYNC_WAKE_UP: u64 = 1;

/// One call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    pub id: u64,
    /// Thread that made the call.
    pub tid: i32,
    /// Of which architecture, `AUDIT_ARCH_*`.
    pub arch: u32,
    pub number: i64,
    pub args: [u64; 6],
    /// Behind the instruction of the call.
    pub ip: u64,
}

/// The listening end of a filter.
pub struct Listener {
    fd: OwnedFd,
    /// Waiting for the next call ends by itself when nobody is left: Linux 6.11.
    ends: bool,
}

impl Listener {
    #[must_use]
    pub fn new(fd: OwnedFd) -> Listener {
        let listener = Listener { fd, ends: is_kernel_since((6, 11)) };
        wake_here(listener.raw());
        listener
    }

    #[must_use]
    pub fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// `argument` is what the request wants: a pointer that is valid for it, or a number.
    fn ioctl(&self, request: u64, argument: *mut libc::c_void) -> io::Result<i32> {
        // SAFETY: every caller passes what its request wants, and the structs live during the call.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), request, argument) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }

    /// Waits for the next call. `None`: the call was given up again; or, as an error of kind `NotFound`, nobody is left.
    ///
    /// # Errors
    /// `NotFound` when no process has the filter any more; others as the kernel says.
    pub fn receive(&self) -> io::Result<Option<Notification>> {
        if !self.ends {
            let got = self.look(-1)?;
            if got != 0 && got & libc::POLLIN == 0 {
                return Err(io::ErrorKind::NotFound.into());
            }
            if got == 0 {
                return Ok(None);
            }
        }
        // SAFETY: the struct is plain numbers, and the kernel wants it zeroed.
        let mut raw: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        match self.ioctl(RECV, (&raw mut raw).cast()) {
            Ok(_) => Ok(Some(Notification {
                id: raw.id,
                tid: raw.pid as i32,
                arch: raw.data.arch,
                number: raw.data.nr.into(),
                args: raw.data.args,
                ip: raw.data.instruction_pointer,
            })),
            // The call was given up, or everybody has gone.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => match self.look(0)? & libc::POLLHUP {
                0 => Ok(None),
                _ => Err(io::ErrorKind::NotFound.into()),
            },
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What poll(2) says of the listener within a time in milliseconds (-1: whenever); 0: nothing.
    fn look(&self, within: i32) -> io::Result<i16> {
        let mut poll = libc::pollfd { fd: self.raw(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry of this frame.
        if unsafe { libc::poll(&raw mut poll, 1, within) } < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) };
        }
        Ok(poll.revents)
    }

    /// Whether the call still waits: only then is what was read of its memory and names of its process's.
    #[must_use]
    pub fn is_waiting(&self, id: u64) -> bool {
        let mut id = id;
        self.ioctl(ID_VALID, (&raw mut id).cast()).is_ok()
    }

    fn send(&self, id: u64, val: i64, error: i32, flags: u32) {
        let mut response = libc::seccomp_notif_resp { id, val, error, flags };
        // It fails when the caller is gone, who then needs no answer.
        let _ = self.ioctl(SEND, (&raw mut response).cast());
    }

    pub fn answer(&self, id: u64, value: i64) {
        self.send(id, value, 0, 0);
    }

    pub fn refuse(&self, id: u64, errno: i32) {
        self.send(id, 0, -errno, 0);
    }

    /// Lets the kernel do the call. Only for calls of which nothing but registers was looked at.
    pub fn pass(&self, id: u64) {
        self.send(id, 0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32);
    }

    /// Puts a descriptor into the process and answers with its number, in one step.
    pub fn answer_with(&self, id: u64, fd: &OwnedFd, cloexec: bool) {
        let mut request = libc::seccomp_notif_addfd {
            id,
            flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
            srcfd: fd.as_raw_fd() as u32,
            newfd: 0,
            newfd_flags: if cloexec { libc::O_CLOEXEC as u32 } else { 0 },
        };
        if let Err(error) = self.ioctl(ADDFD, (&raw mut request).cast()) {
            // The process may have no room for one more descriptor.
            self.refuse(id, error.raw_os_error().unwrap_or(libc::EMFILE));
        }
    }
}

/// Has the other side of a listener woken on this CPU.
pub fn wake_here(listener: RawFd) {
    // SAFETY: the request takes a number. Kernels before 6.6 do not know it; it only saves time.
    unsafe { libc::ioctl(listener, SET_FLAGS, SYNC_WAKE_UP) };
}

/// Lets the kernel do the next call of a listener at which one waits. Async-signal-safe.
pub fn pass_next(listener: RawFd) {
    // SAFETY: the structs are plain numbers of this frame, as long as their requests say; the first one is to be zeroed.
    unsafe {
        let mut call: libc::seccomp_notif = std::mem::zeroed();
        if libc::ioctl(listener, RECV, &raw mut call) == 0 {
            let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
            let mut answer = libc::seccomp_notif_resp { id: call.id, val: 0, error: 0, flags };
            libc::ioctl(listener, SEND, &raw mut answer);
        }
    }
}

/// Whether the running kernel is of that version (major, minor) or newer.
fn is_kernel_since(version: (u32, u32)) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    is_since(&release, version)
}

fn is_since(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|word| word.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= version
}

#[cfg(test)]
mod tests {
    use super::is_since;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        assert!(is_since("6.11.0-rc1", (6, 11)) && is_since("6.18.44-cloud", (6, 11)) && is_since("7.0", (6, 11)));
        assert!(!is_since("6.9.12", (6, 11)) && !is_since("5.15.0", (6, 11)) && !is_since("", (6, 11)));
    }
}
