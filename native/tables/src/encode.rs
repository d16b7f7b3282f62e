//! Encodings of Parquet (parquet.apache.org, "Encodings"): values in, the bytes of a page out.

/// Appends an unsigned LEB128 number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the zigzag code of a number.
fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Bits that hold every number up to `largest`.
pub(crate) fn width_of(largest: u64) -> u32 {
    u64::BITS - largest.leading_zeros()
}

/// Numbers of `width` bits one after the other, the low bits of each byte first.
fn pack(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    let (mut word, mut used) = (0u64, 0u32);
    for value in values {
        word |= value << used;
        used += width;
        if used >= u64::BITS {
            out.extend_from_slice(&word.to_le_bytes());
            used -= u64::BITS;
            // What did not fit: nothing when the value ended with the word.
            word = if used == 0 { 0 } else { value >> (width - used) };
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..used.div_ceil(8) as usize]);
}

/// Shortest run that is stored as one value and a count.
const SHORTEST_RUN: usize = 16;
/// Values of one group of packed ones.
const GROUP: usize = 8;

/// The hybrid of runs and packed numbers (`RLE`).
pub(crate) fn put_hybrid(out: &mut Vec<u8>, values: &[u32], width: u32) {
    let (mut at, mut packed_from) = (0, 0);
    while at < values.len() {
        let run = values[at..].iter().take_while(|&&value| value == values[at]).count();
        // Packed groups are whole: the run lends them what they lack.
        let lent = (GROUP - (at - packed_from) % GROUP) % GROUP;
        if run < lent + SHORTEST_RUN {
            at += run;
            continue;
        }
        put_groups(out, &values[packed_from..at + lent], width);
        put_varint(out, ((run - lent) as u64) << 1);
        out.extend_from_slice(&values[at].to_le_bytes()[..width.div_ceil(8) as usize]);
        at += run;
        packed_from = at;
    }
    put_groups(out, &values[packed_from..], width);
}

fn put_groups(out: &mut Vec<u8>, values: &[u32], width: u32) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(GROUP);
    put_varint(out, (groups as u64) << 1 | 1);
    let start = out.len();
    pack(out, values.iter().map(|&value| value.into()), width);
    out.resize(start + groups * width as usize, 0);
}

/// Definition levels of a column that may be null: 1 where a value is, with their length in front.
pub(crate) fn put_levels(out: &mut Vec<u8>, levels: &[u32]) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put_hybrid(out, levels, 1);
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

/// The same of `count` rows that all have that level.
pub(crate) fn put_level(out: &mut Vec<u8>, level: u8, count: usize) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    if count > 0 {
        put_varint(out, (count as u64) << 1);
        out.push(level);
    }
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

const BLOCK: usize = 128;
const MINIBLOCKS: usize = 4;
const MINIBLOCK: usize = BLOCK / MINIBLOCKS;

/// Differences from value to value, packed (`DELTA_BINARY_PACKED`).
pub(crate) fn put_deltas(out: &mut Vec<u8>, values: &[i64]) {
    put_varint(out, BLOCK as u64);
    put_varint(out, MINIBLOCKS as u64);
    put_varint(out, values.len() as u64);
    put_zigzag(out, values.first().copied().unwrap_or(0));
    let mut deltas = [0i64; BLOCK];
    for from in (1..values.len()).step_by(BLOCK) {
        let block = &values[from - 1..values.len().min(from + BLOCK)];
        let deltas = &mut deltas[..block.len() - 1];
        for (delta, pair) in deltas.iter_mut().zip(block.windows(2)) {
            *delta = pair[1].wrapping_sub(pair[0]);
        }
        put_block(out, deltas);
    }
}

fn put_block(out: &mut Vec<u8>, deltas: &[i64]) {
    let least = deltas.iter().copied().min().unwrap_or(0);
    put_zigzag(out, least);
    let widths = out.len();
    out.extend_from_slice(&[0; MINIBLOCKS]);
    for (k, miniblock) in deltas.chunks(MINIBLOCK).enumerate() {
        let above = |delta: &i64| delta.wrapping_sub(least) as u64;
        let width = width_of(miniblock.iter().map(above).fold(0, |bits, value| bits | value));
        out[widths + k] = width as u8;
        let start = out.len();
        pack(out, miniblock.iter().map(above), width);
        out.resize(start + MINIBLOCK / 8 * width as usize, 0);
    }
}

/// A bit for each value (`PLAIN` of booleans).
pub(crate) fn put_bools(out: &mut Vec<u8>, values: &[bool]) {
    pack(out, values.iter().map(|&value| value.into()), 1);
}

/// Distinct integers of a column, as long as there are few.
pub(crate) struct IntDictionary {
    slots: Vec<u32>,
    values: Vec<i64>,
}

/// A dictionary of more values saves nothing.
const MAX_INTS: usize = 1 << 14;
/// Slots of the hash table: at most half of them are taken.
const SLOT_BITS: u32 = 15;

impl IntDictionary {
    pub(crate) fn new() -> IntDictionary {
        IntDictionary { slots: vec![0; 1 << SLOT_BITS], values: Vec::new() }
    }

    /// Numbers of the values, or None when there are too many different ones. The dictionary is that of this call.
    pub(crate) fn codes(&mut self, values: &[i64]) -> Option<Vec<u32>> {
        self.slots.fill(0);
        self.values.clear();
        let mut codes = Vec::with_capacity(values.len());
        let (mut before, mut code) = (0, 0);
        for &value in values {
            if codes.is_empty() || value != before {
                code = self.code(value)?;
                before = value;
            }
            codes.push(code);
        }
        Some(codes)
    }

    fn code(&mut self, value: i64) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut slot = ((value as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - SLOT_BITS)) as usize;
        loop {
            match self.slots[slot] {
                0 if self.values.len() == MAX_INTS => return None,
                0 => {
                    self.values.push(value);
                    self.slots[slot] = self.values.len() as u32;
                    return Some(self.values.len() as u32 - 1);
                }
                taken if self.values[taken as usize - 1] == value => return Some(taken - 1),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    pub(crate) fn values(&self) -> &[i64] {
        &self.values
    }
}
