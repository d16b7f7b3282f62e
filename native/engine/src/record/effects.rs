//! How calls change what is known of a process: descriptors, working directory, handlers, mappings, CPU masks.

use libc::{c_int, pid_t};
use trace_format::event::{EventKind, Lost, Side, slot};
use trace_format::table::Arch;

use super::World;
use super::outside::numbered;
use super::shown::Shown;
use crate::agent::known::Part;
use crate::capture::{Call, is_error};
use crate::image::{self, ElfFacts, Mapping};
use crate::irregular::{NewDescriptor, descriptor_of_ioctl, takes_descriptor};
use crate::memory::{Capturer, Data, Memory, word_of};
use crate::objects::{self, Open, ProcPath};
use crate::plan::{Effect, Role, Shape};
use crate::raw::{ObjectKind, RawRef};
use crate::sys::{self, CpuMask};
use crate::task::{Handler, Restore, Task};

/// What the user is told when the kernel closes a process to its tracer.
const UNREADABLE: &str = "the kernel does not let a process be looked into (it changed its privileges, said so by \
    PR_SET_DUMPABLE, or its program file cannot be read): its calls are recorded without memory and descriptors \
    (record as root to keep them)";

const PROT_EXEC: u64 = libc::PROT_EXEC as u64;

impl World {
    /// The object behind a descriptor of a task, asked of the kernel when it is not known yet.
    pub(super) fn object(&mut self, task: &Task, fd: i32) -> Option<u32> {
        self.open(task, fd).map(|open| open.object)
    }

    pub(super) fn open(&mut self, task: &Task, fd: i32) -> Option<Open> {
        let known = task.fds.borrow().open(fd);
        if let Some(known) = known
            && (self.follows || self.is_still(task, fd, &known))
        {
            return Some(known);
        }
        self.identify(task, fd, None)
    }

    /// Whether a descriptor stands for the object that it stood for.
    fn is_still(&self, task: &Task, fd: i32, known: &Open) -> bool {
        let now = objects::identify(task.tid, fd).ok();
        now.is_some_and(|now| self.identities.get(&known.object).is_some_and(|then| then.is_same(&now)))
    }

    /// Asks what a new descriptor stands for. `made_by` is the call that made it, absent when it was there before.
    fn identify(&mut self, task: &Task, fd: i32, made_by: Option<&Call>) -> Option<Open> {
        let told = self.agent.as_mut().filter(|_| made_by.is_some()).and_then(|agent| agent.take_told(fd));
        let identity = match told.map_or_else(|| objects::identify(task.tid, fd), Ok) {
            Ok(identity) => identity,
            Err(error) => {
                if error.kind() == std::io::ErrorKind::PermissionDenied {
                    self.lost[Lost::Descriptor as usize] += 1;
                    self.note(UNREADABLE);
                }
                return None;
            }
        };
        let socket = made_by.filter(|_| identity.kind == ObjectKind::Socket);
        let detail = socket.map(|call| self.socket_detail(task, call)).unwrap_or_default();
        self.opened = identity.kind.is_named().then(|| identity.path.clone());
        let created_by = made_by.map(|_| self.sink.seq());
        let (kind, file) = (identity.kind, (identity.dev, identity.ino));
        let memory = super::outside::memory_of(&identity.path);
        let shown = Shown::of(&identity.path);
        let kept = (!self.follows).then(|| identity.clone());
        let is_ready = identity.is_always_ready();
        if identity.kind == ObjectKind::CharDevice && identity.path == b"/dev/fuse" {
            self.serves_files = true;
            self.resolver.ask_nobody();
        }
        let object = self.objects.number(identity, detail, created_by, &mut self.definitions);
        self.memory_files.extend(memory.map(|pid| (object, pid)));
        if let Some(identity) = kept {
            if self.identities.len() >= objects::MAX_REMEMBERED {
                self.identities.clear();
            }
            self.identities.insert(object, identity);
        }
        self.mapping_files.extend(shown.map(|shown| (object, shown)));
        let only_reads = made_by.is_some_and(super::agent::opens_to_read);
        let open = Open { object, kind, file, is_ready, only_reads };
        task.fds.borrow_mut().set(fd, open);
        Some(open)
    }

    /// Whether a recorded process may be the one that serves a file, fuse(4). To open it, or to read it in a program's memory, would
    /// wait for one that may be stopped, for ever.
    pub(super) fn is_served(&self, tid: pid_t, fd: i32) -> bool {
        self.serves_files && objects::is_on_fuse(tid, fd)
    }

    /// Before the mapped files of a process are looked at: those that are served are left alone.
    pub(super) fn leave_served(&self, tid: pid_t) {
        if self.serves_files {
            sys::ask_nobody(objects::served_devices(tid));
        }
    }

