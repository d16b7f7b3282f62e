//! Recording programs that run already: every thread is seized where it stands, and let go at the end.

use std::collections::HashSet;
use std::rc::Rc;

use libc::pid_t;

use super::Recorder;
use crate::error::EngineError;
use crate::placement::Place;
use crate::sys;

/// Seizes all threads of a process, also those that appear meanwhile.
fn seize_all(pid: pid_t, options: i32) -> Result<Vec<pid_t>, EngineError> {
    let mut seized = HashSet::new();
    loop {
        let before = seized.len();
        for tid in threads_of(pid)? {
            if seized.contains(&tid) {
                continue;
            }
            match sys::seize(tid, options) {
                Ok(()) => {
                    // At once: until it stops it runs unseen.
                    let _ = sys::interrupt(tid);
                    seized.insert(tid);
                }
                // A thread that has just ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => {
                    let why = format!("the kernel does not let this process trace process {pid}: {error}");
                    return Err(EngineError::start("permission", why));
                }
            }
        }
        if seized.len() == before {
            break;
        }
    }
    let mut all: Vec<pid_t> = seized.into_iter().collect();
    // The first thread of the process comes first.
    all.sort_unstable_by_key(|tid| (*tid != pid, *tid));
    Ok(all)
}

fn threads_of(pid: pid_t) -> Result<Vec<pid_t>, EngineError> {
    sys::numbers_in(&format!("/proc/{pid}/task"))
        .map_err(|_| EngineError::start("no-process", format!("there is no process {pid}")))
}

impl Recorder {
    /// Takes in all threads of running processes.
    pub(super) fn attach(&mut self, pids: &[pid_t], options: i32) -> Result<(), EngineError> {
        for &pid in pids {
            let threads = seize_all(pid, options)?;
            let process = self.world.new_process(pid);
            for tid in threads {
                let mut task = self.world.new_task(tid, Rc::clone(&process), None, false);
                if tid == pid {
                    self.world.exec_event(&mut task);
                }
                // Its program may have chosen its CPUs long ago.
                task.place = Place::new(true);
                self.tasks.insert(tid, task);
            }
        }
        Ok(())
    }

    /// Lets everything go that is still observed.
    pub(super) fn detach_all(&mut self) {
        self.detaching = true;
        self.release_all_inspected(|_| true);
        if !self.has_changed_programs() {
            for tid in self.births.take_early() {
                self.let_go(tid, 0);
            }
        }
        // Those that wait for a turn, or to write, are stopped already and would not stop again.
        for tid in self.kept_waiting() {
            if let Some(signal) = self.ready_to_leave(tid, 0) {
                self.let_go(tid, signal);
                self.forget(tid);
            }
        }
        for tid in self.tasks.keys() {
            let _ = sys::interrupt(*tid);
        }
    }
}
