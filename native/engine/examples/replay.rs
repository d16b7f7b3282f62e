//! Replays a trace and prints what came of it:
//! `cargo run --release -p trace-engine --example replay -- FILE [--process N] [--jobs N] [--until N] [--warn] [--mute] [--backend B] [-v]`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use trace_engine::reader::Trace;
use trace_engine::replay::{Backend, Control, Options, Output, replay};

struct Streams;

impl Output for Streams {
    fn write(&mut self, stream: u8, bytes: &[u8]) {
        let written = if stream == 2 { std::io::stderr().write_all(bytes) } else { std::io::stdout().write_all(bytes) };
        // Who closes the pipe wants no more.
        let _ = written.and_then(|()| std::io::stdout().flush());
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options::default();
    let mut file = None;
    let mut verbose = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().ok_or("a number is missing");
        match arg.as_str() {
            "--process" => options.process = Some(number()?.parse()?),
            "--jobs" => options.jobs = Some(number()?.parse()?),
            "--until" => options.until = Some(number()?.parse()?),
            "--stuck" => options.stuck_after = std::time::Duration::from_secs(number()?.parse()?),
            "--exec-only" => options.exec_only = true,
            "--warn" => options.warn_only = true,
            "--mute" => options.mute = true,
            "--backend" => {
                let name = args.next().unwrap_or_default();
                options.backend = Backend::from_name(&name).ok_or("there is no such backend")?;
            }
            "-v" => verbose = true,
            _ => file = Some(PathBuf::from(arg)),
        }
    }
    let trace = Trace::open(&file.ok_or("usage: replay FILE [--process N] [--jobs N] [-v]")?)?;
    let outcome = replay(&trace, &options, Box::new(Streams), &Arc::new(Control::default()))?;
    for desync in &outcome.desyncs {
        eprintln!("desync at @{} ({:?}) of thread {}: {:x?}", desync.seq, desync.kind, desync.thread, desync.reason);
        if let Some(actual) = &desync.actual {
            let (kind, number, args) = (actual.kind, actual.number, &actual.args[..usize::from(actual.nargs)]);
            eprintln!(
                "  actual: {kind:?} {number} {args:x?} ip {:x} sp {:x} signal {}",
                actual.ip, actual.sp, actual.signal
            );
        }
        if !desync.expected_bytes.is_empty() {
            eprintln!("  at {}: {:x?}", desync.window, desync.expected_bytes);
            eprintln!("  is    {:x?}", desync.actual_bytes);
        }
        if verbose {
            eprintln!("{}", desync.maps);
        }
    }
    for note in &outcome.notes {
        eprintln!("note: {note}");
    }
    eprintln!(
        "{} events ({} answered inside{}), {} processes, {} threads, {} desyncs, {:.3} ms{}",
        outcome.events,
        outcome.answered,
        if outcome.repeated { ", repeated without the agent" } else { "" },
        outcome.processes,
        outcome.threads,
        outcome.desyncs.len(),
        outcome.duration_ns as f64 / 1e6,
        outcome.cut_at.map_or_else(String::new, |at| format!(", cut at @{at}"))
    );
    std::process::exit(if outcome.desyncs.is_empty() { 0 } else { 3 });
}
