//! The whole state of a thread that is stopped in the middle of its own code, as a hash: what must be equal for the
//! future to be equal. The recorder stores it where it preempts a thread, replay looks for the moment at which it recurs.

use std::cell::RefCell;
use std::ops::Range;

use libc::pid_t;

use crate::image;
use crate::sys::{self, Pagemap};

const PAGE: u64 = 4096;
/// Pages of the longest window.
const WINDOW_PAGES: u64 = 512;

/// A part of a tracee's writable memory.
#[derive(Clone, Copy)]
pub struct Window {
    pub at: u64,
    /// At most 2 MiB.
    pub length: u64,
    /// Whether it belongs to a mapping that other processes may have too.
    pub shared: bool,
}

/// A hole that leaves nothing of memory.
pub const EVERYTHING: (u64, u64) = (0, u64::MAX);

/// What a hash of memory leaves out.
#[derive(Clone, Copy)]
pub struct Uncounted<'a> {
    /// Where calls that have not been committed may have written, and other memory that is nobody's: address and length.
    pub holes: &'a [(u64, u64)],
    /// What programs have kept of this processor's answers.
    pub answers: Option<ProcessorAnswers>,
}

/// How a program's own copy of what `cpuid` has told it is known: by EAX and EBX of leaf 1, side by side. Where `cpuid` cannot be
/// caught, what follows them tells on which CPU it was asked (of EBX the upper byte, of leaves 11 and 0x8000001e more): replay may be on
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorAnswers {
    signature: u32,
    /// Without the number of the CPU.
    features: u32,
}

impl ProcessorAnswers {
    /// Of EBX: all but the number of the CPU.
    const OF_ALL_CPUS: u32 = 0x00ff_ffff;
    const WORD: usize = 4;
    /// From EAX on: programs keep a handful of leaves together, in the order in which they asked for them.
    const KEPT: usize = 512;

    /// Those of the processor that this runs on.
    #[must_use]
    pub fn own() -> ProcessorAnswers {
        let told = sys::cpuid(1, 0);
        ProcessorAnswers { signature: told.eax, features: told.ebx & Self::OF_ALL_CPUS }
    }

    /// As one number, which is never 0.
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.features) << 32 | u64::from(self.signature)
    }

    #[must_use]
    pub fn of_number(number: u64) -> Option<ProcessorAnswers> {
        let features = (number >> 32) as u32 & Self::OF_ALL_CPUS;
        (number != 0).then_some(ProcessorAnswers { signature: number as u32, features })
    }

    /// Makes zeros of all copies in a piece of memory that begins at a word.
    fn blank(self, bytes: &mut [u8]) {
        let word = |bytes: &[u8], at: usize| {
            bytes.get(at..at + Self::WORD).map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default()))
        };
        let signature = self.signature.to_le_bytes();
        let mut from = 0;
        while let Some(found) = memchr::memmem::find(&bytes[from..], &signature) {
            let at = from + found;
            let features = word(bytes, at + Self::WORD).map(|word| word & Self::OF_ALL_CPUS);
            if at.is_multiple_of(Self::WORD) && features == Some(self.features) {
                from = bytes.len().min(at + Self::KEPT);
                bytes[at..from].fill(0);
            } else {
                from = at + 1;
            }
        }
    }
}

/// Hash of the vector registers of a stopped thread and of memory: of its `windows`, without what is `uncounted`. Pages of zeros do
/// not count: whether they are there depends on the kernel.
#[must_use]
pub fn state_hash(tid: pid_t, windows: &[Window], uncounted: Uncounted<'_>) -> [u8; 32] {
    let mut vector = [0_u8; sys::MOST_VECTOR_STATE];
    let length = sys::vector_registers(tid, &mut vector).unwrap_or(0);
    plain_vector_state(&mut vector);
    MEMORY_HASHER.with_borrow_mut(|hasher| {
        hasher.begin(&vector[..length]);
        for window in windows {
            hasher.window(tid, window, uncounted);
        }
        hasher.finish()
    })
}

/// A hash of memory in the making.
struct MemoryHasher {
    hasher: blake3::Hasher,
    /// What a window holds.
    window: Vec<u8>,
    /// What is hashed next: many pages at once, whose blocks BLAKE3 takes side by side.
    next: Vec<u8>,
}

thread_local! {
    /// Kept: new memory has to be made by the kernel, page by page.
    static MEMORY_HASHER: RefCell<MemoryHasher> = RefCell::new(MemoryHasher::new());
}

