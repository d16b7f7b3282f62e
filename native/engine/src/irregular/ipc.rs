//! System V message queues, semaphores and shared memory, and the i386 calls that bundle them and the socket calls.

use trace_format::event::Side;

use super::{Site, When};

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
        When::Exit(result) if site.call.name() == "msgrcv" => site.writes(word + result.max(0) as u64),
        _ => {}
    }
}

/// socketcall(2): an array of words, and what the commonest of the calls point to.
pub fn socketcall(site: &mut Site<'_, '_>) {
    const ARGS: [u64; 21] = [0, 3, 3, 3, 2, 3, 3, 3, 4, 4, 4, 6, 6, 2, 5, 5, 3, 3, 4, 5, 4];
    let call = site.arg(0) as usize;
    let Some(count) = ARGS.get(call) else { return };
    site.reads(count * 4);
    let word = |index: u64| u64::from(site.u32_at(index * 4));
    let (second, third, fifth, sixth) = (word(1), word(2), word(4), word(5));
    match (call, site.when) {
        // bind, connect
        (2 | 3, When::Entry) => site.also_reads(second, third.min(4096)),
        // send, sendto
        (9 | 11, When::Entry) => {
            site.capturer.payload(site.slot, Side::In, second, third);
            if call == 11 {
                site.also_reads(fifth, sixth.min(4096));
            }
        }
        // recv, recvfrom
        (10 | 12, When::Exit(result)) => {
            site.capturer.payload(site.slot, Side::Out, second, third.min(result.max(0) as u64));
        }
        // setsockopt
        (14, When::Entry) => {
            let (value, length) = (word(3), word(4));
            site.also_reads(value, length.min(4096));
        }
        _ => {}
    }
}

/// ipc(2): the pointer of the call that it stands for.
pub fn ipc(site: &mut Site<'_, '_>) {
    const SEMOP: i32 = 1;
    const MSGSND: i32 = 11;
    const MSGRCV: i32 = 12;
    let second = site.arg(2);
    match (site.call.int(0) & 0xffff, site.when) {
        (SEMOP, When::Entry) => site.reads(second.min(1024) * 6),
        (MSGSND, When::Entry) => site.reads(4 + second.min(1 << 20)),
        (MSGRCV, When::Exit(result)) => site.writes(4 + result.max(0) as u64),
        _ => {}
    }
}
