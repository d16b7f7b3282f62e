//! Parts of an address space.

use std::collections::BTreeMap;

/// Ranges of addresses, joined where they meet: ends by starts.
#[derive(Clone, Debug, Default)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        if let Some((_, known)) = self.0.range(..=start).next_back()
            && *known >= end
        {
            return;
        }
        let (mut start, mut end) = (start, end);
        // Those that begin before the end, and reach the start, become one with it.
        while let Some((&from, &to)) = self.0.range(..=end).next_back().filter(|(_, to)| **to >= start) {
            self.0.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.0.insert(start, end);
    }

    /// Whether some part of them is in that range.
    #[must_use]
    pub fn meet(&self, start: u64, end: u64) -> bool {
        self.0.range(..end).next_back().is_some_and(|(_, to)| *to > start)
    }

    /// Whether all of that range is in one of them.
    #[must_use]
    pub fn cover(&self, start: u64, end: u64) -> bool {
        self.0.range(..=start).next_back().is_some_and(|(_, to)| *to >= end)
    }

    /// Takes that range out of them.
    pub fn cut(&mut self, start: u64, end: u64) {
        while let Some((&from, &to)) = self.0.range(..end).next_back().filter(|(_, to)| **to > start) {
            self.0.remove(&from);
            for (from, to) in [(from, to.min(start)), (from.max(end), to)] {
                if from < to {
                    self.0.insert(from, to);
                }
            }
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Starts and ends, by address.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(start, end)| (*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_found() {
        let mut ranges = Ranges::default();
        for (start, end) in [(10, 20), (40, 50), (30, 35), (12, 15), (5, 5)] {
            ranges.add(start, end);
        }
        assert_eq!(ranges.0.len(), 3);
        assert!(ranges.meet(19, 21) && ranges.meet(0, 100) && ranges.meet(34, 35) && ranges.meet(41, 42));
        assert!(!ranges.meet(20, 30) && !ranges.meet(0, 10) && !ranges.meet(50, 60) && !ranges.meet(35, 40));
        ranges.add(20, 40);
        assert_eq!(ranges.0.into_iter().collect::<Vec<_>>(), [(10, 50)]);
    }

    #[test]
    fn parts_of_ranges_are_taken_out() {
        let mut ranges = Ranges::default();
        ranges.add(10, 20);
        ranges.add(30, 40);
        assert!(ranges.cover(10, 20) && ranges.cover(31, 32) && !ranges.cover(9, 11) && !ranges.cover(15, 35));
        for (start, end, left) in [
            (20, 30, vec![(10, 20), (30, 40)]),
            (13, 14, vec![(10, 13), (14, 20), (30, 40)]),
            (0, 11, vec![(11, 13), (14, 20), (30, 40)]),
            (18, 32, vec![(11, 13), (14, 18), (32, 40)]),
            (12, 39, vec![(11, 12), (39, 40)]),
            (0, 100, vec![]),
        ] {
            ranges.cut(start, end);
            assert_eq!(ranges.iter().collect::<Vec<_>>(), left, "{start}..{end}");
        }
        assert!(ranges.is_empty());
    }

    #[test]
    fn one_that_covers_all_is_all() {
        let mut ranges = Ranges::default();
        for start in 0..100 {
            ranges.add(start * 10, start * 10 + 5);
        }
        ranges.add(0, u64::MAX);
        assert_eq!(ranges.0.len(), 1);
        assert!(ranges.meet(u64::MAX - 1, u64::MAX));
    }
}
