//! System V message queues, semaphores and shared memory, and the i386 calls that bundle them and the socket calls.

use trace_format::event::Side;
use trace_format::table::Dir;

use super::{Site, When};
use crate::capture::message;

/// The command without the `IPC_64` bit that 32-bit libraries set.
fn command(site: &Site<'_, '_>, index: usize) -> i32 {
    site.call.int(index) & !0x100
}

/// Takes the object's struct by the three usual commands, or the limits struct; other commands take nothing.
fn control(site: &mut Site<'_, '_>, command: i32, stat: [i32; 2], object: u64, info: i32, totals: (u64, u64)) {
    match command {
        libc::IPC_SET => site.reads(object),
        libc::IPC_STAT => site.writes(object),
        libc::IPC_INFO => site.writes(totals.0),
        _ if stat.contains(&command) => site.writes(object),
        _ if command == info => site.writes(totals.1),
        _ => {}
    }
}

pub fn semctl(site: &mut Site<'_, '_>) {
    const SEM_STAT_ANY: i32 = 20;
    const SEM_INFO: i32 = 19;
    match command(site, 2) {
        libc::GETALL => {
            let bytes = semaphores(site.call.int(0)) * 2;
            site.writes(bytes);
        }
        libc::SETALL => {
            let bytes = semaphores(site.call.int(0)) * 2;
            site.reads(bytes);
        }
        other => control(site, other, [libc::SEM_STAT, SEM_STAT_ANY], 104, SEM_INFO, (40, 40)),
    }
}

/// How many semaphores a set has; 0 when it cannot be asked.
fn semaphores(id: i32) -> u64 {
    let mut facts = std::mem::MaybeUninit::<libc::semid_ds>::zeroed();
    // SAFETY: IPC_STAT writes one semid_ds.
    let failed = unsafe { libc::semctl(id, 0, libc::IPC_STAT, facts.as_mut_ptr()) } < 0;
    // SAFETY: zeroed above, so initialised whatever the kernel wrote.
    if failed { 0 } else { unsafe { facts.assume_init() }.sem_nsems }
}

pub fn shmctl(site: &mut Site<'_, '_>) {
    const SHM_STAT_ANY: i32 = 15;
    let command = command(site, 1);
    control(site, command, [13, SHM_STAT_ANY], 112, 14, (72, 48));
}

pub fn msgctl(site: &mut Site<'_, '_>) {
    const MSG_STAT_ANY: i32 = 13;
    let command = command(site, 1);
    control(site, command, [11, MSG_STAT_ANY], 120, 12, (32, 32));
}

/// A message: its type, one word, and the text.
pub fn msgbuf(site: &mut Site<'_, '_>) {
    let word = site.capturer.word as u64;
    match site.when {
        When::Entry if site.call.name() == "msgsnd" => {
            let length = site.arg(2);
            site.reads(word.saturating_add(length.min(1 << 20)));
        }
        When::Exit(result) if site.call.name() == "msgrcv" => {
            let length = room(site.arg(2), result);
            site.writes(word + length);
        }
        _ => {}
    }
}

/// socketcall(2): an array of words, and what they point to.
pub fn socketcall(site: &mut Site<'_, '_>) {
    const ARGS: [u64; 21] = [0, 3, 3, 3, 2, 3, 3, 3, 4, 4, 4, 6, 6, 2, 5, 5, 3, 3, 4, 5, 4];
    let call = site.arg(0) as usize;
    let Some(count) = ARGS.get(call) else { return };
    site.reads(count * 4);
    let word = |index: u64| u64::from(site.u32_at(index * 4));
    let (first, second, third, fourth, fifth, sixth) = (word(0), word(1), word(2), word(3), word(4), word(5));
    // socket and socketpair have no descriptor yet.
    if !matches!(call, 1 | 8) {
        site.mentions(first);
    }
    match call {
        // bind, connect
        2 | 3 => site.also_reads(second, third.min(4096)),
        // accept, getsockname, getpeername, accept4
        5..=7 | 18 => address_out(site, second, third),
        // socketpair
        8 => site.also_writes(fourth, 8),
        // send, sendto
        9 | 11 => {
            site.also_sends(second, third);
            if call == 11 {
                site.also_reads(fifth, sixth.min(4096));
            }
        }
        // recv, recvfrom
        10 | 12 => {
            if let When::Exit(result) = site.when {
                site.also_receives(second, third.min(result.max(0) as u64));
            }
            if call == 12 {
                address_out(site, fifth, sixth);
            }
        }
        // setsockopt, getsockopt
        14 => site.also_reads(fourth, fifth.min(4096)),
        15 => address_out(site, fourth, fifth),
        // sendmsg, recvmsg
        16 if site.when == When::Entry => {
            message(site.capturer, site.slot, Side::In, second, u64::MAX, Dir::In);
        }
        17 => {
            let (side, limit) = match site.when {
                When::Entry => (Side::In, u64::MAX),
                When::Exit(result) => (Side::Out, result.max(0) as u64),
            };
            message(site.capturer, site.slot, side, second, limit, Dir::Out);
        }
        _ => {}
    }
}

