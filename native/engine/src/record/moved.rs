//! Output that never passes the program's memory: sendfile(2), splice(2), tee(2) and copy_file_range(2) to the first program's
//! streams. Replay prints it, so its bytes have to be in the trace.
//!
//! Those of a file are read where the kernel took them. A pipe or a socket has forgotten them when the call comes back, so
//! it is looked into before (tee(2), MSG_PEEK), and the call then moves no more than was seen: a short count, as all of
//! these calls may give. While a source has nothing, the thread waits in a call that takes nothing away (a read to where
//! nothing is mapped), and enters its own when something is there. A source that gives other bytes each time (a device, a
//! file of /proc), or that a recorded process may have to give (fuse(4)), is answered with EINVAL, as by kernels that cannot
//! move its data; programs read and write it then.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

use libc::{c_int, pid_t};
use trace_format::event::{Lost, Side, slot};
use trace_format::syscalls;
use trace_format::table::Arch;

use super::layouts::file_position;
use super::replayable::sink;
use super::{Recorder, World};
use crate::capture::Call;
use crate::memory::word_of;
use crate::plan::Role;
use crate::raw::ObjectKind;
use crate::sys;
use crate::task::{Moving, MovingStep, Task};

/// Most bytes that one call moves: what an event can hold, with room for the rest of it.
const MOST_OF_FILE: u64 = 16 << 20;
/// Most bytes that are looked at in a pipe or socket.
const MOST_OF_STREAM: usize = 1 << 20;

const EAGAIN: i64 = -(libc::EAGAIN as i64);
const EINVAL: i64 = -(libc::EINVAL as i64);
const EFAULT: i64 = -(libc::EFAULT as i64);

/// Where the count stands among the arguments.
fn count_index(call: &Call) -> usize {
    match call.name() {
        "sendfile" | "sendfile64" => 3,
        "tee" => 2,
        _ => 4,
    }
}

/// Whether such a call is not to wait, as far as its flags say.
fn says_nonblock(call: &Call) -> bool {
    let flags = match call.name() {
        "splice" => call.args[5],
        "tee" => call.args[3],
        _ => 0,
    };
    flags & u64::from(libc::SPLICE_F_NONBLOCK) != 0
}

/// Whether an open description is marked O_NONBLOCK, from /proc/PID/fdinfo.
fn is_nonblocking(tid: pid_t, fd: c_int) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| c_int::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_NONBLOCK != 0)
}

/// Whether the bytes of a file are those that it had a moment ago, as long as nobody writes to it: not so in the kernel's own file
/// systems, statfs(2).
fn keeps_its_bytes(file: &File) -> bool {
    const OF_THE_KERNEL: [i64; 8] = [
        libc::PROC_SUPER_MAGIC,
        libc::SYSFS_MAGIC,
        libc::CGROUP_SUPER_MAGIC,
        libc::CGROUP2_SUPER_MAGIC,
        libc::DEBUGFS_MAGIC,
        libc::TRACEFS_MAGIC,
        libc::SECURITYFS_MAGIC,
        libc::BPF_FS_MAGIC,
    ];
    sys::file_system(file).is_ok_and(|kind| !OF_THE_KERNEL.contains(&kind))
}

/// Makes a call, whatever it is, one that does nothing: no argument of it is a descriptor or an address any more. Its number stays, since
/// that is what a filter of the program looks at.
fn do_nothing(regs: &mut libc::user_regs_struct, arch: Arch) {
    for index in 0..6 {
        *sys::argument(regs, arch, index) = u64::MAX;
    }
}

impl World {
    /// The call at whose entry a thread stands does nothing, and this is its result.
    pub(super) fn skip(&mut self, task: &mut Task, answer: i64) {
        let Some(arch) = task.call.as_ref().map(|call| call.arch) else { return };
        let skipped = sys::registers(task.tid).and_then(|regs| {
            let mut skipped = regs;
            do_nothing(&mut skipped, arch);
            sys::set_registers(task.tid, &skipped).map(|()| regs)
        });
        match skipped {
            Ok(regs) => task.moving = Some(Box::new(Moving { regs, step: MovingStep::Answered(answer) })),
            Err(_) => self.lost[Lost::TaskGone as usize] += 1,
        }
    }

    /// The descriptor that a thread is about to move data from, to an output of the first program.
    fn moves_from(&self, task: &Task) -> Option<(Call, c_int)> {
        let call = task.call?;
        let Role::Moves(source) = call.plan?.role else { return None };
        let to = task.fds.borrow().open(sink(&call)?)?;
        self.streams.iter().any(|stream| stream.is(&to)).then(|| (call, call.int(usize::from(source))))
    }

