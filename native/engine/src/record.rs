//! The recorder: one thread that waits for stops and turns them, and what the agents' rings hold, into events.
//!
//! `record/stops.rs` has its loop and `record/calls.rs` what is done with a call. What is read at which stop follows from the syscall
//! table (`capture.rs`); how calls change processes and descriptors is in `record/effects.rs`; births, execs and deaths are in
//! `record/lifecycle.rs`. With a capture filter only the calls that it wants (and those that carry state) stop.

mod agent;
mod attach;
mod births;
mod called;
mod calls;
mod changed;
mod chaos;
mod control;
mod counters;
mod cpuid;
mod dispatch;
mod effects;
mod facts;
mod filter;
mod guarded;
mod inspected;
mod keeping;
mod layouts;
mod leader;
mod leaving;
mod lifecycle;
mod limits;
mod loader;
mod moved;
mod notified;
mod outside;
mod pace;
mod replayable;
mod samples;
mod shown;
mod signals;
mod stops;
mod strict;
mod traps;
mod turns;
mod unseen;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libc::{c_int, pid_t};
use rustc_hash::FxHashMap;
use trace_format::event::{EventKind, Lost};
use trace_format::ring::block::KEPT_WORDS;

use crate::counter::Timestamps;
use crate::cpu::features::{self, Answers, Level};
use crate::enforce::{self, Enforcement};
use crate::error::EngineError;
use crate::image::{ElfFacts, FileId, Images, Mapping};
use crate::keeper::{self, Keeper};
use crate::launch::{self, Program};
use crate::memory::{Data, Memory};
use crate::objects::Objects;
use crate::placement::Placement;
use crate::raw::{Definition, RawEvent};
use crate::resolve::Resolver;
use crate::sink::Sink;
use crate::store::{Hash, Store};
use crate::sys::{self, Resume, Waited};
use crate::task::Task;
use crate::writer::{self, Summary, Writer};

pub use control::Control;
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
    EngineError::unless_proc_is_own()?;
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
    if !sys::has_room_for_signals() {
        let why = "no signal may be pending any more (RLIMIT_SIGPENDING), and recorded threads are told apart by who has sent theirs";
        return Err(EngineError::start("signals", why));
    }
    let started = sys::monotonic();
    let writer_options = writer::Options { force: options.force, ..writer::Options::default() };
    let writer = Writer::create(&options.output, &writer_options)?;
    let usable = usable_agent(options);
    let filter = match (&options.only, &usable) {
        // What an older filter refuses would not come to it, and none can be put into a process that runs already.
        (Some(names), _) => (options.attach.is_empty() && !sys::has_own_filter()).then(|| filter::program(names)),
        (None, Ok(Some(Usable { image, older: None }))) => Some(crate::agent::filter::program(image)),
        (None, _) => None,
    };
    // Programs that are already spread over the machine stay where they are.
    let placement = Placement::new(!options.unpinned && options.attach.is_empty());
    let (usable, why) = match usable {
        Ok(usable) => (usable, None),
        Err(why) => (None, Some(why)),
    };
    let mut world = World::new(options, writer, placement, (started, filter.is_some()), usable);
    if let Some(why) = why {
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
fn usable_agent(options: &Options) -> Result<Option<Usable>, &'static str> {
    if matches!(options.backend, Backend::Ptrace | Backend::Notify) {
        return Ok(None);
    }
    let older = match options {
        Options { only: Some(_), .. } => Err("with a capture filter (-e)"),
        // Its notifications come before the stops that the agent's filter asks for.
        Options { enforce: Some(_), .. } => Err("under a policy"),
        Options { detach_on_exit: true, .. } => Err("with --detach-on-exit"),
        // A choice is made at each boundary, and most of them would be none.
        Options { chaos: Some(_), .. } => Err("with --chaos"),
        Options { attach, .. } if !attach.is_empty() => Err("for programs that run already (-p)"),
        // What that answers never comes to the agent's filter: such a call would not be seen.
        _ if sys::has_own_filter() => dispatch::OlderFilter::find().map(Some),
        // What the program leaves running could not go on without the recorder.
        _ if !keeper::is_possible() => Err("with this kernel (Linux 5.9 can)"),
        _ => Ok(None),
    }?;
    let image = crate::agent::image().ok_or("in this build")?;
    Ok(Some(Usable { image, older }))
}

