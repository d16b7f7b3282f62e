//! Digests of contents, and of the bytes that calls moved.
//!
//! Who compares traces asks of a read only whether another one gave the same bytes. They are digested here, on the thread
//! that decodes the block and once per chunk of the trace, and are not handed over. Which calls move bytes is not known
//! here; the caller says so in a [`Move`] per syscall.

use trace_format::column::{Columns, NO_CONTENT};
use trace_format::event::{EventKind, Side, flag};
use trace_format::limits::CHUNK_BYTES;
use trace_format::table::Arch;

use super::contents::{Content, ContentCache, with_lens};
use super::{BlockContents, Trace};
use crate::error::EngineError;

/// CRC-32 and CRC-32C of the same bytes. Those of two pieces give that of both together, so it does not matter how a
/// stream was cut. The default is that of no bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// CRC-32 (ISO 3309).
    pub crc32: u32,
    /// CRC-32C (RFC 3720, appendix B.4).
    pub crc32c: u32,
}

impl Digest {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest { crc32: crc32fast::hash(bytes), crc32c: crc32c::crc32c(bytes) }
    }

    /// Of these bytes and the `len` bytes of `next` behind them.
    #[must_use]
    pub fn then(self, next: Digest, len: u32) -> Digest {
        // Those of nothing are 0, and what follows zeros stays as it is.
        if self == Digest::default() {
            return next;
        }
        let mut crc32 = crc32fast::Hasher::new_with_initial_len(self.crc32, 0);
        crc32.combine(&crc32fast::Hasher::new_with_initial_len(next.crc32, len.into()));
        Digest { crc32: crc32.finalize(), crc32c: crc32c::crc32c_combine(self.crc32c, next.crc32c, len as usize) }
    }

    /// Folded to 53 bits: what a JavaScript number holds.
    #[must_use]
    pub fn number(self) -> f64 {
        (u64::from(self.crc32c & 0x1F_FFFF) << 32 | u64::from(self.crc32)) as f64
    }
}

/// How the bytes of a call are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One buffer.
    Bytes,
    /// Buffers that a list in the same argument names.
    List,
    /// Buffers that a message header names, next to its address and control data.
    Message,
}

/// Where the bytes are that a syscall moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The argument.
    pub slot: u8,
    /// Whether they were there at entry or at exit.
    pub side: Side,
    /// In one piece, or several.
    pub layout: Layout,
}

/// By number, for x86-64 and i386. Calls beyond them move nothing.
pub type Moves = [Vec<Option<Move>>; 2];

/// Digests of a block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Digests {
    /// [`Digest::number`] per content; 0 of those that were not handed over.
    pub content: Vec<f64>,
    /// How many bytes each event moved; 0 where none are known.
    pub moved_len: Vec<f64>,
    /// Their digest, as pairs: CRC-32, CRC-32C.
    pub moved: Vec<u32>,
}

/// The contents of a block, and what is known of their digests.
pub(super) struct Source<'a> {
    trace: &'a Trace,
    cache: &'a mut ContentCache,
    contents: Vec<Content<'a>>,
    /// Per content where its chunks begin among those of all.
    starts: Vec<u32>,
    /// By chunk: the digest of a content up to its end. Many calls may have moved the same content.
    digests: Vec<Option<Digest>>,
    /// Of the frame of the block.
    offset: u64,
}

