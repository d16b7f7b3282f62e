//! Files of /proc that tell a program where its memory is (`maps`, `smaps`), whether its calls are filtered and on which CPUs it may run
//! (`status`): what the agent has mapped is not among it, nor is the recording's filter, nor the vDSO (`auxv`, too) where it is not there
//! in replay; and its CPUs are those that it would have. Reads of them are answered here, from what the file says without that, and the
//! kernel skips the call.
//!
//! The kernel would tell where in the file a description stands, but has moved nothing there: that is kept here, for the object
//! behind all descriptors of it.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;

use libc::pid_t;
use rustc_hash::FxHashMap;
use trace_format::table::Arch;

use super::layouts::file_position;
use crate::capture::Call;
use crate::guard::{self, Guard};
use crate::memory::word_of;
use crate::sys::{self, CpuMask};
use crate::task::Task;
use crate::twins;

const EFAULT: i64 = -(libc::EFAULT as i64);
const EINVAL: i64 = -(libc::EINVAL as i64);

/// What such a file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Mappings, a line or more for each.
    Mappings,
    /// A line for each fact of a task.
    Status,
    /// The auxiliary vector, getauxval(3).
    Auxiliary,
    /// Memory, in a way that cannot be told without the agent's.
    Memory,
}

/// A file that tells of a task, and where it is being read.
pub(super) struct Shown {
    /// The process that it tells of, and which of its threads.
    pid: pid_t,
    tid: pid_t,
    kind: Kind,
    text: Vec<u8>,
    /// Not known yet of what was open before the recording.
    position: Option<u64>,
}

impl Shown {
    /// The file of that name in /proc, if it is one that shows where a process has mapped what.
    pub fn of(path: &[u8]) -> Option<Shown> {
        let inside = path.strip_prefix(b"/proc/")?;
        let mut parts = inside.split(|byte| *byte == b'/').map(|part| std::str::from_utf8(part).ok());
        let pid = parts.next()??.parse().ok()?;
        let (first, second) = (parts.next()?, parts.next().flatten());
        let thread = second.filter(|_| first == Some("task")).and_then(|part| part.parse().ok());
        let name = inside.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let kind = match name {
            b"maps" | b"smaps" => Kind::Mappings,
            b"status" => Kind::Status,
            b"auxv" => Kind::Auxiliary,
            b"smaps_rollup" | b"numa_maps" | b"mem" | b"pagemap" | b"map_files" => Kind::Memory,
            _ if inside.windows(11).any(|part| part == b"/map_files/") => Kind::Memory,
            _ => return None,
        };
        Some(Shown { pid, tid: thread.unwrap_or(pid), kind, text: Vec::new(), position: None })
    }

    /// Whether a call about it neither shows what the agent has mapped nor does anything to it that is not known here.
    pub fn allows(&self, call: &Call) -> bool {
        match call.name() {
            _ if matches!(self.kind, Kind::Status | Kind::Auxiliary) => true,
            "close" | "fstat" | "newfstatat" | "statx" | "fcntl" | "ioctl" | "dup" | "dup2" | "dup3" => true,
            name => reads(name) && self.answers(call),
        }
    }

    /// Whether a call about it can be answered here.
    fn answers(&self, call: &Call) -> bool {
        reads(call.name()) && self.kind != Kind::Memory && call.arch == Arch::X86_64
    }

    /// Puts what is to be read from an offset on into buffers, as the kernel does without a way to fill several at once: one after the
    /// other, until one is not filled. How many bytes there were, or the error.
    fn fill(&self, tid: pid_t, offset: u64, buffers: &[(u64, u64)]) -> Result<u64, i64> {
        let mut length = 0;
        for (addr, count) in buffers {
            let piece = self.piece(offset + length, *count);
            if !piece.is_empty() && !sys::write_memory(tid, *addr, piece) {
                return if length > 0 { Ok(length) } else { Err(EFAULT) };
            }
            length += piece.len() as u64;
            if (piece.len() as u64) < *count {
                break;
            }
        }
        Ok(length)
    }

