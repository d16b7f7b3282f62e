//! The memory that the agent in a tracee and the engine share: a control block, a stack, and the records behind them.
//!
//! A ring belongs to one thread of a tracee. The agent (`native/agent`, in C) gets these numbers from a header that the
//! engine's build script writes from [`c_header`], and asserts its structs against them when it is compiled. The tracee can
//! write all of this at any time, so the engine believes nothing that it reads here.
//!
//! ```text
//! ring    | control block | stack of the agent | records ... |
//! record  | RECORD_BYTES | capture, its bytes | capture, its bytes | ...
//! ```
//! Records and captures begin at multiples of 8 bytes. Records are written one behind the other, and the engine takes them while the
//! thread goes on. A record is one piece: one that has no room before the end of the buffer stands at its start, and a mark where the
//! last lap ended. So positions are counted on and on; that in the buffer is the rest modulo its size.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

/// Where the agent's pages are in every tracee: text, table, and then data. Known to the seccomp filter, so the same
/// everywhere; below 2 GiB and above where programs without a position of their own are linked.
pub const BASE: u64 = 0x7000_0000;
/// The agent's code.
pub const TEXT_BYTES: u64 = 0x5000;
/// What the agent does for which call; written by the engine.
pub const TABLE: u64 = BASE + TEXT_BYTES;
pub const TABLE_BYTES: u64 = 0x4000;
/// A byte for each descriptor with bits of [`known`]; 0 when the engine does not know what it stands for. Shared by the threads
/// of an address space.
pub const KNOWN: u64 = TABLE + TABLE_BYTES;
pub const KNOWN_BYTES: u64 = 0x1000;
/// Calls that the engine lets a stopped thread make, and a stack for that.
pub const SCRATCH: u64 = KNOWN + KNOWN_BYTES;
pub const SCRATCH_BYTES: u64 = 0x2000;
/// A control block and stack without records, for a process that has just been forked: private memory, so that nothing of its
/// parent's is touched. It lets all calls go to the engine.
pub const SPARE: u64 = SCRATCH + SCRATCH_BYTES;
/// End of the agent's pages.
pub const END: u64 = SPARE + HEAD_BYTES;

/// Bytes of the control block and the stack.
pub const HEAD_BYTES: u64 = 0x4000;
/// Bytes of records: a power of two.
pub const BUFFER_BYTES: u64 = 1 << 20;
/// A lap may end behind so many bytes when the engine is no more than so many behind: what is used again soon is in the caches.
pub const SHORT_LAP: u64 = 256 << 10;
pub const NEARLY_ALL: u64 = 64 << 10;
/// Bytes of a ring.
pub const RING_BYTES: u64 = HEAD_BYTES + BUFFER_BYTES;
/// Where the ring of a program's first thread is.
pub const FIRST_RING: u64 = BASE + (1 << 20);
/// Rings of the threads and children of a program, one behind the other: a process that is forked has the same memory there, and takes
/// one that nobody uses.
pub const RINGS: u64 = 64;
pub const RINGS_BYTES: u64 = RINGS * RING_BYTES;
/// Code of libraries with jumps to the agent, and the trampolines behind each: where they are until a library is mapped.
pub const LENT: u64 = FIRST_RING + RINGS_BYTES;
pub const LENT_CODE: u64 = 4 << 20;
/// Bytes of trampolines that are mapped at once.
pub const AREA_BYTES: u64 = 64 << 10;
/// Trampolines are this far below the code that they belong to, or a few steps more; those of code that was changed before it was mapped
/// always this far.
pub const DISTANCE: u64 = 256 << 20;
pub const RESERVED_END: u64 = LENT + block::TWINS * (LENT_CODE + AREA_BYTES);
/// Where the stack begins, downwards: 8 less than a multiple of 16, so that the frame ends at one.
pub const STACK_TOP: u64 = HEAD_BYTES - 8;

