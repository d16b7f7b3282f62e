//! Columns in, rows in stored order; `put.rs` makes arrays of them.

use super::model::{Reader, Stored, Tables, walk_args, walk_captures, walk_place, walk_refs, walk_ret};
use super::shape::{Shape, Shapes};
use super::time::TimeReader;
use super::{BlockHeader, COLUMNS, Column, Projection};
use crate::limits;
use crate::varint::{Cursor, DecodeError, Problem};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// The contents of a block before their bytes are fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentTable {
    /// Length of each content.
    pub lens: Vec<u32>,
    /// Whether its bytes are the next of the `Bytes` column; otherwise its chunks are the next of `chunks`.
    pub inline: Vec<bool>,
    /// Chunk numbers, as many per content as its length needs.
    pub chunks: Vec<u64>,
}

/// Decodes blocks; keeps its allocations from one to the next.
#[derive(Default)]
pub struct Decoder {
    pub(super) stored: Stored,
    tables: Tables,
    /// Thread of each group of rows.
    pub(super) threads: Vec<u32>,
    /// The order of the trace: the group that the next rows are of, and how many.
    pub(super) runs: Vec<(u32, u32)>,
    /// Codes of the rows that are no calls.
    pub(super) codes: Vec<i32>,
    /// In ticks.
    pub(super) start: Vec<u64>,
    pub(super) duration: Vec<u64>,
    /// In the order of the trace.
    pub(super) span: Vec<u32>,
}

/// A block in stored order: thread by thread, and of each thread in the order of the trace. What the projection left out is
/// empty.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    /// What many rows have in common.
    pub shapes: &'a [Shape],
    /// Of captures (slot, side, status, as FORMAT.md packs them) and of references (slots): ranges of shapes are places here.
    pub signatures: &'a [u8],
    /// Shape of each row: a place in `shapes`.
    pub shape: &'a [u32],
    /// Rows of each group, and the thread that it is.
    pub groups: &'a [Range<u32>],
    /// As above.
    pub threads: &'a [u32],
    /// The order of the trace: the group that the next rows are of, and how many.
    pub runs: &'a [(u32, u32)],
    /// Entry, in ticks.
    pub start: &'a [u64],
    /// From entry to exit, in ticks.
    pub duration: &'a [u64],
    /// Results.
    pub ret: &'a [u64],
    /// Content of each capture, row by row.
    pub content: &'a [u32],
    /// Object of each reference, row by row.
    pub object: &'a [u64],
}

/// The threads of a block's groups, and the order of the trace, as in [`Events`].
#[derive(Clone, Copy, Default)]
pub(super) struct Order<'a> {
    pub threads: &'a [u32],
    pub runs: &'a [(u32, u32)],
}

impl Stored {
    pub(super) fn events<'a>(&'a self, order: Order<'a>, start: &'a [u64], duration: &'a [u64]) -> Events<'a> {
        let Stored { skeleton, rows, captures, refs, .. } = self;
        Events {
            shapes: &skeleton.shapes.list,
            signatures: &skeleton.shapes.signatures,
            shape: &skeleton.shape,
            groups: &skeleton.groups,
            threads: order.threads,
            runs: order.runs,
            start,
            duration,
            ret: &rows.ret,
            content: &captures.content,
            object: &refs.object,
        }
    }
}

/// As many values that are 0, in memory that is there already.
pub(super) fn reset<T: Copy + Default>(values: &mut Vec<T>, count: usize) {
    values.clear();
    values.resize(count, T::default());
}

