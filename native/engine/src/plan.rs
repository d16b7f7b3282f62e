//! What the recorder does for each syscall, worked out from the table once: which pointers it follows, which descriptors
//! and paths it names, and how the call changes the state of the process.

use std::sync::LazyLock;

use trace_format::structs;
use trace_format::syscalls::{self, SYSCALLS};
use trace_format::table::{Arch, Arg, Dir, Len, Ret, Syscall, Ty};

/// What is behind a pointer argument.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    String,
    Strings,
    /// Bytes of data.
    Payload,
    /// A struct or value of that size, or of the size that the argument's length says.
    Struct(u32),
    /// Elements of that size.
    Array(u32),
    Iovec,
    Msghdr,
    Mmsghdr,
    FdSet,
    Irregular(&'static str),
}

/// One pointer argument.
#[derive(Clone, Copy, Debug)]
pub struct Pointer {
    pub slot: u8,
    pub dir: Dir,
    pub len: Len,
    pub shape: Shape,
}

/// One path argument that the kernel looks up.
#[derive(Clone, Copy, Debug)]
pub struct PathArg {
    pub slot: u8,
    /// The directory descriptor that it is relative to, when the call has one.
    pub dir: Option<u8>,
    /// Whether a symbolic link at its end is followed when no flag says otherwise.
    pub follow: bool,
    /// The flags argument in which `AT_SYMLINK_NOFOLLOW` or `AT_SYMLINK_FOLLOW` says otherwise.
    pub flags: Option<u8>,
}

/// How a call that succeeded changes what the recorder knows of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// The result is a new descriptor.
    NewFd,
    /// The result is a new descriptor when the arguments say so.
    SomeNewFd,
    /// The socket calls in one.
    Socketcall,
    /// The result (or argument 1) is a copy of descriptor 0.
    Dup,
    /// Two new descriptors in the array behind argument `n`.
    TwoFds(u8),
    Close,
    CloseRange,
    Fcntl,
    /// A message may have brought descriptors.
    Receive,
    Chdir,
    /// Paths may mean something else afterwards.
    Rename,
    Sigaction,
    Exec,
    Mmap,
    Shmat,
    Mprotect,
    SetAffinity,
    GetAffinity,
    Unshare,
    Clone,
    Ptrace,
}

/// What a call means for a recording in which threads take turns; worked out once, since it is asked at every stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Plain,
    /// Lets others run, whatever its row says.
    Yields,
    /// Makes a task, and waits for it when its flags say so (CLONE_VFORK).
    Clones,
    /// Waits, or takes a lock, as its operation says.
    Futex,
    /// Waits for a file lock, as its command says.
    Fcntl,
    /// Ends the thread.
    Exits,
    /// Ends all threads but perhaps its own.
    EndsProcess,
    ReturnsFromHandler,
    /// Sends the signal that is argument `n`, to whom the first argument says: a process, a thread, or a descriptor of one.
    Kills(u8),
    /// Writes at the position of the file, or at the one that it is given.
    Writes,
    WritesAt,
    SetsTidAddress,
    SetsRobustList,
    Unmaps,
    /// Moves a part of the address space, and gives it another length.
    Remaps,
    /// Moves data from the descriptor that is argument `n` to its sink, inside the kernel.
    Moves(u8),
    /// Writes into the memory of another process.
    WritesElsewhere,
    Prctl,
    /// Changes which signals are blocked.
    Masks,
}

/// All of it for one syscall.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own about a call")]
pub struct Plan {
    pub row: &'static Syscall,
    pub pointers: Vec<Pointer>,
    /// Argument index of every descriptor argument.
    pub fds: Vec<u8>,
    pub paths: Vec<PathArg>,
    /// Some path may be relative to the working directory.
    pub uses_cwd: bool,
    pub effect: Effect,
    pub role: Role,
    /// The descriptor argument that data goes to.
    pub sink: Option<u8>,
    /// Changes the credentials, the umask or the namespaces of a process.
    pub changes_identity: bool,
    /// Writes its output also when it was interrupted.
    pub writes_interrupted: bool,
    /// Its row does not say all that it does: it is asked for by its name.
    pub is_unusual: bool,
}

