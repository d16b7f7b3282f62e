//! Signals of a replayable recording: held back until a boundary, delivered where replay can deliver them too, and answered
//! where they only tell of an instruction that traps. Threads that come to no boundary are stopped in their own code.

use libc::{c_int, pid_t, user_regs_struct};
use trace_format::event::{EventKind, Side, disposition, slot};
use trace_format::ring::{BASE, RESERVED_END, refuse};

use super::stops::enters_again;
use super::turns::Patience;
use super::{Recorder, World, limits};
use crate::agent::code::{Code, State};
use crate::agent::ring::Ring;
use crate::capture::{self, Call};
use crate::memory::{Capturer, Data, Memory};
use crate::place::{self, Effort, Place, Settled};
use crate::probe::{self, Word};
use crate::raw::RawEvent;
use crate::siginfo::{self, SigInfo};
use crate::state::{self, ProcessorAnswers, Uncounted};
use crate::stepped::{self, TRAP_FLAG};
use crate::sys::{self, Resume, USER_CS, Waited};
use crate::task::{Boundary, HeldSignal, Pending, Task};

/// After so many looks at a thread that was where nobody is known to have waited it is stepped on, to see whether it waits there; and after
/// twice as many again.
const LOOKS_TO_STEP: u32 = 6;
/// One that was stopped so often without a call is stepped on for long, to see whether it waits in a long loop.
const PREEMPTED_TO_LOOK: u32 = 3;

