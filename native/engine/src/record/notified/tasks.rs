//! Who makes the calls: threads and processes show up with their first one.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use libc::{c_int, pid_t};
use rustc_hash::FxHashSet;

use super::Notified;
use super::images::{Asked, Key};
use crate::pidfd;
use crate::record::births::whose;
use crate::task::Birth;

/// A process.
pub(super) struct Group {
    pub handle: OwnedFd,
    /// It has asked to execute a program.
    pub exec: Option<Asked>,
    /// It has asked to map code since it was looked at.
    pub has_mapped: bool,
    pub code_at: FxHashSet<Key>,
    /// The status with which it asked to end.
    pub code: Option<c_int>,
    /// Threads that have asked to end.
    pub gone: Vec<pid_t>,
    /// When it ended, with its user and system time in microseconds.
    pub ended: Option<(u64, (u64, u64))>,
}

/// Calls that make tasks and of which no task has come, at most this many.
const MOST_BIRTHS: usize = 1024;

impl Notified {
    /// A task that the call of a process is about to make.
    pub(super) fn expect(&mut self, pid: pid_t, birth: Birth) {
        if self.births.len() >= MOST_BIRTHS {
            self.births.pop_front();
        }
        self.births.push_back((pid, birth));
    }

    /// Whether a thread is known; one that is new is taken in.
    pub(super) fn knows(&mut self, tid: pid_t) -> bool {
        if let Some(task) = self.tasks.get(&tid) {
            let pid = task.process.borrow().pid;
            if self.groups.get(&pid).is_some_and(|group| pidfd::is_alive(&group.handle)) {
                return true;
            }
            // The number is another's by now.
            self.look_at_end(pid);
        }
        let Some((group, parent)) = whose(tid) else { return false };
        let is_thread = group != tid && self.groups.contains_key(&group);
        let birth = self.birth(if is_thread { group } else { parent }, is_thread);
        // Before its task is told of, which has to end as well.
        if !self.has_group(group) {
            return false;
        }
        let process = if is_thread {
            let known = self.tasks.values().find(|task| task.process.borrow().pid == group);
            known.map(|task| Rc::clone(&task.process))
        } else {
            None
        };
        let process = process.unwrap_or_else(|| {
            let process = self.world.new_process(group);
            process.borrow_mut().parent = birth.parent.map(|_| birth.process.borrow().pid);
            process
        });
        let mut task = self.world.new_task(tid, process, Some(&birth), false);
        task.fds = birth.fds;
        task.location = birth.location;
        task.handlers = birth.handlers;
        task.identity = birth.identity;
        task.space = birth.space;
        self.tasks.insert(tid, task);
        true
    }

    /// What a task inherits: of the process that has asked for one, or of one that is gone, in the order in which they asked.
    fn birth(&mut self, maker: pid_t, is_thread: bool) -> Birth {
        let asked = |(pid, birth): &(pid_t, Birth)| *pid == maker && birth.is_thread() == is_thread;
        let gone = |(pid, birth): &(pid_t, Birth)| !birth.is_thread() && !self.groups.contains_key(pid);
        let found = self.births.iter().position(asked).or_else(|| self.births.iter().position(gone));
        let orphan = || {
            let mut birth = Birth::orphan();
            birth.flags |= if is_thread { libc::CLONE_THREAD as u64 } else { 0 };
            birth
        };
        found.and_then(|index| self.births.remove(index)).map_or_else(orphan, |(_, birth)| birth)
    }

    /// Whether a process is known; one that is new is watched from now on. `false` when it is gone.
    pub(super) fn has_group(&mut self, pid: pid_t) -> bool {
        if self.groups.contains_key(&pid) {
            return true;
        }
        let Ok(handle) = pidfd::open(pid, 0) else { return false };
        if self.watch.process(pid, &handle).is_err() {
            return false;
        }
        let code_at = FxHashSet::default();
        let (exec, has_mapped, code, gone, ended) = (None, false, None, Vec::new(), None);
        self.groups.insert(pid, Group { handle, exec, has_mapped, code_at, code, gone, ended });
        self.control.born(pid);
        true
    }
}