/// Members of the control block, by offset.
pub mod block {
    /// Address of the block in the tracee.
    pub const SELF: u64 = 0;
    /// Address of the top of the agent's stack.
    pub const STACK: u64 = 8;
    /// Stack pointer of the program when it entered the agent.
    pub const SP: u64 = 16;
    /// Where the agent leaves to.
    pub const LEAVE: u64 = 24;
    /// Result of the call that was made last.
    pub const RESULT: u64 = 32;
    /// A [`super::phase`], 32 bits.
    pub const PHASE: u64 = 40;
    /// Bits of [`super::refuse`], 32 bits. Written by the engine.
    pub const REFUSE: u64 = 44;
    /// The position behind the records that are complete. Set back to 0 by the engine while the thread stands still.
    pub const HEAD: u64 = 48;
    /// What `HEAD` was when the present call began: as long as it still is, the call's record is not complete.
    pub const PENDING: u64 = 56;
    /// 1 in a recording that is to be replayed, 32 bits. Written by the engine.
    pub const REPLAYABLE: u64 = 64;
    /// Not 0 when the clock is to be read again, 32 bits. Written by the engine.
    pub const STALE: u64 = 68;
    /// The clock when it was read last, where the counter cannot be read: nanoseconds of CLOCK_MONOTONIC.
    pub const CLOCK: u64 = 72;
    /// After how many calls it is read again, and how many there were since, 32 bits each.
    pub const EVERY: u64 = 80;
    pub const SINCE: u64 = 84;
    /// The position behind the records that the engine has taken. Written by the engine, for which it counts itself.
    pub const TAKEN: u64 = 88;
    /// A [`super::tries`] while a call is made in another form at first, else 0.
    pub const TRIES: u64 = 96;
    /// Not 0 when the agent may map small files, of which nobody else knows then. Written by the engine.
    pub const MAPS: u64 = 104;
    /// Not 0 when what a path says is not a file's name any more, and it is asked for. Written by the engine.
    pub const ASKS: u64 = 112;
    /// What a trampoline says of its site that takes the place of an instruction which changes no register but those of its answer; the
    /// program's `rcx` and `r11` meanwhile.
    pub const SITE: u64 = 120;
    pub const RCX: u64 = 128;
    pub const R11: u64 = 136;
    /// What `rdtscp` was last answered in `ecx`.
    pub const PROCESSOR: u64 = 144;
    /// How the counter is told from the clock: the counter at a time, that time, and by how much it grows in a nanosecond, in 2^-32; 0 while
    /// that is not known. Written by the engine.
    pub const COUNTER: u64 = 152;
    pub const COUNTER_TIME: u64 = 160;
    pub const COUNTER_RATE: u64 = 168;
    /// Sets of [`super::files`]: those whose content others see when it is written to; written by the engine.
    pub const SEEN: u64 = 176;
    /// Those that the agent has mapped.
    pub const MAPPED: u64 = SEEN + super::files::BYTES;
    /// Those that the process may write to without a stop.
    pub const WRITTEN: u64 = MAPPED + super::files::BYTES;
    /// Parts of memory in which there is code with jumps to the agent: start and end of each, 0 where there are fewer. Calls that read
    /// something there are the engine's. Written by the engine.
    pub const CODE: u64 = WRITTEN + super::files::BYTES;
    pub const CODE_PARTS: u64 = 4;
    /// Parts of memory that the kernel must not touch for the program: start and end of each, 0 where there are fewer. Calls that are
    /// given something there are the engine's. Written by the engine.
    pub const GUARDED: u64 = CODE + CODE_PARTS * 16;
    pub const GUARDED_PARTS: u64 = 4;
    /// Where the agent has mapped such a file last: start and end. In there it maps more by itself.
    pub const LAST: u64 = GUARDED + GUARDED_PARTS * 16;
    /// Files whose content the engine has kept, in the states in which it has: device, inode, size, times of the last change of content
    /// and of the inode in seconds and nanoseconds, 64 bits each; and whether their code may be mapped without the engine, which has
    /// nothing to change in it then: 1, or more by the number of its code at [`super::LENT`] (`TWINS_AT`). Written by the engine.
    pub const KEPT: u64 = LAST + 16;
    pub const KEPT_FILES: u64 = 32;
    /// Those of a file's state, and that of its code.
    pub const KEPT_WORDS: u64 = 8;
    /// Behind which reads of the counter threads have waited for others, 0 where there are fewer: while others want the turn these are the
    /// engine's. Written by the engine.
    pub const WAITED: u64 = KEPT + KEPT_FILES * KEPT_WORDS * 8;
    pub const COUNTERS: u64 = 4;
    /// How often it is still believed that descriptors do not wait which did not before.
    pub const BELIEVES: u64 = WAITED + COUNTERS * 8;
    /// The files of the first program's output, device and inode of each: what is moved there is the engine's. Written by the engine.
    pub const OUTPUTS: u64 = BELIEVES + 8;
    pub const MOST_OUTPUTS: u64 = 2;
    /// Code at [`super::LENT`], for each: its length, 0 where it is not there (any more); the offset in its file; and the address of the
    /// trampolines for which the agent has begun to move it, until it says so in a record. Written by the engine before the thread runs.
    pub const TWINS_AT: u64 = OUTPUTS + MOST_OUTPUTS * 16;
    pub const TWINS: u64 = 2;
    pub const TWIN_LENGTH: u64 = 0;
    pub const TWIN_OFFSET: u64 = 8;
    pub const TWIN_MOVES: u64 = 16;
    pub const TWIN_BYTES: u64 = 24;
    /// The place that a handler has interrupted last, as its frame has it, and where a thread goes on that comes back to it: there, or
    /// where its code was moved to. 0 where that is the engine's. Written by the engine.
    pub const BACK: u64 = TWINS_AT + TWINS * TWIN_BYTES;
    /// Bytes of a record behind `HEAD` of a call that does not come back to the agent, rt_sigreturn(2): it is complete when the thread has
    /// left by that call. Added to `HEAD` when the agent is entered next, or by the engine.
    pub const RETURNING: u64 = BACK + 16;
    /// Files to which paths lead through symbolic links: the hash of the path ([`super::path_hash`]), device, inode, the times of the inode's
    /// last change in seconds and nanoseconds, and the number that the engine has given to the name, 0 where there are fewer. Written by the
    /// engine.
    pub const NAMES: u64 = RETURNING + 8;
    pub const MOST_NAMES: u64 = 48;
    pub const NAME_WORDS: u64 = 6;
    pub const BYTES: u64 = NAMES + MOST_NAMES * NAME_WORDS * 8;
}

