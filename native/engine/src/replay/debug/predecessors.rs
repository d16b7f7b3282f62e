//! Which instruction a thread may have executed last: code cannot be decoded backwards, but most instructions that end where it stands can
//! be told from those that only look so.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess, UsedMemory};
use libc::{pid_t, user_regs_struct};

use super::breaks::Inserted;
use super::place::Watch;
use crate::probe;
use crate::sys;
use crate::waits;

/// Longest instruction.
const LONGEST: usize = 15;
/// The processor has two debug registers left for them.
const MOST: usize = 2;

/// The instructions that may have led a thread to where it stands, the likeliest first; by `accessed` memory, when they have touched that.
/// `inserted`: breakpoints that are in its memory.
pub fn of((tid, inserted): (pid_t, &Inserted), regs: &user_regs_struct, accessed: Option<Watch>) -> Vec<u64> {
    let mut code = [0; LONGEST];
    let start = regs.rip.wrapping_sub(LONGEST as u64);
    // What is before the page may not be mapped.
    let in_page = ((regs.rip % 4096) as usize).min(LONGEST);
    let first = LONGEST - in_page;
    let got = if sys::read_pieces(tid, &[(start, LONGEST)], &mut code) == LONGEST {
        0
    } else if sys::read_pieces(tid, &[(start + first as u64, in_page)], &mut code[first..]) == in_page {
        first
    } else {
        LONGEST
    };
    inserted.hide(start, &mut code);
    let mut found = ending_at(&code[got..], regs, accessed);
    if accessed.is_none() {
        found.extend(caller((tid, inserted), regs));
        // A call comes from elsewhere, and what stands before a function is mostly no code of it.
        found.sort_by_key(|(rank, _)| *rank);
    }
    found.truncate(MOST);
    let mut found: Vec<u64> = found.into_iter().map(|(_, addr)| addr).collect();
    // Where memory is watched the processor has no room for another one.
    if accessed.is_none()
        && let Some(addr) = callers((tid, inserted), regs).find(|addr| !found.contains(addr))
    {
        found.push(addr);
    }
    found
}

/// Instructions at the end of some code, which ends where a thread stands: how likely each is (less is more), and its address.
fn ending_at(code: &[u8], regs: &user_regs_struct, accessed: Option<Watch>) -> Vec<(u8, u64)> {
    let mut information = InstructionInfoFactory::new();
    let mut found: Vec<(u8, u64)> = Vec::new();
    for start in 0..code.len() {
        let addr = regs.rip.wrapping_sub((code.len() - start) as u64);
        let instruction = Decoder::with_ip(probe::bits(regs), &code[start..], addr, DecoderOptions::NONE).decode();
        if instruction.is_invalid() || instruction.next_ip() != regs.rip {
            continue;
        }
        match accessed {
            None if instruction.flow_control() == FlowControl::Next => found.push((1, addr)),
            None => {}
            Some(watch) => match touch(&mut information, &instruction, regs, watch) {
                Some(true) => found.push((0, addr)),
                Some(false) => found.push((1, addr)),
                None => {}
            },
        }
    }
    // The longest ones of a kind first: a prefix belongs to its instruction.
    found.sort_by_key(|(rank, _)| *rank);
    found
}

/// Whether an instruction touches watched memory, as far as the registers behind it tell; `None` when it touches none.
fn touch(
    information: &mut InstructionInfoFactory,
    instruction: &Instruction,
    regs: &user_regs_struct,
    watch: Watch,
) -> Option<bool> {
    let used = information.info(instruction).used_memory();
    let mut touches = used.iter().filter(|memory| {
        !matches!(memory.access(), OpAccess::None | OpAccess::NoMemAccess)
            && (watch.may_be_read() || waits::writes(memory.access()))
    });
    let first = touches.next()?;
    let covers = |memory: &UsedMemory| {
        let addr = waits::address_of(memory, regs);
        let size = memory.memory_size().size().max(1) as u64;
        addr.is_some_and(|addr| addr < watch.addr + u64::from(watch.length) && watch.addr < addr.saturating_add(size))
    };
    Some(covers(first) || touches.any(covers))
}

