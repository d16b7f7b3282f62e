//! Copies of stopped processes (clone without CLONE_VM): with all memory, and one thread.

use libc::{pid_t, user_regs_struct};

use crate::replay::kernel;
use crate::replay::remote::{Remote, RemoteCall};
use crate::replay::tracee::Thread;
use crate::replay::watch::{Halt, lost};
use crate::replay::zygote::{CLONE_PROCESS, new_task};
use crate::sys;

/// Memory that children of a process do not get, or not as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    start: u64,
    length: u64,
    is_wiped: bool,
}

impl Kept {
    /// What the process of a thread keeps from its children now.
    #[must_use]
    pub fn of(thread: &Thread) -> Vec<Kept> {
        if !thread.space().borrow().keeps_from_children {
            return Vec::new();
        }
        Kept::in_smaps(&std::fs::read(format!("/proc/{}/smaps", thread.tid)).unwrap_or_default())
    }

    /// The call after which children get it, or do not any more.
    #[must_use]
    pub fn call(&self, is_given: bool) -> RemoteCall {
        let advice = match (self.is_wiped, is_given) {
            (false, true) => libc::MADV_DOFORK,
            (false, false) => libc::MADV_DONTFORK,
            (true, true) => libc::MADV_KEEPONFORK,
            (true, false) => libc::MADV_WIPEONFORK,
        };
        RemoteCall::new(libc::SYS_madvise, &[self.start, self.length, advice as u64])
    }

    /// What the kernel tells of a process, proc_pid_smaps(5).
    fn in_smaps(smaps: &[u8]) -> Vec<Kept> {
        let mut found: Vec<Kept> = Vec::new();
        let mut range = None;
        for line in smaps.split(|byte| *byte == b'\n') {
            if let Some(flags) = line.strip_prefix(b"VmFlags:") {
                let has = |flag: &[u8]| flags.split(u8::is_ascii_whitespace).any(|own| own == flag);
                let is_wiped = has(b"wf");
                if let (Some((start, end)), true) = (range.take(), is_wiped || has(b"dc")) {
                    found.push(Kept { start, length: end - start, is_wiped });
                }
            } else if let Some(first) = range_of(line) {
                range = Some(first);
            }
        }
        found
    }
}

/// The range with which the first line about a mapping begins.
fn range_of(line: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?;
    let (start, end) = text.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    (start < end).then_some((start, end))
}

/// Copies the process of a stopped thread, process and thread given by number: the copy's only thread stands still and has `regs`. The
/// thread itself stands in the stub afterwards. `kept`: what the process keeps from its children, which the copy is to have.
pub fn copy(
    remote: &Remote,
    (pid, tid): (pid_t, pid_t),
    regs: &user_regs_struct,
    kept: &[Kept],
) -> Result<pid_t, Halt> {
    let advise = |is_given| -> Vec<RemoteCall> { kept.iter().map(|kept| kept.call(is_given)).collect() };
    remote.table(pid, tid, regs, &advise(true))?;
    let made = remote.one(pid, tid, regs, &RemoteCall::new(libc::SYS_clone, &[CLONE_PROCESS]));
    remote.table(pid, tid, regs, &advise(false))?;
    let copy = new_task(made?)?;
    let placed =
        remote.await_birth(copy).and_then(|()| Ok(sys::set_registers(copy, regs).map_err(|error| lost(copy, &error))?));
    if placed.is_err() {
        dismiss(copy);
    }
    placed.map(|()| copy)
}

/// Ends a copy.
pub fn dismiss(copy: pid_t) {
    let _ = sys::kill(copy, libc::SIGKILL);
    while let Ok(status) = kernel::wait(copy) {
        if status.is_some_and(|status| !libc::WIFSTOPPED(status)) {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_children_do_not_get_is_told_by_its_flags() {
        let smaps = b"7f00-8f00 rw-p 00000000 00:00 0 \nRss:   4 kB\nVmFlags: rd wr mr mw me dc ac \n\
            9000-a000 rw-p 00000000 00:00 0 [anon: x]\nVmFlags: rd wr mr mw me ac \n\
            b000-c000 rw-p 00000000 00:00 0 \nVmFlags: rd wr wf sd \nVmFlags: dc \nzz-yy \nVmFlags: dc\n";
        let kept = |start, length, is_wiped| Kept { start, length, is_wiped };
        assert_eq!(Kept::in_smaps(smaps), [kept(0x7f00, 0x1000, false), kept(0xb000, 0x1000, true)]);
        assert_eq!(Kept::in_smaps(b""), []);
    }
}
