//! The ptrace recorder: one thread that waits for stops and turns them into events.
//!
//! Every call of a tracee stops it twice, at entry and at exit. What is read at which stop follows from the syscall table
//! (`capture.rs`); how calls change processes and descriptors is in `record/effects.rs`; births, execs and deaths are
//! in `record/lifecycle.rs`. With a capture filter only the calls that it wants (and those that carry state) stop.

mod agent;
mod attach;
mod births;
mod called;
mod changed;
mod chaos;
mod counters;
mod cpuid;
mod effects;
mod facts;
mod filter;
mod keeping;
mod layouts;
mod leaving;
mod lifecycle;
mod loader;
mod moved;
mod notified;
mod outside;
mod pace;
mod replayable;
mod samples;
mod shown;
mod signals;
mod strict;
mod traps;
mod turns;
mod unseen;

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libc::{c_int, pid_t};
use rustc_hash::FxHashMap;
use trace_format::event::{EventKind, Lost, Side, flag, slot};
use trace_format::ring::block::KEPT_WORDS;

use self::chaos::Settling;
use crate::capture::{self, Call};
use crate::counter::Timestamps;
use crate::cpu::features::{self, Answers, Level};
use crate::enforce::{self, Enforcement};
use crate::error::EngineError;
use crate::image::{Images, Mapping};
use crate::keeper::{self, Keeper};
use crate::launch::{self, Launched, Program};
use crate::memory::{Data, Memory};
use crate::objects::Objects;
use crate::placement::Placement;
use crate::plan;
use crate::raw::{Definition, RawEvent};
use crate::resolve::Resolver;
use crate::sink::Sink;
use crate::store::{Hash, Store};
use crate::sys::{self, Resume, Waited, Waiting, is_restart};
use crate::task::{Interrupted, MovingStep, Task};
use crate::writer::{self, Summary, Writer};

pub use facts::free_name;
pub use samples::Wanted as WantedSamples;
pub(crate) use strict::numbers as strict_numbers;

/// How calls are captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The agent where it can do what is asked for, and ptrace elsewhere.
    #[default]
    Usual,
    /// Each call stops the tracee.
    Ptrace,
    /// Most calls are made and written down inside the tracee, where that is worth its price.
    Agent,
    /// The same from the first call of each program on, for tests.
    EagerAgent,
    /// Each call asks the recorder, by seccomp_unotify(2), before the kernel makes it. Takes no right to trace; what calls result in
    /// is not seen.
    Notify,
}

impl Backend {
    /// The backend that the command line calls so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Backend> {
        match name {
            "ptrace" => Some(Backend::Ptrace),
            "agent" => Some(Backend::Agent),
            "eager-agent" => Some(Backend::EagerAgent),
            "notify" => Some(Backend::Notify),
            _ => None,
        }
    }
}

/// What to record, and how.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own that callers name")]
pub struct Options {
    pub program: Program,
    /// Processes that run already and are to be observed instead of a program.
    pub attach: Vec<pid_t>,
    /// The trace file.
    pub output: PathBuf,
    /// Replace the file if it exists.
    pub force: bool,
    pub data: Data,
    /// Names of the syscalls to record; all when absent. Calls that carry descriptor or process state are always recorded.
    pub only: Option<Vec<String>>,
    /// When the first program ends, let the others go on unobserved.
    pub detach_on_exit: bool,
    /// Leave tracees and recorder on whatever CPU they are.
    pub unpinned: bool,
    /// Let threads run freely and clocks be read unseen: costs less, and cannot be replayed.
    pub observe: bool,
    pub backend: Backend,
    /// Seed of a recording that varies the order in which threads run.
    pub chaos: Option<u64>,
    /// What the processor is to seem to be.
    pub cpu: Level,
    /// A policy that the program runs under.
    pub enforce: Option<Enforcement>,
    /// Threads that enter these calls are copied, for their stacks.
    pub samples: Option<WantedSamples>,
}

/// Where the first program stands.
#[derive(Debug)]
enum Stage {
    /// Not started; a signal for it came already.
    NotYet(Option<c_int>),
    Running {
        root: pid_t,
        /// In a group-stop.
        stopped: bool,
        /// This process is to stop when the program does.
        stop_along: bool,
    },
    Ended,
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::NotYet(None)
    }
}

/// The other threads' hold on a running recording.
#[derive(Debug, Default)]
pub struct Control {
    program: Mutex<Stage>,
    aborted: AtomicBool,
    /// Processes that are alive.
    processes: Mutex<HashSet<pid_t>>,
    /// The recorder's thread, as long as it waits for stops.
    thread: AtomicI32,
    stopping: AtomicBool,
}

/// Wakes the recorder from its wait. Nothing else uses it: glibc hands out the real-time signals from the other end.
fn wake_signal() -> c_int {
    libc::SIGRTMAX() - 3
}

