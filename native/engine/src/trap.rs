//! Instructions that are answered in place of the processor: what the answer does to a thread's registers. Recorder and replay both do
//! it here.

use libc::user_regs_struct;
use trace_format::event::Trap;

/// What stands where an instruction was that does not trap by itself: `ud2`.
pub const UNDEFINED: [u8; 2] = [0x0f, 0x0b];

/// `cpuid`
pub const CPUID: [u8; 2] = [0x0f, 0xa2];

/// Bits of the flags register.
mod flags {
    pub const CARRY: u64 = 1;
    /// Parity, adjust, zero, sign and overflow: `rdrand` and `rdseed` clear them.
    pub const OTHERS: u64 = 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 11;
}

/// Puts a value into a register of so many bytes, as the instruction would, and goes on behind it. `false` when there is no such register,
/// or no such instruction.
pub fn answer(
    regs: &mut user_regs_struct,
    trap: Option<Trap>,
    (value, carry): (u64, bool),
    (register, width): (u64, u64),
    length: u64,
) -> bool {
    let mut changed = *regs;
    let Some(target) = general(&mut changed, register) else { return false };
    match width {
        8 => *target = value,
        4 => *target = value & 0xffff_ffff,
        2 => *target = *target & !0xffff | value & 0xffff,
        _ => return false,
    }
    match trap {
        Some(Trap::Rdrand | Trap::Rdseed) => {
            changed.eflags &= !(flags::CARRY | flags::OTHERS);
            changed.eflags |= if carry { flags::CARRY } else { 0 };
        }
        Some(Trap::Rdpid) => {}
        _ => return false,
    }
    changed.rip = changed.rip.wrapping_add(length);
    *regs = changed;
    true
}

/// The general register with that number in instructions (Intel SDM volume 2, table 3-1).
fn general(regs: &mut user_regs_struct, number: u64) -> Option<&mut u64> {
    Some(match number {
        0 => &mut regs.rax,
        1 => &mut regs.rcx,
        2 => &mut regs.rdx,
        3 => &mut regs.rbx,
        4 => &mut regs.rsp,
        5 => &mut regs.rbp,
        6 => &mut regs.rsi,
        7 => &mut regs.rdi,
        8 => &mut regs.r8,
        9 => &mut regs.r9,
        10 => &mut regs.r10,
        11 => &mut regs.r11,
        12 => &mut regs.r12,
        13 => &mut regs.r13,
        14 => &mut regs.r14,
        15 => &mut regs.r15,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_change_as_by_the_instruction() {
        // SAFETY: the struct has only integers, for which all zeros are valid.
        let mut regs: user_regs_struct = unsafe { std::mem::zeroed() };
        (regs.rip, regs.eflags, regs.r9) = (0x1000, 0x8d7, u64::MAX);
        assert!(answer(&mut regs, Some(Trap::Rdrand), (0x1234_5678_9abc, true), (9, 2), 5));
        assert_eq!((regs.rip, regs.eflags, regs.r9), (0x1005, 0x3, 0xffff_ffff_ffff_9abc));
        assert!(answer(&mut regs, Some(Trap::Rdseed), (0, false), (9, 4), 4));
        assert_eq!((regs.rip, regs.eflags, regs.r9), (0x1009, 0x2, 0));
        regs.eflags = 0x8d7;
        assert!(answer(&mut regs, Some(Trap::Rdpid), (3, true), (0, 8), 4));
        assert_eq!((regs.eflags, regs.rax), (0x8d7, 3));
        let before = regs.rip;
        assert!(!answer(&mut regs, Some(Trap::Rdrand), (0, true), (16, 8), 4));
        assert!(!answer(&mut regs, Some(Trap::Rdrand), (0, true), (0, 1), 4));
        assert!(!answer(&mut regs, Some(Trap::Cpuid), (0, true), (0, 8), 4));
        assert_eq!(regs.rip, before);
    }
}
