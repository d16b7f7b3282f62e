//! The supervisor: answers the calls that a filter notifies, for each program by its own role.
//!
//! Rules of the house:
//! - A call of which memory was looked at is never passed on to the kernel, which would look again: it is performed here, on
//!   copies. Passed on are calls that are decided by registers alone; execs, whose outcome is looked at before the program
//!   gets anything; and what gives no rights (chdir, O_PATH), since whatever starts from there is asked again.
//! - Memory and names of a thread are only believed after the notification was found to be waiting still; but for opens that
//!   change nothing, whose descriptor is handed over only if it is. Its memory is written to while it is: another thread may
//!   run a program in its place, whose memory goes by the same number.
//! - What is checked is an open object, never a name (`paths.rs`).
//! - Calls that may wait are performed on a thread of their own (`apart.rs`).

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::Serialize;

use super::apart::{Apart, Held, Holder, patiently};
use super::choices;
use super::files;
use super::filter::{self, Controlled};
use super::lent::Lent;
use super::policy::Policy;
use super::processes::{Processes, Stranger, members_of};
use super::reach;
use super::receiving::{self, Decide, HandOver};
use super::rules::{Peer, RoleRules, Rules, verb};
use super::sockets;
use super::target::{Errno, Target};
use crate::notify::{Listener, Notification};
use crate::sys;

/// What a call is answered with.
pub enum Answer {
    Value(i64),
    /// Descriptor, and whether exec closes it.
    Descriptor(OwnedFd, bool),
    /// The kernel does it.
    Pass,
    /// On a thread of its own.
    Slow(Slow),
    /// Opening a device or named pipe, or a file that it empties, which may wait: the object, flags, close-on-exec.
    SlowOpen(OwnedFd, i32, bool),
    Refused(Errno),
}

impl Answer {
    #[must_use]
    pub fn from_result(result: Result<i64, Errno>) -> Answer {
        match result {
            Ok(value) => Answer::Value(value),
            Err(errno) => Answer::Refused(errno),
        }
    }
}

/// Calls that may wait for others.
pub enum Slow {
    Connect { socket: Lent, address: Vec<u8>, _hold: Option<OwnedFd> },
    Send(sockets::Sending),
    SendMany(sockets::SendingMany),
    Accept(sockets::Accepting),
    Freeing(files::Freeing),
}

/// The thread that made a call.
pub struct Caller<'a> {
    pub tid: i32,
    pub tgid: i32,
    pub(super) listener: &'a Listener,
    pub(super) id: u64,
}

impl Caller<'_> {
    /// Whether it waits for the answer still: else its number may be another's.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.listener.is_waiting(self.id)
    }

    /// Writes to its memory, and not to that of a program which another thread of it has begun to run meanwhile. One that is begun in
    /// this very moment is ended: it may have been written to.
    ///
    /// # Errors
    /// EINTR when it does not wait any more; EFAULT.
    pub fn write(&self, addr: u64, bytes: &[u8]) -> Result<(), Errno> {
        if !self.is_waiting() {
            return Err(libc::EINTR);
        }
        let is_written = bytes.is_empty() || sys::write_memory(self.tid, addr, bytes);
        if is_written && !self.is_waiting() {
            let _ = sys::tgkill(self.tgid, self.tid, libc::SIGKILL);
        }
        if is_written { Ok(()) } else { Err(libc::EFAULT) }
    }
}

/// One call, and the thread that made it.
pub struct Asked<'a> {
    pub number: i64,
    pub args: [u64; 6],
    pub target: Target<'a>,
    pub known: &'a files::KnownFiles,
    listener: &'a Listener,
    id: u64,
}

impl Asked<'_> {
    #[must_use]
    pub fn caller(&self) -> Caller<'_> {
        Caller { tid: self.target.tid, tgid: self.target.tgid, listener: self.listener, id: self.id }
    }

    /// As [`Caller::write`].
    ///
    /// # Errors
    /// As that.
    pub fn write(&self, addr: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.caller().write(addr, bytes)
    }

    /// What was read so far is the thread's only if this holds.
    pub fn still_waiting(&self) -> Result<(), Errno> {
        if self.listener.is_waiting(self.id) { Ok(()) } else { Err(libc::EINTR) }
    }
}

/// Asks the roles of the caller.
pub trait Check {
    /// All verbs of `bits` on a canonical path.
    ///
    /// # Errors
    /// EACCES.
    fn path(&self, bits: u16, path: &[u8]) -> Result<(), Errno>;

