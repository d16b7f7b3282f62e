//! Which role a thread acts in. Processes inherit the role of the one that forked them, and get another by running another
//! program; what is trusted is what the kernel says they run, never what they say.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::paths::GONE;
use super::rules::Rules;
use super::share::Share;
use crate::pidfd::{self, has_number, is_alive};
use crate::sys;

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
    fn handle(&self) -> Arc<OwnedFd> {
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

    /// Program and command line that it has by now, when one of its threads was let into an exec that has not failed.
    fn run_meanwhile(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.exec.is_empty() {
            return None;
        }
        let (exe, line) = (exe_of(self.pid), line_of(self.pid));
        (!exe.is_empty() && (exe != self.exe || line != self.line)).then_some((exe, line))
    }

    #[must_use]
    pub fn exe(&self) -> String {
        String::from_utf8_lossy(&self.exe).into_owned()
    }
}

/// The process of a thread that calls.
pub struct Met<'a> {
    pub process: &'a mut Process,
    /// Of the thread, by which its descriptors are fetched: they need not be those of its process (unshare(2)), and the first thread of
    /// that may have ended. Where none is held, that of its process.
    pub handle: Arc<OwnedFd>,
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

pub struct Processes {
    /// By their numbers, with those of their processes.
    threads: HashMap<i32, (i32, Arc<OwnedFd>)>,
    known: HashMap<i32, Process>,
    /// Most threads of which handles are held.
    most_threads: usize,
    /// Processes of which handles are held.
    share: Share,
    /// Threads that were looked up since what is gone was let go of.
    looked_up: usize,
    /// Numbers of processes of which others make children: these are not what their parent is.
    mixed: HashSet<i32>,
    /// Programs of processes that are forgotten, which had accepted a connection.
    served: HashSet<Vec<u8>>,
}

/// Most forks one in another that are gone through for who is known.
const MOST_ANCESTORS: usize = 64;

/// Most threads of which handles are held.
const MOST_THREADS: usize = 4096;

