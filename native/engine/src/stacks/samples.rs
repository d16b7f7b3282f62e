//! Registers and memory of threads as they enter chosen calls, copied while they are recorded: SAMPLES frames (FORMAT.md), from which
//! stacks are made afterwards.

use trace_format::frame::FrameKind;
use trace_format::limits::{MAX_FRAME_BYTES, MAX_FRAME_SAMPLES, MAX_SAMPLE_BYTES, MAX_SAMPLE_PIECES};
use trace_format::varint::{Cursor, DecodeError, Problem, put};

use crate::error::EngineError;
use crate::interpreters::Memory;
use crate::reader::Trace;

/// Registers in a sample, as `struct user_regs_struct` has them.
pub const REGISTERS: usize = 27;

/// The fields of `struct user_regs_struct`, as they stand in a sample, as what another macro is given.
macro_rules! in_order {
    ($use:ident) => {
        $use!(r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs)
    };
}

/// A thread as it enters a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The event of the call.
    pub seq: u64,
    /// Index of the thread.
    pub thread: u32,
    /// How many events had been committed when it was entered.
    pub entry: u64,
    pub registers: [u64; REGISTERS],
    /// Memory, by address; pieces do not overlap.
    pub pieces: Vec<(u64, Vec<u8>)>,
}

impl Sample {
    /// The registers.
    #[must_use]
    pub fn registers(&self) -> libc::user_regs_struct {
        macro_rules! named {
            ($($register:ident)*) => {{
                let [$($register),*] = self.registers;
                libc::user_regs_struct { $($register),* }
            }};
        }
        in_order!(named)
    }

    /// Takes over registers.
    pub fn set_registers(&mut self, regs: &libc::user_regs_struct) {
        macro_rules! numbered {
            ($($register:ident)*) => {
                [$(regs.$register),*]
            };
        }
        self.registers = in_order!(numbered);
    }

    /// Adds memory. What is there already stays.
    pub fn add(&mut self, start: u64, bytes: &[u8]) {
        let (mut start, mut bytes) = (start, bytes);
        while !bytes.is_empty() {
            let next = self.pieces.partition_point(|(at, _)| *at <= start);
            let before = next.checked_sub(1).map(|index| &self.pieces[index]);
            // Behind what is known from there on, and up to the next piece.
            let known = before.map_or(0, |(at, own)| (at + own.len() as u64).saturating_sub(start));
            let skip = known.min(bytes.len() as u64);
            (start, bytes) = (start + skip, &bytes[skip as usize..]);
            let room = self.pieces.get(next).map_or(u64::MAX, |(at, _)| at - start);
            let (own, rest) = bytes.split_at((bytes.len() as u64).min(room) as usize);
            if !own.is_empty() {
                match next.checked_sub(1).map(|index| &mut self.pieces[index]) {
                    Some((at, known)) if *at + known.len() as u64 == start => known.extend_from_slice(own),
                    _ => self.pieces.insert(next, (start, own.to_vec())),
                }
            }
            (start, bytes) = (start + own.len() as u64, rest);
        }
    }

