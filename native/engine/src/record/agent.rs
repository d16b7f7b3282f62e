//! Recording with the agent: records of the rings become events, sites are patched as they are found, and threads that a
//! signal finds in the agent are moved out of it.
//!
//! At every stop of any task all rings are emptied first, so that a call that stops is committed behind those that its
//! process has made before.

mod names;
mod presence;
mod records;
mod sites;
mod told;
mod twins;

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;

use libc::{c_int, pid_t};
use trace_format::ring::refuse;
use trace_format::table::Arch;

use self::names::Names;
pub(super) use self::records::ToldFile;
pub(super) use self::sites::forget_code;
pub(super) use self::told::{opens_to_read, refusals};
use super::leaving::takes_place;
use super::strict;
use super::{Backend, Recorder};
use crate::agent::clock::Clock;
use crate::agent::code::State;
use crate::agent::known::{Known, Part};
use crate::agent::ring::{Arenas, Ring};
use crate::agent::twin::Twin;
use crate::agent::window::Refused;
use crate::agent::{Image, table};
use crate::capture::Call;
use crate::image;
use crate::objects::Identity;
use crate::plan::{self, Effect};
use crate::sys;
use crate::task::Task;

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
    /// Identities of the descriptors that the present record's call has opened.
    told: Vec<(c_int, Identity)>,
    /// The file that the present record's call has mapped.
    pub told_mapped: Option<ToldFile>,
    /// Where the present call has mapped code whose twin is there now.
    pub twin_put: Option<(u64, Rc<Twin>)>,
    /// Of files to which paths lead through links.
    pub names: Names,
    /// Twins of libraries.
    libraries: Vec<(Part, Rc<Twin>)>,
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
    /// How often the agent has come to memory that is not there, which stops it: a program's pointer was bad.
    pub faults: u64,
    /// By number of the call.
    pub trapped: HashMap<u32, u64>,
    pub patched: u64,
    pub refused: HashMap<Refused, u64>,
    /// How many processes it has left, or has not come to, and why.
    pub left: HashMap<String, u64>,
}

