//! What the replayer knows of each thread and process.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use libc::{c_int, pid_t, user_regs_struct};

use super::answers::Answers;
use super::kernel::{self, Register};
use super::lent::Lent;
use super::watch::{Halt, lost};
use crate::agent::code::Code;
use crate::guard::Guard;
use crate::memory::Memory;
use crate::sys::{self, CpuMask, SyscallInfo};

/// An address space.
#[derive(Clone, Debug, Default)]
pub struct Space {
    /// Threads of one group see each other's memory.
    pub group: u32,
    /// Somebody else may see it: another thread, or another process through a shared mapping.
    pub is_seen: bool,
    /// End of the heap, once a call has told.
    pub brk: Option<u64>,
    /// The first thread's stack, with its room.
    pub stack: Option<(u64, u64)>,
    /// SysV segments: start and length.
    pub segments: Vec<(u64, u64)>,
    /// Children of its processes do not get all of its memory, or not as it is (MADV_DONTFORK, MADV_WIPEONFORK).
    pub keeps_from_children: bool,
    /// It has private mappings of files that others may write to by shared ones.
    pub looks: bool,
    /// Memory that is kept from its threads.
    pub guards: Vec<Guard>,
    /// Which of its code leads to the agent.
    pub code: Code,
    /// Its pages for small files that are mapped again and again.
    pub lent: Lent,
}

/// What a process does about a signal, as a call has set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Number of the call, and whether by the 32-bit entry.
    pub number: u64,
    pub i386: bool,
    /// The kernel's struct, empty when the handler is an argument itself.
    pub bytes: Vec<u8>,
    pub handler: u64,
    /// SA_RESETHAND.
    pub once: bool,
}

/// The handlers of a process. The kernel hears of one when its first signal is about to be delivered.
#[derive(Clone, Debug, Default)]
pub struct Actions {
    pub wanted: HashMap<i32, Action>,
    pub applied: HashMap<i32, Action>,
}

/// A thread group.
#[derive(Debug)]
pub struct Process {
    pub pid: pid_t,
    /// Threads that have not been reaped.
    pub tids: Vec<pid_t>,
    pub actions: Rc<RefCell<Actions>>,
    pub space: Rc<RefCell<Space>>,
    /// Room for its stack (RLIMIT_STACK).
    pub stack_room: u64,
    pub has_ended: bool,
}

