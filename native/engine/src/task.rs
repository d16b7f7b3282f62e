//! What the recorder knows of each thread and process.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use libc::pid_t;

use crate::agent::code::Code;
use crate::agent::ring::Ring;
use crate::agent::twin::Instead;
use crate::capture::Call;
use crate::guard::Guard;
use crate::image::{self, Identity};
use crate::memory::Memory;
use crate::objects::FdTable;
use crate::placement::Place;
use crate::probe::Word;
use crate::raw::RawEvent;
use crate::store::Hash;
use crate::sys;
use crate::unseen::Site;
use crate::waits::Waits;

/// What a process does about one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handler {
    /// Address of the program's function, or `SIG_DFL` (0) or `SIG_IGN` (1).
    pub addr: u64,
    /// SA_RESTART.
    pub restarts: bool,
    /// SA_RESETHAND: the default is back after one delivery.
    pub once: bool,
}

impl Handler {
    /// Where the program has a function that nobody has seen it give.
    pub const UNKNOWN: u64 = u64::MAX;

    /// A function of the program runs.
    #[must_use]
    pub fn is_caught(&self) -> bool {
        self.addr > 1
    }
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
    /// Whether it is the first one of a namespace, when that was asked.
    pub is_first: OnceCell<bool>,
    /// It is told other numbers of tasks than there are here, pid_namespaces(7): that was so of one that it, or who made it, had made.
    pub is_apart: bool,
}

impl Process {
    /// Whether it has the number 1 in a namespace of its own, pid_namespaces(7).
    #[must_use]
    pub fn is_first_of_namespace(&self) -> bool {
        *self.is_first.get_or_init(|| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("NStgid:")).unwrap_or_default();
            ids.split_whitespace().skip(1).last() == Some("1")
        })
    }
}

/// A call that the kernel will restart, so that its parts can be told as one.
#[derive(Clone, Copy, Debug)]
pub struct Interrupted {
    pub number: u32,
    pub ip: u64,
    pub sp: u64,
    pub start: u64,
}

/// An address space: shared by threads and by vfork, copied by fork, new after exec.
#[derive(Debug, Default)]
pub struct Space {
    /// The group that takes turns with it, see `record/turns.rs`.
    pub group: u32,
    /// It maps memory that other address spaces may write.
    pub shares: bool,
    /// It has mapped such memory to write there itself.
    pub writes_shared: bool,
    /// Its group is that of others, too, whose memory is not its own.
    pub is_joined: bool,
    /// File mappings that have not been undone as a whole.
    pub shared_files: Vec<SharedFile>,
    /// Memory of those that is kept from its threads.
    pub guards: Guards,
    /// The code of the loader of its program.
    pub loader: Option<Loader>,
    /// What is to stand in place of some of its loader's code.
    pub spared: Option<Spared>,
    /// Instructions that were made to trap, by their address.
    pub unseen: Vec<(u64, Site)>,
    /// Where the vDSO begins, if the program has one.
    pub vdso: Option<u64>,
    /// Where an instruction of a call was found.
    pub call_at: Option<u64>,
    /// What the agent has changed in its code.
    pub code: Code,
    /// Loops in which its threads have waited for each other.
    pub waits: Waits,
}

impl Space {
    /// It has memory with others that it or they may write.
    #[must_use]
    pub fn is_seen_written(&self) -> bool {
        self.shares && (self.writes_shared || self.is_joined)
    }
}

/// The code of a program's loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loader {
    pub hash: Hash,
    /// Where its file begins.
    pub base: u64,
    pub start: u64,
    pub length: u64,
    /// In the file.
    pub offset: u64,
}

/// What is to stand in place of some code of a loader, and whether it does.
#[derive(Clone, Debug)]
pub struct Spared {
    pub instead: Rc<Instead>,
    pub is_written: bool,
}

/// A mapping of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedFile {
    pub start: u64,
    pub length: u64,
    pub offset: u64,
    pub dev: u64,
    pub ino: u64,
}

/// What is guarded of an address space (`record/guarded.rs`).
#[derive(Debug, Default)]
pub struct Guards {
    pub all: Vec<Guarded>,
    /// What its last call has mapped, which is to be guarded.
    pub next: Option<Guarded>,
    /// Less is guarded than the agents know.
    pub are_cut: bool,
    /// Some of it was touched often, or could not be guarded: nothing else will be.
    pub are_over: bool,
}

