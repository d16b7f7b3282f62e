//! A process between this one and a program, which ends all that the program has started when this one is killed.
//!
//! The kernel would kill the program then (`PR_SET_PDEATHSIG`), and nobody else: who is left could make no call any more that a
//! supervisor decides about. The reaper is the parent of the program and of all that lose theirs (`PR_SET_CHILD_SUBREAPER`). At the
//! end of a pipe it kills its children until it has none, since the children of those become its own. It is outside of the domain of
//! Landlock that the program is in, and no role of any spec, so that what it ends cannot end it first.
//!
//! It is made by fork alone, of a process with threads, and makes async-signal-safe calls only.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};

use libc::{c_int, pid_t};

/// This process's end of it.
#[derive(Debug)]
pub struct Reaper {
    /// A byte lets go of what the program has started; the end of the pipe ends that.
    control: OwnedFd,
    /// From here come the number of the program and its status.
    told: OwnedFd,
}

/// Where a fork has come back.
pub enum Forked {
    /// In the process that becomes the program.
    Program,
    /// Here, with its number.
    Parent(pid_t, Reaper),
}

impl Reaper {
    /// Forks twice. The program's process has all signals blocked.
    ///
    /// # Errors
    /// When there are no descriptors or processes left.
    ///
    /// # Safety
    /// Who comes back as the program may make async-signal-safe calls only.
    pub unsafe fn fork() -> io::Result<Forked> {
        let (control, own_control) = pipe()?;
        let (own_told, told) = pipe()?;
        // A handler of this process must not run in the others.
        // SAFETY: the sets are of this frame.
        let mask = unsafe {
            let (mut all, mut mask) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut mask);
            mask
        };
        // SAFETY: the child goes on in `become_reaper`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let [control, told] = [control, told].map(OwnedFd::into_raw_fd);
            // SAFETY: the descriptors are this process's copies.
            unsafe {
                libc::close(own_control.into_raw_fd());
                libc::close(own_told.into_raw_fd());
                become_reaper(control, told);
            }
            return Ok(Forked::Program);
        }
        let error = io::Error::last_os_error();
        // SAFETY: the set is that of before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut()) };
        if pid < 0 {
            return Err(error);
        }
        drop((control, told));
        let reaper = Reaper { control: own_control, told: own_told };
        match reaper.next() {
            Some(program) => Ok(Forked::Parent(program, reaper)),
            None => Err(io::Error::other("there can be no further process")),
        }
    }

    /// Waits for the program; its wait status. Without the reaper it was killed as well.
    #[must_use]
    pub fn wait(&self) -> c_int {
        self.next().unwrap_or(libc::SIGKILL)
    }

    /// What the program has started goes on without this process.
    pub fn let_go(&self) {
        // SAFETY: one byte of a static buffer to a descriptor of this value. A reaper that is gone needs none.
        unsafe { libc::write(self.control.as_raw_fd(), c"l".as_ptr().cast(), 1) };
    }

    fn next(&self) -> Option<c_int> {
        let mut number = [0_u8; 4];
        loop {
            // SAFETY: reads at most 4 bytes into a local buffer.
            match unsafe { libc::read(self.told.as_raw_fd(), number.as_mut_ptr().cast(), number.len()) } {
                4 => return Some(c_int::from_ne_bytes(number)),
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => return None,
            }
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: pipe2 writes two descriptors, which nobody else owns.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// The reaper's ends of the pipes: it has no other descriptors.
const CONTROL: RawFd = 0;
const TOLD: RawFd = 1;

/// Comes back in the program's process only.
unsafe fn become_reaper(control: RawFd, told: RawFd) {
    // SAFETY: all are system calls on memory of this frame.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        match libc::fork() {
            0 => {
                libc::close(control);
                libc::close(told);
            }
            -1 => libc::_exit(1),
            program => {
                // Whoever waits for the end of some pipe is not to wait for this process, nor who wants a directory to be free.
                let [control, told] = [control, told].map(|fd| libc::fcntl(fd, libc::F_DUPFD, 3));
                libc::dup2(control, CONTROL);
                libc::dup2(told, TOLD);
                libc::syscall(libc::SYS_close_range, 2_u32, u32::MAX, 0);
                libc::chdir(c"/".as_ptr());
                libc::prctl(libc::PR_SET_NAME, c"trace-reaper".as_ptr());
                tell(program);
                watch(program)
            }
        }
    }
}

unsafe fn tell(number: c_int) {
    let bytes = number.to_ne_bytes();
    // SAFETY: the bytes are of this frame.
    unsafe { libc::write(TOLD, bytes.as_ptr().cast(), bytes.len()) };
}

unsafe fn watch(program: pid_t) -> ! {
    // SAFETY: all are system calls on memory of this frame.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        let ended = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        loop {
            reap(program);
            let mut asked = [CONTROL, ended].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
            libc::poll(asked.as_mut_ptr(), 2, -1);
            let mut signal = [0_u8; size_of::<libc::signalfd_siginfo>()];
            libc::read(ended, signal.as_mut_ptr().cast(), signal.len());
            if asked[0].revents == 0 {
                continue;
            }
            let mut byte = 0_u8;
            if libc::read(CONTROL, (&raw mut byte).cast(), 1) == 1 {
                libc::_exit(0);
            }
            end_children(program)
        }
    }
}

/// Takes the ends of children; ends itself when there are none left.
unsafe fn reap(program: pid_t) {
    loop {
        let mut status = 0;
        // SAFETY: the status is of this frame.
        unsafe {
            match libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) {
                0 => return,
                pid if pid == program => tell(status),
                -1 => libc::_exit(0),
                _ => {}
            }
        }
    }
}

/// Kills children until there are none: those of a child that has ended are children of this process.
unsafe fn end_children(program: pid_t) -> ! {
    // SAFETY: all are system calls on memory of this frame.
    unsafe {
        loop {
            let mut text = [0_u8; 4096];
            let list = libc::open(c"/proc/thread-self/children".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            let got = libc::read(list, text.as_mut_ptr().cast(), text.len());
            libc::close(list);
            // A kernel that does not tell who they are (CONFIG_PROC_CHILDREN).
            let Some(text) = usize::try_from(got).ok().and_then(|got| text.get(..got)) else { libc::_exit(1) };
            let whole = text.iter().rposition(|byte| *byte == b' ').map_or(0, |at| at + 1);
            let mut pid = 0;
            for byte in &text[..whole] {
                if byte.is_ascii_digit() {
                    pid = pid * 10 + pid_t::from(byte - b'0');
                } else {
                    libc::kill(pid, libc::SIGKILL);
                    pid = 0;
                }
            }
            reap(program);
            // The next end, or a moment for one that is seen late.
            libc::poll(std::ptr::null_mut(), 0, 1);
        }
    }
}
