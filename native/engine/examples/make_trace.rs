//! Makes a trace of any length for measurements: a few programs that walk folders and read files, side by side.
//!
//! `cargo run --release -p trace-engine --example make_trace -- FILE MILLIONS [measure]`
//!
//! With `measure` the trace is then decoded, base columns and all columns, and the speeds are printed.

#![allow(clippy::cast_precision_loss, reason = "for people to read")]

use std::time::Instant;

use trace_engine::raw::{Definition, ObjectKind, RawBatch, RawCapture, RawEvent, RawRef};
use trace_engine::reader::Trace;
use trace_engine::writer::{Options, Writer};
use trace_format::column::Projection;
use trace_format::event::{EventKind, Side, Status, flag, slot};

const PROGRAMS: u32 = 4;
const LIBC: u64 = 0x7f3a_1c00_0000;

/// A small generator of the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

struct Generator {
    random: Random,
    batch: RawBatch,
    seq: u64,
    clock: u64,
    objects: u32,
}

impl Generator {
    fn call(&mut self, thread: u32, code: i32, args: &[u64], ret: i64, site: u64) {
        let start = self.clock + 300 + self.random.below(900);
        let end = start + 800 + self.random.below(3000);
        self.clock = end;
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        self.batch.events.push(RawEvent {
            kind: EventKind::Call,
            flags: if ret < 0 { flag::ERROR } else { 0 },
            arch: 0,
            nargs: args.len() as u8,
            code,
            thread,
            start,
            end,
            entry_seq: self.seq,
            args: all,
            ret,
            ip: LIBC + u64::from(thread) * 0x10_0000_0000 + site,
            sp: 0x7ffc_0000_0000 + u64::from(thread) * 0x1000_0000 + (site & 0xff0),
            captures: 0,
            refs: 0,
        });
        self.seq += 1;
    }

    fn capture(&mut self, slot: u8, side: Side, addr: u64, bytes: &[u8]) {
        let len = bytes.len() as u32;
        let wanted = len.into();
        self.batch.captures.push(RawCapture { slot, side, status: Status::Whole, addr, wanted, len });
        self.batch.bytes.extend_from_slice(bytes);
        if let Some(event) = self.batch.events.last_mut() {
            event.captures += 1;
        }
    }

    fn reference(&mut self, slot: u8, fd: i32, object: u32) {
        self.batch.refs.push(RawRef { slot, fd, object });
        if let Some(event) = self.batch.events.last_mut() {
            event.refs += 1;
        }
    }

    /// openat, fstat, a few reads, close.
    fn file(&mut self, thread: u32) {
        let number = self.random.below(2000);
        let path = format!("/usr/share/doc/package-{}/file-{number}\0", number % 90);
        let heap = 0x5581_0000_0000 + u64::from(thread) * 0x1_0000_0000 + number * 64;
        let stack = 0x7ffc_0000_0000 + u64::from(thread) * 0x1000_0000 + 0x2340;
        let object = self.objects;
        self.objects += 1;
        self.batch.definitions.push(Definition::Object {
            kind: ObjectKind::File,
            path: path.trim_end_matches('\0').into(),
            detail: Vec::new(),
            dev: 66_305,
            ino: 100_000 + number * 7,
            created_by: Some(self.seq),
        });
        self.call(thread, 257, &[-100i64 as u64, heap, 0o200_0000], 3, 0x10_e7b0);
        self.capture(1, Side::In, heap, path.as_bytes());
        self.reference(slot::CWD, -100, 0);
        self.reference(slot::RET, 3, object);
        let mut stat = [0u8; 144];
        stat[8..16].copy_from_slice(&number.to_le_bytes());
        self.call(thread, 5, &[3, stack], 0, 0x10_e2c0);
        self.capture(1, Side::Out, stack, &stat);
        self.reference(0, 3, object);
        for _ in 0..self.random.below(6) {
            let count = 16 + self.random.below(200);
            let bytes: Vec<u8> = (0..count).map(|at| (number as u8).wrapping_add(at as u8 / 16)).collect();
            self.call(thread, 0, &[3, heap + 0x1000, 4096], count as i64, 0x10_e9d0);
            self.capture(1, Side::Out, heap + 0x1000, &bytes);
            self.reference(0, 3, object);
        }
        self.call(thread, 3, &[3], 0, 0x10_ed10);
        self.reference(0, 3, object);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: make_trace FILE MILLIONS [measure]")?;
    let millions: f64 = args.next().ok_or("how many millions?")?.parse()?;
    let wanted = (millions * 1e6) as u64;
    let options = Options { force: true, id: Some([1; 16]), ..Options::default() };
    let writer = Writer::create(path.as_ref(), &options)?;
    let mut made = Generator { random: Random(1), batch: RawBatch::default(), seq: 0, clock: 0, objects: 1 };
    for thread in 0..PROGRAMS {
        let (process, number) = (thread + 1, 1000 + thread as i32);
        made.batch.definitions.push(Definition::Thread {
            process,
            ordinal: 1,
            tid: number,
            pid: number,
            parent: thread.checked_sub(1),
            created_by: 0,
        });
    }
    made.batch.definitions.push(Definition::Object {
        kind: ObjectKind::Dir,
        path: b"/usr/share".to_vec(),
        detail: Vec::new(),
        dev: 66_305,
        ino: 12,
        created_by: None,
    });
    let begin = Instant::now();
    while made.seq < wanted {
        let thread = made.random.below(PROGRAMS.into()) as u32;
        made.file(thread);
        if made.batch.bytes.len() > 200_000 || made.batch.events.len() > 2000 {
            made.batch = writer.send(std::mem::take(&mut made.batch));
        }
    }
    writer.send(made.batch);
    let summary = writer.finish();
    let seconds = begin.elapsed().as_secs_f64();
    println!("{summary:?}");
    println!("made in {seconds:.2} s, {:.2} us per event", seconds * 1e6 / made.seq as f64);
    if args.next().is_some() {
        measure(path.as_ref())?;
    }
    Ok(())
}

fn measure(path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let trace = Trace::open(path)?;
    println!("opened in {:.4} s", begin.elapsed().as_secs_f64());
    let begin = Instant::now();
    println!("{} objects, definitions in {:.3} s", trace.definitions().object_count(), begin.elapsed().as_secs_f64());
    let base = Projection::BASE;
    let selections = [
        ("base", base),
        ("args", Projection { args: true, ..base }),
        ("refs", Projection { refs: true, ..base }),
        ("captures", Projection { captures: true, ..base }),
        ("all", Projection::ALL),
    ];
    for (name, projection) in selections {
        let begin = Instant::now();
        let mut events = 0u64;
        for number in 0..trace.blocks().len() {
            events += u64::from(trace.decode_block(number, projection)?.count);
        }
        let seconds = begin.elapsed().as_secs_f64();
        println!("{name:<9}{seconds:>7.2} s {:>7.1} million events per second", events as f64 / seconds / 1e6);
    }
    Ok(())
}
