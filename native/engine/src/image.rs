//! What was loaded: the facts of a program image after exec, and of ELF files that are mapped executable.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libc::pid_t;
use object::elf::{ELF_NOTE_GNU, FileHeader32, FileHeader64, NT_GNU_BUILD_ID};
use object::read::ReadCache;
use object::read::elf::{FileHeader, ProgramHeader as _};
use object::{Endianness, FileKind};
use trace_format::event::Side;

use crate::binary::Binary;
use crate::error::EngineError;
use crate::memory::{MAX_EVENT_BYTES, Memory};
use crate::objects::ProcPath;
use crate::stack::{self, Stack};
use crate::store::{RACY_NS, Store};
use crate::unseen::Site;
use crate::{sys, twins};

/// Slots of the captures of an Exec event (event.rs).
pub mod exec_slot {
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
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl Mapping {
    fn covers(&self, addr: u64) -> bool {
        addr.wrapping_sub(self.start) < self.length
    }
}

/// What is known of an ELF file.
#[derive(Clone, Debug, Default)]
pub struct ElfFacts {
    pub build_id: Vec<u8>,
    pub interpreter: Vec<u8>,
    /// BLAKE3 of the content, when the file is in the object store.
    pub hash: Option<[u8; 32]>,
    /// The user that a set-user-ID program is to run as.
    pub set_user_id: Option<u32>,
    /// Running it may change who the process is.
    pub sets_ids: bool,
    /// The file, and in which state it was.
    pub file: Option<FileId>,
    /// Its instructions whose results have to be seen; none when nobody looks for them.
    pub unseen: Rc<[Site]>,
}

/// A file in one state: as long as all of this is the same, so is what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    dev: u64,
    ino: u64,
    modified: (i64, i64),
    size: u64,
    mode: u32,
    owner: u32,
}

impl FileId {
    fn of(path: &Path) -> Option<FileId> {
        Self::from(&fs::metadata(path).ok()?)
    }

