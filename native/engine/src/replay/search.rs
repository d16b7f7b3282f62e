//! Finding a thread again where the recorder stopped it in the middle of its own code: in the moment at which its registers
//! and all its memory are equal. Equal state has an equal future, so it does not matter how many turns there were before.
//!
//! A probe in its code (`probe.rs`) stops the thread where registers and a few words of memory are equal. Each time that this
//! is not the moment after all, the recorded memory near the place tells words that differ, and the probe learns them. Only
//! where all of that is equal, the whole memory is hashed. Where no probe can stand, a hardware breakpoint does its work.
//!
//! Of a thread that waited in a loop that changes nothing there is no hash: it is in that state as soon as it waits there again, since it
//! would for ever. Of one that counted its turns the hash leaves out all memory: as nobody changes what it waits for while it has the turn,
//! registers, the words that change and what is near come together once.

use std::cell::{OnceCell, RefCell};
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

use libc::user_regs_struct;
use trace_format::column::{Columns, Projection};
use trace_format::event::{Side, preempt};

use super::debug::RunUntil;
use super::desync::DesyncReason;
use super::event::{Captured, Event};
use super::kernel::{self, Go, Register};
use super::remote::RemoteCall;
use super::run::Runner;
use super::tracee::{At, Thread};
use super::watch::{Halt, Watch, lost};
use crate::image::{self, Mapping};
use crate::probe::{self, JUMP_BYTES, MOST_WORDS, PROBE_BYTES, Probe, Word};
use crate::siginfo;
use crate::state::{self, ProcessorAnswers, Uncounted};
use crate::stepped;
use crate::sys;
use crate::waits::{self, Wait, Waits};

/// Words that a probe begins with.
const FIRST_WORDS: usize = 32;
/// Words that it learns from one moment that was another one.
const LEARNED: usize = 2;
/// A probe whose middle is jumped to so often is given up. Stepping out of it is slow, and a breakpoint in its place is slower: each
/// turn of the loop stops there.
const MOST_LANDINGS: u32 = 2_000_000;
/// Bytes of a word.
const WORD: u64 = 8;
/// Slot of the memory near the place.
const NEAR: u8 = 4;

/// The state that a thread is to be in.
struct Wanted<'a> {
    regs: user_regs_struct,
    /// Of its memory; `None` when it waits in a loop that changes nothing.
    hash: Option<&'a [u8]>,
    /// What the hash leaves out: address and length.
    holes: Vec<(u64, u64)>,
    /// And what the program has kept of these.
    answers: Option<ProcessorAnswers>,
    /// The shared memory that it counts: address and length, in this order.
    shared: Vec<(u64, u64)>,
    /// Words that tell turns of the loop apart.
    words: Vec<Word>,
    /// Memory near the place.
    near: Vec<Captured<'a>>,
    /// The code at the place, where it may not be there yet.
    code: Option<Captured<'a>>,
}

