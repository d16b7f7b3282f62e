//! Recording with the agent: records of the rings become events, sites are patched as they are found, and threads that a
//! signal finds in the agent are moved out of it.
//!
//! At every stop of any task all rings are emptied first, so that a call that stops is committed behind those that its
//! process has made before.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;

use libc::{c_int, pid_t};
use trace_format::event::{Lost, Side, Status, slot};
use trace_format::ring::{KNOWN, KNOWN_BYTES, SPARE, known, refuse};
use trace_format::table::Arch;

use super::layouts::file_position;
use super::leaving::takes_place;
use super::replayable::Stream;
use super::{Backend, Recorder, World, continue_interrupted, shown, signals};
use crate::agent::clock::Clock;
use crate::agent::code::{self, Code, State};
use crate::agent::inject;
use crate::agent::known::{Known, Part};
use crate::agent::remote::Borrowed;
use crate::agent::ring::{Arena, Arenas, Captured, Damage, End, Progress, Record, Ring};
use crate::agent::stopped::{self, Block, Place};
use crate::agent::window::{Kind, Passed, Refused};
use crate::agent::{Image, table};
use crate::capture::Call;
use crate::image::{self, FileId};
use crate::memory::Memory;
use crate::objects::{Facts, Identity, Open};
use crate::plan::{self, Effect};
use crate::raw::ObjectKind;
use crate::resolve;
use crate::siginfo;
use crate::sys::{self, Resume};
use crate::task::{Space, Task};

/// What recording with the agent needs beyond the rest.
pub(super) struct Agent {
    pub image: &'static Image,
    table: Vec<u8>,
    pub known: Known,
    /// The rings of programs.
    arenas: Arenas,
    /// Where in the vDSO an instruction of a call was found.
    call_in_vdso: Option<u64>,
    clock: Clock,
    /// Identity of the descriptor that the present record's call has opened.
    pub told: Option<Identity>,
    /// The file that the present record's call has mapped.
    pub told_mapped: Option<ToldFile>,
    /// When the last events ended, and of which thread they were; latest at the back.
    ends: VecDeque<(u64, u32)>,
    pub counts: Counts,
    /// Everything is patched at once, whether it is worth it or not.
    eager: bool,
    /// So many calls are still to stop programs before it comes to the first.
    waits: u32,
    /// Reused from ring to ring.
    bytes: Vec<u8>,
}

/// How many calls came which way.
#[derive(Default)]
pub(super) struct Counts {
    pub in_process: u64,
    /// By number of the call.
    pub trapped: HashMap<u32, u64>,
    pub patched: u64,
    pub refused: HashMap<Refused, u64>,
    /// How many processes it has left, or has not come to, and why.
    pub left: HashMap<String, u64>,
}

/// So many calls of a program stop it before the agent is worth its price. Most short programs make hardly more.
const WORTH_AGENT: u32 = 40;
/// So many calls of all programs have to have stopped them before it comes to the first, unless it was asked for: to find out where a
/// library's code jumps to takes as long as they did, once in a recording.
const WORTH_FIRST: u32 = 400;
/// The same for a ring of a process that found none when it was forked.
const WORTH_RING: u32 = 12;
/// So many programs have begun with some code before one of them is made to tell which calls are there.
const WORTH_BEGUN: u32 = 3;
/// Code that is longer is not looked at for the first call in it.
const MOST_AT_ONCE: u64 = 4 << 20;
/// So many bytes of records are taken at once: the processor still has them when they become events.
const PIECE_BYTES: u64 = 64 << 10;
/// How many of the calls that stopped tracees are named in the trace.
const MOST_NAMED: usize = 32;
/// A raw result: interrupted by a signal.
const EINTR: i64 = -4;
/// How many ends are remembered: a call in which more happened elsewhere is told as if only so much had.
const MOST_ENDS: usize = 1 << 14;

impl Agent {
    /// `stops`: calls of which names the program is to be stopped for.
    pub fn new(
        image: &'static Image,
        data: crate::memory::Data,
        replayable: bool,
        backend: Backend,
        stops: impl Fn(&str) -> bool,
    ) -> Agent {
        Agent {
            image,
            table: table::build(data, replayable, stops),
            known: Known::default(),
            arenas: Arenas::default(),
            call_in_vdso: None,
            clock: Clock::new(replayable),
            told: None,
            told_mapped: None,
            ends: VecDeque::new(),
            counts: Counts::default(),
            eager: backend == Backend::EagerAgent,
            waits: if backend == Backend::Usual { WORTH_FIRST } else { 0 },
            bytes: Vec::new(),
        }
    }

    /// The address of a `syscall` instruction in a program's vDSO, where it was in the last program's.
    fn call_instruction(&mut self, task: &Task) -> Option<u64> {
        let vdso = task.space.borrow().vdso;
        if let (Some(vdso), Some(offset)) = (vdso, self.call_in_vdso) {
            task.space.borrow_mut().call_at.get_or_insert(vdso + offset);
        }
        let found = task.call_instruction(image::SYSCALL);
        self.call_in_vdso = found.and_then(|at| at.checked_sub(vdso?));
        found
    }

    /// An event of a thread that ended then was committed.
    pub fn committed(&mut self, end: u64, thread: u32) {
        if self.ends.len() >= MOST_ENDS {
            self.ends.pop_front();
        }
        self.ends.push_back((end, thread));
    }

    /// How many of the last events ended after a thread began a call at that time; its own ended before.
    fn ended_since(&self, time: u64, thread: u32) -> u64 {
        self.ends.iter().rev().take_while(|(end, of)| *end > time && *of != thread).count() as u64
    }

    /// A line for the trace's facts.
    pub fn summary(&self) -> String {
        let Counts { in_process, trapped, patched, refused, left } = &self.counts;
        let all: u64 = trapped.values().sum();
        let mut text = format!("in_process={in_process}\ntrapped={all}\npatched={patched}");
        let name = |number| plan::by_number(Arch::X86_64, number).map_or("?", |plan| plan.row.name);
        let mut calls: Vec<_> = trapped.iter().map(|(number, count)| (*count, name(*number))).collect();
        calls.sort_unstable_by(|one, other| other.cmp(one));
        for (count, name) in calls.into_iter().take(MOST_NAMED) {
            let _ = write!(text, "\ncall={count} {name}");
        }
        let mut reasons: Vec<_> = refused.iter().map(|(reason, count)| (reason.why(), *count)).collect();
        reasons.sort_unstable();
        for (reason, count) in reasons {
            let _ = write!(text, "\nrefused={count} {reason}");
        }
        let mut reasons: Vec<_> = left.iter().collect();
        reasons.sort_unstable();
        for (reason, count) in reasons {
            let _ = write!(text, "\nleft={count} {reason}");
        }
        text
    }
}

