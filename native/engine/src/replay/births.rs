//! Births, execs and ends of tasks.

use std::cell::RefCell;
use std::rc::Rc;

use libc::{pid_t, user_regs_struct};
use trace_format::event::{Side, slot};
use trace_format::table::Arch;

use super::agent::Agent;
use super::calls::address_taken;
use super::desync::DesyncReason;
use super::event::Event;
use super::kernel::{self, Go};
use super::remote::RemoteCall;
use super::run::Runner;
use super::scan::Next;
use super::tracee::{Actions, At, Process, Space, Thread};
use super::watch::{Halt, lost};
use super::zygote::{CLONE_ALWAYS, CLONE_PROCESS, new_task};
use crate::capture::Call;
use crate::error::EngineError;
use crate::layout::{self, Row};
use crate::sys::{USER_CS, USER_DS, USER32_CS};

const VM: u64 = libc::CLONE_VM as u64;
const THREAD: u64 = libc::CLONE_THREAD as u64;
const SIGHAND: u64 = libc::CLONE_SIGHAND as u64;
const SYSVSEM: u64 = libc::CLONE_SYSVSEM as u64;
/// Flags by which a thread of a process is made.
pub const NEW_THREAD: u64 = VM | THREAD | SIGHAND | SYSVSEM | CLONE_ALWAYS;
/// linux/sched.h; only clone3(2) takes it.
const CLEAR_SIGHAND: u64 = 1 << 32;

