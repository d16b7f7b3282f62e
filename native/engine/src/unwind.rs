//! From the registers and memory of a stopped thread to the frames of its stack.
//!
//! A frame is unwound by the tables of its file (.eh_frame, .debug_frame; DWARF 5, section 6.4, and the Linux Standard Base's
//! "Exception Frames"), a signal frame by its code where it has no table, and anything else by the frame pointer, which is
//! marked as a guess. Nothing here knows what a trace or a replay is.

pub mod module;
mod rules;

use gimli::UnwindContext;

use module::Module;

/// Most frames of a stack.
pub const MOST_FRAMES: usize = trace_format::limits::MAX_STACK_DEPTH as usize;
/// Registers by their DWARF numbers: 0 to 15 and the return address of x86-64 (its ABI, figure 3.36), or 0 to 8 of i386.
const REGISTERS: usize = 17;

/// The instruction set of the unwound code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    I386,
}

impl Machine {
    fn ip(self) -> usize {
        match self {
            Machine::X86_64 => 16,
            Machine::I386 => 8,
        }
    }

    fn sp(self) -> usize {
        match self {
            Machine::X86_64 => 7,
            Machine::I386 => 4,
        }
    }

    fn frame_pointer(self) -> usize {
        match self {
            Machine::X86_64 => 6,
            Machine::I386 => 5,
        }
    }

    /// Bytes of a word.
    fn word(self) -> u8 {
        match self {
            Machine::X86_64 => 8,
            Machine::I386 => 4,
        }
    }

    fn cut(self, value: u64) -> u64 {
        match self {
            Machine::X86_64 => value,
            Machine::I386 => value & 0xffff_ffff,
        }
    }
}

/// The registers of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    machine: Machine,
    values: [u64; REGISTERS],
}

impl Registers {
    /// Those of a stopped thread.
    #[must_use]
    pub fn of(regs: &libc::user_regs_struct) -> Registers {
        /// Code segment of 32-bit programs (arch/x86/include/asm/segment.h, `__USER32_CS`).
        const USER32_CS: u64 = 0x23;
        if regs.cs == USER32_CS {
            let mut values = [0; REGISTERS];
            let low = [regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi, regs.rip];
            values[..9].copy_from_slice(&low.map(|value| value & 0xffff_ffff));
            return Registers { machine: Machine::I386, values };
        }
        let values = [
            regs.rax, regs.rdx, regs.rcx, regs.rbx, regs.rsi, regs.rdi, regs.rbp, regs.rsp, regs.r8, regs.r9, regs.r10,
            regs.r11, regs.r12, regs.r13, regs.r14, regs.r15, regs.rip,
        ];
        Registers { machine: Machine::X86_64, values }
    }

    #[must_use]
    pub fn ip(&self) -> u64 {
        self.values[self.machine.ip()]
    }

    #[must_use]
    pub fn sp(&self) -> u64 {
        self.values[self.machine.sp()]
    }

    fn get(&self, register: u16) -> Option<u64> {
        self.values.get(usize::from(register)).copied()
    }

    fn set(&mut self, register: u16, value: u64) {
        if let Some(place) = self.values.get_mut(usize::from(register)) {
            *place = self.machine.cut(value);
        }
    }
}

/// What the unwinder asks of the stopped process.
pub trait Process {
    /// Reads memory; `false` when not all of it is there.
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> bool;

    /// The code around an address; `None` where nothing is executable.
    fn code_at(&mut self, addr: u64) -> Option<Code>;
}

/// A piece of executable memory.
#[derive(Clone, Debug)]
pub struct Code {
    /// The file behind it, when its content is at hand.
    pub module: Option<std::rc::Rc<Module>>,
    /// The address in the file minus the address in memory, wrapping.
    pub to_file: u64,
}

/// How a frame was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The registers of the thread.
    Registers,
    /// By a table of its callee's file.
    Table,
    /// What a signal interrupted.
    Signal,
    /// The code that returns from a signal's handler: the kernel has put its address behind the handler's frame.
    Trampoline,
    /// By the frame pointer, or the word on top of the stack: code without a table has called, and this is a guess.
    Guess,
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where the thread is, or goes on when the frame's callee returns.
    pub address: u64,
    pub how: How,
    /// The stack pointer there.
    pub sp: u64,
}

impl Frame {
    /// An address inside the instruction that the frame stands for: a return address may be that of the next function.
    #[must_use]
    pub fn lookup(&self) -> u64 {
        match self.how {
            How::Registers | How::Signal | How::Trampoline => self.address,
            How::Table | How::Guess => self.address.saturating_sub(1),
        }
    }
}

/// Why there are no more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is the outermost one.
    Complete,
    /// The memory in which the next one is saved cannot be read.
    Unreadable,
    /// The code has no table, and its frame pointer leads nowhere.
    NoTable,
    /// The table leads in a circle, or is damaged.
    BadTable,
    /// There are more than [`MOST_FRAMES`].
    TooDeep,
    /// What the table gives as the place to return to is no code.
    NoCode,
    /// The same as unreadable, in a copy: less of the stack was copied.
    NotCopied,
}

