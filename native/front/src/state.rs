//! Which trace was made last, where `src/state.ts` looks for it.

use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Whether node reads the same from the variables that say where it is kept: it replaces what is not UTF-8.
pub fn is_readable() -> bool {
    ["XDG_STATE_HOME", "HOME"].iter().all(|name| !matches!(env::var(name), Err(env::VarError::NotUnicode(_))))
}

/// As the XDG base directory specification has it: a relative path counts as unset.
fn folder() -> Option<PathBuf> {
    let base = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|base| base.is_absolute());
    base.or_else(|| Some(env::home_dir()?.join(".local").join("state"))).map(|base| base.join("trace"))
}

/// Remembers a trace as the latest one. A home that cannot be written is no reason to fail a recording.
pub fn remember_latest(trace: &Path) {
    if let (Some(folder), true) = (folder(), trace.is_absolute()) {
        let _ = write(&folder, trace);
    }
}

fn write(folder: &Path, trace: &Path) -> io::Result<()> {
    let file = folder.join("latest");
    let draft = folder.join(format!("latest.{}", std::process::id()));
    let create = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft);
    let mut open = create().or_else(|_| {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        create()
    })?;
    open.write_all(&[trace.as_os_str().as_bytes(), b"\n"].concat())?;
    fs::rename(&draft, &file)
}
