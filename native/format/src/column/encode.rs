//! Rows in, columns out.

use super::decode::Order;
use super::model::{Stored, Tables, Writer, walk_args, walk_captures, walk_place, walk_refs, walk_ret};
use super::shape::{ShapeFinder, pack_signature};
use super::time::TimeWriter;
use super::{BlockHeader, COLUMNS, Column, Events, NO_CONTENT};
use crate::event::{EventKind, Side, Status};
use crate::limits;
use crate::varint::{put, put_signed};
use alloc::vec;
use alloc::vec::Vec;

/// One event. Its captures and references are the next of the block's.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is.
    pub kind: EventKind,
    /// Bits of `event::flag`.
    pub flags: u8,
    /// Code of the architecture.
    pub arch: u8,
    /// How many of `args` count, at most 6.
    pub nargs: u8,
    /// Syscall number, signal, wait status.
    pub code: i32,
    /// Index of the thread in the trace.
    pub thread: u32,
    /// Entry in ticks.
    pub start: u64,
    /// Exit in ticks, not before `start`.
    pub end: u64,
    /// Events committed between entry and commit.
    pub span: u32,
    /// Arguments.
    pub args: [u64; 6],
    /// Result.
    pub ret: i64,
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// How many captures.
    pub captures: u16,
    /// How many references.
    pub refs: u16,
}

/// One capture.
#[derive(Clone, Copy, Debug)]
pub struct CaptureRow {
    /// Argument or `event::slot`.
    pub slot: u8,
    /// Entry or exit.
    pub side: Side,
    /// How much is there.
    pub status: Status,
    /// Address in the tracee.
    pub addr: u64,
    /// Bytes that the call spoke of.
    pub wanted: u64,
    /// Index in the block's contents, or [`NO_CONTENT`].
    pub content: u32,
}

/// One reference.
#[derive(Clone, Copy, Debug)]
pub struct RefRow {
    /// Argument or `event::slot`.
    pub slot: u8,
    /// The descriptor.
    pub fd: i32,
    /// Index of the object in the trace.
    pub object: u32,
}

/// One distinct content of the block; `at` is a position in `inline` (short contents) or in `chunks`.
#[derive(Clone, Copy, Debug)]
pub struct ContentRow {
    /// Its bytes.
    pub len: u32,
    /// Kept in the block itself.
    pub inline: bool,
    /// Where its bytes or chunk numbers start.
    pub at: u32,
}

/// A block under construction.
#[derive(Default, Debug)]
pub struct BlockRows {
    /// The events.
    pub rows: Vec<Row>,
    /// Their captures.
    pub captures: Vec<CaptureRow>,
    /// Their references.
    pub refs: Vec<RefRow>,
    /// The distinct contents.
    pub contents: Vec<ContentRow>,
    /// Bytes of the short ones.
    pub inline: Vec<u8>,
    /// Chunk numbers of the others.
    pub chunks: Vec<u64>,
    /// Objects referred to before this block.
    pub object_base: u64,
    /// Chunks written before this block.
    pub content_base: u64,
}

impl BlockRows {
    /// Forgets the rows and keeps the allocations.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.captures.clear();
        self.refs.clear();
        self.contents.clear();
        self.inline.clear();
        self.chunks.clear();
    }
}

/// Encodes blocks; keeps its allocations from one to the next.
pub struct Encoder {
    columns: Vec<Vec<u8>>,
    finder: ShapeFinder,
    stored: Stored,
    tables: Tables,
    lens: Vec<u32>,
    /// The block's contents in stored order.
    contents: Vec<u32>,
    /// Of each row in stored order, in ticks.
    start: Vec<u64>,
    duration: Vec<u64>,
    /// Local number of a thread plus 1, by its index in the trace.
    local: Vec<u32>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder.
    #[must_use]
    pub fn new() -> Self {
        Encoder {
            columns: vec![Vec::new(); COLUMNS],
            finder: ShapeFinder::new(),
            stored: Stored::default(),
            tables: Tables::default(),
            lens: Vec::new(),
            contents: Vec::new(),
            start: Vec::new(),
            duration: Vec::new(),
            local: Vec::new(),
        }
    }

