//! Guarded memory in replay: kept from its processes as in the recording, so that each instruction which touches it is found by its
//! fault.

use libc::c_int;
use trace_format::column::Columns;
use trace_format::event::guard;

use super::desync::DesyncReason;
use super::event::Event;
use super::kernel::{self, Go};
use super::remote::RemoteCall;
use super::run::Runner;
use super::tracee::{At, Thread};
use super::watch::{Halt, lost};
use crate::guard::Guard;
use crate::probe;
use crate::siginfo;
use crate::stepped;
use crate::sys;

/// Guards of one address space: more than a recorder sets.
const MOST: usize = 64;

/// The call by which memory is what its program wants it to be, or is kept from it.
fn call(guard: &Guard, is_open: bool) -> RemoteCall {
    RemoteCall::new(libc::SYS_mprotect, &guard.protection(is_open))
}

/// A part of an address space is gone.
pub fn cut(guards: &mut Vec<Guard>, start: u64, length: u64) {
    let gone = start..start.saturating_add(length);
    *guards = std::mem::take(guards).into_iter().flat_map(|guard| guard.without(&gone)).collect();
}

impl Runner<'_> {
    /// Applies what an event tells of guarded memory.
    pub(super) fn guard(&mut self, thread: &mut Thread, event: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        match event.arg(1) {
            guard::SET => {
                self.set_guard(thread, event)?;
                self.go_on(thread, event, columns)
            }
            guard::LIFTED if matches!(thread.at, At::Call(_)) => self.lift_before_call(thread, event),
            guard::LIFTED => {
                let signal = self.at_trap(thread, event, (libc::SIGSEGV, siginfo::SEGV_ACCERR))?;
                self.protect(thread, event, true)?;
                thread.space().borrow_mut().guards.clear();
                Runner::keep_blocked(thread, event, signal)?;
                self.go_on(thread, event, columns)
            }
            guard::TOUCHED => {
                self.touch(thread, event)?;
                self.go_on(thread, event, columns)
            }
            _ => Err(self.desync(event, Some(thread), DesyncReason::Impossible.into())),
        }
    }

    fn set_guard(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        let [start, _, length, prot, ..] = event.args();
        let space = thread.space();
        let is_full = space.borrow().guards.len() >= MOST;
        if !matches!(thread.at, At::Held) || is_full {
            return Err(self.desync(event, Some(thread), DesyncReason::Impossible.into()));
        }
        self.claim(thread, event, start, length)?;
        let guard = Guard { start, length, prot: prot & 7 };
        self.natively_as(thread, event, &call(&guard, false), 0)?;
        space.borrow_mut().guards.push(guard);
        Ok(())
    }

    /// The call itself comes next.
    fn lift_before_call(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        /// Bytes of the instruction behind which its thread stands.
        const CALL_BYTES: u64 = 2;
        let At::Call(info) = thread.at else { return Ok(()) };
        if (info.ip.wrapping_sub(CALL_BYTES), info.sp) != (event.ip(), event.sp()) {
            return Err(self.desync(event, Some(thread), DesyncReason::Ip.into()));
        }
        self.protect(thread, event, true)?;
        thread.space().borrow_mut().guards.clear();
        thread.memory = None;
        Ok(())
    }

    fn protect(&mut self, thread: &mut Thread, event: &Event<'_>, is_open: bool) -> Result<(), Halt> {
        let guards = thread.space().borrow().guards.clone();
        guards.iter().try_for_each(|guard| self.natively_as(thread, event, &call(guard, is_open), 0))
    }

    /// Executes the instruction at which a thread stands.
    fn touch(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        let tid = thread.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        if let At::Signal(_, info) = thread.at
            && siginfo::address(&info) != event.arg(0)
        {
            return Err(self.desync(event, Some(thread), DesyncReason::Argument(0).into()));
        }
        let signal = self.at_trap(thread, event, (libc::SIGSEGV, siginfo::SEGV_ACCERR))?;
        self.protect(thread, event, true)?;
        let regs = *thread.registers()?;
        let instruction = probe::decode(tid, regs.rip, probe::bits(&regs));
        thread.settle()?;
        loop {
            kernel::go(tid, Go::Step, 0).map_err(failed)?;
            let status = self.remote.watch.wait(tid)?;
            let raised = |signal: c_int| {
                sys::signal_info(tid).is_ok_and(|info| siginfo::is_synchronous(signal, siginfo::code(&info)))
            };
            match status >> 8 {
                libc::SIGTRAP if libc::WIFSTOPPED(status) => break,
                signal @ 1..=64 if libc::WIFSTOPPED(status) && !raised(signal) => {}
                _ => return Err(self.desync(event, Some(thread), DesyncReason::State.into())),
            }
        }
        if let Some(instruction) = instruction {
            stepped::clear_stack(tid, &instruction, sys::registers(tid).map_err(failed)?.rsp);
        }
        thread.at = At::Held;
        self.protect(thread, event, false)?;
        Runner::keep_blocked(thread, event, signal)
    }
}
