//! Damaged and malicious program files: what they say about themselves, their unwind tables and their debug information is read
//! as far as it goes, within stated bounds of memory and time, and a place of which less is known says why.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Folder, Random};
use crate::counting::Bounds;
use object::{Object as _, ObjectSection as _};
use trace_engine::binary::Binary;
use trace_engine::elf;
use trace_engine::interpreters::python::Runtime;
use trace_engine::symbolize::{self, Lack, Sources};
use trace_engine::unwind::module::Module;
use trace_engine::unwind::{Code, Process, Registers, Unwinder};

const INPUTS: u64 = 5000;
const SEED: u64 = 8;
/// Places of a file that are looked at.
const PLACES: u64 = 12;
/// Of files with a few hundred kilobytes, of which a section may claim to unpack to a gigabyte.
const DAMAGED: Bounds = Bounds { largest: 1 << 30, peak: 1200 << 20, time: Duration::from_secs(10) };
/// Of files that are made to take long: with what the steps allow, and a machine that does other things meanwhile.
const MALICIOUS: Bounds = Bounds { largest: 1 << 30, peak: 1200 << 20, time: Duration::from_secs(20) };

/// A file as a compiler made it, and addresses in its code.
struct Original {
    name: String,
    bytes: Vec<u8>,
    places: Vec<u64>,
    /// Where sections are that matter here: offset and length.
    sections: Vec<(usize, usize)>,
}

impl Original {
    fn read(path: &Path) -> Original {
        let bytes = std::fs::read(path).expect("a file");
        let file = object::File::parse(bytes.as_slice()).expect("an ELF file");
        let text = file.section_by_name(".text").expect("code");
        let places = (0..PLACES).map(|k| text.address() + text.size() * k / PLACES).collect();
        let matters = |name: &str| name.starts_with(".debug_") || name.starts_with(".eh_frame") || name.contains("sym");
        let range =
            |section: object::Section<'_, '_>| section.file_range().map(|(at, size)| (at as usize, size as usize));
        let sections = file
            .sections()
            .filter(|section| section.name().is_ok_and(matters))
            .filter_map(range)
            .filter(|(_, size)| *size > 0)
            .collect();
        Original { name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes, places, sections }
    }

    /// Bytes at which damage is likely to matter: the header, tables of headers, sections that are read.
    fn place(&self, random: &mut Random) -> usize {
        let length = self.bytes.len();
        match random.below(8) {
            0 => random.below(64.min(length as u64)) as usize,
            1 => random.below(1024.min(length as u64)) as usize,
            2 => length - 1 - random.below(4096.min(length as u64)) as usize,
            _ => {
                let (start, size) = self.sections[random.below(self.sections.len() as u64) as usize];
                // Headers of units and tables stand in front.
                let most = if random.one_in(2) { size.min(64) } else { size };
                start + random.below(most as u64) as usize
            }
        }
    }

    fn damaged(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for _ in 0..=random.below(12) {
            let at = self.place(random).min(bytes.len().saturating_sub(9));
            match random.below(8) {
                0 | 1 => bytes[at] ^= 1 << random.below(8),
                2 => bytes[at] = random.word() as u8,
                3 => bytes[at..at + 4].copy_from_slice(&(random.wild() as u32).to_le_bytes()),
                4 => bytes[at..at + 8].copy_from_slice(&random.wild().to_le_bytes()),
                5 => bytes[at..at + 4].fill([0, 0xff, 0x7f, 0x80][random.below(4) as usize]),
                6 => {
                    let from = self.place(random).min(bytes.len() - 9);
                    let length = (1 + random.below(256) as usize).min(bytes.len() - at.max(from));
                    bytes.copy_within(from..from + length, at);
                }
                _ if random.one_in(16) => bytes.truncate(random.below(bytes.len() as u64) as usize + 9),
                _ => {}
            }
        }
        bytes
    }
}

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test/stacks/programs");

fn compiled(folder: &Folder, name: &str, compiler: &str, source: &str, flags: &str) -> PathBuf {
    let program = folder.file(name);
    let mut command = Command::new(compiler);
    command.arg("-w").arg("-o").arg(&program).arg(format!("{SOURCES}/{source}")).args(flags.split(' '));
    assert!(command.status().is_ok_and(|status| status.success()), "{command:?}");
    program
}

fn originals(folder: &Folder) -> Vec<Original> {
    let ways = [
        ("plain", "gcc", "calls.c", "-O2 -g"),
        ("dwarf4", "gcc", "calls.c", "-O2 -gdwarf-4 -fno-asynchronous-unwind-tables"),
        ("dwarf2", "gcc", "calls.c", "-O1 -gdwarf-2 -gstrict-dwarf"),
        ("compressed", "gcc", "calls.c", "-O2 -g -gz"),
        ("split", "gcc", "calls.c", "-O2 -g -gsplit-dwarf"),
        ("static-cpp", "g++", "exceptions.cpp", "-O1 -g"),
        ("i386", "gcc", "calls.c", "-m32 -O2 -g"),
    ];
    ways.iter()
        .map(|(name, compiler, source, flags)| Original::read(&compiled(folder, name, compiler, source, flags)))
        .collect()
}

