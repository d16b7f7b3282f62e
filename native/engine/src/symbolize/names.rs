//! Functions by the symbol tables of a file.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use object::{Object as _, ObjectSymbol as _, SymbolKind};
use xz4rust::{DICT_SIZE_MIN, XzDecoder};

use super::demangle::demangled;
use crate::binary::Binary;
use crate::sections;

/// Most bytes that .gnu_debugdata is decompressed to, and how far back its content may refer (what `xz -9` takes).
const MOST_DECOMPRESSED: usize = 256 << 20;
const MOST_DICTIONARY: usize = 64 << 20;

/// Most bytes of names of symbols that are looked at in one file: they may overlap.
const MOST_NAME_BYTES: usize = 1 << 30;

/// A function, and how far behind its start an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Demangled.
    pub name: String,
    pub offset: u64,
}

#[derive(Clone)]
struct Best<'a> {
    /// Its length says that the address is inside.
    covers: bool,
    name: &'a [u8],
    offset: u64,
}

/// A symbol that covers some address; of several at one address the greatest is worth most.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Covering<'a> {
    start: u64,
    is_global: bool,
    underscores: Reverse<usize>,
    /// Of equal ones the first counts.
    order: Reverse<usize>,
    size: u64,
    name: &'a [u8],
}

/// The function of each address, by the first of the files that has one there.
pub fn find<'a>(files: impl Iterator<Item = &'a Binary>, addresses: &[u64]) -> Vec<Option<Name>> {
    let mut order: Vec<usize> = (0..addresses.len()).collect();
    order.sort_unstable_by_key(|index| addresses[*index]);
    let sorted: Vec<u64> = order.iter().map(|index| addresses[*index]).collect();
    let mut found: Vec<Option<Name>> = vec![None; addresses.len()];
    let mut note = |binary: &Binary| {
        let Some(file) = sections::open(binary) else { return };
        for (place, best) in best_of(&file, &sorted).into_iter().enumerate() {
            let index = order[place];
            let Some(best) = best else { continue };
            // One that does not say how long it is gives way to one that covers the place.
            if found[index].as_ref().is_none_or(|known| best.covers && known.offset > best.offset) {
                let name = String::from_utf8_lossy(&best.name[..best.name.len().min(super::LONGEST_NAME)]);
                let plain = name.split_once("@@").map_or(&*name, |(plain, _)| plain);
                found[index] = Some(Name { name: demangled(plain), offset: best.offset });
            }
        }
    };
    for binary in files {
        if let Some(small) = small_table(binary) {
            note(&small);
        }
        note(binary);
    }
    found
}

/// The best symbol of each of the addresses, which are sorted.
fn best_of<'a>(file: &object::File<'a>, sorted: &[u64]) -> Vec<Option<Best<'a>>> {
    let mut covering: Vec<Covering<'a>> = Vec::new();
    // Symbols without length, such as labels of assembler code.
    let mut labels: Vec<(u64, &'a [u8])> = Vec::new();
    // By address: the last start of a function with a length in front of it.
    let mut starts = vec![0; sorted.len()];
    let mut left = MOST_NAME_BYTES;
    for symbol in file.symbols().chain(file.dynamic_symbols()) {
        if !symbol.is_definition() || !matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Unknown) {
            continue;
        }
        let (start, size) = (symbol.address(), symbol.size());
        let next = sorted.partition_point(|address| *address < start);
        let Some(behind) = sorted.get(next) else { continue };
        if size != 0 {
            starts[next] = start.max(starts[next]);
        }
        if size != 0 && behind - start >= size {
            continue;
        }
        let Some(name) = symbol.name_bytes().ok().filter(|name| !name.is_empty()) else { continue };
        let Some(rest) = left.checked_sub(name.len()) else { break };
        left = rest;
        if size == 0 {
            labels.push((start, name));
        } else {
            let underscores = Reverse(name.iter().take_while(|byte| **byte == b'_').count());
            let order = Reverse(covering.len());
            covering.push(Covering { start, is_global: symbol.is_global(), underscores, order, size, name });
        }
    }
    let mut best = best_covering(covering, sorted);
    labels.sort_unstable_by_key(|(start, _)| *start);
    let mut last = 0;
    for start in &mut starts {
        last = last.max(*start);
        *start = last;
    }
    for (place, address) in sorted.iter().enumerate().filter(|(place, _)| best[*place].is_none()).collect::<Vec<_>>() {
        let next = labels.partition_point(|(start, _)| start <= address);
        let Some((start, name)) = labels[..next].last() else { continue };
        let offset = address - start;
        // Behind the end of another function it is no longer what the label names.
        if *start >= starts[place] && offset < MOST_BEHIND_LABEL && in_code(file, *address, *start) {
            best[place] = Some(Best { covers: false, name, offset });
        }
    }
    best
}

