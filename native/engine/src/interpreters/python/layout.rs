//! Where the fields of CPython's structures are, by version.
//!
//! Up to 3.12 they are those of the published headers on x86-64 (`offsetof` over Include/internal/pycore_runtime.h, pycore_interp.h,
//! pycore_frame.h, cpython/pystate.h, cpython/frameobject.h, cpython/code.h, cpython/unicodeobject.h), which do not change
//! within a version. From 3.13 on the interpreter itself tells, in `_Py_DebugOffsets` at the start of `_PyRuntime`
//! (Include/internal/pycore_runtime.h; pycore_debug_offsets.h from 3.14 on), whose own fields are counted here in words.

use std::ops::RangeInclusive;

use super::super::Memory;

/// The versions that are known: 3.9 to 3.14.
pub const KNOWN: RangeInclusive<u8> = 9..=14;
/// The version of which frames are told by counting alone.
pub const COUNTED: u8 = 9;
/// Owner of a frame (`enum _frameowner`): it is on the stack of the machine, from this one on.
pub const OWNED_BY_STACK: u8 = 3;
/// Owner of a frame: a generator.
pub const OWNED_BY_GENERATOR: u8 = 1;

/// How frames hang together; offsets of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// A thread state has its frame object; each frame is run by a call of its own.
    Counted { frame: u64 },
    /// The same, and each call has a structure on the stack that knows the one `before`.
    PerCall { frame: u64, call: u64, before: u64 },
    /// A call has a structure on the stack, that has its frame, and knows the one before; a frame says whether it is the
    /// outermost one of its call.
    Entries { call: u64, current: u64, before: u64, is_outermost: u64 },
    /// The thread state, or the structure of its call, has the frame; the outermost frame of each call is on the stack.
    Shims { call: Option<u64>, current: u64 },
}

/// How the instruction that a frame is at is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// A number, in units of so many bytes.
    Number { offset: u64, unit: i64 },
    /// An address; the code starts at that offset in its code object.
    Address { offset: u64, code: u64 },
}

/// Which table has the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// `co_lnotab` (Objects/lnotab_notes.txt).
    Lnotab,
    /// PEP 626.
    Ranges,
    /// Objects/locations.md.
    Locations,
}

/// Offsets in a code object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeFields {
    pub filename: u64,
    /// The qualified name, where there is one.
    pub name: u64,
    pub first_line: u64,
    pub table: u64,
    pub lines: Lines,
    /// Has the number of the first instruction that belongs to the source.
    pub first_traceable: Option<u64>,
}

/// Offsets in strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextFields {
    pub length: u64,
    pub state: u64,
    /// Where the letters of a string of ASCII, and of any other one, begin.
    pub ascii: u64,
    pub wide: u64,
    /// Number of the first bit of `kind`.
    pub kind: u8,
}

/// The offsets of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub interpreters: u64,
    pub interpreter_next: u64,
    pub threads: u64,
    pub state_next: u64,
    pub state_interpreter: u64,
    pub state_thread: u64,
    pub chain: Chain,
    pub frame_previous: u64,
    pub frame_code: u64,
    /// Who owns a frame.
    pub frame_owner: Option<u64>,
    pub position: Position,
    pub code: CodeFields,
    pub text: TextFields,
    pub bytes_size: u64,
    pub bytes_start: u64,
}

const BYTES_SIZE: u64 = 16;
const BYTES_START: u64 = 32;
const OLD_TEXT: TextFields = TextFields { length: 16, state: 32, ascii: 48, wide: 72, kind: 2 };

/// 3.9 and 3.10.
const fn linked(chain: Chain, position: Position, lines: Lines) -> Layout {
    Layout {
        interpreters: 32,
        interpreter_next: 0,
        threads: 8,
        state_next: 8,
        state_interpreter: 16,
        state_thread: 176,
        chain,
        frame_previous: 24,
        frame_code: 32,
        frame_owner: None,
        position,
        code: CodeFields { filename: 104, name: 112, first_line: 40, table: 120, lines, first_traceable: None },
        text: OLD_TEXT,
        bytes_size: BYTES_SIZE,
        bytes_start: BYTES_START,
    }
}

const V9: Layout = linked(Chain::Counted { frame: 24 }, Position::Number { offset: 104, unit: 1 }, Lines::Lnotab);
const V10: Layout =
    linked(Chain::PerCall { frame: 24, call: 48, before: 8 }, Position::Number { offset: 96, unit: 2 }, Lines::Ranges);
