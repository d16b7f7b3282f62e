//! What is known of the code of files, for all processes of a recording: where it jumps to, and which of its sites were patched. In the
//! next process that has such a file mapped all of them are patched at once, with code that was made before; in the next of the same
//! program those that it makes calls from, which are few: each page that is written to is a copy. The sites are noted in the object store,
//! by the file's content, for the next recording.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;

use libc::pid_t;
use rustc_hash::FxHashMap;
use trace_format::ring::DISTANCE;
use trace_format::ring::site::IP as SITE_IP;

use super::sites::Site;
use super::twin::{Agent, Instead, MOST_TWIN, Twin, trampolines_of};
use super::window::{self, Branches, CALL_BYTES, Entries, JUMP_BYTES, Kind, Refused, TRAMPOLINE_BYTES, Window};
use crate::image::{self, FileId, Mapping};
use crate::layout::PAGE;
use crate::store::Hash;
use crate::sys;

/// In a mapping of more code than this nobody looks for what jumps where.
pub(super) const MOST_CODE: u64 = 64 << 20;
/// Most images that are remembered.
const MOST_IMAGES: usize = 256;
/// Most sites of an image that are remembered: as many as there are trampolines in an area.
pub(super) const MOST_SITES: usize = 512;

/// Part of a file in one state, which is mapped: offset and length.
type Key = (FileId, u64, u64);

/// Code of a file that a process has mapped.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    key: Key,
    pub start: u64,
    pub length: u64,
    /// `PROT_*` bits.
    prot: u64,
}

impl Part {
    /// A mapping of a file in this state; `None` when it is shared or can be written: what a process may write is its own.
    #[must_use]
    pub fn of(mapping: &Mapping, file: FileId) -> Option<Part> {
        let is_shown = mapping.ino != 0 && !mapping.shared && mapping.prot & libc::PROT_WRITE as u64 == 0;
        let length = mapping.length.checked_next_multiple_of(PAGE)?;
        let (start, prot) = (mapping.start, mapping.prot);
        is_shown.then_some(Part { key: (file, mapping.offset, length), start, length, prot })
    }

    /// The code at an address of a process.
    #[must_use]
    pub fn at(tid: pid_t, addr: u64) -> Option<Part> {
        let mapping = image::executable_mapping_at(tid, addr)?;
        Part::of(&mapping, FileId::of_mapping(tid, &mapping)?)
    }

    /// The file in its state, and the offset of the part in it.
    #[must_use]
    pub fn file(&self) -> (FileId, u64) {
        (self.key.0, self.key.1)
    }

    /// Whether both are the same part of the same file.
    #[must_use]
    pub fn is_same(&self, other: &Part) -> bool {
        self.key == other.key
    }

    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.length
    }
}

/// What is known of one part of a file. Places are offsets in it.
#[derive(Default)]
struct Learnt {
    /// The hash of the whole file, if it is known.
    hash: Option<Hash>,
    /// Something is known of it that an earlier recording did not know.
    is_new: bool,
    branches: Option<Rc<Branches>>,
    sites: Vec<Proved>,
    refused: HashMap<u64, Refused>,
    begun: Begun,
    /// The code of all its sites, once it has been made.
    made: Option<Rc<Batch>>,
    /// The code with all its sites patched, which processes map.
    twin: Option<Rc<Twin>>,
    /// Processes that have run it since that was made, and how often it was.
    runs: u32,
    twins: u32,
}

/// Programs that began in an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    pub here: u32,
    /// The same in earlier recordings; not counted any further than [`WORTH_BEGUN`].
    pub earlier: u32,
}

/// So many programs have begun with some code before one of them is made to tell which calls are there.
pub const WORTH_BEGUN: u32 = 3;

/// A site that was patched once.
struct Proved {
    ip: u64,
    start: u64,
    original: Vec<u8>,
}

/// The code of known sites of an image, as if that were mapped at [`ORIGIN`] and the trampolines were at [`TRAMPOLINES`].
#[derive(Debug, Default)]
pub(super) struct Batch {
    trampolines: Vec<u8>,
    moving: Moving,
    /// The address behind each `syscall`, in that order, and the rest.
    pub sites: Vec<(u64, Site)>,
    /// Where calls end in the trampolines, and behind which `syscall` that is.
    ends: FxHashMap<u64, u64>,
    /// From the first jump to behind the last.
    jumps: Option<Range<u64>>,
}

const ORIGIN: u64 = 1 << 40;
const TRAMPOLINES: u64 = ORIGIN - DISTANCE;

/// What changes in trampolines with their distance from the image: distances to there, by where they stand.
#[derive(Debug, Default)]
struct Moving {
    /// Of four bytes, in code.
    short: Vec<usize>,
    /// Of eight, in data.
    long: Vec<usize>,
}

/// By how much an image is further up than [`ORIGIN`], and by how much more its trampolines are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    further: u64,
    more: u64,
}

