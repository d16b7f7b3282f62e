//! A debugger at a replay, forwards and backwards: gdb connects by its remote protocol (`target.rs`), and sees one process of the trace as
//! it was.
//!
//! What the program does between two events is run under breakpoints (`int3`, which are in its memory only while it runs), single steps and
//! the processor's watchpoints. A moment is told by the way to it from the event before it (`place.rs`). To go back, all is replayed from a
//! state that was kept on the way (`checkpoints.rs`), or from the beginning: once with what the user watches, to find the last moment before
//! the present one at which that would have stopped the program, and once more to that moment (`course.rs`). Within the segment of a thread that the replay has come to, copies of the process do
//! that instead (`scout.rs`).

mod breaks;
mod checkpoints;
pub mod connection;
mod copies;
mod course;
mod drive;
mod hunt;
mod place;
mod predecessors;
mod registers;
mod scout;
mod session;
mod target;

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use gdbstub::stub::GdbStubBuilder;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use libc::pid_t;

use super::watch::{Halt, Watch as Waiting};
use crate::error::EngineError;
use crate::sys::StopsUnsignalled;

pub use connection::{Address, Listener};
pub use session::run;

pub(super) use drive::RunUntil;

use breaks::Watched;
use checkpoints::Checkpoints;
use connection::Line;
use course::{Asked, Course};
use scout::Body;
use target::{Inferior, Member, Reason, Request};

/// What is to be debugged.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where the debugger connects.
    pub listener: Arc<Listener>,
    /// The process, as shown (7 is p7); the first one when absent.
    pub process: Option<u32>,
    /// The event before which the program is stopped first; when absent, where its last program begins.
    pub at: Option<u64>,
    /// Of how much replay one state is kept to go back to; of none when zero.
    pub checkpoint_every: Duration,
}

/// As long as nobody says otherwise.
pub const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);

/// Room for a packet: files and memory come in pieces of half of that.
const PACKET_BYTES: usize = 1 << 16;

type Machine<'j> = GdbStubStateMachine<'static, Inferior<'j>, Line>;

/// A debugger and what it has asked for. It stays while the replay begins anew.
pub struct Debugger<'j> {
    listener: Arc<Listener>,
    /// There is none before the debugger has come, and while it works.
    machine: Option<Machine<'j>>,
    inferior: Inferior<'j>,
    course: Course,
    checkpoints: Checkpoints,
    /// Whether each thread of the trace is one of the debugged process.
    is_own: Vec<bool>,
    /// The program runs, as far as the debugger knows.
    is_running: bool,
    /// So many events have been looked at.
    consulted: u32,
    /// The user has asked to stop it.
    interrupted: bool,
    /// Memory of the tracees, to put breakpoints in.
    memory: HashMap<pid_t, File>,
    watched: Watched,
    /// What runs ahead of the thread whose segment it is.
    scout: Option<Body>,
    /// Why the debugger has gone, when that is not by its own will.
    failure: Option<String>,
    /// Who has started the debugger may want to hear of its end, and would hear of each stop of the program.
    unsignalled: Option<StopsUnsignalled>,
}

