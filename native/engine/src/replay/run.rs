//! The replay loop: events in the order of the trace, each checked against where its thread stands, applied, and followed by
//! the piece of the thread's own code up to its next stop.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, pid_t};
use trace_format::column::{Columns, Projection};
use trace_format::event::{EventKind, flag};

use super::agent::Agent;
use super::check::{self, Difference};
use super::debug::{Debugger, RunUntil};
use super::desync::{ActualStop, Desync, DesyncReason, StopKind};
use super::event::Event;
use super::files::Files;
use super::kernel::{self, Go, Pieces};
use super::output::{Merge, Streams};
use super::remote::Remote;
use super::scan::{self, Next, Scan};
use super::shared::Shared;
use super::stacks::{Taker, Wanted};
use super::tracee::{At, Process, Thread};
use super::watch::{Halt, Patience, lost};
use super::zygote::Zygote;
use super::{MOST_DESYNCS, Options};
use crate::capture::{self, Call};
use crate::memory::{Data, Memory};
use crate::reader::Trace;
use crate::siginfo;
use crate::stacks::Stacks;
use crate::symbolize::Source;
use crate::sys;
use crate::waits::Waits;

/// What all replaying threads have in common.
pub struct Job<'a> {
    pub trace: &'a Trace,
    pub scan: &'a Scan,
    pub files: &'a Files<'a>,
    pub options: &'a Options,
    pub streams: Streams,
    pub merge: &'a Merge,
    /// Calls may be answered in the tracees.
    pub with_agent: bool,
    /// What differs without the agent is what is said.
    pub is_final: bool,
    /// Set when some thread has found a difference where calls are.
    pub differs: &'a AtomicBool,
}

impl Job<'_> {
    /// The stream that an event's call writes to, when that is to be seen.
    pub fn prints(&self, event: &Event<'_>) -> Option<u8> {
        if self.options.mute || event.ret() <= 0 || event.flags() & flag::NO_RETURN != 0 {
            return None;
        }
        // Others that run for a chosen process are not what was asked for.
        if let Some(only) = self.options.process {
            let threads = self.trace.definitions().threads();
            if threads.get(event.thread() as usize).is_none_or(|thread| thread.process != only) {
                return None;
            }
        }
        self.streams.written_by(self.trace, event)
    }
}

/// What one replaying thread has done.
#[derive(Debug, Default)]
pub struct Done {
    pub events: u64,
    pub processes: u32,
    pub threads: u32,
    pub desyncs: Vec<Desync>,
    pub notes: Vec<String>,
    pub stacks: Option<Stacks>,
    /// Calls that were answered in the tracees.
    pub answered: u64,
    /// None could be: what was found is all that there is to say.
    pub is_reference: bool,
}

impl Done {
    /// Adds what another replaying thread has done.
    pub fn add(&mut self, own: Done) {
        self.events += own.events;
        self.processes += own.processes;
        self.threads += own.threads;
        self.desyncs.extend(own.desyncs);
        self.notes.extend(own.notes);
        self.stacks = self.stacks.take().or(own.stacks);
        self.answered += own.answered;
        self.is_reference |= own.is_reference;
    }
}

fn taker<'a>(job: &Job<'a>, wanted: &'a Wanted) -> Result<Taker<'a>, Halt> {
    let mut taker = Taker::new(job.trace, job.files, wanted);
    taker.collector.read_maps(job.trace)?;
    Ok(taker)
}

/// One replaying thread and its tracees.
pub struct Runner<'a> {
    pub(super) job: &'a Job<'a>,
    /// Number of this thread in the output.
    lane: usize,
    /// The units that it replays; all when absent.
    units: Option<Vec<bool>>,
    /// Which threads of the trace are in one of them now.
    pub(super) is_own: Vec<bool>,
    pub(super) remote: Remote,
    pub(super) zygote: Zygote,
    pub(super) shared: Shared,
    /// By index in the trace.
    pub(super) threads: Vec<Option<Box<Thread>>>,
    pub(super) processes: HashMap<pid_t, Rc<RefCell<Process>>>,
    /// The thread of each group that ran last.
    pub(super) ran_last: HashMap<u32, u32>,
    pub(super) next_group: u32,
    pub(super) room: Pieces,
    buffer: Vec<u8>,
    /// Takes stacks, where some are wanted.
    pub(super) stacks: Option<Taker<'a>>,
    /// Answers calls inside the tracees, where that is wanted and can be.
    pub(super) agent: Option<Agent>,
    /// Loops in which threads have been found to wait.
    pub(super) waits: RefCell<Waits>,
    /// Somebody looks on, and stops the program where they like.
    pub(super) debugger: Option<RefCell<Debugger<'a>>>,
    pub(super) done: Done,
}

