//! From places in files to functions, source files and lines, with the functions that were inlined there.
//!
//! Names come from DWARF (versions 2 to 5, split, compressed, shared between files) and from symbol tables (.symtab, .dynsym,
//! .gnu_debugdata), of the file itself and of a separate one with its debug information. Everything is looked at only as far as
//! some place asks for it. The files may be anything: what cannot be read has no names.

pub mod debug_files;
mod demangle;
mod names;
mod scopes;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr2line::{Context, LookupContinuation, LookupResult, SplitDwarfLoad};
use gimli::{AbbreviationsCacheStrategy, Dwarf, DwarfPackage, DwarfPackageSections, DwarfSections};
use object::{Object as _, ObjectSegment as _};
use typed_arena::Arena;

use crate::binary::Binary;
use crate::metered::{Meter, Metered};
use crate::sections::{self, Unpacker};
use debug_files::DebugFile;
use scopes::Scopes;

/// Bytes and steps that reading debug information may take: so many, and so many for each byte that there is of it.
const FEWEST_STEPS: u64 = 64 << 20;
const STEPS_PER_BYTE: u64 = 16;
/// Most functions that are inlined at one place.
const MOST_INLINED: usize = 64;
/// Longest name; C++ has names of thousands of letters.
pub(crate) const LONGEST_NAME: usize = 4096;
/// Most .dwo files that are opened for one file.
const MOST_SPLIT: usize = 1 << 12;

type Slice<'a> = Metered<'a>;

/// Why less is known of a place than its file has to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lack {
    /// All that the file says is known.
    #[default]
    Nothing,
    /// The file is not at hand.
    File,
    /// The file is no ELF file that can be read.
    Unreadable,
    /// Its debug information is damaged.
    Damaged,
    /// Its debug information, or what it refers to, is more than is read.
    TooMuch,
}

impl Lack {
    /// Its number in files.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Lack::Nothing => 0,
            Lack::File => 1,
            Lack::Unreadable => 2,
            Lack::Damaged => 3,
            Lack::TooMuch => 4,
        }
    }
}

/// A function at a place, and the line there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// Demangled.
    pub function: Option<String>,
    pub file: Option<String>,
    /// From 1; 0 when it is not known.
    pub line: u32,
    /// From 1; 0 when it is not known.
    pub column: u32,
}

impl Source {
    /// Bytes of its texts.
    pub(crate) fn bytes(&self) -> usize {
        [&self.function, &self.file].map(|text| text.as_ref().map_or(0, String::len)).iter().sum()
    }
}

/// What is known of a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Innermost first: all but the last one are inlined into the one that follows.
    pub frames: Vec<Source>,
    /// Bytes behind the start of the function, when a symbol table has it.
    pub offset: Option<u64>,
    pub lack: Lack,
}

/// What stands at addresses of a file (as the file itself counts them). `path` is where the file was: a hint for where its debug
/// information is.
#[must_use]
pub fn of_file(binary: &Binary, path: &[u8], addresses: &[u64]) -> Vec<Sources> {
    let mut found = vec![Sources::default(); addresses.len()];
    let Some(file) = sections::open(binary) else {
        found.fill(Sources { lack: Lack::Unreadable, ..Sources::default() });
        return found;
    };
    let has_own = sections::has(&file, ".debug_info");
    let separate = if has_own { None } else { debug_files::find(binary, path) };
    let own_path = PathBuf::from(String::from_utf8_lossy(path).into_owned());
    match &separate {
        Some(DebugFile { path, binary: debug }) => by_dwarf(debug, path, addresses, &mut found),
        None if has_own => by_dwarf(binary, &own_path, addresses, &mut found),
        None => {}
    }
    let files = [Some(binary), separate.as_ref().map(|debug| &debug.binary)];
    let names = names::find(files.into_iter().flatten(), addresses);
    for (sources, name) in found.iter_mut().zip(names) {
        let Some(name) = name else { continue };
        sources.offset = Some(name.offset);
        match sources.frames.last_mut() {
            Some(outermost) if outermost.function.is_none() => outermost.function = Some(name.name),
            Some(_) => {}
            None => sources.frames.push(Source { function: Some(name.name), ..Source::default() }),
        }
    }
    found
}

