//! Which calls the agent makes by itself, and what it copies: worked out from the rows of the syscall table.
//!
//! A call is the agent's when all that the recorder does for it can be done later, from the record alone. That leaves out
//! what changes processes, threads, mappings with code, working directories or identities, what the recorder itself answers, and memory
//! whose extent only other memory tells.
//!
//! In a recording that is to be replayed it leaves out what is refused there, and what has to come in order with other processes.

use trace_format::ring::{direction, kind, length, shape, table};
use trace_format::syscalls::SYSCALLS;
use trace_format::table::{Arch, Blocks, Dir, Len, Replay, Ty};

use crate::memory::Data;
use crate::plan::{self, Effect, Plan, Pointer, Role, Shape};

/// The table for tracees whose memory is kept as `data` says, in a recording that is to be replayed or is not, without the calls for
/// which they are to be stopped.
#[must_use]
pub fn build(data: Data, replayable: bool, stops: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut bytes = vec![0; table::BYTES as usize];
    let mut count = 1;
    for syscall in SYSCALLS {
        let Some(number) = syscall.number.on(Arch::X86_64).filter(|number| u64::from(*number) < table::NUMBERS) else {
            continue;
        };
        let plan = plan::by_number(Arch::X86_64, u32::from(number));
        let plan = plan.filter(|plan| !replayable || may_be_replayed(plan));
        let row = plan.and_then(|plan| row(plan, data, replayable));
        let Some(row) = row.filter(|_| count < table::ROWS && !stops(syscall.name)) else { continue };
        bytes[usize::from(number)] = count as u8;
        let at = (table::NUMBERS + count * table::ROW_BYTES) as usize;
        bytes[at..at + row.len()].copy_from_slice(&row);
        count += 1;
    }
    bytes
}

/// Whether the agent makes this call, by a table that was built.
#[must_use]
pub fn has(table: &[u8], number: u32) -> bool {
    u64::from(number) < table::NUMBERS && table.get(number as usize).is_some_and(|row| *row != 0)
}

/// Whether a call may be the agent's also where it is to be replayed. Before one that changes a mapped file it is looked whether that was
/// as it is to be.
fn may_be_replayed(plan: &Plan) -> bool {
    // The flags of the last one are in memory.
    const ENGINES: [&str; 4] = ["pkey_mprotect", "truncate", "creat", "openat2"];
    (plan.row.replay != Replay::Refuse || is_refused(plan)) && !ENGINES.contains(&plan.row.name)
}

/// Whether a call makes a file longer or shorter by its descriptor, the first argument: others see that as they see what is written.
fn changes_size(plan: &Plan) -> bool {
    matches!(plan.row.name, "ftruncate" | "fallocate")
}

/// What is not allowed where it is to be replayed, and each program tries as it begins.
fn is_refused(plan: &Plan) -> bool {
    plan.row.name == "rseq"
}

/// Calls that make a descriptor of what has no name and is not mapped. Who has connected, where that is asked for, the engine looks up.
const MAKERS: [&str; 10] = [
    "socket",
    "accept",
    "accept4",
    "epoll_create",
    "epoll_create1",
    "eventfd",
    "eventfd2",
    "inotify_init",
    "inotify_init1",
    "timerfd_create",
];

