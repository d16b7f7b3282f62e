//! What is said when the program has ended: as `src/commands/record.ts` says it.

use std::path::Path;

use trace_engine::error::without_number;
use trace_engine::record::Outcome;

/// How much the user wants to be told.
pub struct Told {
    pub quiet: bool,
    pub verbose: bool,
}

impl Told {
    /// Notes and, for people, the summary; `None` when there is nothing to say. That the trace is cut is always said.
    pub fn text(&self, outcome: &Outcome, output: &Path) -> Option<String> {
        let notes = outcome.notes.iter().filter(|_| !self.quiet);
        let mut lines: Vec<String> = notes.map(|note| format!("trace: note: {note}")).collect();
        if let Some(failure) = &outcome.summary.failure {
            let (message, lost) = (failure.to_string(), outcome.summary.lost);
            let message = without_number(&message);
            lines.push(format!("trace: the trace is cut: {message}; {lost} events were not written"));
            if failure.code() == "disk-full" {
                lines.push("  make room, or write to another disk".to_owned());
            }
        }
        // SAFETY: takes no pointer.
        if !self.quiet && (self.verbose || unsafe { libc::isatty(2) } == 1) {
            lines.push(format!("trace: {}  (trace show)", outcome.line(output)));
        }
        (!lines.is_empty()).then(|| lines.join("\n") + "\n")
    }
}

/// Writes to stderr. Nobody may be there to hear it; that is not worth failing for.
pub fn say(text: &str) {
    let mut left = text.as_bytes();
    while !left.is_empty() {
        // SAFETY: pointer and length are of one slice.
        let written = unsafe { libc::write(2, left.as_ptr().cast(), left.len()) };
        match usize::try_from(written) {
            Ok(written) => left = &left[written..],
            Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
