/**
 * Where recording and replay work: as an ordinary user, in a user namespace, in a container's default seccomp profile, and
 * without a single perf_event_open (which perf_event_paranoid=3 refuses).
 */

import { spawnSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { replayWords } from "../replay/support.js";
import { syscallNumber } from "../support/number.js";
import { cli, compile, environment, folder, recordWords, run, stateOf } from "./support.js";

/**
 * What Docker's default profile refuses to a process without capabilities, of the calls of x86-64 (moby, profiles/seccomp/default.json);
 * calls that are not in its list are refused.
 */
const REFUSED_IN_CONTAINERS =
  "_sysctl acct add_key afs_syscall bpf cachestat chroot clock_settime create_module delete_module fanotify_init fchmodat2 " +
  "file_getattr file_setattr finit_module fsconfig fsmount fsopen fspick futex_requeue futex_wait futex_wake get_kernel_syms " +
  "get_mempolicy getpmsg getxattrat init_module ioperm iopl kcmp kexec_file_load kexec_load keyctl listmount listns " +
  "listxattrat lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr map_shadow_stack mbind migrate_pages " +
  "mount mount_setattr move_mount move_pages mseal name_to_handle_at nfsservctl open_by_handle_at open_tree open_tree_attr " +
  "perf_event_open pidfd_getfd pivot_root pkey_alloc pkey_free pkey_mprotect process_madvise putpmsg query_module quotactl " +
  "quotactl_fd reboot removexattrat request_key rseq_slice_yield security set_mempolicy set_mempolicy_home_node " +
  "setdomainname sethostname setns settimeofday setxattrat statmount swapoff swapon sysfs syslog tuxcall umount2 unshare " +
  "uprobe uretprobe uselib userfaultfd ustat vhangup vserver";

const numbers = (names: string): string =>
  names
    .split(" ")
    .map((name) => syscallNumber(name, 0))
    .join(",");

/** Words that make this user an ordinary one; none are needed when it is. */
const ordinary =
  process.getuid?.() === 0
    ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    : [];

const container = () => [
  ...ordinary,
  refuse(),
  `eperm=${numbers(REFUSED_IN_CONTAINERS)}`,
  `enosys=${syscallNumber("clone3", 0)}`,
  "namespaces",
  "--",
];

function refuse(): string {
  const program = compile("refuse");
  chmodSync(program, 0o755);
  return program;
}

const places: readonly (readonly [string, () => readonly string[]])[] = [
  ["as an ordinary user", () => ordinary],
  ["in a user namespace", () => [...ordinary, "unshare", "-r"]],
  ["in a container's seccomp profile", container],
  [
    "where perf_event_open is the end",
    () => [refuse(), `kill=${syscallNumber("perf_event_open", 0)}`, "--"],
  ],
];

/** Processes, threads, signals, a socket, random numbers, and output that the kernel moves. */
const program = `
import os, random, signal, socket, subprocess, threading, time
signal.signal(signal.SIGALRM, lambda *_: os.write(1, b"alarm\\n"))
signal.setitimer(signal.ITIMER_REAL, 0.002)
lock, total = threading.Lock(), [0]
def work(seed):
    for k in range(2000):
        with lock: total[0] = (total[0] * 31 + seed + k) % 1000003
threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
time.sleep(0.01)
print(total[0], random.random(), time.time(), os.getpid(), flush=True)
a, b = socket.socketpair()
a.send(b"through a socket\\n"); a.close()
try: os.splice(b.fileno(), 1, 100)
except OSError: os.write(1, b.recv(100))
print(subprocess.run(["sh", "-c", "echo $$; exit 3"], capture_output=True), flush=True)
`;

/** Runs words with a pipe as standard output. */
function piped(words: readonly string[], cwd: string) {
  const all = ["bash", "-c", 'set -o pipefail; "$@" | cat', "-", ...words];
  return run(all, { cwd, env: stateOf(cwd) });
}

describe.each(places)("%s", (_, prefix) => {
  it("a recording is as without, and its replay too", async ({ skip }) => {
    const start = [...prefix(), cli, "--version"];
    const tried = spawnSync(start[0] ?? "", start.slice(1), { env: environment });
    skip(tried.status !== 0, "this user may not start the command so here");
    const dir = folder();
    const file = join(dir, "out.trace");
    const recorded = await piped(
      [...prefix(), ...recordWords(file), "python3", "-c", program],
      dir,
    );
    expect(recorded).toMatchObject({ code: 0, stderr: "" });
    expect(recorded.stdout).toMatch(/alarm\n\d+ 0\.\d+ .*\nthrough a socket\n.*returncode=3/s);
    for (let k = 0; k < 3; k++) {
      const again = await piped([...prefix(), ...replayWords(file)], dir);
      expect(again).toMatchObject({ code: 0, stdout: recorded.stdout, stderr: "" });
    }
  });
});

it("the last place is the end of a program that makes that call", async () => {
  const number = syscallNumber("perf_event_open", 0);
  const call = `import ctypes; ctypes.CDLL(None).syscall(${number}, 0, 0, 0, 0, 0)`;
  const { signal } = await run([refuse(), `kill=${number}`, "--", "python3", "-c", call]);
  expect(signal).toBe("SIGSYS");
});
