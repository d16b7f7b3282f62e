//! What an ELF file says about itself: how it is loaded, what it needs, how it is hardened, which debug information it has.
//!
//! Parsed on demand from the content of a file, so that recording costs nothing. The file may be anything: what cannot be
//! read is left out. ELF: System V ABI (gabi), the GNU extensions: binutils' include/elf/common.h.

use object::elf::{
    DF_1_NOW, DF_1_PIE, DF_BIND_NOW, DT_BIND_NOW, DT_FLAGS, DT_FLAGS_1, DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME,
    DT_STRSZ, DT_STRTAB, DynamicTag, ELF_NOTE_GNU, ET_DYN, ET_EXEC, FileHeader32, FileHeader64,
    GNU_PROPERTY_X86_FEATURE_1_AND, GNU_PROPERTY_X86_FEATURE_1_IBT, GNU_PROPERTY_X86_FEATURE_1_SHSTK, NT_GNU_BUILD_ID,
    NT_GNU_PROPERTY_TYPE_0, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP,
    PT_LOAD, PT_NOTE, PT_PHDR, PT_TLS, ProgramType, SHT_NOTE,
};
use object::read::elf::{Dyn as _, FileHeader, Note, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, FileKind, Object as _, ObjectSection as _};

use crate::sections;

/// Most entries of each list, and longest text: far beyond what linkers write.
const MOST_ENTRIES: usize = 1 << 12;
const LONGEST_TEXT: usize = 4096;
/// Bytes of notes that are looked at, in all segments together: they may overlap.
const MOST_NOTES: u64 = 16 << 20;
/// Most symbols that are looked at by their names, and most bytes of these: they may overlap.
const MOST_SYMBOLS: usize = 1 << 20;
const MOST_NAME_BYTES: usize = 64 << 20;

/// What kind of file it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Runs at the addresses that it names.
    Executable,
    /// A program that runs anywhere (DF_1_PIE, or it names an interpreter).
    Pie,
    /// A library.
    Shared,
    /// An object file, a core file, or anything else.
    #[default]
    Other,
}

/// Which relocated data is read-only once the program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relro {
    #[default]
    None,
    /// All but the addresses of functions that are looked up when they are called.
    Partial,
    Full,
}

/// A program header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// `LOAD`, `GNU_RELRO`, ...; `0x...` of unknown ones.
    pub kind: String,
    pub address: u64,
    /// Bytes in memory.
    pub size: u64,
    /// Place and length in the file.
    pub offset: u64,
    pub file_size: u64,
    /// `PROT_*` bits.
    pub prot: u8,
}

/// Versions of symbols that are needed of a library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    pub file: String,
    pub versions: Vec<String>,
}

/// Which debug information there is, and where the rest of it is said to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each yes or no")]
pub struct Debug {
    /// .debug_info
    pub info: bool,
    /// .debug_line
    pub lines: bool,
    /// Parts of it are in .dwo files.
    pub split: bool,
    /// .symtab
    pub symbols: bool,
    /// .gnu_debugdata: names of functions, compressed.
    pub mini: bool,
    /// .gnu_debuglink: name of a file with the debug information.
    pub link: Option<String>,
    /// .gnu_debugaltlink or .debug_sup: name of a file that several share.
    pub supplement: Option<String>,
}

/// What makes it harder to misuse. Of a file without symbols the last two are not known, and false.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each yes or no")]
pub struct Hardening {
    pub relro: Relro,
    /// All functions are looked up before the program runs.
    pub bind_now: bool,
    /// The stack can be executed: PT_GNU_STACK says so, or is missing.
    pub executable_stack: bool,
    /// Indirect branch targets and shadow stack (Intel CET).
    pub ibt: bool,
    pub shadow_stack: bool,
    /// Functions check their return address (`-fstack-protector`).
    pub stack_protector: bool,
    /// Functions of libc check sizes (`_FORTIFY_SOURCE`).
    pub fortified: bool,
}

/// The facts of an ELF file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElfFile {
    /// 32 or 64.
    pub bits: u8,
    /// `EM_*`
    pub machine: u16,
    pub kind: Kind,
    pub entry: u64,
    pub interpreter: Option<String>,
    pub soname: Option<String>,
    pub needed: Vec<String>,
    pub rpath: Option<String>,
    pub runpath: Option<String>,
    pub build_id: Vec<u8>,
    pub segments: Vec<Segment>,
    pub versions: Vec<Versions>,
    pub hardening: Hardening,
    pub debug: Debug,
}

