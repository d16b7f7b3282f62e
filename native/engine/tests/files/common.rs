//! What the tests of the trace file share: random events, and a plain model of what a reader must deliver for them.
#![allow(dead_code, reason = "every test program uses a part of it")]
#![allow(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "the values are whole numbers that must come out exactly"
)]

use std::path::{Path, PathBuf};

use trace_engine::raw::{Definition, ObjectKind, RawBatch, RawCapture, RawEvent, RawRef};
use trace_engine::reader::Trace;
use trace_engine::writer::{BlockWriter, Options, Summary};
use trace_format::column::{Columns, NO_CONTENT, Projection};
use trace_format::event::{EventKind, Side, Status, slot};

/// A folder that is removed at the end of the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("trace-test-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `SplitMix64`: a test names its seed, and runs the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    /// Mostly small, sometimes any size, sometimes at an edge.
    pub fn wild(&mut self) -> u64 {
        match self.below(8) {
            0..=3 => self.below(16),
            4 => 0x7fff_0000_0000 + self.below(1 << 20) * 8,
            5 => self.word() >> self.below(64),
            6 => [u64::MAX, i64::MAX as u64, i64::MIN as u64, u64::from(u32::MAX), 1 << 53][self.below(5) as usize],
            _ => (self.below(200) as i64 - 100) as u64,
        }
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.word() as u8).collect()
    }
}

pub const THREADS: u32 = 7;
pub const OBJECTS: u32 = 40;

pub fn definitions(random: &mut Random) -> Vec<Definition> {
    let mut all = vec![
        Definition::Meta { key: "command".into(), value: b"prog\0-x\0".to_vec() },
        Definition::Meta { key: "odd".into(), value: vec![0, 255, b'"', b'\\', b'\n', 0xc3, 0xa4] },
        Definition::Meta { key: "command".into(), value: b"prog\0-y\0".to_vec() },
    ];
    for index in 0..THREADS {
        all.push(Definition::Thread {
            process: index / 2 + 1,
            ordinal: index % 2 + 1,
            tid: random.word() as i32,
            pid: random.word() as i32,
            parent: (index > 0).then(|| random.below(index.into()) as u32),
            created_by: random.wild(),
        });
    }
    for _ in 0..OBJECTS {
        all.push(Definition::Object {
            kind: [ObjectKind::File, ObjectKind::Socket, ObjectKind::Unknown, ObjectKind::Memfd]
                [random.below(4) as usize],
            path: format!("/usr/lib/x86_64-linux-gnu/lib{}.so\n\"", random.below(9)).into_bytes(),
            detail: if random.one_in(3) { random.bytes(5) } else { Vec::new() },
            dev: random.wild(),
            ino: random.wild(),
            created_by: (!random.one_in(3)).then(|| random.wild() >> 1),
        });
    }
    all
}

/// Events with any values that the types allow.
pub fn wild_batch(random: &mut Random, first_seq: u64, count: usize, clock: &mut u64) -> RawBatch {
    let mut batch = RawBatch::default();
    for index in 0..count {
        let captures = if random.one_in(200) { random.below(300) } else { random.below(4) } as u16;
        let refs = random.below(3) as u16;
        for _ in 0..captures {
            let len = match random.below(10) {
                0 => 0,
                1 => 63 + random.below(3) as usize,
                2 => random.below(3000) as usize,
                _ => random.below(40) as usize,
            };
            // Few different contents, so that equal ones occur.
            let fill = random.below(4) as u8;
            batch.bytes.extend((0..len).map(|at| (at as u8 / 7).wrapping_mul(fill)));
            batch.captures.push(RawCapture {
                slot: random.below(slot::COUNT.into()) as u8,
                side: Side::from_code(random.below(3) as u8).unwrap(),
                status: Status::from_code(random.below(4) as u8).unwrap(),
                addr: random.wild(),
                wanted: if random.one_in(4) { random.wild() } else { len as u64 },
                len: len as u32,
            });
        }
        for _ in 0..refs {
            batch.refs.push(RawRef {
                slot: random.below(slot::COUNT.into()) as u8,
                fd: random.wild() as i32,
                object: random.below(OBJECTS.into()) as u32,
            });
        }
        let start = if random.one_in(20) { clock.saturating_sub(random.below(100_000)) } else { *clock };
        let duration = if random.one_in(50) { random.below(1 << 45) } else { random.below(50_000) };
        *clock = start + duration.min(1 << 20);
        let seq = first_seq + index as u64;
        batch.events.push(RawEvent {
            kind: if random.one_in(6) { EventKind::from_code(random.below(8) as u8).unwrap() } else { EventKind::Call },
            flags: random.below(32) as u8,
            arch: random.below(2) as u8,
            nargs: random.below(7) as u8,
            code: if random.one_in(5) { random.wild() as i32 } else { random.below(12) as i32 },
            thread: random.below(THREADS.into()) as u32,
            start,
            end: start + duration,
            entry_seq: if random.one_in(3) { seq.saturating_sub(random.below(50)) } else { seq },
            args: std::array::from_fn(|_| random.wild()),
            ret: random.wild() as i64,
            ip: random.wild(),
            sp: random.wild(),
            captures,
            refs,
        });
    }
    batch
}

