//! Calls with socket addresses, performed on the program's own socket with the address that was checked.

mod accepting;
mod bound;
mod sending;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};

pub use accepting::{Accepting, accept};
pub use bound::Bound;
pub use sending::{Sending, SendingMany, sendmmsg, sendmsg, sendto};

use super::apart::{self, Held, RESTART};
use super::lent::Lent;
use super::paths::{Walker, name_of};
use super::rules::Peer;
use super::supervise::{Answer, Asked, Caller, Check, Slow};
use super::target::{Errno, checked};
use crate::sys;

type Done = Result<Answer, Errno>;

/// `sizeof struct sockaddr_storage`.
const MAX_ADDRESS: u64 = 128;
/// Where `sun_path` begins.
const SUN_PATH: usize = 2;

/// An option of level `SOL_SOCKET` whose value is a number of the size of `T`.
fn option<T: Default>(socket: &OwnedFd, name: i32) -> Result<T, Errno> {
    let mut value = T::default();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value and its length are of this frame; every value of the numbers that are asked for is valid.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut length)
    };
    checked(result.into())?;
    Ok(value)
}

/// As [`apart::patiently`], on a socket and by the option that limits how long it waits: a call that has a limit is never begun
/// once more after a handler, signal(7).
fn patiently<T>(
    caller: &Caller<'_>,
    (socket, limit): (&OwnedFd, i32),
    call: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    match apart::patiently(caller, call) {
        Err(RESTART) if option::<[i64; 2]>(socket, limit).is_ok_and(|time| time != [0; 2]) => Err(libc::EINTR),
        done => done,
    }
}

/// What an address is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Connect,
    Send,
    Bind,
}

/// The protocol of an internet socket in the words of grants.
fn protocol_of(socket: &OwnedFd) -> Result<&'static str, Errno> {
    if option::<i32>(socket, libc::SO_TYPE)? == libc::SOCK_RAW {
        return Ok("raw");
    }
    Ok(match option::<i32>(socket, libc::SO_PROTOCOL)? {
        libc::IPPROTO_TCP => "tcp",
        libc::IPPROTO_UDP => "udp",
        libc::IPPROTO_MPTCP => "mptcp",
        libc::IPPROTO_SCTP => "sctp",
        libc::IPPROTO_UDPLITE => "udplite",
        libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6 => "icmp",
        _ => "raw",
    })
}

/// The family of an address as the kernel understands it. One of no family takes a connection back; to send to and to bind it
/// is an internet address.
fn family_of(socket: &OwnedFd, use_of: Use, address: &[u8]) -> Result<i32, Errno> {
    let [first, second] = *address.first_chunk().ok_or(libc::EINVAL)?;
    let family = i32::from(u16::from_ne_bytes([first, second]));
    if family != libc::AF_UNSPEC || use_of == Use::Connect {
        return Ok(family);
    }
    match option::<i32>(socket, libc::SO_DOMAIN)? {
        libc::AF_INET => Ok(libc::AF_INET),
        // Of these the kernel takes some for the peer of the connection, some for an address of the other version.
        libc::AF_INET6 => Err(libc::EAFNOSUPPORT),
        _ => Ok(family),
    }
}

/// What an address names, for a grant; `None` for families that are granted with the socket itself, and for the address
/// that takes a connection back.
fn peer_of(
    asked: &Asked<'_>,
    check: &dyn Check,
    socket: &OwnedFd,
    use_of: Use,
    address: &[u8],
) -> Result<Option<Peer>, Errno> {
    let family = family_of(socket, use_of, address)?;
    Ok(match family {
        libc::AF_INET | libc::AF_INET6 => Some(internet_peer(family, address, protocol_of(socket)?)?),
        libc::AF_UNIX => unix_peer(asked, check, &address[SUN_PATH..])?,
        _ => None,
    })
}

/// An internet address that is taken for one of a family.
fn internet_peer(family: i32, address: &[u8], protocol: &'static str) -> Result<Peer, Errno> {
    let port = address.get(2..4).and_then(<[u8]>::first_chunk).ok_or(libc::EINVAL)?;
    let host = if family == libc::AF_INET6 {
        IpAddr::V6(Ipv6Addr::from(*address.get(8..).and_then(<[u8]>::first_chunk).ok_or(libc::EINVAL)?))
    } else {
        IpAddr::V4(Ipv4Addr::from(*address.get(4..).and_then(<[u8]>::first_chunk).ok_or(libc::EINVAL)?))
    };
    Ok(Peer::Internet { protocol, host, port: u16::from_be_bytes(*port) })
}