    /// That what a link of `/proc` tells of another process may be known, as [`Check::path`] asks of what is read there.
    ///
    /// # Errors
    /// EACCES.
    fn reads_link(&self, path: &[u8]) -> Result<(), Errno>;

    /// Whether that holds, without a word about it when it does not.
    fn grants(&self, bits: u16, path: &[u8]) -> bool;

    /// That an object does not gain by another name: what is granted on `to` is granted on `from`. Of a directory, this is
    /// asked of all that it can hold as well.
    ///
    /// # Errors
    /// EXDEV, upon which programs copy.
    fn moved(&self, from: &[u8], to: &[u8], is_directory: bool) -> Result<(), Errno>;

    /// # Errors
    /// EACCES.
    fn peer(&self, verb: &str, peer: &Peer) -> Result<(), Errno>;

    /// As [`Check::peer`] of a socket that is bound: a grant of port 0 covers the port that the kernel chose.
    ///
    /// # Errors
    /// EACCES.
    fn bound(&self, verb: &str, peer: &Peer) -> Result<(), Errno>;
}

/// An access that was refused (or, when learning, would have been).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Refusal {
    pub role: String,
    pub pid: i32,
    /// Number of the call.
    pub call: i64,
    pub verb: String,
    pub object: String,
    pub errno: i32,
    /// The process was ended: it ran a program that its role may not run.
    pub killed: bool,
    /// No grant would allow it: what it asks for is refused to everybody.
    pub forbidden: bool,
}

/// Takes refusals as they happen.
pub type Report = Arc<dyn Fn(&Refusal) + Send + Sync>;

struct RoleCheck<'a> {
    rules: &'a Rules,
    roles: &'a [usize],
    /// The process that asks, and all that are known.
    pid: i32,
    processes: &'a RefCell<Processes>,
    serving: bool,
    learn: bool,
    /// What was refused to the call: verbs and objects.
    refused: RefCell<Vec<(String, String)>>,
    /// What is refused to everybody.
    forbidden: RefCell<Option<String>>,
}

impl RoleCheck<'_> {
    fn all(&self, allows: impl Fn(&RoleRules) -> bool) -> bool {
        !self.roles.is_empty() && self.roles.iter().all(|role| self.rules.roles.get(*role).is_some_and(&allows))
    }

    fn refuse(&self, verb: &str, object: String) -> Result<(), Errno> {
        self.refused.borrow_mut().push((verb.to_owned(), object));
        if self.learn { Ok(()) } else { Err(libc::EACCES) }
    }

    /// The call is one that nobody may make as it was made: that is told, as a grant would change nothing.
    fn forbid(&self, number: i64, args: &[u64; 6]) {
        let told: &[usize] = match number {
            libc::SYS_fcntl | libc::SYS_ioctl | libc::SYS_prlimit64 => &[1],
            libc::SYS_prctl | libc::SYS_setrlimit => &[0],
            libc::SYS_setsockopt => &[1, 2],
            _ => &[],
        };
        let values: Vec<u32> = told.iter().map(|arg| args[*arg] as u32).collect();
        *self.forbidden.borrow_mut() = Some(chosen_object(number, &values));
    }

    /// That each of these processes, named as grants name them, may be touched.
    fn touch(&self, verb: &str, targets: impl IntoIterator<Item = String>) -> Result<(), Errno> {
        match targets.into_iter().find(|target| !self.all(|role| role.may_touch(verb, target))) {
            None => Ok(()),
            Some(target) => self.refuse(verb, target),
        }
    }

    /// What grants call another process.
    fn names_of(&self, pid: i32) -> Vec<String> {
        let roles = self.processes.borrow_mut().roles_of(pid, self.rules);
        if !roles.is_empty() {
            return roles.into_iter().map(|role| format!("role:{}", self.rules.roles[role].name)).collect();
        }
        vec![if is_own_thread(self.pid, pid) { "self".to_owned() } else { "outside".to_owned() }]
    }

    /// What grants call the processes of a group. That of the caller may be granted as a whole.
    fn names_of_group(&self, verb: &str, group: i32) -> BTreeSet<String> {
        // SAFETY: takes no pointer.
        let is_own = unsafe { libc::getpgid(self.pid) } == group;
        if is_own && self.all(|role| role.may_touch(verb, "group")) {
            return ["group".to_owned()].into();
        }
        let names = |pid| if pid == self.pid { vec!["self".to_owned()] } else { self.names_of(pid) };
        members_of(group).into_iter().flat_map(names).collect()
    }

    /// That what a file of /proc tells of another process may be known, or changed. The supervisor opens such files with its own
    /// rights: nobody else keeps the processes outside from being looked into, or those of another role.
    fn reach(&self, bits: u16, path: &[u8]) -> Result<(), Errno> {
        match reach::reached(bits, path) {
            Some(pid) if pid != self.pid && !is_own_thread(self.pid, pid) => self.touch("ptrace", self.names_of(pid)),
            _ => Ok(()),
        }
    }
}

