//! Capabilities that no role needs, capabilities(7): taken from the program on its way, and from the supervisor, which performs calls
//! for it. What the kernel asks them for stands in memory in part (messages to netlink sockets, control data), where no filter sees it.

use std::io;

/// Numbers of the capabilities there are; more than any kernel has.
pub const MOST: u8 = 64;

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h.
const VERSION: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Set {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Takes capabilities from the calling thread and from what it will start. No exec gives them back where privileges are given up
/// (`PR_SET_NO_NEW_PRIVS`). Allocates nothing, so that a child of fork may do it.
///
/// # Errors
/// When the kernel refuses to tell or to take them.
pub fn give_up(numbers: &[u8]) -> io::Result<()> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut sets = [Set::default(); 2];
    // SAFETY: version 3 reads one header and writes two sets, which are of this frame.
    if unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let before = sets;
    for number in numbers {
        without(&mut sets, *number);
        // Of those that are bounded already, and without the right to bound any, the second step is what counts.
        // SAFETY: takes no pointer.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(*number), 0, 0, 0) };
    }
    // SAFETY: version 3 reads one header and two sets, which are of this frame.
    if sets != before && unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn without(sets: &mut [Set; 2], number: u8) {
    if let Some(set) = sets.get_mut(usize::from(number / 32)) {
        let others = !(1_u32 << (number % 32));
        set.effective &= others;
        set.permitted &= others;
        set.inheritable &= others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    #[test]
    fn what_is_given_up_is_gone_from_all_sets() {
        let all = Set { effective: u32::MAX, permitted: u32::MAX, inheritable: u32::MAX };
        let mut sets = [all; 2];
        without(&mut sets, 12);
        without(&mut sets, 40);
        assert_eq!((sets[0].effective, sets[1].permitted), (!(1 << 12), !(1 << 8)));
        without(&mut sets, 200);
        assert_eq!(sets[0].inheritable, !(1 << 12));
    }

    #[test]
    fn a_thread_gives_up_what_is_its_own_alone() {
        let has = |set: &str| {
            let status = sys::status_of(sys::own_tid()).unwrap();
            u64::from_str_radix(sys::status_field(&status, set).unwrap(), 16).unwrap() & (1 << 13) != 0
        };
        let (effective, permitted) = (has("CapEff"), has("CapPrm"));
        std::thread::spawn(move || {
            give_up(&[13]).unwrap();
            assert!(!has("CapEff") && !has("CapPrm"));
        })
        .join()
        .unwrap();
        assert_eq!((has("CapEff"), has("CapPrm")), (effective, permitted));
    }
}
