//! `cpuid` answered inside a program: its instructions are led around to code that looks their answers up in a table,
//! behind the code of the same file, in what the last page of its mapping has left.
//!
//! A virtual machine has to be left for each, which takes as long as a stop, and a dozen times that where it traps as well; glibc's loader
//! comes to seventy. What the table does not have is asked for by a `cpuid` of that code, as before.

use crate::agent::window::{self, Around, Branches};
use crate::cpu::features::{self, Answer};
use crate::trap::CPUID;

/// What `cpuid` is asked: leaf and subleaf.
pub(super) type Question = (u32, u32);

/// Bytes of a row of the table: leaf, the bits of the subleaf that count, their values, and the answer.
const ROW_BYTES: usize = 28;

/// Code of a file as it is mapped, whole pages, and what is to be answered there.
pub(super) struct Mapped<'a> {
    pub start: u64,
    pub bytes: &'a [u8],
    /// So many of the bytes belong to the file's segment; behind them nothing is ever used.
    pub used: usize,
}

/// What to write where, so that the code answers by itself. `sites`: where `cpuid` stands, with a leaf that it was asked for there, if any
/// is known. Sites around which there is no room for a jump are left out, and answers when there is no room for all.
#[must_use]
pub(super) fn build(
    code: &Mapped<'_>,
    sites: &[(u64, Option<u32>)],
    answers: &[(Question, Answer)],
) -> Vec<(u64, Vec<u8>)> {
    let room = code.used.next_multiple_of(16)..code.bytes.len();
    let base = code.start + room.start as u64;
    let mut own = lookup(answers);
    let branches = Branches::of(&code.bytes[..code.used.min(code.bytes.len())]);
    let mut sites = sites.to_vec();
    sites.sort_unstable();
    let (mut written, mut last) = (Vec::new(), 0);
    for (site, leaf) in sites {
        let Some(jump) = lead_around(code, (site, leaf), &branches, last, base + own.len() as u64, base) else {
            continue;
        };
        let (window_end, start, jump, stub) = jump;
        if own.len() + stub.len() > room.len() {
            break;
        }
        own.extend(stub);
        last = window_end;
        written.push((start, jump));
    }
    if written.is_empty() {
        return Vec::new();
    }
    // Before what leads there.
    written.insert(0, (base, own));
    written
}

/// The end of the window around a site, its start, the jump to put there, and the code that it leads to, which is to be at `at` and
/// calls the lookup at `base`. Windows before end at `last`.
fn lead_around(
    code: &Mapped<'_>,
    (site, leaf): (u64, Option<u32>),
    branches: &Branches,
    last: u64,
    at: u64,
    base: u64,
) -> Option<(u64, u64, Vec<u8>, Vec<u8>)> {
    const LENGTH: u64 = CPUID.len() as u64;
    let ip = site + LENGTH;
    let offset = |addr: u64| (addr.saturating_sub(code.start) as usize).min(code.used);
    let from = ip.saturating_sub(window::READ_BEFORE).max(code.start);
    let bytes = code.bytes.get(offset(from)..offset(ip + window::READ_AFTER))?;
    let around = Around { start: from, bytes, ip, length: LENGTH, eax: leaf };
    let leads = |start, end| branches.lead_between(&around, code.start, start, end);
    let window = window::choose(&around, leads).ok().filter(|window| window.start >= last)?;
    let call = |at: u64| {
        // lea rsp, [rsp - 128]; call lookup; lea rsp, [rsp + 128]: what is below the stack may be in use.
        let mut call = vec![0x48, 0x8d, 0x64, 0x24, 0x80, 0xe8];
        call.extend((base.wrapping_sub(at + 10) as i32).to_le_bytes());
        call.extend([0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0]);
        call
    };
    let (jump, stub) = window::replace(&window, ip, at, call).ok()?;
    Some((window.end, window.start, jump, stub))
}

/// What does as `cpuid` does, up to where the table begins: the distances to it and to its end are put in.
#[rustfmt::skip]
const LOOKUP: [u8; 58] = [
    0x9c, // pushfq
    0x48, 0x8d, 0x15, 0, 0, 0, 0, // lea rdx, [rip + table]
    0x48, 0x8d, 0x1d, 0, 0, 0, 0, // next: lea rbx, [rip + end]
    0x48, 0x39, 0xda, // cmp rdx, rbx
    0x73, 0x22, // jae unknown
    0x3b, 0x02, // cmp eax, [rdx]
    0x75, 0x0a, // jne other
    0x8b, 0x5a, 0x04, // mov ebx, [rdx + 4]
    0x21, 0xcb, // and ebx, ecx
    0x3b, 0x5a, 0x08, // cmp ebx, [rdx + 8]
    0x74, 0x06, // je found
    0x48, 0x83, 0xc2, ROW_BYTES as u8, // other: add rdx, 28
    0xeb, 0xe0, // jmp next
    0x8b, 0x42, 0x0c, // found: mov eax, [rdx + 12]
    0x8b, 0x5a, 0x10, // mov ebx, [rdx + 16]
    0x8b, 0x4a, 0x14, // mov ecx, [rdx + 20]
    0x8b, 0x52, 0x18, // mov edx, [rdx + 24]
    0x9d, 0xc3, // popfq; ret
    0x9d, 0x0f, 0xa2, 0xc3, // unknown: popfq; cpuid; ret
];