impl Check for RoleCheck<'_> {
    fn path(&self, bits: u16, path: &[u8]) -> Result<(), Errno> {
        if self.all(|role| role.may(bits, path, self.serving)) {
            return self.reach(bits, path);
        }
        // Every verb that is missing needs a grant of its own; without a role, all are. That a name is made is told before what is
        // done with the object.
        let missing = |bit: &u16| bits & bit != 0 && !self.all(|role| role.may(*bit, path, self.serving));
        let object = String::from_utf8_lossy(path).into_owned();
        let verbs: Vec<u16> = verb::NAMES.iter().rev().map(|(_, bit)| *bit).filter(missing).collect();
        let refused = verbs.iter().map(|bit| self.refuse(verb::name(*bit), object.clone()));
        refused.last().unwrap_or(Err(libc::EACCES))
    }

    fn reads_link(&self, path: &[u8]) -> Result<(), Errno> {
        self.reach(verb::READ, path)
    }

    fn grants(&self, bits: u16, path: &[u8]) -> bool {
        self.all(|role| role.may(bits, path, self.serving))
    }

    fn moved(&self, from: &[u8], to: &[u8], is_directory: bool) -> Result<(), Errno> {
        let roles = self.roles.iter().filter_map(|role| self.rules.roles.get(*role));
        let gained = roles.fold(0, |all, role| {
            let below = if is_directory { role.gained_below(from, to, self.serving) } else { 0 };
            all | below | role.gained(from, to, self.serving)
        });
        if gained == 0 {
            return Ok(());
        }
        let object = String::from_utf8_lossy(from).into_owned();
        self.refuse(verb::name(gained), object).map_err(|_| libc::EXDEV)
    }

    fn peer(&self, verb: &str, peer: &Peer) -> Result<(), Errno> {
        if self.all(|role| role.may_reach(verb, peer, self.serving)) {
            return Ok(());
        }
        self.refuse(verb, peer.object())
    }

    fn bound(&self, verb: &str, peer: &Peer) -> Result<(), Errno> {
        let chosen = match peer {
            Peer::Internet { protocol, host, .. } => Peer::Internet { protocol, host: *host, port: 0 },
            other => other.clone(),
        };
        let allows =
            |role: &RoleRules| role.may_reach(verb, peer, self.serving) || role.may_reach(verb, &chosen, self.serving);
        if self.all(allows) { Ok(()) } else { self.refuse(verb, peer.object()) }
    }
}

pub struct Supervisor {
    listener: Arc<Listener>,
    rules: Rules,
    processes: RefCell<Processes>,
    policy: Arc<Policy>,
    judged: HashSet<i64>,
    bound: RefCell<sockets::Bound>,
    known: files::KnownFiles,
    apart: Apart,
    /// Whether this process acts as root, and so would for a program that is somebody else by now.
    is_root: bool,
    report: Report,
}

impl Supervisor {
    /// `runs_program`: the first process has one exec to make that is none of its own.
    ///
    /// # Errors
    /// When the first program is gone already.
    pub fn new(
        listener: OwnedFd,
        policy: Arc<Policy>,
        pid: i32,
        runs_program: bool,
        report: Report,
    ) -> std::io::Result<Supervisor> {
        let mut processes = Processes::new(policy.roles.len());
        processes.first(pid, policy.root, runs_program)?;
        let listener = Arc::new(Listener::new(listener));
        Ok(Supervisor {
            apart: Apart::new(Arc::clone(&listener), policy.roles.len()),
            listener,
            // SAFETY: takes no argument.
            is_root: unsafe { libc::geteuid() } == 0,
            rules: Rules::new(&policy),
            processes: RefCell::new(processes),
            judged: policy.judged.iter().copied().collect(),
            bound: RefCell::default(),
            known: files::KnownFiles::default(),
            policy,
            report,
        })
    }

