//! Recording programs that run already: every thread is seized where it stands, and let go at the end. Neither is to be noticed: a
//! call in which a thread waits goes on where it can.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use libc::{c_int, pid_t, user_regs_struct};

use super::births::whose;
use super::stops::signal_of;
use super::{Recorder, World, limits, signals};
use crate::capture::{self, Call};
use crate::error::EngineError;
use crate::placement::Place;
use crate::plan;
use crate::siginfo::SigInfo;
use crate::stepped;
use crate::sys::{self, Resume, Waited, is_restart};
use crate::task::{Handler, Task};

/// A wait that is not longer may begin anew.
const SHORT_NS: u64 = 1_000_000_000;

/// The process to which this belongs: a thread stands for it, as in strace(1) with `-f`.
fn process_of(id: pid_t) -> Result<pid_t, EngineError> {
    whose(id).map(|(process, _)| process).ok_or_else(|| no_process(id))
}

fn no_process(id: pid_t) -> EngineError {
    EngineError::start("no-process", format!("there is no process {id}"))
}

/// Seizes all threads of a process, also those that appear meanwhile.
fn seize_all(pid: pid_t, options: i32) -> Result<Vec<pid_t>, EngineError> {
    let mut seized = HashSet::new();
    loop {
        let before = seized.len();
        for tid in sys::numbers_in(&format!("/proc/{pid}/task")).map_err(|_| no_process(pid))? {
            if seized.contains(&tid) {
                continue;
            }
            match sys::seize(tid, options) {
                Ok(()) => {
                    // At once: until it stops it runs unseen.
                    let _ = sys::interrupt(tid);
                    seized.insert(tid);
                }
                // A thread that has just ended, or whose process goes on without it, as that of a leader may.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) || has_ended(tid) => {}
                Err(error) => {
                    let why = refused(pid, tid, &error);
                    seized.into_iter().for_each(let_seized_go);
                    return Err(why);
                }
            }
        }
        if seized.len() == before {
            break;
        }
    }
    if seized.is_empty() {
        return Err(if has_ended(pid) { ended(pid) } else { no_process(pid) });
    }
    let mut all: Vec<pid_t> = seized.into_iter().collect();
    // The first thread of the process comes first.
    all.sort_unstable_by_key(|tid| (*tid != pid, *tid));
    Ok(all)
}

fn let_seized_go(tid: pid_t) {
    if let Ok(waited) = sys::wait_stop(tid) {
        let _ = sys::resume(tid, Resume::Detach, signal_of(&waited));
    }
}

fn has_ended(tid: pid_t) -> bool {
    let status = sys::status_of(tid).unwrap_or_default();
    sys::status_field(&status, "State").is_none_or(|state| state.starts_with(['Z', 'X']))
}

fn ended(pid: pid_t) -> EngineError {
    EngineError::start("no-process", format!("process {pid} has ended: its parent has not asked for its exit code yet"))
}

/// Why a thread cannot be traced.
fn refused(pid: pid_t, tid: pid_t, error: &std::io::Error) -> EngineError {
    let status = sys::status_of(tid).unwrap_or_default();
    let field = |name: &str| sys::status_field(&status, name);
    let tracer = field("TracerPid").and_then(|tracer| tracer.parse::<pid_t>().ok()).filter(|tracer| *tracer != 0);
    if pid.cast_unsigned() == std::process::id() {
        return EngineError::start("no-process", format!("process {pid} is the recorder itself"));
    }
    if let Some(tracer) = tracer {
        let name = sys::status_of(tracer).and_then(|status| Some(sys::status_field(&status, "Name")?.to_owned()));
        let by = name.map_or_else(|| format!("process {tracer}"), |name| format!("{name} (process {tracer})"));
        return EngineError::start("traced", format!("process {pid} is traced already, by {by}"));
    }
    // Only threads of the kernel have no memory of their own.
    if field("VmSize").is_none() && !has_ended(tid) {
        return EngineError::start(
            "no-process",
            format!("process {pid} is a thread of the kernel, which makes no calls"),
        );
    }
    let why = format!("the kernel does not let this process trace process {pid}: {error}");
    EngineError::start("permission", why)
}

