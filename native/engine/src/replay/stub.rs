//! The program that every replayed process starts as: a page of code that makes calls on behalf of the engine, and pages for
//! their arguments and results. It stands at an address that no recorded program uses, and everything else is unmapped.
//!
//! House rules: the code uses no stack, no SIMD register and no memory but its own pages, since all else is the program's.
//! It stops by sending itself a signal that the engine swallows. A breakpoint instruction would do, but it leaves the
//! number of its trap in the thread, and the kernel puts that number into the next signal frame of the program.

use std::arch::global_asm;

use trace_format::ring::BASE;

use super::ranges::Ranges;

/// Bytes of the code page.
pub const CODE_BYTES: u64 = 4096;
/// Bytes of the pages behind it.
pub const DATA_BYTES: u64 = 64 << 10;
/// Bytes of both.
pub const BYTES: u64 = CODE_BYTES + DATA_BYTES;

/// Calls that fit into the table at once.
pub const MOST_CALLS: usize = ((DATA_BYTES - TABLE) / ENTRY_BYTES) as usize;
/// Bytes of one call in the table: number, six arguments, result.
pub const ENTRY_BYTES: u64 = 64;
/// Where the table begins in the data pages; what is before it is room for arguments.
const TABLE: u64 = 4096;

// r12 and r13 hold the process and the thread that the last call stops, r15 the place in the table, r14 its end.
global_asm!(
    ".pushsection .rodata.trace_stub, \"a\", @progbits",
    ".globl trace_stub_code",
    ".hidden trace_stub_code",
    "trace_stub_code:",
    // A table of calls.
    "2:",
    "cmp r15, r14",
    "je 3f",
    "mov rax, [r15]",
    "mov rdi, [r15 + 8]",
    "mov rsi, [r15 + 16]",
    "mov rdx, [r15 + 24]",
    "mov r10, [r15 + 32]",
    "mov r8, [r15 + 40]",
    "mov r9, [r15 + 48]",
    "syscall",
    "mov [r15 + 56], rax",
    "add r15, 64",
    "jmp 2b",
    // One call, whose registers are set; its result goes to r15.
    ".balign 64",
    "syscall",
    "mov r15, rax",
    "jmp 3f",
    // The same by the 32-bit entry.
    ".balign 64",
    "int 0x80",
    "mov r15, rax",
    "jmp 3f",
    // tgkill(r12, r13, SIGSTOP)
    ".balign 64",
    "3:",
    "mov eax, 234",
    "mov rdi, r12",
    "mov rsi, r13",
    "mov edx, 19",
    "syscall",
    "jmp 3b",
    ".balign 64",
    ".globl trace_stub_end",
    ".hidden trace_stub_end",
    "trace_stub_end:",
    ".popsection",
);

/// Offsets of the entries, as `.balign` has put them.
const LOOP: u64 = 0;
const SINGLE: u64 = 64;
const SINGLE_I386: u64 = 128;
/// Behind the call that stops the thread.
const STOPPED: u64 = 192 + 18;

unsafe extern "C" {
    static trace_stub_code: u8;
    static trace_stub_end: u8;
}

fn code() -> &'static [u8] {
    let (start, end) = (&raw const trace_stub_code, &raw const trace_stub_end);
    // SAFETY: both labels are of one read-only section, the second behind the first, and nobody changes what is between.
    unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}

/// Where the stub stands in the replayed processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stub {
    base: u64,
}

/// Where a stub may stand, the best place first. The 32-bit entry needs its data below 4 GiB; the others are for programs
/// that fill that room (a sanitizer's shadow).
const PLACES: [u64; 24] = [
    0x7edc_0000,
    0x6b3a_0000,
    0x5f17_0000,
    0x7356_0000,
    0x4d92_0000,
    0x3a6e_0000,
    0x2c81_0000,
    0x1f45_0000,
    0x9c6b_0000,
    0xa7d3_0000,
    0xb85a_0000,
    0xc41f_0000,
    0xd2e9_0000,
    0x1357_9bdc_0000,
    0x2468_ace0_0000,
    0x3579_bdf1_0000,
    0x468a_ce02_0000,
    0x579b_df13_0000,
    0x68ac_e024_0000,
    0x0bad_c0de_0000,
    0x0051_e77e_0000,
    0x0003_57ab_0000,
    0x0000_2bcd_0000,
    0x71a9_3c55_0000,
];

/// The places for a stub that no mapping of a trace has touched so far, and what was touched.
#[derive(Debug)]
pub struct FreePlaces {
    free: [bool; PLACES.len()],
    taken: Ranges,
}

impl FreePlaces {
    #[must_use]
    pub fn all() -> FreePlaces {
        FreePlaces { free: [true; PLACES.len()], taken: Ranges::default() }
    }

    /// A program maps, or has mapped, `start..end`.
    pub fn occupy(&mut self, start: u64, end: u64) {
        self.taken.add(start, end);
        for (place, free) in PLACES.iter().zip(&mut self.free) {
            *free &= !Stub { base: *place }.overlaps(start, end);
        }
    }

    /// The first place that is left.
    #[must_use]
    pub fn choose(&self) -> Option<Stub> {
        PLACES.iter().zip(self.free).find_map(|(base, free)| free.then_some(Stub { base: *base }))
    }