impl Processes {
    /// `roles`: how many there are.
    #[must_use]
    pub fn new(roles: usize) -> Processes {
        let share = Share::of_descriptors(roles);
        Processes {
            threads: HashMap::new(),
            known: HashMap::new(),
            most_threads: share.limit.clamp(1, MOST_THREADS),
            share,
            looked_up: 0,
            mixed: HashSet::new(),
            served: HashSet::new(),
        }
    }

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
            let gone = self.known.remove(&pid);
            self.forgets(gone);
            let Some(process) = self.meet(pid, rules).filter(|process| self.has_room(process)) else {
                return Ok(None);
            };
            self.known.insert(pid, process);
        }
        let Some(process) = self.known.get_mut(&pid) else { return Ok(None) };
        let mut is_new = is_new;
        if !process.exec.is_empty() {
            is_new = true;
            let before = process.is_serving().then(|| process.exe.clone());
            recheck(process, tid, rules, learn, may_exec)?;
            self.served.extend(before.filter(|_| !process.is_serving()));
        }
        let handle = self.threads.get(&tid).map_or_else(|| process.handle(), |(_, handle)| Arc::clone(handle));
        Ok(Some(Met { process, handle, is_new }))
    }

    /// Whether a thread of this number has called before.
    #[must_use]
    pub fn has_met(&self, tid: i32) -> bool {
        self.threads.contains_key(&tid)
    }

    /// Another process makes children of this one, now or later: by clone(2), or as it takes those in that lose their parents.
    pub fn mixes(&mut self, pid: i32) {
        self.mixed.insert(pid);
    }

    /// As [`Processes::mixes`], of the parent of a process.
    pub fn parent_mixes(&mut self, pid: i32) {
        if let Some(parent) = status_number(pid, "PPid") {
            self.mixes(parent);
        }
    }

    /// Forgets the processes that are not to be kept, but for what their children have of them.
    fn forget(&mut self, keeps: impl Fn(&Process) -> bool) {
        let gone: Vec<Process> =
            self.known.extract_if(|_, process| !keeps(process)).map(|(_, process)| process).collect();
        self.forgets(gone);
    }

    fn forgets(&mut self, gone: impl IntoIterator<Item = Process>) {
        self.served.extend(gone.into_iter().filter(Process::is_serving).map(|process| process.exe));
    }

    /// A process that was met.
    pub fn known(&mut self, pid: i32) -> Option<&mut Process> {
        self.known.get_mut(&pid)
    }

    /// Roles of another process, when it is one of the tree. One that has ended is what it was until it is waited for, one that
    /// runs another program by now is what that is, though it has not called yet.
    #[must_use]
    pub fn roles_of(&mut self, pid: i32, rules: &Rules) -> Vec<usize> {
        if let Some(process) = self.known.get(&pid)
            && has_number(&process.handle)
        {
            return match process.run_meanwhile() {
                Some((exe, line)) => role_now(pid, &exe, &line, rules).into_iter().collect(),
                None => process.roles.to_vec(),
            };
        }
        let parent = status_number(pid, "PPid").unwrap_or(0);
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
        let pid = status_number(tid, "Tgid")?;
        self.clean();
        // Kernels before 6.9 have handles of processes only: other threads are looked up each time.
        if self.threads.len() < self.most_threads
            && let Ok(handle) = pidfd::open(tid, PIDFD_THREAD).or_else(|_| pidfd::open(tid, 0))
        {
            self.threads.insert(tid, (pid, Arc::new(handle)));
        }
        Some((pid, true))
    }

    /// Lets go of what is gone when there may be no more of it: without descriptors nothing can be decided.
    fn clean(&mut self) {
        self.looked_up += 1;
        let is_full = self.threads.len().max(self.known.len()) >= self.most_threads;
        // Where most are alive it is of little use, and not tried each time.
        if is_full && self.looked_up > self.most_threads / 2 {
            self.looked_up = 0;
            self.threads.retain(|_, (_, handle)| is_alive(handle));
            self.forget(|process| has_number(&process.handle));
        }
    }

    /// Whether a handle of one more process may be held: a role that has forked as many as there is room for is refused what others
    /// still get.
    fn has_room(&self, process: &Process) -> bool {
        let own = || self.known.values().filter(|other| other.roles == process.roles).count();
        self.known.len() < self.share.limit || self.share.allows(self.known.len(), own())
    }

    /// The process that a forked one is what it is by, which runs the same program. One in between that has made no call of which
    /// anybody knows has run no other either, as that is such a call: it is passed over.
    fn ancestor(&self, pid: i32, exe: &[u8]) -> Option<&Process> {
        let mut child = pid;
        for _ in 0..MOST_ANCESTORS {
            let parent = status_number(child, "PPid")?;
            if self.mixed.contains(&parent) {
                return None;
            }
            if let Some(process) = self.known.get(&parent)
                && is_alive(&process.handle)
            {
                return Some(process).filter(|process| process.exe == exe);
            }
            if parent <= 1 || exe_of(parent) != exe {
                return None;
            }
            child = parent;
        }
        None
    }

    /// Meets what a process has forked so far, before it runs another program: they are what it was.
    pub fn meet_children(&mut self, pid: i32, rules: &Rules) {
        for tid in sys::numbers_in(&format!("/proc/{pid}/task")).unwrap_or_default() {
            let list = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/children")).unwrap_or_default();
            for child in list.split_whitespace().filter_map(|word| word.parse().ok()) {
                let is_known = self.known.get(&child).is_some_and(|process| is_alive(&process.handle));
                if !is_known && let Some(process) = self.meet(child, rules).filter(|process| self.has_room(process)) {
                    self.known.insert(child, process);
                }
            }
        }
    }

    /// Whether a process of a program has accepted a connection.
    fn has_served(&self, exe: &[u8]) -> bool {
        self.served.contains(exe) || self.known.values().any(|process| process.exe == exe && process.is_serving())
    }

    /// A process that calls for the first time: forked, and not yet another program.
    fn meet(&self, pid: i32, rules: &Rules) -> Option<Process> {
        let handle = Arc::new(pidfd::open(pid, 0).ok()?);
        let exe = exe_of(pid);
        let line = line_of(pid);
        let (roles, serving) = match self.ancestor(pid, &exe) {
            Some(parent) => (Arc::clone(&parent.roles), parent.is_serving()),
            // Its parent ended, or runs something else by now, or nobody knows which one it was.
            None => (rules.candidates(&exe).into(), self.has_served(&exe)),
        };
        let serving = Arc::new(AtomicBool::new(serving));
        Some(Process { pid, handle, roles, serving, exe, line, exec: Vec::new(), fresh: false })
    }
}

