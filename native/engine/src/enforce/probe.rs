//! Tries to do what a policy forbids, with the authority of one of its roles: in a child that puts the policy on and then, in
//! place of running a program, makes one attempt. Its exit code is the errno of the attempt, 0 when it worked.

use std::ffi::CString;

use libc::{c_int, c_long};

/// What is attempted.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// Opens a file for reading.
    Read(CString),
    /// Makes a file, or opens it for writing.
    Write(CString),
    /// Runs a program without arguments.
    Exec(CString),
    /// Connects a stream to 127.0.0.1, with that protocol (0: the default, TCP).
    Connect { port: u16, protocol: c_int },
    /// Sends a datagram to 127.0.0.1.
    Datagram { port: u16 },
    /// Sets up an io_uring.
    Ring,
    /// Asks whether the process that started it could be signalled.
    SignalParent,
    /// Traces the process that started it.
    TraceParent,
    /// Becomes the root of its own user namespace.
    Namespace,
    /// Opens a raw socket of the kernel's crypto interface.
    CryptoSocket,
}

/// Makes the attempt and ends the process.
///
/// # Safety
/// Only in a child of fork.
pub unsafe fn attempt(what: &Attempt) -> ! {
    // SAFETY: plain system calls on memory that was made before the fork, and on locals.
    unsafe {
        let result = perform(what);
        let code = if result < 0 { *libc::__errno_location() } else { 0 };
        libc::_exit(code)
    }
}

/// # Safety
/// As [`attempt`].
unsafe fn perform(what: &Attempt) -> c_long {
    // SAFETY: all pointers are to NUL-terminated strings and to structs of this frame with their sizes.
    unsafe {
        match what {
            Attempt::Read(path) => libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_NONBLOCK).into(),
            Attempt::Write(path) => {
                libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CREAT | libc::O_NONBLOCK, 0o600).into()
            }
            Attempt::Exec(path) => {
                let argv = [path.as_ptr(), std::ptr::null()];
                let env = [std::ptr::null()];
                // One that is run all the same gets nothing to do, and says nothing.
                for fd in 0..=2 {
                    libc::close(fd);
                }
                libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()).into()
            }
            Attempt::Connect { port, protocol } => {
                let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, *protocol);
                if socket < 0 {
                    return socket.into();
                }
                let address = loopback(*port);
                libc::connect(socket, (&raw const address).cast(), size_of::<libc::sockaddr_in>() as u32).into()
            }
            Attempt::Datagram { port } => {
                let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
                if socket < 0 {
                    return socket.into();
                }
                let address = loopback(*port);
                let length = size_of::<libc::sockaddr_in>() as u32;
                libc::sendto(socket, c"x".as_ptr().cast(), 1, 0, (&raw const address).cast(), length) as c_long
            }
            Attempt::Ring => {
                let mut parameters = [0_u8; 120];
                libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr())
            }
            Attempt::SignalParent => libc::kill(libc::getppid(), 0).into(),
            Attempt::TraceParent => libc::ptrace(libc::PTRACE_SEIZE, libc::getppid(), 0, 0),
            Attempt::Namespace => libc::unshare(libc::CLONE_NEWUSER).into(),
            Attempt::CryptoSocket => libc::socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0).into(),
        }
    }
}

fn loopback(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}
