//! Calls that send. They are performed here, on copies and on descriptors of this process: whatever the kernel looked at
//! again, the program could have exchanged since the check, the socket itself (dup2) as well as an address in its memory.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use super::{Done, MAX_ADDRESS, Use, address, checked_address, is_blocking, option, patiently};
use crate::enforce::apart::Held;
use crate::enforce::filter::OLD_ROUTING_HEADER;
use crate::enforce::lent::Lent;
use crate::enforce::supervise::{Answer, Asked, Caller, Check, Slow};
use crate::enforce::target::{Errno, checked};
use crate::sys;

/// Most bytes of one message.
const MAX_MESSAGE: usize = 1 << 20;
/// Most bytes of a stream that are copied at once: they stay here as long as the call waits, and many may.
const MAX_COPIED: usize = 1 << 16;
/// Most pieces of a message (UIO_MAXIOV), and messages of one call.
const MAX_PIECES: usize = 1024;
/// Most bytes that the kernel moves in one call (`MAX_RW_COUNT`).
const MAX_TOTAL: u64 = 0x7fff_f000;
/// Most bytes of control data; kernels allow about that (net.core.optmem_max).
const MAX_CONTROL: usize = 1 << 17;
/// Most descriptors in a message (`SCM_MAX_FD`).
const MAX_RIGHTS: usize = 253;
/// Size of a `struct cmsghdr`, and what the next one is aligned to.
const CONTROL_HEADER: usize = 16;
const CONTROL_ALIGN: usize = 8;

/// Bytes that are still in the program's memory: address and length.
struct Pieces(VecDeque<(u64, u64)>);

impl Pieces {
    /// # Errors
    /// EMSGSIZE when one is longer than can be counted.
    fn new(pieces: impl IntoIterator<Item = (u64, u64)>) -> Result<Pieces, Errno> {
        let mut room = MAX_TOTAL;
        let mut own = VecDeque::new();
        for (at, length) in pieces {
            if length > i64::MAX as u64 {
                return Err(libc::EMSGSIZE);
            }
            let length = length.min(room);
            room -= length;
            if length > 0 {
                own.push_back((at, length));
            }
        }
        Ok(Pieces(own))
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|(_, length)| length).sum()
    }

    /// Takes the next `most` bytes.
    fn take(&mut self, caller: &Caller<'_>, most: usize) -> Result<Vec<u8>, Errno> {
        let mut data = Vec::with_capacity(self.total().min(most as u64) as usize);
        while let Some((at, left)) = self.0.front_mut()
            && data.len() < most
        {
            let length = (most - data.len()).min(*left as usize);
            if sys::read_behind(caller.tid, *at, length, &mut data) < length {
                return Err(libc::EFAULT);
            }
            (*at, *left) = (at.wrapping_add(length as u64), *left - length as u64);
            if *left == 0 {
                self.0.pop_front();
            }
        }
        if caller.is_waiting() { Ok(data) } else { Err(libc::EINTR) }
    }
}

/// A message that is being sent.
pub struct Sending {
    /// Of many messages the same.
    socket: Arc<Lent>,
    address: Option<Vec<u8>>,
    pieces: Pieces,
    control: Control,
    flags: i32,
    is_stream: bool,
    hold: Option<OwnedFd>,
}

/// Control data, and what the descriptors in it stand for.
#[derive(Default)]
struct Control {
    bytes: Vec<u8>,
    rights: Vec<Lent>,
}

impl Sending {
    /// What it holds besides the socket: a descriptor of its peer and those in the message; what is known of it, and what is copied of
    /// the program at once.
    pub fn held(&self) -> Held {
        Held {
            descriptors: usize::from(self.hold.is_some()) + self.control.rights.len(),
            bytes: self.known() + self.pieces.total().min(self.most() as u64) as usize,
        }
    }

    fn known(&self) -> usize {
        size_of::<Sending>() + self.pieces.0.len() * size_of::<(u64, u64)>() + self.control.bytes.len()
    }

    /// A stream goes bit by bit; the last byte of urgent data is that of its call.
    fn is_cut(&self) -> bool {
        self.is_stream && self.flags & libc::MSG_OOB == 0
    }

    /// Most bytes that are copied at once.
    fn most(&self) -> usize {
        if self.is_cut() { MAX_COPIED } else { MAX_MESSAGE }
    }

    /// To copy much takes long as well, and does not end while somebody reads at the other end.
    pub fn may_wait(&self) -> bool {
        (self.flags & libc::MSG_DONTWAIT == 0 && is_blocking(&self.socket)) || self.pieces.total() > MAX_MESSAGE as u64
    }

