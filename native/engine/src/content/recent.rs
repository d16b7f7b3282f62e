//! Small chunks that were stored lately, found again by comparing their bytes.
//!
//! To hash a `struct stat` so that equal hashes mean equal bytes costs more than everything else that is done for it. Here a quick
//! hash says where to look, and the bytes decide. They are those of the CONTENT frames that were written last.

use std::collections::VecDeque;

/// Bytes of frames that are kept at most, besides the open one and the one that was closed last.
const KEPT_BYTES: usize = 8 << 20;
const SET_BITS: u32 = 15;
const WAYS: usize = 4;

/// A chunk: where it begins among the bytes of all frames and 16 bits of its hash; its number, and its length in 16 bits. All zeros are
/// none.
#[derive(Clone, Copy, Default)]
struct Slot {
    place: u64,
    chunk: u64,
}

const LOW_BITS: u32 = 16;
const LOW: u64 = (1 << LOW_BITS) - 1;

/// The chunks whose hashes have the same upper bits, the latest first: one line of the processor's cache.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Set([Slot; WAYS]);

struct Frame {
    /// How many bytes the frames before it had.
    start: u64,
    bytes: Vec<u8>,
}

/// The last frames, and what is in them.
pub(super) struct Recent {
    sets: Vec<Set>,
    /// Those that were closed last, latest at the front.
    kept: VecDeque<Frame>,
    kept_bytes: usize,
    /// Bytes of all that were closed.
    closed: u64,
}

impl Recent {
    pub(super) fn new() -> Recent {
        Recent { sets: vec![Set::default(); 1 << SET_BITS], kept: VecDeque::new(), kept_bytes: 0, closed: 0 }
    }

    /// The number of a chunk with that hash, in the frames that are kept or among the bytes of the open one.
    pub(super) fn find(&mut self, hash: u64, chunk: &[u8], open: &[u8]) -> Option<u64> {
        let set = &mut self.sets[(hash >> (64 - SET_BITS)) as usize].0;
        for way in 0..WAYS {
            let Slot { place, chunk: known } = set[way];
            if (place ^ hash) & LOW != 0 || known & LOW != chunk.len() as u64 {
                continue;
            }
            let place = place >> LOW_BITS;
            let (start, bytes) = if place >= self.closed {
                (self.closed, open)
            } else {
                let frame = self.kept.partition_point(|frame| frame.start > place);
                let Some(frame) = self.kept.get(frame) else { continue };
                (frame.start, &frame.bytes[..])
            };
            let at = (place - start) as usize;
            if bytes.get(at..at + chunk.len()) == Some(chunk) {
                set[..=way].rotate_right(1);
                return Some(known >> LOW_BITS);
            }
        }
        None
    }

    /// A chunk of less than 64 KiB was put at a position of the open frame.
    pub(super) fn add(&mut self, hash: u64, at: usize, len: usize, number: u64) {
        let set = &mut self.sets[(hash >> (64 - SET_BITS)) as usize].0;
        set.rotate_right(1);
        let place = (self.closed + at as u64) << LOW_BITS | hash & LOW;
        set[0] = Slot { place, chunk: number << LOW_BITS | len as u64 & LOW };
    }

    /// The open frame was closed: keeps its bytes, and gives back an empty buffer for the next one.
    pub(super) fn close(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let start = self.closed;
        self.closed += bytes.len() as u64;
        let mut next = None;
        while self.kept_bytes > KEPT_BYTES
            && let Some(oldest) = self.kept.pop_back()
        {
            self.kept_bytes -= oldest.bytes.len();
            next = Some(oldest.bytes);
        }
        let mut next = next.unwrap_or_else(|| Vec::with_capacity(bytes.len()));
        self.kept_bytes += bytes.len();
        self.kept.push_front(Frame { start, bytes });
        next.clear();
        next
    }
}

/// A quick hash. What was made to collide is only stored twice.
pub(crate) fn quick_hash(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let word = |part: &[u8; 8]| u64::from_le_bytes(*part);
    let mut lanes = [bytes.len() as u64, 1, 2, 3];
    let (words, tail) = bytes.as_chunks::<8>();
    let (stripes, rest) = words.as_chunks::<4>();
    for [first, second, third, fourth] in stripes {
        lanes[0] = mix(lanes[0], word(first));
        lanes[1] = mix(lanes[1], word(second));
        lanes[2] = mix(lanes[2], word(third));
        lanes[3] = mix(lanes[3], word(fourth));
    }
    let mut hash = rest.iter().map(word).fold(lanes[0], mix);
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = mix(hash, last);
    }
    let hash = mix(mix(mix(hash, lanes[1]), lanes[2]), lanes[3]);
    hash ^ hash >> 29
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_found_by_their_bytes() {
        let mut recent = Recent::new();
        let mut open = b"first".to_vec();
        recent.add(7, 0, 5, 40);
        assert_eq!(recent.find(7, b"first", &open), Some(40));
        // Another one with the same hash takes nothing away, and is not taken for it.
        assert_eq!(recent.find(7, b"other", &open), None);
        open.extend(b"other");
        recent.add(7, 5, 5, 41);
        assert_eq!((recent.find(7, b"first", &open), recent.find(7, b"other", &open)), (Some(40), Some(41)));
        open = recent.close(open);
        assert!(open.is_empty());
        assert_eq!(recent.find(7, b"first", &open), Some(40));
    }

    #[test]
    fn only_the_last_frames_are_kept() {
        let mut recent = Recent::new();
        recent.add(7, 0, 5, 40);
        let mut open = recent.close(b"first".to_vec());
        let frame = vec![1; KEPT_BYTES / 4];
        for _ in 0..4 {
            assert_eq!(recent.find(7, b"first", &open), Some(40));
            open = recent.close(frame.clone());
        }
        assert_eq!(recent.find(7, b"first", &open), Some(40));
        open = recent.close(frame);
        assert_eq!(recent.find(7, b"first", &open), None);
    }

    #[test]
    fn every_byte_and_the_length_count() {
        for length in [1, 7, 8, 31, 32, 33, 144, 512] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let hash = quick_hash(&bytes);
            assert_ne!(hash, quick_hash(&[&bytes[..], &[0]].concat()));
            for at in 0..length as usize {
                let mut other = bytes.clone();
                other[at] ^= 0x40;
                assert_ne!(hash, quick_hash(&other), "byte {at} of {length}");
            }
        }
    }
}
