//! Code that is put into a thread to find a moment of it again: it stands at one instruction, compares registers and words
//! of memory at each turn, at a few nanoseconds, and stops the thread only where they are equal.
//!
//! The instruction is overwritten by a jump, and what the jump overwrites is done behind the comparison. Nothing of the
//! program is used: no stack, and memory is only read. A word that cannot be read is an unequal one (see [`Probe::out`]).

use iced_x86::code_asm::{
    AsmRegister32, AsmRegister64, CodeAssembler, CodeLabel, dword_ptr, gpr8, gpr32, gpr64, qword_ptr,
};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};
use libc::{pid_t, user_regs_struct};

use crate::memory::word_of;
use crate::sys::{self, USER32_CS};

/// Words of memory that a probe compares.
pub const MOST_WORDS: usize = 48;
/// Bytes of a jump with a 32-bit distance.
pub const JUMP_BYTES: usize = 5;
/// Longest instruction.
const LONGEST: usize = 15;
/// Bytes of code that a probe overwrites at most: of instructions over which its jump fits.
pub const MOST_OVERWRITTEN: usize = JUMP_BYTES - 1 + LONGEST;
/// Bytes of memory that a probe takes, its code and its data.
pub const PROBE_BYTES: u64 = 4096;
/// Where the data of a 32-bit probe is: in lines of the cache that hold no code.
const DATA_32: u64 = 3072;

/// A word of memory and what it holds.
pub type Word = (u64, u64);

/// Whether the registers are those of 32-bit code (`__USER32_CS`), and how many bits a word of it has.
#[must_use]
pub fn bits(regs: &user_regs_struct) -> u32 {
    if regs.cs == USER32_CS { 32 } else { 64 }
}

