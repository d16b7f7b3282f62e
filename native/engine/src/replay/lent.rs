//! Small files that a program maps one after the other, each at the place of the one before (git maps every loose object). Their
//! pages stay mapped here, and may be written to: to map a file is to copy its content, which the agent does in the tracee as it
//! does for all that the kernel writes, and to unmap it is nothing.
//!
//! So a program may touch memory here that it has given back, or write to what it may only read. Where it did so its recording has
//! the signal of a fault, and before that, as before whatever else may depend on it, its memory is made what it should be.

use std::ops::Range;
use std::rc::Rc;

use trace_format::event::{Side, slot};
use trace_format::ring::MOST_MAPPED;
use trace_format::table::Arch;

use super::calls::MAP_MEMORY;
use super::desync::DesyncReason;
use super::event::{Captured, Event};
use super::kernel;
use super::ranges::Ranges;
use super::remote::RemoteCall;
use super::run::Runner;
use super::scan;
use super::shared::Shared;
use super::tracee::Thread;
use super::watch::Halt;
use crate::layout::{self, PAGE, Row};

/// So many files are mapped by the kernel before pages stay.
const FEW: u32 = 8;
/// Most bytes that stay mapped in one address space.
const MOST_BYTES: u64 = 8 << 20;

const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
/// What is behind the content of a file in its last page.
const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

/// Whole pages.
type Pages = Range<u64>;

/// The pages of one address space that stay mapped.
#[derive(Clone, Debug, Default)]
pub struct Lent {
    /// How many small files were mapped since no pages stayed.
    count: u32,
    /// Those that stay.
    pages: Ranges,
    /// What the program has mapped of them: what it would be otherwise, and all that is in the file.
    mapped: Vec<(Row, Vec<u8>)>,
}

impl Lent {
    /// Whether small files are mapped often enough for it to be worth something.
    #[must_use]
    pub fn is_worth(&self) -> bool {
        self.count >= FEW
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Whether all of them stay, and the program has nothing there.
    fn are_free(&self, pages: &Pages) -> bool {
        self.pages.cover(pages.start, pages.end) && !self.meets_mapped(pages)
    }

    fn meets_mapped(&self, pages: &Pages) -> bool {
        self.mapped.iter().any(|(own, _)| own.start < pages.end && pages.start < own.end)
    }

    /// Something else is to be there; `false` when that cannot be before [`Runner::give_back`].
    pub fn make_room(&mut self, start: u64, length: u64) -> bool {
        let pages = pages_of(start, length).filter(|pages| !self.meets_mapped(pages));
        if let Some(pages) = &pages {
            self.pages.cut(pages.start, pages.end);
        }
        pages.is_some() || self.is_empty()
    }

    /// The program maps or unmaps some of them.
    pub fn follow(&mut self, step: Step<'_>) {
        match step {
            Step::Maps(file) => self.mapped.push((file.row, file.whole.to_vec())),
            Step::Unmaps(pages) => self.mapped.retain(|(own, _)| (own.start..own.end) != pages),
        }
    }

    fn bytes(&self) -> u64 {
        self.pages.iter().map(|(start, end)| end - start).sum()
    }

    /// Nothing stays from now on: the pages that are to be unmapped, and what is to be mapped.
    fn give_back(&mut self) -> (Ranges, Vec<(Row, Vec<u8>)>) {
        let Lent { mut pages, mapped, .. } = std::mem::take(self);
        for (own, _) in &mapped {
            pages.cut(own.start, own.end);
        }
        (pages, mapped)
    }
}

/// A small file that a call has mapped to be read: whole pages, of which the last one may be filled in part.
pub struct SmallFile<'e> {
    row: Row,
    /// What is in its pages.
    content: &'e [u8],
    /// What is in the file.
    whole: &'e [u8],
}

