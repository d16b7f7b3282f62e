//! Calls that a stopped thread makes for the engine, in the agent's code and on the agent's pages.

use std::io;

use libc::{pid_t, user_regs_struct};
use trace_format::ring::{BASE, SCRATCH, SPARE};

use super::Image;
use crate::siginfo;
use crate::sys::{self, Resume};

/// Bytes of a call in the table.
const CALL_BYTES: usize = 64;
/// The name of a ring's file, behind the table.
pub const NAME: u64 = SCRATCH + 0x800;
/// Most calls of one run: half of a page, the stack being at the other end.
const MOST_CALLS: usize = 28;

/// A call: number and arguments; which of them is to be an earlier call's result, and of which.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    number: i64,
    args: [u64; 6],
    earlier: i64,
}

impl Call {
    #[must_use]
    pub fn new(number: i64, args: &[u64]) -> Call {
        let mut call = Call { number, args: [0; 6], earlier: -1 };
        call.args[..args.len()].copy_from_slice(args);
        call
    }

    /// No call, but a condition: unless the two words at an address are these, so many calls that follow are not made, and their results
    /// say nothing.
    #[must_use]
    pub fn unless(addr: u64, [first, second]: [u64; 2], skipped: usize) -> Call {
        Call::new(-1, &[addr, first, second, (skipped * CALL_BYTES) as u64])
    }

    /// The same for a call of the run, by its place in it, that has just been made: unless that is its result.
    #[must_use]
    pub fn unless_result(call: usize, result: u64, skipped: usize) -> Call {
        // Behind a result there is the next call's number, which is this one's.
        Call::unless(SCRATCH + ((call + 1) * CALL_BYTES) as u64 - 8, [result, u64::MAX], skipped)
    }

    /// With the result of an earlier call of the run as an argument: of the one so many calls before.
    #[must_use]
    pub fn with_result(self, before: usize, argument: i64) -> Call {
        Call { earlier: ((before * CALL_BYTES) << 8) as i64 | argument, ..self }
    }
}

/// A thread that stands still at the end of a call, at its birth or in a signal stop, and is used for calls until this is
/// dropped: then its registers are back, as [`Borrowed::regs`] says.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own about the thread")]
pub struct Borrowed<'a> {
    image: &'a Image,
    tid: pid_t,
    pid: pid_t,
    /// What the thread is to go on with.
    pub regs: user_regs_struct,
    /// What it stood still with.
    found: user_regs_struct,
    /// Its mask of signals, when it has made a call here.
    mask: Option<u64>,
    /// Its own call was interrupted, and the kernel is still to say whether it is made again.
    pub restarts: bool,
    /// A filter of the recorder stops it at calls that are not the agent's.
    pub is_filtered: bool,
    /// It was to be stopped meanwhile.
    stopped: bool,
    gone: bool,
}

