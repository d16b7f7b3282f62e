//! A filter whose calls are answered by the recorder, put on by the first program between fork and exec.
//!
//! The child hands the listening end over by a socket, which takes no right to look into processes. Every call is notified once
//! the filter is on, so that one call has to pass: it has a secret in registers that it does not use.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use libc::{c_int, sock_filter};

use crate::error::EngineError;
use crate::notify::Listener;
use crate::sys;

/// The step in which the filter is put on, and the one in which its listening end is handed over.
pub const STEP_LISTEN: c_int = 20;
pub const STEP_HAND_OVER: c_int = 21;

/// Flags of a filter that has a listener, with what the processor may do as it was.
pub const LISTENS: u64 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
/// Since Linux 5.19: a call that was received is given up for a fatal signal only.
pub const STEADY: u64 = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;

/// What the child puts on, made before the fork.
pub struct Listening {
    code: Vec<sock_filter>,
    secret: [u64; 2],
    /// The child's end, and the recorder's.
    ends: (OwnedFd, OwnedFd),
}

impl Listening {
    /// `code` says which calls are notified.
    ///
    /// # Errors
    /// `system` when there are no descriptors left.
    pub fn new(code: &[sock_filter]) -> Result<Listening, EngineError> {
        let system = || EngineError::start("system", format!("cannot make a socket: {}", io::Error::last_os_error()));
        let mut ends = [0; 2];
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        // SAFETY: socketpair writes two descriptors.
        if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } != 0 {
            return Err(system());
        }
        // SAFETY: both descriptors are new and owned by nobody else.
        let ends = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
        let secret = sys::random_words().map_err(|_| system())?;
        let mut all = passing(secret);
        all.extend_from_slice(code);
        Ok(Listening { code: all, secret, ends })
    }

    /// The child's part.
    ///
    /// # Errors
    /// The step that failed, with errno set.
    ///
    /// # Safety
    /// Only in a child of fork that goes on to its exec.
    pub unsafe fn put_on(&self) -> Result<(), c_int> {
        let program = libc::sock_fprog { len: self.code.len() as u16, filter: self.code.as_ptr().cast_mut() };
        // SAFETY: all are system calls on descriptors and memory that were made before the fork, or are of this frame.
        unsafe {
            let listen =
                |flags: u64| libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program);
            let listen_steadily = || match listen(LISTENS | STEADY) {
                -1 if *libc::__errno_location() == libc::EINVAL => listen(LISTENS),
                result => result,
            };
            let mut listener = listen_steadily();
            if listener < 0 && *libc::__errno_location() == libc::EACCES {
                // Without CAP_SYS_ADMIN a filter is for programs that gain no privileges.
                if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 {
                    listener = listen_steadily();
                }
            }
            if listener < 0 {
                return Err(STEP_LISTEN);
            }
            let mut control = Control::holding(listener as c_int);
            let mut byte = 0_u8;
            let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
            let message = message(&mut data, &mut control);
            let [first, second] = self.secret;
            if libc::syscall(libc::SYS_sendmsg, self.ends.0.as_raw_fd(), &raw const message, 0, 0, first, second) != 1 {
                return Err(STEP_HAND_OVER);
            }
        }
        Ok(())
    }

    /// The recorder's part: waits for the child. `None` when it did not get that far.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub fn take(self) -> io::Result<Option<Listener>> {
        drop(self.ends.0);
        let mut control = Control::holding(-1);
        let mut byte = 0_u8;
        let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let mut message = message(&mut data, &mut control);
        // SAFETY: everything that the message points to is of this frame.
        let got = unsafe { libc::recvmsg(self.ends.1.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        if got == 0 || !Control::is_filled(&message) {
            return Ok(None);
        }
        // SAFETY: the kernel has put one new descriptor there.
        Ok(Some(Listener::new(unsafe { OwnedFd::from_raw_fd(control.fd) })))
    }
}

/// A control message with one descriptor, cmsg(3).
#[repr(C)]
pub struct Control {
    header: libc::cmsghdr,
    pub fd: c_int,
    padding: u32,
}

impl Control {
    #[must_use]
    pub fn holding(fd: c_int) -> Control {
        // SAFETY: zeros are valid for a struct of numbers.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = size_of::<libc::cmsghdr>() + size_of::<c_int>();
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        Control { header, fd, padding: 0 }
    }

    /// Whether a message that was received has brought a descriptor.
    #[must_use]
    pub fn is_filled(message: &libc::msghdr) -> bool {
        message.msg_controllen >= size_of::<Control>() - size_of::<u32>()
    }
}

/// A message of these parts, which it points to.
pub fn message(data: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: zeros are valid for a struct of numbers and pointers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (data, 1);
    (message.msg_control, message.msg_controllen) = ((&raw mut *control).cast(), size_of::<Control>());
    message
}

/// Lets a sendmsg with the secret in its fifth and sixth register pass, and goes on with what follows for all else.
fn passing(secret: [u64; 2]) -> Vec<sock_filter> {
    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
    /// Offsets in `struct seccomp_data`.
    const NUMBER: u32 = 0;
    const ARCH: u32 = 4;
    const ARGS: u32 = 16;
    let word = |index: u32| (secret[index as usize / 2] >> (32 * (index % 2))) as u32;
    let mut tests = vec![(ARCH, AUDIT_ARCH_X86_64), (NUMBER, libc::SYS_sendmsg as u32)];
    tests.extend((0..4).map(|index| (ARGS + 4 * 8 + 4 * index, word(index))));
    let count = tests.len();
    let line = |code: u32, jf: u8, k: u32| sock_filter { code: code as u16, jt: 0, jf, k };
    let mut code: Vec<sock_filter> = tests
        .into_iter()
        .enumerate()
        .flat_map(|(index, (offset, value))| {
            // Past the tests that are left, and what lets the call pass.
            let skip = (2 * (count - index - 1) + 1) as u8;
            [
                line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, offset),
                line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skip, value),
            ]
        })
        .collect();
    code.push(line(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW));
    code
}
