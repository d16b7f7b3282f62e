//! Threads that the program itself has stopped to look at: LeakSanitizer makes a process in the memory of its own, which attaches to each
//! thread with ptrace(2), asks for its registers, looks for what nothing in memory points to, and lets them go on. A thread can have one
//! tracer, which is the recorder: so it answers such a process. Its threads stand still, as the kernel would have it, and what it is told
//! of them is in the trace as the results of its calls.
//!
//! Only who shares the memory of those that it attaches to is answered: all else that a tracer may want of them (steps, other registers,
//! other results of calls) would be the recorder's to do, and to replay.

use std::rc::Rc;

use libc::{c_int, pid_t};
use trace_format::ring::refuse;
use trace_format::table::Arch;

use super::Recorder;
use super::agent::refusals;
use crate::capture::Call;
use crate::memory::word_of;
use crate::sys::{self, Waited};

const EFAULT: i64 = -(libc::EFAULT as i64);
const EINVAL: i64 = -(libc::EINVAL as i64);
const EIO: i64 = -(libc::EIO as i64);

/// The registers of a program, `elf_gregset_t`, and all that XSAVE saves.
const NT_PRSTATUS: u64 = libc::NT_PRSTATUS as u64;
const NT_X86_XSTATE: u64 = sys::NT_X86_XSTATE as u64;

/// A thread that stands still until its inspector lets it go.
pub(super) struct Inspected {
    by: pid_t,
    /// Its inspector has waited for it.
    is_told: bool,
    /// What it has stopped for meanwhile.
    stops: Vec<Waited>,
}

impl Recorder {
    /// What a task that is about to make a call is answered, as one that inspects others.
    pub(super) fn answers_inspector(&mut self, tid: pid_t) -> Option<i64> {
        let call = self.tasks.get(&tid)?.call.filter(|call| call.arch == Arch::X86_64)?;
        match call.name() {
            "ptrace" if call.int(0) as u32 == libc::PTRACE_ATTACH => self.attaches(tid, call.int(1)),
            "ptrace" => self.asks(tid, &call),
            "wait4" if !self.inspected.is_empty() => self.waits_for_inspected(tid, &call),
            _ => None,
        }
    }

    fn attaches(&mut self, tid: pid_t, target: pid_t) -> Option<i64> {
        let (own, other) = (self.tasks.get(&tid)?, self.tasks.get(&target)?);
        let are_apart = !Rc::ptr_eq(&own.process, &other.process);
        let is_meant = are_apart && Rc::ptr_eq(&own.space, &other.space);
        if !is_meant || self.inspected.contains_key(&target) {
            return None;
        }
        let stops = self.hold_still(target)?;
        self.inspected.insert(target, Inspected { by: tid, is_told: false, stops });
        // Its calls are answered here.
        self.tasks.get(&tid)?.ring.iter().for_each(|ring| ring.refuse(refuse::ALL));
        Some(0)
    }

    /// Has a task stay where it is; the stops that it has reported. `None` when it does not come to one.
    fn hold_still(&mut self, tid: pid_t) -> Option<Vec<Waited>> {
        const SOON_NS: u64 = 100_000_000;
        if let Some(index) = self.stops.iter().position(|stop| stop.tid == tid) {
            let is_stop = libc::WIFSTOPPED(self.stops[index].status);
            return is_stop.then(|| self.stops.remove(index).into_iter().collect());
        }
        let task = self.tasks.get(&tid)?;
        if task.pending.is_some() {
            let group = task.space.borrow().group;
            let next = self.world.turns.release(group, tid);
            self.grant(next);
            return Some(Vec::new());
        }
        if task.in_group_stop || self.world.waits_for_stream(tid) {
            return Some(Vec::new());
        }
        sys::interrupt(tid).ok()?;
        let deadline = sys::monotonic() + SOON_NS;
        while sys::monotonic() < deadline {
            match sys::poll(tid) {
                Ok(Some(waited)) if libc::WIFSTOPPED(waited.status) => return Some(vec![waited]),
                Ok(Some(waited)) => {
                    self.stops.push_back(waited);
                    return None;
                }
                Ok(None) => std::thread::sleep(std::time::Duration::from_micros(20)),
                Err(_) => return None,
            }
        }
        None
    }

