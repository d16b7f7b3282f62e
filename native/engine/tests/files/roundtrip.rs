//! What goes into a trace comes out of it: all columns, any selection of them, equal contents once, bounded memory.

use crate::common::{Folder, Random, check_against, definitions, options, wild_batch, write};
use trace_engine::raw::{Definition, RawBatch, RawCapture, RawEvent};
use trace_engine::reader::{State, Trace};
use trace_engine::writer::{Options, Writer};
use trace_format::column::{Columns, NO_CONTENT, Projection};
use trace_format::event::{EventKind, Side, Status};
use trace_format::limits;

fn wild_batches(random: &mut Random, sizes: &[usize]) -> Vec<RawBatch> {
    let mut clock = 0;
    let mut seq = 0;
    let mut batches = Vec::new();
    for &size in sizes {
        let mut batch = wild_batch(random, seq, size, &mut clock);
        if batches.is_empty() {
            batch.definitions = definitions(random);
        }
        seq += size as u64;
        batches.push(batch);
    }
    batches
}

#[test]
fn wild_events_come_back() {
    let folder = Folder::new("wild");
    for seed in 0..60 {
        let mut random = Random(seed);
        let batches = wild_batches(&mut random, &[1, 0, 300, 17]);
        let path = folder.file(&format!("{seed}.trace"));
        let tick_ns = [1, 100, 1_000][seed as usize % 3];
        let summary = write(&path, &Options { tick_ns, ..options() }, &batches);
        assert!(summary.failure.is_none());
        assert_eq!((summary.events, summary.lost), (318, 0));
        assert_eq!(summary.bytes_total, std::fs::metadata(&path).unwrap().len());
        let trace = Trace::open(&path).unwrap();
        assert_eq!(trace.state(), State::Complete);
        assert!(trace.damage().is_none());
        assert_eq!(trace.totals().events, 318);
        check_against(&trace, &batches, tick_ns.into());
    }
}

#[test]
fn many_blocks_come_back_through_the_thread() {
    let folder = Folder::new("thread");
    let mut random = Random(11);
    let batches = wild_batches(&mut random, &[5_000; 20]);
    let path = folder.file("a.trace");
    let writer = Writer::create(&path, &options()).unwrap();
    for batch in &batches {
        let copy = RawBatch {
            definitions: batch.definitions.clone(),
            events: batch.events.clone(),
            captures: batch.captures.clone(),
            refs: batch.refs.clone(),
            bytes: batch.bytes.clone(),
            ..RawBatch::default()
        };
        assert!(writer.send(copy).is_empty());
    }
    assert_eq!(Trace::open(&path).unwrap().state(), State::Recording);
    let summary = writer.finish();
    assert!(summary.failure.is_none());
    let trace = Trace::open(&path).unwrap();
    assert!(trace.blocks().len() >= 4);
    assert_eq!(trace.state(), State::Complete);
    check_against(&trace, &batches, 1);
    for seq in [0, 1, 32_767, 32_768, 50_000, 99_999] {
        let block = trace.blocks()[trace.block_of(seq).unwrap()];
        assert!(block.first_seq <= seq && seq < block.first_seq + u64::from(block.count));
    }
    assert_eq!(trace.block_of(100_000), None);
}

#[test]
fn definitions_come_back() {
    let folder = Folder::new("definitions");
    let mut random = Random(5);
    let batches = wild_batches(&mut random, &[10]);
    let path = folder.file("a.trace");
    write(&path, &options(), &batches);
    let trace = Trace::open(&path).unwrap();
    let found = trace.definitions();
    assert!(trace.definitions_damage().is_none());
    assert_eq!(found.meta_value("command"), Some(&b"prog\0-y\0"[..]));
    assert_eq!(found.meta().len(), 2);
    let (mut threads, mut objects) = (0, 0);
    for definition in &batches[0].definitions {
        match definition {
            Definition::Thread { process, ordinal, tid, pid, parent, created_by } => {
                let thread = &found.threads()[threads];
                assert_eq!((thread.process, thread.ordinal, thread.tid, thread.pid), (*process, *ordinal, *tid, *pid));
                assert_eq!((thread.parent, thread.created_by), (*parent, *created_by));
                threads += 1;
            }
            Definition::Object { kind, path, detail, dev, ino, created_by } => {
                let object = found.object(objects).unwrap();
                assert_eq!((object.kind, object.path, object.detail), (*kind, &path[..], &detail[..]));
                assert_eq!((object.dev, object.ino, object.created_by), (*dev, *ino, *created_by));
                objects += 1;
            }
            Definition::Meta { .. } => {}
        }
    }
    assert_eq!((threads, objects), (found.threads().len(), found.object_count()));
}