impl Control {
    /// Ends the recording: the first program and all that came from it are killed.
    pub fn abort(&self) {
        self.aborted.store(true, Ordering::SeqCst);
        // What is born meanwhile is killed by the recorder when it shows up.
        for pid in self.processes().iter() {
            let _ = sys::kill(*pid, libc::SIGKILL);
        }
    }

    /// Ends the recording and lets the processes go on unobserved.
    pub fn detach(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let thread = self.thread.load(Ordering::SeqCst);
        if thread > 0 {
            let _ = sys::tgkill(std::process::id() as pid_t, thread, wake_signal());
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn processes(&self) -> MutexGuard<'_, HashSet<pid_t>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process is there. It is killed at once when the recording was aborted.
    fn born(&self, pid: pid_t) {
        self.processes().insert(pid);
        if self.is_aborted() {
            let _ = sys::kill(pid, libc::SIGKILL);
        }
    }

    fn gone(&self, pid: pid_t) {
        self.processes().remove(&pid);
    }

    /// Sends a signal to the first program; one that comes before its start waits for it. 0 sends nothing. `false` when
    /// the program has ended, and only what it left behind is still recorded.
    #[allow(clippy::must_use_candidate, reason = "sending is the purpose")]
    pub fn signal(&self, signal: c_int) -> bool {
        match &mut *self.program() {
            Stage::NotYet(waiting) => {
                if signal != 0 {
                    waiting.get_or_insert(signal);
                }
                true
            }
            // Who continues our process group has continued the program too; it need not hear of it twice.
            Stage::Running { stopped: false, .. } if signal == libc::SIGCONT => true,
            Stage::Running { root, .. } => {
                let _ = sys::kill(*root, signal);
                true
            }
            Stage::Ended => false,
        }
    }

    fn program(&self) -> MutexGuard<'_, Stage> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn program_started(&self, root: pid_t) {
        let running = Stage::Running { root, stopped: false, stop_along: false };
        if let Stage::NotYet(Some(signal)) = std::mem::replace(&mut *self.program(), running) {
            let _ = sys::kill(root, signal);
        }
    }

    /// The terminal asked our process group to stop: this process does so when the program does. One that handles the
    /// signal first has its time, and one that ignores it goes on, observed.
    pub fn stop_along(&self, signal: c_int) {
        let now = match &mut *self.program() {
            Stage::Running { stopped, stop_along, .. } => {
                *stop_along = !*stopped;
                *stopped
            }
            _ => true,
        };
        if now {
            sys::stop_self(signal);
        }
    }

    /// The program was stopped, or goes on.
    fn program_stopped(&self, is_stopped: bool, signal: c_int) {
        let now = match &mut *self.program() {
            Stage::Running { stopped, stop_along, .. } => {
                *stopped = is_stopped;
                is_stopped && std::mem::take(stop_along)
            }
            _ => false,
        };
        if now {
            sys::stop_self(signal);
        }
    }

    fn program_ended(&self) {
        *self.program() = Stage::Ended;
    }

    fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::SeqCst)
    }
}

/// What came of a recording.
#[derive(Debug)]
pub struct Outcome {
    /// Wait status of the first program.
    pub status: c_int,
    pub processes: u32,
    pub threads: u32,
    pub duration_ns: u64,
    pub summary: Summary,
    /// What could not be captured, by counter.
    pub lost: [u64; 4],
    /// What the user ought to know, a line each.
    pub notes: Vec<String>,
}

/// Records a program and all that it starts, until the last of them ends. Blocks the calling thread.
///
/// # Errors
/// When the program cannot be started or traced, or the file cannot be made. What goes wrong later is in the [`Outcome`].
pub fn record(options: &Options, control: &Arc<Control>) -> Result<Outcome, EngineError> {
    if options.attach.is_empty() {
        launch::find(&options.program)?;
    }
    if options.backend == Backend::Notify {
        return notified::record(options, control);
    }
    if options.only.is_some() && options.detach_on_exit {
        let why = "a capture filter stays in the processes that are left behind, and nobody would answer its stops";
        return Err(EngineError::start("filter", why));
    }
    if let Some(why) = unenforceable(options) {
        return Err(EngineError::start("filter", why));
    }
    if options.cpu != Level::Host && !sys::can_trap_cpuid() {
        let why = format!(
            "--cpu={} needs a processor and a kernel that let cpuid trap, and these do not",
            options.cpu.name()
        );
        return Err(EngineError::start("cpu-level", why));
    }
    let started = sys::monotonic();
    let writer_options = writer::Options { force: options.force, ..writer::Options::default() };
    let writer = Writer::create(&options.output, &writer_options)?;
    let image = usable_agent(options);
    let filter = match (&options.only, image) {
        (Some(names), _) => Some(filter::program(names)),
        (None, Ok(image)) => image.map(crate::agent::filter::program),
        (None, Err(_)) => None,
    };
    // Programs that are already spread over the machine stay where they are.
    let placement = Placement::new(!options.unpinned && options.attach.is_empty());
    let mut world = World::new(options, writer, placement, (started, filter.is_some()), image.ok().flatten());
    if let Err(why) = image {
        world.falls_back(why, options.backend != Backend::Usual);
    }
    let mut recorder = Recorder::new(world, Arc::clone(control), options);
    if !options.attach.is_empty() {
        let _unsignalled = sys::StopsUnsignalled::new();
        return recorder.observe(options);
    }
    let how = launch::How {
        trace_options: trace_options(filter.is_some()),
        trap_clock: recorder.world.replayable,
        untraced: false,
    };
    let enforced = options.enforce.as_ref();
    let mut launched = match launch::launch_enforced(&options.program, &how, filter.as_deref(), enforced) {
        Ok(launched) => launched,
        Err(error) => {
            recorder.world.discard(&options.output);
            return Err(error);
        }
    };
    // After the fork: the child has its action of SIGCHLD from this process.
    let unsignalled = sys::StopsUnsignalled::new();
    let short_slices = sys::ShortSlices::new();
    // What traps in the tracees traps here too, or the processor would be switched at every stop.
    let counterless = if recorder.world.replayable { sys::Counterless::new() } else { None };
    let traps_cpuid = recorder.world.traps_all_cpuid().then(sys::TrapsCpuid::new).flatten();
    control.program_started(launched.pid);
    recorder.begin(launched.pid);
    recorder.run(Some(&launched));
    drop((counterless, traps_cpuid, short_slices, unsignalled));
    control.program_ended();
    let outcome = recorder.finish(Some(&launched), &options.output)?;
    // The trace is whole, but what is in it is not what the policy says.
    launched.take_supervisor().map_or(Ok(()), enforce::failed)?;
    Ok(outcome)
}

