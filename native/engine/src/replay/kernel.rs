//! The kernel calls of replay, one thin safe function each; those that the recorder needs too are in `crate::sys`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long, c_void, pid_t};

use crate::sys;

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// How a stopped tracee goes on in replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// To its next call, which the kernel does not execute (PTRACE_SYSEMU, ptrace(2)).
    Emulated,
    /// To the next stop of any other kind; calls are executed. Only for code that replay itself has put there.
    Natively,
    /// To the next entry or exit of a call, which is executed.
    ToBoundary,
    /// By one instruction; with a signal: to the first instruction of its handler.
    Step,
    /// The same, and a call is not executed (PTRACE_SYSEMU_SINGLESTEP): the thread stops at its entry.
    EmulatedStep,
}

/// Lets a stopped tracee go on, with the signal that it is to get (0 for none).
pub fn go(tid: pid_t, how: Go, signal: c_int) -> io::Result<()> {
    /// linux/ptrace.h
    const PTRACE_SYSEMU: libc::c_uint = 31;
    const PTRACE_SYSEMU_SINGLESTEP: libc::c_uint = 32;
    let request = match how {
        Go::Emulated => PTRACE_SYSEMU,
        Go::Natively => libc::PTRACE_CONT,
        Go::ToBoundary => libc::PTRACE_SYSCALL,
        Go::Step => libc::PTRACE_SINGLESTEP,
        Go::EmulatedStep => PTRACE_SYSEMU_SINGLESTEP,
    };
    // SAFETY: none of these requests takes a pointer.
    check(unsafe { libc::ptrace(request, tid, 0_usize, signal as usize) }).map(drop)
}

/// Waits for the next stop or end of one tracee: its wait status, or `None` when interrupted by a signal.
pub fn wait(tid: pid_t) -> io::Result<Option<c_int>> {
    let mut status = 0;
    // SAFETY: the kernel writes one int.
    let result = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    match check(c_long::from(result)) {
        Ok(_) => Ok(Some(status)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

/// A register as its place in `struct user` (sys/user.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Register {
    Rax = 10 * 8,
    Rip = 16 * 8,
}

/// Sets one register of a stopped tracee.
pub fn set_register(tid: pid_t, register: Register, value: u64) -> io::Result<()> {
    // SAFETY: PTRACE_POKEUSER takes a place and a value, no pointer.
    check(unsafe { libc::ptrace(libc::PTRACE_POKEUSER, tid, register as usize, value as usize) }).map(drop)
}

/// The first part of a file that is no hole, at an offset or behind it: its start and end. A file may become longer meanwhile, not shorter.
pub fn data_behind(file: BorrowedFd<'_>, at: u64) -> io::Result<Option<(u64, u64)>> {
    let seek = |at: u64, whence: c_int| {
        let at = i64::try_from(at).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: lseek takes no pointer.
        check(unsafe { libc::lseek(file.as_raw_fd(), at, whence) }).map(|at| at as u64)
    };
    match seek(at, libc::SEEK_DATA) {
        Ok(start) => Ok(Some((start, seek(start, libc::SEEK_HOLE)?))),
        // Nothing but a hole follows.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Pieces of memory of this process and of a tracee, prepared for one transfer and reused for the next.
#[derive(Default)]
pub struct Pieces {
    local: Vec<libc::iovec>,
    remote: Vec<libc::iovec>,
    bytes: usize,
}

// SAFETY: the pointers are only used inside `read` and `write`, whose callers hold the memory that they lead to; between
// transfers they are stale numbers.
unsafe impl Send for Pieces {}

/// Most pieces of one transfer (IOV_MAX).
pub const MOST_PIECES: usize = 1024;

impl Pieces {
    /// Forgets the pieces and keeps the room for them.
    pub fn clear(&mut self) {
        self.local.clear();
        self.remote.clear();
        self.bytes = 0;
    }

    pub fn is_empty(&self) -> bool {
        self.remote.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.remote.len() >= MOST_PIECES
    }

    fn push(&mut self, addr: u64, length: usize) {
        self.remote.push(libc::iovec { iov_base: addr as *mut c_void, iov_len: length });
        self.bytes += length;
    }

    /// Adds a piece that is to be read.
    pub fn want(&mut self, addr: u64, length: usize) {
        self.push(addr, length);
    }

    /// Reads the pieces one behind the other into `buffer`, which becomes as long as they are together; how many bytes were
    /// read before the first one that is not readable.
    pub fn read(&mut self, tid: pid_t, buffer: &mut Vec<u8>) -> usize {
        if buffer.len() < self.bytes {
            buffer.resize(self.bytes, 0);
        }
        sys::read_vector(tid, &self.remote, &mut buffer[..self.bytes])
    }
}

/// Writes several pieces of memory into a tracee, in their order, with one call per 1024 of them. Whether all were written.
pub fn write_pieces<'a>(tid: pid_t, pieces: impl Iterator<Item = (u64, &'a [u8])>, room: &mut Pieces) -> bool {
    let flush = |room: &mut Pieces| {
        // SAFETY: the local pieces are those of the slices that the iterator has lent for longer than this call; the kernel
        // only reads them. The remote ones are addresses in the other process.
        let done = unsafe {
            let (local, remote) = (room.local.as_ptr(), room.remote.as_ptr());
            libc::process_vm_writev(tid, local, room.local.len() as u64, remote, room.remote.len() as u64, 0)
        };
        let whole = usize::try_from(done).is_ok_and(|done| done == room.bytes);
        room.clear();
        whole
    };
    room.clear();
    let mut whole = true;
    for (addr, bytes) in pieces {
        room.local.push(libc::iovec { iov_base: bytes.as_ptr() as *mut c_void, iov_len: bytes.len() });
        room.push(addr, bytes.len());
        if room.is_full() {
            whole &= flush(room);
        }
    }
    if !room.is_empty() {
        whole &= flush(room);
    }
    whole
}

/// Allocates or releases a part of a file, fallocate(2); failing leaves it as it was.
pub fn allocate(file: BorrowedFd<'_>, mode: c_int, offset: i64, length: i64) {
    // SAFETY: takes no pointer.
    unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, length) };
}