/// The facts of a file; `None` when it is no ELF file.
#[must_use]
pub fn parse(data: &[u8]) -> Option<ElfFile> {
    let mut facts = match FileKind::parse(data).ok()? {
        FileKind::Elf32 => of_headers::<FileHeader32<Endianness>>(data, 32)?,
        FileKind::Elf64 => of_headers::<FileHeader64<Endianness>>(data, 64)?,
        _ => return None,
    };
    // A file without sections loads as well.
    if let Some(file) = sections::open(data) {
        facts.debug = debug_of(&file);
        for (name, _) in named(file.dynamic_symbols().chain(file.symbols())) {
            facts.hardening.stack_protector |= name.starts_with(b"__stack_chk_");
            facts.hardening.fortified |= name.starts_with(b"__") && name.ends_with(b"_chk");
        }
    }
    Some(facts)
}

/// Symbols with their names, as many of a file as are looked at.
pub(crate) fn named<'d, S: object::ObjectSymbol<'d>>(
    symbols: impl Iterator<Item = S>,
) -> impl Iterator<Item = (&'d [u8], S)> {
    let mut left = MOST_NAME_BYTES;
    symbols.take(MOST_SYMBOLS).map_while(move |symbol| {
        let name = symbol.name_bytes().unwrap_or_default();
        left = left.checked_sub(name.len())?;
        Some((name, symbol))
    })
}

/// The build id of a file; nothing when it has none. Only headers and notes are looked at.
#[must_use]
pub fn build_id(data: &[u8]) -> Vec<u8> {
    match FileKind::parse(data) {
        Ok(FileKind::Elf32) => build_id_of::<FileHeader32<Endianness>>(data),
        Ok(FileKind::Elf64) => build_id_of::<FileHeader64<Endianness>>(data),
        _ => None,
    }
    .unwrap_or_default()
}

fn build_id_of<Elf: FileHeader<Endian = Endianness>>(data: &[u8]) -> Option<Vec<u8>> {
    let header = Elf::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).unwrap_or_default().iter().take(MOST_ENTRIES);
    let in_segments = segments
        .filter(|segment| segment.p_type(endian) == PT_NOTE)
        .map(|segment| (segment.p_filesz(endian).into(), segment.notes(endian, data)));
    // What dwz(1) makes for several files to share has no program headers.
    let sections = header.sections(endian, data).ok();
    let in_sections = sections.iter().flat_map(|sections| sections.iter().take(MOST_ENTRIES));
    let in_sections = in_sections
        .filter(|section| section.sh_type(endian) == SHT_NOTE)
        .map(|section| (section.sh_size(endian).into(), section.notes(endian, data)));
    let mut left: u64 = MOST_NOTES;
    for (size, notes) in in_segments.chain(in_sections) {
        left = left.checked_sub(size)?;
        let Ok(Some(mut notes)) = notes else { continue };
        let id = std::iter::from_fn(|| notes.next().ok().flatten()).find_map(|note| id_in(&note, endian));
        if id.is_some() {
            return id;
        }
    }
    None
}

fn id_in<Elf: FileHeader<Endian = Endianness>>(note: &Note<'_, Elf>, endian: Endianness) -> Option<Vec<u8>> {
    let is_id = note.name() == ELF_NOTE_GNU && note.n_type(endian) == NT_GNU_BUILD_ID;
    is_id.then(|| note.desc()[..note.desc().len().min(64)].to_vec())
}

