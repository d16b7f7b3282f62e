//! A process that stays behind for programs which a recording has let go under a filter of its own, and lets all their calls pass.
//!
//! A filter is inherited for ever, and where it asks for a tracer that is gone the kernel answers ENOSYS. So a program that is let
//! go puts one more filter on, of which each call is notified: that comes before the tracer (seccomp(2)), and who answers it needs
//! no right to trace. The keeper has no terminal, no open file but the listeners, and ends when nobody is left whom it answers.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use libc::{c_int, sock_filter};
use trace_format::table::Arch;

use crate::listening::{Control, message};
use crate::notify;
use crate::pidfd;

/// What the keeper answers for a listener, and for one that it could not take.
const TAKEN: u8 = 1;
const NOT_TAKEN: u8 = 0;

/// The engine's end of the socket by which it hands listeners over.
pub struct Keeper {
    socket: OwnedFd,
}

/// Whether the kernel can do what a keeper needs: Linux 5.5 to let calls pass, 5.6 for pidfd_getfd(2), and 5.9 for close_range(2) and to be
/// told that nobody has a filter any more.
#[must_use]
pub fn is_possible() -> bool {
    // SAFETY: no descriptor has this number.
    pidfd::shares_descriptors().is_ok() && unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, 0) } == 0
}

const fn line(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

const fn give(action: u32) -> sock_filter {
    line(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

/// The filter of a program that is let go.
pub const NOTIFIES: [sock_filter; 1] = [give(libc::SECCOMP_RET_USER_NOTIF)];

/// The filter of one that believes to be in strict mode, and is held to it from now on. It comes after the other, since nothing can be
/// done in the program any more then.
#[must_use]
pub fn strict_filter() -> Vec<sock_filter> {
    const ARCH: u32 = 4;
    const NUMBER: u32 = 0;
    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
    let load = |offset| line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let equal = |value, jt, jf| line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jt, jf, value);
    let section = |numbers: [u32; 4]| {
        let mut code = vec![load(NUMBER)];
        code.extend(numbers.iter().enumerate().map(|(index, number)| equal(*number, 4 - index as u8, 0)));
        code.extend([give(libc::SECCOMP_RET_KILL_THREAD), give(libc::SECCOMP_RET_ALLOW)]);
        code
    };
    let [amd64, i386] = [Arch::X86_64, Arch::I386].map(|arch| section(crate::record::strict_numbers(arch)));
    let mut code = vec![load(ARCH), equal(AUDIT_ARCH_X86_64, 0, amd64.len() as u8)];
    code.extend(amd64);
    code.extend(i386);
    code
}

impl Keeper {
    /// Starts the process, which is no child of this one.
    ///
    /// # Errors
    /// When there are no descriptors or processes left, or the kernel is too old.
    pub fn start() -> io::Result<Keeper> {
        if !is_possible() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut ends = [0; 2];
        // SAFETY: socketpair writes two descriptors, which nobody else owns.
        let (own, others) = unsafe {
            if libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
        };
        // SAFETY: the child makes async-signal-safe calls and ends, or goes on in `keep`, which does not return either.
        let between = unsafe { libc::fork() };
        match between {
            -1 => return Err(io::Error::last_os_error()),
            // SAFETY: this is the child of a fork.
            0 => unsafe {
                match libc::fork() {
                    0 => keep(others.as_raw_fd()),
                    -1 => libc::_exit(1),
                    _ => libc::_exit(0),
                }
            },
            _ => {}
        }
        let mut status = 0;
        // SAFETY: waits for the child just made. Where nobody is to be waited for, it has ended when this fails.
        let waited = unsafe { libc::waitpid(between, &raw mut status, 0) };
        if waited == between && status != 0 {
            return Err(io::Error::other("there can be no further process"));
        }
        Ok(Keeper { socket: own })
    }

    /// Has the calls answered that a listener tells of.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn take(&self, listener: &OwnedFd) -> io::Result<()> {
        let mut control = Control::holding(listener.as_raw_fd());
        let mut byte = 0_u8;
        let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let message = message(&mut data, &mut control);
        // SAFETY: everything that the message points to is of this frame.
        let sent = unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        if sent != 1 {
            return Err(io::Error::last_os_error());
        }
        // Nothing else would answer the program's next call.
        let mut taken = 0_u8;
        loop {
            // SAFETY: one byte of this frame.
            let got = unsafe { libc::recv(self.socket.as_raw_fd(), (&raw mut taken).cast(), 1, 0) };
            match got {
                1 if taken == TAKEN => return Ok(()),
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => return Err(io::Error::other("the keeper of its calls could not take it")),
            }
        }
    }
}

/// The process itself: gives up what it shares with the recorder, and answers.
///
/// # Safety
/// Only in a child of fork that nobody waits for.
unsafe fn keep(socket: RawFd) -> ! {
    const SOCKET: c_int = 0;
    // SAFETY: all are system calls on descriptors and memory of this frame. No memory is allocated, and no lock is taken.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        libc::setsid();
        libc::prctl(libc::PR_SET_NAME, c"trace-keeper".as_ptr());
        libc::chdir(c"/".as_ptr());
        // Wherever the recorder had its own place.
        let everywhere = [u8::MAX; 128];
        libc::syscall(libc::SYS_sched_setaffinity, 0, everywhere.len(), everywhere.as_ptr());
        if libc::dup2(socket, SOCKET) != SOCKET {
            libc::_exit(1);
        }
        libc::syscall(libc::SYS_close_range, SOCKET + 1, u32::MAX, 0);
        give_up_memory();
        // A listener for each thread.
        let mut files = std::mem::zeroed::<libc::rlimit>();
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut files);
        files.rlim_cur = files.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files);
        let events = libc::epoll_create1(0);
        if events < 0 {
            libc::_exit(1);
        }
        watch(events, SOCKET);
        let (mut listeners, mut is_open) = (0_u32, true);
        while is_open || listeners > 0 {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            if libc::epoll_wait(events, &raw mut event, 1, -1) != 1 {
                continue;
            }
            let (fd, what) = (event.u64 as c_int, event.events);
            if fd == SOCKET {
                let answer = match receive(SOCKET) {
                    Received::Listener(listener) => {
                        notify::wake_here(listener);
                        let is_watched = watch(events, listener);
                        if is_watched {
                            listeners += 1;
                        } else {
                            libc::close(listener);
                        }
                        if is_watched { TAKEN } else { NOT_TAKEN }
                    }
                    Received::Nothing => NOT_TAKEN,
                    Received::End => {
                        is_open = false;
                        libc::close(SOCKET);
                        continue;
                    }
                };
                libc::send(SOCKET, (&raw const answer).cast(), 1, libc::MSG_NOSIGNAL);
            } else if what & libc::EPOLLIN as u32 != 0 {
                notify::pass_next(fd);
            } else {
                // Nobody has the filter any more.
                libc::close(fd);
                listeners -= 1;
            }
        }
        libc::_exit(0)
    }
}

