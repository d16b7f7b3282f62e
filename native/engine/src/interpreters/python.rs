//! Frames of CPython, versions 3.9 to 3.14, without its help: which interpreter a file holds, the frames of a thread, and how they
//! stand between the frames of the machine code.
//!
//! Where the version is another one, or its structures do not point at each other as they should, there are no such frames.

mod code;
mod layout;
mod lines;

use std::collections::HashMap;
use std::ops::Range;

use object::{Object as _, ObjectSection as _};

use super::Memory;
use crate::binary::Binary;
use crate::symbolize::Source;
use crate::{elf, sections};
pub use code::Place;
use code::{Codes, Stand};
use layout::{Chain, Layout};

/// Most pieces of the evaluating function: compilers make two.
const MOST_PIECES: usize = 16;
/// Most interpreters, and threads of each, that are looked through.
const MOST_INTERPRETERS: usize = 256;
const MOST_THREADS: usize = 16 << 10;
/// Most interpreters that one thread runs.
const MOST_STATES: usize = 8;
/// Most frames of a thread.
const MOST_FRAMES: usize = trace_format::limits::MAX_STACK_DEPTH as usize;
/// Most frames of a call that are passed over, when it runs more of them than are kept.
const MOST_SKIPPED: usize = 16 << 10;

/// Which version of CPython a file holds, and where; addresses as the file itself counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Of 3.11: 11.
    minor: u8,
    /// Of `_PyRuntime`.
    address: u64,
    /// The code of `_PyEval_EvalFrameDefault`, in pieces.
    evaluates: Vec<Range<u64>>,
}

impl Runtime {
    /// What a file says by its symbols: from 3.11 on by `Py_Version`, before by functions that came with a version ("Changed in
    /// version" in the reference of the C API). `None` when it holds no CPython, or one that is not known here.
    #[must_use]
    pub fn of(binary: &Binary) -> Option<Runtime> {
        let file = sections::open(binary)?;
        if !file.is_64() || !file.is_little_endian() {
            return None;
        }
        let dynamic = Symbols::of(file.dynamic_symbols());
        let symbols = if dynamic.runtime.is_some() { dynamic } else { Symbols::of(file.symbols()) };
        let address = symbols.runtime?;
        let minor = match symbols.version {
            Some(version) => minor_of(word_at(&file, version)?)?,
            None if symbols.has_new_ref => 10,
            None if symbols.has_frame_code => 9,
            None => return None,
        };
        let mut evaluates = symbols.evaluates;
        if minor == layout::COUNTED {
            // Pieces that the compiler has put elsewhere have no exported name.
            evaluates.extend(Symbols::of(file.symbols()).evaluates);
            evaluates.truncate(MOST_PIECES);
        }
        Some(Runtime { minor, address, evaluates })
    }

    fn evaluates(&self, address: u64) -> bool {
        self.evaluates.iter().any(|range| range.contains(&address))
    }
}

#[derive(Default)]
struct Symbols {
    runtime: Option<u64>,
    version: Option<u64>,
    has_new_ref: bool,
    has_frame_code: bool,
    evaluates: Vec<Range<u64>>,
}

impl Symbols {
    fn of<'d>(all: impl Iterator<Item = impl object::ObjectSymbol<'d>>) -> Symbols {
        let mut found = Symbols::default();
        for (name, symbol) in elf::named(all.filter(object::ObjectSymbol::is_definition)) {
            match name {
                b"_PyRuntime" => found.runtime = Some(symbol.address()),
                b"Py_Version" => found.version = Some(symbol.address()),
                b"Py_NewRef" => found.has_new_ref = true,
                b"PyFrame_GetCode" => found.has_frame_code = true,
                b"_PyEval_EvalFrameDefault" | b"_PyEval_EvalFrameDefault.cold"
                    if found.evaluates.len() < MOST_PIECES =>
                {
                    let end = symbol.address().saturating_add(symbol.size());
                    found.evaluates.push(symbol.address()..end);
                }
                _ => {}
            }
        }
        found
    }
}

/// The word that a file has at an address.
fn word_at(file: &object::File<'_>, address: u64) -> Option<u64> {
    file.sections().find_map(|section| {
        let bytes = section.data_range(address, 8).ok()??;
        bytes.try_into().ok().map(u64::from_le_bytes)
    })
}

/// 11 of 3.11.7, which is 0x030b07f0 (`PY_VERSION_HEX`, "API and ABI Versioning").
fn minor_of(version: u64) -> Option<u8> {
    (version >> 24 == 3).then_some((version >> 16) as u8).filter(|minor| layout::KNOWN.contains(minor))
}

/// A frame of machine code, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Native {
    /// An address inside its instruction, as its file counts, when the file is the one with the interpreter.
    pub inside: Option<u64>,
    /// The stack pointer there.
    pub sp: u64,
}

/// A thread of a stopped process.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// `pthread_self()` of the thread, which is where its %fs points.
    pub pthread: u64,
    /// The process and its program: what was read of code objects is kept for each.
    pub process: u64,
    /// Added to an address of the interpreter's file to get the one in memory.
    pub bias: u64,
}