/// A process with one file at its own addresses, and a stack of pointers into itself and into the code.
struct Thread {
    module: Option<Rc<Module>>,
    text: u64,
}

const STACK: u64 = 0x7000_0000;

impl Process for Thread {
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> bool {
        let is_stack = (STACK..STACK + (1 << 20)).contains(&addr);
        for (k, byte) in buffer.iter_mut().enumerate() {
            let at = addr.wrapping_add(k as u64);
            let word = if (at / 8).is_multiple_of(2) {
                STACK + at % (1 << 20) / 8 * 8 + 64
            } else {
                self.text + at / 8 % 4096
            };
            *byte = (word >> (8 * (at % 8))) as u8;
        }
        is_stack
    }

    fn code_at(&mut self, addr: u64) -> Option<Code> {
        (addr < STACK).then(|| Code { module: self.module.clone(), to_file: 0 })
    }
}

fn unwound(bytes: Vec<u8>, places: &[u64]) -> usize {
    let module = Module::new(Arc::new(Binary::Owned(bytes))).map(Rc::new);
    let mut thread = Thread { module, text: places.first().copied().unwrap_or(0) };
    let mut frames = Vec::new();
    for (place, cs) in places.iter().flat_map(|place| [(*place, 0x33), (*place, 0x23)]) {
        // SAFETY: the registers are plain numbers, for which zeros are values.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        (registers.rip, registers.rsp, registers.rbp, registers.cs) = (place, STACK + 256, STACK + 512, cs);
        Unwinder::default().unwind(Registers::of(&registers), &mut thread, &mut frames);
    }
    frames.len()
}

/// Lines that were known.
fn lines(found: &[Sources]) -> usize {
    found.iter().filter(|sources| sources.frames.iter().any(|frame| frame.line > 0)).count()
}

fn all_of(bytes: Vec<u8>, path: &Path, places: &[u64]) -> Vec<Sources> {
    let _ = elf::parse(&bytes);
    let _ = elf::build_id(&bytes);
    let found = symbolize::of_file(&Binary::Owned(bytes.clone()), path.as_os_str().as_encoded_bytes(), places);
    let _ = unwound(bytes, places);
    found
}

#[test]
fn damaged_files_are_read_as_far_as_they_go() {
    let folder = Folder::new("hostile-elf");
    let originals = originals(&folder);
    let whole: Vec<usize> = originals
        .iter()
        .map(|original| {
            let found = all_of(original.bytes.clone(), &folder.file(&original.name), &original.places);
            assert!(found.iter().all(|sources| sources.lack == Lack::Nothing), "{}: {found:?}", original.name);
            lines(&found)
        })
        .collect();
    assert!(whole.iter().all(|lines| *lines > 0), "{whole:?}");
    let (mut lost, mut told) = (0, 0);
    for input in 0..INPUTS {
        let mut random = Random(SEED + input);
        let original = &originals[(input % originals.len() as u64) as usize];
        let bytes = original.damaged(&mut random);
        let path = folder.file(&original.name);
        let what = format!("{} input {input}", original.name);
        let found = DAMAGED.hold(&what, || all_of(bytes, &path, &original.places));
        if lines(&found) < whole[(input % originals.len() as u64) as usize] {
            lost += 1;
            told += u64::from(found.iter().any(|sources| sources.lack != Lack::Nothing));
        }
    }
    println!("{INPUTS} damaged files: {lost} with fewer lines, of which {told} say why");
    // The others are whole files, as far as their tables tell: of other places, or without debug information.
    assert!(lost > INPUTS / 20, "{lost} inputs were damaged where it matters");
    assert!(told * 10 >= lost * 4, "{told} of {lost}");
}

