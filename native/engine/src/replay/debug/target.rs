//! What gdb sees: the threads of one replayed process, their registers and memory as they were recorded, and the program's files as they
//! were mapped then. Nothing of it can be changed, for it has happened. The protocol itself is `gdbstub`'s.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path};

use gdbstub::common::{Pid, Signal, Tid};
use gdbstub::outputln;
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::auxv::{Auxv, AuxvOps};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadRangeStepping, MultiThreadRangeSteppingOps, MultiThreadResume, MultiThreadResumeOps,
    MultiThreadSchedulerLocking, MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::reverse_exec::{
    ReplayLogPosition, ReverseCont, ReverseContOps, ReverseStep, ReverseStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint,
    SwBreakpointOps, WatchKind,
};
use gdbstub::target::ext::catch_syscalls::{CatchSyscallPosition, CatchSyscalls, CatchSyscallsOps, SyscallNumbers};
use gdbstub::target::ext::exec_file::{ExecFile, ExecFileOps};
use gdbstub::target::ext::host_io::{
    FsKind, HostIo, HostIoClose, HostIoCloseOps, HostIoErrno, HostIoError, HostIoFstat, HostIoFstatOps, HostIoOpen,
    HostIoOpenFlags, HostIoOpenMode, HostIoOpenOps, HostIoOps, HostIoPread, HostIoPreadOps, HostIoResult, HostIoSetfs,
    HostIoSetfsOps, HostIoStat,
};
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{Target, TargetError, TargetResult};
use libc::{pid_t, user_regs_struct};

use super::place::{Access, Watch};
use super::registers::{Values, X86};
use crate::image::{self, Mapping};
use crate::replay::files::Files;
use crate::replay::stub::Stub;
use crate::store::Hash;
use crate::sys;

/// The processor has four; one of them is for finding preempted threads.
pub const MOST_WATCHES: usize = 3;
/// Files that a debugger may have open.
const MOST_OPEN: usize = 256;

/// A thread, as it is while the debugger looks at it.
pub struct Member {
    /// Index in the trace.
    pub index: u32,
    /// Its number in the recording.
    pub number: Tid,
    pub ordinal: u32,
    /// Numbers of its process and of itself in the replay.
    pub pid: pid_t,
    pub tid: pid_t,
    pub regs: user_regs_struct,
}

/// How the program is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    Continue,
    /// Until the thread (by its index) has made a step.
    Step(u32),
    /// Until the thread is at none of these addresses any more.
    Range {
        thread: u32,
        start: u64,
        end: u64,
    },
}

/// What the debugger wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Go(Motion),
    BackStep(u32),
    BackContinue,
}

/// Why the program has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing that the debugger has not asked for itself: it has just connected.
    Connected,
    Stepped(u32),
    Breakpoint(u32),
    Watchpoint(u32, Watch),
    Signal(u32, i32),
    Entry(u32, u64),
    Return(u32, u64),
    Interrupted,
    /// There is nothing before.
    Begin,
    /// There is nothing behind.
    End,
}

/// Which calls the debugger wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Catch {
    #[default]
    None,
    All,
    These(HashSet<u64>),
}

impl Catch {
    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        match self {
            Catch::None => false,
            Catch::All => true,
            Catch::These(numbers) => numbers.contains(&number),
        }
    }
}

/// The facts of the debugged program.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub path: Vec<u8>,
    pub auxv: Vec<u8>,
    /// Its loader, by the name that stands in it, and what was mapped there.
    pub interpreter: Option<(Vec<u8>, Hash)>,
    /// Its code is of 32 bits.
    pub is_i386: bool,
}

/// The debugged process, as gdb asks for it.
pub struct Inferior<'j> {
    files: &'j Files<'j>,
    /// What the recorded machine had under a path.
    library: HashMap<Vec<u8>, Hash>,
    program: Program,
    /// What is replay's own in its memory.
    stub: Stub,
    /// Living threads; the first one is the one that has stopped.
    pub members: Vec<Member>,
    /// Whose memory is seen, where that is a copy of the process.
    pub ahead: Option<pid_t>,
    pub breaks: BTreeSet<u64>,
    pub watches: Vec<Watch>,
    kinds: Vec<(u64, u64, WatchKind)>,
    pub catch: Catch,
    pub request: Option<Request>,
    motion: Motion,
    open: HashMap<u32, OwnedFd>,
    /// Where the replay is: the event's number, and how many there are.
    pub at: (u64, u64),
    pub states: States,
}