/// The hash of a path, FNV-1a with 64 bits.
#[must_use]
pub const fn path_hash(path: &[u8]) -> u64 {
    let mut hash = PATH_HASH_START;
    let mut at = 0;
    while at < path.len() {
        hash = (hash ^ path[at] as u64).wrapping_mul(PATH_HASH_FACTOR);
        at += 1;
    }
    hash
}

pub const PATH_HASH_START: u64 = 0xcbf2_9ce4_8422_2325;
pub const PATH_HASH_FACTOR: u64 = 0x100_0000_01b3;

/// How a call is made in another form at first.
pub mod tries {
    /// When it fails by one of three errors, nothing has been made yet. By any other the call would fail as well, and is not made
    /// again: who answers for each file that is opened, fanotify(7), would be asked twice.
    pub const FORM: u64 = 1;
    /// EINVAL: the form refuses what the call ignores.
    pub const FORM_REFUSED: u64 = 22;
    /// ENOSYS: the kernel does not have it.
    pub const FORM_UNKNOWN: u64 = 38;
    /// ELOOP: part of the path is a symbolic link.
    pub const FORM_LINK: u64 = 40;
    pub const FORM_ERRORS: [u64; 3] = [FORM_REFUSED, FORM_UNKNOWN, FORM_LINK];
    /// It waits for nothing: when nothing was there, nothing has been made yet.
    pub const NO_WAIT: u64 = 2;
    /// It waits as long as nobody else wants the turn: when nothing came, nothing has been made yet.
    pub const IN_TURN: u64 = 3;
}

/// A set of files that is never too small: a bit for each, and some have the same.
pub mod files {
    pub const BYTES: u64 = 512;
    /// The number of a file's bit are the highest ones of its inode and device, each times one of these.
    pub const INODE_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    pub const DEVICE_FACTOR: u64 = 0xc2b2_ae3d_27d4_eb4f;
    pub const SHIFT: u64 = 64 - 12;

    /// The bit of a file, by the numbers that stat(2) tells.
    #[must_use]
    pub const fn bit(dev: u64, ino: u64) -> u64 {
        (ino.wrapping_mul(INODE_FACTOR) ^ dev.wrapping_mul(DEVICE_FACTOR)) >> SHIFT
    }
}