/// Why a policy cannot be enforced in such a recording.
fn unenforceable(options: &Options) -> Option<&'static str> {
    options.enforce.as_ref()?;
    if options.only.is_some() {
        // SECCOMP_RET_USER_NOTIF comes before SECCOMP_RET_TRACE.
        return Some("calls that a policy's supervisor is asked about do not reach a capture filter");
    }
    (!options.attach.is_empty()).then_some("a policy can only be put on a program that is started")
}

/// The agent, when it is asked for and can do what else is asked for.
///
/// # Errors
/// What it cannot do.
fn usable_agent(options: &Options) -> Result<Option<&'static crate::agent::Image>, &'static str> {
    if matches!(options.backend, Backend::Ptrace | Backend::Notify) {
        return Ok(None);
    }
    match options {
        Options { only: Some(_), .. } => Err("with a capture filter (-e)"),
        // Its notifications come before the stops that the agent's filter asks for.
        Options { enforce: Some(_), .. } => Err("under a policy"),
        Options { detach_on_exit: true, .. } => Err("with --detach-on-exit"),
        // A choice is made at each boundary, and most of them would be none.
        Options { chaos: Some(_), .. } => Err("with --chaos"),
        // What that answers never comes to the agent's filter: such a call would not be seen.
        // Nor could what the program leaves running go on without the recorder.
        _ if !keeper::is_possible() => Err("with this kernel (Linux 5.9 can)"),
        _ if sys::has_own_filter() => Err("where calls are filtered already (seccomp), as in most containers"),
        Options { attach, .. } if !attach.is_empty() => Err("for programs that run already (-p)"),
        _ => crate::agent::image().map(Some).ok_or("in this build"),
    }
}

fn trace_options(filtered: bool) -> c_int {
    let mut options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_EXITKILL
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC;
    if filtered {
        options |= libc::PTRACE_O_TRACESECCOMP;
    }
    options
}

/// Everything that belongs to no single task.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own about the recording")]
struct World {
    sink: Sink,
    objects: Objects,
    resolver: Resolver,
    images: Images,
    placement: Placement,
    definitions: Vec<Definition>,
    data: Data,
    /// How tasks go on outside calls.
    between: Resume,
    /// Every call is seen.
    sees_all: bool,
    /// What calls result in is seen: what is known of descriptors and directories is kept up to date by it.
    follows: bool,
    /// The objects that are known, where they have to be compared.
    identities: FxHashMap<u32, crate::objects::Identity>,
    /// The agent, in a recording that uses it.
    agent: Option<agent::Agent>,
    started: u64,
    /// The time of the stop that is looked at. Where the counter is trapped, asking costs a call.
    clock: u64,
    threads: u32,
    processes: u32,
    lost: [u64; 4],
    notes: Vec<String>,
    /// The path of the file that was identified last, until a path argument is resolved with it.
    opened: Option<Vec<u8>>,
    /// Executable mappings that the current call made, and where their files can be read.
    pending_maps: Vec<(Mapping, PathBuf)>,
    /// How many calls of all processes have changed who a process is.
    identity_changes: u64,
    /// The recording is made so that it can be replayed.
    replayable: bool,
    /// Why it cannot be, after all.
    obstacles: Vec<String>,
    turns: turns::Turns,
    /// It has been said where the first program's output goes.
    streams_named: bool,
    streams: Vec<replayable::Stream>,
    timestamps: Timestamps,
    /// What programs are told of the processor, where `cpuid` can be caught, and is.
    shown_cpu: Option<Answers>,
    /// A pipe to look into those of programs with: the ends to read and to write.
    lookout: Option<(std::fs::File, std::os::fd::OwnedFd)>,
    /// Objects that stand for the memory of a process (/proc/PID/mem), and its number.
    memory_files: FxHashMap<u32, pid_t>,
    /// Objects that tell where a process has mapped what.
    mapping_files: FxHashMap<u32, shown::Shown>,
    /// Files and segments that are mapped shared, by device and inode.
    shared_files: FxHashMap<(u64, u64), Sharing>,
    /// How many there were when it was looked which are still mapped.
    shared_files_checked: usize,
    /// Files that were mapped and whose content is kept, as agents are told (`ring::block::KEPT`), and which was replaced last.
    kept_files: Vec<[u64; KEPT_WORDS as usize]>,
    next_kept: usize,
    /// Files that have been mapped since it was asked last.
    new_files: Vec<(u64, u64)>,
    /// Address spaces take turns with others, whose agents do not know yet.
    some_joined: bool,
    /// Directories have other names than they had when they were opened.
    names_moved: bool,
    /// There has been more than one task.
    are_several: bool,
    /// What traps in loaders, by their hash.
    loader_sites: HashMap<Hash, loader::Sites>,
    sampler: Option<samples::Sampler>,
}

