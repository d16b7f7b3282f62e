//! Descriptors of programs, as ones of this process. When the program closes its own meanwhile, what is open is closed here: of a
//! connection on which bytes are left that may wait until they are sent (`SO_LINGER`), and everybody with it.

use std::ops::Deref;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

/// Most that are waited for.
const MAX_WAITING: usize = 64;

/// A descriptor that a program has, or had.
#[derive(Debug)]
pub struct Lent(Option<OwnedFd>);

impl From<OwnedFd> for Lent {
    fn from(fd: OwnedFd) -> Lent {
        Lent(Some(fd))
    }
}

impl Deref for Lent {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        self.0.as_ref().expect("it is there until it is given back")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(fd) = self.0.take().filter(lingers) else { return };
        if let Err(fd) = close_apart(fd) {
            // Of so many nobody waits for the bytes that are left: whoever has it still is told nothing else.
            set_lingering(&fd, libc::linger { l_onoff: 0, l_linger: 0 });
        }
    }
}

/// Whether who closes it last may have to wait; of one that is no socket nobody is told.
fn lingers(fd: &OwnedFd) -> bool {
    let mut value = libc::linger { l_onoff: 0, l_linger: 0 };
    let mut length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the value and its length are of this frame.
    let result = unsafe {
        let at = (&raw mut value).cast();
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, at, &raw mut length)
    };
    result == 0 && value.l_onoff != 0 && value.l_linger > 0
}

fn set_lingering(fd: &OwnedFd, value: libc::linger) {
    let length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the value is of this frame.
    unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const value).cast(), length) };
}

/// Closes it on the thread that is there for that.
///
/// # Errors
/// The descriptor, when too many wait there, or there is none.
fn close_apart(fd: OwnedFd) -> Result<(), OwnedFd> {
    static CLOSER: OnceLock<Option<SyncSender<OwnedFd>>> = OnceLock::new();
    let closer = CLOSER.get_or_init(|| {
        let (sender, waiting) = sync_channel(MAX_WAITING);
        let thread = std::thread::Builder::new().name("trace-close".into());
        thread.spawn(move || waiting.into_iter().for_each(drop)).ok().map(|_| sender)
    });
    let Some(closer) = closer else { return Err(fd) };
    closer.try_send(fd).map_err(|error| match error {
        TrySendError::Full(fd) | TrySendError::Disconnected(fd) => fd,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn nobody_waits_for_bytes_that_are_left() {
        let listening = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let begun = Instant::now();
        // More than are waited for.
        let others: Vec<TcpStream> = (0..MAX_WAITING + 4)
            .map(|_| {
                let mut stream = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
                let (other, _) = listening.accept().unwrap();
                stream.set_nonblocking(true).unwrap();
                while stream.write(&[0; 1 << 12]).is_ok() {}
                stream.set_nonblocking(false).unwrap();
                let fd = OwnedFd::from(stream);
                set_lingering(&fd, libc::linger { l_onoff: 1, l_linger: 10 });
                drop(Lent::from(fd));
                other
            })
            .collect();
        assert!(begun.elapsed() < Duration::from_secs(8));
        drop(others);
    }
}
