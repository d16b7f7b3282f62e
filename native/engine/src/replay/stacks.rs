//! Taking stacks while a replay goes from event to event: a thread stands where its event begins, so that its registers and
//! memory are those of the recorded program at that moment.

use std::collections::HashMap;

use libc::pid_t;
use trace_format::event::{EventKind, Side};

use super::event::Event;
use super::files::Files;
use super::pages::Pages;
use super::scan;
use super::tracee::{At, Thread};
use super::watch::{Halt, lost};
use crate::image;
use crate::interpreters::Memory as _;
use crate::reader::Trace;
use crate::stacks::NOTHING;
use crate::stacks::collect::{Collector, Moment, Region, region_at};
use crate::store::Hash;
use crate::symbolize::Source;
use crate::sys;
use crate::unwind::{Code, End, Process, Registers};

/// Of which events stacks are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The first and the last one.
    pub from: u64,
    pub to: u64,
    /// Only these, in ascending order.
    pub only: Option<Vec<u64>>,
}

impl Wanted {
    /// Of none.
    pub const NOTHING: Wanted = Wanted { from: 1, to: 0, only: None };

    /// Whether the stack of an event is.
    #[must_use]
    pub fn has(&self, seq: u64) -> bool {
        (self.from..=self.to).contains(&seq) && self.only.as_ref().is_none_or(|only| only.binary_search(&seq).is_ok())
    }
}

/// Takes stacks of replayed threads.
pub struct Taker<'a> {
    wanted: &'a Wanted,
    files: &'a Files<'a>,
    trace: &'a Trace,
    pub collector: Collector<'a>,
    /// Executable memory by process; forgotten when a call may have changed it.
    spaces: HashMap<pid_t, Vec<Region>>,
    memory: Pages,
}

impl<'a> Taker<'a> {
    #[must_use]
    pub fn new(trace: &'a Trace, files: &'a Files<'a>, wanted: &'a Wanted) -> Taker<'a> {
        let collector = Collector::new(trace);
        Taker { wanted, files, trace, collector, spaces: HashMap::new(), memory: Pages::default() }
    }

    /// Whether the stack of an event is wanted.
    #[must_use]
    pub fn wants(&self, event: &Event<'_>) -> bool {
        matches!(event.kind(), EventKind::Call | EventKind::Signal) && self.wanted.has(event.seq())
    }

    /// An event is about to be applied to its thread.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn before(&mut self, event: &Event<'_>, thread: Option<&mut Thread>) -> Result<(), Halt> {
        if event.kind() == EventKind::Map
            && let Some(hash) = event.captured(2, Side::In).and_then(|bytes| Hash::try_from(bytes).ok())
        {
            let path = || event.captured(0, Side::In).unwrap_or_default().to_vec();
            self.collector.paths.entry(hash).or_insert_with(path);
        }
        if self.wants(event) {
            match thread {
                Some(thread) if !matches!(thread.at, At::Ended(_)) => self.take(event, thread)?,
                _ => self.collector.row(event.seq(), NOTHING),
            }
        }
        if changes_code(event) {
            self.spaces.clear();
        }
        Ok(())
    }

    /// Where a stopped thread is, and who called that, innermost first: return addresses, and functions of an interpreter.
    pub fn callers(&mut self, (pid, tid): (pid_t, pid_t), regs: &libc::user_regs_struct) -> (Vec<u64>, Vec<Source>) {
        let end = self.unwind((pid, tid), regs);
        let regions = self.spaces.get(&pid).map(Vec::as_slice).unwrap_or_default();
        let moment = Moment { seq: 0, process: 0, space: u64::from(pid.cast_unsigned()), thread_pointer: regs.fs_base };
        let script = self.collector.script(moment, end, regions, &mut self.memory);
        (self.collector.addresses(), script)
    }

    fn take(&mut self, event: &Event<'_>, thread: &mut Thread) -> Result<(), Halt> {
        let tid = thread.tid;
        let mut regs = if thread.is_borrowed() {
            *thread.registers()?
        } else {
            sys::registers(tid).map_err(|error| lost(tid, &error))?
        };
        if let At::Call(info) = &thread.at {
            // It may have made the call elsewhere, for the agent.
            regs.rip = info.ip;
        }
        let pid = thread.pid();
        let end = self.unwind((pid, tid), &regs);
        let regions = self.spaces.get(&pid).map(Vec::as_slice).unwrap_or_default();
        let process = self.trace.definitions().threads().get(event.thread() as usize).map_or(0, |one| one.process);
        let space = u64::from(pid.cast_unsigned());
        let moment = Moment { seq: event.seq(), process, space, thread_pointer: regs.fs_base };
        self.collector.add(moment, end, regions, &mut self.memory);
        Ok(())
    }

    /// Finds the frames of a stopped thread.
    fn unwind(&mut self, (pid, tid): (pid_t, pid_t), regs: &libc::user_regs_struct) -> End {
        if !self.spaces.contains_key(&pid) {
            let regions = self.regions(pid);
            self.spaces.insert(pid, regions);
        }
        let regions = self.spaces.get(&pid).map(Vec::as_slice).unwrap_or_default();
        self.memory.stop(tid);
        self.collector.unwind(Registers::of(regs), &mut StoppedThread { memory: &mut self.memory, regions })
    }

    /// The executable memory of a process, with what is known of the files behind it.
    fn regions(&mut self, pid: pid_t) -> Vec<Region> {
        let mappings = image::mappings(pid).into_iter().filter(|mapping| mapping.prot & 4 != 0);
        mappings
            .map(|mapping| {
                let end = mapping.start.saturating_add(mapping.length);
                let hash = self.files.hash_behind(&mapping);
                self.collector.region(mapping.start, end, mapping.offset, hash)
            })
            .collect()
    }
}

/// Whether an event may change what is executable, or which file is behind it.
fn changes_code(event: &Event<'_>) -> bool {
    const EXEC: u64 = libc::PROT_EXEC as u64;
    match event.kind() {
        EventKind::Exec | EventKind::Task => true,
        EventKind::Call => match scan::name(event) {
            // Of the old i386 call the protection is in memory.
            "mmap" | "mmap2" => {
                event.arch() != 0 || event.arg(2) & EXEC != 0 || event.arg(3) & libc::MAP_FIXED as u64 != 0
            }
            "mprotect" | "pkey_mprotect" => true,
            "munmap" | "mremap" | "remap_file_pages" | "shmat" | "shmdt" => true,
            _ => false,
        },
        _ => false,
    }
}

/// A stopped thread.
struct StoppedThread<'t> {
    memory: &'t mut Pages,
    regions: &'t [Region],
}

impl Process for StoppedThread<'_> {
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> bool {
        self.memory.read(addr, buffer)
    }

    fn code_at(&mut self, addr: u64) -> Option<Code> {
        region_at(self.regions, addr).map(|region| region.code.clone())
    }
}
