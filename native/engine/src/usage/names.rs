//! Names of files, each with a number: a path, or one that is relative to another name.
//!
//! A trace names the same files again and again, mostly in the same order. So each name remembers which one came after it,
//! and the table is asked only where that is another one this time: names that follow each other stand side by side in
//! memory, while the table's are anywhere.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};
use trace_format::limits;

/// No name; also those for which there is no room.
pub const NONE: u32 = u32::MAX - 1;
/// In place of a directory in front of absolute paths.
pub const ROOT: u32 = u32::MAX - 2;

/// Bytes of all names, and how many: as much as the definitions of a trace may have of paths, and of objects.
const MAX_TEXT: usize = limits::MAX_DEFINITION_BYTES as usize;
const MAX_NAMES: usize = limits::MAX_OBJECTS as usize;

fn hash(seed: RandomState, directory: u32, path: &[u8]) -> u64 {
    let mut hasher = seed.build_hasher();
    hasher.write_u32(directory);
    hasher.write(path);
    hasher.finish()
}

struct Name {
    directory: u32,
    /// Where it ends in the text; it begins where the one before ends.
    end: u32,
    /// Which one came after it last.
    next: u32,
}

/// The table of names.
pub struct Names {
    list: Vec<Name>,
    text: Vec<u8>,
    /// Most bytes of `text`, and most names.
    room: usize,
    most: usize,
    table: HashTable<u32>,
    seed: RandomState,
    last: u32,
}

impl Default for Names {
    fn default() -> Names {
        Names::with_room(MAX_TEXT)
    }
}

impl Names {
    /// None yet, and at most `room` bytes of them.
    #[must_use]
    pub fn with_room(room: usize) -> Names {
        Names::bounded(room, MAX_NAMES)
    }

    /// None yet, and at most `most` with `room` bytes in all.
    pub(super) fn bounded(room: usize, most: usize) -> Names {
        let seed = RandomState::default();
        Names { list: Vec::new(), text: Vec::new(), room, most, table: HashTable::new(), seed, last: 0 }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The number of a path behind a directory, [`NONE`] where there is no room for it. `/a/b` and `c` have another one than
    /// `/a` and `b/c`.
    pub fn number(&mut self, directory: u32, path: &[u8]) -> u32 {
        let before = self.last;
        let guess = self.list.get(before as usize).map_or(0, |name| name.next);
        let number = if self.is(guess, directory, path) {
            guess
        } else if self.is(before, directory, path) {
            before
        } else {
            self.find(directory, path)
        };
        if let Some(name) = self.list.get_mut(before as usize)
            && number != before
        {
            name.next = number;
        }
        self.last = number;
        number
    }

    /// Appends the absolute path of a name.
    pub fn path(&self, number: u32, out: &mut Vec<u8>) {
        let Some(name) = self.list.get(number as usize) else { return };
        // Of directories, only those whose own path is absolute stand in front of names.
        if name.directory != ROOT {
            self.path(name.directory, out);
            out.push(b'/');
        }
        out.extend_from_slice(self.text(number as usize));
    }

    /// All names as they are, one behind the other, and where each ends.
    #[must_use]
    pub fn into_text(self) -> (Vec<u8>, Vec<u32>) {
        let ends = self.list.iter().map(|name| name.end).collect();
        (self.text, ends)
    }

    fn text(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.list[before].end);
        &self.text[start as usize..self.list[number].end as usize]
    }

    fn is(&self, number: u32, directory: u32, path: &[u8]) -> bool {
        let known = self.list.get(number as usize);
        known.is_some_and(|name| name.directory == directory && self.text(number as usize) == path)
    }

    fn find(&mut self, directory: u32, path: &[u8]) -> u32 {
        let wanted = hash(self.seed, directory, path);
        if let Some(&number) = self.table.find(wanted, |&number| self.is(number, directory, path)) {
            return number;
        }
        let end = self.text.len() + path.len();
        if end > self.room || self.list.len() >= self.most {
            return NONE;
        }
        let number = self.list.len() as u32;
        self.text.extend_from_slice(path);
        self.list.push(Name { directory, end: end as u32, next: number + 1 });
        let (names, text, seed) = (&self.list, &self.text, self.seed);
        self.table.insert_unique(wanted, number, |&number| {
            let start = number.checked_sub(1).map_or(0, |before| names[before as usize].end);
            let name = &names[number as usize];
            hash(seed, name.directory, &text[start as usize..name.end as usize])
        });
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_in_whatever_order_it_is_met() {
        let mut names = Names::default();
        let directory = names.number(ROOT, b"/a");
        let numbers: Vec<u32> = (0..500u32).map(|k| names.number(directory, k.to_string().as_bytes())).collect();
        for step in [1, 7, 499, 3] {
            for k in (0..2000).map(|k| k * step % 500) {
                assert_eq!(names.number(directory, k.to_string().as_bytes()), numbers[k]);
            }
        }
        assert_ne!(names.number(ROOT, b"7"), numbers[7]);
        let mut path = Vec::new();
        names.path(numbers[42], &mut path);
        assert_eq!(path, b"/a/42");
    }
}
