//! Loops in which threads wait for others. A turn of such a loop reads memory and changes nothing but registers, so it is the same turn again
//! and again until somebody else writes to a word that it reads. Code that was compiled for debuggers, or calls functions, writes to its stack in
//! each turn, and a loop that counts its turns changes a register or a word as well: these may end some time by themselves.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::rc::Rc;

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register, UsedMemory};
use libc::{pid_t, user_regs_struct};
use trace_format::ring::block;

use crate::memory::word_of;
use crate::probe::{self, Word, bits};
use crate::state;
use crate::sys;

/// Instructions of a turn.
pub const LONGEST_TURN: usize = 64;
/// Words that a thread may wait for.
const MOST_WORDS: usize = 16;
/// Words that are read and written in a turn that writes, most of them of its stack.
const MOST_PASSED: usize = 128;
/// Turns that are remembered of an address space; those that came long ago are forgotten.
const MOST_TURNS: usize = 64;
/// Instructions of them. A program with more makes them as it goes.
const MOST_INSTRUCTIONS: usize = 1 << 14;
/// Bytes of a word.
const WORD: u64 = 8;

/// What an instruction does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// At most it reads.
    Reading,
    Writing,
}

/// A turn of a loop in which a thread waits: nothing but registers changes on the way, and in the end they are what they were. So it is
/// the same turn again and again, until somebody else changes what it reads.
pub struct Turn {
    factory: InstructionInfoFactory,
    /// Memory was read.
    pub reads: bool,
    /// The processor was told that this is a loop that waits, by `pause`.
    pub pauses: bool,
    /// Addresses of the words that were read.
    at: BTreeSet<u64>,
    /// The same of the instructions.
    code: BTreeSet<u64>,
    /// These are not all.
    reads_more: bool,
    /// The addresses that were read and written, in their order.
    path: Vec<u64>,
    /// Addresses of the words that were written.
    written: BTreeSet<u64>,
    /// How many words there may be.
    most: usize,
}

impl Default for Turn {
    fn default() -> Turn {
        Turn::of(MOST_WORDS)
    }
}

impl Turn {
    fn of(most: usize) -> Turn {
        Turn {
            factory: InstructionInfoFactory::new(),
            reads: false,
            pauses: false,
            at: BTreeSet::new(),
            code: BTreeSet::new(),
            reads_more: false,
            path: Vec::new(),
            written: BTreeSet::new(),
            most,
        }
    }

    /// One that may write to memory.
    #[must_use]
    pub fn that_may_write() -> Turn {
        Turn::of(MOST_PASSED)
    }

    /// Whether an instruction may be part of it: it writes to no memory, and to no registers but the general ones and flags; and it
    /// is passed with one step, as those that repeat themselves are not everywhere. With these registers it is come to.
    pub fn takes(&mut self, instruction: &Instruction, regs: &user_regs_struct) -> bool {
        self.passes(instruction, regs) == Some(Passes::Reading)
    }

    /// What an instruction does that is passed with one step and writes to no registers but the general ones and flags.
    pub fn passes(&mut self, instruction: &Instruction, regs: &user_regs_struct) -> Option<Passes> {
        if probe::is_boundary(instruction) || repeats(instruction) {
            return None;
        }
        self.code.extend(words_in(instruction.ip(), instruction.next_ip().saturating_sub(1)));
        self.pauses |= instruction.mnemonic() == Mnemonic::Pause;
        let info = self.factory.info(instruction);
        let memory = info.used_memory().iter().filter(|used| !is_nothing(used.access()));
        let mut passes = Passes::Reading;
        for used in memory {
            let is_written = writes(used.access());
            if is_written {
                passes = Passes::Writing;
            } else {
                self.reads = true;
            }
            self.path.extend(address_of(used, regs));
            match words_of(used, regs) {
                Some(words) if self.at.len() < self.most => {
                    self.written.extend(words.clone().filter(|_| is_written));
                    self.at.extend(words);
                }
                _ => self.reads_more = true,
            }
        }
        let keeps_registers =
            info.used_registers().iter().all(|used| !writes(used.access()) || is_general(used.register()));
        keeps_registers.then_some(passes)
    }

    /// The words that were read and what they hold, of a thread that is stopped. None when it is not known which these are.
    #[must_use]
    pub fn words(&self, tid: pid_t) -> Vec<Word> {
        if self.reads_more { Vec::new() } else { held(tid, &self.at).unwrap_or_default() }
    }