/// Who maps a file or segment shared.
#[derive(Default)]
struct Sharing {
    /// Somebody may write.
    written: bool,
    /// The segment that it is, shmget(2).
    segment: Option<i32>,
    /// A process of the recording has changed the file by calls.
    changed: bool,
    /// The file when it was mapped last.
    as_mapped: Option<changed::Mapped>,
    spaces: Vec<std::rc::Weak<std::cell::RefCell<crate::task::Space>>>,
}

impl World {
    /// `started` is on the monotonic clock; a filter stops only some calls.
    fn new(
        options: &Options,
        writer: Writer,
        placement: Placement,
        (started, filtered): (u64, bool),
        image: Option<&'static crate::agent::Image>,
    ) -> World {
        let mut definitions: Vec<Definition> = facts::of(&options.program)
            .into_iter()
            .map(|(key, value)| Definition::Meta { key: key.into(), value: value.into_bytes() })
            .collect();
        let observed_by = facts::observed_by(options);
        let replayable = observed_by.is_empty();
        let mode = if replayable { "replayable" } else { "observe" };
        let sampler = options.samples.as_ref().map(samples::Sampler::new);
        let is_sampled = |name: &str| sampler.as_ref().is_some_and(|sampler| sampler.wants(name));
        let agent = image.map(|image| agent::Agent::new(image, options.data, replayable, options.backend, is_sampled));
        let backend = match &agent {
            Some(_) => "agent",
            None if options.backend == Backend::Notify => "notify",
            None => "ptrace",
        };
        for (key, value) in
            [("backend", backend), ("data", options.data.name()), ("mode", mode), ("cpu", &crate::cpu::describe())]
        {
            definitions.push(Definition::Meta { key: key.into(), value: value.into() });
        }
        if !replayable {
            definitions.push(Definition::Meta { key: "observed_by".into(), value: observed_by.join(" ").into_bytes() });
        }
        // Where code of programs is changed anyway, loaders are spared what others of their kind were told.
        let may_trap = (replayable || agent.is_some()) && sys::can_trap_cpuid();
        let shown_cpu = (may_trap && replayable).then_some(options.cpu);
        if let Some(level) = shown_cpu {
            for (key, value) in [("cpu_level", level.name().into()), ("cpu_features", features::text(level))] {
                definitions.push(Definition::Meta { key: key.into(), value: value.into_bytes() });
            }
        }
        if let Some(home) = placement.home() {
            definitions
                .push(Definition::Meta { key: "cpu_number".into(), value: home.first().to_string().into_bytes() });
        }
        if let Some(seed) = options.chaos {
            definitions.push(Definition::Meta { key: "chaos".into(), value: seed.to_string().into_bytes() });
        }
        if let Some(only) = &options.only {
            definitions.push(Definition::Meta { key: "only".into(), value: only.join(",").into_bytes() });
        }
        World {
            sink: Sink::new(writer),
            objects: Objects::default(),
            resolver: Resolver::default(),
            images: Images::new(Store::of_user(), replayable),
            placement,
            definitions,
            data: options.data,
            between: if filtered { Resume::Cont } else { Resume::Syscall },
            sees_all: options.only.is_none(),
            follows: options.backend != Backend::Notify,
            identities: FxHashMap::default(),
            agent,
            started,
            clock: started,
            threads: 0,
            processes: 0,
            lost: [0; 4],
            notes: Vec::new(),
            opened: None,
            pending_maps: Vec::new(),
            identity_changes: 0,
            replayable,
            obstacles: Vec::new(),
            turns: turns::Turns::new(replayable, options.chaos),
            streams_named: false,
            streams: Vec::new(),
            timestamps: Timestamps::default(),
            shown_cpu: may_trap.then(|| Answers::new(shown_cpu)),
            lookout: None,
            memory_files: FxHashMap::default(),
            mapping_files: FxHashMap::default(),
            shared_files: FxHashMap::default(),
            shared_files_checked: 0,
            kept_files: Vec::new(),
            next_kept: 0,
            new_files: Vec::new(),
            some_joined: false,
            names_moved: false,
            are_several: false,
            loader_sites: HashMap::new(),
            sampler,
        }
    }

