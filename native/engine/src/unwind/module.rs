//! The unwind tables of one file.

use std::cell::{OnceCell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, EhFrame, EhFrameHdr, FrameDescriptionEntry, RegisterRule,
    UnwindContext, UnwindSection,
};
use object::{Object as _, ObjectSection as _, ObjectSegment as _};

use crate::binary::Binary;
use crate::metered::{Meter, Metered};
use crate::quick::QuickMap;
use crate::sections::{self, Unpacker};

/// Most rows that are remembered of a file.
const MOST_ROWS: usize = 1 << 16;
/// Most entries of a table without an index.
const MOST_ENTRIES: usize = 1 << 22;
/// Bytes and steps that finding one row, or applying it, may take.
const STEPS: u64 = 1 << 20;
/// The same for listing all entries of a section, per byte of it.
const STEPS_PER_BYTE: u64 = 16;

pub(super) type Slice<'a> = Metered<'a>;

/// Which section a row comes from: expressions lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    EhFrame,
    DebugFrame,
}

/// What a table says of one address.
#[derive(Debug)]
pub(super) struct Row {
    pub cfa: CfaRule<usize>,
    pub rules: Vec<(u16, RegisterRule<usize>)>,
    /// Number of the return address.
    pub return_address: u16,
    pub is_signal: bool,
    pub section: Section,
    pub encoding: gimli::Encoding,
}

/// Bytes of a section: a part of the file, or decompressed.
#[derive(Debug)]
enum Bytes {
    Part(Range<usize>),
    Own(Vec<u8>),
}

/// A place in the file and where it is loaded.
#[derive(Clone, Copy, Debug)]
struct Segment {
    offset: u64,
    length: u64,
    address: u64,
}

/// An entry of a table: the code that it speaks of, and where it stands.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u64,
    end: u64,
    offset: usize,
}

/// The unwind tables of one file, and what was read of them.
pub struct Module {
    binary: Arc<Binary>,
    meter: Meter,
    address_size: u8,
    /// Those with code: linkers put the end of another one into the same page of the file.
    segments: Vec<Segment>,
    bases: BaseAddresses,
    eh_frame: Option<Bytes>,
    eh_frame_header: Option<Bytes>,
    debug_frame: Option<Bytes>,
    /// Entries by address, of sections that have no index of their own.
    eh_entries: OnceCell<Vec<Entry>>,
    debug_entries: OnceCell<Vec<Entry>>,
    rows: RefCell<QuickMap<u64, Option<Rc<Row>>>>,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Module").field("segments", &self.segments).finish_non_exhaustive()
    }
}

impl Module {
    /// The tables of a file; `None` when it is none that can be unwound here.
    #[must_use]
    pub fn new(binary: Arc<Binary>) -> Option<Module> {
        let file = sections::open(&binary).filter(object::Object::is_little_endian)?;
        let unpacker = Unpacker::default();
        let segments = file.segments().filter(|segment| segment.permissions().executable()).map(|segment| {
            let (offset, length) = segment.file_range();
            Segment { offset, length, address: segment.address() }
        });
        let segments = segments.collect();
        let mut bases = BaseAddresses::default();
        let mut section = |name: &str| {
            let section = file.section_by_name(name)?;
            let address = section.address();
            bases = match name {
                ".eh_frame" => std::mem::take(&mut bases).set_eh_frame(address),
                ".eh_frame_hdr" => std::mem::take(&mut bases).set_eh_frame_hdr(address),
                ".text" => std::mem::take(&mut bases).set_text(address),
                ".got" => std::mem::take(&mut bases).set_got(address),
                _ => std::mem::take(&mut bases),
            };
            let range = section.compressed_file_range().ok()?;
            if range.format == object::CompressionFormat::None {
                let start = usize::try_from(range.offset).ok()?;
                let end = start.checked_add(usize::try_from(range.uncompressed_size).ok()?)?;
                return binary.get(start..end).map(|_| Bytes::Part(start..end));
            }
            unpacker.bytes(&section).map(|data| Bytes::Own(data.into_owned()))
        };
        let (eh_frame, eh_frame_header) = (section(".eh_frame"), section(".eh_frame_hdr"));
        let debug_frame = section(".debug_frame");
        section(".text");
        section(".got");
        let address_size = if file.is_64() { 8 } else { 4 };
        Some(Module {
            meter: Meter::default(),
            address_size,
            segments,
            bases,
            eh_frame,
            eh_frame_header,
            debug_frame,
            eh_entries: OnceCell::new(),
            debug_entries: OnceCell::new(),
            rows: RefCell::default(),
            binary,
        })
    }

