//! What the kernel tells of processes and threads, and asks of them.

use std::io;
use std::mem::size_of;

use libc::{c_int, c_long, pid_t};

use super::check;

/// A limit of a task, getrlimit(2), and what /proc/PID/limits calls it.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    resource: libc::__rlimit_resource_t,
    label: &'static str,
}

/// How large it may make its files.
pub const FILE_SIZE: Limit = Limit { resource: libc::RLIMIT_FSIZE, label: "Max file size" };
/// How much it may have mapped.
pub const ADDRESS_SPACE: Limit = Limit { resource: libc::RLIMIT_AS, label: "Max address space" };
/// How many descriptors it may have.
pub const OPEN_FILES: Limit = Limit { resource: libc::RLIMIT_NOFILE, label: "Max open files" };

/// What a file of /proc says: names in it, which may hold anything, need not be text. `None` when it is gone.
#[must_use]
pub fn text_of(path: &str) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What /proc/TID/status says of a thread. `None` when it is gone.
#[must_use]
pub fn status_of(tid: pid_t) -> Option<String> {
    text_of(&format!("/proc/{tid}/status"))
}

/// The value of a field of such a text.
#[must_use]
pub fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim())
}

/// The process that a descriptor of a task stands for, pidfd_open(2); `None` when it is none, or that is gone.
#[must_use]
pub fn process_of_pidfd(tid: pid_t, fd: i32) -> Option<pid_t> {
    let info = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).ok()?;
    status_field(&info, "Pid")?.parse().ok().filter(|pid| *pid > 0)
}

/// Whether /proc shows the processes of this pid namespace, by their numbers here. That of another one, proc(5), shows others under them.
///
/// # Errors
/// When there is no /proc.
pub fn shows_own_processes() -> io::Result<bool> {
    let stat = std::fs::read("/proc/self/stat")?;
    Ok(stat.split(|byte| *byte == b' ').next() == Some(std::process::id().to_string().as_bytes()))
}

/// Whether more signals may be pending for this user (RLIMIT_SIGPENDING): else the kernel keeps no more of them than their numbers. True where
/// that is not told.
#[must_use]
pub fn has_room_for_signals() -> bool {
    let status = text_of("/proc/self/status").unwrap_or_default();
    let Some((pending, most)) = status_field(&status, "SigQ").and_then(|queue| queue.split_once('/')) else {
        return true;
    };
    let count = |text: &str| text.parse::<u64>().ok();
    count(pending).zip(count(most)).is_none_or(|(pending, most)| pending < most)
}

/// What the soft limit of a task is.
#[must_use]
pub fn soft_limit(tid: pid_t, of: Limit) -> u64 {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the old limit is written to a valid struct, and no new one is given.
    let asked = unsafe { libc::prlimit64(tid, of.resource, std::ptr::null(), &raw mut limit) };
    if asked == 0 {
        return limit.rlim_cur;
    }
    // Of another user's process it takes a privilege, while proc(5) tells it to who may trace it.
    let limits = std::fs::read_to_string(format!("/proc/{tid}/limits")).unwrap_or_default();
    limit_in(&limits, of).unwrap_or(0)
}

/// A soft limit in the text of /proc/PID/limits.
fn limit_in(limits: &str, of: Limit) -> Option<u64> {
    let word = limits.lines().find_map(|line| line.strip_prefix(of.label))?.split_whitespace().next()?;
    if word == "unlimited" { Some(libc::RLIM_INFINITY) } else { word.parse().ok() }
}

/// Whether calls of this thread, and so of all that it starts, pass a filter already, prctl(2).
#[must_use]
pub fn has_own_filter() -> bool {
    // SAFETY: takes no pointer.
    unsafe { libc::prctl(libc::PR_GET_SECCOMP) == 2 }
}

/// Whether calls of a thread pass a filter, or are held to a few (strict mode), as proc_pid_status(5) tells it.
#[must_use]
pub fn filters_calls(tid: pid_t) -> bool {
    let status = status_of(tid).unwrap_or_default();
    status_field(&status, "Seccomp").is_some_and(|mode| mode != "0")
}

/// Whether this thread, and so all that it starts, gains no privileges, prctl(2).
#[must_use]
pub fn gains_nothing() -> bool {
    // SAFETY: takes no pointer.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }
}