/// What a process does about signals, as far as can be seen from outside: whether a call goes on after a handler is known when one has run.
fn handlers_of(tid: pid_t) -> HashMap<c_int, Handler> {
    let status = sys::status_of(tid).unwrap_or_default();
    let mask = |field: &str| {
        let mask = signals::mask_of(&status, field);
        (1..=64).filter(move |signal| mask & 1 << (signal - 1) != 0)
    };
    let ignored = mask("SigIgn").map(|signal| (signal, Handler { addr: 1, restarts: false, once: false }));
    let caught =
        mask("SigCgt").map(|signal| (signal, Handler { addr: Handler::UNKNOWN, restarts: false, once: false }));
    ignored.chain(caught).collect()
}

impl Recorder {
    /// Takes in the running processes that can be traced: whoever names several has looked for them a moment ago, and one may have ended.
    pub(super) fn attach(&mut self, ids: &[pid_t], options: i32) -> Result<(), EngineError> {
        let mut observed = Vec::new();
        let mut failures = Vec::new();
        for &id in ids {
            let process = process_of(id);
            if process.as_ref().is_ok_and(|pid| observed.contains(pid)) {
                continue;
            }
            match process.and_then(|pid| Ok((pid, seize_all(pid, options)?))) {
                Ok((pid, threads)) => {
                    observed.push(pid);
                    self.take_in(pid, &threads);
                }
                Err(failure) => failures.push(failure),
            }
        }
        if observed.is_empty()
            && let Some(failure) = failures.pop()
        {
            return Err(failure);
        }
        for failure in failures {
            self.world.note(&format!("not observed: {failure}"));
        }
        Ok(())
    }

    /// Takes in all threads of a process, the first one first.
    fn take_in(&mut self, pid: pid_t, threads: &[pid_t]) {
        let process = self.world.new_process(pid);
        let mut leader: Option<pid_t> = None;
        for &tid in threads {
            let mut task = self.world.new_task(tid, Rc::clone(&process), None, false);
            if let Some(leader) = leader.and_then(|leader| self.tasks.get(&leader)) {
                task.fds = Rc::clone(&leader.fds);
                task.location = Rc::clone(&leader.location);
                task.handlers = Rc::clone(&leader.handlers);
                task.space = Rc::clone(&leader.space);
            } else {
                leader = Some(tid);
                task.handlers.replace(handlers_of(tid));
                self.world.exec_event(&mut task);
            }
            task.seized = true;
            // Its program may have chosen its CPUs long ago.
            task.place = Place::new(true);
            self.tasks.insert(tid, task);
        }
    }

