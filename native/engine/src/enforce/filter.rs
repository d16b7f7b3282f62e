//! The seccomp filter of a policy: calls that every role may make go to the kernel, all others are notified.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

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
    // Where nobody listens, nobody lets the child into its program.
    let first = (otherwise == Otherwise::Refuse).then_some(libc::SYS_execve);
    // Calls that programs do without are refused at once. The flags of clone3 stand in memory, where no filter sees them: programs
    // fall back to clone. Who learns wants to see them all.
    let missing: Vec<i64> = match otherwise {
        Otherwise::Notify if policy.learn => Vec::new(),
        _ => policy.absent.iter().copied().chain([libc::SYS_clone3]).collect(),
    };
    for number in policy.pass.iter().chain(&NEEDED).chain(&first).copied() {
        let own = match number {
            libc::SYS_socket | libc::SYS_socketpair => socket_rules(&policy.sockets, number).map_err(wrong)?,
            libc::SYS_clone => clone_rules().map_err(wrong)?,
            libc::SYS_ioctl => ioctl_rules().map_err(wrong)?,
            libc::SYS_unshare => unshare_rules().map_err(wrong)?,
            libc::SYS_setns => None,
            libc::SYS_open if holds_truncation(policy) => truncation_rules(1).map_err(wrong)?,
            libc::SYS_openat if holds_truncation(policy) => truncation_rules(2).map_err(wrong)?,
            libc::SYS_clone3 if policy.learn => None,
            _ => Some(Vec::new()),
        };
        if let Some(own) = own {
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
    lack(&mut program, &missing);
    if holds_truncation(policy) && policy.pass.contains(&libc::SYS_openat) {
        program.splice(0..0, plain_open_first());
    }
    if program.len() > libc::BPF_MAXINSNS as usize {
        return Err(wrong(seccompiler::BackendError::FilterTooLarge(program.len())));
    }
    Ok(program)
}

/// Has a program answer some calls as a kernel that lacks them does, whatever it says of them. (`seccompiler` knows one answer a
/// filter for what is refused.)
fn lack(program: &mut BpfProgram, numbers: &[i64]) {
    let loads_number = |one: &seccompiler::sock_filter| {
        u32::from(one.code) == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS && one.k as usize == NUMBER_AT
    };
    // Before it, the program has made sure of whose numbers they are.
    let Some(at) = program.iter().position(loads_number) else { return };
    let answers = numbers.iter().flat_map(|number| {
        let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        [
            step(libc::BPF_JMP | libc::BPF_K | libc::BPF_JEQ, (0, 1), *number as u32),
            step(libc::BPF_RET | libc::BPF_K, (0, 0), absent),
        ]
    });
    let behind = at + 1;
    program.splice(behind..behind, answers.collect::<Vec<_>>());
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

/// Whether nobody may make the call, whoever was granted it: new namespaces, and typing into a terminal. Decided by registers,
/// of which the kernel looks at the lower half.
#[must_use]
pub fn is_never(number: i64, args: &[u64; 6]) -> bool {
    match number {
        libc::SYS_clone => args[0] & NAMESPACES != 0,
        libc::SYS_unshare => args[0] & (NAMESPACES | NEW_TIME) != 0,
        // It may be any of them that the descriptor stands for.
        libc::SYS_setns => true,
        libc::SYS_ioctl => TYPES.contains(&(args[1] & u64::from(u32::MAX))),
        _ => false,
    }
}

/// No new namespaces: in one of its own a program could mount, and become another user.
fn clone_rules() -> Conditions {
    Ok(Some(vec![SeccompRule::new(vec![argument(0, SeccompCmpOp::MaskedEq(NAMESPACES), 0)?])?]))
}

/// As [`clone_rules`].
fn unshare_rules() -> Conditions {
    let namespaces = SeccompCmpOp::MaskedEq(NAMESPACES | NEW_TIME);
    Ok(Some(vec![SeccompRule::new(vec![argument(0, namespaces, 0)?])?]))
}

/// Anything but typing into the terminal of whoever started the program.
fn ioctl_rules() -> Conditions {
    let others = TYPES.map(|request| argument(1, SeccompCmpOp::Ne, request));
    Ok(Some(vec![SeccompRule::new(others.into_iter().collect::<Result<_, _>>()?)?]))
}