impl Recorder {
    /// A signal is about to be delivered to a task.
    pub(super) fn signal_in_turn(&mut self, tid: pid_t, signal: c_int) {
        if self.leave_agent(tid, signal) {
            return;
        }
        let mut info = match sys::signal_info(tid) {
            Ok(info) => info,
            Err(error) => {
                self.world.could_not_look(&error);
                return self.go_on(tid, signal);
            }
        };
        if self.put_moved_back(tid, signal, &info) {
            return;
        }
        if self.touches_guarded(tid, signal, &info) {
            return;
        }
        if self.leave_to_leader(tid, signal, &info) {
            return self.go_on(tid, 0);
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if signal == libc::SIGSEGV
            && let Some(site) = self.world.answer_counter(task, &info)
        {
            self.tend_counter(tid, site);
            return self.go_on_in_turn(tid);
        }
        if (signal == libc::SIGSEGV && self.world.answer_cpuid(task, &info))
            || (signal == libc::SIGILL && self.world.answer_unseen(task, &info))
        {
            self.go_on(tid, 0);
            return;
        }
        // One that was queued while the thread stood still is taken before its next instruction.
        let is_again = |held: &HeldSignal| held.number == signal && (held.queued || is_own(&info));
        let queued = task.held.iter().position(is_again);
        if let Some(index) = queued {
            // Another one of that number may have come before the one that was queued again: the older goes first.
            let came = info;
            info = task.held[index].info;
            if is_queued_again(&came) {
                task.held.remove(index);
            } else {
                // Of the old signals one is pending at most: there it stood in the way of the one that was queued again.
                task.held[index].info = came;
                task.held[index].queued = signal >= SIGRTMIN;
            }
            let _ = sys::set_signal_info(tid, &info);
        }
        let is_synchronous = siginfo::is_synchronous(signal, siginfo::code(&info));
        let handler = task.handler(signal);
        let becomes = match handler {
            // A fault whose signal is blocked takes the handler away.
            Some(handler) if handler.is_caught() && is_synchronous && !catches(tid, signal) => disposition::FATAL,
            Some(handler) if handler.is_caught() => disposition::HANDLED,
            Some(handler) if handler.addr == 1 && !is_synchronous => disposition::NONE,
            Some(_) | None if is_synchronous => disposition::FATAL,
            Some(_) | None => by_default(task, signal),
        };
        let stopped_at = sys::syscall_info(tid).map(|info| (info.ip, info.sp)).unwrap_or_default();
        let place = (task.space.borrow().code.own_ip(stopped_at.0), stopped_at.1);
        // Before a call that is entered once more there is no boundary: the handler's own calls would be taken for it.
        let stands = !enters_again(task) && (queued.is_some() || stands_at(task, place));
        if signal == libc::SIGCONT {
            // It takes back what was to stop the process.
            task.held.retain(|held| !stops(held.number));
        }
        if becomes == disposition::HANDLED && !is_synchronous && !stands {
            hold(task, signal, info);
            self.world.turns.arm();
            self.go_on(tid, 0);
            return;
        }
        if becomes == disposition::STOPS && !stands && !enters_again(task) && self.gives_its_turn_up(tid) {
            // Others run while it is stopped: the place is to be found again.
            let Some(task) = self.tasks.get_mut(&tid) else { return };
            hold(task, signal, info);
            task.interrupting = sys::interrupt(tid).is_ok();
            self.world.turns.arm();
            self.go_on(tid, 0);
            return;
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        self.world.decide(task, Some(signal));
        if becomes == disposition::FATAL {
            self.world.commit_left(task);
        }
        let mut memory = Memory::default();
        memory.add(0, Side::In, &info);
        let event = self.world.signal_event(task, signal, &info, becomes, place);
        if becomes != disposition::HANDLED {
            let boundary = task.boundary.filter(|_| stands);
            self.world.commit(event, &memory);
            if becomes == disposition::FATAL {
                let pid = task.process.borrow().pid;
                self.foresee_end(pid);
            }
            match boundary.filter(|boundary| boundary.recurs && becomes == disposition::NONE) {
                Some(boundary) => self.go_on_from_handler(tid, boundary, signal),
                None => self.go_on_unhandled(tid, signal, &info),
            }
            return;
        }
        task.left = None;
        if handler.is_some_and(|handler| handler.once) {
            task.handlers.borrow_mut().remove(&signal);
        }
        let before = sys::registers(tid).ok().map(|regs| libc::user_regs_struct { rip: place.0, ..regs });
        if place != stopped_at
            && let Some(regs) = &before
        {
            // The frame has the program's own place, to which the handler comes back (`go_on_from_handler`).
            let _ = sys::set_registers(tid, regs);
        }
        // To the first instruction of the handler, where its frame can be read.
        let _ = sys::resume(tid, Resume::Step, signal);
        let waited = sys::wait_stop(tid);
        let regs = sys::registers(tid).ok();
        let is_there = waited.as_ref().is_ok_and(|waited| waited.status >> 8 == libc::SIGTRAP);
        if let Some(regs) = regs.filter(|_| is_there) {
            if let Some(before) = before {
                stepped::clear_frame(tid, &before, &regs);
            }
            let mut capturer = Capturer { tid, word: 8, data: self.world.data, memory: &mut memory };
            let length = frame_length(&capturer, &regs, place.1);
            capturer.structure(slot::LAYOUT, Side::Out, regs.rsp, length);
            super::traps::note_blocked(task);
            task.boundary = Some(Boundary::at(regs.rip, regs.rsp));
            self.world.tell_way_back(task, place.0);
        }
        self.world.commit(event, &memory);
        match waited {
            Ok(waited) if !is_there => self.dispatch(waited),
            _ => self.go_on(tid, 0),
        }
    }

    /// Lets a task go on with a signal that it does not handle. The kernel lets no fault end the first process of a namespace while it
    /// is traced: it would run into it for ever. Untraced it runs into it once more, and ends.
    pub(super) fn go_on_unhandled(&mut self, tid: pid_t, signal: c_int, info: &SigInfo) {
        if !self.tasks.get(&tid).is_some_and(|task| is_spared(task, signal)) {
            return self.go_on(tid, signal);
        }
        if !siginfo::is_synchronous(signal, siginfo::code(info)) {
            // One that stops would be taken all the same.
            return self.go_on(tid, 0);
        }
        if let Ok(regs) = sys::registers(tid)
            && siginfo::is_breakpoint(info)
        {
            let _ = sys::set_registers(tid, &user_regs_struct { rip: regs.rip - 1, ..regs });
        }
        self.let_go(tid, 0);
        self.ended(&Waited::without_usage(tid, signal));
    }

    /// Whether others wait for the turn of a thread that is stopped, or may come to: they see the same memory.
    pub(super) fn gives_its_turn_up(&self, tid: pid_t) -> bool {
        let Some(task) = self.tasks.get(&tid).filter(|_| self.world.turns.chaos.is_none()) else { return false };
        let group = task.space.borrow().group;
        let is_other = |other: &Task| other.tid != tid && self.world.turns.is_same(group, other.space.borrow().group);
        self.tasks.values().any(is_other)
    }

    /// A thread has come back from a handler to some place of its own code. Signals that are deliverable now come before
    /// it runs anything; one that comes later may find it at the same place again. So it is let go by one instruction where
    /// signals wait; where none does, whatever comes later comes in the middle of its code.
    pub(super) fn go_on_from_handler(&mut self, tid: pid_t, boundary: Boundary, signal: c_int) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let way = task.space.borrow_mut().code.way_to(tid, boundary.ip);
        if way != boundary.ip
            && let Ok(regs) = sys::registers(tid)
        {
            let _ = sys::set_registers(tid, &libc::user_regs_struct { rip: way, ..regs });
        }
        if signal == 0 && !sys::has_pending_signals(tid) {
            task.boundary = None;
            self.go_on(tid, 0);
            return;
        }
        task.boundary = Some(Boundary { steps: true, ..boundary });
        let regs = sys::registers(tid).ok();
        let instruction = regs.and_then(|regs| probe::decode(tid, way, probe::bits(&regs)));
        // A step would pass a call unseen; its stop is the next one anyway. So is that of a program that steps itself.
        let calls = instruction.as_ref().is_some_and(probe::is_call);
        let steps = regs.is_some_and(|regs| regs.eflags & TRAP_FLAG != 0);
        if calls || steps || sys::resume(tid, Resume::Step, signal).is_err() {
            self.go_on(tid, signal);
            return;
        }
        let Ok(waited) = sys::wait_stop(tid) else { return };
        let is_done = waited.status >> 8 == libc::SIGTRAP
            && sys::signal_info(tid).is_ok_and(|info| siginfo::code(&info) == siginfo::TRAP_TRACE);
        if is_done {
            if let (Some(instruction), Ok(regs)) = (instruction, sys::registers(tid)) {
                stepped::clear_stack(tid, &instruction, regs.rsp);
            }
            task.boundary = None;
            self.go_on(tid, 0);
        } else {
            stepped::clear_flag(tid, regs.map_or(0, |regs| regs.eflags));
            self.dispatch(waited);
        }
    }

    /// Lets a preempted thread go on from its place, of which has been told. Signals that others have sent it in their turns come there:
    /// a little later it would have to be led to another place.
    pub(super) fn go_on_from_place(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let regs = if sys::has_pending_signals(tid) { sys::registers(tid).ok() } else { None };
        match regs {
            Some(regs) => {
                let own_ip = task.space.borrow().code.own_ip(regs.rip);
                self.go_on_from_handler(tid, Boundary { recurs: true, ..Boundary::at(own_ip, regs.rsp) }, 0);
            }
            None => self.go_on(tid, 0),
        }
    }

    /// A task that was asked to stop has stopped, somewhere.
    pub(super) fn interrupted(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if !std::mem::take(&mut task.looked_at) {
            return self.stopped_somewhere(tid, false);
        }
        let (resumed, refused) = (task.resumed, task.ring.as_ref().map_or(0, Ring::refuses));
        self.stopped_somewhere(tid, true);
        if let Some(task) = self.tasks.get_mut(&tid) {
            // It goes on as if nothing had been.
            task.resumed = resumed;
            if let Some(ring) = task.ring.as_ref().filter(|_| refused & refuse::ALL == refuse::ALL) {
                ring.refuse(refuse::ALL);
            }
        }
    }

    /// The same. `only_looks`: it has no reason to stop but that it stands where threads wait.
    fn stopped_somewhere(&mut self, tid: pid_t, only_looks: bool) {
        let waits = self.tasks.get(&tid).and_then(|task| task.ring.as_ref()).is_some_and(Ring::waits_in_turn);
        if self.leave_agent(tid, 0) {
            return;
        }
        if let Some(task) = self.tasks.get_mut(&tid).filter(|task| waits || is_sent_back(task)) {
            // It stands behind the call, or makes it, maybe again: both are boundaries.
            task.interrupting = false;
            return self.go_on(tid, 0);
        }
        let Some(task) = self.tasks.get(&tid) else { return };
        let group = task.space.borrow().group;
        let holes = self.unsettled_outputs(group);
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        task.interrupting = false;
        let Ok(regs) = sys::registers(tid) else {
            self.go_on(tid, 0);
            return;
        };
        if task.call.is_some() || task.pending.is_some() {
            self.go_on(tid, 0);
            return;
        }
        let began = sys::own_cpu_time();
        let own_ip = task.space.borrow().code.own_ip(regs.rip);
        let regs = libc::user_regs_struct { rip: own_ip, ..regs };
        let place = if stands_at(task, (regs.rip, regs.rsp)) {
            if task.held.is_empty() && self.world.turns.chaos.is_some() {
                // It had no processor, which is no reason for a hand-over that follows from a seed.
                return self.go_on(tid, 0);
            }
            None
        } else {
            if !self.stands_in_own_code(tid) {
                // Soon it is somewhere else.
                return self.go_on(tid, 0);
            }
            let Some(task) = self.tasks.get_mut(&tid) else { return };
            let only_looks = only_looks && task.held.is_empty();
            let is_known = task.space.borrow().waits.has(own_ip);
            if only_looks && !is_known && !is_worth_stepping(task.looks) {
                return self.go_on(tid, 0);
            }
            self.world.placement.fetch_back(tid, &mut task.place);
            let mut came = Vec::new();
            let pid = task.process.borrow().pid;
            let known = task.space.borrow().waits.of(tid, &regs).and_then(|wait| Place::in_wait(tid, wait));
            let settled = if let Some(place) = known {
                Settled::Place(Box::new(place))
            } else {
                let effort = match task.preempted {
                    _ if is_known => Effort::Thorough,
                    _ if only_looks => Effort::OnlyWaiting,
                    0..PREEMPTED_TO_LOOK => Effort::Usual,
                    _ => Effort::Thorough,
                };
                let counted = task.space.borrow().waits.counted_at(own_ip);
                place::settle(pid, tid, (effort, counted.as_ref()), &|range| self.is_foreign(tid, range), &mut came)
            };
            self.came_on_the_way(tid, came);
            self.world.read_clock();
            match settled {
                Settled::Place(place) => Some(place),
                Settled::Boundary => return self.go_on(tid, 0),
                Settled::Event(waited) => return self.dispatch(*waited),
            }
        };
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if task.held.is_empty()
            && let Some(place) = &place
            && self.world.goes_on_computing(task, place)
        {
            return self.go_on(tid, 0);
        }
        let regs = place.as_ref().map_or(regs, |place| place.regs);
        // Of the memory of one that waits for words nothing else counts.
        let compared = place.as_ref().filter(|place| place.waits_for().is_empty() && !place.is_counted_wait());
        let dead = compared.map(|place| self.dead_stacks(tid, place.regs.rsp)).unwrap_or_default();
        let holes: Vec<(u64, u64)> = holes.into_iter().chain(dead).collect();
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let (mut waits_for, mut patience) = (Vec::new(), Patience::FOR_WORDS);
        let stopped = place.map(|place| {
            let stopped = self.world.preempt_event(task, &place, &holes);
            task.stopping_ns = sys::own_cpu_time().saturating_sub(began);
            // One that may wait for another is not given more and more time, but what stopping it costs; some more while its memory changes.
            task.may_wait = place.may_wait;
            if place.may_wait {
                task.preempted = 0;
                task.progressed = if place.changed.is_empty() { 0 } else { task.progressed + 1 };
            }
            // Who is told by words that its wait is over has something to do then.
            (task.only_waits, task.looks) = (place.wait.is_some() && place.waits_for().is_empty(), 0);
            if let Some(wait) = &place.wait {
                task.space.borrow_mut().waits.learn(wait);
            }
            waits_for = place.waits_for().to_vec();
            if let Some(patient) = place.patient {
                task.space.borrow_mut().waits.learn_counted(&patient.counted);
                task.is_patient_again(&patient.words, patient.counted.pauses);
                (waits_for, patience) = (patient.words, Patience::counted(task.patient_ns));
            } else {
                task.patient_ns = 0;
            }
            stopped
        });
        // One that was queued already has a stop of its own, when it is not blocked.
        let waiting = task.held.iter().any(|held| !held.queued);
        if waiting {
            // Delivered right here: the thread goes on to the stop of the signal without running anything.
            if let Some((event, memory)) = stopped {
                self.world.commit(event, &memory);
            }
            task.boundary = Some(Boundary { recurs: true, ..Boundary::at(regs.rip, regs.rsp) });
            let pid = task.process.borrow().pid;
            for held in task.held.iter_mut().filter(|held| !held.queued) {
                held.queued = sys::tgkill(pid, tid, held.number).is_ok();
            }
            self.go_on(tid, 0);
            return;
        }
        if stopped.is_none() && task.undecided.is_some() {
            // What becomes of the call that was interrupted is told where it goes on, mostly by making it again, and gives its turn up. Where it
            // stands now is behind no event.
            return self.go_on(tid, 0);
        }
        task.pending = Some(match stopped {
            Some(stopped) => {
                task.boundary = None;
                Pending::Preempted(Box::new(stopped))
            }
            None => Pending::Start,
        });
        let next = if waits_for.is_empty() || self.world.turns.are_varied() || !task.held.is_empty() {
            self.world.turns.preempted(group, tid)
        } else {
            self.world.turns.park(group, tid, waits_for, patience)
        };
        self.grant(next);
    }

    /// Where calls of a group that are not committed yet may have written: addresses and lengths.
    fn unsettled_outputs(&self, group: u32) -> Vec<(u64, u64)> {
        /// More than any buffer: what a call might write at most.
        const ALL: i64 = 1 << 40;
        const MOST: usize = 4096;
        let mut holes = Vec::new();
        for task in self.tasks.values().filter(|task| task.space.borrow().group == group) {
            let Some(call) = &task.call else { continue };
            let result = match task.pending {
                Some(Pending::Leave(result, _)) => result,
                _ => ALL,
            };
            let mut memory = Memory::default();
            capture::exit(task.tid, Data::Paths, call, result, &mut memory);
            let outputs = memory.captures.iter().filter(|capture| capture.side == Side::Out && capture.addr != 0);
            holes.extend(outputs.map(|capture| (capture.addr, capture.wanted)));
        }
        holes.truncate(MOST);
        holes
    }

    /// Makes a stopped task what it would be without the recorder. The signal with which it may be let go; nothing when it
    /// has to come to its next stop first.
    pub(super) fn ready_to_leave(&mut self, tid: pid_t, signal: c_int) -> Option<c_int> {
        if !self.has_changed_programs() || !self.tasks.contains_key(&tid) {
            return Some(signal);
        }
        let signal = match self.sent_back(tid, signal) {
            Some(sent_back) => {
                self.stand_before_call(tid, &sent_back);
                0
            }
            None => signal,
        };
        let info = sys::syscall_info(tid).ok();
        if let Some(info) = info.filter(|info| info.op == sys::INFO_EXIT) {
            // With the result and the registers of the call that it believes to have made.
            self.moved(tid, info.first as i64)?;
        }
        if info.is_some_and(|info| matches!(info.op, sys::INFO_ENTRY | sys::INFO_SECCOMP)) {
            // What it has entered would be lost with other registers. Asked to stop, it soon comes back.
            let _ = sys::interrupt(tid);
            let _ = sys::resume(tid, Resume::Syscall, 0);
            return None;
        }
        let has_come_back = info.is_some_and(|info| info.op == sys::INFO_EXIT);
        if signal == 0 && !has_come_back && sys::has_raised_signal(tid) {
            // It comes next, and may be for the recorder alone: of an instruction that traps, or a call that is sent back.
            let _ = sys::resume(tid, Resume::Cont, 0);
            return None;
        }
        if self.stops_seldom() && self.leave_agent(tid, signal) {
            let _ = sys::interrupt(tid);
            return None;
        }
        let task = self.tasks.get_mut(&tid)?;
        let regs = sys::registers(tid).ok();
        let trapped = regs.is_some_and(|regs| match signal {
            libc::SIGSEGV if task.traps.learns => self.world.is_cpuid(tid, regs.rip),
            _ if !self.world.replayable => false,
            libc::SIGSEGV => {
                super::counters::kind_at(tid, regs.rip).is_some()
                    || self.world.is_cpuid(tid, regs.rip)
                    || sys::signal_info(tid).is_ok_and(|info| super::guarded::is_at_guard(task, &info))
            }
            libc::SIGILL => World::unseen_at(task, regs.rip).is_some(),
            _ => false,
        });
        if self.world.replayable {
            super::traps::give_back(&self.world, task);
        } else if task.traps.learns {
            World::end_learning(task);
        }
        let pid = task.process.borrow().pid;
        for held in task.held.drain(..).filter(|held| !held.queued) {
            let _ = sys::tgkill(pid, tid, held.number);
        }
        // The instruction that trapped runs when it comes again.
        let signal = if trapped { 0 } else { signal };
        if self.is_filtered() {
            self.hand_to_keeper(tid, signal);
        } else if self.stops_seldom() {
            self.remove_agent(tid);
        }
        Some(signal)
    }
}

impl World {
    /// The event that says where a thread was stopped in its own code, and its memory: all that tells this moment from others.
    fn preempt_event(&mut self, task: &mut Task, place: &Place, holes: &[(u64, u64)]) -> (RawEvent, Memory) {
        let tid = task.tid;
        let hides_agent = task.space.borrow().code.state == State::Present;
        // The agent's block is found through that register.
        let gs_base = if hides_agent { 0 } else { place.regs.gs_base };
        let regs = &user_regs_struct { gs_base, ..place.regs };
        self.decide(task, None);
        let mut memory = Memory::default();
        memory.add(0, Side::In, &sys::register_bytes(regs));
        // A counter in a register may point into the agent's memory, too.
        let agents = hides_agent.then_some((BASE, RESERVED_END - BASE));
        let apart: Vec<(u64, u64)> = holes.iter().copied().chain(agents).collect();
        let is_apart = |addr: u64, length: u64| {
            apart.iter().any(|(start, apart)| addr.wrapping_add(length) > *start && addr < start + apart)
        };
        // One that waits is in a state that stays: there is no other turn to be told from.
        let waits = place.wait.is_some();
        // One that waits and counts its turns is in a state that comes once, as nobody changes what it reads in its turn: registers, the stack
        // and what registers point to tell.
        let counts = place.is_counted_wait();
        let is_compared = !(waits || counts);
        let mut windows = if is_compared { state::windows(tid, &[], None) } else { Vec::new() };
        windows.retain(|window| !agents.is_some_and(|(start, length)| (start..start + length).contains(&window.at)));
        let answers = (is_compared && self.shown_cpu.is_none()).then(ProcessorAnswers::own);
        if !waits {
            memory.add(1, Side::In, &state::state_hash(tid, &windows, Uncounted { holes, answers }));
        }
        let is_told = |(addr, _): &&Word| !is_apart(*addr, 8);
        let waits_for = place.waits_for();
        let words = if waits_for.is_empty() { &place.changed } else { waits_for };
        let words: Vec<Word> = words.iter().filter(is_told).copied().collect();
        let shared = windows.iter().filter(|window| window.shared);
        let shared: Vec<(u64, u64)> = shared.map(|window| (window.at, window.length)).collect();
        let uncounted = if counts { &[state::EVERYTHING] } else { holes };
        for (slot, pairs) in [(2, &words[..]), (3, uncounted), (5, &shared[..])] {
            if !pairs.is_empty() {
                let words = pairs.iter().flat_map(|(addr, other)| [*addr, *other]);
                memory.add(slot, Side::In, &words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
            }
        }
        if waits_for.is_empty() {
            for (addr, bytes) in place::near(tid, place, &apart) {
                memory.add_at(4, Side::In, addr, &bytes);
            }
        }
        if let Some((addr, bytes)) = place::changing_code(tid, regs) {
            memory.add_at(4, Side::In, addr, &bytes);
        }
        let mut event = self.event(task, EventKind::Preempt, 0);
        event.nargs = 2;
        event.args[1] = answers.map_or(0, ProcessorAnswers::number);
        (event.ip, event.sp) = (regs.rip, regs.rsp);
        (event, memory)
    }

    fn signal_event(
        &mut self,
        task: &Task,
        signal: c_int,
        info: &SigInfo,
        becomes: u64,
        place: (u64, u64),
    ) -> RawEvent {
        let mut event = self.event(task, EventKind::Signal, signal);
        event.nargs = 3;
        event.args[0] = siginfo::code(info) as u64;
        event.args[1] = siginfo::pid(info) as u64;
        event.args[2] = becomes;
        (event.ip, event.sp) = place;
        event
    }
}

/// A raw result of a call that is made again when no handler runs, or one with `SA_RESTART`.
pub(super) const ERESTARTSYS: i64 = -512;
/// A raw result of a call that is made again when no handler runs.
pub(super) const ERESTARTNOHAND: i64 = -514;

/// Whether a call has ended because a signal came, whatever that is: a tracer has the kernel deliver also those that are ignored, which
/// interrupt nothing without one. Those that signal(7) names; sockets only where a time is set.
pub(super) fn is_interrupted_by_any(call: &Call, result: i64) -> bool {
    const EINTR: i64 = -4;
    result == EINTR
        && matches!(
            call.name(),
            "epoll_wait"
                | "epoll_pwait"
                | "epoll_pwait2"
                | "semop"
                | "semtimedop"
                | "io_uring_enter"
                | "rt_sigtimedwait"
                | "io_getevents"
                | "io_pgetevents"
                | "accept"
                | "accept4"
                | "connect"
                | "read"
                | "readv"
                | "recvfrom"
                | "recvmsg"
                | "recvmmsg"
                | "write"
                | "writev"
                | "sendto"
                | "sendmsg"
                | "sendmmsg"
        )
}

/// Has a thread that stands before a signal make the call again that it has just come back from, which was interrupted.
pub(super) fn make_again(tid: pid_t) -> bool {
    let made = sys::registers(tid)
        .and_then(|regs| sys::set_registers(tid, &user_regs_struct { rax: ERESTARTNOHAND as u64, ..regs }));
    made.is_ok()
}

/// Has a thread that has just come back from such a wait go on with it, as if no signal had come: it makes the call again, or is told that
/// the time is over. The raw result that it has now.
pub(super) fn wait_on(task: &Task, call: &Call, now: u64) -> Option<i64> {
    let result = if is_over(task, call, now) { limits::result(call) } else { ERESTARTNOHAND };
    let told = sys::registers(task.tid)
        .and_then(|regs| sys::set_registers(task.tid, &user_regs_struct { rax: result as u64, ..regs }));
    told.is_ok().then_some(result)
}

/// Whether the time is over that a call waits at most.
fn is_over(task: &Task, call: &Call, now: u64) -> bool {
    let until = task.waits_until.or_else(|| Some(call.start.saturating_add(limits::of(task, call)?)));
    until.is_some_and(|until| now >= until)
}

/// The same for a thread at the end of its call for which no signal is left: one that another thread has taken had woken it, as those that are
/// ignored do only under a tracer, or its time is over. The raw result that the call has then. Reads and writes may end so by themselves, where
/// programs serve files.
pub(super) fn wait_on_for_nothing(task: &Task, call: &Call, result: i64, now: u64) -> i64 {
    let may_be_own = || matches!(call.name(), "read" | "readv" | "write" | "writev") && task.waits_until.is_none();
    if !is_interrupted_by_any(call, result) || may_be_own() || has_deliverable(task.tid) {
        return result;
    }
    wait_on(task, call, now).unwrap_or(result)
}

/// Whether a signal waits for a thread that it does not block.
fn has_deliverable(tid: pid_t) -> bool {
    let status = sys::status_of(tid).unwrap_or_default();
    let mask = |field| mask_of(&status, field);
    (mask("SigPnd") | mask("ShdPnd")) & !mask("SigBlk") != 0
}

/// A mask of signals in such a text.
pub(super) fn mask_of(status: &str, field: &str) -> u64 {
    sys::status_field(status, field).and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0)
}

/// A thread is let go, perhaps behind a call that only the stop which it was asked for has interrupted: it makes that again. Where a handler
/// comes first the call fails all the same.
pub(super) fn make_stopped_again(tid: pid_t) {
    let Ok(info) = sys::syscall_info(tid).map_err(drop) else { return };
    if info.op == sys::INFO_EXIT
        && let Ok(regs) = sys::registers(tid)
        && is_interrupted_by_any(&Call::unknown(regs.orig_rax as u32, 0, 0), info.first as i64)
    {
        make_again(tid);
    }
}

/// Whether a process takes no notice of a signal that is about to be delivered.
pub(super) fn has_no_effect(task: &Task, signal: c_int) -> bool {
    match task.handler(signal) {
        Some(handler) if handler.is_caught() => false,
        Some(handler) if handler.addr == 1 => true,
        _ => signal != 0 && by_default(task, signal) == disposition::NONE,
    }
}

/// Whether a process ends with a signal that is about to be delivered.
pub(super) fn is_fatal(task: &Task, signal: c_int) -> bool {
    task.handler(signal).is_none_or(|handler| !handler.is_caught()) && by_default(task, signal) == disposition::FATAL
}

/// A signal is about to be delivered to a thread, perhaps in a trampoline: a handler finds the place where it would be without, which
/// tells some what to do (musl and glibc 2.41 cancel a thread only between two places of their own code).
pub(super) fn show_own_place(task: &Task, signal: c_int) {
    if task.handler(signal).is_some_and(|handler| handler.is_caught()) {
        let space = task.space.borrow();
        move_thread(task, &space.code, |ip| space.code.own_place(task.tid, ip));
    }
}

/// A thread has come back from a handler to a place of the program, perhaps where a jump is now.
pub(super) fn lead_from_handler(task: &Task) {
    let space = task.space.borrow();
    move_thread(task, &space.code, |ip| space.code.moved_place(task.tid, ip));
}

fn move_thread(task: &Task, code: &Code, to: impl Fn(u64) -> u64) {
    if !code.is_patched() {
        return;
    }
    if let Ok(regs) = sys::registers(task.tid)
        && regs.cs == USER_CS
        && to(regs.rip) != regs.rip
    {
        let _ = sys::set_registers(task.tid, &user_regs_struct { rip: to(regs.rip), ..regs });
    }
}

/// What happens by default, signal(7).
fn by_default(task: &Task, signal: c_int) -> u64 {
    match signal {
        libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT => disposition::NONE,
        _ if ignores(task.tid, signal) || is_spared(task, signal) => disposition::NONE,
        _ if stops(signal) => disposition::STOPS,
        _ => disposition::FATAL,
    }
}

/// Whether the kernel spares a process what a signal that is not handled does: the first one of a namespace, pid_namespaces(7). SIGSTOP
/// is obeyed when it comes from outside.
pub(super) fn is_spared(task: &Task, signal: c_int) -> bool {
    let is_from_inside = || sys::signal_info(task.tid).is_ok_and(|info| siginfo::pid(&info) != 0);
    task.process.borrow().is_first_of_namespace() && (signal != libc::SIGSTOP || is_from_inside())
}

/// Whether a signal stops a process that does nothing about it.
pub(super) fn stops(signal: c_int) -> bool {
    matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// Whether a process ignores a signal since before its program began.
fn ignores(tid: pid_t, signal: c_int) -> bool {
    is_in_mask(tid, "SigIgn", signal)
}

/// Whether a process has a handler for a signal.
pub(super) fn catches(tid: pid_t, signal: c_int) -> bool {
    is_in_mask(tid, "SigCgt", signal)
}

/// Whether a signal is in a mask of a thread, as proc_pid_status(5) tells it.
pub(super) fn is_in_mask(tid: pid_t, field: &str, signal: c_int) -> bool {
    let status = sys::status_of(tid).unwrap_or_default();
    mask_of(&status, field) & 1 << (signal - 1) != 0
}

/// Whether a thread that is looked at again and again is stepped through its code to see whether it waits, so many looks after it was let go
/// on: less and less often.
fn is_worth_stepping(looks: u32) -> bool {
    looks.checked_sub(LOOKS_TO_STEP).is_some_and(|more| more == 0 || more.is_power_of_two())
}

/// Whether a stopped thread is about to enter a call that was sent back (`dispatch.rs`): where it stands looks like the place behind that
/// call, maybe that of its last event, from which it has come round.
fn is_sent_back(task: &Task) -> bool {
    task.is_armed.get() && sys::has_raised_signal(task.tid)
}

/// Whether a thread has certainly run nothing since its last event.
pub(super) fn stands_at(task: &Task, (ip, sp): (u64, u64)) -> bool {
    let stands = |boundary: Boundary| boundary.ip == ip && boundary.sp == sp && (!boundary.recurs || boundary.steps);
    task.boundary.is_some_and(stands) && !is_sent_back(task)
}

/// Whether a siginfo is that of a signal which this process has queued: by tgkill(2), or by going on from a stop with it.
fn is_queued_again(info: &SigInfo) -> bool {
    match siginfo::code(info) {
        siginfo::SI_KERNEL => true,
        _ => is_own(info),
    }
}

/// Whether the recorder has sent a signal.
pub(super) fn is_own(info: &SigInfo) -> bool {
    siginfo::code(info) == siginfo::SI_TKILL && siginfo::pid(info) == std::process::id() as c_int
}

/// Keeps a signal that came while a thread was led on, maybe one that had been queued again and whose stop that was.
pub(super) fn hold_again(task: &mut Task, number: c_int, info: SigInfo) {
    if !takes_back(&mut task.held, number, &info) {
        hold(task, number, info);
    }
}

/// Whether a signal that has come is one that had been queued again; it is no longer, then.
fn takes_back(held: &mut [HeldSignal], number: c_int, info: &SigInfo) -> bool {
    let index = queued_again(held, number, info);
    if let Some(index) = index {
        held[index].queued = false;
    }
    index.is_some()
}

/// Which of these signals has come, if it is one that had been queued again. Of the old ones one is pending at most, whoever has sent it.
fn queued_again(held: &[HeldSignal], number: c_int, info: &SigInfo) -> Option<usize> {
    let index = held.iter().position(|held| held.number == number && held.queued);
    index.filter(|_| number < SIGRTMIN || is_queued_again(info))
}

/// Takes a signal from those that were queued again, when it has come: its siginfo.
pub(super) fn take_held(task: &mut Task, number: c_int, info: &SigInfo) -> Option<SigInfo> {
    let index = queued_again(&task.held, number, info)?;
    Some(task.held.remove(index).info)
}

/// The first of the signals that are pending as often as they are sent, signal(7).
const SIGRTMIN: c_int = 32;

/// Keeps a signal for the next boundary. One of the old signals is pending once, however often it is sent, signal(7).
pub(super) fn hold(task: &mut Task, number: c_int, info: SigInfo) {
    if number < SIGRTMIN && task.held.iter().any(|held| held.number == number) {
        return;
    }
    if task.held.is_empty() {
        task.held_since = sys::monotonic();
    }
    task.held.push(HeldSignal { number, info, queued: false });
}

/// The next held signal, to be queued by going on with it from a syscall stop; 0 for none.
pub(super) fn queue_held(task: &mut Task) -> c_int {
    let Some(held) = task.held.iter_mut().find(|held| !held.queued) else { return 0 };
    held.queued = true;
    held.number
}

/// Length of the signal frame at the stack pointer, as far as the kernel has written it: registers, siginfo and the
/// floating-point state behind them (asm/sigframe.h, asm/sigcontext.h). `before` is the stack pointer that was interrupted.
fn frame_length(capturer: &Capturer<'_>, regs: &libc::user_regs_struct, before: u64) -> u64 {
    /// Most that a frame can have on any processor: 11 KiB with AMX.
    const MOST: u64 = 16 << 10;
    const RED_ZONE: u64 = 128;
    let same_stack = before.wrapping_sub(regs.rsp);
    if (1..=MOST).contains(&same_stack) {
        let zone = if regs.cs == USER_CS { RED_ZONE } else { 0 };
        return same_stack.saturating_sub(zone);
    }
    // On another stack: up to the end of the floating-point state, whose address the context has.
    let (at, word) = if regs.cs == USER_CS { (8 + 40 + 184, 8) } else { (0, 4) };
    if word == 4 {
        return 0;
    }
    let state = capturer.peek_word(regs.rsp.wrapping_add(at)).unwrap_or(0);
    // struct _fpx_sw_bytes at offset 464: magic, extended size.
    let size = capturer.peek_u32(state.wrapping_add(468)).map_or(0, u64::from);
    let length = state.wrapping_add(size).wrapping_sub(regs.rsp);
    if length <= MOST { length } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_text_hides_no_mask() {
        let ignores_pipes = || {
            // SAFETY: the name is a string with its end; the number of this thread takes no argument.
            let tid = unsafe {
                libc::prctl(libc::PR_SET_NAME, c"\xff\xfe".as_ptr());
                libc::gettid()
            };
            ignores(tid, libc::SIGPIPE)
        };
        // Every Rust program does.
        assert!(std::thread::spawn(ignores_pipes).join().unwrap());
    }

    #[test]
    fn a_signal_that_was_queued_and_not_taken_is_held_again() {
        let queued = |number| HeldSignal { number, info: [0; 128], queued: true };
        let mut own = [0; 128];
        own[8..12].copy_from_slice(&siginfo::SI_TKILL.to_ne_bytes());
        own[16..20].copy_from_slice(&(std::process::id() as c_int).to_ne_bytes());
        let of_another = [0; 128];
        let mut held = [queued(libc::SIGUSR1), queued(SIGRTMIN + 2)];
        assert!(!takes_back(&mut held, libc::SIGUSR2, &own));
        // Of one of the old signals there is only one, whoever has sent it; of the others each one counts.
        assert!(takes_back(&mut held, libc::SIGUSR1, &of_another) && !held[0].queued);
        assert!(!takes_back(&mut held, SIGRTMIN + 2, &of_another) && held[1].queued);
        assert!(takes_back(&mut held, SIGRTMIN + 2, &own) && !held[1].queued);
        assert!(!takes_back(&mut held, SIGRTMIN + 2, &own));
    }
}