/// What is known of a descriptor.
pub mod known {
    /// The engine knows what it stands for.
    pub const IS: u8 = 1;
    /// Calls that write to it are the engine's.
    pub const WRITES_STOP: u8 = 2;
    /// A call may wait for it.
    pub const WAITS: u8 = 4;
    /// A regular file that was opened for reading only.
    pub const READS: u8 = 8;
    /// It was asked to say so rather than to wait when the agent looked last.
    pub const NO_WAIT: u8 = 16;
}

/// How far the agent has come with a call.
pub mod phase {
    /// It has not looked at the call yet, or is taking what the kernel will read.
    pub const ENTERED: u32 = 1;
    /// The record's head and inputs are complete behind `HEAD`, and the call is made.
    pub const CALLING: u32 = 2;
    /// The call has come back.
    pub const CALLED: u32 = 3;
    /// The record is complete.
    pub const DONE: u32 = 4;
    /// The call has not been made: the engine gets it.
    pub const LEFT: u32 = 5;
    /// An instruction is answered: that is done when its record is complete.
    pub const ANSWERING: u32 = 6;
    /// The thread is about to leave by rt_sigreturn(2), as long as it is in the agent's code; `RETURNING` in the block tells of the record.
    pub const RETURNING: u32 = 7;
}

/// What the engine lets the agent not do.
pub mod refuse {
    /// Any call.
    pub const ALL: u32 = 1;
    /// Calls that open descriptors: this thread has a table of its own, and others see its memory; or a root of its own.
    pub const OPENS: u32 = 2;
    /// Calls that may wait: others have the turn meanwhile.
    pub const WAITS: u32 = 4;
    /// Calls about descriptors: what is known of them is another process's.
    pub const DESCRIPTORS: u32 = 8;
    /// To keep the turn while a call waits, or to answer where threads have waited: others want it.
    pub const TURNS: u32 = 16;
    /// Calls that end the process: others may see what the kernel writes to its memory then.
    pub const ENDS: u32 = 32;
    /// Calls that execute a program: they end other threads, or others may see what the kernel writes to the memory that is left.
    pub const EXECS: u32 = 64;
}

/// The frame that the agent puts on its stack: the program's registers by offset. The flags are the word on the top.
pub mod frame {
    pub const RAX: u64 = 0;
    /// The six arguments: `rdi`, `rsi`, `rdx`, `r10`, `r8`, `r9`.
    pub const ARGS: u64 = 8;
    pub const RBX: u64 = 56;
    pub const RBP: u64 = 64;
    pub const R12: u64 = 72;
    pub const R13: u64 = 80;
    pub const R14: u64 = 88;
    pub const R15: u64 = 96;
    /// Address of the site's [`super::site`].
    pub const SITE: u64 = 104;
    pub const FLAGS: u64 = 112;
    pub const BYTES: u64 = 120;
}

/// What a trampoline says of its site, by offset.
pub mod site {
    /// Where the program goes on after a call that the agent has made. This and the next two are distances from this data, so that a
    /// trampoline is the same wherever its image is mapped.
    pub const AFTER: u64 = 0;
    /// The site's own instruction in the trampoline, for what the engine gets.
    pub const TRAP: u64 = 8;
    /// The address behind the program's own instruction.
    pub const IP: u64 = 16;
    /// The agent's entry.
    pub const ENTRY: u64 = 24;
    /// Which instruction it is.
    pub const KIND: u64 = 32;
    pub const BYTES: u64 = 40;

    /// Values of `KIND`.
    pub const SYSCALL: u64 = 0;
    pub const RDTSC: u64 = 1;
    pub const RDTSCP: u64 = 2;
}

/// Members of a record, by offset.
pub mod record {
    /// Bytes of the whole record, 32 bits.
    pub const SIZE: u64 = 0;
    /// Number of the call, 16 bits. Of an instruction that was answered, [`INSTRUCTIONS`] and the site's kind: the result is the counter
    /// then, and argument 0 what is in `ecx`.
    pub const NUMBER: u64 = 4;
    /// How many captures follow, 8 bits.
    pub const CAPTURES: u64 = 6;
    /// Time stamp counter at entry and exit; nanoseconds of CLOCK_MONOTONIC in a recording that is to be replayed, where programs
    /// cannot read the counter.
    pub const START: u64 = 8;
    pub const END: u64 = 16;
    pub const RESULT: u64 = 24;
    /// Instruction and stack pointer of the program, as a tracer sees them in the call.
    pub const IP: u64 = 32;
    pub const SP: u64 = 40;
    pub const ARGS: u64 = 48;
    pub const BYTES: u64 = 96;
    /// Larger than the number of any call.
    pub const INSTRUCTIONS: u64 = 0xff00;
    /// In place of the size: the lap ends here, and the next record is at the start of the buffer.
    pub const END_OF_LAP: u64 = 0xffff_ffff;
}

