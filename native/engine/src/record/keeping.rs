//! What a recording with a filter leaves running: it goes on untraced, and a keeper lets its calls pass (`keeper.rs`).

use std::io;
use std::rc::Rc;

use libc::{c_int, pid_t, sock_filter, user_regs_struct};
use trace_format::ring::{BASE, RESERVED_END};

use super::Recorder;
use super::called::{Numbers, call_in};
use crate::keeper::{self, Keeper};
use crate::listening::{LISTENS, STEADY};
use crate::sys::{self, Resume, USER_CS};
use crate::task::Task;

const MMAP: Numbers = (libc::SYS_mmap, 192);
const MUNMAP: Numbers = (libc::SYS_munmap, 91);
const CLOSE: Numbers = (libc::SYS_close, 6);
const PRCTL: Numbers = (libc::SYS_prctl, 172);
const SECCOMP: Numbers = (libc::SYS_seccomp, 354);
const PAGE: u64 = 4096;
const ENDED: &str = "the recording was ended";

impl Recorder {
    /// Calls of the recorded programs pass a filter, and would fail where nobody answers.
    pub(super) fn is_filtered(&self) -> bool {
        self.stops_seldom() && !self.world.dispatches
    }

    /// Tasks do not stop at each of their calls.
    pub(super) fn stops_seldom(&self) -> bool {
        self.world.between == Resume::Cont
    }

    /// Programs are not what they would be without the recorder, and have to be made so before they are let go.
    pub(super) fn has_changed_programs(&self) -> bool {
        self.world.replayable || self.stops_seldom()
    }

    /// Whether a task that is to be let go cannot be at a stop of this kind: who it is, or whom it has made, is still to be seen. In the
    /// middle of a call that makes another one it can make no other call, either.
    pub(super) fn stays_for(&self, event: c_int) -> bool {
        let makes = matches!(event, sys::event::FORK | sys::event::VFORK | sys::event::CLONE);
        event == sys::event::EXEC || (makes && self.has_changed_programs())
    }

    /// Makes a task that stands still, outside of calls and of the agent, one that the keeper answers; it ends when that cannot be.
    /// `signal` is what it is about to get.
    pub(super) fn hand_to_keeper(&mut self, tid: pid_t, signal: c_int) {
        let info = sys::signal_info(tid).ok().filter(|_| signal != 0);
        self.remove_agent(tid);
        let Err(error) = self.keep(tid) else {
            if let Some(info) = info {
                let _ = sys::set_signal_info(tid, &info);
            }
            return;
        };
        let Some(task) = self.tasks.get(&tid) else { return };
        let pid = task.process.borrow().pid;
        if error.raw_os_error() != Some(libc::ESRCH) {
            self.world.note(&format!("a process that was left behind had to be ended: {error}"));
        }
        let _ = sys::kill(pid, libc::SIGKILL);
    }

    /// Takes the agent away from a task: its pages too when no other task uses them.
    pub(super) fn remove_agent(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let space = Rc::clone(&task.space);
        if space.borrow().code.is_untouched() && !task.has_block && !task.is_stranded {
            return;
        }
        if !self.world.replayable {
            // Where a handler returns to may be in a trampoline, and that leads to the agent.
            self.give_up(tid);
            return;
        }
        let is_last = !self.tasks.values().any(|other| other.tid != tid && Rc::ptr_eq(&other.space, &space));
        if is_last && !space.borrow().code.has_inside && self.evict(tid, ENDED) {
            return;
        }
        let Ok(mut regs) = sys::registers(tid) else { return };
        let own = space.borrow().code.own_ip(regs.rip);
        let is_inside = space.borrow().code.is_trampoline(own);
        let own = if is_inside { space.borrow_mut().code.uncover(tid, own) } else { Some(own) };
        if let Some(own) = own {
            regs.rip = own;
            if (BASE..RESERVED_END).contains(&regs.gs_base) {
                regs.gs_base = 0;
            }
            let _ = sys::set_registers(tid, &regs);
        } else {
            // It goes on to the end of the trampoline, which stays.
            space.borrow_mut().code.has_inside = true;
        }
        self.give_up(tid);
    }

