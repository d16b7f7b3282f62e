//! Memory of several processes that is kept from their own code, so that each instruction which touches it is seen: what recorder
//! (`record/guarded.rs`) and replayer (`replay/guards.rs`) know of a part of it.

use std::ops::Range;

/// A part of an address space, and the `PROT_*` bits that its program has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    pub start: u64,
    /// In bytes.
    pub length: u64,
    pub prot: u64,
}

impl Guard {
    pub fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.length)
    }

    pub fn has(&self, addr: u64) -> bool {
        self.range().contains(&addr)
    }

    pub fn overlaps(&self, start: u64, length: u64) -> bool {
        let range = self.range();
        range.start < start.saturating_add(length) && start < range.end
    }

    /// What is left of it where a part of the address space is gone.
    pub fn without(self, gone: &Range<u64>) -> impl Iterator<Item = Guard> + use<> {
        outside(&self.range(), gone).map(move |left| Guard { start: left.start, length: left.end - left.start, ..self })
    }

    /// The arguments of mprotect(2) by which the memory is what its program wants it to be, or is kept from it.
    pub fn protection(&self, is_open: bool) -> [u64; 3] {
        [self.start, self.length, if is_open { self.prot } else { libc::PROT_NONE as u64 }]
    }
}

/// The parts of a range that are not in another one.
pub fn outside(range: &Range<u64>, hole: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let before = range.start..range.end.min(hole.start);
    let behind = range.start.max(hole.end)..range.end;
    [before, behind].into_iter().filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: Guard = Guard { start: 0x7000, length: 0x4000, prot: 3 };

    #[test]
    fn what_is_unmapped_is_guarded_no_more() {
        let left = |gone| GUARD.without(&gone).map(|left| (left.start, left.length)).collect::<Vec<_>>();
        assert_eq!(left(0x8000..0x9000), [(0x7000, 0x1000), (0x9000, 0x2000)]);
        assert_eq!(left(0..0x8000), [(0x8000, 0x3000)]);
        assert_eq!(left(0xa000..u64::MAX), [(0x7000, 0x3000)]);
        assert_eq!(left(0xb000..0xc000), [(0x7000, 0x4000)]);
        assert_eq!(left(0..u64::MAX), []);
    }

    #[test]
    fn memory_is_guarded_to_its_last_byte() {
        assert!(GUARD.overlaps(0x6fff, 2) && GUARD.overlaps(0xafff, 1) && GUARD.overlaps(0, u64::MAX));
        assert!(!GUARD.overlaps(0x6fff, 1) && !GUARD.overlaps(0xb000, 8));
        assert!(GUARD.has(0x7000) && GUARD.has(0xafff) && !GUARD.has(0xb000) && !GUARD.has(0x6fff));
    }
}
