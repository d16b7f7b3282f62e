//! Replay: the recorded programs run again, and get from the trace what they got from the kernel.
//!
//! A replayed program executes its own code natively, but none of its calls: each stops its thread, is compared with the
//! recorded one (number, arguments, place, the bytes that it hands out), and is answered from the trace. Only the calls that
//! change the process itself (mappings, threads, signal frames) are executed, at the recorded addresses. Nothing of the
//! machine is touched: no file, no socket, no clock. The first difference is a desync.
//!
//! `zygote.rs` makes processes, `run.rs` is the loop, `calls.rs`, `births.rs` and `signals.rs` apply events, `check.rs`
//! compares; `stub.rs` and `remote.rs` let a tracee execute what replay wants, and `scan.rs` reads the trace beforehand.
//! `agent.rs` has calls answered inside the tracees, without a stop.

mod agent;
mod answers;
mod births;
mod calls;
mod check;
pub mod debug;
pub mod desync;
pub(crate) mod event;
mod files;
mod guards;
mod kernel;
mod lent;
mod output;
mod pages;
mod ranges;
mod remote;
mod run;
pub(crate) mod scan;
mod search;
mod shared;
mod signals;
pub mod stacks;
mod stub;
mod tracee;
mod watch;
mod zygote;

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use desync::{ActualStop, Desync, DesyncReason, StopKind};
pub use output::Output;

use files::Files;
use output::{Merge, Sink, Streams};
use remote::Remote;
use run::{Done, Job, Runner};
use scan::Scan;
use watch::{Halt, Watch};

use crate::cpu;
use crate::error::{EngineError, Fact};
use crate::reader::{State, Trace};
use crate::stacks::Stacks;
use crate::store::Store;
use crate::sys::{self, Counterless, CpuMask, TrapsCpuid};

/// Most replaying threads where nobody says how many: each decodes the whole trace.
const MOST_JOBS: usize = 8;
/// Most desyncs that are kept.
const MOST_DESYNCS: usize = 256;

/// What answers the calls of replayed programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The engine: each call stops its thread.
    Ptrace,
    /// The agent inside the programs, where it can.
    #[default]
    Agent,
    /// The same from the first call on, also where it costs more than it saves. For tests.
    EagerAgent,
}

impl Backend {
    /// The backend with this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Backend> {
        match name {
            "ptrace" => Some(Backend::Ptrace),
            "agent" => Some(Backend::Agent),
            "eager-agent" => Some(Backend::EagerAgent),
            _ => None,
        }
    }
}

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only this process (as shown: 7 is p7), and what must run for it.
    pub process: Option<u32>,
    /// Only the events up to this one.
    pub until: Option<u64>,
    /// Only build the address space of each exec, when all files that are mapped are there.
    pub exec_only: bool,
    /// Replaying threads; as many as there is something for, up to one for each CPU, when nobody says.
    pub jobs: Option<usize>,
    /// The programs' output is thrown away.
    pub mute: bool,
    /// Differences in values are reported, and the replay goes on with what was recorded.
    pub warn_only: bool,
    /// A program that runs so long without a stop (and much longer than it did in the recording) is stuck.
    pub stuck_after: Duration,
    /// Take stacks of these events; everything is replayed by one thread then.
    pub stacks: Option<stacks::Wanted>,
    pub backend: Backend,
    /// A debugger is waited for, and has the word; everything is replayed by one thread, by stops.
    pub debug: Option<debug::Wanted>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            process: None,
            until: None,
            exec_only: false,
            jobs: None,
            mute: false,
            warn_only: false,
            stuck_after: Duration::from_secs(30),
            stacks: None,
            backend: Backend::default(),
            debug: None,
        }
    }
}

/// The other threads' hold on a running replay.
#[derive(Debug, Default)]
pub struct Control {
    aborted: AtomicBool,
    /// A debugger may come.
    waiting: AtomicBool,
}

impl Control {
    /// Ends the replay soon.
    pub fn abort(&self) {
        self.aborted.store(true, Ordering::SeqCst);
    }

    /// Whether the program has been stopped for the first time, and a debugger is waited for or there.
    #[must_use]
    pub fn awaits_debugger(&self) -> bool {
        self.waiting.load(Ordering::SeqCst)
    }

    fn await_debugger(&self) {
        self.waiting.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::SeqCst)
    }
}