    fn from(meta: &Metadata) -> Option<FileId> {
        meta.is_file().then(|| FileId {
            dev: meta.dev(),
            ino: meta.ino(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            size: meta.size(),
            mode: meta.mode(),
            owner: meta.uid(),
        })
    }

    /// A file of which fstat(2) has told device and inode, when it was changed, its size, and mode and owner.
    #[must_use]
    pub fn of_numbers((dev, ino): (u64, u64), modified: (i64, i64), size: u64, (mode, owner): (u32, u32)) -> FileId {
        FileId { dev, ino, modified, size, mode, owner }
    }

    /// Device and inode.
    #[must_use]
    pub fn numbers(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    /// When it was changed, in seconds and nanoseconds, and its size.
    #[must_use]
    pub fn state(&self) -> (i64, i64, u64) {
        (self.modified.0, self.modified.1, self.size)
    }

    /// Whether another one is the same, as a program was told of it: whose a file is has another number in another user namespace.
    fn is_as_told(&self, told: &FileId) -> bool {
        *self == FileId { owner: self.owner, ..*told }
    }

    /// A file in its present state; `None` when it was changed so short ago that its states cannot be told apart.
    #[must_use]
    pub fn settled(meta: &Metadata) -> Option<FileId> {
        FileId::from(meta).filter(FileId::is_settled)
    }

    /// The file behind a mapping of a process, in its present state; `None` when it cannot be found by its name any more, or
    /// was changed so short ago that its states cannot be told apart.
    #[must_use]
    pub fn of_mapping(tid: pid_t, mapping: &Mapping) -> Option<FileId> {
        let id = FileId::of(&reachable(tid, &mapping.path))?;
        (id.ino == mapping.ino && id.is_settled()).then_some(id)
    }

    /// It has not changed for a while: the clock of the file system is too coarse to tell more.
    fn is_settled(&self) -> bool {
        let modified = i128::from(self.modified.0) * 1_000_000_000 + i128::from(self.modified.1);
        modified + RACY_NS < i128::from(sys::realtime())
    }
}

/// Most files that are remembered by where they are mapped from.
const MAX_MAPPED: usize = 1 << 12;

/// Looks into executable files, once per file, and keeps their contents in the object store.
pub struct Images {
    known: HashMap<FileId, ElfFacts>,
    /// Of files that were mapped and not executed.
    hashes: HashMap<FileId, Option<[u8; 32]>>,
    /// Files whose times do not tell their states apart, by device and inode.
    untold: HashSet<(u64, u64)>,
    /// Mapped files that have the same name for this process, by the mapping's device and inode.
    mapped: HashMap<(u64, u64), (Vec<u8>, FileId)>,
    /// Mapped files as they were found at the present stop, by the mapping's device and inode.
    states: Vec<((u64, u64), Metadata)>,
    /// The page that the kernel maps into every 64-bit process, if it does: one mapping or none. Not known before the first
    /// exec.
    everywhere: Option<Vec<Mapping>>,
    store: Store,
    /// Instructions whose results no call tells of are looked for.
    seeks_unseen: bool,
    /// Why a file could not be kept, the first time that happened.
    pub failure: Option<EngineError>,
}

impl Images {
    /// `seeks_unseen`: looks for instructions whose results have to be seen.
    #[must_use]
    pub fn new(store: Store, seeks_unseen: bool) -> Images {
        Images {
            known: HashMap::new(),
            hashes: HashMap::new(),
            untold: HashSet::new(),
            mapped: HashMap::new(),
            states: Vec::new(),
            everywhere: None,
            store,
            seeks_unseen,
            failure: None,
        }
    }

    /// Keeps any file in the object store; its hash, when that was possible. `meta` tells in which state it is.
    pub fn keep(&mut self, path: &Path, meta: &Metadata) -> Option<[u8; 32]> {
        if self.changes_untold((meta.dev(), meta.ino())) {
            let kept = self.store.put_afresh(path);
            return self.kept(kept);
        }
        // The times of a file that has just changed do not tell its states apart.
        let id = FileId::settled(meta);
        if let Some(known) = id.and_then(|id| self.hash_of(&id)) {
            return *known;
        }
        let kept = self.store.put(path);
        let hash = self.kept(kept);
        if let Some(id) = id {
            self.remember_hash(id, hash);
        }
        hash
    }

    /// From now on a file may be written to through memory, which changes its times once in a while, or never when it is in memory itself
    /// (shmem): its content is looked at each time. False when that was known.
    pub fn distrust(&mut self, file: (u64, u64)) -> bool {
        self.untold.insert(file)
    }

    /// Whether a file may have changed since without another time.
    #[must_use]
    pub fn changes_untold(&self, file: (u64, u64)) -> bool {
        self.untold.contains(&file)
    }

    /// What an earlier recording has noted about the calls in a file's code.
    #[must_use]
    pub fn patched_sites(&self, hash: &[u8; 32]) -> Option<String> {
        self.store.patched_sites(hash)
    }

    pub fn note_patched_sites(&self, hash: &[u8; 32], text: &str) {
        self.store.note_patched_sites(hash, text);
    }

    /// Files that are to be in the trace itself, since the store cannot be written.
    pub fn take_unpacked(&mut self) -> Vec<([u8; 32], File)> {
        let files = self.store.to_pack().into_iter();
        files.filter_map(|file| file.map_err(|error| self.failure.get_or_insert(error)).ok()).collect()
    }

    /// Why that is so.
    #[must_use]
    pub fn unwritable(&self) -> Option<&EngineError> {
        self.store.unwritable()
    }

    /// Opens the content of a file that was kept.
    #[must_use]
    pub fn open_kept(&self, hash: &[u8; 32]) -> Option<File> {
        File::open(self.store.get(hash)?).ok()
    }

    /// The content of a file that was kept.
    #[must_use]
    pub fn binary(&self, hash: &[u8; 32]) -> Option<Binary> {
        Binary::map(&self.store.get(hash)?)
    }

    /// Whether a file that was kept in this state is known again by it: it may have settled while it was being kept.
    #[must_use]
    pub fn knows_again(&self, meta: &Metadata) -> bool {
        !self.changes_untold((meta.dev(), meta.ino()))
            && FileId::settled(meta).is_some_and(|id| self.hash_of(&id).is_some_and(Option::is_some))
    }

    /// The hash of a file that was kept in this state. Where that is forgotten, it is kept once more, unless it has changed since; `there`
    /// gives a path to it.
    pub fn kept_as(&mut self, id: &FileId, there: impl FnOnce() -> PathBuf) -> Option<[u8; 32]> {
        if let Some(known) = self.hash_of(id) {
            return *known;
        }
        let path = there();
        let meta = fs::metadata(&path).ok().filter(|meta| FileId::from(meta).is_some_and(|own| own.is_as_told(id)))?;
        self.keep(&path, &meta)
    }

    /// The facts of a file as it was in this state, unless they are forgotten and it has changed since; `there` gives a path to it.
    pub fn facts_as(&mut self, id: &FileId, there: impl FnOnce() -> PathBuf) -> ElfFacts {
        if let Some(known) = self.known.get(id) {
            return known.clone();
        }
        let path = there();
        FileId::of(&path).filter(|own| own.is_as_told(id)).map(|own| self.facts_of(own, &path)).unwrap_or_default()
    }

    /// What is remembered of a file in this state: its hash, if it could be kept.
    fn hash_of(&self, id: &FileId) -> Option<&Option<[u8; 32]>> {
        self.known.get(id).map(|facts| &facts.hash).or_else(|| self.hashes.get(id))
    }

    fn kept(&mut self, result: Result<[u8; 32], EngineError>) -> Option<[u8; 32]> {
        result.map_err(|error| self.failure.get_or_insert(error)).ok()
    }

    fn remember_hash(&mut self, id: FileId, hash: Option<[u8; 32]>) {
        if self.hashes.len() >= MAX_MAPPED {
            self.hashes.clear();
        }
        self.hashes.insert(id, hash);
    }

    /// The facts of the ELF file behind a path of /proc, or nothing when it is none or cannot be read.
    pub fn facts(&mut self, path: &Path) -> ElfFacts {
        FileId::of(path).map(|id| self.facts_of(id, path)).unwrap_or_default()
    }

    fn facts_of(&mut self, id: FileId, path: &Path) -> ElfFacts {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        let set_user_id = (id.mode & libc::S_ISUID != 0).then_some(id.owner);
        let sets_ids = id.mode & (libc::S_ISUID | libc::S_ISGID) != 0;
        let file = Some(id).filter(FileId::is_settled);
        let ids = ElfFacts { set_user_id, sets_ids, file, ..ElfFacts::default() };
        let Ok(file) = File::open(path) else { return ids };
        let kept = self.store.put_file(&file, path);
        let hash = self.kept(kept);
        let unseen = match hash.filter(|_| self.seeks_unseen) {
            Some(hash) => self.store.unseen_sites(&file, &hash).into(),
            None => Rc::default(),
        };
        let (build_id, interpreter) = read_facts(file).unwrap_or_default();
        let facts = ElfFacts { build_id, interpreter, hash, unseen, ..ids };
        if self.known.len() >= MAX_MAPPED {
            self.known.clear();
        }
        self.known.insert(id, facts.clone());
        facts
    }

    /// Another stop: files may have changed since the last one.
    pub fn look_again(&mut self) {
        self.states.clear();
    }

    /// The present state of a mapped file, which `there` gives a path of /proc to. Asked once, until [`Images::look_again`].
    ///
    /// The mapping's name is tried first: where it means the same file for this process, the way through /proc is spared.
    pub fn state_of_mapping(&mut self, mapping: &Mapping, there: impl FnOnce() -> PathBuf) -> Option<Metadata> {
        let key = (mapping.dev, mapping.ino);
        if sys::is_served(mapping.dev) {
            return None;
        }
        if let Some((_, known)) = self.states.iter().find(|(known, _)| *known == key) {
            return Some(known.clone());
        }
        let meta = self.ask_state(mapping, there)?;
        self.states.push((key, meta.clone()));
        Some(meta)
    }

    fn ask_state(&mut self, mapping: &Mapping, there: impl FnOnce() -> PathBuf) -> Option<Metadata> {
        let key = (mapping.dev, mapping.ino);
        let here = fs::metadata(OsStr::from_bytes(&mapping.path)).ok();
        let id = here.as_ref().and_then(FileId::from);
        // The numbers of a mapping are not those of its name on some file systems (overlayfs, btrfs).
        let is_known = |id: &FileId| {
            (id.dev, id.ino) == key || self.mapped.get(&key).is_some_and(|known| *known == (mapping.path.clone(), *id))
        };
        if id.as_ref().is_some_and(is_known) {
            return here;
        }
        let meta = fs::metadata(there()).ok()?;
        if let Some(id) = id.filter(|id| FileId::from(&meta) == Some(*id)) {
            if self.mapped.len() >= MAX_MAPPED {
                self.mapped.clear();
            }
            self.mapped.insert(key, (mapping.path.clone(), id));
        }
        Some(meta)
    }

    /// The facts of a mapped file, which `there` is a path of /proc to.
    pub fn facts_of_mapping(&mut self, mapping: &Mapping, there: &Path) -> ElfFacts {
        if mapping.ino == 0 {
            return ElfFacts::default();
        }
        let id = self.state_of_mapping(mapping, || there.to_owned()).as_ref().and_then(FileId::from);
        id.map(|id| self.facts_of(id, there)).unwrap_or_default()
    }

    /// The executable mappings of a process.
    ///
    /// Asked with `PROCMAP_QUERY` (Linux 6.11), which spares the kernel to print all others; read from the list where that is
    /// missing. The query does not tell of `[vsyscall]`, which is the same in all 64-bit processes, and in no other.
    pub fn executable_mappings(&mut self, tid: pid_t, is_64bit: bool) -> Vec<Mapping> {
        if is_64bit
            && let Some(everywhere) = &self.everywhere
            && let Ok(mut mappings) = sys::query_executable(tid)
        {
            mappings.extend_from_slice(everywhere);
            return mappings;
        }
        let mappings = listed_mappings(tid);
        if is_64bit && !mappings.is_empty() {
            let everywhere = mappings.iter().filter(|mapping| mapping.path == b"[vsyscall]");
            self.everywhere = Some(everywhere.cloned().collect());
        }
        mappings
    }
}

/// The loader that an ELF file names, if it does.
#[must_use]
pub fn interpreter_of(file: File) -> Option<Vec<u8>> {
    read_facts(file).map(|(_, interpreter)| interpreter).filter(|path| !path.is_empty())
}

/// Build id and interpreter of an ELF file, from its program headers.
fn read_facts(file: File) -> Option<(Vec<u8>, Vec<u8>)> {
    let cache = ReadCache::new(file);
    match FileKind::parse(&cache).ok()? {
        FileKind::Elf32 => segment_facts::<FileHeader32<Endianness>>(&cache),
        FileKind::Elf64 => segment_facts::<FileHeader64<Endianness>>(&cache),
        _ => None,
    }
}

fn segment_facts<Elf: FileHeader<Endian = Endianness>>(cache: &ReadCache<File>) -> Option<(Vec<u8>, Vec<u8>)> {
    /// Longest segment that is read: notes are a few hundred bytes, a path has at most 4096.
    const LONGEST: u64 = 1 << 20;
    let header = Elf::parse(cache).ok()?;
    let endian = header.endian().ok()?;
    let (mut build_id, mut interpreter) = (Vec::new(), Vec::new());
    for segment in header.program_headers(endian, cache).ok()? {
        if segment.p_filesz(endian).into() > LONGEST {
            continue;
        }
        if let Ok(Some(path)) = segment.interpreter(endian, cache)
            && interpreter.is_empty()
        {
            interpreter = path[..path.len().min(4096)].to_vec();
        }
        let Ok(Some(mut notes)) = segment.notes(endian, cache) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if build_id.is_empty() && note.name() == ELF_NOTE_GNU && note.n_type(endian) == NT_GNU_BUILD_ID {
                build_id = note.desc()[..note.desc().len().min(64)].to_vec();
            }
        }
    }
    Some((build_id, interpreter))
}

/// Who a process is, and what it sees of the file system: the captures of an Exec event that only few calls change.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    /// As `uid=0 0 0 0 gid=... groups=... umask=0022 capeff=...`.
    credentials: String,
    mount_namespace: Vec<u8>,
}

