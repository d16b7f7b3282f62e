//! Where a program file has instructions whose results no call tells of and that do not trap: RDRAND, RDSEED, RDPID; and CPUID, which
//! few machines can trap.
//!
//! A place counts only when it is proved to be such an instruction. Large programs have hundreds of places with the same
//! bytes that are none: parts of other instructions, tables, constants. So their bytes only say where to look. The function
//! around such a place is taken from the unwind tables or the symbol table and decoded from its start along its branches; where
//! those come to the place, it is one. One that lies behind an indirect jump has to be found by decoding all that is
//! before it, and what follows has to look at the carry flag, in which the instruction says whether it succeeded.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use gimli::{BaseAddresses, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, UnwindSection as _};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, RflagsBits};
use memchr::memmem;
use object::read::{ReadCache, ReadRef};
use object::{Architecture, Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _, SegmentFlags};
use trace_format::event::Trap;

use crate::trap;

/// An instruction in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Offset in the file.
    pub offset: u64,
    pub trap: Trap,
    /// Number of the register that it writes.
    pub register: u8,
    /// Bytes that it writes there.
    pub width: u8,
    /// Bytes of the instruction.
    pub length: u8,
    /// The first two of them.
    pub first: [u8; 2],
}

/// What is looked for.
struct Sought {
    /// Two bytes that it has, behind its prefixes (Intel SDM volume 2).
    opcode: [u8; 2],
    /// The least that the byte behind them is.
    least_next: u8,
    is_it: fn(&Instruction) -> bool,
    /// Its success is told by the carry flag.
    sets_carry: bool,
}

/// What has other results each time.
const UNSEEN: Sought = Sought {
    opcode: [0x0f, 0xc7],
    least_next: 0xf0,
    is_it: |instruction| matches!(instruction.mnemonic(), Mnemonic::Rdrand | Mnemonic::Rdseed | Mnemonic::Rdpid),
    sets_carry: true,
};

const ASKING: Sought = Sought {
    opcode: trap::CPUID,
    least_next: 0,
    is_it: |instruction| instruction.mnemonic() == Mnemonic::Cpuid,
    sets_carry: false,
};

/// Most places that are looked at in one file.
const MOST_PLACES: usize = 1 << 14;
/// Longest function that is decoded.
const MOST_CODE: u64 = 1 << 20;
/// Bytes of a file that are searched at once.
const PIECE: usize = 1 << 20;
/// Longest instruction.
const LONGEST: u64 = 15;

/// Finds the proved instructions of an ELF file whose results are others each time, in the order of their offsets; none in a file that is
/// something else.
#[must_use]
pub fn sites(file: &File) -> Vec<Site> {
    let found = proved(file, &UNSEEN).into_iter().filter_map(|(offset, instruction)| {
        let mut first = [0; 2];
        file.read_exact_at(&mut first, offset).ok()?;
        site_of(&instruction, offset, first)
    });
    found.collect()
}

/// Offsets in an ELF file at which `cpuid` is proved to stand, in order.
#[must_use]
pub fn asking(file: &File) -> Vec<u64> {
    proved(file, &ASKING).into_iter().map(|(offset, _)| offset).collect()
}

/// The proved instructions of a file with their offsets, in the order of these.
fn proved(file: &File, sought: &Sought) -> Vec<(u64, Instruction)> {
    let Ok(own) = file.try_clone() else { return Vec::new() };
    let cache = ReadCache::new(own);
    let Ok(elf) = object::File::parse(&cache) else { return Vec::new() };
    let bits = match elf.architecture() {
        Architecture::X86_64 => 64,
        Architecture::I386 => 32,
        _ => return Vec::new(),
    };
    let mut code = Code { elf: &elf, bits, sought, functions: HashMap::new() };
    let mut found = Vec::new();
    for (offset, address) in places(file, &elf, sought) {
        if let Some(site) = code.site_at(address) {
            // Its prefixes come before its opcode.
            found.push((offset - (address - site.ip()), site));
        }
    }
    found.sort_unstable_by_key(|(offset, _)| *offset);
    found.dedup_by_key(|(offset, _)| *offset);
    found
}