/// Members of a capture, by offset.
pub mod capture {
    pub const ADDR: u64 = 0;
    /// Bytes that the call spoke of.
    pub const WANTED: u64 = 8;
    /// Bytes that follow, 32 bits.
    pub const LENGTH: u64 = 16;
    pub const SLOT: u64 = 20;
    /// As [`crate::event::Side`].
    pub const SIDE: u64 = 21;
    /// As [`crate::event::Status`].
    pub const STATUS: u64 = 22;
    pub const BYTES: u64 = 24;
    /// Slot of what the agent found out about a descriptor that a call has opened: `struct stat`, then its name as
    /// /proc/PID/fd shows it. There is no name when it is that of the call: no part of that was a symbolic link; or when `ADDR` is its number,
    /// of those in the block (`NAMES`).
    pub const OPENED: u8 = 0xf0;
    /// Slots of a file that the agent has mapped: its `struct stat` before, and its content behind.
    pub const MAPPED: u8 = 0xf1;
    pub const CONTENT: u8 = 0xf2;
    /// Behind those: what was mapped is code that was at [`super::LENT`], the one with the number `WANTED`. No bytes.
    pub const TWIN: u8 = 0xf3;
}

/// The table: an index by number, then the rows that it names.
pub mod table {
    /// Numbers in the index, one byte each; 0 for calls that the engine gets.
    pub const NUMBERS: u64 = 512;
    /// Most rows, as many as a byte can tell; row 0 is not used.
    pub const ROWS: u64 = 256;
    /// Most captures of a row.
    pub const CAPTURES: u64 = 5;
    /// Members of a row, by offset: one byte each.
    pub const KIND: u64 = 0;
    pub const COUNT: u64 = 1;
    /// Bits of the arguments that are descriptors.
    pub const FDS: u64 = 2;
    /// 1 more than the argument that is the descriptor which the call writes to; 0 for none.
    pub const SINK: u64 = 3;
    /// Whether the call may wait: 0 never, 1 always, 2 more than an argument that is the descriptor which decides.
    pub const WAITS: u64 = 4;
    /// Rows of captures, from here on.
    pub const FIRST: u64 = 8;
    pub const CAPTURE_BYTES: u64 = 8;
    /// Where one says whether its bytes are left out.
    pub const OMIT: u64 = 5;
    pub const ROW_BYTES: u64 = FIRST + CAPTURES * CAPTURE_BYTES;
    /// Bytes of all of it.
    pub const BYTES: u64 = NUMBERS + ROWS * ROW_BYTES;
}

