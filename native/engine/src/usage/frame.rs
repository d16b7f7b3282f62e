//! The USAGE frame: the sums of all events of a trace, by path.

use trace_format::frame::FrameKind;
use trace_format::limits;
use trace_format::usage::Plan;
use trace_format::varint::{Cursor, DecodeError, Problem, put};

use super::{Sums, Usage, plans};
use crate::reader::Trace;

/// Changes when the same plans come to count something else.
const RULES: u8 = 1;

/// Numbers of a path beside its times.
const COUNTS: usize = 11;
/// All columns: how much a path shares with the one before, the length of the rest, two times, and these.
const COLUMNS: usize = 4 + COUNTS;

/// In the order in which they are stored.
fn counts_mut(sums: &mut Sums) -> [&mut u64; COUNTS] {
    let Sums {
        calls, errors, opens, open_errors, reads, writes, bytes_read, bytes_written, execs, maps, total, ..
    } = sums;
    [total, calls, errors, opens, open_errors, reads, writes, bytes_read, bytes_written, execs, maps]
}

fn counts(sums: &Sums) -> [u64; COUNTS] {
    counts_mut(&mut sums.clone()).map(|count| *count)
}

/// What the sums depend on beside the events. Sums with another stamp are not used.
fn stamp() -> u32 {
    let argument = |argument: Option<u8>| argument.unwrap_or(u8::MAX);
    let bytes = |plan: &Plan| {
        let Plan { paths, bases, opens, transfer } = *plan;
        [paths[0], paths[1], bases[0], bases[1], transfer.from, transfer.to, Some(u8::from(opens))].map(argument)
    };
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[RULES]);
    for plan in plans().iter().flatten() {
        crc.update(&bytes(plan));
    }
    crc.finalize()
}

/// Makes the payload with the sums of all paths, which are those of the first `events` events. Gives back how many paths there are.
pub(super) fn encode(usage: &Usage, events: u64, out: &mut Vec<u8>) -> u32 {
    let Usage { text, ends, sums, .. } = usage;
    out.clear();
    put(out, stamp().into());
    put(out, events);
    let mut start = 0;
    let paths = ends.iter().map(|&end| &text[std::mem::replace(&mut start, end as usize)..end as usize]);
    let mut rests = Vec::with_capacity(sums.len());
    let mut before: &[u8] = &[];
    for path in paths {
        let shared = path.iter().zip(before).take_while(|(a, b)| a == b).count();
        put(out, shared as u64);
        rests.push(&path[shared..]);
        before = path;
    }
    for rest in &rests {
        put(out, rest.len() as u64);
    }
    out.extend(rests.concat());
    let mut before = 0;
    for sums in sums {
        put(out, sums.first - before);
        before = sums.first;
    }
    for sums in sums {
        put(out, sums.last - sums.first);
    }
    for column in 0..COUNTS {
        for sums in sums {
            put(out, counts(sums)[column]);
        }
    }
    sums.len() as u32
}

/// The stored sums of a trace, if it has some that count: of all its events, and by the same plans. Others are passed over, and so
/// are damaged ones: the events tell the same.
pub(super) fn of(trace: &Trace) -> Option<Usage> {
    let entry = trace.entries().iter().rfind(|entry| entry.kind() == Some(FrameKind::Usage))?;
    let payload = trace.payload(entry, limits::MAX_FRAME_BYTES).ok()?;
    let events = trace.blocks().iter().map(|block| u64::from(block.count)).sum();
    decode(&payload, entry.header.count, events).ok()?
}

/// None: the sums are of other events, or of other plans.
fn decode(payload: &[u8], count: u32, events: u64) -> Result<Option<Usage>, DecodeError> {
    let mut cursor = Cursor::new(payload, "sums of paths");
    if (cursor.varint()?, cursor.varint()?) != (stamp().into(), events) {
        return Ok(None);
    }
    // Each path takes a byte in each column at least.
    let limit = (cursor.left() / COLUMNS).min(limits::MAX_USAGE_PATHS as usize) as u64;
    if u64::from(count) > limit {
        return Err(cursor.fail(Problem::TooLarge { value: count.into(), limit }));
    }
    let (text, ends) = paths(&mut cursor, count)?;
    let mut sums = vec![Sums::default(); count as usize];
    let mut before = 0;
    for sums in &mut sums {
        sums.first = before + cursor.bounded(limits::MAX_TIME_NS - before)?;
        before = sums.first;
    }
    for sums in &mut sums {
        sums.last = sums.first + cursor.bounded(limits::MAX_TIME_NS - sums.first)?;
    }
    for column in 0..COUNTS {
        for sums in &mut sums {
            *counts_mut(sums)[column] = cursor.varint()?;
        }
    }
    cursor.end()?;
    Ok(Some(Usage { text, ends, sums, ..Usage::default() }))
}

