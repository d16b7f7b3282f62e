//! Numbers of variable length (LEB128, 7 bits to a byte, low bits first), and the cursor that all decoding goes through.

use alloc::vec::Vec;
use core::fmt;

/// Why something could not be decoded, with the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The input ends before the value does.
    Ends {
        /// Bytes that were needed.
        need: u64,
        /// Bytes that were there.
        have: u64,
    },
    /// A number is beyond its limit.
    TooLarge {
        /// What the file says.
        value: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A number has no meaning here.
    Invalid {
        /// What the file says.
        value: u64,
    },
    /// Bytes follow where nothing should.
    Extra {
        /// How many.
        bytes: u64,
    },
    /// The checksum differs.
    Checksum {
        /// As the file says.
        stored: u32,
        /// As computed.
        computed: u32,
    },
    /// The compressed data is not valid.
    Compressed,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Problem::Ends { need, have } => write!(f, "needs {need} bytes, {have} are there"),
            Problem::TooLarge { value, limit } => write!(f, "{value} is over the limit of {limit}"),
            Problem::Invalid { value } => write!(f, "value {value} has no meaning here"),
            Problem::Extra { bytes } => write!(f, "{bytes} bytes too many"),
            Problem::Checksum { stored, computed } => {
                write!(f, "checksum {stored:08x} in the file, {computed:08x} computed")
            }
            Problem::Compressed => write!(f, "compressed data is damaged"),
        }
    }
}

/// What was being read, where, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The structure or column that was being read.
    pub reading: &'static str,
    /// Offset inside that structure or column.
    pub offset: u64,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.reading, self.offset, self.problem)
    }
}

impl core::error::Error for DecodeError {}

/// Appends `value`.
#[inline]
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a number with a sign.
#[inline]
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag(value));
}

/// Maps 0, -1, 1, -2, ... to 0, 1, 2, 3, ...
#[inline]
#[must_use]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
#[must_use]
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads values from the front of some bytes; every error says what was being read.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    reading: &'static str,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`; `reading` names them in errors.
    #[must_use]
    pub fn new(bytes: &'a [u8], reading: &'static str) -> Self {
        Cursor { bytes, at: 0, reading }
    }

    /// How many bytes have been read.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// An error at this place.
    #[cold]
    #[must_use]
    pub fn fail(&self, problem: Problem) -> DecodeError {
        DecodeError { reading: self.reading, offset: self.at as u64, problem }
    }

    #[cold]
    fn ends(&self, need: usize) -> DecodeError {
        self.fail(Problem::Ends { need: need as u64, have: self.left() as u64 })
    }

    /// One byte.
    ///
    /// # Errors
    /// When there is none.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let Some(&byte) = self.bytes.get(self.at) else { return Err(self.ends(1)) };
        self.at += 1;
        Ok(byte)
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let bytes = self.bytes;
        let Some(part) = bytes[self.at..].get(..count) else { return Err(self.ends(count)) };
        self.at += count;
        Ok(part)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// When fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(part) = self.bytes[self.at..].first_chunk::<N>() else { return Err(self.ends(N)) };
        self.at += N;
        Ok(*part)
    }

    /// Moves behind the bytes that are 0, at most so many of them, and says how many there were.
    #[inline]
    pub fn skip_zeros(&mut self, most: usize) -> usize {
        let rest = &self.bytes[self.at..];
        let rest = &rest[..rest.len().min(most)];
        let words = rest.chunks_exact(8).take_while(|word| **word == [0; 8]).count();
        let count = 8 * words + rest[8 * words..].iter().take_while(|byte| **byte == 0).count();
        self.at += count;
        count
    }

    /// A number.
    ///
    /// # Errors
    /// When the input ends inside it, or it is larger than 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let start = self.at;
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                self.at = start;
                return Err(self.fail(Problem::TooLarge { value: u64::MAX, limit: u64::MAX }));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    /// A number of at most `limit`.
    ///
    /// # Errors
    /// As [`Cursor::varint`], or when it is larger than the limit.
    #[inline]
    pub fn bounded(&mut self, limit: u64) -> Result<u64, DecodeError> {
        let start = self.at;
        let value = self.varint()?;
        if value > limit {
            self.at = start;
            return Err(self.fail(Problem::TooLarge { value, limit }));
        }
        Ok(value)
    }

    /// A number with a sign.
    ///
    /// # Errors
    /// As [`Cursor::varint`].
    #[inline]
    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        Ok(unzigzag(self.varint()?))
    }

    /// Nothing may follow.
    ///
    /// # Errors
    /// When something does.
    pub fn end(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.fail(Problem::Extra { bytes: left as u64 })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let mut values = alloc::vec![0, 1, 127, 128, 16_383, 16_384, u64::MAX - 1, u64::MAX];
        values.extend((0..64).map(|bit| 1u64 << bit));
        let mut out = Vec::new();
        for &value in &values {
            put(&mut out, value);
            put_signed(&mut out, value as i64);
        }
        let mut cursor = Cursor::new(&out, "numbers");
        for &value in &values {
            assert_eq!(cursor.varint(), Ok(value));
            assert_eq!(cursor.signed(), Ok(value as i64));
        }
        assert_eq!(cursor.end(), Ok(()));
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let bytes = [0xff; 9].into_iter().chain([0x02]).collect::<Vec<u8>>();
        let error = Cursor::new(&bytes, "number").varint().unwrap_err();
        assert_eq!(error.offset, 0);
        assert!(matches!(error.problem, Problem::TooLarge { .. }));
        let error = Cursor::new(&[0x80; 20], "number").varint().unwrap_err();
        assert!(matches!(error.problem, Problem::Ends { .. } | Problem::TooLarge { .. }));
    }

    #[test]
    fn the_end_is_reported_with_numbers() {
        let mut cursor = Cursor::new(&[1, 2, 3], "three bytes");
        let error = cursor.take(5).unwrap_err();
        assert_eq!(alloc::format!("{error}"), "three bytes at 0: needs 5 bytes, 3 are there");
        cursor.u8().unwrap();
        assert_eq!(cursor.end().unwrap_err().problem, Problem::Extra { bytes: 2 });
    }
}
