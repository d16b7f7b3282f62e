//! The seccomp filter of a policy: calls that every role may make go to the kernel, all others are notified.

use std::collections::{BTreeMap, BTreeSet};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use trace_format::syscalls::first_unknown;
use trace_format::table::Arch;

use super::choices::{self, Alternatives, Is, Test};
use super::policy::{Opens, Policy, SocketRule};
use crate::error::EngineError;

/// Stands in for "notify", which `seccompiler` has no word for, and is replaced in the finished program.
const MARK: u16 = 0x7a7a;

/// How calls are answered that no role may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// By whoever listens.
    Notify,
    /// With EPERM, or ENOSYS where programs do without the call.
    Refuse,
}

/// The filter to install: one, since the kernel runs each filter there is for every call whose arguments some filter looks at.
/// `judges_opens`: Landlock is put on too, and knows all that an open can do.
///
/// # Errors
/// `policy` when the filter would be larger than the kernel takes.
pub fn program(policy: &Policy, otherwise: Otherwise, judges_opens: bool) -> Result<BpfProgram, EngineError> {
    let wrong = |error: seccompiler::BackendError| {
        EngineError::start("policy", format!("the calls of the policy make no filter: {error}"))
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    // One stays with the others: of no rules at all a program is made that does not look at numbers.
    rules.insert(libc::SYS_exit_group, Vec::new());
    let mut allowed = BTreeSet::new();
    // Where nobody listens, nobody lets the child into its program.
    let first = (otherwise == Otherwise::Refuse).then_some(libc::SYS_execve);
    // Calls that programs do without are refused at once. The flags of clone3 stand in memory, where no filter sees them: programs
    // fall back to clone. Who learns wants to see them all, and that nothing passes by in rings.
    let missing: Vec<i64> = match otherwise {
        Otherwise::Notify if policy.learn => {
            policy.absent.iter().copied().filter(|call| RINGS.contains(call)).collect()
        }
        _ => policy.absent.iter().copied().chain([libc::SYS_clone3]).collect(),
    };
    for number in policy.pass.iter().chain(&NEEDED).chain(&first).copied() {
        if let Some(tests) = looked_at(policy, number) {
            if tests.iter().any(Vec::is_empty) {
                allowed.insert(number);
            } else if !tests.is_empty() {
                rules.insert(number, rules_of(&tests).map_err(wrong)?);
            }
            continue;
        }
        let own = match number {
            libc::SYS_socket | libc::SYS_socketpair => socket_rules(&policy.sockets, number).map_err(wrong)?,
            libc::SYS_clone => clone_rules(policy.supervised).map_err(wrong)?,
            libc::SYS_unshare => unshare_rules().map_err(wrong)?,
            libc::SYS_setns => None,
            libc::SYS_fcntl if policy.supervised => command_rules().map_err(wrong)?,
            libc::SYS_sendto if !policy.supervised => sendto_rules(policy).map_err(wrong)?,
            libc::SYS_sendmsg if !policy.supervised => message_rules(2).map_err(wrong)?,
            libc::SYS_sendmmsg if !policy.supervised => message_rules(3).map_err(wrong)?,
            libc::SYS_setrlimit if policy.holds_cores() => core_rules().map_err(wrong)?,
            number if controlled(number, &[0; 6]).is_some() => {
                own_rules(number, policy.holds_cores()).map_err(wrong)?
            }
            libc::SYS_open if holds_truncation(policy) => truncation_rules(1).map_err(wrong)?,
            libc::SYS_openat if holds_truncation(policy) => truncation_rules(2).map_err(wrong)?,
            libc::SYS_clone3 if policy.learn => None,
            _ => Some(Vec::new()),
        };
        let Some(own) = own else { continue };
        if own.is_empty() {
            allowed.insert(number);
        } else {
            rules.insert(number, own);
        }
    }
    if otherwise == Otherwise::Notify && policy.supervised && judges_opens {
        for (number, flags) in [(libc::SYS_open, 1), (libc::SYS_openat, 2)] {
            let is_granted = policy.roles.iter().all(|role| role.calls.contains(&number));
            if is_granted && let Some(own) = open_rules(policy.opens, flags).map_err(wrong)? {
                rules.entry(number).or_insert(own);
            }
        }
    }
    let refused = match otherwise {
        Otherwise::Notify => SeccompAction::Trace(MARK.into()),
        Otherwise::Refuse => SeccompAction::Errno(libc::EPERM as u32),
    };
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, TargetArch::x86_64).map_err(wrong)?;
    let mut program: BpfProgram = filter.try_into().map_err(wrong)?;
    if otherwise == Otherwise::Notify {
        for instruction in &mut program {
            let is_return = u32::from(instruction.code) == libc::BPF_RET | libc::BPF_K;
            if is_return && instruction.k == libc::SECCOMP_RET_TRACE | u32::from(MARK) {
                instruction.k = libc::SECCOMP_RET_USER_NOTIF;
            }
        }
    }
    let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    if otherwise == Otherwise::Refuse || !policy.learn {
        answer_unknown(&mut program, absent);
    }
    answer_first(&mut program, allowed.iter().copied(), libc::SECCOMP_RET_ALLOW);
    // Before those: what programs do without is refused, whatever is said of it.
    answer_first(&mut program, missing.iter().copied(), absent);
    if holds_truncation(policy) && policy.pass.contains(&libc::SYS_openat) {
        program.splice(0..0, plain_open_first());
    }
    if program.len() > libc::BPF_MAXINSNS as usize {
        return Err(wrong(seccompiler::BackendError::FilterTooLarge(program.len())));
    }
    Ok(program)
}

