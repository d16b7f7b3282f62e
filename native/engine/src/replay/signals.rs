//! Signals, answered instructions, and turns. Threads that were stopped in the middle of their own code are found again in
//! `search.rs`.
//!
//! A signal that a handler takes is delivered for real, so that the kernel builds its frame. One that came from outside is
//! sent by replay while the thread stands where its last event left it, so that it is taken before the next instruction.

use libc::c_int;
use trace_format::column::Columns;
use trace_format::event::{Side, Trap, disposition};

use super::desync::DesyncReason;
use super::event::Event;
use super::kernel::{self, Go};
use super::remote::{RemoteCall, put};
use super::run::Runner;
use super::scan::{self, Next};
use super::tracee::{Action, At, Thread};
use super::watch::{Halt, lost};
use crate::siginfo;
use crate::sys::{self, USER32_CS};

impl Runner<'_> {
    /// A signal event.
    pub(super) fn signal(&mut self, thread: &mut Thread, event: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        let what = event.arg(2);
        if !matches!(what, disposition::HANDLED | disposition::FATAL) {
            return Ok(());
        }
        if scan::is_synchronous(event) {
            if event.code() == libc::SIGSYS {
                self.dispatch(thread, event)?;
            }
            self.check_fault(thread, event)?;
        } else if what == disposition::HANDLED && !matches!(thread.at, At::Held) {
            return Err(self.desync(event, Some(thread), DesyncReason::Kind.into()));
        }
        if what == disposition::FATAL {
            // Its Exit event ends it.
            return Ok(());
        }
        self.deliver(thread, event, columns)
    }

    /// A call that the program has sent to itself comes as a call, for the kernel has not been told to send it. It is taken back
    /// as the kernel takes it back: the number is in the register of results again.
    fn dispatch(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        let recorded = event.captured(0, Side::In).and_then(|info| <[u8; 128]>::try_from(info).ok());
        let (At::Call(call), Some(info)) = (thread.at, recorded) else { return Ok(()) };
        if call.first as c_int != siginfo::call_number(&info) {
            return Err(self.desync(event, Some(thread), DesyncReason::Number.into()));
        }
        let regs = thread.registers()?;
        regs.rax = call.first;
        regs.orig_rax = u64::MAX;
        thread.settle()?;
        thread.at = At::Signal(libc::SIGSYS, info);
        Ok(())
    }

    /// A fault has to have recurred: the same signal, of the same kind, at the same place.
    fn check_fault(&self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        let At::Signal(signal, info) = thread.at else {
            return Err(self.desync(event, Some(thread), DesyncReason::Kind.into()));
        };
        let tid = thread.tid;
        let regs = sys::registers(tid).map_err(|error| lost(tid, &error))?;
        let recorded = event.captured(0, Side::In).and_then(|info| <&[u8; 128]>::try_from(info).ok());
        let same = recorded.is_none_or(|recorded| {
            siginfo::code(recorded) == siginfo::code(&info) && siginfo::address(recorded) == siginfo::address(&info)
        });
        let reason = if signal != event.code() || !same {
            DesyncReason::Signal
        } else if regs.rip != event.ip() {
            DesyncReason::Ip
        } else if regs.rsp != event.sp() {
            DesyncReason::Sp
        } else {
            return Ok(());
        };
        Err(self.desync(event, Some(thread), reason.into()))
    }

    /// Lets a handler run.
    fn deliver(&mut self, thread: &mut Thread, event: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        let (tid, signal) = (thread.tid, event.code());
        let failed = move |error: std::io::Error| lost(tid, &error);
        self.come_out(thread)?;
        let is_real = (1..=64).contains(&signal) && !matches!(signal, libc::SIGKILL | libc::SIGSTOP);
        let info = event.captured(0, Side::In).and_then(|info| <[u8; 128]>::try_from(info).ok());
        let Some(info) = info.filter(|_| is_real) else {
            return Err(self.desync(event, Some(thread), DesyncReason::Impossible.into()));
        };
        let once = self.apply_action(thread, event, signal)?;
        let mask = thread.blocked()?;
        // A signal that is given to a thread at a call does not come before its handler could be stopped at.
        let is_call = signal == libc::SIGSYS;
        let is_there =
            matches!(thread.at, At::Signal(number, _) if number == signal) && !is_call && !thread.is_borrowed();
        if !is_there {
            self.provoke(thread, event, signal)?;
        }
        // What is blocked while the handler runs follows from what is blocked now; a blocked signal is not delivered.
        let blocked = thread.waiting_mask.take().unwrap_or(mask) & !(1 << (signal - 1));
        thread.block(blocked)?;
        // The handler adds to it what its action says.
        thread.mask = None;
        sys::set_signal_info(tid, &info).map_err(failed)?;
        if once {
            let actions = thread.actions();
            let mut actions = actions.borrow_mut();
            actions.wanted.remove(&signal);
            actions.applied.remove(&signal);
        }
        thread.memory = None;
        let next = self.job.scan.next(thread.index, event.seq());
        let has_frame = event.captures().any(|capture| capture.is_output());
        if next.is_none() && blocked == mask && !has_frame {
            return self.resume(thread, event, signal);
        }
        self.step_into_handler(thread, event, signal)?;
        if blocked != mask {
            self.patch_saved_mask(thread, event, mask)?;
        }
        // The frame tells of faults that the thread had before, and there the kernel's memory is not the recorded one.
        self.write_outputs(thread, event)?;
        match next {
            Some(Next::Stays | Next::Handler) => Ok(()),
            Some(Next::Preempted(seq)) => self.run_to_state(thread, seq, event, columns),
            None => self.resume(thread, event, 0),
        }
    }

    /// Has the thread stop for a signal before it runs another instruction.
    fn provoke(&mut self, thread: &mut Thread, event: &Event<'_>, signal: c_int) -> Result<(), Halt> {
        let tid = thread.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        thread.settle()?;
        thread.block(0)?;
        sys::tgkill(thread.pid(), tid, signal).map_err(failed)?;
        loop {
            kernel::go(tid, Go::Emulated, 0).map_err(failed)?;
            let status = self.remote.watch.wait(tid)?;
            if status >> 8 == signal {
                return Ok(());
            }
            // Another signal from outside; anything else means that the thread ran.
            let is_signal = libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) & 0x80 == 0;
            if !is_signal {
                return Err(self.desync(event, Some(thread), DesyncReason::Signal.into()));
            }
        }
    }

    /// Delivers the signal that the thread is stopped for, and stops it at the first instruction of the handler.
    fn step_into_handler(&mut self, thread: &mut Thread, event: &Event<'_>, signal: c_int) -> Result<(), Halt> {
        let tid = thread.tid;
        kernel::go(tid, Go::Step, signal).map_err(|error| lost(tid, &error))?;
        let status = self.remote.watch.wait(tid)?;
        thread.at = At::Held;
        if status >> 8 == libc::SIGTRAP {
            return Ok(());
        }
        // The frame could not be written, or the process is gone.
        if libc::WIFSTOPPED(status) {
            let info = sys::signal_info(tid).unwrap_or([0; 128]);
            thread.at = At::Signal(libc::WSTOPSIG(status), info);
            if self.job.scan.next(thread.index, event.seq()).is_none() {
                return Ok(());
            }
        } else {
            thread.at = At::Ended(status);
        }
        Err(self.desync(event, Some(thread), DesyncReason::Signal.into()))
    }

    /// The handler returns to other blocked signals than those with which it began: they stand in its frame.
    fn patch_saved_mask(&mut self, thread: &mut Thread, event: &Event<'_>, mask: u64) -> Result<(), Halt> {
        /// Return address; flags, link, stack and registers of the context (asm/ucontext.h).
        const IN_FRAME: u64 = 8 + 8 + 8 + 24 + 256;
        /// Flags, link, stack and registers of the 32-bit context, and where its address stands in the frame.
        const IN_CONTEXT_I386: u64 = 4 + 4 + 12 + 88;
        const CONTEXT_I386: u64 = 12;
        let tid = thread.tid;
        let regs = sys::registers(tid).map_err(|error| lost(tid, &error))?;
        let addr = if regs.cs == USER32_CS {
            let mut context = [0; 4];
            sys::read_pieces(tid, &[(regs.rsp + CONTEXT_I386, 4)], &mut context);
            u64::from(u32::from_le_bytes(context)) + IN_CONTEXT_I386
        } else {
            regs.rsp.wrapping_add(IN_FRAME)
        };
        if sys::write_memory(tid, addr, &mask.to_le_bytes()) {
            return Ok(());
        }
        Err(self.desync(event, Some(thread), DesyncReason::Unmapped { addr }.into()))
    }

    /// Tells the kernel what the program wants to be done about a signal, if it does not know; whether only once.
    fn apply_action(&mut self, thread: &mut Thread, event: &Event<'_>, signal: c_int) -> Result<bool, Halt> {
        let actions = thread.actions();
        let wanted = actions.borrow().wanted.get(&signal).cloned();
        let Some(wanted) = wanted else {
            return Err(self.desync(event, Some(thread), DesyncReason::Impossible.into()));
        };
        if actions.borrow().applied.get(&signal) == Some(&wanted) {
            return Ok(wanted.once);
        }
        let call = self.action_call(thread, &wanted, signal)?;
        let actual = self.natively(thread, &call)?;
        if actual < 0 && !wanted.bytes.is_empty() {
            return Err(self.desync(event, Some(thread), DesyncReason::Result { actual }.into()));
        }
        let once = wanted.once;
        actions.borrow_mut().applied.insert(signal, wanted);
        Ok(once)
    }

    fn action_call(&mut self, thread: &Thread, action: &Action, signal: c_int) -> Result<RemoteCall, Halt> {
        let data = self.remote.stub.data();
        let place = if action.bytes.is_empty() {
            action.handler
        } else {
            let length = action.bytes.len().min(64);
            put(thread.tid, data, &action.bytes[..length])?;
            data
        };
        let number = if action.i386 { action.number as i64 } else { libc::SYS_rt_sigaction };
        let call = RemoteCall::new(number, &[signal as u64, place, 0, 8]);
        Ok(RemoteCall { i386: action.i386, ..call })
    }

    /// An instruction that the recorder answered, or its agent: it traps here too, and gets the same answer.
    pub(super) fn trap(&mut self, thread: &mut Thread, event: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        if Trap::from_code(event.code()) == Some(Trap::Guard) {
            return self.guard(thread, event, columns);
        }
        self.answer_trap(thread, event)?;
        self.tend(thread, event)?;
        self.go_on(thread, event, columns)
    }

    /// Gives a thread the answer that was recorded, behind the instruction where it has trapped.
    pub(super) fn answer_trap(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        let trap = Trap::from_code(event.code());
        let expected = match trap {
            Some(Trap::Rdrand | Trap::Rdseed | Trap::Rdpid) => (libc::SIGILL, siginfo::ILL_ILLOPN),
            _ => (libc::SIGSEGV, siginfo::SI_KERNEL),
        };
        let signal = self.at_trap(thread, event, expected)?;
        let regs = thread.registers()?;
        let low = u64::from(u32::MAX);
        match trap {
            Some(Trap::Rdrand | Trap::Rdseed | Trap::Rdpid) => {
                let [value, carry, register, width, length, _] = event.args();
                if !crate::trap::answer(regs, trap, (value, carry != 0), (register, width), length) {
                    return Err(self.desync(event, Some(thread), DesyncReason::Impossible.into()));
                }
            }
            Some(Trap::Rdtsc) => {
                (regs.rax, regs.rdx) = (event.arg(0) & low, event.arg(0) >> 32);
                regs.rip += 2;
            }
            Some(Trap::Rdtscp) => {
                (regs.rax, regs.rdx, regs.rcx) = (event.arg(0) & low, event.arg(0) >> 32, event.arg(1) & low);
                regs.rip += 3;
            }
            Some(Trap::Cpuid) => {
                if (regs.rax & low, regs.rcx & low) != (event.arg(0), event.arg(1)) {
                    return Err(self.desync(event, Some(thread), DesyncReason::Argument(0).into()));
                }
                (regs.rax, regs.rbx, regs.rcx, regs.rdx) = (event.arg(2), event.arg(3), event.arg(4), event.arg(5));
                regs.rip += 2;
            }
            Some(Trap::Guard) | None => {
                return Err(self.desync(event, Some(thread), DesyncReason::Impossible.into()));
            }
        }
        regs.orig_rax = u64::MAX;
        Runner::keep_blocked(thread, event, signal)
    }

    /// A thread stands at the instruction at which it has trapped in the recording: the signal of it, which it gets no more.
    pub(super) fn at_trap(
        &mut self,
        thread: &mut Thread,
        event: &Event<'_>,
        expected: (c_int, c_int),
    ) -> Result<c_int, Halt> {
        let At::Signal(signal, info) = thread.at else {
            return Err(self.desync(event, Some(thread), DesyncReason::Kind.into()));
        };
        let regs = *thread.registers()?;
        if (signal, siginfo::code(&info)) != expected {
            return Err(self.desync(event, Some(thread), DesyncReason::Kind.into()));
        }
        if self.own_place(thread, regs.rip) != event.ip() {
            return Err(self.desync(event, Some(thread), DesyncReason::Ip.into()));
        }
        if regs.rsp != event.sp() {
            return Err(self.desync(event, Some(thread), DesyncReason::Sp.into()));
        }
        // The kernel unblocks a signal that it has to force upon a thread, and forgets what was to be done about it.
        if thread.mask.is_none_or(|mask| mask & 1 << (signal - 1) != 0) {
            thread.mask = None;
            thread.actions().borrow_mut().applied.remove(&signal);
        }
        Ok(signal)
    }

    /// The recorder has blocked the signal again, if it was.
    pub(super) fn keep_blocked(thread: &mut Thread, event: &Event<'_>, signal: c_int) -> Result<(), Halt> {
        if event.ret() != 1 {
            return Ok(());
        }
        let mask = thread.blocked()? | 1 << (signal - 1);
        thread.block(mask)
    }

    /// A thread gets its turn, or was stopped in the middle of its own code and goes on now.
    pub(super) fn preempt(&mut self, thread: &mut Thread, event: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        if !matches!(thread.at, At::Held) {
            return Err(self.desync(event, Some(thread), DesyncReason::State.into()));
        }
        self.go_on(thread, event, columns)
    }
}
