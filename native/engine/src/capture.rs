//! Taking the memory that a call reads and writes, at entry and at exit, as its plan says.
//!
//! Regular arguments are handled here from their rows alone. Families whose memory depends on other arguments
//! (`ioctl`, `prctl`, `bpf`, ...) have one file each in `irregular/`.

use libc::pid_t;
use trace_format::event::Side;
use trace_format::table::{Arch, Dir, Len, Ty};

use crate::irregular;
use crate::memory::{Capturer, Data, Memory, word_of};
use crate::plan::{self, Plan, Pointer, Shape};
use crate::sys::SyscallInfo;

/// A call that a tracee has entered and not yet left.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub arch: Arch,
    pub number: u32,
    /// `None` when the table does not know the number.
    pub plan: Option<&'static Plan>,
    pub args: [u64; 6],
    pub ip: u64,
    pub sp: u64,
    /// Nanoseconds of CLOCK_MONOTONIC at entry.
    pub start: u64,
    pub entry_seq: u64,
    /// It continues a call that was interrupted.
    pub restarted: bool,
}

impl Call {
    /// The call at whose entry a thread stands, before anything is noted of it: its start and number of event are 0.
    #[must_use]
    pub fn entered(info: &SyscallInfo) -> Call {
        let (arch, number) = (info.machine(), info.first as u32);
        Call {
            arch,
            number,
            plan: plan::by_number(arch, number),
            args: info.args,
            ip: info.ip,
            sp: info.sp,
            start: 0,
            entry_seq: 0,
            restarted: false,
        }
    }

    /// A call of a 64-bit program of which nothing is known but its number, and when it was.
    #[must_use]
    pub fn unknown(number: u32, start: u64, entry_seq: u64) -> Call {
        let (arch, plan) = (Arch::X86_64, plan::by_number(Arch::X86_64, number));
        Call { arch, number, plan, args: [0; 6], ip: 0, sp: 0, start, entry_seq, restarted: false }
    }

    /// The row's name, or an empty string for an unknown number.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.plan.map_or("", |plan| plan.row.name)
    }

    /// How many argument registers mean something.
    #[must_use]
    pub fn nargs(&self) -> u8 {
        self.plan.map_or(6, |plan| plan.row.args.len() as u8)
    }

    /// Argument `index` read as a C `int`.
    #[must_use]
    pub fn int(&self, index: usize) -> i32 {
        self.args[index] as i32
    }
}

/// Takes what the kernel is about to read.
pub fn entry(tid: pid_t, data: Data, call: &Call, memory: &mut Memory) {
    run(tid, data, call, memory, None);
    if call.name() == "rt_sigreturn" && call.arch == Arch::X86_64 && call.sp != 0 {
        // The mask that comes back is in the signal frame: the stack pointer stands at a struct ucontext, whose members
        // before the mask are flags, link, stack and registers (asm/ucontext.h, asm/sigcontext.h).
        const MASK: u64 = 8 + 8 + 24 + 256;
        let mut capturer = Capturer { tid, word: 8, data, memory };
        capturer.structure(0, Side::In, call.sp.wrapping_add(MASK), 8);
    }
}

/// Takes what the kernel has written. `result` is the raw return value.
pub fn exit(tid: pid_t, data: Data, call: &Call, result: i64, memory: &mut Memory) {
    run(tid, data, call, memory, Some(result));
    if result > 0 && call.name() == "vmsplice" && reads_pipe(tid, call.int(0)) {
        let mut capturer = Capturer { tid, word: call.arch.word(), data, memory };
        iovec(&mut capturer, 1, Side::Out, call.args[1], call.args[2], result as u64);
    }
}

