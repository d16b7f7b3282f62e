//! Leading a thread that was stopped in its own code to a place that can be found again.
//!
//! There is no counter of instructions to go by: replay finds the moment by the state of the thread. So it runs for a moment,
//! to see which words of memory change (`changes.rs`), and is led on by single steps to an instruction that is long enough
//! to be overwritten by a jump (`probe.rs`), and around its loop if that is short. How far it is led is limited, by steps
//! and by time, since each step costs as much as a thousand instructions.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use iced_x86::{Instruction, InstructionInfoFactory, OpAccess, Register};
use libc::{c_int, pid_t, user_regs_struct};

use crate::changes::Snapshot;
use crate::image;
use crate::probe::{self, Word, bits};
use crate::siginfo::{self, SigInfo};
use crate::state;
use crate::stepped;
use crate::sys;

/// Steps to an instruction that a probe can stand at.
const MOST_TO_PLACE: usize = 400;
/// Of these, to one whose jump falls on the beginning of no other instruction: it needs no certain bytes, so that replay finds
/// room for its probe also where memory is full.
const MOST_TO_EASY: usize = 64;
/// Steps around a loop.
const AROUND: usize = 400;
/// Steps of all kinds.
const MOST: usize = 900;
/// No further steps after this time: a step can cost ten times as much when the thread runs on another processor.
const LONGEST_NS: u64 = 6_000_000;
/// Instructions of a loop that may wait for a word of memory to change.
const SHORT: usize = 64;
/// How long the thread runs to see what changes: on a processor, and at most by the clock, where others want the processor.
const MOMENT_NS: u64 = 200_000;
const LONGEST_MOMENT_NS: u64 = 1_000_000_000;
const NAP: Duration = Duration::from_micros(100);
/// Bytes of a word.
const WORD: u64 = 8;

/// A signal that came meanwhile: its number and siginfo.
pub type Came = (c_int, SigInfo);

/// A place that can be found again.
pub struct Place {
    pub regs: user_regs_struct,
    /// Words that change while it runs, and what they hold: they tell one turn from another.
    pub changed: Vec<Word>,
    /// It is in a short loop that reads memory: it may be waiting for another thread.
    pub may_wait: bool,
    /// The instructions of that loop, where a turn of it changes nothing: it surely is, and each turn is like any other.
    pub waits_at: Vec<u64>,
}

/// Where a thread has been led.
pub enum Settled {
    /// It stands there.
    Place(Box<Place>),
    /// It comes to a call or a trap by itself.
    Boundary,
    /// Something happened to it, as wait4(2) tells.
    Event(Box<sys::Waited>),
}

/// Leads a thread that is stopped in its own code to a place that can be found again. Signals that come on the way
/// are held back, and added to `came`. `is_foreign`: a part of the code is not the program's own, and nothing stops there.
pub fn settle(pid: pid_t, tid: pid_t, is_foreign: &dyn Fn(Range<u64>) -> bool, came: &mut Vec<Came>) -> Settled {
    let Ok(regs) = sys::registers(tid) else { return Settled::Boundary };
    let deadline = sys::monotonic().saturating_add(LONGEST_NS);
    let mut walk = Walk {
        pid,
        tid,
        bits: bits(&regs),
        decoded: HashMap::new(),
        entered: HashSet::new(),
        is_foreign,
        came,
        regs,
        deadline,
        steps: 0,
    };
    match walk.lead_on() {
        Ok(place) => Settled::Place(Box::new(place)),
        Err(settled) => settled,
    }
}

/// A thread on its way.
struct Walk<'a> {
    pid: pid_t,
    tid: pid_t,
    bits: u32,
    decoded: HashMap<u64, Instruction>,
    /// Instructions that were jumped to: no probe may overwrite them but at its beginning.
    entered: HashSet<u64>,
    is_foreign: &'a dyn Fn(Range<u64>) -> bool,
    came: &'a mut Vec<Came>,
    regs: user_regs_struct,
    deadline: u64,
    steps: usize,
}

/// Instructions of a loop that changes nothing.
pub const LONGEST_TURN: usize = SHORT;

/// A turn of a loop in which a thread waits: nothing but registers changes on the way, and in the end they are what they were. So it is
/// the same turn again and again, until somebody else changes what it reads.
pub struct Turn {
    factory: InstructionInfoFactory,
    /// Memory was read.
    pub reads: bool,
}

impl Default for Turn {
    fn default() -> Turn {
        Turn { factory: InstructionInfoFactory::new(), reads: false }
    }
}

