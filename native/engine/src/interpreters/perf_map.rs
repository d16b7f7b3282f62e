//! Names of code that a program compiled at run time, by the map that it wrote: `perf-PID.map`, lines of address, length (both
//! hexadecimal) and name (tools/perf/Documentation/jit-interface.txt of Linux). In replay no file is written, so the lines are taken
//! from the recorded writes.

use std::collections::HashMap;

use trace_format::column::Projection;
use trace_format::event::{EventKind, Side, slot};

use crate::error::EngineError;
use crate::reader::Trace;
use crate::replay::event::Event;
use crate::replay::scan;
use crate::symbolize::{LONGEST_NAME, cut};

/// Most lines, and bytes of their names, of all maps of a trace.
const MOST_LINES: usize = 1 << 22;
const MOST_BYTES: usize = 512 << 20;
/// Most lines that are looked at for one address: maps may overlap.
const MOST_LOOKED: usize = 4096;

/// A line of a map.
#[derive(Clone, Debug)]
struct Line {
    start: u64,
    length: u64,
    name: String,
    /// The event that wrote it.
    seq: u64,
}

/// The lines of one process.
#[derive(Clone, Debug, Default)]
struct Map {
    /// What is written of a line that has not ended.
    rest: Vec<u8>,
    /// By address once all is read.
    lines: Vec<Line>,
    /// Longest piece of code.
    longest: u64,
}

/// The maps of a trace, by the number of the process that wrote them.
#[derive(Clone, Debug, Default)]
pub struct PerfMaps {
    of: HashMap<u32, Map>,
    lines: usize,
    bytes: usize,
}

/// Whether a file is called as maps are.
#[must_use]
pub fn is_map(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let number = name.strip_prefix(b"perf-").and_then(|rest| rest.strip_suffix(b".map"));
    number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

impl PerfMaps {
    /// The maps that were written in a recording; it is read only when it knows files of such names.
    ///
    /// # Errors
    /// When a block of the trace is damaged.
    pub fn of(trace: &Trace) -> Result<PerfMaps, EngineError> {
        let mut maps = PerfMaps::default();
        let definitions = trace.definitions();
        let is_file: Vec<bool> = (0..definitions.object_count())
            .map(|index| definitions.object(index).is_some_and(|object| is_map(object.path)))
            .collect();
        if !is_file.contains(&true) {
            return Ok(maps);
        }
        for number in 0..trace.blocks().len() {
            let columns = trace.decode_block(number, Projection::ALL)?;
            for row in 0..columns.count as usize {
                let event = Event::new(&columns, row);
                let writes = event.kind() == EventKind::Call
                    && event.refs().any(|(slot, _, object)| slot == 0 && is_file.get(object as usize) == Some(&true));
                if writes {
                    let process = definitions.threads().get(event.thread() as usize).map_or(0, |thread| thread.process);
                    maps.add(process, &event);
                }
            }
        }
        for map in maps.of.values_mut() {
            map.lines.sort_by_key(|line| line.start);
        }
        Ok(maps)
    }

    fn add(&mut self, process: u32, event: &Event<'_>) {
        let place = match scan::name(event) {
            "write" | "pwrite64" => 1,
            "writev" | "pwritev" | "pwritev2" => slot::NESTED,
            _ => return,
        };
        let mut left = usize::try_from(event.ret()).unwrap_or(0);
        for capture in event.captures().filter(|capture| capture.slot == place && capture.side == Side::In as u8) {
            let bytes = &capture.bytes[..capture.bytes.len().min(left)];
            left -= bytes.len();
            self.write(process, event.seq(), bytes);
        }
    }

    /// A piece of a map.
    fn write(&mut self, process: u32, seq: u64, bytes: &[u8]) {
        let map = self.of.entry(process).or_default();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if map.rest.len() < 2 * LONGEST_NAME {
                map.rest.extend_from_slice(piece);
            }
            if !piece.ends_with(b"\n") {
                continue;
            }
            let line = parse(&map.rest, seq);
            map.rest.clear();
            let Some(line) = line else { continue };
            self.lines += 1;
            self.bytes += line.name.len();
            if self.lines > MOST_LINES || self.bytes > MOST_BYTES {
                return;
            }
            map.longest = map.longest.max(line.length);
            map.lines.push(line);
        }
    }

    /// What a process said of an address: the last thing before an event, or the first one behind it, as some programs write
    /// their map when they end.
    #[must_use]
    pub fn name(&self, process: u32, address: u64, seq: u64) -> Option<&str> {
        let map = self.of.get(&process)?;
        let behind = map.lines.partition_point(|line| line.start <= address);
        let mut best: Option<&Line> = None;
        for line in map.lines[..behind].iter().rev().take(MOST_LOOKED) {
            let inside = address - line.start;
            if inside >= map.longest {
                break;
            }
            if inside >= line.length {
                continue;
            }
            let better = best.is_none_or(|best| match (line.seq < seq, best.seq < seq) {
                (true, true) => line.seq > best.seq,
                (false, false) => line.seq < best.seq,
                (is_before, _) => is_before,
            });
            if better {
                best = Some(line);
            }
        }
        best.map(|line| &*line.name)
    }

    /// Whether a process wrote one.
    #[must_use]
    pub fn has(&self, process: u32) -> bool {
        self.of.contains_key(&process)
    }
}