impl<'a> Source<'a> {
    pub(super) fn new(trace: &'a Trace, cache: &'a mut ContentCache, block: &'a BlockContents) -> Source<'a> {
        let contents: Vec<Content> = block.iter().collect();
        let mut next = 0;
        let starts = contents.iter().map(|content| {
            let start = next;
            if let Content::Chunks { chunks, .. } = content {
                next += chunks.len() as u32;
            }
            start
        });
        let starts = starts.collect();
        let digests = vec![None; block.table.chunks.len()];
        Source { trace, cache, contents, starts, digests, offset: block.offset }
    }

    fn len(&self, content: usize) -> u32 {
        self.contents[content].len() as u32
    }

    /// Appends all bytes of a content.
    fn append(&mut self, content: usize, out: &mut Vec<u8>) -> Result<(), EngineError> {
        self.cache.append(self.trace, self.contents[content], out, self.offset)
    }

    /// The first `N` bytes of a content that has as many.
    fn head<const N: usize>(&mut self, content: usize) -> Result<Option<[u8; N]>, EngineError> {
        let bytes = match self.contents[content] {
            Content::Inline(bytes) => bytes,
            Content::Chunks { chunks, len } => match with_lens(chunks, len).next() {
                Some((chunk, len)) => self.cache.bytes(self.trace, chunk, len, self.offset)?,
                None => &[],
            },
        };
        Ok(bytes.first_chunk().copied())
    }

    /// Digest of the first `len` bytes of a content, or of all when it has fewer.
    fn digest(&mut self, content: usize, len: u32) -> Result<Digest, EngineError> {
        let (chunks, whole) = match self.contents[content] {
            // They are short.
            Content::Inline(bytes) => return Ok(Digest::of(&bytes[..bytes.len().min(len as usize)])),
            Content::Chunks { chunks, len } => (chunks, len),
        };
        if len >= whole {
            return self.digest_of_chunks(content, chunks, whole);
        }
        let count = (len / CHUNK_BYTES) as usize;
        let rest = (len % CHUNK_BYTES) as usize;
        let all = self.digest_of_chunks(content, &chunks[..count], count as u32 * CHUNK_BYTES)?;
        let Some((chunk, len)) = with_lens(chunks, whole).nth(count).filter(|_| rest > 0) else { return Ok(all) };
        let next = Digest::of(&self.cache.bytes(self.trace, chunk, len, self.offset)?[..rest]);
        Ok(all.then(next, rest as u32))
    }

    /// Digest of the first chunks of a content, which have `len` bytes.
    fn digest_of_chunks(&mut self, content: usize, chunks: &[u64], len: u32) -> Result<Digest, EngineError> {
        let start = self.starts[content] as usize;
        let digests = &mut self.digests[start..start + chunks.len()];
        let known = digests.partition_point(Option::is_some);
        let mut all = known.checked_sub(1).and_then(|last| digests[last]).unwrap_or_default();
        let unknown = with_lens(chunks, len).zip(digests.iter_mut()).skip(known);
        for ((chunk, own), digest) in unknown {
            all = all.then(self.cache.digest(self.trace, chunk, own, self.offset)?, own);
            *digest = Some(all);
        }
        Ok(all)
    }
}

/// Fetches the contents that others than moves speak of, and digests what was moved.
pub(super) fn digest(columns: &mut Columns, source: &mut Source, moves: &Moves) -> Result<Digests, EngineError> {
    source.cache.digesting();
    let found: Vec<Option<Move>> = (0..columns.count as usize).map(|i| move_of(columns, i, moves)).collect();
    let wanted = wanted(columns, &found, source.contents.len());
    let mut digests = Digests {
        content: vec![0.0; wanted.len()],
        moved_len: vec![0.0; found.len()],
        moved: vec![0; found.len() * 2],
    };
    let bytes: usize =
        wanted.iter().zip(&source.contents).filter(|(own, _)| **own).map(|(_, content)| content.len()).sum();
    columns.content_start.reserve_exact(wanted.len() + 1);
    columns.bytes.reserve_exact(bytes);
    columns.content_start.push(0);
    for (content, wanted) in wanted.into_iter().enumerate() {
        if wanted {
            source.append(content, &mut columns.bytes)?;
            digests.content[content] = source.digest(content, u32::MAX)?.number();
        }
        columns.content_start.push(columns.bytes.len() as u32);
    }
    for (i, found) in found.into_iter().enumerate() {
        let Some(found) = found else { continue };
        let (len, digest) = moved(columns, i, found, source)?;
        digests.moved_len[i] = len as f64;
        digests.moved[2 * i] = digest.crc32;
        digests.moved[2 * i + 1] = digest.crc32c;
    }
    Ok(digests)
}

fn move_of(columns: &Columns, i: usize, moves: &Moves) -> Option<Move> {
    if columns.kind[i] != EventKind::Call as u8 {
        return None;
    }
    let code = usize::try_from(columns.code[i]).ok()?;
    *moves[usize::from(columns.arch[i] == I386)].get(code)?
}

/// Which contents are more than what a call moved.
fn wanted(columns: &Columns, found: &[Option<Move>], contents: usize) -> Vec<bool> {
    let mut wanted = vec![false; contents];
    for (i, found) in found.iter().enumerate() {
        for c in captures(columns, i) {
            let content = columns.cap_content[c];
            if content != NO_CONTENT && !found.is_some_and(|found| is_of(columns, c, found)) {
                wanted[content as usize] = true;
            }
        }
    }
    wanted
}

fn captures(columns: &Columns, i: usize) -> std::ops::Range<usize> {
    columns.cap_start[i] as usize..columns.cap_start[i + 1] as usize
}

fn is_of(columns: &Columns, c: usize, found: Move) -> bool {
    columns.cap_slot[c] == found.slot && columns.cap_side[c] == found.side as u8
}

/// What an event moved, as its result says: how many bytes, and their digest.
fn moved(columns: &Columns, i: usize, found: Move, source: &mut Source) -> Result<(u64, Digest), EngineError> {
    let mut left = result(columns, i);
    let lists = lists(columns, i, found, source)?;
    let mut len = 0;
    let mut all = Digest::default();
    for c in captures(columns, i).filter(|&c| is_of(columns, c, found)) {
        if left == 0 {
            break;
        }
        if !lists.contains(&address(columns, c)) && columns.cap_content[c] != NO_CONTENT {
            let content = columns.cap_content[c] as usize;
            let piece = u64::from(source.len(content)).min(left) as u32;
            let next = source.digest(content, piece)?;
            all = if len == 0 { next } else { all.then(next, piece) };
            len += u64::from(piece);
            left -= u64::from(piece);
        }
        if found.layout == Layout::Bytes {
            break;
        }
    }
    Ok((len, all))
}

fn result(columns: &Columns, i: usize) -> u64 {
    let (low, high) = (columns.ret[2 * i], columns.ret[2 * i + 1]);
    let is_none = columns.flags[i] & (flag::ERROR | flag::NO_RETURN | flag::NO_RESULT) != 0 || high < 0;
    if is_none { 0 } else { u64::from(high as u32) << 32 | u64::from(low as u32) }
}

/// Where lists of buffers stand, and of a message its header, address and control data: its pointers stand in `struct msghdr`
/// at 0, 16 and 32, in that of i386 at 0, 8 and 16. What is in front of the flags has to be there.
fn lists(columns: &Columns, i: usize, found: Move, source: &mut Source) -> Result<Vec<u64>, EngineError> {
    if found.layout == Layout::Bytes {
        return Ok(Vec::new());
    }
    let own = pair(&columns.args, 6 * i + usize::from(found.slot));
    let mut lists = vec![own];
    if found.layout == Layout::List {
        return Ok(lists);
    }
    for c in captures(columns, i) {
        let content = columns.cap_content[c];
        if columns.cap_slot[c] != found.slot || address(columns, c) != own || content == NO_CONTENT {
            continue;
        }
        let pointers = match columns.arch[i] {
            I386 => source.head(content as usize)?.map(|head: [u8; 24]| [0, 8, 16].map(|at| word(&head[at..at + 4]))),
            _ => source.head(content as usize)?.map(|head: [u8; 48]| [0, 16, 32].map(|at| word(&head[at..at + 8]))),
        };
        if let Some(pointers) = pointers {
            lists.extend(pointers);
            break;
        }
    }
    Ok(lists)
}

/// Code of an architecture.
const I386: u8 = Arch::I386 as u8;

/// A number of up to eight bytes.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

fn address(columns: &Columns, c: usize) -> u64 {
    pair(&columns.cap_addr, c)
}

fn pair(words: &[u32], at: usize) -> u64 {
    u64::from(words[2 * at + 1]) << 32 | u64::from(words[2 * at])
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn digests_of_pieces_give_that_of_the_whole() {
        let bytes: Vec<u8> = (0..5000u32).map(|k| ((k * k) >> 3) as u8).collect();
        for cut in [0, 1, 3, 64, 4096, 5000] {
            let (head, tail) = bytes.split_at(cut);
            let joined = Digest::of(head).then(Digest::of(tail), tail.len() as u32);
            assert_eq!(joined, Digest::of(&bytes), "cut at {cut}");
        }
        // The check values of both polynomials.
        assert_eq!(Digest::of(b"123456789"), Digest { crc32: 0xCBF4_3926, crc32c: 0xE306_9283 });
        assert_eq!(Digest::of(b""), Digest::default());
    }
}
