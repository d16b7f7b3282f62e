//! What makes a recording replayable: who runs when, calls that are refused or give their turn up, the order of output, and
//! what the kernel writes when a thread ends. Signals are in `signals.rs`, mappings in `layouts.rs`.

use std::collections::VecDeque;
use std::rc::Rc;

use libc::{c_int, pid_t, user_regs_struct};
use trace_format::event::{EventKind, Lost, Side, Status, preempt, slot};
use trace_format::ring::refuse;
use trace_format::table::{Arch, Blocks, Replay};

use super::chaos;
use super::signals::{self, queue_held};
use super::turns::{LONG_CALL_NS, LONG_END_NS, LOOKS_NS, MOST_LOAD, Patience, SIGNAL_WAITS_NS, SLICE_NS, TICK_NS};
use super::{Recorder, World};
use crate::agent::ring::Ring;
use crate::capture::{self, Call};
use crate::memory::{Capturer, Data, Memory, word_of};
use crate::objects::{self, Open};
use crate::place::{self, Found, Settled};
use crate::plan::Role;
use crate::probe::Word;
use crate::raw::{Definition, ObjectKind, RawCapture};
use crate::sys;
use crate::task::{Birth, Boundary, Pending, Task};
use crate::waits;

impl World {
    /// The recording cannot be replayed, for this reason.
    pub(super) fn unreplayable(&mut self, reason: &str) {
        if self.replayable && !self.obstacles.iter().any(|known| known == reason) && self.obstacles.len() < 64 {
            self.obstacles.push(reason.to_owned());
        }
    }

    /// The same for a reason that lies in a thread, unless that was killed: it does nothing any more that is to be replayed.
    pub(super) fn unreplayable_of(&mut self, tid: pid_t, reason: &str) {
        if !sys::is_gone(tid) {
            self.unreplayable(reason);
        }
    }

    /// Says which objects the first program's output goes to.
    pub(super) fn name_streams(&mut self, task: &Task) {
        if std::mem::replace(&mut self.streams_named, true) {
            return;
        }
        for (fd, key) in [(1, "stdout"), (2, "stderr")] {
            if let Some(open) = self.open(task, fd) {
                let Open { object, file, .. } = open;
                let path = self.objects.lately(object).map_or_else(Vec::new, |identity| identity.path.clone());
                let file = Some(file).filter(|_| objects::shows_output(&path));
                self.streams.push(Stream { object, file, writer: None, waiting: VecDeque::new() });
                self.definitions.push(Definition::Meta { key: key.into(), value: object.to_string().into_bytes() });
            }
        }
    }

    /// Whether a call may wait for what another thread does.
    fn may_wait(task: &Task, call: &Call) -> bool {
        let Some(plan) = call.plan else { return true };
        match (plan.role, plan.row.blocks) {
            (Role::Yields, _) => true,
            (Role::Clones, _) => super::lifecycle::clone_flags(task) & libc::CLONE_VFORK as u64 != 0,
            // The kernel writes to the memory that is left behind: nobody who sees it runs before that is told.
            (Role::EndsProcess, _) => false,
            // FUTEX_WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2
            (Role::Futex, _) => matches!(call.int(1) & 0x7f, 0 | 6 | 9 | 11 | 13),
            // F_SETLKW, F_SETLKW64, F_OFD_SETLKW
            (Role::Fcntl, _) => matches!(call.int(1), 7 | 14 | 38),
            (_, Blocks::Never) => false,
            (_, Blocks::May) => true,
            (_, Blocks::Fd(index)) => {
                let kind = task.fds.borrow().open(call.int(usize::from(index))).map(|open| open.kind);
                !matches!(kind, Some(ObjectKind::File | ObjectKind::Dir | ObjectKind::Memfd))
            }
        }
    }

    /// Lets a call that cannot be replayed fail with ENOSYS.
    fn refuse(&mut self, task: &mut Task, call: &Call) {
        if call.plan.is_none_or(|plan| plan.row.replay != Replay::Refuse) {
            return;
        }
        self.skip(task, -i64::from(libc::ENOSYS));
        // Not rseq(2): every libc asks for it, and none misses it.
        if matches!(
            call.name(),
            "io_uring_setup" | "io_setup" | "userfaultfd" | "perf_event_open" | "memfd_secret" | "iopl" | "ioperm"
        ) {
            let name = call.name();
            self.note(&format!("{name} was refused, as by a kernel that lacks it: no replay could answer what comes of it; --observe lets programs have it"));
        }
    }

    /// Remembers what the kernel will write into memory when this thread ends.
    pub(super) fn remember_words(task: &mut Task, call: &Call) {
        match call.plan.map(|plan| plan.role) {
            Some(Role::SetsTidAddress) => task.clear_tid = call.args[0],
            Some(Role::SetsRobustList) => (task.robust_list, task.word) = (call.args[0], call.arch.word()),
            _ => {}
        }
    }

