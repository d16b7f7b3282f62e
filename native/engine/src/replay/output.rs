//! What the replayed programs write to the recording's standard output and error, in the order of the trace.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use trace_format::event::{Side, slot};
use trace_format::table::Arch;

use super::event::{Captured, Event};
use super::scan;
use crate::memory::word_of;
use crate::objects;
use crate::reader::Trace;
use crate::sys;

/// Where output goes.
pub trait Output: Send {
    /// The next bytes of standard output (1) or error (2), in the order of the trace.
    fn write(&mut self, stream: u8, bytes: &[u8]);
}

/// What descriptors 1 and 2 of the first program stood for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streams {
    stdout: Option<Stream>,
    stderr: Option<Stream>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    object: u32,
    /// Device and inode, where whoever opens that file writes to the same place.
    file: Option<(u64, u64)>,
}

impl Stream {
    fn is(&self, object: u32, file: Option<(u64, u64)>) -> bool {
        object == self.object || (file.is_some() && file == self.file)
    }
}

/// Device and inode of an object.
fn file_of(trace: &Trace, object: u32) -> Option<(u64, u64)> {
    trace.definitions().object(object as usize).map(|object| (object.dev, object.ino)).filter(|file| *file != (0, 0))
}

impl Streams {
    #[must_use]
    pub fn of(trace: &Trace) -> Streams {
        let stream = |key| {
            let value = trace.definitions().meta_value(key)?;
            let object: u32 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
            let defined = trace.definitions().object(object as usize)?;
            let file = file_of(trace, object).filter(|_| objects::shows_output(defined.path));
            Some(Stream { object, file })
        };
        Streams { stdout: stream("stdout"), stderr: stream("stderr") }
    }

    /// The stream that the call of an event writes to, if it is one of the two.
    #[must_use]
    pub fn written_by(&self, trace: &Trace, event: &Event<'_>) -> Option<u8> {
        let slot = scan::plan(event)?.sink?;
        let (_, fd, object) = event.refs().find(|(at, ..)| *at == slot)?;
        let file = file_of(trace, object);
        let is = |stream: Option<Stream>| stream.is_some_and(|stream| stream.is(object, file));
        let (out, err) = (is(self.stdout), is(self.stderr));
        match (out, err) {
            // Both are one file: the number tells which of the two was meant.
            (true, true) => Some(if fd == 2 { 2 } else { 1 }),
            (true, false) => Some(1),
            (false, true) => Some(2),
            (false, false) => None,
        }
    }
}

/// Calls `piece` with what a writing call has written; `false` when not all of that is in the trace.
pub fn written(event: &Event<'_>, name: &str, mut piece: impl FnMut(&[u8])) -> bool {
    let length = usize::try_from(event.ret()).unwrap_or(0);
    let inputs = |slot| event.captures().filter(move |capture| capture.slot == slot && capture.side == Side::In as u8);
    match name {
        "write" | "pwrite64" | "send" | "sendto" => first_of(inputs(1), length, &mut piece),
        // The first capture of a vector is the vector itself.
        "writev" | "pwritev" | "pwritev2" | "vmsplice" => first_of(inputs(1).skip(1), length, &mut piece),
        "sendmsg" => {
            let header = inputs(1).next().map_or(&[][..], |header| header.bytes);
            message(event, header, length, &mut piece)
        }
        "sendmmsg" => {
            // The result is a number of messages; the kernel has written behind each how much of it was sent.
            let word = Arch::from_code(event.arch()).map_or(8, Arch::word);
            let table = event.captured(1, Side::Out).or_else(|| event.captured(1, Side::In)).unwrap_or_default();
            let entries = table.chunks_exact(8 * word).take(length);
            let is_whole = table.len() >= length.saturating_mul(8 * word);
            entries.fold(is_whole, |is_whole, entry| {
                let sent = word_of(&entry[7 * word..7 * word + 4]) as usize;
                message(event, &entry[..7 * word], sent, &mut piece) && is_whole
            })
        }
        _ => first_of(inputs(slot::MOVED), length, &mut piece),
    }
}

/// Hands on the first `left` bytes of some captures; whether there were as many.
fn first_of<'a>(captures: impl Iterator<Item = Captured<'a>>, mut left: usize, piece: &mut impl FnMut(&[u8])) -> bool {
    for capture in captures {
        let bytes = &capture.bytes[..capture.bytes.len().min(left)];
        left -= bytes.len();
        piece(bytes);
    }
    left == 0
}

