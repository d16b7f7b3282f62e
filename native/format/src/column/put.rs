//! Rows in stored order in, arrays in the order of the trace out.
#![allow(clippy::cast_precision_loss, reason = "times are bounded by what a double holds; `wanted` is for show")]

use super::choice::Choice;
use super::decode::Decoder;
use super::shape::Shape;
use super::{Columns, Projection};
use alloc::vec::Vec;
use core::ops::Range;

/// Rows that follow each other in both orders.
struct Piece {
    /// In stored order.
    rows: Range<usize>,
    group: usize,
    /// Where the captures and references of the first one are, in stored order.
    capture: usize,
    reference: usize,
    /// Place of the first one in the order of the trace.
    place: u32,
}

impl Decoder {
    /// Appends what was read, or what a choice leaves of it: `rows` says which events those are then. `first_seq`,
    /// `content_start` and `bytes` are not known here.
    pub fn put(&self, (projection, choice): (Projection, Option<&Choice>), tick_ns: u32, out: &mut Columns) {
        let tick_ns = f64::from(tick_ns);
        let pieces = match choice {
            None if projection.refs || projection.has_contents() => self.pieces(|_, _| true),
            None => self.runs(),
            Some(choice) => self.chosen(choice, tick_ns),
        };
        out.count = pieces.iter().map(|piece| piece.rows.len() as u32).sum();
        if choice.is_some() {
            let places = pieces.iter().flat_map(|piece| piece.place..piece.place + piece.rows.len() as u32);
            out.rows.extend(places);
        }
        self.put_base(&pieces, tick_ns, out);
        for piece in &pieces {
            let rows = &self.stored.rows;
            if projection.spans {
                out.span.extend_from_slice(&self.span[piece.place as usize..][..piece.rows.len()]);
            }
            if projection.results {
                put_pairs(&rows.ret[piece.rows.clone()], |word| word as i32, &mut out.ret);
            }
            if projection.place {
                put_pairs(&rows.ip[piece.rows.clone()], |word| word, &mut out.ip);
                put_pairs(&rows.sp[piece.rows.clone()], |word| word, &mut out.sp);
            }
            if projection.args {
                put_pairs(rows.args[piece.rows.clone()].as_flattened(), |word| word, &mut out.args);
            }
        }
        if projection.has_contents() {
            self.put_captures(&pieces, projection.captures, out);
        }
        if projection.refs {
            self.put_refs(&pieces, out);
        }
    }

    /// All rows.
    fn runs(&self) -> Vec<Piece> {
        let mut next: Vec<u32> = self.stored.skeleton.groups.iter().map(|group| group.start).collect();
        let mut place = 0;
        let runs = self.runs.iter().map(|&(group, len)| {
            let start = next[group as usize];
            next[group as usize] += len;
            place += len;
            let rows = start as usize..(start + len) as usize;
            Piece { rows, group: group as usize, capture: 0, reference: 0, place: place - len }
        });
        runs.collect()
    }

    fn chosen(&self, choice: &Choice, tick_ns: f64) -> Vec<Piece> {
        let skeleton = &self.stored.skeleton;
        let shapes: Vec<bool> = skeleton.shapes.list.iter().map(|shape| choice.shape(shape)).collect();
        let groups: Vec<bool> = self.threads.iter().map(|&thread| choice.thread(thread)).collect();
        let has_times = choice.has_times();
        self.pieces(|group, row| {
            shapes[skeleton.shape[row] as usize]
                && groups[group]
                && (!has_times || {
                    let is_call = skeleton.shapes.list[skeleton.shape[row] as usize].is_call();
                    let duration = if is_call { self.duration[row] as f64 * tick_ns } else { choice.duration.0 };
                    choice.times(self.start[row] as f64 * tick_ns, duration)
                })
        })
    }

    /// The rows that are wanted, by group and place in stored order.
    fn pieces(&self, wanted: impl Fn(usize, usize) -> bool) -> Vec<Piece> {
        let skeleton = &self.stored.skeleton;
        let lens: Vec<(usize, usize)> =
            skeleton.shapes.list.iter().map(|shape| (shape.captures.len(), shape.refs.len())).collect();
        let mut next = Vec::with_capacity(skeleton.groups.len());
        let (mut capture, mut reference) = (0, 0);
        for group in &skeleton.groups {
            next.push((group.start as usize, capture, reference));
            for &shape in &skeleton.shape[group.start as usize..group.end as usize] {
                capture += lens[shape as usize].0;
                reference += lens[shape as usize].1;
            }
        }
        let mut pieces: Vec<Piece> = Vec::new();
        let mut place = 0;
        for &(group, len) in &self.runs {
            let (row, capture, reference) = &mut next[group as usize];
            let mut is_open = false;
            for _ in 0..len {
                if !wanted(group as usize, *row) {
                    is_open = false;
                } else if let Some(piece) = pieces.last_mut().filter(|_| is_open) {
                    piece.rows.end += 1;
                } else {
                    is_open = true;
                    let rows = *row..*row + 1;
                    let (capture, reference) = (*capture, *reference);
                    pieces.push(Piece { rows, group: group as usize, capture, reference, place });
                }
                let shape = skeleton.shape[*row] as usize;
                *row += 1;
                *capture += lens[shape].0;
                *reference += lens[shape].1;
                place += 1;
            }
        }
        pieces
    }