/// Of all processes of a recording, or of a replay.
#[derive(Default)]
pub struct Known {
    images: HashMap<Key, Learnt>,
    /// All twins that were made: processes may have them mapped.
    twins: Vec<Rc<Twin>>,
    /// They are made at once, whether they are worth it or not.
    eager: bool,
    /// Which programs have made calls in which images. One that only reads an image and translates it makes none there.
    ran: HashMap<(Key, Key), Used>,
}

/// What a program has run of an image.
#[derive(Default)]
struct Used {
    /// Sites that have made calls.
    sites: HashSet<u64>,
    /// The code of all known ones of them, once it has been made.
    made: Option<Rc<Batch>>,
}

impl Known {
    /// `eager`: twins are made at once, [`Known::wants_twin`].
    #[must_use]
    pub fn new(eager: bool) -> Known {
        Known { eager, ..Known::default() }
    }

    fn image(&mut self, key: Key) -> &mut Learnt {
        if self.images.len() >= MOST_IMAGES && !self.images.contains_key(&key) {
            // What was learnt by stops stays for as long as it can.
            self.images.retain(|_, image| !image.sites.is_empty());
            if self.images.len() >= MOST_IMAGES {
                self.images.clear();
            }
        }
        self.images.entry(key).or_default()
    }

    /// Where the code at an address, which is of a part, may jump to, and where its mapping begins; `None` when not all of it can be
    /// looked at.
    pub(super) fn branches(&mut self, tid: pid_t, addr: u64, part: Option<&Part>) -> Option<(Rc<Branches>, u64)> {
        let known = part.and_then(|part| Some((self.images.get(&part.key)?.branches.as_ref()?, part.start)));
        if let Some((known, start)) = known {
            return Some((Rc::clone(known), start));
        }
        let mapping = image::executable_mapping_at(tid, addr)?;
        if mapping.length > MOST_CODE {
            return None;
        }
        let mut bytes = vec![0; mapping.length as usize];
        if sys::read_pieces(tid, &[(mapping.start, bytes.len())], &mut bytes) != bytes.len() {
            return None;
        }
        let branches = Rc::new(Branches::of(&bytes));
        if let Some(part) = part.filter(|part| (part.start, part.length) == (mapping.start, mapping.length)) {
            self.image(part.key).branches = Some(Rc::clone(&branches));
        }
        Some((branches, mapping.start))
    }

    /// A part of a file with this content was mapped: what an earlier recording has noted about it, `note` tells.
    pub fn meet(&mut self, part: &Part, hash: Option<Hash>, note: impl FnOnce(&Hash) -> Option<String>) {
        let Some(hash) = hash.filter(|_| !self.images.contains_key(&part.key)) else { return };
        let (earlier, sites) = note(&hash).map(|text| from_text(&text, part)).unwrap_or_default();
        let begun = Begun { here: 0, earlier };
        *self.image(part.key) = Learnt { hash: Some(hash), sites, begun, ..Learnt::default() };
    }

    /// A program has made a call in an image.
    pub fn has_run(&mut self, program: &Part, part: &Part) {
        /// Most pairs that are remembered.
        const MOST: usize = 1 << 14;
        if self.ran.len() < MOST {
            self.ran.entry((program.key, part.key)).or_default();
        }
    }

    /// A program that has run an image has made a call from this site.
    pub fn has_used(&mut self, program: &Part, part: &Part, ip: u64) {
        let Some(used) = self.ran.get_mut(&(program.key, part.key)) else { return };
        if used.sites.len() < MOST_SITES && used.sites.insert(ip - part.start) {
            used.made = None;
        }
    }

    /// Whether a program runs the code of an image, as far as that is known from other processes.
    #[must_use]
    pub fn runs(&self, program: &Part, part: &Part) -> bool {
        self.ran.contains_key(&(program.key, part.key))
    }

    /// What is to be noted for later recordings, by content.
    #[must_use]
    pub fn notes(&self) -> Vec<(Hash, String)> {
        let mut notes: HashMap<Hash, String> = HashMap::new();
        let news = self.images.values().filter(|image| image.is_new).filter_map(|image| image.hash);
        notes.extend(news.map(|hash| (hash, String::new())));
        for ((_, offset, length), image) in &self.images {
            if let Some(text) = image.hash.and_then(|hash| notes.get_mut(&hash)) {
                add_text(text, (*offset, *length), image.begun, &image.sites);
            }
        }
        notes.into_iter().collect()
    }

    /// A program begins in this code. How many have, and whether any of its sites is known.
    pub fn begins(&mut self, part: &Part) -> (Begun, bool) {
        let image = self.image(part.key);
        image.is_new |= image.begun.total() < WORTH_BEGUN;
        image.begun.here = image.begun.here.saturating_add(1);
        (image.begun, !image.sites.is_empty())
    }

    /// A jump can be put over these bytes, from `start` on, for the site of a call.
    pub(super) fn add(&mut self, part: &Part, ip: u64, start: u64, original: &[u8]) {
        let image = self.image(part.key);
        let ip = ip - part.start;
        let is_inside = part.range().contains(&start);
        if is_inside && image.sites.len() < MOST_SITES && !image.sites.iter().any(|proved| proved.ip == ip) {
            image.sites.push(Proved { ip, start: start - part.start, original: original.to_vec() });
            image.made = None;
            image.is_new = true;
        }
    }

