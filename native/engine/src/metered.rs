//! A reader of debug information and unwind tables that does no more than it has been allowed.
//!
//! Such tables refer to each other by offsets: a few bytes can make a reader go through all others a million times, or call
//! itself without end. Every byte that is read and every step that is taken is charged to a [`Meter`]; when nothing is left,
//! or when the stack is too deep, reading fails like that of a damaged file.

use std::borrow::Cow;
use std::cell::Cell;

use gimli::{EndianSlice, Error, LittleEndian, Reader, ReaderOffsetId, Result};

/// Most bytes of the thread's stack between the start of the work and a read: a quarter of the smallest stack that threads of
/// this program have.
const MOST_STACK: usize = 512 << 10;

/// What is left of the work that is allowed.
#[derive(Debug, Default)]
pub struct Meter {
    left: Cell<u64>,
    /// Address of the stack where the work began.
    stack: Cell<usize>,
    spent: Cell<bool>,
}

/// An address near the end of the thread's stack.
#[inline]
fn stack_address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(&here).addr()
}

impl Meter {
    /// Allows so many bytes and steps together, from here on the stack.
    #[must_use]
    pub fn new(allowed: u64) -> Meter {
        let meter = Meter::default();
        meter.restart(allowed);
        meter
    }

    /// Begins a new piece of work, whatever the earlier ones have taken.
    pub fn restart(&self, allowed: u64) {
        self.left.set(allowed);
        self.stack.set(stack_address());
    }

    /// Whether something was refused, ever.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.spent.get()
    }

    #[inline]
    fn charge(&self, bytes: usize) -> Result<()> {
        let left = self.left.get().checked_sub(bytes as u64 + 1);
        match left {
            Some(left) if stack_address().abs_diff(self.stack.get()) <= MOST_STACK => {
                self.left.set(left);
                Ok(())
            }
            _ => {
                self.left.set(0);
                self.spent.set(true);
                Err(Error::Io)
            }
        }
    }
}

/// Little-endian bytes that are charged when they are read.
#[derive(Clone, Copy, Debug)]
pub struct Metered<'a> {
    bytes: EndianSlice<'a, LittleEndian>,
    meter: &'a Meter,
}

impl<'a> Metered<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8], meter: &'a Meter) -> Metered<'a> {
        Metered { bytes: EndianSlice::new(bytes, LittleEndian), meter }
    }

    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes.slice()
    }
}

impl Reader for Metered<'_> {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn empty(&mut self) {
        self.bytes.empty();
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        self.bytes.truncate(len)
    }

    fn offset_from(&self, base: &Self) -> usize {
        self.bytes.offset_from(base.bytes)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        self.bytes.offset_id()
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        self.bytes.lookup_offset_id(id)
    }

    fn find(&self, byte: u8) -> Result<usize> {
        let found = Reader::find(&self.bytes, byte);
        self.meter.charge(*found.as_ref().unwrap_or(&self.bytes.len()))?;
        found
    }

    #[inline]
    fn skip(&mut self, len: usize) -> Result<()> {
        self.meter.charge(0)?;
        self.bytes.skip(len)
    }

    #[inline]
    fn split(&mut self, len: usize) -> Result<Self> {
        self.meter.charge(0)?;
        Ok(Metered { bytes: self.bytes.split(len)?, meter: self.meter })
    }

    fn to_slice(&self) -> Result<Cow<'_, [u8]>> {
        self.bytes.to_slice()
    }

    fn to_string(&self) -> Result<Cow<'_, str>> {
        self.meter.charge(self.bytes.len())?;
        Reader::to_string(&self.bytes)
    }

    fn to_string_lossy(&self) -> Result<Cow<'_, str>> {
        self.meter.charge(self.bytes.len())?;
        Reader::to_string_lossy(&self.bytes)
    }

    #[inline]
    fn read_u8(&mut self) -> Result<u8> {
        self.meter.charge(1)?;
        self.bytes.read_u8()
    }

    #[inline]
    fn read_slice(&mut self, buf: &mut [u8]) -> Result<()> {
        self.meter.charge(buf.len())?;
        Reader::read_slice(&mut self.bytes, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_ends_when_nothing_is_left() {
        let meter = Meter::new(9);
        let mut reader = Metered::new(&[1, 2, 3, 4, 5, 6, 7, 8], &meter);
        assert_eq!(reader.read_u32(), Ok(0x0403_0201));
        assert_eq!(reader.read_u8(), Ok(5));
        assert!(!meter.is_spent());
        assert_eq!(reader.read_u16(), Err(Error::Io));
        assert_eq!(reader.read_u8(), Err(Error::Io));
        assert!(meter.is_spent());
        meter.restart(2);
        assert_eq!(reader.read_u8(), Ok(6));
    }

    #[test]
    fn what_calls_itself_without_end_ends_before_the_stack() {
        fn deeper(reader: &mut Metered<'_>, depth: u32) -> u32 {
            let here = [depth; 64];
            match reader.read_u8() {
                Ok(_) => {
                    std::hint::black_box(deeper(&mut reader.clone(), depth + 1)) + std::hint::black_box(here)[0] % 2
                }
                Err(_) => depth,
            }
        }
        let bytes = vec![0; 1 << 20];
        let meter = Meter::new(u64::MAX);
        let depth = deeper(&mut Metered::new(&bytes, &meter), 0);
        assert!(meter.is_spent());
        assert!(depth > 100, "{depth}");
    }
}
