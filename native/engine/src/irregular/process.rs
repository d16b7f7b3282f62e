//! Calls about processes and threads: prctl, futex, clone, ptrace, capabilities, seccomp.

use trace_format::event::Side;

use super::{Site, When};
use crate::memory::word_of;

pub fn prctl(site: &mut Site<'_, '_>) {
    const PR_SET_VMA: i32 = 0x5356_4d41;
    const PR_GET_AUXV: i32 = 0x4155_5856;
    const PR_GET_TID_ADDRESS: i32 = 40;
    let word = site.capturer.word as u64;
    match (site.call.int(0), site.slot) {
        (libc::PR_SET_NAME, 1) => site.reads_string(),
        (libc::PR_GET_NAME, 1) => site.writes(16),
        (
            libc::PR_GET_PDEATHSIG
            | libc::PR_GET_UNALIGN
            | libc::PR_GET_FPEMU
            | libc::PR_GET_FPEXC
            | libc::PR_GET_ENDIAN
            | libc::PR_GET_TSC
            | libc::PR_GET_CHILD_SUBREAPER,
            1,
        ) => site.writes(4),
        (PR_GET_TID_ADDRESS, 1) => site.writes(word),
        (PR_GET_AUXV, 1) => {
            let length = site.arg(2).min(4096);
            site.writes(length);
        }
        (libc::PR_SET_SECCOMP, 2) => filter_program(site),
        (libc::PR_SET_MM, 2) if site.arg(1) == 14 => {
            let length = site.arg(3).min(4096);
            site.reads(length);
        }
        (libc::PR_SCHED_CORE, 4) if site.arg(1) == 0 => site.writes(8),
        (PR_SET_VMA, 4) => site.reads_string(),
        _ => {}
    }
}

/// A `struct sock_fprog` and the instructions that it points to.
fn filter_program(site: &mut Site<'_, '_>) {
    let word = site.capturer.word as u64;
    site.reads(word * 2);
    let count = u64::from(site.u32_at(0) & 0xffff);
    let code = site.word_at(word);
    site.also_reads(code, count * 8);
}

/// The program behind the option that attaches a filter to a socket; the option itself is taken by its length.
pub fn socket_filter(site: &mut Site<'_, '_>) {
    const SO_ATTACH_FILTER: i32 = 26;
    const SO_ATTACH_REUSEPORT_CBPF: i32 = 51;
    let attaches = matches!(site.call.int(2), SO_ATTACH_FILTER | SO_ATTACH_REUSEPORT_CBPF);
    if site.call.name() == "setsockopt" && site.call.int(1) == libc::SOL_SOCKET && attaches {
        let count = u64::from(site.u32_at(0) & 0xffff);
        let code = site.word_at(site.capturer.word as u64);
        site.also_reads(code, count * 8);
    }
}

pub fn seccomp(site: &mut Site<'_, '_>) {
    match site.call.int(0) {
        // SECCOMP_SET_MODE_FILTER, SECCOMP_GET_ACTION_AVAIL, SECCOMP_GET_NOTIF_SIZES
        1 => filter_program(site),
        2 => site.reads(4),
        3 => site.writes(6),
        _ => {}
    }
}

pub fn arch_prctl(site: &mut Site<'_, '_>) {
    // ARCH_GET_FS, ARCH_GET_GS, ARCH_GET_XCOMP_SUPP, ARCH_GET_XCOMP_PERM, ARCH_GET_XCOMP_GUEST_PERM
    if matches!(site.call.int(0), 0x1003 | 0x1004 | 0x1021 | 0x1022 | 0x1024) {
        site.writes(8);
    }
}

/// The time-out, and the futex words of the operations by which the kernel changes them.
pub fn futex(site: &mut Site<'_, '_>) {
    const WAKE_OP: i32 = 5;
    let operation = site.call.int(1) & 0x7f;
    match site.slot {
        // WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2 have a time-out.
        3 if matches!(operation, 0 | 6 | 9 | 11 | 13) => {
            let wide = site.capturer.word == 8 || site.call.name() == "futex_time64";
            site.reads(if wide { 16 } else { 8 });
        }
        // LOCK_PI, UNLOCK_PI, TRYLOCK_PI, LOCK_PI2 write the owner.
        0 if matches!(operation, 6 | 7 | 8 | 13) => site.writes(4),
        4 if operation == WAKE_OP => site.writes(4),
        _ => {}
    }
}