/// Numbers of all processes of a group, of the tree or not.
#[must_use]
pub fn members_of(group: i32) -> Vec<i32> {
    let mut members = sys::numbers_in("/proc").unwrap_or_default();
    // SAFETY: takes no pointer.
    members.retain(|pid| unsafe { libc::getpgid(*pid) } == group);
    members
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
    let role = role_now(process.pid, &exe, &line, rules);
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

/// The role of a process by the program that it runs, and its command line.
fn role_now(pid: i32, exe: &[u8], line: &[u8], rules: &Rules) -> Option<usize> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    rules.role_of(exe, &words, &cwd_of(pid))
}

fn status_number(tid: i32, field: &str) -> Option<i32> {
    sys::status_field(&sys::status_of(tid)?, field)?.parse().ok()
}

/// The program that a process runs, by the name that it had when it was started, though it was removed or replaced since.
fn exe_of(pid: i32) -> Vec<u8> {
    use std::os::unix::ffi::OsStringExt as _;
    let Ok(path) = std::fs::read_link(format!("/proc/{pid}/exe")) else { return Vec::new() };
    let is_there = path.symlink_metadata().is_ok();
    let mut name = path.into_os_string().into_vec();
    if !is_there && name.ends_with(GONE) {
        name.truncate(name.len() - GONE.len());
    }
    name
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
        let mut processes = Processes::new(1);
        processes.first(own, 0, false).unwrap();
        let process = processes.known(own).unwrap();
        process.expect_exec(1);
        process.expect_exec(2);
        assert!(recheck(process, 1, &nothing(), false, |_, _, _| true).is_ok());
        assert_eq!(process.exec, [2]);
    }

    #[test]
    fn a_process_is_what_it_runs_by_now_before_it_calls() {
        let own = std::process::id() as i32;
        let mut processes = Processes::new(1);
        processes.first(own, 0, false).unwrap();
        let process = processes.known(own).unwrap();
        let role = |name: &str, exe: &str| {
            let role = serde_json::json!({
                "name": name, "exe": [exe], "script": null, "calls": [], "sockets": [], "users": [], "choices": [], "grants": [],
            });
            crate::enforce::rules::RoleRules::new(&serde_json::from_value(role).unwrap())
        };
        let rules = Rules { roles: vec![role("before", "/before"), role("now", &process.exe())] };
        process.exe = b"/before".to_vec();
        assert_eq!(processes.roles_of(own, &rules), [0]);
        processes.known(own).unwrap().expect_exec(own);
        assert_eq!(processes.roles_of(own, &rules), [1]);
    }

    /// A child that has a child, which both only sleep, and are killed in the end.
    fn with_grandchild(test: impl FnOnce(i32, i32)) {
        use std::io::Read as _;
        let (mut reads, writes) = std::io::pipe().unwrap();
        // SAFETY: the children make system calls only.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above; a pipe takes four bytes at once.
            unsafe {
                let own = libc::fork();
                if own > 0 {
                    libc::write(std::os::fd::AsRawFd::as_raw_fd(&writes), (&raw const own).cast(), 4);
                }
                loop {
                    libc::pause();
                }
            }
        }
        let mut bytes = [0; 4];
        reads.read_exact(&mut bytes).unwrap();
        let grandchild = i32::from_ne_bytes(bytes);
        test(child, grandchild);
        for pid in [grandchild, child] {
            // SAFETY: both are processes of this test.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        // SAFETY: as above; nothing is told of how it ended.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }

    #[test]
    fn a_process_is_what_those_are_that_it_was_forked_by() {
        let own = std::process::id() as i32;
        with_grandchild(|child, grandchild| {
            let mut processes = Processes::new(1);
            processes.first(own, 7, false).unwrap();
            assert_eq!(*processes.meet(grandchild, &nothing()).unwrap().roles, [7]);
            processes.known(own).unwrap().exe = b"/other".to_vec();
            assert!(processes.meet(grandchild, &nothing()).unwrap().roles.is_empty());
            processes.first(child, 8, false).unwrap();
            assert_eq!(*processes.meet(grandchild, &nothing()).unwrap().roles, [8]);
        });
    }

    #[test]
    fn a_process_stays_what_its_parent_was_before_that_ran_another_program() {
        with_grandchild(|child, grandchild| {
            let mut processes = Processes::new(1);
            processes.first(child, 8, false).unwrap();
            processes.meet_children(child, &nothing());
            processes.known(child).unwrap().exe = b"/other".to_vec();
            assert_eq!(*processes.known(grandchild).unwrap().roles, [8]);
        });
    }

    #[test]
    fn nobody_is_what_a_parent_is_that_has_the_children_of_others() {
        let own = std::process::id() as i32;
        with_grandchild(|child, grandchild| {
            let mut processes = Processes::new(1);
            processes.first(own, 7, false).unwrap();
            processes.known(own).unwrap().phase().store(true, Ordering::Relaxed);
            processes.parent_mixes(grandchild);
            assert_eq!(*processes.meet(child, &nothing()).unwrap().roles, [7]);
            let met = processes.meet(grandchild, &nothing()).unwrap();
            assert!(met.roles.is_empty() && met.is_serving());
            // That a process of the program has served is not forgotten with it.
            processes.forget(|process| process.pid != own);
            assert!(processes.known(own).is_none() && processes.meet(grandchild, &nothing()).unwrap().is_serving());
        });
    }

    #[test]
    fn a_program_that_is_gone_has_its_name() {
        let path = std::env::temp_dir().join(format!("trace-gone-{}", std::process::id()));
        std::fs::copy("/bin/sleep", &path).unwrap();
        let mut child = std::process::Command::new(&path).arg("60").spawn().unwrap();
        std::fs::remove_file(&path).unwrap();
        let exe = exe_of(child.id() as i32);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(exe, path.into_os_string().into_encoded_bytes());
    }

    #[test]
    fn threads_are_let_go_of_before_there_are_no_descriptors() {
        let mut processes = Processes { most_threads: 2, ..Processes::new(1) };
        for _ in 0..5 {
            let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
            assert!(processes.process_of(child.id() as i32).is_some_and(|(_, is_new)| is_new));
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(processes.threads.len() <= 2);
        }
        let own = std::process::id() as i32;
        assert_eq!((processes.process_of(own), processes.process_of(own)), (Some((own, true)), Some((own, false))));
    }

    #[test]
    fn a_role_leaves_others_room_for_their_processes() {
        let own = std::process::id() as i32;
        let mut processes = Processes { share: Share { limit: 2, roles: 2 }, ..Processes::new(2) };
        processes.first(own, 0, false).unwrap();
        let of = |role: usize, pid: i32| {
            let mut other = Processes::new(2);
            other.first(own, role, false).unwrap();
            Process { pid, ..other.known.remove(&own).unwrap() }
        };
        assert!(processes.has_room(&of(0, 1)));
        processes.known.insert(1, of(0, 1));
        assert!(!processes.has_room(&of(0, 2)) && processes.has_room(&of(1, 2)));
        processes.known.insert(2, of(1, 2));
        assert!(!processes.has_room(&of(1, 3)));
    }

    #[test]
    fn members_of_a_group_are_found() {
        // SAFETY: takes no argument.
        let group = unsafe { libc::getpgrp() };
        assert!(members_of(group).contains(&(std::process::id() as i32)));
        assert!(members_of(i32::MAX).is_empty());
    }

    #[test]
    fn another_program_is_asked_for_in_the_phase_of_its_process() {
        let own = std::process::id() as i32;
        let mut processes = Processes::new(1);
        processes.first(own, 0, false).unwrap();
        let process = processes.known(own).unwrap();
        let role = serde_json::json!({
            "name": "now", "exe": [process.exe()], "script": null, "calls": [], "sockets": [], "users": [], "choices": [], "grants": [],
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