/// What is kept to go back to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// Numbers of the events before which there is a state.
    pub before: Vec<u64>,
    /// How often the replay has gone back to one, and to the beginning.
    pub passes: [u64; 2],
}

impl<'j> Inferior<'j> {
    #[must_use]
    pub fn new(
        files: &'j Files<'j>,
        debuggee: (HashMap<Vec<u8>, Hash>, Program),
        stub: Stub,
        events: u64,
    ) -> Inferior<'j> {
        let (library, program) = debuggee;
        Inferior {
            files,
            library,
            program,
            stub,
            members: Vec::new(),
            ahead: None,
            breaks: BTreeSet::new(),
            watches: Vec::new(),
            kinds: Vec::new(),
            catch: Catch::None,
            request: None,
            motion: Motion::Continue,
            open: HashMap::new(),
            at: (0, events),
            states: States::default(),
        }
    }

    fn member(&self, tid: Tid) -> Option<&Member> {
        self.members.iter().find(|member| member.number == tid)
    }

    fn number(&self, index: u32) -> Option<Tid> {
        self.members.iter().find(|member| member.index == index).map(|member| member.number)
    }

    /// A reason as the protocol has it.
    #[must_use]
    pub fn told(&self, reason: Reason) -> MultiThreadStopReason<u64> {
        let first = self.members.first().map_or(Tid::MIN, |member| member.number);
        let of = |index: u32| self.number(index).unwrap_or(first);
        match reason {
            Reason::Connected | Reason::Stepped(_) => {
                let tid = if let Reason::Stepped(index) = reason { of(index) } else { first };
                MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGTRAP }
            }
            Reason::Breakpoint(index) => MultiThreadStopReason::SwBreak(of(index)),
            Reason::Watchpoint(index, watch) => {
                let kind = self.kinds.iter().find(|(start, length, _)| watch.addr.wrapping_sub(*start) < *length);
                let kind = kind.map_or(WatchKind::Write, |(.., kind)| *kind);
                MultiThreadStopReason::Watch { tid: of(index), kind, addr: watch.addr }
            }
            Reason::Signal(index, number) => {
                MultiThreadStopReason::SignalWithThread { tid: of(index), signal: signal(number) }
            }
            Reason::Entry(index, number) => MultiThreadStopReason::CatchSyscall {
                tid: Some(of(index)),
                number,
                position: CatchSyscallPosition::Entry,
            },
            Reason::Return(index, number) => MultiThreadStopReason::CatchSyscall {
                tid: Some(of(index)),
                number,
                position: CatchSyscallPosition::Return,
            },
            Reason::Interrupted => MultiThreadStopReason::SignalWithThread { tid: first, signal: Signal::SIGINT },
            Reason::Begin => MultiThreadStopReason::ReplayLog { tid: Some(first), pos: ReplayLogPosition::Begin },
            Reason::End => MultiThreadStopReason::ReplayLog { tid: Some(first), pos: ReplayLogPosition::End },
        }
    }

    /// Whether a breakpoint can be put there, as far as there is anything: in a shared mapping that the program may only read it cannot.
    fn has_room_at(&self, addr: u64) -> bool {
        let Some(member) = self.members.first() else { return true };
        let mut byte = [0];
        let is_there = sys::read_pieces(member.tid, &[(addr, 1)], &mut byte) == 1;
        !is_there || sys::write_code(member.tid, &[(addr, &byte)]).is_ok()
    }

    fn index_of(&self, tid: Tid) -> u32 {
        self.member(tid).or_else(|| self.members.first()).map_or(0, |member| member.index)
    }
}