/// The paths, one behind the other, and where each ends.
fn paths(cursor: &mut Cursor, count: u32) -> Result<(Vec<u8>, Vec<u32>), DecodeError> {
    let mut shared = Vec::with_capacity(count as usize);
    for _ in 0..count {
        shared.push(cursor.bounded(limits::MAX_USAGE_TEXT.into())? as usize);
    }
    // How long a path is, while the length of the one before bounds what it shares with it.
    let (mut total, mut len) = (0, 0);
    let mut lens = Vec::with_capacity(count as usize);
    for &shared in &shared {
        if shared > len {
            return Err(cursor.fail(Problem::TooLarge { value: shared as u64, limit: len as u64 }));
        }
        let left = limits::MAX_USAGE_TEXT as usize - total;
        let rest = cursor.bounded(left.saturating_sub(shared) as u64)? as usize;
        len = shared + rest;
        total += len;
        if total > limits::MAX_USAGE_TEXT as usize {
            let limit = limits::MAX_USAGE_TEXT.into();
            return Err(cursor.fail(Problem::TooLarge { value: total as u64, limit }));
        }
        lens.push(rest);
    }
    let mut text = Vec::with_capacity(total);
    let mut ends = Vec::with_capacity(count as usize);
    let mut before = 0;
    for (shared, rest) in shared.into_iter().zip(lens) {
        let start = text.len();
        text.extend_from_within(before..before + shared);
        text.extend_from_slice(cursor.take(rest)?);
        ends.push(text.len() as u32);
        before = start;
    }
    Ok((text, ends))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::names::{Names, ROOT};

    const EVENTS: u64 = 9;

    fn some() -> Usage {
        let mut paths = Names::default();
        let mut sums = Vec::new();
        for (number, path) in [&b"/srv"[..], b"/srv/a", b"/srv/a/\xff", b"/tmp", b"/"].into_iter().enumerate() {
            paths.number(ROOT, path);
            let number = number as u64;
            let own = Sums { calls: number, bytes_read: 1 << (10 * number), total: number, maps: 1, ..Sums::default() };
            sums.push(Sums { first: 100 + number / 2, last: 1000 - number, ..own });
        }
        let (text, ends) = paths.into_text();
        Usage { text, ends, sums, ..Usage::default() }
    }

    fn payload() -> Vec<u8> {
        let mut payload = Vec::new();
        assert_eq!(encode(&some(), EVENTS, &mut payload), 5);
        payload
    }

    #[test]
    fn what_was_stored_comes_back() {
        let again = decode(&payload(), 5, EVENTS).unwrap().expect("it is of these events");
        let Usage { text, ends, sums, .. } = some();
        assert_eq!((again.text, again.ends, again.sums), (text, ends, sums));
    }

    #[test]
    fn sums_of_other_events_or_plans_are_not_used() {
        assert!(decode(&payload(), 5, EVENTS + 1).unwrap().is_none());
        let mut other = payload();
        other[0] ^= 1;
        assert!(decode(&other, 5, EVENTS).unwrap().is_none());
    }

    #[test]
    fn counts_and_lengths_that_do_not_fit_are_refused() {
        for count in [0, 4, 6, 1000, limits::MAX_USAGE_PATHS + 1, u32::MAX] {
            assert!(decode(&payload(), count, EVENTS).is_err(), "{count}");
        }
        let mut longer = payload();
        longer.push(0);
        assert!(decode(&longer, 5, EVENTS).is_err());
        for end in 0..payload().len() {
            assert!(!matches!(decode(&payload()[..end], 5, EVENTS), Ok(Some(_))), "{end} bytes");
        }
    }

    /// Whether paths of these lengths are read: of what each shares with the one before, and of what follows that.
    fn reads(lens: &[(u64, u64)], (first, behind): (u64, u64)) -> bool {
        let mut payload = Vec::new();
        put(&mut payload, stamp().into());
        put(&mut payload, EVENTS);
        for &(shared, _) in lens {
            put(&mut payload, shared);
        }
        for &(_, rest) in lens {
            put(&mut payload, rest);
        }
        let bytes: u64 = lens.iter().map(|&(_, rest)| rest.min(1 << 27)).sum();
        payload.resize(payload.len() + bytes as usize, b'/');
        for _ in lens {
            put(&mut payload, first);
        }
        for _ in lens {
            put(&mut payload, behind);
        }
        payload.resize(payload.len() + lens.len() * COUNTS, 0);
        matches!(decode(&payload, lens.len() as u32, EVENTS), Ok(Some(_)))
    }

    #[test]
    fn a_path_shares_no_more_than_there_is_and_all_have_a_limit() {
        let most = u64::from(limits::MAX_USAGE_TEXT);
        assert!(reads(&[(0, 3), (3, 0), (2, 5), (7, 1)], (0, 0)));
        assert!(reads(&[(0, most / 2), (most / 2, 0)], (0, 0)));
        assert!(!reads(&[(1, 3)], (0, 0)));
        assert!(!reads(&[(0, 3), (4, 0)], (0, 0)));
        assert!(!reads(&[(0, u64::MAX)], (0, 0)));
        assert!(!reads(&[(0, most + 1)], (0, 0)));
        assert!(!reads(&[(0, most / 2), (most / 2, 1)], (0, 0)));
        // What is a few bytes in the file would be much in memory.
        assert!(!reads(&[&[(0, most / 8)][..], &[(most / 8, 0); 8]].concat(), (0, 0)));
    }

    #[test]
    fn times_have_a_limit() {
        let last = limits::MAX_TIME_NS;
        assert!(reads(&[(0, 1)], (last, 0)) && reads(&[(0, 1)], (0, last)));
        assert!(!reads(&[(0, 1)], (last + 1, 0)) && !reads(&[(0, 1)], (1, last)) && !reads(&[(0, 1)], (u64::MAX, 0)));
        assert!(!reads(&[(0, 1), (0, 1)], (last / 2 + 1, 0)));
    }
}
