//! Code of files in which jumps lead to the agent already, and what else is replaced there: made once, in a file in memory, and mapped in
//! place of the code by each process that has it. Nothing is copied then, neither by the recorder nor page by page.
//!
//! Behind the code are its trampolines, which are mapped at a fixed distance in front of it, so that both are the same in all processes;
//! and behind those the agent itself.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::rc::Rc;

use libc::pid_t;
use trace_format::ring::{AREA_BYTES, BASE, DISTANCE, KNOWN, LENT, LENT_CODE, RESERVED_END, TABLE};

use super::Image;
use super::known::{Batch, Part, Place};
use super::remote::Call;
use crate::image::Mapping;
use crate::sys;
use crate::twins::{NAME, Registered};

/// What is written in place of other code, by where it stands in its mapping.
pub type Instead = Vec<(u64, Vec<u8>)>;

/// Longer code is not copied: libraries that make calls themselves are shorter.
pub const MOST_TWIN: u64 = LENT_CODE;

/// What is the agent in all processes of a recording: its code, and what it does for which call.
pub struct Agent<'a> {
    pub image: &'a Image,
    pub table: &'a [u8],
}

/// Code of a file, changed.
#[derive(Debug)]
pub struct Twin {
    file: File,
    dev: u64,
    ino: u64,
    length: u64,
    /// The sites in it that are patched.
    pub(super) batch: Rc<Batch>,
    /// What else has been replaced in it.
    pub instead: Rc<Instead>,
    /// So many sites were known when it was made.
    pub(super) known: usize,
    _registered: Registered,
}

impl Twin {
    /// Of the code that a process has mapped, with what is to be written over it, and jumps to trampolines.
    ///
    /// # Errors
    /// When there is no such file, or it cannot be written.
    pub(super) fn new(
        original: Mapping,
        mut code: Vec<u8>,
        batch: Batch,
        instead: &Rc<Instead>,
        (known, agent): (usize, &Agent<'_>),
    ) -> io::Result<Twin> {
        for (at, bytes) in batch.written().chain(instead.iter().map(|(at, bytes)| (*at, &bytes[..]))) {
            let at = at as usize;
            code.get_mut(at..at + bytes.len()).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(bytes);
        }
        let length = code.len() as u64;
        let whole = (length + AREA_BYTES + KNOWN - BASE).next_multiple_of(sys::LARGE_PAGE);
        let file = sys::memory_file(NAME, whole)?;
        file.write_all_at(&code, 0)?;
        file.write_all_at(batch.trampolines(), length)?;
        file.write_all_at(&agent.image.text, length + AREA_BYTES)?;
        file.write_all_at(agent.table, length + AREA_BYTES + TABLE - BASE)?;
        sys::collapse(&file, whole);
        // What all of them run, none of them is to change.
        sys::seal(&file)?;
        let meta = file.metadata()?;
        let (dev, ino) = (meta.dev(), meta.ino());
        let registered = Registered::new((dev, ino), original);
        let (batch, instead) = (Rc::new(batch), Rc::clone(instead));
        Ok(Twin { file, dev, ino, length, batch, instead, known, _registered: registered })
    }

    /// Device and inode.
    #[must_use]
    pub fn numbers(&self) -> [u64; 2] {
        [self.dev, self.ino]
    }

    /// The name that the recorder's descriptor has for all processes which may look at it, with its end.
    #[must_use]
    pub fn name(&self) -> String {
        format!("/proc/{}/fd/{}\0", std::process::id(), self.file.as_raw_fd())
    }

    /// The length of the code.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether a process has it mapped at an address.
    #[must_use]
    pub fn is_at(&self, tid: pid_t, start: u64) -> bool {
        let place = Place::new(start, start.wrapping_sub(DISTANCE));
        self.batch.sites.first().is_some_and(|(_, site)| site.moved(place).is_there(tid))
    }

    /// How many of its sites lead to the agent.
    #[must_use]
    pub fn sites(&self) -> u64 {
        self.batch.sites.len() as u64
    }

    /// Writes what the program has over the jumps, where a process has mapped it at an address: nothing leads to the agent then.
    ///
    /// # Errors
    /// When the code cannot be written, and leads to the agent still.
    pub fn undo(&self, tid: pid_t, start: u64) -> io::Result<()> {
        let pieces: Vec<(u64, &[u8])> = self.batch.originals().map(|(at, original)| (start + at, original)).collect();
        sys::write_code(tid, &pieces)
    }

    /// The call that maps the trampolines somewhere, if nothing is there, from a descriptor which is still missing.
    #[must_use]
    pub fn map_trampolines(&self, addr: u64) -> Call {
        mapping(addr, AREA_BYTES, libc::MAP_FIXED_NOREPLACE, self.length)
    }

    /// The call that maps the agent's code and table, in place of what is there.
    #[must_use]
    pub fn map_agent(&self) -> Call {
        mapping(BASE, KNOWN - BASE, libc::MAP_FIXED, self.length + AREA_BYTES)
    }

    /// The call that maps the code somewhere: in place of what is there, or, with another flag, where nothing is.
    #[must_use]
    pub fn map_code(&self, addr: u64, flag: i32) -> Call {
        mapping(addr, self.length, flag, 0)
    }
}

/// Where the code of a library waits until it is mapped, and its trampolines.
#[must_use]
pub fn lent(number: usize) -> (u64, u64) {
    let start = LENT + number as u64 * (LENT_CODE + AREA_BYTES);
    (start, start + LENT_CODE)
}

/// Where the trampolines of code have to be; `None` where they cannot be.
#[must_use]
pub fn trampolines_of(part: &Part) -> Option<u64> {
    let start = part.start.checked_sub(DISTANCE)?;
    let is_free = start >= RESERVED_END || start + AREA_BYTES <= BASE;
    is_free.then_some(start)
}

fn mapping(addr: u64, length: u64, flag: i32, offset: u64) -> Call {
    let prot = libc::PROT_READ | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | flag;
    Call::new(libc::SYS_mmap, &[addr, length, prot as u64, flags as u64, 0, offset])
}
