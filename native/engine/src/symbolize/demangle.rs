//! Names of functions as their authors wrote them.

use std::fmt::{self, Write};

use super::LONGEST_NAME;

/// Longer names are not demangled: what has to be tried grows faster than they do.
const LONGEST_MANGLED: usize = 64 << 10;

/// Demangles a Rust or C++ name, up to [`LONGEST_NAME`]; any other name stays what it is, up to that length.
///
/// What a name refers to by number may double its length with each letter, so that the text is limited while it is written.
#[must_use]
pub fn demangled(name: &str) -> String {
    // Names that are linked by begin so. Without that `f` is `float` in C++, and `RC3foo` is `foo` in Rust.
    if !name.starts_with('_') || name.len() > LONGEST_MANGLED {
        return super::cut(name);
    }
    let mut out = Bounded(String::new());
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        let _ = write!(out, "{rust:#}");
    } else if let Ok(symbol) = cpp_demangle::Symbol::new(name) {
        // One that cannot be written, and not for its length, is no C++ name.
        if symbol.structured_demangle(&mut out, &cpp_demangle::DemangleOptions::default()).is_err() && !out.is_full() {
            out.0.clear();
        }
    }
    if out.0.is_empty() { super::cut(name) } else { out.0 }
}

/// A text that takes no more than a name has.
struct Bounded(String);

impl Bounded {
    fn is_full(&self) -> bool {
        // The letter that did not fit may have up to four bytes.
        self.0.len() + 4 > LONGEST_NAME
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fitting = super::beginning(text, LONGEST_NAME - self.0.len());
        self.0.push_str(fitting);
        if fitting.len() < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_source() {
        assert_eq!(demangled("main"), "main");
        assert_eq!(demangled("_ZN3foo3barEi"), "foo::bar(int)");
        assert_eq!(demangled("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE"), "core::fmt::Write::write_fmt");
        assert_eq!(demangled("_RNvC6_123foo3bar"), "123foo::bar");
        assert_eq!(demangled("_Znonsense"), "_Znonsense");
        for plain in ["f", "i", "_f", "Ss", "1f", "RC3foo", "ZN3foo3barE"] {
            assert_eq!(demangled(plain), plain);
        }
        assert_eq!(demangled(&"\u{e9}".repeat(LONGEST_NAME)), "\u{e9}".repeat(LONGEST_NAME / 2));
    }

    #[test]
    fn a_name_that_doubles_itself_is_cut() {
        // The parameters of each function are twice the type before: f(pair<x, x>, pair<pair<x, x>, pair<x, x>>, ...).
        let mut name = "_Z1f1pI1xS0_E".to_owned();
        for last in "123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ".chars() {
            let _ = write!(name, "S_IS{last}_S{last}_E");
        }
        let text = demangled(&name);
        assert!(text.starts_with("f(p<x, x>, p<p<x, x>, p<x, x> >"), "{}", &text[..text.len().min(200)]);
        assert!(text.len() > LONGEST_NAME - 4 && text.len() <= LONGEST_NAME, "{}", text.len());
    }
}
