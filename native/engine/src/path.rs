//! Paths as `src/query/facts.ts` makes them normal.

/// A path without `//`, `.` and `..`, as far as that can be known without asking the file system.
#[must_use]
pub fn normal(path: &[u8]) -> Vec<u8> {
    if is_normal(path) {
        return path.to_vec();
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    [&b"/"[..], &parts.join(&b'/')].concat()
}

fn is_normal(path: &[u8]) -> bool {
    let after_slash = |pair: &[u8]| pair[0] == b'/' && pair[1] == b'/';
    if path.windows(2).any(after_slash) {
        return false;
    }
    let has_dots = path.split(|&byte| byte == b'/').skip(1).any(|part| part == b"." || part == b"..");
    // A slash at the end is more than the root alone, unless it follows a line end.
    let ends = [&b"\n"[..], b"\r", "\u{2028}".as_bytes(), "\u{2029}".as_bytes()];
    let before = path.strip_suffix(b"/");
    let has_end = before.is_some_and(|before| !before.is_empty() && !ends.iter().any(|end| before.ends_with(end)));
    !has_dots && !has_end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_normal() {
        for (path, expected) in [
            ("/etc/passwd", "/etc/passwd"),
            ("/", "/"),
            ("/a//b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/a/", "/a"),
            ("/..", "/"),
            ("/a/..", "/"),
            ("/a/...", "/a/..."),
            ("/.hidden", "/.hidden"),
            ("a/../b", "/b"),
        ] {
            assert_eq!(String::from_utf8(normal(path.as_bytes())).unwrap(), expected, "{path}");
        }
    }
}
