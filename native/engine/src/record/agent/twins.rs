//! Code in which jumps lead to the agent already, which processes map in place of their loader's and their libraries' (`agent/twin.rs`):
//! when it is made, and who gets it.
//!
//! A loader's is mapped before the program runs. Those of libraries wait on the agent's pages until the agent maps the library: only in
//! processes of programs that have made calls in it before, since others may only read it (`patch_known`).

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::rc::Rc;

use libc::pid_t;
use trace_format::ring::block;

use crate::agent::known::Part;
use crate::agent::ring::Ring;
use crate::agent::twin::{self, Instead, Twin};
use crate::image::{self, FileId};
use crate::record::{Recorder, World};
use crate::sys;
use crate::task::{Space, Task};

impl Recorder {
    /// The code that a new program begins with, and what is to be mapped in its place.
    pub(super) fn twin_to_begin(&mut self, tid: pid_t, begins: u64) -> Option<(Part, Rc<Twin>)> {
        let (agent, task) = (self.world.agent.as_mut()?, self.tasks.get(&tid)?);
        let (part, spared) = {
            let space = task.space.borrow();
            let part = space.code.part_at(begins)?;
            if has_traps(&space, &part) {
                return None;
            }
            (part, space.spared.as_ref().map(|spared| Rc::clone(&spared.instead)))
        };
        let instead = spared.as_ref();
        if agent.known.wants_twin(&part, instead) {
            self.write_spared(tid);
            let task = self.tasks.get(&tid)?;
            self.world.make_twin(task, &part, instead);
        }
        let twin = self.world.agent.as_ref()?.known.twin(&part, instead)?;
        Some((part, twin))
    }

    /// Writes what is to stand in place of some of a loader's code, where nothing was mapped that has it.
    pub(super) fn write_spared(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let space = &mut *task.space.borrow_mut();
        let (Some(spared), Some(loader)) = (&mut space.spared, &space.loader) else { return };
        if !std::mem::replace(&mut spared.is_written, true) && !loader.write(tid, &spared.instead) {
            self.world.note("what a program's loader was to be spared could not be written: its replay may differ");
        }
    }
}

impl World {
    /// Makes a twin of code that a process has mapped. It is read from its file: what a process has in memory it may have changed, and others
    /// are to run this.
    pub(super) fn make_twin(&mut self, task: &Task, part: &Part, instead: Option<&Rc<Instead>>) {
        let Some(agent) = &mut self.agent else { return };
        let Some(mapping) = image::executable_mapping_at(task.tid, part.start) else { return };
        if sys::is_served(mapping.dev) {
            return;
        }
        let is_whole = (mapping.start, mapping.length) == (part.start, part.length);
        let there = image::reachable(task.tid, &mapping.path);
        let Some(code) = is_whole.then(|| code_in(&there, part)).flatten() else { return };
        let instead = instead.cloned().unwrap_or_default();
        let own = twin::Agent { image: agent.image, table: &agent.table };
        agent.known.make_twin((part, mapping), code, &instead, &own);
    }

    /// A library's code runs in a process, or has been mapped to be run: others get a twin of it, if that is worth it.
    pub(super) fn runs_library(&mut self, task: &Task, part: &Part) {
        let Some(agent) = &mut self.agent else { return };
        let is_other = {
            let space = task.space.borrow();
            space.loader.is_some_and(|loader| loader.start == part.start) || has_traps(&space, part)
        };
        if is_other || !agent.known.wants_twin(part, None) {
            return;
        }
        self.make_twin(task, part, None);
        let Some(agent) = &mut self.agent else { return };
        if let Some(twin) = agent.known.twin(part, None) {
            agent.libraries.retain(|(other, _)| !other.is_same(part));
            agent.libraries.push((*part, twin));
        }
    }

