//! Prints where the bytes of a trace are: per kind of frame, and per column of the blocks of events.
//!
//! `cargo run --release -p trace-engine --example size -- FILE`

#![allow(clippy::cast_precision_loss, reason = "for people to read")]

use std::os::unix::fs::FileExt;

use trace_engine::reader::Trace;
use trace_format::column::{BlockHeader, COLUMNS, Column, decode_column_table};
use trace_format::frame::{FRAME_HEADER_BYTES, FrameKind};
use trace_format::varint::Cursor;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: size FILE")?;
    let trace = Trace::open(path.as_ref())?;
    let file = std::fs::File::open(&path)?;
    let totals = trace.totals();
    let mut stored = [0u64; COLUMNS];
    let mut raw = [0u64; COLUMNS];
    let mut heads = 0;
    for entry in trace.entries().iter().filter(|entry| entry.kind() == Some(FrameKind::Events)) {
        let mut payload = vec![0; entry.header.stored_len as usize];
        file.read_exact_at(&mut payload, entry.offset + FRAME_HEADER_BYTES as u64)?;
        let mut cursor = Cursor::new(&payload, "block");
        BlockHeader::decode(&mut cursor)?;
        for column in decode_column_table(&mut cursor)? {
            if let Some(sum) = stored.get_mut(usize::from(column.id)) {
                *sum += u64::from(column.stored_len);
                raw[usize::from(column.id)] += u64::from(column.raw_len);
            }
        }
        heads += (FRAME_HEADER_BYTES + cursor.position()) as u64;
    }
    let events = totals.events.max(1) as f64;
    let line = |name: &str, stored: u64, raw: u64| {
        println!("{name:<16}{stored:>12}{raw:>12}{:>10.3}", stored as f64 / events);
    };
    println!("{:<16}{:>12}{:>12}{:>10}", "", "stored", "raw", "per event");
    for id in 0..COLUMNS {
        line(Column::NAMES[id], stored[id], raw[id]);
    }
    line("block heads", heads, heads);
    println!();
    let payload = stored[Column::Bytes as usize];
    line("events", totals.bytes_events, 0);
    line("  less bytes", totals.bytes_events - payload, 0);
    line("definitions", totals.bytes_definitions, 0);
    line("content", totals.bytes_content, 0);
    line("whole file", totals.bytes, 0);
    let without = totals.bytes_events - payload + totals.bytes_definitions;
    println!("\n{} events, {:.2} bytes per event without payload", totals.events, without as f64 / events);
    Ok(())
}