    /// Answers until no process has the filter any more.
    ///
    /// # Errors
    /// As [`receiving::run`].
    pub fn run(self) -> std::io::Result<()> {
        let roles = self.policy.roles.len();
        receiving::run(&Arc::clone(&self.listener), self, roles)
    }

    /// The exec of the child itself, which is no call of the program. Only looked at where nobody else keeps count.
    fn is_first_exec(&self, notification: &Notification) -> bool {
        let Notification { tid, number, .. } = *notification;
        let mut processes = self.processes.borrow_mut();
        let first = processes.known(tid).filter(|process| process.fresh && number == libc::SYS_execve);
        first.is_some_and(|process| std::mem::take(&mut process.fresh))
    }

    /// What the call is answered with, when its number was granted.
    fn decide(&self, asked: &Asked<'_>, check: &RoleCheck<'_>) -> Result<Answer, Errno> {
        if let Some(done) = files::answer(asked, check) {
            return done;
        }
        if filter::is_never(asked.number, &asked.args) {
            check.forbid(asked.number, &asked.args);
            return Err(libc::EPERM);
        }
        self.choose(asked, check)?;
        match asked.number {
            libc::SYS_execve | libc::SYS_execveat => self.exec(asked, check),
            libc::SYS_connect => sockets::connect(asked, check),
            libc::SYS_bind => sockets::bind(asked, check, &mut self.bound.borrow_mut()),
            libc::SYS_sendto => sockets::sendto(asked, check),
            libc::SYS_sendmsg => sockets::sendmsg(asked, check),
            libc::SYS_sendmmsg => sockets::sendmmsg(asked, check),
            libc::SYS_getsockname => sockets::name(asked, &self.bound.borrow()),
            libc::SYS_listen => sockets::listen(asked, check, &self.bound.borrow()),
            libc::SYS_accept | libc::SYS_accept4 => {
                let phase = self.processes.borrow_mut().known(asked.target.tgid).map(|process| process.phase());
                sockets::accept(asked, check, &self.bound.borrow(), phase.unwrap_or_default())
            }
            libc::SYS_setuid
            | libc::SYS_setgid
            | libc::SYS_setreuid
            | libc::SYS_setregid
            | libc::SYS_setresuid
            | libc::SYS_setresgid
            | libc::SYS_setfsuid
            | libc::SYS_setfsgid => self.become_user(asked, check),
            libc::SYS_socket => socket(asked, check),
            // Its flags stand in memory; clone(2) does the same.
            libc::SYS_clone3 => Err(libc::ENOSYS),
            number if SIGNALS.contains(&number) => touch(asked, check, "signal", asked.args[0] as i32),
            libc::SYS_process_vm_readv | libc::SYS_process_vm_writev => {
                touch(asked, check, "ptrace", asked.args[0] as i32)
            }
            libc::SYS_ptrace => touch(asked, check, "ptrace", asked.args[1] as i32),
            libc::SYS_kcmp => {
                let both = asked.args[..2].iter().map(|pid| touch(asked, check, "ptrace", *pid as i32));
                both.fold(Ok(Answer::Pass), Result::and)
            }
            libc::SYS_fcntl => own(asked, check),
            libc::SYS_prctl if asked.args[0] as i32 == libc::PR_SET_DUMPABLE => Ok(self.stay_dumpable()),
            libc::SYS_prctl if asked.args[0] as i32 == libc::PR_SET_CHILD_SUBREAPER => {
                self.processes.borrow_mut().mixes(check.pid);
                Ok(Answer::Pass)
            }
            libc::SYS_clone if asked.args[0] & libc::CLONE_PARENT as u64 != 0 => {
                self.processes.borrow_mut().parent_mixes(check.pid);
                Ok(Answer::Pass)
            }
            number if self.policy.holds_cores() && filter::core_limit(number, &asked.args).is_some() => {
                self.limit_core(asked, check)
            }
            number if filter::controlled(number, &asked.args).is_some() => control(asked, check),
            number => {
                let answer = by_number(number, &self.judged);
                if answer.is_err() {
                    check.forbid(number, &asked.args);
                }
                answer
            }
        }
    }

    /// That a call that is many in one was granted as the one that it is.
    fn choose(&self, asked: &Asked<'_>, check: &RoleCheck<'_>) -> Result<(), Errno> {
        match choices::chosen(&self.policy, asked.number, &asked.args) {
            Some(values) if !check.all(|role| role.may_choose(asked.number, &values)) => {
                check.refuse("syscall", chosen_object(asked.number, &values)).map_err(|_| libc::EPERM)
            }
            _ => Ok(()),
        }
    }

