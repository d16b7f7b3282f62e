//! Damaged and malicious files: every one gives a clean error or a valid prefix, within stated bounds of memory and
//! time.

use std::path::Path;
use std::time::Duration;

use crate::common::{Folder, Random, options, small_trace, wild_batch, write};
use crate::counting::Bounds;
use trace_engine::error::EngineError;
use trace_engine::raw::RawBatch;
use trace_engine::reader::{Layout, Move, State, Trace};
use trace_engine::tally::tally;
use trace_engine::text::dump;
use trace_engine::usage::usage;
use trace_format::column::{
    BlockRows, CaptureRow, Choice, ColumnEntry, ContentRow, Encoder, Projection, Row, encode_column_table,
};
use trace_format::event::{EventKind, Side, Status};
use trace_format::frame::{Codec, FRAME_HEADER_BYTES, FRAME_MAGIC, FrameKind, HEADER_BYTES, TRAILER_BYTES};
use trace_format::limits;

/// The bounds that the reader states: one allocation, and all together.
const BOUNDS: Bounds =
    Bounds { largest: limits::MAX_BLOCK_BYTES as usize, peak: 512 << 20, time: Duration::from_secs(10) };

/// Ways to read a block that give less than all of it.
fn check_parts(trace: &Trace, number: usize, errors: &mut Vec<EngineError>) {
    let choice = Choice {
        calls: [vec![true, false, true], vec![false; 400]],
        kinds: 0b101,
        flags_set: 0,
        flags_clear: 8,
        threads: Some(vec![true, false, true]),
        duration: (0.0, 1e6),
        start: (0.0, f64::INFINITY),
    };
    match trace.choose_block(number, Projection::ALL, &choice) {
        Ok(columns) => {
            assert_eq!(columns.rows.len(), columns.count as usize);
            check_columns(&columns);
        }
        Err(error) => errors.push(error),
    }
    let stored = trace.visit_block(number, Projection::ALL, |block| {
        let events = block.events;
        assert_eq!(events.shape.len(), events.start.len());
        assert_eq!(events.groups.len(), events.threads.len());
        assert_eq!(events.runs.iter().map(|run| run.1 as usize).sum::<usize>(), events.shape.len());
        Ok(())
    });
    errors.extend(stored.err());
}

