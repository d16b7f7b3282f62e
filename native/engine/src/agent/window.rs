//! Which instructions around a `syscall` or `rdtsc` a jump can be put over, and what has to run in its place.
//!
//! The site is known to be real: it has just been executed. What stands behind it follows from decoding on; what stands
//! before it is told by decoding from many places further up, which have to agree. In order of preference:
//!  1. One instruction of at least five bytes right before the site (mostly `mov $number, %eax`). The site itself stays, so that whoever
//!     jumps to it, is blocked in it, or is sent back to it, still makes the call.
//!  2. The site and what follows. Nothing may jump behind its start.
//!  3. Several instructions before the site. Nothing may jump between them.
//!
//! The first tells the way by what a call was entered with. A time stamp says nothing of its way, so what follows it comes first there.

use std::collections::HashMap;

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionBlock,
    Mnemonic, Register,
};
use trace_format::event::Trap;
use trace_format::ring::{block, site};

use crate::constants::Constants;

/// Bytes of a jump with a 32-bit distance.
pub const JUMP_BYTES: usize = 5;
/// Bytes of a `syscall` instruction.
pub const CALL_BYTES: u64 = 2;
/// Decoding begins at each of so many bytes before the site, the nearest that far away.
const FURTHEST: u64 = 96;
const NEAREST: u64 = 24;
/// Most bytes of a trampoline.
pub const TRAMPOLINE_BYTES: u64 = 128;
/// Longest instruction.
const LONGEST: u64 = 15;

/// What stands at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Call,
    Rdtsc,
    Rdtscp,
}

impl Kind {
    /// What the recorder answers; `None` of what is no time stamp.
    #[must_use]
    pub fn of_trap(trap: Trap) -> Option<Kind> {
        match trap {
            Trap::Rdtsc => Some(Kind::Rdtsc),
            Trap::Rdtscp => Some(Kind::Rdtscp),
            _ => None,
        }
    }

    /// The instruction itself.
    #[must_use]
    pub fn code(self) -> &'static [u8] {
        match self {
            Kind::Call => &[0x0f, 0x05],
            Kind::Rdtsc => &[0x0f, 0x31],
            Kind::Rdtscp => &[0x0f, 0x01, 0xf9],
        }
    }

    #[must_use]
    pub fn length(self) -> u64 {
        self.code().len() as u64
    }

    /// As trampolines and records say it.
    #[must_use]
    pub fn told(self) -> u64 {
        match self {
            Kind::Call => site::SYSCALL,
            Kind::Rdtsc => site::RDTSC,
            Kind::Rdtscp => site::RDTSCP,
        }
    }
}

/// A site that a thread has just passed.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// The address behind its instruction.
    pub ip: u64,
    pub kind: Kind,
    /// What was in `eax` there, where that tells the way to it.
    pub eax: Option<u32>,
}

impl Passed {
    #[must_use]
    pub fn call(ip: u64, number: u32) -> Passed {
        Passed { ip, kind: Kind::Call, eax: Some(number) }
    }

    #[must_use]
    pub fn counter(ip: u64, kind: Kind) -> Passed {
        Passed { ip, kind, eax: None }
    }
}

/// Why a site is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// No instructions around it that could be moved.
    NoWindow,
    /// Something jumps into the instructions around it, or reads what stands in them.
    JumpedInto,
    /// The registers did not hold what the instruction before it puts there.
    OtherWay,
    /// No room for a trampoline within reach.
    NoRoom,
    /// The code cannot be written.
    ReadOnly,
    /// A signal, or a fault, came at one of the instructions around it.
    Interrupted,
    /// It is in memory that the program writes itself, or shares.
    Written,
    /// Unwinders know a signal's frame by the instructions that return from the handler: there is no table that tells them.
    Recognised,
}

impl Refused {
    /// In a few words, for the user.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Refused::NoWindow => "no room for a jump",
            Refused::JumpedInto => "code jumps into the instructions around it, or reads them",
            Refused::OtherWay => "reached without the instruction before it",
            Refused::NoRoom => "no free memory within reach",
            Refused::ReadOnly => "its code cannot be written",
            Refused::Interrupted => "a signal came in the instructions around it",
            Refused::Written => "its code is in memory that the program has written, or shares",
            Refused::Recognised => "it returns from signal handlers, and is known by its instructions",
        }
    }
}