fn of_headers<Elf: FileHeader<Endian = Endianness>>(data: &[u8], bits: u8) -> Option<ElfFile> {
    let header = Elf::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let mut facts = ElfFile {
        bits,
        machine: header.e_machine(endian).0,
        entry: header.e_entry(endian).into(),
        ..ElfFile::default()
    };
    let segments = header.program_headers(endian, data).unwrap_or_default();
    let mut has_stack = false;
    let mut has_relro = false;
    let mut has_interpreter = false;
    let mut notes_left = MOST_NOTES;
    for segment in segments.iter().take(MOST_ENTRIES) {
        let (kind, flags) = (segment.p_type(endian), segment.p_flags(endian));
        has_relro |= kind == PT_GNU_RELRO;
        if kind == PT_GNU_STACK {
            has_stack = true;
            facts.hardening.executable_stack = flags.0 & PF_X.0 != 0;
        }
        // The kernel takes the first one.
        if kind == PT_INTERP && !has_interpreter {
            has_interpreter = true;
            facts.interpreter = segment.interpreter(endian, data).ok().flatten().map(text);
        }
        if kind == PT_NOTE
            && let Some(left) = notes_left.checked_sub(segment.p_filesz(endian).into())
        {
            notes_left = left;
            note_facts::<Elf>(segment, endian, data, &mut facts);
        }
        let bit = |flag: u32, prot: u8| if flags.0 & flag != 0 { prot } else { 0 };
        facts.segments.push(Segment {
            kind: segment_name(kind),
            address: segment.p_vaddr(endian).into(),
            size: segment.p_memsz(endian).into(),
            offset: segment.p_offset(endian).into(),
            file_size: segment.p_filesz(endian).into(),
            prot: bit(PF_R.0, 1) | bit(PF_W.0, 2) | bit(PF_X.0, 4),
        });
    }
    facts.hardening.executable_stack |= !has_stack;
    let is_pie = dynamic_facts::<Elf>(segments, endian, data, &mut facts);
    facts.hardening.relro = match (has_relro, facts.hardening.bind_now) {
        (false, _) => Relro::None,
        (true, false) => Relro::Partial,
        (true, true) => Relro::Full,
    };
    facts.kind = match header.e_type(endian) {
        ET_EXEC => Kind::Executable,
        ET_DYN if is_pie || (facts.interpreter.is_some() && facts.soname.is_none()) => Kind::Pie,
        ET_DYN => Kind::Shared,
        _ => Kind::Other,
    };
    facts.versions = versions_of::<Elf>(header, endian, data);
    Some(facts)
}

/// Build id and what the processor is to check, of a segment of notes.
fn note_facts<Elf: FileHeader<Endian = Endianness>>(
    segment: &Elf::ProgramHeader,
    endian: Endianness,
    data: &[u8],
    facts: &mut ElfFile,
) {
    let Ok(Some(mut notes)) = segment.notes(endian, data) else { return };
    while let Ok(Some(note)) = notes.next() {
        if note.name() != ELF_NOTE_GNU {
            continue;
        }
        if facts.build_id.is_empty() {
            facts.build_id = id_in(&note, endian).unwrap_or_default();
        }
        if note.n_type(endian) != NT_GNU_PROPERTY_TYPE_0 {
            continue;
        }
        for property in note.gnu_properties(endian).into_iter().flatten().map_while(Result::ok) {
            if property.pr_type() == GNU_PROPERTY_X86_FEATURE_1_AND {
                let bits = property.data_u32(endian).unwrap_or(0);
                facts.hardening.ibt |= bits & GNU_PROPERTY_X86_FEATURE_1_IBT != 0;
                facts.hardening.shadow_stack |= bits & GNU_PROPERTY_X86_FEATURE_1_SHSTK != 0;
            }
        }
    }
}

/// What the dynamic section says; whether it says that the file is a program.
fn dynamic_facts<Elf: FileHeader<Endian = Endianness>>(
    segments: &[Elf::ProgramHeader],
    endian: Endianness,
    data: &[u8],
    facts: &mut ElfFile,
) -> bool {
    let Some(entries) = segments.iter().find_map(|segment| segment.dynamic(endian, data).ok().flatten()) else {
        return false;
    };
    let entries: Vec<(DynamicTag, u64)> = entries
        .iter()
        .take(MOST_ENTRIES)
        .map(|entry| (entry.d_tag(endian), entry.d_val(endian).into()))
        .take_while(|(tag, _)| tag.0 != 0)
        .collect();
    let value = |wanted: DynamicTag| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
    let strings = value(DT_STRTAB)
        .and_then(|address| file_range::<Elf>(segments, endian, data, address))
        .map(|bytes| &bytes[..bytes.len().min(value(DT_STRSZ).map_or(usize::MAX, |size| size as usize))])
        .unwrap_or_default();
    let string = |offset: u64| {
        let tail = strings.get(usize::try_from(offset).ok()?..)?;
        let end = tail.iter().position(|byte| *byte == 0)?;
        Some(text(&tail[..end]))
    };
    let mut is_pie = false;
    for &(tag, value) in &entries {
        match tag {
            DT_NEEDED => facts.needed.extend(string(value)),
            DT_SONAME => facts.soname = string(value),
            DT_RPATH => facts.rpath = string(value),
            DT_RUNPATH => facts.runpath = string(value),
            DT_BIND_NOW => facts.hardening.bind_now = true,
            DT_FLAGS => facts.hardening.bind_now |= value & DF_BIND_NOW.0 != 0,
            DT_FLAGS_1 => {
                facts.hardening.bind_now |= value & DF_1_NOW.0 != 0;
                is_pie |= value & DF_1_PIE.0 != 0;
            }
            _ => {}
        }
    }
    is_pie
}