    /// The bytes that a read of so many bytes gets from an offset on, as the kernel gives them: whole lines as far as they fit into a
    /// page, where as many were asked for.
    fn piece(&self, offset: u64, count: u64) -> &[u8] {
        const PAGE: usize = 4096;
        let rest = usize::try_from(offset).ok().and_then(|offset| self.text.get(offset..)).unwrap_or_default();
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(rest.len());
        if count <= PAGE || self.kind != Kind::Mappings {
            return &rest[..count];
        }
        let end = rest[..PAGE].iter().rposition(|byte| *byte == b'\n').map_or(PAGE, |last| last + 1);
        &rest[..end]
    }
}

/// Whether a call reads a file, or says where it is read.
pub(super) fn reads(name: &str) -> bool {
    matches!(name, "read" | "pread64" | "readv" | "preadv" | "preadv2" | "lseek")
}

/// Where in a file a call reads, unless that is where it was read last.
pub(super) fn place_of(call: &Call) -> Option<u64> {
    let is_at = match call.name() {
        "pread64" | "preadv" => true,
        "preadv2" => call.args[3] != u64::MAX,
        _ => false,
    };
    is_at.then_some(call.args[3])
}

/// The buffers that a call reads into, by address and length; `None` when the kernel refuses it.
pub(super) fn buffers(tid: pid_t, call: &Call) -> Option<Vec<(u64, u64)>> {
    const END: u64 = 1 << 47;
    if call.name() == "lseek" {
        return Some(Vec::new());
    }
    if matches!(call.name(), "read" | "pread64") {
        return Some(vec![(call.args[1], call.args[2])]);
    }
    if call.name() == "preadv2" && call.int(5) & !libc::RWF_HIPRI != 0 {
        return None;
    }
    let buffers = vector(tid, call.args[1], call.args[2])?;
    buffers.iter().all(|(addr, length)| addr.checked_add(*length).is_some_and(|end| end < END)).then_some(buffers)
}

/// A table of addresses and lengths in the memory of a task, struct iovec; `None` when the kernel does not take it.
pub(super) fn vector(tid: pid_t, addr: u64, count: u64) -> Option<Vec<(u64, u64)>> {
    const MOST: u64 = libc::UIO_MAXIOV as u64;
    const PIECE: usize = size_of::<libc::iovec>();
    let mut table = vec![0; usize::try_from(count).ok().filter(|_| count <= MOST)? * PIECE];
    let is_there = table.is_empty() || sys::read_pieces(tid, &[(addr, table.len())], &mut table) == table.len();
    is_there.then(|| table.chunks_exact(PIECE).map(|piece| (word_of(&piece[..8]), word_of(&piece[8..]))).collect())
}

/// The addresses that a line of such a file is about; `None` of a line that says more of the mapping before.
fn addresses(line: &[u8]) -> Option<Range<u64>> {
    let end = line.iter().position(|byte| *byte == b' ')?;
    let (start, end) = std::str::from_utf8(&line[..end]).ok()?.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

/// What is left of a range without others.
fn without(range: &Range<u64>, holes: &[Range<u64>]) -> Vec<Range<u64>> {
    holes
        .iter()
        .fold(vec![range.clone()], |left, hole| left.iter().flat_map(|part| guard::outside(part, hole)).collect())
}

/// Whether a line is about the vDSO, or the kernel's data that it reads.
fn is_vdso(line: &[u8]) -> bool {
    let name = line.trim_ascii_end().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    name == b"[vdso]" || name == b"[vvar]" || name.starts_with(b"[vvar_")
}

/// An auxiliary vector in which the vDSO is not named, as on the stack of a new program.
fn without_vdso(vector: &[u8]) -> Vec<u8> {
    const WORD: usize = size_of::<u64>();
    let mut out = vector.to_vec();
    for pair in out.chunks_exact_mut(2 * WORD).filter(|pair| word_of(&pair[..WORD]) == libc::AT_SYSINFO_EHDR) {
        pair[..WORD].copy_from_slice(&libc::AT_IGNORE.to_le_bytes());
    }
    out
}

/// The text of such a file without the mappings in `holes`, and without the vDSO where that is hidden. One that has become one with a
/// mapping of the program is told as what is left of it.
fn told(text: &[u8], holes: &[Range<u64>], hides_vdso: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut is_kept = true;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let Some(range) = addresses(line) else {
            if is_kept {
                out.extend_from_slice(line);
            }
            continue;
        };
        let left = if hides_vdso && is_vdso(line) { Vec::new() } else { without(&range, holes) };
        is_kept = !left.is_empty();
        if left == [range] {
            match twins::own_line(line) {
                Some(own) => out.extend_from_slice(&own),
                None => out.extend_from_slice(line),
            }
            continue;
        }
        let rest = line.iter().position(|byte| *byte == b' ').map_or(&line[line.len()..], |end| &line[end..]);
        for part in left {
            out.extend_from_slice(format!("{:08x}-{:08x}", part.start, part.end).as_bytes());
            out.extend_from_slice(rest);
        }
    }
    out
}

