//! The function that stands at a place of a program file: from an offset in the file to a name of its symbol tables.
//!
//! Line numbers, inlined functions and files of debug information are not looked at here. The files may be anything: what
//! cannot be read has no names.

use std::fs::File;

use object::read::{ReadCache, ReadRef};
use object::{Object as _, ObjectSegment as _, ObjectSymbol as _, SymbolKind};

use crate::reader::Trace;
use crate::store::{Hash, Store};

/// A name, and how far behind its start the place is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// As the symbol table has it; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Bytes from the start of the function.
    pub offset: u64,
}

/// Longest name that is handed on; C++ has names of thousands of letters.
const MAX_NAME: usize = 4096;
/// Largest packed file that is unpacked for a name.
const MAX_PACKED: u64 = 1 << 30;

/// The function at `offset` of the file with this hash, which may be packed in the trace or be in the object store.
#[must_use]
pub fn of_object(trace: &Trace, store: &Store, hash: &Hash, offset: u64) -> Option<Symbol> {
    if let Some(file) = store.get(hash).and_then(|path| File::open(path).ok()) {
        return at(&ReadCache::new(file), offset);
    }
    let packed = trace.packed().into_iter().find(|packed| packed.hash == *hash && packed.total <= MAX_PACKED)?;
    let mut bytes = Vec::new();
    trace.read_packed(&packed, &mut bytes).ok()?;
    at(bytes.as_slice(), offset)
}

/// The function at `offset` of an ELF file: the one that covers the place, else the nearest one before it that does not say
/// how long it is.
#[must_use]
pub fn at<'data, R: ReadRef<'data>>(content: R, offset: u64) -> Option<Symbol> {
    let file = object::File::parse(content).ok()?;
    let address = file.segments().find_map(|segment| {
        let (start, length) = segment.file_range();
        let inside = offset.checked_sub(start).filter(|inside| *inside < length)?;
        segment.address().checked_add(inside)
    })?;
    let mut best: Option<(bool, u64, &[u8])> = None;
    for symbol in file.symbols().chain(file.dynamic_symbols()) {
        if !symbol.is_definition() || !matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Unknown) {
            continue;
        }
        let Some(behind) = address.checked_sub(symbol.address()) else { continue };
        let covers = behind < symbol.size();
        if !covers && symbol.size() != 0 {
            continue;
        }
        // The first of several names of one place is as good as the others.
        let better = best.is_none_or(|(covered, nearest, _)| (covers, nearest) > (covered, behind));
        let name = symbol.name_bytes().unwrap_or_default();
        if better && !name.is_empty() {
            best = Some((covers, behind, name));
        }
    }
    best.map(|(_, offset, name)| Symbol {
        name: String::from_utf8_lossy(&name[..name.len().min(MAX_NAME)]).into_owned(),
        offset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image;

    /// Where a function of this process stands in its file.
    fn place(function: usize) -> (Vec<u8>, u64) {
        let address = function as u64;
        let own = image::mappings(std::process::id().cast_signed());
        let mapping = own
            .iter()
            .find(|mapping| address.checked_sub(mapping.start).is_some_and(|inside| inside < mapping.length))
            .expect("code is mapped");
        let path = String::from_utf8(mapping.path.clone()).expect("a path");
        (std::fs::read(path).expect("a file"), address - mapping.start + mapping.offset)
    }

    #[test]
    fn a_function_of_libc_is_found_at_its_start_and_inside_and_not_behind_the_file() {
        let (libc_so, offset) = place(libc::getpid as *const () as usize);
        let start = at(libc_so.as_slice(), offset).expect("libc has names");
        assert!(start.name.ends_with("getpid"), "{start:?}");
        assert_eq!(start.offset, 0);
        let inside = at(libc_so.as_slice(), offset + 3).expect("the same function");
        assert_eq!((inside.name, inside.offset), (start.name, 3));
        assert_eq!(at(libc_so.as_slice(), libc_so.len() as u64 + 4096), None);
    }

    #[test]
    fn files_that_are_damaged_or_no_programs_have_no_names() {
        let (libc_so, offset) = place(libc::getpid as *const () as usize);
        assert_eq!(at(&b""[..], 0), None);
        assert_eq!(at(&b"#!/bin/sh\n"[..], 3), None);
        for cut in [4, 63, 64, 200, 4096, libc_so.len() / 2] {
            let _ = at(&libc_so[..cut], offset);
        }
        let mut random = 1_u32;
        let mut damaged = libc_so;
        for _ in 0..200 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Headers and tables: that is where offsets and counts are.
            let place = random as usize % 4096;
            damaged[place] ^= (random >> 24) as u8;
            let _ = at(damaged.as_slice(), offset);
        }
    }
}