fn site_of(instruction: &Instruction, offset: u64, first: [u8; 2]) -> Option<Site> {
    let trap = match instruction.mnemonic() {
        Mnemonic::Rdrand => Trap::Rdrand,
        Mnemonic::Rdseed => Trap::Rdseed,
        Mnemonic::Rdpid => Trap::Rdpid,
        _ => return None,
    };
    let register = instruction.op0_register();
    Some(Site {
        offset,
        trap,
        register: register.number() as u8,
        width: register.size() as u8,
        length: instruction.len() as u8,
        first,
    })
}

/// Offset and address of each place in the executable segments that has the bytes.
fn places<'data, R: ReadRef<'data>>(file: &File, elf: &object::File<'data, R>, sought: &Sought) -> Vec<(u64, u64)> {
    let finder = memmem::Finder::new(&sought.opcode);
    let mut found = Vec::new();
    let mut buffer = vec![0; PIECE];
    for segment in elf.segments() {
        if !matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags.0 & object::elf::PF_X.0 != 0) {
            continue;
        }
        let (start, length) = segment.file_range();
        let mut at = 0;
        while at < length {
            let wanted = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
            let Some(got) = file.read_at(&mut buffer[..wanted], start + at).ok().filter(|got| *got > 0) else { break };
            for place in finder.find_iter(&buffer[..got]) {
                if buffer[..got].get(place + 2).is_some_and(|byte| *byte >= sought.least_next) {
                    found.push((start + at + place as u64, segment.address() + at + place as u64));
                }
                if found.len() >= MOST_PLACES {
                    return found;
                }
            }
            // The last bytes are looked at again with what follows.
            at += if got > 2 && at + (got as u64) < length { got as u64 - 2 } else { got as u64 };
        }
    }
    found
}

/// The code of a file, function by function.
struct Code<'a, 'data, R: ReadRef<'data>> {
    elf: &'a object::File<'data, R>,
    bits: u32,
    sought: &'a Sought,
    /// What was found in the functions so far, by their start.
    functions: HashMap<u64, Vec<Instruction>>,
}

impl<'data, R: ReadRef<'data>> Code<'_, 'data, R> {
    /// The proved instruction whose opcode is at an address.
    fn site_at(&mut self, address: u64) -> Option<Instruction> {
        let (start, end) = self.function_around(address)?;
        if end - start > MOST_CODE {
            return None;
        }
        let segment = self.elf.segments().find(|segment| address.wrapping_sub(segment.address()) < segment.size())?;
        let bytes = segment.data_range(start, end - start).ok()??;
        let function = Function { bytes, start, bits: self.bits, sought: self.sought };
        let known = self.functions.entry(start).or_insert_with(|| function.reached());
        let covers = |found: &&Instruction| found.ip() <= address && address + 2 <= found.next_ip();
        known.iter().find(covers).copied().or_else(|| function.passed(address))
    }

    /// Start and end of the function that an address belongs to, by the unwind tables or the symbols.
    fn function_around(&self, address: u64) -> Option<(u64, u64)> {
        self.unwound(address).or_else(|| {
            let symbols = self.elf.symbols().chain(self.elf.dynamic_symbols());
            let mut defined =
                symbols.filter(|symbol| symbol.is_definition() && symbol.kind() == object::SymbolKind::Text);
            let found = defined.find(|symbol| address.wrapping_sub(symbol.address()) < symbol.size())?;
            Some((found.address(), found.address() + found.size()))
        })
    }

    fn unwound(&self, address: u64) -> Option<(u64, u64)> {
        let section = |name| {
            let section = self.elf.section_by_name(name)?;
            Some((section.address(), EndianSlice::new(section.data().ok()?, LittleEndian)))
        };
        let (frame_at, frame) = section(".eh_frame")?;
        let frame = EhFrame::from(frame);
        let text = self.elf.section_by_name(".text").map_or(0, |text| text.address());
        let mut bases = BaseAddresses::default().set_eh_frame(frame_at).set_text(text);
        let header = section(".eh_frame_hdr");
        if let Some((at, _)) = header {
            bases = bases.set_eh_frame_hdr(at);
        }
        let parsed = header.and_then(|(_, header)| EhFrameHdr::from(header).parse(&bases, (self.bits / 8) as u8).ok());
        let entry = match parsed.as_ref().and_then(gimli::ParsedEhFrameHdr::table) {
            Some(table) => table.fde_for_address(&frame, &bases, address, EhFrame::cie_from_offset),
            None => frame.fde_for_address(&bases, address, EhFrame::cie_from_offset),
        };
        let entry = entry.ok().filter(|entry| entry.contains(address))?;
        (entry.initial_address() < entry.end_address()).then(|| (entry.initial_address(), entry.end_address()))
    }
}

