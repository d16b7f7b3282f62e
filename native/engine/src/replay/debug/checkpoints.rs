//! States of a debugged replay that are kept on the way, so that going back need not begin at the beginning.
//!
//! A state is kept between two events, where all threads stand still: of each process a copy is left, with one thread, and what the others
//! have in registers is noted. A copy costs as much memory as is written to afterwards, by the program or by another one. To go back there
//! is to copy the copies and to make their threads anew, so that a state can be gone back to as often as one likes.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use libc::{pid_t, user_regs_struct};

use super::Halt;
use super::copies::{self, Kept};
use super::place::Segment;
use super::target::States;
use crate::memory::Memory;
use crate::replay::births::NEW_THREAD;
use crate::replay::event::Event;
use crate::replay::remote::{Remote, RemoteCall, get, put};
use crate::replay::run::Runner;
use crate::replay::shared::Content;
use crate::replay::tracee::{Actions, At, Process, Space, Thread};
use crate::replay::watch::lost;
use crate::replay::zygote::{self, new_task};
use crate::sys::{self, USER_CS};

/// States that are kept, where there is memory for them.
const MOST: usize = 24;
/// To keep a state takes at most one part in so many of the time of the replay.
const COSTS: u64 = 20;
/// Threads and processes of a state that is kept: each of them has to be made anew.
const MOST_THREADS: usize = 256;
/// Shared memory that is kept with a state.
const MOST_SHARED: u64 = 32 << 20;
/// The part of the memory that is free which copies may take.
const PART_OF_MEMORY: u64 = 4;

/// A thread as it stands in a state.
struct Standing {
    index: u32,
    at: At,
    regs: user_regs_struct,
    /// Its vector registers, where its copy does not have them.
    vectors: Vec<u8>,
    /// Its signal stack (`struct sigaltstack`), the same.
    signal_stack: [u8; SIGNAL_STACK_BYTES],
    /// The signals that the kernel blocks for it; and what is known without asking.
    blocked: u64,
    mask: Option<u64>,
    waiting_mask: Option<u64>,
    memory: Option<Box<Memory>>,
    cpu: Option<usize>,
}

/// `struct sigaltstack`: address, flags, size.
const SIGNAL_STACK_BYTES: usize = 24;

/// A copy of a process, which stands still; it ends with this.
struct Copy(pid_t);

impl Drop for Copy {
    fn drop(&mut self) {
        copies::dismiss(self.0);
    }
}

/// A process as it is in a state. The first of its threads is the one that the copy has.
struct Former {
    copy: Copy,
    threads: Vec<Standing>,
    actions: Actions,
    space: Space,
    stack_room: u64,
    kept: Vec<Kept>,
}

/// A state of the replay.
struct Checkpoint {
    /// Number of the event before which it is.
    seq: u64,
    /// How far the replay had come, in nanoseconds that it takes.
    position: u64,
    processes: Vec<Former>,
    shared: Content,
    is_own: Vec<bool>,
    ran_last: HashMap<u32, u32>,
    next_group: u32,
    /// Bytes of output that were handed on.
    written: u64,
    /// The last segment of each thread.
    segments: HashMap<u32, Segment>,
}

/// The states that are kept.
pub struct Checkpoints {
    /// Nanoseconds of replay from one to the next; none are kept when 0.
    every: u64,
    /// In their order.
    all: Vec<Checkpoint>,
    /// How far the replay has come, and when that was looked at last.
    position: u64,
    looked: u64,
    /// Where the next one is due.
    due: u64,
    /// How often the replay has gone back to one, and to the beginning.
    passes: [u64; 2],
}

impl Checkpoints {
    /// `every`: nanoseconds of replay from one to the next; none are kept when 0.
    #[must_use]
    pub fn new(every: u64) -> Checkpoints {
        Checkpoints { every, all: Vec::new(), position: 0, looked: sys::monotonic(), due: every, passes: [0; 2] }
    }

    /// The replay has gone on until now.
    fn goes_on(&mut self) {
        let now = sys::monotonic();
        self.position += now.saturating_sub(self.looked);
        self.looked = now;
    }

