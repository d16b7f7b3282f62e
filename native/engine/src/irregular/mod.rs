//! Memory of the families whose arguments depend on each other.
//!
//! One function per family name of the syscall table. Each takes at entry what the kernel will read and at exit what
//! it wrote; a family that is not here is captured as plain bytes of the length that its row gives.

mod bpf;
mod ioctl;
mod ipc;
mod keyctl;
mod network;
mod process;
mod system;

pub use ioctl::{NewDescriptor, descriptor_of_ioctl, takes_descriptor};

use trace_format::event::Side;
use trace_format::table::{Dir, Len};

use crate::capture::{Call, is_error, length};
use crate::memory::Capturer;
use crate::plan::Pointer;

/// At which end of the call memory is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Entry,
    /// The call returned this, and it was no error.
    Exit(i64),
}

impl When {
    fn side(self) -> Side {
        match self {
            When::Entry => Side::In,
            When::Exit(_) => Side::Out,
        }
    }
}

/// What a family's function works on: one pointer argument of one call.
pub struct Site<'a, 'b> {
    pub capturer: &'a mut Capturer<'b>,
    pub call: &'a Call,
    pub slot: u8,
    pub when: When,
}

impl Site<'_, '_> {
    /// The pointer itself.
    fn addr(&self) -> u64 {
        self.call.args[usize::from(self.slot)]
    }

    fn arg(&self, index: usize) -> u64 {
        self.call.args[index]
    }

    /// Takes `length` bytes behind the pointer at entry.
    fn reads(&mut self, length: u64) {
        if self.when == When::Entry {
            let (slot, addr) = (self.slot, self.addr());
            self.capturer.structure(slot, Side::In, addr, length);
        }
    }

    /// Takes `length` bytes behind the pointer at exit.
    fn writes(&mut self, length: u64) {
        if self.when != When::Entry {
            let (slot, addr) = (self.slot, self.addr());
            self.capturer.structure(slot, Side::Out, addr, length);
        }
    }

    /// Takes `length` bytes behind the pointer at entry and at exit.
    fn changes(&mut self, length: u64) {
        let (slot, side, addr) = (self.slot, self.when.side(), self.addr());
        self.capturer.structure(slot, side, addr, length);
    }

    /// Says that the call is about a descriptor that stands in no register of its own.
    fn mentions(&mut self, fd: u64) {
        /// Beyond this many descriptors a call is about numbers, not about names.
        const MOST: usize = 256;
        if self.when == When::Entry && self.capturer.memory.mentioned.len() < MOST {
            self.capturer.memory.mentioned.push(fd as i32);
        }
    }

    /// Mentions the `count` descriptors of the array at `addr`.
    fn mentions_all(&mut self, addr: u64, count: u64) {
        if self.when != When::Entry {
            return;
        }
        for index in 0..count.min(256) {
            if let Some(fd) = self.capturer.peek_u32(addr.wrapping_add(index * 4)) {
                self.mentions(u64::from(fd));
            }
        }
    }

    /// Takes transferred data elsewhere that the kernel reads because of this argument.
    fn also_sends(&mut self, addr: u64, length: u64) {
        if self.when == When::Entry {
            self.capturer.payload(self.slot, Side::In, addr, length);
        }
    }

    /// Takes transferred data elsewhere that the kernel wrote because of this argument.
    fn also_receives(&mut self, addr: u64, length: u64) {
        if self.when != When::Entry {
            self.capturer.payload(self.slot, Side::Out, addr, length);
        }
    }

    /// Takes a string elsewhere that the kernel reads because of this argument.
    fn also_reads_string(&mut self, addr: u64) {
        if self.when == When::Entry {
            self.capturer.string(self.slot, Side::In, addr);
        }
    }

    /// Takes the string behind the pointer at entry.
    fn reads_string(&mut self) {
        if self.when == When::Entry {
            let (slot, addr) = (self.slot, self.addr());
            self.capturer.string(slot, Side::In, addr);
        }
    }

    /// Takes memory elsewhere that the kernel reads because of this argument.
    fn also_reads(&mut self, addr: u64, length: u64) {
        if self.when == When::Entry {
            self.capturer.structure(self.slot, Side::In, addr, length);
        }
    }

    /// Takes memory elsewhere that the kernel wrote because of this argument.
    fn also_writes(&mut self, addr: u64, length: u64) {
        if self.when != When::Entry {
            self.capturer.structure(self.slot, Side::Out, addr, length);
        }
    }

    /// The pointer-sized value `offset` bytes behind the pointer.
    fn word_at(&self, offset: u64) -> u64 {
        self.capturer.peek_word(self.addr().wrapping_add(offset)).unwrap_or(0)
    }

    /// The 64-bit value `offset` bytes behind the pointer, whatever the word size.
    fn u64_at(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        let readable = self.capturer.peek(self.addr().wrapping_add(offset), &mut bytes);
        if readable == 8 { u64::from_ne_bytes(bytes) } else { 0 }
    }

    fn u32_at(&self, offset: u64) -> u32 {
        self.capturer.peek_u32(self.addr().wrapping_add(offset)).unwrap_or(0)
    }
}