/// Signals as gdb numbers them (gdb's include/gdb/signals.def): up to SIGALRM and SIGTERM mostly as Linux does.
fn signal(number: i32) -> Signal {
    match number {
        libc::SIGBUS => Signal::SIGBUS,
        libc::SIGUSR1 => Signal::SIGUSR1,
        libc::SIGUSR2 => Signal::SIGUSR2,
        libc::SIGCHLD => Signal::SIGCHLD,
        libc::SIGCONT => Signal::SIGCONT,
        libc::SIGSTOP => Signal::SIGSTOP,
        libc::SIGTSTP => Signal::SIGTSTP,
        libc::SIGTTIN => Signal::SIGTTIN,
        libc::SIGTTOU => Signal::SIGTTOU,
        libc::SIGURG => Signal::SIGURG,
        libc::SIGXCPU => Signal::SIGXCPU,
        libc::SIGXFSZ => Signal::SIGXFSZ,
        libc::SIGVTALRM => Signal::SIGVTALRM,
        libc::SIGPROF => Signal::SIGPROF,
        libc::SIGWINCH => Signal::SIGWINCH,
        libc::SIGIO => Signal::SIGIO,
        libc::SIGPWR => Signal::SIGPWR,
        libc::SIGSYS => Signal::SIGSYS,
        1..=6 | 8 | 9 | 11 | 13..=15 => Signal(number as u8),
        32 => Signal::SIG32,
        // 33 to 63 are in a row, 64 came later.
        33..=63 => Signal((number - 33) as u8 + Signal::SIG33.0),
        64 => Signal::SIG64,
        _ => Signal::UNKNOWN,
    }
}

impl Target for Inferior<'_> {
    type Arch = X86;
    /// Nothing goes wrong here that would end the debugging.
    type Error = Infallible;

    fn base_ops(&mut self) -> BaseOps<'_, X86, Infallible> {
        BaseOps::MultiThread(self)
    }

    fn guard_rail_implicit_sw_breakpoints(&self) -> bool {
        true
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }

    fn support_catch_syscalls(&mut self) -> Option<CatchSyscallsOps<'_, Self>> {
        Some(self)
    }

    fn support_host_io(&mut self) -> Option<HostIoOps<'_, Self>> {
        Some(self)
    }

    fn support_exec_file(&mut self) -> Option<ExecFileOps<'_, Self>> {
        Some(self)
    }

    fn support_auxv(&mut self) -> Option<AuxvOps<'_, Self>> {
        Some(self)
    }
}

/// What has happened cannot be changed.
fn refused<T>() -> Result<T, TargetError<Infallible>> {
    Err(TargetError::Errno(libc::EPERM as u8))
}

impl MultiThreadBase for Inferior<'_> {
    fn read_registers(&mut self, regs: &mut Values, tid: Tid) -> TargetResult<(), Self> {
        let member = self.member(tid).ok_or(TargetError::Errno(libc::ESRCH as u8))?;
        *regs = Values::of(member.tid, &member.regs);
        Ok(())
    }

    fn write_registers(&mut self, _regs: &Values, _tid: Tid) -> TargetResult<(), Self> {
        refused()
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        let member = self.member(tid).or_else(|| self.members.first());
        let tid = self.ahead.or(member.map(|member| member.tid)).ok_or(TargetError::Errno(libc::ESRCH as u8))?;
        let memory = File::open(format!("/proc/{tid}/mem"))?;
        let mut got = 0;
        while got < data.len() {
            // A read ends where nothing is mapped.
            match memory.read_at(&mut data[got..], start.wrapping_add(got as u64)) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if got == 0 && !data.is_empty() { Err(TargetError::Errno(libc::EFAULT as u8)) } else { Ok(got) }
    }

    fn write_addrs(&mut self, _start: u64, _data: &[u8], _tid: Tid) -> TargetResult<(), Self> {
        refused()
    }

    fn list_active_threads(&mut self, register: &mut dyn FnMut(Tid)) -> Result<(), Infallible> {
        self.members.iter().for_each(|member| register(member.number));
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl ThreadExtraInfo for Inferior<'_> {
    fn thread_extra_info(&self, tid: Tid, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let text = self.member(tid).map_or_else(String::new, |member| format!("thread {}", member.ordinal));
        Ok(copied(text.as_bytes(), 0, buffer.len(), buffer))
    }
}

impl MultiThreadResume for Inferior<'_> {
    fn resume(&mut self) -> Result<(), Infallible> {
        self.request = Some(Request::Go(self.motion));
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Infallible> {
        self.motion = Motion::Continue;
        Ok(())
    }

    /// Signals come as they came.
    fn set_resume_action_continue(&mut self, _tid: Tid, _signal: Option<Signal>) -> Result<(), Infallible> {
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<MultiThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }

    fn support_reverse_step(&mut self) -> Option<ReverseStepOps<'_, Tid, Self>> {
        Some(self)
    }

    fn support_reverse_cont(&mut self) -> Option<ReverseContOps<'_, Tid, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for Inferior<'_> {
    fn set_resume_action_step(&mut self, tid: Tid, _signal: Option<Signal>) -> Result<(), Infallible> {
        self.motion = Motion::Step(self.index_of(tid));
        Ok(())
    }
}

impl MultiThreadRangeStepping for Inferior<'_> {
    fn set_resume_action_range_step(&mut self, tid: Tid, start: u64, end: u64) -> Result<(), Infallible> {
        self.motion = Motion::Range { thread: self.index_of(tid), start, end };
        Ok(())
    }
}