/// The id of this thread.
#[must_use]
pub fn own_tid() -> pid_t {
    // SAFETY: takes no argument.
    unsafe { libc::gettid() }
}

/// Sends a signal to one thread.
pub fn tgkill(pid: pid_t, tid: pid_t, signal: c_int) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) }).map(drop)
}

/// Sends a signal to a process.
pub fn kill(pid: pid_t, signal: c_int) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(c_long::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// Nanoseconds that a process has run on processors, all its threads together, clock_getcpuclockid(3); `None` when it is gone.
#[must_use]
pub fn cpu_time(pid: pid_t) -> Option<u64> {
    /// `CPUCLOCK_SCHED` of linux/posix-timers.h: what the scheduler has measured.
    const SCHED: libc::clockid_t = 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    let done = unsafe { libc::syscall(libc::SYS_clock_gettime, !pid << 3 | SCHED, &raw mut time) };
    (done == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// A CPU set as the kernel's bit mask of 1024 CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuMask(pub [u64; 16]);

impl CpuMask {
    /// The mask with that one CPU.
    #[must_use]
    pub fn single(cpu: usize) -> CpuMask {
        let mut mask = CpuMask([0; 16]);
        if let Some(word) = mask.0.get_mut(cpu / 64) {
            *word = 1 << (cpu % 64);
        }
        mask
    }

    /// The smallest number in it.
    #[must_use]
    pub fn first(&self) -> usize {
        let word = self.0.iter().position(|word| *word != 0).unwrap_or(0);
        word * 64 + self.0[word].trailing_zeros() as usize % 64
    }

    /// The CPUs that are not in the other one.
    #[must_use]
    pub fn without(&self, other: &CpuMask) -> CpuMask {
        CpuMask(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    /// How many CPUs are in it.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// The affinity of a thread (0: this one).
pub fn affinity(tid: pid_t) -> io::Result<CpuMask> {
    let mut mask = CpuMask([0; 16]);
    // SAFETY: the kernel writes at most the given 128 bytes.
    check(unsafe { libc::syscall(libc::SYS_sched_getaffinity, tid, size_of::<CpuMask>(), mask.0.as_mut_ptr()) })?;
    Ok(mask)
}

/// Sets the affinity of a thread (0: this one).
pub fn set_affinity(tid: pid_t, mask: &CpuMask) -> io::Result<()> {
    // SAFETY: the kernel reads the given 128 bytes.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, tid, size_of::<CpuMask>(), mask.0.as_ptr()) }).map(drop)
}

/// The CPU this thread runs on.
#[must_use]
pub fn current_cpu() -> usize {
    // SAFETY: takes no argument.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

/// The numbers that a directory of /proc lists: processes, threads of one, its descriptors.
///
/// # Errors
/// As open(2): there is no such process any more, or it is not to be looked at.
pub fn numbers_in(directory: &str) -> io::Result<Vec<i32>> {
    let entries = std::fs::read_dir(directory)?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// The effective capabilities of a thread, capget(2).
///
/// # Errors
/// ESRCH when it is gone.
pub fn effective_capabilities(tid: pid_t) -> io::Result<u64> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two halves of 32 bits for each set.
    const VERSION: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION, tid as u32];
    // Effective, permitted and inheritable, low half first.
    let mut halves = [[0_u32; 3]; 2];
    // SAFETY: the kernel reads a header of two words and writes the two halves of this version.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), halves.as_mut_ptr()) })?;
    Ok(u64::from(halves[0][0]) | u64::from(halves[1][0]) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_files_is_told_in_two_ways() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax cpu time  7  8  seconds\nMax file size  4096  unlimited  bytes\n";
        assert_eq!(limit_in(text, FILE_SIZE), Some(4096));
        assert_eq!(
            limit_in("Max file size             unlimited            unlimited            bytes", FILE_SIZE),
            Some(u64::MAX)
        );
        assert_eq!(limit_in("", FILE_SIZE), None);
        let own = std::fs::read_to_string("/proc/self/limits").unwrap();
        assert_eq!(limit_in(&own, FILE_SIZE), Some(soft_limit(own_tid(), FILE_SIZE)));
    }
}
