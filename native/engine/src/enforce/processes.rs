//! Which role a thread acts in. Processes inherit the role of the one that forked them, and get another by running another
//! program; what is trusted is what the kernel says they run, never what they say.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::rules::Rules;
use crate::pidfd::{self, has_number, is_alive};

/// `PIDFD_THREAD` of linux/pidfd.h is `O_EXCL`.
const PIDFD_THREAD: u32 = libc::O_EXCL as u32;

pub struct Process {
    pub pid: i32,
    handle: Arc<OwnedFd>,
    /// Mostly one. Several, when its parent was gone before it was looked at: then it may do what all of them may.
    pub roles: Arc<[usize]>,
    /// Whether it has accepted a connection: set by whoever performs that.
    serving: Arc<AtomicBool>,
    exe: Vec<u8>,
    line: Vec<u8>,
    /// Threads that were let into an exec, several at once perhaps: which program runs is looked at when any of them calls
    /// again, and with each call until they all have.
    exec: Vec<i32>,
    /// It has not yet run the program that it was made for.
    pub fresh: bool,
}

impl Process {
    #[must_use]
    pub fn handle(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.handle)
    }

    pub fn expect_exec(&mut self, tid: i32) {
        if !self.exec.contains(&tid) {
            self.exec.push(tid);
        }
    }

    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// To be set when a connection was accepted for it.
    #[must_use]
    pub fn phase(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.serving)
    }

    #[must_use]
    pub fn exe(&self) -> String {
        String::from_utf8_lossy(&self.exe).into_owned()
    }
}

/// The process of a thread that calls.
pub struct Met<'a> {
    pub process: &'a mut Process,
    /// Something was just read of a process by its number, which may be another's if the caller is gone. What is known of a
    /// thread that lives still is not: the one that called is the one that is known, or older than it and gone.
    pub is_new: bool,
}

/// A program that its parent's role was not granted.
#[derive(Debug, PartialEq, Eq)]
pub struct Stranger {
    pub pid: i32,
    pub exe: Vec<u8>,
}

#[derive(Default)]
pub struct Processes {
    threads: HashMap<i32, (i32, OwnedFd)>,
    known: HashMap<i32, Process>,
}

/// Most entries before those of dead threads are thrown away.
const CLEAN_AT: usize = 4096;

impl Processes {
    /// The first program, whose role is given.
    pub fn first(&mut self, pid: i32, role: usize, fresh: bool) -> std::io::Result<()> {
        let process = Process {
            pid,
            handle: Arc::new(pidfd::open(pid, 0)?),
            roles: [role].into(),
            serving: Arc::default(),
            exe: exe_of(pid),
            line: line_of(pid),
            exec: Vec::new(),
            fresh,
        };
        self.known.insert(pid, process);
        Ok(())
    }

    /// The process of a thread, with its role as it is now. `may_exec` asks whether roles may run a program; with `learn` a
    /// program that has no role is let be, and has no grants.
    ///
    /// # Errors
    /// A stranger when it runs a program that it should not have been able to start; none of it is granted anything.
    pub fn of(
        &mut self,
        tid: i32,
        rules: &Rules,
        learn: bool,
        may_exec: impl Fn(&[usize], &[u8], bool) -> bool,
    ) -> Result<Option<Met<'_>>, Stranger> {
        let Some((pid, is_new)) = self.process_of(tid) else { return Ok(None) };
        // A thread that is alive is one of a process that is.
        if !self.known.get(&pid).is_some_and(|process| !is_new || is_alive(&process.handle)) {
            self.known.remove(&pid);
            let Some(process) = self.meet(pid, rules) else { return Ok(None) };
            self.known.insert(pid, process);
        }
        let Some(process) = self.known.get_mut(&pid) else { return Ok(None) };
        let mut is_new = is_new;
        if !process.exec.is_empty() {
            is_new = true;
            recheck(process, tid, rules, learn, may_exec)?;
        }
        Ok(Some(Met { process, is_new }))
    }

    /// A process that was met.
    pub fn known(&mut self, pid: i32) -> Option<&mut Process> {
        self.known.get_mut(&pid)
    }

    /// Roles of another process, when it is one of the tree. One that has ended is what it was until it is waited for.
    #[must_use]
    pub fn roles_of(&mut self, pid: i32, rules: &Rules) -> Vec<usize> {
        if let Some(process) = self.known.get(&pid)
            && has_number(&process.handle)
        {
            return process.roles.to_vec();
        }
        let parent = status_number(pid, "PPid:").unwrap_or(0);
        match self.known.get(&parent) {
            Some(process) if is_alive(&process.handle) => match exe_of(pid) {
                // It ended without a call, and so runs nothing any more.
                exe if exe.is_empty() => process.roles.to_vec(),
                // A child that has not called yet is what its parent is.
                exe => rules.candidates(&exe),
            },
            _ => Vec::new(),
        }
    }

    /// The process of a thread, and whether the thread calls for the first time.
    fn process_of(&mut self, tid: i32) -> Option<(i32, bool)> {
        if let Some((pid, handle)) = self.threads.get(&tid)
            && is_alive(handle)
        {
            return Some((*pid, false));
        }
        let pid = status_number(tid, "Tgid:")?;
        // Kernels before 6.9 have handles of processes only: other threads are looked up each time.
        let handle = pidfd::open(tid, PIDFD_THREAD).or_else(|_| pidfd::open(tid, 0));
        if self.threads.len() >= CLEAN_AT {
            self.threads.retain(|_, (_, handle)| is_alive(handle));
            self.known.retain(|_, process| has_number(&process.handle));
        }
        if let Ok(handle) = handle {
            self.threads.insert(tid, (pid, handle));
        }
        Some((pid, true))
    }

    /// A process that calls for the first time: forked, and not yet another program.
    fn meet(&self, pid: i32, rules: &Rules) -> Option<Process> {
        let handle = Arc::new(pidfd::open(pid, 0).ok()?);
        let exe = exe_of(pid);
        let line = line_of(pid);
        let parent = self.known.get(&status_number(pid, "PPid:")?);
        let inherited = parent.filter(|parent| parent.exe == exe && is_alive(&parent.handle));
        let (roles, serving) = match inherited {
            Some(parent) => (Arc::clone(&parent.roles), parent.is_serving()),
            // Its parent ended, or runs something else by now.
            None => (
                rules.candidates(&exe).into(),
                self.known.values().any(|process| process.exe == exe && process.is_serving()),
            ),
        };
        let serving = Arc::new(AtomicBool::new(serving));
        Some(Process { pid, handle, roles, serving, exe, line, exec: Vec::new(), fresh: false })
    }
}

