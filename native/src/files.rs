//! Whole trace files for JavaScript: their text form and back, and the mapped files inside them.
#![allow(clippy::cast_precision_loss, reason = "JavaScript numbers; the format bounds what may be larger than 2^53")]

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use napi::bindgen_prelude::{AsyncTask, Env, Result, Task};
use napi_derive::napi;
use trace_engine::error::EngineError;
use trace_engine::pack::{self, Mapped, PackSummary};
use trace_engine::reader::Trace;
use trace_engine::store::Store;
use trace_engine::text;
use trace_engine::writer::Options;

use crate::reader::{NativeTrace, Outcome, hex, outcome};

/// A file that is packed into a trace.
#[napi(object, object_from_js = false)]
pub struct PackedFile {
    pub hash: String,
    pub bytes: f64,
}

/// A file that a trace speaks of, and that is nowhere to be found.
#[napi(object, object_from_js = false)]
pub struct MissingFile {
    pub hash: String,
    pub path: String,
}

impl From<Mapped> for MissingFile {
    fn from(file: Mapped) -> MissingFile {
        MissingFile { hash: hex(&file.hash), path: String::from_utf8_lossy(&file.path).into_owned() }
    }
}

/// What packing did.
#[napi(object, object_from_js = false)]
pub struct Packing {
    pub added: f64,
    pub added_bytes: f64,
    pub present: f64,
    pub missing: Vec<MissingFile>,
    pub bytes_total: f64,
}

impl From<PackSummary> for Packing {
    fn from(summary: PackSummary) -> Packing {
        Packing {
            added: summary.added as f64,
            added_bytes: summary.bytes as f64,
            present: summary.present as f64,
            missing: summary.missing.into_iter().map(MissingFile::from).collect(),
            bytes_total: summary.bytes_total as f64,
        }
    }
}

#[napi]
impl NativeTrace {
    /// The files that are packed into the trace.
    #[napi]
    pub fn packed(&self) -> Result<Vec<PackedFile>> {
        let files = self.opened()?.packed();
        Ok(files.iter().map(|file| PackedFile { hash: file.hex(), bytes: file.total as f64 }).collect())
    }

    /// The files that a replay needs and that are neither in the trace nor in the object store.
    #[napi]
    pub fn missing(&self) -> Result<AsyncTask<Missing>> {
        Ok(AsyncTask::new(Missing { trace: self.opened()? }))
    }

    /// Puts the mapped files into the trace, or into a copy of it.
    #[napi]
    pub fn pack(&self, output: Option<String>, force: bool) -> Result<AsyncTask<Pack>> {
        Ok(AsyncTask::new(Pack { trace: self.opened()?, output: output.map(PathBuf::from), force }))
    }

    /// Writes the trace as text: to a file, or to the standard output when there is no path.
    #[napi]
    pub fn dump_text(&self, path: Option<String>, force: bool) -> Result<AsyncTask<DumpText>> {
        Ok(AsyncTask::new(DumpText { trace: self.opened()?, path: path.map(PathBuf::from), force }))
    }
}

/// Makes a trace of its text form.
#[napi]
pub fn assemble_text(text: String, path: String, force: bool) -> AsyncTask<Assemble> {
    AsyncTask::new(Assemble { text: text.into(), path: path.into(), force })
}

pub struct Pack {
    trace: Arc<Trace>,
    output: Option<PathBuf>,
    force: bool,
}

impl Task for Pack {
    type Output = std::result::Result<PackSummary, EngineError>;
    type JsValue = Outcome<Packing>;

    fn compute(&mut self) -> Result<Self::Output> {
        Ok(pack::pack(&self.trace, &Store::of_user(), self.output.as_deref(), self.force))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, Packing::from))
    }
}

pub struct Missing {
    trace: Arc<Trace>,
}

impl Task for Missing {
    type Output = std::result::Result<Vec<Mapped>, EngineError>;
    type JsValue = Outcome<Vec<MissingFile>>;

    fn compute(&mut self) -> Result<Self::Output> {
        Ok(self.trace.missing(&Store::of_user()))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, |files| files.into_iter().map(MissingFile::from).collect()))
    }
}

pub struct DumpText {
    trace: Arc<Trace>,
    path: Option<PathBuf>,
    force: bool,
}

impl Task for DumpText {
    type Output = std::result::Result<(), EngineError>;
    type JsValue = Outcome<bool>;

    fn compute(&mut self) -> Result<Self::Output> {
        let opened = match &self.path {
            Some(path) => create(path, self.force),
            None => standard_output(),
        };
        let result = opened.and_then(|file| text::dump(&self.trace, &mut BufWriter::new(Patient(file))));
        Ok(match result {
            // Whoever stopped reading has seen what they wanted.
            Err(EngineError::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        })
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, |()| true))
    }
}

/// A file that waits where a pipe or terminal is set not to (node does that to its own).
struct Patient(File);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut wait = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
                    // SAFETY: one entry of this frame.
                    unsafe { libc::poll(&raw mut wait, 1, -1) };
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn standard_output() -> std::result::Result<File, EngineError> {
    let cannot = |source| EngineError::Io { doing: "write", path: PathBuf::from("the standard output"), source };
    io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(cannot)
}

fn create(path: &Path, force: bool) -> std::result::Result<File, EngineError> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).create_new(!force);
    options.open(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => EngineError::Exists { path: path.to_owned() },
        _ => EngineError::Io { doing: "create", path: path.to_owned(), source },
    })
}

pub struct Assemble {
    text: PathBuf,
    path: PathBuf,
    force: bool,
}

impl Task for Assemble {
    type Output = std::result::Result<u64, EngineError>;
    type JsValue = Outcome<f64>;

    fn compute(&mut self) -> Result<Self::Output> {
        let options = Options { force: self.force, ..Options::default() };
        let opened =
            File::open(&self.text).map_err(|source| EngineError::Io { doing: "open", path: self.text.clone(), source });
        let result = opened.and_then(|file| text::assemble(&mut BufReader::new(file), &self.path, &options));
        Ok(result.map(|summary| summary.events))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(outcome(output, |events| events as f64))
    }
}
