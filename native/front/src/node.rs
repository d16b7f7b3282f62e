//! The command in TypeScript, in place of this process.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::iter;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;

use libc::{c_char, c_int};
use trace_engine::error::without_number;

use crate::report::say;

/// Exit codes that shells use for a program that is missing, or cannot be run.
const MISSING: c_int = 127;
const UNUSABLE: c_int = 126;

/// Becomes `node cli.cjs` with the same words. Says why not when that fails, and returns the exit code for it.
pub fn exec(words: &[OsString]) -> c_int {
    keep_closed();
    let cli = match fs::read_link("/proc/self/exe") {
        Ok(own) => own.with_file_name("cli.cjs"),
        Err(error) => {
            say(&format!(
                "trace: cannot tell where it is installed: {error}\n  mount /proc, or run: node .../dist/cli.cjs\n"
            ));
            return UNUSABLE;
        }
    };
    let error = exec_node(&cli, words);
    if error.raw_os_error() == Some(libc::ENOENT) {
        say("trace: node is not found in PATH, and only a plain `trace record` does without\n  \
             install Node 20 or later, or put the folder that holds node into PATH\n");
        return MISSING;
    }
    say(&format!("trace: node cannot be run: {}\n  look at: command -v node\n", plain(&error)));
    UNUSABLE
}

/// Puts what cannot be written to, or read from, in the place of standard streams that are closed. Node opens `/dev/null` there: what it
/// writes would be lost and nobody told, and so would what a recorded program writes.
fn keep_closed() {
    for (fd, how) in [(0, libc::O_WRONLY), (1, libc::O_RDONLY), (2, libc::O_RDONLY)] {
        // SAFETY: plain calls on a static string; the lowest free number is `fd`, since those below it are open.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) < 0 {
                libc::open(c"/dev/null".as_ptr(), how);
            }
        }
    }
}

/// Returns only when it fails.
fn exec_node(cli: &Path, words: &[OsString]) -> io::Error {
    let all = iter::once(cli.as_os_str()).chain(words.iter().map(OsString::as_os_str));
    // None of them holds a NUL: they have come by exec themselves.
    let owned: Vec<CString> = all.filter_map(|word| CString::new(word.as_bytes()).ok()).collect();
    let behind = owned.iter().map(|word| word.as_ptr());
    let argv: Vec<*const c_char> = iter::once(c"node".as_ptr()).chain(behind).chain([ptr::null()]).collect();
    // SAFETY: strings and array end with NUL and NULL, and live until execvp is done.
    unsafe { libc::execvp(c"node".as_ptr(), argv.as_ptr()) };
    io::Error::last_os_error()
}

/// What the system said, without the number.
pub fn plain(error: &io::Error) -> String {
    without_number(&error.to_string()).to_owned()
}