    /// The columns of a block that stays within the limits, in the order of their codes. As many others may be left in their place.
    ///
    /// # Panics
    /// When the rows' counts do not fit the arrays, or a thread index is beyond the limit: a mistake of the caller.
    pub fn encode(&mut self, block: &BlockRows) -> (BlockHeader, &mut Vec<Vec<u8>>) {
        self.columns.iter_mut().for_each(Vec::clear);
        self.threads(block);
        self.collect(block);
        let mut header = BlockHeader {
            base_time: self.stored.order.first().map_or(0, |&row| block.rows[row as usize].start),
            object_base: block.object_base,
            content_base: block.content_base,
            captures: block.captures.len() as u32,
            refs: block.refs.len() as u32,
            contents: block.contents.len() as u32,
            content_bytes: block.contents.iter().map(|content| content.len).sum(),
            min_start: block.rows.first().map_or(0, |row| row.start),
            ..BlockHeader::default()
        };
        for row in &block.rows {
            header.min_start = header.min_start.min(row.start);
            header.max_end = header.max_end.max(row.end);
            header.spanning += u32::from(row.span > 0);
            header.kinds |= 1 << row.kind as u8;
        }
        self.times(header.base_time);
        self.spans(block);
        let mut coder = Writer { columns: &mut self.columns };
        let Stored { skeleton, rows, captures, refs, .. } = &mut self.stored;
        let tables = &mut self.tables;
        let done = walk_ret(&mut coder, tables, skeleton, &mut rows.ret)
            .and_then(|()| walk_place(&mut coder, tables, skeleton, &mut rows.ip, &mut rows.sp))
            .and_then(|()| {
                let (known, args) = rows.split_args();
                walk_args(&mut coder, tables, skeleton, &known, args)?;
                let known = rows.known();
                walk_captures(&mut coder, tables, skeleton, Some(&known), &self.lens, captures)?;
                walk_refs(&mut coder, tables, skeleton, &known, block.object_base, refs)
            });
        done.expect("contents are numbered in stored order");
        (header, &mut self.columns)
    }