/// Takes what a call that failed may have changed all the same: what it was given to read and to write, and what is there of
/// memory that is not there as a whole.
pub fn failed(tid: pid_t, data: Data, call: &Call, result: i64, memory: &mut Memory) {
    const EFAULT: i64 = -14;
    let Some(plan) = call.plan else { return };
    let mut capturer = Capturer { tid, word: call.arch.word(), data, memory };
    if result == EFAULT {
        for pointer in plan.pointers.iter().filter(|pointer| pointer.dir == Dir::Out) {
            readable_part(&mut capturer, call, pointer);
        }
    }
    for pointer in &plan.pointers {
        match pointer.shape {
            Shape::Struct(_) | Shape::Array(_) if pointer.dir == Dir::InOut => {
                take(&mut capturer, call, pointer, Side::Out, 0);
            }
            Shape::Irregular(family) => irregular::failed(family, &mut capturer, call, pointer, result),
            _ => {}
        }
    }
}

/// Takes the memory behind a pointer as far as it can be read.
fn readable_part(capturer: &mut Capturer<'_>, call: &Call, pointer: &Pointer) {
    let addr = call.args[usize::from(pointer.slot)];
    let count = length(capturer, call, pointer, Side::In, 0).min(MAX_STRUCT);
    let wanted = match pointer.shape {
        Shape::Payload => count,
        Shape::Struct(size) if pointer.len == Len::Own => u64::from(size),
        Shape::Struct(_) => count,
        Shape::Array(size) => u64::from(size) * if pointer.len == Len::Own { 1 } else { count },
        _ => return,
    };
    let mut buffer = vec![0; wanted.min(MAX_STRUCT) as usize];
    let readable = if addr == 0 { 0 } else { capturer.peek(addr, &mut buffer) };
    capturer.structure(pointer.slot, Side::Out, addr, readable as u64);
}

/// vmsplice(2) at the end that a pipe is read from puts its content into memory.
fn reads_pipe(tid: pid_t, fd: i32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE == libc::O_RDONLY)
}

fn run(tid: pid_t, data: Data, call: &Call, memory: &mut Memory, result: Option<i64>) {
    let Some(plan) = call.plan else { return };
    let mut capturer = Capturer { tid, word: call.arch.word(), data, memory };
    for pointer in &plan.pointers {
        if let Shape::Irregular(family) = pointer.shape {
            irregular::capture(family, &mut capturer, call, pointer, result);
            continue;
        }
        match result {
            // Where the data will go is told at entry; the data is taken at exit.
            None if pointer.dir == Dir::Out && matches!(pointer.shape, Shape::Iovec) => {
                vector_table(&mut capturer, call, pointer);
            }
            None if pointer.dir != Dir::Out || matches!(pointer.shape, Shape::Msghdr | Shape::Mmsghdr) => {
                take(&mut capturer, call, pointer, Side::In, 0);
            }
            Some(result) if tells_at_exit(pointer) && writes_on(plan, result) => {
                take(&mut capturer, call, pointer, Side::Out, result);
            }
            _ => {}
        }
    }
}

/// Whether the kernel writes behind the pointer. A call that sends messages fills in how much of each it sent.
fn tells_at_exit(pointer: &Pointer) -> bool {
    pointer.dir != Dir::In || matches!(pointer.shape, Shape::Mmsghdr)
}

/// Whether a raw result is an error (`-4095..0`, and the kernel's internal restart codes among them).
#[must_use]
pub fn is_error(result: i64) -> bool {
    (-4095..0).contains(&result)
}

/// Whether the call wrote its output memory: it succeeded, or it is one of those that write when interrupted.
fn writes_on(plan: &Plan, result: i64) -> bool {
    const EINTR: i64 = -4;
    const ERESTARTNOHAND: i64 = -514;
    const ERESTART_RESTARTBLOCK: i64 = -516;
    const E2BIG: i64 = -7;
    !is_error(result)
        || (plan.writes_interrupted && matches!(result, EINTR | ERESTARTNOHAND | ERESTART_RESTARTBLOCK))
        // The kernel says which size it knows.
        || (plan.row.name == "sched_setattr" && result == E2BIG)
}