fn unix_peer(asked: &Asked<'_>, check: &dyn Check, name: &[u8]) -> Result<Option<Peer>, Errno> {
    match name.first() {
        // The kernel chooses a name.
        None => Ok(None),
        Some(0) => Ok(Some(Peer::UnixAbstract(name[1..].to_vec()))),
        Some(_) => {
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            let place = Walker::new(&asked.target, check).place(libc::AT_FDCWD, &name[..end], true)?;
            Ok(Some(Peer::UnixPath(place.path)))
        }
    }
}

fn address(asked: &Asked<'_>, addr: u64, length: u64) -> Result<Vec<u8>, Errno> {
    if length > MAX_ADDRESS {
        return Err(libc::EINVAL);
    }
    let bytes = asked.target.read_exact(addr, length as usize)?;
    asked.still_waiting()?;
    Ok(bytes)
}

/// A unix address whose path leads to the very socket that was checked.
fn held_address(
    asked: &Asked<'_>,
    bytes: &[u8],
    check: &dyn Check,
    verb: &str,
) -> Result<(Vec<u8>, Option<OwnedFd>), Errno> {
    let name = &bytes[SUN_PATH..];
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let place = Walker::new(&asked.target, check).place(libc::AT_FDCWD, &name[..end], true)?;
    check.peer(verb, &Peer::UnixPath(place.path))?;
    let mut named = bytes[..SUN_PATH].to_vec();
    named.extend_from_slice(name_of(&place.fd).as_bytes_with_nul());
    Ok((named, Some(place.fd)))
}

fn is_unix_path(bytes: &[u8]) -> bool {
    bytes.len() > SUN_PATH
        && i32::from(u16::from_ne_bytes([bytes[0], bytes[1]])) == libc::AF_UNIX
        && bytes[SUN_PATH] != 0
}

/// Checks an address; gives it back in a form that nobody can change, with what holds it.
fn checked_address(
    asked: &Asked<'_>,
    socket: &OwnedFd,
    use_of: Use,
    bytes: Vec<u8>,
    check: &dyn Check,
) -> Result<(Vec<u8>, Option<OwnedFd>), Errno> {
    if is_unix_path(&bytes) {
        return held_address(asked, &bytes, check, "connect");
    }
    if let Some(peer) = peer_of(asked, check, socket, use_of, &bytes)? {
        check.peer("connect", &peer)?;
    }
    Ok((bytes, None))
}

/// Calls that send to whom they name.
pub const SENDS: [i64; 3] = [libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg];

/// To whom such a call of a thread goes, as an object of a grant, as far as its memory tells: only to be told, and never to decide.
#[must_use]
pub fn named(tid: i32, number: i64, args: &[u64; 6]) -> String {
    let read = |at: u64, length: usize| {
        let mut bytes = Vec::new();
        sys::read_behind(tid, at, length.min(MAX_ADDRESS as usize), &mut bytes);
        bytes
    };
    let word = |at: u64| read(at, 8).try_into().map_or(0, u64::from_ne_bytes);
    let (at, length) = match number {
        libc::SYS_sendto => (args[4], args[5]),
        _ => (word(args[1]), word(args[1] + 8) & u64::from(u32::MAX)),
    };
    let address = read(at, length as usize);
    let peer = match address.first_chunk().map(|family| i32::from(u16::from_ne_bytes(*family))) {
        Some(family @ (libc::AF_INET | libc::AF_INET6 | libc::AF_UNSPEC)) => {
            internet_peer(family, &address, "tcp").ok()
        }
        Some(libc::AF_UNIX) => match &address[SUN_PATH..] {
            [] => None,
            [0, name @ ..] => Some(Peer::UnixAbstract(name.to_vec())),
            name => Some(Peer::UnixPath(name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())),
        },
        _ => None,
    };
    peer.map_or_else(|| "an address".to_owned(), |peer| peer.object())
}

fn is_blocking(socket: &OwnedFd) -> bool {
    // SAFETY: takes no pointer.
    unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) & libc::O_NONBLOCK == 0 }
}

pub fn connect(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let [fd, addr, length, ..] = asked.args;
    let socket = asked.target.descriptor(fd)?;
    let bytes = address(asked, addr, length)?;
    let (bytes, hold) = checked_address(asked, &socket, Use::Connect, bytes, check)?;
    let slow = Slow::Connect { socket, address: bytes, _hold: hold };
    Ok(slow.answer(&asked.caller()))
}

impl Slow {
    /// At once where it takes no time, else on a thread of its own. That a socket lets nobody wait says little: its program, and whoever
    /// has it as well, may change that at any moment.
    fn answer(mut self, caller: &Caller<'_>) -> Answer {
        match &mut self {
            // To whom datagrams go is only written down.
            Slow::Connect { socket, .. } if option::<i32>(socket, libc::SO_TYPE) == Ok(libc::SOCK_DGRAM) => {}
            Slow::Send(sending) if !sending.may_wait() => sending.never_wait(),
            Slow::SendMany(sending) if !sending.may_wait() => sending.never_wait(),
            Slow::Accept(accepting) if accepting.is_in_vain() => return Answer::Refused(libc::EAGAIN),
            _ => return Answer::Slow(self),
        }
        self.perform(caller)
    }