    /// The object of the working directory.
    pub(super) fn cwd(&mut self, task: &Task) -> Option<u32> {
        let known = task.location.borrow().cwd;
        if known.is_some() {
            return known;
        }
        let found = self.objects.directory(task.tid, &mut self.definitions);
        task.location.borrow_mut().cwd = found;
        found
    }

    /// What has to happen before the kernel carries a call out.
    pub(super) fn before(&mut self, task: &mut Task, call: &mut Call) {
        let Some(plan) = call.plan else { return };
        for fd in std::mem::take(&mut task.memory.mentioned) {
            self.refer_nested(task, fd);
        }
        if plan.is_unusual {
            self.refer_unusual(task, call);
        }
        if plan.effect == Effect::Clone && self.follows {
            self.keep_traced(task, call);
        }
        if plan.effect == Effect::Close {
            // The number is free as soon as the call begins, and another thread may get it before this one returns. Linux
            // frees it whatever close(2) reports.
            task.fds.borrow_mut().close_begun(call.int(0), call.entry_seq);
        }
        if plan.role == Role::Prctl && self.replayable && call.int(0) == libc::PR_SET_TSC {
            self.keep_clock_trapped(task, call);
        }
        if call.name() == "arch_prctl" && call.args[0] == sys::ARCH_SET_CPUID {
            self.keep_cpuid_trapped(task, call);
        }
    }

    /// The same of a program that lets itself ask for the processor (ARCH_SET_CPUID, arch_prctl(2)).
    fn keep_cpuid_trapped(&mut self, task: &mut Task, call: &Call) {
        if !self.traps_all_cpuid() {
            // Its own word counts from here on.
            task.traps.learns = false;
            return;
        }
        task.traps.cpuid_is_forbidden = call.args[1] == 0;
        if call.args[1] == 0 {
            return;
        }
        if sys::set_argument(task.tid, call.arch, 1, 0).is_ok() {
            task.restore = Some(Restore::Argument(1, call.args[1]));
        } else {
            self.lost[Lost::TaskGone as usize] += 1;
        }
    }

    /// A program that lets itself read the clock (PR_SET_TSC) is still answered by the recorder, unless it forbids that.
    fn keep_clock_trapped(&mut self, task: &mut Task, call: &Call) {
        if matches!(call.int(1), libc::PR_TSC_ENABLE | libc::PR_TSC_SIGSEGV) {
            task.traps.clock_is_forbidden = call.int(1) == libc::PR_TSC_SIGSEGV;
        }
        if task.traps.clock_is_forbidden {
            task.space.borrow_mut().code.forbid_counter(task.tid);
        }
        if call.int(1) != libc::PR_TSC_ENABLE {
            return;
        }
        if sys::set_argument(task.tid, call.arch, 1, libc::PR_TSC_SIGSEGV as u64).is_ok() {
            task.restore = Some(Restore::Argument(1, call.args[1]));
        } else {
            self.lost[Lost::TaskGone as usize] += 1;
        }
    }

    /// A child that asks not to be traced would escape. The program finds its own flags again afterwards.
    fn keep_traced(&mut self, task: &mut Task, call: &Call) {
        const UNTRACED: u64 = libc::CLONE_UNTRACED as u64;
        let (flags, restore) = match call.name() {
            "clone" => (call.args[0], Restore::Argument(0, call.args[0])),
            "clone3" => {
                let flags = task.memory.flags_of_clone3(task.tid, call.args[0]);
                (flags, Restore::Memory(call.args[0], flags))
            }
            _ => return,
        };
        if flags & UNTRACED == 0 {
            return;
        }
        let seen = flags & !UNTRACED;
        let done = match restore {
            Restore::Argument(index, _) => sys::set_argument(task.tid, call.arch, index, seen).is_ok(),
            Restore::Memory(addr, _) => sys::write_memory(task.tid, addr, &seen.to_ne_bytes()),
        };
        if done {
            task.restore = Some(restore);
        } else {
            self.lost[Lost::TaskGone as usize] += 1;
        }
    }

    /// Puts back what was changed for the kernel in what a call asks.
    pub(super) fn put_back(task: &mut Task, call: &Call) {
        match task.restore.take() {
            Some(Restore::Argument(index, value)) => {
                let _ = sys::set_argument(task.tid, call.arch, index, value);
            }
            Some(Restore::Memory(addr, value)) => {
                let _ = sys::write_memory(task.tid, addr, &value.to_ne_bytes());
            }
            None => {}
        }
    }

