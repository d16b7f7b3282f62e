//! The first pass over a trace: what comes next for each thread where that is special, where the stub may stand, and which
//! parts of the trace are independent of each other.

use std::collections::{HashMap, HashSet};

use libc::c_int;
use trace_format::column::Projection;
use trace_format::event::{EventKind, Side, Trap, disposition, flag, guard, preempt, slot};
use trace_format::table::Arch;

use super::event::Event;
use super::stub::FreePlaces;
use super::watch::{Halt, Watch};
use super::zygote::Traps;
use crate::capture;
use crate::layout;
use crate::plan::{self, Plan};
use crate::reader::Trace;
use crate::siginfo;

/// What a thread does after an event, where it does not simply run to its next stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It stays where the event leaves it.
    Stays,
    /// It stays, and the handler of a signal runs next.
    Handler,
    /// It runs until the state of that event, which preempts it.
    Preempted(u64),
}

/// What is known of a trace before it is replayed.
pub struct Scan {
    next: HashMap<u64, Next>,
    /// The last event of each thread that moves it.
    last: Vec<u64>,
    /// Events after which a thread runs into the fault of one of its instructions.
    before_fault: HashSet<u64>,
    /// The births of tasks whose maker was killed as it made them, and that are told behind its end, by the maker's thread.
    posthumous: HashMap<u32, u64>,
    pub places: FreePlaces,
    pub traps: Traps,
    pub units: Units,
    /// A program has chosen the CPUs of a thread, which those have that come of it.
    pub binds: bool,
}

/// Parts of a trace that can be replayed each for itself: an exec's life, with the processes forked from it that have not
/// executed another program. Units that write the same shared memory are one.
#[derive(Default)]
pub struct Units {
    /// The unit to which a thread belongs from that event on (a Task or an Exec).
    starts: HashMap<u64, u32>,
    /// Union of units: the number of another one, or its own.
    joined: Vec<u32>,
    /// How many events a unit has.
    sizes: Vec<u64>,
    /// Processes, as numbered in the trace, that live in a unit.
    processes: Vec<Vec<u32>>,
    /// Whether a unit does what the agent would be in the way of.
    unfit: Vec<bool>,
}

impl Scan {
    /// Whether some thread has to be found in a state that the whole memory tells.
    #[must_use]
    pub fn has_states(&self) -> bool {
        self.next.values().any(|next| matches!(next, Next::Preempted(_)))
    }
}

impl Units {
    fn new_unit(&mut self) -> u32 {
        let unit = self.joined.len() as u32;
        self.joined.push(unit);
        self.sizes.push(0);
        self.processes.push(Vec::new());
        self.unfit.push(false);
        unit
    }

    /// The unit that stands for all that were joined with it.
    #[must_use]
    pub fn find(&self, mut unit: u32) -> u32 {
        while let Some(&into) = self.joined.get(unit as usize).filter(|into| **into != unit) {
            unit = into;
        }
        unit
    }

    fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.find(one), self.find(other));
        let (into, from) = (one.min(other), one.max(other));
        if let Some(joined) = self.joined.get_mut(from as usize) {
            *joined = into;
        }
    }

    /// The unit that begins for a thread with this event.
    #[must_use]
    pub fn starting_at(&self, seq: u64) -> Option<u32> {
        self.starts.get(&seq).map(|unit| self.find(*unit))
    }

    /// The units in which a process lives: those of the programs that it executes, or else the one of its parent.
    #[must_use]
    pub fn of_process(&self, process: u32) -> Vec<u32> {
        let lives = |unit: &usize| self.processes[*unit].contains(&process);
        let mut units: Vec<u32> = (0..self.processes.len()).filter(lives).map(|unit| self.find(unit as u32)).collect();
        // Every program that it executes begins a unit; before the first one it shares its parent's.
        if units.len() > 1 {
            units.remove(0);
        }
        units.sort_unstable();
        units.dedup();
        units
    }

    /// Whether the agent may come to the processes of the unit that begins with this event.
    #[must_use]
    pub fn are_fit(&self, seq: u64) -> bool {
        self.starts.get(&seq).is_some_and(|unit| !self.unfit[*unit as usize])
    }

    /// How many events the unit that begins with this one has.
    #[must_use]
    pub fn size(&self, seq: u64) -> u64 {
        self.starts.get(&seq).map_or(0, |unit| self.sizes[*unit as usize])
    }

    /// The units that stand for all, each with the events of those that were joined with it.
    fn totals(&self) -> Vec<(u32, u64)> {
        let mut totals: HashMap<u32, u64> = HashMap::new();
        for (unit, size) in self.sizes.iter().enumerate() {
            *totals.entry(self.find(unit as u32)).or_default() += size;
        }
        totals.into_iter().collect()
    }

    /// For how many workers there is something to do as long as the one with the largest unit works.
    #[must_use]
    pub fn worth(&self) -> usize {
        let totals = self.totals();
        let all: u64 = totals.iter().map(|(_, size)| size).sum();
        let largest = totals.iter().map(|(_, size)| *size).max().unwrap_or(0).max(1);
        usize::try_from(all.div_ceil(largest)).map_or(1, |workers| workers.max(1))
    }

    /// Spreads the units over so many workers, the largest first; by unit its worker.
    #[must_use]
    pub fn shares(&self, workers: usize) -> Vec<usize> {
        let mut units = self.totals();
        units.sort_unstable_by_key(|(unit, size)| (std::cmp::Reverse(*size), *unit));
        let mut loads = vec![0_u64; workers.max(1)];
        let mut shares = vec![0; self.sizes.len()];
        for (unit, size) in units {
            let worker = (0..loads.len()).min_by_key(|worker| loads[*worker]).unwrap_or(0);
            loads[worker] += size + 1;
            shares[unit as usize] = worker;
        }
        for unit in 0..shares.len() {
            shares[unit] = shares[self.find(unit as u32) as usize];
        }
        shares
    }

    /// How many numbers of units there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.joined.len()
    }

    /// How many units there are that have anything to do with each other.
    #[must_use]
    pub fn count(&self) -> usize {
        (0..self.joined.len()).filter(|unit| self.joined[*unit] as usize == *unit).count()
    }
}

/// No event yet.
const NONE: u64 = u64::MAX;

impl Scan {
    /// What comes after an event of a thread, if that is special.
    #[must_use]
    pub fn next(&self, thread: u32, seq: u64) -> Option<Next> {
        match self.next.get(&seq) {
            None if self.last.get(thread as usize) == Some(&seq) => Some(Next::Stays),
            next => next.copied(),
        }
    }

    /// The birth that comes behind the end of a thread: it was killed as it made another one.
    #[must_use]
    pub fn posthumous_of(&self, thread: u32) -> Option<u64> {
        self.posthumous.get(&thread).copied()
    }

    /// Whether the thread of an event runs into a fault after it, which depends on what is mapped.
    #[must_use]
    pub fn is_before_fault(&self, seq: u64) -> bool {
        self.before_fault.contains(&seq)
    }

    /// Reads the whole trace.
    ///
    /// # Errors
    /// When a block is damaged.
    pub fn of(trace: &Trace, watch: &Watch) -> Result<Scan, Halt> {
        let threads = trace.definitions().threads().len();
        let mut pass = Pass {
            scan: Scan {
                next: HashMap::new(),
                last: vec![NONE; threads],
                before_fault: HashSet::new(),
                posthumous: HashMap::new(),
                places: FreePlaces::all(),
                traps: Traps::default(),
                units: Units::default(),
                binds: false,
            },
            unit: vec![None; threads],
            breaks: HashMap::new(),
            mapping: HashMap::new(),
            shared: HashMap::new(),
            makes: vec![false; threads],
            ended: HashSet::new(),
            space: vec![0; threads],
            latest: Vec::new(),
        };
        for number in 0..trace.blocks().len() {
            watch.check()?;
            let projection = Projection { args: true, ..Projection::BASE };
            let columns = trace.decode_block(number, projection)?;
            let events = || (0..columns.count as usize).map(|row| Event::new(&columns, row));
            let mut maps = false;
            for event in events() {
                pass.add(&event, trace);
                let shares = maps_shared(&event);
                if shares && let Some(unit) = pass.unit.get(event.thread() as usize).copied().flatten() {
                    pass.mapping.insert(event.seq(), unit);
                }
                maps |= shares || event.kind() == EventKind::Exec;
            }
            if maps {
                let columns = trace.decode_block(number, Projection { captures: true, ..projection })?;
                for row in 0..columns.count as usize {
                    pass.add_layout(&Event::new(&columns, row));
                }
            }
        }
        pass.join_sharing_units();
        pass.let_unfinished_go_on();
        Ok(pass.scan)
    }
}

