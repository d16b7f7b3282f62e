//! The text twin of a trace: everything that is in the file as lines, and back.
//!
//! `dump` of what `assemble` made of a dump is that dump again. Times are nanoseconds, addresses hexadecimal, bytes
//! quoted as in C with two-digit `\x` escapes. Empty lines and lines that start with `#` say nothing. FORMAT.md has
//! the grammar.

mod assemble;
mod line;

use std::io::{self, Write};

use trace_format::column::{Columns, NO_CONTENT, Projection};
use trace_format::event::{EventKind, slot};

use crate::error::EngineError;
use crate::raw::ObjectKind;
use crate::reader::Trace;

pub use assemble::assemble;
use line::quote;

/// Names of the kinds of event, by their codes.
const KINDS: [&str; EventKind::ALL.len()] =
    ["call", "signal", "task", "exec", "exit", "map", "stop", "note", "trap", "preempt"];
const SIDES: [&str; 3] = ["in", "out", "resolved"];
const STATUSES: [&str; 4] = ["whole", "truncated", "unreadable", "omitted"];
const SLOTS: [&str; slot::COUNT as usize] = ["0", "1", "2", "3", "4", "5", "ret", "cwd", "nested", "layout", "moved"];

const OBJECT_KINDS: [(ObjectKind, &str); 10] = [
    (ObjectKind::Unknown, "unknown"),
    (ObjectKind::File, "file"),
    (ObjectKind::Dir, "dir"),
    (ObjectKind::Pipe, "pipe"),
    (ObjectKind::Fifo, "fifo"),
    (ObjectKind::Socket, "socket"),
    (ObjectKind::CharDevice, "chr"),
    (ObjectKind::BlockDevice, "blk"),
    (ObjectKind::Anon, "anon"),
    (ObjectKind::Memfd, "memfd"),
];

/// Bytes of packed files that one line holds.
const PIECE: usize = 32 << 10;

/// Writes the whole trace as text.
///
/// # Errors
/// When a part of the trace is damaged (what was before it has been written), or `out` cannot be written.
pub fn dump(trace: &Trace, out: &mut impl Write) -> Result<(), EngineError> {
    let failed = |source| EngineError::io("write the text of", trace.path(), source);
    dump_head(trace, out).map_err(failed)?;
    if let Some(damage) = trace.definitions_damage() {
        return Err(damage.duplicate());
    }
    for number in 0..trace.blocks().len() {
        let columns = trace.decode_block(number, Projection::ALL)?;
        for row in 0..columns.count as usize {
            dump_event(&columns, row, out).map_err(failed)?;
        }
    }
    for packed in trace.packed() {
        writeln!(out, "packed {} {}", packed.hex(), packed.total).map_err(failed)?;
        trace.read_packed(&packed, &mut Lines { out: &mut *out })?;
    }
    out.flush().map_err(failed)
}

/// Turns the pieces of a packed file into lines.
struct Lines<'a, W: Write> {
    out: &'a mut W,
}

impl<W: Write> Write for Lines<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.chunks(PIECE) {
            write!(self.out, "  bytes ")?;
            quote(piece, self.out)?;
            writeln!(self.out)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn dump_head(trace: &Trace, out: &mut impl Write) -> io::Result<()> {
    let header = trace.header();
    writeln!(out, "trace {}", header.version.0)?;
    writeln!(out, "tick {}", header.tick_ns)?;
    writeln!(out, "start {}", header.start_realtime_ns)?;
    write!(out, "id ")?;
    for byte in header.id {
        write!(out, "{byte:02x}")?;
    }
    writeln!(out)?;
    let definitions = trace.definitions();
    for (key, value) in definitions.meta() {
        write!(out, "meta ")?;
        quote(key.as_bytes(), out)?;
        write!(out, " ")?;
        quote(value, out)?;
        writeln!(out)?;
    }
    for (index, thread) in definitions.threads().iter().enumerate() {
        write!(out, "thread {index} process={} ordinal={} ", thread.process, thread.ordinal)?;
        write!(out, "tid={} pid={} parent={} ", thread.tid, thread.pid, optional(thread.parent))?;
        writeln!(out, "created={}", thread.created_by)?;
    }
    for index in 0..definitions.object_count() {
        let Some(object) = definitions.object(index) else { break };
        let kind = OBJECT_KINDS.iter().find(|(kind, _)| *kind == object.kind).map_or("unknown", |(_, name)| name);
        write!(out, "object {index} kind={kind} dev={} ino={} ", object.dev, object.ino)?;
        write!(out, "created={} ", optional(object.created_by))?;
        quote(object.path, out)?;
        write!(out, " ")?;
        quote(object.detail, out)?;
        writeln!(out)?;
    }
    Ok(())
}

fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn pair(words: &[u32], index: usize) -> u64 {
    u64::from(words[index * 2]) | u64::from(words[index * 2 + 1]) << 32
}

fn dump_event(columns: &Columns, row: usize, out: &mut impl Write) -> io::Result<()> {
    let seq = columns.first_seq + row as u64;
    let start = columns.start[row] as u64;
    let end = start + columns.duration[row] as u64;
    let kind = KINDS.get(usize::from(columns.kind[row])).copied().unwrap_or("note");
    write!(out, "event {seq} {kind} thread={} code={} ", columns.thread[row], columns.code[row])?;
    write!(out, "arch={} flags={} start={start} end={end} ", columns.arch[row], columns.flags[row])?;
    let ret = u64::from(columns.ret[row * 2] as u32) | u64::from(columns.ret[row * 2 + 1] as u32) << 32;
    write!(out, "span={} ret={} ", columns.span[row], ret as i64)?;
    write!(out, "ip={:#x} sp={:#x} args=", pair(&columns.ip, row), pair(&columns.sp, row))?;
    for k in 0..usize::from(columns.nargs[row]) {
        let comma = if k > 0 { "," } else { "" };
        write!(out, "{comma}{:#x}", pair(&columns.args, row * 6 + k))?;
    }
    writeln!(out)?;
    for at in columns.cap_start[row] as usize..columns.cap_start[row + 1] as usize {
        let slot = SLOTS[usize::from(columns.cap_slot[at])];
        let side = SIDES[usize::from(columns.cap_side[at])];
        let status = STATUSES[usize::from(columns.cap_status[at])];
        write!(out, "  capture slot={slot} side={side} status={status} ")?;
        write!(out, "addr={:#x} wanted={} ", pair(&columns.cap_addr, at), columns.cap_wanted[at] as u64)?;
        let content = columns.cap_content[at];
        let bytes = if content == NO_CONTENT {
            &[]
        } else {
            let starts = &columns.content_start[content as usize..=content as usize + 1];
            &columns.bytes[starts[0] as usize..starts[1] as usize]
        };
        quote(bytes, out)?;
        writeln!(out)?;
    }
    for at in columns.ref_start[row] as usize..columns.ref_start[row + 1] as usize {
        let slot = SLOTS[usize::from(columns.ref_slot[at])];
        writeln!(out, "  ref slot={slot} fd={} object={}", columns.ref_fd[at], columns.ref_object[at])?;
    }
    Ok(())
}