impl<'a> Wanted<'a> {
    /// `None` when the event does not tell.
    fn of(event: &Event<'a>) -> Option<Wanted<'a>> {
        let mut words = pairs(event.captured(2, Side::In).unwrap_or_default());
        words.truncate(FIRST_WORDS);
        let is_near = |capture: &Captured<'_>| capture.slot == NEAR && capture.side == Side::In as u8;
        let regs = event.captured(0, Side::In).and_then(registers_of)?;
        let mut near: Vec<Captured<'a>> = event.captures().filter(is_near).collect();
        let code = near.pop_if(|last| last.addr == regs.rip && last.bytes.len() <= probe::MOST_OVERWRITTEN);
        let mut shared = pairs(event.captured(5, Side::In).unwrap_or_default());
        shared.sort_unstable();
        Some(Wanted {
            regs,
            hash: event.captured(1, Side::In),
            holes: pairs(event.captured(3, Side::In).unwrap_or_default()),
            answers: ProcessorAnswers::of_number(event.arg(1)),
            shared,
            words,
            near,
            code,
        })
    }

    /// Whether a thread with these registers is in the state. `except` are mappings of replay's own, by their start. `known`: loops in which
    /// threads have been found to wait.
    fn is_state(
        &self,
        (tid, regs): (libc::pid_t, &user_regs_struct),
        except: &[u64],
        watch: &Watch,
        known: &RefCell<Waits>,
    ) -> Result<bool, Halt> {
        if !state::same_registers(regs, &self.regs) || !self.unlike(tid, 1).is_empty() {
            return Ok(false);
        }
        let Some(hash) = self.hash else {
            let is_known = known.borrow().of(tid, regs).is_some();
            return if is_known { Ok(true) } else { waits(tid, regs, watch, &mut known.borrow_mut()) };
        };
        let is_counted = !self.holes.contains(&state::EVERYTHING);
        if !is_counted && !waits::hold_still(tid, &self.words) {
            return Ok(false);
        }
        let windows = if is_counted { state::windows(tid, except, Some(&self.shared)) } else { Vec::new() };
        let uncounted = Uncounted { holes: &self.holes, answers: self.answers };
        Ok(state::state_hash(tid, &windows, uncounted)[..] == *hash)
    }

    /// Whether the code at the place is the one at which the recorder stopped the thread.
    fn has_code(&self, tid: libc::pid_t) -> bool {
        self.code.as_ref().is_none_or(|code| {
            let mut actual = [0; probe::MOST_OVERWRITTEN];
            let actual = &mut actual[..code.bytes.len()];
            sys::read_pieces(tid, &[(code.addr, actual.len())], actual) == actual.len() && actual == code.bytes
        })
    }

    /// The words that a probe can compare: all but those that its jump overwrites.
    fn words_beside(&self, overwritten: &Range<u64>) -> Vec<Word> {
        let is_beside = |(addr, _): &&Word| addr + WORD <= overwritten.start || overwritten.end <= *addr;
        self.words.iter().filter(is_beside).copied().collect()
    }

    /// The first words near the place that hold something else, with what they should hold.
    fn unlike(&self, tid: libc::pid_t, most: usize) -> Vec<Word> {
        const WORD: usize = self::WORD as usize;
        let mut found = Vec::new();
        for piece in &self.near {
            let mut actual = vec![0; piece.bytes.len()];
            let got = sys::read_pieces(tid, &[(piece.addr, actual.len())], &mut actual);
            let words = piece.bytes.chunks_exact(WORD).zip(actual[..got].chunks(WORD)).enumerate();
            let differing = words.filter(|(_, (wanted, actual))| wanted != actual);
            let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            found.extend(differing.map(|(index, (wanted, _))| (piece.addr + (index * WORD) as u64, word(wanted))));
            if got < actual.len() {
                found.push((piece.addr, word(piece.bytes.get(..WORD).unwrap_or_default())));
            }
            if found.len() >= most {
                break;
            }
        }
        found.truncate(most);
        found
    }

    /// Takes words into the comparison by which this moment would not have been taken for the wanted one; whether there
    /// are any.
    fn learn(&mut self, tid: libc::pid_t) -> bool {
        if self.words.len() + LEARNED > MOST_WORDS {
            return false;
        }
        let unlike = self.unlike(tid, usize::MAX);
        let is_new = |word: &&Word| self.words.iter().all(|known| known.0 != word.0);
        // The outermost callers count the fewest turns.
        let new: Vec<Word> = unlike.iter().rev().filter(is_new).take(LEARNED).copied().collect();
        self.words.extend(&new);
        !new.is_empty()
    }
}

/// How far a thread is run by a breakpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// To its state.
    State,
    /// To where the code at the place is the recorded one, if that is before its state.
    Code,
}

