//! Tables by keys that a program may choose, on threads that may be [`crate::sys::Counterless`].

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::{FixedState, FoldHasher};

/// A table that is quick with small keys.
pub type QuickMap<K, V> = HashMap<K, V, Seeded>;

/// Hashes with a seed that nobody else knows. That of foldhash's own `RandomState` is made of the time, and so of the counter.
#[derive(Clone, Debug)]
pub struct Seeded(FixedState);

impl Default for Seeded {
    fn default() -> Seeded {
        Seeded(FixedState::with_seed(std::hash::RandomState::new().hash_one(0_u64)))
    }
}

impl BuildHasher for Seeded {
    type Hasher = FoldHasher;

    fn build_hasher(&self) -> FoldHasher {
        self.0.build_hasher()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_clock_is_read_for_a_table() {
        // Without the counter the thread would end here, and the test with it.
        let counterless = crate::sys::Counterless::new();
        let mut map = QuickMap::default();
        map.insert(7_u64, 1);
        drop(counterless);
        assert_eq!(map.get(&7), Some(&1));
    }
}
