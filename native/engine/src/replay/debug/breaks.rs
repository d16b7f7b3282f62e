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

/// Breakpoints that are in the memory of a tracee, in their order, with the bytes that were there.
#[derive(Default)]
pub struct Inserted {
    there: Vec<(u64, u8)>,
}

impl Inserted {
    /// Has these addresses, which are in their order, and no others. Where nothing is mapped there are none yet.
    pub fn be(&mut self, memory: &File, addresses: &[u64]) {
        if self.there.iter().map(|(addr, _)| addr).eq(addresses) {
            return;
        }
        self.there.retain(|(addr, original)| {
            let stays = addresses.binary_search(addr).is_ok();
            if !stays {
                let _ = memory.write_all_at(&[*original], *addr);
            }
            stays
        });
        for addr in addresses {
            if let Err(at) = self.place(*addr)
                && let Some(original) = put(memory, *addr)
            {
                self.there.insert(at, (*addr, original));
            }
        }
    }

    fn place(&self, addr: u64) -> Result<usize, usize> {
        self.there.binary_search_by_key(&addr, |(addr, _)| *addr)
    }

    /// Whether there is one at an address.
    #[must_use]
    pub fn has(&self, addr: u64) -> bool {
        self.place(addr).is_ok()
    }

    /// Takes the one at an address away until it is there [`Inserted::again`].
    pub fn lift(&self, memory: &File, addr: u64) {
        if let Ok(at) = self.place(addr) {
            let _ = memory.write_all_at(&[self.there[at].1], addr);
        }
    }

    pub fn again(&self, memory: &File, addr: u64) {
        if self.has(addr) {
            let _ = memory.write_all_at(&[BREAKPOINT], addr);
        }
    }

    /// Puts into bytes that were read at an address what the program has there.
    pub fn hide(&self, start: u64, bytes: &mut [u8]) {
        for (addr, original) in &self.there {
            let at = addr.checked_sub(start).and_then(|at| bytes.get_mut(at as usize));
            if let Some(byte) = at {
                *byte = *original;
            }
        }
    }
}

/// Puts a breakpoint into memory; what was there, unless it is one of the program's own.
fn put(memory: &File, addr: u64) -> Option<u8> {
    let mut original = [0];
    memory.read_exact_at(&mut original, addr).ok()?;
    if original[0] == BREAKPOINT {
        return None;
    }
    memory.write_all_at(&[BREAKPOINT], addr).ok()?;
    Some(original[0])
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

    /// A thread is gone, and its number may come again.
    pub fn forget(&mut self, tid: pid_t) {
        self.set.remove(&tid);
        self.values.retain(|(pid, _), _| *pid != tid);
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
        let mut inserted = Inserted::default();
        let now = || {
            let mut now = [0; 4];
            file.read_exact_at(&mut now, 0).expect("it is there");
            now
        };
        inserted.be(&file, &[1, 2, 3, 99]);
        assert_eq!(now(), [1, BREAKPOINT, BREAKPOINT, BREAKPOINT]);
        // The program's own is none of these, nor is one where there is no memory.
        assert_eq!([0, 1, 2, 3, 99].map(|addr| inserted.has(addr)), [false, true, false, true, false]);
        inserted.lift(&file, 3);
        assert_eq!(now(), [1, BREAKPOINT, BREAKPOINT, 4]);
        inserted.again(&file, 3);
        let mut read = now();
        inserted.hide(0, &mut read);
        assert_eq!(read, [1, 2, BREAKPOINT, 4]);
        let mut rest = [BREAKPOINT; 2];
        inserted.hide(3, &mut rest);
        assert_eq!(rest, [4, BREAKPOINT]);
        inserted.be(&file, &[0, 3]);
        assert_eq!(now(), [BREAKPOINT, 2, BREAKPOINT, BREAKPOINT]);
        inserted.be(&file, &[]);
        assert_eq!(now(), [1, 2, BREAKPOINT, 4]);
    }
}