impl Runner<'_> {
    /// Runs a thread until it is in the state in which the recorder stopped it.
    pub(super) fn run_to_state(
        &mut self,
        thread: &mut Thread,
        seq: u64,
        event: &Event<'_>,
        columns: &Columns,
    ) -> Result<(), Halt> {
        let first = columns.first_seq;
        let Some(row) = seq.checked_sub(first).filter(|row| *row < u64::from(columns.count)) else {
            let number = self.job.trace.block_of(seq).unwrap_or(usize::MAX);
            let later = self.job.trace.decode_block(number, Projection::ALL)?;
            let row = (seq - later.first_seq) as usize;
            return self.run_to(thread, &Event::new(&later, row), event);
        };
        self.run_to(thread, &Event::new(columns, row as usize), event)
    }

    fn run_to(&mut self, thread: &mut Thread, target: &Event<'_>, event: &Event<'_>) -> Result<(), Halt> {
        if target.arg(0) == preempt::STEPPED {
            return self.step_to(thread, target);
        }
        let Some(mut wanted) = Wanted::of(target) else {
            return Err(self.desync(target, Some(thread), DesyncReason::Impossible.into()));
        };
        self.begin_segment(thread, event)?;
        thread.settle()?;
        thread.at = At::Held;
        let regs = sys::registers(thread.tid).map_err(|error| lost(thread.tid, &error))?;
        if wanted.is_state((thread.tid, &regs), &[self.remote.stub.data()], &self.remote.watch, &self.waits)? {
            return Ok(());
        }
        // Code that is written later would write over a probe, and make nothing of it stop.
        if !wanted.has_code(thread.tid) && self.run_to_breakpoint(thread, target, event, &wanted, Until::Code)? {
            return Ok(());
        }
        if !self.run_to_probe(thread, target, event, &mut wanted)? {
            self.run_to_breakpoint(thread, target, event, &wanted, Until::State)?;
        }
        Ok(())
    }

    /// Steps a thread as far as the recorder has stepped it.
    fn step_to(&mut self, thread: &mut Thread, target: &Event<'_>) -> Result<(), Halt> {
        /// No recorder steps further.
        const MOST: u64 = 1 << 16;
        let tid = thread.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        if target.arg(1) > MOST {
            return Err(self.desync(target, Some(thread), DesyncReason::Impossible.into()));
        }
        thread.settle()?;
        for _ in 0..target.arg(1) {
            kernel::go(tid, Go::Step, 0).map_err(failed)?;
            if self.remote.watch.wait(tid)? >> 8 != libc::SIGTRAP {
                return Err(self.desync(target, Some(thread), DesyncReason::State.into()));
            }
        }
        thread.at = At::Held;
        let regs = sys::registers(tid).map_err(failed)?;
        if (regs.rip, regs.rsp) != (target.ip(), target.sp()) {
            return Err(self.desync(target, Some(thread), DesyncReason::State.into()));
        }
        Ok(())
    }

    /// Runs a thread to a state by a breakpoint of the processor's; whether it is in that state.
    fn run_to_breakpoint(
        &mut self,
        thread: &mut Thread,
        target: &Event<'_>,
        event: &Event<'_>,
        wanted: &Wanted<'_>,
        until: Until,
    ) -> Result<bool, Halt> {
        thread.settle()?;
        let tid = thread.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        let except = [self.remote.stub.data()];
        let is_there = || -> Result<bool, Halt> {
            let regs = sys::registers(tid).map_err(failed)?;
            wanted.is_state((tid, &regs), &except, &self.remote.watch, &self.waits)
        };
        let breakpoint = sys::Breakpoint::set(tid, wanted.regs.rip);
        let patience = self.patience(thread, event, target);
        loop {
            thread.at = self.run_on(thread, event, 0, RunUntil::Breakpoint)?.unwrap_or(At::Held);
            let hit =
                matches!(thread.at, At::Signal(libc::SIGTRAP, info) if siginfo::code(&info) == siginfo::TRAP_HWBKPT);
            if !hit || patience.is_over() {
                drop(breakpoint);
                return Err(self.desync(target, Some(thread), DesyncReason::State.into()));
            }
            if is_there()? || self.step_through_repetition(thread, &wanted.regs, &is_there)? {
                thread.at = At::Held;
                return Ok(true);
            }
            if until == Until::Code && wanted.has_code(tid) {
                thread.at = At::Held;
                return Ok(false);
            }
            self.remote.watch.check()?;
        }
    }

    /// Runs a thread to a state by a probe in its own code; false when that cannot be put there.
    fn run_to_probe(
        &mut self,
        thread: &mut Thread,
        target: &Event<'_>,
        event: &Event<'_>,
        wanted: &mut Wanted<'_>,
    ) -> Result<bool, Halt> {
        let tid = thread.tid;
        let Some(room) = room_near(tid, &wanted.regs) else { return Ok(false) };
        let overwritten =
            wanted.regs.rip..probe::window_end(tid, wanted.regs.rip, probe::bits(&wanted.regs)).unwrap_or(0);
        let probe_now =
            |wanted: &Wanted<'_>| Probe::new(tid, &wanted.regs, &wanted.words_beside(&overwritten), room.base);
        let Some(mut probe) = probe_now(wanted) else { return Ok(false) };
        // Its jump is no code that a debugger could step through, or have a breakpoint in.
        let is_in_way = |own: &Runner<'_>, thread: &Thread| {
            own.manner(thread, event)
                .is_some_and(|how| how.steps || how.breaks.iter().any(|addr| overwritten.contains(addr)))
        };
        if is_in_way(self, thread) {
            return Ok(false);
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let prot = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let map = [room.start, room.length, prot as u64, flags as u64, u64::MAX, 0];
        if self.natively(thread, &RemoteCall::new(libc::SYS_mmap, &map))? as u64 != room.start {
            return Ok(false);
        }
        thread.settle()?;
        let site = Site::new(tid, wanted.regs.rip, room.base)?;
        site.insert(&probe)?;
        self.step_out(thread, &probe, site.ip)?;
        site.open(&probe)?;
        let except = [self.remote.stub.data(), room.start];
        let patience = self.patience(thread, event, target);
        let mut landings = 0;
        let found = loop {
            match self.run_on(thread, event, 0, RunUntil::Word)? {
                Some(at) => thread.at = at,
                None if is_in_way(self, thread) => {
                    site.close(&probe)?;
                    break false;
                }
                None => continue,
            }
            let stop = site.stop_of(&probe, thread)?;
            if matches!(stop, Stop::Other) || patience.is_over() {
                site.close(&probe)?;
                return Err(self.desync(target, Some(thread), DesyncReason::State.into()));
            }
            self.remote.watch.check()?;
            match stop {
                Stop::Inside(ip) => {
                    landings += 1;
                    site.close(&probe)?;
                    kernel::set_register(tid, Register::Rip, ip).map_err(|error| lost(tid, &error))?;
                    if landings > MOST_LANDINGS {
                        break false;
                    }
                    self.step_out(thread, &probe, site.ip)?;
                    site.open(&probe)?;
                }
                Stop::Unreadable => {
                    kernel::set_register(tid, Register::Rip, probe.out).map_err(|error| lost(tid, &error))?;
                }
                Stop::Equal(regs) => {
                    // Code that the program may write to counts, as it was.
                    site.close(&probe)?;
                    if wanted.is_state((tid, &regs), &except, &self.remote.watch, &self.waits)? {
                        thread.replace_registers(*regs);
                        break true;
                    }
                    if wanted.learn(tid)
                        && let Some(better) = probe_now(wanted)
                    {
                        probe = better;
                        site.insert(&probe)?;
                        sys::set_registers(tid, &regs).map_err(|error| lost(tid, &error))?;
                    }
                    site.open(&probe)?;
                }
                Stop::Unequal | Stop::Other => {}
            }
        };
        thread.at = At::Held;
        self.natively(thread, &RemoteCall::new(libc::SYS_munmap, &[room.start, room.length]))?;
        Ok(found)
    }

    /// Takes a thread out of the middle of the instructions that a probe is to replace. They only go on, and the last of
    /// them does not jump back among them.
    fn step_out(&self, thread: &Thread, probe: &Probe, place: u64) -> Result<(), Halt> {
        let tid = thread.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        for _ in 0..probe.original.len() {
            let regs = sys::registers(tid).map_err(failed)?;
            if !probe.is_inside(regs.rip, place) {
                break;
            }
            let instruction = probe::decode(tid, regs.rip, probe::bits(&regs));
            kernel::go(tid, Go::Step, 0).map_err(failed)?;
            self.remote.watch.wait(tid)?;
            if let Some(instruction) = instruction {
                stepped::clear_stack(tid, &instruction, sys::registers(tid).map_err(failed)?.rsp);
            }
        }
        Ok(())
    }

    /// A repeated string instruction can be stopped between two turns, where no breakpoint stops.
    fn step_through_repetition(
        &self,
        thread: &Thread,
        wanted: &user_regs_struct,
        is_there: &impl Fn() -> Result<bool, Halt>,
    ) -> Result<bool, Halt> {
        let tid = thread.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        let mut code = [0; 2];
        sys::read_pieces(tid, &[(wanted.rip, 2)], &mut code);
        if !matches!(code[0], 0xf2 | 0xf3) {
            return Ok(false);
        }
        loop {
            let regs = sys::registers(tid).map_err(failed)?;
            if regs.rip != wanted.rip || regs.rcx <= wanted.rcx || regs.rbx != wanted.rbx || regs.rsp != wanted.rsp {
                return Ok(false);
            }
            kernel::go(tid, Go::Step, 0).map_err(failed)?;
            let status = self.remote.watch.wait(tid)?;
            if status >> 8 != libc::SIGTRAP {
                return Ok(false);
            }
            if is_there()? {
                return Ok(true);
            }
        }
    }
}

