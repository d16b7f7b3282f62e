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
    /// Those that stay, none of which touches another one.
    pages: Vec<Pages>,
    /// What the program has mapped of them: what it would be otherwise, and all that is in the file.
    mapped: Vec<(Row, Vec<u8>)>,
}

impl Lent {
    /// Whether small files are mapped often enough for it to be worth something.
    #[must_use]
    pub fn is_worth(&self) -> bool {
        self.count >= FEW
    }

    fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Whether all of them stay, and the program has nothing there.
    fn are_free(&self, pages: &Pages) -> bool {
        self.pages.iter().any(|own| own.start <= pages.start && pages.end <= own.end) && !self.meets_mapped(pages)
    }

    fn meets_mapped(&self, pages: &Pages) -> bool {
        self.mapped.iter().any(|(own, _)| own.start < pages.end && pages.start < own.end)
    }

    /// They stay from now on.
    fn add(&mut self, pages: &Pages) {
        let mut all = pages.clone();
        self.pages.retain(|own| {
            let touches = own.start <= all.end && all.start <= own.end;
            if touches {
                all = all.start.min(own.start)..all.end.max(own.end);
            }
            !touches
        });
        self.pages.push(all);
    }

    /// They no longer do.
    fn cut(&mut self, pages: &Pages) {
        let parts = |own: Pages| [own.start..own.end.min(pages.start), own.start.max(pages.end)..own.end];
        self.pages =
            std::mem::take(&mut self.pages).into_iter().flat_map(parts).filter(|own| !own.is_empty()).collect();
    }

    /// The program maps or unmaps some of them.
    pub fn follow(&mut self, step: Step<'_>) {
        match step {
            Step::Maps(file) => self.mapped.push((file.row, file.whole.to_vec())),
            Step::Unmaps(pages) => self.mapped.retain(|(own, _)| (own.start..own.end) != pages),
        }
    }

    fn bytes(&self) -> u64 {
        self.pages.iter().map(|own| own.end - own.start).sum()
    }

    /// Nothing stays from now on: the pages that are to be unmapped, and what is to be mapped.
    fn give_back(&mut self) -> (Vec<Pages>, Vec<(Row, Vec<u8>)>) {
        let mapped = std::mem::take(&mut self.mapped);
        for (own, _) in &mapped {
            self.cut(&(own.start..own.end));
        }
        self.count = 0;
        (std::mem::take(&mut self.pages), mapped)
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
    fn of(event: &Event<'e>) -> Option<SmallFile<'e>> {
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

    fn pieces(&self) -> [(u64, &'e [u8]); 2] {
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
    /// What a call does with them, if that is all it does.
    pub fn of(lent: &Lent, event: &Event<'e>, shared: &Shared) -> Option<Step<'e>> {
        if lent.is_empty() {
            return None;
        }
        match scan::name(event) {
            "mmap" => {
                let is_fit = |file: &SmallFile<'_>| lent.are_free(&file.pages()) && !shared.has(&file.row);
                SmallFile::of(event).filter(is_fit).map(Step::Maps)
            }
            "munmap" => {
                let pages = pages_of(event.arg(0), event.arg(1))?;
                lent.mapped.iter().any(|(own, _)| (own.start..own.end) == pages).then_some(Step::Unmaps(pages))
            }
            _ => None,
        }
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
        let step = if let Some(step) = step {
            step
        } else {
            let Some(file) = SmallFile::of(event).filter(|file| !self.shared.has(&file.row)) else {
                return Ok(false);
            };
            let (pages, length) = (file.pages(), file.row.length());
            let is_worth = {
                let lent = &mut space.borrow_mut().lent;
                lent.count += 1;
                lent.is_worth() && !lent.meets_mapped(&pages) && lent.bytes() + length <= MOST_BYTES
            };
            if !is_worth {
                return Ok(false);
            }
            self.claim(thread, event, pages.start, length)?;
            let args = [pages.start, length, READ_WRITE, MAP_MEMORY, u64::MAX, 0];
            self.natively_as(thread, event, &RemoteCall::new(libc::SYS_mmap, &args), event.ret())?;
            space.borrow_mut().lent.add(&pages);
            Step::Maps(file)
        };
        self.write_small_file(thread, event)?;
        space.borrow_mut().lent.follow(step);
        Ok(true)
    }

    /// Writes the content of a file that a call maps to pages that stay.
    pub(super) fn write_small_file(&mut self, thread: &Thread, event: &Event<'_>) -> Result<(), Halt> {
        let Some(file) = SmallFile::of(event) else { return Ok(()) };
        if kernel::write_pieces(thread.tid, file.pieces().into_iter(), &mut self.room) {
            return Ok(());
        }
        Err(self.desync(event, Some(thread), DesyncReason::Unmapped { addr: file.row.start }.into()))
    }

    /// Part of an address space is about to become something else.
    pub(super) fn take_place(
        &mut self,
        thread: &mut Thread,
        event: &Event<'_>,
        start: u64,
        length: u64,
    ) -> Result<(), Halt> {
        let space = thread.space();
        let Some(pages) = pages_of(start, length).filter(|pages| !space.borrow().lent.meets_mapped(pages)) else {
            return self.give_back(thread, event);
        };
        space.borrow_mut().lent.cut(&pages);
        Ok(())
    }

    /// Makes memory what the program thinks it is.
    pub(super) fn give_back(&mut self, thread: &mut Thread, event: &Event<'_>) -> Result<(), Halt> {
        let space = thread.space();
        if space.borrow().lent.is_empty() {
            return Ok(());
        }
        let (gone, mapped) = space.borrow_mut().lent.give_back();
        let unmap = |pages: &Pages| RemoteCall::new(libc::SYS_munmap, &[pages.start, pages.end - pages.start]);
        let mut calls: Vec<RemoteCall> = gone.iter().map(unmap).collect();
        for (row, whole) in &mapped {
            let Some(hash) = row.hash() else { continue };
            self.job.files.supply(hash, whole)?;
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
    fn pages_that_touch_become_one_and_are_cut() {
        let mut lent = Lent::default();
        lent.add(&pages(10, 12));
        lent.add(&pages(20, 24));
        lent.add(&pages(12, 14));
        assert_eq!(lent.bytes(), 8 * PAGE);
        assert!(lent.are_free(&pages(10, 14)) && lent.are_free(&pages(21, 22)));
        assert!(!lent.are_free(&pages(9, 11)) && !lent.are_free(&pages(13, 21)));
        lent.cut(&pages(22, 23));
        lent.cut(&pages(0, 11));
        lent.cut(&pages(14, 20));
        let mut left = lent.pages.clone();
        left.sort_unstable_by_key(|own| own.start);
        assert_eq!(left, [pages(11, 14), pages(20, 22), pages(23, 24)]);
        lent.cut(&pages(0, 100));
        assert!(lent.is_empty() && lent.give_back().0.is_empty());
    }

    #[test]
    fn what_is_given_back_is_as_the_program_has_mapped_it() {
        let mut lent = Lent { count: FEW, ..Lent::default() };
        assert!(lent.is_worth());
        lent.add(&pages(10, 20));
        lent.mapped.extend([mapped(12, 14), mapped(16, 17)]);
        assert!(lent.meets_mapped(&pages(13, 15)) && !lent.meets_mapped(&pages(14, 16)));
        assert!(lent.are_free(&pages(14, 16)) && !lent.are_free(&pages(10, 20)));
        lent.follow(Step::Unmaps(pages(16, 17)));
        lent.mapped.push(mapped(18, 19));
        let (gone, there) = lent.give_back();
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
