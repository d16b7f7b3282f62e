//! Starting the first program of a recording: found, forked, attached, and only then executed.
//!
//! The child waits on a pipe until the recorder has seized it, so the very first instruction of the program is already
//! observed. Between fork and exec only async-signal-safe calls are made, since the recorder's process has many threads.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use libc::{c_char, c_int, pid_t};

use crate::enforce::{self, Enforcement, Gate};
use crate::error::EngineError;
use crate::listening::{self, Listening};
use crate::objects;
use crate::pidfd;
use crate::sys;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// `argv`, at least one; the first is looked up in `PATH` when it has no slash.
    pub argv: Vec<OsString>,
    /// `NAME=value` strings; the recorder's own environment when absent.
    pub env: Option<Vec<OsString>>,
    /// Directory to start in.
    pub cwd: Option<PathBuf>,
    /// User to become.
    pub user: Option<User>,
    pub surroundings: Surroundings,
}

/// What the program finds that it would have found without this process.
#[derive(Clone, Debug)]
pub enum Surroundings {
    /// This process has changed nothing of what it was started with, but for the mask of blocked signals, which was this one.
    Kept(libc::sigset_t),
    /// This process has changed signals, limits and descriptors for itself, as node does.
    Restored(Restored),
}

impl Default for Surroundings {
    fn default() -> Surroundings {
        Surroundings::Restored(Restored::default())
    }
}

/// What is given back to the program, besides signals that do what they do by default.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// Soft limit of open files to give back, when this process has raised its own.
    pub nofile: Option<u64>,
    /// Ignore SIGHUP in the program, as it would have been without this process.
    pub ignore_hangup: bool,
    /// Descriptors that the program inherits although they are marked close-on-exec in this process.
    pub inherit: Vec<i32>,
}

/// The descriptors above 2 that this process was started with, as far as that can be told.
///
/// Node marks all of them close-on-exec when it starts, so the mark says nothing. What node opens for itself before any
/// script runs are epoll, event and io_uring descriptors and pipes of which it holds both ends; those of that sort that
/// were there before (make's jobserver) are also open in the process that passed them on. Only right in a process that has
/// opened nothing else.
#[must_use]
pub fn inherited() -> Vec<i32> {
    let this = std::process::id() as pid_t;
    // SAFETY: takes no argument.
    let other = unsafe { libc::getppid() };
    let (own, parent) = (links(this), links(other));
    let passed_on = |fd: i32, target: &[u8]| {
        let mut alike = parent.iter().filter(|(_, other)| other == target);
        // All anonymous files of a sort have one name. Pipes have their own, which is enough where kcmp is not there.
        alike.any(|(theirs, _)| {
            sys::same_file((this, fd), (other, *theirs)).unwrap_or_else(|| target.starts_with(b"pipe:"))
        })
    };
    let is_own = |fd: i32, target: &[u8]| {
        let both_ends = || own.iter().filter(|(_, other)| other == target).count() > 1;
        (target.starts_with(b"anon_inode:") || (target.starts_with(b"pipe:") && both_ends())) && !passed_on(fd, target)
    };
    own.iter().filter(|(fd, target)| *fd > 2 && !is_own(*fd, target)).map(|(fd, _)| *fd).collect()
}

/// The open descriptors of a process and what they stand for.
fn links(pid: pid_t) -> Vec<(i32, Vec<u8>)> {
    let fds = objects::open_descriptors(pid).unwrap_or_default().into_iter();
    fds.filter_map(|fd| {
        Some((fd, std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?.into_os_string().into_vec()))
    })
    .collect()
}

/// Credentials of the user that the program is to run as.
#[derive(Clone, Debug)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// How a program is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// `PTRACE_O_*` bits.
    pub trace_options: c_int,
    /// `rdtsc` traps in the program and all that comes from it, PR_SET_TSC in prctl(2).
    pub trap_clock: bool,
    /// Nobody traces it.
    pub untraced: bool,
}

/// A program that is attached, stopped before its exec.
pub struct Launched {
    pub pid: pid_t,
    go: OwnedFd,
    failure: OwnedFd,
    path: PathBuf,
    supervisor: Option<enforce::Supervising>,
    reaper: Option<enforce::Reaper>,
}

impl Launched {
    /// The parent of a program that a policy is enforced on, which is not recorded.
    pub fn take_reaper(&mut self) -> Option<enforce::Reaper> {
        self.reaper.take()
    }