    /// What was until now was no replay: the user had the word.
    pub fn resumes(&mut self) {
        self.looked = sys::monotonic();
    }

    /// All begins anew at a position.
    fn begins_at(&mut self, position: u64) {
        self.position = position;
        self.due = position + self.every;
        self.resumes();
    }

    /// Whether a state is to be kept before an event.
    fn is_due(&mut self, seq: u64) -> bool {
        if self.every == 0 {
            return false;
        }
        self.goes_on();
        self.position >= self.due && self.all.binary_search_by_key(&seq, |checkpoint| checkpoint.seq).is_err()
    }

    /// Makes room for another state where only `most` may be kept.
    fn make_room(&mut self, most: usize) {
        while self.all.len() >= most.max(1) {
            let positions: Vec<u64> = self.all.iter().map(|checkpoint| checkpoint.position).collect();
            self.all.remove(least_useful(&positions, self.position));
        }
    }

    fn add(&mut self, checkpoint: Checkpoint) {
        let at = self.all.partition_point(|other| other.seq < checkpoint.seq);
        self.all.insert(at, checkpoint);
    }

    /// The last state from which an event and all behind it can be seen, or `back` of them before it.
    fn last_before(&self, seq: u64, back: usize) -> Option<usize> {
        let behind = self.all.partition_point(|checkpoint| checkpoint.seq <= seq);
        behind.checked_sub(1 + back)
    }

    /// What there is, for the user.
    #[must_use]
    pub fn told(&self) -> States {
        States { before: self.all.iter().map(|checkpoint| checkpoint.seq).collect(), passes: self.passes }
    }

    /// None are kept from now on.
    fn give_up(&mut self) {
        self.all.clear();
        self.every = 0;
    }
}

/// Which of some states, by their positions, is missed least: what is between its neighbours is short for how far away it is.
fn least_useful(positions: &[u64], now: u64) -> usize {
    let gap = |at: usize| {
        let before = at.checked_sub(1).map_or(0, |before| positions[before]);
        let behind = positions.get(at + 1).copied().unwrap_or(positions[at].max(now));
        behind.saturating_sub(before) as f64
    };
    let distance = |at: usize| positions[at].abs_diff(now).max(1) as f64;
    let use_of = |at: usize| gap(at) / distance(at);
    (0..positions.len()).min_by(|one, other| use_of(*one).total_cmp(&use_of(*other))).unwrap_or(0)
}

/// How many copies of so many bytes there may be.
fn most_copies(available: u64, bytes: u64) -> usize {
    let most = available / PART_OF_MEMORY / bytes.max(1);
    usize::try_from(most).unwrap_or(MOST).min(MOST)
}

