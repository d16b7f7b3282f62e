//! Structures that lie: whatever a program has in its memory, reading ends, with frames or without.

use super::super::Memory;
use super::*;

/// Memory of words that are made up as they are read; pointers lead into it again.
struct Random {
    state: u64,
    reads: u64,
}

impl Memory for Random {
    fn read(&mut self, _: u64, buffer: &mut [u8]) -> bool {
        self.reads += 1;
        for byte in buffer {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.state >> 33) as u8;
        }
        self.state >> 60 != 0
    }
}

/// Memory in which every word is the same.
struct Same(u64);

impl Memory for Same {
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> bool {
        let bytes = self.0.to_le_bytes();
        for (index, byte) in buffer.iter_mut().enumerate() {
            *byte = bytes[(addr as usize).wrapping_add(index) % 8];
        }
        true
    }
}

fn native() -> Vec<Native> {
    (0..4).map(|index| Native { inside: Some(0x1000 + index), sp: 0x7000 + index * 0x100 }).collect()
}

fn runtime(minor: u8) -> Runtime {
    Runtime { minor, address: 0x4000, evaluates: std::iter::once(0x1000..0x1100).collect() }
}

#[test]
fn structures_that_lie_have_an_end() {
    for minor in layout::KNOWN {
        for seed in 0..200 {
            let mut memory = Random { state: seed, reads: 0 };
            let thread = Thread { pthread: 0x7fff_0000, process: seed, bias: 0 };
            let _ = Reader::default().frames(&runtime(minor), thread, &native(), seed % 2 == 0, &mut memory);
            assert!(memory.reads < 1 << 21, "3.{minor}: {} reads", memory.reads);
        }
        for word in [0, 1, 0x4000, 0x7000, 0x7f7f_7f7f_7f7f_7f7f, u64::MAX] {
            // Everything points to one place, which is also the thread: lists that never end.
            let thread = Thread { pthread: word, process: 1, bias: 0 };
            let found = Reader::default().frames(&runtime(minor), thread, &native(), true, &mut Same(word));
            assert!(found.iter().all(|(_, frames)| frames.len() <= MOST_FRAMES));
        }
    }
}

/// Memory by words, zero where nothing was put.
#[derive(Default)]
struct Words(HashMap<u64, u64>);

impl Memory for Words {
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> bool {
        for (index, byte) in buffer.iter_mut().enumerate() {
            let at = addr.wrapping_add(index as u64);
            let word = self.0.get(&(at & !7)).copied().unwrap_or(0);
            *byte = word.to_le_bytes()[(at & 7) as usize];
        }
        true
    }
}

const PTHREAD: u64 = 0x7fff_0000;
const CODE: u64 = 0x5000;
const NAME: u64 = 0x5800;

/// 3.12: a thread with so many frames that one call runs, the last of which is on the stack of the machine, at 0x7110.
fn recursion(depth: u64) -> Words {
    let mut words = Words::default();
    let mut put = |at: u64, word: u64| words.0.insert(at, word);
    let layout = layout::read(12, 0x4000, &mut Words::default()).expect("a known version");
    let (interpreter, state, call) = (0x4_0000, 0x5_0000, 0x6_0000);
    put(0x4000 + layout.interpreters, interpreter);
    put(interpreter + layout.threads, state);
    put(state + layout.state_interpreter, interpreter);
    put(state + layout.state_thread, PTHREAD);
    put(state + 56, call);
    let frame = |number: u64| 0x10_0000 + number * 0x100;
    put(call, frame(0));
    for number in 0..depth {
        put(frame(number) + layout.frame_code, CODE);
        put(frame(number) + layout.frame_previous, if number + 1 == depth { 0x7110 } else { frame(number + 1) });
        put(frame(number) + 56, CODE + 192);
    }
    put(0x7110 + 64, u64::from(layout::OWNED_BY_STACK) << 48);
    for field in [layout.code.filename, layout.code.name] {
        put(CODE + field, NAME);
    }
    put(CODE + layout.code.table, 0x5c00);
    put(NAME + layout.text.length, 1);
    // Compact, of ASCII.
    put(NAME + layout.text.state, u64::from(1 | 8 | 16_u32) << layout.text.kind);
    put(NAME + layout.text.ascii, u64::from(b'f'));
    words
}

