//! A capture filter: which calls stop at all, by a seccomp program where no other filter comes before that.

use trace_format::syscalls::SYSCALLS;
use trace_format::table::Arch;

use super::calls::RESUMES;
use crate::plan::{self, Effect};

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;

/// The calls that the kernel has go on by restart_syscall(2) when a signal has interrupted them.
const GO_ON: [&str; 7] =
    ["nanosleep", "clock_nanosleep", "clock_nanosleep_time64", "poll", "ppoll", "futex", "futex_time64"];

/// Whether a capture filter of these names has a call recorded: one of them, or one that carries state that the recorder follows.
#[must_use]
pub fn wants(names: &[String], arch: Arch, number: u32) -> bool {
    let Some(plan) = plan::by_number(arch, number) else { return true };
    names.iter().any(|wanted| wanted == plan.row.name)
        // One of those that are wanted may go on by it.
        || plan.row.name == RESUMES && names.iter().any(|name| GO_ON.contains(&name.as_str()))
        // They may ask for what a kernel that filters refuses (strict.rs), or for threads that the recorder has stopped (inspected.rs).
        || matches!(plan.row.name, "prctl" | "seccomp" | "wait4")
        || plan.effect != Effect::Nothing
}

/// The classic BPF program that stops the named calls, and those that carry state that the recorder follows.
///
/// A call of an architecture or number that the table does not know stops too: nothing unknown passes unseen.
#[must_use]
pub fn program(names: &[String]) -> Vec<libc::sock_filter> {
    let numbers = |arch: Arch| -> Vec<(u16, bool)> {
        let known = SYSCALLS.iter().filter_map(|row| row.number.on(arch));
        let mut numbers: Vec<(u16, bool)> = known.map(|number| (number, wants(names, arch, number.into()))).collect();
        numbers.sort_unstable();
        numbers
    };
    let amd64 = section(&ranges(&numbers(Arch::X86_64)));
    let i386 = section(&ranges(&numbers(Arch::I386)));
    let mut code = vec![
        load(4),
        jump(AUDIT_ARCH_X86_64, 1, 0),
        // Jumps over a whole section do not fit into 8 bits.
        always(amd64.len() as u32),
    ];
    code.extend(amd64);
    code.extend([jump(AUDIT_ARCH_I386, 1, 0), give(libc::SECCOMP_RET_TRACE)]);
    code.extend(i386);
    code
}

/// As [`program`]; the recorder is asked instead.
#[must_use]
pub fn notifying(names: &[String]) -> Vec<libc::sock_filter> {
    let mut code = program(names);
    let stops = |line: &&mut libc::sock_filter| {
        u32::from(line.code) == (libc::BPF_RET | libc::BPF_K) && line.k == libc::SECCOMP_RET_TRACE
    };
    code.iter_mut().filter(stops).for_each(|line| line.k = libc::SECCOMP_RET_USER_NOTIF);
    code
}

/// Has every call ask the recorder.
#[must_use]
pub fn notifying_all() -> Vec<libc::sock_filter> {
    vec![give(libc::SECCOMP_RET_USER_NOTIF)]
}

/// Runs of known numbers that pass, as (first, last).
fn ranges(numbers: &[(u16, bool)]) -> Vec<(u16, u16)> {
    let mut passing: Vec<(u16, u16)> = Vec::new();
    for &(number, wanted) in numbers {
        if wanted {
            continue;
        }
        match passing.last_mut() {
            Some(last) if last.1.checked_add(1) == Some(number) => last.1 = number,
            _ => passing.push((number, number)),
        }
    }
    passing
}

/// Tests of one architecture: let the ranges pass, stop at everything else.
fn section(passing: &[(u16, u16)]) -> Vec<libc::sock_filter> {
    let mut code = vec![load(0)];
    for &(first, last) in passing {
        // Below the range: none of the later ranges fits either.
        code.push(at_least(u32::from(first), 1, 0));
        code.push(give(libc::SECCOMP_RET_TRACE));
        code.push(above(u32::from(last), 1, 0));
        code.push(give(libc::SECCOMP_RET_ALLOW));
    }
    code.push(give(libc::SECCOMP_RET_TRACE));
    code
}

fn statement(code: u32, value: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k: value }
}

/// Loads a word of struct seccomp_data.
fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn give(action: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

fn always(skip: u32) -> libc::sock_filter {
    statement(libc::BPF_JMP | libc::BPF_JA, skip)
}

fn test(kind: u32, value: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_JMP | kind | libc::BPF_K) as u16, jt, jf, k: value }
}

fn jump(value: u32, jt: u8, jf: u8) -> libc::sock_filter {
    test(libc::BPF_JEQ, value, jt, jf)
}

fn at_least(value: u32, jt: u8, jf: u8) -> libc::sock_filter {
    test(libc::BPF_JGE, value, jt, jf)
}

fn above(value: u32, jt: u8, jf: u8) -> libc::sock_filter {
    test(libc::BPF_JGT, value, jt, jf)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn run(code: &[libc::sock_filter], arch: u32, number: u32) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let step = code[at];
            let kind = u32::from(step.code);
            at += 1;
            if kind == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS {
                accumulator = if step.k == 0 { number } else { arch };
            } else if kind == libc::BPF_RET | libc::BPF_K {
                return step.k;
            } else if kind == libc::BPF_JMP | libc::BPF_JA {
                at += step.k as usize;
            } else {
                let holds = match kind & 0xf0 {
                    libc::BPF_JEQ => accumulator == step.k,
                    libc::BPF_JGE => accumulator >= step.k,
                    _ => accumulator > step.k,
                };
                at += usize::from(if holds { step.jt } else { step.jf });
            }
        }
    }

    #[test]
    fn wanted_and_state_calls_stop_and_the_rest_passes() {
        let code = program(&["read".into()]);
        assert!(code.len() < 4096, "{} instructions", code.len());
        let number = |name, arch| {
            u32::from(trace_format::syscalls::by_name(arch, name).and_then(|row| row.number.on(arch)).unwrap())
        };
        for (arch, audit) in [(Arch::X86_64, AUDIT_ARCH_X86_64), (Arch::I386, AUDIT_ARCH_I386)] {
            for name in ["read", "openat", "close", "execve", "clone", "dup2"] {
                assert_eq!(run(&code, audit, number(name, arch)), libc::SECCOMP_RET_TRACE, "{name}");
            }
            for name in ["write", "getpid", "lseek", "futex"] {
                assert_eq!(run(&code, audit, number(name, arch)), libc::SECCOMP_RET_ALLOW, "{name}");
            }
            assert_eq!(run(&code, audit, 5000), libc::SECCOMP_RET_TRACE);
        }
        assert_eq!(run(&code, 0x1234, 0), libc::SECCOMP_RET_TRACE);
    }
}