    fn put_base(&self, pieces: &[Piece], tick_ns: f64, out: &mut Columns) {
        let skeleton = &self.stored.skeleton;
        let list = &skeleton.shapes.list;
        let count = out.count as usize;
        out.kind.reserve_exact(count);
        out.flags.reserve_exact(count);
        out.arch.reserve_exact(count);
        out.nargs.reserve_exact(count);
        out.code.reserve_exact(count);
        out.thread.reserve_exact(count);
        out.start.reserve_exact(count);
        out.duration.reserve_exact(count);
        for piece in pieces {
            let rows = piece.rows.clone();
            let shapes = || skeleton.shape[rows.clone()].iter().map(|&shape| &list[shape as usize]);
            out.kind.extend(shapes().map(|shape| shape.kind));
            out.flags.extend(shapes().map(|shape| shape.flags));
            out.arch.extend(shapes().map(|shape| shape.arch));
            out.nargs.extend(shapes().map(|shape| shape.nargs));
            out.code.extend(shapes().map(|shape| shape.code));
            out.thread.extend(core::iter::repeat_n(self.threads[piece.group], rows.len()));
            out.start.extend(self.start[rows.clone()].iter().map(|&ticks| ticks as f64 * tick_ns));
            out.duration.extend(self.duration[rows].iter().map(|&ticks| ticks as f64 * tick_ns));
        }
        self.put_codes(pieces, out);
    }

    /// Codes of the rows that are no calls: a column of their own, in stored order.
    fn put_codes(&self, pieces: &[Piece], out: &mut Columns) {
        if self.codes.is_empty() {
            return;
        }
        let skeleton = &self.stored.skeleton;
        let is_call: Vec<bool> = skeleton.shapes.list.iter().map(Shape::is_call).collect();
        let rows = skeleton.shape.iter().enumerate().filter(|(_, shape)| !is_call[**shape as usize]);
        let others: Vec<usize> = rows.map(|(row, _)| row).collect();
        let mut place = 0;
        for piece in pieces {
            let first = others.partition_point(|&row| row < piece.rows.start);
            let own = others[first..].iter().zip(&self.codes[first..]).take_while(|(row, _)| **row < piece.rows.end);
            for (&row, &code) in own {
                out.code[place + row - piece.rows.start] = code;
            }
            place += piece.rows.len();
        }
    }

    fn put_captures(&self, pieces: &[Piece], with_addresses: bool, out: &mut Columns) {
        let captures = &self.stored.captures;
        self.put_starts(pieces, |shape| shape.0, &mut out.cap_start);
        let shapes = &self.stored.skeleton.shapes;
        for piece in pieces {
            let mut end = piece.capture;
            for &shape in &self.stored.skeleton.shape[piece.rows.clone()] {
                let signatures = &shapes.signatures[shapes.list[shape as usize].capture_range()];
                out.cap_slot.extend(signatures.iter().map(|signature| signature >> 4));
                out.cap_side.extend(signatures.iter().map(|signature| signature >> 2 & 3));
                out.cap_status.extend(signatures.iter().map(|signature| signature & 3));
                end += signatures.len();
            }
            let all = piece.capture..end;
            out.cap_content.extend_from_slice(&captures.content[all.clone()]);
            if with_addresses {
                put_pairs(&captures.addr[all.clone()], |word| word, &mut out.cap_addr);
                out.cap_wanted.extend(captures.wanted[all].iter().map(|&wanted| wanted as f64));
            }
        }
    }

    fn put_refs(&self, pieces: &[Piece], out: &mut Columns) {
        let refs = &self.stored.refs;
        self.put_starts(pieces, |shape| shape.1, &mut out.ref_start);
        let shapes = &self.stored.skeleton.shapes;
        for piece in pieces {
            let mut end = piece.reference;
            for &shape in &self.stored.skeleton.shape[piece.rows.clone()] {
                let slots = &shapes.signatures[shapes.list[shape as usize].ref_range()];
                out.ref_slot.extend_from_slice(slots);
                end += slots.len();
            }
            let all = piece.reference..end;
            // Both were checked when they were read.
            out.ref_fd.extend(refs.fd[all.clone()].iter().map(|&fd| fd as i32));
            out.ref_object.extend(refs.object[all].iter().map(|&object| object as u32));
        }
    }

    /// Positions per event: as many entries as `len` says for each.
    fn put_starts(&self, pieces: &[Piece], len: impl Fn((u32, u32)) -> u32, starts: &mut Vec<u32>) {
        let skeleton = &self.stored.skeleton;
        let lens: Vec<u32> = (skeleton.shapes.list.iter())
            .map(|shape| len((shape.captures.len() as u32, shape.refs.len() as u32)))
            .collect();
        let mut total = 0;
        starts.push(0);
        for piece in pieces {
            starts.extend(skeleton.shape[piece.rows.clone()].iter().map(|&shape| {
                total += lens[shape as usize];
                total
            }));
        }
    }
}

/// Values as pairs of words, low word first.
fn put_pairs<T: Copy + Default>(values: &[u64], word: impl Fn(u32) -> T, out: &mut Vec<T>) {
    let start = out.len();
    out.resize(start + 2 * values.len(), T::default());
    for (pair, &value) in out[start..].chunks_exact_mut(2).zip(values) {
        pair.copy_from_slice(&[word(value as u32), word((value >> 32) as u32)]);
    }
}
