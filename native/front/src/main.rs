//! `trace`, as far as it does not need node: `trace record` with plain options.
//!
//! Node takes longer to start than most programs run. So this program reads the words of a plain recording (`words.rs`), runs it
//! with the engine, and does around it what `src/commands/record.ts` does. That file is the reference: whatever is not read here,
//! and whatever fails before the recorded program has started, is left to `dist/cli.cjs` (`node.rs`), which then does or says it.
//!
//! Signal dispositions, descriptors and limits of this process stay as they were when it was started, so the recorded program
//! has them as it would have without us. That is why there is no `main` of the standard library: it ignores SIGPIPE and opens
//! closed streams before anything can be remembered.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code, reason = "what runs a recording is tested as a process, by test/record"))]

mod node;
mod report;
mod signals;
mod state;
mod words;

use std::env;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use libc::c_int;
use trace_engine::end;
use trace_engine::error::EngineError;
use trace_engine::launch::{Program, Surroundings};
use trace_engine::record::{self, Control, Options, Outcome};

use crate::signals::Held;
use crate::words::Plain;

/// Exit code of a recording that fails for reasons of its own.
const FAILURE: c_int = 125;

/// Called by the C library, which has also handed the arguments to `std::env`.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main() -> c_int {
    run()
}

fn run() -> c_int {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    let plain = words::read(&words).filter(|_| state::is_readable());
    let output = plain.as_ref().and_then(output_of);
    match (plain, output) {
        (Some(plain), Some(output)) => record_plainly(plain, output, &words),
        _ => node::exec(&words),
    }
}

/// Records, and ends as the program ended. Returns the exit code when neither that nor node comes to it.
fn record_plainly(plain: Plain, output: PathBuf, words: &[OsString]) -> c_int {
    fill_standard_streams();
    let held = Held::new();
    let told = report::Told { quiet: plain.quiet, verbose: plain.verbose };
    let options = Options {
        program: Program { argv: plain.command, surroundings: Surroundings::Kept(held.before()), ..Program::default() },
        output,
        force: plain.force,
        data: plain.data,
        detach_on_exit: plain.detach_on_exit,
        unpinned: plain.unpinned,
        observe: plain.observe,
        backend: plain.backend,
        ..Options::default()
    };
    let control = Arc::new(Control::default());
    held.pass_on(&control);
    let came = catch_unwind(AssertUnwindSafe(|| record::record(&options, &control)));
    match came.unwrap_or(Err(EngineError::Broken { part: "recorder" })) {
        Ok(outcome) => {
            held.release();
            finish(&outcome, &options.output, &told)
        }
        Err(error @ EngineError::Broken { .. }) => {
            report::say(&format!("trace: {error}\n"));
            end::exit_now(FAILURE)
        }
        // Nothing has run: who explains it best tries it once more.
        Err(_) => {
            held.restore();
            node::exec(words)
        }
    }
}

fn finish(outcome: &Outcome, output: &Path, told: &report::Told) -> c_int {
    state::remember_latest(output);
    if let Some(text) = told.text(outcome, output) {
        report::say(&text);
    }
    let signal = libc::WTERMSIG(outcome.status);
    if signal == 0 {
        end::exit_now(libc::WEXITSTATUS(outcome.status));
    }
    end::die_by_signal(signal);
    end::exit_now(128 + signal)
}

/// Where the trace goes; absolute, since the program may remove the directory that it starts in. `None` when node would name
/// another file, as it does where names are not UTF-8.
fn output_of(plain: &Plain) -> Option<PathBuf> {
    let named = match &plain.output {
        Some(output) => output.to_str()?.to_owned(),
        None => record::free_name(&plain.command.first()?.to_string_lossy()),
    };
    if named.is_empty() {
        return None;
    }
    if named.starts_with('/') {
        return Some(normal(Path::new(&named)));
    }
    match env::current_dir() {
        Ok(folder) => folder.to_str().map(|folder| normal(&Path::new(folder).join(&named))),
        Err(_) => Some(named.into()),
    }
}

/// Without `.` and `..`, by the look of the path alone, as `path.resolve` does it.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut whole, part| {
        match part {
            Component::ParentDir => _ = whole.pop(),
            Component::CurDir => {}
            other => whole.push(other),
        }
        whole
    })
}

/// Puts something behind those of the descriptors 0 to 2 that are closed, so that no file of ours gets such a number. The
/// program does not inherit it.
fn fill_standard_streams() {
    for fd in 0..=2 {
        // SAFETY: plain calls on a static string; the lowest free number is `fd`, since those below it are open.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) < 0 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_normal_without_looking() {
        for (path, wanted) in
            [("/a/./b//c/", "/a/b/c"), ("/a/../b", "/b"), ("/../x", "/x"), ("/a/b/..", "/a"), ("/", "/")]
        {
            assert_eq!(normal(Path::new(path)), Path::new(wanted));
        }
    }
}
