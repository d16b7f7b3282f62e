//! Replay through the agent: calls are answered inside the tracee, from answers that are put there beforehand.
//!
//! Events of calls that replay only answers are put off while their thread stands still, and become answers in its memory
//! (`answers.rs`). The thread runs when something else is to happen to it, or to somebody who sees its memory; when there is
//! no more room; and at the end of each block of events. Its patched sites take one answer after the other. A call that is
//! not the one of the next answer, or has none, stops the thread, and what follows is as without the agent.
//!
//! Nothing that is found out here is told: a difference ends this replay, and another one without the agent says whether
//! it is one, and which (`replay.rs`). So output is handed on only when all that comes before it is known to be as recorded.

use std::collections::HashSet;
use std::rc::Rc;

use libc::{c_int, pid_t};
use trace_format::answers::{BLOCK, BYTES, HEAD_BYTES, STACK_TOP, block};
use trace_format::column::Columns;
use trace_format::event::EventKind;
use trace_format::ring::TEXT_BYTES;

use super::answers::{self, Manner, manner};
use super::calls;
use super::desync::DesyncReason;
use super::event::Event;
use super::kernel;
use super::lent::{SmallFile, Step};
use super::remote::{Remote, RemoteCall};
use super::run::Runner;
use super::scan::{self, Scan};
use super::tracee::{At, Space, Thread};
use super::watch::{Halt, lost};
use super::{Backend, Options};
use crate::agent::code::{Chosen, Code, Host, State};
use crate::agent::known::{Known, Part};
use crate::agent::window::{Kind, Passed, Refused};
use crate::agent::{self, Image};
use crate::image::{self, Mapping};
use crate::siginfo::{self, SigInfo};
use crate::sys::{self, SyscallInfo, USER_CS};

/// A program of which there are so many events, with those of the processes forked from it, is worth the agent's price.
const WORTH_AGENT: u64 = 400;
/// To look where all the code of a mapping may jump to costs as much as a stop for each page of it.
const PAGE: u64 = 4096;

/// What a replaying thread needs for it.
pub struct Agent {
    image: &'static Image,
    /// Where its pages are in all tracees.
    base: u64,
    known: Known,
    /// Everything is patched at once, whether it is worth it or not.
    eager: bool,
    /// Calls that have stopped programs in which the agent is.
    stops: u64,
    /// The mappings whose code was looked at: device, inode and offset.
    looked_at: HashSet<(u64, u64, u64)>,
    /// So many stops there have to be before another one is.
    patience: u64,
    /// Threads whose events are put off.
    waiting: Vec<Waiting>,
    /// Events whose output is still to be handed on.
    held: Vec<u64>,
    /// Calls that were answered in the tracees.
    pub answered: u64,
}

/// A thread that stands still though it could go on.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    thread: u32,
    /// It differs from that of all others that wait: none of them sees what this one writes.
    order: u32,
    /// The last event that was applied to it.
    seq: u64,
}

impl Agent {
    /// `None` when a replay is to do without it, or the programs leave it no place.
    #[must_use]
    pub fn new(options: &Options, scan: &Scan) -> Option<Agent> {
        let eager = match options.backend {
            Backend::Ptrace => return None,
            Backend::Agent => false,
            Backend::EagerAgent => true,
        };
        let is_apt = !options.warn_only && !options.exec_only;
        let image = agent::image().filter(|_| is_apt)?;
        let base = scan.places.choose_for_agent(BYTES)?;
        let (waiting, held) = (Vec::new(), Vec::new());
        Some(Agent {
            image,
            base,
            known: Known::default(),
            eager,
            stops: 0,
            looked_at: HashSet::new(),
            patience: 0,
            waiting,
            held,
            answered: 0,
        })
    }

    /// Whether what has been lost by stops is as much as it costs to look at the code of a mapping.
    fn affords(&mut self, mapping: &Mapping) -> bool {
        let key = (mapping.dev, mapping.ino, mapping.offset);
        if self.eager || self.looked_at.contains(&key) {
            return true;
        }
        self.patience = mapping.length / PAGE;
        self.stops >= self.patience && self.looked_at.insert(key)
    }

