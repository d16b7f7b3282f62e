//! ioctl(2) and fcntl(2).

use super::{Site, When, network};

/// What a request without the `_IOC` encoding reads and writes.
struct Legacy {
    request: u32,
    reads: u16,
    writes: u16,
}

const fn legacy(request: u32, reads: u16, writes: u16) -> Legacy {
    Legacy { request, reads, writes }
}

/// Requests whose number does not say what they do, or says it wrongly: ioctl_tty(2), netdevice(7), linux/fs.h, linux/loop.h, linux/kd.h, linux/vt.h,
/// scsi/sg.h, linux/if_tun.h, linux/vm_sockets.h, ioctl_ns(2).
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
    legacy(0x5423, 4, 0), legacy(0x5424, 0, 4), legacy(0x5456, 0, 36), legacy(0x5457, 36, 0), legacy(0x5460, 0, 8),
    legacy(0x542e, 0, 32), legacy(0x542f, 32, 32), legacy(0x5459, 0, 4), legacy(0x545d, 0, 80),
    // Sockets: a struct ifreq of 40 bytes for the interface requests.
    legacy(0x8901, 4, 0), legacy(0x8902, 4, 0), legacy(0x8903, 0, 4), legacy(0x8904, 0, 4), legacy(0x8905, 0, 4),
    legacy(0x8906, 0, 16), legacy(0x8907, 0, 16), legacy(0x890b, 120, 0), legacy(0x890c, 120, 0), legacy(0x8910, 40, 40),
    legacy(0x8912, 16, 16), legacy(0x8953, 68, 0), legacy(0x8954, 68, 68), legacy(0x8955, 68, 0),
    // Block devices and file systems.
    legacy(0x125d, 4, 0), legacy(0x125e, 0, 4), legacy(0x1260, 0, 8), legacy(0x1263, 0, 8), legacy(0x1265, 0, 8),
    legacy(0x1267, 0, 2), legacy(0x1268, 0, 4), legacy(0x1277, 16, 0), legacy(0x1278, 0, 4), legacy(0x1279, 0, 4),
    legacy(0x127a, 0, 4), legacy(0x127b, 0, 4), legacy(0x127c, 0, 4), legacy(0x127d, 16, 0), legacy(0x127e, 0, 2),
    legacy(0x127f, 16, 0), legacy(0x0301, 0, 16), legacy(0x030d, 0, 512), legacy(1, 4, 4), legacy(2, 0, 4),
    legacy(0x2282, 0, 4), legacy(0x5382, 0, 8), legacy(0x5386, 0, 4),
    // Loop devices.
    legacy(0x4c02, 168, 0), legacy(0x4c03, 0, 168), legacy(0x4c04, 232, 0), legacy(0x4c05, 0, 232), legacy(0x4c0a, 304, 0),
    // Consoles.
    legacy(0x4b31, 0, 1), legacy(0x4b33, 0, 1), legacy(0x4b3b, 0, 4), legacy(0x4b44, 0, 4), legacy(0x4b46, 4, 4),
    legacy(0x4b64, 0, 4), legacy(0x5600, 0, 4), legacy(0x5601, 0, 8), legacy(0x5602, 8, 0), legacy(0x5603, 0, 6),
    legacy(0x5609, 6, 0), legacy(0x560a, 12, 0), legacy(0x560d, 0, 2), legacy(0x4b40, 0, 256), legacy(0x4b4c, 8, 8),
    legacy(0x4b4d, 8, 0), legacy(0x4b52, 8, 8), legacy(0x4b62, 0, 4), legacy(0x4b69, 0, 512), legacy(0x4b70, 0, 48),
    legacy(0x4b71, 48, 0),
    // TUN devices, where most say that they take an int: a struct ifreq, or an int that is read and not written.
    legacy(0x4004_54ca, 40, 40), legacy(0x8004_54d2, 0, 40), legacy(0x4004_54d9, 40, 0), legacy(0x8004_54e0, 4, 0),
    legacy(0x8004_54e1, 4, 0),
    // Virtual sockets, and who owns a namespace.
    legacy(0x07b9, 0, 4), legacy(0xb704, 0, 4),
];

/// Requests whose number promises memory, and which take a number or nothing: FICLONE, FIFREEZE, FITHAW, TIOCSIG,
/// PERF_EVENT_IOC_SET_BPF, EVIOCGRAB, EVIOCREVOKE, WDIOC_KEEPALIVE, and TUNSETNOCSUM, TUNSETDEBUG, TUNSETPERSIST, TUNSETOWNER, TUNSETLINK,
/// TUNSETGROUP and TUNSETOFFLOAD.
#[rustfmt::skip]
const BY_VALUE: [u32; 15] = [
    0x4004_9409, 0xc004_5877, 0xc004_5878, 0x4004_5436, 0x4004_2408, 0x4004_4590, 0x4004_4591, 0x8004_5705,
    0x4004_54c8, 0x4004_54c9, 0x4004_54cb, 0x4004_54cc, 0x4004_54cd, 0x4004_54ce, 0x4004_54d0,
];

