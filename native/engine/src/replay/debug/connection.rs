//! The line to a debugger: a socket of this machine that one may connect to.

use std::fmt;
use std::io::{self, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use gdbstub::conn::Connection;

use crate::error::EngineError;
use crate::sys;

/// Where a debugger may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system, which is made, for its owner alone.
    Socket(PathBuf),
    /// A port, mostly of 127.0.0.1.
    Port(SocketAddr),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(path) => path.display().fmt(f),
            Address::Port(port) => port.fmt(f),
        }
    }
}

/// Waits for one debugger.
#[derive(Debug)]
pub struct Listener(Listening);

#[derive(Debug)]
enum Listening {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// From now on one can connect.
    ///
    /// # Errors
    /// When the address is in use, or cannot be had.
    pub fn bind(address: &Address) -> Result<Listener, EngineError> {
        let bound = match address {
            Address::Socket(path) => bind_private(path).map(Listening::Unix),
            Address::Port(port) => TcpListener::bind(port).map(Listening::Tcp),
        };
        bound.map(Listener).map_err(|error| {
            let message = format!("cannot wait for a debugger at {address}: {error}; name another port: --gdb=PORT");
            EngineError::replay("debugger", message, Vec::new())
        })
    }

    fn descriptor(&self) -> RawFd {
        match &self.0 {
            Listening::Unix(socket) => socket.as_raw_fd(),
            Listening::Tcp(socket) => socket.as_raw_fd(),
        }
    }

    /// Waits a moment for somebody who connects.
    ///
    /// # Errors
    /// As accept(2).
    pub fn accept(&self) -> io::Result<Option<Line>> {
        if !is_readable(self.descriptor()) {
            return Ok(None);
        }
        let stream = match &self.0 {
            Listening::Unix(socket) => Stream::Unix(socket.accept()?.0),
            Listening::Tcp(socket) => {
                let stream = socket.accept()?.0;
                // Each answer is a packet of its own, and waited for.
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
        };
        Ok(Some(Line { stream, answer: Vec::new() }))
    }
}

/// Makes a socket that only its owner can connect to.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(socket)
}

/// Waits for a moment until there is something to be read, or the other end is gone.
fn is_readable(fd: RawFd) -> bool {
    const MOMENT_MS: i32 = 50;
    sys::is_readable(fd, MOMENT_MS)
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// A connected debugger.
pub struct Line {
    stream: Stream,
    /// What has not been sent yet.
    answer: Vec<u8>,
}

impl Line {
    fn descriptor(&self) -> RawFd {
        match &self.stream {
            Stream::Unix(stream) => stream.as_raw_fd(),
            Stream::Tcp(stream) => stream.as_raw_fd(),
        }
    }

    /// Whether the debugger has something to say, without waiting for it.
    #[must_use]
    pub fn has_word(&self) -> bool {
        sys::is_readable(self.descriptor(), 0)
    }

    /// What the debugger says next, if it does within a moment. Nothing at all: it is gone.
    ///
    /// # Errors
    /// As read(2).
    pub fn listen(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if !is_readable(self.descriptor()) {
            return Ok(None);
        }
        match &mut self.stream {
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
        }
        .map(Some)
    }
}

impl Connection for Line {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.answer.push(byte);
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.answer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let sent = match &mut self.stream {
            Stream::Unix(stream) => Write::write_all(stream, &self.answer),
            Stream::Tcp(stream) => Write::write_all(stream, &self.answer),
        };
        self.answer.clear();
        sent
    }
}