struct Pass {
    scan: Scan,
    /// The unit in which a thread lives.
    unit: Vec<Option<u32>>,
    /// End of the heap, by thread.
    breaks: HashMap<u32, u64>,
    /// The units of the calls that map shared memory.
    mapping: HashMap<u64, u32>,
    /// By device and inode: units that map it shared, and whether anybody may write.
    shared: HashMap<(u64, u64), (Vec<u32>, bool)>,
    /// Threads that have made a task, in a call whose own event has not come.
    makes: Vec<bool>,
    /// The threads that have ended.
    ended: HashSet<u32>,
    /// The memory that a thread runs in, by number.
    space: Vec<usize>,
    /// The latest event of those that run in each memory.
    latest: Vec<u64>,
}

/// Whether an event maps shared memory; what and where is in its layout.
fn maps_shared(event: &Event<'_>) -> bool {
    const MAP_SHARED: u64 = libc::MAP_SHARED as u64;
    if event.kind() != EventKind::Call || event.flags() & flag::ERROR != 0 {
        return false;
    }
    match name(event) {
        "mmap" if event.arch() == Arch::X86_64 as u8 => event.arg(3) & MAP_SHARED != 0,
        "mmap2" => event.arg(3) & MAP_SHARED != 0,
        "mmap" | "shmat" => true,
        _ => false,
    }
}

/// Whether a program forbids itself to read the clock counter, PR_SET_TSC in prctl(2).
pub(super) fn forbids_clock(event: &Event<'_>) -> bool {
    name(event) == "prctl"
        && event.arg(0) as i32 == libc::PR_SET_TSC
        && event.arg(1) as i32 == libc::PR_TSC_SIGSEGV
        && event.flags() & flag::ERROR == 0
}

/// Whether an event wants registers, memory and code as they are without the agent: a thread is to be found in a state that all of
/// its memory tells, it runs 32-bit code, uses the agent's register, or has the kernel look at where calls come from. Memory that
/// grows down takes more room than the trace tells.
fn needs_own_state(event: &Event<'_>) -> bool {
    const ARCH_SET_GS: c_int = 0x1001;
    const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;
    match event.kind() {
        EventKind::Preempt => event.arg(0) != preempt::TURN,
        EventKind::Signal => event.code() == libc::SIGSYS,
        EventKind::Exec => event.arch() != Arch::X86_64 as u8,
        EventKind::Call if event.arch() != Arch::X86_64 as u8 => true,
        EventKind::Call => match name(event) {
            "arch_prctl" => event.arg(0) as c_int == ARCH_SET_GS,
            "prctl" => event.arg(0) as c_int == PR_SET_SYSCALL_USER_DISPATCH,
            "mmap" => event.arg(3) & libc::MAP_GROWSDOWN as u64 != 0,
            "modify_ldt" => true,
            _ => false,
        },
        _ => false,
    }
}

