//! Calls of tasks: entered, left, committed, and what becomes of those that a signal interrupts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use libc::c_int;
use trace_format::event::{EventKind, Lost, Side, flag, slot};

use crate::capture::{self, Call};
use crate::memory::Memory;
use crate::plan;
use crate::raw::RawEvent;
use crate::record::{World, signals};
use crate::siginfo::{self, SigInfo};
use crate::sys::{self, is_restart};
use crate::task::{Interrupted, Task};

/// The call by which the kernel has one go on that has waited for a part of its time.
pub(super) const RESUMES: &str = "restart_syscall";

impl World {
    /// A task enters a call.
    pub(super) fn enter(&mut self, task: &mut Task, info: &sys::SyscallInfo, now: u64) {
        self.decide(task, None);
        let ip = task.space.borrow().code.own_ip(info.ip);
        let mut call = Call { ip, start: now, entry_seq: self.sink.seq(), ..Call::entered(info) };
        if task.launching && !matches!(call.name(), "execve" | "execveat") {
            return;
        }
        continue_interrupted(task, &mut call);
        task.left = None;
        self.limits.enter(task, &call);
        task.making = call.plan.is_some_and(|plan| plan.effect == plan::Effect::Clone);
        task.memory.clear();
        capture::entry(task.tid, self.data, &call, &mut task.memory);
        self.refer(task, &call);
        self.before(task, &mut call);
        let sampler = self.sampler.as_mut().filter(|sampler| !task.launching && sampler.wants(call.name()));
        if let Some(sampler) = sampler {
            task.sample = sampler.take(task, &call);
        }
        if let Some(agent) = &mut self.agent {
            *agent.counts.trapped.entry(call.number).or_default() += 1;
        }
        task.call = Some(call);
    }

    /// A task leaves a call.
    pub(super) fn leave(&mut self, task: &mut Task, call: Call, result: i64, now: u64) {
        task.making = false;
        if task.launching {
            // The exec of the first program failed; the child reports it and ends.
            return;
        }
        if result == i64::from(call.number) && sys::is_trapped_by_filter(task.tid) {
            // The register of results has the number again, and nothing was done.
            World::put_back(task, &call);
            return self.commit_call(task, &call, Some(result), now, 0);
        }
        if self.replayable {
            answer_clock_mode(task, &call, result);
        }
        capture::exit(task.tid, self.data, &call, result, &mut task.memory);
        if self.replayable && capture::is_error(result) {
            capture::failed(task.tid, self.data, &call, result, &mut task.memory);
        }
        if is_restart(result) || signals::is_interrupted_by_any(&call, result) {
            task.undecided = Some((call, result, now));
            return;
        }
        self.after(task, &call, result);
        task.traps.gains_nothing |= call.plan.is_some_and(|plan| plan.role == plan::Role::Prctl)
            && call.int(0) == libc::PR_SET_NO_NEW_PRIVS
            && result == 0;
        if !self.replayable && call.name() == "prctl" && call.int(0) == libc::PR_SET_TSC && result == 0 {
            task.traps.clock_is_forbidden = call.int(1) == libc::PR_TSC_SIGSEGV;
        }
        // What a loader does first is behind it then.
        if task.traps.learns && task.trapped >= 2 {
            World::end_learning(task);
        }
        if self.agent.is_some() {
            self.names_moved |= !capture::is_error(result) && moves_names(task, &call, self.serves_files);
            self.tell_known(task, &call);
            World::hide_block(task, &call, result);
        }
        self.commit_call(task, &call, Some(result), now, 0);
        self.commit_maps(task);
        if task.executed {
            self.exec_event(task);
            task.executed = false;
        }
    }

    /// Settles what becomes of a call that was interrupted: the signal about to be delivered, or its absence, says it.
    pub(super) fn decide(&mut self, task: &mut Task, signal: Option<c_int>) {
        let Some((call, result, end)) = task.undecided.take() else { return };
        let handler = signal.and_then(|signal| task.handlers.borrow().get(&signal).copied());
        let is_spared = signal.is_some_and(|signal| signals::has_no_effect(task, signal));
        let waits_on = (is_spared && !is_restart(result)).then(|| signals::wait_on(task, &call, end)).flatten();
        let result = waits_on.unwrap_or(result);
        let restarts = match handler {
            _ if waits_on.is_some() || !is_restart(result) => is_restart(result),
            // Nothing goes on with it.
            _ if signal.is_some_and(|signal| signals::is_fatal(task, signal)) => false,
            // No function of the program runs: the kernel starts the call again.
            None => true,
            Some(handler) if !handler.is_caught() => true,
            Some(handler) => result == -513 || (result == signals::ERESTARTSYS && handler.restarts),
        };
        let flags = if restarts {
            if task.interrupted.len() >= 8 {
                task.interrupted.remove(0);
            }
            let Call { number, ip, sp, start, .. } = call;
            task.interrupted.push(Interrupted { number, ip, sp, start });
            task.left = Some(Box::new((Call { restarted: true, ..call }, task.memory.read())));
            flag::INTERRUPTED
        } else {
            0
        };
        self.commit_call(task, &call, Some(result), end, flags);
    }

    /// Commits the call that a task will not come back to, which ends: it was stopped, or came to no turn, before the kernel could make it again.
    pub(super) fn commit_left(&mut self, task: &mut Task) {
        let Some(left) = task.left.take() else { return };
        let (call, memory) = *left;
        let call = Call { entry_seq: self.sink.seq(), ..call };
        task.memory = memory;
        self.commit_call(task, &call, None, self.clock, 0);
    }

