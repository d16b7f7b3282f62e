//! Stacks in a trace: STACKS frames (FORMAT.md), each of which can be read without any other.

use std::collections::HashMap;
use std::path::Path;

use trace_format::frame::FrameKind;
use trace_format::limits::{MAX_FRAME_BYTES, MAX_FRAME_STACKS, MAX_STACK_DEPTH, MAX_STACK_STRING, MAX_STACK_TABLE};
use trace_format::varint::{Cursor, DecodeError, Problem, put, put_signed};

use super::{CodeFile, NO_FILE, NO_STRING, Place, SourceRow, Stacks};
use crate::error::EngineError;
use crate::extension::Extension;
use crate::reader::Trace;
use crate::unwind::End;

/// Memory that the stacks of a trace may need.
const MOST_BYTES: u64 = 4 << 30;

/// What was added to a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    pub stacks: u64,
    /// Distinct places of their frames.
    pub places: u64,
    /// Length of the new trace.
    pub bytes_total: u64,
}

/// Numbers of things in the order in which a frame meets them.
#[derive(Default)]
struct Numbers {
    of: HashMap<u32, u32>,
    order: Vec<u32>,
}

impl Numbers {
    /// The number of a thing, from 0; of nothing (`none`) 0, and all others one more.
    fn optional(&mut self, thing: u32, none: u32) -> u64 {
        if thing == none { 0 } else { u64::from(self.of(thing)) + 1 }
    }

    fn of(&mut self, thing: u32) -> u32 {
        let next = self.order.len() as u32;
        let number = *self.of.entry(thing).or_insert(next);
        if number == next {
            self.order.push(thing);
        }
        number
    }
}

/// The range of entry `index` of a list of ends.
fn range(ends: &[u32], index: usize) -> std::ops::Range<usize> {
    let start = index.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |end| *end as usize);
    let end = ends.get(index).map_or(start, |end| *end as usize);
    start..end.max(start)
}