/// The bytes of the file from an address on, to the end of its segment.
fn file_range<'data, Elf: FileHeader<Endian = Endianness>>(
    segments: &[Elf::ProgramHeader],
    endian: Endianness,
    data: &'data [u8],
    address: u64,
) -> Option<&'data [u8]> {
    segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).find_map(|segment| {
        let inside = address.checked_sub(segment.p_vaddr(endian).into())?;
        let length = segment.p_filesz(endian).into().checked_sub(inside)?;
        let start = segment.p_offset(endian).into().checked_add(inside)?;
        data.get(usize::try_from(start).ok()?..usize::try_from(start.checked_add(length)?).ok()?)
    })
}

fn versions_of<Elf: FileHeader<Endian = Endianness>>(header: &Elf, endian: Endianness, data: &[u8]) -> Vec<Versions> {
    let mut found = Vec::new();
    let Ok(sections) = header.sections(endian, data) else { return found };
    let Ok(Some((mut needs, strings))) = sections.gnu_verneed(endian, data) else { return found };
    let Ok(strings) = sections.strings(endian, data, strings) else { return found };
    // The lists of several may be the same one.
    let mut left = MOST_ENTRIES;
    while let Ok(Some((need, mut parts))) = needs.next() {
        if found.len() >= MOST_ENTRIES || left == 0 {
            break;
        }
        let file = need.file(endian, strings).map(text).unwrap_or_default();
        let mut versions = Vec::new();
        while left > 0
            && let Ok(Some(part)) = parts.next()
        {
            versions.extend(part.name(endian, strings).map(text));
            left -= 1;
        }
        found.push(Versions { file, versions });
    }
    found
}

fn debug_of(file: &object::File<'_>) -> Debug {
    let has = |name| sections::has(file, name);
    let name_of = |bytes: &[u8]| Some(text(bytes)).filter(|name| !name.is_empty());
    let link = file.gnu_debuglink().ok().flatten().and_then(|(name, _)| name_of(name));
    let supplement = file.gnu_debugaltlink().ok().flatten().and_then(|(name, _)| name_of(name));
    Debug {
        info: has(".debug_info"),
        lines: has(".debug_line"),
        split: is_split(file),
        symbols: has(".symtab"),
        mini: has(".gnu_debugdata"),
        link,
        supplement: supplement.or_else(|| has(".debug_sup").then(|| ".debug_sup".to_owned())),
    }
}

/// Whether one of the first units leaves its content to a .dwo file. Sections that are compressed are not looked into.
fn is_split(file: &object::File<'_>) -> bool {
    const UNITS: usize = 16;
    let endian = if file.is_little_endian() { gimli::RunTimeEndian::Little } else { gimli::RunTimeEndian::Big };
    let section = |id: gimli::SectionId| -> Result<_, gimli::Error> {
        let data = file.section_by_name(id.name()).and_then(|section| section.data().ok()).unwrap_or_default();
        Ok(gimli::EndianSlice::new(data, endian))
    };
    let is_compressed = |section: object::Section<'_, '_>| {
        section.compressed_file_range().map_or(true, |range| range.format != object::CompressionFormat::None)
    };
    if file.section_by_name(".debug_info").is_none_or(is_compressed) {
        return false;
    }
    let Ok(dwarf) = gimli::Dwarf::load(section) else { return false };
    let mut units = dwarf.units();
    for _ in 0..UNITS {
        let Ok(Some(header)) = units.next() else { break };
        if let Ok(unit) = dwarf.unit(header)
            && unit.dwo_name().is_ok_and(|name| name.is_some())
        {
            return true;
        }
    }
    false
}