    /// A site cannot be patched, in no process.
    pub fn refuse(&mut self, part: &Part, ip: u64, reason: Refused) {
        if matches!(reason, Refused::NoWindow | Refused::JumpedInto | Refused::Recognised) {
            let refused = &mut self.image(part.key).refused;
            if refused.len() < MOST_SITES {
                refused.insert(ip - part.start, reason);
            }
        }
    }

    /// Why a site cannot be patched, if that is known.
    pub(super) fn refusal(&self, part: &Part, ip: u64) -> Option<Refused> {
        self.images.get(&part.key)?.refused.get(&(ip - part.start)).copied()
    }

    /// Whether an image has sites that were patched in some process.
    pub(super) fn has_sites(&self, part: &Part) -> bool {
        self.images.get(&part.key).is_some_and(|image| !image.sites.is_empty())
    }

    /// Whether a site of an image was patched in some process.
    #[must_use]
    pub fn has_site(&self, part: &Part, ip: u64) -> bool {
        let at = ip.wrapping_sub(part.start);
        self.images.get(&part.key).is_some_and(|image| image.sites.iter().any(|site| site.ip == at))
    }

    /// The trampoline of a known site, which is to be at `base`, and what is put over the site.
    pub(super) fn code_of(&self, part: &Part, ip: u64, base: u64, entries: Entries) -> Option<(Vec<u8>, Site)> {
        let at = ip.checked_sub(part.start)?;
        let proved = self.images.get(&part.key)?.sites.iter().find(|proved| proved.ip == at)?;
        proved.code(part.start, base, entries)
    }

    /// Where no thread may stand when the known sites of a part are patched: behind the start of each.
    #[must_use]
    pub fn insides(&self, part: &Part) -> Vec<Range<u64>> {
        let sites = self.images.get(&part.key).map_or(&[][..], |image| &image.sites);
        let inside = |site: &Proved| {
            let start = part.start + site.start;
            start + 1..start + site.original.len() as u64
        };
        sites.iter().map(inside).collect()
    }

    /// The twin of an image in which this has been replaced, if there is one.
    #[must_use]
    pub fn twin(&self, part: &Part, instead: Option<&Rc<Instead>>) -> Option<Rc<Twin>> {
        let twin = self.images.get(&part.key)?.twin.as_ref()?;
        let is_same = instead.map_or(twin.instead.is_empty(), |instead| Rc::ptr_eq(instead, &twin.instead));
        is_same.then(|| Rc::clone(twin))
    }

    /// Whether there is a twin in which this has been replaced.
    #[must_use]
    pub fn has_twin_with(&self, instead: &Rc<Instead>) -> bool {
        self.twins.iter().any(|twin| Rc::ptr_eq(&twin.instead, instead))
    }

    /// A process runs an image. Whether it is worth to make a twin of it, or another one, as many more have run it than there are reasons
    /// to believe that something is still learnt.
    pub fn wants_twin(&mut self, part: &Part, instead: Option<&Rc<Instead>>) -> bool {
        /// So many run an image before.
        const WORTH: u32 = 3;
        /// So often one is made of an image, and so many of all.
        const MOST: u32 = 8;
        const MOST_OF_ALL: usize = 64;
        if self.twins.len() >= MOST_OF_ALL {
            return false;
        }
        let is_current = self.twin(part, instead).is_some();
        let Some(image) = self.images.get_mut(&part.key) else { return false };
        image.runs = image.runs.saturating_add(1);
        // One that is to tell its times has nothing replaced, and others have.
        let is_other = !is_current && (image.twin.is_none() || instead.is_some());
        let is_fit = part.prot == (libc::PROT_READ | libc::PROT_EXEC) as u64
            && part.length <= MOST_TWIN
            && trampolines_of(part).is_some();
        let is_new = is_other || image.twin.as_ref().is_some_and(|twin| twin.known < image.sites.len());
        let is_worth = self.eager || image.runs >= WORTH << image.twins;
        is_fit && is_new && !image.sites.is_empty() && image.twins < MOST && is_worth
    }

    /// Makes a twin of the code of a part's file, which a process has mapped as `mapping`.
    pub fn make_twin(
        &mut self,
        (part, mapping): (&Part, Mapping),
        code: Vec<u8>,
        instead: &Rc<Instead>,
        agent: &Agent<'_>,
    ) -> Option<Rc<Twin>> {
        let image = self.images.get_mut(&part.key)?;
        (image.runs, image.twins) = (0, image.twins + 1);
        let is_there =
            |site: &&Proved| code.get(site.start as usize..).is_some_and(|at| at.starts_with(&site.original));
        let batch = Batch::of(image.sites.iter().filter(is_there), agent.image.entries());
        let twin = Rc::new(Twin::new(mapping, code, batch, instead, (image.sites.len(), agent)).ok()?);
        image.twin = Some(Rc::clone(&twin));
        self.twins.push(Rc::clone(&twin));
        Some(twin)
    }

