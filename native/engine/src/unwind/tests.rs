use std::sync::Arc;

use super::*;
use crate::binary::Binary;

/// A process whose memory is a list of pieces.
#[derive(Default)]
struct Made {
    pieces: Vec<(u64, Vec<u8>)>,
    code: std::ops::Range<u64>,
}

impl Process for Made {
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> bool {
        self.pieces.iter().any(|(start, bytes)| {
            let Some(from) = addr.checked_sub(*start).and_then(|from| usize::try_from(from).ok()) else { return false };
            let Some(piece) = from.checked_add(buffer.len()).and_then(|end| bytes.get(from..end)) else { return false };
            buffer.copy_from_slice(piece);
            true
        })
    }

    fn code_at(&mut self, addr: u64) -> Option<Code> {
        self.code.contains(&addr).then_some(Code { module: None, to_file: 0 })
    }
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn registers(ip: u64, sp: u64, frame_pointer: u64) -> Registers {
    let mut values = [0; REGISTERS];
    (values[16], values[7], values[6]) = (ip, sp, frame_pointer);
    Registers { machine: Machine::X86_64, values }
}

fn unwound(registers: Registers, process: &mut Made) -> (Vec<(u64, How)>, End) {
    let mut frames = Vec::new();
    let end = Unwinder::default().unwind(registers, process, &mut frames);
    (frames.into_iter().map(|frame| (frame.address, frame.how)).collect(), end)
}

#[test]
fn frame_pointers_lead_to_the_outermost_function() {
    let stack = words(&[7, 0x7020, 0x1010, 0, 0x7040, 0x1020, 9, 9, 0, 0]);
    let mut process = Made { pieces: vec![(0x7000, stack)], code: 0x1000..0x2000 };
    let (frames, end) = unwound(registers(0x1005, 0x7000, 0x7008), &mut process);
    assert_eq!(frames, [(0x1005, How::Registers), (0x1010, How::Guess), (0x1020, How::Guess)]);
    assert_eq!(end, End::Complete);
}

#[test]
fn a_stub_without_a_frame_is_left_by_the_word_on_top_of_the_stack() {
    let mut code = vec![0x90; 0x100];
    // call 0x10f0, ending at 0x1010
    code[0x0b..0x10].copy_from_slice(&[0xe8, 0xe0, 0, 0, 0]);
    let stack = words(&[0x1010, 0, 0, 0]);
    let mut process = Made { pieces: vec![(0x7000, stack), (0x1000, code)], code: 0x1000..0x1100 };
    let (frames, end) = unwound(registers(0x10f5, 0x7000, 0), &mut process);
    assert_eq!(frames, [(0x10f5, How::Registers), (0x1010, How::Guess)]);
    assert_eq!(end, End::Complete);
}

#[test]
fn a_frame_pointer_into_nowhere_ends_the_stack_with_a_reason() {
    for (frame_pointer, stack) in [
        (0x7008, words(&[0, 0x7020, 0xdead_0000])),
        (0x6000, words(&[0])),
        (0x7009, words(&[0, 0, 0, 0])),
        (0xffff_ffff_ffff_fff8, words(&[0])),
    ] {
        let mut process = Made { pieces: vec![(0x7000, stack)], code: 0x1000..0x2000 };
        let (frames, end) = unwound(registers(0x1005, 0x7000, frame_pointer), &mut process);
        assert_eq!((frames.len(), end), (1, End::NoTable), "{frame_pointer:#x}");
    }
}

#[test]
fn what_a_signal_interrupted_is_the_next_frame() {
    let mut context = vec![0; 40];
    context.extend(words(&[8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 0, 3, 1, 0, 2, 0x7f00, 0x1080]));
    let code = [vec![0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 5], vec![0x90; 0xf7]].concat();
    let pieces = vec![(0x7000, context), (0x1000, code), (0x7f00, words(&[0]))];
    let mut process = Made { pieces, code: 0x1000..0x1100 };
    for ip in [0x1000, 0x1009] {
        let (frames, end) = unwound(registers(ip, 0x7000, 0), &mut process);
        assert_eq!(frames, [(ip, How::Trampoline), (0x1080, How::Signal)]);
        // Nothing says that the interrupted function is the outermost one.
        assert_eq!(end, End::NoTable);
    }
}

#[test]
fn what_a_signal_interrupted_is_the_next_frame_on_i386() {
    let half = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let context = half(&[0, 0, 0, 0, 17, 16, 15, 0x7f00, 13, 12, 11, 10, 0, 0, 0x1080]);
    let plain = [half(&[10]), context.clone()].concat();
    let whole = [half(&[10, 0, 0x7100]), vec![0; 0x100 - 12], vec![0; 20], context].concat();
    let returns = [vec![0x58, 0xb8, 119, 0, 0, 0, 0xcd, 0x80], vec![0x90; 0xf8]].concat();
    let returns_rt = [vec![0xb8, 173, 0, 0, 0, 0xcd, 0x80], vec![0x90; 0xf9]].concat();
    let places = [(0x1000, 0x7000, &plain, &returns), (0x1008, 0x7004, &plain, &returns)];
    let places_rt = [(0x1000, 0x7000, &whole, &returns_rt), (0x1007, 0x7000, &whole, &returns_rt)];
    for (ip, sp, stack, code) in places.into_iter().chain(places_rt) {
        let pieces = vec![(0x7000, stack.clone()), (0x1000, code.clone())];
        let mut process = Made { pieces, code: 0x1000..0x1100 };
        let mut values = [0; REGISTERS];
        (values[8], values[4]) = (ip, sp);
        let start = Registers { machine: Machine::I386, values };
        let next = interrupted(&start, &mut process).expect("a signal frame");
        assert_eq!(next.values[..9], [10, 11, 12, 13, 0x7f00, 15, 16, 17, 0x1080]);
    }
}

#[test]
fn a_circle_of_frames_ends() {
    let stack = words(&[0x7000, 0x1010, 0x7000, 0x1010]);
    let mut process = Made { pieces: vec![(0x7000, stack)], code: 0x1000..0x2000 };
    let (frames, _) = unwound(registers(0x1005, 0x7000, 0x7000), &mut process);
    assert!(frames.len() <= MOST_FRAMES);
}

/// Tables of this program, damaged at random: every address has a row, has none, or fails; nothing panics or hangs.
#[test]
fn damaged_tables_are_survived() {
    let own = std::fs::read("/proc/self/exe").expect("this program");
    let file = object::File::parse(own.as_slice()).expect("an ELF file");
    let ranges: Vec<_> = [".eh_frame", ".eh_frame_hdr"]
        .iter()
        .filter_map(|name| object::ObjectSection::file_range(&object::Object::section_by_name(&file, name)?))
        .collect();
    assert_eq!(ranges.len(), 2);
    let mut random = 1_u32;
    let mut next = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random >> 8
    };
    let mut found = 0;
    for _ in 0..60 {
        let mut damaged = own.clone();
        for _ in 0..200 {
            let (start, length) = ranges[next() as usize % 2];
            damaged[start as usize + next() as usize % (length as usize).min(1 << 16)] = next() as u8;
        }
        let Some(module) = Module::new(Arc::new(Binary::Owned(damaged))) else { continue };
        let mut context = UnwindContext::new();
        let text = object::Object::entry(&file) & !0xfff;
        let mut process = Made { pieces: vec![(0x7000, vec![0x11; 4096])], ..Made::default() };
        for _ in 0..50 {
            let Some(row) = module.row(text + u64::from(next() % (1 << 20)), &mut context) else { continue };
            found += 1;
            let _ = rules::apply(&row, &module, 0, &registers(text, 0x7100, 0x7200), &mut process);
        }
    }
    assert!(found > 100, "{found} rows were found");
}