impl Process {
    /// Kills the process and reaps its threads.
    pub fn end(&mut self) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let _ = sys::kill(self.pid, libc::SIGKILL);
        // The first thread can be reaped only after the others.
        let leader = self.pid;
        self.tids.sort_unstable_by_key(|tid| *tid == leader);
        for tid in self.tids.drain(..) {
            while let Ok(waited) = sys::wait_for(tid) {
                if !libc::WIFSTOPPED(waited.status) {
                    break;
                }
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Where a thread stands.
#[derive(Clone, Copy)]
pub enum At {
    /// Where its last event left it.
    Held,
    /// The same, and it may go on; events that come next may have been put off.
    Ready,
    /// At the entry of a call, which the kernel will not execute.
    Call(SyscallInfo),
    /// Stopped for a signal that one of its instructions has caused.
    Signal(c_int, [u8; 128]),
    /// It has ended.
    Ended(c_int),
}

/// A thread of the replay; stopped whenever the replayer looks at it.
pub struct Thread {
    /// Index in the trace.
    pub index: u32,
    pub tid: pid_t,
    pub process: Rc<RefCell<Process>>,
    pub at: At,
    /// Its registers, when those of the tracee are in use for a remote call, or have to be changed before it goes on.
    regs: Option<Box<user_regs_struct>>,
    /// The blocked signals, where that is known without asking the kernel.
    pub mask: Option<u64>,
    /// The blocked signals while a call like sigsuspend(2) waited, when a handler runs next.
    pub waiting_mask: Option<u64>,
    /// Memory of the call that it stands at, taken because another thread of its group went on.
    pub memory: Option<Box<Memory>>,
    /// The CPU that its program has bound it to.
    pub cpu: Option<usize>,
    /// Answers to the calls that it makes next.
    pub answers: Answers,
}

impl Thread {
    #[must_use]
    pub fn new(index: u32, tid: pid_t, process: Rc<RefCell<Process>>) -> Thread {
        Thread {
            index,
            tid,
            process,
            at: At::Held,
            regs: None,
            mask: None,
            waiting_mask: None,
            memory: None,
            cpu: None,
            answers: Answers::default(),
        }
    }

    #[must_use]
    pub fn pid(&self) -> pid_t {
        self.process.borrow().pid
    }

    /// Its program has bound it to one CPU, as in the recording: `cpuid` tells which one it runs on, and programs that look at the machine
    /// ask on each. One that may run on several is kept on the replaying thread's. Where there is no such CPU it stays.
    pub fn bind(&mut self, cpu: Option<usize>) {
        if self.cpu == cpu {
            return;
        }
        self.cpu = cpu;
        if let Ok(mask) = cpu.map_or_else(|| sys::affinity(0), |cpu| Ok(CpuMask::single(cpu))) {
            let _ = sys::set_affinity(self.tid, &mask);
        }
    }

    #[must_use]
    pub fn space(&self) -> Rc<RefCell<Space>> {
        Rc::clone(&self.process.borrow().space)
    }

    #[must_use]
    pub fn actions(&self) -> Rc<RefCell<Actions>> {
        Rc::clone(&self.process.borrow().actions)
    }

    /// The thread's registers, to be read or changed. They are put back before it goes on.
    pub fn registers(&mut self) -> Result<&mut user_regs_struct, Halt> {
        let regs = match self.regs.take() {
            Some(regs) => regs,
            None => Box::new(sys::registers(self.tid).map_err(|error| lost(self.tid, &error))?),
        };
        Ok(self.regs.insert(regs))
    }

    /// Replaces all registers.
    pub fn replace_registers(&mut self, regs: user_regs_struct) {
        self.regs = Some(Box::new(regs));
    }

    /// Sets the result of a call.
    pub fn set_result(&mut self, result: i64) -> Result<(), Halt> {
        match &mut self.regs {
            Some(regs) => {
                regs.rax = result as u64;
                Ok(())
            }
            None => self.poke(Register::Rax, result as u64),
        }
    }

    /// The blocked signals.
    pub fn blocked(&mut self) -> Result<u64, Halt> {
        if let Some(mask) = self.mask {
            return Ok(mask);
        }
        let mask = sys::signal_mask(self.tid).map_err(|error| lost(self.tid, &error))?;
        Ok(*self.mask.insert(mask))
    }

    /// Sets the blocked signals.
    pub fn block(&mut self, mask: u64) -> Result<(), Halt> {
        if self.mask != Some(mask) {
            sys::set_signal_mask(self.tid, mask).map_err(|error| lost(self.tid, &error))?;
            self.mask = Some(mask);
        }
        Ok(())
    }

    fn poke(&self, register: Register, value: u64) -> Result<(), Halt> {
        kernel::set_register(self.tid, register, value).map_err(|error| lost(self.tid, &error).into())
    }

    /// Its registers, as the program has them.
    #[must_use]
    pub fn own_registers(&self) -> Option<user_regs_struct> {
        self.regs.as_deref().copied().or_else(|| sys::registers(self.tid).ok())
    }

    /// Whether its registers have to be put back.
    #[must_use]
    pub fn is_borrowed(&self) -> bool {
        self.regs.is_some()
    }

    /// Puts the registers back.
    pub fn settle(&mut self) -> Result<(), Halt> {
        match self.regs.take() {
            Some(regs) => sys::set_registers(self.tid, &regs).map_err(|error| lost(self.tid, &error).into()),
            None => Ok(()),
        }
    }
}
