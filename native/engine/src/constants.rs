//! Constants that stand in code: an assembler that needs a number a second time reads it from where an instruction has it as its immediate
//! (V8's does). Whatever is written over such an instruction is then read by the program, so that it must not be.

use std::ops::Range;

use libc::pid_t;

use crate::image;
use crate::sys;

/// Code that may read from a place is looked for this far from it: constants are shared within one function.
const REACH: u64 = 64 << 10;
/// So far from the middle of a piece that was looked at all is known of a place.
const BESIDE: u64 = 16 << 10;
/// Bytes of a distance that counts from the end of its instruction.
const DISTANCE: usize = 4;
/// What may stand behind that distance: immediates.
const IMMEDIATES: [usize; 4] = [0, 1, 2, 4];

/// Offsets in a piece of code that it may read from, or tell the address of, wherever its instructions begin: more than there are, so that
/// none is overlooked.
pub struct Constants {
    /// In their order.
    at: Vec<u32>,
}

impl Constants {
    /// Those of a piece of 64-bit code; 32-bit code has no such instructions.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Constants {
        let mut at = Vec::new();
        for (index, tail) in bytes.windows(1 + DISTANCE).enumerate() {
            // A byte ModRM that says: at a distance from here (Intel SDM volume 2, 2.2.1.6).
            if tail[0] & 0xc7 != 0x05 {
                continue;
            }
            let distance = i64::from(i32::from_le_bytes([tail[1], tail[2], tail[3], tail[4]]));
            let end = (index + tail.len()) as i64 + distance;
            let targets = IMMEDIATES.iter().filter_map(|more| usize::try_from(end + *more as i64).ok());
            at.extend(targets.filter(|target| *target < bytes.len()).map(|target| target as u32));
        }
        at.sort_unstable();
        Constants { at }
    }

    /// Whether there may be one strictly between two offsets.
    #[must_use]
    pub fn are_between(&self, start: u64, end: u64) -> bool {
        let first = self.at.partition_point(|at| u64::from(*at) <= start);
        self.at.get(first).is_some_and(|at| u64::from(*at) < end)
    }
}

/// The code around a place, as far as it was looked at.
pub struct Nearby {
    /// Places of which all is known that may read there.
    known: Range<u64>,
    /// Where the piece begins, and what it may read.
    start: u64,
    constants: Constants,
}

impl Nearby {
    /// That of a stopped thread's 64-bit code.
    #[must_use]
    pub fn of(tid: pid_t, ip: u64) -> Nearby {
        let (lowest, highest) = (ip.saturating_sub(REACH + BESIDE), ip.saturating_add(REACH + BESIDE));
        let mapping = image::executable_mapping_at(tid, ip);
        let (start, end) = mapping.map_or((ip, ip), |mapping| {
            (mapping.start.max(lowest), mapping.start.saturating_add(mapping.length).min(highest))
        });
        let mut bytes = Vec::new();
        sys::read_behind(tid, start, (end - start) as usize, &mut bytes);
        let known = ip.saturating_sub(BESIDE)..ip.saturating_add(BESIDE);
        Nearby { known, start, constants: Constants::of(&bytes) }
    }

    /// Whether this is what is near a piece of code.
    #[must_use]
    pub fn is_of(&self, code: &Range<u64>) -> bool {
        self.known.contains(&code.start) && self.known.contains(&code.end)
    }

    /// Whether code may read what stands in a piece of it: all but the first byte, where an instruction begins.
    #[must_use]
    pub fn reads(&self, code: &Range<u64>) -> bool {
        self.constants.are_between(code.start.saturating_sub(self.start), code.end.saturating_sub(self.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_instructions_read_from_code_is_known() {
        // movabs rdx, 0x100000000 at 0; what reads its immediate: mov rdx, [rip-15]; cmp byte [rip-22], 7; cmp dword [rip-32], 7
        let code = [
            0x48, 0xba, 0, 0, 0, 0, 1, 0, 0, 0, // 0
            0x48, 0x8b, 0x15, 0xf1, 0xff, 0xff, 0xff, // 10, to 2
            0x80, 0x3d, 0xec, 0xff, 0xff, 0xff, 7, // 17, to 4
            0x81, 0x3d, 0xe4, 0xff, 0xff, 0xff, 7, 0, 0, 0, // 24, to 6
        ];
        let is_read = |start, end| Constants::of(&code).are_between(start, end);
        assert!(is_read(0, 10) && is_read(1, 3) && is_read(3, 5) && is_read(5, 7));
        // Where it begins a jump to it does no harm.
        assert!(!is_read(2, 3) && !is_read(10, 34));
        // Another base, and no distance that fits.
        assert!(!Constants::of(&[0x48, 0x8b, 0x90, 0xf1, 0xff, 0xff, 0xff]).are_between(0, 7));
        assert!(!Constants::of(&[0x8b, 0x05, 0, 0]).are_between(0, 4));
    }
}