    /// What was encoded last, in stored order. Threads and the order of the trace are left out.
    #[must_use]
    pub fn events(&self) -> Events<'_> {
        self.stored.events(Order::default(), &self.start, &self.duration)
    }

    /// The contents of that block in stored order, by their places in [`BlockRows::contents`].
    #[must_use]
    pub fn contents(&self) -> &[u32] {
        &self.contents
    }

    /// Finds the stored order: by thread, in the order of the threads' first events.
    fn threads(&mut self, block: &BlockRows) {
        let mut slots: Vec<u32> = Vec::with_capacity(block.rows.len());
        let mut threads: Vec<u32> = Vec::new();
        let mut counts: Vec<u32> = Vec::new();
        let (mut now, mut other) = (u32::MAX, u32::MAX);
        for row in &block.rows {
            assert!(row.thread < limits::MAX_THREADS, "thread {} is over the limit", row.thread);
            let index = row.thread as usize;
            if index >= self.local.len() {
                self.local.resize(index + 1, 0);
            }
            if self.local[index] == 0 {
                threads.push(row.thread);
                counts.push(0);
                self.local[index] = threads.len() as u32;
                let before = threads.len().checked_sub(2).map_or(0, |last| threads[last]);
                put_signed(&mut self.columns[Column::NewThreads as usize], i64::from(row.thread) - i64::from(before));
            }
            let slot = self.local[index] - 1;
            let token = if slot == now {
                0
            } else if slot == other {
                1
            } else {
                u64::from(slot) + 2
            };
            put(&mut self.columns[Column::Threads as usize], token);
            if slot != now {
                (now, other) = (slot, now);
            }
            counts[slot as usize] += 1;
            slots.push(slot);
        }
        for &thread in &threads {
            self.local[thread as usize] = 0;
        }
        self.stored.skeleton.groups.clear();
        let mut start = 0;
        for &count in &counts {
            self.stored.skeleton.groups.push(start..start + count);
            start += count;
        }
        let mut next: Vec<u32> = self.stored.skeleton.groups.iter().map(|group| group.start).collect();
        self.stored.order.clear();
        self.stored.order.resize(block.rows.len(), 0);
        for (row, &slot) in slots.iter().enumerate() {
            let place = &mut next[slot as usize];
            self.stored.order[*place as usize] = row as u32;
            *place += 1;
        }
    }

    /// Copies everything into stored order, finds the shapes, and numbers the contents by their first use.
    fn collect(&mut self, block: &BlockRows) {
        let mut starts = Vec::with_capacity(block.rows.len());
        let (mut captures, mut refs) = (0usize, 0usize);
        for row in &block.rows {
            starts.push((captures, refs));
            captures += usize::from(row.captures);
            refs += usize::from(row.refs);
        }
        assert!(captures == block.captures.len() && refs == block.refs.len(), "counts do not fit the arrays");
        self.finder.clear();
        self.stored.skeleton.shape.clear();
        self.start.clear();
        self.duration.clear();
        self.stored.rows.ret.clear();
        self.stored.rows.ip.clear();
        self.stored.rows.sp.clear();
        self.stored.rows.args.clear();
        self.stored.captures.addr.clear();
        self.stored.captures.wanted.clear();
        self.stored.captures.content.clear();
        self.stored.refs.fd.clear();
        self.stored.refs.object.clear();
        self.lens.clear();
        self.contents.clear();
        let mut numbers = vec![NO_CONTENT; block.contents.len()];
        let mut chunk = block.content_base;
        for &index in &self.stored.order {
            let row = &block.rows[index as usize];
            let (first_capture, first_ref) = starts[index as usize];
            let captures = &block.captures[first_capture..first_capture + usize::from(row.captures)];
            let refs = &block.refs[first_ref..first_ref + usize::from(row.refs)];
            let is_call = row.kind == EventKind::Call;
            if !is_call {
                put_signed(&mut self.columns[Column::Code as usize], row.code.into());
            }
            let shape = self.finder.find(
                [row.kind as u8, row.flags, row.arch, row.nargs],
                if is_call { row.code } else { 0 },
                captures.iter().map(|capture| pack_signature(capture.slot, capture.side, capture.status)),
                refs.iter().map(|reference| reference.slot),
            );
            put(&mut self.columns[Column::Shape as usize], shape.into());
            self.stored.skeleton.shape.push(shape);
            self.start.push(row.start);
            self.duration.push(row.end.wrapping_sub(row.start));
            self.stored.rows.ret.push(row.ret as u64);
            self.stored.rows.ip.push(row.ip);
            self.stored.rows.sp.push(row.sp);
            let mut args = [0; 6];
            args[..usize::from(row.nargs)].copy_from_slice(&row.args[..usize::from(row.nargs)]);
            self.stored.rows.args.push(args);
            for capture in captures {
                self.stored.captures.addr.push(capture.addr);
                self.stored.captures.wanted.push(capture.wanted);
                let mut content = capture.content;
                if content != NO_CONTENT {
                    let number = &mut numbers[content as usize];
                    if *number == NO_CONTENT {
                        *number = self.lens.len() as u32;
                        let row = block.contents[content as usize];
                        self.lens.push(row.len);
                        self.contents.push(content);
                        write_content(&mut self.columns, block, row, &mut chunk);
                    }
                    content = *number;
                }
                self.stored.captures.content.push(content);
            }
            for reference in refs {
                self.stored.refs.fd.push(i64::from(reference.fd) as u64);
                self.stored.refs.object.push(reference.object.into());
            }
        }
        core::mem::swap(&mut self.columns[Column::Shapes as usize], &mut self.finder.encoded);
        core::mem::swap(&mut self.stored.skeleton.shapes, &mut self.finder.shapes);
    }

    fn times(&mut self, base_time: u64) {
        let mut columns = self.columns[Column::StartClass as usize..=Column::TimeEscapes as usize].iter_mut();
        let mut next = || columns.next().expect("five columns");
        let (start_class, start_bits, duration_class, duration_bits, escapes) =
            (next(), next(), next(), next(), next());
        let mut none = Vec::new();
        let mut starts = TimeWriter::new(start_class, start_bits, escapes);
        let mut durations = TimeWriter::new(duration_class, duration_bits, &mut none);
        let mut group_start = base_time;
        for group in &self.stored.skeleton.groups {
            let group = group.start as usize..group.end as usize;
            let mut before = group_start;
            for (&start, &duration) in self.start[group.clone()].iter().zip(&self.duration[group.clone()]) {
                starts.push(start.wrapping_sub(before) as i64);
                durations.push(duration as i64);
                starts.escapes.append(durations.escapes);
                before = start.wrapping_add(duration);
            }
            group_start = self.start.get(group.start).copied().unwrap_or(group_start);
        }
        starts.finish();
        durations.finish();
    }

    fn spans(&mut self, block: &BlockRows) {
        let column = &mut self.columns[Column::Span as usize];
        let mut latest: Vec<u64> = Vec::with_capacity(block.rows.len());
        for row in &block.rows {
            let predicted = super::predict_span(&latest, row.start);
            put_signed(column, i64::from(row.span) - i64::from(predicted));
            latest.push(latest.last().copied().unwrap_or(0).max(row.end));
        }
    }
}

fn write_content(columns: &mut [Vec<u8>], block: &BlockRows, content: ContentRow, chunk: &mut u64) {
    let table = &mut columns[Column::Contents as usize];
    put(table, u64::from(content.len) << 1 | u64::from(!content.inline));
    let at = content.at as usize;
    if content.inline {
        columns[Column::Bytes as usize].extend_from_slice(&block.inline[at..at + content.len as usize]);
    } else {
        let count = content.len.div_ceil(limits::CHUNK_BYTES) as usize;
        for &number in &block.chunks[at..at + count] {
            put_signed(table, number.wrapping_sub(*chunk) as i64);
            *chunk = number + 1;
        }
    }
}
