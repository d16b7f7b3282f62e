//! Signals, answered instructions, and threads that were stopped in the middle of their own code.
//!
//! A signal that a handler takes is delivered for real, so that the kernel builds its frame. One that came from outside is
//! sent by replay while the thread stands where its last event left it, so that it is taken before the next instruction.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use libc::{c_int, pid_t};
use trace_format::column::{Columns, Projection};
use trace_format::event::{Side, Trap, disposition};

use super::desync::DesyncReason;
use super::event::Event;
use super::kernel::{self, Go, Register};
use super::remote::{RemoteCall, put};
use super::run::Runner;
use super::scan::{self, Next};
use super::tracee::{Action, At, Thread};
use super::watch::{Halt, lost};
use crate::image;
use crate::probe::{JUMP_BYTES, PROBE_BYTES, Probe};
use crate::siginfo;
use crate::state;
use crate::sys::{self, USER32_CS};

impl Runner<'_> {
    /// A signal event.
    pub(super) fn signal(&mut self, thread: &mut Thread, event: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        let what = event.arg(2);
        if !matches!(what, disposition::HANDLED | disposition::FATAL) {
            return Ok(());
        }
        if scan::is_synchronous(event) {
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
        let is_real = (1..=64).contains(&signal) && !matches!(signal, libc::SIGKILL | libc::SIGSTOP);
        let info = event.captured(0, Side::In).and_then(|info| <[u8; 128]>::try_from(info).ok());
        let Some(info) = info.filter(|_| is_real) else {
            return Err(self.desync(event, Some(thread), DesyncReason::Impossible.into()));
        };
        let once = self.apply_action(thread, event, signal)?;
        let mask = thread.blocked()?;
        let is_there = matches!(thread.at, At::Signal(number, _) if number == signal) && !thread.is_borrowed();
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

    /// An instruction that the recorder answered: it traps here too, and gets the same answer.
    pub(super) fn trap(&mut self, thread: &mut Thread, event: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        let trap = Trap::from_code(event.code());
        let expected = match trap {
            Some(Trap::Rdrand | Trap::Rdseed | Trap::Rdpid) => (libc::SIGILL, siginfo::ILL_ILLOPN),
            _ => (libc::SIGSEGV, siginfo::SI_KERNEL),
        };
        let At::Signal(signal, info) = thread.at else {
            return Err(self.desync(event, Some(thread), DesyncReason::Kind.into()));
        };
        let regs = *thread.registers()?;
        if (signal, siginfo::code(&info)) != expected {
            return Err(self.desync(event, Some(thread), DesyncReason::Kind.into()));
        }
        if regs.rip != event.ip() {
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
            None => return Err(self.desync(event, Some(thread), DesyncReason::Impossible.into())),
        }
        regs.orig_rax = u64::MAX;
        if event.ret() == 1 {
            // The recorder has blocked it again.
            let mask = thread.blocked()? | 1 << (signal - 1);
            thread.block(mask)?;
        }
        self.go_on(thread, event, columns)
    }

    /// A thread gets its turn, or was stopped in the middle of its own code and goes on now.
    pub(super) fn preempt(&mut self, thread: &mut Thread, event: &Event<'_>, columns: &Columns) -> Result<(), Halt> {
        if !matches!(thread.at, At::Held) {
            return Err(self.desync(event, Some(thread), DesyncReason::State.into()));
        }
        self.go_on(thread, event, columns)
    }

    /// Runs a thread until it is in the state in which the recorder stopped it.
    pub(super) fn run_to_state(
        &mut self,
        thread: &mut Thread,
        seq: u64,
        event: &Event<'_>,
        columns: &Columns,
    ) -> Result<(), Halt> {
        let first = columns.first_seq;
        let Some(row) = seq.checked_sub(first).filter(|row| *row < u64::from(columns.count)) else {
            let number = self.job.trace.block_of(seq).unwrap_or(usize::MAX);
            let later = self.job.trace.decode_block(number, Projection::ALL)?;
            let row = (seq - later.first_seq) as usize;
            return self.run_to(thread, &Event::new(&later, row), event);
        };
        self.run_to(thread, &Event::new(columns, row as usize), event)
    }

    fn run_to(&mut self, thread: &mut Thread, target: &Event<'_>, event: &Event<'_>) -> Result<(), Halt> {
        let state = target.captured(0, Side::In).and_then(registers_of).zip(target.captured(1, Side::In));
        let Some((wanted, hash)) = state else {
            return Err(self.desync(target, Some(thread), DesyncReason::Impossible.into()));
        };
        thread.settle()?;
        let tid = thread.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        let except = self.remote.stub.data();
        let holes = pairs(target.captured(3, Side::In).unwrap_or_default());
        let is_there = || -> Result<bool, Halt> {
            let regs = sys::registers(tid).map_err(failed)?;
            Ok(state::same_registers(&regs, &wanted) && state::state_hash(tid, &[except], &holes)[..] == *hash)
        };
        thread.at = At::Held;
        if is_there()? {
            return Ok(());
        }
        if self.run_to_probe(thread, target, event, &wanted, hash)? {
            return Ok(());
        }
        kernel::set_register(tid, Register::Debug0, wanted.rip).map_err(failed)?;
        kernel::set_register(tid, Register::Debug7, 1).map_err(failed)?;
        let deadline = self.deadline(thread, event);
        loop {
            kernel::go(tid, Go::Emulated, 0).map_err(failed)?;
            thread.at = self.await_stop(thread, event)?;
            let hit =
                matches!(thread.at, At::Signal(libc::SIGTRAP, info) if siginfo::code(&info) == siginfo::TRAP_HWBKPT);
            if !hit || sys::monotonic() > deadline {
                kernel::set_register(tid, Register::Debug7, 0).ok();
                return Err(self.desync(target, Some(thread), DesyncReason::State.into()));
            }
            if is_there()? || self.step_through_repetition(thread, &wanted, &is_there)? {
                break;
            }
            self.remote.watch.check()?;
        }
        kernel::set_register(tid, Register::Debug7, 0).map_err(failed)?;
        thread.at = At::Held;
        Ok(())
    }

    /// Runs a thread to a state by a probe in its own code; false when that cannot be put there.
    fn run_to_probe(
        &mut self,
        thread: &mut Thread,
        target: &Event<'_>,
        event: &Event<'_>,
        wanted: &libc::user_regs_struct,
        hash: &[u8],
    ) -> Result<bool, Halt> {
        let tid = thread.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        let words = pairs(target.captured(2, Side::In).unwrap_or_default());
        let holes = pairs(target.captured(3, Side::In).unwrap_or_default());
        let Some(room) = room_near(tid, wanted.rip, wanted.cs == USER32_CS) else { return Ok(false) };
        let Some(probe) = Probe::new(tid, wanted, &words, room.base) else { return Ok(false) };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let prot = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let map = [room.start, room.length, prot as u64, flags as u64, u64::MAX, 0];
        if self.natively(thread, &RemoteCall::new(libc::SYS_mmap, &map))? as u64 != room.start {
            return Ok(false);
        }
        thread.settle()?;
        let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{tid}/mem")).map_err(failed)?;
        let write = |addr: u64, bytes: &[u8]| memory.write_all_at(bytes, addr).map_err(failed);
        write(room.base, &probe.code)?;
        self.step_out(thread, &probe, wanted.rip)?;
        write(wanted.rip, &probe.jump)?;
        let deadline = self.deadline(thread, event);
        loop {
            kernel::go(tid, Go::Emulated, 0).map_err(failed)?;
            thread.at = self.await_stop(thread, event)?;
            let stopped = sys::registers(tid).map_err(failed)?;
            let trapped = matches!(thread.at, At::Signal(libc::SIGTRAP, _));
            // It came to the middle of the jump: those bytes stop it, too.
            if trapped && probe.is_inside(stopped.rip.wrapping_sub(1), wanted.rip) && sys::monotonic() <= deadline {
                write(wanted.rip, &probe.original)?;
                kernel::set_register(tid, Register::Rip, stopped.rip - 1).map_err(failed)?;
                self.step_out(thread, &probe, wanted.rip)?;
                write(wanted.rip, &probe.jump)?;
                continue;
            }
            let hit = trapped && stopped.rip == probe.hit;
            if !hit || sys::monotonic() > deadline {
                write(wanted.rip, &probe.original)?;
                return Err(self.desync(target, Some(thread), DesyncReason::State.into()));
            }
            self.remote.watch.check()?;
            let Some(regs) = probe.registers(tid, &stopped, wanted.rip) else { continue };
            if !state::same_registers(&regs, wanted) {
                continue;
            }
            // Code that the program may write to counts, as it was.
            write(wanted.rip, &probe.original)?;
            if state::state_hash(tid, &[self.remote.stub.data(), room.start], &holes)[..] == *hash {
                thread.replace_registers(regs);
                thread.at = At::Held;
                self.natively(thread, &RemoteCall::new(libc::SYS_munmap, &[room.start, room.length]))?;
                return Ok(true);
            }
            write(wanted.rip, &probe.jump)?;
        }
    }

    /// Takes a thread out of the middle of the instructions that a probe is to replace. They only go on, and the last of
    /// them does not jump back among them.
    fn step_out(&self, thread: &Thread, probe: &Probe, place: u64) -> Result<(), Halt> {
        let tid = thread.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        for _ in 0..probe.original.len() {
            if !probe.is_inside(sys::registers(tid).map_err(failed)?.rip, place) {
                break;
            }
            kernel::go(tid, Go::Step, 0).map_err(failed)?;
            self.remote.watch.wait(tid)?;
        }
        Ok(())
    }

    /// A repeated string instruction can be stopped between two turns, where no breakpoint stops.
    fn step_through_repetition(
        &self,
        thread: &Thread,
        wanted: &libc::user_regs_struct,
        is_there: &impl Fn() -> Result<bool, Halt>,
    ) -> Result<bool, Halt> {
        let tid = thread.tid;
        let failed = move |error: std::io::Error| lost(tid, &error);
        let mut code = [0; 2];
        sys::read_pieces(tid, &[(wanted.rip, 2)], &mut code);
        if !matches!(code[0], 0xf2 | 0xf3) {
            return Ok(false);
        }
        loop {
            let regs = sys::registers(tid).map_err(failed)?;
            if regs.rip != wanted.rip || regs.rcx <= wanted.rcx || regs.rbx != wanted.rbx || regs.rsp != wanted.rsp {
                return Ok(false);
            }
            kernel::go(tid, Go::Step, 0).map_err(failed)?;
            let status = self.remote.watch.wait(tid)?;
            if status >> 8 != libc::SIGTRAP {
                return Ok(false);
            }
            if is_there()? {
                return Ok(true);
            }
        }
    }
}

/// Pairs of 64-bit numbers: addresses with values, or with lengths.
fn pairs(bytes: &[u8]) -> Vec<(u64, u64)> {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    bytes.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..]))).collect()
}