    /// The thread that answers for the program, when a policy is enforced on it.
    pub fn take_supervisor(&mut self) -> Option<enforce::Supervising> {
        self.supervisor.take()
    }

    /// Lets the child go on to its exec.
    ///
    /// # Errors
    /// When the child is gone.
    pub fn release(&self) -> io::Result<()> {
        // SAFETY: writes one byte of a static buffer to a descriptor that this value owns.
        let written = unsafe { libc::write(self.go.as_raw_fd(), c"g".as_ptr().cast(), 1) };
        if written == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Why the child did not get as far as running the program, when it reported that.
    #[must_use]
    pub fn failure(&self) -> Option<EngineError> {
        let mut report = [0_u8; 8];
        // SAFETY: reads at most 8 bytes into a local buffer; the descriptor is non-blocking.
        let got = unsafe { libc::read(self.failure.as_raw_fd(), report.as_mut_ptr().cast(), report.len()) };
        if got != 8 {
            return None;
        }
        let step = i32::from_ne_bytes([report[0], report[1], report[2], report[3]]);
        let errno = i32::from_ne_bytes([report[4], report[5], report[6], report[7]]);
        Some(start_error(step, errno, &self.path))
    }
}

const STEP_EXEC: c_int = 0;
const STEP_CWD: c_int = 1;
const STEP_USER: c_int = 2;
const STEP_FILTER: c_int = 3;

fn start_error(step: c_int, errno: c_int, path: &Path) -> EngineError {
    let why = io::Error::from_raw_os_error(errno);
    let shown = path.display();
    match (step, errno) {
        (STEP_CWD, _) => EngineError::start("cwd", format!("cannot change to the directory {shown}: {why}")),
        (STEP_USER, _) => EngineError::start("user", format!("cannot become the requested user: {why}")),
        (enforce::STEP_LANDLOCK, _) => {
            EngineError::start("enforce", format!("the kernel refuses the Landlock ruleset: {why}"))
        }
        (enforce::STEP_FILTER | listening::STEP_LISTEN, libc::EBUSY) => EngineError::start(
            "nested",
            "calls of this process are answered by another supervisor already, and the kernel allows one only",
        ),
        (enforce::STEP_PRIVILEGES | enforce::STEP_FILTER | enforce::STEP_HANDOVER, _) => {
            EngineError::start("enforce", format!("the policy cannot be put on: {why}"))
        }
        (STEP_FILTER | listening::STEP_LISTEN | listening::STEP_HAND_OVER, _) => {
            EngineError::start("filter", format!("cannot install the capture filter: {why}"))
        }
        (_, libc::ENOENT) => EngineError::start(
            "no-interpreter",
            format!("{shown}: it exists, but the interpreter or dynamic loader that it names does not"),
        ),
        (_, libc::ENOEXEC) => EngineError::start(
            "exec-format",
            format!("{shown}: not a program of a known format (no ELF header, no #! line)"),
        ),
        (_, libc::E2BIG) => EngineError::start("too-long", format!("{shown}: the arguments are too long: {why}")),
        _ => EngineError::start("not-executable", format!("{shown}: {why}")),
    }
}

/// Finds what `argv[0]` means, as execvp(3) does.
///
/// # Errors
/// `not-found`, `not-executable` or `empty-command`, with the name and the directories that were tried.
pub fn find(program: &Program) -> Result<PathBuf, EngineError> {
    let Some(name) = program.argv.first().filter(|name| !name.is_empty()) else {
        return Err(EngineError::start("empty-command", "no program to run: the command is empty"));
    };
    let base = program.cwd.clone().unwrap_or_default();
    if name.as_bytes().contains(&b'/') {
        return usable(&base.join(name)).map(|()| PathBuf::from(name)).map_err(|errno| find_error(name, errno, None));
    }
    let search = search_path(program);
    let mut denied = None;
    for dir in search.as_bytes().split(|byte| *byte == b':') {
        let dir = if dir.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(dir) };
        let candidate = Path::new(dir).join(name);
        match usable(&base.join(&candidate)) {
            Ok(()) => return Ok(candidate),
            Err(libc::EACCES) => denied = Some(candidate),
            Err(_) => {}
        }
    }
    match denied {
        Some(path) => Err(find_error(path.as_os_str(), libc::EACCES, None)),
        None => Err(find_error(name, libc::ENOENT, Some(&search))),
    }
}

fn search_path(program: &Program) -> OsString {
    let own = program.env.as_ref().map(|env| {
        env.iter()
            .find_map(|entry| entry.as_bytes().strip_prefix(b"PATH=").map(|value| OsString::from_vec(value.to_vec())))
    });
    own.unwrap_or_else(|| std::env::var_os("PATH")).unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"))
}