/// What came of a replay.
#[derive(Debug)]
pub struct Outcome {
    /// Recorded wait status of the first program.
    pub status: i32,
    /// Events that were replayed.
    pub events: u64,
    /// Processes that were made (an exec makes a new one).
    pub processes: u32,
    /// Threads that were made.
    pub threads: u32,
    /// Differences, in the order of their events.
    pub desyncs: Vec<Desync>,
    /// The number of events up to which a cut trace is there.
    pub cut_at: Option<u64>,
    /// What the user ought to know, a line each.
    pub notes: Vec<String>,
    /// Nanoseconds that it took.
    pub duration_ns: u64,
    /// The stacks that were wanted, without names.
    pub stacks: Option<Stacks>,
    /// Calls that were answered inside the programs, without a stop.
    pub answered: u64,
    /// The agent found a difference, and all was replayed again without it.
    pub repeated: bool,
}

/// Replays a trace. Blocks the calling thread.
///
/// # Errors
/// When the trace cannot be replayed, or not here; how the program behaves is in the [`Outcome`].
pub fn replay(
    trace: &Trace,
    options: &Options,
    output: Box<dyn Output>,
    control: &Arc<Control>,
) -> Result<Outcome, EngineError> {
    let started = sys::monotonic();
    EngineError::unless_proc_is_own()?;
    refuse_unreplayable(trace)?;
    let scan = scan_in_thread(trace, options, control)?;
    if scan.traps.cpuid {
        refuse_lesser_cpu(trace)?;
    } else {
        refuse_other_cpu(trace)?;
    }
    kernel::raise_descriptor_limit();
    let files = Files::new(trace, Store::of_user());
    if options.exec_only {
        files.demand_all()?;
    }
    let parts = parts(&scan, options, most_jobs(&scan, options))?;
    // Nobody has asked for it, and programs may see that they run on another CPU.
    let is_spread = options.jobs.is_none() && parts.len() > 1;
    let mut sink = Sink::new(output);
    let mut round = |is_first: bool, parts: Vec<Option<Vec<bool>>>| {
        let merge = Merge::new(std::mem::replace(&mut sink, Sink::new(Box::new(Nowhere))), parts.len());
        let differs = AtomicBool::new(false);
        let (streams, differs) = (Streams::of(trace), &differs);
        let (with_agent, is_final) = (is_first && options.debug.is_none(), !is_first || !is_spread);
        let job =
            Job { trace, scan: &scan, files: &files, options, streams, merge: &merge, with_agent, is_final, differs };
        let results = run_all(&job, parts, control);
        sink = merge.into_sink().again();
        results.into_iter().try_fold(Done::default(), |mut done, result| {
            done.add(result.map_err(failure)?);
            Ok(done)
        })
    };
    let mut done = round(true, parts)?;
    // The reference alone says what differs, and whether.
    let repeated = (!done.is_reference || is_spread) && !done.desyncs.is_empty();
    if repeated {
        let first =
            done.desyncs.iter().min_by_key(|desync| desync.seq).map(|desync| (desync.seq, desync.reason.name()));
        let was_reference = done.is_reference;
        done = round(false, self::parts(&scan, options, options.jobs.unwrap_or(1))?)?;
        // Where it finds nothing, that was the agent's doing, or that of another CPU, or came of being slow.
        let meanwhile = match (was_reference, is_spread) {
            (true, _) => "processes were replayed side by side",
            (false, true) => "calls were answered in the programs and processes replayed side by side",
            (false, false) => "calls were answered in the programs",
        };
        done.notes.extend(first.filter(|_| done.desyncs.is_empty()).map(|(seq, reason)| {
            format!("event {seq} differed ({reason}) while {meanwhile}, so all was replayed once more")
        }));
    }
    done.desyncs.sort_by_key(|desync| desync.seq);
    done.notes.dedup();
    if !done.desyncs.is_empty() {
        done.notes.extend(files.damaged());
    }
    let cut_at = (trace.state() != State::Complete).then(|| trace.totals().events);
    Ok(Outcome {
        status: recorded_status(trace),
        events: done.events,
        processes: done.processes,
        threads: done.threads,
        desyncs: done.desyncs,
        cut_at,
        notes: done.notes,
        duration_ns: sys::monotonic() - started,
        stacks: done.stacks,
        answered: done.answered,
        repeated,
    })
}

/// Output that nobody sees.
struct Nowhere;