    /// What is known of the code of a program that begins with this event.
    #[must_use]
    pub fn code_of(agent: Option<&Agent>, scan: &Scan, seq: u64) -> Code {
        let wants = |agent: &Agent| scan.units.are_fit(seq) && (agent.eager || scan.units.size(seq) >= WORTH_AGENT);
        let mut code = Code::default();
        code.state = if agent.is_some_and(wants) { State::Absent } else { State::Off };
        code
    }

    fn block(&self) -> u64 {
        self.base + BLOCK
    }

    /// Whether part of its pages is in that range.
    fn has(&self, addr: u64, length: u64) -> bool {
        addr < self.base + BYTES && addr.saturating_add(length) > self.base
    }

    fn position(&self, thread: u32) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.thread == thread)
    }
}

/// A stopped thread of the replay.
struct Stopped<'r> {
    remote: &'r Remote,
    thread: &'r mut Thread,
    scan: &'r Scan,
}

impl Host for Stopped<'_> {
    fn tid(&self) -> pid_t {
        self.thread.tid
    }

    fn map(&mut self, start: u64, length: u64) -> bool {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let prot = libc::PROT_READ | libc::PROT_EXEC;
        let call = RemoteCall::new(libc::SYS_mmap, &[start, length, prot as u64, flags as u64, u64::MAX, 0]);
        // The program may come to want it later.
        if self.scan.places.is_taken(start, start + length) {
            return false;
        }
        let (pid, tid) = (self.thread.pid(), self.thread.tid);
        let Ok(regs) = self.thread.registers().copied() else { return false };
        self.remote.one(pid, tid, &regs, &call).is_ok_and(|mapped| mapped as u64 == start)
    }

    fn go_on_at(&mut self, ip: u64) {
        if let Ok(regs) = self.thread.registers() {
            regs.rip = ip;
        }
    }
}

/// A number that is the same for threads that may see each other's memory.
fn order_of(thread: &Thread) -> u32 {
    let process = thread.process.borrow();
    let space = process.space.borrow();
    if space.looks { 0 } else { space.group }
}