/// What a line of /proc/PID/maps says of a mapping, proc_pid_maps(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapped {
    start: u64,
    end: u64,
    /// Of a program file or library, or the kernel's.
    is_named: bool,
}

/// The mapping of a line, of which the end may be missing. Allocates nothing.
fn mapped(line: &[u8]) -> Option<Mapped> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (start, end) = std::str::from_utf8(words.next()?).ok()?.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    // The recorder shares rings of agents.
    let is_private = words.next()?.ends_with(b"p");
    let is_file = is_private && words.nth(2)? != b"0";
    let is_kernels = words.next().is_some_and(|name| name.starts_with(b"[v"));
    Some(Mapped { start: address(start)?, end: address(end)?, is_named: is_file || is_kernels })
}

/// Unmaps what the process that this one was forked from has in memory: all that is of no file, or shared, but the stack and the thread's own
/// storage, and what begins where a file ends: the variables of its program and libraries.
///
/// # Safety
/// Only in the single thread of a process that uses no other memory any more.
unsafe fn give_up_memory() {
    // SAFETY: system calls on memory of this frame, and munmap of memory that nobody uses, as the caller vouches for.
    unsafe {
        let file = libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY);
        // What is behind that is a part of a file's name.
        let (mut line, mut length) = ([0_u8; 128], 0);
        let mut piece = [0_u8; 4096];
        let used = [(&raw const piece) as u64, libc::pthread_self()];
        let mut end_of_file = 0;
        loop {
            let got = libc::read(file, piece.as_mut_ptr().cast(), piece.len());
            let Some(bytes) = usize::try_from(got).ok().filter(|got| *got > 0).and_then(|got| piece.get(..got)) else {
                break;
            };
            for byte in bytes {
                if *byte != b'\n' {
                    if let Some(place) = line.get_mut(length) {
                        *place = *byte;
                        length += 1;
                    }
                    continue;
                }
                let mapping = line.get(..length).and_then(mapped);
                length = 0;
                let Some(Mapped { start, end, is_named }) = mapping else { continue };
                if is_named {
                    end_of_file = end;
                } else if start != end_of_file && !used.iter().any(|used| (start..end).contains(used)) {
                    libc::munmap(start as *mut libc::c_void, (end - start) as usize);
                }
            }
        }
        libc::close(file);
    }
}