    /// What a call has changed. `result` is its raw result.
    pub(super) fn after(&mut self, task: &mut Task, call: &Call, result: i64) {
        World::put_back(task, call);
        let Some(plan) = call.plan else { return };
        if is_error(result) {
            self.after_failure(plan.effect, result);
            return;
        }
        if plan.is_unusual && self.agent.is_some() {
            super::agent::forget_code(task, call, result);
        }
        if plan.changes_identity {
            self.identity_changes += 1;
        }
        if plan.effect == Effect::NewFd {
            self.opened(task, call, result as i32);
        }
        if self.replayable {
            match plan.role {
                Role::Writes | Role::WritesAt | Role::WritesElsewhere | Role::Moves(_) => {
                    self.wrote(task, call, result);
                }
                Role::Unmaps => self.unmapped(task, call),
                Role::Remaps => World::remapped(task, call, result),
                _ => self.changes_by_itself(task, call, result),
            }
        }
        if plan.is_unusual && call.name() == "ioctl" {
            self.opened_by_ioctl(task, call, result as i32);
        }
        if !plan.paths.is_empty() && self.data >= Data::Paths {
            self.resolve_paths(task, call, plan.effect);
        }
        match plan.effect {
            Effect::Nothing | Effect::NewFd | Effect::Close | Effect::Exec | Effect::Ptrace => {}
            Effect::Clone => {
                task.process.borrow_mut().is_apart |= task.made.take().is_some_and(|made| i64::from(made) != result);
                self.opened_by_clone(task, call);
            }
            Effect::Dup => self.duplicated(task, call.int(0), result as i32),
            Effect::SomeNewFd if returns_descriptor(call) => self.opened(task, call, result as i32),
            Effect::SomeNewFd => {}
            Effect::Socketcall => self.socketcall(task, call, result as i32),
            Effect::TwoFds(slot) => self.two_written(task, call, slot),
            Effect::CloseRange => closed_range(task, call),
            Effect::Fcntl => {
                if matches!(call.int(1), libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) {
                    self.duplicated(task, call.int(0), result as i32);
                }
            }
            Effect::Receive => self.refer_passed(task, call, Side::Out),
            Effect::Chdir => self.moved(task, call),
            Effect::Rename => self.resolver.forget(),
            Effect::Unshare => unshared(task, call.args[0]),
            Effect::Sigaction => handled(task, call),
            Effect::Mmap => self.mapped(task, call, result),
            Effect::Shmat if self.replayable => self.describe_segment(task, call, result),
            Effect::Shmat => {}
            Effect::Mprotect => self.protected(task, call),
            Effect::SetAffinity => self.chose_cpus(task, call),
            Effect::GetAffinity => self.show_affinity(task, call, result),
        }
    }

    fn after_failure(&mut self, effect: Effect, result: i64) {
        const EPERM: i64 = -1;
        if effect == Effect::Ptrace && result == EPERM {
            self.note("the program itself uses ptrace (a debugger, or strace) and was refused: a process can have only one tracer; --backend=notify can record it");
        }
    }

    /// Adds a line for the user, once.
    pub(super) fn note(&mut self, text: &str) {
        if !self.notes.iter().any(|known| known == text) {
            self.notes.push(text.to_owned());
        }
    }

    fn opened(&mut self, task: &mut Task, call: &Call, fd: i32) {
        task.fds.borrow_mut().given_out(fd, self.sink.seq());
        if let Some(Open { object, .. }) = self.identify(task, fd, Some(call)) {
            task.memory.refs.push(RawRef { slot: slot::RET, fd, object });
        }
    }

    fn duplicated(&mut self, task: &mut Task, old: i32, new: i32) {
        let Some(open) = self.open(task, old) else { return };
        task.fds.borrow_mut().set(new, open);
        task.memory.refs.push(RawRef { slot: slot::RET, fd: new, object: open.object });
    }

    /// pipe(2) and socketpair(2) have written two descriptors, which are known as they were then: the agent has recorded it a while ago.
    fn two_written(&mut self, task: &mut Task, call: &Call, slot: u8) {
        let written = task.memory.find(slot, Side::Out).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        let Some(both) = written.map(u64::from_le_bytes) else {
            return self.two_opened(task, call, call.args[usize::from(slot)]);
        };
        self.opened_nested(task, call, both as i32);
        self.opened_nested(task, call, (both >> 32) as i32);
    }

    fn two_opened(&mut self, task: &mut Task, call: &Call, addr: u64) {
        self.opened_in_memory(task, call, addr);
        self.opened_in_memory(task, call, addr.wrapping_add(4));
    }

    /// The call has put a new descriptor into memory.
    fn opened_in_memory(&mut self, task: &mut Task, call: &Call, addr: u64) {
        let capturer = Capturer { tid: task.tid, word: call.arch.word(), data: self.data, memory: &mut task.memory };
        if let Some(fd) = capturer.peek_u32(addr) {
            self.opened_nested(task, call, fd as i32);
        }
    }

    fn opened_nested(&mut self, task: &mut Task, call: &Call, fd: i32) {
        if fd < 0 {
            return;
        }
        task.fds.borrow_mut().given_out(fd, self.sink.seq());
        if let Some(Open { object, .. }) = self.identify(task, fd, Some(call)) {
            task.memory.refs.push(RawRef { slot: slot::NESTED, fd, object });
        }
    }

