//! Recordings that are replayed: whole and in parts, faithful and changed, and with damage of every sort.

#[path = "files/common.rs"]
mod common;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Folder, Random};
use trace_engine::error::EngineError;
use trace_engine::reader::Trace;
use trace_engine::replay::{Control, DesyncReason, Options, Outcome, Output, StopKind, replay};
use trace_engine::text::{assemble, dump};
use trace_engine::{record, writer};
use trace_format::event::EventKind;

const SHELL: &[&str] =
    &["/bin/sh", "-c", "trap 'echo caught' USR1; echo begin; (kill -USR1 $$; echo child) | cat; echo end >&2"];

// Recorders and replayers wait for the children of their own thread, but signals and descriptors belong to the process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn recorded(folder: &Folder, argv: &[&str]) -> PathBuf {
    let path = folder.file("recorded.trace");
    let mut options = record::Options { output: path.clone(), force: true, ..record::Options::default() };
    options.program.argv = argv.iter().map(Into::into).collect();
    let outcome = record::record(&options, &Arc::new(record::Control::default())).unwrap();
    assert_eq!(outcome.status, 0);
    path
}

struct Collect(mpsc::Sender<(u8, Vec<u8>)>);

impl Output for Collect {
    fn write(&mut self, stream: u8, bytes: &[u8]) {
        self.0.send((stream, bytes.to_vec())).unwrap();
    }
}

fn replayed(path: &Path, options: &Options) -> (Result<Outcome, EngineError>, Vec<(u8, String)>) {
    let trace = Trace::open(path).unwrap();
    let (send, receive) = mpsc::channel();
    let outcome = replay(&trace, options, Box::new(Collect(send)), &Arc::new(Control::default()));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (outcome, receive.iter().map(|(stream, bytes)| (stream, text(bytes))).collect())
}

/// The same trace with its text changed.
fn changed(folder: &Folder, path: &Path, change: impl FnOnce(String) -> String) -> Option<PathBuf> {
    let mut text = Vec::new();
    dump(&Trace::open(path).unwrap(), &mut text).unwrap();
    let text = change(String::from_utf8(text).unwrap());
    let target = folder.file("changed.trace");
    let options = writer::Options { force: true, ..writer::Options::default() };
    assemble(&mut Cursor::new(text), &target, &options).ok().map(|_| target)
}

#[test]
fn a_tree_of_processes_replays_whole_in_parts_and_in_parallel() {
    let _alone = ONE_AT_A_TIME.lock();
    let folder = Folder::new("replay-tree");
    let path = recorded(&folder, SHELL);
    let (outcome, output) = replayed(&path, &Options::default());
    let outcome = outcome.unwrap();
    assert!(outcome.desyncs.is_empty(), "{:?}", outcome.desyncs);
    assert_eq!(outcome.cut_at, None);
    // (Which stream it is cannot be told where both are one file, as they are under most test runners.)
    assert_eq!(output.last().map(|(_, line)| line.as_str()), Some("end\n"));
    let mut lines: Vec<&str> = output.iter().map(|(_, line)| line.trim()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["begin", "caught", "child", "end"]);

    for jobs in [1, 2, 64] {
        let (outcome, same) = replayed(&path, &Options { jobs: Some(jobs), ..Options::default() });
        assert!(outcome.unwrap().desyncs.is_empty());
        assert_eq!(same, output);
    }

    // The process that became cat.
    let threads = Trace::open(&path).unwrap().definitions().threads().len() as u64;
    let (alone, lines) = replayed(&path, &Options { process: Some(3), ..Options::default() });
    let alone = alone.unwrap();
    assert!(alone.desyncs.is_empty() && alone.events < outcome.events && u64::from(alone.threads) < threads);
    assert_eq!(lines, [(1, "child\n".to_owned())]);

    let (none, _) = replayed(&path, &Options { process: Some(77), ..Options::default() });
    assert_eq!(none.unwrap_err().code(), "no-process");
}

#[test]
fn a_changed_byte_of_output_is_the_first_difference() {
    let _alone = ONE_AT_A_TIME.lock();
    let folder = Folder::new("replay-changed");
    let path = recorded(&folder, &["/bin/echo", "one two"]);
    let path = changed(&folder, &path, |text| text.replace("\"one two\\n\"", "\"one too\\n\"")).unwrap();
    let (outcome, _) = replayed(&path, &Options::default());
    let outcome = outcome.unwrap();
    let [desync] = outcome.desyncs.as_slice() else { panic!("{:?}", outcome.desyncs) };
    assert!(matches!(desync.reason, DesyncReason::Memory { slot: 1, offset: 5, .. }), "{:?}", desync.reason);
    assert_eq!(desync.kind, EventKind::Call);
    assert_eq!(
        (desync.expected_bytes.as_slice(), desync.actual_bytes.as_slice()),
        (&b"one too\n"[..], &b"one two\n"[..])
    );
    let actual = desync.actual.as_ref().unwrap();
    assert_eq!((actual.kind, i64::from(actual.number)), (StopKind::Call, libc::SYS_write));
    assert!(actual.bytes.ends_with(b"one two\n"));
    assert!(desync.maps.lines().count() > 4);

    // Reported and passed over.
    let (outcome, lines) = replayed(&path, &Options { warn_only: true, ..Options::default() });
    assert_eq!(outcome.unwrap().desyncs.len(), 1);
    assert_eq!(lines, [(1, "one too\n".to_owned())]);
}