/// Where a probe can be: what to map for it, and where in there its code begins.
struct Room {
    start: u64,
    length: u64,
    base: u64,
}

/// Free memory that a jump from `ip` reaches. Best at the distance whose bytes are all breakpoints: whoever comes to the
/// middle of the jump is stopped there.
fn room_near(tid: pid_t, ip: u64, is_32_bit: bool) -> Option<Room> {
    /// Less than a 32-bit distance, for the instruction is moved too.
    const REACH: u64 = 0x7000_0000;
    const BREAKPOINTS: u64 = 0xffff_ffff_cccc_cccc;
    const LOWEST: u64 = 0x1_0000;
    const END_32: u64 = 0xff00_0000;
    const END: u64 = 0x7fff_0000_0000;
    let mappings = image::mappings(tid);
    let mut base = ip.wrapping_add(JUMP_BYTES as u64).wrapping_add(BREAKPOINTS);
    if is_32_bit {
        base &= u64::from(u32::MAX);
    }
    let (start, length) = (base & !(PROBE_BYTES - 1), 2 * PROBE_BYTES);
    let end = if is_32_bit { END_32 } else { END };
    let mut all = mappings.iter().map(|mapping| (mapping.start, mapping.start.saturating_add(mapping.length)));
    let is_free = all.all(|(first, last)| last + PROBE_BYTES <= start || start + length + PROBE_BYTES <= first);
    if is_free && start >= LOWEST && start + length <= end {
        return Some(Room { start, length, base });
    }
    let mut free_from = LOWEST;
    let mut found: Option<u64> = None;
    for mapping in &mappings {
        let gap = free_from..mapping.start;
        free_from = mapping.start.saturating_add(mapping.length);
        if gap.end.saturating_sub(gap.start) < 3 * PROBE_BYTES {
            continue;
        }
        for page in [gap.start + PROBE_BYTES, gap.end - 2 * PROBE_BYTES] {
            let better = found.is_none_or(|known| page.abs_diff(ip) < known.abs_diff(ip));
            if page.abs_diff(ip) < REACH && better {
                found = Some(page);
            }
        }
    }
    found.map(|page| Room { start: page, length: PROBE_BYTES, base: page })
}

fn registers_of(bytes: &[u8]) -> Option<libc::user_regs_struct> {
    if bytes.len() != size_of::<libc::user_regs_struct>() {
        return None;
    }
    // SAFETY: the struct has only integers, so any bytes of its size are one; they need not be aligned.
    Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
}