/// Instructions that a jump replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: u64,
    pub end: u64,
    /// Those before the site, and those behind it.
    before: Vec<Instruction>,
    after: Vec<Instruction>,
}

impl Window {
    /// The site's instruction, which is there, is not overwritten.
    #[must_use]
    pub fn leaves_site(&self, at: u64) -> bool {
        self.start + JUMP_BYTES as u64 <= at
    }

    /// The one that was chosen for a call in code which was the same at another place: these bytes, at `start`.
    #[must_use]
    pub fn of(original: &[u8], start: u64, ip: u64) -> Window {
        let end = start + original.len() as u64;
        let mut window = Window { start, end, before: Vec::new(), after: Vec::new() };
        for instruction in &mut Decoder::with_ip(64, original, start, DecoderOptions::NONE) {
            if instruction.ip() < ip - CALL_BYTES {
                window.before.push(instruction);
            } else if instruction.ip() >= ip && window.after.last().is_none_or(flows_on) {
                window.after.push(instruction);
            }
        }
        window
    }

    /// A thread that is anywhere but at its start would run something else.
    #[must_use]
    pub fn has_inside(&self) -> bool {
        self.before.len() != 1 || !self.after.is_empty()
    }
}

/// Code of the program around a site.
pub struct Around<'a> {
    /// Address of the first byte.
    pub start: u64,
    pub bytes: &'a [u8],
    /// The address behind the site's instruction, and how long that is.
    pub ip: u64,
    pub length: u64,
    /// What was in `eax` at the site, where that tells the way to it.
    pub eax: Option<u32>,
}

impl Around<'_> {
    fn from(&self, addr: u64) -> Option<Decoder<'_>> {
        let at = usize::try_from(addr.checked_sub(self.start)?).ok()?;
        Some(Decoder::with_ip(64, self.bytes.get(at..)?, addr, DecoderOptions::NONE))
    }

    /// The instructions right before `addr`, as many as are asked for in bytes, when nearly all ways to decode agree.
    fn before(&self, addr: u64, least: u64) -> Option<Vec<Instruction>> {
        let mut found = Vec::new();
        let mut at = addr;
        while addr - at < least {
            let previous = self.previous(at)?;
            at = previous.ip();
            found.insert(0, previous);
        }
        Some(found)
    }

    fn previous(&self, addr: u64) -> Option<Instruction> {
        let mut votes: HashMap<u64, (Instruction, u32)> = HashMap::new();
        let mut all = 0;
        for distance in NEAREST..FURTHEST {
            let Some(mut decoder) = addr.checked_sub(distance).and_then(|start| self.from(start)) else { continue };
            while decoder.can_decode() && decoder.ip() < addr {
                let instruction = decoder.decode();
                if instruction.next_ip() == addr && !instruction.is_invalid() {
                    votes.entry(instruction.ip()).or_insert((instruction, 0)).1 += 1;
                }
            }
            all += 1;
        }
        let (instruction, count) = votes.into_values().max_by_key(|(_, count)| *count)?;
        (all >= FURTHEST as u32 / 2 && count * 8 >= all * 7).then_some(instruction)
    }

    /// The instructions from `addr` on that have to go for `least` bytes, with what a jump may cover behind them.
    fn after(&self, addr: u64, least: u64) -> Option<(Vec<Instruction>, u64)> {
        let mut decoder = self.from(addr)?;
        let mut found: Vec<Instruction> = Vec::new();
        while decoder.ip() < addr + least {
            let instruction = decoder.decode();
            let ended = found.last().is_some_and(|last| !flows_on(last));
            if ended {
                // Behind a return there is nothing to run: what fills the room up to the next function.
                if !matches!(instruction.mnemonic(), Mnemonic::Nop | Mnemonic::Int3) {
                    return None;
                }
            } else if can_move(&instruction) {
                found.push(instruction);
            } else {
                return None;
            }
        }
        Some((found, decoder.ip()))
    }
}