/// Frames that one call of the evaluating function runs.
#[derive(Debug, Default)]
struct Run {
    /// An address in the stack frame of that function, where there is one.
    anchor: Option<u64>,
    places: Vec<Place>,
}

/// Reads frames of Python; holds what is worth keeping from one stack to the next.
#[derive(Debug, Default)]
pub struct Reader {
    codes: Codes,
    layouts: HashMap<(u64, u64), Layout>,
}

impl Reader {
    /// The frames of Python of a thread whose stack of machine code is `native`, innermost first: by native frame that is to be
    /// replaced, ascending, its number, and its frames of Python, innermost first. `is_whole`: it goes to the outermost one.
    pub fn frames(
        &mut self,
        runtime: &Runtime,
        thread: Thread,
        native: &[Native],
        is_whole: bool,
        memory: &mut impl Memory,
    ) -> Vec<(usize, Vec<Place>)> {
        let Some((layout, runs)) = self.all_runs(runtime, thread, memory) else { return Vec::new() };
        let mut found = match layout.chain {
            Chain::Counted { .. } => counted(runtime, runs, native, is_whole),
            _ => anchored(runs, native),
        };
        found.sort_by_key(|(index, _)| *index);
        // Two interpreters that claim one native frame: which of them is right is not known.
        if found.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Vec::new();
        }
        found.retain(|(_, places)| !places.is_empty());
        found
    }

    /// The function, file and line of a frame.
    #[must_use]
    pub fn source(&self, place: Place) -> Source {
        self.codes.source(place)
    }

    /// Reads all that [`Reader::frames`] would read of a thread.
    pub fn touch(&mut self, runtime: &Runtime, thread: Thread, memory: &mut impl Memory) {
        self.all_runs(runtime, thread, memory);
    }

    fn all_runs(&mut self, runtime: &Runtime, thread: Thread, memory: &mut impl Memory) -> Option<(Layout, Vec<Run>)> {
        let at = runtime.address.wrapping_add(thread.bias);
        let known = self.layouts.get(&(thread.process, at)).copied();
        // Before the interpreter has started its structures may say nothing yet.
        let layout = known.or_else(|| layout::read(runtime.minor, at, memory))?;
        self.layouts.insert((thread.process, at), layout);
        let mut runs = Vec::new();
        for state in states_of(&layout, at, thread.pthread, memory) {
            runs.extend(self.runs(&layout, state, thread.process, memory));
        }
        Some((layout, runs))
    }

    /// The frames of a thread state in pieces, innermost first.
    fn runs(&mut self, layout: &Layout, state: u64, process: u64, memory: &mut impl Memory) -> Vec<Run> {
        let mut walk = Walk { layout, process, codes: &mut self.codes, memory, left: MOST_FRAMES };
        match layout.chain {
            Chain::Counted { frame } => walk.linked(state, frame, None),
            Chain::PerCall { frame, call, before } => walk.linked(state, frame, Some((call, before))),
            Chain::Entries { call, current, before, is_outermost } => {
                walk.entries(state, call, current, (before, is_outermost))
            }
            Chain::Shims { call, current } => walk.shims(state, call, current),
        }
        .unwrap_or_default()
    }
}

/// The states of a thread, of each interpreter that has one.
fn states_of(layout: &Layout, runtime: u64, pthread: u64, memory: &mut impl Memory) -> Vec<u64> {
    let mut found = Vec::new();
    if pthread == 0 {
        return found;
    }
    let mut interpreter = memory.word(runtime.wrapping_add(layout.interpreters)).unwrap_or(0);
    let mut threads = 0;
    for _ in 0..MOST_INTERPRETERS {
        if interpreter == 0 {
            break;
        }
        let mut state = memory.word(interpreter.wrapping_add(layout.threads)).unwrap_or(0);
        while state != 0 && threads < MOST_THREADS {
            threads += 1;
            // A wrong idea of the structures shows here.
            if memory.word(state.wrapping_add(layout.state_interpreter)) != Some(interpreter) {
                return Vec::new();
            }
            if memory.word(state.wrapping_add(layout.state_thread)) == Some(pthread) {
                found.push(state);
                if found.len() > MOST_STATES {
                    return Vec::new();
                }
            }
            state = memory.word(state.wrapping_add(layout.state_next)).unwrap_or(0);
        }
        interpreter = memory.word(interpreter.wrapping_add(layout.interpreter_next)).unwrap_or(0);
    }
    found
}

/// Following the frames of one thread state.
struct Walk<'w, M> {
    layout: &'w Layout,
    process: u64,
    codes: &'w mut Codes,
    memory: &'w mut M,
    left: usize,
}