impl Runner<'_> {
    /// Keeps the state before an event, if it is time for that and it can be.
    pub(in crate::replay) fn keep_state(&mut self, event: &Event<'_>) -> Result<(), Halt> {
        let Some(debugger) = &self.debugger else { return Ok(()) };
        if !debugger.borrow_mut().checkpoints.is_due(event.seq()) {
            return Ok(());
        }
        let started = sys::monotonic();
        let most = self.room_for_states();
        let mut kept = None;
        if most > 0 && self.can_be_kept() {
            debugger.borrow_mut().checkpoints.make_room(most);
            kept = match self.state_before(event.seq()) {
                // There may be no more processes, or no more memory. The replay needs none of it.
                Err(Halt::Failed(_)) => {
                    self.keep_no_states();
                    return Ok(());
                }
                kept => kept?,
            };
        }
        let Some(debugger) = &self.debugger else { return Ok(()) };
        let mut debugger = debugger.borrow_mut();
        let segments = debugger.course.segments().clone();
        let checkpoints = &mut debugger.checkpoints;
        let cost = sys::monotonic() - started;
        checkpoints.resumes();
        checkpoints.due = checkpoints.position + checkpoints.every.max(cost * COSTS);
        if let Some(mut kept) = kept {
            (kept.position, kept.segments) = (checkpoints.position, segments);
            checkpoints.add(kept);
        }
        Ok(())
    }

    fn keep_no_states(&self) {
        if let Some(debugger) = &self.debugger {
            debugger.borrow_mut().checkpoints.give_up();
        }
    }

    /// The replay goes back as far as its course needs: the event with which it begins.
    ///
    /// # Errors
    /// When the kernel does not make the processes.
    pub(super) fn go_back(&mut self) -> Result<u64, Halt> {
        let Some(debugger) = &self.debugger else { return Ok(0) };
        debugger.borrow_mut().begin_anew();
        let found = {
            let debugger = debugger.borrow();
            let (seq, back) = debugger.course.needs();
            let at = debugger.checkpoints.last_before(seq, back);
            at.filter(|at| self.shared.can_go_back(&debugger.checkpoints.all[*at].shared))
        };
        let mut checkpoints = std::mem::replace(&mut debugger.borrow_mut().checkpoints, Checkpoints::new(0));
        let begun = match found.map(|at| &checkpoints.all[at]) {
            Some(checkpoint) => match self.restore(checkpoint) {
                Err(Halt::Failed(_)) => None,
                restored => {
                    restored?;
                    Some((checkpoint.seq, checkpoint.position, checkpoint.segments.clone()))
                }
            },
            None => None,
        };
        if begun.is_none() {
            self.begin_anew();
        }
        let (seq, position, segments) = begun.unwrap_or_default();
        checkpoints.begins_at(position);
        checkpoints.passes[usize::from(seq == 0)] += 1;
        let watched = {
            let Some(debugger) = &self.debugger else { return Ok(0) };
            let mut debugger = debugger.borrow_mut();
            debugger.checkpoints = checkpoints;
            debugger.course.begins_from((seq > 0).then_some(seq), segments);
            let own = self.threads.iter().flatten().find(|thread| debugger.sees(thread.index, u64::MAX));
            own.map(|thread| thread.pid())
        };
        if let Some(pid) = watched {
            self.look_at_watched(pid)?;
        }
        Ok(seq)
    }

    /// How many states there is memory for.
    fn room_for_states(&self) -> usize {
        let bytes: Option<u64> = self.processes.keys().map(|pid| sys::own_memory(*pid)).sum();
        bytes.map_or(0, |bytes| most_copies(sys::available_memory(), bytes))
    }

    /// Whether the state can be made again from copies of the processes: each has its memory alone.
    fn can_be_kept(&self) -> bool {
        let stands = |thread: &Thread| {
            let has_registers = matches!(thread.at, At::Held | At::Call(_) | At::Signal(..));
            has_registers && thread.own_registers().is_some_and(|regs| regs.cs == USER_CS)
        };
        let spaces: HashSet<_> = self.processes.values().map(|process| Rc::as_ptr(&process.borrow().space)).collect();
        let threads = || self.threads.iter().flatten();
        spaces.len() == self.processes.len()
            && (1..=MOST_THREADS).contains(&threads().count())
            && threads().all(|thread| stands(thread))
    }

    /// The state before an event, if not too much memory is shared. Its position, and the segments of threads, are for others to say.
    fn state_before(&mut self, seq: u64) -> Result<Option<Checkpoint>, Halt> {
        let Some(shared) = self.shared.content(MOST_SHARED) else { return Ok(None) };
        let mut processes: HashMap<pid_t, Former> = HashMap::new();
        for thread in self.threads.iter_mut().flatten() {
            let pid = thread.pid();
            match processes.get_mut(&pid) {
                Some(former) => former.threads.push(standing(&self.remote, thread, false)?),
                None => {
                    processes.insert(pid, former(&self.remote, thread)?);
                }
            }
        }
        Ok(Some(Checkpoint {
            seq,
            position: 0,
            processes: processes.into_values().collect(),
            shared,
            is_own: self.is_own.clone(),
            ran_last: self.ran_last.clone(),
            next_group: self.next_group,
            written: self.job.merge.written(),
            segments: HashMap::new(),
        }))
    }

    /// Makes a state the present one.
    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), Halt> {
        self.end_all();
        let gone = self.shared.go_back(&checkpoint.shared).map_err(|error| lost(0, &error))?;
        for (dev, ino) in gone {
            self.zygote.forget(zygote::Content::Shared(dev, ino));
        }
        self.is_own.clone_from(&checkpoint.is_own);
        self.ran_last.clone_from(&checkpoint.ran_last);
        self.next_group = checkpoint.next_group;
        self.job.merge.go_back(checkpoint.written);
        checkpoint.processes.iter().try_for_each(|former| self.make_again(former))
    }

    /// Makes a process as it was.
    fn make_again(&mut self, former: &Former) -> Result<(), Halt> {
        let Some((first, others)) = former.threads.split_first() else { return Ok(()) };
        let source = former.copy.0;
        let pid = copies::copy(&self.remote, (source, source), &first.regs, &[])?;
        let process = self.add_process(Process {
            pid,
            tids: vec![pid],
            actions: Rc::new(former.actions.clone().into()),
            space: Rc::new(former.space.clone().into()),
            stack_room: former.stack_room,
            has_ended: false,
        });
        // What it keeps from its children its copy has.
        let advise: Vec<RemoteCall> = former.kept.iter().map(|kept| kept.call(false)).collect();
        self.remote.table(pid, pid, &first.regs, &advise)?;
        for standing in others {
            let clone = RemoteCall::new(libc::SYS_clone, &[NEW_THREAD]);
            let tid = new_task(self.remote.one(pid, pid, &first.regs, &clone)?)?;
            process.borrow_mut().tids.push(tid);
            self.remote.await_birth(tid)?;
            self.give_signal_stack(pid, tid, standing)?;
            sys::set_vector_registers(tid, &standing.vectors).map_err(|error| lost(tid, &error))?;
            self.stand(Thread::new(standing.index, tid, Rc::clone(&process)), standing, first.cpu)?;
        }
        self.stand(Thread::new(first.index, pid, process), first, first.cpu)
    }

    /// A new thread stands as another one did. `cpu`: what it has inherited.
    fn stand(&mut self, mut thread: Thread, standing: &Standing, cpu: Option<usize>) -> Result<(), Halt> {
        let failed = |error: std::io::Error| lost(thread.tid, &error);
        sys::set_registers(thread.tid, &standing.regs).map_err(failed)?;
        sys::set_signal_mask(thread.tid, standing.blocked).map_err(failed)?;
        thread.at = standing.at;
        if let At::Signal(..) = thread.at {
            // The kernel does not stop it for that one: it has to be sent before it can be delivered.
            thread.replace_registers(standing.regs);
        }
        (thread.mask, thread.waiting_mask) = (standing.mask, standing.waiting_mask);
        thread.memory.clone_from(&standing.memory);
        thread.cpu = cpu;
        thread.bind(standing.cpu);
        if let Some(place) = self.threads.get_mut(standing.index as usize) {
            *place = Some(Box::new(thread));
        }
        Ok(())
    }

    /// The kernel gives no thread the signal stack of the one that has made it, sigaltstack(2).
    fn give_signal_stack(&self, pid: pid_t, tid: pid_t, standing: &Standing) -> Result<(), Halt> {
        const SS_ONSTACK: u8 = 1;
        const SS_DISABLE: u8 = 2;
        const FLAGS: usize = 8;
        let mut bytes = standing.signal_stack;
        if bytes[FLAGS] & SS_DISABLE != 0 {
            return Ok(());
        }
        bytes[FLAGS] &= !SS_ONSTACK;
        let data = self.remote.stub.data();
        put(tid, data, &bytes)?;
        // It may be executing there, and cannot be given one then.
        let elsewhere = user_regs_struct { rsp: 0, ..standing.regs };
        self.remote.one(pid, tid, &elsewhere, &RemoteCall::new(libc::SYS_sigaltstack, &[data, 0])).map(drop)
    }
}

