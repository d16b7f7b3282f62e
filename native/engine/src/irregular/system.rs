//! Calls about memory policy, file systems, devices and the kernel's larger interfaces (bpf, io_uring, perf, landlock).

use trace_format::event::Side;

use super::{Site, When};
use crate::memory::word_of;

/// One byte for each page of the range.
pub fn mincore(site: &mut Site<'_, '_>) {
    let pages = site.arg(1).div_ceil(4096).min(1 << 20);
    site.writes(pages);
}

/// The attributes say their size themselves; 0 is that of their first version.
pub fn sched_attr(site: &mut Site<'_, '_>) {
    let size = u64::from(site.u32_at(0));
    site.reads(if size == 0 { 48 } else { size.clamp(4, 4096) });
    // The size that the kernel knows, when the program's was too large.
    site.writes(4);
}

/// A bit mask whose length in bits is another argument.
pub fn nodemask(site: &mut Site<'_, '_>) {
    let bits = if site.call.name() == "migrate_pages" { site.arg(1) } else { site.arg(usize::from(site.slot) + 1) };
    let bytes = bits.min(1 << 15).div_ceil(64) * 8;
    if site.call.name() == "get_mempolicy" { site.writes(bytes) } else { site.reads(bytes) }
}

pub fn modify_ldt(site: &mut Site<'_, '_>) {
    let length = site.arg(2).min(64 << 10);
    match (site.call.int(0), site.when) {
        (1 | 0x11, _) => site.reads(length),
        (_, When::Exit(result)) => site.writes(length.min(result.max(0) as u64)),
        _ => {}
    }
}

pub fn sysfs(site: &mut Site<'_, '_>) {
    match (site.call.int(0), site.slot, site.when) {
        (1, 1, _) => site.reads_string(),
        (2, 2, When::Exit(_)) => {
            let (slot, addr) = (site.slot, site.addr());
            site.capturer.string(slot, Side::Out, addr);
        }
        _ => {}
    }
}

pub fn reboot(site: &mut Site<'_, '_>) {
    const RESTART2: u32 = 0xa1b2_c3d4;
    if site.arg(2) as u32 == RESTART2 {
        site.reads_string();
    }
}

pub fn quotactl(site: &mut Site<'_, '_>) {
    let command = site.arg(usize::from(site.call.name() == "quotactl_fd")) as u32 >> 8;
    match command {
        // Q_QUOTAON, Q_GETFMT, Q_GETINFO, Q_SETINFO, Q_GETQUOTA, Q_SETQUOTA, Q_GETNEXTQUOTA
        0x80_0002 => site.reads_string(),
        0x80_0004 => site.writes(4),
        0x80_0005 => site.writes(24),
        0x80_0006 => site.reads(24),
        0x80_0007 => site.writes(72),
        0x80_0008 => site.reads(72),
        0x80_0009 => site.writes(80),
        // Q_XQUOTAON, Q_XQUOTAOFF, Q_XGETQUOTA, Q_XSETQLIM, Q_XGETQSTAT, Q_XQUOTARM, Q_XGETQSTATV, Q_XGETNEXTQUOTA
        0x5801 | 0x5802 | 0x5806 => site.reads(4),
        0x5803 | 0x5809 => site.writes(112),
        0x5804 => site.reads(112),
        0x5805 => site.writes(80),
        0x5808 => site.changes(160),
        _ => {}
    }
}

/// io_submit(2): the pointers, the control blocks, and the data that is to be written.
pub fn iocbs(site: &mut Site<'_, '_>) {
    if site.when != When::Entry {
        return;
    }
    let word = site.capturer.word as u64;
    let count = site.arg(1).min(1024);
    site.reads(count * word);
    for index in 0..count {
        let block = site.word_at(index * word);
        control_block(site, block);
    }
}

/// io_cancel(2): one control block.
pub fn iocb(site: &mut Site<'_, '_>) {
    if site.when == When::Entry {
        let block = site.addr();
        control_block(site, block);
    }
}

/// A control block, the descriptor that it is about, and the data that is to be written.
fn control_block(site: &mut Site<'_, '_>, block: u64) {
    const PWRITE: u16 = 1;
    const PREADV: u16 = 7;
    const PWRITEV: u16 = 8;
    site.also_reads(block, 64);
    // struct iocb: aio_lio_opcode at 16, aio_fildes at 20, aio_buf at 24, aio_nbytes at 32.
    let mut bytes = [0_u8; 40];
    if site.capturer.peek(block, &mut bytes) != 40 {
        return;
    }
    site.mentions(word_of(&bytes[20..24]));
    // IOCB_FLAG_RESFD in aio_flags at 56: aio_resfd at 60.
    if site.capturer.peek_u32(block.wrapping_add(56)).is_some_and(|flags| flags & 1 != 0) {
        let fd = site.capturer.peek_u32(block.wrapping_add(60)).unwrap_or(0);
        site.mentions(u64::from(fd));
    }
    let (data, length) = (word_of(&bytes[24..32]), word_of(&bytes[32..40]));
    match u16::from_le_bytes([bytes[16], bytes[17]]) {
        PWRITE => site.also_sends(data, length),
        PREADV => site.also_reads(data, length.min(1024) * 2 * site.capturer.word as u64),
        PWRITEV => crate::capture::iovec(site.capturer, site.slot, Side::In, data, length, u64::MAX),
        _ => {}
    }
}

/// The attributes say their size themselves.
pub fn perf_event_attr(site: &mut Site<'_, '_>) {
    let size = u64::from(site.u32_at(4));
    site.reads(if size == 0 { 64 } else { size.clamp(8, 4096) });
    // The size that the kernel knows, when the program's was too large.
    site.writes(8);
}