    /// What it holds, at most, until it is performed.
    #[must_use]
    pub fn held(&self) -> Held {
        let besides = |Held { descriptors, bytes }| Held { descriptors: 1 + descriptors, bytes };
        match self {
            // The socket, and the directory of its peer or what was accepted.
            Slow::Connect { .. } | Slow::Accept(_) => Held { descriptors: 2, bytes: 0 },
            Slow::Send(sending) => besides(sending.held()),
            Slow::SendMany(sending) => besides(sending.held()),
            Slow::Freeing(freeing) => Held { descriptors: freeing.descriptors(), bytes: 0 },
        }
    }

    pub fn perform(self, caller: &Caller<'_>) -> Answer {
        match self {
            Slow::Connect { socket, address, _hold } => {
                let length = address.len() as libc::socklen_t;
                Answer::from_result(patiently(caller, (&socket, libc::SO_SNDTIMEO), || {
                    // SAFETY: the address has that length.
                    checked(unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), length) }.into())
                }))
            }
            Slow::Send(sending) => Answer::from_result(sending.perform(caller)),
            Slow::SendMany(sending) => Answer::from_result(sending.perform(caller)),
            Slow::Accept(accepting) => accepting.perform(caller),
            Slow::Freeing(freeing) => Answer::from_result(apart::patiently(caller, || freeing.perform())),
        }
    }
}

pub fn bind(asked: &Asked<'_>, check: &dyn Check, bound: &mut Bound) -> Done {
    let [fd, addr, length, ..] = asked.args;
    let socket = asked.target.descriptor(fd)?;
    let bytes = address(asked, addr, length)?;
    if is_unix_path(&bytes) {
        let name = &bytes[SUN_PATH..];
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let entry = Walker::new(&asked.target, check).entry(libc::AT_FDCWD, &name[..end])?;
        check.peer("bind", &Peer::UnixPath(entry.path.clone()))?;
        return bound.bind(&socket, entry, bytes, asked.target.umask());
    }
    if let Some(peer) = peer_of(asked, check, &socket, Use::Bind, &bytes)? {
        check.peer("bind", &peer)?;
    }
    // SAFETY: the address has that length.
    checked(unsafe { libc::bind(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len() as libc::socklen_t) }.into())
        .map(Answer::Value)
}

/// The address that a socket is bound to, checked.
fn check_bound(asked: &Asked<'_>, verb: &str, check: &dyn Check, bound: &Bound) -> Result<Lent, Errno> {
    let socket = asked.target.descriptor(asked.args[0])?;
    let mut bytes = [0_u8; MAX_ADDRESS as usize];
    let mut length = bytes.len() as libc::socklen_t;
    // SAFETY: the buffer has that length.
    checked(unsafe { libc::getsockname(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), &raw mut length) }.into())?;
    let bytes = &bytes[..(length as usize).min(MAX_ADDRESS as usize)];
    let peer = if let Some(path) = bound.path_of(&socket)? {
        Some(Peer::UnixPath(path))
    } else if is_unix_path(bytes) {
        let name = &bytes[SUN_PATH..];
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let entry = Walker::new(&asked.target, check).entry(libc::AT_FDCWD, &name[..end])?;
        Some(Peer::UnixPath(entry.path))
    } else {
        peer_of(asked, check, &socket, Use::Bind, bytes)?
    };
    if let Some(peer) = peer {
        check.bound(verb, &peer)?;
    }
    Ok(socket)
}

/// listen(2), by the address that the socket was bound to.
pub fn listen(asked: &Asked<'_>, check: &dyn Check, bound: &Bound) -> Done {
    let socket = check_bound(asked, "listen", check, bound)?;
    // SAFETY: takes no pointer.
    checked(unsafe { libc::listen(socket.as_raw_fd(), asked.args[1] as i32) }.into()).map(Answer::Value)
}

/// getsockname(2): the name as the program gave it, not as it was bound by.
pub fn name(asked: &Asked<'_>, bound: &Bound) -> Done {
    let [fd, addr, length_at, ..] = asked.args;
    let socket = asked.target.descriptor(fd)?;
    let Some(given) = bound.given_of(&socket)? else { return Ok(Answer::Pass) };
    let room = asked.target.read_exact(length_at, size_of::<i32>())?;
    let room = i32::from_ne_bytes(room.try_into().map_err(|_| libc::EFAULT)?);
    let room = usize::try_from(room).map_err(|_| libc::EINVAL)?;
    asked.still_waiting()?;
    asked.write(addr, &given[..given.len().min(room)])?;
    asked.write(length_at, &(given.len() as u32).to_ne_bytes())?;
    Ok(Answer::Value(0))
}
