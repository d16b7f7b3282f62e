//! Columns in, arrays out.
#![allow(clippy::cast_precision_loss, reason = "times are bounded by what a double holds; `wanted` is for show")]

use super::model::{Reader, Stored, walk_args, walk_captures, walk_place, walk_refs, walk_ret};
use super::shape::Shapes;
use super::time::TimeReader;
use super::{BlockHeader, COLUMNS, Column, Columns, Projection};
use crate::limits;
use crate::varint::{Cursor, DecodeError, Problem};
use alloc::vec;
use alloc::vec::Vec;

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
    stored: Stored,
    /// Number of the thread per row.
    slots: Vec<u32>,
}

/// As many values that are 0, in memory that is there already.
fn reset<T: Copy + Default>(values: &mut Vec<T>, count: usize) {
    values.clear();
    values.resize(count, T::default());
}

impl Decoder {
    /// Decodes `count` events. `columns` has the raw bytes of every column that `projection` needs; others may be empty.
    /// `content_start` and `bytes` are left empty: the table says what belongs there. What `out` held is forgotten, and its
    /// memory used again.
    ///
    /// # Errors
    /// When the columns do not describe a block; nothing is allocated beyond what the checked counts need.
    pub fn decode(
        &mut self,
        header: &BlockHeader,
        count: u32,
        tick_ns: u32,
        columns: &[&[u8]; COLUMNS],
        projection: Projection,
        out: &mut Columns,
    ) -> Result<ContentTable, DecodeError> {
        if count > limits::MAX_BLOCK_EVENTS {
            let problem = Problem::TooLarge { value: count.into(), limit: limits::MAX_BLOCK_EVENTS.into() };
            return Err(DecodeError { reading: "number of events", offset: 0, problem });
        }
        out.clear();
        out.count = count;
        let mut number = 0;
        let cursors = columns.map(|bytes| {
            let cursor = Cursor::new(bytes, Column::NAMES[number]);
            number += 1;
            cursor
        });
        let mut reader = Reader { columns: cursors };
        self.threads(&mut reader, out)?;
        self.shapes(header, columns, &mut reader, out)?;
        self.times(header, tick_ns, projection.spans, &mut reader, out)?;
        reset(&mut self.stored.rows.ret, count as usize);
        if projection.walks_results() {
            walk_ret(&mut reader, &self.stored.skeleton, &mut self.stored.rows.ret)?;
        }
        if projection.results {
            self.pairs(&self.stored.rows.ret, |word| word as i32, &mut out.ret);
        }
        let table = self.rest(header, &mut reader, projection, out)?;
        for (id, cursor) in reader.columns.iter().enumerate() {
            if projection.needs(id) && id != Column::Shapes as usize && id != Column::Bytes as usize {
                cursor.end()?;
            }
        }
        Ok(table)
    }

    /// Everything beyond the base columns.
    fn rest(
        &mut self,
        header: &BlockHeader,
        reader: &mut Reader,
        projection: Projection,
        out: &mut Columns,
    ) -> Result<ContentTable, DecodeError> {
        let rows = self.stored.rows.ret.len();
        if projection.place || projection.walks_args() {
            reset(&mut self.stored.rows.ip, rows);
            reset(&mut self.stored.rows.sp, rows);
            walk_place(reader, &self.stored.skeleton, &mut self.stored.rows.ip, &mut self.stored.rows.sp)?;
        }
        if projection.place {
            self.pairs(&self.stored.rows.ip, |word| word, &mut out.ip);
            self.pairs(&self.stored.rows.sp, |word| word, &mut out.sp);
        }
        if projection.walks_args() {
            reset(&mut self.stored.rows.args, rows);
            let (known, args) = self.stored.rows.split_args();
            walk_args(reader, &self.stored.skeleton, &known, args)?;
        }
        if projection.args {
            reset(&mut out.args, rows * 12);
            for (values, &row) in self.stored.rows.args.iter().zip(&self.stored.order) {
                let place = row as usize * 12;
                for (pair, value) in out.args[place..place + 12].chunks_exact_mut(2).zip(values) {
                    pair.copy_from_slice(&[*value as u32, (*value >> 32) as u32]);
                }
            }
        }
        let mut table = ContentTable::default();
        if projection.has_contents() {
            table = content_table(header, reader)?;
            self.captures(header, reader, &table, projection.captures, out)?;
        }
        if projection.refs {
            self.refs(header, reader, out)?;
        }
        Ok(table)
    }

