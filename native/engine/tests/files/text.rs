//! The text twin: the same trace as lines and back, and mistakes in the lines.

use std::io::Cursor;

use crate::common::{Folder, check_against, options, small_trace};
use trace_engine::error::EngineError;
use trace_engine::reader::{State, Trace};
use trace_engine::text::{assemble, dump};
use trace_engine::writer::Options;

fn text_of(trace: &Trace) -> String {
    let mut text = Vec::new();
    dump(trace, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn the_text_of_the_text_of_a_trace_is_the_same() {
    let folder = Folder::new("text");
    for seed in 0..20 {
        let path = folder.file("a.trace");
        let _ = std::fs::remove_file(&path);
        let batches = small_trace(&path, seed, 200);
        let text = text_of(&Trace::open(&path).unwrap());
        let again = folder.file("b.trace");
        let options = Options { force: true, ..Options::default() };
        let summary = assemble(&mut Cursor::new(&text), &again, &options).unwrap();
        assert_eq!(summary.events, 200);
        let trace = Trace::open(&again).unwrap();
        assert_eq!(trace.state(), State::Complete);
        assert_eq!(trace.header(), Trace::open(&path).unwrap().header());
        assert!(text_of(&trace) == text, "seed {seed}");
        // `wanted` above 2^53 is rounded in the columns, so compare with the batches where that cannot matter.
        if batches.iter().flat_map(|batch| &batch.captures).all(|capture| capture.wanted < 1 << 53) {
            check_against(&trace, &batches, 1);
        }
    }
}

const HEAD: &str = "trace 1\ntick 100\nstart 5\nid 00112233445566778899aabbccddeeff\n";
const THREAD: &str = "thread 0 process=1 ordinal=1 tid=7 pid=7 parent=- created=0\n";
const EVENT: &str =
    "event 0 call thread=0 code=1 arch=0 flags=0 start=0 end=100 span=0 ret=5 ip=0x1 sp=0x2 args=0x1,0x2\n";

#[test]
fn a_trace_can_be_written_by_hand() {
    let folder = Folder::new("hand");
    let path = folder.file("a.trace");
    let text = format!(
        "# by hand\n{HEAD}\n{THREAD}object 0 kind=pipe dev=1 ino=2 created=- \"pipe:[2]\" \"\"\n{EVENT}  \
         capture slot=1 side=in status=whole addr=0x10 wanted=3 \"a\\x00\\n\"\n  ref slot=0 fd=1 object=0\n"
    );
    let summary = assemble(&mut Cursor::new(&text), &path, &Options::default()).unwrap();
    assert_eq!(summary.events, 1);
    let trace = Trace::open(&path).unwrap();
    assert_eq!(trace.definitions().object(0).unwrap().path, b"pipe:[2]");
    let columns = trace.decode_block(0, trace_format::column::Projection::ALL).unwrap();
    assert_eq!(columns.bytes, b"a\0\n");
    assert_eq!(columns.args[..4], [1, 0, 2, 0]);
    assert_eq!(columns.nargs, [2]);
}

#[test]
fn mistakes_are_reported_with_their_line() {
    let folder = Folder::new("mistakes");
    let wrong = |tail: &str, line: u64, message: &str| {
        let text = format!("{HEAD}{THREAD}{tail}");
        let options = Options { force: true, ..options() };
        let error = assemble(&mut Cursor::new(&text), &folder.file("a.trace"), &options).unwrap_err();
        assert!(matches!(error, EngineError::Text { .. }));
        assert_eq!(error.to_string(), format!("line {line}: {message}"));
    };
    wrong("nonsense\n", 6, "unknown kind of line \"nonsense\"");
    wrong("trace 1\n", 6, "a second line \"trace\"");
    wrong("event 1 call\n", 6, "event 0 expected, found 1");
    wrong(
        "event 0 dance\n",
        6,
        "kind \"dance\" is none of call, signal, task, exec, exit, map, stop, note, trap, preempt",
    );
    wrong("event 0 call thread=1\n", 6, "thread 1 is not defined");
    wrong("event 0 call thread=0 code=x\n", 6, "code is no number: \"x\"");
    wrong("event 0 call thread=0 code=99999999999\n", 6, "code is out of range: 99999999999");
    wrong("event 0 call thread=0 arch=0\n", 6, "code= expected, found \"arch=0\"");
    wrong(&EVENT.replace("0x1,0x2", "1,2,3,4,5,6,7"), 6, "more than 6 arguments");
    wrong(&EVENT.replace("span=0", "span=1"), 6, "the span begins before event 0");
    wrong(&EVENT.replace("start=0", "start=200"), 6, "end 100 is before the start or too late");
    wrong("capture slot=0 side=in status=whole addr=0 wanted=0 \"\"\n", 6, "capture before any event");
    let capture = |bytes: &str| format!("{EVENT}capture slot=0 side=in status=whole addr=0 wanted=0 {bytes}\n");
    wrong(&capture("\"a"), 7, "bytes has no closing quote");
    wrong(&capture("\"\\q\""), 7, "unknown escape \"\\\\q\\\"\"");
    wrong(&capture("\"\\x0\""), 7, "unknown escape \"\\\\x0\\\"\"");
    wrong(&capture("\"\" more"), 7, "nothing expected, found \"more\"");
    wrong(&capture(""), 7, "bytes in quotes expected, found \"\"");
    wrong(&format!("{EVENT}ref slot=0 fd=0 object=3\n"), 7, "object 3 is not defined");
    wrong("thread 1 process=1 ordinal=1 tid=7 pid=7 parent=1 created=0\n", 6, "parent 1 is not defined before");
    wrong("packed 12\n", 6, "\"12\" is no hash of 64 digits");
    wrong("bytes \"\"\n", 6, "bytes without a line packed");
    let packed = format!("packed {} 1\nbytes \"a\"\n", "0".repeat(64));
    wrong(&packed, 8, "the bytes of the packed file before do not have its length and hash");

    let error = assemble(&mut Cursor::new("tick 1\nevent 0\n"), &folder.file("b.trace"), &options()).unwrap_err();
    assert_eq!(error.to_string(), "line 2: a line \"trace\" must come first");
    let error = assemble(&mut Cursor::new("trace 2\n"), &folder.file("b.trace"), &options()).unwrap_err();
    assert_eq!(error.to_string(), "line 1: version 2, this program reads 1");
    assert!(!folder.file("b.trace").exists());
}