/// Events.
impl Runner<'_> {
    /// An event is about to be applied. It is put off when its thread can have it later; then there is nothing more to do. Otherwise
    /// all those run that have to be where they should be by now.
    pub(super) fn puts_off(&mut self, event: &Event<'_>, columns: &Columns) -> Result<bool, Halt> {
        let Some(agent) = self.agent.as_ref().filter(|agent| !agent.waiting.is_empty()) else { return Ok(false) };
        match event.kind() {
            EventKind::Map | EventKind::Stop => return Ok(false),
            EventKind::Task | EventKind::Exec | EventKind::Exit => {
                return self.run_waiting(columns).map(|()| false);
            }
            _ => {}
        }
        let index = event.thread();
        if agent.position(index).is_some() && self.add_answer(event, columns)? {
            return Ok(true);
        }
        self.run_alike(index, columns)?;
        Ok(false)
    }

    /// Adds an event to those that are put off for its thread; false when that cannot be.
    fn add_answer(&mut self, event: &Event<'_>, columns: &Columns) -> Result<bool, Halt> {
        let manner = manner(event);
        let is_special = manner == Manner::Special || (manner == Manner::Grows && !self.shared.is_empty());
        if is_special || self.job.scan.next(event.thread(), event.seq()).is_some() || self.reaches_agent(event) {
            return Ok(false);
        }
        let Some(thread) = self.threads.get_mut(event.thread() as usize).and_then(Option::as_deref_mut) else {
            return Ok(false);
        };
        if self.job.scan.is_before_fault(event.seq()) && !thread.space().borrow().lent.is_empty() {
            return Ok(false);
        }
        let step = match manner {
            Manner::Maps => match Step::without_call(&thread.space().borrow().lent, event, &self.shared) {
                None => return Ok(false),
                step => step,
            },
            _ => None,
        };
        if !thread.answers.add(event, columns, step.as_ref().map(Step::pieces).unwrap_or_default()) {
            return Ok(false);
        }
        if let Some(step) = step {
            thread.space().borrow_mut().lent.follow(step);
        }
        if manner == Manner::Remembers {
            calls::remember(thread, event, scan::name(event))?;
        }
        if let Some(agent) = &mut self.agent
            && self.job.prints(event).is_some()
        {
            agent.held.push(event.seq());
        }
        Ok(true)
    }

    /// Whether the recorded memory of an event is where the agent is: nothing that a program can have had.
    pub(super) fn reaches_agent(&self, event: &Event<'_>) -> bool {
        self.agent.as_ref().is_some_and(|agent| {
            event
                .captures()
                .any(|captured| captured.is_output() && agent.has(captured.addr, captured.bytes.len() as u64))
        })
    }

    /// An event was applied to a thread that is to go on. Whether it may wait: what comes next for it may be put off.
    pub(super) fn may_wait(&mut self, thread: &mut Thread, event: &Event<'_>) -> bool {
        let is_patched = thread.process.borrow().space.borrow().code.is_patched();
        let Some(agent) = self.agent.as_mut().filter(|_| is_patched) else { return false };
        agent.waiting.push(Waiting { thread: thread.index, order: order_of(thread), seq: event.seq() });
        thread.at = At::Ready;
        true
    }

    /// Whether output has to wait for threads that have not run yet. Then it is remembered.
    pub(super) fn holds_output(&mut self, event: &Event<'_>) -> bool {
        let Some(agent) = self.agent.as_mut().filter(|agent| !agent.waiting.is_empty()) else { return false };
        agent.held.push(event.seq());
        true
    }

    /// Runs those that wait and may see the memory of a thread, or are it.
    fn run_alike(&mut self, index: u32, columns: &Columns) -> Result<(), Halt> {
        match self.threads.get(index as usize) {
            Some(Some(thread)) => self.run_those_of(order_of(thread), columns),
            _ => Ok(()),
        }
    }

    /// Runs those that may see the memory of a thread that is about to go on: by its last event it may have come to share it.
    pub(super) fn run_sharing(&mut self, thread: &Thread, columns: &Columns) -> Result<(), Halt> {
        if self.agent.as_ref().is_none_or(|agent| agent.waiting.is_empty()) {
            return Ok(());
        }
        self.run_those_of(order_of(thread), columns)
    }

    fn run_those_of(&mut self, order: u32, columns: &Columns) -> Result<(), Halt> {
        while let Some(at) =
            self.agent.as_ref().and_then(|agent| agent.waiting.iter().position(|waiting| waiting.order == order))
        {
            self.run_one(at, columns)?;
        }
        Ok(())
    }

    /// Runs all threads whose events were put off.
    pub(super) fn run_waiting(&mut self, columns: &Columns) -> Result<(), Halt> {
        while self.agent.as_ref().is_some_and(|agent| !agent.waiting.is_empty()) {
            self.run_one(0, columns)?;
        }
        Ok(())
    }

    fn run_one(&mut self, at: usize, columns: &Columns) -> Result<(), Halt> {
        let Some(agent) = &mut self.agent else { return Ok(()) };
        let Waiting { thread: index, seq, .. } = agent.waiting.swap_remove(at);
        let Some(mut thread) = self.threads.get_mut(index as usize).and_then(Option::take) else { return Ok(()) };
        let result = event_of(columns, seq).map_or(Ok(()), |last| self.run_answers(&mut thread, &last, columns));
        thread.answers.clear();
        self.threads[index as usize] = Some(thread);
        result?;
        let Some(agent) = self.agent.as_mut().filter(|agent| agent.waiting.is_empty()) else { return Ok(()) };
        for seq in std::mem::take(&mut agent.held) {
            if let Some(event) = event_of(columns, seq) {
                self.hand_on(&event, scan::name(&event));
            }
        }
        Ok(())
    }
}

/// The event of a block with that number.
fn event_of(columns: &Columns, seq: u64) -> Option<Event<'_>> {
    let row = seq.checked_sub(columns.first_seq).filter(|row| *row < u64::from(columns.count))?;
    Some(Event::new(columns, row as usize))
}