    /// Whether memory was written.
    #[must_use]
    pub fn writes(&self) -> bool {
        !self.written.is_empty() || self.reads_more
    }

    /// The same, those first that were only read.
    #[must_use]
    pub fn read_and_written(&self, tid: pid_t) -> (Vec<Word>, Vec<Word>) {
        self.words(tid).into_iter().partition(|(addr, _)| !self.written.contains(addr))
    }

    /// Whether this turn has gone the way of another one: neither goes through memory.
    #[must_use]
    pub fn goes_like(&self, other: &Turn) -> bool {
        self.reads && !self.reads_more && self.path == other.path && self.code == other.code
    }
}

/// Words of a thread's memory and what they hold, if they all can be read.
fn held(tid: pid_t, at: &BTreeSet<u64>) -> Option<Vec<Word>> {
    let words: Vec<Word> = at.iter().map(|addr| (*addr, 0)).collect();
    let now = values(tid, &words)?;
    Some(at.iter().copied().zip(now).collect())
}

/// What words hold in a thread's memory now, if they all can be read.
fn values(tid: pid_t, words: &[Word]) -> Option<Vec<u64>> {
    let pieces: Vec<(u64, usize)> = words.iter().map(|(addr, _)| (*addr, WORD as usize)).collect();
    let mut bytes = vec![0; words.len() * WORD as usize];
    let is_read = sys::read_pieces(tid, &pieces, &mut bytes) == bytes.len();
    is_read.then(|| bytes.chunks_exact(WORD as usize).map(word_of).collect())
}

/// Splits words into those of a thread's memory that hold what they held, and those that changed, with what they hold now.
#[must_use]
pub fn still_and_changed(tid: pid_t, words: &[Word]) -> (Vec<Word>, Vec<Word>) {
    let now = values(tid, words).unwrap_or_default();
    let now = words.iter().zip(now).map(|((addr, before), now)| ((*addr, now), *before == now));
    let (still, changed): (Vec<_>, Vec<_>) = now.partition(|(_, holds)| *holds);
    let plain = |words: Vec<(Word, bool)>| words.into_iter().map(|(word, _)| word).collect();
    (plain(still), plain(changed))
}

/// Whether words of a thread's memory hold what they held.
#[must_use]
pub fn hold_still(tid: pid_t, words: &[Word]) -> bool {
    values(tid, words).is_some_and(|now| words.iter().zip(now).all(|((_, before), now)| *before == now))
}

/// The address of memory that an instruction uses, where it follows from registers.
#[must_use]
pub fn address_of(used: &UsedMemory, regs: &user_regs_struct) -> Option<u64> {
    used.virtual_address(0, |register, _, _| value_of(register, regs))
}

/// The aligned words that memory is in which an instruction reads, when its place follows from registers of 64-bit code.
fn words_of(used: &UsedMemory, regs: &user_regs_struct) -> Option<impl Iterator<Item = u64> + Clone> {
    let at = address_of(used, regs)?;
    let last = at.checked_add((used.memory_size().size() as u64).checked_sub(1)?)?;
    (bits(regs) == 64).then(|| words_in(at, last))
}

/// The aligned words that these bytes are in.
fn words_in(first: u64, last: u64) -> impl Iterator<Item = u64> + Clone {
    (first / WORD..=last / WORD).map(|word| word * WORD)
}

/// What a register holds that addresses are made of, in 64-bit code.
fn value_of(register: Register, regs: &user_regs_struct) -> Option<u64> {
    let whole = match register.full_register() {
        Register::RAX => regs.rax,
        Register::RBX => regs.rbx,
        Register::RCX => regs.rcx,
        Register::RDX => regs.rdx,
        Register::RSI => regs.rsi,
        Register::RDI => regs.rdi,
        Register::RBP => regs.rbp,
        Register::RSP => regs.rsp,
        Register::R8 => regs.r8,
        Register::R9 => regs.r9,
        Register::R10 => regs.r10,
        Register::R11 => regs.r11,
        Register::R12 => regs.r12,
        Register::R13 => regs.r13,
        Register::R14 => regs.r14,
        Register::R15 => regs.r15,
        Register::FS => regs.fs_base,
        Register::GS => regs.gs_base,
        Register::CS | Register::DS | Register::ES | Register::SS => 0,
        _ => return None,
    };
    match register.size() {
        4 if register.is_gpr() => Some(whole & u64::from(u32::MAX)),
        1 | 2 if register.is_gpr() => None,
        _ => Some(whole),
    }
}