/// The text of such a file in which guarded memory has the protection that its program has asked for.
fn unguarded(mut text: Vec<u8>, guards: &[Guard]) -> Vec<u8> {
    if guards.is_empty() {
        return text;
    }
    for line in text.split_mut(|byte| *byte == b'\n') {
        let guard = addresses(line).and_then(|range| guards.iter().find(|guard| guard.has(range.start)));
        let rights = line.iter().position(|byte| *byte == b' ').and_then(|end| line.get_mut(end + 1..end + 4));
        if let (Some(guard), Some(rights)) = (guard, rights) {
            let all = [(libc::PROT_READ, b'r'), (libc::PROT_WRITE, b'w'), (libc::PROT_EXEC, b'x')];
            for (shown, (right, letter)) in rights.iter_mut().zip(all) {
                *shown = if guard.prot & right as u64 != 0 { letter } else { b'-' };
            }
        }
    }
    text
}

/// What a task has that is the recording's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnderFilter {
    /// It gains no privileges, without the recording too.
    pub gains_nothing: bool,
}

/// The text of `status` with another mask of CPUs: in groups of 32, and as a list (cpuset(7), "FORMATS").
fn told_cpus(text: &[u8], mask: &CpuMask) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if let Some(value) = line.strip_prefix(b"Cpus_allowed:\t") {
            let width = value.trim_ascii_end().len();
            out.extend_from_slice(format!("Cpus_allowed:\t{}\n", mask_of_width(mask, width)).as_bytes());
        } else if line.starts_with(b"Cpus_allowed_list:\t") {
            out.extend_from_slice(format!("Cpus_allowed_list:\t{}\n", list_of(mask)).as_bytes());
        } else {
            out.extend_from_slice(line);
        }
    }
    out
}

/// A mask as the kernel prints it: as many digits as the machine may have CPUs, with a comma before each eight.
fn mask_of_width(mask: &CpuMask, width: usize) -> String {
    let groups = mask.0.iter().rev().flat_map(|word| [word >> 32, word & 0xffff_ffff]);
    let all: Vec<String> = groups.map(|group| format!("{group:08x}")).collect();
    let all = all.join(",");
    all[all.len() - width.min(all.len())..].to_owned()
}

/// The numbers in a mask, with ranges.
fn list_of(mask: &CpuMask) -> String {
    let has = |cpu: usize| mask.0.get(cpu / 64).is_some_and(|word| word & 1 << (cpu % 64) != 0);
    let numbers: Vec<usize> = (0..mask.0.len() * 64).filter(|cpu| has(*cpu)).collect();
    let range = |range: &[usize]| match range {
        [first, .., last] => format!("{first}-{last}"),
        single => single.iter().map(usize::to_string).collect(),
    };
    let ranges: Vec<String> = numbers.chunk_by(|cpu, next| cpu + 1 == *next).map(range).collect();
    ranges.join(",")
}