    /// The agent cannot do what was asked for: each call stops the program. Who has asked for the agent is told.
    fn falls_back(&mut self, why: &str, is_asked_for: bool) {
        let why = format!("the agent cannot be used {why}");
        if is_asked_for {
            self.note(&format!("recorded with the ptrace backend: {why}"));
        }
        self.definitions.push(Definition::Meta { key: "without_agent".into(), value: why.into_bytes() });
    }

    /// Gives up a recording that never began.
    fn discard(self, output: &Path) {
        drop(self.placement);
        let _ = self.sink.finish();
        writer::remove(output);
    }

    /// Nanoseconds since the start of the recording.
    fn time(&self, monotonic: u64) -> u64 {
        monotonic.saturating_sub(self.started)
    }

    /// Sets the clock: at each stop, and after what may take long.
    fn read_clock(&mut self) -> u64 {
        self.clock = sys::monotonic();
        self.turns.now = self.clock;
        self.clock
    }

    /// An event of `task` that begins and ends now.
    fn event(&self, task: &Task, kind: EventKind, code: i32) -> RawEvent {
        let now = self.time(self.clock);
        RawEvent {
            kind,
            flags: 0,
            arch: 0,
            nargs: 0,
            code,
            thread: task.index,
            start: now,
            end: now,
            entry_seq: self.sink.seq(),
            args: [0; 6],
            ret: 0,
            ip: 0,
            sp: 0,
            captures: 0,
            refs: 0,
        }
    }

    fn commit(&mut self, event: RawEvent, memory: &Memory) {
        if let Some(sampler) = self.sampler.as_mut().filter(|_| matches!(event.kind, EventKind::Map | EventKind::Exec))
        {
            sampler.forget();
        }
        self.sink.define(&mut self.definitions);
        self.lost[Lost::Memory as usize] += u64::from(memory.unreadable);
        if let Some(agent) = self.agent.as_mut().filter(|_| self.threads > 1) {
            agent.committed(event.end, event.thread);
        }
        self.sink.commit(event, memory);
    }