#[test]
fn a_selection_of_columns_is_a_part_of_all() {
    let folder = Folder::new("projection");
    let path = folder.file("a.trace");
    write(&path, &options(), &wild_batches(&mut Random(21), &[2_000]));
    let trace = Trace::open(&path).unwrap();
    let all = trace.decode_block(0, Projection::ALL).unwrap();
    for bits in 0..128 {
        let bit = |place: u32| bits >> place & 1 == 1;
        let projection = Projection {
            args: bit(0),
            place: bit(1),
            captures: bit(2),
            refs: bit(3),
            results: bit(4),
            spans: bit(5),
            contents: bit(6),
        };
        let mut expected = all.clone();
        if !projection.results {
            expected.ret.clear();
        }
        if !projection.spans {
            expected.span.clear();
        }
        if !projection.args {
            expected.args.clear();
        }
        if !projection.place {
            expected = Columns { ip: Vec::new(), sp: Vec::new(), ..expected };
        }
        if !projection.captures {
            expected = Columns { cap_addr: Vec::new(), cap_wanted: Vec::new(), ..expected };
        }
        if !projection.has_contents() {
            expected = Columns {
                cap_start: Vec::new(),
                cap_slot: Vec::new(),
                cap_side: Vec::new(),
                cap_status: Vec::new(),
                cap_addr: Vec::new(),
                cap_wanted: Vec::new(),
                cap_content: Vec::new(),
                content_start: Vec::new(),
                bytes: Vec::new(),
                ..expected
            };
        }
        if !projection.refs {
            expected = Columns {
                ref_start: Vec::new(),
                ref_slot: Vec::new(),
                ref_fd: Vec::new(),
                ref_object: Vec::new(),
                ..expected
            };
        }
        assert!(trace.decode_block(0, projection).unwrap() == expected, "{projection:?}");
    }
}

fn call(seq: u64, captures: u16) -> RawEvent {
    RawEvent {
        kind: EventKind::Call,
        flags: 0,
        arch: 0,
        nargs: 3,
        code: 0,
        thread: 0,
        start: seq * 1000,
        end: seq * 1000 + 500,
        entry_seq: seq,
        args: [3, 0x7000, 4096, 0, 0, 0],
        ret: 100,
        ip: 0x40_1000,
        sp: 0x7fff_0000,
        captures,
        refs: 0,
    }
}

fn one_thread() -> Vec<Definition> {
    vec![Definition::Thread { process: 1, ordinal: 1, tid: 9, pid: 9, parent: None, created_by: 0 }]
}

fn capture(len: usize) -> RawCapture {
    let len = len as u32;
    RawCapture { slot: 1, side: Side::Out, status: Status::Whole, addr: 0x7000, wanted: len.into(), len }
}

#[test]
fn equal_contents_are_stored_once() {
    let folder = Folder::new("dedupe");
    let path = folder.file("a.trace");
    let content = Random(1).bytes(10_000);
    let mut batch = RawBatch { definitions: one_thread(), ..RawBatch::default() };
    for seq in 0..50_000 {
        batch.events.push(call(seq, u16::from(seq % 100 == 0)));
        if seq % 100 == 0 {
            batch.captures.push(capture(content.len()));
            batch.bytes.extend_from_slice(&content);
        }
    }
    let summary = write(&path, &options(), &[batch]);
    assert!(summary.bytes_content < 10_200, "{} bytes of content", summary.bytes_content);
    assert_eq!(summary.bytes_deduplicated, 499 * 10_000);
    let trace = Trace::open(&path).unwrap();
    for number in 0..trace.blocks().len() {
        let columns = trace.decode_block(number, Projection::ALL).unwrap();
        assert_eq!(columns.content_start, [0, 10_000]);
        assert_eq!(columns.bytes, content);
        assert!(columns.cap_content.iter().all(|&index| index == 0));
    }
}

