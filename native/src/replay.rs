//! `replay` for JavaScript: options in, a handle with a promise out, and the output of the program on its way.
#![allow(clippy::cast_precision_loss, reason = "JavaScript numbers; the format bounds what may be larger than 2^53")]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use napi::bindgen_prelude::{AsyncTask, BigInt, Buffer, Env, Error, FnArgs, Result, Status, Task, Uint8Array};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use trace_engine::error::EngineError;
use trace_engine::raw::RawCapture;
use trace_engine::replay::debug::{self, Address, Listener};
use trace_engine::replay::{
    self, ActualStop, Backend, Control, Desync, DesyncReason, Options, Outcome, Output, StopKind,
};
use trace_engine::stacks::stream::Added;
use trace_format::column::NO_CONTENT;
use trace_format::event::Status::Whole;
use trace_format::event::{EventKind, Side, flag};

use crate::reader::{self, Batch, NativeTrace, outcome};
use crate::stacks::{self, AddedStacks, NativeStacks, SourceLine, StackRequest, Target};

/// What to replay, and how.
#[napi(object)]
pub struct ReplayOptions {
    /// Number of the only process that is wanted.
    pub process: Option<u32>,
    /// Last event.
    pub until: Option<f64>,
    /// Only up to each exec's layout.
    pub exec_only: bool,
    /// 0: one for each processor.
    pub jobs: u32,
    /// Write the program's output to this process's standard output and error.
    pub to_descriptors: bool,
    /// Go on after a desync with what was recorded.
    pub warn_only: bool,
    /// Milliseconds without progress after which a replay is stuck; the engine's own limit when absent.
    pub stuck_after: Option<f64>,
    /// Take stacks of these events.
    pub stacks: Option<StackRequest>,
    /// `ptrace`, `agent` or `eager-agent`.
    pub backend: String,
    /// Wait for a debugger.
    pub debug: Option<DebugRequest>,
}

/// Where a debugger connects, and where it has the word first.
#[napi(object)]
pub struct DebugRequest {
    /// A socket to make; or a port of 127.0.0.1.
    pub socket: Option<String>,
    pub port: Option<u16>,
    /// The event before which the program stops first.
    pub at: Option<f64>,
    /// Milliseconds of replay from one state that is kept to the next, 0 for none; the engine's own choice when absent.
    pub checkpoint_every: Option<f64>,
}

impl DebugRequest {
    fn wanted(self, process: Option<u32>) -> std::result::Result<debug::Wanted, EngineError> {
        let address = match (self.socket, self.port) {
            (Some(path), _) => Address::Socket(path.into()),
            (None, port) => Address::Port((std::net::Ipv4Addr::LOCALHOST, port.unwrap_or(0)).into()),
        };
        let listener = Arc::new(Listener::bind(&address)?);
        let checkpoint_every = self
            .checkpoint_every
            .map_or(debug::CHECKPOINT_EVERY, |millis| Duration::from_micros((millis.max(0.0) * 1000.0) as u64));
        Ok(debug::Wanted { listener, process, at: self.at.map(|seq| seq as u64), checkpoint_every })
    }
}

/// What came of a replay.
#[napi(object, object_from_js = false)]
pub struct ReplayResult {
    /// Recorded wait status of the first program.
    pub status: i32,
    pub events: f64,
    pub processes: u32,
    pub threads: u32,
    pub desyncs: Vec<ReplayDesync>,
    /// Where the recording is cut off, if it is.
    pub cut_at: Option<f64>,
    pub notes: Vec<String>,
    pub duration_ns: f64,
    /// Why output could not be written to the descriptors; 0 when it could.
    pub output_errno: i32,
    /// The stacks that were wanted.
    pub stacks: Option<NativeStacks>,
    /// What of them was written into a trace instead.
    pub added_stacks: Option<AddedStacks>,
    /// Calls that were answered without a stop.
    pub answered: f64,
    /// All was replayed again without the agent, for it had found a difference.
    pub repeated: bool,
}