    /// The kernel runs the program; what it then is decides its role before it is given anything.
    fn exec(&self, asked: &Asked<'_>, check: &RoleCheck<'_>) -> Result<Answer, Errno> {
        let is_fresh = self.processes.borrow_mut().known(asked.target.tgid).is_some_and(|process| process.fresh);
        // Who learns is told of the first program as well, and of what the kernel opens besides, for which Landlock asks later.
        if !is_fresh || check.learn {
            let place = files::exec_place(asked, check)?;
            check.path(verb::EXEC, &place.path)?;
            let mut next = Some(place).filter(|_| check.learn);
            for _ in 0..MAX_INTERPRETERS {
                next = next.and_then(|program| files::interpreter_of(asked, check, &program));
                let Some(found) = &next else { break };
                check.path(verb::EXEC, &found.path)?;
            }
        }
        let mut processes = self.processes.borrow_mut();
        processes.meet_children(asked.target.tgid, &self.rules);
        if let Some(process) = processes.known(asked.target.tgid) {
            process.expect_exec(asked.target.tid);
        }
        Ok(Answer::Pass)
    }

    /// The kernel keeps a process that is not dumpable from all but root: a supervisor that is not root could not answer for it. It
    /// is told that it is so, and by whom else it is kept is not changed.
    fn stay_dumpable(&self) -> Answer {
        if self.is_root { Answer::Pass } else { Answer::Value(0) }
    }

    /// How large a core file of a process of the tree may be: it may leave none (`gate.rs`), and root is not let change that. Who
    /// asks for none is told so, whatever the limit could be raised to later; others get what those get who may not raise one.
    fn limit_core(&self, asked: &Asked<'_>, check: &RoleCheck<'_>) -> Result<Answer, Errno> {
        if asked.number == libc::SYS_prlimit64 {
            control(asked, check)?;
            let pid = asked.args[0] as i32;
            let is_own = pid == 0 || is_own_thread(check.pid, pid);
            if !is_own && self.processes.borrow_mut().roles_of(pid, &self.rules).is_empty() {
                return Ok(Answer::Pass);
            }
        }
        let at = filter::core_limit(asked.number, &asked.args).ok_or(libc::EINVAL)?;
        let limit = asked.target.read_exact(at, size_of::<libc::rlimit64>())?;
        asked.still_waiting()?;
        let (soft, _) = limit.split_at(size_of::<libc::rlim64_t>());
        if soft.iter().any(|byte| *byte != 0) {
            check.forbid(asked.number, &asked.args);
            return Err(libc::EPERM);
        }
        if asked.number == libc::SYS_prlimit64 && asked.args[3] != 0 {
            asked.write(asked.args[3], &[0; size_of::<libc::rlimit64>()])?;
        }
        Ok(Answer::Value(0))
    }

    /// As whom a program acts: the supervisor does not follow. Root may stay root; that it gives root up has to be granted with
    /// its ids, of which the user is warned before (src/spec/enforce.ts).
    fn become_user(&self, asked: &Asked<'_>, check: &RoleCheck<'_>) -> Result<Answer, Errno> {
        let count = match asked.number {
            libc::SYS_setreuid | libc::SYS_setregid => 2,
            libc::SYS_setresuid | libc::SYS_setresgid => 3,
            _ => 1,
        };
        let ids: Vec<i32> = asked.args[..count].iter().map(|id| *id as i32).collect();
        let stays = !self.is_root || ids.iter().all(|id| matches!(id, -1 | 0));
        if stays || check.all(|role| role.may_become(asked.number, &ids)) {
            return Ok(Answer::Pass);
        }
        let words: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let object = format!("{} {}", asked.number, words.join(" "));
        check.refuse("syscall", object).map(|()| Answer::Pass).map_err(|_| libc::EPERM)
    }