/// Shared memory of a file that the threads of an address space can touch only by events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarded {
    pub guard: Guard,
    /// Device and inode.
    pub file: (u64, u64),
    /// How often it was touched.
    pub touched: u32,
}

/// What has to be done when a thread gets its turn.
#[derive(Debug)]
pub enum Pending {
    /// It stands at the entry of a call that is made when nobody else runs.
    Enter,
    /// It came back from a call with this raw result, at that time.
    Leave(i64, u64),
    /// It stands where its last event left it.
    Start,
    /// It was stopped in its own code: the event and its memory.
    Preempted(Box<(RawEvent, Memory)>),
}

/// A signal that waits for the next boundary.
#[derive(Clone, Copy, Debug)]
pub struct HeldSignal {
    pub number: i32,
    pub info: [u8; 128],
    /// It has been queued again and its stop will come.
    pub queued: bool,
}

/// Where a thread stands when it has run nothing since its last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    pub ip: u64,
    pub sp: u64,
    /// Its own code may come to the same place again without an event: the place was interrupted, not called from.
    pub recurs: bool,
    /// It was let go there by one instruction: until that is done it stands there, also where the place recurs.
    pub steps: bool,
}

impl Boundary {
    /// A place to which a thread comes by events only.
    #[must_use]
    pub fn at(ip: u64, sp: u64) -> Boundary {
        Boundary { ip, sp, recurs: false, steps: false }
    }
}

/// Where a word was changed, and what it was before.
#[derive(Clone, Copy, Debug)]
pub enum Restore {
    Argument(usize, u64),
    Memory(u64, u64),
}

/// A call that moves data to the first program's output, which was changed so that the data are seen.
pub struct Moving {
    /// The registers with which the thread entered it.
    pub regs: libc::user_regs_struct,
    pub step: MovingStep,
}

/// What becomes of such a call.
pub enum MovingStep {
    /// It moves the first of these bytes.
    Seen(Vec<u8>),
    /// It moves what the file has from that offset on.
    FromFile(std::fs::File, u64),
    /// Its source has nothing yet: it waits for that first.
    Waits,
    /// It waited, and is about to be entered again.
    Again,
    /// It is not made; this is its result.
    Answered(i64),
}

/// What is to be known when an instruction of a thread traps. Inherited by what the thread makes, and kept by exec.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a state that comes and goes by itself")]
pub struct Traps {
    /// The signals that it blocks, bit 0 for signal 1.
    pub blocked: u64,
    /// It has forbidden itself to read the clock (PR_TSC_SIGSEGV): that is a fault of its own.
    pub clock_is_forbidden: bool,
    /// Its program has forbidden itself to ask for the processor (ARCH_SET_CPUID): that is a fault of its own too, until exec.
    pub cpuid_is_forbidden: bool,
    /// It has said that it gains no privileges (PR_SET_NO_NEW_PRIVS).
    pub gains_nothing: bool,
    /// `cpuid` traps while its loader begins, so that others can be spared it.
    pub learns: bool,
}

