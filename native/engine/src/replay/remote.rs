//! Calls that a tracee executes for the engine, by the stub's code. One stop per call, or per table of calls.

use libc::{pid_t, user_regs_struct};

use super::kernel::{self, Go};
use super::stub::{ENTRY_BYTES, MOST_CALLS, Stub};
use super::watch::{Halt, Watch, lost};
use crate::error::EngineError;
use crate::sys::{self, USER_CS, USER_DS};

/// A call: number and arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteCall {
    pub number: u64,
    pub args: [u64; 6],
    /// By the 32-bit entry, with its numbers.
    pub i386: bool,
}

impl RemoteCall {
    #[must_use]
    pub fn new(number: i64, args: &[u64]) -> RemoteCall {
        let mut call = RemoteCall { number: number as u64, ..RemoteCall::default() };
        call.args[..args.len()].copy_from_slice(args);
        call
    }
}

/// The means to make calls in tracees.
pub struct Remote {
    pub stub: Stub,
    pub watch: Watch,
}

impl Remote {
    /// Executes one call in a stopped thread; the raw result. The thread stands in the stub afterwards: `regs`, its registers
    /// before, have to be put back before it goes on. The stack pointer stays the program's own during the call.
    pub fn one(&self, pid: pid_t, tid: pid_t, regs: &user_regs_struct, call: &RemoteCall) -> Result<i64, Halt> {
        let mut own = Remote::prepared(pid, tid, regs);
        let args = call.args;
        own.rax = call.number;
        if call.i386 {
            own.rip = self.stub.entry_of_one_i386();
            (own.rbx, own.rcx, own.rdx, own.rsi, own.rdi, own.rbp) =
                (args[0], args[1], args[2], args[3], args[4], args[5]);
        } else {
            own.rip = self.stub.entry_of_one();
            (own.rdi, own.rsi, own.rdx, own.r10, own.r8, own.r9) =
                (args[0], args[1], args[2], args[3], args[4], args[5]);
        }
        let after = self.run(tid, &own)?;
        Ok(after.r15 as i64)
    }

    /// Executes calls one after the other; their raw results. As [`Remote::one`].
    pub fn table(
        &self,
        pid: pid_t,
        tid: pid_t,
        regs: &user_regs_struct,
        calls: &[RemoteCall],
    ) -> Result<Vec<i64>, Halt> {
        let mut results = Vec::with_capacity(calls.len());
        for group in calls.chunks(MOST_CALLS) {
            let mut table = Vec::with_capacity(group.len() * ENTRY_BYTES as usize);
            for call in group {
                for word in [call.number].into_iter().chain(call.args).chain([0]) {
                    table.extend(word.to_le_bytes());
                }
            }
            put(tid, self.stub.table(), &table)?;
            let mut own = Remote::prepared(pid, tid, regs);
            own.rip = self.stub.entry_of_table();
            own.r15 = self.stub.table();
            own.r14 = self.stub.table() + table.len() as u64;
            self.run(tid, &own)?;
            get(tid, self.stub.table(), &mut table)?;
            let result = |entry: &[u8]| i64::from_le_bytes(entry[56..64].try_into().unwrap_or_default());
            results.extend(table.chunks_exact(ENTRY_BYTES as usize).map(result));
        }
        Ok(results)
    }

    fn prepared(pid: pid_t, tid: pid_t, regs: &user_regs_struct) -> user_regs_struct {
        let mut own = *regs;
        own.orig_rax = u64::MAX;
        own.cs = USER_CS;
        own.ss = USER_DS;
        // Neither direction nor trap flag of the program.
        own.eflags = 0x202;
        own.r12 = pid as u64;
        own.r13 = tid as u64;
        own
    }

    /// Runs the stub until it stops itself.
    fn run(&self, tid: pid_t, own: &user_regs_struct) -> Result<user_regs_struct, Halt> {
        sys::set_registers(tid, own).map_err(|error| lost(tid, &error))?;
        loop {
            kernel::go(tid, Go::Natively, 0).map_err(|error| lost(tid, &error))?;
            let status = self.watch.wait(tid)?;
            if !libc::WIFSTOPPED(status) {
                return Err(gone(tid));
            }
            if status >> 8 == libc::SIGSTOP {
                let after = sys::registers(tid).map_err(|error| lost(tid, &error))?;
                if after.rip == self.stub.stopped() {
                    return Ok(after);
                }
            }
            // Whatever others have sent is none of the program's business. A fault of the stub's code would come again and
            // again; it is this program's mistake.
            if matches!(status >> 8, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGSYS) {
                return Err(EngineError::Broken { part: "stub of the replay" }.into());
            }
        }
    }

    /// Waits for the first stop of a task that a remote call has made.
    pub fn await_birth(&self, tid: pid_t) -> Result<(), Halt> {
        loop {
            let status = self.watch.wait(tid)?;
            if !libc::WIFSTOPPED(status) {
                return Err(gone(tid));
            }
            if status >> 16 == libc::PTRACE_EVENT_STOP {
                return Ok(());
            }
            kernel::go(tid, Go::Natively, 0).map_err(|error| lost(tid, &error))?;
        }
    }
}

/// Puts arguments of a call into the stub's data pages (or anything anywhere).
pub fn put(tid: pid_t, addr: u64, bytes: &[u8]) -> Result<(), Halt> {
    if sys::write_memory(tid, addr, bytes) { Ok(()) } else { Err(gone(tid)) }
}

/// Reads what a call has written into the stub's data pages.
pub fn get(tid: pid_t, addr: u64, buffer: &mut [u8]) -> Result<(), Halt> {
    let length = buffer.len();
    if sys::read_pieces(tid, &[(addr, length)], buffer) == length { Ok(()) } else { Err(gone(tid)) }
}

/// The tracee is gone.
pub fn gone(tid: pid_t) -> Halt {
    lost(tid, &std::io::Error::from_raw_os_error(libc::ESRCH)).into()
}
