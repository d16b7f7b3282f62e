//! Events of one thread that are put off: what the agent in the tracee needs to answer their calls, in the layout of
//! `trace_format::answers`.

use std::sync::LazyLock;

use trace_format::answers::{ANSWERS, ANSWERS_BYTES, answer, piece};
use trace_format::column::Columns;
use trace_format::event::{EventKind, Trap, flag};
use trace_format::ring::record;
use trace_format::table::Arch;

use super::event::{Captured, Event};
use crate::agent::window::Kind;
use crate::capture;
use crate::plan;

/// Contents from this length on are not copied before they are written into the tracee.
const LONG: usize = 1024;
/// Numbers of calls that are looked up.
const NUMBERS: usize = 512;

/// What replay does for a call that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Compares, writes what the kernel wrote, and gives the result.
    Answers,
    /// The same, and remembers what it says of signals.
    Remembers,
    /// The same, unless a file changes that somebody has mapped.
    Grows,
    /// More, unless it is a small file, and where it is mapped its pages stay (`lent.rs`).
    Maps,
    /// More, or nobody knows.
    Special,
}

static MANNERS: LazyLock<[Manner; NUMBERS]> = LazyLock::new(|| {
    let manner = |number: usize| match plan::by_number(Arch::X86_64, number as u32) {
        Some(plan) => manner_of(plan.row.name),
        None => Manner::Special,
    };
    std::array::from_fn(manner)
});

fn manner_of(name: &str) -> Manner {
    match name {
        "rt_sigaction" | "rt_sigprocmask" => Manner::Remembers,
        "ftruncate" | "fallocate" | "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => Manner::Grows,
        "mmap" | "munmap" => Manner::Maps,
        "mprotect" | "pkey_mprotect" | "mremap" | "brk" | "madvise" | "remap_file_pages" | "shmat" | "shmdt"
        | "sigaltstack" | "arch_prctl" | "modify_ldt" | "prlimit64" | "setrlimit" | "pkey_alloc" | "pkey_free"
        | "map_shadow_stack" | "clone" | "clone3" | "fork" | "vfork" | "execve" | "execveat" | "rt_sigreturn"
        | "exit" | "exit_group" | "prctl" | "sched_setaffinity" => Manner::Special,
        _ => Manner::Answers,
    }
}

/// What replay does for an event, apart from what comes after it.
#[must_use]
pub fn manner(event: &Event<'_>) -> Manner {
    /// From ERESTARTSYS to ERESTART_RESTARTBLOCK (include/linux/errno.h).
    const RESTARTS: std::ops::RangeInclusive<i64> = -516..=-512;
    if counts(event).is_some() {
        return Manner::Answers;
    }
    let is_plain = event.kind() == EventKind::Call
        && event.arch() == Arch::X86_64 as u8
        && event.flags() & flag::NO_RETURN == 0
        && !RESTARTS.contains(&event.ret());
    if !is_plain {
        return Manner::Special;
    }
    let manner = MANNERS.get(event.code() as u32 as usize).copied().unwrap_or(Manner::Special);
    // Nothing came of it.
    if manner != Manner::Special && capture::is_error(event.ret()) { Manner::Answers } else { manner }
}

/// The instruction that has read the time stamp counter, if the event is about one.
#[must_use]
pub fn counts(event: &Event<'_>) -> Option<Kind> {
    let trap = (event.kind() == EventKind::Trap).then(|| Trap::from_code(event.code()))??;
    Kind::of_trap(trap)
}

/// Answers for a thread.
#[derive(Default)]
pub struct Answers {
    /// All but long contents.
    bytes: Vec<u8>,
    /// How much of `bytes` comes before a long content, and where that is among the bytes of the block.
    long: Vec<(usize, usize, usize)>,
    /// Bytes of all answers.
    size: u64,
    /// Number of the event, and where its answer begins.
    events: Vec<(u64, u64)>,
}