/// Has a program answer calls by their numbers alone, before it looks at any other. A number that is not one of them costs next to
/// nothing: none of these steps jumps then. (`seccompiler` jumps twice for each, which adds up to a fifth of a microsecond for calls
/// that it comes to last, among them all that are notified; and it knows one answer for what is refused.)
fn answer_first(program: &mut BpfProgram, numbers: impl Iterator<Item = i64>, answer: u32) {
    /// So far a step can jump.
    const REACH: usize = u8::MAX as usize;
    let Some(behind) = behind_number(program) else { return };
    let numbers: Vec<u32> = numbers.map(|number| number as u32).collect();
    let steps = numbers.chunks(REACH).flat_map(|some| {
        let tests = some.iter().enumerate().map(|(k, number)| {
            let is_last = k + 1 == some.len();
            step(libc::BPF_JMP | libc::BPF_K | libc::BPF_JEQ, ((some.len() - 1 - k) as u8, is_last.into()), *number)
        });
        tests.chain([step(libc::BPF_RET | libc::BPF_K, (0, 0), answer)])
    });
    program.splice(behind..behind, steps.collect::<Vec<_>>());
}

/// Has a program answer all numbers behind those that any kernel is known to have: of calls that are newer, and of the x32 ABI.
fn answer_unknown(program: &mut BpfProgram, answer: u32) {
    let Some(behind) = behind_number(program) else { return };
    let first = first_unknown(Arch::X86_64) as u32;
    let steps = [
        step(libc::BPF_JMP | libc::BPF_K | libc::BPF_JGE, (0, 1), first),
        step(libc::BPF_RET | libc::BPF_K, (0, 0), answer),
    ];
    program.splice(behind..behind, steps);
}

/// Behind the step of a program that loads the number of the call. Before it, the program has made sure of whose numbers they are.
fn behind_number(program: &BpfProgram) -> Option<usize> {
    let loads_number = |one: &seccompiler::sock_filter| {
        u32::from(one.code) == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS && one.k as usize == NUMBER_AT
    };
    program.iter().position(loads_number).map(|at| at + 1)
}

/// Where a filter finds the number of the call.
const NUMBER_AT: usize = std::mem::offset_of!(libc::seccomp_data, nr);

/// What the child needs between the filter and its program, and every program at its end. None names anything.
const NEEDED: [i64; 6] =
    [libc::SYS_read, libc::SYS_write, libc::SYS_close, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_rt_sigreturn];

type Conditions = Result<Option<Vec<SeccompRule>>, seccompiler::BackendError>;

fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
}

/// Bits of the type argument that are no type: SOCK_NONBLOCK and SOCK_CLOEXEC.
const TYPE_MASK: u64 = 0xf;

/// One rule for each allowed kind of socket; none at all when there is none. Pairs are unix sockets that lead nowhere.
fn socket_rules(sockets: &[SocketRule], number: i64) -> Conditions {
    if number == libc::SYS_socketpair {
        return Ok(Some(vec![SeccompRule::new(vec![argument(0, SeccompCmpOp::Eq, libc::AF_UNIX as u64)?])?]));
    }
    let mut rules = Vec::new();
    for (family, kind, protocol) in sockets {
        let mut conditions = Vec::new();
        if *family >= 0 {
            conditions.push(argument(0, SeccompCmpOp::Eq, *family as u64)?);
        }
        if *kind >= 0 {
            conditions.push(argument(1, SeccompCmpOp::MaskedEq(TYPE_MASK), *kind as u64)?);
        }
        if *protocol >= 0 {
            conditions.push(argument(2, SeccompCmpOp::Eq, *protocol as u64)?);
        }
        if conditions.is_empty() {
            return Ok(Some(Vec::new()));
        }
        rules.push(SeccompRule::new(conditions)?);
    }
    Ok((!rules.is_empty()).then_some(rules))
}

/// sendto(2) that connects to nobody, as Landlock is not asked about a connection that begins with data (`MSG_FASTOPEN`). One of a
/// pair of sockets is one like all others, and sends to whoever is named: where there are pairs, nobody is.
fn sendto_rules(policy: &Policy) -> Conditions {
    if policy.pass.contains(&libc::SYS_socketpair) {
        let address = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
        return Ok(Some(vec![SeccompRule::new(vec![address])?]));
    }
    message_rules(3)
}

/// Messages that do not connect, by the argument that holds their flags.
fn message_rules(flags: u8) -> Conditions {
    let connects = SeccompCmpOp::MaskedEq(libc::MSG_FASTOPEN as u64);
    Ok(Some(vec![SeccompRule::new(vec![argument(flags, connects, 0)?])?]))
}

/// Opens of what exists that Landlock alone decides about, by the argument that holds their flags. Making files and
/// descriptors without rights (`O_PATH`, and the access mode that is neither reading nor writing, open(2)) it does not judge,
/// or not by names.
fn open_rules(opens: Opens, flags: u8) -> Conditions {
    let makes = libc::O_CREAT | libc::O_PATH | (libc::O_TMPFILE & !libc::O_DIRECTORY);
    let (changes, modes): (_, &[i32]) = match opens {
        Opens { reading: true, writing: true } => (makes, &[libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR]),
        Opens { reading: true, writing: false } => (makes | libc::O_TRUNC, &[libc::O_RDONLY]),
        _ => return Ok(None),
    };
    let mask = SeccompCmpOp::MaskedEq((changes | libc::O_ACCMODE) as u64);
    let rules = modes.iter().map(|mode| SeccompRule::new(vec![argument(flags, mask.clone(), *mode as u64)?]));
    Ok(Some(rules.collect::<Result<_, _>>()?))
}

/// What programs do by rings no filter sees.
const RINGS: [i64; 3] = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// Calls that truncate a file which need not be open for writing, in ways that no filter sees: by its name, by flags in memory.
/// (`io_uring_setup` opens by rings.)
const TRUNCATING: [i64; 4] =
    [libc::SYS_truncate, libc::SYS_openat2, libc::SYS_open_by_handle_at, libc::SYS_io_uring_setup];

