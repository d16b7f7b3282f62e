//! What was loaded: the facts of a program image after exec, and of ELF files that are mapped executable.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libc::pid_t;
use object::read::ReadCache;
use object::{Object, ObjectSection as _};
use trace_format::event::Side;

use crate::error::EngineError;
use crate::memory::{MAX_EVENT_BYTES, Memory};
use crate::objects::ProcPath;
use crate::store::Store;
use crate::sys;

/// Slots of the captures of an Exec event (event.rs).
mod exec_slot {
    pub const PATH: u8 = 0;
    pub const ARGV: u8 = 1;
    pub const ENV: u8 = 2;
    pub const CWD: u8 = 3;
    pub const INTERPRETER: u8 = 4;
    pub const AUXV: u8 = 5;
    pub const CREDENTIALS: u8 = 6;
    pub const MOUNT_NAMESPACE: u8 = 7;
}

/// One executable mapping of a process.
#[derive(Debug, PartialEq, Eq)]
pub struct Mapping {
    pub start: u64,
    pub length: u64,
    pub offset: u64,
    /// `PROT_*` bits.
    pub prot: u64,
    /// MAP_SHARED.
    pub shared: bool,
    pub dev: u64,
    pub ino: u64,
    pub path: Vec<u8>,
}

/// What is known of an ELF file.
#[derive(Clone, Debug, Default)]
pub struct ElfFacts {
    pub build_id: Vec<u8>,
    pub interpreter: Vec<u8>,
    /// BLAKE3 of the content, when the file is in the object store.
    pub hash: Option<[u8; 32]>,
}

type FileId = (u64, u64, i64, i64, u64);

/// Looks into executable files, once per file, and keeps their contents in the object store.
pub struct Images {
    known: HashMap<FileId, ElfFacts>,
    store: Store,
    /// Why a file could not be kept, the first time that happened.
    pub failure: Option<EngineError>,
}

impl Images {
    #[must_use]
    pub fn new(store: Store) -> Images {
        Images { known: HashMap::new(), store, failure: None }
    }

    /// Keeps any file in the object store; its hash, when that was possible.
    pub fn keep(&mut self, path: &Path) -> Option<[u8; 32]> {
        match self.store.put(path) {
            Ok(hash) => Some(hash),
            Err(error) => {
                self.failure.get_or_insert(error);
                None
            }
        }
    }

    /// The facts of the ELF file behind a path of /proc, or nothing when it is none or cannot be read.
    pub fn facts(&mut self, path: &Path) -> ElfFacts {
        let Ok(meta) = fs::metadata(path) else { return ElfFacts::default() };
        if !meta.is_file() {
            return ElfFacts::default();
        }
        let id = (meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size());
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        let Ok(file) = File::open(path) else { return ElfFacts::default() };
        let hash = match self.store.put_file(&file, path) {
            Ok(hash) => Some(hash),
            Err(error) => {
                self.failure.get_or_insert(error);
                None
            }
        };
        let facts = ElfFacts { hash, ..read_facts(file) };
        self.known.insert(id, facts.clone());
        facts
    }
}

fn read_facts(file: File) -> ElfFacts {
    let cache = ReadCache::new(file);
    let Ok(elf) = object::File::parse(&cache) else { return ElfFacts::default() };
    let build_id = elf.build_id().ok().flatten().map(|id| id[..id.len().min(64)].to_vec()).unwrap_or_default();
    ElfFacts { build_id, interpreter: interpreter(&elf), hash: None }
}

/// The path in the section `.interp`.
fn interpreter<'a>(elf: &object::File<'a, &'a ReadCache<File>>) -> Vec<u8> {
    let section = elf.section_by_name(".interp").and_then(|section| section.data().ok());
    let mut path = section.unwrap_or_default().to_vec();
    path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()).min(4096));
    path
}

/// Fills `memory` with the captures of an Exec event.
pub fn exec_facts(images: &mut Images, tid: pid_t, memory: &mut Memory) {
    let exe = read_link(tid, "exe");
    memory.add(exec_slot::PATH, Side::In, &exe);
    memory.add(exec_slot::ARGV, Side::In, &read_file(tid, "cmdline"));
    memory.add(exec_slot::ENV, Side::In, &read_file(tid, "environ"));
    memory.add(exec_slot::CWD, Side::In, &read_link(tid, "cwd"));
    let facts = images.facts(Path::new(&format!("/proc/{tid}/exe")));
    memory.add(exec_slot::INTERPRETER, Side::In, &facts.interpreter);
    memory.add(exec_slot::AUXV, Side::In, &read_file(tid, "auxv"));
    memory.add(exec_slot::CREDENTIALS, Side::In, credentials(tid).as_bytes());
    memory.add(exec_slot::MOUNT_NAMESPACE, Side::In, &read_link(tid, "ns/mnt"));
}

fn read_link(tid: pid_t, what: &str) -> Vec<u8> {
    let mut target = [0_u8; 4096];
    let link = ProcPath::new(tid, format_args!("{what}"));
    sys::read_link(link.as_c_str(), &mut target).map(|length| target[..length].to_vec()).unwrap_or_default()
}