/// What stands at an offset of a file.
#[must_use]
pub fn at_offset(binary: &Binary, path: &[u8], offset: u64) -> Sources {
    let address = sections::open(binary).and_then(|file| {
        file.segments().find_map(|segment| {
            let (start, length) = segment.file_range();
            let inside = offset.checked_sub(start).filter(|inside| *inside < length)?;
            segment.address().checked_add(inside)
        })
    });
    address.and_then(|address| of_file(binary, path, &[address]).pop()).unwrap_or_default()
}

/// Sections that no lookup of a place reads: they are not decompressed.
const UNREAD: [gimli::SectionId; 6] = [
    gimli::SectionId::DebugLoc,
    gimli::SectionId::DebugLocLists,
    gimli::SectionId::DebugMacinfo,
    gimli::SectionId::DebugMacro,
    gimli::SectionId::DebugNames,
    gimli::SectionId::DebugTypes,
];

type Sections<'a> = DwarfSections<Cow<'a, [u8]>>;

fn load<'a>(file: &object::File<'a>, unpacker: &Unpacker, split: bool) -> Sections<'a> {
    let load = |id: gimli::SectionId| -> Result<_, std::convert::Infallible> {
        let name = if split { id.dwo_name() } else { Some(id.name()) };
        let name = name.filter(|_| !UNREAD.contains(&id));
        Ok(name.map(|name| unpacker.named(file, name)).unwrap_or_default())
    };
    DwarfSections::load(load).unwrap_or_else(|never| match never {})
}

/// What reading the debug information of a file may take, and whether that was enough.
#[derive(Default)]
struct Limits {
    meter: Meter,
    unpacker: Unpacker,
}

impl Limits {
    /// Why less is known than there is, where reading went wrong in itself for the reason `own`, or did not.
    fn lack(&self, own: Lack) -> Lack {
        if self.meter.is_spent() || self.unpacker.has_refused() {
            Lack::TooMuch
        } else if own == Lack::Nothing && self.unpacker.has_damaged() {
            Lack::Damaged
        } else {
            own
        }
    }
}

/// Puts functions and lines of the addresses into `found`.
fn by_dwarf(debug: &Binary, path: &Path, addresses: &[u64], found: &mut [Sources]) {
    let limits = Limits::default();
    let Limits { meter, unpacker } = &limits;
    let Some(file) = sections::open(debug).filter(object::Object::is_little_endian) else {
        for sources in found {
            sources.lack = limits.lack(Lack::Unreadable);
        }
        return;
    };
    let sections = load(&file, unpacker, false);
    let shared = debug_files::find_shared(debug, path);
    let shared_file = shared.as_ref().and_then(|binary| sections::open(binary));
    let shared_sections = shared_file.as_ref().map(|file| load(file, unpacker, false));
    let bytes = debug.len() + shared.as_ref().map_or(0, |shared| shared.len());
    meter.restart(FEWEST_STEPS + STEPS_PER_BYTE * (bytes as u64 + unpacker.unpacked()));
    let mut dwarf = sections.borrow_with_sup(shared_sections.as_ref(), |bytes| Metered::new(bytes, meter));
    // Units without number may share one table.
    dwarf.populate_abbreviations_cache(AbbreviationsCacheStrategy::Duplicates);
    let Ok(context) = Context::from_dwarf(dwarf) else {
        for sources in found {
            sources.lack = limits.lack(Lack::Damaged);
        }
        return;
    };
    let split = Split::new(path, meter, unpacker);
    let mut scopes = Scopes::default();
    for (&address, sources) in addresses.iter().zip(found) {
        let read = frames_at(&context, &split, &mut scopes, address, &mut sources.frames);
        let own = if read.is_err() { Lack::Damaged } else { Lack::Nothing };
        sources.lack = if scopes.is_spent() { Lack::TooMuch } else { limits.lack(own) };
    }
}