/// Takes the memory behind one irregular argument; `result` is absent at entry.
pub fn capture(family: &str, capturer: &mut Capturer<'_>, call: &Call, pointer: &Pointer, result: Option<i64>) {
    let when = match result {
        None => When::Entry,
        Some(result) if is_error(result) && !tells_by_error(family, result) => return,
        Some(result) => When::Exit(result),
    };
    if pointer.len != Len::Own {
        plain(capturer, call, pointer, when);
    }
    // ipc(2) also stands for calls whose memory is behind another argument.
    if call.args[usize::from(pointer.slot)] == 0 && family != "ipc" {
        return;
    }
    let mut site = Site { capturer, call, slot: pointer.slot, when };
    match family {
        "ioctl" => ioctl::ioctl(&mut site),
        "fcntl" => ioctl::fcntl(&mut site),
        "semctl" => ipc::semctl(&mut site),
        "shmctl" => ipc::shmctl(&mut site),
        "msgctl" => ipc::msgctl(&mut site),
        "msgbuf" => ipc::msgbuf(&mut site),
        "prctl" => process::prctl(&mut site),
        "arch_prctl" => process::arch_prctl(&mut site),
        "futex" => process::futex(&mut site),
        "clone_tid" => process::clone_tid(&mut site),
        "clone_tls" => process::clone_tls(&mut site),
        "clone3" => process::clone3(&mut site),
        "ptrace" => process::ptrace(&mut site),
        "cap_data" => process::cap_data(&mut site),
        "seccomp" => process::seccomp(&mut site),
        "sockopt" => process::socket_filter(&mut site),
        "pselect6_sigmask" => process::pselect6_sigmask(&mut site),
        "kcmp" => process::kcmp(&mut site),
        "mincore" => system::mincore(&mut site),
        "sched_attr" => system::sched_attr(&mut site),
        "nodemask" => system::nodemask(&mut site),
        "modify_ldt" => system::modify_ldt(&mut site),
        "sysfs" => system::sysfs(&mut site),
        "mount_data" => site.reads_string(),
        "reboot" => system::reboot(&mut site),
        "quotactl" => system::quotactl(&mut site),
        "iocbs" => system::iocbs(&mut site),
        "iocb" => system::iocb(&mut site),
        "perf_event_attr" => system::perf_event_attr(&mut site),
        "file_handle" => system::file_handle(&mut site),
        "mount_id" => site.writes(if site.arg(4) & 1 != 0 { 8 } else { 4 }),
        "bpf" => bpf::bpf(&mut site),
        "keyctl" => keyctl::keyctl(&mut site),
        "io_uring_enter_arg" => system::io_uring_enter_arg(&mut site),
        "io_uring_register" => system::io_uring_register(&mut site),
        "fsconfig" => system::fsconfig(&mut site),
        "landlock_rule" => system::landlock_rule(&mut site),
        "xattr_args" => system::xattr_args(&mut site),
        "old_dirent" => site.writes(268),
        "socketcall" => ipc::socketcall(&mut site),
        "ipc" => ipc::ipc(&mut site),
        _ => {}
    }
}

/// Whether the call writes into its memory when it fails in this way.
fn tells_by_error(family: &str, result: i64) -> bool {
    match family {
        "file_handle" | "mount_id" => result == -i64::from(libc::EOVERFLOW),
        "perf_event_attr" | "sched_attr" => result == -i64::from(libc::E2BIG),
        // The pages before the first hole of the range are told.
        "mincore" => result == -i64::from(libc::ENOMEM),
        _ => false,
    }
}

/// Takes what a call that failed has written behind one irregular argument all the same.
pub fn failed(family: &str, capturer: &mut Capturer<'_>, call: &Call, pointer: &Pointer, result: i64) {
    const UNTOUCHED: [i32; 5] = [libc::EFAULT, libc::EBADF, libc::ENOTTY, libc::EINVAL, libc::ENOSYS];
    if UNTOUCHED.iter().any(|error| result == -i64::from(*error)) {
        return;
    }
    let mut site = Site { capturer, call, slot: pointer.slot, when: When::Exit(result) };
    match family {
        "ioctl" => ioctl::failed(&mut site),
        // Who waits for a lock says so in its word.
        "futex" => process::futex(&mut site),
        _ => {}
    }
}

/// Bytes of the length that the row gives.
fn plain(capturer: &mut Capturer<'_>, call: &Call, pointer: &Pointer, when: When) {
    /// Most bytes of such a structure (a directory listing can be large).
    const MOST: u64 = 1 << 20;
    let wanted = match when {
        When::Entry => pointer.dir != Dir::Out,
        When::Exit(_) => pointer.dir != Dir::In,
    };
    if !wanted {
        return;
    }
    let result = if let When::Exit(result) = when { result } else { 0 };
    let bytes = length(capturer, call, pointer, when.side(), result).min(MOST);
    capturer.structure(pointer.slot, when.side(), call.args[usize::from(pointer.slot)], bytes);
}
