//! Running a program under a policy.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use napi::bindgen_prelude::{AsyncTask, Buffer, Env, Error, FnArgs, Result, Status, Task};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use trace_engine::enforce::{self, Enforcement, Policy, Refusal, Report, Running};
use trace_engine::error::EngineError;
use trace_engine::launch::{self, Program};

use crate::reader::{self, outcome};

/// Most refusals that wait for JavaScript; further ones are not told.
const QUEUE: usize = 4096;

/// Takes a refusal as JSON.
pub type OnRefusal =
    ThreadsafeFunction<FnArgs<(String,)>, napi::Unknown<'static>, FnArgs<(String,)>, Status, false, true, QUEUE>;

/// What to enforce, of the policy that `src/spec/policy.ts` compiled.
pub fn enforcement(policy: &str, notify: bool, on_refusal: OnRefusal) -> std::result::Result<Enforcement, EngineError> {
    let policy = Arc::new(Policy::parse(policy)?);
    let report: Report = Arc::new(move |refusal: &Refusal| {
        if let Ok(text) = serde_json::to_string(refusal) {
            on_refusal.call(FnArgs { data: (text,) }, ThreadsafeFunctionCallMode::NonBlocking);
        }
    });
    Ok(Enforcement { policy, report, notify })
}

/// A program and how it is started. Strings cross as bytes.
#[napi(object)]
pub struct EnforceOptions {
    pub argv: Vec<Buffer>,
    pub env: Option<Vec<Buffer>>,
    pub cwd: Option<Buffer>,
    pub policy: String,
    /// Calls that no role may make are reported (or judged, when the policy is supervised).
    pub notify: bool,
    pub inherit: bool,
    pub nofile: Option<f64>,
}

/// A program that runs under a policy.
#[napi]
pub struct Enforced {
    pid: i32,
    running: Arc<Mutex<Option<Running>>>,
}

pub struct WaitEnforced {
    running: Arc<Mutex<Option<Running>>>,
}

impl Task for WaitEnforced {
    type Output = std::result::Result<i32, EngineError>;
    type JsValue = reader::Outcome<i32>;

    fn compute(&mut self) -> Result<Self::Output> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else {
            return Err(Error::new(Status::GenericFailure, "the program was waited for already"));
        };
        Ok(running.wait())
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<reader::Outcome<i32>> {
        Ok(outcome(output, |status| status))
    }
}

#[napi]
impl Enforced {
    #[napi(getter)]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its wait status, when it and all that it left running have ended. To be asked for once.
    #[napi]
    pub fn wait(&self) -> AsyncTask<WaitEnforced> {
        AsyncTask::new(WaitEnforced { running: Arc::clone(&self.running) })
    }
}

fn os_string(buffer: &Buffer) -> OsString {
    OsString::from_vec(buffer.to_vec())
}

/// Starts a program under a policy.
#[napi]
pub fn start_enforced(options: EnforceOptions, on_refusal: OnRefusal) -> reader::Outcome<Enforced> {
    let start = || {
        let enforcement = enforcement(&options.policy, options.notify, on_refusal)?;
        let program = Program {
            argv: options.argv.iter().map(os_string).collect(),
            env: options.env.as_ref().map(|env| env.iter().map(os_string).collect()),
            cwd: options.cwd.as_ref().map(|cwd| PathBuf::from(os_string(cwd))),
            user: None,
            nofile: options.nofile.map(|limit| limit as u64),
            ignore_hangup: false,
            inherit: if options.inherit { launch::inherited() } else { Vec::new() },
        };
        enforce::start(&program, &enforcement)
    };
    outcome(start(), |running| Enforced { pid: running.pid, running: Arc::new(Mutex::new(Some(running))) })
}

/// Version of Landlock that the kernel offers; 0: none.
#[napi]
#[must_use]
pub fn landlock_version() -> i32 {
    enforce::landlock_version()
}