impl<'j> Debugger<'j> {
    fn new(wanted: &Wanted, inferior: Inferior<'j>, course: Course, is_own: Vec<bool>) -> Debugger<'j> {
        let every = u64::try_from(wanted.checkpoint_every.as_nanos()).unwrap_or(u64::MAX / 2);
        Debugger {
            listener: Arc::clone(&wanted.listener),
            machine: None,
            inferior,
            course,
            checkpoints: Checkpoints::new(every),
            is_own,
            is_running: false,
            consulted: 0,
            interrupted: false,
            memory: HashMap::new(),
            watched: Watched::default(),
            scout: None,
            failure: None,
            unsignalled: None,
        }
    }

    /// Waits for the debugger, to which the program is shown as it is.
    fn connect(&mut self, waiting: &Waiting) -> Result<(), Halt> {
        waiting.await_debugger();
        let failed = |error: std::io::Error| {
            EngineError::replay("debugger", format!("no debugger could connect: {error}"), Vec::new())
        };
        let line = loop {
            waiting.check()?;
            if let Some(line) = self.listener.accept().map_err(failed)? {
                break line;
            }
        };
        let stub = GdbStubBuilder::new(line).packet_buffer_size(PACKET_BYTES).build();
        let stub = stub.map_err(|_| EngineError::Broken { part: "debugger's connection" })?;
        let machine = stub.run_state_machine(&mut self.inferior);
        self.turn(machine)
    }

    /// All is replayed anew, by new processes.
    fn begin_anew(&mut self) {
        self.memory.clear();
        self.watched = Watched::default();
        self.interrupted = false;
    }

    /// The user sees a copy of the process, which runs ahead.
    fn goes_ahead(&mut self, copy: Option<Body>) {
        self.scout = copy;
        self.inferior.ahead = copy.map(|copy| copy.tid);
    }

    /// A tracee is gone, and its number may come again.
    fn forget(&mut self, tid: pid_t) {
        self.memory.remove(&tid);
        self.watched.forget(tid);
    }

    /// Whether a thread of the trace is one of the debugged program, which begins with an event.
    fn sees(&self, thread: u32, seq: u64) -> bool {
        seq >= self.course.start().seq && self.is_own.get(thread as usize).copied().unwrap_or(false)
    }

    /// Goes on with the machine in another state; it is over when the debugger is gone.
    fn turn<E: std::fmt::Display>(&mut self, next: Result<Machine<'j>, E>) -> Result<(), Halt> {
        match next {
            Ok(GdbStubStateMachine::Disconnected(_)) => Err(Halt::Over),
            Ok(machine) => {
                self.machine = Some(machine);
                Ok(())
            }
            Err(error) => {
                self.failure = Some(error.to_string());
                Err(Halt::Over)
            }
        }
    }

    /// Tells why the program has stopped.
    fn report(&mut self, reason: Reason) -> Result<(), Halt> {
        let told = self.inferior.told(reason);
        let next = match self.machine.take() {
            Some(GdbStubStateMachine::Running(machine)) => machine.report_stop(&mut self.inferior, told),
            Some(GdbStubStateMachine::CtrlCInterrupt(machine)) => {
                machine.interrupt_handled(&mut self.inferior, Some(told))
            }
            // It has just connected, and asks by itself.
            Some(machine) => Ok(machine),
            None => return Err(Halt::Over),
        };
        self.turn(next)
    }

    /// Answers what the debugger asks, until it wants the program to go on.
    fn hear(&mut self, waiting: &Waiting) -> Result<Request, Halt> {
        loop {
            if let Some(request) = self.inferior.request.take() {
                return Ok(request);
            }
            self.listen(waiting)?;
        }
    }

    /// Takes what the debugger says within a moment.
    fn listen(&mut self, waiting: &Waiting) -> Result<(), Halt> {
        let mut buffer = [0; 4096];
        waiting.check()?;
        let line = match self.machine.as_mut() {
            Some(GdbStubStateMachine::Idle(machine)) => machine.borrow_conn(),
            Some(GdbStubStateMachine::Running(machine)) => machine.borrow_conn(),
            Some(GdbStubStateMachine::CtrlCInterrupt(machine)) => machine.borrow_conn(),
            Some(GdbStubStateMachine::Disconnected(_)) | None => return Err(Halt::Over),
        };
        let got = match line.listen(&mut buffer) {
            Ok(None) => return Ok(()),
            Ok(Some(0)) | Err(_) => return Err(Halt::Over),
            Ok(Some(got)) => got,
        };
        for byte in &buffer[..got] {
            let next = match self.machine.take() {
                Some(GdbStubStateMachine::Idle(machine)) => machine.incoming_data(&mut self.inferior, *byte),
                Some(GdbStubStateMachine::Running(machine)) => machine.incoming_data(&mut self.inferior, *byte),
                Some(machine) => Ok(machine),
                None => return Err(Halt::Over),
            };
            self.turn(next)?;
            if let Some(GdbStubStateMachine::CtrlCInterrupt(_)) = &self.machine {
                self.is_interrupted()?;
            }
        }
        Ok(())
    }

    /// The user wants the program to stop: if it has stopped already, there is nothing to do.
    fn is_interrupted(&mut self) -> Result<(), Halt> {
        if self.is_running || self.inferior.request.is_some() {
            self.interrupted = true;
            return Ok(());
        }
        let Some(GdbStubStateMachine::CtrlCInterrupt(machine)) = self.machine.take() else { return Ok(()) };
        let nothing: Option<gdbstub::stub::MultiThreadStopReason<u64>> = None;
        let next = machine.interrupt_handled(&mut self.inferior, nothing);
        self.turn(next)
    }

    /// Whether the debugger has said something while the program runs; it is taken.
    fn is_disturbed(&mut self, waiting: &Waiting) -> Result<bool, Halt> {
        let has_word = match self.machine.as_mut() {
            Some(GdbStubStateMachine::Running(machine)) => machine.borrow_conn().has_word(),
            _ => false,
        };
        if has_word {
            self.listen(waiting)?;
        }
        Ok(self.interrupted)
    }

    /// What the user has asked to be stopped at.
    fn asked(&self) -> Asked<'_> {
        Asked { breaks: &self.inferior.breaks, watches: &self.inferior.watches }
    }

    /// Gives the user the word until the program is to go on from where it is.
    ///
    /// # Errors
    /// [`Halt::Rewind`] when it is to go elsewhere, [`Halt::Over`] when the debugger is gone.
    fn converse(&mut self, members: Vec<Member>, mut reason: Reason, waiting: &Waiting) -> Result<(), Halt> {
        use course::Verdict;
        self.inferior.members = members;
        self.inferior.at.0 = self.course.seq();
        self.inferior.states = self.checkpoints.told();
        self.interrupted = false;
        self.is_running = false;
        if reason == Reason::Connected {
            self.connect(waiting)?;
        }
        loop {
            self.report(reason)?;
            let request = self.hear(waiting)?;
            let is_at_end = reason == Reason::End && matches!(request, Request::Go(_));
            match self.course.request(request) {
                // There is nothing behind the end.
                Verdict::GoOn if is_at_end => reason = Reason::End,
                Verdict::GoOn => break,
                Verdict::Rewind => {
                    self.is_running = true;
                    return Err(Halt::Rewind);
                }
                Verdict::Stop(other) => reason = other,
            }
        }
        self.is_running = true;
        self.checkpoints.resumes();
        // Dropped first, it takes back no more than its own.
        self.unsignalled = None;
        self.unsignalled = StopsUnsignalled::new();
        Ok(())
    }
}