fn flows_on(instruction: &Instruction) -> bool {
    matches!(instruction.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch)
}

/// Whether an instruction does the same at another place.
fn can_move(instruction: &Instruction) -> bool {
    let flow = matches!(
        instruction.flow_control(),
        FlowControl::Next | FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch | FlowControl::Return
    );
    let special = matches!(
        instruction.mnemonic(),
        Mnemonic::Syscall
            | Mnemonic::Sysenter
            | Mnemonic::Rdtsc
            | Mnemonic::Rdtscp
            | Mnemonic::Cpuid
            | Mnemonic::INVALID
    );
    flow && !special && !instruction.is_invalid()
}

/// The instructions that a jump can replace. `branches` tells whether something in the code jumps to an address strictly between two, or
/// reads there.
///
/// # Errors
/// Why there are none.
pub fn choose(around: &Around<'_>, mut branches: impl FnMut(u64, u64) -> bool) -> Result<Window, Refused> {
    let at = around.ip - around.length;
    let least = JUMP_BYTES as u64;
    // The registers say whether the way to the site was that way.
    let is_other_way = |loaded| around.eax.is_some_and(|eax| loaded != u64::from(eax));
    let before = around.before(at, 1).filter(|one| one[0].len() as u64 >= least && movable_before(one));
    if let Some(one) = before.filter(|_| around.eax.is_some())
        && !loads_number(&one[0]).is_some_and(is_other_way)
        && !(holds_constant(&one[0]) && branches(one[0].ip(), at))
    {
        return Ok(Window { start: one[0].ip(), end: at, before: one, after: Vec::new() });
    }
    let mut refused = Refused::NoWindow;
    if let Some((after, end)) = around.after(around.ip, least - around.length) {
        if !branches(at, end) {
            return Ok(Window { start: at, end, before: Vec::new(), after });
        }
        refused = Refused::JumpedInto;
    }
    if let Some(several) = around.before(at, least).filter(|several| movable_before(several)) {
        let start = several[0].ip();
        // Nothing tells that the way to the site was this one, and not a jump to the site itself.
        let reached = if around.eax.is_some() { at } else { at + 1 };
        if branches(start, reached) {
            return Err(Refused::JumpedInto);
        }
        if several.iter().filter_map(loads_number).next_back().is_some_and(is_other_way) {
            return Err(Refused::OtherWay);
        }
        return Ok(Window { start, end: at, before: several, after: Vec::new() });
    }
    Err(refused)
}

fn movable_before(instructions: &[Instruction]) -> bool {
    instructions.iter().all(|one| can_move(one) && one.flow_control() == FlowControl::Next)
}

/// Whether other instructions may read the number that this one has in it.
fn holds_constant(instruction: &Instruction) -> bool {
    instruction.code() == Code::Mov_r64_imm64
}

/// What an instruction puts into `eax`, if it is a constant.
fn loads_number(instruction: &Instruction) -> Option<u64> {
    let is_constant = matches!(instruction.code(), Code::Mov_r32_imm32 | Code::Mov_rm32_imm32 | Code::Mov_rm64_imm32);
    let to = instruction.op0_register();
    (is_constant && matches!(to, Register::EAX | Register::RAX)).then(|| instruction.immediate(1) & 0xffff_ffff)
}

/// Offsets in a mapping that its code may jump to or read from, wherever its instructions begin: more than there are, so that none is
/// overlooked.
pub struct Branches {
    targets: Vec<u32>,
    constants: Constants,
}

impl Branches {
    #[must_use]
    pub fn of(bytes: &[u8]) -> Branches {
        let mut targets = Vec::new();
        for (index, pair) in bytes.windows(2).enumerate() {
            let near =
                |at: usize| bytes.get(at..at + 4).map(|four| i32::from_le_bytes([four[0], four[1], four[2], four[3]]));
            let (distance, length) = match pair {
                [0xe8 | 0xe9, _] => (near(index + 1), 5),
                [0x0f, 0x80..=0x8f] => (near(index + 2), 6),
                _ => continue,
            };
            let target = distance.map(|distance| (index + length) as i64 + i64::from(distance));
            targets
                .extend(target.filter(|target| (0..bytes.len() as i64).contains(target)).map(|target| target as u32));
        }
        targets.sort_unstable();
        Branches { targets, constants: Constants::of(bytes) }
    }

