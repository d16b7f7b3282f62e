//! Unix sockets that were bound to a path.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsRawFd as _, OwnedFd};

use super::{SUN_PATH, option};
use crate::enforce::paths::{Entry, facts_of};
use crate::enforce::supervise::Answer;
use crate::enforce::target::{Errno, checked};

/// Most sockets of which it is known.
const MAX_BOUND: usize = 1 << 16;
/// So many may be gone before that is looked at, or as many as there are.
const MAX_GONE: usize = 1 << 10;
/// All sockets of the family that there are, a line each behind the first; the seventh word is their number (proc_net_unix(5)).
const SOCKETS: &str = "/proc/thread-self/net/unix";
const NUMBER_WORD: usize = 6;
/// `sizeof sun_path`.
const SUN_PATH_SIZE: usize = 108;

/// What the kernel only knows as a name in a directory that nobody can tell any more.
struct Named {
    /// Canonical.
    path: Vec<u8>,
    /// The address as the program gave it, ended with NUL as the kernel does.
    given: Vec<u8>,
    /// Its number among those that there are.
    number: u64,
}

/// Paths of sockets, by the cookies that the kernel gives them for life.
#[derive(Default)]
pub struct Bound {
    named: HashMap<u64, Named>,
    /// How many of them there were when it was looked last.
    left: usize,
}

impl Bound {
    /// Binds a socket to a name in a directory that is held, so that neither can be exchanged for another after the check.
    pub fn bind(&mut self, socket: &OwnedFd, entry: Entry, given: Vec<u8>, umask: u32) -> Result<Answer, Errno> {
        self.make_room();
        if self.named.len() >= MAX_BOUND {
            return Err(libc::ENOBUFS);
        }
        let cookie = option::<u64>(socket, libc::SO_COOKIE)?;
        bind_in(socket, &entry, &given[..SUN_PATH], umask)?;
        let end = given[SUN_PATH..].iter().position(|byte| *byte == 0).map_or(given.len(), |at| SUN_PATH + at);
        let mut given = given;
        given.truncate(end);
        given.push(0);
        self.named.insert(cookie, Named { path: entry.path, given, number: facts_of(socket)?.st_ino });
        Ok(Answer::Value(0))
    }

    /// Forgets those that are gone, of which nobody tells.
    fn make_room(&mut self) {
        if self.named.len() < (self.left + self.left.max(MAX_GONE)).min(MAX_BOUND) {
            return;
        }
        if let Ok(list) = std::fs::read_to_string(SOCKETS) {
            let number = |line: &str| line.split_whitespace().nth(NUMBER_WORD)?.parse().ok();
            let there: HashSet<u64> = list.lines().filter_map(number).collect();
            self.named.retain(|_, named| there.contains(&named.number));
        }
        self.left = self.named.len();
    }

    fn named(&self, socket: &OwnedFd) -> Result<Option<&Named>, Errno> {
        if self.named.is_empty() { Ok(None) } else { Ok(self.named.get(&option::<u64>(socket, libc::SO_COOKIE)?)) }
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

    #[test]
    fn sockets_that_are_gone_leave_room() {
        let base = std::env::temp_dir().join(format!("trace-bound-room-{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let mut bound = Bound::default();
        let mut bind = |name: &str| {
            let directory = OwnedFd::from(std::fs::File::open(&base).unwrap());
            // SAFETY: a new socket, owned by nobody else.
            let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)) };
            let path = name.as_bytes().to_vec();
            let entry = Entry { directory, name: CString::new(name).unwrap(), path, is_directory: false };
            let given = [&(libc::AF_UNIX as u16).to_ne_bytes()[..], name.as_bytes()].concat();
            assert!(bound.bind(&socket, entry, given, 0).is_ok());
            (socket, bound.named.len())
        };
        let (kept, _) = bind("kept");
        let most = (0..4 * MAX_GONE).map(|_| {
            let (_socket, known) = bind("gone");
            std::fs::remove_file(base.join("gone")).unwrap();
            known
        });
        assert!(most.max().unwrap() <= 2 * MAX_GONE);
        assert_eq!(bound.path_of(&kept).unwrap().as_deref(), Some(&b"kept"[..]));
        std::fs::remove_dir_all(&base).unwrap();
    }
}