/// Threads run as they ran: what one waits for the others still do.
impl MultiThreadSchedulerLocking for Inferior<'_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl ReverseCont<Tid> for Inferior<'_> {
    fn reverse_cont(&mut self) -> Result<(), Infallible> {
        self.request = Some(Request::BackContinue);
        Ok(())
    }
}

impl ReverseStep<Tid> for Inferior<'_> {
    fn reverse_step(&mut self, tid: Tid) -> Result<(), Infallible> {
        self.request = Some(Request::BackStep(self.index_of(tid)));
        Ok(())
    }
}

impl Breakpoints for Inferior<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Inferior<'_> {
    fn add_sw_breakpoint(&mut self, addr: u64, _kind: usize) -> TargetResult<bool, Self> {
        if !self.has_room_at(addr) {
            return Err(TargetError::Errno(libc::EFAULT as u8));
        }
        self.breaks.insert(addr);
        Ok(true)
    }

    fn remove_sw_breakpoint(&mut self, addr: u64, _kind: usize) -> TargetResult<bool, Self> {
        self.breaks.remove(&addr);
        Ok(true)
    }
}

/// There are as many as one likes of the other kind, and nobody sees them in memory.
impl HwBreakpoint for Inferior<'_> {
    fn add_hw_breakpoint(&mut self, addr: u64, kind: usize) -> TargetResult<bool, Self> {
        self.add_sw_breakpoint(addr, kind)
    }

    fn remove_hw_breakpoint(&mut self, addr: u64, kind: usize) -> TargetResult<bool, Self> {
        self.remove_sw_breakpoint(addr, kind)
    }
}

impl HwWatchpoint for Inferior<'_> {
    fn add_hw_watchpoint(&mut self, addr: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        let Some(own) = pieces(addr, len, kind) else { return Ok(false) };
        if self.watches.len() + own.len() > MOST_WATCHES {
            return Ok(false);
        }
        self.watches.extend(own);
        self.kinds.push((addr, len, kind));
        Ok(true)
    }

    fn remove_hw_watchpoint(&mut self, addr: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        for piece in pieces(addr, len, kind).unwrap_or_default() {
            if let Some(at) = self.watches.iter().position(|watch| *watch == piece) {
                self.watches.remove(at);
            }
        }
        if let Some(at) = self.kinds.iter().position(|known| *known == (addr, len, kind)) {
            self.kinds.remove(at);
        }
        Ok(true)
    }
}

/// Pieces of memory that the processor can watch, each one at its own boundary; `None` when there are too many.
fn pieces(mut addr: u64, len: u64, kind: WatchKind) -> Option<Vec<Watch>> {
    let kind = if kind == WatchKind::Write { Access::Write } else { Access::ReadOrWrite };
    let end = addr.checked_add(len).filter(|end| *end > addr)?;
    let mut found = Vec::new();
    while addr < end {
        let length = [8, 4, 2, 1].into_iter().find(|size| addr.is_multiple_of(*size) && addr + size <= end)?;
        if found.len() == MOST_WATCHES {
            return None;
        }
        found.push(Watch { addr, length: length as u8, kind });
        addr += length;
    }
    Some(found)
}

impl CatchSyscalls for Inferior<'_> {
    fn enable_catch_syscalls(&mut self, filter: Option<SyscallNumbers<'_, u64>>) -> TargetResult<(), Self> {
        self.catch = filter.map_or(Catch::All, |numbers| Catch::These(numbers.collect()));
        Ok(())
    }

    fn disable_catch_syscalls(&mut self) -> TargetResult<(), Self> {
        self.catch = Catch::None;
        Ok(())
    }
}

