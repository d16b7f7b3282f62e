//! The object store, and files packed into a trace and taken out again.

use std::io::Cursor;
use std::path::Path;

use crate::common::{Folder, Random, check_against, options, write};
use trace_engine::pack::pack;
use trace_engine::raw::{Definition, RawBatch, RawCapture, RawEvent};
use trace_engine::reader::{State, Trace};
use trace_engine::store::{Hash, Store};
use trace_engine::text::{assemble, dump};
use trace_engine::writer::{Options, Writer};
use trace_format::event::{EventKind, Side, Status};

/// A trace that says of each file that it was mapped.
fn mapping(files: &[(&str, Hash)]) -> RawBatch {
    let mut batch = RawBatch::default();
    batch.definitions.push(Definition::Thread { process: 1, ordinal: 1, tid: 1, pid: 1, parent: None, created_by: 0 });
    for (seq, (path, hash)) in files.iter().enumerate() {
        for (slot, bytes) in [(0, path.as_bytes()), (2, hash.as_slice())] {
            let len = bytes.len() as u32;
            batch.captures.push(RawCapture {
                slot,
                side: Side::In,
                status: Status::Whole,
                addr: 0,
                wanted: len.into(),
                len,
            });
            batch.bytes.extend_from_slice(bytes);
        }
        batch.events.push(RawEvent {
            kind: EventKind::Map,
            flags: 0,
            arch: 0,
            nargs: 6,
            code: 0,
            thread: 0,
            start: 1,
            end: 1,
            entry_seq: seq as u64,
            args: [0x40_0000, 4096, 0, 5, 77, 8],
            ret: 0,
            ip: 0,
            sp: 0,
            captures: 2,
            refs: 0,
        });
    }
    batch
}

fn count_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}

#[test]
fn equal_files_are_stored_once() {
    let folder = Folder::new("store");
    let store = Store::at(&folder.file("objects"));
    let content = Random(1).bytes(700_000);
    std::fs::write(folder.file("a"), &content).unwrap();
    std::fs::write(folder.file("b"), &content).unwrap();
    std::fs::write(folder.file("empty"), b"").unwrap();
    let hash = store.put(&folder.file("a")).unwrap();
    assert_eq!(hash, *blake3::hash(&content).as_bytes());
    assert_eq!(store.put(&folder.file("b")).unwrap(), hash);
    assert_eq!(count_files(store.root()), 1);
    assert_eq!(std::fs::read(store.get(&hash).unwrap()).unwrap(), content);
    let empty = store.put(&folder.file("empty")).unwrap();
    assert_eq!(std::fs::read(store.get(&empty).unwrap()).unwrap(), b"");
    assert!(store.get(&[9; 32]).is_none());
    assert_eq!(store.put(&folder.file("none")).unwrap_err().code(), "no-file");

    // A file that changes keeps neither its hash nor harms the old object.
    std::fs::write(folder.file("a"), b"other").unwrap();
    let other = store.put(&folder.file("a")).unwrap();
    assert_ne!(other, hash);
    assert_eq!(std::fs::read(store.get(&hash).unwrap()).unwrap(), content);
}

#[test]
fn a_file_that_did_not_change_is_not_read_again() {
    let folder = Folder::new("known");
    let store = Store::at(&folder.file("objects"));
    std::fs::write(folder.file("other"), b"other").unwrap();
    let other = store.put(&folder.file("other")).unwrap();
    assert_eq!(count_files(store.root()), 1, "a file just made is too young to be remembered");

    // A file of the system is old enough.
    let path = Path::new("/etc/passwd");
    let hash = store.put(path).unwrap();
    let known = store.root().join("known");
    let note = std::fs::read_dir(&known).unwrap().next().unwrap().unwrap().path();
    assert_eq!(count_files(store.root()), 3);
    // Were the file read again, a wrong note would not matter.
    std::fs::write(&note, blake3::Hash::from_bytes(other).to_hex().as_str()).unwrap();
    assert_eq!(Store::at(store.root()).put(path).unwrap(), other);
    // A note without its object is worth nothing, nor is one that is no hash.
    for text in ["0".repeat(64), "nonsense".to_owned()] {
        std::fs::write(&note, text).unwrap();
        assert_eq!(Store::at(store.root()).put(path).unwrap(), hash);
    }
    std::fs::remove_file(store.get(&hash).unwrap()).unwrap();
    assert_eq!(store.put(path).unwrap(), hash);
    assert!(store.get(&hash).is_some(), "a lost object is stored again");
}