/// Whether a thread that stands in its own code with these registers waits there: a turn of its loop changes nothing. It stands where it
/// stood afterwards.
fn waits(tid: libc::pid_t, regs: &user_regs_struct, watch: &Watch, known: &mut Waits) -> Result<bool, Halt> {
    let failed = move |error: std::io::Error| lost(tid, &error);
    let before = sys::registers(tid).map_err(failed)?;
    sys::set_registers(tid, regs).map_err(failed)?;
    let mut turn = waits::Turn::default();
    let (mut now, mut states) = (*regs, Vec::new());
    let mut is_round = false;
    for _ in 0..waits::LONGEST_TURN {
        let next = probe::decode(tid, now.rip, probe::bits(&now));
        if !next.is_some_and(|instruction| turn.takes(&instruction, &now)) {
            break;
        }
        states.push(now);
        kernel::go(tid, Go::Step, 0).map_err(failed)?;
        if watch.wait(tid)? >> 8 != libc::SIGTRAP {
            break;
        }
        now = sys::registers(tid).map_err(failed)?;
        is_round = turn.reads && state::same_registers(&now, regs);
        if is_round {
            break;
        }
    }
    // Nothing but registers has changed.
    sys::set_registers(tid, &before).map_err(failed)?;
    if is_round {
        known.learn(&Rc::new(Wait::new(tid, &turn, states, 0)));
    }
    Ok(is_round)
}