/// Whether an instruction repeats itself: a step passes one turn of it, or all.
#[must_use]
pub fn repeats(instruction: &Instruction) -> bool {
    (instruction.has_rep_prefix() || instruction.has_repne_prefix()) && instruction.is_string_instruction()
}

/// Whether what an instruction does with a register or memory changes it, or may.
#[must_use]
pub fn writes(access: OpAccess) -> bool {
    !matches!(access, OpAccess::Read | OpAccess::CondRead) && !is_nothing(access)
}

fn is_nothing(access: OpAccess) -> bool {
    matches!(access, OpAccess::None | OpAccess::NoMemAccess)
}

/// Whether a register is one that is looked at where a turn ends.
fn is_general(register: Register) -> bool {
    register.is_gpr() || register.is_ip()
}

/// A turn that a thread has come round.
#[derive(Debug)]
pub struct Wait {
    /// Its registers at each instruction.
    states: Vec<user_regs_struct>,
    /// The words that were read, and what they held; none when these are not known.
    words: Vec<Word>,
    /// The same of the instructions.
    code: Vec<Word>,
    /// The instruction at which it is best stopped.
    stands_at: usize,
}

impl Wait {
    /// Of a thread that is stopped at the end of the turn, with its registers at each instruction.
    #[must_use]
    pub fn new(tid: pid_t, turn: &Turn, states: Vec<user_regs_struct>, stands_at: usize) -> Wait {
        let code = held(tid, &turn.code).unwrap_or_default();
        Wait { words: turn.words(tid), code, states, stands_at }
    }

    /// The registers where it is best stopped.
    #[must_use]
    pub fn regs(&self) -> &user_regs_struct {
        &self.states[self.stands_at]
    }

    /// The words of which one has to change for the wait to end, and what they hold. None where that is not known.
    #[must_use]
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// Whether a thread that is stopped with these registers is in the same turn, and goes round again.
    fn goes_on(&self, tid: pid_t, regs: &user_regs_struct) -> bool {
        let is_same = |state: &user_regs_struct| state.rip == regs.rip && state::same_registers(state, regs);
        let is_known = !self.words.is_empty() && !self.code.is_empty();
        is_known && self.states.iter().any(is_same) && hold_still(tid, &self.code) && hold_still(tid, &self.words)
    }
}

/// A loop in which threads have waited and counted their turns, so that no two were the same.
#[derive(Debug)]
pub struct Counted {
    /// Its instructions in their order, and whether a probe can stand there.
    instructions: Vec<(Instruction, bool)>,
    /// The words that they are in, and what these held.
    code: Vec<Word>,
    /// The registers in which a turn may differ from the one before.
    varies: u32,
    /// What it compares, where registers alone tell the addresses and nothing is written; else nothing.
    reads: Vec<Read>,
    pub pauses: bool,
}

/// What a turn reads.
#[derive(Debug)]
struct Read {
    memory: UsedMemory,
    /// What was there.
    value: u64,
    /// The registers that held the same and keep it.
    equals: u32,
}

impl Counted {
    /// Of a thread that is stopped where such a loop begins, with these registers: in its turns some of them are not the same.
    #[must_use]
    pub fn new(
        (tid, regs): (pid_t, &user_regs_struct),
        instructions: Vec<(Instruction, bool)>,
        varies: u32,
        pauses: bool,
    ) -> Counted {
        let words =
            instructions.iter().flat_map(|(instruction, _)| words_in(instruction.ip(), instruction.next_ip() - 1));
        let code = held(tid, &words.collect()).unwrap_or_default();
        let reads = Counted::reads(tid, regs, &instructions).unwrap_or_default();
        Counted { instructions, code, varies, reads, pauses }
    }

