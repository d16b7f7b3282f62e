//! What the kernel puts on the stack of a program that it starts: arguments, environment and auxiliary vector.
//!
//! One or two reads of memory instead of three files of /proc, each of which the kernel makes up for this one process. Only
//! right before the program has run its first instruction. Everything is checked, since the program could have been
//! changed meanwhile; what does not look as expected is left to /proc.

use std::ops::Range;

use libc::pid_t;

use crate::sys;

/// First bite: the pointers and the strings of most programs.
const BITE: usize = 8 << 10;
/// The kernel lets arguments and environment take at most 6 MiB (`_STK_LIM / 4 * 3`), and the pointers to them twice that.
const MOST: usize = 24 << 20;
const WORD: usize = 8;

/// The start of a 64-bit program's stack.
pub struct Stack {
    bytes: Vec<u8>,
    argv: Range<usize>,
    env: Range<usize>,
    auxv: Range<usize>,
    sp: u64,
}

impl Stack {
    /// Reads the stack of a process that has just been started, from its stack pointer on.
    #[must_use]
    pub fn read(tid: pid_t, sp: u64) -> Option<Stack> {
        let mut size = BITE;
        loop {
            let mut bytes = Vec::new();
            sys::read_to_end(tid, sp, size, &mut bytes);
            let is_all = bytes.len() < size;
            match Stack::parse(bytes, sp) {
                Some(stack) => return Some(stack),
                None if is_all || size >= MOST => return None,
                None => size *= 8,
            }
        }
    }

    /// `None` when the bytes do not hold all of it.
    fn parse(bytes: Vec<u8>, sp: u64) -> Option<Stack> {
        let word = |index: usize| -> Option<u64> {
            let word = bytes.get(index * WORD..(index + 1) * WORD)?;
            Some(u64::from_ne_bytes(word.try_into().ok()?))
        };
        let argc = usize::try_from(word(0)?).ok().filter(|argc| *argc > 0 && *argc < MOST / WORD)?;
        let after_argv = 1 + argc;
        let env = after_argv + 1;
        let mut after_env = env;
        while word(after_env)? != 0 {
            after_env += 1;
        }
        let auxv = after_env + 1;
        let mut at = auxv;
        let mut name = None;
        loop {
            match word(at)? {
                libc::AT_NULL => break,
                libc::AT_EXECFN => name = Some(word(at + 1)?),
                _ => {}
            }
            at += 2;
        }
        let after_auxv = at + 2;
        // The strings lie one behind the other: arguments, environment, the name of the file.
        let offset = |address: u64| usize::try_from(address.checked_sub(sp)?).ok().filter(|at| *at <= bytes.len());
        let end = offset(name?)?;
        let first_env = if after_env == env { end } else { offset(word(env)?)? };
        let first_arg = offset(word(1)?)?;
        let ends = |at: usize| at > 0 && bytes.get(at - 1) == Some(&0);
        let is_whole = word(after_argv)? == 0
            && after_auxv * WORD <= first_arg
            && first_arg < first_env
            && first_env <= end
            && ends(first_env)
            && ends(end);
        is_whole.then_some(())?;
        Some(Stack { argv: first_arg..first_env, env: first_env..end, auxv: auxv * WORD..after_auxv * WORD, sp, bytes })
    }

    /// The arguments, each with its NUL, as in /proc/PID/cmdline.
    #[must_use]
    pub fn argv(&self) -> &[u8] {
        &self.bytes[self.argv.clone()]
    }

    /// The environment, as in /proc/PID/environ.
    #[must_use]
    pub fn env(&self) -> &[u8] {
        &self.bytes[self.env.clone()]
    }

    /// The auxiliary vector with its end, as in /proc/PID/auxv.
    #[must_use]
    pub fn auxv(&self) -> &[u8] {
        &self.bytes[self.auxv.clone()]
    }

    /// The bytes from the stack pointer on, up to an address. `None` when not all of them were read.
    #[must_use]
    pub fn up_to(&self, end: u64) -> Option<&[u8]> {
        self.bytes.get(..usize::try_from(end.checked_sub(self.sp)?).ok()?)
    }

    /// Gives the entries of the auxiliary vector that have one of these keys another one, here and in the program's memory.
    pub fn rename(&mut self, tid: pid_t, keys: &[u64], other: u64) {
        for at in self.auxv.clone().step_by(2 * WORD) {
            let key = &mut self.bytes[at..at + WORD];
            if keys.iter().any(|wanted| wanted.to_ne_bytes() == *key)
                && sys::write_memory(tid, self.sp + at as u64, &other.to_ne_bytes())
            {
                key.copy_from_slice(&other.to_ne_bytes());
            }
        }
    }
}