const SIOCGIFCONF: u32 = 0x8912;
/// It returns a descriptor of the socket's network namespace, and takes nothing.
const SIOCGSKNS: u32 = 0x894c;
const FS_IOC_FIEMAP: u32 = 0xc020_660b;

/// The interface requests of netdevice(7), all with one struct ifreq.
fn is_ifreq(request: u32) -> bool {
    (0x8910..=0x8994).contains(&request) && !matches!(request, SIOCGIFCONF | SIOCGSKNS | 0x8953..=0x8955)
        || (0x89a0..=0x89ff).contains(&request)
}

/// Bytes that a request reads and writes.
fn sizes(request: u32) -> (u64, u64) {
    if let Some(known) = LEGACY.iter().find(|known| known.request == request) {
        return (u64::from(known.reads), u64::from(known.writes));
    }
    if BY_VALUE.contains(&request) || request == SIOCGSKNS {
        return (0, 0);
    }
    if is_ifreq(request) {
        return (40, 40);
    }
    if network::is_wireless(request) {
        return (32, 32);
    }
    // asm-generic/ioctl.h: bits 30-31 direction (1 the kernel reads, 2 it writes), 16-29 size.
    let size = u64::from(request >> 16 & 0x3fff);
    let reads = if request >> 30 & 1 != 0 { size } else { 0 };
    let writes = if request >> 31 & 1 != 0 { size } else { 0 };
    (reads, writes)
}

/// Where a request leaves the descriptor that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewDescriptor {
    /// The call returns it.
    Result,
    /// In the struct, so many bytes from its beginning.
    At(u64),
}

/// Where a request leaves the descriptor that it makes, if it makes one for the calling process. A list and not a guess from the
/// result: LOOP_CTL_GET_FREE or KVM_CHECK_EXTENSION also return small numbers.
#[must_use]
pub fn descriptor_of_ioctl(request: u32) -> Option<NewDescriptor> {
    const NSFS: u32 = 0xb7;
    Some(match request {
        // NS_GET_USERNS, NS_GET_PARENT, the PIDFD_GET_*_NAMESPACE family, TIOCGPTPEER, USERFAULTFD_IOC_NEW, SIOCGSKNS.
        0xb701 | 0xb702 | 0xff01..=0xff0a | 0x5441 | 0xaa00 | SIOCGSKNS => NewDescriptor::Result,
        // NS_MNT_GET_NEXT, NS_MNT_GET_PREV: their struct grows.
        _ if request >> 8 & 0xff == NSFS && matches!(request & 0xff, 11 | 12) => NewDescriptor::Result,
        // KVM_CREATE_VM, KVM_CREATE_VCPU, KVM_GET_STATS_FD, KVM_CREATE_GUEST_MEMFD, NE_CREATE_VM.
        0xae01 | 0xae41 | 0xaece | 0xc040_aed4 | 0x8008_ae20 => NewDescriptor::Result,
        // VFIO_GROUP_GET_DEVICE_FD, UDMABUF_CREATE, UDMABUF_CREATE_LIST.
        0x3b6a | 0x4018_7542 | 0x4008_7543 => NewDescriptor::Result,
        // KVM_CREATE_DEVICE.
        0xc00c_aee0 => NewDescriptor::At(4),
        // DRM_IOCTL_PRIME_HANDLE_TO_FD, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD (with and without a point), DMA_HEAP_IOCTL_ALLOC.
        0xc00c_642d | 0xc010_64c1 | 0xc018_64c1 | 0xc018_4800 => NewDescriptor::At(8),
        // SYNC_IOC_MERGE, VIDIOC_EXPBUF.
        0xc030_3e03 => NewDescriptor::At(36),
        0xc040_5610 => NewDescriptor::At(16),
        // GPIO_GET_LINEHANDLE_IOCTL, GPIO_GET_LINEEVENT_IOCTL, GPIO_V2_GET_LINE_IOCTL.
        0xc16c_b403 => NewDescriptor::At(360),
        0xc030_b404 => NewDescriptor::At(44),
        0xc250_b407 => NewDescriptor::At(588),
        // MEDIA_IOC_REQUEST_ALLOC, IIO_GET_EVENT_FD_IOCTL.
        0x8004_7c05 | 0x8004_6990 => NewDescriptor::At(0),
        _ => return None,
    })
}

/// Whether what is given with a request is a descriptor itself: LOOP_SET_FD, LOOP_CHANGE_FD, FICLONE, PERF_EVENT_IOC_SET_OUTPUT,
/// PERF_EVENT_IOC_SET_BPF, NBD_SET_SOCK.
#[must_use]
pub fn takes_descriptor(request: u32) -> bool {
    matches!(request, 0x4c00 | 0x4c06 | 0x4004_9409 | 0x2405 | 0x4004_2408 | 0xab00)
}