    /// `role`: the first of the caller's. Returns what is to be handed over.
    fn deliver(&self, (tid, tgid, id): (i32, i32, u64), role: Option<usize>, answer: Answer) -> Option<HandOver> {
        match answer {
            Answer::Value(value) => self.listener.answer(id, value),
            Answer::Descriptor(fd, cloexec) => return Some(HandOver { role, fd, cloexec }),
            Answer::Pass => self.listener.pass(id),
            Answer::Refused(errno) => self.listener.refuse(id, errno),
            Answer::Slow(slow) => {
                let holder = Holder { role, held: slow.held() };
                self.apart.start((tid, tgid, id), holder, move |caller| slow.perform(caller));
            }
            Answer::SlowOpen(object, flags, cloexec) => {
                // The object, and what is opened of it.
                let holder = Holder { role, held: Held { descriptors: 2, bytes: 0 } };
                self.apart.start((tid, tgid, id), holder, move |caller| {
                    let opened = patiently(caller, || files::reopen(&object, flags, 0));
                    opened.map_or_else(Answer::Refused, |fd| Answer::Descriptor(fd, cloexec))
                });
            }
        }
        None
    }

    /// Without a supervisor only calls are notified that no role may make.
    fn refuse_call(&self, notification: &Notification) {
        let Notification { id, tid, number, args, .. } = *notification;
        let (verb, object, errno) = if number == libc::SYS_socket {
            ("syscall", format!("socket {} {} {}", args[0], args[1] & 0xf, args[2]), libc::EACCES)
        } else if self.policy.pass.contains(&number) && filter::controlled(number, &args).is_some() {
            // Who it is, is not looked up: what another process of the tree may be made to do, only a supervisor grants.
            ("ptrace", "outside".to_owned(), libc::EPERM)
        } else if self.policy.pass.contains(&number) && sockets::SENDS.contains(&number) {
            ("connect", sockets::named(tid, number, &args), libc::EOPNOTSUPP)
        } else if self.policy.pass.contains(&number) && filter::altered(number, &args).is_some() {
            let path = std::fs::read_link(format!("/proc/{tid}/fd/{}", args[0] as i32)).unwrap_or_default();
            ("chmeta", path.to_string_lossy().into_owned(), libc::EPERM)
        } else {
            let values = choices::chosen(&self.policy, number, &args).filter(|_| self.policy.pass.contains(&number));
            ("syscall", values.map_or(number.to_string(), |values| chosen_object(number, &values)), libc::EPERM)
        };
        let forbidden = filter::is_never(number, &args) && self.policy.pass.contains(&number);
        let (role, verb) = (self.rules.roles[self.policy.root].name.clone(), verb.to_owned());
        (self.report)(&Refusal { role, pid: tid, call: number, verb, object, errno, killed: false, forbidden });
        self.listener.refuse(id, errno);
    }

    fn role_name(&self, roles: &[usize], pid: i32) -> String {
        match roles {
            [] => self.processes.borrow_mut().known(pid).map(|process| process.exe()).unwrap_or_default(),
            roles => roles.iter().map(|role| self.rules.roles[*role].name.as_str()).collect::<Vec<_>>().join("|"),
        }
    }

    fn end_stranger(&self, stranger: &Stranger, call: i64, id: u64) {
        let object = String::from_utf8_lossy(&stranger.exe).into_owned();
        let refusal = Refusal {
            role: object.clone(),
            pid: stranger.pid,
            call,
            verb: "exec".into(),
            object,
            errno: libc::EACCES,
            killed: true,
            forbidden: false,
        };
        (self.report)(&refusal);
        let _ = sys::kill(stranger.pid, libc::SIGKILL);
        self.listener.refuse(id, libc::EACCES);
    }
}

impl Decide for Supervisor {
    /// Who calls for the first time is looked up first, as are those whom a call is about; before an exec all that was forked is.
    fn takes_long(&self, notification: &Notification) -> bool {
        let Notification { tid, number, .. } = *notification;
        let looks_others_up = matches!(number, libc::SYS_execve | libc::SYS_execveat) || SIGNALS.contains(&number);
        looks_others_up || !self.processes.borrow().has_met(tid)
    }