impl Turn {
    /// Whether an instruction may be part of it: it writes to no memory, and to no registers but the general ones and flags; and it
    /// is passed with one step, as those that repeat themselves are not everywhere.
    pub fn takes(&mut self, instruction: &Instruction) -> bool {
        if probe::is_boundary(instruction) || repeats(instruction) {
            return false;
        }
        let info = self.factory.info(instruction);
        let is_read = |access: OpAccess| matches!(access, OpAccess::Read | OpAccess::CondRead);
        let is_nothing = |access: OpAccess| matches!(access, OpAccess::None | OpAccess::NoMemAccess);
        let memory = info.used_memory().iter();
        self.reads |= memory.clone().any(|used| is_read(used.access()));
        let keeps_memory = memory.clone().all(|used| is_read(used.access()) || is_nothing(used.access()));
        let keeps_registers = info
            .used_registers()
            .iter()
            .all(|used| is_read(used.access()) || is_nothing(used.access()) || is_general(used.register()));
        keeps_memory && keeps_registers
    }
}

/// Whether an instruction repeats itself: a step passes one turn of it, or all.
fn repeats(instruction: &Instruction) -> bool {
    (instruction.has_rep_prefix() || instruction.has_repne_prefix()) && instruction.is_string_instruction()
}

/// Whether a register is one that is looked at where a turn ends.
fn is_general(register: Register) -> bool {
    register.is_gpr() || register.is_ip()
}

/// How a walk around a loop ended.
enum Around {
    /// At the place where it began, after so many steps; whether memory was read on the way.
    Returned(usize, bool),
    /// Somewhere else.
    Elsewhere,
    /// The thread jumped into the middle of what a probe would overwrite.
    Unfit,
}