/// Calls that wait for a disk, or take long without.
const TAKES_LONG: [&str; 6] = ["fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "copy_file_range"];

type Row = [u8; table::ROW_BYTES as usize];

fn row(plan: &Plan, data: Data, replayable: bool) -> Option<Row> {
    let mut row: Row = [0; table::ROW_BYTES as usize];
    row[table::KIND as usize] = if replayable && is_refused(plan) { kind::REFUSED } else { kind_of(plan)? };
    if row[table::KIND as usize] == kind::PAIR && data < Data::Paths {
        // Which descriptors were made is told by what is written.
        return None;
    }
    let pointers: Vec<&Pointer> = plan.pointers.iter().filter(|pointer| !is_ignored(plan, pointer)).collect();
    if pointers.len() as u64 > table::CAPTURES {
        return None;
    }
    if row[table::KIND as usize] == kind::RETURN {
        // What it reads is where the stack pointer is.
        row[(table::FIRST + table::OMIT) as usize] = u8::from(data < Data::Paths);
    }
    row[table::COUNT as usize] = pointers.len() as u8;
    row[table::FDS as usize] = plan.fds.iter().fold(0, |bits, slot| bits | 1 << slot);
    let sink = if changes_size(plan) { Some(0) } else { plan.sink };
    row[table::SINK as usize] = sink.map_or(0, |slot| slot + 1);
    row[table::WAITS as usize] = match plan.row.blocks {
        // Others run meanwhile, and how long that was is told.
        _ if TAKES_LONG.contains(&plan.row.name) => 1,
        // What may wait of these is not the agent's.
        _ if matches!(plan.role, Role::Fcntl) || plan.row.name == "ioctl" => 0,
        _ if matches!(plan.role, Role::Yields) => 1,
        // Only a FIFO has one wait, and who executes a program does not come back.
        _ if matches!(kind_of(plan), Some(kind::OPEN | kind::EXEC)) => 0,
        // It is told when that was.
        _ if kind_of(plan) == Some(kind::END) => 1,
        Blocks::Never => 0,
        Blocks::May => 1,
        Blocks::Fd(slot) => slot + 2,
    };
    for (index, pointer) in pointers.into_iter().enumerate() {
        let at = table::FIRST as usize + index * table::CAPTURE_BYTES as usize;
        row[at..at + table::CAPTURE_BYTES as usize].copy_from_slice(&capture(plan, pointer, data)?);
    }
    Some(row)
}

/// Pointers that mean nothing in the forms of a call that are the agent's.
fn is_ignored(plan: &Plan, pointer: &Pointer) -> bool {
    let is_word = matches!(pointer.shape, Shape::Irregular("arch_prctl"));
    is_word || matches!(pointer.shape, Shape::Irregular("futex")) && matches!(plan.role, Role::Futex)
}

/// What is special about a call, or `None` when it is the engine's.
fn kind_of(plan: &Plan) -> Option<u8> {
    let name = plan.row.name;
    match name {
        "exit_group" => return Some(kind::END),
        "execve" => return Some(kind::EXEC),
        "rt_sigreturn" => return Some(kind::RETURN),
        _ => {}
    }
    if plan.row.replay == Replay::Lifecycle || plan.changes_identity {
        return None;
    }
    // What these tell or do concerns others, the agent itself, or descriptors that stand in memory.
    let engines = [
        "sendmmsg",
        "recvmmsg",
        "waitid",
        "vmsplice",
        "restart_syscall",
        "process_madvise",
        "process_vm_readv",
        "kcmp",
        "fsconfig",
        "mount_setattr",
        "sched_setattr",
        "shmdt",
        "remap_file_pages",
        // They tell where memory is mapped.
        "mincore",
        "msync",
        // How much is mapped counts there.
        "mlockall",
        "setrlimit",
        "modify_ldt",
        "iopl",
        "ioperm",
        "uselib",
        // What is opened has other names afterwards, of which the agent is told.
        "mount",
        "umount2",
        "move_mount",
        "setns",
        "pause",
        "rt_sigsuspend",
        // It tells of the stack on which it is made.
        "sigaltstack",
    ];
    if engines.contains(&name) {
        return None;
    }
    match name {
        "setsockopt" => return Some(kind::OPTION),
        "madvise" => return Some(kind::UNMAP),
        "ioctl" => return Some(kind::IOCTL),
        "arch_prctl" | "prlimit64" => return Some(kind::OWN),
        _ => {}
    }
    match plan.role {
        Role::Plain
        | Role::Yields
        | Role::Masks
        | Role::Writes
        | Role::WritesAt
        | Role::SetsTidAddress
        | Role::SetsRobustList => {}
        Role::Moves(_) if matches!(name, "sendfile" | "copy_file_range") => return Some(kind::MOVE),
        Role::Unmaps => return Some(kind::UNMAP),
        Role::Remaps => return Some(kind::REMAP),
        Role::Futex => return Some(kind::FUTEX),
        Role::Fcntl => return Some(kind::FCNTL),
        _ => return None,
    }
    match plan.effect {
        Effect::Nothing if matches!(name, "poll" | "ppoll") => Some(kind::POLL),
        Effect::Nothing if matches!(name, "select" | "pselect6") => Some(kind::SELECT),
        // What may come with descriptors is not the agent's.
        Effect::Receive => Some(kind::PLAIN),
        Effect::Rename if name.starts_with("rename") => Some(kind::RENAME),
        Effect::Nothing | Effect::Rename | Effect::Sigaction => Some(kind::PLAIN),
        Effect::NewFd if matches!(name, "open" | "openat" | "openat2" | "creat") => Some(kind::OPEN),
        Effect::NewFd if MAKERS.contains(&name) => Some(kind::MAKE),
        Effect::TwoFds(_) => Some(kind::PAIR),
        Effect::Close => Some(kind::CLOSE),
        Effect::Dup => Some(kind::DUP),
        Effect::Mmap => Some(kind::MAP),
        Effect::Mprotect => Some(kind::PROTECT),
        _ => None,
    }
}

fn capture(plan: &Plan, pointer: &Pointer, data: Data) -> Option<[u8; 8]> {
    let (shape, size, needs) = match pointer.shape {
        Shape::String => (shape::STRING, 1, Data::Paths),
        // Without the strings, the engine says of each that it is left out.
        Shape::Strings if data < Data::Paths => return None,
        Shape::Strings => return packed(pointer, shape::STRINGS, length::OWN, 0, false, 1),
        Shape::Payload => (shape::BYTES, 1, Data::All),
        Shape::Iovec => (shape::IOVEC, 1, Data::All),
        Shape::Msghdr => (shape::MESSAGE, 1, Data::All),
        Shape::FdSet => (shape::BYTES, 8, Data::Paths),
        Shape::Struct(size) if pointer.len == Len::Own => (shape::BYTES, size, Data::Paths),
        Shape::Struct(_) => (shape::SIZED, 1, Data::Paths),
        Shape::Array(size) => (shape::ARRAY, size, Data::Paths),
        // Entries of directories, and values of socket options: bytes of a length that the row gives.
        Shape::Irregular("dirents" | "sockopt") => (shape::BYTES, 1, Data::Paths),
        // By the command, the agent knows how much there is, and in which direction it goes.
        Shape::Irregular("fcntl" | "ioctl") => {
            return packed(pointer, shape::BYTES, length::OWN, 0, data < Data::Paths, 1);
        }
        // The mask of signals, and its size: the engine looks there, if there is one.
        Shape::Irregular("pselect6_sigmask") => {
            return packed(pointer, shape::ABSENT, length::OWN, 0, false, 1);
        }
        _ => return None,
    };
    let argument = |index: u8| usize::from(index) < plan.row.args.len();
    let (source, index) = match pointer.len {
        Len::Own => (length::OWN, 0),
        Len::Arg(index) if argument(index) && matches!(pointer.shape, Shape::FdSet) => (length::BITS, index),
        Len::Fixed(count) if shape == shape::ARRAY => {
            return packed(pointer, shape::BYTES, length::OWN, 0, data < needs, size * count);
        }
        Len::Arg(index) if argument(index) => {
            let narrow = matches!(plan.row.args[usize::from(index)].ty, Ty::Int | Ty::Uint);
            (if narrow { length::ARG32 } else { length::ARG }, index)
        }
        Len::Pointee(index) if tells_length(plan, pointer, index) => (length::POINTEE, index),
        // How much there is to be, only memory says: the engine looks there, if there is anything.
        Len::Pointee(_) | Len::PointeeWord(_) => return packed(pointer, shape::ABSENT, length::OWN, 0, false, 1),
        Len::RetMax(index) if argument(index) && pointer.dir == Dir::Out => (length::RESULT, index),
        _ => return None,
    };
    // The buffers of a vector may be left out; its table tells where they are.
    if matches!(shape, shape::IOVEC | shape::MESSAGE) && data < Data::Paths
        || shape == shape::IOVEC && source == length::OWN
    {
        return None;
    }
    packed(pointer, shape, source, index, data < needs, size)
}

/// Whether what a call writes is as long as it says behind another argument, which is the first that is taken of it.
fn tells_length(plan: &Plan, pointer: &Pointer, index: u8) -> bool {
    let read = plan.pointers.iter().find(|other| other.dir != Dir::Out);
    let is_told = |read: &Pointer| read.slot == index && matches!(read.shape, Shape::Struct(4) | Shape::Array(4));
    pointer.dir == Dir::Out && read.is_some_and(is_told)
}

fn packed(pointer: &Pointer, shape: u8, source: u8, index: u8, omit: bool, size: u32) -> Option<[u8; 8]> {
    let way = match pointer.dir {
        Dir::In => direction::IN,
        Dir::Out => direction::OUT,
        Dir::InOut => direction::IN_OUT,
    };
    let size = u16::try_from(size).ok().filter(|size| *size > 0)?.to_le_bytes();
    Some([pointer.slot, way, shape, source, index, u8::from(omit), size[0], size[1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use trace_format::syscalls::by_name;

    fn number(name: &str) -> u32 {
        u32::from(by_name(Arch::X86_64, name).unwrap().number.on(Arch::X86_64).unwrap())
    }

    #[test]
    fn frequent_calls_are_the_agents_and_those_that_change_processes_are_not() {
        let table = build(Data::All, false, |_| false);
        for name in [
            "read",
            "write",
            "pread64",
            "openat",
            "close",
            "newfstatat",
            "fstat",
            "lseek",
            "fcntl",
            "mmap",
            "munmap",
            "getdents64",
            "getppid",
            "brk",
            "rt_sigaction",
            "rt_sigprocmask",
            "access",
            "readlink",
            "unlink",
            "wait4",
            "epoll_wait",
            "writev",
            "readv",
            "futex",
            "statx",
            "getrandom",
            "dup2",
            "poll",
            "nanosleep",
            "sendto",
            "recvfrom",
            "arch_prctl",
            "prlimit64",
            "rseq",
            "exit_group",
            "select",
            "pselect6",
            "sendmsg",
            "recvmsg",
            "socket",
            "setsockopt",
            "getsockopt",
            "getpeername",
            "accept4",
            "eventfd2",
            "pipe2",
            "socketpair",
            "mremap",
            "fdatasync",
            "sendfile",
            "copy_file_range",
            "execve",
            "rt_sigreturn",
        ] {
            assert!(has(&table, number(name)), "{name}");
        }
        for name in [
            "fork",
            "vfork",
            "clone",
            "clone3",
            "exit",
            "kill",
            "rt_sigqueueinfo",
            "rt_tgsigqueueinfo",
            "pidfd_send_signal",
            "ptrace",
            "chdir",
            "prctl",
            "seccomp",
            "setuid",
            "umask",
            "recvmmsg",
            "sched_getaffinity",
            "sigaltstack",
        ] {
            assert!(!has(&table, number(name)), "{name}");
        }
        assert!(!has(&table, 511) && !has(&table, 5000));
    }

    #[test]
    fn what_is_to_be_replayed_is_refused_in_the_engine() {
        let table = build(Data::All, true, |_| false);
        for name in
            ["read", "write", "openat", "mmap", "brk", "rt_sigprocmask", "poll", "nanosleep", "wait4", "exit_group"]
        {
            assert!(has(&table, number(name)), "{name}");
        }
        for syscall in SYSCALLS.iter().filter(|syscall| syscall.replay == Replay::Refuse) {
            let number = syscall.number.on(Arch::X86_64).map_or(u32::MAX, u32::from);
            assert_eq!(has(&table, number), syscall.name == "rseq", "{}", syscall.name);
        }
        // What they change is looked at before.
        for name in ["creat", "openat2"] {
            assert!(!has(&table, number(name)), "{name}");
        }
    }

    #[test]
    fn a_row_says_what_is_behind_each_pointer() {
        let table = build(Data::Paths, false, |_| false);
        let row = |name: &str| {
            let at = (table::NUMBERS + u64::from(table[number(name) as usize]) * table::ROW_BYTES) as usize;
            table[at..at + table::ROW_BYTES as usize].to_vec()
        };
        let read = row("read");
        assert_eq!(read[..5], [kind::PLAIN, 1, 1, 0, 2]);
        assert_eq!(read[8..16], [1, direction::OUT, shape::BYTES, length::RESULT, 2, 1, 1, 0]);
        let stat = row("newfstatat");
        assert_eq!(stat[..3], [kind::PLAIN, 2, 1]);
        assert_eq!(stat[8..16], [1, direction::IN, shape::STRING, length::OWN, 0, 0, 1, 0]);
        assert_eq!(stat[16..24], [2, direction::OUT, shape::BYTES, length::OWN, 0, 0, 144, 0]);
    }
}
