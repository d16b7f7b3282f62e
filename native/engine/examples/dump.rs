//! Prints the text twin of a trace: `cargo run --release --example dump FILE`.
use std::path::Path;

fn main() {
    let path = std::env::args().nth(1).expect("a trace file");
    let trace = trace_engine::reader::Trace::open(Path::new(&path)).expect("a readable trace");
    trace_engine::text::dump(&trace, &mut std::io::stdout().lock()).expect("stdout");
}