/// Whether the file can be executed; the errno when not.
fn usable(path: &Path) -> Result<(), i32> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| libc::ENOENT)?;
    let facts = sys::stat(&name).map_err(|error| error.raw_os_error().unwrap_or(libc::ENOENT))?;
    if facts.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(libc::EISDIR);
    }
    // SAFETY: `name` is NUL-terminated.
    if unsafe { libc::access(name.as_ptr(), libc::X_OK) } != 0 {
        return Err(libc::EACCES);
    }
    Ok(())
}

fn find_error(name: &OsStr, errno: i32, search: Option<&OsStr>) -> EngineError {
    let shown = Path::new(name).display();
    match errno {
        libc::EACCES => EngineError::start("not-executable", format!("{shown}: no permission to execute it")),
        libc::EISDIR => EngineError::start("not-executable", format!("{shown}: is a directory")),
        libc::ENOENT => match search {
            Some(dirs) => {
                EngineError::start("not-found", format!("{shown}: not found in PATH ({})", Path::new(dirs).display()))
            }
            None => EngineError::start("not-found", format!("{shown}: no such file")),
        },
        _ => EngineError::start("not-executable", format!("{shown}: {}", io::Error::from_raw_os_error(errno))),
    }
}

/// NUL-terminated strings and the NULL-terminated pointer array over them.
struct Strings {
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    fn new(values: impl Iterator<Item = Vec<u8>>) -> Result<Strings, EngineError> {
        let owned: Vec<CString> = values
            .map(CString::new)
            .collect::<Result<_, _>>()
            .map_err(|_| EngineError::start("empty-command", "an argument or environment string holds a NUL byte"))?;
        let pointers = owned.iter().map(|value| value.as_ptr()).chain(std::iter::once(std::ptr::null())).collect();
        Ok(Strings { _owned: owned, pointers })
    }
}

/// All that the child needs, made before the fork so that it allocates nothing.
struct Plan<'a> {
    path: CString,
    argv: Strings,
    env: Strings,
    cwd: Option<CString>,
    user: Option<&'a User>,
    surroundings: &'a Surroundings,
    filter: Option<libc::sock_fprog>,
    trap_clock: bool,
    untraced: bool,
    gate: Option<&'a Gate>,
    attempt: Option<&'a enforce::Attempt>,
    listening: Option<&'a Listening>,
    go: c_int,
    failure: c_int,
    /// The recorder's ends of the two pipes, which the fork has copied.
    others: [c_int; 2],
}

fn pipe(flags: c_int) -> Result<(OwnedFd, OwnedFd), EngineError> {
    let mut ends = [0; 2];
    // SAFETY: pipe2 writes two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | flags) } != 0 {
        return Err(EngineError::start("system", format!("cannot make a pipe: {}", io::Error::last_os_error())));
    }
    // SAFETY: both descriptors are new and owned by nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Forks and seizes the child, which waits before its exec until [`Launched::release`].
///
/// `filter` is a classic BPF program that the child installs.
///
/// # Errors
/// As [`find`]; `permission` when the kernel does not let us trace.
pub fn launch(program: &Program, how: &How, filter: Option<&[libc::sock_filter]>) -> Result<Launched, EngineError> {
    launch_enforced(program, how, filter, None)
}

/// As [`launch`], with a policy that the child puts on.
///
/// # Errors
/// As [`launch`]; `policy` when it cannot be enforced.
pub fn launch_enforced(
    program: &Program,
    how: &How,
    filter: Option<&[libc::sock_filter]>,
    enforcement: Option<&Enforcement>,
) -> Result<Launched, EngineError> {
    if enforcement.is_some_and(|own| own.notify)
        && let Err(error) = pidfd::shares_descriptors()
    {
        let why = format!("the calls of a program cannot be answered where pidfd_getfd(2) is refused: {error}");
        return Err(EngineError::start("unsupervised", why));
    }
    let gate = enforcement.map(|own| Gate::new(&own.policy, own.notify)).transpose()?;
    let attempt = enforcement.and_then(|own| own.attempt.as_ref());
    let mut launched = start(program, how, &PutOn { filter, gate: gate.as_ref(), attempt, listening: None })?;
    if let (Some(own), Some(gate)) = (enforcement, gate) {
        launched.supervisor = own.supervise(gate, launched.pid)?;
    }
    Ok(launched)
}