static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| SYSCALLS.iter().map(plan).collect());
static X86_64: LazyLock<Vec<Option<&'static Plan>>> = LazyLock::new(|| index(Arch::X86_64));
static I386: LazyLock<Vec<Option<&'static Plan>>> = LazyLock::new(|| index(Arch::I386));

fn index(arch: Arch) -> Vec<Option<&'static Plan>> {
    let plans: &'static [Plan] = &PLANS;
    let most = plans.iter().filter_map(|plan| plan.row.number.on(arch)).max().unwrap_or(0);
    let mut by_number = vec![None; usize::from(most) + 1];
    for plan in plans {
        if let Some(number) = plan.row.number.on(arch) {
            by_number[usize::from(number)] = Some(plan);
        }
    }
    by_number
}

/// The plan for a number, or `None` when the table does not know the number.
#[must_use]
pub fn by_number(arch: Arch, number: u32) -> Option<&'static Plan> {
    let table = match arch {
        Arch::X86_64 => &*X86_64,
        Arch::I386 => &*I386,
    };
    table.get(usize::try_from(number).ok()?).copied().flatten()
}

fn plan(row: &'static Syscall) -> Plan {
    debug_assert!(syscalls::by_name(Arch::X86_64, row.name).is_some() || row.number.x86_64 < 0);
    let word = if row.number.x86_64 >= 0 { 8 } else { 4 };
    let pointers: Vec<Pointer> = row
        .args
        .iter()
        .enumerate()
        .filter_map(|(slot, arg)| {
            Some(Pointer { slot: slot as u8, dir: arg.dir, len: arg.len, shape: shape_of(arg, word)? })
        })
        .collect();
    let position = |wanted: fn(&Ty) -> bool| row.args.iter().position(|arg| wanted(&arg.ty)).map(|slot| slot as u8);
    // The sets that hold the AT_SYMLINK_* bits.
    let flags = position(
        |ty| matches!(ty, Ty::Flags(set) if set.ends_with("at_flags") || matches!(*set, "statx_flags" | "file_attr_flags")),
    );
    let paths: Vec<PathArg> = row
        .args
        .iter()
        .enumerate()
        .filter(|(_, arg)| arg.ty == Ty::Path && arg.dir == Dir::In)
        .map(|(slot, _)| {
            let dir = slot.checked_sub(1).filter(|before| row.args[*before].ty == Ty::DirFd).map(|before| before as u8);
            PathArg { slot: slot as u8, dir, follow: follows(row.name), flags }
        })
        .collect();
    let uses_cwd = !paths.is_empty() || position(|ty| *ty == Ty::DirFd).is_some();
    let fds = row
        .args
        .iter()
        .enumerate()
        .filter(|(_, arg)| matches!(arg.ty, Ty::Fd | Ty::DirFd))
        .map(|(slot, _)| slot as u8)
        .collect();
    Plan {
        row,
        pointers,
        fds,
        paths,
        uses_cwd,
        effect: effect_of(row),
        role: role_of(row.name),
        sink: sink_of(row.name),
        changes_identity: changes_identity(row.name),
        is_unusual: is_unusual(row.name),
        writes_interrupted: matches!(
            row.name,
            "nanosleep"
                | "clock_nanosleep"
                | "clock_nanosleep_time64"
                | "pselect6"
                | "pselect6_time64"
                | "ppoll"
                | "ppoll_time64"
                | "select"
                | "poll"
        ),
    }
}