    /// Values in stored order as pairs of words in the order of the trace.
    fn pairs<T: Copy + Default>(&self, values: &[u64], word: impl Fn(u32) -> T, out: &mut Vec<T>) {
        reset(out, values.len() * 2);
        for (&value, &row) in values.iter().zip(&self.stored.order) {
            let place = row as usize * 2;
            out[place..place + 2].copy_from_slice(&[word(value as u32), word((value >> 32) as u32)]);
        }
    }

    fn threads(&mut self, reader: &mut Reader, out: &mut Columns) -> Result<(), DecodeError> {
        let rows = out.count as usize;
        let mut threads: Vec<u32> = Vec::new();
        let mut counts: Vec<u32> = Vec::new();
        self.slots.clear();
        let (mut now, mut other) = (usize::MAX, usize::MAX);
        out.thread.reserve_exact(rows);
        for _ in 0..rows {
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
            let Some(count) = counts.get_mut(slot) else {
                return Err(reader.columns[Column::Threads as usize].fail(Problem::Invalid { value: token }));
            };
            *count += 1;
            if slot != now {
                (now, other) = (slot, now);
            }
            self.slots.push(slot as u32);
            out.thread.push(threads[slot]);
        }
        self.stored.skeleton.groups.clear();
        let mut start = 0;
        for count in &mut counts {
            self.stored.skeleton.groups.push(start..start + *count);
            start += core::mem::replace(count, start);
        }
        reset(&mut self.stored.order, rows);
        for (row, &slot) in self.slots.iter().enumerate() {
            let place = &mut counts[slot as usize];
            self.stored.order[*place as usize] = row as u32;
            *place += 1;
        }
        Ok(())
    }

    fn shapes(
        &mut self,
        header: &BlockHeader,
        columns: &[&[u8]; COLUMNS],
        reader: &mut Reader,
        out: &mut Columns,
    ) -> Result<(), DecodeError> {
        let rows = out.count as usize;
        let dictionary = columns[Column::Shapes as usize];
        self.stored.skeleton.shapes = Shapes::decode(dictionary, out.count, header.captures, header.refs)?;
        let shapes = &self.stored.skeleton.shapes.list;
        reset(&mut out.kind, rows);
        reset(&mut out.flags, rows);
        reset(&mut out.arch, rows);
        reset(&mut out.nargs, rows);
        reset(&mut out.code, rows);
        self.stored.skeleton.shape.clear();
        let (mut captures, mut refs) = (0u64, 0u64);
        for &row in &self.stored.order {
            let row = row as usize;
            let cursor = &mut reader.columns[Column::Shape as usize];
            let number = cursor.varint()?;
            let Some(shape) = usize::try_from(number).ok().and_then(|number| shapes.get(number)) else {
                let limit = (shapes.len() as u64).saturating_sub(1);
                return Err(cursor.fail(Problem::TooLarge { value: number, limit }));
            };
            self.stored.skeleton.shape.push(number as u32);
            captures += u64::from(shape.captures.end - shape.captures.start);
            refs += u64::from(shape.refs.end - shape.refs.start);
            out.kind[row] = shape.kind;
            out.flags[row] = shape.flags;
            out.arch[row] = shape.arch;
            out.nargs[row] = shape.nargs;
            out.code[row] = if shape.is_call() {
                shape.code
            } else {
                let cursor = &mut reader.columns[Column::Code as usize];
                let code = cursor.signed()?;
                i32::try_from(code).map_err(|_| cursor.fail(Problem::Invalid { value: code as u64 }))?
            };
        }
        for (total, expected, reading) in
            [(captures, header.captures, "number of captures"), (refs, header.refs, "number of references")]
        {
            if total != u64::from(expected) {
                return Err(DecodeError {
                    reading,
                    offset: expected.into(),
                    problem: Problem::Invalid { value: total },
                });
            }
        }
        Ok(())
    }