/// A difference between the recording and what the program did.
#[napi(object, object_from_js = false)]
pub struct ReplayDesync {
    /// The event that was expected next of the thread.
    pub seq: f64,
    pub thread: u32,
    /// As [`DesyncReason::name`] has it.
    pub reason: String,
    /// Of the reason `argument`: which.
    pub argument: Option<u32>,
    /// Of the reason `memory`: the slot of the capture, its address, and the first byte that differs. Of `unmapped`: the
    /// address.
    pub slot: Option<u32>,
    pub address: Option<BigInt>,
    pub offset: Option<f64>,
    /// Of the reason `result`: what the kernel answered.
    pub result: Option<BigInt>,
    pub actual: Option<ReplayStop>,
    /// The memory around the difference on both sides, and the offset of its first byte from the address.
    pub expected_bytes: Option<Uint8Array>,
    pub actual_bytes: Option<Uint8Array>,
    pub window: f64,
    /// /proc/PID/maps of the replayed process.
    pub maps: String,
    /// Code addresses, innermost first.
    pub frames: Vec<BigInt>,
    /// Functions of an interpreter, innermost first.
    pub script: Vec<SourceLine>,
}

/// What the program did instead.
#[napi(object, object_from_js = false)]
pub struct ReplayStop {
    /// `call`, `signal`, `ended` or `held`.
    pub kind: String,
    /// The signal of `signal`, the wait status of `ended`.
    pub code: i32,
    /// The same as a block of one event: what is not known of it is zero.
    pub batch: Batch,
}

/// Most pieces of output that wait for JavaScript; then the engine waits.
const QUEUE: usize = 64;

/// Takes the stream (1 or 2; 0 when there will be no more) and bytes.
type Callback = ThreadsafeFunction<
    FnArgs<(u32, Buffer)>,
    napi::Unknown<'static>,
    FnArgs<(u32, Buffer)>,
    Status,
    false,
    false,
    QUEUE,
>;

/// Hands output over to JavaScript.
struct ToCallback(Callback);

impl ToCallback {
    fn call(&self, stream: u8, bytes: &[u8]) {
        // A full queue makes this thread wait; one that is closed (the environment ends) needs no more output.
        self.0.call(FnArgs { data: (stream.into(), bytes.into()) }, ThreadsafeFunctionCallMode::Blocking);
    }
}

impl Output for ToCallback {
    fn write(&mut self, stream: u8, bytes: &[u8]) {
        self.call(stream, bytes);
    }
}

impl Drop for ToCallback {
    fn drop(&mut self) {
        self.call(0, &[]);
    }
}

/// Writes output to descriptors 1 and 2 of this process.
struct ToDescriptors {
    gone: [bool; 2],
    errno: Arc<AtomicI32>,
    stopping: Arc<AtomicBool>,
}

impl Output for ToDescriptors {
    fn write(&mut self, stream: u8, bytes: &[u8]) {
        let gone = &mut self.gone[usize::from(stream == 2)];
        let mut rest = bytes;
        while !rest.is_empty() && !*gone {
            // SAFETY: reads the bytes of a slice that lives during the call.
            let written = unsafe { libc::write(stream.into(), rest.as_ptr().cast(), rest.len()) };
            if let Ok(written) = usize::try_from(written) {
                rest = &rest[written..];
                continue;
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => *gone = !wait_for_room(stream.into(), &self.stopping),
                // Whoever stopped reading has seen what they wanted.
                io::ErrorKind::BrokenPipe => *gone = true,
                _ => {
                    self.errno.store(error.raw_os_error().unwrap_or(libc::EIO), Ordering::SeqCst);
                    *gone = true;
                }
            }
        }
    }
}

/// Waits until a non-blocking descriptor takes more; `false` when the replay was aborted.
fn wait_for_room(fd: libc::c_int, stopping: &AtomicBool) -> bool {
    const LOOK_AGAIN_MS: libc::c_int = 100;
    while !stopping.load(Ordering::SeqCst) {
        let mut wait = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
        // SAFETY: one entry of this frame.
        if unsafe { libc::poll(&raw mut wait, 1, LOOK_AGAIN_MS) } > 0 {
            return true;
        }
    }
    false
}

/// Output that nobody wants.
struct Nowhere;

impl Output for Nowhere {
    fn write(&mut self, _stream: u8, _bytes: &[u8]) {}
}

type Ended = std::result::Result<(Outcome, Option<Added>), EngineError>;
type Running = JoinHandle<Ended>;

/// A replay that is going on.
#[napi]
pub struct Replay {
    control: Arc<Control>,
    stopping: Arc<AtomicBool>,
    errno: Arc<AtomicI32>,
    running: Arc<Mutex<Option<Running>>>,
}