/// Whether the filter lets nobody truncate what may not be written: those calls do not pass, and opens that truncate only when
/// they are for writing too. Then Landlock need not handle truncation. (It would look for that right at every open of a file that
/// may only be read, in all directories up to the root: most of what enforcement by the kernel costs.)
#[must_use]
pub fn holds_truncation(policy: &Policy) -> bool {
    !policy.supervised && !TRUNCATING.iter().any(|number| policy.pass.contains(number))
}

/// Opens that truncate nothing, or ask for the right to write, by the argument that holds their flags.
fn truncation_rules(flags: u8) -> Conditions {
    let one = |mask: i32, value: i32| {
        SeccompRule::new(vec![argument(flags, SeccompCmpOp::MaskedEq(mask as u64), value as u64)?])
    };
    Ok(Some(vec![one(libc::O_TRUNC, 0)?, one(libc::O_ACCMODE, libc::O_WRONLY)?, one(libc::O_ACCMODE, libc::O_RDWR)?]))
}

/// Lets openat(2) pass that truncates nothing, before all else: a filter is walked through number by number, and what looks at
/// arguments the kernel does not remember.
fn plain_open_first() -> [seccompiler::sock_filter; 7] {
    /// `AUDIT_ARCH_X86_64` of linux/audit.h.
    const X86_64: u32 = 0xc000_003e;
    let word = |offset: usize| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, (0, 0), offset as u32);
    let when = |test: u32, value: u32, jumps: (u8, u8)| step(libc::BPF_JMP | libc::BPF_K | test, jumps, value);
    [
        word(std::mem::offset_of!(libc::seccomp_data, arch)),
        when(libc::BPF_JEQ, X86_64, (0, 5)),
        word(NUMBER_AT),
        when(libc::BPF_JEQ, libc::SYS_openat as u32, (0, 3)),
        // The lower half of the third argument.
        word(std::mem::offset_of!(libc::seccomp_data, args) + 2 * size_of::<u64>()),
        when(libc::BPF_JSET, libc::O_TRUNC as u32, (1, 0)),
        step(libc::BPF_RET | libc::BPF_K, (0, 0), libc::SECCOMP_RET_ALLOW),
    ]
}

/// One step of a filter; `jumps`: over how many that follow, when a test holds and when not.
fn step(code: u32, jumps: (u8, u8), value: u32) -> seccompiler::sock_filter {
    seccompiler::sock_filter { code: code as u16, jt: jumps.0, jf: jumps.1, k: value }
}

/// Flags of clone(2) that make namespaces.
pub const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

/// The one of unshare(2) and setns(2) that clone(2) has no room for: `CLONE_NEWTIME` of linux/sched.h.
const NEW_TIME: u64 = 0x80;

/// Requests of ioctl(2) that type into the terminal of whoever started the program.
pub const TYPES: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// Requests of ioctl(2) that have a process told by signals; whom, stands in memory. Programs do it by fcntl(2) as well.
const OWNS: [u64; 2] = [FIOSETOWN, SIOCSPGRP];

/// `USERFAULTFD_IOC_NEW` of linux/userfaultfd.h: as userfaultfd(2), by which whoever reads memory waits for the program.
const HOLDS_UP: u64 = 0xaa00;

/// Requests of ioctl(2) that change what is told of a file, for which any descriptor of it will do: flags as `immutable`, the
/// version, the project, that nobody may write. With how many bytes the kernel reads.
const ALTERS: [(u64, usize); 6] = [
    (FS_IOC_SETFLAGS, 4),
    (FS_IOC_SETVERSION, 4),
    (EXT4_IOC_SETVERSION, 4),
    (FS_IOC_FSSETXATTR, 28),
    (FAT_IOCTL_SET_ATTRIBUTES, 4),
    (BTRFS_IOC_SUBVOL_SETFLAGS, 8),
];

/// Of linux/fs.h, fs/ext4/ext4.h, linux/msdos_fs.h and linux/btrfs.h.
const FS_IOC_SETFLAGS: u64 = 0x4008_6602;
const FS_IOC_SETVERSION: u64 = 0x4008_7602;
const EXT4_IOC_SETVERSION: u64 = 0x4008_6604;
const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;
const FAT_IOCTL_SET_ATTRIBUTES: u64 = 0x4004_7211;
const BTRFS_IOC_SUBVOL_SETFLAGS: u64 = 0x4008_941a;