impl Answers {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.long.clear();
        self.events.clear();
        self.size = 0;
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Number of the event of an answer.
    #[must_use]
    pub fn seq(&self, index: usize) -> Option<u64> {
        self.events.get(index).map(|event| event.0)
    }

    /// Where an answer is in the tracee, or the end of all.
    #[must_use]
    pub fn addr(&self, base: u64, index: usize) -> u64 {
        base + ANSWERS + self.events.get(index).map_or(self.size, |event| event.1)
    }

    /// Which answer begins there, or how many there are when that is the end; `None` when it is neither.
    #[must_use]
    pub fn at(&self, base: u64, addr: u64) -> Option<usize> {
        let offset = addr.checked_sub(base + ANSWERS)?;
        if offset == self.size {
            return Some(self.events.len());
        }
        self.events.binary_search_by_key(&offset, |event| event.1).ok()
    }

    /// Adds the answer of an event, and what is written beside the memory in it; `false` when there is no room for it.
    pub fn add(&mut self, event: &Event<'_>, columns: &Columns, more: [(u64, &[u8]); 2]) -> bool {
        let length = |bytes: &[u8]| piece::BYTES + (bytes.len() as u64).next_multiple_of(8);
        let (mut compared, mut written, mut size) = (0_u32, 0_u32, answer::BYTES);
        for captured in event.captures() {
            if captured.is_input() {
                compared += 1;
                size += length(captured.bytes);
            } else if captured.is_output() {
                written += 1;
                size += length(captured.bytes);
            }
        }
        let more = more.into_iter().filter(|(_, bytes)| !bytes.is_empty());
        for (_, bytes) in more.clone() {
            written += 1;
            size += length(bytes);
        }
        if size > ANSWERS_BYTES - self.size {
            return false;
        }
        let mut head = [0; answer::BYTES as usize];
        let mut half = |offset: u64, value: u32| {
            head[offset as usize..offset as usize + 4].copy_from_slice(&value.to_le_bytes());
        };
        // Of a time stamp: the counter is the result, and what is in `ecx` the first argument.
        let counter = counts(event);
        let number = counter.map_or(event.code() as u32, |kind| (record::INSTRUCTIONS | kind.told()) as u32);
        half(answer::SIZE, size as u32);
        half(answer::NUMBER, number);
        half(answer::NARGS, event.nargs() as u32);
        half(answer::COMPARED, compared);
        half(answer::WRITTEN, written);
        let mut word = |offset: u64, value: u64| {
            head[offset as usize..offset as usize + 8].copy_from_slice(&value.to_le_bytes());
        };
        word(answer::RESULT, if counter.is_some() { event.arg(0) } else { event.ret() as u64 });
        word(answer::IP, event.ip().wrapping_add(counter.map_or(0, Kind::length)));
        word(answer::SP, event.sp());
        let first = usize::from(counter.is_some());
        for index in first..event.nargs() {
            word(answer::ARGS + (index - first) as u64 * 8, event.arg(index));
        }
        self.bytes.extend_from_slice(&head);
        let mut add = |captured: Captured<'_>| self.add_piece(captured.addr, captured.bytes, columns);
        if compared > 0 {
            event.captures().filter(Captured::is_input).for_each(&mut add);
        }
        if written > 0 {
            event.captures().filter(Captured::is_output).for_each(add);
            more.for_each(|(addr, bytes)| self.add_piece(addr, bytes, columns));
        }
        self.events.push((event.seq(), self.size));
        self.size += size;
        true
    }

    fn add_piece(&mut self, addr: u64, bytes: &[u8], columns: &Columns) {
        let length = bytes.len();
        self.bytes.extend_from_slice(&addr.to_le_bytes());
        self.bytes.extend_from_slice(&(length as u64).to_le_bytes());
        if length >= LONG && columns.bytes.as_ptr_range().contains(&bytes.as_ptr()) {
            let start = bytes.as_ptr() as usize - columns.bytes.as_ptr() as usize;
            self.long.push((self.bytes.len(), start, length));
        } else {
            self.bytes.extend_from_slice(bytes);
            self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        }
    }

