//! What the recorder knows of each thread and process.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use libc::pid_t;

use crate::capture::Call;
use crate::image::Identity;
use crate::memory::Memory;
use crate::objects::FdTable;
use crate::placement::Place;

/// What a process does about one signal, as far as interrupted calls depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handler {
    /// A function of the program runs.
    pub caught: bool,
    /// SA_RESTART.
    pub restarts: bool,
}

/// The handlers that are not the default ones. Shared by threads, copied by fork, reset by exec.
pub type Handlers = Rc<RefCell<HashMap<i32, Handler>>>;

/// Working directory and root, shared by CLONE_FS.
#[derive(Clone, Debug, Default)]
pub struct Location {
    /// The object of the working directory.
    pub cwd: Option<u32>,
    /// The root directory is another one than the recorder's.
    pub foreign_root: bool,
}

/// A thread group.
#[derive(Debug, Default)]
pub struct Process {
    pub pid: pid_t,
    /// As shown: p1 is the first program.
    pub number: u32,
    /// How many threads it has had.
    pub threads: u32,
    pub alive: u32,
    /// Process id of the process that made it.
    pub parent: Option<pid_t>,
    /// User and system time in microseconds of children that have ended.
    pub children_user: u64,
    pub children_system: u64,
}

/// A call that the kernel will restart, so that its parts can be told as one.
#[derive(Clone, Copy, Debug)]
pub struct Interrupted {
    pub number: u32,
    pub ip: u64,
    pub sp: u64,
    pub start: u64,
}

/// Where a word was changed, and what it was before.
#[derive(Clone, Copy, Debug)]
pub enum Restore {
    Argument(usize, u64),
    Memory(u64, u64),
}

/// A thread under observation.
pub struct Task {
    pub tid: pid_t,
    /// Its index in the trace.
    pub index: u32,
    pub process: Rc<RefCell<Process>>,
    pub fds: Rc<RefCell<FdTable>>,
    pub location: Rc<RefCell<Location>>,
    pub handlers: Handlers,
    /// Who the process was at its last exec, or that of the one it came from, and how many calls had changed that before.
    pub identity: Option<(u64, Rc<Identity>)>,
    pub place: Place,
    /// The call that it is in.
    pub call: Option<Call>,
    /// Memory of that call.
    pub memory: Memory,
    /// A call ended with a restart code: what becomes of it is known at the next stop.
    pub undecided: Option<(Call, i64, u64)>,
    pub interrupted: Vec<Interrupted>,
    /// An exec happened inside the current call.
    pub executed: bool,
    /// The thread index that it goes on as when its exec has ended: it has taken the leader's place.
    pub becomes: Option<u32>,
    /// It is in a call that makes a task, and the stop that tells of that one has not come.
    pub making: bool,
    /// Nothing is recorded before the exec of the first program.
    pub launching: bool,
    /// A flags word that was changed at entry and has to be put back at exit.
    pub restore: Option<Restore>,
}

impl Task {
    /// A task with state of its own.
    #[must_use]
    pub fn new(tid: pid_t, index: u32, process: Rc<RefCell<Process>>) -> Task {
        Task {
            tid,
            index,
            process,
            fds: Rc::default(),
            location: Rc::default(),
            handlers: Rc::default(),
            identity: None,
            place: Place::default(),
            call: None,
            memory: Memory::default(),
            undecided: None,
            interrupted: Vec::new(),
            executed: false,
            becomes: None,
            making: false,
            launching: false,
            restore: None,
        }
    }
}

/// What a new task shares with the one that made it.
pub struct Birth {
    /// Thread index; absent when nobody knows.
    pub parent: Option<u32>,
    pub flags: u64,
    pub process: Rc<RefCell<Process>>,
    pub fds: Rc<RefCell<FdTable>>,
    pub location: Rc<RefCell<Location>>,
    pub handlers: Handlers,
    pub identity: Option<(u64, Rc<Identity>)>,
    /// The parent's program chose its CPUs itself.
    pub own_place: bool,
    /// The parent was let go to all CPUs, or was not; absent when nobody knows.
    pub released: Option<bool>,
}

impl Birth {
    /// What a child of `parent` made with these clone flags has. The process is the parent's for a thread; the caller
    /// makes a new one otherwise.
    #[must_use]
    pub fn of(parent: &Task, flags: u64) -> Birth {
        let has = |flag: i32| flags & flag as u64 != 0;
        Birth {
            parent: Some(parent.index),
            flags,
            process: Rc::clone(&parent.process),
            fds: shared(&parent.fds, has(libc::CLONE_FILES)),
            location: shared(&parent.location, has(libc::CLONE_FS)),
            handlers: shared(&parent.handlers, has(libc::CLONE_SIGHAND)),
            identity: parent.identity.clone().filter(|_| !has(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)),
            own_place: parent.place.own,
            released: Some(parent.place.is_released()),
        }
    }

    /// A process whose maker is not known: nothing is known of what it inherited either.
    #[must_use]
    pub fn orphan() -> Birth {
        Birth {
            parent: None,
            flags: libc::SIGCHLD as u64,
            process: Rc::default(),
            fds: Rc::default(),
            location: Rc::default(),
            handlers: Rc::default(),
            identity: None,
            own_place: false,
            released: None,
        }
    }

    #[must_use]
    pub fn is_thread(&self) -> bool {
        self.flags & libc::CLONE_THREAD as u64 != 0
    }
}

/// The same value, or a copy of it.
fn shared<T: Clone>(value: &Rc<RefCell<T>>, share: bool) -> Rc<RefCell<T>> {
    if share { Rc::clone(value) } else { Rc::new(RefCell::new(value.borrow().clone())) }
}