/// Requests of ioctl(2) that freeze, trim, shut down, resize or name the file system of any descriptor, seal a file for ever, make
/// and remove subvolumes, or tell what is in files past their names: of linux/fs.h, linux/fsverity.h, linux/fscrypt.h,
/// linux/btrfs.h, fs/ext4/ext4.h and linux/f2fs.h.
const OF_FILE_SYSTEMS: [u64; 36] = [
    0xc004_5877, // FIFREEZE
    0xc004_5878, // FITHAW
    0xc018_5879, // FITRIM
    0x8004_587d, // FS_IOC_SHUTDOWN
    0x4100_9432, // FS_IOC_SETFSLABEL
    0x4080_6685, // FS_IOC_ENABLE_VERITY
    0x800c_6613, // FS_IOC_SET_ENCRYPTION_POLICY
    0xc050_6617, // FS_IOC_ADD_ENCRYPTION_KEY
    0xc040_6618, // FS_IOC_REMOVE_ENCRYPTION_KEY
    0xc040_6619, // FS_IOC_REMOVE_ENCRYPTION_KEY_ALL_USERS
    0x5000_9401, // BTRFS_IOC_SNAP_CREATE
    0x5000_940e, // BTRFS_IOC_SUBVOL_CREATE
    0x5000_940f, // BTRFS_IOC_SNAP_DESTROY
    0x5000_9417, // BTRFS_IOC_SNAP_CREATE_V2
    0x5000_9418, // BTRFS_IOC_SUBVOL_CREATE_V2
    0x5000_943f, // BTRFS_IOC_SNAP_DESTROY_V2
    0x4048_9426, // BTRFS_IOC_SEND
    0x4044_9426, // BTRFS_IOC_SEND of 32-bit programs
    0xd000_9411, // BTRFS_IOC_TREE_SEARCH
    0xc070_9411, // BTRFS_IOC_TREE_SEARCH_V2
    0xc0c8_9425, // BTRFS_IOC_SET_RECEIVED_SUBVOL
    0x4008_9413, // BTRFS_IOC_DEFAULT_SUBVOL
    0x4030_9439, // BTRFS_IOC_SET_FEATURES
    0xc010_9428, // BTRFS_IOC_QUOTA_CTL
    0x5000_9403, // BTRFS_IOC_RESIZE
    0x5000_940c, // BTRFS_IOC_BALANCE
    0xc400_9420, // BTRFS_IOC_BALANCE_V2
    0x5000_940a, // BTRFS_IOC_ADD_DEV
    0x5000_940b, // BTRFS_IOC_RM_DEV
    0x5000_943a, // BTRFS_IOC_RM_DEV_V2
    0xca28_9435, // BTRFS_IOC_DEV_REPLACE
    0x4008_6607, // EXT4_IOC_GROUP_EXTEND
    0x4028_6608, // EXT4_IOC_GROUP_ADD
    0x4008_6610, // EXT4_IOC_RESIZE_FS
    0x4008_662c, // EXT4_IOC_SETFSUUID
    0x4008_f510, // F2FS_IOC_RESIZE_FS
];

/// Of a call that changes what is told of the file behind its descriptor, by ioctl(2): how many bytes it reads.
#[must_use]
pub fn altered(number: i64, args: &[u64; 6]) -> Option<usize> {
    let request = args[1] & u64::from(u32::MAX);
    ALTERS.iter().find(|(own, _)| number == libc::SYS_ioctl && *own == request).map(|(_, size)| *size)
}

/// Of asm-generic/sockios.h.
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;

/// Options of sockets by which packets go another way than straight to the address that they are for: level, and options.
const ROUTES: [(i32, &[i32]); 2] = [
    (libc::IPPROTO_IP, &[libc::IP_OPTIONS]),
    (libc::IPPROTO_IPV6, &[libc::IPV6_RTHDR, libc::IPV6_RTHDRDSTOPTS, OLD_ROUTING_HEADER, libc::IPV6_2292PKTOPTIONS]),
];

/// `IPV6_2292RTHDR` of linux/in6.h.
pub const OLD_ROUTING_HEADER: i32 = 5;

/// Whether nobody may make the call, whoever was granted it: new namespaces, typing into a terminal, changing whole file systems,
/// packets that take a way of their own, and passing for another program. Decided by registers, of which the kernel looks at the lower half.
#[must_use]
pub fn is_never(number: i64, args: &[u64; 6]) -> bool {
    match number {
        libc::SYS_clone => args[0] & NAMESPACES != 0,
        libc::SYS_unshare => args[0] & (NAMESPACES | NEW_TIME) != 0,
        // It may be any of them that the descriptor stands for.
        libc::SYS_setns => true,
        libc::SYS_ioctl => {
            let mut requests = TYPES.iter().chain(&OWNS).chain(&OF_FILE_SYSTEMS).chain([&HOLDS_UP]);
            requests.any(|request| *request == args[1] & u64::from(u32::MAX))
        }
        // It changes which program the kernel says that a process runs, by which its role is told.
        libc::SYS_prctl => args[0] as i32 == libc::PR_SET_MM,
        // Without a value an option is taken back.
        libc::SYS_setsockopt => {
            let is_route = |(level, options): &(i32, &[i32])| {
                *level == args[1] as i32 && options.contains(&(args[2] as i32)) && args[4] as i32 != 0
            };
            ROUTES.iter().any(is_route)
        }
        _ => false,
    }
}

/// Whom a call is about that changes how processes run (their limits, their turn, their priority, where their memory lies), or that
/// looks into them past all files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controlled {
    Caller,
    /// A process or thread.
    One(i32),
    /// A process group; 0: that of the caller.
    Group(i32),
    /// All processes of a user.
    All,
}

/// `IOPRIO_WHO_PROCESS` and the next of linux/ioprio.h; those of setpriority(2) count from 0.
const FIRST_WHO: i32 = 1;

/// `None`: the call is no such call, or only asks. Decided by registers.
#[must_use]
pub fn controlled(number: i64, args: &[u64; 6]) -> Option<Controlled> {
    let (kind, id) = match number {
        libc::SYS_prlimit64 => return (args[2] != 0 || args[0] == 0).then(|| one(args[0])),
        libc::SYS_sched_setparam
        | libc::SYS_sched_setscheduler
        | libc::SYS_sched_setaffinity
        | libc::SYS_sched_setattr
        | libc::SYS_migrate_pages
        | libc::SYS_move_pages
        | libc::SYS_get_robust_list => return Some(one(args[0])),
        // Of all processes, or of those of a control group, which a descriptor stands for.
        libc::SYS_perf_event_open if !args[1] as u32 == 0 || args[4] & PERF_FLAG_PID_CGROUP != 0 => {
            return Some(Controlled::All);
        }
        libc::SYS_perf_event_open => return Some(one(args[1])),
        libc::SYS_setpriority => (args[0] as i32, args[1]),
        libc::SYS_ioprio_set => ((args[0] as i32).wrapping_sub(FIRST_WHO), args[1]),
        _ => return None,
    };
    Some(match kind {
        0 => one(id),
        1 => Controlled::Group(id as i32),
        _ => Controlled::All,
    })
}

/// Of linux/perf_event.h.
const PERF_FLAG_PID_CGROUP: u64 = 4;