impl Decoder {
    /// Decodes `count` events, which stay here: [`Decoder::events`] and [`Decoder::put`] give them. `columns` has the raw bytes
    /// of every column that `projection` needs; others may be empty.
    ///
    /// # Errors
    /// When the columns do not describe a block; nothing is allocated beyond what the checked counts need.
    pub fn read(
        &mut self,
        header: &BlockHeader,
        count: u32,
        tick_ns: u32,
        columns: &[&[u8]; COLUMNS],
        projection: Projection,
    ) -> Result<ContentTable, DecodeError> {
        if count > limits::MAX_BLOCK_EVENTS {
            let problem = Problem::TooLarge { value: count.into(), limit: limits::MAX_BLOCK_EVENTS.into() };
            return Err(DecodeError { reading: "number of events", offset: 0, problem });
        }
        let mut number = 0;
        let cursors = columns.map(|bytes| {
            let cursor = Cursor::new(bytes, Column::NAMES[number]);
            number += 1;
            cursor
        });
        let mut reader = Reader { columns: cursors };
        let rows = count as usize;
        self.threads(&mut reader, rows)?;
        self.shapes(header, columns, &mut reader, rows)?;
        self.times(header, tick_ns, &mut reader, rows)?;
        self.span.clear();
        if projection.spans {
            self.spans(&mut reader.columns[Column::Span as usize])?;
        }
        reset(&mut self.stored.rows.ret, if projection.walks_results() { rows } else { 0 });
        if projection.walks_results() {
            walk_ret(&mut reader, &mut self.tables, &self.stored.skeleton, &mut self.stored.rows.ret)?;
        }
        let table = self.rest(header, &mut reader, projection, rows)?;
        for (id, cursor) in reader.columns.iter().enumerate() {
            if projection.needs(id) && id != Column::Shapes as usize && id != Column::Bytes as usize {
                cursor.end()?;
            }
        }
        Ok(table)
    }

