//! A first look at events: which of them may be wanted, by what is decoded before all else.

use super::BlockHeader;
use super::shape::{Shape, Shapes};
use crate::varint::{Cursor, DecodeError};
use alloc::vec::Vec;

/// What an event has to be. Everything that is wanted passes; what passes need not be wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// By number, of x86-64 and of i386: whether calls of it may be wanted. Those of numbers beyond always may.
    pub calls: [Vec<bool>; 2],
    /// Bit `1 << kind` for each other kind that may be wanted.
    pub kinds: u16,
    /// Bits of `event::flag` that have to be set, and such that must not be.
    pub flags_set: u8,
    /// As above.
    pub flags_clear: u8,
    /// By index of the thread, whether its events may be wanted; those beyond never are. None: all may.
    pub threads: Option<Vec<bool>>,
    /// Least and largest duration in nanoseconds. Every event has one; of those that are no calls it says nothing.
    pub duration: (f64, f64),
    /// Earliest and latest start in nanoseconds.
    pub start: (f64, f64),
}

impl Choice {
    /// Whether a block may have some of these events, by its columns `shapes` and `new threads`.
    ///
    /// # Errors
    /// When they are damaged.
    pub fn leaves(&self, header: &BlockHeader, count: u32, shapes: &[u8], threads: &[u8]) -> Result<bool, DecodeError> {
        let shapes = Shapes::decode(shapes, count, header.captures, header.refs)?;
        if !shapes.list.iter().any(|shape| self.shape(shape)) {
            return Ok(false);
        }
        let mut cursor = Cursor::new(threads, "new threads");
        let mut thread = 0i64;
        let mut is_left = self.threads.is_none();
        while !is_left && cursor.left() > 0 {
            thread = thread.wrapping_add(cursor.signed()?);
            is_left = u32::try_from(thread).is_ok_and(|thread| self.thread(thread));
        }
        Ok(is_left)
    }

    pub(super) fn shape(&self, shape: &Shape) -> bool {
        if shape.flags & self.flags_set != self.flags_set || shape.flags & self.flags_clear != 0 {
            return false;
        }
        if !shape.is_call() {
            return self.kinds >> shape.kind & 1 != 0;
        }
        let calls = &self.calls[usize::from(shape.arch == 1)];
        usize::try_from(shape.code).ok().and_then(|code| calls.get(code)).is_none_or(|&wanted| wanted)
    }

    pub(super) fn thread(&self, thread: u32) -> bool {
        self.threads.as_ref().is_none_or(|threads| threads.get(thread as usize) == Some(&true))
    }

    pub(super) fn times(&self, start: f64, duration: f64) -> bool {
        let within = |value: f64, (least, most): (f64, f64)| value >= least && value <= most;
        within(start, self.start) && within(duration, self.duration)
    }

    /// Whether times are looked at.
    pub(super) fn has_times(&self) -> bool {
        let open = |(least, most): (f64, f64)| least <= 0.0 && most == f64::INFINITY;
        !(open(self.duration) && open(self.start))
    }
}