/// Why a thread with a probe in its code has stopped.
enum Stop {
    /// Registers and words are equal; the registers.
    Equal(Box<user_regs_struct>),
    /// They are not, for the flags differ.
    Unequal,
    /// It has come to the middle of the jump: to this instruction.
    Inside(u64),
    /// A word that the probe compares cannot be read now.
    Unreadable,
    /// It has nothing to do with the probe.
    Other,
}

/// Where a probe is: the memory of a thread, the instruction that it stands at, and its code.
struct Site {
    tid: libc::pid_t,
    memory: File,
    ip: u64,
    base: u64,
}

impl Site {
    fn new(tid: libc::pid_t, ip: u64, base: u64) -> Result<Site, Halt> {
        let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{tid}/mem"));
        let memory = memory.map_err(|error| lost(tid, &error))?;
        Ok(Site { tid, memory, ip, base })
    }

    fn write(&self, addr: u64, bytes: &[u8]) -> Result<(), Halt> {
        self.memory.write_all_at(bytes, addr).map_err(|error| lost(self.tid, &error).into())
    }

    /// Writes the probe's code; nobody comes there yet.
    fn insert(&self, probe: &Probe) -> Result<(), Halt> {
        self.write(self.base, &probe.code)
    }

    /// Leads the thread into the probe.
    fn open(&self, probe: &Probe) -> Result<(), Halt> {
        self.write(self.ip, &probe.jump)
    }

    /// Puts the program's own code back.
    fn close(&self, probe: &Probe) -> Result<(), Halt> {
        self.write(self.ip, &probe.original)
    }