/// Reads everything there is. Gives back how many events could be read and the errors.
fn read_all(path: &Path) -> (u64, Vec<EngineError>) {
    let trace = match Trace::open(path) {
        Ok(trace) => trace,
        Err(error) => return (0, vec![error]),
    };
    let mut errors = Vec::new();
    let mut events = 0;
    for (number, block) in trace.blocks().iter().enumerate() {
        for projection in [Projection::BASE, Projection { refs: true, ..Projection::BASE }, Projection::ALL] {
            match trace.decode_block(number, projection) {
                Ok(columns) => {
                    assert_eq!(columns.kind.len(), columns.count as usize);
                    if projection == Projection::ALL {
                        events += u64::from(columns.count);
                        check_columns(&columns);
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        assert!(block.count <= limits::MAX_BLOCK_EVENTS || !errors.is_empty());
        check_parts(&trace, number, &mut errors);
    }
    if let Some(failure) = tally(&trace).and_then(|tally| tally.failure) {
        errors.push(failure);
    }
    errors.extend(usage(&trace).failure);
    if let Err(error) = dump(&trace, &mut std::io::sink()) {
        errors.push(error);
    }
    if let Err(error) = trace.mapped() {
        errors.push(error);
    }
    for packed in trace.packed() {
        if let Err(error) = trace.read_packed(&packed, &mut std::io::sink()) {
            errors.push(error);
        }
    }
    errors.extend(trace.damage().map(|damage| EngineError::Text { line: 0, message: damage.to_string() }));
    (events, errors)
}

/// What a consumer relies on: positions ascend and stay inside their arrays.
fn check_columns(columns: &trace_format::column::Columns) {
    let check = |starts: &[u32], rows: usize, len: usize| {
        assert_eq!(starts.len(), rows + 1);
        assert!(starts.is_sorted());
        assert_eq!(starts.last().copied().unwrap_or(0) as usize, len);
    };
    let rows = columns.count as usize;
    check(&columns.cap_start, rows, columns.cap_slot.len());
    check(&columns.ref_start, rows, columns.ref_slot.len());
    let contents = columns.content_start.len() - 1;
    check(&columns.content_start, contents, columns.bytes.len());
    assert!(columns.cap_content.iter().all(|&index| index == u32::MAX || (index as usize) < contents));
    assert!(columns.span.len() == rows && columns.args.len() == rows * 12 && columns.ret.len() == rows * 2);
}

fn within_bounds<T>(what: &str, run: impl FnOnce() -> T) -> T {
    BOUNDS.hold(what, run)
}

/// Start and length of each frame of a valid file.
fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    let mut at = HEADER_BYTES;
    while at + TRAILER_BYTES < bytes.len() {
        let stored = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        all.push((at, FRAME_HEADER_BYTES + stored));
        at += FRAME_HEADER_BYTES + stored;
    }
    all
}

/// Makes the checksums of header, frames and trailer right again, as far as the frames can be found.
fn fix_checksums(bytes: &mut [u8]) {
    let put = |bytes: &mut [u8], at: usize, sum: u32| bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    if bytes.len() < HEADER_BYTES {
        return;
    }
    let sum = crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
    put(bytes, HEADER_BYTES - 4, sum);
    let mut at = HEADER_BYTES;
    while at + FRAME_HEADER_BYTES <= bytes.len() {
        let stored = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        let end = at + FRAME_HEADER_BYTES + stored;
        if end > bytes.len() {
            break;
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[at..at + FRAME_HEADER_BYTES - 4]);
        crc.update(&bytes[at + FRAME_HEADER_BYTES..end]);
        put(bytes, at + FRAME_HEADER_BYTES - 4, crc.finalize());
        at = end;
    }
    let trailer = bytes.len() - TRAILER_BYTES;
    if trailer >= HEADER_BYTES {
        let sum = crc32fast::hash(&bytes[trailer..trailer + TRAILER_BYTES - 4]);
        put(bytes, trailer + TRAILER_BYTES - 4, sum);
    }
}

fn mutate(random: &mut Random, original: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(8) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = random.word() as u8,
            3 => {
                let value = [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize];
                let end = (at + 1 + random.below(8) as usize).min(bytes.len());
                bytes[at..end].fill(value);
            }
            4 => {
                let from = random.below(bytes.len() as u64) as usize;
                let len = (random.below(64) as usize).min(bytes.len() - from);
                let piece = bytes[from..from + len].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                let end = (at + random.below(64) as usize).min(bytes.len());
                bytes.drain(at..end);
                if bytes.is_empty() {
                    bytes.push(0);
                }
            }
            6 => {
                // A length, count or number in the header of a frame.
                let all = frames(original);
                let (frame, _) = all[random.below(all.len() as u64) as usize];
                let field = frame + [5, 8, 12, 16, 20][random.below(5) as usize];
                if field + 4 <= bytes.len() {
                    let value = random.wild() as u32;
                    bytes[field..field + 4].copy_from_slice(&value.to_le_bytes());
                }
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

#[test]
fn ten_thousand_mutated_traces() {
    let folder = Folder::new("mutated");
    let mut originals = Vec::new();
    for seed in 0..4 {
        let path = folder.file(&format!("{seed}.trace"));
        small_trace(&path, seed, [3, 20, 60, 150][seed as usize]);
        originals.push(std::fs::read(&path).unwrap());
    }
    let path = folder.file("mutated.trace");
    let (mut clean, mut reached_inside) = (0, 0);
    for seed in 0..10_000 {
        let mut random = Random(seed);
        let mut bytes = mutate(&mut random, &originals[seed as usize % 4]);
        // Without this nearly all would end at a checksum.
        if seed % 4 != 0 {
            fix_checksums(&mut bytes);
        }
        std::fs::write(&path, &bytes).unwrap();
        let (_, errors) = within_bounds(&format!("seed {seed}"), || read_all(&path));
        clean += u32::from(errors.is_empty());
        reached_inside += u32::from(errors.iter().any(|error| {
            matches!(error, EngineError::Corrupt { reading, .. } if !reading.starts_with("frame") && !reading.starts_with("file"))
        }));
    }
    assert!(reached_inside > 2_500, "only {reached_inside} got to the decoders");
    assert!(clean < 7_000, "{clean} mutations were not noticed");
}

#[test]
fn every_truncation_gives_a_prefix() {
    let folder = Folder::new("truncated");
    let path = folder.file("a.trace");
    let mut random = Random(3);
    let mut clock = 0;
    let mut batches = Vec::new();
    for number in 0..3 {
        batches.push(wild_batch(&mut random, number * 20, 20, &mut clock));
    }
    batches[0].definitions = crate::common::definitions(&mut random);
    // One block per batch, so that there are prefixes of several lengths.
    let mut writer = trace_engine::writer::BlockWriter::create(&path, &options()).unwrap();
    for batch in &batches {
        writer.push_batch(batch);
        writer.flush();
    }
    assert!(writer.finish().failure.is_none());
    let bytes = std::fs::read(&path).unwrap();
    let whole = frames(&bytes);
    let cut = folder.file("cut.trace");
    let mut seen = Vec::new();
    for len in 0..bytes.len() {
        std::fs::write(&cut, &bytes[..len]).unwrap();
        match within_bounds(&format!("length {len}"), || Trace::open(&cut)) {
            Err(error) => {
                assert!(len < HEADER_BYTES, "length {len}: {error}");
                assert_eq!(error.code(), "not-a-trace");
            }
            Ok(trace) => {
                assert_eq!(trace.state(), State::Cut);
                // Behind the index only the end is missing, which is no damage to what is there.
                let index_end = whole.last().map_or(0, |(at, size)| at + size);
                let at_border =
                    len == HEADER_BYTES || len >= index_end || whole.iter().any(|(at, size)| at + size == len);
                assert_eq!(trace.damage().is_none(), at_border, "length {len}");
                let events = trace.totals().events;
                for number in 0..trace.blocks().len() {
                    trace.decode_block(number, Projection::ALL).unwrap();
                }
                seen.push(events);
            }
        }
    }
    assert!(seen.is_sorted());
    seen.dedup();
    assert_eq!(seen, [0, 20, 40, 60]);
}

#[test]
fn a_trace_without_its_index_is_searched() {
    let folder = Folder::new("no-index");
    let path = folder.file("a.trace");
    let batches = small_trace(&path, 9, 300);
    let mut bytes = std::fs::read(&path).unwrap();
    let complete = Trace::open(&path).unwrap();
    let (index, _) = *frames(&bytes).last().unwrap();
    bytes.truncate(index);
    let cut = folder.file("cut.trace");
    std::fs::write(&cut, &bytes).unwrap();
    let trace = Trace::open(&cut).unwrap();
    assert_eq!(trace.state(), State::Cut);
    assert_eq!(trace.blocks(), complete.blocks());
    crate::common::check_against(&trace, &batches, 1);

    // A damaged index is no better than none.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[index + FRAME_HEADER_BYTES + 2] ^= 1;
    std::fs::write(&cut, &bytes).unwrap();
    let trace = Trace::open(&cut).unwrap();
    assert_eq!(trace.state(), State::Cut);
    assert_eq!(trace.damage().unwrap().code(), "corrupt");
    crate::common::check_against(&trace, &batches, 1);
}

#[test]
fn a_bad_block_in_the_middle_leaves_the_others() {
    let folder = Folder::new("middle");
    let path = folder.file("a.trace");
    let mut random = Random(8);
    let mut clock = 0;
    let mut first = wild_batch(&mut random, 0, 40_000, &mut clock);
    first.definitions = crate::common::definitions(&mut random);
    let second = wild_batch(&mut random, 40_000, 40_000, &mut clock);
    write(&path, &options(), &[first, second]);
    let mut bytes = std::fs::read(&path).unwrap();
    let trace = Trace::open(&path).unwrap();
    assert!(trace.blocks().len() >= 3);
    let events: Vec<_> = trace.entries().iter().filter(|entry| entry.header.kind == 3).collect();
    bytes[events[1].offset as usize + FRAME_HEADER_BYTES + 100] ^= 4;
    std::fs::write(&path, &bytes).unwrap();
    let trace = Trace::open(&path).unwrap();
    assert_eq!(trace.state(), State::Complete);
    assert!(trace.decode_block(0, Projection::ALL).is_ok());
    let error = trace.decode_block(1, Projection::ALL).unwrap_err();
    assert!(error.to_string().contains(&format!("offset {}", events[1].offset)), "{error}");
    assert!(error.to_string().contains("checksum"), "{error}");
    assert!(trace.decode_block(2, Projection::ALL).is_ok());
    let beyond = trace.blocks().len();
    assert_eq!(trace.decode_block(beyond, Projection::ALL).unwrap_err().code(), "no-block");
}

#[test]
fn what_is_not_a_trace_is_said_to_be_none() {
    let folder = Folder::new("not");
    let path = folder.file("a");
    let message = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let error = Trace::open(&path).err().unwrap();
        (error.code(), error.to_string().replace(&path.display().to_string(), "FILE"))
    };
    assert_eq!(message(b""), ("not-a-trace", "FILE is not a trace: it is empty".into()));
    assert_eq!(message(b"#!/bin/sh\n"), ("not-a-trace", "FILE is not a trace: it does not start as one".into()));
    assert_eq!(message(&[0; 100]), ("not-a-trace", "FILE is not a trace: it does not start as one".into()));
    small_trace(&folder.file("b"), 1, 1);
    let mut bytes = std::fs::read(folder.file("b")).unwrap();
    assert_eq!(message(&bytes[..40]), ("not-a-trace", "FILE is not a trace: it ends inside the file header".into()));
    bytes[8] = 9;
    let expected = "FILE is of version 9.0 of the trace format, this program reads up to 1";
    assert_eq!(message(&bytes), ("version", expected.into()));
    bytes[8] = 1;
    bytes[20] ^= 1;
    assert_eq!(message(&bytes).0, "corrupt");
    assert_eq!(Trace::open(&folder.file("none")).err().unwrap().code(), "no-file");
    let why = |path: &Path| Trace::open(path).err().unwrap().to_string();
    assert!(why(&folder.file("")).ends_with("it is a directory"));
    assert!(why("/dev/null".as_ref()).ends_with("it is not a regular file"));
}

#[test]
fn frames_of_unknown_kinds_are_skipped() {
    let folder = Folder::new("unknown");
    let path = folder.file("a.trace");
    let batches = small_trace(&path, 4, 50);
    let bytes = std::fs::read(&path).unwrap();
    let all = frames(&bytes);
    let (events, _) = all[all.len() - 2];
    let (index, _) = all[all.len() - 1];
    let mut frame = bytes[events..events + FRAME_HEADER_BYTES].to_vec();
    frame[4] = 77;
    frame[5] = 0;
    frame[8..12].copy_from_slice(&10u32.to_le_bytes());
    frame[12..16].copy_from_slice(&10u32.to_le_bytes());
    frame.extend_from_slice(b"0123456789");
    let mut made = bytes[..events].to_vec();
    made.extend_from_slice(&frame);
    made.extend_from_slice(&bytes[events..index]);
    made.resize(made.len() + TRAILER_BYTES, 0);
    fix_checksums(&mut made);
    made.truncate(made.len() - TRAILER_BYTES);
    std::fs::write(&path, &made).unwrap();
    let trace = Trace::open(&path).unwrap();
    assert!(trace.damage().is_none());
    crate::common::check_against(&trace, &batches, 1);
}

#[test]
fn a_small_file_that_claims_much_is_refused() {
    let folder = Folder::new("bomb");
    let path = folder.file("a.trace");
    small_trace(&path, 2, 5);
    let bytes = std::fs::read(&path).unwrap();
    let head = &bytes[..HEADER_BYTES];
    // Zeros compress a thousand to one: the largest frame of each kind that a header can announce.
    for kind in 1..=4u8 {
        for count in [0, 1, limits::MAX_BLOCK_EVENTS, u32::MAX] {
            let raw = vec![0u8; limits::MAX_FRAME_BYTES as usize];
            let stored = zstd::bulk::compress(&raw, 1).unwrap();
            drop(raw);
            let mut made = head.to_vec();
            put_frame(&mut made, [kind, Codec::Zstd as u8], &stored, limits::MAX_FRAME_BYTES, (0, count));
            write_without_index(&path, made);
            let (events, _) = within_bounds(&format!("kind {kind}, count {count}"), || read_all(&path));
            assert_eq!(events, 0);
        }
    }
}

/// Appends a frame; its checksum is left to [`fix_checksums`].
fn put_frame(file: &mut Vec<u8>, kind_and_codec: [u8; 2], stored: &[u8], raw_len: u32, (first, count): (u64, u32)) {
    file.extend_from_slice(&FRAME_MAGIC);
    file.extend_from_slice(&kind_and_codec);
    file.extend_from_slice(&[0; 2]);
    file.extend_from_slice(&(stored.len() as u32).to_le_bytes());
    file.extend_from_slice(&raw_len.to_le_bytes());
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(&first.to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(stored);
}

fn put_compressed(file: &mut Vec<u8>, kind: FrameKind, raw: &[u8], numbers: (u64, u32)) {
    let stored = zstd::bulk::compress(raw, 1).unwrap();
    put_frame(file, [kind as u8, Codec::Zstd as u8], &stored, raw.len() as u32, numbers);
}

fn write_without_index(path: &Path, mut file: Vec<u8>) {
    let end = file.len();
    file.resize(end + TRAILER_BYTES, 0);
    fix_checksums(&mut file);
    file.truncate(end);
    std::fs::write(path, &file).unwrap();
}

/// File header and definitions of a trace.
fn definitions_only(path: &Path) -> Vec<u8> {
    let definitions = crate::common::definitions(&mut Random(1));
    write(path, &options(), &[RawBatch { definitions, ..RawBatch::default() }]);
    let mut bytes = std::fs::read(path).unwrap();
    let (index, _) = *frames(&bytes).last().unwrap();
    bytes.truncate(index);
    bytes
}

fn put_block(file: &mut Vec<u8>, block: &BlockRows) {
    let mut encoder = Encoder::new();
    let (header, columns) = encoder.encode(block);
    let (mut payload, mut bodies, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    header.encode(&mut payload);
    for (id, raw) in columns.iter().enumerate().filter(|(_, raw)| !raw.is_empty()) {
        let stored = zstd::bulk::compress(raw, 1).unwrap();
        let (raw_len, stored_len) = (raw.len() as u32, stored.len() as u32);
        entries.push(ColumnEntry { id: id as u8, codec: Codec::Zstd as u8, raw_len, stored_len, offset: bodies.len() });
        bodies.extend_from_slice(&stored);
    }
    encode_column_table(&entries, &mut payload);
    payload.extend_from_slice(&bodies);
    let kind = [FrameKind::Events as u8, Codec::Raw as u8];
    put_frame(file, kind, &payload, payload.len() as u32, (0, block.rows.len() as u32));
}

/// Adds a call that moved `ret` bytes: each of its captures an address and the number of a content.
fn put_call(block: &mut BlockRows, ret: i64, captures: &[(u64, u32)]) {
    let start = block.rows.len() as u64;
    block.rows.push(Row {
        kind: EventKind::Call,
        flags: 0,
        arch: 0,
        nargs: 3,
        code: CALL,
        thread: 0,
        start,
        end: start,
        span: 0,
        args: [3, HEADER, 0, 0, 0, 0],
        ret,
        ip: 0,
        sp: 0,
        captures: captures.len() as u16,
        refs: 0,
    });
    for &(addr, content) in captures {
        let (side, status) = (Side::In, Status::Whole);
        block.captures.push(CaptureRow { slot: 1, side, status, addr, wanted: 0, content });
    }
}

const CALL: i32 = 1;
const HEADER: u64 = 0x9000;

fn digest(path: &Path, layout: Layout) -> Result<u64, EngineError> {
    let moved = Move { slot: 1, side: Side::In, layout };
    let (_, digests) = Trace::open(path)?.digest_block(0, &[vec![Some(moved); 2], Vec::new()])?;
    Ok(digests.moved_len.iter().map(|len| *len as u64).sum())
}

#[test]
fn many_frames_of_tiny_chunks_are_digested_in_little_memory() {
    let folder = Folder::new("tiny-chunks");
    let path = folder.file("a.trace");
    let mut file = definitions_only(&path);
    // One chunk of 64 bytes, which the block asks for, and a million of one byte.
    let count = (1 << 20) - 64;
    let mut raw = vec![64];
    raw.resize(count as usize, 1);
    raw.resize(raw.len() + 64 + count as usize - 1, b'x');
    let mut block = BlockRows::default();
    for frame in 0..40 {
        put_compressed(&mut file, FrameKind::Content, &raw, (frame * u64::from(count), count));
        block.contents.push(ContentRow { len: 64, inline: false, at: frame as u32 });
        block.chunks.push(frame * u64::from(count));
        put_call(&mut block, 64, &[(HEADER, frame as u32)]);
    }
    put_block(&mut file, &block);
    assert!(file.len() < 1 << 20, "{} bytes", file.len());
    write_without_index(&path, file);
    let moved = within_bounds("tiny chunks", || digest(&path, Layout::Bytes));
    assert_eq!(moved.unwrap(), 40 * 64);
}

#[test]
fn a_chunk_without_bytes_is_refused() {
    let folder = Folder::new("no-bytes");
    let path = folder.file("a.trace");
    let definitions = definitions_only(&path);
    for (empty, is_ok) in [(1, true), (0, false)] {
        let mut file = definitions.clone();
        let mut raw = vec![64, empty];
        raw.resize(2 + 64 + usize::from(empty), b'x');
        put_compressed(&mut file, FrameKind::Content, &raw, (0, 2));
        let mut block = BlockRows { chunks: vec![0], ..BlockRows::default() };
        block.contents.push(ContentRow { len: 64, inline: false, at: 0 });
        put_call(&mut block, 64, &[(HEADER, 0)]);
        put_block(&mut file, &block);
        write_without_index(&path, file);
        assert_eq!(digest(&path, Layout::Bytes).is_ok(), is_ok);
        assert_eq!(Trace::open(&path).unwrap().decode_block(0, Projection::ALL).is_ok(), is_ok);
    }
}

#[test]
fn a_short_content_that_is_not_short_is_refused() {
    let folder = Folder::new("long-inline");
    let path = folder.file("a.trace");
    let definitions = definitions_only(&path);
    for (len, is_ok) in [(limits::INLINE_BELOW - 1, true), (limits::INLINE_BELOW, false)] {
        let mut file = definitions.clone();
        let mut block = BlockRows { inline: vec![b'x'; len as usize], ..BlockRows::default() };
        block.contents.push(ContentRow { len, inline: true, at: 0 });
        put_call(&mut block, len.into(), &[(HEADER, 0)]);
        put_block(&mut file, &block);
        write_without_index(&path, file);
        assert_eq!(digest(&path, Layout::Bytes).ok(), is_ok.then_some(len.into()));
    }
}

#[test]
fn one_long_content_that_all_calls_moved_is_digested_once() {
    const CHUNKS: u32 = 240;
    let folder = Folder::new("one-content");
    let path = folder.file("a.trace");
    // All chunks of a content of 60 MiB are the same one.
    let len = CHUNKS * limits::CHUNK_BYTES;
    let mut raw = vec![0x80, 0x80, 0x10];
    raw.resize(3 + limits::CHUNK_BYTES as usize, 0);
    let mut block = BlockRows { chunks: vec![0; CHUNKS as usize], ..BlockRows::default() };
    block.contents.push(ContentRow { len, inline: false, at: 0 });
    for _ in 0..limits::MAX_BLOCK_EVENTS {
        // What a message's header is looked up in, and what it sends.
        put_call(&mut block, len.into(), &[(HEADER, 0), (HEADER + 1, 0)]);
    }
    let mut file = definitions_only(&path);
    put_compressed(&mut file, FrameKind::Content, &raw, (0, 1));
    put_block(&mut file, &block);
    assert!(file.len() < 1 << 20, "{} bytes", file.len());
    write_without_index(&path, file);
    let moved = within_bounds("one content", || digest(&path, Layout::Message));
    assert_eq!(moved.unwrap(), u64::from(len) * u64::from(limits::MAX_BLOCK_EVENTS));
}