/// Whether a call follows a symbolic link at the end of its path when no flag says otherwise.
fn follows(name: &str) -> bool {
    !matches!(
        name,
        "lstat"
            | "lstat64"
            | "oldlstat"
            | "readlink"
            | "readlinkat"
            | "unlink"
            | "unlinkat"
            | "rename"
            | "renameat"
            | "renameat2"
            | "mkdir"
            | "mkdirat"
            | "rmdir"
            | "symlink"
            | "symlinkat"
            | "link"
            | "linkat"
            | "lchown"
            | "lchown32"
            | "lgetxattr"
            | "lsetxattr"
            | "llistxattr"
            | "lremovexattr"
            | "mknod"
            | "mknodat"
            | "name_to_handle_at"
    )
}

/// Whether a call changes who a process is (image.rs). What only changes its capabilities is found when they are compared.
fn changes_identity(name: &str) -> bool {
    matches!(
        name.strip_suffix("32").unwrap_or(name),
        "setuid"
            | "setgid"
            | "setreuid"
            | "setregid"
            | "setresuid"
            | "setresgid"
            | "setfsuid"
            | "setfsgid"
            | "setgroups"
            | "capset"
            | "umask"
            | "unshare"
            | "setns"
    )
}

/// The argument by which a call that waits says which signals are blocked meanwhile; for pselect6(2) that is a struct in between, with the
/// address and the size of the set.
#[must_use]
pub fn waiting_mask(name: &str) -> Option<u8> {
    match name {
        "rt_sigsuspend" => Some(0),
        "ppoll" | "ppoll_time64" => Some(3),
        "epoll_pwait" | "epoll_pwait2" => Some(4),
        "pselect6" | "pselect6_time64" => Some(PSELECT_MASK),
        _ => None,
    }
}

/// [`waiting_mask`] of pselect6(2).
pub const PSELECT_MASK: u8 = 5;

/// Calls that record/effects.rs asks for by name, before and after they are made.
fn is_unusual(name: &str) -> bool {
    matches!(
        name,
        "poll"
            | "ppoll"
            | "ppoll_time64"
            | "select"
            | "_newselect"
            | "pselect6"
            | "pselect6_time64"
            | "sendmsg"
            | "sendmmsg"
            | "waitid"
            | "kcmp"
            | "fsconfig"
            | "mount_setattr"
            | "ioctl"
            | "mmap"
            | "mmap2"
            | "munmap"
            | "mremap"
    )
}

fn role_of(name: &str) -> Role {
    match name {
        "sched_yield" => Role::Yields,
        "clone" | "clone3" | "vfork" => Role::Clones,
        "futex" | "futex_time64" => Role::Futex,
        "fcntl" | "fcntl64" => Role::Fcntl,
        "exit" => Role::Exits,
        "exit_group" | "execve" | "execveat" => Role::EndsProcess,
        "rt_sigreturn" | "sigreturn" => Role::ReturnsFromHandler,
        "kill" | "tkill" | "rt_sigqueueinfo" | "pidfd_send_signal" => Role::Kills(1),
        "tgkill" | "rt_tgsigqueueinfo" => Role::Kills(2),
        "write" | "writev" => Role::Writes,
        "pwrite64" | "pwritev" | "pwritev2" => Role::WritesAt,
        "set_tid_address" => Role::SetsTidAddress,
        "set_robust_list" => Role::SetsRobustList,
        "munmap" => Role::Unmaps,
        "mremap" => Role::Remaps,
        "sendfile" | "sendfile64" => Role::Moves(1),
        "splice" | "tee" | "copy_file_range" => Role::Moves(0),
        "process_vm_writev" => Role::WritesElsewhere,
        "prctl" => Role::Prctl,
        "rt_sigprocmask" | "sigprocmask" | "ssetmask" => Role::Masks,
        _ => Role::Plain,
    }
}

fn sink_of(name: &str) -> Option<u8> {
    match name {
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "send" | "sendto" | "sendmsg" | "sendmmsg"
        | "sendfile" | "sendfile64" | "vmsplice" => Some(0),
        "tee" => Some(1),
        "splice" | "copy_file_range" => Some(2),
        _ => None,
    }
}

