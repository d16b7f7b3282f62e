//! The dictionary of a column of texts, while the column is made.

use std::collections::HashMap;

use crate::table::Growth;

/// Beyond this many values or bytes a column begins another dictionary.
const MAX_VALUES: usize = 1 << 18;
const MAX_BYTES: usize = 1 << 25;

const UNKNOWN: u32 = u32::MAX;
const NONE: u32 = u32::MAX - 1;

/// Values by code, and codes by key.
#[derive(Default)]
pub(super) struct Texts {
    codes: HashMap<Box<[u8]>, u32>,
    bytes: usize,
    by_key: Vec<u32>,
    /// What is new since the last batch.
    growth: Growth,
    is_begun: bool,
}

impl Texts {
    /// Whether the batch that begins now speaks of another dictionary than the one before.
    pub(super) fn begin_batch(&mut self) -> bool {
        let restart = !self.is_begun || self.codes.len() >= MAX_VALUES || self.bytes >= MAX_BYTES;
        if restart {
            *self = Texts { is_begun: true, ..Texts::default() };
        }
        restart
    }

    pub(super) fn growth(&mut self, restart: bool) -> Growth {
        Growth { restart, ..std::mem::take(&mut self.growth) }
    }

    /// The code of a value.
    pub(super) fn code(&mut self, value: &[u8]) -> u32 {
        if let Some(&code) = self.codes.get(value) {
            return code;
        }
        let code = self.codes.len() as u32;
        self.codes.insert(value.into(), code);
        self.bytes += value.len();
        self.growth.bytes.extend_from_slice(value);
        self.growth.ends.push(self.growth.bytes.len() as u32);
        code
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
