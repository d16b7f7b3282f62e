//! The writer's memory has a bound, however much goes through it.

#[path = "files/common.rs"]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Folder, Random, options};
use trace_engine::raw::{Definition, RawBatch, RawCapture, RawEvent};
use trace_engine::writer::{Options, Writer};
use trace_format::event::{EventKind, Side, Status};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What goes through, and what the writer may hold of it.
const CONTENT: usize = 300;
const EVENTS: u64 = 700_000;
const ALLOWED: usize = 80 << 20;

#[test]
fn much_goes_through_little_memory() {
    let folder = Folder::new("memory");
    let path = folder.file("a.trace");
    let mut random = Random(1);
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let writer = Writer::create(&path, &Options { remembered_chunks: 100_000, ..options() }).unwrap();
    let mut batch = RawBatch::default();
    batch.definitions.push(Definition::Thread { process: 1, ordinal: 1, tid: 1, pid: 1, parent: None, created_by: 0 });
    for seq in 0..EVENTS {
        batch.events.push(RawEvent {
            kind: EventKind::Call,
            flags: 0,
            arch: 0,
            nargs: 3,
            code: 1,
            thread: 0,
            start: seq * 10,
            end: seq * 10 + 5,
            entry_seq: seq,
            args: [1, 0x1000, CONTENT as u64, 0, 0, 0],
            ret: CONTENT as i64,
            ip: 0x1234,
            sp: 0x5678,
            captures: 1,
            refs: 0,
        });
        let len = CONTENT as u32;
        batch.captures.push(RawCapture {
            slot: 1,
            side: Side::In,
            status: Status::Whole,
            addr: 0x1000,
            wanted: len.into(),
            len,
        });
        // Different each time.
        batch.bytes.extend_from_slice(&random.word().to_le_bytes());
        batch.bytes.resize(batch.bytes.len() + CONTENT - 8, seq as u8);
        if batch.bytes.len() >= 512 << 10 {
            batch = writer.send(batch);
        }
    }
    writer.send(batch);
    let summary = writer.finish();
    assert!(summary.failure.is_none());
    assert_eq!(summary.events, EVENTS);
    assert_eq!(summary.bytes_deduplicated, 0);
    let peak = PEAK.load(Ordering::Relaxed) - before;
    assert!(peak < ALLOWED, "{} MiB for {} MiB", peak >> 20, (EVENTS as usize * CONTENT) >> 20);
}
