//! Functions by the symbol tables of a file.

use std::io::{self, BufReader, Write};

use object::{Object as _, ObjectSymbol as _, SymbolKind};

use crate::binary::Binary;

/// Most bytes that .gnu_debugdata is decompressed to.
const MOST_DECOMPRESSED: usize = 256 << 20;

/// A function, and how far behind its start an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Demangled.
    pub name: String,
    pub offset: u64,
}

/// What is worth most comes last.
type Rank = (bool, u64, bool, std::cmp::Reverse<usize>);

#[derive(Clone)]
struct Best<'a> {
    rank: Rank,
    name: &'a [u8],
    offset: u64,
}

/// The function of each address, by the first of the files that has one there.
pub fn find<'a>(files: impl Iterator<Item = &'a Binary>, addresses: &[u64]) -> Vec<Option<Name>> {
    let mut order: Vec<usize> = (0..addresses.len()).collect();
    order.sort_unstable_by_key(|index| addresses[*index]);
    let sorted: Vec<u64> = order.iter().map(|index| addresses[*index]).collect();
    let mut found: Vec<Option<Name>> = vec![None; addresses.len()];
    let mut note = |binary: &Binary| {
        let Ok(file) = object::File::parse(&**binary) else { return };
        for (place, best) in best_of(&file, &sorted).into_iter().enumerate() {
            let index = order[place];
            let Some(best) = best else { continue };
            // One that does not say how long it is gives way to one that covers the place.
            if found[index].as_ref().is_none_or(|known| best.rank.0 && known.offset > best.offset) {
                let name = String::from_utf8_lossy(&best.name[..best.name.len().min(super::LONGEST_NAME)]);
                let plain = name.split_once("@@").map_or(&*name, |(plain, _)| plain).to_owned();
                let name = addr2line::demangle_auto(plain.into(), None).into_owned();
                found[index] = Some(Name { name: super::cut(&name), offset: best.offset });
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
    let mut best: Vec<Option<Best<'a>>> = vec![None; sorted.len()];
    // Symbols without length, such as labels of assembler code.
    let mut labels: Vec<(u64, &'a [u8])> = Vec::new();
    for symbol in file.symbols().chain(file.dynamic_symbols()) {
        let is_code = symbol.is_definition() && matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Unknown);
        let Ok(name) = symbol.name_bytes() else { continue };
        if !is_code || name.is_empty() {
            continue;
        }
        let (start, size) = (symbol.address(), symbol.size());
        let first = sorted.partition_point(|address| *address < start);
        if size == 0 {
            if first < sorted.len() {
                labels.push((start, name));
            }
            continue;
        }
        for place in first..sorted.len() {
            let offset = sorted[place] - start;
            if offset >= size {
                break;
            }
            let underscores = name.iter().take_while(|byte| **byte == b'_').count();
            let rank = (true, u64::MAX - offset, symbol.is_global(), std::cmp::Reverse(underscores));
            if best[place].as_ref().is_none_or(|known| rank > known.rank) {
                best[place] = Some(Best { rank, name, offset });
            }
        }
    }
    labels.sort_unstable_by_key(|(start, _)| *start);
    for (place, address) in sorted.iter().enumerate().filter(|(place, _)| best[*place].is_none()).collect::<Vec<_>>() {
        let next = labels.partition_point(|(start, _)| start <= address);
        let Some((start, name)) = labels[..next].last() else { continue };
        let offset = address - start;
        let rank = (false, u64::MAX - offset, false, std::cmp::Reverse(0));
        if offset < MOST_BEHIND_LABEL && in_code(file, *address, *start) {
            best[place] = Some(Best { rank, name, offset });
        }
    }
    best
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
    struct Bounded(Vec<u8>);
    impl Write for Bounded {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() + bytes.len() > MOST_DECOMPRESSED {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let file = object::File::parse(&**binary).ok()?;
    let compressed = file.section_by_name(".gnu_debugdata")?.data().ok()?;
    let mut bytes = Bounded(Vec::new());
    lzma_rs::xz_decompress(&mut BufReader::new(compressed), &mut bytes).ok()?;
    Some(Binary::Owned(bytes.0))
}
