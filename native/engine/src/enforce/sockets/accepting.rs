//! accept(2), performed here: between a check and a call that the kernel does, the program could put another listening socket in
//! the place of the one that was checked.

use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Bound, Done, MAX_ADDRESS, check_bound, is_blocking, patiently};
use crate::enforce::lent::Lent;
use crate::enforce::supervise::{Answer, Asked, Caller, Check, Slow};
use crate::enforce::target::{Errno, errno_of};
use crate::pidfd::owned;

/// A connection that is waited for.
pub struct Accepting {
    listening: Lent,
    /// Where the program wants the address of the other side, and where its length stands; 0: it does not.
    address: u64,
    length: u64,
    room: usize,
    flags: i32,
    /// Set once there is a connection: from then on its process serves.
    phase: Arc<AtomicBool>,
}

/// accept(2) and accept4(2), by the address that the socket is bound to.
pub fn accept(asked: &Asked<'_>, check: &dyn Check, bound: &Bound, phase: Arc<AtomicBool>) -> Done {
    let [_, address, length, flags, ..] = asked.args;
    let listening = check_bound(asked, "accept", check, bound)?;
    let flags = if asked.number == libc::SYS_accept { 0 } else { flags as i32 };
    let room = if address == 0 {
        0
    } else {
        let bytes = asked.target.read_exact(length, size_of::<i32>())?;
        let room = i32::from_ne_bytes(bytes.try_into().map_err(|_| libc::EFAULT)?);
        usize::try_from(room).map_err(|_| libc::EINVAL)?
    };
    asked.still_waiting()?;
    let accepting = Accepting { listening, address, length, room, flags, phase };
    Ok(Slow::Accept(accepting).answer(&asked.caller()))
}

impl Accepting {
    /// Whether there is no connection, and nobody waits for one: what programs ask at the end of each round.
    pub fn is_in_vain(&self) -> bool {
        let mut ready = libc::pollfd { fd: self.listening.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one struct of this frame.
        !is_blocking(&self.listening) && unsafe { libc::poll(&raw mut ready, 1, 0) } == 0
    }

    pub fn perform(self, caller: &Caller<'_>) -> Answer {
        let mut name = [0_u8; MAX_ADDRESS as usize];
        let mut length = name.len() as libc::socklen_t;
        let accepted = patiently(caller, (&self.listening, libc::SO_RCVTIMEO), || {
            length = name.len() as libc::socklen_t;
            let (at, listening) = (name.as_mut_ptr().cast(), self.listening.as_raw_fd());
            // SAFETY: the name is an array of this frame of that length, which is of this frame too.
            owned(unsafe { libc::accept4(listening, at, &raw mut length, self.flags | libc::SOCK_CLOEXEC) }.into())
                .map_err(|error| errno_of(&error))
        });
        let connection = match accepted {
            Ok(connection) => connection,
            Err(errno) => return Answer::Refused(errno),
        };
        self.phase.store(true, Ordering::Relaxed);
        let name = &name[..(length as usize).min(name.len())];
        match self.tell(caller, name, length) {
            Ok(()) => Answer::Descriptor(connection, self.flags & libc::SOCK_CLOEXEC != 0),
            Err(errno) => Answer::Refused(errno),
        }
    }

    /// Writes the address of the other side to where the program wants it.
    fn tell(&self, caller: &Caller<'_>, name: &[u8], length: u32) -> Result<(), Errno> {
        if self.address == 0 {
            return Ok(());
        }
        caller.write(self.address, &name[..name.len().min(self.room)])?;
        caller.write(self.length, &length.to_ne_bytes())
    }
}
