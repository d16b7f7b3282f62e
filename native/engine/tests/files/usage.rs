//! What was done with each path: the sums that a writer stores are those of the events.

use std::path::Path;

use crate::common::{Folder, Random, options, wild_batch};
use trace_engine::raw::{Definition, ObjectKind, RawBatch, RawCapture, RawEvent, RawRef};
use trace_engine::reader::Trace;
use trace_engine::text::{assemble, dump};
use trace_engine::usage::{Sums, Usage, usage};
use trace_engine::writer::{BlockWriter, Options};
use trace_format::event::{EventKind, Side, Status, flag, slot};
use trace_format::frame::{FRAME_HEADER_BYTES, FrameKind};
use trace_format::syscalls::{SYSCALLS, by_name};
use trace_format::table::{Arch, Dir, Ty};

/// Paths as programs give them.
fn path(random: &mut Random) -> Vec<u8> {
    let mut path = match random.below(6) {
        0 => b"/srv/".to_vec(),
        1 => b"/srv/./data//".to_vec(),
        2 => b"../".to_vec(),
        3 if random.one_in(3) => return b"\0".to_vec(),
        _ => Vec::new(),
    };
    match random.below(8) {
        0 => path.extend(b"\xff\xfe"),
        // Too long to stay in a block.
        1 => path.extend(format!("{:0>80}", random.below(4)).bytes()),
        _ => path.extend(format!("file{}", random.below(20)).bytes()),
    }
    path.push(0);
    path
}

const OBJECTS: u64 = 30;

fn definitions(random: &mut Random) -> Vec<Definition> {
    let mut all = Vec::new();
    for index in 0..4 {
        let parent = (index > 0).then_some(0);
        all.push(Definition::Thread { process: index + 1, ordinal: 1, tid: 1, pid: 1, parent, created_by: 0 });
    }
    for _ in 0..OBJECTS {
        let mut path = path(random);
        path.pop();
        if random.one_in(2) {
            path.splice(0..0, b"/srv/".iter().copied());
        }
        let kinds = [ObjectKind::File, ObjectKind::Dir, ObjectKind::Pipe, ObjectKind::Unknown, ObjectKind::CharDevice];
        let kind = kinds[random.below(5) as usize];
        all.push(Definition::Object { kind, path, detail: Vec::new(), dev: 1, ino: random.below(9), created_by: None });
    }
    all
}

/// Any syscall with something in each of its paths and descriptors, and now and then an event that is no call.
fn event(random: &mut Random, clock: &mut u64, batch: &mut RawBatch) {
    let (arch, code, row) = loop {
        let row = &SYSCALLS[random.below(SYSCALLS.len() as u64) as usize];
        let name = ["openat", "newfstatat", "read", "write", "rename", "sendfile", "copy_file_range"];
        let arch = if random.one_in(4) { Arch::I386 } else { Arch::X86_64 };
        let row = if random.one_in(2) { by_name(arch, name[random.below(7) as usize]).unwrap_or(row) } else { row };
        if let Some(number) = row.number.on(arch) {
            break (arch, number, row);
        }
    };
    let kind = match random.below(20) {
        0 => EventKind::Exec,
        1 => EventKind::Map,
        2 => EventKind::Signal,
        _ => EventKind::Call,
    };
    let (captures_at, refs_at) = (batch.captures.len(), batch.refs.len());
    for (slot, arg) in (0u8..).zip(row.args) {
        let is_path = arg.ty == Ty::Path && arg.dir == Dir::In || slot == 0 && kind != EventKind::Call;
        for side in [Side::In, Side::Resolved, Side::Out] {
            if random.one_in(if side == Side::In { 8 } else { 2 }) || !(is_path || random.one_in(5)) {
                continue;
            }
            let bytes = path(random);
            let len = bytes.len() as u32;
            batch.captures.push(RawCapture { slot, side, status: Status::Whole, addr: 0, wanted: len.into(), len });
            batch.bytes.extend(bytes);
        }
        if matches!(arg.ty, Ty::Fd | Ty::DirFd) && !random.one_in(9) {
            batch.refs.push(RawRef { slot, fd: 3, object: random.below(OBJECTS) as u32 });
        }
    }
    if random.one_in(2) {
        batch.refs.push(RawRef { slot: slot::CWD, fd: -1, object: random.below(OBJECTS) as u32 });
    }
    let flags = [0, 0, 0, flag::ERROR, flag::INTERRUPTED, flag::NO_RESULT][random.below(6) as usize];
    let start = *clock;
    // Often at the same time as others.
    *clock += [0, 0, 150, 40_000][random.below(4) as usize];
    batch.events.push(RawEvent {
        kind,
        flags,
        arch: arch as u8,
        nargs: row.args.len() as u8,
        code: code.into(),
        thread: random.below(4) as u32,
        start,
        end: start + random.below(5000),
        entry_seq: 0,
        args: [3; 6],
        ret: if random.one_in(50) { random.wild() as i64 } else { random.below(9000) as i64 },
        ip: 0,
        sp: 0,
        captures: (batch.captures.len() - captures_at) as u16,
        refs: (batch.refs.len() - refs_at) as u16,
    });
}