impl MonitorCmd for Inferior<'_> {
    fn handle_monitor_cmd(&mut self, words: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), Infallible> {
        if words == b"when" {
            outputln!(out, "event @{} of {}", self.at.0, self.at.1);
        } else if words == b"checkpoints" {
            let States { before, passes: [from_states, from_start] } = &self.states;
            outputln!(
                out,
                "{} states are kept to go back to; gone back to one of them: {from_states}, to the start: {from_start}",
                before.len()
            );
            let (first, last) = (before.first(), before.last());
            if let (Some(first), Some(last)) = (first, last) {
                outputln!(out, "the first before event @{first}, the last before @{last}");
            }
        } else {
            outputln!(out, "monitor when: the number of the event that the replay is at, as `trace show` has it");
            outputln!(out, "monitor checkpoints: the states that are kept to go back to");
        }
        Ok(())
    }
}

/// Copies a part of some bytes; how many there are.
fn copied(bytes: &[u8], offset: u64, length: usize, buffer: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    let count = rest.len().min(length).min(buffer.len());
    buffer[..count].copy_from_slice(&rest[..count]);
    count
}

impl ExecFile for Inferior<'_> {
    fn get_exec_file(&self, _: Option<Pid>, offset: u64, length: usize, buf: &mut [u8]) -> TargetResult<usize, Self> {
        Ok(copied(&self.program.path, offset, length, buf))
    }
}

impl Auxv for Inferior<'_> {
    fn get_auxv(&self, offset: u64, length: usize, buf: &mut [u8]) -> TargetResult<usize, Self> {
        Ok(copied(&self.program.auxv, offset, length, buf))
    }
}

/// The files that the program had mapped, under the names that they had; and what this machine knows of their lines and names.
impl HostIo for Inferior<'_> {
    fn support_open(&mut self) -> Option<HostIoOpenOps<'_, Self>> {
        Some(self)
    }

    fn support_close(&mut self) -> Option<HostIoCloseOps<'_, Self>> {
        Some(self)
    }

    fn support_pread(&mut self) -> Option<HostIoPreadOps<'_, Self>> {
        Some(self)
    }

    fn support_fstat(&mut self) -> Option<HostIoFstatOps<'_, Self>> {
        Some(self)
    }

    fn support_setfs(&mut self) -> Option<HostIoSetfsOps<'_, Self>> {
        Some(self)
    }
}

impl HostIoOpen for Inferior<'_> {
    fn open(&mut self, name: &[u8], flags: HostIoOpenFlags, _: HostIoOpenMode) -> HostIoResult<u32, Self> {
        /// Where distributions put them, by build id or by name.
        const DEBUG: &str = "/usr/lib/debug";
        if flags.intersects(HostIoOpenFlags::O_WRONLY | HostIoOpenFlags::O_RDWR | HostIoOpenFlags::O_CREAT) {
            return Err(HostIoError::Errno(HostIoErrno::EROFS));
        }
        let fd = (0..MOST_OPEN as u32).find(|fd| !self.open.contains_key(fd));
        let fd = fd.ok_or(HostIoError::Errno(HostIoErrno::EMFILE))?;
        let path = Path::new(std::ffi::OsStr::from_bytes(name));
        let file = match self.library.get(name) {
            Some(hash) => {
                let content = self.files.get(hash).map_err(|_| HostIoError::Errno(HostIoErrno::ENOENT))?;
                content.descriptor().try_clone_to_owned()?
            }
            None if is_of_process(path, b"maps") => {
                let mut file = sys::memory_file(c"maps", 0)?;
                file.write_all(self.maps().as_bytes())?;
                file.into()
            }
            None if path.starts_with(DEBUG) && !path.components().any(|part| part == Component::ParentDir) => {
                OpenOptions::new().read(true).open(path)?.into()
            }
            None => return Err(HostIoError::Errno(HostIoErrno::ENOENT)),
        };
        self.open.insert(fd, file);
        Ok(fd)
    }
}

/// Whether a path is that of a file about the process or one of its threads, proc(5). gdb names it by a number of its own.
fn is_of_process(path: &Path, name: &[u8]) -> bool {
    path.starts_with("/proc") && path.file_name().is_some_and(|last| last.as_bytes() == name)
}

