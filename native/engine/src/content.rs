//! Captured bytes, each stored once: the table of what has been written, and the CONTENT frame in the making.
//!
//! Chunks are known by a HighwayHash of 128 bits, whose random key is known to nobody else, so that nobody can have two collide. The table
//! is bounded: when it is full the chunks that were seen first are forgotten, and are stored again if they come back. Small chunks,
//! of which there may be one for each event, are looked for among those that were stored lately at first, and the smallest nowhere else.

mod recent;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use highway::{HighwayHash as _, HighwayHasher, Key};
use trace_format::limits::CLOSE_CONTENT_BYTES;
use trace_format::varint::{Cursor, DecodeError, Problem, put};

use self::recent::Recent;
pub(crate) use self::recent::quick_hash;

/// Chunks that are remembered; some 20 MB.
pub const REMEMBERED: usize = 400_000;

/// Chunks up to this many bytes are looked for among those that were stored lately.
const SMALL: usize = 1024;
/// Chunks below are looked for only there: what it costs to remember them is more than to store them.
const SMALLEST: usize = 512;

/// Keys are hashes already.
#[derive(Default)]
pub(crate) struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

pub(crate) type FoldedMap<K, V> = HashMap<K, V, BuildHasherDefault<Folded>>;

/// Gives each distinct chunk a number.
pub struct Contents {
    key: [u64; 4],
    numbers: FoldedMap<u128, u64>,
    oldest: VecDeque<u128>,
    remembered: usize,
    recent: Recent,
    /// Number of the first pending chunk.
    first: u64,
    lens: Vec<u32>,
    bytes: Vec<u8>,
    deduplicated: u64,
}

impl Contents {
    /// An empty table for so many chunks. `key` is random.
    #[must_use]
    pub fn new(key: [u64; 4], remembered: usize) -> Self {
        Contents {
            key,
            numbers: FoldedMap::default(),
            oldest: VecDeque::new(),
            remembered,
            recent: Recent::new(),
            first: 0,
            lens: Vec::new(),
            bytes: Vec::new(),
            deduplicated: 0,
        }
    }

    /// The number of a chunk; it becomes pending when it is new.
    pub fn add(&mut self, chunk: &[u8]) -> u64 {
        let quick = (chunk.len() <= SMALL).then(|| quick_hash(chunk));
        let known = quick.and_then(|hash| self.recent.find(hash, chunk, &self.bytes));
        let known = if known.is_none() && chunk.len() >= SMALLEST { self.remember(chunk) } else { known };
        if let Some(number) = known {
            self.came_again(chunk.len());
            return number;
        }
        let number = self.next();
        if let Some(hash) = quick {
            self.recent.add(hash, self.bytes.len(), chunk.len(), number);
        }
        self.lens.push(chunk.len() as u32);
        self.bytes.extend_from_slice(chunk);
        number
    }

    /// So many bytes need not be stored once more.
    pub fn came_again(&mut self, bytes: usize) {
        self.deduplicated += bytes as u64;
    }

    /// The number of a chunk by its hash; when it is new it gets the next one.
    fn remember(&mut self, chunk: &[u8]) -> Option<u64> {
        let [low, high] = HighwayHasher::new(Key(self.key)).hash128(chunk);
        let hash = u128::from(high) << 64 | u128::from(low);
        if let Some(&number) = self.numbers.get(&hash) {
            return Some(number);
        }
        if self.oldest.len() >= self.remembered
            && let Some(forgotten) = self.oldest.pop_front()
        {
            self.numbers.remove(&forgotten);
        }
        self.numbers.insert(hash, self.next());
        self.oldest.push_back(hash);
        None
    }

    /// The number that the next new chunk gets.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + self.lens.len() as u64
    }

    /// Bytes that were not stored since they were there already.
    #[must_use]
    pub fn deduplicated(&self) -> u64 {
        self.deduplicated
    }

    /// Whether there is enough for a frame.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= CLOSE_CONTENT_BYTES as usize
    }

    /// The pending chunks as payload of a frame: number of the first, how many. `None` when there are none.
    pub fn take_frame(&mut self, payload: &mut Vec<u8>) -> Option<(u64, u32)> {
        if self.lens.is_empty() {
            return None;
        }
        payload.clear();
        for &len in &self.lens {
            put(payload, len.into());
        }
        payload.extend_from_slice(&self.bytes);
        let frame = (self.first, self.lens.len() as u32);
        self.first = self.next();
        self.lens.clear();
        self.bytes = self.recent.close(std::mem::take(&mut self.bytes));
        Some(frame)
    }
}

/// Where the chunks of a CONTENT frame's payload start; one more position than chunks. What `starts` held is forgotten.
pub(crate) fn chunk_starts(payload: &[u8], count: u32, starts: &mut Vec<u32>) -> Result<(), DecodeError> {
    let mut cursor = Cursor::new(payload, "chunk lengths");
    if count as usize > payload.len() {
        return Err(cursor.fail(Problem::TooLarge { value: count.into(), limit: payload.len() as u64 }));
    }
    starts.clear();
    starts.reserve_exact(count as usize + 1);
    let mut total = 0u64;
    for _ in 0..count {
        starts.push(total as u32);
        let len = cursor.bounded(payload.len() as u64)?;
        if len == 0 {
            return Err(cursor.fail(Problem::Invalid { value: len }));
        }
        total += len;
        if total > payload.len() as u64 {
            return Err(cursor.fail(Problem::TooLarge { value: total, limit: payload.len() as u64 }));
        }
    }
    starts.push(total as u32);
    if total != cursor.left() as u64 {
        return Err(cursor.fail(Problem::Ends { need: total, have: cursor.left() as u64 }));
    }
    let base = cursor.position() as u32;
    for start in starts {
        *start += base;
    }
    Ok(())
}