/// A process as it is, with the one of its threads that its copy has.
fn former(remote: &Remote, thread: &mut Thread) -> Result<Former, Halt> {
    let standing = standing(remote, thread, true)?;
    let (pid, tid) = (thread.pid(), thread.tid);
    let kept = Kept::of(thread);
    let copy = copies::copy(remote, (pid, tid), &standing.regs, &kept).map(Copy);
    sys::set_registers(tid, &standing.regs).map_err(|error| lost(tid, &error))?;
    let process = thread.process.borrow();
    let (actions, space) = (process.actions.borrow().clone(), process.space.borrow().clone());
    Ok(Former { copy: copy?, threads: vec![standing], actions, space, stack_room: process.stack_room, kept })
}

/// A thread as it stands. `is_copied`: by the kernel.
fn standing(remote: &Remote, thread: &mut Thread, is_copied: bool) -> Result<Standing, Halt> {
    let tid = thread.tid;
    let failed = |error: std::io::Error| lost(tid, &error);
    // Calls are made in it, so that the kernel does not stop it for its signal any more, if it does.
    let regs = *thread.registers()?;
    let (mut vectors, mut signal_stack) = (Vec::new(), [0; SIGNAL_STACK_BYTES]);
    if !is_copied {
        vectors = vec![0; sys::MOST_VECTOR_STATE];
        let length = sys::vector_registers(tid, &mut vectors).map_err(failed)?;
        vectors.truncate(length);
        let data = remote.stub.data();
        let ask = RemoteCall::new(libc::SYS_sigaltstack, &[0, data]);
        remote.one(thread.pid(), tid, &regs, &ask)?;
        get(tid, data, &mut signal_stack)?;
    }
    sys::set_registers(tid, &regs).map_err(failed)?;
    Ok(Standing {
        index: thread.index,
        at: thread.at,
        regs,
        vectors,
        signal_stack,
        blocked: sys::signal_mask(tid).map_err(failed)?,
        mask: thread.mask,
        waiting_mask: thread.waiting_mask,
        memory: thread.memory.clone(),
        cpu: thread.cpu,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_away_is_kept_with_larger_gaps() {
        let mut positions: Vec<u64> = Vec::new();
        let mut last = 0;
        for now in (10..10_000).step_by(10) {
            if positions.len() >= MOST {
                positions.remove(least_useful(&positions, now));
            }
            positions.push(now);
            last = now;
        }
        assert!(positions.is_sorted());
        let ends = positions.iter().copied().chain([last]);
        let gaps: Vec<(u64, u64)> = std::iter::once(0)
            .chain(positions.iter().copied())
            .zip(ends)
            .map(|(from, to)| (last - from, to - from))
            .collect();
        // From any moment on the way the last state is not further than a part of how far back the moment is.
        assert!(gaps.iter().all(|(back, gap)| *gap <= back / 2 + 20), "{gaps:?}");
    }

    #[test]
    fn states_near_the_present_are_kept_also_when_it_goes_back() {
        let positions: Vec<u64> = (1..=MOST as u64).map(|at| at * 1000).collect();
        // At a place in the middle.
        let gone = positions[least_useful(&positions, 12_500)];
        assert!(!(10_000..15_000).contains(&gone), "{gone}");
    }

    #[test]
    fn copies_take_a_part_of_the_memory_that_is_free() {
        assert_eq!(most_copies(1 << 40, 1 << 20), MOST);
        assert_eq!(most_copies(8 << 30, 1 << 30), 2);
        assert_eq!(most_copies(1 << 30, 1 << 30), 0);
        assert_eq!(most_copies(1 << 30, 0), MOST);
    }

    #[test]
    fn the_next_one_is_due_when_the_replay_has_gone_on_for_long_enough() {
        let mut none = Checkpoints::new(0);
        none.position = u64::MAX / 2;
        assert!(!none.is_due(7));
        let mut checkpoints = Checkpoints::new(u64::MAX / 4);
        assert!(!checkpoints.is_due(7));
        checkpoints.position = u64::MAX / 3;
        assert!(checkpoints.is_due(7));
        checkpoints.begins_at(u64::MAX / 3);
        assert!(!checkpoints.is_due(7));
        assert_eq!(checkpoints.last_before(u64::MAX, 0), None);
    }
}