/// A header of 8 bytes that says how many follow.
pub fn file_handle(site: &mut Site<'_, '_>) {
    let length = 8 + u64::from(site.u32_at(0)).min(128);
    match site.call.name() {
        "name_to_handle_at" => {
            site.reads(8);
            // When the handle does not fit, the header alone says how long it would be.
            site.writes(if matches!(site.when, When::Exit(result) if result < 0) { 8 } else { length });
        }
        _ => site.reads(length),
    }
}

/// With IORING_ENTER_EXT_ARG a struct with a mask and a time-out; else the mask alone, taken by its length.
pub fn io_uring_enter_arg(site: &mut Site<'_, '_>) {
    const EXT_ARG: u64 = 1 << 3;
    if site.arg(3) & EXT_ARG != 0 {
        let (mask, length, timeout) = (site.u64_at(0), u64::from(site.u32_at(8)), site.u64_at(16));
        site.also_reads(mask, length.min(128));
        site.also_reads(timeout, 16);
    }
}

pub fn io_uring_register(site: &mut Site<'_, '_>) {
    let count = site.arg(3).min(4096);
    let word = site.capturer.word as u64;
    match site.call.int(1) & 0x7fff_ffff {
        // BUFFERS, FILES, EVENTFD and EVENTFD_ASYNC, FILES_UPDATE, PROBE, RESTRICTIONS
        0 => site.reads(count * 2 * word),
        2 => files(site, count),
        4 | 7 => files(site, 1),
        6 => {
            site.reads(16);
            let fds = site.u64_at(8);
            site.also_reads(fds, count * 4);
            site.mentions_all(fds, count);
        }
        8 => site.changes(16 + count.min(256) * 8),
        11 => site.reads(count * 16),
        // FILES2, FILES_UPDATE2, BUFFERS2, BUFFERS_UPDATE: the size is the fourth argument.
        operation @ 13..=16 => resources(site, operation),
        // IOWQ_AFF, IOWQ_MAX_WORKERS, RING_FDS and its counterpart, PBUF_RING and its counterpart
        17 => site.reads(count),
        19 => site.changes(8),
        20 | 21 => ring_fds(site, count),
        22 | 23 => site.reads(40),
        // SYNC_CANCEL, FILE_ALLOC_RANGE, CLOCK, PBUF_STATUS, NAPI and its counterpart, CLONE_BUFFERS, SEND_MSG_RING,
        // MEM_REGION
        24 => {
            site.reads(64);
            let fd = site.u32_at(8);
            site.mentions(u64::from(fd));
        }
        25 | 29 => site.reads(16),
        26 => site.changes(40),
        27 | 28 => site.changes(16),
        30 => {
            site.reads(32);
            let fd = site.u32_at(0);
            site.mentions(u64::from(fd));
        }
        31 => site.reads(64),
        34 => site.reads(32),
        _ => {}
    }
}

/// `count` descriptors behind the pointer.
fn files(site: &mut Site<'_, '_>, count: u64) {
    site.reads(count * 4);
    let fds = site.addr();
    site.mentions_all(fds, count);
}

/// `struct io_uring_rsrc_register` or `struct io_uring_rsrc_update2`, and the files or buffers and their tags.
fn resources(site: &mut Site<'_, '_>, operation: i32) {
    const FILES2: i32 = 13;
    const FILES_UPDATE2: i32 = 14;
    const BUFFERS_UPDATE: i32 = 16;
    site.reads(site.arg(3).min(64));
    let update = matches!(operation, FILES_UPDATE2 | BUFFERS_UPDATE);
    let count = u64::from(site.u32_at(if update { 24 } else { 0 })).min(4096);
    let (data, tags) = if update { (site.u64_at(8), site.u64_at(16)) } else { (site.u64_at(16), site.u64_at(24)) };
    if matches!(operation, FILES2 | FILES_UPDATE2) {
        site.also_reads(data, count * 4);
        site.mentions_all(data, count);
    } else {
        site.also_reads(data, count * 2 * site.capturer.word as u64);
    }
    site.also_reads(tags, count * 8);
}

/// `struct io_uring_rsrc_update[count]`, each with a ring.
fn ring_fds(site: &mut Site<'_, '_>, count: u64) {
    site.changes(count * 16);
    for index in 0..count.min(16) {
        let fd = site.u32_at(index * 16 + 8);
        site.mentions(u64::from(fd));
    }
}

pub fn fsconfig(site: &mut Site<'_, '_>) {
    match site.call.int(1) {
        // FSCONFIG_SET_STRING, SET_BINARY, SET_PATH, SET_PATH_EMPTY
        1 | 3 | 4 => site.reads_string(),
        2 => {
            let length = site.arg(4).min(1 << 20);
            site.reads(length);
        }
        _ => {}
    }
}

pub fn landlock_rule(site: &mut Site<'_, '_>) {
    match site.call.int(1) {
        1 => {
            site.reads(12);
            let parent = site.u32_at(8);
            site.mentions(u64::from(parent));
        }
        2 => site.reads(16),
        _ => {}
    }
}

/// The value that `struct xattr_args` points to; the struct itself is taken by its length.
pub fn xattr_args(site: &mut Site<'_, '_>) {
    let (value, size) = (site.u64_at(0), u64::from(site.u32_at(8)).min(64 << 10));
    match (site.call.name(), site.when) {
        ("setxattrat", _) => site.also_reads(value, size),
        (_, When::Exit(result)) => site.also_writes(value, size.min(result.max(0) as u64)),
        _ => {}
    }
}
