//! The process that all replayed programs are forked from: nothing is mapped in it but the stub, so that a fork costs next
//! to nothing, and the address space of a recorded program can be built in the child as it was.
//!
//! All descend as children of the replaying thread (CLONE_PARENT), so that it can reap them, and share one table of
//! descriptors, through which files get from the engine to where they are to be mapped. The program never sees those: its
//! own calls on descriptors are never executed.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::{pid_t, user_regs_struct};

use super::kernel::{self, Spawn};
use super::remote::{Remote, RemoteCall, get, put};
use super::watch::{Halt, lost};
use crate::error::EngineError;
use crate::image;
use crate::launch::own_tracer;
use crate::store::Hash;
use crate::sys;

/// Flags of every clone of a replayed process.
pub const CLONE_ALWAYS: u64 = (libc::CLONE_FILES | libc::CLONE_FS | libc::CLONE_PTRACE) as u64;
/// Additional ones of those that are no threads: with no signal at their end.
pub const CLONE_PROCESS: u64 = CLONE_ALWAYS | libc::CLONE_PARENT as u64;

/// The descriptor of the zygote's end of the socket.
const SOCKET: u64 = 3;
/// Descriptors that are kept in the tracees' table at most.
const MOST_DESCRIPTORS: usize = 512;

/// What a descriptor in the tracees' table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// A file by its hash.
    Object(Hash),
    /// Shared memory by device and inode.
    Shared(u64, u64),
}

/// Instructions that trap in replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traps {
    pub tsc: bool,
    pub cpuid: bool,
}

/// The first process of a replaying thread.
pub struct Zygote {
    pid: pid_t,
    regs: user_regs_struct,
    socket: OwnedFd,
    descriptors: HashMap<Content, u64>,
}

/// Kills and reaps the child when something fails before the zygote is there.
struct Unborn(Option<pid_t>);

impl Drop for Unborn {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            end(pid);
        }
    }
}

/// Kills a process of one thread and reaps it.
pub fn end(pid: pid_t) {
    let _ = sys::kill(pid, libc::SIGKILL);
    while let Ok(waited) = sys::wait_for(pid) {
        if !libc::WIFSTOPPED(waited.status) {
            break;
        }
    }
}