fn one(id: u64) -> Controlled {
    if id as i32 == 0 { Controlled::Caller } else { Controlled::One(id as i32) }
}

/// Of a call that sets how large a core file may be: where the new limit stands.
#[must_use]
pub fn core_limit(number: i64, args: &[u64; 6]) -> Option<u64> {
    let is_core = |resource: u64| resource as u32 == libc::RLIMIT_CORE;
    match number {
        libc::SYS_setrlimit => is_core(args[0]).then_some(args[1]),
        libc::SYS_prlimit64 => (is_core(args[1]) && args[2] != 0).then_some(args[2]),
        _ => None,
    }
}

/// Any limit but that of core files.
fn core_rules() -> Conditions {
    Ok(Some(vec![SeccompRule::new(vec![argument(0, SeccompCmpOp::Ne, libc::RLIMIT_CORE.into())?])?]))
}

/// Those that [`controlled`] finds to be about the caller, or about nobody. `holds_cores`: and none of [`core_limit`].
fn own_rules(number: i64, holds_cores: bool) -> Conditions {
    let caller = |index: u8| argument(index, SeccompCmpOp::Eq, 0);
    let rules = match number {
        libc::SYS_prlimit64 => {
            let asks = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
            let mut own = vec![caller(0)?];
            if holds_cores {
                own.push(argument(1, SeccompCmpOp::Ne, libc::RLIMIT_CORE.into())?);
            }
            vec![own, vec![asks]]
        }
        libc::SYS_setpriority => vec![vec![caller(0)?, caller(1)?]],
        libc::SYS_perf_event_open => {
            let no_group = argument(4, SeccompCmpOp::MaskedEq(PERF_FLAG_PID_CGROUP), 0)?;
            vec![vec![caller(1)?, no_group]]
        }
        libc::SYS_ioprio_set => vec![vec![argument(0, SeccompCmpOp::Eq, FIRST_WHO as u64)?, caller(1)?]],
        _ => vec![vec![caller(0)?]],
    };
    Ok(Some(rules.into_iter().map(SeccompRule::new).collect::<Result<_, _>>()?))
}

/// What passes of a call by its arguments alone: that nobody is kept from (none of [`is_never`]) and that comes with the call or was
/// granted (`choices.rs`). `None`: other rules are made of it, or none.
fn looked_at(policy: &Policy, number: i64) -> Option<Alternatives> {
    let own = match number {
        libc::SYS_setsockopt => Some(option_tests()),
        libc::SYS_prctl if policy.supervised => Some(vec![process_tests()]),
        libc::SYS_ioctl => Some(vec![ioctl_tests(policy)]),
        _ => None,
    };
    match (choices::alternatives(policy, number), own) {
        (Some(chosen), Some(own)) => Some(choices::both(&chosen, &own)),
        (chosen, own) => chosen.or(own),
    }
}

fn rules_of(alternatives: &Alternatives) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let condition = |Test(arg, is, value): &Test| {
        let value = u64::from(*value);
        match is {
            Is::Eq => argument(*arg, SeccompCmpOp::Eq, value),
            Is::Ne => argument(*arg, SeccompCmpOp::Ne, value),
            Is::Le => argument(*arg, SeccompCmpOp::Le, value),
            Is::Ge => argument(*arg, SeccompCmpOp::Ge, value),
            Is::Has => argument(*arg, SeccompCmpOp::MaskedEq(value), value),
        }
    };
    let rule = |tests: &Vec<Test>| SeccompRule::new(tests.iter().map(condition).collect::<Result<_, _>>()?);
    alternatives.iter().map(rule).collect()
}

/// Any option of a socket but those of [`ROUTES`], and taking these back.
fn option_tests() -> Alternatives {
    let mut others = Vec::new();
    let mut alternatives = Vec::new();
    for (level, options) in ROUTES {
        others.push(Test(1, Is::Ne, level as u32));
        let own = options.iter().map(|option| Test(2, Is::Ne, *option as u32));
        alternatives.push([Test(1, Is::Eq, level as u32)].into_iter().chain(own).collect());
    }
    alternatives.insert(0, others);
    alternatives.push(vec![Test(4, Is::Eq, 0)]);
    alternatives
}

/// All but `PR_SET_DUMPABLE`, after which a supervisor that is not root could not answer for the process any more, `PR_SET_MM`, and
/// what changes whose children a process has.
fn process_tests() -> Vec<Test> {
    let others = [libc::PR_SET_DUMPABLE, libc::PR_SET_MM, libc::PR_SET_CHILD_SUBREAPER];
    others.map(|what| Test(0, Is::Ne, what as u32)).to_vec()
}

/// Commands of fcntl(2) that have a process told by signals.
pub const OWNERS: [i32; 2] = [libc::F_SETOWN, F_SETOWN_EX];

/// Of asm-generic/fcntl.h: whom, stands in memory.
const F_SETOWN_EX: i32 = 15;

/// Commands of fcntl(2) by which others wait for the program when they open a file, or change a directory: the supervisor, and
/// with it all other programs.
pub const LEASES: [i32; 2] = [libc::F_SETLEASE, F_SETDELEG];

/// Of linux/fcntl.h, Linux 6.19.
const F_SETDELEG: i32 = 1040;

/// All commands but those of [`OWNERS`] and [`LEASES`].
fn command_rules() -> Conditions {
    let others = OWNERS.iter().chain(&LEASES).map(|command| argument(1, SeccompCmpOp::Ne, *command as u64));
    Ok(Some(vec![SeccompRule::new(others.collect::<Result<_, _>>()?)?]))
}

/// No new namespaces: in one of its own a program could mount, and become another user. Under a supervisor no children of another
/// process either, of which it has to know.
fn clone_rules(is_supervised: bool) -> Conditions {
    let looked_at = NAMESPACES | if is_supervised { libc::CLONE_PARENT as u64 } else { 0 };
    Ok(Some(vec![SeccompRule::new(vec![argument(0, SeccompCmpOp::MaskedEq(looked_at), 0)?])?]))
}