fn batches(seed: u64) -> Vec<RawBatch> {
    let mut random = Random(seed);
    let mut clock = 1000;
    let mut first = RawBatch { definitions: definitions(&mut random), ..RawBatch::default() };
    (0..random.below(400)).for_each(|_| event(&mut random, &mut clock, &mut first));
    let mut second = wild_batch(&mut random, first.events.len() as u64, 60, &mut clock);
    second.refs.iter_mut().for_each(|reference| reference.object %= OBJECTS as u32);
    second.events.iter_mut().for_each(|event| event.thread %= 4);
    (0..random.below(400)).for_each(|_| event(&mut random, &mut clock, &mut second));
    vec![first, second]
}

/// Writes the batches, a block each.
fn write(path: &Path, options: &Options, batches: &[RawBatch]) {
    let mut writer = BlockWriter::create(path, options).unwrap();
    for batch in batches {
        writer.push_batch(batch);
        writer.flush();
    }
    assert!(writer.finish().failure.is_none());
}

fn has_sums(trace: &Trace) -> bool {
    trace.entries().iter().any(|entry| entry.kind() == Some(FrameKind::Usage))
}

fn rows(usage: &Usage) -> Vec<(String, Sums)> {
    assert!(usage.failure.is_none(), "{:?}", usage.failure);
    assert_eq!(usage.left_out, 0);
    let mut start = 0;
    let paths = usage
        .ends
        .iter()
        .map(|&end| usage.text[std::mem::replace(&mut start, end as usize)..end as usize].escape_ascii());
    paths.map(|path| path.to_string()).zip(usage.sums.iter().copied()).collect()
}

#[test]
fn stored_sums_are_those_of_the_events() {
    let folder = Folder::new("sums");
    let (mut met, mut read) = (0, 0);
    for seed in 0..200 {
        let batches = batches(seed);
        let [with, without] = ["with", "without"].map(|name| folder.file(&format!("{seed}-{name}.trace")));
        let tick_ns = [1, 100][seed as usize % 2];
        write(&with, &Options { tick_ns, ..options() }, &batches);
        write(&without, &Options { tick_ns, usage_from: u64::MAX, ..options() }, &batches);
        let [with, without] = [with, without].map(|path| Trace::open(&path).unwrap());
        assert!(has_sums(&with) && !has_sums(&without));
        let expected = rows(&usage(&without));
        assert_eq!(rows(&usage(&with)), expected, "seed {seed}");
        met += expected.len();
        read += expected.iter().filter(|(_, sums)| sums.bytes_read > 0 && sums.opens > 0).count();
    }
    assert!(met > 5000 && read > 100, "only {met} paths were met, and {read} opened and read");
}

#[test]
fn recordings_that_are_checked_in_have_the_same_sums_either_way() {
    let folder = Folder::new("real-sums");
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces");
    let mut compared = 0;
    for path in std::fs::read_dir(recordings).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension != "trace") {
            continue;
        }
        let recorded = Trace::open(&path).unwrap();
        let mut text = Vec::new();
        dump(&recorded, &mut text).unwrap();
        let again = folder.file("again.trace");
        assemble(&mut text.as_slice(), &again, &Options { force: true, usage_from: 1, ..Options::default() }).unwrap();
        let again = Trace::open(&again).unwrap();
        assert!(has_sums(&again) && !has_sums(&recorded), "{}", path.display());
        assert_eq!(rows(&usage(&again)), rows(&usage(&recorded)), "{}", path.display());
        compared += 1;
    }
    assert!(compared > 5, "{compared} recordings");
}