impl Runner<'_> {
    /// A thread or process comes to be: made by its parent, which stands at the call that makes it.
    pub(super) fn task(&mut self, event: &Event<'_>) -> Result<(), Halt> {
        let index = event.thread();
        // One that had no parent in the recording begins with its Exec.
        let Some(parent) = event.arg(0).checked_sub(1) else { return Ok(()) };
        let Some(mut parent) = self.threads.get_mut(parent as usize).and_then(Option::take) else {
            // It was killed with its parent, which is told first, as it was made: nobody has seen it.
            let is_stillborn = self.job.scan.next(index, event.seq()) == Some(Next::Stays);
            if is_stillborn || self.job.options.warn_only {
                return Ok(());
            }
            return Err(self.desync(event, None, DesyncReason::Impossible.into()));
        };
        let child = self.make_task(&mut parent, event);
        let at = parent.index as usize;
        self.threads[at] = Some(parent);
        let mut child = child?;
        if self.job.scan.posthumous_of(at as u32) == Some(event.seq()) {
            self.leave(at as u32);
        }
        self.write_outputs(&child, event)?;
        if self.job.scan.next(index, event.seq()).is_none() {
            self.before(&child);
            self.resume(&mut child, event, 0)?;
        }
        if let Some(place) = self.threads.get_mut(index as usize) {
            *place = Some(Box::new(child));
        }
        Ok(())
    }

    fn make_task(&mut self, parent: &mut Thread, event: &Event<'_>) -> Result<Thread, Halt> {
        let makes = match &parent.at {
            At::Call(info) => matches!(Call::entered(info).name(), "clone" | "clone3" | "fork" | "vfork"),
            _ => false,
        };
        if !makes {
            return Err(self.desync(event, Some(parent), DesyncReason::Kind.into()));
        }
        self.give_back(parent, event)?;
        let flags = event.arg(1);
        let kept = flags & (VM | THREAD | SIGHAND | SYSVSEM);
        let base = if flags & THREAD != 0 { CLONE_ALWAYS } else { CLONE_PROCESS };
        let tid = new_task(self.natively(parent, &RemoteCall::new(libc::SYS_clone, &[kept | base]))?)?;
        let process = self.process_of_child(parent, tid, flags);
        self.done.threads += 1;
        self.remote.await_birth(tid)?;
        let mut child = Thread::new(event.thread(), tid, process);
        child.mask = parent.mask;
        // The kernel has bound it as its parent.
        child.cpu = parent.cpu;
        let mut regs = *parent.registers()?;
        regs.rax = 0;
        regs.orig_rax = u64::MAX;
        (regs.rip, regs.rsp, regs.fs_base, regs.gs_base) = (event.ip(), event.sp(), event.arg(2), event.arg(3));
        child.replace_registers(regs);
        self.equip(&mut child)?;
        Ok(child)
    }

    fn process_of_child(&mut self, parent: &Thread, tid: pid_t, flags: u64) -> Rc<RefCell<Process>> {
        if flags & THREAD != 0 {
            parent.space().borrow_mut().is_seen = true;
            parent.process.borrow_mut().tids.push(tid);
            return Rc::clone(&parent.process);
        }
        let actions = if flags & SIGHAND != 0 {
            parent.actions()
        } else if flags & CLEAR_SIGHAND != 0 {
            // The kernel's side is as the parent's; what was applied there is put in order when a signal comes.
            let applied = parent.actions().borrow().applied.clone();
            Rc::new(RefCell::new(Actions { applied, ..Actions::default() }))
        } else {
            let copy = parent.actions().borrow().clone();
            Rc::new(RefCell::new(copy))
        };
        let space = parent.space();
        let space = if flags & VM != 0 {
            space.borrow_mut().is_seen = true;
            space
        } else {
            let mut copy = space.borrow().clone();
            copy.code.forget_stops();
            if copy.group != 0 {
                copy.group = self.new_group();
                copy.is_seen = false;
            }
            Rc::new(RefCell::new(copy))
        };
        let stack_room = parent.process.borrow().stack_room;
        self.add_process(Process { pid: tid, tids: vec![tid], actions, space, stack_room, has_ended: false })
    }

    fn new_group(&mut self) -> u32 {
        self.next_group += 1;
        self.next_group
    }

    pub(super) fn add_process(&mut self, process: Process) -> Rc<RefCell<Process>> {
        self.done.processes += 1;
        let pid = process.pid;
        let process = Rc::new(RefCell::new(process));
        self.processes.insert(pid, Rc::clone(&process));
        process
    }

    /// A program begins: a fresh process with what the kernel had mapped.
    pub(super) fn exec(&mut self, event: &Event<'_>) -> Result<(), Halt> {
        let (stack_room, cpu) = match self.threads.get(event.thread() as usize) {
            Some(Some(old)) => (old.process.borrow().stack_room, old.cpu),
            _ => (layout::STACK_ROOM, None),
        };
        self.leave(event.thread());
        let is_i386 = event.arch() == Arch::I386 as u8;
        let bytes = event.captured(slot::LAYOUT, Side::In).unwrap_or_default();
        let rows = layout::with_room(layout::rows(bytes), stack_room);
        if rows.is_empty() && self.job.scan.next(event.thread(), event.seq()) == Some(Next::Stays) {
            // It was killed before its first instruction.
            return Ok(());
        }
        if rows.is_empty() {
            return Err(self.desync(event, None, DesyncReason::Impossible.into()));
        }
        let (pid, blank) = self.zygote.fork(&self.remote)?;
        let group = self.new_group();
        let stack = rows.iter().find(|row| row.is_stack()).map(|row| (row.start, row.end));
        let looks = rows.iter().any(|row| self.looks_at_shared(row));
        let code = Agent::code_of(self.agent.as_ref(), self.job.scan, event.seq());
        let space = Space { group, stack, looks, code, ..Space::default() };
        let process = self.add_process(Process {
            pid,
            tids: vec![pid],
            actions: Rc::default(),
            space: Rc::new(RefCell::new(space)),
            stack_room,
            has_ended: false,
        });
        self.done.threads += 1;
        let mut thread = Thread::new(event.thread(), pid, process);
        thread.bind(cpu);
        self.build(&thread, &blank, &rows)?;
        self.write_outputs(&thread, event)?;
        thread.replace_registers(first_registers(event, is_i386));
        if self.job.options.exec_only {
            self.end_process(&thread.process);
            return Ok(());
        }
        if self.job.scan.next(event.thread(), event.seq()).is_none() {
            self.resume(&mut thread, event, 0)?;
        }
        if let Some(place) = self.threads.get_mut(event.thread() as usize) {
            *place = Some(Box::new(thread));
        }
        Ok(())
    }

    /// Maps the rows of a layout into a process that has nothing but the stub.
    fn build(&mut self, thread: &Thread, blank: &user_regs_struct, rows: &[Row]) -> Result<(), Halt> {
        let rows: Vec<&Row> = rows.iter().filter(|row| !row.is_special()).collect();
        for row in &rows {
            if self.remote.stub.overlaps(row.start, row.end) {
                return Err(address_taken(row.start, row.length()).into());
            }
        }
        let calls = rows.iter().map(|row| self.mapping_call(row)).collect::<Result<Vec<_>, _>>()?;
        let results = self.remote.table(thread.tid, thread.tid, blank, &calls)?;
        for (row, mut result) in rows.iter().zip(results) {
            if result == -i64::from(libc::EPERM) && row.prot & libc::PROT_EXEC as u64 != 0 {
                let call = self.mapping_call_of_copy(row)?;
                result = self.remote.one(thread.tid, thread.tid, blank, &call)?;
            }
            if result != row.start as i64 {
                let error = std::io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::ENOMEM));
                let message = format!(
                    "cannot map {:x}-{:x} of the recorded program here: {error}; is the address space limited (ulimit -v)?",
                    row.start, row.end
                );
                return Err(EngineError::replay("refused", message, Vec::new()).into());
            }
        }
        Ok(())
    }

    /// The program that a thread's process ran is over.
    pub(super) fn leave(&mut self, thread: u32) {
        if let Some(old) = self.threads.get_mut(thread as usize).and_then(Option::take) {
            self.end_process(&old.process);
        }
    }

    /// Ends a process; its threads are gone.
    pub(super) fn end_process(&mut self, process: &Rc<RefCell<Process>>) {
        process.borrow_mut().end();
        self.processes.remove(&process.borrow().pid);
    }

    /// Ends all processes.
    pub(super) fn end_all(&mut self) {
        self.threads.fill_with(|| None);
        for (_, process) in self.processes.drain() {
            process.borrow_mut().end();
        }
    }

    /// A thread or process ends.
    pub(super) fn exit(&mut self, event: &Event<'_>) -> Result<(), Halt> {
        /// It goes on as the first thread of its process, with a new program.
        const EXECUTES: u64 = 2;
        let index = event.thread() as usize;
        let Some(mut thread) = self.threads.get_mut(index).and_then(Option::take) else { return Ok(()) };
        if thread.process.borrow().has_ended {
            return Ok(());
        }
        if event.arg(0) == EXECUTES {
            self.end_process(&thread.process);
            return Ok(());
        }
        self.before(&thread);
        self.write_outputs(&thread, event)?;
        if event.arg(0) == 1 && self.job.scan.posthumous_of(event.thread()).is_some_and(|birth| birth > event.seq()) {
            // It stands where it makes another one, until that has come to be.
            self.threads[index] = Some(thread);
            return Ok(());
        }
        if event.arg(0) == 1 {
            self.end_process(&thread.process);
            return Ok(());
        }
        // One that was killed stays stopped until its process ends.
        if super::calls::standing_at(&thread) == "exit" {
            self.end_thread(&mut thread)?;
        }
        Ok(())
    }

    /// Lets a thread end by itself, which touches nothing: the kernel was never told of its words in memory.
    fn end_thread(&mut self, thread: &mut Thread) -> Result<(), Halt> {
        let tid = thread.tid;
        let stub = self.remote.stub;
        let regs = thread.registers()?;
        (regs.rip, regs.rax, regs.rdi, regs.orig_rax) = (stub.entry_of_one(), libc::SYS_exit as u64, 0, u64::MAX);
        (regs.cs, regs.ss) = (USER_CS, USER_DS);
        thread.settle()?;
        kernel::go(tid, Go::Natively, 0).map_err(|error| lost(tid, &error))?;
        if tid == thread.pid() {
            // The first thread can be waited for only when all others are gone.
            return Ok(());
        }
        loop {
            let status = self.remote.watch.wait(tid)?;
            if !libc::WIFSTOPPED(status) {
                thread.process.borrow_mut().tids.retain(|other| *other != tid);
                return Ok(());
            }
            kernel::go(tid, Go::Natively, 0).map_err(|error| lost(tid, &error))?;
        }
    }
}

/// The registers with which the kernel starts a program (ELF_PLAT_INIT, start_thread).
fn first_registers(event: &Event<'_>, is_i386: bool) -> user_regs_struct {
    // SAFETY: the struct has only integers, for which all zeros are valid.
    let mut regs: user_regs_struct = unsafe { std::mem::zeroed() };
    (regs.rip, regs.rsp, regs.orig_rax) = (event.ip(), event.sp(), u64::MAX);
    (regs.cs, regs.ss, regs.eflags) = (USER_CS, USER_DS, 0x202);
    if is_i386 {
        (regs.cs, regs.ds, regs.es) = (USER32_CS, USER_DS, USER_DS);
    }
    regs
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        self.end_all();
    }
}