    fn times(
        &mut self,
        header: &BlockHeader,
        tick_ns: u32,
        with_spans: bool,
        reader: &mut Reader,
        out: &mut Columns,
    ) -> Result<(), DecodeError> {
        let rows = out.count as usize;
        let [start_class, start_bits, duration_class, duration_bits, mut escapes, span] = [
            Column::StartClass,
            Column::StartBits,
            Column::DurationClass,
            Column::DurationBits,
            Column::TimeEscapes,
            Column::Span,
        ]
        .map(|column| reader.columns[column as usize].clone());
        let mut starts = TimeReader::new(start_class, start_bits);
        let mut durations = TimeReader::new(duration_class, duration_bits);
        let limit = limits::MAX_TIME_NS / u64::from(tick_ns);
        let nanoseconds = f64::from(tick_ns);
        let wanted = if with_spans { rows } else { 0 };
        let mut start_ticks = vec![0u64; wanted];
        let mut latest = vec![0u64; wanted];
        reset(&mut out.start, rows);
        reset(&mut out.duration, rows);
        let mut group_start = header.base_time;
        for group in &self.stored.skeleton.groups {
            let mut before = group_start;
            for (position, &row) in self.stored.order[group.start as usize..group.end as usize].iter().enumerate() {
                let row = row as usize;
                let start = before.wrapping_add(starts.next(&mut escapes)? as u64);
                let duration = durations.next(&mut escapes)? as u64;
                let end = start.wrapping_add(duration);
                if start > limit || end > limit || end < start {
                    return Err(escapes.fail(Problem::TooLarge { value: start.max(end), limit }));
                }
                out.start[row] = start as f64 * nanoseconds;
                out.duration[row] = duration as f64 * nanoseconds;
                if with_spans {
                    start_ticks[row] = start;
                    latest[row] = end;
                }
                before = end;
                if position == 0 {
                    group_start = start;
                }
            }
        }
        starts.end()?;
        durations.end()?;
        if with_spans {
            spans(span, &start_ticks, &mut latest, out)?;
        }
        reader.columns[Column::TimeEscapes as usize] = escapes;
        for column in [Column::StartClass, Column::StartBits, Column::DurationClass, Column::DurationBits, Column::Span]
        {
            // Checked to their ends above.
            reader.columns[column as usize] = Cursor::new(&[], column.name());
        }
        Ok(())
    }

    /// Positions per event: as many entries as `count` says for each, in the order of the trace.
    fn starts(&self, count: impl Fn(usize) -> u32, starts: &mut Vec<u32>) {
        reset(starts, self.stored.order.len() + 1);
        for (stored, &row) in self.stored.order.iter().enumerate() {
            starts[row as usize + 1] = count(self.stored.skeleton.shape[stored] as usize);
        }
        let mut total = 0;
        for start in starts {
            total += *start;
            *start = total;
        }
    }