impl UnderFilter {
    /// The text of `status` as it would be without the recording's filter: `Seccomp_filters` since Linux 5.9 says how many there are.
    fn told(self, text: &[u8]) -> Vec<u8> {
        let own = own_filters(text);
        let mut out = Vec::with_capacity(text.len());
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let value = match line.split(|byte| *byte == b':').next() {
                Some(b"Seccomp") => {
                    if own > 0 {
                        libc::SECCOMP_MODE_FILTER
                    } else {
                        0
                    }
                }
                Some(b"Seccomp_filters") => own,
                Some(b"NoNewPrivs") => self.gains_nothing.into(),
                _ => {
                    out.extend_from_slice(line);
                    continue;
                }
            };
            let name = line.iter().position(|byte| *byte == b':').unwrap_or_default();
            out.extend_from_slice(&line[..name]);
            out.extend_from_slice(format!(":\t{value}\n").as_bytes());
        }
        out
    }
}

/// How many filters a task has by this text of `status`, without that of the recording.
fn own_filters(text: &[u8]) -> u32 {
    let mut lines = text.split(|byte| *byte == b'\n');
    let count = lines.find_map(|line| std::str::from_utf8(line.strip_prefix(b"Seccomp_filters:")?).ok());
    count.and_then(|count| count.trim().parse::<u32>().ok()).unwrap_or(1).saturating_sub(1)
}

/// Why a call that filters the calls of its thread fails without the recording: who gains privileges by exec may not, unless it is
/// privileged itself (seccomp(2)). Under a recording without privilege nobody gains any, and the kernel would let it.
pub(super) fn refused(task: &Task, call: &Call, filtered: UnderFilter) -> Option<i64> {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let filters = match call.name() {
        "seccomp" => call.int(0) as u32 == libc::SECCOMP_SET_MODE_FILTER,
        "prctl" => call.int(0) == libc::PR_SET_SECCOMP && call.args[1] == u64::from(libc::SECCOMP_MODE_FILTER),
        _ => false,
    };
    let may = |capabilities: u64| capabilities & CAP_SYS_ADMIN != 0;
    let is_refused = filters && !filtered.gains_nothing && !sys::effective_capabilities(task.tid).is_ok_and(may);
    is_refused.then_some(-i64::from(libc::EACCES))
}

/// The answer to a call that asks the kernel for such a fact of its own thread, prctl(2).
pub(super) fn asked(task: &Task, call: &Call, filtered: UnderFilter) -> Option<i64> {
    let is_plain = call.args[1..5].iter().all(|argument| *argument == 0);
    match call.int(0) {
        libc::PR_GET_SECCOMP => {
            let text = std::fs::read(format!("/proc/{}/status", task.tid)).ok()?;
            Some(if own_filters(&text) > 0 { libc::SECCOMP_MODE_FILTER.into() } else { 0 })
        }
        // The kernel refuses other arguments.
        libc::PR_GET_NO_NEW_PRIVS if is_plain => Some(filtered.gains_nothing.into()),
        _ => None,
    }
}

/// What is not to be told of recorded tasks.
pub(super) trait Hidden {
    /// Whether programs run without the vDSO.
    fn hides_vdso(&self) -> bool;
    /// What the agent has mapped in a process.
    fn mappings(&self, pid: pid_t) -> Vec<Range<u64>>;
    /// What is guarded there.
    fn guards(&self, pid: pid_t) -> Vec<Guard>;
    /// The CPUs that a task would have; `None` where it has them.
    fn cpus(&self, tid: pid_t) -> Option<CpuMask>;
    /// What a task has of the recording; `None` of one that is not recorded.
    fn under_filter(&self, tid: pid_t) -> Option<UnderFilter>;
}