#[test]
fn what_cannot_be_replayed_says_why() {
    let _alone = ONE_AT_A_TIME.lock();
    let folder = Folder::new("replay-refused");
    let path = recorded(&folder, &["/bin/true"]);
    let code = |from: &str, to: &str| {
        let path = changed(&folder, &path, |text| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        let (outcome, _) = replayed(&path.unwrap(), &Options::default());
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains(' '));
        error.code()
    };
    assert_eq!(code("\"mode\" \"replayable\"", "\"mode\" \"observe\""), "observe-mode");
    let head = folder.file("head.trace");
    std::fs::write(&head, &std::fs::read(&path).unwrap()[..100]).unwrap();
    assert_eq!(replayed(&head, &Options::default()).0.unwrap_err().code(), "cut");
    assert_eq!(code("\"unreplayable\" \"\"", "\"unreplayable\" \"it maps /dev/dri/card0\""), "unreplayable");
    // Where cpuid can be caught the features count that programs were told of, elsewhere the processor itself.
    let features = trace_engine::cpu::features::text(trace_engine::cpu::features::Level::Host);
    let features = format!("\"cpu_features\" \"{features}\"");
    let cpu = format!("\"cpu\" \"{}\"", trace_engine::cpu::describe());
    let caught = {
        let mut text = Vec::new();
        dump(&Trace::open(&path).unwrap(), &mut text).unwrap();
        String::from_utf8(text).unwrap().contains(&features)
    };
    let (from, to) = if caught {
        (features, "\"cpu_features\" \"ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff\"")
    } else {
        (cpu, "\"cpu\" \"GenuineMartian 6-1-1\"")
    };
    assert_eq!(code(&from, to), "other-cpu");
}

#[test]
fn a_replay_can_be_ended_from_outside() {
    let _alone = ONE_AT_A_TIME.lock();
    let folder = Folder::new("replay-abort");
    let path = recorded(&folder, &["/bin/true"]);
    let control = Arc::new(Control::default());
    control.abort();
    let (send, _receive) = mpsc::channel();
    let outcome = replay(&Trace::open(&path).unwrap(), &Options::default(), Box::new(Collect(send)), &control);
    assert_eq!(outcome.unwrap_err().code(), "aborted");
}

/// Replaces one number of an event.
fn damage(text: &str, random: &mut Random) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_event = |line: &&str| line.starts_with("event ") || line.trim_start().starts_with("capture ");
    let events: Vec<usize> = (0..lines.len()).filter(|at| is_event(&lines[*at])).collect();
    let at = events[random.word() as usize % events.len()];
    let numbers: Vec<(usize, usize)> = lines[at]
        .match_indices("0x")
        .map(|(start, _)| {
            let rest = &lines[at][start + 2..];
            (start, start + 2 + rest.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(rest.len()))
        })
        .collect();
    let mut line = lines[at].to_owned();
    if numbers.is_empty() || random.word().is_multiple_of(4) {
        line = line.replace("ret=0", "ret=7").replace("code=9 ", "code=11 ").replace("flags=0", "flags=1");
    } else {
        let (start, end) = numbers[random.word() as usize % numbers.len()];
        let value = match random.word() % 4 {
            0 => 0,
            1 => u64::MAX - random.word() % 4096,
            2 => random.word() >> (random.word() % 64),
            _ => 1 << (random.word() % 64),
        };
        line.replace_range(start..end, &format!("{value:#x}"));
    }
    let mut changed: Vec<&str> = lines.clone();
    changed[at] = &line;
    changed.join("\n") + "\n"
}

#[test]
fn damage_never_does_worse_than_a_desync_or_an_error() {
    let _alone = ONE_AT_A_TIME.lock();
    let folder = Folder::new("replay-damage");
    let path = recorded(&folder, SHELL);
    let options = Options { mute: true, stuck_after: Duration::from_millis(300), ..Options::default() };
    let mut differences = 0;
    for seed in 0..50 {
        let mut random = Random(seed);
        let Some(path) = changed(&folder, &path, |text| damage(&text, &mut random)) else { continue };
        match replayed(&path, &options).0 {
            Ok(outcome) => differences += usize::from(!outcome.desyncs.is_empty()),
            Err(error) => {
                assert_ne!(error.code(), "broken", "seed {seed}: {error}");
                differences += 1;
            }
        }
    }
    assert!(differences > 10, "only {differences} of the changes made a difference");
    // Nobody is left behind.
    // SAFETY: no pointer is kept; only asks whether there are children.
    let left = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
    assert_eq!(left, -1);
}
