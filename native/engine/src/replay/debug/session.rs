//! A debugged replay from its beginning to its end: as many passes over the trace as the user goes back.

use std::collections::HashMap;

use trace_format::column::Projection;
use trace_format::event::{EventKind, Side, slot};
use trace_format::table::Arch;

use super::course::Course;
use super::place::{Place, Segment};
use super::target::{Inferior, Program};
use super::{Debugger, Wanted};
use crate::error::{EngineError, Fact};
use crate::image::exec_slot;
use crate::layout;
use crate::reader::Trace;
use crate::replay::event::Event;
use crate::replay::remote::Remote;
use crate::replay::run::{Done, Job, Runner};
use crate::replay::scan;
use crate::replay::watch::Halt;
use crate::stack;
use crate::store::Hash;

/// Replays under a debugger until that is gone. `trapping`: has instructions trap in this thread that do so in the tracees, as long as what it
/// gives lives.
///
/// # Errors
/// When there is nothing to debug, or the replay fails.
pub fn run<'a, T>(job: &'a Job<'a>, wanted: &Wanted, remote: Remote, trapping: impl Fn() -> T) -> Result<Done, Halt> {
    let debuggee = Debuggee::find(job.trace, wanted)?;
    let library = library(job.trace, &debuggee)?;
    let events = job.trace.totals().events;
    let inferior = Inferior::new(job.files, (library, debuggee.program), remote.stub, events);
    let course = Course::new(debuggee.start, debuggee.first);
    let debugger = Debugger::new(wanted, inferior, course, debuggee.is_own);
    let units = job.scan.units.of_process(debuggee.process);
    let mut is_wanted = vec![false; job.scan.units.len()];
    for unit in units {
        is_wanted[unit as usize] = true;
    }
    let mut runner = Runner::new(job, 0, Some(is_wanted), remote)?;
    runner.debugger = Some(debugger.into());
    let trapped = trapping();
    let mut from = 0;
    loop {
        match runner.run(from) {
            Err(Halt::Rewind) => {
                runner.done = Done::default();
                from = runner.go_back()?;
            }
            Ok(()) | Err(Halt::Over) => break,
            Err(halt) => return Err(halt),
        }
    }
    drop(trapped);
    let mut done = std::mem::take(&mut runner.done);
    done.is_reference = true;
    let failure = runner.debugger.take().and_then(|debugger| debugger.into_inner().failure);
    done.notes.extend(failure.map(|failure| format!("the debugger was left: {failure}")));
    Ok(done)
}

/// The files that the trace has, under all names by which the program knew them.
fn library(trace: &Trace, debuggee: &Debuggee) -> Result<HashMap<Vec<u8>, Hash>, EngineError> {
    let mut library: HashMap<Vec<u8>, Hash> =
        trace.mapped()?.into_iter().map(|mapped| (mapped.path, mapped.hash)).collect();
    let named = debuggee.names.iter().filter_map(|(name, path)| Some((name.clone(), *library.get(path)?)));
    let named: Vec<(Vec<u8>, Hash)> = named.chain(debuggee.program.interpreter.clone()).collect();
    for (name, hash) in named {
        library.entry(name).or_insert(hash);
    }
    Ok(library)
}

/// What is debugged: the last program of a process that begins before the place that is wanted.
struct Debuggee {
    process: u32,
    program: Program,
    start: Segment,
    /// Where the user has the word first.
    first: Place,
    is_own: Vec<bool>,
    /// Names by which files were opened, and what those files were.
    names: HashMap<Vec<u8>, Vec<u8>>,
}