    /// Whether a program maps, or has mapped, part of `start..end`.
    #[must_use]
    pub fn is_taken(&self, start: u64, end: u64) -> bool {
        self.taken.meet(start, end)
    }

    /// Where so many bytes are left beside the stub's for the agent.
    #[must_use]
    pub fn choose_for_agent(&self, length: u64) -> Option<u64> {
        let stub = self.choose()?;
        let is_free = |start: &u64| !self.is_taken(*start, start + length) && !stub.overlaps(*start, start + length);
        [BASE].into_iter().chain(PLACES).find(is_free)
    }
}

impl Stub {
    /// Whether the stub's pages are in that range.
    #[must_use]
    pub fn overlaps(self, start: u64, end: u64) -> bool {
        start < self.base + BYTES && self.base < end
    }

    /// Start of the data pages.
    #[must_use]
    pub fn data(self) -> u64 {
        self.base + CODE_BYTES
    }

    /// Start of the table of calls.
    #[must_use]
    pub fn table(self) -> u64 {
        self.data() + TABLE
    }

    /// Runs the table from r15 to r14.
    #[must_use]
    pub fn entry_of_table(self) -> u64 {
        self.base + LOOP
    }

    /// Runs the call whose registers are set.
    #[must_use]
    pub fn entry_of_one(self) -> u64 {
        self.base + SINGLE
    }

    /// Runs the 32-bit call whose registers are set.
    #[must_use]
    pub fn entry_of_one_i386(self) -> u64 {
        self.base + SINGLE_I386
    }

    /// Where a thread stands that has done what it was told.
    #[must_use]
    pub fn stopped(self) -> u64 {
        self.base + STOPPED
    }

    /// The stub as an ELF program, elf(5): a header, three program headers, the code.
    #[must_use]
    pub fn program(self) -> Vec<u8> {
        const HEADER: u64 = 64;
        const PROGRAM_HEADER: u64 = 56;
        const PT_LOAD: u32 = 1;
        const PT_GNU_STACK: u32 = 0x6474_e551;
        const R: u32 = 4;
        const W: u32 = 2;
        const X: u32 = 1;
        let mut elf = Vec::with_capacity(CODE_BYTES as usize * 2);
        elf.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
        elf.extend([0; 8]);
        // ET_EXEC, EM_X86_64, EV_CURRENT
        elf.extend(2_u16.to_le_bytes());
        elf.extend(62_u16.to_le_bytes());
        elf.extend(1_u32.to_le_bytes());
        for word in [self.base, HEADER, 0] {
            elf.extend(word.to_le_bytes());
        }
        elf.extend(0_u32.to_le_bytes());
        for half in [HEADER as u16, PROGRAM_HEADER as u16, 3, 0, 0, 0] {
            elf.extend(half.to_le_bytes());
        }
        for (kind, flags, offset, address, in_file, in_memory) in [
            (PT_LOAD, R | X, CODE_BYTES, self.base, CODE_BYTES, CODE_BYTES),
            (PT_LOAD, R | W, 0, self.data(), 0, DATA_BYTES),
            (PT_GNU_STACK, R | W, 0, 0, 0, 0),
        ] {
            elf.extend(u32::to_le_bytes(kind));
            elf.extend(u32::to_le_bytes(flags));
            for word in [offset, address, address, in_file, in_memory, CODE_BYTES] {
                elf.extend(u64::to_le_bytes(word));
            }
        }
        elf.resize(CODE_BYTES as usize, 0);
        elf.extend_from_slice(code());
        elf.resize(2 * CODE_BYTES as usize, 0xcc);
        elf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_where_they_are_said_to() {
        let code = code();
        assert_eq!(code[SINGLE as usize..SINGLE as usize + 2], [0x0f, 0x05]);
        assert_eq!(code[SINGLE_I386 as usize..SINGLE_I386 as usize + 2], [0xcd, 0x80]);
        assert_eq!(code[STOPPED as usize - 2..STOPPED as usize], [0x0f, 0x05]);
        assert!(code.len() < CODE_BYTES as usize);
    }

    #[test]
    fn an_occupied_place_is_not_chosen() {
        let mut places = FreePlaces::all();
        let first = places.choose().unwrap();
        // The last byte of its last page.
        let end = first.base + BYTES;
        places.occupy(end - 1, end);
        let second = places.choose().unwrap();
        assert_ne!(first, second);
        places.occupy(second.base - 4096, second.base);
        assert_eq!(places.choose(), Some(second));
        places.occupy(0, u64::MAX);
        assert_eq!(places.choose(), None);
    }

    #[test]
    fn the_program_is_an_elf_file_with_two_segments() {
        use object::{Object as _, ObjectSegment as _};
        let stub = FreePlaces::all().choose().unwrap();
        let program = stub.program();
        let elf = object::File::parse(program.as_slice()).unwrap();
        assert_eq!(elf.entry(), stub.base);
        let segments: Vec<(u64, u64)> = elf.segments().map(|segment| (segment.address(), segment.size())).collect();
        assert_eq!(segments, [(stub.base, CODE_BYTES), (stub.data(), DATA_BYTES)]);
    }
}
