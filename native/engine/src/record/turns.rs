//! Taking turns: at any time at most one thread of a group runs code of its own, so that the order of events is the
//! order in which the pieces of code between them ran.
//!
//! A group is an address space, or several that are joined by memory that one of them may write and another one sees.
//! A thread gives its turn up when it enters a call that may wait, when its slice is over, and when it ends; a thread that
//! comes back from a call takes the turn, or stays stopped until it is handed over. A call is committed when its thread
//! goes on, so the order of commits tells everything and nothing else needs to be stored. A thread that only waits in a loop for memory
//! to change, as pools of workers do for some time, is given no turn before it has changed. A recording that explores schedules
//! has one group, whose turns are drawn (`chaos.rs`).

use std::collections::VecDeque;

use libc::pid_t;
use rustc_hash::FxHashMap;

use super::chaos::Chaos;
use crate::probe::Word;
use crate::sys::{self, Timer};
use crate::task::Task;
use crate::waits;

/// How long a thread keeps its turn over boundaries while others wait.
pub(super) const SLICE_NS: u64 = 3_000_000;
/// The same for one that has only waited in a loop of its own since its last call: it looks, and lets the others run.
pub(super) const LOOKS_NS: u64 = 1_000_000;
/// One that has read the counter in several turns, and otherwise only looked at the clock and for descriptors that are not ready, polls
/// something, as those do that exchange messages through memory: it has half as long in each further turn, so many times.
pub(super) const MOST_COUNTED: u32 = 4;
/// Where threads have lately waited so, a holder whose turn others want is looked at after this long, and each time that it does not wait
/// twice as long after it was let go on, so many times.
const FINE_LOOKS_NS: u64 = 50_000;
const MOST_FINE_LOOKS: u32 = 7;
/// A thread that runs this long without a boundary while others wait is stopped where it is.
pub(super) const COMPUTES_NS: u64 = 20_000_000;
/// Each time that this happens to a thread between two calls it gets twice as long, so many times: one that computes is
/// stopped a few times, one that waits in a loop for another thread soon lets it run.
pub(super) const MOST_PATIENCE: u32 = 5;
/// One that may wait in such a loop has at most this long before it is looked at.
const MOST_PATIENT_NS: u64 = 80_000_000;
/// It runs so many times as long as the recorder has computed to stop it where it was. (One that may wait for another thread
/// runs as long as that: whether it does or not, it takes at most twice the time that it needs.)
pub(super) const PER_STOP: u64 = 2;
/// Such a one whose memory changes each time gets twice as long so many times.
pub(super) const MOST_PROGRESS: u32 = 3;
/// How long a thread runs is told by its processor: on a busy machine it may take so many times as long by the clock.
pub(super) const MOST_LOAD: u64 = 16;
/// Whoever kept the turn in a call while others wanted it gives it up in such calls for this long.
pub(super) const SOON_AGAIN_NS: u64 = 2_000_000;
/// A signal waits this long for a boundary.
pub(super) const SIGNAL_WAITS_NS: u64 = 10_000_000;
/// A call that should come back at once, and has not after this long, is taken for one that waits.
pub(super) const LONG_CALL_NS: u64 = 5_000_000;
/// The same for one that ends a thread or a program: what the kernel writes then is told when it has ended.
pub(super) const LONG_END_NS: u64 = 2_000_000_000;
/// How often it is looked whether somebody has kept the turn for too long.
pub(super) const TICK_NS: i64 = 2_000_000;
/// The same where threads have lately waited in loops for each other: who has ended such a wait may begin to wait itself. More often while
/// one is looked at that often.
const FINE_TICK_NS: i64 = 250_000;
const FINEST_TICK_NS: i64 = 100_000;
/// So lately.
const LATELY_NS: u64 = 100_000_000;

/// What ends the wait of a thread whose words hold still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// It is given a turn all the same after this long.
    longest: u64,
    /// It is given a turn when nobody else wants one.
    has_own_end: bool,
}

impl Patience {
    /// Nothing does, but that somebody may have written to one of them before they were looked at, and nobody is told of a signal for it.
    pub const FOR_WORDS: Patience = Patience { longest: 100_000_000, has_own_end: false };
    /// It also looks at the clock.
    pub const WITH_CLOCK: Patience = Patience { longest: 10_000_000, has_own_end: false };

    /// It may count its turns, or compute with what those words hold. The others have as long as it had before it was found there.
    pub fn counted(ran: u64) -> Patience {
        Patience { longest: ran.max(10_000_000), has_own_end: true }
    }
}

