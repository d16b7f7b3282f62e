//! What stands at addresses of a file, as `addr2line -a -f -i` prints it: `places FILE < addresses`, one hexadecimal number per line.
//! Then, on stderr, the CPU time that it took, and the memory: its peak, and how much of it are pages of files.
//!
//! `npm run compare:stacks` compares it with addr2line(1), `npm run bench:stacks` measures it.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use trace_engine::binary::Binary;
use trace_engine::symbolize;

/// Kilobytes that a line of /proc/self/status tells.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim_start_matches(':').trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

/// Nanoseconds that this thread has been running (Documentation/scheduler/sched-stats.rst).
fn cpu_time() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: places FILE < addresses")?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16);
    let addresses = text.split_whitespace().map(number).collect::<Result<Vec<u64>, _>>()?;
    let before = (cpu_time(), status("VmRSS"));
    let binary = Binary::map(Path::new(&path)).ok_or("the file cannot be mapped")?;
    let found = symbolize::of_file(&binary, path.as_bytes(), &addresses);
    let (took, peak, file) = (cpu_time() - before.0, status("VmHWM"), status("RssFile"));
    let mut out = String::new();
    for (address, sources) in addresses.iter().zip(&found) {
        writeln!(out, "0x{address:016x}")?;
        if sources.frames.is_empty() {
            out.push_str("??\n??:0\n");
        }
        for frame in &sources.frames {
            writeln!(out, "{}", frame.function.as_deref().unwrap_or("??"))?;
            match &frame.file {
                Some(file) if frame.line > 0 => writeln!(out, "{file}:{}", frame.line)?,
                _ => out.push_str("??:0\n"),
            }
        }
    }
    print!("{out}");
    eprintln!("{} us, {} kB, of that {file} kB of files", took / 1000, peak.saturating_sub(before.1));
    Ok(())
}