/// The result of a call about such a file that is not made; what it reads is in the program's memory by then. Nothing when the call
/// is made as it is. `files`: by object.
pub(super) fn answer(files: &mut FxHashMap<u32, Shown>, task: &Task, call: &Call, hidden: &impl Hidden) -> Option<i64> {
    let object = task.fds.borrow().get(call.int(0))?;
    let shown = files.get_mut(&object)?;
    if !shown.answers(call) {
        return None;
    }
    let filtered = hidden.under_filter(shown.tid);
    let cpus = hidden.cpus(shown.tid);
    let has_news = match shown.kind {
        Kind::Status => filtered.is_some() || cpus.is_some(),
        Kind::Auxiliary => hidden.hides_vdso(),
        Kind::Mappings | Kind::Memory => true,
    };
    if !has_news {
        return None;
    }
    let position = match shown.position {
        Some(position) => position,
        None => *shown.position.insert(file_position(task.tid, call.int(0)).unwrap_or(0)),
    };
    if call.name() == "lseek" {
        let offset = call.args[1] as i64;
        let to = match call.int(2) {
            libc::SEEK_SET => Some(offset),
            libc::SEEK_CUR => (position as i64).checked_add(offset),
            _ => None,
        };
        let Some(to) = to.filter(|to| *to >= 0) else { return Some(EINVAL) };
        shown.position = Some(to as u64);
        return Some(to);
    }
    let place = place_of(call);
    let from = place.unwrap_or(position);
    if from > i64::MAX as u64 {
        return Some(EINVAL);
    }
    let buffers = buffers(task.tid, call)?;
    if from == 0 || shown.text.is_empty() {
        let mut text = Vec::new();
        let opened = File::open(format!("/proc/{}/fd/{}", task.tid, call.int(0)));
        opened.and_then(|mut file| file.read_to_end(&mut text)).ok()?;
        shown.text = match shown.kind {
            Kind::Status => {
                if let Some(filtered) = filtered {
                    text = filtered.told(&text);
                }
                if let Some(cpus) = cpus {
                    text = told_cpus(&text, &cpus);
                }
                text
            }
            Kind::Auxiliary => without_vdso(&text),
            Kind::Mappings | Kind::Memory => {
                let text = told(&text, &hidden.mappings(shown.pid), hidden.hides_vdso());
                unguarded(text, &hidden.guards(shown.pid))
            }
        };
    }
    match shown.fill(task.tid, from, &buffers) {
        Ok(length) => {
            if place.is_none() {
                shown.position = Some(from + length);
            }
            Some(length as i64)
        }
        Err(error) => Some(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_show_mappings_are_known() {
        for path in ["/proc/12/maps", "/proc/12/task/13/smaps", "/proc/1/mem", "/proc/7/map_files/1000-2000"] {
            assert!(Shown::of(path.as_bytes()).is_some(), "{path}");
        }
        for path in ["/proc/12/stat", "/proc/meminfo", "/proc/maps", "/tmp/proc/1/maps", "/proc/1/mapsx", ""] {
            assert!(Shown::of(path.as_bytes()).is_none(), "{path}");
        }
        let of = |path: &str| Shown::of(path.as_bytes()).map(|shown| (shown.pid, shown.tid, shown.kind));
        assert_eq!(of("/proc/12/task/13/maps"), Some((12, 13, Kind::Mappings)));
        assert_eq!(of("/proc/12/pagemap"), Some((12, 12, Kind::Memory)));
        assert_eq!(of("/proc/12/status"), Some((12, 12, Kind::Status)));
        assert_eq!(of("/proc/12/task/13/status"), Some((12, 13, Kind::Status)));
        assert!(of("/proc/12").is_none() && of("/proc//status").is_none() && of("/proc/x/status").is_none());
    }

    #[test]
    fn the_recordings_filter_is_not_counted() {
        let told = |filters: u32, gains_nothing| {
            let text = format!("Name:\ta\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t{filters}\nX:\tSeccomp: 2\n");
            String::from_utf8(UnderFilter { gains_nothing }.told(text.as_bytes())).unwrap()
        };
        let none = "Name:\ta\nNoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\nX:\tSeccomp: 2\n";
        assert_eq!(told(1, false), none);
        let two = "Name:\ta\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\nX:\tSeccomp: 2\n";
        assert_eq!(told(3, true), two);
        assert_eq!(own_filters(b"Seccomp:\t2\n"), 0);
    }

    #[test]
    fn cpus_are_told_as_the_kernel_prints_them() {
        let mut mask = CpuMask::single(33);
        mask.0[0] |= 0b1011;
        let told = |text: &str| String::from_utf8(told_cpus(text.as_bytes(), &mask)).unwrap();
        let list = "Cpus_allowed_list:\t0-1,3,33\n";
        assert_eq!(
            told("Cpus_allowed:\t00,00000002\nCpus_allowed_list:\t1\nMems_allowed:\t1\n"),
            format!("Cpus_allowed:\t02,0000000b\n{list}Mems_allowed:\t1\n")
        );
        // As many digits as there may be CPUs.
        assert_eq!(told("Cpus_allowed:\t2\n"), "Cpus_allowed:\tb\n");
        let own = std::fs::read("/proc/thread-self/status").unwrap();
        assert_eq!(told_cpus(&own, &sys::affinity(0).unwrap()), own);
    }

    #[test]
    fn what_is_in_a_hole_is_not_told() {
        let maps = b"1000-2000 r-xp 0 00:00 0\n3000-5000 rw-p 0 00:00 0\n5000-6000 r--p 0 08:01 7 /a-b c\n";
        let told = |holes: &[Range<u64>]| String::from_utf8(told(maps, holes, false)).unwrap();
        assert_eq!(
            told(std::slice::from_ref(&(0x3000..0x5000))),
            "1000-2000 r-xp 0 00:00 0\n5000-6000 r--p 0 08:01 7 /a-b c\n"
        );
        let cut = told(&[0x3800..0x4000, 0x1000..0x2000]);
        assert_eq!(
            cut,
            "00003000-00003800 rw-p 0 00:00 0\n00004000-00005000 rw-p 0 00:00 0\n5000-6000 r--p 0 08:01 7 /a-b c\n"
        );
        assert_eq!(told(&[]).as_bytes(), maps);
        let smaps = b"1000-2000 r-xp 0 00:00 0\nSize: 4 kB\nVmFlags: rd ex\n3000-5000 rw-p 0 00:00 0\nSize: 8 kB\n";
        assert_eq!(
            super::told(smaps, std::slice::from_ref(&(0x1000..0x2000)), false),
            b"3000-5000 rw-p 0 00:00 0\nSize: 8 kB\n"
        );
    }

    #[test]
    fn guarded_memory_has_the_rights_that_its_program_wants() {
        let maps =
            b"1000-2000 r-xp 0 00:00 0\n3000-5000 ---s 0 08:01 7 /a b\nRss: 0 kB\n5000-6000 ---s 0 08:01 7 /a b\n";
        let guard = Guard { start: 0x3000, length: 0x2000, prot: 3 };
        let shown = String::from_utf8(unguarded(maps.to_vec(), &[guard])).unwrap();
        assert_eq!(shown, String::from_utf8_lossy(maps).replacen("---s", "rw-s", 1));
        assert_eq!(unguarded(maps.to_vec(), &[]), maps);
    }

    #[test]
    fn the_vdso_is_hidden() {
        let stack = "3000-4000 rw-p 0 00:00 0                          [stack]\n";
        let vdso = "1000-2000 r--p 0 00:00 0  [vvar]\nVmFlags: rd\n2000-3000 r--p 0 00:00 0  [vvar_vclock]\n\
                    4000-5000 r-xp 0 00:00 0  [vdso]\nSize: 4 kB\n";
        let file = "5000-6000 r-xp 0 08:01 7 /[vdso]\n";
        let text = format!("{stack}{vdso}{file}");
        assert_eq!(told(text.as_bytes(), &[], true), format!("{stack}{file}").into_bytes());
        assert_eq!(told(text.as_bytes(), &[], false), text.into_bytes());
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let vector = words(&[16, 33, 33, 0x7fff_0000, 6, 4096, 0, 0]);
        assert_eq!(without_vdso(&vector), words(&[16, 33, 1, 0x7fff_0000, 6, 4096, 0, 0]));
    }

    #[test]
    fn pieces_end_at_lines_where_more_than_a_page_is_asked_for() {
        let text: Vec<u8> = std::iter::repeat_n(*b"0123456789\n", 1000).flatten().collect();
        let shown = Shown { text, ..Shown::of(b"/proc/1/maps").unwrap() };
        assert_eq!(shown.piece(0, 100).len(), 100);
        assert_eq!(shown.piece(0, 1 << 20).len(), 4092);
        assert_eq!(shown.piece(10_999, 1 << 20), b"\n");
        assert!(shown.piece(11_000, 1).is_empty() && shown.piece(u64::MAX, 1).is_empty());
    }
}
