//! What can go wrong for reasons outside this program: a code that never changes, and the facts.
//!
//! The message is for people; who handles an error looks at [`EngineError::code`] and [`EngineError::facts`].

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use trace_format::varint::{DecodeError, Problem};

/// A failed operation.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineError {
    /// The system refused something.
    Io {
        /// What was being done, as "cannot ..." goes on.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output file is there already.
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another recorder is writing the file.
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The file is no trace.
    NotATrace {
        /// The file.
        path: PathBuf,
        /// What shows it.
        why: &'static str,
    },
    /// The file is of a later version of the format.
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: (u16, u16),
        /// The largest major version that can be read.
        reads: u16,
    },
    /// A trace is damaged.
    Corrupt {
        /// What was being read.
        reading: &'static str,
        /// Offset of the frame, or of the damage itself where it is outside any frame.
        offset: u64,
        /// Offset inside what was being read.
        at: u64,
        /// What is wrong.
        problem: Problem,
    },
    /// There is no block of that number.
    NoBlock {
        /// Asked for.
        block: usize,
        /// How many there are.
        blocks: usize,
    },
    /// The text form of a trace has a mistake.
    Text {
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// The program to record could not be started, or not be traced.
    Start {
        /// `not-found`, `no-interpreter`, `not-executable`, `exec-format`, `too-long`, `empty-command`, `no-process`,
        /// `permission`, `cwd`, `user`, `filter` or `system`.
        code: &'static str,
        /// What happened.
        message: String,
    },
    /// A trace cannot be replayed, or not here.
    Replay {
        /// `cut`, `observe-mode`, `unreplayable`, `missing-object`, `damaged-object`, `other-cpu`, `address-taken`, `permission`,
        /// `refused`, `aborted` or `lost`.
        code: &'static str,
        /// What happened, and the way out.
        message: String,
        /// The names and numbers in the message.
        facts: Vec<(&'static str, Fact)>,
    },
    /// A part of the program broke off; this is a mistake in it.
    Broken {
        /// Which part.
        part: &'static str,
    },
}

/// The value of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

impl From<&Path> for Fact {
    fn from(path: &Path) -> Fact {
        Fact::Text(path.to_string_lossy().into_owned())
    }
}

impl EngineError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> EngineError {
        EngineError::Io { doing, path: path.to_owned(), source }
    }

    pub(crate) fn start(code: &'static str, message: impl Into<String>) -> EngineError {
        EngineError::Start { code, message: message.into() }
    }

    /// Nobody is traced where /proc shows others under the numbers of tracees: their memory would be written.
    pub(crate) fn unless_proc_is_own() -> Result<(), EngineError> {
        match crate::sys::shows_own_processes() {
            Ok(true) => Ok(()),
            Ok(false) => Err(EngineError::start("proc", "/proc shows the processes of another pid namespace")),
            Err(error) => Err(EngineError::start("proc", format!("/proc is not there: {error}"))),
        }
    }

    pub(crate) fn replay(
        code: &'static str,
        message: impl Into<String>,
        facts: Vec<(&'static str, Fact)>,
    ) -> EngineError {
        EngineError::Replay { code, message: message.into(), facts }
    }

    pub(crate) fn corrupt(offset: u64, error: &DecodeError) -> EngineError {
        EngineError::Corrupt { reading: error.reading, offset, at: error.offset, problem: error.problem }
    }

    /// The same error once more, for who keeps one and reports it again.
    pub(crate) fn duplicate(&self) -> EngineError {
        match self {
            EngineError::Io { doing, path, source } => {
                let source = source
                    .raw_os_error()
                    .map_or_else(|| io::Error::new(source.kind(), source.to_string()), io::Error::from_raw_os_error);
                EngineError::Io { doing, path: path.clone(), source }
            }
            EngineError::Corrupt { reading, offset, at, problem } => {
                EngineError::Corrupt { reading, offset: *offset, at: *at, problem: *problem }
            }
            _ => EngineError::Broken { part: "reader" },
        }
    }

    /// The stable name of this kind of error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            EngineError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => "disk-full",
            EngineError::Io { doing: "create", source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "no-directory"
            }
            EngineError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => "no-file",
            EngineError::Io { .. } => "io",
            EngineError::Exists { .. } => "exists",
            EngineError::Busy { .. } => "busy",
            EngineError::NotATrace { .. } => "not-a-trace",
            EngineError::Version { .. } => "version",
            EngineError::Corrupt { .. } => "corrupt",
            EngineError::NoBlock { .. } => "no-block",
            EngineError::Text { .. } => "text",
            EngineError::Start { code, .. } | EngineError::Replay { code, .. } => code,
            EngineError::Broken { .. } => "broken",
        }
    }

    /// What is known about it, by name.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, Fact)> {
        let number = |value: usize| Fact::Number(value as u64);
        match self {
            EngineError::Io { doing, path, source } => vec![
                ("doing", Fact::Text((*doing).to_owned())),
                ("path", path.as_path().into()),
                ("errno", Fact::Number(source.raw_os_error().unwrap_or(0).unsigned_abs().into())),
            ],
            EngineError::Exists { path } | EngineError::Busy { path } => vec![("path", path.as_path().into())],
            EngineError::NotATrace { path, why } => {
                vec![("path", path.as_path().into()), ("why", Fact::Text((*why).to_owned()))]
            }
            EngineError::Version { path, version, reads } => vec![
                ("path", path.as_path().into()),
                ("version", Fact::Text(format!("{}.{}", version.0, version.1))),
                ("reads", Fact::Number((*reads).into())),
            ],
            EngineError::Corrupt { reading, offset, at, problem } => vec![
                ("reading", Fact::Text((*reading).to_owned())),
                ("offset", Fact::Number(*offset)),
                ("at", Fact::Number(*at)),
                ("problem", Fact::Text(problem.to_string())),
            ],
            EngineError::NoBlock { block, blocks } => vec![("block", number(*block)), ("blocks", number(*blocks))],
            EngineError::Text { line, message } => {
                vec![("line", Fact::Number(*line)), ("message", Fact::Text(message.clone()))]
            }
            EngineError::Start { message, .. } => vec![("message", Fact::Text(message.clone()))],
            EngineError::Replay { message, facts, .. } => {
                let mut all = vec![("message", Fact::Text(message.clone()))];
                all.extend(facts.iter().cloned());
                all
            }
            EngineError::Broken { part } => vec![("part", Fact::Text((*part).to_owned()))],
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::Io { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
            EngineError::Exists { path } => write!(f, "{} exists already", path.display()),
            EngineError::Busy { path } => write!(f, "{} is being recorded", path.display()),
            EngineError::NotATrace { path, why } => write!(f, "{} is not a trace: {why}", path.display()),
            EngineError::Version { path, version, reads } => write!(
                f,
                "{} is of version {}.{} of the trace format, this program reads up to {reads}",
                path.display(),
                version.0,
                version.1
            ),
            EngineError::Corrupt { reading, offset, at, problem } => {
                write!(f, "the trace is damaged in the frame at offset {offset}: {reading} at {at}: {problem}")
            }
            EngineError::NoBlock { block, blocks } => write!(f, "no block {block}: the trace has {blocks}"),
            EngineError::Text { line, message } => write!(f, "line {line}: {message}"),
            EngineError::Start { message, .. } | EngineError::Replay { message, .. } => f.write_str(message),
            EngineError::Broken { part } => write!(f, "the {part} broke off; this is a mistake in this program"),
        }
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            EngineError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A message without the ` (os error N)` that the standard library ends it with.
#[must_use]
pub fn without_number(message: &str) -> &str {
    message.rsplit_once(" (os error ").map_or(message, |(text, _)| text)
}