#[napi]
impl Replay {
    /// Whether a debugger can connect: the program has come to where it is to be stopped first.
    #[napi(getter)]
    pub fn listens(&self) -> bool {
        self.control.awaits_debugger()
    }

    /// The result, when the last process has been replayed. To be asked for once.
    #[napi]
    pub fn wait(&self) -> AsyncTask<WaitReplay> {
        AsyncTask::new(WaitReplay { running: Arc::clone(&self.running), errno: Arc::clone(&self.errno) })
    }

    /// Kills what is being replayed.
    #[napi]
    pub fn abort(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.control.abort();
    }
}

/// Waits for the end of a replay on a thread of the pool.
pub struct WaitReplay {
    running: Arc<Mutex<Option<Running>>>,
    errno: Arc<AtomicI32>,
}

impl Task for WaitReplay {
    type Output = Ended;
    type JsValue = reader::Outcome<ReplayResult>;

    fn compute(&mut self) -> Result<Self::Output> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else {
            return Err(Error::new(Status::GenericFailure, "the replay was waited for already"));
        };
        Ok(running.join().unwrap_or(Err(EngineError::Broken { part: "replay" })))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        let output_errno = self.errno.load(Ordering::SeqCst);
        Ok(outcome(output, |(outcome, added)| ReplayResult {
            status: outcome.status,
            events: outcome.events as f64,
            processes: outcome.processes,
            threads: outcome.threads,
            desyncs: outcome.desyncs.into_iter().map(ReplayDesync::from).collect(),
            cut_at: outcome.cut_at.map(|seq| seq as f64),
            notes: outcome.notes,
            duration_ns: outcome.duration_ns as f64,
            output_errno,
            stacks: outcome.stacks.map(NativeStacks::from),
            added_stacks: added.map(AddedStacks::from),
            answered: outcome.answered as f64,
            repeated: outcome.repeated,
        }))
    }
}

#[napi]
impl NativeTrace {
    /// Starts a replay on a thread of its own. `output` gets the program's output, with stream 1 or 2, and last stream 0.
    #[napi]
    #[allow(clippy::needless_pass_by_value, reason = "values from JavaScript are owned")]
    pub fn start_replay(&self, options: ReplayOptions, output: Option<Callback>) -> Result<Replay> {
        let defaults = Options::default();
        let debug = options.debug.map(|request| request.wanted(options.process)).transpose();
        let mut engine = Options {
            process: options.process,
            until: options.until.map(|seq| seq as u64),
            exec_only: options.exec_only,
            jobs: (options.jobs != 0).then_some(options.jobs as usize),
            mute: output.is_none() && !options.to_descriptors,
            warn_only: options.warn_only,
            stacks: options.stacks.as_ref().map(Into::into),
            backend: Backend::from_name(&options.backend)
                .ok_or_else(|| Error::new(Status::InvalidArg, format!("there is no backend {}", options.backend)))?,
            stuck_after: options
                .stuck_after
                .map_or(defaults.stuck_after, |millis| Duration::from_millis(millis.max(1.0) as u64)),
            debug: None,
        };
        let (stopping, errno) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
        let output: Box<dyn Output> = match output {
            Some(callback) => Box::new(ToCallback(callback)),
            None if options.to_descriptors => {
                Box::new(ToDescriptors { gone: [false; 2], errno: Arc::clone(&errno), stopping: Arc::clone(&stopping) })
            }
            None => Box::new(Nowhere),
        };
        let target = Target::of(options.stacks.as_ref());
        let control = Arc::new(Control::default());
        let (trace, replay_control) = (self.opened()?, Arc::clone(&control));
        let running = std::thread::Builder::new()
            .name("trace-replay".into())
            .spawn(move || {
                engine.debug = debug?;
                let mut outcome = replay::replay(&trace, &engine, output, &replay_control)?;
                let added = stacks::finish(&trace, &mut outcome, target.as_ref())?;
                Ok((outcome, added))
            })
            .map_err(|error| Error::new(Status::GenericFailure, format!("cannot start the replay: {error}")))?;
        Ok(Replay { control, stopping, errno, running: Arc::new(Mutex::new(Some(running))) })
    }
}