impl Walk<'_> {
    /// Goes on to a place for a probe, and around its loop.
    fn lead_on(&mut self) -> Result<Place, Settled> {
        if let Some(turn) = self.turn()?
            && let Some(place) = self.lead_within(&turn)?
        {
            return Ok(place);
        }
        let before = Snapshot::take(self.tid);
        self.run_for_a_moment()?;
        self.deadline = sys::monotonic().saturating_add(LONGEST_NS);
        let mut may_wait = false;
        for tried in 0..MOST_TO_PLACE {
            let Some(end) = self.window(self.regs.rip, tried < MOST_TO_EASY) else {
                self.step()?;
                continue;
            };
            if self.is_late() {
                break;
            }
            match self.around(self.regs.rip, end)? {
                Around::Returned(steps, reads) => {
                    may_wait = reads && steps <= SHORT;
                    break;
                }
                // The next place will do: its loop is a long one.
                Around::Elsewhere => self.deadline = 0,
                Around::Unfit => {}
            }
        }
        Ok(Place { regs: self.regs, changed: before.changed(self.tid), may_wait, waits_at: Vec::new() })
    }

    /// The end of what a probe's jump at `ip` overwrites, where one can stand there. `is_easy`: on no beginning of another instruction.
    fn window(&self, ip: u64, is_easy: bool) -> Option<u64> {
        let is_wanted = |_: &u64| !is_easy || probe::inner_starts(self.tid, ip, self.bits).is_empty();
        let fits = |end: &u64| {
            !(self.is_foreign)(ip..*end) && !self.entered.iter().any(|entered| (ip + 1..*end).contains(entered))
        };
        probe::window_end(self.tid, ip, self.bits).filter(is_wanted).filter(fits)
    }

    /// Where the thread comes round to where it stands with nothing changed, having read memory on the way, its registers at each
    /// instruction: only others can end that.
    fn turn(&mut self) -> Result<Option<Vec<user_regs_struct>>, Settled> {
        let mut turn = Turn::default();
        let mut states = Vec::new();
        for _ in 0..LONGEST_TURN {
            let instruction = self.at_own_code()?;
            if !turn.takes(&instruction) {
                break;
            }
            states.push(self.regs);
            self.step_from(&instruction)?;
            if state::same_registers(&self.regs, &states[0]) {
                return Ok(Some(states).filter(|_| turn.reads));
            }
        }
        Ok(None)
    }

    /// Leads a thread that stands where a turn begins to the best place in it. `None` when others whom nobody stops have ended its wait.
    fn lead_within(&mut self, turn: &[user_regs_struct]) -> Result<Option<Place>, Settled> {
        let best = |is_easy: bool| turn.iter().position(|regs| self.window(regs.rip, is_easy).is_some());
        let chosen = best(true).or_else(|| best(false)).unwrap_or(0);
        for _ in 0..chosen {
            self.step()?;
        }
        let waits_at = turn.iter().map(|regs| regs.rip).collect();
        let place = Place { regs: self.regs, changed: Vec::new(), may_wait: true, waits_at };
        Ok(state::same_registers(&self.regs, &turn[chosen]).then_some(place))
    }

    /// Lets the thread run, and stops it wherever it is then.
    fn run_for_a_moment(&mut self) -> Result<(), Settled> {
        let before = sys::cpu_time(self.pid).unwrap_or(0);
        if sys::resume(self.tid, sys::Resume::Syscall, 0).is_err() {
            return Err(Settled::Boundary);
        }
        let begin = sys::monotonic();
        let pid = self.pid;
        let ran = || sys::cpu_time(pid).map_or(u64::MAX, |now| now.saturating_sub(before));
        while ran() < MOMENT_NS && sys::monotonic() - begin < LONGEST_MOMENT_NS {
            match sys::poll(self.tid) {
                Ok(None) => std::thread::sleep(NAP),
                Ok(Some(waited)) => self.pass(waited, sys::Resume::Syscall)?,
                Err(_) => return Err(Settled::Boundary),
            }
        }
        if sys::interrupt(self.tid).is_err() {
            return Err(Settled::Boundary);
        }
        self.wait(sys::Resume::Syscall, |status, _| {
            status >> 16 == sys::event::STOP && status >> 8 & 0xff == libc::SIGTRAP
        })
    }

    fn is_late(&self) -> bool {
        self.steps > MOST || sys::monotonic() > self.deadline
    }

    /// Goes around a loop that begins at `place`, where a jump would overwrite what is up to `end`.
    fn around(&mut self, place: u64, end: u64) -> Result<Around, Settled> {
        let mut factory = InstructionInfoFactory::new();
        let mut reads = false;
        for steps in 0..AROUND {
            if steps > 0 && self.regs.rip == place {
                return Ok(Around::Returned(steps, reads));
            }
            let instruction = self.at_own_code()?;
            reads |= factory
                .info(&instruction)
                .used_memory()
                .iter()
                .any(|used| matches!(used.access(), OpAccess::Read | OpAccess::ReadWrite | OpAccess::CondRead));
            self.step_from(&instruction)?;
            if (place + 1..end).any(|inside| self.entered.contains(&inside)) {
                return Ok(Around::Unfit);
            }
        }
        Ok(Around::Elsewhere)
    }

    /// The instruction that comes next, when it is one of the thread's own.
    fn at_own_code(&mut self) -> Result<Instruction, Settled> {
        let ip = self.regs.rip;
        let instruction = if let Some(known) = self.decoded.get(&ip) {
            *known
        } else {
            let instruction = probe::decode(self.tid, ip, self.bits).ok_or(Settled::Boundary)?;
            if (self.is_foreign)(ip..instruction.next_ip()) {
                // A call comes next, or is just over.
                return Err(Settled::Boundary);
            }
            self.decoded.insert(ip, instruction);
            instruction
        };
        if probe::is_boundary(&instruction) { Err(Settled::Boundary) } else { Ok(instruction) }
    }

    fn step(&mut self) -> Result<(), Settled> {
        let instruction = self.at_own_code()?;
        self.step_from(&instruction)
    }

    /// Goes on by one instruction. One that repeats itself is passed as a whole, where the processor can do that.
    fn step_from(&mut self, instruction: &Instruction) -> Result<(), Settled> {
        self.steps += 1;
        if repeats(instruction) {
            let behind = sys::Breakpoint::set(self.tid, instruction.next_ip());
            if let Some(behind) = behind {
                let next = instruction.next_ip();
                self.go_on(sys::Resume::Syscall, move |_, regs| regs.rip == next)?;
                drop(behind);
                return Ok(());
            }
        }
        self.go_on(sys::Resume::Step, |_, _| true)?;
        stepped::clear_stack(self.tid, instruction, self.regs.rsp);
        if self.regs.rip != instruction.next_ip() {
            self.entered.insert(self.regs.rip);
        }
        Ok(())
    }

    fn go_on(&mut self, how: sys::Resume, is_it: impl Fn(c_int, &user_regs_struct) -> bool) -> Result<(), Settled> {
        if sys::resume(self.tid, how, 0).is_err() {
            return Err(Settled::Boundary);
        }
        self.wait(how, |status, regs| status >> 8 == libc::SIGTRAP && is_it(status, regs))
    }

    /// Waits for the stop that `is_it` tells by its wait status and the registers, over signals that come meanwhile.
    fn wait(&mut self, how: sys::Resume, is_it: impl Fn(c_int, &user_regs_struct) -> bool) -> Result<(), Settled> {
        loop {
            let Ok(waited) = sys::wait_stop(self.tid) else { return Err(Settled::Boundary) };
            if libc::WIFSTOPPED(waited.status) {
                self.regs = sys::registers(self.tid).map_err(|_| Settled::Event(Box::new(waited)))?;
                // What the program sends itself as SIGTRAP is a signal like any other.
                let is_sent = self.signal_of(&waited).is_some_and(|(_, info)| siginfo::code(&info) <= 0);
                if !is_sent && is_it(waited.status, &self.regs) {
                    return Ok(());
                }
            }
            self.pass(waited, how)?;
        }
    }

    /// Holds a signal back and lets the thread go on; any other stop ends the walk.
    fn pass(&mut self, waited: sys::Waited, how: sys::Resume) -> Result<(), Settled> {
        match self.signal_of(&waited) {
            Some((signal, info)) if !siginfo::is_synchronous(signal, siginfo::code(&info)) => {
                self.came.push((signal, info));
            }
            _ => return Err(Settled::Event(Box::new(waited))),
        }
        if sys::resume(self.tid, how, 0).is_ok() { Ok(()) } else { Err(Settled::Boundary) }
    }

    /// The signal that the thread has stopped for, if it is one.
    fn signal_of(&self, waited: &sys::Waited) -> Option<Came> {
        let signal = waited.status >> 8;
        let is_signal = libc::WIFSTOPPED(waited.status) && (1..=64).contains(&signal);
        is_signal.then(|| sys::signal_info(self.tid).ok().map(|info| (signal, info))).flatten()
    }
}

