//! Programs and libraries of processes whose calls are only seen to begin: looked at when the next call comes.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use libc::pid_t;

use super::Notified;
use crate::image::{self, Mapping};
use crate::sys::Stat;
use crate::task::Space;

/// A process that has asked to execute a program, as it was.
pub(super) struct Asked {
    /// Its thread.
    pub by: pid_t,
    /// The memory that it had: it cannot be read any more once nobody uses it.
    memory: Option<File>,
    /// An address in its code.
    place: u64,
    laid_out: Option<Vec<u8>>,
}

impl Asked {
    pub fn new(tid: pid_t, place: u64) -> Asked {
        let memory = File::open(format!("/proc/{tid}/mem")).ok();
        Asked { by: tid, memory, place: place.wrapping_sub(1), laid_out: laid_out(tid) }
    }

    /// Whether the process runs another program by now.
    pub fn was_done(&self, pid: pid_t) -> bool {
        if let Some(memory) = &self.memory
            && !memory.read_at(&mut [0], self.place).is_ok_and(|length| length == 1)
        {
            return true;
        }
        // The child of a vfork leaves the memory to its parent.
        self.laid_out != laid_out(pid)
    }
}

/// Where the kernel has put program, arguments and environment: members 26 to 28 and 45 to 51 of proc_pid_stat(5), and what file
/// is run. Zeros where the process may not be looked into.
fn laid_out(tid: pid_t) -> Option<Vec<u8>> {
    let stat = Stat::of_process(tid)?;
    let mut layout = stat.name().as_bytes().to_vec();
    for number in (26..=28).chain(45..=51) {
        layout.push(b' ');
        layout.extend_from_slice(stat.field(number).as_bytes());
    }
    let exe = std::fs::read_link(format!("/proc/{tid}/exe")).ok();
    layout.extend(exe.into_iter().flat_map(|exe| exe.into_os_string().into_encoded_bytes()));
    Some(layout)
}

impl Notified {
    /// Tells of what earlier calls of its process have led to: a program that was executed, code that was mapped. A task asks with the
    /// notification `id`.
    pub(super) fn catch_up(&mut self, tid: pid_t, id: u64) {
        let Some(pid) = self.tasks.get(&tid).map(|task| task.process.borrow().pid) else { return };
        let Some(group) = self.groups.get_mut(&pid) else { return };
        if let Some(asked) = group.exec.take_if(|asked| asked.by == tid || tid == pid) {
            // The first thread of a process ends before another one takes its place: it is the new program that asks if it still does.
            let (was_done, is_waiting) = (asked.was_done(pid), self.listener.is_waiting(id));
            if was_done && is_waiting {
                self.executed(pid, asked.by);
            } else if asked.by != tid || !is_waiting {
                // Another thread of the process: the one that asked is still at it.
                group.exec = Some(asked);
            }
        }
        let is_due = self.groups.get_mut(&pid).is_some_and(|group| std::mem::take(&mut group.has_mapped));
        if is_due {
            self.mapped(tid, pid);
        }
    }

    fn executed(&mut self, pid: pid_t, by: pid_t) {
        if by != pid
            && let Some(mut caller) = self.tasks.remove(&by)
        {
            // It has taken the first thread's place, and its number.
            caller.becomes = self.tasks.remove(&pid).map(|leader| leader.index);
            caller.tid = pid;
            self.tasks.insert(pid, caller);
        }
        self.end_others(pid, pid);
        let Some(mut task) = self.tasks.remove(&pid) else { return };
        task.launching = false;
        task.executed = true;
        task.handlers = std::rc::Rc::default();
        task.space = std::rc::Rc::new(std::cell::RefCell::new(Space::default()));
        let mut own = task.fds.borrow().clone();
        own.retain_open(pid);
        task.fds = std::rc::Rc::new(std::cell::RefCell::new(own));
        self.world.exec_event(&mut task);
        task.executed = false;
        if let Some(group) = self.groups.get_mut(&pid) {
            group.code_at = executable(pid).iter().map(key).collect();
            group.has_mapped = false;
        }
        self.tasks.insert(pid, task);
    }

    /// Commits the load events of code that was not there before.
    fn mapped(&mut self, tid: pid_t, pid: pid_t) {
        let (Some(task), Some(group)) = (self.tasks.get(&tid), self.groups.get_mut(&pid)) else { return };
        self.world.images.look_again();
        let all = executable(pid);
        for mapping in all.iter().filter(|mapping| mapping.ino != 0 && !group.code_at.contains(&key(mapping))) {
            let facts = self.world.images.facts_of_mapping(mapping, &image::reachable(tid, &mapping.path));
            self.world.map_event(task, mapping, &facts);
        }
        group.code_at = all.iter().map(key).collect();
    }
}

/// What tells mappings apart: address, file, offset.
pub(super) type Key = (u64, u64, u64);

fn key(mapping: &Mapping) -> Key {
    (mapping.start, mapping.ino, mapping.offset)
}

fn executable(pid: pid_t) -> Vec<Mapping> {
    let mut all = image::mappings(pid);
    all.retain(|mapping| mapping.prot & libc::PROT_EXEC as u64 != 0);
    all
}
