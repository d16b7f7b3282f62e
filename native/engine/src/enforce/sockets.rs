//! Calls with socket addresses, performed on the program's own socket with the address that was checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use super::paths::{Walker, name_of};
use super::rules::Peer;
use super::supervise::{Answer, Asked, Check, Slow};
use super::target::{Errno, checked};

type Done = Result<Answer, Errno>;

/// `sizeof struct sockaddr_storage`.
const MAX_ADDRESS: u64 = 128;
/// Most bytes of one datagram, and most pieces that it is made of (UIO_MAXIOV).
const MAX_MESSAGE: usize = 1 << 20;
const MAX_PIECES: usize = 1024;
/// Where `sun_path` begins.
const SUN_PATH: usize = 2;

fn option(socket: &OwnedFd, name: i32) -> Result<i32, Errno> {
    let mut value = 0_i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value and its length are of this frame.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut length)
    };
    checked(result.into())?;
    Ok(value)
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
    Ok(match option(socket, libc::SO_PROTOCOL)? {
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
    match option(socket, libc::SO_DOMAIN)? {
        libc::AF_INET => Ok(libc::AF_INET),
        // Of these the kernel takes some for the peer of the connection, some for an address of the other version.
        libc::AF_INET6 => Err(libc::EAFNOSUPPORT),
        _ => Ok(family),
    }
}

/// What an address names, for a grant; `None` for families that are granted with the socket itself, and for the address
/// that takes a connection back.
fn peer_of(asked: &Asked<'_>, socket: &OwnedFd, use_of: Use, address: &[u8]) -> Result<Option<Peer>, Errno> {
    let family = family_of(socket, use_of, address)?;
    let port = || address.get(2..4).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]])).ok_or(libc::EINVAL);
    Ok(match family {
        libc::AF_INET => {
            let bytes: [u8; 4] = address.get(4..8).and_then(|bytes| bytes.try_into().ok()).ok_or(libc::EINVAL)?;
            let host = IpAddr::V4(Ipv4Addr::from(bytes));
            Some(Peer::Internet { protocol: protocol_of(socket)?, host, port: port()? })
        }
        libc::AF_INET6 => {
            let bytes: [u8; 16] = address.get(8..24).and_then(|bytes| bytes.try_into().ok()).ok_or(libc::EINVAL)?;
            let host = IpAddr::V6(Ipv6Addr::from(bytes));
            Some(Peer::Internet { protocol: protocol_of(socket)?, host, port: port()? })
        }
        libc::AF_UNIX => unix_peer(asked, &address[SUN_PATH..])?,
        _ => None,
    })
}

fn unix_peer(asked: &Asked<'_>, name: &[u8]) -> Result<Option<Peer>, Errno> {
    match name.first() {
        // The kernel chooses a name.
        None => Ok(None),
        Some(0) => Ok(Some(Peer::UnixAbstract(name[1..].to_vec()))),
        Some(_) => {
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            let place = Walker::new(&asked.target).place(libc::AT_FDCWD, &name[..end], true)?;
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
    let place = Walker::new(&asked.target).place(libc::AT_FDCWD, &name[..end], true)?;
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
    if let Some(peer) = peer_of(asked, socket, use_of, &bytes)? {
        check.peer("connect", &peer)?;
    }
    Ok((bytes, None))
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
    Ok(if slow.may_wait() { Answer::Slow(slow) } else { Answer::from_result(slow.perform()) })
}

impl Slow {
    fn may_wait(&self) -> bool {
        match self {
            Slow::Connect { socket, .. } | Slow::Send { socket, .. } => is_blocking(socket),
        }
    }

    pub fn perform(&self) -> Result<i64, Errno> {
        match self {
            Slow::Connect { socket, address, .. } => {
                // SAFETY: the address has that length.
                checked(
                    unsafe {
                        libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), address.len() as libc::socklen_t)
                    }
                    .into(),
                )
            }
            Slow::Send { socket, address, data, flags, .. } => {
                let (name, length) = match address {
                    Some(address) => (address.as_ptr().cast(), address.len() as libc::socklen_t),
                    None => (std::ptr::null(), 0),
                };
                // SAFETY: data and address have these lengths. A program that ignores a broken pipe is not this one.
                checked(unsafe {
                    libc::sendto(
                        socket.as_raw_fd(),
                        data.as_ptr().cast(),
                        data.len(),
                        flags | libc::MSG_NOSIGNAL,
                        name,
                        length,
                    )
                } as i64)
            }
        }
    }
}