impl MemoryHasher {
    const NEXT_BYTES: usize = 128 << 10;

    fn new() -> MemoryHasher {
        MemoryHasher { hasher: blake3::Hasher::new(), window: Vec::new(), next: Vec::with_capacity(Self::NEXT_BYTES) }
    }

    fn begin(&mut self, with: &[u8]) {
        self.hasher.reset();
        self.next.clear();
        self.next.extend_from_slice(with);
    }

    /// Adds the pages of a window that are not all zeros, each with its address.
    fn window(&mut self, tid: pid_t, window: &Window, uncounted: Uncounted<'_>) {
        const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];
        let at = window.at;
        self.window.clear();
        sys::read_behind(tid, at, window.length as usize, &mut self.window);
        let end = at + self.window.len() as u64;
        if let Some(answers) = uncounted.answers {
            answers.blank(&mut self.window);
        }
        for &(start, length) in uncounted.holes {
            let (first, last) = (start.max(at), start.saturating_add(length).min(end));
            if first < last {
                self.window[(first - at) as usize..(last - at) as usize].fill(0);
            }
        }
        for (index, page) in self.window.chunks(PAGE as usize).enumerate() {
            if *page != ZEROS[..page.len()] {
                self.next.extend_from_slice(&(at + index as u64 * PAGE).to_le_bytes());
                self.next.extend_from_slice(page);
            }
            if self.next.len() + size_of::<u64>() + PAGE as usize > Self::NEXT_BYTES {
                self.hasher.update(&self.next);
                self.next.clear();
            }
        }
    }

    fn finish(&mut self) -> [u8; 32] {
        self.hasher.update(&self.next);
        self.next.clear();
        *self.hasher.finalize().as_bytes()
    }
}

/// The parts of a tracee's writable memory that may have content of their own. Memory that only the kernel writes (`[vvar]`,
/// `[vdso]`) is left out, and so are the mappings that start at the addresses in `except`.
///
/// Of shared memory these are the parts that this process has touched: what others have put into the rest cannot be told
/// without filling it with pages. Which parts those are depends on who reads the process's memory and how, so that replay is
/// told them: `shared`, address and length, in their order.
#[must_use]
pub fn windows(tid: pid_t, except: &[u64], shared: Option<&[(u64, u64)]>) -> Vec<Window> {
    let pagemap = Pagemap::open(tid).ok();
    let mut found = Vec::new();
    for mapping in image::mappings(tid) {
        let kernels = mapping.path.starts_with(b"[v");
        if mapping.prot & 2 == 0 || kernels || except.contains(&mapping.start) {
            continue;
        }
        let end = mapping.start.saturating_add(mapping.length);
        if let Some(told) = shared.filter(|_| mapping.shared) {
            let inside = told.iter().filter(|(at, length)| *at >= mapping.start && at.saturating_add(*length) <= end);
            found.extend(inside.map(|(at, length)| Window { at: *at, length: *length, shared: true }));
            continue;
        }
        // A page of a file has content also where nobody has looked at it yet.
        let has_content = mapping.ino != 0 && !mapping.shared;
        let whole = || std::iter::once(mapping.start..end).collect();
        let touched = pagemap.as_ref().filter(|_| !has_content).and_then(|map| map.touched(mapping.start..end).ok());
        let parts = in_windows(mapping.start, &touched.unwrap_or_else(whole));
        found.extend(parts.into_iter().map(|(at, length)| Window { at, length, shared: mapping.shared }));
    }
    found
}

/// Takes out of an XSAVE image (Intel SDM volume 1, 13.4) what may differ without any difference for the program: which
/// components the processor counts as in use (unused ones are filled in with what they begin with), where the last x87
/// instruction stood, and x87 registers that are empty.
fn plain_vector_state(image: &mut [u8]) {
    const LAST_INSTRUCTION: std::ops::Range<usize> = 6..24;
    const REGISTERS: usize = 32;
    const SOFTWARE: std::ops::Range<usize> = 464..512;
    const IN_USE: std::ops::Range<usize> = 512..528;
    if image.len() < IN_USE.end {
        return;
    }
    let top = usize::from(image[3] >> 3 & 7);
    let full = image[4];
    for index in 0..8 {
        if full & 1 << ((top + index) & 7) == 0 {
            image[REGISTERS + index * 16..REGISTERS + (index + 1) * 16].fill(0);
        }
    }
    for range in [LAST_INSTRUCTION, SOFTWARE, IN_USE] {
        image[range].fill(0);
    }
}