/// The bytes of one function.
struct Function<'a> {
    bytes: &'a [u8],
    start: u64,
    bits: u32,
    sought: &'a Sought,
}

impl Function<'_> {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn at(&self, address: u64) -> Option<Instruction> {
        let bytes = self.bytes.get(usize::try_from(address.checked_sub(self.start)?).ok()?..)?;
        let instruction = Decoder::with_ip(self.bits, bytes, address, DecoderOptions::NONE).decode();
        (!instruction.is_invalid()).then_some(instruction)
    }

    /// The instructions in question that are reached from the function's start along its branches.
    fn reached(&self) -> Vec<Instruction> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut open = vec![self.start];
        while let Some(mut address) = open.pop() {
            while seen.insert(address) {
                let Some(instruction) = self.at(address) else { break };
                if (self.sought.is_it)(&instruction) {
                    found.push(instruction);
                }
                let flow = instruction.flow_control();
                if matches!(flow, FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch) {
                    let target = instruction.near_branch_target();
                    if (self.start..self.end()).contains(&target) {
                        open.push(target);
                    }
                }
                let goes_on = matches!(
                    flow,
                    FlowControl::Next | FlowControl::ConditionalBranch | FlowControl::Call | FlowControl::IndirectCall
                );
                if !goes_on {
                    break;
                }
                address = instruction.next_ip();
            }
        }
        found
    }

    /// The instruction around an address, come to by decoding everything from the function's start on, if its success is asked
    /// for afterwards.
    fn passed(&self, address: u64) -> Option<Instruction> {
        if !self.sought.sets_carry {
            return None;
        }
        let mut at = self.start;
        while at <= address {
            let instruction = self.at(at)?;
            if (self.sought.is_it)(&instruction) && address + 2 < instruction.next_ip() && address - at < LONGEST {
                return self.asks_for_carry(instruction.next_ip()).then_some(instruction);
            }
            at = instruction.next_ip();
        }
        None
    }

    /// Whether the carry flag is read before it is written, within a few instructions.
    fn asks_for_carry(&self, mut at: u64) -> bool {
        const FEW: usize = 8;
        for _ in 0..FEW {
            let Some(instruction) = self.at(at) else { return false };
            if instruction.rflags_read() & RflagsBits::CF != 0 {
                return true;
            }
            if instruction.rflags_modified() & RflagsBits::CF != 0 || instruction.flow_control() != FlowControl::Next {
                return false;
            }
            at = instruction.next_ip();
        }
        false
    }
}

/// Sites as a line each, for the object store.
#[must_use]
pub fn to_text(sites: &[Site]) -> String {
    let line = |site: &Site| {
        let [one, two] = site.first;
        format!("{:x} {} {} {} {} {one} {two}\n", site.offset, site.trap as u8, site.register, site.width, site.length)
    };
    sites.iter().map(line).collect()
}

