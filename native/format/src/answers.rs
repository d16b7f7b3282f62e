//! The memory through which a replay answers calls inside the tracee: the agent's control block, a stack, and answers.
//!
//! The engine writes answers while the thread stands still, one behind the other in the order of its calls. The agent
//! (`native/agent/src/replay.c`) takes the next one when the program makes a call: if the call is the recorded one in all
//! that replay compares, it copies what the kernel had written, and gives the result. If not, or if there is none, the call
//! stops the thread, and the engine finds out what there is to say. Everything here is the tracee's own memory, so the
//! engine believes nothing that it reads.
//!
//! ```text
//! pages   | text of the agent | control block | stack of the agent | answers ... |
//! answer  | ANSWER_BYTES | piece, its bytes | piece, its bytes | ...     compared pieces first, then written ones
//! ```
//! Answers and pieces begin at multiples of 8 bytes.

use alloc::string::String;
use core::fmt::Write as _;

use crate::ring;

/// Bytes of the control block and the stack.
pub const HEAD_BYTES: u64 = 0x4000;
/// Bytes of answers: as many as stay in a processor's own cache.
pub const ANSWERS_BYTES: u64 = 256 << 10;
/// From the start of the agent's pages on: its text, which cannot be written, and what can.
pub const BLOCK: u64 = ring::TEXT_BYTES;
pub const ANSWERS: u64 = BLOCK + HEAD_BYTES;
/// Bytes of all pages.
pub const BYTES: u64 = ANSWERS + ANSWERS_BYTES;
/// Where the stack begins, downwards: so that the frame ends at a multiple of 16.
pub const STACK_TOP: u64 = HEAD_BYTES - 8;

/// Members of the control block, by offset.
pub mod block {
    /// The beginning is that of a ring's, since the same code leaves the agent.
    pub use crate::ring::block::{LEAVE, R11, RCX, SELF, SITE, SP, STACK};
    /// Address of the next answer.
    pub const NEXT: u64 = 32;
    /// Address behind the last answer.
    pub const END: u64 = 40;
    pub const BYTES: u64 = R11 + 8;
}

/// The frame that the agent puts on its stack, by offset.
pub mod frame {
    pub const RAX: u64 = 0;
    /// The six arguments: `rdi`, `rsi`, `rdx`, `r10`, `r8`, `r9`.
    pub const ARGS: u64 = 8;
    /// Address of the site's [`crate::ring::site`].
    pub const SITE: u64 = 56;
    pub const FLAGS: u64 = 64;
    pub const BYTES: u64 = 72;
}

/// Members of an answer, by offset.
pub mod answer {
    /// Bytes of all of it, 32 bits.
    pub const SIZE: u64 = 0;
    /// Number of the call, or of an instruction as in [`crate::ring::record::NUMBER`], 32 bits.
    pub const NUMBER: u64 = 4;
    /// How many arguments are compared, 32 bits.
    pub const NARGS: u64 = 8;
    /// How many pieces of memory are compared, and how many are written then, 32 bits each.
    pub const COMPARED: u64 = 12;
    pub const WRITTEN: u64 = 16;
    pub const RESULT: u64 = 24;
    /// Instruction and stack pointer of the program in the call.
    pub const IP: u64 = 32;
    pub const SP: u64 = 40;
    pub const ARGS: u64 = 48;
    pub const BYTES: u64 = 96;
}

/// Members of a piece, by offset. Its bytes follow.
pub mod piece {
    pub const ADDR: u64 = 0;
    pub const LENGTH: u64 = 8;
    pub const BYTES: u64 = 16;
}

/// All of this as a C header.
#[must_use]
pub fn c_header() -> String {
    let mut text = String::from("/* Written by the build script from native/format/src/answers.rs. */\n");
    for (name, value) in NAMES {
        let _ = writeln!(text, "#define {name} {value:#x}");
    }
    text
}

const NAMES: &[(&str, u64)] = &[
    ("REPLAY_SELF", block::SELF),
    ("REPLAY_STACK", block::STACK),
    ("REPLAY_SP", block::SP),
    ("REPLAY_LEAVE", block::LEAVE),
    ("REPLAY_NEXT", block::NEXT),
    ("REPLAY_END", block::END),
    ("REPLAY_SITE", block::SITE),
    ("REPLAY_RCX", block::RCX),
    ("REPLAY_R11", block::R11),
    ("REPLAY_BLOCK_BYTES", block::BYTES),
    ("REPLAY_FRAME_RAX", frame::RAX),
    ("REPLAY_FRAME_ARGS", frame::ARGS),
    ("REPLAY_FRAME_SITE", frame::SITE),
    ("REPLAY_FRAME_FLAGS", frame::FLAGS),
    ("REPLAY_FRAME_BYTES", frame::BYTES),
    ("ANSWER_SIZE", answer::SIZE),
    ("ANSWER_NUMBER", answer::NUMBER),
    ("ANSWER_NARGS", answer::NARGS),
    ("ANSWER_COMPARED", answer::COMPARED),
    ("ANSWER_WRITTEN", answer::WRITTEN),
    ("ANSWER_RESULT", answer::RESULT),
    ("ANSWER_IP", answer::IP),
    ("ANSWER_SP", answer::SP),
    ("ANSWER_ARGS", answer::ARGS),
    ("ANSWER_BYTES", answer::BYTES),
    ("PIECE_ADDR", piece::ADDR),
    ("PIECE_LENGTH", piece::LENGTH),
    ("PIECE_BYTES", piece::BYTES),
];

const _: () = {
    assert!((STACK_TOP - frame::BYTES).is_multiple_of(16));
    assert!(block::END < block::SITE && block::BYTES <= HEAD_BYTES);
    assert!(answer::BYTES.is_multiple_of(8) && piece::BYTES.is_multiple_of(8));
};