/// As [`clone_rules`].
fn unshare_rules() -> Conditions {
    let namespaces = SeccompCmpOp::MaskedEq(NAMESPACES | NEW_TIME);
    Ok(Some(vec![SeccompRule::new(vec![argument(0, namespaces, 0)?])?]))
}

/// Anything but typing into the terminal of whoever started the program, changing whole file systems, and changing a file that may
/// be read only. Under a supervisor also but having others told by signals, as those Landlock keeps inside the tree and not apart
/// there, and having it wait.
fn ioctl_tests(policy: &Policy) -> Vec<Test> {
    let owns = OWNS.iter().chain([&HOLDS_UP]).filter(|_| policy.supervised);
    // Which files may be changed, only a supervisor tells.
    let is_left =
        !policy.supervised && policy.roles.iter().flat_map(|role| &role.grants).any(|one| one.verb == "chmeta");
    let alters = ALTERS.iter().filter(|_| !is_left).map(|(request, _)| request);
    let all = TYPES.iter().chain(&OF_FILE_SYSTEMS).chain(owns).chain(alters);
    all.map(|request| Test(1, Is::Ne, *request as u32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::policy::{Choice, Role};

    /// One that was granted nothing.
    const ROLE: &str =
        r#"{"name":"r","exe":[],"script":null,"calls":[],"sockets":[],"users":[],"choices":[],"grants":[]}"#;

    /// What the kernel makes of a call, by the steps that filters are made of.
    fn answer(program: &BpfProgram, number: i64, args: [u64; 6]) -> u32 {
        let word = |at: usize| match at {
            NUMBER_AT => number as u32,
            4 => 0xc000_003e,
            _ => (args[(at - 16) / 8] >> (8 * (at % 8))) as u32,
        };
        let (mut at, mut value) = (0, 0_u32);
        loop {
            let seccompiler::sock_filter { code, jt, jf, k } = program[at].clone();
            at += 1;
            let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
            match u32::from(code) {
                code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => value = word(k as usize),
                code if code == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => value &= k,
                code if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => jump(value == k),
                code if code == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => jump(value >= k),
                code if code == libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K => jump(value > k),
                code if code == libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K => jump(value & k != 0),
                code if code == libc::BPF_JMP | libc::BPF_JA => at += k as usize,
                code if code == libc::BPF_RET | libc::BPF_K => return k,
                code => panic!("step {}: code {code:#x} is none of a filter's", at - 1),
            }
        }
    }

    fn policy(pass: &[i64], absent: &[i64]) -> Policy {
        let text = format!(
            r#"{{"version":4,"supervised":true,"pass":{pass:?},"absent":{absent:?},"judged":[],"roles":[{{"name":"r","exe":[],
            "script":null,"calls":[],"sockets":[],"users":[],"choices":[],"grants":[]}}],"root":0,"learn":false,"sockets":[],"choices":[],"without":[],
            "opens":{{"reading":false,"writing":false}},
            "landlock":{{"rules":[],"connect":null,"bind":null,"scopeAbstract":false,"scopeSignal":false}}}}"#
        );
        Policy::parse(&text).unwrap()
    }

    #[test]
    fn every_number_has_its_answer() {
        const ABSENT: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        let numbers = 65..150;
        let pass: Vec<i64> = numbers.clone().filter(|number| number % 2 == 0).chain([libc::SYS_clone]).collect();
        let absent: Vec<i64> = numbers.filter(|number| number % 3 == 0).collect();
        let program = program(&policy(&pass, &absent), Otherwise::Notify, true).unwrap();
        for number in 0..1200 {
            let meant = match number {
                _ if absent.contains(&number) || number == libc::SYS_clone3 => ABSENT,
                _ if number >= first_unknown(Arch::X86_64) as i64 => ABSENT,
                _ if pass.contains(&number) || NEEDED.contains(&number) => libc::SECCOMP_RET_ALLOW,
                _ => libc::SECCOMP_RET_USER_NOTIF,
            };
            assert_eq!(answer(&program, number, [0; 6]), meant, "call {number}");
        }
        // getpid(2) of the x32 ABI.
        assert_eq!(answer(&program, 0x4000_0000 | libc::SYS_getpid, [0; 6]), ABSENT);
        let namespaces = [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0];
        assert_eq!(answer(&program, libc::SYS_clone, namespaces), libc::SECCOMP_RET_USER_NOTIF);
        let siblings = [libc::CLONE_PARENT as u64 | libc::SIGCHLD as u64, 0, 0, 0, 0, 0];
        assert_eq!(answer(&program, libc::SYS_clone, siblings), libc::SECCOMP_RET_USER_NOTIF);
    }

    #[test]
    fn more_numbers_are_answered_than_a_step_can_jump_over() {
        let mut program = program(&policy(&[], &[]), Otherwise::Notify, true).unwrap();
        answer_first(&mut program, (500..1100).step_by(2), libc::SECCOMP_RET_ALLOW);
        for number in 500..1200 {
            let is_named = number < 1100 && number % 2 == 0;
            assert_eq!(answer(&program, number, [0; 6]) == libc::SECCOMP_RET_ALLOW, is_named, "call {number}");
        }
    }

    #[test]
    fn what_needs_no_look_at_arguments_is_answered_first() {
        let program = program(&policy(&[libc::SYS_getppid], &[]), Otherwise::Refuse, true).unwrap();
        let arguments = |one: &seccompiler::sock_filter| one.code == 0x20 && one.k as usize >= 16;
        let allows = |one: &seccompiler::sock_filter| one.code == 6 && one.k == libc::SECCOMP_RET_ALLOW;
        let first = program.iter().position(allows).unwrap();
        assert!(!program[..first].iter().any(arguments));
        assert_eq!(answer(&program, libc::SYS_getppid, [0; 6]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(answer(&program, libc::SYS_socket, [0; 6]), libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    }

    #[test]
    fn how_a_process_runs_is_told_by_itself() {
        use Controlled::{All, Caller, Group, One};
        let calls = [
            libc::SYS_prlimit64,
            libc::SYS_sched_setattr,
            libc::SYS_setpriority,
            libc::SYS_ioprio_set,
            libc::SYS_move_pages,
            libc::SYS_get_robust_list,
            libc::SYS_perf_event_open,
        ];
        let program = program(&policy(&calls, &[]), Otherwise::Notify, true).unwrap();
        for (number, args, whom) in [
            (libc::SYS_prlimit64, [0, 7, 1, 0], Some(Caller)),
            (libc::SYS_prlimit64, [7, 4, 1 << 32, 0], Some(One(7))),
            (libc::SYS_prlimit64, [7, 4, 0, 1], None),
            (libc::SYS_sched_setattr, [1 << 32, 1, 0, 0], Some(Caller)),
            (libc::SYS_sched_setattr, [7, 1, 0, 0], Some(One(7))),
            (libc::SYS_setpriority, [0, 0, 19, 0], Some(Caller)),
            (libc::SYS_setpriority, [0, 7, 19, 0], Some(One(7))),
            (libc::SYS_setpriority, [1, 0, 19, 0], Some(Group(0))),
            (libc::SYS_setpriority, [2, 7, 19, 0], Some(All)),
            (libc::SYS_ioprio_set, [1, 0, 0, 0], Some(Caller)),
            (libc::SYS_ioprio_set, [0, 0, 0, 0], Some(All)),
            (libc::SYS_move_pages, [7, 0, 0, 0], Some(One(7))),
            (libc::SYS_get_robust_list, [0, 1, 1, 0], Some(Caller)),
            (libc::SYS_perf_event_open, [1, 0, u64::MAX, u64::MAX], Some(Caller)),
            (libc::SYS_perf_event_open, [1, 7, u64::MAX, u64::MAX], Some(One(7))),
            (libc::SYS_perf_event_open, [1, u64::from(u32::MAX), 0, u64::MAX], Some(All)),
        ] {
            let args = [args[0], args[1], args[2], args[3], 0, 0];
            assert_eq!(controlled(number, &args), whom, "{number} {args:?}");
            let is_own = matches!(whom, None | Some(Caller));
            assert_eq!(answer(&program, number, args) == libc::SECCOMP_RET_ALLOW, is_own, "{number} {args:?}");
        }
        let group = [1, 0, 0, u64::MAX, PERF_FLAG_PID_CGROUP, 0];
        assert_eq!(controlled(libc::SYS_perf_event_open, &group), Some(All));
        assert_ne!(answer(&program, libc::SYS_perf_event_open, group), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn no_core_file_is_made_larger_unseen() {
        let calls = [libc::SYS_setrlimit, libc::SYS_prlimit64];
        let core = u64::from(libc::RLIMIT_CORE);
        for (supervised, learn) in [(true, false), (true, true), (false, false)] {
            let mut own = policy(&calls, &[]);
            (own.supervised, own.learn) = (supervised, learn);
            let program = program(&own, Otherwise::Notify, true).unwrap();
            let passes = |number, args: [u64; 6]| answer(&program, number, args) == libc::SECCOMP_RET_ALLOW;
            let is_held = supervised && !learn;
            assert_eq!(passes(libc::SYS_setrlimit, [core, 1, 0, 0, 0, 0]), !is_held);
            assert_eq!(passes(libc::SYS_setrlimit, [1 << 32 | core, 1, 0, 0, 0, 0]), !is_held);
            assert_eq!(passes(libc::SYS_prlimit64, [0, core, 1, 0, 0, 0]), !is_held);
            assert!(passes(libc::SYS_prlimit64, [0, core, 0, 1, 0, 0]));
            assert!(passes(libc::SYS_prlimit64, [0, core + 1, 1, 0, 0, 0]));
            assert!(passes(libc::SYS_setrlimit, [core + 1, 1, 0, 0, 0, 0]));
        }
    }

    #[test]
    fn a_call_that_chooses_passes_as_what_was_granted() {
        let calls = [libc::SYS_setsockopt, libc::SYS_keyctl, libc::SYS_ioctl];
        let granted = |supervised: bool| {
            let mut own = policy(&calls, &[]);
            own.supervised = supervised;
            let choice = |call, args: &[u8], free: &str| Choice {
                call,
                args: args.to_vec(),
                free: serde_json::from_str(free).unwrap(),
            };
            own.choices = vec![
                choice(
                    libc::SYS_setsockopt,
                    &[1, 2],
                    r#"[[[1,"eq",1],[2,"ne",36],[2,"ne",25]],[[1,"eq",0],[2,"le",51]]]"#,
                ),
                choice(libc::SYS_keyctl, &[0], "[]"),
                choice(libc::SYS_ioctl, &[1], r#"[[[1,"le",35071]],[[1,"ge",35840]],[[1,"eq",35091]]]"#),
            ];
            let role = |choices| Role { choices, ..serde_json::from_str(ROLE).unwrap() };
            own.roles = vec![
                role(vec![(libc::SYS_setsockopt, vec![1, 36]), (libc::SYS_keyctl, vec![11])]),
                role(vec![(libc::SYS_setsockopt, vec![1, 36]), (libc::SYS_ioctl, vec![0x8914])]),
            ];
            program(&own, Otherwise::Notify, true).unwrap()
        };
        let passes = |program: &BpfProgram, number, args: [u64; 3]| {
            let args = [args[0], args[1], args[2], 1, 4, 0];
            answer(program, number, args) == libc::SECCOMP_RET_ALLOW
        };
        for supervised in [true, false] {
            let program = granted(supervised);
            for (option, is_free) in [(2, true), (25, false), (36, true)] {
                assert_eq!(passes(&program, libc::SYS_setsockopt, [3, 1, option]), is_free, "SOL_SOCKET {option}");
            }
            assert!(passes(&program, libc::SYS_setsockopt, [3, 0, 1]));
            assert!(!passes(&program, libc::SYS_setsockopt, [3, 0, libc::IP_OPTIONS as u64]));
            assert!(
                !passes(&program, libc::SYS_setsockopt, [3, 0, 64])
                    && !passes(&program, libc::SYS_setsockopt, [3, 263, 1])
            );
            // Of what one role was granted and not the other a supervisor decides.
            assert_eq!(passes(&program, libc::SYS_keyctl, [11, 0, 0]), !supervised);
            assert!(!passes(&program, libc::SYS_keyctl, [12, 0, 0]));
            assert_eq!(passes(&program, libc::SYS_ioctl, [3, 0x8914, 0]), !supervised);
            assert!(
                passes(&program, libc::SYS_ioctl, [3, 0x8913, 0]) && passes(&program, libc::SYS_ioctl, [3, 0x5401, 0])
            );
            assert!(!passes(&program, libc::SYS_ioctl, [3, 0x8916, 0]));
            assert!(!passes(&program, libc::SYS_ioctl, [3, libc::TIOCSTI, 0]));
            assert!(!passes(&program, libc::SYS_ioctl, [3, OF_FILE_SYSTEMS[0], 0]));
        }
    }

    #[test]
    fn messages_name_nobody_where_only_the_kernel_holds_them() {
        let alone = |pass: &[i64]| {
            let mut policy = policy(pass, &[]);
            policy.supervised = false;
            program(&policy, Otherwise::Notify, true).unwrap()
        };
        let passes = |program: &BpfProgram, number, flags: i32, address: u64| {
            let args = match number {
                libc::SYS_sendmsg => [3, 1, flags as u64, 0, 0, 0],
                _ => [3, 1, 1, flags as u64, address, 16],
            };
            answer(program, number, args) == libc::SECCOMP_RET_ALLOW
        };
        let plain = alone(&[libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg]);
        let paired = alone(&[libc::SYS_sendto, libc::SYS_socketpair]);
        for number in [libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg] {
            assert!(passes(&plain, number, libc::MSG_NOSIGNAL, 1), "{number}");
            assert!(!passes(&plain, number, libc::MSG_NOSIGNAL | libc::MSG_FASTOPEN, 1), "{number}");
        }
        assert!(passes(&paired, libc::SYS_sendto, libc::MSG_NOSIGNAL, 0));
        assert!(!passes(&paired, libc::SYS_sendto, 0, 1) && !passes(&paired, libc::SYS_sendto, 0, 1 << 32));
    }

    #[test]
    fn some_options_and_commands_are_looked_at() {
        let calls = [libc::SYS_setsockopt, libc::SYS_prctl, libc::SYS_fcntl, libc::SYS_ioctl];
        let program = program(&policy(&calls, &[]), Otherwise::Notify, true).unwrap();
        let passes = |number, args: [u64; 5]| {
            let args = [args[0], args[1], args[2], args[3], args[4], 0];
            answer(&program, number, args) == libc::SECCOMP_RET_ALLOW
        };
        let (ip, ipv6) = (libc::IPPROTO_IP as u64, libc::IPPROTO_IPV6 as u64);
        for (level, option) in [(ip, libc::IP_OPTIONS), (ipv6, libc::IPV6_RTHDR), (ipv6, OLD_ROUTING_HEADER)] {
            assert!(!passes(libc::SYS_setsockopt, [3, level, option as u64, 1, 8]));
            assert!(passes(libc::SYS_setsockopt, [3, level, option as u64, 1, 0]));
            assert!(passes(libc::SYS_setsockopt, [3, libc::SOL_SOCKET as u64, option as u64, 1, 8]));
        }
        assert!(passes(libc::SYS_setsockopt, [3, ip, libc::IP_TOS as u64, 1, 4]));
        assert!(!passes(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 0, 0, 0, 0]));
        assert!(!passes(libc::SYS_prctl, [libc::PR_SET_CHILD_SUBREAPER as u64, 1, 0, 0, 0]));
        assert!(passes(libc::SYS_prctl, [libc::PR_SET_NAME as u64, 0, 0, 0, 0]));
        // By its lower half, as the kernel takes it.
        for option in [libc::PR_SET_MM as u64, 1 << 32 | libc::PR_SET_MM as u64] {
            assert!(!passes(libc::SYS_prctl, [option, 13, 3, 0, 0]));
            assert!(is_never(libc::SYS_prctl, &[option, 13, 3, 0, 0, 0]));
        }
        assert!(!passes(libc::SYS_fcntl, [3, libc::F_SETOWN as u64, 1, 0, 0]));
        assert!(!passes(libc::SYS_fcntl, [3, libc::F_SETLEASE as u64, 1, 0, 0]));
        assert!(passes(libc::SYS_fcntl, [3, libc::F_GETFL as u64, 0, 0, 0]));
        assert!(!passes(libc::SYS_ioctl, [3, FIOSETOWN, 1, 0, 0]));
        assert!(passes(libc::SYS_ioctl, [3, libc::FIONREAD, 1, 0, 0]));
        assert!(!passes(libc::SYS_ioctl, [3, FS_IOC_SETFLAGS, 1, 0, 0]));
        for request in OF_FILE_SYSTEMS {
            assert!(!passes(libc::SYS_ioctl, [3, request, 0, 0, 0]));
            assert!(is_never(libc::SYS_ioctl, &[3, request, 0, 0, 0, 0]));
        }
    }
}
