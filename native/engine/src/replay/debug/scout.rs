//! Copies of the debugged process that go ahead of it.
//!
//! To go back all is replayed from the beginning. Where the moment that is wanted is in the segment of a thread that the replay has come to,
//! the thread itself stays where the segment begins, and copies of its process run instead: a copy can be ended and another one made, in a
//! millisecond, so that all ways within the segment are gone without a replay. At each corner of a way another copy is left behind, where
//! others begin that lead there as well. At the end of the segment the thread itself runs to it.

use libc::{pid_t, user_regs_struct};

use super::copies::{self, Kept};
use super::place::Leg;
use crate::image;
use crate::replay::run::Runner;
use crate::replay::tracee::Thread;
use crate::replay::watch::{Halt, lost};
use crate::sys;

/// Copies that are left behind on the way.
const MOST_LEFT: usize = 8;

/// What runs a thread's code: the thread, or a copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    pub pid: pid_t,
    pub tid: pid_t,
    pub is_copy: bool,
}

impl Body {
    #[must_use]
    pub fn of(thread: &Thread) -> Body {
        Body { pid: thread.pid(), tid: thread.tid, is_copy: false }
    }
}

/// A process that stands still, and what leads to where it does.
struct Waypoint {
    body: Body,
    regs: user_regs_struct,
    legs: Vec<Leg>,
}

/// The copies of a process in one segment of a thread.
pub struct Scouts<'r, 'j> {
    runner: &'r Runner<'j>,
    /// The first one is the thread itself, where the segment begins.
    waypoints: Vec<Waypoint>,
    /// The copy that runs.
    running: Option<Body>,
    /// Memory that the thread's own process keeps from its children, and how.
    kept: Vec<Kept>,
}

impl<'r, 'j> Scouts<'r, 'j> {
    /// For a thread that stands where a segment begins.
    pub fn new(runner: &'r Runner<'j>, thread: &Thread) -> Result<Scouts<'r, 'j>, Halt> {
        let regs = sys::registers(thread.tid).map_err(|error| lost(thread.tid, &error))?;
        let begin = Waypoint { body: Body::of(thread), regs, legs: Vec::new() };
        let kept = Kept::of(thread);
        Ok(Scouts { runner, waypoints: vec![begin], running: None, kept })
    }

    /// Whether nobody would see what a copy of the process writes.
    #[must_use]
    pub fn can_be(thread: &Thread) -> bool {
        let writable = |mapping: &image::Mapping| mapping.shared && mapping.prot & libc::PROT_WRITE as u64 != 0;
        !image::mappings(thread.tid).iter().any(writable)
    }

    /// Sends the next copy from the last waypoint that will do, if there is one.
    pub fn begin_anew(&mut self, mut will_do: impl FnMut(&[Leg]) -> bool) -> Result<Option<Body>, Halt> {
        self.recall();
        let at = (0..self.waypoints.len()).rev().find(|at| will_do(&self.waypoints[*at].legs));
        at.map(|at| self.send(at)).transpose()
    }

    /// Sends the first copy.
    pub fn begin(&mut self) -> Result<Body, Halt> {
        self.send(0)
    }

    /// Leaves a copy behind where the running one stands.
    pub fn leave_behind(&mut self, legs: &[Leg]) -> Result<(), Halt> {
        let Some(body) = self.running else { return Ok(()) };
        if self.waypoints.iter().any(|waypoint| waypoint.legs == legs) {
            return Ok(());
        }
        let regs = sys::registers(body.tid).map_err(|error| lost(body.tid, &error))?;
        let left = Waypoint { body: self.copy(body, &regs)?, regs, legs: legs.to_vec() };
        if self.waypoints.len() > MOST_LEFT {
            let oldest = self.waypoints.remove(1);
            self.runner.dismiss(oldest.body);
        }
        self.waypoints.push(left);
        Ok(())
    }

    fn send(&mut self, at: usize) -> Result<Body, Halt> {
        let Waypoint { body, regs, .. } = &self.waypoints[at];
        let (body, regs) = (*body, *regs);
        Ok(*self.running.insert(self.copy(body, &regs)?))
    }

    /// A copy of a stopped process with one thread, which has these registers.
    fn copy(&self, of: Body, regs: &user_regs_struct) -> Result<Body, Halt> {
        // What a copy has, its own copies get.
        let kept = if of.is_copy { &[][..] } else { &self.kept };
        let made = copies::copy(&self.runner.remote, (of.pid, of.tid), regs, kept);
        sys::set_registers(of.tid, regs).map_err(|error| lost(of.tid, &error))?;
        let tid = made?;
        Ok(Body { pid: tid, tid, is_copy: true })
    }

    /// Ends the copy that runs.
    fn recall(&mut self) {
        if let Some(body) = self.running.take() {
            self.runner.dismiss(body);
        }
    }
}

impl Drop for Scouts<'_, '_> {
    fn drop(&mut self) {
        self.recall();
        for waypoint in self.waypoints.drain(1..) {
            self.runner.dismiss(waypoint.body);
        }
    }
}

impl Runner<'_> {
    /// Ends a copy, of which nothing is known any more.
    fn dismiss(&self, body: Body) {
        if let Some(debugger) = &self.debugger {
            debugger.borrow_mut().forget(body.tid);
        }
        copies::dismiss(body.tid);
    }
}