/// The payload of a frame with the stacks in `rows`; `None` when it is more than a reader takes, and can be less.
fn encode(stacks: &Stacks, rows: std::ops::Range<usize>) -> Option<Vec<u8>> {
    let is_one = rows.len() <= 1;
    let (mut places, mut files, mut strings) = (Numbers::default(), Numbers::default(), Numbers::default());
    let mut body = Vec::new();
    let mut before: Vec<u32> = Vec::new();
    let mut last_seq = 0;
    for row in rows {
        let all = &stacks.frames[range(&stacks.frame_end, row)];
        // Of more than a reader takes, the innermost.
        let is_cut = all.len() > MAX_STACK_DEPTH as usize;
        let mut frames = all[..all.len().min(MAX_STACK_DEPTH as usize)].to_vec();
        frames.reverse();
        let shared = before.iter().zip(&frames).take_while(|(one, other)| one == other).count();
        put(&mut body, stacks.seqs[row].wrapping_sub(last_seq));
        last_seq = stacks.seqs[row];
        let end = stacks.ends.get(row).copied().unwrap_or(0);
        body.push(if is_cut { End::TooDeep.code() } else { end });
        put(&mut body, shared as u64);
        put(&mut body, (frames.len() - shared) as u64);
        for frame in &frames[shared..] {
            put(&mut body, places.of(*frame).into());
        }
        before = frames;
    }
    let mut table = Vec::new();
    put(&mut table, places.order.len() as u64);
    for &number in &places.order {
        let number = number as usize;
        let Place { file, offset, address, bits } = stacks.places[number];
        put(&mut table, files.optional(file, NO_FILE));
        put(&mut table, offset);
        put_signed(&mut table, address.wrapping_sub(offset).cast_signed());
        table.push(bits);
        put_signed(&mut table, stacks.behind.get(number).copied().unwrap_or(-1));
        let sources = &stacks.sources[range(&stacks.source_end, number)];
        put(&mut table, sources.len() as u64);
        for source in sources {
            put(&mut table, strings.optional(source.function, NO_STRING));
            put(&mut table, strings.optional(source.file, NO_STRING));
            put(&mut table, source.line.into());
            put(&mut table, source.column.into());
        }
    }
    let mut payload = Vec::new();
    let text = |out: &mut Vec<u8>, bytes: &[u8]| {
        let bytes = &bytes[..bytes.len().min(MAX_STACK_STRING as usize)];
        put(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    };
    put(&mut payload, files.order.len() as u64);
    for &number in &files.order {
        let CodeFile { hash, path } = &stacks.files[number as usize];
        payload.extend_from_slice(hash);
        text(&mut payload, path);
    }
    put(&mut payload, strings.order.len() as u64);
    for &number in &strings.order {
        text(&mut payload, stacks.strings[number as usize].as_bytes());
    }
    payload.extend_from_slice(&table);
    payload.extend_from_slice(&body);
    let longest = [&files, &strings, &places].map(|numbers| numbers.order.len()).into_iter().max();
    let fits = payload.len() <= MAX_FRAME_BYTES as usize && longest <= Some(MAX_STACK_TABLE as usize);
    (fits || is_one).then_some(payload)
}

/// Reads an index that may be missing.
fn optional(cursor: &mut Cursor<'_>, base: usize, count: usize, none: u32) -> Result<u32, DecodeError> {
    let number = cursor.bounded(count as u64)?;
    Ok(number.checked_sub(1).map_or(none, |number| (base as u64 + number) as u32))
}

/// Appends the stacks of a frame whose events are in `wanted`, and its tables, if there are any. All together may be `most`
/// bytes: one byte of a frame can stand for a thousand frames of stacks.
fn append(
    payload: &[u8],
    count: u32,
    wanted: &std::ops::RangeInclusive<u64>,
    out: &mut Stacks,
    most: u64,
) -> Result<(), DecodeError> {
    let rows = out.seqs.len();
    let (files, strings, places, sources) = (out.files.len(), out.strings.len(), out.places.len(), out.sources.len());
    decode(payload, count, wanted, out)?;
    if out.seqs.len() == rows {
        out.files.truncate(files);
        out.strings.truncate(strings);
        out.places.truncate(places);
        out.behind.truncate(places);
        out.source_end.truncate(places);
        out.sources.truncate(sources);
    }
    let bytes = out.bytes();
    if bytes > most {
        let problem = Problem::TooLarge { value: bytes, limit: most };
        return Err(DecodeError { reading: "bytes of stacks", offset: 0, problem });
    }
    Ok(())
}

/// Appends the stacks of a frame whose events are in `wanted`, and its tables.
fn decode(
    payload: &[u8],
    count: u32,
    wanted: &std::ops::RangeInclusive<u64>,
    out: &mut Stacks,
) -> Result<(), DecodeError> {
    let mut cursor = Cursor::new(payload, "stacks");
    let (first_file, first_string, first_place) = (out.files.len(), out.strings.len(), out.places.len());
    let files = cursor.bounded(MAX_STACK_TABLE.into())? as usize;
    for _ in 0..files {
        let hash = cursor.array::<32>()?;
        let length = cursor.bounded(MAX_STACK_STRING.into())? as usize;
        out.files.push(CodeFile { hash, path: cursor.take(length)?.to_vec() });
    }
    let strings = cursor.bounded(MAX_STACK_TABLE.into())? as usize;
    for _ in 0..strings {
        let length = cursor.bounded(MAX_STACK_STRING.into())? as usize;
        out.strings.push(String::from_utf8_lossy(cursor.take(length)?).into_owned());
    }
    let places = cursor.bounded(MAX_STACK_TABLE.into())? as usize;
    for _ in 0..places {
        let file = optional(&mut cursor, first_file, files, NO_FILE)?;
        let offset = cursor.varint()?;
        let address = offset.wrapping_add_signed(cursor.signed()?);
        out.places.push(Place { file, offset, address, bits: cursor.u8()? });
        out.behind.push(cursor.signed()?);
        for _ in 0..cursor.bounded(MAX_STACK_DEPTH.into())? {
            let function = optional(&mut cursor, first_string, strings, NO_STRING)?;
            let file = optional(&mut cursor, first_string, strings, NO_STRING)?;
            let line = cursor.bounded(u32::MAX.into())? as u32;
            let column = cursor.bounded(u32::MAX.into())? as u32;
            out.sources.push(SourceRow { function, file, line, column });
        }
        out.source_end.push(out.sources.len() as u32);
    }
    let mut frames: Vec<u32> = Vec::new();
    let mut seq = 0_u64;
    for _ in 0..count.min(MAX_FRAME_STACKS) {
        seq = seq.wrapping_add(cursor.varint()?);
        let end = cursor.u8()?;
        let shared = cursor.bounded(frames.len() as u64)? as usize;
        frames.truncate(shared);
        let own = cursor.bounded(u64::from(MAX_STACK_DEPTH) - shared as u64)?;
        for _ in 0..own {
            let place = cursor.varint()?;
            if place >= places as u64 {
                return Err(cursor.fail(Problem::Invalid { value: place }));
            }
            frames.push((first_place as u64 + place) as u32);
        }
        if wanted.contains(&seq) {
            out.seqs.push(seq);
            out.ends.push(end);
            out.frames.extend(frames.iter().rev());
            out.frame_end.push(out.frames.len() as u32);
        }
    }
    cursor.end()
}

impl Trace {
    /// The stacks that are in the trace, of the events in `wanted`; nothing when there are none.
    ///
    /// # Errors
    /// When a frame with stacks is damaged, or the stacks need more than 4 GiB of memory.
    pub fn stacks(&self, wanted: std::ops::RangeInclusive<u64>) -> Result<Option<Stacks>, EngineError> {
        let mut found = Stacks::default();
        let mut any = false;
        for entry in self.entries().iter().filter(|entry| entry.kind() == Some(FrameKind::Stacks)) {
            any = true;
            let payload = self.payload(entry, MAX_FRAME_BYTES)?;
            append(&payload, entry.header.count, &wanted, &mut found, MOST_BYTES)
                .map_err(|error| EngineError::corrupt(entry.offset, &error))?;
        }
        Ok(any.then_some(found))
    }
}

/// Makes a trace with these stacks in it: `out`, or the trace itself, which is replaced when all is written.
///
/// # Errors
/// When the trace is being recorded, when `out` exists and `force` is not set, or when something cannot be written.
pub fn add(trace: &Trace, stacks: &Stacks, out: Option<&Path>, force: bool) -> Result<Added, EngineError> {
    let mut extension = Extension::begin(trace, out, force)?;
    let earlier = trace.entries().iter().filter(|entry| entry.kind() == Some(FrameKind::Stacks));
    let mut first: u64 = earlier.map(|entry| u64::from(entry.header.count)).sum();
    let mut row = 0;
    while row < stacks.seqs.len() {
        let mut end = stacks.seqs.len().min(row + MAX_FRAME_STACKS as usize);
        let payload = loop {
            match encode(stacks, row..end) {
                Some(payload) => break payload,
                None => end = row + (end - row).div_ceil(2),
            }
        };
        extension.sink.frame(FrameKind::Stacks, &payload, first, (end - row) as u32);
        first += (end - row) as u64;
        row = end;
    }
    let bytes_total = extension.finish()?;
    Ok(Added { stacks: stacks.seqs.len() as u64, places: stacks.places.len() as u64, bytes_total })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Stacks {
        let place = |file, offset| Place { file, offset, address: offset + 0x1000, bits: 4 };
        Stacks {
            seqs: vec![3, 4, 900],
            frame_end: vec![2, 5, 6],
            ends: vec![0, 2, 0],
            frames: vec![1, 0, 2, 1, 0, 2],
            places: vec![place(0, 0x10), place(0, 0x20), place(NO_FILE, u64::MAX - 0x1000)],
            files: vec![CodeFile { hash: [7; 32], path: b"/bin/x".to_vec() }],
            source_end: vec![1, 3, 3],
            sources: vec![
                SourceRow { function: 0, file: NO_STRING, line: 0, column: 0 },
                SourceRow { function: 1, file: 2, line: 12, column: 3 },
                SourceRow { function: 0, file: 2, line: 40, column: 0 },
            ],
            behind: vec![16, 32, -1],
            strings: vec!["main".into(), "inner".into(), "x.c".into()],
            told: HashMap::new(),
        }
    }

    /// The stacks with everything spelled out, so that numbers of tables do not matter.
    fn spelled(stacks: &Stacks) -> Vec<String> {
        let rows = 0..stacks.seqs.len();
        rows.map(|row| {
            let frames = stacks.frames[range(&stacks.frame_end, row)].iter().map(|place| {
                let index = *place as usize;
                let Place { file, offset, address, bits } = stacks.places[index];
                let sources = stacks.sources[range(&stacks.source_end, index)].iter().map(|source| {
                    let text = |number: u32| stacks.strings.get(number as usize);
                    format!("{:?} {:?} {} {}", text(source.function), text(source.file), source.line, source.column)
                });
                let sources: Vec<_> = sources.collect();
                format!(
                    "{:?} {offset} {address} {bits} {} {sources:?}",
                    stacks.files.get(file as usize),
                    stacks.behind[index]
                )
            });
            format!("{} {} {:?}", stacks.seqs[row], stacks.ends[row], frames.collect::<Vec<_>>())
        })
        .collect()
    }

    #[test]
    fn stacks_are_read_as_they_were_written() {
        let stacks = some();
        let payload = encode(&stacks, 0..3).unwrap();
        let mut read = Stacks::default();
        decode(&payload, 3, &(0..=u64::MAX), &mut read).unwrap();
        assert_eq!(spelled(&read), spelled(&stacks));
        // A second frame has tables of its own.
        decode(&encode(&stacks, 1..2).unwrap(), 1, &(0..=u64::MAX), &mut read).unwrap();
        assert_eq!(spelled(&read)[3], spelled(&stacks)[1]);
        let mut part = Stacks::default();
        decode(&payload, 3, &(4..=10), &mut part).unwrap();
        assert_eq!(part.seqs, [4]);
    }

    #[test]
    fn tables_of_stacks_that_nobody_wants_are_not_kept() {
        let mut read = Stacks::default();
        append(&encode(&some(), 0..3).unwrap(), 3, &(5..=10), &mut read, MOST_BYTES).unwrap();
        assert_eq!(read, Stacks::default());
    }

    #[test]
    fn few_bytes_do_not_become_stacks_without_end() {
        let deep = Stacks {
            seqs: (0..MAX_FRAME_STACKS.into()).collect(),
            frame_end: (1..=MAX_FRAME_STACKS).map(|row| row * MAX_STACK_DEPTH).collect(),
            ends: vec![0; MAX_FRAME_STACKS as usize],
            frames: vec![0; (MAX_FRAME_STACKS * MAX_STACK_DEPTH) as usize],
            ..some()
        };
        let payload = encode(&deep, 0..deep.seqs.len()).unwrap();
        assert!(payload.len() < 128 << 10, "{}", payload.len());
        let mut read = Stacks::default();
        append(&payload, MAX_FRAME_STACKS, &(0..=u64::MAX), &mut read, 100 << 20).unwrap();
        let error = append(&payload, MAX_FRAME_STACKS, &(0..=u64::MAX), &mut read, 100 << 20).unwrap_err();
        assert!(matches!(error.problem, Problem::TooLarge { limit: 0x640_0000, .. }), "{error:?}");
    }

    #[test]
    fn a_stack_that_is_too_deep_is_cut_at_its_outermost_frames() {
        let frames: Vec<u32> = (0..=MAX_STACK_DEPTH).map(|number| number % 3).collect();
        let deep = Stacks {
            seqs: vec![7, 8],
            frame_end: vec![frames.len() as u32, frames.len() as u32 + 1],
            ends: vec![0, 0],
            frames: frames.iter().copied().chain([2]).collect(),
            ..some()
        };
        let mut read = Stacks::default();
        append(&encode(&deep, 0..2).unwrap(), 2, &(0..=u64::MAX), &mut read, MOST_BYTES).unwrap();
        assert_eq!(read.frame_end, [MAX_STACK_DEPTH, MAX_STACK_DEPTH + 1]);
        assert_eq!(read.ends, [End::TooDeep.code(), 0]);
        let offset = |stacks: &Stacks, k: usize| stacks.places[stacks.frames[k] as usize].offset;
        assert!((0..MAX_STACK_DEPTH as usize).all(|k| offset(&read, k) == offset(&deep, k)));
    }

    #[test]
    fn a_frame_has_no_more_than_a_reader_takes() {
        // Two stacks whose places together are more than a table has, each of which is fine.
        let half = MAX_STACK_TABLE / 2 + 1;
        let place = |offset: u32| Place { file: NO_FILE, offset: offset.into(), address: 0, bits: 0 };
        let stacks = Stacks {
            seqs: (0..(2 * half).div_ceil(MAX_STACK_DEPTH).into()).collect(),
            frame_end: (1..=(2 * half).div_ceil(MAX_STACK_DEPTH))
                .map(|row| (row * MAX_STACK_DEPTH).min(2 * half))
                .collect(),
            frames: (0..2 * half).collect(),
            places: (0..2 * half).map(place).collect(),
            ..Stacks::default()
        };
        let rows = stacks.seqs.len();
        assert_eq!(encode(&stacks, 0..rows), None);
        let payload = encode(&stacks, 0..rows.div_ceil(2)).unwrap();
        decode(&payload, rows.div_ceil(2) as u32, &(0..=u64::MAX), &mut Stacks::default()).unwrap();
    }

    #[test]
    fn damaged_stacks_are_refused_or_read_and_nothing_else() {
        let payload = encode(&some(), 0..3).unwrap();
        for length in 0..payload.len() {
            assert!(decode(&payload[..length], 3, &(0..=u64::MAX), &mut Stacks::default()).is_err(), "{length}");
        }
        for at in 0..payload.len() {
            for bit in 0..8 {
                let mut damaged = payload.clone();
                damaged[at] ^= 1 << bit;
                let mut read = Stacks::default();
                if decode(&damaged, 3, &(0..=u64::MAX), &mut read).is_ok() {
                    let _ = spelled(&read);
                }
            }
        }
    }
}