    fn stop_of(&self, probe: &Probe, thread: &Thread) -> Result<Stop, Halt> {
        let At::Signal(signal, _) = thread.at else { return Ok(Stop::Other) };
        let stopped = sys::registers(self.tid).map_err(|error| lost(self.tid, &error))?;
        // A breakpoint is behind the thread, other traps are before it.
        let ip = if signal == libc::SIGTRAP { stopped.rip.wrapping_sub(1) } else { stopped.rip };
        if signal == libc::SIGTRAP && stopped.rip == probe.hit {
            let regs = probe.registers(self.tid, &stopped, self.ip);
            return Ok(regs.map_or(Stop::Unequal, |regs| Stop::Equal(Box::new(regs))));
        }
        let is_comparing = (self.base..probe.out).contains(&stopped.rip);
        Ok(match signal {
            libc::SIGSEGV | libc::SIGBUS if is_comparing => Stop::Unreadable,
            libc::SIGTRAP | libc::SIGILL | libc::SIGSEGV if probe.is_inside(ip, self.ip) => Stop::Inside(ip),
            _ => Stop::Other,
        })
    }
}

/// Pairs of 64-bit numbers: addresses with values, or with lengths.
fn pairs(bytes: &[u8]) -> Vec<(u64, u64)> {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    bytes.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..]))).collect()
}

/// Where a probe can be: what to map for it, and where in there its code begins.
struct Room {
    start: u64,
    length: u64,
    base: u64,
}

/// Free memory that a jump from where a thread stands reaches. Best at a distance whose bytes trap: whoever comes to the middle
/// of the jump is stopped there.
fn room_near(tid: libc::pid_t, regs: &user_regs_struct) -> Option<Room> {
    /// Less than a 32-bit distance, for the instruction is moved too.
    const REACH: u64 = 0x7000_0000;
    const LOWEST: u64 = 0x1_0000;
    const END_32: u64 = 0xff00_0000;
    const END: u64 = 0x7fff_0000_0000;
    /// So many places are asked for one by one.
    const ASKED: usize = 64;
    // Walked through only where hardly anything is free, or the kernel does not tell of one place.
    let listed = OnceCell::new();
    let mappings = || listed.get_or_init(|| image::mappings(tid));
    let is_free = |tried: usize, start: u64, end: u64| {
        let asked = (tried < ASKED).then(|| sys::query_ranges(tid, &[(start, end)]).ok()).flatten();
        let is_apart =
            |mapping: &Mapping| mapping.start.saturating_add(mapping.length) <= start || end <= mapping.start;
        asked.map_or_else(|| mappings().iter().all(is_apart), |mapped| mapped.is_empty())
    };
    let (ip, bits) = (regs.rip, probe::bits(regs));
    let is_32_bit = bits == 32;
    let end = if is_32_bit { END_32 } else { END };
    let behind = ip.wrapping_add(JUMP_BYTES as u64);
    for (tried, distance) in Probe::distances(bits, &probe::inner_starts(tid, ip, bits)).enumerate() {
        let base = behind.wrapping_add_signed(distance.into());
        let base = if is_32_bit { base & u64::from(u32::MAX) } else { base };
        let (start, length) = (base & !(PROBE_BYTES - 1), 2 * PROBE_BYTES);
        if (LOWEST..end - length).contains(&start)
            && (is_32_bit || base.abs_diff(ip) < REACH)
            && is_free(tried, start - PROBE_BYTES, start + length + PROBE_BYTES)
        {
            return Some(Room { start, length, base });
        }
    }
    let mut free_from = LOWEST;
    let mut found: Option<u64> = None;
    for mapping in mappings() {
        let gap = free_from..mapping.start;
        free_from = mapping.start.saturating_add(mapping.length);
        if gap.end.saturating_sub(gap.start) < 3 * PROBE_BYTES {
            continue;
        }
        for page in [gap.start + PROBE_BYTES, gap.end - 2 * PROBE_BYTES] {
            let better = found.is_none_or(|known| page.abs_diff(ip) < known.abs_diff(ip));
            if page.abs_diff(ip) < REACH && better {
                found = Some(page);
            }
        }
    }
    found.map(|page| Room { start: page, length: PROBE_BYTES, base: page })
}

fn registers_of(bytes: &[u8]) -> Option<user_regs_struct> {
    if bytes.len() != size_of::<user_regs_struct>() {
        return None;
    }
    // SAFETY: the struct has only integers, so any bytes of its size are one; they need not be aligned.
    Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
}
