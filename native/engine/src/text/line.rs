//! The words of a line, and quoted bytes.

use std::io::{self, Write};

/// Writes bytes in quotes.
pub(super) fn quote(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"\"")?;
    let mut plain = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\t' => b"\\t",
            b' '..=b'~' => continue,
            _ => b"",
        };
        out.write_all(&bytes[plain..at])?;
        plain = at + 1;
        if escape.is_empty() {
            write!(out, "\\x{byte:02x}")?;
        } else {
            out.write_all(escape)?;
        }
    }
    out.write_all(&bytes[plain..])?;
    out.write_all(b"\"")
}

/// Takes words off the front of a line. Errors are messages; the caller knows the line's number.
pub(super) struct Words<'a> {
    rest: &'a [u8],
}

fn shown(bytes: &[u8]) -> String {
    let short = &bytes[..bytes.len().min(40)];
    format!("{:?}", String::from_utf8_lossy(short))
}

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a [u8]) -> Self {
        Words { rest: line.trim_ascii() }
    }

    /// The next word up to a space.
    pub(super) fn word(&mut self, what: &str) -> Result<&'a str, String> {
        let rest = self.rest.trim_ascii_start();
        let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        let (word, other) = rest.split_at(end);
        if word.is_empty() {
            return Err(format!("{what} is missing"));
        }
        self.rest = other;
        std::str::from_utf8(word).map_err(|_| format!("{what} is not text: {}", shown(word)))
    }

    /// The value of the next word, which must be `key=VALUE`.
    pub(super) fn value(&mut self, key: &str) -> Result<&'a str, String> {
        let word = self.word(&format!("{key}="))?;
        word.strip_prefix(key)
            .and_then(|rest| rest.strip_prefix('='))
            .ok_or_else(|| format!("{key}= expected, found {}", shown(word.as_bytes())))
    }

    /// A number as value of `key`.
    pub(super) fn number<T: TryFrom<i128>>(&mut self, key: &str) -> Result<T, String> {
        number(self.value(key)?, key)
    }

    /// A number, or `-` for none.
    pub(super) fn optional<T: TryFrom<i128>>(&mut self, key: &str) -> Result<Option<T>, String> {
        match self.value(key)? {
            "-" => Ok(None),
            text => number(text, key).map(Some),
        }
    }

    /// Position of the value of `key` in a list of names.
    pub(super) fn name(&mut self, key: &str, names: &[&str]) -> Result<u8, String> {
        position(self.value(key)?, key, names)
    }

    /// Quoted bytes, appended to `out`.
    pub(super) fn bytes(&mut self, what: &str, out: &mut Vec<u8>) -> Result<(), String> {
        let rest = self.rest.trim_ascii_start();
        let Some(mut rest) = rest.strip_prefix(b"\"") else {
            return Err(format!("{what} in quotes expected, found {}", shown(rest)));
        };
        loop {
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
            let (byte, len) = match rest {
                [b'"', other @ ..] => {
                    self.rest = other;
                    return Ok(());
                }
                [b'\\', b'n', ..] => (b'\n', 2),
                [b'\\', b't', ..] => (b'\t', 2),
                [b'\\', byte @ (b'"' | b'\\'), ..] => (*byte, 2),
                [b'\\', b'x', high, low, ..] => match (digit(*high), digit(*low)) {
                    (Some(high), Some(low)) => (high << 4 | low, 4),
                    _ => return Err(format!("unknown escape {}", shown(&rest[..4]))),
                },
                [] => return Err(format!("{what} has no closing quote")),
                other => return Err(format!("unknown escape {}", shown(&other[..other.len().min(4)]))),
            };
            out.push(byte);
            rest = &rest[len..];
        }
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), String> {
        match self.rest.trim_ascii() {
            [] => Ok(()),
            rest => Err(format!("nothing expected, found {}", shown(rest))),
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

pub(super) fn position(text: &str, what: &str, names: &[&str]) -> Result<u8, String> {
    let found = names.iter().position(|name| *name == text);
    found.map(|place| place as u8).ok_or_else(|| format!("{what} {text:?} is none of {}", names.join(", ")))
}

pub(super) fn number<T: TryFrom<i128>>(text: &str, what: &str) -> Result<T, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16),
        None => text.parse::<i128>(),
    };
    let value = parsed.map_err(|_| format!("{what} is no number: {}", shown(text.as_bytes())))?;
    T::try_from(value).map_err(|_| format!("{what} is out of range: {value}"))
}