    pub fn never_wait(&mut self) {
        self.flags |= libc::MSG_DONTWAIT;
    }

    pub fn perform(mut self, caller: &Caller<'_>) -> Result<i64, Errno> {
        let done = self.send(caller);
        // Whoever writes to a stream that nobody reads gets a signal, which the kernel would have given to this thread.
        if done == Err(libc::EPIPE) && self.is_stream && self.flags & libc::MSG_NOSIGNAL == 0 && caller.is_waiting() {
            let _ = sys::tgkill(caller.tgid, caller.tid, libc::SIGPIPE);
        }
        done
    }

    /// A message at once; a stream bit by bit, until all of it is sent or the socket takes no more.
    fn send(&mut self, caller: &Caller<'_>) -> Result<i64, Errno> {
        if !self.is_stream && self.pieces.total() > MAX_MESSAGE as u64 {
            return Err(libc::EMSGSIZE);
        }
        let most = self.most();
        let mut sent = 0;
        loop {
            let one = self.pieces.take(caller, most).and_then(|data| Ok((self.send_one(caller, &data)?, data.len())));
            match one {
                Err(errno) if sent == 0 => return Err(errno),
                Err(_) => return Ok(sent),
                Ok((length, all)) => {
                    sent += length;
                    if self.pieces.0.is_empty() || length < all as i64 {
                        return Ok(sent);
                    }
                }
            }
            // They go with the first bytes.
            self.control = Control::default();
        }
    }

    fn send_one(&self, caller: &Caller<'_>, data: &[u8]) -> Result<i64, Errno> {
        let mut piece = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
        // SAFETY: a struct of plain numbers and pointers that may be null.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut piece;
        message.msg_iovlen = 1;
        if let Some(address) = &self.address {
            message.msg_name = address.as_ptr().cast_mut().cast();
            message.msg_namelen = address.len() as libc::socklen_t;
        }
        if !self.control.bytes.is_empty() {
            message.msg_control = self.control.bytes.as_ptr().cast_mut().cast();
            message.msg_controllen = self.control.bytes.len();
        }
        let flags = self.flags | libc::MSG_NOSIGNAL;
        patiently(caller, (&self.socket, libc::SO_SNDTIMEO), || {
            // SAFETY: all that the message points to lives here and has these lengths; the kernel only reads it.
            checked(unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const message, flags) } as i64)
        })
    }
}