/// The parent's copy of the new thread id (or pidfd) of clone(2).
pub fn clone_tid(site: &mut Site<'_, '_>) {
    let wanted = (libc::CLONE_PARENT_SETTID | libc::CLONE_PIDFD) as u64;
    if site.slot == 2 && site.arg(0) & wanted != 0 {
        site.writes(4);
    }
}

/// The segment descriptor that i386 clone(2) takes as TLS.
pub fn clone_tls(site: &mut Site<'_, '_>) {
    if site.arg(0) & libc::CLONE_SETTLS as u64 != 0 {
        site.reads(16);
    }
}

/// What `struct clone_args` points to; the struct itself is taken by its length.
pub fn clone3(site: &mut Site<'_, '_>) {
    let flags = site.u64_at(0);
    if site.arg(1) >= 80 {
        let (set_tid, count) = (site.u64_at(64), site.u64_at(72).min(32));
        site.also_reads(set_tid, count * 4);
    }
    if flags & libc::CLONE_PIDFD as u64 != 0 {
        let pidfd = site.u64_at(8);
        site.also_writes(pidfd, 4);
    }
    if flags & libc::CLONE_PARENT_SETTID as u64 != 0 {
        let parent_tid = site.u64_at(24);
        site.also_writes(parent_tid, 4);
    }
}

pub fn ptrace(site: &mut Site<'_, '_>) {
    let word = site.capturer.word as u64;
    let request = site.arg(0) as u32;
    let size = site.arg(2).min(64 << 10);
    if site.slot == 2 {
        // PTRACE_PEEKSIGINFO: which ones.
        if request == 0x4209 {
            site.reads(16);
        }
        return;
    }
    match request {
        // PEEKTEXT, PEEKDATA, PEEKUSER; GETEVENTMSG.
        1..=3 | 0x4201 => site.writes(word),
        // GETREGS, SETREGS, GETFPREGS, SETFPREGS.
        12 => site.writes(if word == 8 { 216 } else { 68 }),
        13 => site.reads(if word == 8 { 216 } else { 68 }),
        14 => site.writes(512),
        15 => site.reads(512),
        // GETSIGINFO, SETSIGINFO.
        0x4202 => site.writes(128),
        0x4203 => site.reads(128),
        // GETREGSET, SETREGSET: an iovec and the registers behind it.
        0x4204 | 0x4205 => {
            site.changes(word * 2);
            let (base, length) = (site.word_at(0), site.word_at(word).min(64 << 10));
            if request == 0x4204 { site.also_writes(base, length) } else { site.also_reads(base, length) }
        }
        0x4209 => {
            if let When::Exit(result) = site.when {
                site.writes(result.max(0) as u64 * 128);
            }
        }
        // GETSIGMASK, GET_SYSCALL_INFO, GET_SYSCALL_USER_DISPATCH_CONFIG; their SET counterparts.
        0x420a | 0x420e | 0x4211 => site.writes(size),
        0x420b | 0x4210 | 0x4212 => site.reads(size),
        // SECCOMP_GET_METADATA, GET_RSEQ_CONFIGURATION.
        0x420d => {
            site.reads(8);
            site.writes(16);
        }
        0x420f => site.writes(size.min(24)),
        // SECCOMP_GET_FILTER.
        0x420c => {
            if let When::Exit(result) = site.when {
                site.writes(result.max(0) as u64 * 8);
            }
        }
        _ => {}
    }
}

/// Capability sets: one of three words for version 1, two for the later versions.
pub fn cap_data(site: &mut Site<'_, '_>) {
    const VERSION_1: u32 = 0x1998_0330;
    let version = site.capturer.peek_u32(site.arg(0));
    let length = if version == Some(VERSION_1) { 12 } else { 24 };
    if site.call.name() == "capset" { site.reads(length) } else { site.writes(length) }
}

/// The pointer and length of pselect6(2), and the mask.
pub fn pselect6_sigmask(site: &mut Site<'_, '_>) {
    let word = site.capturer.word;
    site.reads(word as u64 * 2);
    let mut pair = [0_u8; 16];
    if site.when == When::Entry && site.capturer.peek(site.addr(), &mut pair[..word * 2]) == word * 2 {
        let (mask, length) = (word_of(&pair[..word]), word_of(&pair[word..word * 2]));
        site.capturer.structure(site.slot, Side::In, mask, length.min(128));
    }
}

pub fn kcmp(site: &mut Site<'_, '_>) {
    const KCMP_EPOLL_TFD: i32 = 7;
    if site.call.int(2) == KCMP_EPOLL_TFD {
        site.reads(12);
        let slot = site.addr();
        site.mentions_all(slot, 2);
    }
}
