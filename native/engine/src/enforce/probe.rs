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
    /// Opens a directory.
    List(CString),
    /// Asks what there is, with a link followed.
    Look(CString),
    /// Makes a file empty.
    Truncate(CString),
    /// Makes a directory.
    MakeDirectory(CString),
    /// Removes a file, or a directory.
    Remove {
        path: CString,
        directory: bool,
    },
    Rename {
        from: CString,
        to: CString,
    },
    /// Gives a file one more name.
    Link {
        from: CString,
        to: CString,
    },
    /// Changes mode, owner or times, to what they are or nearly.
    SetMode(CString),
    SetOwner(CString),
    SetTimes(CString),
    /// Binds a socket to a path, or connects one.
    BindPath(CString),
    ConnectPath(CString),
    /// Binds a stream socket to 127.0.0.1, and may listen there.
    Bind {
        port: u16,
        listen: bool,
    },
    /// Connects a stream to 127.0.0.1, with that protocol (0: the default, TCP).
    Connect {
        port: u16,
        protocol: c_int,
    },
    /// Sends a datagram to 127.0.0.1.
    Datagram {
        port: u16,
    },
    /// Sets up an io_uring.
    Ring,
    /// Asks whether the process that started it could be signalled.
    SignalParent,
    /// Asks whether it could signal itself, or its process group.
    SignalSelf,
    SignalGroup,
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
            Attempt::List(path) => libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY).into(),
            Attempt::Look(path) => {
                let mut facts: libc::stat = std::mem::zeroed();
                libc::stat(path.as_ptr(), &raw mut facts).into()
            }
            Attempt::Truncate(path) => libc::truncate(path.as_ptr(), 0).into(),
            Attempt::MakeDirectory(path) => libc::mkdir(path.as_ptr(), 0o700).into(),
            Attempt::Remove { path, directory: false } => libc::unlink(path.as_ptr()).into(),
            Attempt::Remove { path, directory: true } => libc::rmdir(path.as_ptr()).into(),
            Attempt::Rename { from, to } => libc::rename(from.as_ptr(), to.as_ptr()).into(),
            Attempt::Link { from, to } => libc::link(from.as_ptr(), to.as_ptr()).into(),
            Attempt::SetMode(path) => libc::chmod(path.as_ptr(), 0o755).into(),
            Attempt::SetOwner(path) => libc::chown(path.as_ptr(), libc::uid_t::MAX, libc::gid_t::MAX).into(),
            Attempt::SetTimes(path) => libc::utimensat(libc::AT_FDCWD, path.as_ptr(), std::ptr::null(), 0).into(),
            Attempt::BindPath(path) => {
                with_unix_socket(path, |socket, address, length| libc::bind(socket, address, length))
            }
            Attempt::ConnectPath(path) => {
                with_unix_socket(path, |socket, address, length| libc::connect(socket, address, length))
            }
            Attempt::Bind { port, listen } => {
                let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
                if socket < 0 {
                    return socket.into();
                }
                let address = loopback(*port);
                let bound = libc::bind(socket, (&raw const address).cast(), size_of::<libc::sockaddr_in>() as u32);
                if bound < 0 || !listen { bound.into() } else { libc::listen(socket, 1).into() }
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
            Attempt::SignalSelf => libc::kill(libc::getpid(), 0).into(),
            Attempt::SignalGroup => libc::kill(0, 0).into(),
            Attempt::TraceParent => libc::ptrace(libc::PTRACE_SEIZE, libc::getppid(), 0, 0),
            Attempt::Namespace => libc::unshare(libc::CLONE_NEWUSER).into(),
            Attempt::CryptoSocket => libc::socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0).into(),
        }
    }
}

/// Does something with a new stream socket and the address of a path.
fn with_unix_socket(
    path: &CString,
    action: impl FnOnce(c_int, *const libc::sockaddr, libc::socklen_t) -> c_int,
) -> c_long {
    // SAFETY: a struct of plain numbers.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    let bytes = path.as_bytes();
    if bytes.len() >= address.sun_path.len() {
        // SAFETY: always a place of this thread.
        unsafe { *libc::__errno_location() = libc::ENAMETOOLONG };
        return -1;
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    // SAFETY: takes no pointer.
    let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) };
    if socket < 0 {
        return socket.into();
    }
    action(socket, (&raw const address).cast(), size_of::<libc::sockaddr_un>() as libc::socklen_t).into()
}

fn loopback(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}