impl Output for Nowhere {
    fn write(&mut self, _stream: u8, _bytes: &[u8]) {}
}

fn meta<'a>(trace: &'a Trace, key: &str) -> std::borrow::Cow<'a, str> {
    String::from_utf8_lossy(trace.definitions().meta_value(key).unwrap_or_default())
}

fn recorded_status(trace: &Trace) -> i32 {
    meta(trace, "status").trim().parse().unwrap_or(0)
}

fn refuse_unreplayable(trace: &Trace) -> Result<(), EngineError> {
    let mode = meta(trace, "mode");
    if mode.is_empty() && trace.state() != State::Complete {
        let message = "the trace is cut before it says how it was recorded; record again: trace record ./PROGRAM";
        return Err(EngineError::replay("cut", message, Vec::new()));
    }
    if mode != "replayable" {
        let words = meta(trace, "observed_by");
        return Err(EngineError::replay(
            "observe-mode",
            observed(&words),
            vec![("options", Fact::Text(words.into_owned()))],
        ));
    }
    let reasons = meta(trace, "unreplayable");
    if reasons.trim().is_empty() {
        return Ok(());
    }
    let listed = reasons.lines().collect::<Vec<_>>().join("; ");
    let message = format!("the recording cannot be replayed: {listed}");
    Err(EngineError::replay("unreplayable", message, vec![("reasons", Fact::Text(reasons.into_owned()))]))
}

/// Why a trace is only to be looked at, by the options that it was recorded with.
fn observed(words: &str) -> String {
    let given: Vec<&str> = words.split_whitespace().collect();
    let again = match given[..] {
        // Traces did not always say.
        [] => {
            return "the trace was recorded to be looked at, not to be replayed; record again: trace record ./PROGRAM"
                .into();
        }
        ["-p"] => "record the program from its start: trace record ./PROGRAM".to_owned(),
        _ => format!("record again without {}", given.join(" and ")),
    };
    let why = match words {
        "--backend=notify" => ", which sees no results of calls",
        "-p" => ", when the program ran already",
        _ => "",
    };
    format!(
        "the trace was recorded with {}{why}, so that it can be looked at but not replayed; {again}",
        given.join(" ")
    )
}

fn refuse_other_cpu(trace: &Trace) -> Result<(), EngineError> {
    let recorded = meta(trace, "cpu");
    let own = cpu::describe();
    if recorded.is_empty() || recorded == own {
        return Ok(());
    }
    let message = format!(
        "the trace was recorded on another processor ({recorded}, this is {own}), on which programs choose other code; \
         replay it on a machine like that one"
    );
    let facts = vec![("recorded", Fact::Text(recorded.into_owned())), ("actual", Fact::Text(own))];
    Err(EngineError::replay("other-cpu", message, facts))
}

/// Programs that were told of the processor by the recorder are told the same here, and use no more than that.
fn refuse_lesser_cpu(trace: &Trace) -> Result<(), EngineError> {
    let missing = cpu::features::missing(&meta(trace, "cpu_features")).join(", ");
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the recorded programs use what this processor does not have ({missing}); replay on one that has it, or record again with --cpu=x86-64-v2"
    );
    Err(EngineError::replay("other-cpu", message, vec![("missing", Fact::Text(missing))]))
}

/// The first pass, in a thread of its own as all that waits for a watch.
fn scan_in_thread(trace: &Trace, options: &Options, control: &Arc<Control>) -> Result<Scan, EngineError> {
    let scanned = std::thread::scope(|scope| {
        let scan = move || Scan::of(trace, &Watch::new(control, options.stuck_after));
        scope.spawn(scan).join()
    });
    match scanned {
        Ok(scan) => scan.map_err(failure),
        Err(_) => Err(EngineError::Broken { part: "first pass of the replay" }),
    }
}

/// How many replaying threads there are at most. Where memory is compared as a whole, and where programs choose their CPUs, all are
/// on one; and one process has one program at a time.
fn most_jobs(scan: &Scan, options: &Options) -> usize {
    match options.jobs {
        _ if options.debug.is_some() => 1,
        Some(jobs) => jobs,
        None if scan.has_states() || scan.binds || options.warn_only || options.process.is_some() => 1,
        None => {
            let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
            scan.units.worth().min(processors).min(MOST_JOBS)
        }
    }
}