/// Forks a child that nobody traces, and whose calls are answered by who takes the other end of `listening`.
///
/// # Errors
/// As [`find`].
pub fn launch_listening(program: &Program, listening: &Listening) -> Result<Launched, EngineError> {
    let how = How { untraced: true, ..How::default() };
    start(program, &how, &PutOn { filter: None, gate: None, attempt: None, listening: Some(listening) })
}

/// What a child puts on before its exec.
struct PutOn<'a> {
    filter: Option<&'a [libc::sock_filter]>,
    gate: Option<&'a Gate>,
    attempt: Option<&'a enforce::Attempt>,
    listening: Option<&'a Listening>,
}

fn start(program: &Program, how: &How, put_on: &PutOn<'_>) -> Result<Launched, EngineError> {
    let path = find(program)?;
    let (go_read, go_write) = pipe(0)?;
    let (failure_read, failure_write) = pipe(libc::O_NONBLOCK)?;
    let env: Vec<Vec<u8>> = match &program.env {
        Some(env) => env.iter().map(|entry| entry.as_bytes().to_vec()).collect(),
        None => std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()).collect(),
    };
    let c_string =
        |bytes: &[u8]| CString::new(bytes).map_err(|_| EngineError::start("empty-command", "a path holds a NUL byte"));
    let plan = Plan {
        path: c_string(path.as_os_str().as_bytes())?,
        argv: Strings::new(program.argv.iter().map(|arg| arg.as_bytes().to_vec()))?,
        env: Strings::new(env.into_iter())?,
        cwd: program.cwd.as_ref().map(|cwd| c_string(cwd.as_os_str().as_bytes())).transpose()?,
        user: program.user.as_ref(),
        surroundings: &program.surroundings,
        filter: put_on.filter.map(|code| libc::sock_fprog { len: code.len() as u16, filter: code.as_ptr().cast_mut() }),
        trap_clock: how.trap_clock,
        untraced: how.untraced,
        gate: put_on.gate,
        attempt: put_on.attempt,
        listening: put_on.listening,
        go: go_read.as_raw_fd(),
        failure: failure_write.as_raw_fd(),
        others: [go_write.as_raw_fd(), failure_read.as_raw_fd()],
    };
    let has_reaper = put_on.gate.is_some() && put_on.attempt.is_none() && how.untraced;
    // SAFETY: the child calls only `child`, which makes async-signal-safe calls and never returns.
    let (pid, reaper) = match unsafe { has_reaper.then(|| enforce::Reaper::fork()).transpose() } {
        // SAFETY: as above.
        Ok(None) => (unsafe { libc::fork() }, None),
        Ok(Some(enforce::Forked::Program)) => (0, None),
        Ok(Some(enforce::Forked::Parent(pid, reaper))) => (pid, Some(reaper)),
        Err(error) => return Err(EngineError::start("system", format!("cannot make a process: {error}"))),
    };
    match pid {
        -1 => Err(EngineError::start("system", format!("cannot make a process: {}", io::Error::last_os_error()))),
        // SAFETY: this is the child of the fork above; `plan` holds valid pointers for it.
        0 => unsafe { child(&plan) },
        _ => {
            if !how.untraced
                && let Err(error) = sys::seize(pid, how.trace_options)
            {
                // The child must not run unobserved.
                let _ = sys::kill(pid, libc::SIGKILL);
                // SAFETY: reaps the child just killed; no pointer is kept.
                unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) };
                return Err(EngineError::start(
                    "permission",
                    format!(
                        "the kernel does not let this process trace its child: {error}{}; trace doctor says what forbids it, \
                         and trace record --backend=notify needs no such right, but sees no results",
                        own_tracer()
                    ),
                ));
            }
            let shown = program.cwd.clone().filter(|cwd| !cwd.is_dir()).unwrap_or(path);
            Ok(Launched { pid, go: go_write, failure: failure_read, path: shown, supervisor: None, reaper })
        }
    }
}

/// Who traces this process, to be said where that keeps it from tracing others; empty when nobody does.
#[must_use]
pub fn own_tracer() -> String {
    let status = sys::text_of("/proc/self/status").unwrap_or_default();
    let tracer = sys::status_field(&status, "TracerPid").unwrap_or("0");
    if tracer == "0" {
        return String::new();
    }
    let name = sys::text_of(&format!("/proc/{tracer}/comm")).unwrap_or_default();
    format!(", as it is itself traced by {} ({tracer})", name.trim_end())
}

