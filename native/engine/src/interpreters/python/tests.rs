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
            assert!(found.instead.iter().all(|(_, frames)| frames.len() <= MOST_FRAMES));
        }
    }
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
fn frames_that_do_not_fit_the_native_ones_are_not_shown() {
    let runs = |count: usize| (0..count).map(|_| Run::default()).collect::<Vec<_>>();
    let of = |count, is_whole| counted(&runtime(9), runs(count), &native(), is_whole).len();
    assert_eq!((of(4, true), of(5, true), of(3, true)), (4, 0, 0));
    // More frames than the stack was followed to.
    assert_eq!((of(5, false), of(3, false)), (4, 0));
}
