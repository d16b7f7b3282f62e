//! What can go wrong: the system, or a batch that does not fit its table.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A failed write.
#[derive(Debug)]
pub enum Error {
    /// The system refused something.
    Io {
        /// What was being done, as "cannot ..." goes on.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A mistake of this program: a batch that does not fit its table, or a library that refuses what it was given.
    Broken(String),
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { doing, path: path.to_owned(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
            Error::Broken(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Broken(_) => None,
        }
    }
}