/// An ELF file of x86-64 with these sections.
fn made(sections: &[(&str, u32, Vec<u8>)]) -> Vec<u8> {
    let mut names = vec![0];
    let mut starts = Vec::new();
    for (name, ..) in sections.iter().chain([&(".shstrtab", 3, Vec::new())]) {
        starts.push(names.len() as u32);
        names.extend(name.bytes());
        names.push(0);
    }
    let count = sections.len() as u16 + 2;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([3_u16, 62].map(u16::to_le_bytes).concat());
    file.extend(1_u32.to_le_bytes());
    file.extend([0, 0, 64_u64].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    file.extend([64, 56, 0, 64, count, count - 1].map(u16::to_le_bytes).concat());
    file.extend([0; 64]);
    let mut at = 64 + u64::from(count) * 64;
    let lengths = sections.iter().map(|(_, kind, bytes)| (*kind, bytes.len())).chain([(3, names.len())]);
    for (index, (kind, length)) in lengths.enumerate() {
        // Symbols have their names in the section behind them, and are global.
        let (link, size) = if kind == 2 { (index as u32 + 2, 24) } else { (0, 0) };
        file.extend([starts[index], kind].map(u32::to_le_bytes).concat());
        file.extend([0, 0, at, length as u64].map(u64::to_le_bytes).concat());
        file.extend([link, u32::from(kind == 2)].map(u32::to_le_bytes).concat());
        file.extend([1_u64, size].map(u64::to_le_bytes).concat());
        at += length as u64;
    }
    for (.., bytes) in sections {
        file.extend(bytes);
    }
    file.extend(names);
    file
}

/// A unit of DWARF 4 with addresses of 8 bytes.
fn unit(entries: &[u8]) -> Vec<u8> {
    let mut unit = (entries.len() as u32 + 7).to_le_bytes().to_vec();
    unit.extend([4, 0, 0, 0, 0, 0, 8]);
    unit.extend(entries);
    unit
}

const CODE: u64 = 0x1000;

/// Addresses that an entry has: DW_AT_low_pc, and DW_AT_high_pc as a length.
fn range() -> Vec<u8> {
    [CODE.to_le_bytes(), 0x1000_u64.to_le_bytes()].concat()
}

/// Abbreviations: 1 a unit, 2 a function, 3 something inlined; the last two with these attributes.
fn abbreviations(function: &[u8], inlined: &[u8]) -> Vec<u8> {
    let range = [0x11, 0x01, 0x12, 0x07];
    [&[1, 0x11, 1], &range[..], &[0, 0, 2, 0x2e, 1], function, &[0, 0, 3, 0x1d, 1], inlined, &[0, 0, 0]].concat()
}

fn looked_up(what: &str, sections: &[(&str, u32, Vec<u8>)]) -> Sources {
    let file = made(sections);
    let places = [CODE + 8];
    // In a thread of its own, with as little stack as any of this program has.
    std::thread::scope(|scope| {
        let work = || MALICIOUS.hold(what, || all_of(file, Path::new("/nowhere/x"), &places).remove(0));
        std::thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

const RANGE: [u8; 4] = [0x11, 0x01, 0x12, 0x07];

#[test]
fn functions_inlined_without_end_do_not_use_up_the_stack() {
    let mut entries = [vec![1], range(), vec![2], range()].concat();
    entries.extend(vec![3; 4 << 20]);
    let sections = [(".debug_abbrev", 1, abbreviations(&RANGE, &[])), (".debug_info", 1, unit(&entries))];
    assert_eq!(looked_up("deep", &sections).lack, Lack::TooMuch);
}

#[test]
fn units_that_share_a_table_read_it_once() {
    let mut table = abbreviations(&RANGE, &[]);
    table.pop();
    for code in 4..100_000_u32 {
        table.extend([code as u8 | 0x80, (code >> 7) as u8 | 0x80, (code >> 14) as u8, 0x2e, 0, 0, 0]);
    }
    table.push(0);
    let one = unit(&[vec![1], range()].concat());
    let sections = [(".debug_abbrev", 1, table), (".debug_info", 1, one.repeat(50_000))];
    assert_eq!(looked_up("shared table", &sections).lack, Lack::Nothing);
}

#[test]
fn functions_that_share_a_list_of_ranges_are_read_up_to_a_limit() {
    // DW_AT_ranges, DW_FORM_sec_offset
    let mut entries = [vec![1], range()].concat();
    for _ in 0..50_000 {
        entries.extend([2, 0, 0, 0, 0, 0]);
    }
    let list: Vec<u8> = (0..50_000_u64).flat_map(|k| [CODE + k, CODE + k + 1].map(u64::to_le_bytes).concat()).collect();
    let sections = [
        (".debug_abbrev", 1, abbreviations(&[0x55, 0x17], &[])),
        (".debug_info", 1, unit(&entries)),
        (".debug_ranges", 1, list),
    ];
    assert_eq!(looked_up("shared ranges", &sections).lack, Lack::TooMuch);
}

#[test]
fn names_of_functions_that_are_one_long_name_are_read_up_to_a_limit() {
    // DW_AT_name, DW_FORM_strp
    let mut entries = [vec![1], range(), vec![2], range(), vec![0; 4]].concat();
    for _ in 0..200_000 {
        entries.extend([3, 0, 0, 0, 0, 0]);
    }
    let function = [&RANGE[..], &[0x03, 0x0e]].concat();
    let mut text = vec![b'x'; 8 << 20];
    text.push(0);
    let sections = [
        (".debug_abbrev", 1, abbreviations(&function, &[0x03, 0x0e])),
        (".debug_info", 1, unit(&entries)),
        (".debug_str", 1, text),
    ];
    assert_eq!(looked_up("one name", &sections).lack, Lack::TooMuch);
}

#[test]
fn names_of_namespaces_inside_a_long_one_are_kept_up_to_a_limit() {
    // DW_AT_language, DW_FORM_data1; namespaces (4) have a DW_AT_name, DW_FORM_string, functions in them (5) nothing.
    let range = RANGE;
    let table = [
        &[1, 0x11, 1, 0x13, 0x0b][..],
        &range,
        &[0, 0, 2, 0x2e, 0, 0x03, 0x08],
        &range,
        &[0, 0, 4, 0x39, 1, 0x03, 0x08, 0, 0, 5, 0x2e, 0, 0, 0, 0],
    ];
    let mut entries = [vec![1, 4], self::range(), b"\x02f\0".to_vec(), self::range(), vec![4]].concat();
    entries.extend([b'x'; 4000]);
    entries.push(0);
    for _ in 0..500_000 {
        entries.extend(b"\x04y\0\x05\0");
    }
    entries.extend([0, 0]);
    let sections = [(".debug_abbrev", 1, table.concat()), (".debug_info", 1, unit(&entries))];
    let found = looked_up("one long namespace", &sections);
    assert_eq!(found.frames[0].function.as_deref(), Some("f"));
    assert_eq!(found.lack, Lack::TooMuch);
}

#[test]
fn sections_that_cannot_be_unpacked_are_no_empty_ones() {
    let entries = unit(&[vec![1], range(), vec![2], range(), vec![0, 0]].concat());
    let with = |packed: Vec<u8>| {
        let table = abbreviations(&RANGE, &[]);
        let sections = [(".debug_abbrev", 1, table), (".debug_info", 1, entries.clone()), (".zdebug_line", 1, packed)];
        looked_up("packed", &sections).lack
    };
    let packed = |size: u64, length: usize| [&b"ZLIB"[..], &size.to_be_bytes(), &vec![0; length]].concat();
    assert_eq!(with(packed(100, 100)), Lack::Damaged);
    assert_eq!(with(packed(1 << 40, 100)), Lack::Damaged);
    assert_eq!(with(packed((1 << 30) + 1, 2 << 20)), Lack::TooMuch);
    let empty = [&b"ZLIB"[..], &[0; 8], &[0x78, 0x9c, 3, 0, 0, 0, 0, 1]].concat();
    assert_eq!(with(empty), Lack::Nothing);
}

/// Many symbols, whose names are the ends of one long name.
fn with_one_long_name() -> [(&'static str, u32, Vec<u8>); 3] {
    let symbols: Vec<u8> = (0..300_000_u32)
        .flat_map(|k| {
            [k.to_le_bytes().to_vec(), vec![0x12, 0, 1, 0], CODE.to_le_bytes().to_vec(), vec![0x10; 8]].concat()
        })
        .collect();
    let mut text = vec![b'x'; 8 << 20];
    text.push(0);
    [(".text", 1, vec![0; 64]), (".symtab", 2, symbols), (".strtab", 3, text)]
}

#[test]
fn interpreters_with_symbols_of_one_long_name_are_read_up_to_a_limit() {
    let file = made(&with_one_long_name());
    let runtime = MALICIOUS.hold("no interpreter", || Runtime::of(&Binary::Owned(file)));
    assert_eq!(runtime, None);
}

#[test]
fn symbols_whose_names_are_one_long_name_are_read_up_to_a_limit() {
    let found = looked_up("one name of symbols", &with_one_long_name());
    let name = found.frames[0].function.as_ref().expect("a name");
    assert!(name.starts_with("xxx") && name.len() <= 4096, "{}", name.len());
}

#[test]
fn what_is_damaged_says_so() {
    let entries = unit(&[vec![1], range(), vec![2], range(), vec![9]].concat());
    let table = abbreviations(&RANGE, &[]);
    let info = |entries: Vec<u8>| [(".debug_abbrev", 1, table.clone()), (".debug_info", 1, entries)];
    assert_eq!(looked_up("no such abbreviation", &info(entries.clone())).lack, Lack::Damaged);
    assert_eq!(looked_up("cut", &info(entries[..entries.len() - 4].to_vec())).lack, Lack::Damaged);
    let found = symbolize::of_file(&Binary::Owned(b"\x7fELF and no more".to_vec()), b"/x", &[CODE]);
    assert_eq!(found[0].lack, Lack::Unreadable);
}