/// Two connected sockets that keep messages apart, closed on exec.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    let made =
        unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) };
    check(c_long::from(made))?;
    // SAFETY: both descriptors are new and owned by nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Sends a descriptor over a socket (SCM_RIGHTS, unix(7)).
pub fn send_descriptor(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut byte = 0_u8;
    let mut piece = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut control = [0_u64; 3];
    // SAFETY: the message points to locals that outlive the call; the control buffer has room for one header with one
    // descriptor (CMSG_SPACE(4) is 24) and is aligned as the header wants.
    let sent = unsafe {
        let mut message = std::mem::zeroed::<libc::msghdr>();
        message.msg_iov = &raw mut piece;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        std::ptr::write_unaligned(libc::CMSG_DATA(header).cast::<c_int>(), fd.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    check(sent as c_long).map(drop)
}

/// Lets a signal reach this thread.
pub fn unblock(signal: c_int) {
    // SAFETY: the set is of this frame.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Lets this process have as many descriptors open as it may.
pub fn raise_descriptor_limit() {
    // SAFETY: both calls get a struct of this frame.
    unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// What the child of [`spawn`] needs, made before the fork.
pub struct Spawn<'a> {
    /// The program, a memory file.
    pub program: BorrowedFd<'a>,
    /// Becomes descriptor 3 of the program, its only one.
    pub socket: BorrowedFd<'a>,
    /// Read until its other end says go (or is gone: then the child ends).
    pub start: BorrowedFd<'a>,
    pub others: &'a [c_int],
}

/// Forks a child that waits for a byte from `start` and then executes the program, with one descriptor, no arguments and no
/// environment, in a process group of its own.
pub fn spawn(spawn: &Spawn<'_>) -> io::Result<pid_t> {
    // SAFETY: the child calls only `child`, which makes async-signal-safe calls and never returns.
    let pid = unsafe { libc::fork() };
    match check(c_long::from(pid))? {
        // SAFETY: this is the child of the fork above, and the descriptors are those of the parent.
        0 => unsafe { child(spawn) },
        pid => Ok(pid as pid_t),
    }
}

/// # Safety
/// Only in a child of fork.
unsafe fn child(spawn: &Spawn<'_>) -> ! {
    const SOCKET: c_int = 3;
    const PROGRAM: c_int = 4;
    // SAFETY: all calls are async-signal-safe and use memory that was prepared before the fork.
    unsafe {
        for fd in spawn.others {
            libc::close(*fd);
        }
        // Once it is traced it ends with its tracer anyway.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let mut byte = 0_u8;
        loop {
            match libc::read(spawn.start.as_raw_fd(), (&raw mut byte).cast(), 1) {
                1 => break,
                -1 if *libc::__errno_location() == libc::EINTR => {}
                _ => libc::_exit(127),
            }
        }
        // A terminal's signals are for its foreground processes; the tracees of a replay are none of them. They stay in the session: the
        // kernel gives each one a share of the processor (sched(7), autogroups), and two that wait for each other are best in one.
        libc::setpgid(0, 0);
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let none = 0_u64;
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, 0_usize, 8_usize);
        let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        // Above both of the numbers that they are to have, so that neither overwrites the other.
        let socket = libc::fcntl(spawn.socket.as_raw_fd(), libc::F_DUPFD, 10);
        let program = libc::fcntl(spawn.program.as_raw_fd(), libc::F_DUPFD, 10);
        libc::dup2(socket, SOCKET);
        libc::dup3(program, PROGRAM, libc::O_CLOEXEC);
        libc::close(0);
        libc::close(1);
        libc::close(2);
        libc::syscall(libc::SYS_close_range, 5_u32, u32::MAX, 0_u32);
        let nothing: [*const libc::c_char; 1] = [std::ptr::null()];
        let (empty, argv, env) = (c"".as_ptr(), nothing.as_ptr(), nothing.as_ptr());
        libc::syscall(libc::SYS_execveat, PROGRAM, empty, argv, env, libc::AT_EMPTY_PATH);
        libc::_exit(126)
    }
}