/// Adds the functions at an address, innermost first, as far as they can be read.
fn frames_at<'a>(
    context: &Context<Slice<'a>>,
    split: &'a Split<'a>,
    scopes: &mut Scopes,
    address: u64,
    found: &mut Vec<Source>,
) -> gimli::Result<()> {
    let mut frames = split.answer(context.find_frames(address))?;
    while found.len() < MOST_INLINED {
        let Some(frame) = frames.next()? else { break };
        let name = frame.function.as_ref().and_then(|name| name.raw_name().ok());
        let scope = name.as_ref().filter(|name| !is_mangled(name)).and_then(|_| {
            let unit = split.answer(context.find_dwarf_and_unit(address))?;
            scopes.of(unit, frame.dw_die_offset?)
        });
        let location = frame.location.as_ref();
        found.push(Source {
            function: name.map(|name| match scope {
                Some(scope) => cut(&format!("{scope}{name}")),
                None => demangle::demangled(&name),
            }),
            file: location.and_then(|location| location.file).map(cut),
            line: location.and_then(|location| location.line).unwrap_or(0),
            column: location.and_then(|location| location.column).unwrap_or(0),
        });
    }
    Ok(())
}

/// Whether a name says where its function is: names of C++ and Rust by which functions are linked begin so.
fn is_mangled(name: &str) -> bool {
    name.starts_with("_Z") || name.starts_with("_R")
}

/// As many letters of a text as have room in so many bytes.
fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A name of bounded length.
pub(crate) fn cut(name: &str) -> String {
    beginning(name, LONGEST_NAME).to_owned()
}

/// The .dwo files, or the .dwp file, with the rest of a file's debug information.
struct Split<'a> {
    path: &'a Path,
    meter: &'a Meter,
    unpacker: &'a Unpacker,
    binaries: Arena<Binary>,
    sections: Arena<Sections<'a>>,
    package_sections: Arena<DwarfPackageSections<Cow<'a, [u8]>>>,
    package: OnceCell<Option<DwarfPackage<Slice<'a>>>>,
}

impl<'a> Split<'a> {
    fn new(path: &'a Path, meter: &'a Meter, unpacker: &'a Unpacker) -> Split<'a> {
        Split {
            path,
            meter,
            unpacker,
            binaries: Arena::new(),
            sections: Arena::new(),
            package_sections: Arena::new(),
            package: OnceCell::new(),
        }
    }

    /// What a lookup has found, once all is there that it asks for.
    fn answer<L: LookupContinuation<Buf = Slice<'a>>>(&'a self, mut result: LookupResult<L>) -> L::Output {
        loop {
            match result {
                LookupResult::Output(output) => return output,
                LookupResult::Load { load, continuation } => result = continuation.resume(self.load(&load)),
            }
        }
    }

