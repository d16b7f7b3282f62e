//! Rows of [`Stacks`] as they are made: each place has one number, however many frames are there.

use super::{INTERPRETED, LACK_SHIFT, Place, Stacks};
use crate::quick::QuickMap;
use crate::symbolize::Source;
use crate::unwind::{self, End};

/// Most frames that are kept (4 bytes each).
const MOST_FRAMES: usize = 1 << 29;
/// Most functions that are told and not looked up, and most bytes of their names and files. Further ones have a place without a
/// name.
const MOST_TOLD: usize = 1 << 22;
const MOST_TOLD_BYTES: usize = 256 << 20;

/// Stacks, and the numbers of what is in them.
#[derive(Default)]
pub struct Rows {
    pub stacks: Stacks,
    places: QuickMap<Place, u32>,
    told: QuickMap<(Place, Source), u32>,
    told_bytes: usize,
}

impl Rows {
    /// Adds the stack of an event, by the places of its frames, innermost first: as many as a reader takes
    /// ([`unwind::MOST_FRAMES`]).
    pub fn add(&mut self, seq: u64, end: End, places: &[u32]) {
        let room = MOST_FRAMES.saturating_sub(self.stacks.frames.len()).min(unwind::MOST_FRAMES);
        self.stacks.frames.extend(places.iter().take(room));
        let end = if places.len() > room { End::TooDeep } else { end };
        self.end(seq, end.code());
    }

    /// Ends a row.
    pub fn end(&mut self, seq: u64, end: u8) {
        self.stacks.seqs.push(seq);
        self.stacks.frame_end.push(self.stacks.frames.len() as u32);
        self.stacks.ends.push(end);
    }

    /// The number of a place whose file, if any, tells the function.
    pub fn place(&mut self, place: Place) -> u32 {
        let next = self.stacks.places.len() as u32;
        let number = *self.places.entry(place).or_insert(next);
        if number == next {
            self.stacks.places.push(place);
        }
        number
    }

    /// The number of a place whose function is known already.
    pub fn tell(&mut self, place: Place, source: Source) -> u32 {
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

    fn named(rows: &mut Rows, name: &str) -> u32 {
        rows.tell(NOWHERE, Source { function: Some(name.to_owned()), ..Source::default() })
    }

    #[test]
    fn a_row_has_no_more_frames_than_a_reader_takes() {
        let mut rows = Rows::default();
        // One frame of machine code that stands for many of an interpreter, and others around it.
        let native = |offset| Place { file: NO_FILE, offset, address: offset, bits: 0 };
        let [inner, outer] = [1, 2].map(|offset| rows.place(native(offset)));
        let mut deep = vec![inner];
        deep.extend((0..unwind::MOST_FRAMES).map(|number| named(&mut rows, &format!("f{number}"))));
        deep.push(outer);
        rows.add(1, End::Complete, &deep);
        rows.add(2, End::Complete, &[inner, outer]);
        let Stacks { frame_end, ends, frames, places, .. } = &rows.stacks;
        assert_eq!(*frame_end, [1024, 1026]);
        assert_eq!(*ends, [End::TooDeep.code(), End::Complete.code()]);
        assert_eq!(places[frames[0] as usize].offset, 1);
    }

    #[test]
    fn functions_that_are_too_many_have_frames_without_a_name() {
        let mut rows = Rows { told_bytes: MOST_TOLD_BYTES - 5, ..Rows::default() };
        let numbers = ["known", "other", "known", "more"].map(|name| named(&mut rows, name));
        assert_eq!(numbers, [0, 1, 0, 1]);
        assert_eq!(rows.stacks.told.keys().collect::<Vec<_>>(), [&0]);
    }

    #[test]
    fn the_memory_of_told_functions_counts() {
        let mut rows = Rows::default();
        named(&mut rows, &"x".repeat(1 << 20));
        assert!(rows.stacks.bytes() > 1 << 20);
    }
}