/// Length of what is behind a pointer: bytes or elements, as the shape has it.
pub fn length(capturer: &Capturer<'_>, call: &Call, pointer: &Pointer, side: Side, result: i64) -> u64 {
    let arg = |index: u8| call.args[usize::from(index).min(5)];
    let before = |index: u8| capturer.memory.find(index, Side::In).map(word_of);
    match pointer.len {
        Len::Own => 0,
        Len::Fixed(count) => u64::from(count),
        // Lengths that are C ints arrive with an undefined upper half.
        Len::Arg(index)
            if matches!(call.plan.map(|plan| plan.row.args[usize::from(index)].ty), Some(Ty::Int | Ty::Uint)) =>
        {
            u64::from(arg(index) as u32)
        }
        Len::Arg(index) => arg(index),
        Len::RetMax(index) if side == Side::Out => (result.max(0) as u64).min(arg(index)),
        Len::RetMax(index) => arg(index),
        Len::Ret => result.max(0) as u64,
        Len::Pointee(index) => {
            let now = capturer.peek_u32(arg(index)).map_or(0, u64::from);
            if side == Side::Out { before(index).map_or(now, |before| before.min(now)) } else { now }
        }
        Len::PointeeWord(index) => {
            let now = capturer.peek_word(arg(index)).unwrap_or(0);
            if side == Side::Out { before(index).map_or(now, |before| before.min(now)) } else { now }
        }
    }
}

/// Most bytes of a struct whose size the program says.
const MAX_STRUCT: u64 = 64 << 10;
/// Most elements of an array.
const MAX_ELEMENTS: u64 = 64 << 10;

fn take(capturer: &mut Capturer<'_>, call: &Call, pointer: &Pointer, side: Side, result: i64) {
    let slot = pointer.slot;
    let addr = call.args[usize::from(slot)];
    if addr == 0 {
        return;
    }
    let count = length(capturer, call, pointer, side, result);
    match pointer.shape {
        Shape::String => capturer.string(slot, side, addr),
        Shape::Strings => capturer.strings(slot, side, addr),
        Shape::Payload => capturer.payload(slot, side, addr, count),
        Shape::Struct(size) if pointer.len == Len::Own => capturer.structure(slot, side, addr, u64::from(size)),
        // A struct that begins with its size: 0 stands for the first layout (sched_setattr(2)).
        Shape::Struct(size) if pointer.len == Len::Pointee(slot) && count == 0 => {
            const SCHED_ATTR_SIZE_VER0: u64 = 48;
            capturer.structure(slot, side, addr, SCHED_ATTR_SIZE_VER0.min(u64::from(size)));
        }
        Shape::Struct(_) => capturer.structure(slot, side, addr, count.min(MAX_STRUCT)),
        Shape::Array(size) => {
            let count = if pointer.len == Len::Own { 1 } else { count };
            capturer.structure(slot, side, addr, count.min(MAX_ELEMENTS) * u64::from(size));
        }
        Shape::Iovec => iovec(capturer, slot, side, addr, count, limit(side, result)),
        Shape::Msghdr => message(capturer, slot, side, addr, limit(side, result), pointer.dir),
        Shape::Mmsghdr => messages(capturer, slot, side, addr, count, result, pointer.dir),
        Shape::FdSet => {
            let bits = capturer.word as u64 * 8;
            capturer.structure(slot, side, addr, (count.min(1 << 20)).div_ceil(bits) * capturer.word as u64);
        }
        Shape::Irregular(_) => {}
    }
}

/// Bytes that were transferred: all at entry, the result at exit.
fn limit(side: Side, result: i64) -> u64 {
    if side == Side::In { u64::MAX } else { result.max(0) as u64 }
}

