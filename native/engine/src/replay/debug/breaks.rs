//! Breakpoints and watchpoints in tracees: there while they run, and away when anybody looks.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use libc::pid_t;

use super::place::{Access, Watch};
use super::target::MOST_WATCHES;
use crate::sys;

/// `int3`.
const BREAKPOINT: u8 = 0xcc;

/// Puts breakpoints into memory; what was there. Where nothing is mapped there are none yet.
pub fn insert(memory: &File, addresses: &[u64]) -> Vec<(u64, u8)> {
    let put = |addr: &u64| {
        let mut original = [0];
        memory.read_exact_at(&mut original, *addr).ok()?;
        if original[0] == BREAKPOINT {
            // The program's own.
            return None;
        }
        memory.write_all_at(&[BREAKPOINT], *addr).ok()?;
        Some((*addr, original[0]))
    };
    addresses.iter().filter_map(put).collect()
}

/// Takes breakpoints away. A process that has ended has none.
pub fn remove(memory: &File, originals: &[(u64, u8)]) {
    for (addr, original) in originals {
        let _ = memory.write_all_at(&[*original], *addr);
    }
}

/// The watchpoints that each thread has, and what was in watched memory when it was last looked at.
#[derive(Default)]
pub struct Watched {
    set: HashMap<pid_t, Vec<Watch>>,
    values: HashMap<(pid_t, Watch), Vec<u8>>,
}

/// The first debug register that is used for watching; the one before it finds preempted threads.
const FIRST: usize = 1;

impl Watched {
    /// Gives a stopped thread these watchpoints, and no others.
    pub fn set(&mut self, tid: pid_t, watches: &[Watch]) -> std::io::Result<()> {
        let watches = &watches[..watches.len().min(MOST_WATCHES)];
        if self.set.get(&tid).map_or(&[][..], Vec::as_slice) == watches {
            return Ok(());
        }
        // The kernel checks each register against the control word.
        let others = sys::debug_register(tid, sys::DEBUG_CONTROL)? & control(&[], 0).1;
        sys::set_debug_register(tid, sys::DEBUG_CONTROL, others)?;
        for (number, watch) in watches.iter().enumerate() {
            sys::set_debug_register(tid, FIRST + number, watch.addr)?;
        }
        sys::set_debug_register(tid, sys::DEBUG_CONTROL, others | control(watches, FIRST).0)?;
        self.set.insert(tid, watches.to_vec());
        Ok(())
    }

    /// The watchpoint that has stopped a thread, or that its last step has come upon.
    pub fn taken(&self, tid: pid_t) -> std::io::Result<Option<Watch>> {
        let Some(set) = self.set.get(&tid).filter(|set| !set.is_empty()) else { return Ok(None) };
        let status = sys::debug_register(tid, sys::DEBUG_STATUS)?;
        let found = (0..set.len()).find(|number| status & 1 << (FIRST + number) != 0);
        if found.is_some() {
            sys::set_debug_register(tid, sys::DEBUG_STATUS, 0)?;
        }
        Ok(found.map(|number| set[number]))
    }

    /// Memory that is watched for writes and holds something else than when it was last looked at, which is now.
    pub fn changed(&mut self, (pid, memory): (pid_t, &File), watches: &[Watch]) -> Option<Watch> {
        let mut first = None;
        self.values.retain(|(_, watch), _| watches.contains(watch));
        for watch in watches.iter().filter(|watch| watch.kind == Access::Write) {
            let mut now = vec![0; usize::from(watch.length)];
            if memory.read_exact_at(&mut now, watch.addr).is_err() {
                now.clear();
            }
            let before = self.values.insert((pid, *watch), now.clone());
            if before.is_some_and(|before| before != now) && first.is_none() {
                first = Some(*watch);
            }
        }
        first
    }
}

/// What the control word says of watchpoints from one register on; and the bits of it that say nothing of any (Intel SDM volume 3, 19.2.4).
fn control(watches: &[Watch], first: usize) -> (u64, u64) {
    /// On for the thread; kind and length of the first register.
    const ON: u64 = 1;
    const KINDS: usize = 16;
    let bits = watches.iter().enumerate().fold(0, |bits, (number, watch)| {
        let register = first + number;
        let kind = match watch.kind {
            Access::Write => 0b01,
            Access::ReadOrWrite => 0b11,
            Access::Execute => 0b00,
        };
        let length = match watch.length {
            1 => 0b00,
            2 => 0b01,
            8 => 0b10,
            _ => 0b11,
        };
        bits | ON << (2 * register) | (kind | length << 2) << (KINDS + 4 * register)
    });
    (bits, 0b11 | 0xf << KINDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_word_says_kind_and_length() {
        let watch = |length, kind| Watch { addr: 0x1000, length, kind };
        assert_eq!(control(&[watch(1, Access::Write)], 1).0, 0x0010_0004);
        assert_eq!(control(&[watch(8, Access::Write)], 1).0, 0x0090_0004);
        assert_eq!(control(&[watch(4, Access::ReadOrWrite), watch(2, Access::Write)], 1).0, 0x05f0_0014);
        assert_eq!(control(&[watch(1, Access::Execute)], 3).0, 0x0000_0040);
        // The first register keeps what it has.
        assert_eq!(control(&[], 1), (0, 0x000f_0003));
    }

    #[test]
    fn breakpoints_come_and_go() {
        let file = sys::memory_file(c"breaks", 0).expect("a file in memory");
        file.write_all_at(&[1, 2, BREAKPOINT, 4], 0).expect("room");
        let originals = insert(&file, &[1, 2, 3, 99]);
        assert_eq!(originals, [(1, 2), (3, 4)]);
        let mut now = [0; 4];
        file.read_exact_at(&mut now, 0).expect("it is there");
        assert_eq!(now, [1, BREAKPOINT, BREAKPOINT, BREAKPOINT]);
        remove(&file, &originals);
        file.read_exact_at(&mut now, 0).expect("it is there");
        assert_eq!(now, [1, 2, BREAKPOINT, 4]);
    }
}