#[test]
fn mapped_files_travel_inside_the_trace() {
    let folder = Folder::new("pack");
    let store = Store::at(&folder.file("objects"));
    let contents = [Random(1).bytes(10), Random(2).bytes(3 << 20), b"\x7fELF".repeat(400_000), Vec::new()];
    let mut files = Vec::new();
    for (number, content) in contents.iter().enumerate() {
        let path = folder.file(&format!("lib{number}.so"));
        std::fs::write(&path, content).unwrap();
        files.push(store.put(&path).unwrap());
    }
    let batch = mapping(&[
        ("/lib/0", files[0]),
        ("/lib/1", files[1]),
        ("/lib/gone", [5; 32]),
        ("/lib/2", files[2]),
        ("/lib/3", files[3]),
        ("/again/1", files[1]),
    ]);
    let path = folder.file("a.trace");
    write(&path, &options(), &[batch]);
    let packed_path = folder.file("packed.trace");
    let trace = Trace::open(&path).unwrap();
    let summary = pack(&trace, &store, Some(&packed_path), false).unwrap();
    assert_eq!((summary.added, summary.present), (4, 0));
    assert_eq!(summary.bytes, contents.iter().map(|content| content.len() as u64).sum::<u64>());
    assert_eq!(summary.missing.len(), 1);
    assert_eq!((summary.missing[0].hash, &summary.missing[0].path[..]), ([5; 32], &b"/lib/gone"[..]));
    assert_eq!(pack(&trace, &store, Some(&packed_path), false).unwrap_err().code(), "exists");
    assert!(trace.packed().is_empty());

    let packed = Trace::open(&packed_path).unwrap();
    assert_eq!(packed.state(), State::Complete);
    assert_eq!(summary.bytes_total, packed.totals().bytes);
    check_against(
        &packed,
        &[mapping(&[
            ("/lib/0", files[0]),
            ("/lib/1", files[1]),
            ("/lib/gone", [5; 32]),
            ("/lib/2", files[2]),
            ("/lib/3", files[3]),
            ("/again/1", files[1]),
        ])],
        1,
    );
    let out = folder.file("out");
    let extracted = packed.extract(&out).unwrap();
    assert_eq!(extracted.len(), 4);
    assert_eq!(count_files(&out), 4);
    for (hash, content) in files.iter().zip(&contents) {
        let name = blake3::Hash::from_bytes(*hash).to_hex();
        assert!(std::fs::read(out.join(name.as_str())).unwrap() == *content);
    }

    // Again, in place: everything is there already.
    let again = pack(&packed, &store, None, false).unwrap();
    assert_eq!((again.added, again.present, again.missing.len()), (0, 4, 1));
    let twice = Trace::open(&packed_path).unwrap();
    assert_eq!(twice.packed(), packed.packed());

    // The text twin carries the files along.
    let mut text = Vec::new();
    dump(&twice, &mut text).unwrap();
    let third = folder.file("third.trace");
    assemble(&mut Cursor::new(&text), &third, &Options::default()).unwrap();
    let third = Trace::open(&third).unwrap();
    assert_eq!(third.packed().iter().map(|packed| packed.hash).collect::<Vec<_>>(), files);
    let mut again = Vec::new();
    dump(&third, &mut again).unwrap();
    assert!(text == again);
}

#[test]
fn a_cut_trace_stays_cut_when_it_is_packed() {
    let folder = Folder::new("pack-cut");
    let store = Store::at(&folder.file("objects"));
    std::fs::write(folder.file("lib"), b"library").unwrap();
    let hash = store.put(&folder.file("lib")).unwrap();
    let path = folder.file("a.trace");
    let writer = Writer::create(&path, &options()).unwrap();
    writer.send(mapping(&[("/lib", hash)]));
    let recording = loop {
        let trace = Trace::open(&path).unwrap();
        if trace.totals().events == 1 {
            break trace;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert_eq!(pack(&recording, &store, None, false).unwrap_err().code(), "busy");
    let busy = Writer::create(&path, &Options { force: true, ..options() }).err().unwrap();
    assert_eq!(busy.code(), "busy");
    assert_eq!(Writer::create(&path, &options()).err().unwrap().code(), "exists");
    drop(writer);
    let trace = loop {
        let trace = Trace::open(&path).unwrap();
        if trace.state() == State::Cut {
            break trace;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert_eq!(pack(&trace, &store, None, false).unwrap().added, 1);
    let trace = Trace::open(&path).unwrap();
    assert_eq!((trace.state(), trace.packed().len(), trace.totals().events), (State::Cut, 1, 1));
}

#[test]
fn a_damaged_object_is_missing_and_a_damaged_packed_file_is_an_error() {
    let folder = Folder::new("pack-damaged");
    let store = Store::at(&folder.file("objects"));
    let content = Random(4).bytes(5000);
    std::fs::write(folder.file("lib"), &content).unwrap();
    let hash = store.put(&folder.file("lib")).unwrap();
    let path = folder.file("a.trace");
    write(&path, &options(), &[mapping(&[("/lib", hash)])]);
    let packed_path = folder.file("packed.trace");
    let trace = Trace::open(&path).unwrap();
    pack(&trace, &store, Some(&packed_path), false).unwrap();

    let object = store.get(&hash).unwrap();
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, b"something else").unwrap();
    let summary = pack(&trace, &store, None, false).unwrap();
    assert_eq!((summary.added, summary.missing.len()), (0, 1));

    let mut bytes = std::fs::read(&packed_path).unwrap();
    let place = bytes.windows(8).position(|window| window == &content[100..108]).unwrap();
    bytes[place] ^= 1;
    std::fs::write(&packed_path, &bytes).unwrap();
    let packed = Trace::open(&packed_path).unwrap();
    let out = folder.file("out");
    assert_eq!(packed.extract(&out).unwrap_err().code(), "corrupt");
    assert_eq!(count_files(&out), 0, "nothing half-written is left");
}