/// What is special about a call that the agent makes.
pub mod kind {
    pub const PLAIN: u8 = 1;
    /// The result is a new descriptor whose identity the agent asks for.
    pub const OPEN: u8 = 2;
    /// The descriptor in argument 0 is free as soon as the call begins.
    pub const CLOSE: u8 = 3;
    /// Only the commands that read or set flags, that ask for or set locks without waiting, or that make another descriptor.
    pub const FCNTL: u8 = 4;
    /// Not over the agent's pages, and without PROT_EXEC in argument 2. What is to be replayed maps nothing but private memory, of no
    /// file, or of one whose content is kept: of that its code, too, where the engine has nothing to change in it.
    pub const MAP: u8 = 5;
    /// Not over the agent's pages.
    pub const UNMAP: u8 = 6;
    /// Only operations without a pointer but the first.
    pub const FUTEX: u8 = 7;
    /// The result is another descriptor for what the one in argument 0 stands for.
    pub const DUP: u8 = 8;
    /// Only of descriptors that are known, in `struct pollfd` behind argument 0.
    pub const POLL: u8 = 9;
    /// Only without PROT_EXEC in argument 2, and not over the agent's pages: a change of what is mapped.
    pub const PROTECT: u8 = 10;
    /// Only requests that the agent has a row of its own for.
    pub const IOCTL: u8 = 11;
    /// Only of what is no directory.
    pub const RENAME: u8 = 12;
    /// arch_prctl(2) that sets the base of fs, and prlimit64(2) that sets nothing of nobody else.
    pub const OWN: u8 = 13;
    /// It is not made, and fails as in a kernel that does not have it.
    pub const REFUSED: u8 = 14;
    /// It ends the process, and does not come back.
    pub const END: u8 = 15;
    /// Only of descriptors that are known, in the sets behind arguments 1 to 3.
    pub const SELECT: u8 = 16;
    /// The result is a new descriptor of no file, whose identity the agent asks for.
    pub const MAKE: u8 = 17;
    /// An option of a socket, setsockopt(2), that does not lead to more memory.
    pub const OPTION: u8 = 18;
    /// Two new descriptors of no file are written behind its only pointer.
    pub const PAIR: u8 = 19;
    /// mremap(2) of memory that has nothing of the agent, nor jumps to it, to no address that is given.
    pub const REMAP: u8 = 20;
    /// Bytes are moved from one descriptor to another: not to the first program's output where that is to be replayed.
    pub const MOVE: u8 = 21;
    /// execve(2). Where it is the engine's to execute something, only of what is no program: who looks for one along PATH comes to many such
    /// places. It is not made then.
    pub const EXEC: u8 = 22;
    /// rt_sigreturn(2), to the place that the handler has interrupted.
    pub const RETURN: u8 = 23;
}

/// What is behind a pointer of a row. Members by offset: slot, direction, shape, where the length is from, its argument,
/// whether the bytes are left out, and the size of one element in 16 bits.
pub mod shape {
    pub const STRING: u8 = 1;
    pub const BYTES: u8 = 2;
    pub const IOVEC: u8 = 3;
    /// Bytes of a structure whose size the program says, at most [`MOST`].
    pub const SIZED: u8 = 4;
    /// Elements, at most [`MOST`].
    pub const ARRAY: u8 = 5;
    /// Only when there is none.
    pub const ABSENT: u8 = 6;
    /// `struct msghdr`, with what it points to. Only without control data, or where that can hold no descriptor.
    pub const MESSAGE: u8 = 7;
    /// Addresses of strings, the last one being 0, and the strings.
    pub const STRINGS: u8 = 8;
    /// Most bytes of a sized structure, most elements of an array.
    pub const MOST: u64 = 64 << 10;
}

/// Where a length comes from.
pub mod length {
    /// The size of one element is all.
    pub const OWN: u8 = 0;
    /// An argument, 64 bits.
    pub const ARG: u8 = 1;
    /// An argument, 32 bits.
    pub const ARG32: u8 = 2;
    /// The result, at most an argument.
    pub const RESULT: u8 = 3;
    /// Words of 64 bits that have a bit for each number below an argument, 32 bits.
    pub const BITS: u8 = 4;
    /// The 32 bits behind an argument, of which the kernel says how much there is: at most as many as there were. They are what is
    /// first taken of the call.
    pub const POINTEE: u8 = 5;
}

/// Directions of a row's captures, as [`crate::table::Dir`].
pub mod direction {
    pub const IN: u8 = 0;
    pub const OUT: u8 = 1;
    pub const IN_OUT: u8 = 2;
}

/// Bytes of a file that the agent maps by itself where its content is kept.
pub const MOST_MAPPED: u64 = 32 << 10;

/// Bytes of a string that the agent copies; longer ones go to the engine.
pub const MOST_STRING: u64 = 4096;

/// All of this as a C header.
#[must_use]
pub fn c_header() -> String {
    let mut text = String::from("/* Written by the build script from native/format/src/ring.rs. */\n");
    for (name, value) in constants() {
        let _ = writeln!(text, "#define {name} {value:#x}");
    }
    text
}

macro_rules! named {
    ($prefix:literal, $module:ident: $($name:ident)*) => {
        [$((format!("{}_{}", $prefix, stringify!($name)), u64::from($module::$name))),*]
    };
}

