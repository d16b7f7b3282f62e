//! From an instruction to its line, by the tables of code objects.

use super::layout::Lines;

/// The line of the instruction at a byte of the code, whose first line is `first`; 0 when the table has none.
pub fn find(kind: Lines, table: &[u8], first: u32, byte: i64) -> u32 {
    let first = i64::from(first.cast_signed());
    let line = match kind {
        Lines::Lnotab => Some(lnotab(table, first, byte)),
        Lines::Ranges => ranges(table, first, byte),
        Lines::Locations => locations(table, first, byte),
    };
    line.and_then(|line| u32::try_from(line).ok()).unwrap_or(0)
}

/// Objects/lnotab_notes.txt of 3.9: pairs of how many bytes and how many lines there are to the next line.
fn lnotab(table: &[u8], first: i64, byte: i64) -> i64 {
    let (mut at, mut line) = (0, first);
    for pair in table.chunks_exact(2) {
        at += i64::from(pair[0]);
        if at > byte {
            break;
        }
        line += i64::from(pair[1].cast_signed());
    }
    line
}

/// The same, second part (PEP 626): pairs of the length of a range and its line, relative to the range before; -128 is none.
fn ranges(table: &[u8], first: i64, byte: i64) -> Option<i64> {
    let (mut end, mut line) = (0, first);
    // A function that was not begun is at its first line.
    if byte < 0 {
        return Some(first);
    }
    for pair in table.chunks_exact(2) {
        let delta = pair[1].cast_signed();
        if delta != -128 {
            line += i64::from(delta);
        }
        end += i64::from(pair[0]);
        if byte < end {
            return (delta != -128).then_some(line);
        }
    }
    None
}

/// Objects/locations.md of 3.11 (in later versions InternalDocs/code_objects.md): entries of a byte with bit 7, which has the
/// kind and how many instructions of two bytes it is for, and what belongs to the kind.
fn locations(table: &[u8], first: i64, byte: i64) -> Option<i64> {
    const NONE: u8 = 15;
    const LONG: u8 = 14;
    const NO_COLUMN: u8 = 13;
    const ONE_LINE: std::ops::RangeInclusive<u8> = 10..=12;
    if byte < 0 {
        return Some(first);
    }
    let (mut end, mut line) = (0_i64, first);
    let mut at = 0;
    while let Some(&head) = table.get(at) {
        let kind = head >> 3 & 15;
        let (delta, next) = match kind {
            LONG | NO_COLUMN => signed(table, at + 1),
            kind if ONE_LINE.contains(&kind) => (i64::from(kind - ONE_LINE.start()), at + 1),
            _ => (0, at + 1),
        };
        line = line.saturating_add(delta);
        end += 2 * (i64::from(head & 7) + 1);
        if byte < end {
            return (kind != NONE).then_some(line);
        }
        at = next + table[next.min(table.len())..].iter().take_while(|byte| **byte & 0x80 == 0).count();
    }
    None
}

/// A number whose lowest bit is its sign, six bits to a byte, of which bit 6 says that there is another one; and where it ends.
fn signed(table: &[u8], start: usize) -> (i64, usize) {
    let (mut value, mut at) = (0_i64, start);
    for shift in (0..60).step_by(6) {
        let Some(&byte) = table.get(at) else { break };
        at += 1;
        value |= i64::from(byte & 63) << shift;
        if byte & 64 == 0 {
            break;
        }
    }
    (if value & 1 == 1 { -(value >> 1) } else { value >> 1 }, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_steps_is_followed_up_to_the_instruction() {
        // Line 10 from byte 0, 12 from 4, 9 from 10.
        let table = [4, 2, 6, 0xfd];
        let at = |byte| find(Lines::Lnotab, &table, 10, byte);
        assert_eq!([-1, 0, 3, 4, 9, 10, 500].map(at), [10, 10, 10, 12, 12, 9, 9]);
    }

    #[test]
    fn ranges_may_have_no_line() {
        let table = [4, 0, 2, 0x80, 6, 1];
        let at = |byte| find(Lines::Ranges, &table, 10, byte);
        assert_eq!([-1, 0, 3, 4, 5, 6, 11, 12].map(at), [10, 10, 10, 0, 0, 11, 11, 0]);
    }

    #[test]
    fn locations_of_every_kind_are_read() {
        let table = [
            0x80,
            0x12, // short, 1 instruction, same line
            0x80 | 11 << 3 | 1,
            3,
            4, // one line on, 2 instructions
            0x80 | 13 << 3,
            0x40 | 0x03,
            0x01, // no column: 6 + ... = 0x43 -> (3 | 1 << 6) = 67: -33
            0x80 | 14 << 3,
            0x06,
            0x01,
            0x02,
            0x03,           // long: 3 lines on
            0x80 | 15 << 3, // none
        ];
        let at = |byte| find(Lines::Locations, &table, 50, byte);
        assert_eq!([-2, 0, 2, 4, 6, 8, 10, 12].map(at), [50, 50, 51, 51, 18, 21, 0, 0]);
    }

    #[test]
    fn damaged_tables_end() {
        for byte in 0..=255_u8 {
            for table in [vec![byte], vec![byte; 300], vec![0x80 | 13 << 3, byte], vec![0xf0, byte, byte, 0xff]] {
                for kind in [Lines::Lnotab, Lines::Ranges, Lines::Locations] {
                    let _ = find(kind, &table, u32::MAX, i64::MAX);
                    let _ = find(kind, &table, 7, 100);
                }
            }
        }
    }
}