/// After an exec: the same as before when it failed, else the role of what runs now.
fn recheck(
    process: &mut Process,
    tid: i32,
    rules: &Rules,
    learn: bool,
    may_exec: impl Fn(&[usize], &[u8], bool) -> bool,
) -> Result<(), Stranger> {
    let exe = exe_of(process.pid);
    let line = line_of(process.pid);
    if exe == process.exe && line == process.line {
        // Only the thread that called it knows that it failed; the process's first thread may go by its number now.
        process.exec.retain(|other| *other != tid);
        return Ok(());
    }
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let role = rules.role_of(&exe, &words, &cwd_of(process.pid));
    match role {
        Some(_) | None
            if learn || (role.is_some() && (process.fresh || may_exec(&process.roles, &exe, process.is_serving()))) =>
        {
            process.fresh = false;
            process.roles = role.into_iter().collect();
            process.serving = Arc::default();
            process.exec.clear();
            process.exe = exe;
            process.line = line;
            Ok(())
        }
        _ => Err(Stranger { pid: process.pid, exe }),
    }
}

fn status_number(tid: i32, field: &str) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field))?.trim().parse().ok()
}

fn exe_of(pid: i32) -> Vec<u8> {
    use std::os::unix::ffi::OsStringExt as _;
    std::fs::read_link(format!("/proc/{pid}/exe")).map(|path| path.into_os_string().into_vec()).unwrap_or_default()
}

fn cwd_of(pid: i32) -> Vec<u8> {
    use std::os::unix::ffi::OsStringExt as _;
    std::fs::read_link(format!("/proc/{pid}/cwd")).map(|path| path.into_os_string().into_vec()).unwrap_or_default()
}

fn line_of(pid: i32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Rules {
        Rules { roles: Vec::new() }
    }

    #[test]
    fn an_exec_that_failed_is_that_of_its_thread_only() {
        let own = std::process::id() as i32;
        let mut processes = Processes::default();
        processes.first(own, 0, false).unwrap();
        let process = processes.known(own).unwrap();
        process.expect_exec(1);
        process.expect_exec(2);
        assert!(recheck(process, 1, &nothing(), false, |_, _, _| true).is_ok());
        assert_eq!(process.exec, [2]);
    }

    #[test]
    fn another_program_is_asked_for_in_the_phase_of_its_process() {
        let own = std::process::id() as i32;
        let mut processes = Processes::default();
        processes.first(own, 0, false).unwrap();
        let process = processes.known(own).unwrap();
        let role = serde_json::json!({
            "name": "now", "exe": [process.exe()], "script": null, "calls": [], "sockets": [], "users": [], "grants": [],
        });
        let role: crate::enforce::policy::Role = serde_json::from_value(role).unwrap();
        let rules = Rules { roles: vec![crate::enforce::rules::RoleRules::new(&role)] };
        process.exe = b"/before".to_vec();
        process.phase().store(true, Ordering::Relaxed);
        process.expect_exec(own);
        assert!(recheck(process, own, &rules, false, |_, _, serving| !serving).is_err());
        assert!(recheck(process, own, &rules, false, |_, _, serving| serving).is_ok());
        assert!(process.exec.is_empty() && !process.is_serving());
    }
}
