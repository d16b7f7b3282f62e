//! Copies of the debugged process that go ahead of it.
//!
//! To go back all is replayed from the beginning. Where the moment that is wanted is in the segment of a thread that the replay has come to,
//! the thread itself stays where the segment begins, and copies of its process run instead: a copy can be ended and another one made, in a
//! millisecond, so that all ways within the segment are gone without a replay. At each corner of a way another copy is left behind, where
//! others begin that lead there as well. At the end of the segment the thread itself runs to it.

use libc::{pid_t, user_regs_struct};

use super::place::Leg;
use crate::image;
use crate::replay::kernel;
use crate::replay::remote::RemoteCall;
use crate::replay::run::Runner;
use crate::replay::tracee::Thread;
use crate::replay::watch::{Halt, lost};
use crate::replay::zygote::{CLONE_PROCESS, new_task};
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

/// Memory that children of a process do not get, or not as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    start: u64,
    length: u64,
    is_wiped: bool,
}

impl Kept {
    /// The call after which children get it, or do not any more.
    fn call(&self, is_given: bool) -> RemoteCall {
        let advice = match (self.is_wiped, is_given) {
            (false, true) => libc::MADV_DOFORK,
            (false, false) => libc::MADV_DONTFORK,
            (true, true) => libc::MADV_KEEPONFORK,
            (true, false) => libc::MADV_WIPEONFORK,
        };
        RemoteCall::new(libc::SYS_madvise, &[self.start, self.length, advice as u64])
    }

    /// What the kernel tells of a process, proc_pid_smaps(5).
    fn of(smaps: &[u8]) -> Vec<Kept> {
        let mut found: Vec<Kept> = Vec::new();
        let mut range = None;
        for line in smaps.split(|byte| *byte == b'\n') {
            if let Some(flags) = line.strip_prefix(b"VmFlags:") {
                let has = |flag: &[u8]| flags.split(u8::is_ascii_whitespace).any(|own| own == flag);
                let is_wiped = has(b"wf");
                if let (Some((start, end)), true) = (range.take(), is_wiped || has(b"dc")) {
                    found.push(Kept { start, length: end - start, is_wiped });
                }
            } else if let Some(first) = range_of(line) {
                range = Some(first);
            }
        }
        found
    }
}

/// The range with which the first line about a mapping begins.
fn range_of(line: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?;
    let (start, end) = text.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    (start < end).then_some((start, end))
}

impl<'r, 'j> Scouts<'r, 'j> {
    /// For a thread that stands where a segment begins.
    pub fn new(runner: &'r Runner<'j>, thread: &Thread) -> Result<Scouts<'r, 'j>, Halt> {
        let regs = sys::registers(thread.tid).map_err(|error| lost(thread.tid, &error))?;
        let begin = Waypoint { body: Body::of(thread), regs, legs: Vec::new() };
        let kept = if thread.space().borrow().keeps_from_children {
            Kept::of(&std::fs::read(format!("/proc/{}/smaps", thread.tid)).unwrap_or_default())
        } else {
            Vec::new()
        };
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
        let remote = &self.runner.remote;
        let failed = |tid: pid_t| move |error: std::io::Error| lost(tid, &error);
        let clone = RemoteCall::new(libc::SYS_clone, &[CLONE_PROCESS]);
        // What a copy has, its own copies get.
        let kept = if of.is_copy { &[][..] } else { &self.kept };
        let given: Vec<RemoteCall> = kept.iter().map(|kept| kept.call(true)).collect();
        let taken: Vec<RemoteCall> = kept.iter().map(|kept| kept.call(false)).collect();
        remote.table(of.pid, of.tid, regs, &given)?;
        let made = remote.one(of.pid, of.tid, regs, &clone)?;
        remote.table(of.pid, of.tid, regs, &taken)?;
        sys::set_registers(of.tid, regs).map_err(failed(of.tid))?;
        let tid = new_task(made)?;
        let body = Body { pid: tid, tid, is_copy: true };
        let born = remote.await_birth(tid);
        let placed = born.and_then(|()| Ok(sys::set_registers(tid, regs).map_err(failed(tid))?));
        if placed.is_err() {
            self.runner.dismiss(body);
        }
        placed.map(|()| body)
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
        let _ = sys::kill(body.pid, libc::SIGKILL);
        while let Ok(status) = kernel::wait(body.tid) {
            if status.is_some_and(|status| !libc::WIFSTOPPED(status)) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_children_do_not_get_is_told_by_its_flags() {
        let smaps = b"7f00-8f00 rw-p 00000000 00:00 0 \nRss:   4 kB\nVmFlags: rd wr mr mw me dc ac \n\
            9000-a000 rw-p 00000000 00:00 0 [anon: x]\nVmFlags: rd wr mr mw me ac \n\
            b000-c000 rw-p 00000000 00:00 0 \nVmFlags: rd wr wf sd \nVmFlags: dc \nzz-yy \nVmFlags: dc\n";
        let kept = |start, length, is_wiped| Kept { start, length, is_wiped };
        assert_eq!(Kept::of(smaps), [kept(0x7f00, 0x1000, false), kept(0xb000, 0x1000, true)]);
        assert_eq!(Kept::of(b""), []);
    }
}
