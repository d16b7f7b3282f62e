//! What single steps leave behind in a program, and how it is taken away: the trap flag, where the processor or the kernel has
//! stored the flags while a step was on. A program that loads them again would stop after its next instruction.

use iced_x86::{Instruction, Mnemonic};
use libc::{pid_t, user_regs_struct};

use crate::image;
use crate::memory::word_of;
use crate::sys::{self, USER_CS};

/// Single steps, in the flags.
pub const TRAP_FLAG: u64 = 1 << 8;

/// Takes the flag out of what a stepped `pushf` has stored, which is where the stack pointer is now. Other instructions store none.
pub fn clear_stack(tid: pid_t, instruction: &Instruction, sp: u64) {
    if !stores_flags(instruction) {
        return;
    }
    let mut second = [0];
    if sys::read_pieces(tid, &[(sp.wrapping_add(1), 1)], &mut second) == 1 {
        sys::write_memory(tid, sp.wrapping_add(1), &[second[0] & !((TRAP_FLAG >> 8) as u8)]);
    }
}

/// Takes the flag out of the registers of a thread that had it not when it was stepped. The kernel takes it for the program's own from a step
/// on whose instruction loads the flags, as long as the thread is stepped, and where such a step has ended before its instruction.
/// `before`: the flags that it had. Those that it has now, where they were changed.
pub fn clear_flag(tid: pid_t, before: u64) -> Option<u64> {
    let regs = sys::registers(tid).ok()?;
    if before & TRAP_FLAG != 0 || regs.eflags & TRAP_FLAG == 0 {
        return None;
    }
    let own = user_regs_struct { eflags: regs.eflags & !TRAP_FLAG, ..regs };
    sys::set_registers(tid, &own).ok().map(|()| own.eflags)
}

/// Whether an instruction loads the flags, and with them the program's own state of this one.
#[must_use]
pub fn loads_flags(instruction: &Instruction) -> bool {
    use Mnemonic::{Iret, Iretd, Iretq, Popf, Popfd, Popfq};
    matches!(instruction.mnemonic(), Popf | Popfd | Popfq | Iret | Iretd | Iretq)
}

/// Whether an instruction has nothing to do with the flag: it neither loads nor stores it.
#[must_use]
pub fn leaves_flag(instruction: &Instruction) -> bool {
    !loads_flags(instruction) && !stores_flags(instruction)
}

fn stores_flags(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Pushfq)
}

/// Takes the flag out of the frame of a handler that a thread was stepped to. `before`: the registers that were interrupted,
/// `at_handler`: those at the first instruction of the handler. The kernel leaves it there when what stands at the interrupted
/// place looks like an instruction that loads the flags, since it takes it for the program's own then. Where a jump has
/// replaced code that may be any of its bytes. A call that the handler has interrupted may be made again: then the frame has its place.
pub fn clear_frame(tid: pid_t, before: &user_regs_struct, at_handler: &user_regs_struct) {
    if before.eflags & TRAP_FLAG != 0 {
        return;
    }
    let Some(frame) = Frame::find(tid, before, at_handler) else { return };
    if frame.flags & TRAP_FLAG != 0 {
        let flags = (frame.flags & !TRAP_FLAG).to_le_bytes();
        sys::write_memory(tid, frame.flags_at, &flags[..frame.word]);
    }
}

/// Whether a call that a handler has interrupted is made again when that has ended; the same registers.
#[must_use]
pub fn makes_call_again(tid: pid_t, before: &user_regs_struct, at_handler: &user_regs_struct) -> bool {
    Frame::find(tid, before, at_handler).is_some_and(|frame| frame.place != before.rip)
}

/// What the frame of a handler says of the place that was interrupted.
struct Frame {
    place: u64,
    flags: u64,
    flags_at: u64,
    /// The size of a word there.
    word: usize,
}