/// A function that does as `cpuid` does, and the table behind it. Runs anywhere.
fn lookup(answers: &[(Question, Answer)]) -> Vec<u8> {
    let mut code = LOOKUP.to_vec();
    code.resize(code.len().next_multiple_of(4), 0xcc);
    let (table, end) = (code.len(), code.len() + answers.len() * ROW_BYTES);
    code[4..8].copy_from_slice(&((table - 8) as u32).to_le_bytes());
    code[11..15].copy_from_slice(&((end - 15) as u32).to_le_bytes());
    for ((leaf, subleaf), answer) in answers {
        let counts = if features::has_subleaves(*leaf) { u32::MAX } else { 0 };
        let row = [*leaf, counts, subleaf & counts].into_iter().chain(*answer);
        code.extend(row.flat_map(u32::to_le_bytes));
    }
    code.resize(code.len().next_multiple_of(16), 0xcc);
    code
}

#[cfg(test)]
mod tests {
    use std::arch::x86_64::CpuidResult;

    use super::*;
    use crate::sys;

    const PAGE: usize = 4096;

    /// A function that puts what `cpuid` says where its second argument points, and returns the carry flag, which is set before.
    const ASKS: [u8; 31] = [
        0x53, // push rbx
        0x49, 0x89, 0xf0, // mov r8, rsi
        0x89, 0xf8, // mov eax, edi
        0x89, 0xd1, // mov ecx, edx
        0xf9, // stc
        0x0f, 0xa2, // cpuid
        0x41, 0x89, 0x00, // mov [r8], eax
        0x41, 0x89, 0x58, 0x04, // mov [r8 + 4], ebx
        0x41, 0x89, 0x48, 0x08, // mov [r8 + 8], ecx
        0x41, 0x89, 0x50, 0x0c, // mov [r8 + 12], edx
        0x0f, 0x92, 0xc0, // setc al
        0x5b, // pop rbx
        0xc3, // ret
    ];
    const SITE: usize = 9;

    /// A page of memory of this process that can be executed, with that function in it and nothing behind.
    fn code() -> (u64, usize) {
        let prot = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, whose address the kernel chooses; it stays until the process ends.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, prot, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        let start = start as u64;
        let at = 1024;
        assert!(sys::write_memory(std::process::id() as i32, start, &[0x90; 1024]));
        assert!(sys::write_memory(std::process::id() as i32, start + at as u64, &ASKS));
        (start, at)
    }

    fn read(start: u64) -> Vec<u8> {
        let mut bytes = vec![0; PAGE];
        assert_eq!(sys::read_pieces(std::process::id() as i32, &[(start, PAGE)], &mut bytes), PAGE);
        bytes
    }

    fn ask(start: u64, leaf: u32, subleaf: u32) -> Answer {
        let mut answer = [0; 4];
        // SAFETY: the function at that address is `ASKS`, with or without the jump.
        let asks: extern "C" fn(u32, *mut Answer, u32) -> u8 = unsafe { std::mem::transmute(start as usize) };
        assert_eq!(asks(leaf, &raw mut answer, subleaf), 1);
        answer
    }

    #[test]
    fn what_is_in_the_table_is_answered_and_all_else_is_asked() {
        let (start, at) = code();
        let bytes = read(start);
        let mapped = Mapped { start, bytes: &bytes, used: at + ASKS.len() };
        let site = start + (at + SITE) as u64;
        // Leaf 1 has no subleaves, leaf 4 has.
        let answers = [((1, 7), [1, 2, 3, 4]), ((4, 1), [5, 6, 7, 8])];
        let written = build(&mapped, &[(site, Some(1))], &answers);
        assert_eq!(written.len(), 2);
        for (addr, bytes) in &written {
            assert!(*addr >= start && *addr + bytes.len() as u64 <= start + PAGE as u64);
            assert!(sys::write_memory(std::process::id() as i32, *addr, bytes));
        }
        let function = start + at as u64;
        assert_eq!([ask(function, 1, 0), ask(function, 1, 9)], [[1, 2, 3, 4]; 2]);
        assert_eq!(ask(function, 4, 1), [5, 6, 7, 8]);
        let said = |leaf, subleaf| {
            let CpuidResult { eax, ebx, ecx, edx } = sys::cpuid(leaf, subleaf);
            [eax, ebx, ecx, edx]
        };
        assert_eq!([ask(function, 0, 0), ask(function, 4, 0)], [said(0, 0), said(4, 0)]);
    }

    #[test]
    fn without_room_nothing_is_written() {
        let (start, at) = code();
        let bytes = read(start);
        let site = start + (at + SITE) as u64;
        assert!(bytes[at + ASKS.len()..].iter().all(|byte| *byte == 0));
        let build = |used| build(&Mapped { start, bytes: &bytes, used }, &[(site, Some(1))], &[((1, 0), [1, 2, 3, 4])]);
        assert!(build(PAGE - 32).is_empty() && build(PAGE).is_empty() && build(PAGE + 1).is_empty());
        assert!(!build(PAGE - 256).is_empty());
        // What is behind the site is jumped to, from the end.
        let mut bytes = bytes.clone();
        bytes[at + ASKS.len()..at + ASKS.len() + 2].copy_from_slice(&[0xeb, (SITE as i8 - ASKS.len() as i8) as u8]);
        let mapped = Mapped { start, bytes: &bytes, used: at + ASKS.len() + 2 };
        let written = super::build(&mapped, &[(site, Some(1))], &[]);
        assert!(
            written
                .iter()
                .all(|(addr, bytes)| *addr + bytes.len() as u64 <= site + 2 || *addr >= start + mapped.used as u64)
        );
    }
}