    /// The code, which leads to the agent, of the known sites of an image that a program has used in another process; or of all, where none
    /// has. Whether it is all.
    pub(super) fn batch(&mut self, program: Option<&Part>, part: &Part, entries: Entries) -> Option<(Rc<Batch>, bool)> {
        let image = self.images.get_mut(&part.key)?;
        let used = program.and_then(|program| self.ran.get_mut(&(program.key, part.key)));
        let Some(used) = used.filter(|used| !used.sites.is_empty()) else {
            let made = image.made.get_or_insert_with(|| Rc::new(Batch::of(&image.sites, entries)));
            return Some((Rc::clone(made), true));
        };
        let sites = image.sites.iter().filter(|site| used.sites.contains(&site.ip));
        let made = used.made.get_or_insert_with(|| Rc::new(Batch::of(sites, entries)));
        Some((Rc::clone(made), false))
    }
}

impl Batch {
    /// Sites whose code elsewhere is not told by addresses and distances are left out.
    fn of<'a>(sites: impl IntoIterator<Item = &'a Proved>, entries: Entries) -> Batch {
        /// So much further up the image is in another process, and so much more the trampolines. Both show in the lowest byte.
        const FURTHER: u64 = (1 << 36) + 0x11;
        const MORE: u64 = 0x0101_0101;
        let mut batch = Batch::default();
        let place = Place { further: FURTHER, more: MORE };
        for site in sites {
            let at = batch.trampolines.len();
            let base = TRAMPOLINES + at as u64;
            let here = site.code(ORIGIN, base, entries);
            let there = site.code(ORIGIN + FURTHER, base + FURTHER + MORE, entries);
            let (Some((code, own)), Some((other, moved))) = (here, there) else { continue };
            let data = window::data_of(code.len());
            let moving = Moving { short: differences(&code[..data], &other), long: vec![data + SITE_IP as usize] };
            if moving.applied(code.clone(), place) != other || own.moved(place) != moved {
                continue;
            }
            batch.moving.extend(&moving, at);
            batch.trampolines.extend(&code);
            batch.trampolines.resize(at + TRAMPOLINE_BYTES as usize, 0xcc);
            batch.sites.push((ORIGIN + site.ip, own));
        }
        batch.sites.sort_unstable_by_key(|(ip, _)| *ip);
        batch.ends = batch.sites.iter().flat_map(|(ip, site)| site.ends(*ip).map(|end| (end, *ip))).collect();
        let ranges = || batch.sites.iter().map(|(_, site)| site.range());
        let jumps = ranges().reduce(|all, jump| all.start.min(jump.start)..all.end.max(jump.end));
        batch.jumps = jumps;
        batch
    }

    /// Whether a site is among them, where the image is at a place.
    pub fn has(&self, place: Place, ip: u64) -> bool {
        let ip = place.back_in_image(ip);
        self.sites.binary_search_by_key(&ip, |(ip, _)| *ip).is_ok()
    }

    /// The address behind the `syscall` whose call ends at an address in the trampolines, where the image is at a place.
    pub fn end_of(&self, place: Place, addr: u64) -> Option<u64> {
        self.ends.get(&place.back_in_trampolines(addr)).map(|ip| place.in_image(*ip))
    }

    /// From the first jump to behind the last, where the image is at a place.
    pub fn jumps(&self, place: Place) -> Option<Range<u64>> {
        self.jumps.as_ref().map(|jumps| place.in_image(jumps.start)..place.in_image(jumps.end))
    }

    /// What is written into the image, by where it stands there, when the trampolines are at [`DISTANCE`].
    pub fn written(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.sites.iter().map(|(_, site)| (site.start - ORIGIN, &site.jump[..]))
    }

    /// What is there without.
    pub fn originals(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.sites.iter().map(|(_, site)| (site.start - ORIGIN, &site.original[..]))
    }

    /// The trampolines at [`DISTANCE`] from the image.
    pub fn trampolines(&self) -> &[u8] {
        &self.trampolines
    }

    /// Bytes of its trampolines.
    pub fn length(&self) -> u64 {
        self.trampolines.len() as u64
    }

    /// The trampolines for a place.
    pub fn moved(&self, place: Place) -> Vec<u8> {
        self.moving.applied(self.trampolines.clone(), place)
    }
}

impl Place {
    /// Of an image that begins at `start` and trampolines that do at `base`.
    pub fn new(start: u64, base: u64) -> Place {
        let further = start.wrapping_sub(ORIGIN);
        Place { further, more: base.wrapping_sub(TRAMPOLINES).wrapping_sub(further) }
    }

    pub fn in_image(self, addr: u64) -> u64 {
        addr.wrapping_add(self.further)
    }

    pub fn back_in_image(self, addr: u64) -> u64 {
        addr.wrapping_sub(self.further)
    }

    pub fn back_in_trampolines(self, addr: u64) -> u64 {
        self.back_in_image(addr).wrapping_sub(self.more)
    }