impl Task {
    /// How long it keeps its turn while others wait.
    pub(super) fn slice(&self) -> u64 {
        if self.only_waits { LOOKS_NS >> self.counted_turns.min(MOST_COUNTED) } else { SLICE_NS }
    }

    /// How long it runs where threads have lately waited in loops for each other, until it is looked at.
    pub(super) fn looked_at_after(&self) -> u64 {
        FINE_LOOKS_NS << self.looks.min(MOST_FINE_LOOKS)
    }

    /// How long it may run without a boundary while others wait, before it is stopped where it is. `pressed`: as [`Turns::pressed`] says.
    pub(super) fn computes_for(&self, pressed: Option<u64>) -> u64 {
        // Stopping one may take longer than others would wait: until that is known of it, it is left alone.
        let pressed = pressed.map(|pressed| if self.stopping_ns == 0 { COMPUTES_NS } else { pressed });
        let longest = COMPUTES_NS << self.preempted.min(MOST_PATIENCE);
        if self.only_waits { LOOKS_NS } else { pressed.unwrap_or(longest).max(self.worth_stopping(pressed.is_some())) }
    }

    /// How long it runs at least for what it takes to stop it.
    fn worth_stopping(&self, is_pressed: bool) -> u64 {
        match (self.progressed / 2).min(MOST_PROGRESS) {
            _ if is_pressed || !self.may_wait => self.stopping_ns * PER_STOP,
            more => self.stopping_ns << more,
        }
    }

    /// It was found to wait for words by what may be a wait that ends by itself. It is left alone then for as long as it takes to stop it,
    /// and longer each time that nobody has changed one of them: it may compute. Not one that `pauses`.
    pub(super) fn is_patient_again(&mut self, words: &[Word], pauses: bool) {
        let is_again = !self.patient_for.is_empty() && self.patient_for == words;
        let longer = if is_again { (self.patient_ns * 2).clamp(FINE_LOOKS_NS, MOST_PATIENT_NS) } else { 0 };
        self.patient_ns = if pauses { 0 } else { longer.max(self.worth_stopping(false)) };
        self.patient_for = words.to_vec();
    }
}

#[derive(Debug, Default)]
struct Group {
    holder: Option<pid_t>,
    /// Since when.
    since: u64,
    /// Those that have come to a boundary: many have little to do before they wait for something else.
    waiting: VecDeque<pid_t>,
    /// Those that compute, or yield to all others. They come behind the others, but not for ever.
    behind: VecDeque<pid_t>,
    /// Those that were lately stopped while they computed, and in how many turns they have yet to do otherwise.
    computing: FxHashMap<pid_t, u8>,
    /// How long the others have had the turn while somebody was behind them.
    passed: u64,
    /// The holder was behind.
    has_been_behind: bool,
    /// It has its turn because the others have had it for long enough.
    is_due: bool,
    /// Nobody has the turn until then but who comes to a boundary; 0: whoever wants it has it.
    kept_until: u64,
    /// Below 0: nobody came, and so many times it is not kept. Above: so many times nobody need come.
    worth_keeping: i8,
    /// Those that would only see that nothing has changed.
    parked: Vec<Parked>,
    /// What threads have waited for each time that they waited, and how often in a row.
    again: FxHashMap<pid_t, (Vec<Word>, u32)>,
    /// It became part of another one.
    joined: Option<u32>,
}

impl Group {
    /// Whether somebody wants the turn.
    fn is_wanted(&self) -> bool {
        !(self.waiting.is_empty() && self.behind.is_empty())
    }

    /// Those who want it.
    fn wanting(&self) -> impl Iterator<Item = pid_t> {
        self.waiting.iter().chain(&self.behind).copied()
    }

    /// The turn is given up by one who waits for something. Whoever he has just woken up is not back from his call yet, and would have to wait
    /// for all who compute: so the turn is kept for who comes to a boundary, for a moment, where somebody came before. Whether it is.
    fn keep(&mut self, now: u64) -> bool {
        const KEPT_NS: u64 = 300_000;
        let is_next_behind = self.waiting.is_empty() && !self.behind.is_empty() && self.passed < COMPUTES_NS;
        if !is_next_behind || self.has_been_behind {
            return false;
        }
        if self.worth_keeping < 0 {
            self.worth_keeping += 1;
            return false;
        }
        self.kept_until = now + KEPT_NS;
        true
    }

