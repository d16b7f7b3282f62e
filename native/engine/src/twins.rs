//! Files of the recorder that processes have mapped in place of others: their mappings are told as what they stand for.
//!
//! Known to this whole process, since whoever reads the mappings of a process, in whichever thread and recording, is to see what the
//! program would see.

use std::ffi::CStr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::image::{self, Mapping};

/// What all of them are called.
pub const NAME: &CStr = c"trace-code";
/// How they are named in lists of mappings.
const LISTED: &[u8] = b"/memfd:trace-code";

/// A file that stands for part of another, and behind that for memory without a file.
struct Twin {
    dev: u64,
    ino: u64,
    /// The part of the other, as some process had it mapped.
    original: Mapping,
}

static TWINS: RwLock<Vec<Twin>> = RwLock::new(Vec::new());

fn twins() -> RwLockReadGuard<'static, Vec<Twin>> {
    TWINS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a file known for as long as it lives.
#[derive(Debug)]
pub struct Registered {
    dev: u64,
    ino: u64,
}

impl Registered {
    /// The file with these numbers has what stands in place of a mapping, from its start on.
    #[must_use]
    pub fn new((dev, ino): (u64, u64), original: Mapping) -> Registered {
        TWINS.write().unwrap_or_else(PoisonError::into_inner).push(Twin { dev, ino, original });
        Registered { dev, ino }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let is_other = |twin: &Twin| (twin.dev, twin.ino) != (self.dev, self.ino);
        TWINS.write().unwrap_or_else(PoisonError::into_inner).retain(is_other);
    }
}

/// Whether a mapping has the name of such a file, which others may have, too.
#[must_use]
pub fn is_named(path: &[u8]) -> bool {
    path.starts_with(LISTED)
}

/// A mapping as the program would see it without the recorder.
#[must_use]
pub fn own(mapping: Mapping) -> Mapping {
    if !is_named(&mapping.path) {
        return mapping;
    }
    let twins = twins();
    let Some(twin) = twins.iter().find(|twin| (twin.dev, twin.ino) == (mapping.dev, mapping.ino)) else {
        return mapping;
    };
    let original = &twin.original;
    if mapping.offset < original.length {
        let offset = original.offset + mapping.offset;
        return Mapping { offset, dev: original.dev, ino: original.ino, path: original.path.clone(), ..mapping };
    }
    Mapping { offset: 0, dev: 0, ino: 0, path: Vec::new(), ..mapping }
}

/// The first line of a mapping in a list of them, proc_pid_maps(5), as the program would see it without the recorder; `None` when it is the
/// same.
#[must_use]
pub fn own_line(line: &[u8]) -> Option<Vec<u8>> {
    let is_twin = line.windows(LISTED.len()).any(|part| part == LISTED);
    let mapping = is_twin.then(|| image::parse_mapping(line.trim_ascii_end())).flatten()?;
    (!is_named(&mapping.path)).then(|| {
        let right = |bit: u64, letter: char| if mapping.prot & bit == 0 { '-' } else { letter };
        let rights = [right(1, 'r'), right(2, 'w'), right(4, 'x'), if mapping.shared { 's' } else { 'p' }];
        let Mapping { start, length, offset, dev, ino, .. } = mapping;
        let (major, minor) = (libc::major(dev), libc::minor(dev));
        let rights: String = rights.iter().collect();
        let head = format!("{start:08x}-{:08x} {rights} {offset:08x} {major:02x}:{minor:02x} {ino} ", start + length);
        // Names are in a column of their own.
        let mut line = format!("{head:<73}").into_bytes();
        line.extend(&mapping.path);
        line.push(b'\n');
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_is_told_as_what_it_stands_for() {
        let mapping = |dev, ino, offset, path: &[u8]| Mapping {
            start: 0x7000_0000,
            length: 0x1000,
            offset,
            prot: 5,
            shared: false,
            dev,
            ino,
            path: path.to_vec(),
        };
        let original = Mapping { length: 0x5000, ..mapping(8, 77, 0x2000, b"/lib/ld.so") };
        let name = b"/memfd:trace-code (deleted)";
        let registered = Registered::new((1, u64::MAX), original);
        assert_eq!(own(mapping(1, u64::MAX, 0, name)), mapping(8, 77, 0x2000, b"/lib/ld.so"));
        assert_eq!(own(mapping(1, u64::MAX, 0x4000, name)), mapping(8, 77, 0x6000, b"/lib/ld.so"));
        // What lies behind it are trampolines.
        assert_eq!(own(mapping(1, u64::MAX, 0x5000, name)), mapping(0, 0, 0, b""));
        let line = |rest: &str| format!("7f0000001000-7f0000003000 r-xp {rest}").into_bytes();
        let listed = format!("00001000 00:01 {}                    /memfd:trace-code (deleted)\n", u64::MAX);
        let told = line("00003000 00:08 77                         /lib/ld.so\n");
        assert_eq!(own_line(&line(&listed)).map(String::from_utf8), Some(String::from_utf8(told)));
        assert_eq!(own_line(&line("00003000 00:01 78                        /memfd:trace-code (deleted)\n")), None);
        assert_eq!(own_line(b"Rss:                   4 kB\n"), None);
        // Somebody's own file of that name, and one of another name.
        for other in [mapping(1, u64::MAX - 1, 0, name), mapping(1, u64::MAX, 0, b"/memfd:other (deleted)")] {
            assert_eq!(own(other.clone()), other);
        }
        drop(registered);
        assert_eq!(own(mapping(1, u64::MAX, 0, name)), mapping(1, u64::MAX, 0, name));
    }
}
