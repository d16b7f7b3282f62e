//! What several columns ask of the events of a block, found once: syscalls and captured paths.

use trace_engine::usage::names::{NONE, Names, ROOT};
use trace_format::column::{Columns, NO_CONTENT};
use trace_format::event::{EventKind, Side};

use super::{Content, Meanings};

/// No capture.
const ABSENT: u32 = u32::MAX;
/// A capture without bytes.
const EMPTY: u32 = u32::MAX - 1;

/// By event of the block.
#[derive(Default)]
pub(super) struct Facts {
    /// Row of the caller's table of syscalls; -1: none.
    pub(super) syscalls: Vec<i16>,
    /// Contents of the first path: as it was given, and as it was resolved.
    given: Vec<u32>,
    resolved: Vec<u32>,
}

impl Facts {
    pub(super) fn find(&mut self, columns: &Columns, meanings: &Meanings) {
        self.syscalls.clear();
        self.given.clear();
        self.resolved.clear();
        for i in 0..columns.count as usize {
            let kind = columns.kind[i];
            let syscall = if kind == EventKind::Call as u8 {
                meanings.row(columns.arch[i], columns.code[i]).map_or(-1, |row| row as i16)
            } else {
                -1
            };
            let is_named = kind == EventKind::Exec as u8 || kind == EventKind::Map as u8;
            let slot = match usize::try_from(syscall) {
                Ok(row) => u8::try_from(meanings.shapes[row].path).ok(),
                Err(_) => is_named.then_some(0),
            };
            let (mut given, mut resolved) = (ABSENT, ABSENT);
            if let Some(slot) = slot {
                for c in captures(columns, i) {
                    if columns.cap_slot[c] != slot {
                        continue;
                    }
                    let content = columns.cap_content[c].min(EMPTY);
                    let side = columns.cap_side[c];
                    if side == Side::In as u8 && given == ABSENT {
                        given = content;
                    } else if side == Side::Resolved as u8 && resolved == ABSENT {
                        resolved = content;
                    }
                }
            }
            self.syscalls.push(syscall);
            self.given.push(given);
            self.resolved.push(resolved);
        }
    }

    pub(super) fn given(&self, i: usize) -> Option<Content> {
        content(self.given[i])
    }

    pub(super) fn resolved(&self, i: usize) -> Option<Content> {
        content(self.resolved[i])
    }

    /// By content of the block, up to the last one: whether it is a path or an address that a row may show.
    pub(super) fn contents_shown(&self, columns: &Columns, meanings: &Meanings) -> Vec<bool> {
        let mut shown = Vec::new();
        let mut show = |content: u32| {
            if content < EMPTY {
                if shown.len() <= content as usize {
                    shown.resize(content as usize + 1, false);
                }
                shown[content as usize] = true;
            }
        };
        for (i, &syscall) in self.syscalls.iter().enumerate() {
            show(self.given[i]);
            show(self.resolved[i]);
            let Ok(row) = usize::try_from(syscall) else { continue };
            let addresses = &meanings.shapes[row].addresses;
            if !addresses.is_empty() {
                let own = captures(columns, i).filter(|&c| addresses.contains(&columns.cap_slot[c]));
                own.map(|c| columns.cap_content[c]).for_each(&mut show);
            }
        }
        shown
    }
}

const _: () = assert!(NO_CONTENT > EMPTY);

fn captures(columns: &Columns, i: usize) -> std::ops::Range<usize> {
    columns.cap_start[i] as usize..columns.cap_start[i + 1] as usize
}

fn content(content: u32) -> Option<Content> {
    match content {
        ABSENT => None,
        EMPTY => Some(Content(None)),
        content => Some(Content(Some(content as usize))),
    }
}

/// Numbers of captured paths, and of such paths behind the directories that they are relative to: the same over all blocks, until
/// there are many. A directory is known by its path, since it is another object each time that it is opened.
pub(super) struct Paths {
    given: Names,
    joined: Names,
    /// Number among the joined ones of what relative paths begin at, by object.
    directories: Vec<u32>,
    /// Number among the given ones, by content of the block.
    numbers: Vec<u32>,
}

/// Bytes of all paths of a kind, and how many of them there may be at the begin of a block.
const ROOM: usize = 64 << 20;
const MANY: usize = 1 << 20;

/// Not asked for yet.
const UNKNOWN: u32 = u32::MAX;

impl Default for Paths {
    fn default() -> Paths {
        let names = || Names::with_room(ROOM);
        Paths { given: names(), joined: names(), directories: Vec::new(), numbers: Vec::new() }
    }
}

impl Paths {
    /// True when numbers have another meaning from now on.
    pub(super) fn begin_block(&mut self, columns: &Columns) -> bool {
        let is_full = self.given.len().max(self.joined.len()) > MANY;
        if is_full {
            *self = Paths::default();
        }
        self.numbers.clear();
        self.numbers.resize(columns.content_start.len().max(1), UNKNOWN);
        is_full
    }

    /// The number of a path with these bytes; None: there is no room for it.
    pub(super) fn number(&mut self, content: Content, bytes: &[u8]) -> Option<usize> {
        // The last place is that of captures without bytes.
        let place = content.0.unwrap_or(self.numbers.len() - 1);
        if self.numbers[place] == UNKNOWN {
            self.numbers[place] = self.given.number(ROOT, bytes);
        }
        known(self.numbers[place])
    }

    /// A number for what a path is resolved to by itself.
    pub(super) fn absolute(&mut self, content: Content, bytes: &[u8], is_given: bool) -> Option<usize> {
        Some(3 * self.number(content, bytes)? + usize::from(is_given))
    }

    /// The same from an object that is a directory, of that path.
    pub(super) fn relative(&mut self, bytes: &[u8], base: usize, path: &[u8]) -> Option<usize> {
        if base >= self.directories.len() {
            self.directories.resize((base + 1).next_power_of_two(), UNKNOWN);
        }
        if self.directories[base] == UNKNOWN {
            self.directories[base] = self.joined.number(ROOT, path);
        }
        let directory = known(self.directories[base])? as u32;
        Some(3 * known(self.joined.number(directory, bytes))? + 2)
    }
}

fn known(number: u32) -> Option<usize> {
    Some(number).filter(|&number| number != NONE).map(|number| number as usize)
}