/// The instruction at an address.
#[must_use]
pub fn decode(tid: pid_t, ip: u64, bits: u32) -> Option<Instruction> {
    let mut code = [0; LONGEST];
    // The next page may not be mapped.
    let to_page = (4096 - ip % 4096) as usize;
    let near = to_page.min(LONGEST);
    let got = sys::read_pieces(tid, &[(ip, near), (ip + near as u64, LONGEST - near)], &mut code);
    let instruction = Decoder::with_ip(bits, &code[..got], ip, DecoderOptions::NONE).decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// Instructions that enter the kernel for a call.
#[must_use]
pub fn is_call(instruction: &Instruction) -> bool {
    const LINUX: u8 = 0x80;
    match instruction.mnemonic() {
        Mnemonic::Syscall | Mnemonic::Sysenter => true,
        Mnemonic::Int => instruction.immediate8() == LINUX,
        _ => false,
    }
}

/// Instructions that the recorder hears of.
#[must_use]
pub fn is_boundary(instruction: &Instruction) -> bool {
    matches!(
        instruction.mnemonic(),
        Mnemonic::Syscall | Mnemonic::Sysenter | Mnemonic::Int | Mnemonic::Rdtsc | Mnemonic::Rdtscp
    )
}

/// Whether an instruction does the same at another place.
fn can_move(instruction: &Instruction) -> bool {
    let flows_on = matches!(
        instruction.flow_control(),
        FlowControl::Next | FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
    );
    let repeats = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    flows_on && !repeats && !is_boundary(instruction)
}

/// The end of the instructions from `ip` on that a probe's jump would overwrite; `None` when no probe can stand there.
#[must_use]
pub fn window_end(tid: pid_t, ip: u64, bits: u32) -> Option<u64> {
    window(tid, ip, bits).and_then(|window| window.last().map(Instruction::next_ip))
}

/// Which bytes of a probe's jump at `ip` come to stand where an instruction begins: who comes there has to be stopped. Behind the
/// jump everything stops.
#[must_use]
pub fn inner_starts(tid: pid_t, ip: u64, bits: u32) -> Vec<usize> {
    let window = window(tid, ip, bits).unwrap_or_default();
    window
        .iter()
        .skip(1)
        .map(|instruction| (instruction.ip() - ip) as usize)
        .filter(|start| *start < JUMP_BYTES)
        .collect()
}

/// Whether a byte is a breakpoint, or the whole of an instruction that no program may execute (Intel SDM volume 2, A.3).
fn traps(byte: u8, bits: u32) -> bool {
    match byte {
        // int3, hlt, cli, sti
        0xcc | 0xf4 | 0xfa | 0xfb => true,
        // Instructions of 32-bit programs: push and pop of segments, decimal arithmetic, pusha, popa, into, salc.
        0x06 | 0x07 | 0x0e | 0x16 | 0x17 | 0x1e | 0x1f | 0x27 | 0x2f | 0x37 | 0x3f | 0x60 | 0x61 | 0xce | 0xd6 => {
            bits == 64
        }
        _ => false,
    }
}

/// The instructions from `ip` on over which a jump fits; only the last of them branches.
fn window(tid: pid_t, ip: u64, bits: u32) -> Option<Vec<Instruction>> {
    let mut found: Vec<Instruction> = Vec::new();
    let mut length = 0;
    while length < JUMP_BYTES {
        let instruction = decode(tid, ip + length as u64, bits).filter(can_move)?;
        if found.last().is_some_and(|last| last.flow_control() != FlowControl::Next) {
            return None;
        }
        length += instruction.len();
        found.push(instruction);
    }
    // Nothing may come to the bytes behind the first of the jump.
    let inside = ip + 1..ip + length as u64;
    let goes_inside = found.last().is_some_and(|last| inside.contains(&last.near_branch_target()));
    (!goes_inside).then_some(found)
}

/// A probe: what to write where, and how to read the thread's registers when it stops.
pub struct Probe {
    /// The code, for the address that it was made for.
    pub code: Vec<u8>,
    /// Where the thread stands when registers and words are equal.
    pub hit: u64,
    /// Where it goes on when they are not; before that it is comparing.
    pub out: u64,
    /// Where the registers are kept that the probe uses.
    saved: u64,
    /// Bytes of each.
    word: usize,
    /// Bytes to put over the instruction.
    pub jump: Vec<u8>,
    /// What was there.
    pub original: Vec<u8>,
}

impl Probe {
    /// The probe for a state of a thread, with its code at `base`; `None` when its instruction takes no probe.
    #[must_use]
    pub fn new(tid: pid_t, state: &user_regs_struct, words: &[Word], base: u64) -> Option<Probe> {
        let bits = bits(state);
        if bits == 32 && base + PROBE_BYTES > 1 << 32 {
            return None;
        }
        let window = window(tid, state.rip, bits)?;
        let length = window.iter().map(Instruction::len).sum();
        let mut original = vec![0; length];
        if sys::read_pieces(tid, &[(state.rip, original.len())], &mut original) != original.len() {
            return None;
        }
        let distance = base.wrapping_sub(state.rip + JUMP_BYTES as u64) as i64;
        let distance = if bits == 32 { distance as i32 } else { i32::try_from(distance).ok()? };
        let mut jump = vec![0xcc; length];
        jump[0] = 0xe9;
        jump[1..JUMP_BYTES].copy_from_slice(&distance.to_le_bytes());
        // Who jumps to an instruction behind the first one has to be stopped there.
        let mut starts = window.iter().skip(1).map(|instruction| (instruction.ip() - state.rip) as usize);
        if !starts.all(|start| traps(jump[start], bits)) {
            return None;
        }
        let words = &words[..words.len().min(MOST_WORDS)];
        let assembled =
            if bits == 32 { assemble_32(&window, state, words, base) } else { assemble(&window, state, words, base) };
        let Assembled { code, hit, out, saved } = assembled.ok()?;
        let room = if bits == 32 { DATA_32 } else { PROBE_BYTES };
        (code.len() as u64 <= room).then_some(Probe { code, hit, out, saved, word: bits as usize / 8, jump, original })
    }

    /// The distances at which a probe's code can be put from the end of its jump so that its bytes at `starts` stop a thread that
    /// executes them; first those of which all bytes do.
    pub fn distances(bits: u32, starts: &[usize]) -> impl Iterator<Item = i32> {
        const TRAP: u8 = 0xcc;
        const LOW: i32 = 0x00cc_cccc;
        let all: Vec<u8> = (0..=u8::MAX).rev().filter(|byte| traps(*byte, bits)).collect();
        let whole: Vec<i32> = all.iter().map(|byte| i32::from(*byte as i8) << 24 | LOW).collect();
        // Behind the first byte of a jump are those of its distance, the lowest first. Only the upper ones lead far.
        let choices = |index: usize| match index {
            _ if starts.contains(&(index + 1)) => all.clone(),
            0 | 1 => vec![TRAP],
            _ => (0..=u8::MAX).rev().collect(),
        };
        let [first, second, third, fourth] = [0, 1, 2, 3].map(choices);
        let near = (0..fourth.len() * third.len()).flat_map(move |at| {
            let upper = (third[at % third.len()], fourth[at / third.len()]);
            let lower = first.iter().flat_map(|low| second.iter().map(|high| (*low, *high)));
            lower.map(|(low, high)| i32::from_le_bytes([low, high, upper.0, upper.1])).collect::<Vec<_>>()
        });
        whole.into_iter().chain(near)
    }

    /// Whether an address is in the middle of what the jump at `place` overwrites.
    #[must_use]
    pub fn is_inside(&self, ip: u64, place: u64) -> bool {
        (place + 1..place + self.jump.len() as u64).contains(&ip)
    }

    /// The registers that the thread has where the probe stands, from those with which it stopped in the probe.
    #[must_use]
    pub fn registers(&self, tid: pid_t, stopped: &user_regs_struct, ip: u64) -> Option<user_regs_struct> {
        /// What `lahf` tells: carry, parity, adjust, zero, sign.
        const LOW_FLAGS: u64 = 0xd5;
        const OVERFLOW: u64 = 1 << 11;
        let mut saved = [0; 24];
        let length = 3 * self.word;
        if sys::read_pieces(tid, &[(self.saved, length)], &mut saved[..length]) != length {
            return None;
        }
        let word = |index: usize| word_of(&saved[index * self.word..(index + 1) * self.word]);
        let (rax, rcx, flags) = (word(0), word(1), word(2));
        let low = flags >> 8 & LOW_FLAGS;
        let overflow = if flags & 1 != 0 { OVERFLOW } else { 0 };
        let eflags = stopped.eflags & !(LOW_FLAGS | OVERFLOW) | low | overflow;
        Some(user_regs_struct { rip: ip, rax, rcx, eflags, ..*stopped })
    }
}

/// The code of a probe and places in it: behind its breakpoint, behind its comparison, and where it saves registers (`rax`,
/// `rcx`, flags).
struct Assembled {
    code: Vec<u8>,
    hit: u64,
    out: u64,
    saved: u64,
}

/// The code of a probe for 64-bit programs.
///
/// The stack is the program's, and there may be something below its pointer: nothing is pushed.
fn assemble(
    window: &[Instruction],
    state: &user_regs_struct,
    words: &[Word],
    base: u64,
) -> Result<Assembled, iced_x86::IcedError> {
    use gpr64::{r8, r9, r10, r11, r12, r13, r14, r15, rax, rbp, rbx, rcx, rdi, rdx, rsi, rsp};
    let mut code = CodeAssembler::new(64)?;
    let (mut saved_rax, mut saved_rcx, mut saved_flags, mut out, mut hit): (
        CodeLabel,
        CodeLabel,
        CodeLabel,
        CodeLabel,
        CodeLabel,
    ) = (code.create_label(), code.create_label(), code.create_label(), code.create_label(), code.create_label());
    code.mov(qword_ptr(saved_rax), rax)?;
    code.mov(qword_ptr(saved_rcx), rcx)?;
    // The flags in ah, overflow in al.
    code.lahf()?;
    code.seto(gpr8::al)?;
    code.mov(qword_ptr(saved_flags), rax)?;
    for (register, value) in [(qword_ptr(saved_rcx), state.rcx), (qword_ptr(saved_rax), state.rax)] {
        code.mov(rcx, value)?;
        code.cmp(rcx, register)?;
        code.jne(out)?;
    }
    let plain: [(AsmRegister64, u64); 14] = [
        (rdx, state.rdx),
        (rbx, state.rbx),
        (rsi, state.rsi),
        (rdi, state.rdi),
        (rbp, state.rbp),
        (rsp, state.rsp),
        (r8, state.r8),
        (r9, state.r9),
        (r10, state.r10),
        (r11, state.r11),
        (r12, state.r12),
        (r13, state.r13),
        (r14, state.r14),
        (r15, state.r15),
    ];
    for (register, value) in plain {
        code.mov(rcx, value)?;
        code.cmp(rcx, register)?;
        code.jne(out)?;
    }
    for (addr, value) in words {
        code.mov(rcx, *addr)?;
        code.mov(rcx, qword_ptr(rcx))?;
        code.mov(rax, *value)?;
        code.cmp(rax, rcx)?;
        code.jne(out)?;
    }
    code.int3()?;
    code.set_label(&mut hit)?;
    code.nop()?;
    code.set_label(&mut out)?;
    code.mov(rcx, qword_ptr(saved_rcx))?;
    code.mov(rax, qword_ptr(saved_flags))?;
    code.add(gpr8::al, 0x7f)?;
    code.sahf()?;
    code.mov(rax, qword_ptr(saved_rax))?;
    add_moved(&mut code, window)?;
    code.jmp(window.last().map_or(0, Instruction::next_ip))?;
    // Data in lines of the cache of its own: writes to lines that hold code are slow.
    code.nops_with_size(128)?;
    code.set_label(&mut saved_rax)?;
    code.dq(&[0])?;
    code.set_label(&mut saved_rcx)?;
    code.dq(&[0])?;
    code.set_label(&mut saved_flags)?;
    code.dq(&[0])?;
    let done = code.assemble_options(base, iced_x86::BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
    let (hit, out, saved) = (done.label_ip(&hit)?, done.label_ip(&out)?, done.label_ip(&saved_rax)?);
    Ok(Assembled { code: done.inner.code_buffer, hit, out, saved })
}

/// Adds instructions that were moved. A branch from one of them to the first leads to the probe, and not to what stands here for it.
fn add_moved(code: &mut CodeAssembler, window: &[Instruction]) -> Result<(), iced_x86::IcedError> {
    for instruction in window {
        // By its address a branch would find it here.
        let mut moved = *instruction;
        moved.set_ip(0);
        code.add_instruction(moved)?;
    }
    Ok(())
}

/// The same for 32-bit code.
fn assemble_32(
    window: &[Instruction],
    state: &user_regs_struct,
    words: &[Word],
    base: u64,
) -> Result<Assembled, iced_x86::IcedError> {
    use gpr32::{eax, ebp, ebx, ecx, edi, edx, esi, esp};
    let mut code = CodeAssembler::new(32)?;
    let (mut out, mut hit): (CodeLabel, CodeLabel) = (code.create_label(), code.create_label());
    let data = base + DATA_32;
    let kept = |index: u64| dword_ptr(data + index * 4);
    code.mov(kept(0), eax)?;
    code.mov(kept(1), ecx)?;
    code.lahf()?;
    code.seto(gpr8::al)?;
    code.mov(kept(2), eax)?;
    for (register, value) in [(kept(1), state.rcx), (kept(0), state.rax)] {
        code.mov(ecx, value as u32)?;
        code.cmp(ecx, register)?;
        code.jne(out)?;
    }
    let plain: [(AsmRegister32, u64); 6] =
        [(edx, state.rdx), (ebx, state.rbx), (esi, state.rsi), (edi, state.rdi), (ebp, state.rbp), (esp, state.rsp)];
    for (register, value) in plain {
        code.mov(ecx, value as u32)?;
        code.cmp(ecx, register)?;
        code.jne(out)?;
    }
    for (addr, value) in words.iter().filter(|(addr, _)| *addr < (1 << 32) - 8) {
        for (addr, half) in [(*addr, *value as u32), (*addr + 4, (*value >> 32) as u32)] {
            code.mov(ecx, dword_ptr(addr))?;
            code.mov(eax, half)?;
            code.cmp(eax, ecx)?;
            code.jne(out)?;
        }
    }
    code.int3()?;
    code.set_label(&mut hit)?;
    code.nop()?;
    code.set_label(&mut out)?;
    code.mov(ecx, kept(1))?;
    code.mov(eax, kept(2))?;
    code.add(gpr8::al, 0x7f)?;
    code.sahf()?;
    code.mov(eax, kept(0))?;
    add_moved(&mut code, window)?;
    code.jmp(window.last().map_or(0, Instruction::next_ip))?;
    let done = code.assemble_options(base, iced_x86::BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
    let (hit, out) = (done.label_ip(&hit)?, done.label_ip(&out)?);
    Ok(Assembled { code: done.inner.code_buffer, hit, out, saved: data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(code: &[u8]) -> Instruction {
        Decoder::with_ip(64, code, 0x1000, DecoderOptions::NONE).decode()
    }

    #[test]
    fn a_probe_stands_where_a_jump_fits() {
        // cmp rcx, 200000000; cmp dword [rip+1000], 0; jne near
        assert!(can_move(&decoded(&[0x48, 0x81, 0xf9, 0x00, 0xc2, 0xeb, 0x0b])));
        assert!(can_move(&decoded(&[0x83, 0x3d, 0xe8, 0x03, 0, 0, 0])));
        assert!(can_move(&decoded(&[0x0f, 0x85, 0, 1, 0, 0])));
        // call near (its return address would be another one); syscall
        assert!(!can_move(&decoded(&[0xe8, 0, 1, 0, 0])));
        assert!(is_boundary(&decoded(&[0x0f, 0x05])));
    }

    #[test]
    fn a_probe_finds_room_in_every_direction_and_traps_where_instructions_begin() {
        // Of `fnstsw ax; sahf; jp`: two begin among the bytes of the jump.
        let starts = [2, 3];
        let all: Vec<[u8; 4]> = Probe::distances(64, &starts).map(i32::to_le_bytes).collect();
        assert!(all.iter().all(|bytes| starts.iter().all(|start| traps(bytes[start - 1], 64))));
        let uppermost: std::collections::HashSet<u8> = all.iter().map(|bytes| bytes[3]).collect();
        assert_eq!(uppermost.len(), 256);
        // Those come first of which everything traps.
        assert_eq!(all[0][..3], [0xcc; 3]);
        assert!(traps(all[0][3], 64));
        // Where nothing begins there is room everywhere.
        assert_eq!(Probe::distances(64, &[]).filter(|distance| distance >> 24 == 0x40).count(), 256);
    }

    #[test]
    fn the_code_of_a_probe_ends_with_the_instruction_and_the_way_back() {
        let instruction = decoded(&[0x83, 0x3d, 0xe8, 0x03, 0, 0, 0]);
        // SAFETY: the struct has only integers.
        let state: user_regs_struct = unsafe { std::mem::zeroed() };
        let Assembled { code, hit, out, saved } = assemble(&[instruction], &state, &[(0x5000, 7)], 0x9000).unwrap();
        let mut decoder = Decoder::with_ip(64, &code, 0x9000, DecoderOptions::NONE);
        let all: Vec<Instruction> = decoder.iter().take_while(|instruction| instruction.ip() < saved).collect();
        let back = all.iter().position(|instruction| instruction.near_branch_target() == 0x1007).unwrap();
        // The instruction reads what it read at its own place.
        assert_eq!(all[back - 1].ip_rel_memory_address(), 0x1007 + 1000);
        assert!(all.iter().any(|instruction| instruction.next_ip() == hit));
        assert!(all.iter().any(|instruction| instruction.ip() == out && out > hit));
        assert_eq!(code.len() as u64, saved - 0x9000 + 3 * 8);
    }

    #[test]
    fn a_loop_of_what_a_probe_replaces_comes_round_to_the_probe() {
        // mov eax, [rdx]; test eax, eax; je 0x1000
        let code = [0x8b, 0x02, 0x85, 0xc0, 0x74, 0xfa];
        let window: Vec<Instruction> = Decoder::with_ip(64, &code, 0x1000, DecoderOptions::NONE).into_iter().collect();
        // SAFETY: the struct has only integers.
        let state: user_regs_struct = unsafe { std::mem::zeroed() };
        let Assembled { code, out, .. } = assemble(&window, &state, &[], 0x9000).unwrap();
        let moved = Decoder::with_ip(64, &code[(out - 0x9000) as usize..], out, DecoderOptions::NONE);
        let branches: Vec<u64> =
            moved.into_iter().map(|moved| moved.near_branch_target()).filter(|target| *target != 0).take(2).collect();
        assert_eq!(branches, [0x1000, 0x1006]);
    }

    #[test]
    fn a_32_bit_probe_keeps_its_data_apart_from_its_code() {
        // add dword [0x5000], 1
        let code = [0x83, 0x05, 0x00, 0x50, 0, 0, 1];
        let instruction = Decoder::with_ip(32, &code, 0x1000, DecoderOptions::NONE).decode();
        // SAFETY: the struct has only integers.
        let state: user_regs_struct = unsafe { std::mem::zeroed() };
        let words = [(0x5000, 7 << 32 | 6); MOST_WORDS];
        let Assembled { code, hit, out, saved } = assemble_32(&[instruction], &state, &words, 0x9000).unwrap();
        assert_eq!(saved, 0x9000 + DATA_32);
        assert!(out > hit);
        assert!((code.len() as u64) < DATA_32);
        let all: Vec<Instruction> = Decoder::with_ip(32, &code, 0x9000, DecoderOptions::NONE).iter().collect();
        assert!(all.iter().any(|instruction| instruction.next_ip() == hit));
        assert_eq!(all[all.len() - 1].near_branch_target(), 0x1007);
        assert_eq!(all[all.len() - 2].memory_displacement64(), 0x5000);
    }
}
