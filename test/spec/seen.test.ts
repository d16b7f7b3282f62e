/** What kinds of accesses are seen as what they are: recorded, enforced, and proved. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { cli } from "../support/command.js";
import { lacking } from "../support/tools.js";
import { type Ran, SpecPlace } from "./support.js";

const TIMEOUT = { timeout: 120_000 };

/** Learns `script`, runs it enforced, and proves it; the text of the spec, and how it ran. */
function learned(script: string): {
  readonly spec: string;
  readonly ran: Ran;
  readonly proof: Ran;
} {
  const place = new SpecPlace({ "app.py": script });
  try {
    place.learn("python3", "app.py");
    const ran = place.trace("spec", "run", "../app.spec");
    const proof = place.trace("spec", "prove", "../app.spec", "../base.trace");
    return { spec: readFileSync(join(place.base, "app.spec"), "utf8"), ran, proof };
  } finally {
    place.leave();
  }
}

function expectEnough({ ran, proof }: ReturnType<typeof learned>, stdout: string): void {
  expect(ran).toEqual({ status: 0, stdout, stderr: "" });
  expect(proof.status, proof.stderr).toBe(0);
}

describe.skipIf(lacking("python3"))("a recording tells", TIMEOUT, () => {
  it("addresses of IPv6, by the protocol of the socket", () => {
    const found = learned(`import socket
server = socket.socket(socket.AF_INET6); server.bind(("::1", 0)); server.listen()
client = socket.socket(socket.AF_INET6); client.connect(server.getsockname())
peer, _ = server.accept(); peer.send(b"over IPv6"); print(client.recv(99))
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); udp.bind(("::1", 0)); udp.sendto(b"datagram", udp.getsockname()); print(udp.recv(99))
`);
    expectEnough(found, "b'over IPv6'\nb'datagram'\n");
    for (const grant of [
      '{verb: bind, object: "tcp:[::1]:0"',
      '{verb: connect, object: "tcp:[::1]:*"',
      '{verb: bind, object: "udp:[::1]:0"',
      '{verb: connect, object: "udp:[::1]:*"',
    ])
      expect(found.spec).toContain(grant);
  });

  it("that a file was changed by a request to its file system", () => {
    const found = learned(`import array, fcntl
GET, SET, NOATIME = 0x80086601, 0x40086602, 0x80
with open("app.py") as file:
    flags = array.array("i", [0])
    fcntl.ioctl(file, GET, flags)
    fcntl.ioctl(file, SET, array.array("i", [flags[0] | NOATIME]))
    fcntl.ioctl(file, GET, flags)
    print(bool(flags[0] & NOATIME))
`);
    expectEnough(found, "True\n");
    expect(found.spec).toContain("{verb: chmeta, object: $PWD/app.py");
  });

  it("what waits for an epoll instance, whether a run was so short that nothing did or not", () => {
    const { spec } = learned("import select; select.epoll()");
    for (const call of ["epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2"])
      expect(spec).toContain(`{verb: syscall, object: ${call}, because: needed}`);
    expect(spec).not.toContain("timerfd_settime");
  });

  it("that of several questions about a file only some were answered well", () => {
    const found = learned(`import os
print(os.access("app.py", os.R_OK), os.access("app.py", os.X_OK))
`);
    expectEnough(found, "True False\n");
  });

  it("a script by its interpreter where its name is new in each run", () => {
    const found = learned(`import os, subprocess, sys, tempfile
with tempfile.TemporaryDirectory() as place:
    path = os.path.join(place, "part.py")
    with open(path, "w") as part: part.write("print(open('app.py').readline().split()[1], flush=True)")
    subprocess.run([sys.executable, path], check=True)
`);
    expectEnough(found, "os,\n");
    expect(found.spec.match(/^ {2}- name: .*/gm)).toEqual([
      expect.stringMatching(/:app\.py$/),
      expect.stringMatching(/python[\d.]*$/),
    ]);
    expect(found.spec).toContain("runs scripts whose names are new in each run");
  });

  it("whom a server of datagrams answers to, whatever port the kernel gives the client", () => {
    const found = learned(`import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); server.bind(("127.0.0.1", 18931))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); client.sendto(b"ask", ("127.0.0.1", 18931))
asked, who = server.recvfrom(99); server.sendto(asked + b"ed", who); print(client.recv(99))
`);
    expectEnough(found, "b'asked'\n");
    expect(found.spec).toContain("{verb: connect, object: udp:127.0.0.1:*");
    expect(found.spec).toContain("{verb: connect, object: udp:127.0.0.1:18931");
  });

  it("into which processes a program reaches, by calls and by files of /proc", () => {
    const found = learned(`import os, resource, subprocess
child = subprocess.Popen("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(b"there\\n"); child.stdin.flush(); child.stdout.readline()
resource.prlimit(child.pid, resource.RLIMIT_CORE, (0, 0)); os.sched_setaffinity(os.getpid(), os.sched_getaffinity(0))
print(len(open(f"/proc/{child.pid}/maps").readline()) > 0, open("/proc/self/environ").read() != "")
print(len(open(f"/proc/{os.getppid()}/environ").read(1)))
child.stdin.close(); child.wait()
`);
    expectEnough(found, "True True\n1\n");
    const grants = found.spec.match(/\{verb: ptrace, object: "?[^",]*/g);
    expect(grants).toEqual(["{verb: ptrace, object: outside", "{verb: ptrace, object: role:cat"]);
  });

  it("which other processes it asks for what they run, by links of /proc", () => {
    const found = learned(`import os
print(os.readlink(f"/proc/{os.getpid()}/exe") == os.readlink("/proc/self/exe"))
`);
    expectEnough(found, "True\n");
    expect(found.spec).not.toContain("{verb: ptrace,");
    const other = learned(`import os
print(len(os.readlink(f"/proc/{os.getppid()}/exe")) > 0)
`);
    expectEnough(other, "True\n");
    expect(other.spec).toContain("{verb: ptrace, object: outside");
  });

  it("which other processes it looks at by their links of /proc", () => {
    for (const link of ["exe", "cwd/."]) {
      const looks = (whose: string) =>
        learned(`import os; print(os.stat(f"/proc/{os.${whose}()}/${link}").st_mode > 0)`);
      const own = looks("getpid");
      expect(own.spec, link).not.toContain("{verb: ptrace,");
      expect(own.ran.stdout, link).toBe("True\n");
      // What its parent runs, reads and stands in is something else under enforcement: that is not granted.
      expect(looks("getppid").spec, link).toContain("{verb: ptrace, object: outside");
    }
  });

  it("all programs of a group that gets a signal, whichever of them leads it", () => {
    const found = learned(`import os, signal, subprocess
def begun(name, group):
    child = subprocess.Popen(name, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=group)
    child.stdin.write(b"there\\n"); child.stdin.flush(); child.stdout.readline()
    return child
leader = begun("tee", 0); other = begun("cat", leader.pid)
os.killpg(leader.pid, signal.SIGTERM)
print(leader.wait(), other.wait())
`);
    expectEnough(found, "-15 -15\n");
    expect(found.spec.match(/\{verb: signal, object: "?role:[^",]*/g)).toEqual([
      "{verb: signal, object: role:cat",
      "{verb: signal, object: role:tee",
    ]);
  });

  it("files without a name by the directory that they are made in", () => {
    const found = learned(`import os
fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600); os.write(fd, b"text"); print(os.pread(fd, 9, 0))
`);
    expectEnough(found, "b'text'\n");
    expect(found.spec).toContain("{verb: create, object: $PWD/#tmpfile,");
  });

  it("a link to /proc/self as the program itself", () => {
    const found = learned(`import os
if not os.path.lexists("mounts"): os.symlink("/proc/self/mounts", "mounts")
print(os.stat("mounts").st_size, len(open("mounts").read()) > 0)
`);
    expectEnough(found, "0 True\n");
    expect(found.spec).toContain('object: "/proc/@{pid}/mounts"');
  });

  it("nothing of pipes that a program opens anew by its descriptors", () => {
    const found = learned(`import os
reads, writes = os.pipe()
again = os.open(f"/dev/fd/{writes}", os.O_WRONLY); os.write(again, b"text")
print(os.read(os.open(f"/proc/self/fd/{reads}", os.O_RDONLY), 9))
`);
    expectEnough(found, "b'text'\n");
    expect(found.spec).not.toContain("/fd/");
  });

  it("both ends of a terminal that an ioctl opens", () => {
    const found = learned(`import fcntl, os, termios
leader = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY); fcntl.ioctl(leader, 0x40045431, b"\\0\\0\\0\\0")
follower = fcntl.ioctl(leader, 0x5441, os.O_RDWR | os.O_NOCTTY); os.write(leader, b"typed\\n"); print(os.read(follower, 9))
termios.tcsetattr(follower, termios.TCSANOW, termios.tcgetattr(follower))
`);
    expectEnough(found, "b'typed\\n'\n");
    expect(found.spec).toContain("{verb: ioctl:TCSETS, object: /dev/pts/*");
  });

  it("/dev/tty as the terminal of the program's own session", () => {
    const found = learned(`import os, pty
child, leader = pty.fork()
if child == 0:
    own = os.open("/dev/tty", os.O_RDWR); os.write(own, b"to my own terminal\\n"); os._exit(0)
print(os.read(leader, 99)); os.waitpid(child, 0)
`);
    expectEnough(found, "b'to my own terminal\\r\\n'\n");
    expect(found.spec).toContain("{verb: write, object: /dev/tty,");
  });

  it("that there was no terminal, of which nothing is said where there is none again", () => {
    const found = learned(`import os
if os.fork() == 0:
    os.setsid()
    os.execlp("sh", "sh", "-c", "(exec 3<>/dev/tty) 2>&1; true")
os.wait()
`);
    expectEnough(found, "sh: 1: cannot create /dev/tty: No such device or address\n");
  });

  it.skipIf(process.geteuid?.() !== 0)("short numbers of processes in names, by one run", () => {
    const place = new SpecPlace({
      "app.py": `import os
def make(name): open(name, "w").close(); os.unlink(name)
make(f"run.{os.getpid()}.pid"); make(f"other.{os.getpid() + 1}")
`,
    });
    try {
      const inside = "echo 1300 > /proc/sys/kernel/ns_last_pid; python3 app.py; true";
      place.learn("unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", inside);
      const spec = readFileSync(join(place.base, "app.spec"), "utf8");
      expect(spec).toContain('{verb: create, object: "$PWD/run.@{pid}.pid"');
      expect(spec).toContain("{verb: create, object: $PWD/other.1302,");
    } finally {
      place.leave();
    }
  });

  it("names with the number of the process, by what several runs show", () => {
    const place = new SpecPlace({
      "app.py": `import os, tempfile
name = f"run.{os.getpid()}.pid"; open(name, "w").close(); os.unlink(name)
fd, name = tempfile.mkstemp(dir=".", prefix="conf."); os.close(fd); os.replace(name, "conf")
`,
    });
    for (const name of ["one", "two", "three"])
      place.trace("record", "-q", "--observe", "-o", `../${name}.trace`, "--", "python3", "app.py");
    place.trace("spec", "gen", "-o", "../app.spec", "../one.trace", "../two.trace");
    for (let run = 0; run < 3; run++)
      expect(place.trace("spec", "run", "../app.spec")).toEqual({
        status: 0,
        stdout: "",
        stderr: "",
      });
    expect(place.trace("spec", "check", "../app.spec", "../three.trace").status).toBe(0);
    place.leave();
  });

  it("enough of programs whose threads wait for ever, and of calls that are replaced by older ones", () => {
    const found = learned(`import os, subprocess, threading, time
threading.Thread(target=lambda: os.read(os.pipe()[0], 1), daemon=True).start(); time.sleep(0.05)
print(subprocess.run(["cat"], input=b"piped", stdout=subprocess.PIPE).stdout, flush=True); os._exit(0)
`);
    expectEnough(found, "b'piped'\n");
    expect(found.spec).not.toContain("was being opened");
  });

  it("what threads read only when they take turns in another way", () => {
    const { spec } = learned(`import threading
thread = threading.Thread(target=print, args=("done",)); thread.start(); thread.join()
`);
    const file = "{verb: read, object: /proc/sys/vm/overcommit_memory";
    expect(spec).toContain(file);
    expect(learned("print('done')").spec).not.toContain(file);
  });

  it("files of any name, on one line each, also where bytes of it are no text", () => {
    const found = learned(`import os
for name in [b"new\\nline", b"star*x", b"back\\\\slash", b"$HOME", b" lead", b"\\xff\\xfe.x", b"@{pid}", b"\\x1b[2J", b"\\"quoted'"]:
    with open(name, "w") as file: file.write("x")
    os.stat(name); os.unlink(name)
print("done")
`);
    expectEnough(found, "done\n");
    expect(found.spec).toContain("object: $PWD/new*line,");
    expect(found.spec).toContain("object: $PWD/*.x,");
  });

  it("to people nothing that a terminal would obey", () => {
    const place = new SpecPlace({ "\x1b[2J": "text\n" });
    place.learn("cat", "/dev/null");
    const words = ["spec", "run", "--supervise=always", "../app.spec", "--", "cat", "\x1b[2J"];
    const { stderr } = place.trace(...words);
    expect(stderr).toMatch(/refused read \S*\/work\/\\x1b\[2J \(/);
    expect(stderr).not.toContain("\x1b");
    const spec = readFileSync(join(place.base, "app.spec"), "utf8");
    const evil = spec.replace(
      "grants:",
      `grants:\n      - {verb: read, object: "/\\e]0;x\\a/**/x"}`,
    );
    writeFileSync(join(place.base, "evil.spec"), evil);
    expect(place.trace("spec", "validate", "../evil.spec").stderr).toContain(
      "/\\x1b]0;x\\x07/**/x",
    );
    place.leave();
  });

  it("enough for a program that has to wait where it had not, as what it reads is slow", () => {
    const place = new SpecPlace({
      "app.py": `import select, sys, time
data, room = select.poll(), 0
data.register(sys.stdin)
if len(sys.argv) > 1: room = len(data.poll(5000)); select.select([sys.stdin], [], [], 5); time.sleep(0.01)
print(sys.stdin.read(), room)
`,
    });
    place.learn("python3", "app.py");
    const slow = "sleep 0.2 | $0 spec run ../app.spec -- python3 app.py slow";
    expect(place.run("sh", "-c", slow, cli)).toEqual({ status: 0, stdout: " 1\n", stderr: "" });
    place.leave();
  });

  it("what failed: that it is refused is said of a program that fails, and when asked for", () => {
    const place = new SpecPlace({
      "app.py": `import os, socket, sys
os.system("true"); socket.socket().connect_ex(("127.0.0.1", 1)); sys.exit(len(sys.argv) - 1)
`,
    });
    place.learn("python3", "app.py");
    const run = (...words: string[]) => place.trace("spec", "run", ...words);
    const said =
      /refused connect tcp:127\.0\.0\.1:1 \(connect\), which failed with ECONNREFUSED when it was recorded/;
    expect(run("../app.spec")).toEqual({ status: 0, stdout: "", stderr: "" });
    expect(run("-v", "../app.spec").stderr).toMatch(said);
    const failed = run("../app.spec", "--", "python3", "app.py", "x");
    expect(failed.status).toBe(1);
    expect(failed.stderr).toMatch(said);
    place.leave();
  });

  it("directories as what they are where it has no results", () => {
    const place = new SpecPlace({
      "app.sh": 'for name in *; do echo "$name"; done < .; cat app.sh',
    });
    try {
      const record = ["record", "-q", "--backend=notify", "-o", "../base.trace", "sh", "app.sh"];
      expect(place.trace(...record).status).toBe(0);
      const made = place.trace("spec", "gen", "-o", "../app.spec", "../base.trace");
      expect(made.stderr).toContain("--backend=notify");
      const spec = readFileSync(join(place.base, "app.spec"), "utf8");
      expect(spec).toContain("{verb: list, object: $PWD,");
      expect(spec).not.toContain("{verb: read, object: $PWD,");
      const ran = place.trace("spec", "run", "../app.spec");
      expect(ran.stderr).toBe("");
      expect(ran.stdout).toMatch(/^app\.sh\n/);
    } finally {
      place.leave();
    }
  });

  it("what is missing because of how it was made", async () => {
    const place = new SpecPlace({ "app.sh": "echo ready; read line" });
    const notes = (...words: string[]) => {
      place.trace("record", "-q", "--force", "-o", "../base.trace", "--observe", ...words);
      const made = place.trace("spec", "gen", "--force", "-o", "../app.spec", "../base.trace");
      expect(made.status, made.stderr).toBe(0);
      expect(readFileSync(join(place.base, "app.spec"), "utf8")).not.toContain("unknown: []");
      return made.stderr;
    };
    const running = spawn("sh", [join(place.work, "app.sh")]);
    try {
      await once(running.stdout, "data");
      const end = setTimeout(() => running.stdin.end("\n"), 1000);
      const observed = spawn(cli, ["record", "-q", "-o", "x.trace", "-p", String(running.pid)], {
        cwd: place.base,
        env: place.env,
      });
      await once(observed, "exit");
      clearTimeout(end);
      const made = place.trace("spec", "gen", "-o", "../x.spec", "../x.trace");
      expect(made.stderr).toContain("ran already when its recording began (-p)");
      expect(notes("-e", "openat", "true")).toContain("only some calls were recorded (-e openat)");
      expect(notes("--data=none", "true")).toContain("no memory was recorded (--data=none)");
    } finally {
      running.kill();
      place.leave();
    }
  });
});
