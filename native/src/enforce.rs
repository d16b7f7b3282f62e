//! Running a program under a policy.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use napi::bindgen_prelude::{AsyncTask, Buffer, Env, Error, FnArgs, Result, Status, Task};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use trace_engine::enforce::{self, Attempt, Enforcement, Policy, Reaper, Refusal, Report, Running};
use trace_engine::error::EngineError;
use trace_engine::launch::{self, Program, Restored, Surroundings};

use crate::reader::{self, outcome};

/// Most refusals that wait for JavaScript; further ones are counted only.
const QUEUE: usize = 4096;

/// Takes a refusal as JSON, or `{"leftOut": N}` where so many of them are missing; behind the last one with `"isLast": true`.
pub type OnRefusal =
    ThreadsafeFunction<FnArgs<(String,)>, napi::Unknown<'static>, FnArgs<(String,)>, Status, false, true, QUEUE>;

/// Tells JavaScript of refusals; its program is never made to wait for that.
pub struct Telling {
    on_refusal: OnRefusal,
    left_out: AtomicU64,
}

impl Telling {
    fn tell(&self, refusal: &Refusal) {
        let send = |text| self.send(text, ThreadsafeFunctionCallMode::NonBlocking);
        let is_told = self.tell_left_out() && serde_json::to_string(refusal).is_ok_and(send);
        if !is_told {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns whether nothing is left out that was not told.
    fn tell_left_out(&self) -> bool {
        let count = self.left_out.swap(0, Ordering::Relaxed);
        let is_told = count == 0
            || self.send(format!("{{\"leftOut\":{count},\"isLast\":false}}"), ThreadsafeFunctionCallMode::NonBlocking);
        if !is_told {
            self.left_out.fetch_add(count, Ordering::Relaxed);
        }
        is_told
    }

    /// Nobody is refused anything any more: waits until JavaScript has taken so much that this has room. Not on its own thread.
    pub fn end(&self) {
        let count = self.left_out.swap(0, Ordering::Relaxed);
        self.send(format!("{{\"leftOut\":{count},\"isLast\":true}}"), ThreadsafeFunctionCallMode::Blocking);
    }

    fn send(&self, text: String, mode: ThreadsafeFunctionCallMode) -> bool {
        self.on_refusal.call(FnArgs { data: (text,) }, mode) == Status::Ok
    }
}

/// What to enforce, of the policy that `src/spec/compile.ts` made; and who tells of refusals, to be told when there are no more.
pub fn enforcement(
    policy: &str,
    notify: bool,
    attempt: Option<Attempt>,
    on_refusal: OnRefusal,
) -> std::result::Result<(Enforcement, Arc<Telling>), EngineError> {
    let policy = Arc::new(Policy::parse(policy)?);
    let telling = Arc::new(Telling { on_refusal, left_out: AtomicU64::new(0) });
    let own = Arc::clone(&telling);
    let report: Report = Arc::new(move |refusal: &Refusal| own.tell(refusal));
    Ok((Enforcement { policy, report, notify, attempt }, telling))
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
    /// Processes that lose their parents become children of this one, which has no others.
    pub adopt: bool,
    pub nofile: Option<f64>,
    /// In place of the program: what is tried. The exit code is its errno.
    pub attempt: Option<AttemptOptions>,
}

/// `enforce/probe.rs` says what they mean.
#[napi(object)]
pub struct AttemptOptions {
    pub kind: String,
    pub path: Option<Buffer>,
    /// The new name, of what is given one.
    pub to: Option<Buffer>,
    pub port: Option<u32>,
}

fn attempt_of(options: &AttemptOptions) -> std::result::Result<Attempt, EngineError> {
    let wrong = |message: String| EngineError::Start { code: "policy", message };
    let text = |bytes: &Option<Buffer>| {
        let bytes = bytes.as_ref().map(|path| path.to_vec()).unwrap_or_default();
        CString::new(bytes).map_err(|_| wrong("a path holds a NUL byte".into()))
    };
    let path = || text(&options.path);
    let to = || text(&options.to);
    let port = options.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(1);
    Ok(match options.kind.as_str() {
        "read" => Attempt::Read(path()?),
        "write" => Attempt::Write(path()?),
        "exec" => Attempt::Exec(path()?),
        "list" => Attempt::List(path()?),
        "look" => Attempt::Look(path()?),
        "truncate" => Attempt::Truncate(path()?),
        "make-directory" => Attempt::MakeDirectory(path()?),
        "remove" => Attempt::Remove { path: path()?, directory: false },
        "remove-directory" => Attempt::Remove { path: path()?, directory: true },
        "rename" => Attempt::Rename { from: path()?, to: to()? },
        "link" => Attempt::Link { from: path()?, to: to()? },
        "set-mode" => Attempt::SetMode(path()?),
        "set-owner" => Attempt::SetOwner(path()?),
        "set-times" => Attempt::SetTimes(path()?),
        "bind-path" => Attempt::BindPath(path()?),
        "connect-path" => Attempt::ConnectPath(path()?),
        "bind" => Attempt::Bind { port, listen: false },
        "listen" => Attempt::Bind { port, listen: true },
        "connect" => Attempt::Connect { port, protocol: 0 },
        "mptcp" => Attempt::Connect { port, protocol: libc::IPPROTO_MPTCP },
        "datagram" => Attempt::Datagram { port },
        "io_uring" => Attempt::Ring,
        "signal-parent" => Attempt::SignalParent,
        "signal-self" => Attempt::SignalSelf,
        "signal-group" => Attempt::SignalGroup,
        "trace-parent" => Attempt::TraceParent,
        "namespace" => Attempt::Namespace,
        "crypto-socket" => Attempt::CryptoSocket,
        other => return Err(wrong(format!("nothing knows the attempt {other}"))),
    })
}

/// A program that runs under a policy.
#[napi]
pub struct Enforced {
    pid: i32,
    reaper: Option<Arc<Reaper>>,
    running: Arc<Mutex<Option<Running>>>,
    telling: Arc<Telling>,
}

pub struct WaitEnforced {
    running: Arc<Mutex<Option<Running>>>,
    telling: Arc<Telling>,
}

impl Task for WaitEnforced {
    type Output = std::result::Result<i32, EngineError>;
    type JsValue = reader::Outcome<i32>;

    fn compute(&mut self) -> Result<Self::Output> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else {
            return Err(Error::new(Status::GenericFailure, "the program was waited for already"));
        };
        let status = running.wait();
        self.telling.end();
        Ok(status)
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
        AsyncTask::new(WaitEnforced { running: Arc::clone(&self.running), telling: Arc::clone(&self.telling) })
    }

    /// What it has left running goes on when this process ends; it is killed then without this.
    #[napi]
    pub fn let_go(&self) {
        if let Some(reaper) = &self.reaper {
            reaper.let_go();
        }
    }
}

fn os_string(buffer: &Buffer) -> OsString {
    OsString::from_vec(buffer.to_vec())
}

/// Starts a program under a policy.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "values from JavaScript are owned")]
pub fn start_enforced(options: EnforceOptions, on_refusal: OnRefusal) -> reader::Outcome<Enforced> {
    let start = || {
        let attempt = options.attempt.as_ref().map(attempt_of).transpose()?;
        let (enforcement, telling) = enforcement(&options.policy, options.notify, attempt, on_refusal)?;
        let program = Program {
            argv: options.argv.iter().map(os_string).collect(),
            env: options.env.as_ref().map(|env| env.iter().map(os_string).collect()),
            cwd: options.cwd.as_ref().map(|cwd| PathBuf::from(os_string(cwd))),
            user: None,
            surroundings: Surroundings::Restored(Restored {
                nofile: options.nofile.map(|limit| limit as u64),
                ignore_hangup: false,
                inherit: if options.inherit { launch::inherited() } else { Vec::new() },
            }),
        };
        Ok((enforce::start(&program, &enforcement, options.adopt)?, telling))
    };
    outcome(start(), |(running, telling)| Enforced {
        pid: running.pid,
        reaper: running.reaper(),
        running: Arc::new(Mutex::new(Some(running))),
        telling,
    })
}

/// Version of Landlock that the kernel offers; 0: none.
#[napi]
#[must_use]
pub fn landlock_version() -> i32 {
    enforce::landlock_version()
}