impl Inferior<'_> {
    /// The memory of the process, proc_pid_maps(5), with the names that files had.
    fn maps(&self) -> String {
        let Some(member) = self.members.first() else { return String::new() };
        let names: HashMap<Hash, &Vec<u8>> = self.library.iter().map(|(path, hash)| (*hash, path)).collect();
        let own = |mapping: &Mapping| self.stub.overlaps(mapping.start, mapping.start + mapping.length);
        let mut text = String::new();
        for mapping in image::mappings(member.tid).iter().filter(|mapping| !own(mapping)) {
            let bit = |bit: i32, letter: char| if mapping.prot & bit as u64 == 0 { '-' } else { letter };
            let name = self.files.hash_behind(mapping).and_then(|hash| names.get(&hash));
            let _ = writeln!(
                text,
                "{:x}-{:x} {}{}{}{} {:08x} 00:00 {} {}",
                mapping.start,
                mapping.start + mapping.length,
                bit(libc::PROT_READ, 'r'),
                bit(libc::PROT_WRITE, 'w'),
                bit(libc::PROT_EXEC, 'x'),
                if mapping.shared { 's' } else { 'p' },
                mapping.offset,
                u8::from(name.is_some()),
                name.map_or(String::new(), |name| String::from_utf8_lossy(name).into_owned()),
            );
        }
        text
    }

    fn file(&self, fd: u32) -> Result<File, HostIoError<Infallible>> {
        let file = self.open.get(&fd).ok_or(HostIoError::Errno(HostIoErrno::EBADF))?;
        Ok(File::from(file.as_fd().try_clone_to_owned()?))
    }
}

impl HostIoClose for Inferior<'_> {
    fn close(&mut self, fd: u32) -> HostIoResult<(), Self> {
        self.open.remove(&fd).map(drop).ok_or(HostIoError::Errno(HostIoErrno::EBADF))
    }
}

impl HostIoPread for Inferior<'_> {
    fn pread(&mut self, fd: u32, count: usize, offset: u64, buf: &mut [u8]) -> HostIoResult<usize, Self> {
        let count = count.min(buf.len());
        Ok(self.file(fd)?.read_at(&mut buf[..count], offset)?)
    }
}

impl HostIoFstat for Inferior<'_> {
    fn fstat(&mut self, fd: u32) -> HostIoResult<HostIoStat, Self> {
        let size = self.file(fd)?.metadata()?.len();
        Ok(HostIoStat {
            st_dev: 0,
            st_ino: 0,
            st_mode: HostIoOpenMode::S_IFREG | HostIoOpenMode::S_IRUSR,
            st_nlink: 1,
            st_uid: 0,
            st_gid: 0,
            st_rdev: 0,
            st_size: size,
            st_blksize: 4096,
            st_blocks: size.div_ceil(512),
            st_atime: 0,
            st_mtime: 0,
            st_ctime: 0,
        })
    }
}

impl HostIoSetfs for Inferior<'_> {
    fn setfs(&mut self, _: FsKind) -> HostIoResult<(), Self> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_watched_in_pieces_that_the_processor_has() {
        let watch = |addr, length| Watch { addr, length, kind: Access::Write };
        assert_eq!(pieces(0x1000, 8, WatchKind::Write), Some(vec![watch(0x1000, 8)]));
        assert_eq!(pieces(0x1002, 6, WatchKind::Write), Some(vec![watch(0x1002, 2), watch(0x1004, 4)]));
        assert_eq!(pieces(0x1001, 32, WatchKind::Write), None);
        assert_eq!(pieces(0x1000, 0, WatchKind::Write), None);
        assert_eq!(pieces(u64::MAX, 8, WatchKind::Write), None);
    }

    #[test]
    fn signals_have_the_numbers_of_gdb() {
        for (linux, gdb) in [
            (libc::SIGHUP, Signal::SIGHUP),
            (libc::SIGSEGV, Signal::SIGSEGV),
            (libc::SIGBUS, Signal::SIGBUS),
            (libc::SIGCHLD, Signal::SIGCHLD),
            (libc::SIGTERM, Signal::SIGTERM),
            (libc::SIGSYS, Signal::SIGSYS),
            (34, Signal::SIG34),
            (63, Signal::SIG63),
            (64, Signal::SIG64),
        ] {
            assert_eq!(signal(linux), gdb, "{linux}");
        }
    }
}