fn segment_name(kind: ProgramType) -> String {
    match kind {
        PT_LOAD => "LOAD",
        PT_DYNAMIC => "DYNAMIC",
        PT_INTERP => "INTERP",
        PT_NOTE => "NOTE",
        PT_PHDR => "PHDR",
        PT_TLS => "TLS",
        PT_GNU_EH_FRAME => "GNU_EH_FRAME",
        PT_GNU_STACK => "GNU_STACK",
        PT_GNU_RELRO => "GNU_RELRO",
        object::elf::PT_GNU_PROPERTY => "GNU_PROPERTY",
        other => return format!("{:#x}", other.0),
    }
    .to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_TEXT)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read("/proc/self/exe").expect("this program")
    }

    #[test]
    fn this_program_is_a_pie_that_needs_libc() {
        let facts = parse(&own()).expect("an ELF file");
        assert_eq!((facts.bits, facts.kind), (64, Kind::Pie));
        assert!(facts.needed.iter().any(|name| name.starts_with("libc.so")), "{:?}", facts.needed);
        assert!(facts.interpreter.is_some_and(|path| path.starts_with("/lib")));
        let libc = facts.versions.iter().find(|need| need.file.starts_with("libc.so")).expect("versions of libc");
        assert!(libc.versions.iter().all(|version| version.starts_with("GLIBC_")), "{libc:?}");
        assert!(facts.segments.iter().any(|segment| segment.kind == "LOAD" && segment.prot == 5));
        assert!(!facts.hardening.executable_stack);
        assert_eq!(facts.hardening.relro, Relro::Full);
    }

    /// A file with nothing but a header; tables of `phnum` and `shnum` entries follow it.
    fn header(phnum: u16, shnum: u16) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for half in [3_u16, 62] {
            file.extend(half.to_le_bytes());
        }
        file.extend(1_u32.to_le_bytes());
        let sections = if shnum == 0 { 0 } else { 64 + u64::from(phnum) * 56 };
        for word in [0, if phnum == 0 { 0 } else { 64 }, sections] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0_u32.to_le_bytes());
        for half in [64, 56, phnum, 64, shnum, shnum.saturating_sub(1)] {
            file.extend(half.to_le_bytes());
        }
        file
    }

    #[test]
    fn notes_that_overlap_are_looked_at_up_to_a_limit() {
        let notes = |filler: u16| {
            let mut file = header(filler + 1, 0);
            let start = 64 + (u64::from(filler) + 1) * 56;
            let mut segment = |offset: u64, length: u64| {
                file.extend(4_u32.to_le_bytes());
                file.extend(4_u32.to_le_bytes());
                for word in [offset, 0, 0, length, length, 4] {
                    file.extend(word.to_le_bytes());
                }
            };
            (0..filler).for_each(|_| segment(start + 20, 4 << 20));
            segment(start, 20);
            for word in [4, 4, NT_GNU_BUILD_ID.0, u32::from_le_bytes(*b"GNU\0"), 7] {
                file.extend(word.to_le_bytes());
            }
            file.resize(file.len() + (4 << 20), 0);
            parse(&file).expect("an ELF file").build_id
        };
        assert_eq!(notes(3), [7, 0, 0, 0]);
        assert!(notes(4).is_empty());
    }

    #[test]
    fn lists_of_versions_that_are_one_list_are_read_up_to_a_limit() {
        const NEEDS: u32 = 100;
        const VERNEED: u32 = 0x6fff_fffe;
        let mut file = header(0, 3);
        let (table, strings) = (64 + 3 * 64_u64, 64 + 3 * 64 + 2 * 16 * u64::from(NEEDS));
        for (kind, offset, size, link, info) in
            [(0, 0, 0, 0, 0), (VERNEED, table, strings - table, 2_u32, NEEDS), (3, strings, 3, 0, 0)]
        {
            file.extend([0, kind].map(u32::to_le_bytes).concat());
            file.extend([0, 0, offset, size].map(u64::to_le_bytes).concat());
            file.extend([link, info].map(u32::to_le_bytes).concat());
            file.extend([1_u64, 0].map(u64::to_le_bytes).concat());
        }
        for need in 0..NEEDS {
            file.extend([1, NEEDS as u16].map(u16::to_le_bytes).concat());
            let next = if need + 1 == NEEDS { 0 } else { 16 };
            file.extend([1, 16 * (NEEDS - need), next].map(u32::to_le_bytes).concat());
        }
        for part in 0..NEEDS {
            let next = if part + 1 == NEEDS { 0 } else { 16 };
            file.extend([0, 0, 1, next].map(u32::to_le_bytes).concat());
        }
        file.extend(b"\0x\0");
        let versions = parse(&file).expect("an ELF file").versions;
        assert_eq!(versions[0], Versions { file: "x".into(), versions: vec!["x".into(); NEEDS as usize] });
        assert_eq!(versions.iter().map(|need| need.versions.len()).sum::<usize>(), MOST_ENTRIES);
    }

    #[test]
    fn files_that_are_damaged_or_no_programs_are_read_as_far_as_they_go() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"#!/bin/sh\n"), None);
        let own = own();
        for cut in [4, 16, 63, 64, 65, 200, 4096, own.len() / 2, own.len() - 1] {
            let _ = parse(&own[..cut]);
        }
        let mut random = 1_u32;
        let mut damaged = own;
        let tables = damaged.len() - 8192;
        for round in 0..400 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Headers at the front, sections at the end: that is where offsets and counts are.
            let start = if round % 2 == 0 { 0 } else { tables };
            damaged[start + random as usize % 4096] ^= (random >> 24) as u8;
            let _ = parse(&damaged);
        }
    }
}
