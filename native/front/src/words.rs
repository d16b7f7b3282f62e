//! The words of a recording that are spelled out plainly, by the rules of `src/commands/plain.ts`: options end at the first word
//! that is none. What is not known here, is not valid or does not go together is not plain.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use trace_engine::memory::Data;
use trace_engine::record::Backend;

/// A plain recording.
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Plain {
    pub output: Option<OsString>,
    pub force: bool,
    pub observe: bool,
    pub data: Data,
    pub backend: Backend,
    pub unpinned: bool,
    pub detach_on_exit: bool,
    pub quiet: bool,
    pub verbose: bool,
    /// The program and its arguments, at least one word.
    pub command: Vec<OsString>,
}

/// Reads the words behind `trace`; `None` when they are no plain recording.
pub fn read(words: &[OsString]) -> Option<Plain> {
    let (name, mut rest) = words.split_first()?;
    if name != "record" {
        return None;
    }
    let mut plain = Plain::default();
    while let Some((word, behind)) = rest.split_first() {
        if word == "--" {
            rest = behind;
            break;
        }
        if word.len() < 2 || word.as_bytes()[0] != b'-' {
            break;
        }
        rest = plain.take(word, behind)?;
    }
    plain.command = rest.to_vec();
    let goes_together = plain.observe || plain.data == Data::All;
    (goes_together && !plain.command.is_empty()).then_some(plain)
}

impl Plain {
    /// Takes one option, and its value from `behind` where it is a word of its own; returns the words that are left.
    fn take<'a>(&mut self, word: &OsStr, behind: &'a [OsString]) -> Option<&'a [OsString]> {
        // Children are followed in any case.
        if word == "-f" {
            return Some(behind);
        }
        if let Some(flag) = self.flag(word) {
            *flag = true;
            return Some(behind);
        }
        let bytes = word.as_bytes();
        let equals = bytes.iter().position(|byte| *byte == b'=').filter(|_| bytes.starts_with(b"--"));
        let (name, value, left) = if let Some(at) = equals {
            (&bytes[..at], OsStr::from_bytes(&bytes[at + 1..]), behind)
        } else {
            let (value, left) = behind.split_first()?;
            (bytes, value.as_os_str(), left)
        };
        match name {
            b"-o" | b"--output" => self.output = Some(value.to_owned()),
            b"--data" => self.data = Data::from_name(value.to_str()?)?,
            b"--backend" => self.backend = Backend::from_name(value.to_str()?)?,
            _ => return None,
        }
        Some(left)
    }

    /// What an option without a value sets.
    fn flag(&mut self, word: &OsStr) -> Option<&mut bool> {
        match word.as_bytes() {
            b"--force" => Some(&mut self.force),
            b"--observe" => Some(&mut self.observe),
            b"--no-pin" => Some(&mut self.unpinned),
            b"--detach-on-exit" => Some(&mut self.detach_on_exit),
            b"-q" | b"--quiet" => Some(&mut self.quiet),
            b"-v" | b"--verbose" => Some(&mut self.verbose),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(line: &str) -> Option<Plain> {
        read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn command(line: &str) -> Vec<OsString> {
        plain(line).unwrap().command
    }

    #[test]
    fn options_end_at_the_first_word_that_is_none() {
        assert_eq!(command("record ls -q"), ["ls", "-q"]);
        assert_eq!(command("record -q -- -q ls"), ["-q", "ls"]);
        assert_eq!(command("record -f - x"), ["-", "x"]);
        assert_eq!(command("record -o -q ls"), ["ls"]);
        assert!(!plain("record -o -q ls").unwrap().quiet);
    }

    #[test]
    fn both_spellings_of_values_are_known() {
        for line in ["record -o x.trace ls", "record --output x.trace ls", "record --output=x.trace ls"] {
            assert_eq!(plain(line).unwrap().output.as_deref(), Some(OsStr::new("x.trace")));
        }
        let all =
            plain("record --observe --data=none --backend eager-agent --no-pin --detach-on-exit --force -q -v ls");
        let wanted = Plain {
            observe: true,
            data: Data::None,
            backend: Backend::EagerAgent,
            unpinned: true,
            detach_on_exit: true,
            force: true,
            quiet: true,
            verbose: true,
            command: vec!["ls".into()],
            ..Plain::default()
        };
        assert_eq!(all, Some(wanted));
    }

    #[test]
    fn the_rest_is_not_plain() {
        for line in [
            "",
            "show",
            "record",
            "record -q",
            "record --",
            "record -o",
            "record -ox ls",
            "record -o=x ls --unknown",
            "record -qv ls",
            "record --quiet=yes ls",
            "record --data=paths ls",
            "record --observe --data=most ls",
            "record --backend=none ls",
            "record --chaos ls",
            "record -e openat ls",
            "record --help",
            "record --forc ls",
            "-q record ls",
        ] {
            assert_eq!(plain(line), None, "{line}");
        }
    }
}
