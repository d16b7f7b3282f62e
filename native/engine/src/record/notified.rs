//! Recording by notifications of seccomp: each call asks before the kernel makes it, and is let go on.
//!
//! It takes no right to trace, so it works where ptrace is refused, and for programs that trace others themselves. What it
//! cannot see is what calls result in, and signals. So nothing can be followed: descriptors are looked at whenever a call
//! names them, and a process that asked to execute a program is looked at when it makes its next call.

mod ends;
mod images;
mod tasks;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use libc::pid_t;
use rustc_hash::FxHashMap;
use trace_format::event::{EventKind, Lost, flag};

use self::ends::Watch;
use self::tasks::Group;
use super::control::wake_signal;
use super::pace::SELDOM_NS;
use super::{Control, Options, Outcome, World, filter, strict};
use crate::capture::Call;
use crate::cpu::features::Level;
use crate::error::EngineError;
use crate::launch::{self, Launched};
use crate::listening::Listening;
use crate::memory::{Data, Memory};
use crate::notify::{Listener, Notification};
use crate::placement::Placement;
use crate::plan::Effect;
use crate::sys::{self, SyscallInfo};
use crate::task::{Birth, Task};
use crate::writer::{self, Writer};

/// What the trace says of itself.
const UNSEEN: &str = "recorded by notifications: what calls resulted in and wrote, and signals, are not in the trace";
/// The same where an older filter answers before this one, seccomp(2).
const REFUSED: &str = "calls are filtered already (seccomp): those that are refused there are not in the trace";

/// Records a program and all that it starts, until the last of them ends.
///
/// # Errors
/// As [`super::record`].
pub(super) fn record(options: &Options, control: &Arc<Control>) -> Result<Outcome, EngineError> {
    if let Some(why) = impossible(options) {
        return Err(EngineError::start("backend", format!("the notify backend cannot be used {why}")));
    }
    let code = match &options.only {
        Some(names) => filter::notifying(names),
        None => filter::notifying_all(),
    };
    let listening = Listening::new(&code)?;
    let started = sys::monotonic();
    let writer_options = writer::Options { force: options.force, ..writer::Options::default() };
    let writer = Writer::create(&options.output, &writer_options)?;
    let mut world = World::new(options, writer, Placement::new(false), (started, false), None);
    world.note(UNSEEN);
    if sys::has_own_filter() {
        world.note(REFUSED);
    }
    let launched = match launch::launch_listening(&options.program, &listening) {
        Ok(launched) => launched,
        Err(error) => {
            world.discard(&options.output);
            return Err(error);
        }
    };
    control.program_started(launched.pid);
    let (listener, watch) = match take(&launched, listening) {
        Ok(taken) => taken,
        Err(error) => {
            let _ = sys::kill(launched.pid, libc::SIGKILL);
            let _ = sys::wait_for(launched.pid);
            world.discard(&options.output);
            return Err(launched.failure().unwrap_or(error));
        }
    };
    let mut recorder = Notified {
        world,
        listener,
        watch,
        tasks: FxHashMap::default(),
        groups: FxHashMap::default(),
        births: VecDeque::new(),
        control: Arc::clone(control),
        root: launched.pid,
        root_status: None,
    };
    recorder.begin();
    recorder.run();
    control.program_ended();
    let status = recorder.root_status.unwrap_or(0);
    recorder.world.finish(Some(status), Some(&launched), &options.output)
}

/// What this backend has no means for.
fn impossible(options: &Options) -> Option<&'static str> {
    match options {
        Options { attach, .. } if !attach.is_empty() => Some("for programs that run already (-p)"),
        Options { enforce: Some(_), .. } => Some("under a policy, whose supervisor is asked in the same way"),
        Options { detach_on_exit: true, .. } => {
            Some("with --detach-on-exit: nobody would answer the calls that come then")
        }
        Options { samples: Some(_), .. } => Some("with --stacks: it does not see the registers"),
        Options { chaos: Some(_), .. } => Some("with --chaos: threads run freely"),
        Options { cpu, .. } if *cpu != Level::Host => Some("with --cpu"),
        _ => None,
    }
}

/// Lets the child put its filter on, and takes the listening end.
fn take(launched: &Launched, listening: Listening) -> Result<(Listener, Watch), EngineError> {
    let system = |error: std::io::Error| EngineError::start("system", format!("cannot listen to the program: {error}"));
    launched.release().map_err(system)?;
    let ended = || EngineError::start("system", "the program ended before it was executed");
    let listener = listening.take().map_err(system)?.ok_or_else(ended)?;
    let watch = Watch::new(listener.raw()).map_err(system)?;
    Ok((listener, watch))
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The kernel makes it.
    Pass,
    /// It was done: its result is 0.
    Done,
}

struct Notified {
    world: World,
    listener: Listener,
    watch: Watch,
    tasks: FxHashMap<pid_t, Task>,
    /// By process id.
    groups: FxHashMap<pid_t, Group>,
    /// What tasks will have that have been asked for and have not made a call yet, with the process that asked.
    births: VecDeque<(pid_t, Birth)>,
    control: Arc<Control>,
    root: pid_t,
    root_status: Option<libc::c_int>,
}

impl Notified {
    fn begin(&mut self) {
        self.world.read_clock();
        let process = self.world.new_process(self.root);
        let mut task = self.world.new_task(self.root, process, None, false);
        task.launching = true;
        self.has_group(self.root);
        self.tasks.insert(self.root, task);
    }