    /// Commits a call with its raw result, or as one that never returned.
    fn commit_call(&mut self, task: &mut Task, call: &Call, result: Option<i64>, end: u64, mut flags: u8) {
        if call.restarted {
            flags |= flag::RESTARTED;
        }
        match result {
            None => flags |= flag::NO_RETURN,
            Some(result) if capture::is_error(result) => flags |= flag::ERROR,
            Some(_) => {}
        }
        if task.memory.unreadable > 0 {
            flags |= flag::PARTIAL;
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
}

/// Whether a thread is about to enter the call that it is in once more, having waited for what it moves.
fn enters_again(task: &Task) -> bool {
    task.call.is_some() && task.moving.as_ref().is_some_and(|moving| matches!(moving.step, MovingStep::Again))
}

/// Whether a thread has entered the call that it is in once more.
fn is_entered_again(task: &mut Task) -> bool {
    let again = enters_again(task);
    if again {
        task.moving = None;
    }
    again
}

/// With one busy task, other stops are asked for after this many.
const SELDOM: u32 = 4;
/// With more tasks than this a second call for each stop costs less than what it spares.
const MANY: usize = 32;

struct Recorder {
    world: World,
    /// Stops that were told of and not looked at yet.
    stops: VecDeque<Waited>,
    /// Looked up several times at each stop.
    tasks: FxHashMap<pid_t, Task>,
    births: births::Births,
    control: Arc<Control>,
    root: pid_t,
    root_status: Option<c_int>,
    root_stopped: bool,
    detach_on_exit: bool,
    detaching: bool,
    pace: pace::Pace,
    /// Answers what is let go under a filter of this recording.
    keeper: Option<Keeper>,
}

impl Recorder {
    fn new(world: World, control: Arc<Control>, options: &Options) -> Recorder {
        Recorder {
            world,
            stops: VecDeque::new(),
            tasks: FxHashMap::default(),
            births: births::Births::default(),
            control,
            root: 0,
            root_status: None,
            root_stopped: false,
            detach_on_exit: options.detach_on_exit,
            detaching: false,
            pace: pace::Pace::default(),
            keeper: None,
        }
    }

    /// Observes processes that run already, until they end or the recording is to stop.
    fn observe(mut self, options: &Options) -> Result<Outcome, EngineError> {
        if options.only.is_some() {
            self.world.discard(&options.output);
            let why = "a capture filter cannot be put into a process that runs already";
            return Err(EngineError::start("filter", why));
        }
        // The recorder's end must not be the end of a server.
        let trace_options = trace_options(false) & !libc::PTRACE_O_EXITKILL;
        if let Err(error) = self.attach(&options.attach, trace_options) {
            // What was seized already is let go when this thread ends.
            self.world.discard(&options.output);
            return Err(error);
        }
        self.run(None);
        self.finish(None, &options.output)
    }

    fn run(&mut self, launched: Option<&Launched>) {
        sys::catch(wake_signal());
        if self.world.agent.is_some() {
            self.pace.begin(wake_signal());
        }
        self.control.thread.store(sys::own_tid(), Ordering::SeqCst);
        let mut released = launched.is_none();
        let mut unasked = 0;
        loop {
            match self.settle_turns() {
                Settling::Chosen(next) => self.grant(Some(next)),
                Settling::Moving => Recorder::await_settling(),
                Settling::NotDue | Settling::Asleep => match sys::wait_any(self.waiting()) {
                    Ok(Some(waited)) => self.stops.push_back(waited),
                    Ok(None) => self.woken(),
                    Err(_) => break,
                },
            }
            // Where one task at a time is busy, or has its turn, there is rarely another stop: then it is asked for only now
            // and then.
            unasked += 1;
            let tasks = self.tasks.len();
            if tasks > 1 && (unasked >= SELDOM || self.stops.is_empty() || self.world.turns.are_varied()) {
                self.collect();
                unasked = if self.stops.len() > 1 { SELDOM } else { 0 };
            }
            while let Some(waited) = self.stops.pop_front() {
                self.dispatch(waited);
                if let Some(launched) = launched.filter(|_| !released) {
                    // The first stop is the one that was asked for; from here on everything is seen.
                    released = launched.release().is_ok();
                }
            }
            if !self.detaching && self.control.is_stopping() {
                self.detach_all();
            }
        }
        self.pace.end();
        self.control.thread.store(0, Ordering::SeqCst);
    }

    /// No tracee has stopped: the time to look into the rings, and whether somebody has kept its turn for too long.
    fn woken(&mut self) {
        self.drain(None);
        let now = sys::monotonic();
        self.pace.woken(now, &mut self.world.placement);
        if self.pace.is_due(now) {
            self.age_clocks();
        }
        if self.world.replayable {
            self.tick();
        }
    }

    fn waiting(&self) -> Waiting {
        if self.tasks.len() > MANY { Waiting::Sparing } else { Waiting::Plainly }
    }

    /// Adds the stops that are there already, so that tasks are served in the order in which they stopped: a wait alone looks
    /// at the oldest task first, and one that stops often would keep the others waiting.
    fn collect(&mut self) {
        while let Some(waited) = sys::wait_now(self.waiting()) {
            // A later state of the same id supersedes the earlier: it was killed, or an exec by a thread took it over.
            self.stops.retain(|earlier| earlier.tid != waited.tid);
            self.stops.push_back(waited);
        }
    }

    fn dispatch(&mut self, waited: Waited) {
        let (tid, status) = (waited.tid, waited.status);
        // Of what others do while rings are emptied, nothing comes before this stop.
        let now = self.world.read_clock();
        if self.drain(Some(tid)) {
            self.world.read_clock();
        }
        self.pace.stopped();
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            self.ended(&waited);
            return;
        }
        let Some(task) = self.tasks.get_mut(&tid) else {
            self.unknown_stopped(tid);
            return;
        };
        if tid == self.root && std::mem::take(&mut self.root_stopped) {
            self.control.program_stopped(false, 0);
        }
        let was_in_group_stop = std::mem::take(&mut task.in_group_stop);
        self.world.placement.stopped(tid, &mut task.place, now);
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let is_in_call = task.call.is_some();
        if self.detaching && self.stays_for(event) {
            // The stop that was asked for is forgotten with this one.
            let _ = sys::interrupt(tid);
        } else if self.detaching {
            let signal = if event == 0 && signal & 0x80 == 0 { signal } else { 0 };
            if let Some(signal) = self.ready_to_leave(tid, signal) {
                self.let_go(tid, signal);
                self.forget(tid);
            }
            return;
        }
        match event {
            0 if signal == libc::SIGTRAP | 0x80 => self.syscall_stop(tid, now),
            0 => self.signal_stop(tid, signal),
            // The entry has been seen already, of a task whose own filter would hide calls from ours.
            sys::event::SECCOMP if is_in_call => self.go_on(tid, 0),
            sys::event::SECCOMP => self.syscall_stop(tid, now),
            sys::event::FORK | sys::event::VFORK | sys::event::CLONE => self.forked(tid),
            sys::event::EXEC => self.executed(tid),
            sys::event::STOP => self.group_stop(tid, signal, was_in_group_stop),
            _ => self.go_on(tid, 0),
        }
    }

    /// Lets a task go on as its state wants, with a signal to deliver.
    fn go_on(&mut self, tid: pid_t, signal: c_int) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let in_call = task.call.is_some();
        let how = if in_call || task.stepwise { Resume::Syscall } else { self.world.between };
        task.resumed = self.world.clock;
        if self.world.replayable {
            Recorder::ready_to_go_on(task, &self.world.turns);
        }
        self.world.placement.resumed(&mut task.place, task.resumed, in_call);
        // A task that was killed meanwhile reports its end by itself.
        let _ = sys::resume(tid, how, signal);
    }