/// Adds what a record has of one side to the memory of an event. How many captures it has that are well-formed.
fn add(memory: &mut Memory, record: &Record<'_>, side: Side) -> u8 {
    let mut found = 0;
    for (captured, bytes) in record.captures() {
        found += 1;
        let Captured::Memory(captured) = captured else { continue };
        if captured.side != side {
            continue;
        }
        memory.unreadable += u32::from(captured.status == Status::Unreadable);
        memory.bytes.extend_from_slice(bytes);
        memory.captures.push(captured);
    }
    found
}

/// A file that the agent has mapped.
pub(super) struct ToldFile {
    /// In the state in which it was before it was mapped.
    pub file: FileId,
    /// None of a file whose content is kept.
    pub content: Option<Vec<u8>>,
}

/// What the agent has found out about a file that it has mapped.
fn mapped(record: &Record<'_>) -> Option<ToldFile> {
    /// Members of struct stat, by offset.
    const INO: usize = 8;
    const MODE: usize = 24;
    const SIZE: usize = 48;
    const MTIME: usize = 88;
    const MTIME_NS: usize = 96;
    let find = |wanted: fn(&Captured) -> bool| record.captures().find(|(captured, _)| wanted(captured));
    let (_, facts) = find(|captured| matches!(captured, Captured::Mapped))?;
    let content = find(|captured| matches!(captured, Captured::Content)).map(|(_, bytes)| bytes.to_vec());
    let word = |at: usize| Some(u64::from_le_bytes(facts.get(at..at + 8)?.try_into().ok()?));
    let changed = (word(MTIME)? as i64, word(MTIME_NS)? as i64);
    // Mode and owner.
    let ids = word(MODE)?;
    let file = FileId::of_numbers((word(0)?, word(INO)?), changed, word(SIZE)?, (ids as u32, (ids >> 32) as u32));
    Some(ToldFile { file, content })
}

/// What the agent has found out about a new descriptor. Its name is empty when it is that of the call.
fn opened<'a>(record: &Record<'a>) -> Option<(Facts, &'a [u8])> {
    /// Bytes of struct stat; device, inode and mode in it.
    const STAT: usize = 144;
    let (_, bytes) = record.captures().find(|(captured, _)| matches!(captured, Captured::Opened))?;
    let (facts, path) = bytes.split_at_checked(STAT)?;
    let word = |at: usize| u64::from_le_bytes(facts[at..at + 8].try_into().unwrap_or_default());
    let mode = u32::from_le_bytes(facts[24..28].try_into().unwrap_or_default());
    Some(((word(0), word(8), mode), path))
}

impl World {
    fn call_of(&self, record: &Record<'_>, start: u64, thread: u32) -> Call {
        let number = u32::from(record.number);
        // Without a time of its own nothing is known to have happened meanwhile.
        let is_timed = !self.replayable || record.start != record.end;
        let agent = self.agent.as_ref().filter(|_| is_timed);
        let since = agent.map_or(0, |agent| agent.ended_since(self.time(start), thread));
        Call {
            arch: Arch::X86_64,
            number,
            plan: plan::by_number(Arch::X86_64, number),
            args: record.args,
            ip: record.ip,
            sp: record.sp,
            start,
            entry_seq: self.sink.seq().saturating_sub(since),
            restarted: false,
        }
    }

    /// The name of a file that a call has opened by a path of which no part was a symbolic link.
    fn name_of_opened(&mut self, task: &Task, call: &Call) -> Option<Vec<u8>> {
        let (slot, dir) = if call.name() == "open" { (0, libc::AT_FDCWD) } else { (1, call.int(0)) };
        let given = task.memory.string(slot).filter(|given| !given.is_empty())?;
        if given[0] == b'/' {
            return Some(resolve::without_dots(given));
        }
        let base = if dir == libc::AT_FDCWD { self.cwd(task) } else { task.fds.borrow().get(dir) };
        let base = base.and_then(|object| self.objects.path(object)).filter(|base| base.first() == Some(&b'/'))?;
        Some(resolve::without_dots(&resolve::join(base, given)))
    }

    /// A call that the agent has begun, as if it had just been entered.
    fn begin_recorded(&mut self, task: &mut Task, record: &Record<'_>, start: u64) -> Call {
        self.decide(task, None);
        let mut call = self.call_of(record, start, task.index);
        continue_interrupted(task, &mut call);
        task.memory.clear();
        add(&mut task.memory, record, Side::In);
        self.refer(task, &call);
        self.before(task, &mut call);
        call
    }

    /// A call that the agent has made, or an instruction that it has answered.
    fn recorded(&mut self, task: &mut Task, record: &Record<'_>, start: u64, end: u64) {
        if let Some(kind) = record.answers() {
            self.counted(task, record, kind, start);
            return;
        }
        let call = self.begin_recorded(task, record, start);
        let found = add(&mut task.memory, record, Side::Out);
        // A complete record has all that it says, unless the program has written over it.
        task.memory.unreadable += u32::from(record.count.saturating_sub(found));
        let told = opened(record).and_then(|(facts, path)| {
            let path = if path.is_empty() { self.name_of_opened(task, &call)? } else { path.to_vec() };
            Some(Identity::new(path, Some(facts)))
        });
        if let Some(agent) = &mut self.agent {
            agent.told = told;
            agent.told_mapped = mapped(record);
            agent.counts.in_process += 1;
            let code = &mut task.space.borrow_mut().code;
            if code.is_watched() {
                code.has_used(&mut agent.known, record.ip);
            }
        }
        self.after(task, &call, record.result);
        if let Some(agent) = &mut self.agent {
            agent.told = None;
            agent.told_mapped = None;
        }
        if self.replayable {
            World::recorded_in_turn(task, &call, record.result);
            self.look_for_code(task);
        }
        self.commit_call(task, &call, Some(record.result), end.max(start), 0);
    }
}

impl World {
    /// A ring holds something else than records: the program has written there.
    fn count_damage(&mut self) {
        self.lost[Lost::Memory as usize] += 1;
        let why = "a program has written over the agent's ring: calls of it are missing";
        self.note(why);
        self.unreplayable(why);
    }
}