    /// A request of ptrace(2) about a thread that stands still.
    fn asks(&mut self, tid: pid_t, call: &Call) -> Option<i64> {
        let target = call.int(1);
        self.inspected.get(&target).filter(|inspected| inspected.by == tid)?;
        let [_, _, addr, data, ..] = call.args;
        Some(match call.int(0) as u32 {
            libc::PTRACE_DETACH => {
                self.release_inspected(target);
                0
            }
            libc::PTRACE_GETREGS => match self.own_registers(target) {
                Some(regs) if sys::write_memory(tid, data, &sys::register_bytes(&regs)) => 0,
                _ => EFAULT,
            },
            libc::PTRACE_GETREGSET => self.register_set(target, addr).map_or(EINVAL, |set| give(tid, data, &set)),
            _ => EIO,
        })
    }

    /// One of the sets of registers of a stopped task.
    fn register_set(&self, tid: pid_t, which: u64) -> Option<Vec<u8>> {
        match which {
            NT_PRSTATUS => self.own_registers(tid).map(|regs| sys::register_bytes(&regs).to_vec()),
            NT_X86_XSTATE => {
                let mut state = vec![0; sys::MOST_VECTOR_STATE];
                let length = sys::vector_registers(tid, &mut state).ok()?;
                state.truncate(length);
                Some(state)
            }
            _ => None,
        }
    }

    /// Who attaches to a thread waits for its stop.
    fn waits_for_inspected(&mut self, tid: pid_t, call: &Call) -> Option<i64> {
        const STATUS: c_int = libc::W_STOPCODE(libc::SIGSTOP);
        let wanted = call.int(0);
        let mut found = self.inspected.iter_mut().filter(|(_, inspected)| inspected.by == tid && !inspected.is_told);
        let (target, inspected) = found.find(|(target, _)| wanted == -1 || wanted == **target)?;
        let status = call.args[1];
        if status != 0 && !sys::write_memory(tid, status, &STATUS.to_le_bytes()) {
            return Some(EFAULT);
        }
        inspected.is_told = true;
        Some((*target).into())
    }

    /// Keeps the stop of a task that stands still for somebody. Whether it is one.
    pub(super) fn keeps_still(&mut self, waited: &Waited) -> bool {
        // Nearly always.
        if self.inspected.is_empty() {
            return false;
        }
        let inspected = self.inspected.get_mut(&waited.tid).filter(|_| libc::WIFSTOPPED(waited.status));
        inspected.is_some_and(|inspected| {
            inspected.stops.push(*waited);
            true
        })
    }

    /// A task is let go on by who has looked at it.
    fn release_inspected(&mut self, tid: pid_t) {
        let Some(inspected) = self.inspected.remove(&tid) else { return };
        self.stops.extend(inspected.stops);
        let pending = self.tasks.get(&tid).filter(|task| task.pending.is_some());
        let group = pending.map(|task| task.space.borrow().group);
        if let Some(group) = group
            && self.take_turn(group, tid)
        {
            self.grant(Some(tid));
        }
        let is_last = !self.inspected.values().any(|other| other.by == inspected.by);
        if let Some(task) = self.tasks.get(&inspected.by).filter(|_| is_last) {
            task.ring.iter().for_each(|ring| ring.refuse(refusals(task, self.world.replayable)));
        }
    }

    /// A task is gone: those that it has looked at go on.
    pub(super) fn inspector_gone(&mut self, tid: pid_t) {
        self.inspected.remove(&tid);
        self.release_all_inspected(|by| by == tid);
    }

    /// Those go on that stand still for these inspectors.
    pub(super) fn release_all_inspected(&mut self, is_meant: impl Fn(pid_t) -> bool) {
        let of = self.inspected.iter().filter(|(_, inspected)| is_meant(inspected.by));
        let released: Vec<pid_t> = of.map(|(tid, _)| *tid).collect();
        for tid in released {
            self.release_inspected(tid);
        }
    }
}

/// Writes a set of registers where an iovec says, as far as there is room, and its length there.
fn give(tid: pid_t, iovec: u64, set: &[u8]) -> i64 {
    let mut bytes = [0; 16];
    if sys::read_pieces(tid, &[(iovec, bytes.len())], &mut bytes) != bytes.len() {
        return EFAULT;
    }
    let room = usize::try_from(word_of(&bytes[8..])).unwrap_or(usize::MAX);
    let length = room.min(set.len());
    let is_written = sys::write_memory(tid, word_of(&bytes[..8]), &set[..length])
        && sys::write_memory(tid, iovec.wrapping_add(8), &length.to_le_bytes());
    if is_written { 0 } else { EFAULT }
}