const V11: Layout = Layout {
    interpreters: 40,
    interpreter_next: 0,
    threads: 16,
    state_next: 8,
    state_interpreter: 16,
    state_thread: 152,
    chain: Chain::Entries { call: 56, current: 8, before: 16, is_outermost: 68 },
    frame_previous: 48,
    frame_code: 32,
    frame_owner: Some(69),
    position: Position::Address { offset: 56, code: 184 },
    code: CodeFields {
        filename: 112,
        name: 128,
        first_line: 72,
        table: 136,
        lines: Lines::Locations,
        first_traceable: Some(168),
    },
    text: OLD_TEXT,
    bytes_size: BYTES_SIZE,
    bytes_start: BYTES_START,
};
const V12: Layout = Layout {
    threads: 72,
    state_thread: 136,
    chain: Chain::Shims { call: Some(56), current: 0 },
    frame_previous: 8,
    frame_code: 0,
    frame_owner: Some(70),
    position: Position::Address { offset: 56, code: 192 },
    code: CodeFields { first_line: 68, first_traceable: Some(176), ..V11.code },
    text: TextFields { ascii: 40, wide: 56, ..OLD_TEXT },
    ..V11
};

/// The layout of a version whose `_PyRuntime` is at an address.
pub fn read(minor: u8, runtime: u64, memory: &mut impl Memory) -> Option<Layout> {
    match minor {
        9 => Some(V9),
        10 => Some(V10),
        11 => Some(V11),
        12 => Some(V12),
        13 => told(runtime, &Words { version: 13, states: 19, frames: 28, code: 34, bytes: 64, kind: [2, 2] }, memory),
        14 => told(runtime, &Words { version: 14, states: 22, frames: 31, code: 39, bytes: 74, kind: [2, 8] }, memory),
        _ => None,
    }
}

/// Where the groups of `_Py_DebugOffsets` begin, in words.
struct Words {
    version: u8,
    states: usize,
    frames: usize,
    code: usize,
    bytes: usize,
    /// The bits of strings are no part of it: those of a build with a lock around the interpreter, and of one without.
    kind: [u8; 2],
}

fn told(runtime: u64, words: &Words, memory: &mut impl Memory) -> Option<Layout> {
    const COOKIE: u64 = u64::from_le_bytes(*b"xdebugpy");
    const WORDS: usize = 82;
    /// No structure of an interpreter is larger.
    const MOST: u64 = 1 << 24;
    let mut bytes = [0; WORDS * 8];
    if !memory.read(runtime, &mut bytes) {
        return None;
    }
    let all: Vec<u64> =
        bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default())).collect();
    let version = all[1] >> 16 & 0xffff;
    if all[0] != COOKIE || version != u64::from(0x300 | u16::from(words.version)) {
        return None;
    }
    let is_free_threaded = all[2] != 0;
    let get = |index: usize| all.get(index).copied().filter(|offset| *offset < MOST);
    let (states, frames, code, bytes) = (words.states, words.frames, words.code, words.bytes);
    let start = get(code + 9)?;
    let ascii = get(bytes + 6)?;
    Some(Layout {
        interpreters: get(5)?,
        interpreter_next: get(8)?,
        threads: get(9)?,
        state_next: get(states + 2)?,
        state_interpreter: get(states + 3)?,
        chain: Chain::Shims { call: None, current: get(states + 4)? },
        state_thread: get(states + 5)?,
        frame_previous: get(frames + 1)?,
        frame_code: get(frames + 2)?,
        frame_owner: Some(get(frames + 5)?),
        position: Position::Address { offset: get(frames + 3)?, code: start },
        code: CodeFields {
            filename: get(code + 1)?,
            name: get(code + 3)?,
            first_line: get(code + 5)?,
            table: get(code + 4)?,
            lines: Lines::Locations,
            // `_co_firsttraceable` and `co_extra` stand in front of the code, without the table of a free-threaded build.
            first_traceable: start.checked_sub(16).filter(|_| !is_free_threaded),
        },
        text: TextFields {
            state: get(bytes + 4)?,
            length: get(bytes + 5)?,
            ascii,
            // `PyCompactUnicodeObject` adds `utf8_length` and `utf8`.
            wide: ascii + 16,
            kind: words.kind[usize::from(is_free_threaded)],
        },
        bytes_size: get(bytes + 1)?,
        bytes_start: get(bytes + 2)?,
    })
}