    /// All answers in pieces, with their addresses in the tracee. `contents` are the bytes of the block of the events.
    pub fn pieces<'a>(&'a self, base: u64, contents: &'a [u8]) -> impl Iterator<Item = (u64, &'a [u8])> {
        let mut addr = base + ANSWERS;
        let mut from = 0;
        let ends = self.long.iter().map(|(at, start, length)| (*at, contents.get(*start..*start + *length)));
        ends.chain([(self.bytes.len(), None)]).flat_map(move |(to, long)| {
            let short = &self.bytes[from..to];
            let long = long.unwrap_or_default();
            let pieces = [(addr, short), (addr + short.len() as u64, long)];
            addr += short.len() as u64 + (long.len() as u64).next_multiple_of(8);
            from = to;
            pieces.into_iter().filter(|(_, bytes)| !bytes.is_empty())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x7000_0000;
    const NO_MORE: [(u64, &[u8]); 2] = [(0, &[]); 2];

    /// A block with calls of one number; each has these contents at 0x1000: compared, or else written.
    fn block(calls: &[&[(bool, usize)]]) -> Columns {
        let mut columns = Columns { count: calls.len() as u32, first_seq: 100, ..Columns::default() };
        columns.content_start.push(0);
        columns.cap_start.push(0);
        for captures in calls {
            columns.kind.push(EventKind::Call as u8);
            columns.flags.push(0);
            columns.arch.push(Arch::X86_64 as u8);
            columns.code.push(0);
            columns.nargs.push(2);
            columns.ret.extend([7, 0]);
            columns.args.extend([1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            columns.ip.extend([0x40, 1]);
            columns.sp.extend([0x50, 2]);
            for (compared, length) in *captures {
                columns.cap_slot.push(1);
                columns.cap_side.push(u8::from(!compared));
                columns.cap_addr.extend([0x1000, 0]);
                columns.cap_content.push(columns.content_start.len() as u32 - 1);
                columns.bytes.extend((0..*length).map(|at| at as u8));
                columns.content_start.push(columns.bytes.len() as u32);
            }
            columns.cap_start.push(columns.cap_slot.len() as u32);
        }
        columns
    }

    /// What the tracee has where answers are.
    fn placed(answers: &Answers, columns: &Columns) -> Vec<u8> {
        let mut memory = vec![0xee; answers.size as usize];
        for (addr, bytes) in answers.pieces(BASE, &columns.bytes) {
            let at = (addr - BASE - ANSWERS) as usize;
            memory[at..at + bytes.len()].copy_from_slice(bytes);
        }
        memory
    }

    fn word(memory: &[u8], at: u64) -> u64 {
        u64::from_le_bytes(memory[at as usize..at as usize + 8].try_into().unwrap())
    }

    #[test]
    fn answers_lie_one_behind_the_other_long_contents_among_them() {
        let calls: [&[(bool, usize)]; 4] =
            [&[], &[(false, 5), (true, 3)], &[(true, 2000)], &[(false, 1025), (false, 8)]];
        let columns = block(&calls);
        let mut answers = Answers::default();
        for row in 0..4 {
            assert!(answers.add(&Event::new(&columns, row), &columns, NO_MORE));
        }
        let memory = placed(&answers, &columns);
        let starts: Vec<u64> = (0..4).map(|index| answers.addr(BASE, index) - BASE - ANSWERS).collect();
        let sizes: Vec<u64> = starts.iter().map(|start| word(&memory, *start) & 0xffff_ffff).collect();
        let rounded = |lengths: &[u64]| answer::BYTES + lengths.iter().map(|length| 16 + length).sum::<u64>();
        assert_eq!(sizes, [rounded(&[]), rounded(&[8, 8]), rounded(&[2000]), rounded(&[1032, 8])]);
        assert_eq!(starts, [0, sizes[0], sizes[0] + sizes[1], sizes[0] + sizes[1] + sizes[2]]);
        // What is compared comes first.
        let first = starts[1] + answer::BYTES;
        assert_eq!([word(&memory, first), word(&memory, first + 8), word(&memory, first + 16)], [0x1000, 3, 0x02_0100]);
        assert_eq!(word(&memory, first + 24 + 8), 5);
        let long = (starts[3] + answer::BYTES + piece::BYTES) as usize;
        assert_eq!(memory[long..long + 1025], columns.bytes[2008..3033]);
        assert_eq!(word(&memory, starts[3] + answer::BYTES + 16 + 1032), 0x1000);
    }

    #[test]
    fn what_is_written_beside_the_memory_of_an_event_comes_last() {
        let columns = block(&[&[(false, 5)]]);
        let more = [(0x2000, &columns.bytes[1..4]), (0x2003, &[0; 3000][..])];
        let mut answers = Answers::default();
        assert!(answers.add(&Event::new(&columns, 0), &columns, more));
        let memory = placed(&answers, &columns);
        let half = |at: u64| u32::from_le_bytes(memory[at as usize..at as usize + 4].try_into().unwrap());
        assert_eq!((half(answer::COMPARED), half(answer::WRITTEN)), (0, 3));
        let (second, third) = (answer::BYTES + 24, answer::BYTES + 48);
        assert_eq!(
            [word(&memory, second), word(&memory, second + 8), word(&memory, second + 16)],
            [0x2000, 3, 0x03_0201]
        );
        assert_eq!([word(&memory, third), word(&memory, third + 8)], [0x2003, 3000]);
        assert!(
            memory.len() as u64 == third + 16 + 3000 && memory[third as usize + 16..].iter().all(|byte| *byte == 0)
        );
    }

    #[test]
    fn only_the_starts_of_answers_are_positions() {
        let columns = block(&[&[], &[(false, 20)]]);
        let mut answers = Answers::default();
        for row in 0..2 {
            answers.add(&Event::new(&columns, row), &columns, NO_MORE);
        }
        let start = BASE + ANSWERS;
        let end = start + answers.size;
        assert_eq!([start, start + answer::BYTES, end].map(|addr| answers.at(BASE, addr)), [Some(0), Some(1), Some(2)]);
        for addr in [0, start - 1, start + 1, start + 8, end - 8, end + 8, u64::MAX, BASE] {
            assert_eq!(answers.at(BASE, addr), None, "{addr:#x}");
        }
        assert_eq!((answers.seq(1), answers.seq(2)), (Some(101), None));
        assert_eq!((answers.addr(BASE, 2), answers.addr(BASE, 9)), (end, end));
    }

    #[test]
    fn what_does_not_fit_is_left() {
        let columns = block(&[&[(false, 200 << 10)], &[(true, 60 << 10)], &[]]);
        let mut answers = Answers::default();
        assert!(answers.add(&Event::new(&columns, 0), &columns, NO_MORE));
        assert!(!answers.add(&Event::new(&columns, 1), &columns, NO_MORE));
        assert!(answers.add(&Event::new(&columns, 2), &columns, NO_MORE));
        assert_eq!(answers.len(), 2);
        answers.clear();
        assert!(answers.is_empty() && answers.add(&Event::new(&columns, 1), &columns, NO_MORE));
        assert_eq!(placed(&answers, &columns).len() as u64, answers.size);
    }

    #[test]
    fn calls_that_change_the_process_are_special() {
        let number = |name: &str| trace_format::syscalls::by_name(Arch::X86_64, name).unwrap().number.x86_64;
        let manner = |name: &str| MANNERS[number(name) as usize];
        assert_eq!(manner("getppid"), Manner::Answers);
        assert_eq!(manner("write"), Manner::Grows);
        assert_eq!(manner("rt_sigaction"), Manner::Remembers);
        assert_eq!(manner("mmap"), Manner::Maps);
        for name in ["mremap", "clone3", "execve", "rt_sigreturn", "exit_group", "brk", "arch_prctl", "prctl"] {
            assert_eq!(manner(name), Manner::Special, "{name}");
        }
    }
}