    /// Commits a call with its raw result, or as one that never returned.
    pub(super) fn commit_call(&mut self, task: &mut Task, call: &Call, result: Option<i64>, end: u64, mut flags: u8) {
        if call.restarted {
            flags |= flag::RESTARTED;
        }
        if flags & flag::INTERRUPTED == 0 {
            task.left = None;
        }
        match result {
            None => flags |= flag::NO_RETURN,
            Some(result) if capture::is_error(result) => flags |= flag::ERROR,
            Some(_) => {}
        }
        if task.memory.unreadable > 0 {
            flags |= flag::PARTIAL;
        }
        if result == Some(-i64::from(libc::EFAULT)) {
            task.memory.excuse_unreadable();
        }
        if call.plan.is_none() {
            self.lost[Lost::UnknownCall as usize] += 1;
        }
        let event = RawEvent {
            kind: EventKind::Call,
            flags,
            arch: call.arch as u8,
            nargs: call.nargs(),
            code: call.number as i32,
            thread: task.index,
            start: self.time(call.start),
            end: self.time(end),
            entry_seq: call.entry_seq,
            args: call.args,
            ret: result.unwrap_or(0),
            ip: call.ip,
            sp: call.sp,
            captures: 0,
            refs: 0,
        };
        if let Some(sample) = task.sample.take() {
            self.sink.sample(*sample);
        }
        self.commit(event, &task.memory);
        task.memory.clear();
    }

    pub(super) fn signal(&mut self, task: &Task, signal: c_int) {
        self.signal_as_told(task, signal, sys::signal_info(task.tid).ok().as_ref());
    }

    /// The same, with what the kernel tells of it.
    pub(super) fn signal_as_told(&mut self, task: &Task, signal: c_int, info: Option<&SigInfo>) {
        let mut memory = Memory::default();
        let mut event = self.event(task, EventKind::Signal, signal);
        if let Some(info) = info {
            memory.add(0, Side::In, info);
            event.nargs = 2;
            event.args[0] = siginfo::code(info) as u64;
            event.args[1] = siginfo::pid(info) as u64;
        }
        self.commit(event, &memory);
    }

    /// Notes which objects stand behind the descriptors that a call names, and the directory that its paths start from.
    pub(super) fn refer(&mut self, task: &mut Task, call: &Call) {
        let Some(plan) = call.plan else { return };
        for &index in &plan.fds {
            let fd = call.int(usize::from(index));
            if fd < 0 {
                continue;
            }
            let closed = match plan.effect {
                plan::Effect::Close if self.follows => task.fds.borrow().closed_by(fd, call.entry_seq),
                _ => None,
            };
            if let Some(object) = closed.or_else(|| self.object(task, fd)) {
                task.memory.refs.push(crate::raw::RawRef { slot: index, fd, object });
            }
        }
        if plan.uses_cwd
            && let Some(object) = self.cwd(task)
        {
            task.memory.refs.push(crate::raw::RawRef { slot: slot::CWD, fd: libc::AT_FDCWD, object });
        }
    }
}

/// Whether a call that was successful has given another name to a directory, or to what is below one. Where a recorded process
/// may have to answer for files (fuse(4)), that is not looked at: it is taken for so.
pub(super) fn moves_names(task: &Task, call: &Call, serves_files: bool) -> bool {
    let Some(plan) = call.plan.filter(|plan| plan.effect == plan::Effect::Rename) else { return false };
    match call.name() {
        "mount" | "umount" | "umount2" | "move_mount" | "setns" => return true,
        "rename" | "renameat" | "renameat2" if serves_files => return true,
        "rename" | "renameat" | "renameat2" => {}
        _ => return false,
    }
    plan.paths.iter().any(|path| {
        let Some(given) = task.memory.string(path.slot) else { return true };
        let base = match path.dir.map(|index| call.int(usize::from(index))) {
            _ if given.first() == Some(&b'/') => String::from("root"),
            None | Some(libc::AT_FDCWD) => String::from("cwd"),
            Some(fd) => format!("fd/{fd}"),
        };
        let given = Path::new(OsStr::from_bytes(given));
        let below = given.strip_prefix("/").unwrap_or(given);
        match Path::new("/proc").join(task.tid.to_string()).join(base).join(below).symlink_metadata() {
            Ok(facts) => facts.is_dir(),
            // Nothing has the former name any more.
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
    })
}

/// Tells a program that asks for it (PR_GET_TSC, prctl(2)) whether `rdtsc` traps as far as it has said so itself.
pub(super) fn answer_clock_mode(task: &Task, call: &Call, result: i64) {
    if call.plan.is_some_and(|plan| plan.role == plan::Role::Prctl) && call.int(0) == libc::PR_GET_TSC && result == 0 {
        let mode = if task.traps.clock_is_forbidden { libc::PR_TSC_SIGSEGV } else { libc::PR_TSC_ENABLE };
        sys::write_memory(task.tid, call.args[1], &mode.to_ne_bytes());
    }
}

/// Joins a call to the interrupted one that it continues. What goes on by restart_syscall(2) is that call still, whose arguments are where they
/// were.
pub(super) fn continue_interrupted(task: &mut Task, call: &mut Call) {
    let Some(last) = task.interrupted.last() else { return };
    let same = last.number == call.number && last.ip == call.ip && last.sp == call.sp;
    if same || call.name() == RESUMES {
        call.restarted = true;
        call.start = last.start;
        call.number = last.number;
        call.plan = plan::by_number(call.arch, last.number);
        task.interrupted.pop();
    }
}