/// A line, with or without `0x` in front of its numbers; nothing when it is no such line.
fn parse(line: &[u8], seq: u64) -> Option<Line> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.trim_end_matches(['\r', '\n']).splitn(3, ' ');
    let mut number = || {
        let word = words.next()?;
        u64::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok()
    };
    let (start, length) = (number()?, number()?);
    let name = words.next().filter(|name| !name.is_empty())?;
    Some(Line { start, length, name: cut(name), seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(writes: &[(u64, &str)]) -> PerfMaps {
        let mut maps = PerfMaps::default();
        for (seq, text) in writes {
            maps.write(1, *seq, text.as_bytes());
        }
        for map in maps.of.values_mut() {
            map.lines.sort_by_key(|line| line.start);
        }
        maps
    }

    #[test]
    fn lines_may_come_in_pieces() {
        let maps =
            maps(&[(1, "1000 20 first fun"), (2, "ction\n0x1020 0x10 second\nnonsense\n\n10"), (3, "30 8 third\n")]);
        let name = |address| maps.name(1, address, 9);
        assert_eq!(name(0x1000), Some("first function"));
        assert_eq!(name(0x101f), Some("first function"));
        assert_eq!(name(0x1020), Some("second"));
        assert_eq!(name(0x1037), Some("third"));
        assert_eq!((name(0xfff), name(0x1038), maps.name(2, 0x1000, 9)), (None, None, None));
    }

    #[test]
    fn code_that_came_in_the_place_of_other_code_counts_from_then_on() {
        let maps = maps(&[(5, "1000 40 old\n"), (20, "1010 10 new\n"), (30, "1000 8 last\n")]);
        let name = |address, seq| maps.name(1, address, seq);
        assert_eq!((name(0x1010, 20), name(0x1010, 21)), (Some("old"), Some("new")));
        // Code that was there before the map was written.
        assert_eq!((name(0x1000, 1), name(0x1000, 40)), (Some("old"), Some("last")));
    }

    #[test]
    fn maps_are_known_by_their_names() {
        assert!(is_map(b"/tmp/perf-12.map") && is_map(b"perf-1.map"));
        assert!(!is_map(b"/tmp/perf-.map") && !is_map(b"/tmp/perf-12.map/x") && !is_map(b"/tmp/perf-1a.map"));
    }

    #[test]
    fn a_line_that_never_ends_is_cut() {
        let long = format!("1000 8 {}", "x".repeat(1 << 20));
        let maps = maps(&[(1, &long), (1, &long), (1, "\n2000 8 after\n")]);
        assert_eq!(maps.name(1, 0x1000, 2).map(str::len), Some(LONGEST_NAME));
        assert_eq!(maps.name(1, 0x2000, 2), Some("after"));
    }
}