    fn handle(&self, notification: &Notification) -> Option<HandOver> {
        let Notification { id, tid, number, .. } = *notification;
        let (rules, listener, learn) = (&self.rules, self.listener.as_ref(), self.policy.learn);
        let may_exec = |roles: &[usize], exe: &[u8], serving: bool| {
            roles.iter().all(|role| rules.roles[*role].may(verb::EXEC, exe, serving))
        };
        if !self.policy.supervised {
            if self.is_first_exec(notification) || controls_itself(notification) {
                self.listener.pass(id);
            } else {
                self.refuse_call(notification);
            }
            return None;
        }
        let mut known_processes = self.processes.borrow_mut();
        let met = known_processes.of(tid, rules, learn, may_exec);
        // What was found out of a thread that is gone by now may be of another one.
        if !matches!(&met, Ok(Some(met)) if !met.is_new) && !listener.is_waiting(id) {
            return None;
        }
        let (process, handle) = match met {
            Ok(Some(met)) => (met.process, met.handle),
            Ok(None) => {
                listener.refuse(id, libc::EACCES);
                return None;
            }
            Err(stranger) => {
                self.end_stranger(&stranger, number, id);
                return None;
            }
        };
        let is_start = process.fresh && number == libc::SYS_execve;
        let (roles, serving, pid) = (Arc::clone(&process.roles), process.is_serving(), process.pid);
        drop(known_processes);
        let processes = &self.processes;
        let (refused, forbidden) = (RefCell::default(), RefCell::default());
        let check = RoleCheck { rules, roles: &roles, pid, processes, serving, learn, refused, forbidden };
        let asked = Asked {
            number,
            args: notification.args,
            target: Target { tid, tgid: pid, thread: &handle },
            known: &self.known,
            listener,
            id,
        };
        let answer = if is_start || is_harmless(number) || check.all(|role| role.may_call(number)) {
            self.decide(&asked, &check).unwrap_or_else(Answer::Refused)
        } else {
            check.refused.borrow_mut().push(("syscall".into(), number.to_string()));
            match learn {
                false => Answer::Refused(libc::EPERM),
                // What it is about is learnt as well.
                true if self.judged.contains(&number) && !moves_names(number) => {
                    self.decide(&asked, &check).unwrap_or_else(Answer::Refused)
                }
                true => {
                    let _ = self.choose(&asked, &check);
                    Answer::Pass
                }
            }
        };
        // A grant of the call would not help.
        let forbidden = check.forbidden.take();
        let refused = match &forbidden {
            Some(object) => vec![("syscall".to_owned(), object.clone())],
            None => check.refused.take(),
        };
        for (verb, object) in refused {
            let errno = match &answer {
                Answer::Refused(errno) => *errno,
                _ if verb == "syscall" => libc::EPERM,
                _ => libc::EACCES,
            };
            let role = self.role_name(&roles, pid);
            let forbidden = forbidden.is_some();
            (self.report)(&Refusal { role, pid, call: number, verb, object, errno, killed: false, forbidden });
        }
        self.deliver((tid, pid, id), roles.first().copied(), answer)
    }
}

/// What was refused to a call that chooses, as `src/spec/enforce.ts` reads it.
fn chosen_object(number: i64, values: &[u32]) -> String {
    values.iter().fold(number.to_string(), |text, value| format!("{text} {value}"))
}

/// Calls that send a signal to whom their first argument tells.
const SIGNALS: [i64; 5] =
    [libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo];

/// Signals and ptrace: who it is for is a number in a register. Landlock keeps them inside the tree.
fn touch(asked: &Asked<'_>, check: &RoleCheck<'_>, verb: &str, pid: i32) -> Result<Answer, Errno> {
    // Nobody is no matter of grants: programs ask in this way whether somebody is there still.
    if pid > 0 && is_nobody(pid) {
        return Err(libc::ESRCH);
    }
    // One that may be in several roles is touched by who may touch them all.
    let targets = match pid {
        0 => vec!["group".to_owned()],
        -1 => vec!["any".to_owned()],
        pid if pid == check.pid || (asked.number == libc::SYS_tkill && pid == asked.target.tid) => {
            vec!["self".to_owned()]
        }
        pid if pid > 0 => check.names_of(pid),
        group => check.names_of_group(verb, group.wrapping_neg()).into_iter().collect(),
    };
    // Who joins the group from now on was not looked at.
    if targets.is_empty() {
        return Err(libc::ESRCH);
    }
    check.touch(verb, targets).map(|()| Answer::Pass).map_err(|_| libc::EPERM)
}

/// How another process runs, which the kernel lets a user change of all that are his.
fn control(asked: &Asked<'_>, check: &RoleCheck<'_>) -> Result<Answer, Errno> {
    match filter::controlled(asked.number, &asked.args) {
        None | Some(Controlled::Caller) => Ok(Answer::Pass),
        Some(Controlled::One(pid)) if is_own_thread(check.pid, pid) => Ok(Answer::Pass),
        Some(Controlled::One(pid)) => touch(asked, check, "ptrace", pid),
        Some(Controlled::Group(group)) => touch(asked, check, "ptrace", -group),
        Some(Controlled::All) => touch(asked, check, "ptrace", -1),
    }
}