fn read_file(tid: pid_t, what: &str) -> Vec<u8> {
    use std::io::Read as _;
    // These files have no size to ask for: one large buffer spares most reads.
    let mut bytes = Vec::with_capacity(16 << 10);
    if let Ok(file) = File::open(format!("/proc/{tid}/{what}")) {
        let _ = file.take(MAX_EVENT_BYTES as u64 / 4).read_to_end(&mut bytes);
    }
    bytes
}

/// The lines of /proc/PID/status that say who the process is, as `uid=0 0 0 0 gid=... groups=... umask=0022`.
fn credentials(tid: pid_t) -> String {
    let status = read_file(tid, "status");
    let status = String::from_utf8_lossy(&status);
    let mut text = String::new();
    for (label, name) in
        [("Uid:", "uid"), ("Gid:", "gid"), ("Groups:", "groups"), ("Umask:", "umask"), ("CapEff:", "capeff")]
    {
        let Some(line) = status.lines().find_map(|line| line.strip_prefix(label)) else { continue };
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(&line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    text
}

/// The executable mappings of a process, from /proc/PID/maps.
#[must_use]
pub fn executable_mappings(tid: pid_t) -> Vec<Mapping> {
    mappings(tid).into_iter().filter(|mapping| mapping.prot & 4 != 0).collect()
}

/// All mappings of a process, from /proc/PID/maps.
#[must_use]
pub fn mappings(tid: pid_t) -> Vec<Mapping> {
    let maps = read_file(tid, "maps");
    maps.split(|byte| *byte == b'\n').filter_map(parse_mapping).collect()
}

/// The file mapping at an address, or `None` when there is none or it is anonymous.
///
/// Asked with `PROCMAP_QUERY` (Linux 6.11), which does not walk the whole list; read from the list where that is missing.
#[must_use]
pub fn file_mapping_at(tid: pid_t, addr: u64) -> Option<Mapping> {
    match sys::query_mapping(tid, addr) {
        Ok(found) => found.filter(|mapping| mapping.ino != 0),
        Err(_) => executable_mappings(tid)
            .into_iter()
            .find(|mapping| mapping.ino != 0 && addr.wrapping_sub(mapping.start) < mapping.length),
    }
}

/// One line of /proc/PID/maps, proc_pid_maps(5); `None` for a line that is not of that form.
fn parse_mapping(line: &[u8]) -> Option<Mapping> {
    let mut words = line.splitn(6, |byte| *byte == b' ');
    let range = std::str::from_utf8(words.next()?).ok()?;
    let prot = words.next()?;
    let offset = hex(words.next()?)?;
    let device = std::str::from_utf8(words.next()?).ok()?;
    let ino = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let path = words.next().unwrap_or_default().trim_ascii_start().to_vec();
    let (start, end) = range.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let (major, minor) = device.split_once(':')?;
    let (major, minor) = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let bit = |index: usize, letter: u8, value: u64| if prot.get(index) == Some(&letter) { value } else { 0 };
    Some(Mapping {
        start,
        length: end.checked_sub(start)?,
        offset,
        prot: bit(0, b'r', 1) | bit(1, b'w', 2) | bit(2, b'x', 4),
        shared: prot.get(3) == Some(&b's'),
        dev: libc::makedev(major, minor),
        ino,
        path,
    })
}

fn hex(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

/// Where the file of a mapping can be opened from outside.
#[must_use]
pub fn reachable(tid: pid_t, path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    let mut outside = PathBuf::from(format!("/proc/{tid}/root"));
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    outside.push(std::ffi::OsStr::from_bytes(relative));
    outside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_read() {
        let line = b"7f0a3c000000-7f0a3c028000 r-xp 00002000 fe:00 1234                       /usr/lib/a b.so";
        let mapping = parse_mapping(line).expect("a valid line");
        assert_eq!((mapping.start, mapping.length, mapping.offset), (0x7f0a3c000000, 0x28000, 0x2000));
        assert_eq!((mapping.prot, mapping.ino), (5, 1234));
        assert_eq!(mapping.path, b"/usr/lib/a b.so");
        assert_eq!(parse_mapping(b"7f00-8000 rw-p 0 00:00 0").map(|mapping| mapping.path), Some(Vec::new()));
        assert_eq!(parse_mapping(b"nonsense"), None);
        assert_eq!(parse_mapping(b"9000-8000 rw-p 0 00:00 0"), None);
    }

    #[test]
    fn this_program_has_a_build_id_and_a_loader() {
        let folder = std::env::temp_dir().join(format!("trace-image-{}", std::process::id()));
        let facts = Images::new(Store::at(&folder)).facts(Path::new("/proc/self/exe"));
        assert!(facts.hash.is_some_and(|hash| Store::at(&folder).get(&hash).is_some()));
        std::fs::remove_dir_all(folder).unwrap();
        assert!(facts.interpreter.starts_with(b"/lib"), "{facts:?}");
        let own = executable_mappings(std::process::id() as pid_t);
        assert!(own.iter().any(|mapping| mapping.path == b"[vdso]"));
    }
}