/// What the kernel writes at `addr`, at most as much as the word at `length` says, and that word.
fn address_out(site: &mut Site<'_, '_>, addr: u64, length: u64) {
    site.also_reads(length, 4);
    site.also_writes(length, 4);
    let size = u64::from(site.capturer.peek_u32(length).unwrap_or(0));
    site.also_writes(addr, size.min(4096));
}

/// ipc(2): what the call that it stands for reads and writes. Its pointer is the fifth argument.
pub fn ipc(site: &mut Site<'_, '_>) {
    const SEMOP: i32 = 1;
    const SEMCTL: i32 = 3;
    const SEMTIMEDOP: i32 = 4;
    const MSGSND: i32 = 11;
    const MSGRCV: i32 = 12;
    const MSGCTL: i32 = 14;
    const SHMAT: i32 = 21;
    const SHMCTL: i32 = 24;
    let (second, addr) = (site.arg(2), site.addr());
    let operation = site.call.int(0) & 0xffff;
    match (operation, site.when) {
        (SEMOP | SEMTIMEDOP, When::Entry) => {
            site.reads(second.min(1024) * 6);
            if operation == SEMTIMEDOP {
                let timeout = site.arg(5);
                site.also_reads(timeout, 8);
            }
        }
        (SEMCTL, _) => {
            site.reads(4);
            let object = u64::from(site.u32_at(0));
            bundled(
                site,
                object,
                command(site, 3),
                &Sizes { stat: [libc::SEM_STAT, 20], object: 64, info: 19, totals: 40 },
            );
        }
        (MSGSND, When::Entry) => site.reads(4 + second.min(1 << 20)),
        // The older form has the buffer's address and the message's type behind the pointer.
        (MSGRCV, _) if site.call.int(0) >> 16 == 0 => {
            site.reads(8);
            let buffer = u64::from(site.u32_at(0));
            if let When::Exit(result) = site.when {
                site.also_writes(buffer, 4 + room(second, result));
            }
        }
        (MSGRCV, When::Exit(result)) => site.writes(4 + room(second, result)),
        (MSGCTL, _) => {
            bundled(site, addr, command(site, 2), &Sizes { stat: [11, 13], object: 88, info: 12, totals: 32 });
        }
        (SHMAT, _) => {
            // The address comes back behind the fourth argument.
            let place = site.arg(3);
            site.also_writes(place, 4);
        }
        (SHMCTL, _) => {
            bundled(site, addr, command(site, 2), &Sizes { stat: [13, 15], object: 84, info: 14, totals: 36 });
        }
        _ => {}
    }
}

/// Bytes behind a message's type that are taken: strace shows the whole buffer, also what lies behind the message.
fn room(asked: u64, result: i64) -> u64 {
    asked.min(1 << 13).max(result.max(0) as u64)
}

/// What i386's control commands read and write.
struct Sizes {
    /// Commands besides `IPC_STAT` that give the object.
    stat: [i32; 2],
    object: u64,
    /// The command that gives the usage.
    info: i32,
    totals: u64,
}

/// As [`control`], at an address that need not be the argument's.
fn bundled(site: &mut Site<'_, '_>, addr: u64, command: i32, sizes: &Sizes) {
    match command {
        libc::IPC_SET => site.also_reads(addr, sizes.object),
        _ if command == libc::IPC_STAT || sizes.stat.contains(&command) => site.also_writes(addr, sizes.object),
        _ if command == libc::IPC_INFO || command == sizes.info => site.also_writes(addr, sizes.totals),
        _ => {}
    }
}