    /// Puts the filter on a task and hands its listener over.
    fn keep(&mut self, tid: pid_t) -> io::Result<()> {
        let keeper = match &mut self.keeper {
            Some(keeper) => keeper,
            none => none.insert(Keeper::start()?),
        };
        let task = self.tasks.get(&tid).ok_or(io::ErrorKind::NotFound)?;
        let regs = sys::registers(tid)?;
        // What is read and written here is its own, whoever may look into it.
        let is_dumpable = call(task, &regs, PRCTL, &[libc::PR_GET_DUMPABLE as u64])? == 1;
        let set_dumpable = |dumpable: u64| call(task, &regs, PRCTL, &[libc::PR_SET_DUMPABLE as u64, dumpable]);
        if !is_dumpable {
            set_dumpable(1)?;
        }
        let page = call(task, &regs, MMAP, &mapped_page())? & address_mask(&regs);
        place(task, &regs, page, &keeper::NOTIFIES)?;
        let fd = listen(task, &regs, page)?;
        let listener = sys::share_descriptor(task.process.borrow().pid, tid, fd as c_int)?;
        keeper.take(&listener)?;
        // The keeper answers this call, and those that follow.
        call(task, &regs, CLOSE, &[fd])?;
        if task.is_strict {
            // The page stays: nothing is allowed any more then.
            place(task, &regs, page, &keeper::strict_filter())?;
            if !is_dumpable {
                set_dumpable(0)?;
            }
            return call(task, &regs, SECCOMP, &[libc::SECCOMP_SET_MODE_FILTER.into(), 0, page]).map(drop);
        }
        if !is_dumpable {
            set_dumpable(0)?;
        }
        call(task, &regs, MUNMAP, &[page, PAGE]).map(drop)
    }
}

/// A call, with the error that it fails with.
fn call(task: &Task, regs: &user_regs_struct, numbers: Numbers, args: &[u64]) -> io::Result<u64> {
    let gone = || io::Error::from_raw_os_error(libc::ESRCH);
    let raw = call_in(task, regs, numbers, args).ok_or_else(gone)?;
    if (-4095..0).contains(&raw) { Err(io::Error::from_raw_os_error(-raw as i32)) } else { Ok(raw as u64) }
}

fn mapped_page() -> [u64; 6] {
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    [0, PAGE, prot as u64, flags as u64, u64::from(u32::MAX), 0]
}

/// Puts into a page of a task the filter that it is to put on, and where it is told of that.
fn place(task: &Task, regs: &user_regs_struct, page: u64, filter: &[sock_filter]) -> io::Result<()> {
    // struct sock_fprog: the length, and at the size of a pointer the address.
    let word = if regs.cs == USER_CS { 8 } else { 4 };
    let mut bytes = vec![0; 2 * word];
    bytes[..2].copy_from_slice(&(filter.len() as u16).to_le_bytes());
    bytes[word..].copy_from_slice(&(page + 2 * word as u64).to_le_bytes()[..word]);
    for line in filter {
        bytes.extend_from_slice(&line.code.to_le_bytes());
        bytes.extend_from_slice(&[line.jt, line.jf]);
        bytes.extend_from_slice(&line.k.to_le_bytes());
    }
    debug_assert_eq!(bytes.len(), 2 * word + size_of_val(filter));
    if sys::write_memory(task.tid, page, &bytes) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EFAULT)) }
}

fn address_mask(regs: &user_regs_struct) -> u64 {
    if regs.cs == USER_CS { u64::MAX } else { u32::MAX.into() }
}

/// Has a task put the filter on; its listener, a descriptor of the task.
fn listen(task: &Task, regs: &user_regs_struct, page: u64) -> io::Result<u64> {
    let put_on = |flags| call(task, regs, SECCOMP, &[libc::SECCOMP_SET_MODE_FILTER.into(), flags, page]);
    let is = |error: &io::Error, errno: c_int| error.raw_os_error() == Some(errno);
    let steadily = || match put_on(LISTENS | STEADY) {
        // Before Linux 5.19.
        Err(error) if is(&error, libc::EINVAL) => put_on(LISTENS),
        result => result,
    };
    match steadily() {
        // It has given up the privilege with which the recording began, and gains none any more.
        Err(error) if is(&error, libc::EACCES) => {
            call(task, regs, PRCTL, &[libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0])?;
            steadily()
        }
        result => result,
    }
}