    /// What was read last.
    #[must_use]
    pub fn events(&self) -> Events<'_> {
        let order = Order { threads: &self.threads, runs: &self.runs };
        self.stored.events(order, &self.start, &self.duration)
    }

    /// Everything beyond the base columns.
    fn rest(
        &mut self,
        header: &BlockHeader,
        reader: &mut Reader,
        projection: Projection,
        rows: usize,
    ) -> Result<ContentTable, DecodeError> {
        let Stored { skeleton, rows: known, captures, refs, .. } = &mut self.stored;
        let tables = &mut self.tables;
        let places = if projection.place || projection.walks_args() { rows } else { 0 };
        reset(&mut known.ip, places);
        reset(&mut known.sp, places);
        if places > 0 {
            walk_place(reader, tables, skeleton, &mut known.ip, &mut known.sp)?;
        }
        reset(&mut known.args, if projection.walks_args() { rows } else { 0 });
        if projection.walks_args() {
            let (known, args) = known.split_args();
            walk_args(reader, tables, skeleton, &known, args)?;
        }
        let mut table = ContentTable::default();
        let total = if projection.has_contents() { header.captures as usize } else { 0 };
        let placed = if projection.captures { total } else { 0 };
        reset(&mut captures.addr, placed);
        reset(&mut captures.wanted, placed);
        reset(&mut captures.content, total);
        if projection.has_contents() {
            table = content_table(header, reader)?;
            let known = known.known();
            walk_captures(reader, tables, skeleton, projection.captures.then_some(&known), &table.lens, captures)?;
        }
        let total = if projection.refs { header.refs as usize } else { 0 };
        reset(&mut refs.fd, total);
        reset(&mut refs.object, total);
        if projection.refs {
            walk_refs(reader, tables, skeleton, &known.known(), header.object_base, refs)?;
            check_refs(&refs.fd, &refs.object)?;
        }
        Ok(table)
    }

    fn threads(&mut self, reader: &mut Reader, rows: usize) -> Result<(), DecodeError> {
        let threads = &mut self.threads;
        let runs = &mut self.runs;
        let mut counts: Vec<u32> = Vec::new();
        threads.clear();
        runs.clear();
        let (mut now, mut other) = (usize::MAX, usize::MAX);
        let mut left = rows;
        while left > 0 {
            let token = reader.columns[Column::Threads as usize].varint()?;
            let slot = match token {
                0 => now,
                1 => other,
                slot => usize::try_from(slot - 2).unwrap_or(usize::MAX),
            };
            if slot == threads.len() {
                let cursor = &mut reader.columns[Column::NewThreads as usize];
                let before = i64::from(threads.last().copied().unwrap_or(0));
                let thread = before.wrapping_add(cursor.signed()?);
                if !(0..i64::from(limits::MAX_THREADS)).contains(&thread) {
                    let limit = u64::from(limits::MAX_THREADS) - 1;
                    return Err(cursor.fail(Problem::TooLarge { value: thread as u64, limit }));
                }
                threads.push(thread as u32);
                counts.push(0);
            }
            let cursor = &mut reader.columns[Column::Threads as usize];
            let Some(count) = counts.get_mut(slot) else {
                return Err(cursor.fail(Problem::Invalid { value: token }));
            };
            // Those that follow are mostly of the same thread.
            let run = 1 + cursor.skip_zeros(left - 1);
            left -= run;
            *count += run as u32;
            match runs.last_mut() {
                Some((last, len)) if *last == slot as u32 => *len += run as u32,
                _ => runs.push((slot as u32, run as u32)),
            }
            if slot != now {
                (now, other) = (slot, now);
            }
        }
        self.stored.skeleton.groups.clear();
        let mut start = 0;
        for count in counts {
            self.stored.skeleton.groups.push(start..start + count);
            start += count;
        }
        Ok(())
    }

    fn shapes(
        &mut self,
        header: &BlockHeader,
        columns: &[&[u8]; COLUMNS],
        reader: &mut Reader,
        rows: usize,
    ) -> Result<(), DecodeError> {
        let dictionary = columns[Column::Shapes as usize];
        let skeleton = &mut self.stored.skeleton;
        skeleton.shapes = Shapes::decode(dictionary, rows as u32, header.captures, header.refs)?;
        let shapes = &skeleton.shapes.list;
        let mut left = vec![0u32; shapes.len()];
        let cursor = &mut reader.columns[Column::Shape as usize];
        reset(&mut skeleton.shape, rows);
        for place in &mut skeleton.shape {
            let number = cursor.varint()?;
            let Some(count) = usize::try_from(number).ok().and_then(|number| left.get_mut(number)) else {
                let limit = (shapes.len() as u64).saturating_sub(1);
                return Err(cursor.fail(Problem::TooLarge { value: number, limit }));
            };
            *count += 1;
            *place = number as u32;
        }
        let (mut captures, mut refs, mut others) = (0u64, 0u64, 0u64);
        for (shape, &count) in shapes.iter().zip(&left) {
            captures += u64::from(count) * shape.captures.len() as u64;
            refs += u64::from(count) * shape.refs.len() as u64;
            others += if shape.is_call() { 0 } else { u64::from(count) };
        }
        for (total, expected, reading) in
            [(captures, header.captures, "number of captures"), (refs, header.refs, "number of references")]
        {
            if total != u64::from(expected) {
                let problem = Problem::Invalid { value: total };
                return Err(DecodeError { reading, offset: expected.into(), problem });
            }
        }
        self.codes.clear();
        for _ in 0..others {
            let cursor = &mut reader.columns[Column::Code as usize];
            let code = cursor.signed()?;
            self.codes.push(i32::try_from(code).map_err(|_| cursor.fail(Problem::Invalid { value: code as u64 }))?);
        }
        Ok(())
    }

    fn times(
        &mut self,
        header: &BlockHeader,
        tick_ns: u32,
        reader: &mut Reader,
        rows: usize,
    ) -> Result<(), DecodeError> {
        let [start_class, duration_class, mut escapes] =
            [Column::StartClass, Column::DurationClass, Column::TimeEscapes]
                .map(|column| reader.columns[column as usize].clone());
        let mut starts = TimeReader::new(start_class, reader.columns[Column::StartBits as usize].rest());
        let mut durations = TimeReader::new(duration_class, reader.columns[Column::DurationBits as usize].rest());
        let limit = limits::MAX_TIME_NS / u64::from(tick_ns);
        reset(&mut self.start, rows);
        reset(&mut self.duration, rows);
        let mut group_start = header.base_time;
        for group in &self.stored.skeleton.groups {
            let group = group.start as usize..group.end as usize;
            let mut before = group_start;
            for (place, long) in self.start[group.clone()].iter_mut().zip(&mut self.duration[group.clone()]) {
                let start = before.wrapping_add(starts.next(&mut escapes)? as u64);
                let duration = durations.next(&mut escapes)? as u64;
                let end = start.wrapping_add(duration);
                if start > limit || end > limit || end < start {
                    return Err(escapes.fail(Problem::TooLarge { value: start.max(end), limit }));
                }
                (*place, *long) = (start, duration);
                before = end;
            }
            group_start = self.start.get(group.start).copied().unwrap_or(group_start);
        }
        starts.end()?;
        durations.end()?;
        reader.columns[Column::TimeEscapes as usize] = escapes;
        for column in [Column::StartClass, Column::StartBits, Column::DurationClass, Column::DurationBits] {
            // Checked to their ends above.
            reader.columns[column as usize] = Cursor::new(&[], column.name());
        }
        Ok(())
    }

    fn spans(&mut self, cursor: &mut Cursor) -> Result<(), DecodeError> {
        let mut next: Vec<u32> = self.stored.skeleton.groups.iter().map(|group| group.start).collect();
        // The running maximum of the ends.
        let mut latest: Vec<u64> = Vec::with_capacity(self.start.len());
        let mut maximum = 0;
        self.span.reserve_exact(self.start.len());
        for &(group, len) in &self.runs {
            let place = &mut next[group as usize];
            let rows = *place as usize..(*place + len) as usize;
            *place += len;
            for (&start, &duration) in self.start[rows.clone()].iter().zip(&self.duration[rows]) {
                let predicted = i64::from(super::predict_span(&latest, start));
                let span = predicted.wrapping_add(cursor.signed()?);
                let Ok(span) = u32::try_from(span) else {
                    return Err(cursor.fail(Problem::TooLarge { value: span as u64, limit: u32::MAX.into() }));
                };
                self.span.push(span);
                maximum = maximum.max(start + duration);
                latest.push(maximum);
            }
        }
        Ok(())
    }
}