impl Frame {
    fn find(tid: pid_t, before: &user_regs_struct, at_handler: &user_regs_struct) -> Option<Frame> {
        /// Where the saved flags are, from the stack pointer on, and the size of a word there: `struct rt_sigframe` of x86-64, and
        /// both frames of i386 (asm/sigframe.h). The place that was interrupted stands 8 bytes before.
        const FLAGS: [(u64, usize); 3] = [(184, 8), (228, 4), (72, 4)];
        let is_64bit = before.cs == USER_CS;
        let is_made_again = sys::is_interrupted(before);
        let call = before.rip.wrapping_sub(image::SYSCALL.len() as u64);
        FLAGS.into_iter().filter(|(_, word)| is_64bit == (*word == 8)).find_map(|(offset, word)| {
            let flags_at = at_handler.rsp.wrapping_add(offset);
            let mut saved = [0; 16];
            if sys::read_pieces(tid, &[(flags_at.wrapping_sub(8), 8 + word)], &mut saved) < 8 + word {
                return None;
            }
            let (place, flags) = (word_of(&saved[..word]), word_of(&saved[8..8 + word]));
            let is_there = place == before.rip || (is_made_again && place == call);
            is_there.then_some(Frame { place, flags, flags_at, word })
        })
    }
}
#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::*;

    fn own() -> pid_t {
        std::process::id().cast_signed()
    }

    #[test]
    fn the_flag_is_taken_out_of_what_was_pushed() {
        let stored: [u8; 8] = (0x246_u64 | TRAP_FLAG).to_le_bytes();
        let place = std::hint::black_box(Box::new(stored));
        let instruction = |code: &[u8]| Decoder::new(64, code, DecoderOptions::NONE).decode();
        clear_stack(own(), &instruction(&[0x90]), place.as_ptr() as u64);
        assert_eq!(*std::hint::black_box(&place), Box::new(stored));
        for code in [&[0x9c][..], &[0x66, 0x9c], &[0x48, 0x9c]] {
            let place = std::hint::black_box(Box::new(stored));
            clear_stack(own(), &instruction(code), place.as_ptr() as u64);
            assert_eq!(*std::hint::black_box(place), 0x246_u64.to_le_bytes());
        }
    }

    #[test]
    fn the_flag_is_taken_out_of_a_frame_that_is_of_that_place() {
        // SAFETY: registers are plain numbers.
        let zeroed = || unsafe { std::mem::zeroed::<user_regs_struct>() };
        let frame = |is_64bit: bool, offset: usize, flags: u64| {
            let mut bytes = Box::new([0_u8; 256]);
            let word = if is_64bit { 8 } else { 4 };
            bytes[offset - 8..offset - 8 + word].copy_from_slice(&0x7000_u64.to_le_bytes()[..word]);
            bytes[offset..offset + word].copy_from_slice(&flags.to_le_bytes()[..word]);
            bytes
        };
        for (is_64bit, offset) in [(true, 184), (false, 228), (false, 72)] {
            for (place, own_flags, expected) in [(0x7000, 0, 0x202), (0x7001, 0, 0x302), (0x7000, TRAP_FLAG, 0x302)] {
                let bytes = std::hint::black_box(frame(is_64bit, offset, 0x302));
                let cs = if is_64bit { USER_CS } else { sys::USER32_CS };
                let before = user_regs_struct { rip: place, eflags: 0x202 | own_flags, cs, ..zeroed() };
                let at_handler = user_regs_struct { rsp: bytes.as_ptr() as u64, cs, ..zeroed() };
                clear_frame(own(), &before, &at_handler);
                assert_eq!(std::hint::black_box(bytes), frame(is_64bit, offset, expected));
            }
            // Behind a call that is made again the frame has the place of the call.
            for (rax, orig_rax, expected) in [(-512, 0, 0x202), (-4, 0, 0x302), (-512, -1, 0x302)] {
                let bytes = std::hint::black_box(frame(is_64bit, offset, 0x302));
                let cs = if is_64bit { USER_CS } else { sys::USER32_CS };
                let (rax, orig_rax) = (i64::cast_unsigned(rax), i64::cast_unsigned(orig_rax));
                let before = user_regs_struct { rip: 0x7002, eflags: 0x202, cs, rax, orig_rax, ..zeroed() };
                let at_handler = user_regs_struct { rsp: bytes.as_ptr() as u64, cs, ..zeroed() };
                clear_frame(own(), &before, &at_handler);
                assert_eq!(std::hint::black_box(bytes), frame(is_64bit, offset, expected));
            }
        }
    }
}
