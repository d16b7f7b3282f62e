//! New tasks: the parent's stop says who they are, their own first stop (or end) says that they are there.
//!
//! The two come in either order, and one of them may never come: a parent that is killed inside its call tells of
//! nobody, and a child that is killed at once never stops. Whatever happens, every task is taken in exactly once.

use std::collections::HashMap;
use std::rc::Rc;

use libc::{c_int, pid_t};

use super::Recorder;
use super::lifecycle::clone_flags;
use super::signals;
use super::stops::signal_of;
use crate::agent::code::{Code, State};
use crate::placement::Place;
use crate::sys::{self, Waited};
use crate::task::{Birth, Task};

/// Parents that ended inside a call that makes tasks, at most this many.
const MOST_WIDOWED: usize = 64;

/// A task that showed up before its parent's stop told of it.
#[derive(Default)]
struct Early {
    /// The process that made it (for a thread: that it belongs to), as far as that can still be read.
    maker: Option<pid_t>,
    /// It has ended already.
    ended: Option<Waited>,
}

/// Tasks of which one half is known.
#[derive(Default)]
pub(super) struct Births {
    /// Told of, and not yet stopped.
    told: HashMap<pid_t, Birth>,
    early: HashMap<pid_t, Early>,
    /// What would have been told by parents that ended before they could.
    widowed: Vec<Birth>,
}

impl Births {
    /// The tasks that are stopped and wait for being told of.
    pub(super) fn take_early(&mut self) -> Vec<pid_t> {
        self.early.drain().filter(|(_, early)| early.ended.is_none()).map(|(tid, _)| tid).collect()
    }
}

impl Recorder {
    /// A task that is not known has stopped.
    pub(super) fn unknown_stopped(&mut self, waited: &Waited) {
        let tid = waited.tid;
        if self.detaching && !self.has_changed_programs() {
            self.births.told.remove(&tid);
            self.let_go(tid, signal_of(waited));
        } else if let Some(birth) = self.births.told.remove(&tid) {
            self.adopt(tid, birth, None);
        } else {
            self.births.early.insert(tid, Early { maker: maker_of(tid), ended: None });
            self.adopt_orphans();
        }
    }

    /// A task that is not known has ended.
    pub(super) fn unknown_ended(&mut self, waited: &Waited) {
        if let Some(birth) = self.births.told.remove(&waited.tid) {
            self.adopt(waited.tid, birth, Some(*waited));
        } else if !self.detaching || self.has_changed_programs() {
            self.births.early.entry(waited.tid).or_default().ended = Some(*waited);
            self.adopt_orphans();
        }
    }

    /// A task has made another one.
    pub(super) fn forked(&mut self, tid: pid_t) {
        let child = sys::event_message(tid).ok().and_then(|child| pid_t::try_from(child).ok());
        if let (Some(child), Some(task)) = (child, self.tasks.get_mut(&tid)) {
            task.making = false;
            task.made = Some(child);
            let flags = clone_flags(task);
            if flags & libc::CLONE_THREAD as u64 == 0 {
                // The new process will stop often, and its maker will mostly wait for it.
                self.world.placement.fetch_back(tid, &mut task.place);
            }
            let mut birth = Birth::of(task, flags);
            if !birth.shares_memory() && task.space.borrow().is_seen_written() {
                task.space.borrow_mut().is_joined = true;
            }
            Recorder::words_of_birth(task, &mut birth);
            if self.world.replayable && !self.births.early.contains_key(&child) {
                self.await_birth(child, birth);
                self.go_on(tid, 0);
                return;
            }
            match self.births.early.remove(&child) {
                Some(early) => self.adopt(child, birth, early.ended),
                None => {
                    self.births.told.insert(child, birth);
                }
            }
        }
        self.go_on(tid, 0);
        self.adopt_orphans();
    }

    /// A task ended. If it was about to make another one, nobody will tell of that one.
    pub(super) fn left_behind(&mut self, task: &Task, flags: u64) {
        if task.making {
            let widowed = &mut self.births.widowed;
            if widowed.len() >= MOST_WIDOWED {
                widowed.remove(0);
            }
            widowed.push(Birth::of(task, flags));
        }
        self.adopt_orphans();
    }