    /// Whether something may jump to an address strictly between two, or read there. `base` is where the
    /// mapping begins. Short jumps are looked for in `around`.
    #[must_use]
    pub fn lead_between(&self, around: &Around<'_>, base: u64, start: u64, end: u64) -> bool {
        let at = |target: u32| base + u64::from(target);
        let first = self.targets.partition_point(|target| at(*target) <= start);
        let far = self.targets.get(first).is_some_and(|target| at(*target) < end);
        let is_read = self.constants.are_between(start.saturating_sub(base), end.saturating_sub(base));
        far || is_read
            || around.bytes.windows(2).enumerate().any(|(index, pair)| {
                let is_jump = matches!(pair[0], 0x70..=0x7f | 0xeb | 0xe0..=0xe3);
                let target = (around.start + index as u64 + 2).wrapping_add_signed(i64::from(pair[1] as i8));
                is_jump && target > start && target < end
            })
    }
}

/// Bytes of code to read before and behind a site for [`Around`].
pub const READ_BEFORE: u64 = FURTHEST + 160;
pub const READ_AFTER: u64 = 160;

/// What to write where.
pub struct Patch {
    /// At the window's start.
    pub jump: Vec<u8>,
    /// In the trampoline's place.
    pub trampoline: Vec<u8>,
    /// Address of the site's own instruction in it.
    pub trap: u64,
    /// Where a thread goes on that has just been at the site itself.
    pub after: u64,
    /// Where a thread goes on for which the agent has done what the site does.
    pub behind: u64,
}

/// Where sites lead: those of calls, and the others.
#[derive(Clone, Copy, Debug)]
pub struct Entries {
    pub call: u64,
    pub counter: u64,
}

/// The code for a window whose trampoline is to be at `base`. `ip`: behind the site.
///
/// # Errors
/// When it is too far away, or too long.
pub fn build(window: &Window, (ip, kind): (u64, Kind), base: u64, entries: Entries) -> Result<Patch, Refused> {
    let mut code = relocated(&window.before, base)?;
    let lead = code.len();
    // Where the data is, and how far away, is filled in when it is known.
    let is_call = kind == Kind::Call;
    if is_call {
        code.extend(TELL_IN_RCX);
    } else {
        code.extend(tell_in_block(0));
    }
    let told = code.len();
    // jmp [rip + ...]
    code.extend([0xff, 0x25, 0, 0, 0, 0]);
    let led = code.len();
    let trap = base + led as u64;
    code.extend(kind.code());
    if is_call {
        // lea rcx, [rip + ...]: what the program's own instruction would have left there.
        code.extend([0x48, 0x8d, 0x0d]);
        let next = base + code.len() as u64 + 4;
        code.extend(distance(next, ip)?.to_le_bytes());
    }
    let behind = base + code.len() as u64;
    go_back(&mut code, window, ip, base)?;
    code.resize(code.len().next_multiple_of(8), 0xcc);
    let data = code.len();
    let after = if window.after.is_empty() { ip } else { behind };
    let entry = if is_call { entries.call } else { entries.counter };
    let from_data = |addr: u64| addr.wrapping_sub(base + data as u64);
    let members = [
        (site::AFTER, from_data(behind)),
        (site::TRAP, from_data(trap)),
        (site::IP, from_data(ip)),
        (site::ENTRY, entry),
        (site::KIND, kind.told()),
    ];
    for (offset, value) in members {
        debug_assert_eq!(code.len() - data, offset as usize);
        code.extend(value.to_le_bytes());
    }
    if code.len() as u64 > TRAMPOLINE_BYTES {
        return Err(Refused::NoWindow);
    }
    if is_call {
        code[told - 4..told].copy_from_slice(&((data - told) as u32).to_le_bytes());
    } else {
        code[lead..told].copy_from_slice(&tell_in_block(base + data as u64));
    }
    let to_entry = (data + site::ENTRY as usize - led) as u32;
    code[led - 4..led].copy_from_slice(&to_entry.to_le_bytes());
    let jump = jump_to(window, base)?;
    Ok(Patch { jump, trampoline: code, trap, after, behind })
}