/// Descriptors are ints, and objects below their limit.
fn check_refs(fds: &[u64], objects: &[u64]) -> Result<(), DecodeError> {
    let limit = u64::from(limits::MAX_OBJECTS);
    let is_int = |fd: u64| fd == fd as i32 as u64;
    // Without a branch per value, since there is nothing to find.
    let wide = fds.iter().fold(0, |bits, &fd| bits | (fd ^ fd as i32 as u64));
    let largest = objects.iter().copied().max().unwrap_or(0);
    if wide == 0 && largest < limit {
        return Ok(());
    }
    let pairs = fds.iter().zip(objects).enumerate();
    for (next, (&fd, &object)) in pairs {
        if !is_int(fd) {
            return Err(out_of_range("descriptor", next, fd, i32::MAX as u64));
        }
        if object >= limit {
            return Err(out_of_range("object", next, object, limit - 1));
        }
    }
    Ok(())
}

#[cold]
fn out_of_range(reading: &'static str, offset: usize, value: u64, limit: u64) -> DecodeError {
    DecodeError { reading, offset: offset as u64, problem: Problem::TooLarge { value, limit } }
}

fn content_table(header: &BlockHeader, reader: &mut Reader) -> Result<ContentTable, DecodeError> {
    let inline_bytes = reader.columns[Column::Bytes as usize].left() as u64;
    let cursor = &mut reader.columns[Column::Contents as usize];
    let cursor_limit = u64::from(limits::MAX_BLOCK_BYTES);
    let mut table = ContentTable::default();
    let (mut total, mut inline_total) = (0u64, 0u64);
    let mut chunk = header.content_base;
    // Each takes a byte at least.
    let most = (header.contents as usize).min(cursor.left());
    table.lens.reserve_exact(most);
    table.inline.reserve_exact(most);
    for _ in 0..header.contents {
        let entry = cursor.bounded(cursor_limit << 1 | 1)?;
        let (len, inline) = (entry >> 1, entry & 1 == 0);
        total += len;
        if len == 0 || total > header.content_bytes.into() {
            return Err(cursor.fail(Problem::TooLarge { value: total, limit: header.content_bytes.into() }));
        }
        if inline {
            if len >= limits::INLINE_BELOW.into() {
                let limit = u64::from(limits::INLINE_BELOW) - 1;
                return Err(cursor.fail(Problem::TooLarge { value: len, limit }));
            }
            inline_total += len;
        } else {
            for _ in 0..len.div_ceil(limits::CHUNK_BYTES.into()) {
                let number = chunk.wrapping_add(cursor.signed()? as u64);
                table.chunks.push(number);
                chunk = number.wrapping_add(1);
            }
        }
        table.lens.push(len as u32);
        table.inline.push(inline);
    }
    if total != u64::from(header.content_bytes) || inline_total != inline_bytes {
        return Err(cursor.fail(Problem::Invalid { value: inline_total }));
    }
    Ok(table)
}
