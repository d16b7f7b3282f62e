//! Patterns of paths, by the rules of `src/spec/object.ts`: `*` in a name, `@{pid}` digits, a last name `**` everything below.

use crate::resolve::join;

/// A piece of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Any,
    Digits,
}

/// A compiled object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this path.
    Plain(Vec<u8>),
    /// Names, one after the other; `below`: and everything below the last.
    Names { names: Vec<Vec<PieceBox>>, below: bool },
}

/// Keeps the pieces private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceBox(Piece);

const PID: &[u8] = b"@{pid}";

impl Pattern {
    #[must_use]
    pub fn new(object: &str) -> Pattern {
        let object = object.as_bytes();
        if let Some(plain) = plain(object) {
            return Pattern::Plain(plain);
        }
        let (fixed, below) = match object.strip_suffix(b"/**") {
            Some(fixed) => (fixed, true),
            None => (object, false),
        };
        let names = fixed.split(|byte| *byte == b'/').skip(1).map(pieces).collect();
        Pattern::Names { names, below }
    }

    /// Whether a canonical path matches.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            Pattern::Plain(plain) => path == plain.as_slice(),
            Pattern::Names { names, below } => {
                let parts: Vec<&[u8]> =
                    if path == b"/" { Vec::new() } else { path.split(|byte| *byte == b'/').skip(1).collect() };
                (parts.len() == names.len() || (*below && parts.len() > names.len()))
                    && names.iter().zip(&parts).all(|(pieces, name)| matches_name(pieces, name))
            }
        }
    }
}

/// What is left of a pattern below a directory: names, one after the other, and whether everything below the last is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    names: Vec<Vec<PieceBox>>,
    below: bool,
}

impl Rest {
    /// Whether all that `other` stands for is meant, as `coversPath` of `src/spec/object.ts` says. Some patterns cover each other
    /// that this does not see: whose `*` are cut differently.
    #[must_use]
    pub fn covers(&self, other: &Rest) -> bool {
        let (own, all) = (self.names.len(), other.names.len());
        let reaches = if self.below { own <= all } else { own == all && !other.below };
        reaches && self.names.iter().zip(&other.names).all(|(own, other)| covers_name(own, other))
    }

    /// The one path that it stands for below a directory; `None`: it stands for more.
    #[must_use]
    pub fn under(&self, directory: &[u8]) -> Option<Vec<u8>> {
        let name = |pieces: &Vec<PieceBox>| match pieces.as_slice() {
            [PieceBox(Piece::Text(text))] => Some(text.clone()),
            _ => None,
        };
        let names = self.names.iter().map(name).collect::<Option<Vec<_>>>()?;
        (!self.below && !names.is_empty()).then(|| join(directory, &names.join(&b'/')))
    }
}

impl Pattern {
    /// What it says of paths below a canonical directory; `None`: nothing.
    #[must_use]
    pub fn below(&self, directory: &[u8]) -> Option<Rest> {
        let parts: Vec<&[u8]> =
            if directory == b"/" { Vec::new() } else { directory.split(|byte| *byte == b'/').skip(1).collect() };
        match self {
            Pattern::Plain(plain) => {
                let own: Vec<&[u8]> = plain.split(|byte| *byte == b'/').skip(1).collect();
                let rest = own.strip_prefix(parts.as_slice()).filter(|rest| !rest.is_empty())?;
                let text = |name: &&[u8]| vec![PieceBox(Piece::Text(name.to_vec()))];
                Some(Rest { names: rest.iter().map(text).collect(), below: false })
            }
            Pattern::Names { names, below } => {
                let fits = names.iter().zip(&parts).all(|(pieces, name)| matches_name(pieces, name));
                let rest = names.get(parts.len()..).unwrap_or_default();
                (fits && (*below || !rest.is_empty())).then(|| Rest { names: rest.to_vec(), below: *below })
            }
        }
    }
}

/// The path that an object without wildcards stands for.
fn plain(object: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(object.len());
    let mut at = 0;
    while at < object.len() {
        match object[at] {
            b'\\' => {
                at += 1;
                out.extend(object.get(at));
            }
            b'*' => return None,
            _ if object[at..].starts_with(PID) => return None,
            byte => out.push(byte),
        }
        at += 1;
    }
    Some(out)
}

fn pieces(name: &[u8]) -> Vec<PieceBox> {
    let mut pieces: Vec<PieceBox> = Vec::new();
    let mut text = Vec::new();
    let mut at = 0;
    while at < name.len() {
        let wild = if name[at] == b'*' {
            Some((Piece::Any, 1))
        } else if name[at..].starts_with(PID) {
            Some((Piece::Digits, PID.len()))
        } else {
            None
        };
        if let Some((piece, length)) = wild {
            if !text.is_empty() {
                pieces.push(PieceBox(Piece::Text(std::mem::take(&mut text))));
            }
            if piece != Piece::Any || pieces.last() != Some(&PieceBox(Piece::Any)) {
                pieces.push(PieceBox(piece));
            }
            at += length;
            continue;
        }
        if name[at] == b'\\' {
            at += 1;
        }
        text.extend(name.get(at));
        at += 1;
    }
    if !text.is_empty() {
        pieces.push(PieceBox(Piece::Text(text)));
    }
    pieces
}