pub fn bind(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let [fd, addr, length, ..] = asked.args;
    let socket = asked.target.descriptor(fd)?;
    let bytes = address(asked, addr, length)?;
    if is_unix_path(&bytes) {
        let name = &bytes[SUN_PATH..];
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let entry = Walker::new(&asked.target).entry(libc::AT_FDCWD, &name[..end])?;
        check.peer("bind", &Peer::UnixPath(entry.path))?;
        // The kernel keeps the name as it was given, for whoever asks for it later; Landlock holds the directory.
        return Ok(Answer::Pass);
    }
    if let Some(peer) = peer_of(asked, &socket, Use::Bind, &bytes)? {
        check.peer("bind", &peer)?;
    }
    // SAFETY: the address has that length.
    checked(unsafe { libc::bind(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len() as libc::socklen_t) }.into())
        .map(Answer::Value)
}

/// sendto(2). Without an address the peer was checked when the socket was connected.
pub fn sendto(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let [fd, buffer, length, flags, addr, addr_length] = asked.args;
    if addr == 0 {
        return Ok(Answer::Pass);
    }
    let socket = asked.target.descriptor(fd)?;
    let bytes = address(asked, addr, addr_length)?;
    let (address, hold) = checked_address(asked, &socket, Use::Send, bytes, check)?;
    if length as usize > MAX_MESSAGE {
        return Err(libc::EMSGSIZE);
    }
    let data = asked.target.read_exact(buffer, length as usize)?;
    asked.still_waiting()?;
    let slow = Slow::Send { socket, address: Some(address), data, flags: flags as i32, _hold: hold };
    Ok(if slow.may_wait() { Answer::Slow(slow) } else { Answer::from_result(slow.perform()) })
}

/// `struct msghdr` of x86-64: name, its length, pieces, their number, control data, its length, flags.
struct Message {
    name: u64,
    name_length: u64,
    pieces: u64,
    count: u64,
    control: u64,
    control_length: u64,
}

const MESSAGE_SIZE: usize = 56;

fn message_at(asked: &Asked<'_>, addr: u64) -> Result<Message, Errno> {
    let bytes = asked.target.read_exact(addr, MESSAGE_SIZE)?;
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
    Ok(Message {
        name: word(0),
        name_length: word(8) & 0xffff_ffff,
        pieces: word(16),
        count: word(24),
        control: word(32),
        control_length: word(40),
    })
}

/// A connected stream needs no address, and the kernel ignores one; its messages are the program's own business.
fn is_stream(socket: &OwnedFd) -> Result<bool, Errno> {
    let kind = option(socket, libc::SO_TYPE)?;
    let domain = option(socket, libc::SO_DOMAIN)?;
    let is_known = matches!(domain, libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX);
    Ok(!is_known || kind == libc::SOCK_STREAM || kind == libc::SOCK_SEQPACKET)
}

/// A message that connects: its address would be looked at by nobody.
fn refuse_fast_open(flags: u64) -> Result<(), Errno> {
    if flags as i32 & libc::MSG_FASTOPEN == 0 { Ok(()) } else { Err(libc::EOPNOTSUPP) }
}

pub fn sendmsg(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let [fd, addr, flags, ..] = asked.args;
    let socket = asked.target.descriptor(fd)?;
    refuse_fast_open(flags)?;
    if is_stream(&socket)? {
        return Ok(Answer::Pass);
    }
    let (address, data, hold) = datagram(asked, &socket, &message_at(asked, addr)?, check)?;
    let slow = Slow::Send { socket, address, data, flags: flags as i32, _hold: hold };
    Ok(if slow.may_wait() { Answer::Slow(slow) } else { Answer::from_result(slow.perform()) })
}

