//! Times: a class byte that compresses well, and the low bits as they are.
//!
//! 0 to 15 are their own class. Above, the class says the position of the highest bit and the three bits below it;
//! the remaining bits follow in the bit column, where nothing can be gained. Negative and very large distances are
//! escapes.

use crate::varint::Cursor;
use crate::varint::{DecodeError, Problem, put_signed, unzigzag};
use alloc::vec::Vec;

const ESCAPE: u8 = 255;
/// Bits below the highest one that belong to the class.
const MANTISSA: u32 = 3;
/// Below this, a value is its own class.
const EXACT: u64 = 16;
const LIMIT: u64 = {
    let steps = (ESCAPE as u64 - EXACT) >> MANTISSA;
    1 << (steps + 4)
};

/// Writes distances.
pub(crate) struct TimeWriter<'a> {
    pub classes: &'a mut Vec<u8>,
    pub bits: &'a mut Vec<u8>,
    pub escapes: &'a mut Vec<u8>,
    buffer: u64,
    filled: u32,
}

impl<'a> TimeWriter<'a> {
    pub(crate) fn new(classes: &'a mut Vec<u8>, bits: &'a mut Vec<u8>, escapes: &'a mut Vec<u8>) -> Self {
        TimeWriter { classes, bits, escapes, buffer: 0, filled: 0 }
    }

    #[inline]
    pub(crate) fn push(&mut self, distance: i64) {
        let value = distance as u64;
        if value < EXACT {
            self.classes.push(value as u8);
        } else if value < LIMIT {
            let top = value.ilog2();
            let low = top - MANTISSA;
            let class = EXACT + (u64::from(top - 4) << MANTISSA) + ((value >> low) & 7);
            self.classes.push(class as u8);
            self.buffer |= (value & ((1 << low) - 1)) << self.filled;
            self.filled += low;
            while self.filled >= 8 {
                self.bits.push(self.buffer as u8);
                self.buffer >>= 8;
                self.filled -= 8;
            }
        } else {
            self.classes.push(ESCAPE);
            put_signed(self.escapes, distance);
        }
    }

    pub(crate) fn finish(self) {
        if self.filled > 0 {
            self.bits.push(self.buffer as u8);
        }
    }
}

/// Reads distances. The escapes are shared by starts and durations, in the order in which they are read.
pub(crate) struct TimeReader<'a> {
    classes: Cursor<'a>,
    bits: &'a [u8],
    /// How many bits were read.
    at: usize,
}

impl<'a> TimeReader<'a> {
    pub(crate) fn new(classes: Cursor<'a>, bits: &'a [u8]) -> Self {
        TimeReader { classes, bits, at: 0 }
    }

    #[inline]
    pub(crate) fn next(&mut self, escapes: &mut Cursor) -> Result<i64, DecodeError> {
        let class = self.classes.u8()?;
        if u64::from(class) < EXACT {
            return Ok(class.into());
        }
        if class == ESCAPE {
            return Ok(unzigzag(escapes.varint()?));
        }
        let step = class - EXACT as u8;
        let low = u32::from(step >> MANTISSA) + 4 - MANTISSA;
        Ok(((8 | u64::from(step & 7)) << low | self.low_bits(low)?) as i64)
    }

    /// The next bits: at most 30, so that they are within eight bytes.
    #[inline]
    fn low_bits(&mut self, count: u32) -> Result<u64, DecodeError> {
        let rest = self.bits.get(self.at / 8..).unwrap_or(&[]);
        let word = match rest.first_chunk::<8>() {
            Some(word) => u64::from_le_bytes(*word),
            None => self.last_word(rest, count)?,
        };
        let bits = word >> (self.at % 8) & ((1 << count) - 1);
        self.at += count as usize;
        Ok(bits)
    }

    /// The word of the last bytes, when they are enough.
    #[cold]
    fn last_word(&self, rest: &[u8], count: u32) -> Result<u64, DecodeError> {
        let need = (self.at % 8 + count as usize).div_ceil(8);
        if need > rest.len() {
            return Err(self.fail(Problem::Ends { need: need as u64, have: rest.len() as u64 }));
        }
        Ok(rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)))
    }

    fn fail(&self, problem: Problem) -> DecodeError {
        DecodeError { reading: "bits of times", offset: (self.at / 8) as u64, problem }
    }

    /// All was read; what fills the last byte is 0.
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        self.classes.end()?;
        let read = self.at.div_ceil(8);
        if read < self.bits.len() {
            return Err(self.fail(Problem::Extra { bytes: (self.bits.len() - read) as u64 }));
        }
        match self.bits.last() {
            Some(byte) if !self.at.is_multiple_of(8) && byte >> (self.at % 8) != 0 => {
                Err(self.fail(Problem::Invalid { value: (*byte).into() }))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_of_distance_comes_back() {
        let mut values: Vec<i64> = (0..300).collect();
        for bit in 4..63 {
            values.extend([(1 << bit) - 1, 1 << bit, (1 << bit) + 1, -(1 << bit)]);
        }
        values.extend([-1, i64::MAX, i64::MIN, LIMIT as i64 - 1, LIMIT as i64]);
        let (mut classes, mut bits, mut escapes) = (Vec::new(), Vec::new(), Vec::new());
        let mut writer = TimeWriter::new(&mut classes, &mut bits, &mut escapes);
        for &value in &values {
            writer.push(value);
        }
        writer.finish();
        let mut reader = TimeReader::new(Cursor::new(&classes, "classes"), &bits);
        let mut escapes = Cursor::new(&escapes, "escapes");
        for &value in &values {
            assert_eq!(reader.next(&mut escapes), Ok(value));
        }
        assert_eq!(reader.end(), Ok(()));
        assert_eq!(escapes.end(), Ok(()));
    }
}