impl Zygote {
    /// Starts the process, traced by this thread.
    ///
    /// # Errors
    /// When the kernel refuses to trace, or to execute files in memory.
    pub fn start(remote: &Remote, traps: Traps) -> Result<Zygote, Halt> {
        let system = |doing: &'static str| {
            move |error: std::io::Error| EngineError::replay("refused", format!("cannot {doing}: {error}"), Vec::new())
        };
        let mut program = sys::memory_file(c"trace-replay", 0).map_err(system("make a file in memory"))?;
        program.write_all(&remote.stub.program()).map_err(system("write a file in memory"))?;
        let (socket, theirs) = kernel::socket_pair().map_err(system("make a socket"))?;
        let (go, start) = kernel::socket_pair().map_err(system("make a socket"))?;
        let others = [go.as_raw_fd(), socket.as_raw_fd()];
        let spawn = Spawn { program: program.as_fd(), socket: theirs.as_fd(), start: start.as_fd(), others: &others };
        let pid = kernel::spawn(&spawn).map_err(system("make a process"))?;
        let mut unborn = Unborn(Some(pid));
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACEEXEC;
        sys::seize(pid, options).map_err(|error| {
            let message = format!(
                "the kernel does not let this process trace its child: {error}{}; `trace doctor` tells what forbids it",
                own_tracer()
            );
            EngineError::replay("permission", message, Vec::new())
        })?;
        File::from(go).write_all(b"g").map_err(system("start a process"))?;
        let status = remote.watch.wait(pid)?;
        if status >> 16 != libc::PTRACE_EVENT_EXEC {
            unborn.0 = libc::WIFSTOPPED(status).then_some(pid);
            let message = "the kernel does not execute files in memory, which replay starts its processes from \
                           (is vm.memfd_noexec set?); `trace doctor` tells more";
            return Err(EngineError::replay("refused", message, Vec::new()).into());
        }
        let regs = sys::registers(pid).map_err(|error| lost(pid, &error))?;
        let mut regs = regs;
        regs.orig_rax = u64::MAX;
        let zygote = Zygote { pid, regs, socket, descriptors: HashMap::new() };
        unborn.0 = None;
        zygote.settle(remote, traps)?;
        Ok(zygote)
    }

    /// Unmaps all but the stub, and sets what the children inherit.
    fn settle(&self, remote: &Remote, traps: Traps) -> Result<(), Halt> {
        const PR_TSC_SIGSEGV: u64 = 2;
        /// The kernel's own half of the address space, where `[vsyscall]` is.
        const KERNEL: u64 = 1 << 63;
        let stub = remote.stub;
        let mut calls: Vec<RemoteCall> = image::mappings(self.pid)
            .iter()
            .filter(|mapping| mapping.start < KERNEL && !stub.overlaps(mapping.start, mapping.start + mapping.length))
            .map(|mapping| RemoteCall::new(libc::SYS_munmap, &[mapping.start, mapping.length]))
            .collect();
        // Stacks are mapped with all the room that they had, and must not grow beyond it.
        let limits = [(libc::RLIMIT_STACK, 4096), (libc::RLIMIT_NOFILE, u64::from(u32::MAX))];
        for (index, (resource, soft)) in limits.into_iter().enumerate() {
            let mut limit = [0_u8; 16];
            let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: the kernel writes one struct; the limits of a child are those of its parent.
            unsafe { libc::getrlimit(resource, &raw mut old) };
            limit[..8].copy_from_slice(&soft.min(old.rlim_max).to_le_bytes());
            limit[8..].copy_from_slice(&old.rlim_max.to_le_bytes());
            let at = stub.data() + index as u64 * 16;
            put(self.pid, at, &limit)?;
            calls.push(RemoteCall::new(libc::SYS_prlimit64, &[0, u64::from(resource), at, 0]));
        }
        let first_trap = calls.len();
        if traps.tsc {
            calls.push(RemoteCall::new(libc::SYS_prctl, &[libc::PR_SET_TSC as u64, PR_TSC_SIGSEGV]));
        }
        if traps.cpuid {
            calls.push(RemoteCall::new(libc::SYS_arch_prctl, &[sys::ARCH_SET_CPUID, 0]));
        }
        let results = remote.table(self.pid, self.pid, &self.regs, &calls)?;
        if results[first_trap..].iter().any(|result| *result != 0) {
            let message = "this processor or kernel does not let rdtsc or cpuid trap, which the trace needs; \
                           replay on a machine like that of the recording";
            return Err(EngineError::replay("other-cpu", message, Vec::new()).into());
        }
        Ok(())
    }

    /// A new process with nothing but the stub, stopped. Its registers are those of a program that starts, all 0.
    pub fn fork(&self, remote: &Remote) -> Result<(pid_t, user_regs_struct), Halt> {
        let pid = remote.one(self.pid, self.pid, &self.regs, &RemoteCall::new(libc::SYS_clone, &[CLONE_PROCESS]))?;
        let pid = new_task(pid)?;
        remote.await_birth(pid)?;
        Ok((pid, self.regs))
    }

    /// A file will be given anew.
    pub fn forget(&mut self, content: Content) {
        self.descriptors.remove(&content);
    }

    /// All shared memory will be others.
    pub fn forget_shared(&mut self) {
        self.descriptors.retain(|content, _| !matches!(content, Content::Shared(..)));
    }

    /// The number by which all tracees of this thread know a file.
    pub fn descriptor(&mut self, remote: &Remote, content: Content, file: BorrowedFd<'_>) -> Result<u64, Halt> {
        /// Places in the data pages: the message, its vector, its byte, its control part.
        const VECTOR: u64 = 64;
        const BYTE: u64 = 96;
        const CONTROL: u64 = 128;
        if let Some(known) = self.descriptors.get(&content) {
            return Ok(*known);
        }
        if self.descriptors.len() >= MOST_DESCRIPTORS {
            self.descriptors.clear();
            let close = |first: u64, last: u64| RemoteCall::new(libc::SYS_close_range, &[first, last, 0]);
            let calls = [close(0, SOCKET - 1), close(SOCKET + 1, u64::from(u32::MAX))];
            remote.table(self.pid, self.pid, &self.regs, &calls)?;
        }
        kernel::send_descriptor(self.socket.as_fd(), file).map_err(|error| lost(self.pid, &error))?;
        let data = remote.stub.data();
        let mut message = [0_u8; 176];
        // struct msghdr: name, its length, vector, its length, control, its length, flags.
        for (at, word) in [(16, data + VECTOR), (24, 1), (32, data + CONTROL), (40, 24), (64, data + BYTE), (72, 1)] {
            message[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        put(self.pid, data, &message)?;
        let flags = (libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT) as u64;
        let receive = RemoteCall::new(libc::SYS_recvmsg, &[SOCKET, data, flags]);
        let received = remote.one(self.pid, self.pid, &self.regs, &receive)?;
        // A header of 16 bytes, which begins with the length of the whole, then the descriptor.
        let mut control = [0_u8; 20];
        get(self.pid, data + CONTROL, &mut control)?;
        let number = i32::from_le_bytes([control[16], control[17], control[18], control[19]]);
        if received != 1 || control[0] != 20 || number < 0 {
            let message =
                format!("a tracee cannot take over a file ({received}); is the limit of open files very low?");
            return Err(EngineError::replay("refused", message, Vec::new()).into());
        }
        self.descriptors.insert(content, number as u64);
        Ok(number as u64)
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        end(self.pid);
    }
}

/// The process or thread that a clone has made.
pub fn new_task(result: i64) -> Result<pid_t, Halt> {
    match pid_t::try_from(result) {
        Ok(tid) if tid > 0 => Ok(tid),
        _ => {
            let error = std::io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EINVAL));
            let mut message = format!("the kernel does not make a process or thread for the replay: {error}");
            if error.raw_os_error() == Some(libc::EAGAIN) {
                message += "; is their number limited (ulimit -u, pids.max of a container)?";
            }
            Err(EngineError::replay("refused", message, Vec::new()).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_processes_is_named() {
        let text = |result: i32| match new_task(i64::from(result)) {
            Err(Halt::Failed(error)) => error.to_string(),
            _ => panic!("{result} is no failure of the kernel"),
        };
        assert!(text(-libc::EAGAIN).ends_with("(ulimit -u, pids.max of a container)?"));
        assert!(!text(-libc::ENOMEM).contains("ulimit"));
        assert!(matches!(new_task(7), Ok(7)));
    }
}