type Datagram = (Option<Vec<u8>>, Vec<u8>, Option<OwnedFd>);

fn datagram(asked: &Asked<'_>, socket: &OwnedFd, message: &Message, check: &dyn Check) -> Result<Datagram, Errno> {
    // Descriptors and credentials in datagrams are not carried over.
    if message.control != 0 && message.control_length != 0 && option(socket, libc::SO_DOMAIN)? == libc::AF_UNIX {
        return Err(libc::EOPNOTSUPP);
    }
    let (address, hold) = if message.name == 0 || message.name_length == 0 {
        (None, None)
    } else {
        let bytes = address(asked, message.name, message.name_length)?;
        let (address, hold) = checked_address(asked, socket, Use::Send, bytes, check)?;
        (Some(address), hold)
    };
    if message.count as usize > MAX_PIECES {
        return Err(libc::EMSGSIZE);
    }
    let pieces = asked.target.read_exact(message.pieces, 16 * message.count as usize)?;
    let mut data = Vec::new();
    for piece in pieces.chunks_exact(16) {
        let word = |at: usize| u64::from_ne_bytes(piece[at..at + 8].try_into().unwrap_or_default());
        let length = word(8) as usize;
        if length > MAX_MESSAGE - data.len() {
            return Err(libc::EMSGSIZE);
        }
        data.extend(asked.target.read_exact(word(0), length)?);
    }
    asked.still_waiting()?;
    Ok((address, data, hold))
}

/// sendmmsg(2), message by message.
pub fn sendmmsg(asked: &Asked<'_>, check: &dyn Check) -> Done {
    const STEP: u64 = 64;
    let [fd, addr, count, flags, ..] = asked.args;
    let socket = asked.target.descriptor(fd)?;
    refuse_fast_open(flags)?;
    if is_stream(&socket)? {
        return Ok(Answer::Pass);
    }
    let mut sent = 0;
    for k in 0..count.min(MAX_PIECES as u64) {
        let at = addr + k * STEP;
        let one = || -> Result<i64, Errno> {
            let (address, data, hold) = datagram(asked, &socket, &message_at(asked, at)?, check)?;
            let socket = socket.try_clone().map_err(|_| libc::EMFILE)?;
            Slow::Send { socket, address, data, flags: flags as i32 | libc::MSG_DONTWAIT, _hold: hold }.perform()
        };
        match one() {
            Ok(length) => asked.target.write(at + MESSAGE_SIZE as u64, &(length as u32).to_ne_bytes())?,
            Err(errno) if sent == 0 => return Err(errno),
            Err(_) => break,
        }
        sent += 1;
    }
    Ok(Answer::Value(sent))
}

/// listen(2), accept(2): by the address that the socket was bound to. Nothing but the descriptor is looked at.
pub fn at_bound(asked: &Asked<'_>, verb: &str, check: &dyn Check) -> Done {
    let socket = asked.target.descriptor(asked.args[0])?;
    let mut bytes = [0_u8; MAX_ADDRESS as usize];
    let mut length = bytes.len() as libc::socklen_t;
    // SAFETY: the buffer has that length.
    checked(unsafe { libc::getsockname(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), &raw mut length) }.into())?;
    let bytes = &bytes[..(length as usize).min(MAX_ADDRESS as usize)];
    let peer = if is_unix_path(bytes) {
        let name = &bytes[SUN_PATH..];
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let entry = Walker::new(&asked.target).entry(libc::AT_FDCWD, &name[..end])?;
        Some(Peer::UnixPath(entry.path))
    } else {
        peer_of(asked, &socket, Use::Bind, bytes)?
    };
    if let Some(peer) = peer {
        check.bound(verb, &peer)?;
    }
    Ok(Answer::Pass)
}