/// A thread under observation.
#[allow(clippy::struct_excessive_bools, reason = "each is a state that comes and goes by itself")]
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
    /// What it was as it entered the call, where stacks are wanted.
    pub sample: Option<Box<crate::stacks::samples::Sample>>,
    /// A call ended with a restart code: what becomes of it is known at the next stop.
    pub undecided: Option<(Call, i64, u64)>,
    pub interrupted: Vec<Interrupted>,
    /// The last call, and the memory that it read, as long as the thread has done nothing since but to be interrupted in it.
    pub left: Option<Box<(Call, Memory)>>,
    /// When the wait is over that it makes once more.
    pub waits_until: Option<u64>,
    /// An exec happened inside the current call.
    pub executed: bool,
    /// The thread index that it goes on as when its exec has ended: it has taken the leader's place.
    pub becomes: Option<u32>,
    /// It is in a call that makes a task, and the stop that tells of that one has not come.
    pub making: bool,
    /// The task that it has made in the present call.
    pub made: Option<pid_t>,
    /// Nothing is recorded before the exec of the first program.
    pub launching: bool,
    /// A flags word that was changed at entry and has to be put back at exit.
    pub restore: Option<Restore>,
    pub moving: Option<Box<Moving>>,
    /// The call that it is in writes into the memory of another process.
    pub writes_outside: bool,
    /// It does so by the number of a process that has this very memory: its own, or one that shares it all.
    pub writes_within: bool,
    /// It was stopped by a signal, and not continued yet.
    pub in_group_stop: bool,
    /// That was in the middle of its own code.
    pub stopped_in_code: bool,
    /// It ran already when it was seized, and has not stopped since.
    pub seized: bool,
    pub space: Rc<RefCell<Space>>,
    pub pending: Option<Pending>,
    /// Signals that came in the middle of its own code.
    pub held: Vec<HeldSignal>,
    /// When the first of them came.
    pub held_since: u64,
    pub boundary: Option<Boundary>,
    pub traps: Traps,
    /// When it was last brought out of a call in which it kept a turn that others wanted.
    pub wanted: u64,
    /// Nanoseconds that the recorder computed to stop it in its own code, the last time.
    pub stopping_ns: u64,
    /// It was in a loop then that may wait for another thread.
    pub may_wait: bool,
    /// When it was let go on last.
    pub resumed: u64,
    /// When it had been let go on that it was first looked at since then, and how long its process had run.
    pub watched: (u64, u64),
    /// It was asked to stop.
    pub interrupting: bool,
    /// That was only to see whether it stands where threads wait.
    pub looked_at: bool,
    /// How often that has been done since it was last seen there.
    pub looks: u32,
    /// The words for which it was last found to wait in what may end by itself.
    pub patient_for: Vec<Word>,
    /// How long it is left alone after that.
    pub patient_ns: u64,
    /// How often it was stopped in its own code since its last call.
    pub preempted: u32,
    /// How often, and one after the other, it was then in a loop that may wait, while its memory changed: it mostly computes.
    pub progressed: u32,
    /// Since its last call it has only waited in a loop of its own, for others or for the clock, as far as is known.
    pub only_waits: bool,
    /// Turns in a row that it has given up where it read the counter, with no call since the first but such as tell nothing new.
    pub counted_turns: u32,
    /// The word that the kernel clears when it ends: set_tid_address(2), CLONE_CHILD_CLEARTID.
    pub clear_tid: u64,
    /// Head of its list of robust futexes, get_robust_list(2).
    pub robust_list: u64,
    /// Bytes of a word in that list.
    pub word: usize,
    /// What the kernel writes when it ends.
    pub last_writes: Memory,
    /// The ring that the agent fills for it.
    pub ring: Option<Ring>,
    /// It finds a block of the agent's when it comes to a patched site.
    pub has_block: bool,
    /// The agent has left its memory while it was in a call that it had come to through a trampoline.
    pub is_stranded: bool,
    /// How many calls have stopped it since it began or executed a program.
    pub trapped: u32,
    /// Its descriptors are not those of others who see its memory.
    pub fds_apart: bool,
    /// It stands at the entry of its call because a filter has stopped it there.
    pub at_filter: bool,
    /// Calls of it that are not the agent's are sent back (`record/dispatch.rs`).
    pub is_armed: Cell<bool>,
    /// It stops at each call by itself, since a filter of its own comes before the recorder's.
    pub stepwise: bool,
    /// It is in the strict mode of seccomp, as far as it knows.
    pub is_strict: bool,
}

impl Task {
    /// It has come to a boundary by a call: what was found out of its own code before counts no more.
    pub fn comes_to(&mut self, boundary: Boundary) {
        self.boundary = Some(boundary);
        (self.preempted, self.progressed, self.only_waits, self.counted_turns) = (0, 0, false, 0);
    }