/// Which units each replaying thread has; all when there is only one that has everything.
fn parts(scan: &Scan, options: &Options, most: usize) -> Result<Vec<Option<Vec<bool>>>, EngineError> {
    let count = scan.units.len();
    let mut wanted = vec![options.process.is_none(); count];
    if let Some(process) = options.process {
        let units = scan.units.of_process(process);
        if units.is_empty() {
            let message = format!("there is no process p{process} in the trace; `trace ls` and `trace tree` show them");
            return Err(EngineError::replay("no-process", message, vec![("process", Fact::Number(process.into()))]));
        }
        for unit in units {
            wanted[unit as usize] = true;
        }
    }
    let most = if options.stacks.is_some() { 1 } else { most };
    let jobs = most.clamp(1, 64).min(scan.units.count().max(1));
    if jobs == 1 {
        return Ok(vec![options.process.map(|_| wanted)]);
    }
    let shares = scan.units.shares(jobs);
    Ok((0..jobs).map(|job| Some((0..count).map(|unit| wanted[unit] && shares[unit] == job).collect())).collect())
}

fn run_all(job: &Job<'_>, parts: Vec<Option<Vec<bool>>>, control: &Arc<Control>) -> Vec<Result<Done, Halt>> {
    let Some(stub) = job.scan.places.choose() else {
        let message = "the programs use every address at which replay could put its own pages; record them again with \
                       a smaller address space, or report this";
        return vec![Err(EngineError::replay("address-taken", message, Vec::new()).into())];
    };
    let _unsignalled = sys::StopsUnsignalled::new();
    let allowed = sys::affinity(0).unwrap_or(CpuMask([u64::MAX; 16]));
    let cpus: Vec<usize> = (0..1024).filter(|cpu| allowed.0[cpu / 64] & 1 << (cpu % 64) != 0).collect();
    let many = parts.len() > 1;
    // Memory holds the number, by which a state would differ.
    let has_states = job.scan.has_states();
    let run = |lane: usize, units: Option<Vec<bool>>| {
        // A stop costs several times as much when the tracee is on another CPU.
        // Programs can see which one it is (the APIC id that `cpuid` tells), so it is the recorder's when there is a choice.
        let recorded = meta(job.trace, "cpu_number").parse().ok();
        let same = recorded.filter(|cpu| cpus.contains(cpu)).unwrap_or_else(sys::current_cpu);
        let spread = many && !cpus.is_empty() && !has_states;
        let cpu = if spread { cpus[lane % cpus.len()] } else { same };
        let _ = sys::set_affinity(0, &CpuMask::single(cpu));
        let remote = Remote { stub, watch: Watch::new(control, job.options.stuck_after) };
        // What traps in the tracees traps here too, or the processor would be switched at every stop.
        let counterless = || if job.scan.traps.tsc { Counterless::new() } else { None };
        if let Some(wanted) = &job.options.debug {
            return debug::run(job, wanted, remote, counterless);
        }
        let mut runner = Runner::new(job, lane, units, remote)?;
        let counterless = counterless();
        let traps_cpuid = if job.scan.traps.cpuid { TrapsCpuid::new() } else { None };
        let result = runner.run(0);
        drop((counterless, traps_cpuid));
        let mut done = std::mem::take(&mut runner.done);
        done.answered = runner.agent.as_ref().map_or(0, |agent| agent.answered);
        done.is_reference = runner.agent.is_none();
        done.stacks = runner.stacks.take().map(|taker| taker.collector.into_stacks());
        drop(runner);
        if result.is_err() {
            job.merge.reached(lane, u64::MAX);
        }
        result.map(|()| done)
    };
    let run = &run;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            parts.into_iter().enumerate().map(|(lane, units)| scope.spawn(move || run(lane, units))).collect();
        let broken = || Err(EngineError::Broken { part: "replay" }.into());
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| broken())).collect()
    })
}

fn failure(halt: Halt) -> EngineError {
    match halt {
        Halt::Failed(error) => error,
        Halt::Aborted => EngineError::replay("aborted", "the replay was stopped", Vec::new()),
        Halt::Stuck(seen) => EngineError::replay(
            "no-answer",
            format!(
                "a process of the replay did not do in time what it was to do ({seen}); --stuck-after gives it more"
            ),
            Vec::new(),
        ),
        Halt::Desync(_) | Halt::Rewind | Halt::Over => EngineError::Broken { part: "replay" },
    }
}
