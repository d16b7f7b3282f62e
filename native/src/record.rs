//! `record` for JavaScript: options in, a handle with a promise out.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use napi::bindgen_prelude::{AsyncTask, Buffer};
use napi::{Env, Error, Result, Status, Task};
use napi_derive::napi;
use trace_engine::cpu::features::Level;
use trace_engine::error::EngineError;
use trace_engine::launch::{self, Program, Restored, Surroundings, User};
use trace_engine::memory::Data;
use trace_engine::record::{self, Backend, Control, Outcome, WantedSamples};

use crate::enforce::{self, OnRefusal, Telling};
use crate::reader::{self, outcome};

/// What to record. Strings of the program cross as bytes, since Linux does not promise that they are UTF-8.
#[napi(object)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line, and JavaScript names them")]
pub struct RecordOptions {
    pub argv: Vec<Buffer>,
    /// Processes to observe instead of a program.
    pub attach: Option<Vec<i32>>,
    /// `NAME=value`; the environment of this process when absent.
    pub env: Option<Vec<Buffer>>,
    pub cwd: Option<Buffer>,
    pub output: Buffer,
    pub force: bool,
    /// `all`, `paths` or `none`.
    pub data: String,
    /// Syscall names of a capture filter.
    pub only: Option<Vec<String>>,
    pub detach_on_exit: bool,
    pub unpinned: bool,
    /// Let threads run freely and clocks be read unseen: cannot be replayed.
    pub observe: bool,
    /// `ptrace`, `agent`, `eager-agent` or `notify`; when absent, the agent where it can be used, and `ptrace` else.
    pub backend: Option<String>,
    /// Seed of a recording that varies the order of threads.
    pub chaos: Option<f64>,
    /// What the processor is to seem to be: `host`, `x86-64-v2` or `x86-64-v3`.
    pub cpu: String,
    pub user: Option<RecordUser>,
    /// Soft limit of open files to give back to the program.
    pub nofile: Option<f64>,
    /// Start the program with SIGHUP ignored.
    pub ignore_hangup: bool,
    /// Pass on all descriptors that this process was started with, and not only 0 to 2.
    pub inherit: bool,
    /// A policy that the program runs under.
    pub policy: Option<String>,
    /// Copy threads that enter calls, for their stacks.
    pub stacks: Option<RecordStacks>,
}

/// Of which calls stacks are wanted.
#[napi(object)]
pub struct RecordStacks {
    /// Names of syscalls; all when absent.
    pub calls: Option<Vec<String>>,
    /// Bytes of each stack that are copied.
    pub bytes: Option<u32>,
}

/// The user that the program is to run as.
#[napi(object)]
pub struct RecordUser {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// What came of a recording. Counts are exact up to 2^53.
#[napi(object)]
pub struct RecordResult {
    /// Wait status of the first program, as waitpid(2) gives it.
    pub status: i32,
    pub processes: u32,
    pub threads: u32,
    pub duration_ns: f64,
    pub events: f64,
    pub bytes: f64,
    pub bytes_events: f64,
    pub bytes_content: f64,
    /// Events that could not be written.
    pub lost_events: f64,
    /// Memory reads, tasks, descriptors and unknown calls that could not be captured.
    pub lost: Vec<f64>,
    pub notes: Vec<String>,
    /// What was recorded, in one line.
    pub line: String,
    /// Why the trace is cut, if it is.
    pub failure: Option<String>,
    pub failure_code: Option<String>,
}

type Running = JoinHandle<std::result::Result<Outcome, EngineError>>;

/// A recording that is going on.
#[napi]
pub struct Recording {
    control: Arc<Control>,
    running: Arc<Mutex<Option<Running>>>,
    telling: Option<Arc<Telling>>,
    output: PathBuf,
}

/// Waits for the end of a recording on a thread of the pool.
pub struct Wait {
    running: Arc<Mutex<Option<Running>>>,
    telling: Option<Arc<Telling>>,
    output: PathBuf,
}

impl Task for Wait {
    type Output = std::result::Result<Outcome, EngineError>;
    type JsValue = reader::Outcome<RecordResult>;