/// Who is told by signals that something can be read: as if whoever asks for it sent them. Who may be made to wait: nobody, as
/// where a file is open already.
fn own(asked: &Asked<'_>, check: &RoleCheck<'_>) -> Result<Answer, Errno> {
    match (asked.args[1] as i32, asked.args[2] as i32) {
        (command, _) if filter::LEASES.contains(&command) => {
            // Who takes one back, or asks for none, has none.
            if asked.args[2] as i32 != libc::F_UNLCK {
                check.forbid(asked.number, &asked.args);
            }
            Err(libc::EAGAIN)
        }
        (libc::F_SETOWN, 0) => Ok(Answer::Pass),
        (libc::F_SETOWN, pid) if pid == check.pid => Ok(Answer::Pass),
        (libc::F_SETOWN, pid) => touch(asked, check, "signal", pid),
        // Whom, stands in memory.
        (command, _) if filter::OWNERS.contains(&command) => {
            check.forbid(asked.number, &asked.args);
            Err(libc::EPERM)
        }
        _ => Ok(Answer::Pass),
    }
}

/// Whether a call is about how the process runs that makes it, of which no register tells the number.
fn controls_itself(Notification { tid, number, args, .. }: &Notification) -> bool {
    matches!(filter::controlled(*number, args), Some(Controlled::One(pid)) if is_own_thread(*tid, pid))
}

/// Whether a thread is one of a process, of which any thread tells.
fn is_own_thread(pid: i32, tid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}/task/{tid}")).exists()
}

/// Whether no process or thread has a number.
fn is_nobody(id: i32) -> bool {
    sys::kill(id, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
}

/// Scripts whose interpreters are scripts: as many as Linux runs, and the loader of the last (execve(2)).
const MAX_INTERPRETERS: usize = 6;

/// A call that was granted by its number, to this role though not to all. One that was to be judged, and that nothing here
/// judges, is refused as by a kernel that lacks it.
fn by_number(number: i64, judged: &HashSet<i64>) -> Result<Answer, Errno> {
    match number {
        _ if moves_names(number) => Err(libc::EPERM),
        libc::SYS_setgroups => Ok(Answer::Pass),
        _ if judged.contains(&number) => Err(libc::ENOSYS),
        _ => Ok(Answer::Pass),
    }
}

/// Of Linux 6.15.
const SYS_OPEN_TREE_ATTR: i64 = 467;

/// Calls that change where names lead, which is the same for the supervisor and all programs.
fn moves_names(number: i64) -> bool {
    matches!(
        number,
        libc::SYS_chroot
            | libc::SYS_pivot_root
            | libc::SYS_mount
            | libc::SYS_umount2
            | libc::SYS_open_tree
            | SYS_OPEN_TREE_ATTR
            | libc::SYS_fsopen
            | libc::SYS_fsconfig
            | libc::SYS_fsmount
            | libc::SYS_move_mount
            | libc::SYS_fspick
            | libc::SYS_mount_setattr
            | libc::SYS_swapon
            | libc::SYS_swapoff
            | libc::SYS_acct
    )
}

/// Calls that the filter lets through in any case.
fn is_harmless(number: i64) -> bool {
    matches!(
        number,
        libc::SYS_read
            | libc::SYS_write
            | libc::SYS_close
            | libc::SYS_exit
            | libc::SYS_exit_group
            | libc::SYS_rt_sigreturn
    )
}

/// socket(2), decided by its registers.
fn socket(asked: &Asked<'_>, check: &RoleCheck<'_>) -> Result<Answer, Errno> {
    let [family, kind, protocol, ..] = asked.args.map(|arg| arg as i32);
    let kind = kind & 0xf;
    if check.all(|role| role.may_open_socket(family, kind, protocol)) {
        return Ok(Answer::Pass);
    }
    check.refuse("syscall", format!("socket {family} {kind} {protocol}")).map(|()| Answer::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_nothing_judges_are_refused() {
        let judged = HashSet::from([libc::SYS_name_to_handle_at]);
        assert!(matches!(by_number(libc::SYS_name_to_handle_at, &judged), Err(libc::ENOSYS)));
        assert!(matches!(by_number(libc::SYS_getpid, &judged), Ok(Answer::Pass)));
        assert!(matches!(by_number(libc::SYS_chroot, &judged), Err(libc::EPERM)));
    }
}