    /// The writes of a thread that ends: robust futexes that it holds, and the word that tells of its end, futex(2). `seen_by`: a thread that
    /// has its memory.
    pub(super) fn take_last_writes(&self, task: &mut Task, seen_by: pid_t) {
        const WAITERS: u32 = 0x8000_0000;
        const OWNER_DIED: u32 = 0x4000_0000;
        const TID_MASK: u32 = 0x3fff_ffff;
        /// As many as the kernel follows (`ROBUST_LIST_LIMIT`).
        const MOST: usize = 2048;
        task.last_writes.clear();
        if task.robust_list != 0 {
            let word = task.word as u64;
            let mut unused = Memory::default();
            let peek = Capturer { tid: seen_by, word: word as usize, data: self.data, memory: &mut unused };
            let head = task.robust_list;
            // `struct robust_list_head`: the first entry, the offset of the futex in each, the entry in work.
            let mut bytes = [0; 24];
            let bytes = &mut bytes[..3 * task.word];
            let is_there = peek.peek(head, bytes) == bytes.len();
            let field = |index: usize| word_of(&bytes[index * task.word..(index + 1) * task.word]);
            let (first, offset, pending) = if is_there { (field(0), field(1), field(2) & !1) } else { (head, 0, 0) };
            let mut entries = Vec::new();
            let mut entry = first;
            while entry & !1 != head && entry != 0 && entries.len() < MOST {
                if entry & !1 != pending {
                    entries.push(entry & !1);
                }
                entry = peek.peek_word(entry & !1).unwrap_or(head);
            }
            entries.extend((pending != 0).then_some(pending));
            let offset = if word == 4 { offset as i32 as u64 } else { offset };
            let held: Vec<(u64, u32)> = entries
                .iter()
                .map(|entry| entry.wrapping_add(offset))
                .filter_map(|addr| peek.peek_u32(addr).map(|value| (addr, value)))
                .filter(|(_, value)| value & TID_MASK == task.tid as u32)
                .collect();
            for (addr, value) in held {
                write_later(&mut task.last_writes, addr, (value & WAITERS) | OWNER_DIED);
            }
        }
        if task.clear_tid != 0 && Rc::strong_count(&task.space) > 1 {
            write_later(&mut task.last_writes, task.clear_tid, 0);
        }
    }

    /// Commits what the kernel has written while a thread is in a call, for others who see that memory.
    fn written_in_call(&mut self, task: &Task, mut memory: Memory) {
        memory.add(0, Side::In, b"the kernel changed the word of a futex");
        let event = self.event(task, EventKind::Note, Lost::Remark as i32);
        self.commit(event, &memory);
    }

    /// A program is being replaced: what the kernel has written into the memory that it leaves to others.
    pub(super) fn written_by_exec(&mut self, task: &mut Task) {
        let is_seen = task.space.borrow().shares || Rc::strong_count(&task.space) > 1;
        if is_seen && !task.last_writes.captures.is_empty() {
            let writes = std::mem::take(&mut task.last_writes);
            self.written_in_call(task, writes);
        }
    }

    /// Whether a thread is stopped at the entry of a call until it may write.
    pub(super) fn waits_for_stream(&self, tid: pid_t) -> bool {
        self.streams.iter().any(|stream| stream.waiting.contains(&tid))
    }

    /// An event that says that a thread goes on where its last event left it.
    fn turn_event(&mut self, task: &Task) {
        let mut event = self.event(task, EventKind::Preempt, 0);
        event.nargs = 1;
        event.args[0] = preempt::TURN;
        self.commit(event, &Memory::default());
    }
}

/// A signal that was queued for a thread has stopped it by then.
const STOPS_SOON_NS: u64 = 100_000_000;
/// One that was asked to stop and still runs after this long is asked again.
const ASKED_AGAIN_NS: u64 = 4_000_000;
/// A call that has not come back after this long and does not sleep keeps others waiting no longer.
const BUSY_CALL_NS: u64 = 100_000_000;
/// A call that writes into another process keeps the turn this long: that one must not run before it is done.
const LONG_WRITE_NS: u64 = 1_000_000_000;

/// Waits until a thread that is in a call sleeps there or stops, for a short time.
fn await_rest(tid: pid_t) {
    const LONGEST_NS: u64 = 2_000_000;
    let deadline = sys::monotonic() + LONGEST_NS;
    while !matches!(sys::state_of(tid), Some(b'S' | b't' | b'Z' | b'X') | None) && sys::monotonic() < deadline {
        std::thread::sleep(std::time::Duration::from_micros(10));
    }
}

/// The role of the call that a task is in; a plain one when the table does not know it.
fn role(task: &Task) -> Role {
    task.call.as_ref().and_then(|call| call.plan).map_or(Role::Plain, |plan| plan.role)
}

/// Whether a call sends SIGKILL.
fn kills(call: &Call) -> bool {
    let role = call.plan.map(|plan| plan.role);
    matches!(role, Some(Role::Kills(index)) if call.int(usize::from(index)) == libc::SIGKILL)
}

/// To whom a call of a thread sends a signal.
fn sends_to(tid: pid_t, call: &Call) -> pid_t {
    let number = call.int(0);
    if call.name() == "pidfd_send_signal" { sys::process_of_pidfd(tid, number).unwrap_or(-1) } else { number }
}