    fn syscall_stop(&mut self, tid: pid_t, now: u64) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        match sys::syscall_info(tid) {
            Ok(info) if self.world.replayable && info.op == sys::INFO_EXIT => return self.came_back(tid, &info, now),
            Ok(info) if self.world.replayable && matches!(info.op, sys::INFO_ENTRY | sys::INFO_SECCOMP) => {
                if is_entered_again(task) {
                    return self.went_away(tid);
                }
                if self.leaves_before(tid, &info) {
                    return;
                }
                let Some(task) = self.tasks.get_mut(&tid) else { return };
                task.at_filter = info.op == sys::INFO_SECCOMP;
                self.world.enter(task, &info, now);
                self.guard(tid);
                self.keep_strict(tid);
                return self.went_away(tid);
            }
            Ok(info) if info.op == sys::INFO_EXIT => {
                let Some(result) = self.moved(tid, info.first as i64) else { return };
                let Some(task) = self.tasks.get_mut(&tid) else { return };
                if let Some(call) = task.call.take() {
                    self.world.leave(task, call, result, now);
                    if call.plan.is_some_and(|plan| plan.role == plan::Role::ReturnsFromHandler) {
                        signals::lead_from_handler(task);
                    }
                    self.tend(tid, &call, result);
                }
            }
            Ok(info) if matches!(info.op, sys::INFO_ENTRY | sys::INFO_SECCOMP) => {
                self.world.enter(task, &info, now);
                self.guard(tid);
                self.keep_strict(tid);
                self.answer_shown(tid);
            }
            Ok(_) => {}
            Err(_) => self.world.lost[Lost::TaskGone as usize] += 1,
        }
        self.go_on(tid, 0);
    }

    fn signal_stop(&mut self, tid: pid_t, signal: c_int) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if self.world.replayable && !task.launching {
            return self.signal_in_turn(tid, signal);
        }
        if !task.launching && self.leave_agent(tid, signal) {
            return;
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if self.world.answer_learnt(task, signal) {
            return self.go_on(tid, 0);
        }
        self.world.decide(task, Some(signal));
        if !task.launching {
            self.world.signal(task, signal);
            signals::show_own_place(task, signal);
        }
        self.go_on(tid, signal);
    }

    fn group_stop(&mut self, tid: pid_t, signal: c_int, was_in_group_stop: bool) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if signals::stops(signal) {
            self.world.decide(task, None);
            let event = self.world.event(task, EventKind::Stop, signal);
            self.world.commit(event, &Memory::default());
            task.in_group_stop = true;
            let own_ip = |ip| task.space.borrow().code.own_ip(ip);
            let place = sys::registers(tid).map(|regs| (own_ip(regs.rip), regs.rsp));
            task.stopped_in_code = task.call.is_none() && !place.is_ok_and(|place| signals::stands_at(task, place));
            let _ = sys::resume(tid, Resume::Listen, 0);
            let (group, is_in_call) = (task.space.borrow().group, task.call.is_some());
            let keeps = task.stopped_in_code && Rc::strong_count(&task.space) > 1;
            // Who continues it needs the turn.
            if let Some(chaos) = self.world.turns.chaos.as_mut().filter(|_| !keeps) {
                chaos.release(tid);
            } else if !is_in_call && self.gives_its_turn_up(tid) {
                let next = self.world.turns.release(group, tid);
                self.grant(next);
            }
            // A program that waits for the child of its vfork cannot stop before the child has gone on.
            let root_waits = |root: &Task| {
                root.call.as_ref().and_then(|call| call.plan).is_some_and(|plan| plan.effect == plan::Effect::Clone)
            };
            if tid == self.root || self.tasks.get(&self.root).is_some_and(root_waits) {
                self.root_stopped = true;
                self.control.program_stopped(true, signal);
            }
        } else if was_in_group_stop && self.world.replayable && self.world.turns.chaos.is_none() {
            self.continued(tid);
        } else if task.interrupting {
            self.interrupted(tid);
        } else if self.world.turns.chaos.is_some() && !(task.launching || task.call.is_some() || task.stopped_in_code) {
            // It gave its turn up when it was stopped.
            self.start(tid);
        } else {
            self.go_on(tid, 0);
        }
    }
}

