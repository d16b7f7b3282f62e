//! The seccomp program that makes the agent complete: calls from its two instructions pass, all others stop the tracee.
//!
//! It is inherited by all that comes from the program, for ever, so that no call can pass unseen.

use super::Image;

/// The classic BPF program. The first test decides for nearly all calls.
#[must_use]
pub fn program(image: &Image) -> Vec<libc::sock_filter> {
    /// Low and high half of the instruction pointer in struct seccomp_data (linux/seccomp.h): what follows the instruction.
    const IP_LOW: u32 = 8;
    const IP_HIGH: u32 = 12;
    let load = |offset| libc::sock_filter {
        code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        jt: 0,
        jf: 0,
        k: offset,
    };
    let equal = |value: u64, jt, jf| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt,
        jf,
        k: value as u32,
    };
    let give = |action| libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: action };
    vec![
        load(IP_LOW),
        equal(image.called, 1, 0),
        equal(image.own_called, 0, 3),
        load(IP_HIGH),
        equal(image.called >> 32, 0, 1),
        give(libc::SECCOMP_RET_ALLOW),
        give(libc::SECCOMP_RET_TRACE),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::image;

    fn run(code: &[libc::sock_filter], ip: u64) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let step = code[at];
            at += 1;
            match u32::from(step.code) {
                kind if kind == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    accumulator = if step.k == 8 { ip as u32 } else { (ip >> 32) as u32 };
                }
                kind if kind == libc::BPF_RET | libc::BPF_K => return step.k,
                _ => at += usize::from(if accumulator == step.k { step.jt } else { step.jf }),
            }
        }
    }

    #[test]
    fn only_the_agents_two_instructions_pass() {
        let image = image().unwrap();
        let code = program(image);
        for ip in [image.called, image.own_called] {
            assert_eq!(run(&code, ip), libc::SECCOMP_RET_ALLOW);
            for other in [ip + 1, ip - 1, ip | 1 << 32, ip | 0x7fff << 32, 0x7f12_3456_7890, 0] {
                assert_eq!(run(&code, other), libc::SECCOMP_RET_TRACE, "{other:#x}");
            }
        }
    }
}