/// The greatest of the symbols that cover each address. Each symbol is looked at once, whatever length it claims.
fn best_covering<'a>(mut covering: Vec<Covering<'a>>, sorted: &[u64]) -> Vec<Option<Best<'a>>> {
    covering.sort_unstable_by_key(|symbol| symbol.start);
    let mut coming = covering.into_iter().peekable();
    let mut open = BinaryHeap::new();
    let of_address = |address: &u64| {
        while let Some(symbol) = coming.next_if(|symbol| symbol.start <= *address) {
            open.push(symbol);
        }
        // One that ends before this address covers no later one either.
        while open.peek().is_some_and(|symbol: &Covering<'_>| address - symbol.start >= symbol.size) {
            open.pop();
        }
        open.peek().map(|symbol| Best { covers: true, name: symbol.name, offset: address - symbol.start })
    };
    sorted.iter().map(of_address).collect()
}

/// Farther behind a label nothing says that it is still the same function.
const MOST_BEHIND_LABEL: u64 = 1 << 16;

/// Whether both addresses are in one segment.
fn in_code(file: &object::File<'_>, one: u64, other: u64) -> bool {
    use object::ObjectSegment as _;
    file.segments().any(|segment| {
        let inside = |address: u64| address.checked_sub(segment.address()).is_some_and(|at| at < segment.size());
        inside(one) && inside(other)
    })
}

/// The file in .gnu_debugdata, which has a symbol table and no more ("MiniDebugInfo" in gdb's manual).
fn small_table(binary: &Binary) -> Option<Binary> {
    use object::ObjectSection as _;
    let file = sections::open(binary)?;
    let compressed = file.section_by_name(".gnu_debugdata")?.data().ok()?;
    unpacked(compressed, MOST_DECOMPRESSED).map(Binary::Owned)
}