impl<'e> SmallFile<'e> {
    /// The file that an event maps, if it is a small one whose content stands there, mapped for this process alone at a place that
    /// the kernel has chosen.
    pub fn of(event: &Event<'e>) -> Option<SmallFile<'e>> {
        let [_, length, prot, flags, _, offset] = event.args();
        let is_fit = event.arch() == Arch::X86_64 as u8
            && scan::name(event) == "mmap"
            && (prot, flags) == (libc::PROT_READ as u64, libc::MAP_PRIVATE as u64);
        if !is_fit {
            return None;
        }
        let pages = pages_of(event.ret() as u64, length)?;
        let row = event.captured(slot::LAYOUT, Side::In).and_then(|bytes| layout::rows(bytes).first().copied())?;
        let hash = row.hash().filter(|_| row.has_content() && !row.is_shared())?;
        let whole = event.captures().filter(Captured::is_layout).nth(1)?.bytes;
        let content = whole.get(usize::try_from(offset).ok()?..)?;
        let length = pages.end - pages.start;
        let content = &content[..content.len().min(length as usize)];
        // Behind its last page there is nothing, and that has no other memory in its place.
        let is_filled = !content.is_empty() && (content.len() as u64).next_multiple_of(PAGE) == length;
        let is_small = whole.len() as u64 <= MOST_MAPPED && is_filled;
        (is_small && blake3::hash(whole).as_bytes() == hash).then_some(())?;
        Some(SmallFile { row: row.mapped_at(pages.start, length, prot), content, whole })
    }

    fn pages(&self) -> Pages {
        self.row.start..self.row.end
    }

    /// What is written to its pages.
    pub fn pieces(&self) -> [(u64, &'e [u8]); 2] {
        let end = self.row.start + self.content.len() as u64;
        [(self.row.start, self.content), (end, &ZEROS[..(self.row.end - end) as usize])]
    }
}

/// What a call does with pages that stay mapped.
pub enum Step<'e> {
    Maps(SmallFile<'e>),
    Unmaps(Pages),
}

impl<'e> Step<'e> {
    /// What a call does with pages that stay, or are to stay.
    fn of(lent: &Lent, event: &Event<'e>, shared: &Shared) -> Option<Step<'e>> {
        match scan::name(event) {
            "mmap" => SmallFile::of(event).filter(|file| !shared.has(&file.row)).map(Step::Maps),
            "munmap" => {
                let pages = pages_of(event.arg(0), event.arg(1))?;
                lent.mapped.iter().any(|(own, _)| (own.start..own.end) == pages).then_some(Step::Unmaps(pages))
            }
            _ => None,
        }
    }

    /// The same, where that is all that it does.
    pub fn without_call(lent: &Lent, event: &Event<'e>, shared: &Shared) -> Option<Step<'e>> {
        if lent.is_empty() {
            return None;
        }
        Step::of(lent, event, shared).filter(|step| match step {
            Step::Maps(file) => lent.are_free(&file.pages()),
            Step::Unmaps(_) => true,
        })
    }

    /// What is written to them.
    pub fn pieces(&self) -> [(u64, &'e [u8]); 2] {
        match self {
            Step::Maps(file) => file.pieces(),
            Step::Unmaps(_) => Default::default(),
        }
    }
}

/// Whether a thread is the only one that sees its private memory, and its calls need not stop.
fn is_alone(thread: &Thread) -> bool {
    let process = thread.process.borrow();
    let is_only = process.tids.len() == 1 && Rc::strong_count(&process.space) == 1;
    let space = process.space.borrow();
    is_only && space.guards.is_empty() && space.code.is_patched()
}

impl Runner<'_> {
    /// Maps a small file of which more are expected at the same place, or unmaps one; whether this was one.
    pub(super) fn lend(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<bool, Halt> {
        if !is_alone(thread) {
            return Ok(false);
        }
        let space = thread.space();
        let step = Step::of(&space.borrow().lent, event, &self.shared);
        let Some(step) = step else { return Ok(false) };
        if let Step::Maps(file) = &step
            && !self.keep_pages(thread, event, file)?
        {
            return Ok(false);
        }
        self.write_lent(thread, event, step.pieces())?;
        space.borrow_mut().lent.follow(step);
        Ok(true)
    }

    /// Has the pages of a file stay mapped, if more files are to be expected there; whether they do.
    fn keep_pages(&mut self, thread: &mut Thread, event: &Event<'_>, file: &SmallFile<'_>) -> Result<bool, Halt> {
        let (pages, length, space) = (file.pages(), file.row.length(), thread.space());
        {
            let lent = &mut space.borrow_mut().lent;
            if lent.are_free(&pages) {
                return Ok(true);
            }
            lent.count += 1;
            if !lent.is_worth() || lent.meets_mapped(&pages) || lent.bytes() + length > MOST_BYTES {
                return Ok(false);
            }
        }
        self.claim(thread, event, pages.start, length)?;
        let args = [pages.start, length, READ_WRITE, MAP_MEMORY, u64::MAX, 0];
        self.natively_as(thread, event, &RemoteCall::new(libc::SYS_mmap, &args), event.ret())?;
        space.borrow_mut().lent.pages.add(pages.start, pages.end);
        Ok(true)
    }

    /// Writes to pages that stay.
    pub(super) fn write_lent(
        &mut self,
        thread: &Thread,
        event: &Event<'_>,
        pieces: [(u64, &[u8]); 2],
    ) -> Result<(), Halt> {
        if kernel::write_pieces(thread.tid, pieces.into_iter(), &mut self.room) {
            return Ok(());
        }
        Err(self.desync(event, Some(thread), DesyncReason::Unmapped { addr: pieces[0].0 }.into()))
    }

    /// Makes memory what the program thinks it is.
    pub(super) fn give_back(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        let space = thread.space();
        if space.borrow().lent.is_empty() {
            return Ok(());
        }
        let (gone, mapped) = space.borrow_mut().lent.give_back();
        let unmap = |(start, end)| RemoteCall::new(libc::SYS_munmap, &[start, end - start]);
        let mut calls: Vec<RemoteCall> = gone.iter().map(unmap).collect();
        for (row, whole) in &mapped {
            if let Some(hash) = row.hash() {
                self.job.files.supply(hash, whole)?;
            }
            calls.push(self.mapping_call(row)?);
        }
        let (pid, tid, regs) = (thread.pid(), thread.tid, *thread.registers()?);
        let results = self.remote.table(pid, tid, &regs, &calls)?;
        let wanted = gone.iter().map(|_| 0).chain(mapped.iter().map(|(row, _)| row.start as i64));
        match results.into_iter().zip(wanted).find(|(result, wanted)| result != wanted) {
            None => Ok(()),
            Some((actual, _)) => Err(self.desync(event, Some(thread), DesyncReason::Result { actual }.into())),
        }
    }
}

/// The pages of a range that begins with one.
fn pages_of(start: u64, length: u64) -> Option<Pages> {
    let end = start.checked_add(length)?.checked_next_multiple_of(PAGE)?;
    start.is_multiple_of(PAGE).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Mapping;

    fn pages(start: u64, end: u64) -> Pages {
        start * PAGE..end * PAGE
    }

    fn mapped(start: u64, end: u64) -> (Row, Vec<u8>) {
        let (prot, path) = (libc::PROT_READ as u64, b"/file".to_vec());
        let (start, length) = (start * PAGE, (end - start) * PAGE);
        let mapping = Mapping { start, length, offset: 0, prot, shared: false, dev: 1, ino: 2, path };
        (Row::of(&mapping, None), Vec::new())
    }

    #[test]
    fn room_is_made_where_the_program_has_nothing() {
        let mut lent = Lent::default();
        assert!(lent.make_room(1, 1) && lent.is_empty());
        lent.pages.add(10 * PAGE, 14 * PAGE);
        lent.pages.add(20 * PAGE, 24 * PAGE);
        lent.mapped.push(mapped(11, 12));
        assert!(lent.make_room(12 * PAGE, 1) && lent.make_room(21 * PAGE, 2 * PAGE));
        assert!(!lent.make_room(0, 30 * PAGE) && !lent.make_room(21 * PAGE + 1, 1));
        assert_eq!(lent.bytes(), 5 * PAGE);
        assert!(lent.are_free(&pages(10, 11)) && !lent.are_free(&pages(10, 12)) && !lent.are_free(&pages(12, 13)));
    }

    #[test]
    fn what_is_given_back_is_as_the_program_has_mapped_it() {
        let mut lent = Lent { count: FEW, ..Lent::default() };
        assert!(lent.is_worth());
        lent.pages.add(10 * PAGE, 20 * PAGE);
        lent.mapped.extend([mapped(12, 14), mapped(16, 17)]);
        assert!(lent.meets_mapped(&pages(13, 15)) && !lent.meets_mapped(&pages(14, 16)));
        assert!(lent.are_free(&pages(14, 16)) && !lent.are_free(&pages(10, 20)));
        lent.follow(Step::Unmaps(pages(16, 17)));
        lent.mapped.push(mapped(18, 19));
        let (gone, there) = lent.give_back();
        let gone: Vec<Pages> = gone.iter().map(|(start, end)| start..end).collect();
        assert_eq!(gone, [pages(10, 12), pages(14, 18), pages(19, 20)]);
        assert_eq!(there, [mapped(12, 14), mapped(18, 19)]);
        assert!(lent.is_empty() && lent.mapped.is_empty() && !lent.is_worth());
    }

    #[test]
    fn only_ranges_that_begin_with_a_page_have_pages() {
        assert_eq!(pages_of(PAGE, 1), Some(pages(1, 2)));
        assert_eq!(pages_of(PAGE, PAGE + 1), Some(pages(1, 3)));
        assert_eq!([pages_of(1, 1), pages_of(PAGE, u64::MAX), pages_of(u64::MAX - PAGE + 1, PAGE)], [None, None, None]);
    }
}
