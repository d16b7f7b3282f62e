//! The registers of a thread, as gdb wants them: described by itself in XML (gdb's manual, "Target Descriptions"), and sent one behind
//! the other in that order.

use gdbstub::arch::{Arch, Registers};
use libc::{pid_t, user_regs_struct};

use crate::sys;

/// x86-64, with what Linux adds.
pub enum X86 {}

impl Arch for X86 {
    type Usize = u64;
    type Registers = Values;
    type BreakpointKind = usize;
    /// They are asked for all at once.
    type RegId = ();

    fn target_description_xml() -> Option<&'static str> {
        Some(DESCRIPTION)
    }
}

/// All registers, in the order of the description.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    bytes: Vec<u8>,
}

impl Registers for Values {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        const PLACE: std::ops::Range<usize> = 16 * 8..17 * 8;
        self.bytes.get(PLACE).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        self.bytes.iter().for_each(|byte| write_byte(Some(*byte)));
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.bytes = bytes.to_vec();
        Ok(())
    }
}

/// Offsets in what FXSAVE and XSAVE store, Intel SDM volume 1, 10.5.1 and 13.4.
mod saved {
    pub const CONTROL: usize = 0;
    pub const STATUS: usize = 2;
    pub const TAGS: usize = 4;
    pub const OPCODE: usize = 6;
    pub const INSTRUCTION: usize = 8;
    pub const OPERAND: usize = 16;
    pub const MXCSR: usize = 24;
    pub const STACK: usize = 32;
    pub const XMM: usize = 160;
    /// Which parts are not in their initial state.
    pub const PRESENT: usize = 512;
    pub const AVX: u64 = 1 << 2;
    pub const YMM: usize = 576;
    pub const END: usize = YMM + 256;
}

impl Values {
    /// Those of a stopped thread, whose general ones are given.
    #[must_use]
    pub fn of(tid: pid_t, regs: &user_regs_struct) -> Values {
        let mut vectors = [0_u8; saved::END];
        // Where the kernel has none to tell they are zero.
        let _ = sys::vector_registers(tid, &mut vectors);
        let mut bytes = Vec::with_capacity(1024);
        let general = [
            regs.rax, regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi, regs.rbp, regs.rsp, regs.r8, regs.r9, regs.r10,
            regs.r11, regs.r12, regs.r13, regs.r14, regs.r15, regs.rip,
        ];
        bytes.extend(general.iter().flat_map(|value| value.to_le_bytes()));
        for value in [regs.eflags, regs.cs, regs.ss, regs.ds, regs.es, regs.fs, regs.gs] {
            bytes.extend((value as u32).to_le_bytes());
        }
        for number in 0..8 {
            let at = saved::STACK + number * 16;
            bytes.extend(&vectors[at..at + 10]);
        }
        let half = |at: usize| u32::from(u16::from_le_bytes([vectors[at], vectors[at + 1]]));
        let word = |at: usize| u32::from_le_bytes([vectors[at], vectors[at + 1], vectors[at + 2], vectors[at + 3]]);
        let control = [
            half(saved::CONTROL),
            half(saved::STATUS),
            tags(vectors[saved::TAGS]),
            half(saved::INSTRUCTION + 4),
            word(saved::INSTRUCTION),
            half(saved::OPERAND + 4),
            word(saved::OPERAND),
            half(saved::OPCODE),
        ];
        bytes.extend(control.iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend(&vectors[saved::XMM..saved::XMM + 256]);
        bytes.extend(word(saved::MXCSR).to_le_bytes());
        for value in [regs.orig_rax, regs.fs_base, regs.gs_base] {
            bytes.extend(value.to_le_bytes());
        }
        let present = u64::from_le_bytes(std::array::from_fn(|at| vectors[saved::PRESENT + at]));
        let upper = if present & saved::AVX != 0 { &vectors[saved::YMM..saved::END] } else { &[0; 256] };
        bytes.extend(upper);
        Values { bytes }
    }
}

/// The tag word of the x87, of which FXSAVE keeps a bit for each register: whether it is in use.
fn tags(used: u8) -> u32 {
    const EMPTY: u32 = 3;
    (0..8).filter(|number| used & 1 << number == 0).fold(0, |tags, number| tags | EMPTY << (2 * number))
}

/// What the registers are called: gdb knows these features by their names.
const DESCRIPTION: &str = include_str!("registers.xml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_says_how_long_the_registers_are() {
        let bits = DESCRIPTION.lines().filter(|line| line.contains("<reg ")).map(|line| {
            let value = line.split("bitsize=\"").nth(1).and_then(|rest| rest.split('"').next());
            value.and_then(|value| value.parse::<usize>().ok()).expect("a register without a size")
        });
        // SAFETY: the struct has only integers, for which all zeros are valid.
        let regs: user_regs_struct = unsafe { std::mem::zeroed() };
        assert_eq!(Values::of(sys::own_tid(), &regs).bytes.len(), bits.sum::<usize>() / 8);
    }

    #[test]
    fn the_place_is_the_instruction_pointer() {
        // SAFETY: as above.
        let mut regs: user_regs_struct = unsafe { std::mem::zeroed() };
        regs.rip = 0x1234_5678_9abc;
        assert_eq!(Values::of(sys::own_tid(), &regs).pc(), 0x1234_5678_9abc);
    }

    #[test]
    fn registers_of_the_x87_that_are_not_used_are_empty() {
        assert_eq!(tags(0), 0xffff);
        assert_eq!(tags(0x80), 0x3fff);
    }
}