    /// What is to wait for the libraries of a new program: twins of those that its like have made calls in.
    pub(super) fn twins_to_lend(&self, task: &Task) -> Vec<Rc<Twin>> {
        let Some(agent) = self.agent.as_ref().filter(|_| self.replayable) else { return Vec::new() };
        let code = &task.space.borrow().code;
        let Some(program) = code.program() else { return Vec::new() };
        let runs = |(part, twin): &(Part, Rc<Twin>)| agent.known.runs(program, part).then(|| Rc::clone(twin));
        agent.libraries.iter().filter_map(runs).take(block::TWINS as usize).collect()
    }

    /// Tells a new task's agent which files are kept, and which of them are libraries whose twins wait.
    pub(super) fn keep_and_lend(&self, task: &Task, ring: &Ring) {
        const CODE_WORD: usize = block::KEPT_WORDS as usize - 1;
        let lent = &task.space.borrow().code.lent;
        let libraries = self.agent.as_ref().map_or(&[][..], |agent| &agent.libraries);
        let number_of =
            |twin: &Rc<Twin>| lent.iter().position(|lent| lent.as_ref().is_some_and(|own| Rc::ptr_eq(own, twin)));
        let lent: Vec<(usize, &Part, &Rc<Twin>)> =
            libraries.iter().filter_map(|(part, twin)| Some((number_of(twin)?, part, twin))).collect();
        for (number, part, twin) in &lent {
            ring.lend(*number, twin.length(), part.file().1);
        }
        for (index, words) in self.kept_files.iter().enumerate() {
            let mut words = *words;
            let is_of = |part: &Part| {
                let file = part.file().0;
                let ((dev, ino), (seconds, nanoseconds, size)) = (file.numbers(), file.state());
                words[..5] == [dev, ino, size, seconds as u64, nanoseconds as u64]
            };
            if let Some((number, ..)) = lent.iter().find(|(_, part, _)| is_of(part)).filter(|_| words[CODE_WORD] != 0) {
                words[CODE_WORD] = 2 + *number as u64;
            }
            ring.keep(index, &words);
        }
    }

    /// A library was mapped whose twin has taken its place.
    pub(in crate::record) fn has_put_twin(&mut self, task: &Task, part: &Part, twin: &Twin) {
        let Some(agent) = &mut self.agent else { return };
        agent.counts.patched += twin.sites();
        let parts = {
            let code = &mut task.space.borrow_mut().code;
            code.has_twin(part, twin);
            code.parts()
        };
        if let Some(ring) = &task.ring {
            ring.set_code(&parts);
        }
        self.runs_library(task, part);
    }
}

/// Whether instructions were made to trap in a part of a process: they do not in its file, nor in a twin.
fn has_traps(space: &Space, part: &Part) -> bool {
    space.unseen.iter().any(|(addr, _)| part.range().contains(addr))
}

/// The code of a part in its file, as it is mapped; `None` when the file is another one by now.
fn code_in(path: &Path, part: &Part) -> Option<Vec<u8>> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let (state, offset) = part.file();
    let meta = file.metadata().ok().filter(|meta| FileId::settled(meta) == Some(state))?;
    let mut code = vec![0; part.length as usize];
    // Behind the end of the file a mapping has zeros, up to the end of its page.
    let there = meta.len().checked_sub(offset)?.min(part.length) as usize;
    file.read_exact_at(&mut code[..there], offset).ok()?;
    Some(code)
}

/// A signal has found a task behind the call that mapped something at an address: which twin is there by now. What was begun and not
/// completed stays, as trampolines that nobody uses.
pub(super) fn twin_put(task: &Task, start: u64) -> Option<(u64, Rc<Twin>)> {
    let ring = task.ring.as_ref()?;
    let code = &mut task.space.borrow_mut().code;
    let found = code.lent.iter_mut().find_map(|lent| lent.take_if(|twin| twin.is_at(task.tid, start)));
    match (found, ring.take_moving()) {
        (Some(twin), _) => return Some((start, twin)),
        (None, Some(place)) => code.has_left_over(place),
        (None, None) => {}
    }
    None
}
