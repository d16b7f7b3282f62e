//! Which files of /proc tell of another process, or change, what only who may trace it is meant to: proc(5).

use trace_format::procfs::OPEN_TO_ALL;

use super::rules::verb;

/// Directories in which names tell what a process holds, and for what.
const HELD: [&[u8]; 3] = [b"fd/", b"fdinfo/", b"map_files/"];

/// The process that somebody reaches into who reads, writes, lists or looks at a canonical path; `None`: none is.
#[must_use]
pub fn reached(bits: u16, path: &[u8]) -> Option<i32> {
    let changes = bits & (verb::WRITE | verb::CHMETA) != 0;
    let reads = bits & (verb::READ | verb::LIST) != 0;
    if !changes && !reads && bits & verb::STAT == 0 {
        return None;
    }
    let (pid, rest) = number_of(path.strip_prefix(b"/proc/")?)?;
    let name = rest.strip_prefix(b"task/").and_then(number_of).map_or(rest, |(_, rest)| rest);
    let name = if name.starts_with(b"net/") { b"net" } else { name };
    let is_open = || OPEN_TO_ALL.iter().any(|open| open.as_bytes() == name);
    let is_held = || HELD.iter().any(|directory| name.starts_with(directory));
    (changes || (reads && !is_open()) || is_held()).then_some(pid)
}

/// A number at the head, and what follows the slash behind it.
fn number_of(path: &[u8]) -> Option<(i32, &[u8])> {
    let end = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
    let number = std::str::from_utf8(&path[..end]).ok()?.parse().ok()?;
    Some((number, path.get(end + 1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_for_all_reaches_into_a_process() {
        for path in ["/proc/12/mem", "/proc/12/environ", "/proc/12/fd", "/proc/12/task/13/maps", "/proc/12/new_one"] {
            assert_eq!(reached(verb::READ, path.as_bytes()), Some(12), "{path}");
        }
        for path in ["/proc/12", "/proc/12/stat", "/proc/12/task", "/proc/12/task/13/comm", "/proc/12/net/tcp"] {
            assert_eq!(reached(verb::READ | verb::LIST, path.as_bytes()), None, "{path}");
        }
        assert_eq!(reached(verb::WRITE, b"/proc/12/oom_score_adj"), Some(12));
        assert_eq!(reached(verb::STAT, b"/proc/12/mem"), None);
        assert_eq!(reached(verb::STAT, b"/proc/12/fd"), None);
        for path in ["/proc/12/fd/0", "/proc/12/task/13/fdinfo/0", "/proc/12/map_files/0-1"] {
            assert_eq!(reached(verb::STAT, path.as_bytes()), Some(12), "{path}");
        }
        for path in ["/proc/meminfo", "/proc/sys/kernel/12", "/proc", "/proc12/mem", "/tmp/12/mem"] {
            assert_eq!(reached(verb::READ | verb::WRITE, path.as_bytes()), None, "{path}");
        }
    }
}