impl<'a> Runner<'a> {
    pub fn new(job: &'a Job<'a>, lane: usize, units: Option<Vec<bool>>, remote: Remote) -> Result<Runner<'a>, Halt> {
        let zygote = Zygote::start(&remote, job.scan.traps)?;
        let count = job.trace.definitions().threads().len();
        Ok(Runner {
            job,
            lane,
            is_own: vec![units.is_none(); count],
            units,
            remote,
            zygote,
            shared: Shared::default(),
            threads: (0..count).map(|_| None).collect(),
            processes: HashMap::new(),
            ran_last: HashMap::new(),
            next_group: 1,
            room: Pieces::default(),
            buffer: Vec::new(),
            stacks: job.options.stacks.as_ref().map(|wanted| taker(job, wanted)).transpose()?,
            waits: RefCell::default(),
            debugger: None,
            agent: if job.with_agent { Agent::new(job.options, job.scan) } else { None },
            done: Done::default(),
        })
    }

    /// Nothing has been replayed.
    pub(super) fn begin_anew(&mut self) {
        self.end_all();
        self.is_own.fill(self.units.is_none());
        self.ran_last.clear();
        self.next_group = 1;
        self.shared = Shared::default();
        self.zygote.forget_shared();
        self.waits = RefCell::default();
        self.job.merge.go_back(0);
    }

    /// Replays its part of the trace from an event on, before which it stands, up to the first desync (or beyond it, when those are only to be
    /// reported).
    pub fn run(&mut self, from: u64) -> Result<(), Halt> {
        let until = self.job.options.until.unwrap_or(u64::MAX);
        let first_block = self.job.trace.block_of(from).unwrap_or(0);
        for number in first_block..self.job.trace.blocks().len() {
            let first = self.job.trace.blocks()[number].first_seq;
            self.job.merge.reached(self.lane, first);
            if first > until || self.job.differs.load(Ordering::Relaxed) {
                break;
            }
            let columns = self.job.trace.decode_block(number, Projection::ALL)?;
            match self.run_block(&columns, from..=until) {
                Ok(()) => {}
                Err(Halt::Desync(desync)) => {
                    self.report(*desync);
                    // What this one would still write is not known.
                    if self.is_said_again() {
                        self.job.differs.store(true, Ordering::Relaxed);
                    } else {
                        self.job.merge.reached(self.lane, u64::MAX);
                    }
                    return self.end_debugging();
                }
                Err(halt) => return Err(halt),
            }
            self.remote.watch.check()?;
        }
        if !self.job.differs.load(Ordering::Relaxed) {
            self.job.merge.reached(self.lane, u64::MAX);
        }
        self.end_debugging()
    }

    fn run_block(&mut self, columns: &Columns, wanted: RangeInclusive<u64>) -> Result<(), Halt> {
        let skipped = usize::try_from(wanted.start().saturating_sub(columns.first_seq)).unwrap_or(usize::MAX);
        for row in skipped..columns.count as usize {
            let event = Event::new(columns, row);
            if event.seq() > *wanted.end() {
                break;
            }
            if !self.is_own(&event) || (self.job.options.exec_only && event.kind() != EventKind::Exec) {
                continue;
            }
            if self.is_looked_at(&event) {
                self.run_waiting(columns)?;
            }
            self.keep_state(&event)?;
            self.consult(&event)?;
            if let Some(taker) = &mut self.stacks {
                let thread = self.threads.get_mut(event.thread() as usize).and_then(Option::as_deref_mut);
                taker.before(&event, thread)?;
            }
            match self.step(&event, columns) {
                Ok(()) => {}
                Err(Halt::Desync(desync)) if self.job.options.warn_only => {
                    self.report(*desync);
                    self.give_up(event.thread());
                }
                Err(halt) => return Err(halt),
            }
            self.done.events += 1;
        }
        self.run_waiting(columns)
    }

    /// Whether somebody wants to see the thread of an event as it is before.
    fn is_looked_at(&self, event: &Event<'_>) -> bool {
        self.stacks.as_ref().is_some_and(|taker| taker.wants(event))
    }

    /// Whether an event is one of the units of this thread.
    fn is_own(&mut self, event: &Event<'_>) -> bool {
        let Some(units) = &self.units else { return true };
        let thread = event.thread() as usize;
        if matches!(event.kind(), EventKind::Task | EventKind::Exec)
            && let Some(unit) = self.job.scan.units.starting_at(event.seq())
        {
            let is_own = units.get(unit as usize).copied().unwrap_or(false);
            let was_own = std::mem::replace(&mut self.is_own[thread], is_own);
            if was_own && !is_own {
                // Another replaying thread goes on with the new program.
                self.leave(event.thread());
            }
        }
        self.is_own[thread]
    }

    fn step(&mut self, event: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        if self.puts_off(event, columns)? {
            return Ok(());
        }
        match event.kind() {
            EventKind::Map | EventKind::Stop => Ok(()),
            EventKind::Note if event.captures().any(|capture| capture.is_output()) => {
                self.with(event, |own, thread| own.written_in_call(thread, event))
            }
            EventKind::Note => Ok(()),
            EventKind::Task => self.task(event),
            EventKind::Exec => self.exec(event),
            EventKind::Exit => self.exit(event),
            EventKind::Call => self.with(event, |own, thread| own.call(thread, event, columns)),
            EventKind::Signal => self.with(event, |own, thread| own.signal(thread, event, columns)),
            EventKind::Trap => self.with(event, |own, thread| own.trap(thread, event, columns)),
            EventKind::Preempt => self.with(event, |own, thread| own.preempt(thread, event, columns)),
        }
    }

    /// Does something with the thread of an event, taken out of the table meanwhile.
    fn with(
        &mut self,
        event: &Event<'_>,
        act: impl FnOnce(&mut Runner<'a>, &mut Thread) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        let index = event.thread();
        let Some(mut thread) = self.threads[index as usize].take() else {
            // The exec of the first program was made by the recorder's own child.
            let begins = matches!(scan::name(event), "execve" | "execveat") && event.ret() == 0;
            if self.job.options.warn_only || begins {
                return Ok(());
            }
            return Err(self.desync(event, None, DesyncReason::Impossible.into()));
        };
        self.before(&thread);
        let result = act(self, &mut thread);
        self.threads[index as usize] = Some(thread);
        result
    }

    /// A thread is about to change memory. The one of its group that ran before it may stand at the entry of a call whose
    /// event has not come: what the call reads is taken now, as it was when the thread came there.
    pub(super) fn before(&mut self, thread: &Thread) {
        let space = thread.space();
        let space = space.borrow();
        if !space.is_seen {
            return;
        }
        let Some(last) = self.ran_last.insert(space.group, thread.index).filter(|last| *last != thread.index) else {
            return;
        };
        if let Some(last) = self.threads.get_mut(last as usize).and_then(Option::as_mut) {
            take_inputs(last);
        }
    }

    /// The kernel has written to memory while a thread was in a call. What the call read is taken as it was before.
    fn written_in_call(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        take_inputs(thread);
        self.write_outputs(thread, event)
    }

    /// Lets a thread go on after an event, as what comes next for it wants.
    pub(super) fn go_on(&mut self, thread: &mut Thread, event: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        thread.memory = None;
        self.run_sharing(thread, columns)?;
        let next = self.job.scan.next(thread.index, event.seq());
        if next.is_some() || self.job.scan.is_before_fault(event.seq()) {
            self.give_back(thread, event)?;
        }
        match next {
            Some(Next::Stays | Next::Handler) => {
                thread.at = At::Held;
                Ok(())
            }
            Some(Next::Preempted(seq)) => self.run_to_state(thread, seq, event, columns),
            None if self.may_wait(thread, event) => Ok(()),
            None => self.resume(thread, event, 0),
        }
    }

    /// Runs a thread to its next stop; its event is still to come.
    pub(super) fn resume(&mut self, thread: &mut Thread, event: &Event<'_>, signal: c_int) -> Result<(), Halt> {
        self.begin_segment(thread, event)?;
        thread.settle()?;
        if let Some(at) = self.run_on(thread, event, signal, RunUntil::Event)? {
            thread.at = at;
        }
        Ok(())
    }

    /// The next stop of a thread that runs: a call, a signal of its own making, or its end.
    pub(super) fn await_stop(&self, thread: &Thread, event: &Event<'_>) -> Result<At, Halt> {
        loop {
            let status = self.patiently(thread, event)?;
            if let Some(at) = self.own_stop(thread, status)? {
                return Ok(at);
            }
            kernel::go(thread.tid, Go::Emulated, 0).map_err(|error| lost(thread.tid, &error))?;
        }
    }

    /// What a stop means for the program; `None` when it is none of its business, as signals from outside.
    pub(super) fn own_stop(&self, thread: &Thread, status: c_int) -> Result<Option<At>, Halt> {
        let tid = thread.tid;
        if !libc::WIFSTOPPED(status) {
            thread.process.borrow_mut().tids.retain(|other| *other != tid);
            return Ok(Some(At::Ended(status)));
        }
        let (signal, kind) = (libc::WSTOPSIG(status), status >> 16);
        if kind == 0 && signal == libc::SIGTRAP | 0x80 {
            let mut info = sys::syscall_info(tid).map_err(|error| lost(tid, &error))?;
            self.tell_own_site(thread, &mut info);
            return Ok(Some(At::Call(info)));
        }
        if kind == 0 {
            let info = sys::signal_info(tid).map_err(|error| lost(tid, &error))?;
            let is_synchronous = siginfo::is_synchronous(signal, siginfo::code(&info));
            if is_synchronous && !self.is_of_agent(thread, signal, &info)? {
                return Ok(Some(At::Signal(signal, info)));
            }
        }
        Ok(None)
    }

    /// Waits for a running thread, as long as one may expect of what it computes: the recording tells how long it took.
    fn patiently(&self, thread: &Thread, event: &Event<'_>) -> Result<c_int, Halt> {
        let mut started = sys::monotonic();
        let mut allowed = None;
        let mut taken = None;
        loop {
            match self.remote.watch.wait(thread.tid) {
                Err(Halt::Stuck(_)) => {}
                result => return result,
            }
            let now = self.answers_taken(thread);
            if now != taken {
                // It has made calls meanwhile.
                (taken, started, allowed) = (now, sys::monotonic(), None);
                continue;
            }
            let seq = taken.and_then(|taken| thread.answers.seq(taken.checked_sub(1)?)).unwrap_or(event.seq());
            let allowed = *allowed.get_or_insert_with(|| self.recorded_gap(thread.index, seq).saturating_mul(20));
            if sys::monotonic() - started > allowed {
                return Err(self.stuck(thread, event));
            }
        }
    }

    /// Until when a thread may go on from stop to stop behind an event without coming to its next one.
    pub(super) fn patience(&self, thread: &Thread, event: &Event<'_>, next: &Event<'_>) -> Patience {
        let least = u64::try_from(self.job.options.stuck_after.as_nanos()).unwrap_or(u64::MAX);
        let allowed = next.start().saturating_sub(event.end()).saturating_mul(20);
        Patience::new(thread.tid, least.saturating_add(allowed))
    }

    /// Nanoseconds between the end of an event and the begin of the next one of its thread.
    fn recorded_gap(&self, thread: u32, seq: u64) -> u64 {
        let Some(first) = self.job.trace.block_of(seq) else { return 0 };
        let mut end = 0;
        for number in first..self.job.trace.blocks().len() {
            let Ok(columns) = self.job.trace.decode_block(number, Projection::BASE) else { break };
            for event in (0..columns.count as usize).map(|row| Event::new(&columns, row)) {
                if event.seq() == seq {
                    end = event.end();
                } else if event.seq() > seq && event.thread() == thread {
                    return event.start().saturating_sub(end);
                }
            }
        }
        0
    }

    /// A thread that runs without end is stopped, so that one can see where it was.
    fn stuck(&self, thread: &Thread, event: &Event<'_>) -> Halt {
        let _ = sys::interrupt(thread.tid);
        match self.remote.watch.wait(thread.tid) {
            Ok(_) => {}
            Err(Halt::Stuck(_)) => return super::remote::gone(thread.tid),
            Err(halt) => return halt,
        }
        let mut halt = self.desync(event, Some(thread), DesyncReason::Stuck.into());
        if let Halt::Desync(desync) = &mut halt {
            desync.seq = self.seq_after(thread.index, event.seq()).unwrap_or(desync.seq);
            if let Some(actual) = &mut desync.actual {
                actual.kind = StopKind::Held;
                // It has left the call that it was last seen at.
                if let Ok(regs) = sys::registers(thread.tid) {
                    (actual.ip, actual.sp) = (regs.rip, regs.rsp);
                    (desync.frames, desync.script) = self.frames_of(thread.pid(), thread.tid, &regs);
                }
            }
        }
        halt
    }

    /// The number of the next event of a thread.
    fn seq_after(&self, thread: u32, seq: u64) -> Option<u64> {
        let first = self.job.trace.block_of(seq)?;
        (first..self.job.trace.blocks().len()).find_map(|number| {
            let columns = self.job.trace.decode_block(number, Projection::BASE).ok()?;
            (0..columns.count as usize)
                .map(|row| Event::new(&columns, row))
                .find(|next| next.seq() > seq && next.thread() == thread)
                .map(|next| next.seq())
        })
    }

    /// Compares a call with where its thread stands. What differs in a value is only reported, where that is wanted.
    pub(super) fn check(&mut self, thread: &Thread, event: &Event<'_>) -> Result<(), Halt> {
        let At::Call(info) = thread.at else {
            return Err(self.desync(event, Some(thread), DesyncReason::Kind.into()));
        };
        let Err(difference) =
            check::call(event, &info).and_then(|()| check::memory(event, thread, &mut self.room, &mut self.buffer))
        else {
            return Ok(());
        };
        let is_value = matches!(
            difference.reason,
            DesyncReason::Argument(_) | DesyncReason::Memory { .. } | DesyncReason::Sp | DesyncReason::Ip
        );
        match self.desync(event, Some(thread), difference) {
            Halt::Desync(desync) if is_value && self.job.options.warn_only => {
                self.report(*desync);
                Ok(())
            }
            halt => Err(halt),
        }
    }

    fn report(&mut self, desync: Desync) {
        if self.done.desyncs.len() < MOST_DESYNCS {
            self.done.desyncs.push(desync);
        }
    }

    /// Nothing that a thread's process does from here on means anything.
    fn give_up(&mut self, thread: u32) {
        if let Some(thread) = self.threads[thread as usize].take() {
            self.end_process(&thread.process);
        }
    }

    /// Whether another replay will say what differs.
    fn is_said_again(&self) -> bool {
        self.agent.is_some() || !self.job.is_final
    }

    /// Everything that can be said about a difference.
    pub(super) fn desync(&self, event: &Event<'_>, thread: Option<&Thread>, difference: Difference) -> Halt {
        if self.is_said_again() {
            return Halt::Desync(Box::new(Desync::unsaid(event, difference.reason)));
        }
        let (frames, script) = thread.map(|thread| self.frames(thread)).unwrap_or_default();
        Halt::Desync(Box::new(Desync {
            seq: event.seq(),
            kind: event.kind(),
            thread: event.thread(),
            reason: difference.reason,
            actual: thread.map(actual_stop),
            expected_bytes: difference.expected,
            actual_bytes: difference.actual,
            window: difference.window,
            maps: thread.map(|thread| self.maps(thread.tid)).unwrap_or_default(),
            frames,
            script,
        }))
    }

    /// Where a stopped thread is, and who called that; functions of an interpreter.
    fn frames(&self, thread: &Thread) -> (Vec<u64>, Vec<Source>) {
        let regs = if matches!(thread.at, At::Ended(_)) { None } else { thread.own_registers() };
        match regs {
            Some(regs) => self.frames_of(thread.pid(), thread.tid, &regs),
            None => (vec![place(thread).0], Vec::new()),
        }
    }

    fn frames_of(&self, pid: pid_t, tid: pid_t, regs: &libc::user_regs_struct) -> (Vec<u64>, Vec<Source>) {
        const MOST: usize = 32;
        let mut taker = Taker::new(self.job.trace, self.job.files, &Wanted::NOTHING);
        let (mut frames, mut script) = taker.callers((pid, tid), regs);
        frames.truncate(MOST);
        script.truncate(MOST);
        if frames.is_empty() {
            frames.push(regs.rip);
        }
        (frames, script)
    }

    fn maps(&self, tid: pid_t) -> String {
        const MOST_LINES: usize = 1 << 16;
        let all = std::fs::read(format!("/proc/{tid}/maps")).unwrap_or_default();
        let own = |line: &str| {
            let start = line.split('-').next().and_then(|start| u64::from_str_radix(start, 16).ok());
            start.is_some_and(|start| self.remote.stub.overlaps(start, start + 1))
        };
        let text = String::from_utf8_lossy(&all);
        text.lines().filter(|line| !own(line)).take(MOST_LINES).flat_map(|line| [line, "\n"]).collect()
    }

    /// Output of a call, where it went to the recording's own streams.
    pub(super) fn pass_on(&mut self, event: &Event<'_>, name: &'static str) {
        if !self.holds_output(event) {
            self.hand_on(event, name);
        }
    }

    /// The same, when all that comes before it is done.
    pub(super) fn hand_on(&mut self, event: &Event<'_>, name: &'static str) {
        let Some(stream) = self.job.prints(event) else { return };
        let mut bytes = Vec::new();
        let whole = super::output::written(event, name, |piece| bytes.extend_from_slice(piece));
        self.job.merge.write(self.lane, event.seq(), stream, &bytes);
        if !whole {
            self.note("some output is not in the trace: one call wrote more than an event holds, or its source could not be read");
        }
    }

    pub(super) fn note(&mut self, text: &str) {
        if self.done.notes.len() < 64 && !self.done.notes.iter().any(|note| note == text) {
            self.done.notes.push(text.to_owned());
        }
    }
}