impl Identity {
    #[must_use]
    pub fn of(tid: pid_t) -> Identity {
        Identity { credentials: credentials(tid), mount_namespace: read_link(tid, "ns/mnt") }
    }

    /// Whether a process that was like this, and has done nothing but execute programs since, still is. Capabilities are
    /// the one thing that exec itself changes, as long as the file sets no ids.
    #[must_use]
    pub fn still_holds(&self, tid: pid_t) -> bool {
        let now = sys::effective_capabilities(tid).map(|set| format!("capeff={set:016x}"));
        now.is_ok_and(|now| self.credentials.ends_with(&now))
    }
}

/// Adds the captures of an Exec event, and tells the facts of the program's file.
///
/// `stack` is the stack of a program that has not run yet; without it, or when it cannot be read, /proc is asked.
pub fn exec_facts(
    images: &mut Images,
    tid: pid_t,
    mappings: &[Mapping],
    stack: Option<&Stack>,
    memory: &mut Memory,
) -> ElfFacts {
    let (argv, env, auxv) = match stack {
        Some(stack) => (stack.argv().to_vec(), stack.env().to_vec(), stack.auxv().to_vec()),
        None => (command_line(tid), read_file(tid, "environ"), read_file(tid, "auxv")),
    };
    // Where the program begins, its own file is mapped (unless it has removed itself since).
    let entry = stack.and_then(|stack| stack::auxiliary(stack.auxv(), libc::AT_ENTRY));
    let own = entry.and_then(|entry| mappings.iter().find(|mapping| mapping.ino != 0 && mapping.covers(entry)));
    let path = own.map_or_else(|| read_link(tid, "exe"), |own| own.path.clone());
    let exe = PathBuf::from(format!("/proc/{tid}/exe"));
    let facts = match own {
        Some(own) => images.facts_of_mapping(own, &exe),
        // Which file it is is known by its name alone here.
        None if mappings.iter().any(|mapping| mapping.path == path && sys::is_served(mapping.dev)) => {
            ElfFacts::default()
        }
        None => images.facts(&exe),
    };
    memory.add(exec_slot::PATH, Side::In, &path);
    memory.add(exec_slot::ARGV, Side::In, &argv);
    memory.add(exec_slot::ENV, Side::In, &env);
    memory.add(exec_slot::CWD, Side::In, &read_link(tid, "cwd"));
    memory.add(exec_slot::INTERPRETER, Side::In, &facts.interpreter);
    memory.add(exec_slot::AUXV, Side::In, &auxv);
    facts
}