impl Recorder {
    /// Takes what is in the rings of all tasks, in the order in which the calls ended. Whether there was anything.
    /// `stopped`: a task that has come to a stop, or ended.
    pub(super) fn drain(&mut self, stopped: Option<pid_t>) -> bool {
        let Some(agent) = &mut self.world.agent else { return false };
        // Before any ring is looked at. What ends later may be seen in one ring, and not be there yet in another that was looked at
        // before.
        let limit = if self.world.replayable { u64::MAX } else { sys::counter() };
        let mut filled = self.tasks.values_mut().filter(|task| task.ring.as_ref().is_some_and(Ring::has_more));
        let Some(first) = filled.next() else { return false };
        let mut bytes = std::mem::take(&mut agent.bytes);
        agent.clock.refresh();
        let several = filled.next().is_some();
        if several {
            self.drain_all(limit, stopped);
        } else {
            let tid = first.tid;
            let limit = if self.tasks.len() > 1 && stopped != Some(tid) { limit } else { u64::MAX };
            self.drain_one(tid, limit, &mut bytes);
        }
        if let Some(agent) = &mut self.world.agent {
            agent.bytes = bytes;
        }
        true
    }

    /// Piece by piece, so that its thread finds room again soon.
    fn drain_one(&mut self, tid: pid_t, limit: u64, bytes: &mut Vec<u8>) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let Some(end) = task.ring.as_ref().map(Ring::end) else { return };
        while let Some(ring) = &mut task.ring {
            match ring.read(end, PIECE_BYTES, bytes) {
                Ok(Some(())) => {}
                Ok(None) => return,
                Err(Damage) => break,
            }
            let (mut taken, mut is_later) = (0, false);
            while let Some((record, size)) =
                Record::parse(&bytes[taken..]).filter(|(record, _)| self.world.makes(record))
            {
                is_later = record.end > limit;
                if is_later {
                    break;
                }
                let (start, end) = self.world.times(&record);
                self.world.recorded(task, &record, start, end);
                taken += size;
            }
            if taken == 0 && !is_later {
                break;
            }
            self.pace.took(taken as u64);
            if let Some(ring) = &mut task.ring {
                ring.has_taken(taken as u64);
            }
            if is_later {
                return;
            }
        }
        task.ring.iter_mut().for_each(Ring::skip);
        self.world.count_damage();
    }

    fn drain_all(&mut self, limit: u64, stopped: Option<pid_t>) {
        // Up to now: who goes on writing meanwhile is not ahead of the others.
        let mut taken: Vec<(pid_t, End, Vec<u8>)> = Vec::new();
        let filled =
            self.tasks.values().filter_map(|task| Some((task.tid, task.ring.as_ref().filter(|ring| ring.has_more())?)));
        taken.extend(filled.map(|(tid, ring)| (tid, ring.end(), Vec::new())));
        let mut order: Vec<(u64, usize, usize)> = Vec::new();
        for (index, (tid, end, bytes)) in taken.iter_mut().enumerate() {
            let Some(ring) = self.tasks.get_mut(tid).and_then(|task| task.ring.as_mut()) else { continue };
            let limit = if stopped == Some(*tid) { u64::MAX } else { limit };
            if ring.take(*end, limit, bytes).is_err() {
                ring.skip();
                self.world.count_damage();
            }
            self.pace.took(bytes.len() as u64);
            let (mut at, mut last) = (0, 0);
            while let Some((record, size)) = Record::parse(&bytes[at..]) {
                // Within a ring the order is that of the records, whatever the counter says.
                last = record.end.max(last);
                order.push((last, index, at));
                at += size;
            }
        }
        order.sort_unstable();
        for (_, index, at) in order {
            let (tid, _, bytes) = &taken[index];
            let (Some(task), Some((record, _))) = (self.tasks.get_mut(tid), Record::parse(&bytes[at..])) else {
                continue;
            };
            if !self.world.makes(&record) {
                self.world.count_damage();
                continue;
            }
            let (start, end) = self.world.times(&record);
            self.world.recorded(task, &record, start, end);
        }
    }

    /// The agents read their clocks anew.
    pub(super) fn age_clocks(&self) {
        if self.world.replayable {
            self.tasks.values().filter_map(|task| task.ring.as_ref()).for_each(Ring::clock_is_old);
        }
    }

    /// A task has come back from a call that stopped it, which has been committed: the time to look after its agent.
    pub(super) fn tend(&mut self, tid: pid_t, call: &Call, result: i64) {
        self.synchronise(tid, call, result);
        if self.world.agent.is_none() {
            return;
        }
        self.tell_names(tid, call);
        if result == EINTR {
            // The mask that such a call had put in place is still there, and would be lost.
            return;
        }
        if self.world.replayable {
            self.settle_agents(tid);
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if let Some(ring) = &mut task.ring {
            ring.rewind();
        }
        if filters(call) && result >= 0 {
            let process = Rc::clone(&task.process);
            self.tasks
                .values_mut()
                .filter(|task| Rc::ptr_eq(&task.process, &process))
                .for_each(|task| task.stepwise = true);
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let space = Rc::clone(&task.space);
        let state = space.borrow().code.state;
        if state == State::Off {
            return;
        }
        let is_own = call.arch == Arch::X86_64;
        let is_forbidden = !self.world.replayable && task.traps.clock_is_forbidden;
        if is_forbidden || (is_own && is_beyond(call) && result >= 0) {
            self.give_up(tid);
            return;
        }
        let is_shared = Rc::strong_count(&space) > 2;
        if !self.world.replayable && state == State::Present && is_shared && task.ring.is_none() {
            // Whatever came of its call: it may run into code that others have patched.
            self.equip(tid);
        }
        if !is_own || super::is_restart(result) {
            return;
        }
        let Some(agent) = &mut self.world.agent else { return };
        agent.waits = agent.waits.saturating_sub(1);
        if matches!(call.name(), "munmap" | "mremap") {
            let sharing = self.tasks.values().filter(|task| Rc::ptr_eq(&task.space, &space));
            sharing.filter_map(|task| task.ring.as_ref()).for_each(Ring::forget_last);
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if unshares_descriptors(call) && result == 0 && is_shared {
            task.fds_apart = true;
            if let Some(ring) = &task.ring {
                ring.refuse(refuse::OPENS);
            }
        }
        task.trapped += 1;
        let trapped = task.trapped;
        let has_ring = task.ring.is_some();
        let is_eager = agent.eager;
        let (effect, is_agents) = (call.plan.map(|plan| plan.effect), table::has(&agent.table, call.number));
        match state {
            State::Absent
                if effect == Some(Effect::Exec) && self.may_have_agent(tid) && self.is_worth_from_start(tid) =>
            {
                self.inject(tid);
                space.borrow_mut().code.from_start = true;
                let begins = sys::registers(tid).map_or(0, |regs| regs.rip);
                self.patch_known(tid, begins);
            }
            State::Absent => self.come_to(tid),
            State::Present if !has_ring && (is_eager || trapped >= WORTH_RING) => self.equip(tid),
            State::Present if has_ring && is_agents => {
                self.patch_known(tid, call.ip);
                if effect == Some(Effect::Mmap) && result >= 0 && self.runs_mapped(tid, result as u64) {
                    self.patch_known(tid, result as u64);
                }
                let is_cheap = |code: &Code, part: &Part| code.from_start && part.length <= MOST_AT_ONCE;
                let is_known =
                    |part: &Part| self.world.agent.as_ref().is_some_and(|agent| agent.known.has_site(part, call.ip));
                let at_once = |code: &Code| {
                    is_eager || code.part_at(call.ip).is_some_and(|part| is_cheap(code, &part) || is_known(&part))
                };
                let is_worth = space.borrow_mut().code.is_worth(call.ip, at_once);
                if is_worth && self.all_have_rings(&space) {
                    self.patch(tid, Passed::call(call.ip, call.number));
                }
            }
            _ => {}
        }
    }

    /// A filter that a task has put on all threads of its process has them gain no privileges when it gains none itself, seccomp(2).
    fn synchronise(&mut self, tid: pid_t, call: &Call, result: i64) {
        const SECCOMP_FILTER_FLAG_NEW_LISTENER: u64 = 1 << 3;
        let Some(task) = self.tasks.get(&tid).filter(|task| task.traps.gains_nothing) else { return };
        let (flags, is_filter) =
            (call.args[1], call.name() == "seccomp" && call.int(0) as u32 == libc::SECCOMP_SET_MODE_FILTER);
        // Else a result that is not 0 is a thread that is in the way.
        let is_done = result == 0 || (result > 0 && flags & SECCOMP_FILTER_FLAG_NEW_LISTENER != 0);
        if !is_filter || !is_done || flags & libc::SECCOMP_FILTER_FLAG_TSYNC == 0 {
            return;
        }
        let process = Rc::clone(&task.process);
        let threads = self.tasks.values_mut().filter(|task| Rc::ptr_eq(&task.process, &process));
        threads.for_each(|task| task.traps.gains_nothing = true);
    }

    /// Tells agents when names of files are not those that they are opened by: directories have other names, or the root is another.
    fn tell_names(&mut self, tid: pid_t, call: &Call) {
        let Some(effect) = call.plan.map(|plan| plan.effect) else { return };
        if effect == Effect::Rename && self.world.names_moved {
            self.tasks.values().filter_map(|task| task.ring.as_ref()).for_each(Ring::ask_names);
        }
        let Some(location) = self.tasks.get(&tid).map(|task| Rc::clone(&task.location)) else { return };
        if effect == Effect::Chdir && location.borrow().foreign_root {
            for task in self.tasks.values().filter(|task| Rc::ptr_eq(&task.location, &location)) {
                task.ring.iter().for_each(|ring| ring.refuse(refusals(task, self.world.replayable)));
            }
        }
    }

    /// A task has entered a call. One that may take the agent's pages away has it leave the process before.
    pub(super) fn guard(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid).filter(|_| self.world.agent.is_some()) else { return };
        if task.space.borrow().code.is_patched() {
            self.uncover_own(tid);
        }
        self.uncover_looked_at(tid);
        let Some(task) = self.tasks.get(&tid) else { return };
        if !task.call.as_ref().is_some_and(takes_place) {
            return;
        }
        if task.space.borrow().code.state == State::Present {
            self.give_up(tid);
        }
        let stays = self.tasks.get(&tid).is_some_and(|task| task.space.borrow().code.is_patched());
        if stays && let Ok(regs) = sys::registers(tid) {
            // Without those pages the program could not go on: the call is not made.
            let refused = libc::user_regs_struct { orig_rax: u64::MAX, rax: -libc::ENOMEM as u64, ..regs };
            let _ = sys::set_registers(tid, &refused);
        }
    }

    /// A task has entered a call that moves code, or hands it out: it is as the program has it from now on.
    fn uncover_own(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let space = Rc::clone(&task.space);
        let mut parts = Vec::new();
        if let Some(call) = task.call.filter(|call| call.name() == "mremap") {
            parts.push((call.args[0], call.args[1]));
        }
        {
            let code = &space.borrow().code;
            let (mut at, bytes) = (0, &mut task.memory.bytes);
            for capture in &task.memory.captures {
                let end = at + capture.len as usize;
                if capture.side == Side::In && code.shows(capture.addr, capture.wanted) {
                    parts.push((capture.addr, capture.wanted));
                    code.cover_up(capture.addr, &mut bytes[at..end]);
                }
                at = end;
            }
        }
        self.uncover(tid, (tid, &space), &parts);
    }

    /// A task has entered a call that reads memory of a process, its own or another's: code in it is as the program has it from now on.
    fn uncover_looked_at(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let Some(call) = task.call.filter(|call| call.arch == Arch::X86_64) else { return };
        let Some((other, parts)) = self.looks_at(task, &call) else { return };
        let (other, space) = (other.tid, Rc::clone(&other.space));
        self.uncover(tid, (other, &space), &parts);
    }

    /// Of which process a call reads memory that is not given to it, and which: addresses and lengths.
    fn looks_at(&self, task: &Task, call: &Call) -> Option<(&Task, Vec<(u64, u64)>)> {
        if call.name() == "process_vm_readv" {
            return Some((
                self.task_numbered(task, call.int(0))?,
                shown::vector(task.tid, call.args[3], call.args[4])?,
            ));
        }
        if self.world.memory_files.is_empty() || !shown::reads(call.name()) {
            return None;
        }
        let object = task.fds.borrow().get(call.int(0))?;
        let pid = self.world.memory_files.get(&object)?;
        let other = self.tasks.values().find(|other| other.process.borrow().pid == *pid)?;
        let length = shown::buffers(task.tid, call)?.iter().map(|(_, length)| length).sum();
        let place = shown::place_of(call).or_else(|| file_position(task.tid, call.int(0)))?;
        Some((other, vec![(place, length)]))
    }

    /// Puts back the program's own code in parts of the memory of a task, while another one, or the same, stands still.
    fn uncover(&mut self, by: pid_t, (of, space): (pid_t, &Rc<RefCell<Space>>), parts: &[(u64, u64)]) {
        if parts.is_empty() || !space.borrow().code.is_patched() {
            return;
        }
        let held = self.hold_running(by, space);
        for (start, length) in parts {
            space.borrow_mut().code.clear_part(of, *start, *length);
        }
        self.tell_code(space);
        self.release(held);
    }

    /// Tells the agents of an address space where there are jumps.
    fn tell_code(&self, space: &Rc<RefCell<Space>>) {
        let parts = space.borrow().code.parts();
        let sharing = self.tasks.values().filter(|task| Rc::ptr_eq(&task.space, space));
        sharing.filter_map(|task| task.ring.as_ref()).for_each(|ring| ring.set_code(&parts));
    }

    /// Whether every thread of an address space finds a block of its own when it comes to a patched site. One that is in a call
    /// which stopped it gets one before it goes on.
    pub(super) fn all_have_rings(&self, space: &Rc<RefCell<Space>>) -> bool {
        // Where they take turns, each has one at least from when it goes on.
        let mut sharing = self.tasks.values().filter(|task| Rc::ptr_eq(&task.space, space));
        self.world.replayable || sharing.all(|task| task.ring.is_some() || task.call.is_some())
    }

    /// Whether a program that has not run yet is to have the agent from its first call on: when what it begins with, its loader mostly,
    /// was patched before, or when that has been begun often enough to find out.
    fn is_worth_from_start(&mut self, tid: pid_t) -> bool {
        let Some(agent) = &mut self.world.agent else { return false };
        let Some(task) = self.tasks.get(&tid) else { return false };
        let part = sys::registers(tid).ok().and_then(|regs| task.space.borrow().code.part_at(regs.rip));
        let Some((begun, has_sites)) = part.map(|part| agent.known.begins(&part)) else { return agent.eager };
        agent.eager || has_sites || (agent.waits == 0 && begun >= WORTH_BEGUN)
    }

    /// Whether the program of a task, in another process, has made calls in what is mapped at an address. There are programs that do
    /// not run such code, but read and translate it, and run a copy of it themselves.
    fn runs_mapped(&self, tid: pid_t, addr: u64) -> bool {
        let (Some(task), Some(agent)) = (self.tasks.get(&tid), &self.world.agent) else { return false };
        let code = &task.space.borrow().code;
        let (Some(part), Some(program)) = (code.part_at(addr), code.program()) else { return false };
        agent.known.runs(program, &part) && code.is_mapped_once(&part)
    }

    /// Patches what is known of the code at an address, when that has not been done in this process.
    fn patch_known(&mut self, tid: pid_t, addr: u64) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let (pid, space) = (task.process.borrow().pid, Rc::clone(&task.space));
        let part = {
            let code = &space.borrow().code;
            let is_new = code.state == State::Present && !code.is_patched_as_known(addr);
            code.part_at(addr).filter(|_| is_new)
        };
        let Some(part) = part.filter(|_| self.all_have_rings(&space)) else { return };
        let insides = self.world.agent.as_ref().map_or_else(Vec::new, |agent| agent.known.insides(&part));
        let is_changed = |ip| insides.iter().any(|inside| inside.contains(&ip));
        let Some(held) = self.hold_others(tid, &space, is_changed) else { return };
        let Some(agent) = &mut self.world.agent else { return };
        if let Some(program) = space.borrow().code.program() {
            agent.known.has_run(program, &part);
        }
        if let Ok(mut thread) = Borrowed::new(agent.image, pid, tid) {
            let code = &mut space.borrow_mut().code;
            let at = thread.regs.rip;
            let patched = code.patch_known(agent.image.entries(), &mut thread, &mut agent.known, (&part, at));
            agent.counts.patched += patched.unwrap_or(0);
        }
        self.release(held);
        self.tell_code(&space);
    }

    /// Patches the site that a task has just passed. When another thread is in the way, the next time will do.
    pub(super) fn patch(&mut self, tid: pid_t, passed: Passed) {
        let Passed { ip, kind, .. } = passed;
        let Some(agent) = &mut self.world.agent else { return };
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let pid = task.process.borrow().pid;
        let space = Rc::clone(&task.space);
        let chosen = if is_own_code(tid, ip, self.world.replayable) {
            let code = &space.borrow().code;
            code.choose(&mut agent.known, tid, passed, code.part_at(ip))
        } else {
            Err(Refused::Written)
        };
        let outcome = match chosen {
            Err(reason) => Err(reason),
            Ok(chosen) => {
                let Some(held) = self.hold_others(tid, &space, |at| chosen.is_inside(at)) else { return };
                let Some(agent) = &mut self.world.agent else { return };
                let outcome = match Borrowed::new(agent.image, pid, tid) {
                    Ok(mut thread) if thread.regs.rip == ip => {
                        space.borrow_mut().code.patch(agent.image.entries(), &mut thread, &mut agent.known, chosen)
                    }
                    _ => Err(Refused::ReadOnly),
                };
                self.release(held);
                outcome
            }
        };
        let Some(agent) = &mut self.world.agent else { return };
        match outcome {
            Ok(()) => {
                agent.counts.patched += 1;
                if kind == Kind::Call {
                    space.borrow_mut().code.has_used(&mut agent.known, ip);
                }
                self.tell_code(&space);
            }
            Err(reason) => {
                space.borrow_mut().code.refuse(ip, reason);
                *agent.counts.refused.entry(reason).or_default() += 1;
            }
        }
    }

    /// Stops the other threads that run in an address space, and says which. `None` when one of them stands where the code is to be
    /// changed. Those that sleep in a call run nothing before it ends.
    fn hold_others(
        &mut self,
        tid: pid_t,
        space: &Rc<RefCell<Space>>,
        is_changed: impl Fn(u64) -> bool,
    ) -> Option<Vec<pid_t>> {
        if Rc::strong_count(space) <= 2 {
            return Some(Vec::new());
        }
        let (held, is_clear) = self.hold(tid, space, is_changed);
        if is_clear {
            return Some(held);
        }
        self.release(held);
        None
    }

    /// Stops the other threads that run in an address space while code is put back that was there before: one that came by would find half
    /// of it.
    fn hold_running(&mut self, tid: pid_t, space: &Rc<RefCell<Space>>) -> Vec<pid_t> {
        let is_own = self.tasks.get(&tid).is_some_and(|task| Rc::ptr_eq(&task.space, space));
        // Where they take turns, no other runs; nor where there is none.
        if is_own && (self.world.replayable || Rc::strong_count(space) <= 2) || !space.borrow().code.is_patched() {
            return Vec::new();
        }
        self.hold(tid, space, |_| false).0
    }

    /// Stops the other threads that run in an address space, as far as they are not stopped, and whether none stands where code is changed.
    fn hold(&mut self, tid: pid_t, space: &Rc<RefCell<Space>>, is_changed: impl Fn(u64) -> bool) -> (Vec<pid_t>, bool) {
        let in_way = |tid: pid_t| sys::registers(tid).is_ok_and(|regs| is_changed(regs.rip));
        let mut held = Vec::new();
        let mut is_clear = true;
        let others = self.tasks.values().filter(|other| other.tid != tid && Rc::ptr_eq(&other.space, space));
        for other in others {
            let other_tid = other.tid;
            if let Some(call) = &other.call {
                // It comes back to behind the call.
                is_clear &= !is_changed(call.ip);
            } else if self.stops.iter().any(|stop| stop.tid == other_tid) {
                is_clear &= !in_way(other_tid);
            } else if other.in_group_stop {
                // Continued, it reports that before it runs anything; where it stands is not told before.
                is_clear = false;
            } else {
                match sys::state_of(other_tid) {
                    // It sleeps in a call that the agent has made, or runs nothing any more.
                    Some(b'S' | b'Z' | b'X') | None => continue,
                    Some(b'R') => {}
                    // It waits for a page of the code that it is in, or stands in a stop that was not told of.
                    Some(_) => {
                        is_clear = false;
                        continue;
                    }
                }
                let Ok(waited) = sys::interrupt(other_tid).and_then(|()| sys::wait_stop(other_tid)) else { continue };
                if libc::WIFSTOPPED(waited.status) {
                    is_clear &= !in_way(other_tid);
                }
                if waited.status >> 16 == sys::event::STOP && libc::WSTOPSIG(waited.status) == libc::SIGTRAP {
                    held.push(other_tid);
                } else {
                    // It has come to a stop of its own, and will report the one that was asked for later.
                    self.stops.push_back(waited);
                }
            }
        }
        (held, is_clear)
    }

    /// Threads that were held go on. One that was to be stopped for another reason, too, is to be so again.
    fn release(&self, held: Vec<pid_t>) {
        for tid in held {
            if self.detaching {
                let _ = sys::interrupt(tid);
            }
            let is_stepwise = self.tasks.get(&tid).is_some_and(|task| task.stepwise);
            let _ = sys::resume(tid, if is_stepwise { Resume::Syscall } else { Resume::Cont }, 0);
        }
    }

    /// A task has been stopped in whose process the agent is not: it comes when that has happened often enough, or at once if it was asked
    /// for.
    pub(super) fn come_to(&mut self, tid: pid_t) {
        let (Some(task), Some(agent)) = (self.tasks.get(&tid), &self.world.agent) else { return };
        let stops = {
            let code = &mut task.space.borrow_mut().code;
            code.stops += 1;
            code.stops
        };
        if (agent.eager || (stops >= WORTH_AGENT && agent.waits == 0)) && self.may_have_agent(tid) {
            self.inject(tid);
        }
    }

    /// Puts the agent into the program of a task that stands behind a call, or where it is about to get a signal.
    fn inject(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let pid = task.process.borrow().pid;
        let is_64 = sys::registers(tid).is_ok_and(|regs| regs.cs == sys::USER_CS && regs.gs_base == 0);
        // Nor without the counter, which the agent reads.
        let is_forbidden = !self.world.replayable && task.traps.clock_is_forbidden;
        if !is_64 || is_forbidden || task.stepwise || task.fds_apart {
            task.space.borrow_mut().code.state = State::Off;
            return;
        }
        let known = self.world.known_table(task);
        let Some(agent) = &mut self.world.agent else { return };
        let instruction = agent.call_instruction(task);
        let injected = instruction.ok_or_else(|| std::io::Error::other("the process has no vDSO")).and_then(|at| {
            let mut thread = Borrowed::new(agent.image, pid, tid)?;
            let area = code::best_place_for(thread.regs.rip);
            let (image, table, arenas) = (agent.image, &agent.table[..], &mut agent.arenas);
            inject::program(&mut inject::Parts { image, table, known: &known, arenas, area }, &mut thread, at)
        });
        match injected {
            Ok(inject::Put { arena, ring, area }) => {
                {
                    let code = &mut task.space.borrow_mut().code;
                    code.state = State::Present;
                    code.arena = Some(arena);
                    if let Some(start) = area {
                        code.has_area(start);
                    }
                }
                task.has_block = true;
                self.world.hand_over(task, ring);
            }
            Err(error) => {
                task.space.borrow_mut().code.state = State::Off;
                self.world.does_without(&format!("it never came: {error}"));
            }
        }
    }

    /// Has a new task find a ring of its own, before it runs; or, where there is none, a block that lets all calls stop.
    pub(super) fn welcome(&mut self, tid: pid_t, shares_memory: bool, shares_fds: bool) {
        if self.world.agent.is_none() {
            return;
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        task.fds_apart = shares_memory && !shares_fds;
        let (state, ring) = {
            let code = &task.space.borrow().code;
            (code.state, code.arena.as_ref().filter(|_| code.state == State::Present).and_then(Arena::ring))
        };
        if state != State::Present {
            return;
        }
        if ring.is_none() && shares_memory && !self.world.replayable {
            self.equip(tid);
            return;
        }
        let gs_base = ring.as_ref().map_or(SPARE, |ring| ring.addr);
        let moved =
            sys::registers(tid).and_then(|regs| sys::set_registers(tid, &libc::user_regs_struct { gs_base, ..regs }));
        if moved.is_err() {
            return self.give_up(tid);
        }
        task.has_block = true;
        if let Some(ring) = ring {
            self.world.hand_over(task, ring);
        }
    }

    /// Gives a task that stands still a ring of its own.
    fn equip(&mut self, tid: pid_t) {
        let Some(agent) = &mut self.world.agent else { return };
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let space = Rc::clone(&task.space);
        let pid = task.process.borrow().pid;
        let reused = {
            let code = &mut space.borrow_mut().code;
            code.arena.as_ref().and_then(Arena::ring).or_else(|| code.pool.0.pop())
        };
        if self.world.replayable && reused.is_none() {
            // It goes on with the block that lets all calls stop.
            return;
        }
        let ring = sys::registers(tid).and_then(|regs| match reused {
            _ if regs.cs != sys::USER_CS => Err(std::io::Error::other("it runs 32-bit code")),
            Some(mut ring) => {
                ring.renew();
                sys::set_registers(tid, &libc::user_regs_struct { gs_base: ring.addr, ..regs })?;
                Ok(ring)
            }
            None => {
                let mut thread = Borrowed::new(agent.image, pid, tid)?;
                thread.restarts = regs.orig_rax as i64 >= 0 && super::is_restart(regs.rax as i64);
                inject::ring(&mut thread)
            }
        });
        match ring {
            Ok(ring) => {
                task.has_block = true;
                self.world.hand_over(task, ring);
            }
            Err(error) => {
                self.world.does_without(&format!("a thread could not have it: {error}"));
                self.give_up(tid);
            }
        }
    }

    /// Takes the agent out of the code of a task's address space: all calls stop from now on.
    pub(super) fn give_up(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let space = Rc::clone(&task.space);
        let held = self.hold_running(tid, &space);
        let restored = space.borrow_mut().code.restore(tid);
        self.release(held);
        if let Err(error) = restored {
            self.world.note(&format!("the agent could not be taken out of a program's code, and stays there: {error}"));
        }
        for task in self.tasks.values_mut().filter(|task| Rc::ptr_eq(&task.space, &space)) {
            // Threads in a trampoline still come by.
            if let Some(ring) = &task.ring {
                ring.refuse(refuse::ALL);
            }
        }
    }

    /// A task has ended or executed a program: others who still share its memory may get its ring.
    pub(super) fn return_ring(task: &mut Task) {
        if let Some(ring) = task.ring.take().filter(|ring| !ring.is_part())
            && Rc::strong_count(&task.space) > 1
        {
            task.space.borrow_mut().code.pool.0.push(ring);
        }
    }

    /// A signal is about to be delivered to a task that may be in the agent: afterwards it is not. `true` when there is nothing to
    /// deliver, and the task goes on.
    pub(super) fn leave_agent(&mut self, tid: pid_t, signal: c_int) -> bool {
        let Some(agent) = &mut self.world.agent else { return false };
        let Some(task) = self.tasks.get_mut(&tid) else { return false };
        if task.ring.is_none() && task.space.borrow().code.is_untouched() {
            return false;
        }
        let Ok(regs) = sys::registers(tid) else { return false };
        let block = task.ring.as_ref().map_or(Block::Spare(tid), Block::Ring);
        // One that somebody sent may come where a fault does.
        let is_fault = matches!(signal, libc::SIGSEGV | libc::SIGBUS)
            && sys::signal_info(tid).is_ok_and(|info| siginfo::is_synchronous(signal, siginfo::code(&info)));
        let mut place = stopped::place(agent.image, block, &regs, is_fault);
        if place == Place::Back(EINTR) && signals::has_no_effect(task, signal) {
            // Without the recorder such a signal interrupts nothing.
            place = Place::Before;
        }
        match place {
            Place::Outside => return false,
            Place::Fault(on) => {
                let regs = libc::user_regs_struct { rip: on, ..regs };
                if self.world.replayable {
                    self.world.keep_signal(task, signal, &regs);
                } else {
                    self.world.keep_unnoted_signal(task, signal, &regs);
                }
                let _ = sys::set_registers(tid, &regs);
                self.go_on(tid, 0);
                return true;
            }
            _ => {}
        }
        let Ok((mut own, site)) = stopped::program(agent.image, tid, block, &regs, place) else { return false };
        own.orig_rax = u64::MAX;
        match place {
            Place::Back(result) => {
                let mut bytes = Vec::new();
                if let Some(ring) = &task.ring {
                    ring.pending(&mut bytes);
                }
                let number = own.rax;
                own.rax = result as u64;
                own.rip = site.after;
                if super::is_restart(result) {
                    // As if the call had been made in the trampoline: the kernel does the rest.
                    own.rip = site.trap + 2;
                    own.orig_rax = number;
                }
                if let Some((record, _)) = Record::parse(&bytes) {
                    agent.clock.refresh();
                    let start = agent.clock.at(record.start);
                    let call = self.world.begin_recorded(task, &record, start);
                    if self.world.replayable {
                        World::recorded_in_turn(task, &call, result);
                    }
                    self.world.leave(task, call, result, sys::monotonic());
                }
            }
            Place::Behind => own.rip = site.after,
            _ => {}
        }
        if let Some(ring) = &mut task.ring {
            ring.rewind();
            ring.has_left();
        }
        let _ = sys::set_registers(tid, &own);
        false
    }

    /// A task has ended: a call that it was making in the agent is told of.
    pub(super) fn end_recorded(&mut self, task: &mut Task) {
        let Some(ring) = &task.ring else { return };
        if !matches!(ring.progress(), Progress::Calling | Progress::Made(_)) || task.call.is_some() {
            return;
        }
        let mut bytes = Vec::new();
        ring.pending(&mut bytes);
        let Some((record, _)) = Record::parse(&bytes) else { return };
        let start = match &mut self.world.agent {
            Some(agent) => {
                agent.clock.refresh();
                agent.clock.at(record.start)
            }
            None => return,
        };
        task.call = Some(self.world.begin_recorded(task, &record, start));
    }
}

impl World {
    /// A process or thread is without the agent from now on, so that each of its calls stops it.
    pub(super) fn does_without(&mut self, why: &str) {
        if let Some(agent) = &mut self.agent {
            *agent.counts.left.entry(why.to_owned()).or_default() += 1;
        }
    }

    /// A ring is a task's from now on.
    fn hand_over(&self, task: &mut Task, ring: Ring) {
        ring.refuse(refusals(task, self.replayable));
        if self.names_moved {
            ring.ask_names();
        }
        ring.set_code(&task.space.borrow().code.parts());
        self.begin_replayable(task, &ring);
        task.ring = Some(ring);
    }

    /// Tells the agent of a task what it has to know in a recording that is to be replayed.
    fn begin_replayable(&self, task: &Task, ring: &Ring) {
        if !self.replayable {
            return;
        }
        ring.set_replayable();
        if let Some(relation) = self.timestamps.relation() {
            ring.set_counter(relation);
        }
        for file in self.shared_files.keys() {
            ring.see(*file);
        }
        for (number, words) in self.kept_files.iter().enumerate() {
            ring.keep(number, words);
        }
        if self.are_several {
            self.streams.iter().filter_map(Stream::file).for_each(|file| ring.see(file));
            return;
        }
        for open in task.fds.borrow().all() {
            ring.writes(open.file);
        }
        ring.set_maps(true);
    }

    /// Whether a record is of a call that agents make, or of an instruction that they answer where it traps. Of another one the program has
    /// written it there.
    fn makes(&self, record: &Record<'_>) -> bool {
        match record.answers() {
            Some(_) => self.replayable,
            None => self.agent.as_ref().is_some_and(|agent| table::has(&agent.table, record.number.into())),
        }
    }

    /// When a record's call began and ended.
    fn times(&self, record: &Record<'_>) -> (u64, u64) {
        self.agent.as_ref().map_or((0, 0), |agent| (agent.clock.at(record.start), agent.clock.at(record.end)))
    }

    /// Answers ARCH_GET_GS with what the program would have without the agent, whose block that register names.
    pub(super) fn hide_block(task: &mut Task, call: &Call, result: i64) {
        const ARCH_GET_GS: i32 = 0x1004;
        let shown = call.name() == "arch_prctl" && call.int(0) == ARCH_GET_GS && result == 0;
        if !shown || task.space.borrow().code.state != State::Present {
            return;
        }
        let own = task.ring.as_ref().map_or(SPARE, |ring| ring.addr);
        if task.memory.find(1, Side::Out) == Some(&own.to_le_bytes()) {
            sys::write_memory(task.tid, call.args[1], &[0; 8]);
            task.memory.replace(1, Side::Out, &[0; 8]);
        }
    }

    /// Tells the agent of a task which descriptors of the present call are known now. Before the call is committed.
    pub(super) fn tell_known(&self, task: &Task, call: &Call) {
        if self.agent.is_none() || task.fds_apart || task.space.borrow().code.state != State::Present {
            return;
        }
        if call.plan.is_some_and(|plan| plan.effect == Effect::CloseRange) {
            let mut table = self.known_table(task);
            table.resize(KNOWN_BYTES as usize, 0);
            sys::write_memory(task.tid, KNOWN, &table);
            return;
        }
        for reference in &task.memory.refs {
            let Some(fd) = u64::try_from(reference.fd).ok().filter(|fd| *fd < KNOWN_BYTES) else { continue };
            let open = task.fds.borrow().open(reference.fd);
            // What was open before is known to be written to.
            let is_new = reference.slot >= slot::RET && !opens_to_read(call);
            if let (Some(open), Some(ring), true) = (open, &task.ring, is_new) {
                ring.writes(open.file);
            }
            sys::write_memory(task.tid, KNOWN + fd, &[open.map_or(0, |open| self.known_bits(&open))]);
        }
    }

    /// What the agent is to know of a descriptor.
    pub(super) fn known_bits(&self, open: &Open) -> u8 {
        if open.kind == ObjectKind::Unknown {
            return 0;
        }
        if self.shows_agent(open.object) {
            return 0;
        }
        if !self.replayable {
            return known::IS;
        }
        let mut bits = known::IS;
        if self.is_seen_when_written(open) {
            bits |= known::WRITES_STOP;
        }
        if !open.is_ready {
            bits |= known::WAITS;
        }
        if open.only_reads && open.kind == ObjectKind::File {
            bits |= known::READS;
        }
        bits
    }

    /// A byte for each descriptor whose identity is known.
    pub(super) fn known_table(&self, task: &Task) -> Vec<u8> {
        let fds = task.fds.borrow();
        let mut table = Vec::new();
        for (fd, open) in fds.numbered().take_while(|(fd, _)| u64::from(*fd) < KNOWN_BYTES) {
            let known = self.known_bits(&open);
            if known != 0 {
                table.resize(fd as usize, 0);
                table.push(known);
            }
        }
        table
    }
}

/// What a task's agent leaves to the engine: bits of [`refuse`].
pub(super) fn refusals(task: &Task, replayable: bool) -> u32 {
    let code = &task.space.borrow().code;
    // Threads in a trampoline still come by where it is not in the code any more.
    if !task.held.is_empty() || code.leaves.is_some() || code.state == State::Off {
        return refuse::ALL;
    }
    // From another root a file's name is another one.
    let apart = if task.fds_apart || task.location.borrow().foreign_root { refuse::OPENS } else { 0 };
    if !replayable {
        return apart;
    }
    let takes_turns = Rc::strong_count(&task.space) > 1 || task.space.borrow().is_joined;
    let waits = if takes_turns { refuse::WAITS } else { 0 };
    apart | waits | if task.fds_apart { refuse::DESCRIPTORS } else { 0 }
}

/// What a call that was successful has put into a part of the address space, or taken from there, is not what was patched.
pub(super) fn forget_code(task: &Task, call: &Call, result: i64) {
    let [old, length, new_length, ..] = call.args;
    if matches!(call.name(), "mprotect" | "pkey_mprotect") {
        task.space.borrow_mut().code.protected(old, length);
    }
    let result = result as u64;
    let parts: &[(u64, u64)] = match call.name() {
        "munmap" => &[(old, length)],
        "mmap" | "mmap2" => &[(result, length)],
        "mremap" => &[(old, length), (result, new_length)],
        _ => return,
    };
    let code = &mut task.space.borrow_mut().code;
    for (start, length) in parts {
        code.unmapped(*start, *length);
    }
}

/// Whether code may be changed: what is written to shared memory is in its file, too. `replayable`: only that of a file, which the program
/// does not write.
fn is_own_code(tid: pid_t, ip: u64, replayable: bool) -> bool {
    let writes = libc::PROT_WRITE as u64;
    image::executable_mapping_at(tid, ip)
        .is_some_and(|mapping| !mapping.shared && (!replayable || (mapping.ino != 0 && mapping.prot & writes == 0)))
}

/// A call whose descriptor is for reading only.
pub(super) fn opens_to_read(call: &Call) -> bool {
    let flags = match call.name() {
        "open" => call.int(1),
        "openat" => call.int(2),
        _ => return false,
    };
    flags & libc::O_ACCMODE == libc::O_RDONLY
}

/// A call after which a thread has a table of descriptors of its own.
fn unshares_descriptors(call: &Call) -> bool {
    const CLOSE_RANGE_UNSHARE: u64 = 2;
    match call.name() {
        "unshare" => call.args[0] & libc::CLONE_FILES as u64 != 0,
        "close_range" => call.args[2] & CLOSE_RANGE_UNSHARE != 0,
        _ => false,
    }
}

/// A call after which the agent cannot go on in a process: the program filters its own calls, uses the register through which
/// the agent finds its block, or has them sent back to itself.
pub(super) fn is_beyond(call: &Call) -> bool {
    const PR_SET_SYSCALL_USER_DISPATCH: i32 = 59;
    const ARCH_SET_GS: i32 = 0x1001;
    match call.name() {
        "seccomp" | "prctl" if filters(call) => true,
        "prctl" => call.int(0) == PR_SET_SYSCALL_USER_DISPATCH,
        "arch_prctl" => call.int(0) == ARCH_SET_GS,
        _ => false,
    }
}

/// A call after which the program's own filter decides before the recorder's does.
pub(super) fn filters(call: &Call) -> bool {
    match call.name() {
        // SECCOMP_SET_MODE_STRICT, SECCOMP_SET_MODE_FILTER
        "seccomp" => matches!(call.int(0), 0 | 1),
        "prctl" => call.int(0) == libc::PR_SET_SECCOMP,
        _ => false,
    }
}