/// Whether every name that `other` matches is matched. A slash, which no name has, stands for each of its wildcards: only `*`
/// takes that.
fn covers_name(own: &[PieceBox], other: &[PieceBox]) -> bool {
    let text_of = |PieceBox(piece): &PieceBox| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Any | Piece::Digits => b"/".to_vec(),
    };
    own == other || matches_name(own, &other.iter().flat_map(text_of).collect::<Vec<_>>())
}

/// Follows all ways to match at once: time is bounded by pieces times characters.
fn matches_name(pieces: &[PieceBox], name: &[u8]) -> bool {
    let mut ends = vec![false; name.len() + 1];
    ends[0] = true;
    for PieceBox(piece) in pieces {
        let mut next = vec![false; name.len() + 1];
        match piece {
            Piece::Text(text) => {
                for at in 0..ends.len() {
                    if ends[at] && name[at..].starts_with(text) {
                        next[at + text.len()] = true;
                    }
                }
            }
            Piece::Any => {
                if let Some(first) = ends.iter().position(|end| *end) {
                    next[first..].fill(true);
                }
            }
            Piece::Digits => {
                for at in 0..name.len() {
                    if (ends[at] || next[at]) && name[at].is_ascii_digit() {
                        next[at + 1] = true;
                    }
                }
            }
        }
        ends = next;
    }
    ends[name.len()]
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_match_as_documented() {
        let cases: &[(&str, &str, bool)] = &[
            ("/etc/passwd", "/etc/passwd", true),
            ("/etc/passwd", "/etc/passwd2", false),
            ("/tmp/cc*.s", "/tmp/ccAbC.s", true),
            ("/tmp/cc*.s", "/tmp/cc.s", true),
            ("/tmp/cc*.s", "/tmp/cc/x.s", false),
            ("/tmp/*", "/tmp", false),
            ("/usr/**", "/usr", true),
            ("/usr/**", "/usr/lib/x", true),
            ("/usr/**", "/usrlib", false),
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/proc/@{pid}/stat", "/proc/12/stat", true),
            ("/proc/@{pid}/stat", "/proc/x/stat", false),
            ("/proc/@{pid}/stat", "/proc//stat", false),
            ("/a\\*b", "/a*b", true),
            ("/a\\*b", "/axb", false),
            ("/a*b*c", "/a1b2c", true),
            ("/a*b*c", "/a1c2b", false),
        ];
        for (object, path, expected) in cases {
            assert_eq!(Pattern::new(object).matches(path.as_bytes()), *expected, "{object} {path}");
        }
    }

    #[test]
    fn what_is_said_of_a_directory_is_what_is_left_of_the_pattern() {
        let rest = |object: &str, directory: &str| Pattern::new(object).below(directory.as_bytes());
        assert_eq!(rest("/d/a/x", "/d/a"), rest("/d/b/x", "/d/b"));
        assert_ne!(rest("/d/a/x", "/d/a"), rest("/d/b/y", "/d/b"));
        assert_eq!(rest("/d/*/x*", "/d/a"), rest("/d/x*", "/d"));
        assert_eq!(rest("/d/a", "/d/a"), None);
        assert_eq!(rest("/d/*/x/y", "/d/a").unwrap().under(b"/e"), Some(b"/e/x/y".to_vec()));
        assert_eq!(rest("/d/x", "/d").unwrap().under(b"/"), Some(b"/x".to_vec()));
        assert_eq!(rest("/d/x*", "/d").unwrap().under(b"/e"), None);
        assert_eq!(rest("/d/x/**", "/d").unwrap().under(b"/e"), None);
        assert_eq!(rest("/e/**", "/d"), None);
        let all = rest("/d/**", "/d/a/b").unwrap();
        assert!(all.covers(&rest("/d/x", "/d").unwrap()) && !rest("/d/x", "/d").unwrap().covers(&all));
    }

    #[test]
    fn a_rest_covers_what_its_wildcards_take_in() {
        let covers = |own: &str, other: &str| {
            let rest = |object: &str| Pattern::new(&format!("/d/{object}")).below(b"/d").unwrap();
            rest(own).covers(&rest(other))
        };
        assert!(covers("l*", "log*") && covers("*", "@{pid}") && covers("*/x", "a*/x") && covers("@{pid}", "12"));
        assert!(!covers("log*", "l*") && !covers("@{pid}", "1*") && !covers("*/x", "a*/y") && !covers("*", "a/b"));
        assert!(!covers("\\**", "**x") && !covers("a*b", "a*"));
        assert!(covers("a*/**", "ab/*/c") && covers("a/**", "a/b/**") && covers("a/**", "a"));
        assert!(!covers("a/*", "a/**") && !covers("a/b/**", "a/**"));
    }

    #[test]
    fn hostile_patterns_take_bounded_time() {
        let object = format!("/{}b", "a*".repeat(2000));
        let path = format!("/{}", "a".repeat(4000));
        assert!(!Pattern::new(&object).matches(path.as_bytes()));
    }
}