fn constants() -> impl Iterator<Item = (String, u64)> {
    let plain = [
        ("RING_BASE", BASE),
        ("RING_TEXT_BYTES", TEXT_BYTES),
        ("RING_TABLE", TABLE),
        ("RING_KNOWN", KNOWN),
        ("RING_KNOWN_BYTES", KNOWN_BYTES),
        ("RING_RESERVED_END", RESERVED_END),
        ("RING_LENT", LENT),
        ("RING_LENT_CODE", LENT_CODE),
        ("RING_AREA_BYTES", AREA_BYTES),
        ("RING_DISTANCE", DISTANCE),
        ("RING_HEAD_BYTES", HEAD_BYTES),
        ("RING_BUFFER_BYTES", BUFFER_BYTES),
        ("RING_SHORT_LAP", SHORT_LAP),
        ("RING_NEARLY_ALL", NEARLY_ALL),
        ("RING_MOST_STRING", MOST_STRING),
        ("RING_MOST_MAPPED", MOST_MAPPED),
        ("PATH_HASH_START", PATH_HASH_START),
        ("PATH_HASH_FACTOR", PATH_HASH_FACTOR),
    ];
    plain
        .map(|(name, value)| (String::from(name), value))
        .into_iter()
        .chain(named!("BLOCK", block: SELF STACK SP LEAVE RESULT PHASE REFUSE HEAD PENDING REPLAYABLE STALE
            CLOCK EVERY SINCE TAKEN TRIES MAPS ASKS SITE RCX R11 PROCESSOR COUNTER COUNTER_TIME COUNTER_RATE
            SEEN MAPPED WRITTEN CODE CODE_PARTS GUARDED GUARDED_PARTS LAST KEPT KEPT_FILES KEPT_WORDS WAITED COUNTERS
            BELIEVES OUTPUTS MOST_OUTPUTS TWINS_AT TWINS TWIN_BYTES BACK RETURNING NAMES MOST_NAMES
            NAME_WORDS BYTES))
        .chain(named!("TRIES", tries: FORM FORM_REFUSED FORM_UNKNOWN FORM_LINK NO_WAIT IN_TURN))
        .chain(named!("FILES", files: BYTES INODE_FACTOR DEVICE_FACTOR SHIFT))
        .chain(named!("KNOWN", known: IS WRITES_STOP WAITS READS NO_WAIT))
        .chain(named!("PHASE", phase: ENTERED CALLING CALLED DONE LEFT ANSWERING RETURNING))
        .chain(named!("REFUSE", refuse: ALL OPENS WAITS DESCRIPTORS TURNS ENDS EXECS))
        .chain(named!("FRAME", frame: RAX ARGS RBX RBP R12 R13 R14 R15 SITE FLAGS BYTES))
        .chain(named!("SITE", site: AFTER TRAP IP ENTRY KIND BYTES SYSCALL RDTSC RDTSCP))
        .chain(named!("RECORD", record: SIZE NUMBER CAPTURES START END RESULT IP SP ARGS BYTES INSTRUCTIONS END_OF_LAP))
        .chain(named!("CAPTURE", capture: ADDR WANTED LENGTH SLOT SIDE STATUS BYTES OPENED MAPPED CONTENT TWIN))
        .chain(named!("TABLE", table: NUMBERS ROWS CAPTURES KIND COUNT FDS SINK WAITS FIRST CAPTURE_BYTES ROW_BYTES))
        .chain(
            named!("KIND", kind: PLAIN OPEN CLOSE FCNTL MAP UNMAP FUTEX DUP POLL PROTECT IOCTL RENAME OWN REFUSED END SELECT MAKE OPTION PAIR
                REMAP MOVE EXEC RETURN),
        )
        .chain(named!("SHAPE", shape: STRING BYTES IOVEC SIZED ARRAY ABSENT MESSAGE STRINGS MOST))
        .chain(named!("LENGTH", length: OWN ARG ARG32 RESULT BITS POINTEE))
        .chain(named!("DIRECTION", direction: IN OUT IN_OUT))
}

const _: () = {
    assert!(table::BYTES <= TABLE_BYTES);
    assert!(1 << (64 - files::SHIFT) == files::BYTES * 8);
    assert!(BUFFER_BYTES.is_power_of_two() && SHORT_LAP + NEARLY_ALL < BUFFER_BYTES);
    assert!((STACK_TOP - frame::BYTES).is_multiple_of(16));
    assert!(END <= FIRST_RING && RESERVED_END <= 0x8000_0000);
};