/// What is known of an event's call; nothing of one that the table does not know.
pub fn plan(event: &Event<'_>) -> Option<&'static Plan> {
    plan::by_number(Arch::from_code(event.arch())?, event.code() as u32)
}

/// The name of an event's call; empty for one that the table does not know.
pub fn name(event: &Event<'_>) -> &'static str {
    plan(event).map_or("", |plan| plan.row.name)
}

/// Whether a signal event recurs in replay by itself.
pub fn is_synchronous(event: &Event<'_>) -> bool {
    siginfo::is_synchronous(event.code(), event.arg(0) as i32)
}

impl Pass {
    fn add(&mut self, event: &Event<'_>, trace: &Trace) {
        let thread = event.thread() as usize;
        let mut moves = true;
        let mut special = None;
        match event.kind() {
            EventKind::Map | EventKind::Stop | EventKind::Note => return,
            EventKind::Call => {
                self.scan.traps.tsc |= forbids_clock(event);
                self.scan.binds |= name(event) == "sched_setaffinity" && event.flags() & flag::ERROR == 0;
                self.occupy(event);
            }
            EventKind::Signal => match event.arg(2) {
                disposition::HANDLED if !is_synchronous(event) => special = Some(Next::Handler),
                disposition::HANDLED => {}
                // It runs to the instruction whose fault is its end.
                disposition::FATAL if is_synchronous(event) => {}
                disposition::FATAL => {
                    moves = false;
                    special = Some(Next::Stays);
                }
                _ => return,
            },
            EventKind::Task => {
                let parent = event.arg(0).checked_sub(1);
                if let Some(ended) =
                    parent.and_then(|parent| u32::try_from(parent).ok()).filter(|it| self.ended.contains(it))
                {
                    self.scan.posthumous.insert(ended, event.seq());
                }
                if let Some(makes) = parent.and_then(|parent| self.makes.get_mut(parent as usize)) {
                    *makes = true;
                }
                let unit = parent.and_then(|parent| *self.unit.get(parent as usize)?);
                let unit = unit.unwrap_or_else(|| self.scan.units.new_unit());
                self.enter(event, unit, trace);
                let shares = event.arg(1) & libc::CLONE_VM as u64 != 0;
                self.enter_space(event, parent.filter(|_| shares));
            }
            EventKind::Exec => {
                special = Some(Next::Stays);
                let unit = self.scan.units.new_unit();
                self.enter(event, unit, trace);
                self.enter_space(event, None);
            }
            EventKind::Exit => {
                self.ended.insert(event.thread());
                moves = false;
                special = Some(Next::Stays);
            }
            EventKind::Trap => match Trap::from_code(event.code()) {
                Some(Trap::Cpuid) => self.scan.traps.cpuid = true,
                Some(Trap::Rdtsc | Trap::Rdtscp) => self.scan.traps.tsc = true,
                Some(Trap::Guard) if event.arg(1) == guard::SET => special = Some(Next::Stays),
                _ => {}
            },
            EventKind::Preempt if event.arg(0) == preempt::TURN => special = Some(Next::Stays),
            EventKind::Preempt => special = Some(Next::Preempted(event.seq())),
        }
        if let Some(unit) = self.unit.get(thread).copied().flatten() {
            self.scan.units.sizes[unit as usize] += 1;
            self.scan.units.unfit[unit as usize] |= needs_own_state(event);
        }
        let Some(last) = self.scan.last.get_mut(thread) else { return };
        if let Some(special) = special.filter(|_| *last != NONE) {
            self.scan.next.entry(*last).or_insert(special);
        }
        if event.kind() == EventKind::Signal && is_synchronous(event) {
            self.scan.before_fault.insert(*last);
        }
        if moves {
            *last = event.seq();
        }
        self.makes[thread] = false;
        if let Some(latest) = self.latest.get_mut(self.space[thread]) {
            *latest = event.seq();
        }
    }

    /// A trace may end while threads are in calls whose events have not come. Those that stand at the call of which another task
    /// was born, and those after whom others went on that see the same memory, have come to such a call by then.
    fn let_unfinished_go_on(&mut self) {
        let units = &self.scan.units;
        let sharing = self.shared.values().filter(|(_, written)| *written).flat_map(|(units, _)| units);
        let sharing: HashSet<u32> = sharing.map(|unit| units.find(*unit)).collect();
        let unit = |thread: usize| self.unit[thread].map(|unit| units.find(unit)).filter(|unit| sharing.contains(unit));
        let mut latest: HashMap<u32, u64> = HashMap::new();
        for (thread, space) in self.space.iter().enumerate() {
            if let (Some(unit), Some(&seq)) = (unit(thread), self.latest.get(*space)) {
                latest.entry(unit).and_modify(|latest| *latest = seq.max(*latest)).or_insert(seq);
            }
        }
        for thread in 0..self.space.len() {
            let of_unit = unit(thread).and_then(|unit| latest.get(&unit));
            let latest = of_unit.or_else(|| self.latest.get(self.space[thread]));
            let last = &mut self.scan.last[thread];
            if self.makes[thread] || latest.is_some_and(|latest| *latest > *last) {
                *last = NONE;
            }
        }
    }

    /// A thread runs from here on in memory of its own, or in that of another one.
    fn enter_space(&mut self, event: &Event<'_>, of: Option<u64>) {
        let shared = of.and_then(|thread| self.space.get(thread as usize)).copied();
        let space = shared.unwrap_or_else(|| {
            self.latest.push(event.seq());
            self.latest.len() - 1
        });
        if let Some(own) = self.space.get_mut(event.thread() as usize) {
            *own = space;
        }
    }

    /// A thread lives in this unit from here on.
    fn enter(&mut self, event: &Event<'_>, unit: u32, trace: &Trace) {
        let thread = event.thread() as usize;
        if let Some(own) = self.unit.get_mut(thread) {
            *own = Some(unit);
        }
        self.scan.units.starts.insert(event.seq(), unit);
        if let Some(defined) = trace.definitions().threads().get(thread) {
            let processes = &mut self.scan.units.processes[unit as usize];
            if !processes.contains(&defined.process) {
                processes.push(defined.process);
            }
        }
    }

    /// Keeps the stub away from all that a call maps, unmaps or changes.
    fn occupy(&mut self, event: &Event<'_>) {
        let result = event.ret() as u64;
        if capture::is_error(event.ret()) {
            return;
        }
        let places = &mut self.scan.places;
        let mut occupy = |start: u64, length: u64| places.occupy(start, start.saturating_add(length.max(1)));
        match name(event) {
            "mmap" if event.arch() == Arch::X86_64 as u8 => occupy(result, event.arg(1)),
            "mmap2" => occupy(result, event.arg(1)),
            "mmap" | "shmat" => occupy(result, 1),
            "mremap" => occupy(result, event.arg(2)),
            "munmap" | "mprotect" | "pkey_mprotect" | "madvise" | "remap_file_pages" => {
                occupy(event.arg(0), event.arg(1));
            }
            "brk" => {
                let before = self.breaks.insert(event.thread(), result).unwrap_or(result);
                occupy(before.min(result), before.abs_diff(result));
            }
            _ => {}
        }
    }

    fn add_layout(&mut self, event: &Event<'_>) {
        if !(event.kind() == EventKind::Exec || maps_shared(event)) {
            return;
        }
        let Some(bytes) = event.captured(slot::LAYOUT, Side::In) else { return };
        let seq = event.seq();
        let unit = self.mapping.remove(&seq).or_else(|| self.scan.units.starts.get(&seq).copied());
        for row in layout::with_room(layout::rows(bytes), layout::STACK_ROOM) {
            if !row.is_special() {
                self.scan.places.occupy(row.start, row.end);
            }
            if let Some(unit) = unit.filter(|_| row.is_shared()) {
                let (units, written) = self.shared.entry((row.dev, row.ino)).or_default();
                *written |= row.prot & libc::PROT_WRITE as u64 != 0;
                if !units.contains(&unit) {
                    units.push(unit);
                }
            }
        }
    }

    fn join_sharing_units(&mut self) {
        for (units, written) in self.shared.values() {
            for pair in units.windows(2).filter(|_| *written) {
                self.scan.units.join(pair[0], pair[1]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(sizes: &[u64]) -> Units {
        let mut units = Units::default();
        for size in sizes {
            let unit = units.new_unit();
            units.sizes[unit as usize] = *size;
        }
        units
    }

    #[test]
    fn there_are_as_many_workers_as_the_largest_unit_lets_be_of_use() {
        for (sizes, workers) in [
            (&[][..], 1),
            (&[0, 0], 1),
            (&[500], 1),
            (&[500, 1], 2),
            (&[500, 500], 2),
            (&[500, 400, 101], 3),
            (&[10; 64], 64),
        ] {
            assert_eq!(units(sizes).worth(), workers, "{sizes:?}");
        }
        let mut joined = units(&[10, 10, 10, 10]);
        joined.join(0, 1);
        joined.join(3, 1);
        assert_eq!(joined.worth(), 2);
    }

    #[test]
    fn workers_get_units_by_their_size() {
        let mut units = units(&[5, 9, 4, 6]);
        assert_eq!(units.shares(2), [1, 0, 0, 1]);
        units.join(0, 1);
        assert_eq!(units.shares(2), [0, 0, 1, 1]);
        assert_eq!(units.shares(1), [0; 4]);
    }
}