    fn compute(&mut self) -> Result<Self::Output> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else {
            return Err(Error::new(Status::GenericFailure, "the recording was waited for already"));
        };
        let outcome = running.join().unwrap_or(Err(EngineError::Broken { part: "recorder" }));
        if let Some(telling) = &self.telling {
            telling.end();
        }
        Ok(outcome)
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<reader::Outcome<RecordResult>> {
        Ok(outcome(output, |came| RecordResult::new(came, &self.output)))
    }
}

impl RecordResult {
    fn new(outcome: Outcome, output: &Path) -> RecordResult {
        let line = outcome.line(output);
        let summary = outcome.summary;
        RecordResult {
            line,
            status: outcome.status,
            processes: outcome.processes,
            threads: outcome.threads,
            duration_ns: outcome.duration_ns as f64,
            events: summary.events as f64,
            bytes: summary.bytes_total as f64,
            bytes_events: summary.bytes_events as f64,
            bytes_content: summary.bytes_content as f64,
            lost_events: summary.lost as f64,
            lost: outcome.lost.iter().map(|count| *count as f64).collect(),
            notes: outcome.notes,
            failure: summary.failure.as_ref().map(ToString::to_string),
            failure_code: summary.failure.as_ref().map(|failure| failure.code().to_owned()),
        }
    }
}

#[napi]
impl Recording {
    /// The result, when the last process has ended. To be asked for once.
    #[napi]
    pub fn wait(&self) -> AsyncTask<Wait> {
        let (running, telling) = (Arc::clone(&self.running), self.telling.clone());
        AsyncTask::new(Wait { running, telling, output: self.output.clone() })
    }

    /// Kills the recorded processes and ends the recording.
    #[napi]
    pub fn abort(&self) {
        self.control.abort();
    }

    /// Ends the recording and lets the processes go on.
    #[napi]
    pub fn detach(&self) {
        self.control.detach();
    }

    /// Stops this process when the first program stops, as the terminal has asked by this signal.
    #[napi]
    pub fn stop_along(&self, signal: i32) {
        self.control.stop_along(signal);
    }

    /// Sends a signal to the first program; `false` when it has ended.
    #[napi]
    pub fn signal(&self, signal: i32) -> bool {
        self.control.signal(signal)
    }
}

fn os_string(buffer: &Buffer) -> OsString {
    OsString::from_vec(buffer.to_vec())
}

fn invalid(why: String) -> Error {
    Error::new(Status::InvalidArg, why)
}

fn unknown(option: &str, value: &str) -> Error {
    invalid(format!("there is no {option} {value:?}"))
}

/// Starts a recording on a thread of its own. `on_refusal` is told what the policy refuses.
#[napi]
pub fn start_recording(options: RecordOptions, on_refusal: Option<OnRefusal>) -> Result<Recording> {
    let (enforce, telling) = match (&options.policy, on_refusal) {
        (Some(policy), Some(on_refusal)) => {
            let made = enforce::enforcement(policy, true, None, on_refusal);
            Some(made.map_err(|error| invalid(error.to_string()))?).unzip()
        }
        (None, None) => (None, None),
        (Some(_), None) => return Err(invalid("a policy needs a function that is told what it refuses".into())),
        (None, Some(_)) => return Err(invalid("without a policy nothing is refused".into())),
    };
    let data = Data::from_name(&options.data).ok_or_else(|| unknown("data", &options.data))?;
    let backend = options.backend.as_deref();
    let backend = backend.map(|name| Backend::from_name(name).ok_or_else(|| unknown("backend", name))).transpose()?;
    let cpu = Level::from_name(&options.cpu).ok_or_else(|| unknown("cpu", &options.cpu))?;
    let engine = record::Options {
        program: Program {
            argv: options.argv.iter().map(os_string).collect(),
            env: options.env.as_ref().map(|env| env.iter().map(os_string).collect()),
            cwd: options.cwd.as_ref().map(|cwd| PathBuf::from(os_string(cwd))),
            user: options.user.map(|user| User { uid: user.uid, gid: user.gid, groups: user.groups }),
            surroundings: Surroundings::Restored(Restored {
                nofile: options.nofile.map(|limit| limit as u64),
                ignore_hangup: options.ignore_hangup,
                inherit: if options.inherit { launch::inherited() } else { Vec::new() },
            }),
        },
        attach: options.attach.unwrap_or_default(),
        output: PathBuf::from(os_string(&options.output)),
        force: options.force,
        data,
        only: options.only,
        detach_on_exit: options.detach_on_exit,
        unpinned: options.unpinned,
        observe: options.observe,
        backend: backend.unwrap_or_default(),
        chaos: options.chaos.map(|seed| seed as u64),
        cpu,
        enforce,
        samples: options
            .stacks
            .map(|stacks| WantedSamples { calls: stacks.calls, bytes: stacks.bytes.unwrap_or(WantedSamples::USUAL) }),
    };
    let output = engine.output.clone();
    let control = Arc::new(Control::default());
    let recorder_control = Arc::clone(&control);
    let running = std::thread::Builder::new()
        .name("trace-recorder".into())
        .spawn(move || record::record(&engine, &recorder_control))
        .map_err(|error| Error::new(Status::GenericFailure, format!("cannot start the recorder: {error}")))?;
    Ok(Recording { control, running: Arc::new(Mutex::new(Some(running))), telling, output })
}

/// `<program>-<n>.trace` with the smallest free n, in the working directory.
#[napi]
#[must_use]
#[allow(clippy::needless_pass_by_value, reason = "values from JavaScript are owned")]
pub fn free_name(program: String) -> String {
    record::free_name(program.as_str())
}
