//! What is said of a recording besides its events: the facts at the head of the trace, its name, and the line at the end.

use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use libc::pid_t;

use super::{Backend, Options, Outcome};
use crate::image;
use crate::launch::Program;
use crate::memory::Data;

/// Facts of the start, by key. Bytes that are not UTF-8 are replaced by U+FFFD, as WHATWG's decoder does.
pub(super) fn of(program: &Program) -> [(&'static str, String); 3] {
    let argv: Vec<_> = program.argv.iter().map(|word| word.to_string_lossy()).collect();
    // The working directory may have been removed, or be unreadable: that is the program's business.
    let cwd = program.cwd.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_default();
    [
        ("argv", serde_json::to_string(&argv).unwrap_or_default()),
        ("cwd", cwd.to_string_lossy().into_owned()),
        ("kernel", kernel_release()),
    ]
}

/// What a process runs, and where, as it would be started again.
pub(super) fn running(pid: pid_t) -> Program {
    let words = image::command_line(pid);
    let words = words.strip_suffix(&[0]).unwrap_or(&words);
    let argv = words.split(|byte| *byte == 0).filter(|_| !words.is_empty()).map(|word| OsStr::from_bytes(word).into());
    // Of a directory that was removed the kernel says so behind its name.
    let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    Program { argv: argv.collect(), cwd: Some(cwd), ..Program::default() }
}

/// The options that keep a recording from being replayed, as they are written: what is left out, goes on unobserved, or has no
/// result cannot be replayed. None: it can.
pub(super) fn observed_by(options: &Options) -> Vec<String> {
    let mut words = Vec::new();
    let mut add = |is_given: bool, word: &str| {
        if is_given {
            words.push(word.to_owned());
        }
    };
    add(options.observe, "--observe");
    add(options.backend == Backend::Notify, "--backend=notify");
    add(!options.attach.is_empty(), "-p");
    add(options.only.is_some(), "-e");
    add(options.data != Data::All, &format!("--data={}", options.data.name()));
    add(options.detach_on_exit, "--detach-on-exit");
    words
}

/// What `uname -r` prints.
fn kernel_release() -> String {
    let mut names = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: uname fills the struct; zeroed, it holds empty strings, and the kernel ends each with a NUL.
    unsafe {
        libc::uname(names.as_mut_ptr());
        CStr::from_ptr((*names.as_ptr()).release.as_ptr()).to_string_lossy().into_owned()
    }
}

/// `<program>-<n>.trace` with the smallest free n, in the working directory.
#[must_use]
pub fn free_name(program: &str) -> String {
    let stem = match program.trim_end_matches('/').rsplit('/').next() {
        None | Some("") => "trace",
        Some(name) => name,
    };
    let mut n = 1_u64;
    loop {
        let name = format!("{stem}-{n}.trace");
        if !Path::new(&name).exists() {
            return name;
        }
        n += 1;
    }
}

impl Outcome {
    /// What was recorded, in one line.
    #[must_use]
    pub fn line(&self, output: &Path) -> String {
        let (events, processes, bytes) = (self.summary.events, self.processes, self.summary.bytes_total);
        let noun = if processes == 1 { "process" } else { "processes" };
        let precision = usize::from(bytes < 10 << 10);
        let kib = bytes as f64 / 1024.0;
        let seconds = self.duration_ns as f64 / 1e9;
        let missing: u64 = self.lost.iter().sum();
        let unreadable = if missing > 0 { format!(", {missing} partly unreadable") } else { String::new() };
        format!(
            "{events} events, {processes} {noun}, {kib:.precision$} KiB, {seconds:.2} s{unreadable} -> {}",
            output.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Summary;

    #[test]
    fn a_name_comes_from_the_last_part_of_the_path() {
        for (program, stem) in
            [("ls", "ls"), ("./a/b", "b"), ("/bin/ls//", "ls"), ("", "trace"), ("/", "trace"), ("..", "..")]
        {
            assert_eq!(free_name(program), format!("{stem}-1.trace"));
        }
    }

    #[test]
    fn arguments_are_json_with_what_is_not_utf8_replaced() {
        use std::os::unix::ffi::OsStringExt as _;
        let words: [&[u8]; 3] = [b"a\"\\\n\x01\x7f", b"\xff\xe2\x82z", b"\xed\xa0\x80"];
        let program = Program {
            argv: words.iter().map(|word| std::ffi::OsString::from_vec(word.to_vec())).collect(),
            ..Program::default()
        };
        let argv = of(&program)[0].1.clone();
        assert_eq!(argv, "[\"a\\\"\\\\\\n\\u0001\x7f\",\"\u{fffd}\u{fffd}z\",\"\u{fffd}\u{fffd}\u{fffd}\"]");
    }

    #[test]
    fn the_line_counts() {
        let summary = Summary { events: 30, bytes_total: 2560, ..Summary::default() };
        let mut outcome = Outcome {
            status: 0,
            processes: 1,
            threads: 1,
            duration_ns: 1_234_000_000,
            summary,
            lost: [0; 4],
            notes: Vec::new(),
        };
        assert_eq!(outcome.line(Path::new("x")), "30 events, 1 process, 2.5 KiB, 1.23 s -> x");
        outcome.processes = 2;
        outcome.lost = [1, 0, 2, 0];
        outcome.summary.bytes_total = 20 << 10;
        assert_eq!(outcome.line(Path::new("x")), "30 events, 2 processes, 20 KiB, 1.23 s, 3 partly unreadable -> x");
    }
}