/// The content of an .xz file; `None` when it is damaged, or longer than `most`.
fn unpacked(mut packed: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut decoder = XzDecoder::in_heap_with_alloc_dict_size(DICT_SIZE_MIN, MOST_DICTIONARY);
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let step = decoder.decode(packed, &mut piece).ok()?;
        bytes.extend_from_slice(&piece[..step.output_produced()]);
        packed = &packed[step.input_consumed()..];
        if bytes.len() > most {
            return None;
        }
        if step.is_end_of_stream() {
            return Some(bytes);
        }
        step.made_progress().then_some(())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_symbol_that_covers_an_address_is_the_best() {
        let symbol = |order, start, size, is_global, name: &'static str| Covering {
            start,
            is_global,
            underscores: Reverse(name.len() - name.trim_start_matches('_').len()),
            order: Reverse(order),
            size,
            name: name.as_bytes(),
        };
        let covering = vec![
            symbol(0, 0x10, u64::MAX, true, "everything"),
            symbol(1, 0x20, 0x10, false, "local"),
            symbol(2, 0x20, 0x10, true, "__global"),
            symbol(3, 0x20, 0x10, true, "global"),
            symbol(4, 0x20, 0x10, true, "alias"),
            symbol(5, 0x28, 4, false, "inside"),
        ];
        let addresses = [0, 0x10, 0x20, 0x28, 0x2b, 0x2c, 0x30, u64::MAX];
        let found = best_covering(covering, &addresses);
        let found: Vec<_> = found.iter().map(|best| best.as_ref().map(|best| (best.name, best.offset))).collect();
        let is = |name: &'static str, offset| Some((name.as_bytes(), offset));
        let everything = is("everything", u64::MAX - 0x10);
        assert_eq!(found[..3], [None, is("everything", 0), is("global", 0)]);
        assert_eq!(
            found[3..],
            [is("inside", 0), is("inside", 3), is("global", 12), is("everything", 0x20), everything]
        );
    }

    #[test]
    fn symbols_that_claim_everything_take_no_longer_than_others() {
        let symbols = (0..100_000).map(|start| Covering {
            start,
            is_global: false,
            underscores: Reverse(0),
            order: Reverse(start as usize),
            size: u64::MAX,
            name: b"x",
        });
        let addresses: Vec<u64> = (1 << 20..(1 << 20) + 100_000).collect();
        let found = best_covering(symbols.collect(), &addresses);
        assert!(found.iter().all(|best| best.as_ref().is_some_and(|best| best.offset >= (1 << 20) - 99_999)));
    }

    /// `head -c 1048576 /dev/zero | xz`
    const ZEROS: &[u8] = &[
        253, 55, 122, 88, 90, 0, 0, 4, 230, 214, 180, 70, 2, 0, 33, 1, 22, 0, 0, 0, 116, 47, 229, 163, 239, 255, 255,
        0, 217, 93, 0, 0, 111, 253, 255, 255, 163, 183, 255, 71, 62, 72, 21, 114, 57, 97, 81, 184, 146, 40, 230, 163,
        134, 7, 249, 238, 228, 30, 130, 211, 47, 197, 58, 60, 1, 75, 177, 126, 201, 138, 138, 77, 47, 163, 13, 217,
        127, 166, 227, 140, 35, 17, 83, 224, 89, 24, 197, 117, 138, 226, 119, 248, 182, 148, 127, 12, 106, 192, 222,
        116, 73, 100, 226, 233, 92, 83, 178, 4, 216, 247, 68, 12, 171, 95, 13, 109, 70, 233, 229, 195, 118, 136, 183,
        150, 87, 172, 182, 77, 225, 105, 29, 111, 251, 75, 136, 16, 108, 66, 203, 136, 63, 92, 0, 143, 208, 78, 175,
        38, 40, 148, 113, 31, 61, 143, 36, 225, 112, 158, 167, 35, 95, 236, 40, 203, 133, 209, 149, 152, 138, 126, 42,
        145, 242, 39, 117, 247, 25, 192, 6, 152, 77, 152, 253, 216, 175, 213, 144, 15, 196, 37, 83, 248, 245, 145, 54,
        49, 5, 165, 176, 238, 111, 193, 112, 77, 71, 12, 209, 145, 17, 170, 173, 96, 29, 186, 206, 177, 39, 24, 92, 89,
        134, 233, 102, 82, 88, 190, 233, 118, 172, 89, 228, 229, 91, 5, 8, 249, 199, 218, 173, 252, 251, 82, 42, 247,
        228, 149, 37, 0, 0, 0, 0, 0, 194, 246, 186, 62, 162, 112, 107, 96, 0, 1, 245, 1, 128, 128, 64, 0, 121, 151,
        127, 71, 177, 196, 103, 251, 2, 0, 0, 0, 0, 4, 89, 90,
    ];

    #[test]
    fn compressed_tables_are_unpacked_up_to_a_limit() {
        assert_eq!(unpacked(ZEROS, 1 << 20), Some(vec![0; 1 << 20]));
        assert_eq!(unpacked(ZEROS, (1 << 20) - 1), None);
        for cut in 0..ZEROS.len() {
            assert_eq!(unpacked(&ZEROS[..cut], 1 << 20), None, "{cut}");
        }
        for at in 0..ZEROS.len() {
            let mut damaged = ZEROS.to_vec();
            damaged[at] ^= 0x55;
            let _ = unpacked(&damaged, 1 << 20);
        }
    }
}