fn effect_of(row: &Syscall) -> Effect {
    match row.name {
        "close" => Effect::Close,
        "close_range" => Effect::CloseRange,
        "dup" | "dup2" | "dup3" => Effect::Dup,
        "pipe" | "pipe2" => Effect::TwoFds(0),
        "socketpair" => Effect::TwoFds(3),
        "fcntl" | "fcntl64" => Effect::Fcntl,
        "recvmsg" | "recvmmsg" | "recvmmsg_time64" => Effect::Receive,
        "chdir" | "fchdir" | "chroot" | "pivot_root" => Effect::Chdir,
        "rename" | "renameat" | "renameat2" | "unlink" | "unlinkat" | "symlink" | "symlinkat" | "link" | "linkat"
        | "rmdir" | "mount" | "umount" | "umount2" | "move_mount" | "setns" => Effect::Rename,
        "unshare" => Effect::Unshare,
        "rt_sigaction" | "sigaction" | "signal" => Effect::Sigaction,
        "execve" | "execveat" => Effect::Exec,
        "mmap" | "mmap2" => Effect::Mmap,
        "shmat" => Effect::Shmat,
        "mprotect" | "pkey_mprotect" => Effect::Mprotect,
        "sched_setaffinity" => Effect::SetAffinity,
        "sched_getaffinity" => Effect::GetAffinity,
        "clone" | "clone3" | "fork" | "vfork" => Effect::Clone,
        "ptrace" => Effect::Ptrace,
        "bpf" | "seccomp" | "landlock_create_ruleset" => Effect::SomeNewFd,
        "socketcall" => Effect::Socketcall,
        _ if row.ret == Ret::Fd => Effect::NewFd,
        _ => Effect::Nothing,
    }
}

/// Bytes of a value of that type in memory.
fn size_of(ty: &Ty, word: usize) -> u32 {
    match ty {
        Ty::Long | Ty::Ulong | Ty::Size | Ty::Addr | Ty::Hex | Ty::Time => word as u32,
        Ty::Off => 8,
        Ty::Struct(name) => structs::layout(name).map_or(0, |layout| u32::from(layout.size)),
        _ => 4,
    }
}

fn shape_of(arg: &Arg, word: usize) -> Option<Shape> {
    Some(match &arg.ty {
        Ty::Path | Ty::Str if arg.dir == Dir::Out => Shape::Struct(0),
        Ty::Path | Ty::Str => Shape::String,
        Ty::StrArray => Shape::Strings,
        Ty::Bytes => Shape::Payload,
        Ty::Struct(_) => Shape::Struct(size_of(&arg.ty, word)),
        Ty::Ptr(pointee) => Shape::Struct(size_of(pointee, word)),
        Ty::Array(element) => Shape::Array(size_of(element, word)),
        Ty::Sockaddr | Ty::Sigset => Shape::Struct(0),
        Ty::Iovec => Shape::Iovec,
        Ty::Msghdr => Shape::Msghdr,
        Ty::Mmsghdr => Shape::Mmsghdr,
        Ty::FdSet => Shape::FdSet,
        Ty::Irregular(_) if arg.len == Len::Fixed(0) => return None,
        Ty::Irregular(family) => Shape::Irregular(family),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_syscall_has_its_plan() {
        for row in SYSCALLS {
            for arch in [Arch::X86_64, Arch::I386] {
                if let Some(number) = row.number.on(arch) {
                    assert_eq!(by_number(arch, u32::from(number)).expect(row.name).row.name, row.name);
                }
            }
        }
        assert!(by_number(Arch::X86_64, 100_000).is_none());
    }

    #[test]
    fn structs_have_a_size() {
        for plan in PLANS.iter() {
            for pointer in &plan.pointers {
                if matches!(plan.row.args[usize::from(pointer.slot)].ty, Ty::Struct(_)) {
                    assert!(!matches!(pointer.shape, Shape::Struct(0)), "{} argument {}", plan.row.name, pointer.slot);
                }
            }
        }
    }
}
