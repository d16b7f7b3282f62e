//! Sections of files that may be anything: found by name and decompressed, within limits for the whole file.

use std::borrow::Cow;
use std::cell::Cell;

use object::{CompressionFormat, File, Object as _, ObjectSection as _, Section};

/// Most bytes that are decompressed for one file and what belongs to it.
const MOST_DECOMPRESSED: u64 = 1 << 30;
/// Most bytes that one byte of zlib's format can stand for (a run of 258 takes two bits).
const ZLIB_RATIO: u64 = 1032;
/// Most bytes of the names of a file's sections. Names may overlap, so that each could be as long as the file.
const MOST_NAME_BYTES: usize = 16 << 20;

/// An ELF file with sections that can be looked for by name; `None` when it is none.
#[must_use]
pub fn open(data: &[u8]) -> Option<File<'_>> {
    let file = File::parse(data).ok()?;
    let mut left = MOST_NAME_BYTES;
    for section in file.sections() {
        left = left.checked_sub(section.name_bytes().map_or(1, |name| name.len() + 1))?;
    }
    Some(file)
}

/// Whether there is such a section with something in it.
#[must_use]
pub fn has(file: &File<'_>, name: &str) -> bool {
    file.section_by_name(name).is_some_and(|section| section.size() > 0)
}

/// Hands out bytes of sections, until all together are more than one file may have.
#[derive(Debug)]
pub struct Unpacker {
    left: Cell<u64>,
    refused: Cell<bool>,
    damaged: Cell<bool>,
}

impl Default for Unpacker {
    fn default() -> Unpacker {
        Unpacker { left: Cell::new(MOST_DECOMPRESSED), refused: Cell::new(false), damaged: Cell::new(false) }
    }
}

impl Unpacker {
    /// Bytes that were made room for so far.
    #[must_use]
    pub fn unpacked(&self) -> u64 {
        MOST_DECOMPRESSED - self.left.get()
    }

    /// Whether something was too large.
    #[must_use]
    pub fn has_refused(&self) -> bool {
        self.refused.get()
    }

    /// Whether something could not be read, or decompressed.
    #[must_use]
    pub fn has_damaged(&self) -> bool {
        self.damaged.get()
    }

    /// The bytes of a section, decompressed; `None` when it is damaged or too large.
    #[must_use]
    pub fn bytes<'a>(&self, section: &Section<'a, '_>) -> Option<Cow<'a, [u8]>> {
        let refused = self.refused.take();
        let bytes = self.unpack(section);
        self.damaged.set(self.damaged.get() || (bytes.is_none() && !self.refused.get()));
        self.refused.set(self.refused.get() || refused);
        bytes
    }

    fn unpack<'a>(&self, section: &Section<'a, '_>) -> Option<Cow<'a, [u8]>> {
        let packed = section.compressed_data().ok()?;
        if packed.format == CompressionFormat::None {
            return Some(Cow::Borrowed(packed.data));
        }
        let size = packed.uncompressed_size;
        if packed.format == CompressionFormat::Zlib && size / ZLIB_RATIO > packed.data.len() as u64 {
            return None;
        }
        let Some(left) = self.left.get().checked_sub(size) else {
            self.refused.set(true);
            return None;
        };
        self.left.set(left);
        packed.decompress().ok()
    }

    /// The bytes of the section with this name; nothing where it is missing, damaged or too large.
    #[must_use]
    pub fn named<'a>(&self, file: &File<'a>, name: &str) -> Cow<'a, [u8]> {
        file.section_by_name(name).and_then(|section| self.bytes(&section)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with sections `.a`, `.b` and so on, each of which claims to unpack to `size` bytes.
    fn packed(count: u8, size: u64) -> Vec<u8> {
        let mut names = vec![0];
        names.extend((0..count).flat_map(|number| [b'.', b'a' + number, 0]));
        names.extend(b".shstrtab\0");
        // Elf64_Chdr of zlib, and bytes of no stream.
        let mut content = [1_u32, 0].map(u32::to_le_bytes).concat();
        content.extend([size, 1].map(u64::to_le_bytes).concat());
        content.resize(24 + (size / ZLIB_RATIO) as usize + 1, 0);
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend([3_u16, 62].map(u16::to_le_bytes).concat());
        file.extend(1_u32.to_le_bytes());
        file.extend([0, 0, 64_u64].map(u64::to_le_bytes).concat());
        file.extend(0_u32.to_le_bytes());
        file.extend([64, 56, 0, 64, u16::from(count) + 2, u16::from(count) + 1].map(u16::to_le_bytes).concat());
        let start = 64 + (u64::from(count) + 2) * 64;
        let mut header = |name: u32, kind: u32, flags: u64, offset: u64, length: u64| {
            file.extend([name, kind].map(u32::to_le_bytes).concat());
            file.extend([flags, 0, offset, length].map(u64::to_le_bytes).concat());
            file.extend([0_u32, 0].map(u32::to_le_bytes).concat());
            file.extend([1_u64, 0].map(u64::to_le_bytes).concat());
        };
        header(0, 0, 0, 0, 0);
        let after = start + names.len() as u64;
        (0..count).for_each(|number| header(1 + 3 * u32::from(number), 1, 0x800, after, content.len() as u64));
        header(1 + 3 * u32::from(count), 3, 0, start, names.len() as u64);
        file.extend(names);
        file.extend(content);
        file
    }

    #[test]
    fn all_sections_of_a_file_together_have_a_limit() {
        let bytes = packed(5, MOST_DECOMPRESSED / 4);
        let file = open(&bytes).expect("an ELF file");
        let unpacker = Unpacker::default();
        for name in [".a", ".b", ".c", ".d"] {
            assert!(unpacker.named(&file, name).is_empty());
            assert!(!unpacker.has_refused(), "{name} is damaged, and not too large");
        }
        assert!(unpacker.named(&file, ".e").is_empty());
        assert!(unpacker.has_refused());
    }

    #[test]
    fn what_a_few_bytes_cannot_stand_for_is_not_made_room_for() {
        let mut bytes = packed(1, 1 << 20);
        let length = bytes.len();
        bytes.truncate(length - 100);
        let at = 64 + 64 + 32;
        let whole = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        bytes[at..at + 8].copy_from_slice(&(whole - 100).to_le_bytes());
        let unpacker = Unpacker::default();
        assert!(unpacker.named(&open(&bytes).expect("an ELF file"), ".a").is_empty());
        assert_eq!(unpacker.left.get(), MOST_DECOMPRESSED);
    }

    #[test]
    fn names_of_sections_that_are_one_long_name_are_no_names() {
        let mut bytes = packed(20, 0);
        // All names are one that has no end before that of the file.
        let at = 64 + 21 * 64;
        bytes[at + 32..at + 40].copy_from_slice(&(1_u64 << 20).to_le_bytes());
        bytes.resize(bytes.len() + (1 << 20), b'x');
        let start = u64::from_le_bytes(bytes[at + 24..at + 32].try_into().unwrap()) as usize;
        bytes[start..].fill(b'x');
        assert_eq!(bytes.pop(), Some(b'x'));
        bytes[start + (1 << 20) - 1] = 0;
        assert!(open(&bytes).is_none());
    }
}
