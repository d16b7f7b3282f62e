//! Where a replay left the recording, and what the program did there instead.

use trace_format::event::EventKind;

use super::event::Event;
use crate::raw::RawCapture;
use crate::symbolize::Source;

/// In what the program differed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DesyncReason {
    /// It did something of another kind: a call instead of a signal, or none at all.
    Kind,
    /// It made another call.
    Number,
    /// It passed another value as this argument.
    Argument(u8),
    /// It stood at another instruction.
    Ip,
    /// Its stack pointer was another one.
    Sp,
    /// It handed out other bytes.
    Memory {
        /// Argument that leads there.
        slot: u8,
        /// Where the recorded bytes begin.
        addr: u64,
        /// The first of them that differs.
        offset: u64,
    },
    /// It could not be written what the kernel wrote: nothing is mapped there.
    Unmapped {
        /// Where.
        addr: u64,
    },
    /// It got another signal, or the same with other facts.
    Signal,
    /// It ended.
    Exit,
    /// It runs without end.
    Stuck,
    /// It never came to the state in which the recording had stopped it.
    State,
    /// The kernel answered a call that replay executes otherwise than it did in the recording.
    Result {
        /// The answer.
        actual: i64,
    },
    /// The trace asks for something that cannot be: the thread is not there, the parent is in no call that makes tasks.
    Impossible,
}

impl DesyncReason {
    /// The stable name of the reason.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            DesyncReason::Kind => "kind",
            DesyncReason::Number => "number",
            DesyncReason::Argument(_) => "argument",
            DesyncReason::Ip => "ip",
            DesyncReason::Sp => "sp",
            DesyncReason::Memory { .. } => "memory",
            DesyncReason::Unmapped { .. } => "unmapped",
            DesyncReason::Signal => "signal",
            DesyncReason::Exit => "exit",
            DesyncReason::Stuck => "stuck",
            DesyncReason::State => "state",
            DesyncReason::Result { .. } => "result",
            DesyncReason::Impossible => "impossible",
        }
    }
}

/// Where a tracee stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopKind {
    /// At the entry of a call.
    Call,
    /// For a signal.
    Signal,
    /// It has ended.
    Ended,
    /// Stopped by replay: it ran without end, or it stands where its last event left it.
    Held,
}

/// What the program did.
#[derive(Clone, Debug)]
pub struct ActualStop {
    /// Where it stopped.
    pub kind: StopKind,
    /// Code of the architecture, of a call.
    pub arch: u8,
    /// Number of the call.
    pub number: u32,
    /// How many of `args` mean something.
    pub nargs: u8,
    /// Arguments of the call.
    pub args: [u64; 6],
    /// Instruction pointer; of a call: behind its instruction.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Signal that it got, or wait status with which it ended.
    pub signal: i32,
    /// Memory of the call, as the recorder takes it at entry.
    pub captures: Vec<RawCapture>,
    /// Their bytes.
    pub bytes: Vec<u8>,
}

/// A difference between a recording and its replay.
#[derive(Clone, Debug)]
pub struct Desync {
    /// The event that was to come next.
    pub seq: u64,
    /// Its kind.
    pub kind: EventKind,
    /// Index of the thread.
    pub thread: u32,
    /// In what the program differed.
    pub reason: DesyncReason,
    /// What it did; nothing when it is gone.
    pub actual: Option<ActualStop>,
    /// A piece of the recorded memory around the difference.
    pub expected_bytes: Vec<u8>,
    /// The same piece of the tracee's memory.
    pub actual_bytes: Vec<u8>,
    /// Where in the memory of the reason the pieces begin.
    pub window: u64,
    /// `/proc/PID/maps` of the tracee, without the pages that belong to replay.
    pub maps: String,
    /// Instruction pointers, innermost first.
    pub frames: Vec<u64>,
    /// Functions of an interpreter, innermost first.
    pub script: Vec<Source>,
}

impl Desync {
    /// A difference of which no more is known than where it was, and in what.
    #[must_use]
    pub(super) fn unsaid(event: &Event<'_>, reason: DesyncReason) -> Desync {
        Desync {
            seq: event.seq(),
            kind: event.kind(),
            thread: event.thread(),
            reason,
            actual: None,
            expected_bytes: Vec::new(),
            actual_bytes: Vec::new(),
            window: 0,
            maps: String::new(),
            frames: Vec::new(),
            script: Vec::new(),
        }
    }
}

/// Bytes before the difference that a window shows, and in all.
const BEFORE: usize = 16;
const WINDOW: usize = 64;

/// The pieces of two byte strings around `offset`, and where they begin.
#[must_use]
pub fn window(expected: &[u8], actual: &[u8], offset: usize) -> (Vec<u8>, Vec<u8>, u64) {
    let start = offset.saturating_sub(BEFORE);
    let piece = |bytes: &[u8]| bytes.get(start..bytes.len().min(start + WINDOW)).unwrap_or_default().to_vec();
    (piece(expected), piece(actual), start as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_both_sides_of_a_difference() {
        let expected: Vec<u8> = (0..200).collect();
        let mut actual = expected.clone();
        actual[100] = 0;
        actual.truncate(120);
        let (expected, actual, start) = window(&expected, &actual, 100);
        assert_eq!((start, expected.len(), actual.len()), (84, 64, 36));
        assert_eq!((expected[16], actual[16]), (100, 0));
        assert_eq!(window(&[1, 2], &[], 1), (vec![1, 2], vec![], 0));
    }
}
