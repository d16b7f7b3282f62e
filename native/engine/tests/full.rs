//! A file that can no longer be written: nothing stops, the trace ends on a whole frame, and the counts are right.

#[path = "files/common.rs"]
mod common;

use common::{Folder, Random, definitions, options, wild_batch};
use trace_engine::reader::{State, Trace};
use trace_engine::writer::{Options, Writer};
use trace_format::column::Projection;

const LIMIT: u64 = 300_000;

// One test in this program: the limit is one of the whole process.
#[test]
fn a_full_disk_cuts_the_trace_and_stops_nothing() {
    let folder = Folder::new("full");
    let device = Options { force: true, ..options() };
    let error = Writer::create("/dev/full".as_ref(), &device).err().unwrap();
    assert_eq!(error.code(), "disk-full");

    let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: setrlimit reads the structure, which outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
    let path = folder.file("a.trace");
    let writer = Writer::create(&path, &options()).unwrap();
    let mut random = Random(77);
    let mut clock = 0;
    let mut sent = 0;
    for number in 0..60 {
        let mut batch = wild_batch(&mut random, number * 5_000, 5_000, &mut clock);
        if number == 0 {
            batch.definitions = definitions(&mut random);
        }
        sent += batch.events.len() as u64;
        assert!(writer.send(batch).is_empty());
    }
    let begin = std::time::Instant::now();
    while !writer.has_failed() && begin.elapsed() < std::time::Duration::from_secs(60) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(writer.has_failed());
    let summary = writer.finish();
    let failure = summary.failure.unwrap();
    assert_eq!(failure.code(), "io");
    assert!(failure.to_string().contains("cannot write"), "{failure}");
    assert_eq!(summary.events + summary.lost, sent);
    assert!(summary.lost > 0);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), summary.bytes_total);
    assert!(summary.bytes_total <= LIMIT);

    let trace = Trace::open(&path).unwrap();
    assert_eq!(trace.state(), State::Cut);
    assert!(trace.damage().is_none());
    assert_eq!(trace.totals().events, summary.events);
    for number in 0..trace.blocks().len() {
        trace.decode_block(number, Projection::ALL).unwrap();
    }
}