/// The descriptor that a call sends data to.
pub(super) fn sink(call: &Call) -> Option<i32> {
    call.plan.and_then(|plan| plan.sink).map(|index| call.int(usize::from(index)))
}

/// Where output of the first program goes, and who writes there.
pub(super) struct Stream {
    object: u32,
    /// Device and inode, where whoever opens that file writes to the same place.
    file: Option<(u64, u64)>,
    writer: Option<pid_t>,
    waiting: VecDeque<pid_t>,
}

impl Stream {
    /// The file whose writers it concerns, if it is one that shows anything.
    pub(super) fn file(&self) -> Option<(u64, u64)> {
        self.file
    }

    /// Whether a descriptor stands for this output: the first program's own, or another one of the same file.
    pub(super) fn is(&self, open: &Open) -> bool {
        open.object == self.object || self.file == Some(open.file)
    }
}

/// Whether a call changes the address space, or what else replay makes anew.
fn executes(call: &Call) -> bool {
    call.plan.is_some_and(|plan| plan.row.replay == Replay::Execute)
}

/// Whether a thread waits in the kernel.
fn is_asleep(tid: pid_t) -> bool {
    matches!(sys::state_of(tid), Some(b'S' | b'D'))
}

/// Adds a word that the kernel is going to write.
fn write_later(memory: &mut Memory, addr: u64, value: u32) {
    memory.bytes.extend(value.to_le_bytes());
    memory.captures.push(RawCapture {
        slot: slot::LAYOUT,
        side: Side::Out,
        status: Status::Whole,
        addr,
        wanted: 4,
        len: 4,
    });
}

/// The next held signal of a thread that stands at the entry of a call or behind one, to go on with; 0 where there is none, or where it
/// was sent, since what goes on from the stop of a filter gets lost. Whether there was one.
fn queue_next(task: &mut Task) -> (c_int, bool) {
    let signal = queue_held(task);
    if signal != 0 && task.at_filter {
        let _ = sys::tgkill(task.process.borrow().pid, task.tid, signal);
        return (0, true);
    }
    (signal, signal != 0)
}

/// The futex that a thread is about to wait for in a way that makes the kernel write to it (FUTEX_LOCK_PI,
/// FUTEX_LOCK_PI2): address and content.
fn lock_word(task: &Task) -> Option<(u64, u32)> {
    let call = task.call.as_ref()?;
    if !matches!(call.int(1) & 0x7f, 6 | 13) {
        return None;
    }
    let mut unused = Memory::default();
    let peek = Capturer { tid: task.tid, word: 8, data: Data::None, memory: &mut unused };
    peek.peek_u32(call.args[0]).map(|value| (call.args[0], value))
}

impl Recorder {
    /// A call that writes to the first program's output waits for another one that does so already: the order in which they
    /// are committed is then the order in which they wrote. Whether it waits.
    fn queue_for_stream(&mut self, tid: pid_t) -> bool {
        if self.tasks.len() < 2 {
            return false;
        }
        let Some(task) = self.tasks.get(&tid) else { return false };
        let Some(fd) = task.call.as_ref().and_then(sink) else { return false };
        let Some(open) = task.fds.borrow().open(fd) else { return false };
        let Some(stream) = self.world.streams.iter_mut().find(|stream| stream.is(&open)) else { return false };
        match stream.writer {
            Some(writer) if writer != tid => {
                stream.waiting.push_back(tid);
                true
            }
            _ => {
                stream.writer = Some(tid);
                false
            }
        }
    }

    /// Lets a thread go into the call at whose entry it stands.
    fn carry_out(&mut self, tid: pid_t, signal: c_int) {
        if !self.prepare_move(tid) {
            // It waits for its source, and writes nothing yet: others may.
            self.leave_streams(tid);
        }
        self.go_on(tid, signal);
    }

    /// A thread writes to no stream any more: the next one may.
    pub(super) fn leave_streams(&mut self, tid: pid_t) {
        for index in 0..self.world.streams.len() {
            let stream = &mut self.world.streams[index];
            stream.waiting.retain(|waiting| *waiting != tid);
            if stream.writer == Some(tid) {
                stream.writer = stream.waiting.pop_front();
                if let Some(next) = stream.writer {
                    self.carry_out(next, 0);
                }
            }
        }
    }