    /// The turn is kept no longer: somebody came, or nobody. A slice is so much longer that one of a few is worth it.
    fn was_kept(&mut self, for_somebody: bool) {
        const FEW: i8 = 8;
        self.kept_until = 0;
        self.worth_keeping = match self.worth_keeping {
            worth if for_somebody => (worth + FEW).min(2 * FEW),
            0 => -2 * FEW,
            worth => worth - 1,
        };
    }

    /// The thread waits for something, before it was stopped.
    fn gives_up_by_itself(&mut self, tid: pid_t) {
        if let Some(turns) = self.computing.get_mut(&tid) {
            *turns -= 1;
            if *turns == 0 {
                self.computing.remove(&tid);
            }
        }
    }

    /// The thread wants it no more.
    fn leave(&mut self, tid: pid_t) {
        for queue in [&mut self.waiting, &mut self.behind] {
            if !queue.is_empty() {
                queue.retain(|other| *other != tid);
            }
        }
        self.parked.retain(|parked| parked.tid != tid);
    }

    /// The turn of the last holder is over.
    fn count_passed(&mut self, now: u64) {
        if self.behind.is_empty() {
            self.passed = 0;
        } else if !self.has_been_behind {
            self.passed += now.saturating_sub(self.since);
        }
    }

    /// Puts those into the queue that may have something to do.
    fn wake(&mut self, now: u64) {
        for parked in self.parked.extract_if(.., |parked| !parked.waits(now)) {
            self.waiting.push_back(parked.tid);
        }
    }

    /// Takes out the one whose turn comes next: the first that wants it, or else one that can make something of it. Who computes
    /// gets it when all others wait for something, or when they have had it for as long as such a one has it at least.
    fn take_next(&mut self) -> Option<pid_t> {
        self.is_due = !self.behind.is_empty() && self.passed >= COMPUTES_NS;
        self.has_been_behind = self.is_due || (self.waiting.is_empty() && !self.behind.is_empty());
        if self.has_been_behind {
            self.passed = 0;
            return self.behind.pop_front();
        }
        self.waiting.pop_front().or_else(|| {
            let patient = self.parked.iter().position(|parked| parked.has_own_end)?;
            Some(self.parked.remove(patient).tid)
        })
    }
}

/// A stopped thread that waits for memory to change.
#[derive(Debug)]
struct Parked {
    tid: pid_t,
    words: Vec<Word>,
    until: u64,
    has_own_end: bool,
}

impl Parked {
    fn waits(&self, now: u64) -> bool {
        now < self.until && waits::hold_still(self.tid, &self.words) && !sys::has_pending_signals(self.tid)
    }
}

/// The turns of all groups.
pub(super) struct Turns {
    /// Nobody takes turns in a recording that only observes.
    are_taken: bool,
    groups: FxHashMap<u32, Group>,
    /// Groups that are part of no other.
    separate: usize,
    next: u32,
    /// The one turn of all groups, in a recording that explores schedules.
    pub(super) chaos: Option<Chaos>,
    timer: Option<Timer>,
    /// Nanoseconds from one look to the next; 0 while nobody waits.
    period: i64,
    /// Until then looks are fine.
    fine_until: u64,
    /// Somebody who has the turn is looked at sooner than that.
    looks_often: bool,
    /// Until then turns may be kept for who comes to a boundary.
    keeps_until: u64,
    /// The time of the stop that is looked at.
    pub now: u64,
}

impl Turns {
    /// `chaos` is the seed of a recording that varies the order of threads.
    pub fn new(are_taken: bool, chaos: Option<u64>) -> Turns {
        let (groups, chaos) = (FxHashMap::default(), chaos.map(Chaos::new));
        Turns {
            are_taken,
            groups,
            separate: 0,
            next: 1,
            chaos,
            timer: None,
            period: 0,
            fine_until: 0,
            looks_often: false,
            keeps_until: 0,
            now: 0,
        }
    }

    /// A group of its own, whose turn `holder` has.
    pub fn new_group(&mut self, holder: pid_t) -> u32 {
        if !self.are_taken {
            return 0;
        }
        let (number, now) = (self.next, self.now);
        self.next += 1;
        self.separate += 1;
        self.groups.insert(number, Group { holder: Some(holder), since: now, ..Group::default() });
        number
    }

    /// Nobody is left in it.
    pub fn drop_group(&mut self, group: u32) {
        if self.groups.remove(&group).is_some_and(|gone| gone.joined.is_none()) {
            self.separate -= 1;
        }
    }

