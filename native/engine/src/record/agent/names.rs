//! Names of files to which paths lead through symbolic links, as most libraries are found: `/lib` is one in itself. The agent asks the
//! kernel for such a name once, and is told from then on that the path leads to it, as long as the file is the same and neither it nor its
//! inode has changed. To ask again takes as long as to open the file.

use trace_format::ring::block::{MOST_NAMES, NAME_WORDS};
use trace_format::ring::path_hash;

use crate::agent::ring::Ring;

/// Most names that are ever told, so that each is still known when a record tells of it.
const MOST: usize = 4096;

/// Which word is the number.
const NUMBER: usize = NAME_WORDS as usize - 1;

/// As the agent has them.
type Words = [u64; NAME_WORDS as usize];

/// Names that agents are told.
#[derive(Default)]
pub(in crate::record) struct Names {
    /// By number, from 1 on: device and inode, and the name.
    all: Vec<((u64, u64), Vec<u8>)>,
    /// Those that are told.
    told: Vec<Words>,
    /// Which of them is the next to be replaced.
    next: usize,
}

impl Names {
    /// The name with a number, of a file that is told by device and inode.
    pub(super) fn get(&self, number: u64, file: (u64, u64)) -> Option<&[u8]> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.all.get(index).filter(|(own, _)| *own == file).map(|(_, name)| &name[..])
    }

    /// A path that a call was given has led to a file, of which this is a `struct stat` and the name. What its agent is to know, and where,
    /// if that was not known.
    pub(super) fn learn(&mut self, given: &[u8], facts: &[u8], name: &[u8]) -> Option<(usize, Words)> {
        const REGULAR: u64 = libc::S_IFREG as u64;
        let word = |index: usize| {
            facts
                .get(index * 8..index * 8 + 8)
                .map_or(0, |word| u64::from_le_bytes(word.try_into().unwrap_or_default()))
        };
        let (file, links, mode, changed) = ((word(0), word(1)), word(2), word(3), (word(13), word(14)));
        // Where path and name are the same, it was asked for another reason.
        let leads = given.first() == Some(&b'/') && name.first() == Some(&b'/') && given != name;
        let is_plain = mode & u64::from(libc::S_IFMT) == REGULAR && links == 1 && !name.ends_with(b" (deleted)");
        // What may be of /proc, by the agent's may_be_of_proc(): how such a file is read depends on its name.
        let is_stored = word(0) >> 8 & 0xfff != 0 || (word(6), word(8)) != (0, 0);
        if !leads || !is_plain || !is_stored {
            return None;
        }
        let mut words = [path_hash(given), file.0, file.1, changed.0, changed.1, 0];
        let same = self.told.iter().position(|told| told[0] == words[0]);
        if let Some(index) = same.filter(|index| self.told[*index][..NUMBER] == words[..NUMBER]) {
            // By another process, or before this one was told.
            return Some((index, self.told[index]));
        }
        if self.all.len() >= MOST {
            return None;
        }
        self.all.push((file, name.to_vec()));
        words[NUMBER] = self.all.len() as u64;
        let index = same.unwrap_or(if self.told.len() < MOST_NAMES as usize { self.told.len() } else { self.next });
        match self.told.get_mut(index) {
            Some(told) => *told = words,
            None => self.told.push(words),
        }
        if same.is_none() {
            self.next = (index + 1) % MOST_NAMES as usize;
        }
        Some((index, words))
    }

    /// Tells the agent of a thread that has not run yet.
    pub(super) fn tell(&self, ring: &Ring) {
        for (index, words) in self.told.iter().enumerate() {
            ring.set_name(index, words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `struct stat` of a regular file with that inode, so many links, and that change.
    fn facts(ino: u64, links: u64, changed: u64) -> Vec<u8> {
        let mut words = [0; 18];
        (words[0], words[1], words[2], words[3], words[13]) =
            (7, ino, links, u64::from(libc::S_IFREG | 0o644), changed);
        words[6] = 100;
        words.iter().flat_map(|word: &u64| word.to_le_bytes()).collect()
    }

    #[test]
    fn what_a_path_leads_to_is_known_by_file_and_number() {
        let mut names = Names::default();
        names.learn(b"/lib/a.so", &facts(5, 1, 100), b"/usr/lib/a.so.1");
        assert_eq!(names.get(1, (7, 5)), Some(&b"/usr/lib/a.so.1"[..]));
        // A number that a program has made up, or of another file.
        assert_eq!((names.get(1, (7, 6)), names.get(2, (7, 5)), names.get(0, (7, 5))), (None, None, None));
        // Found out once more.
        let known = names.learn(b"/lib/a.so", &facts(5, 1, 100), b"/usr/lib/a.so.1");
        assert_eq!((known.map(|(index, words)| (index, words[NUMBER])), names.all.len()), (Some((0, 1)), 1));
        // Another file comes to the path: its name has another number.
        names.learn(b"/lib/a.so", &facts(6, 1, 100), b"/usr/lib/a.so.2");
        assert_eq!((names.told.len(), names.told[0][5]), (1, 2));
        assert_eq!(names.get(1, (7, 5)), Some(&b"/usr/lib/a.so.1"[..]));
    }

    #[test]
    fn those_that_are_told_are_the_latest() {
        let mut names = Names::default();
        for number in 0..MOST_NAMES + 3 {
            names.learn(format!("/lib/{number}").as_bytes(), &facts(number, 1, 1), b"/usr/lib/b");
        }
        assert_eq!((names.told.len() as u64, names.told[2][5], names.told[3][5]), (MOST_NAMES, MOST_NAMES + 3, 4));
    }

    #[test]
    fn what_may_have_several_names_is_asked_for_each_time() {
        let mut names = Names::default();
        names.learn(b"/lib/a.so", &facts(5, 2, 100), b"/usr/lib/a.so.1");
        names.learn(b"lib/a.so", &facts(5, 1, 100), b"/usr/lib/a.so.1");
        names.learn(b"/usr/lib/a.so.1", &facts(5, 1, 100), b"/usr/lib/a.so.1");
        names.learn(b"/lib/a.so", &facts(5, 1, 100), b"/usr/lib/a.so.1 (deleted)");
        names.learn(b"/lib/a.so", &facts(5, 1, 100)[..16], b"/usr/lib/a.so.1");
        let mut of_proc = facts(5, 1, 100);
        of_proc[48] = 0;
        names.learn(b"/proc/self/status", &of_proc, b"/proc/7/status");
        assert!(names.told.is_empty());
    }
}