impl End {
    /// Its number in files.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            End::Complete => 0,
            End::Unreadable => 1,
            End::NoTable => 2,
            End::BadTable => 3,
            End::TooDeep => 4,
            // 5 is taken by calls without a thread.
            End::NoCode => 6,
            End::NotCopied => 7,
        }
    }
}

/// Unwinds stacks; holds what is worth keeping from one to the next.
#[derive(Default)]
pub struct Unwinder {
    context: UnwindContext<usize>,
}

enum Step {
    To(Registers, How),
    End(End),
}

impl Unwinder {
    /// The frames of a thread, innermost first, appended to `frames`.
    pub fn unwind(&mut self, registers: Registers, process: &mut impl Process, frames: &mut Vec<Frame>) -> End {
        let start = frames.len();
        let mut registers = registers;
        let mut how = How::Registers;
        loop {
            let frame = Frame { address: registers.ip(), how, sp: registers.sp() };
            frames.push(frame);
            if frames.len() - start >= MOST_FRAMES {
                return End::TooDeep;
            }
            match self.step(&registers, frame, process) {
                Step::To(next, next_how) => {
                    if next_how == How::Signal
                        && let Some(frame) = frames.last_mut()
                    {
                        frame.how = How::Trampoline;
                    }
                    registers = next;
                    how = next_how;
                }
                Step::End(end) => return end,
            }
        }
    }

    fn step(&mut self, registers: &Registers, frame: Frame, process: &mut impl Process) -> Step {
        let code = process.code_at(frame.lookup());
        let row = code.as_ref().and_then(|code| {
            let module = code.module.as_ref()?;
            let row = module.row(frame.lookup().wrapping_add(code.to_file), &mut self.context)?;
            Some((module, code, row))
        });
        let Some((module, code, row)) = row else { return without_table(registers, frame, process) };
        let caller = rules::apply(&row, module, 0_u64.wrapping_sub(code.to_file), registers, process);
        let next = match caller {
            Ok(Some(next)) => next,
            Ok(None) => return Step::End(End::Complete),
            Err(end) => return Step::End(end),
        };
        if next.ip() == 0 {
            return Step::End(End::Complete);
        }
        if row.is_signal {
            return Step::To(next, How::Signal);
        }
        // A call has pushed its return address: stacks grow down, and coroutines switch elsewhere only by a signal frame or by
        // code that says so.
        // The innermost function may have taken it back, and hold it in a register (vfork of glibc).
        let is_held = next.sp() == registers.sp() && matches!(frame.how, How::Registers | How::Signal);
        if !is_held
            && next.sp() <= registers.sp()
            && next.sp().saturating_add(registers.machine.word().into()) > registers.sp()
        {
            return Step::End(End::BadTable);
        }
        if process.code_at(next.ip().saturating_sub(1)).is_none() {
            return Step::End(End::NoCode);
        }
        Step::To(next, How::Table)
    }
}

/// A word of the stack.
fn word(process: &mut impl Process, machine: Machine, addr: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    let size = usize::from(machine.word());
    process.read(addr, &mut bytes[..size]).then(|| u64::from_le_bytes(bytes))
}

/// The caller of code that no table speaks of.
fn without_table(registers: &Registers, frame: Frame, process: &mut impl Process) -> Step {
    let machine = registers.machine;
    if let Some(next) = interrupted(registers, process) {
        return Step::To(next, How::Signal);
    }
    let size = u64::from(machine.word());
    let sp = registers.sp();
    // A function that has set up nothing: a stub around one call.
    let innermost = matches!(frame.how, How::Registers | How::Signal);
    if innermost
        && let Some(address) = word(process, machine, sp)
        && is_behind_call(process, address)
    {
        let mut next = *registers;
        next.set(machine.ip() as u16, address);
        next.set(machine.sp() as u16, sp.wrapping_add(size));
        return Step::To(next, How::Guess);
    }
    let base = registers.values[machine.frame_pointer()];
    if base == 0 {
        // It marks the outermost function; of the innermost one nothing says that it has a frame pointer.
        return Step::End(if innermost { End::NoTable } else { End::Complete });
    }
    if base < sp || !base.is_multiple_of(size) {
        return Step::End(End::NoTable);
    }
    let saved = word(process, machine, base).zip(word(process, machine, base.wrapping_add(size)));
    let Some((saved, address)) = saved else { return Step::End(End::NoTable) };
    if address == 0 {
        return Step::End(End::Complete);
    }
    if process.code_at(address.saturating_sub(1)).is_none() {
        return Step::End(End::NoTable);
    }
    let mut next = *registers;
    next.set(machine.ip() as u16, address);
    next.set(machine.sp() as u16, base.wrapping_add(2 * size));
    next.set(machine.frame_pointer() as u16, saved);
    Step::To(next, How::Guess)
}

