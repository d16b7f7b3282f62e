//! Which words of a thread's memory change while it runs for a moment: the counters of its loops are among them, wherever
//! they are, and tell one turn from another.

use std::cell::Cell;

use libc::pid_t;

use crate::probe::Word;
use crate::state::{self, Window};
use crate::sys;

/// Bytes of memory that are looked at, the smallest parts first: data of libraries and stacks before large heaps.
const MOST_BYTES: u64 = 64 << 20;
/// Words that are told.
const MOST_WORDS: usize = 32;
/// Of one page.
const MOST_OF_PAGE: usize = 4;
const PAGE: usize = 4096;
const WORD: usize = 8;

/// The memory of a stopped tracee, as far as it is looked at.
pub struct Snapshot {
    /// Address of each part, and where in `bytes` it ends.
    parts: Vec<(u64, usize)>,
    bytes: Vec<u8>,
}

thread_local! {
    /// The memory of a snapshot that was taken before: to get new memory each time takes as long as to fill it.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A word that has changed, and by how much.
struct Change {
    word: Word,
    by: u64,
}

impl Snapshot {
    /// The memory that it has now.
    #[must_use]
    pub fn take(tid: pid_t) -> Snapshot {
        let mut windows = state::windows(tid, &[], None);
        windows.sort_unstable_by_key(|window| (window.length, window.at));
        let mut left = MOST_BYTES;
        let fits = |window: &Window| {
            let rest = left.checked_sub(window.length);
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let windows: Vec<Window> = windows.into_iter().take_while(fits).collect();
        let mut snapshot = Snapshot { parts: Vec::with_capacity(windows.len()), bytes: SPARE.take() };
        snapshot.bytes.clear();
        // Room for all of it: a buffer that grows is copied, and becomes up to twice as large.
        snapshot.bytes.reserve_exact((MOST_BYTES - left) as usize);
        for window in windows {
            sys::read_behind(tid, window.at, window.length as usize, &mut snapshot.bytes);
            snapshot.parts.push((window.at, snapshot.bytes.len()));
        }
        snapshot
    }

    /// Words that hold something else now, with what they hold: those that look most like counters.
    #[must_use]
    pub fn changed(&self, tid: pid_t) -> Vec<Word> {
        let mut changes: Vec<Change> = Vec::new();
        let mut now = Vec::new();
        let mut taken = 0;
        for (start, end) in &self.parts {
            let before = &self.bytes[std::mem::replace(&mut taken, *end)..*end];
            now.clear();
            sys::read_behind(tid, *start, before.len(), &mut now);
            for (index, (old, new)) in before.chunks(PAGE).zip(now.chunks(PAGE)).enumerate() {
                if old != new {
                    of_page(*start + (index * PAGE) as u64, old, new, &mut changes);
                }
            }
        }
        changes.sort_by_key(|change| change.by);
        changes.iter().take(MOST_WORDS).map(|change| change.word).collect()
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        SPARE.set(std::mem::take(&mut self.bytes));
    }
}

/// Adds the words of a page that have changed the least.
fn of_page(start: u64, old: &[u8], new: &[u8], changes: &mut Vec<Change>) {
    let number = |word: &[u8]| u64::from_le_bytes(word.try_into().unwrap_or_default());
    let words = old.chunks_exact(WORD).zip(new.chunks_exact(WORD)).enumerate();
    let differing = words.filter(|(_, (old, new))| old != new);
    let mut own: Vec<Change> = differing
        .map(|(index, (old, new))| {
            let (old, new) = (number(old), number(new));
            Change { word: (start + (index * WORD) as u64, new), by: distance(old, new) }
        })
        .collect();
    own.sort_by_key(|change| change.by);
    changes.extend(own.into_iter().take(MOST_OF_PAGE));
}

/// How far two values of a counter are from each other; it may be the upper half of a word.
fn distance(old: u64, new: u64) -> u64 {
    const HALF: u32 = 32;
    let by = (new.wrapping_sub(old) as i64).unsigned_abs();
    if by.trailing_zeros() >= HALF { by >> HALF } else { by }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_come_before_what_changes_at_random() {
        let (mut old, mut new) = ([0_u8; 64], [0_u8; 64]);
        let mut put = |index: usize, before: u64, after: u64| {
            old[index * 8..][..8].copy_from_slice(&before.to_le_bytes());
            new[index * 8..][..8].copy_from_slice(&after.to_le_bytes());
        };
        put(0, 0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321);
        put(1, 7, 107);
        put(2, 5 << 32 | 1, 9 << 32 | 1);
        put(3, 50, 49);
        put(4, 3, 3);
        let mut changes = Vec::new();
        of_page(0x1000, &old, &new, &mut changes);
        let words: Vec<Word> = changes.iter().map(|change| change.word).collect();
        assert_eq!(words, [(0x1018, 49), (0x1010, 9 << 32 | 1), (0x1008, 107), (0x1000, 0x0fed_cba9_8765_4321)]);
    }
}