    /// Answers calls until nobody is left who could make one.
    fn run(&mut self) {
        sys::catch(wake_signal());
        let timer = sys::Timer::new(wake_signal());
        if let Some(timer) = &timer {
            timer.every(SELDOM_NS);
        }
        self.control.thread.store(sys::own_tid(), Ordering::SeqCst);
        let mut ready = Vec::new();
        let mut is_over = false;
        while !is_over {
            // Ends first: the number of a process that ended may be another's by the next call.
            let called = self.watch.wait(&mut ready);
            self.world.read_clock();
            for pid in ready.drain(..) {
                self.look_at_end(pid);
            }
            self.look_at_root();
            if self.control.is_stopping() {
                // Calls fail once nobody answers: what is left behind could not go on.
                self.control.abort();
            }
            if called {
                match self.listener.receive() {
                    Ok(Some(notification)) => self.answer(&notification),
                    Ok(None) => {}
                    Err(_) => is_over = true,
                }
            }
        }
        self.end_all();
        self.control.thread.store(0, Ordering::SeqCst);
    }

    /// A call asks.
    fn answer(&mut self, notification: &Notification) {
        self.world.read_clock();
        let tid = notification.tid;
        let mut verdict = Verdict::Pass;
        if self.listener.is_waiting(notification.id) && self.knows(tid) {
            self.catch_up(tid, notification.id);
            if let Some(mut task) = self.tasks.remove(&tid) {
                verdict = self.take(&mut task, notification);
                self.tasks.insert(tid, task);
            }
        } else if self.listener.is_waiting(notification.id) {
            // Its process cannot be told.
            self.world.lost[Lost::TaskGone as usize] += 1;
        }
        match verdict {
            Verdict::Pass => self.listener.pass(notification.id),
            Verdict::Done => self.listener.answer(notification.id, 0),
        }
    }

    /// Notes the call that a task is about to make, and says what becomes of it.
    fn take(&mut self, task: &mut Task, notification: &Notification) -> Verdict {
        let info = SyscallInfo::notified(notification);
        // Nothing was followed since the last call.
        task.location.borrow_mut().cwd = None;
        self.world.resolver.forget();
        self.world.enter(task, &info, self.world.clock);
        let Some(mut call) = task.call.take() else { return Verdict::Pass };
        if !self.listener.is_waiting(notification.id) {
            // What was read may have been another's memory.
            self.world.lost[Lost::TaskGone as usize] += 1;
            task.memory.clear();
            return Verdict::Pass;
        }
        if strict::is_asked_for(&call) && !task.is_strict {
            // A kernel that filters does not know it: the mode is kept here.
            task.is_strict = true;
            self.world.commit_unseen(task, &call, false, 0);
            return Verdict::Done;
        }
        let effect = call.plan.map_or(Effect::Nothing, |plan| plan.effect);
        if self.world.data >= Data::Paths {
            let effect = if effect == Effect::NewFd { Effect::Nothing } else { effect };
            self.world.resolve_paths(task, &call, effect);
        }
        let is_beyond = task.is_strict && !strict::has(&call);
        let ends = matches!(call.name(), "exit" | "exit_group") || is_beyond;
        if !task.launching || effect == Effect::Exec {
            self.prepare(task, &call, effect);
            call.entry_seq = self.world.sink.seq();
            let flags = if ends { 0 } else { flag::NO_RESULT };
            self.world.commit_unseen(task, &call, ends, flags);
        }
        if is_beyond {
            strict::end(task);
        } else if ends {
            self.ends(task, &call);
        }
        Verdict::Pass
    }

    /// What has to be looked at when the process of a call makes its next one.
    fn prepare(&mut self, task: &mut Task, call: &Call, effect: Effect) {
        let pid = task.process.borrow().pid;
        match effect {
            Effect::Clone => {
                let flags = super::lifecycle::flags_of(call, &task.memory, task.tid);
                self.expect(pid, Birth::of(task, flags));
            }
            Effect::Exec => {
                let asked = images::Asked::new(task.tid, call.ip);
                if let Some(group) = self.groups.get_mut(&pid) {
                    group.exec = Some(asked);
                }
            }
            Effect::Mmap | Effect::Mprotect if call.args[2] & libc::PROT_EXEC as u64 != 0 => {
                if let Some(group) = self.groups.get_mut(&pid) {
                    group.has_mapped = true;
                }
            }
            _ => {}
        }
    }
}

impl World {
    /// Commits a call of which only the entry was seen.
    fn commit_unseen(&mut self, task: &mut Task, call: &Call, never_returns: bool, flags: u8) {
        let result = if never_returns { None } else { Some(0) };
        self.commit_call(task, call, result, call.start, flags);
    }

    /// Commits the end of a task: `last` of its process, of which nobody may know how it ended.
    fn commit_exit(&mut self, task: &Task, status: Option<libc::c_int>, last: Option<(u64, u64, u64)>) {
        let mut event = self.event(task, EventKind::Exit, status.unwrap_or(0));
        event.nargs = 4;
        if let Some((user, system, memory)) = last {
            event.args = [1, user, system, memory, 0, 0];
        }
        if status.is_none() {
            event.flags |= flag::NO_RESULT;
        }
        self.commit(event, &Memory::default());
    }
}

impl SyscallInfo {
    /// The entry that a notification tells of. The stack pointer is not known.
    fn notified(notification: &Notification) -> SyscallInfo {
        SyscallInfo::entry(notification.arch, (notification.ip, 0), notification.number as u64, notification.args)
    }
}