/// lea rcx, [rip + ...], which a call changes anyway.
const TELL_IN_RCX: [u8; 7] = [0x48, 0x8d, 0x0d, 0, 0, 0, 0];

/// Tells the agent an address where no register may be changed: mov dword gs:[SITE], ...; mov dword gs:[SITE + 4], ...
fn tell_in_block(addr: u64) -> [u8; 24] {
    let mut code = [0; 24];
    for (half, value) in [(0, addr as u32), (1, (addr >> 32) as u32)] {
        let code = &mut code[half * 12..][..12];
        code[..4].copy_from_slice(&[0x65, 0xc7, 0x04, 0x25]);
        code[4..8].copy_from_slice(&(block::SITE as u32 + half as u32 * 4).to_le_bytes());
        code[8..].copy_from_slice(&value.to_le_bytes());
    }
    code
}

/// Where the data of a trampoline of that length begins.
#[must_use]
pub fn data_of(length: usize) -> usize {
    length - site::BYTES as usize
}

/// The jump over a window to code at `base` that does what stood there with something else in place of the site, and that code.
/// `instead` makes it for an address.
///
/// # Errors
/// When it is too far away.
pub fn replace(
    window: &Window,
    ip: u64,
    base: u64,
    instead: impl FnOnce(u64) -> Vec<u8>,
) -> Result<(Vec<u8>, Vec<u8>), Refused> {
    let mut code = relocated(&window.before, base)?;
    code.extend(instead(base + code.len() as u64));
    go_back(&mut code, window, ip, base)?;
    Ok((jump_to(window, base)?, code))
}

/// Adds what stands behind the site in a window, and the way back to the program. `code` is to be at `base`.
fn go_back(code: &mut Vec<u8>, window: &Window, ip: u64, base: u64) -> Result<(), Refused> {
    let behind = base + code.len() as u64;
    code.extend(relocated(&window.after, behind)?);
    if window.after.last().is_none_or(flows_on) {
        let back = if window.after.is_empty() { ip } else { window.after.last().map_or(ip, Instruction::next_ip) };
        code.push(0xe9);
        let next = base + code.len() as u64 + 4;
        code.extend(distance(next, back)?.to_le_bytes());
    }
    Ok(())
}

/// What is put over a window. What is left of the instructions traps, should something jump there after all. A site that stays is not
/// touched.
fn jump_to(window: &Window, base: u64) -> Result<Vec<u8>, Refused> {
    let mut jump = vec![0xcc; (window.end - window.start) as usize];
    jump[0] = 0xe9;
    jump[1..JUMP_BYTES].copy_from_slice(&distance(window.start + JUMP_BYTES as u64, base)?.to_le_bytes());
    Ok(jump)
}

fn distance(from: u64, to: u64) -> Result<i32, Refused> {
    i32::try_from(to.wrapping_sub(from) as i64).map_err(|_| Refused::NoRoom)
}

fn relocated(instructions: &[Instruction], base: u64) -> Result<Vec<u8>, Refused> {
    if instructions.is_empty() {
        return Ok(Vec::new());
    }
    let block = InstructionBlock::new(instructions, base);
    let encoded = BlockEncoder::encode(64, block, BlockEncoderOptions::NONE).map_err(|_| Refused::NoRoom)?;
    Ok(encoded.code_buffer)
}