impl<M: Memory> Walk<'_, M> {
    fn word(&mut self, base: u64, offset: u64) -> Option<u64> {
        self.memory.word(base.wrapping_add(offset))
    }

    /// Where a frame is; nothing when it cannot be read, or there are too many.
    fn stand(&mut self, frame: u64) -> Option<Stand> {
        self.left = self.left.checked_sub(1)?;
        self.codes.stand(self.layout, self.process, frame, self.memory)
    }

    /// 3.9 and 3.10: frame objects, each of which is run by a call of its own.
    fn linked(&mut self, state: u64, first: u64, calls: Option<(u64, u64)>) -> Option<Vec<Run>> {
        let mut runs = Vec::new();
        let mut frame = self.word(state, first)?;
        let mut call = match calls {
            Some((current, _)) => Some(self.word(state, current)?),
            None => None,
        };
        while frame != 0 {
            let Some(stand) = self.stand(frame) else { break };
            runs.push(Run { anchor: call, places: stand.place().into_iter().collect() });
            frame = self.word(frame, self.layout.frame_previous)?;
            if let (Some(at), Some((_, before))) = (call, calls) {
                call = Some(self.word(at, before)?);
            }
        }
        Some(runs)
    }

    /// 3.11: each call has a structure on the stack of the machine, and its outermost frame says so.
    fn entries(&mut self, state: u64, call: u64, current: u64, (before, is_outermost): (u64, u64)) -> Option<Vec<Run>> {
        let mut runs = Vec::new();
        let mut at = self.word(state, call)?;
        while at != 0 && self.left > 0 {
            let mut run = Run { anchor: Some(at), places: Vec::new() };
            let mut frame = self.word(at, current)?;
            // A call that has not got a frame yet has that of its caller.
            let is_shared = self.word(at, before).filter(|outer| *outer != 0);
            let is_shared = is_shared.and_then(|outer| self.word(outer, current)) == Some(frame);
            while frame != 0 && !is_shared {
                let Some(stand) = self.stand(frame) else { break };
                run.places.extend(stand.place());
                if self.memory.byte(frame.wrapping_add(is_outermost))? != 0 {
                    break;
                }
                frame = self.word(frame, self.layout.frame_previous)?;
            }
            runs.push(run);
            self.left = self.left.saturating_sub(1);
            at = self.word(at, before)?;
        }
        Some(runs)
    }

    /// From 3.12 on: the outermost frame of each call is one without a program, on the stack of the machine.
    fn shims(&mut self, state: u64, call: Option<u64>, current: u64) -> Option<Vec<Run>> {
        let holder = match call {
            Some(call) => self.word(state, call)?,
            None => state,
        };
        let mut frame = self.word(holder, current)?;
        let owner_at = self.layout.frame_owner?;
        let mut runs = Vec::new();
        let mut run = Run::default();
        while frame != 0 {
            let owner = self.memory.byte(frame.wrapping_add(owner_at))?;
            if owner >= layout::OWNED_BY_STACK {
                run.anchor = Some(frame);
                runs.push(std::mem::take(&mut run));
                let Some(left) = self.left.checked_sub(1) else { break };
                self.left = left;
            } else {
                let Some(stand) = self.stand(frame) else {
                    // The innermost ones of that call are shown all the same.
                    run.anchor = self.shim_around(frame, owner_at);
                    runs.push(run);
                    break;
                };
                run.places.extend(stand.place());
            }
            frame = self.word(frame, self.layout.frame_previous)?;
        }
        Some(runs)
    }

    /// The outermost frame of the call that a frame belongs to; nothing when it is too far away, or cannot be read.
    fn shim_around(&mut self, frame: u64, owner_at: u64) -> Option<u64> {
        let mut frame = frame;
        for _ in 0..MOST_SKIPPED {
            if self.memory.byte(frame.wrapping_add(owner_at))? >= layout::OWNED_BY_STACK {
                return Some(frame);
            }
            frame = self.word(frame, self.layout.frame_previous).filter(|outer| *outer != 0)?;
        }
        None
    }
}

/// Runs whose anchors lie in the stack frames of native frames, which are innermost first. How far the last one reaches is not known.
fn anchored(runs: Vec<Run>, native: &[Native]) -> Vec<(usize, Vec<Place>)> {
    let mut spans: Vec<(Range<u64>, usize)> =
        native.windows(2).enumerate().map(|(index, pair)| (pair[0].sp..pair[1].sp, index)).collect();
    // A thread may have several stacks, of which an inner one need not be the lower one.
    spans.retain(|(span, _)| !span.is_empty());
    spans.sort_unstable_by_key(|(span, _)| span.start);
    let around = |anchor: u64| {
        let next = spans.partition_point(|(span, _)| span.start <= anchor);
        spans[..next].last().filter(|(span, _)| span.contains(&anchor)).map(|(_, index)| *index)
    };
    let of = |run: Run| Some((around(run.anchor?)?, run.places));
    runs.into_iter().filter_map(of).collect()
}

/// One run for each native frame of the evaluating function, when there are as many.
fn counted(runtime: &Runtime, runs: Vec<Run>, native: &[Native], is_whole: bool) -> Vec<(usize, Vec<Place>)> {
    let evaluating: Vec<usize> =
        (0..native.len()).filter(|index| native[*index].inside.is_some_and(|at| runtime.evaluates(at))).collect();
    if evaluating.len() > runs.len() || (is_whole && evaluating.len() < runs.len()) {
        return Vec::new();
    }
    evaluating.into_iter().zip(runs.into_iter().map(|run| run.places)).collect()
}

#[cfg(test)]
mod tests;