#[test]
fn large_contents_come_back_and_what_is_too_large_is_cut() {
    let folder = Folder::new("large");
    let path = folder.file("a.trace");
    let content = Random(2).bytes(1 << 20).repeat(70);
    let mut batches = Vec::new();
    for (seq, len) in [1 << 18, (1 << 18) + 1, 3 << 20, content.len()].into_iter().enumerate() {
        let mut batch = RawBatch { events: vec![call(seq as u64, 1)], ..RawBatch::default() };
        batch.captures.push(capture(len));
        batch.bytes.extend_from_slice(&content[..len]);
        batches.push(batch);
    }
    batches[0].definitions = one_thread();
    let summary = write(&path, &options(), &batches);
    assert!(summary.failure.is_none());
    assert!(summary.bytes_content < 5 << 20, "{} bytes of content", summary.bytes_content);
    let trace = Trace::open(&path).unwrap();
    let (mut lens, mut statuses) = (Vec::new(), Vec::new());
    for number in 0..trace.blocks().len() {
        let columns = trace.decode_block(number, Projection::ALL).unwrap();
        for &index in &columns.cap_content {
            assert_ne!(index, NO_CONTENT);
            let range =
                columns.content_start[index as usize] as usize..columns.content_start[index as usize + 1] as usize;
            lens.push(range.len());
            assert!(columns.bytes[range.clone()] == content[..range.len()]);
        }
        statuses.extend(columns.cap_status);
    }
    assert_eq!(lens, [1 << 18, (1 << 18) + 1, 3 << 20, limits::MAX_EVENT_BYTES as usize]);
    assert_eq!(statuses, [0, 0, 0, Status::Truncated as u8]);
}

#[test]
fn forgotten_contents_are_stored_again() {
    let folder = Folder::new("forget");
    let path = folder.file("a.trace");
    let contents: Vec<_> = (0..40).map(|seed| Random(seed).bytes(5_000)).collect();
    let mut batch = RawBatch { definitions: one_thread(), ..RawBatch::default() };
    for seq in 0..80 {
        batch.events.push(call(seq, 1));
        batch.captures.push(capture(5_000));
        batch.bytes.extend_from_slice(&contents[seq as usize % 40]);
    }
    let batches = [batch];
    let deduplicated = |remembered_chunks| {
        let options = Options { force: true, remembered_chunks, ..options() };
        write(&path, &options, &batches).bytes_deduplicated
    };
    assert_eq!(deduplicated(40), 200_000);
    assert_eq!(deduplicated(39), 0);
    check_against(&Trace::open(&path).unwrap(), &batches, 1);
}

#[test]
fn spanning_calls_are_those_with_a_span() {
    let folder = Folder::new("span");
    let path = folder.file("a.trace");
    let batches = wild_batches(&mut Random(31), &[400]);
    write(&path, &options(), &batches);
    let expected: Vec<_> = batches
        .iter()
        .flat_map(|batch| &batch.events)
        .zip(0u64..)
        .filter(|(event, seq)| event.entry_seq < *seq)
        .map(|(event, seq)| (event.entry_seq, seq))
        .collect();
    assert!(expected.len() > 50);
    assert_eq!(Trace::open(&path).unwrap().spanning_calls(0).unwrap(), expected);
}

#[test]
fn events_are_in_the_file_a_second_later() {
    let folder = Folder::new("flush");
    let path = folder.file("a.trace");
    let writer = Writer::create(&path, &options()).unwrap();
    writer.send(RawBatch { definitions: one_thread(), events: vec![call(0, 0), call(1, 0)], ..RawBatch::default() });
    let begin = std::time::Instant::now();
    loop {
        let trace = Trace::open(&path).unwrap();
        if trace.totals().events == 2 {
            assert_eq!(trace.state(), State::Recording);
            break;
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(60), "nothing was written");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // Dropped without `finish`, as when the recorder dies.
    drop(writer);
    let begin = std::time::Instant::now();
    while Trace::open(&path).unwrap().state() == State::Recording {
        assert!(begin.elapsed() < std::time::Duration::from_secs(60));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let trace = Trace::open(&path).unwrap();
    assert_eq!((trace.state(), trace.totals().events), (State::Cut, 2));
    assert!(trace.damage().is_none());
}