    /// Whether the order in which threads run is varied: then it is to be known at each boundary who is there.
    pub fn are_varied(&self) -> bool {
        self.are_taken && self.chaos.is_some()
    }

    fn find(&self, mut group: u32) -> u32 {
        while let Some(into) = self.groups.get(&group).and_then(|group| group.joined) {
            group = into;
        }
        group
    }

    /// The number of all who take turns with those of a group; 0 where nobody does.
    pub fn common(&self, group: u32) -> u32 {
        match (self.are_taken, &self.chaos) {
            (false, _) => 0,
            (true, Some(_)) => 1,
            (true, None) => self.find(group),
        }
    }

    /// Whether both stand for one group by now.
    pub fn is_same(&self, one: u32, other: u32) -> bool {
        self.find(one) == self.find(other)
    }

    /// Whether the thread has the turn.
    pub fn is_held_by(&self, group: u32, tid: pid_t) -> bool {
        self.groups.get(&self.find(group)).is_some_and(|group| group.holder == Some(tid))
    }

    fn of(&mut self, group: u32) -> &mut Group {
        let group = self.find(group);
        self.groups.entry(group).or_insert_with(|| {
            self.separate += 1;
            Group::default()
        })
    }

    /// The thread takes the turn if it is free or its own; else it is put at the end of the queue.
    pub fn take(&mut self, group: u32, tid: pid_t) -> bool {
        self.take_as(group, tid, false)
    }

    /// The same of one that has only waited for others, futex(2): one that computes comes behind the others. What other calls have done may be
    /// known to others already, as what was written is.
    pub fn take_after_wait(&mut self, group: u32, tid: pid_t) -> bool {
        let computes = self.chaos.is_none() && self.of(group).computing.contains_key(&tid);
        self.take_as(group, tid, computes)
    }

    fn take_as(&mut self, group: u32, tid: pid_t, is_behind: bool) -> bool {
        if let Some(chaos) = &mut self.chaos {
            let is_own = chaos.take(tid);
            if !is_own {
                self.arm();
            }
            return is_own;
        }
        let now = self.now;
        let group = self.of(group);
        match group.holder {
            Some(holder) if holder == tid => return true,
            None if !group.is_wanted() || (group.kept_until > 0 && !is_behind) => {
                if group.kept_until > 0 {
                    group.was_kept(true);
                }
                group.holder = Some(tid);
                group.since = now;
                (group.has_been_behind, group.is_due) = (is_behind, false);
                return true;
            }
            _ => {}
        }
        if !group.wanting().any(|waiting| waiting == tid) {
            let queue = if is_behind { &mut group.behind } else { &mut group.waiting };
            queue.push_back(tid);
        }
        self.arm();
        false
    }

    /// The thread neither has the turn nor waits for it any more. The thread that gets the turn, if one does.
    pub fn release(&mut self, group: u32, tid: pid_t) -> Option<pid_t> {
        if !self.gives_up(group, tid) {
            return None;
        }
        // It may be gone.
        self.of(group).computing.remove(&tid);
        self.hand_on(group)
    }

    /// The same of one that waits for something.
    pub fn release_to_wait(&mut self, group: u32, tid: pid_t) -> Option<pid_t> {
        if !self.gives_up(group, tid) {
            return None;
        }
        self.of(group).gives_up_by_itself(tid);
        self.hand_on_or(group, Group::keep)
    }

    /// Whether turns are handed on when the thread neither has one nor waits for one any more.
    fn gives_up(&mut self, group: u32, tid: pid_t) -> bool {
        if !self.are_taken {
            return false;
        }
        if let Some(chaos) = &mut self.chaos {
            chaos.release(tid);
            return false;
        }
        let chosen = self.of(group);
        if chosen.holder == Some(tid) {
            chosen.holder = None;
        }
        chosen.leave(tid);
        chosen.again.remove(&tid);
        true
    }

    /// A thread that has waited for the same words again and again, in each of its turns, and wants the turn or waits for them; with the words.
    pub fn waits_in_vain(&self, group: u32) -> Option<(pid_t, Vec<Word>)> {
        /// It has had a turn as often, and found them as before.
        const OFTEN: u32 = 3;
        let group = self.groups.get(&self.find(group))?;
        let mut those = group.wanting().chain(group.parked.iter().map(|parked| parked.tid));
        those.find_map(|tid| {
            let (words, times) = group.again.get(&tid)?;
            (*times >= OFTEN).then(|| (tid, words.clone()))
        })
    }