    pub fn in_trampolines(self, addr: u64) -> u64 {
        self.in_image(addr).wrapping_add(self.more)
    }

    /// A distance from the image to the trampolines.
    pub fn to_trampolines(self, distance: u32) -> u32 {
        distance.wrapping_add(self.more as u32)
    }
}

impl Moving {
    fn extend(&mut self, other: &Moving, by: usize) {
        self.short.extend(other.short.iter().map(|at| at + by));
        self.long.extend(other.long.iter().map(|at| at + by));
    }

    fn applied(&self, mut code: Vec<u8>, place: Place) -> Vec<u8> {
        for at in &self.short {
            change(&mut code, *at, |far| u32::from_le_bytes(far).wrapping_sub(place.more as u32).to_le_bytes());
        }
        for at in &self.long {
            change(&mut code, *at, |far| u64::from_le_bytes(far).wrapping_sub(place.more).to_le_bytes());
        }
        code
    }
}

/// Changes a number in code.
pub(super) fn change<const N: usize>(code: &mut [u8], at: usize, by: impl FnOnce([u8; N]) -> [u8; N]) {
    if let Some(Ok(number)) = code.get(at..at + N).map(<[u8; N]>::try_from) {
        code[at..at + N].copy_from_slice(&by(number));
    }
}

impl Begun {
    fn total(self) -> u32 {
        self.earlier.saturating_add(self.here).min(WORTH_BEGUN)
    }
}

impl Proved {
    /// Its trampoline, and what is put over it.
    fn code(&self, origin: u64, base: u64, entries: Entries) -> Option<(Vec<u8>, Site)> {
        let (ip, start) = (origin + self.ip, origin + self.start);
        let window = Window::of(&self.original, start, ip);
        let window::Patch { jump, trampoline, trap, behind, .. } =
            window::build(&window, (ip, Kind::Call), base, entries).ok()?;
        let (original, at) = (self.original.clone(), ip - CALL_BYTES);
        Some((trampoline, Site { start, original, jump, at, is_counter: false, base, trap, behind }))
    }
}

/// Adds what is known of a part of a file to a note: a line for the part, with its offset, its length, and how many programs began in it,
/// and one for each site, with its places in the part and what a jump goes over. All numbers are hexadecimal.
fn add_text(text: &mut String, (offset, length): (u64, u64), begun: Begun, sites: &[Proved]) {
    let _ = writeln!(text, "part {offset:x} {length:x} {:x}", begun.total());
    for site in sites {
        let _ = write!(text, "{:x} {:x} ", site.ip, site.start);
        site.original.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
        text.push('\n');
    }
}

/// How many programs began in a part, and its sites, by a note. What is not well-formed is left out; whether the code is what it says is
/// seen when it is patched.
fn from_text(text: &str, part: &Part) -> (u32, Vec<Proved>) {
    /// Most bytes that a jump goes over: a few instructions.
    const MOST_BYTES: usize = 64;
    let (_, offset, length) = part.key;
    let number = |word: Option<&str>| u64::from_str_radix(word?, 16).ok();
    let site = |line: &str| {
        let mut words = line.split(' ');
        let (ip, start) = (number(words.next())?, number(words.next())?);
        let bytes = words.next().filter(|bytes| bytes.len() <= 2 * MOST_BYTES && bytes.len().is_multiple_of(2))?;
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let original: Vec<u8> = bytes.as_bytes().chunks(2).map(byte).collect::<Option<_>>()?;
        let end = start.checked_add(original.len() as u64)?;
        let is_sound = ip <= length && end <= length && original.len() >= JUMP_BYTES;
        (is_sound && start.checked_add(CALL_BYTES)? <= ip && end >= ip - CALL_BYTES).then_some(Proved {
            ip,
            start,
            original,
        })
    };
    let header = format!("part {offset:x} {length:x} ");
    let mut lines = text.lines();
    let Some(begun) = lines.find_map(|line| line.strip_prefix(&header)) else { return (0, Vec::new()) };
    let begun = number(Some(begun)).map_or(0, |begun| begun.min(WORTH_BEGUN.into()) as u32);
    (begun, lines.take_while(|line| !line.starts_with("part ")).filter_map(site).take(MOST_SITES).collect())
}