impl World {
    /// A task enters a call.
    fn enter(&mut self, task: &mut Task, info: &sys::SyscallInfo, now: u64) {
        self.decide(task, None);
        let ip = task.space.borrow().code.own_ip(info.ip);
        let mut call = Call { ip, start: now, entry_seq: self.sink.seq(), ..Call::entered(info) };
        if task.launching && !matches!(call.name(), "execve" | "execveat") {
            return;
        }
        continue_interrupted(task, &mut call);
        task.making = call.plan.is_some_and(|plan| plan.effect == plan::Effect::Clone);
        task.memory.clear();
        capture::entry(task.tid, self.data, &call, &mut task.memory);
        self.refer(task, &call);
        self.before(task, &mut call);
        let sampler = self.sampler.as_mut().filter(|sampler| !task.launching && sampler.wants(call.name()));
        if let Some(sampler) = sampler {
            task.sample = sampler.take(task, &call);
        }
        task.call = Some(call);
    }

    /// A task leaves a call.
    fn leave(&mut self, task: &mut Task, call: Call, result: i64, now: u64) {
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
        if let Some(first) = task.resumes {
            // What it goes on with tells where it writes.
            let plan = plan::by_number(call.arch, first.number);
            let first = Call { number: first.number, plan, args: first.args, ..call };
            capture::exit(task.tid, self.data, &first, result, &mut task.memory);
        }
        if !is_restart(result) {
            task.resumes = None;
        }
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
        if let Some(agent) = &mut self.agent {
            *agent.counts.trapped.entry(call.number).or_default() += 1;
            self.names_moved |= !capture::is_error(result) && moves_names(task, &call);
            self.tell_known(task, &call);
            World::hide_block(task, &call, result);
        }
        self.commit_call(task, &call, Some(result), now, 0);
        if !self.pending_maps.is_empty() {
            self.commit_maps(task);
        }
        if task.executed {
            self.exec_event(task);
            task.executed = false;
        }
    }

    /// Settles what becomes of a call that was interrupted: the signal about to be delivered, or its absence, says it.
    fn decide(&mut self, task: &mut Task, signal: Option<c_int>) {
        let Some((call, result, end)) = task.undecided.take() else { return };
        let handler = signal.and_then(|signal| task.handlers.borrow().get(&signal).copied());
        let restarts = match handler {
            _ if !is_restart(result) => {
                let is_spared = signal.is_some_and(|signal| signals::has_no_effect(task, signal));
                is_spared && signals::make_again(task.tid)
            }
            // No function of the program runs: the kernel starts the call again (or the signal kills).
            None => true,
            Some(handler) if !handler.is_caught() => true,
            Some(handler) => result == -513 || (result == -512 && handler.restarts),
        };
        let flags = if restarts {
            if task.interrupted.len() >= 8 {
                task.interrupted.remove(0);
            }
            let Call { number, args, ip, sp, start, .. } = call;
            // A resumed call that is interrupted again is still the first one.
            let (number, args) = task.resumes.take().map_or((number, args), |first| (first.number, first.args));
            task.interrupted.push(Interrupted { number, args, ip, sp, start });
            flag::INTERRUPTED
        } else {
            0
        };
        let is_again = restarts && !is_restart(result);
        self.commit_call(task, &call, Some(if is_again { signals::ERESTARTNOHAND } else { result }), end, flags);
    }

    fn signal(&mut self, task: &Task, signal: c_int) {
        let mut memory = Memory::default();
        let mut event = self.event(task, EventKind::Signal, signal);
        if let Ok(info) = sys::signal_info(task.tid) {
            memory.add(0, Side::In, &info);
            let word = |at: usize| i32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
            event.nargs = 2;
            event.args[0] = word(8) as u64;
            event.args[1] = word(16) as u64;
        }
        self.commit(event, &memory);
    }

    /// Notes which objects stand behind the descriptors that a call names, and the directory that its paths start from.
    fn refer(&mut self, task: &mut Task, call: &Call) {
        let Some(plan) = call.plan else { return };
        for &index in &plan.fds {
            let fd = call.int(usize::from(index));
            if fd >= 0
                && let Some(object) = self.object(task, fd)
            {
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

/// Whether a call that was successful has given another name to a directory, or to what is below one.
fn moves_names(task: &Task, call: &Call) -> bool {
    let Some(plan) = call.plan.filter(|plan| plan.effect == plan::Effect::Rename) else { return false };
    match call.name() {
        "mount" | "umount" | "umount2" | "move_mount" | "setns" => return true,
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
fn answer_clock_mode(task: &Task, call: &Call, result: i64) {
    if call.plan.is_some_and(|plan| plan.role == plan::Role::Prctl) && call.int(0) == libc::PR_GET_TSC && result == 0 {
        let mode = if task.traps.clock_is_forbidden { libc::PR_TSC_SIGSEGV } else { libc::PR_TSC_ENABLE };
        sys::write_memory(task.tid, call.args[1], &mode.to_ne_bytes());
    }
}

/// Joins a call to the interrupted one that it continues.
fn continue_interrupted(task: &mut Task, call: &mut Call) {
    let Some(last) = task.interrupted.last() else { return };
    let same = last.number == call.number && last.ip == call.ip && last.sp == call.sp;
    if same || call.name() == "restart_syscall" {
        call.restarted = true;
        call.start = last.start;
        task.resumes = (call.name() == "restart_syscall").then_some(*last);
        task.interrupted.pop();
    }
}
