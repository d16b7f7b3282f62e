//! ioctl(2) and fcntl(2).

use super::{Site, When};

/// What a request without the `_IOC` encoding reads and writes.
struct Legacy {
    request: u32,
    reads: u16,
    writes: u16,
}

const fn legacy(request: u32, reads: u16, writes: u16) -> Legacy {
    Legacy { request, reads, writes }
}

/// Requests whose number does not say what they do, ioctl_tty(2), netdevice(7), linux/fs.h, linux/loop.h, linux/kd.h, linux/vt.h.
#[rustfmt::skip]
const LEGACY: &[Legacy] = &[
    // Terminals.
    legacy(libc::TCGETS as u32, 0, 36), legacy(libc::TCSETS as u32, 36, 0), legacy(libc::TCSETSW as u32, 36, 0),
    legacy(libc::TCSETSF as u32, 36, 0), legacy(libc::TCGETA as u32, 0, 18), legacy(libc::TCSETA as u32, 18, 0),
    legacy(libc::TCSETAW as u32, 18, 0), legacy(libc::TCSETAF as u32, 18, 0), legacy(libc::TIOCGWINSZ as u32, 0, 8),
    legacy(libc::TIOCSWINSZ as u32, 8, 0), legacy(libc::TIOCGPGRP as u32, 0, 4), legacy(libc::TIOCSPGRP as u32, 4, 0),
    legacy(libc::TIOCGSID as u32, 0, 4), legacy(libc::TIOCOUTQ as u32, 0, 4), legacy(libc::FIONREAD as u32, 0, 4),
    legacy(libc::FIONBIO as u32, 4, 0), legacy(libc::FIOASYNC as u32, 4, 0), legacy(libc::TIOCMGET as u32, 0, 4),
    legacy(libc::TIOCMSET as u32, 4, 0), legacy(libc::TIOCMBIS as u32, 4, 0), legacy(libc::TIOCMBIC as u32, 4, 0),
    legacy(libc::TIOCSTI as u32, 1, 0), legacy(libc::TIOCPKT as u32, 4, 0), legacy(libc::TIOCGSOFTCAR as u32, 0, 4),
    legacy(libc::TIOCSSOFTCAR as u32, 4, 0), legacy(0x541e, 0, 72), legacy(0x541f, 72, 0), legacy(0x541c, 1, 1),
    legacy(0x5423, 4, 0), legacy(0x5424, 0, 4), legacy(0x5456, 0, 36), legacy(0x5457, 36, 0), legacy(0x5460, 0, 4),
    // Sockets: a struct ifreq of 40 bytes for the interface requests.
    legacy(0x8901, 4, 0), legacy(0x8902, 4, 0), legacy(0x8903, 0, 4), legacy(0x8904, 0, 4), legacy(0x8905, 0, 4),
    legacy(0x8906, 0, 16), legacy(0x8907, 0, 16), legacy(0x890b, 120, 0), legacy(0x890c, 120, 0), legacy(0x8910, 40, 40),
    legacy(0x8912, 16, 16), legacy(0x8953, 68, 0), legacy(0x8954, 68, 68), legacy(0x8955, 68, 0),
    // Block devices and file systems.
    legacy(0x125d, 4, 0), legacy(0x125e, 0, 4), legacy(0x1260, 0, 8), legacy(0x1263, 0, 8), legacy(0x1265, 0, 8),
    legacy(0x1267, 0, 2), legacy(0x1268, 0, 4), legacy(0x1277, 16, 0), legacy(0x1278, 0, 4), legacy(0x1279, 0, 4),
    legacy(0x127a, 0, 4), legacy(0x127b, 0, 4), legacy(0x127c, 0, 4), legacy(0x127d, 16, 0), legacy(0x127e, 0, 2),
    legacy(0x127f, 16, 0), legacy(0x0301, 0, 16), legacy(1, 4, 4), legacy(2, 0, 4),
    // Loop devices.
    legacy(0x4c02, 168, 0), legacy(0x4c03, 0, 168), legacy(0x4c04, 232, 0), legacy(0x4c05, 0, 232), legacy(0x4c0a, 304, 0),
    // Consoles.
    legacy(0x4b31, 0, 1), legacy(0x4b33, 0, 1), legacy(0x4b3b, 0, 4), legacy(0x4b44, 0, 4), legacy(0x4b46, 4, 4),
    legacy(0x4b64, 0, 4), legacy(0x5600, 0, 4), legacy(0x5601, 0, 8), legacy(0x5602, 8, 0), legacy(0x5603, 0, 6),
    legacy(0x5609, 6, 0), legacy(0x560a, 12, 0),
];