    /// Lets everything go that is still observed.
    pub(super) fn detach_all(&mut self) {
        self.detaching = true;
        self.release_all_inspected(|_| true);
        let changed = self.has_changed_programs();
        if !changed {
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
        let mut undisturbed = Vec::new();
        for (tid, task) in &self.tasks {
            if !changed && task.call.as_ref().is_some_and(|call| is_cut_short(task, call)) {
                undisturbed.push(*tid);
            } else {
                let _ = sys::interrupt(*tid);
            }
        }
        // They go on in their calls, and are let go when they stop next, or with this thread, at whose end nobody stops.
        for tid in undisturbed {
            self.forget(tid);
        }
    }

    /// Whether nobody is left whose stop is waited for.
    pub(super) fn has_let_go(&self) -> bool {
        self.detaching && self.tasks.is_empty() && !self.has_changed_programs()
    }

    /// A task that is not to be observed any more has stopped at the entry of a call, which would be interrupted at once by the stop that it
    /// was asked for. Has it come back without the call having been made, to make it when it is let go.
    pub(super) fn comes_back_before_call(&self, tid: pid_t) -> bool {
        let is_entry = sys::syscall_info(tid).is_ok_and(|info| info.op == sys::INFO_ENTRY);
        let Ok(regs) = sys::registers(tid) else { return false };
        // To a filter of its own that would be another call, which it might be killed for.
        if self.has_changed_programs() || !is_entry || sys::filters_calls(tid) {
            return false;
        }
        let length = crate::image::SYSCALL.len() as u64;
        let before =
            user_regs_struct { rip: regs.rip.wrapping_sub(length), rax: regs.orig_rax, orig_rax: u64::MAX, ..regs };
        sys::set_registers(tid, &before).is_ok() && sys::resume(tid, Resume::Syscall, 0).is_ok()
    }

    /// A handler is about to run that was there before this process was observed, after a call that it may let go on: the frame of the handler
    /// tells. `None`: it runs, what it did is noted, and it has stopped there. Otherwise the stop that came instead.
    pub(super) fn learn_handler(&mut self, tid: pid_t, signal: c_int, info: &SigInfo) -> Option<Waited> {
        let before = sys::registers(tid).ok();
        let _ = sys::resume(tid, Resume::Step, signal);
        let Ok(waited) = sys::wait_stop(tid) else { return None };
        let is_there = waited.status >> 8 == libc::SIGTRAP;
        let task = self.tasks.get_mut(&tid)?;
        let regs = sys::registers(tid).ok().filter(|_| is_there);
        if let (Some(before), Some(regs)) = (before, regs) {
            let restarts = stepped::makes_call_again(tid, &before, &regs);
            task.handlers.borrow_mut().insert(signal, Handler { addr: regs.rip, restarts, once: false });
            stepped::clear_frame(tid, &before, &regs);
        }
        self.world.decide(task, Some(signal));
        self.world.signal_as_told(task, signal, Some(info));
        (!is_there).then_some(waited)
    }
}

impl World {
    /// A thread has come to the first stop since it was seized: a call in which it waited was interrupted, and goes on as if it had not
    /// been, where that can be.
    pub(super) fn seized(&mut self, task: &mut Task) {
        if !std::mem::take(&mut task.seized) {
            return;
        }
        let (Ok(info), Ok(regs)) = (sys::syscall_info(task.tid), sys::registers(task.tid)) else { return };
        let result = regs.rax as i64;
        if (regs.orig_rax as i64) < 0 {
            return;
        }
        let args = if regs.cs == sys::USER_CS {
            [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9]
        } else {
            [regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi, regs.rbp]
        };
        let (arch, number) = (info.machine(), regs.orig_rax as u32);
        let plan = plan::by_number(arch, number);
        let (now, entry_seq) = (self.clock, self.sink.seq());
        let mut call =
            Call { arch, number, plan, args, ip: info.ip, sp: info.sp, start: now, entry_seq, restarted: false };
        let is_wanted = self.only.as_ref().is_none_or(|names| super::filter::wants(names, arch, number));
        if signals::is_interrupted_by_any(&call, result) && !is_cut_short(task, &call) {
            signals::make_again(task.tid);
        } else if is_wanted && (result == RESTART_BLOCK || signals::is_interrupted_by_any(&call, result)) {
            // What it is in is not said by the call that it goes on with; and one that has failed is an event like any other.
            task.memory.clear();
            capture::entry(task.tid, self.data, &call, &mut task.memory);
            self.refer(task, &call);
            self.before(task, &mut call);
            if is_restart(result) {
                task.undecided = Some((call, result, now));
                self.decide(task, None);
            } else {
                self.commit_call(task, &call, Some(result), now, 0);
            }
        }
    }
}

/// A raw result of a call that goes on as restart_syscall(2).
const RESTART_BLOCK: i64 = -516;

/// Whether a call in which a thread waits ends when the thread stops, and cannot be made again as it was: one that waits for some time,
/// which would begin anew (unless that is short), or moves bytes, of which some may have been moved.
fn is_cut_short(task: &Task, call: &Call) -> bool {
    match call.name() {
        "recvfrom" => call.int(3) & libc::MSG_WAITALL != 0,
        "recvmsg" => call.int(2) & libc::MSG_WAITALL != 0,
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "sendto" | "sendmsg" | "sendmmsg" | "recvmmsg"
        | "sendfile" | "splice" | "tee" | "vmsplice" | "copy_file_range" => true,
        _ => limits::of(task, call).is_some_and(|limit| limit > SHORT_NS),
    }
}