/// Running threads with answers.
impl Runner<'_> {
    /// Runs a thread through all events that were put off for it, to its next stop. `last` was applied to it before.
    fn run_answers(&mut self, thread: &mut Thread, last: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        let all = thread.answers.len();
        if all == 0 {
            return self.resume(thread, last, 0);
        }
        let Some((base, addr)) = self.agent.as_ref().map(|agent| (agent.base, agent.block() + block::NEXT)) else {
            return Ok(());
        };
        let control = [thread.answers.addr(base, 0), thread.answers.addr(base, all)];
        let control = control.map(u64::to_le_bytes).concat();
        let pieces = thread.answers.pieces(base, &columns.bytes).chain([(addr, control.as_slice())]);
        if !kernel::write_pieces(thread.tid, pieces, &mut self.room) {
            return Err(self.desync(last, Some(thread), DesyncReason::Impossible.into()));
        }
        let mut done = 0;
        loop {
            self.resume(thread, last, 0)?;
            let taken = self.answers_taken(thread).filter(|taken| *taken >= done);
            let Some(taken) = taken else {
                return Err(self.desync(last, Some(thread), DesyncReason::Impossible.into()));
            };
            if let Some(agent) = &mut self.agent {
                agent.answered += (taken - done) as u64;
            }
            let Some(event) = thread.answers.seq(taken).and_then(|seq| event_of(columns, seq)) else { return Ok(()) };
            if event.kind() == EventKind::Trap {
                self.answer_trap(thread, &event)?;
            } else {
                self.check(thread, &event)?;
                self.write_outputs(thread, &event)?;
                if let Some(file) = SmallFile::of(&event) {
                    self.write_lent(thread, &event, file.pieces())?;
                }
                thread.set_result(event.ret())?;
            }
            self.tend(thread, &event)?;
            done = taken + 1;
            let next = thread.answers.addr(base, done);
            if !sys::write_memory(thread.tid, addr, &next.to_le_bytes()) {
                return Err(self.desync(&event, Some(thread), DesyncReason::Impossible.into()));
            }
        }
    }

    /// How many of its answers a stopped (or running) thread has taken, as far as that can be believed.
    pub(super) fn answers_taken(&self, thread: &Thread) -> Option<usize> {
        let agent = self.agent.as_ref().filter(|_| !thread.answers.is_empty())?;
        let mut next = [0; 8];
        let got = sys::read_pieces(thread.tid, &[(agent.block() + block::NEXT, 8)], &mut next);
        thread.answers.at(agent.base, u64::from_le_bytes(next)).filter(|_| got == next.len())
    }

    /// A call, or an instruction that reads the time stamp counter, stopped its thread and was answered: the time to bring the agent, or
    /// to patch the site.
    pub(super) fn tend(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        let Some(agent) = &mut self.agent else { return Ok(()) };
        let space = thread.space();
        let is_answered = || match manner(event) {
            Manner::Special => false,
            Manner::Maps => space.borrow().lent.is_worth(),
            Manner::Answers | Manner::Remembers | Manner::Grows => true,
        };
        let passed = match (answers::counts(event), thread.at) {
            (Some(kind), _) => Passed::counter(event.ip().wrapping_add(kind.length()), kind),
            (None, At::Call(info)) if is_answered() => Passed::call(info.ip, info.first as u32),
            _ => return Ok(()),
        };
        agent.stops += 1;
        let is_patient = agent.stops < agent.patience;
        let eager = agent.eager;
        let state = space.borrow().code.state;
        match state {
            State::Absent => return self.bring_agent(thread),
            State::Present if !is_patient => {
                let is_worth = {
                    let code = &mut space.borrow_mut().code;
                    match passed.kind {
                        Kind::Call => code.is_worth(passed.ip, |_| eager),
                        Kind::Rdtsc | Kind::Rdtscp => code.is_worth_counting(passed.ip),
                    }
                };
                if is_worth {
                    self.patch(thread, passed);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Maps the agent into a process, and has all its threads find the block.
    fn bring_agent(&mut self, thread: &mut Thread) -> Result<(), Halt> {
        let Some(agent) = &self.agent else { return Ok(()) };
        let (base, addr, text) = (agent.base, agent.block(), &agent.image.text);
        let space = thread.space();
        let (pid, tid) = (thread.pid(), thread.tid);
        let regs = *thread.registers()?;
        let sharing =
            |other: &&mut Box<Thread>| Rc::ptr_eq(&other.space(), &space) && !matches!(other.at, At::Ended(_));
        let mut others: Vec<&mut Box<Thread>> = self.threads.iter_mut().flatten().filter(sharing).collect();
        let uses_gs = |regs: &libc::user_regs_struct| regs.cs != USER_CS || regs.gs_base != 0;
        let mut is_fit = !uses_gs(&regs);
        for other in &mut others {
            is_fit &= !uses_gs(other.registers()?);
        }
        space.borrow_mut().code.state = State::Off;
        if !is_fit {
            return Ok(());
        }
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE) as u64;
        let map = |start: u64, length: u64, prot: c_int| {
            RemoteCall::new(libc::SYS_mmap, &[start, length, prot as u64, flags, u64::MAX, 0])
        };
        let calls = [
            map(base, TEXT_BYTES, libc::PROT_READ | libc::PROT_EXEC),
            map(addr, BYTES - BLOCK, libc::PROT_READ | libc::PROT_WRITE),
        ];
        let results = self.remote.table(pid, tid, &regs, &calls)?;
        let written = results == [base as i64, addr as i64]
            && sys::write_code(tid, &[(base, text)]).is_ok()
            && sys::write_memory(tid, addr, &first_block(addr));
        if !written {
            return Ok(());
        }
        thread.registers()?.gs_base = addr;
        for other in &mut others {
            other.registers()?.gs_base = addr;
        }
        space.borrow_mut().code.state = State::Present;
        Ok(())
    }

    /// Leads a site into the agent, whose thread stands behind it.
    fn patch(&mut self, thread: &mut Thread, passed: Passed) {
        let Some(agent) = &mut self.agent else { return };
        let (tid, ip) = (thread.tid, passed.ip);
        let space = thread.space();
        let chosen = match image::executable_mapping_at(tid, ip).filter(is_of_file) {
            Some(mapping) if !agent.affords(&mapping) => return,
            Some(_) => space.borrow().code.choose(&mut agent.known, tid, passed, Part::at(tid, ip)),
            None => Err(Refused::Written),
        };
        let entries = agent.image.replay.entries(agent.base);
        let outcome = chosen.and_then(|chosen| {
            let Some(at_site) = standing_inside(&mut self.threads, &space, &chosen, ip) else { return Ok(()) };
            let mut host = Stopped { remote: &self.remote, thread, scan: self.job.scan };
            space.borrow_mut().code.patch(entries, &mut host, &mut agent.known, chosen)?;
            for index in at_site {
                if let Some(Ok(regs)) = self.threads[index].as_mut().map(|other| other.registers()) {
                    regs.rip = space.borrow_mut().code.way_to(tid, ip);
                }
            }
            Ok(())
        });
        if let Err(reason) = outcome {
            space.borrow_mut().code.refuse(ip, reason);
        }
    }
}

/// Which other threads of an address space have come from the same site; `None` when one stands elsewhere in the code that is to
/// be changed.
fn standing_inside(
    threads: &mut [Option<Box<Thread>>],
    space: &Rc<std::cell::RefCell<Space>>,
    chosen: &Chosen,
    ip: u64,
) -> Option<Vec<usize>> {
    if Rc::strong_count(space) <= 1 && threads.len() <= 1 {
        return Some(Vec::new());
    }
    let mut found = Vec::new();
    for (index, other) in threads.iter().enumerate() {
        let Some(other) = other.as_ref().filter(|other| Rc::ptr_eq(&other.space(), space)) else { continue };
        let Some(regs) = other.own_registers() else { continue };
        if regs.rip == ip {
            found.push(index);
        } else if chosen.is_inside(regs.rip) {
            return None;
        }
    }
    Some(found)
}

/// Whether code is that of a file, which the program does not write.
fn is_of_file(mapping: &Mapping) -> bool {
    mapping.ino != 0 && mapping.prot & libc::PROT_WRITE as u64 == 0
}

/// The control block of a process that has no answers yet.
fn first_block(addr: u64) -> Vec<u8> {
    let mut bytes = vec![0; block::BYTES as usize];
    let none = addr + HEAD_BYTES;
    for (offset, value) in
        [(block::SELF, addr), (block::STACK, addr + STACK_TOP), (block::NEXT, none), (block::END, none)]
    {
        bytes[offset as usize..offset as usize + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// A thread has come to another place by itself: if there is part of a jump now, it goes on where that leads.
pub(super) fn go_around(thread: &mut Thread) -> Result<(), Halt> {
    let space = thread.space();
    let rip = thread.registers()?.rip;
    let way = space.borrow_mut().code.way_to(thread.tid, rip);
    thread.registers()?.rip = way;
    Ok(())
}

/// Threads whose code is patched.
impl Runner<'_> {
    /// A thread has come to a call: in a trampoline it is that of the program's own site.
    pub(super) fn tell_own_site(&self, thread: &Thread, info: &mut SyscallInfo) {
        if self.agent.is_some() {
            info.ip = thread.process.borrow().space.borrow().code.own_ip(info.ip);
        }
    }

    /// One of its instructions has raised a signal. When it is one of the agent's, or one that was moved, the thread is made to go on
    /// as the program would: `true`.
    pub(super) fn is_of_agent(&self, thread: &Thread, signal: c_int, info: &SigInfo) -> Result<bool, Halt> {
        let Some(agent) = &self.agent else { return Ok(false) };
        let space = thread.space();
        let code = &mut space.borrow_mut().code;
        if code.is_untouched() || !siginfo::is_synchronous(signal, siginfo::code(info)) {
            return Ok(false);
        }
        let tid = thread.tid;
        let failed = |error: std::io::Error| lost(tid, &error);
        let regs = sys::registers(tid).map_err(failed)?;
        let offset = regs.rip.wrapping_sub(agent.base);
        let own = if agent.image.replay.faults.contains(&offset) {
            Some(agent.base + agent.image.replay.failed)
        } else {
            code.put_back_at(tid, signal, regs.rip)
        };
        let Some(own) = own else { return Ok(false) };
        kernel::set_register(tid, kernel::Register::Rip, own).map_err(failed)?;
        Ok(true)
    }

    /// A handler is about to run: the thread stands where it would without the agent, and comes back to code of the program's own.
    pub(super) fn come_out(&self, thread: &mut Thread) -> Result<(), Halt> {
        let space = thread.space();
        if self.agent.is_none() || space.borrow().code.is_untouched() {
            return Ok(());
        }
        let tid = thread.tid;
        let Some(regs) = thread.own_registers() else { return Ok(()) };
        let code = &mut space.borrow_mut().code;
        let own = code.own_ip(regs.rip);
        if own != regs.rip {
            let counts = code.counts(own);
            let regs = thread.registers()?;
            regs.rip = own;
            if !counts {
                regs.rcx = own;
            }
        } else if code.is_trampoline(regs.rip)
            && let Some(own) = code.uncover(tid, regs.rip)
        {
            thread.registers()?.rip = own;
        }
        code.clear(tid, own);
        Ok(())
    }

    /// The program's own place of a thread that stands there.
    pub(super) fn own_place(&self, thread: &Thread, ip: u64) -> u64 {
        let space = thread.space();
        let code = &space.borrow().code;
        if self.agent.is_none() || code.is_untouched() { ip } else { code.own_place(thread.tid, ip) }
    }

    /// Where the instruction is by which a thread that stands in a call has made it.
    pub(super) fn instruction(&self, thread: &Thread, own: u64) -> u64 {
        if self.agent.is_none() || thread.process.borrow().space.borrow().code.is_untouched() {
            return own;
        }
        thread.own_registers().map_or(own, |regs| regs.rip.wrapping_sub(2))
    }

    /// Whether the code of a thread is or was patched.
    pub(super) fn is_patched(&self, thread: &Thread) -> bool {
        self.agent.is_some() && !thread.process.borrow().space.borrow().code.is_untouched()
    }

    /// A thread begins with the registers that the program gave it.
    pub(super) fn equip(&self, thread: &mut Thread) -> Result<(), Halt> {
        let Some(agent) = &self.agent else { return Ok(()) };
        let space = thread.space();
        let code = &mut space.borrow_mut().code;
        if code.state != State::Present {
            return Ok(());
        }
        let tid = thread.tid;
        let regs = thread.registers()?;
        let own = regs.rip;
        regs.gs_base = agent.block();
        // As the instruction leaves it, which was not the program's own.
        regs.rcx = own;
        regs.rip = code.way_to(tid, own);
        Ok(())
    }

    /// A call has changed what is mapped: code that was patched there is gone. Or the program has forbidden itself to read the time stamp
    /// counter, which is a fault where its own code has it.
    pub(super) fn forget_code(&self, thread: &Thread, event: &Event<'_>, name: &str) {
        if !self.is_patched(thread) {
            return;
        }
        if scan::forbids_clock(event) {
            thread.space().borrow_mut().code.forbid_counter(thread.tid);
            return;
        }
        let args = event.args();
        let gone = match name {
            "munmap" => (args[0], args[1]),
            "mmap" => (event.ret() as u64, args[1]),
            "mremap" => (args[0], args[1].max(args[2])),
            "shmat" => (event.ret() as u64, 1),
            _ => return,
        };
        let space = thread.space();
        space.borrow_mut().code.unmapped(gone.0, gone.1);
    }
}