/// A piece of a thread's memory, by its address.
pub type Piece = (u64, Vec<u8>);

/// Memory near a place, by which replay tells one visit of it from another without comparing all memory: the end of the
/// stack and what registers point to. Nothing of `holes` (address and length) is in it.
#[must_use]
pub fn near(tid: pid_t, place: &Place, holes: &[(u64, u64)]) -> Vec<Piece> {
    /// Below the stack pointer: what leaf functions may use.
    const RED_ZONE: u64 = 128;
    /// Of the stack: the frames of a few callers.
    const STACK: u64 = 4096;
    /// Before and behind what a register points to.
    const BEFORE: u64 = 16;
    const BEHIND: u64 = 48;
    let regs = &place.regs;
    let pointers = [
        regs.rax, regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi, regs.rbp, regs.r8, regs.r9, regs.r10, regs.r11,
        regs.r12, regs.r13, regs.r14, regs.r15,
    ];
    let pointed = pointers.iter().map(|addr| (addr.saturating_sub(BEFORE), addr.saturating_add(BEHIND)));
    let stack = (regs.rsp.saturating_sub(RED_ZONE), regs.rsp.saturating_add(STACK));
    let mut ranges: Vec<(u64, u64)> = pointed.chain([stack]).collect();
    for (start, end) in &mut ranges {
        *start &= !(WORD - 1);
        *end &= !(WORD - 1);
    }
    ranges.sort_unstable();
    let mappings = image::mappings(tid);
    let writable = mappings.iter().filter(|mapping| mapping.prot & 3 == 3 && !mapping.path.starts_with(b"[v"));
    let writable: Vec<(u64, u64)> =
        writable.map(|mapping| (mapping.start, mapping.start.saturating_add(mapping.length))).collect();
    let mut pieces: Vec<Piece> = Vec::new();
    for (start, end) in merged(&ranges).into_iter().flat_map(|range| within(range, &writable)) {
        let mut bytes = vec![0; (end - start) as usize];
        let is_hole = holes.iter().any(|(hole, length)| *hole < end && start < hole.saturating_add(*length));
        if !is_hole && sys::read_pieces(tid, &[(start, bytes.len())], &mut bytes) == bytes.len() {
            pieces.push((start, bytes));
        }
    }
    pieces
}

/// Sorted ranges, with those that touch made one.
fn merged(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = Vec::new();
    for &(start, end) in ranges {
        match all.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => all.push((start, end)),
        }
    }
    all
}

/// The parts of a range that are in one of `others`, which are sorted.
fn within((start, end): (u64, u64), others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let first = others.partition_point(|(_, last)| *last <= start);
    let parts = others[first..].iter().take_while(|(begin, _)| *begin < end);
    parts.map(|(begin, last)| (start.max(*begin), end.min(*last))).filter(|(begin, last)| begin < last).collect()
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::*;

    #[test]
    fn ranges_are_merged_and_cut_to_what_is_mapped() {
        let all = merged(&[(0x10, 0x20), (0x18, 0x28), (0x28, 0x30), (0x40, 0x48)]);
        assert_eq!(all, [(0x10, 0x30), (0x40, 0x48)]);
        let mapped = [(0x0, 0x18), (0x20, 0x28), (0x44, 0x100)];
        assert_eq!(within((0x10, 0x30), &mapped), [(0x10, 0x18), (0x20, 0x28)]);
        assert_eq!(within((0x40, 0x48), &mapped), [(0x44, 0x48)]);
        assert_eq!(within((0x18, 0x20), &mapped), []);
    }

    /// Whether an instruction may be part of a turn, and whether it reads memory then.
    fn takes(code: &[u8]) -> (bool, bool) {
        let mut turn = Turn::default();
        let is_taken = turn.takes(&Decoder::new(64, code, DecoderOptions::NONE).decode());
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
}