    /// Bytes of all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Whether no memory was copied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

impl Memory for &Sample {
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> bool {
        let mut done = 0;
        while done < buffer.len() {
            let Some(at) = addr.checked_add(done as u64) else { return false };
            let next = self.pieces.partition_point(|(start, _)| *start <= at);
            let Some((start, bytes)) = next.checked_sub(1).map(|index| &self.pieces[index]) else { return false };
            let Some(own) = bytes.get((at - start) as usize..).filter(|own| !own.is_empty()) else { return false };
            let length = own.len().min(buffer.len() - done);
            buffer[done..done + length].copy_from_slice(&own[..length]);
            done += length;
        }
        true
    }
}

/// Appends a sample to the payload of a frame; `before` is the event of the one in front of it.
pub fn encode(sample: &Sample, before: u64, out: &mut Vec<u8>) {
    put(out, sample.seq.wrapping_sub(before));
    put(out, sample.seq.saturating_sub(sample.entry));
    put(out, sample.thread.into());
    for register in sample.registers {
        out.extend_from_slice(&register.to_le_bytes());
    }
    put(out, sample.pieces.len() as u64);
    for (start, bytes) in &sample.pieces {
        put(out, *start);
        put(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn decode(payload: &[u8], count: u32) -> Result<Vec<Sample>, DecodeError> {
    let mut cursor = Cursor::new(payload, "samples");
    let mut samples = Vec::new();
    let mut seq = 0_u64;
    for _ in 0..count.min(MAX_FRAME_SAMPLES) {
        seq = seq.wrapping_add(cursor.varint()?);
        let entry = seq.saturating_sub(cursor.varint()?);
        let thread = cursor.bounded(u32::MAX.into())? as u32;
        let mut sample = Sample { seq, thread, entry, ..Sample::default() };
        for register in &mut sample.registers {
            *register = u64::from_le_bytes(cursor.array::<8>()?);
        }
        let pieces = cursor.bounded(MAX_SAMPLE_PIECES.into())?;
        let mut end = 0_u64;
        for index in 0..pieces {
            let start = cursor.varint()?;
            let length = cursor.bounded(MAX_SAMPLE_BYTES.into())?;
            let bytes = cursor.take(length as usize)?;
            // In order, each on its own, and in the address space.
            let is_behind = index == 0 || start >= end;
            let next = start.checked_add(length).filter(|_| is_behind && length > 0);
            end = next.ok_or_else(|| cursor.fail(Problem::Invalid { value: start }))?;
            sample.pieces.push((start, bytes.to_vec()));
        }
        samples.push(sample);
    }
    cursor.end()?;
    Ok(samples)
}

impl Trace {
    /// Whether threads were copied while the trace was recorded.
    #[must_use]
    pub fn has_samples(&self) -> bool {
        self.entries().iter().any(|entry| entry.kind() == Some(FrameKind::Samples))
    }

    /// The samples, a frame at a time: each has those of calls that ended in about the same time.
    ///
    /// # Errors
    /// When a frame is damaged; others can still be read.
    pub fn samples(&self) -> impl Iterator<Item = Result<Vec<Sample>, EngineError>> + '_ {
        let frames = self.entries().iter().filter(|entry| entry.kind() == Some(FrameKind::Samples));
        frames.map(|entry| {
            let payload = self.payload(entry, MAX_FRAME_BYTES)?;
            decode(&payload, entry.header.count).map_err(|error| EngineError::corrupt(entry.offset, &error))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Sample> {
        let mut one = Sample { seq: 7, entry: 5, thread: 3, ..Sample::default() };
        one.registers = std::array::from_fn(|index| index as u64 * 0x1_0001_0001);
        one.add(0x7000, b"stack of the thread");
        one.add(0x100, b"far");
        let two = Sample {
            seq: 12,
            entry: 12,
            thread: 0,
            registers: [9; REGISTERS],
            pieces: vec![(u64::MAX - 3, vec![1, 2, 3])],
        };
        vec![one, two]
    }

    fn payload(samples: &[Sample]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut before = 0;
        for sample in samples {
            encode(sample, before, &mut out);
            before = sample.seq;
        }
        out
    }

    #[test]
    fn samples_are_read_as_they_were_written() {
        assert_eq!(decode(&payload(&some()), 2).unwrap(), some());
        let mut sample = Sample::default();
        sample.set_registers(&some()[0].registers());
        assert_eq!(sample.registers, some()[0].registers);
    }

    #[test]
    fn pieces_grow_together_and_overlap_nowhere() {
        let mut sample = Sample::default();
        for (start, bytes) in
            [(10_u64, "bb"), (20, "dd"), (8, "aaXX"), (12, "cccccccc"), (5, "zz"), (0, "0123456789012345678901234")]
        {
            sample.add(start, bytes.as_bytes());
        }
        let mut read = [0; 25];
        assert!((&sample).read(0, &mut read));
        assert_eq!(std::str::from_utf8(&read), Ok("01234zz7aabbccccccccdd234"));
        assert!(sample.pieces.windows(2).all(|pair| pair[0].0 + (pair[0].1.len() as u64) <= pair[1].0));
        assert!(!(&sample).read(24, &mut [0; 2]) && !(&sample).read(u64::MAX, &mut [0; 2]));
        assert_eq!(decode(&payload(std::slice::from_ref(&sample)), 1).unwrap(), [sample]);
    }

    #[test]
    fn damaged_samples_are_refused_or_read_and_nothing_else() {
        let payload = payload(&some());
        for length in 0..payload.len() {
            assert!(decode(&payload[..length], 2).is_err(), "{length}");
        }
        for at in 0..payload.len() {
            for bit in 0..8 {
                let mut damaged = payload.clone();
                damaged[at] ^= 1 << bit;
                for sample in decode(&damaged, 2).unwrap_or_default() {
                    let mut room = [0; 16];
                    let _ = (&sample).read(0x7000, &mut room);
                }
            }
        }
    }
}