    /// What a thread waits for is not there between two reads of the counter.
    pub fn waits_anew(&mut self, group: u32, tid: pid_t) {
        self.of(group).again.remove(&tid);
    }

    /// The thread goes to the end of the queue. The thread that gets the turn.
    pub fn yield_to_next(&mut self, group: u32, tid: pid_t) -> Option<pid_t> {
        if let Some(chaos) = &mut self.chaos {
            chaos.yield_to_next(tid);
            self.arm();
            return None;
        }
        let chosen = self.of(group);
        if chosen.holder == Some(tid) {
            chosen.holder = None;
        }
        let next = self.hand_on(group);
        self.take(group, tid);
        if next.is_none() { Some(tid) } else { next }
    }

    /// The thread, which was stopped while it computed, goes behind those that come to boundaries, also when it has waited for something
    /// then: its next turns will mostly be like this one. The thread that gets the turn.
    pub fn preempted(&mut self, group: u32, tid: pid_t) -> Option<pid_t> {
        /// Of turns that it gives up by itself until it is like the others.
        const TURNS: u8 = 3;
        if self.chaos.is_none() {
            self.of(group).computing.insert(tid, TURNS);
        }
        self.yield_to_all(group, tid)
    }

    /// The thread, which lets all others run, goes behind those that come to boundaries. The thread that gets the turn.
    pub fn yield_to_all(&mut self, group: u32, tid: pid_t) -> Option<pid_t> {
        let next = self.yield_to_next(group, tid);
        if self.chaos.is_none() {
            let chosen = self.of(group);
            if let Some(index) = chosen.waiting.iter().position(|waiting| *waiting == tid) {
                chosen.waiting.remove(index);
                chosen.behind.push_back(tid);
            }
        }
        next
    }

    /// The thread, which is stopped and has the turn, has nothing to do while these words hold what they do, as far as its patience goes. The
    /// thread that gets the turn; when there is none, it is free.
    pub fn park(&mut self, group: u32, tid: pid_t, words: Vec<Word>, patience: Patience) -> Option<pid_t> {
        let now = sys::monotonic();
        self.fine_until = now + LATELY_NS;
        self.looks_often = true;
        let chosen = self.of(group);
        let (before, times) = chosen.again.entry(tid).or_default();
        *times = if *before == words { times.saturating_add(1) } else { 0 };
        before.clone_from(&words);
        let Patience { longest, has_own_end } = patience;
        chosen.parked.push(Parked { tid, words, until: now + longest, has_own_end });
        if chosen.holder == Some(tid) {
            chosen.holder = None;
        }
        let next = self.hand_on(group);
        self.arm();
        next
    }

    /// Looks at those that wait for memory to change, and for how long turns are kept. Threads that get turns which are free.
    pub fn wake(&mut self) -> Vec<pid_t> {
        let now = self.now;
        self.looks_often = false;
        let looked_at = |group: &Group| !group.parked.is_empty() || group.kept_until > 0;
        let with: Vec<u32> =
            self.groups.iter().filter(|(_, group)| looked_at(group)).map(|(number, _)| *number).collect();
        if self.has_parked() {
            self.fine_until = now + LATELY_NS;
        }
        for number in &with {
            self.of(*number).wake(now);
        }
        with.into_iter().filter_map(|number| self.hand_on(number)).collect()
    }

    /// Whether threads have lately waited in loops for each other.
    pub fn are_fine(&self) -> bool {
        self.now < self.fine_until
    }

    /// Whether threads wait for memory to change.
    pub fn has_parked(&self) -> bool {
        self.groups.values().any(|group| !group.parked.is_empty())
    }

    /// The thread, which is the holder, lets those settle that it has sent a signal to, and goes on.
    pub fn pause(&mut self, tid: pid_t) {
        if let Some(chaos) = &mut self.chaos {
            chaos.release(tid);
            chaos.take(tid);
        }
    }

    /// A thread passes a boundary: whether its slice, of so many nanoseconds, is over.
    pub fn is_over(&mut self, group: u32, slice: u64, now: u64) -> bool {
        if let Some(chaos) = &mut self.chaos {
            return chaos.is_over();
        }
        let chosen = self.of(group);
        chosen.is_wanted() && now.saturating_sub(chosen.since) > slice
    }

    fn hand_on(&mut self, group: u32) -> Option<pid_t> {
        self.hand_on_or(group, |_, _| false)
    }