/// Whether it could be added.
fn watch(events: RawFd, fd: RawFd) -> bool {
    let mut wanted = libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd as u64 };
    // SAFETY: the struct is of this frame.
    unsafe { libc::epoll_ctl(events, libc::EPOLL_CTL_ADD, fd, &raw mut wanted) == 0 }
}

enum Received {
    Listener(RawFd),
    /// There was no room for it.
    Nothing,
    /// No more will come.
    End,
}

fn receive(socket: RawFd) -> Received {
    let mut control = Control::holding(-1);
    let mut byte = 0_u8;
    let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut message = message(&mut data, &mut control);
    // SAFETY: everything that the message points to is of this frame.
    let got = unsafe { libc::recvmsg(socket, &raw mut message, 0) };
    match got {
        1 if Control::is_filled(&message) => Received::Listener(control.fd),
        1 => Received::Nothing,
        _ => Received::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_those_of_files_or_not() {
        let told = |line: &str| mapped(line.as_bytes()).map(|mapped| (mapped.start, mapped.end, mapped.is_named));
        assert_eq!(told("1000-3000 r--p 00000000 08:01 77     /usr/lib/a b"), Some((0x1000, 0x3000, true)));
        assert_eq!(told("1000-3000 r--p 00000000 08:01 77     /usr/li"), Some((0x1000, 0x3000, true)));
        assert_eq!(told("7fff1000-7fff3000 r-xp 00000000 00:00 0     [vdso]"), Some((0x7fff_1000, 0x7fff_3000, true)));
        assert_eq!(told("1000-3000 rw-s 00000000 00:01 77     /memfd:trace (deleted)"), Some((0x1000, 0x3000, false)));
        assert_eq!(told("1000-3000 rw-p 00000000 00:00 0     [heap]"), Some((0x1000, 0x3000, false)));
        assert_eq!(told("1000-3000 rw-p 00000000 00:00 0 "), Some((0x1000, 0x3000, false)));
        assert_eq!((told(""), told("1000-3000 rw-p 0 00:00"), told("x-3000 rw-p 0 00:00 0")), (None, None, None));
    }

    /// What the kernel would do with a call.
    fn run(code: &[sock_filter], arch: u32, number: u32) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let line = code[at];
            at += 1;
            match u32::from(line.code) {
                kind if kind == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    accumulator = if line.k == 0 { number } else { arch };
                }
                kind if kind == libc::BPF_RET | libc::BPF_K => return line.k,
                _ => at += usize::from(if accumulator == line.k { line.jt } else { line.jf }),
            }
        }
    }

    #[test]
    fn the_filters_ask_for_each_call_and_keep_strict_mode() {
        for (arch, allowed) in [(0xc000_003e, [0, 1, 15, 60]), (0x4000_0003, [3, 4, 119, 1])] {
            for number in 0..500 {
                assert_eq!(run(&NOTIFIES, arch, number), libc::SECCOMP_RET_USER_NOTIF);
                let has = allowed.contains(&number);
                let wanted = if has { libc::SECCOMP_RET_ALLOW } else { libc::SECCOMP_RET_KILL_THREAD };
                assert_eq!(run(&strict_filter(), arch, number), wanted, "{arch:#x} {number}");
            }
        }
    }
}