    fn captures(
        &mut self,
        header: &BlockHeader,
        reader: &mut Reader,
        table: &ContentTable,
        with_addresses: bool,
        out: &mut Columns,
    ) -> Result<(), DecodeError> {
        let total = header.captures as usize;
        let placed = if with_addresses { total } else { 0 };
        reset(&mut self.stored.captures.addr, placed);
        reset(&mut self.stored.captures.wanted, placed);
        reset(&mut self.stored.captures.content, total);
        let known = self.stored.rows.known();
        let places = with_addresses.then_some(&known);
        walk_captures(reader, &self.stored.skeleton, places, &table.lens, &mut self.stored.captures)?;
        let captures = &self.stored.captures;
        let shapes = &self.stored.skeleton.shapes;
        self.starts(|shape| shapes.list[shape].capture_range().len() as u32, &mut out.cap_start);
        reset(&mut out.cap_slot, total);
        reset(&mut out.cap_side, total);
        reset(&mut out.cap_status, total);
        reset(&mut out.cap_addr, placed * 2);
        reset(&mut out.cap_wanted, placed);
        reset(&mut out.cap_content, total);
        let mut next = 0;
        for (stored, &row) in self.stored.order.iter().enumerate() {
            let shape = &shapes.list[self.stored.skeleton.shape[stored] as usize];
            let first = out.cap_start[row as usize] as usize;
            for (place, signature) in (first..).zip(&shapes.signatures[shape.capture_range()]) {
                out.cap_slot[place] = signature >> 4;
                out.cap_side[place] = signature >> 2 & 3;
                out.cap_status[place] = signature & 3;
                out.cap_content[place] = captures.content[next];
                if with_addresses {
                    let addr = captures.addr[next];
                    out.cap_addr[place * 2] = addr as u32;
                    out.cap_addr[place * 2 + 1] = (addr >> 32) as u32;
                    out.cap_wanted[place] = captures.wanted[next] as f64;
                }
                next += 1;
            }
        }
        Ok(())
    }

    fn refs(&mut self, header: &BlockHeader, reader: &mut Reader, out: &mut Columns) -> Result<(), DecodeError> {
        let total = header.refs as usize;
        reset(&mut self.stored.refs.fd, total);
        reset(&mut self.stored.refs.object, total);
        let known = self.stored.rows.known();
        walk_refs(reader, &self.stored.skeleton, &known, header.object_base, &mut self.stored.refs)?;
        let refs = &self.stored.refs;
        let shapes = &self.stored.skeleton.shapes;
        self.starts(|shape| shapes.list[shape].ref_range().len() as u32, &mut out.ref_start);
        reset(&mut out.ref_slot, total);
        reset(&mut out.ref_fd, total);
        reset(&mut out.ref_object, total);
        let mut next = 0;
        for (stored, &row) in self.stored.order.iter().enumerate() {
            let shape = &shapes.list[self.stored.skeleton.shape[stored] as usize];
            let first = out.ref_start[row as usize] as usize;
            for (place, &slot) in (first..).zip(&shapes.signatures[shape.ref_range()]) {
                let (fd, object) = (refs.fd[next], refs.object[next]);
                let Ok(narrow) = i32::try_from(fd as i64) else {
                    return Err(out_of_range("descriptor", next, fd, i32::MAX as u64));
                };
                if object >= u64::from(limits::MAX_OBJECTS) {
                    return Err(out_of_range("object", next, object, u64::from(limits::MAX_OBJECTS) - 1));
                }
                out.ref_slot[place] = slot;
                out.ref_fd[place] = narrow;
                out.ref_object[place] = object as u32;
                next += 1;
            }
        }
        Ok(())
    }
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

/// `latest` comes with the ends and is turned into their running maximum on the way.
fn spans(mut cursor: Cursor, starts: &[u64], latest: &mut [u64], out: &mut Columns) -> Result<(), DecodeError> {
    let mut maximum = 0;
    out.span.reserve_exact(starts.len());
    for (row, &start) in starts.iter().enumerate() {
        let predicted = i64::from(super::predict_span(&latest[..row], start));
        let span = predicted.wrapping_add(cursor.signed()?);
        let Ok(span) = u32::try_from(span) else {
            return Err(cursor.fail(Problem::TooLarge { value: span as u64, limit: u32::MAX.into() }));
        };
        out.span.push(span);
        maximum = latest[row].max(maximum);
        latest[row] = maximum;
    }
    cursor.end()
}
