//! How much memory there is, and how much a process has.

use std::path::Path;

use libc::pid_t;

use crate::layout::PAGE;

const GROUPS: &str = "/sys/fs/cgroup";

/// Bytes of memory that a process has for itself and that are not swapped out, proc_pid_statm(5); `None` when it is gone.
#[must_use]
pub fn own_memory(pid: pid_t) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut fields = text.split(' ').skip(1);
    let mut pages = || fields.next()?.parse::<u64>().ok();
    let (resident, shared) = (pages()?, pages()?);
    Some(resident.saturating_sub(shared).saturating_mul(PAGE))
}

/// Bytes of memory that can be had without swapping, on this machine (proc_meminfo(5)) and in the groups that this process is in (cgroups(7)).
#[must_use]
pub fn available_memory() -> u64 {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    available_by(read)
}

fn available_by(read: impl Fn(&Path) -> Option<String>) -> u64 {
    let meminfo = read(Path::new("/proc/meminfo")).unwrap_or_default();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let free = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let mut least = free.map_or(u64::MAX, |kib| kib.saturating_mul(1024));
    for line in read(Path::new("/proc/self/cgroup")).unwrap_or_default().lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(hierarchy), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (root, files) = if hierarchy == "0" {
            (GROUPS.to_owned(), ["memory.max", "memory.current"])
        } else if controllers.split(',').any(|controller| controller == "memory") {
            // Version 1 has a hierarchy for each controller.
            (format!("{GROUPS}/memory"), ["memory.limit_in_bytes", "memory.usage_in_bytes"])
        } else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if path.split('/').any(|part| part == "..") {
            continue;
        }
        // A group is bound by those that it is in.
        for group in Path::new(&root).join(path).ancestors().take_while(|group| group.starts_with(&root)) {
            let word = |file: &str| read(&group.join(file))?.trim().parse::<u64>().ok();
            let [most, used] = files.map(word);
            least = least.min(most.map_or(u64::MAX, |most| most.saturating_sub(used.unwrap_or(0))));
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &'static [(&str, &str)]) -> u64 {
        available_by(|path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned()))
    }

    const MEMINFO: (&str, &str) = ("/proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:     4096 kB\n");

    #[test]
    fn a_group_has_less_than_the_machine() {
        assert_eq!(with(&[MEMINFO]), 4 << 20);
        assert_eq!(with(&[]), u64::MAX);
        let second = [
            MEMINFO,
            ("/proc/self/cgroup", "0::/outer/inner\n"),
            ("/sys/fs/cgroup/outer/inner/memory.max", "max\n"),
            ("/sys/fs/cgroup/outer/memory.max", "2000000\n"),
            ("/sys/fs/cgroup/outer/memory.current", "500000\n"),
        ];
        assert_eq!(with(Box::leak(Box::new(second))), 1_500_000);
        let first = [
            MEMINFO,
            ("/proc/self/cgroup", "5:cpu:/\n4:memory,hugetlb:/one\n"),
            ("/sys/fs/cgroup/memory/one/memory.limit_in_bytes", "1000\n"),
            ("/sys/fs/cgroup/memory/one/memory.usage_in_bytes", "1500\n"),
        ];
        assert_eq!(with(Box::leak(Box::new(first))), 0);
        let outside = [MEMINFO, ("/proc/self/cgroup", "0::/../x\n"), ("/sys/fs/cgroup/x/memory.max", "1\n")];
        assert_eq!(with(Box::leak(Box::new(outside))), 4 << 20);
    }

    #[test]
    fn this_process_has_some_memory() {
        let own = own_memory(std::process::id() as pid_t).unwrap();
        assert!(own > PAGE && own < available_memory().saturating_add(1 << 40));
        assert_eq!(own_memory(0), None);
    }
}