/// Puts a filter on. Before Linux 5.16 a program with one has its processor speculate less unless the filter says otherwise: it would be
/// slower than alone, and see that in /proc/self/status.
///
/// # Safety
/// The filter must be valid.
unsafe fn put_on(filter: &libc::sock_fprog) -> bool {
    let filter: *const libc::sock_fprog = filter;
    // SAFETY: both calls are async-signal-safe, and read the filter.
    unsafe {
        let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, filter) == 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, filter) == 0
    }
}

/// The child between fork and exec.
///
/// # Safety
/// Only in a child of fork; every pointer in `plan` must be valid.
unsafe fn child(plan: &Plan<'_>) -> ! {
    let fail = |step: c_int| -> ! {
        // SAFETY: errno, write and _exit are async-signal-safe.
        unsafe {
            let errno = *libc::__errno_location();
            let mut report = [0_u8; 8];
            report[..4].copy_from_slice(&step.to_ne_bytes());
            report[4..].copy_from_slice(&errno.to_ne_bytes());
            libc::write(plan.failure, report.as_ptr().cast(), 8);
            libc::_exit(127)
        }
    };
    // SAFETY: all calls are async-signal-safe and use memory that was prepared before the fork.
    unsafe {
        // With the recorder's end closed here too, its death is the end of the pipe, and of this process.
        for fd in plan.others {
            libc::close(fd);
        }
        let mut byte = 0_u8;
        loop {
            match libc::read(plan.go, (&raw mut byte).cast(), 1) {
                1 => break,
                -1 if *libc::__errno_location() == libc::EINTR => {}
                _ => libc::_exit(127),
            }
        }
        if plan.gate.is_some() {
            // What nobody has asked to pass on is authority that no grant tells of.
            libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        }
        match plan.surroundings {
            Surroundings::Kept(mask) => {
                libc::sigprocmask(libc::SIG_SETMASK, &raw const *mask, std::ptr::null_mut());
            }
            Surroundings::Restored(restored) => restore(restored),
        }
        if let Some(user) = plan.user
            && (libc::setgroups(user.groups.len(), user.groups.as_ptr()) != 0
                || libc::setresgid(user.gid, user.gid, user.gid) != 0
                || libc::setresuid(user.uid, user.uid, user.uid) != 0)
        {
            fail(STEP_USER);
        }
        if let Some(cwd) = &plan.cwd
            && libc::chdir(cwd.as_ptr()) != 0
        {
            fail(STEP_CWD);
        }
        if let Some(filter) = &plan.filter {
            // With CAP_SYS_ADMIN the filter needs no no_new_privs, and set-user-ID programs keep working.
            if !put_on(filter) && (libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !put_on(filter)) {
                fail(STEP_FILTER);
            }
        }
        if plan.trap_clock {
            libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV);
        }
        if plan.gate.is_some() && plan.untraced {
            // Without the supervisor, calls that it decides about would fail, and nobody would be told of refusals. (A tracer's
            // end is its tracees' as well, where that is wanted.)
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        }
        if let Some(gate) = plan.gate
            && let Err(step) = gate.pass()
        {
            fail(step)
        }
        if let Some(attempt) = plan.attempt {
            enforce::attempt(attempt)
        }
        if let Some(listening) = plan.listening {
            // Without the recorder no call would be answered any more.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if let Err(step) = listening.put_on() {
                fail(step)
            }
        }
        libc::execve(plan.path.as_ptr(), plan.argv.pointers.as_ptr(), plan.env.pointers.as_ptr());
        fail(STEP_EXEC)
    }
}

/// Gives the program what this process has changed for itself.
///
/// # Safety
/// Only in a child of fork.
unsafe fn restore(restored: &Restored) {
    // SAFETY: all calls are async-signal-safe and use memory of this frame or from before the fork.
    unsafe {
        reset_signals();
        if restored.ignore_hangup {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
        }
        for fd in [0, 1, 2].iter().chain(&restored.inherit) {
            libc::fcntl(*fd, libc::F_SETFD, 0);
        }
        if let Some(soft) = restored.nofile {
            let mut limit = std::mem::zeroed::<libc::rlimit>();
            if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
                limit.rlim_cur = soft.min(limit.rlim_max);
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
            }
        }
    }
}

/// Gives the program the signal state of a freshly started one: node ignores SIGPIPE, and threads of a runtime block signals.
///
/// # Safety
/// Only in a child of fork.
unsafe fn reset_signals() {
    // SAFETY: signal and sigprocmask are async-signal-safe; the set is a local.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
