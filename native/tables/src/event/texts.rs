//! The dictionary of a column of texts, while the column is made.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::table::Growth;

/// Beyond this many values or bytes a column begins another dictionary.
const MAX_VALUES: usize = 1 << 18;
const MAX_BYTES: usize = 1 << 25;

const UNKNOWN: u32 = u32::MAX;
const NONE: u32 = u32::MAX - 1;

/// Values by code, and codes by key.
#[derive(Default)]
pub(super) struct Texts {
    /// All values, one behind the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<u32>,
    /// Codes by value.
    table: HashTable<u32>,
    seed: RandomState,
    /// The code that was given last.
    last: u32,
    by_key: Vec<u32>,
    /// What is new since the last batch.
    growth: Growth,
    is_begun: bool,
}

impl Texts {
    /// Whether the batch that begins now speaks of another dictionary than the one before.
    pub(super) fn begin_batch(&mut self) -> bool {
        let restart = !self.is_begun || self.ends.len() >= MAX_VALUES || self.text.len() >= MAX_BYTES;
        if restart {
            *self = Texts { is_begun: true, ..Texts::default() };
        }
        restart
    }

    pub(super) fn growth(&mut self, restart: bool) -> Growth {
        Growth { restart, ..std::mem::take(&mut self.growth) }
    }

    /// The code of a value. What comes again mostly comes in the same order: the table is asked only where it does not.
    pub(super) fn code(&mut self, value: &[u8]) -> u32 {
        let last = self.last;
        let code = [last, last.wrapping_add(1)].into_iter().find(|&code| self.is(code, value));
        self.last = code.unwrap_or_else(|| self.find(value));
        self.last
    }

    fn is(&self, code: u32, value: &[u8]) -> bool {
        (code as usize) < self.ends.len() && text(&self.text, &self.ends, code) == value
    }

    fn find(&mut self, value: &[u8]) -> u32 {
        let wanted = self.seed.hash_one(value);
        if let Some(&code) = self.table.find(wanted, |&code| self.is(code, value)) {
            return code;
        }
        let code = self.ends.len() as u32;
        self.text.extend_from_slice(value);
        self.ends.push(self.text.len() as u32);
        let (bytes, ends, seed) = (&self.text, &self.ends, &self.seed);
        self.table.insert_unique(wanted, code, |&code| seed.hash_one(text(bytes, ends, code)));
        self.growth.bytes.extend_from_slice(value);
        self.growth.ends.push(self.growth.bytes.len() as u32);
        code
    }

    /// From now on keys stand for other values.
    pub(super) fn forget_keys(&mut self) {
        self.by_key.clear();
    }

    /// The code of the value that a key stands for. Keys are indexes of what was read, so there are not many.
    pub(super) fn keyed(&mut self, key: usize, value: impl FnOnce(usize) -> Option<Vec<u8>>) -> Option<u32> {
        if key >= self.by_key.len() {
            self.by_key.resize((key + 1).next_power_of_two(), UNKNOWN);
        }
        if self.by_key[key] == UNKNOWN {
            self.by_key[key] = value(key).map_or(NONE, |value| self.code(&value));
        }
        Some(self.by_key[key]).filter(|&code| code != NONE)
    }
}

fn text<'a>(bytes: &'a [u8], ends: &[u32], code: u32) -> &'a [u8] {
    let start = code.checked_sub(1).map_or(0, |before| ends[before as usize]);
    &bytes[start as usize..ends[code as usize] as usize]
}

#[cfg(test)]
mod tests {
    use super::Texts;

    #[test]
    fn a_value_has_one_code_in_whatever_order_it_comes() {
        let mut texts = Texts::default();
        assert!(texts.begin_batch());
        let values: Vec<String> = (0..600u32).map(|k| "x".repeat(k as usize % 7) + &k.to_string()).collect();
        for (k, value) in values.iter().enumerate() {
            assert_eq!(texts.code(value.as_bytes()) as usize, k);
        }
        assert_eq!(texts.code(b""), 600);
        for step in [1, 1, 599, 7] {
            for k in (0..1800).map(|k| k * step % 600) {
                assert_eq!(texts.code(values[k].as_bytes()) as usize, k);
            }
        }
        let growth = texts.growth(true);
        assert_eq!(growth.ends.len(), 601);
        assert_eq!(growth.bytes, values.concat().into_bytes());
        assert!(!texts.begin_batch());
        assert_eq!(texts.code(b"new"), 601);
        assert_eq!(texts.growth(false).bytes, b"new");
    }
}