/// Adds the captures of an Exec event that tell who the process is.
pub fn identity_facts(identity: &Identity, memory: &mut Memory) {
    memory.add(exec_slot::CREDENTIALS, Side::In, identity.credentials.as_bytes());
    memory.add(exec_slot::MOUNT_NAMESPACE, Side::In, &identity.mount_namespace);
}

/// The arguments of a process, each with its NUL. Servers write a title over them, behind which the kernel shows zeros to their former end.
pub fn command_line(tid: pid_t) -> Vec<u8> {
    let mut words = read_file(tid, "cmdline");
    let length = words.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // One or two may as well be an empty argument.
    if words.len() > length + 2 {
        words.truncate(length + 1);
    }
    words
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
fn listed_mappings(tid: pid_t) -> Vec<Mapping> {
    mappings(tid).into_iter().filter(|mapping| mapping.prot & 4 != 0).collect()
}

/// All mappings of a process, from /proc/PID/maps.
#[must_use]
pub fn mappings(tid: pid_t) -> Vec<Mapping> {
    let maps = read_file(tid, "maps");
    maps.split(|byte| *byte == b'\n').filter_map(parse_mapping).collect()
}

/// The mappings of a process that have part of one of these ranges, which are in order and apart.
///
/// Asked with `PROCMAP_QUERY` (Linux 6.11), which does not walk the whole list; taken from the list where that is missing.
#[must_use]
pub fn mappings_in(tid: pid_t, ranges: &[(u64, u64)]) -> Vec<Mapping> {
    let has_part = |mapping: &Mapping| {
        let end = mapping.start.saturating_add(mapping.length);
        ranges.iter().any(|range| mapping.start < range.1 && range.0 < end)
    };
    sys::query_ranges(tid, ranges).unwrap_or_else(|_| mappings(tid).into_iter().filter(has_part).collect())
}

/// The file mapping at an address, or `None` when there is none or it is anonymous. The first segment of shmget(2), of a machine or a
/// container, has the number 0, and its file as well.
#[must_use]
pub fn file_mapping_at(tid: pid_t, addr: u64) -> Option<Mapping> {
    executable_mapping_at(tid, addr).filter(|mapping| mapping.dev != 0)
}

/// The mapping of code at an address.
///
/// Asked with `PROCMAP_QUERY` (Linux 6.11), which does not walk the whole list; read from the list where that is missing.
#[must_use]
pub fn executable_mapping_at(tid: pid_t, addr: u64) -> Option<Mapping> {
    match sys::query_mapping(tid, addr) {
        Ok(found) => found,
        Err(_) => listed_mappings(tid).into_iter().find(|mapping| mapping.covers(addr)),
    }
}

/// The instruction of a call: `syscall`, and `int 0x80` for 32-bit code.
pub const SYSCALL: [u8; 2] = [0x0f, 0x05];
pub const INT_80: [u8; 2] = [0xcd, 0x80];

/// The address of such an instruction in the vDSO of a process: any such pair of bytes will do.
#[must_use]
pub fn call_instruction(tid: pid_t, instruction: [u8; 2]) -> Option<u64> {
    const MOST: u64 = 16 << 10;
    let vdso = mappings(tid).into_iter().find(|mapping| mapping.path == b"[vdso]")?;
    let mut code = vec![0; vdso.length.min(MOST) as usize];
    let got = sys::read_pieces(tid, &[(vdso.start, code.len())], &mut code);
    let at = code[..got].windows(2).position(|pair| pair == instruction)?;
    Some(vdso.start + at as u64)
}

/// One line of /proc/PID/maps, proc_pid_maps(5); `None` for a line that is not of that form.
pub fn parse_mapping(line: &[u8]) -> Option<Mapping> {
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
    Some(twins::own(Mapping {
        start,
        length: end.checked_sub(start)?,
        offset,
        prot: bit(0, b'r', 1) | bit(1, b'w', 2) | bit(2, b'x', 4),
        shared: prot.get(3) == Some(&b's'),
        dev: libc::makedev(major, minor),
        ino,
        path,
    }))
}

fn hex(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

/// Where the file of a mapping can be opened from outside.
#[must_use]
pub fn reachable(tid: pid_t, path: &[u8]) -> PathBuf {
    let mut outside = PathBuf::from(format!("/proc/{tid}/root"));
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    outside.push(OsStr::from_bytes(relative));
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
    fn mappings_are_found_by_ranges_as_in_the_list() {
        const PAGE: u64 = 4096;
        let map = |at: u64, pages: u64, prot: i32, flags: i32| {
            let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: new memory, or such that was taken here and that nothing else uses.
            unsafe { libc::mmap(at as *mut libc::c_void, (pages * PAGE) as usize, prot, flags, -1, 0) as u64 }
        };
        // Two pages each, of another kind than those around them, with a gap in the middle.
        let base = map(0, 12, libc::PROT_NONE, 0);
        for (page, prot) in [(2, libc::PROT_READ), (4, libc::PROT_READ | libc::PROT_WRITE), (8, libc::PROT_READ)] {
            assert_eq!(map(base + page * PAGE, 2, prot, libc::MAP_FIXED), base + page * PAGE);
        }
        // SAFETY: as above.
        assert_eq!(unsafe { libc::munmap((base + 6 * PAGE) as *mut libc::c_void, 2 * PAGE as usize) }, 0);
        let tid = std::process::id() as pid_t;
        let at = |page: u64, byte: u64| base + page * PAGE + byte;
        let listed = |ranges: &[(u64, u64)]| -> Vec<u64> {
            let has_part = |mapping: &&Mapping| {
                ranges.iter().any(|(start, end)| mapping.start < *end && mapping.start + mapping.length > *start)
            };
            mappings(tid).iter().filter(has_part).map(|mapping| mapping.start).collect()
        };
        for (ranges, count) in [
            (vec![(at(2, 8), at(2, 16))], 1),
            // Both in one mapping; from one into the next; nothing but the gap; over the gap.
            (vec![(at(2, 0), at(2, 8)), (at(3, 0), at(3, 8))], 1),
            (vec![(at(3, 4088), at(4, 8))], 2),
            (vec![(at(6, 0), at(8, 0))], 0),
            (vec![(at(5, 0), at(8, 8))], 2),
            (vec![(at(6, 0), at(6, 8)), (at(7, 0), at(8, 8)), (at(9, 0), at(10, 8))], 2),
        ] {
            let found: Vec<u64> = mappings_in(tid, &ranges).iter().map(|mapping| mapping.start).collect();
            assert_eq!((&found, found.len()), (&listed(&ranges), count), "{ranges:x?} of {base:x}");
        }
        // SAFETY: as above.
        unsafe { libc::munmap(base as *mut libc::c_void, 12 * PAGE as usize) };
    }

    #[test]
    fn this_program_has_a_build_id_and_a_loader() {
        let folder = std::env::temp_dir().join(format!("trace-image-{}", std::process::id()));
        let facts = Images::new(Store::at(&folder), true).facts(Path::new("/proc/self/exe"));
        assert!(facts.hash.is_some_and(|hash| Store::at(&folder).get(&hash).is_some()));
        std::fs::remove_dir_all(folder).unwrap();
        assert!(facts.interpreter.starts_with(b"/lib"), "{facts:?}");
    }

    #[test]
    fn a_file_that_settles_while_it_is_kept_is_not_known_again() {
        const SOON: i128 = 100_000_000;
        let folder = std::env::temp_dir().join(format!("trace-settles-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("file");
        fs::write(&path, "content").unwrap();
        let settles_soon = i128::from(sys::realtime()) - RACY_NS + SOON;
        let modified = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(settles_soon as u64);
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        let meta = fs::metadata(&path).unwrap();
        let mut images = Images::new(Store::at(&folder.join("store")), false);
        let hash = images.keep(&path, &meta);
        assert!(hash.is_some());
        let was_settled = !images.hashes.is_empty();
        std::thread::sleep(std::time::Duration::from_nanos(2 * SOON as u64));
        assert_eq!(images.knows_again(&meta), was_settled);
        assert_eq!(images.keep(&path, &meta), hash);
        assert!(images.knows_again(&meta));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_was_kept_and_is_forgotten_is_kept_again_unless_it_has_changed() {
        let folder = std::env::temp_dir().join(format!("trace-forgotten-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("file");
        fs::write(&path, "content").unwrap();
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(long_ago).unwrap();
        let meta = fs::metadata(&path).unwrap();
        let id = FileId::settled(&meta).unwrap();
        let mut images = Images::new(Store::at(&folder.join("store")), false);
        let hash = images.keep(&path, &meta);
        assert!(images.knows_again(&meta));
        images.hashes.clear();
        assert_eq!(images.kept_as(&id, || path.clone()), hash);
        images.hashes.clear();
        file.set_len(3).unwrap();
        assert_eq!(images.kept_as(&id, || path.clone()), None);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn queried_mappings_are_the_listed_ones() {
        let own = std::process::id() as pid_t;
        let folder = std::env::temp_dir().join(format!("trace-mappings-{own}"));
        let mut images = Images::new(Store::at(&folder), false);
        let first = images.executable_mappings(own, true);
        assert!(images.everywhere.is_some());
        assert_eq!(images.executable_mappings(own, true), first);
        assert!(first.iter().any(|mapping| mapping.path == b"[vdso]"));
    }

    #[test]
    fn an_identity_holds_until_it_changes() {
        let own = std::process::id() as pid_t;
        let mut identity = Identity::of(own);
        assert!(identity.still_holds(own), "{identity:?}");
        identity.credentials = identity.credentials.replace("capeff=", "capeff=1");
        assert!(!identity.still_holds(own), "{identity:?}");
    }
}