    fn reads(tid: pid_t, regs: &user_regs_struct, instructions: &[(Instruction, bool)]) -> Option<Vec<Read>> {
        let mut factory = InstructionInfoFactory::new();
        let (mut read, mut written) = (Vec::new(), 0);
        for (instruction, _) in instructions {
            let info = factory.info(instruction);
            for used in info.used_memory().iter().filter(|used| !is_nothing(used.access())) {
                read.push(Some(*used).filter(|used| !writes(used.access()))?);
            }
            let registers = info.used_registers().iter().filter(|used| writes(used.access()));
            written |= bits_of(registers.filter_map(|used| general_number(used.register())));
        }
        let held = general(regs);
        let reads = read.into_iter().map(|memory| {
            let told_by = [memory.base(), memory.index()].into_iter().filter_map(general_number);
            let is_told = bits_of(told_by) & written == 0;
            let (value, mask) = value_at(tid, &memory, regs).filter(|_| is_told)?;
            let same = (0..held.len()).filter(|of| written & 1 << of == 0 && held[*of] & mask == value);
            Some(Read { memory, value, equals: bits_of(same) })
        });
        reads.collect()
    }

    /// The words for which a thread waits that stands at one of the instructions with these registers, where all that it reads is what it was
    /// in known turns, or what is in the same registers as there.
    #[must_use]
    pub fn waits_for(&self, tid: pid_t, regs: &user_regs_struct) -> Option<Vec<Word>> {
        let held = general(regs);
        let holds = |read: &Read| {
            let now = value_at(tid, &read.memory, regs);
            now.is_some_and(|(now, mask)| {
                now == read.value || (0..held.len()).any(|of| read.equals & 1 << of != 0 && held[of] & mask == now)
            })
        };
        if self.reads.is_empty() || !self.reads.iter().all(holds) {
            return None;
        }
        let words = self.reads.iter().filter_map(|read| words_of(&read.memory, regs)).flatten().collect();
        self::held(tid, &words)
    }

    /// Whether a probe can stand at an instruction of the loop.
    #[must_use]
    pub fn fits(&self, ip: u64) -> bool {
        self.instructions.iter().any(|(instruction, fits)| *fits && instruction.ip() == ip)
    }

    /// The turn that begins at an instruction; `None` where it is not in this loop.
    #[must_use]
    pub fn turn_from(&self, ip: u64) -> Option<impl Iterator<Item = &Instruction>> {
        let first = self.instructions.iter().position(|(instruction, _)| instruction.ip() == ip)?;
        let turn = self.instructions[first..].iter().chain(&self.instructions[..first]);
        Some(turn.map(|(instruction, _)| instruction))
    }

    /// Whether the code is what it was, for a thread that is stopped.
    #[must_use]
    pub fn is_there(&self, tid: pid_t) -> bool {
        !self.code.is_empty() && hold_still(tid, &self.code)
    }

    /// Whether a turn that has changed these registers is like those that are known: the next one reads where it has read.
    #[must_use]
    pub fn may_vary(&self, changed: u32) -> bool {
        changed & !self.varies == 0
    }
}

/// What an instruction finds in memory of a stopped thread that comes to it with these registers, and the bits that it may have.
fn value_at(tid: pid_t, memory: &UsedMemory, regs: &user_regs_struct) -> Option<(u64, u64)> {
    let at = address_of(memory, regs).filter(|_| bits(regs) == 64)?;
    let size = memory.memory_size().size();
    let mut bytes = [0; WORD as usize];
    let is_read = (1..=bytes.len()).contains(&size) && sys::read_pieces(tid, &[(at, size)], &mut bytes[..size]) == size;
    is_read.then(|| (u64::from_le_bytes(bytes), u64::MAX >> (64 - 8 * size as u32)))
}

/// The general registers in the order in which instructions number them (Intel SDM volume 2, 2.1.3).
#[must_use]
pub fn general(regs: &user_regs_struct) -> [u64; 16] {
    [
        regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi, regs.r8, regs.r9, regs.r10,
        regs.r11, regs.r12, regs.r13, regs.r14, regs.r15,
    ]
}

/// The number of a general register, or of that which it is a part of.
fn general_number(register: Register) -> Option<usize> {
    let whole = register.full_register();
    whole.is_gpr64().then(|| whole.number())
}

/// The general registers that are not the same, a bit for each.
#[must_use]
pub fn registers_between(one: &user_regs_struct, other: &user_regs_struct) -> u32 {
    let both = general(one).into_iter().zip(general(other)).enumerate();
    bits_of(both.filter(|(_, (one, other))| one != other).map(|(index, _)| index))
}