impl From<Desync> for ReplayDesync {
    fn from(desync: Desync) -> ReplayDesync {
        let (mut argument, mut slot, mut address, mut offset, mut result) = (None, None, None, None, None);
        match desync.reason {
            DesyncReason::Argument(index) => argument = Some(index.into()),
            DesyncReason::Memory { slot: argument, addr, offset: at } => {
                slot = Some(argument.into());
                address = Some(addr.into());
                offset = Some(at as f64);
            }
            DesyncReason::Unmapped { addr } => address = Some(addr.into()),
            DesyncReason::Result { actual } => result = Some(actual.into()),
            _ => {}
        }
        let bytes = |bytes: Vec<u8>| (!bytes.is_empty()).then(|| Uint8Array::new(bytes));
        ReplayDesync {
            seq: desync.seq as f64,
            thread: desync.thread,
            reason: desync.reason.name().to_owned(),
            argument,
            slot,
            address,
            offset,
            result,
            actual: desync.actual.map(|stop| ReplayStop::new(desync.seq, desync.thread, stop)),
            expected_bytes: bytes(desync.expected_bytes),
            actual_bytes: bytes(desync.actual_bytes),
            window: desync.window as f64,
            maps: desync.maps,
            frames: desync.frames.into_iter().map(BigInt::from).collect(),
            script: desync.script.into_iter().map(SourceLine::from).collect(),
        }
    }
}

/// Low and high word.
fn words(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

impl ReplayStop {
    /// The stop as an event that stands in the place of event `seq`.
    fn new(seq: u64, thread: u32, stop: ActualStop) -> ReplayStop {
        let (kind, event, code) = match stop.kind {
            StopKind::Call => ("call", EventKind::Call, stop.number as i32),
            StopKind::Signal => ("signal", EventKind::Signal, stop.signal),
            StopKind::Ended => ("ended", EventKind::Exit, stop.signal),
            // Nothing that the trace has an event for, save that it was stopped from outside.
            StopKind::Held => ("held", EventKind::Preempt, 0),
        };
        // What came of it is not known: it was stopped at its entry.
        let flags = if event == EventKind::Call { flag::NO_RESULT } else { 0 };
        let whole = [RawCapture {
            slot: 0,
            side: Side::In,
            status: Whole,
            addr: 0,
            wanted: stop.bytes.len() as u64,
            len: stop.bytes.len() as u32,
        }];
        // The bytes of a signal are its siginfo, as those of a recorded one.
        let captures: &[RawCapture] = if event == EventKind::Signal { &whole } else { &stop.captures };
        let mut content_start = vec![0];
        let mut end = 0;
        for capture in captures {
            end = (end + capture.len as usize).min(stop.bytes.len());
            content_start.push(end as u32);
        }
        let batch = Batch {
            count: 1,
            first_seq: seq as f64,
            seqs: None,
            kind: vec![event as u8].into(),
            flags: vec![flags].into(),
            arch: vec![stop.arch].into(),
            code: vec![code].into(),
            thread: vec![thread].into(),
            start: vec![0.0].into(),
            duration: vec![0.0].into(),
            span: vec![0].into(),
            ret: vec![0, 0].into(),
            args: stop.args.into_iter().flat_map(words).collect::<Vec<_>>().into(),
            ip: words(stop.ip).to_vec().into(),
            sp: words(stop.sp).to_vec().into(),
            cap_start: vec![0, captures.len() as u32].into(),
            cap_slot: captures.iter().map(|capture| capture.slot).collect::<Vec<_>>().into(),
            cap_side: captures.iter().map(|capture| capture.side as u8).collect::<Vec<_>>().into(),
            cap_status: captures.iter().map(|capture| capture.status as u8).collect::<Vec<_>>().into(),
            cap_addr: captures.iter().flat_map(|capture| words(capture.addr)).collect::<Vec<_>>().into(),
            cap_wanted: captures.iter().map(|capture| capture.wanted as f64).collect::<Vec<_>>().into(),
            cap_content: (0..captures.len() as u32)
                .map(|k| if captures[k as usize].len == 0 { NO_CONTENT } else { k })
                .collect::<Vec<_>>()
                .into(),
            content_start: content_start.into(),
            bytes: stop.bytes.into(),
            ref_start: vec![0, 0].into(),
            ref_slot: Vec::<u8>::new().into(),
            ref_fd: Vec::<i32>::new().into(),
            ref_object: Vec::<u32>::new().into(),
            digests: None,
        };
        ReplayStop { kind: kind.to_owned(), code, batch }
    }
}