    /// What becomes of a call that moves data from `fd`, and its count; nothing when it is to be made as it is.
    fn moving_step(&mut self, task: &Task, call: &Call, fd: c_int) -> Option<(MovingStep, u64)> {
        let count = call.args[count_index(call)];
        let kind = task.fds.borrow().open(fd)?.kind;
        match kind {
            ObjectKind::File if self.is_served(task.tid, fd) => Some((MovingStep::Answered(EINVAL), count)),
            ObjectKind::File | ObjectKind::Memfd | ObjectKind::BlockDevice => {
                let file = sys::open_again(task.tid, fd).or_else(|_| {
                    let pid = task.process.borrow().pid;
                    sys::share_descriptor(pid, task.tid, fd).map(File::from)
                });
                let Ok(file) = file else {
                    self.note("a file whose content went to the output could not be read: a replay leaves it out");
                    return None;
                };
                if !keeps_its_bytes(&file) {
                    return Some((MovingStep::Answered(EINVAL), count));
                }
                let offset = source_offset(task, call).or_else(|| file_position(task.tid, fd))?;
                Some((MovingStep::FromFile(file, offset), count.min(MOST_OF_FILE)))
            }
            ObjectKind::CharDevice => Some((MovingStep::Answered(EINVAL), count)),
            // Only these two take data from what is no file. Some mistakes they tell without waiting.
            _ if !matches!(call.name(), "splice" | "tee") || is_mistaken(task, call, fd) => None,
            ObjectKind::Pipe | ObjectKind::Fifo => {
                let seen = self.look_into_pipe(task, fd, count);
                step_of(seen, task, call, fd)
            }
            ObjectKind::Socket if call.name() == "splice" => {
                let pid = task.process.borrow().pid;
                let Ok(socket) = sys::share_descriptor(pid, task.tid, fd) else {
                    return Some((MovingStep::Answered(EINVAL), count));
                };
                if !sys::is_stream_socket(&socket) {
                    return None;
                }
                let mut bytes = vec![0; most_of_stream(count)];
                let seen = sys::peek_socket(&socket, &mut bytes);
                let seen = seen.map(|length| {
                    bytes.truncate(length);
                    bytes
                });
                step_of(seen, task, call, fd)
            }
            _ => None,
        }
    }