/// What [`to_text`] has written; nothing when it is not that.
#[must_use]
pub fn from_text(text: &str) -> Option<Vec<Site>> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let offset = u64::from_str_radix(words.next()?, 16).ok()?;
        let mut byte = || words.next()?.parse::<u8>().ok();
        let trap = Trap::from_code(i32::from(byte()?))?;
        Some(Site { offset, trap, register: byte()?, width: byte()?, length: byte()?, first: [byte()?, byte()?] })
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RDRAND_RAX: [u8; 4] = [0x48, 0x0f, 0xc7, 0xf0];
    const SETC_CL: [u8; 3] = [0x0f, 0x92, 0xc1];

    fn function(bytes: &[u8]) -> Function<'_> {
        Function { bytes, start: 0x1000, bits: 64, sought: &UNSEEN }
    }

    fn mnemonics(found: &[Instruction]) -> Vec<(u64, Mnemonic)> {
        found.iter().map(|found| (found.ip(), found.mnemonic())).collect()
    }

    #[test]
    fn an_instruction_is_reached_along_branches() {
        // je +4; rdrand rax; ret; rdseed edx; jmp to the rdrand
        let code = [&[0x74, 5][..], &RDRAND_RAX, &[0xc3], &[0x0f, 0xc7, 0xfa], &[0xeb, 0xf6]].concat();
        let found = function(&code).reached();
        assert_eq!(mnemonics(&found), [(0x1002, Mnemonic::Rdrand), (0x1007, Mnemonic::Rdseed)]);
    }

    #[test]
    fn the_same_bytes_elsewhere_are_none() {
        // mov rax, imm64 with the bytes inside; ret; and behind it the bytes as data
        let inside = [&[0x48, 0xb8][..], &RDRAND_RAX, &RDRAND_RAX, &[0xc3], &RDRAND_RAX, &[0xc3]].concat();
        let function = function(&inside);
        assert!(function.reached().is_empty());
        assert_eq!(function.passed(0x1003), None);
        // What is behind the return has no carry flag looked at.
        assert_eq!(function.passed(0x100c), None);
    }

    #[test]
    fn behind_an_indirect_jump_the_carry_flag_has_to_be_looked_at() {
        let with = [&[0xff, 0xe0][..], &RDRAND_RAX, &SETC_CL, &[0xc3]].concat();
        assert!(function(&with).reached().is_empty());
        assert_eq!(function(&with).passed(0x1003).map(|found| found.ip()), Some(0x1002));
        // add rax, rax writes the flag first.
        let without = [&[0xff, 0xe0][..], &RDRAND_RAX, &[0x48, 0x01, 0xc0], &SETC_CL, &[0xc3]].concat();
        assert_eq!(function(&without).passed(0x1003), None);
    }

    #[test]
    fn operands_are_told() {
        let cases: [(&[u8], Trap, u8, u8); 5] = [
            (&RDRAND_RAX, Trap::Rdrand, 0, 8),
            (&[0x41, 0x0f, 0xc7, 0xf7], Trap::Rdrand, 15, 4),
            (&[0x66, 0x0f, 0xc7, 0xf1], Trap::Rdrand, 1, 2),
            (&[0x49, 0x0f, 0xc7, 0xfb], Trap::Rdseed, 11, 8),
            (&[0xf3, 0x0f, 0xc7, 0xf9], Trap::Rdpid, 1, 8),
        ];
        for (bytes, trap, register, width) in cases {
            let first = [bytes[0], bytes[1]];
            let site = site_of(&function(bytes).at(0x1000).unwrap(), 77, first).unwrap();
            assert_eq!(site, Site { offset: 77, trap, register, width, length: bytes.len() as u8, first });
            assert_eq!(from_text(&to_text(&[site, site])), Some(vec![site, site]));
        }
        assert_eq!(from_text("12 3\n"), None);
    }

    #[test]
    fn this_program_has_the_instructions_that_it_uses() {
        #[inline(never)]
        fn draw() -> Option<u64> {
            let (value, ok): (u64, u8);
            // SAFETY: executed only where the processor has the instruction; it writes the two registers.
            unsafe { std::arch::asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) ok) };
            (ok != 0).then_some(value)
        }
        let file = File::open("/proc/self/exe").unwrap();
        let found = sites(&file);
        let used = if std::arch::is_x86_feature_detected!("rdrand") { std::hint::black_box(draw)() } else { Some(0) };
        assert!(used.is_some() && found.iter().any(|site| site.trap == Trap::Rdrand), "{found:?}");
    }

    #[test]
    fn cpuid_is_proved_along_branches_alone() {
        // jae +3; cpuid; ret; ff e0 is jmp rax, and what is behind it no branch leads to.
        let code = [&[0x73, 3][..], &[0x0f, 0xa2], &[0xc3], &[0xff, 0xe0], &[0x0f, 0xa2], &SETC_CL].concat();
        let function = Function { bytes: &code, start: 0x1000, bits: 64, sought: &ASKING };
        assert_eq!(mnemonics(&function.reached()), [(0x1002, Mnemonic::Cpuid)]);
        assert_eq!(function.passed(0x1007), None);
    }

    #[test]
    fn the_loader_asks_for_the_processor() {
        // Of glibc; others do not ask.
        let Ok(file) = File::open("/lib64/ld-linux-x86-64.so.2") else { return };
        let found = asking(&file);
        assert!(found.len() > 5 && found.is_sorted(), "{found:?}");
        for offset in found {
            let mut code = [0; 2];
            file.read_exact_at(&mut code, offset).unwrap();
            assert_eq!(code, trap::CPUID);
        }
    }
}