fn shown(reader: &mut Reader, memory: &mut Words) -> Vec<(usize, usize)> {
    let thread = Thread { pthread: PTHREAD, process: 1, bias: 0 };
    let found = reader.frames(&runtime(12), thread, &native(), true, memory);
    let is_named = |place: &Place| reader.source(*place).function.as_deref() == Some("f");
    assert!(found.iter().flat_map(|(_, places)| places).all(is_named), "{found:?}");
    found.into_iter().map(|(index, places)| (index, places.len())).collect()
}

#[test]
fn the_innermost_frames_of_a_deep_recursion_are_kept() {
    assert_eq!(shown(&mut Reader::default(), &mut recursion(3)), [(1, 3)]);
    assert_eq!(shown(&mut Reader::default(), &mut recursion(MOST_FRAMES as u64)), [(1, MOST_FRAMES)]);
    assert_eq!(shown(&mut Reader::default(), &mut recursion(5000)), [(1, MOST_FRAMES)]);
    assert_eq!(shown(&mut Reader::default(), &mut recursion(1 << 16)), []);
}

#[test]
fn a_function_that_could_not_be_read_is_read_again() {
    let mut reader = Reader::default();
    let mut memory = recursion(3);
    let state = NAME + layout::read(12, 0, &mut Words::default()).expect("a known version").text.state;
    let whole = memory.0.insert(state, 0).unwrap_or_default();
    assert_eq!(shown(&mut reader, &mut memory), []);
    memory.0.insert(state, whole);
    assert_eq!(shown(&mut reader, &mut memory), [(1, 3)]);
}

#[test]
fn versions_are_known_by_their_number() {
    assert_eq!(minor_of(0x030b_07f0), Some(11));
    assert_eq!(minor_of(0x030e_0af0), Some(14));
    assert_eq!(minor_of(0x030f_00a1), None);
    assert_eq!(minor_of(0x0400_00f0), None);
}

#[test]
fn runs_belong_to_the_native_frame_around_their_anchor() {
    let run = |anchor| Run { anchor, places: Vec::new() };
    let found = anchored(
        vec![run(Some(0x7110)), run(None), run(Some(0x6fff)), run(Some(0x7300)), run(Some(0x72ff))],
        &native(),
    );
    assert_eq!(found.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_stack_for_signals_may_be_anywhere() {
    let at = |sp| Native { inside: None, sp };
    let run = |anchor| Run { anchor: Some(anchor), places: Vec::new() };
    let of = |native: &[Native], anchors: [u64; 3]| {
        let found = anchored(anchors.map(run).into(), native);
        found.iter().map(|(index, _)| *index).collect::<Vec<_>>()
    };
    let above = [at(0x9000), at(0x9100), at(0x9200), at(0x7000), at(0x7100), at(0x7200)];
    assert_eq!(of(&above, [0x9110, 0x7010, 0x7110]), [1, 3, 4]);
    let below = [at(0x5000), at(0x5100), at(0x7000), at(0x7100), at(0x7200)];
    assert_eq!(of(&below, [0x5010, 0x7010, 0x7110]), [0, 2, 3]);
}

#[test]
fn frames_that_do_not_fit_the_native_ones_are_not_shown() {
    let runs = |count: usize| (0..count).map(|_| Run::default()).collect::<Vec<_>>();
    let of = |count, is_whole| counted(&runtime(9), runs(count), &native(), is_whole).len();
    assert_eq!((of(4, true), of(5, true), of(3, true)), (4, 0, 0));
    // More frames than the stack was followed to.
    assert_eq!((of(5, false), of(3, false)), (4, 0));
}