impl<'a> Borrowed<'a> {
    /// # Errors
    /// When the thread is gone, or does not stand still.
    pub fn new(image: &'a Image, pid: pid_t, tid: pid_t) -> io::Result<Borrowed<'a>> {
        let regs = sys::registers(tid)?;
        Ok(Borrowed {
            image,
            tid,
            pid,
            regs,
            found: regs,
            mask: None,
            restarts: false,
            is_filtered: true,
            stopped: false,
            gone: false,
        })
    }

    /// It is about to make a call: whatever signal comes meanwhile waits.
    fn block_signals(&mut self) -> io::Result<()> {
        if self.mask.is_none() {
            let mask = sys::signal_mask(self.tid)?;
            sys::set_signal_mask(self.tid, u64::MAX)?;
            self.mask = Some(mask);
        }
        Ok(())
    }

    #[must_use]
    pub fn tid(&self) -> pid_t {
        self.tid
    }

    /// Makes one call by a `syscall` instruction somewhere in the program, before the agent's pages are there.
    ///
    /// # Errors
    /// When the thread ended, or the call failed.
    pub fn bootstrap(&mut self, instruction: u64, number: i64, args: [u64; 6]) -> io::Result<u64> {
        self.block_signals()?;
        let mut regs = self.regs;
        regs.orig_rax = u64::MAX;
        regs.rip = instruction;
        regs.rax = number as u64;
        (regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9) =
            (args[0], args[1], args[2], args[3], args[4], args[5]);
        sys::set_registers(self.tid, &regs)?;
        // The filter stops it at the entry, where there is one; then it is stopped at the exit.
        let (mut how, mut is_entered) = (if self.is_filtered { Resume::Cont } else { Resume::Syscall }, false);
        loop {
            sys::resume(self.tid, how, 0)?;
            let status = self.wait()?;
            let is_call = status >> 8 == libc::SIGTRAP | 0x80;
            if is_call && is_entered {
                break;
            } else if is_call || status >> 16 == sys::event::SECCOMP {
                (how, is_entered) = (Resume::Syscall, true);
            } else {
                self.came_between(status, &sys::registers(self.tid)?)?;
            }
        }
        result(sys::registers(self.tid)?.rax)
    }

    /// A stop that is not of the engine's making: it was to be stopped, or to go on.
    fn came_between(&mut self, status: libc::c_int, regs: &user_regs_struct) -> io::Result<()> {
        let signal = libc::WSTOPSIG(status);
        let stops = matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
        match status >> 16 {
            // With its whole process, or, where that goes on, with SIGTRAP (ptrace(2)).
            sys::event::STOP => self.stopped = stops,
            0 if signal == libc::SIGSTOP => self.stopped = true,
            0 if signal != libc::SIGTRAP => {
                return Err(io::Error::other(format!("signal {signal} in a call of the engine at {:#x}", regs.rip)));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the thread has come to the end of a run: to the signal that it sends itself, which is pending before any that is sent to
    /// the process.
    fn is_done(&mut self, status: libc::c_int, regs: &user_regs_struct) -> io::Result<bool> {
        match status >> 8 {
            // In another pid namespace it cannot name itself, and comes to an instruction that is none.
            libc::SIGILL => Ok(true),
            // One that comes on the way there is somebody's.
            libc::SIGSTOP if regs.rip == self.image.own_called => {
                // One that was sent to this thread while that call was made stands for both.
                self.stopped |= siginfo::pid(&sys::signal_info(self.tid)?) != self.pid;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Makes calls one after the other; their raw results.
    ///
    /// # Panics
    /// When there are more calls than the agent's page has room for.
    ///
    /// # Errors
    /// When the thread ended.
    pub fn run(&mut self, calls: &[Call]) -> io::Result<Vec<i64>> {
        assert!(calls.len() <= MOST_CALLS, "{} calls", calls.len());
        let mut table = Vec::with_capacity(calls.len() * CALL_BYTES);
        for call in calls {
            let words = [call.number as u64].into_iter().chain(call.args).chain([call.earlier as u64]);
            table.extend(words.flat_map(u64::to_le_bytes));
        }
        let end = SCRATCH + table.len() as u64;
        self.block_signals()?;
        if !sys::write_memory(self.tid, SCRATCH, &table) {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        let mut regs = self.regs;
        regs.orig_rax = u64::MAX;
        regs.eflags = 0x202;
        regs.rip = self.image.remote;
        regs.rsp = SPARE - 16;
        (regs.r15, regs.r14) = (SCRATCH, end);
        (regs.r12, regs.r13) = (self.pid as u64, self.tid as u64);
        sys::set_registers(self.tid, &regs)?;
        loop {
            sys::resume(self.tid, Resume::Cont, 0)?;
            let status = self.wait()?;
            let regs = sys::registers(self.tid)?;
            if regs.r15 == end && self.is_done(status, &regs)? {
                break;
            }
            self.came_between(status, &regs)?;
        }
        if sys::read_pieces(self.tid, &[(SCRATCH, table.len())], &mut table) != table.len() {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        let word = |call: &[u8]| i64::from_le_bytes(call[56..64].try_into().unwrap_or_default());
        Ok(table.chunks_exact(CALL_BYTES).map(word).collect())
    }

    /// The next stop. One that ends the thread stays to be waited for by others.
    fn wait(&mut self) -> io::Result<libc::c_int> {
        Ok(sys::wait_stop(self.tid).inspect_err(|_| self.gone = true)?.status)
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if self.gone || (self.mask.is_none() && self.regs == self.found) {
            return;
        }
        if !self.restarts {
            // Its call is over.
            self.regs.orig_rax = u64::MAX;
        }
        let _ = sys::set_registers(self.tid, &self.regs);
        if let Some(mask) = self.mask {
            let _ = sys::set_signal_mask(self.tid, mask);
        }
        if self.stopped {
            let _ = sys::tgkill(self.pid, self.tid, libc::SIGSTOP);
        }
    }
}

/// A raw result as the C library would tell it.
///
/// # Errors
/// What the result says.
pub fn result(raw: u64) -> io::Result<u64> {
    let value = raw as i64;
    if (-4095..0).contains(&value) { Err(io::Error::from_raw_os_error(-value as i32)) } else { Ok(raw) }
}

const _: () = assert!(BASE < SCRATCH && NAME < SPARE);