/// sendto(2). Without an address the peer was checked when the socket was connected.
pub fn sendto(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let [fd, buffer, length, flags, addr, addr_length] = asked.args;
    if addr == 0 {
        return Ok(Answer::Pass);
    }
    refuse_copyless(flags)?;
    let socket = asked.target.descriptor(fd)?;
    let bytes = address(asked, addr, addr_length)?;
    let (address, hold) = checked_address(asked, &socket, Use::Send, bytes, check)?;
    let is_stream = is_stream(&socket)?;
    let sending = Sending {
        socket: Arc::new(socket),
        address: Some(address),
        pieces: Pieces::new([(buffer, length)])?,
        control: Control::default(),
        flags: flags as i32,
        is_stream,
        hold,
    };
    Ok(Slow::Send(sending).answer(&asked.caller()))
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

fn is_stream(socket: &OwnedFd) -> Result<bool, Errno> {
    Ok(option::<i32>(socket, libc::SO_TYPE)? == libc::SOCK_STREAM)
}

/// A message that connects: its address would be looked at by nobody.
fn refuse_fast_open(flags: u64) -> Result<(), Errno> {
    if flags as i32 & libc::MSG_FASTOPEN == 0 { Ok(()) } else { Err(libc::EOPNOTSUPP) }
}

/// Data that the kernel sends from where it stands, which is a copy that is gone by then. Programs then send it as others do.
fn refuse_copyless(flags: u64) -> Result<(), Errno> {
    if flags as i32 & libc::MSG_ZEROCOPY == 0 { Ok(()) } else { Err(libc::ENOBUFS) }
}

pub fn sendmsg(asked: &Asked<'_>, check: &dyn Check) -> Done {
    let [fd, addr, flags, ..] = asked.args;
    let socket = asked.target.descriptor(fd)?;
    refuse_fast_open(flags)?;
    refuse_copyless(flags)?;
    let sending = sending(asked, Arc::new(socket), &message_at(asked, addr)?, flags as i32, check)?;
    Ok(Slow::Send(sending).answer(&asked.caller()))
}

fn sending(
    asked: &Asked<'_>,
    socket: Arc<Lent>,
    message: &Message,
    flags: i32,
    check: &dyn Check,
) -> Result<Sending, Errno> {
    let (address, hold) = if message.name == 0 || message.name_length == 0 {
        (None, None)
    } else {
        let bytes = address(asked, message.name, message.name_length.min(MAX_ADDRESS))?;
        let (address, hold) = checked_address(asked, &socket, Use::Send, bytes, check)?;
        (Some(address), hold)
    };
    if message.count as usize > MAX_PIECES {
        return Err(libc::EMSGSIZE);
    }
    let pieces = asked.target.read_exact(message.pieces, 16 * message.count as usize)?;
    let pieces = Pieces::new(pieces.chunks_exact(16).map(|piece| {
        let word = |at: usize| u64::from_ne_bytes(piece[at..at + 8].try_into().unwrap_or_default());
        (word(0), word(8))
    }))?;
    let control = control_of(asked, &socket, message)?;
    asked.still_waiting()?;
    let is_stream = is_stream(&socket)?;
    Ok(Sending { socket, address, pieces, control, flags, is_stream, hold })
}

/// Control data with descriptors of this process in the place of the program's.
fn control_of(asked: &Asked<'_>, socket: &OwnedFd, message: &Message) -> Result<Control, Errno> {
    if message.control == 0 || message.control_length == 0 {
        return Ok(Control::default());
    }
    if message.control_length > MAX_CONTROL as u64 {
        return Err(libc::ENOBUFS);
    }
    let bytes = asked.target.read_exact(message.control, message.control_length as usize)?;
    let is_unix = option::<i32>(socket, libc::SO_DOMAIN)? == libc::AF_UNIX;
    let mut own = Control::default();
    let mut rest = bytes.as_slice();
    while rest.len() >= CONTROL_HEADER {
        let (length, level, kind) = header_of(rest)?;
        let padded = length.next_multiple_of(CONTROL_ALIGN).min(rest.len());
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) if is_unix => own.add_rights(asked, &rest[..padded], length)?,
            // The kernel tells who sent it where that was asked for: as with connections, this process.
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if is_unix => {}
            _ if is_unix => return Err(libc::EINVAL),
            // They lead by another way than the address that was checked.
            (libc::IPPROTO_IP, libc::IP_RETOPTS)
            | (libc::IPPROTO_IPV6, libc::IPV6_RTHDR | OLD_ROUTING_HEADER | libc::IPV6_RTHDRDSTOPTS) => {
                return Err(libc::EOPNOTSUPP);
            }
            _ => own.bytes.extend_from_slice(&rest[..padded]),
        }
        rest = &rest[padded..];
    }
    Ok(own)
}

/// Length, level and type of the control message at the head.
fn header_of(bytes: &[u8]) -> Result<(usize, i32, i32), Errno> {
    let (length, rest) = bytes.split_first_chunk().ok_or(libc::EINVAL)?;
    let (level, rest) = rest.split_first_chunk().ok_or(libc::EINVAL)?;
    let kind = rest.first_chunk().ok_or(libc::EINVAL)?;
    let length = u64::from_ne_bytes(*length);
    if length < CONTROL_HEADER as u64 || length > bytes.len() as u64 {
        return Err(libc::EINVAL);
    }
    Ok((length as usize, i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind)))
}

impl Control {
    fn add_rights(&mut self, asked: &Asked<'_>, message: &[u8], length: usize) -> Result<(), Errno> {
        let mut own = message.to_vec();
        let (numbers, _) = own[CONTROL_HEADER..length].as_chunks_mut::<4>();
        if self.rights.len() + numbers.len() > MAX_RIGHTS {
            return Err(libc::EINVAL);
        }
        for number in numbers {
            let descriptor = asked.target.descriptor(i32::from_ne_bytes(*number) as u64)?;
            *number = descriptor.as_raw_fd().to_ne_bytes();
            self.rights.push(descriptor);
        }
        self.bytes.extend_from_slice(&own);
        Ok(())
    }
}

/// Messages of one sendmmsg(2), and where the length of each goes once it was sent.
pub struct SendingMany(Vec<(u64, Sending)>);

/// Most of what many messages hold until they are sent: descriptors, and pieces with as many bytes of control data as these take.
/// One message may hold as much by itself.
const MOST_HELD: usize = MAX_RIGHTS;
const MOST_PIECES: usize = 1 << 14;