    /// The address that the file has for code at an offset in it.
    #[must_use]
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            // Mappings are of whole pages, segments are not.
            let start = segment.offset & !0xfff;
            let inside = offset.checked_sub(start)?;
            (inside < segment.length.saturating_add(segment.offset - start))
                .then(|| (segment.address & !0xfff).wrapping_add(inside))
        })
    }

    /// Reads what the file has for an address; `false` when it has not all of it.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let found = self.segments.iter().find_map(|segment| {
            let inside = address.checked_sub(segment.address)?;
            let end = inside.checked_add(buffer.len() as u64).filter(|end| *end <= segment.length)?;
            let range = segment.offset.checked_add(inside)?..segment.offset.checked_add(end)?;
            self.binary.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
        });
        if let Some(bytes) = found {
            buffer.copy_from_slice(bytes);
        }
        found.is_some()
    }

    fn bytes<'a>(&'a self, section: &'a Bytes) -> &'a [u8] {
        match section {
            Bytes::Part(range) => self.binary.get(range.clone()).unwrap_or_default(),
            Bytes::Own(bytes) => bytes,
        }
    }

    fn slice<'a>(&'a self, section: Option<&'a Bytes>) -> Slice<'a> {
        Metered::new(section.map(|section| self.bytes(section)).unwrap_or_default(), &self.meter)
    }

    pub(super) fn eh_frame(&self) -> EhFrame<Slice<'_>> {
        let mut section = EhFrame::from(self.slice(self.eh_frame.as_ref()));
        section.set_address_size(self.address_size);
        section
    }

    pub(super) fn debug_frame(&self) -> DebugFrame<Slice<'_>> {
        let mut section = DebugFrame::from(self.slice(self.debug_frame.as_ref()));
        section.set_address_size(self.address_size);
        section
    }

    /// Whether the tables say of an address of the file that it is the code to which a signal's handler returns.
    #[must_use]
    pub fn is_signal_frame(&self, address: u64) -> bool {
        self.row(address, &mut UnwindContext::new()).is_some_and(|row| row.is_signal)
    }

    /// What the tables say of an address of the file.
    pub(super) fn row(&self, address: u64, context: &mut UnwindContext<usize>) -> Option<Rc<Row>> {
        if let Some(known) = self.rows.borrow().get(&address) {
            return known.clone();
        }
        self.allow_step();
        let row = self.find_row(address, context).map(Rc::new);
        let mut rows = self.rows.borrow_mut();
        if rows.len() >= MOST_ROWS {
            rows.clear();
        }
        rows.insert(address, row.clone());
        row
    }

    fn find_row(&self, address: u64, context: &mut UnwindContext<usize>) -> Option<Row> {
        if self.eh_frame.is_some() {
            let section = self.eh_frame();
            if let Some(row) = self
                .eh_frame_entry(&section, address)
                .and_then(|fde| row_of(&section, Section::EhFrame, &self.bases, &fde, address, context))
            {
                return Some(row);
            }
        }
        self.debug_frame.as_ref()?;
        let section = self.debug_frame();
        let entries = self.debug_entries.get_or_init(|| self.entries(&section, self.debug_frame.as_ref()));
        let fde = entry_at(&section, &self.bases, entries, address, gimli::DebugFrameOffset)?;
        row_of(&section, Section::DebugFrame, &self.bases, &fde, address, context)
    }

    fn eh_frame_entry<'a>(
        &'a self,
        section: &EhFrame<Slice<'a>>,
        address: u64,
    ) -> Option<FrameDescriptionEntry<Slice<'a>>> {
        if let Some(fde) = self.indexed_entry(section, address) {
            return Some(fde);
        }
        // The index is missing, or damaged, or does not have all.
        let entries = self.eh_entries.get_or_init(|| self.entries(section, self.eh_frame.as_ref()));
        entry_at(section, &self.bases, entries, address, gimli::EhFrameOffset)
    }

    /// Allows what looking up or applying one row takes.
    pub(super) fn allow_step(&self) {
        self.meter.restart(STEPS);
    }

    fn entries<'a, S: UnwindSection<Slice<'a>>>(&'a self, section: &S, bytes: Option<&'a Bytes>) -> Vec<Entry> {
        let length = bytes.map_or(0, |bytes| self.bytes(bytes).len());
        self.meter.restart(STEPS + STEPS_PER_BYTE * length as u64);
        let found = entries(section, &self.bases);
        self.allow_step();
        found
    }

    fn indexed_entry<'a>(
        &'a self,
        section: &EhFrame<Slice<'a>>,
        address: u64,
    ) -> Option<FrameDescriptionEntry<Slice<'a>>> {
        let header = EhFrameHdr::from(self.slice(Some(self.eh_frame_header.as_ref()?)))
            .parse(&self.bases, self.address_size)
            .ok()?;
        header.table()?.fde_for_address(section, &self.bases, address, EhFrame::cie_from_offset).ok()
    }
}

/// All entries of a section, by address.
fn entries<'a, S: UnwindSection<Slice<'a>>>(section: &S, bases: &BaseAddresses) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut all = section.entries(bases);
    while let Ok(Some(entry)) = all.next() {
        let CieOrFde::Fde(partial) = entry else { continue };
        // One that is damaged does not hide the others.
        let Ok(fde) = partial.parse(S::cie_from_offset) else { continue };
        found.push(Entry { start: fde.initial_address(), end: fde.end_address(), offset: fde.offset() });
        if found.len() >= MOST_ENTRIES {
            break;
        }
    }
    found.sort_unstable_by_key(|entry| entry.start);
    found
}

fn entry_at<'a, S: UnwindSection<Slice<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    entries: &[Entry],
    address: u64,
    place: impl FnOnce(usize) -> S::Offset,
) -> Option<FrameDescriptionEntry<Slice<'a>>> {
    let next = entries.partition_point(|entry| entry.start <= address);
    let entry = entries[..next].last().filter(|entry| address < entry.end)?;
    section.fde_from_offset(bases, place(entry.offset), S::cie_from_offset).ok()
}

fn row_of<'a, S: UnwindSection<Slice<'a>>>(
    section: &S,
    kind: Section,
    bases: &BaseAddresses,
    fde: &FrameDescriptionEntry<Slice<'a>>,
    address: u64,
    context: &mut UnwindContext<usize>,
) -> Option<Row> {
    let row = fde.unwind_info_for_address(section, bases, context, address).ok()?;
    Some(Row {
        cfa: row.cfa().clone(),
        rules: row.registers().map(|(register, rule)| (register.0, rule.clone())).collect(),
        return_address: fde.cie().return_address_register().0,
        is_signal: fde.is_signal_trampoline(),
        section: kind,
        encoding: fde.cie().encoding(),
    })
}
