//! What an event is: kinds, flag bits, capture sides and statuses, slots.
//!
//! The codes are part of the trace file; `src/trace/batch.ts` has the same ones for TypeScript and a test compares them.

/// Kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// A syscall, entry and exit in one. `code` is the syscall number.
    Call = 0,
    /// A signal was delivered. `code` is the signal; capture in slot 0 holds the siginfo (as of `siginfo_t`, 128 bytes).
    Signal = 1,
    /// A thread or process came to be. `args[0]` is the thread index of the parent plus 1 (0: none), `args[1]` the clone flags.
    Task = 2,
    /// A program was started in the process. Captures (side In) by slot: 0 executable path, 1 argv (each NUL-ended), 2 environment
    /// (each NUL-ended), 3 cwd, 4 interpreter path or empty, 5 auxv bytes, 6 credentials as text, 7 mount namespace.
    Exec = 3,
    /// The thread ended. `code` is the wait status; `args[0]` is 1 when the whole process ended with it, 2 when it executed a
    /// program and goes on as the first thread of its process; `args[1]` and `[2]` are user and system time in microseconds, `[3]` the peak resident size in KiB.
    Exit = 4,
    /// A file was mapped executable. `args`: base, length, file offset, prot, inode, device. Captures: 0 path, 1 build id, 2 content hash.
    Map = 5,
    /// Group-stop; `code` is the signal.
    Stop = 6,
    /// Something could not be captured: capture 0 is the text, `code` the [`Lost`] counter, `args[0]` how many.
    Note = 7,
    /// An instruction was answered by the recorder. `code` is the [`Trap`], `ip` that of the instruction. `args` of `rdtsc` and
    /// `rdtscp`: 0 the 64-bit counter, 1 what `rdtscp` puts into `ecx`; of `cpuid`: 0 `eax` and 1 `ecx` before, 2 to 5 `eax`,
    /// `ebx`, `ecx`, `edx` after; of `rdrand`, `rdseed` and `rdpid`: 0 the value, 1 the carry flag, 2 the number of the register, 3
    /// the bytes that are written to it, 4 those of the instruction. The result is 1 when the thread blocks the signal of the trap.
    Trap = 8,
    /// A thread that ran long without a call was stopped at `ip` to let others run, or to deliver a signal. Captures (side In):
    /// slot 0 the registers (`struct user_regs_struct`), 1 the BLAKE3 hash of writable memory and vector registers, 2 words of
    /// memory that its loop changes (address and value), 3 what the hash leaves out (address and length).
    Preempt = 9,
}

impl EventKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [EventKind; 10] = [
        EventKind::Call,
        EventKind::Signal,
        EventKind::Task,
        EventKind::Exec,
        EventKind::Exit,
        EventKind::Map,
        EventKind::Stop,
        EventKind::Note,
        EventKind::Trap,
        EventKind::Preempt,
    ];

    /// The kind with this code, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<EventKind> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// Bits of an event's `flags`.
pub mod flag {
    /// The call never returned.
    pub const NO_RETURN: u8 = 1;
    /// Interrupted before and restarted by the kernel: `start` is that of the first part, so this event is the whole call.
    pub const RESTARTED: u8 = 2;
    /// Some memory could not be read or was left out; the captures say which.
    pub const PARTIAL: u8 = 4;
    /// The call failed; `ret` is the negative errno.
    pub const ERROR: u8 = 8;
    /// The result was not observed.
    pub const NO_RESULT: u8 = 16;
    /// A part of a call that the kernel restarts: the later event with [`RESTARTED`] tells the whole call.
    pub const INTERRUPTED: u8 = 32;
    /// All bits that exist.
    pub const ALL: u8 = 63;
}

/// Which side of the call a capture shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Side {
    /// Memory at entry.
    In = 0,
    /// Memory at exit.
    Out = 1,
    /// The canonical absolute path of the path argument in that slot.
    Resolved = 2,
}

impl Side {
    /// The side with this code, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Side> {
        [Side::In, Side::Out, Side::Resolved].get(usize::from(code)).copied()
    }
}

/// How much of the wanted memory a capture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    Whole = 0,
    /// A limit of the recording cut it.
    Truncated = 1,
    /// The rest could not be read.
    Unreadable = 2,
    /// Left out on request.
    Omitted = 3,
}

impl Status {
    /// The status with this code, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Status> {
        [Status::Whole, Status::Truncated, Status::Unreadable, Status::Omitted].get(usize::from(code)).copied()
    }
}

/// How a thread was preempted: argument 0.
pub mod preempt {
    /// It was stopped in its own code, in a state that the event tells.
    pub const STATE: u64 = 0;
    /// It stood where its last event left it, and has its turn.
    pub const TURN: u64 = 1;
    /// It was stopped so many steps, argument 1, behind where its last event left it.
    pub const STEPPED: u64 = 2;
}

/// Slots of captures and references beyond the arguments 0 to 5.
pub mod slot {
    /// The return value.
    pub const RET: u8 = 6;
    /// The working directory.
    pub const CWD: u8 = 7;
    /// A descriptor inside memory; the reference says which.
    pub const NESTED: u8 = 8;
    /// What replay maps: see FORMAT.md, section "Replay".
    pub const LAYOUT: u8 = 9;
    /// Data that went to the first program's output without passing its memory (sendfile, splice, ...).
    pub const MOVED: u8 = 10;
    /// One more than the largest slot.
    pub const COUNT: u8 = 11;
}

/// Which instruction a [`EventKind::Trap`] stands for; [`Trap::Guard`] is any that touches guarded memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Trap {
    Rdtsc = 0,
    Rdtscp = 1,
    Cpuid = 2,
    Rdrand = 3,
    Rdseed = 4,
    Rdpid = 5,
    Guard = 6,
}

impl Trap {
    /// The instruction with this code, if there is one.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Trap> {
        const ALL: [Trap; 7] =
            [Trap::Rdtsc, Trap::Rdtscp, Trap::Cpuid, Trap::Rdrand, Trap::Rdseed, Trap::Rdpid, Trap::Guard];
        ALL.get(usize::try_from(code).ok()?).copied()
    }
}

/// What a [`Trap::Guard`] tells: its `args[1]`. `args[0]` is an address in the memory.
pub mod guard {
    /// The thread has executed the instruction at which it stood, which touches that memory.
    pub const TOUCHED: u64 = 0;
    /// The memory of its process is not guarded any more. It stands before an instruction that touches it, or at the entry of a call.
    pub const LIFTED: u64 = 1;
    /// This memory, which its last call has mapped, is guarded from now on: `args[2]` is its length, `args[3]` its `PROT_*` bits.
    pub const SET: u64 = 2;
}

/// What became of a signal: `args[2]` of a [`EventKind::Signal`].
pub mod disposition {
    /// Nothing happened: ignored, or ignored by default. Also in traces that do not say.
    pub const NONE: u64 = 0;
    /// A handler of the program runs next.
    pub const HANDLED: u64 = 1;
    /// The process ends.
    pub const FATAL: u64 = 2;
    /// The process stops.
    pub const STOPS: u64 = 3;
}

/// What a [`EventKind::Note`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Lost {
    /// Memory of a call could not be read.
    Memory = 0,
    /// A tracee went away before its stop could be looked at.
    TaskGone = 1,
    /// The identity of a descriptor could not be read.
    Descriptor = 2,
    /// A syscall that the table does not know (recorded raw).
    UnknownCall = 3,
    /// Free text for the reader; nothing was lost.
    Remark = 4,
}