    /// Whether something was found out of its own code since its last boundary by a call.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.only_waits || (self.preempted, self.progressed, self.counted_turns) != (0, 0, 0)
    }

    /// Nanoseconds that its process has run since it was let go on, or since this was asked first after that.
    pub fn ran(&mut self) -> u64 {
        let Some(total) = sys::cpu_time(self.process.borrow().pid) else { return 0 };
        if self.watched.0 != self.resumed {
            self.watched = (self.resumed, total);
        }
        total.saturating_sub(self.watched.1)
    }

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
            sample: None,
            left: None,
            waits_until: None,
            undecided: None,
            interrupted: Vec::new(),
            executed: false,
            becomes: None,
            making: false,
            made: None,
            launching: false,
            restore: None,
            moving: None,
            writes_outside: false,
            writes_within: false,
            in_group_stop: false,
            stopped_in_code: false,
            seized: false,
            space: Rc::default(),
            pending: None,
            held: Vec::new(),
            held_since: 0,
            boundary: None,
            traps: Traps::default(),
            wanted: 0,
            stopping_ns: 0,
            may_wait: false,
            resumed: 0,
            watched: (0, 0),
            interrupting: false,
            looked_at: false,
            looks: 0,
            patient_for: Vec::new(),
            patient_ns: 0,
            preempted: 0,
            progressed: 0,
            only_waits: false,
            counted_turns: 0,
            clear_tid: 0,
            robust_list: 0,
            word: 8,
            last_writes: Memory::default(),
            ring: None,
            has_block: false,
            is_stranded: false,
            trapped: 0,
            fds_apart: false,
            at_filter: false,
            is_armed: Cell::new(false),
            stepwise: false,
            is_strict: false,
        }
    }

    /// The program's function for a signal, if it has one.
    #[must_use]
    pub fn handler(&self, signal: i32) -> Option<Handler> {
        self.handlers.borrow().get(&signal).copied()
    }

    /// The address of an instruction of a call (`image::SYSCALL` or `INT_80`) in its vDSO, which is searched once.
    #[must_use]
    pub fn call_instruction(&self, instruction: [u8; 2]) -> Option<u64> {
        let is_still = |at: &u64| {
            let mut code = [0; 2];
            // Where nobody may look it is taken to be there still.
            sys::read_pieces(self.tid, &[(*at, 2)], &mut code) == 0 || code == instruction
        };
        let known = self.space.borrow().call_at.filter(is_still);
        let found = known.or_else(|| image::call_instruction(self.tid, instruction));
        self.space.borrow_mut().call_at = found;
        found
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
    pub space: Rc<RefCell<Space>>,
    pub identity: Option<(u64, Rc<Identity>)>,
    pub traps: Traps,
    pub stepwise: bool,
    /// A program chose the parent's CPUs.
    pub own_place: bool,
    /// The parent was let go to all CPUs, or was not; absent when nobody knows.
    pub released: Option<bool>,
    /// CLONE_CHILD_SETTID and CLONE_CHILD_CLEARTID: the word, when asked for.
    pub set_tid: u64,
    /// CLONE_PARENT_SETTID: the word, when the child sees the parent's memory.
    pub parent_word: u64,
    pub clear_tid: u64,
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
            space: if has(libc::CLONE_VM) { Rc::clone(&parent.space) } else { copied(&parent.space) },
            identity: parent.identity.clone().filter(|_| !has(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)),
            traps: parent.traps,
            stepwise: parent.stepwise,
            own_place: parent.place.is_own(),
            released: Some(parent.place.is_released()),
            set_tid: 0,
            parent_word: 0,
            clear_tid: 0,
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
            space: Rc::default(),
            identity: None,
            traps: Traps::default(),
            stepwise: false,
            own_place: false,
            released: None,
            set_tid: 0,
            parent_word: 0,
            clear_tid: 0,
        }
    }

    /// It runs in the address space of the one that made it.
    #[must_use]
    pub fn shares_memory(&self) -> bool {
        self.flags & libc::CLONE_VM as u64 != 0
    }

    #[must_use]
    pub fn is_thread(&self) -> bool {
        self.flags & libc::CLONE_THREAD as u64 != 0
    }
}

/// A copy of an address space: of the mappings only the shared ones stay connected. The group is given by who makes it.
fn copied(space: &Rc<RefCell<Space>>) -> Rc<RefCell<Space>> {
    let space = space.borrow();
    let Space {
        group,
        shares,
        writes_shared,
        ref shared_files,
        ref unseen,
        loader,
        ref spared,
        vdso,
        call_at,
        ref code,
        ..
    } = *space;
    let (shared_files, unseen, code) = (shared_files.clone(), unseen.clone(), code.clone());
    // A child has the turns of its maker, if it has memory with it that one of them writes.
    let is_joined = space.is_seen_written();
    let waits = space.waits.clone();
    // No guard is there when an address space is copied.
    let guards = Guards { are_over: space.guards.are_over, ..Guards::default() };
    let copy = Space {
        group,
        shares,
        writes_shared,
        is_joined,
        shared_files,
        guards,
        loader,
        spared: spared.clone(),
        unseen,
        vdso,
        call_at,
        code,
        waits,
    };
    Rc::new(RefCell::new(copy))
}

/// The same value, or a copy of it.
fn shared<T: Clone>(value: &Rc<RefCell<T>>, share: bool) -> Rc<RefCell<T>> {
    if share { Rc::clone(value) } else { Rc::new(RefCell::new(value.borrow().clone())) }
}