/// Takes what the call reads at whose entry a thread stands, unless that has been done.
fn take_inputs(thread: &mut Thread) {
    if let At::Call(info) = thread.at
        && thread.memory.is_none()
    {
        let mut memory = Box::<Memory>::default();
        capture::entry(thread.tid, Data::All, &Call::entered(&info), &mut memory);
        thread.memory = Some(memory);
    }
}

/// Instruction and stack pointer of a stopped thread.
fn place(thread: &Thread) -> (u64, u64) {
    match thread.at {
        At::Call(info) => (info.ip, info.sp),
        At::Ended(_) => (0, 0),
        _ => sys::registers(thread.tid).map_or((0, 0), |regs| (regs.rip, regs.rsp)),
    }
}

fn actual_stop(thread: &Thread) -> ActualStop {
    let (ip, sp) = place(thread);
    let mut stop = ActualStop {
        kind: StopKind::Held,
        arch: 0,
        number: 0,
        nargs: 0,
        args: [0; 6],
        ip,
        sp,
        signal: 0,
        captures: Vec::new(),
        bytes: Vec::new(),
    };
    match &thread.at {
        At::Held | At::Ready => {}
        At::Call(info) => {
            let call = Call::entered(info);
            let mut memory = Memory::default();
            capture::entry(thread.tid, Data::All, &call, &mut memory);
            stop.kind = StopKind::Call;
            stop.arch = call.arch as u8;
            stop.number = call.number;
            stop.nargs = call.nargs();
            stop.args = call.args;
            stop.captures = memory.captures;
            stop.bytes = memory.bytes;
        }
        At::Signal(signal, info) => {
            stop.kind = StopKind::Signal;
            stop.signal = *signal;
            stop.bytes = info.to_vec();
        }
        At::Ended(status) => {
            stop.kind = StopKind::Ended;
            stop.signal = *status;
        }
    }
    stop
}