    /// A thread has entered a call: refused ones are skipped, held signals are queued, and others may run.
    pub(super) fn went_away(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let Some(call) = task.call else {
            self.go_on(tid, 0);
            return;
        };
        self.world.refuse(task, &call);
        if self.lifts_before(tid) || self.waits_to_write_outside(tid) || self.waits_to_share(tid) {
            return;
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let waits = World::may_wait(task, &call) && !task.writes_outside;
        let (own, alive) = {
            let process = task.process.borrow();
            (process.pid, process.alive)
        };
        let role = role(task);
        let leads = role == Role::Exits && own == tid && alive > 1;
        match role {
            Role::Exits => self.world.take_last_writes(task, tid),
            Role::EndsProcess => {
                self.foresee_end(own);
                if alive > 1 {
                    self.await_sent(Some(own));
                }
            }
            Role::Kills(_) => {
                if let Some(killed) = self.kills_sharer(tid) {
                    self.foresee_end(killed);
                }
            }
            _ => {}
        }
        if kills(&call) {
            self.await_sent(None);
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let group = task.space.borrow().group;
        let ran = self.world.clock.saturating_sub(task.resumed);
        if waits && role == Role::Futex && ran > LOOKS_NS && self.world.turns.is_awaited(group) {
            task.space.borrow_mut().waits.suspect();
        }
        let (signal, interrupts) = queue_next(task);
        let lock = if role == Role::Futex { lock_word(task) } else { None };
        if role == Role::Yields && !interrupts && self.gives_way(tid, &call) {
            return;
        }
        if interrupts || !self.queue_for_stream(tid) {
            self.carry_out(tid, signal);
        }
        if let Some(before) = lock {
            self.await_lock(tid, before);
        }
        if leads {
            self.leader_left(tid, group);
        } else if waits || (interrupts && !executes(&call)) {
            let next = self.world.turns.release_to_wait(group, tid);
            if let (Some(chaos), Some(task)) = (&mut self.world.turns.chaos, self.tasks.get(&tid)) {
                if role == Role::Yields {
                    chaos.give_way(tid);
                } else if let Some(nanoseconds) = chaos::sleep_of(task, &call) {
                    chaos.sleeps(tid, nanoseconds);
                }
            }
            self.grant(next);
        }
    }

    /// A thread that yields to others who want its turn need not be let into the kernel for that, and be stopped once more: it has its
    /// result where it stands, and the turn goes on. Whether it does.
    fn gives_way(&mut self, tid: pid_t, call: &Call) -> bool {
        let Some(task) = self.tasks.get_mut(&tid).filter(|task| task.at_filter) else { return false };
        let group = task.space.borrow().group;
        let turns = &self.world.turns;
        if turns.chaos.is_some() || !turns.is_awaited(group) || self.world.between_calls(task) != sys::Resume::Cont {
            return false;
        }
        // No call: the kernel makes none, and asks no filter once more.
        let skipped = sys::registers(tid)
            .and_then(|regs| sys::set_registers(tid, &user_regs_struct { orig_rax: u64::MAX, rax: 0, ..regs }));
        if skipped.is_err() {
            return false;
        }
        task.comes_to(Boundary::at(call.ip, call.sp));
        task.pending = Some(Pending::Leave(0, self.world.clock));
        let next = self.world.turns.yield_to_all(group, tid);
        self.grant(next);
        true
    }

    /// Whoever is killed comes to no stop any more, and what it has sent would be taken for not sent: so a call that sends, and is about to come
    /// back, is waited for before somebody is killed. `of`: of this process only.
    fn await_sent(&mut self, of: Option<pid_t>) {
        let sends = |task: &&Task| {
            let is_sent = task.call.as_ref().is_some_and(|call| sink(call).is_some());
            is_sent && task.pending.is_none() && of.is_none_or(|pid| task.process.borrow().pid == pid)
        };
        let sending: Vec<pid_t> = self.tasks.values().filter(sends).map(|task| task.tid).collect();
        for tid in sending {
            let known = self.stops.iter().position(|waited| waited.tid == tid);
            let waited = known.and_then(|index| self.stops.remove(index)).or_else(|| {
                await_rest(tid);
                sys::poll(tid).ok().flatten()
            });
            if let Some(waited) = waited {
                self.dispatch(waited);
            }
        }
    }

    /// The kernel marks the word of a lock with an owner while a thread waits for it: told before others run on.
    fn await_lock(&mut self, tid: pid_t, (addr, before): (u64, u32)) {
        await_rest(tid);
        self.world.read_clock();
        let Some(task) = self.tasks.get(&tid) else { return };
        let mut memory = Memory::default();
        let mut capturer = Capturer { tid, word: 8, data: self.world.data, memory: &mut memory };
        if capturer.peek_u32(addr).is_none_or(|now| now == before) {
            return;
        }
        capturer.structure(slot::LAYOUT, Side::Out, addr, 4);
        self.world.written_in_call(task, memory);
    }

    /// The first thread of a process ends before the others. The kernel tells of that only when all have ended, so its
    /// call is committed as soon as it is seen to be gone, and others take their turns.
    fn leader_left(&mut self, tid: pid_t, group: u32) {
        let gone = || matches!(sys::state_of(tid), None | Some(b'Z' | b'X'));
        for _ in 0..1000 {
            if gone() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if let Some(call) = task.call.take() {
            let writes = std::mem::take(&mut task.last_writes);
            task.memory.captures.extend_from_slice(&writes.captures);
            task.memory.bytes.extend_from_slice(&writes.bytes);
            let now = self.world.read_clock();
            self.world.commit_call(task, &call, None, now, 0);
        }
        let next = self.world.turns.release(group, tid);
        self.grant(next);
    }

    /// A thread has come back from a call.
    pub(super) fn came_back(&mut self, tid: pid_t, info: &sys::SyscallInfo, now: u64) {
        let Some(result) = self.moved(tid, info.first as i64) else { return };
        self.wrote_outside(tid, result);
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        task.at_filter = false;
        let (role, wrote) = (role(task), task.call.as_ref().is_some_and(|call| sink(call).is_some()));
        if matches!(role, Role::Masks | Role::ReturnsFromHandler) {
            super::traps::note_blocked(task);
        }
        let recurs = role == Role::ReturnsFromHandler;
        let ip = task.space.borrow().code.own_ip(info.ip);
        task.comes_to(Boundary { recurs, ..Boundary::at(ip, info.sp) });
        if task.launching || task.call.is_none() {
            self.leave_and_go_on(tid, result, now);
            return;
        }
        let group = task.space.borrow().group;
        if matches!(role, Role::Kills(_))
            && result == 0
            && let Some(killed) = self.kills_sharer(tid)
        {
            self.await_end(killed);
        }
        self.leave_in_turn(tid, group, result, now);
        if wrote {
            // Committed before the next writer is let go; a thread that has to wait for its turn is committed later.
            self.leave_streams(tid);
        }
    }

    /// A process is about to be killed: what the kernel will write then has to be known before its memory is gone.
    pub(super) fn foresee_end(&mut self, pid: pid_t) {
        for task in self.tasks.values_mut().filter(|task| task.process.borrow().pid == pid) {
            let tid = task.tid;
            self.world.take_last_writes(task, tid);
        }
    }

    /// A process that shares memory with its killer is gone before the killer goes on, so that its writes come before.
    fn await_end(&mut self, pid: pid_t) {
        const LONGEST: u32 = 100;
        let tids: Vec<pid_t> =
            self.tasks.iter().filter(|(_, task)| task.process.borrow().pid == pid).map(|(tid, _)| *tid).collect();
        for _ in 0..LONGEST {
            self.collect();
            let ended = |tid: &pid_t| self.stops.iter().any(|stop| stop.tid == *tid && !libc::WIFSTOPPED(stop.status));
            if tids.iter().all(ended) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        self.world.read_clock();
        for tid in tids {
            let found = self.stops.iter().position(|stop| stop.tid == tid && !libc::WIFSTOPPED(stop.status));
            if let Some(waited) = found.and_then(|index| self.stops.remove(index)) {
                self.ended(&waited);
            }
        }
    }

    /// The other process that a call of this thread kills, when both see the same memory.
    fn kills_sharer(&self, tid: pid_t) -> Option<pid_t> {
        let task = self.tasks.get(&tid).filter(|task| task.space.borrow().shares)?;
        let call = task.call.as_ref()?;
        let target = self.tasks.get(&sends_to(tid, call)).filter(|_| kills(call))?;
        let (own, other) = (task.process.borrow().pid, target.process.borrow().pid);
        (own != other && target.space.borrow().shares).then_some(other)
    }

    /// The thread takes the turn, or is to wait for it: then whoever has it keeps it no longer than until its next call that waits.
    pub(super) fn take_turn(&mut self, group: u32, tid: pid_t) -> bool {
        let has_waited = self.tasks.get(&tid).is_some_and(|task| role(task) == Role::Futex);
        let turns = &mut self.world.turns;
        let has_turn = if has_waited { turns.take_after_wait(group, tid) } else { turns.take(group, tid) };
        if has_turn {
            return true;
        }
        if let Some(holder) = self.world.turns.wanted_of(group)
            && let Some(task) = self.tasks.get_mut(&holder)
            && task.ring.as_ref().is_some_and(Ring::ask_turn)
            && !task.interrupting
        {
            task.wanted = self.world.clock;
            task.interrupting = sys::interrupt(holder).is_ok();
        }
        false
    }

    fn leave_in_turn(&mut self, tid: pid_t, group: u32, result: i64, now: u64) {
        let others = self.tasks.len() > 1;
        if let Some(chaos) = self.world.turns.chaos.as_mut().filter(|_| result != 0) {
            // Asleep it was interrupted.
            chaos.woke(tid);
        }
        let has_turn = self.take_turn(group, tid);
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if !has_turn {
            task.pending = Some(Pending::Leave(result, now));
        } else if self.world.turns.is_over(group, SLICE_NS, now) && others {
            // What a call has changed in the address space, or printed, comes before all that others do in their turns.
            let shows = |call: &Call| executes(call) || sink(call).is_some();
            if task.call.as_ref().is_some_and(shows) && !capture::is_error(result) {
                self.leave(tid, result, now);
                let Some(task) = self.tasks.get_mut(&tid) else { return };
                task.pending = Some(Pending::Start);
            } else {
                task.pending = Some(Pending::Leave(result, now));
            }
            let next = self.world.turns.yield_to_next(group, tid);
            self.grant(next);
        } else if self.world.turns.chaos.is_some() && matches!(role(task), Role::Kills(_)) && others {
            task.pending = Some(Pending::Leave(result, now));
            self.world.turns.pause(tid);
        } else {
            self.leave_and_go_on(tid, result, now);
        }
    }

    fn leave_and_go_on(&mut self, tid: pid_t, result: i64, at: u64) {
        let call = self.tasks.get(&tid).and_then(|task| task.call);
        self.world.tends = call.is_some();
        self.leave(tid, result, at);
        if let Some(call) = call {
            self.tend(tid, &call, result);
            let Some(group) = self.tasks.get(&tid).map(|task| task.space.borrow().group) else { return };
            if !self.take_turn(group, tid) {
                // The call has mapped memory of others, one of whom is running.
                if let Some(task) = self.tasks.get_mut(&tid) {
                    task.pending = Some(Pending::Start);
                }
                return;
            }
        }
        self.go_on_behind(tid);
    }

    /// Lets a thread go on behind the call that it has come back from, with a signal that was held meanwhile.
    fn go_on_behind(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let (signal, _) = queue_next(task);
        match task.boundary.filter(|boundary| boundary.recurs) {
            Some(boundary) => self.go_on_from_handler(tid, boundary, signal),
            None => self.go_on(tid, signal),
        }
    }

    /// Lets a thread go on that stands where its event left it, now or, when it has had its turn for long, when others have had theirs.
    /// Whoever waits with an eye on the clock may make no call for long.
    pub(super) fn go_on_in_turn(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let (group, now) = (task.space.borrow().group, self.world.clock);
        let slice = task.slice();
        let looks = task.looked_at_after();
        let is_looked_at = self.world.turns.are_fine() && self.world.turns.is_over(group, looks, now);
        let is_over = self.world.turns.is_over(group, slice, now);
        let is_known_to_poll = task.counted_turns > 0 && !task.counted_turns.is_power_of_two();
        if self.world.turns.chaos.is_some() {
            return self.go_on(tid, 0);
        }
        let found = match self.words_as_before(tid, group) {
            Some(words) => Found::Waits(words),
            // To look costs as much as a short turn.
            None if is_over && is_known_to_poll => Found::Works,
            None if is_over || is_looked_at => self.words_around_counter(tid),
            None => return self.go_on(tid, 0),
        };
        if is_over && matches!(found, Found::Works) && self.hands_on_between(tid, group) {
            return;
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let next = match found {
            Found::Event(waited) => return self.dispatch(*waited),
            Found::Works if !is_over => {
                task.looks += 1;
                return self.go_on(tid, 0);
            }
            Found::Works => {
                task.counted_turns = if task.only_waits { task.counted_turns.saturating_add(1) } else { 0 };
                task.only_waits = true;
                self.world.turns.yield_to_next(group, tid)
            }
            Found::Waits(words) => {
                (task.only_waits, task.counted_turns, task.looks) = (false, 0, 0);
                self.world.turns.park(group, tid, words, Patience::WITH_CLOCK)
            }
        };
        task.pending = Some(Pending::Start);
        self.grant(next);
    }

    /// Threads may wait in vain for what the thread that has the turn changes between two reads of the counter alone, and has changed back when
    /// it comes to the next one, where its turn would end: a lock that is held while the clock is read. It is led on to where they see it, and
    /// gives its turn up there. Whether something has become of it.
    fn hands_on_between(&mut self, tid: pid_t, group: u32) -> bool {
        /// So far it is led.
        const MOST: u64 = 64;
        let Some((waiter, words)) = self.world.turns.waits_in_vain(group) else { return false };
        let Some(task) = self.tasks.get(&tid).filter(|task| task.held.is_empty() && task.boundary.is_some()) else {
            return false;
        };
        let pid = task.process.borrow().pid;
        let mut came = Vec::new();
        let is_there = || !waits::hold_still(waiter, &words);
        let led = place::step_until((pid, tid), MOST, &|range| self.is_foreign(tid, range), &is_there, &mut came);
        self.came_on_the_way(tid, came);
        self.world.read_clock();
        if !matches!(led, Ok(Some(_))) {
            self.world.turns.waits_anew(group, waiter);
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return true };
        match led {
            Ok(Some((steps, regs))) if task.held.is_empty() => {
                let mut event = self.world.event(task, EventKind::Preempt, 0);
                event.nargs = 2;
                (event.args[0], event.args[1]) = (preempt::STEPPED, steps);
                (event.ip, event.sp) = (regs.rip, regs.rsp);
                task.boundary = None;
                task.pending = Some(Pending::Preempted(Box::new((event, Memory::default()))));
                let next = self.world.turns.yield_to_next(group, tid);
                self.grant(next);
            }
            Err(Settled::Event(waited)) => self.dispatch(*waited),
            _ => self.go_on(tid, 0),
        }
        true
    }

    /// For which words a thread that has just read the counter waits, if it does as another time, and others want the turn or may.
    fn words_as_before(&self, tid: pid_t, group: u32) -> Option<Vec<Word>> {
        if !self.world.turns.is_awaited(group) {
            return None;
        }
        let task = self.tasks.get(&tid).filter(|task| task.held.is_empty())?;
        let space = task.space.borrow();
        let boundary = task.boundary.filter(|boundary| space.waits.has_counting(boundary.ip))?;
        space.waits.counting(tid, boundary.ip, &sys::registers(tid).ok()?)
    }

    /// Whether a thread that has just read the counter does so in a loop that only waits.
    fn words_around_counter(&mut self, tid: pid_t) -> Found {
        let Some(task) = self.tasks.get_mut(&tid).filter(|task| task.held.is_empty()) else { return Found::Works };
        let Some(boundary) = task.boundary else { return Found::Works };
        let Ok(regs) = sys::registers(tid) else { return Found::Works };
        let space = Rc::clone(&task.space);
        let is_round = |ip: u64| space.borrow().code.reads_counter_at(ip, boundary.ip);
        let mut came = Vec::new();
        let pid = task.process.borrow().pid;
        let found = place::around_boundary(pid, tid, &is_round, &mut came);
        self.came_on_the_way(tid, came);
        self.world.read_clock();
        if let Found::Waits(words) = &found {
            space.borrow_mut().waits.learn_counting(boundary.ip, &regs, words);
        }
        found
    }

    /// Commits the call that a thread has come back from.
    fn leave(&mut self, tid: pid_t, result: i64, at: u64) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if let Some(call) = task.call.take() {
            World::remember_words(task, &call);
            // An exec that succeeded ended what was before; one that failed did not.
            let writes = std::mem::take(&mut task.last_writes);
            if task.executed {
                task.memory.captures.extend_from_slice(&writes.captures);
                task.memory.bytes.extend_from_slice(&writes.bytes);
            }
            let result = signals::wait_on_for_nothing(task, &call, result, at);
            self.world.leave(task, call, result, at);
            self.follow_guards(tid);
        }
    }

    /// A stopped thread gets its turn.
    pub(super) fn grant(&mut self, next: Option<pid_t>) {
        let Some(tid) = next else { return };
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        match task.pending.take() {
            Some(Pending::Leave(result, at)) => self.leave_and_go_on(tid, result, at),
            Some(Pending::Enter) => self.went_away(tid),
            Some(Pending::Start) => {
                self.world.turn_event(task);
                // A handler comes back to the program's own address, which may be inside a jump by now.
                if task.boundary.is_some_and(|boundary| boundary.recurs) {
                    self.go_on_behind(tid);
                } else {
                    self.go_on(tid, 0);
                }
            }
            Some(Pending::Preempted(stopped)) => {
                if !waits::hold_still(tid, &task.patient_for) {
                    // Somebody has ended its wait: the next one may be for the same again.
                    task.patient_for.clear();
                }
                let (mut event, memory) = *stopped;
                event.entry_seq = event.entry_seq.min(self.world.sink.seq());
                self.world.commit(event, &memory);
                self.go_on_from_place(tid);
            }
            None => {}
        }
    }

    /// The threads that are stopped until their turn comes, or until they may write.
    pub(super) fn kept_waiting(&self) -> Vec<pid_t> {
        let turns = self.tasks.iter().filter(|(_, task)| task.pending.is_some()).map(|(tid, _)| *tid);
        turns.chain(self.world.streams.iter().flat_map(|stream| stream.waiting.iter().copied())).collect()
    }

    /// A new task runs at once, or waits for its turn.
    pub(super) fn start(&mut self, tid: pid_t) {
        let Some(group) = self.tasks.get(&tid).map(|task| task.space.borrow().group) else { return };
        if self.take_turn(group, tid) {
            self.go_on(tid, 0);
        } else if let Some(task) = self.tasks.get_mut(&tid) {
            task.pending = Some(Pending::Start);
        }
    }

    /// A thread that was stopped by a signal is continued. When it gave its turn up, others have run meanwhile: the trace tells when it
    /// goes on.
    pub(super) fn continued(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let group = task.space.borrow().group;
        task.interrupting = false;
        if task.launching || task.call.is_some() || self.world.turns.is_held_by(group, tid) {
            self.go_on(tid, 0);
            return;
        }
        task.pending = Some(Pending::Start);
        if self.take_turn(group, tid) {
            self.grant(Some(tid));
        }
    }

    /// Looks whether somebody has kept the turn, or a signal waiting, for too long.
    pub(super) fn tick(&mut self) {
        let now = self.world.read_clock();
        for tid in self.world.turns.wake() {
            self.grant(Some(tid));
        }
        let contended = self.world.turns.contended();
        let mut idle = contended.is_empty() && !self.world.turns.has_parked() && !self.world.turns.has_kept();
        let (is_varied, is_fine) = (self.world.turns.are_varied(), self.world.turns.are_fine());
        for tid in contended {
            let Some(task) = self.tasks.get_mut(&tid) else { continue };
            let pressed = self.world.turns.pressed(task.space.borrow().group);
            let since = now.saturating_sub(task.resumed);
            // A signal that was queued soon stops it anyway, if it is not blocked.
            let stops = since < STOPS_SOON_NS && task.held.iter().any(|held| held.queued);
            if task.interrupting && task.pending.is_none() && since > ASKED_AGAIN_NS {
                // Another stop came first, with which the kernel forgets the one that was asked for.
                let _ = sys::interrupt(tid);
            }
            if task.pending.is_some() || task.interrupting || stops {
                continue;
            }
            if task.in_group_stop {
                // Nobody else was there when it was stopped.
                let group = task.space.borrow().group;
                let next = self.world.turns.release(group, tid);
                self.grant(next);
            } else if task.call.is_some() {
                // Whoever ends, or leaves its memory, has its turn until that is done.
                let patience = match role(task) {
                    Role::Exits | Role::EndsProcess => LONG_END_NS,
                    _ if task.writes_outside => LONG_WRITE_NS,
                    // How long it takes to come back is no reason for a hand-over that follows from a seed.
                    _ if self.world.turns.chaos.is_some() => LONG_WRITE_NS,
                    // Nobody else may see mappings that its event has not told of.
                    _ if task.call.as_ref().is_some_and(executes) => LONG_WRITE_NS,
                    _ => LONG_CALL_NS,
                };
                // One that is not asleep may only have no processor.
                let is_long = since > patience.max(BUSY_CALL_NS) || (since > patience && is_asleep(tid));
                if is_long {
                    let group = task.space.borrow().group;
                    let next = self.world.turns.release(group, tid);
                    self.grant(next);
                }
            } else {
                let slice = task.slice();
                let looks = if is_fine { task.looked_at_after() } else { LOOKS_NS };
                let looks = looks.max(task.patient_ns);
                self.world.turns.looks_after(looks);
                if let Some(ring) = task.ring.as_ref().filter(|_| since > slice.min(looks)) {
                    // It may be making calls in the agent, one of which is to stop it.
                    ring.refuse(refuse::ALL);
                }
                let patience = task.computes_for(pressed);
                let ran = task.ran();
                // A call in the agent that was not to wait, and does.
                let waits = since > LONG_CALL_NS && task.ring.is_some() && is_asleep(tid);
                let is_over =
                    waits || since > patience && (ran > patience || since > patience.saturating_mul(MOST_LOAD));
                let is_looked_at = !is_varied && {
                    let loops = &task.space.borrow().waits;
                    // One that makes calls in the agent comes to a stop before it is looked at.
                    let is_suspected = || loops.are_suspected() && since > looks + TICK_NS as u64;
                    if loops.is_empty() { is_suspected() } else { since > looks }
                };
                if (is_over || is_looked_at) && sys::interrupt(tid).is_ok() {
                    task.interrupting = true;
                    task.looked_at = !is_over;
                    task.preempted += u32::from(is_over);
                    task.looks += u32::from(!is_over);
                }
            }
        }
        for (tid, task) in self.tasks.iter_mut().filter(|(_, task)| !task.held.is_empty()) {
            idle = false;
            let due = now.saturating_sub(task.held_since) > SIGNAL_WAITS_NS;
            let runs = task.call.is_none() && task.pending.is_none() && !(task.interrupting || task.in_group_stop);
            if due && runs && task.held.iter().any(|held| !held.queued) && sys::interrupt(*tid).is_ok() {
                task.interrupting = true;
            }
        }
        if idle {
            self.world.turns.disarm();
        } else {
            self.world.turns.arm();
        }
    }

    /// Waits until a new task has stopped, so that it is there before its parent's call ends.
    pub(super) fn await_birth(&mut self, child: pid_t, birth: Birth) {
        let waiting = self.stops.iter().position(|waited| waited.tid == child);
        let waited = match waiting {
            Some(index) => self.stops.remove(index),
            None => sys::wait_for(child).ok(),
        };
        let Some(waited) = waited else {
            self.world.lost[Lost::TaskGone as usize] += 1;
            return;
        };
        let ended = libc::WIFEXITED(waited.status) || libc::WIFSIGNALED(waited.status);
        self.adopt(child, birth, ended.then_some(waited));
    }

    /// The words that the kernel writes for a new task, from the call that makes it.
    pub(super) fn words_of_birth(task: &Task, birth: &mut Birth) {
        let Some(call) = &task.call else { return };
        let child_word = match (call.name(), call.arch) {
            ("clone", Arch::X86_64) => call.args[3],
            ("clone", Arch::I386) => call.args[4],
            ("clone3", _) => task.memory.find(0, Side::In).and_then(|bytes| bytes.get(16..24)).map_or(0, word_of),
            _ => 0,
        };
        let has = |flag: c_int| birth.flags & flag as u64 != 0;
        (birth.set_tid, birth.clear_tid) = (
            if has(libc::CLONE_CHILD_SETTID) { child_word } else { 0 },
            if has(libc::CLONE_CHILD_CLEARTID) { child_word } else { 0 },
        );
        // The child may read it before its parent's call ends, where they share memory.
        let parent_word = match call.name() {
            "clone" => call.args[2],
            "clone3" => task.memory.find(0, Side::In).and_then(|bytes| bytes.get(24..32)).map_or(0, word_of),
            _ => 0,
        };
        birth.parent_word = if has(libc::CLONE_PARENT_SETTID) && has(libc::CLONE_VM) { parent_word } else { 0 };
    }
}