/// Where distances differ in code that is the same but for them.
fn differences(one: &[u8], other: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while let (Some(byte), Some(others)) = (one.get(at), other.get(at)) {
        if byte != others {
            found.push(at);
            at += 3;
        }
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::sites::Sites;
    use super::*;

    const ENTRIES: Entries = Entries { call: 0x7000_0123, counter: 0 };

    /// Sites of which a jump goes over what stands before, over what follows with a jump out of it, and over a reference to data.
    fn proved() -> Vec<Proved> {
        let site = |ip: u64, start: u64, original: &[u8]| Proved { ip, start, original: original.to_vec() };
        vec![
            // mov eax, 39
            site(0x1007, 0x1000, &[0xb8, 39, 0, 0, 0]),
            // syscall; cmp rax, -4096; ja +0x40
            site(0x2002, 0x2000, &[0x0f, 0x05, 0x48, 0x3d, 0, 0xf0, 0xff, 0xff, 0x77, 0x40]),
            // mov rdi, [rip + 0x1000]
            site(0x3009, 0x3000, &[0x48, 0x8b, 0x3d, 0, 0x10, 0, 0]),
        ]
    }

    #[test]
    fn code_that_was_made_once_is_what_is_made_at_any_other_place() {
        let sites = proved();
        let batch = Batch::of(&sites, ENTRIES);
        assert_eq!(batch.sites.len(), sites.len());
        for (start, base) in [
            (0x7f12_3456_7000, 0x7f12_2000_0000),
            (0x5555_5555_4000, 0x5555_4abc_d000),
            (0x40_0000, 0x7800_0000),
            (ORIGIN, TRAMPOLINES),
        ] {
            let place = Place::new(start, base);
            let made = batch.moved(place);
            for (index, (proved, (ip, site))) in sites.iter().zip(&batch.sites).enumerate() {
                let at = index * TRAMPOLINE_BYTES as usize;
                let (code, expected) = proved.code(start, base + at as u64, ENTRIES).unwrap();
                assert_eq!(made[at..at + code.len()], code, "{start:#x} {base:#x} {index}");
                assert_eq!((place.in_image(*ip), site.moved(place)), (start + proved.ip, expected));
            }
        }
    }

    #[test]
    fn sites_that_were_placed_are_what_they_are_one_by_one() {
        let sites = proved();
        let batch = Rc::new(Batch::of(&sites, ENTRIES));
        let start = 0x7f12_3456_7000;
        let (range, place) = (start..start + 0x5000, Place::new(start, start - DISTANCE));
        let (mut placed, mut single) = (Sites::default(), Sites::default());
        placed.place(range.clone(), place, Rc::clone(&batch));
        for (ip, site) in &batch.sites {
            single.add(place.in_image(*ip), site.moved(place));
        }
        let ends: Vec<u64> = single.ends().into_keys().collect();
        assert_eq!(ends.len(), 2 * sites.len());
        let told = |sites: &Sites| {
            let all: Vec<(u64, Site)> = sites.all().iter().map(|(ip, site)| (*ip, site.clone())).collect();
            let own: Vec<Option<u64>> = ends.iter().map(|end| sites.end_of(*end)).collect();
            (all, own, sites.ends(), sites.is_empty(), sites.is_untouched())
        };
        assert_eq!(told(&placed), told(&single));
        for proved in &sites {
            let ip = start + proved.ip;
            assert!(placed.has(ip) && single.has(ip) && !placed.has(ip + 1) && !placed.is_counter(ip));
        }
        assert!(placed.is_apart(&(0..start)) && !placed.is_apart(&(start..start + 1)));
        let (first, last) = (start + sites[0].start, single.all().values().map(|site| site.range().end).max());
        assert_eq!(placed.jumps().map(|jumps| (jumps.start, jumps.end)).collect::<Vec<_>>(), [(first, last.unwrap())]);
        // One is taken away, and a part of the image; where their trampolines are is still known.
        for sites in [&mut placed, &mut single] {
            sites.all_mut().remove(&(start + 0x1007));
            sites.forget(&(start + 0x2000..start + 0x3000), |ip| (start + 0x2000..start + 0x3000).contains(&ip));
        }
        assert_eq!(told(&placed), told(&single));
        assert_eq!(placed.all().keys().collect::<Vec<_>>(), [&(start + 0x3009)]);
        // What is gone as a whole has nothing to be made of.
        let mut gone = Sites::default();
        gone.place(range.clone(), place, batch);
        gone.forget(&range, |ip| range.contains(&ip));
        assert!(gone.is_empty() && !gone.is_untouched() && gone.end_of(ends[0]).is_some());
    }

    #[test]
    fn a_twin_has_the_sites_that_are_there_and_what_else_is_replaced() {
        use std::io::Read as _;
        let file = FileId::of_numbers((1, 2), (3, 0), 0x9000, (0o10_0755, 0));
        let part = Part { key: (file, 0x1000, 0x5000), start: 0x7f00_0000_0000, length: 0x5000, prot: 5 };
        let path = b"/lib/some.so".to_vec();
        let mapping =
            Mapping { start: part.start, length: 0x5000, offset: 0x1000, prot: 5, shared: false, dev: 1, ino: 2, path };
        let mut known = Known::new(true);
        assert!(!known.wants_twin(&part, None));
        let mut code = vec![0x90; 0x5000];
        for proved in proved() {
            known.add(&part, part.start + proved.ip, part.start + proved.start, &proved.original);
            code[proved.start as usize..][..proved.original.len()].copy_from_slice(&proved.original);
        }
        // Another program is there, in place of one of them.
        code[0x2000] = 0x55;
        assert!(known.wants_twin(&part, None));
        let instead: Rc<Instead> = Rc::new(vec![(0x4000, vec![1, 2, 3])]);
        let image = crate::agent::image().unwrap();
        let agent = Agent { image, table: &[7; 16] };
        let twin = known.make_twin((&part, mapping.clone()), code.clone(), &instead, &agent).unwrap();
        assert_eq!((twin.sites(), twin.length()), (2, 0x5000));
        let [dev, ino] = twin.numbers();
        let mut bytes = Vec::new();
        let mut file = std::fs::File::open(twin.name().trim_end_matches('\0')).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        for (at, jump) in twin.batch.written() {
            assert_eq!((bytes[at as usize], jump.len() >= JUMP_BYTES), (0xe9, true));
            code[at as usize..][..jump.len()].copy_from_slice(jump);
        }
        code[0x4000..0x4003].copy_from_slice(&[1, 2, 3]);
        assert!(bytes.starts_with(&code) && bytes[0x5000..].starts_with(twin.batch.trampolines()));
        // Nobody may change it.
        let writes = std::fs::OpenOptions::new().write(true).open(twin.name().trim_end_matches('\0'));
        assert!(writes.and_then(|file| file.set_len(0)).is_err());
        let listed = Mapping { dev, ino, offset: 0, path: b"/memfd:trace-code (deleted)".to_vec(), ..mapping.clone() };
        assert_eq!(crate::twins::own(listed), mapping);
        // It is the one for what has the same replaced, and for nothing else.
        assert!(known.twin(&part, Some(&instead)).is_some() && known.has_twin_with(&instead));
        assert!(known.twin(&part, None).is_none() && known.twin(&part, Some(&Rc::default())).is_none());
        assert!(!known.wants_twin(&part, Some(&instead)) && !known.wants_twin(&part, None));
        known.add(&part, part.start + 0x3100, part.start + 0x30f9, &[0x90; 7]);
        assert!(known.wants_twin(&part, Some(&instead)));
    }

    #[test]
    fn what_is_known_of_a_file_is_of_one_state_of_it() {
        let part = |modified| {
            let file = FileId::of_numbers((1, 2), (modified, 0), 0x9000, (0o10_0755, 0));
            let mapping = Mapping {
                start: 0x7000_1000,
                length: 0x4fff,
                offset: 0x1000,
                prot: libc::PROT_EXEC as u64,
                shared: false,
                dev: 1,
                ino: 2,
                path: Vec::new(),
            };
            Part::of(&mapping, file).unwrap()
        };
        let (old, new) = (part(1), part(2));
        assert_eq!(old.range(), 0x7000_1000..0x7000_6000);
        let mut known = Known::default();
        let begun = |here| (Begun { here, earlier: 0 }, false);
        assert_eq!([known.begins(&old), known.begins(&old), known.begins(&new)], [begun(1), begun(2), begun(1)]);
        let (_, site) = proved()[0].code(old.start, 0x6000_0000, ENTRIES).unwrap();
        known.add(&old, old.start + 0x1007, site.start, &site.original);
        assert_eq!((known.begins(&old).1, known.begins(&new).1), (true, false));
        assert_eq!(known.insides(&old).first(), Some(&(0x7000_2001..0x7000_2005)));
        known.refuse(&old, old.start + 0x40, Refused::JumpedInto);
        known.refuse(&old, old.start + 0x50, Refused::OtherWay);
        let refusal = |part: &Part, at: u64| known.refusal(part, part.start + at);
        assert_eq!(refusal(&old, 0x40), Some(Refused::JumpedInto));
        assert_eq!((refusal(&old, 0x50), refusal(&new, 0x40)), (None, None));
    }

    #[test]
    fn what_was_learnt_stays_when_there_are_many_images() {
        let part = |ino: u64| {
            let file = FileId::of_numbers((1, ino), (3, 0), 0x9000, (0o10_0755, 0));
            Part { key: (file, 0, 0x5000), start: 0x7000_0000, length: 0x5000, prot: 5 }
        };
        let mut known = Known::default();
        let learnt = part(0);
        let (_, site) = proved()[0].code(learnt.start, 0x6000_0000, ENTRIES).unwrap();
        known.meet(&learnt, Some([7; 32]), |_| None);
        known.add(&learnt, learnt.start + 0x1007, site.start, &site.original);
        for ino in 1..3 * MOST_IMAGES as u64 {
            known.meet(&part(ino), Some([8; 32]), |_| None);
            assert!(known.images.len() <= MOST_IMAGES);
        }
        assert!(known.has_sites(&learnt));
        assert_eq!(known.notes().len(), 1);
    }

    #[test]
    fn the_next_process_of_a_program_gets_what_it_uses() {
        let part = |ino: u64| {
            let file = FileId::of_numbers((1, ino), (3, 0), 0x9000, (0o10_0755, 0));
            Part { key: (file, 0, 0x5000), start: 0x7000_0000, length: 0x5000, prot: 5 }
        };
        let (program, other, library) = (part(1), part(2), part(3));
        let mut known = Known::default();
        for proved in proved() {
            let (_, site) = proved.code(library.start, 0x6000_0000, ENTRIES).unwrap();
            known.add(&library, library.start + proved.ip, site.start, &site.original);
        }
        assert!(known.has_site(&library, library.start + 0x2002) && !known.has_site(&library, 0x2002));
        let sites = |known: &mut Known, program: Option<&Part>| {
            let (batch, is_all) = known.batch(program, &library, ENTRIES).unwrap();
            (batch.sites.iter().map(|(ip, _)| ip - ORIGIN).collect::<Vec<_>>(), is_all)
        };
        let all = (vec![0x1007, 0x2002, 0x3009], true);
        // One that is not known to have run it has used nothing.
        known.has_used(&program, &library, library.start + 0x2002);
        known.has_run(&program, &library);
        assert_eq!(sites(&mut known, Some(&program)), all);
        known.has_used(&program, &library, library.start + 0x2002);
        known.has_used(&program, &library, library.start + 0x4444);
        assert_eq!(sites(&mut known, Some(&program)), (vec![0x2002], false));
        known.has_used(&program, &library, library.start + 0x3009);
        assert_eq!(sites(&mut known, Some(&program)), (vec![0x2002, 0x3009], false));
        assert_eq!((sites(&mut known, Some(&other)), sites(&mut known, None)), (all.clone(), all));
    }

    #[test]
    fn what_was_noted_is_known_to_the_next_recording() {
        let file = FileId::of_numbers((1, 2), (3, 0), 0x9000, (0o10_0755, 0));
        let part =
            |offset: u64| Part { key: (file, offset, 0x5000), start: 0x7000_0000 + offset, length: 0x5000, prot: 5 };
        let (first, second) = (part(0x1000), part(0x8000));
        let mut known = Known::default();
        for part in [&first, &second] {
            known.meet(part, Some([7; 32]), |_| None);
        }
        assert!(known.notes().is_empty());
        for proved in proved() {
            let (_, site) = proved.code(first.start, 0x6000_0000, ENTRIES).unwrap();
            known.add(&first, first.start + proved.ip, site.start, &site.original);
        }
        let notes = known.notes();
        let [(hash, text)] = &notes[..] else { panic!("{notes:?}") };
        assert_eq!(hash, &[7; 32]);
        let mut next = Known::default();
        next.meet(&first, Some(*hash), |_| Some(text.clone()));
        next.meet(&second, Some(*hash), |_| Some(text.clone()));
        assert_eq!(next.insides(&first), known.insides(&first));
        assert!(next.has_sites(&first) && !next.has_sites(&second) && next.notes().is_empty());
    }

    #[test]
    fn how_many_began_is_counted_over_recordings_and_no_further_than_needed() {
        let file = FileId::of_numbers((1, 2), (3, 0), 0x9000, (0o10_0755, 0));
        let part = Part { key: (file, 0x1000, 0x5000), start: 0x7000_0000, length: 0x5000, prot: 5 };
        let mut text = None;
        for earlier in 0..WORTH_BEGUN {
            let mut known = Known::default();
            known.meet(&part, Some([7; 32]), |_| text.clone());
            assert!(known.notes().is_empty());
            assert_eq!(known.begins(&part), (Begun { here: 1, earlier }, false));
            text = Some(known.notes()[0].1.clone());
        }
        let mut known = Known::default();
        known.meet(&part, Some([7; 32]), |_| text);
        assert_eq!(known.begins(&part), (Begun { here: 1, earlier: WORTH_BEGUN }, false));
        assert!(known.notes().is_empty());
    }

    #[test]
    fn a_note_that_makes_no_sense_is_left_out() {
        let file = FileId::of_numbers((1, 2), (3, 0), 0x9000, (0o10_0755, 0));
        let part = Part { key: (file, 0, 0x5000), start: 0x7000_0000, length: 0x5000, prot: 5 };
        let sound = "1007 1000 b827000000";
        for line in [
            "",
            "part",
            "1007",
            "1007 1000",
            "1007 1000 ",
            "1007 1000 b8",
            "1007 1000 b8270000zz",
            "1007 1000 b82700000",
            "6007 6000 b827000000",
            "1007 1006 b827000000",
            "1 0 b827000000",
            "ffffffffffffffff 1000 b827000000",
            "1007 ffffffffffffffff b827000000",
            "2007 1000 b827000000",
            "1007 1000 \u{e4}\u{e4}\u{e4}\u{e4}\u{e4}",
        ] {
            let text = format!("part 0 5000 1\n{line}\n{sound}\npart 1 5000 1\n{sound}\n");
            let (_, found) = from_text(&text, &part);
            assert!(found.len() <= 1 && found.iter().all(|site| site.ip == 0x1007), "{line}");
            let _ = Batch::of(&found, ENTRIES);
        }
        assert!(from_text(sound, &part).1.is_empty());
        for (count, begun) in [("0", 0), ("2", 2), ("ffffffffffffffff", WORTH_BEGUN), ("-1", 0), ("", 0), ("1 2", 0)] {
            let (found, sites) = from_text(&format!("part 0 5000 {count}\n{sound}"), &part);
            assert_eq!((found, sites.len()), (begun, 1), "{count}");
        }
    }
}