/// Parts of a mapping, cut where windows of it begin: addresses and lengths. Where they are strewn over a window, they are one part.
fn in_windows(start: u64, parts: &[Range<u64>]) -> Vec<(u64, u64)> {
    const MOST: usize = 32;
    const BYTES: u64 = WINDOW_PAGES * PAGE;
    let window_of = |at: u64| (at - start) / BYTES;
    let mut cut: Vec<(u64, u64)> = Vec::new();
    for part in parts {
        let mut at = part.start;
        while at < part.end {
            let end = part.end.min(start + (window_of(at) + 1) * BYTES);
            cut.push((at, end - at));
            at = end;
        }
    }
    let windows = cut.chunk_by(|one, other| window_of(one.0) == window_of(other.0));
    windows
        .flat_map(|parts| match parts {
            [(first, _), .., (last, length)] if parts.len() > MOST => vec![(*first, last + length - first)],
            _ => parts.to_vec(),
        })
        .collect()
}

/// Whether two sets of registers are the same place: all but what only says how the thread was stopped.
#[must_use]
pub fn same_registers(one: &libc::user_regs_struct, other: &libc::user_regs_struct) -> bool {
    /// Resume flag and trap flag: how a debugger let the thread go on.
    const DEBUG_FLAGS: u64 = 1 << 16 | 1 << 8;
    let place = |regs: &libc::user_regs_struct| {
        let mut regs = *regs;
        regs.orig_rax = 0;
        regs.eflags &= !DEBUG_FLAGS;
        sys::register_bytes(&regs)
    };
    place(one) == place(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Uncounted<'static> = Uncounted { holes: &[], answers: None };

    /// Another process, or the state would change with the stack that looks at it. It goes with its owner.
    struct Stopped(pid_t);

    impl Stopped {
        fn new() -> Stopped {
            // SAFETY: the child only stops, and ends if it is ever continued.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: both are async-signal-safe.
                unsafe {
                    libc::raise(libc::SIGSTOP);
                    libc::_exit(0);
                }
            }
            let child = Stopped(child);
            // SAFETY: waits until the child has stopped; no pointer is kept.
            unsafe { libc::waitpid(child.0, std::ptr::null_mut(), libc::WUNTRACED) };
            child
        }
    }

    impl Drop for Stopped {
        fn drop(&mut self) {
            let _ = sys::kill(self.0, libc::SIGKILL);
            // SAFETY: reaps the child; no pointer is kept.
            unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
        }
    }

    #[test]
    fn vector_state_is_what_the_program_can_see() {
        let mut image = vec![1_u8; 832];
        // Top of the stack is register 6, and registers 6 and 7 are full: ST(0) and ST(1).
        (image[3], image[4]) = (6 << 3, 0xc0);
        plain_vector_state(&mut image);
        assert_eq!((image[0], image[3], image[4]), (1, 6 << 3, 0xc0));
        assert!(image[6..24].iter().all(|byte| *byte == 0));
        assert!(image[24..64].iter().all(|byte| *byte == 1));
        assert!(image[64..160].iter().all(|byte| *byte == 0));
        assert!(image[160..464].iter().chain(&image[528..]).all(|byte| *byte == 1));
        assert!(image[464..528].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn copies_of_what_cpuid_told_are_blank() {
        let answers = ProcessorAnswers { signature: 0x00a1_0f11, features: 0x0002_0800 };
        assert_eq!(ProcessorAnswers::of_number(answers.number()), Some(answers));
        assert_eq!(ProcessorAnswers::of_number(0), None);
        let told_on = |cpu: u8| {
            let mut bytes = vec![7_u8; 1024];
            bytes[64..68].copy_from_slice(&answers.signature.to_le_bytes());
            bytes[128..136].copy_from_slice(&(answers.number() | u64::from(cpu) << 56).to_le_bytes());
            bytes[200] = cpu;
            answers.blank(&mut bytes);
            bytes
        };
        assert_eq!(told_on(0), told_on(1));
        assert!(told_on(1)[128..128 + ProcessorAnswers::KEPT].iter().all(|byte| *byte == 0));
        assert!(told_on(1)[128 + ProcessorAnswers::KEPT..].iter().all(|byte| *byte == 7));
        // At the end of a piece, and where only one of the words is the same, or both are no words.
        let mut end = [answers.number().to_le_bytes(), [1; 8]].concat();
        answers.blank(&mut end);
        assert_eq!(end, [0; 16]);
        for others in [answers.number() ^ 1, answers.number() ^ 1 << 32] {
            let mut bytes = others.to_le_bytes();
            answers.blank(&mut bytes);
            assert_eq!(bytes, others.to_le_bytes());
        }
        let beside = [&[1][..], &answers.number().to_le_bytes(), &[1; 7]].concat();
        let mut blanked = beside.clone();
        answers.blank(&mut blanked);
        assert_eq!(blanked, beside);
    }

    #[test]
    fn a_kept_number_of_a_cpu_does_not_change_the_hash() {
        let mut kept = Box::new([0_u64; 8]);
        let answers = ProcessorAnswers::own();
        kept[0] = answers.number();
        let child = Stopped::new();
        let hash = |answers| state_hash(child.0, &windows(child.0, &[], None), Uncounted { answers, ..EVERYTHING });
        let before = [hash(Some(answers)), hash(None)];
        let of_another = answers.number() ^ 1 << 56;
        assert!(sys::write_memory(child.0, kept.as_ptr() as u64, &of_another.to_le_bytes()));
        assert_eq!(hash(Some(answers)), before[0]);
        assert_ne!(hash(None), before[1]);
    }

    #[test]
    fn memory_changes_the_hash_and_reading_does_not() {
        let page = Box::new([7_u8; 64]);
        let child = Stopped::new();
        let hash = || state_hash(child.0, &windows(child.0, &[], None), EVERYTHING);
        let before = hash();
        assert_eq!(before, hash());
        assert!(sys::write_memory(child.0, page.as_ptr() as u64, &[8]));
        assert_ne!(before, hash());
    }

    #[test]
    fn shared_memory_counts_as_it_was_told() {
        let (length, flags) = (PAGE as usize, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, which no reference points to.
        let page =
            unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: the page is writable and of this test alone.
        unsafe { page.cast::<u8>().write(1) };
        let child = Stopped::new();
        let at = page as u64;
        let told = [(at, PAGE)];
        let counts = |shared| windows(child.0, &[], shared).iter().any(|window| window.at == at && window.shared);
        assert!(!counts(None), "the child has not touched it");
        assert!(counts(Some(&told)) && !counts(Some(&[])));
        let mut byte = [0];
        assert_eq!(sys::read_pieces(child.0, &[(at, 1)], &mut byte), 1);
        assert!(counts(None) && !counts(Some(&[])), "whoever reads it has touched it for the child");
        // SAFETY: nothing refers to the page any more.
        unsafe { libc::munmap(page, length) };
    }

    #[test]
    fn looking_at_sparse_shared_memory_does_not_fill_it() {
        const PAGES: u64 = 3 * WINDOW_PAGES;
        let (length, flags) = ((PAGES * PAGE) as usize, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, which no reference points to.
        let pages =
            unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        assert_ne!(pages, libc::MAP_FAILED);
        let child = Stopped::new();
        let start = pages as u64;
        let own = || -> Vec<(u64, u64)> {
            let windows = windows(child.0, &[], None).into_iter();
            let inside = windows.filter(|window| window.shared && (start..start + PAGES * PAGE).contains(&window.at));
            inside.map(|window| ((window.at - start) / PAGE, window.length / PAGE)).collect()
        };
        let mut byte = [0];
        for page in [3, 4, 600] {
            assert_eq!(sys::read_pieces(child.0, &[(start + page * PAGE, 1)], &mut byte), 1);
        }
        assert_eq!(own(), [(3, 2), (600, 1)]);
        let _ = state_hash(child.0, &windows(child.0, &[], None), EVERYTHING);
        assert_eq!(own(), [(3, 2), (600, 1)]);
        // Strewn all over, they are one part.
        for page in (WINDOW_PAGES..2 * WINDOW_PAGES).step_by(8) {
            assert_eq!(sys::read_pieces(child.0, &[(start + page * PAGE, 1)], &mut byte), 1);
        }
        assert_eq!(own(), [(3, 2), (WINDOW_PAGES, WINDOW_PAGES - 7)]);
        // SAFETY: nothing refers to the pages any more.
        unsafe { libc::munmap(pages, length) };
    }
}