    fn load(&'a self, load: &SplitDwarfLoad<Slice<'a>>) -> Option<Arc<Dwarf<Slice<'a>>>> {
        let package = self.package.get_or_init(|| self.open_package());
        let packed = package.as_ref().and_then(|package| package.find_cu(load.dwo_id, &load.parent).ok().flatten());
        packed.map(Arc::new).or_else(|| self.in_file(load))
    }

    fn file(&'a self, path: &Path) -> Option<object::File<'a>> {
        if self.binaries.len() >= MOST_SPLIT {
            return None;
        }
        let binary: &'a Binary = self.binaries.alloc(Binary::map(path)?);
        sections::open(binary)
    }

    fn slice(&self, bytes: &'a [u8]) -> Slice<'a> {
        Metered::new(bytes, self.meter)
    }

    /// `PROGRAM.dwp`, which has all of them.
    fn open_package(&'a self) -> Option<DwarfPackage<Slice<'a>>> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".dwp");
        let file = self.file(Path::new(&name))?;
        let get = |id: gimli::SectionId| -> Result<_, gimli::Error> {
            let name = id.dwo_name().filter(|_| !UNREAD.contains(&id));
            Ok(name.map(|name| self.unpacker.named(&file, name)).unwrap_or_default())
        };
        let sections = &*self.package_sections.alloc(DwarfPackageSections::load(get).ok()?);
        sections.borrow(|bytes| self.slice(bytes), self.slice(&[])).ok()
    }

    #[expect(clippy::arc_with_non_send_sync, reason = "what addr2line takes; it stays on this thread")]
    fn in_file(&'a self, load: &SplitDwarfLoad<Slice<'a>>) -> Option<Arc<Dwarf<Slice<'a>>>> {
        let text = |slice: &Slice<'a>| std::str::from_utf8(slice.bytes()).ok().map(PathBuf::from);
        let name = load.path.as_ref().and_then(text)?;
        if name.extension().is_none_or(|extension| extension != "dwo") {
            return None;
        }
        let folder = load.comp_dir.as_ref().and_then(text).unwrap_or_default();
        let beside = self.path.parent().zip(name.file_name()).map(|(folder, name)| folder.join(name));
        let file = [Some(folder.join(&name)), beside].into_iter().flatten().find_map(|path| self.file(&path))?;
        let sections: &'a Sections<'a> = self.sections.alloc(self::load(&file, self.unpacker, true));
        let mut dwarf = sections.borrow(|bytes| self.slice(bytes));
        dwarf.make_dwo(&load.parent);
        let header = dwarf.units().next().ok()??;
        let id = dwarf.unit(header).ok()?.dwo_id;
        (id == Some(load.dwo_id)).then(|| Arc::new(dwarf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A library of this process, and the address that it has for one of its functions. This program itself may be stripped.
    fn libc_place() -> (Binary, u64) {
        let address = libc::getpid as *const () as u64;
        let own = crate::image::mappings(std::process::id().cast_signed());
        let inside = |mapping: &&crate::image::Mapping| address.wrapping_sub(mapping.start) < mapping.length;
        let mapping = own.iter().find(inside).expect("code is mapped");
        let path = String::from_utf8(mapping.path.clone()).expect("a path");
        let binary = Binary::map(Path::new(&path)).expect("a file");
        let offset = address - mapping.start + mapping.offset;
        let file = object::File::parse(&*binary).expect("an ELF file");
        let place = file.segments().find_map(|segment| {
            let inside =
                offset.checked_sub(segment.file_range().0).filter(|inside| *inside < segment.file_range().1)?;
            Some(segment.address() + inside)
        });
        let place = place.expect("in a segment");
        (binary, place)
    }

    #[test]
    fn a_function_of_libc_has_its_name_at_its_start_and_inside() {
        let (binary, place) = libc_place();
        let found = of_file(&binary, b"", &[place, place + 1, u64::MAX]);
        for (sources, offset) in found.iter().zip([0, 1]) {
            let outermost = sources.frames.last().expect("a name");
            assert!(outermost.function.as_deref().is_some_and(|name| name.contains("getpid")), "{outermost:?}");
            assert_eq!(sources.offset, Some(offset));
        }
        assert_eq!(found[2], Sources::default());
    }

    #[test]
    fn damaged_files_have_no_names_and_do_no_harm() {
        let (own, place) = libc_place();
        let mut random = 1_u32;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) as usize
        };
        for round in 0..40 {
            let mut damaged = own.to_vec();
            if round % 4 == 0 {
                damaged.truncate(next() % own.len());
            }
            let length = damaged.len().max(1);
            for _ in 0..64 {
                if let Some(byte) = damaged.get_mut(next() % length) {
                    *byte ^= next() as u8;
                }
            }
            let _ = of_file(&Binary::Owned(damaged), b"/tmp/x", &[place, 0, 1 << 40]);
        }
    }
}
