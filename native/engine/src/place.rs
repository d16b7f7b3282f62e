//! Leading a thread that was stopped in its own code to a place that can be found again.
//!
//! There is no counter of instructions to go by: replay finds the moment by the state of the thread. So it runs for a moment,
//! to see which words of memory change (`changes.rs`), and is led on by single steps to an instruction that is long enough
//! to be overwritten by a jump (`probe.rs`), and around its loop if that is short. How far it is led is limited, by steps
//! and by time, since each step costs as much as a thousand instructions.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use iced_x86::{Instruction, InstructionInfoFactory, OpAccess};
use libc::{c_int, pid_t, user_regs_struct};

use crate::changes::Snapshot;
use crate::constants::Nearby;
use crate::image;
use crate::probe::{self, Word, bits};
use crate::siginfo::{self, SigInfo};
use crate::state;
use crate::stepped;
use crate::sys;
use crate::waits::{self, Counted, LONGEST_TURN, Turn, Wait, repeats};

/// Steps to an instruction that a probe can stand at.
const MOST_TO_PLACE: usize = 400;
/// Of these, to one whose jump falls on the beginning of no other instruction: it needs no certain bytes, so that replay finds
/// room for its probe also where memory is full.
const MOST_TO_EASY: usize = 64;
/// Steps around a loop.
const AROUND: usize = 400;
/// Steps around a loop twice, where its turns may write: a short one, and one that the thread is likely to wait in.
const TWICE_AROUND: usize = 2 * LONGEST_TURN;
const TWICE_AROUND_LONG: usize = 600;
/// Turns that are compared with the one before.
const MOST_COMPARED: usize = 8;
/// Steps of all kinds.
const MOST: usize = 1500;
/// No further steps after this time: a step can cost ten times as much when the thread runs on another processor.
const LONGEST_NS: u64 = 6_000_000;
/// The same around a loop twice.
const LONGEST_AROUND_NS: u64 = 20_000_000;
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
    /// A turn of that loop, where it changes nothing: it surely is, and each turn is like any other.
    pub wait: Option<Rc<Wait>>,
    /// The same where it counts its turns.
    pub patient: Option<Patient>,
}

/// A loop in which a thread waits for words to change, as far as is known: it may count its turns, and go on some time as if they had.
pub struct Patient {
    pub words: Vec<Word>,
    pub counted: Rc<Counted>,
}

impl Place {
    /// In a turn that is known to be gone round again: the thread, which is stopped, is put where it is best found.
    pub fn in_wait(tid: pid_t, wait: Rc<Wait>) -> Option<Place> {
        let regs = *wait.regs();
        // It has been there, and nothing but registers was another.
        sys::set_registers(tid, &regs).ok()?;
        Some(Place { regs, changed: Vec::new(), may_wait: true, wait: Some(wait), patient: None })
    }

    /// Whether it surely waits for another thread, as long as its patience lasts.
    #[must_use]
    pub fn is_counted_wait(&self) -> bool {
        self.patient.as_ref().is_some_and(|patient| patient.counted.pauses)
    }

    /// The words of which one has to change before it goes on; none where that is not known.
    #[must_use]
    pub fn waits_for(&self) -> &[Word] {
        self.wait.as_ref().map_or(&[], |wait| wait.words())
    }
}

/// Where a thread has been led.
pub enum Settled {
    /// It stands there.
    Place(Box<Place>),
    /// It comes to a call or a trap by itself, or nothing was to be found.
    Boundary,
    /// Something happened to it, as wait4(2) tells.
    Event(Box<sys::Waited>),
}

/// How far a thread is led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// To a place if it waits for others where it stands; else it goes on by a few instructions, and is at no place.
    OnlyWaiting,
    Usual,
    /// So far that it is seen whether it waits in a loop of many instructions.
    Thorough,
}