fn vector_table(capturer: &mut Capturer<'_>, call: &Call, pointer: &Pointer) {
    let count = length(capturer, call, pointer, Side::In, 0).min(1024);
    let bytes = count * 2 * capturer.word as u64;
    capturer.structure(pointer.slot, Side::In, call.args[usize::from(pointer.slot)], bytes);
}

/// Takes an iovec array (at entry) and the buffers behind it, at most `limit` bytes in all.
pub fn iovec(capturer: &mut Capturer<'_>, slot: u8, side: Side, addr: u64, count: u64, limit: u64) {
    let word = capturer.word;
    let count = count.min(1024) as usize;
    let mut table = vec![0_u8; count * 2 * word];
    let readable = capturer.peek(addr, &mut table);
    if side == Side::In || capturer.memory.find(slot, Side::In).is_none() {
        capturer.structure(slot, Side::In, addr, table.len() as u64);
    }
    buffers(capturer, slot, side, &table[..readable], limit);
}

fn buffers(capturer: &mut Capturer<'_>, slot: u8, side: Side, table: &[u8], mut limit: u64) {
    let word = capturer.word;
    for entry in table.chunks_exact(2 * word) {
        let base = word_of(&entry[..word]);
        let length = word_of(&entry[word..]).min(limit);
        if length == 0 {
            continue;
        }
        capturer.payload(slot, side, base, length);
        limit -= length;
    }
}

/// Takes a `struct msghdr` with what it points to. At entry of a receiving call only the header and the iovec array.
pub fn message(capturer: &mut Capturer<'_>, slot: u8, side: Side, addr: u64, limit: u64, dir: Dir) {
    let word = capturer.word;
    let size = if word == 8 { 56 } else { 28 };
    let mut header = [0_u8; 56];
    let readable = capturer.peek(addr, &mut header[..size]);
    capturer.structure(slot, side, addr, size as u64);
    if readable < size {
        return;
    }
    let at = |index: usize| word_of(&header[index * word..(index + 1) * word]);
    let length_of_name = |header: &[u8]| u64::from(word_of(&header[word..word + 4]) as u32);
    // The kernel says how long the name is, also when the program has less room for it.
    let room = capturer.memory.at_entry(slot, addr).filter(|before| side == Side::Out && before.len() == size);
    let name_length = length_of_name(&header).min(room.map_or(u64::MAX, length_of_name));
    let (vector, count, control, control_length) = (at(2), at(3).min(1024), at(4), at(5));
    let carries = side == Side::Out || dir == Dir::In;
    if carries {
        capturer.structure(slot, side, at(0), name_length.min(4096));
    }
    let mut table = vec![0_u8; count as usize * 2 * word];
    let readable = capturer.peek(vector, &mut table);
    if side == Side::In {
        capturer.structure(slot, side, vector, table.len() as u64);
    }
    if carries {
        buffers(capturer, slot, side, &table[..readable], limit);
        capturer.structure(slot, side, control, control_length.min(MAX_STRUCT));
    }
}

/// Takes a `struct mmsghdr` array; at exit the first `result` messages, each with its own length.
fn messages(capturer: &mut Capturer<'_>, slot: u8, side: Side, addr: u64, count: u64, result: i64, dir: Dir) {
    let stride = if capturer.word == 8 { 64 } else { 32 };
    let header = stride - if capturer.word == 8 { 8 } else { 4 };
    let count = if side == Side::Out { count.min(result.max(0) as u64) } else { count.min(1024) };
    for index in 0..count {
        let at = addr.wrapping_add(index * stride);
        let length = capturer.peek_u32(at.wrapping_add(header)).map_or(0, u64::from);
        let limit = if side == Side::Out && dir != Dir::In { length } else { u64::MAX };
        if side == Side::Out && dir == Dir::In {
            // A sending call only fills in how much it sent.
            capturer.structure(slot, side, at.wrapping_add(header), 4);
        } else {
            message(capturer, slot, side, at, limit, dir);
            capturer.structure(slot, side, at.wrapping_add(header), 4);
        }
    }
}