    /// The same of a free turn that is not to be kept from then on.
    fn hand_on_or(&mut self, group: u32, keep: impl FnOnce(&mut Group, u64) -> bool) -> Option<pid_t> {
        let number = self.find(group);
        let now = self.now;
        let group = self.groups.get_mut(&number)?;
        if group.holder.is_some() {
            return None;
        }
        group.wake(now);
        // Stopping the one before may have taken longer than a slice.
        let begins = sys::monotonic();
        if group.kept_until > 0 {
            if group.waiting.is_empty() && begins < group.kept_until {
                return None;
            }
            group.was_kept(!group.waiting.is_empty());
        } else {
            group.count_passed(begins);
            if keep(group, begins) {
                self.keeps_until = self.keeps_until.max(begins + LATELY_NS);
                self.arm();
                return None;
            }
        }
        let next = Some(group.take_next()?);
        group.holder = next;
        group.since = begins;
        next
    }

    /// Two groups see the same memory from now on. One of two holders keeps running until its next boundary, where it
    /// finds the turn taken.
    pub fn join(&mut self, one: u32, other: u32) {
        let (into, from) = (self.find(one), self.find(other));
        if into == from {
            return;
        }
        let now = self.now;
        let Some(gone) = self.groups.get_mut(&from) else { return };
        self.separate -= 1;
        let gone = std::mem::take(gone);
        self.groups.insert(from, Group { joined: Some(into), ..Group::default() });
        let holder = gone.holder;
        let group = self.of(into);
        group.waiting.extend(gone.waiting);
        group.behind.extend(gone.behind);
        group.parked.extend(gone.parked);
        group.computing.extend(gone.computing);
        if group.holder.is_none() {
            group.holder = holder;
            group.since = now;
        }
        // Whoever the turn of either was kept for: when it is free, it is looked after.
        group.kept_until = if group.holder.is_some() { 0 } else { group.kept_until.max(gone.kept_until) };
    }

    /// Whether others wait for the turn of a group, or for memory to change.
    pub fn is_awaited(&self, group: u32) -> bool {
        let group = self.groups.get(&self.find(group));
        group.is_some_and(|group| group.is_wanted() || !group.parked.is_empty())
    }

    /// Who has the turn of a group, if others wait for it.
    pub fn wanted_of(&self, group: u32) -> Option<pid_t> {
        self.groups.get(&self.find(group)).filter(|group| group.is_wanted())?.holder
    }

    /// How long the holder may compute at most while somebody wants the turn of a group who has come to a boundary: as long as those had it
    /// before, if they had it for long. `None`: nobody does.
    pub fn pressed(&self, group: u32) -> Option<u64> {
        let group = self.groups.get(&self.find(group)).filter(|group| !group.waiting.is_empty())?;
        Some(if group.is_due { COMPUTES_NS } else { SLICE_NS })
    }

    /// Whether the turn of a group is kept.
    pub fn has_kept(&self) -> bool {
        self.now < self.keeps_until && self.groups.values().any(|group| group.kept_until > 0)
    }

    /// Holders of turns that others wait for.
    pub fn contended(&self) -> Vec<pid_t> {
        if let Some(chaos) = &self.chaos {
            return chaos.contended().into_iter().collect();
        }
        self.groups.values().filter(|group| group.is_wanted()).filter_map(|group| group.holder).collect()
    }

    /// Has the waits of this thread interrupted every few milliseconds, or more often, until [`Turns::disarm`].
    pub fn arm(&mut self) {
        let is_fine = self.are_fine() || self.now < self.keeps_until;
        let fine = if self.looks_often { FINEST_TICK_NS } else { FINE_TICK_NS };
        self.set_period(if is_fine { fine } else { TICK_NS });
    }

    /// Somebody who has the turn is looked at after so long.
    pub fn looks_after(&mut self, looks: u64) {
        self.looks_often |= looks < FINE_TICK_NS as u64;
    }

    /// Nobody waits for anything.
    pub fn disarm(&mut self) {
        self.set_period(0);
    }

