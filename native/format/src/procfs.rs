//! What files of proc(5) tell, and to whom.

/// What everybody may read of every process, in `/proc/PID` and in `/proc/PID/task/TID`: names below these, in order. The empty one is
/// the directory itself; of `net`, whatever is in it.
pub const OPEN_TO_ALL: [&str; 21] = [
    "",
    "cgroup",
    "cmdline",
    "comm",
    "coredump_filter",
    "cpuset",
    "limits",
    "loginuid",
    "mountinfo",
    "mounts",
    "net",
    "oom_adj",
    "oom_score",
    "oom_score_adj",
    "sched",
    "schedstat",
    "sessionid",
    "stat",
    "statm",
    "status",
    "task",
];