    fn opened_by_ioctl(&mut self, task: &mut Task, call: &Call, result: i32) {
        match descriptor_of_ioctl(call.args[1] as u32) {
            Some(NewDescriptor::Result) => self.opened(task, call, result),
            Some(NewDescriptor::At(offset)) => self.opened_in_memory(task, call, call.args[2].wrapping_add(offset)),
            None => {}
        }
    }

    /// CLONE_PIDFD: clone(2) writes the new descriptor to its third argument, clone3(2) to a member of its struct.
    fn opened_by_clone(&mut self, task: &mut Task, call: &Call) {
        const PIDFD: u64 = libc::CLONE_PIDFD as u64;
        match call.name() {
            "clone" if call.args[0] & PIDFD != 0 => self.opened_in_memory(task, call, call.args[2]),
            "clone3" if task.memory.flags_of_clone3(task.tid, call.args[0]) & PIDFD != 0 => {
                let capturer = Capturer { tid: task.tid, word: 8, data: self.data, memory: &mut task.memory };
                // struct clone_args: flags, then pidfd, 64 bits each on every architecture.
                let addr = capturer.peek_word(call.args[0].wrapping_add(8)).unwrap_or(0);
                self.opened_in_memory(task, call, addr);
            }
            _ => {}
        }
    }

    /// socketcall(2) of i386: the calls that make descriptors.
    fn socketcall(&mut self, task: &mut Task, call: &Call, result: i32) {
        const SOCKET: i32 = 1;
        const ACCEPT: i32 = 5;
        const SOCKETPAIR: i32 = 8;
        const ACCEPT4: i32 = 18;
        match call.int(0) {
            SOCKET | ACCEPT | ACCEPT4 => self.opened(task, call, result),
            SOCKETPAIR => {
                let pair = task.memory.find(1, Side::In).and_then(|words| words.get(12..16)).map(word_of);
                self.two_opened(task, call, pair.unwrap_or(0));
            }
            _ => {}
        }
    }

