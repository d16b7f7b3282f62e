//! What the replayed programs write to the recording's standard output and error, in the order of the trace.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use trace_format::event::Side;

use super::event::Event;
use super::scan;
use crate::reader::Trace;
use crate::sys;

/// Where output goes.
pub trait Output: Send {
    /// The next bytes of standard output (1) or error (2), in the order of the trace.
    fn write(&mut self, stream: u8, bytes: &[u8]);
}

/// The objects that descriptors 1 and 2 of the first program stood for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streams {
    stdout: Option<u32>,
    stderr: Option<u32>,
}

impl Streams {
    #[must_use]
    pub fn of(trace: &Trace) -> Streams {
        let object = |key| {
            let value = trace.definitions().meta_value(key)?;
            std::str::from_utf8(value).ok()?.trim().parse().ok()
        };
        Streams { stdout: object("stdout"), stderr: object("stderr") }
    }

    /// The stream that the call of an event writes to, if it is one of the two.
    #[must_use]
    pub fn written_by(&self, event: &Event<'_>) -> Option<u8> {
        let slot = scan::plan(event)?.sink?;
        let (_, fd, object) = event.refs().find(|(at, ..)| *at == slot)?;
        let (out, err) = (self.stdout == Some(object), self.stderr == Some(object));
        match (out, err) {
            // Both are one file: the number tells which of the two was meant.
            (true, true) => Some(if fd == 2 { 2 } else { 1 }),
            (true, false) => Some(1),
            (false, true) => Some(2),
            (false, false) => None,
        }
    }
}

/// Calls `piece` with what a writing call has written; `false` when its data went from file to file and is not in the trace.
pub fn written(event: &Event<'_>, name: &str, mut piece: impl FnMut(&[u8])) -> bool {
    let mut left = usize::try_from(event.ret()).unwrap_or(0);
    let (slot, is_vector) = match name {
        "write" | "pwrite64" | "send" | "sendto" => (1, false),
        "writev" | "pwritev" | "pwritev2" => (1, true),
        _ => return left == 0,
    };
    let inputs = event.captures().filter(|capture| capture.slot == slot && capture.side == Side::In as u8);
    // The first capture of a vector is the vector itself.
    for capture in inputs.skip(usize::from(is_vector)) {
        let bytes = &capture.bytes[..capture.bytes.len().min(left)];
        left -= bytes.len();
        piece(bytes);
    }
    left == 0
}

struct Pending {
    seq: u64,
    stream: u8,
    bytes: Vec<u8>,
}

struct Lane {
    /// All events before this one have been replayed.
    reached: u64,
    pending: VecDeque<Pending>,
}

/// Brings the output of several replaying threads into the order of the trace.
pub struct Merge(Mutex<(Box<dyn Output>, Vec<Lane>)>);

impl Merge {
    #[must_use]
    pub fn new(output: Box<dyn Output>, lanes: usize) -> Merge {
        let lanes = (0..lanes).map(|_| Lane { reached: 0, pending: VecDeque::new() }).collect();
        Merge(Mutex::new((output, lanes)))
    }

    /// Output of event `seq`; a lane's events come in order.
    pub fn write(&self, lane: usize, seq: u64, stream: u8, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (output, lanes) = &mut *inner;
        lanes[lane].reached = lanes[lane].reached.max(seq);
        let is_first = lanes.iter().enumerate().all(|(other, state)| {
            let own_is_empty = state.pending.is_empty();
            if other == lane { own_is_empty } else { own_is_empty && state.reached > seq }
        });
        if is_first {
            sys::with_counter(|| output.write(stream, bytes));
        } else {
            lanes[lane].pending.push_back(Pending { seq, stream, bytes: bytes.to_vec() });
            flush(output.as_mut(), lanes);
        }
    }

    /// A lane has replayed all its events before `seq`.
    pub fn reached(&self, lane: usize, seq: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (output, lanes) = &mut *inner;
        lanes[lane].reached = lanes[lane].reached.max(seq);
        flush(output.as_mut(), lanes);
    }
}

fn flush(output: &mut dyn Output, lanes: &mut [Lane]) {
    loop {
        let first = |lane: &Lane| lane.pending.front().map(|pending| pending.seq);
        let Some((seq, lane)) = lanes.iter().enumerate().filter_map(|(at, lane)| Some((first(lane)?, at))).min() else {
            return;
        };
        if lanes.iter().enumerate().any(|(at, other)| at != lane && other.reached <= seq) {
            return;
        }
        if let Some(pending) = lanes[lane].pending.pop_front() {
            sys::with_counter(|| output.write(pending.stream, &pending.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    struct Send(mpsc::Sender<u8>);

    impl Output for Send {
        fn write(&mut self, _: u8, bytes: &[u8]) {
            self.0.send(bytes[0]).unwrap();
        }
    }

    #[test]
    fn output_of_two_lanes_comes_in_the_order_of_events() {
        let (send, receive) = mpsc::channel();
        let merge = Arc::new(Merge::new(Box::new(Send(send)), 2));
        merge.write(0, 10, 1, &[10]);
        merge.write(0, 30, 1, &[30]);
        assert!(receive.try_recv().is_err(), "the other lane may still write before 10");
        merge.write(1, 20, 1, &[20]);
        assert_eq!(receive.try_iter().collect::<Vec<_>>(), [10, 20]);
        merge.reached(1, 100);
        merge.write(0, 40, 1, &[40]);
        assert_eq!(receive.try_iter().collect::<Vec<_>>(), [30, 40]);
    }
}