    /// What is in a pipe, at most `count` bytes; nothing when its writers are gone.
    fn look_into_pipe(&mut self, task: &Task, fd: c_int, count: u64) -> io::Result<Vec<u8>> {
        let pid = task.process.borrow().pid;
        let pipe =
            sys::open_again(task.tid, fd).or_else(|_| sys::share_descriptor(pid, task.tid, fd).map(File::from))?;
        let (reader, writer) = match &mut self.lookout {
            Some(lookout) => lookout,
            none => none.insert(sys::wide_pipe(MOST_OF_STREAM as c_int)?),
        };
        let length = sys::copy_pipe(&pipe, writer, most_of_stream(count))?;
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Whether a call from a pipe or socket fails whatever is in there: an offset in what has none, a pipe into itself.
fn is_mistaken(task: &Task, call: &Call, fd: c_int) -> bool {
    let fds = task.fds.borrow();
    let to = sink(call).and_then(|to| fds.open(to));
    let to_pipe = to.is_some_and(|to| matches!(to.kind, ObjectKind::Pipe | ObjectKind::Fifo));
    let offset_given = call.name() == "splice" && (call.args[1] != 0 || (to_pipe && call.args[3] != 0));
    offset_given || to.zip(fds.open(fd)).is_some_and(|(to, from)| to.file == from.file)
}

fn most_of_stream(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(MOST_OF_STREAM)
}

/// What to do with a call from a pipe or socket, by what was seen there.
fn step_of(seen: io::Result<Vec<u8>>, task: &Task, call: &Call, fd: c_int) -> Option<(MovingStep, u64)> {
    let count = call.args[count_index(call)];
    match seen {
        // At its end, or asked for nothing, a source gives nothing.
        Ok(bytes) if bytes.is_empty() => None,
        Ok(bytes) => {
            let length = bytes.len() as u64;
            Some((MovingStep::Seen(bytes), length))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && count > 0 => {
            // Between two pipes, the mark of either counts.
            let to = sink(call).unwrap_or(-1);
            let to_pipe = task.fds.borrow().open(to).is_some_and(|open| open.kind == ObjectKind::Pipe);
            let nonblocking = says_nonblock(call)
                || is_nonblocking(task.tid, fd)
                || (to_pipe && is_nonblocking(task.tid, to))
                // With something mapped there, a read that takes nothing is not possible.
                || sys::read_pieces(task.tid, &[(0, 1)], &mut [0]) == 1;
            Some((if nonblocking { MovingStep::Answered(EAGAIN) } else { MovingStep::Waits }, count))
        }
        // The call itself says what is wrong.
        Err(_) => None,
    }
}

/// The offset that a call was given for its source, when it was given one.
fn source_offset(task: &Task, call: &Call) -> Option<u64> {
    let slot = if matches!(call.name(), "sendfile" | "sendfile64") { 2 } else { 1 };
    let addr = call.args[usize::from(slot)];
    (addr != 0).then(|| task.memory.at_entry(slot, addr).map_or(0, word_of))
}

impl Recorder {
    /// What a thread is about to read is answered, if it would show the recorder. Whether it is.
    pub(super) fn answer_shown(&mut self, tid: pid_t) -> bool {
        let Some(answer) = self.answers_shown(tid) else { return false };
        if let Some(task) = self.tasks.get_mut(&tid) {
            self.world.skip(task, answer);
        }
        true
    }

    /// A thread is about to make the call at whose entry it stands. If that moves data to an output of the first program, it is changed
    /// so that they are seen. `false` when it only waits for its source.
    pub(super) fn prepare_move(&mut self, tid: pid_t) -> bool {
        if self.answer_shown(tid) {
            return true;
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return true };
        let Some((call, fd)) = self.world.moves_from(task) else { return true };
        let Some((step, count)) = self.world.moving_step(task, &call, fd) else { return true };
        let Ok(regs) = sys::registers(tid) else { return true };
        let mut changed = regs;
        let waits = matches!(step, MovingStep::Waits);
        match step {
            MovingStep::Answered(_) => do_nothing(&mut changed, call.arch),
            MovingStep::Waits => {
                let of_socket = task.fds.borrow().open(fd).is_some_and(|open| open.kind == ObjectKind::Socket);
                let (name, flags) = if of_socket { ("recvfrom", libc::MSG_PEEK as u64) } else { ("read", 0) };
                let number = syscalls::by_name(call.arch, name).and_then(|row| row.number.on(call.arch));
                changed.orig_rax = number.map_or(u64::MAX, u64::from);
                for (index, value) in [fd as u64, 0, 1, flags, 0, 0].into_iter().enumerate() {
                    *sys::argument(&mut changed, call.arch, index) = value;
                }
            }
            _ => *sys::argument(&mut changed, call.arch, count_index(&call)) = count,
        }
        if sys::set_registers(tid, &changed).is_err() {
            self.world.lost[Lost::TaskGone as usize] += 1;
            return true;
        }
        task.moving = Some(Box::new(Moving { regs, step }));
        !waits
    }

    /// A thread has come back from a call that may have been changed so: its registers become what the program expects, and what
    /// was moved is kept. The call's result; nothing when the thread enters its call once more.
    pub(super) fn moved(&mut self, tid: pid_t, result: i64) -> Option<i64> {
        let Some(task) = self.tasks.get_mut(&tid) else { return Some(result) };
        let Some(moving) = task.moving.take() else { return Some(result) };
        let Moving { regs, step } = *moving;
        // A filter of the program may have made a trap of it: then it has no result.
        let is_trapped = result as u64 == regs.orig_rax && sys::is_trapped_by_filter(tid);
        let step = if is_trapped { MovingStep::Again } else { step };
        let result = if let MovingStep::Answered(answer) = step { answer } else { result };
        let mut after = libc::user_regs_struct { rax: result as u64, ..regs };
        let again = matches!(step, MovingStep::Waits) && result == EFAULT;
        if again {
            // Both call instructions have two bytes. It is no call that the kernel could restart.
            (after.rip, after.rax, after.orig_rax) = (regs.rip.wrapping_sub(2), regs.orig_rax, u64::MAX);
        }
        if sys::set_registers(tid, &after).is_err() {
            self.world.lost[Lost::TaskGone as usize] += 1;
        }
        if again {
            task.moving = Some(Box::new(Moving { regs, step: MovingStep::Again }));
            self.go_on(tid, 0);
            return None;
        }
        let length = usize::try_from(result).unwrap_or(0);
        match step {
            MovingStep::Seen(bytes) if length > 0 => {
                task.memory.add(slot::MOVED, Side::In, &bytes[..length.min(bytes.len())]);
            }
            MovingStep::FromFile(file, offset) if length > 0 => {
                let mut bytes = vec![0; length.min(MOST_OF_FILE as usize)];
                let got = read_at(&file, offset, &mut bytes);
                task.memory.add(slot::MOVED, Side::In, &bytes[..got]);
            }
            _ => {}
        }
        Some(result)
    }
}

/// Reads as much as there is; how much that was.
fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> usize {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    done
}