    /// Takes in the early tasks when no task is left whose stop could still tell of them.
    pub(super) fn adopt_orphans(&mut self) {
        if self.births.early.is_empty() || self.tasks.values().any(|task| task.making) {
            return;
        }
        for (tid, early) in std::mem::take(&mut self.births.early) {
            let widowed = &mut self.births.widowed;
            let own = widowed.iter().position(|birth| Some(birth.process.borrow().pid) == early.maker);
            let birth = match own.or_else(|| widowed.len().checked_sub(1)) {
                Some(index) => widowed.remove(index),
                None => Birth::orphan(),
            };
            self.adopt(tid, birth, early.ended);
        }
    }

    /// Takes a new task in, and lets it go on or ends it.
    pub(super) fn adopt(&mut self, tid: pid_t, birth: Birth, ended: Option<Waited>) {
        let process = if birth.is_thread() {
            Rc::clone(&birth.process)
        } else {
            let process = self.world.new_process(tid);
            {
                let (mut own, maker) = (process.borrow_mut(), birth.process.borrow());
                own.parent = birth.parent.map(|_| maker.pid);
                own.is_apart = maker.is_apart;
            }
            process
        };
        let mut task = self.world.new_task(tid, process, Some(&birth), ended.is_none());
        let (shares_memory, shares_fds) = (birth.shares_memory(), birth.flags & libc::CLONE_FILES as u64 != 0);
        let is_new = !birth.shares_memory() && !birth.space.borrow().is_joined;
        task.fds = birth.fds;
        task.location = birth.location;
        task.handlers = birth.handlers;
        task.identity = birth.identity;
        task.stepwise = birth.stepwise;
        task.place = Place::new(birth.own_place);
        task.traps = birth.traps;
        task.space = birth.space;
        if is_new {
            let group = self.world.turns.new_group(tid);
            task.space.borrow_mut().group = group;
            self.world.shares_along(&task.space);
        }
        if ended.is_none() {
            match birth.released {
                Some(released) => self.world.placement.adopt_child(tid, &task.place, released),
                None => self.world.placement.adopt(tid, &task.place),
            }
            self.control.born(task.process.borrow().pid);
        }
        if self.world.replayable && !shares_memory {
            let mut space = task.space.borrow_mut();
            if space.code.state == State::Off && !space.code.is_patched() {
                space.code = Code::default();
            }
        }
        self.tasks.insert(tid, task);
        self.become_several();
        if ended.is_none() {
            self.welcome(tid, shares_memory, shares_fds);
        }
        match ended {
            Some(waited) => self.ended(&waited),
            None if self.detaching => {
                let _ = sys::interrupt(tid);
                self.go_on(tid, 0);
            }
            None if self.world.replayable => self.start(tid),
            None => self.go_on(tid, 0),
        }
    }

    /// Lets a task that is stopped go on unobserved.
    pub(super) fn let_go(&mut self, tid: pid_t, signal: c_int) {
        let task = self.tasks.get(&tid);
        let own_place = task.is_some_and(|task| task.place.is_own());
        if let Some(task) = task {
            task.disarm();
        }
        self.world.placement.forget(tid);
        if self.world.placement.is_active() && !own_place {
            let _ = sys::set_affinity(tid, &self.world.placement.visible);
        }
        signals::make_stopped_again(tid);
        let _ = sys::resume(tid, sys::Resume::Detach, signal);
    }
}

/// The process that a task which has just begun came from: its own for a thread, else its parent.
fn maker_of(tid: pid_t) -> Option<pid_t> {
    whose(tid).map(|(group, parent)| if group == tid { parent } else { group })
}

/// The process of a thread, and that one's parent.
pub(super) fn whose(tid: pid_t) -> Option<(pid_t, pid_t)> {
    let status = sys::status_of(tid)?;
    let field = |name: &str| sys::status_field(&status, name)?.parse().ok();
    Some((field("Tgid")?, field("PPid")?))
}