/// Leads a thread that is stopped in its own code to a place that can be found again. Signals that come on the way
/// are held back, and added to `came`. `known`: the loop that it may wait in. `is_foreign`: a part of the code is not the program's own, and
/// nothing stops there.
pub fn settle(
    pid: pid_t,
    tid: pid_t,
    (effort, known): (Effort, Option<&Rc<Counted>>),
    is_foreign: &dyn Fn(Range<u64>) -> bool,
    came: &mut Vec<Came>,
) -> Settled {
    let Some(mut walk) = Walk::new(pid, tid, is_foreign, came) else { return Settled::Boundary };
    if effort == Effort::Thorough {
        walk.is_thorough = true;
        walk.deadline = sys::monotonic().saturating_add(LONGEST_AROUND_NS);
    }
    let again = match known {
        Some(known) => walk.waits_again(known),
        None => Ok(None),
    };
    let place = match again {
        Ok(None) if effort == Effort::OnlyWaiting => walk.waiting_place(),
        Ok(None) => walk.lead_on().map(Some),
        known => known,
    };
    match place {
        Ok(Some(place)) => Settled::Place(Box::new(place)),
        Ok(None) => Settled::Boundary,
        Err(settled) => settled,
    }
}

/// What a thread is found to do that stands behind a boundary.
pub enum Found {
    /// It comes round to that boundary with nothing but registers changed, until one of these words is another or the boundary answers
    /// otherwise. It stands where it stood.
    Waits(Vec<Word>),
    /// Something else. It stands where it stood.
    Works,
    /// Something happened to it, as wait4(2) tells, on its way on.
    Event(Box<sys::Waited>),
}

/// Looks whether a thread that stands behind a boundary is in a loop around it that only waits. `is_round` tells by an address whether the
/// boundary comes next. Signals that come on the way are held back, and added to `came`.
pub fn around_boundary(pid: pid_t, tid: pid_t, is_round: &dyn Fn(u64) -> bool, came: &mut Vec<Came>) -> Found {
    // It may be in code that was moved, which is stepped through like any other.
    let Some(mut walk) = Walk::new(pid, tid, &|_| false, came) else { return Found::Works };
    let begin = walk.regs;
    let words = match walk.go_round(&|regs| is_round(regs.rip)) {
        Err(Settled::Event(waited)) => return Found::Event(waited),
        Ok(Some((turn, _))) => turn.words(tid),
        Ok(None) | Err(_) => Vec::new(),
    };
    let is_back = sys::set_registers(tid, &begin).is_ok();
    if is_back && !words.is_empty() { Found::Waits(words) } else { Found::Works }
}

/// Steps a thread that stands behind a boundary until it `is_there`, by at most so many instructions of its own code that take a step each.
/// By how many, with the registers then. `None` when it has not come there, and stands somewhere on the way.
///
/// # Errors
/// What has happened to it on its way.
pub fn step_until(
    (pid, tid): (pid_t, pid_t),
    most: u64,
    is_foreign: &dyn Fn(Range<u64>) -> bool,
    is_there: &dyn Fn() -> bool,
    came: &mut Vec<Came>,
) -> Result<Option<(u64, user_regs_struct)>, Settled> {
    let Some(mut walk) = Walk::new(pid, tid, is_foreign, came) else { return Ok(None) };
    for steps in 1..=most {
        let instruction = walk.at_own_code()?;
        if repeats(&instruction) || !stepped::leaves_flag(&instruction) || walk.regs.eflags & stepped::TRAP_FLAG != 0 {
            break;
        }
        walk.step_from(&instruction)?;
        if is_there() {
            return Ok(Some((steps, walk.regs)));
        }
    }
    Ok(None)
}

/// A thread on its way.
struct Walk<'a> {
    pid: pid_t,
    tid: pid_t,
    bits: u32,
    decoded: HashMap<u64, Instruction>,
    /// What code reads from code, near where it was asked last.
    nearby: Option<Nearby>,
    /// Instructions that were jumped to: no probe may overwrite them but at its beginning.
    entered: HashSet<u64>,
    is_foreign: &'a dyn Fn(Range<u64>) -> bool,
    came: &'a mut Vec<Came>,
    regs: user_regs_struct,
    deadline: u64,
    steps: usize,
    is_thorough: bool,
}