const _: () = assert!(LONGEST < NEAREST);

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0x40_0000;

    /// Plain instructions up to the site, the site, and what follows.
    fn around(before: &[u8], after: &[u8]) -> (Vec<u8>, u64) {
        // mov rbx, rax; add rsi, rdi: nothing that looks like anything else.
        let mut bytes = [0x48, 0x89, 0xc3, 0x48, 0x01, 0xfe].repeat(40);
        bytes.extend(before);
        bytes.extend([0x0f, 0x05]);
        let ip = START + bytes.len() as u64;
        bytes.extend(after);
        bytes.extend([0x90; 64]);
        (bytes, ip)
    }

    #[test]
    fn code_that_could_not_be_read_has_no_window() {
        let (bytes, ip) = around(&[0xb8, 0x27, 0, 0, 0], &[]);
        for got in 0..bytes.len() {
            let around = Around { start: START, bytes: &bytes[..got], ip, length: CALL_BYTES, eax: Some(0x27) };
            let is_there = START + got as u64 >= ip - CALL_BYTES;
            assert_eq!(choose_in(&around).0.is_ok(), is_there, "{got} of {} bytes", bytes.len());
        }
    }

    fn chosen(before: &[u8], after: &[u8], number: u32) -> (Result<Window, Refused>, u64) {
        let (bytes, ip) = around(before, after);
        choose_in(&Around { start: START, bytes: &bytes, ip, length: CALL_BYTES, eax: Some(number) })
    }

    fn choose_in(around: &Around<'_>) -> (Result<Window, Refused>, u64) {
        let branches = Branches::of(around.bytes);
        (choose(around, |start, end| branches.lead_between(around, START, start, end)), around.ip)
    }

    const ENTRIES: Entries = Entries { call: 0x7000_0000, counter: 0x7000_0100 };

    #[test]
    fn an_instruction_before_the_site_is_enough() {
        // mov eax, 39; syscall; ret
        let (window, ip) = chosen(&[0xb8, 39, 0, 0, 0], &[0xc3], 39);
        let window = window.unwrap();
        assert_eq!((window.start, window.end), (ip - 7, ip - 2));
        assert!(window.leaves_site(ip) && !window.has_inside());
        // Reached with another number, it is not the way.
        let (other, ip) = chosen(&[0xb8, 39, 0, 0, 0], &[0x48, 0x3d, 0, 0xf0, 0xff, 0xff], 40);
        assert_eq!(other.unwrap().start, ip - 2);
    }

    #[test]
    fn the_tail_of_a_longer_instruction_is_no_instruction() {
        // mov dword [rsp - 0x48], 16, which ends like mov eax, 16; syscall; cmp rax, -4096
        let (window, ip) = chosen(&[0xc7, 0x44, 0x24, 0xb8, 16, 0, 0, 0], &[0x48, 0x3d, 0, 0xf0, 0xff, 0xff], 16);
        assert_eq!(window.unwrap().start, ip - 10);
    }

    #[test]
    fn what_follows_is_taken_when_nothing_jumps_there() {
        // xor eax, eax; syscall; cmp rax, -4096; ja +5
        let follows = [0x48, 0x3d, 0, 0xf0, 0xff, 0xff, 0x77, 0x05];
        let (window, ip) = chosen(&[0x31, 0xc0], &follows, 0);
        let window = window.unwrap();
        assert_eq!((window.start, window.end, window.has_inside()), (ip - 2, ip + 6, true));
        // jmp back to the compare
        let (window, _) = chosen(&[0x31, 0xc0], &[&follows[..], &[0xeb, 0xf6]].concat(), 0);
        assert_ne!(window.map(|window| window.after.len()), Ok(1));
    }

    #[test]
    fn an_instruction_whose_number_is_read_stays() {
        // movabs rsi, 1; syscall; mov rdx, [rip + ...], which begins 7 bytes further
        let number = [0x48, 0xbe, 1, 0, 0, 0, 0, 0, 0, 0];
        let reads = |distance: i8| [&[0x48, 0x8b, 0x15, distance as u8, 0xff, 0xff, 0xff, 0x90][..], &[0xc3]].concat();
        let (window, ip) = chosen(&number, &reads(-64), 39);
        assert_eq!(window.unwrap().start, ip - 12);
        let (window, ip) = chosen(&number, &reads(-17), 39);
        assert_eq!(window.unwrap().start, ip - 2);
    }

    #[test]
    fn a_return_and_the_room_behind_it_are_taken() {
        let (window, ip) = chosen(&[0x31, 0xc0], &[0xc3, 0x66, 0x90], 0);
        assert_eq!(window.unwrap().end, ip + 3);
        // Behind it the next function begins.
        let (window, _) = chosen(&[0x31, 0xc0], &[0xc3, 0x55, 0x53, 0x55], 0);
        assert_ne!(window.map(|window| window.after.len()), Ok(1));
    }

    #[test]
    fn a_trampoline_runs_what_was_overwritten_and_goes_back() {
        use Mnemonic::{Cmp, Jmp, Lea, Syscall};
        let (window, ip) = chosen(&[0x31, 0xc0], &[0x48, 0x3d, 0, 0xf0, 0xff, 0xff], 0);
        let patch = build(&window.unwrap(), (ip, Kind::Call), START + 0x10_0000, ENTRIES).unwrap();
        assert_eq!((patch.jump.len(), &patch.jump[JUMP_BYTES..]), (8, &[0xcc; 3][..]));
        let base = START + 0x10_0000;
        let all: Vec<Instruction> =
            Decoder::with_ip(64, &patch.trampoline, base, DecoderOptions::NONE).iter().take(6).collect();
        let names: Vec<Mnemonic> = all.iter().map(Instruction::mnemonic).collect();
        assert_eq!(names, [Lea, Jmp, Syscall, Lea, Cmp, Jmp]);
        assert_eq!(all[5].near_branch_target(), ip + 6);
        assert_eq!((all[2].ip(), all[3].ip_rel_memory_address()), (patch.trap, ip));
        assert_eq!((patch.after, patch.behind), (all[4].ip(), all[4].ip()));
        let data = all[0].ip_rel_memory_address();
        assert_eq!(all[1].ip_rel_memory_address(), data + site::ENTRY);
        let word = |at: u64| {
            let at = (at - base) as usize;
            u64::from_le_bytes(patch.trampoline[at..at + 8].try_into().unwrap())
        };
        let place = |offset: u64| data.wrapping_add(word(data + offset));
        assert_eq!([place(site::AFTER), place(site::TRAP), place(site::IP)], [patch.after, patch.trap, ip]);
        let far = START + (1 << 32);
        let window = chosen(&[0x31, 0xc0], &[0xc3, 0x66, 0x90], 0).0.unwrap();
        assert!(build(&window, (ip, Kind::Call), far, ENTRIES).is_err());
    }

    #[test]
    fn a_trampoline_of_the_counter_changes_no_register() {
        use Mnemonic::{Jmp, Mov, Rdtscp, Shl};
        // xor eax, eax; rdtscp; shl rdx, 32; or rax, rdx
        let follows = [0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0];
        let (mut bytes, ip) = around(&[0x31, 0xc0, 0x0f], &follows);
        // In place of the last byte before the call, and the call.
        bytes[(ip - 3 - START) as usize..(ip - START) as usize].copy_from_slice(Kind::Rdtscp.code());
        let (window, _) = choose_in(&Around { start: START, bytes: &bytes, ip, length: 3, eax: None });
        let window = window.unwrap();
        assert_eq!((window.start, window.end), (ip - 3, ip + 4));
        let base = START + 0x10_0000;
        let patch = build(&window, (ip, Kind::Rdtscp), base, ENTRIES).unwrap();
        let all: Vec<Instruction> =
            Decoder::with_ip(64, &patch.trampoline, base, DecoderOptions::NONE).iter().take(6).collect();
        let names: Vec<Mnemonic> = all.iter().map(Instruction::mnemonic).collect();
        assert_eq!(names, [Mov, Mov, Jmp, Rdtscp, Shl, Jmp]);
        assert_eq!((all[3].ip(), all[4].ip(), all[5].near_branch_target()), (patch.trap, patch.behind, ip + 4));
        let data = u64::from(all[0].immediate32()) | u64::from(all[1].immediate32()) << 32;
        assert_eq!(all[2].ip_rel_memory_address(), data + site::ENTRY);
        assert_eq!(all[0].segment_prefix(), Register::GS);
        let word = |offset: u64| {
            let at = (data + offset - base) as usize;
            u64::from_le_bytes(patch.trampoline[at..at + 8].try_into().unwrap())
        };
        assert_eq!([site::AFTER, site::IP].map(|offset| data.wrapping_add(word(offset))), [patch.behind, ip]);
        assert_eq!([word(site::ENTRY), word(site::KIND)], [ENTRIES.counter, site::RDTSCP]);
    }
}
