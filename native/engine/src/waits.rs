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
        let (at, code, path) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        Turn {
            factory: InstructionInfoFactory::new(),
            reads: false,
            pauses: false,
            at,
            code,
            reads_more: false,
            path,
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
        let is_only_read = |access: OpAccess| matches!(access, OpAccess::Read | OpAccess::CondRead);
        let is_nothing = |access: OpAccess| matches!(access, OpAccess::None | OpAccess::NoMemAccess);
        let memory = info.used_memory().iter().filter(|used| !is_nothing(used.access()));
        let mut passes = Passes::Reading;
        for used in memory {
            if is_only_read(used.access()) {
                self.reads = true;
            } else {
                passes = Passes::Writing;
            }
            self.path.extend(address_of(used, regs));
            match words_of(used, regs) {
                Some(words) if self.at.len() < self.most => self.at.extend(words),
                _ => self.reads_more = true,
            }
        }
        let keeps_registers = info
            .used_registers()
            .iter()
            .all(|used| is_only_read(used.access()) || is_nothing(used.access()) || is_general(used.register()));
        keeps_registers.then_some(passes)
    }

    /// The words that were read and what they hold, of a thread that is stopped. None when it is not known which these are.
    #[must_use]
    pub fn words(&self, tid: pid_t) -> Vec<Word> {
        if self.reads_more { Vec::new() } else { held(tid, &self.at).unwrap_or_default() }
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

/// The address of memory that an instruction reads, where it follows from registers.
fn address_of(used: &UsedMemory, regs: &user_regs_struct) -> Option<u64> {
    used.virtual_address(0, |register, _, _| value_of(register, regs))
}

/// The aligned words that memory is in which an instruction reads, when its place follows from registers of 64-bit code.
fn words_of(used: &UsedMemory, regs: &user_regs_struct) -> Option<impl Iterator<Item = u64>> {
    let at = address_of(used, regs)?;
    let last = at.checked_add((used.memory_size().size() as u64).checked_sub(1)?)?;
    (bits(regs) == 64).then(|| words_in(at, last))
}

/// The aligned words that these bytes are in.
fn words_in(first: u64, last: u64) -> impl Iterator<Item = u64> {
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