/// Whether a call instruction ends at an address of code.
fn is_behind_call(process: &mut impl Process, address: u64) -> bool {
    let Some(start) = address.checked_sub(7) else { return false };
    if process.code_at(address - 1).is_none() {
        return false;
    }
    let mut bytes = [0; 7];
    if !process.read(start, &mut bytes) {
        return false;
    }
    let indirect = |length: usize| {
        let at = 7 - length;
        bytes[at] == 0xff && bytes[at + 1] >> 3 & 7 == 2
    };
    bytes[2] == 0xe8 || [2, 3, 4, 6, 7].into_iter().any(indirect)
}

/// The registers that a signal interrupted, where the code is the return from its handler: the stack pointer is behind the
/// address of that code by then, which the kernel has put in front of what it saved.
fn interrupted(registers: &Registers, process: &mut impl Process) -> Option<Registers> {
    match registers.machine {
        Machine::X86_64 => interrupted_wide(registers, process),
        Machine::I386 => interrupted_narrow(registers, process),
    }
}

/// arch/x86/kernel/signal_64.c: a `ucontext` is saved.
fn interrupted_wide(registers: &Registers, process: &mut impl Process) -> Option<Registers> {
    /// `mov $15, %rax; syscall`, and the same with `%eax`.
    const RETURNS: [&[u8]; 2] = [&[0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 5], &[0xb8, 15, 0, 0, 0, 0x0f, 5]];
    /// Offset of the registers in `struct ucontext`; their order in `struct sigcontext` by DWARF number.
    const IN_CONTEXT: u64 = 40;
    const ORDER: [u16; 17] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16];
    // In front of the first instruction, or in the call.
    let mut code = [0; 9];
    let mut is_return = |known: &[u8]| {
        let code = &mut code[..known.len()];
        [0, known.len() as u64]
            .iter()
            .any(|past| process.read(registers.ip().wrapping_sub(*past), code) && code == known)
    };
    if !RETURNS.into_iter().any(&mut is_return) {
        return None;
    }
    let mut saved = [0; 17 * 8];
    if !process.read(registers.sp().wrapping_add(IN_CONTEXT), &mut saved) {
        return None;
    }
    let mut next = *registers;
    for (register, bytes) in ORDER.into_iter().zip(saved.chunks_exact(8)) {
        next.set(register, u64::from_le_bytes(bytes.try_into().ok()?));
    }
    Some(next)
}

/// arch/x86/kernel/signal_32.c: a signal's number and a `sigcontext`, or its number, two pointers, and what these point to: a
/// `siginfo` and a `ucontext`.
fn interrupted_narrow(registers: &Registers, process: &mut impl Process) -> Option<Registers> {
    /// `pop %eax; mov $119, %eax; int $0x80`, and `mov $173, %eax; int $0x80` (`sigreturn`, `rt_sigreturn`).
    const RETURNS: [u8; 8] = [0x58, 0xb8, 119, 0, 0, 0, 0xcd, 0x80];
    const RETURNS_RT: [u8; 7] = [0xb8, 173, 0, 0, 0, 0xcd, 0x80];
    const CONTEXT_POINTER: u64 = 8;
    /// Offset of the registers in `struct ucontext_ia32`.
    const IN_CONTEXT: u64 = 20;
    /// Offset of the general registers in `struct sigcontext_32`, their order by DWARF number, and where `eip` is of these.
    const GENERAL: u64 = 16;
    const ORDER: [u16; 8] = [7, 6, 5, 4, 3, 2, 1, 0];
    const IP: usize = 10;
    let (ip, sp) = (registers.ip(), registers.sp());
    // In front of the first instruction, or in the call, before which a word has been popped.
    let mut is_at = |addr: u64, known: &[u8]| {
        let mut code = [0; 8];
        let code = &mut code[..known.len()];
        process.read(addr, code) && code == known
    };
    let start = if is_at(ip, &RETURNS) {
        sp.wrapping_add(4)
    } else if is_at(ip.wrapping_sub(8), &RETURNS) {
        sp
    } else if is_at(ip, &RETURNS_RT) || is_at(ip.wrapping_sub(7), &RETURNS_RT) {
        word(process, Machine::I386, sp.wrapping_add(CONTEXT_POINTER))?.wrapping_add(IN_CONTEXT)
    } else {
        return None;
    };
    let mut saved = [0; (IP + 1) * 4];
    if !process.read(Machine::I386.cut(start.wrapping_add(GENERAL)), &mut saved) {
        return None;
    }
    let word = |at: usize| u32::from_le_bytes([saved[at], saved[at + 1], saved[at + 2], saved[at + 3]]);
    let mut next = *registers;
    for (register, at) in ORDER.into_iter().zip((0..).step_by(4)) {
        next.set(register, word(at).into());
    }
    next.set(Machine::I386.ip() as u16, word(IP * 4).into());
    Some(next)
}

#[cfg(test)]
mod tests;