const SIOCGIFCONF: u32 = 0x8912;
const FS_IOC_FIEMAP: u32 = 0xc020_660b;

/// The interface requests of netdevice(7), all with one struct ifreq.
fn is_ifreq(request: u32) -> bool {
    (0x8910..=0x8994).contains(&request) && request != SIOCGIFCONF && !(0x8953..=0x8955).contains(&request)
        || (0x89a0..=0x89ff).contains(&request)
}

/// Bytes that a request reads and writes.
fn sizes(request: u32) -> (u64, u64) {
    if let Some(known) = LEGACY.iter().find(|known| known.request == request) {
        return (u64::from(known.reads), u64::from(known.writes));
    }
    if is_ifreq(request) {
        return (40, 40);
    }
    // asm-generic/ioctl.h: bits 30-31 direction (1 the kernel reads, 2 it writes), 16-29 size.
    let size = u64::from(request >> 16 & 0x3fff);
    let reads = if request >> 30 & 1 != 0 { size } else { 0 };
    let writes = if request >> 31 & 1 != 0 { size } else { 0 };
    (reads, writes)
}

pub fn ioctl(site: &mut Site<'_, '_>) {
    let request = site.arg(1) as u32;
    let (reads, writes) = sizes(request);
    site.reads(reads);
    site.writes(writes);
    match request {
        SIOCGIFCONF => {
            let (length, buffer) = (u64::from(site.u32_at(0)), site.word_at(site.capturer.word as u64));
            site.also_writes(buffer, length.min(64 << 10));
        }
        FS_IOC_FIEMAP => {
            let mapped = u64::from(site.u32_at(20)).min(4096);
            let extents = site.addr().wrapping_add(32);
            site.also_writes(extents, mapped * 56);
        }
        _ => {}
    }
}

pub fn fcntl(site: &mut Site<'_, '_>) {
    const F_GETLK64: i32 = 12;
    const F_SETLK64: i32 = 13;
    const F_SETLKW64: i32 = 14;
    const F_GET_RW_HINT: i32 = 1035;
    const F_SET_RW_HINT: i32 = 1036;
    const F_GET_FILE_RW_HINT: i32 = 1037;
    const F_SET_FILE_RW_HINT: i32 = 1038;
    let wide = site.capturer.word == 8;
    let lock: u64 = if wide { 32 } else { 16 };
    match site.call.int(1) {
        libc::F_GETLK => site.changes(lock),
        libc::F_SETLK | libc::F_SETLKW => site.reads(lock),
        F_GETLK64 if !wide => site.changes(24),
        F_SETLK64 | F_SETLKW64 if !wide => site.reads(24),
        libc::F_OFD_GETLK => site.changes(if wide { 32 } else { 24 }),
        libc::F_OFD_SETLK | libc::F_OFD_SETLKW => site.reads(if wide { 32 } else { 24 }),
        // F_SETOWN_EX, F_GETOWN_EX, F_GETOWNER_UIDS
        15 => site.reads(8),
        16 | 17 => site.writes(8),
        F_GET_RW_HINT | F_GET_FILE_RW_HINT => site.writes(8),
        F_SET_RW_HINT | F_SET_FILE_RW_HINT => site.reads(8),
        _ => {}
    }
    debug_assert!(matches!(site.when, When::Entry | When::Exit(_)));
}

#[cfg(test)]
mod tests {
    use super::sizes;

    #[test]
    fn sizes_come_from_the_table_or_the_number() {
        assert_eq!(sizes(libc::TCGETS as u32), (0, 36));
        assert_eq!(sizes(libc::FIONREAD as u32), (0, 4));
        assert_eq!(sizes(0x8913), (40, 40));
        assert_eq!(sizes(0x8004_5430), (0, 4));
        assert_eq!(sizes(0x4004_5431), (4, 0));
        assert_eq!(sizes(0xc020_660b), (32, 32));
        assert_eq!(sizes(0x5421_0000 & 0xffff), (0, 0));
    }
}
