//! Handles of processes, pidfd_open(2): each stands for one process, whatever becomes of its number.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use libc::{c_int, c_long, pid_t};

/// A descriptor that a system call has just made.
pub fn owned(result: c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call gave a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
}

pub fn open(pid: pid_t, flags: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) })
}

/// A descriptor of another process, for this one.
pub fn descriptor(process: &OwnedFd, fd: c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })
}

/// Whether descriptors of other processes can be had: most containers refuse that.
///
/// # Errors
/// How it fails.
pub fn shares_descriptors() -> io::Result<()> {
    // SAFETY: takes no pointer; there is no such descriptor.
    let error = match unsafe { libc::syscall(libc::SYS_pidfd_getfd, -1, 0, 0) } {
        -1 => io::Error::last_os_error(),
        _ => return Ok(()),
    };
    if error.raw_os_error() == Some(libc::EBADF) { Ok(()) } else { Err(error) }
}

/// Whether the process runs: one that nobody has waited for yet does not.
pub fn is_alive(handle: &OwnedFd) -> bool {
    let mut poll = libc::pollfd { fd: handle.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        // Not by the library, whose threads may be ended while they wait: here none does.
        // SAFETY: one entry of this frame, and no waiting.
        let ready = unsafe { libc::syscall(libc::SYS_poll, &raw mut poll, 1, 0) };
        // A signal that is pending interrupts it, though it does not wait.
        if ready >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return ready == 0;
        }
    }
}

/// Whether the process has its number still: it runs, or nobody has waited for it yet.
pub fn has_number(handle: &OwnedFd) -> bool {
    // SAFETY: takes no pointer; no signal is sent, only asked whether one could be.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, handle.as_raw_fd(), 0, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// `struct pidfd_info` of linux/pidfd.h, as Linux 6.13 has it; later ones are longer.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}
const _: () = assert!(size_of::<Info>() == 64);

/// How a process ended, as wait(2) has it. `None` as long as nobody has waited for it.
///
/// # Errors
/// When the kernel cannot tell: before Linux 6.15.
pub fn end_of(handle: &OwnedFd) -> io::Result<Option<c_int>> {
    /// `_IOWR(0xff, 11, struct pidfd_info)`, and the member that is asked for.
    const GET_INFO: u64 = (3 << 30) | ((size_of::<Info>() as u64) << 16) | (0xff << 8) | 0xb;
    const EXIT: u64 = 1 << 3;
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the struct is of this frame, and the request holds its size.
    if unsafe { libc::ioctl(handle.as_raw_fd(), GET_INFO, &raw mut info) } < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ESRCH) { Ok(None) } else { Err(error) };
    }
    Ok((info.mask & EXIT != 0).then_some(info.exit_code))
}

#[cfg(test)]
mod tests {
    use super::{end_of, has_number, is_alive, open};
    use crate::sys;

    #[test]
    fn a_process_is_alive_also_when_a_signal_comes() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat starts");
        let handle = open(child.id() as i32, 0).expect("it has a handle");
        sys::catch(libc::SIGUSR2);
        let timer = sys::Timer::new(libc::SIGUSR2).expect("a timer");
        timer.every(20_000);
        let died = (0..100_000).filter(|_| !is_alive(&handle)).count();
        drop(timer);
        drop(child.stdin.take());
        child.wait().expect("it ends");
        assert_eq!(died, 0);
    }

    #[test]
    fn the_end_of_a_process_is_told_by_its_handle() {
        let mut command = std::process::Command::new("sh");
        let command = command.args(["-c", "read x; exit 7"]).stdin(std::process::Stdio::piped());
        let mut child = command.spawn().expect("sh starts");
        let handle = open(child.id() as i32, 0).expect("it has a handle");
        assert!(is_alive(&handle));
        drop(child.stdin.take());
        while is_alive(&handle) {
            std::thread::yield_now();
        }
        assert!(has_number(&handle));
        child.wait().expect("it ends");
        assert!(!is_alive(&handle) && !has_number(&handle));
        // Older kernels say that they do not know the question.
        if let Ok(end) = end_of(&handle) {
            assert_eq!(end, Some(7 << 8));
        }
    }
}