    fn set_period(&mut self, period: i64) {
        if self.period == period {
            return;
        }
        if self.timer.is_none() {
            self.timer = Timer::new(super::control::wake_signal());
        }
        if let Some(timer) = &self.timer {
            timer.every(period);
            self.period = period;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::control::wake_signal;
    use super::*;

    /// Turns are taken, and whoever waits for one is told of the time by a signal.
    fn turns() -> Turns {
        sys::catch(wake_signal());
        Turns::new(true, None)
    }

    #[test]
    fn one_thread_of_a_group_has_the_turn_and_the_others_get_it_in_order() {
        let mut turns = turns();
        let group = turns.new_group(1);
        assert!(turns.take(group, 1));
        assert!(!turns.take(group, 2));
        assert!(!turns.take(group, 3));
        assert_eq!(turns.contended(), [1]);
        assert_eq!(turns.release(group, 1), Some(2));
        assert!(!turns.take(group, 1));
        assert_eq!(turns.yield_to_next(group, 2), Some(3));
        // One that waits and ends leaves the queue.
        assert_eq!(turns.release(group, 1), None);
        assert_eq!(turns.release(group, 3), Some(2));
        assert_eq!(turns.yield_to_next(group, 2), Some(2));
        assert_eq!(turns.release(group, 2), None);
        assert!(turns.take(group, 9));
    }

    #[test]
    fn who_computes_comes_behind_those_at_boundaries_but_not_for_ever() {
        let mut turns = turns();
        let group = turns.new_group(1);
        for tid in 2..=5 {
            turns.take(group, tid);
        }
        assert_eq!(turns.preempted(group, 1), Some(2));
        assert_eq!(turns.preempted(group, 2), Some(3));
        assert_eq!(turns.pressed(group), Some(SLICE_NS));
        assert_eq!(turns.release(group, 3), Some(4));
        // They have had it for long enough together.
        turns.of(group).since -= COMPUTES_NS;
        assert_eq!(turns.yield_to_next(group, 4), Some(1));
        assert_eq!(turns.pressed(group), Some(COMPUTES_NS));
        assert_eq!(turns.preempted(group, 1), Some(5));
        assert_eq!([5, 4].map(|tid| turns.release(group, tid)), [Some(4), Some(2)]);
        // Only such as compute are left.
        assert!(turns.pressed(group).is_none() && turns.is_awaited(group));
        assert_eq!(turns.contended(), [2]);
        assert_eq!([2, 1].map(|tid| turns.release(group, tid)), [Some(1), None]);
    }

    #[test]
    fn who_was_stopped_while_it_computed_is_behind_for_some_more_turns() {
        let mut turns = turns();
        let group = turns.new_group(1);
        turns.take(group, 2);
        assert_eq!(turns.preempted(group, 1), Some(2));
        // Three times it has the turn for as long as it wants it.
        for _ in 0..3 {
            turns.take(group, 3);
            assert_eq!(turns.release_to_wait(group, 2), Some(3));
            turns.take(group, 2);
            assert_eq!(turns.release_to_wait(group, 3), Some(2));
            turns.of(group).worth_keeping = -1;
            assert_eq!(turns.release_to_wait(group, 2), Some(1));
            turns.take(group, 2);
            assert_eq!(turns.release_to_wait(group, 1), Some(2));
            turns.take_after_wait(group, 1);
        }
        // Now it is like the others.
        turns.take(group, 3);
        assert_eq!([2, 1].map(|tid| turns.release(group, tid)), [Some(1), Some(3)]);
    }

    #[test]
    fn a_turn_is_kept_for_whoever_was_woken_up_where_somebody_comes() {
        let mut turns = turns();
        let group = turns.new_group(1);
        turns.take(group, 2);
        assert_eq!(turns.yield_to_all(group, 1), Some(2));
        let expire = |turns: &mut Turns| {
            turns.of(group).kept_until = 1;
            turns.now = sys::monotonic();
            turns.wake()
        };
        // The one who comes has it at once; when he waits in turn, it is kept again.
        for (from, to) in [(2, 3), (3, 2)] {
            assert_eq!(turns.release_to_wait(group, from), None);
            turns.now = sys::monotonic();
            assert!(turns.has_kept() && turns.take(group, to));
        }
        // Nobody comes: who computes has it, a little later, and then at once.
        for _ in 0..17 {
            assert_eq!(turns.release_to_wait(group, 2), None);
            assert_eq!(expire(&mut turns), [1]);
            assert!(!turns.take(group, 2));
            assert_eq!(turns.yield_to_all(group, 1), Some(2));
        }
        assert_eq!(turns.release_to_wait(group, 2), Some(1));
        assert!(!turns.has_kept());
    }

    #[test]
    fn who_computes_runs_for_long_unless_others_wait_at_boundaries() {
        let mut task = Task::new(1, 0, Rc::default());
        let times = |task: &Task| [Some(SLICE_NS), None].map(|pressed| task.computes_for(pressed));
        assert_eq!(times(&task), [COMPUTES_NS; 2]);
        task.stopping_ns = 1_000;
        assert_eq!(times(&task), [SLICE_NS, COMPUTES_NS]);
        task.preempted = 3;
        assert_eq!(times(&task), [SLICE_NS, COMPUTES_NS << 3]);
        // It is worth what it takes to stop it.
        task.stopping_ns = 200_000_000;
        assert_eq!(times(&task), [400_000_000; 2]);
        (task.may_wait, task.progressed) = (true, 4);
        assert_eq!(times(&task), [400_000_000, 800_000_000]);
        task.only_waits = true;
        assert_eq!(times(&task), [LOOKS_NS; 2]);
    }

    #[test]
    fn nobody_waits_where_no_turns_are_taken() {
        let mut turns = Turns::new(false, None);
        let group = turns.new_group(1);
        assert_eq!((turns.release(group, 1), turns.contended()), (None, Vec::new()));
    }

    #[test]
    fn joined_groups_have_one_turn() {
        let mut turns = turns();
        let (one, other) = (turns.new_group(1), turns.new_group(2));
        assert!(!turns.is_same(one, other));
        turns.join(one, other);
        assert!(turns.is_same(one, other));
        // The second one runs on, and waits at its next boundary.
        assert!(!turns.take(other, 2));
        assert_eq!(turns.release(one, 1), Some(2));
        assert!(turns.take(other, 2));
        // A turn that is kept in one of them is free in both, until it is kept no longer.
        let third = turns.new_group(3);
        turns.take(third, 4);
        assert_eq!(turns.preempted(third, 3), Some(4));
        assert_eq!([turns.release(one, 2), turns.release_to_wait(third, 4)], [None; 2]);
        turns.join(one, third);
        turns.now = turns.of(one).kept_until;
        assert!(turns.has_kept() && turns.now > 0);
        turns.of(one).kept_until = 1;
        assert_eq!(turns.wake(), [3]);
    }

    #[test]
    fn who_counts_its_turns_gets_one_when_nobody_else_wants_it() {
        let parked =
            |tid, Patience { longest: until, has_own_end }| Parked { tid, words: Vec::new(), until, has_own_end };
        let mut group = Group { waiting: [1].into(), ..Group::default() };
        group.parked =
            vec![parked(2, Patience::FOR_WORDS), parked(3, Patience::counted(0)), parked(4, Patience::counted(1))];
        assert_eq!([(); 4].map(|()| group.take_next()), [Some(1), Some(3), Some(4), None]);
        assert_eq!(group.parked.len(), 1);
    }

    #[test]
    fn who_waits_for_the_same_again_and_again_waits_in_vain() {
        let mut turns = Turns::new(true, None);
        let group = turns.new_group(1);
        let waits = |turns: &mut Turns, word| {
            turns.park(group, 2, vec![(8, word)], Patience::FOR_WORDS);
            turns.of(group).parked.clear();
            turns.of(group).waiting = [2].into();
            turns.waits_in_vain(group)
        };
        let in_vain = Some((2, vec![(8, 1)]));
        assert_eq!([1, 1, 1, 1, 1].map(|word| waits(&mut turns, word) == in_vain), [false, false, false, true, true]);
        // Something has changed for it, or is expected to.
        assert_eq!(waits(&mut turns, 2), None);
        assert_eq!([1, 1, 1, 1].map(|word| waits(&mut turns, word) == in_vain), [false, false, false, true]);
        turns.waits_anew(group, 2);
        assert_eq!(turns.waits_in_vain(group), None);
    }

    #[test]
    fn who_is_found_again_with_nothing_changed_is_left_alone_for_longer() {
        let mut task = Task::new(1, 0, Rc::default());
        task.stopping_ns = FINE_LOOKS_NS / PER_STOP;
        let mut found = |word| {
            task.is_patient_again(&[(8, word)], false);
            task.patient_ns / FINE_LOOKS_NS
        };
        assert_eq!([1, 1, 1, 2, 2].map(&mut found), [1, 2, 4, 1, 2]);
        for _ in 0..20 {
            found(2);
        }
        assert_eq!(found(2), MOST_PATIENT_NS / FINE_LOOKS_NS);
        task.is_patient_again(&[(8, 2)], true);
        assert_eq!(task.patient_ns, 0);
    }
}
