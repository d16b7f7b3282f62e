//! What the kernel opens besides the program that it is to run: the loader that an ELF file names, or the interpreter of a script.
//! The kernel reads the file for itself, so that this is said of it and decides nothing.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::image;

/// Bytes of a script's first line that the kernel looks at: `BINPRM_BUF_SIZE` of linux/binfmts.h.
const FIRST_LINE: usize = 256;

/// Its path as the file has it; `None` where the file names none.
#[must_use]
pub fn of(file: File) -> Option<Vec<u8>> {
    let mut line = [0; FIRST_LINE];
    let length = file.read_at(&mut line, 0).ok()?;
    match line[..length].strip_prefix(b"#!") {
        Some(rest) => first_word(rest),
        None => image::interpreter_of(file),
    }
}

fn first_word(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.split(|byte| matches!(byte, b'\n' | 0)).next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    words.next().map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
        let path = std::env::temp_dir().join(format!("trace-interpreter-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let found = of(File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        found
    }

    #[test]
    fn programs_name_their_interpreters() {
        assert_eq!(of_bytes(b"#! /bin/sh -e\necho").as_deref(), Some(&b"/bin/sh"[..]));
        assert_eq!(of_bytes(b"#!/usr/bin/env\tpython3").as_deref(), Some(&b"/usr/bin/env"[..]));
        for none in [&b"#!"[..], b"#!  \n/bin/sh", b"", b"\x7fELF", b"text"] {
            assert_eq!(of_bytes(none), None, "{none:?}");
        }
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert!(of(File::open("/proc/self/exe").unwrap()).is_some_and(|path| path.starts_with(b"/")));
        // Wherever it is cut, nothing is made up.
        for length in [64, 100, 120, 500, 1000] {
            assert!(of_bytes(&own[..length]).is_none_or(|path| path.starts_with(b"/")));
        }
    }
}