/// The agent, and the filter under which it has to work.
struct Usable {
    image: &'static crate::agent::Image,
    older: Option<dispatch::OlderFilter>,
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
    /// Not by a filter: calls that are not the agent's are sent back (`dispatch.rs`).
    dispatches: bool,
    /// Only calls of these names are to be seen.
    only: Option<Vec<String>>,
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
    /// Waits that are made once more, and when they are over.
    limits: limits::Limits,
    lost: [u64; 4],
    notes: Vec<String>,
    /// The path of the file that was identified last, until a path argument is resolved with it.
    opened: Option<Vec<u8>>,
    /// Executable mappings that the current call made, and what is known of their files.
    pending_maps: Vec<(Mapping, ElfFacts)>,
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
    /// A recorded process has had /dev/fuse open.
    serves_files: bool,
    /// Objects that tell where a process has mapped what.
    mapping_files: FxHashMap<u32, shown::Shown>,
    /// Files and segments that are mapped shared, by device and inode.
    shared_files: FxHashMap<(u64, u64), Sharing>,
    /// How many there were when it was looked which are still mapped.
    shared_files_checked: usize,
    /// How often small files were mapped by calls that the engine has made.
    small_mapped: FxHashMap<FileId, u32>,
    /// Whoever leaves a call now tends to its task at once ([`Recorder::tend`]): what its loader is spared may wait for that.
    tends: bool,
    /// Files that were mapped and whose content is kept, as agents are told (`ring::block::KEPT`), and which was replaced last.
    kept_files: Vec<[u64; KEPT_WORDS as usize]>,
    next_kept: usize,
    /// Which of them agents are still to be told to forget.
    forgotten_kept: Vec<usize>,
    /// Files that have been mapped since it was asked last.
    new_files: Vec<(u64, u64)>,
    /// Address spaces take turns with others, whose agents do not know yet.
    some_joined: bool,
    /// Directories have other names than they had when they were opened, or files cannot be opened in the way that tells their names.
    names_moved: bool,
    /// There has been more than one task.
    are_several: bool,
    /// What loaders are spared, by their hash.
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
        usable: Option<Usable>,
    ) -> World {
        let running = options.attach.first().map(|pid| facts::running(*pid));
        let mut definitions: Vec<Definition> = facts::of(running.as_ref().unwrap_or(&options.program))
            .into_iter()
            .map(|(key, value)| Definition::Meta { key: key.into(), value: value.into_bytes() })
            .collect();
        let observed_by = facts::observed_by(options);
        let replayable = observed_by.is_empty();
        let mode = if replayable { "replayable" } else { "observe" };
        let sampler = options.samples.as_ref().map(samples::Sampler::new);
        let older = usable.as_ref().and_then(|usable| usable.older);
        let is_sampled = |name: &str| sampler.as_ref().is_some_and(|sampler| sampler.wants(name));
        // Where calls are sent back, what a thread blocks has to be known.
        let is_mask = |name: &str| older.is_some() && !replayable && name == "rt_sigprocmask";
        let stops = |name: &str| is_sampled(name) || is_mask(name);
        let agent =
            usable.map(|usable| agent::Agent::new(usable.image, options.data, replayable, options.backend, stops));
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
        // What only observes is shown without these files.
        let store = if replayable { Store::of_user().or_beside(&options.output) } else { Store::of_user() };
        World {
            sink: Sink::new(writer),
            objects: Objects::default(),
            resolver: Resolver::default(),
            images: Images::new(store, replayable),
            placement,
            definitions,
            data: options.data,
            between: if filtered || older.is_some() { Resume::Cont } else { Resume::Syscall },
            dispatches: older.is_some(),
            only: options.only.clone(),
            follows: options.backend != Backend::Notify,
            identities: FxHashMap::default(),
            agent,
            started,
            clock: started,
            threads: 0,
            processes: 0,
            limits: limits::Limits::default(),
            lost: [0; 4],
            notes: Vec::new(),
            opened: None,
            pending_maps: Vec::new(),
            small_mapped: FxHashMap::default(),
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
            serves_files: false,
            mapping_files: FxHashMap::default(),
            shared_files: FxHashMap::default(),
            shared_files_checked: 0,
            tends: false,
            kept_files: Vec::new(),
            next_kept: 0,
            forgotten_kept: Vec::new(),
            new_files: Vec::new(),
            some_joined: false,
            names_moved: older.is_some_and(|older| !older.opens),
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

    /// A stop could not be looked at. Where the task was killed meanwhile nothing is lost: a call that it was about to enter is not made,
    /// and one that it was about to leave is told as one that never returned.
    fn could_not_look(&mut self, error: &std::io::Error) {
        self.lost[Lost::TaskGone as usize] += u64::from(error.raw_os_error() != Some(libc::ESRCH));
    }

    fn commit(&mut self, event: RawEvent, memory: &Memory) {
        if let Some(sampler) = self.sampler.as_mut().filter(|_| matches!(event.kind, EventKind::Map | EventKind::Exec))
        {
            sampler.forget();
        }
        self.sink.define(&mut self.definitions);
        self.sink.pack(self.images.take_unpacked());
        self.lost[Lost::Memory as usize] += u64::from(memory.unreadable);
        if let Some(agent) = self.agent.as_mut().filter(|_| self.threads > 1) {
            agent.committed(event.end, event.thread);
        }
        self.sink.commit(event, memory);
    }
}

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
    /// Those that the program itself has stopped.
    inspected: FxHashMap<pid_t, inspected::Inspected>,
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
            inspected: FxHashMap::default(),
        }
    }
}