/// So many calls of all programs have to have stopped them before it comes to the first, unless it was asked for: to find out where a
/// library's code jumps to takes as long as they did, once in a recording.
const WORTH_FIRST: u32 = 400;
/// The same for a ring of a process that found none when it was forked.
const WORTH_RING: u32 = 12;
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
            known: Known::new(backend == Backend::EagerAgent),
            arenas: Arenas::default(),
            call_in_vdso: None,
            clock: Clock::new(replayable),
            told: Vec::new(),
            told_mapped: None,
            twin_put: None,
            names: Names::default(),
            libraries: Vec::new(),
            ends: VecDeque::new(),
            counts: Counts::default(),
            eager: backend == Backend::EagerAgent,
            waits: if backend == Backend::Usual { WORTH_FIRST } else { 0 },
            bytes: Vec::new(),
        }
    }

    /// What the present record tells of a descriptor that its call has opened.
    pub fn take_told(&mut self, fd: c_int) -> Option<Identity> {
        let index = self.told.iter().position(|(told, _)| *told == fd)?;
        Some(self.told.swap_remove(index).1)
    }

    /// Where the instructions end whose calls are the agent's.
    pub fn passing(&self) -> Range<u64> {
        self.image.calls_end()
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
        let Counts { in_process, faults, trapped, patched, refused, left } = &self.counts;
        let all: u64 = trapped.values().sum();
        let mut text = format!("in_process={in_process}\ntrapped={all}\npatched={patched}\nfaults={faults}");
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

impl Recorder {
    /// A task has come back from a call that stopped it, which has been committed while `World::tends`: the time to look after its agent, and
    /// to write what its loader is spared where nothing was mapped that has it.
    pub(super) fn tend(&mut self, tid: pid_t, call: &Call, result: i64) {
        self.world.tends = false;
        self.tend_agent(tid, call, result);
        self.write_spared(tid);
    }

    fn tend_agent(&mut self, tid: pid_t, call: &Call, result: i64) {
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
        if !is_own || sys::is_restart(result) {
            return;
        }
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
        self.stopped_once_more(tid, call, result);
    }

    /// A call that the agent might have made has stopped a task: the agent comes to it when that has happened often enough, or what it runs
    /// is patched.
    fn stopped_once_more(&mut self, tid: pid_t, call: &Call, result: i64) {
        let (Some(agent), Some(task)) = (&mut self.world.agent, self.tasks.get_mut(&tid)) else { return };
        agent.waits = agent.waits.saturating_sub(1);
        task.trapped += 1;
        let is_enough = agent.eager || task.trapped >= WORTH_RING;
        let is_agents = table::has(&agent.table, call.number);
        let effect = call.plan.map(|plan| plan.effect);
        let (has_ring, state) = (task.ring.is_some(), task.space.borrow().code.state);
        if state == State::Present && has_ring {
            self.catch_up(tid);
        }
        match state {
            State::Absent
                if effect == Some(Effect::Exec) && self.may_have_agent(tid) && self.is_worth_from_start(tid) =>
            {
                let begins = sys::registers(tid).map_or(0, |regs| regs.rip);
                let twin = self.twin_to_begin(tid, begins);
                self.inject(tid, twin);
                if let Some(task) = self.tasks.get(&tid) {
                    task.space.borrow_mut().code.from_start = true;
                }
                self.write_spared(tid);
                self.patch_known(tid, begins);
            }
            State::Absent => self.come_to(tid),
            State::Present if !has_ring && is_enough => self.equip(tid),
            State::Present if has_ring && is_agents => {
                self.patch_known(tid, call.ip);
                if effect == Some(Effect::Mmap) && result >= 0 && self.runs_mapped(tid, result as u64) {
                    self.patch_known(tid, result as u64);
                }
                self.patch_if_worth(tid, call);
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

    /// A task has entered a call. One that may take the agent's pages away has it leave the process before.
    pub(super) fn guard(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid).filter(|_| self.world.agent.is_some()) else { return };
        if task.space.borrow().code.is_patched() {
            self.uncover_own(tid);
        }
        self.uncover_looked_at(tid);
        self.learn_last(tid);
        let Some(task) = self.tasks.get(&tid) else { return };
        if !task.call.as_ref().is_some_and(takes_place) {
            return;
        }
        if task.space.borrow().code.state == State::Present {
            self.give_up(tid);
        }
        let stays = self.tasks.get(&tid).is_some_and(|task| task.space.borrow().code.is_patched());
        if let Some(task) = self.tasks.get_mut(&tid).filter(|_| stays) {
            // Without those pages the program could not go on: the call is not made, and has an error that it may have anyway.
            self.world.skip(task, -i64::from(libc::ENOMEM));
            self.world.note("a call that would have taken the agent's pages from a program was refused with ENOMEM: it could not leave");
        }
    }
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

/// A call after which the program's own filter decides before the recorder's does. Libraries ask what the kernel can do by calls that
/// surely fail, with no filter or with arguments that a mode does not take (seccomp(2)): after those nothing is otherwise.
pub(super) fn filters(call: &Call) -> bool {
    let has_filter = call.args[2] != 0;
    match call.name() {
        "seccomp" => strict::is_asked_for(call) || (call.int(0) as u32 == libc::SECCOMP_SET_MODE_FILTER && has_filter),
        "prctl" if call.int(0) == libc::PR_SET_SECCOMP => {
            strict::is_asked_for(call) || (call.args[1] == u64::from(libc::SECCOMP_MODE_FILTER) && has_filter)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use trace_format::syscalls::SYSCALLS;
    use trace_format::table::Arch;

    use super::filters;
    use crate::capture::Call;
    use crate::sys::SyscallInfo;

    #[test]
    fn a_call_that_only_asks_for_what_the_kernel_can_do_filters_nothing() {
        const FILTER: u64 = 0x1000;
        const TSYNC: u64 = libc::SECCOMP_FILTER_FLAG_TSYNC;
        const SET_SECCOMP: u64 = libc::PR_SET_SECCOMP as u64;
        let is_filter = |name: &str, args: [u64; 3]| {
            let row = SYSCALLS.iter().find(|row| row.name == name).expect("a row");
            let number = row.number.on(Arch::X86_64).expect("a number");
            let args = [args[0], args[1], args[2], 0, 0, 0];
            filters(&Call::entered(&SyscallInfo::entry(0xc000_003e, (0, 0), u64::from(number), args)))
        };
        for args in [[0, 0, 0], [1, 0, FILTER], [1, TSYNC, FILTER]] {
            assert!(is_filter("seccomp", args), "{args:x?}");
        }
        // Of the mode without a filter, of a flag, of an action.
        for args in [[0, 1, 0], [1, 0, 0], [1, TSYNC, 0], [2, 0, FILTER], [3, 0, FILTER]] {
            assert!(!is_filter("seccomp", args), "{args:x?}");
        }
        for args in [[SET_SECCOMP, 1, 0], [SET_SECCOMP, 2, FILTER]] {
            assert!(is_filter("prctl", args), "{args:x?}");
        }
        for args in [[SET_SECCOMP, 2, 0], [SET_SECCOMP, 0, 0], [libc::PR_GET_SECCOMP as u64, 0, 0]] {
            assert!(!is_filter("prctl", args), "{args:x?}");
        }
    }
}