/// A bit for each of these numbers.
fn bits_of(numbers: impl Iterator<Item = usize>) -> u32 {
    numbers.fold(0, |bits, number| bits | 1 << number)
}

/// A turn around a read of the counter, which may end the wait too.
#[derive(Debug)]
struct Counting {
    /// Behind the instruction.
    ip: u64,
    kept: [u64; 8],
    words: Vec<Word>,
}

/// Registers that callees keep, and whose thread it is: what such a loop does with the counter is in others.
fn kept(regs: &user_regs_struct) -> [u64; 8] {
    [regs.rsp, regs.rbx, regs.rbp, regs.r12, regs.r13, regs.r14, regs.r15, regs.fs_base]
}

/// So many calls make it likely: one may also have computed before it.
const ENOUGH_SUSPECTED: u32 = 4;

/// What is known of the loops in which threads of an address space have waited.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    instructions: HashSet<u64>,
    turns: VecDeque<Rc<Wait>>,
    counted: VecDeque<Rc<Counted>>,
    counting: VecDeque<Rc<Counting>>,
    /// How often a thread has made a call that waits for a word after it had run for long, as it does that has looked at the word in vain.
    suspected: u32,
}

impl Waits {
    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }

    /// Whether one has, though nobody has seen it.
    #[must_use]
    pub fn are_suspected(&self) -> bool {
        self.suspected >= ENOUGH_SUSPECTED
    }

    /// A thread may have waited so before it makes a call that waits.
    pub fn suspect(&mut self) {
        self.suspected = self.suspected.saturating_add(1);
    }

    /// Whether an instruction is part of such a loop.
    #[must_use]
    pub fn has(&self, ip: u64) -> bool {
        self.instructions.contains(&ip)
    }

    /// Instructions are part of such a loop.
    pub fn learn_code(&mut self, code: impl Iterator<Item = u64>) {
        if self.instructions.len() > MOST_INSTRUCTIONS {
            self.instructions.clear();
        }
        self.instructions.extend(code);
    }

    /// A thread waits so.
    pub fn learn(&mut self, wait: &Rc<Wait>) {
        self.learn_code(wait.states.iter().map(|regs| regs.rip));
        if !self.turns.iter().any(|known| Rc::ptr_eq(known, wait)) {
            self.turns.truncate(MOST_TURNS - 1);
            self.turns.push_front(Rc::clone(wait));
        }
    }

    /// The turn in which a thread is that is stopped with these registers, if one is known that it goes round again.
    #[must_use]
    pub fn of(&self, tid: pid_t, regs: &user_regs_struct) -> Option<Rc<Wait>> {
        self.turns.iter().find(|wait| wait.goes_on(tid, regs)).map(Rc::clone)
    }

    /// A thread waits in a loop in which it counts its turns.
    pub fn learn_counted(&mut self, counted: &Rc<Counted>) {
        self.learn_code(counted.instructions.iter().map(|(instruction, _)| instruction.ip()));
        if !self.counted.iter().any(|known| Rc::ptr_eq(known, counted)) {
            self.counted.truncate(MOST_TURNS - 1);
            self.counted.push_front(Rc::clone(counted));
        }
    }

    /// The loop of this kind that has an instruction, if one is known.
    #[must_use]
    pub fn counted_at(&self, ip: u64) -> Option<Rc<Counted>> {
        self.counted.iter().find(|known| known.turn_from(ip).is_some()).map(Rc::clone)
    }

    /// Behind which reads of the counter threads have waited: the latest, 0 where there are fewer.
    #[must_use]
    pub fn counters(&self) -> [u64; block::COUNTERS as usize] {
        let mut counters = [0; block::COUNTERS as usize];
        let mut count = 0;
        for Counting { ip, .. } in self.counting.iter().map(Rc::as_ref) {
            if count < counters.len() && !counters[..count].contains(ip) {
                counters[count] = *ip;
                count += 1;
            }
        }
        counters
    }

    /// Whether threads have waited behind any.
    #[must_use]
    pub fn has_countings(&self) -> bool {
        !self.counting.is_empty()
    }

    /// Whether threads have waited behind this read of the counter.
    #[must_use]
    pub fn has_counting(&self, ip: u64) -> bool {
        self.counting.iter().any(|known| known.ip == ip)
    }

    /// A thread that has read the counter before `ip` waits so.
    pub fn learn_counting(&mut self, ip: u64, regs: &user_regs_struct, words: &[Word]) {
        self.counting.truncate(MOST_TURNS - 1);
        self.counting.push_front(Rc::new(Counting { ip, kept: kept(regs), words: words.to_vec() }));
    }

    /// The words for which a thread waits that has read the counter before `ip`, if it does so as another time. What it has read may end
    /// that.
    #[must_use]
    pub fn counting(&self, tid: pid_t, ip: u64, regs: &user_regs_struct) -> Option<Vec<Word>> {
        let is_same = |known: &&Rc<Counting>| known.ip == ip && known.kept == kept(regs);
        let known = self.counting.iter().filter(is_same).find(|known| hold_still(tid, &known.words))?;
        Some(known.words.clone())
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::*;

    fn registers() -> user_regs_struct {
        // SAFETY: a struct of integers, for which zero is a value.
        unsafe { std::mem::zeroed() }
    }

    /// Whether an instruction may be part of a turn, and whether it reads memory then.
    fn takes(code: &[u8]) -> (bool, bool) {
        let mut turn = Turn::default();
        let is_taken = turn.takes(&Decoder::new(64, code, DecoderOptions::NONE).decode(), &registers());
        (is_taken, turn.reads)
    }

    #[test]
    fn a_turn_reads_and_changes_nothing_but_general_registers() {
        // mov rax, [rdi]; cmp dword [rdi], 0; pause; jmp
        assert_eq!(takes(&[0x48, 0x8b, 0x07]), (true, true));
        assert_eq!(takes(&[0x83, 0x3f, 0x00]), (true, true));
        assert_eq!(takes(&[0xf3, 0x90]), (true, false));
        assert_eq!(takes(&[0xeb, 0xfe]), (true, false));
        // mov [rdi], rax; lock inc dword [rdi]; call; movaps xmm0, [rdi]
        for code in [&[0x48, 0x89, 0x07][..], &[0xf0, 0xff, 0x07], &[0xe8, 0, 0, 0, 0], &[0x0f, 0x28, 0x07]] {
            assert!(!takes(code).0, "{code:x?}");
        }
        // What a step does not pass as a whole, repe cmpsb, and what the recorder hears of: rdtsc, syscall.
        for code in [&[0xf3, 0xa6][..], &[0x0f, 0x31], &[0x0f, 0x05]] {
            assert_eq!(takes(code), (false, false), "{code:x?}");
        }
    }

    #[test]
    fn the_words_of_a_turn_are_told_by_registers() {
        let mut regs = registers();
        (regs.rdi, regs.rsi, regs.rcx, regs.fs_base) = (0x1003, 0x8000, 2, 0x7000);
        let mut turn = Turn::default();
        // mov eax, [rdi+1]; mov rax, [rsi+rcx*8+4], which is in two words; mov rax, fs:[0x28]; mov al, [esi]
        for code in [
            &[0x8b, 0x47, 0x01][..],
            &[0x48, 0x8b, 0x44, 0xce, 0x04],
            &[0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0],
            &[0x67, 0x8a, 0x06],
        ] {
            assert!(turn.takes(&Decoder::new(64, code, DecoderOptions::NONE).decode(), &regs));
        }
        assert_eq!(turn.at.into_iter().collect::<Vec<u64>>(), [0x1000, 0x7028, 0x8000, 0x8010, 0x8018]);
        assert!(!turn.reads_more);
    }

    #[test]
    fn a_turn_that_reads_too_many_words_has_none() {
        let mut turn = Turn::default();
        // mov rax, [rdi]
        let load = Decoder::new(64, &[0x48, 0x8b, 0x07], DecoderOptions::NONE).decode();
        for word in 0..=MOST_WORDS as u64 {
            let regs = user_regs_struct { rdi: word * WORD, ..registers() };
            assert!(turn.takes(&load, &regs));
        }
        assert!(turn.reads && turn.reads_more && turn.words(std::process::id() as pid_t).is_empty());
    }

    #[test]
    fn turns_go_alike_when_no_address_is_another() {
        let turn = |rdi: u64| {
            let (mut turn, regs) = (Turn::default(), user_regs_struct { rdi, rax: rdi * 3, ..registers() });
            // cmp byte [rdi], 0; pause
            for code in [&[0x80, 0x3f, 0x00][..], &[0xf3, 0x90]] {
                assert!(turn.takes(&Decoder::new(64, code, DecoderOptions::NONE).decode(), &regs));
            }
            turn
        };
        assert!(turn(0x1000).goes_like(&turn(0x1000)));
        // The next byte of the same word: a string is gone through.
        assert!(!turn(0x1001).goes_like(&turn(0x1000)));
        assert!(!Turn::default().goes_like(&Turn::default()));
    }

    #[test]
    fn a_turn_that_may_write_passes_what_writes_to_memory() {
        let passes = |code: &[u8]| {
            let instruction = Decoder::new(64, code, DecoderOptions::NONE).decode();
            Turn::that_may_write().passes(&instruction, &registers())
        };
        // mov rax, [rdi]; then mov [rdi], rax; lock inc dword [rdi]; call
        assert_eq!(passes(&[0x48, 0x8b, 0x07]), Some(Passes::Reading));
        for code in [&[0x48, 0x89, 0x07][..], &[0xf0, 0xff, 0x07], &[0xe8, 0, 0, 0, 0]] {
            assert_eq!(passes(code), Some(Passes::Writing), "{code:x?}");
        }
        // movaps xmm0, [rdi]; repe cmpsb; syscall
        for code in [&[0x0f, 0x28, 0x07][..], &[0xf3, 0xa6], &[0x0f, 0x05]] {
            assert_eq!(passes(code), None, "{code:x?}");
        }
    }

    #[test]
    fn words_that_are_written_are_told_apart() {
        // SAFETY: takes nothing and returns a number.
        let tid = unsafe { libc::gettid() };
        let held = std::hint::black_box(Box::new([7_u64, 8]));
        let at = &raw const held[0] as u64;
        let mut turn = Turn::that_may_write();
        // mov rax, [rdi]; mov [rdi+8], rax
        for code in [&[0x48, 0x8b, 0x07][..], &[0x48, 0x89, 0x47, 0x08]] {
            let instruction = Decoder::new(64, code, DecoderOptions::NONE).decode();
            assert!(turn.passes(&instruction, &user_regs_struct { rdi: at, cs: 0x33, ..registers() }).is_some());
        }
        assert_eq!(turn.read_and_written(tid), (vec![(at, 7)], vec![(at + 8, 8)]));
    }

    #[test]
    fn a_loop_that_counts_its_turns_is_known_again_by_what_it_reads() {
        // mov eax, [rdi]; cmp eax, esi; jne +8; add rcx, 1; pause; jmp to the beginning
        const LOOP: [u8; 14] = [0x8b, 0x07, 0x39, 0xf0, 0x75, 0x08, 0x48, 0x83, 0xc1, 0x01, 0xf3, 0x90, 0xeb, 0xf2];
        // SAFETY: takes nothing and returns a number.
        let tid = unsafe { libc::gettid() };
        let code = std::hint::black_box(Box::new(LOOP));
        let word = std::hint::black_box(Box::new(std::cell::Cell::new(5_u64)));
        let (begin, at) = (code.as_ptr() as u64, word.as_ptr() as u64);
        let decoder = Decoder::with_ip(64, &code[..], begin, DecoderOptions::NONE);
        let instructions: Vec<(Instruction, bool)> = decoder.into_iter().map(|one| (one, one.ip() != begin)).collect();
        let regs = user_regs_struct { rip: begin, rdi: at, rsi: 5, cs: 0x33, ..registers() };
        let later = user_regs_struct { rcx: 9, ..regs };
        let counted = Counted::new((tid, &regs), instructions, registers_between(&regs, &later), true);
        assert!(counted.is_there(tid) && counted.may_vary(1 << 1) && !counted.may_vary(1 << 1 | 1 << 7));
        assert_eq!((counted.fits(begin), counted.fits(begin + 2), counted.fits(begin + 3)), (false, true, false));
        let from = |ip| counted.turn_from(ip).map(|turn| turn.map(|one| one.ip() - begin).collect::<Vec<_>>());
        assert_eq!((from(begin + 6), from(begin + 1)), (Some(vec![6, 10, 12, 0, 2, 4]), None));
        assert_eq!(counted.waits_for(tid, &later), Some(vec![(at, 5)]));
        // Another round of the same: it waits as long as the word is what it was told.
        word.set(6);
        assert_eq!(counted.waits_for(tid, &later), None);
        assert_eq!(counted.waits_for(tid, &user_regs_struct { rsi: 6, ..later }), Some(vec![(at, 6)]));
        // What it has loaded says nothing: it may be that of a turn before.
        assert_eq!(counted.waits_for(tid, &user_regs_struct { rax: 6, ..later }), None);
        assert_eq!(counted.waits_for(tid, &user_regs_struct { rdi: 8, ..later }), None);
    }

    #[test]
    fn a_loop_that_goes_through_memory_or_writes_is_stepped_round() {
        // SAFETY: takes nothing and returns a number.
        let tid = unsafe { libc::gettid() };
        let word = std::hint::black_box(Box::new(0_u64));
        let regs = user_regs_struct { rdi: &raw const *word as u64, cs: 0x33, ..registers() };
        // mov rax, [rdi]; add rdi, 8; then mov [rdi], rax
        for code in [&[0x48, 0x8b, 0x07, 0x48, 0x83, 0xc7, 0x08][..], &[0x48, 0x89, 0x07]] {
            let code = code.to_vec();
            let decoder = Decoder::with_ip(64, &code, code.as_ptr() as u64, DecoderOptions::NONE);
            let counted = Counted::new((tid, &regs), decoder.into_iter().map(|one| (one, true)).collect(), 0, false);
            assert_eq!(counted.waits_for(tid, &regs), None);
        }
    }

    #[test]
    fn words_are_told_apart_by_whether_they_changed() {
        // SAFETY: takes nothing and returns a number.
        let tid = unsafe { libc::gettid() };
        let held = std::hint::black_box(Box::new([7_u64, 8]));
        let at = &raw const held[0] as u64;
        assert_eq!(still_and_changed(tid, &[(at, 7), (at + 8, 9)]), (vec![(at, 7)], vec![(at + 8, 8)]));
    }

    #[test]
    fn a_wait_is_known_again_while_its_words_hold_still() {
        // SAFETY: takes nothing and returns a number.
        let tid = unsafe { libc::gettid() };
        let (mut awaited, code) = (Box::new(7_u64), Box::new(0x9090_u64));
        let at = &raw const *awaited as u64;
        let states = vec![user_regs_struct { rip: 0x10, ..registers() }, user_regs_struct { rip: 0x20, ..registers() }];
        let wait =
            |words: Vec<Word>, code: Vec<Word>| Rc::new(Wait { states: states.clone(), words, code, stands_at: 1 });
        let code = vec![(&raw const *code as u64, *code)];
        let mut waits = Waits::default();
        assert!(waits.is_empty() && !waits.are_suspected());
        // Of one it is not known what it waits for.
        waits.learn(&wait(Vec::new(), code.clone()));
        assert!(waits.has(0x10) && waits.has(0x20) && !waits.has(0x30) && waits.of(tid, &states[0]).is_none());
        waits.learn(&wait(vec![(at, 7)], code));
        assert_eq!(waits.of(tid, &states[0]).map(|wait| wait.regs().rip), Some(0x20));
        assert!(waits.of(tid, &user_regs_struct { rax: 1, ..states[0] }).is_none());
        (0..ENOUGH_SUSPECTED).for_each(|_| waits.suspect());
        assert!(waits.are_suspected());
        waits.learn_counting(0x40, &states[0], &[(at, 7)]);
        assert_eq!(waits.counting(tid, 0x40, &user_regs_struct { rax: 1, ..states[0] }), Some(vec![(at, 7)]));
        assert_eq!(waits.counting(tid, 0x40, &user_regs_struct { rsp: 1, ..states[0] }), None);
        *awaited = std::hint::black_box(8);
        assert!(waits.of(tid, &states[0]).is_none() && waits.counting(tid, 0x40, &states[0]).is_none());
    }

    #[test]
    fn the_latest_reads_of_the_counter_behind_which_threads_have_waited_are_known() {
        let mut waits = Waits::default();
        for ip in [1, 2, 3, 2, 4, 5] {
            waits.learn_counting(ip, &registers(), &[]);
        }
        assert_eq!(waits.counters(), [5, 4, 2, 3]);
        assert!(waits.has_counting(1) && !waits.has_counting(6));
    }
}