/// The first `left` bytes of a message, whose struct msghdr leads to a vector, and that to the data; whether all are there.
fn message(event: &Event<'_>, header: &[u8], mut left: usize, piece: &mut impl FnMut(&[u8])) -> bool {
    let word = Arch::from_code(event.arch()).map_or(8, Arch::word);
    let at = |addr: u64| {
        let mut inputs = event.captures().filter(|capture| capture.slot == 1 && capture.side == Side::In as u8);
        inputs.find(|capture| capture.addr == addr).map_or(&[][..], |capture| capture.bytes)
    };
    // Name and its length come before the vector.
    let vector = header.get(2 * word..3 * word).map_or(&[][..], |addr| at(word_of(addr)));
    for entry in vector.chunks_exact(2 * word) {
        let length = word_of(&entry[word..]) as usize;
        let bytes = if length == 0 { &[][..] } else { at(word_of(&entry[..word])) };
        let bytes = &bytes[..bytes.len().min(length).min(left)];
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
pub struct Merge(Mutex<(Sink, Vec<Lane>)>);

/// Where output goes, and how much of it.
pub struct Sink {
    output: Box<dyn Output>,
    written: u64,
    /// So many bytes at the beginning have been written before.
    skip: u64,
}

impl Sink {
    #[must_use]
    pub fn new(output: Box<dyn Output>) -> Sink {
        Sink { output, written: 0, skip: 0 }
    }

    /// The same for output that begins anew, of which nothing is to be written twice.
    #[must_use]
    pub fn again(mut self) -> Sink {
        self.begin_anew();
        self
    }

    fn begin_anew(&mut self) {
        self.go_back(0);
    }

    /// It begins anew where so many bytes were written.
    fn go_back(&mut self, written: u64) {
        (self.skip, self.written) = (self.written.max(self.skip), written);
    }

    fn write(&mut self, stream: u8, bytes: &[u8]) {
        let known = usize::try_from(self.skip.saturating_sub(self.written)).unwrap_or(usize::MAX);
        self.written += bytes.len() as u64;
        if let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) {
            sys::with_counter(|| self.output.write(stream, new));
        }
    }
}

impl Merge {
    #[must_use]
    pub fn new(sink: Sink, lanes: usize) -> Merge {
        let lanes = (0..lanes).map(|_| Lane { reached: 0, pending: VecDeque::new() }).collect();
        Merge(Mutex::new((sink, lanes)))
    }

    /// What output went to.
    #[must_use]
    pub fn into_sink(self) -> Sink {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).0
    }

    /// How many bytes were written up to now. For one lane.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.written
    }

    /// All is replayed once more from where so many bytes were written; nothing is written twice. For one lane.
    pub fn go_back(&self, written: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.go_back(written);
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
            output.write(stream, bytes);
        } else {
            lanes[lane].pending.push_back(Pending { seq, stream, bytes: bytes.to_vec() });
            flush(output, lanes);
        }
    }

    /// A lane has replayed all its events before `seq`.
    pub fn reached(&self, lane: usize, seq: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (output, lanes) = &mut *inner;
        lanes[lane].reached = lanes[lane].reached.max(seq);
        flush(output, lanes);
    }
}

fn flush(output: &mut Sink, lanes: &mut [Lane]) {
    loop {
        let first = |lane: &Lane| lane.pending.front().map(|pending| pending.seq);
        let Some((seq, lane)) = lanes.iter().enumerate().filter_map(|(at, lane)| Some((first(lane)?, at))).min() else {
            return;
        };
        if lanes.iter().enumerate().any(|(at, other)| at != lane && other.reached <= seq) {
            return;
        }
        if let Some(pending) = lanes[lane].pending.pop_front() {
            output.write(pending.stream, &pending.bytes);
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
        let merge = Arc::new(Merge::new(Sink::new(Box::new(Send(send))), 2));
        merge.write(0, 10, 1, &[10]);
        merge.write(0, 30, 1, &[30]);
        assert!(receive.try_recv().is_err(), "the other lane may still write before 10");
        merge.write(1, 20, 1, &[20]);
        assert_eq!(receive.try_iter().collect::<Vec<_>>(), [10, 20]);
        merge.reached(1, 100);
        merge.write(0, 40, 1, &[40]);
        assert_eq!(receive.try_iter().collect::<Vec<_>>(), [30, 40]);
    }

    #[test]
    fn what_was_written_is_not_written_again() {
        let (send, receive) = mpsc::channel();
        let merge = Merge::new(Sink::new(Box::new(Send(send))), 1);
        merge.write(0, 1, 1, &[1, 2]);
        merge.write(0, 2, 1, &[3]);
        let merge = Merge::new(merge.into_sink().again(), 1);
        for (seq, bytes) in [(1, &[1, 2][..]), (2, &[3, 4, 5]), (3, &[6])] {
            merge.write(0, seq, 1, bytes);
        }
        // The first byte of each piece.
        assert_eq!(receive.try_iter().collect::<Vec<_>>(), [1, 3, 4, 6]);
        let merge = Merge::new(merge.into_sink().again().again(), 1);
        merge.write(0, 1, 1, &[1, 2, 3, 4, 5, 6]);
        merge.write(0, 1, 1, &[7]);
        assert_eq!(receive.try_iter().collect::<Vec<_>>(), [7]);
    }
}