/// Where the first frame of this kind begins.
fn offset(trace: &Trace, kind: FrameKind) -> usize {
    trace.entries().iter().find(|entry| entry.kind() == Some(kind)).unwrap().offset as usize
}

#[test]
fn sums_count_only_for_all_events_and_when_they_are_whole() {
    let folder = Folder::new("valid-sums");
    let path = folder.file("a.trace");
    write(&path, &options(), &batches(3));
    let bytes = std::fs::read(&path).unwrap();
    let trace = Trace::open(&path).unwrap();
    let expected = rows(&usage(&trace));
    let (block, sums) = (offset(&trace, FrameKind::Events), offset(&trace, FrameKind::Usage));
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        usage(&Trace::open(&path).unwrap())
    };
    // They are what is read: the events may be damaged.
    assert_eq!(rows(&changed(&|bytes| bytes[block + FRAME_HEADER_BYTES + 9] ^= 1)), expected);
    // Damaged ones are not.
    assert_eq!(rows(&changed(&|bytes| bytes[sums + FRAME_HEADER_BYTES + 9] ^= 1)), expected);
    let both = changed(&|bytes| [block, sums].into_iter().for_each(|at| bytes[at + FRAME_HEADER_BYTES + 9] ^= 1));
    assert!(both.failure.is_some());
    // Nor are those of more events than there are.
    let cut = changed(&|bytes| {
        let end =
            block + FRAME_HEADER_BYTES + u32::from_le_bytes(bytes[block + 8..block + 12].try_into().unwrap()) as usize;
        let own = bytes[sums..].to_vec();
        bytes.truncate(end);
        bytes.extend(own);
    });
    let own = folder.file("own.trace");
    write(&own, &options(), &batches(3)[..1]);
    assert_eq!(rows(&cut), rows(&usage(&Trace::open(&own).unwrap())));
}

#[test]
fn a_trace_that_is_cut_and_one_of_few_events_have_no_sums() {
    let folder = Folder::new("no-sums");
    let path = folder.file("a.trace");
    let batches = batches(5);
    let mut writer = BlockWriter::create(&path, &options()).unwrap();
    for batch in &batches {
        writer.push_batch(batch);
    }
    assert!(writer.abandon().failure.is_none());
    let cut = Trace::open(&path).unwrap();
    assert!(!has_sums(&cut) && !rows(&usage(&cut)).is_empty());
    let events = batches.iter().map(|batch| batch.events.len() as u64).sum::<u64>();
    for (usage_from, expected) in [(events, true), (events + 1, false)] {
        let force = true;
        write(&path, &Options { usage_from, force, ..options() }, &batches);
        assert_eq!(has_sums(&Trace::open(&path).unwrap()), expected);
    }
}

#[test]
fn sums_that_are_a_large_part_of_a_long_file_are_left_out() {
    let folder = Folder::new("large-sums");
    let path = folder.file("a.trace");
    // A name for each event, of bytes that nothing makes smaller.
    let stat = by_name(Arch::X86_64, "stat").unwrap().number.on(Arch::X86_64).unwrap();
    let mut random = Random(1);
    for (names, expected) in [(1000, true), (20_000, false)] {
        let mut batch = batches(1).swap_remove(0);
        batch.events.truncate(1);
        let one = RawEvent {
            kind: EventKind::Call,
            code: stat.into(),
            arch: 0,
            flags: 0,
            captures: 1,
            refs: 0,
            ..batch.events[0]
        };
        batch = RawBatch { definitions: batch.definitions, ..RawBatch::default() };
        for _ in 0..names {
            let name: Vec<u8> = random.bytes(30).into_iter().map(|byte| byte.max(1)).collect();
            let bytes = [b"/", &name[..]].concat();
            let len = bytes.len() as u32;
            batch.captures.push(RawCapture {
                slot: 0,
                side: Side::In,
                status: Status::Whole,
                addr: 0,
                wanted: 31,
                len,
            });
            batch.bytes.extend(bytes);
            batch.events.push(one);
        }
        write(&path, &Options { force: true, ..options() }, &[batch]);
        let trace = Trace::open(&path).unwrap();
        assert_eq!(has_sums(&trace), expected);
        assert_eq!(rows(&usage(&trace)).len(), names);
    }
}
