//! Unix sockets that were bound to a path.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, OwnedFd};

use super::{SUN_PATH, option};
use crate::enforce::paths::Entry;
use crate::enforce::supervise::Answer;
use crate::enforce::target::{Errno, checked};

/// Most sockets of which it is known.
const MAX_BOUND: usize = 1 << 16;
/// `sizeof sun_path`.
const SUN_PATH_SIZE: usize = 108;

/// What the kernel only knows as a name in a directory that nobody can tell any more.
struct Named {
    /// Canonical.
    path: Vec<u8>,
    /// The address as the program gave it, ended with NUL as the kernel does.
    given: Vec<u8>,
}

/// Paths of sockets, by the cookies that the kernel gives them for life.
#[derive(Default)]
pub struct Bound(HashMap<u64, Named>);

impl Bound {
    /// Binds a socket to a name in a directory that is held, so that neither can be exchanged for another after the check.
    pub fn bind(&mut self, socket: &OwnedFd, entry: Entry, given: Vec<u8>, umask: u32) -> Result<Answer, Errno> {
        if self.0.len() >= MAX_BOUND {
            return Err(libc::ENOBUFS);
        }
        let cookie = option::<u64>(socket, libc::SO_COOKIE)?;
        bind_in(socket, &entry, &given[..SUN_PATH], umask)?;
        let end = given[SUN_PATH..].iter().position(|byte| *byte == 0).map_or(given.len(), |at| SUN_PATH + at);
        let mut given = given;
        given.truncate(end);
        given.push(0);
        self.0.insert(cookie, Named { path: entry.path, given });
        Ok(Answer::Value(0))
    }

    fn named(&self, socket: &OwnedFd) -> Result<Option<&Named>, Errno> {
        if self.0.is_empty() { Ok(None) } else { Ok(self.0.get(&option::<u64>(socket, libc::SO_COOKIE)?)) }
    }

    pub fn path_of(&self, socket: &OwnedFd) -> Result<Option<Vec<u8>>, Errno> {
        Ok(self.named(socket)?.map(|named| named.path.clone()))
    }

    pub fn given_of(&self, socket: &OwnedFd) -> Result<Option<&[u8]>, Errno> {
        Ok(self.named(socket)?.map(|named| named.given.as_slice()))
    }
}

/// bind(2) has no directory argument: a thread with a working directory of its own stands in the one that was checked.
fn bind_in(socket: &OwnedFd, entry: &Entry, family: &[u8], umask: u32) -> Result<(), Errno> {
    let name = entry.name.as_bytes();
    if name.len() > SUN_PATH_SIZE {
        return Err(libc::EINVAL);
    }
    // One that takes all the room there is has no NUL behind it, unix(7).
    let with_nul = entry.name.as_bytes_with_nul();
    let name = &with_nul[..with_nul.len().min(SUN_PATH_SIZE)];
    let address = [family, name].concat();
    let work = || {
        // SAFETY: none takes a pointer but bind, whose address has that length.
        unsafe {
            checked(libc::unshare(libc::CLONE_FS).into())?;
            libc::umask(umask);
            checked(libc::fchdir(entry.directory.as_raw_fd()).into())?;
            let length = address.len() as libc::socklen_t;
            checked(libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), length).into())
        }
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("trace-bind".into()).spawn_scoped(scope, work);
        thread.map_err(|_| libc::EAGAIN)?.join().map_err(|_| libc::EIO)?
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::fd::{FromRawFd as _, OwnedFd};

    use super::*;

    #[test]
    fn a_socket_is_bound_in_the_directory_that_is_held() {
        let base = std::env::temp_dir().join(format!("trace-bound-{}", std::process::id()));
        let (held, moved) = (base.join("held"), base.join("moved"));
        std::fs::create_dir_all(&held).unwrap();
        let directory = OwnedFd::from(std::fs::File::open(&held).unwrap());
        // Another one has its name by now.
        std::fs::rename(&held, &moved).unwrap();
        std::fs::create_dir(&held).unwrap();
        // SAFETY: a new socket, owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)) };
        let given = [&(libc::AF_UNIX as u16).to_ne_bytes()[..], b"/somewhere/name"].concat();
        let path = b"/checked/name".to_vec();
        let entry = Entry { directory, name: CString::new("name").unwrap(), path, is_directory: false };
        let mut bound = Bound::default();
        assert!(bound.bind(&socket, entry, given.clone(), 0o077).is_ok());
        assert!(moved.join("name").exists() && !held.join("name").exists());
        assert_eq!(bound.path_of(&socket).unwrap().as_deref(), Some(&b"/checked/name"[..]));
        assert_eq!(bound.given_of(&socket).unwrap(), Some([given.as_slice(), &[0]].concat().as_slice()));
        std::fs::remove_dir_all(&base).unwrap();
    }
}