/// A turn of a loop, with the registers at each instruction.
enum Rounds {
    /// One that changes nothing and will be the same again.
    Same(Turn, Vec<user_regs_struct>),
    /// One that has gone the way of the one before, with the words on it and what they held then, and the registers that are others now.
    Alike { words: Vec<Word>, states: Vec<user_regs_struct>, pauses: bool, varies: u32 },
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

impl<'a> Walk<'a> {
    /// Of a thread that is stopped; `None` when it is gone.
    fn new(
        pid: pid_t,
        tid: pid_t,
        is_foreign: &'a dyn Fn(Range<u64>) -> bool,
        came: &'a mut Vec<Came>,
    ) -> Option<Walk<'a>> {
        let regs = sys::registers(tid).ok()?;
        Some(Walk {
            pid,
            tid,
            bits: bits(&regs),
            decoded: HashMap::new(),
            nearby: None,
            entered: HashSet::new(),
            is_foreign,
            came,
            regs,
            deadline: sys::monotonic().saturating_add(LONGEST_NS),
            steps: 0,
            is_thorough: false,
        })
    }

    /// Goes on to a place for a probe, and around its loop.
    fn lead_on(&mut self) -> Result<Place, Settled> {
        if let Some(place) = self.waiting_place()? {
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
        let changed = before.changed(self.tid);
        Ok(Place { regs: self.regs, changed, may_wait, wait: None, patient: None })
    }

    /// The best place in the loop in which the thread waits, if it does.
    fn waiting_place(&mut self) -> Result<Option<Place>, Settled> {
        Ok(match self.rounds()? {
            Some(Rounds::Same(turn, states)) => {
                let stands_at = self.best_of(&states);
                Place::in_wait(self.tid, Rc::new(Wait::new(self.tid, &turn, states, stands_at)))
            }
            Some(Rounds::Alike { words, states, pauses, varies }) => {
                // Memory was written on the way, so that there is no way back.
                for _ in 0..self.best_of(&states) {
                    self.step()?;
                }
                let (words, changed) = waits::still_and_changed(self.tid, &words);
                let is_place = !words.is_empty() && self.window(self.regs.rip, false).is_some();
                let counted = Rc::new(self.counted(&states, varies, pauses));
                let patient = Some(Patient { words, counted });
                is_place.then_some(Place { regs: self.regs, changed, may_wait: true, wait: None, patient })
            }
            None => None,
        })
    }

    /// A loop of which these are the states of a turn, for a thread that stands in it.
    fn counted(&mut self, states: &[user_regs_struct], varies: u32, pauses: bool) -> Counted {
        let instructions: Vec<Instruction> =
            states.iter().filter_map(|regs| self.decoded.get(&regs.rip).copied()).collect();
        let with_fit = |instruction: Instruction| (instruction, self.window(instruction.ip(), false).is_some());
        let instructions = instructions.into_iter().map(with_fit).collect();
        Counted::new((self.tid, &self.regs), instructions, varies, pauses)
    }

    /// The place in a loop in which threads have waited before, where one that stands in it waits as they did. `None` where it does not, and
    /// stands wherever it has come.
    fn waits_again(&mut self, known: &Rc<Counted>) -> Result<Option<Place>, Settled> {
        if !known.is_there(self.tid) {
            return Ok(None);
        }
        let (words, changed) = match known.waits_for(self.tid, &self.regs).filter(|_| known.fits(self.regs.rip)) {
            Some(words) => (words, Vec::new()),
            None => match self.goes_round(known)? {
                Some(turn) => turn.read_and_written(self.tid),
                None => return Ok(None),
            },
        };
        let is_place = known.fits(self.regs.rip) && !words.is_empty();
        let patient = Some(Patient { words, counted: Rc::clone(known) });
        Ok(is_place.then_some(Place { regs: self.regs, changed, may_wait: true, wait: None, patient }))
    }

    /// Goes round a known loop once, and on to where a probe can stand; nothing when it goes another way.
    fn goes_round(&mut self, known: &Counted) -> Result<Option<Turn>, Settled> {
        let begin = self.regs;
        let mut passed = Turn::that_may_write();
        for instruction in known.turn_from(begin.rip).into_iter().flatten() {
            if self.regs.rip != instruction.ip() || passed.passes(instruction, &self.regs).is_none() {
                return Ok(None);
            }
            self.step_from(instruction)?;
        }
        if self.regs.rip != begin.rip || !known.may_vary(waits::registers_between(&begin, &self.regs)) {
            return Ok(None);
        }
        for instruction in known.turn_from(begin.rip).into_iter().flatten() {
            if known.fits(instruction.ip()) {
                break;
            }
            self.step_from(instruction)?;
        }
        Ok(Some(passed))
    }

    /// The end of what a probe's jump at `ip` overwrites, where one can stand there. `is_easy`: on no beginning of another instruction.
    fn window(&mut self, ip: u64, is_easy: bool) -> Option<u64> {
        let is_wanted = |_: &u64| !is_easy || probe::inner_starts(self.tid, ip, self.bits).is_empty();
        let fits = |end: &u64| {
            !(self.is_foreign)(ip..*end) && !self.entered.iter().any(|entered| (ip + 1..*end).contains(entered))
        };
        let end = probe::window_end(self.tid, ip, self.bits).filter(is_wanted).filter(fits)?;
        (!self.is_read(&(ip..end))).then_some(end)
    }

    /// Whether the program's code reads what stands in a piece of it.
    fn is_read(&mut self, code: &Range<u64>) -> bool {
        if self.bits != 64 {
            return false;
        }
        let known = self.nearby.take().filter(|nearby| nearby.is_of(code));
        self.nearby.insert(known.unwrap_or_else(|| Nearby::of(self.tid, code.start))).reads(code)
    }

    /// At which of these instructions a probe stands best.
    fn best_of(&mut self, states: &[user_regs_struct]) -> usize {
        let mut best = |is_easy: bool| states.iter().position(|regs| self.window(regs.rip, is_easy).is_some());
        best(true).or_else(|| best(false)).unwrap_or(0)
    }

    /// How the thread comes round to where it stands, if it does: only others can end that, or its own patience.
    fn rounds(&mut self) -> Result<Option<Rounds>, Settled> {
        let begin = self.regs;
        let (mut whole, mut last) = (Some(Turn::default()), Turn::that_may_write());
        let mut before: Option<(Turn, Vec<Word>)> = None;
        let (mut states, mut began, mut compared) = (Vec::new(), 0, 0);
        let most = if self.is_thorough { TWICE_AROUND_LONG } else { TWICE_AROUND };
        while states.len() < most && !self.is_late() {
            let instruction = self.at_own_code()?;
            if last.passes(&instruction, &self.regs).is_none() {
                break;
            }
            let is_short = states.len() < LONGEST_TURN;
            whole = whole.and_then(|mut whole| (is_short && whole.takes(&instruction, &self.regs)).then_some(whole));
            states.push(self.regs);
            self.step_from(&instruction)?;
            if self.regs.rip != begin.rip {
                continue;
            }
            if let Some(whole) = whole.take_if(|_| state::same_registers(&self.regs, &begin)) {
                return Ok(whole.reads.then_some(Rounds::Same(whole, states)));
            }
            let words = last.words(self.tid);
            if let Some((_, words)) = before.filter(|(before, _)| last.goes_like(before)) {
                let states = states.split_off(began);
                let first = states.first().unwrap_or(&begin);
                if states.len() < LONGEST_TURN && !last.writes() && state::same_registers(&self.regs, first) {
                    // Only the turn in which it was found was another one.
                    return Ok(Some(Rounds::Same(last, states)));
                }
                let varies = waits::registers_between(first, &self.regs);
                return Ok(Some(Rounds::Alike { words, states, pauses: last.pauses, varies }));
            }
            compared += 1;
            if compared > MOST_COMPARED && whole.is_none() {
                break;
            }
            before = Some((std::mem::replace(&mut last, Turn::that_may_write()), words));
            began = states.len();
        }
        Ok(None)
    }

    /// Goes on to where a turn ends, if nothing but registers changes on the way; with the registers at each instruction.
    fn go_round(
        &mut self,
        is_round: &dyn Fn(&user_regs_struct) -> bool,
    ) -> Result<Option<(Turn, Vec<user_regs_struct>)>, Settled> {
        let mut turn = Turn::default();
        let mut states = Vec::new();
        for _ in 0..LONGEST_TURN {
            let instruction = self.at_own_code()?;
            if !turn.takes(&instruction, &self.regs) {
                break;
            }
            states.push(self.regs);
            self.step_from(&instruction)?;
            if is_round(&self.regs) {
                return Ok(Some((turn, states)));
            }
        }
        Ok(None)
    }

    /// Lets the thread run, and stops it wherever it is then.
    fn run_for_a_moment(&mut self) -> Result<(), Settled> {
        // It may make code meanwhile.
        self.nearby = None;
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
        self.wait(sys::Resume::Syscall, self.regs.eflags, |status, _| {
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
        let flags = self.regs.eflags;
        self.go_on(sys::Resume::Step, |_, _| true)?;
        if self.regs.eflags & stepped::TRAP_FLAG != 0
            && !stepped::loads_flags(instruction)
            && let Some(own) = stepped::clear_flag(self.tid, flags)
        {
            self.regs.eflags = own;
        }
        stepped::clear_stack(self.tid, instruction, self.regs.rsp);
        if self.regs.rip != instruction.next_ip() {
            self.entered.insert(self.regs.rip);
        }
        Ok(())
    }

    fn go_on(&mut self, how: sys::Resume, is_it: impl Fn(c_int, &user_regs_struct) -> bool) -> Result<(), Settled> {
        let flags = self.regs.eflags;
        if sys::resume(self.tid, how, 0).is_err() {
            return Err(Settled::Boundary);
        }
        self.wait(how, flags, |status, regs| status >> 8 == libc::SIGTRAP && is_it(status, regs))
    }

    /// Waits for the stop that `is_it` tells by its wait status and the registers, over signals that come meanwhile. `flags`: those with which
    /// the thread went on.
    fn wait(
        &mut self,
        how: sys::Resume,
        flags: u64,
        is_it: impl Fn(c_int, &user_regs_struct) -> bool,
    ) -> Result<(), Settled> {
        loop {
            let Ok(waited) = sys::wait_stop(self.tid) else { return Err(Settled::Boundary) };
            if libc::WIFSTOPPED(waited.status) {
                self.regs = sys::registers(self.tid).map_err(|_| Settled::Event(Box::new(waited)))?;
                // What the program sends itself as SIGTRAP is a signal like any other.
                let is_sent = self.signal_of(&waited).is_some_and(|(_, info)| siginfo::code(&info) <= 0);
                if !is_sent && is_it(waited.status, &self.regs) {
                    return Ok(());
                }
                if how == sys::Resume::Step {
                    stepped::clear_flag(self.tid, flags);
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
    let pointed =
        waits::general(regs).into_iter().map(|addr| (addr.saturating_sub(BEFORE), addr.saturating_add(BEHIND)));
    let stack = (regs.rsp.saturating_sub(RED_ZONE), regs.rsp.saturating_add(STACK));
    let mut ranges: Vec<(u64, u64)> = pointed.chain([stack]).collect();
    for (start, end) in &mut ranges {
        *start &= !(WORD - 1);
        *end &= !(WORD - 1);
    }
    ranges.sort_unstable();
    let ranges = merged(&ranges);
    let mappings = image::mappings_in(tid, &ranges);
    let writable = mappings.iter().filter(|mapping| mapping.prot & 3 == 3 && !mapping.path.starts_with(b"[v"));
    let writable: Vec<(u64, u64)> =
        writable.map(|mapping| (mapping.start, mapping.start.saturating_add(mapping.length))).collect();
    let mut pieces: Vec<Piece> = Vec::new();
    for (start, end) in ranges.into_iter().flat_map(|range| within(range, &writable)) {
        let mut bytes = vec![0; (end - start) as usize];
        let is_hole = holes.iter().any(|(hole, length)| *hole < end && start < hole.saturating_add(*length));
        if !is_hole && sys::read_pieces(tid, &[(start, bytes.len())], &mut bytes) == bytes.len() {
            pieces.push((start, bytes));
        }
    }
    pieces
}

/// The code that a probe at `ip` would overwrite, where it can become other code without a call: replay may come there before it is
/// written.
#[must_use]
pub fn changing_code(tid: pid_t, regs: &user_regs_struct) -> Option<Piece> {
    let end = probe::window_end(tid, regs.rip, bits(regs))?;
    if !may_change(tid, regs.rip) {
        return None;
    }
    let mut code = vec![0; (end - regs.rip) as usize];
    (sys::read_pieces(tid, &[(regs.rip, code.len())], &mut code) == code.len()).then_some((regs.rip, code))
}

/// Whether memory may be written to where it is, or at another place where the same is mapped.
fn may_change(tid: pid_t, addr: u64) -> bool {
    let mappings = image::mappings_in(tid, &[(addr, addr + 1)]);
    mappings.iter().any(|mapping| mapping.shared || mapping.prot & libc::PROT_WRITE as u64 != 0)
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
}
