//! Rows of [`Stacks`] as they are made: each place has one number, however many frames are there.

use std::collections::HashMap;

use super::{INTERPRETED, LACK_SHIFT, Place, Stacks};
use crate::symbolize::Source;
use crate::unwind::{self, End};

/// Most frames that are kept (4 bytes each).
const MOST_FRAMES: usize = 1 << 29;
/// Most functions that are told and not looked up, and most bytes of their names and files. Further ones have a place without a
/// name.
const MOST_TOLD: usize = 1 << 22;
const MOST_TOLD_BYTES: usize = 256 << 20;

/// A frame of a row.
pub enum Shown {
    /// Its file, if any, tells the function.
    At(Place),
    /// The function is known already.
    Told(Place, Source),
}

/// Stacks, and the numbers of what is in them.
#[derive(Default)]
pub struct Rows {
    pub stacks: Stacks,
    places: HashMap<Place, u32>,
    told: HashMap<(Place, Source), u32>,
    told_bytes: usize,
}

impl Rows {
    /// Adds the stack of an event: as many of its frames, innermost first, as a reader takes ([`unwind::MOST_FRAMES`]).
    pub fn add(&mut self, seq: u64, end: End, mut frames: impl Iterator<Item = Shown>) {
        let room = MOST_FRAMES.saturating_sub(self.stacks.frames.len()).min(unwind::MOST_FRAMES);
        for shown in frames.by_ref().take(room) {
            let number = match shown {
                Shown::At(place) => self.place(place),
                Shown::Told(place, source) => self.tell(place, source),
            };
            self.stacks.frames.push(number);
        }
        let end = if frames.next().is_some() { End::TooDeep } else { end };
        self.end(seq, end.code());
    }

    /// Ends a row.
    pub fn end(&mut self, seq: u64, end: u8) {
        self.stacks.seqs.push(seq);
        self.stacks.frame_end.push(self.stacks.frames.len() as u32);
        self.stacks.ends.push(end);
    }

    fn place(&mut self, place: Place) -> u32 {
        let next = self.stacks.places.len() as u32;
        let number = *self.places.entry(place).or_insert(next);
        if number == next {
            self.stacks.places.push(place);
        }
        number
    }

    fn tell(&mut self, place: Place, source: Source) -> u32 {
        let key = (place, source);
        if let Some(number) = self.told.get(&key) {
            return *number;
        }
        let bytes = self.told_bytes + key.1.bytes();
        if self.told.len() >= MOST_TOLD || bytes > MOST_TOLD_BYTES {
            return self.place(place);
        }
        self.told_bytes = bytes;
        let number = self.stacks.places.len() as u32;
        let is_interpreted = place.bits >> LACK_SHIFT == INTERPRETED >> LACK_SHIFT;
        let offset = if is_interpreted { number.into() } else { place.offset };
        self.stacks.places.push(Place { offset, ..place });
        self.stacks.told.insert(number, key.1.clone());
        self.told.insert(key, number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stacks::{NO_FILE, Place};

    const NOWHERE: Place = Place { file: NO_FILE, offset: 0, address: 0, bits: INTERPRETED };

    fn named(name: String) -> Shown {
        Shown::Told(NOWHERE, Source { function: Some(name), ..Source::default() })
    }

    #[test]
    fn a_row_has_no_more_frames_than_a_reader_takes() {
        let mut rows = Rows::default();
        // One frame of machine code that stands for many of an interpreter, and others around it.
        let native = |offset| Shown::At(Place { file: NO_FILE, offset, address: offset, bits: 0 });
        let deep = (0..unwind::MOST_FRAMES).map(|number| named(format!("f{number}")));
        rows.add(1, End::Complete, std::iter::once(native(1)).chain(deep).chain([native(2)]));
        rows.add(2, End::Complete, [native(1), native(2)].into_iter());
        let Stacks { frame_end, ends, frames, places, .. } = &rows.stacks;
        assert_eq!(*frame_end, [1024, 1026]);
        assert_eq!(*ends, [End::TooDeep.code(), End::Complete.code()]);
        assert_eq!(places[frames[0] as usize].offset, 1);
    }

    #[test]
    fn functions_that_are_too_many_have_frames_without_a_name() {
        let mut rows = Rows { told_bytes: MOST_TOLD_BYTES - 5, ..Rows::default() };
        let names = ["known", "other", "known", "more"].map(str::to_owned);
        rows.add(1, End::Complete, names.into_iter().map(named));
        let Stacks { frames, told, .. } = &rows.stacks;
        assert_eq!(frames.len(), 4);
        assert_eq!((frames[0], frames[1]), (frames[2], frames[3]));
        assert_eq!(told.keys().collect::<Vec<_>>(), [&frames[0]]);
    }

    #[test]
    fn the_memory_of_told_functions_counts() {
        let mut rows = Rows::default();
        rows.add(1, End::Complete, std::iter::once(named("x".repeat(1 << 20))));
        assert!(rows.stacks.bytes() > 1 << 20);
    }
}