impl Debuggee {
    fn find(trace: &Trace, wanted: &Wanted) -> Result<Debuggee, EngineError> {
        let threads = trace.definitions().threads();
        let process = match (wanted.process, wanted.at) {
            (Some(process), _) => process,
            (None, None) => 1,
            (None, Some(at)) => process_of(trace, at)?,
        };
        let is_own: Vec<bool> = threads.iter().map(|thread| thread.process == process).collect();
        if !is_own.contains(&true) {
            let message = format!("there is no process p{process} in the trace; `trace ls` and `trace tree` show them");
            return Err(EngineError::replay("no-process", message, vec![("process", Fact::Number(process.into()))]));
        }
        // The program that each process has, and how it came to run.
        let mut programs: HashMap<u32, Program> = HashMap::new();
        let mut found: Option<(Segment, Program)> = None;
        let mut names = HashMap::new();
        let mut first = None;
        let at = wanted.at.unwrap_or(u64::MAX);
        'trace: for number in 0..trace.blocks().len() {
            let columns = trace.decode_block(number, Projection::ALL)?;
            for event in (0..columns.count as usize).map(|row| Event::new(&columns, row)) {
                let Some(thread) = threads.get(event.thread() as usize) else { continue };
                if event.seq() >= at && thread.process == process && found.is_some() && stops_a_thread(&event) {
                    first = Some(Place::Before(event.seq()));
                    break 'trace;
                }
                match event.kind() {
                    EventKind::Call if event.ret() >= 0 => names.extend(opened(trace, &event)),
                    EventKind::Exec => {
                        let program = program_of(&event);
                        programs.insert(thread.process, program.clone());
                        if thread.process == process {
                            let start = Segment { seq: event.seq(), thread: event.thread() };
                            found = Some((start, program));
                        }
                    }
                    // A forked process has its parent's program.
                    EventKind::Task if thread.process == process && found.is_none() => {
                        let parent = event.arg(0).checked_sub(1).and_then(|parent| threads.get(parent as usize));
                        if let Some(program) = parent.and_then(|parent| programs.get(&parent.process)).cloned() {
                            let start = Segment { seq: event.seq(), thread: event.thread() };
                            found = Some((start, program));
                        }
                    }
                    _ => {}
                }
            }
        }
        let Some((start, program)) = found else {
            let message = format!(
                "no program of process p{process} begins before that event; `trace ls` shows when each one does"
            );
            return Err(EngineError::replay("no-process", message, vec![("process", Fact::Number(process.into()))]));
        };
        if program.is_i386 {
            let message =
                "32-bit programs are replayed, but not debugged yet; trace replay runs this one without --gdb";
            return Err(EngineError::replay("debugger", message, Vec::new()));
        }
        let first = first.unwrap_or_else(|| Place::start(start));
        Ok(Debuggee { process, program, start, first, is_own, names })
    }
}

/// The program that an Exec begins.
fn program_of(event: &Event<'_>) -> Program {
    let taken = |slot| event.captured(slot, Side::In).unwrap_or_default().to_vec();
    let auxv = taken(exec_slot::AUXV);
    let rows = layout::rows(event.captured(slot::LAYOUT, Side::In).unwrap_or_default());
    let base = stack::auxiliary(&auxv, libc::AT_BASE);
    let loader = base.and_then(|base| rows.iter().find(|row| row.start == base)).and_then(|row| row.hash().copied());
    let interpreter = loader.map(|hash| (taken(exec_slot::INTERPRETER), hash));
    Program { path: taken(exec_slot::PATH), auxv, interpreter, is_i386: event.arch() == Arch::I386 as u8 }
}

/// The name by which a call has opened a file, where that is not the file's own.
fn opened(trace: &Trace, event: &Event<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let argument = match scan::name(event) {
        "open" => 0,
        "openat" | "openat2" => 1,
        _ => return None,
    };
    let name = event.captured(argument, Side::In).filter(|name| name.starts_with(b"/"))?;
    let (.., object) = event.refs().find(|(at, ..)| *at == slot::RET)?;
    let path = trace.definitions().object(object as usize)?.path;
    let name = name.strip_suffix(b"\0").unwrap_or(name);
    (name != path).then(|| (name.to_vec(), path.to_vec()))
}

/// Whether a thread can be looked at before an event.
fn stops_a_thread(event: &Event<'_>) -> bool {
    matches!(event.kind(), EventKind::Call | EventKind::Signal | EventKind::Trap | EventKind::Preempt | EventKind::Exit)
}

/// The process of an event.
fn process_of(trace: &Trace, seq: u64) -> Result<u32, EngineError> {
    let number = trace.block_of(seq).unwrap_or(usize::MAX);
    let columns = trace.decode_block(number, Projection::BASE)?;
    let row = seq.checked_sub(columns.first_seq).filter(|row| *row < u64::from(columns.count));
    let thread = row.map(|row| Event::new(&columns, row as usize).thread());
    let known = thread.and_then(|thread| trace.definitions().threads().get(thread as usize));
    Ok(known.map_or(1, |thread| thread.process))
}