/// sendmmsg(2). What follows a message that is refused, or that would be too much to be held, is not sent: as the kernel does with what
/// it has no room for, the program is told how many were.
pub fn sendmmsg(asked: &Asked<'_>, check: &dyn Check) -> Done {
    const STEP: u64 = 64;
    let [fd, addr, count, flags, ..] = asked.args;
    let socket = Arc::new(asked.target.descriptor(fd)?);
    refuse_fast_open(flags)?;
    refuse_copyless(flags)?;
    let mut messages: Vec<(u64, Sending)> = Vec::new();
    let (mut held, mut pieces) = (0, 0);
    for k in 0..count.min(MAX_PIECES as u64) {
        let at = addr.wrapping_add(k * STEP);
        let one = || sending(asked, Arc::clone(&socket), &message_at(asked, at)?, flags as i32, check);
        let sending = match one() {
            Err(errno) if messages.is_empty() => return Err(errno),
            Err(_) => break,
            Ok(sending) => sending,
        };
        held += sending.held().descriptors;
        pieces += sending.pieces.0.len() + sending.control.bytes.len() / size_of::<libc::iovec>();
        if !messages.is_empty() && (held > MOST_HELD || pieces > MOST_PIECES) {
            break;
        }
        messages.push((at.wrapping_add(MESSAGE_SIZE as u64), sending));
    }
    Ok(Slow::SendMany(SendingMany(messages)).answer(&asked.caller()))
}

impl SendingMany {
    /// As [`Sending::may_wait`].
    pub fn may_wait(&self) -> bool {
        let total: u64 = self.0.iter().map(|(_, sending)| sending.pieces.total()).sum();
        total > MAX_MESSAGE as u64 || self.0.iter().any(|(_, sending)| sending.may_wait())
    }

    pub fn never_wait(&mut self) {
        self.0.iter_mut().for_each(|(_, sending)| sending.never_wait());
    }

    /// As [`Sending::held`]; one is copied at a time.
    pub fn held(&self) -> Held {
        let all = || self.0.iter().map(|(_, sending)| (sending, sending.held()));
        let known: usize = all().map(|(sending, _)| sending.known()).sum();
        let copied = all().map(|(sending, held)| held.bytes - sending.known()).max().unwrap_or(0);
        Held { descriptors: all().map(|(_, held)| held.descriptors).sum(), bytes: known + copied }
    }

    /// One by one, until one is not sent as a whole.
    pub fn perform(self, caller: &Caller<'_>) -> Result<i64, Errno> {
        let mut sent = 0;
        for (length_at, sending) in self.0 {
            let total = sending.pieces.total();
            match sending.perform(caller) {
                Ok(length) => {
                    caller.write(length_at, &(length as u32).to_ne_bytes())?;
                    sent += 1;
                    if (length as u64) < total {
                        break;
                    }
                }
                Err(errno) if sent == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::FromRawFd as _;

    use super::*;

    #[test]
    fn nobody_is_kept_waiting_by_one_that_sends_much() {
        let mut ends = [0; 2];
        // SAFETY: two descriptors of this frame are written.
        assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()) }, 0);
        // SAFETY: they are new, and owned by nobody else.
        let [socket, _other] = ends.map(|fd| Arc::new(Lent::from(unsafe { OwnedFd::from_raw_fd(fd) })));
        let sending = |length: u64, flags: i32| Sending {
            socket: Arc::clone(&socket),
            address: None,
            pieces: Pieces::new([(4096, length)]).unwrap(),
            control: Control::default(),
            flags,
            is_stream: true,
            hold: None,
        };
        let most = MAX_MESSAGE as u64;
        assert!(!sending(most, libc::MSG_DONTWAIT).may_wait() && sending(1, 0).may_wait());
        assert!(sending(most + 1, libc::MSG_DONTWAIT).may_wait());
        let many = |length: u64| SendingMany((0..4).map(|at| (at, sending(length, libc::MSG_DONTWAIT))).collect());
        assert!(!many(most / 4).may_wait() && many(most / 4 + 1).may_wait());
        // What waits is held a bit of; what goes as a whole, as a whole.
        assert!(sending(most, 0).held().bytes < 2 * MAX_COPIED);
        let message = || Sending { is_stream: false, ..sending(most, 0) };
        let (one, four) = (message().held().bytes, SendingMany((0..4).map(|at| (at, message())).collect()));
        assert!(one >= MAX_MESSAGE && (one..2 * MAX_MESSAGE).contains(&four.held().bytes));
    }
}
