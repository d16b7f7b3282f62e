//! How processes end whose parent is another one: their handles say when, and newer kernels how.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use libc::{c_int, pid_t};

use super::Notified;
use crate::capture::Call;
use crate::pidfd;
use crate::sys::{self, Stat};
use crate::task::Task;

/// What the recorder waits for: a call that asks, and ends of processes.
pub(super) struct Watch(OwnedFd);

/// Stands for the listening end, which is no process.
const LISTENER: u64 = 0;

impl Watch {
    pub fn new(listener: RawFd) -> io::Result<Watch> {
        // SAFETY: takes no pointer.
        let epoll = pidfd::owned(i64::from(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }))?;
        let watch = Watch(epoll);
        watch.add(listener, LISTENER, libc::EPOLLIN)?;
        Ok(watch)
    }

    fn add(&self, fd: RawFd, key: u64, events: c_int) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: key };
        // SAFETY: the event is of this frame.
        let done = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Tells when a process ends, and again when it has been waited for.
    pub fn process(&self, pid: pid_t, handle: &OwnedFd) -> io::Result<()> {
        self.add(handle.as_raw_fd(), pid as u64, libc::EPOLLIN | libc::EPOLLET)
    }

    /// Waits, or until a signal comes. Whether a call asks, or nobody is left; `ready` gets the processes.
    pub fn wait(&self, ready: &mut Vec<pid_t>) -> bool {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
        // SAFETY: the kernel writes at most so many events into the array.
        let got = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), events.len() as c_int, -1) };
        let mut called = false;
        for event in &events[..usize::try_from(got).unwrap_or(0)] {
            match event.u64 {
                LISTENER => called = true,
                pid => ready.push(pid as pid_t),
            }
        }
        called
    }
}

impl Notified {
    /// A task asks to end itself or its process.
    pub(super) fn ends(&mut self, task: &Task, call: &Call) {
        let pid = task.process.borrow().pid;
        let code = (call.int(0) & 0xff) << 8;
        let is_alone = task.process.borrow().alive <= 1;
        if let Some(group) = self.groups.get_mut(&pid)
            && (is_alone || call.name() == "exit_group")
        {
            group.code = Some(code);
        } else {
            task.process.borrow_mut().alive -= 1;
            self.world.commit_exit(task, Some(code), None);
            if let Some(group) = self.groups.get_mut(&pid) {
                group.gone.push(task.tid);
            }
        }
    }

    /// A process has ended, or has been waited for.
    pub(super) fn look_at_end(&mut self, pid: pid_t) {
        if pid == self.root {
            return self.look_at_root();
        }
        let Some(group) = self.groups.get_mut(&pid) else { return };
        if pidfd::is_alive(&group.handle) {
            return;
        }
        let now = self.world.clock;
        group.ended.get_or_insert((now, times(pid)));
        match pidfd::end_of(&group.handle) {
            // It is told again when its parent has waited for it.
            Ok(None) => {}
            Ok(Some(status)) => self.end(pid, Some(status), 0),
            Err(_) => self.end(pid, None, 0),
        }
    }

    /// The first program is this process's own child.
    pub(super) fn look_at_root(&mut self) {
        while let Ok(Some(waited)) = sys::poll_child(self.root) {
            let status = waited.status;
            if libc::WIFSTOPPED(status) {
                self.control.program_stopped(true, libc::WSTOPSIG(status));
            } else if libc::WIFCONTINUED(status) {
                self.control.program_stopped(false, 0);
            } else {
                self.root_status = Some(status);
                self.control.program_ended();
                self.end(self.root, Some(status), waited.usage.ru_maxrss as u64);
                return;
            }
        }
    }

    /// Commits the end of a process with all that were left of its threads.
    fn end(&mut self, pid: pid_t, status: Option<c_int>, memory: u64) {
        let Some(group) = self.groups.remove(&pid) else { return };
        self.control.gone(pid);
        let (time, (user, system)) = group.ended.unwrap_or((self.world.clock, times(pid)));
        let now = std::mem::replace(&mut self.world.clock, time);
        let mut left = self.threads_of(pid);
        // The first one is told of last.
        left.sort_unstable_by_key(|tid| (*tid == pid, *tid));
        let count = left.len();
        // Where the kernel does not tell, it ended as it asked to, if it did.
        let status = status.or(group.code);
        for (index, tid) in left.into_iter().enumerate() {
            let Some(task) = self.tasks.remove(&tid) else { continue };
            let is_last = index + 1 == count;
            if !is_last && group.gone.contains(&tid) {
                continue;
            }
            self.world.commit_exit(&task, status, is_last.then_some((user, system, memory)));
        }
        self.world.clock = now;
    }

    fn threads_of(&self, pid: pid_t) -> Vec<pid_t> {
        let own = self.tasks.iter().filter(|(_, task)| task.process.borrow().pid == pid);
        own.map(|(tid, _)| *tid).collect()
    }

    /// The threads of a process that are gone when another one of them has executed a program.
    pub(super) fn end_others(&mut self, pid: pid_t, stays: pid_t) {
        let gone = self.groups.get_mut(&pid).map(|group| std::mem::take(&mut group.gone)).unwrap_or_default();
        for tid in self.threads_of(pid).into_iter().filter(|tid| *tid != stays) {
            let Some(task) = self.tasks.remove(&tid) else { continue };
            if !gone.contains(&tid) {
                task.process.borrow_mut().alive -= 1;
                self.world.commit_exit(&task, Some(0), None);
            }
        }
    }

    /// Nobody makes calls any more. Ends that no parent has waited for are told as far as they are known.
    pub(super) fn end_all(&mut self) {
        if self.root_status.is_none()
            && let Ok(waited) = sys::wait_for(self.root)
        {
            self.root_status = Some(waited.status);
            self.end(self.root, Some(waited.status), waited.usage.ru_maxrss as u64);
        }
        let mut left: Vec<pid_t> = self.groups.keys().copied().collect();
        left.sort_unstable();
        for pid in left {
            let status = self.groups.get(&pid).and_then(|group| pidfd::end_of(&group.handle).ok().flatten());
            self.end(pid, status, 0);
        }
    }
}

/// User and system time of a process in microseconds, as long as it has not been waited for.
fn times(pid: pid_t) -> (u64, u64) {
    Stat::of_process(pid).map_or((0, 0), |stat| stat.times())
}