pub fn options() -> Options {
    Options {
        tick_ns: 1,
        id: Some([7; 16]),
        start_realtime_ns: Some(1_700_000_000_123_456_789),
        usage_from: 1,
        ..Options::default()
    }
}

/// Writes the batches without a thread, so that block borders depend on nothing but them.
pub fn write(path: &Path, options: &Options, batches: &[RawBatch]) -> Summary {
    let mut writer = BlockWriter::create(path, options).unwrap();
    for batch in batches {
        writer.push_batch(batch);
    }
    writer.finish()
}

/// A small trace with everything in it.
pub fn small_trace(path: &Path, seed: u64, events: usize) -> Vec<RawBatch> {
    let mut random = Random(seed);
    let mut clock = 1000;
    let mut batches = Vec::new();
    let mut first = wild_batch(&mut random, 0, events, &mut clock);
    first.definitions = definitions(&mut random);
    batches.push(first);
    let summary = write(path, &options(), &batches);
    assert!(summary.failure.is_none(), "{:?}", summary.failure);
    batches
}

fn pair(words: &[u32], index: usize) -> u64 {
    u64::from(words[index * 2]) | u64::from(words[index * 2 + 1]) << 32
}

/// All events of the trace must be those of the batches.
pub fn check_against(trace: &Trace, batches: &[RawBatch], tick: u64) {
    let mut blocks = (0..trace.blocks().len()).map(|number| trace.decode_block(number, Projection::ALL).unwrap());
    let mut columns = Columns::default();
    let mut row = 0;
    let mut seq = 0u64;
    for batch in batches {
        let (mut captures, mut refs, mut bytes) = (batch.captures.iter(), batch.refs.iter(), &batch.bytes[..]);
        for event in &batch.events {
            while row == columns.count as usize {
                columns = blocks.next().expect("the trace ends early");
                assert_eq!(columns.first_seq, seq);
                row = 0;
            }
            check_event(&columns, row, seq, event, tick);
            let range = columns.cap_start[row] as usize..columns.cap_start[row + 1] as usize;
            assert_eq!(range.len(), usize::from(event.captures));
            for at in range {
                let capture = captures.next().unwrap();
                let (own, other) = bytes.split_at(capture.len as usize);
                bytes = other;
                assert_eq!(columns.cap_slot[at], capture.slot);
                assert_eq!(columns.cap_side[at], capture.side as u8);
                assert_eq!(columns.cap_status[at], capture.status as u8);
                assert_eq!(pair(&columns.cap_addr, at), capture.addr);
                assert_eq!(columns.cap_wanted[at], capture.wanted as f64);
                let content = columns.cap_content[at];
                if content == NO_CONTENT {
                    assert!(own.is_empty());
                } else {
                    let starts = &columns.content_start[content as usize..content as usize + 2];
                    assert_eq!(&columns.bytes[starts[0] as usize..starts[1] as usize], own);
                }
            }
            let range = columns.ref_start[row] as usize..columns.ref_start[row + 1] as usize;
            assert_eq!(range.len(), usize::from(event.refs));
            for at in range {
                let reference = refs.next().unwrap();
                let found =
                    RawRef { slot: columns.ref_slot[at], fd: columns.ref_fd[at], object: columns.ref_object[at] };
                assert_eq!(found, *reference);
            }
            row += 1;
            seq += 1;
        }
    }
    assert_eq!(row, columns.count as usize);
    assert!(blocks.next().is_none(), "the trace has more events");
}

fn check_event(columns: &Columns, row: usize, seq: u64, event: &RawEvent, tick: u64) {
    assert_eq!(columns.kind[row], event.kind as u8, "event {seq}");
    assert_eq!(columns.flags[row], event.flags);
    assert_eq!(columns.arch[row], event.arch);
    assert_eq!(columns.nargs[row], event.nargs);
    assert_eq!(columns.code[row], event.code);
    assert_eq!(columns.thread[row], event.thread);
    assert_eq!(columns.start[row], (event.start / tick * tick) as f64);
    assert_eq!(columns.duration[row], ((event.end / tick - event.start / tick) * tick) as f64);
    assert_eq!(u64::from(columns.span[row]), seq - event.entry_seq, "event {seq}");
    let ret = u64::from(columns.ret[row * 2] as u32) | u64::from(columns.ret[row * 2 + 1] as u32) << 32;
    assert_eq!(ret, event.ret as u64);
    for (k, &arg) in event.args.iter().enumerate() {
        let expected = if k < usize::from(event.nargs) { arg } else { 0 };
        assert_eq!(pair(&columns.args, row * 6 + k), expected, "argument {k} of event {seq}");
    }
    assert_eq!(pair(&columns.ip, row), event.ip);
    assert_eq!(pair(&columns.sp, row), event.sp);
}
