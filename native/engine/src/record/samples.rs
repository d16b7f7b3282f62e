//! Copies of threads that enter chosen calls, for stacks that are made afterwards (`record --stacks`): registers, the end of the
//! stack, and the structures of an interpreter that stands on it. Other calls cost nothing.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use libc::pid_t;

use crate::binary::Binary;
use crate::capture::Call;
use crate::image;
use crate::interpreters::Touched;
use crate::interpreters::python::{self, Runtime};
use crate::stacks::samples::Sample;
use crate::sys;
use crate::task::Task;
use crate::unwind::module::Module;

/// Bytes below the stack pointer that are the program's ("red zone", psABI of x86-64, 3.2.2).
const RED_ZONE: u64 = 128;
/// Bytes of an interpreter's structures that are copied at most.
const MOST_STRUCTURES: usize = 1 << 20;
/// Most files that are remembered.
const MOST_FILES: usize = 1 << 12;

/// Of which calls threads are copied, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Names of the calls; all when absent.
    pub calls: Option<Vec<String>>,
    /// Bytes of stack.
    pub bytes: u32,
}

impl Wanted {
    /// Bytes of stack when nothing else is said, and at most.
    pub const USUAL: u32 = 16 << 10;
    pub const MOST: u32 = 1 << 20;
}

/// The interpreter in a file, if there is one, and where the file has what.
type Interpreter = Option<Rc<(Runtime, Module)>>;
/// The same in a process, and what is added to addresses of the file.
type Running = Option<(Rc<(Runtime, Module)>, u64)>;

pub(super) struct Sampler {
    calls: Option<HashSet<String>>,
    bytes: usize,
    /// By device and inode.
    files: HashMap<(u64, u64), Interpreter>,
    /// Of each process; forgotten when something is mapped.
    running: HashMap<pid_t, Running>,
    buffer: Vec<u8>,
}

impl Sampler {
    pub fn new(wanted: &Wanted) -> Sampler {
        Sampler {
            calls: wanted.calls.as_ref().map(|calls| calls.iter().cloned().collect()),
            bytes: wanted.bytes.clamp(RED_ZONE as u32, Wanted::MOST) as usize,
            files: HashMap::new(),
            running: HashMap::new(),
            buffer: Vec::new(),
        }
    }

    /// Whether threads are copied at calls of this name.
    pub fn wants(&self, name: &str) -> bool {
        self.calls.as_ref().is_none_or(|calls| calls.contains(name))
    }

    /// Other files are executable from now on.
    pub fn forget(&mut self) {
        self.running.clear();
    }

    /// A thread that stands at the entry of a call.
    pub fn take(&mut self, task: &Task, call: &Call) -> Option<Box<Sample>> {
        let mut regs = sys::registers(task.tid).ok()?;
        // It may stand in a copy of its code.
        (regs.rip, regs.rsp) = (call.ip, call.sp);
        let mut sample = Box::new(Sample { entry: call.entry_seq, thread: task.index, ..Sample::default() });
        sample.set_registers(&regs);
        let start = regs.rsp.saturating_sub(RED_ZONE);
        self.buffer.clear();
        self.buffer.resize(self.bytes, 0);
        let got = sys::read_pieces(task.tid, &[(start, self.bytes)], &mut self.buffer);
        sample.add(start, &self.buffer[..got]);
        if let Some((interpreter, bias)) = self.interpreter(task) {
            let tid = task.tid;
            let mut memory = Touched::new(MOST_STRUCTURES, |addr, page: &mut [u8; 4096]| {
                sys::read_pieces(tid, &[(addr, page.len())], page) == page.len()
            });
            let thread = python::Thread { pthread: regs.fs_base, process: 0, bias };
            // What it reads now is what it will ask for again.
            python::Reader::default().touch(&interpreter.0, thread, &mut memory);
            memory.pieces(|start, bytes| sample.add(start, bytes));
        }
        Some(sample)
    }

    fn interpreter(&mut self, task: &Task) -> Running {
        let pid = task.process.borrow().pid;
        if let Some(known) = self.running.get(&pid) {
            return known.clone();
        }
        let found = self.find(task.tid);
        self.running.insert(pid, found.clone());
        found
    }

    fn find(&mut self, tid: pid_t) -> Running {
        let mappings = image::mappings(tid).into_iter().filter(|mapping| mapping.prot & 4 != 0 && mapping.ino != 0);
        for mapping in mappings {
            if self.files.len() >= MOST_FILES {
                self.files.clear();
            }
            let interpreter = self.files.entry((mapping.dev, mapping.ino)).or_insert_with(|| {
                let binary = Binary::map(&image::reachable(tid, &mapping.path))?;
                let runtime = Runtime::of(&binary)?;
                Some(Rc::new((runtime, Module::new(Arc::new(binary))?)))
            });
            let Some(interpreter) = interpreter else { continue };
            let Some(address) = interpreter.1.address_of(mapping.offset) else { continue };
            return Some((Rc::clone(interpreter), mapping.start.wrapping_sub(address)));
        }
        None
    }
}