/// The descriptors in memory that a request is about.
fn mention_descriptors(site: &mut Site<'_, '_>, request: u32) {
    match request {
        // LOOP_CONFIGURE, FICLONERANGE, FUSE_DEV_IOC_CLONE, FUSE_DEV_IOC_BACKING_OPEN, F2FS_IOC_MOVE_RANGE, KVM_IRQFD.
        0x4c0a | 0x4020_940d | 0x8004_e500 | 0x4010_e501 | 0xc020_f509 | 0x4020_ae76 => mention_at(site, 0),
        // EXT4_IOC_MOVE_EXT, VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR.
        0xc028_660f | 0x4008_af20..=0x4008_af22 => mention_at(site, 4),
        // DRM_IOCTL_PRIME_FD_TO_HANDLE, SECCOMP_IOCTL_NOTIF_ADDFD, KVM_IOEVENTFD, SYNC_IOC_MERGE.
        0xc00c_642e => mention_at(site, 8),
        0x4018_2103 => mention_at(site, 12),
        0x4040_ae79 => mention_at(site, 20),
        0xc030_3e03 => mention_at(site, 32),
        // FIDEDUPERANGE: as many as the 16 bits at 16 say.
        0xc018_9436 => {
            let count = u64::from(site.u32_at(16) & 0xffff);
            for index in 0..count.min(256) {
                mention_at(site, 24 + index * 32);
            }
        }
        _ => {}
    }
}

/// Mentions the descriptor `offset` bytes behind the pointer.
fn mention_at(site: &mut Site<'_, '_>, offset: u64) {
    if site.when == When::Entry
        && let Some(fd) = site.capturer.peek_u32(site.addr().wrapping_add(offset))
    {
        site.mentions(u64::from(fd));
    }
}

pub fn ioctl(site: &mut Site<'_, '_>) {
    let request = site.arg(1) as u32;
    mention_descriptors(site, request);
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
        _ => network::pointed_to(site, request),
    }
}

/// A request that changes what it is given may have done so before it failed: FS_IOC_FIEMAP tells the flags that it does not know.
pub fn failed(site: &mut Site<'_, '_>) {
    let (reads, writes) = sizes(site.arg(1) as u32);
    if reads != 0 {
        site.writes(writes);
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
    use super::{NewDescriptor, SIOCGSKNS, descriptor_of_ioctl, sizes};

    #[test]
    fn descriptors_are_told_from_other_small_results() {
        const NS_GET_USERNS: u32 = 0xb701;
        const NS_GET_NSTYPE: u32 = 0xb703;
        const NS_MNT_GET_NEXT: u32 = 0x8010_b70b;
        const LOOP_CTL_GET_FREE: u32 = 0x4c82;
        const KVM_CHECK_EXTENSION: u32 = 0xae03;
        const KVM_CREATE_DEVICE: u32 = 0xc00c_aee0;
        assert_eq!(descriptor_of_ioctl(NS_GET_USERNS), Some(NewDescriptor::Result));
        assert_eq!(descriptor_of_ioctl(NS_MNT_GET_NEXT), Some(NewDescriptor::Result));
        assert_eq!(descriptor_of_ioctl(KVM_CREATE_DEVICE), Some(NewDescriptor::At(4)));
        for request in [NS_GET_NSTYPE, LOOP_CTL_GET_FREE, KVM_CHECK_EXTENSION, 0] {
            assert_eq!(descriptor_of_ioctl(request), None, "{request:#x}");
        }
    }

    #[test]
    fn sizes_come_from_the_table_or_the_number() {
        assert_eq!(sizes(libc::TCGETS as u32), (0, 36));
        assert_eq!(sizes(libc::FIONREAD as u32), (0, 4));
        assert_eq!(sizes(0x07b9), (0, 4));
        assert_eq!(sizes(0xb704), (0, 4));
        assert_eq!(sizes(0x4004_54ca), (40, 40));
        assert_eq!(sizes(0x4004_54cc), (0, 0));
        assert_eq!(sizes(0x8913), (40, 40));
        assert_eq!(sizes(0x8004_5430), (0, 4));
        assert_eq!(sizes(0x4004_5431), (4, 0));
        assert_eq!(sizes(0xc020_660b), (32, 32));
        assert_eq!(sizes(0x5421_0000 & 0xffff), (0, 0));
    }

    #[test]
    fn a_number_is_no_address() {
        const FICLONE: u32 = 0x4004_9409;
        const TIOCSIG: u32 = 0x4004_5436;
        for request in [FICLONE, TIOCSIG, SIOCGSKNS] {
            assert_eq!(sizes(request), (0, 0), "{request:#x}");
        }
    }
}