/// A value of a 64-bit auxiliary vector.
#[must_use]
pub fn auxiliary(auxv: &[u8], wanted: u64) -> Option<u64> {
    let word = |bytes: &[u8]| bytes.try_into().map(u64::from_ne_bytes).ok();
    auxv.chunks_exact(2 * WORD).find(|pair| word(&pair[..WORD]) == Some(wanted)).and_then(|pair| word(&pair[WORD..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SP: u64 = 0x7ffd_0000_1000;

    /// A stack as the kernel lays it out, from its stack pointer on.
    fn laid_out(argv: &[&str], env: &[&str], with_name: bool) -> Vec<u8> {
        let words = 1 + argv.len() + 1 + env.len() + 1 + 6;
        let mut strings = Vec::new();
        let mut put = |text: &str| {
            let at = SP + (words * WORD + strings.len()) as u64;
            strings.extend(text.bytes().chain([0]));
            at
        };
        let mut all = vec![argv.len() as u64];
        all.extend(argv.iter().map(|text| put(text)));
        all.push(0);
        all.extend(env.iter().map(|text| put(text)));
        all.extend([0, libc::AT_PAGESZ, 4096]);
        all.extend([if with_name { libc::AT_EXECFN } else { libc::AT_UID }, put("/bin/prog")]);
        all.extend([libc::AT_NULL, 0]);
        all.iter().flat_map(|word| word.to_ne_bytes()).chain(strings).collect()
    }

    #[test]
    fn entries_get_another_key_here_and_there() {
        // Where the stack is: in this process, which is asked to be the tracee.
        let mut there = laid_out(&["prog"], &[], true);
        let mut stack = Stack::parse(there.clone(), SP).expect("a stack");
        stack.sp = there.as_mut_ptr() as u64;
        let end = stack.sp + there.len() as u64;
        stack.rename(std::process::id() as pid_t, &[libc::AT_PAGESZ, 7777], 1);
        assert_eq!(auxiliary(stack.auxv(), libc::AT_PAGESZ), None);
        assert_eq!(auxiliary(stack.auxv(), 1), Some(4096));
        assert_eq!(stack.up_to(end), Some(&there[..]));
        assert_eq!(stack.up_to(end + 1), None);
    }

    #[test]
    fn the_three_parts_are_found() {
        let stack = Stack::parse(laid_out(&["prog", ""], &["A=1", "B="], true), SP).expect("a stack");
        assert_eq!((stack.argv(), stack.env()), (&b"prog\0\0"[..], &b"A=1\0B=\0"[..]));
        assert_eq!(auxiliary(stack.auxv(), libc::AT_PAGESZ), Some(4096));
        assert_eq!(stack.auxv().len(), 6 * WORD);
        let bare = Stack::parse(laid_out(&["prog"], &[], true), SP).expect("a stack");
        assert_eq!((bare.argv(), bare.env()), (&b"prog\0"[..], &b""[..]));
    }

    #[test]
    fn what_is_cut_or_odd_is_refused() {
        let whole = laid_out(&["prog", "x"], &["A=1"], true);
        let name = "/bin/prog".len() + 1;
        for length in 0..whole.len() - name {
            assert!(Stack::parse(whole[..length].to_vec(), SP).is_none(), "{length} bytes");
        }
        assert!(Stack::parse(laid_out(&["prog"], &[], false), SP).is_none());
        assert!(Stack::parse(whole, SP + 8).is_none());
        assert!(Stack::parse(vec![0xff; 4096], SP).is_none());
    }

    #[test]
    fn it_is_what_proc_says() {
        let mut command = std::process::Command::new("/bin/sleep");
        command.args(["60", "a b", ""]).env_clear().env("ONE", "1").env("TWO", "");
        for filler in 0..400 {
            command.env(format!("FILLER_{filler}"), "x".repeat(40));
        }
        let mut child = TracedChild::start(command);
        let info = sys::syscall_info(child.tid()).expect("stopped");
        let stack = Stack::read(child.tid(), info.sp).expect("a new stack");
        let file = |name: &str| std::fs::read(format!("/proc/{}/{name}", child.tid())).unwrap();
        assert_eq!(stack.argv(), file("cmdline"));
        assert_eq!(stack.env(), file("environ"));
        assert_eq!(stack.auxv(), file("auxv"));
        child.end();
    }

    /// A child that stands before its first instruction.
    struct TracedChild(std::process::Child);

    impl TracedChild {
        fn start(mut command: std::process::Command) -> TracedChild {
            use std::os::unix::process::CommandExt as _;
            // SAFETY: PTRACE_TRACEME is one system call.
            unsafe {
                command.pre_exec(|| {
                    libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                    Ok(())
                });
            }
            let child = command.spawn().unwrap();
            // SAFETY: waits for the child's stop at exec; no pointer is kept.
            unsafe { libc::waitpid(child.id() as pid_t, std::ptr::null_mut(), 0) };
            TracedChild(child)
        }

        fn tid(&self) -> pid_t {
            self.0.id() as pid_t
        }

        fn end(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
