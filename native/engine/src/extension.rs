//! A finished trace with more frames in it: what is there is copied to a file beside the target, frames are added, and the
//! target gets its name when all is written. A cut trace stays cut.

use std::fs::File;
use std::io;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use trace_format::frame::HEADER_BYTES;

use crate::error::EngineError;
use crate::index::Entry;
use crate::pack::Unfinished;
use crate::reader::{State, Trace};
use crate::writer::{Sink, lock};

pub(crate) struct Extension {
    target: PathBuf,
    unfinished: Unfinished,
    is_complete: bool,
    /// Where more frames go.
    pub(crate) sink: Sink,
}

impl Extension {
    /// Of `trace`, as the file `out`, or in the place of the trace itself.
    ///
    /// # Errors
    /// When the trace is being recorded, when `out` exists and `force` is not set, or when something cannot be read or
    /// written.
    pub(crate) fn begin(trace: &Trace, out: Option<&Path>, force: bool) -> Result<Extension, EngineError> {
        if trace.state() == State::Recording {
            return Err(EngineError::Busy { path: trace.path().to_owned() });
        }
        let resolved =
            std::fs::canonicalize(trace.path()).map_err(|source| EngineError::io("find", trace.path(), source))?;
        let target = match out {
            Some(path) if path.exists() && !force => return Err(EngineError::Exists { path: path.to_owned() }),
            Some(path) => path.to_owned(),
            None => resolved,
        };
        let (file, unfinished) = Unfinished::beside(&target)?;
        lock(&file, libc::LOCK_EX).ok();
        let end = trace.entries().last().map_or(HEADER_BYTES as u64, Entry::end);
        copy_frames(trace, end, &file)?;
        let sink = Sink::over(&target, file, end, trace.entries().to_vec());
        Ok(Extension { target, unfinished, is_complete: trace.state() == State::Complete, sink })
    }

    /// Gives back the length of the file.
    ///
    /// # Errors
    /// When something could not be written; the target is as it was then.
    pub(crate) fn finish(mut self) -> Result<u64, EngineError> {
        if self.is_complete {
            self.sink.complete();
        }
        if let Some(failure) = self.sink.take_failure() {
            return Err(failure);
        }
        self.unfinished.rename(&self.target)?;
        Ok(self.sink.end())
    }
}

/// Copies what is before `end`, without the index.
fn copy_frames(trace: &Trace, end: u64, mut to: &File) -> Result<(), EngineError> {
    let cannot = |source| EngineError::io("copy", trace.path(), source);
    let mut from = File::open(trace.path()).map_err(cannot)?;
    let mode = from.metadata().map_err(cannot)?.permissions();
    to.set_permissions(mode).map_err(cannot)?;
    from.seek(SeekFrom::Start(0)).map_err(cannot)?;
    let copied = io::copy(&mut from.take(end), &mut to).map_err(cannot)?;
    if copied == end { Ok(()) } else { Err(cannot(io::ErrorKind::UnexpectedEof.into())) }
}