    /// The protocol of a socket that a call made: what socket(2) and socketpair(2) were told, or that of the listening
    /// socket.
    fn socket_detail(&self, task: &Task, call: &Call) -> Vec<u8> {
        const SOCKET: i32 = 1;
        const ACCEPT: i32 = 5;
        const SOCKETPAIR: i32 = 8;
        const ACCEPT4: i32 = 18;
        let listening = |fd: i32| {
            let object = task.fds.borrow().get(fd);
            object.map_or_else(Vec::new, |object| self.objects.detail(object).to_vec())
        };
        let word = |index: usize| {
            let words = task.memory.find(1, Side::In).unwrap_or_default();
            words.get(index * 4..index * 4 + 4).map_or(-1, |word| word_of(word) as i32)
        };
        match call.name() {
            "socket" | "socketpair" => protocol_name(call.int(0), call.int(1), call.int(2)).into(),
            "accept" | "accept4" => listening(call.int(0)),
            "socketcall" => match call.int(0) {
                SOCKET | SOCKETPAIR => protocol_name(word(0), word(1), word(2)).into(),
                ACCEPT | ACCEPT4 => listening(word(0)),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// The objects behind the descriptors of a poll array.
    fn refer_polled(&mut self, task: &mut Task) {
        /// Beyond this many descriptors a poll is about numbers, not about names.
        const MOST: usize = 256;
        let fds: Vec<i32> = task
            .memory
            .find(0, Side::In)
            .unwrap_or_default()
            .chunks_exact(8)
            .take(MOST)
            .map(|entry| word_of(&entry[..4]) as i32)
            .collect();
        for fd in fds {
            self.refer_nested(task, fd);
        }
    }

    /// The objects behind the descriptors of the sets of select(2).
    fn refer_selected(&mut self, task: &mut Task, call: &Call) {
        /// Beyond this many descriptors a select is about numbers, not about names.
        const MOST: usize = 256;
        let Some(plan) = call.plan else { return };
        let count = call.int(0);
        let mut fds: Vec<i32> = Vec::new();
        for set in plan.pointers.iter().filter(|pointer| matches!(pointer.shape, Shape::FdSet)) {
            let bits = task.memory.find(set.slot, Side::In).unwrap_or_default();
            let members = (0..count).zip(bits.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 != 0)));
            fds.extend(members.filter(|(_, is_member)| *is_member).map(|(fd, _)| fd).take(MOST));
        }
        fds.sort_unstable();
        fds.dedup();
        for fd in fds.into_iter().take(MOST) {
            self.refer_nested(task, fd);
        }
    }

    /// The process behind the descriptor that waitid(2) takes instead of a number.
    fn refer_waited(&mut self, task: &mut Task, call: &Call) {
        const P_PIDFD: i32 = 3;
        let fd = call.int(1);
        if call.int(0) == P_PIDFD
            && fd >= 0
            && let Some(object) = self.object(task, fd)
        {
            task.memory.refs.push(RawRef { slot: 1, fd, object });
        }
    }

    /// The objects of descriptors that stand in memory, or in an argument that is not always one.
    fn refer_unusual(&mut self, task: &mut Task, call: &Call) {
        const KCMP_FILE: i32 = 0;
        const KCMP_EPOLL_TFD: i32 = 7;
        const FSCONFIG_SET_PATH: i32 = 3;
        const FSCONFIG_SET_FD: i32 = 5;
        match (call.name(), call.int(1), call.int(2)) {
            ("kcmp", _, KCMP_FILE) => {
                self.refer_nested(task, call.int(3));
                self.refer_nested(task, call.int(4));
            }
            ("ioctl", request, fd) if takes_descriptor(request as u32) => self.refer_nested(task, fd),
            ("poll" | "ppoll" | "ppoll_time64", ..) => self.refer_polled(task),
            ("select" | "_newselect" | "pselect6" | "pselect6_time64", ..) => self.refer_selected(task, call),
            ("sendmsg" | "sendmmsg", ..) => self.refer_passed(task, call, Side::In),
            ("waitid", ..) => self.refer_waited(task, call),
            ("kcmp", _, KCMP_EPOLL_TFD) => self.refer_nested(task, call.int(3)),
            ("fsconfig", FSCONFIG_SET_PATH..=FSCONFIG_SET_FD, _) => match call.int(4) {
                libc::AT_FDCWD => {
                    if let Some(object) = self.cwd(task) {
                        task.memory.refs.push(RawRef { slot: slot::CWD, fd: libc::AT_FDCWD, object });
                    }
                }
                fd => self.refer_nested(task, fd),
            },
            ("mount_setattr", ..) => {
                // struct mount_attr: attr_set and attr_clr at 0 and 8, of which bit 20 is MOUNT_ATTR_IDMAP; userns_fd at 24.
                let attributes = task.memory.find(3, Side::In).and_then(|bytes| bytes.get(..32));
                let mapped = attributes.filter(|bytes| (bytes[2] | bytes[10]) & 0x10 != 0);
                if let Some(fd) = mapped.map(|bytes| word_of(&bytes[24..28]) as i32) {
                    self.refer_nested(task, fd);
                }
            }
            _ => {}
        }
    }

    fn refer_nested(&mut self, task: &mut Task, fd: i32) {
        if fd >= 0
            && let Some(object) = self.object(task, fd)
        {
            task.memory.refs.push(RawRef { slot: slot::NESTED, fd, object });
        }
    }

    /// The objects of descriptors that a message carries (SCM_RIGHTS): known ones when sent, new ones when received.
    fn refer_passed(&mut self, task: &mut Task, call: &Call, side: Side) {
        let mut fds = Vec::new();
        for control in control_data(&task.memory, call.arch, side) {
            passed_descriptors(control, call.arch, &mut fds);
        }
        for fd in fds {
            if side == Side::Out {
                task.fds.borrow_mut().given_out(fd, self.sink.seq());
            }
            self.refer_nested(task, fd);
        }
    }

    fn moved(&mut self, task: &mut Task, call: &Call) {
        task.location.borrow_mut().cwd = None;
        if matches!(call.name(), "chroot" | "pivot_root") {
            self.resolver.forget();
            task.location.borrow_mut().foreign_root = true;
        }
    }

    /// Stores what the path arguments of a successful call mean, where that is not what they say.
    pub(super) fn resolve_paths(&mut self, task: &mut Task, call: &Call, effect: Effect) {
        const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
        const AT_SYMLINK_FOLLOW: u64 = 0x400;
        let Some(plan) = call.plan else { return };
        for path in &plan.paths {
            let Some(given) = task.memory.string(path.slot).filter(|given| !given.is_empty()) else { continue };
            let base = match path.dir {
                Some(index) if call.int(usize::from(index)) != libc::AT_FDCWD => {
                    task.fds.borrow().get(call.int(usize::from(index)))
                }
                _ => task.location.borrow().cwd,
            };
            let base = base.and_then(|object| self.objects.path(object)).unwrap_or_default().to_vec();
            if base.is_empty() && given.first() != Some(&b'/') {
                continue;
            }
            // The descriptor itself tells what was opened, unless it has no name (O_TMPFILE).
            let opened = if effect == Effect::NewFd { self.opened.take() } else { None };
            let is_nameless = opened.as_ref().is_some_and(|opened| opened.ends_with(b" (deleted)"));
            let found = if effect == Effect::NewFd && !is_nameless {
                opened.filter(|opened| **opened != *crate::resolve::join(&base, given)).map(Vec::into_boxed_slice)
            } else {
                let flags = path.flags.map_or(0, |index| call.args[usize::from(index)]);
                let follow = (path.follow && flags & AT_SYMLINK_NOFOLLOW == 0) || flags & AT_SYMLINK_FOLLOW != 0;
                let root = task.location.borrow().foreign_root.then(|| ProcPath::new(task.tid, format_args!("root")));
                self.resolver.resolve(root.as_ref().map(ProcPath::as_c_str), &base, given, follow)
            };
            if let Some(found) = found {
                task.memory.add(path.slot, Side::Resolved, &found);
            }
        }
    }

    fn protected(&mut self, task: &mut Task, call: &Call) {
        if call.args[2] & PROT_EXEC == 0 {
            return;
        }
        self.images.look_again();
        self.leave_served(task.tid);
        if let Some(mapping) = image::file_mapping_at(task.tid, call.args[0]) {
            let facts = self.images.facts_of_mapping(&mapping, &image::reachable(task.tid, &mapping.path));
            self.code_appears(task, mapping, facts);
        }
    }

    /// The present call has mapped code of a file, or made it executable: its load event follows.
    pub(super) fn code_appears(&mut self, task: &mut Task, mapping: Mapping, facts: ElfFacts) {
        if self.replayable {
            self.trap_unseen_of_call(task, &mapping, &facts);
        }
        self.pending_maps.push((mapping, facts));
    }

    /// Commits the load events that the last call caused, after the call itself.
    pub(super) fn commit_maps(&mut self, task: &Task) {
        if self.pending_maps.is_empty() {
            return;
        }
        for (mapping, facts) in std::mem::take(&mut self.pending_maps) {
            self.map_event(task, &mapping, &facts);
        }
    }

    pub(super) fn map_event(&mut self, task: &Task, mapping: &Mapping, facts: &ElfFacts) {
        if let Some(agent) = &mut self.agent
            && let Some(part) = facts.file.and_then(|file| Part::of(mapping, file))
        {
            let images = &self.images;
            agent.known.meet(&part, facts.hash, |hash| images.patched_sites(hash));
            task.space.borrow_mut().code.mapped(part);
            if let Some((_, twin)) = agent.twin_put.take_if(|(start, _)| *start == part.start) {
                self.has_put_twin(task, &part, &twin);
            }
        }
        let mut memory = Memory::default();
        memory.add(0, Side::In, &mapping.path);
        if !facts.build_id.is_empty() {
            memory.add(1, Side::In, &facts.build_id);
        }
        if let Some(hash) = &facts.hash {
            memory.add(2, Side::In, hash);
        }
        let mut event = self.event(task, EventKind::Map, 0);
        event.nargs = 6;
        event.args = [mapping.start, mapping.length, mapping.offset, mapping.prot, mapping.ino, mapping.dev];
        self.commit(event, &memory);
    }

    /// The task that a call about CPUs is about, by a number of the caller's own process ids or 0; `None` where tasks are not being moved,
    /// and of one that is not recorded.
    fn placed(&self, task: &Task, call: &Call) -> Option<pid_t> {
        if !self.placement.is_active() {
            return None;
        }
        if call.int(0) == 0 { Some(task.tid) } else { numbered(task.tid, call.int(0), self.placement.tids()) }
    }

    /// A program has set a mask (sched_setaffinity(2)).
    fn chose_cpus(&mut self, task: &Task, call: &Call) {
        let Some(of) = self.placed(task, call) else { return };
        let mut bytes = [0; size_of::<CpuMask>()];
        let length = usize::try_from(call.args[1]).unwrap_or(usize::MAX).min(bytes.len());
        let got = sys::read_pieces(task.tid, &[(call.args[2], length)], &mut bytes);
        if got == length {
            self.placement.chosen(of, &CpuMask(std::array::from_fn(|word| word_of(&bytes[word * 8..][..8]))));
        }
    }

    /// Answers `sched_getaffinity` with the mask that the program would have without the recorder.
    fn show_affinity(&mut self, task: &mut Task, call: &Call, result: i64) {
        let Some(mask) = self.placed(task, call).and_then(|of| self.placement.shown(of)) else { return };
        let length = usize::try_from(result).unwrap_or(0).min(size_of::<CpuMask>());
        let bytes: Vec<u8> = mask.0.iter().flat_map(|word| word.to_ne_bytes()).take(length).collect();
        if sys::write_memory(task.tid, call.args[2], &bytes) {
            task.memory.replace(2, Side::Out, &bytes);
        }
    }
}

fn closed_range(task: &mut Task, call: &Call) {
    const CLOSE_RANGE_UNSHARE: u64 = 2;
    const CLOSE_RANGE_CLOEXEC: u64 = 4;
    if call.args[2] & CLOSE_RANGE_UNSHARE != 0 {
        unshared(task, libc::CLONE_FILES as u64);
    }
    if call.args[2] & CLOSE_RANGE_CLOEXEC == 0 {
        task.fds.borrow_mut().close_range(call.args[0] as u32, call.args[1] as u32);
    }
}

fn unshared(task: &mut Task, flags: u64) {
    if flags & libc::CLONE_FILES as u64 != 0 {
        let own = task.fds.borrow().clone();
        task.fds = std::rc::Rc::new(std::cell::RefCell::new(own));
    }
    if flags & (libc::CLONE_FS | libc::CLONE_NEWNS) as u64 != 0 {
        let own = task.location.borrow().clone();
        task.location = std::rc::Rc::new(std::cell::RefCell::new(own));
    }
}

/// Remembers what a process does about a signal: handler and flags are the first two words of the kernel's struct.
fn handled(task: &Task, call: &Call) {
    const SA_RESTART: u64 = libc::SA_RESTART as u64;
    const SA_RESETHAND: u64 = libc::SA_RESETHAND as u32 as u64;
    let signal = call.int(0);
    if call.name() == "signal" {
        task.handlers.borrow_mut().insert(signal, Handler { addr: call.args[1], restarts: false, once: true });
        return;
    }
    let word = call.arch.word();
    let Some(action) = task.memory.find(1, Side::In).filter(|action| action.len() >= 3 * word) else { return };
    let handler = word_of(&action[..word]);
    // The old i386 struct has the mask between the two.
    let at = if call.name() == "sigaction" { 2 * word } else { word };
    let flags = word_of(&action[at..at + word]);
    let known = Handler { addr: handler, restarts: flags & SA_RESTART != 0, once: flags & SA_RESETHAND != 0 };
    task.handlers.borrow_mut().insert(signal, known);
}

/// Whether a call that returns a descriptor only sometimes has done so.
fn returns_descriptor(call: &Call) -> bool {
    const SECCOMP_SET_MODE_FILTER: i32 = 1;
    const SECCOMP_FILTER_FLAG_NEW_LISTENER: u64 = 1 << 3;
    match call.name() {
        // BPF_MAP_CREATE, PROG_LOAD, OBJ_GET, PROG_GET_FD_BY_ID, MAP_GET_FD_BY_ID, RAW_TRACEPOINT_OPEN, BTF_LOAD,
        // BTF_GET_FD_BY_ID, LINK_CREATE, LINK_GET_FD_BY_ID, ENABLE_STATS, ITER_CREATE, TOKEN_CREATE
        "bpf" => matches!(call.int(0), 0 | 5 | 7 | 13 | 14 | 17..=19 | 28 | 30 | 32 | 33 | 36),
        "seccomp" => call.int(0) == SECCOMP_SET_MODE_FILTER && call.args[1] & SECCOMP_FILTER_FLAG_NEW_LISTENER != 0,
        // With flags it tells a version or the known errata.
        "landlock_create_ruleset" => call.int(2) == 0,
        _ => false,
    }
}

/// What the arguments of socket(2) and socketpair(2) say of a socket; empty when there is no usual name.
fn protocol_name(family: c_int, kind: c_int, protocol: c_int) -> &'static str {
    match (family, kind & 0xf, protocol) {
        (libc::AF_UNIX, libc::SOCK_STREAM, _) => "UNIX-STREAM",
        (libc::AF_UNIX, libc::SOCK_DGRAM, _) => "UNIX-DGRAM",
        (libc::AF_UNIX, libc::SOCK_SEQPACKET, _) => "UNIX-SEQPACKET",
        (libc::AF_INET, libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => "TCP",
        (libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) => "MPTCP",
        (libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_SEQPACKET, libc::IPPROTO_SCTP) => "SCTP",
        (libc::AF_INET, libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => "UDP",
        (libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE) => "UDP-Lite",
        (libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP) => "PING",
        (libc::AF_INET, libc::SOCK_RAW, _) => "RAW",
        (libc::AF_INET6, libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => "TCPv6",
        (libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) => "MPTCPv6",
        (libc::AF_INET6, libc::SOCK_STREAM | libc::SOCK_SEQPACKET, libc::IPPROTO_SCTP) => "SCTPv6",
        (libc::AF_INET6, libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => "UDPv6",
        (libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE) => "UDPLITEv6",
        (libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_ICMPV6) => "PINGv6",
        (libc::AF_INET6, libc::SOCK_RAW, _) => "RAWv6",
        (libc::AF_NETLINK, _, _) => netlink_name(protocol),
        (libc::AF_PACKET, _, _) => "PACKET",
        _ => "",
    }
}

/// A netlink socket by its protocol, linux/netlink.h.
fn netlink_name(protocol: c_int) -> &'static str {
    match protocol {
        libc::NETLINK_ROUTE => "NETLINK-ROUTE",
        libc::NETLINK_UNUSED => "NETLINK-UNUSED",
        libc::NETLINK_USERSOCK => "NETLINK-USERSOCK",
        libc::NETLINK_FIREWALL => "NETLINK-FIREWALL",
        libc::NETLINK_SOCK_DIAG => "NETLINK-SOCK_DIAG",
        libc::NETLINK_NFLOG => "NETLINK-NFLOG",
        libc::NETLINK_XFRM => "NETLINK-XFRM",
        libc::NETLINK_SELINUX => "NETLINK-SELINUX",
        libc::NETLINK_ISCSI => "NETLINK-ISCSI",
        libc::NETLINK_AUDIT => "NETLINK-AUDIT",
        libc::NETLINK_FIB_LOOKUP => "NETLINK-FIB_LOOKUP",
        libc::NETLINK_CONNECTOR => "NETLINK-CONNECTOR",
        libc::NETLINK_NETFILTER => "NETLINK-NETFILTER",
        libc::NETLINK_IP6_FW => "NETLINK-IP6_FW",
        libc::NETLINK_DNRTMSG => "NETLINK-DNRTMSG",
        libc::NETLINK_KOBJECT_UEVENT => "NETLINK-KOBJECT_UEVENT",
        libc::NETLINK_GENERIC => "NETLINK-GENERIC",
        libc::NETLINK_SCSITRANSPORT => "NETLINK-SCSITRANSPORT",
        libc::NETLINK_ECRYPTFS => "NETLINK-ECRYPTFS",
        libc::NETLINK_RDMA => "NETLINK-RDMA",
        libc::NETLINK_CRYPTO => "NETLINK-CRYPTO",
        22 => "NETLINK-SMC",
        _ => "NETLINK",
    }
}

/// The control buffers among the captures of a message call: those at the addresses that the headers name.
fn control_data(memory: &Memory, arch: Arch, side: Side) -> Vec<&[u8]> {
    let word = arch.word();
    let (header, at) = if word == 8 { (56, 32) } else { (28, 16) };
    let mut wanted = Vec::new();
    let mut found = Vec::new();
    let mut start = 0;
    for capture in &memory.captures {
        let end = start + capture.len as usize;
        let bytes = memory.bytes.get(start..end).unwrap_or_default();
        start = end;
        if capture.side != side {
            continue;
        }
        if bytes.len() == header && capture.slot == 1 {
            wanted.push(word_of(&bytes[at..at + word]));
        }
        if wanted.contains(&capture.addr) {
            found.push(bytes);
        }
    }
    found
}

/// Descriptors in SCM_RIGHTS messages, cmsg(3): a length word, level, type, then the data, aligned to words.
fn passed_descriptors(control: &[u8], arch: Arch, fds: &mut Vec<i32>) {
    const SCM_PIDFD: c_int = 4;
    let word = arch.word();
    let header = word + 8;
    let mut rest = control;
    while rest.len() >= header {
        let length = word_of(&rest[..word]) as usize;
        let level = word_of(&rest[word..word + 4]) as i32;
        let kind = word_of(&rest[word + 4..header]) as i32;
        if length < header || length > rest.len() {
            return;
        }
        if level == libc::SOL_SOCKET && matches!(kind, libc::SCM_RIGHTS | SCM_PIDFD) {
            fds.extend(rest[header..length].chunks_exact(4).map(|fd| word_of(fd) as i32));
        }
        rest = rest.get(length.next_multiple_of(word)..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_named_by_family_kind_and_protocol() {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        assert_eq!(protocol_name(libc::AF_INET6, libc::SOCK_STREAM | flags, 0), "TCPv6");
        assert_eq!(protocol_name(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP), "MPTCP");
        assert_eq!(protocol_name(libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE), "UDPLITEv6");
        assert_eq!(protocol_name(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_SOCK_DIAG), "NETLINK-SOCK_DIAG");
        assert_eq!(protocol_name(libc::AF_NETLINK, libc::SOCK_DGRAM, 31), "NETLINK");
        assert_eq!(protocol_name(-1, -1, -1), "");
    }

    #[test]
    fn passed_descriptors_are_found_and_bad_lengths_end_the_search() {
        let mut control = Vec::new();
        control.extend(24_u64.to_le_bytes());
        control.extend(libc::SOL_SOCKET.to_le_bytes());
        control.extend(libc::SCM_RIGHTS.to_le_bytes());
        control.extend(5_i32.to_le_bytes());
        control.extend(9_i32.to_le_bytes());
        let mut fds = Vec::new();
        passed_descriptors(&control, Arch::X86_64, &mut fds);
        assert_eq!(fds, [5, 9]);
        control[0] = 200;
        fds.clear();
        passed_descriptors(&control, Arch::X86_64, &mut fds);
        assert!(fds.is_empty());
    }
}