/// The call that has led to the begin of a function, whose return address is on the stack then.
fn caller(of: (pid_t, &Inserted), regs: &user_regs_struct) -> Option<(u8, u64)> {
    let mut word = [0; 8];
    (sys::read_pieces(of.0, &[(regs.rsp, 8)], &mut word) == word.len()).then_some(())?;
    let call = call_before(of, u64::from_le_bytes(word), regs)?;
    (call.near_branch64() == regs.rip).then_some((0, call.ip()))
}

/// Calls that the thread is in, as far as the top of its stack tells, the innermost first. What returns there has been called since.
fn callers<'a>(of: (pid_t, &'a Inserted), regs: &'a user_regs_struct) -> impl Iterator<Item = u64> + 'a {
    /// Frames are mostly smaller.
    const WORDS: usize = 128;
    let mut stack = [0; WORDS * 8];
    let start = regs.rsp & !7;
    // What is behind the stack's end is not there.
    let room = (4096 - (start % 4096) as usize).min(stack.len());
    let whole = sys::read_pieces(of.0, &[(start, stack.len())], &mut stack);
    let got = if whole == stack.len() { whole } else { sys::read_pieces(of.0, &[(start, room)], &mut stack[..room]) };
    let words: Vec<u64> =
        stack[..got].chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default())).collect();
    words.into_iter().filter_map(move |word| call_before(of, word, regs)).map(|call| call.ip())
}

/// The direct call that stands before a return address.
fn call_before((tid, inserted): (pid_t, &Inserted), addr: u64, regs: &user_regs_struct) -> Option<Instruction> {
    /// A call with its 32-bit distance.
    const CALL: usize = 5;
    let start = addr.checked_sub(CALL as u64)?;
    let mut code = [0; CALL];
    (sys::read_pieces(tid, &[(start, CALL)], &mut code) == CALL).then_some(())?;
    inserted.hide(start, &mut code);
    let instruction = Decoder::with_ip(probe::bits(regs), &code, start, DecoderOptions::NONE).decode();
    (instruction.is_call_near() && instruction.len() == CALL).then_some(instruction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::debug::place::Access;

    const IP: u64 = 0x40_1000;

    fn regs() -> user_regs_struct {
        // SAFETY: the struct has only integers, for which all zeros are valid.
        let mut regs: user_regs_struct = unsafe { std::mem::zeroed() };
        (regs.rip, regs.cs, regs.rax) = (IP, sys::USER_CS, 0x7000);
        regs
    }

    fn watch(addr: u64) -> Watch {
        Watch { addr, length: 8, kind: Access::Write }
    }

    #[test]
    fn the_instruction_that_wrote_is_the_one_whose_operand_is_the_memory() {
        // mov %edx, 0x10(%rax) behind nop; with a prefix it is another one.
        let code = [0x90, 0x48, 0x89, 0x50, 0x10];
        assert_eq!(ending_at(&code, &regs(), Some(watch(0x7010))), [(0, IP - 4), (0, IP - 3)]);
        // Elsewhere it may have been all the same: a register may have changed.
        assert_eq!(ending_at(&code, &regs(), Some(watch(0x9000))), [(1, IP - 4), (1, IP - 3)]);
        // What only reads has not written.
        let code = [0x90, 0x48, 0x8b, 0x50, 0x10];
        assert_eq!(ending_at(&code, &regs(), Some(watch(0x7010))), []);
    }

    #[test]
    fn what_jumps_away_does_not_lead_to_what_stands_behind_it() {
        // jmp +0; nop
        assert_eq!(ending_at(&[0xeb, 0x00], &regs(), None), []);
        assert_eq!(ending_at(&[0xeb, 0x00, 0x90], &regs(), None).last(), Some(&(1, IP - 1)));
    }
}
